//! The open splits of one source subtask, read lowest watermark first.
//!
//! At most `SEQUENCES_MAX` sequences are open, one split of each: the next split of a sequence is opened when the one
//! before it has ended. All open splits are asked, in the order of their watermarks (and in turn where they are equal);
//! the first that has something is served. A question stays open while others are served, so nothing is asked twice.

use std::{
    collections::{BTreeSet, VecDeque},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use thalweg_connectors::{ConnectorError, LaterSplit, Read, Source, SplitReader};
use thalweg_types::{Split, SplitId, Watermark, checkpoint::SplitState};

/// How many sequences are read at once: enough for a directory of files that interleave in time, few enough that their
/// readers' buffers stay small beside a batch's.
const SEQUENCES_MAX: usize = 32;

type Answer = (Box<dyn SplitReader>, Result<Read, ConnectorError>);
type Question = Pin<Box<dyn Future<Output = Result<Answer, ConnectorError>> + Send>>;

struct Open {
    /// Index of the split.
    split: usize,
    /// What is left of the sequence, in order.
    rest: VecDeque<usize>,
    question: Option<Question>,
    /// Served least often first among equal watermarks.
    served: u64,
    watermark: Watermark,
    /// It has said, or is taken to have shown by its silence, that there is nothing now.
    idle: bool,
    /// It has said that its records wait for memory, which is no silence.
    waiting: bool,
    /// Since when it has been asked without an answer, on the clock that the caller keeps.
    asked_since: Option<Duration>,
}

/// What a split answered.
#[derive(Debug)]
pub(crate) struct Answered {
    /// Index of the split.
    pub(crate) split: usize,
    /// What it gave.
    pub(crate) read: Read,
}

/// The splits of one source subtask.
pub(crate) struct Readers {
    source: Arc<dyn Source>,
    ids: Vec<SplitId>,
    /// Each at the position behind all that it gave.
    splits: Vec<(LaterSplit, SplitState)>,
    /// Sequences that are not open yet.
    waiting: VecDeque<VecDeque<usize>>,
    open: Vec<Open>,
    /// Splits that are not asked, open or not.
    paused: BTreeSet<usize>,
    served: u64,
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Readers({} open, {} sequences waiting)", self.open.len(), self.waiting.len())
    }
}

impl Readers {
    /// Of these splits; `sequences` are their indexes in reading order. What is finished is not opened.
    pub(crate) fn new(source: Arc<dyn Source>, splits: Vec<(Split, SplitState)>, sequences: Vec<Vec<usize>>) -> Self {
        let is_left = |index: &usize| splits[*index].1 != SplitState::Finished;
        let waiting = sequences.into_iter().map(|sequence| sequence.into_iter().filter(is_left).collect()).collect();
        let ids = splits.iter().map(|(split, _)| split.id.clone()).collect();
        let at = |(split, state): (Split, SplitState)| -> (LaterSplit, SplitState) {
            (Arc::new(move || split.clone()), state)
        };
        let splits = splits.into_iter().map(at).collect();
        let mut readers = Self { source, ids, splits, waiting, open: Vec::new(), paused: BTreeSet::new(), served: 0 };
        readers.open_sequences();
        readers
    }

    /// The name of a split.
    pub(crate) fn id_of(&self, split: usize) -> &SplitId {
        &self.ids[split]
    }

    /// Every split at its position, in the order in which they were given.
    pub(crate) fn splits(&self) -> &[(LaterSplit, SplitState)] {
        &self.splits
    }

    /// Whether every split has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    /// The input ends here. Gives whether what was promised is still to be read; then `is_over` comes by itself.
    pub(crate) fn stop(&self) -> bool {
        self.source.stop()
    }

    /// Tells how far a split is, which decides when it is served.
    pub(crate) fn set_watermark(&mut self, split: usize, watermark: Watermark) {
        if let Some(open) = self.find(split) {
            open.watermark = watermark;
        }
    }

    /// Stops or resumes asking a split, also one that is not open yet.
    pub(crate) fn set_paused(&mut self, split: usize, paused: bool) {
        if paused {
            self.paused.insert(split);
        } else {
            self.paused.remove(&split);
        }
    }

    /// A split is not waited for until it gives records again.
    pub(crate) fn set_idle(&mut self, split: usize) {
        if let Some(open) = self.find(split) {
            open.idle = true;
        }
    }

    /// Whether an answer is due of any split: one that is not paused, nor without records or memory now.
    pub(crate) fn is_awaited(&self) -> bool {
        self.open.iter().any(|open| !self.paused.contains(&open.split) && !open.idle && !open.waiting)
    }

    /// The splits that have been asked since before this moment without an answer.
    pub(crate) fn silent_since(&self, moment: Duration) -> impl Iterator<Item = usize> + '_ {
        let is_silent = move |open: &&Open| open.asked_since.is_some_and(|since| since <= moment);
        self.open.iter().filter(is_silent).map(|open| open.split)
    }

    /// Asks the open splits; `now` is when an unanswered question begins to count.
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
        let (split, _) = &self.splits[open.split];
        open.question.get_or_insert_with(|| open_split(source.clone(), split())).as_mut().poll(context)
    }

    fn on_answer(&mut self, at: usize, answer: Result<Answer, ConnectorError>) -> Result<Answered, ConnectorError> {
        let (reader, read) = answer?;
        let read = read?;
        self.served += 1;
        let open = &mut self.open[at];
        let split = open.split;
        (open.served, open.asked_since, open.question) = (self.served, None, None);
        (open.idle, open.waiting) = (matches!(read, Read::Idle), matches!(read, Read::Waiting));
        self.splits[split] = match read {
            Read::Records { .. } | Read::Idle | Read::Waiting => (reader.later_position(), SplitState::Open),
            Read::End => (reader.later_position(), SplitState::Finished),
        };
        match (&read, open.rest.pop_front_if(|_| matches!(read, Read::End))) {
            (Read::Records { .. } | Read::Idle | Read::Waiting, _) => open.question = Some(ask(reader)),
            (Read::End, Some(next)) => open.split = next,
            (Read::End, None) => {
                self.open.remove(at);
                self.open_sequences();
            }
        }
        Ok(Answered { split, read })
    }

    fn open_sequences(&mut self) {
        while self.open.len() < SEQUENCES_MAX
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
