//! Joins rows with equal windows and keys: keeps both sides per window, and joins when the window closes.
//!
//! ```text
//! rows --split by window--> kept (compacted)     watermark >= end    hash join, in chunks of bounded size
//! port 0 -> left[window]                        ------------------->  table over the smaller side, probed with the larger
//! port 1 -> right[window]
//! ```
//!
//! Rows with a NULL key match nothing and are not kept. A half-joined window is state: the rows still to be probed with
//! the whole other side, and the row whose matches were partly returned with the rest of its matches. Each of these two
//! is stored as a *fragment*, which is joined on its own within the same window.

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::{and, filter_record_batch, is_not_null};
use arrow::datatypes::{DataType, SchemaRef};
use thalweg_flow::Window;
use thalweg_keyed_state::{FrozenState, KeyGroupSet};
use thalweg_types::graph::WindowJoin;

use crate::{
    OperatorContext, OperatorError, compact,
    emission::Emission,
    error::{arrow_error, build_error},
    expr::Expression,
    sift::{Sifted, sift},
    windowing::{Output, WindowLogic, WindowOperator, WindowRows},
};

mod matcher;

use matcher::Matcher;

/// The frozen tables, by side; the fragment's number is appended.
const SIDES: [&str; 2] = ["left-", "right-"];

/// The frozen table of joined rows that the filter has not seen yet.
const UNFILTERED: &str = "unfiltered";

/// What a window join keeps.
#[derive(Debug)]
pub(crate) struct WindowJoinLogic {
    /// Fresh rows are of fragment 0.
    sides: [WindowRows; 2],
    filter: Option<Expression>,
    output: SchemaRef,
    batch_rows: usize,
    active: Option<(Window, Matcher)>,
    /// Joined rows of the active window that exceeded the budget of one evaluation of the filter.
    unfiltered: Emission,
    /// Bytes of the active window's rows.
    active_bytes: usize,
}

/// The running form of `WindowJoin`.
pub(crate) fn window_join(
    join: &WindowJoin,
    name: &str,
    inputs: &[SchemaRef],
    output: SchemaRef,
    context: OperatorContext,
) -> Result<WindowOperator<WindowJoinLogic>, OperatorError> {
    let side = |port: usize, window: (usize, usize), keys: &[usize]| {
        if keys.iter().any(|key| *key >= inputs[port].fields().len()) {
            return Err(build_error(name)("a key is not a column of its input"));
        }
        WindowRows::new(("a window join", name), &inputs[port], window, keys, context.key_groups)
    };
    let sides = [side(0, join.left_window, &join.left_keys)?, side(1, join.right_window, &join.right_keys)?];
    check_keys(&sides, name)?;
    if output.fields().len() != sides[0].schema().fields().len() + sides[1].schema().fields().len() {
        return Err(build_error(name)("its output is not the columns of both inputs"));
    }
    let filter = join.filter.as_ref();
    let filter = filter.map(|bytes| Expression::compile(bytes, &output, Some(&DataType::Boolean), name)).transpose()?;
    let logic = WindowJoinLogic {
        unfiltered: Emission::new(context.batch_rows, join.left_keys.clone(), context.key_groups),
        sides,
        filter,
        output: output.clone(),
        batch_rows: context.batch_rows,
        active: None,
        active_bytes: 0,
    };
    Ok(WindowOperator::new(logic, output, join.left_keys.clone(), context))
}

impl WindowJoinLogic {
    /// Begins the join of the next closed window; `false` if there is none.
    fn begin_next(&mut self, watermark: i64) -> Result<bool, OperatorError> {
        let first = self.sides.iter().filter_map(WindowRows::first).min();
        let Some(place) = first.filter(|(window, _)| window.end <= watermark) else { return Ok(false) };
        let [left, right] = &mut self.sides;
        let (Some(left), Some(right)) = (left.remove(place)?, right.remove(place)?) else { return Ok(true) };
        self.active_bytes = left.get_array_memory_size() + right.get_array_memory_size();
        let keys = [self.sides[0].keys(), self.sides[1].keys()];
        self.active = Some((place.0, Matcher::new([left, right], keys)?));
        Ok(true)
    }

