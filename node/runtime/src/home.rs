//! Which rows a subtask of a sink is given, by key group.
//!
//! If rows are routed to a sink by key, what it holds of them moves with their key groups. Otherwise any subtask may
//! have any row, and what it holds moves with one of the key groups that it owns.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use thalweg_flow::key_groups_of;
use thalweg_keyed_state::{KeyGroupSet, StateBatch};
use thalweg_types::{ChainPlan, KeyGroup, OperatorId, SubtaskId, graph::Distribution};

/// The key groups of a subtask of a sink.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    /// One that it owns.
    group: KeyGroup,
    owned: KeyGroupSet,
    /// The columns that decide on the key group of a row, and how many key groups there are; `None`: none do.
    keys: Option<(Arc<[usize]>, u16)>,
}

impl Home {
    pub(crate) fn new(
        plan: &ChainPlan,
        (sink, subtask): (OperatorId, SubtaskId),
        (owned, key_groups): (Vec<KeyGroup>, u16),
    ) -> Self {
        let into = plan.exchanges.iter().find(|exchange| exchange.to == subtask.chain && exchange.edge.to == sink);
        let keys = into.and_then(|exchange| match &exchange.edge.distribution {
            Distribution::Hash { keys } => Some((keys.as_slice().into(), key_groups)),
            Distribution::Forward | Distribution::Gather | Distribution::Rebalance | Distribution::Assigned => None,
        });
        Self { group: owned.first().copied().unwrap_or(KeyGroup(0)), owned: owned.into_iter().collect(), keys }
    }

    /// Of a subtask to which rows come whatever their key group.
    #[cfg(test)]
    pub(crate) fn any(group: KeyGroup) -> Self {
        Self { group, owned: [group].into_iter().collect(), keys: None }
    }

    /// Of a subtask that owns some of so many key groups of a column.
    #[cfg(test)]
    pub(crate) fn keyed(column: usize, owned: &[KeyGroup], key_groups: u16) -> Self {
        Self {
            keys: Some(([column].into(), key_groups)),
            owned: owned.iter().copied().collect(),
            ..Self::any(owned[0])
        }
    }

    /// The key group of a row; `None`: rows come whatever theirs is.
    pub(crate) fn group_of(&self, rows: &RecordBatch, row: usize) -> Option<KeyGroup> {
        let (keys, groups) = self.keys.as_ref()?;
        key_groups_of(&columns(&rows.slice(row, 1), keys), 1, *groups).first().copied()
    }

    /// Whether rows of a key group come to this subtask.
    pub(crate) fn owns(&self, group: KeyGroup) -> bool {
        self.owned.contains(group)
    }

    /// Rows that are held, as state.
    pub(crate) fn state(&self, rows: RecordBatch) -> StateBatch {
        let count = rows.num_rows();
        match &self.keys {
            None => StateBatch::new(vec![self.group; count].into(), rows),
            Some((keys, groups)) => {
                let (columns, groups) = (columns(&rows, keys), *groups);
                StateBatch::lazy(rows, move || key_groups_of(&columns, count, groups).into())
            }
        }
    }
}

fn columns(rows: &RecordBatch, keys: &[usize]) -> Vec<ArrayRef> {
    keys.iter().map(|key| rows.column(*key).clone()).collect()
}
