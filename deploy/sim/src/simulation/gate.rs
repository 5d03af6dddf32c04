//! Holds a process still, as SIGSTOP does: no task of it gets a turn and its sockets neither take nor give a byte, while
//! time goes on. What comes for it meanwhile waits; when it goes on, it does so where it was, with old beliefs: a zombie.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::TcpStream;

/// A process's gate. Everything that the process does passes through.
#[derive(Debug, Default)]
pub struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    waiting: Vec<Waker>,
    /// The process ends: its sockets are closed together.
    is_ending: bool,
    sockets: BTreeMap<u64, Socket>,
    last_socket: u64,
}

/// Nothing once the process has ended.
type Socket = Arc<Mutex<Option<TcpStream>>>;

impl Gate {
    /// The process ends now.
    pub(super) fn begin_end(&self) {
        self.state().is_ending = true;
    }

    /// Closes all sockets that are left, in their order. To be called on the host.
    pub(super) fn close_sockets(&self) {
        let sockets = std::mem::take(&mut self.state().sockets);
        for (_, socket) in sockets {
            let closed = socket.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(closed);
        }
    }

    /// Holds the process.
    pub fn close(&self) {
        self.state().is_closed = true;
    }

    /// Lets the process go on, or another one begin.
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

/// A socket behind a gate. The gate holds it too, so that a process's end closes its sockets in the order in which they were
/// opened: the runtime drops the tasks that own them in an order that depends on what ran in this program before.
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
