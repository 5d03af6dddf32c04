//! State by key group: what an operator hands over when it is frozen and takes back when it is restored.
//!
//! ```text
//! operator --freeze--> FrozenState (shared, immutable) --upload, by key group--> object store
//! operator <--restore-- FrozenStates of every former instance, restricted to the key groups it owns now
//! ```
//!
//! A frozen state is the whole state, as a list of batches that never change. A batch that an operator hands over again at the
//! next freeze has the same `BatchId`: what a checkpoint must upload is what the last one did not have, and what the list no
//! longer holds is deleted. So a checkpoint is its list, and restoring needs no replay: the batches that the list names,
//! wherever they were uploaded, are the state.
//!
//! Rows that no longer count may still be in a batch that is kept for its other rows. The operator tells them by the values that
//! are frozen with the rows (up to where its windows have fired), so a list must be restored with the values of its own freeze.

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

/// So many batches in a row are one from then on, unless the first outweighs the others.
const RUN: usize = 8;

/// The value that says how far an instance's watermark had come.
pub const WATERMARK: &str = "watermark";
/// The least `WATERMARK` of all former instances of an operator, whoever takes over their key groups: each restored state has it
/// where they had one.
pub const LEAST_WATERMARK: &str = "watermark.least";

/// The state of one operator instance at one moment, as immutable batches.
#[derive(Debug, Clone, Default)]
pub struct FrozenState {
    /// Rows by table name.
    pub tables: BTreeMap<String, Vec<StateBatch>>,
    /// Values that belong to the instance as a whole, such as its watermark.
    pub values: BTreeMap<String, i64>,
}

/// Rows of state with the key group of each.
#[derive(Clone)]
pub struct StateBatch {
    key_groups: Arc<RowGroups>,
    /// The rows.
    pub rows: RecordBatch,
}

/// Found out when they are first asked for.
type RowGroups = LazyLock<Arc<[KeyGroup]>, Box<dyn FnOnce() -> Arc<[KeyGroup]> + Send>>;

/// Names a batch for as long as this value lives: no other batch of the process has it meanwhile. Keeps the rows of none alive.
#[derive(Debug, Clone)]
pub struct BatchId(Weak<RowGroups>);

/// A set of key groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyGroupSet {
    /// Whether a group is in, by its number; what is beyond the end is not.
    members: Vec<bool>,
}

impl FrozenState {
    /// The batches of a table; none where there is no such table.
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

    /// Adds batches to a table; a table without batches is not there.
    pub fn extend(&mut self, table: &str, batches: impl IntoIterator<Item = StateBatch>) {
        let mut batches = batches.into_iter().peekable();
        if batches.peek().is_some() {
            self.tables.entry(table.to_owned()).or_default().extend(batches);
        }
    }
}

impl StateBatch {
    /// Rows with their key groups, of which there must be as many.
    #[must_use]
    pub fn new(key_groups: Arc<[KeyGroup]>, rows: RecordBatch) -> Self {
        assert_eq!(key_groups.len(), rows.num_rows(), "a key group per row");
        Self::lazy(rows, move || key_groups)
    }

    /// Rows whose key groups, as many as rows, are found out when they are first asked for: by whoever uploads them, beside the
    /// record path.
    #[must_use]
    pub fn lazy(rows: RecordBatch, find: impl FnOnce() -> Arc<[KeyGroup]> + Send + 'static) -> Self {
        Self { key_groups: Arc::new(LazyLock::new(Box::new(find))), rows }
    }

    /// The key group of each row.
    ///
    /// # Panics
    /// When they are found not to be as many as rows.
    #[must_use]
    pub fn key_groups(&self) -> &[KeyGroup] {
        let key_groups = LazyLock::force(&self.key_groups);
        assert_eq!(key_groups.len(), self.rows.num_rows(), "a key group per row");
        key_groups
    }

    /// Makes one batch of the last ones where they are many and take no more than so many bytes together. Says how many bytes they
    /// took, and how many it takes. So whoever adds batches one by one has few small ones, and a row is copied a logarithm of
    /// their number of times. `remake` makes a batch of their rows: one that knew the groups of the former batches would keep these.
    ///
    /// # Errors
    /// When they have not the same columns.
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

    /// What names this batch: the same for a clone, and so for a batch that is handed over again.
    #[must_use]
    pub fn id(&self) -> BatchId {
        BatchId(Arc::downgrade(&self.key_groups))
    }

    /// Whether this is the same batch as another, handed over again.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.key_groups, &other.key_groups)
    }

    /// The rows of the owned key groups, the same batch where all are; `None` where there are none.
    ///
    /// # Errors
    /// When the rows are of a type that arrow cannot filter.
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
