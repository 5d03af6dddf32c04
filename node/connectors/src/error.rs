//! What can go wrong in a connector.

use thalweg_storage::StorageError;
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
}

impl ConnectorError {
    /// What a failure of this kind means for the attempt.
    #[must_use]
    pub fn failure_kind(&self) -> FailureKind {
        match self {
            Self::Store { source, .. } if is_permanent(source.as_ref()) => FailureKind::Data,
            Self::Store { .. } => FailureKind::Store,
            Self::Config { .. } | Self::Record { .. } | Self::Data { .. } => FailureKind::Data,
        }
    }
}

impl From<StorageError> for ConnectorError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Config { attempted, reason } => Self::Data { attempted, reason },
            StorageError::Store { attempted, source } => Self::Store { attempted, source },
            other => Self::Data { attempted: "open the object store".to_owned(), reason: other.to_string() },
        }
    }
}

/// Whether a file system has refused what it will refuse again until somebody changes it: a path that is wrong, or not ours.
fn is_permanent(source: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    use std::io::ErrorKind;
    if let Some(error) = source.downcast_ref::<object_store::Error>() {
        return is_refused_by_store(error);
    }
    let refused = source.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(
        refused,
        Some(
            ErrorKind::PermissionDenied
                | ErrorKind::AlreadyExists
                | ErrorKind::NotADirectory
                | ErrorKind::IsADirectory
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::InvalidFilename
        )
    )
}

/// Whether an object store has refused what it will refuse again: the credentials are wrong, or there is no such bucket.
fn is_refused_by_store(error: &object_store::Error) -> bool {
    use object_store::Error;
    matches!(
        error,
        Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::NotFound { .. }
            | Error::InvalidPath { .. }
            | Error::NotSupported { .. }
            | Error::NotImplemented { .. }
            | Error::UnknownConfigurationKey { .. }
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn what_an_object_store_refuses_for_good_is_not_tried_again() {
        let kind = |source: object_store::Error| {
            ConnectorError::Store { attempted: "write s3://b/x".to_owned(), source: source.into() }.failure_kind()
        };
        let refused = object_store::Error::Unauthenticated { path: "x".to_owned(), source: "no".into() };
        assert_eq!(kind(refused), FailureKind::Data);
        assert_eq!(
            kind(object_store::Error::NotFound { path: "x".to_owned(), source: "no".into() }),
            FailureKind::Data
        );
        assert_eq!(kind(object_store::Error::Generic { store: "S3", source: "timeout".into() }), FailureKind::Store);
    }

    #[test]
    fn what_a_file_system_refuses_for_good_is_not_tried_again() {
        let kind = |kind: ErrorKind| {
            let source = Box::new(Error::from(kind));
            ConnectorError::Store { attempted: "create /x".to_owned(), source }.failure_kind()
        };
        assert_eq!(kind(ErrorKind::PermissionDenied), FailureKind::Data);
        assert_eq!(kind(ErrorKind::NotADirectory), FailureKind::Data);
        assert_eq!(kind(ErrorKind::AlreadyExists), FailureKind::Data, "a file where a directory should be");
        assert_eq!(kind(ErrorKind::StorageFull), FailureKind::Store, "somebody may make room");
        assert_eq!(kind(ErrorKind::ConnectionReset), FailureKind::Store);
    }
}
