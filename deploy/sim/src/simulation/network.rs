//! The network seam over turmoil's TCP.

use std::{io, net::Ipv4Addr, sync::Arc};

use async_trait::async_trait;
use thalweg_proto::network::{Connection, Listener, Network, Peer};

use super::gate::{Gate, Gated};

/// A process's access to the simulated network. Addresses are `host:port` with the simulation's host names.
#[derive(Debug, Clone, Default)]
pub struct SimulatedNetwork {
    gate: Arc<Gate>,
}

impl SimulatedNetwork {
    /// The network of the process behind `gate`.
    #[must_use]
    pub fn behind(gate: Arc<Gate>) -> Self {
        Self { gate }
    }
}

#[async_trait]
impl Network for SimulatedNetwork {
    /// Listens on the port of `address`. The host is what others dial, and is not used here.
    async fn listen(&self, address: &str) -> io::Result<Listener> {
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let port =
            port.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("no port in '{address}'")))?;
        let listener = turmoil::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
        let gate = self.gate.clone();
        let incoming = async_stream::stream! {
            loop {
                let gated = |stream| Gated::new(gate.clone(), stream);
                yield listener.accept().await.map(|(stream, from)| Connection::new(gated(stream), Peer::at(from)));
            }
        };
        Ok(Listener { address: address.to_owned(), incoming: Box::pin(incoming) })
    }

    async fn connect(&self, address: &str) -> io::Result<Connection> {
        let stream = turmoil::net::TcpStream::connect(address).await?;
        let peer = stream.peer_addr().map(Peer::at).unwrap_or_default();
        Ok(Connection::new(Gated::new(self.gate.clone(), stream), peer))
    }
}
