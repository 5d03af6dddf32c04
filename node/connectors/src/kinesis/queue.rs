//! Which records go with which request, and which go again. A pure machine.
//!
//! ```text
//! push --> waiting --take--> on their way (a request) --written--> done
//!             ^                        '-- not written, each by itself --.
//!             '-- in front of all others ---------------------------------'
//! ```
//!
//! PutRecords keeps no order, neither within a request nor between several. Where order is wanted, of each partition key one record
//! at most is on its way: the next one leaves when that is written. So a record that was not written is followed by none.
//!
//! Records belong to epochs, which end one after the other. An epoch is over when nothing of it or of those before is left.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use thalweg_kinesis::{NewRecord, PUT_BYTES_MAX, ShardId, put_bytes};
use thalweg_types::bug::{self, Bug};

/// What a record takes beside its bytes.
const FRAME: usize = 128;

/// A record, and what has to be known once it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) record: NewRecord,
    /// What was aggregated in it, for one shard; `None`: it is as its row made it.
    pub(super) packed: Option<Packed>,
    pub(super) epoch: u64,
}

/// What was aggregated in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed {
    /// Where all of it belongs, as far as that is known.
    pub(super) shard: ShardId,
    pub(super) parts: Vec<NewRecord>,
}

impl Entry {
    pub(super) fn alone(record: NewRecord, epoch: u64) -> Self {
        Self { record, packed: None, epoch }
    }

    /// How many rows it is of.
    pub(super) fn rows(&self) -> usize {
        self.packed.as_ref().map_or(1, |packed| packed.parts.len())
    }

    /// What it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let parts = self.packed.iter().flat_map(|packed| &packed.parts);
        record_bytes(&self.record) + parts.map(record_bytes).sum::<usize>()
    }
}

/// What a record takes in memory.
pub(super) fn record_bytes(record: &NewRecord) -> usize {
    FRAME + put_bytes(record)
}

/// Records that are to be written.
#[derive(Debug)]
pub(super) struct PutQueue {
    batch_max: usize,
    waiting: Waiting,
    /// By epoch, how many records are left.
    left: BTreeMap<u64, usize>,
    bytes: usize,
    count: usize,
    /// `put_bytes` of what is not on its way.
    waiting_bytes: usize,
}

#[derive(Debug)]
enum Waiting {
    /// In any order; those that were not written come first.
    Free(VecDeque<Entry>),
    Strict(Lanes),
}

/// The records of each partition key.
#[derive(Debug, Default)]
struct Lanes {
    lanes: HashMap<String, VecDeque<Entry>>,
    /// Keys of which nothing is on its way, and something waits.
    ready: VecDeque<String>,
    on_their_way: HashSet<String>,
}

impl PutQueue {
    pub(super) fn new(is_strict: bool, batch_max: usize) -> Self {
        let waiting = if is_strict { Waiting::Strict(Lanes::default()) } else { Waiting::Free(VecDeque::new()) };
        Self { batch_max, waiting, left: BTreeMap::new(), bytes: 0, count: 0, waiting_bytes: 0 }
    }

    /// Memory of all that is not written.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many records are not written.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The oldest epoch of which something is left.
    pub(super) fn oldest_left(&self) -> Option<u64> {
        self.left.keys().next().copied()
    }

    /// How many records may go with a request now, at most `batch_max`.
    pub(super) fn ready(&self) -> usize {
        let ready = match &self.waiting {
            Waiting::Free(entries) => entries.len(),
            Waiting::Strict(lanes) => lanes.ready.len(),
        };
        ready.min(self.batch_max)
    }

    /// Whether a request has as many records, or as many bytes, as it may. Under `strict` what waits may not be ready, so only
    /// their number counts.
    pub(super) fn is_full(&self) -> bool {
        let has_bytes = match &self.waiting {
            Waiting::Free(_) => self.waiting_bytes >= PUT_BYTES_MAX,
            Waiting::Strict(_) => false,
        };
        has_bytes || self.ready() == self.batch_max
    }

    pub(super) fn push(&mut self, entry: Entry) {
        *self.left.entry(entry.epoch).or_default() += 1;
        self.bytes += entry.bytes();
        self.count += 1;
        self.waiting_bytes += put_bytes(&entry.record);
        match &mut self.waiting {
            Waiting::Free(entries) => entries.push_back(entry),
            Waiting::Strict(lanes) => lanes.push(entry),
        }
    }

    /// The next request.
    pub(super) fn take(&mut self) -> Vec<Entry> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < self.batch_max {
            let Some(next) = self.waiting.peek() else { break };
            let more = put_bytes(&next.record);
            if !taken.is_empty() && bytes + more > PUT_BYTES_MAX {
                break;
            }
            bytes += more;
            taken.extend(self.waiting.pop());
        }
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        taken
    }

    /// A record is written.
    pub(super) fn on_written(&mut self, entry: &Entry) {
        self.bytes -= entry.bytes();
        self.count -= 1;
        if let Some(left) = self.left.get_mut(&entry.epoch) {
            *left -= 1;
            if *left == 0 {
                self.left.remove(&entry.epoch);
            }
        }
        if let Waiting::Strict(lanes) = &mut self.waiting {
            lanes.on_written(&entry.record.partition_key);
        }
    }

    /// Records of one request were not written. They go again, before all others and in their order.
    pub(super) fn on_not_written(&mut self, entries: Vec<Entry>) {
        for entry in entries.into_iter().rev() {
            self.waiting_bytes += put_bytes(&entry.record);
            match &mut self.waiting {
                Waiting::Free(waiting) => waiting.push_front(entry),
                Waiting::Strict(lanes) => lanes.push_again(entry),
            }
        }
    }
}

impl Waiting {
    fn peek(&self) -> Option<&Entry> {
        match self {
            Self::Free(entries) => entries.front(),
            Self::Strict(lanes) => lanes.lanes.get(lanes.ready.front()?)?.front(),
        }
    }

    fn pop(&mut self) -> Option<Entry> {
        match self {
            Self::Free(entries) => entries.pop_front(),
            Self::Strict(lanes) => {
                let key = lanes.ready.pop_front()?;
                let entry = lanes.lanes.get_mut(&key)?.pop_front();
                lanes.on_their_way.insert(key);
                entry
            }
        }
    }
}

impl Lanes {
    fn push(&mut self, entry: Entry) {
        let key = entry.record.partition_key.clone();
        let lane = self.lanes.entry(key.clone()).or_default();
        lane.push_back(entry);
        if lane.len() == 1 && !self.on_their_way.contains(&key) {
            self.ready.push_back(key);
        }
    }

    /// The record of a key that was on its way is written: the next one may leave.
    fn on_written(&mut self, key: &str) {
        let Some(key) = self.on_their_way.take(key) else { return };
        match self.lanes.get(&key) {
            Some(lane) if !lane.is_empty() => self.ready.push_back(key),
            _ => _ = self.lanes.remove(&key),
        }
    }

    fn push_again(&mut self, entry: Entry) {
        let key = entry.record.partition_key.clone();
        self.on_their_way.remove(&key);
        let lane = self.lanes.entry(key.clone()).or_default();
        if bug::is_active(Bug::RetryOutOfOrder) {
            lane.push_back(entry);
        } else {
            lane.push_front(entry);
        }
        self.ready.push_front(key);
    }
}

#[cfg(test)]
mod tests;
