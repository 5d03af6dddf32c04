//! Starts and stops a coordinator.

use std::sync::Arc;

use thalweg_consensus::{Consensus, ConsensusError, ConsensusExit, Leadership, RaftServer};
use thalweg_metrics::Families;
use thalweg_proto::network::Network;
use thalweg_storage::{CheckpointStore, StorageError};
use thalweg_types::seam::Seams;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    cluster::ClusterService,
    config::{ConfigError, LeaderConfig},
    front::Front,
    leader::{Leader, LeaderHandle},
    machine::Machine,
    planning::Planner,
    session::NodeSessionService,
};

/// Why a coordinator did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Its configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its place for checkpoints cannot be used.
    #[error("could not open the place for checkpoints")]
    Checkpoints(#[from] StorageError),
    /// Its member of the Raft group did not start.
    #[error("could not start the coordinator's replicated log")]
    Consensus(#[from] thalweg_consensus::StartError),
}

/// The parts of a coordinator besides its log and its place for checkpoints.
pub(crate) struct Parts {
    pub(crate) network: Arc<dyn Network>,
    pub(crate) seams: Seams,
    pub(crate) planner: Arc<dyn Planner>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// A running coordinator. It runs until `shutdown` is called or its log fails.
pub struct Coordinator {
    consensus: Consensus<Machine>,
    routes: Routes,
    stop: StopOnDrop,
    leader_ended: watch::Receiver<bool>,
    leader: LeaderHandle,
    seams: Seams,
}

impl std::fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Coordinator({:?})", self.consensus)
    }
}

impl Coordinator {
    /// Starts a coordinator that founds a cluster without asking others if its store is empty.
    #[cfg(test)]
    pub(crate) async fn start_with(
        config: crate::CoordinatorConfig,
        (store, checkpoints): (Arc<dyn thalweg_consensus::store::LogStore>, CheckpointStore),
        network: Arc<dyn Network>,
        seams: Seams,
        planner: Arc<dyn Planner>,
    ) -> Result<Self, StartError> {
        let config = config.check()?;
        let started =
            thalweg_consensus::start(config.consensus, Machine::default(), store, network.clone(), seams.clone());
        let (consensus, raft) = started.await?;
        let incarnation = seams.entropy.next();
        Ok(Self::assemble(
            (consensus, raft, incarnation),
            config.leader,
            checkpoints,
            Parts { network, seams, planner },
        ))
    }

    /// Assembles the coordinator around a running member of the Raft group. `incarnation` identifies this process.
    pub(crate) fn assemble(
        (consensus, raft, incarnation): (Consensus<Machine>, RaftServer, u64),
        config: LeaderConfig,
        checkpoints: CheckpointStore,
        parts: Parts,
    ) -> Self {
        let Parts { network, seams, planner } = parts;
        let stop = CancellationToken::new();
        let checkpoints_url = checkpoints.url().into();
        let (leader, handle) = Leader::new(consensus.clone(), config, checkpoints, seams.clone());
        let (ended, leader_ended) = watch::channel(false);
        let stopping = stop.clone();
        // If this task fails, the member can no longer serve nodes: the channel closes, and `exited` reports it to the
        // process.
        let task = async move {
            leader.run(stopping).await;
            ended.send_replace(true);
        };
        seams.io.spawn("leader", Box::pin(task));
        let gatekeeper = consensus.gatekeeper(network.clone(), incarnation);
        let cluster =
            ClusterService::new(consensus.clone(), (handle.clone(), checkpoints_url), network, seams.clone(), planner);
        let session = NodeSessionService::new(consensus.clone(), handle.clone(), seams.clone());
        let routes = Routes::new(cluster.into_server()).add_service(session.into_server());
        let routes = routes.add_service(raft).add_service(gatekeeper);
        Self { consensus, routes, stop: StopOnDrop(stop), leader_ended, leader: handle, seams }
    }

    /// Serves through a front that was there before.
    pub(crate) fn behind(self, front: &Front) -> Self {
        Self { routes: front.routes(), ..self }
    }

    /// Every service of the coordinator, to be served at its address.
    #[must_use]
    pub fn routes(&self) -> Routes {
        self.routes.clone()
    }

    /// Watches who leads.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.consensus.leadership()
    }

    /// The handle of the replicated state, for reading it.
    #[must_use]
    pub fn consensus(&self) -> &Consensus<Machine> {
        &self.consensus
    }

    /// Resolves while the coordinator's replicated log runs, with or without a leader.
    ///
    /// # Errors
    /// If it has stopped.
    pub async fn beat(&self) -> Result<(), ConsensusError> {
        self.consensus.beat().await
    }

    /// Adds what this member measures, and what the leader knows of nodes and jobs where it leads.
    pub async fn tell_metrics(&self, families: &mut Families) {
        crate::metrics::tell(families, &self.consensus, &self.leader, &self.seams).await;
    }

    /// Whether all jobs have ended and their output is published or its hidden files are removed. `false` if this
    /// member does not lead. Checkpoints may still be there.
    pub async fn is_settled(&self) -> bool {
        self.leader.is_settled().await
    }

    /// Stops the coordinator. A leader hands over its leadership first. Jobs run on.
    pub async fn shutdown(&self) {
        self.consensus.shutdown().await;
        self.stop.0.cancel();
        let mut ended = self.leader_ended.clone();
        // An error means that the task ended abnormally, so there is nothing to wait for.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Waits until the coordinator has ended, and returns how. After a failure the process should end.
    pub async fn exited(&self) -> ConsensusExit {
        let mut ended = self.leader_ended.clone();
        tokio::select! {
            biased;
            exit = self.consensus.exited() => exit,
            waited = async { ended.wait_for(|ended| *ended).await.map(|_| ()) } => match waited {
                Ok(()) => self.consensus.exited().await,
                Err(_) => ConsensusExit::Failed("the leader task ended abnormally".to_owned()),
            },
        }
    }
}

/// Stops the coordinator when its handle is dropped.
#[derive(Debug)]
struct StopOnDrop(CancellationToken);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
