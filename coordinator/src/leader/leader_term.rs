//! The state of a leader in one term, and what it takes in. `act` has what follows from it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use thalweg_cluster_state::{ClusterState, Command, JobRecord, Outcome};
use thalweg_consensus::{Consensus, ConsensusError};
use thalweg_control::{JobController, NodeLiveness, job::Proposed};
use thalweg_proto::compute::on_compute;
use thalweg_storage::CheckpointStore;
use thalweg_types::{
    Attempt, ClusterId, Incarnation, JobGraph, JobId, NodeId, SubtaskId, Term,
    job::{CheckpointOverview, Failure, FailureKind, SubtaskMetrics},
    node::{NodeRegistration, NodeState},
    seam::Seams,
    session::{Action, CoordinatorMessage, NodeMessage, Order, Report, ReportBody, SubtaskReport},
};
use tokio::sync::mpsc;

use super::{
    LeaderRequest, SessionId, answer,
    claim::{Claimed, Claiming},
    link::{NodeLink, greeting},
    measures::{JobMeasures, LeaderMeasures},
    observe::Observer,
    store::{self, Stored, Work},
};
use crate::{config::LeaderConfig, machine::Machine, overview::JobMemory};

/// Who waits for a proposal's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proposer {
    /// The controller of a job.
    Job(JobId),
    /// The lease of a node.
    Liveness(NodeId, Incarnation),
    /// Housekeeping for the whole cluster: naming it, and forgetting what is old.
    Housekeeping,
    /// A job that this engine cannot run.
    Unusable(JobId),
    /// Nobody: what led to the proposal is checked again later.
    Nobody,
}

pub(super) type Decided = (Proposer, Result<Outcome, ConsensusError>);

/// The outcome of work beside the actor.
pub(super) enum Done {
    Decided(Decided),
    Stored(JobId, Stored),
    Claimed(Claimed),
}

/// Everything that a leader holds in one term.
pub(super) struct LeaderTerm {
    pub(super) term: Term,
    pub(super) consensus: Consensus<Machine>,
    pub(super) config: LeaderConfig,
    pub(super) seams: Seams,
    pub(super) liveness: NodeLiveness,
    /// Nodes whose loss is proposed, and whether they had said that they leave.
    losing: BTreeMap<NodeId, bool>,
    /// Nodes that have announced that they leave, until it is recorded.
    leaving: BTreeSet<(NodeId, Incarnation)>,
    pub(super) links: BTreeMap<NodeId, NodeLink>,
    pub(super) jobs: BTreeMap<JobId, JobController>,
    /// Jobs that this engine cannot run, while their failure is proposed.
    pub(super) unusable: BTreeSet<JobId>,
    pub(super) measured: BTreeMap<JobId, (Attempt, BTreeMap<SubtaskId, SubtaskMetrics>)>,
    /// What is counted for those who monitor: of jobs, and of nodes.
    pub(super) measures: BTreeMap<JobId, JobMeasures>,
    node_losses: u64,
    /// Whether the jobs that had ended before this term have been looked at.
    pub(super) has_begun: bool,
    /// Jobs that had ended before this term and wait to be cleared away.
    pub(super) to_clear: VecDeque<JobId>,
    /// Those of them that are being cleared away, and since when.
    pub(super) clearing: BTreeMap<JobId, Duration>,
    pub(super) is_housekeeping: bool,
    /// No job is forgotten before this time, because clearing one away has failed.
    pub(super) forget_at: Duration,
    /// Ended jobs that clients want forgotten.
    pub(super) to_forget: BTreeSet<JobId>,
    /// Whether something has happened that controllers may care about.
    pub(super) is_stale: bool,
    pub(super) checkpoints: CheckpointStore,
    /// The known checkpoints of jobs without a controller.
    pub(super) remembered: BTreeMap<JobId, Vec<CheckpointOverview>>,
    pub(super) stored: FuturesUnordered<Work>,
    pub(super) claiming: Claiming,
    pub(super) claims: FuturesUnordered<BoxFuture<'static, Claimed>>,
    proposals: FuturesUnordered<BoxFuture<'static, Decided>>,
    last_session: u64,
    /// Tells people of it all.
    pub(super) observer: Observer,
}

