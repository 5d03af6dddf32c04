//! Converts jobs as clients see them, and the failures and measurements that session messages carry too.

use thalweg_types::{
    Attempt, CheckpointId, JobId, JobStatus,
    checkpoint::SnapshotCost,
    job::{
        AwaitedSubtask, CheckpointOverview, CheckpointState, CheckpointSummary, CheckpointWaits, Failure, FailureKind,
        JobOverview, SubtaskMetrics, SubtaskOverview,
    },
};

use super::WireError;
use crate::v1;

const KINDS: [(FailureKind, &str); 5] = [
    (FailureKind::Node, "node"),
    (FailureKind::Link, "link"),
    (FailureKind::Store, "store"),
    (FailureKind::Operator, "operator"),
    (FailureKind::Data, "data"),
];

impl From<Failure> for v1::Failure {
    fn from(failure: Failure) -> Self {
        let word = KINDS.iter().find(|(kind, _)| *kind == failure.kind).map(|(_, word)| *word);
        Self { kind: word.expect("every kind has a word").to_owned(), message: failure.message }
    }
}

impl TryFrom<v1::Failure> for Failure {
    type Error = WireError;

    fn try_from(wire: v1::Failure) -> Result<Self, WireError> {
        let kind = KINDS.iter().find(|(_, word)| *word == wire.kind).map(|(kind, _)| *kind);
        let kind = kind.ok_or_else(|| WireError::new("Failure", format!("unknown kind '{}'", wire.kind)))?;
        Ok(Self { kind, message: wire.message })
    }
}

impl From<SubtaskMetrics> for v1::SubtaskMetrics {
    fn from(metrics: SubtaskMetrics) -> Self {
        Self {
            records_in: metrics.records_in,
            records_out: metrics.records_out,
            bytes_in: metrics.bytes_in,
            bytes_out: metrics.bytes_out,
            busy_micros: metrics.busy_micros,
            blocked_micros: metrics.blocked_micros,
            idle_micros: metrics.idle_micros,
            watermark: metrics.watermark,
            late_records: metrics.late_records,
            dead_letters: metrics.dead_letters,
            failed_rows: metrics.failed_rows,
        }
    }
}

/// Infallible: a subtask can measure any combination of numbers.
impl From<v1::SubtaskMetrics> for SubtaskMetrics {
    fn from(wire: v1::SubtaskMetrics) -> Self {
        Self {
            records_in: wire.records_in,
            records_out: wire.records_out,
            bytes_in: wire.bytes_in,
            bytes_out: wire.bytes_out,
            busy_micros: wire.busy_micros,
            blocked_micros: wire.blocked_micros,
            idle_micros: wire.idle_micros,
            watermark: wire.watermark,
            late_records: wire.late_records,
            dead_letters: wire.dead_letters,
            failed_rows: wire.failed_rows,
        }
    }
}

impl From<JobOverview> for v1::Job {
    fn from(job: JobOverview) -> Self {
        Self {
            job: job.job.0,
            name: job.name,
            status: job.status.word().to_owned(),
            attempt: job.attempt.0,
            parallelism: job.parallelism,
            failure: job.failure.map(Into::into),
            failures: job.failures,
            last_checkpoint: job.checkpoints.last_complete.map_or(0, |checkpoint| checkpoint.0),
            checkpoint_failures: job.checkpoints.failures_in_a_row,
            checkpoint_failure: job.checkpoints.reason,
            subtasks: job.subtasks.into_iter().map(Into::into).collect(),
            sql: job.sql,
            plan: job.plan,
            ingest_urls: job.ingest_urls,
            asked_urls: job.asked_urls,
            submitted_ms: job.submitted_ms,
            ended_ms: job.ended_ms,
        }
    }
}

impl TryFrom<v1::Job> for JobOverview {
    type Error = WireError;

    fn try_from(wire: v1::Job) -> Result<Self, WireError> {
        let status = JobStatus::from_word(&wire.status)
            .ok_or_else(|| WireError::new("Job", format!("unknown status '{}'", wire.status)))?;
        let subtasks = wire.subtasks.into_iter().map(SubtaskOverview::try_from);
        Ok(Self {
            job: JobId(wire.job),
            name: wire.name,
            status,
            attempt: Attempt(wire.attempt),
            parallelism: wire.parallelism,
            failure: wire.failure.map(Failure::try_from).transpose()?,
            failures: wire.failures,
            checkpoints: CheckpointSummary {
                last_complete: Some(CheckpointId(wire.last_checkpoint)).filter(|checkpoint| checkpoint.0 > 0),
                failures_in_a_row: wire.checkpoint_failures,
                reason: wire.checkpoint_failure,
            },
            subtasks: subtasks.collect::<Result<_, _>>()?,
            sql: wire.sql,
            plan: wire.plan,
            ingest_urls: wire.ingest_urls,
            asked_urls: wire.asked_urls,
            submitted_ms: wire.submitted_ms,
            ended_ms: wire.ended_ms,
        })
    }
}

impl From<CheckpointOverview> for v1::Checkpoint {
    fn from(checkpoint: CheckpointOverview) -> Self {
        let CheckpointOverview { checkpoint, attempt, state, reason, begun_ms, duration_micros, cost, url, waits } =
            checkpoint;
        let cost = v1::SnapshotCost {
            alignment_micros: cost.alignment_micros,
            freeze_micros: cost.freeze_micros,
            upload_micros: cost.upload_micros,
            uploaded_bytes: cost.uploaded_bytes,
            state_bytes: cost.state_bytes,
            is_unaligned: cost.is_unaligned,
        };
        Self {
            checkpoint: checkpoint.0,
            attempt: attempt.0,
            state: state.word().to_owned(),
            reason,
            begun_ms,
            duration_micros,
            cost: Some(cost),
            url,
            waits: waits.map(Into::into),
        }
    }
}

