//! Aggregation per key and session: records of a key belong to one session if they are at most the gap apart.
//!
//! A record exactly the gap behind the last one belongs to that session, and may arrive when the watermark equals the
//! session's end. So a session closes when the watermark has *passed* its end: the closing time is one microsecond less
//! than the watermark, and only that is forwarded to the next operators.
//!
//! Whether a record is late depends on the record, the watermark and the sessions closed so far, not on other records
//! of its batch:
//!
//! ```text
//! its own window [t, t + gap] is closed              late, for that window
//! its own window touches a session that has closed   late, for that session: it fired without it
//! otherwise                                          used
//! ```
//!
//! So the output is that of a batch engine over the used records. Sessions have one phase, since whether a record is
//! late depends on records of other senders.

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use thalweg_flow::Window;
use thalweg_keyed_state::{FrozenState, KeyGroupSet};
use thalweg_types::{
    Watermark,
    graph::{AggregatePhase, WindowAggregate, WindowSpec, Windowing},
};

use super::{
    output::OutputShape,
    session_store::SessionStore,
    spec::{AggregateSpec, Inputs},
    table::{accumulate, take_states},
};
use crate::{
    OperatorContext, OperatorError,
    error::build_error,
    event_time::{check_timestamps, event_times},
    project::batch_of,
    restore::owned_parts,
    sift::{Sifted, sift},
    split::{RowSelection, split_by},
    time,
    windowing::{Output, WindowLogic, WindowOperator},
};

pub(super) const OPEN: &str = "sessions";
const CLOSED: &str = "closed_sessions";
/// How many batches' worth of superfluous rows may accumulate before a compaction.
const SLACK_BATCHES: usize = 8;

/// What an aggregation over sessions keeps.
#[derive(Debug)]
pub(crate) struct SessionAggregate {
    spec: AggregateSpec,
    shape: OutputShape,
    column: usize,
    gap: i64,
    context: OperatorContext,
    store: SessionStore,
}

/// Runs of records of one key in one batch, each at most the gap behind the one before.
struct Runs {
    /// The run of each row of the batch.
    run_of: Vec<usize>,
    /// The first row of each run.
    firsts: Vec<u32>,
    keys: Vec<usize>,
    windows: Vec<Window>,
}

/// The running form of `WindowAggregate` over sessions.
pub(crate) fn session_aggregate(
    aggregate: &WindowAggregate,
    name: &str,
    input: &SchemaRef,
    output: SchemaRef,
    context: OperatorContext,
) -> Result<WindowOperator<SessionAggregate>, OperatorError> {
    let fail = build_error::<&str>(name);
    let Windowing::EventTime { column, spec: WindowSpec::Session { gap } } = aggregate.windowing else {
        return Err(fail("its windows are not sessions"));
    };
    if aggregate.phase != AggregatePhase::Single {
        return Err(fail("sessions are aggregated in one phase"));
    }
    if gap <= 0 {
        return Err(fail("a session's gap must be positive"));
    }
    check_timestamps(name, input, &[column])?;
    let spec = AggregateSpec::new(aggregate, name, input)?;
    let keys = spec.keys.len();
    let logic = SessionAggregate {
        shape: OutputShape::new(output.clone(), aggregate.window_columns, keys + spec.calls.len(), name)?,
        store: SessionStore::new(&spec)?,
        spec,
        column,
        gap,
        context,
    };
    Ok(WindowOperator::new(logic, output, (0..keys).collect(), context))
}

impl SessionAggregate {
    fn own_window(&self, time: i64) -> Window {
        Window { start: time, end: time.saturating_add(self.gap) }
    }

    /// The window that refuses each row; `None` where no row is refused.
    fn judge(&self, times: &[i64], keys: &[usize], watermark: i64) -> Option<Vec<Option<Window>>> {
        if times.iter().all(|time| *time >= watermark) {
            return None;
        }
        let closed = closed_by(Watermark(watermark)).0;
        let refusal = |(time, key): (&i64, &usize)| {
            let own = self.own_window(*time);
            if own.end <= closed { Some(own) } else { self.store.closed_by(*key, own) }
        };
        let refusals: Vec<Option<Window>> = times.iter().zip(keys).map(refusal).collect();
        refusals.iter().any(Option::is_some).then_some(refusals)
    }

    fn absorb(&mut self, inputs: &Inputs, times: &[i64], keys: &[usize]) -> Result<(), OperatorError> {
        if times.is_empty() {
            return Ok(());
        }
        let runs = self.runs(times, keys);
        let accumulators: Result<Vec<_>, _> = self.spec.calls.iter().map(super::spec::Call::accumulator).collect();
        let mut accumulators = accumulators?;
        accumulate(&self.spec, &mut accumulators, inputs, false, &runs.run_of, runs.windows.len())?;
        let integers = |values: Vec<i64>| -> ArrayRef { std::sync::Arc::new(arrow::array::Int64Array::from(values)) };
        let mut columns = vec![
            integers(runs.windows.iter().map(|window| window.end).collect()),
            integers(runs.windows.iter().map(|window| window.start).collect()),
        ];
        let firsts = RowSelection::Picked(runs.firsts.into());
        for key in &inputs.keys {
            columns.push(firsts.of(key)?);
        }
        columns.extend(take_states(&self.spec, &mut accumulators)?);
        let rows = crate::compact(&batch_of(&self.spec.partial_schema, columns, runs.windows.len())?)?;
        self.store.add(rows, &runs.keys, true);
        self.store.compact_if_due(&self.spec, SLACK_BATCHES * self.context.batch_rows)
    }

