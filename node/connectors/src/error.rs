//! Errors of connectors.

use thalweg_storage::{StorageError, refusal};
use thalweg_types::job::FailureKind;
use thiserror::Error;

use crate::secrets::SecretError;

/// Why a connector cannot go on.
#[derive(Debug, Error)]
pub enum ConnectorError {
    /// The options or the schema don't fit the connector.
    #[error("table {table}: {reason}")]
    Config {
        /// The table's name.
        table: String,
        reason: String,
    },
    /// A secret of its options cannot be had.
    #[error("table {table}: option '{option}' needs secret '{secret}'")]
    Secret {
        /// The table's name.
        table: String,
        /// The option's key.
        option: String,
        /// The secret's name.
        secret: String,
        #[source]
        source: Box<SecretError>,
    },
    /// A record is malformed and the table has no dead-letter path.
    #[error("{position}: {reason}")]
    Record {
        /// Where the record is, such as `flights.json:17`.
        position: String,
        reason: String,
    },
    /// The data is missing, or does not match its format.
    #[error("could not {attempted}: {reason}")]
    Data {
        /// What was attempted, and on what; the message says "could not" before it.
        attempted: String,
        reason: String,
    },
    /// Storage or network failed; the same may succeed later.
    #[error("could not {attempted}")]
    Store {
        attempted: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A foreign server keeps refusing a request.
    #[error("could not {attempted}, asked {times} times")]
    GaveUp {
        attempted: String,
        times: u64,
        /// The last failure.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A store or a file system refuses, and will until somebody changes something.
    #[error("could not {attempted}: {advice}")]
    Refused {
        attempted: String,
        advice: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ConnectorError {
    /// How a failure of this kind affects the attempt.
    #[must_use]
    pub fn failure_kind(&self) -> FailureKind {
        match self {
            Self::Store { .. } => FailureKind::Store,
            Self::Secret { source, .. } => source.failure_kind(),
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
            StorageError::NotFound { .. }
            | StorageError::NoCheckpoint { .. }
            | StorageError::Corrupt { .. }
            | StorageError::Exists { .. } => {
                Self::Data { attempted: "open the object store".to_owned(), reason: error.to_string() }
            }
        }
    }
}

/// The error of a store or a file system, classified as permanent or transient.
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

/// Names what was attempted when a store or a file system fails.
pub(crate) fn store_error<E>(attempted: String) -> impl FnOnce(E) -> ConnectorError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |error| failed(attempted, error.into())
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
