//! Linearizable reads in progress.
//!
//! ```text
//!   waiting --ask--> asked --read index--> confirmed --applied that far--> answered
//!      ^               |
//!      +-- no answer --+   asked again: raft drops requests silently, and the network may
//! ```
//!
//! This is ReadIndex (Ongaro, "Consensus: Bridging Theory and Practice", 2014, section 6.4). All readers that wait when
//! a request goes out share it. A later reader needs a later request, because its confirmation must come after the read
//! was asked for.

use std::collections::BTreeMap;

use crate::consensus::{ConsensusError, Reply};

/// The most readers that wait for a confirmation. Further ones get `Busy`.
const READERS_MAX: usize = 4096;

struct Reader {
    reply: Reply<()>,
    ticks: usize,
}

struct Request {
    readers: Vec<Reader>,
    ticks: usize,
}

#[derive(Default)]
pub(crate) struct Reads {
    waiting: Vec<Reader>,
    asked: BTreeMap<u64, Request>,
    confirmed: BTreeMap<u64, Vec<Reader>>,
}

impl Reads {
    pub(crate) fn on_read(&mut self, reply: Reply<()>) {
        let readers = self.waiting.len() + self.asked.values().map(|request| request.readers.len()).sum::<usize>();
        if readers >= READERS_MAX {
            let _ = reply.send(Err(ConsensusError::Busy));
            return;
        }
        self.waiting.push(Reader { reply, ticks: 0 });
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// All waiting readers join the request of this number.
    pub(crate) fn on_asked(&mut self, number: u64) {
        let readers = std::mem::take(&mut self.waiting);
        self.asked.insert(number, Request { readers, ticks: 0 });
    }

    /// A request is confirmed: its readers may be answered once `index` is applied.
    pub(crate) fn on_confirmed(&mut self, number: u64, index: u64) {
        if let Some(request) = self.asked.remove(&number) {
            self.confirmed.entry(index).or_default().extend(request.readers);
        }
    }

    pub(crate) fn on_applied(&mut self, applied: u64) {
        let later = self.confirmed.split_off(&(applied + 1));
        for reader in std::mem::replace(&mut self.confirmed, later).into_values().flatten() {
            let _ = reader.reply.send(Ok(()));
        }
    }

    /// Open requests are lost, for example after a change of leader. Their readers need another request.
    pub(crate) fn ask_again(&mut self) {
        self.waiting.extend(std::mem::take(&mut self.asked).into_values().flat_map(|request| request.readers));
    }

    /// Asks again after `again_ticks` without an answer, and gives up on readers older than `limit_ticks`.
    pub(crate) fn on_tick(&mut self, again_ticks: usize, limit_ticks: usize) {
        for request in self.asked.values_mut() {
            request.ticks += 1;
            request.readers.iter_mut().for_each(|reader| reader.ticks += 1);
        }
        self.waiting.iter_mut().for_each(|reader| reader.ticks += 1);
        for (_, request) in self.asked.extract_if(.., |_, request| request.ticks >= again_ticks) {
            self.waiting.extend(request.readers);
        }
        for reader in self.waiting.extract_if(.., |reader| reader.ticks >= limit_ticks) {
            let _ = reader.reply.send(Err(ConsensusError::Unconfirmed));
        }
    }

    /// Refuses all readers that are not confirmed, because there is nobody to ask.
    pub(crate) fn refuse(&mut self, error: &ConsensusError) {
        self.ask_again();
        for reader in self.waiting.drain(..) {
            let _ = reader.reply.send(Err(error.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
