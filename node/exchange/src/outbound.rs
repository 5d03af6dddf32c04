//! The sending side of one subtask over one exchange: which rows go to which channel, and when.
//!
//! The subtask pushes batches only while `is_ready`. Rows without credit wait per channel (`pending`), at most half a
//! window and one pushed batch, and leave with that channel's own credit in `flush`. So a subtask that lacks credit on
//! one channel stops its input, but still feeds the others. Watermarks, barriers and ends go to every channel, each
//! behind the rows that wait there.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use arrow::{
    array::{AsArray as _, RecordBatch, RecordBatchOptions, UInt32Array},
    compute::{TakeOptions, take},
    datatypes::{SchemaRef, UInt32Type},
    error::ArrowError,
};
use futures::task::AtomicWaker;
use thalweg_flow::{CreditLedger, CreditViolation, hash::key_groups_of};
use thalweg_types::{
    ChannelId, CheckpointId, KeyGroupTable, LatencyMarker, NodeId, Watermark, checkpoint::Barrier, graph::Distribution,
};

use crate::{
    error::ExchangeError,
    grant::CreditCell,
    inbound::{InboundPort, QueuedBatch},
    ipc::Encoder,
    peer::PeerOutbox,
    pending::{Packing, Pending},
    queue::Item,
};

/// What goes to every channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// A watermark.
    Watermark(Watermark),
    /// The sender leaves the minimum until its next watermark or batch.
    Idle,
    /// A barrier.
    Barrier(Barrier),
    /// The end of the sender's data.
    End,
}

/// How the rows of a batch find their channel.
#[derive(Debug)]
pub(crate) enum Router {
    /// There is one channel.
    Single,
    /// By key group.
    Hash { keys: Vec<usize>, table: KeyGroupTable },
    /// Whole batches, in turn.
    Rebalance { next: usize },
    /// To the channel that the first column names.
    Assigned,
}

impl Router {
    pub(crate) fn new(distribution: &Distribution, table: &KeyGroupTable, channels: usize) -> Self {
        match distribution {
            _ if channels == 1 => Self::Single,
            Distribution::Hash { keys } => Self::Hash { keys: keys.clone(), table: table.clone() },
            Distribution::Assigned => Self::Assigned,
            Distribution::Rebalance | Distribution::Forward | Distribution::Gather => Self::Rebalance { next: 0 },
        }
    }
}

/// Where a channel leads.
#[derive(Debug)]
pub(crate) enum Link {
    /// To a subtask on this node.
    Local { port: Arc<InboundPort>, index: usize },
    /// To a subtask on another node.
    Remote { outbox: Arc<PeerOutbox>, index: usize, encoder: Box<Encoder> },
}

impl Link {
    fn packing(&self) -> Packing {
        match self {
            Self::Local { .. } => Packing::LOCAL,
            Self::Remote { .. } => Packing::REMOTE,
        }
    }
}

#[derive(Debug)]
pub(crate) struct OutChannel {
    id: ChannelId,
    /// The receiver's node.
    node: NodeId,
    link: Link,
    ledger: CreditLedger,
    cell: Arc<CreditCell>,
    pending: Pending,
}

impl OutChannel {
    pub(crate) fn new(id: ChannelId, node: NodeId, link: Link, cell: Arc<CreditCell>, batch_rows: usize) -> Self {
        let pending = Pending::new(batch_rows, link.packing());
        Self { id, node, link, ledger: CreditLedger::new(), cell, pending }
    }

    fn is_ready(&self) -> bool {
        self.pending.bytes() < self.ledger.window() / 2
    }

    fn take_grants(&mut self) -> Result<(), ExchangeError> {
        let violation = |violation: CreditViolation| ExchangeError::Violation {
            peer: self.node,
            channel: self.id,
            reason: violation.to_string(),
        };
        match self.cell.granted() {
            0 => Ok(()),
            total => self.ledger.on_grant(total).map(|_| ()).map_err(violation),
        }
    }

    fn flush(&mut self) -> Result<(), ExchangeError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        while let Some(item) =
            self.pending.pop(&mut self.ledger).map_err(|source| arrow("merge rows", self.id, source))?
        {
            self.send(item)?;
        }
        Ok(())
    }

    fn send(&mut self, item: Item<RecordBatch>) -> Result<(), ExchangeError> {
        match &mut self.link {
            Link::Local { port, index } => {
                let sent = port.push(*index, local(item));
                sent.map_err(|violation| ExchangeError::Violation {
                    peer: self.node,
                    channel: self.id,
                    reason: violation.to_string(),
                })
            }
            Link::Remote { outbox, index, encoder } => {
                let item = match item {
                    Item::Data { payload, cost } => {
                        let encoded = encoder.encode(&payload);
                        Item::Data { payload: encoded.map_err(|source| arrow("encode rows", self.id, source))?, cost }
                    }
                    Item::Watermark(watermark) => Item::Watermark(watermark),
                    Item::Idle => Item::Idle,
                    Item::Barrier(barrier) => Item::Barrier(barrier),
                    Item::Marker(marker) => Item::Marker(marker),
                    Item::End => Item::End,
                };
                outbox.push(*index, item);
                Ok(())
            }
        }
    }
}

