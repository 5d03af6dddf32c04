//! What a node and the leading coordinator say to each other on the node's session stream.
//!
//! ```text
//! node                                        leader
//!  | -- Register ------------------------------> |   a fresh incarnation makes the old one lost
//!  | <-------------------------- Registered ---- |   term, lease
//!  | -- Reattach (subtasks, kept statuses) ----> |   after every Registered
//!  | -- Heartbeat (metrics) -------------------> |   every lease / 4
//!  | <------------------ Order { sequence, .. }  |   resent until acknowledged; idempotent
//!  | -- Acknowledge { sequence } --------------> |
//!  | -- Report { sequence, .. } ---------------> |   kept by the node until acknowledged
//!  | <------------- ReportAcknowledged --------- |
//! ```
//!
//! Every order carries (term, job, attempt); a node refuses what is older than it has seen.

use serde::{Deserialize, Serialize};

use crate::{
    assignment::Assignment,
    checkpoint::{ManifestRef, Prepared, SplitProgress, ToldSnapshot},
    graph::JobGraph,
    id::{Attempt, CheckpointId, ClusterId, JobId, NodeId, OperatorId, SubtaskId, Term},
    job::{Failure, SubtaskMetrics},
    node::NodeRegistration,
    split::Split,
};

/// From a node to its coordinator.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeMessage {
    /// First message of a session.
    Register(NodeRegistration),
    /// What still runs or is kept here, after registration.
    Reattach {
        /// Every subtask on the node.
        subtasks: Vec<SubtaskReport>,
    },
    /// The node is alive.
    Heartbeat {
        /// Metrics of every subtask on the node.
        metrics: Vec<(JobId, Attempt, SubtaskId, SubtaskMetrics)>,
    },
    /// An order was taken (or refused as stale); it will not be resent.
    Acknowledge {
        /// The order's number.
        sequence: u64,
        /// Why the order was refused, where it was.
        refused: Option<String>,
    },
    /// Something ended or became ready.
    Report {
        /// The node's own number for this report, growing within the incarnation.
        sequence: u64,
        /// What happened.
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
        /// The node's id.
        node: NodeId,
        /// The leader's term.
        term: Term,
        /// How long the node is trusted without a heartbeat, in milliseconds.
        lease_ms: u64,
    },
    /// The registration was refused; the node must not retry unchanged.
    Refused {
        /// Why.
        reason: String,
    },
    /// Do this.
    Order {
        /// Number within the session; acknowledged by it.
        sequence: u64,
        /// What to do.
        order: Order,
    },
    /// A report was recorded; the node may forget it.
    ReportAcknowledged {
        /// The report's number.
        sequence: u64,
    },
}

/// What a leader wants of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The leader's term.
    pub term: Term,
    /// The leader's cluster, named in all that the job writes: clusters count their jobs alike.
    pub cluster: ClusterId,
    /// The job it is about.
    pub job: JobId,
    /// The attempt it is about.
    pub attempt: Attempt,
    /// What to do.
    pub action: Action,
}

/// The actions of orders.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// List the splits of sources; answered by `Report::Discovered`.
    Discover {
        /// The job's graph.
        graph: Box<JobGraph>,
        /// Which sources.
        sources: Vec<OperatorId>,
    },
    /// Build the subtasks of this attempt that the assignment places here and connect them; answered by `Report::Ready`
    /// or `Report::Failed`.
    Deploy(Box<Deployment>),
    /// Every node is ready: let the sources read.
    Start,
    /// End the attempt and discard unpublished output; answered by `Report::Gone`.
    Cancel,
    /// End the sources as if their input ended here, and drain (bounded stop); subtasks then report `Finished`.
    Stop,
    /// Take part in a checkpoint: the sources emit its barrier. Each subtask answers with `Report::Snapshot` or
    /// `Report::SnapshotFailed`.
    BeginCheckpoint {
        /// Which.
        checkpoint: CheckpointId,
    },
    /// A checkpoint will not be completed: what waits for it goes on.
    AbortCheckpoint {
        /// Which.
        checkpoint: CheckpointId,
    },
    /// A checkpoint is complete: what it holds need not be kept for the next one, and rows of bare `SELECT`s up to its
    /// barrier may be given to clients.
    ConfirmCheckpoint {
        /// Which.
        checkpoint: CheckpointId,
    },
    /// Publish the committables of sinks; answered by `Report::Committed`.
    Commit {
        /// The job's graph.
        graph: Box<JobGraph>,
        /// The checkpoint that they belong to; `CheckpointId::FINAL` for those of a job whose input has ended.
        checkpoint: CheckpointId,
        /// What each sink writer returned.
        committables: Vec<SinkCommittables>,
    },
    /// Remove what attempts of the job have left hidden and nobody will publish; answered by `Report::Discarded`.
    Discard {
        /// The job's graph.
        graph: Box<JobGraph>,
        /// Only attempts older than this one: the order's own, where that lives. `ALL_ATTEMPTS`: those of a job that has
        /// ended, which are gone from all nodes.
        before: Attempt,
    },
}

