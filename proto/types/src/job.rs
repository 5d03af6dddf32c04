//! A job's life, as clients and coordinators speak of it.
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

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Accepted; no attempt yet (waiting for slots).
    Created,
    /// An attempt is being deployed.
    Deploying,
    /// All subtasks of the attempt run.
    Running,
    /// All subtasks have ended well; sinks are being published.
    Committing,
    /// The last attempt was lost; the next one waits for its backoff or for slots.
    Restarting,
    /// All input was processed and published.
    Finished,
    /// Ended by request; unpublished output was discarded.
    Cancelled,
    /// Ended by request, with what it had produced published.
    Stopped,
    /// Ended by an error that a restart would not mend.
    Failed,
}

impl JobStatus {
    /// Whether the job's life is over.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Cancelled | Self::Stopped | Self::Failed)
    }

    /// The word for it.
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

    /// The status of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        const ALL: [JobStatus; 9] = [
            JobStatus::Created,
            JobStatus::Deploying,
            JobStatus::Running,
            JobStatus::Committing,
            JobStatus::Restarting,
            JobStatus::Finished,
            JobStatus::Cancelled,
            JobStatus::Stopped,
            JobStatus::Failed,
        ];
        ALL.into_iter().find(|status| status.word() == word)
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why an attempt ended badly; decides whether and how the job is restarted.
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
    /// A record could not be read or processed, or the plan cannot run at all: the same again would fail the same way.
    Data,
}

/// What ended an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Of which kind.
    pub kind: FailureKind,
    /// What happened, where, with its causes, for people.
    pub message: String,
}

/// What one subtask has measured since its start. Counts and microseconds.
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
    /// Time blocked because a channel out had no credit.
    pub blocked_micros: u64,
    /// Time without input.
    pub idle_micros: u64,
    /// The newest combined watermark; `i64::MIN` where there is none.
    pub watermark: i64,
    /// Records judged late.
    pub late_records: u64,
    /// Records set aside as malformed.
    pub dead_letters: u64,
    /// Rows set aside since they could not be evaluated.
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
    /// What it has measured.
    pub metrics: SubtaskMetrics,
}

/// What a job's checkpoints come to, as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CheckpointSummary {
    /// The newest complete one.
    pub last_complete: Option<CheckpointId>,
    /// How many have failed since.
    pub failures_in_a_row: u32,
    /// Why the last of them did; empty where none has.
    pub reason: String,
}

/// Where a checkpoint is.
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
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::InProgress => "in progress",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
    }

    /// The state of this word.
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
    /// Whose state it is; 0 where the leader that would know is gone.
    pub attempt: Attempt,
    /// Where it is.
    pub state: CheckpointState,
    /// Why it failed; empty where it did not.
    pub reason: String,
    /// When it began, in milliseconds since the Unix epoch; 0 where the leader that would know is gone.
    pub begun_ms: u64,
    /// From then to its end, or until now.
    pub duration_micros: u64,
    /// Of all subtasks: the longest times, and all bytes together.
    pub cost: SnapshotCost,
    /// Where its manifest is; empty unless it is complete and kept.
    pub url: String,
}

/// One job as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobOverview {
    /// Its id.
    pub job: JobId,
    /// Its name.
    pub name: String,
    /// Where it is in its life.
    pub status: JobStatus,
    /// The current or last attempt; 0 before the first.
    pub attempt: Attempt,
    /// Slices of the current attempt, or as asked for before the first.
    pub parallelism: u32,
    /// What ended the last failed attempt.
    pub failure: Option<Failure>,
    /// How many attempts have failed so far.
    pub failures: u32,
    /// What its checkpoints come to.
    pub checkpoints: CheckpointSummary,
    /// Subtasks of the current attempt; empty in lists.
    pub subtasks: Vec<SubtaskOverview>,
    /// The script; empty in lists.
    pub sql: String,
    /// The dataflow as text; empty in lists.
    pub plan: String,
    /// Where its tables take records by POST now.
    #[serde(default)]
    pub ingest_urls: Vec<String>,
    /// When it was submitted, in milliseconds since 1970; 0: that is not known.
    #[serde(default)]
    pub submitted_ms: u64,
    /// When it ended; 0: it has not, or that is not known.
    #[serde(default)]
    pub ended_ms: u64,
}
