//! The task that owns raft.
//!
//! ```text
//!   ticks, requests, messages, reports --> raft --> settle: send, persist, apply, until raft has nothing more
//! ```
//!
//! All waiting inputs are taken before raft is settled, so that one fsync serves them all. The task waits for the store
//! and for nothing else: never for a peer or a caller. Long work runs on the compute threads: decoding large commands,
//! and encoding and decoding snapshots. Commands behind a large one wait until it is decoded. If the store fails, or
//! the log turns out to be lost, the member stops: `Consensus::exited` tells the process, which should end.

mod ready;

use std::{any::Any, collections::VecDeque, panic::AssertUnwindSafe, sync::Arc};

use futures::FutureExt;
use parking_lot::RwLock;
use raft::{
    Error as RaftError, RawNode, SnapshotStatus, StateRole,
    eraftpb::{ConfChange, ConfChangeType, Entry, Message, MessageType},
};
use thalweg_types::{MemberId, Term, seam::Spawner, text::with_causes};
use thiserror::Error;
use tokio::{
    sync::mpsc,
    time::{self, MissedTickBehavior},
};
use tracing::{debug, error, info};

use self::ready::{Encoded, Restored, Restoring, restored};
use crate::{
    Replicated, Unreadable,
    beside::Beside,
    config::ConsensusConfig,
    consensus::{ConsensusError, ConsensusExit, DriverRequest, Leadership, Published, Reply},
    election::ElectionTimer,
    guard,
    log::Log,
    membership::{Change, ChangeDecision, Roster, Seat, decide_change},
    message_codec::Incoming,
    peers::{PeerEvent, Peers, Report},
    reads::Reads,
    record_codec::{Origin, RecordError, encode_seat},
    store::{LogPosition, LogStore, StoreError},
    waiting::Waiting,
};

/// The most inputs taken from one queue before raft is settled.
const BATCH: usize = 256;
/// The most changes of members that wait for the one before them.
const CHANGES_MAX: usize = 64;
/// A learner this close to the end of the log counts as caught up.
const CAUGHT_UP_ENTRIES: u64 = 64;

/// Why the member cannot go on.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    #[error("could not keep the log")]
    Store(#[from] StoreError),
    #[error("a record in the log can't be read")]
    Record(#[from] RecordError),
    #[error("the change of members at {0} can't be read")]
    Change(u64),
    #[error("the command at {index} can't be applied by this version; all members must run the same one")]
    Command { index: u64, source: Unreadable },
    #[error("the state could not be encoded or decoded: it is a bug")]
    Beside,
    #[error("the state machine refused a snapshot")]
    Restore(#[source] Unreadable),
    #[error("raft panicked: {0}. It is a bug, or something sent this member what no member sends; start it again")]
    Panic(String),
    #[error(
        "this member acknowledged entries up to {acknowledged} and has them only up to {last}: its log was lost; \
         remove the member and add it again with an empty store"
    )]
    LogLost { acknowledged: u64, last: u64 },
}

/// The driver's queues. Each is bounded where it is created.
pub(crate) struct Inputs<R: Replicated> {
    pub(crate) requests: mpsc::Receiver<DriverRequest<R::Outcome>>,
    pub(crate) messages: mpsc::Receiver<Incoming>,
    pub(crate) reports: mpsc::Receiver<Report>,
}

pub(crate) struct Driver<R: Replicated> {
    pub(crate) config: ConsensusConfig,
    pub(crate) incarnation: u64,
    pub(crate) node: RawNode<Log>,
    pub(crate) machine: Arc<RwLock<Arc<R>>>,
    pub(crate) store: Arc<dyn LogStore>,
    pub(crate) compute: Arc<dyn Spawner>,
    pub(crate) timer: ElectionTimer,
    pub(crate) roster: Roster,
    pub(crate) applied: LogPosition,
    /// Committed entries that wait until the first of them is decoded.
    pub(crate) unapplied: VecDeque<Entry>,
    pub(crate) decoding: Option<Beside<Result<R::Command, Unreadable>>>,
    /// The last snapshot is too old for a new member, so another one must be taken.
    pub(crate) is_snapshot_wanted: bool,
    /// The snapshot that is being encoded.
    pub(crate) encoding: Option<Beside<Result<Encoded, StoreError>>>,
    /// A leader's snapshot that is being decoded. Raft does not know of it yet.
    pub(crate) restoring: Option<Beside<Result<Restoring<R>, StoreError>>>,
    /// The decoded snapshot of a leader that raft has been told of.
    pub(crate) restored: Option<Restored<R>>,
    pub(crate) peers: Peers,
    pub(crate) published: Published,
    pub(crate) calls: Calls<R>,
    pub(crate) stopping: Stopping,
}

