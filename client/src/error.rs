//! What a call can come to, other than its answer.

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
    /// An address in the configuration is not one.
    #[error("'{address}' is not the address of a coordinator")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        #[source]
        source: tonic::transport::Error,
    },
    /// Something answers there, and knows nothing of what coordinators do.
    #[error("no Thalweg coordinator of this version answers at {address} ({reason}); {CHECK}")]
    NotThere {
        /// The address.
        address: String,
        /// What was answered.
        reason: String,
    },
    /// Until the deadline no coordinator could be reached, or none knew a leader.
    #[error("no coordinator answered: {}", list(tried))]
    Unreachable {
        /// What was tried last, per coordinator.
        tried: Vec<Tried>,
    },
    /// Coordinators ended, or their connections broke, while they had the request. It may have been executed.
    #[error(
        "the connection to {coordinator} broke while it had the request, as one before it did ({reason}): it is not sent to any other. \
         It may have been carried out; see whether the job is there before you send it again"
    )]
    Broken {
        /// The last of them.
        coordinator: String,
        /// What happened there.
        reason: String,
    },
    /// The request was understood and refused; the same again would be refused again.
    #[error("{message}")]
    Rejected {
        /// Why.
        message: String,
    },
    /// What the request is about does not exist.
    #[error("{message}")]
    NotFound {
        /// What does not exist.
        message: String,
    },
    /// The job was restarted, and its new attempt does not have the row that is next.
    #[error("{attempt} of {job} has rows from {offset} on, after {delivered} of an earlier one had been delivered")]
    RowsLost {
        /// The job.
        job: JobId,
        /// The new attempt.
        attempt: Attempt,
        /// The first row that it has.
        offset: u64,
        /// How many rows had been delivered.
        delivered: u64,
    },
    /// A coordinator failed in a way that it did not foresee.
    #[error("the coordinator failed ({code:?}): {message}")]
    Failed {
        /// The gRPC code.
        code: Code,
        /// What it says.
        message: String,
    },
    /// The answer is not what it should be.
    #[error("the coordinator's answer cannot be read")]
    Malformed(#[from] WireError),
}

/// How one coordinator failed to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Its address.
    pub coordinator: String,
    /// What happened last.
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
