//! The panes of an aggregation: their live tables, their sealed partials, and the memory both take.
//!
//! Each freeze seals the live tables, so partials accumulate. The last partials of a pane are merged into one when
//! there are `RUN` of them and the oldest is not larger than the others together, or when those behind the first
//! outweigh it. So a pane has few partials, together at most about twice as large as their merge, and a row is seldom
//! copied (and uploaded). If a merge hardly reduced the rows, since hardly any key occurred twice, the next merge waits
//! for twice as many partials. Merging proceeds alongside new rows, a few rows at a time. A freeze merges only if very
//! many partials have piled up, since merging there takes as long as the state is large. The partials being merged stay
//! until the merge is done.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use arrow::array::{ArrayRef, Int64Array};
use thalweg_keyed_state::StateBatch;

use super::{
    spec::{AggregateSpec, Inputs},
    table::GroupTable,
    windows::PaneKey,
};
use crate::{OperatorError, compact, project::batch_of, restore::keyed};

/// How many partials are worth a merge, unless the first outweighs the others. (This and the next constants are small
/// in tests, which have few rows.)
const RUN: usize = if cfg!(test) { 3 } else { 8 };
/// Rows merged alongside a batch of new rows, unless the batch has many.
const MERGED_ROWS: usize = if cfg!(test) { 2 } else { 8192 };
/// Rows merged per new row: about as many as a new row makes necessary over time.
const MERGED_PER_ROW: usize = if cfg!(test) { 1 } else { 4 };
/// If a pane has more partials than this, a freeze merges them.
const PARTIALS_MAX: usize = if cfg!(test) { 10 } else { 64 };
/// A merge that leaves more than this percentage of the rows has gained little.
const LEFT_PERCENT: usize = 80;

/// How many tables are live at once. A table takes some KB however few groups it has; a partial of few rows much less.
const LIVE_MAX: usize = if cfg!(test) { 3 } else { 1024 };

/// State by pane.
#[derive(Debug)]
pub(crate) struct Panes {
    panes: BTreeMap<PaneKey, Pane>,
    /// Panes that have become live, oldest first. Some may be sealed or removed since.
    live: VecDeque<PaneKey>,
    key_groups: u16,
    bytes: usize,
}

/// The state of one pane.
#[derive(Debug, Default)]
pub(crate) struct Pane {
    live: Option<GroupTable>,
    /// Immutable partials in order of creation; each has one row per group.
    sealed: Vec<StateBatch>,
    merging: Option<Box<Merging>>,
    /// Binary logarithm of the factor by which a run must exceed its usual length; grows with each merge that gained
    /// little.
    patience: u32,
    bytes: usize,
}

/// A run of partials being merged into one. Like results, its memory is not counted, since it is as short-lived.
#[derive(Debug)]
struct Merging {
    /// The run's range among the partials; later ones may have been appended.
    run: std::ops::Range<usize>,
    table: GroupTable,
    /// The next partial, and its first row that is not merged yet.
    next: (usize, usize),
}

impl Panes {
    /// No panes yet. The job has `key_groups` key groups.
    pub(crate) fn new(key_groups: u16) -> Self {
        Self { panes: BTreeMap::new(), live: VecDeque::new(), key_groups, bytes: 0 }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many groups are live.
    pub(crate) fn live_groups(&self) -> usize {
        self.panes.values().filter_map(|pane| pane.live.as_ref()).map(GroupTable::len).sum()
    }

    /// How many tables are live at most; removed ones may still count.
    pub(crate) fn live_tables(&self) -> usize {
        self.live.len()
    }

    /// Seals the panes that have been live longest, if very many are: new rows seldom touch them again.
    pub(crate) fn seal_some(&mut self, spec: &AggregateSpec) -> Result<(), OperatorError> {
        while self.live.len() > LIVE_MAX
            && let Some(key) = self.live.pop_front()
        {
            let Some(pane) = self.panes.get_mut(&key) else { continue };
            let place = (key, self.key_groups);
            if let Some(mut live) = pane.live.take().filter(|live| live.len() > 0) {
                pane.sealed.push(partial_of(spec, place, &mut live)?);
                pane.merge_if_too_many(spec, place)?;
            }
            self.bytes = self.bytes - pane.bytes + pane.measure();
        }
        Ok(())
    }

    /// The keys of the panes in a range.
    pub(crate) fn keys(&self, range: std::ops::RangeInclusive<PaneKey>) -> impl Iterator<Item = PaneKey> + '_ {
        self.panes.range(range).map(|(key, _)| *key)
    }

