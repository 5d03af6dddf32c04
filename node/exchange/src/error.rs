//! What can go wrong between two subtasks.

use thalweg_types::{Attempt, ChannelId, JobId, NodeId};
use thiserror::Error;

/// Why an exchange cannot go on. Each of these ends the attempt.
#[derive(Debug, Error)]
pub enum ExchangeError {
    /// The other node cannot be dialled, or it refused the stream.
    #[error("could not open the stream of {job}, {attempt} to {node} at {address}")]
    Open {
        job: JobId,
        attempt: Attempt,
        node: NodeId,
        /// The address that the node should listen on.
        address: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A peer broke a rule of the protocol.
    #[error("{peer} broke the protocol on {channel}: {reason}")]
    Violation {
        /// The sender, or the receiver if it granted too much.
        peer: NodeId,
        channel: ChannelId,
        /// The rule that was broken.
        reason: String,
    },
    /// Arrow refused an operation on a batch.
    #[error("could not {attempted} on exchange-{exchange}")]
    Arrow {
        attempted: &'static str,
        /// The number of the exchange.
        exchange: u32,
        /// The cause.
        #[source]
        source: arrow::error::ArrowError,
    },
}

impl ExchangeError {
    /// The other node, if the error is about one.
    #[must_use]
    pub fn peer(&self) -> Option<NodeId> {
        match self {
            Self::Open { node, .. } => Some(*node),
            Self::Violation { peer, .. } => Some(*peer),
            Self::Arrow { .. } => None,
        }
    }
}

/// A broken stream, as reported to the attempt. It ends the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerFailure {
    /// The other node.
    pub peer: NodeId,
    /// What happened, with the cause.
    pub message: String,
}
