//! What a leader can tell from a report alone: whether its node may forget it.

use thalweg_cluster_state::JobRecord;
use thalweg_types::{
    JobStatus,
    session::{Report, ReportBody},
};

/// Whether a report can be acknowledged, after which the node forgets it.
///
/// A report of what ended a subtask must outlive this leader. It is settled once the replicated record reflects it,
/// that is, once its attempt no longer runs. A snapshot of the open checkpoint must outlive this leader too, until that
/// checkpoint is complete or another one begins. A new leader asks for everything else again.
#[must_use]
pub fn is_settled(report: &Report, record: Option<&JobRecord>) -> bool {
    let must_outlive = match &report.body {
        ReportBody::Finished { .. } | ReportBody::Failed { .. } => true,
        ReportBody::Snapshot { checkpoint, .. } | ReportBody::SnapshotFailed { checkpoint, .. } => {
            record.is_some_and(|record| record.open_checkpoint() == Some(*checkpoint))
        }
        ReportBody::Discovered { .. }
        | ReportBody::Ready
        | ReportBody::Gone
        | ReportBody::Committed { .. }
        | ReportBody::Discarded { .. }
        | ReportBody::CheckpointWanted => false,
    };
    let runs = record.is_some_and(|record| {
        let live = matches!(record.status, JobStatus::Deploying | JobStatus::Running);
        live && record.last_attempt() == report.attempt
    });
    !(must_outlive && runs)
}
