//! The environment of members in tests: a network in memory that can be cut, and tasks that can be killed.
#![allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use futures::stream;
use parking_lot::Mutex;
use thalweg_proto::network::{Connection, Listener, Network, Peer};
use thalweg_types::seam::{Seams, Spawner, TaskFuture, TaskHandle};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    sync::mpsc,
    task::AbortHandle,
};

/// Waits for a condition, on the runtime's clock, which tests pause.
pub(super) async fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = probe() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// All listeners, and the hosts that are cut off.
#[derive(Debug, Default)]
pub(super) struct Hub {
    listeners: Mutex<BTreeMap<String, mpsc::Sender<Connection>>>,
    cut: Mutex<BTreeSet<String>>,
}

impl Hub {
    pub(super) fn cut(&self, address: &str) {
        self.cut.lock().insert(address.to_owned());
    }

    pub(super) fn heal(&self, address: &str) {
        self.cut.lock().remove(address);
    }
}

/// The network as one host sees it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) hub: Arc<Hub>,
    pub(super) address: String,
}

#[async_trait]
impl Network for Link {
    async fn listen(&self, address: &str) -> io::Result<Listener> {
        let (connections, incoming) = mpsc::channel(16);
        self.hub.listeners.lock().insert(address.to_owned(), connections);
        let incoming = stream::unfold(incoming, async |mut incoming: mpsc::Receiver<Connection>| {
            incoming.recv().await.map(|connection| (Ok(connection), incoming))
        });
        Ok(Listener { address: address.to_owned(), incoming: Box::pin(incoming) })
    }

    async fn connect(&self, address: &str) -> io::Result<Connection> {
        let ends = [self.address.clone(), address.to_owned()];
        let (near, far) = tokio::io::duplex(1 << 16);
        let wire = |stream| Wire { stream, hub: self.hub.clone(), ends: ends.clone() };
        let (near, far) = (wire(near), wire(far));
        near.check()?;
        let listener = self.hub.listeners.lock().get(address).cloned();
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        listener.ok_or_else(refused)?.send(Connection::new(far, Peer::default())).await.map_err(|_| refused())?;
        Ok(Connection::new(near, Peer::default()))
    }
}

/// One end of a connection, which breaks when one of its hosts is cut off.
struct Wire {
    stream: DuplexStream,
    hub: Arc<Hub>,
    ends: [String; 2],
}

impl Wire {
    fn check(&self) -> io::Result<()> {
        let cut = self.hub.cut.lock();
        if self.ends.iter().any(|end| cut.contains(end)) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The tasks of one incarnation of one member.
#[derive(Debug, Default)]
pub(super) struct Tasks(Mutex<Vec<AbortHandle>>);

impl Tasks {
    /// Kills them all, like a crash of the process.
    pub(super) fn kill(&self) {
        self.0.lock().drain(..).for_each(|task| task.abort());
    }
}

impl Spawner for Tasks {
    fn spawn(&self, _name: &str, task: TaskFuture) -> Box<dyn TaskHandle> {
        let handle = tokio::spawn(task).abort_handle();
        self.0.lock().push(handle.clone());
        Box::new(Task(handle))
    }
}

#[derive(Debug)]
struct Task(AbortHandle);

impl TaskHandle for Task {
    fn abort(&self) {
        self.0.abort();
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// Compute threads that a test can block.
#[derive(Default)]
pub(super) struct Compute {
    tasks: Arc<Tasks>,
    waiting: Mutex<Vec<Queued>>,
    busy: Mutex<bool>,
}

impl std::fmt::Debug for Compute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Compute({} waiting)", self.waiting())
    }
}

impl Compute {
    /// Work that is begun from now on waits.
    pub(super) fn hold(&self) {
        *self.busy.lock() = true;
    }

    /// Does the waiting work, in order.
    pub(super) fn release(&self) {
        *self.busy.lock() = false;
        let waiting = std::mem::take(&mut *self.waiting.lock());
        for task in waiting.iter().filter_map(|queued| queued.0.lock().take()) {
            drop(self.tasks.spawn("", task));
        }
    }

    /// How many pieces of work wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.lock().iter().filter(|queued| !queued.is_finished()).count()
    }
}

/// A task that has not begun, until it begins or is aborted.
#[derive(Clone)]
struct Queued(Arc<Mutex<Option<TaskFuture>>>);

impl std::fmt::Debug for Queued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queued")
    }
}

impl TaskHandle for Queued {
    fn abort(&self) {
        let task = self.0.lock().take();
        // What it holds may look for it.
        drop(task);
    }

    fn is_finished(&self) -> bool {
        self.0.lock().is_none()
    }
}

impl Spawner for Compute {
    fn spawn(&self, name: &str, task: TaskFuture) -> Box<dyn TaskHandle> {
        if *self.busy.lock() {
            let queued = Queued(Arc::new(Mutex::new(Some(task))));
            self.waiting.lock().push(queued.clone());
            return Box::new(queued);
        }
        self.tasks.spawn(name, task)
    }
}

/// Seams of one incarnation of a member, and its compute threads.
pub(super) fn seams(seed: u64, tasks: &Arc<Tasks>) -> (Seams, Arc<Compute>) {
    let compute = Arc::new(Compute { tasks: tasks.clone(), ..Compute::default() });
    let seams = Seams { io: tasks.clone(), compute: compute.clone(), ..thalweg_proto::testing::seeded_seams(seed) };
    (seams, compute)
}
