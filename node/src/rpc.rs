//! The session's gRPC client: one stream to one coordinator, in domain types.

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
    /// The coordinator could not be reached, or the connection broke.
    #[error("the session with {coordinator} failed")]
    Broken {
        coordinator: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process is registered under this node's id, and is still there.
    #[error("{coordinator} refuses a second process: {occupant}")]
    Occupied { coordinator: String, occupant: String },
    /// The coordinator ended the stream.
    #[error("{coordinator} ended the session")]
    Ended { coordinator: String },
    /// The coordinator broke a rule of the protocol.
    #[error("{coordinator} {violation}")]
    Violation { coordinator: String, violation: String },
    /// The coordinator did not answer in time.
    #[error("{coordinator} did not answer the registration")]
    Silent { coordinator: String },
    /// The worker gave the session up.
    #[error("the session with {coordinator} was given up")]
    GivenUp { coordinator: String },
}

impl SessionError {
    /// The process that is registered under this node's id.
    pub(crate) fn occupied(&self) -> Option<&str> {
        match self {
            Self::Occupied { occupant, .. } => Some(occupant),
            Self::NotLeading { .. }
            | Self::Broken { .. }
            | Self::Ended { .. }
            | Self::Violation { .. }
            | Self::Silent { .. }
            | Self::GivenUp { .. } => None,
        }
    }

    /// The leader's address, if the coordinator has named it.
    pub(crate) fn leader(&self) -> Option<String> {
        match self {
            Self::NotLeading { leader, .. } => leader.clone(),
            Self::Broken { .. }
            | Self::Occupied { .. }
            | Self::Ended { .. }
            | Self::Violation { .. }
            | Self::Silent { .. }
            | Self::GivenUp { .. } => None,
        }
    }
}

/// What has arrived from the coordinator.
#[derive(Debug)]
pub(crate) enum Received {
    Message(CoordinatorMessage),
    /// An order that cannot be read. It must be refused, or the coordinator would send it again and again.
    MalformedOrder {
        sequence: u64,
        reason: String,
    },
}

/// The coordinator's side of a session.
#[derive(Debug)]
pub(crate) struct SessionStream {
    coordinator: String,
    incoming: Streaming<v1::CoordinatorMessage>,
}

/// Opens a session. The first message should be in `outgoing` already: a coordinator may answer only after it.
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
    /// Waits for what arrives next.
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

    /// The coordinator broke a rule.
    pub(crate) fn violation(&self, what: &dyn std::fmt::Display) -> SessionError {
        SessionError::Violation { coordinator: self.coordinator.clone(), violation: what.to_string() }
    }

    /// The coordinator's address.
    pub(crate) fn coordinator(&self) -> &str {
        &self.coordinator
    }
}

/// Asks a coordinator for the reader of a path. Returns its address, or else the reason why there is none now. Both are
/// empty if no job takes records at the path.
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
