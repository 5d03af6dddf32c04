//! The node as a whole: what starts together, and ends together.
//!
//! ```text
//! start: bind listeners -> serve exchange, collect and ingest -> worker -> session client -> (registered) ready
//! end:   leave (optional) -> shutdown | refused | stuck | a server or task failed -> everything stops -> wait() returns
//! ```
//!
//! Every task is named. The failure of any task ends the node; the first failure is the reason.

use std::sync::Arc;

use axum::Router;
use thalweg_connectors::{
    ConnectorContext, ResentRecords,
    ingest::{Elsewhere, ingest_router},
};
use thalweg_exchange::{ExchangeRegistry, ExchangeService};
use thalweg_metrics::Families;
use thalweg_proto::network::{ConnectionLimits, Listener, Network, admit, http};
use thalweg_runtime::{CollectStore, LocalState, QueryableTables, RuntimeContext};
use thalweg_types::{ENGINE_VERSION, Incarnation, NodeId, node::NodeRegistration, seam::Seams};
use tokio::{sync::watch, time};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    config::{Checked, NodeConfig, advertised},
    directory::Directory,
    engine::RuntimeEngine,
    error::{NodeFailure, StartError},
    leader_search::LeaderSearch,
    metrics::Monitored,
    orders::{Limits, Orders},
    own_routes::OwnRoutes,
    request_meter::RequestMeter,
    service::CollectService,
    session::{SessionClient, SessionExit},
    tables::{self, Asker, Places, TablesService},
    worker::{Worker, WorkerExit, WorkerHandle},
};

#[cfg(test)]
mod tests;

/// A running node. Dropping it leaves the node running; `shutdown` ends it.
#[derive(Debug)]
pub struct Node {
    id: NodeId,
    address: String,
    http_address: Option<String>,
    worker: WorkerHandle,
    is_ready: watch::Receiver<bool>,
    lifecycle: Lifecycle,
    leave_grace: time::Duration,
    monitored: Monitored,
    own_routes: OwnRoutes,
}

/// How the node runs and ends, shared by all of its tasks.
#[derive(Debug, Clone)]
struct Lifecycle {
    /// Ends every task.
    stop: CancellationToken,
    /// Set once the worker has ended, so nothing of any job runs here.
    ended: CancellationToken,
    /// The first failure.
    failure: watch::Sender<Option<NodeFailure>>,
}

/// Both listeners, bound, with the addresses that are advertised.
struct Listeners {
    grpc: Listener,
    address: String,
    http: Option<(Listener, String)>,
}

impl Node {
    /// Starts a node. It is ready for work once a leader has registered it.
    ///
    /// # Errors
    /// The configuration is wrong, or a listener cannot be bound.
    pub async fn start(
        config: NodeConfig,
        network: Arc<dyn Network>,
        seams: Seams,
        mut connectors: ConnectorContext,
    ) -> Result<Self, StartError> {
        let config = config.check()?;
        let listeners = listen(&config, &network).await?;
        let id = config.node.unwrap_or_else(|| random_id(&seams));
        connectors.allowed = connectors.allowed.of(&id.to_string());
        // Several nodes of one process count each for itself.
        connectors.resent = ResentRecords::default();
        let address = listeners.address.clone();
        let http_address = listeners.http.as_ref().map(|(_, address)| address.clone());
        let registration = NodeRegistration {
            node: id,
            incarnation: incarnation(&seams),
            address: address.clone(),
            http_address: http_address.clone().unwrap_or_default(),
            slots: config.slots,
            zone: config.zone.clone(),
            version: ENGINE_VERSION.to_owned(),
        };
        let context = RuntimeContext {
            node: id,
            seams: seams.clone(),
            network: network.clone(),
            exchange: ExchangeRegistry::default(),
            connectors,
            collect: CollectStore::default(),
            queryable: QueryableTables::default(),
            local: LocalState::default(),
            memory_budget_bytes: config.memory_budget_bytes,
        };
        let (lifecycle, own_routes) = (Lifecycle::new(), OwnRoutes::default());
        let directory = Directory::new(config.coordinators.clone(), network.clone(), seams.clock.clone());
        let ingest = http_address.clone().map(|own_address| {
            let (registry, requests) = (context.connectors.ingest.clone(), RequestMeter::new(seams.clock.clone()));
            let elsewhere = Elsewhere { directory: Arc::new(directory), own_address };
            let places = Places::new(config.coordinators.clone(), network.clone(), seams.clock.clone());
            let asker = Asker::new(id, context.queryable.clone(), places, network.clone(), seams.clone());
            let tables = tables::beside(ingest_router(registry.clone(), Some(elsewhere)), asker);
            let router = own_routes.beside(requests.around(tables));
            ((registry, requests), router)
        });
        let (ingest, router) = ingest.unzip();
        let monitored = Monitored {
            node: id,
            slots: config.slots,
            memory_budget_bytes: config.memory_budget_bytes,
            exchange: context.exchange.clone(),
            resent: context.connectors.resent.clone(),
            ingest,
        };
        lifecycle.serve(&seams, listeners, config.limits, (&context, router));
        let (worker, is_ready) = lifecycle.work(&seams, &config, context);
        let search = LeaderSearch::new(config.coordinators, seams.entropy.next());
        let stop = lifecycle.stop.clone();
        let (entropy, handle) = (seams.entropy.clone(), worker.clone());
        lifecycle.hold_sessions(&seams, SessionClient { registration, search, network, entropy, worker: handle, stop });
        tracing::info!(node = %id, address, slots = config.slots, "started");
        let leave_grace = config.leave_grace;
        Ok(Self { id, address, http_address, worker, is_ready, lifecycle, leave_grace, monitored, own_routes })
    }

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// How others reach it, as `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it takes records over HTTP, if it does.
    #[must_use]
    pub fn http_address(&self) -> Option<&str> {
        self.http_address.as_deref()
    }

