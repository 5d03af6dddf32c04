//! Errors of client calls.

use std::fmt;

use thalweg_proto::convert::WireError;
use thalweg_types::{Attempt, JobId};
use thiserror::Error;
use tonic::{Code, Status};

/// Why a call failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The configuration names no coordinator.
    #[error("no coordinator is configured")]
    NoCoordinator,
    /// A configured address cannot be parsed.
    #[error("'{address}' is not the address of a coordinator")]
    Address {
        address: String,
        #[source]
        source: tonic::transport::Error,
    },
    /// No coordinator that knows a leader answered before the deadline.
    #[error("no coordinator answered: {}", list(tried))]
    Unreachable {
        /// The last failure of each coordinator.
        tried: Vec<Tried>,
    },
    /// Connections to two coordinators broke while these had the request. It may have been executed, and it may be what
    /// ends coordinators, so no third one gets it.
    #[error(
        "the connection to {coordinator} broke while it had the request, as one before it did ({reason}): it is not sent to any other. \
         It may have been carried out; see whether the job is there before you send it again"
    )]
    Broken {
        /// The last coordinator that had it.
        coordinator: String,
        reason: String,
    },
    /// The request was understood and refused. Repeating it gives the same answer.
    #[error("{message}")]
    Rejected {
        /// The reason, for people.
        message: String,
    },
    /// What the request names does not exist.
    #[error("{message}")]
    NotFound {
        /// What does not exist.
        message: String,
    },
    /// The job restarted, and its new attempt no longer has the next row.
    #[error("{attempt} of {job} has rows from {offset} on, after {delivered} of an earlier one had been delivered")]
    RowsLost {
        job: JobId,
        attempt: Attempt,
        /// The first row that the new attempt has.
        offset: u64,
        /// How many rows earlier attempts delivered.
        delivered: u64,
    },
    /// The coordinator answered with any other status, such as that of a bug.
    #[error("the coordinator failed ({code:?}): {message}")]
    Failed {
        /// The gRPC code.
        code: Code,
        message: String,
    },
    /// The answer cannot be parsed.
    #[error("the coordinator's answer cannot be read")]
    Malformed(#[from] WireError),
}

/// A coordinator, and why it did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The coordinator's address.
    pub coordinator: String,
    /// Its last failure.
    pub reason: String,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.coordinator, self.reason)
    }
}

fn list(tried: &[Tried]) -> String {
    tried.iter().map(Tried::to_string).collect::<Vec<_>>().join("; ")
}

impl ClientError {
    /// Maps a final status other than success to an error.
    pub(crate) fn from_status(status: &Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::NotFound => Self::NotFound { message },
            Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::OutOfRange
            | Code::ResourceExhausted
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Aborted => Self::Rejected { message },
            code => Self::Failed { code, message },
        }
    }
}
