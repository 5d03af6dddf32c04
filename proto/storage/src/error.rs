//! What can go wrong with stored objects.

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
    /// There is no checkpoint where one was looked for.
    #[error("there is no checkpoint at {url}")]
    NoCheckpoint {
        /// Where.
        url: String,
    },
    /// An object is not what it should be.
    #[error("{object} is damaged: {reason}")]
    Corrupt {
        /// Its name.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An object that is written once is there already, with other content.
    #[error("{object} is there already, with other content")]
    Exists {
        /// Its name.
        object: String,
    },
    /// The store or the network failed; mostly the same may work later.
    #[error("could not {attempted}")]
    Store {
        /// What was attempted, on what.
        attempted: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store refuses it, and will again until somebody changes something.
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
    /// A URL, an option or a name is not sound, or rows are of a kind that cannot be stored.
    #[error("could not {attempted}: {reason}")]
    Config {
        /// What was attempted, on what.
        attempted: String,
        /// What is wrong.
        reason: String,
    },
}

impl StorageError {
    /// What a failure of this kind means for the attempt.
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

/// What a store's own error on an object means.
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

/// The error of a store or a file system: what is refused for good, or what may work later.
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
