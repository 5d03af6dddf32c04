//! One attempt of a job on one node: builds its actors, supervises them and stops them.
//!
//! ```text
//! deploy -> restoring -> building -- connected --> Ready -- start --> running -- each actor --> Snapshot.., Finished
//!              |                                            |
//!              '------------------- first failure ----------'--> Failed, the other actors stop
//! cancel, at any time -> the actors stop -> streams close -> Gone
//! ```
//!
//! A supervisor task does this. It runs until the attempt is cancelled or its handle is dropped. Only the first
//! failure is reported, since later ones follow from it. An actor that panics fails the attempt, like one that
//! returns an error. An actor that has processed all its input keeps running and takes part in checkpoints until the
//! attempt is cancelled.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, future::try_join_all};
use thalweg_exchange::{Endpoints, PeerFailure, connect};
use thalweg_operators::until;
use thalweg_storage::CheckpointStore;
use thalweg_trace::Lasting;
use thalweg_types::{
    Attempt, ChainPlan, CheckpointId, ClusterId, JobId, SubtaskId, TraceContext,
    checkpoint::ManifestRef,
    graph::Identities,
    job::{Failure, FailureKind, SubtaskMetrics},
    session::{Deployment, ReportBody, SubtaskState},
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::{
    attempt_orders::AttemptOrders,
    checkpoint::{LOCAL_STATE_GRACE, Restored, Uploader, restore},
    checks::Checks,
    collect::CollectStore,
    context::RuntimeContext,
    deploy::{Actor, Builder, Built, local_subtasks},
    failure::{SubtaskError, panic_text},
    measures::{AttemptMeasures, Layout, MemoryUse},
    meter::Meter,
    spans,
    tables::Tables,
};

/// Bound of the queue of broken streams. Only the first one matters.
const PEER_FAILURES_KEPT: usize = 16;
/// Actors check for cancellation between two steps. One that has not stopped after this time is stuck in a step.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Handle of an attempt on this node. Dropping it cancels the attempt.
#[derive(Debug)]
pub struct AttemptHandle {
    orders: watch::Sender<AttemptOrders>,
    /// Where the newest complete checkpoint stands.
    complete: watch::Sender<Option<ManifestRef>>,
    cancel: CancellationToken,
    meters: Arc<[(SubtaskId, Arc<Meter>)]>,
    layout: Layout,
    memory: Arc<MemoryUse>,
    collect: CollectStore,
    job: JobId,
    attempt: Attempt,
}

impl AttemptHandle {
    /// Starts to build this node's subtasks of an attempt. All that follows is reported to `reports`, which the caller
    /// must read. The current span lasts until the subtasks are ready, or the attempt is over.
    #[must_use]
    pub fn deploy(
        context: &RuntimeContext,
        (cluster, job): (ClusterId, JobId),
        attempt: Attempt,
        deployment: Deployment,
        reports: mpsc::Sender<ReportBody>,
    ) -> Self {
        let tables = Arc::new(context.connectors.clone());
        let surroundings = Surroundings { context: context.clone(), tables };
        Self::deploy_with(surroundings, (cluster, job, attempt), deployment, reports)
    }

    pub(crate) fn deploy_with(
        surroundings: Surroundings,
        (cluster, job, attempt): (ClusterId, JobId, Attempt),
        deployment: Deployment,
        reports: mpsc::Sender<ReportBody>,
    ) -> Self {
        let (orders, receiver) = watch::channel(AttemptOrders::default());
        let (complete, told_complete) = watch::channel(None);
        let cancel = CancellationToken::new();
        let context = &surroundings.context;
        let plan = deployment.graph.check().map(|()| ChainPlan::of(&deployment.graph));
        let local = |plan: &ChainPlan| local_subtasks(plan, &deployment, context.node);
        let subtasks = plan.as_ref().map(local).unwrap_or_default();
        let latency = thalweg_metrics::seconds();
        let meter = |subtask| (subtask, Arc::new(Meter::new(context.seams.clock.clone(), latency.clone())));
        let meters: Arc<[_]> = subtasks.into_iter().map(meter).collect();
        let layout = Layout::of(plan.as_ref().ok(), &deployment, context.node, latency.clone());
        let memory = Arc::<MemoryUse>::default();
        let (meters_kept, cancelled, io) = (meters.clone(), cancel.clone(), context.seams.io.clone());
        let collect = context.collect.clone();
        let supervisor = Supervisor {
            surroundings,
            cluster,
            job,
            attempt,
            deployment,
            meters,
            memory: memory.clone(),
            reports,
            cancel: cancelled,
            orders: receiver,
            complete: told_complete,
        };
        let task = Arc::new(supervisor).run(plan.map_err(SubtaskError::from), Lasting::new(Span::current()));
        let _ = io.spawn(&format!("supervisor of {job}, {attempt}"), Box::pin(task));
        Self { orders, complete, cancel, meters: meters_kept, layout, memory, collect, job, attempt }
    }

    /// Lets the sources read, once every node is ready.
    pub fn start(&self) {
        self.meters.iter().for_each(|(_, meter)| meter.set_state(SubtaskState::Running));
        self.orders.send_modify(|orders| orders.started = true);
    }

    /// Ends the sources as if their input ended here: open windows close with what they have, subtasks finish, and
    /// prepared output is published. Afterwards there is nothing left that the job could resume from.
    pub fn stop(&self) {
        self.orders.send_modify(|orders| orders.stopped = true);
    }

    /// Stops the attempt and discards what it holds; `Gone` follows.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Lets the sources emit the barrier of a checkpoint. Ids grow, and a newer one replaces those that are not
    /// emitted yet.
    pub fn begin_checkpoint(&self, checkpoint: CheckpointId, trace: Option<TraceContext>) {
        self.orders.send_modify(|orders| {
            if Some(checkpoint) >= orders.checkpoint {
                (orders.checkpoint, orders.trace) = (Some(checkpoint), trace);
            }
        });
    }

    /// A checkpoint is aborted: channels blocked by its barrier are read again.
    pub fn abort_checkpoint(&self, checkpoint: CheckpointId) {
        self.orders.send_modify(|orders| orders.aborted = orders.aborted.max(Some(checkpoint)));
    }

    /// Where a complete checkpoint stands. Told before `confirm_checkpoint`.
    pub fn tell_manifest(&self, manifest: ManifestRef) {
        self.complete.send_if_modified(|newest| {
            let is_newer = newest.as_ref().is_none_or(|newest| newest.checkpoint < manifest.checkpoint);
            if is_newer {
                *newest = Some(manifest);
            }
            is_newer
        });
    }

    /// A checkpoint is complete, so clients may have the rows before its barrier. `CheckpointId::FINAL` releases all
    /// rows.
    pub fn confirm_checkpoint(&self, checkpoint: CheckpointId) {
        self.collect.release(self.job, self.attempt, checkpoint);
        self.orders.send_modify(|orders| orders.confirmed = orders.confirmed.max(Some(checkpoint)));
    }

    /// The metrics of each subtask.
    #[must_use]
    pub fn metrics(&self) -> Vec<(SubtaskId, SubtaskMetrics)> {
        self.meters.iter().map(|(subtask, meter)| (*subtask, meter.snapshot())).collect()
    }

    /// What is measured of the attempt here, since it began.
    #[must_use]
    pub fn measures(&self) -> AttemptMeasures {
        self.layout.measures(&self.meters, &self.memory)
    }

    /// The state of each subtask.
    #[must_use]
    pub fn states(&self) -> Vec<(SubtaskId, SubtaskState)> {
        self.meters.iter().map(|(subtask, meter)| (*subtask, meter.state())).collect()
    }
}

impl Drop for AttemptHandle {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// What an attempt takes from its node.
pub(crate) struct Surroundings {
    pub(crate) context: RuntimeContext,
    pub(crate) tables: Arc<dyn Tables>,
}

enum Exit {
    Ended,
    Failed(SubtaskError),
    Cancelled,
}

/// What subtasks are built from.
struct Loaded {
    plan: ChainPlan,
    store: CheckpointStore,
    restored: Restored,
}

struct Supervisor {
    surroundings: Surroundings,
    cluster: ClusterId,
    job: JobId,
    attempt: Attempt,
    deployment: Deployment,
    meters: Arc<[(SubtaskId, Arc<Meter>)]>,
    memory: Arc<MemoryUse>,
    reports: mpsc::Sender<ReportBody>,
    cancel: CancellationToken,
    orders: watch::Receiver<AttemptOrders>,
    complete: watch::Receiver<Option<ManifestRef>>,
}

impl Supervisor {
    async fn run(self: Arc<Self>, plan: Result<ChainPlan, SubtaskError>, deploying: Lasting) {
        let (failures, mut broken) = mpsc::channel(PEER_FAILURES_KEPT);
        let owner = (self.job, self.attempt);
        let restoring = spans::restore(&deploying, owner, self.restores());
        let loaded = tokio::select! {
            biased;
            () = self.cancel.cancelled() => None,
            loaded = self.load(plan).instrument(restoring) => Some(loaded),
        };
        let prepared = match loaded {
            Some(Ok(loaded)) => {
                let building = self.clone().build_beside(loaded, failures);
                Some(building.instrument(spans::build(&deploying, owner)).await)
            }
            Some(Err(error)) => Some(Err(error)),
            None => None,
        };
        let built = prepared.as_ref().and_then(|prepared| prepared.as_ref().ok());
        let endpoints = built.map(|built| built.endpoints.clone());
        let outcome = match prepared {
            Some(Ok(built)) => self.supervise(built, &mut broken, deploying).await,
            Some(Err(error)) => {
                thalweg_trace::fail(&deploying, error.failure().outline());
                drop(deploying);
                Err(error)
            }
            None => {
                drop(deploying);
                Ok(())
            }
        };
        if let Err(error) = outcome {
            self.meters.iter().for_each(|(_, meter)| meter.set_state(SubtaskState::Failed));
            self.fail(None, &error).await;
        }
        self.cancel.cancelled().await;
        let Self { surroundings: Surroundings { context, .. }, job, attempt, .. } = self.as_ref();
        context.exchange.remove(*job, *attempt);
        context.collect.remove(*job, *attempt);
        if let Some(endpoints) = endpoints {
            endpoints.close();
        }
        self.tell(ReportBody::Gone).await;
        tokio::time::sleep(LOCAL_STATE_GRACE).await;
        context.local.forget(*job, *attempt);
    }

    fn restores(&self) -> Option<CheckpointId> {
        self.deployment.restore.as_ref().map(|from| from.checkpoint)
    }

    /// Loads the state that this node's subtasks resume from.
    async fn load(&self, plan: Result<ChainPlan, SubtaskError>) -> Result<Loaded, SubtaskError> {
        let plan = plan?;
        let context = &self.surroundings.context;
        context.connectors.allowed.refuse(&self.deployment.checkpoints);
        let Surroundings { context: RuntimeContext { connectors, .. }, tables } = &self.surroundings;
        let subtasks: Vec<SubtaskId> = self.meters.iter().map(|(subtask, _)| *subtask).collect();
        let checks = Checks { connectors, tables: &**tables, deployment: &self.deployment, attempt: self.attempt };
        checks.check_all(&plan, &subtasks).await?;
        let store = CheckpointStore::open(&self.deployment.checkpoints, &context.connectors.stores)?;
        let restored = match &self.deployment.restore {
            Some(from) => {
                let from_where = (&store, &context.local, &context.seams.compute);
                restore(from_where, from, &self.deployment, &plan, &subtasks).await?
            }
            None => Restored::default(),
        };
        Ok(Loaded { plan, store, restored })
    }

    /// Builds on a compute thread, since operators may build tables from all restored state. The caller waits for the
    /// result even when the attempt is cancelled, so that nothing is created after the attempt is gone.
    async fn build_beside(
        self: Arc<Self>,
        loaded: Loaded,
        failures: mpsc::Sender<PeerFailure>,
    ) -> Result<Built, SubtaskError> {
        let (name, compute) =
            (format!("builder of {}, {}", self.job, self.attempt), self.surroundings.context.seams.compute.clone());
        let (done, built) = oneshot::channel();
        let task = async move { _ = done.send(self.build(loaded, failures)) };
        let _ = compute.spawn(&name, Box::pin(task));
        let gone = || SubtaskError::Panic { message: "the threads that build it are gone".to_owned() };
        built.await.unwrap_or_else(|_| Err(gone()))
    }

    fn build(&self, loaded: Loaded, failures: mpsc::Sender<PeerFailure>) -> Result<Built, SubtaskError> {
        let (Surroundings { context, tables }, Loaded { plan, store, restored }) = (&self.surroundings, loaded);
        let builder = Builder {
            context,
            tables: tables.clone(),
            store,
            reports: self.reports.clone(),
            cluster: self.cluster.clone(),
            job: self.job,
            attempt: self.attempt,
            deployment: &self.deployment,
            identities: Arc::new(Identities::of(&self.deployment.graph)),
            plan: &plan,
            orders: self.orders.clone(),
            complete: self.complete.clone(),
            memory: &self.memory,
        };
        let build = || builder.build(&self.meters, restored, failures);
        let built = std::panic::catch_unwind(AssertUnwindSafe(build));
        built.unwrap_or_else(|panic| Err(SubtaskError::Panic { message: panic_text(panic.as_ref()) }))
    }

    /// Connects, starts the actors and waits until all have ended. An error concerns the deployment as a whole.
    async fn supervise(
        &self,
        built: Built,
        broken: &mut mpsc::Receiver<PeerFailure>,
        deploying: Lasting,
    ) -> Result<(), SubtaskError> {
        let Built { actors, uploaders, endpoints, links } = built;
        self.surroundings.context.exchange.register(endpoints.clone());
        let connecting = spans::connect(&deploying, (self.job, self.attempt));
        let connected = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Ok(()),
            connected = self.connect(&endpoints, links).instrument(connecting) => connected,
        };
        if let Err(error) = &connected {
            thalweg_trace::fail(&deploying, error.failure().outline());
        }
        connected?;
        let stop = self.cancel.child_token();
        let mut left = actors.len() + uploaders.len();
        // Each task sends once, so the queue holds all of them.
        let (exits, mut exited) = mpsc::channel(left.max(1));
        for (subtask, meter, actor) in actors {
            self.spawn_actor(subtask, meter, actor, stop.clone(), exits.clone());
        }
        for uploader in uploaders {
            self.spawn_uploader(uploader, stop.clone(), exits.clone());
        }
        drop(deploying);
        self.tell(ReportBody::Ready).await;
        let mut failed = false;
        let mut is_stuck = false;
        while left > 0 {
            tokio::select! {
                biased;
                Some((subtask, exit)) = exited.recv() => {
                    left -= 1;
                    failed |= self.on_exit(subtask, exit, failed).await;
                }
                Some(PeerFailure { peer, message }) = broken.recv(), if !failed => {
                    // Checked only now, since the subtasks may have finished while this waited.
                    if self.has_finished() {
                        continue;
                    }
                    failed = true;
                    let failure = Failure { kind: FailureKind::Link, message };
                    self.tell(ReportBody::Failed { subtask: None, failure, peer: Some(peer) }).await;
                }
                () = stuck(&stop), if !is_stuck => {
                    is_stuck = true;
                    tracing::error!(job = %self.job, attempt = %self.attempt, left, "actors do not stop");
                }
            }
            if failed {
                stop.cancel();
            }
        }
        Ok(())
    }

    /// Whether all subtasks have finished, so that failures of other nodes do not matter any more.
    fn has_finished(&self) -> bool {
        self.meters.iter().all(|(_, meter)| meter.state() == SubtaskState::Finished)
    }

    async fn connect(
        &self,
        endpoints: &Arc<Endpoints>,
        links: Vec<thalweg_exchange::PeerLink>,
    ) -> Result<(), SubtaskError> {
        let context = &self.surroundings.context;
        let dial = async |link: thalweg_exchange::PeerLink| {
            let node = link.node();
            let listed = self.deployment.addresses.iter().find(|(listed, _)| *listed == node);
            let (_, address) = listed
                .ok_or_else(|| SubtaskError::Plan { reason: format!("the deployment has no address for {node}") })?;
            let opened = connect(&context.network, &context.seams.io, endpoints, address, link).await;
            opened.map_err(SubtaskError::from)
        };
        try_join_all(links.into_iter().map(dial)).await.map(|_| ())
    }

    fn spawn_actor(
        &self,
        subtask: SubtaskId,
        meter: Arc<Meter>,
        actor: Actor,
        stop: CancellationToken,
        exits: mpsc::Sender<(SubtaskId, Exit)>,
    ) {
        let task = async move {
            let run = async {
                match actor {
                    Actor::Source(source) => source.run().await,
                    Actor::Input(input) => input.run().await,
                    Actor::Enumerator(enumerator) => enumerator.run().await,
                }
            };
            let is_over = stop.clone();
            let run = until(Arc::new(move || is_over.is_cancelled()), run);
            let exit = tokio::select! {
                biased;
                () = stop.cancelled() => Exit::Cancelled,
                outcome = AssertUnwindSafe(run).catch_unwind() => match exit_of(outcome) {
                    // An evaluation that was told that nobody waits for it.
                    Exit::Failed(_) if stop.is_cancelled() => Exit::Cancelled,
                    exit => exit,
                },
            };
            if meter.state() != SubtaskState::Finished {
                meter.set_state(SubtaskState::Failed);
            }
            // The supervisor outlives its actors. The send fails only when the runtime shuts down.
            let _ = exits.send((subtask, exit)).await;
        };
        let name = format!("{}/{}/{subtask}", self.job, self.attempt);
        let _ = self.surroundings.context.seams.compute.spawn(&name, Box::pin(task));
    }

    fn spawn_uploader(&self, uploader: Uploader, stop: CancellationToken, exits: mpsc::Sender<(SubtaskId, Exit)>) {
        let subtask = uploader.subtask;
        let task = async move {
            let exit = tokio::select! {
                biased;
                () = stop.cancelled() => Exit::Cancelled,
                outcome = AssertUnwindSafe(uploader.run()).catch_unwind() => exit_of(outcome),
            };
            let _ = exits.send((subtask, exit)).await;
        };
        let name = format!("uploader of {}/{}/{subtask}", self.job, self.attempt);
        let _ = self.surroundings.context.seams.io.spawn(&name, Box::pin(task));
    }

    /// Reports a failure if it is the first one. Returns whether the exit is a failure.
    async fn on_exit(&self, subtask: SubtaskId, exit: Exit, failed: bool) -> bool {
        match exit {
            Exit::Failed(error) => {
                if !failed {
                    self.fail(Some(subtask), &error).await;
                }
                true
            }
            Exit::Ended | Exit::Cancelled => false,
        }
    }

    async fn fail(&self, subtask: Option<SubtaskId>, error: &SubtaskError) {
        self.tell(ReportBody::Failed { subtask, failure: error.failure(), peer: error.peer() }).await;
    }

    async fn tell(&self, report: ReportBody) {
        if self.reports.send(report).await.is_err() {
            tracing::debug!(job = %self.job, attempt = %self.attempt, "nobody listens to the attempt any more");
        }
    }
}

fn exit_of(outcome: Result<Result<(), SubtaskError>, Box<dyn std::any::Any + Send>>) -> Exit {
    match outcome {
        Ok(Ok(())) => Exit::Ended,
        Ok(Err(error)) => Exit::Failed(error),
        Err(panic) => Exit::Failed(SubtaskError::Panic { message: panic_text(panic.as_ref()) }),
    }
}

/// Completes when `STOP_PATIENCE` has passed after the actors were told to stop.
async fn stuck(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_PATIENCE).await;
}
