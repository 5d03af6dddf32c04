//! What a leader can tell from a report alone: its job and attempt, and whether its node may forget it.

use thalweg_cluster_state::JobRecord;
use thalweg_types::{Attempt, JobId, JobStatus, session::Report};

/// The job that a report is about.
#[must_use]
pub fn job_of(report: &Report) -> JobId {
    match report {
        Report::Discovered { job, .. }
        | Report::Ready { job, .. }
        | Report::Finished { job, .. }
        | Report::Failed { job, .. }
        | Report::Gone { job, .. }
        | Report::Committed { job, .. }
        | Report::Discarded { job, .. }
        | Report::Snapshot { job, .. }
        | Report::SnapshotFailed { job, .. }
        | Report::CheckpointWanted { job, .. } => *job,
    }
}

/// The attempt that a report is about.
#[must_use]
pub fn attempt_of(report: &Report) -> Attempt {
    match report {
        Report::Discovered { attempt, .. }
        | Report::Ready { attempt, .. }
        | Report::Finished { attempt, .. }
        | Report::Failed { attempt, .. }
        | Report::Gone { attempt, .. }
        | Report::Committed { attempt, .. }
        | Report::Discarded { attempt, .. }
        | Report::Snapshot { attempt, .. }
        | Report::SnapshotFailed { attempt, .. }
        | Report::CheckpointWanted { attempt, .. } => *attempt,
    }
}

/// Whether a report can be acknowledged, after which the node forgets it.
///
/// A report of what ended a subtask must outlive this leader. It is settled once the replicated record reflects it,
/// that is, once its attempt no longer runs. A snapshot of the open checkpoint must outlive this leader too, until that
/// checkpoint is complete or another one begins. A new leader asks for everything else again.
#[must_use]
pub fn is_settled(report: &Report, record: Option<&JobRecord>) -> bool {
    let must_outlive = match report {
        Report::Finished { .. } | Report::Failed { .. } => true,
        Report::Snapshot { checkpoint, .. } | Report::SnapshotFailed { checkpoint, .. } => {
            record.is_some_and(|record| record.open_checkpoint() == Some(*checkpoint))
        }
        Report::Discovered { .. }
        | Report::Ready { .. }
        | Report::Gone { .. }
        | Report::Committed { .. }
        | Report::Discarded { .. }
        | Report::CheckpointWanted { .. } => false,
    };
    let runs = record.is_some_and(|record| {
        let live = matches!(record.status, JobStatus::Deploying | JobStatus::Running);
        live && record.last_attempt() == attempt_of(report)
    });
    !(must_outlive && runs)
}
