//! The session service: checks and records who comes, then passes messages between the node's stream and the leader
//! actor.
//!
//! ```text
//! node --Register--> checked here --RegisterNode--> log --applied--> actor: Open --Registered, orders--> node
//!      --the rest------------------------------------------------->  actor: Receive
//! ```
//!
//! `thalweg_types::session` describes the protocol. A stream may end with one of these statuses:
//!
//! | status | if |
//! |---|---|
//! | UNAVAILABLE, with the leader's address in the metadata | this coordinator does not lead |
//! | INVALID_ARGUMENT | a message is malformed, because the node is of another make |
//! | ALREADY_EXISTS | another process with the node's number is here. The node may come again, because that process may have ended unnoticed |

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use thalweg_cluster_state::{Command, Outcome, Rejection};
use thalweg_consensus::{Consensus, ConsensusError};
use thalweg_proto::{
    LEADER_KEY, MESSAGE_BYTES_MAX,
    compute::on_compute,
    convert::{WireError, bytes_of},
    network::Peer,
    v1::{
        self,
        node_session_server::{NodeSession, NodeSessionServer},
    },
};
use thalweg_types::{
    ENGINE_VERSION, NodeId,
    node::NodeRegistration,
    seam::Seams,
    session::{Action, CoordinatorMessage, NodeMessage},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming, metadata::MetadataValue};

use crate::{
    leader::{LeaderHandle, SessionId},
    machine::Machine,
};

/// The time that a new stream has to send its registration.
const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// The most orders and acknowledgements that wait for the network. A node gets a handful of orders per job, so one with
/// thousands waiting does not read.
const OUTGOING: usize = 4096;

/// A longer message takes so long to decode that heartbeats would wait for it.
const LARGE_BYTES: usize = 64 << 10;
/// How often the leader is told that a node is there while its message is decoded. Well within the default lease of
/// 3 s.
const HEARD_EVERY: Duration = Duration::from_millis(100);

/// At most one refusal in this time is logged. Others are only counted, because nodes may come often.
const REFUSALS_EVERY: Duration = Duration::from_secs(1);

type Outgoing = Pin<Box<dyn Stream<Item = Result<v1::CoordinatorMessage, Status>> + Send>>;

#[derive(Debug)]
pub(crate) struct NodeSessionService {
    consensus: Consensus<Machine>,
    leader: LeaderHandle,
    seams: Seams,
    refusals: Mutex<Refusals>,
}

/// The log of refused nodes.
#[derive(Debug, Default)]
struct Refusals {
    told: Option<Duration>,
    untold: u64,
}

