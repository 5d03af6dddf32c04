//! A whole cluster in this process: one coordinator, some nodes, and a client; between them real gRPC over loopback.
//!
//! Nothing is simulated, so what holds here holds for processes on many machines; only start-up is quicker, since a group
//! of one member elects itself at once.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use thalweg_client::{Client, ClientConfig};
use thalweg_consensus::store::{LogStore, MemoryStore};
use thalweg_coordinator::{Coordinator, CoordinatorConfig};
use thalweg_node::{Node, NodeConfig};
use thalweg_proto::network::Network;
use thalweg_types::{NodeId, seam::Seams};

use crate::{
    seams::{Surroundings, cores},
    serve::{self, GrpcServer},
    streams,
    tcp::TcpNetwork,
};

/// Raft's unit of time in a group of one: it has nobody to wait for.
const RAFT_TICK_MS: u64 = 20;

/// What a cluster in this process consists of.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// How many nodes.
    pub nodes: u32,
    /// How many slices each node offers.
    pub slots: u32,
    /// Where the coordinator listens; port 0 lets the system choose.
    pub listen: String,
    /// Where the first node answers HTTP; `None`: nowhere.
    pub http: Option<String>,
    /// Where the coordinator keeps its log; `None`: in memory.
    pub data_dir: Option<PathBuf>,
    /// How many threads operators have.
    pub compute_threads: usize,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            nodes: 1,
            slots: u32::try_from(cores()).unwrap_or(u32::MAX),
            listen: "127.0.0.1:0".to_owned(),
            http: None,
            data_dir: None,
            compute_threads: cores(),
        }
    }
}

/// A cluster in this process.
#[derive(Debug)]
pub struct EmbeddedCluster {
    client: Client,
    address: String,
    nodes: Vec<Node>,
    coordinator: Coordinator,
    server: GrpcServer,
    surroundings: Surroundings,
}

impl EmbeddedCluster {
    /// Starts a cluster and waits until it takes jobs.
    ///
    /// # Errors
    /// When an address cannot be bound, the data directory cannot be used, or a part does not start.
    pub async fn start(options: EmbeddedOptions) -> Result<Self> {
        let surroundings = Surroundings::of_system(options.compute_threads).context("could not start threads")?;
        let seams = surroundings.seams();
        let network: Arc<dyn Network> = Arc::new(TcpNetwork);
        let listener = serve::listen(&network, &options.listen).await?;
        let address = listener.address.clone();
        let coordinator = start_coordinator(&options, &address, &network, &seams).await?;
        let server = GrpcServer::start(listener, coordinator.routes(), &seams);
        let connectors = streams::connectors(&seams, true);
        let mut nodes = Vec::new();
        for number in 1..=u64::from(options.nodes) {
            let config = NodeConfig {
                node: Some(NodeId(number)),
                http_listen: options.http.clone().filter(|_| number == 1).unwrap_or_default(),
                coordinators: vec![address.clone()],
                slots: options.slots,
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
        Ok(Self { client, address, nodes, coordinator, server, surroundings })
    }

    /// A client of this cluster.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where its coordinator listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where its first node takes records over HTTP.
    #[must_use]
    pub fn http_address(&self) -> Option<&str> {
        self.nodes.iter().find_map(Node::http_address)
    }

    /// What its parts were handed.
    #[must_use]
    pub fn seams(&self) -> Seams {
        self.surroundings.seams()
    }

    /// Ends the nodes, then the coordinator.
    pub async fn shutdown(self) {
        for node in self.nodes {
            if let Err(failure) = node.shutdown().await {
                tracing::warn!(error = &failure as &dyn std::error::Error, "a node had ended before");
            }
        }
        self.coordinator.shutdown().await;
        self.server.stop();
    }
}

async fn start_coordinator(
    options: &EmbeddedOptions,
    address: &str,
    network: &Arc<dyn Network>,
    seams: &Seams,
) -> Result<Coordinator> {
    let config =
        CoordinatorConfig { address: address.to_owned(), raft_tick_ms: RAFT_TICK_MS, ..CoordinatorConfig::default() };
    let store: Arc<dyn LogStore> = match &options.data_dir {
        None => Arc::new(MemoryStore::new()),
        Some(directory) => serve::open_store(directory)?,
    };
    let started = Coordinator::start(config, store, network.clone(), seams.clone()).await;
    started.context("could not start the coordinator")
}
