//! The coordinator of transactions: what it knows of one transactional id.
//!
//! ```text
//! Idle --first record--> Open --commit, abort, expiry, another producer's init--> Ending --marks are written--> Idle
//! ```
//!
//! An expiry and an init raise the epoch, by which the producer that was there before is fenced. Marks at the ends of transactions are
//! written at once, or after a delay, as with brokers: until then readers of committed records do not see the records.

use std::collections::BTreeSet;

use super::partition::Author;
use crate::TopicPartition;

/// What a call about transactions comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer<T> {
    Done(T),
    /// The last transaction of the id is still ending: the same may succeed later.
    NotYet,
    /// Another producer has the id.
    Fenced,
    /// There is no transaction to be ended that way.
    NoTransaction,
}

/// Partitions in which a transaction has ended, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) author: Author,
    pub(super) partitions: BTreeSet<TopicPartition>,
    pub(super) committed: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Transactional {
    producer: i64,
    epoch: i16,
    timeout_ms: u64,
    state: State,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    /// Whether the last transaction was committed, for a call that is repeated.
    Idle {
        committed: Option<bool>,
    },
    Open {
        since_ms: u64,
        partitions: BTreeSet<TopicPartition>,
    },
    Ending {
        due_ms: u64,
        marks: Marks,
    },
}

impl Transactional {
    /// Of an id that nobody has had yet.
    pub(super) fn new(producer: i64) -> Self {
        Self { producer, epoch: -1, timeout_ms: 0, state: State::Idle { committed: None } }
    }

    pub(super) fn author(&self) -> Author {
        Author { producer: self.producer, epoch: self.epoch, transactional: true }
    }

    /// A producer takes the id. What another has left open is aborted first. `spare` is a producer's id that nobody has.
    pub(super) fn init(&mut self, timeout_ms: u64, due_ms: u64, spare: i64) -> Answer<Author> {
        match self.state {
            State::Idle { .. } => {
                self.raise_epoch(spare);
                self.timeout_ms = timeout_ms;
                self.state = State::Idle { committed: None };
                Answer::Done(self.author())
            }
            State::Open { .. } => {
                self.abort_as_another(due_ms, spare);
                Answer::NotYet
            }
            State::Ending { .. } => Answer::NotYet,
        }
    }

    /// A record is written to a partition.
    pub(super) fn add(&mut self, author: Author, partition: &TopicPartition, now_ms: u64) -> Answer<()> {
        if author != self.author() {
            return Answer::Fenced;
        }
        match &mut self.state {
            State::Idle { .. } => {
                self.state = State::Open { since_ms: now_ms, partitions: BTreeSet::from([partition.clone()]) };
                Answer::Done(())
            }
            State::Open { partitions, .. } => {
                if !partitions.contains(partition) {
                    partitions.insert(partition.clone());
                }
                Answer::Done(())
            }
            State::Ending { .. } => Answer::NotYet,
        }
    }

    /// Commits or aborts. Once this is done, the outcome holds.
    pub(super) fn end(&mut self, author: Author, commit: bool, due_ms: u64) -> Answer<()> {
        if author != self.author() {
            return Answer::Fenced;
        }
        match &self.state {
            State::Open { partitions, .. } => {
                let marks = Marks { author, partitions: partitions.clone(), committed: commit };
                self.state = State::Ending { due_ms, marks };
                Answer::Done(())
            }
            // The call is repeated, since its first answer was lost.
            State::Ending { marks, .. } if marks.committed == commit => Answer::Done(()),
            State::Idle { committed: Some(committed) } if *committed == commit => Answer::Done(()),
            State::Ending { .. } | State::Idle { .. } => Answer::NoTransaction,
        }
    }

    /// Aborts what is open, as after its timeout. Returns whether something was.
    pub(super) fn expire(&mut self, due_ms: u64, spare: i64) -> bool {
        let is_open = self.is_open();
        if is_open {
            self.abort_as_another(due_ms, spare);
        }
        is_open
    }

    /// What is due: the end of a transaction by its timeout, then the marks at its end.
    pub(super) fn advance(&mut self, now_ms: u64, marks_delay_ms: u64, spare: i64) -> Option<Marks> {
        if self.due_ms().is_none_or(|due_ms| due_ms > now_ms) {
            return None;
        }
        self.expire(now_ms.saturating_add(marks_delay_ms), spare);
        match &self.state {
            State::Ending { due_ms, marks } if *due_ms <= now_ms => {
                let marks = marks.clone();
                self.state = State::Idle { committed: Some(marks.committed) };
                Some(marks)
            }
            State::Ending { .. } | State::Open { .. } | State::Idle { .. } => None,
        }
    }

    /// When `advance` has something to do.
    pub(super) fn due_ms(&self) -> Option<u64> {
        match &self.state {
            State::Idle { .. } => None,
            State::Open { since_ms, .. } => Some(since_ms.saturating_add(self.timeout_ms)),
            State::Ending { due_ms, .. } => Some(*due_ms),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// The transaction is aborted with a raised epoch, so that its producer can write nothing more.
    fn abort_as_another(&mut self, due_ms: u64, spare: i64) {
        let producer = self.producer;
        if let State::Open { partitions, .. } = &self.state {
            let partitions = partitions.clone();
            self.raise_epoch(spare);
            // Marks are those of the producer that wrote, even if the next one gets a new number.
            let epoch = if self.producer == producer { self.epoch } else { i16::MAX };
            let author = Author { producer, epoch, transactional: true };
            self.state = State::Ending { due_ms, marks: Marks { author, partitions, committed: false } };
        }
    }

    fn raise_epoch(&mut self, spare: i64) {
        match self.epoch.checked_add(1) {
            Some(epoch) => self.epoch = epoch,
            None => (self.producer, self.epoch) = (spare, 0),
        }
    }
}
