//! Filters, then projects. Stateless. Columns passed through are shared, not copied, unless the filter drops rows.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use thalweg_keyed_state::FrozenState;
use thalweg_types::{KeyGroup, Watermark, graph::Calc};

use crate::{
    FailedRows, Operator, OperatorError,
    emission::{Emission, OUTPUT},
    expr::Expression,
    project::Projector,
    sift::sift,
};

/// The running form of `Calc`.
#[derive(Debug)]
pub(crate) struct CalcOperator {
    filter: Option<Expression>,
    projector: Projector,
    emission: Emission,
    failed: Vec<FailedRows>,
}

impl CalcOperator {
    pub(crate) fn new(calc: &Calc, name: &str, input: &SchemaRef, output: SchemaRef) -> Result<Self, OperatorError> {
        let filter = calc.filter.as_ref();
        let filter =
            filter.map(|bytes| Expression::compile(bytes, input, Some(&DataType::Boolean), name)).transpose()?;
        let projector = Projector::new(calc.projection.as_deref(), input, output, name)?;
        // Input batches are bounded, and a row yields at most one row, so output needs no further bound.
        Ok(Self { filter, projector, emission: Emission::new(usize::MAX, Vec::new(), 1), failed: Vec::new() })
    }

    fn apply(&self, batch: &RecordBatch) -> Result<Option<RecordBatch>, OperatorError> {
        let Some(filter) = &self.filter else { return self.projector.project(batch.clone()).map(Some) };
        let mask = filter.evaluate_mask(batch)?;
        match mask.true_count() {
            0 => Ok(None),
            all if all == batch.num_rows() => self.projector.project(batch.clone()).map(Some),
            some => self.projector.project_selected(batch, &mask, some).map(Some),
        }
    }
}

impl Operator for CalcOperator {
    fn process(&mut self, _port: u8, batch: RecordBatch) -> Result<(), OperatorError> {
        if batch.num_rows() > 0 {
            let sifted = sift(batch, |batch| self.apply(batch))?;
            self.failed.extend(sifted.failed);
            self.emission.extend(sifted.value.flatten());
        }
        Ok(())
    }

    fn evaluates(&self) -> bool {
        true
    }

    fn on_watermark(&mut self, _watermark: Watermark) -> Result<(), OperatorError> {
        Ok(())
    }

    fn next_output(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        Ok(self.emission.next())
    }

    fn take_failed(&mut self) -> Vec<FailedRows> {
        std::mem::take(&mut self.failed)
    }

    fn state_bytes(&self) -> usize {
        self.emission.bytes()
    }

    fn freeze(&mut self) -> Result<FrozenState, OperatorError> {
        let mut frozen = FrozenState::default();
        frozen.extend(OUTPUT, self.emission.freeze());
        Ok(frozen)
    }

    fn restore(&mut self, states: &[FrozenState], owned: &[KeyGroup]) -> Result<(), OperatorError> {
        self.emission.restore(states, &owned.iter().copied().collect())
    }
}

#[cfg(test)]
mod tests;
