//! Makes what a subtask froze durable, beside its actor, and tells what the snapshot consists of.
//!
//! ```text
//! Upload::Snapshot(frozen) -> sealings done -> new batches into one state object -> put -> AttemptEvent::Snapshot
//!                                                                                   '-> it failed: SnapshotFailed, the subtask runs on
//! Upload::End(sealings)    -> sealings done -> AttemptEvent::Finished
//! ```
//!
//! A sealing that fails fails the subtask: rows that are written and not durable cannot be had again from here. Snapshots are
//! worked on in their order; one that was aborted meanwhile only has its sealings done.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use arrow::array::RecordBatch;
use futures::future::try_join_all;
use thalweg_connectors::Sealing;
use thalweg_exchange::OvertakenRows;
use thalweg_flow::key_groups_of;
use thalweg_keyed_state::{BatchId, FrozenState, StateBatch};
use thalweg_storage::{CheckpointStore, SEGMENT_BYTES, StateFileBuilder, StorageError, names};
use thalweg_types::{
    Attempt, ChainPlan, CheckpointId, ClusterId, Exchange, JobId, KeyGroup, OperatorId, SubtaskId,
    bug::{self, Bug},
    checkpoint::{
        BatchRef, InFlightRows, OperatorSnapshot, Prepared, RecordCounts, SnapshotCost, SourceSnapshot, SplitProgress,
        StateObject, SubtaskSnapshot, ToldSnapshot,
    },
    graph::Distribution,
    job::Failure,
    seam::Spawner,
    session::{SinkCommittables, SubtaskState},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{local::LocalState, restore::Known};
use crate::{attempt::AttemptEvent, attempt::AttemptOrders, failure::SubtaskError, meter::Meter};

/// Snapshots that wait for the uploader. A leader has one checkpoint in progress, and begins the next when it has given that
/// up; the subtask waits where more pile up.
const UPLOADS_MAX: usize = 4;
/// The name under which a source's held rows lie in a state object.
const HELD: &str = "held";
/// The name under which rows on their way lie in a state object.
const IN_FLIGHT: &str = "in-flight";

/// What a sink or a writer of set-aside records is making durable.
pub(crate) struct Sealed {
    /// Whose it is.
    pub(crate) operator: OperatorId,
    /// The table, or what is written.
    pub(crate) name: String,
    pub(crate) sealing: Sealing,
}

impl Sealed {
    async fn finish(self, subtask: u32) -> Result<SinkCommittables, SubtaskError> {
        let Self { operator, name, sealing } = self;
        let committables = sealing.await.map_err(|source| SubtaskError::Connector { table: name, source })?;
        Ok(SinkCommittables { sink: operator, subtask, committables })
    }
}

/// A source's splits as of a barrier, each with the rows that it still holds back.
pub(crate) struct FrozenSource {
    pub(crate) source: OperatorId,
    pub(crate) splits: Vec<(SplitProgress, Option<RecordBatch>)>,
}

/// Rows of one exchange that a barrier overtook.
pub(crate) struct Overtaken {
    pub(crate) exchange: u32,
    /// The index of the subtask that they were for.
    pub(crate) to: u32,
    pub(crate) rows: OvertakenBatch,
}

pub(crate) enum OvertakenBatch {
    /// They had not left.
    Pending(RecordBatch),
    /// They were on their way.
    Arrived(OvertakenRows),
}

/// All that a subtask gives to a checkpoint.
pub(crate) struct Frozen {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) is_finished: bool,
    pub(crate) operators: Vec<(OperatorId, FrozenState)>,
    pub(crate) source: Option<FrozenSource>,
    /// Rows that the barrier overtook, in their order by channel.
    pub(crate) in_flight: Vec<Overtaken>,
    pub(crate) sealed: Vec<Sealed>,
    pub(crate) counts: RecordCounts,
    pub(crate) alignment: Duration,
    pub(crate) freeze: Duration,
    pub(crate) is_unaligned: bool,
}