    /// Answers GET requests at its HTTP address by these routes too, by which its process tells of itself. Only the
    /// first call counts.
    pub fn answer_by(&self, own: Router) {
        self.own_routes.set(own);
    }

    /// Whether it is registered with a leader now.
    #[must_use]
    pub fn ready(&self) -> bool {
        *self.is_ready.borrow()
    }

    /// Waits for the next turn of the worker, through which all of the node's work goes. Returns whether there was one.
    /// A node that does not return from this is stuck, registered or not.
    pub async fn beat(&self) -> bool {
        self.worker.beat().await
    }

    /// Adds what the node measures.
    pub async fn tell_metrics(&self, families: &mut Families) {
        let attempts = self.worker.measures().await;
        self.monitored.tell(families, self.ready(), &attempts);
    }

    /// Waits until a leader has registered it, or it has ended.
    pub async fn wait_ready(&self) {
        // An error means that the worker has ended.
        self.is_ready.clone().wait_for(|ready| *ready).await.ok();
    }

    /// Takes no more work, and waits until the leader has moved what runs here, at most for the grace period. Returns
    /// whether nothing runs here any more.
    pub async fn leave(&self) -> bool {
        let left = time::timeout(self.leave_grace, self.worker.leave()).await.is_ok();
        if !left {
            tracing::warn!(node = %self.id, "the grace period is over with work left here");
        }
        left
    }

    /// Ends the node.
    ///
    /// # Errors
    /// The failure that ended it earlier.
    pub async fn shutdown(&self) -> Result<(), NodeFailure> {
        self.lifecycle.stop.cancel();
        self.wait().await
    }

    /// Waits for the node's end.
    ///
    /// # Errors
    /// The failure that ended it. Then the process must end as well.
    pub async fn wait(&self) -> Result<(), NodeFailure> {
        self.lifecycle.ended.cancelled().await;
        let failure = self.lifecycle.failure.borrow().clone();
        failure.map_or(Ok(()), Err)
    }
}

impl Lifecycle {
    fn new() -> Self {
        let failure = watch::Sender::new(None);
        Self { stop: CancellationToken::new(), ended: CancellationToken::new(), failure }
    }

    /// Ends the node because of a failure. The first one is the reason.
    fn fail(&self, failure: NodeFailure) {
        if !self.stop.is_cancelled() {
            tracing::error!(error = &failure as &dyn std::error::Error, "the node ends");
            self.failure.send_if_modified(|first| first.is_none() && first.replace(failure).is_none());
        }
        self.stop.cancel();
    }

    /// A guard for a task to hold. If it is dropped before the task ends, as by a panic, the node ends.
    fn guard(&self, task: &'static str) -> PanicGuard {
        PanicGuard { lifecycle: self.clone(), task, is_defused: false }
    }