    /// The next chunk of the active join; `None` when it is done, or when a chunk was halved.
    fn step(&mut self, out: &mut Output) -> Result<Option<RecordBatch>, OperatorError> {
        if let Some(chunk) = self.unfiltered.next() {
            return self.filtered(chunk, out);
        }
        let Some((_, matcher)) = &mut self.active else { return Ok(None) };
        let Some(chunk) = matcher.next_matches(self.batch_rows, &self.output)? else {
            self.active = None;
            self.active_bytes = 0;
            return Ok(None);
        };
        self.filtered(chunk, out)
    }

    /// The joined rows that pass the filter. If they exceed one evaluation's budget, halves the chunk and returns
    /// `None`.
    fn filtered(&mut self, chunk: RecordBatch, out: &mut Output) -> Result<Option<RecordBatch>, OperatorError> {
        let Some(filter) = &self.filter else { return Ok(Some(chunk)) };
        let sifted = sift(chunk.clone(), |chunk| filter.evaluate_mask(chunk));
        if sifted.as_ref().is_err_and(OperatorError::asks_for_fewer_rows) {
            self.unfiltered.halve(&chunk);
            return Ok(None);
        }
        let Sifted { rows, value, failed } = sifted?;
        out.failed.extend(failed);
        let Some(mask) = value else { return Ok(Some(rows)) };
        filter_record_batch(&rows, &mask).map(Some).map_err(arrow_error("filter joined rows"))
    }
}

impl WindowLogic for WindowJoinLogic {
    /// The filter is evaluated over joined rows, in chunks of its own.
    const EVALUATES: bool = false;

    fn take(&mut self, port: u8, batch: RecordBatch, out: &mut Output) -> Result<(), OperatorError> {
        let side = &mut self.sides[usize::from(port)];
        for (window, rows) in side.open(&batch, out)? {
            let rows = drop_null_keys(rows, side.keys())?;
            if rows.num_rows() > 0 {
                side.keep(window, &rows)?;
            }
        }
        Ok(())
    }

    fn fire(&mut self, out: &mut Output) -> Result<bool, OperatorError> {
        if self.unfiltered.is_empty() && self.active.is_none() && !self.begin_next(out.watermark)? {
            return Ok(false);
        }
        let chunk = self.step(out)?;
        out.emission.extend(chunk);
        Ok(true)
    }

    fn bytes(&self) -> usize {
        let kept: usize = self.sides.iter().map(WindowRows::bytes).sum();
        let active = self.active.as_ref().map_or(0, |(_, matcher)| matcher.bytes());
        kept + self.active_bytes + active + self.unfiltered.bytes()
    }

    fn freeze(&mut self, _out: &Output, frozen: &mut FrozenState) -> Result<(), OperatorError> {
        frozen.extend(UNFILTERED, self.unfiltered.freeze());
        if let Some((_, matcher)) = &self.active {
            // Fragments of the active window: numbers that no rows have.
            let free = self.sides.iter().map(WindowRows::next_fragment).fold(1, u32::max);
            for (fragment, sides) in (free..).zip(matcher.remainder()?) {
                for (port, rows) in sides.into_iter().enumerate() {
                    let rows = self.sides[port].keyed(&compact(&rows)?);
                    frozen.extend(&format!("{}{fragment}", SIDES[port]), [rows]);
                }
            }
        }
        for (side, prefix) in self.sides.iter().zip(SIDES) {
            for ((_, fragment), batches) in side.iter() {
                frozen.extend(&format!("{prefix}{fragment}"), batches.iter().cloned());
            }
        }
        Ok(())
    }

    fn restore(&mut self, states: &[FrozenState], owned: &KeyGroupSet, _out: &mut Output) -> Result<(), OperatorError> {
        self.unfiltered.restore_from(UNFILTERED, states, owned)?;
        for (table, batches) in states.iter().flat_map(|state| &state.tables) {
            let side = SIDES.iter().position(|prefix| table.starts_with(prefix));
            let Some(port) = side else { continue };
            let fragment = table[SIDES[port].len()..].parse().map_err(|_| OperatorError::Restore {
                operator: "a window join".to_owned(),
                reason: format!("it has a table {table}"),
            })?;
            self.sides[port].restore(fragment, batches, owned)?;
        }
        Ok(())
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

fn check_keys([left, right]: &[WindowRows; 2], name: &str) -> Result<(), OperatorError> {
    let types = |side: &WindowRows| -> Vec<DataType> {
        side.keys().iter().map(|key| side.schema().field(*key).data_type().clone()).collect()
    };
    if types(left) != types(right) {
        return Err(build_error(name)("its keys are not pairwise of the same type"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
