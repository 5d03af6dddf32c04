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
    /// An address cannot be listened on.
    #[error("could not listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Why a node ended that was not told to. The process must end, too: what still runs in it is out of control.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NodeFailure {
    /// The leader wants no such node, of this version or of this incarnation.
    #[error("the cluster refused this node: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// A cancelled attempt does not end, so no newer one may begin here.
    #[error("{attempt} of {job} did not end within {limit:?} of its cancellation")]
    Stuck {
        /// Its job.
        job: JobId,
        /// Which.
        attempt: Attempt,
        /// How long it had.
        limit: Duration,
    },
    /// A server ended.
    #[error("the {server} server failed: {reason}")]
    Server {
        /// Which.
        server: &'static str,
        /// Why.
        reason: String,
    },
    /// A task that the node cannot do without has panicked.
    #[error("the {task} task of the node panicked")]
    Panicked {
        /// Which.
        task: &'static str,
    },
}
