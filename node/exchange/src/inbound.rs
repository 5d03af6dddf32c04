//! The receiving side of one subtask: the queues of its channels, which only the subtask reads.
//!
//! Channels are served round-robin. A blocked one, whose barrier waits for the others, is skipped. A batch is charged
//! when it arrives, and `release` returns its credit after it was processed. Batches from other nodes are decoded here,
//! on the subtask's thread, so that the network's threads do no work on columns.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use thalweg_flow::{CreditViolation, GrantLedger};
use thalweg_types::{ChannelId, CheckpointId, LatencyMarker, NodeId, Watermark, checkpoint::Barrier};

use crate::{
    error::ExchangeError,
    grant::GrantTarget,
    ipc::{self, EncodedBatch},
    queue::{ChannelQueues, Item},
};

/// One channel into a subtask.
#[derive(Debug, Clone)]
pub struct InboundChannel {
    /// The channel's id.
    pub id: ChannelId,
    /// The schema of its batches.
    pub schema: SchemaRef,
    /// The node of its sender.
    pub from: NodeId,
}

/// What a channel delivers.
#[derive(Debug, Clone, PartialEq)]
pub enum Element {
    /// Rows.
    Batch {
        batch: RecordBatch,
        /// The bytes charged. `release` them once the rows are processed.
        cost: u64,
    },
    /// A watermark of this channel.
    Watermark(Watermark),
    /// The channel leaves the minimum until its next watermark or batch.
    Idle,
    /// A barrier.
    Barrier(Barrier),
    /// Measures how long rows take.
    Marker(LatencyMarker),
    /// The end of the channel's data.
    End,
}

/// The rows of one item in a queue.
#[derive(Debug, Clone)]
pub(crate) enum QueuedBatch {
    /// From this node, by reference.
    Local(RecordBatch),
    /// From another node, encoded.
    Remote(EncodedBatch),
}

/// Rows that a barrier overtook, in the form in which they arrived.
#[derive(Debug)]
pub struct OvertakenRows {
    /// The channel that they arrived on.
    pub channel: ChannelId,
    from: NodeId,
    schema: SchemaRef,
    rows: QueuedBatch,
    cost: u64,
}

impl OvertakenRows {
    /// Decodes the rows.
    ///
    /// # Errors
    /// A peer sent a malformed batch.
    pub fn decode(&self) -> Result<RecordBatch, ExchangeError> {
        decode(&self.rows, self.cost, (self.channel, self.from, &self.schema))
    }
}

/// A barrier that has overtaken rows, and has not arrived on every channel yet.
#[derive(Debug)]
struct Overtaking {
    checkpoint: CheckpointId,
    /// For each channel, whether the barrier is still to come.
    is_awaited: Vec<bool>,
    captured: Vec<(usize, QueuedBatch, u64)>,
}

#[derive(Debug)]
struct State {
    queues: ChannelQueues<QueuedBatch>,
    grants: Vec<GrantLedger>,
    targets: Vec<GrantTarget>,
    /// The newest barrier that has arrived on any channel. Of two barriers of one checkpoint, the unaligned one.
    arrived: Option<Barrier>,
    overtaking: Option<Overtaking>,
}

impl State {
    /// Notes a barrier. Returns whether it must be queued.
    fn on_barrier(&mut self, channel: usize, barrier: Barrier) -> bool {
        let key = |barrier: &Barrier| (barrier.checkpoint, barrier.is_unaligned);
        if self.arrived.is_none_or(|arrived| key(&arrived) < key(&barrier)) {
            self.arrived = Some(barrier);
        }
        let Some(overtaking) = &mut self.overtaking else { return true };
        if overtaking.checkpoint == barrier.checkpoint {
            return !std::mem::take(&mut overtaking.is_awaited[channel]);
        }
        // A newer barrier means that the older checkpoint will never complete.
        self.overtaking.take_if(|overtaking| overtaking.checkpoint < barrier.checkpoint);
        true
    }

    fn on_rows(&mut self, channel: usize, rows: &QueuedBatch, cost: u64) {
        if let Some(overtaking) = self.overtaking.as_mut().filter(|overtaking| overtaking.is_awaited[channel]) {
            overtaking.captured.push((channel, rows.clone(), cost));
        }
    }
}

