//! The commands of the replicated log, and their persisted form: JSON text with a format number.
//!
//! A command is a finished decision. Commands are only added, and each addition raises the format number, because a log
//! may hold what an older engine wrote.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use thalweg_types::{
    Assignment, Attempt, CheckpointId, ClusterId, Incarnation, JobId, NodeId, RequestId,
    checkpoint::{ManifestRef, SinkCommittables},
    graph::OperatorIdentity,
    job::Failure,
    node::NodeRegistration,
};
use thiserror::Error;

/// The format of commands and snapshots. Version 2 added checkpoints, 3 restarts of failed jobs, 4 the time at which a
/// command was proposed, 5 which sinks a publication was of, 6 that what complete checkpoints hold is given up.
pub const FORMAT: u32 = 6;
/// The oldest format that is read. It has fewer commands; those it has mean the same.
pub(crate) const FORMAT_MIN: u32 = 1;

/// One entry of the replicated log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Sets the cluster's id. The first command wins.
    InitCluster {
        /// Drawn at random by the first leader.
        cluster: ClusterId,
    },
    /// A node opened a session.
    RegisterNode {
        /// What the node offers, and where it listens.
        registration: NodeRegistration,
    },
    /// A node said that it takes no more work.
    LeaveNode {
        node: NodeId,
        /// Must be the node's current one.
        incarnation: Incarnation,
    },
    /// A node's lease ran out.
    LoseNode {
        node: NodeId,
        incarnation: Incarnation,
        /// Shown to users.
        reason: String,
    },
    /// Drops the records of lost nodes on which nothing depends.
    ForgetNodes {
        /// All of them must be lost.
        nodes: Vec<NodeId>,
    },
    /// A client submitted a job. A known request is answered with the job that it created.
    SubmitJob {
        /// The client's name for the request.
        request: RequestId,
        spec: Arc<JobSpec>,
    },
    /// The next attempt of a job is placed.
    BeginAttempt {
        job: JobId,
        /// The successor of the last attempt.
        attempt: Attempt,
        /// Where its subtasks run.
        plan: Arc<AttemptPlan>,
    },
    /// All subtasks of an attempt are deployed and ready: its sources may start.
    RunAttempt {
        job: JobId,
        /// Must be the job's last one.
        attempt: Attempt,
    },
    /// All subtasks of an attempt have finished.
    CompleteAttempt {
        job: JobId,
        attempt: Attempt,
        /// What its sinks have prepared. It is in the log so that any leader can publish it.
        committables: Vec<SinkCommittables>,
    },
    /// A checkpoint of a running attempt begins. Its number is never reused, even if it is aborted.
    BeginCheckpoint {
        job: JobId,
        attempt: Attempt,
        /// The successor of the last checkpoint.
        checkpoint: CheckpointId,
    },
    /// Everything that belongs to the last begun checkpoint is durable. This command makes the checkpoint exist.
    CompleteCheckpoint {
        job: JobId,
        attempt: Attempt,
        /// Where its manifest is.
        manifest: ManifestRef,
    },
    /// What the sinks prepared up to a checkpoint is published.
    SinksCommitted {
        job: JobId,
        /// Must be the oldest complete one that is not published.
        checkpoint: CheckpointId,
        /// The sinks of which something was published with it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        sinks: Vec<OperatorIdentity>,
    },
    /// Drops checkpoints that no attempt will restore.
    ForgetCheckpoints {
        job: JobId,
        /// Must be complete. Of a live job, neither the newest one nor one that is not published.
        checkpoints: Vec<CheckpointId>,
    },
    /// An attempt failed.
    FailAttempt {
        job: JobId,
        attempt: Attempt,
        failure: Failure,
        /// What becomes of the job.
        verdict: Verdict,
    },
    /// An attempt is given up because one of its nodes leaves on purpose. The next one runs elsewhere, and nothing has
    /// failed.
    MoveAttempt {
        job: JobId,
        /// Must be the job's last one, deploying or running.
        attempt: Attempt,
    },
    /// A job cannot run at all, whatever becomes of its attempt.
    FailJob {
        job: JobId,
        /// Shown to users.
        failure: Failure,
    },
    /// What an attempt prepared is published: its job ends.
    FinishJob {
        job: JobId,
        /// Must be the job's last one, committing.
        attempt: Attempt,
    },
    /// A client ends a job.
    EndJob {
        job: JobId,
        /// Whether output that is not published yet is kept.
        mode: EndMode,
    },
    /// A client starts a failed job again, from its newest checkpoint. A known request changes nothing.
    RestartJob {
        /// The client's name for the request.
        request: RequestId,
        job: JobId,
        /// The same dataflow, with other settings.
        spec: Arc<JobSpec>,
    },
    /// Drops the records of jobs that have ended.
    ForgetJobs {
        /// All of them must have ended.
        jobs: Vec<JobId>,
    },
}

