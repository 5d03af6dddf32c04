//! Takes records apart that producers have put into one, and says where each stands.
//!
//! Positions inside an aggregated record are its sequence number and a number from 0. A record behind which others of the same
//! aggregated one follow is not the end of it: whoever goes on there reads it again, and passes over what was given.

use std::collections::VecDeque;

use bytes::Bytes;
use thalweg_kinesis::{HashKeyRange, Record, SequenceNumber, aggregation};

use super::options::Foreign;

/// A record as its producer made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UserRecord {
    /// Of the record that it came in.
    pub(super) sequence_number: SequenceNumber,
    /// Its place in that, from 0.
    pub(super) sub: u64,
    /// Whether nothing of that follows.
    pub(super) is_last: bool,
    /// About when that arrived, in milliseconds since 1970.
    pub(super) arrived_ms: Option<i64>,
    pub(super) partition_key: String,
    pub(super) explicit_hash_key: Option<u128>,
    pub(super) data: Bytes,
}

impl UserRecord {
    /// What it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        /// What a record takes beside its bytes.
        const FRAME: usize = 160;
        FRAME + self.partition_key.len() + self.data.len()
    }
}

/// The records of a page that were not given yet. They are taken apart as they are wanted: those of an aggregated record may take
/// hundreds of times its memory.
pub(super) struct Pending {
    shard: HashKeyRange,
    foreign: Foreign,
    /// As they came.
    page: VecDeque<Record>,
    opened: Option<Opened>,
    /// Taken apart.
    ready: VecDeque<UserRecord>,
    ready_bytes: usize,
    /// How many were left out since they belong to another shard.
    left_out: usize,
}

/// An aggregated record that is being taken apart.
struct Opened {
    whole: Whole,
    /// With their places in it.
    rest: std::iter::Zip<aggregation::SubRecords, std::ops::RangeFrom<u64>>,
    /// Parts up to this one were given before.
    given: Option<u64>,
    /// The next one, since whoever gets a part must know whether it is the last.
    next: Option<UserRecord>,
}

/// What all parts of a record share.
struct Whole {
    sequence_number: SequenceNumber,
    arrived_ms: Option<i64>,
}

impl Whole {
    fn part(&self, sub: u64, part: aggregation::SubRecord) -> UserRecord {
        let aggregation::SubRecord { partition_key, explicit_hash_key, data } = part;
        let (sequence_number, arrived_ms) = (self.sequence_number.clone(), self.arrived_ms);
        UserRecord { sequence_number, sub, is_last: false, arrived_ms, partition_key, explicit_hash_key, data }
    }
}

impl Pending {
    pub(super) fn new(shard: HashKeyRange, foreign: Foreign) -> Self {
        let (page, ready) = (VecDeque::new(), VecDeque::new());
        Self { shard, foreign, page, opened: None, ready, ready_bytes: 0, left_out: 0 }
    }

    /// Takes the records of a page. Nothing may be left of the one before. `given`: the last part that was given before of the
    /// first record, if that is the record where the position is.
    pub(super) fn take(&mut self, records: Vec<Record>, given: Option<u64>) {
        self.page = records.into();
        if given.is_some()
            && let Some(first) = self.page.pop_front()
        {
            self.open(first, given);
        }
    }