/// A subtask's inputs as its senders and receiving streams see them.
#[derive(Debug)]
pub(crate) struct InboundPort {
    state: Mutex<State>,
    reader: AtomicWaker,
    channels: Vec<InboundChannel>,
}

impl InboundPort {
    /// Appends to a channel and wakes the subtask. Data is charged.
    pub(crate) fn push(&self, channel: usize, item: Item<QueuedBatch>) -> Result<(), CreditViolation> {
        if let Item::Data { cost, .. } = &item {
            self.charge(channel, *cost)?;
        }
        self.append(channel, item);
        Ok(())
    }

    /// Charges a batch before all of it has arrived.
    pub(crate) fn charge(&self, channel: usize, cost: u64) -> Result<(), CreditViolation> {
        self.state.lock().grants[channel].on_received(cost)
    }

    /// Like `push`, for data that is charged already.
    pub(crate) fn append(&self, channel: usize, item: Item<QueuedBatch>) {
        let mut state = self.state.lock();
        let is_queued = match &item {
            Item::Barrier(barrier) => state.on_barrier(channel, *barrier),
            Item::Data { payload, cost } => {
                state.on_rows(channel, payload, *cost);
                true
            }
            Item::Watermark(_) | Item::Idle | Item::Marker(_) | Item::End => true,
        };
        if is_queued {
            state.queues.push(channel, item);
        }
        drop(state);
        self.reader.wake();
    }

    /// Sets where the channel's grants go, and grants there what is due.
    pub(crate) fn connect(&self, channel: usize, target: GrantTarget) {
        let mut state = self.state.lock();
        target.grant(self.channels[channel].id, state.grants[channel].granted());
        state.targets[channel] = target;
    }
}

/// The inputs of one subtask.
#[derive(Debug)]
pub struct Inbound {
    port: Arc<InboundPort>,
    blocked: Vec<bool>,
}

impl Inbound {
    /// Inputs with a window of `window_bytes` each.
    #[must_use]
    pub fn new(channels: Vec<InboundChannel>, window_bytes: u64) -> Self {
        let count = channels.len();
        let state = State {
            queues: ChannelQueues::new(count),
            grants: vec![GrantLedger::new(window_bytes); count],
            targets: vec![GrantTarget::Unconnected; count],
            arrived: None,
            overtaking: None,
        };
        let port = InboundPort { state: Mutex::new(state), reader: AtomicWaker::new(), channels };
        Self { port: Arc::new(port), blocked: vec![false; count] }
    }

    /// The channels. All other methods name them by index.
    #[must_use]
    pub fn channels(&self) -> &[InboundChannel] {
        &self.port.channels
    }

    /// Stops or resumes reading a channel.
    pub fn set_blocked(&mut self, channel: usize, blocked: bool) {
        self.blocked[channel] = blocked;
    }