/// Work for the uploader.
pub(crate) enum Upload {
    Snapshot(Box<Frozen>),
    /// All input is processed.
    End(Vec<Sealed>),
}

/// The actor's end of its uploader.
#[derive(Debug, Clone)]
pub(crate) struct Uploads {
    queue: mpsc::Sender<Upload>,
    events: mpsc::Sender<AttemptEvent>,
    /// A checkpoint was asked for, and none has come since.
    wants: Arc<AtomicBool>,
}

impl Uploads {
    /// A queue and its two ends.
    pub(crate) fn channel(events: mpsc::Sender<AttemptEvent>) -> (Self, mpsc::Receiver<Upload>) {
        let (queue, received) = mpsc::channel(UPLOADS_MAX);
        (Self { queue, events, wants: Arc::default() }, received)
    }

    /// Hands work over. An uploader that is gone has failed the attempt or was cancelled with it.
    pub(crate) async fn hand_over(&self, upload: Upload) {
        self.wants.store(false, Relaxed);
        let _ = self.queue.send(upload).await;
    }

    /// Asks for a checkpoint soon, once until one comes. Where the events are many, it is asked again with the next rows.
    pub(crate) fn want_checkpoint(&self) {
        if !self.wants.swap(true, Relaxed) && self.events.try_send(AttemptEvent::CheckpointWanted).is_err() {
            self.wants.store(false, Relaxed);
        }
    }
}

/// The task beside an actor.
pub(crate) struct Uploader {
    pub(crate) cluster: ClusterId,
    pub(crate) job: JobId,
    pub(crate) attempt: Attempt,
    pub(crate) subtask: SubtaskId,
    pub(crate) store: CheckpointStore,
    pub(crate) compute: Arc<dyn Spawner>,
    pub(crate) local: LocalState,
    pub(crate) uploads: mpsc::Receiver<Upload>,
    pub(crate) orders: watch::Receiver<AttemptOrders>,
    pub(crate) events: mpsc::Sender<AttemptEvent>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) uploaded: Uploaded,
    pub(crate) routing: Arc<Routing>,
    /// Sealed, and in no checkpoint that is known to be complete.
    pub(crate) unconfirmed: Vec<Prepared>,
    /// What to hold once the checkpoint is confirmed.
    pub(crate) holding: Option<(CheckpointId, BTreeMap<BatchRef, StateBatch>)>,
}

/// How rows find their key group on each exchange by key.
#[derive(Debug)]
pub(crate) struct Routing {
    pub(crate) key_groups: u16,
    /// Key columns by exchange.
    pub(crate) hash_keys: BTreeMap<u32, Vec<usize>>,
}

impl Routing {
    pub(crate) fn of(plan: &ChainPlan, key_groups: u16) -> Self {
        let keys = |exchange: &Exchange| match &exchange.edge.distribution {
            Distribution::Hash { keys } => Some((exchange.index, keys.clone())),
            Distribution::Forward | Distribution::Gather | Distribution::Rebalance => None,
        };
        Self { key_groups, hash_keys: plan.exchanges.iter().filter_map(keys).collect() }
    }
}

/// The batches that lie in the store, and the objects that hold them.
#[derive(Debug, Default)]
pub(crate) struct Uploaded {
    batches: HashMap<BatchId, BatchRef>,
    objects: BTreeMap<String, StateObject>,
}

impl From<Known> for Uploaded {
    fn from(Known { batches, objects }: Known) -> Self {
        Self { batches: batches.into_iter().map(|(batch, at)| (batch.id(), at)).collect(), objects }
    }
}

/// What is put into a new object.
struct Draft {
    name: String,
    builder: StateFileBuilder,
    /// Batches that are new, with where they will lie.
    new: Vec<(BatchId, BatchRef)>,
}

impl Draft {
    fn add(
        &mut self,
        operator: OperatorId,
        table: &str,
        key_groups: &[KeyGroup],
        rows: &RecordBatch,
    ) -> Result<BatchRef, StorageError> {
        let segments = self.builder.add(operator, table, key_groups, rows)?;
        Ok(BatchRef { object: self.name.clone(), segments })
    }
}

