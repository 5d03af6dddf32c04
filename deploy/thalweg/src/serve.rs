//! Starting the parts of a cluster in this process: listeners, the gRPC server of a coordinator, stores and nodes.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context, Result};
use thalweg_connectors::ConnectorContext;
use thalweg_consensus::store::{LogStore, RedbStore};
use thalweg_node::{Node, NodeConfig};
use thalweg_proto::network::{Listener, Network};
use thalweg_types::seam::{Seams, TaskHandle};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// A coordinator's services on a listener.
#[derive(Debug)]
pub struct GrpcServer {
    stopping: CancellationToken,
    _task: Box<dyn TaskHandle>,
}

impl GrpcServer {
    /// Serves until stopped.
    #[must_use]
    pub fn start(listener: Listener, routes: Routes, seams: &Seams) -> Self {
        let stopping = CancellationToken::new();
        let stop = stopping.clone();
        let serve = async move {
            let server = thalweg_proto::network::server().add_routes(routes);
            let stopped = stop.cancelled_owned();
            if let Err(error) = server.serve_with_incoming_shutdown(listener.incoming, stopped).await {
                tracing::error!(error = &error as &dyn std::error::Error, "the coordinator's server has failed");
            }
        };
        let task = seams.io.spawn("grpc-server", Box::pin(serve));
        Self { stopping, _task: task }
    }

    /// Takes no more connections and ends once those there are have ended.
    pub fn stop(&self) {
        self.stopping.cancel();
    }
}

/// Listens, with an error that says where.
///
/// # Errors
/// When the address cannot be bound.
pub async fn listen(network: &Arc<dyn Network>, address: &str) -> Result<Listener> {
    network.listen(address).await.with_context(|| format!("could not listen at {address}"))
}

/// Opens a coordinator's store in a directory, which is made where it is missing.
///
/// # Errors
/// When the directory cannot be made or the store in it not opened.
pub fn open_store(directory: &Path) -> Result<Arc<dyn LogStore>> {
    fs::create_dir_all(directory)
        .with_context(|| format!("could not create the data directory {}", directory.display()))?;
    let store = RedbStore::open(directory)
        .with_context(|| format!("could not open the data directory {}", directory.display()))?;
    Ok(Arc::new(store))
}

/// Starts a node with the connectors of this process.
///
/// # Errors
/// When its configuration is wrong or it cannot listen.
pub async fn start_node(
    config: NodeConfig,
    network: &Arc<dyn Network>,
    seams: &Seams,
    connectors: ConnectorContext,
) -> Result<Node> {
    Node::start(config, network.clone(), seams.clone(), connectors).await.context("could not start the node")
}
