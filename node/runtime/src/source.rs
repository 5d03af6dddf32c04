//! The actor of a source subtask: reads its splits and feeds rows and watermarks into its chain.
//!
//! ```text
//! Ready -- started --> reading -- all splits ended, or stopped --> end of input -> Finished, barriers still pass
//! ```
//!
//! Orders to start and stop are checked before every batch; the chain checks for those to begin a checkpoint.
//!
//! The watermark comes from `SplitWatermarks`. Rows of a replayed table are held back by a `Pacer`.
//!
//! Where an enumerator assigns the splits (`Assigned`), they are the rows of the subtask's only input. The barrier comes by
//! that input, too, and not by order: so a split is assigned on the same side of it here and in the enumerator's memory.
//!
//! Where splits follow one another (`ends`), one that has ended stays in the position until the enumerator has taken note of
//! that, and holds the watermark until what follows is assigned: those rows may be as early as its last ones. What follows
//! begins here, at once, if all before it have ended here. Otherwise it is assigned to the subtask whose end holds the lowest
//! watermark. A split that ends is not idle, even if it was silent before.

use std::{collections::VecDeque, future::pending, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use thalweg_connectors::{DeadLetter, Read, Successor};
use thalweg_exchange::{Carried, Element};
use thalweg_flow::{Alignment, SplitWatermarks};
use thalweg_types::{
    OperatorId, Split, Watermark,
    bug::{self, Bug},
    checkpoint::{SplitProgress, SplitState},
};
use tokio::sync::watch;

use crate::{
    assignment,
    attempt_orders::AttemptOrders,
    chain::{Came, Chain, passing},
    failure::SubtaskError,
    gate::Returned,
    meter::{Meter, Spent},
    pacing::{Due, Pacer},
    portion::Portion,
    readers::{Answered, Readers},
    replay::ReplayClock,
    source_view::SourceView,
    stamp::{Stamp, Stamped},
};

/// How often a source measures how long its rows take to the sinks.
const MARKED_EVERY: Duration = Duration::from_secs(1);

/// The state of the actor.
pub(crate) struct SourceSubtask {
    pub(crate) id: OperatorId,
    pub(crate) table: String,
    pub(crate) readers: Readers,
    pub(crate) watermarks: SplitWatermarks,
    /// `None`: all splits are known from the beginning.
    pub(crate) assigned: Option<Assigned>,
    pub(crate) stamp: Stamp,
    /// How many rows are stamped at a time.
    pub(crate) portion: Portion,
    pub(crate) pacer: Option<Pacer>,
    pub(crate) idle_timer: IdleTimer,
    /// When the last marker was sent.
    pub(crate) marked: Duration,
    pub(crate) orders: watch::Receiver<AttemptOrders>,
    pub(crate) chain: Chain,
    pub(crate) meter: Arc<Meter>,
}

/// While more splits wait than this, the credit of assignments is kept back. It bounds what positions hold of them.
const WAITING_MAX: u64 = 1000;

/// What a subtask keeps that an enumerator assigns splits to.
#[derive(Debug, Default)]
pub(crate) struct Assigned {
    /// Whether splits follow one another, so that the enumerator awaits their ends.
    holds_ends: bool,
    /// Of the finished splits that are forgotten, the one with the greatest watermark.
    reached: Option<SplitProgress>,
    /// Whether all that there was is assigned.
    is_settled: bool,
    owed: Option<Owed>,
    /// Credit that is kept back while many splits wait.
    withheld: VecDeque<(usize, u64)>,
    /// Whether nothing will be assigned any more.
    is_over: bool,
    /// Whether the subtask has finished.
    has_finished: bool,
}

impl Assigned {
    pub(crate) fn new(holds_ends: bool) -> Self {
        Self { holds_ends, ..Self::default() }
    }
}

/// Credit of assignments, which is returned once the receivers have processed what was sent by then.
#[derive(Debug)]
struct Owed {
    carried: Vec<Carried>,
    /// Channels and bytes. The window of the channel bounds them.
    credit: Vec<(usize, u64)>,
}

/// When to check for splits whose idle timeout has passed. It goes by the clock alone, however busy other splits are.
#[derive(Debug)]
pub(crate) struct IdleTimer {
    timeout: Option<Duration>,
    /// The time of the last check.
    looked: Duration,
}

impl IdleTimer {
    /// Creates the timer of a table with this idle timeout.
    pub(crate) fn new(timeout: Option<Duration>, now: Duration) -> Self {
        Self { timeout, looked: now }
    }

    /// The time left until the next check; `None` if there is no timeout.
    fn left(&self, now: Duration) -> Option<Duration> {
        // A check every quarter of the timeout notices an idle split soon enough.
        let step = (self.timeout? / 4).max(Duration::from_millis(1));
        Some((self.looked + step).saturating_sub(now))
    }

    /// Returns the timeout if a check is due.
    fn take_due(&mut self, now: Duration) -> Option<Duration> {
        if !self.left(now)?.is_zero() {
            return None;
        }
        self.looked = now;
        self.timeout
    }
}

enum Event {
    /// Orders may have changed.
    Orders,
    /// A reader has answered.
    Answered(Answered),
    /// The input has given something.
    Element(usize, Element),
    /// The receivers have processed what the owed credit waits for.
    Processed,
    /// A check is due, of idle splits or of held rows.
    Look,
    /// Held rows are due.
    Due { split: usize, batch: RecordBatch, emptied: bool },
    /// Nothing is left to read.
    Over,
}

impl SourceSubtask {
    /// Runs until it is cancelled or fails.
    pub(crate) async fn run(mut self) -> Result<(), SubtaskError> {
        if self.orders.wait_for(|orders| orders.started || orders.stopped).await.is_err() {
            // The sender drops only when the attempt ends. This is not the end of input: cancellation follows.
            std::future::pending::<()>().await;
        }
        while let Some(Returned { rows, .. }) = self.chain.gate().next_returned() {
            self.take(&rows)?;
        }
        self.meter.set_splits(self.readers.counts());
        if self.holds_ends() && self.readers.counts().finished > 0 {
            self.chain.want_checkpoint();
        }
        // The watermark before the checkpoint still holds.
        let restored = self.watermarks.output();
        self.advance(Some(restored).filter(|watermark| *watermark > Watermark::MIN && !watermark.is_end())).await?;
        self.read().await?;
        // A source that was stopped ends like one that has read everything: the last watermark closes all windows,
        // and their output is published.
        let (chain, view) = self.parts();
        chain.feed(None, Some(Watermark::MAX), view).await?;
        chain.finish(view).await?;
        if self.assigned.is_none() {
            let (chain, view) = self.parts();
            return chain.attend_on(view).await;
        }
        self.attend_assigned_on().await
    }

    /// Attends to what comes by the input until the attempt ends: barriers, and splits that nobody reads any more, which
    /// are part of checkpoints all the same.
    async fn attend_assigned_on(&mut self) -> Result<(), SubtaskError> {
        if let Some(assigned) = &mut self.assigned {
            assigned.has_finished = true;
        }
        loop {
            let (chain, view) = self.parts();
            chain.attend(view).await?;
            self.release_owed();
            let since = self.meter.now();
            let came = self.chain.wait_for_input(None, pending::<()>()).await?;
            self.meter.spend(Spent::Idle, since);
            if let Some(Came::Element(channel, element)) = came {
                self.on_element(channel, element).await?;
            }
        }
    }

    /// The chain, and the source's position.
    fn parts(&mut self) -> (&mut Chain, Option<SourceView<'_>>) {
        let Self { id, readers, watermarks, assigned, pacer, chain, .. } = self;
        let reached = assigned.as_ref().and_then(|assigned| assigned.reached.as_ref());
        let view = SourceView { id: *id, splits: readers.splits(), reached, watermarks, pacer: pacer.as_ref() };
        (chain, Some(view))
    }

    async fn read(&mut self) -> Result<(), SubtaskError> {
        loop {
            let (chain, view) = self.parts();
            chain.ready(view).await?;
            chain.take_turn().await;
            // A `LIMIT` in the chain has all its rows.
            if chain.is_satisfied() {
                return Ok(());
            }
            self.mark().await?;
            let is_stopped = self.orders.borrow().stopped;
            // A source with acknowledged records (ingest over HTTP) gives them all before it ends.
            if is_stopped && !self.readers.stop() {
                return Ok(());
            }
            let waiting = self.meter.now();
            let event = self.next_event().await?;
            let taken = self.meter.spend(Spent::Idle, waiting);
            let blocked = self.meter.blocked();
            match event {
                Event::Orders | Event::Look => {}
                Event::Element(channel, element) => self.on_element(channel, element).await?,
                Event::Processed => self.release_owed(),
                Event::Over => return Ok(()),
                Event::Answered(answered) => self.on_answer(answered).await?,
                Event::Due { split, batch, emptied } => {
                    self.readers.set_paused(split, !emptied);
                    self.on_rows(split, batch).await?;
                }
            }
            self.mark_idle_splits().await?;
            self.meter.spend(Spent::Busy, taken + self.meter.blocked().saturating_sub(blocked));
        }
    }

    async fn next_event(&mut self) -> Result<Event, SubtaskError> {
        let idle_since = self.idle_time();
        let look = self.idle_timer.left(self.meter.now());
        let Self { readers, assigned, pacer, chain, table, .. } = self;
        let due = match pacer {
            // A split that may still give earlier rows is waited for.
            Some(pacer) if !readers.is_awaited() => {
                pacer.tell_first();
                match pacer.due() {
                    Due::Rows { split, batch, emptied } => return Ok(Event::Due { split, batch, emptied }),
                    Due::At(micros) => Some((pacer.clock().clone(), micros)),
                    Due::Nothing => None,
                }
            }
            _ => None,
        };
        if readers.is_over() && due.is_none() && assigned.as_ref().is_none_or(|assigned| assigned.is_over) {
            return Ok(Event::Over);
        }
        let owed = assigned.as_ref().and_then(|assigned| Some(assigned.owed.as_ref()?.carried.as_slice()));
        let answer = std::future::poll_fn(|context| readers.poll_next(context, idle_since));
        let event = async {
            tokio::select! {
                biased;
                answer = answer => answer.map(Event::Answered),
                () = reached(due) => Ok(Event::Look),
                () = passing(look) => Ok(Event::Look),
            }
        };
        match chain.wait_for_input(owed, event).await? {
            Some(Came::Done(event)) => event.map_err(|source| SubtaskError::Connector { table: table.clone(), source }),
            Some(Came::Element(channel, element)) => Ok(Event::Element(channel, element)),
            Some(Came::Processed) => Ok(Event::Processed),
            None => Ok(Event::Orders),
        }
    }

    async fn on_element(&mut self, channel: usize, element: Element) -> Result<(), SubtaskError> {
        let has_finished = self.assigned.as_ref().is_some_and(|assigned| assigned.has_finished);
        match element {
            Element::Batch { batch, cost } => {
                self.take(&batch)?;
                if has_finished {
                    self.chain.gate().release(channel, cost);
                    return Ok(());
                }
                self.on_assigning(channel, cost)?;
            }
            Element::Idle if !has_finished => {
                if let Some(assigned) = &mut self.assigned {
                    assigned.is_settled = true;
                }
                let grown = self.watermarks.on_settled();
                self.advance(grown).await?;
            }
            Element::End if !has_finished => {
                let is_settled = self.assigned.as_mut().is_some_and(|assigned| {
                    assigned.is_over = true;
                    assigned.is_settled
                });
                // Before all is settled some receiver may not know who is active. The last watermark follows anyway.
                let grown = if is_settled { self.watermarks.on_no_more() } else { None };
                // The last watermark is sent once, after reading.
                self.advance(grown.filter(|watermark| !watermark.is_end())).await?;
            }
            Element::Barrier(barrier) => {
                let now = self.meter.now();
                match self.chain.gate().on_barrier(channel, barrier, now)? {
                    Alignment::Complete(checkpoint) => {
                        let (chain, view) = self.parts();
                        chain.pass_barrier(checkpoint, view).await?;
                    }
                    Alignment::Pending | Alignment::Ignored => {}
                }
            }
            // An enumerator has no watermark of its own.
            Element::Idle | Element::End | Element::Watermark(_) | Element::Marker(_) => {}
        }
        Ok(())
    }

    /// Takes splits that were assigned.
    fn take(&mut self, rows: &RecordBatch) -> Result<(), SubtaskError> {
        let mut progress = assignment::decode(rows).map_err(|reason| SubtaskError::Assignment { reason })?;
        self.watermarks.on_assigning();
        if self.holds_ends() {
            let (settled, new): (Vec<_>, Vec<_>) =
                progress.into_iter().partition(|progress| progress.state == SplitState::Finished);
            settled.iter().for_each(|progress| self.release_end(progress));
            progress = new;
        }
        self.add(progress);
        self.meter.set_splits(self.readers.counts());
        Ok(())
    }

    /// Whether the ends of splits are held until the enumerator knows them.
    fn holds_ends(&self) -> bool {
        self.assigned.as_ref().is_some_and(|assigned| assigned.holds_ends)
    }

    /// The enumerator has taken note of the end of a split, and all that follows is assigned. Another subtask may hold it.
    fn release_end(&mut self, progress: &SplitProgress) {
        let Some(split) = self.readers.ended(&progress.split.id) else { return };
        // The output stays where it is while splits are assigned.
        let _ = self.watermarks.on_finished(split);
        self.forget(split);
    }

    /// Adds splits. Those that an enumerator remembers are forgotten where they are finished.
    pub(crate) fn add(&mut self, progress: Vec<SplitProgress>) {
        if self.holds_ends() {
            return self.add_following(progress);
        }
        let sequences = self.watermarks.add(&progress);
        let splits: Vec<(Split, _)> = progress.into_iter().map(|progress| (progress.split, progress.state)).collect();
        let added: Vec<usize> = sequences.iter().filter_map(|sequence| sequence.last().copied()).collect();
        self.readers.add(splits, sequences);
        added.into_iter().for_each(|split| self.forget_finished(split));
    }

    /// Adds splits of which those that have ended still hold the watermark.
    fn add_following(&mut self, mut progress: Vec<SplitProgress>) {
        if bug::is_active(Bug::ForgetSplitEnd) {
            progress.retain(|progress| progress.state != SplitState::Finished);
        }
        let open = |progress: &SplitProgress| {
            let is_idle = progress.is_idle && progress.state != SplitState::Finished;
            SplitProgress { state: SplitState::Open, is_idle, ..progress.clone() }
        };
        let sequences = self.watermarks.add(&progress.iter().map(open).collect::<Vec<_>>());
        let splits: Vec<(Split, _)> = progress.into_iter().map(|progress| (progress.split, progress.state)).collect();
        self.readers.add(splits, sequences);
    }

    /// A split has ended. What follows it is read here if all before that have ended here; if not all does, the end waits for a
    /// checkpoint.
    async fn on_end(&mut self, split: usize, successors: Vec<Successor>) -> Result<(), SubtaskError> {
        self.meter.set_splits(self.readers.counts());
        if !self.holds_ends() {
            let grown = self.watermarks.on_finished(split);
            self.forget_finished(split);
            self.release_withheld();
            // The last watermark is sent once, after reading.
            return self.advance(grown.filter(|watermark| !watermark.is_end())).await;
        }
        let all = successors.len();
        let here = successors.into_iter().filter(|next| next.after.iter().all(|id| self.readers.ended(id).is_some()));
        let here: Vec<SplitProgress> = here.map(|next| SplitProgress::unread(next.split)).collect();
        let goes_on_here = all > 0 && here.len() == all;
        // Before the end lets go of the watermark, and with nothing awaited in between: the end and what follows it are on one
        // side of a barrier.
        self.add(here);
        let grown = if goes_on_here { self.watermarks.on_finished(split) } else { self.watermarks.on_held(split) };
        if !goes_on_here {
            self.chain.want_checkpoint();
        }
        self.meter.set_splits(self.readers.counts());
        self.advance(grown.filter(|watermark| !watermark.is_end())).await
    }

    /// Forgets the sequence of a split if it is finished, and the enumerator remembers it.
    fn forget_finished(&mut self, split: usize) {
        if !self.holds_ends() {
            self.forget(split);
        }
    }

    fn forget(&mut self, split: usize) {
        let Some(assigned) = &mut self.assigned else { return };
        for (split, watermark) in self.watermarks.forget_finished(split) {
            let Some(placed) = self.readers.forget(split) else { continue };
            if assigned.reached.as_ref().is_none_or(|reached| watermark > reached.watermark) {
                let (split, state) = ((placed.at)(), placed.state);
                assigned.reached = Some(SplitProgress { split, state, watermark, is_idle: false, held: Vec::new() });
            }
        }
    }

    /// The enumerator assigns splits. If it had settled, this subtask may be idle for its receivers: the credit goes back
    /// when they have processed that it is not.
    fn on_assigning(&mut self, channel: usize, cost: u64) -> Result<(), SubtaskError> {
        let Some(assigned) = &mut self.assigned else { return Ok(()) };
        if std::mem::take(&mut assigned.is_settled) {
            self.chain.set_idle(false)?;
            let carried = self.chain.probe()?;
            assigned.owed = Some(Owed { carried, credit: Vec::new() });
        }
        match &mut assigned.owed {
            Some(owed) => owed.credit.push((channel, cost)),
            None => assigned.withheld.push_back((channel, cost)),
        }
        self.release_withheld();
        Ok(())
    }

    fn release_owed(&mut self) {
        let Some(assigned) = &mut self.assigned else { return };
        assigned.withheld.extend(assigned.owed.take().into_iter().flat_map(|owed| owed.credit));
        self.release_withheld();
    }

    /// Returns credit of assignments, unless many splits wait already: what is not assigned yet, the next listing finds.
    fn release_withheld(&mut self) {
        let Some(assigned) = &mut self.assigned else { return };
        if assigned.has_finished || self.readers.counts().waiting <= WAITING_MAX {
            assigned.withheld.drain(..).for_each(|(channel, cost)| self.chain.gate().release(channel, cost));
        }
    }

    /// Sends a marker now and then, while there is something to do: where no rows go, none takes any time.
    async fn mark(&mut self) -> Result<(), SubtaskError> {
        let now = self.meter.now();
        if now.saturating_sub(self.marked) < MARKED_EVERY {
            return Ok(());
        }
        self.marked = now;
        let marker = self.meter.marker();
        let (chain, view) = self.parts();
        chain.mark(marker, view).await
    }

    async fn on_answer(&mut self, Answered { split, read, successors }: Answered) -> Result<(), SubtaskError> {
        match read {
            Read::Records { batch, dead_letters } => {
                self.write_dead_letters(&dead_letters).await?;
                self.meter.count_in(&batch);
                match &mut self.pacer {
                    Some(pacer) if batch.num_rows() > 0 => {
                        let held = pacer.hold(split, batch);
                        held.map_err(|source| self.stamp.failed("read the replay column", source))?;
                        self.readers.set_paused(split, true);
                        Ok(())
                    }
                    _ => self.on_rows(split, batch).await,
                }
            }
            Read::Idle => {
                let grown = self.watermarks.on_idle(split);
                self.advance(grown).await
            }
            // The read stays pending.
            Read::Waiting | Read::CaughtUp => Ok(()),
            Read::End => self.on_end(split, successors).await,
        }
    }

    async fn on_rows(&mut self, split: usize, batch: RecordBatch) -> Result<(), SubtaskError> {
        let (mut rest, mut rows, mut watermark) = (Some(batch), None, None);
        while let Some(batch) = rest.take() {
            let stamped;
            (stamped, rest) = self.stamp_some(split, batch).await?;
            self.write_dead_letters(&stamped.dead_letters).await?;
            if !stamped.failed.is_empty() {
                self.chain.write_failed_rows(stamped.failed).await?;
            }
            watermark = watermark.max(stamped.watermark);
            if rest.is_none() {
                rows = Some(stamped.rows);
            } else {
                self.chain.set_idle(false)?;
                self.chain.feed_part(stamped.rows).await?;
                self.chain.take_turn().await;
            }
        }
        let mut grown = self.watermarks.on_active(split);
        if let Some(watermark) = watermark {
            grown = self.watermarks.on_watermark(split, watermark).or(grown);
            self.readers.set_watermark(split, self.watermarks.sequence_watermark(split));
        }
        let rows = rows.filter(|rows| rows.num_rows() > 0).map(|rows| (0, rows));
        let is_idle = self.watermarks.is_idle();
        // Nothing may be awaited before this: rows that are read and not in the chain would be missing from a
        // checkpoint taken meanwhile.
        let (chain, view) = self.parts();
        chain.set_idle(is_idle)?;
        chain.feed(rows, grown, view).await
    }

    /// Stamps the first portion of a batch, and returns the rest.
    async fn stamp_some(
        &mut self,
        split: usize,
        batch: RecordBatch,
    ) -> Result<(Stamped, Option<RecordBatch>), SubtaskError> {
        let takes_dead_letters = self.chain.takes_dead_letters();
        loop {
            let (part, rest) = self.portion.cut(batch.clone());
            let (rows, began) = (part.num_rows(), self.meter.now());
            let stamped = self.stamp.stamp(self.readers.id_of(split), part, takes_dead_letters);
            if rows > 1 && stamped.as_ref().is_err_and(SubtaskError::asks_for_fewer_rows) {
                self.portion.was_too_much(rows);
                self.chain.take_turn().await;
                continue;
            }
            self.portion.took(rows, self.meter.now().saturating_sub(began));
            return Ok((stamped?, rest));
        }
    }

    async fn mark_idle_splits(&mut self) -> Result<(), SubtaskError> {
        let Some(timeout) = self.idle_timer.take_due(self.meter.now()) else { return Ok(()) };
        let Some(moment) = self.idle_time().checked_sub(timeout) else { return Ok(()) };
        let idle: Vec<usize> = self.readers.idle_since(moment).collect();
        for split in idle {
            self.readers.set_idle(split);
            let grown = self.watermarks.on_idle(split);
            self.advance(grown).await?;
        }
        Ok(())
    }

    async fn advance(&mut self, grown: Option<Watermark>) -> Result<(), SubtaskError> {
        if grown.is_some() {
            let (chain, view) = self.parts();
            chain.feed(None, grown, view).await?;
        }
        self.chain.set_idle(self.watermarks.is_idle())
    }

    async fn write_dead_letters(&mut self, dead_letters: &[DeadLetter]) -> Result<(), SubtaskError> {
        if dead_letters.is_empty() {
            return Ok(());
        }
        self.meter.count_dead_letters(dead_letters.len());
        self.chain.write_dead_letters(dead_letters).await
    }

    /// A clock that stops while this subtask waits for credit: a split that could not be read is not idle.
    fn idle_time(&self) -> Duration {
        self.meter.now().saturating_sub(self.meter.blocked())
    }
}

/// Completes when the clock may have reached the time; never if no rows are held.
async fn reached(due: Option<(Arc<ReplayClock>, i64)>) {
    match due {
        Some((clock, micros)) => clock.wait_for(micros).await,
        None => std::future::pending().await,
    }
}