    /// The keys of all panes.
    pub(crate) fn all_keys(&self) -> Vec<PaneKey> {
        self.panes.keys().copied().collect()
    }

    /// Absorbs rows of a pane, or partials if the operator merges. Returns whether the pane is new.
    pub(crate) fn absorb(
        &mut self,
        spec: &AggregateSpec,
        key: PaneKey,
        inputs: &Inputs,
        indices: &mut Vec<usize>,
    ) -> Result<bool, OperatorError> {
        let is_new = !self.panes.contains_key(&key);
        let pane = self.panes.entry(key).or_default();
        let live = match &mut pane.live {
            Some(live) => live,
            none => {
                self.live.push_back(key);
                none.insert(GroupTable::new(spec)?)
            }
        };
        live.absorb(spec, inputs, spec.merges, indices)?;
        self.bytes = self.bytes - pane.bytes + pane.measure();
        Ok(is_new)
    }

    /// Continues merging partials of a pane that has just absorbed `new_rows` rows.
    pub(crate) fn merge_some(
        &mut self,
        spec: &AggregateSpec,
        key: PaneKey,
        new_rows: usize,
        indices: &mut Vec<usize>,
    ) -> Result<(), OperatorError> {
        let Some(pane) = self.panes.get_mut(&key).filter(|pane| !pane.sealed.is_empty()) else { return Ok(()) };
        let rows = new_rows.saturating_mul(MERGED_PER_ROW).max(MERGED_ROWS);
        if pane.merge_some(spec, (key, self.key_groups), rows, indices)? {
            self.bytes = self.bytes - pane.bytes + pane.measure();
        }
        Ok(())
    }

    /// Restores partials of a pane. Returns whether the pane is new.
    pub(crate) fn restore(&mut self, key: PaneKey, batch: StateBatch) -> bool {
        let is_new = !self.panes.contains_key(&key);
        let pane = self.panes.entry(key).or_default();
        pane.sealed.push(batch);
        self.bytes = self.bytes - pane.bytes + pane.measure();
        is_new
    }

    /// Removes a pane.
    pub(crate) fn remove(&mut self, key: PaneKey) -> Option<Pane> {
        let pane = self.panes.remove(&key)?;
        self.bytes -= pane.bytes;
        if self.panes.is_empty() {
            self.live.clear();
        }
        Some(pane)
    }

    /// Seals a pane and returns its partials; the pane stays.
    pub(crate) fn share(&mut self, spec: &AggregateSpec, key: PaneKey) -> Result<Vec<StateBatch>, OperatorError> {
        let Some(pane) = self.panes.get_mut(&key) else { return Ok(Vec::new()) };
        pane.seal(spec, (key, self.key_groups))?;
        self.bytes = self.bytes - pane.bytes + pane.measure();
        Ok(pane.sealed.clone())
    }

    /// Seals all panes and returns all partials.
    pub(crate) fn freeze(&mut self, spec: &AggregateSpec) -> Result<Vec<StateBatch>, OperatorError> {
        let mut frozen = Vec::new();
        for (key, pane) in &mut self.panes {
            pane.seal(spec, (*key, self.key_groups))?;
            pane.merge_if_too_many(spec, (*key, self.key_groups))?;
            frozen.extend_from_slice(&pane.sealed);
            self.bytes = self.bytes - pane.bytes + pane.measure();
        }
        Ok(frozen)
    }
}

impl Pane {
    /// The live table, if any, and the partials to merge into it.
    pub(crate) fn into_parts(self) -> (Option<GroupTable>, Vec<StateBatch>) {
        (self.live, self.sealed)
    }

    /// Seals the live table and keeps it for further rows, unless it had none since the last seal.
    fn seal(&mut self, spec: &AggregateSpec, place: (PaneKey, u16)) -> Result<(), OperatorError> {
        if self.live.take_if(|live| live.len() == 0).is_none()
            && let Some(live) = &mut self.live
        {
            self.sealed.push(partial_of(spec, place, live)?);
        }
        Ok(())
    }