impl LeaderTerm {
    /// Starts from the replicated state alone.
    pub(super) fn begin(
        term: Term,
        consensus: Consensus<Machine>,
        config: LeaderConfig,
        checkpoints: CheckpointStore,
        seams: Seams,
    ) -> Self {
        let now = seams.clock.monotonic();
        let known: Vec<(NodeId, Incarnation)> = consensus.peek(|machine| {
            let present = machine.state().nodes().iter().filter(|(_, record)| record.state != NodeState::Lost);
            present.map(|(node, record)| (*node, record.registration.incarnation)).collect()
        });
        Self {
            term,
            liveness: NodeLiveness::new(config.lease, known.iter().copied(), now),
            losing: BTreeMap::new(),
            leaving: BTreeSet::new(),
            links: known.into_iter().map(|(node, incarnation)| (node, NodeLink::new(incarnation))).collect(),
            jobs: BTreeMap::new(),
            unusable: BTreeSet::new(),
            measured: BTreeMap::new(),
            measures: BTreeMap::new(),
            node_losses: 0,
            has_begun: false,
            to_clear: VecDeque::new(),
            clearing: BTreeMap::new(),
            is_housekeeping: false,
            forget_at: Duration::ZERO,
            to_forget: BTreeSet::new(),
            is_stale: true,
            checkpoints,
            remembered: BTreeMap::new(),
            stored: FuturesUnordered::new(),
            claiming: Claiming::new(config.marks),
            claims: FuturesUnordered::new(),
            proposals: FuturesUnordered::new(),
            last_session: 0,
            observer: Observer::new(consensus.member(), term),
            consensus,
            config,
            seams,
        }
    }

    /// The next outcome of a proposal or of work in the store of checkpoints; `None` if nothing is under way.
    pub(super) async fn next_done(&mut self) -> Option<Done> {
        tokio::select! {
            biased;
            Some(decided) = self.proposals.next() => Some(Done::Decided(decided)),
            Some((job, stored)) = self.stored.next() => Some(Done::Stored(job, stored)),
            Some(claimed) = self.claims.next() => Some(Done::Claimed(claimed)),
            else => None,
        }
    }

    pub(super) fn on_done(&mut self, done: Done) {
        match done {
            Done::Decided(decided) => self.on_outcome(decided),
            Done::Stored(job, stored) => self.on_stored(job, stored),
            Done::Claimed(claimed) => {
                self.claiming.on_claimed(claimed, self.cluster().as_ref(), self.seams.clock.monotonic());
            }
        }
    }

    fn on_stored(&mut self, job: JobId, stored: Stored) {
        self.is_stale = true;
        let now = self.seams.clock.monotonic();
        if let Stored::Cleared(result) = stored {
            self.on_cleared(job, result.is_ok(), now);
        } else if let Some(controller) = self.jobs.get_mut(&job) {
            if let Stored::Put(_, result) = &stored {
                self.observer.on_put_done(job, result.as_ref().map(|_| ()));
            }
            store::tell(controller, stored, now);
        }
    }

    pub(super) fn propose(&mut self, proposer: Proposer, command: Command) {
        let (consensus, now) = (self.consensus.clone(), self.seams.clock.unix_time());
        if !matches!(command, Command::CompleteAttempt { .. }) {
            let bytes = command.to_bytes(now);
            self.proposals.push(Box::pin(async move { (proposer, consensus.propose(bytes).await) }));
            return;
        }
        // Committables of very many sinks take long to encode. Do it elsewhere, because heartbeats would wait for it.
        let seams = self.seams.clone();
        self.proposals.push(Box::pin(async move {
            let bytes = on_compute(&seams, "encode a command", move || command.to_bytes(now)).await;
            let Some(bytes) = bytes else { return (proposer, Err(ConsensusError::Stopped)) };
            (proposer, consensus.propose(bytes).await)
        }));
    }

    pub(super) fn on_applied(&mut self) {
        self.is_stale = true;
        self.confirm_leaves();
    }