/// A job as a client submitted it, or last started it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// The name shown to users.
    pub name: String,
    /// The script it was planned from, without the secrets that stand in it.
    pub sql: String,
    /// The dataflow in `JobGraph`'s persisted form. It is opaque here, so that members of other versions hold the same
    /// bytes.
    pub graph: String,
    /// The number of key groups.
    pub key_groups: u16,
    /// How many slices the job wants. `None`: as many as are free when it first starts.
    pub parallelism: Option<u32>,
    /// The paths that it has below the HTTP addresses of nodes: those at which it takes records, without leading or trailing
    /// slashes, and those at which its tables are asked, which begin with a slash. Live jobs have no path in common.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ingest_paths: BTreeSet<String>,
}

/// Where an attempt runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptPlan {
    /// Which node holds each slice, and which slice owns each key group.
    pub assignment: Assignment,
    /// The nodes of the assignment, each with the incarnation that the plan is for.
    pub nodes: BTreeMap<NodeId, Incarnation>,
}

impl AttemptPlan {
    /// How many slices are on a node.
    #[must_use]
    pub fn slices_on(&self, node: NodeId) -> u32 {
        let slices = self.assignment.slices.iter().filter(|holder| **holder == node);
        u32::try_from(slices.count()).expect("slots are counted in 32 bits")
    }

    /// How many slices are on this incarnation of a node.
    #[must_use]
    pub fn slices_on_incarnation(&self, node: NodeId, incarnation: Incarnation) -> u32 {
        if self.nodes.get(&node) == Some(&incarnation) { self.slices_on(node) } else { 0 }
    }
}

/// What becomes of a job whose attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Another attempt follows.
    Restart,
    /// The job has failed.
    Fail,
}

/// How a client ends a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndMode {
    /// Ends at once. Unpublished output is discarded.
    Cancel,
    /// The sources end. What they have read is processed and published.
    Stop,
    /// As `Cancel`, and what complete checkpoints hold is not published either. An ended job can be told so too.
    Abandon,
}

/// A command that this engine cannot read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the command cannot be read: {reason}")]
pub struct UnreadableCommand {
    /// What is wrong with the bytes.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<C> {
    format: u32,
    /// When it was proposed, in milliseconds since 1970 by the proposer's clock; 0 if unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    at_ms: u64,
    command: C,
}

/// Of a number: serde leaves it out then.
pub(crate) fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

impl Command {
    /// The command's name in logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::InitCluster { .. } => "init_cluster",
            Self::RegisterNode { .. } => "register_node",
            Self::LeaveNode { .. } => "leave_node",
            Self::LoseNode { .. } => "lose_node",
            Self::ForgetNodes { .. } => "forget_nodes",
            Self::SubmitJob { .. } => "submit_job",
            Self::BeginAttempt { .. } => "begin_attempt",
            Self::RunAttempt { .. } => "run_attempt",
            Self::CompleteAttempt { .. } => "complete_attempt",
            Self::BeginCheckpoint { .. } => "begin_checkpoint",
            Self::CompleteCheckpoint { .. } => "complete_checkpoint",
            Self::SinksCommitted { .. } => "sinks_committed",
            Self::ForgetCheckpoints { .. } => "forget_checkpoints",
            Self::FailAttempt { .. } => "fail_attempt",
            Self::MoveAttempt { .. } => "move_attempt",
            Self::FailJob { .. } => "fail_job",
            Self::FinishJob { .. } => "finish_job",
            Self::EndJob { .. } => "end_job",
            Self::RestartJob { .. } => "restart_job",
            Self::ForgetJobs { .. } => "forget_jobs",
        }
    }

    /// The persisted form. `unix_time` is when it is proposed.
    #[must_use]
    pub fn to_bytes(&self, unix_time: Duration) -> Vec<u8> {
        let at_ms = u64::try_from(unix_time.as_millis()).unwrap_or(u64::MAX);
        let envelope = Envelope { format: FORMAT, at_ms, command: self };
        serde_json::to_vec(&envelope).expect("a command has only text and integer keys")
    }

    /// Reads the persisted form. Returns the command, and when it was proposed in milliseconds since 1970.
    ///
    /// # Errors
    /// When the bytes are not a command of this format or an older one.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, u64), UnreadableCommand> {
        let envelope: Envelope<Self> =
            serde_json::from_slice(bytes).map_err(|error| UnreadableCommand { reason: error.to_string() })?;
        if !(FORMAT_MIN..=FORMAT).contains(&envelope.format) {
            return Err(UnreadableCommand { reason: format!("format {}, expected {FORMAT}", envelope.format) });
        }
        Ok((envelope.command, envelope.at_ms))
    }
}
