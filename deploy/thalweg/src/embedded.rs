//! A whole cluster in this process: one coordinator, some nodes and a client, connected by real gRPC over loopback.
//!
//! Nothing is simulated, so it behaves like processes on several machines. Only its start is quicker, since a group
//! of one member elects itself at once.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use futures::{
    FutureExt,
    future::{join_all, select_all},
};
use tempfile::TempDir;
use thalweg_client::{Client, ClientConfig, ClientError};
use thalweg_connectors::AllowedPaths;
use thalweg_consensus::store::{LogStore, MemoryStore};
use thalweg_coordinator::{Coordinator, CoordinatorConfig};
use thalweg_metrics::Families;
use thalweg_node::{Node, NodeConfig};
use thalweg_proto::network::{ConnectionLimits, Network};
use thalweg_storage::ObjectStores;
use thalweg_types::{JobStatus, NodeId, client::NodeOverview, job::JobOverview, node::NodeState, seam::Seams};
use tokio::time::{sleep, timeout};

use crate::{
    config::{self, EMBEDDED_CHECKPOINT_INTERVAL},
    follow,
    http::{self, Probes},
    output::say,
    seams::{Surroundings, cores, default_slots},
    secrets::ProcessSecrets,
    serve::{self, GrpcServer},
    signals,
    streams::{self, ProcessOutput},
    tcp::{TcpNetwork, is_every_interface, reached_from_here},
};

/// Raft's tick in a group of one member, which waits for nobody.
const RAFT_TICK_MS: u64 = 20;

/// The longest wait for ended jobs to be published or cleaned up. It takes moments, unless their store is remote or
/// slow.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// After this wait, the user is told what it is for.
const SETTLED_SOON: Duration = Duration::from_secs(2);
/// The longest wait for the coordinator to learn that nodes leave and that no job is running. Usually it takes moments.
const MOVED_WITHIN: Duration = Duration::from_secs(2);
const SETTLED_ASKED_EVERY: Duration = Duration::from_millis(10);

/// The parts of a cluster in this process.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The number of nodes.
    pub nodes: u32,
    /// Slots per node.
    pub slots: u32,
    /// The address the coordinator listens at; port 0 lets the system choose.
    pub listen: String,
    /// The address at which the first node takes records over HTTP; `None` for no such listener.
    pub http: Option<String>,
    /// That address for clients; `None` for the bound one.
    pub http_advertise: Option<String>,
    /// The directory of the coordinator's log and of checkpoints. `None` keeps the log in memory, and checkpoints in
    /// a temporary directory that is removed with the cluster.
    pub data_dir: Option<PathBuf>,
    /// The default checkpoint interval of jobs; zero for none.
    pub checkpoint_interval: Duration,
    /// The default parallelism of jobs; `None` for half of the free slots.
    pub parallelism: Option<u32>,
    /// The number of threads for operators.
    pub compute_threads: usize,
    /// Limits of the connections of each listener.
    pub limits: ConnectionLimits,
    /// The paths that tables may name.
    pub allowed: AllowedPaths,
    /// The directory of secrets.
    pub secrets: Option<PathBuf>,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            nodes: 1,
            slots: default_slots(),
            listen: "127.0.0.1:0".to_owned(),
            http: None,
            http_advertise: None,
            data_dir: None,
            checkpoint_interval: EMBEDDED_CHECKPOINT_INTERVAL,
            parallelism: None,
            compute_threads: cores(),
            limits: ConnectionLimits::default(),
            allowed: AllowedPaths::everywhere(),
            secrets: None,
        }
    }
}

/// A cluster in this process.
#[derive(Debug)]
pub struct EmbeddedCluster {
    client: Client,
    address: String,
    nodes: Arc<Vec<Node>>,
    coordinator: Arc<Coordinator>,
    server: GrpcServer,
    output: ProcessOutput,
    surroundings: Surroundings,
    /// Removed when the cluster is dropped. Afterwards its jobs cannot be resumed.
    temporary: Option<TempDir>,
}

