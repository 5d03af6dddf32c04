//! A coordinator before it takes part in a cluster. It already listens, and answers what its store holds. It does not
//! know yet whether it founds a cluster, continues in one, or waits to be admitted.
//!
//! ```text
//! open --> serve `routes` --> start: settled with the other members --> Coordinator, at the same routes
//! ```

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use thalweg_consensus::{NoPrecedent, Precedent, Traces, store::LogStore};
use thalweg_proto::network::Network;
use thalweg_storage::{CheckpointStore, MARKER, ObjectStores, StorageError};
use thalweg_types::{seam::Seams, text::with_causes};
use tokio::{sync::watch, time};
use tonic::service::Routes;

use crate::{
    Coordinator, StartError,
    config::{CoordinatorConfig, LeaderConfig},
    coordinator::Parts,
    front::Front,
    machine::Machine,
    planning::SqlPlanner,
    standard::{self, Reporter},
};

/// A place for checkpoints that takes longer to answer counts as unreachable.
const LOOK_WITHIN: Duration = Duration::from_secs(10);

/// A coordinator whose log is open.
#[derive(Debug)]
pub struct Opening {
    consensus: thalweg_consensus::Opening,
    leader: LeaderConfig,
    checkpoints: CheckpointStore,
    parts: Parts,
    front: Front,
    health: Reporter,
}

impl Opening {
    /// Opens the log. The caller serves `routes` at the configured address. `stores` opens the place for checkpoints.
    ///
    /// # Errors
    /// If the configuration or the contents of the store do not allow it.
    pub async fn open(
        config: CoordinatorConfig,
        store: Arc<dyn LogStore>,
        network: Arc<dyn Network>,
        stores: &ObjectStores,
        seams: Seams,
    ) -> Result<Self, StartError> {
        let checkpoints = CheckpointStore::open(&config.check_checkpoints()?, stores)?;
        let planner = Arc::new(SqlPlanner { parallelism: config.parallelism });
        let config = config.check()?;
        let machine = Machine::default();
        let opening =
            thalweg_consensus::Opening::open(config.consensus, &machine, store, network.clone(), seams.clone());
        let consensus = opening.await?;
        let (always, health) = standard::services().await;
        let front = Front::new(Routes::new(consensus.service()), always);
        let parts = Parts { network, seams, planner };
        Ok(Self { consensus, leader: config.leader, checkpoints, parts, front, health })
    }

    /// Every service of the coordinator, before and after it takes part, to be served at its address.
    #[must_use]
    pub fn routes(&self) -> Routes {
        self.front.routes()
    }

    /// What clients call, to be served at an address of its own.
    #[must_use]
    pub fn client_routes(&self) -> Routes {
        self.front.client_routes()
    }

    /// What the coordinator waits for, as text for people; `None` while it does not wait.
    #[must_use]
    pub fn waits_for(&self) -> watch::Receiver<Option<String>> {
        self.consensus.waits_for()
    }

    /// Waits without limit until the coordinator may take part, and starts it.
    ///
    /// # Errors
    /// If another member contradicts the configuration, the place for checkpoints has another cluster's marker, or the
    /// log fails.
    pub async fn start(mut self) -> Result<Coordinator, StartError> {
        let marker: Box<dyn Precedent> =
            if self.leader.marks { Box::new(Marker(self.checkpoints.clone())) } else { Box::new(NoPrecedent) };
        self.consensus.settle(marker.as_ref()).await?;
        let incarnation = self.consensus.incarnation();
        let (consensus, raft) = self.consensus.start(Machine::default()).await?;
        let seams = self.parts.seams.clone();
        let coordinator =
            Coordinator::assemble((consensus, raft, incarnation), self.leader, self.checkpoints, self.parts);
        self.front.open(coordinator.routes());
        seams.io.spawn("health", Box::pin(self.health.follow(coordinator.leadership())));
        Ok(coordinator.behind(&self.front))
    }
}

impl Coordinator {
    /// Starts a coordinator that has nobody to wait for, such as a lone one; `Opening` is for the others. The caller
    /// serves its `routes` at the configured address. `stores` opens the place for checkpoints.
    ///
    /// # Errors
    /// If the configuration or the contents of the store do not allow it. Nothing runs then.
    pub async fn start(
        config: CoordinatorConfig,
        store: Arc<dyn LogStore>,
        network: Arc<dyn Network>,
        stores: &ObjectStores,
        seams: Seams,
    ) -> Result<Self, StartError> {
        Opening::open(config, store, network, stores, seams).await?.start().await
    }
}

/// Looks for a cluster's marker in the place for checkpoints.
struct Marker(CheckpointStore);

#[async_trait]
impl Precedent for Marker {
    async fn look(&self) -> Traces {
        let url = self.0.url();
        let unreachable = |why: String| Traces::Unknown(format!("waiting for the place for checkpoints, {url}: {why}"));
        match time::timeout(LOOK_WITHIN, self.0.marker()).await {
            Err(_) => unreachable(format!("it does not answer within {LOOK_WITHIN:?}")),
            Ok(Ok(None)) => Traces::Absent,
            Ok(Ok(Some(marker))) => Traces::Found(of_another(url, &marker.to_string())),
            Ok(Err(error @ StorageError::Corrupt { .. })) => Traces::Found(of_another(url, &error.to_string())),
            Ok(Err(error)) => unreachable(with_causes(&error)),
        }
    }
}

/// Tells what to do about a marker that was found before a cluster is founded.
fn of_another(url: &str, marker: &str) -> String {
    format!(
        "the place for checkpoints, {url}, belongs to another cluster ({marker}). If that one is alive, this coordinator has a \
         wrong --checkpoints, --cluster or --members. If its coordinators have lost their data directories, bring back those of \
         a majority. Only where it is gone for good: give the new cluster another place, or delete {MARKER} there"
    )
}