impl TryFrom<v1::Checkpoint> for CheckpointOverview {
    type Error = WireError;

    fn try_from(wire: v1::Checkpoint) -> Result<Self, WireError> {
        let state = CheckpointState::from_word(&wire.state)
            .ok_or_else(|| WireError::new("Checkpoint", format!("unknown state '{}'", wire.state)))?;
        let cost = wire.cost.unwrap_or_default();
        let cost = SnapshotCost {
            alignment_micros: cost.alignment_micros,
            freeze_micros: cost.freeze_micros,
            upload_micros: cost.upload_micros,
            uploaded_bytes: cost.uploaded_bytes,
            state_bytes: cost.state_bytes,
            is_unaligned: cost.is_unaligned,
        };
        Ok(Self {
            checkpoint: CheckpointId(wire.checkpoint),
            attempt: Attempt(wire.attempt),
            state,
            reason: wire.reason,
            begun_ms: wire.begun_ms,
            duration_micros: wire.duration_micros,
            cost,
            url: wire.url,
            waits: wire.waits.map(Into::into),
        })
    }
}

impl From<CheckpointWaits> for v1::CheckpointWaits {
    fn from(CheckpointWaits { subtasks, more }: CheckpointWaits) -> Self {
        let awaited = |AwaitedSubtask { name, chain, index, node }| v1::AwaitedSubtask { name, chain, index, node };
        Self { subtasks: subtasks.into_iter().map(awaited).collect(), more }
    }
}

/// Infallible: any numbers may name a subtask.
impl From<v1::CheckpointWaits> for CheckpointWaits {
    fn from(v1::CheckpointWaits { subtasks, more }: v1::CheckpointWaits) -> Self {
        let awaited = |v1::AwaitedSubtask { name, chain, index, node }| AwaitedSubtask { name, chain, index, node };
        Self { subtasks: subtasks.into_iter().map(awaited).collect(), more }
    }
}

impl From<SubtaskOverview> for v1::Subtask {
    fn from(subtask: SubtaskOverview) -> Self {
        Self {
            name: subtask.name,
            chain: subtask.chain,
            index: subtask.index,
            node: subtask.node,
            state: subtask.state,
            is_source: subtask.is_source,
            is_sink: subtask.is_sink,
            metrics: Some(subtask.metrics.into()),
        }
    }
}

impl TryFrom<v1::Subtask> for SubtaskOverview {
    type Error = WireError;

    fn try_from(wire: v1::Subtask) -> Result<Self, WireError> {
        let metrics = wire.metrics.ok_or_else(|| WireError::new("Subtask", "it has no metrics"))?;
        Ok(Self {
            name: wire.name,
            chain: wire.chain,
            index: wire.index,
            node: wire.node,
            state: wire.state,
            is_source: wire.is_source,
            is_sink: wire.is_sink,
            metrics: metrics.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_survives_the_wire_and_unknown_statuses_are_refused() {
        let subtask = SubtaskOverview {
            name: "source".to_owned(),
            chain: 1,
            index: 2,
            node: 3,
            state: "running".to_owned(),
            is_source: true,
            is_sink: false,
            metrics: SubtaskMetrics { records_in: 4, watermark: -5, ..SubtaskMetrics::default() },
        };
        let job = JobOverview {
            job: JobId(6),
            name: "n".to_owned(),
            status: JobStatus::Restarting,
            attempt: Attempt(7),
            parallelism: 8,
            failure: Some(Failure { kind: FailureKind::Store, message: "m".to_owned() }),
            failures: 9,
            checkpoints: CheckpointSummary {
                last_complete: Some(CheckpointId(10)),
                failures_in_a_row: 11,
                reason: "r".to_owned(),
            },
            subtasks: vec![subtask],
            sql: "s".to_owned(),
            plan: "p".to_owned(),
            ingest_urls: vec!["http://a:1/b".to_owned()],
            asked_urls: vec!["http://a:1/tables/t".to_owned()],
            submitted_ms: 12,
            ended_ms: 13,
        };
        let mut wire = v1::Job::from(job.clone());
        assert_eq!(JobOverview::try_from(wire.clone()), Ok(job));
        wire.status = "thinking".to_owned();
        assert!(JobOverview::try_from(wire).is_err());
    }

    #[test]
    fn a_checkpoint_survives_the_wire_and_unknown_states_are_refused() {
        let checkpoint = CheckpointOverview {
            checkpoint: CheckpointId(1),
            attempt: Attempt(2),
            state: CheckpointState::InProgress,
            reason: "r".to_owned(),
            begun_ms: 3,
            duration_micros: 4,
            cost: SnapshotCost {
                alignment_micros: 5,
                freeze_micros: 6,
                upload_micros: 7,
                uploaded_bytes: 8,
                state_bytes: 9,
                is_unaligned: true,
            },
            url: "u".to_owned(),
            waits: Some(CheckpointWaits {
                subtasks: vec![AwaitedSubtask { name: "a".to_owned(), chain: 10, index: 11, node: 12 }],
                more: 13,
            }),
        };
        let mut wire = v1::Checkpoint::from(checkpoint.clone());
        assert_eq!(CheckpointOverview::try_from(wire.clone()), Ok(checkpoint));
        wire.state = "thinking".to_owned();
        assert!(CheckpointOverview::try_from(wire).is_err());
    }
}
