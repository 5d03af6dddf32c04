//! What can go wrong in a connector.

use thalweg_types::job::FailureKind;
use thiserror::Error;

/// Why a connector cannot go on.
#[derive(Debug, Error)]
pub enum ConnectorError {
    /// The options or the schema don't fit the connector.
    #[error("table {table}: {reason}")]
    Config {
        /// The table.
        table: String,
        /// What is wrong.
        reason: String,
    },
    /// A record is malformed and there is no dead-letter path.
    #[error("{position}: {reason}")]
    Record {
        /// Where it is, such as `flights.json:17`.
        position: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The data is not there, or is not what its format says.
    #[error("could not {attempted}: {reason}")]
    Data {
        /// What was attempted, on what.
        attempted: String,
        /// Why not.
        reason: String,
    },
    /// Storage or network failed; the same may work later.
    #[error("could not {attempted}")]
    Store {
        /// What was attempted, on what.
        attempted: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ConnectorError {
    /// What a failure of this kind means for the attempt.
    #[must_use]
    pub fn failure_kind(&self) -> FailureKind {
        match self {
            Self::Store { .. } => FailureKind::Store,
            Self::Config { .. } | Self::Record { .. } | Self::Data { .. } => FailureKind::Data,
        }
    }
}
