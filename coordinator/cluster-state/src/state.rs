//! The state itself, read-only: its records, and queries on them. Only `apply` changes it.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use thalweg_types::{
    Attempt, CheckpointId, ClusterId, Incarnation, JobId, JobStatus, NodeId, RequestId,
    bug::{self, Bug},
    checkpoint::{ManifestRef, SinkCommittables},
    graph::OperatorIdentity,
    job::Failure,
    node::{NodeRegistration, NodeState},
};

use crate::command::{AttemptPlan, EndMode, JobSpec, is_zero};

/// Everything that the members of a cluster agree on. Clones share the records of jobs; a command copies the one it
/// changes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterState {
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) last_job: JobId,
    pub(crate) nodes: BTreeMap<NodeId, NodeRecord>,
    pub(crate) jobs: BTreeMap<JobId, Arc<JobRecord>>,
    pub(crate) requests: BTreeMap<RequestId, JobId>,
}

/// A node as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRecord {
    /// What it sent when it last registered.
    pub registration: NodeRegistration,
    /// Whether it is alive, leaving or lost.
    pub state: NodeState,
    /// Why it was lost; empty if it was not.
    pub reason: String,
    /// Incarnations that a newer one replaced, oldest first. They cannot register again.
    pub superseded: Vec<Incarnation>,
}

/// A job and its last attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRecord {
    /// The request that submitted it.
    pub request: RequestId,
    /// What was submitted.
    pub spec: Arc<JobSpec>,
    /// Its current status.
    pub status: JobStatus,
    /// The last attempt. It stays after it ended, because nodes may still hold parts of it.
    pub attempt: Option<AttemptRecord>,
    /// How a client asked to end the job.
    pub ending: Option<EndMode>,
    /// The last failure, of an attempt or of the job itself.
    pub failure: Option<Failure>,
    /// How many attempts have failed since a client last started the job.
    pub failures: u32,
    /// How many of them an operator caused since a checkpoint was last completed.
    pub operator_failures: u32,
    /// The last begun checkpoint; 0 before the first. Numbers continue across attempts.
    #[serde(default)]
    pub last_checkpoint: CheckpointId,
    /// Complete checkpoints, oldest first.
    #[serde(default)]
    pub checkpoints: Vec<ManifestRef>,
    /// What the sinks prepared up to this checkpoint is published.
    #[serde(default)]
    pub committed: CheckpointId,
    /// Of each sink, the checkpoint with which something of it was published last. A destination that keeps its own
    /// progress is held against this.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub published: BTreeMap<OperatorIdentity, CheckpointId>,
    /// How many times a client has started the job again after it failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u32,
    /// The request that last started it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted_by: Option<RequestId>,
    /// When it was submitted, in milliseconds since 1970 by the leader's clock; 0 if that was not recorded.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub submitted_ms: u64,
    /// When it ended, in the same unit; 0 if it has not, or if that was not recorded.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ended_ms: u64,
    /// The log index of the last command that changed this record.
    pub revision: u64,
}

/// One deployment of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptRecord {
    /// Its number.
    pub attempt: Attempt,
    /// Where its subtasks run.
    pub plan: Arc<AttemptPlan>,
    /// The checkpoint that it was restored from. `None`: it began without one.
    #[serde(default)]
    pub restored: Option<CheckpointId>,
    /// The last checkpoint that had begun when this attempt was placed. Its own have higher numbers.
    #[serde(default)]
    pub began_after: CheckpointId,
    /// What its sinks prepared after the last complete checkpoint. Known once all subtasks have finished.
    pub committables: Option<Arc<Vec<SinkCommittables>>>,
    /// It was given up because one of its nodes left on purpose. It did not fail.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_moved: bool,
}

impl JobRecord {
    /// The number of the last attempt; 0 before the first.
    #[must_use]
    pub fn last_attempt(&self) -> Attempt {
        self.attempt.as_ref().map_or(Attempt(0), |record| record.attempt)
    }

    /// The newest complete checkpoint.
    #[must_use]
    pub fn newest_checkpoint(&self) -> Option<&ManifestRef> {
        self.checkpoints.last()
    }

