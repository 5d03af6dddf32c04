//! The receiving side of one subtask: the queues of its channels, read by the subtask alone.
//!
//! Channels are served round-robin; a blocked one (its barrier waits for the others) is passed over. Batches are charged
//! when they arrive and their credit goes back with `release`, after they were processed. Batches from other nodes are
//! decoded here, on the subtask's own thread, so that the network's never does a column's work.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use thalweg_flow::{CreditViolation, GrantLedger};
use thalweg_types::{ChannelId, CheckpointId, NodeId, Watermark};

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
    Barrier(CheckpointId),
    /// Nothing follows on this channel.
    End,
}

/// Rows in a queue.
#[derive(Debug)]
pub(crate) enum Rows {
    /// From this node, by reference.
    Local(RecordBatch),
    /// From another node.
    Remote(EncodedBatch),
}

#[derive(Debug)]
struct State {
    queues: ChannelQueues<Rows>,
    grants: Vec<GrantLedger>,
    targets: Vec<GrantTarget>,
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
        self.state.lock().queues.push(channel, item);
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
            Item::Data { payload: Rows::Local(batch), cost } => Element::Batch { batch, cost },
            Item::Data { payload: Rows::Remote(encoded), cost } => {
                let InboundChannel { id, schema, from } = &self.port.channels[channel];
                let batch = ipc::decode(&encoded, schema, cost).map_err(|reason| ExchangeError::Violation {
                    peer: *from,
                    channel: *id,
                    reason,
                })?;
                Element::Batch { batch, cost }
            }
            Item::Watermark(watermark) => Element::Watermark(watermark),
            Item::Idle => Element::Idle,
            Item::Barrier(checkpoint) => Element::Barrier(checkpoint),
            Item::End => Element::End,
        })
    }
}