impl Refusals {
    /// Counts a refusal. If it is to be logged, returns the number of refusals since the last that was logged.
    fn count(&mut self, now: Duration) -> Option<u64> {
        if self.told.is_some_and(|told| now.saturating_sub(told) < REFUSALS_EVERY) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// The status with which this service ended a session, if it did.
type Fault = Arc<OnceLock<Status>>;

/// The outcome of a registration.
enum Registered {
    Accepted(SessionId, mpsc::Receiver<CoordinatorMessage>),
    Refused(String),
}

impl NodeSessionService {
    pub(crate) fn new(consensus: Consensus<Machine>, leader: LeaderHandle, seams: Seams) -> Self {
        Self { consensus, leader, seams, refusals: Mutex::default() }
    }

    /// The service for a gRPC server.
    pub(crate) fn into_server(self) -> NodeSessionServer<Self> {
        NodeSessionServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// UNAVAILABLE, with the leader's address if one is known.
    fn not_leading(consensus: &Consensus<Machine>) -> Status {
        let mut status = Status::unavailable("this coordinator does not lead the cluster");
        let leadership = consensus.leadership().borrow().clone();
        let address = leadership.leader_address.filter(|_| leadership.leader != Some(consensus.member()));
        if let Some(value) = address.and_then(|address| MetadataValue::try_from(address).ok()) {
            status.metadata_mut().insert(LEADER_KEY, value);
        }
        status
    }

    fn tell_refused(&self, node: NodeId, peer: Peer, reason: &str) {
        let told = self.refusals.lock().count(self.seams.clock.monotonic());
        if let Some(untold) = told {
            tracing::warn!(%node, %peer, cause = reason, untold, "node refused");
        }
    }

    async fn register(&self, registration: NodeRegistration) -> Result<Registered, Status> {
        if !self.consensus.leadership().borrow().is_self {
            return Err(Self::not_leading(&self.consensus));
        }
        if registration.version != ENGINE_VERSION {
            return Ok(Registered::Refused(format!(
                "the node is of version {}, this cluster runs {ENGINE_VERSION}: all must be of one version",
                registration.version
            )));
        }
        if let Some(occupant) = self.leader.occupant(registration.node, registration.incarnation).await {
            return Err(Status::already_exists(occupant));
        }
        let command = Command::RegisterNode { registration: registration.clone() };
        match self.consensus.propose(command.to_bytes(self.seams.clock.unix_time())).await {
            Ok(Outcome::Applied(_)) => {}
            Ok(Outcome::Rejected(reason @ (Rejection::Superseded { .. } | Rejection::NoSlots { .. }))) => {
                return Ok(Registered::Refused(reason.to_string()));
            }
            Ok(Outcome::Rejected(reason)) => return Err(Status::internal(reason.to_string())),
            Err(ConsensusError::TooLarge { .. }) => {
                return Err(Status::invalid_argument("the registration is too large"));
            }
            Err(_) => return Err(Self::not_leading(&self.consensus)),
        }
        let (outgoing, messages) = mpsc::channel(OUTGOING);
        match self.leader.open(registration, outgoing).await {
            Some(session) => Ok(Registered::Accepted(session, messages)),
            None => Err(Self::not_leading(&self.consensus)),
        }
    }
}

#[tonic::async_trait]
impl NodeSession for NodeSessionService {
    type OpenStream = Outgoing;

    async fn open(&self, request: Request<Streaming<v1::NodeMessage>>) -> Result<Response<Outgoing>, Status> {
        let peer = Peer::of(request.extensions());
        let mut incoming = request.into_inner();
        let first = timeout(FIRST_MESSAGE_TIMEOUT, incoming.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no registration has come"))??;
        let Some(first) = first else { return Err(Status::invalid_argument("the session ended before it began")) };
        let NodeMessage::Register(registration) = NodeMessage::try_from(first)? else {
            return Err(Status::invalid_argument("a session begins with a registration"));
        };
        let node = registration.node;
        let registered = self.register(registration).await;
        match &registered {
            Ok(Registered::Refused(reason)) => self.tell_refused(node, peer, reason),
            Err(status) if status.code() == Code::AlreadyExists => self.tell_refused(node, peer, status.message()),
            Ok(Registered::Accepted(..)) | Err(_) => {}
        }
        match registered? {
            Registered::Refused(reason) => {
                let refused = v1::CoordinatorMessage::from(CoordinatorMessage::Refused { reason });
                Ok(Response::new(Box::pin(stream::iter([Ok(refused)]))))
            }
            Registered::Accepted(session, messages) => {
                // When this task ends the session ends, and the node opens another one.
                let fault = Fault::default();
                let passing =
                    pass_on(self.seams.clone(), self.leader.clone(), (node, session), incoming, fault.clone());
                self.seams.io.spawn("node-session", Box::pin(passing));
                Ok(Response::new(outgoing(self.seams.clone(), self.consensus.clone(), messages, fault)))
            }
        }
    }
}

/// The stream of orders to a node. When the leader ends the session, it ends with the reason as a status.
fn outgoing(
    seams: Seams,
    consensus: Consensus<Machine>,
    messages: mpsc::Receiver<CoordinatorMessage>,
    fault: Fault,
) -> Outgoing {
    let orders = ReceiverStream::new(messages).then(move |message| encoded(seams.clone(), message));
    let not_leading = move || NodeSessionService::not_leading(&consensus);
    let end = stream::once(async move { Err(fault.get().cloned().unwrap_or_else(not_leading)) });
    Box::pin(orders.chain(end))
}

/// Encodes a message. One that may hold the splits of many files is encoded on the compute threads, because the
/// connection has pings to answer.
async fn encoded(seams: Seams, message: CoordinatorMessage) -> Result<v1::CoordinatorMessage, Status> {
    let may_be_large = matches!(
        &message,
        CoordinatorMessage::Order { order, .. } if matches!(order.action, Action::Deploy(_) | Action::Commit(_))
    );
    if !may_be_large {
        return Ok(message.into());
    }
    let encoded = on_compute(&seams, "encode an order", move || v1::CoordinatorMessage::from(message)).await;
    encoded.ok_or_else(|| Status::internal("an order could not be encoded"))
}

/// Decodes a message. While a large one is decoded, the node's next messages wait behind it, so the leader is told that
/// the node is there.
async fn decoded(
    seams: &Seams,
    leader: &LeaderHandle,
    (node, session): (NodeId, SessionId),
    message: v1::NodeMessage,
) -> Result<NodeMessage, WireError> {
    if bytes_of(&message) < LARGE_BYTES {
        return message.try_into();
    }
    let decoding = on_compute(seams, "decode a report", move || NodeMessage::try_from(message));
    tokio::pin!(decoding);
    loop {
        match timeout(HEARD_EVERY, &mut decoding).await {
            Ok(Some(decoded)) => return decoded,
            Ok(None) => return Err(WireError::new("NodeMessage", "reading it has failed")),
            // An error means that the actor has ended, so nobody needs to know.
            Err(_) => _ = leader.receive(node, session, NodeMessage::Heartbeat { metrics: Vec::new() }).await,
        }
    }
}

/// Passes on a node's messages, until its stream ends.
async fn pass_on(
    seams: Seams,
    leader: LeaderHandle,
    (node, session): (NodeId, SessionId),
    mut incoming: Streaming<v1::NodeMessage>,
    fault: Fault,
) {
    loop {
        let message = match incoming.message().await {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(status) => {
                tracing::debug!(%node, error = %status, "session broke");
                break;
            }
        };
        match decoded(&seams, &leader, (node, session), message).await {
            Ok(message) => {
                if leader.receive(node, session, message).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%node, %error, "session ended");
                // Set it before the session is closed: the end of the stream reads it.
                _ = fault.set(error.into());
                break;
            }
        }
    }
    // An error means that the actor has ended, and with it the session.
    let _ = leader.close(node, session).await;
}