fn local(item: Item<RecordBatch>) -> Item<QueuedBatch> {
    match item {
        Item::Data { payload, cost } => Item::Data { payload: QueuedBatch::Local(payload), cost },
        Item::Watermark(watermark) => Item::Watermark(watermark),
        Item::Idle => Item::Idle,
        Item::Barrier(barrier) => Item::Barrier(barrier),
        Item::Marker(marker) => Item::Marker(marker),
        Item::End => Item::End,
    }
}

fn arrow(attempted: &'static str, id: ChannelId, source: ArrowError) -> ExchangeError {
    ExchangeError::Arrow { attempted, exchange: id.exchange, source }
}

/// How much each channel of an outbound has carried, at one moment: `Outbound::has_processed` tells whether the receivers
/// have processed all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried(Vec<u64>);

/// The output of one subtask over one exchange.
#[derive(Debug)]
pub struct Outbound {
    exchange: u32,
    router: Router,
    channels: Vec<OutChannel>,
    waker: Arc<AtomicWaker>,
    /// The channel of the next marker.
    marked: usize,
}

impl Outbound {
    pub(crate) fn new(exchange: u32, router: Router, channels: Vec<OutChannel>, waker: Arc<AtomicWaker>) -> Self {
        Self { exchange, router, channels, waker, marked: 0 }
    }

