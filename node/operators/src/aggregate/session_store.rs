//! Stores sessions and their partials.
//!
//! ```text
//! sessions   (key, start) -> [start, end], open or closed, and a list of partial rows
//! partials   batches of immutable rows; `next` links the rows of one session
//! ```
//!
//! A batch of input becomes one batch of partials, with a row per run of records at most the gap apart. Each row is
//! linked into the session that it extends, and joins the sessions that it bridges. The rows themselves are merged when
//! the session ends, or in a compaction when there are many more rows than sessions.
//!
//! A closed session is remembered until no record that is otherwise on time can touch it: such a record belongs to a
//! session that has fired without it, and is late.

use std::collections::{BTreeMap, BTreeSet};
use std::{fmt, sync::Arc};

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, interleave_record_batch};
use arrow::datatypes::Int64Type;
use datafusion_physical_plan::aggregates::group_values::GroupValues;
use thalweg_flow::Window;
use thalweg_keyed_state::StateBatch;

use super::{
    spec::AggregateSpec,
    table::{accumulate, key_table, results, take_states},
};
use crate::{
    OperatorError,
    error::{arrow_error, evaluate_error},
    keys::canonical_keys,
    project::batch_of,
    restore::keyed,
};

/// Marks the end of a list.
const NONE: u32 = u32::MAX;
/// Rough size of a session's map entries in bytes.
const SESSION_BYTES: usize = 160;

/// Identifies a session: the number of its key, and its start.
type Place = (usize, i64);

#[derive(Debug, Clone, Copy)]
struct Session {
    end: i64,
    is_open: bool,
    /// The first and last row of its list. A closed session has one row, which holds its key.
    head: u32,
    tail: u32,
}

/// All sessions of one operator.
pub(crate) struct SessionStore {
    keys: Option<Box<dyn GroupValues>>,
    sessions: BTreeMap<Place, Session>,
    /// Open sessions by end.
    ending: BTreeSet<(i64, Place)>,
    /// Closed sessions by end.
    closed: BTreeSet<(i64, Place)>,
    partials: Vec<Partials>,
    next: Vec<u32>,
    partial_bytes: usize,
}

struct Partials {
    rows: RecordBatch,
    /// The number of the batch's first row.
    first: u32,
    /// Which rows belong to open sessions, and how many. A row never becomes open again.
    is_open: Vec<bool>,
    open: usize,
    /// The batch as last frozen, with the number of open rows then.
    frozen: Option<(usize, StateBatch)>,
}

impl Partials {
    fn freeze(&mut self, spec: &AggregateSpec, groups: u16) -> Result<StateBatch, OperatorError> {
        if let Some((_, frozen)) = self.frozen.as_ref().filter(|(open, _)| *open == self.open) {
            return Ok(frozen.clone());
        }
        let rows = if self.open == self.rows.num_rows() {
            self.rows.clone()
        } else {
            let mask = BooleanArray::from(self.is_open.clone());
            filter_record_batch(&self.rows, &mask).map_err(arrow_error("select open sessions"))?
        };
        let frozen = keyed(&rows, spec.stored_keys(), groups);
        self.frozen = Some((self.open, frozen.clone()));
        Ok(frozen)
    }
}

impl fmt::Debug for SessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStore").field("sessions", &self.sessions.len()).finish_non_exhaustive()
    }
}

impl SessionStore {
    pub(crate) fn new(spec: &AggregateSpec) -> Result<Self, OperatorError> {
        Ok(Self {
            keys: key_table(spec)?,
            sessions: BTreeMap::new(),
            ending: BTreeSet::new(),
            closed: BTreeSet::new(),
            partials: Vec::new(),
            next: Vec::new(),
            partial_bytes: 0,
        })
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        let keys = self.keys.as_ref().map_or(0, |keys| keys.size());
        keys + self.partial_bytes + 4 * self.next.capacity() + SESSION_BYTES * self.sessions.len()
    }