    /// Forgets what is left.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.shard, self.foreign);
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&mut self) -> bool {
        self.batch(1, usize::MAX).is_empty()
    }

    /// The next records: not more of them and, unless it is one alone, not more bytes than these. They stay until they are given.
    pub(super) fn batch(&mut self, rows_max: usize, bytes_max: usize) -> &[UserRecord] {
        while self.ready.len() < rows_max && self.ready_bytes < bytes_max {
            let Some(record) = self.next() else { break };
            self.ready_bytes += record.bytes();
            self.ready.push_back(record);
        }
        let mut bytes = 0;
        let fits = |record: &&UserRecord| {
            bytes += record.bytes();
            bytes <= bytes_max
        };
        let count = self.ready.iter().take(rows_max).take_while(fits).count().max(1).min(self.ready.len());
        &self.ready.make_contiguous()[..count]
    }

    /// The first records of the batch are given. Returns the last of them.
    pub(super) fn on_given(&mut self, count: usize) -> Option<UserRecord> {
        let mut last = None;
        for record in self.ready.drain(..count.min(self.ready.len())) {
            self.ready_bytes -= record.bytes();
            last = Some(record);
        }
        last
    }

    /// How many were left out since this was asked before.
    pub(super) fn take_left_out(&mut self) -> usize {
        std::mem::take(&mut self.left_out)
    }

    fn next(&mut self) -> Option<UserRecord> {
        loop {
            if let Some(opened) = &mut self.opened {
                if let Some(part) = opened.next(&self.shard, self.foreign, &mut self.left_out) {
                    return Some(part);
                }
                self.opened = None;
            }
            let record = self.page.pop_front()?;
            if let Some(alone) = self.open(record, None) {
                return Some(alone);
            }
        }
    }

    /// Begins to take a record apart. Returns it if it is one like others, and was not given before.
    fn open(&mut self, record: Record, given: Option<u64>) -> Option<UserRecord> {
        let Record { sequence_number, arrived_ms, partition_key, data } = record;
        let Some(parts) = aggregation::unpack(&data) else {
            let alone = UserRecord {
                sequence_number,
                sub: 0,
                is_last: true,
                arrived_ms,
                partition_key,
                explicit_hash_key: None,
                data,
            };
            return Some(alone).filter(|_| given.is_none());
        };
        let whole = Whole { sequence_number, arrived_ms };
        self.opened = Some(Opened { whole, rest: parts.zip(0..), given, next: None });
        None
    }
}

impl Opened {
    /// The next part, with whether others follow it.
    fn next(&mut self, shard: &HashKeyRange, foreign: Foreign, left_out: &mut usize) -> Option<UserRecord> {
        let mut part = match self.next.take() {
            Some(part) => part,
            None => self.own(shard, foreign, left_out)?,
        };
        self.next = self.own(shard, foreign, left_out);
        part.is_last = self.next.is_none();
        Some(part)
    }

