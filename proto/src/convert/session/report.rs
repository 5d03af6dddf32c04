//! Converts reports: what a node reports about an attempt.

use thalweg_types::{
    Attempt, ChainId, JobId, NodeId, OperatorId, Split, SubtaskId,
    checkpoint::{Prepared, SubtaskSnapshot},
    job::Failure,
    session::{Report, ReportBody},
};

use super::{checkpoint_id, each, json_value, subtask_from_wire, subtask_index, subtask_to_wire};
use crate::{convert::WireError, v1};

pub(super) fn to_wire(sequence: u64, report: Report) -> v1::Report {
    let Report { job, attempt, body } = report;
    v1::Report { sequence, job: job.0, attempt: attempt.0, report: Some(body_to_wire((job, attempt), body)) }
}

fn body_to_wire((job, attempt): (JobId, Attempt), body: ReportBody) -> v1::report::Report {
    use v1::report::Report as Wire;
    match body {
        ReportBody::Ready => Wire::Ready(v1::Ready {}),
        ReportBody::Finished { subtask, metrics, prepared } => Wire::Finished(v1::Finished {
            chain: subtask.chain.0,
            index: subtask.index,
            metrics: Some(metrics.into()),
            prepared: prepared.into_iter().map(Into::into).collect(),
        }),
        ReportBody::Snapshot { checkpoint, snapshot } => {
            Wire::Snapshot(v1::Snapshot { checkpoint: checkpoint.0, snapshot: snapshot.text().to_vec() })
        }
        ReportBody::SnapshotFailed { checkpoint, subtask, failure } => Wire::SnapshotFailed(v1::SnapshotFailed {
            checkpoint: checkpoint.0,
            subtask: Some(subtask_to_wire(job, attempt, subtask)),
            failure: Some(failure.into()),
        }),
        ReportBody::CheckpointWanted => Wire::CheckpointWanted(v1::CheckpointWanted {}),
        ReportBody::Failed { subtask, failure, peer } => Wire::Failed(v1::Failed {
            subtask: subtask.map(|subtask| subtask_to_wire(job, attempt, subtask)),
            failure: Some(failure.into()),
            peer: peer.map_or(0, |node| node.0),
        }),
        ReportBody::Gone => Wire::Gone(v1::Gone {}),
        ReportBody::Discovered { splits } => Wire::Discovered(discovered_to_wire(splits)),
        ReportBody::Committed { checkpoint, result } => {
            Wire::Committed(v1::Committed { failure: result.err().map(Into::into), checkpoint: checkpoint.0 })
        }
        ReportBody::Discarded { before, result } => {
            Wire::Discarded(v1::Discarded { failure: result.err().map(Into::into), before: before.0 })
        }
    }
}

impl TryFrom<v1::Report> for Report {
    type Error = WireError;

    fn try_from(wire: v1::Report) -> Result<Self, WireError> {
        let (job, attempt) = (JobId(wire.job), Attempt(wire.attempt));
        let body = wire.report.ok_or_else(|| WireError::new("Report", "it is empty"))?;
        Ok(Self { job, attempt, body: body_from_wire((job, attempt), body)? })
    }
}

fn body_from_wire(about: (JobId, Attempt), wire: v1::report::Report) -> Result<ReportBody, WireError> {
    use v1::report::Report as Wire;
    Ok(match wire {
        Wire::Ready(v1::Ready {}) => ReportBody::Ready,
        Wire::Finished(wire) => finished_from_wire(wire)?,
        Wire::Snapshot(wire) => {
            let checkpoint = checkpoint_id("Snapshot", wire.checkpoint)?;
            let snapshot: SubtaskSnapshot = json_value("Snapshot", &wire.snapshot)?;
            subtask_index("Snapshot", snapshot.subtask.index)?;
            ReportBody::Snapshot { checkpoint, snapshot: snapshot.into() }
        }
        Wire::SnapshotFailed(wire) => snapshot_failed_from_wire(about, wire)?,
        Wire::CheckpointWanted(v1::CheckpointWanted {}) => ReportBody::CheckpointWanted,
        Wire::Failed(wire) => failed_from_wire(about, wire)?,
        Wire::Gone(v1::Gone {}) => ReportBody::Gone,
        Wire::Discovered(wire) => ReportBody::Discovered { splits: discovered_from_wire(wire)? },
        Wire::Committed(v1::Committed { failure, checkpoint }) => ReportBody::Committed {
            checkpoint: checkpoint_id("Committed", checkpoint)?,
            result: result_from_wire(failure)?,
        },
        Wire::Discarded(v1::Discarded { failure, before }) => {
            ReportBody::Discarded { before: Attempt(before), result: result_from_wire(failure)? }
        }
    })
}

