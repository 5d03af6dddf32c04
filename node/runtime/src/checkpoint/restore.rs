//! Restores the subtasks of this node from a checkpoint.
//!
//! The checkpoint's operators, chains and exchanges have counterparts in the graph (`Matching`): an operator goes on from the
//! state of its identity, wherever it stood.
//!
//! A subtask owns the key groups of its slice, or all of them if its chain has one subtask. From every former instance of
//! its operators it takes the rows in the key groups that both own. An object may also hold rows of key groups that
//! the former subtask did not own; these are left out. Segments without an owned key group are not read, and neither
//! are batches that this node still holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    compute::{CastOptions, cast_with_options},
    datatypes::{Field, FieldRef, Schema},
};
use futures::{StreamExt, TryStreamExt, stream};
use thalweg_keyed_state::{FrozenState, KeyGroupSet, LEAST_WATERMARK, StateBatch, WATERMARK};
use thalweg_storage::{CheckpointStore, StorageError};
use thalweg_types::{
    ChainId, ChainPlan, Exchange, JobGraph, KeyGroup, KeyGroupTable, OperatorId, SplitId, SubtaskId, Watermark,
    bug::{self, Bug},
    checkpoint::{
        BatchRef, Manifest, ManifestRef, Matching, Names, OperatorSnapshot, RecordCounts, RecordedColumn, StateObject,
        SubtaskSnapshot, column_difference,
    },
    graph::{Distribution, Parallelism},
    seam::Spawner,
    session::Deployment,
};

use super::{load::Loader, local::LocalState};
use crate::failure::SubtaskError;

/// Subtasks that are restored at a time.
const SUBTASKS_MAX: usize = 16;

/// The state of one former instance of an operator, restricted to the key groups of the new subtask.
#[derive(Debug)]
pub(crate) struct FormerState {
    /// The key groups that both the former instance and the subtask own.
    pub(crate) groups: KeyGroupSet,
    pub(crate) state: FrozenState,
}

/// Batches that are in the store already, so that the next checkpoint can refer to them.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) batches: Vec<(StateBatch, BatchRef)>,
    pub(crate) objects: BTreeMap<String, StateObject>,
}

/// The restored state of the subtasks of this node.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    pub(crate) operators: BTreeMap<(OperatorId, u32), Vec<FormerState>>,
    /// Rows that a source had read and held back for replay.
    pub(crate) held: BTreeMap<(OperatorId, SplitId), Vec<RecordBatch>>,
    /// Rows that were in flight to a subtask, by exchange.
    pub(crate) in_flight: BTreeMap<SubtaskId, Vec<(u32, StateBatch)>>,
    pub(crate) known: BTreeMap<SubtaskId, Known>,
    pub(crate) counts: BTreeMap<SubtaskId, RecordCounts>,
    /// The highest watermark of any split of the job.
    pub(crate) reached: Option<Watermark>,
}

impl Restored {
    /// Adds the state of other subtasks.
    fn extend(&mut self, others: Self) {
        self.operators.extend(others.operators);
        self.held.extend(others.held);
        self.in_flight.extend(others.in_flight);
        self.known.extend(others.known);
        self.counts.extend(others.counts);
    }

    /// The batches that a subtask can refer to.
    pub(crate) fn take_known(&mut self, subtask: SubtaskId) -> Known {
        self.known.remove(&subtask).unwrap_or_default()
    }
}

/// Loads the part of a checkpoint that these subtasks need.
///
/// # Errors
/// If the manifest or an object cannot be read, or is corrupt, or no operator of the graph can go on from some state.
pub(crate) async fn restore(
    (store, local, compute): (&CheckpointStore, &LocalState, &Arc<dyn Spawner>),
    from: &ManifestRef,
    deployment: &Deployment,
    plan: &ChainPlan,
    subtasks: &[SubtaskId],
) -> Result<Restored, SubtaskError> {
    let manifest = store.get_manifest(from).await?;
    let former = Former::new(&manifest, manifest.matched(&deployment.graph, plan)?);
    let loader = Loader::new((store, local), manifest.job, compute.clone());
    let mut restored = Restored { reached: reached(&manifest), ..Restored::default() };
    let parts = subtasks.iter().map(|subtask| {
        let mut owned = owned_groups(plan, *subtask, &deployment.assignment.key_groups);
        if bug::is_active(Bug::ForgetKeyGroup) && owned.len() > 1 {
            owned.pop();
        }
        let parallelism = deployment.assignment.parallelism();
        let graph = &deployment.graph;
        Restoring { loader: &loader, from: &former, graph, plan, parallelism, subtask: *subtask }.restore(owned)
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
            let rows: Vec<RecordBatch> = read.map(|batch| batch.rows).collect();
            let rows = held_rows((&deployment.graph, hand.source), rows, &manifest)?;
            restored.held.insert((hand.source, progress.split.id.clone()), rows);
        }
    }
    Ok(restored)
}

