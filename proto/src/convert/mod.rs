//! Conversions between the wire and the domain: one file per service, and `job` for parts that several services carry.

use thiserror::Error;

mod client;
pub mod exchange;
mod job;
mod session;
pub mod trace;

pub use session::{bytes_of, fits_in_a_message};

/// A message from the wire is malformed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("malformed {message}: {reason}")]
pub struct WireError {
    /// The message's name.
    pub message: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl WireError {
    /// An error about a message.
    pub fn new(message: &'static str, reason: impl Into<String>) -> Self {
        Self { message, reason: reason.into() }
    }
}

impl From<WireError> for tonic::Status {
    fn from(error: WireError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}
