//! The real network: TCP without Nagle's delay.

use std::io;

use futures::StreamExt;
use thalweg_proto::network::{Connection, Listener, Network};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;

/// TCP.
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

fn without_delay(stream: TcpStream) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    Ok(Connection::new(stream))
}
