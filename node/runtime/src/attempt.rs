//! One attempt of one job on one node: builds its actors, watches them, and ends them.
//!
//! ```text
//! deploy -> building -- connected --> Ready -- start --> running -- each actor --> Finished
//!              |                                            |
//!              '------------------- first failure ----------'--> Failed, the other actors stop
//! cancel, at any time -> the actors stop -> streams close -> Gone
//! ```
//!
//! A supervisor task does this; it lives until the attempt is cancelled or its handle dropped. The first failure is told,
//! later ones are its consequences. An actor that panics fails the attempt like one that returns an error.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{FutureExt, future::try_join_all};
use thalweg_exchange::{Endpoints, PeerFailure, connect};
use thalweg_types::{
    Attempt, ChainPlan, CheckpointId, ClusterId, JobId, NodeId, SubtaskId,
    checkpoint::{Prepared, SubtaskSnapshot},
    job::{Failure, FailureKind, SubtaskMetrics},
    session::{Deployment, SinkCommittables, SubtaskState},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    checkpoint::{CheckpointHook, NoCheckpoints},
    context::RuntimeContext,
    deploy::{Actor, Builder, Built, local_subtasks},
    failure::{SubtaskError, panic_text},
    meter::Meter,
    source::SourceOrders,
    tables::Tables,
};

/// Streams that break tell it here; the first is all that counts.
const PEER_FAILURES_KEPT: usize = 16;
/// Actors look at cancellation between two steps; one that takes longer than this is stuck in a step.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// What a node is told of an attempt.
#[derive(Debug)]
pub enum AttemptEvent {
    /// All subtasks here are built and connected.
    Ready,
    /// A subtask has processed all its input.
    Finished {
        /// Which.
        subtask: SubtaskId,
        /// Its last measurements.
        metrics: SubtaskMetrics,
        /// What its sinks have prepared and the subtask does not know to be published.
        prepared: Vec<Prepared>,
    },
    /// A subtask's part of a checkpoint is durable.
    Snapshot {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// What it consists of.
        snapshot: Box<SubtaskSnapshot>,
    },
    /// A subtask's part of a checkpoint could not be made durable. It runs on.
    SnapshotFailed {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Which.
        subtask: SubtaskId,
        /// Why.
        failure: Failure,
    },
    /// Something waits for the next checkpoint.
    CheckpointWanted,
    /// A subtask, or the deployment as a whole, ended badly. The attempt is over.
    Failed {
        /// Which; `None`: the deployment.
        subtask: Option<SubtaskId>,
        /// Why.
        failure: Failure,
        /// The other node, where a stream to it broke.
        peer: Option<NodeId>,
    },
    /// Nothing of the attempt is left here. The last event.
    Gone,
}

/// An attempt on this node. Dropping it cancels the attempt.
#[derive(Debug)]
pub struct AttemptHandle {
    orders: watch::Sender<SourceOrders>,
    cancel: CancellationToken,
    meters: Arc<[(SubtaskId, Arc<Meter>)]>,
}

impl AttemptHandle {
    /// Begins to build an attempt's subtasks of this node. What becomes of it is told to `events`, which must be read.
    #[must_use]
    pub fn deploy(
        context: &RuntimeContext,
        (cluster, job): (ClusterId, JobId),
        attempt: Attempt,
        deployment: Deployment,
        events: mpsc::Sender<AttemptEvent>,
    ) -> Self {
        let tables = Arc::new(context.connectors.clone());
        let surroundings = Surroundings { context: context.clone(), tables, hook: Arc::new(NoCheckpoints) };
        Self::deploy_with(surroundings, (cluster, job, attempt), deployment, events)
    }

