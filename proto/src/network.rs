//! The network seam: the program hands in how servers listen and clients connect, so that a simulation can replace it.

use std::{fmt, io, pin::Pin, sync::Arc, time::Duration};

use futures::Stream;
use hyper_util::rt::TokioIo;
use thalweg_types::seam::Spawner;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::{Channel, Endpoint, Server, Uri, server::Connected};
use tower::layer::util::{Identity, Stack};

mod admission;
mod bodies;
mod handlers;
pub mod http;
mod memory;
mod peer;

pub use admission::{Activity, ConnectionLimits, Request, admit};
pub use bodies::Held;
pub use handlers::{HandlerTasks, InTasks};
pub use memory::MemoryNetwork;
pub use peer::{Caller, Peer};

/// A byte stream between two processes.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A connection over any transport.
pub struct Connection {
    socket: Box<dyn Socket>,
    peer: Peer,
    activity: Activity,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.peer)
    }
}

impl Connection {
    /// Wraps a byte stream.
    pub fn new(socket: impl Socket + 'static, peer: Peer) -> Self {
        Self { socket: Box::new(socket), peer, activity: Activity::default() }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;
    fn connect_info(&self) -> Caller {
        Caller { peer: self.peer, activity: self.activity.clone() }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        Pin::new(&mut *self.socket).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> std::task::Poll<io::Result<usize>> {
        Pin::new(&mut *self.socket).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

/// Incoming connections of a listener.
pub type Incoming = Pin<Box<dyn Stream<Item = io::Result<Connection>> + Send>>;

/// A bound listener.
pub struct Listener {
    /// The address that others can dial, as `host:port`, with the port that was bound.
    pub address: String,
    /// The connections.
    pub incoming: Incoming,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.address)
    }
}

/// The network.
#[async_trait::async_trait]
pub trait Network: Send + Sync + fmt::Debug {
    /// Listens at `host:port`; with port 0 the system chooses the port.
    ///
    /// # Errors
    /// Those of the system, such as a port in use.
    async fn listen(&self, address: &str) -> io::Result<Listener>;

    /// Connects to `host:port`.
    ///
    /// # Errors
    /// Those of the system.
    async fn connect(&self, address: &str) -> io::Result<Connection>;
}

/// HTTP/2 pings at this interval, each to be answered in time, detect a peer that no longer answers. Together they take
/// as long as a node's lease. A process that died is noticed at once: its connections close.
const PING_INTERVAL: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The windows of HTTP/2's own flow control in bytes, per stream and per connection. Credits bound what is in flight,
/// so these windows must never be narrower.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// The most concurrent calls on one connection: a coordinator passes on the calls of its clients over one.
const STREAMS_MAX: u32 = 1024;
/// The most bytes of a call's metadata.
const HEAD_BYTES_MAX: u32 = 16 << 10;

/// A gRPC server for the connections of [`admit`], with the windows and pings that [`channel`] has on the other side.
/// The spawner starts a task for each call. A call ends if its request does not arrive in time.
#[must_use]
pub fn server(spawner: &Arc<dyn Spawner>) -> Server<Stack<HandlerTasks, Identity>> {
    Server::builder()
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEAD_BYTES_MAX)
        .tcp_nodelay(true)
        .layer(HandlerTasks::new(spawner.clone()))
}

/// A gRPC channel to `host:port` (`http://` before it is ignored). It connects at its first use, and again after it
/// broke.
///
/// # Errors
/// When the address is not a valid authority.
pub fn channel(network: &Arc<dyn Network>, address: &str) -> Result<Channel, tonic::transport::Error> {
    let authority = address.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let endpoint = Endpoint::from_shared(format!("http://{authority}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let network = network.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let (network, authority) = (network.clone(), authority.clone());
        async move { network.connect(&authority).await.map(TokioIo::new) }
    });
    Ok(endpoint.connect_with_connector_lazy(connector))
}

/// Whether a call's connection broke while the other side had the request, or may have had it: of a status that was made up here, as
/// nobody answered, or that says so of another process's connection. One that was never there does not count.
#[must_use]
pub fn broke_under_way(status: &tonic::Status) -> bool {
    let mut source = std::error::Error::source(status);
    let is_made_here = source.is_some();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return false;
        }
        source = error.source();
    }
    is_made_here || status.metadata().contains_key(crate::BROKE_KEY)
}
