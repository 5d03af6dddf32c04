//! How granted credit returns to a sender. Each channel has one cell, whether its two subtasks share a node or not.
//!
//! ```text
//! local:   Inbound::release -> CreditCell                                  (an atomic and the sender's waker)
//! remote:  Inbound::release -> CreditOutbox => stream => CreditCell        (totals of one channel are conflated)
//! ```

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use thalweg_types::ChannelId;

/// The total granted to one channel, as its sender reads it.
#[derive(Debug)]
pub(crate) struct CreditCell {
    granted: AtomicU64,
    sender: Arc<AtomicWaker>,
}

impl CreditCell {
    pub(crate) fn new(sender: Arc<AtomicWaker>) -> Self {
        Self { granted: AtomicU64::new(0), sender }
    }

    /// Sets a granted total. Totals only grow, so an older one changes nothing.
    pub(crate) fn grant(&self, total: u64) {
        if self.granted.fetch_max(total, Ordering::AcqRel) < total {
            self.sender.wake();
        }
    }

    pub(crate) fn granted(&self) -> u64 {
        self.granted.load(Ordering::Acquire)
    }
}

/// Totals to be sent to another node: the newest one of each channel.
#[derive(Debug, Default)]
pub(crate) struct CreditOutbox {
    totals: Mutex<BTreeMap<ChannelId, u64>>,
    stream: AtomicWaker,
}

impl CreditOutbox {
    pub(crate) fn grant(&self, channel: ChannelId, total: u64) {
        self.totals.lock().insert(channel, total);
        self.stream.wake();
    }

    /// The next total to send.
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<(ChannelId, u64)> {
        self.stream.register(context.waker());
        match self.totals.lock().pop_first() {
            Some(total) => Poll::Ready(total),
            None => Poll::Pending,
        }
    }
}

/// Where the granted totals of one channel go.
#[derive(Debug, Clone)]
pub(crate) enum GrantTarget {
    /// The sender is not connected yet.
    Unconnected,
    /// To a sender on this node.
    Local(Arc<CreditCell>),
    /// To a sender on another node.
    Remote(Arc<CreditOutbox>),
}

impl GrantTarget {
    pub(crate) fn grant(&self, channel: ChannelId, total: u64) {
        match self {
            Self::Unconnected => {}
            Self::Local(cell) => cell.grant(total),
            Self::Remote(outbox) => outbox.grant(channel, total),
        }
    }
}
