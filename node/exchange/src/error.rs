//! What can go wrong between two subtasks.

use thalweg_types::{Attempt, ChannelId, JobId, NodeId};
use thiserror::Error;

/// Why an exchange cannot go on. Each of these ends the attempt.
#[derive(Debug, Error)]
pub enum ExchangeError {
    /// A node cannot be dialled, or it refused the stream.
    #[error("could not open the stream of {job}, {attempt} to {node} at {address}")]
    Open {
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: Attempt,
        /// The node.
        node: NodeId,
        /// Where it should listen.
        address: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A peer broke a rule of the protocol.
    #[error("{peer} broke the protocol on {channel}: {reason}")]
    Violation {
        /// Who sent it.
        peer: NodeId,
        /// Where.
        channel: ChannelId,
        /// Which rule.
        reason: String,
    },
    /// Arrow refused an operation on a batch.
    #[error("could not {attempted} on exchange-{exchange}")]
    Arrow {
        /// What was attempted.
        attempted: &'static str,
        /// The exchange.
        exchange: u32,
        /// Why.
        #[source]
        source: arrow::error::ArrowError,
    },
}

impl ExchangeError {
    /// The other node, where the error is about one.
    #[must_use]
    pub fn peer(&self) -> Option<NodeId> {
        match self {
            Self::Open { node, .. } => Some(*node),
            Self::Violation { peer, .. } => Some(*peer),
            Self::Arrow { .. } => None,
        }
    }
}

/// What happened to a stream, told to the attempt. Both end it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerFailure {
    /// The other node.
    pub peer: NodeId,
    /// What happened.
    pub message: String,
}