    pub(super) fn on_tick(&mut self) {
        self.is_stale = true;
        let expired = self.liveness.on_tick(self.seams.clock.monotonic());
        for (node, incarnation) in expired {
            let state = self.consensus.peek(|machine| machine.state().node(node).map(|record| record.state));
            let leaves = state == Some(NodeState::Leaving);
            if self.losing.insert(node, leaves).is_none() {
                let lease_ms = self.config.lease.as_millis();
                let reason = format!("its session broke and was not resumed, or it was silent for {lease_ms} ms");
                if !leaves {
                    self.notice_loss(node, incarnation, &reason);
                }
                self.propose(Proposer::Liveness(node, incarnation), Command::LoseNode { node, incarnation, reason });
            }
        }
        self.propose_leaving();
        self.do_housekeeping();
        if let Some(cluster) = self.cluster() {
            let name = self.consensus.cluster().clone();
            self.claims.extend(self.claiming.begin(&self.checkpoints, &self.seams, (cluster, name)));
        }
    }

    /// A node is about to be lost: with it, the attempts that it takes part in.
    fn notice_loss(&mut self, node: NodeId, incarnation: Incarnation, reason: &str) {
        let consensus = self.consensus.clone();
        consensus.peek(|machine| {
            for (job, record) in machine.state().live_jobs() {
                let attempt =
                    record.live_attempt().filter(|attempt| attempt.plan.nodes.get(&node) == Some(&incarnation));
                if let Some(attempt) = attempt {
                    self.observer.on_lost(job, attempt.attempt, node, &format!("{node} is lost: {reason}"));
                }
            }
        });
    }

    /// Handles the outcome of a proposal. After a loss of leadership nothing is done here, because this term is about
    /// to end.
    pub(super) fn on_outcome(&mut self, (proposer, outcome): Decided) {
        self.is_stale = true;
        let now = self.seams.clock.monotonic();
        match proposer {
            Proposer::Job(job) => {
                let proposed = match &outcome {
                    Ok(Outcome::Applied(_)) => Proposed::Applied,
                    Ok(Outcome::Rejected(reason)) => {
                        tracing::debug!(%job, %reason, "a decision was rejected");
                        Proposed::NotApplied
                    }
                    Err(error) => {
                        tracing::debug!(%job, %error, "a decision was not recorded");
                        self.fail_if_too_large(job, error);
                        Proposed::NotApplied
                    }
                };
                if let Some(controller) = self.jobs.get_mut(&job) {
                    self.observer.on_outcome(job, told(&outcome), controller.takes_checkpoints());
                    controller.on_proposed(proposed, now);
                }
            }
            Proposer::Liveness(node, incarnation) => {
                let has_left = self.losing.remove(&node) == Some(true);
                // A rejection means that this incarnation was lost already.
                match outcome {
                    Ok(_) => self.on_lost(node, incarnation, has_left),
                    Err(_) => self.observer.on_false_alarm(node),
                }
            }
            Proposer::Housekeeping => self.is_housekeeping = false,
            Proposer::Unusable(job) => {
                // A rejection means that the job has ended or is forgotten.
                if outcome.is_err() {
                    self.unusable.remove(&job);
                }
            }
            Proposer::Nobody => {}
        }
    }

    /// Fails a job whose proposal is too large, because the next one would be as large. Only committables become that
    /// large.
    fn fail_if_too_large(&mut self, job: JobId, error: &ConsensusError) {
        if let ConsensusError::TooLarge { .. } = error {
            let message = format!(
                "what the job's sinks have prepared since the last complete checkpoint cannot be recorded: {error}. Let \
                 them prepare fewer files: with a shorter 'checkpoint.interval', fewer partitions, larger files, or \
                 'sink.shuffle-by-partition.enable' = 'true'"
            );
            tracing::error!(%job, cause = message, "job failed");
            let failure = Failure { kind: FailureKind::Data, message };
            self.propose(Proposer::Nobody, Command::FailJob { job, failure });
        }
    }

    /// Proposes to record that nodes leave. This repeats at each tick until it is recorded, because the group may be
    /// busy.
    fn propose_leaving(&mut self) {
        self.confirm_leaves();
        for (node, incarnation) in self.leaving.clone() {
            self.propose(Proposer::Nobody, Command::LeaveNode { node, incarnation });
        }
    }

