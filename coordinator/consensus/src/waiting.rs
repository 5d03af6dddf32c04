//! Callers who wait for an entry to be applied.
//!
//! An entry is known by a number in its context that no other entry of this life of the member carries. A caller is
//! answered when its entry is applied, or told that the outcome is unknown as soon as the term in which the entry was
//! proposed is over for this member: from then on another leader decides what becomes of it.

use std::collections::BTreeMap;

use crate::consensus::{ConsensusError, Reply};

/// The most calls that wait at once: what is beyond is told to come back.
const CALLS_MAX: usize = 4096;

pub(crate) struct Waiting<T> {
    calls: BTreeMap<u64, Call<T>>,
}

struct Call<T> {
    term: u64,
    reply: Reply<T>,
}

impl<T> Waiting<T> {
    pub(crate) fn new() -> Self {
        Self { calls: BTreeMap::new() }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.calls.len() >= CALLS_MAX
    }

    pub(crate) fn insert(&mut self, number: u64, term: u64, reply: Reply<T>) {
        self.calls.insert(number, Call { term, reply });
    }

    /// Answers the caller of an entry, if one waits.
    pub(crate) fn answer(&mut self, number: u64, outcome: Result<T, ConsensusError>) {
        if let Some(call) = self.calls.remove(&number) {
            // A caller that went away needs no answer.
            let _ = call.reply.send(outcome);
        }
    }

    /// Tells those of other terms than the one that this member leads in, if it does, that their outcome is unknown.
    pub(crate) fn drop_but(&mut self, leading: Option<u64>) {
        let lost: Vec<u64> =
            self.calls.iter().filter(|(_, call)| Some(call.term) != leading).map(|(number, _)| *number).collect();
        for number in lost {
            self.answer(number, Err(ConsensusError::Dropped));
        }
    }
}
