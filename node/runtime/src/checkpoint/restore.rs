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
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use thalweg_keyed_state::{FrozenState, KeyGroupSet, StateBatch};
use thalweg_storage::{CheckpointStore, StateReader, StateRows, StorageError};
use thalweg_types::{
    ChainPlan, JobId, KeyGroup, KeyGroupTable, OperatorId, SplitId, SubtaskId, Watermark,
    bug::{self, Bug},
    checkpoint::{BatchRef, Manifest, ManifestRef, RecordCounts, StateObject, SubtaskSnapshot},
    graph::{Distribution, Parallelism},
    session::Deployment,
};
use tokio::sync::Mutex;

use super::local::LocalState;

/// Reads from the store at a time: enough to hide its latency, few enough to bound what is decoded at once.
const READS_MAX: usize = 8;

/// The state of one of an operator's former instances, restricted to what a subtask owns.
#[derive(Debug)]
pub(crate) struct FormerState {
    /// What the former instance owned of what the subtask owns.
    pub(crate) groups: KeyGroupSet,
    pub(crate) state: FrozenState,
}

/// Batches that lie in the store, for the next checkpoint to refer to.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) batches: Vec<(StateBatch, BatchRef)>,
    pub(crate) objects: BTreeMap<String, StateObject>,
}

/// What the subtasks of this node begin with.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    pub(crate) operators: BTreeMap<(OperatorId, u32), Vec<FormerState>>,
    /// Rows that a source had read and held back.
    pub(crate) held: BTreeMap<(OperatorId, SplitId), Vec<RecordBatch>>,
    /// Rows that were on their way to a subtask, by exchange.
    pub(crate) in_flight: BTreeMap<SubtaskId, Vec<(u32, StateBatch)>>,
    pub(crate) known: BTreeMap<SubtaskId, Known>,
    pub(crate) counts: BTreeMap<SubtaskId, RecordCounts>,
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
        let mut owned = owned_groups(plan, *subtask, &deployment.assignment.key_groups);
        if bug::is_active(Bug::ForgetKeyGroup) && owned.len() > 1 {
            owned.pop();
        }
        let parallelism = deployment.assignment.parallelism();
        loader.restore_subtask(&manifest, (plan, parallelism), (*subtask, &owned), &mut restored).await?;
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
        (plan, parallelism): (&ChainPlan, u32),
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
            known.objects.extend(former.objects.iter().map(|object| (object.name.clone(), object.clone())));
        }
        restored.known.insert(subtask, known);
        // Counts are of records, which no key group has: those of subtasks that are no more go to others in turn.
        let subtasks = plan.subtasks_of(subtask.chain, parallelism).max(1);
        let former = manifest.subtasks.iter().filter(|former| former.subtask.chain == subtask.chain);
        for former in former.filter(|former| former.subtask.index % subtasks == subtask.index) {
            *restored.counts.entry(subtask).or_default() += former.counts;
        }
        let owned = owned.iter().copied().collect();
        self.restore_in_flight(manifest, (plan, parallelism), (subtask, &owned), restored).await
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
            if bug::is_active(Bug::ForgetFired) {
                state.values.clear();
            }
            for (table, batches) in &operator.tables {
                let read = self.read_all(batches, common).await?;
                state.extend(table, read.iter().map(|(batch, _)| batch.clone()));
                known.batches.extend(read.into_iter().filter_map(|(batch, at)| Some((batch, at?))));
            }
            let former = FormerState { groups: common.clone(), state };
            restored.operators.entry((operator.operator, subtask.index)).or_default().push(former);
        }
        Ok(())
    }

    /// What was on its way to a chain goes to whoever owns its keys now; where there are none, to one of its subtasks. What had
    /// arrived comes before what had not left.
    async fn restore_in_flight(
        &self,
        manifest: &Manifest,
        (plan, parallelism): (&ChainPlan, u32),
        (subtask, owned): (SubtaskId, &KeyGroupSet),
        restored: &mut Restored,
    ) -> Result<(), StorageError> {
        let has_arrived = |former: &&SubtaskSnapshot| former.subtask.chain == subtask.chain;
        let former = manifest.subtasks.iter();
        for former in former.clone().filter(has_arrived).chain(former.filter(|former| !has_arrived(former))) {
            for rows in &former.in_flight {
                let Some(exchange) = plan.exchanges.get(rows.exchange as usize) else { continue };
                let subtasks = plan.subtasks_of(subtask.chain, parallelism).max(1);
                let is_by_key = matches!(exchange.edge.distribution, Distribution::Hash { .. });
                if exchange.to != subtask.chain || (!is_by_key && rows.to % subtasks != subtask.index) {
                    continue;
                }
                let read = match is_by_key {
                    true => self.read_all(&rows.batches, owned).await?.into_iter().map(|(batch, _)| batch).collect(),
                    false => self.read_all_whole(&rows.batches).await?,
                };
                let read = read.into_iter().map(|batch| (rows.exchange, batch));
                restored.in_flight.entry(subtask).or_default().extend(read);
            }
        }
        Ok(())
    }

    async fn read_all_whole(&self, batches: &[BatchRef]) -> Result<Vec<StateBatch>, StorageError> {
        let mut read = Vec::with_capacity(batches.len());
        for batch in batches {
            read.extend(self.read_whole(batch).await?);
        }
        Ok(read)
    }

    async fn read_all(
        &self,
        batches: &[BatchRef],
        groups: &KeyGroupSet,
    ) -> Result<Vec<(StateBatch, Option<BatchRef>)>, StorageError> {
        let reads: Vec<_> = batches.iter().map(|batch| self.read_owned(batch, groups).boxed()).collect();
        let read: Vec<Option<_>> = stream::iter(reads).buffered(READS_MAX).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    /// The rows of a batch that lie in some key groups, and where they lie: nowhere, if other rows lie there as well. Were such
    /// a part known by the place of the whole, two parts that come together again would each be taken for the whole.
    async fn read_owned(
        &self,
        batch: &BatchRef,
        groups: &KeyGroupSet,
    ) -> Result<Option<(StateBatch, Option<BatchRef>)>, StorageError> {
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
        let is_whole = |part: &StateBatch| part.rows.num_rows() == whole.rows.num_rows();
        Ok(part.map(|part| if is_whole(&part) { (part, Some(at)) } else { (part, None) }))
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
        entry.is_none_or(|entry| (entry.lowest.0..=entry.highest.0).any(|group| groups.contains(KeyGroup(group))))
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
