//! What clients ask of a cluster and what they are answered, but for the overviews of jobs, which are in `job`.

use std::{collections::BTreeMap, time::Duration};

use thiserror::Error;

use crate::{
    id::{Attempt, ClusterId, JobId, MemberId, RequestId, Term},
    job::JobOverview,
    node::{NodeRegistration, NodeState},
};

/// The most bytes of a script with the settings that are given beside it: thousands of statements.
pub const SCRIPT_BYTES_MAX: usize = 1 << 20;

/// A script is too long to be taken at all.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the script and its settings have {bytes} bytes, and at most {SCRIPT_BYTES_MAX} are taken: make several jobs of it, or keep \
     data in tables"
)]
pub struct ScriptTooLong {
    /// How long it is.
    pub bytes: usize,
}

/// Checks that a script is not too long to be taken, without looking into it.
///
/// # Errors
/// When it is.
pub fn check_length(sql: &str, settings: &BTreeMap<String, String>) -> Result<(), ScriptTooLong> {
    let settings = settings.iter().map(|(key, value)| key.len().saturating_add(value.len()));
    let bytes = settings.fold(sql.len(), usize::saturating_add);
    if bytes > SCRIPT_BYTES_MAX { Err(ScriptTooLong { bytes }) } else { Ok(()) }
}

/// A script to run as a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSubmission {
    /// Names the request: a repeated one is answered and not executed again.
    pub request: RequestId,
    /// The job's name; `None`: the script's.
    pub name: Option<String>,
    /// The script.
    pub sql: String,
    /// Settings that win over the script's.
    pub settings: BTreeMap<String, String>,
    /// How many slices; `None`: the script's, else all free slots.
    pub parallelism: Option<u32>,
}

/// A job that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmittedJob {
    /// Its id.
    pub job: JobId,
    /// One per bare `SELECT` of the script.
    pub queries: Vec<CollectedQuery>,
    /// One text per statement of the script that asks and runs nothing: `EXPLAIN`, `SHOW TABLES`, `DESCRIBE`.
    pub answers: Vec<String>,
}

/// A bare `SELECT`, whose rows can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectedQuery {
    /// Its place among the bare `SELECT`s of the script, from 0.
    pub query: u32,
    /// The schema of its rows, as an Arrow IPC schema message.
    pub schema: Vec<u8>,
}

/// A failed job that is to be started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRestart {
    /// Names the request: a repeated one is answered and not executed again.
    pub request: RequestId,
    /// Which job.
    pub job: JobId,
    /// Settings that it has from then on, beside those that it had.
    pub settings: BTreeMap<String, String>,
}

/// A script whose plan is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRequest {
    /// The script.
    pub sql: String,
    /// Settings that win over the script's.
    pub settings: BTreeMap<String, String>,
    /// How many slices; `None`: the script's.
    pub parallelism: Option<u32>,
}

/// A job that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobRequest {
    /// Which.
    pub job: JobId,
    /// Answered once the job's revision is above this.
    pub after_revision: u64,
    /// Answered after so long in any case.
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

/// Rows of a bare `SELECT` that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsRequest {
    /// The job.
    pub job: JobId,
    /// Which bare `SELECT`.
    pub query: u32,
    /// The first row wanted; those before it are acknowledged.
    pub offset: u64,
    /// At most so many bytes, but for a single larger row.
    pub bytes_max: u64,
    /// How long to wait for a first row.
    pub wait: Duration,
    /// Of which the offset is; `None` where no answer has told one yet. Where the job is in another attempt by now, nothing is
    /// acknowledged and the answer names that attempt, without rows.
    pub attempt: Option<Attempt>,
}

/// Rows of a bare `SELECT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsAnswer {
    /// Rows and offsets are of this attempt.
    pub attempt: Attempt,
    /// The first row's.
    pub offset: u64,
    /// How many there are.
    pub rows: u64,
    /// An Arrow IPC stream; empty where there are no rows.
    pub batches: Vec<u8>,
    /// No row follows.
    pub end: bool,
}

/// One node as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeOverview {
    /// What it said of itself.
    pub registration: NodeRegistration,
    /// Slots that attempts hold.
    pub slots_used: u32,
    /// Whether it takes work.
    pub state: NodeState,
}

/// One coordinator as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberOverview {
    /// Which.
    pub member: MemberId,
    /// Where it listens, as `host:port`.
    pub address: String,
    /// Whether it votes.
    pub voter: bool,
    /// How long ago whoever answers last heard it; `None`: never since that one started.
    pub heard: Option<Duration>,
}

/// The cluster as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterOverview {
    /// Its id.
    pub cluster: ClusterId,
    /// Who leads.
    pub leader: Option<MemberId>,
    /// The term.
    pub term: Term,
    /// The coordinators.
    pub members: Vec<MemberOverview>,
    /// The version of the engine that answers.
    pub version: String,
}

/// A change of the coordinators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberChange {
    /// It joins as a learner and votes, where it shall, once it has caught up.
    Add(MemberOverview),
    /// It leaves.
    Remove(MemberId),
}
