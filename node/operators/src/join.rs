//! Joins rows of equal windows and keys: buffers both sides per window, joins when the window closes.
//!
//! ```text
//! rows --split by window--> buffers (compacted)   watermark >= end    hash join, in chunks of bounded size
//! port 0 -> left[window]                        ------------------->  table over the smaller side, probed with the larger
//! port 1 -> right[window]
//! ```
//!
//! Rows with a NULL key match nothing and are not kept. A half-joined window is state: the rows that are still to be probed,
//! with the whole other side, and the one row of which some matches have been given, with the rest of its matches. Each of these
//! is kept as a *fragment*: a join of its own of the same window.

use std::collections::BTreeMap;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::{and, filter_record_batch, is_not_null};
use arrow::datatypes::{DataType, SchemaRef};
use thalweg_flow::Window;
use thalweg_keyed_state::{FrozenState, KeyGroupSet, StateBatch, WATERMARK};
use thalweg_types::{KeyGroup, Watermark, graph::WindowJoin};

use crate::{
    FailedRows, LateRows, Operator, OperatorContext, OperatorError,
    aggregate::{check_timestamps, split_attached},
    compact,
    emission::{Emission, OUTPUT},
    error::{arrow_error, build_error},
    expr::Expression,
    restore::{add, keyed, owned_parts, value},
    sift::{Sifted, sift},
};

mod matcher;

use matcher::Matcher;

/// The tables of frozen state, by side; a fragment's number follows.
const SIDES: [&str; 2] = ["left-", "right-"];

/// The table of frozen state that holds joined rows to which the filter has not been applied.
const UNFILTERED: &str = "unfiltered";

/// The running form of `WindowJoin`.
#[derive(Debug)]
pub(crate) struct WindowJoinOperator {
    sides: [Side; 2],
    filter: Option<Expression>,
    output: SchemaRef,
    context: OperatorContext,
    /// Rows by window and fragment; fresh rows are of fragment 0.
    buffers: BTreeMap<(Window, u32), [Buffer; 2]>,
    active: Option<(Window, Matcher)>,
    /// Joined rows of the active window that were too much for one evaluation of the filter.
    unfiltered: Emission,
    watermark: i64,
    emission: Emission,
    late: Vec<LateRows>,
    failed: Vec<FailedRows>,
    bytes: usize,
}

/// What is known about one input.
#[derive(Debug)]
struct Side {
    schema: SchemaRef,
    window: (usize, usize),
    keys: Vec<usize>,
}

/// Buffered rows of one side of one window.
#[derive(Debug, Default)]
struct Buffer {
    batches: Vec<StateBatch>,
}

impl WindowJoinOperator {
    pub(crate) fn new(
        join: &WindowJoin,
        name: &str,
        inputs: &[SchemaRef],
        output: SchemaRef,
        context: OperatorContext,
    ) -> Result<Self, OperatorError> {
        let side = |port: usize, window: (usize, usize), keys: &[usize]| {
            check_timestamps(name, &inputs[port], &[window.0, window.1])?;
            if keys.iter().any(|key| *key >= inputs[port].fields().len()) {
                return Err(build_error(name)("a key is not a column of its input"));
            }
            Ok(Side { schema: inputs[port].clone(), window, keys: keys.to_vec() })
        };
        let left = side(0, join.left_window, &join.left_keys)?;
        let right = side(1, join.right_window, &join.right_keys)?;
        check_keys(&left, &right, name)?;
        if output.fields().len() != left.schema.fields().len() + right.schema.fields().len() {
            return Err(build_error(name)("its output is not the columns of both inputs"));
        }
        let filter = join.filter.as_ref();
        let filter =
            filter.map(|bytes| Expression::compile(bytes, &output, Some(&DataType::Boolean), name)).transpose()?;
        Ok(Self {
            emission: Emission::new(context.batch_rows, left.keys.clone(), context.key_groups),
            unfiltered: Emission::new(context.batch_rows, left.keys.clone(), context.key_groups),
            sides: [left, right],
            filter,
            output,
            context,
            buffers: BTreeMap::new(),
            active: None,
            watermark: Watermark::MIN.0,
            late: Vec::new(),
            failed: Vec::new(),
            bytes: 0,
        })
    }

