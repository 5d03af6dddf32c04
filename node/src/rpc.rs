//! The session's gRPC client: one stream to one coordinator, in the domain's words.

use std::sync::Arc;

use futures::StreamExt;
use thalweg_proto::{
    LEADER_KEY, MESSAGE_BYTES_MAX,
    network::{self, Network},
    v1::{self, cluster_client::ClusterClient, node_session_client::NodeSessionClient},
};
use thalweg_types::session::{CoordinatorMessage, NodeMessage};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

/// Why a session could not be opened, or ended.
#[derive(Debug, Error)]
pub(crate) enum SessionError {
    /// The coordinator does not lead, or no longer.
    #[error("{coordinator} does not lead the cluster")]
    NotLeading { coordinator: String, leader: Option<String> },
    /// It could not be reached, or the connection broke.
    #[error("the session with {coordinator} failed")]
    Broken {
        coordinator: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process has this node's number, and is there.
    #[error("{coordinator} refuses a second process: {occupant}")]
    Occupied { coordinator: String, occupant: String },
    /// It ended the stream.
    #[error("{coordinator} ended the session")]
    Ended { coordinator: String },
    /// It broke a rule of the protocol.
    #[error("{coordinator} {violation}")]
    Violation { coordinator: String, violation: String },
    /// It did not answer in time.
    #[error("{coordinator} did not answer the registration")]
    Silent { coordinator: String },
    /// The worker wants no more of it.
    #[error("the session with {coordinator} was given up")]
    GivenUp { coordinator: String },
}

impl SessionError {
    /// Who has this node's number.
    pub(crate) fn occupied(&self) -> Option<&str> {
        match self {
            Self::Occupied { occupant, .. } => Some(occupant),
            _ => None,
        }
    }

    /// The leader's address, where the coordinator has named it.
    pub(crate) fn leader(&self) -> Option<String> {
        match self {
            Self::NotLeading { leader, .. } => leader.clone(),
            _ => None,
        }
    }
}

/// What has come from the coordinator.
#[derive(Debug)]
pub(crate) enum Received {
    /// A message.
    Message(CoordinatorMessage),
    /// An order that cannot be read. It is refused, lest it be sent again for ever.
    MalformedOrder { sequence: u64, reason: String },
}

/// The coordinator's side of a session.
#[derive(Debug)]
pub(crate) struct SessionStream {
    coordinator: String,
    incoming: Streaming<v1::CoordinatorMessage>,
}

/// Opens a session. What is to be sent first should be in `outgoing` already: a coordinator may answer only then.
pub(crate) async fn open(
    network: &Arc<dyn Network>,
    coordinator: &str,
    outgoing: mpsc::Receiver<NodeMessage>,
) -> Result<SessionStream, SessionError> {
    let channel = network::channel(network, coordinator)
        .map_err(|error| SessionError::Broken { coordinator: coordinator.to_owned(), source: error.into() })?;
    let mut client = NodeSessionClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let outgoing = ReceiverStream::new(outgoing).map(v1::NodeMessage::from);
    let response = client.open(outgoing).await.map_err(|status| failed(coordinator, status))?;
    Ok(SessionStream { coordinator: coordinator.to_owned(), incoming: response.into_inner() })
}

impl SessionStream {
    /// Waits for what comes next.
    pub(crate) async fn next(&mut self) -> Result<Received, SessionError> {
        let wire = match self.incoming.message().await {
            Ok(Some(wire)) => wire,
            Ok(None) => return Err(SessionError::Ended { coordinator: self.coordinator.clone() }),
            Err(status) => return Err(failed(&self.coordinator, status)),
        };
        let order = order_sequence(&wire);
        match (CoordinatorMessage::try_from(wire), order) {
            (Ok(message), _) => Ok(Received::Message(message)),
            (Err(error), Some(sequence)) => Ok(Received::MalformedOrder { sequence, reason: error.to_string() }),
            (Err(error), None) => Err(self.violation(&error)),
        }
    }

    /// The coordinator did what it must not.
    pub(crate) fn violation(&self, what: &dyn std::fmt::Display) -> SessionError {
        SessionError::Violation { coordinator: self.coordinator.clone(), violation: what.to_string() }
    }

    /// Whom it is with.
    pub(crate) fn coordinator(&self) -> &str {
        &self.coordinator
    }
}

/// Asks a coordinator where the reader of a path is: an address, or why there is none now, or neither.
pub(crate) async fn find_reader(
    network: &Arc<dyn Network>,
    coordinator: &str,
    path: String,
) -> Result<(String, String), Box<dyn std::error::Error + Send + Sync>> {
    let mut client = ClusterClient::new(network::channel(network, coordinator)?);
    let v1::FindReaderResponse { address, reason } =
        client.find_reader(v1::FindReaderRequest { path }).await?.into_inner();
    Ok((address, reason))
}

fn order_sequence(wire: &v1::CoordinatorMessage) -> Option<u64> {
    match &wire.message {
        Some(v1::coordinator_message::Message::Order(order)) => Some(order.sequence),
        _ => None,
    }
}

fn failed(coordinator: &str, status: Status) -> SessionError {
    let leader = status.metadata().get(LEADER_KEY).and_then(|value| value.to_str().ok());
    let leader = leader.filter(|address| !address.is_empty()).map(str::to_owned);
    let coordinator = coordinator.to_owned();
    if status.code() == Code::Unavailable && (leader.is_some() || status.metadata().contains_key(LEADER_KEY)) {
        return SessionError::NotLeading { coordinator, leader };
    }
    if status.code() == Code::AlreadyExists {
        return SessionError::Occupied { coordinator, occupant: status.message().to_owned() };
    }
    SessionError::Broken { coordinator, source: status.into() }
}