    /// Whether another batch may be pushed. A channel is ready while less than half a window is pending on it.
    /// Rebalancing needs one ready channel; other routing needs all of them.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match self.router {
            Router::Rebalance { .. } => self.channels.iter().any(OutChannel::is_ready),
            Router::Single | Router::Hash { .. } | Router::Assigned => self.channels.iter().all(OutChannel::is_ready),
        }
    }

    /// Whether everything that was pushed has left.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.channels.iter().all(|channel| channel.pending.is_empty())
    }

    /// Routes rows, and sends what credit allows.
    ///
    /// # Errors
    /// Rows cannot be copied or encoded, or a peer granted too much.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), ExchangeError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        match &mut self.router {
            Router::Single => self.push_to(0, batch)?,
            Router::Rebalance { next } => {
                let count = self.channels.len();
                let turn = (0..count).map(|step| (*next + step) % count);
                let ready = turn.clone().find(|channel| self.channels[*channel].is_ready());
                let channel = ready.unwrap_or(*next % count);
                *next = channel + 1;
                self.push_to(channel, batch)?;
            }
            Router::Hash { .. } => self.push_by_key(batch)?,
            Router::Assigned => self.push_as_assigned(batch)?,
        }
        self.flush()
    }

    /// Sends a batch without rows over every channel, behind what waits there: once it is processed, so is the control
    /// before it, which has no credit that would tell so.
    ///
    /// # Errors
    /// Those of `push`.
    pub fn probe(&mut self, schema: &SchemaRef) -> Result<(), ExchangeError> {
        for channel in &mut self.channels {
            channel.pending.push_probe(schema);
        }
        self.flush()
    }

    /// All that was pushed so far.
    #[must_use]
    pub fn carried(&self) -> Carried {
        Carried(self.channels.iter().map(|channel| channel.ledger.spent() + channel.pending.bytes()).collect())
    }

    /// Whether the receivers have processed all that had been pushed by then. Receivers process in order, and return the
    /// credit of what they have processed.
    #[must_use]
    pub fn has_processed(&self, carried: &Carried) -> bool {
        self.channels.iter().zip(&carried.0).all(|(channel, bytes)| channel.ledger.released() >= *bytes)
    }

    /// Sends to every channel, behind the rows that wait there.
    ///
    /// # Errors
    /// Those of `push`.
    pub fn broadcast(&mut self, control: Control) -> Result<(), ExchangeError> {
        for channel in &mut self.channels {
            channel.pending.push_control(match control {
                Control::Watermark(watermark) => Item::Watermark(watermark),
                Control::Idle => Item::Idle,
                Control::Barrier(barrier) => Item::Barrier(barrier),
                Control::End => Item::End,
            });
        }
        self.flush()
    }

    /// Sends a marker over one channel, each in turn, behind what is pending there. Over all of them there would be as many
    /// times more with each exchange.
    ///
    /// # Errors
    /// As `push`.
    pub fn mark(&mut self, marker: LatencyMarker) -> Result<(), ExchangeError> {
        self.marked = (self.marked + 1) % self.channels.len().max(1);
        if let Some(channel) = self.channels.get_mut(self.marked) {
            channel.pending.push_control(Item::Marker(marker));
        }
        self.flush()
    }

    /// Whether the barrier of a checkpoint still waits behind rows.
    #[must_use]
    pub fn holds_barrier(&self, checkpoint: CheckpointId) -> bool {
        self.channels.iter().any(|channel| channel.pending.holds_barrier(checkpoint))
    }

    /// Lets an unaligned barrier overtake the rows that wait for credit. If it `was_sent`, this applies only to channels
    /// on which it still waits. Returns the overtaken rows by channel; they are still sent.
    ///
    /// # Errors
    /// Those of `push`.
    pub fn overtake(
        &mut self,
        barrier: Barrier,
        was_sent: bool,
    ) -> Result<Vec<(ChannelId, Vec<RecordBatch>)>, ExchangeError> {
        let mut overtaken = Vec::new();
        for channel in &mut self.channels {
            if !was_sent || channel.pending.holds_barrier(barrier.checkpoint) {
                overtaken.push((channel.id, channel.pending.overtake(barrier)));
            }
        }
        self.flush()?;
        Ok(overtaken)
    }

    /// Sends what new credit allows, channel by channel.
    ///
    /// # Errors
    /// Those of `push`.
    pub fn flush(&mut self) -> Result<(), ExchangeError> {
        for channel in &mut self.channels {
            channel.take_grants()?;
            channel.flush()?;
        }
        Ok(())
    }

    /// Flushes. Pending until another batch may be pushed; new credit wakes the task.
    ///
    /// # Errors
    /// Those of `push`.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        // Registers first, so that credit that arrives during the flush wakes the task again.
        self.waker.register(context.waker());
        if let Err(error) = self.flush() {
            return Poll::Ready(Err(error));
        }
        if self.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn push_to(&mut self, channel: usize, batch: &RecordBatch) -> Result<(), ExchangeError> {
        let exchange = self.exchange;
        let channel = &mut self.channels[channel];
        let limit = channel.ledger.window() / 2;
        let pushed = channel.pending.push_rows(batch, limit.max(1));
        pushed.map_err(|source| ExchangeError::Arrow { attempted: "copy rows", exchange, source })
    }

    fn push_by_key(&mut self, batch: &RecordBatch) -> Result<(), ExchangeError> {
        let Router::Hash { keys, table } = &self.router else { unreachable!("called for hash routing alone") };
        let columns: Vec<_> = keys.iter().map(|key| batch.column(*key).clone()).collect();
        let groups = key_groups_of(&columns, batch.num_rows(), table.groups());
        let owners: Vec<u32> = groups.into_iter().map(|group| table.owner(group)).collect();
        let Some((first, last)) = owners.iter().min().copied().zip(owners.iter().max().copied()) else { return Ok(()) };
        if first == last {
            return self.push_to(first as usize, batch);
        }
        self.push_scattered(batch, &owners)
    }

    fn push_as_assigned(&mut self, batch: &RecordBatch) -> Result<(), ExchangeError> {
        let exchange = self.exchange;
        let column = batch.columns().first().and_then(|column| column.as_primitive_opt::<UInt32Type>());
        let column = column.ok_or_else(|| unassigned(exchange, "the first column is no index".to_owned()))?;
        let owners = column.values().to_vec();
        match owners.iter().find(|owner| **owner as usize >= self.channels.len()) {
            Some(owner) => Err(unassigned(exchange, format!("there is no subtask {owner}"))),
            None => self.push_scattered(batch, &owners),
        }
    }

    fn push_scattered(&mut self, batch: &RecordBatch, owners: &[u32]) -> Result<(), ExchangeError> {
        for (channel, rows) in scatter(owners, self.channels.len()).into_iter().enumerate() {
            if !rows.is_empty() {
                let exchange = self.exchange;
                let part = take_rows(batch, &rows).map_err(|source| ExchangeError::Arrow {
                    attempted: "route rows",
                    exchange,
                    source,
                })?;
                self.push_to(channel, &part)?;
            }
        }
        Ok(())
    }
}

fn unassigned(exchange: u32, reason: String) -> ExchangeError {
    ExchangeError::Arrow { attempted: "assign splits", exchange, source: ArrowError::InvalidArgumentError(reason) }
}

/// The row numbers of each owner, ascending. Rows are counted first, so that each list is allocated once.
fn scatter(owners: &[u32], channels: usize) -> Vec<UInt32Array> {
    let mut counts = vec![0usize; channels];
    for owner in owners {
        counts[*owner as usize] += 1;
    }
    let mut rows: Vec<Vec<u32>> = counts.into_iter().map(Vec::with_capacity).collect();
    for (owner, row) in owners.iter().zip(0u32..) {
        rows[*owner as usize].push(row);
    }
    rows.into_iter().map(UInt32Array::from).collect()
}

pub(crate) fn take_rows(batch: &RecordBatch, rows: &UInt32Array) -> Result<RecordBatch, ArrowError> {
    let unchecked = Some(TakeOptions { check_bounds: false });
    let columns = batch.columns().iter().map(|column| take(column.as_ref(), rows, unchecked.clone()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(batch.schema(), columns.collect::<Result<_, _>>()?, &options)
}
