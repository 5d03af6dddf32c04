//! A job's failure and a subtask's measurements: parts of the messages of both the client's and the session's service.

use thalweg_types::job::{Failure, FailureKind, SubtaskMetrics};

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
        }
    }
}

/// Every combination of numbers is one that a subtask could have measured.
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
        }
    }
}
