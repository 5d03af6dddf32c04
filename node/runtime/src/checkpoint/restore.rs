//! From a checkpoint to the states that the subtasks of this node take over.
//!
//! A subtask owns the key groups of its slice (all of them where its chain has one subtask), and takes from every former
//! subtask of its chain what lies in both ones' groups: rows that a former subtask did not own may lie in an object that it
//! refers to, and do not count. Segments without an owned group are not read. What this node still holds is not read either.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::{array::RecordBatch, compute::concat_batches};
use futures::{StreamExt, TryStreamExt, stream};
use thalweg_keyed_state::{FrozenState, KeyGroupSet, StateBatch};
use thalweg_storage::{CheckpointStore, StateReader, StateRows, StorageError};
use thalweg_types::{
    ChainPlan, JobId, KeyGroup, KeyGroupTable, OperatorId, SplitId, SubtaskId, Watermark,
    checkpoint::{BatchRef, Manifest, ManifestRef, StateObject, SubtaskSnapshot},
    graph::Parallelism,
    session::Deployment,
};
use tokio::sync::Mutex;

use super::local::LocalState;

/// Reads from the store at a time: enough to hide its latency, few enough to bound what is decoded at once.
const READS_MAX: usize = 8;

/// The states of one operator's former instances, restricted to what a subtask owns.
pub(crate) type OperatorStates = Vec<FrozenState>;

/// Batches that lie in the store, for the next checkpoint to refer to.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) batches: Vec<(StateBatch, BatchRef)>,
    pub(crate) objects: BTreeMap<String, StateObject>,
}

/// What the subtasks of this node begin with.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    pub(crate) operators: BTreeMap<(OperatorId, u32), OperatorStates>,
    /// Rows that a source had read and held back.
    pub(crate) held: BTreeMap<(OperatorId, SplitId), Vec<RecordBatch>>,
    /// Rows that were on their way to a subtask, by exchange.
    pub(crate) in_flight: BTreeMap<SubtaskId, Vec<(u32, RecordBatch)>>,
    pub(crate) known: BTreeMap<SubtaskId, Known>,
    /// The furthest that any split of the job had come.
    pub(crate) reached: Option<Watermark>,
}

impl Restored {
    /// What a subtask can refer to again.
    pub(crate) fn take_known(&mut self, subtask: SubtaskId) -> Known {
        self.known.remove(&subtask).unwrap_or_default()
    }
}

/// Loads what these subtasks need of a checkpoint.
///
/// # Errors
/// When the manifest or an object cannot be read, or is not what it should be.
pub(crate) async fn restore(
    (store, local): (&CheckpointStore, &LocalState),
    from: &ManifestRef,
    deployment: &Deployment,
    plan: &ChainPlan,
    subtasks: &[SubtaskId],
) -> Result<Restored, StorageError> {
    let manifest = store.get_manifest(from).await?;
    let loader = Loader { store, local, job: manifest.job, readers: Mutex::default() };
    let mut restored = Restored { reached: reached(&manifest), ..Restored::default() };
    for subtask in subtasks {
        let owned = owned_groups(plan, *subtask, &deployment.assignment.key_groups);
        loader.restore_subtask(&manifest, plan, (*subtask, &owned), &mut restored).await?;
    }
    let dealt = deployment.splits.iter().filter(|hand| {
        let is_local = |subtask: &SubtaskId| {
            subtask.index == hand.subtask && plan.chains[subtask.chain.0 as usize].operators.contains(&hand.source)
        };
        subtasks.iter().any(is_local)
    });
    for hand in dealt {
        for progress in hand.splits.iter().filter(|progress| !progress.held.is_empty()) {
            let mut rows = Vec::new();
            for batch in &progress.held {
                rows.extend(loader.read_whole(batch).await?.map(|batch| batch.rows));
            }
            restored.held.insert((hand.source, progress.split.id.clone()), rows);
        }
    }
    Ok(restored)
}

fn reached(manifest: &Manifest) -> Option<Watermark> {
    let sources = manifest.subtasks.iter().filter_map(|snapshot| snapshot.source.as_ref());
    let watermarks = sources.flat_map(|source| source.splits.iter().map(|split| split.watermark));
    watermarks.filter(|watermark| *watermark > Watermark::MIN && !watermark.is_end()).max()
}

/// The key groups of a subtask.
pub(crate) fn owned_groups(plan: &ChainPlan, subtask: SubtaskId, table: &KeyGroupTable) -> Vec<KeyGroup> {
    let owners = table.owners().iter().zip(0..);
    match plan.chains[subtask.chain.0 as usize].parallelism {
        Parallelism::One => owners.map(|(_, group)| KeyGroup(group)).collect(),
        Parallelism::Job => {
            owners.filter(|(owner, _)| **owner == subtask.index).map(|(_, group)| KeyGroup(group)).collect()
        }
    }
}

/// Reads batches, from here or from the store.
struct Loader<'a> {
    store: &'a CheckpointStore,
    local: &'a LocalState,
    job: JobId,
    /// Objects whose index was read.
    readers: Mutex<HashMap<String, Arc<StateReader>>>,
}

