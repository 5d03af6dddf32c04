//! Passes a range of the rows by order of arrival.
//!
//! Behind a source, each subtask may pass as many rows as are wanted in all. Once it has, it is satisfied, and the
//! source ends.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use thalweg_keyed_state::FrozenState;
use thalweg_types::{KeyGroup, Watermark, graph::RowRange};

use crate::{Operator, OperatorError, error::build_error, restore::value};

/// The frozen value: how many rows have arrived.
const CAME: &str = "came";

/// The running form of `Limit`.
#[derive(Debug)]
pub(crate) struct LimitOperator {
    range: RowRange,
    came: u64,
    output: Option<RecordBatch>,
}

impl LimitOperator {
    pub(crate) fn new(
        range: RowRange,
        name: &str,
        input: &SchemaRef,
        output: &SchemaRef,
    ) -> Result<Self, OperatorError> {
        if output.fields() != input.fields() {
            return Err(build_error(name)("its output is not its input's columns"));
        }
        Ok(Self { range, came: 0, output: None })
    }

    fn end(&self) -> u64 {
        self.range.needed().unwrap_or(u64::MAX)
    }
}

impl Operator for LimitOperator {
    fn process(&mut self, _port: u8, batch: RecordBatch) -> Result<(), OperatorError> {
        let rows = batch.num_rows();
        // An index within the batch, at most its number of rows.
        let within =
            |place: u64| usize::try_from(place.saturating_sub(self.came)).map_or(rows, |place| place.min(rows));
        let (from, to) = (within(self.range.offset), within(self.end()));
        if from < to {
            self.output = Some(batch.slice(from, to - from));
        }
        self.came = self.came.saturating_add(rows as u64);
        Ok(())
    }

    fn on_watermark(&mut self, _watermark: Watermark) -> Result<(), OperatorError> {
        Ok(())
    }

    fn is_satisfied(&self) -> bool {
        self.came >= self.end()
    }

    fn next_output(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        Ok(self.output.take())
    }

    fn freeze(&mut self) -> Result<FrozenState, OperatorError> {
        let mut frozen = FrozenState::default();
        frozen.values.insert(CAME.to_owned(), i64::try_from(self.came).unwrap_or(i64::MAX));
        Ok(frozen)
    }

    /// Sums the rows of all former instances: they were passed on to the one instance that gets all rows, so that many
    /// fewer are wanted.
    fn restore(&mut self, states: &[FrozenState], _owned: &[KeyGroup]) -> Result<(), OperatorError> {
        let came = states.iter().map(|state| u64::try_from(value(state, CAME)).unwrap_or(0));
        self.came = came.fold(self.came, u64::saturating_add);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
