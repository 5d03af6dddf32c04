//! Sending to other members: one queue, one task and one gRPC stream per member.
//!
//! ```text
//!   driver --try_send--> queue --> task --pieces--> stream to the member's RaftService
//!      ^                             |
//!      +------ Report ---------------+   the member can't be reached; a snapshot left, or was lost
//! ```
//!
//! Raft needs no reliable delivery. A message is dropped and reported if it does not fit into a queue, or if its member
//! cannot be reached; raft sends it again in time. The driver never waits for a peer. A peer's task may wait for the
//! driver.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use futures::{Stream, stream};
use raft::eraftpb::{Message, MessageType};
use thalweg_proto::{
    network::{self, Network},
    v1::{RaftEnvelope, raft_client::RaftClient},
};
use thalweg_types::{MemberId, seam::Spawner};
use tokio::{sync::mpsc, time};
use tonic::{Code, Status};
use tracing::{debug, warn};

use crate::{membership::Roster, message_codec::Post};

/// Raft keeps at most 256 appends in flight to one member. More messages can only be stale heartbeats.
const QUEUE_MESSAGES: usize = 256;
/// Pieces between a peer's task and its stream: enough to keep the stream busy, few enough to hold little memory.
const STREAM_PIECES: usize = 4;
/// The pause after a stream broke: about a heartbeat, so that a member that returns is found at once.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How long a stream may take to end after its last message.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// The most members outside the roster that are answered. Before its first snapshot, a learner answers whoever leads.
const CONTACTS_MAX: usize = 16;

/// What a peer's task reports to the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) member: MemberId,
    pub(crate) event: PeerEvent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerEvent {
    Unreachable,
    SnapshotSent,
    SnapshotLost,
}

/// What all peers share.
#[derive(Debug, Clone)]
pub(crate) struct PeerContext {
    pub(crate) post: Post,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) io: Arc<dyn Spawner>,
    pub(crate) reports: mpsc::Sender<Report>,
}

/// The members that this one sends to.
pub(crate) struct Peers {
    context: PeerContext,
    peers: BTreeMap<MemberId, Peer>,
    contacts: BTreeMap<MemberId, Peer>,
}

struct Peer {
    address: String,
    queue: mpsc::Sender<Message>,
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peers({:?})", self.peers.keys())
    }
}

impl Peers {
    pub(crate) fn new(context: PeerContext) -> Self {
        Self { context, peers: BTreeMap::new(), contacts: BTreeMap::new() }
    }

    /// Follows the roster. The queue of a removed member is still sent, because it may hold the news of its removal.
    pub(crate) fn update(&mut self, roster: &Roster) {
        self.peers.retain(|member, peer| roster.address(*member) == Some(&peer.address));
        for (member, seat) in &roster.seats {
            if *member != self.context.post.member && !self.peers.contains_key(member) {
                let peer = self.context.start(*member, &seat.address);
                self.peers.insert(*member, peer);
            }
        }
        self.contacts.retain(|member, _| !roster.seats.contains_key(member));
    }

    /// Remembers where a member that is not in the roster listens.
    pub(crate) fn on_contact(&mut self, member: MemberId, address: &str) {
        let is_known =
            self.peers.contains_key(&member) || self.contacts.get(&member).is_some_and(|peer| peer.address == address);
        if is_known || (self.contacts.len() >= CONTACTS_MAX && !self.contacts.contains_key(&member)) {
            return;
        }
        let peer = self.context.start(member, address);
        self.contacts.insert(member, peer);
    }

    /// Queues a message. Returns false if it was dropped.
    pub(crate) fn send(&mut self, message: Message) -> bool {
        let member = MemberId(message.to);
        let peer = self.peers.get(&member).or_else(|| self.contacts.get(&member));
        peer.is_some_and(|peer| peer.queue.try_send(message).is_ok())
    }
}

impl PeerContext {
    fn start(&self, member: MemberId, address: &str) -> Peer {
        let (queue, messages) = mpsc::channel(QUEUE_MESSAGES);
        let task = PeerTask {
            context: self.clone(),
            member,
            address: address.to_owned(),
            has_snapshot_in_hand: false,
            last_refusal: None,
        };
        // The task ends once its queue is closed and sent. Its failures are reports.
        self.io.spawn(&format!("raft-peer-{}", member.0), Box::pin(task.run(messages)));
        Peer { address: address.to_owned(), queue }
    }
}