impl Loader<'_> {
    async fn restore_subtask(
        &self,
        manifest: &Manifest,
        plan: &ChainPlan,
        (subtask, owned): (SubtaskId, &[KeyGroup]),
        restored: &mut Restored,
    ) -> Result<(), StorageError> {
        let mut known = Known::default();
        for former in manifest.subtasks.iter().filter(|former| former.subtask.chain == subtask.chain) {
            let former_groups = owned_groups(plan, former.subtask, &manifest.key_groups);
            let former_groups: KeyGroupSet = former_groups.into_iter().collect();
            let common: Vec<KeyGroup> = owned.iter().copied().filter(|group| former_groups.contains(*group)).collect();
            if common.is_empty() {
                continue;
            }
            let common: KeyGroupSet = common.into_iter().collect();
            self.restore_operators(former, (subtask, &common), restored, &mut known).await?;
            self.restore_in_flight(former, (subtask, &common), restored).await?;
            known.objects.extend(former.objects.iter().map(|object| (object.name.clone(), object.clone())));
        }
        restored.known.insert(subtask, known);
        Ok(())
    }

    async fn restore_operators(
        &self,
        former: &SubtaskSnapshot,
        (subtask, common): (SubtaskId, &KeyGroupSet),
        restored: &mut Restored,
        known: &mut Known,
    ) -> Result<(), StorageError> {
        for operator in &former.operators {
            let mut state = FrozenState { values: operator.values.clone(), ..FrozenState::default() };
            for (table, batches) in &operator.tables {
                let reads = stream::iter(batches).map(|batch| self.read_owned(batch, common)).buffered(READS_MAX);
                let read: Vec<Option<(StateBatch, BatchRef)>> = reads.try_collect().await?;
                let read: Vec<(StateBatch, BatchRef)> = read.into_iter().flatten().collect();
                state.extend(table, read.iter().map(|(batch, _)| batch.clone()));
                known.batches.extend(read);
            }
            restored.operators.entry((operator.operator, subtask.index)).or_default().push(state);
        }
        Ok(())
    }

    async fn restore_in_flight(
        &self,
        former: &SubtaskSnapshot,
        (subtask, common): (SubtaskId, &KeyGroupSet),
        restored: &mut Restored,
    ) -> Result<(), StorageError> {
        for rows in &former.in_flight {
            let reads = stream::iter(&rows.batches).map(|batch| self.read_owned(batch, common)).buffered(READS_MAX);
            let read: Vec<Option<(StateBatch, BatchRef)>> = reads.try_collect().await?;
            let read = read.into_iter().flatten().map(|(batch, _)| (rows.exchange, batch.rows));
            restored.in_flight.entry(subtask).or_default().extend(read);
        }
        Ok(())
    }

    /// The rows of a batch that lie in some key groups, and where they lie.
    async fn read_owned(
        &self,
        batch: &BatchRef,
        groups: &KeyGroupSet,
    ) -> Result<Option<(StateBatch, BatchRef)>, StorageError> {
        let (whole, at) = match self.local.find(self.job, batch) {
            Some(held) => (Some(held), batch.clone()),
            None => {
                let reader = self.reader(&batch.object).await?;
                let at = BatchRef { object: batch.object.clone(), segments: wanted(&reader, batch, groups) };
                (read(&reader, &at.segments, &at.object).await?, at)
            }
        };
        let Some(whole) = whole else { return Ok(None) };
        let part = whole.restricted_to(groups).map_err(|error| StorageError::Corrupt {
            object: batch.object.clone(),
            reason: format!("its rows cannot be restricted to key groups: {error}"),
        })?;
        Ok(part.map(|part| (part, at)))
    }

    async fn read_whole(&self, batch: &BatchRef) -> Result<Option<StateBatch>, StorageError> {
        let reader = self.reader(&batch.object).await?;
        read(&reader, &batch.segments, &batch.object).await
    }

    async fn reader(&self, object: &str) -> Result<Arc<StateReader>, StorageError> {
        // Held over the read of the index, so that each is read once.
        let mut readers = self.readers.lock().await;
        if let Some(reader) = readers.get(object) {
            return Ok(reader.clone());
        }
        let reader = Arc::new(self.store.open_state(object).await?);
        readers.insert(object.to_owned(), reader.clone());
        Ok(reader)
    }
}

/// The segments of a batch that may hold rows of some key groups.
fn wanted(reader: &StateReader, batch: &BatchRef, groups: &KeyGroupSet) -> Vec<u32> {
    let is_wanted = |segment: &u32| {
        // One that is not there is asked for, and found missing.
        let entry = usize::try_from(*segment).ok().and_then(|at| reader.entries().get(at));
        entry.is_none_or(|entry| {
            (entry.key_group_min..=entry.key_group_max).any(|group| groups.contains(KeyGroup(group)))
        })
    };
    batch.segments.iter().copied().filter(is_wanted).collect()
}

async fn read(reader: &StateReader, segments: &[u32], object: &str) -> Result<Option<StateBatch>, StorageError> {
    let mut parts: Vec<StateRows> = reader.read_all(segments).await?;
    match parts.len() {
        0 => Ok(None),
        1 => Ok(parts.pop().map(|part| StateBatch::new(part.key_groups, part.rows))),
        _ => {
            let key_groups = parts.iter().flat_map(|part| part.key_groups.iter().copied()).collect();
            let schema = parts[0].rows.schema();
            let rows = concat_batches(&schema, parts.iter().map(|part| &part.rows));
            let rows = rows.map_err(|error| StorageError::Corrupt {
                object: object.to_owned(),
                reason: format!("its segments cannot be put together: {error}"),
            })?;
            Ok(Some(StateBatch::new(key_groups, rows)))
        }
    }
}
