//! Invariants of every state, whatever the log was. Checked after each step of a simulation, and when a snapshot is
//! read.

use std::collections::BTreeSet;

use thalweg_types::{CheckpointId, JobId, JobStatus, node::NodeState};

use crate::state::{AttemptRecord, ClusterState, JobRecord};

impl ClusterState {
    /// Checks every invariant.
    ///
    /// # Errors
    /// Names the first broken invariant.
    pub fn check_invariants(&self) -> Result<(), String> {
        for (job, record) in &self.jobs {
            self.check_job(*job, record).map_err(|broken| format!("{job}: {broken}"))?;
        }
        for (request, job) in &self.requests {
            let owner = self.jobs.get(job).map(|record| &record.request);
            ensure(owner == Some(request), || {
                format!("request {request} belongs to {job}, which knows nothing of it")
            })?;
        }
        ensure(self.requests.len() == self.jobs.len(), || "a job without its request".to_owned())?;
        for (node, record) in &self.nodes {
            ensure(record.registration.node == *node, || format!("{node} calls itself {}", record.registration.node))?;
            let current = record.registration.incarnation;
            ensure(!record.superseded.contains(&current), || format!("{node}: {current} replaced itself"))?;
            let counts = record.state != NodeState::Lost;
            let (used, slots) = (self.slots_used_in_incarnation(*node, current), record.registration.slots);
            ensure(!counts || used <= slots, || format!("{node} has {slots} slots, of which {used} are used"))?;
        }
        Ok(())
    }

    fn check_job(&self, job: JobId, record: &JobRecord) -> Result<(), String> {
        ensure(job.0 > 0 && job <= self.last_job, || format!("above the last id {}", self.last_job))?;
        ensure(self.requests.get(&record.request) == Some(&job), || "its request is not known".to_owned())?;
        let live = matches!(record.status, JobStatus::Deploying | JobStatus::Running | JobStatus::Committing);
        ensure(!live || record.attempt.is_some(), || format!("{} without an attempt", record.status))?;
        let has_committables = record.attempt.as_ref().is_some_and(|attempt| attempt.committables.is_some());
        ensure(record.status != JobStatus::Committing || has_committables, || "committing nothing".to_owned())?;
        let before_the_end = matches!(record.status, JobStatus::Deploying | JobStatus::Running);
        ensure(!(before_the_end && has_committables), || "committables of an attempt that still runs".to_owned())?;
        ensure(record.status != JobStatus::Failed || record.failure.is_some(), || "failed without cause".to_owned())?;
        ensure(record.failures >= record.operator_failures, || "more operator failures than failures".to_owned())?;
        ensure(record.failures <= record.last_attempt().0, || "more failures than attempts".to_owned())?;
        check_checkpoints(record)?;
        record.attempt.as_ref().map_or(Ok(()), |attempt| check_attempt(record, attempt))
    }
}

fn check_checkpoints(record: &JobRecord) -> Result<(), String> {
    let ids: Vec<CheckpointId> = record.checkpoints.iter().map(|manifest| manifest.checkpoint).collect();
    let newest = ids.last().copied().unwrap_or_default();
    ensure(ids.is_sorted_by(|one, next| one < next), || "checkpoints out of order".to_owned())?;
    ensure(ids.first().is_none_or(|oldest| oldest.0 > 0), || "a checkpoint numbered 0".to_owned())?;
    ensure(newest <= record.last_checkpoint, || format!("{newest} was never begun"))?;
    ensure(record.committed <= record.last_checkpoint, || "published what was never begun".to_owned())?;
    let is_over = record.status.is_terminal();
    ensure(is_over || record.committed <= newest, || "published more than is complete".to_owned())?;
    let is_published = |last: &CheckpointId| last.0 > 0 && *last <= record.committed;
    ensure(record.published.values().all(is_published), || "a sink published what is not".to_owned())?;
    let is_known = record.committed.0 == 0 || record.checkpoint(record.committed).is_some();
    ensure(is_over || is_known || record.committed < newest, || "what was published last is forgotten".to_owned())?;
    let must_be_committed = record.status == JobStatus::Deploying || record.ended_well();
    ensure(!must_be_committed || record.uncommitted().is_none(), || "went on before publishing".to_owned())?;
    let restored = record.attempt.as_ref().and_then(|attempt| attempt.restored);
    ensure(restored.is_none_or(|restored| restored <= record.committed), || {
        "goes on from what is not published".to_owned()
    })
}

fn check_attempt(record: &JobRecord, attempt: &AttemptRecord) -> Result<(), String> {
    ensure(attempt.attempt.0 > 0, || "an attempt numbered 0".to_owned())?;
    let slices: BTreeSet<_> = attempt.plan.assignment.slices.iter().collect();
    let nodes: BTreeSet<_> = attempt.plan.nodes.keys().collect();
    ensure(slices == nodes, || "its slices are on other nodes than its plan names".to_owned())?;
    let table = &attempt.plan.assignment.key_groups;
    ensure(table.owners().len() == usize::from(record.spec.key_groups), || "a key group without an owner".to_owned())?;
    let parallelism = attempt.plan.assignment.parallelism();
    ensure(table.owners().iter().all(|owner| *owner < parallelism), || "a key group with no such owner".to_owned())
}

fn ensure(holds: bool, broken: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken()) }
}
