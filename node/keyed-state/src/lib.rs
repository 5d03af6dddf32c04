//! State by key group: what an operator hands over when it is frozen, and gets back when it is restored.
//!
//! ```text
//! operator --freeze--> FrozenState (shared, immutable) --upload, by key group--> object store
//! operator <--restore-- FrozenStates of every former instance, restricted to the key groups it owns now
//! ```
//!
//! A frozen state is the whole state, as a list of batches that never change. A batch that an operator hands over again
//! at the next freeze has the same `BatchId`. So a checkpoint uploads only the batches that the last one did not have,
//! and batches that the list no longer has are deleted. Restoring needs no replay: the batches of the list, wherever
//! they were uploaded, are the state.
//!
//! Rows that no longer count may still be in a batch that is kept for its other rows. The operator recognises them by
//! the values that are frozen with the rows (up to where its windows have fired). So a list must be restored with the
//! values of its own freeze.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, LazyLock, Weak},
};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::error::ArrowError;
use thalweg_types::KeyGroup;

/// How many batches are merged at once, unless the first has more rows than the others together.
const RUN: usize = 8;

/// The name of the value that holds an instance's watermark.
pub const WATERMARK: &str = "watermark";
/// The name of the value that holds the least `WATERMARK` of all former instances of an operator, whichever key groups
/// they owned. Each restored state has it if they had a watermark.
pub const LEAST_WATERMARK: &str = "watermark.least";

/// The state of one operator instance at one moment, as immutable batches.
#[derive(Debug, Clone, Default)]
pub struct FrozenState {
    /// Batches of rows by the name of their table.
    pub tables: BTreeMap<String, Vec<StateBatch>>,
    /// Values of the whole instance by name, for example its watermark.
    pub values: BTreeMap<String, i64>,
}

/// Rows of state, with the key group of each.
#[derive(Clone)]
pub struct StateBatch {
    key_groups: Arc<RowGroups>,
    /// The rows.
    pub rows: RecordBatch,
}

/// Key groups, computed when they are first asked for.
type RowGroups = LazyLock<Arc<[KeyGroup]>, Box<dyn FnOnce() -> Arc<[KeyGroup]> + Send>>;

/// Identifies a batch within this process while this value exists. Does not keep the batch's rows alive.
#[derive(Debug, Clone)]
pub struct BatchId(Weak<RowGroups>);

/// A set of key groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyGroupSet {
    /// Whether each group is in the set, by its number. Groups beyond the end are not.
    members: Vec<bool>,
}

impl FrozenState {
    /// The batches of a table; empty if there is no such table.
    #[must_use]
    pub fn table(&self, name: &str) -> &[StateBatch] {
        self.tables.get(name).map_or(&[], Vec::as_slice)
    }

    /// Every batch, with the name of its table.
    pub fn batches(&self) -> impl Iterator<Item = (&str, &StateBatch)> {
        self.tables.iter().flat_map(|(name, batches)| batches.iter().map(|batch| (name.as_str(), batch)))
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.values().flatten().all(|batch| batch.rows.num_rows() == 0)
    }

    /// Adds batches to a table. A table without batches is not created.
    pub fn extend(&mut self, table: &str, batches: impl IntoIterator<Item = StateBatch>) {
        let mut batches = batches.into_iter().peekable();
        if batches.peek().is_some() {
            self.tables.entry(table.to_owned()).or_default().extend(batches);
        }
    }
}

impl StateBatch {
    /// Rows with their key groups, one per row.
    #[must_use]
    pub fn new(key_groups: Arc<[KeyGroup]>, rows: RecordBatch) -> Self {
        assert_eq!(key_groups.len(), rows.num_rows(), "a key group per row");
        Self::lazy(rows, move || key_groups)
    }

    /// Rows whose key groups, one per row, are computed when they are first asked for. That is when they are uploaded,
    /// outside the record path.
    #[must_use]
    pub fn lazy(rows: RecordBatch, find: impl FnOnce() -> Arc<[KeyGroup]> + Send + 'static) -> Self {
        Self { key_groups: Arc::new(LazyLock::new(Box::new(find))), rows }
    }

    /// The key group of each row.
    ///
    /// # Panics
    /// The computed key groups are not one per row.
    #[must_use]
    pub fn key_groups(&self) -> &[KeyGroup] {
        let key_groups = LazyLock::force(&self.key_groups);
        assert_eq!(key_groups.len(), self.rows.num_rows(), "a key group per row");
        key_groups
    }

    /// Merges the last batches into one if they are many and together have at most `bytes_max` bytes. Returns how many
    /// bytes they had and how many the merged one has, or `None` if nothing was merged. So a list that grows batch by
    /// batch has few small ones, and each row is copied only a logarithmic number of times. `remake` makes a batch of
    /// the merged rows. It must not hold on to the key groups of the former batches, which would keep these alive.
    ///
    /// # Errors
    /// The batches have different columns.
    pub fn shorten(
        batches: &mut Vec<Self>,
        bytes_max: usize,
        remake: impl FnOnce(RecordBatch) -> Self,
    ) -> Result<Option<(usize, usize)>, ArrowError> {
        let Some(at) = batches.len().checked_sub(RUN) else { return Ok(None) };
        let run = &batches[at..];
        let rows = |batch: &Self| batch.rows.num_rows();
        let bytes: usize = run.iter().map(|batch| batch.rows.get_array_memory_size()).sum();
        if rows(&run[0]) > run[1..].iter().map(rows).sum() || bytes > bytes_max {
            return Ok(None);
        }
        let merged = remake(concat_batches(&run[0].rows.schema(), run.iter().map(|batch| &batch.rows))?);
        let merged_bytes = merged.rows.get_array_memory_size();
        batches.truncate(at);
        batches.push(merged);
        Ok(Some((bytes, merged_bytes)))
    }

