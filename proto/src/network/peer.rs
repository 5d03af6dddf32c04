//! Who is at the other end of a connection.

use std::{fmt, net::SocketAddr};

use super::Activity;

/// What is known of the other end of a connection. So far that is its address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Peer {
    address: Option<SocketAddr>,
}

impl Peer {
    /// A peer that connects from this address.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self { address: Some(address) }
    }

    /// The peer of a request, as the server that took it has noted.
    #[must_use]
    pub fn of(extensions: &tonic::codegen::http::Extensions) -> Self {
        extensions.get::<Caller>().map(|caller| caller.peer).unwrap_or_default()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => address.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

/// What servers note with each request of a connection.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Who makes the request.
    pub peer: Peer,
    /// Tells the listener of the request.
    pub activity: Activity,
}
