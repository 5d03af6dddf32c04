//! The idempotency keys that are remembered, with the outcomes of their requests.
//!
//! ```text
//! (unknown) --begin--> in flight --taken--> taken, until the retention has passed --> (unknown)
//!                         '--forget--> (unknown): it was not taken, or is in doubt
//! ```
//!
//! Their memory is bounded. Beyond the bound a request with a new key is refused; an old key is never forgotten early.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use thalweg_ingest_log::{LoggedRequest, SegmentNumber};
use tokio::sync::watch;

use super::outcome::Outcome;

/// The most memory for one table's keys: enough for about half a million UUIDs.
const KEYS_BYTES_MAX: usize = 64 << 20;
/// Rough memory per key besides its text, in bytes.
const KEY_BYTES: usize = 96;

/// What is known about a key.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// Its request is still in flight.
    InFlight(watch::Receiver<Outcome>),
    /// Its request was taken.
    Taken {
        rows: u64,
        /// The segment that holds the records.
        segment: SegmentNumber,
    },
    /// The key was used with another body.
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
    /// Keys of taken requests in order, each with its expiry in milliseconds of the log's time.
    taken: VecDeque<(u64, SegmentNumber, Arc<str>)>,
    bytes: usize,
}

impl Keys {
    pub(super) fn new(retention: Duration) -> Self {
        let retention_millis = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
        Self { retention_millis, known: HashMap::new(), taken: VecDeque::new(), bytes: 0 }
    }

    /// What is known about a request's key; `None` if nothing is, or it has no key.
    pub(super) fn look_up(&self, request: &LoggedRequest) -> Option<Known> {
        let entry = self.known.get(request.key.as_deref()?)?;
        let is_same = (entry.hash, entry.bytes) == (request.hash, request.bytes);
        Some(if is_same { entry.known.clone() } else { Known::OtherBody })
    }

    /// Whether there is room for one more key.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < KEYS_BYTES_MAX
    }

    /// Records that a request is in flight.
    pub(super) fn begin(&mut self, request: &LoggedRequest, outcome: watch::Receiver<Outcome>) {
        self.insert(request, Known::InFlight(outcome));
    }

    /// Records that a request was taken.
    pub(super) fn take(&mut self, request: &LoggedRequest, segment: SegmentNumber) {
        let Some(key) = self.insert(request, Known::Taken { rows: request.rows, segment }) else { return };
        self.taken.push_back((request.arrived_millis.saturating_add(self.retention_millis), segment, key));
    }

    /// Forgets a request in flight that was not taken, or is in doubt.
    pub(super) fn forget(&mut self, request: &LoggedRequest) {
        let Some(key) = request.key.as_deref() else { return };
        if matches!(self.known.get(key), Some(Entry { known: Known::InFlight(_), .. })) {
            self.remove(key);
        }
    }

    /// Forgets expired keys.
    pub(super) fn expire(&mut self, now_millis: u64) {
        while let Some((_, segment, key)) = self.taken.pop_front_if(|(expires, ..)| *expires <= now_millis) {
            let is_it = |entry: &Entry| matches!(entry.known, Known::Taken { segment: other, .. } if other == segment);
            if self.known.get(&key).is_some_and(is_it) {
                self.remove(&key);
            }
        }
    }

    /// The first segment with an unexpired key.
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
