//! What all operators of a job are built with.

/// The job-wide parameters of operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorContext {
    /// How many key groups the job has.
    pub key_groups: u16,
    /// The most rows in an emitted batch.
    pub batch_rows: usize,
}
