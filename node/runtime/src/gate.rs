//! Decides when a subtask takes its part of a checkpoint, and keeps the part until it is complete.
//!
//! ```text
//! barrier (a source: order) of n noticed --all barriers read in time--> aligned: the barrier follows the rows
//!            |                                                            '-- timeout --> it overtakes rows in the outputs
//!            '-- unaligned barrier arrives, or timeout --> unaligned: the barrier overtakes all rows here and downstream
//! part of n --its barrier has left, and arrived on every input--> complete
//!     '------ n was aborted, or a newer one began --------------> dropped; its sealed output goes to the next part
//! ```
//!
//! The timeout counts from the moment at which the subtask noticed the checkpoint, by its own clock. It also wakes a
//! subtask that is waiting for credit in the middle of its work.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
    time::Duration,
};

use arrow::array::RecordBatch;
use thalweg_exchange::{Element, GivenUp, Inbound, Outbound, OvertakenRows};
use thalweg_flow::{Alignment, BarrierAligner};
use thalweg_types::{
    CheckpointId, TraceContext,
    bug::{self, Bug},
    checkpoint::Barrier,
};
use tokio::sync::watch;
use tracing::Span;

use crate::{
    attempt_orders::AttemptOrders,
    checkpoint::{Frozen, Overtaken, OvertakenBatch, Sealed},
    failure::SubtaskError,
    rolling::Outcomes,
    spans::SubtaskSpans,
};

/// In-flight rows of the checkpoint that the attempt was restored from.
#[derive(Debug, Clone)]
pub(crate) struct Returned {
    pub(crate) exchange: u32,
    pub(crate) port: u8,
    pub(crate) rows: RecordBatch,
}

/// The inputs of a subtask.
pub(crate) struct Inputs {
    /// The index of the subtask in its chain.
    index: u32,
    inbound: Inbound,
    aligner: BarrierAligner,
    /// Processed before anything that the inbound gives.
    returned: VecDeque<Returned>,
}

impl Inputs {
    pub(crate) fn new(index: u32, inbound: Inbound, returned: Vec<Returned>) -> Self {
        let aligner = BarrierAligner::new(inbound.channels().len());
        Self { index, inbound, aligner, returned: returned.into() }
    }

    fn set_blocked(&mut self) {
        for channel in 0..self.inbound.channels().len() {
            let is_blocked = self.aligner.is_blocked(channel) && !bug::is_active(Bug::SkipAlignment);
            self.inbound.set_blocked(channel, is_blocked);
        }
    }
}

/// What a part still waits for.
enum Waits {
    /// Its aligned barrier still waits behind rows.
    Outbounds,
    /// The barrier has not arrived on every input. Once it has, these are the rows that it overtook.
    Inputs(Option<Vec<OvertakenRows>>),
}

struct Part {
    frozen: Box<Frozen>,
    /// When the checkpoint was noticed.
    since: Duration,
    waits: Waits,
}

/// The next step for a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// A source begins it: the barrier follows the rows.
    Begin(CheckpointId),
    /// The checkpoint becomes unaligned: the barrier overtakes all rows.
    Switch(CheckpointId),
    /// The barrier has passed the chain and overtakes the rows that it waits behind in the outputs.
    Overtake(CheckpointId),
    /// The part is complete.
    Complete,
}

/// A checkpoint that has begun, and what is known of it.
struct Noticed {
    checkpoint: CheckpointId,
    since: Duration,
    /// Its span, where somebody traces.
    trace: Option<TraceContext>,
    /// The span of the alignment. A source has none.
    align: Span,
}

/// The state of checkpoints in one subtask.
pub(crate) struct Gate {
    spans: SubtaskSpans,
    timeout: Duration,
    orders: watch::Receiver<AttemptOrders>,
    /// `None` for a source.
    inputs: Option<Inputs>,
    /// The newest checkpoint whose part this subtask has taken, or which was aborted.
    over: Option<CheckpointId>,
    /// The newest checkpoint that has begun.
    noticed: Option<Noticed>,
    part: Option<Part>,
    /// Sealed output of dropped parts, for the next part.
    sealed: Vec<Sealed>,
}

impl Gate {
    /// Creates the gate of a subtask that switches to unaligned checkpoints after `timeout`.
    pub(crate) fn new(
        spans: SubtaskSpans,
        timeout: Duration,
        orders: watch::Receiver<AttemptOrders>,
        inputs: Option<Inputs>,
    ) -> Self {
        Self { spans, timeout, orders, inputs, over: None, noticed: None, part: None, sealed: Vec::new() }
    }

    /// A receiver of the orders, to be woken by later ones.
    pub(crate) fn orders(&self) -> watch::Receiver<AttemptOrders> {
        self.orders.clone()
    }

    /// What is known of checkpoints now.
    pub(crate) fn outcomes(&self) -> Outcomes {
        let AttemptOrders { confirmed, aborted, .. } = *self.orders.borrow();
        Outcomes { confirmed, aborted }
    }

