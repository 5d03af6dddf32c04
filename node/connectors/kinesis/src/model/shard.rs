//! A shard as a value: its records, in the order of sequence numbers.

use std::collections::VecDeque;

use bytes::Bytes;

use super::limits::{Limits, Used};
use crate::{
    ChildShard, HashKeyRange, KinesisError, NewRecord, Record, SequenceNumber, SequenceNumberRange, Shard, ShardId,
    Start, put_bytes,
};

/// The most bytes of records that one answer has, unless one record has more.
const ANSWER_BYTES_MAX: usize = 10 << 20;

/// Where a sequence number is: numbers grow along a stream, so that a child's are greater than its parents'.
pub(super) type Place = u128;

/// Moments, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Now {
    pub(super) monotonic_ms: u64,
    pub(super) unix_ms: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ShardState {
    pub(super) id: ShardId,
    pub(super) parents: Vec<ShardId>,
    pub(super) hash_keys: HashKeyRange,
    /// No record has it; all have greater ones.
    pub(super) start: Place,
    pub(super) opened_ms: i64,
    /// Its last place, and when it was closed.
    pub(super) closed: Option<(Place, i64)>,
    pub(super) children: Vec<ChildShard>,
    records: VecDeque<Stored>,
    put_records: Used,
    put_bytes: Used,
    get_calls: Used,
    get_bytes: Used,
    iterators: Used,
}

#[derive(Debug, Clone, PartialEq)]
struct Stored {
    place: Place,
    arrived_ms: i64,
    partition_key: String,
    data: Bytes,
}

/// Some of a shard's records.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) records: Vec<Record>,
    /// Go on behind it.
    pub(super) after: Place,
    /// How old the next record is; 0: there is none.
    pub(super) behind_ms: u64,
    /// Whether the shard is closed, and this was all.
    pub(super) is_end: bool,
}

impl ShardState {
    pub(super) fn new(
        id: ShardId,
        parents: Vec<ShardId>,
        hash_keys: HashKeyRange,
        start: Place,
        opened_ms: i64,
    ) -> Self {
        Self {
            id,
            parents,
            hash_keys,
            start,
            opened_ms,
            closed: None,
            children: Vec::new(),
            records: VecDeque::new(),
            put_records: Used::default(),
            put_bytes: Used::default(),
            get_calls: Used::default(),
            get_bytes: Used::default(),
            iterators: Used::default(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    pub(super) fn has_records(&self) -> bool {
        !self.records.is_empty()
    }

    pub(super) fn described(&self) -> Shard {
        let mut parents = self.parents.iter().cloned();
        Shard {
            id: self.id.clone(),
            parent: parents.next(),
            adjacent_parent: parents.next(),
            hash_keys: self.hash_keys,
            sequence_numbers: SequenceNumberRange {
                start: self.start.into(),
                end: self.closed.map(|(end, _)| end.into()),
            },
        }
    }

    /// Whether a record may be put now, and counts it if so.
    pub(super) fn take_put(&mut self, record: &NewRecord, limits: &Limits, now: Now) -> bool {
        let bytes = amount(put_bytes(record));
        // A record that is larger than what one second allows goes alone.
        let bytes = bytes.min(limits.put_bytes);
        self.put_bytes.take(bytes, limits.put_bytes, now.monotonic_ms)
            && self.put_records.take(1, limits.put_records, now.monotonic_ms)
    }

    pub(super) fn append(&mut self, place: Place, record: &NewRecord, now: Now) {
        self.records.push_back(Stored {
            place,
            arrived_ms: now.unix_ms,
            partition_key: record.partition_key.clone(),
            data: record.data.clone(),
        });
    }

    pub(super) fn take_iterator(&mut self, limits: &Limits, now: Now) -> bool {
        self.iterators.take(1, limits.iterators, now.monotonic_ms)
    }

    /// Whether a call may read now, and counts it if so.
    pub(super) fn take_get(&mut self, limits: &Limits, now: Now) -> bool {
        self.get_bytes.has_room(limits.get_bytes, now.monotonic_ms)
            && self.get_calls.take(1, limits.get_calls, now.monotonic_ms)
    }

    /// Counts what a call has read.
    pub(super) fn count_get(&mut self, records: &[Record]) {
        self.get_bytes.owe(amount(records.iter().map(record_bytes).sum()));
    }

    /// The place behind which reading starts. `newest` is the greatest place of the stream.
    pub(super) fn place(&self, start: &Start, newest: Place) -> Result<Place, KinesisError> {
        match start {
            Start::TrimHorizon => Ok(self.start),
            Start::Latest => Ok(self.closed.map_or(newest, |(end, _)| end)),
            Start::Timestamp(ms) => {
                let before = self.records.iter().take_while(|record| record.arrived_ms < *ms).last();
                Ok(before.map_or(self.start, |record| record.place))
            }
            Start::At(number) => Ok(self.known(number, newest)?.saturating_sub(1)),
            Start::After(number) => self.known(number, newest),
        }
    }

    /// What stands behind a place.
    pub(super) fn read(&self, after: Place, records_max: usize, bytes_max: usize, now: Now) -> Slice {
        let first = self.records.partition_point(|record| record.place <= after);
        let mut bytes = 0;
        let fits = |stored: &&Stored| {
            let is_first = bytes == 0;
            bytes += stored.data.len() + stored.partition_key.len();
            is_first || bytes <= bytes_max
        };
        let limit = records_max.max(1);
        let records: Vec<Record> =
            self.records.range(first..).take(limit).take_while(fits).map(Stored::record).collect();
        let read = first + records.len();
        let behind_ms = self.records.get(read).map_or(0, |next| {
            // What has just arrived is not 0, which means that nothing is left.
            u64::try_from(now.unix_ms.saturating_sub(next.arrived_ms)).unwrap_or_default().max(1)
        });
        let is_all = read == self.records.len();
        let end = self.closed.filter(|_| is_all).map(|(end, _)| end);
        let last = read.checked_sub(1).and_then(|last| self.records.get(last)).map_or(after, |last| last.place);
        Slice { records, after: end.unwrap_or_else(|| last.max(after)), behind_ms, is_end: end.is_some() }
    }

    pub(super) fn read_answer(&self, after: Place, records_max: usize, now: Now) -> Slice {
        self.read(after, records_max, ANSWER_BYTES_MAX, now)
    }

    pub(super) fn records_now(&self) -> Vec<Record> {
        self.records.iter().map(Stored::record).collect()
    }

    /// Removes records that arrived before this moment. Returns whether there were any.
    pub(super) fn trim(&mut self, before_ms: i64) -> bool {
        let kept = self.records.partition_point(|record| record.arrived_ms < before_ms);
        self.records.drain(..kept);
        kept > 0
    }

    /// A place that this shard has, or had.
    fn known(&self, number: &SequenceNumber, newest: Place) -> Result<Place, KinesisError> {
        let last = self.closed.map_or(newest, |(end, _)| end);
        let place = number.as_str().parse().ok().filter(|place| (self.start..=last).contains(place));
        place.ok_or_else(|| KinesisError::BadPosition {
            shard: self.id.clone(),
            reason: format!("the sequence number {number} did not come from this shard"),
        })
    }
}

impl Stored {
    fn record(&self) -> Record {
        Record {
            sequence_number: self.place.into(),
            arrived_ms: Some(self.arrived_ms),
            partition_key: self.partition_key.clone(),
            data: self.data.clone(),
        }
    }
}

fn record_bytes(record: &Record) -> usize {
    record.data.len() + record.partition_key.len()
}

fn amount(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
