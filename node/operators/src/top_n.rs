//! Keeps the first rows per window and partition, by an order whose ties are broken by the whole row.
//!
//! When a window's rows have more than doubled (by a batch) since the last pruning, they are sorted by partition, order
//! and whole row in arrow's row format, and each partition's first rows are kept. So a row costs a logarithm of the number
//! kept, and memory is about twice what is kept. For ties, columns are compared in order, ascending, NULLs last.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::{SortOptions, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};
use thalweg_flow::Window;
use thalweg_keyed_state::{FrozenState, KeyGroupSet};
use thalweg_types::graph::WindowTopN;

use crate::{
    OperatorContext, OperatorError,
    error::{arrow_error, build_error},
    keys::canonical_keys,
    project::batch_of,
    windowing::{Output, WindowLogic, WindowOperator, WindowRows},
};

const ROWS: &str = "rows";

/// What a window ranking keeps.
#[derive(Debug)]
pub(crate) struct WindowTopNLogic {
    plan: WindowTopN,
    output: SchemaRef,
    ranker: Ranker,
    batch_rows: usize,
    rows: WindowRows,
    counts: BTreeMap<Window, Counts>,
}

/// How many rows a window has.
#[derive(Debug, Default)]
struct Counts {
    rows: usize,
    /// Rows kept by the last pruning.
    kept: usize,
}

/// Sorts rows, and tells partitions apart.
#[derive(Debug)]
struct Ranker {
    partition: RowConverter,
    order: RowConverter,
}

/// The running form of `WindowTopN`.
pub(crate) fn window_top_n(
    plan: &WindowTopN,
    name: &str,
    input: &SchemaRef,
    output: SchemaRef,
    context: OperatorContext,
) -> Result<WindowOperator<WindowTopNLogic>, OperatorError> {
    let width = input.fields().len();
    let order = plan.order.iter().map(|sort| sort.column);
    if plan.partition.iter().copied().chain(order).any(|column| column >= width) {
        return Err(build_error(name)("a partition or order column is not one of its input"));
    }
    if output.fields().len() != width + usize::from(plan.emit_row_number) {
        return Err(build_error(name)("its output is not its input's columns and the row number"));
    }
    let logic = WindowTopNLogic {
        rows: WindowRows::new(("a window top-n", name), input, plan.window, &plan.partition, context.key_groups)?,
        ranker: Ranker::new(plan, input).map_err(build_error(name))?,
        plan: plan.clone(),
        output: output.clone(),
        batch_rows: context.batch_rows,
        counts: BTreeMap::new(),
    };
    Ok(WindowOperator::new(logic, output, plan.partition.clone(), context))
}

impl WindowTopNLogic {
    /// Drops the rows that cannot be among a window's first ones, if there are many since the last pruning.
    fn prune(&mut self, window: Window) -> Result<(), OperatorError> {
        let counts = self.counts.entry(window).or_default();
        if counts.rows <= 2 * counts.kept + self.batch_rows {
            return Ok(());
        }
        let Some(rows) = self.rows.remove((window, 0))? else { return Ok(()) };
        let (rows, _) = first_rows(&rows, &self.ranker, &self.plan)?;
        self.rows.keep(window, &rows)?;
        *counts = Counts { rows: rows.num_rows(), kept: rows.num_rows() };
        Ok(())
    }

    /// Row numbers as a column. Job graphs of earlier versions have it unsigned.
    fn numbers(&self, ranks: Vec<u64>) -> ArrayRef {
        match self.output.fields().last().map(|field| field.data_type()) {
            Some(DataType::UInt64) => Arc::new(UInt64Array::from(ranks)),
            _ => Arc::new(ranks.into_iter().map(|rank| i64::try_from(rank).ok()).collect::<Int64Array>()),
        }
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

fn first_rows(
    rows: &RecordBatch,
    ranker: &Ranker,
    plan: &WindowTopN,
) -> Result<(RecordBatch, Vec<u64>), OperatorError> {
    let (stay, ranks) = ranker.rank(rows, plan)?;
    let rows = take_record_batch(rows, &stay).map_err(arrow_error("pick the first rows"))?;
    Ok((rows, ranks))
}

impl WindowLogic for WindowTopNLogic {
    const EVALUATES: bool = false;

    fn take(&mut self, _port: u8, batch: RecordBatch, out: &mut Output) -> Result<(), OperatorError> {
        for (window, rows) in self.rows.open(&batch, out)? {
            self.rows.keep(window, &rows)?;
            self.counts.entry(window).or_default().rows += rows.num_rows();
            self.prune(window)?;
        }
        Ok(())
    }

    fn fire(&mut self, out: &mut Output) -> Result<bool, OperatorError> {
        let first = self.rows.first().filter(|(window, _)| window.end <= out.watermark);
        let Some(place) = first else { return Ok(false) };
        self.counts.remove(&place.0);
        let Some(rows) = self.rows.remove(place)? else { return Ok(true) };
        let (rows, ranks) = first_rows(&rows, &self.ranker, &self.plan)?;
        let mut columns = rows.columns().to_vec();
        if self.plan.emit_row_number {
            columns.push(self.numbers(ranks));
        }
        out.emission.extend([batch_of(&self.output, columns, rows.num_rows())?]);
        Ok(true)
    }

    fn bytes(&self) -> usize {
        self.rows.bytes()
    }

    fn freeze(&mut self, _out: &Output, frozen: &mut FrozenState) -> Result<(), OperatorError> {
        frozen.extend(ROWS, self.rows.iter().flat_map(|(_, batches)| batches).cloned());
        Ok(())
    }

    fn restore(&mut self, states: &[FrozenState], owned: &KeyGroupSet, _out: &mut Output) -> Result<(), OperatorError> {
        for state in states {
            self.rows.restore(0, state.table(ROWS), owned)?;
        }
        let count =
            |batches: &[thalweg_keyed_state::StateBatch]| batches.iter().map(|stored| stored.rows.num_rows()).sum();
        let counted = self.rows.iter().map(|((window, _), batches)| (window, Counts { rows: count(batches), kept: 0 }));
        self.counts = counted.collect();
        for window in self.counts.keys().copied().collect::<Vec<_>>() {
            self.prune(window)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