/// The callers to whom the driver owes an answer.
pub(crate) struct Calls<R: Replicated> {
    last_number: u64,
    pub(crate) proposals: Waiting<R::Outcome>,
    pub(crate) changing: Waiting<()>,
    changes: VecDeque<(Change, Reply<()>)>,
    pub(crate) reads: Reads,
}

impl<R: Replicated> Calls<R> {
    pub(crate) fn new() -> Self {
        Self {
            last_number: 0,
            proposals: Waiting::new(),
            changing: Waiting::new(),
            changes: VecDeque::new(),
            reads: Reads::default(),
        }
    }
}

/// How far stopping is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopping {
    No,
    /// Leadership is being handed over, for at most this many ticks more.
    HandsOver(usize),
    Now,
}

impl<R: Replicated> Driver<R> {
    /// Runs until it is asked to stop, or cannot go on.
    pub(crate) async fn run(mut self, mut inputs: Inputs<R>) {
        let driven = AssertUnwindSafe(self.drive(&mut inputs)).catch_unwind().await;
        let exit = match driven.unwrap_or_else(|panic| Err(Fault::Panic(said(panic.as_ref())))) {
            Ok(()) => ConsensusExit::Stopped,
            Err(fault) => {
                error!(member = %self.config.member, fault = %with_causes(&fault), "the member can not go on");
                ConsensusExit::Failed(with_causes(&fault))
            }
        };
        let term = Term(self.node.raft.term);
        self.published.leadership.send_replace(Leadership { term, ..Leadership::default() });
        // First callers see their replies dropped, then the exit is published. Whoever sees it may open the store again, so
        // nothing here may hold it any more, and neither may the work beside.
        let Self { published, calls, store, encoding, restoring, .. } = self;
        drop((inputs, calls));
        Beside::finish(encoding).await;
        Beside::finish(restoring).await;
        drop(store);
        published.exit.send_replace(Some(exit));
    }

    async fn drive(&mut self, inputs: &mut Inputs<R>) -> Result<(), Fault> {
        let mut ticks = time::interval(self.config.tick);
        // After a stall, ticks continue at their interval. A burst of missed ticks would look like an election timeout
        // without a heartbeat.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.settle().await?;
        if self.node.raft.prs().is_singleton() && self.node.raft.promotable() {
            // A group of one has nobody to wait for.
            if let Err(error) = self.node.campaign() {
                debug!(member = %self.config.member, %error, "raft refused to campaign");
            }
        }
        while self.stopping != Stopping::Now {
            self.settle().await?;
            tokio::select! {
                biased;
                _ = ticks.tick() => self.on_tick(),
                // Requests that come while leadership is handed over are too late. Their senders see the closed queue.
                request = inputs.requests.recv(), if self.stopping == Stopping::No => {
                    self.on_request(request.unwrap_or(DriverRequest::Stop));
                }
                Some(incoming) = inputs.messages.recv() => self.on_message(incoming)?,
                Some(report) = inputs.reports.recv() => self.on_report(report),
                command = Beside::end(&mut self.decoding) => self.on_decoded(command)?,
                encoded = Beside::end(&mut self.encoding) => self.on_encoded(encoded).await?,
                restoring = Beside::end(&mut self.restoring) => self.on_restored(restoring)?,
            }
            self.take_batch(inputs)?;
        }
        Ok(())
    }

    /// Takes the other waiting inputs: all reports, and at most `BATCH` requests and messages each.
    fn take_batch(&mut self, inputs: &mut Inputs<R>) -> Result<(), Fault> {
        for _ in 0..BATCH {
            if self.stopping != Stopping::No {
                break;
            }
            let Ok(request) = inputs.requests.try_recv() else { break };
            self.on_request(request);
        }
        for _ in 0..BATCH {
            let Ok(incoming) = inputs.messages.try_recv() else { break };
            self.on_message(incoming)?;
        }
        while let Ok(report) = inputs.reports.try_recv() {
            self.on_report(report);
        }
        Ok(())
    }