    pub(crate) fn deploy_with(
        surroundings: Surroundings,
        (cluster, job, attempt): (ClusterId, JobId, Attempt),
        deployment: Deployment,
        events: mpsc::Sender<AttemptEvent>,
    ) -> Self {
        let (orders, receiver) = watch::channel(SourceOrders::default());
        let cancel = CancellationToken::new();
        let context = &surroundings.context;
        let plan = deployment.graph.check().map(|()| ChainPlan::of(&deployment.graph));
        let local = |plan: &ChainPlan| local_subtasks(plan, &deployment, context.node);
        let subtasks = plan.as_ref().map(local).unwrap_or_default();
        let meter = |subtask| (subtask, Arc::new(Meter::new(context.seams.clock.clone())));
        let meters: Arc<[_]> = subtasks.into_iter().map(meter).collect();
        let (meters_kept, cancelled, io) = (meters.clone(), cancel.clone(), context.seams.io.clone());
        let supervisor = Supervisor {
            surroundings,
            cluster,
            job,
            attempt,
            deployment,
            meters,
            events,
            cancel: cancelled,
            orders: receiver,
        };
        let task = supervisor.run(plan.map_err(SubtaskError::from));
        let _ = io.spawn(&format!("supervisor of {job}, {attempt}"), Box::pin(task));
        Self { orders, cancel, meters: meters_kept }
    }

    /// Lets the sources read: every node is ready.
    pub fn start(&self) {
        self.meters.iter().for_each(|(_, meter)| meter.set_state(SubtaskState::Running));
        self.orders.send_modify(|orders| orders.started = true);
    }

    /// Ends the sources as if their input ended here: windows that are open close with what they have, subtasks finish, and
    /// what sinks have prepared is published. Nothing is kept from which the job could go on.
    pub fn stop(&self) {
        self.orders.send_modify(|orders| orders.stopped = true);
    }

    /// Ends the attempt and discards what it holds; `Gone` follows.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Lets the sources emit the barrier of a checkpoint. Ids grow; a newer one overtakes those not emitted yet.
    pub fn begin_checkpoint(&self, checkpoint: CheckpointId) {
        self.orders.send_modify(|orders| orders.checkpoint = orders.checkpoint.max(Some(checkpoint)));
    }

    /// A checkpoint will not be completed.
    pub fn abort_checkpoint(&self, _checkpoint: CheckpointId) {}

    /// A checkpoint is complete.
    pub fn confirm_checkpoint(&self, _checkpoint: CheckpointId) {}

    /// What the subtasks have measured.
    #[must_use]
    pub fn metrics(&self) -> Vec<(SubtaskId, SubtaskMetrics)> {
        self.meters.iter().map(|(subtask, meter)| (*subtask, meter.snapshot())).collect()
    }

    /// Where the subtasks are.
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

/// What an attempt has around it.
pub(crate) struct Surroundings {
    pub(crate) context: RuntimeContext,
    pub(crate) tables: Arc<dyn Tables>,
    pub(crate) hook: Arc<dyn CheckpointHook>,
}

enum Exit {
    Finished(Vec<SinkCommittables>),
    Failed(SubtaskError),
    Cancelled,
}

struct Supervisor {
    surroundings: Surroundings,
    cluster: ClusterId,
    job: JobId,
    attempt: Attempt,
    deployment: Deployment,
    meters: Arc<[(SubtaskId, Arc<Meter>)]>,
    events: mpsc::Sender<AttemptEvent>,
    cancel: CancellationToken,
    orders: watch::Receiver<SourceOrders>,
}

impl Supervisor {
    async fn run(self, plan: Result<ChainPlan, SubtaskError>) {
        let (failures, mut broken) = mpsc::channel(PEER_FAILURES_KEPT);
        let built = self.build(plan, failures);
        let endpoints = built.as_ref().ok().map(|built| built.endpoints.clone());
        let outcome = match built {
            Ok(built) => self.supervise(built, &mut broken).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            self.meters.iter().for_each(|(_, meter)| meter.set_state(SubtaskState::Failed));
            self.fail(None, &error).await;
        }
        self.cancel.cancelled().await;
        let Self { surroundings: Surroundings { context, .. }, job, attempt, .. } = &self;
        context.exchange.remove(*job, *attempt);
        context.collect.remove(*job, *attempt);
        if let Some(endpoints) = endpoints {
            endpoints.close();
        }
        self.tell(AttemptEvent::Gone).await;
    }

    fn build(
        &self,
        plan: Result<ChainPlan, SubtaskError>,
        failures: mpsc::Sender<PeerFailure>,
    ) -> Result<Built, SubtaskError> {
        let plan = plan?;
        let Surroundings { context, tables, hook } = &self.surroundings;
        let builder = Builder {
            context,
            tables: tables.clone(),
            hook: hook.clone(),
            cluster: self.cluster.clone(),
            job: self.job,
            attempt: self.attempt,
            deployment: &self.deployment,
            plan: &plan,
            orders: self.orders.clone(),
        };
        let built = std::panic::catch_unwind(AssertUnwindSafe(|| builder.build(&self.meters, failures)));
        built.unwrap_or_else(|panic| Err(SubtaskError::Panic { message: panic_text(panic.as_ref()) }))
    }

