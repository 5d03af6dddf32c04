//! The answers to the orders of one session. An order that is sent again gets the same answer.

use std::collections::BTreeMap;

/// The most answers that are remembered. A leader leaves fewer orders unacknowledged, so a forgotten answer has
/// arrived.
const ANSWERS_MAX: usize = 4096;

/// Answers by the order's sequence number.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Answers {
    given: BTreeMap<u64, Option<String>>,
    /// Orders up to this one were answered, and their answers forgotten.
    forgotten: Option<u64>,
}

impl Answers {
    /// The answer to an order: `None` if the order is new, otherwise why it was refused, if it was.
    pub(super) fn given(&self, sequence: u64) -> Option<Option<String>> {
        if self.forgotten.is_some_and(|forgotten| sequence <= forgotten) {
            return Some(Some("it was answered before".to_owned()));
        }
        self.given.get(&sequence).cloned()
    }

    pub(super) fn remember(&mut self, sequence: u64, refused: Option<String>) {
        self.given.insert(sequence, refused);
        if self.given.len() > ANSWERS_MAX {
            self.forgotten = self.given.pop_first().map(|(sequence, _)| sequence);
        }
    }
}
