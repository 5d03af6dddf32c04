//! Work that takes its time, away from the tasks that keep the cluster alive.

use thalweg_types::seam::Seams;
use tokio::sync::oneshot;

/// Does a piece of work on the compute threads; `None` where it has panicked.
pub(crate) async fn on_compute<T: Send + 'static>(
    seams: &Seams,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (reply, done) = oneshot::channel();
    let task = async move {
        // Whoever went away waits for no answer.
        let _ = reply.send(work());
    };
    let _ = seams.compute.spawn(name, Box::pin(task));
    done.await.ok()
}
