//! Work that takes its time, beside the driver: a driver that is busy gives no heartbeat.

use std::{
    future::{self, Future},
    sync::Arc,
};

use thalweg_types::seam::Spawner;
use tokio::sync::oneshot;

/// A piece of work under way.
#[derive(Debug)]
pub(crate) struct Beside<T>(oneshot::Receiver<T>);

impl<T: Send + 'static> Beside<T> {
    pub(crate) fn begin(
        compute: &Arc<dyn Spawner>,
        name: &str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let (result, done) = oneshot::channel();
        let task = async move {
            // A driver that has stopped, or has taken a snapshot over, needs it no more.
            let _ = result.send(work.await);
        };
        // Its end shows in the channel.
        let _ = compute.spawn(name, Box::pin(task));
        Self(done)
    }

    /// What it gives, once; `None` where it has panicked. Waits for ever where nothing is under way. Cancel-safe.
    pub(crate) async fn end(under_way: &mut Option<Self>) -> Option<T> {
        let Some(Self(done)) = under_way else { return future::pending().await };
        let result = done.await.ok();
        *under_way = None;
        result
    }
}
