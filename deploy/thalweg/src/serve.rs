//! Starts the parts of a cluster in this process: listeners, a coordinator's gRPC server, stores and nodes.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use futures::{FutureExt, future::select_all};
use thalweg_connectors::ConnectorContext;
use thalweg_consensus::store::{LogStore, RedbStore};
use thalweg_node::{Node, NodeConfig};
use thalweg_proto::network::{ConnectionLimits, Listener, Network, admit};
use thalweg_storage::{CheckpointStore, ObjectStores};
use thalweg_types::{
    job::FailureKind,
    seam::{Seams, TaskHandle},
    text::with_causes,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// The longest wait at start for the place of checkpoints to answer.
const ACCESS_CHECK_MAX: Duration = Duration::from_secs(20);

/// A coordinator's services on a listener.
#[derive(Debug)]
pub struct GrpcServer {
    stopping: CancellationToken,
    /// The reason why it ended, once it has.
    ended: watch::Receiver<Option<String>>,
    _task: Box<dyn TaskHandle>,
}

impl GrpcServer {
    /// Serves until it is stopped.
    #[must_use]
    pub fn start(listener: Listener, limits: ConnectionLimits, routes: Routes, seams: &Seams) -> Self {
        let stopping = CancellationToken::new();
        let stop = stopping.clone();
        let (end, ended) = watch::channel(None);
        let server = thalweg_proto::network::server(&seams.io).add_routes(routes);
        let serve = async move {
            let stopped = stop.cancelled_owned();
            let served = server.serve_with_incoming_shutdown(admit(listener, limits), stopped).await;
            let reason = served.err().map_or_else(|| "its listener has ended".to_owned(), |error| error.to_string());
            end.send_replace(Some(reason));
        };
        let task = seams.io.spawn("grpc-server", Box::pin(serve));
        Self { stopping, ended, _task: task }
    }

    /// Waits until the server ends without being stopped, and returns the reason. The process should end then, since
    /// nobody can reach the coordinator.
    pub async fn failed(&self) -> String {
        let mut ended = self.ended.clone();
        let reason = match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "its task ended abnormally".to_owned(),
        };
        if self.stopping.is_cancelled() {
            return std::future::pending().await;
        }
        reason
    }

    /// Accepts no more connections, and ends once the open ones have ended.
    pub fn stop(&self) {
        self.stopping.cancel();
    }
}

/// The servers of a coordinator: one at each of its addresses.
#[derive(Debug)]
pub struct GrpcServers(Vec<GrpcServer>);

impl GrpcServers {
    /// Servers that fail and stop together.
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = GrpcServer>) -> Self {
        Self(servers.into_iter().collect())
    }

    /// Waits until one of them ends without being stopped, and returns the reason.
    pub async fn failed(&self) -> String {
        select_all(self.0.iter().map(|server| server.failed().boxed())).await.0
    }

    /// Stops all of them.
    pub fn stop(&self) {
        self.0.iter().for_each(GrpcServer::stop);
    }
}

/// Listens at an address, which errors name.
///
/// # Errors
/// If the address cannot be bound.
pub async fn listen(network: &Arc<dyn Network>, address: &str) -> Result<Listener> {
    network.listen(address).await.with_context(|| format!("could not listen at {address}"))
}

/// Opens a coordinator's store in a directory, which is created if it is missing.
///
/// # Errors
/// If the directory cannot be created or the store cannot be opened.
pub fn open_store(directory: &Path) -> Result<Arc<dyn LogStore>> {
    fs::create_dir_all(directory)
        .with_context(|| format!("could not create the data directory {}", directory.display()))?;
    let store = RedbStore::open(directory)
        .with_context(|| format!("could not open the data directory {}", directory.display()))?;
    Ok(Arc::new(store))
}

/// Checks that checkpoints can be kept at a place. A failure that may pass is only logged, since the store may come
/// back.
///
/// # Errors
/// If the place refuses them for a reason that does not pass, such as missing rights.
pub async fn check_checkpoints(url: &str, stores: &ObjectStores) -> Result<()> {
    let refused = || format!("checkpoints cannot be kept at {url}");
    let store = CheckpointStore::open(url, stores).with_context(refused)?;
    match tokio::time::timeout(ACCESS_CHECK_MAX, store.check_access()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) if error.failure_kind() == FailureKind::Data => {
            return Err(anyhow::Error::new(error).context(refused()));
        }
        Ok(Err(error)) => {
            let error = with_causes(&error);
            tracing::warn!(url, error, "the place for checkpoints cannot be reached now");
        }
        Err(_) => tracing::warn!(url, "the place for checkpoints does not answer now"),
    }
    Ok(())
}

/// Starts a node with the connectors of this process.
///
/// # Errors
/// If its configuration is wrong or it cannot listen.
pub async fn start_node(
    config: NodeConfig,
    network: &Arc<dyn Network>,
    seams: &Seams,
    connectors: ConnectorContext,
) -> Result<Node> {
    Node::start(config, network.clone(), seams.clone(), connectors).await.context("could not start the node")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{StreamExt, stream};

    use super::*;
    use crate::seams::Surroundings;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_without_its_listener_has_failed() {
        let surroundings = Surroundings::of_system(1).unwrap();
        let listener = Listener { address: "a:1".to_owned(), incoming: stream::empty().boxed() };
        let server = GrpcServer::start(listener, ConnectionLimits::default(), Routes::default(), &surroundings.seams());
        let failed = tokio::time::timeout(Duration::from_secs(10), server.failed()).await;
        assert_eq!(failed.as_deref(), Ok("its listener has ended"));
        server.stop();
        assert_eq!(server.failed().now_or_never(), None, "what was stopped has not failed");
    }
}