/// A source is found by its table, and may read other columns of it than before.
fn held_rows(
    (graph, source): (&JobGraph, OperatorId),
    held: Vec<RecordBatch>,
    manifest: &Manifest,
) -> Result<Vec<RecordBatch>, SubtaskError> {
    let Some(spec) = graph.operator(source).kind.as_source() else { return Ok(held) };
    let rows = held.into_iter().map(|rows| adapted(rows, &spec.physical, Names::Compared));
    rows.collect::<Result<_, String>>().map_err(|difference| SubtaskError::OtherColumns {
        what: format!("of table {} that wait for the replay clock", spec.table),
        difference,
        release: manifest.writer(),
    })
}

/// Rows with the columns that they should have, or what they have otherwise. The record tells what values a type has, and not
/// how Arrow lays them out: that may differ between releases, so such columns are cast.
fn adapted(rows: RecordBatch, wanted: &Schema, names: Names) -> Result<RecordBatch, String> {
    if let Some(difference) = column_difference(&RecordedColumn::all(rows.schema_ref()), wanted, names) {
        return Err(difference);
    }
    for ((column, wanted), number) in rows.columns().iter().zip(wanted.fields()).zip(1..) {
        if column.null_count() > 0 && !wanted.is_nullable() {
            return Err(format!("column {number} ({}) holds NULL, which it may not there", wanted.name()));
        }
    }
    let is_laid_out = |(column, wanted): (&ArrayRef, &FieldRef)| column.data_type().equals_datatype(wanted.data_type());
    if rows.columns().iter().zip(wanted.fields()).all(is_laid_out) {
        return Ok(rows);
    }
    let fields = rows.schema_ref().fields().iter().zip(wanted.fields());
    let fields: Vec<Field> =
        fields.map(|(found, wanted)| found.as_ref().clone().with_data_type(wanted.data_type().clone())).collect();
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = rows.columns().iter().zip(wanted.fields()).map(|(column, wanted)| {
        cast_with_options(column, wanted.data_type(), &options)
            .map_err(|error| format!("column {} is laid out in another way: {error}", wanted.name()))
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>, String>>()?;
    let schema = Schema::new_with_metadata(fields, rows.schema_ref().metadata().clone());
    RecordBatch::try_new(Arc::new(schema), columns).map_err(|error| error.to_string())
}

fn reached(manifest: &Manifest) -> Option<Watermark> {
    let sources = manifest.subtasks.iter().filter_map(|snapshot| snapshot.source.as_ref());
    let watermarks = sources.flat_map(|source| source.splits.iter().map(|split| split.watermark));
    watermarks.filter(|watermark| *watermark > Watermark::MIN && !watermark.is_end()).max()
}

/// The lowest watermark of the instances that an operator had in the manifest, as a value of its state.
fn least_watermark(manifest: &Manifest, former: OperatorId) -> Option<(String, i64)> {
    let snapshots = manifest.subtasks.iter().flat_map(|subtask| &subtask.operators);
    let snapshots = snapshots.filter(|snapshot| snapshot.operator == former);
    let least = snapshots.filter_map(|snapshot| snapshot.values.get(WATERMARK)).min()?;
    Some((LEAST_WATERMARK.to_owned(), *least))
}

/// The key groups that a subtask owns.
pub(crate) fn owned_groups(plan: &ChainPlan, subtask: SubtaskId, table: &KeyGroupTable) -> Vec<KeyGroup> {
    let owners = table.owners().iter().zip(0..);
    match plan.chains[subtask.chain.0 as usize].parallelism {
        Parallelism::One => owners.map(|(_, group)| KeyGroup(group)).collect(),
        Parallelism::Job => {
            owners.filter(|(owner, _)| **owner == subtask.index).map(|(_, group)| KeyGroup(group)).collect()
        }
    }
}

/// What is restored, and where it belongs now.
struct Former<'a> {
    manifest: &'a Manifest,
    matching: Matching,
    /// Chains of several subtasks. The subtask of another chain owned all key groups.
    split: BTreeSet<ChainId>,
}

impl<'a> Former<'a> {
    fn new(manifest: &'a Manifest, matching: Matching) -> Self {
        let later = manifest.subtasks.iter().map(|former| former.subtask).filter(|subtask| subtask.index > 0);
        Self { manifest, matching, split: later.map(|subtask| subtask.chain).collect() }
    }

    /// The key groups that a subtask of the manifest owned.
    fn groups(&self, subtask: SubtaskId) -> KeyGroupSet {
        let is_single = !self.split.contains(&subtask.chain);
        let owners = self.manifest.key_groups.owners().iter().zip(0..);
        owners.filter(|(owner, _)| is_single || **owner == subtask.index).map(|(_, group)| KeyGroup(group)).collect()
    }
}

/// Restores one subtask.
struct Restoring<'a> {
    loader: &'a Loader<'a>,
    from: &'a Former<'a>,
    graph: &'a JobGraph,
    plan: &'a ChainPlan,
    parallelism: u32,
    subtask: SubtaskId,
}

