//! Requests of clients and their answers. The overviews of jobs are in `job`.

use std::{collections::BTreeMap, time::Duration};

use thiserror::Error;

use crate::{
    id::{Attempt, ClusterId, JobId, MemberId, RequestId, Term},
    job::JobOverview,
    node::{NodeRegistration, NodeState},
};

/// The most bytes of a script and the settings that come with it: enough for thousands of statements.
pub const SCRIPT_BYTES_MAX: usize = 1 << 20;

/// A script is longer than the cluster takes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the script and its settings have {bytes} bytes, and at most {SCRIPT_BYTES_MAX} are taken: make several jobs of it, or keep \
     data in tables"
)]
pub struct ScriptTooLong {
    /// The length of script and settings.
    pub bytes: usize,
}

/// Checks the length of a script and its settings, without parsing it.
///
/// # Errors
/// When they are longer than `SCRIPT_BYTES_MAX`.
pub fn check_length(sql: &str, settings: &BTreeMap<String, String>) -> Result<(), ScriptTooLong> {
    let settings = settings.iter().map(|(key, value)| key.len().saturating_add(value.len()));
    let bytes = settings.fold(sql.len(), usize::saturating_add);
    if bytes > SCRIPT_BYTES_MAX { Err(ScriptTooLong { bytes }) } else { Ok(()) }
}

/// A script to run as a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSubmission {
    /// Identifies the request: the cluster executes a repeated one once.
    pub request: RequestId,
    /// The job's name. `None`: the name that the script sets, or one that the cluster chooses.
    pub name: Option<String>,
    /// The script.
    pub sql: String,
    /// Settings that override the script's.
    pub settings: BTreeMap<String, String>,
    /// The number of slices. `None`: the script's setting, or half of the free slots.
    pub parallelism: Option<u32>,
}

/// A job that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmittedJob {
    /// The new job.
    pub job: JobId,
    /// One per bare `SELECT` of the script.
    pub queries: Vec<CollectedQuery>,
    /// One text per statement that only asks: `EXPLAIN`, `SHOW TABLES`, `DESCRIBE`.
    pub answers: Vec<String>,
}

/// A bare `SELECT`, whose rows can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectedQuery {
    /// Its index among the bare `SELECT`s of the script, from 0.
    pub query: u32,
    /// The schema of its rows, as an Arrow IPC schema message.
    pub schema: Vec<u8>,
}

/// A request to restart a failed job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRestart {
    /// Identifies the request: the cluster executes a repeated one once.
    pub request: RequestId,
    /// The failed job.
    pub job: JobId,
    /// Settings that override those that the job had.
    pub settings: BTreeMap<String, String>,
}

/// A request to plan a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRequest {
    /// The script.
    pub sql: String,
    /// Settings that override the script's.
    pub settings: BTreeMap<String, String>,
    /// The number of slices; `None`: the script's setting.
    pub parallelism: Option<u32>,
}

/// A request for a job's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobRequest {
    /// The job.
    pub job: JobId,
    /// The answer waits for a revision above this.
    pub after_revision: u64,
    /// The longest time to wait.
    pub wait: Duration,
}

/// A job, as of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobAnswer {
    /// The job.
    pub job: JobOverview,
    /// Grows with each change of the job's status or attempt.
    pub revision: u64,
}

/// A request for rows of a bare `SELECT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsRequest {
    /// The job.
    pub job: JobId,
    /// The query's index among the job's bare `SELECT`s.
    pub query: u32,
    /// The first row wanted. Rows before it are acknowledged.
    pub offset: u64,
    /// The most bytes of the answer, unless a single row is larger.
    pub bytes_max: u64,
    /// How long to wait for a first row.
    pub wait: Duration,
    /// The attempt that gave the last answer; `None` before the first. Offsets go on across attempts, so no answer
    /// depends on it.
    pub attempt: Option<Attempt>,
}

/// Rows of a bare `SELECT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsAnswer {
    /// The attempt that gave the rows, or the job's last one where there are none.
    pub attempt: Attempt,
    /// The offset of the first row.
    pub offset: u64,
    /// The number of rows.
    pub rows: u64,
    /// An Arrow IPC stream; empty where there are no rows.
    pub batches: Vec<u8>,
    /// Whether no rows follow.
    pub end: bool,
}

/// One node as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeOverview {
    /// What it registered with.
    pub registration: NodeRegistration,
    /// Slots that attempts occupy.
    pub slots_used: u32,
    /// Whether it takes work.
    pub state: NodeState,
}

/// One coordinator as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberOverview {
    /// Its id.
    pub member: MemberId,
    /// Where it listens, as `host:port`.
    pub address: String,
    /// Whether it votes.
    pub voter: bool,
    /// Time since the answering member heard of it; `None`: never since that one started.
    pub heard: Option<Duration>,
}

/// The cluster as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterOverview {
    /// Its id.
    pub cluster: ClusterId,
    /// The leader; `None` if none is known.
    pub leader: Option<MemberId>,
    /// The term.
    pub term: Term,
    /// The coordinators.
    pub members: Vec<MemberOverview>,
    /// The engine's version of the member that answers.
    pub version: String,
}

/// A change to the set of coordinators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberChange {
    /// A member joins as a learner. If it is to vote, it does so once it has caught up.
    Add(MemberOverview),
    /// A member leaves.
    Remove(MemberId),
}
