//! The sending side of the stream to one other node: queues per channel, drained by the transport.
//!
//! ```text
//! Outbound::flush -> PeerOutbox (queues per channel, bounded by credit) => Frames (a stream, in rpc) => gRPC
//! credits <= gRPC <= reader task -> CreditCell of each channel
//! ```
//!
//! Frames are numbered when they leave, after newer watermarks have replaced queued ones. The request stream ends with
//! the attempt, because barriers may still follow a channel's end. If it breaks earlier, that is reported to the
//! attempt.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use thalweg_proto::convert::exchange::{ChannelFrame, Hello, Payload, SenderFrame};
use thalweg_types::{ChannelId, NodeId};

use crate::{
    grant::CreditCell,
    ipc::EncodedBatch,
    queue::{ChannelQueues, Item},
};

/// The most bytes of a body in one frame. Small relative to a connection's window, so that channels interleave.
const CHUNK_BYTES_MAX: usize = 1 << 20;

#[derive(Debug)]
struct State {
    queues: ChannelQueues<EncodedBatch>,
    /// The next sequence number of each channel.
    sequences: Vec<u64>,
    /// The frames of the batch that is being sent.
    leaving: VecDeque<SenderFrame>,
}

/// What is to be sent to one node.
#[derive(Debug)]
pub(crate) struct PeerOutbox {
    node: NodeId,
    channels: Vec<ChannelId>,
    cells: BTreeMap<ChannelId, Arc<CreditCell>>,
    state: Mutex<State>,
    transport: AtomicWaker,
}

impl PeerOutbox {
    /// An outbox for these channels, each with the cell from which its sender reads its credit.
    pub(crate) fn new(node: NodeId, hello: Hello, cells: BTreeMap<ChannelId, Arc<CreditCell>>) -> Self {
        let channels: Vec<ChannelId> = cells.keys().copied().collect();
        let state = State {
            queues: ChannelQueues::new(channels.len()),
            sequences: vec![0; channels.len()],
            leaving: VecDeque::from([SenderFrame::Hello(hello)]),
        };
        Self { node, channels, cells, state: Mutex::new(state), transport: AtomicWaker::new() }
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// The index of a channel, for `push`.
    pub(crate) fn index_of(&self, channel: ChannelId) -> Option<usize> {
        self.channels.binary_search(&channel).ok()
    }

    pub(crate) fn push(&self, channel: usize, item: Item<EncodedBatch>) {
        self.state.lock().queues.push(channel, item);
        self.transport.wake();
    }

    /// Takes a granted total. Returns false if there is no such channel.
    pub(crate) fn on_credit(&self, channel: ChannelId, total: u64) -> bool {
        let cell = self.cells.get(&channel);
        cell.inspect(|cell| cell.grant(total)).is_some()
    }

    /// The next frame.
    pub(crate) fn poll_frame(&self, context: &mut Context<'_>) -> Poll<SenderFrame> {
        self.transport.register(context.waker());
        let mut state = self.state.lock();
        if state.leaving.is_empty()
            && let Some((channel, item)) = state.queues.pop(|_| false)
        {
            state.leave(channel, self.channels[channel], item);
        }
        state.leaving.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

impl State {
    fn leave(&mut self, channel: usize, id: ChannelId, item: Item<EncodedBatch>) {
        match item {
            Item::Data { payload, cost } => self.leave_batch(channel, id, payload, cost),
            Item::Watermark(watermark) => self.leave_payload(channel, id, Payload::Watermark(watermark)),
            Item::Idle => self.leave_payload(channel, id, Payload::Idle),
            Item::Barrier(barrier) => self.leave_payload(channel, id, Payload::Barrier(barrier)),
            Item::Marker(marker) => self.leave_payload(channel, id, Payload::Marker(marker)),
            Item::End => self.leave_payload(channel, id, Payload::End),
        }
    }

    fn leave_batch(&mut self, channel: usize, id: ChannelId, batch: EncodedBatch, cost: u64) {
        let EncodedBatch { header, mut body } = batch;
        let first = body.split_to(body.len().min(CHUNK_BYTES_MAX));
        let more = !body.is_empty();
        self.leave_payload(channel, id, Payload::Batch { cost, header, body: first, more });
        while !body.is_empty() {
            let part = body.split_to(body.len().min(CHUNK_BYTES_MAX));
            let more = !body.is_empty();
            self.leave_payload(channel, id, Payload::Batch { cost: 0, header: Bytes::new(), body: part, more });
        }
    }

    fn leave_payload(&mut self, channel: usize, id: ChannelId, payload: Payload) {
        let sequence = self.sequences[channel];
        self.sequences[channel] += 1;
        self.leaving.push_back(SenderFrame::Channel(ChannelFrame { channel: id, sequence, payload }));
    }
}