impl EmbeddedCluster {
    /// Starts a cluster, and waits until it takes jobs.
    ///
    /// # Errors
    /// If an address cannot be bound, the data directory cannot be used, or a part does not start.
    pub async fn start(options: EmbeddedOptions) -> Result<Self> {
        let surroundings = Surroundings::of_system(options.compute_threads).context("could not start threads")?;
        let seams = surroundings.seams();
        let network: Arc<dyn Network> = Arc::new(TcpNetwork);
        let listener = serve::listen(&network, &options.listen).await?;
        // All clients of this address are in this process.
        let address = reached_from_here(&listener.address);
        let temporary = options.data_dir.is_none().then(|| TempDir::with_prefix("thalweg-")).transpose();
        let temporary = temporary.context("could not create a temporary directory")?;
        let kept = options.data_dir.as_deref().or(temporary.as_ref().map(TempDir::path)).unwrap_or(Path::new("."));
        let checkpoints = config::checkpoints_in("dev", kept)?;
        let config = coordinator_config(&options, &address, checkpoints.clone());
        let coordinator = start_coordinator(&options, config, &network, &seams).await?;
        let server = GrpcServer::start(listener, options.limits, coordinator.routes(), &seams);
        let output = ProcessOutput::default();
        options.allowed.refuse(&checkpoints);
        let tables = (options.allowed.clone(), ProcessSecrets::new(options.secrets.clone()));
        let connectors = streams::connectors(&seams, true, output.clone(), tables);
        let mut nodes = Vec::new();
        for number in 1..=u64::from(options.nodes) {
            let http = options.http.clone().filter(|_| number == 1);
            let http_advertise = http.as_ref().and_then(|http| http_advertise(&options, http));
            let config = NodeConfig {
                node: Some(NodeId(number)),
                http_advertise: http_advertise.unwrap_or_default(),
                http_listen: http.unwrap_or_default(),
                coordinators: vec![address.clone()],
                slots: options.slots,
                connections_max: options.limits.connections_max,
                ..NodeConfig::default()
            };
            nodes.push(serve::start_node(config, &network, &seams, connectors.clone()).await?);
        }
        let config = ClientConfig { coordinators: vec![address.clone()], ..ClientConfig::default() };
        let client =
            Client::connect(config, network, seams.entropy.clone()).await.context("could not reach the cluster")?;
        for node in &nodes {
            node.wait_ready().await;
        }
        let (nodes, coordinator) = (Arc::new(nodes), Arc::new(coordinator));
        let cluster = Self { client, address, nodes, coordinator, server, output, surroundings, temporary };
        for node in cluster.nodes.iter() {
            node.answer_by(http::health(cluster.probes()));
        }
        Ok(cluster)
    }

    /// A client of this cluster.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The address its coordinator listens at.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The address at which its first node takes records over HTTP.
    #[must_use]
    pub fn http_address(&self) -> Option<&str> {
        self.nodes.iter().find_map(Node::http_address)
    }

    /// The clock, entropy and spawners of its parts.
    #[must_use]
    pub fn seams(&self) -> Seams {
        self.surroundings.seams()
    }

    /// What is asked about its health: it lives as its coordinator and all of its nodes do.
    #[must_use]
    pub fn probes(&self) -> Probes {
        // The health of a cluster does not keep it alive.
        let parts = (Arc::downgrade(&self.coordinator), Arc::downgrade(&self.nodes));
        let (alive, registered, told_of) = (parts.clone(), parts.clone(), parts);
        Probes {
            beat: Arc::new(move || beat_of(alive.clone()).boxed()),
            ready: Arc::new(move || std::future::ready(readiness_of(&registered)).boxed()),
            waits: None,
            component: "dev",
            metrics: Arc::new(move |families| metrics_of(told_of.clone(), families).boxed()),
        }
    }

    /// Where its jobs print.
    #[must_use]
    pub fn output(&self) -> &ProcessOutput {
        &self.output
    }

    /// Waits until a part ends unexpectedly, and returns the reason. The rest of the cluster is useless then.
    pub async fn failed(&self) -> anyhow::Error {
        let nodes = self.nodes.iter().map(|node| node.wait().boxed());
        let no_nodes = futures::future::pending().boxed();
        tokio::select! {
            exit = self.coordinator.exited() => anyhow!("the coordinator has ended: {exit:?}"),
            reason = self.server.failed() => anyhow!("the coordinator's server has failed: {reason}"),
            (ended, ..) = select_all(nodes.chain([no_nodes])) => {
                ended.map_or_else(anyhow::Error::from, |()| anyhow!("it was stopped")).context("a node has ended")
            }
        }
    }

