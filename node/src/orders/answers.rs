//! The answers to the orders of one session, to be given again when an order is sent again.

use std::collections::BTreeMap;

/// More than a leader leaves unacknowledged; an older order that comes again was answered as taken or refused long ago.
const ANSWERS_MAX: usize = 4096;

/// Answers by the order's sequence.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Answers {
    given: BTreeMap<u64, Option<String>>,
    /// Orders up to this one were answered, and the answers forgotten.
    forgotten: Option<u64>,
}

impl Answers {
    /// What was answered: `None` where the order is new, else why it was refused, where it was.
    pub(super) fn given(&self, sequence: u64) -> Option<Option<String>> {
        if self.forgotten.is_some_and(|forgotten| sequence <= forgotten) {
            return Some(Some("it was answered before".to_owned()));
        }
        self.given.get(&sequence).cloned()
    }

    /// Remembers an answer.
    pub(super) fn remember(&mut self, sequence: u64, refused: Option<String>) {
        self.given.insert(sequence, refused);
        if self.given.len() > ANSWERS_MAX {
            self.forgotten = self.given.pop_first().map(|(sequence, _)| sequence);
        }
    }
}