    /// Gives raft the open requests and does what it has ready, until nothing is left.
    async fn settle(&mut self) -> Result<(), Fault> {
        loop {
            // Committed entries are applied first, so that their callers are answered even if leadership was just lost.
            while self.node.has_ready() {
                self.on_ready().await?;
            }
            self.follow_leadership();
            self.ask_reads();
            self.propose_changes();
            if !self.node.has_ready() {
                break;
            }
        }
        self.measure_log();
        if let Stopping::HandsOver(ticks) = self.stopping
            && (ticks == 0 || !self.is_leading())
        {
            self.stopping = Stopping::Now;
        }
        Ok(())
    }

    fn measure_log(&self) {
        let (log, raft) = (self.node.store(), &self.node.raft.raft_log);
        self.published.meter.set_log(raft.committed, raft.last_index(), log.entries_count(), log.entries_bytes());
    }

    fn on_tick(&mut self) {
        self.timer.tick(&mut self.node);
        // A request may have been lost. Two heartbeats are enough time for an answer.
        let again_ticks = 2 * self.config.heartbeat_ticks;
        self.calls.reads.on_tick(again_ticks, 4 * self.config.election_ticks);
        if let Stopping::HandsOver(ticks) = &mut self.stopping {
            *ticks = ticks.saturating_sub(1);
        }
    }

    fn on_request(&mut self, request: DriverRequest<R::Outcome>) {
        match request {
            DriverRequest::Propose { command, reply } => self.on_propose(command, reply),
            DriverRequest::Read { reply } => self.calls.reads.on_read(reply),
            DriverRequest::Change { change, reply } if self.calls.changes.len() < CHANGES_MAX => {
                self.calls.changes.push_back((change, reply));
            }
            DriverRequest::Change { reply, .. } => refuse(reply, ConsensusError::Busy),
            // An applicant that is gone needs no answer.
            DriverRequest::Admit { applicant, reply } => drop(reply.send(self.admission(&applicant))),
            DriverRequest::Stand { reply } => drop(reply.send(Ok(self.standing()))),
            // A caller that is gone has given up waiting.
            DriverRequest::Beat { reply } => drop(reply.send(Ok(()))),
            DriverRequest::Stop => self.on_stop(),
        }
    }

    fn on_propose(&mut self, command: Vec<u8>, reply: Reply<R::Outcome>) {
        if !self.is_leading() {
            return refuse(reply, self.not_leader());
        }
        if self.calls.proposals.is_full() {
            return refuse(reply, ConsensusError::Busy);
        }
        let origin = self.next_origin();
        match self.node.propose(origin.encode(), command) {
            Ok(()) => {
                let (entry, now) = ((origin.number, self.node.raft.term), self.published.meter.now());
                self.calls.proposals.insert(entry, now, reply);
            }
            // Too much is uncommitted, or leadership is being handed over.
            Err(_) => refuse(reply, ConsensusError::Busy),
        }
    }

    fn on_stop(&mut self) {
        self.stopping = match self.successor() {
            Some(successor) if self.is_leading() => {
                self.node.transfer_leader(successor.0);
                Stopping::HandsOver(self.config.election_ticks)
            }
            _ => Stopping::Now,
        };
    }

    fn on_message(&mut self, Incoming { mut message, address }: Incoming) -> Result<(), Fault> {
        if !self.is_believed(&mut message) {
            return Ok(());
        }
        self.check_log(&message)?;
        self.peers.on_contact(MemberId(message.from), &address);
        self.published.heard.on_heard(MemberId(message.from));
        if message.get_msg_type() != MessageType::MsgSnapshot {
            self.step(message);
        } else if self.restoring.is_none() {
            let state = R::clone(&self.machine.read());
            let work = restored(message, state, self.store.clone());
            self.restoring = Some(Beside::begin(&self.compute, "decode a snapshot", work));
        }
        // A snapshot that arrives while another one is being decoded is dropped. Raft tolerates lost messages.
        Ok(())
    }

