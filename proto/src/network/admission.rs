//! Which connections a listener keeps: strangers can neither fill it up nor hold on to it.
//!
//! ```text
//! accepted --> fresh --first request--> busy <--requests--> idle
//!                '-- none in time: closed                     '-- none for long: closed
//! ```
//!
//! A listener has room for so many connections. Where it is full, whoever comes takes the place of a connection without a request
//! in progress: of the oldest that never made one, else of the one that is idle for longest. So idle ones never keep anybody out,
//! members and nodes least of all, whose streams are requests in progress. Where all are busy, whoever comes is refused.
//!
//! A listener that the system refuses a connection, such as for want of file descriptors, waits before it asks again, gives idle
//! connections up, and says so now and then.

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

/// Ages of connections are counted in these.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// A connection whose peer takes nothing of what is sent for so long is given up.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// A connection that is to make room is gone within moments: its task has to run.
const ROOM_WITHIN: Duration = Duration::from_secs(1);
/// Pauses after the system refused a connection.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How many ticks pass between two lines of the log about the same.
const QUIET_TICKS: u64 = 10;

/// What a listener grants its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// How many there are at most.
    pub connections_max: usize,
    /// How soon the first request has to have come.
    pub first_request: Duration,
    /// For how long one may be without a request in progress.
    pub idle: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { connections_max: 256, first_request: Duration::from_secs(10), idle: Duration::from_secs(300) }
    }
}

impl ConnectionLimits {
    /// The defaults, but for how many there may be.
    #[must_use]
    pub fn at_most(connections_max: usize) -> Self {
        Self { connections_max: connections_max.max(1), ..Self::default() }
    }
}

/// What a connection is doing, as its listener knows it.
#[derive(Debug)]
struct Slot {
    /// Requests in progress.
    requests: AtomicUsize,
    /// It has made a request.
    has_asked: AtomicBool,
    /// The tick at which it was accepted or its last request ended.
    since: AtomicU64,
    /// Its listener has closed it.
    is_given_up: AtomicBool,
    /// Nothing of it is left.
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

/// Tells a connection's listener of its requests. One that no listener looks after has nobody to tell.
#[derive(Debug, Clone, Default)]
pub struct Activity(Option<Arc<Slot>>);

/// A request in progress.
#[derive(Debug)]
pub struct Request(Activity);

impl Activity {
    /// A request has begun, and goes on until what is returned is dropped.
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

/// The listener's connections, each looked after from here on.
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
    /// In the order in which they came. Those that have ended are removed at the next sweep.
    slots: BTreeMap<u64, Arc<Slot>>,
    last: u64,
    /// Before the system is asked again.
    pause: Duration,
    failures: Quiet,
    refusals: Quiet,
}

/// Says the same once in a while only, and how often it was meanwhile.
#[derive(Debug, Default)]
struct Quiet {
    count: u64,
    last: Option<u64>,
}

impl Quiet {
    /// How often it has happened, where it is to be said now.
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

    fn look_after(&mut self, Connection { socket, .. }: Connection) -> Connection {
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
        Connection { socket: Box::new(LookedAfter { socket, slot, stalled: None }), activity }
    }

    /// Closes what has outstayed.
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

    /// Whether there is room for one more, once somebody idle has made it.
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

    /// Gives up connections without a request in progress: first the oldest of those that never made one, then those that are
    /// idle for longest. Gives how many.
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
        drop(connection);
        if let Some(count) = self.refusals.count(self.tick()) {
            let (address, max) = (&self.address, self.limits.connections_max);
            tracing::warn!(address, max, count, "refused connections: all that there may be have requests in progress");
        }
    }

    /// The system refuses connections: whoever is idle makes room, and it is asked again after a while.
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
    /// Whoever does not take part in the end of those that are busy does not hold it up.
    fn drop(&mut self) {
        self.give_up_idle(usize::MAX);
    }
}

/// Whether only the connection that was to be accepted is affected: the next may be asked for at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | Interrupted | NotConnected)
}

/// A connection that ends when its listener gives it up, or when its peer takes nothing for long.
struct LookedAfter {
    socket: Box<dyn Socket>,
    slot: Arc<Slot>,
    /// Since something could not be written.
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

    /// Watches how long a write takes.
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
