//! What can go wrong in a connector.

use thalweg_storage::{StorageError, refusal};
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
    /// Storage or network failed; mostly the same may work later.
    #[error("could not {attempted}")]
    Store {
        /// What was attempted, on what.
        attempted: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody else's server does not take it, however often it is asked.
    #[error("could not {attempted}, asked {times} times")]
    GaveUp {
        /// What was attempted, on what.
        attempted: String,
        /// How often.
        times: u64,
        /// What came of it the last time.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A store or a file system refuses it, and will again until somebody changes something.
    #[error("could not {attempted}: {advice}")]
    Refused {
        /// What was attempted, on what.
        attempted: String,
        /// What to change.
        advice: String,
        /// What the store said.
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
            Self::GaveUp { .. } => FailureKind::Operator,
            Self::Config { .. } | Self::Record { .. } | Self::Data { .. } | Self::Refused { .. } => FailureKind::Data,
        }
    }
}

impl From<StorageError> for ConnectorError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Config { attempted, reason } => Self::Data { attempted, reason },
            StorageError::Store { attempted, source } => Self::Store { attempted, source },
            StorageError::Refused { attempted, advice, source } => Self::Refused { attempted, advice, source },
            other => Self::Data { attempted: "open the object store".to_owned(), reason: other.to_string() },
        }
    }
}

/// The error of a store or a file system: what is refused for good, or what may work later.
pub(crate) fn failed(attempted: String, source: Box<dyn std::error::Error + Send + Sync>) -> ConnectorError {
    let is_impossible = |error: &std::io::Error| error.kind() == std::io::ErrorKind::InvalidInput;
    if source.downcast_ref().is_some_and(is_impossible) {
        return ConnectorError::Data { attempted, reason: source.to_string() };
    }
    match refusal(source.as_ref()) {
        Some(advice) => ConnectorError::Refused { attempted, advice, source },
        None => ConnectorError::Store { attempted, source },
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn what_is_refused_for_good_is_not_tried_again() {
        let kind =
            |source: Box<dyn std::error::Error + Send + Sync>| failed("write x".to_owned(), source).failure_kind();
        let refused = object_store::Error::Unauthenticated { path: "x".to_owned(), source: "no".into() };
        assert_eq!(kind(refused.into()), FailureKind::Data);
        assert_eq!(
            kind(object_store::Error::Generic { store: "S3", source: "timeout".into() }.into()),
            FailureKind::Store
        );
        assert_eq!(kind(Error::from(ErrorKind::PermissionDenied).into()), FailureKind::Data);
        assert_eq!(
            kind(Error::from(ErrorKind::AlreadyExists).into()),
            FailureKind::Data,
            "a file where a directory should be"
        );
        let zero = std::fs::metadata("a\0b").expect_err("no name holds a zero byte");
        assert_eq!(kind(zero.into()), FailureKind::Data, "the same name will be no better");
        assert_eq!(kind(Error::from(ErrorKind::StorageFull).into()), FailureKind::Store, "somebody may make room");
    }
}