    /// Tells raft of a leader's snapshot once it is decoded. One that could not be decoded is decoded again if raft
    /// wants it; that failure stops the member.
    fn on_restored(&mut self, restoring: Option<Result<Restoring<R>, StoreError>>) -> Result<(), Fault> {
        let Restoring { mut message, restored } = restoring.ok_or(Fault::Beside)??;
        // Another member may lead by now.
        if self.is_believed(&mut message) {
            self.restored = restored;
            self.step(*message);
        }
        Ok(())
    }

    fn is_believed(&self, message: &mut Message) -> bool {
        let judged = guard::judge(&self.node.raft, message);
        if let Err(doubt) = judged {
            let (from, kind) = (MemberId(message.from), message.get_msg_type());
            debug!(member = %self.config.member, %from, ?kind, ?doubt, "dropped a message that no member sends now");
        }
        judged.is_ok()
    }

    fn step(&mut self, message: Message) {
        let term = message.term;
        match self.node.step(message) {
            Ok(()) | Err(RaftError::StepPeerNotFound) => {}
            Err(error) => debug!(member = %self.config.member, term, %error, "raft refused a message"),
        }
    }

    /// Notices a lost log: a heartbeat of the known leader says how far this member has acknowledged the log. Raft-rs
    /// panics if the log ends before that.
    fn check_log(&self, message: &Message) -> Result<(), Fault> {
        let raft = &self.node.raft;
        let last = raft.raft_log.last_index();
        let is_of_leader = message.term == raft.term && message.from == raft.leader_id;
        if message.get_msg_type() == MessageType::MsgHeartbeat && is_of_leader && message.commit > last {
            return Err(Fault::LogLost { acknowledged: message.commit, last });
        }
        Ok(())
    }

    fn on_report(&mut self, report: Report) {
        let member = report.member.0;
        match report.event {
            PeerEvent::Unreachable => self.node.report_unreachable(member),
            PeerEvent::SnapshotSent => self.node.report_snapshot(member, SnapshotStatus::Finish),
            PeerEvent::SnapshotLost => self.node.report_snapshot(member, SnapshotStatus::Failure),
        }
    }

    /// Publishes who leads, and answers callers whose outcome the change makes unknown.
    fn follow_leadership(&mut self) {
        let raft = &self.node.raft;
        let is_leading = self.is_leading();
        let leader = Some(MemberId(raft.leader_id)).filter(|leader| leader.0 != 0);
        let now = Leadership {
            term: Term(raft.term),
            leader,
            leader_address: leader.and_then(|leader| self.roster.address(leader)).map(str::to_owned),
            is_self: is_leading && raft.apply_to_current_term(),
        };
        let leading = is_leading.then_some(raft.term);
        // Not while committed entries wait to be applied: their callers get an outcome.
        if self.unapplied.is_empty() {
            self.calls.proposals.drop_but(leading);
            self.calls.changing.drop_but(leading);
        }
        let before = self.published.leadership.borrow().clone();
        if (before.term, before.leader) != (now.term, now.leader) {
            info!(member = %self.config.member, term = %now.term, leader = now.leader.map(tracing::field::display), "leadership");
            self.calls.reads.ask_again();
        }
        if before != now {
            self.published.leadership.send_replace(now);
        }
    }

    /// Asks for a confirmation of reads. One request serves all waiting readers.
    fn ask_reads(&mut self) {
        if !self.calls.reads.has_waiting() {
            return;
        }
        if self.node.raft.leader_id == 0 {
            self.calls.reads.refuse(&ConsensusError::NotLeader { leader: None });
        } else if !self.is_leading() || self.node.raft.commit_to_current_term() {
            // A leader that has committed nothing in its term does not know yet what is committed, so readers wait.
            let origin = self.next_origin();
            self.node.read_index(origin.encode());
            self.calls.reads.on_asked(origin.number);
        }
    }

    /// Proposes the next change of members. Raft takes one at a time and silently drops others.
    fn propose_changes(&mut self) {
        if !self.is_leading() {
            for (_, reply) in std::mem::take(&mut self.calls.changes) {
                refuse(reply, self.not_leader());
            }
            return;
        }
        while !self.node.raft.has_pending_conf() && self.node.raft.lead_transferee.is_none() {
            let Some((change, reply)) = self.calls.changes.pop_front() else { break };
            self.start_change(&change, reply);
        }
        if !self.node.raft.has_pending_conf()
            && let Some((member, seat)) = self.learner_that_caught_up()
        {
            info!(%member, "a learner has caught up and becomes a voter");
            let change = encode_change(member, Some(&seat), true);
            // Nobody waits for this change, and the next settling tries again.
            let origin = self.next_origin();
            let _ = self.node.propose_conf_change(origin.encode(), change);
        }
    }

