//! The leader actor: one task that owns what only a leader needs, for as long as this member leads.
//!
//! ```text
//! idle --this member leads--> reign(term) --it does not, or in another term--> idle
//! ```
//!
//! In a reign it takes, in this order: the end, changes of leadership, ticks, outcomes of its proposals and of its work in the
//! store of checkpoints, newly applied entries, and what the services pass on. After each it lets every controller compare the
//! state with what it knows, and carries out what they want. Nothing it waits for can wait for it: proposals and work in the
//! store run beside it, messages to nodes are never awaited.
//!
//! If it fails, this member can no longer lead well: the process should end (`Coordinator::exited`).

use thalweg_consensus::{Consensus, Leadership};
use thalweg_control::NodeLiveness;
use thalweg_storage::CheckpointStore;
use thalweg_types::{
    Incarnation, JobId, NodeId, Term,
    node::NodeRegistration,
    seam::Seams,
    session::{CoordinatorMessage, NodeMessage},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::claim::Claim;
use self::reign::Reign;
use crate::{config::LeaderConfig, coordinator::answer, machine::Machine, overview::JobMemory};

mod act;
mod claim;
mod link;
mod reign;
mod store;

/// Messages that services pass on and the actor has not looked at: a heartbeat of each of a few hundred nodes. Beyond it
/// services wait, and through them HTTP/2 slows the nodes.
const COMMANDS: usize = 1024;

/// One open session; told apart from earlier ones of the same node, also from those of an earlier term of this leader, whose
/// last words may still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionId {
    term: Term,
    number: u64,
}

/// Everything that the actor can be told or asked.
#[derive(Debug)]
enum LeaderCommand {
    /// Whether another life of a node is here, which a new one has to wait for: who and where it is.
    AskOccupant { node: NodeId, incarnation: Incarnation, reply: oneshot::Sender<Option<String>> },
    /// A node whose registration is recorded has a session. Answered with `None` where this member does not lead.
    Open {
        registration: NodeRegistration,
        outgoing: mpsc::Sender<CoordinatorMessage>,
        reply: oneshot::Sender<Option<SessionId>>,
    },
    /// A node said something.
    Receive { node: NodeId, session: SessionId, message: NodeMessage },
    /// A session has ended.
    Close { node: NodeId, session: SessionId },
    /// What is remembered of a job.
    Recall { job: JobId, reply: oneshot::Sender<JobMemory> },
    /// An ended job is to be forgotten, once it is cleared away.
    Forget { job: JobId },
    /// Whether all jobs have ended, and what they wrote is published or removed.
    AskSettled { reply: oneshot::Sender<bool> },
    /// Whether the place for checkpoints is this cluster's.
    AskClaim { reply: oneshot::Sender<Claim> },
}

/// The services' way to the actor.
#[derive(Debug, Clone)]
pub(crate) struct LeaderHandle {
    commands: mpsc::Sender<LeaderCommand>,
}

/// The actor has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaderGone;

impl LeaderHandle {
    /// Whether another life of a node is here, which a new one has to wait for: who and where it is.
    pub(crate) async fn occupant(&self, node: NodeId, incarnation: Incarnation) -> Option<String> {
        let (reply, occupant) = oneshot::channel();
        self.tell(LeaderCommand::AskOccupant { node, incarnation, reply }).await.ok()?;
        occupant.await.ok().flatten()
    }

    /// Begins the session of a registered node. `None`: this member does not lead.
    pub(crate) async fn open(
        &self,
        registration: NodeRegistration,
        outgoing: mpsc::Sender<CoordinatorMessage>,
    ) -> Option<SessionId> {
        let (reply, opened) = oneshot::channel();
        self.tell(LeaderCommand::Open { registration, outgoing, reply }).await.ok()?;
        opened.await.ok().flatten()
    }

    /// Passes on what a node said.
    pub(crate) async fn receive(
        &self,
        node: NodeId,
        session: SessionId,
        message: NodeMessage,
    ) -> Result<(), LeaderGone> {
        self.tell(LeaderCommand::Receive { node, session, message }).await
    }

    /// Says that a session has ended.
    pub(crate) async fn close(&self, node: NodeId, session: SessionId) -> Result<(), LeaderGone> {
        self.tell(LeaderCommand::Close { node, session }).await
    }

    /// What is remembered of a job; nothing where this member does not lead.
    pub(crate) async fn recall(&self, job: JobId) -> JobMemory {
        let (reply, memory) = oneshot::channel();
        match self.tell(LeaderCommand::Recall { job, reply }).await {
            Ok(()) => memory.await.unwrap_or_default(),
            Err(LeaderGone) => JobMemory::default(),
        }
    }

