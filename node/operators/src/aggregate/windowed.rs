//! Windowed aggregation to final results: the single phase over rows, or the global one over partials.
//!
//! Windows fire lazily, one per call of `next_output`, in order of their ends. A pane may feed millions of windows, so
//! only its next one is kept; when that fires, the following one takes its place. Windows that are due but have not
//! fired are still state, so a frozen state records up to which time windows had fired.

use std::collections::BTreeSet;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use thalweg_flow::Window;
use thalweg_keyed_state::{FrozenState, KeyGroupSet, StateBatch, WATERMARK};
use thalweg_types::{
    KeyGroup, Watermark,
    bug::{self, Bug},
    graph::{AggregatePhase, WindowAggregate},
};

use super::{
    output::OutputShape,
    panes::{Pane, Panes},
    spec::AggregateSpec,
    table::GroupTable,
    windows::{PaneKey, Windows},
};
use crate::{
    FailedRows, LateRows, Operator, OperatorContext, OperatorError,
    emission::{Emission, OUTPUT},
    error::build_error,
    restore::{owned_parts, value},
    sift::{Sifted, sift},
    split::split_by,
};

/// The frozen table of partials.
const PANES: &str = "panes";
/// The frozen value: every window that ends at or before it has fired.
const FIRED: &str = "fired";

/// The running form of `WindowAggregate` in the single and global phase.
#[derive(Debug)]
pub(crate) struct WindowedAggregate {
    spec: AggregateSpec,
    windows: Windows,
    shape: OutputShape,
    panes: Panes,
    /// Per pane, the next window that has not fired.
    waiting: BTreeSet<Window>,
    watermark: i64,
    emission: Emission,
    late: Vec<LateRows>,
    failed: Vec<FailedRows>,
    indices: Vec<usize>,
}

impl WindowedAggregate {
    pub(crate) fn new(
        aggregate: &WindowAggregate,
        name: &str,
        input: &SchemaRef,
        output: SchemaRef,
        context: OperatorContext,
    ) -> Result<Self, OperatorError> {
        let spec = AggregateSpec::new(aggregate, name, input)?;
        check_phase(aggregate, &spec, name, input)?;
        let windows = Windows::new(aggregate, name, input)?;
        let keys = spec.keys.len();
        Ok(Self {
            shape: OutputShape::new(output, aggregate.window_columns, keys + spec.calls.len(), name)?,
            spec,
            windows,
            panes: Panes::new(context.key_groups),
            waiting: BTreeSet::new(),
            watermark: Watermark::MIN.0,
            emission: Emission::new(context.batch_rows, (0..keys).collect(), context.key_groups),
            late: Vec::new(),
            failed: Vec::new(),
            indices: Vec::new(),
        })
    }

    /// Fires the next window that ends at or before `until`; `false` if there is none.
    fn fire_next(&mut self, until: i64) -> Result<bool, OperatorError> {
        let Some(window) = self.waiting.first().copied().filter(|window| window.end <= until) else { return Ok(false) };
        self.waiting.remove(&window);
        let range = self.windows.range_of(window);
        let feeding: Vec<PaneKey> = self.panes.keys(range).filter(|key| self.windows.feeds(*key, window)).collect();
        let mut table: Option<GroupTable> = None;
        let mut partials = Vec::new();
        for key in feeding {
            let is_last = self.windows.is_last(key, window);
            self.wait_for(key, window.end);
            if is_last && table.is_none() {
                // The live table of a pane that is removed need not be sealed: the others are merged into it.
                let (live, sealed) = self.panes.remove(key).map(Pane::into_parts).unwrap_or_default();
                table = live;
                partials.extend(sealed);
                continue;
            }
            partials.extend(self.panes.share(&self.spec, key)?);
            if is_last {
                self.panes.remove(key);
            }
        }
        let mut table = match table {
            Some(table) => table,
            None => GroupTable::new(&self.spec)?,
        };
        for partial in partials {
            table.absorb(&self.spec, &self.spec.stored_inputs(&partial.rows)?, true, &mut self.indices)?;
        }
        if table.len() > 0 {
            let columns = table.into_results(&self.spec)?;
            self.emission.extend([self.shape.of_window(columns, window)?]);
        }
        Ok(true)
    }

    /// Schedules the first window of a pane that ends after `fired`.
    fn wait_for(&mut self, key: PaneKey, fired: i64) {
        self.waiting.extend(self.windows.window_after(key, fired));
    }

    /// The time up to which windows have fired.
    fn fired(&self) -> i64 {
        match self.waiting.first() {
            Some(due) if due.end <= self.watermark => due.end.saturating_sub(1),
            _ => self.watermark,
        }
    }

    fn restore_panes(&mut self, state: &FrozenState, owned: &KeyGroupSet) -> Result<(), OperatorError> {
        let fired = if self.windows.remembers_fired() { value(state, FIRED) } else { i64::MIN };
        let columns = self.spec.partial_schema.fields().len();
        for part in owned_parts(state.table(PANES), owned, columns, "a windowed aggregation") {
            let part = part?;
            for (key, piece) in split_panes(&part)? {
                self.panes.restore(key, piece);
                self.wait_for(key, fired);
            }
        }
        Ok(())
    }
}