/// Comes after all attempts.
pub const ALL_ATTEMPTS: Attempt = Attempt(u32::MAX);

/// One attempt's placement as a node needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// The dataflow.
    pub graph: JobGraph,
    /// Who runs what.
    pub assignment: Assignment,
    /// Where the nodes of the assignment listen.
    pub addresses: Vec<(NodeId, String)>,
    /// Splits per source operator and subtask index.
    pub splits: Vec<SplitAssignment>,
    /// Where checkpoints are kept: the URL of a directory or of a prefix in an object store.
    pub checkpoints: String,
    /// Whether they are taken by time, so that all nodes can be expected to reach that place.
    pub takes_checkpoints: bool,
    /// The checkpoint to go on from; `None`: from the beginning.
    pub restore: Option<ManifestRef>,
}

/// The splits of one source subtask.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitAssignment {
    /// The source.
    pub source: OperatorId,
    /// The subtask's index.
    pub subtask: u32,
    /// In the order in which they are to be read within each sequence.
    pub splits: Vec<SplitProgress>,
}

/// What one sink subtask's writer returned when it closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkCommittables {
    /// The sink.
    pub sink: OperatorId,
    /// The subtask's index.
    pub subtask: u32,
    /// Understood by the connector alone.
    pub committables: Vec<serde_json::Value>,
}

/// What a node tells of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// The splits of sources.
    Discovered {
        /// The job.
        job: JobId,
        /// The attempt that asked.
        attempt: Attempt,
        /// Per source, in discovery order; or why they could not be listed.
        splits: Result<Vec<(OperatorId, Vec<Split>)>, Failure>,
    },
    /// All subtasks of the attempt on this node are built and connected.
    Ready {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
    },
    /// A subtask has processed all its input.
    Finished {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
        /// Which.
        subtask: SubtaskId,
        /// Its last measurements.
        metrics: SubtaskMetrics,
        /// What its sinks have prepared and the subtask does not know to be published.
        prepared: Vec<Prepared>,
    },
    /// A subtask's part of a checkpoint is durable.
    Snapshot {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// What it consists of.
        snapshot: ToldSnapshot,
    },
    /// A subtask's part of a checkpoint could not be made durable. The subtask runs on.
    SnapshotFailed {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Which.
        subtask: SubtaskId,
        /// Why.
        failure: Failure,
    },
    /// Something waits for the next checkpoint, such as rows that may be given to a client only then.
    CheckpointWanted {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
    },
    /// A subtask, or the deployment as a whole, ended badly. The attempt is over.
    Failed {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
        /// Which; `None`: the deployment.
        subtask: Option<SubtaskId>,
        /// Why.
        failure: Failure,
        /// The other node, where a stream to it broke.
        peer: Option<NodeId>,
    },
    /// Nothing of the attempt is left on this node.
    Gone {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
    },
    /// The committables of an attempt are published, or could not be.
    Committed {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
        /// The checkpoint that they belong to, as in the order.
        checkpoint: CheckpointId,
        /// Whether it worked.
        result: Result<(), Failure>,
    },
    /// What the job had left unpublished is removed, or could not be.
    Discarded {
        /// The job.
        job: JobId,
        /// The attempt, as in the order.
        attempt: Attempt,
        /// Of which attempts, as in the order.
        before: Attempt,
        /// Whether it worked.
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
    /// Which.
    pub subtask: SubtaskId,
    /// Where it is.
    pub state: SubtaskState,
}

/// Where a subtask is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubtaskState {
    /// Built and connected; sources wait for the start.
    Ready,
    /// Running.
    Running,
    /// Ended well; its report may be unacknowledged.
    Finished,
    /// Ended badly; its report may be unacknowledged.
    Failed,
}
