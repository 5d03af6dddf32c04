//! What can be written to the replicated log, and its persisted form: JSON text with the format's number.
//!
//! A command is a finished decision. Commands are only ever added to, with the format's number raised: a log may hold what
//! an older engine wrote.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use thalweg_types::{
    Assignment, Attempt, CheckpointId, ClusterId, Incarnation, JobId, NodeId, RequestId, checkpoint::ManifestRef,
    job::Failure, node::NodeRegistration, session::SinkCommittables,
};
use thiserror::Error;

/// The version of the format of commands and snapshots. 2 added checkpoints, 3 that failed jobs are started again,
/// 4 when a command was proposed.
pub const FORMAT: u32 = 4;
/// The oldest version that is read: it knows fewer commands, and says nothing else by those that it knows.
pub(crate) const FORMAT_MIN: u32 = 1;

/// One entry of the replicated log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Names the cluster; the first one wins.
    InitCluster {
        /// Drawn at random by the first leader.
        cluster: ClusterId,
    },
    /// A node opened a session.
    RegisterNode {
        /// What it said.
        registration: NodeRegistration,
    },
    /// A node said that it takes no more work.
    LeaveNode {
        /// Which.
        node: NodeId,
        /// Which life of it.
        incarnation: Incarnation,
    },
    /// A node's lease ran out.
    LoseNode {
        /// Which.
        node: NodeId,
        /// Which life of it.
        incarnation: Incarnation,
        /// For people.
        reason: String,
    },
    /// Drops the records of lost nodes on which nothing depends.
    ForgetNodes {
        /// Which; all of them lost.
        nodes: Vec<NodeId>,
    },
    /// A client submitted a job. A request that is already known is answered with its job.
    SubmitJob {
        /// The client's name for the request.
        request: RequestId,
        /// The job.
        spec: Arc<JobSpec>,
    },
    /// The next attempt of a job is placed.
    BeginAttempt {
        /// The job.
        job: JobId,
        /// The attempt: the last one's successor.
        attempt: Attempt,
        /// Where it runs.
        plan: Arc<AttemptPlan>,
    },
    /// All subtasks of an attempt are deployed and ready: its sources may be started.
    RunAttempt {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
    },
    /// All subtasks of an attempt have ended well.
    CompleteAttempt {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
        /// What its sinks have prepared, kept here so that any leader can publish it.
        committables: Vec<SinkCommittables>,
    },
    /// A checkpoint of a running attempt begins. Its number is used up, whatever becomes of it.
    BeginCheckpoint {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
        /// The checkpoint: the last one's successor.
        checkpoint: CheckpointId,
    },
    /// All that belongs to the checkpoint begun last is durable: this makes it exist.
    CompleteCheckpoint {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
        /// Its manifest.
        manifest: ManifestRef,
    },
    /// What the sinks had prepared up to a checkpoint is published.
    SinksCommitted {
        /// The job.
        job: JobId,
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// Drops checkpoints from which nobody will go on.
    ForgetCheckpoints {
        /// The job.
        job: JobId,
        /// Which.
        checkpoints: Vec<CheckpointId>,
    },
    /// An attempt ended badly.
    FailAttempt {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
        /// Why.
        failure: Failure,
        /// What becomes of the job.
        verdict: Verdict,
    },
    /// An attempt is given up because a node of it leaves on purpose: another follows elsewhere, and nothing has failed.
    MoveAttempt {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
    },
    /// A job cannot be carried out at all, whatever its attempt does.
    FailJob {
        /// The job.
        job: JobId,
        /// Why.
        failure: Failure,
    },
    /// What an attempt prepared is published.
    FinishJob {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
    },
    /// A client ends a job.
    EndJob {
        /// The job.
        job: JobId,
        /// How.
        mode: EndMode,
    },
    /// A client starts a failed job again, from its newest checkpoint. A request that is already known changes nothing.
    RestartJob {
        /// The client's name for the request.
        request: RequestId,
        /// The job.
        job: JobId,
        /// What it is from now on: the same dataflow, with other settings.
        spec: Arc<JobSpec>,
    },
    /// Drops the records of jobs that have ended.
    ForgetJobs {
        /// Which; all of them ended.
        jobs: Vec<JobId>,
    },
}

/// A submitted job, as it stays for its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// For people.
    pub name: String,
    /// The script it was planned from.
    pub sql: String,
    /// The dataflow in `JobGraph`'s persisted form: opaque here, so that a member of another version holds the same bytes.
    pub graph: String,
    /// How many key groups the dataflow has.
    pub key_groups: u16,
    /// How many slices it wants; `None`: whatever is free when it first starts.
    pub parallelism: Option<u32>,
    /// The paths at which it takes records over HTTP, without the slashes around them. No two jobs that live have one in common.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ingest_paths: BTreeSet<String>,
}

/// Where an attempt runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptPlan {
    /// Slices to nodes, key groups to slices.
    pub assignment: Assignment,
    /// The nodes of the assignment, each with the life of it that was meant.
    pub nodes: BTreeMap<NodeId, Incarnation>,
}

impl AttemptPlan {
    /// How many slices are on a node.
    #[must_use]
    pub fn slices_on(&self, node: NodeId) -> u32 {
        let slices = self.assignment.slices.iter().filter(|holder| **holder == node);
        u32::try_from(slices.count()).expect("slots are counted in 32 bits")
    }

    /// How many slices are on this life of a node.
    #[must_use]
    pub fn slices_on_life(&self, node: NodeId, incarnation: Incarnation) -> u32 {
        if self.nodes.get(&node) == Some(&incarnation) { self.slices_on(node) } else { 0 }
    }
}

/// What becomes of a job whose attempt ended badly.
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
    /// At once; unpublished output is discarded.
    Cancel,
    /// The sources end; what they gave is processed and published.
    Stop,
}

/// A command that this engine cannot read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the command cannot be read: {reason}")]
pub struct UnreadableCommand {
    /// Why.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<C> {
    format: u32,
    /// When it was proposed, in milliseconds since 1970, by the clock of who did so; 0 where that is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    at_ms: u64,
    command: C,
}

/// Of a number: serde leaves it out then.
pub(crate) fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

impl Command {
    /// The word for it in logs.
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

    /// The persisted form, with the time since 1970 at which it is proposed.
    #[must_use]
    pub fn to_bytes(&self, since_epoch: Duration) -> Vec<u8> {
        let at_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        let envelope = Envelope { format: FORMAT, at_ms, command: self };
        serde_json::to_vec(&envelope).expect("a command has only text and integer keys")
    }

    /// Reads the persisted form: the command, and when it was proposed, in milliseconds since 1970.
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
