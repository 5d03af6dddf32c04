//! Appends window columns; repeats a row for each of its windows.
//!
//! The n-th output batch of an input batch has each row's n-th window. It shares the input columns, unless some rows
//! have fewer windows than others.

use std::collections::VecDeque;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use thalweg_flow::{Pane, Window, WindowAssigner};
use thalweg_keyed_state::FrozenState;
use thalweg_types::{KeyGroup, Watermark, graph::WindowAssign};

use crate::{
    FailedRows, Operator, OperatorContext, OperatorError,
    emission::{Emission, OUTPUT},
    error::{arrow_error, build_error},
    event_time::{check_timestamps, event_times},
    project::batch_of,
    sift::{Sifted, sift},
    time,
};

/// The running form of `WindowAssign`.
#[derive(Debug)]
pub(crate) struct WindowAssignOperator {
    column: usize,
    assigner: WindowAssigner,
    output: SchemaRef,
    /// Input with windows still to be emitted: the rows that have an n-th window, and that window.
    pending: VecDeque<Pending>,
    emission: Emission,
    failed: Vec<FailedRows>,
}

#[derive(Debug)]
struct Pending {
    rows: RecordBatch,
    /// The next window of each row.
    windows: Vec<Window>,
    /// How many windows each row still has, including this one; at least one.
    left: Vec<i64>,
}

impl WindowAssignOperator {
    pub(crate) fn new(
        assign: &WindowAssign,
        name: &str,
        input: &SchemaRef,
        output: SchemaRef,
        context: OperatorContext,
    ) -> Result<Self, OperatorError> {
        check_timestamps(name, input, &[assign.column])?;
        let width = input.fields().len();
        if output.fields().len() != width + 3 {
            return Err(build_error(name)(format!("it gives {} columns", width + 3)));
        }
        check_timestamps(name, &output, &[width, width + 1, width + 2])?;
        Ok(Self {
            column: assign.column,
            assigner: WindowAssigner::new(assign.spec).map_err(build_error(name))?,
            output,
            pending: VecDeque::new(),
            emission: Emission::new(context.batch_rows, Vec::new(), context.key_groups),
            failed: Vec::new(),
        })
    }

    fn lay_out(&self, rows: &RecordBatch, windows: &[Window]) -> Result<RecordBatch, OperatorError> {
        let mut columns = rows.columns().to_vec();
        let picks: [fn(&Window) -> i64; 3] =
            [|window| window.start, |window| window.end, |window| window.end.saturating_sub(time::MILLISECOND)];
        for pick in picks {
            let data_type = self.output.field(columns.len()).data_type();
            columns.push(time::from_micros(data_type, windows.iter().map(pick)));
        }
        batch_of(&self.output, columns, rows.num_rows())
    }

    /// The next windows of one input batch; `None` if none is pending.
    fn step(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        let Some(mut pending) = self.pending.pop_front() else { return Ok(None) };
        let output = self.lay_out(&pending.rows, &pending.windows)?;
        if pending.advance(&self.assigner)? {
            self.pending.push_front(pending);
        }
        Ok(Some(output))
    }
}

impl Pending {
    /// Advances to the next window of each row; `false` if no row has one.
    fn advance(&mut self, assigner: &WindowAssigner) -> Result<bool, OperatorError> {
        let has_next: Vec<bool> = self.left.iter().map(|left| *left > 1).collect();
        match has_next.iter().filter(|has_next| **has_next).count() {
            0 => return Ok(false),
            all if all == has_next.len() => {}
            _ => {
                let mut keep = has_next.iter().copied();
                self.windows.retain(|_| keep.next().unwrap_or(false));
                let mut keep = has_next.iter().copied();
                self.left.retain(|_| keep.next().unwrap_or(false));
                self.rows = filter_record_batch(&self.rows, &BooleanArray::from(has_next))
                    .map_err(arrow_error("repeat rows for their windows"))?;
            }
        }
        for (window, left) in self.windows.iter_mut().zip(&mut self.left) {
            *window = assigner.window_ending(window.end.saturating_add(assigner.slice_length()));
            *left -= 1;
        }
        Ok(true)
    }
}

impl Operator for WindowAssignOperator {
    fn process(&mut self, _port: u8, batch: RecordBatch) -> Result<(), OperatorError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let read = |batch: &RecordBatch| event_times(batch, self.column, self.assigner.reach());
        let Sifted { rows: batch, value, failed } = sift(batch, read)?;
        self.failed.extend(failed);
        let Some(times) = value else { return Ok(()) };
        let (mut windows, mut left) = (Vec::with_capacity(times.len()), Vec::with_capacity(times.len()));
        let mut slice = self.assigner.slice_of(times[0]);
        let (mut first, mut count) = (self.assigner.window_ending(slice.end), 0);
        for time in times.iter() {
            if count == 0 || *time < slice.start || *time >= slice.end {
                slice = self.assigner.slice_of(*time);
                first = self.assigner.window_ending(slice.end);
                let of_slice = self.assigner.windows_of_pane(Pane::whole(slice.end)).count();
                count = i64::try_from(of_slice).expect("fewer windows than microseconds");
            }
            windows.push(first);
            left.push(count);
        }
        self.pending.push_back(Pending { rows: batch, windows, left });
        Ok(())
    }

    fn on_watermark(&mut self, _watermark: Watermark) -> Result<(), OperatorError> {
        Ok(())
    }

    fn next_output(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        if self.emission.is_empty() {
            let output = self.step()?;
            self.emission.extend(output);
        }
        Ok(self.emission.next())
    }

    fn take_failed(&mut self) -> Vec<FailedRows> {
        std::mem::take(&mut self.failed)
    }

    fn state_bytes(&self) -> usize {
        let pending: usize = self.pending.iter().map(|pending| pending.rows.get_array_memory_size()).sum();
        pending + self.emission.bytes()
    }

    fn freeze(&mut self) -> Result<FrozenState, OperatorError> {
        while let Some(output) = self.step()? {
            self.emission.extend([output]);
        }
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
