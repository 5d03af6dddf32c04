//! Applies the commands about checkpoints.
//!
//! ```text
//! BeginCheckpoint(n) --all acknowledged, manifest durable--> CompleteCheckpoint(n) -> SinksCommitted(n) -> forgotten
//!        '--------- given up: nothing is recorded; the next is n + 1
//! ```
//!
//! Numbers are never reused. Complete checkpoints are published in order. A live job keeps its newest checkpoint, and
//! those that are not published yet.

use thalweg_types::{Attempt, CheckpointId, JobId, JobStatus, checkpoint::ManifestRef, graph::OperatorIdentity};

use crate::{
    apply::{Applied, current_attempt, job_to_change},
    outcome::{Event, Rejection},
    state::{ClusterState, JobRecord},
};

impl ClusterState {
    pub(crate) fn begin_checkpoint(
        &mut self,
        index: u64,
        job: JobId,
        attempt: Attempt,
        checkpoint: CheckpointId,
    ) -> Applied {
        let record = current_attempt(&mut self.jobs, job, attempt)?;
        ensure_running(job, record)?;
        ensure_due(job, record.last_checkpoint.next(), checkpoint)?;
        record.last_checkpoint = checkpoint;
        record.revision = index;
        Ok(vec![Event::CheckpointBegun { job, checkpoint }])
    }

    pub(crate) fn complete_checkpoint(
        &mut self,
        index: u64,
        job: JobId,
        attempt: Attempt,
        manifest: ManifestRef,
    ) -> Applied {
        let checkpoint = manifest.checkpoint;
        let record = current_attempt(&mut self.jobs, job, attempt)?;
        ensure_running(job, record)?;
        ensure_due(job, record.open_checkpoint().unwrap_or_default(), checkpoint)?;
        record.checkpoints.push(manifest);
        record.operator_failures = 0;
        record.revision = index;
        Ok(vec![Event::CheckpointCompleted { job, checkpoint }])
    }

    /// Allowed in any status: a complete checkpoint is published even if the job has failed or was cancelled since.
    pub(crate) fn sinks_committed(
        &mut self,
        index: u64,
        job: JobId,
        checkpoint: CheckpointId,
        sinks: Vec<OperatorIdentity>,
    ) -> Applied {
        let record = job_to_change(&mut self.jobs, job)?;
        let due = record.uncommitted().map_or(CheckpointId(0), |manifest| manifest.checkpoint);
        ensure_due(job, due, checkpoint)?;
        record.committed = checkpoint;
        record.published.extend(sinks.into_iter().map(|sink| (sink, checkpoint)));
        record.revision = index;
        Ok(vec![Event::SinksCommitted { job, checkpoint }])
    }

    pub(crate) fn forget_checkpoints(&mut self, index: u64, job: JobId, checkpoints: &[CheckpointId]) -> Applied {
        let record = job_to_change(&mut self.jobs, job)?;
        let newest = record.newest_checkpoint().map(|manifest| manifest.checkpoint);
        for checkpoint in checkpoints.iter().copied() {
            record.checkpoint(checkpoint).ok_or(Rejection::UnknownCheckpoint { job, checkpoint })?;
            let is_needed = Some(checkpoint) == newest || checkpoint > record.committed;
            if is_needed && !record.status.is_terminal() {
                return Err(Rejection::CheckpointNeeded { job, checkpoint });
            }
        }
        let (forgotten, kept): (Vec<_>, Vec<_>) =
            record.checkpoints.drain(..).partition(|manifest| checkpoints.contains(&manifest.checkpoint));
        record.checkpoints = kept;
        if !forgotten.is_empty() {
            record.revision = index;
        }
        let event = |manifest: ManifestRef| Event::CheckpointForgotten { job, checkpoint: manifest.checkpoint };
        Ok(forgotten.into_iter().map(event).collect())
    }
}

fn ensure_running(job: JobId, record: &JobRecord) -> Result<(), Rejection> {
    let status = record.status;
    if status == JobStatus::Running { Ok(()) } else { Err(Rejection::WrongStatus { job, status }) }
}

fn ensure_due(job: JobId, due: CheckpointId, given: CheckpointId) -> Result<(), Rejection> {
    if given == due && given.0 > 0 { Ok(()) } else { Err(Rejection::NotDueCheckpoint { job, due, given }) }
}
