//! The receiving side of one subtask: the queues of its channels, read by the subtask alone.
//!
//! Channels are served round-robin; a blocked one (its barrier waits for the others) is passed over. Batches are charged
//! when they arrive and their credit goes back with `release`, after they were processed. Batches from other nodes are
//! decoded here, on the subtask's own thread, so that the network's never does a column's work.
//!
//! Where a barrier overtakes (`overtake`), what lies in the queues of the channels that have not delivered it is captured, and
//! so is what comes on them until it arrives there. All of it is still delivered. The barrier itself is not.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use thalweg_flow::{CreditViolation, GrantLedger};
use thalweg_types::{ChannelId, CheckpointId, NodeId, Watermark, checkpoint::Barrier};

use crate::{
    error::ExchangeError,
    grant::GrantTarget,
    ipc::{self, EncodedBatch},
    queue::{ChannelQueues, Item},
};

/// One channel into a subtask.
#[derive(Debug, Clone)]
pub struct InboundChannel {
    /// Which.
    pub id: ChannelId,
    /// What its batches look like.
    pub schema: SchemaRef,
    /// The node that runs its sender.
    pub from: NodeId,
}

/// What a channel delivers.
#[derive(Debug, Clone, PartialEq)]
pub enum Element {
    /// Rows. `cost` is to be released once they are processed.
    Batch {
        /// The rows.
        batch: RecordBatch,
        /// Bytes charged.
        cost: u64,
    },
    /// A watermark of this channel.
    Watermark(Watermark),
    /// The channel steps out of the minimum until its next watermark or batch.
    Idle,
    /// A barrier.
    Barrier(Barrier),
    /// Nothing follows on this channel.
    End,
}

/// Rows in a queue.
#[derive(Debug, Clone)]
pub(crate) enum Rows {
    /// From this node, by reference.
    Local(RecordBatch),
    /// From another node.
    Remote(EncodedBatch),
}

/// Rows that a barrier overtook, as they travelled.
#[derive(Debug)]
pub struct OvertakenRows {
    /// The channel that they came by.
    pub channel: ChannelId,
    from: NodeId,
    schema: SchemaRef,
    rows: Rows,
    cost: u64,
}

impl OvertakenRows {
    /// The rows.
    ///
    /// # Errors
    /// When a peer's batch is not what it should be.
    pub fn decode(&self) -> Result<RecordBatch, ExchangeError> {
        decode(&self.rows, self.cost, (self.channel, self.from, &self.schema))
    }
}

/// A barrier that has overtaken and has not arrived on every channel.
#[derive(Debug)]
struct Overtaking {
    checkpoint: CheckpointId,
    /// By channel: whether the barrier is still to come.
    is_awaited: Vec<bool>,
    captured: Vec<(usize, Rows, u64)>,
}

#[derive(Debug)]
struct State {
    queues: ChannelQueues<Rows>,
    grants: Vec<GrantLedger>,
    targets: Vec<GrantTarget>,
    /// The newest barrier that has arrived on any channel; of one checkpoint the unaligned one.
    arrived: Option<Barrier>,
    overtaking: Option<Overtaking>,
}

impl State {
    /// Takes note of a barrier; whether it is to be queued.
    fn on_barrier(&mut self, channel: usize, barrier: Barrier) -> bool {
        let key = |barrier: &Barrier| (barrier.checkpoint, barrier.is_unaligned);
        if self.arrived.is_none_or(|arrived| key(&arrived) < key(&barrier)) {
            self.arrived = Some(barrier);
        }
        let Some(overtaking) = &mut self.overtaking else { return true };
        if overtaking.checkpoint == barrier.checkpoint {
            return !std::mem::take(&mut overtaking.is_awaited[channel]);
        }
        // A newer one says that the other will never be complete.
        self.overtaking.take_if(|overtaking| overtaking.checkpoint < barrier.checkpoint);
        true
    }

    fn on_rows(&mut self, channel: usize, rows: &Rows, cost: u64) {
        if let Some(overtaking) = self.overtaking.as_mut().filter(|overtaking| overtaking.is_awaited[channel]) {
            overtaking.captured.push((channel, rows.clone(), cost));
        }
    }
}

/// What senders and the stream's receiver see of a subtask's inputs.
#[derive(Debug)]
pub(crate) struct InboundPort {
    state: Mutex<State>,
    reader: AtomicWaker,
    channels: Vec<InboundChannel>,
}

impl InboundPort {
    /// Appends to a channel and wakes the subtask. Data is charged.
    pub(crate) fn push(&self, channel: usize, item: Item<Rows>) -> Result<(), CreditViolation> {
        if let Item::Data { cost, .. } = &item {
            self.charge(channel, *cost)?;
        }
        self.append(channel, item);
        Ok(())
    }

    /// Charges a batch before all of it is here.
    pub(crate) fn charge(&self, channel: usize, cost: u64) -> Result<(), CreditViolation> {
        self.state.lock().grants[channel].on_received(cost)
    }

