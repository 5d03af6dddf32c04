//! Makes a subtask's frozen state durable beside its actor, and reports the snapshot.
//!
//! ```text
//! Upload::Snapshot(frozen) -> sealings done -> new batches into one state object -> put -> ReportBody::Snapshot
//!                                                                                   '-> on failure: SnapshotFailed, the subtask continues
//! Upload::End(sealings)    -> sealings done -> ReportBody::Finished
//! ```
//!
//! A sealing that fails fails the subtask, since rows that are written but not durable are lost to this attempt.
//! Once a checkpoint is complete, the table that is read is told its position there (`Completion`).
//!
//! Snapshots are processed in order. Of one that is aborted meanwhile, only the sealings are finished.

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
use thalweg_connectors::{Sealing, Source};
use thalweg_exchange::OvertakenRows;
use thalweg_flow::key_groups_of;
use thalweg_keyed_state::{BatchId, FrozenState, StateBatch};
use thalweg_storage::{CheckpointStore, SEGMENT_BYTES, StateFileBuilder, StorageError, names};
use thalweg_types::{
    Attempt, ChainPlan, CheckpointId, ClusterId, Exchange, JobId, KeyGroup, OperatorId, Split, SubtaskId, TraceContext,
    bug::{self, Bug},
    checkpoint::{
        BatchRef, InFlightRows, OperatorSnapshot, Prepared, RecordCounts, SinkCommittables, SnapshotCost,
        SourceSnapshot, SplitProgress, StateObject, SubtaskSnapshot, ToldSnapshot,
    },
    graph::Distribution,
    job::Failure,
    seam::Spawner,
    session::{ReportBody, SubtaskState},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{local::LocalState, restore::Known};
use crate::{attempt_orders::AttemptOrders, failure::SubtaskError, meter::Meter, spans::SubtaskSpans};

/// Bound of the uploader's queue. A leader has at most one checkpoint in progress, so few pile up; if more do, the
/// subtask waits.
const UPLOADS_MAX: usize = 4;
/// The table of a state object that holds a source's held-back rows.
const HELD: &str = "held";
/// The table of a state object that holds in-flight rows.
const IN_FLIGHT: &str = "in-flight";

/// Output of a sink or a side output that is being made durable.
pub(crate) struct Sealed {
    /// The sink, or the operator of the side output.
    pub(crate) operator: OperatorId,
    /// The table's name, or a description for side outputs.
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

/// A source's splits at a barrier, each with the rows that it holds back.
pub(crate) struct FrozenSource {
    pub(crate) source: OperatorId,
    pub(crate) splits: Vec<(SplitProgress, Option<RecordBatch>)>,
}

/// Rows of one exchange that a barrier has overtaken.
pub(crate) struct Overtaken {
    pub(crate) exchange: u32,
    /// The index of the receiving subtask.
    pub(crate) to: u32,
    pub(crate) rows: OvertakenBatch,
}

pub(crate) enum OvertakenBatch {
    /// The sender still held them.
    Pending(RecordBatch),
    /// The receiver had them in its queues.
    Arrived(OvertakenRows),
}

/// A subtask's whole part of a checkpoint.
pub(crate) struct Frozen {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) is_finished: bool,
    pub(crate) operators: Vec<(OperatorId, FrozenState)>,
    pub(crate) source: Option<FrozenSource>,
    /// Overtaken rows, in order within each channel.
    pub(crate) in_flight: Vec<Overtaken>,
    pub(crate) sealed: Vec<Sealed>,
    pub(crate) counts: RecordCounts,
    pub(crate) alignment: Duration,
    pub(crate) freeze: Duration,
    pub(crate) is_unaligned: bool,
    /// The checkpoint's span, where somebody traces.
    pub(crate) trace: Option<TraceContext>,
}

/// Work of the uploader, in order.
pub(crate) enum Upload {
    Snapshot(Box<Frozen>),
    /// All input has been processed: the output that was sealed, and the position of a source.
    End(Vec<Sealed>, Option<FrozenSource>),
}

/// Tells a source which checkpoint is complete, with the position that it had there.
pub(crate) struct Completion {
    source: Arc<dyn Source>,
    /// Positions in checkpoints that are not known to be complete. Those of aborted ones leave, so there are few.
    positions: BTreeMap<CheckpointId, Vec<Split>>,
}

impl Completion {
    /// Begins with the position in the checkpoint that the attempt goes on from, which is told again.
    pub(crate) fn new(source: Arc<dyn Source>, restored: Option<(CheckpointId, Vec<Split>)>) -> Self {
        if let Some((checkpoint, splits)) = &restored {
            source.completed(*checkpoint, splits);
        }
        Self { source, positions: BTreeMap::new() }
    }

    fn note(&mut self, checkpoint: CheckpointId, splits: Vec<Split>, orders: AttemptOrders) {
        self.positions.retain(|noted, _| Some(*noted) > orders.aborted || Some(*noted) <= orders.confirmed);
        if bug::is_active(Bug::CommitOffsetsEarly) {
            self.source.completed(checkpoint, &splits);
        }
        self.positions.insert(checkpoint, splits);
    }

    fn on_confirmed(&mut self, confirmed: CheckpointId) {
        let mut complete = None;
        while let Some(first) = self.positions.first_entry().filter(|first| *first.key() <= confirmed) {
            complete = Some(first.remove_entry());
        }
        if let Some((checkpoint, splits)) = complete {
            self.source.completed(checkpoint, &splits);
        }
    }
}

/// The actor's end of the queue to its uploader.
#[derive(Debug, Clone)]
pub(crate) struct Uploads {
    queue: mpsc::Sender<Upload>,
    reports: mpsc::Sender<ReportBody>,
    /// Whether a checkpoint was asked for and none has come since.
    wants: Arc<AtomicBool>,
}

impl Uploads {
    /// Creates the queue and returns both ends.
    pub(crate) fn channel(reports: mpsc::Sender<ReportBody>) -> (Self, mpsc::Receiver<Upload>) {
        let (queue, received) = mpsc::channel(UPLOADS_MAX);
        (Self { queue, reports, wants: Arc::default() }, received)
    }

    /// Queues work. If the uploader is gone, the attempt has failed or been cancelled, and the work is dropped.
    pub(crate) async fn hand_over(&self, upload: Upload) {
        self.wants.store(false, Relaxed);
        let _ = self.queue.send(upload).await;
    }

    /// Asks once for a checkpoint soon. If the queue of reports is full, the next rows ask again.
    pub(crate) fn want_checkpoint(&self) {
        if !self.wants.swap(true, Relaxed) && self.reports.try_send(ReportBody::CheckpointWanted).is_err() {
            self.wants.store(false, Relaxed);
        }
    }

    /// Asks for a checkpoint, even if one was asked for.
    pub(crate) fn want_checkpoint_still(&self) {
        self.wants.store(false, Relaxed);
        self.want_checkpoint();
    }
}

/// The task that uploads beside an actor.
pub(crate) struct Uploader {
    pub(crate) cluster: ClusterId,
    pub(crate) job: JobId,
    pub(crate) attempt: Attempt,
    pub(crate) subtask: SubtaskId,
    pub(crate) spans: SubtaskSpans,
    pub(crate) store: CheckpointStore,
    pub(crate) compute: Arc<dyn Spawner>,
    pub(crate) local: LocalState,
    pub(crate) uploads: mpsc::Receiver<Upload>,
    pub(crate) orders: watch::Receiver<AttemptOrders>,
    pub(crate) reports: mpsc::Sender<ReportBody>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) uploaded: Uploaded,
    pub(crate) routing: Arc<Routing>,
    /// Sealed output that is in no checkpoint known to be complete.
    pub(crate) unconfirmed: Vec<Prepared>,
    /// Batches to hold in `local` once their checkpoint is confirmed.
    pub(crate) holding: Option<(CheckpointId, BTreeMap<BatchRef, StateBatch>)>,
    /// `None`: the subtask reads no table.
    pub(crate) completion: Option<Completion>,
}

