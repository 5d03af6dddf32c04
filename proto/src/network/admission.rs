//! Decides which connections a listener keeps, so that strangers can neither fill it up nor hold on to it.
//!
//! ```text
//! accepted --> fresh --first request--> busy <--requests--> idle
//!                '-- none in time: closed                     '-- none for long: closed
//! ```
//!
//! A listener has room for a limited number of connections. If it is full, a new one takes the place of one without a
//! request in progress: the oldest that never made a request, else the one that is idle for longest. So idle
//! connections never keep others out, and members and nodes keep their places: their streams are requests in progress.
//! If all connections are busy, the new one is refused.

use std::{
    collections::BTreeMap,
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{StreamExt as _, stream, task::AtomicWaker};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Interval, MissedTickBehavior, Sleep, interval, sleep, timeout},
};

use super::{Connection, Incoming, Listener, Socket};

/// The unit in which ages of connections are counted.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// A connection is closed if its peer takes nothing of what is sent for so long.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// How long to wait until a connection that is to make room has gone: its task has to run first.
const ROOM_WITHIN: Duration = Duration::from_secs(1);
/// The shortest and the longest pause after the system refused a connection.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How many ticks pass between two log lines about the same thing.
const QUIET_TICKS: u64 = 10;

/// The limits of a listener's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// The most connections.
    pub connections_max: usize,
    /// How long a connection may take until its first request.
    pub first_request: Duration,
    /// How long a connection may be without a request in progress.
    pub idle: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { connections_max: 256, first_request: Duration::from_secs(10), idle: Duration::from_secs(300) }
    }
}

impl ConnectionLimits {
    /// The defaults, with another number of connections.
    #[must_use]
    pub fn at_most(connections_max: usize) -> Self {
        Self { connections_max: connections_max.max(1), ..Self::default() }
    }
}

/// The state of a connection, as its listener knows it.
#[derive(Debug)]
struct Slot {
    /// The number of requests in progress.
    requests: AtomicUsize,
    /// Whether it has made a request.
    has_asked: AtomicBool,
    /// The tick at which it was accepted or its last request ended.
    since: AtomicU64,
    /// Whether its listener has given it up.
    is_given_up: AtomicBool,
    /// Whether it was dropped.
    has_ended: AtomicBool,
    reader: AtomicWaker,
    shared: Arc<Shared>,
}

/// What a listener and its connections share.
#[derive(Debug, Default)]
struct Shared {
    tick: AtomicU64,
    live: AtomicUsize,
    ended: Notify,
}

/// Tells a connection's listener of its requests; does nothing for a connection that no listener watches.
#[derive(Debug, Clone, Default)]
pub struct Activity(Option<Arc<Slot>>);

/// A request in progress, until it is dropped.
#[derive(Debug)]
pub struct Request(Activity);

impl Activity {
    /// Begins a request, which lasts until the returned value is dropped.
    #[must_use]
    pub fn begin(&self) -> Request {
        if let Some(slot) = &self.0 {
            slot.requests.fetch_add(1, SeqCst);
            slot.has_asked.store(true, SeqCst);
        }
        Request(self.clone())
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if let Some(slot) = &self.0.0 {
            slot.since.store(slot.shared.tick.load(SeqCst), SeqCst);
            slot.requests.fetch_sub(1, SeqCst);
        }
    }
}

impl Slot {
    fn is_idle(&self) -> bool {
        let is_over = self.is_given_up.load(SeqCst) || self.has_ended.load(SeqCst);
        !is_over && self.requests.load(SeqCst) == 0
    }

    fn give_up(&self) {
        self.is_given_up.store(true, SeqCst);
        self.reader.wake();
    }
}

/// The connections of a listener, each watched from here on to keep the limits.
#[must_use]
pub fn admit(listener: Listener, limits: ConnectionLimits) -> Incoming {
    let mut sweeps = interval(SWEEP_INTERVAL);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let admission = Admission {
        address: listener.address,
        incoming: listener.incoming,
        limits,
        sweeps,
        shared: Arc::default(),
        slots: BTreeMap::new(),
        last: 0,
        pause: PAUSE_MIN,
        failures: Quiet::default(),
        refusals: Quiet::default(),
    };
    Box::pin(stream::unfold(admission, async |mut admission| {
        let connection = admission.next().await?;
        Some((Ok(connection), admission))
    }))
}

struct Admission {
    address: String,
    incoming: Incoming,
    limits: ConnectionLimits,
    sweeps: Interval,
    shared: Arc<Shared>,
    /// In the order of arrival. The next sweep removes those that have ended.
    slots: BTreeMap<u64, Arc<Slot>>,
    last: u64,
    /// How long to pause before the system is asked again.
    pause: Duration,
    failures: Quiet,
    refusals: Quiet,
}

/// Limits how often the log says the same thing, and counts what happens in between.
#[derive(Debug, Default)]
struct Quiet {
    count: u64,
    last: Option<u64>,
}

impl Quiet {
    /// How often it has happened since the last log line, if one is due now.
    fn count(&mut self, tick: u64) -> Option<u64> {
        self.count += 1;
        let is_due = self.last.is_none_or(|last| tick >= last + QUIET_TICKS);
        is_due.then(|| {
            self.last = Some(tick);
            std::mem::take(&mut self.count)
        })
    }
}