    fn store(&mut self, port: usize, place: (Window, u32), stored: StateBatch) -> Result<(), OperatorError> {
        let buffer = &mut self.buffers.entry(place).or_default()[port];
        let keys = self.sides[port].keys.iter().copied();
        let (came, went) = add(&mut buffer.batches, stored, keys, self.context.key_groups)?;
        self.bytes = self.bytes + came - went;
        Ok(())
    }

    /// Begins the join of the next closed window; `false` where there is none.
    fn begin_next(&mut self) -> Result<bool, OperatorError> {
        let due = self.buffers.first_entry().filter(|entry| entry.key().0.end <= self.watermark);
        let Some(due) = due else { return Ok(false) };
        let ((window, _), [left, right]) = due.remove_entry();
        self.bytes -= left.bytes() + right.bytes();
        if left.batches.is_empty() || right.batches.is_empty() {
            return Ok(true);
        }
        let (left, right) = (left.concat(&self.sides[0].schema)?, right.concat(&self.sides[1].schema)?);
        self.bytes += left.get_array_memory_size() + right.get_array_memory_size();
        let keys = [self.sides[0].keys.as_slice(), self.sides[1].keys.as_slice()];
        self.active = Some((window, Matcher::new([left, right], keys)?));
        Ok(true)
    }

    /// The next chunk of the active join; `None` when it is done.
    fn step(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        if let Some(chunk) = self.unfiltered.next() {
            return self.filtered(chunk);
        }
        let Some((_, matcher)) = &mut self.active else { return Ok(None) };
        let Some(chunk) = matcher.next_matches(self.context.batch_rows, &self.output)? else {
            let [left, right] = matcher.sides();
            self.bytes -= left.get_array_memory_size() + right.get_array_memory_size();
            self.active = None;
            return Ok(None);
        };
        self.filtered(chunk)
    }

    /// The joined rows that the filter lets through; of a part of them where all are too much.
    fn filtered(&mut self, chunk: RecordBatch) -> Result<Option<RecordBatch>, OperatorError> {
        let Some(filter) = &self.filter else { return Ok(Some(chunk)) };
        let Sifted { rows, value, failed } = match sift(chunk.clone(), |chunk| filter.evaluate_mask(chunk)) {
            Err(OperatorError::TooMuch { rows }) if rows > 1 => {
                self.unfiltered.halve(&chunk);
                return Ok(None);
            }
            sifted => sifted?,
        };
        self.failed.extend(failed);
        let Some(mask) = value else { return Ok(Some(rows)) };
        filter_record_batch(&rows, &mask).map(Some).map_err(arrow_error("filter joined rows"))
    }

    fn state_batch(&self, port: usize, rows: &RecordBatch) -> StateBatch {
        keyed(rows, self.sides[port].keys.iter().copied(), self.context.key_groups)
    }

    fn restore_side(
        &mut self,
        port: usize,
        fragment: u32,
        batches: &[StateBatch],
        owned: &KeyGroupSet,
    ) -> Result<(), OperatorError> {
        let (start, end) = self.sides[port].window;
        let columns = self.sides[port].schema.fields().len();
        for part in owned_parts(batches, owned, columns, "a window join") {
            let part = part?;
            let parts = split_attached(&part.rows, start, end)?;
            if let [(window, _)] = parts.as_slice() {
                self.store(port, (*window, fragment), part)?;
                continue;
            }
            for (window, rows) in parts {
                let cut = self.state_batch(port, &rows.of_batch(&part.rows)?);
                self.store(port, (window, fragment), cut)?;
            }
        }
        Ok(())
    }
}

impl Operator for WindowJoinOperator {
    fn process(&mut self, port: u8, batch: RecordBatch) -> Result<(), OperatorError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let port = usize::from(port);
        let (start, end) = self.sides[port].window;
        for (window, rows) in split_attached(&batch, start, end)? {
            let rows = rows.of_batch(&batch)?;
            if window.end <= self.watermark {
                self.late.push(LateRows { window_start: window.start, window_end: window.end, rows });
                continue;
            }
            let rows = drop_null_keys(rows, &self.sides[port].keys)?;
            if rows.num_rows() > 0 {
                let stored = self.state_batch(port, &compact(&rows)?);
                self.store(port, (window, 0), stored)?;
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
            if self.unfiltered.is_empty() && self.active.is_none() && !self.begin_next()? {
                return Ok(None);
            }
            let chunk = self.step()?;
            self.emission.extend(chunk);
            if self.emission.is_empty() && !self.failed.is_empty() {
                // Of a large window all may fail: they are handed over by the chunk.
                return Ok(Some(RecordBatch::new_empty(self.output.clone())));
            }
        }
        Ok(self.emission.next())
    }

