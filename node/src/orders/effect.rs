//! The effects of orders, for the holder of the machine to carry out.

use thalweg_types::{
    Attempt, CheckpointId, ClusterId, JobGraph, JobId, OperatorId, TraceContext,
    checkpoint::ManifestRef,
    session::{Deployment, NodeMessage, Publication},
};

/// What the holder must do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// List splits, and call `on_discovered`.
    Discover {
        job: JobId,
        attempt: Attempt,
        graph: Box<JobGraph>,
        sources: Vec<OperatorId>,
        trace: Option<TraceContext>,
    },
    /// Build an attempt, and pass its reports to `on_report`.
    Deploy {
        cluster: ClusterId,
        job: JobId,
        attempt: Attempt,
        deployment: Box<Deployment>,
        trace: Option<TraceContext>,
    },
    /// Let the attempt's sources read.
    Start { job: JobId, attempt: Attempt, trace: Option<TraceContext> },
    /// End the attempt and discard its output.
    Cancel { job: JobId, attempt: Attempt },
    /// End the attempt's sources, and let it drain.
    Stop { job: JobId, attempt: Attempt },
    /// Let the attempt's sources emit the barrier of a checkpoint.
    BeginCheckpoint { job: JobId, attempt: Attempt, checkpoint: CheckpointId, trace: Option<TraceContext> },
    /// Let subtasks that wait for a checkpoint go on without it.
    AbortCheckpoint { job: JobId, attempt: Attempt, checkpoint: CheckpointId },
    /// Tell the attempt that a checkpoint is complete.
    ConfirmCheckpoint { job: JobId, attempt: Attempt, checkpoint: CheckpointId, manifest: Option<ManifestRef> },
    /// Publish, and call `on_committed`.
    Commit {
        cluster: ClusterId,
        job: JobId,
        attempt: Attempt,
        publication: Box<Publication>,
        trace: Option<TraceContext>,
    },
    /// Remove unpublished output of attempts older than `before`, and call `on_discarded`.
    Discard {
        cluster: ClusterId,
        job: JobId,
        attempt: Attempt,
        before: Attempt,
        graph: Box<JobGraph>,
        checkpoints: String,
    },
    /// Drop what is still held for a cancelled attempt: its handle, and rows that nobody will fetch.
    Forget { job: JobId, attempt: Attempt },
    /// Send over the session, if there is one.
    Send(NodeMessage),
    /// Give up the process, because the attempt could not be ended.
    Abandon { job: JobId, attempt: Attempt },
}
