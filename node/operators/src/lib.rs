//! Synchronous operator logic over Arrow record batches: no I/O, no tasks, no clock.
//!
//! An actor drives an operator so:
//!
//! ```text
//! process(port, batch) or on_watermark(w) or flush() or restore(..)
//!   then next_output() until it gives None          -- the actor may pause between two calls while it lacks credit
//!   then, after on_watermark(w), forwarded(w) is    -- never before what it released
//! ```
//!
//! What an operator holds between two calls, the rest of an unfinished emission included, is its state:
//! `freeze` gives it and `restore` takes it back, by key group.
//!
//! The key group of a row of state is that of the operator's own key columns (an aggregation's keys, a join's keys on either
//! side, a Top-N's partition), by the routing hash. So rows must be routed by exactly these columns. State without key
//! columns is of the first key group, and such an operator has one subtask. What operators without keys hold in mid-emission
//! is of the first key group too: an actor hands it on before it freezes them, unless any subtask may emit it.

use arrow::array::RecordBatch;
use thalweg_keyed_state::FrozenState;
use thalweg_types::{KeyGroup, Watermark};

mod aggregate;
mod build;
mod calc;
mod compact;
mod emission;
mod error;
mod expr;
mod join;
mod limit;
mod project;
mod restore;
mod sift;
mod sort;
mod source_stage;
mod split;
mod time;
mod top_n;
mod window_assign;

#[cfg(test)]
mod testing;

pub use build::{OperatorContext, build};
use compact::compact;
pub use error::OperatorError;
pub use sift::{FailedRows, part_rows};
pub use source_stage::{DeadRows, SourceStage, StagedBatch};
pub use thalweg_functions::budget::until;

/// One operator of a chain.
pub trait Operator: Send + std::fmt::Debug {
    /// Takes one batch. Everything the previous call released must have been taken by `next_output` before. Rows for which an
    /// expression fails (overflow, bad cast) go to `take_failed`.
    ///
    /// # Errors
    /// When something fails that lies in no single row. After `OperatorError::TooMuch` nothing has changed: the same rows may be given
    /// in smaller parts.
    fn process(&mut self, port: u8, batch: RecordBatch) -> Result<(), OperatorError>;

    /// Takes the combined watermark of all inputs, which grows strictly. `Watermark::MAX` is the end of input.
    ///
    /// # Errors
    /// As `process`, less what is too much.
    fn on_watermark(&mut self, watermark: Watermark) -> Result<(), OperatorError>;

    /// The watermark of its output when it has taken this one and all that was released is handed on. Grows with its
    /// argument; the end stays the end.
    fn forwarded(&self, watermark: Watermark) -> Watermark {
        watermark
    }

    /// Whether it evaluates expressions over what it is given, so that a batch may be much work: it may be given in parts.
    fn evaluates(&self) -> bool {
        false
    }

    /// Whether no further row changes its output: a source that feeds nothing else may end here.
    fn is_satisfied(&self) -> bool {
        false
    }

    /// Releases what must not be held across a barrier (the local phase of a two-phase aggregation).
    ///
    /// # Errors
    /// As `process`.
    fn flush(&mut self) -> Result<(), OperatorError> {
        Ok(())
    }

    /// The next bounded chunk of what was released, or `None`. A batch is empty only where rows failed.
    ///
    /// # Errors
    /// As `process`.
    fn next_output(&mut self) -> Result<Option<RecordBatch>, OperatorError>;

    /// Takes what was judged late since the last call.
    fn take_late(&mut self) -> Vec<LateRows> {
        Vec::new()
    }

    /// Takes the rows that failed since the last call.
    fn take_failed(&mut self) -> Vec<FailedRows> {
        Vec::new()
    }

    /// Bytes of state held.
    fn state_bytes(&self) -> usize {
        0
    }

    /// The state as of now, cheaply: shared or moved aside, not serialised. The operator goes on as if nothing had happened.
    ///
    /// # Errors
    /// When state cannot be laid out as batches.
    fn freeze(&mut self) -> Result<FrozenState, OperatorError> {
        Ok(FrozenState::default())
    }

    /// Takes over the owned key groups of frozen states, in a fresh operator. What they had released but not yet handed on
    /// comes from `next_output`.
    ///
    /// # Errors
    /// When a frozen state is not one of this operator.
    fn restore(&mut self, _states: &[FrozenState], _owned: &[KeyGroup]) -> Result<(), OperatorError> {
        Ok(())
    }
}

/// Input rows that a window refused.
#[derive(Debug, Clone)]
pub struct LateRows {
    /// The window's start, microseconds.
    pub window_start: i64,
    /// The window's end, microseconds.
    pub window_end: i64,
    /// The input rows.
    pub rows: RecordBatch,
}
