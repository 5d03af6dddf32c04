//! A network within one process: connections are pipes in memory. For tests, and for a cluster that lives in one process.

use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, stream};
use tokio::{io::DuplexStream, sync::mpsc};

use super::{Connection, Listener, Network};

/// What a connection holds in each direction before its writer waits.
const PIPE_BYTES: usize = 256 << 10;
/// Connections that wait to be accepted.
const BACKLOG: usize = 64;

/// Listeners by address. Each value is a network of its own.
#[derive(Debug, Default)]
pub struct MemoryNetwork {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    listeners: BTreeMap<String, mpsc::Sender<DuplexStream>>,
    next_port: u16,
}

impl Default for State {
    fn default() -> Self {
        Self { listeners: BTreeMap::new(), next_port: 1024 }
    }
}

impl MemoryNetwork {
    /// Makes an address unreachable for new connections, as when its process has ended; those that are open stay so.
    pub fn close(&self, address: &str) {
        self.state().listeners.remove(address);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Network for MemoryNetwork {
    async fn listen(&self, address: &str) -> io::Result<Listener> {
        let (host, port) = address.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
        let mut state = self.state();
        let address = if port == "0" {
            let port = state.next_port;
            state.next_port = port.checked_add(1).ok_or(io::ErrorKind::AddrNotAvailable)?;
            format!("{host}:{port}")
        } else {
            address.to_owned()
        };
        if state.listeners.get(&address).is_some_and(|listener| !listener.is_closed()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (sender, receiver) = mpsc::channel(BACKLOG);
        state.listeners.insert(address.clone(), sender);
        let accepted =
            stream::unfold(receiver, |mut receiver| async { receiver.recv().await.map(|pipe| (pipe, receiver)) });
        Ok(Listener { address, incoming: accepted.map(|pipe| Ok(Connection::new(pipe))).boxed() })
    }

    async fn connect(&self, address: &str) -> io::Result<Connection> {
        let listener = self.state().listeners.get(address).cloned().ok_or(io::ErrorKind::ConnectionRefused)?;
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        listener.send(theirs).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(Connection::new(ours))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn connections_carry_bytes_and_closed_addresses_refuse() {
        let network = MemoryNetwork::default();
        let mut listener = network.listen("here:0").await.expect("the address is free");
        assert_eq!(listener.address, "here:1024");
        assert!(network.listen("here:1024").await.is_err());
        let mut ours = network.connect("here:1024").await.expect("it listens");
        let mut theirs = listener.incoming.next().await.expect("one has come").expect("it is open");
        ours.write_all(b"hello").await.expect("it is open");
        let mut read = [0; 5];
        theirs.read_exact(&mut read).await.expect("it was written");
        assert_eq!(&read, b"hello");
        network.close("here:1024");
        assert!(network.connect("here:1024").await.is_err());
        network.listen("here:1024").await.expect("it is free again");
    }
}