    /// As `push`, for data that is charged already.
    pub(crate) fn append(&self, channel: usize, item: Item<Rows>) {
        let mut state = self.state.lock();
        let is_queued = match &item {
            Item::Barrier(barrier) => state.on_barrier(channel, *barrier),
            Item::Data { payload, cost } => {
                state.on_rows(channel, payload, *cost);
                true
            }
            Item::Watermark(_) | Item::Idle | Item::End => true,
        };
        if is_queued {
            state.queues.push(channel, item);
        }
        drop(state);
        self.reader.wake();
    }

    /// Tells where the channel's grants go from now on, and grants what is due there.
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
    /// Inputs with a window of so many bytes each.
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

    /// The channels; everything else names them by index.
    #[must_use]
    pub fn channels(&self) -> &[InboundChannel] {
        &self.port.channels
    }

    /// Stops or resumes reading a channel.
    pub fn set_blocked(&mut self, channel: usize, blocked: bool) {
        self.blocked[channel] = blocked;
    }

    /// What comes next on any channel that is not blocked.
    ///
    /// # Errors
    /// When a peer's batch is not what it should be.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<(usize, Element), ExchangeError>> {
        if let Some(next) = self.try_next() {
            return Poll::Ready(next);
        }
        self.port.reader.register(context.waker());
        self.try_next().map_or(Poll::Pending, Poll::Ready)
    }

    /// As `poll_next`, as a future. Cancel-safe.
    ///
    /// # Errors
    /// As `poll_next`.
    pub async fn next(&mut self) -> Result<(usize, Element), ExchangeError> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// Gives back the credit of a processed batch.
    pub fn release(&mut self, channel: usize, cost: u64) {
        let mut state = self.port.state.lock();
        let total = state.grants[channel].release(cost);
        let target = state.targets[channel].clone();
        drop(state);
        target.grant(self.port.channels[channel].id, total);
    }

    /// The newest barrier that has arrived on any channel, read or not; of one checkpoint the unaligned one. Registers to be
    /// woken by what comes.
    pub fn poll_arrived(&mut self, context: &mut Context<'_>) -> Option<Barrier> {
        self.port.reader.register(context.waker());
        self.port.state.lock().arrived
    }

    /// Lets the barrier of a checkpoint overtake on all channels but those that have delivered it.
    pub fn overtake(&mut self, checkpoint: CheckpointId, has_delivered: impl Fn(usize) -> bool) {
        let mut state = self.port.state.lock();
        let mut overtaking = Overtaking { checkpoint, is_awaited: Vec::new(), captured: Vec::new() };
        for channel in 0..self.blocked.len() {
            if has_delivered(channel) {
                overtaking.is_awaited.push(false);
                continue;
            }
            let queue = state.queues.channel_mut(channel);
            let is_it = |item: &Item<Rows>| matches!(item, Item::Barrier(barrier) if barrier.checkpoint == checkpoint);
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

    /// What the barrier of a checkpoint has overtaken, once it has arrived on every channel. `Err` where it never will.
    ///
    /// # Errors
    /// When the checkpoint is not the one that overtakes, or was given up for a newer one.
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
        let rows = |(channel, rows, cost): (usize, Rows, u64)| {
            let InboundChannel { id, schema, from } = &self.port.channels[channel];
            OvertakenRows { channel: *id, from: *from, schema: schema.clone(), rows, cost }
        };
        Ok(Some(captured.into_iter().map(rows).collect()))
    }

    /// Forgets what a checkpoint that will not be completed has overtaken.
    pub fn give_up_overtaking(&mut self, checkpoint: CheckpointId) {
        self.port.state.lock().overtaking.take_if(|overtaking| overtaking.checkpoint <= checkpoint);
    }

    /// Bytes that wait to be processed or are being processed.
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

    fn element(&self, channel: usize, item: Item<Rows>) -> Result<Element, ExchangeError> {
        Ok(match item {
            Item::Data { payload, cost } => {
                let InboundChannel { id, schema, from } = &self.port.channels[channel];
                Element::Batch { batch: decode(&payload, cost, (*id, *from, schema))?, cost }
            }
            Item::Watermark(watermark) => Element::Watermark(watermark),
            Item::Idle => Element::Idle,
            Item::Barrier(barrier) => Element::Barrier(barrier),
            Item::End => Element::End,
        })
    }
}

/// The barrier of a checkpoint will not arrive on every channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenUp;

fn decode(
    rows: &Rows,
    cost: u64,
    (channel, peer, schema): (ChannelId, NodeId, &SchemaRef),
) -> Result<RecordBatch, ExchangeError> {
    match rows {
        Rows::Local(batch) => Ok(batch.clone()),
        Rows::Remote(encoded) => {
            ipc::decode(encoded, schema, cost).map_err(|reason| ExchangeError::Violation { peer, channel, reason })
        }
    }
}
