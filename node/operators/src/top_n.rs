//! Keeps the first rows per window and partition, by an order whose ties are broken by the whole row.
//!
//! Rows of a window are buffered. When they have more than doubled (by a batch) since the last pruning, they are sorted
//! by partition, order and whole row in arrow's row format, and each partition's first rows are kept. So a row costs a
//! logarithm of the number kept, and memory is about twice what is kept. For ties, columns are compared in order,
//! ascending, NULLs last.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::{SortOptions, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};
use thalweg_flow::Window;
use thalweg_keyed_state::{FrozenState, KeyGroupSet, StateBatch, WATERMARK};
use thalweg_types::{KeyGroup, Watermark, graph::WindowTopN};

use crate::{
    LateRows, Operator, OperatorContext, OperatorError,
    aggregate::{canonical_keys, check_timestamps, split_attached},
    compact,
    emission::{Emission, OUTPUT},
    error::{arrow_error, build_error},
    project::batch_of,
    restore::{add, keyed, owned_parts, value},
};

const ROWS: &str = "rows";

/// The running form of `WindowTopN`.
#[derive(Debug)]
pub(crate) struct WindowTopNOperator {
    plan: WindowTopN,
    input: SchemaRef,
    output: SchemaRef,
    ranker: Ranker,
    context: OperatorContext,
    windows: BTreeMap<Window, Buffer>,
    watermark: i64,
    emission: Emission,
    late: Vec<LateRows>,
    bytes: usize,
}

/// Sorts rows, and tells partitions apart.
#[derive(Debug)]
struct Ranker {
    partition: RowConverter,
    order: RowConverter,
}

#[derive(Debug, Default)]
struct Buffer {
    batches: Vec<StateBatch>,
    rows: usize,
    /// Rows kept by the last pruning.
    kept: usize,
}

impl WindowTopNOperator {
    pub(crate) fn new(
        plan: &WindowTopN,
        name: &str,
        input: &SchemaRef,
        output: SchemaRef,
        context: OperatorContext,
    ) -> Result<Self, OperatorError> {
        check_timestamps(name, input, &[plan.window.0, plan.window.1])?;
        let width = input.fields().len();
        let order = plan.order.iter().map(|sort| sort.column);
        if plan.partition.iter().copied().chain(order).any(|column| column >= width) {
            return Err(build_error(name)("a partition or order column is not one of its input"));
        }
        if output.fields().len() != width + usize::from(plan.emit_row_number) {
            return Err(build_error(name)("its output is not its input's columns and the row number"));
        }
        Ok(Self {
            ranker: Ranker::new(plan, input).map_err(build_error(name))?,
            emission: Emission::new(context.batch_rows, plan.partition.clone(), context.key_groups),
            plan: plan.clone(),
            input: input.clone(),
            output,
            context,
            windows: BTreeMap::new(),
            watermark: Watermark::MIN.0,
            late: Vec::new(),
            bytes: 0,
        })
    }

    fn store(&mut self, window: Window, stored: StateBatch) -> Result<(), OperatorError> {
        let (keys, groups) = (&self.plan.partition, self.context.key_groups);
        let buffer = self.windows.entry(window).or_default();
        buffer.rows += stored.rows.num_rows();
        let (came, went) = add(&mut buffer.batches, stored, keys.iter().copied(), groups)?;
        self.bytes = self.bytes + came - went;
        if buffer.rows > 2 * buffer.kept + self.context.batch_rows {
            self.bytes -= buffer.bytes();
            let (rows, _) = buffer.first_rows(&self.ranker, &self.plan, &self.input)?;
            let pruned = keyed(&compact(&rows)?, keys.iter().copied(), groups);
            let kept = pruned.rows.num_rows();
            *buffer = Buffer { rows: kept, kept, batches: vec![pruned] };
            self.bytes += buffer.bytes();
        }
        Ok(())
    }

    fn state_batch(&self, rows: &RecordBatch) -> StateBatch {
        keyed(rows, self.plan.partition.iter().copied(), self.context.key_groups)
    }

    /// Row numbers as a column. Job graphs of earlier versions have it unsigned.
    fn numbers(&self, ranks: Vec<u64>) -> ArrayRef {
        match self.output.fields().last().map(|field| field.data_type()) {
            Some(DataType::UInt64) => Arc::new(UInt64Array::from(ranks)),
            _ => Arc::new(ranks.into_iter().map(|rank| i64::try_from(rank).ok()).collect::<Int64Array>()),
        }
    }

    fn fire_next(&mut self) -> Result<bool, OperatorError> {
        let due = self.windows.first_entry().filter(|entry| entry.key().end <= self.watermark);
        let Some(due) = due else { return Ok(false) };
        let buffer = due.remove();
        self.bytes -= buffer.bytes();
        let (rows, ranks) = buffer.first_rows(&self.ranker, &self.plan, &self.input)?;
        let mut columns = rows.columns().to_vec();
        if self.plan.emit_row_number {
            columns.push(self.numbers(ranks));
        }
        self.emission.extend([batch_of(&self.output, columns, rows.num_rows())?]);
        Ok(true)
    }
}

impl Ranker {
    fn new(plan: &WindowTopN, input: &SchemaRef) -> Result<Self, arrow::error::ArrowError> {
        let field =
            |column: usize, options| SortField::new_with_options(input.field(column).data_type().clone(), options);
        let ascending = SortOptions { descending: false, nulls_first: false };
        let partition = plan.partition.iter().map(|column| field(*column, ascending)).collect();
        let order = plan
            .order
            .iter()
            .map(|sort| field(sort.column, SortOptions { descending: sort.descending, nulls_first: sort.nulls_first }));
        let whole = (0..input.fields().len()).map(|column| field(column, ascending));
        Ok(Self { partition: RowConverter::new(partition)?, order: RowConverter::new(order.chain(whole).collect())? })
    }