    /// The next element of any input.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<(usize, Element), SubtaskError>> {
        match &mut self.inputs {
            Some(inputs) => inputs.inbound.poll_next(context).map_err(SubtaskError::from),
            None => Poll::Pending,
        }
    }

    /// Returns the credit of a processed batch.
    pub(crate) fn release(&mut self, channel: usize, cost: u64) {
        if let Some(inputs) = &mut self.inputs {
            inputs.inbound.release(channel, cost);
        }
    }

    /// The next restored in-flight rows, to be processed before the inputs.
    pub(crate) fn next_returned(&mut self) -> Option<Returned> {
        self.inputs.as_mut()?.returned.pop_front()
    }

    /// Aligns a barrier that was read from `channel`.
    pub(crate) fn on_barrier(
        &mut self,
        channel: usize,
        barrier: Barrier,
        now: Duration,
    ) -> Result<Alignment, SubtaskError> {
        let known = self.over.max(self.noticed.as_ref().map(|noticed| noticed.checkpoint));
        if Some(barrier.checkpoint) > known {
            let orders = *self.orders.borrow();
            self.notice(barrier, orders, now);
        }
        let Some(inputs) = &mut self.inputs else { return Ok(Alignment::Ignored) };
        let alignment = inputs.aligner.on_barrier(channel, barrier.checkpoint);
        let alignment = alignment.map_err(|source| {
            let channel = &inputs.inbound.channels()[channel];
            SubtaskError::Barrier { channel: channel.id, peer: channel.from, source }
        })?;
        inputs.set_blocked();
        Ok(alignment)
    }

    /// The step that is due now. `is_settled` says that no work waits in the chain. Registers the task to be woken by
    /// arriving barriers.
    pub(crate) fn due(
        &mut self,
        context: &mut Context<'_>,
        (now, is_settled): (Duration, bool),
        outbounds: &[Outbound],
    ) -> Option<Due> {
        let orders = *self.orders.borrow_and_update();
        if let Some(aborted) = orders.aborted {
            self.on_abort(aborted);
        }
        let begun = match &mut self.inputs {
            Some(inputs) => inputs.inbound.poll_arrived(context),
            None => orders.checkpoint.map(|checkpoint| Barrier::aligned(checkpoint).traced(orders.trace)),
        };
        if let Some(due) = self.due_of_part(now, outbounds) {
            return Some(due);
        }
        let begun = begun.filter(|begun| Some(begun.checkpoint) > self.over)?;
        let Barrier { checkpoint, is_unaligned, .. } = begun;
        let since = self.notice(begun, orders, now);
        match self.inputs {
            None if is_settled => Some(Due::Begin(checkpoint)),
            _ if is_unaligned || now >= since + self.timeout => Some(Due::Switch(checkpoint)),
            _ => None,
        }
    }

    /// Notes a checkpoint that has begun, and returns when it was first noticed. A sender of another version may leave
    /// out the trace, but the leader's order carries it as well.
    fn notice(&mut self, begun: Barrier, orders: AttemptOrders, now: Duration) -> Duration {
        let checkpoint = begun.checkpoint;
        if let Some(noticed) = self.noticed.as_ref().filter(|noticed| noticed.checkpoint == checkpoint) {
            return noticed.since;
        }
        let ordered = orders.trace.filter(|_| orders.checkpoint == Some(checkpoint));
        let trace = begun.trace.or(ordered);
        let align = if self.inputs.is_some() { self.spans.align(checkpoint, trace) } else { Span::none() };
        self.noticed = Some(Noticed { checkpoint, since: now, trace, align });
        now
    }

    /// The span of a checkpoint that was noticed.
    pub(crate) fn trace_of(&self, checkpoint: CheckpointId) -> Option<TraceContext> {
        self.noticed.as_ref().filter(|noticed| noticed.checkpoint == checkpoint)?.trace
    }

    /// Ends the span of the alignment, because a part is about to be taken, and returns the span of the part.
    pub(crate) fn freezing(&mut self, checkpoint: CheckpointId, is_unaligned: bool) -> Span {
        if let Some(noticed) = self.noticed.as_mut().filter(|noticed| noticed.checkpoint == checkpoint) {
            std::mem::replace(&mut noticed.align, Span::none()).record("unaligned", is_unaligned);
        }
        self.spans.freeze(checkpoint, self.trace_of(checkpoint))
    }

    /// Whether a checkpoint has begun of which this subtask has not taken its part.
    pub(crate) fn is_noticed(&self) -> bool {
        self.noticed.as_ref().is_some_and(|noticed| Some(noticed.checkpoint) > self.over)
    }

    /// The time at which a step is due, even if nothing arrives before.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let noticed = self.noticed.as_ref().filter(|noticed| Some(noticed.checkpoint) > self.over);
        let noticed = noticed.map(|noticed| noticed.since);
        let part = self.part.as_ref().filter(|part| matches!(part.waits, Waits::Outbounds)).map(|part| part.since);
        noticed.into_iter().chain(part).min().map(|since| since + self.timeout)
    }

    /// When a checkpoint was noticed; `now` if this is the first time.
    pub(crate) fn since(&self, checkpoint: CheckpointId, now: Duration) -> Duration {
        self.noticed.as_ref().filter(|noticed| noticed.checkpoint == checkpoint).map_or(now, |noticed| noticed.since)
    }

    /// Begins the part of a checkpoint and drops an older one, which is never completed. Returns the sealed output of
    /// dropped parts.
    pub(crate) fn begin_part(&mut self, checkpoint: CheckpointId) -> Vec<Sealed> {
        self.over = self.over.max(Some(checkpoint));
        self.drop_part();
        std::mem::take(&mut self.sealed)
    }

    /// Keeps sealed output for the next part.
    pub(crate) fn keep_sealed(&mut self, sealed: Vec<Sealed>) {
        self.sealed.extend(sealed);
    }

    /// Takes the sealed output that no part holds.
    pub(crate) fn take_sealed(&mut self) -> Vec<Sealed> {
        std::mem::take(&mut self.sealed)
    }

    /// Lets the barrier of a checkpoint overtake on the inputs. Returns the restored in-flight rows that are not
    /// processed yet.
    pub(crate) fn overtake(&mut self, checkpoint: CheckpointId) -> Vec<Overtaken> {
        let Some(Inputs { index, inbound, aligner, returned }) = &mut self.inputs else { return Vec::new() };
        let is_aligning = aligner.aligning() == Some(checkpoint);
        inbound.overtake(checkpoint, |channel| is_aligning && aligner.is_blocked(channel));
        aligner.on_abort(checkpoint);
        let overtaken = |returned: &Returned| Overtaken {
            exchange: returned.exchange,
            to: *index,
            rows: OvertakenBatch::Pending(returned.rows.clone()),
        };
        let overtaken = returned.iter().map(overtaken).collect();
        if let Some(inputs) = &mut self.inputs {
            inputs.set_blocked();
        }
        overtaken
    }

    /// Keeps an aligned part until its barrier has left.
    pub(crate) fn hold_aligned(&mut self, frozen: Frozen, since: Duration) {
        self.part = Some(Part { frozen: Box::new(frozen), since, waits: Waits::Outbounds });
    }

    /// Keeps an unaligned part until its barrier has arrived on every input.
    pub(crate) fn hold_unaligned(&mut self, frozen: Frozen, since: Duration) {
        let arrived = self.inputs.is_none().then(Vec::new);
        self.part = Some(Part { frozen: Box::new(frozen), since, waits: Waits::Inputs(arrived) });
    }

    /// Adds rows that the barrier overtook in the outputs.
    pub(crate) fn add_pending(&mut self, pending: Vec<Overtaken>) {
        if let Some(part) = &mut self.part {
            part.frozen.is_unaligned = true;
            part.frozen.in_flight.extend(pending);
        }
    }

    /// Takes the complete part.
    pub(crate) fn take_complete(&mut self) -> Option<Frozen> {
        let Part { mut frozen, waits, .. } = self.part.take()?;
        if let Waits::Inputs(Some(rows)) = waits {
            let arrived = rows.into_iter().map(|rows| Overtaken {
                exchange: rows.channel.exchange,
                to: rows.channel.to,
                rows: OvertakenBatch::Arrived(rows),
            });
            frozen.in_flight.extend(arrived);
        }
        Some(*frozen)
    }

    /// Whether a part is incomplete.
    pub(crate) fn holds_part(&self) -> bool {
        self.part.is_some()
    }

    fn due_of_part(&mut self, now: Duration, outbounds: &[Outbound]) -> Option<Due> {
        let Part { frozen, since, waits } = self.part.as_mut()?;
        let checkpoint = frozen.checkpoint;
        match waits {
            Waits::Outbounds if !outbounds.iter().any(|outbound| outbound.holds_barrier(checkpoint)) => {
                Some(Due::Complete)
            }
            Waits::Outbounds if now >= *since + self.timeout => Some(Due::Overtake(checkpoint)),
            Waits::Outbounds => None,
            Waits::Inputs(Some(_)) => Some(Due::Complete),
            Waits::Inputs(None) => match self.inputs.as_mut()?.inbound.take_overtaken(checkpoint) {
                Ok(None) => None,
                Ok(arrived) => {
                    *waits = Waits::Inputs(arrived);
                    Some(Due::Complete)
                }
                Err(GivenUp) => {
                    self.drop_part();
                    None
                }
            },
        }
    }

    fn on_abort(&mut self, aborted: CheckpointId) {
        if Some(aborted) > self.over
            && let Some(inputs) = &mut self.inputs
        {
            inputs.aligner.on_abort(aborted);
            inputs.set_blocked();
        }
        self.over = self.over.max(Some(aborted));
        self.noticed.take_if(|noticed| noticed.checkpoint <= aborted);
        if self.part.as_ref().is_some_and(|part| part.frozen.checkpoint <= aborted) {
            self.drop_part();
            if let Some(inputs) = &mut self.inputs {
                inputs.inbound.give_up_overtaking(aborted);
            }
        }
    }

    fn drop_part(&mut self) {
        if let Some(part) = self.part.take() {
            self.sealed.extend(part.frozen.sealed);
        }
    }
}
