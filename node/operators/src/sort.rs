//! Sorts rows and returns them once the input has ended, all or the first ones. The whole row breaks ties, so that the
//! result does not depend on arrival.
//!
//! ```text
//! rows -> kept as they arrive; those behind the last one wanted are dropped now and then
//! end  -> positions of the rows, sorted by arrow's row format -> chunks, gathered on demand
//! ```
//!
//! Kept rows stay in place while they are returned, so a snapshot meanwhile uploads nothing again; it only records how
//! many rows were returned. For ties, columns are compared in order, ascending, NULLs last.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{SortOptions, interleave_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows, SortField};
use thalweg_keyed_state::{FrozenState, KeyGroupSet, StateBatch};
use thalweg_types::{KeyGroup, Watermark, graph::Sort};

use crate::{
    Operator, OperatorContext, OperatorError, compact,
    compact::with_own_text,
    error::{arrow_error, build_error},
    keys::canonical_keys,
    project::batch_of,
    restore::{add, keyed, owned_parts, value},
};

const ROWS: &str = "rows";
/// The frozen value: how many rows of the order were returned.
const GIVEN: &str = "given";

/// A row's batch and its index there.
type Spot = (usize, usize);

/// The running form of `Sort`.
#[derive(Debug)]
pub(crate) struct SortOperator {
    plan: Sort,
    schema: SchemaRef,
    converter: RowConverter,
    context: OperatorContext,
    batches: Vec<StateBatch>,
    rows: usize,
    /// Rows kept by the last pruning.
    kept: usize,
    bytes: usize,
    /// After the end of input: the rows still to be returned, last one first.
    left: Option<Vec<Spot>>,
    given: usize,
}

impl SortOperator {
    pub(crate) fn new(
        plan: &Sort,
        name: &str,
        input: &SchemaRef,
        output: SchemaRef,
        context: OperatorContext,
    ) -> Result<Self, OperatorError> {
        let width = input.fields().len();
        if plan.order.iter().any(|sort| sort.column >= width) {
            return Err(build_error(name)("an order column is not one of its input"));
        }
        if output.fields() != input.fields() {
            return Err(build_error(name)("its output is not its input's columns"));
        }
        Ok(Self {
            converter: converter(plan, input).map_err(build_error(name))?,
            plan: plan.clone(),
            schema: output,
            context,
            batches: Vec::new(),
            rows: 0,
            kept: 0,
            bytes: 0,
            left: None,
            given: 0,
        })
    }

    fn store(&mut self, stored: StateBatch) -> Result<(), OperatorError> {
        self.rows += stored.rows.num_rows();
        let (came, went) = add(&mut self.batches, stored, [], self.context.key_groups)?;
        self.bytes = self.bytes + came - went;
        let needed = self.needed();
        if self.rows > needed && self.rows > 2 * self.kept + self.context.batch_rows {
            let mut first = self.in_order()?;
            first.truncate(needed);
            let kept = self.rows_at(&first)?;
            self.kept = first.len();
            self.rows = first.len();
            self.batches = kept.map(|kept| keyed(&kept, [], self.context.key_groups)).into_iter().collect();
            self.bytes = self.batches.iter().map(|batch| batch.rows.get_array_memory_size()).sum();
        }
        Ok(())
    }

    /// How many of the first rows are needed, including those that an offset skips.
    fn needed(&self) -> usize {
        self.plan.range.needed().and_then(|needed| usize::try_from(needed).ok()).unwrap_or(usize::MAX)
    }

    /// The positions of all rows, sorted.
    fn in_order(&self) -> Result<Vec<Spot>, OperatorError> {
        let laid_out: Vec<Rows> =
            self.batches.iter().map(|batch| self.laid_out(&batch.rows)).collect::<Result<_, _>>()?;
        let spots = |(rows, batch): (&Rows, usize)| (0..rows.num_rows()).map(move |row| (batch, row));
        let mut spots: Vec<Spot> = laid_out.iter().zip(0..).flat_map(spots).collect();
        spots.sort_unstable_by(|a, b| laid_out[a.0].row(a.1).cmp(&laid_out[b.0].row(b.1)));
        Ok(spots)
    }

