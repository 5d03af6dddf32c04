//! How a chain waits for credit, for room or for input. Meanwhile it flushes its outputs and attends to checkpoints.

use std::{
    future::{Future, pending, poll_fn},
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};

use thalweg_exchange::{Carried, Element, ExchangeError, Outbound};

use super::{Chain, ChainParts, Stage, Vertex};
use crate::{
    collect::CollectWriter,
    failure::SubtaskError,
    gate::{Due, Gate},
    meter::Spent,
    rolling::Fill,
    source_view::SourceView,
};

/// How long a full sink waits for a checkpoint before it asks again.
const ASKED_AGAIN: Duration = Duration::from_secs(10);

/// What a subtask waited for.
pub(crate) enum Came<T> {
    /// An element of an input.
    Element(usize, Element),
    /// The receivers have processed what was asked about.
    Processed,
    /// The future is done.
    Done(T),
}

impl Chain {
    /// Asks for a checkpoint soon.
    pub(crate) fn want_checkpoint(&self) {
        self.parts.uploads.want_checkpoint();
    }

    /// Waits until every output can take another batch.
    pub(crate) async fn ready(&mut self, source: Option<SourceView<'_>>) -> Result<(), SubtaskError> {
        self.attend(source).await?;
        for outbound in self.parts.outbounds.iter_mut().filter(|outbound| !outbound.is_drained()) {
            outbound.flush()?;
        }
        if self.has_credit() && self.full_writer().is_none() && !self.has_full_sink() {
            return Ok(());
        }
        let since = self.parts.meter.now();
        loop {
            if !self.has_credit() {
                self.parts.meter.count_credit_wait();
                let ready = |_: &mut Gate, outbounds: &[Outbound], _: &mut Context<'_>| {
                    if outbounds.iter().all(Outbound::is_ready) { Poll::Ready(Ok(())) } else { Poll::Pending }
                };
                self.wait(ready).await?;
            } else if let Some(writer) = self.full_writer() {
                self.wait_for(writer.room()).await?;
            } else if self.has_full_sink() {
                // Only a checkpoint makes room. A leader that was asked for one may be gone.
                if self.wait_for(tokio::time::sleep(ASKED_AGAIN)).await?.is_some() {
                    self.parts.uploads.want_checkpoint_still();
                }
            } else {
                break;
            }
            self.attend(source).await?;
        }
        self.parts.meter.spend(Spent::Blocked, since);
        Ok(())
    }

    /// Waits for the next element of any unblocked input, for the receivers to have processed all of `carried`, or for a
    /// future. Returns `None` earlier if a checkpoint or an order needs attention.
    pub(crate) async fn wait_for_input<T>(
        &mut self,
        carried: Option<&[Carried]>,
        future: impl Future<Output = T>,
    ) -> Result<Option<Came<T>>, SubtaskError> {
        let mut future = pin!(future);
        self.wait(|gate, outbounds, context| {
            if carried.is_some_and(|carried| have_processed(outbounds, carried)) {
                return Poll::Ready(Ok(Came::Processed));
            }
            if let Poll::Ready(next) = gate.poll_next(context) {
                return Poll::Ready(next.map(|(channel, element)| Came::Element(channel, element)));
            }
            future.as_mut().poll(context).map(|done| Ok(Came::Done(done)))
        })
        .await
    }

    /// Waits until the receivers have processed all of `carried`. Returns `None` earlier if a checkpoint or an order needs
    /// attention.
    pub(crate) async fn wait_processed(&mut self, carried: &[Carried]) -> Result<Option<()>, SubtaskError> {
        self.wait(
            |_, outbounds, _| {
                if have_processed(outbounds, carried) { Poll::Ready(Ok(())) } else { Poll::Pending }
            },
        )
        .await
    }

    /// Runs a future until it is done. Returns `None` earlier if a checkpoint or an order needs attention.
    pub(crate) async fn wait_for<T>(&mut self, future: impl Future<Output = T>) -> Result<Option<T>, SubtaskError> {
        let mut future = pin!(future);
        self.wait(|_, _, context| future.as_mut().poll(context).map(Ok)).await
    }

    /// Attends to checkpoints until the attempt ends.
    pub(crate) async fn attend_on(&mut self, source: Option<SourceView<'_>>) -> Result<(), SubtaskError> {
        loop {
            self.attend(source).await?;
            let since = self.parts.meter.now();
            self.wait_for(pending::<()>()).await?;
            self.parts.meter.spend(Spent::Idle, since);
        }
    }

    /// Waits until all output has left and the checkpoint part taken before is complete.
    pub(super) async fn drain(&mut self, source: Option<SourceView<'_>>) -> Result<(), SubtaskError> {
        let since = self.parts.meter.now();
        loop {
            self.attend(source).await?;
            let drained = |gate: &mut Gate, outbounds: &[Outbound], _: &mut Context<'_>| {
                let is_done = outbounds.iter().all(Outbound::is_drained) && !gate.holds_part();
                if is_done { Poll::Ready(Ok(())) } else { Poll::Pending }
            };
            if self.wait(drained).await?.is_some() {
                break;
            }
        }
        self.parts.meter.spend(Spent::Blocked, since);
        Ok(())
    }

    /// The next step that is due for a checkpoint.
    pub(super) fn due(&mut self) -> Option<Due> {
        if self.is_held {
            return None;
        }
        let ChainParts { gate, outbounds, meter, .. } = &mut self.parts;
        // No waker is needed: `wait` registers its own.
        let mut context = Context::from_waker(std::task::Waker::noop());
        gate.due(&mut context, (meter.now(), self.stack.is_empty()), outbounds)
    }

    fn has_credit(&self) -> bool {
        self.parts.outbounds.iter().all(Outbound::is_ready)
    }

    fn full_writer(&self) -> Option<CollectWriter> {
        let writers = self.parts.vertices.iter().filter_map(|vertex| match &vertex.stage {
            Stage::Collect(writer) => Some(writer),
            Stage::Source | Stage::Enumerator(_) | Stage::Operator(_) | Stage::Sink(_) => None,
        });
        writers.into_iter().find(|writer| !writer.has_room()).cloned()
    }

    /// Whether a sink should be given no more rows before a checkpoint is complete. Once the next one has begun, those before its
    /// barrier are let through, or it could not come.
    fn has_full_sink(&self) -> bool {
        let known = self.parts.gate.outcomes();
        let is_full = |vertex: &Vertex| match &vertex.stage {
            Stage::Sink(sink) => sink.fill(known) == Fill::Full,
            Stage::Source | Stage::Enumerator(_) | Stage::Operator(_) | Stage::Collect(_) => false,
        };
        !self.is_held && !self.parts.gate.is_noticed() && self.parts.vertices.iter().any(is_full)
    }

    /// Polls for something while flushing all outputs. `None` if checkpoints or orders need attention first.
    async fn wait<T>(
        &mut self,
        mut poll: impl FnMut(&mut Gate, &[Outbound], &mut Context<'_>) -> Poll<Result<T, SubtaskError>>,
    ) -> Result<Option<T>, SubtaskError> {
        let Self { parts: ChainParts { outbounds, gate, meter, .. }, stack, is_held, .. } = self;
        let attends = !*is_held;
        let (is_settled, deadline, mut orders) = (stack.is_empty(), gate.deadline(), gate.orders());
        let ordered = async move {
            if orders.changed().await.is_err() {
                // The sender drops only when the attempt ends, and cancellation follows.
                pending::<()>().await;
            }
        };
        let (mut ordered, mut timer) =
            (pin!(ordered), pin!(passing(deadline.map(|at| at.saturating_sub(meter.now())))));
        poll_fn(|context| {
            for outbound in outbounds.iter_mut() {
                if let Poll::Ready(Err(error)) = outbound.poll_flush(context) {
                    return Poll::Ready(Err(error.into()));
                }
            }
            if attends
                && (ordered.as_mut().poll(context).is_ready()
                    || timer.as_mut().poll(context).is_ready()
                    || gate.due(context, (meter.now(), is_settled), outbounds).is_some()
                    || gate.deadline() != deadline)
            {
                return Poll::Ready(Ok(None));
            }
            poll(gate, outbounds, context).map_ok(Some)
        })
        .await
    }
}

fn have_processed(outbounds: &[Outbound], carried: &[Carried]) -> bool {
    outbounds.iter().zip(carried).all(|(outbound, carried)| outbound.has_processed(carried))
}

/// Completes after `left`; never if it is `None`.
pub(crate) async fn passing(left: Option<Duration>) {
    match left {
        Some(left) => tokio::time::sleep(left).await,
        None => pending().await,
    }
}

/// Runs a future while outputs are flushed.
pub(super) async fn flushing<T>(
    outbounds: &mut [Outbound],
    future: impl Future<Output = T>,
) -> Result<T, ExchangeError> {
    let mut future = pin!(future);
    poll_fn(|context| {
        for outbound in outbounds.iter_mut().filter(|outbound| !outbound.is_drained()) {
            if let Poll::Ready(Err(error)) = outbound.poll_flush(context) {
                return Poll::Ready(Err(error));
            }
        }
        future.as_mut().poll(context).map(Ok)
    })
    .await
}
