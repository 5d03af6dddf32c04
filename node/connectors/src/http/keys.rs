//! The idempotency keys that are remembered, and what became of their requests.
//!
//! ```text
//! (unknown) --begin--> in flight --taken--> taken, until the retention is over --> (unknown)
//!                         '--forget--> (unknown): it was not taken, or nobody knows
//! ```
//!
//! Their memory is bounded; beyond it a request with a new key is refused, never an old key forgotten.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use thalweg_storage::ingest_log::{LoggedRequest, SegmentNumber};
use tokio::sync::watch;

use super::endpoint::Outcome;

/// What the keys of one table may take: about half a million of the length of a UUID.
const KEYS_BYTES_MAX: usize = 64 << 20;
/// What a key takes besides its own length, about.
const KEY_BYTES: usize = 96;

/// What is known of a key.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// Its request waits for its outcome.
    InFlight(watch::Receiver<Outcome>),
    /// Its request was taken, and had so many records.
    Taken {
        /// How many records.
        rows: u64,
        /// Where they are.
        segment: SegmentNumber,
    },
    /// It came with another body.
    OtherBody,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    bytes: u64,
    known: Known,
}

/// The keys of one table.
#[derive(Debug)]
pub(super) struct Keys {
    retention_millis: u64,
    known: HashMap<Arc<str>, Entry>,
    /// Those of requests that were taken, in that order, with the time from which they are not promised any more.
    taken: VecDeque<(u64, SegmentNumber, Arc<str>)>,
    bytes: usize,
}

impl Keys {
    pub(super) fn new(retention: Duration) -> Self {
        let retention_millis = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
        Self { retention_millis, known: HashMap::new(), taken: VecDeque::new(), bytes: 0 }
    }

    /// What is known of a request's key; `None`: nothing, or it has none.
    pub(super) fn look_up(&self, request: &LoggedRequest) -> Option<Known> {
        let entry = self.known.get(request.key.as_deref()?)?;
        let is_same = (entry.hash, entry.bytes) == (request.hash, request.bytes);
        Some(if is_same { entry.known.clone() } else { Known::OtherBody })
    }

    /// Whether there is room for one more key.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < KEYS_BYTES_MAX
    }

    /// A request waits for its outcome.
    pub(super) fn begin(&mut self, request: &LoggedRequest, outcome: watch::Receiver<Outcome>) {
        self.insert(request, Known::InFlight(outcome));
    }

    /// A request was taken.
    pub(super) fn take(&mut self, request: &LoggedRequest, segment: SegmentNumber) {
        let Some(key) = self.insert(request, Known::Taken { rows: request.rows, segment }) else { return };
        self.taken.push_back((request.arrived_millis.saturating_add(self.retention_millis), segment, key));
    }

    /// A request that was in flight was not taken, as far as anybody knows.
    pub(super) fn forget(&mut self, request: &LoggedRequest) {
        let Some(key) = request.key.as_deref() else { return };
        if matches!(self.known.get(key), Some(Entry { known: Known::InFlight(_), .. })) {
            self.remove(key);
        }
    }

    /// Forgets what is not promised any more.
    pub(super) fn expire(&mut self, now_millis: u64) {
        while let Some((_, segment, key)) = self.taken.pop_front_if(|(expires, ..)| *expires <= now_millis) {
            let is_it = |entry: &Entry| matches!(entry.known, Known::Taken { segment: other, .. } if other == segment);
            if self.known.get(&key).is_some_and(is_it) {
                self.remove(&key);
            }
        }
    }

    /// The first segment with a key that is promised.
    pub(super) fn first_segment(&self) -> Option<SegmentNumber> {
        self.taken.iter().map(|(_, segment, _)| *segment).next()
    }

    fn insert(&mut self, request: &LoggedRequest, known: Known) -> Option<Arc<str>> {
        let key: Arc<str> = request.key.as_deref()?.into();
        let entry = Entry { hash: request.hash, bytes: request.bytes, known };
        if self.known.insert(key.clone(), entry).is_none() {
            self.bytes += key.len() + KEY_BYTES;
        }
        Some(key)
    }

    fn remove(&mut self, key: &str) {
        if self.known.remove(key).is_some() {
            self.bytes -= key.len() + KEY_BYTES;
        }
    }
}
