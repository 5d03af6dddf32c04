//! Errors of stored objects.

use thalweg_types::job::FailureKind;
use thiserror::Error;

use crate::refusal::refusal;

/// Why something could not be stored or read.
#[derive(Debug, Error)]
pub enum StorageError {
    /// There is no such object.
    #[error("there is no {object}")]
    NotFound {
        /// Its name.
        object: String,
    },
    /// There is no checkpoint at a URL.
    #[error("there is no checkpoint at {url}")]
    NoCheckpoint {
        /// Where it was looked for.
        url: String,
    },
    /// An object is not what it should be.
    #[error("{object} is damaged: {reason}")]
    Corrupt {
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An object that is written once exists already, with other content.
    #[error("{object} is there already, with other content")]
    Exists {
        /// Its name.
        object: String,
    },
    /// The store or the network failed; a retry may succeed.
    #[error("could not {attempted}")]
    Store {
        /// What was attempted, on what.
        attempted: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store refuses the request until somebody changes something.
    #[error("could not {attempted}: {advice}")]
    Refused {
        /// What was attempted, on what.
        attempted: String,
        /// What to change.
        advice: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A URL, an option or a name is invalid, or rows are of a kind that cannot be stored.
    #[error("could not {attempted}: {reason}")]
    Config {
        /// What was attempted, on what.
        attempted: String,
        reason: String,
    },
}

impl StorageError {
    /// The error of an object that is not what it should be.
    pub fn corrupt(object: &str, reason: impl Into<String>) -> Self {
        corrupt(object, reason)
    }

    /// What the error means for the attempt.
    #[must_use]
    pub fn failure_kind(&self) -> FailureKind {
        match self {
            Self::Store { .. } => FailureKind::Store,
            Self::NotFound { .. } | Self::NoCheckpoint { .. } => FailureKind::Data,
            Self::Corrupt { .. } | Self::Exists { .. } | Self::Config { .. } | Self::Refused { .. } => {
                FailureKind::Data
            }
        }
    }
}

pub(crate) fn corrupt(object: &str, reason: impl Into<String>) -> StorageError {
    StorageError::Corrupt { object: object.to_owned(), reason: reason.into() }
}

pub(crate) fn config(attempted: String, reason: impl Into<String>) -> StorageError {
    StorageError::Config { attempted, reason: reason.into() }
}

/// Maps a store's own error about an object.
pub(crate) fn store_error(doing: &'static str, object: &str) -> impl FnOnce(object_store::Error) -> StorageError {
    move |error| {
        let advice = refusal(&error);
        match (error, advice) {
            (object_store::Error::NotFound { .. }, Some(advice)) if !advice.contains("bucket") => {
                StorageError::NotFound { object: object.to_owned() }
            }
            (error, advice) => failed_or_refused(format!("{doing} {object}"), error, advice),
        }
    }
}

/// Maps the error of a store or a file system: refused for good, or worth a retry.
pub(crate) fn failed(attempted: String, error: impl std::error::Error + Send + Sync + 'static) -> StorageError {
    let advice = refusal(&error);
    failed_or_refused(attempted, error, advice)
}

fn failed_or_refused(
    attempted: String,
    error: impl std::error::Error + Send + Sync + 'static,
    advice: Option<String>,
) -> StorageError {
    let source = Box::new(error);
    match advice {
        Some(advice) => StorageError::Refused { attempted, advice, source },
        None => StorageError::Store { attempted, source },
    }
}