    /// Connects, starts the actors, and waits for the last of them. An error is one of the deployment.
    async fn supervise(&self, built: Built, broken: &mut mpsc::Receiver<PeerFailure>) -> Result<(), SubtaskError> {
        let Built { actors, endpoints, links } = built;
        self.surroundings.context.exchange.register(endpoints.clone());
        let connected = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Ok(()),
            connected = self.connect(&endpoints, links) => connected,
        };
        connected?;
        let stop = self.cancel.child_token();
        let mut left = actors.len();
        // Each actor sends once: the queue holds them all.
        let (exits, mut exited) = mpsc::channel(left.max(1));
        for (subtask, meter, actor) in actors {
            self.spawn(subtask, meter, actor, stop.clone(), exits.clone());
        }
        self.tell(AttemptEvent::Ready).await;
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
                    failed = true;
                    let failure = Failure { kind: FailureKind::Link, message };
                    self.tell(AttemptEvent::Failed { subtask: None, failure, peer: Some(peer) }).await;
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
        self.watch_streams(failed, broken).await;
        Ok(())
    }

    /// Local subtasks are over; what they sent may still be on its way to other nodes.
    async fn watch_streams(&self, failed: bool, broken: &mut mpsc::Receiver<PeerFailure>) {
        if failed {
            return;
        }
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => {}
            Some(PeerFailure { peer, message }) = broken.recv() => {
                let failure = Failure { kind: FailureKind::Link, message };
                self.tell(AttemptEvent::Failed { subtask: None, failure, peer: Some(peer) }).await;
            }
        }
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

    fn spawn(
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
                }
            };
            let exit = tokio::select! {
                biased;
                () = stop.cancelled() => Exit::Cancelled,
                outcome = AssertUnwindSafe(run).catch_unwind() => match outcome {
                    Ok(Ok(committables)) => Exit::Finished(committables),
                    Ok(Err(error)) => Exit::Failed(error),
                    Err(panic) => Exit::Failed(SubtaskError::Panic { message: panic_text(panic.as_ref()) }),
                },
            };
            match &exit {
                Exit::Finished(_) => meter.set_state(SubtaskState::Finished),
                Exit::Failed(_) | Exit::Cancelled => meter.set_state(SubtaskState::Failed),
            }
            // The supervisor outlives its actors; where the runtime itself goes down there is nobody to tell.
            let _ = exits.send((subtask, exit)).await;
        };
        let name = format!("{}/{}/{subtask}", self.job, self.attempt);
        let _ = self.surroundings.context.seams.compute.spawn(&name, Box::pin(task));
    }

    /// Tells what an exit means; whether it is a failure.
    async fn on_exit(&self, subtask: SubtaskId, exit: Exit, failed: bool) -> bool {
        match exit {
            Exit::Finished(committables) => {
                let meter = self.meters.iter().find(|(id, _)| *id == subtask);
                let metrics = meter.map(|(_, meter)| meter.snapshot()).unwrap_or_default();
                let prepared =
                    committables.into_iter().map(|committables| Prepared { epoch: CheckpointId::FINAL, committables });
                self.tell(AttemptEvent::Finished { subtask, metrics, prepared: prepared.collect() }).await;
                false
            }
            Exit::Failed(error) => {
                if !failed {
                    self.fail(Some(subtask), &error).await;
                }
                true
            }
            Exit::Cancelled => false,
        }
    }

    async fn fail(&self, subtask: Option<SubtaskId>, error: &SubtaskError) {
        self.tell(AttemptEvent::Failed { subtask, failure: error.failure(), peer: error.peer() }).await;
    }

    async fn tell(&self, event: AttemptEvent) {
        if self.events.send(event).await.is_err() {
            tracing::debug!(job = %self.job, attempt = %self.attempt, "nobody listens to the attempt any more");
        }
    }
}

/// Passes when actors were told to stop and have had long enough.
async fn stuck(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_PATIENCE).await;
}