    fn laid_out(&self, rows: &RecordBatch) -> Result<Rows, OperatorError> {
        let order: Vec<ArrayRef> = self.plan.order.iter().map(|sort| rows.column(sort.column).clone()).collect();
        let mut sorted_by = canonical_keys(&order)?;
        sorted_by.extend(rows.columns().iter().cloned());
        self.converter.convert_columns(&sorted_by).map_err(arrow_error("lay rows out for sorting"))
    }

    /// Gathers the rows at these positions into buffers of their own; `None` if there are none.
    fn rows_at(&self, spots: &[Spot]) -> Result<Option<RecordBatch>, OperatorError> {
        if spots.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().map(|batch| &batch.rows).collect();
        let rows = interleave_record_batch(&batches, spots).map_err(arrow_error("put sorted rows together"))?;
        Ok(Some(with_own_text(&rows)))
    }

    fn forget_rows(&mut self) {
        self.batches.clear();
        (self.rows, self.kept, self.bytes) = (0, 0, 0);
    }
}

/// Encodes rows by the order's columns, then by the whole row.
fn converter(plan: &Sort, input: &SchemaRef) -> Result<RowConverter, arrow::error::ArrowError> {
    let field = |column: usize, options| SortField::new_with_options(input.field(column).data_type().clone(), options);
    let by_order = plan
        .order
        .iter()
        .map(|sort| field(sort.column, SortOptions { descending: sort.descending, nulls_first: sort.nulls_first }));
    let ascending = SortOptions { descending: false, nulls_first: false };
    let whole = (0..input.fields().len()).map(|column| field(column, ascending));
    RowConverter::new(by_order.chain(whole).collect())
}

impl Operator for SortOperator {
    fn process(&mut self, _port: u8, batch: RecordBatch) -> Result<(), OperatorError> {
        if batch.num_rows() == 0 || self.needed() == 0 {
            return Ok(());
        }
        let rows = batch_of(&self.schema, compact(&batch)?.columns().to_vec(), batch.num_rows())?;
        self.store(keyed(&rows, [], self.context.key_groups))
    }

    fn on_watermark(&mut self, watermark: Watermark) -> Result<(), OperatorError> {
        if watermark.is_end() && self.left.is_none() {
            let mut left = self.in_order()?;
            left.truncate(self.needed());
            let offset = usize::try_from(self.plan.range.offset).unwrap_or(usize::MAX);
            left.drain(..offset.saturating_add(self.given).min(left.len()));
            left.reverse();
            self.left = Some(left);
        }
        Ok(())
    }

    fn next_output(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        let Some(left) = &mut self.left else { return Ok(None) };
        let chunk = self.context.batch_rows.max(1).min(left.len());
        let mut next = left.split_off(left.len() - chunk);
        next.reverse();
        let rows = self.rows_at(&next)?;
        self.given += next.len();
        if rows.is_none() {
            self.forget_rows();
        }
        Ok(rows)
    }

    fn state_bytes(&self) -> usize {
        self.bytes + self.left.as_ref().map_or(0, |left| left.capacity() * size_of::<Spot>())
    }

    fn freeze(&mut self) -> Result<FrozenState, OperatorError> {
        let mut frozen = FrozenState::default();
        frozen.extend(ROWS, self.batches.iter().cloned());
        frozen.values.insert(GIVEN.to_owned(), i64::try_from(self.given).unwrap_or(i64::MAX));
        Ok(frozen)
    }

    fn restore(&mut self, states: &[FrozenState], owned: &[KeyGroup]) -> Result<(), OperatorError> {
        let owned: KeyGroupSet = owned.iter().copied().collect();
        for state in states {
            self.given = self.given.max(usize::try_from(value(state, GIVEN)).unwrap_or(0));
            for part in owned_parts(state.table(ROWS), &owned, self.schema.fields().len(), "a sort") {
                self.store(part?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