impl Uploader {
    /// Works until the actor is gone.
    ///
    /// # Errors
    /// When what a sink has written cannot be made durable.
    pub(crate) async fn run(mut self) -> Result<(), SubtaskError> {
        loop {
            tokio::select! {
                biased;
                changed = self.orders.changed() => {
                    // Whoever gives orders is gone, and with it the attempt: cancellation follows.
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                    self.follow_orders();
                }
                upload = self.uploads.recv() => match upload {
                    Some(Upload::Snapshot(frozen)) => self.snapshot(*frozen).await?,
                    Some(Upload::End(sealed)) => self.end(sealed).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    fn follow_orders(&mut self) {
        let Some(confirmed) = self.orders.borrow_and_update().confirmed else { return };
        self.unconfirmed.retain(|prepared| prepared.epoch > confirmed);
        if let Some((_, batches)) = self.holding.take_if(|(checkpoint, _)| *checkpoint <= confirmed) {
            self.local.hold((self.job, self.attempt), self.subtask, batches);
        }
    }

    async fn end(&mut self, sealed: Vec<Sealed>) -> Result<(), SubtaskError> {
        self.make_durable(sealed, CheckpointId::FINAL).await?;
        self.meter.set_state(SubtaskState::Finished);
        let (subtask, metrics, prepared) = (self.subtask, self.meter.snapshot(), self.unconfirmed.clone());
        self.tell(AttemptEvent::Finished { subtask, metrics, prepared }).await;
        Ok(())
    }

    async fn snapshot(&mut self, mut frozen: Frozen) -> Result<(), SubtaskError> {
        let (checkpoint, subtask) = (frozen.checkpoint, self.subtask);
        let began = self.meter.now();
        self.make_durable(std::mem::take(&mut frozen.sealed), checkpoint).await?;
        // What was sealed at the end belongs to the first checkpoint after it.
        let at_the_end = self.unconfirmed.iter_mut().filter(|prepared| prepared.epoch == CheckpointId::FINAL);
        at_the_end.for_each(|prepared| prepared.epoch = checkpoint);
        if bug::is_active(Bug::SkipFinishedCommit) && frozen.is_finished {
            self.unconfirmed.clear();
        }
        let mut orders = self.orders.clone();
        let aborted = async move {
            // An error says that nobody gives orders any more.
            let _ = orders.wait_for(|orders| orders.aborted >= Some(checkpoint)).await;
        };
        let uploading = self.upload(frozen, began);
        let uploaded = tokio::select! {
            biased;
            uploaded = uploading => Some(uploaded),
            () = aborted => None,
        };
        match uploaded {
            Some(Ok(snapshot)) => {
                let snapshot = self.written_out(snapshot.into()).await;
                self.tell(AttemptEvent::Snapshot { checkpoint, snapshot }).await;
            }
            Some(Err(error)) => {
                let message = thalweg_types::text::with_causes(&error);
                let failure = Failure { kind: error.failure_kind(), message };
                self.tell(AttemptEvent::SnapshotFailed { checkpoint, subtask, failure }).await;
            }
            None => {}
        }
        Ok(())
    }

    async fn make_durable(&mut self, sealed: Vec<Sealed>, epoch: CheckpointId) -> Result<(), SubtaskError> {
        let subtask = self.subtask.index;
        let prepared = try_join_all(sealed.into_iter().map(|sealed| sealed.finish(subtask))).await?;
        let new = prepared.into_iter().filter(|prepared| !prepared.committables.is_empty());
        self.unconfirmed.extend(new.map(|committables| Prepared { epoch, committables }));
        Ok(())
    }

    /// Forgets that batches lie in objects that somebody has removed: they are uploaded anew, so that no checkpoint names what is
    /// not there.
    async fn forget_missing(&mut self) -> Result<(), StorageError> {
        let names: Vec<String> = self.uploaded.objects.keys().cloned().collect();
        let missing = self.store.missing(names).await?;
        if let Some(first) = missing.first() {
            let count = missing.len();
            tracing::warn!(job = %self.job, subtask = ?self.subtask, count, first, "objects of checkpoints are gone; their state is uploaded anew");
            self.uploaded.objects.retain(|name, _| !missing.contains(name));
            self.uploaded.batches.retain(|_, at| !missing.contains(&at.object));
        }
        Ok(())
    }

    /// Writes what is new into one object, and lists all of the state.
    async fn upload(&mut self, frozen: Frozen, began: Duration) -> Result<SubtaskSnapshot, StorageError> {
        self.forget_missing().await?;
        let name = names::state_object(&self.cluster, self.job, self.attempt, self.subtask, frozen.checkpoint);
        let builder = StateFileBuilder::new(SEGMENT_BYTES, self.store.compression());
        let mut draft = Draft { name, builder, new: Vec::new() };
        let mut holding = BTreeMap::new();
        let operators = self.draft_operators(&mut draft, &frozen.operators, &mut holding).await?;
        let source = frozen.source.map(|source| draft_source(&mut draft, source)).transpose()?;
        let in_flight = self.draft_in_flight(&mut draft, frozen.in_flight).await?;
        let Draft { name, builder, new } = draft;
        let mut uploaded_bytes = 0;
        if !builder.is_empty() {
            let file = builder.finish();
            let object = match bug::is_active(Bug::AckBeforeUpload) {
                true => StateObject { name: name.clone(), bytes: file.bytes, checksum: file.checksum },
                false => self.store.put_state(&name, file).await?,
            };
            uploaded_bytes = object.bytes;
            self.uploaded.objects.insert(name, object);
        }
        self.uploaded.batches.extend(new);
        let objects = self.objects_of(&operators, source.as_ref(), &in_flight);
        self.forget_unused(&frozen.operators, &objects);
        self.holding = Some((frozen.checkpoint, holding));
        let upload = self.meter.now().saturating_sub(began);
        let cost = SnapshotCost {
            alignment_micros: micros(frozen.alignment),
            freeze_micros: micros(frozen.freeze),
            upload_micros: micros(upload),
            uploaded_bytes,
            state_bytes: objects.iter().map(|object| object.bytes).sum(),
            is_unaligned: frozen.is_unaligned,
        };
        Ok(SubtaskSnapshot {
            subtask: self.subtask,
            is_finished: frozen.is_finished,
            operators,
            source,
            in_flight,
            objects,
            counts: frozen.counts,
            prepared: self.unconfirmed.clone(),
            cost,
        })
    }

    async fn draft_operators(
        &self,
        draft: &mut Draft,
        operators: &[(OperatorId, FrozenState)],
        holding: &mut BTreeMap<BatchRef, StateBatch>,
    ) -> Result<Vec<OperatorSnapshot>, StorageError> {
        let mut snapshots = Vec::new();
        for (operator, state) in operators {
            let mut tables: BTreeMap<String, Vec<BatchRef>> = BTreeMap::new();
            for (table, batch) in state.batches().filter(|(_, batch)| batch.rows.num_rows() > 0) {
                let id = batch.id();
                let at = match self.uploaded.batches.get(&id) {
                    Some(known) => known.clone(),
                    None => {
                        let at = draft.add(*operator, table, batch.key_groups(), &batch.rows)?;
                        draft.new.push((id, at.clone()));
                        // Encoding takes a while; others on this thread go on meanwhile.
                        tokio::task::yield_now().await;
                        at
                    }
                };
                holding.insert(at.clone(), batch.clone());
                tables.entry(table.to_owned()).or_default().push(at);
            }
            if !tables.is_empty() || !state.values.is_empty() {
                snapshots.push(OperatorSnapshot { operator: *operator, values: state.values.clone(), tables });
            }
        }
        Ok(snapshots)
    }

    /// Rows of an exchange by key lie by their key group, so that whoever owns it next finds them.
    async fn draft_in_flight(
        &self,
        draft: &mut Draft,
        in_flight: Vec<Overtaken>,
    ) -> Result<Vec<InFlightRows>, StorageError> {
        let mut noted: Vec<InFlightRows> = Vec::new();
        for Overtaken { exchange, to, rows } in in_flight {
            let rows = match rows {
                OvertakenBatch::Pending(rows) => rows,
                OvertakenBatch::Arrived(rows) => rows.decode().map_err(|error| StorageError::Corrupt {
                    object: format!("a batch of exchange {exchange}"),
                    reason: error.to_string(),
                })?,
            };
            let key_groups = match self.routing.hash_keys.get(&exchange) {
                Some(keys) => {
                    let columns: Vec<_> = keys.iter().map(|key| rows.column(*key).clone()).collect();
                    key_groups_of(&columns, rows.num_rows(), self.routing.key_groups)
                }
                None => vec![KeyGroup(0); rows.num_rows()],
            };
            let batch = draft.add(OperatorId(exchange), IN_FLIGHT, &key_groups, &rows)?;
            match noted.last_mut().filter(|last| (last.exchange, last.to) == (exchange, to)) {
                Some(last) => last.batches.push(batch),
                None => noted.push(InFlightRows { exchange, to, batches: vec![batch] }),
            }
            tokio::task::yield_now().await;
        }
        Ok(noted)
    }

    /// The objects that a snapshot refers to.
    fn objects_of(
        &self,
        operators: &[OperatorSnapshot],
        source: Option<&SourceSnapshot>,
        in_flight: &[InFlightRows],
    ) -> Vec<StateObject> {
        let tables = operators.iter().flat_map(|operator| operator.tables.values().flatten());
        let held = source.into_iter().flat_map(|source| source.splits.iter().flat_map(|split| &split.held));
        let moving = in_flight.iter().flat_map(|rows| &rows.batches);
        let names: std::collections::BTreeSet<&str> =
            tables.chain(held).chain(moving).map(|batch| batch.object.as_str()).collect();
        names.into_iter().filter_map(|name| self.uploaded.objects.get(name).cloned()).collect()
    }

    /// What the state no longer holds is not referred to again.
    fn forget_unused(&mut self, operators: &[(OperatorId, FrozenState)], objects: &[StateObject]) {
        let used: std::collections::HashSet<BatchId> =
            operators.iter().flat_map(|(_, state)| state.batches().map(|(_, batch)| batch.id())).collect();
        self.uploaded.batches.retain(|id, _| used.contains(id));
        self.uploaded.objects = objects.iter().map(|object| (object.name.clone(), object.clone())).collect();
    }

    /// A large one takes its time, and whoever passes it on has heartbeats to give.
    async fn written_out(&self, snapshot: ToldSnapshot) -> ToldSnapshot {
        let (written, told) = (oneshot::channel(), snapshot.clone());
        let task = async move {
            let _ = told.text();
            // Who waits may be cancelled.
            let _ = written.0.send(());
        };
        let _ = self.compute.spawn("write a snapshot out", Box::pin(task));
        // Where it could not be done it is done later.
        let _ = written.1.await;
        snapshot
    }

    async fn tell(&self, event: AttemptEvent) {
        if self.events.send(event).await.is_err() {
            tracing::debug!(job = %self.job, attempt = %self.attempt, "nobody listens to the attempt any more");
        }
    }
}

fn draft_source(draft: &mut Draft, frozen: FrozenSource) -> Result<SourceSnapshot, StorageError> {
    let FrozenSource { source, splits } = frozen;
    let mut noted = Vec::with_capacity(splits.len());
    for (mut progress, held) in splits {
        if let Some(rows) = held {
            let key_groups = vec![KeyGroup(0); rows.num_rows()];
            progress.held = vec![draft.add(source, HELD, &key_groups, &rows)?];
        }
        noted.push(progress);
    }
    Ok(SourceSnapshot { source, splits: noted })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