    fn serve(
        &self,
        seams: &Seams,
        listeners: Listeners,
        limits: ConnectionLimits,
        (context, router): (&RuntimeContext, Option<Router>),
    ) {
        let (lifecycle, stop) = (self.clone(), self.stop.clone());
        let server = thalweg_proto::network::server(&seams.io)
            .add_service(ExchangeService::new(context.exchange.clone()).into_server())
            .add_service(CollectService::server(context.collect.clone()))
            .add_service(TablesService::server(context.queryable.clone(), seams.clone()))
            .serve_with_incoming_shutdown(admit(listeners.grpc, limits), stop.cancelled_owned());
        let serve = async move {
            let guard = lifecycle.guard("gRPC server");
            lifecycle.served("gRPC", server.await.err().map(|error| error.to_string()));
            guard.defuse();
        };
        seams.io.spawn("node server", Box::pin(serve));
        let Some(((listener, _), router)) = listeners.http.zip(router) else {
            return;
        };
        let (lifecycle, stop, spawner) = (self.clone(), self.stop.clone(), seams.io.clone());
        let serve = async move {
            let guard = lifecycle.guard("HTTP server");
            http::serve(listener, router, limits, spawner, stop).await;
            lifecycle.served("HTTP", None);
            guard.defuse();
        };
        seams.io.spawn("ingest server", Box::pin(serve));
    }

    /// A server has ended. That is a failure unless the node was asked to stop.
    fn served(&self, server: &'static str, error: Option<String>) {
        if !self.stop.is_cancelled() {
            let reason = error.unwrap_or_else(|| "its listener has ended".to_owned());
            self.fail(NodeFailure::Server { server, reason });
        }
    }

    fn work(&self, seams: &Seams, config: &Checked, context: RuntimeContext) -> (WorkerHandle, watch::Receiver<bool>) {
        let limits = Limits { orphan_timeout: config.orphan_timeout, stop_timeout: config.stop_timeout };
        let orders = Orders::new(limits, seams.clock.monotonic());
        let (ready, is_ready) = watch::channel(false);
        let owner = (context.node, orders);
        let (worker, handle) = Worker::new(owner, Arc::new(RuntimeEngine::new(context)), seams.clone(), ready);
        let lifecycle = self.clone();
        let work = async move {
            let _ended: DropGuard = lifecycle.ended.clone().drop_guard();
            let guard = lifecycle.guard("worker");
            match worker.run(lifecycle.stop.clone()).await {
                WorkerExit::Stopped => {}
                WorkerExit::Stuck { job, attempt } => {
                    lifecycle.fail(NodeFailure::Stuck { job, attempt, limit: limits.stop_timeout });
                }
            }
            guard.defuse();
        };
        seams.io.spawn("worker", Box::pin(work));
        (handle, is_ready)
    }

    fn hold_sessions(&self, seams: &Seams, client: SessionClient) {
        let lifecycle = self.clone();
        let hold = async move {
            let guard = lifecycle.guard("session");
            match client.run().await {
                SessionExit::Stopped => {}
                SessionExit::Refused { reason } => lifecycle.fail(NodeFailure::Refused { reason }),
            }
            guard.defuse();
        };
        seams.io.spawn("session", Box::pin(hold));
    }
}

/// Ends the node if it is dropped before it is defused.
struct PanicGuard {
    lifecycle: Lifecycle,
    task: &'static str,
    is_defused: bool,
}

impl PanicGuard {
    fn defuse(mut self) {
        self.is_defused = true;
    }
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if !self.is_defused {
            self.lifecycle.fail(NodeFailure::Panicked { task: self.task });
        }
    }
}

async fn listen(config: &Checked, network: &Arc<dyn Network>) -> Result<Listeners, StartError> {
    let grpc = bind(network, &config.listen).await?;
    let address = advertised("advertise", &config.advertise, &grpc.address)?;
    let http = match &config.http {
        None => None,
        Some(http) => {
            let listener = bind(network, &http.listen).await?;
            let address = advertised("http_advertise", &http.advertise, &listener.address)?;
            Some((listener, address))
        }
    };
    Ok(Listeners { grpc, address, http })
}

async fn bind(network: &Arc<dyn Network>, address: &str) -> Result<Listener, StartError> {
    network.listen(address).await.map_err(|source| StartError::Listen { address: address.to_owned(), source })
}

/// 32 random bits above zero: short enough to read, and unlikely to collide among a few hundred nodes.
fn random_id(seams: &Seams) -> NodeId {
    NodeId((seams.entropy.next() >> 32).max(1))
}

/// Grows with the clock from one incarnation of a node to the next, and differs even if the clock stood still.
fn incarnation(seams: &Seams) -> Incarnation {
    let millis = u64::try_from(seams.clock.unix_time().as_millis()).unwrap_or(u64::MAX);
    Incarnation((millis << 16) | (seams.entropy.next() & 0xffff))
}
