//! The real network: TCP without Nagle's algorithm.

use std::io;

use futures::StreamExt;
use thalweg_proto::network::{Connection, Listener, Network, Peer};
use thalweg_types::address;
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;

/// Connections over TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpNetwork;

#[async_trait::async_trait]
#[allow(clippy::disallowed_methods, reason = "this is the real network")]
impl Network for TcpNetwork {
    async fn listen(&self, address: &str) -> io::Result<Listener> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?.to_string();
        let incoming = TcpListenerStream::new(listener).map(|accepted| accepted.and_then(without_delay));
        Ok(Listener { address, incoming: Box::pin(incoming) })
    }

    async fn connect(&self, address: &str) -> io::Result<Connection> {
        without_delay(TcpStream::connect(address).await?)
    }
}

/// Whether an address stands for all addresses of a machine. A listener can bind it, but others cannot dial it.
#[must_use]
pub fn is_every_interface(address: &str) -> bool {
    address::split(address).is_some_and(|(host, _)| address::is_every_interface(host))
}

/// The address at which a listener is reached from its own machine.
#[must_use]
pub fn reached_from_here(address: &str) -> String {
    match address.rsplit_once(':') {
        Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => address.to_owned(),
    }
}

fn without_delay(stream: TcpStream) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr().map(Peer::at).unwrap_or_default();
    Ok(Connection::new(stream, peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_ends_of_a_connection_know_the_other() {
        let mut listener = TcpNetwork.listen("127.0.0.1:0").await.unwrap();
        let client = TcpNetwork.connect(&listener.address).await.unwrap();
        let served = listener.incoming.next().await.unwrap().unwrap();
        assert_eq!(client.peer().to_string(), listener.address);
        assert!(served.peer().to_string().starts_with("127.0.0.1:"), "{}", served.peer());
    }
}