/// How rows of each keyed exchange get their key group.
#[derive(Debug)]
pub(crate) struct Routing {
    pub(crate) key_groups: u16,
    /// Indexes of the key columns, by exchange.
    pub(crate) hash_keys: BTreeMap<u32, Vec<usize>>,
}

impl Routing {
    pub(crate) fn of(plan: &ChainPlan, key_groups: u16) -> Self {
        let keys = |exchange: &Exchange| match &exchange.edge.distribution {
            Distribution::Hash { keys } => Some((exchange.index, keys.clone())),
            Distribution::Forward | Distribution::Gather | Distribution::Rebalance | Distribution::Assigned => None,
        };
        Self { key_groups, hash_keys: plan.exchanges.iter().filter_map(keys).collect() }
    }
}

/// The batches that are in the store, and the objects that hold them.
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

/// The object that is being written for a checkpoint.
struct Draft {
    name: String,
    builder: StateFileBuilder,
    /// New batches, and their place in this object.
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

impl Drop for Uploader {
    /// The end of a job is confirmed right before its attempt is cancelled, and the source must be told of it all the same.
    fn drop(&mut self) {
        let confirmed = self.orders.borrow().confirmed;
        if let Some((completion, confirmed)) = self.completion.as_mut().zip(confirmed) {
            completion.on_confirmed(confirmed);
        }
    }
}

impl Uploader {
    /// Works until the actor's end of the queue is dropped.
    ///
    /// # Errors
    /// If output of a sink cannot be made durable.
    pub(crate) async fn run(mut self) -> Result<(), SubtaskError> {
        loop {
            tokio::select! {
                biased;
                changed = self.orders.changed() => {
                    // The sender drops only when the attempt ends, and cancellation follows.
                    if changed.is_err() {
                        std::future::pending::<()>().await;
                    }
                    self.follow_orders();
                }
                upload = self.uploads.recv() => match upload {
                    Some(Upload::Snapshot(frozen)) => self.snapshot(*frozen).await?,
                    Some(Upload::End(sealed, source)) => self.end(sealed, source).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    fn follow_orders(&mut self) {
        let Some(confirmed) = self.orders.borrow_and_update().confirmed else { return };
        self.unconfirmed.retain(|prepared| prepared.epoch > confirmed);
        if let Some(completion) = &mut self.completion {
            completion.on_confirmed(confirmed);
        }
        if let Some((_, batches)) = self.holding.take_if(|(checkpoint, _)| *checkpoint <= confirmed) {
            self.local.hold((self.job, self.attempt), self.subtask, batches);
        }
    }

    async fn end(&mut self, sealed: Vec<Sealed>, source: Option<FrozenSource>) -> Result<(), SubtaskError> {
        self.note_position(CheckpointId::FINAL, source.as_ref());
        self.make_durable(sealed, CheckpointId::FINAL).await?;
        self.meter.set_state(SubtaskState::Finished);
        let (subtask, metrics, prepared) = (self.subtask, self.meter.snapshot(), self.unconfirmed.clone());
        self.tell(ReportBody::Finished { subtask, metrics, prepared }).await;
        Ok(())
    }

    async fn snapshot(&mut self, mut frozen: Frozen) -> Result<(), SubtaskError> {
        let (checkpoint, subtask) = (frozen.checkpoint, self.subtask);
        let span = self.spans.upload(checkpoint, frozen.trace);
        let began = self.meter.now();
        self.note_position(checkpoint, frozen.source.as_ref());
        let durable = self.make_durable(std::mem::take(&mut frozen.sealed), checkpoint).await;
        durable.inspect_err(|error| thalweg_trace::fail(&span, error.failure().outline()))?;
        // Output that was sealed at the end of input belongs to the first checkpoint after it.
        let at_the_end = self.unconfirmed.iter_mut().filter(|prepared| prepared.epoch == CheckpointId::FINAL);
        at_the_end.for_each(|prepared| prepared.epoch = checkpoint);
        if bug::is_active(Bug::SkipFinishedCommit) && frozen.is_finished {
            self.unconfirmed.clear();
        }
        let mut orders = self.orders.clone();
        let aborted = async move {
            // An error means that the attempt ends: cancellation follows.
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
                // Only numbers with a sign are exported as numbers.
                span.record("bytes", i64::try_from(snapshot.cost.uploaded_bytes).unwrap_or(i64::MAX));
                let snapshot = self.written_out(snapshot.into()).await;
                self.tell(ReportBody::Snapshot { checkpoint, snapshot }).await;
            }
            Some(Err(error)) => {
                let message = thalweg_types::text::with_causes(&error);
                let failure = Failure { kind: error.failure_kind(), message };
                thalweg_trace::fail(&span, failure.outline());
                self.tell(ReportBody::SnapshotFailed { checkpoint, subtask, failure }).await;
            }
            None => thalweg_trace::fail(&span, "the checkpoint was given up"),
        }
        Ok(())
    }

    fn note_position(&mut self, checkpoint: CheckpointId, source: Option<&FrozenSource>) {
        let Some((completion, source)) = self.completion.as_mut().zip(source) else { return };
        let splits = source.splits.iter().map(|(progress, _)| progress.split.clone()).collect();
        completion.note(checkpoint, splits, *self.orders.borrow());
    }

    async fn make_durable(&mut self, sealed: Vec<Sealed>, epoch: CheckpointId) -> Result<(), SubtaskError> {
        let subtask = self.subtask.index;
        let prepared = try_join_all(sealed.into_iter().map(|sealed| sealed.finish(subtask))).await?;
        let new = prepared.into_iter().filter(|prepared| !prepared.committables.is_empty());
        self.unconfirmed.extend(new.map(|committables| Prepared { epoch, committables }));
        Ok(())
    }

    /// Forgets batches in objects that somebody has removed, so that they are uploaded anew and no checkpoint names a
    /// missing object.
    async fn forget_missing(&mut self) -> Result<(), StorageError> {
        let names: Vec<String> = self.uploaded.objects.keys().cloned().collect();
        let missing = self.store.missing(names).await?;
        if let Some(first) = missing.first() {
            let count = missing.len();
            tracing::warn!(job = %self.job, subtask = %self.subtask, count, first, "objects of checkpoints are gone; their state is uploaded anew");
            self.uploaded.objects.retain(|name, _| !missing.contains(name));
            self.uploaded.batches.retain(|_, at| !missing.contains(&at.object));
        }
        Ok(())
    }

    /// Writes new batches into one object, and lists the whole state.
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
                        // Encoding takes a while, so other tasks of this thread get a turn.
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

    /// Adds in-flight rows. Those of a keyed exchange carry their key groups, so that their next owner finds them.
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
            // A probe.
            if rows.num_rows() == 0 {
                continue;
            }
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

    /// Forgets batches that the state no longer holds.
    fn forget_unused(&mut self, operators: &[(OperatorId, FrozenState)], objects: &[StateObject]) {
        let used: std::collections::HashSet<BatchId> =
            operators.iter().flat_map(|(_, state)| state.batches().map(|(_, batch)| batch.id())).collect();
        self.uploaded.batches.retain(|id, _| used.contains(id));
        self.uploaded.objects = objects.iter().map(|object| (object.name.clone(), object.clone())).collect();
    }

    /// Serialises a snapshot on a compute thread. A large one takes long, and the task that passes it on must not
    /// miss heartbeats.
    async fn written_out(&self, snapshot: ToldSnapshot) -> ToldSnapshot {
        let (written, told) = (oneshot::channel(), snapshot.clone());
        let task = async move {
            let _ = told.text();
            // The receiver is gone if the upload was cancelled.
            let _ = written.0.send(());
        };
        let _ = self.compute.spawn("write a snapshot out", Box::pin(task));
        // If the task ends without doing it, the text is made when it is first needed.
        let _ = written.1.await;
        snapshot
    }

    async fn tell(&self, report: ReportBody) {
        if self.reports.send(report).await.is_err() {
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