impl Admission {
    async fn next(&mut self) -> Option<Connection> {
        loop {
            tokio::select! {
                biased;
                _ = self.sweeps.tick() => self.sweep(),
                accepted = self.incoming.next() => match accepted? {
                    Ok(connection) => {
                        self.pause = PAUSE_MIN;
                        if self.has_room().await {
                            return Some(self.look_after(connection));
                        }
                        self.refuse(connection);
                    }
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(error) => self.wait_after(&error).await,
                },
            }
        }
    }

    fn look_after(&mut self, Connection { socket, peer, .. }: Connection) -> Connection {
        let slot = Arc::new(Slot {
            requests: AtomicUsize::new(0),
            has_asked: AtomicBool::new(false),
            since: AtomicU64::new(self.tick()),
            is_given_up: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            shared: self.shared.clone(),
        });
        self.shared.live.fetch_add(1, SeqCst);
        self.last += 1;
        self.slots.insert(self.last, slot.clone());
        let activity = Activity(Some(slot.clone()));
        Connection { socket: Box::new(LookedAfter { socket, slot, stalled: None }), peer, activity }
    }

    /// Gives up connections that have been without a request for too long.
    fn sweep(&mut self) {
        let tick = self.shared.tick.fetch_add(1, SeqCst) + 1;
        let limits = self.limits;
        self.slots.retain(|_, slot| {
            if slot.has_ended.load(SeqCst) {
                return false;
            }
            let granted = if slot.has_asked.load(SeqCst) { limits.idle } else { limits.first_request };
            let age = Duration::from_secs(tick.saturating_sub(slot.since.load(SeqCst)));
            if slot.is_idle() && age > granted {
                slot.give_up();
            }
            true
        });
    }

    /// Whether there is room for one more connection. Gives up an idle one to make room.
    async fn has_room(&mut self) -> bool {
        while self.live() >= self.limits.connections_max {
            if self.give_up_idle(1) == 0 {
                return false;
            }
            let (shared, max) = (self.shared.clone(), self.limits.connections_max);
            let made = async {
                loop {
                    let ended = shared.ended.notified();
                    if shared.live.load(SeqCst) < max {
                        return;
                    }
                    ended.await;
                }
            };
            if timeout(ROOM_WITHIN, made).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Gives up `count` connections without a request in progress: first the oldest of those that never made one, then
    /// those that are idle for longest. Returns how many there were.
    fn give_up_idle(&mut self, count: usize) -> usize {
        let mut idle: Vec<_> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.is_idle())
            .map(|(number, slot)| (slot.has_asked.load(SeqCst), slot.since.load(SeqCst), *number))
            .collect();
        idle.sort_unstable();
        idle.truncate(count);
        for (_, _, number) in &idle {
            self.slots.remove(number).iter().for_each(|slot| slot.give_up());
        }
        idle.len()
    }

    fn refuse(&mut self, connection: Connection) {
        let peer = connection.peer();
        drop(connection);
        if let Some(count) = self.refusals.count(self.tick()) {
            let (address, max) = (&self.address, self.limits.connections_max);
            tracing::warn!(address, max, count, last = %peer, "refused connections: all that there may be have requests in progress");
        }
    }

    /// Handles a failed accept, such as for want of file descriptors: gives up some idle connections, logs it now and
    /// then, and pauses before the system is asked again.
    async fn wait_after(&mut self, error: &io::Error) {
        let given_up = self.give_up_idle(self.limits.connections_max / 8 + 1);
        if let Some(count) = self.failures.count(self.tick()) {
            tracing::warn!(address = self.address, %error, count, given_up, "could not accept connections");
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    fn tick(&self) -> u64 {
        self.shared.tick.load(SeqCst)
    }

    fn live(&self) -> usize {
        self.shared.live.load(SeqCst)
    }
}

impl Drop for Admission {
    /// Gives up idle connections, so that only busy ones delay the end of the server.
    fn drop(&mut self) {
        self.give_up_idle(usize::MAX);
    }
}

/// Whether an error concerns only the connection that was to be accepted, so that the next can be accepted at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | Interrupted | NotConnected)
}

/// A connection that ends when its listener gives it up, or when its peer takes nothing for too long.
struct LookedAfter {
    socket: Box<dyn Socket>,
    slot: Arc<Slot>,
    /// Runs out when a write has been pending for too long.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl fmt::Debug for LookedAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LookedAfter").field(&self.slot).finish()
    }
}

impl Drop for LookedAfter {
    fn drop(&mut self) {
        self.slot.has_ended.store(true, SeqCst);
        self.slot.shared.live.fetch_sub(1, SeqCst);
        self.slot.shared.ended.notify_one();
    }
}

impl LookedAfter {
    fn check(&self) -> io::Result<()> {
        let is_given_up = self.slot.is_given_up.load(SeqCst);
        if is_given_up { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// Fails a write that stays pending for too long.
    fn watch<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_STALL_MAX)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for LookedAfter {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.slot.reader.register(context.waker());
        self.check()?;
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for LookedAfter {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        let written = Pin::new(&mut self.socket).poll_write(context, buffer);
        self.watch(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        let flushed = Pin::new(&mut self.socket).poll_flush(context);
        self.watch(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.socket).poll_shutdown(context);
        self.watch(context, shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, buffers);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
