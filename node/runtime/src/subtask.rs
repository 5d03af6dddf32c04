//! The actor of a subtask that has inputs.
//!
//! ```text
//! wait for credit -> take one element of any unblocked channel -> carry it through the chain -> return its credit -> ..
//! ```
//!
//! Batches are processed as they come. Watermarks of the channels are combined to their minimum. The first barrier of a
//! checkpoint blocks its channel until the others have delivered theirs; then it goes through the chain. When all
//! channels have ended, the combined watermark is the end, which releases everything, and the chain finishes.

use std::sync::Arc;

use arrow::array::RecordBatch;
use thalweg_exchange::{Element, Inbound};
use thalweg_flow::{Alignment, BarrierAligner, WatermarkTracker};
use thalweg_types::{CheckpointId, session::SinkCommittables};

use crate::{
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
    open_channels: usize,
    chain: Chain,
    meter: Arc<Meter>,
}

impl InputSubtask {
    pub(crate) fn new(inbound: Inbound, ports: Vec<u8>, chain: Chain, meter: Arc<Meter>) -> Self {
        let channels = ports.len();
        let (tracker, aligner) = (WatermarkTracker::new(channels), BarrierAligner::new(channels));
        Self { inbound, ports, tracker, aligner, open_channels: channels, chain, meter }
    }

    /// Runs to the end of all inputs.
    pub(crate) async fn run(mut self) -> Result<Vec<SinkCommittables>, SubtaskError> {
        while self.open_channels > 0 {
            // Credit before input: what is taken in can then be given out.
            self.chain.ready().await?;
            self.chain.take_turn().await;
            let waiting = self.meter.now();
            let (channel, element) = self.chain.flushing(self.inbound.next()).await??;
            let taken = self.meter.spend(Spent::Idle, waiting);
            let blocked = self.meter.blocked();
            self.on_element(channel, element).await?;
            // What the chain spent blocked is counted there.
            self.meter.spend(Spent::Busy, taken + self.meter.blocked().saturating_sub(blocked));
        }
        self.chain.finish().await
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
            Element::Barrier(checkpoint) => self.on_barrier(channel, checkpoint).await?,
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
        let alignment = self.aligner.on_barrier(channel, checkpoint).map_err(|source| {
            let channel = &self.inbound.channels()[channel];
            SubtaskError::Barrier { channel: channel.id, peer: channel.from, source }
        })?;
        self.settle(alignment).await
    }

    async fn on_end(&mut self, channel: usize) -> Result<(), SubtaskError> {
        self.open_channels -= 1;
        let grown = self.tracker.on_end(channel);
        // An end completes an alignment before the watermark that it may raise: what that releases is not of the epoch.
        let alignment = self.aligner.on_end(channel);
        self.settle(alignment).await?;
        self.advance(grown.map(Signal::Watermark)).await
    }

    async fn settle(&mut self, alignment: Alignment) -> Result<(), SubtaskError> {
        for channel in 0..self.ports.len() {
            self.inbound.set_blocked(channel, self.aligner.is_blocked(channel));
        }
        match alignment {
            Alignment::Complete(checkpoint) => self.chain.signal(Signal::Barrier(checkpoint)).await,
            Alignment::Pending | Alignment::Ignored => Ok(()),
        }
    }
}
