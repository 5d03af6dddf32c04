//! Windowed aggregation to final results: the single phase over rows, or the global one over partials.
//!
//! Windows fire lazily, one per call of `next_output`, in order of their ends. A pane may feed millions of windows, so
//! only its next one is kept; when that fires, the following one takes its place. Windows that are due but have not
//! fired are still state, so a frozen state records up to which time windows had fired.

use std::collections::BTreeSet;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use thalweg_flow::Window;
use thalweg_keyed_state::{FrozenState, KeyGroupSet, StateBatch};
use thalweg_types::{
    KeyGroup,
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
    OperatorContext, OperatorError,
    emission::Emission,
    error::build_error,
    restore::{owned_parts, value},
    sift::{Sifted, sift},
    split::{RowSelection, split_by},
    windowing::{Output, WindowLogic, WindowOperator},
};

/// The frozen table of partials.
const PANES: &str = "panes";
/// The frozen value: every window that ends at or before it has fired.
const FIRED: &str = "fired";

/// What a windowed aggregation keeps.
#[derive(Debug)]
pub(crate) struct WindowedAggregate {
    spec: AggregateSpec,
    windows: Windows,
    shape: OutputShape,
    panes: Panes,
    /// Per pane, the next window that has not fired.
    waiting: BTreeSet<Window>,
    indices: Vec<usize>,
}

/// The running form of `WindowAggregate` in the single and global phase.
pub(crate) fn windowed_aggregate(
    aggregate: &WindowAggregate,
    name: &str,
    input: &SchemaRef,
    output: SchemaRef,
    context: OperatorContext,
) -> Result<WindowOperator<WindowedAggregate>, OperatorError> {
    let spec = AggregateSpec::new(aggregate, name, input)?;
    check_phase(aggregate, &spec, name, input)?;
    let keys = spec.keys.len();
    let logic = WindowedAggregate {
        shape: OutputShape::new(output.clone(), aggregate.window_columns, keys + spec.calls.len(), name)?,
        spec,
        windows: Windows::new(aggregate, name, input)?,
        panes: Panes::new(context.key_groups),
        waiting: BTreeSet::new(),
        indices: Vec::new(),
    };
    Ok(WindowOperator::new(logic, output, (0..keys).collect(), context))
}

impl WindowedAggregate {
    /// Fires the next window that ends at or before `until`; `false` where there is none.
    fn fire_until(&mut self, until: i64, emission: &mut Emission) -> Result<bool, OperatorError> {
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
            emission.extend([self.shape.of_window(columns, window)?]);
        }
        Ok(true)
    }

    /// Schedules the first window of a pane that ends after `fired`.
    fn wait_for(&mut self, key: PaneKey, fired: i64) {
        self.waiting.extend(self.windows.window_after(key, fired));
    }

    /// Up to where windows have fired.
    fn fired(&self, watermark: i64) -> i64 {
        let due = self.waiting.first().filter(|due| due.end <= watermark);
        due.map_or(watermark, |due| due.end.saturating_sub(1))
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

impl WindowLogic for WindowedAggregate {
    const EVALUATES: bool = true;

    fn take(&mut self, _port: u8, batch: RecordBatch, out: &mut Output) -> Result<(), OperatorError> {
        let read = |batch: &RecordBatch| Ok((self.windows.split(batch)?, self.spec.inputs(batch)?));
        let Sifted { rows: batch, value, failed } = sift(batch, read)?;
        out.failed.extend(failed);
        let Some((parts, inputs)) = value else { return Ok(()) };
        for (key, rows) in parts {
            let open = judge(&self.windows, key, || rows.of_batch(&batch), out)?;
            let (Some(key), new_rows) = (open, rows.len()) else {
                if bug::is_active(Bug::ReturnForContinue) {
                    return Ok(());
                }
                continue;
            };
            let is_new = match rows {
                RowSelection::All(_) => self.panes.absorb(&self.spec, key, &inputs, &mut self.indices)?,
                some @ (RowSelection::Range { .. } | RowSelection::Picked(_)) => {
                    self.panes.absorb(&self.spec, key, &inputs.pick(&some)?, &mut self.indices)?
                }
            };
            self.panes.merge_some(&self.spec, key, new_rows, &mut self.indices)?;
            if is_new {
                self.wait_for(key, out.watermark);
            }
        }
        self.panes.seal_some(&self.spec)
    }

    fn fire(&mut self, out: &mut Output) -> Result<bool, OperatorError> {
        self.fire_until(out.watermark, &mut out.emission)
    }

    fn bytes(&self) -> usize {
        self.panes.bytes() + self.waiting.len() * size_of::<Window>()
    }

    fn freeze(&mut self, out: &Output, frozen: &mut FrozenState) -> Result<(), OperatorError> {
        frozen.extend(PANES, self.panes.freeze(&self.spec)?);
        frozen.values.insert(FIRED.to_owned(), self.fired(out.watermark));
        Ok(())
    }

    /// Restores states in the order of their `FIRED` values. Windows of earlier states that are due by a later state's
    /// value fire in between, so that no window fires for panes of that later state again.
    fn restore(&mut self, states: &[FrozenState], owned: &KeyGroupSet, out: &mut Output) -> Result<(), OperatorError> {
        let mut states: Vec<&FrozenState> = states.iter().collect();
        states.sort_by_key(|state| value(state, FIRED));
        for state in states {
            while self.fire_until(value(state, FIRED), &mut out.emission)? {}
            self.restore_panes(state, owned)?;
        }
        Ok(())
    }
}

/// The pane for the windows of `key` that are still open. The closed windows go to `late`, with the rows.
pub(super) fn judge(
    windows: &Windows,
    key: PaneKey,
    rows: impl FnOnce() -> Result<RecordBatch, OperatorError>,
    out: &mut Output,
) -> Result<Option<PaneKey>, OperatorError> {
    let open = windows.open(key, out.watermark);
    if open != Some(key) {
        let (rows, watermark) = (rows()?, out.watermark);
        for window in windows.windows_of(key).take_while(|window| window.end <= watermark) {
            out.refuse(window, rows.clone());
        }
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
    let cut = |(key, rows): (PaneKey, crate::split::RowSelection)| {
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
