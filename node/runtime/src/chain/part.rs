//! A subtask's part of a checkpoint: behind the rows where credit is free, ahead of them where it is not.
//!
//! ```text
//! aligned:   (no step waits)  Signal(barrier) through the chain -> frozen -> the barrier leaves, or overtakes after a while
//! unaligned: the steps that wait give their rows to operators, sinks and outbounds -> all is frozen -> the barrier goes to
//!            the front of every output; what it overtakes there and on the inputs is part of the checkpoint
//! ```
//!
//! Watermarks on the stack are not part of it, since sources emit them again. Neither is output that keyed operators
//! have yet to emit, since it is still in their state.

use std::time::Duration;

use arrow::array::RecordBatch;
use thalweg_exchange::Outbound;
use thalweg_types::{ChannelId, CheckpointId, checkpoint::Barrier};

use super::{Chain, Gathered, Signal, Stage, Step, Vertex, failed, flushing};
use crate::{
    checkpoint::{Frozen, FrozenSource, Overtaken, OvertakenBatch, Upload},
    failure::SubtaskError,
    gate::Due,
    source_view::SourceView,
};

impl Chain {
    /// Does all checkpoint work that is due. Call it between two steps.
    pub(crate) async fn attend(&mut self, source: Option<SourceView<'_>>) -> Result<(), SubtaskError> {
        while let Some(due) = self.due() {
            match due {
                Due::Begin(checkpoint) => self.pass_barrier(checkpoint, source).await?,
                Due::Switch(checkpoint) => self.switch(checkpoint, source).await?,
                Due::Overtake(checkpoint) => {
                    let barrier = self.unaligned(checkpoint);
                    let pending = overtake(&mut self.parts.outbounds, barrier, true)?;
                    self.parts.gate.add_pending(pending);
                }
                Due::Complete => {
                    if let Some(frozen) = self.parts.gate.take_complete() {
                        let handing = self.parts.uploads.hand_over(Upload::Snapshot(Box::new(frozen)));
                        flushing(&mut self.parts.outbounds, handing).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends a barrier through the chain behind all rows. The stack must be empty. The frozen state is handed over
    /// once the barrier has left.
    pub(crate) async fn pass_barrier(
        &mut self,
        checkpoint: CheckpointId,
        source: Option<SourceView<'_>>,
    ) -> Result<(), SubtaskError> {
        let _span = self.parts.gate.freezing(checkpoint, false);
        self.stack.push(Step::Signal { vertex: 0, signal: Signal::Barrier(checkpoint) });
        while let Some(step) = self.stack.pop() {
            self.take_turn().await;
            self.step(step).await?;
        }
        let (frozen, since) = self.frozen(checkpoint, source.map(|source| source.freeze())).await?;
        self.parts.gate.hold_aligned(frozen, since);
        Ok(())
    }

    /// Takes the unaligned part of a checkpoint at once, whatever waits.
    async fn switch(&mut self, checkpoint: CheckpointId, source: Option<SourceView<'_>>) -> Result<(), SubtaskError> {
        let _span = self.parts.gate.freezing(checkpoint, true);
        self.settle().await?;
        for at in 0..self.parts.vertices.len() {
            match self.parts.vertices[at].stage {
                Stage::Operator(_) => self.freeze_operator(at)?,
                Stage::Source | Stage::Enumerator(_) | Stage::Sink(_) | Stage::Collect(_) => {
                    self.freeze_end(at, checkpoint).await?
                }
            }
        }
        let (mut frozen, since) = self.frozen(checkpoint, source.map(|source| source.freeze())).await?;
        frozen.is_unaligned = true;
        frozen.in_flight = self.parts.gate.overtake(checkpoint);
        let barrier = self.unaligned(checkpoint);
        frozen.in_flight.extend(overtake(&mut self.parts.outbounds, barrier, false)?);
        self.parts.gate.hold_unaligned(frozen, since);
        Ok(())
    }

    fn unaligned(&self, checkpoint: CheckpointId) -> Barrier {
        Barrier::unaligned(checkpoint).traced(self.parts.gate.trace_of(checkpoint))
    }

    /// Collects all that was frozen, and the time at which this subtask learned of the checkpoint.
    async fn frozen(
        &mut self,
        checkpoint: CheckpointId,
        source: Option<FrozenSource>,
    ) -> Result<(Frozen, Duration), SubtaskError> {
        let Gathered { operators, sealed: new, freeze } = std::mem::take(&mut self.gathered);
        let began = self.parts.meter.now();
        let side_outputs = flushing(&mut self.parts.outbounds, self.parts.side_outputs.seal()).await??;
        let freeze = freeze + self.parts.meter.now().saturating_sub(began);
        let since = self.parts.gate.since(checkpoint, began);
        let mut sealed = self.parts.gate.begin_part(checkpoint);
        sealed.extend(new);
        sealed.extend(side_outputs);
        let frozen = Frozen {
            checkpoint,
            is_finished: self.is_finished,
            operators,
            source,
            in_flight: Vec::new(),
            sealed,
            counts: self.parts.meter.counts(),
            alignment: began.saturating_sub(since),
            freeze,
            is_unaligned: false,
            trace: self.parts.gate.trace_of(checkpoint),
        };
        Ok((frozen, since))
    }

    /// Moves the rows on the stack into operators, sinks and outbounds, even without credit.
    async fn settle(&mut self) -> Result<(), SubtaskError> {
        let waiting = std::mem::take(&mut self.stack);
        // Both list the steps in the order in which they run; reversed, they become the stack again.
        let (mut left, mut released) = (Vec::with_capacity(waiting.len()), Vec::new());
        for step in waiting.into_iter().rev() {
            match step {
                Step::Process { .. } => {
                    self.stack.push(step);
                    self.carry(&mut left).await?;
                }
                Step::Drain { vertex, .. } if self.parts.vertices[vertex].drains_at_barriers => {
                    self.stack.push(Step::Drain { vertex, then: None });
                    self.carry(&mut left).await?;
                    left.push(step);
                }
                Step::Drain { .. } | Step::Signal { .. } => left.push(step),
            }
        }
        for at in 0..self.parts.vertices.len() {
            let Vertex { id, name, stage: Stage::Operator(operator), .. } = &mut self.parts.vertices[at] else {
                continue;
            };
            operator.flush().map_err(|source| failed(name, source))?;
            self.parts.side_outputs.take((*id, name), operator.as_mut(), &self.parts.meter)?;
            if self.parts.vertices[at].drains_at_barriers {
                self.stack.push(Step::Drain { vertex: at, then: None });
                self.carry(&mut released).await?;
            }
        }
        left.reverse();
        self.stack = left;
        self.stack.extend(released.into_iter().rev());
        Ok(())
    }

    /// Runs the steps on the stack. Drains of keyed operators are left for later.
    async fn carry(&mut self, left: &mut Vec<Step>) -> Result<(), SubtaskError> {
        while let Some(step) = self.stack.pop() {
            self.take_turn().await;
            match step {
                Step::Drain { vertex, .. } if !self.parts.vertices[vertex].drains_at_barriers => left.push(step),
                Step::Process { vertex, port, batch } => {
                    let emitted = self.take_output(vertex)?;
                    self.process_at(vertex, port, batch).await?;
                    for batch in emitted {
                        self.emit(vertex, batch)?;
                    }
                }
                Step::Drain { .. } | Step::Signal { .. } => self.step(step).await?,
            }
        }
        Ok(())
    }

    /// Takes the output that an operator must emit before it takes new rows. Usually there is none, since an operator
    /// is drained first.
    fn take_output(&mut self, at: usize) -> Result<Vec<RecordBatch>, SubtaskError> {
        let Vertex { id, name, stage: Stage::Operator(operator), .. } = &mut self.parts.vertices[at] else {
            return Ok(Vec::new());
        };
        let mut emitted = Vec::new();
        while let Some(batch) = operator.next_output().map_err(|source| failed(name, source))? {
            emitted.push(batch);
        }
        self.parts.side_outputs.take((*id, name), operator.as_mut(), &self.parts.meter)?;
        Ok(emitted)
    }
}

/// Lets a barrier overtake the rows on every outbound. If it was already sent, only where it still waits.
fn overtake(outbounds: &mut [Outbound], barrier: Barrier, was_sent: bool) -> Result<Vec<Overtaken>, SubtaskError> {
    let mut overtaken = Vec::new();
    for outbound in outbounds {
        for (ChannelId { exchange, to, .. }, batches) in outbound.overtake(barrier, was_sent)? {
            let of_channel = |rows| Overtaken { exchange, to, rows: OvertakenBatch::Pending(rows) };
            overtaken.extend(batches.into_iter().map(of_channel));
        }
    }
    Ok(overtaken)
}