fn result_from_wire(failure: Option<v1::Failure>) -> Result<Result<(), Failure>, WireError> {
    failure.map_or(Ok(Ok(())), |failure| failure.try_into().map(Err))
}

type Discovery = Result<Vec<(OperatorId, Vec<Split>)>, Failure>;

fn discovered_to_wire(splits: Discovery) -> v1::Discovered {
    let source = |(source, splits): (OperatorId, Vec<Split>)| v1::SourceSplits {
        source: source.0,
        splits: splits.into_iter().map(Into::into).collect(),
    };
    match splits {
        Ok(sources) => v1::Discovered { sources: sources.into_iter().map(source).collect(), failure: None },
        Err(failure) => v1::Discovered { sources: Vec::new(), failure: Some(failure.into()) },
    }
}

fn discovered_from_wire(wire: v1::Discovered) -> Result<Discovery, WireError> {
    match wire.failure {
        None => {
            each(wire.sources, |source| Ok((OperatorId(source.source), each(source.splits, Split::try_from)?))).map(Ok)
        }
        Some(_) if !wire.sources.is_empty() => Err(WireError::new("Discovered", "it has both splits and a failure")),
        Some(failure) => Ok(Err(failure.try_into()?)),
    }
}

fn finished_from_wire(wire: v1::Finished) -> Result<ReportBody, WireError> {
    let subtask = SubtaskId { chain: ChainId(wire.chain), index: subtask_index("Finished", wire.index)? };
    let metrics = wire.metrics.ok_or_else(|| WireError::new("Finished", "it has no metrics"))?.into();
    let prepared = each(wire.prepared, Prepared::try_from)?;
    Ok(ReportBody::Finished { subtask, metrics, prepared })
}

fn snapshot_failed_from_wire(
    (job, attempt): (JobId, Attempt),
    wire: v1::SnapshotFailed,
) -> Result<ReportBody, WireError> {
    const MESSAGE: &str = "SnapshotFailed";
    let (of_job, of_attempt, subtask) = subtask_from_wire(MESSAGE, wire.subtask)?;
    if (of_job, of_attempt) != (job, attempt) {
        return Err(WireError::new(MESSAGE, "its subtask is of another attempt"));
    }
    let checkpoint = checkpoint_id(MESSAGE, wire.checkpoint)?;
    let failure = wire.failure.ok_or_else(|| WireError::new(MESSAGE, "it names no failure"))?.try_into()?;
    Ok(ReportBody::SnapshotFailed { checkpoint, subtask, failure })
}

impl From<Prepared> for v1::Prepared {
    fn from(Prepared { epoch, committables }: Prepared) -> Self {
        Self { epoch: epoch.0, committables: Some(committables.into()) }
    }
}

impl TryFrom<v1::Prepared> for Prepared {
    type Error = WireError;

    fn try_from(wire: v1::Prepared) -> Result<Self, WireError> {
        let committables = wire.committables.ok_or_else(|| WireError::new("Prepared", "it holds nothing"))?;
        Ok(Self { epoch: checkpoint_id("Prepared", wire.epoch)?, committables: committables.try_into()? })
    }
}

fn failed_from_wire((job, attempt): (JobId, Attempt), wire: v1::Failed) -> Result<ReportBody, WireError> {
    let subtask = match wire.subtask {
        None => None,
        named => match subtask_from_wire("Failed", named)? {
            (of_job, of_attempt, subtask) if (of_job, of_attempt) == (job, attempt) => Some(subtask),
            _ => return Err(WireError::new("Failed", "its subtask is of another attempt")),
        },
    };
    let failure = wire.failure.ok_or_else(|| WireError::new("Failed", "it names no failure"))?.try_into()?;
    let peer = Some(wire.peer).filter(|peer| *peer != 0).map(NodeId);
    Ok(ReportBody::Failed { subtask, failure, peer })
}
