//! Converts reports: what a node reports about an attempt.

use thalweg_types::{
    Attempt, ChainId, JobId, NodeId, OperatorId, Split, SubtaskId,
    checkpoint::{Prepared, SubtaskSnapshot},
    job::Failure,
    session::Report,
};

use super::{checkpoint_id, each, json_value, subtask_from_wire, subtask_index, subtask_to_wire};
use crate::{convert::WireError, v1};

pub(super) fn to_wire(sequence: u64, report: Report) -> v1::Report {
    use v1::report::Report as Wire;
    let (job, attempt, report) = match report {
        Report::Discovered { job, attempt, splits } => (job, attempt, Wire::Discovered(discovered_to_wire(splits))),
        Report::Ready { job, attempt } => (job, attempt, Wire::Ready(v1::Ready {})),
        Report::Finished { job, attempt, subtask, metrics, prepared } => {
            let finished = v1::Finished {
                chain: subtask.chain.0,
                index: subtask.index,
                metrics: Some(metrics.into()),
                prepared: prepared.into_iter().map(Into::into).collect(),
            };
            (job, attempt, Wire::Finished(finished))
        }
        Report::Snapshot { job, attempt, checkpoint, snapshot } => {
            let snapshot = snapshot.text().to_vec();
            (job, attempt, Wire::Snapshot(v1::Snapshot { checkpoint: checkpoint.0, snapshot }))
        }
        Report::SnapshotFailed { job, attempt, checkpoint, subtask, failure } => {
            let failed = v1::SnapshotFailed {
                checkpoint: checkpoint.0,
                subtask: Some(subtask_to_wire(job, attempt, subtask)),
                failure: Some(failure.into()),
            };
            (job, attempt, Wire::SnapshotFailed(failed))
        }
        Report::CheckpointWanted { job, attempt } => (job, attempt, Wire::CheckpointWanted(v1::CheckpointWanted {})),
        Report::Failed { job, attempt, subtask, failure, peer } => {
            let failed = v1::Failed {
                subtask: subtask.map(|subtask| subtask_to_wire(job, attempt, subtask)),
                failure: Some(failure.into()),
                peer: peer.map_or(0, |node| node.0),
            };
            (job, attempt, Wire::Failed(failed))
        }
        Report::Gone { job, attempt } => (job, attempt, Wire::Gone(v1::Gone {})),
        Report::Committed { job, attempt, checkpoint, result } => {
            let failure = result.err().map(Into::into);
            (job, attempt, Wire::Committed(v1::Committed { failure, checkpoint: checkpoint.0 }))
        }
        Report::Discarded { job, attempt, before, result } => {
            let failure = result.err().map(Into::into);
            (job, attempt, Wire::Discarded(v1::Discarded { failure, before: before.0 }))
        }
    };
    v1::Report { sequence, job: job.0, attempt: attempt.0, report: Some(report) }
}

impl TryFrom<v1::Report> for Report {
    type Error = WireError;

    fn try_from(wire: v1::Report) -> Result<Self, WireError> {
        use v1::report::Report as Wire;
        let (job, attempt) = (JobId(wire.job), Attempt(wire.attempt));
        Ok(match wire.report.ok_or_else(|| WireError::new("Report", "it is empty"))? {
            Wire::Discovered(wire) => Self::Discovered { job, attempt, splits: discovered_from_wire(wire)? },
            Wire::Ready(v1::Ready {}) => Self::Ready { job, attempt },
            Wire::Finished(wire) => finished_from_wire(job, attempt, wire)?,
            Wire::Failed(wire) => failed_from_wire(job, attempt, wire)?,
            Wire::Gone(v1::Gone {}) => Self::Gone { job, attempt },
            Wire::Snapshot(wire) => {
                let checkpoint = checkpoint_id("Snapshot", wire.checkpoint)?;
                let snapshot: SubtaskSnapshot = json_value("Snapshot", &wire.snapshot)?;
                subtask_index("Snapshot", snapshot.subtask.index)?;
                Self::Snapshot { job, attempt, checkpoint, snapshot: snapshot.into() }
            }
            Wire::SnapshotFailed(wire) => snapshot_failed_from_wire(job, attempt, wire)?,
            Wire::CheckpointWanted(v1::CheckpointWanted {}) => Self::CheckpointWanted { job, attempt },
            Wire::Committed(v1::Committed { failure, checkpoint }) => {
                let checkpoint = checkpoint_id("Committed", checkpoint)?;
                Self::Committed { job, attempt, checkpoint, result: result_from_wire(failure)? }
            }
            Wire::Discarded(v1::Discarded { failure, before }) => {
                Self::Discarded { job, attempt, before: Attempt(before), result: result_from_wire(failure)? }
            }
        })
    }
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

fn finished_from_wire(job: JobId, attempt: Attempt, wire: v1::Finished) -> Result<Report, WireError> {
    let subtask = SubtaskId { chain: ChainId(wire.chain), index: subtask_index("Finished", wire.index)? };
    let metrics = wire.metrics.ok_or_else(|| WireError::new("Finished", "it has no metrics"))?.into();
    let prepared = each(wire.prepared, Prepared::try_from)?;
    Ok(Report::Finished { job, attempt, subtask, metrics, prepared })
}

fn snapshot_failed_from_wire(job: JobId, attempt: Attempt, wire: v1::SnapshotFailed) -> Result<Report, WireError> {
    const MESSAGE: &str = "SnapshotFailed";
    let (of_job, of_attempt, subtask) = subtask_from_wire(MESSAGE, wire.subtask)?;
    if (of_job, of_attempt) != (job, attempt) {
        return Err(WireError::new(MESSAGE, "its subtask is of another attempt"));
    }
    let checkpoint = checkpoint_id(MESSAGE, wire.checkpoint)?;
    let failure = wire.failure.ok_or_else(|| WireError::new(MESSAGE, "it names no failure"))?.try_into()?;
    Ok(Report::SnapshotFailed { job, attempt, checkpoint, subtask, failure })
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

fn failed_from_wire(job: JobId, attempt: Attempt, wire: v1::Failed) -> Result<Report, WireError> {
    let subtask = match wire.subtask {
        None => None,
        named => match subtask_from_wire("Failed", named)? {
            (of_job, of_attempt, subtask) if (of_job, of_attempt) == (job, attempt) => Some(subtask),
            _ => return Err(WireError::new("Failed", "its subtask is of another attempt")),
        },
    };
    let failure = wire.failure.ok_or_else(|| WireError::new("Failed", "it names no failure"))?.try_into()?;
    let peer = Some(wire.peer).filter(|peer| *peer != 0).map(NodeId);
    Ok(Report::Failed { job, attempt, subtask, failure, peer })
}
