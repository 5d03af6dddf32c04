//! What the proposer of a command gets back: what changed, or why nothing did.

use thalweg_types::{Attempt, CheckpointId, ClusterId, Incarnation, JobId, JobStatus, NodeId};
use thiserror::Error;

/// The outcome of a committed command. A rejection is normal and changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Recorded.
    Applied(Vec<Event>),
    /// Not recorded.
    Rejected(Rejection),
}

impl Outcome {
    /// The events of an applied command.
    ///
    /// # Errors
    /// The reason, if the command was rejected.
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
    /// The cluster has an id.
    ClusterNamed(ClusterId),
    /// The node is alive.
    NodeRegistered {
        node: NodeId,
        /// The incarnation that registered.
        incarnation: Incarnation,
    },
    /// The cluster has given up this incarnation of the node.
    NodeLost {
        node: NodeId,
        /// The incarnation that is lost.
        incarnation: Incarnation,
    },
    /// The node takes no more work.
    NodeLeaving {
        /// The node that leaves.
        node: NodeId,
    },
    /// The record of the node is gone.
    NodeForgotten {
        /// A node that was lost.
        node: NodeId,
    },
    /// The job was accepted, by this command or by an earlier one of the same request.
    JobAccepted {
        /// The new job, or the one of the earlier command.
        job: JobId,
    },
    /// The job's status or attempt changed.
    JobChanged {
        job: JobId,
        /// The job's last attempt.
        attempt: Attempt,
        status: JobStatus,
    },
    /// A checkpoint has begun.
    CheckpointBegun {
        job: JobId,
        /// The successor of the last checkpoint of the job.
        checkpoint: CheckpointId,
    },
    /// A checkpoint is complete.
    CheckpointCompleted {
        job: JobId,
        /// Now the newest complete one of the job.
        checkpoint: CheckpointId,
    },
    /// What the sinks prepared up to a checkpoint is published.
    SinksCommitted {
        job: JobId,
        /// The checkpoint up to which everything is published.
        checkpoint: CheckpointId,
    },
    /// The record of a checkpoint is gone.
    CheckpointForgotten {
        job: JobId,
        /// A checkpoint that was complete.
        checkpoint: CheckpointId,
    },
    /// The record of the job is gone.
    JobForgotten {
        /// A job that had ended.
        job: JobId,
    },
}

/// Why a command was not recorded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejection {
    /// The cluster has an id already.
    #[error("the cluster is already named {0}")]
    AlreadyNamed(ClusterId),
    /// No node has this id.
    #[error("{0} is not known")]
    UnknownNode(NodeId),
    /// Another incarnation of the node is current.
    #[error("{node} is now {current}, not {given}")]
    NotCurrentIncarnation {
        node: NodeId,
        /// The incarnation that is registered.
        current: Incarnation,
        /// The incarnation that the command names.
        given: Incarnation,
    },
    /// A newer process has registered under this node's id.
    #[error("a newer process has registered as {node}; {given} cannot come back")]
    Superseded {
        node: NodeId,
        /// The older incarnation.
        given: Incarnation,
    },
    /// The node is lost or leaves.
    #[error("{0} takes no work")]
    NotAvailable(NodeId),
    /// The node is not lost, or a live attempt holds slots on it.
    #[error("{0} is still needed")]
    NodeNeeded(NodeId),
    /// The node has too few free slots.
    #[error("{node} has {free} free slots, the assignment wants {wanted}")]
    NoSlots {
        node: NodeId,
        /// Slots that no live attempt holds.
        free: u32,
        /// Slices that the plan puts there.
        wanted: u32,
    },
    /// The assignment contradicts itself or the job.
    #[error("the assignment is inconsistent: {0}")]
    BadAssignment(String),
    /// Another live job takes records at this path, or is asked there.
    #[error("{}", path_taken(path, *job, name))]
    PathTaken {
        path: String,
        /// The job that takes records at the path.
        job: JobId,
        name: String,
    },
    /// No job has this id.
    #[error("{0} is not known")]
    UnknownJob(JobId),
    /// Only a failed job is started again.
    #[error("{job} is {status}: only a job that has failed can be started again")]
    NotFailed {
        job: JobId,
        /// The job's current status.
        status: JobStatus,
    },
    /// The last attempt ran to its end, and some of its output may be visible.
    #[error(
        "{0} had come to its end and failed while its output was published: some may be visible, and would be written twice"
    )]
    PartlyPublished(JobId),
    /// Another attempt is the last one.
    #[error("{job} is at {current}, not {given}")]
    NotCurrentAttempt {
        job: JobId,
        /// The job's last attempt.
        current: Attempt,
        /// The attempt that the command names.
        given: Attempt,
    },
    /// Another checkpoint is due, or none.
    #[error("{job} is at {due}, not {given}")]
    NotDueCheckpoint {
        job: JobId,
        /// The checkpoint that may be begun, completed or committed; 0 if none.
        due: CheckpointId,
        /// The checkpoint that the command names.
        given: CheckpointId,
    },
    /// The job has no such complete checkpoint.
    #[error("{job} has no complete {checkpoint}")]
    UnknownCheckpoint {
        job: JobId,
        /// The checkpoint that the command names.
        checkpoint: CheckpointId,
    },
    /// The job may have to restore the checkpoint, or to publish what it holds.
    #[error("{checkpoint} of {job} is still needed")]
    CheckpointNeeded {
        job: JobId,
        /// The checkpoint that the command names.
        checkpoint: CheckpointId,
    },
    /// A complete checkpoint is not published yet.
    #[error("what {checkpoint} of {job} holds is not published yet")]
    NotCommitted {
        job: JobId,
        /// The oldest one that is not published.
        checkpoint: CheckpointId,
    },
    /// The job's status does not allow the command.
    #[error("{job} is {status}")]
    WrongStatus {
        job: JobId,
        /// The job's current status.
        status: JobStatus,
    },
}

fn path_taken(path: &str, job: JobId, name: &str) -> String {
    match path.strip_prefix('/') {
        Some(path) => {
            format!("/{path} is answered by {job}, {name:?}: end it first, or give the table another name")
        }
        None => format!(
            "records that are POSTed to /{path} go to {job}, {name:?}: end it first, or give the table another 'path'"
        ),
    }
}
