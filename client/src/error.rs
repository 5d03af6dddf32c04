//! Errors of client calls.

use std::fmt;

use thalweg_proto::convert::WireError;
use thalweg_types::{Attempt, JobId};
use thiserror::Error;
use tonic::{Code, Status};

/// What to look at where something answers that is no coordinator.
const CHECK: &str = "check the address, which a coordinator has for --listen: nodes, --http and --health have others";

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
    /// Something answers there, and knows nothing of what coordinators do.
    #[error("no Thalweg coordinator of this version answers at {address} ({reason}); {CHECK}")]
    NotThere {
        address: String,
        /// What was answered.
        reason: String,
    },
    /// Until the deadline no coordinator could be reached, or none knew a leader.
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
    /// Whether that was that the connection broke: whatever is there may be no coordinator.
    pub broke: bool,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.coordinator, self.reason)
    }
}

fn list(tried: &[Tried]) -> String {
    let all = tried.iter().map(Tried::to_string).collect::<Vec<_>>().join("; ");
    let broke: Vec<&str> = tried.iter().filter(|tried| tried.broke).map(|tried| tried.coordinator.as_str()).collect();
    match broke.is_empty() {
        true => all,
        false => format!("{all}. It seems that no Thalweg coordinator is at {}; {CHECK}", broke.join(", ")),
    }
}

impl ClientError {
    /// What a final answer other than success means.
    pub(crate) fn answered(address: &str, status: &Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::Unimplemented => {
                let reason = if message.is_empty() { "it knows no such request".to_owned() } else { message };
                Self::NotThere { address: address.to_owned(), reason }
            }
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