    /// The range of partials worth a merge now, if any: the shortest run at the end.
    fn worthwhile(&self) -> Option<std::ops::Range<usize>> {
        let mut behind = 0;
        let long = RUN.checked_shl(self.patience).unwrap_or(PARTIALS_MAX).min(PARTIALS_MAX);
        for (at, partial) in self.sealed.iter().enumerate().rev() {
            let rows = partial.rows.num_rows();
            let is_run = self.sealed.len() - at >= long || (at == 0 && self.patience == 0);
            if rows <= behind && is_run {
                return Some(at..self.sealed.len());
            }
            behind += rows;
        }
        None
    }

    /// Continues merging by about `rows` rows. Returns whether a merge was completed.
    fn merge_some(
        &mut self,
        spec: &AggregateSpec,
        place: (PaneKey, u16),
        rows: usize,
        indices: &mut Vec<usize>,
    ) -> Result<bool, OperatorError> {
        if self.merging.is_none() {
            let Some(run) = self.worthwhile() else { return Ok(false) };
            let (table, next) = (GroupTable::new(spec)?, (run.start, 0));
            self.merging = Some(Box::new(Merging { run, table, next }));
        }
        let Some(merging) = &mut self.merging else { return Ok(false) };
        if !merging.advance(spec, &self.sealed, rows, indices)? {
            return Ok(false);
        }
        if let Some(Merging { run, mut table, .. }) = self.merging.take().map(|merging| *merging) {
            let merged = partial_of(spec, place, &mut table)?;
            let before: usize = self.sealed[run.clone()].iter().map(|partial| partial.rows.num_rows()).sum();
            let gained_little = merged.rows.num_rows() * 100 > before * LEFT_PERCENT;
            self.patience = if gained_little { self.patience.saturating_add(1) } else { 0 };
            self.sealed.splice(run, [merged]);
        }
        Ok(true)
    }

    fn merge_if_too_many(&mut self, spec: &AggregateSpec, place: (PaneKey, u16)) -> Result<(), OperatorError> {
        let mut indices = Vec::new();
        while self.sealed.len() > PARTIALS_MAX && (self.merging.is_some() || self.worthwhile().is_some()) {
            self.merge_some(spec, place, usize::MAX, &mut indices)?;
        }
        Ok(())
    }

    fn measure(&mut self) -> usize {
        let sealed: usize = self.sealed.iter().map(|partial| partial.rows.get_array_memory_size()).sum();
        self.bytes = sealed + self.live.as_ref().map_or(0, GroupTable::bytes) + size_of::<(PaneKey, Self)>();
        self.bytes
    }
}

impl Merging {
    /// Merges about `rows` more rows. Returns whether all are merged.
    fn advance(
        &mut self,
        spec: &AggregateSpec,
        sealed: &[StateBatch],
        mut rows: usize,
        indices: &mut Vec<usize>,
    ) -> Result<bool, OperatorError> {
        while let (at, from) = self.next
            && at < self.run.end
            && rows > 0
        {
            let partial = &sealed[at];
            let left = partial.rows.num_rows() - from;
            let step = left.min(rows).min(MERGED_ROWS);
            let piece = partial.rows.slice(from, step);
            self.table.absorb(spec, &spec.stored_inputs(&piece)?, true, indices)?;
            self.next = if step == left { (at + 1, 0) } else { (at, from + step) };
            rows -= step;
        }
        Ok(self.next.0 == self.run.end)
    }
}

/// Moves a table's contents into a partial; the table is empty afterwards.
fn partial_of(
    spec: &AggregateSpec,
    (key, groups): (PaneKey, u16),
    table: &mut GroupTable,
) -> Result<StateBatch, OperatorError> {
    let rows = table.len();
    let constant = |value: i64| -> ArrayRef { Arc::new(Int64Array::from_value(value, rows)) };
    let mut columns = vec![constant(key.end), constant(key.detail)];
    columns.extend(table.take_states(spec)?);
    // A table's buffers have room for more groups than it holds.
    let rows = compact(&batch_of(&spec.partial_schema, columns, rows)?)?;
    Ok(keyed(&rows, spec.stored_keys(), groups))
}
