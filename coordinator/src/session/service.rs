//! The session service: checks and records who comes, then passes messages between the node's stream and the leader actor.
//!
//! ```text
//! node --Register--> checked here --RegisterNode--> log --applied--> actor: Open --Registered, orders--> node
//!      --the rest------------------------------------------------->  actor: Receive
//! ```
//!
//! The protocol is described in `thalweg_types::session`. A coordinator that does not lead ends the stream with UNAVAILABLE
//! and the leader's address in the metadata. A message that is malformed ends the session with INVALID_ARGUMENT: the node is of another
//! make. A node that comes while another process of its number is here gets ALREADY_EXISTS, and may come again: that one may just not
//! be known to have ended.

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
    convert::{WireError, bytes_of},
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
    compute::on_compute,
    leader::{LeaderHandle, SessionId},
    machine::Machine,
};

/// How long a new stream may take to say who comes.
const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Orders and acknowledgements that wait for the network. A node gets a handful of orders per job; one that lets thousands
/// wait does not read.
const OUTGOING: usize = 4096;

/// A longer message takes long enough to read that heartbeats would wait for it.
const LARGE_BYTES: usize = 64 << 10;
/// Shorter than a third of the shortest lease that makes sense.
const HEARD_EVERY: Duration = Duration::from_millis(100);

/// Whoever may come may also come often: more refusals than one in this time are only counted.
const REFUSALS_EVERY: Duration = Duration::from_secs(1);

type Outgoing = Pin<Box<dyn Stream<Item = Result<v1::CoordinatorMessage, Status>> + Send>>;

/// The session service.
#[derive(Debug)]
pub(crate) struct NodeSessionService {
    consensus: Consensus<Machine>,
    leader: LeaderHandle,
    seams: Seams,
    refusals: Mutex<Refusals>,
}

/// What was told of the nodes that were refused.
#[derive(Debug, Default)]
struct Refusals {
    told: Option<Duration>,
    untold: u64,
}

impl Refusals {
    /// Counts a refusal. So many were not told of before one that is to be told.
    fn count(&mut self, now: Duration) -> Option<u64> {
        if self.told.is_some_and(|told| now.saturating_sub(told) < REFUSALS_EVERY) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// Why a session was ended here, where it was.
type Fault = Arc<OnceLock<Status>>;

/// How a registration ended.
enum Registered {
    Accepted(SessionId, mpsc::Receiver<CoordinatorMessage>),
    Refused(String),
}

impl NodeSessionService {
    pub(crate) fn new(consensus: Consensus<Machine>, leader: LeaderHandle, seams: Seams) -> Self {
        Self { consensus, leader, seams, refusals: Mutex::default() }
    }

    /// As it is mounted into a gRPC server.
    pub(crate) fn into_server(self) -> NodeSessionServer<Self> {
        NodeSessionServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// UNAVAILABLE, with the leader's address where one is known.
    fn not_leading(consensus: &Consensus<Machine>) -> Status {
        let mut status = Status::unavailable("this coordinator does not lead the cluster");
        let leadership = consensus.leadership().borrow().clone();
        let address = leadership.leader_address.filter(|_| leadership.leader != Some(consensus.member()));
        if let Some(value) = address.and_then(|address| MetadataValue::try_from(address).ok()) {
            status.metadata_mut().insert(LEADER_KEY, value);
        }
        status
    }

    fn tell_refused(&self, node: NodeId, reason: &str) {
        let told = self.refusals.lock().count(self.seams.clock.monotonic());
        if let Some(untold) = told {
            tracing::warn!(%node, reason, untold, "node refused");
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
        match self.consensus.propose(command.to_bytes(self.seams.clock.since_epoch())).await {
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
            Ok(Registered::Refused(reason)) => self.tell_refused(node, reason),
            Err(status) if status.code() == Code::AlreadyExists => self.tell_refused(node, status.message()),
            _ => {}
        }
        match registered? {
            Registered::Refused(reason) => {
                let refused = v1::CoordinatorMessage::from(CoordinatorMessage::Refused { reason });
                Ok(Response::new(Box::pin(stream::iter([Ok(refused)]))))
            }
            Registered::Accepted(session, messages) => {
                // When it ends the session ends, and the node opens another one.
                let fault = Fault::default();
                let passing =
                    pass_on(self.seams.clone(), self.leader.clone(), (node, session), incoming, fault.clone());
                self.seams.io.spawn("node-session", Box::pin(passing));
                Ok(Response::new(outgoing(self.seams.clone(), self.consensus.clone(), messages, fault)))
            }
        }
    }
}

/// Orders for as long as the leader holds the session, then the reason why there are no more.
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

/// A message as it goes over the wire. What may hold the splits of many files is written out beside the connection, which has pings to
/// answer.
async fn encoded(seams: Seams, message: CoordinatorMessage) -> Result<v1::CoordinatorMessage, Status> {
    let may_be_large = matches!(
        &message,
        CoordinatorMessage::Order { order, .. } if matches!(order.action, Action::Deploy(_) | Action::Commit { .. })
    );
    if !may_be_large {
        return Ok(message.into());
    }
    let encoded = on_compute(&seams, "encode an order", move || v1::CoordinatorMessage::from(message)).await;
    encoded.ok_or_else(|| Status::internal("an order could not be encoded"))
}

/// Reads a message. While a large one is being read, the leader is told that the node is there: what it says next waits behind.
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
            // Without the actor nobody needs to know.
            Err(_) => _ = leader.receive(node, session, NodeMessage::Heartbeat { metrics: Vec::new() }).await,
        }
    }
}

/// Passes on what the node says, until it says no more.
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
                // Before the session is closed, as whoever reads its end wants to know.
                _ = fault.set(error.into());
                break;
            }
        }
    }
    // Without the actor there is no session to end.
    let _ = leader.close(node, session).await;
}
