//! The leader actor: one task that owns what only a leader needs.
//!
//! ```text
//! idle --this member leads--> leading(term) --it does not, or in another term--> idle
//! ```
//!
//! While this member leads, the actor takes its inputs in this order: the stop signal, changes of leadership, ticks,
//! outcomes of its proposals and of its work in the store of checkpoints, newly applied entries, requests of the
//! services. After each input every controller compares the state with what it knows, and the actor carries out what
//! the controllers want. Nothing that the actor awaits can wait for it: proposals and work in the store run beside it,
//! and it never awaits a send to a node.
//!
//! If the actor fails, this member can no longer lead: the process should end (`Coordinator::exited`).

use thalweg_consensus::{Consensus, Leadership};
use thalweg_control::NodeLiveness;
use thalweg_storage::CheckpointStore;
use thalweg_types::{
    Incarnation, JobId, NodeId, RequestId, Term, TraceContext,
    node::NodeRegistration,
    seam::Seams,
    session::{CoordinatorMessage, NodeMessage},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    claim::Claim,
    measures::{JobMeasures, LeaderMeasures},
};
use self::{leader_term::LeaderTerm, observe::Submissions};
use crate::{config::LeaderConfig, machine::Machine, overview::JobMemory};

mod act;
mod claim;
mod leader_term;
mod link;
mod measures;
mod observe;
mod store;

/// The most requests that wait for the actor: a heartbeat from each of a few hundred nodes. When the queue is full the
/// services wait, and HTTP/2 slows the nodes.
const REQUESTS: usize = 1024;

/// Identifies a session. The term is part of it, because late messages of a session from an earlier term of this leader
/// may still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionId {
    term: Term,
    number: u64,
}

/// Everything that the services tell or ask the actor.
#[derive(Debug)]
enum LeaderRequest {
    /// Asks for another incarnation of the node that is here, which a new one must wait for. The answer says who and
    /// where it is.
    AskOccupant { node: NodeId, incarnation: Incarnation, reply: oneshot::Sender<Option<String>> },
    /// Opens a session of a node whose registration is recorded. The answer is `None` if this member does not lead.
    Open {
        registration: NodeRegistration,
        outgoing: mpsc::Sender<CoordinatorMessage>,
        reply: oneshot::Sender<Option<SessionId>>,
    },
    /// A node sent a message.
    Receive { node: NodeId, session: SessionId, message: NodeMessage },
    /// A session has ended.
    Close { node: NodeId, session: SessionId },
    /// Asks what the leader remembers of a job.
    Recall { job: JobId, reply: oneshot::Sender<JobMemory> },
    /// Asks what the leader has counted, and what it remembers of these jobs.
    Measure { jobs: Vec<JobId>, reply: oneshot::Sender<LeaderMeasures> },
    /// Forgets an ended job, once it is cleared away.
    Forget { job: JobId },
    /// Asks whether all jobs have ended and their output is published or removed.
    AskSettled { reply: oneshot::Sender<bool> },
    /// Asks whether the place for checkpoints is this cluster's.
    AskClaim { reply: oneshot::Sender<Claim> },
}

/// The services' handle of the actor.
#[derive(Debug, Clone)]
pub(crate) struct LeaderHandle {
    requests: mpsc::Sender<LeaderRequest>,
    submissions: Submissions,
}

/// The error of a request to an actor that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaderGone;

impl LeaderHandle {
    /// Another incarnation of the node that is here, which a new one must wait for: who and where it is.
    pub(crate) async fn occupant(&self, node: NodeId, incarnation: Incarnation) -> Option<String> {
        let (reply, occupant) = oneshot::channel();
        self.tell(LeaderRequest::AskOccupant { node, incarnation, reply }).await.ok()?;
        occupant.await.ok().flatten()
    }

    /// Opens the session of a registered node; `None` if this member does not lead.
    pub(crate) async fn open(
        &self,
        registration: NodeRegistration,
        outgoing: mpsc::Sender<CoordinatorMessage>,
    ) -> Option<SessionId> {
        let (reply, opened) = oneshot::channel();
        self.tell(LeaderRequest::Open { registration, outgoing, reply }).await.ok()?;
        opened.await.ok().flatten()
    }

    /// Passes on a node's message.
    pub(crate) async fn receive(
        &self,
        node: NodeId,
        session: SessionId,
        message: NodeMessage,
    ) -> Result<(), LeaderGone> {
        self.tell(LeaderRequest::Receive { node, session, message }).await
    }

    /// Reports that a session has ended.
    pub(crate) async fn close(&self, node: NodeId, session: SessionId) -> Result<(), LeaderGone> {
        self.tell(LeaderRequest::Close { node, session }).await
    }

    /// What the leader remembers of a job; empty if this member does not lead.
    pub(crate) async fn recall(&self, job: JobId) -> JobMemory {
        let (reply, memory) = oneshot::channel();
        match self.tell(LeaderRequest::Recall { job, reply }).await {
            Ok(()) => memory.await.unwrap_or_default(),
            Err(LeaderGone) => JobMemory::default(),
        }
    }

    /// What the leader has counted, and remembers of these jobs; empty if this member does not lead.
    pub(crate) async fn measures(&self, jobs: Vec<JobId>) -> LeaderMeasures {
        let (reply, measures) = oneshot::channel();
        match self.tell(LeaderRequest::Measure { jobs, reply }).await {
            Ok(()) => measures.await.unwrap_or_default(),
            Err(LeaderGone) => LeaderMeasures::default(),
        }
    }