    /// Stops the nodes, which leave the cluster first, and then the coordinator. Without a data directory nobody
    /// could clean up later, so all jobs end first: complete checkpoints are published and the rest is removed. This
    /// wait ends after `SETTLED_WITHIN`, or at a signal to end.
    pub async fn shutdown(self) {
        self.shut_down(false).await;
    }

    /// As `shutdown`, after what the user perhaps has interrupted: then a long wait is told, and what ends it.
    pub async fn shutdown_after<T>(self, result: &Result<T>) {
        self.shut_down(follow::was_interrupted(result)).await;
    }

    async fn shut_down(self, is_interrupted: bool) {
        if self.temporary.is_some() {
            tokio::select! {
                biased;
                Ok(()) = signals::until_asked_to_end() => {}
                () = tell_of_settling(), if is_interrupted => {}
                settled = timeout(SETTLED_WITHIN, self.settle()) => match settled {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "could not end the jobs"),
                    Err(_) => say("note: what jobs had not published could not be removed in time; hidden files may stay"),
                }
            }
        }
        if self.temporary.is_none() {
            timeout(MOVED_WITHIN, self.take_leave()).await.ok();
        }
        for node in self.nodes.iter() {
            if let Err(failure) = node.shutdown().await {
                tracing::warn!(error = &failure as &dyn std::error::Error, "a node had ended before");
            }
        }
        if self.temporary.is_none() {
            timeout(MOVED_WITHIN, self.until_moved()).await.ok();
        }
        self.coordinator.shutdown().await;
        self.server.stop();
    }
}

impl EmbeddedCluster {
    /// Lets the nodes announce that they leave, so that their jobs do not count a failure.
    async fn take_leave(&self) {
        let are_leaving = async {
            let is_leaving = |nodes: Vec<NodeOverview>| nodes.iter().all(|node| node.state != NodeState::Alive);
            while !self.client.nodes().await.is_ok_and(is_leaving) {
                sleep(SETTLED_ASKED_EVERY).await;
            }
        };
        tokio::select! {
            _ = join_all(self.nodes.iter().map(Node::leave)) => {}
            () = are_leaving => {}
        }
    }

    /// Waits until the coordinator knows that no job is running any more.
    async fn until_moved(&self) {
        let runs = |job: &JobOverview| matches!(job.status, JobStatus::Deploying | JobStatus::Running);
        while !self.client.jobs().await.is_ok_and(|jobs| !jobs.iter().any(runs)) {
            sleep(SETTLED_ASKED_EVERY).await;
        }
    }

    /// Cancels all jobs, and waits until nothing of them is left to publish or remove.
    async fn settle(&self) -> Result<(), ClientError> {
        for job in self.client.jobs().await?.into_iter().filter(|job| !job.status.is_terminal()) {
            self.client.cancel(job.job).await?;
        }
        while !self.coordinator.is_settled().await {
            sleep(SETTLED_ASKED_EVERY).await;
        }
        Ok(())
    }
}

/// The parts of a cluster, as long as it is there.
type Parts = (Weak<Coordinator>, Weak<Vec<Node>>);

fn upgraded((coordinator, nodes): &Parts) -> Result<(Arc<Coordinator>, Arc<Vec<Node>>), String> {
    coordinator.upgrade().zip(nodes.upgrade()).ok_or_else(|| "the cluster has ended".to_owned())
}

async fn beat_of(parts: Parts) -> Result<(), String> {
    let (coordinator, nodes) = upgraded(&parts)?;
    coordinator.beat().await.map_err(|error| error.to_string())?;
    for node in nodes.iter() {
        if !node.beat().await {
            return Err(format!("the worker of {} has ended", node.id()));
        }
    }
    Ok(())
}

fn readiness_of(parts: &Parts) -> Result<(), String> {
    let (_, nodes) = upgraded(parts)?;
    match nodes.iter().find(|node| !node.ready()) {
        None => Ok(()),
        Some(node) => Err(format!("the coordinator has not registered {}", node.id())),
    }
}

