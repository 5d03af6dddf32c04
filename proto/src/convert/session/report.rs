//! Reports: what a node tells of an attempt.

use thalweg_types::{
    Attempt, ChainId, JobId, NodeId, OperatorId, Split, SubtaskId,
    job::Failure,
    session::{Report, SinkCommittables},
};

use super::{each, subtask_from_wire, subtask_index, subtask_to_wire};
use crate::{convert::WireError, v1};

pub(super) fn to_wire(sequence: u64, report: Report) -> v1::Report {
    use v1::report::Report as Wire;
    let (job, attempt, report) = match report {
        Report::Discovered { job, attempt, splits } => (job, attempt, Wire::Discovered(discovered_to_wire(splits))),
        Report::Ready { job, attempt } => (job, attempt, Wire::Ready(v1::Ready {})),
        Report::Finished { job, attempt, subtask, metrics, committables } => {
            let finished = v1::Finished {
                chain: subtask.chain.0,
                index: subtask.index,
                metrics: Some(metrics.into()),
                committables: committables.into_iter().map(Into::into).collect(),
            };
            (job, attempt, Wire::Finished(finished))
        }
        Report::Failed { job, attempt, subtask, failure, peer } => {
            let failed = v1::Failed {
                subtask: subtask.map(|subtask| subtask_to_wire(job, attempt, subtask)),
                failure: Some(failure.into()),
                peer: peer.map_or(0, |node| node.0),
            };
            (job, attempt, Wire::Failed(failed))
        }
        Report::Gone { job, attempt } => (job, attempt, Wire::Gone(v1::Gone {})),
        Report::Committed { job, attempt, result } => {
            (job, attempt, Wire::Committed(v1::Committed { failure: result.err().map(Into::into) }))
        }
        Report::Discarded { job, attempt, result } => {
            (job, attempt, Wire::Discarded(v1::Discarded { failure: result.err().map(Into::into) }))
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
            Wire::Committed(v1::Committed { failure }) => {
                Self::Committed { job, attempt, result: result_from_wire(failure)? }
            }
            Wire::Discarded(v1::Discarded { failure }) => {
                Self::Discarded { job, attempt, result: result_from_wire(failure)? }
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
    let committables = each(wire.committables, SinkCommittables::try_from)?;
    Ok(Report::Finished { job, attempt, subtask, metrics, committables })
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
