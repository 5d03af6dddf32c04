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

/// Adds a record, taken apart. Returns how many were left out since they belong to another shard. `given`: the number of the
/// last one in it that was given before.
pub(super) fn unpack(
    record: Record,
    (shard, foreign): (&HashKeyRange, Foreign),
    given: Option<u64>,
    into: &mut VecDeque<UserRecord>,
) -> usize {
    let Record { sequence_number, arrived_ms, partition_key, data } = record;
    let alone = |data| UserRecord {
        sequence_number: sequence_number.clone(),
        sub: 0,
        is_last: true,
        arrived_ms,
        partition_key: partition_key.clone(),
        explicit_hash_key: None,
        data,
    };
    let Some(records) = aggregation::unpack(&data) else {
        if given.is_none() {
            into.push_back(alone(data));
        }
        return 0;
    };
    let before = into.len();
    let mut left_out = 0;
    for (record, sub) in records.into_iter().zip(0..) {
        if given.is_some_and(|given| sub <= given) {
            continue;
        }
        if foreign == Foreign::Drop && !record.belongs_to(shard) {
            left_out += 1;
            continue;
        }
        let aggregation::SubRecord { partition_key, explicit_hash_key, data } = record;
        into.push_back(UserRecord { sub, is_last: false, partition_key, explicit_hash_key, ..alone(data) });
    }
    if into.len() > before
        && let Some(last) = into.back_mut()
    {
        last.is_last = true;
    }
    left_out
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
        let mut into = VecDeque::new();
        let left_out = unpack(record(data), (&shard, foreign), given, &mut into);
        (into.into_iter().map(|record| (record.partition_key, record.sub, record.is_last)).collect(), left_out)
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
}
