//! Why a node does not start, and why it ends.

use std::{io, time::Duration};

use thalweg_types::{Attempt, JobId};
use thiserror::Error;

use crate::config::ConfigError;

/// Why a node does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A listener could not be bound.
    #[error("could not listen on {address}")]
    Listen {
        /// The address to listen on.
        address: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Why a node ended without being asked to. The process must end too, because what still runs in it is out of control.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NodeFailure {
    /// The leader refuses this node, its version or its incarnation.
    #[error("the cluster refused this node: {reason}")]
    Refused {
        /// The leader's reason.
        reason: String,
    },
    /// A cancelled attempt does not end, so no newer one may begin here.
    #[error("{attempt} of {job} did not end within {limit:?} of its cancellation")]
    Stuck {
        /// The attempt's job.
        job: JobId,
        attempt: Attempt,
        /// How long it had to end.
        limit: Duration,
    },
    /// A server ended.
    #[error("the {server} server failed: {reason}")]
    Server {
        /// The server's protocol.
        server: &'static str,
        /// The cause.
        reason: String,
    },
    /// A task that the node needs has panicked.
    #[error("the {task} task of the node panicked")]
    Panicked {
        /// The task's name.
        task: &'static str,
    },
}