impl Restoring<'_> {
    async fn restore(self, owned: Vec<KeyGroup>) -> Result<Restored, SubtaskError> {
        let (Self { from, plan, subtask, .. }, mut restored) = (&self, Restored::default());
        let Former { manifest, matching, .. } = from;
        let mut known = Known::default();
        for former in &manifest.subtasks {
            let states =
                || former.operators.iter().filter_map(|state| Some((state, self.counterpart(state.operator)?)));
            if states().next().is_none() && matching.chain(former.subtask.chain) != Some(subtask.chain) {
                continue;
            }
            let groups = from.groups(former.subtask);
            let common: Vec<KeyGroup> = owned.iter().copied().filter(|group| groups.contains(*group)).collect();
            if common.is_empty() {
                continue;
            }
            let common = Arc::new(common.into_iter().collect());
            for (state, operator) in states() {
                self.restore_operator((state, operator), &common, &mut restored, &mut known).await?;
            }
            known.objects.extend(former.objects.iter().map(|object| (object.name.clone(), object.clone())));
        }
        restored.known.insert(*subtask, known);
        // Counters belong to no key group: those of former subtasks are dealt out to the new ones in turn.
        let subtasks = plan.subtasks_of(subtask.chain, self.parallelism).max(1);
        let is_former = |former: &&SubtaskSnapshot| matching.chain(former.subtask.chain) == Some(subtask.chain);
        let former = manifest.subtasks.iter().filter(is_former);
        for former in former.filter(|former| former.subtask.index % subtasks == subtask.index) {
            *restored.counts.entry(*subtask).or_default() += former.counts;
        }
        self.restore_in_flight(owned.into_iter().collect(), &mut restored).await?;
        Ok(restored)
    }

    /// The operator of this subtask that goes on from the state of an operator of the manifest.
    fn counterpart(&self, former: OperatorId) -> Option<OperatorId> {
        let operator = self.from.matching.operator(former)?;
        self.plan.chains[self.subtask.chain.0 as usize].operators.contains(&operator).then_some(operator)
    }

    async fn restore_operator(
        &self,
        (former, operator): (&OperatorSnapshot, OperatorId),
        common: &Arc<KeyGroupSet>,
        restored: &mut Restored,
        known: &mut Known,
    ) -> Result<(), StorageError> {
        let mut state = FrozenState { values: former.values.clone(), ..FrozenState::default() };
        if bug::is_active(Bug::ForgetFired) {
            state.values.clear();
        }
        state.values.extend(least_watermark(self.from.manifest, former.operator));
        for (table, batches) in &former.tables {
            let read = self.loader.read_all(batches, common).await?;
            state.extend(table, read.iter().map(|(batch, _)| batch.clone()));
            known.batches.extend(read.into_iter().filter_map(|(batch, at)| Some((batch, at?))));
        }
        let former = FormerState { groups: common.as_ref().clone(), state };
        restored.operators.entry((operator, self.subtask.index)).or_default().push(former);
        Ok(())
    }

    /// Restores rows that were in flight to this chain. Rows of a keyed exchange go to the owner of their key group
    /// now, all others to one of the subtasks. Rows that had arrived come before those that had not left.
    async fn restore_in_flight(&self, owned: KeyGroupSet, restored: &mut Restored) -> Result<(), SubtaskError> {
        let (subtask, owned, Former { manifest, matching, .. }) = (self.subtask, Arc::new(owned), self.from);
        let has_arrived = |former: &&SubtaskSnapshot| matching.chain(former.subtask.chain) == Some(subtask.chain);
        let former = manifest.subtasks.iter();
        for former in former.clone().filter(has_arrived).chain(former.filter(|former| !has_arrived(former))) {
            for rows in &former.in_flight {
                let exchange = matching.exchange(rows.exchange).and_then(|now| self.plan.exchanges.get(now as usize));
                let Some(exchange) = exchange else { continue };
                let subtasks = self.plan.subtasks_of(subtask.chain, self.parallelism).max(1);
                let is_by_key = matches!(exchange.edge.distribution, Distribution::Hash { .. });
                if exchange.to != subtask.chain || (!is_by_key && rows.to % subtasks != subtask.index) {
                    continue;
                }
                let read: Vec<StateBatch> = match is_by_key {
                    true => {
                        let read = self.loader.read_all(&rows.batches, &owned).await?;
                        read.into_iter().map(|(batch, _)| batch).collect()
                    }
                    false => self.loader.read_all_whole(&rows.batches).await?,
                };
                let read = self.on_their_way(exchange, read)?.into_iter().map(|batch| (exchange.index, batch));
                restored.in_flight.entry(subtask).or_default().extend(read);
            }
        }
        Ok(())
    }

    /// Rows that were on their way, with the columns of their sender.
    fn on_their_way(&self, exchange: &Exchange, read: Vec<StateBatch>) -> Result<Vec<StateBatch>, SubtaskError> {
        let (from, to) = (self.graph.operator(exchange.edge.from), self.graph.operator(exchange.edge.to));
        // The manifest's names were compared before.
        let adapt = |mut batch: StateBatch| {
            batch.rows = adapted(batch.rows, &from.output, Names::Ignored)?;
            Ok(batch)
        };
        read.into_iter().map(adapt).collect::<Result<_, String>>().map_err(|difference| SubtaskError::OtherColumns {
            what: format!("on their way from {} to port {} of {}", from.name, exchange.edge.port, to.name),
            difference,
            release: self.from.manifest.writer(),
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{Int64Array, StringArray, StringViewArray},
        datatypes::DataType,
    };

    use super::*;

    #[test]
    fn rows_that_are_laid_out_in_another_way_are_cast() {
        let texts = || Arc::new(StringArray::from(vec![Some("a"), None])) as ArrayRef;
        let numbers = || Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
        let rows = RecordBatch::try_from_iter([("t", texts()), ("n", numbers())]).unwrap();
        let wanted = |data_type, nullable| {
            Schema::new(vec![Field::new("text", data_type, nullable), Field::new("number", DataType::Int64, true)])
        };
        assert_eq!(adapted(rows.clone(), &wanted(DataType::Utf8, true), Names::Ignored).as_ref(), Ok(&rows));
        let cast = adapted(rows.clone(), &wanted(DataType::Utf8View, true), Names::Ignored).unwrap();
        assert_eq!(cast.schema().field(0).name(), "t", "names are the sender's");
        assert_eq!(cast.column(0).as_ref(), &StringViewArray::from(vec![Some("a"), None]) as &dyn Array);
        assert_eq!(cast.column(1), &numbers());
        let told = adapted(rows.clone(), &wanted(DataType::Utf8View, false), Names::Ignored).unwrap_err();
        assert_eq!(told, "column 1 (text) holds NULL, which it may not there");
        let told = adapted(rows, &wanted(DataType::Utf8View, true), Names::Compared).unwrap_err();
        assert_eq!(told, "column 1 of the rows is t (text), and there text (text)");
    }
}