    /// The next part that is wanted.
    fn own(&mut self, shard: &HashKeyRange, foreign: Foreign, left_out: &mut usize) -> Option<UserRecord> {
        for (part, sub) in self.rest.by_ref() {
            if self.given.is_some_and(|given| sub <= given) {
                continue;
            }
            if foreign == Foreign::Drop && !part.belongs_to(shard) {
                *left_out += 1;
                continue;
            }
            return Some(self.whole.part(sub, part));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use thalweg_kinesis::{NewRecord, aggregation::Packer, hash_key_of};

    use super::*;

    fn record(data: Bytes) -> Record {
        Record { sequence_number: 7.into(), arrived_ms: Some(5), partition_key: "outer".to_owned(), data }
    }

    fn packed(keys: &[&str]) -> Bytes {
        let mut packer = Packer::new(1 << 20);
        for key in keys {
            let data = Bytes::from(format!("of {key}"));
            let new = NewRecord { partition_key: (*key).to_owned(), explicit_hash_key: None, data };
            assert_eq!(packer.push(new), Ok(()));
        }
        packer.finish().expect("there are some").data
    }

    fn taken(
        data: Bytes,
        shard: HashKeyRange,
        foreign: Foreign,
        given: Option<u64>,
    ) -> (Vec<(String, u64, bool)>, usize) {
        let mut pending = Pending::new(shard, foreign);
        pending.take(vec![record(data)], given);
        let shown = |record: &UserRecord| (record.partition_key.clone(), record.sub, record.is_last);
        let all = pending.batch(100, usize::MAX).iter().map(shown).collect();
        (all, pending.take_left_out())
    }

    fn all(of: &[(&str, u64, bool)]) -> Vec<(String, u64, bool)> {
        of.iter().map(|(key, sub, is_last)| ((*key).to_owned(), *sub, *is_last)).collect()
    }

    #[test]
    fn what_was_packed_is_taken_apart_and_the_rest_stays() {
        let of = |data| taken(data, HashKeyRange::ALL, Foreign::Drop, None);
        assert_eq!(of(Bytes::from_static(b"{}")), (all(&[("outer", 0, true)]), 0));
        assert_eq!(of(packed(&["a", "b", "a"])), (all(&[("a", 0, false), ("b", 1, false), ("a", 2, true)]), 0));
    }

    #[test]
    fn one_goes_on_in_the_middle() {
        let behind = |given| taken(packed(&["a", "b", "c"]), HashKeyRange::ALL, Foreign::Drop, Some(given)).0;
        assert_eq!(behind(0), all(&[("b", 1, false), ("c", 2, true)]));
        assert_eq!(behind(1), all(&[("c", 2, true)]));
        assert_eq!(behind(2), all(&[]));
        assert_eq!(taken(Bytes::from_static(b"x"), HashKeyRange::ALL, Foreign::Drop, Some(0)).0, all(&[]));
    }

    #[test]
    fn what_belongs_to_another_shard_is_left_out_if_that_is_wanted() {
        let only_a = HashKeyRange { first: hash_key_of("a"), last: hash_key_of("a") };
        let data = packed(&["a", "b", "a", "c"]);
        assert_eq!(taken(data.clone(), only_a, Foreign::Drop, None), (all(&[("a", 0, false), ("a", 2, true)]), 2));
        assert_eq!(taken(data, only_a, Foreign::Keep, None).0.len(), 4);
        assert_eq!(taken(packed(&["b", "c"]), only_a, Foreign::Drop, None), (all(&[]), 2));
    }

    /// Whatever a producer makes of it.
    #[test]
    fn no_more_is_taken_apart_than_a_batch_takes() {
        const BYTES_MAX: usize = 64 << 10;
        // 20,000 records of 6 bytes, of which each has a key of 256 characters.
        let mut packer = Packer::new(1 << 20);
        let new = || NewRecord { partition_key: "k".repeat(256), explicit_hash_key: None, data: Bytes::new() };
        (0..20_000).for_each(|_| assert_eq!(packer.push(new()), Ok(())));
        let data = packer.finish().expect("there are some").data;
        assert!(data.len() < 200_000, "{} bytes", data.len());
        let mut pending = Pending::new(HashKeyRange::ALL, Foreign::Drop);
        pending.take(vec![record(data.clone()), record(data), record(Bytes::from_static(b"{}"))], None);
        let (mut given, mut last) = (0, None);
        while !pending.is_empty() {
            let batch = pending.batch(1_000, BYTES_MAX);
            assert!(batch.iter().map(UserRecord::bytes).sum::<usize>() <= BYTES_MAX);
            let count = batch.len();
            assert!(pending.ready.iter().map(UserRecord::bytes).sum::<usize>() <= BYTES_MAX + 1_000);
            last = pending.on_given(count);
            given += count;
        }
        assert_eq!((given, pending.ready_bytes), (40_001, 0));
        assert_eq!(last.map(|last| (last.data, last.is_last)), Some((Bytes::from_static(b"{}"), true)));
    }

    #[test]
    fn a_record_that_is_larger_than_a_batch_is_given_alone() {
        let mut pending = Pending::new(HashKeyRange::ALL, Foreign::Drop);
        pending.take(vec![record(Bytes::from(vec![b'x'; 1_000])), record(Bytes::from_static(b"y"))], None);
        assert_eq!(pending.batch(10, 500).len(), 1);
        assert_eq!(pending.on_given(1).map(|given| given.data.len()), Some(1_000));
        assert_eq!(pending.batch(10, 500).len(), 1);
    }
}
