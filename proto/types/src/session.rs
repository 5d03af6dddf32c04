//! The messages between a node and the leading coordinator, on the node's session stream.
//!
//! ```text
//! node                                        leader
//!  | -- Register ------------------------------> |   a fresh incarnation makes the old one lost
//!  | <-------------------------- Registered ---- |   term, lease
//!  | -- Reattach (states of subtasks) ---------> |   after every Registered
//!  | -- Heartbeat (metrics) -------------------> |   every lease / 4
//!  | <------------------ Order { sequence, .. }  |   resent until acknowledged; idempotent
//!  | -- Acknowledge { sequence } --------------> |
//!  | -- Report { sequence, .. } ---------------> |   kept by the node until acknowledged
//!  | <------------- ReportAcknowledged --------- |
//!  | -- Leaving -------------------------------> |   again over each new session
//!  | <------------------- LeaveRecorded -------- |   an idle node may end
//! ```
//!
//! Every order carries (term, job, attempt). A node refuses orders that are older than what it has seen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    assignment::Assignment,
    checkpoint::{ManifestRef, Prepared, SinkCommittables, SplitProgress, ToldSnapshot},
    graph::JobGraph,
    id::{Attempt, CheckpointId, ClusterId, JobId, NodeId, OperatorId, SubtaskId, Term},
    job::{Failure, SubtaskMetrics},
    node::NodeRegistration,
    split::Split,
    trace::TraceContext,
};

/// From a node to its coordinator.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeMessage {
    /// First message of a session.
    Register(NodeRegistration),
    /// The subtasks that are on the node, after registration.
    Reattach {
        /// Every subtask on the node.
        subtasks: Vec<SubtaskReport>,
    },
    /// The node is alive.
    Heartbeat {
        /// Metrics of every subtask on the node.
        metrics: Vec<(JobId, Attempt, SubtaskId, SubtaskMetrics)>,
    },
    /// An order was taken, or refused; it will not be resent.
    Acknowledge {
        /// The order's number.
        sequence: u64,
        /// Why the order was refused; `None`: it was taken.
        refused: Option<String>,
    },
    /// Something happened in an attempt.
    Report {
        /// The node's number for this report; grows within the incarnation.
        sequence: u64,
        report: Report,
    },
    /// The node is about to leave on purpose; it takes no more work.
    Leaving,
}

/// From the leader to a node.
#[derive(Debug, Clone, PartialEq)]
pub enum CoordinatorMessage {
    /// The registration was accepted.
    Registered {
        node: NodeId,
        term: Term,
        /// How long the node is trusted without a heartbeat, in milliseconds.
        lease_ms: u64,
    },
    /// The registration was refused; the node must not retry unchanged.
    Refused {
        /// The reason, for people.
        reason: String,
    },
    /// Asks the node for an action.
    Order {
        /// The order's number within the session. The node acknowledges it by this number.
        sequence: u64,
        order: Order,
    },
    /// A report was recorded; the node may forget it.
    ReportAcknowledged {
        /// The report's number.
        sequence: u64,
    },
    /// That the node leaves is recorded. When its session ends, it has left and is not lost.
    LeaveRecorded,
}

/// An order of the leader to a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The leader's term.
    pub term: Term,
    /// The leader's cluster. The names of all that the job writes hold it, because clusters number their jobs alike.
    pub cluster: ClusterId,
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// What to do.
    pub action: Action,
    /// The span that it is done for, where somebody traces.
    pub trace: Option<TraceContext>,
}

/// The actions of orders.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// List the splits of sources; answered by `ReportBody::Discovered`.
    Discover {
        graph: Box<JobGraph>,
        /// The sources to list.
        sources: Vec<OperatorId>,
    },
    /// Build the subtasks of this attempt that the assignment places here and connect them; answered by `ReportBody::Ready`
    /// or `ReportBody::Failed`.
    Deploy(Box<Deployment>),
    /// All nodes are ready: let the sources read.
    Start,
    /// End the attempt and discard unpublished output; answered by `ReportBody::Gone`.
    Cancel,
    /// End the sources as if their input ended here, and drain; subtasks then report `Finished`.
    Stop,
    /// Take part in a checkpoint: the sources emit its barrier. Each subtask answers with `ReportBody::Snapshot` or
    /// `ReportBody::SnapshotFailed`.
    BeginCheckpoint {
        /// Its number.
        checkpoint: CheckpointId,
    },
    /// A checkpoint will not complete: whatever waits for it goes on.
    AbortCheckpoint {
        /// Its number.
        checkpoint: CheckpointId,
    },
    /// A checkpoint is complete: what it holds need not be kept for the next one, and clients may get rows of bare
    /// `SELECT`s up to its barrier.
    ConfirmCheckpoint {
        /// Its number.
        checkpoint: CheckpointId,
        /// Where it stands; `None`: at the end of the job, or an older leader does not tell.
        manifest: Option<ManifestRef>,
    },
    /// Publish the committables of sinks; answered by `ReportBody::Committed`.
    Commit(Box<Publication>),
    /// Remove output of the job's attempts that is hidden and will not be published; answered by `ReportBody::Discarded`.
    Discard {
        graph: Box<JobGraph>,
        /// Only output of attempts before this one: the order's own attempt while that lives. `ALL_ATTEMPTS` for a job
        /// that has ended, whose attempts are gone from all nodes.
        before: Attempt,
        /// Where checkpoints are kept, and rows beside them that were staged for committers.
        checkpoints: String,
    },
}

