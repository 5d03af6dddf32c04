//! The system's network and randomness, for programs that build on the client. Tests and simulations hand in others.

use std::{collections::hash_map::RandomState, hash::BuildHasher, io, sync::Arc};

use async_trait::async_trait;
use thalweg_proto::network::{Connection, Listener, Network, Peer};
use thalweg_types::seam::Entropy;
use tokio::net::TcpStream;

use crate::{error::ClientError, model::ClientConfig, rpc::Client};

impl Client {
    /// As [`Client::connect`], over TCP and within a runtime of tokio.
    ///
    /// # Errors
    /// As `connect`.
    pub async fn over_tcp(config: ClientConfig) -> Result<Self, ClientError> {
        Self::connect(config, Arc::new(Dialing), Arc::new(SystemEntropy)).await
    }
}

/// Connections over TCP. A client does not listen.
#[derive(Debug)]
struct Dialing;

#[async_trait]
impl Network for Dialing {
    async fn listen(&self, _address: &str) -> io::Result<Listener> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[allow(clippy::disallowed_methods, reason = "this is the real network")]
    async fn connect(&self, address: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr().map(Peer::at).unwrap_or_default();
        Ok(Connection::new(stream, peer))
    }
}

#[derive(Debug)]
struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[allow(clippy::disallowed_methods, reason = "this is the real randomness")]
    fn next(&self) -> u64 {
        // Its keys come from the system once per thread, and count up; hashing mixes them.
        RandomState::new().hash_one("thalweg")
    }
}
