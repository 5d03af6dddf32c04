//! Pauses a process as SIGSTOP does: none of its tasks is polled and its sockets do not move a byte, while time
//! passes. What arrives meanwhile waits. The process resumes where it was, with outdated knowledge: a zombie.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::TcpStream;

/// The gate of a process. All its tasks and sockets pass through it.
#[derive(Debug, Default)]
pub struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    waiting: Vec<Waker>,
    /// Whether the process is ending: its sockets are then closed together.
    is_ending: bool,
    sockets: BTreeMap<u64, Socket>,
    last_socket: u64,
}

/// `None` once the process has ended.
type Socket = Arc<Mutex<Option<TcpStream>>>;

impl Gate {
    /// Marks the process as ending.
    pub(super) fn begin_end(&self) {
        self.state().is_ending = true;
    }

    /// Closes all remaining sockets, in the order in which they were opened. Call it on the host.
    pub(super) fn close_sockets(&self) {
        let sockets = std::mem::take(&mut self.state().sockets);
        for (_, socket) in sockets {
            let closed = socket.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(closed);
        }
    }

    /// Pauses the process.
    pub fn close(&self) {
        self.state().is_closed = true;
    }

    /// Lets the process resume, or a new one start.
    pub fn open(&self) {
        let waiting = {
            let mut state = self.state();
            state.is_closed = false;
            state.is_ending = false;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if !state.is_closed {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket behind a gate. The gate also holds it, so that the end of a process closes its sockets in the order in
/// which they were opened. The runtime drops the tasks that own them in an order that depends on earlier runs in this
/// program.
#[derive(Debug)]
pub(super) struct Gated {
    gate: Arc<Gate>,
    number: u64,
    socket: Socket,
}

impl Gated {
    pub(super) fn new(gate: Arc<Gate>, stream: TcpStream) -> Self {
        let socket = Socket::new(Mutex::new(Some(stream)));
        let number = {
            let mut state = gate.state();
            state.last_socket += 1;
            let number = state.last_socket;
            state.sockets.insert(number, socket.clone());
            number
        };
        Self { gate, number, socket }
    }

    fn poll<T>(
        &self,
        context: &mut Context<'_>,
        then: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        ready!(self.gate.poll(context));
        let mut stream = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        match stream.as_mut() {
            Some(stream) => then(Pin::new(stream), context),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        let closed = {
            let mut state = self.gate.state();
            if state.is_ending { None } else { state.sockets.remove(&self.number) }
        };
        drop(closed);
    }
}

impl AsyncRead for Gated {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll(context, |stream, context| stream.poll_read(context, into))
    }
}

impl AsyncWrite for Gated {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, |stream, context| stream.poll_shutdown(context))
    }
}