    /// The manifest of a complete checkpoint.
    #[must_use]
    pub fn checkpoint(&self, checkpoint: CheckpointId) -> Option<&ManifestRef> {
        self.checkpoints.iter().find(|manifest| manifest.checkpoint == checkpoint)
    }

    /// The checkpoint that the last attempt began and did not complete. It may have been aborted.
    #[must_use]
    pub fn open_checkpoint(&self) -> Option<CheckpointId> {
        let began_after = self.attempt.as_ref()?.began_after;
        let last = self.last_checkpoint;
        (last > began_after && self.checkpoint(last).is_none()).then_some(last)
    }

    /// The checkpoint that is to be published next.
    #[must_use]
    pub fn uncommitted(&self) -> Option<&ManifestRef> {
        let mut uncommitted = self.checkpoints.iter().filter(|manifest| manifest.checkpoint > self.committed);
        if bug::is_active(Bug::CommitOutOfOrder) { uncommitted.next_back() } else { uncommitted.next() }
    }

    /// Whether the last attempt finished and its output is published. A stopped job may have ended before it had an
    /// attempt.
    #[must_use]
    pub fn ended_well(&self) -> bool {
        let is_complete = self.attempt.as_ref().is_some_and(|attempt| attempt.committables.is_some());
        matches!(self.status, JobStatus::Finished | JobStatus::Stopped) && is_complete
    }

    /// The attempt that holds slots now.
    #[must_use]
    pub fn live_attempt(&self) -> Option<&AttemptRecord> {
        let live = matches!(self.status, JobStatus::Deploying | JobStatus::Running | JobStatus::Committing);
        self.attempt.as_ref().filter(|_| live)
    }
}

impl ClusterState {
    /// Whether any job was ever submitted.
    #[must_use]
    pub fn has_taken_jobs(&self) -> bool {
        self.last_job > JobId(0)
    }

    /// The cluster's id; `None` until the first leader has given one.
    #[must_use]
    pub fn cluster(&self) -> Option<&ClusterId> {
        self.cluster.as_ref()
    }

    /// Every known node.
    #[must_use]
    pub fn nodes(&self) -> &BTreeMap<NodeId, NodeRecord> {
        &self.nodes
    }

    /// Every known job.
    #[must_use]
    pub fn jobs(&self) -> &BTreeMap<JobId, Arc<JobRecord>> {
        &self.jobs
    }

    /// One node.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&NodeRecord> {
        self.nodes.get(&node)
    }

    /// One job.
    #[must_use]
    pub fn job(&self, job: JobId) -> Option<&JobRecord> {
        self.jobs.get(&job).map(AsRef::as_ref)
    }

    /// The job of a request.
    #[must_use]
    pub fn job_of_request(&self, request: &RequestId) -> Option<JobId> {
        self.requests.get(request).copied()
    }

    /// Jobs that have not ended.
    pub fn live_jobs(&self) -> impl Iterator<Item = (JobId, &JobRecord)> + '_ {
        let live = self.jobs.iter().filter(|(_, record)| !record.status.is_terminal());
        live.map(|(job, record)| (*job, record.as_ref()))
    }

    /// Whether this incarnation of a node is alive or leaving.
    #[must_use]
    pub fn is_present(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.nodes
            .get(&node)
            .is_some_and(|record| record.state != NodeState::Lost && record.registration.incarnation == incarnation)
    }

    /// Slots that live attempts hold on a node, in any of its incarnations.
    #[must_use]
    pub fn slots_used(&self, node: NodeId) -> u32 {
        self.live_plans().map(|plan| plan.slices_on(node)).sum()
    }

    /// Slots that live attempts hold in this incarnation of a node.
    pub(crate) fn slots_used_in_incarnation(&self, node: NodeId, incarnation: Incarnation) -> u32 {
        self.live_plans().map(|plan| plan.slices_on_incarnation(node, incarnation)).sum()
    }

    fn live_plans(&self) -> impl Iterator<Item = &AttemptPlan> + '_ {
        self.jobs.values().filter_map(|record| record.live_attempt()).map(|attempt| attempt.plan.as_ref())
    }
}
