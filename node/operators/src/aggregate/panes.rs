//! The panes of an aggregation: what is live, what is sealed, and how much memory both take.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use thalweg_flow::key_groups_of;
use thalweg_keyed_state::StateBatch;
use thalweg_types::KeyGroup;

use super::{
    spec::{AggregateSpec, Inputs},
    table::GroupTable,
    windows::PaneKey,
};
use crate::{OperatorError, project::batch_of};

/// State by pane.
#[derive(Debug, Default)]
pub(crate) struct Panes {
    panes: BTreeMap<PaneKey, Pane>,
    bytes: usize,
}

/// What one pane holds.
#[derive(Debug, Default)]
pub(crate) struct Pane {
    live: Option<GroupTable>,
    sealed: Vec<Partial>,
    bytes: usize,
}

/// Immutable partials: as many rows as groups.
#[derive(Debug, Clone)]
pub(crate) struct Partial {
    rows: RecordBatch,
    /// Found out at the first freeze.
    key_groups: Option<Arc<[KeyGroup]>>,
}

impl Panes {
    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many groups are live.
    pub(crate) fn live_groups(&self) -> usize {
        self.panes.values().filter_map(|pane| pane.live.as_ref()).map(GroupTable::len).sum()
    }

    /// The panes in a range.
    pub(crate) fn keys(&self, range: std::ops::RangeInclusive<PaneKey>) -> impl Iterator<Item = PaneKey> + '_ {
        self.panes.range(range).map(|(key, _)| *key)
    }

    /// Every pane.
    pub(crate) fn all_keys(&self) -> Vec<PaneKey> {
        self.panes.keys().copied().collect()
    }

    /// Takes rows (or partials, where the operator merges) of a pane. Says whether the pane is new.
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
            none => none.insert(GroupTable::new(spec)?),
        };
        live.absorb(spec, inputs, spec.merges, indices)?;
        self.bytes = self.bytes - pane.bytes + pane.measure();
        Ok(is_new)
    }

    /// Takes back partials of a pane. Says whether the pane is new.
    pub(crate) fn restore(&mut self, key: PaneKey, batch: StateBatch) -> bool {
        let is_new = !self.panes.contains_key(&key);
        let pane = self.panes.entry(key).or_default();
        pane.sealed.push(Partial { rows: batch.rows, key_groups: Some(batch.key_groups) });
        self.bytes = self.bytes - pane.bytes + pane.measure();
        is_new
    }

    /// Takes a pane out.
    pub(crate) fn remove(&mut self, key: PaneKey) -> Option<Pane> {
        let pane = self.panes.remove(&key)?;
        self.bytes -= pane.bytes;
        Some(pane)
    }

    /// The partials of a pane that stays.
    pub(crate) fn share(&mut self, spec: &AggregateSpec, key: PaneKey) -> Result<Vec<Partial>, OperatorError> {
        let Some(pane) = self.panes.get_mut(&key) else { return Ok(Vec::new()) };
        pane.seal(spec, key)?;
        self.bytes = self.bytes - pane.bytes + pane.measure();
        Ok(pane.sealed.clone())
    }

    /// All partials, with key groups. What is live is sealed; runs of partials are merged so that a pane has few.
    pub(crate) fn freeze(&mut self, spec: &AggregateSpec, groups: u16) -> Result<Vec<StateBatch>, OperatorError> {
        let mut frozen = Vec::new();
        for (key, pane) in &mut self.panes {
            pane.seal(spec, *key)?;
            pane.tier(spec, *key)?;
            for partial in &mut pane.sealed {
                frozen.push(partial.state_batch(spec, groups));
            }
            self.bytes = self.bytes - pane.bytes + pane.measure();
        }
        Ok(frozen)
    }
}

impl Pane {
    /// The live table where there is one, and the partials to merge into it.
    pub(crate) fn into_parts(self) -> (Option<GroupTable>, Vec<Partial>) {
        (self.live, self.sealed)
    }

    fn seal(&mut self, spec: &AggregateSpec, key: PaneKey) -> Result<(), OperatorError> {
        if let Some(live) = self.live.take().filter(|live| live.len() > 0) {
            self.sealed.push(Partial::of(spec, key, live)?);
        }
        Ok(())
    }

    /// Merges the last partials while they are of like size, so that a pane has logarithmically many and a row is copied
    /// logarithmically often.
    fn tier(&mut self, spec: &AggregateSpec, key: PaneKey) -> Result<(), OperatorError> {
        while let [.., before, last] = self.sealed.as_slice()
            && before.rows.num_rows() < 2 * last.rows.num_rows()
        {
            let mut table = GroupTable::new(spec)?;
            let mut indices = Vec::new();
            for partial in self.sealed.drain(self.sealed.len() - 2..) {
                partial.merge_into(&mut table, spec, &mut indices)?;
            }
            self.sealed.push(Partial::of(spec, key, table)?);
        }
        Ok(())
    }

    fn measure(&mut self) -> usize {
        let sealed: usize = self.sealed.iter().map(|partial| partial.rows.get_array_memory_size()).sum();
        self.bytes = sealed + self.live.as_ref().map_or(0, GroupTable::bytes) + size_of::<(PaneKey, Self)>();
        self.bytes
    }
}

impl Partial {
    fn of(spec: &AggregateSpec, key: PaneKey, table: GroupTable) -> Result<Self, OperatorError> {
        let rows = table.len();
        let constant = |value: i64| -> ArrayRef { Arc::new(Int64Array::from_value(value, rows)) };
        let mut columns = vec![constant(key.end), constant(key.detail)];
        columns.extend(table.into_states(spec)?);
        Ok(Self { rows: batch_of(&spec.partial_schema, columns, rows)?, key_groups: None })
    }

    /// Adds it to a table.
    pub(crate) fn merge_into(
        &self,
        table: &mut GroupTable,
        spec: &AggregateSpec,
        indices: &mut Vec<usize>,
    ) -> Result<(), OperatorError> {
        table.absorb(spec, &spec.stored_inputs(&self.rows), true, indices)
    }

    fn state_batch(&mut self, spec: &AggregateSpec, groups: u16) -> StateBatch {
        let rows = &self.rows;
        let key_groups = self.key_groups.get_or_insert_with(|| {
            key_groups_of(&rows.columns()[2..2 + spec.keys.len()], rows.num_rows(), groups).into()
        });
        StateBatch::new(key_groups.clone(), rows.clone())
    }
}