async fn metrics_of(parts: Parts, mut families: Families) -> Families {
    if let Ok((coordinator, nodes)) = upgraded(&parts) {
        coordinator.tell_metrics(&mut families).await;
        for node in nodes.iter() {
            node.tell_metrics(&mut families).await;
        }
    }
    families
}

/// Tells the user who has interrupted it what the process still does. Never returns.
async fn tell_of_settling() {
    sleep(SETTLED_SOON).await;
    say("note: what was written and not published is being removed; interrupt again to leave it where it is");
    std::future::pending().await
}

/// The HTTP address to advertise; `None` for the bound one.
fn http_advertise(options: &EmbeddedOptions, http: &str) -> Option<String> {
    let told = options.http_advertise.clone();
    told.or_else(|| is_every_interface(http).then(|| reached_from_here(http)))
}

fn coordinator_config(options: &EmbeddedOptions, address: &str, checkpoints: String) -> CoordinatorConfig {
    CoordinatorConfig {
        address: address.to_owned(),
        raft_tick_ms: RAFT_TICK_MS,
        parallelism: options.parallelism,
        checkpoints,
        // A temporary directory belongs to nobody else, so it needs no marker.
        marks_checkpoints: options.data_dir.is_some(),
        checkpoint_interval_ms: u64::try_from(options.checkpoint_interval.as_millis()).unwrap_or(u64::MAX),
        ..CoordinatorConfig::default()
    }
}

async fn start_coordinator(
    options: &EmbeddedOptions,
    config: CoordinatorConfig,
    network: &Arc<dyn Network>,
    seams: &Seams,
) -> Result<Coordinator> {
    let store: Arc<dyn LogStore> = match &options.data_dir {
        None => Arc::new(MemoryStore::new()),
        Some(directory) => serve::open_store(directory)?,
    };
    let stores = ObjectStores::new(streams::store_options());
    let started = Coordinator::start(config, store, network.clone(), &stores, seams.clone()).await;
    started.context("could not start the coordinator")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use thalweg_client::SubmitOptions;
    use tokio::time::sleep;

    use super::*;

    /// The hidden files in a sink's directory, which are not published yet.
    fn hidden(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory).into_iter().flatten();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".inprogress")).collect()
    }

    async fn until_running(cluster: &EmbeddedCluster) -> JobOverview {
        loop {
            let job = cluster.client().jobs().await.unwrap().remove(0);
            if job.status == JobStatus::Running {
                return job;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn that_a_cluster_ends_is_no_failure_of_its_jobs() {
        let directory = tempfile::tempdir().unwrap();
        let options = EmbeddedOptions {
            slots: 1,
            compute_threads: 1,
            data_dir: Some(directory.path().to_owned()),
            ..EmbeddedOptions::default()
        };
        let cluster = EmbeddedCluster::start(options.clone()).await.unwrap();
        let sql = "CREATE TABLE e (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1');
             CREATE TABLE o (n BIGINT) WITH ('connector' = 'blackhole');
             INSERT INTO o SELECT n FROM e;";
        let submit = SubmitOptions { sql: sql.to_owned(), parallelism: Some(1), ..SubmitOptions::default() };
        cluster.client().submit(submit).await.unwrap();
        until_running(&cluster).await;
        cluster.shutdown().await;
        let cluster = EmbeddedCluster::start(options).await.unwrap();
        let job = until_running(&cluster).await;
        assert_eq!((job.failures, job.failure), (0, None));
        cluster.shutdown().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_cluster_that_ends_leaves_nothing_hidden() {
        let directory = tempfile::tempdir().unwrap();
        let sql = format!(
            "CREATE TABLE e (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '200000');
             CREATE TABLE o (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json',
               'sink.rolling-policy.file-size' = '1 MiB');
             INSERT INTO o SELECT n FROM e;",
            directory.path().display()
        );
        let options = EmbeddedOptions { slots: 2, compute_threads: 2, ..EmbeddedOptions::default() };
        let cluster = EmbeddedCluster::start(options).await.unwrap();
        let submit = SubmitOptions { sql, parallelism: Some(2), ..SubmitOptions::default() };
        cluster.client().submit(submit).await.unwrap();
        while hidden(directory.path()).len() < 3 {
            sleep(Duration::from_millis(10)).await;
        }
        cluster.shutdown().await;
        assert_eq!(hidden(directory.path()), [""; 0]);
    }
}
