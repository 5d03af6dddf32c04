//! How much goes to other nodes and comes from them, over all attempts of a node.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use thalweg_proto::convert::exchange::{ChannelFrame, Payload, SenderFrame};

/// Bytes of batches since the node started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrafficBytes {
    /// To other nodes.
    pub sent: u64,
    /// From other nodes.
    pub received: u64,
}

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    pub(crate) fn count_sent(&self, frame: &SenderFrame) {
        self.sent.fetch_add(bytes_of(frame), Relaxed);
    }

    pub(crate) fn count_received(&self, frame: &SenderFrame) {
        self.received.fetch_add(bytes_of(frame), Relaxed);
    }

    pub(crate) fn bytes(&self) -> TrafficBytes {
        TrafficBytes { sent: self.sent.load(Relaxed), received: self.received.load(Relaxed) }
    }
}

/// Of a batch as encoded; what else travels is small.
fn bytes_of(frame: &SenderFrame) -> u64 {
    match frame {
        SenderFrame::Channel(ChannelFrame { payload: Payload::Batch { header, body, .. }, .. }) => {
            (header.len() + body.len()) as u64
        }
        SenderFrame::Channel(_) | SenderFrame::Hello(_) => 0,
    }
}
