//! Redirects a request whose path has no reader on this node: the cluster knows which node has it.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;

/// Where the cluster takes records POSTed to a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReaderPlace {
    /// At this HTTP address of a node, as `host:port`.
    At(String),
    /// At no node now; the reason.
    NotNow(String),
    /// No job takes records at the path.
    Nowhere,
}

/// Finds readers by path.
pub trait ReaderDirectory: fmt::Debug + Send + Sync {
    /// Finds the reader of a path; `path` has no slashes at its ends.
    fn find<'a>(&'a self, path: &'a str) -> BoxFuture<'a, ReaderPlace>;
}

/// The directory that a node asks, and the node's own HTTP address in it.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// Finds readers by path.
    pub directory: Arc<dyn ReaderDirectory>,
    /// A client is never redirected to this address: it is here already.
    pub own_address: String,
}