    /// The next element of any channel that is not blocked.
    ///
    /// # Errors
    /// A peer sent a malformed batch.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<(usize, Element), ExchangeError>> {
        if let Some(next) = self.try_next() {
            return Poll::Ready(next);
        }
        self.port.reader.register(context.waker());
        self.try_next().map_or(Poll::Pending, Poll::Ready)
    }

    /// Like `poll_next`, as a future. Cancel-safe.
    ///
    /// # Errors
    /// Those of `poll_next`.
    pub async fn next(&mut self) -> Result<(usize, Element), ExchangeError> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// Returns the credit of a processed batch.
    pub fn release(&mut self, channel: usize, cost: u64) {
        let mut state = self.port.state.lock();
        let total = state.grants[channel].release(cost);
        let target = state.targets[channel].clone();
        drop(state);
        target.grant(self.port.channels[channel].id, total);
    }

    /// The newest barrier that has arrived on any channel, whether it was read or not. Of two barriers of one
    /// checkpoint, the unaligned one. Registers to be woken by what arrives next.
    pub fn poll_arrived(&mut self, context: &mut Context<'_>) -> Option<Barrier> {
        self.port.reader.register(context.waker());
        self.port.state.lock().arrived
    }

    /// Lets the barrier of a checkpoint overtake, on all channels that have not delivered it. Captures the rows in
    /// their queues, and those that arrive before the barrier does. All of these rows are still delivered; the barrier
    /// is not. Flink does the same in its unaligned checkpoints (FLIP-76).
    pub fn overtake(&mut self, checkpoint: CheckpointId, has_delivered: impl Fn(usize) -> bool) {
        let mut state = self.port.state.lock();
        let mut overtaking = Overtaking { checkpoint, is_awaited: Vec::new(), captured: Vec::new() };
        for channel in 0..self.blocked.len() {
            if has_delivered(channel) {
                overtaking.is_awaited.push(false);
                continue;
            }
            let queue = state.queues.channel_mut(channel);
            let is_it =
                |item: &Item<QueuedBatch>| matches!(item, Item::Barrier(barrier) if barrier.checkpoint == checkpoint);
            let at = queue.iter().position(is_it);
            for item in queue.range(..at.unwrap_or(queue.len())) {
                if let Item::Data { payload, cost } = item {
                    overtaking.captured.push((channel, payload.clone(), *cost));
                }
            }
            at.map(|at| queue.remove(at));
            overtaking.is_awaited.push(at.is_none());
        }
        state.overtaking = Some(overtaking);
    }

    /// The rows that the barrier of a checkpoint has overtaken. `None` until it has arrived on every channel.
    ///
    /// # Errors
    /// Another checkpoint overtakes, or this one was given up for a newer one: the barrier will never arrive
    /// everywhere.
    pub fn take_overtaken(&mut self, checkpoint: CheckpointId) -> Result<Option<Vec<OvertakenRows>>, GivenUp> {
        let mut state = self.port.state.lock();
        let Some(overtaking) = state.overtaking.as_ref().filter(|overtaking| overtaking.checkpoint == checkpoint)
        else {
            return Err(GivenUp);
        };
        if overtaking.is_awaited.contains(&true) {
            return Ok(None);
        }
        let captured = state.overtaking.take().map(|overtaking| overtaking.captured).unwrap_or_default();
        let rows = |(channel, rows, cost): (usize, QueuedBatch, u64)| {
            let InboundChannel { id, schema, from } = &self.port.channels[channel];
            OvertakenRows { channel: *id, from: *from, schema: schema.clone(), rows, cost }
        };
        Ok(Some(captured.into_iter().map(rows).collect()))
    }

    /// Drops the captured rows of a checkpoint that will not complete.
    pub fn give_up_overtaking(&mut self, checkpoint: CheckpointId) {
        self.port.state.lock().overtaking.take_if(|overtaking| overtaking.checkpoint <= checkpoint);
    }

    /// The size of the batches that wait or are being processed, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.port.state.lock().grants.iter().map(GrantLedger::outstanding).sum()
    }

    pub(crate) fn port(&self) -> &Arc<InboundPort> {
        &self.port
    }

    fn try_next(&mut self) -> Option<Result<(usize, Element), ExchangeError>> {
        let next = self.port.state.lock().queues.pop(|channel| self.blocked[channel]);
        let (channel, item) = next?;
        Some(self.element(channel, item).map(|element| (channel, element)))
    }

    fn element(&self, channel: usize, item: Item<QueuedBatch>) -> Result<Element, ExchangeError> {
        Ok(match item {
            Item::Data { payload, cost } => {
                let InboundChannel { id, schema, from } = &self.port.channels[channel];
                Element::Batch { batch: decode(&payload, cost, (*id, *from, schema))?, cost }
            }
            Item::Watermark(watermark) => Element::Watermark(watermark),
            Item::Idle => Element::Idle,
            Item::Barrier(barrier) => Element::Barrier(barrier),
            Item::Marker(marker) => Element::Marker(marker),
            Item::End => Element::End,
        })
    }
}

/// The barrier of a checkpoint will not arrive on every channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenUp;

fn decode(
    rows: &QueuedBatch,
    cost: u64,
    (channel, peer, schema): (ChannelId, NodeId, &SchemaRef),
) -> Result<RecordBatch, ExchangeError> {
    match rows {
        QueuedBatch::Local(batch) => Ok(batch.clone()),
        QueuedBatch::Remote(encoded) => {
            ipc::decode(encoded, schema, cost).map_err(|reason| ExchangeError::Violation { peer, channel, reason })
        }
    }
}
