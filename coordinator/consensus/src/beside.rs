//! Long work outside the driver's task: a busy driver sends no heartbeats.

use std::{
    future::{self, Future},
    sync::Arc,
};

use thalweg_types::seam::Spawner;
use tokio::sync::oneshot;

/// A piece of work in progress.
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
            // The driver may have stopped, or may have installed a snapshot. Then it no longer needs the result.
            let _ = result.send(work.await);
        };
        // The task's end shows in the channel.
        let _ = compute.spawn(name, Box::pin(task));
        Self(done)
    }

    /// Waits for the result; `None` if the work panicked. Never resolves if no work is in progress. Cancel-safe.
    pub(crate) async fn end(under_way: &mut Option<Self>) -> Option<T> {
        let Some(Self(done)) = under_way else { return future::pending().await };
        let result = done.await.ok();
        *under_way = None;
        result
    }

    /// Waits until the work holds nothing any more, whatever its result is.
    pub(crate) async fn finish(under_way: Option<Self>) {
        let Some(Self(done)) = under_way else { return };
        let _ = done.await;
    }
}
