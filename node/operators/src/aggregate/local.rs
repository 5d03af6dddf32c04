//! The local phase: the same tables as in a single phase, sent as partial results and never kept across a barrier.
//!
//! A pane is sent when the watermark closes its first window, on `flush`, and when the tables are so large that keeping
//! them would cost more than merging later.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use std::iter::repeat_n;
use thalweg_keyed_state::{FrozenState, LEAST_WATERMARK, WATERMARK};
use thalweg_types::{
    KeyGroup, Watermark,
    bug::{self, Bug},
    graph::WindowAggregate,
};

use super::{
    panes::Panes,
    spec::AggregateSpec,
    windowed::judge,
    windows::{PaneKey, Windows},
};
use crate::{
    FailedRows, LateRows, Operator, OperatorContext, OperatorError,
    emission::OUTPUT,
    error::build_error,
    event_time::check_timestamps,
    project::batch_of,
    sift::{Sifted, sift},
    split::RowSelection,
    time,
    windowing::Output,
};

/// How many batches' worth of groups are kept before they are sent: 64 k groups with the default batch size, which fit
/// a core's caches.
const LIVE_GROUPS_BATCHES: usize = 8;
/// How many panes are held at once: a table takes some KB however few groups it has.
const LIVE_TABLES_MAX: usize = 1024;

/// The running form of `WindowAggregate` in the local phase.
#[derive(Debug)]
pub(crate) struct LocalAggregate {
    spec: AggregateSpec,
    windows: Windows,
    output: SchemaRef,
    panes: Panes,
    live_groups_max: usize,
    out: Output,
    indices: Vec<usize>,
}

impl LocalAggregate {
    pub(crate) fn new(
        aggregate: &WindowAggregate,
        name: &str,
        input: &SchemaRef,
        output: SchemaRef,
        context: OperatorContext,
    ) -> Result<Self, OperatorError> {
        let spec = AggregateSpec::new(aggregate, name, input)?;
        let windows = Windows::new(aggregate, name, input)?;
        let width = spec.keys.len() + spec.state_width();
        let times = if matches!(windows, Windows::Attached { .. }) { 2 } else { 1 };
        if output.fields().len() != width + times {
            return Err(build_error(name)(format!("it gives {} columns", width + times)));
        }
        check_timestamps(name, &output, &(width..width + times).collect::<Vec<_>>())?;
        Ok(Self {
            out: Output::new((0..spec.keys.len()).collect(), context),
            spec,
            windows,
            output,
            panes: Panes::new(context.key_groups),
            live_groups_max: LIVE_GROUPS_BATCHES * context.batch_rows,
            indices: Vec::new(),
        })
    }

    fn send(&mut self, key: PaneKey) -> Result<(), OperatorError> {
        let Some(pane) = self.panes.remove(key) else { return Ok(()) };
        let (Some(mut table), _) = pane.into_parts() else { return Ok(()) };
        let rows = table.len();
        let mut columns = table.take_states(&self.spec)?;
        for time in self.windows.sent_as(key) {
            let data_type = self.output.field(columns.len()).data_type();
            columns.push(time::from_micros(data_type, repeat_n(time, rows)));
        }
        self.out.emission.extend([batch_of(&self.output, columns, rows)?]);
        Ok(())
    }

    fn send_all(&mut self) -> Result<(), OperatorError> {
        for key in self.panes.all_keys() {
            self.send(key)?;
        }
        Ok(())
    }
}

impl Operator for LocalAggregate {
    fn process(&mut self, _port: u8, batch: RecordBatch) -> Result<(), OperatorError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let read = |batch: &RecordBatch| Ok((self.windows.split(batch)?, self.spec.inputs(batch)?));
        let Sifted { rows: batch, value, failed } = sift(batch, read)?;
        self.out.failed.extend(failed);
        let Some((parts, inputs)) = value else { return Ok(()) };
        for (key, rows) in parts {
            let open = judge(&self.windows, key, || rows.of_batch(&batch), &mut self.out)?;
            let Some(key) = open else {
                if bug::is_active(Bug::ReturnForContinue) {
                    return Ok(());
                }
                continue;
            };
            match rows {
                RowSelection::All(_) => self.panes.absorb(&self.spec, key, &inputs, &mut self.indices)?,
                some @ (RowSelection::Range { .. } | RowSelection::Picked(_)) => {
                    self.panes.absorb(&self.spec, key, &inputs.pick(&some)?, &mut self.indices)?
                }
            };
        }
        if self.panes.live_tables() > LIVE_TABLES_MAX || self.panes.live_groups() > self.live_groups_max {
            self.send_all()?;
        }
        Ok(())
    }

    fn evaluates(&self) -> bool {
        true
    }

    fn on_watermark(&mut self, watermark: Watermark) -> Result<(), OperatorError> {
        self.out.watermark = self.out.watermark.max(watermark.0);
        for key in self.panes.all_keys() {
            let first = self.windows.windows_of(key).next();
            if first.is_some_and(|window| window.end <= self.out.watermark) {
                self.send(key)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), OperatorError> {
        self.send_all()
    }

    fn next_output(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        Ok(self.out.emission.next())
    }

    fn take_late(&mut self) -> Vec<LateRows> {
        std::mem::take(&mut self.out.late)
    }

    fn take_failed(&mut self) -> Vec<FailedRows> {
        std::mem::take(&mut self.out.failed)
    }

    fn state_bytes(&self) -> usize {
        self.panes.bytes() + self.out.emission.bytes()
    }

    fn freeze(&mut self) -> Result<FrozenState, OperatorError> {
        self.send_all()?;
        let mut frozen = FrozenState::default();
        frozen.extend(OUTPUT, self.out.emission.freeze());
        frozen.values.insert(WATERMARK.to_owned(), self.out.watermark);
        Ok(frozen)
    }

    /// Restores the output and the watermark. The watermark starts at the least of all former instances': the splits
    /// may be dealt out anew, so a split may be less far than its new instance was. All former instances had reached
    /// that least watermark, and so had the final phase, which cannot tell the records in a late partial apart. So the
    /// local phase must judge lateness from there on.
    fn restore(&mut self, states: &[FrozenState], owned: &[KeyGroup]) -> Result<(), OperatorError> {
        let least = states.iter().filter_map(|state| state.values.get(LEAST_WATERMARK)).min();
        self.out.watermark = least.map_or(self.out.watermark, |least| self.out.watermark.max(*least));
        self.out.emission.restore(states, &owned.iter().copied().collect())
    }
}