    /// Tells the nodes whose leaving is recorded. One whose session ended before would look lost.
    fn confirm_leaves(&mut self) {
        for (node, incarnation) in std::mem::take(&mut self.leaving) {
            let record = self.consensus.peek(|machine| machine.state().node(node).cloned());
            let record = record.filter(|record| record.registration.incarnation == incarnation);
            match record.map(|record| record.state) {
                Some(NodeState::Alive) => {
                    self.leaving.insert((node, incarnation));
                }
                Some(NodeState::Leaving) => {
                    if let Some(link) = self.links.get_mut(&node).filter(|link| link.incarnation == incarnation) {
                        link.confirm_leave();
                    }
                }
                Some(NodeState::Lost) | None => {}
            }
        }
    }

    fn on_lost(&mut self, node: NodeId, incarnation: Incarnation, has_left: bool) {
        let came_back = self.consensus.peek(|machine| machine.state().is_present(node, incarnation));
        if came_back {
            self.observer.on_false_alarm(node);
            return;
        }
        if has_left {
            tracing::info!(%node, %incarnation, "node left");
        } else {
            tracing::warn!(%node, %incarnation, "node lost");
            self.node_losses += 1;
        }
        self.liveness.forget(node, incarnation);
        if self.links.get(&node).is_some_and(|link| link.incarnation == incarnation) {
            self.links.remove(&node);
        }
    }

    pub(super) fn on_request(&mut self, request: LeaderRequest) {
        match request {
            LeaderRequest::AskOccupant { node, incarnation, reply } => answer(reply, self.occupant(node, incarnation)),
            LeaderRequest::Open { registration, outgoing, reply } => {
                let session = self.open(&registration, outgoing);
                answer(reply, session);
            }
            LeaderRequest::Receive { node, session, message } => {
                if self.links.get(&node).is_some_and(|link| link.is_open(session)) {
                    self.receive(node, message);
                }
            }
            LeaderRequest::Close { node, session } => self.close(node, session),
            LeaderRequest::Recall { job, reply } => answer(reply, self.recall(job)),
            LeaderRequest::Measure { jobs, reply } => answer(reply, self.measures(&jobs)),
            LeaderRequest::Forget { job } => {
                self.to_forget.insert(job);
                self.do_housekeeping();
            }
            LeaderRequest::AskSettled { reply } => answer(reply, self.is_settled()),
            LeaderRequest::AskClaim { reply } => answer(reply, self.claiming.claim.clone()),
        }
    }

    /// Another incarnation of the node whose session is open and whose lease lasts. A process that has ended breaks its
    /// session or misses its lease, so it does not block its successor.
    fn occupant(&self, node: NodeId, incarnation: Incarnation) -> Option<String> {
        let link = self.links.get(&node).filter(|link| link.incarnation != incarnation && link.has_session())?;
        let ago = self.liveness.heard_ago(node, link.incarnation, self.seams.clock.monotonic())?;
        let address = self.consensus.peek(|machine| {
            machine.state().node(node).map(|record| record.registration.address.clone()).unwrap_or_default()
        });
        Some(format!("{node} is here, at {address}, heard {:.1} s ago", ago.as_secs_f64()))
    }

    /// Opens a session, unless a newer incarnation of the node has registered since.
    fn open(
        &mut self,
        registration: &NodeRegistration,
        outgoing: mpsc::Sender<CoordinatorMessage>,
    ) -> Option<SessionId> {
        let (node, incarnation) = (registration.node, registration.incarnation);
        if !self.consensus.peek(|machine| machine.state().is_present(node, incarnation)) {
            return None;
        }
        self.is_stale = true;
        self.last_session += 1;
        let session = SessionId { term: self.term, number: self.last_session };
        self.liveness.on_heard(node, incarnation, self.seams.clock.monotonic());
        let link = self.links.entry(node).or_insert_with(|| NodeLink::new(incarnation));
        if link.incarnation != incarnation {
            *link = NodeLink::new(incarnation);
        }
        link.open(session, outgoing, greeting(node, self.term, self.config.lease));
        tracing::info!(%node, %incarnation, address = registration.address, "node registered");
        Some(session)
    }

    fn close(&mut self, node: NodeId, session: SessionId) {
        let Some(link) = self.links.get_mut(&node).filter(|link| link.is_open(session)) else { return };
        link.close();
        self.is_stale = true;
        let incarnation = link.incarnation;
        let now = self.seams.clock.monotonic();
        let state = self.consensus.peek(|machine| machine.state().node(node).map(|record| record.state));
        if state == Some(NodeState::Leaving) {
            self.liveness.on_left(node, incarnation, now);
        } else {
            self.liveness.on_disconnected(node, incarnation, now);
        }
    }