/// What sinks have prepared, to be published, and what a destination that keeps its own progress is held against.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// The job's graph.
    pub graph: JobGraph,
    /// The checkpoint that the committables belong to; `CheckpointId::FINAL` for a job whose input has ended.
    pub checkpoint: CheckpointId,
    /// What writers have prepared.
    pub committables: Vec<SinkCommittables>,
    /// Of sinks with committables, the checkpoint with which something of theirs was published last before this one. A sink of
    /// which nothing was published is left out.
    pub published: BTreeMap<OperatorId, CheckpointId>,
    /// The newest complete checkpoint, at least `checkpoint`.
    pub complete: CheckpointId,
    /// Where checkpoints are kept, and rows beside them that were staged for committers.
    pub checkpoints: String,
}

/// A number above all attempts.
pub const ALL_ATTEMPTS: Attempt = Attempt(u32::MAX);

/// The placement of one attempt, as a node needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// The job's graph.
    pub graph: JobGraph,
    /// Which node runs which subtask.
    pub assignment: Assignment,
    /// The addresses of the assignment's nodes.
    pub addresses: Vec<(NodeId, String)>,
    /// Splits per source operator and subtask index.
    pub splits: Vec<SplitAssignment>,
    /// Where checkpoints are kept: the URL of a directory or of a prefix in an object store.
    pub checkpoints: String,
    /// Whether checkpoints are taken periodically, so that all nodes can be expected to reach that place.
    pub takes_checkpoints: bool,
    /// The checkpoint to restore; `None`: begin from the start.
    pub restore: Option<ManifestRef>,
}

/// The splits of one source subtask.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitAssignment {
    /// The source.
    pub source: OperatorId,
    /// The subtask's index.
    pub subtask: u32,
    /// In reading order within each sequence.
    pub splits: Vec<SplitProgress>,
}

/// What a node reports about an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// What there is to report.
    pub body: ReportBody,
}

/// What a report says. All but the last three come from the attempt itself, and are carried through the node as they are.
#[derive(Debug, Clone, PartialEq)]
pub enum ReportBody {
    /// All subtasks of the attempt on this node are built and connected.
    Ready,
    /// A subtask has processed all its input.
    Finished {
        subtask: SubtaskId,
        /// Its last measurements.
        metrics: SubtaskMetrics,
        /// What its sinks prepared and the subtask does not know to be published.
        prepared: Vec<Prepared>,
    },
    /// A subtask's part of a checkpoint is durable.
    Snapshot {
        checkpoint: CheckpointId,
        /// What it consists of.
        snapshot: ToldSnapshot,
    },
    /// A subtask's part of a checkpoint could not be made durable. The subtask runs on.
    SnapshotFailed {
        checkpoint: CheckpointId,
        subtask: SubtaskId,
        /// The reason.
        failure: Failure,
    },
    /// Something waits for the next checkpoint, such as rows that a client may get only then.
    CheckpointWanted,
    /// A subtask, or the deployment as a whole, failed. The attempt is over.
    Failed {
        /// `None`: the deployment as a whole.
        subtask: Option<SubtaskId>,
        failure: Failure,
        /// The other node, if a stream to it broke.
        peer: Option<NodeId>,
    },
    /// Nothing of the attempt is left on this node. An attempt says nothing more.
    Gone,
    /// The splits of sources.
    Discovered {
        /// Per source, in discovery order; or why they could not be listed.
        splits: Result<Vec<(OperatorId, Vec<Split>)>, Failure>,
    },
    /// The committables of an attempt are published, or could not be.
    Committed {
        /// As in the order.
        checkpoint: CheckpointId,
        result: Result<(), Failure>,
    },
    /// The job's unpublished output is removed, or could not be. The attempt is as in the order.
    Discarded {
        /// As in the order.
        before: Attempt,
        result: Result<(), Failure>,
    },
}

/// The state of one subtask on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubtaskReport {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// The subtask.
    pub subtask: SubtaskId,
    /// Its state.
    pub state: SubtaskState,
}

/// The state of a subtask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubtaskState {
    /// Built and connected; sources wait for the start.
    Ready,
    /// Running.
    Running,
    /// It processed all its input; the report may not be acknowledged yet.
    Finished,
    /// It failed; the report may not be acknowledged yet.
    Failed,
}
