//! HTTP over the network seam: the connections of a listener, as axum takes them.

use futures::StreamExt;
use thalweg_proto::network::{Connection, Incoming, Listener};

/// A listener that is bound, for axum.
pub struct HttpListener {
    address: String,
    incoming: Incoming,
}

impl HttpListener {
    /// Takes over a listener.
    #[must_use]
    pub fn new(listener: Listener) -> Self {
        Self { address: listener.address, incoming: listener.incoming }
    }
}

impl std::fmt::Debug for HttpListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HttpListener({})", self.address)
    }
}

impl axum::serve::Listener for HttpListener {
    type Io = Connection;
    type Addr = String;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.incoming.next().await {
                Some(Ok(connection)) => return (connection, self.address.clone()),
                // One connection that could not be accepted says nothing about the next.
                Some(Err(error)) => tracing::warn!(%error, "could not accept an HTTP connection"),
                None => std::future::pending().await,
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address.clone())
    }
}
