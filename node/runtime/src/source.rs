//! The actor of a source subtask: reads its splits and feeds rows and watermarks into its chain.
//!
//! ```text
//! Ready -- started --> reading -- all splits ended, or stopped --> end of input -> Finished, barriers still pass
//! ```
//!
//! Orders to start and stop are checked before every batch; the chain checks for those to begin a checkpoint.
//!
//! The watermark comes from `SplitWatermarks`. Rows of a replayed table are held back by a `Pacer`.

use std::{sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use thalweg_connectors::{DeadLetter, Read};
use thalweg_flow::SplitWatermarks;
use thalweg_types::{OperatorId, Watermark};
use tokio::sync::watch;

use crate::{
    chain::{Chain, passing},
    failure::SubtaskError,
    meter::{Meter, Spent},
    orders::AttemptOrders,
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
        self.meter.set_splits(self.readers.counts());
        // The watermark before the checkpoint still holds.
        let restored = self.watermarks.output();
        self.advance(Some(restored).filter(|watermark| *watermark > Watermark::MIN && !watermark.is_end())).await?;
        self.read().await?;
        // A source that was stopped ends like one that has read everything: the last watermark closes all windows,
        // and their output is published.
        let (chain, view) = self.parts();
        chain.feed(None, Some(Watermark::MAX), view).await?;
        chain.finish(view).await?;
        chain.attend_on(view).await
    }

    /// The chain, and the source's position.
    fn parts(&mut self) -> (&mut Chain, Option<SourceView<'_>>) {
        let Self { id, readers, watermarks, pacer, chain, .. } = self;
        let view = SourceView { id: *id, splits: readers.splits(), watermarks, pacer: pacer.as_ref() };
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
                Event::Over => return Ok(()),
                Event::Answered(Answered { split, read }) => self.on_answer(split, read).await?,
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
        let Self { readers, pacer, chain, table, .. } = self;
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
        if readers.is_over() && due.is_none() {
            return Ok(Event::Over);
        }
        let answer = std::future::poll_fn(|context| readers.poll_next(context, idle_since));
        let event = async {
            tokio::select! {
                biased;
                answer = answer => answer.map(Event::Answered),
                () = reached(due) => Ok(Event::Look),
                () = passing(look) => Ok(Event::Look),
            }
        };
        match chain.wait_for(event).await? {
            Some(event) => event.map_err(|source| SubtaskError::Connector { table: table.clone(), source }),
            None => Ok(Event::Orders),
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

    async fn on_answer(&mut self, split: usize, read: Read) -> Result<(), SubtaskError> {
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
            Read::Waiting => Ok(()),
            Read::End => {
                self.meter.set_splits(self.readers.counts());
                let grown = self.watermarks.on_finished(split);
                // The last watermark is sent once, after reading.
                self.advance(grown.filter(|watermark| !watermark.is_end())).await
            }
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