    fn receive(&mut self, node: NodeId, message: NodeMessage) {
        let Some(incarnation) = self.links.get(&node).map(|link| link.incarnation) else { return };
        let now = self.seams.clock.monotonic();
        self.liveness.on_heard(node, incarnation, now);
        match message {
            NodeMessage::Register(_) => {
                tracing::warn!(%node, "a node registered twice over one session; it is ended");
                self.links.entry(node).and_modify(NodeLink::close);
            }
            NodeMessage::Heartbeat { metrics } => {
                for (job, attempt, subtask, metrics) in metrics {
                    self.measure(job, attempt, subtask, metrics);
                }
            }
            NodeMessage::Reattach { subtasks } => self.reattach(node, &subtasks),
            NodeMessage::Acknowledge { sequence, refused } => self.acknowledged(node, sequence, refused),
            NodeMessage::Report { sequence, report } => self.report(node, sequence, report),
            NodeMessage::Leaving => {
                if self.leaving.insert((node, incarnation)) {
                    tracing::info!(%node, %incarnation, "node leaves");
                }
                self.propose_leaving();
            }
        }
    }

    fn acknowledged(&mut self, node: NodeId, sequence: u64, refused: Option<String>) {
        let order = self.links.get_mut(&node).and_then(|link| link.on_acknowledged(sequence));
        let (Some(order), Some(reason)) = (order, refused) else { return };
        tracing::debug!(%node, job = %order.job, attempt = %order.attempt, reason, "an order was refused");
        self.is_stale = true;
        // A node that refuses to cancel an attempt does not have it.
        if matches!(order.action, Action::Cancel) {
            self.links.entry(node).and_modify(|link| {
                link.leftovers.remove(&(order.job, order.attempt));
            });
        }
        let now = self.seams.clock.monotonic();
        if let Some(controller) = self.jobs.get_mut(&order.job) {
            controller.on_refused(node, &order, &reason, now);
        }
    }

    fn report(&mut self, node: NodeId, sequence: u64, report: Report) {
        self.is_stale = true;
        let (job, attempt) = (report.job, report.attempt);
        match &report.body {
            ReportBody::Finished { subtask, metrics, .. } => self.measure(job, attempt, *subtask, *metrics),
            ReportBody::Failed { subtask, failure, .. } => {
                let subtask = subtask.map(|subtask| subtask.to_string());
                tracing::warn!(%job, %attempt, %node, subtask, kind = ?failure.kind, cause = failure.message, "attempt failed");
            }
            ReportBody::SnapshotFailed { checkpoint, subtask, failure, .. } => {
                tracing::warn!(%job, %attempt, %node, %checkpoint, %subtask, cause = failure.message, "checkpoint failed");
            }
            ReportBody::Discovered { .. }
            | ReportBody::Ready
            | ReportBody::Gone
            | ReportBody::Committed { .. }
            | ReportBody::Discarded { .. }
            | ReportBody::Snapshot { .. }
            | ReportBody::CheckpointWanted => {}
        }
        let now = self.seams.clock.monotonic();
        if let (ReportBody::Committed { checkpoint, result }, Some(measures)) =
            (&report.body, self.measures.get_mut(&job))
        {
            measures.on_committed(*checkpoint, result, now);
        }
        if let Some(controller) = self.jobs.get_mut(&job) {
            if attempt == controller.attempt() {
                self.observer.on_report(job, node, &report);
            }
            controller.on_report(node, &report, now);
        }
        if let Some(link) = self.links.get_mut(&node) {
            let was_left = matches!(report.body, ReportBody::Gone) && link.leftovers.remove(&(job, attempt));
            link.hold(sequence, report);
            if was_left {
                self.clear_again(job);
            }
        }
    }

