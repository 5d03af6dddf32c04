//! The states of a job, and overviews of it for clients.
//!
//! ```text
//! Created -> Deploying(attempt) -> Running(attempt) -> Committing(attempt) -> Finished
//!               ^      |              |                    |
//!               |      v              v                    v
//!               +-- Restarting <------+--------------------+      Cancelled and Failed end it from any live state
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    checkpoint::SnapshotCost,
    id::{Attempt, CheckpointId, JobId},
};

mod waits;

pub use waits::{AWAITED_MAX, AwaitedSubtask, CheckpointWaits, shortened_name};

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Accepted; no attempt yet (waiting for slots).
    Created,
    /// An attempt is being deployed.
    Deploying,
    /// All subtasks of the attempt run.
    Running,
    /// All subtasks have finished; sinks are being published.
    Committing,
    /// The last attempt ended early; the next one waits for its backoff or for slots.
    Restarting,
    /// All input was processed and published.
    Finished,
    /// Ended by request; unpublished output was discarded.
    Cancelled,
    /// Ended by request, with what it had produced published.
    Stopped,
    /// Ended by an error that a restart would not fix.
    Failed,
}

impl JobStatus {
    /// All that there are.
    pub const ALL: [Self; 9] = [
        Self::Created,
        Self::Deploying,
        Self::Running,
        Self::Committing,
        Self::Restarting,
        Self::Finished,
        Self::Cancelled,
        Self::Stopped,
        Self::Failed,
    ];

    /// Whether the job has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Cancelled | Self::Stopped | Self::Failed)
    }

    /// Its text form.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Deploying => "deploying",
            Self::Running => "running",
            Self::Committing => "committing",
            Self::Restarting => "restarting",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// Parses the text form.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.word() == word)
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why an attempt failed; decides whether and how the job is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// A node was lost or went away; retried without limit.
    Node,
    /// A stream between two nodes broke; retried without limit.
    Link,
    /// Storage failed; retried without limit.
    Store,
    /// An operator panicked or failed; retried a limited number of times.
    Operator,
    /// A record could not be read or processed, or the plan cannot run at all: a retry would fail the same way.
    Data,
}

/// The failure that ended an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its kind.
    pub kind: FailureKind,
    /// What happened and where, with the causes, for people.
    pub message: String,
}

impl Failure {
    /// What may be told outside the cluster. The message may quote rows, and URLs with secrets in them.
    #[must_use]
    pub fn outline(&self) -> &'static str {
        self.kind.outline()
    }
}

impl FailureKind {
    /// What has failed, in general.
    #[must_use]
    pub fn outline(self) -> &'static str {
        match self {
            Self::Node => "a node was lost or went away",
            Self::Link => "a stream between two nodes broke",
            Self::Store => "storage failed",
            Self::Operator => "an operator failed",
            Self::Data => "data could not be read or processed",
        }
    }
}

/// Measurements of one subtask since its start, in counts and microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SubtaskMetrics {
    /// Records that came in (for a source: that were read).
    pub records_in: u64,
    /// Records that went out (for a sink: that were written).
    pub records_out: u64,
    /// Bytes of the batches that came in.
    pub bytes_in: u64,
    /// Bytes of the batches that went out.
    pub bytes_out: u64,
    /// Time spent computing.
    pub busy_micros: u64,
    /// Time blocked because an output channel had no credit.
    pub blocked_micros: u64,
    /// Time without input.
    pub idle_micros: u64,
    /// The newest combined watermark; `i64::MIN` where there is none.
    pub watermark: i64,
    /// Records judged late.
    pub late_records: u64,
    /// Malformed records, set aside as dead letters.
    pub dead_letters: u64,
    /// Rows set aside because they could not be evaluated.
    #[serde(default)]
    pub failed_rows: u64,
}

/// One subtask as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtaskOverview {
    /// The operators of its chain, for people.
    pub name: String,
    /// Index of its chain.
    pub chain: u32,
    /// Its index in the chain.
    pub index: u32,
    /// The node that runs it.
    pub node: u64,
    /// `deploying`, `ready`, `running`, `finished`, `failed` or `unknown`.
    pub state: String,
    /// Whether its chain begins with a source.
    pub is_source: bool,
    /// Whether its chain ends in a sink.
    pub is_sink: bool,
    /// Its measurements.
    pub metrics: SubtaskMetrics,
}

/// A summary of a job's checkpoints for clients.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CheckpointSummary {
    /// The newest complete checkpoint.
    pub last_complete: Option<CheckpointId>,
    /// How many checkpoints have failed since then.
    pub failures_in_a_row: u32,
    /// Why the last of them failed; empty if none has.
    pub reason: String,
}

/// The state of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointState {
    /// Its parts are being made durable.
    InProgress,
    /// The job can go on from it.
    Complete,
    /// It was given up.
    Failed,
}

impl CheckpointState {
    /// Its text form.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::InProgress => "in progress",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
    }

    /// Parses the text form.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::InProgress, Self::Complete, Self::Failed].into_iter().find(|state| state.word() == word)
    }
}

/// One checkpoint as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointOverview {
    /// Its number.
    pub checkpoint: CheckpointId,
    /// The attempt whose state it holds; 0 if the leader that knew it is gone.
    pub attempt: Attempt,
    /// Its state.
    pub state: CheckpointState,
    /// Why it failed; empty if it did not.
    pub reason: String,
    /// When it began, in milliseconds since the Unix epoch; 0 if the leader that knew it is gone.
    pub begun_ms: u64,
    /// Time from its beginning to its end, or until now.
    pub duration_micros: u64,
    /// Over all subtasks: the longest times, and the sum of the bytes.
    pub cost: SnapshotCost,
    /// The URL of its manifest; empty unless it is complete and kept.
    pub url: String,
    /// Whom it waits for, or waited for when it was given up; `None` if it is complete, or nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<CheckpointWaits>,
}

/// One job as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOverview {
    /// Its id.
    pub job: JobId,
    /// Its name.
    pub name: String,
    /// Its state.
    pub status: JobStatus,
    /// The current or last attempt; 0 before the first.
    pub attempt: Attempt,
    /// Slices of the current attempt; before the first, as asked for.
    pub parallelism: u32,
    /// What ended the last failed attempt.
    pub failure: Option<Failure>,
    /// How many attempts have failed so far.
    pub failures: u32,
    /// A summary of its checkpoints.
    pub checkpoints: CheckpointSummary,
    /// Subtasks of the current attempt; empty in lists.
    pub subtasks: Vec<SubtaskOverview>,
    /// The script; empty in lists.
    pub sql: String,
    /// The dataflow as text; empty in lists.
    pub plan: String,
    /// The URLs where its tables take POSTed records now.
    #[serde(default)]
    pub ingest_urls: Vec<String>,
    /// The URLs where its tables are asked for their newest rows now, of each at some nodes.
    #[serde(default)]
    pub asked_urls: Vec<String>,
    /// When it was submitted, in milliseconds since the Unix epoch; 0: not known.
    #[serde(default)]
    pub submitted_ms: u64,
    /// When it ended, in milliseconds since the Unix epoch; 0: not yet, or not known.
    #[serde(default)]
    pub ended_ms: u64,
}

impl JobOverview {
    /// Whether it tells a client more than an earlier one: anything but what its checkpoints are.
    #[must_use]
    pub fn differs_from(&self, earlier: &Self) -> bool {
        let checkpoints = earlier.checkpoints.clone();
        Self { checkpoints, ..self.clone() } != *earlier
    }
}
