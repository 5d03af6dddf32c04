//! Bearer tokens, by which a client says who it is (`sasl.mechanism=OAUTHBEARER`).

use std::{fmt, time::Duration};

use async_trait::async_trait;
use thiserror::Error;

/// Gives tokens. A client asks for the next one in time before the last expires.
#[async_trait]
pub trait TokenSource: Send + Sync + fmt::Debug {
    /// A token that is valid now.
    ///
    /// # Errors
    /// If there is none.
    async fn token(&self) -> Result<Token, TokenError>;
}

/// A token. `Debug` does not show its value, which is secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// What is sent to brokers.
    pub value: String,
    /// When it expires, as the time since 1970.
    pub expires: Duration,
    /// Whom it stands for.
    pub principal: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("expires", &self.expires)
            .field("principal", &self.principal)
            .finish_non_exhaustive()
    }
}

/// Why there is no token.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TokenError {
    /// Who gives tokens does not answer: the same may succeed later.
    #[error("{reason}")]
    Unavailable { reason: String },
    /// Who gives tokens refuses, or there are no credentials. Somebody has to mend it.
    #[error("{reason}")]
    Denied { reason: String },
}