struct PeerTask {
    context: PeerContext,
    member: MemberId,
    address: String,
    has_snapshot_in_hand: bool,
    last_refusal: Option<Code>,
}

enum StreamEnd {
    QueueClosed,
    Broken,
}

impl PeerTask {
    async fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        while let Some(first) = queue.recv().await {
            match self.stream(first, &mut queue).await {
                StreamEnd::QueueClosed => return,
                StreamEnd::Broken => self.on_broken(&mut queue).await,
            }
        }
    }

    /// Runs one stream, from its opening for `first` to its end.
    async fn stream(&mut self, first: Message, queue: &mut mpsc::Receiver<Message>) -> StreamEnd {
        self.has_snapshot_in_hand = is_snapshot(&first);
        let channel = match network::channel(&self.context.network, &self.address) {
            Ok(channel) => channel,
            Err(error) => {
                warn!(member = %self.member, address = self.address, %error, "the address of a member is unusable");
                return StreamEnd::Broken;
            }
        };
        let (pieces, outgoing) = mpsc::channel(STREAM_PIECES);
        let mut client = RaftClient::new(channel);
        let call = client.send(into_stream(outgoing));
        tokio::pin!(call);
        let outcome = tokio::select! {
            end = self.feed(first, queue, pieces) => {
                // Waits until the last pieces have left. If they cannot leave any more, nobody waits for them.
                let _ = time::timeout(CLOSE_WITHIN, call).await;
                return end;
            }
            outcome = &mut call => outcome,
        };
        self.log_end(outcome.err());
        StreamEnd::Broken
    }

    async fn feed(
        &mut self,
        first: Message,
        queue: &mut mpsc::Receiver<Message>,
        pieces: mpsc::Sender<RaftEnvelope>,
    ) -> StreamEnd {
        let mut next = Some(first);
        while let Some(message) = next {
            self.has_snapshot_in_hand = is_snapshot(&message);
            for envelope in self.context.post.envelopes(&message) {
                if pieces.send(envelope).await.is_err() {
                    return StreamEnd::Broken;
                }
            }
            if std::mem::take(&mut self.has_snapshot_in_hand) {
                self.report(PeerEvent::SnapshotSent).await;
            }
            next = queue.recv().await;
        }
        StreamEnd::QueueClosed
    }

    /// Reports, and drops what is queued during the pause. It will be stale once the member can be reached again.
    async fn on_broken(&mut self, queue: &mut mpsc::Receiver<Message>) {
        if std::mem::take(&mut self.has_snapshot_in_hand) {
            self.report(PeerEvent::SnapshotLost).await;
        }
        self.report(PeerEvent::Unreachable).await;
        let pause = time::sleep(RETRY_AFTER);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return,
                message = queue.recv() => match message {
                    Some(message) if is_snapshot(&message) => self.report(PeerEvent::SnapshotLost).await,
                    Some(_) => {}
                    None => return,
                },
            }
        }
    }

    async fn report(&self, event: PeerEvent) {
        // A driver that has stopped needs no reports.
        let _ = self.context.reports.send(Report { member: self.member, event }).await;
    }

    /// A refusal means that members or clusters are set up wrongly. It is logged once.
    fn log_end(&mut self, error: Option<Status>) {
        let Some(error) = error else { return };
        let is_refusal =
            matches!(error.code(), Code::FailedPrecondition | Code::InvalidArgument | Code::Unauthenticated);
        let code = Some(error.code()).filter(|_| is_refusal);
        if code.is_some() && self.last_refusal != code {
            warn!(member = %self.member, address = self.address, %error, "a member refuses our messages");
        } else {
            debug!(member = %self.member, address = self.address, %error, "the stream to a member broke");
        }
        self.last_refusal = code;
    }
}

fn is_snapshot(message: &Message) -> bool {
    message.get_msg_type() == MessageType::MsgSnapshot
}

fn into_stream(receiver: mpsc::Receiver<RaftEnvelope>) -> impl Stream<Item = RaftEnvelope> + Send + 'static {
    stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|envelope| (envelope, receiver)))
}