    /// The number of each row's key.
    pub(crate) fn intern(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<usize>, OperatorError> {
        let mut numbers = vec![0; rows];
        if let Some(table) = &mut self.keys {
            table.intern(&canonical_keys(keys)?, &mut numbers).map_err(evaluate_error("GROUP BY"))?;
        }
        Ok(numbers)
    }

    /// The closed session of a key that a record's own window touches.
    pub(crate) fn closed_by(&self, key: usize, own: Window) -> Option<Window> {
        self.touching(key, own)
            .find(|(_, session)| !session.is_open)
            .map(|((_, start), session)| Window { start, end: session.end })
    }

    /// Adds partial rows, each with end, start, keys and states. Closed ones are only remembered.
    pub(crate) fn add(&mut self, rows: RecordBatch, numbers: &[usize], is_open: bool) {
        let first = u32::try_from(self.next.len()).expect("compaction keeps rows well below 2^32");
        let ends = rows.column(0).as_primitive::<Int64Type>().clone();
        let starts = rows.column(1).as_primitive::<Int64Type>().clone();
        self.next.resize(self.next.len() + rows.num_rows(), NONE);
        self.partial_bytes += rows.get_array_memory_size();
        let open = if is_open { numbers.len() } else { 0 };
        self.partials.push(Partials { rows, first, is_open: vec![is_open; numbers.len()], open, frozen: None });
        for (at, row) in (0..numbers.len()).zip(first..) {
            let window = Window { start: starts.value(at), end: ends.value(at) };
            if is_open {
                self.extend(numbers[at], window, row);
            } else {
                let place = (numbers[at], window.start);
                self.sessions.insert(place, Session { end: window.end, is_open, head: row, tail: row });
                self.closed.insert((window.end, place));
            }
        }
    }

    /// Links a row into the session that it forms with those that it touches.
    fn extend(&mut self, key: usize, window: Window, row: u32) {
        let mut merged = Session { end: window.end, is_open: true, head: row, tail: row };
        let mut start = window.start;
        let touched: Vec<(Place, Session)> = self.touching(key, window).filter(|(_, s)| s.is_open).collect();
        for (place, session) in touched {
            self.sessions.remove(&place);
            self.ending.remove(&(session.end, place));
            self.next[session.tail as usize] = merged.head;
            merged.head = session.head;
            merged.end = merged.end.max(session.end);
            start = start.min(place.1);
        }
        self.sessions.insert((key, start), merged);
        self.ending.insert((merged.end, (key, start)));
    }

    /// Sessions of a key that overlap a window or meet it at either end, latest first.
    fn touching(&self, key: usize, window: Window) -> impl Iterator<Item = (Place, Session)> + '_ {
        let before = self.sessions.range((key, i64::MIN)..=(key, window.end)).rev();
        before.map(|(place, session)| (*place, *session)).take_while(move |(_, session)| session.end >= window.start)
    }

    /// Closes up to `limit` sessions that end at or before `until`. Returns their keys and results, and their windows.
    pub(crate) fn close(
        &mut self,
        spec: &AggregateSpec,
        until: i64,
        limit: usize,
    ) -> Result<(Vec<ArrayRef>, Vec<Window>), OperatorError> {
        let due = self.ending.iter().take(limit).take_while(|(end, _)| *end <= until);
        let due: Vec<(i64, Place)> = due.copied().collect();
        let places: Vec<Place> = due.iter().map(|(_, place)| *place).collect();
        let mut merged = self.merge(spec, &places)?;
        let mut columns = merged.keys;
        let results = results(spec, &mut merged.accumulators, &columns)?;
        columns.extend(results);
        let mut windows = Vec::with_capacity(due.len());
        for (end, place) in due {
            self.ending.remove(&(end, place));
            self.closed.insert((end, place));
            self.close_rows(place);
            let session = self.sessions.get_mut(&place).expect("an ending session is there");
            session.is_open = false;
            session.tail = session.head;
            windows.push(Window { start: place.1, end });
        }
        Ok((columns, windows))
    }

    /// Marks a session's rows as no longer open.
    fn close_rows(&mut self, place: Place) {
        let mut rows = Vec::new();
        self.visit_rows(place, |row| rows.push(self.locate(row)));
        for (batch, row) in rows {
            let partials = &mut self.partials[batch];
            if std::mem::take(&mut partials.is_open[row]) {
                partials.open -= 1;
            }
        }
    }

    /// Whether a session ends at or before a time.
    pub(crate) fn has_due(&self, until: i64) -> bool {
        self.ending.first().is_some_and(|(end, _)| *end <= until)
    }

    /// Forgets closed sessions that ended at or before `until`.
    pub(crate) fn forget(&mut self, until: i64) {
        while let Some((_, place)) = self.closed.first().copied().filter(|(end, _)| *end <= until) {
            self.closed.pop_first();
            self.sessions.remove(&place);
        }
        if self.sessions.is_empty() {
            self.partials.clear();
            self.next.clear();
            self.partial_bytes = 0;
        }
    }

