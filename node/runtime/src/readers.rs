//! Reads the open splits of one source subtask, lowest watermark first.
//!
//! At most `Source::open_max` sequences are open, with one split each. When a split ends, the next one of its sequence
//! is opened. All open splits are polled in the order of their watermarks (in turn where these are equal), and the
//! first that is ready is served. A read stays pending while others are served, so no read is lost.
//!
//! Splits may be added at any time. Those of finished sequences are forgotten where an enumerator remembers them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use thalweg_connectors::{ConnectorError, LaterSplit, Read, Source, SplitReader, Successor};
use thalweg_types::{Split, SplitId, Watermark, checkpoint::SplitState};

use crate::meter::SplitCounts;

type Answer = (Box<dyn SplitReader>, Result<Read, ConnectorError>);
type Question = Pin<Box<dyn Future<Output = Result<Answer, ConnectorError>> + Send>>;

struct Open {
    /// Number of the split.
    split: usize,
    /// The splits that follow in the sequence.
    rest: VecDeque<usize>,
    question: Option<Question>,
    /// When it was last served; among equal watermarks the one served longest ago comes first.
    served: u64,
    watermark: Watermark,
    /// It has reported that it has nothing now, or its idle timeout has passed.
    idle: bool,
    /// Its records wait for decoding memory. This does not count as idle.
    waiting: bool,
    /// Since when a read is pending, on the caller's clock.
    asked_since: Option<Duration>,
}

/// A split's answer to a read.
#[derive(Debug)]
pub(crate) struct Answered {
    /// Number of the split.
    pub(crate) split: usize,
    pub(crate) read: Read,
    /// What goes on where the split has ended.
    pub(crate) successors: Vec<Successor>,
}

/// A split at the position after all that it gave.
pub(crate) struct PlacedSplit {
    pub(crate) id: SplitId,
    pub(crate) at: LaterSplit,
    pub(crate) state: SplitState,
}

/// The splits of one source subtask, numbered in the order in which they come.
pub(crate) struct Readers {
    source: Arc<dyn Source>,
    splits: BTreeMap<usize, PlacedSplit>,
    next_split: usize,
    /// How many splits have finished, also those that are forgotten; `next_split` counts all.
    finished: usize,
    /// Sequences that are not open yet.
    waiting: VecDeque<VecDeque<usize>>,
    open: Vec<Open>,
    /// Splits that are not read now, open or not.
    paused: BTreeSet<usize>,
    served: u64,
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Readers({} open, {} sequences waiting)", self.open.len(), self.waiting.len())
    }
}

impl Readers {
    /// Readers without splits.
    pub(crate) fn new(source: Arc<dyn Source>) -> Self {
        Self {
            source,
            splits: BTreeMap::new(),
            next_split: 0,
            finished: 0,
            waiting: VecDeque::new(),
            open: Vec::new(),
            paused: BTreeSet::new(),
            served: 0,
        }
    }

    /// Adds splits, which get the next numbers. Each of `sequences` lists numbers in reading order. Finished splits are not
    /// opened.
    pub(crate) fn add(&mut self, splits: Vec<(Split, SplitState)>, sequences: Vec<Vec<usize>>) {
        for (split, state) in splits {
            let id = split.id.clone();
            self.splits.insert(self.next_split, PlacedSplit { id, at: Arc::new(move || split.clone()), state });
            self.next_split += 1;
            self.finished += usize::from(state == SplitState::Finished);
        }
        let is_left = |split: &usize| self.splits[split].state != SplitState::Finished;
        let waiting = sequences.into_iter().map(|sequence| sequence.into_iter().filter(is_left).collect());
        self.waiting.extend(waiting);
        self.open_sequences();
    }

    /// The number of a split that has ended and is not forgotten.
    pub(crate) fn ended(&self, id: &SplitId) -> Option<usize> {
        let is_it = |(_, placed): &(&usize, &PlacedSplit)| placed.id == *id && placed.state == SplitState::Finished;
        self.splits.iter().find(is_it).map(|(split, _)| *split)
    }

    /// Forgets a finished split.
    pub(crate) fn forget(&mut self, split: usize) -> Option<PlacedSplit> {
        self.splits.remove(&split)
    }

    /// The table that is read.
    pub(crate) fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// The id of a split.
    pub(crate) fn id_of(&self, split: usize) -> &SplitId {
        &self.splits[&split].id
    }

    /// Every split that is not forgotten, by number.
    pub(crate) fn splits(&self) -> &BTreeMap<usize, PlacedSplit> {
        &self.splits
    }

    /// How many splits are where.
    pub(crate) fn counts(&self) -> SplitCounts {
        let waiting = self.next_split.saturating_sub(self.finished + self.open.len());
        SplitCounts { waiting: waiting as u64, open: self.open.len() as u64, finished: self.finished as u64 }
    }

