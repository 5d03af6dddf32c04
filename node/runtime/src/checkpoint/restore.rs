//! From a checkpoint to the states that the subtasks of this node take over.
//!
//! A subtask owns the key groups of its slice (all of them where its chain has one subtask), and takes from every former
//! subtask of its chain what lies in both ones' groups: rows that a former subtask did not own may lie in an object that it
//! refers to, and do not count. Segments without an owned group are not read. What this node still holds is not read either.

use std::{collections::BTreeMap, pin::pin, sync::Arc};

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use thalweg_keyed_state::{FrozenState, KeyGroupSet, LEAST_WATERMARK, StateBatch, WATERMARK};
use thalweg_storage::{CheckpointStore, StorageError};
use thalweg_types::{
    ChainId, ChainPlan, KeyGroup, KeyGroupTable, OperatorId, SplitId, SubtaskId, Watermark,
    bug::{self, Bug},
    checkpoint::{BatchRef, Manifest, ManifestRef, RecordCounts, StateObject, SubtaskSnapshot},
    graph::{Distribution, Parallelism},
    seam::Spawner,
    session::Deployment,
};

use super::{load::Loader, local::LocalState};

/// Subtasks that are restored side by side.
const SUBTASKS_MAX: usize = 16;

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
    /// Adds what other subtasks begin with.
    fn extend(&mut self, others: Self) {
        self.operators.extend(others.operators);
        self.held.extend(others.held);
        self.in_flight.extend(others.in_flight);
        self.known.extend(others.known);
        self.counts.extend(others.counts);
    }

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
    (store, local, compute): (&CheckpointStore, &LocalState, &Arc<dyn Spawner>),
    from: &ManifestRef,
    deployment: &Deployment,
    plan: &ChainPlan,
    subtasks: &[SubtaskId],
) -> Result<Restored, StorageError> {
    let manifest = store.get_manifest(from).await?;
    let loader = Loader::new((store, local), manifest.job, compute.clone());
    let mut restored = Restored { reached: reached(&manifest), ..Restored::default() };
    let parts = subtasks.iter().map(|subtask| {
        let mut owned = owned_groups(plan, *subtask, &deployment.assignment.key_groups);
        if bug::is_active(Bug::ForgetKeyGroup) && owned.len() > 1 {
            owned.pop();
        }
        let parallelism = deployment.assignment.parallelism();
        Restoring { loader: &loader, manifest: &manifest, plan, parallelism, subtask: *subtask }.restore(owned)
    });
    let mut parts = pin!(stream::iter(parts.collect::<Vec<_>>()).buffered(SUBTASKS_MAX));
    while let Some(part) = parts.try_next().await? {
        restored.extend(part);
    }
    let dealt = deployment.splits.iter().filter(|hand| {
        let is_local = |subtask: &SubtaskId| {
            subtask.index == hand.subtask && plan.chains[subtask.chain.0 as usize].operators.contains(&hand.source)
        };
        subtasks.iter().any(is_local)
    });
    for hand in dealt {
        for progress in hand.splits.iter().filter(|progress| !progress.held.is_empty()) {
            let read = loader.read_all_whole(&progress.held).await?.into_iter();
            let rows = read.map(|batch| batch.rows).collect();
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

/// How far all former instances of an operator had come, as a value of its state.
fn least_watermark(manifest: &Manifest, chain: ChainId, operator: OperatorId) -> Option<(String, i64)> {
    let former = manifest.subtasks.iter().filter(|former| former.subtask.chain == chain);
    let snapshots = former.flat_map(|former| &former.operators).filter(|snapshot| snapshot.operator == operator);
    let least = snapshots.filter_map(|snapshot| snapshot.values.get(WATERMARK)).min()?;
    Some((LEAST_WATERMARK.to_owned(), *least))
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

/// What one subtask begins with, on its way.
struct Restoring<'a> {
    loader: &'a Loader<'a>,
    manifest: &'a Manifest,
    plan: &'a ChainPlan,
    parallelism: u32,
    subtask: SubtaskId,
}

impl Restoring<'_> {
    async fn restore(self, owned: Vec<KeyGroup>) -> Result<Restored, StorageError> {
        let (Self { manifest, plan, subtask, .. }, mut restored) = (&self, Restored::default());
        let mut known = Known::default();
        for former in manifest.subtasks.iter().filter(|former| former.subtask.chain == subtask.chain) {
            let former_groups = owned_groups(plan, former.subtask, &manifest.key_groups);
            let former_groups: KeyGroupSet = former_groups.into_iter().collect();
            let common: Vec<KeyGroup> = owned.iter().copied().filter(|group| former_groups.contains(*group)).collect();
            if common.is_empty() {
                continue;
            }
            self.restore_operators(former, common.into_iter().collect(), &mut restored, &mut known).await?;
            known.objects.extend(former.objects.iter().map(|object| (object.name.clone(), object.clone())));
        }
        restored.known.insert(*subtask, known);
        // Counts are of records, which no key group has: those of subtasks that are no more go to others in turn.
        let subtasks = plan.subtasks_of(subtask.chain, self.parallelism).max(1);
        let former = manifest.subtasks.iter().filter(|former| former.subtask.chain == subtask.chain);
        for former in former.filter(|former| former.subtask.index % subtasks == subtask.index) {
            *restored.counts.entry(*subtask).or_default() += former.counts;
        }
        self.restore_in_flight(owned.into_iter().collect(), &mut restored).await?;
        Ok(restored)
    }

    async fn restore_operators(
        &self,
        former: &SubtaskSnapshot,
        common: KeyGroupSet,
        restored: &mut Restored,
        known: &mut Known,
    ) -> Result<(), StorageError> {
        let common = Arc::new(common);
        for operator in &former.operators {
            let mut state = FrozenState { values: operator.values.clone(), ..FrozenState::default() };
            if bug::is_active(Bug::ForgetFired) {
                state.values.clear();
            }
            state.values.extend(least_watermark(self.manifest, former.subtask.chain, operator.operator));
            for (table, batches) in &operator.tables {
                let read = self.loader.read_all(batches, &common).await?;
                state.extend(table, read.iter().map(|(batch, _)| batch.clone()));
                known.batches.extend(read.into_iter().filter_map(|(batch, at)| Some((batch, at?))));
            }
            let former = FormerState { groups: common.as_ref().clone(), state };
            restored.operators.entry((operator.operator, self.subtask.index)).or_default().push(former);
        }
        Ok(())
    }

    /// What was on its way to a chain goes to whoever owns its keys now; where there are none, to one of its subtasks. What had
    /// arrived comes before what had not left.
    async fn restore_in_flight(&self, owned: KeyGroupSet, restored: &mut Restored) -> Result<(), StorageError> {
        let (subtask, owned) = (self.subtask, Arc::new(owned));
        let has_arrived = |former: &&SubtaskSnapshot| former.subtask.chain == subtask.chain;
        let former = self.manifest.subtasks.iter();
        for former in former.clone().filter(has_arrived).chain(former.filter(|former| !has_arrived(former))) {
            for rows in &former.in_flight {
                let Some(exchange) = self.plan.exchanges.get(rows.exchange as usize) else { continue };
                let subtasks = self.plan.subtasks_of(subtask.chain, self.parallelism).max(1);
                let is_by_key = matches!(exchange.edge.distribution, Distribution::Hash { .. });
                if exchange.to != subtask.chain || (!is_by_key && rows.to % subtasks != subtask.index) {
                    continue;
                }
                let read = match is_by_key {
                    true => {
                        let read = self.loader.read_all(&rows.batches, &owned).await?;
                        read.into_iter().map(|(batch, _)| batch).collect()
                    }
                    false => self.loader.read_all_whole(&rows.batches).await?,
                };
                let read = read.into_iter().map(|batch| (rows.exchange, batch));
                restored.in_flight.entry(subtask).or_default().extend(read);
            }
        }
        Ok(())
    }
}
