//! Where a node finds the contents of the secrets that tables name. Only nodes have them.

use std::{fmt, io};

use thalweg_types::job::FailureKind;
use thiserror::Error;

/// Where a node finds secrets.
pub trait Secrets: fmt::Debug + Send + Sync {
    /// The content of a secret. `name` has passed `is_secret_name`.
    ///
    /// # Errors
    /// If it is not there or cannot be read. The error says where it was looked for, and nothing of the content.
    fn resolve(&self, name: &str) -> Result<String, SecretError>;
}

/// No secrets at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn resolve(&self, _: &str) -> Result<String, SecretError> {
        Err(SecretError::Missing { looked: "this process is given none".to_owned() })
    }
}

/// Why a secret cannot be had.
#[derive(Debug, Error)]
pub enum SecretError {
    /// It is nowhere.
    #[error("it was not found: {looked}")]
    Missing {
        /// Where it was looked for, in words for people.
        looked: String,
    },
    /// It is where it should be, and cannot be used.
    #[error("{place} {reason}")]
    Content {
        /// The file or variable.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be read.
    #[error("{place} cannot be read")]
    Read {
        /// The file.
        place: String,
        #[source]
        source: io::Error,
    },
    /// The graph has a name that no planner lets pass.
    #[error("this cannot be the name of a secret")]
    Name,
    /// The graph has a secret where no planner lets one pass: the value may be shown to people.
    #[error("this option cannot be a secret")]
    Misplaced,
}

impl SecretError {
    pub(crate) fn failure_kind(&self) -> FailureKind {
        match self {
            Self::Missing { .. } | Self::Content { .. } | Self::Name | Self::Misplaced => FailureKind::Data,
            // It may be just about to be replaced.
            Self::Read { .. } => FailureKind::Operator,
        }
    }
}
