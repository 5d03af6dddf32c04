//! Requests to a path that has no reader on this node: the cluster knows where it is, and the client is sent there.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;

/// Where records that are POSTed to a path are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReaderPlace {
    /// At this HTTP address of a node, as `host:port`.
    At(String),
    /// Nowhere now, and why.
    NotNow(String),
    /// By no job.
    Nowhere,
}

/// Knows where readers are.
pub trait ReaderDirectory: fmt::Debug + Send + Sync {
    /// Where the reader of a path is, given without the slashes around it.
    fn find<'a>(&'a self, path: &'a str) -> BoxFuture<'a, ReaderPlace>;
}

/// Whom a node asks, and the HTTP address under which it is known itself.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// Knows where readers are.
    pub directory: Arc<dyn ReaderDirectory>,
    /// Where clients are not sent: they are here already.
    pub own_address: String,
}
