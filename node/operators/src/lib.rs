//! Synchronous operator logic over Arrow record batches: no I/O, no tasks, no clock.
//!
//! An actor drives an operator like this:
//!
//! ```text
//! process(port, batch) or on_watermark(w) or flush() or restore(..)
//!   then next_output() until it returns None        -- the actor may pause between two calls while it lacks credit
//!   then, after on_watermark(w), forwarded(w) is    -- never before what it released
//! ```
//!
//! Everything that an operator holds between two calls, including the rest of an unfinished emission, is its state:
//! `freeze` returns it and `restore` takes it back, by key group.
//!
//! The key group of a row of state comes from the operator's own key columns (an aggregation's keys, a join's keys on
//! either side, a Top-N's partition), by the routing hash. So rows must be routed by exactly these columns. State
//! without key columns belongs to the first key group, and such an operator has one subtask. The unfinished emission of
//! an operator without keys also belongs to the first key group: an actor drains it before it freezes the operator,
//! unless any subtask may emit it.

use arrow::array::RecordBatch;
use thalweg_keyed_state::FrozenState;
use thalweg_types::{KeyGroup, Watermark};

mod aggregate;
mod build;
mod calc;
mod compact;
mod context;
mod emission;
mod error;
mod event_time;
mod expr;
mod join;
mod keys;
mod limit;
mod project;
mod restore;
mod sift;
mod sort;
mod source_stage;
mod split;
mod table;
mod time;
mod top_n;
mod window_assign;
mod windowing;

#[cfg(test)]
mod testing;

pub use build::build;
use compact::compact;
pub use context::OperatorContext;
pub use error::OperatorError;
pub use sift::{FailedRows, part_rows};
pub use source_stage::{DeadRows, SourceStage, StagedBatch};
pub use table::{FoundRows, TableOperator, TableView, merge_found};
pub use thalweg_functions::budget::until;

/// One operator of a chain.
pub trait Operator: Send + std::fmt::Debug {
    /// Processes one batch. `next_output` must have returned everything released before. Rows for which an expression
    /// fails (overflow, bad cast) go to `take_failed`.
    ///
    /// # Errors
    /// If something fails that is not the fault of a single row. After `OperatorError::TooMuch` nothing has changed,
    /// and the same rows may be given in smaller batches.
    fn process(&mut self, port: u8, batch: RecordBatch) -> Result<(), OperatorError>;

    /// Advances the combined watermark of all inputs, which grows strictly. `Watermark::MAX` is the end of input.
    ///
    /// # Errors
    /// As `process`, except `TooMuch`.
    fn on_watermark(&mut self, watermark: Watermark) -> Result<(), OperatorError>;

    /// The watermark of the output once this input watermark is processed and everything released is passed on. Grows
    /// with its argument; the end maps to the end.
    fn forwarded(&self, watermark: Watermark) -> Watermark {
        watermark
    }

    /// Whether it evaluates expressions over its input, so that a batch may be much work and may be given in parts.
    fn evaluates(&self) -> bool {
        false
    }

    /// Whether no further row can change its output. A source that feeds nothing else may then end.
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

    /// The next bounded chunk of released rows, or `None`. A batch is empty only if rows failed.
    ///
    /// # Errors
    /// As `process`.
    fn next_output(&mut self) -> Result<Option<RecordBatch>, OperatorError>;

    /// Takes the rows judged late since the last call.
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

    /// The current state, cheaply: shared or moved, not serialized. The operator continues unaffected.
    ///
    /// # Errors
    /// If state cannot be laid out as batches.
    fn freeze(&mut self) -> Result<FrozenState, OperatorError> {
        Ok(FrozenState::default())
    }

    /// Restores the owned key groups of frozen states into a new operator. Rows that were released but not passed on
    /// come from `next_output`.
    ///
    /// # Errors
    /// If a frozen state is not one of this operator.
    fn restore(&mut self, _states: &[FrozenState], _owned: &[KeyGroup]) -> Result<(), OperatorError> {
        Ok(())
    }
}

/// Input rows that a window refused as late.
#[derive(Debug, Clone)]
pub struct LateRows {
    /// The window's start in microseconds.
    pub window_start: i64,
    /// The window's end in microseconds.
    pub window_end: i64,
    /// The input rows.
    pub rows: RecordBatch,
}