    /// Identifies this batch. A clone has the same id, and so does a batch that is handed over again.
    #[must_use]
    pub fn id(&self) -> BatchId {
        BatchId(Arc::downgrade(&self.key_groups))
    }

    /// Whether this is the same batch as `other`, handed over again.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.key_groups, &other.key_groups)
    }

    /// The rows of the owned key groups. The same batch if all are owned; `None` if none is.
    ///
    /// # Errors
    /// The rows have a type that Arrow cannot filter.
    pub fn restricted_to(&self, owned: &KeyGroupSet) -> Result<Option<Self>, ArrowError> {
        let mask: Vec<bool> = self.key_groups().iter().map(|group| owned.contains(*group)).collect();
        let kept = mask.iter().filter(|is_owned| **is_owned).count();
        if kept == 0 {
            return Ok(None);
        }
        if kept == mask.len() {
            return Ok(Some(self.clone()));
        }
        let key_groups = self.key_groups().iter().copied().filter(|group| owned.contains(*group)).collect();
        let rows = filter_record_batch(&self.rows, &BooleanArray::from(mask))?;
        Ok(Some(Self::new(key_groups, rows)))
    }
}

impl fmt::Debug for StateBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateBatch").field("rows", &self.rows.num_rows()).finish_non_exhaustive()
    }
}

impl PartialEq for BatchId {
    fn eq(&self, other: &Self) -> bool {
        Weak::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for BatchId {}

impl Hash for BatchId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_ptr().hash(state);
    }
}

impl KeyGroupSet {
    /// Whether a group is in the set.
    #[must_use]
    pub fn contains(&self, group: KeyGroup) -> bool {
        self.members.get(usize::from(group.0)).copied().unwrap_or(false)
    }
}

impl FromIterator<KeyGroup> for KeyGroupSet {
    fn from_iter<I: IntoIterator<Item = KeyGroup>>(groups: I) -> Self {
        let mut members = Vec::new();
        for group in groups {
            let at = usize::from(group.0);
            if members.len() <= at {
                members.resize(at + 1, false);
            }
            members[at] = true;
        }
        Self { members }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use proptest::prelude::*;

    use super::*;

    fn batch(groups: &[u16]) -> StateBatch {
        let values: Vec<i64> = groups.iter().map(|group| i64::from(*group)).collect();
        let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, false)]));
        let rows = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(values))]).expect("one column");
        StateBatch::new(groups.iter().map(|group| KeyGroup(*group)).collect(), rows)
    }

    #[test]
    fn what_is_handed_over_again_is_the_same() {
        let first = batch(&[1, 2]);
        let later = StateBatch::lazy(first.rows.clone(), || Arc::new([KeyGroup(1), KeyGroup(2)]));
        assert!(later.clone().is_same(&later) && !later.is_same(&first) && later.key_groups() == first.key_groups());
        assert!(first.clone().is_same(&first));
        assert!(!batch(&[1, 2]).is_same(&first));
        let id = first.id();
        assert!(first.clone().id() == id && batch(&[1, 2]).id() != id);
        assert_eq!([first.clone().id(), id].into_iter().collect::<std::collections::HashSet<_>>().len(), 1);
        let mut state = FrozenState::default();
        state.extend("t", []);
        assert!(state.is_empty() && state.tables.is_empty());
        state.extend("t", [first]);
        assert!(!state.is_empty());
        assert_eq!(
            state.batches().map(|(table, batch)| (table, batch.rows.num_rows())).collect::<Vec<_>>(),
            [("t", 2)]
        );
        assert_eq!(state.table("t").len(), 1);
    }

    #[test]
    fn small_batches_become_few() {
        let of = |number: u16| batch(&[number]);
        let remake = |rows: RecordBatch| {
            let groups = rows.column(0).as_primitive::<Int64Type>().values().iter();
            StateBatch::new(groups.map(|value| KeyGroup(u16::try_from(*value).unwrap())).collect(), rows)
        };
        let mut batches = Vec::new();
        for number in 0..1000 {
            batches.push(of(number));
            StateBatch::shorten(&mut batches, 1 << 20, remake).expect("they are alike");
            assert!(batches.len() < 3 * RUN, "{} after {number}", batches.len());
        }
        let groups: Vec<u16> = batches.iter().flat_map(StateBatch::key_groups).map(|group| group.0).collect();
        assert_eq!(groups, (0..1000).collect::<Vec<u16>>());
        let mut large: Vec<StateBatch> = (0..20).map(of).collect();
        assert!(StateBatch::shorten(&mut large, 7, remake).expect("they are alike").is_none() && large.len() == 20);
    }

    proptest! {
        #[test]
        fn a_partition_of_the_groups_partitions_the_rows(groups in prop::collection::vec(0u16..16, 0..50), cut in 0u16..17) {
            let whole = batch(&groups);
            let mut seen = Vec::new();
            for range in [0..cut, cut..16] {
                let owned: KeyGroupSet = range.clone().map(KeyGroup).collect();
                let Some(part) = whole.restricted_to(&owned).expect("integers can be filtered") else { continue };
                for (group, value) in part.key_groups().iter().zip(part.rows.column(0).as_primitive::<Int64Type>().values()) {
                    prop_assert!(range.contains(&group.0));
                    prop_assert_eq!(i64::from(group.0), *value);
                    seen.push(group.0);
                }
            }
            let mut expected = groups;
            expected.sort_unstable();
            seen.sort_unstable();
            prop_assert_eq!(seen, expected);
        }
    }
}
