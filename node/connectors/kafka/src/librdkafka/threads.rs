//! Threads beside the runtime's: one serves each client's events and lets go of what it read, and calls that may wait long in C have one of
//! their own. Only making a client, which is short, is waited for by the runtime's thread that asks for it.

use std::{sync::Arc, thread, time::Duration};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::oneshot,
    task::block_in_place,
};

use crate::KafkaError;

/// A client is looked after so often, at least, whether anybody still needs it.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Serves a client until nobody else holds it, then drops it: that waits for librdkafka's own threads, which tasks must not.
pub(super) fn serve<T: Send + Sync + 'static>(
    name: &str,
    client: Arc<T>,
    serve_once: impl Fn(&T) + Send + 'static,
) -> Result<(), KafkaError> {
    spawn(name, move || {
        while Arc::strong_count(&client) > 1 {
            serve_once(&client);
        }
    })
}

/// Makes a call that may wait in C. If the task no longer waits for it, it goes on all the same.
pub(super) async fn call<T: Send + 'static>(
    name: &str,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, KafkaError> {
    let (tell, told) = oneshot::channel();
    spawn(name, move || _ = tell.send(call()))?;
    told.await.map_err(|_| KafkaError::Broken { reason: format!("the thread '{name}' ended before its call") })
}

/// Makes a call that reads files and waits for threads to begin: the runtime's other tasks go on elsewhere meanwhile, where it has other threads.
pub(super) fn beside<T>(call: impl FnOnce() -> T) -> T {
    let has_others = Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if has_others { block_in_place(call) } else { call() }
}

/// Lets such a thread wait.
pub(super) fn pause(time: Duration) {
    thread::sleep(time);
}

#[expect(clippy::disallowed_methods, reason = "a C library waits in threads; the simulation has the model instead")]
fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), KafkaError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
    let failed = |error| KafkaError::Unavailable { reason: format!("the thread '{name}' cannot be started: {error}") };
    spawned.map(drop).map_err(failed)
}
