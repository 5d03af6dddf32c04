//! Long work outside the driver's task: a busy driver sends no heartbeats.

use std::{
    future::{self, Future},
    sync::Arc,
};

use thalweg_types::seam::{Spawner, TaskHandle};
use tokio::sync::oneshot;

/// A piece of work in progress.
#[derive(Debug)]
pub(crate) struct Beside<T> {
    done: oneshot::Receiver<T>,
    task: Box<dyn TaskHandle>,
}

impl<T: Send + 'static> Beside<T> {
    pub(crate) fn begin(
        compute: &Arc<dyn Spawner>,
        name: &str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let (result, done) = oneshot::channel();
        // The order in which these are dropped: whoever sees the channel's end relies on that of the work.
        let held = (work, result);
        let task = async move {
            let (work, result) = held;
            let done = work.await;
            // The driver may have stopped, or may have installed a snapshot. Then it no longer needs the result.
            let _ = result.send(done);
        };
        Self { done, task: compute.spawn(name, Box::pin(task)) }
    }

    /// Waits for the result; `None` if the work panicked. Never resolves if no work is in progress. Cancel-safe.
    pub(crate) async fn end(under_way: &mut Option<Self>) -> Option<T> {
        let Some(Self { done, .. }) = under_way else { return future::pending().await };
        let result = done.await.ok();
        *under_way = None;
        result
    }

    /// Ends the work, and waits until it holds nothing any more. Work that has not begun ends at once; what has begun
    /// ends where it would wait next.
    pub(crate) async fn finish(under_way: Option<Self>) {
        let Some(Self { done, task }) = under_way else { return };
        task.abort();
        // The sender is dropped with all that the work holds.
        let _ = done.await;
    }
}
