//! The actor of a subtask that has inputs.
//!
//! ```text
//! wait for credit -> take one element of any unblocked channel -> carry it through the chain -> return its credit -> ..
//! ```
//!
//! Batches are processed as they come. Watermarks of the channels are combined to their minimum. The first barrier of a
//! checkpoint blocks its channel until the others have delivered theirs; then it goes through the chain. When all
//! channels have ended, the combined watermark is the end, which releases everything, and the chain finishes. After that
//! barriers still come and go on, until the attempt is over.

use std::{sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use thalweg_exchange::{Element, Inbound};
use thalweg_flow::{Alignment, BarrierAligner, WatermarkTracker};
use thalweg_types::{
    CheckpointId,
    bug::{self, Bug},
};
use tokio::sync::watch;

use crate::{
    attempt::AttemptOrders,
    chain::{Chain, Signal},
    failure::SubtaskError,
    meter::{Meter, Spent},
};

/// The actor's state.
pub(crate) struct InputSubtask {
    inbound: Inbound,
    /// The head's port of each channel.
    ports: Vec<u8>,
    tracker: WatermarkTracker,
    aligner: BarrierAligner,
    /// When the first barrier of the checkpoint that is being aligned came.
    aligning_since: Duration,
    open_channels: usize,
    /// Rows that were on their way here, by port, when the checkpoint was taken that the attempt goes on from.
    in_flight: Vec<(u8, RecordBatch)>,
    orders: watch::Receiver<AttemptOrders>,
    chain: Chain,
    meter: Arc<Meter>,
}

impl InputSubtask {
    pub(crate) fn new(
        inbound: Inbound,
        ports: Vec<u8>,
        chain: Chain,
        orders: watch::Receiver<AttemptOrders>,
        meter: Arc<Meter>,
    ) -> Self {
        let channels = ports.len();
        let (tracker, aligner) = (WatermarkTracker::new(channels), BarrierAligner::new(channels));
        Self {
            inbound,
            ports,
            tracker,
            aligner,
            aligning_since: Duration::ZERO,
            open_channels: channels,
            in_flight: Vec::new(),
            orders,
            chain,
            meter,
        }
    }

    /// Begins with rows that were on their way here.
    pub(crate) fn with_in_flight(self, in_flight: Vec<(u8, RecordBatch)>) -> Self {
        Self { in_flight, ..self }
    }

    /// Runs until it is cancelled or fails.
    pub(crate) async fn run(mut self) -> Result<(), SubtaskError> {
        self.chain.release_restored().await?;
        for (port, batch) in std::mem::take(&mut self.in_flight) {
            self.chain.process(port, batch).await?;
        }
        loop {
            // Credit before input: what is taken in can then be given out.
            self.chain.ready().await?;
            self.chain.take_turn().await;
            let waiting = self.meter.now();
            let (inbound, orders) = (&mut self.inbound, &mut self.orders);
            let next = async {
                tokio::select! {
                    biased;
                    changed = orders.changed() => match changed {
                        Ok(()) => Ok(None),
                        // Whoever gives orders is gone, and with it the attempt: cancellation follows.
                        Err(_) => std::future::pending().await,
                    },
                    next = inbound.next() => next.map(Some),
                }
            };
            let Some((channel, element)) = self.chain.flushing(next).await?? else {
                self.follow_orders();
                continue;
            };
            let taken = self.meter.spend(Spent::Idle, waiting);
            let blocked = self.meter.blocked();
            self.on_element(channel, element).await?;
            // What the chain spent blocked is counted there.
            self.meter.spend(Spent::Busy, taken + self.meter.blocked().saturating_sub(blocked));
        }
    }

    fn follow_orders(&mut self) {
        let aborted = self.orders.borrow_and_update().aborted;
        if let Some(aborted) = aborted {
            self.aligner.on_abort(aborted);
            self.set_blocked();
        }
    }

    async fn on_element(&mut self, channel: usize, element: Element) -> Result<(), SubtaskError> {
        match element {
            Element::Batch { batch, cost } => {
                self.on_batch(channel, batch).await?;
                self.inbound.release(channel, cost);
            }
            Element::Watermark(watermark) => {
                let grown = self.tracker.on_watermark(channel, watermark);
                self.advance(grown.map(Signal::Watermark)).await?;
            }
            Element::Idle => {
                let grown = self.tracker.on_idle(channel);
                self.advance(grown.map(Signal::Watermark)).await?;
            }
            Element::Barrier(barrier) => self.on_barrier(channel, barrier.checkpoint).await?,
            Element::End => self.on_end(channel).await?,
        }
        Ok(())
    }

    async fn on_batch(&mut self, channel: usize, batch: RecordBatch) -> Result<(), SubtaskError> {
        let grown = self.tracker.on_active(channel);
        self.advance(grown.map(Signal::Watermark)).await?;
        self.meter.count_in(&batch);
        self.chain.process(self.ports[channel], batch).await
    }

    async fn advance(&mut self, signal: Option<Signal>) -> Result<(), SubtaskError> {
        if let Some(signal) = signal {
            self.chain.signal(signal).await?;
        }
        self.chain.set_idle(self.tracker.is_idle())
    }

    async fn on_barrier(&mut self, channel: usize, checkpoint: CheckpointId) -> Result<(), SubtaskError> {
        let before = self.aligner.aligning();
        let alignment = self.aligner.on_barrier(channel, checkpoint).map_err(|source| {
            let channel = &self.inbound.channels()[channel];
            SubtaskError::Barrier { channel: channel.id, peer: channel.from, source }
        })?;
        let now = self.meter.now();
        if before != Some(checkpoint) {
            self.aligning_since = now;
        }
        self.set_blocked();
        match alignment {
            Alignment::Complete(checkpoint) => {
                self.chain.checkpoint(checkpoint, None, now.saturating_sub(self.aligning_since)).await
            }
            Alignment::Pending | Alignment::Ignored => Ok(()),
        }
    }

    async fn on_end(&mut self, channel: usize) -> Result<(), SubtaskError> {
        self.open_channels -= 1;
        let grown = self.tracker.on_end(channel);
        self.advance(grown.map(Signal::Watermark)).await?;
        if self.open_channels == 0 { self.chain.finish().await } else { Ok(()) }
    }

    fn set_blocked(&mut self) {
        for channel in 0..self.ports.len() {
            let is_blocked = self.aligner.is_blocked(channel) && !bug::is_active(Bug::SkipAlignment);
            self.inbound.set_blocked(channel, is_blocked);
        }
    }
}
