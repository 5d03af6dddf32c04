//! A network within one process, whose connections are pipes in memory. For tests, and for clusters in one process.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures::{StreamExt, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    sync::{mpsc, watch},
};

use super::{Connection, Listener, Network, Peer};

/// Bytes that a connection holds in each direction before its writer waits.
const PIPE_BYTES: usize = 256 << 10;
/// The most connections that wait to be accepted; a further dial waits.
const BACKLOG: usize = 64;

/// Listeners by address. Each value is a separate network.
#[derive(Debug, Default)]
pub struct MemoryNetwork {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    listeners: BTreeMap<String, mpsc::Sender<Pipe>>,
    next_port: u16,
    /// Notified when all open connections break.
    cut: watch::Sender<()>,
}

impl Default for State {
    fn default() -> Self {
        Self { listeners: BTreeMap::new(), next_port: 1024, cut: watch::Sender::new(()) }
    }
}

impl MemoryNetwork {
    /// Makes an address unreachable for new connections, as if its process had ended. Open connections stay open.
    pub fn close(&self, address: &str) {
        self.state().listeners.remove(address);
    }

    /// Breaks all open connections, as if the links between their processes were lost.
    pub fn cut(&self) {
        self.state().cut.send_replace(());
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
        Ok(Listener { address, incoming: accepted.map(|pipe| Ok(Connection::new(pipe, Peer::default()))).boxed() })
    }

    async fn connect(&self, address: &str) -> io::Result<Connection> {
        let (listener, cut) = {
            let state = self.state();
            let listener = state.listeners.get(address).cloned().ok_or(io::ErrorKind::ConnectionRefused)?;
            (listener, state.cut.subscribe())
        };
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        listener.send(Pipe::new(theirs, cut.clone())).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(Connection::new(Pipe::new(ours, cut), Peer::default()))
    }
}

/// One end of a connection, until it is cut.
struct Pipe {
    stream: DuplexStream,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_cut: bool,
}

impl Pipe {
    fn new(stream: DuplexStream, mut cut: watch::Receiver<()>) -> Self {
        let cut = Box::pin(async move {
            if cut.changed().await.is_err() {
                // The network was dropped, so nobody can cut the connection any more.
                std::future::pending::<()>().await;
            }
        });
        Self { stream, cut, is_cut: false }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.is_cut = self.is_cut || self.cut.as_mut().poll(context).is_ready();
        if self.is_cut { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
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

    #[tokio::test]
    async fn what_is_cut_breaks_at_both_ends_and_what_is_opened_later_does_not() {
        let network = MemoryNetwork::default();
        let mut listener = network.listen("here:0").await.expect("the address is free");
        let mut ours = network.connect("here:1024").await.expect("it listens");
        let mut theirs = listener.incoming.next().await.expect("one has come").expect("it is open");
        let mut byte = [0; 1];
        let (read, ()) = tokio::join!(ours.read(&mut byte), async { network.cut() });
        assert_eq!(read.expect_err("it was cut").kind(), io::ErrorKind::ConnectionReset);
        theirs.write_all(b"x").await.expect_err("it was cut");
        let mut later = network.connect("here:1024").await.expect("it listens still");
        later.write_all(b"x").await.expect("it is open");
    }
}
