//! HTTP over the network seam: the connections of a listener, as axum takes them.

use futures::StreamExt;
use thalweg_proto::network::{Connection, Incoming, Listener};

/// A listener that is bound, for axum.
pub(crate) struct IngestListener {
    address: String,
    incoming: Incoming,
}

impl IngestListener {
    pub(crate) fn new(listener: Listener) -> Self {
        Self { address: listener.address, incoming: listener.incoming }
    }
}

impl axum::serve::Listener for IngestListener {
    type Io = Connection;
    type Addr = String;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.incoming.next().await {
                Some(Ok(connection)) => return (connection, self.address.clone()),
                // One connection that fails, or too many open files: the next may succeed.
                Some(Err(error)) => tracing::warn!(%error, "could not accept an HTTP connection"),
                None => std::future::pending().await,
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address.clone())
    }
}
