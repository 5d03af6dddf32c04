//! The actor of a subtask that has inputs.
//!
//! ```text
//! wait for credit -> take one element of any unblocked channel -> carry it through the chain -> return its credit -> ..
//! ```
//!
//! Batches are processed as they come. The subtask's watermark is the minimum over its channels. The first barrier of
//! a checkpoint blocks its channel until all others have delivered theirs; then the barrier goes through the chain.
//! The chain may also take its part of the checkpoint earlier (`Gate`). When all channels have ended, the watermark
//! reaches the end and the chain finishes. Barriers still pass afterwards, until the attempt ends.

use std::{collections::VecDeque, future::pending, sync::Arc};

use arrow::array::RecordBatch;
use thalweg_exchange::{Carried, Element};
use thalweg_flow::{Alignment, WatermarkTracker};
use thalweg_types::{Watermark, checkpoint::Barrier};

use crate::{
    chain::{Came, Chain},
    failure::SubtaskError,
    gate::Returned,
    meter::{Meter, Spent},
};

/// The state of the actor. The chain holds the inputs, since an unaligned checkpoint reads barriers ahead of rows.
pub(crate) struct InputSubtask {
    /// The input port of the chain's head for each channel.
    ports: Vec<u8>,
    tracker: WatermarkTracker,
    open_channels: usize,
    /// Probes whose credit waits for this subtask's receivers. Each channel has at most one: its sender waits for it.
    probes: VecDeque<Probe>,
    chain: Chain,
    meter: Arc<Meter>,
}

/// A probe that was passed on.
struct Probe {
    channel: usize,
    cost: u64,
    carried: Vec<Carried>,
}

impl InputSubtask {
    pub(crate) fn new(ports: Vec<u8>, chain: Chain, meter: Arc<Meter>) -> Self {
        let channels = ports.len();
        let tracker = WatermarkTracker::new(channels);
        Self { ports, tracker, open_channels: channels, probes: VecDeque::new(), chain, meter }
    }

    /// Runs until it is cancelled or fails.
    pub(crate) async fn run(mut self) -> Result<(), SubtaskError> {
        self.chain.release_restored().await?;
        while let Some(Returned { port, rows, .. }) = self.chain.gate().next_returned() {
            self.chain.feed(Some((port, rows)), None, None).await?;
        }
        loop {
            // Waits for credit first, so that the output of whatever is read can leave.
            self.chain.ready(None).await?;
            self.chain.take_turn().await;
            let waiting = self.meter.now();
            let (channel, element) = self.next_element().await?;
            let taken = self.meter.spend(Spent::Idle, waiting);
            let blocked = self.meter.blocked();
            self.on_element(channel, element).await?;
            // Time blocked on credit is counted by the chain.
            self.meter.spend(Spent::Busy, taken + self.meter.blocked().saturating_sub(blocked));
        }
    }

    /// The next element. Meanwhile returns the credit of probes.
    async fn next_element(&mut self) -> Result<(usize, Element), SubtaskError> {
        loop {
            self.chain.attend(None).await?;
            let carried = self.probes.front().map(|probe| probe.carried.as_slice());
            match self.chain.wait_for_input(carried, pending::<()>()).await? {
                Some(Came::Element(channel, element)) => return Ok((channel, element)),
                Some(Came::Processed) => {
                    if let Some(Probe { channel, cost, .. }) = self.probes.pop_front() {
                        self.chain.gate().release(channel, cost);
                    }
                }
                Some(Came::Done(())) | None => {}
            }
        }
    }

    /// A batch without rows: its sender wants to know when its channel counts again, here and everywhere behind.
    async fn on_probe(&mut self, channel: usize, cost: u64) -> Result<(), SubtaskError> {
        let grown = self.tracker.on_active(channel);
        self.advance(grown).await?;
        let carried = self.chain.probe()?;
        self.probes.push_back(Probe { channel, cost, carried });
        Ok(())
    }

    async fn on_element(&mut self, channel: usize, element: Element) -> Result<(), SubtaskError> {
        match element {
            Element::Batch { batch, cost } if batch.num_rows() == 0 => self.on_probe(channel, cost).await?,
            Element::Batch { batch, cost } => {
                self.on_batch(channel, batch).await?;
                self.chain.gate().release(channel, cost);
            }
            Element::Watermark(watermark) => {
                let grown = self.tracker.on_watermark(channel, watermark);
                self.advance(grown).await?;
            }
            Element::Idle => {
                let grown = self.tracker.on_idle(channel);
                self.advance(grown).await?;
            }
            Element::Barrier(barrier) => self.on_barrier(channel, barrier).await?,
            Element::Marker(marker) => self.chain.mark(marker, None).await?,
            Element::End => self.on_end(channel).await?,
        }
        Ok(())
    }

    async fn on_batch(&mut self, channel: usize, batch: RecordBatch) -> Result<(), SubtaskError> {
        let grown = self.tracker.on_active(channel);
        self.chain.set_idle(self.tracker.is_idle())?;
        self.meter.count_in(&batch);
        self.chain.feed(Some((self.ports[channel], batch)), grown, None).await
    }

    async fn advance(&mut self, grown: Option<Watermark>) -> Result<(), SubtaskError> {
        if grown.is_some() {
            self.chain.feed(None, grown, None).await?;
        }
        self.chain.set_idle(self.tracker.is_idle())
    }

    async fn on_barrier(&mut self, channel: usize, barrier: Barrier) -> Result<(), SubtaskError> {
        let now = self.meter.now();
        match self.chain.gate().on_barrier(channel, barrier, now)? {
            Alignment::Complete(checkpoint) => self.chain.pass_barrier(checkpoint, None).await,
            Alignment::Pending | Alignment::Ignored => Ok(()),
        }
    }

    async fn on_end(&mut self, channel: usize) -> Result<(), SubtaskError> {
        self.open_channels -= 1;
        let grown = self.tracker.on_end(channel);
        self.advance(grown).await?;
        if self.open_channels == 0 { self.chain.finish(None).await } else { Ok(()) }
    }
}
