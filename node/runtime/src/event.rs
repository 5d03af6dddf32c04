//! What an attempt reports to its node: its supervisor, its subtasks and their uploaders, by one queue.

use thalweg_types::{
    CheckpointId, NodeId, SubtaskId,
    checkpoint::{Prepared, ToldSnapshot},
    job::{Failure, SubtaskMetrics},
};

/// What an attempt reports to its node.
#[derive(Debug)]
pub enum AttemptEvent {
    /// All subtasks here are built and connected.
    Ready,
    /// A subtask has processed all its input.
    Finished {
        subtask: SubtaskId,
        /// Its last metrics.
        metrics: SubtaskMetrics,
        /// What its sinks have prepared, as far as the subtask does not know it to be published.
        prepared: Vec<Prepared>,
    },
    /// A subtask's part of a checkpoint is durable.
    Snapshot {
        checkpoint: CheckpointId,
        /// Its objects, batches and counters.
        snapshot: ToldSnapshot,
    },
    /// A subtask's part of a checkpoint could not be made durable. The subtask goes on.
    SnapshotFailed {
        checkpoint: CheckpointId,
        subtask: SubtaskId,
        /// The error with its causes.
        failure: Failure,
    },
    /// A subtask asks for a checkpoint before the next one is due.
    CheckpointWanted,
    /// A subtask, or the deployment as a whole, failed. The attempt is over.
    Failed {
        /// The failed subtask; `None` if the deployment failed.
        subtask: Option<SubtaskId>,
        failure: Failure,
        /// The other node, if a stream to it broke.
        peer: Option<NodeId>,
    },
    /// Nothing of the attempt is left on this node. This is the last event.
    Gone,
}