    fn take_late(&mut self) -> Vec<LateRows> {
        std::mem::take(&mut self.late)
    }

    fn take_failed(&mut self) -> Vec<FailedRows> {
        std::mem::take(&mut self.failed)
    }

    fn state_bytes(&self) -> usize {
        self.bytes
            + self.emission.bytes()
            + self.unfiltered.bytes()
            + self.active.as_ref().map_or(0, |(_, matcher)| matcher.bytes())
    }

    fn freeze(&mut self) -> Result<FrozenState, OperatorError> {
        let mut frozen = FrozenState::default();
        frozen.values.insert(WATERMARK.to_owned(), self.watermark);
        frozen.extend(OUTPUT, self.emission.freeze());
        frozen.extend(UNFILTERED, self.unfiltered.freeze());
        if let Some((_, matcher)) = &self.active {
            // Fragments of the active window: numbers that no buffer has.
            let free = self.buffers.keys().map(|(_, fragment)| fragment + 1).max().unwrap_or(1).max(1);
            for (fragment, sides) in (free..).zip(matcher.remainder()?) {
                for (port, rows) in sides.into_iter().enumerate() {
                    let rows = self.state_batch(port, &compact(&rows)?);
                    frozen.extend(&format!("{}{fragment}", SIDES[port]), [rows]);
                }
            }
        }
        for (port, prefix) in SIDES.into_iter().enumerate() {
            for ((_, fragment), sides) in &self.buffers {
                frozen.extend(&format!("{prefix}{fragment}"), sides[port].batches.iter().cloned());
            }
        }
        Ok(frozen)
    }

    fn restore(&mut self, states: &[FrozenState], owned: &[KeyGroup]) -> Result<(), OperatorError> {
        let owned: KeyGroupSet = owned.iter().copied().collect();
        self.emission.restore(states, &owned)?;
        self.unfiltered.restore_from(UNFILTERED, states, &owned)?;
        for state in states {
            self.watermark = self.watermark.max(value(state, WATERMARK));
            for (table, batches) in &state.tables {
                let side = SIDES.iter().position(|prefix| table.starts_with(prefix));
                let Some(port) = side else { continue };
                let fragment = table[SIDES[port].len()..].parse().map_err(|_| OperatorError::Restore {
                    operator: "a window join".to_owned(),
                    reason: format!("it has a table {table}"),
                })?;
                self.restore_side(port, fragment, batches, &owned)?;
            }
        }
        Ok(())
    }
}

impl Buffer {
    fn bytes(&self) -> usize {
        self.batches.iter().map(|stored| stored.rows.get_array_memory_size()).sum()
    }

    fn concat(&self, schema: &SchemaRef) -> Result<RecordBatch, OperatorError> {
        let batches = self.batches.iter().map(|stored| &stored.rows);
        arrow::compute::concat_batches(schema, batches).map_err(arrow_error("put a window's rows together"))
    }
}

fn drop_null_keys(rows: RecordBatch, keys: &[usize]) -> Result<RecordBatch, OperatorError> {
    let mut mask: Option<BooleanArray> = None;
    for key in keys.iter().map(|key| rows.column(*key)).filter(|key| key.null_count() > 0) {
        let valid = is_not_null(key).map_err(arrow_error("find NULL keys"))?;
        mask = Some(match mask {
            Some(mask) => and(&mask, &valid).map_err(arrow_error("find NULL keys"))?,
            None => valid,
        });
    }
    match mask {
        Some(mask) => filter_record_batch(&rows, &mask).map_err(arrow_error("drop rows with NULL keys")),
        None => Ok(rows),
    }
}

fn check_keys(left: &Side, right: &Side, name: &str) -> Result<(), OperatorError> {
    let types = |side: &Side| -> Vec<DataType> {
        side.keys.iter().map(|key| side.schema.field(*key).data_type().clone()).collect()
    };
    if types(left) != types(right) {
        return Err(build_error(name)("its keys are not pairwise of the same type"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