impl Operator for WindowedAggregate {
    fn process(&mut self, _port: u8, batch: RecordBatch) -> Result<(), OperatorError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let read = |batch: &RecordBatch| Ok((self.windows.split(batch)?, self.spec.inputs(batch)?));
        let Sifted { rows: batch, value, failed } = sift(batch, read)?;
        self.failed.extend(failed);
        let Some((parts, inputs)) = value else { return Ok(()) };
        for (key, rows) in parts {
            let open = judge(&self.windows, key, self.watermark, || rows.of_batch(&batch), &mut self.late)?;
            let (Some(key), new_rows) = (open, rows.len()) else {
                if bug::is_active(Bug::ReturnForContinue) {
                    return Ok(());
                }
                continue;
            };
            let is_new = match rows {
                crate::split::Rows::All(_) => self.panes.absorb(&self.spec, key, &inputs, &mut self.indices)?,
                some => self.panes.absorb(&self.spec, key, &inputs.pick(&some)?, &mut self.indices)?,
            };
            self.panes.merge_some(&self.spec, key, new_rows, &mut self.indices)?;
            if is_new {
                self.wait_for(key, self.watermark);
            }
        }
        self.panes.seal_some(&self.spec)
    }

    fn evaluates(&self) -> bool {
        true
    }

    fn on_watermark(&mut self, watermark: Watermark) -> Result<(), OperatorError> {
        self.watermark = self.watermark.max(watermark.0);
        Ok(())
    }

    fn next_output(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        while self.emission.is_empty() {
            if !self.fire_next(self.watermark)? {
                return Ok(None);
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
        self.panes.bytes() + self.waiting.len() * size_of::<Window>() + self.emission.bytes()
    }

    fn freeze(&mut self) -> Result<FrozenState, OperatorError> {
        let mut frozen = FrozenState::default();
        frozen.extend(PANES, self.panes.freeze(&self.spec)?);
        frozen.extend(OUTPUT, self.emission.freeze());
        frozen.values.insert(WATERMARK.to_owned(), self.watermark);
        frozen.values.insert(FIRED.to_owned(), self.fired());
        Ok(frozen)
    }

    /// Restores states in the order of their `FIRED` values. Windows of earlier states that are due by a later state's
    /// value fire in between, so that no window fires for panes of that later state again.
    fn restore(&mut self, states: &[FrozenState], owned: &[KeyGroup]) -> Result<(), OperatorError> {
        let owned: KeyGroupSet = owned.iter().copied().collect();
        self.emission.restore(states, &owned)?;
        let mut states: Vec<&FrozenState> = states.iter().collect();
        states.sort_by_key(|state| value(state, FIRED));
        for state in states {
            while self.fire_next(value(state, FIRED))? {}
            self.restore_panes(state, &owned)?;
            self.watermark = self.watermark.max(value(state, WATERMARK));
        }
        Ok(())
    }
}

/// The pane for the windows of `key` that are still open. The closed windows go to `late`, with the rows.
pub(super) fn judge(
    windows: &Windows,
    key: PaneKey,
    watermark: i64,
    rows: impl FnOnce() -> Result<RecordBatch, OperatorError>,
    late: &mut Vec<LateRows>,
) -> Result<Option<PaneKey>, OperatorError> {
    let open = windows.open(key, watermark);
    if open != Some(key) {
        let rows = rows()?;
        let closed = windows.windows_of(key).take_while(|window| window.end <= watermark);
        late.extend(closed.map(|window| LateRows {
            window_start: window.start,
            window_end: window.end,
            rows: rows.clone(),
        }));
    }
    Ok(open)
}

/// Splits partials by pane. A frozen batch has a single pane; a batch concatenated from several is cut.
fn split_panes(batch: &StateBatch) -> Result<Vec<(PaneKey, StateBatch)>, OperatorError> {
    let ends = batch.rows.column(0).as_primitive::<Int64Type>();
    let details = batch.rows.column(1).as_primitive::<Int64Type>();
    let parts = split_by(batch.rows.num_rows(), |row| PaneKey { end: ends.value(row), detail: details.value(row) });
    if let [(key, _)] = parts.as_slice() {
        return Ok(vec![(*key, batch.clone())]);
    }
    let cut = |(key, rows): (PaneKey, crate::split::Rows)| {
        let numbers: arrow::array::ArrayRef =
            std::sync::Arc::new(batch.key_groups().iter().map(|group| group.0).collect::<arrow::array::UInt16Array>());
        let numbers = rows.of(&numbers)?;
        let numbers = numbers.as_primitive::<arrow::datatypes::UInt16Type>().values();
        let key_groups = numbers.iter().map(|group| KeyGroup(*group)).collect();
        Ok((key, StateBatch::new(key_groups, rows.of_batch(&batch.rows)?)))
    };
    parts.into_iter().map(cut).collect()
}

fn check_phase(
    aggregate: &WindowAggregate,
    spec: &AggregateSpec,
    name: &str,
    input: &SchemaRef,
) -> Result<(), OperatorError> {
    if aggregate.phase != AggregatePhase::Global {
        return Ok(());
    }
    let width = spec.keys.len() + spec.state_width();
    if input.fields().len() <= width || spec.keys.iter().enumerate().any(|(at, key)| at != *key) {
        let reason = format!("its input is not {} keys and {} states", spec.keys.len(), spec.state_width());
        return Err(build_error(name)(reason));
    }
    Ok(())
}
