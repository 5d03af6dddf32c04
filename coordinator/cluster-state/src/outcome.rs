//! What applying a command gives its proposer: what changed, or why nothing did.

use thalweg_types::{Attempt, CheckpointId, ClusterId, Incarnation, JobId, JobStatus, NodeId};
use thiserror::Error;

/// The outcome of a committed command. A rejection is normal and has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Recorded.
    Applied(Vec<Event>),
    /// Not recorded.
    Rejected(Rejection),
}

impl Outcome {
    /// The events of an applied command; a rejection otherwise.
    ///
    /// # Errors
    /// The reason of the rejection.
    pub fn into_result(self) -> Result<Vec<Event>, Rejection> {
        match self {
            Self::Applied(events) => Ok(events),
            Self::Rejected(reason) => Err(reason),
        }
    }
}

/// Something that an applied command changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The cluster has this name.
    ClusterNamed(ClusterId),
    /// The node is alive.
    NodeRegistered {
        /// Which.
        node: NodeId,
        /// Which life of it.
        incarnation: Incarnation,
    },
    /// This life of the node is over, as far as the cluster is concerned.
    NodeLost {
        /// Which.
        node: NodeId,
        /// Which life of it.
        incarnation: Incarnation,
    },
    /// The node takes no more work.
    NodeLeaving {
        /// Which.
        node: NodeId,
    },
    /// The record of the node is gone.
    NodeForgotten {
        /// Which.
        node: NodeId,
    },
    /// The job was accepted, now or by an earlier command of the same request.
    JobAccepted {
        /// Which.
        job: JobId,
    },
    /// The job is now here in its life.
    JobChanged {
        /// Which.
        job: JobId,
        /// Its last attempt.
        attempt: Attempt,
        /// Its status.
        status: JobStatus,
    },
    /// A checkpoint has begun.
    CheckpointBegun {
        /// Of which job.
        job: JobId,
        /// Which.
        checkpoint: CheckpointId,
    },
    /// A checkpoint is complete.
    CheckpointCompleted {
        /// Of which job.
        job: JobId,
        /// Which.
        checkpoint: CheckpointId,
    },
    /// What sinks had prepared up to a checkpoint is published.
    SinksCommitted {
        /// Of which job.
        job: JobId,
        /// Which.
        checkpoint: CheckpointId,
    },
    /// The record of a checkpoint is gone.
    CheckpointForgotten {
        /// Of which job.
        job: JobId,
        /// Which.
        checkpoint: CheckpointId,
    },
    /// The record of the job is gone.
    JobForgotten {
        /// Which.
        job: JobId,
    },
}

/// Why a command was not recorded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejection {
    /// The cluster has a name already.
    #[error("the cluster is already named {0}")]
    AlreadyNamed(ClusterId),
    /// No such node.
    #[error("{0} is not known")]
    UnknownNode(NodeId),
    /// Another life of the node is current.
    #[error("{node} is now {current}, not {given}")]
    NotCurrentIncarnation {
        /// Which.
        node: NodeId,
        /// The current life.
        current: Incarnation,
        /// The life that was meant.
        given: Incarnation,
    },
    /// A newer process took this node's place.
    #[error("a newer process has registered as {node}; {given} cannot come back")]
    Superseded {
        /// Which.
        node: NodeId,
        /// The older life.
        given: Incarnation,
    },
    /// The node is lost or leaving.
    #[error("{0} takes no work")]
    NotAvailable(NodeId),
    /// The node is still there, or a job depends on it.
    #[error("{0} is still needed")]
    NodeNeeded(NodeId),
    /// The node has fewer slots left.
    #[error("{node} has {free} free slots, the assignment wants {wanted}")]
    NoSlots {
        /// Which.
        node: NodeId,
        /// Slots that no live attempt holds.
        free: u32,
        /// Slices that were to be placed there.
        wanted: u32,
    },
    /// The assignment contradicts itself or the job.
    #[error("the assignment is inconsistent: {0}")]
    BadAssignment(String),
    /// Another job that lives takes records there.
    #[error("records that are POSTed to /{path} go to {job}, {name:?}: end it first, or give the table another 'path'")]
    PathTaken {
        /// The path.
        path: String,
        /// The other job.
        job: JobId,
        /// Its name.
        name: String,
    },
    /// No such job.
    #[error("{0} is not known")]
    UnknownJob(JobId),
    /// Only a failed job is started again.
    #[error("{job} is {status}: only a job that has failed can be started again")]
    NotFailed {
        /// Which.
        job: JobId,
        /// Where it is in its life.
        status: JobStatus,
    },
    /// The last attempt ran to its end, and some of what it gave may be visible.
    #[error(
        "{0} had come to its end and failed while its output was published: some may be visible, and would be written twice"
    )]
    PartlyPublished(JobId),
    /// Another attempt is current.
    #[error("{job} is at {current}, not {given}")]
    NotCurrentAttempt {
        /// Which.
        job: JobId,
        /// Its last attempt.
        current: Attempt,
        /// The attempt that was meant.
        given: Attempt,
    },
    /// Another checkpoint is due.
    #[error("{job} is at {due}, not {given}")]
    NotDueCheckpoint {
        /// Of which job.
        job: JobId,
        /// The checkpoint that could be begun, completed or committed; 0: none.
        due: CheckpointId,
        /// The checkpoint that was meant.
        given: CheckpointId,
    },
    /// No such checkpoint is complete.
    #[error("{job} has no complete {checkpoint}")]
    UnknownCheckpoint {
        /// Of which job.
        job: JobId,
        /// Which.
        checkpoint: CheckpointId,
    },
    /// The job may have to go on from the checkpoint, or to publish what it holds.
    #[error("{checkpoint} of {job} is still needed")]
    CheckpointNeeded {
        /// Of which job.
        job: JobId,
        /// Which.
        checkpoint: CheckpointId,
    },
    /// What a complete checkpoint holds is not published yet.
    #[error("what {checkpoint} of {job} holds is not published yet")]
    NotCommitted {
        /// Of which job.
        job: JobId,
        /// The oldest such checkpoint.
        checkpoint: CheckpointId,
    },
    /// The job is elsewhere in its life.
    #[error("{job} is {status}")]
    WrongStatus {
        /// Which.
        job: JobId,
        /// Where it is.
        status: JobStatus,
    },
}
