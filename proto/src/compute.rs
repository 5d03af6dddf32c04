//! Runs what is too long for the tasks that serve requests and keep the cluster alive.

use thalweg_types::seam::Seams;
use tokio::sync::oneshot;

/// Runs a computation on the compute threads; `None` if it panics.
pub async fn on_compute<T: Send + 'static>(
    seams: &Seams,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (reply, done) = oneshot::channel();
    let task = async move {
        // Whoever asked may be gone, and then nobody needs the answer.
        let _ = reply.send(work());
    };
    let _ = seams.compute.spawn(name, Box::pin(task));
    done.await.ok()
}