    /// Has an ended job forgotten, once it is cleared away. Nothing happens where this member does not lead.
    pub(crate) async fn forget(&self, job: JobId) {
        _ = self.tell(LeaderCommand::Forget { job }).await;
    }

    /// Whether all jobs have ended, and what they wrote is published or removed; no, where this member does not lead.
    pub(crate) async fn is_settled(&self) -> bool {
        let (reply, settled) = oneshot::channel();
        match self.tell(LeaderCommand::AskSettled { reply }).await {
            Ok(()) => settled.await.unwrap_or(false),
            Err(LeaderGone) => false,
        }
    }

    /// Whether the place for checkpoints is this cluster's.
    pub(crate) async fn claim(&self) -> Claim {
        let (reply, claim) = oneshot::channel();
        let unknown = || Claim::Open("this coordinator does not lead".to_owned());
        match self.tell(LeaderCommand::AskClaim { reply }).await {
            Ok(()) => claim.await.unwrap_or_else(|_| unknown()),
            Err(LeaderGone) => unknown(),
        }
    }

    async fn tell(&self, command: LeaderCommand) -> Result<(), LeaderGone> {
        self.commands.send(command).await.map_err(|_| LeaderGone)
    }
}

/// The actor.
#[derive(Debug)]
pub(crate) struct Leader {
    consensus: Consensus<Machine>,
    config: LeaderConfig,
    checkpoints: CheckpointStore,
    seams: Seams,
    commands: mpsc::Receiver<LeaderCommand>,
}

impl Leader {
    pub(crate) fn new(
        consensus: Consensus<Machine>,
        config: LeaderConfig,
        checkpoints: CheckpointStore,
        seams: Seams,
    ) -> (Self, LeaderHandle) {
        let (sender, commands) = mpsc::channel(COMMANDS);
        (Self { consensus, config, checkpoints, seams, commands }, LeaderHandle { commands: sender })
    }

    /// Runs until it is stopped, or the consensus or all services have ended.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut leadership = self.consensus.leadership();
        loop {
            let current = leadership.borrow_and_update().clone();
            let goes_on = if current.is_self {
                tracing::info!(term = %current.term, "leading the cluster");
                let goes_on = self.reign(current.term, &mut leadership, &stop).await;
                tracing::info!(term = %current.term, "no longer leading the cluster");
                goes_on
            } else {
                self.wait(&mut leadership, &stop).await
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Not leading: knows nothing, until something changes. Gives whether to go on.
    async fn wait(&mut self, leadership: &mut watch::Receiver<Leadership>, stop: &CancellationToken) -> bool {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return false,
                changed = leadership.changed() => return changed.is_ok(),
                command = self.commands.recv() => match command {
                    Some(LeaderCommand::Open { reply, .. }) => answer(reply, None),
                    Some(LeaderCommand::Recall { reply, .. }) => answer(reply, JobMemory::default()),
                    Some(LeaderCommand::AskSettled { reply }) => answer(reply, false),
                    // Whoever asks is told by the dropped reply.
                    Some(LeaderCommand::AskClaim { .. } | LeaderCommand::AskOccupant { .. }) => {}
                    Some(
                        LeaderCommand::Receive { .. } | LeaderCommand::Close { .. } | LeaderCommand::Forget { .. },
                    ) => {}
                    None => return false,
                },
            }
        }
    }

    /// Leading in one term. Gives whether to go on when it is over.
    async fn reign(
        &mut self,
        term: Term,
        leadership: &mut watch::Receiver<Leadership>,
        stop: &CancellationToken,
    ) -> bool {
        let (checkpoints, seams) = (self.checkpoints.clone(), self.seams.clone());
        let mut reign = Reign::begin(term, self.consensus.clone(), self.config, checkpoints, seams);
        let mut applied = self.consensus.applied();
        let mut ticks = interval(NodeLiveness::tick_interval(self.config.lease));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            reign.act();
            tokio::select! {
                biased;
                () = stop.cancelled() => return false,
                changed = leadership.changed() => {
                    let current = leadership.borrow_and_update().clone();
                    if changed.is_err() || !current.is_self || current.term != term {
                        return changed.is_ok();
                    }
                }
                _ = ticks.tick() => reign.on_tick(),
                Some(done) = reign.next_done() => reign.on_done(done),
                changed = applied.changed() => match changed {
                    Ok(()) => reign.on_applied(),
                    Err(_) => return false,
                },
                command = self.commands.recv() => match command {
                    Some(command) => reign.on_command(command),
                    None => return false,
                },
            }
        }
    }
}