    fn start_change(&mut self, change: &Change, reply: Reply<()>) {
        let configuration = self.node.raft.prs().conf().to_conf_state();
        match decide_change(change, &self.roster, &configuration, self.config.member) {
            ChangeDecision::Done => {
                let _ = reply.send(Ok(()));
            }
            ChangeDecision::LastVoter => refuse(reply, ConsensusError::LastVoter(self.config.member)),
            ChangeDecision::Retired(member) => refuse(reply, ConsensusError::Retired(member)),
            ChangeDecision::Unknown(member) => refuse(reply, ConsensusError::UnknownMember(member)),
            ChangeDecision::HandOver => self.hand_over(reply),
            ChangeDecision::Propose { member, seat, is_voter } => {
                let origin = self.next_origin();
                let change = encode_change(member, seat.as_ref(), is_voter);
                match self.node.propose_conf_change(origin.encode(), change) {
                    Ok(()) => {
                        let (entry, now) = ((origin.number, self.node.raft.term), self.published.meter.now());
                        self.calls.changing.insert(entry, now, reply);
                    }
                    Err(_) => refuse(reply, ConsensusError::Busy),
                }
            }
        }
    }

    fn hand_over(&mut self, reply: Reply<()>) {
        let Some(successor) = self.successor() else {
            return refuse(reply, ConsensusError::Busy);
        };
        self.node.transfer_leader(successor.0);
        let address = self.roster.address(successor).unwrap_or_default().to_owned();
        refuse(reply, ConsensusError::NotLeader { leader: Some((successor, address)) });
    }

    fn learner_that_caught_up(&self) -> Option<(MemberId, Seat)> {
        let raft = &self.node.raft;
        let last = raft.raft_log.last_index();
        let has_caught_up = |member: MemberId| {
            let progress = raft.prs().get(member.0).filter(|progress| progress.recent_active);
            progress.is_some_and(|progress| progress.matched > 0 && progress.matched + CAUGHT_UP_ENTRIES >= last)
        };
        let learners = self
            .roster
            .seats
            .iter()
            .filter(|(member, seat)| seat.is_promotable && raft.prs().conf().learners().contains(&member.0));
        learners.filter(|(member, _)| has_caught_up(**member)).map(|(member, seat)| (*member, seat.clone())).next()
    }

    /// The other voter that has most of the log, among those heard lately.
    fn successor(&self) -> Option<MemberId> {
        let prs = self.node.raft.prs();
        let voters = prs.conf().to_conf_state();
        let others = voters.get_voters().iter().filter(|voter| **voter != self.config.member.0);
        let active = others.filter_map(|voter| Some((prs.get(*voter).filter(|p| p.recent_active)?.matched, *voter)));
        active.max().map(|(_, voter)| MemberId(voter))
    }

    pub(crate) fn is_leading(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    pub(crate) fn not_leader(&self) -> ConsensusError {
        let leader = Some(MemberId(self.node.raft.leader_id)).filter(|leader| leader.0 != 0);
        let known = leader.and_then(|leader| Some((leader, self.roster.address(leader)?.to_owned())));
        ConsensusError::NotLeader { leader: known }
    }

    fn next_origin(&mut self) -> Origin {
        self.calls.last_number += 1;
        Origin { member: self.config.member, incarnation: self.incarnation, number: self.calls.last_number }
    }
}

/// The text of a panic.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("without a word").to_owned()
}

fn refuse<T>(reply: Reply<T>, error: ConsensusError) {
    // A caller that is gone needs no answer.
    let _ = reply.send(Err(error));
}

fn encode_change(member: MemberId, seat: Option<&Seat>, is_voter: bool) -> ConfChange {
    let mut change = ConfChange::default();
    change.set_node_id(member.0);
    change.set_change_type(match (seat, is_voter) {
        (None, _) => ConfChangeType::RemoveNode,
        (Some(_), true) => ConfChangeType::AddNode,
        (Some(_), false) => ConfChangeType::AddLearnerNode,
    });
    if let Some(seat) = seat {
        change.set_context(encode_seat(seat).into());
    }
    change
}