    fn runs(&self, times: &[i64], keys: &[usize]) -> Runs {
        let mut order: Vec<(usize, i64, u32)> =
            keys.iter().zip(times).zip(0u32..).map(|((key, time), row)| (*key, *time, row)).collect();
        order.sort_unstable();
        let mut runs = Runs { run_of: vec![0; times.len()], firsts: Vec::new(), keys: Vec::new(), windows: Vec::new() };
        for (key, time, row) in order {
            let own = self.own_window(time);
            match runs.windows.last_mut() {
                Some(window) if runs.keys.last() == Some(&key) && time <= window.end => window.end = own.end,
                _ => {
                    runs.windows.push(own);
                    runs.keys.push(key);
                    runs.firsts.push(row);
                }
            }
            runs.run_of[row as usize] = runs.windows.len() - 1;
        }
        runs
    }

    fn restore_table(&mut self, state: &FrozenState, table: &str, owned: &KeyGroupSet) -> Result<(), OperatorError> {
        let columns = self.spec.partial_schema.fields().len();
        for part in owned_parts(state.table(table), owned, columns, "a session aggregation") {
            let part = part?;
            let keys = &part.rows.columns()[2..2 + self.spec.keys.len()];
            let numbers = self.store.intern(keys, part.rows.num_rows())?;
            self.store.add(part.rows, &numbers, table == OPEN);
        }
        Ok(())
    }
}

fn refuse(batch: &RecordBatch, refusals: &[Option<Window>], out: &mut Output) -> Result<(), OperatorError> {
    for (window, rows) in split_by(refusals.len(), |row| refusals[row]) {
        if let Some(window) = window {
            out.refuse(window, rows.of_batch(batch)?);
        }
    }
    Ok(())
}

/// The greatest end of the sessions that a watermark closes. The end of input closes all.
fn closed_by(watermark: Watermark) -> Watermark {
    if watermark.is_end() { watermark } else { Watermark(watermark.0.saturating_sub(1)) }
}

impl WindowLogic for SessionAggregate {
    const EVALUATES: bool = true;

    fn take(&mut self, _port: u8, batch: RecordBatch, out: &mut Output) -> Result<(), OperatorError> {
        let read = |batch: &RecordBatch| Ok((event_times(batch, self.column, self.gap)?, self.spec.inputs(batch)?));
        let Sifted { rows: batch, value, failed } = sift(batch, read)?;
        out.failed.extend(failed);
        let Some((times, inputs)) = value else { return Ok(()) };
        let keys = self.store.intern(&inputs.keys, batch.num_rows())?;
        let Some(refusals) = self.judge(&times, &keys, out.watermark) else {
            return self.absorb(&inputs, &times, &keys);
        };
        refuse(&batch, &refusals, out)?;
        let on_time: BooleanArray = refusals.iter().map(|refusal| Some(refusal.is_none())).collect();
        let kept = |row: &usize| refusals[*row].is_none();
        let times: Vec<i64> = (0..times.len()).filter(kept).map(|row| times[row]).collect();
        let keys: Vec<usize> = (0..keys.len()).filter(kept).map(|row| keys[row]).collect();
        self.absorb(&inputs.select(&on_time)?, &times, &keys)
    }

    /// What ends later than this may still come. The window's columns are in milliseconds, rounded down.
    fn forwarded(&self, watermark: Watermark) -> Watermark {
        if watermark.is_end() {
            return watermark;
        }
        let millisecond = watermark.0.div_euclid(time::MILLISECOND).saturating_mul(time::MILLISECOND);
        closed_by(Watermark(millisecond))
    }

    fn fire(&mut self, out: &mut Output) -> Result<bool, OperatorError> {
        let closed = closed_by(Watermark(out.watermark)).0;
        if !self.store.has_due(closed) {
            self.store.forget(closed.saturating_sub(if closed == i64::MAX { 0 } else { self.gap }));
            return Ok(false);
        }
        let (columns, windows) = self.store.close(&self.spec, closed, self.context.batch_rows)?;
        out.emission.extend([self.shape.of_windows(columns, &windows)?]);
        Ok(true)
    }

    fn bytes(&self) -> usize {
        self.store.bytes()
    }

    fn freeze(&mut self, _out: &Output, frozen: &mut FrozenState) -> Result<(), OperatorError> {
        frozen.extend(OPEN, self.store.freeze_open(&self.spec, self.context.key_groups)?);
        frozen.extend(CLOSED, self.store.freeze_closed(&self.spec, self.context.key_groups)?);
        Ok(())
    }

    fn restore(&mut self, states: &[FrozenState], owned: &KeyGroupSet, _out: &mut Output) -> Result<(), OperatorError> {
        for state in states {
            self.restore_table(state, OPEN, owned)?;
            self.restore_table(state, CLOSED, owned)?;
        }
        Ok(())
    }
}