    /// Merges the rows of each session into one, drops all others, and forgets keys without sessions. Does so only if
    /// rows or keys outnumber twice the sessions by more than `slack`.
    pub(crate) fn compact_if_due(&mut self, spec: &AggregateSpec, slack: usize) -> Result<(), OperatorError> {
        let keys = self.keys.as_ref().map_or(0, |keys| keys.len());
        if self.next.len().max(keys) <= 2 * self.sessions.len() + slack {
            return Ok(());
        }
        let mut compacted = Self::new(spec)?;
        for is_open in [true, false] {
            let rows = self.gather(spec, is_open)?;
            if rows.num_rows() > 0 {
                let numbers = compacted.intern(&rows.columns()[2..2 + spec.keys.len()], rows.num_rows())?;
                compacted.add(rows, &numbers, is_open);
            }
        }
        *self = compacted;
        Ok(())
    }

    /// The open sessions as batches of partial rows. A batch is the same as before if none of its sessions was closed
    /// since.
    pub(crate) fn freeze_open(&mut self, spec: &AggregateSpec, groups: u16) -> Result<Vec<StateBatch>, OperatorError> {
        let with_open = self.partials.iter_mut().filter(|partials| partials.open > 0);
        with_open.map(|partials| partials.freeze(spec, groups)).collect()
    }

    /// The remembered closed sessions, one row each.
    pub(crate) fn freeze_closed(&self, spec: &AggregateSpec, groups: u16) -> Result<Option<StateBatch>, OperatorError> {
        let rows = self.gather(spec, false)?;
        let has_rows = rows.num_rows() > 0;
        Ok(has_rows.then(|| keyed(&rows, spec.stored_keys(), groups)))
    }

    /// One partial row per open, or per closed, session.
    fn gather(&self, spec: &AggregateSpec, is_open: bool) -> Result<RecordBatch, OperatorError> {
        let listed = if is_open { &self.ending } else { &self.closed };
        let places: Vec<Place> = listed.iter().map(|(_, place)| *place).collect();
        let integers = |values: Vec<i64>| -> ArrayRef { Arc::new(arrow::array::Int64Array::from(values)) };
        let ends = listed.iter().map(|(end, _)| *end).collect();
        let starts = places.iter().map(|(_, start)| *start).collect();
        let mut columns = vec![integers(ends), integers(starts)];
        if places.is_empty() {
            return Ok(RecordBatch::new_empty(spec.partial_schema.clone()));
        }
        let mut merged = self.merge(spec, &places)?;
        columns.extend(merged.keys);
        columns.extend(take_states(spec, &mut merged.accumulators)?);
        batch_of(&spec.partial_schema, columns, places.len())
    }

    /// The merged rows of each of these sessions.
    fn merge(&self, spec: &AggregateSpec, places: &[Place]) -> Result<Merged, OperatorError> {
        let mut picks: Vec<(usize, usize)> = Vec::new();
        let mut groups: Vec<usize> = Vec::new();
        let mut firsts: Vec<u32> = Vec::with_capacity(places.len());
        for (place, group) in places.iter().zip(0..) {
            firsts.push(u32::try_from(picks.len()).expect("fewer rows than 2^32"));
            self.visit_rows(*place, |row| {
                picks.push(self.locate(row));
                groups.push(group);
            });
        }
        let batches: Vec<&RecordBatch> = self.partials.iter().map(|partials| &partials.rows).collect();
        let rows = interleave_record_batch(&batches, &picks).map_err(arrow_error("gather sessions"))?;
        let inputs = spec.stored_inputs(&rows)?;
        let accumulators: Result<Vec<_>, _> = spec.calls.iter().map(super::spec::Call::accumulator).collect();
        let mut accumulators = accumulators?;
        accumulate(spec, &mut accumulators, &inputs, true, &groups, places.len())?;
        let firsts = crate::split::RowSelection::Picked(firsts.into());
        let keys: Result<Vec<ArrayRef>, _> = inputs.keys.iter().map(|key| firsts.of(key)).collect();
        Ok(Merged { keys: keys?, accumulators })
    }

    /// Visits the rows of a session.
    fn visit_rows(&self, place: Place, mut visit: impl FnMut(u32)) {
        let session = self.sessions[&place];
        let mut row = session.head;
        loop {
            visit(row);
            if row == session.tail {
                return;
            }
            row = self.next[row as usize];
        }
    }

    /// A row's batch and its index there.
    fn locate(&self, row: u32) -> (usize, usize) {
        let batch = self.partials.partition_point(|partials| partials.first <= row) - 1;
        (batch, (row - self.partials[batch].first) as usize)
    }
}

struct Merged {
    keys: Vec<ArrayRef>,
    accumulators: Vec<Box<dyn datafusion_expr::GroupsAccumulator>>,
}