    /// Learns which attempts a node has, and orders it to cancel those that are over.
    fn reattach(&mut self, node: NodeId, subtasks: &[SubtaskReport]) {
        self.is_stale = true;
        let consensus = self.consensus.clone();
        let attempts: BTreeSet<(JobId, Attempt)> = subtasks.iter().map(|report| (report.job, report.attempt)).collect();
        let over: BTreeSet<(JobId, Attempt)> = consensus.peek(|machine| {
            self.adopt(machine.state());
            attempts.into_iter().filter(|(job, attempt)| self.is_over(machine.state(), *job, *attempt)).collect()
        });
        for controller in self.jobs.values_mut() {
            controller.on_reattach(node, subtasks);
        }
        for (job, attempt) in &over {
            self.order(node, *job, *attempt, Action::Cancel);
        }
        if let Some(link) = self.links.get_mut(&node) {
            link.is_reattached = true;
            link.leftovers = over;
        }
    }

    /// Whether an attempt is over and no controller takes care of its end.
    fn is_over(&self, state: &ClusterState, job: JobId, attempt: Attempt) -> bool {
        let Some(record) = state.job(job) else { return true };
        let is_last = attempt == record.last_attempt();
        let is_cared_for = self.jobs.contains_key(&job) || (record.status.is_terminal() && has_rows(record));
        !(is_last && is_cared_for)
    }

    /// Gives an order to a node that is not lost. It is sent at once, or when the node has a session.
    pub(super) fn order(&mut self, node: NodeId, job: JobId, attempt: Attempt, action: Action) {
        // Before the cluster has an id no attempt is deployed, so such an order only cancels.
        let cluster = self.cluster().unwrap_or_else(|| self.consensus.cluster().clone());
        let trace = self.observer.on_order(job, attempt, &action);
        let order = Order { term: self.term, cluster, job, attempt, action, trace };
        if let Some(link) = self.links.get_mut(&node) {
            link.order(order);
        }
    }

    /// The cluster's id, once there is one.
    pub(super) fn cluster(&self) -> Option<ClusterId> {
        self.consensus.peek(|machine| machine.state().cluster().cloned())
    }

    fn measure(&mut self, job: JobId, attempt: Attempt, subtask: SubtaskId, metrics: SubtaskMetrics) {
        let (of, measured) = self.measured.entry(job).or_insert_with(|| (attempt, BTreeMap::new()));
        if *of < attempt {
            *of = attempt;
            measured.clear();
        }
        if *of == attempt {
            measured.insert(subtask, metrics);
        }
    }

    fn measures(&self, jobs: &[JobId]) -> LeaderMeasures {
        let of = |job: &JobId| Some((*job, (self.recall(*job), self.measures.get(job)?.clone())));
        LeaderMeasures { node_losses: self.node_losses, jobs: jobs.iter().filter_map(of).collect() }
    }

    fn recall(&self, job: JobId) -> JobMemory {
        let (attempt, metrics) = self.measured.get(&job).cloned().unwrap_or_default();
        let controller = self.jobs.get(&job);
        let attempt = controller.map_or(attempt, JobController::attempt);
        let metrics =
            if self.measured.get(&job).is_some_and(|(of, _)| *of == attempt) { metrics } else { BTreeMap::new() };
        let finished = controller.map(|controller| controller.finished().collect()).unwrap_or_default();
        let ready = controller.map(|controller| controller.ready().collect()).unwrap_or_default();
        let commit_failure = controller.and_then(|controller| controller.commit_failure().cloned());
        let now = self.seams.clock.monotonic();
        let record = self.consensus.peek(|machine| machine.state().job(job).cloned());
        let seen_to = controller.zip(record.as_ref());
        let summary = seen_to.map(|(controller, record)| controller.checkpoint_summary(record)).unwrap_or_default();
        let checkpoints = match seen_to {
            Some((controller, record)) => controller.checkpoint_overviews(record, now),
            None => self.remembered.get(&job).cloned().unwrap_or_default(),
        };
        JobMemory { attempt, ready, finished, metrics, commit_failure, summary, checkpoints }
    }
}

fn told(outcome: &Result<Outcome, ConsensusError>) -> Result<(), String> {
    match outcome {
        Ok(Outcome::Applied(_)) => Ok(()),
        Ok(Outcome::Rejected(reason)) => Err(reason.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether a job has ended with rows to fetch.
pub(super) fn has_rows(record: &JobRecord) -> bool {
    let collects = |graph: JobGraph| graph.collects().next().is_some();
    record.ended_well() && JobGraph::from_bytes(record.spec.graph.as_bytes()).is_ok_and(collects)
}

#[cfg(test)]
mod tests;
