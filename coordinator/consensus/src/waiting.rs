//! Callers that wait for an entry to be applied.
//!
//! An entry is identified by a number in its context that is unique within this incarnation of the member. A caller is
//! answered when its entry is applied. It is told that the outcome is unknown once this member no longer leads in the
//! term of the proposal: then another leader decides what becomes of the entry.

use std::{collections::BTreeMap, time::Duration};

use crate::consensus::{ConsensusError, Reply};

/// The most calls that wait at once. Further ones get `Busy`.
const CALLS_MAX: usize = 4096;

pub(crate) struct Waiting<T> {
    calls: BTreeMap<u64, Call<T>>,
}

struct Call<T> {
    term: u64,
    since: Duration,
    reply: Reply<T>,
}

impl<T> Waiting<T> {
    pub(crate) fn new() -> Self {
        Self { calls: BTreeMap::new() }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.calls.len() >= CALLS_MAX
    }

    pub(crate) fn insert(&mut self, (number, term): (u64, u64), since: Duration, reply: Reply<T>) {
        self.calls.insert(number, Call { term, since, reply });
    }

    /// Answers the caller of an entry, if one waits; gives since when it did.
    pub(crate) fn answer(&mut self, number: u64, outcome: Result<T, ConsensusError>) -> Option<Duration> {
        let Call { since, reply, .. } = self.calls.remove(&number)?;
        // A caller that went away needs no answer.
        let _ = reply.send(outcome);
        Some(since)
    }

    /// Tells callers that their outcome is unknown, unless this member still leads in the term of their entry.
    pub(crate) fn drop_but(&mut self, leading: Option<u64>) {
        let lost: Vec<u64> =
            self.calls.iter().filter(|(_, call)| Some(call.term) != leading).map(|(number, _)| *number).collect();
        for number in lost {
            self.answer(number, Err(ConsensusError::Dropped));
        }
    }
}