    /// Has an ended job forgotten, once it is cleared away. Does nothing if this member does not lead.
    pub(crate) async fn forget(&self, job: JobId) {
        _ = self.tell(LeaderRequest::Forget { job }).await;
    }

    /// Notes the span of a request for a job that is about to be recorded, so that the job's way to running belongs to it.
    pub(crate) fn note_submission(&self, request: RequestId, trace: Option<TraceContext>) {
        self.submissions.note(request, trace);
    }

    /// Whether all jobs have ended and their output is published or removed; `false` if this member does not lead.
    pub(crate) async fn is_settled(&self) -> bool {
        let (reply, settled) = oneshot::channel();
        match self.tell(LeaderRequest::AskSettled { reply }).await {
            Ok(()) => settled.await.unwrap_or(false),
            Err(LeaderGone) => false,
        }
    }

    /// Whether the place for checkpoints is this cluster's.
    pub(crate) async fn claim(&self) -> Claim {
        let (reply, claim) = oneshot::channel();
        let unknown = || Claim::Open("this coordinator does not lead".to_owned());
        match self.tell(LeaderRequest::AskClaim { reply }).await {
            Ok(()) => claim.await.unwrap_or_else(|_| unknown()),
            Err(LeaderGone) => unknown(),
        }
    }

    async fn tell(&self, request: LeaderRequest) -> Result<(), LeaderGone> {
        self.requests.send(request).await.map_err(|_| LeaderGone)
    }
}

#[derive(Debug)]
pub(crate) struct Leader {
    consensus: Consensus<Machine>,
    config: LeaderConfig,
    checkpoints: CheckpointStore,
    seams: Seams,
    requests: mpsc::Receiver<LeaderRequest>,
    submissions: Submissions,
}

impl Leader {
    pub(crate) fn new(
        consensus: Consensus<Machine>,
        config: LeaderConfig,
        checkpoints: CheckpointStore,
        seams: Seams,
    ) -> (Self, LeaderHandle) {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let submissions = Submissions::default();
        let handle = LeaderHandle { requests: sender, submissions: submissions.clone() };
        (Self { consensus, config, checkpoints, seams, requests, submissions }, handle)
    }

    /// Runs until it is stopped, or until the consensus or all services have ended.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut leadership = self.consensus.leadership();
        loop {
            let current = leadership.borrow_and_update().clone();
            let goes_on = if current.is_self {
                let member = self.consensus.member();
                tracing::info!(%member, term = %current.term, "leading the cluster");
                let goes_on = self.serve_term(current.term, &mut leadership, &stop).await;
                tracing::info!(%member, term = %current.term, "no longer leading the cluster");
                goes_on
            } else {
                self.wait(&mut leadership, &stop).await
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Waits without leading, until leadership changes. Returns whether to go on.
    async fn wait(&mut self, leadership: &mut watch::Receiver<Leadership>, stop: &CancellationToken) -> bool {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return false,
                changed = leadership.changed() => return changed.is_ok(),
                request = self.requests.recv() => match request {
                    Some(LeaderRequest::Open { reply, .. }) => answer(reply, None),
                    Some(LeaderRequest::Recall { reply, .. }) => answer(reply, JobMemory::default()),
                    Some(LeaderRequest::Measure { reply, .. }) => answer(reply, LeaderMeasures::default()),
                    Some(LeaderRequest::AskSettled { reply }) => answer(reply, false),
                    // The dropped reply is the answer.
                    Some(LeaderRequest::AskClaim { .. } | LeaderRequest::AskOccupant { .. }) => {}
                    Some(
                        LeaderRequest::Receive { .. } | LeaderRequest::Close { .. } | LeaderRequest::Forget { .. },
                    ) => {}
                    None => return false,
                },
            }
        }
    }

    /// Leads in one term. Returns whether to go on when this term of leadership is over.
    async fn serve_term(
        &mut self,
        term: Term,
        leadership: &mut watch::Receiver<Leadership>,
        stop: &CancellationToken,
    ) -> bool {
        let (checkpoints, seams) = (self.checkpoints.clone(), self.seams.clone());
        let mut leader_term = LeaderTerm::begin(term, self.consensus.clone(), self.config, checkpoints, seams);
        leader_term.observer.submissions = self.submissions.clone();
        let mut applied = self.consensus.applied();
        let mut ticks = interval(NodeLiveness::tick_interval(self.config.lease));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            leader_term.act();
            tokio::select! {
                biased;
                () = stop.cancelled() => return false,
                changed = leadership.changed() => {
                    let current = leadership.borrow_and_update().clone();
                    if changed.is_err() || !current.is_self || current.term != term {
                        return changed.is_ok();
                    }
                }
                _ = ticks.tick() => leader_term.on_tick(),
                Some(done) = leader_term.next_done() => leader_term.on_done(done),
                changed = applied.changed() => match changed {
                    Ok(()) => leader_term.on_applied(),
                    Err(_) => return false,
                },
                request = self.requests.recv() => match request {
                    Some(request) => leader_term.on_request(request),
                    None => return false,
                },
            }
        }
    }
}

/// Answers a request. The receiver may be gone, and then nobody wants the answer.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    let _ = reply.send(value);
}