    /// Whether every split has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    /// Ends the input here. Returns whether acknowledged records are still to be read; after them, `is_over` becomes
    /// true.
    pub(crate) fn stop(&self) -> bool {
        self.source.stop()
    }

    /// Sets the watermark of a split, which decides when it is served.
    pub(crate) fn set_watermark(&mut self, split: usize, watermark: Watermark) {
        if let Some(open) = self.find(split) {
            open.watermark = watermark;
        }
    }

    /// Stops or resumes reading a split, even one that is not open yet.
    pub(crate) fn set_paused(&mut self, split: usize, paused: bool) {
        if paused {
            self.paused.insert(split);
        } else {
            self.paused.remove(&split);
        }
    }

    /// Marks a split as idle until it gives records again.
    pub(crate) fn set_idle(&mut self, split: usize) {
        if let Some(open) = self.find(split) {
            open.idle = true;
        }
    }

    /// Whether some split must answer first: one that is neither paused, nor idle, nor waiting for memory.
    pub(crate) fn is_awaited(&self) -> bool {
        self.open.iter().any(|open| !self.paused.contains(&open.split) && !open.idle && !open.waiting)
    }

    /// The splits whose read has been pending since `moment` or earlier.
    pub(crate) fn idle_since(&self, moment: Duration) -> impl Iterator<Item = usize> + '_ {
        let is_idle = move |open: &&Open| open.asked_since.is_some_and(|since| since <= moment);
        self.open.iter().filter(is_idle).map(|open| open.split)
    }

    /// Polls the open splits. `now` is the start time of reads that become pending.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        now: Duration,
    ) -> Poll<Result<Answered, ConnectorError>> {
        self.open.sort_by_key(|open| (open.watermark, open.served));
        for at in 0..self.open.len() {
            if self.paused.contains(&self.open[at].split) {
                continue;
            }
            if let Poll::Ready(answer) = self.poll_one(at, context) {
                return Poll::Ready(self.on_answer(at, answer));
            }
            let open = &mut self.open[at];
            if !open.waiting {
                open.asked_since.get_or_insert(now);
            }
        }
        Poll::Pending
    }

    fn poll_one(&mut self, at: usize, context: &mut Context<'_>) -> Poll<Result<Answer, ConnectorError>> {
        let (source, open) = (&self.source, &mut self.open[at]);
        let split = &self.splits[&open.split].at;
        open.question.get_or_insert_with(|| open_split(source.clone(), split())).as_mut().poll(context)
    }

    fn on_answer(&mut self, at: usize, answer: Result<Answer, ConnectorError>) -> Result<Answered, ConnectorError> {
        let (reader, read) = answer?;
        let read = read?;
        self.served += 1;
        let open = &mut self.open[at];
        let split = open.split;
        (open.served, open.question) = (self.served, None);
        match read {
            // It is as silent as before.
            Read::CaughtUp => open.waiting = false,
            Read::Records { .. } | Read::Idle | Read::Waiting | Read::End => {
                open.asked_since = None;
                (open.idle, open.waiting) = (matches!(read, Read::Idle), matches!(read, Read::Waiting));
            }
        }
        let state = match read {
            Read::Records { .. } | Read::Idle | Read::Waiting | Read::CaughtUp => SplitState::Open,
            Read::End => SplitState::Finished,
        };
        self.finished += usize::from(state == SplitState::Finished);
        let successors = if state == SplitState::Finished { reader.successors() } else { Vec::new() };
        if let Some(placed) = self.splits.get_mut(&split) {
            (placed.at, placed.state) = (reader.later_position(), state);
        }
        match (&read, open.rest.pop_front_if(|_| matches!(read, Read::End))) {
            (Read::Records { .. } | Read::Idle | Read::Waiting | Read::CaughtUp, _) => {
                open.question = Some(ask(reader));
            }
            (Read::End, Some(next)) => open.split = next,
            (Read::End, None) => {
                self.open.remove(at);
                self.open_sequences();
            }
        }
        Ok(Answered { split, read, successors })
    }

    fn open_sequences(&mut self) {
        while self.open.len() < self.source.open_max()
            && let Some(mut rest) = self.waiting.pop_front()
        {
            let Some(split) = rest.pop_front() else { continue };
            let watermark = Watermark::MIN;
            let (question, served, asked_since) = (None, 0, None);
            let (idle, waiting) = (false, false);
            self.open.push(Open { split, rest, question, served, watermark, idle, waiting, asked_since });
        }
    }

    fn find(&mut self, split: usize) -> Option<&mut Open> {
        self.open.iter_mut().find(|open| open.split == split)
    }
}

fn open_split(source: Arc<dyn Source>, split: Split) -> Question {
    Box::pin(async move {
        let mut reader = source.open(&split).await?;
        let read = reader.next().await;
        Ok((reader, read))
    })
}

fn ask(mut reader: Box<dyn SplitReader>) -> Question {
    Box::pin(async move {
        let read = reader.next().await;
        Ok((reader, read))
    })
}