    /// The rows to keep, by partition and order, and the rank of each.
    fn rank(&self, rows: &RecordBatch, plan: &WindowTopN) -> Result<(UInt32Array, Vec<u64>), OperatorError> {
        let convert = |converter: &RowConverter, columns: &[ArrayRef]| {
            converter.convert_columns(columns).map_err(arrow_error("lay rows out for sorting"))
        };
        let columns = |indexes: &mut dyn Iterator<Item = usize>| -> Vec<ArrayRef> {
            indexes.map(|column| rows.column(column).clone()).collect()
        };
        let partition = canonical_keys(&columns(&mut plan.partition.iter().copied()))?;
        let has_partition = !partition.is_empty();
        let partition = if has_partition { Some(convert(&self.partition, &partition)?) } else { None };
        let order = columns(&mut plan.order.iter().map(|sort| sort.column));
        let mut sorted_by = canonical_keys(&order)?;
        sorted_by.extend(rows.columns().iter().cloned());
        let order = convert(&self.order, &sorted_by)?;
        let same = |a: u32, b: u32| match &partition {
            Some(partition) => partition.row(a as usize) == partition.row(b as usize),
            None => true,
        };
        let mut sorted: Vec<u32> = (0..u32::try_from(rows.num_rows()).expect("fewer than 2^32 rows")).collect();
        sorted.sort_unstable_by(|a, b| {
            let (a, b) = (*a as usize, *b as usize);
            let by_partition = partition.as_ref().map(|partition| partition.row(a).cmp(&partition.row(b)));
            by_partition.unwrap_or(std::cmp::Ordering::Equal).then_with(|| order.row(a).cmp(&order.row(b)))
        });
        let (mut stay, mut ranks) = (Vec::new(), Vec::new());
        let (mut rank, mut before) = (0, None);
        for row in sorted {
            rank = if before.is_some_and(|before| same(before, row)) { rank + 1 } else { 1 };
            before = Some(row);
            if rank <= plan.limit {
                stay.push(row);
                ranks.push(rank);
            }
        }
        Ok((UInt32Array::from(stay), ranks))
    }
}

impl Buffer {
    fn bytes(&self) -> usize {
        self.batches.iter().map(|stored| stored.rows.get_array_memory_size()).sum()
    }

    fn first_rows(
        &self,
        ranker: &Ranker,
        plan: &WindowTopN,
        schema: &SchemaRef,
    ) -> Result<(RecordBatch, Vec<u64>), OperatorError> {
        let batches = self.batches.iter().map(|stored| &stored.rows);
        let rows = concat_batches(schema, batches).map_err(arrow_error("put a window's rows together"))?;
        let (stay, ranks) = ranker.rank(&rows, plan)?;
        let rows = take_record_batch(&rows, &stay).map_err(arrow_error("pick the first rows"))?;
        Ok((rows, ranks))
    }
}

impl Operator for WindowTopNOperator {
    fn process(&mut self, _port: u8, batch: RecordBatch) -> Result<(), OperatorError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        for (window, rows) in split_attached(&batch, self.plan.window.0, self.plan.window.1)? {
            let rows = rows.of_batch(&batch)?;
            if window.end <= self.watermark {
                self.late.push(LateRows { window_start: window.start, window_end: window.end, rows });
            } else {
                let rows = batch_of(&self.input, compact(&rows)?.columns().to_vec(), rows.num_rows())?;
                let stored = self.state_batch(&rows);
                self.store(window, stored)?;
            }
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark) -> Result<(), OperatorError> {
        self.watermark = self.watermark.max(watermark.0);
        Ok(())
    }

    fn next_output(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        while self.emission.is_empty() {
            if !self.fire_next()? {
                return Ok(None);
            }
        }
        Ok(self.emission.next())
    }

    fn take_late(&mut self) -> Vec<LateRows> {
        std::mem::take(&mut self.late)
    }

    fn state_bytes(&self) -> usize {
        self.bytes + self.emission.bytes()
    }

    fn freeze(&mut self) -> Result<FrozenState, OperatorError> {
        let mut frozen = FrozenState::default();
        frozen.extend(ROWS, self.windows.values().flat_map(|buffer| &buffer.batches).cloned());
        frozen.extend(OUTPUT, self.emission.freeze());
        frozen.values.insert(WATERMARK.to_owned(), self.watermark);
        Ok(frozen)
    }

    fn restore(&mut self, states: &[FrozenState], owned: &[KeyGroup]) -> Result<(), OperatorError> {
        let owned: KeyGroupSet = owned.iter().copied().collect();
        self.emission.restore(states, &owned)?;
        for state in states {
            self.watermark = self.watermark.max(value(state, WATERMARK));
            for part in owned_parts(state.table(ROWS), &owned, self.input.fields().len(), "a window top-n") {
                let part = part?;
                let parts = split_attached(&part.rows, self.plan.window.0, self.plan.window.1)?;
                if let [(window, _)] = parts.as_slice() {
                    self.store(*window, part)?;
                    continue;
                }
                for (window, rows) in parts {
                    let cut = self.state_batch(&rows.of_batch(&part.rows)?);
                    self.store(window, cut)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
