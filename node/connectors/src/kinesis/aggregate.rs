//! Puts records for one shard into one, as the KPL does, and finds those again that came to another shard. A pure machine.
//!
//! Which shard a record belongs to is known by a list of shards, which may be old: a shard that was split in between takes the
//! aggregated record to the child where its first part belongs. Readers leave out parts that do not belong to the shard where
//! they find them, so those are sent again, each by itself.

use std::collections::BTreeMap;

use thalweg_kinesis::{HashKeyRange, NewRecord, Shard, ShardId, aggregation::Packer, hash_key_of};

use super::queue::{Entry, Packed, record_bytes};

/// Gathers records by shard.
#[derive(Debug)]
pub(super) struct Aggregator {
    bytes_max: usize,
    /// The open shards, by their first hash keys.
    open: BTreeMap<u128, ShardId>,
    /// Of all shards that were ever listed.
    ranges: BTreeMap<ShardId, HashKeyRange>,
    gathered: BTreeMap<ShardId, Gathered>,
    bytes: usize,
}

#[derive(Debug)]
struct Gathered {
    packer: Packer,
    parts: Vec<NewRecord>,
}

impl Aggregator {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, open: BTreeMap::new(), ranges: BTreeMap::new(), gathered: BTreeMap::new(), bytes: 0 }
    }

    /// Takes a list of shards. What is gathered stays together.
    pub(super) fn set_shards(&mut self, shards: &[Shard]) {
        self.open = shards
            .iter()
            .filter(|shard| shard.is_open())
            .map(|shard| (shard.hash_keys.first, shard.id.clone()))
            .collect();
        self.ranges = shards.iter().map(|shard| (shard.id.clone(), shard.hash_keys)).collect();
    }

    /// Memory of what is gathered.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a record. Returns what is to be sent.
    pub(super) fn push(&mut self, record: NewRecord, epoch: u64) -> Option<Entry> {
        let Some((_, shard)) = self.open.range(..=hash_key(&record)).next_back() else {
            return Some(Entry::alone(record, epoch));
        };
        let shard = shard.clone();
        let new = || Gathered { packer: Packer::new(self.bytes_max), parts: Vec::new() };
        let gathered = self.gathered.entry(shard.clone()).or_insert_with(new);
        self.bytes += record_bytes(&record);
        let kept = record.clone();
        let Err(record) = gathered.packer.push(record) else {
            gathered.parts.push(kept);
            return None;
        };
        let full = self.finish(&shard, epoch);
        // The first one always fits.
        self.push_first(shard, record);
        full
    }

    fn push_first(&mut self, shard: ShardId, record: NewRecord) {
        let mut first = Gathered { packer: Packer::new(self.bytes_max), parts: vec![record.clone()] };
        if first.packer.push(record).is_ok() {
            self.gathered.insert(shard, first);
        }
    }

    fn finish(&mut self, shard: &ShardId, epoch: u64) -> Option<Entry> {
        let Gathered { mut packer, parts } = self.gathered.remove(shard)?;
        self.bytes -= parts.iter().map(record_bytes).sum::<usize>();
        let record = packer.finish()?;
        let packed = (parts.len() > 1).then(|| Packed { shard: shard.clone(), parts });
        Some(Entry { record, packed, epoch })
    }

    /// All that is gathered, to be sent.
    pub(super) fn flush(&mut self, epoch: u64) -> Vec<Entry> {
        let shards: Vec<ShardId> = self.gathered.keys().cloned().collect();
        shards.iter().filter_map(|shard| self.finish(shard, epoch)).collect()
    }

    /// Of what came to a shard, the parts that do not belong there.
    pub(super) fn misplaced(&self, packed: &Packed, came_to: &ShardId) -> Vec<NewRecord> {
        match self.ranges.get(came_to) {
            _ if packed.shard == *came_to => Vec::new(),
            Some(range) => packed.parts.iter().filter(|part| !range.contains(hash_key(part))).cloned().collect(),
            // A shard that was not listed since: whatever it holds, all parts are there at least once then.
            None => packed.parts.clone(),
        }
    }
}

fn hash_key(record: &NewRecord) -> u128 {
    record.explicit_hash_key.unwrap_or_else(|| hash_key_of(&record.partition_key))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use thalweg_kinesis::{SequenceNumberRange, aggregation::unpack};

    use super::*;

    fn shard(id: &str, first: u128, last: u128, is_open: bool) -> Shard {
        Shard {
            id: id.into(),
            parent: None,
            adjacent_parent: None,
            hash_keys: HashKeyRange { first, last },
            sequence_numbers: SequenceNumberRange { start: 1.into(), end: (!is_open).then(|| 9.into()) },
        }
    }

    fn record(hash_key: u128) -> NewRecord {
        let data = Bytes::from(vec![b'x'; 100]);
        NewRecord { partition_key: format!("k{hash_key}"), explicit_hash_key: Some(hash_key), data }
    }

    fn keys(entry: &Entry) -> Vec<u128> {
        let parts = unpack(&entry.record.data).expect("it is aggregated");
        parts.filter_map(|part| part.explicit_hash_key).collect()
    }

    #[test]
    fn records_of_one_shard_are_put_together() {
        let mut aggregator = Aggregator::new(1 << 20);
        assert!(aggregator.push(record(1), 0).is_some_and(|entry| entry.packed.is_none()), "no shards are known");
        aggregator.set_shards(&[
            shard("a", 0, 99, true),
            shard("b", 100, u128::MAX, true),
            shard("old", 0, u128::MAX, false),
        ]);
        for hash_key in [1, 200, 2, 300, 3] {
            assert_eq!(aggregator.push(record(hash_key), 4), None);
        }
        let flushed = aggregator.flush(4);
        assert_eq!(flushed.iter().map(keys).collect::<Vec<_>>(), [vec![1, 2, 3], vec![200, 300]]);
        assert!(flushed.iter().all(|entry| entry.epoch == 4) && aggregator.bytes() == 0);
    }

    #[test]
    fn an_aggregated_record_has_a_bound() {
        let mut aggregator = Aggregator::new(1000);
        aggregator.set_shards(&[shard("a", 0, u128::MAX, true)]);
        let full: Vec<Entry> = (0..50).filter_map(|hash_key| aggregator.push(record(hash_key), 0)).collect();
        assert!(full.len() > 5 && full.iter().all(|entry| thalweg_kinesis::put_bytes(&entry.record) <= 1000));
        let all: Vec<u128> = full
            .iter()
            .chain(&aggregator.flush(0))
            .flat_map(|entry| {
                entry
                    .packed
                    .as_ref()
                    .map_or_else(|| vec![&entry.record], |packed| packed.parts.iter().collect())
                    .into_iter()
                    .filter_map(|part| part.explicit_hash_key)
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(all, (0..50).collect::<Vec<u128>>());
    }

    #[test]
    fn what_came_to_another_shard_is_found() {
        let mut aggregator = Aggregator::new(1 << 20);
        aggregator.set_shards(&[shard("a", 0, 99, true)]);
        let packed = Packed { shard: "a".into(), parts: vec![record(10), record(60), record(20)] };
        assert!(aggregator.misplaced(&packed, &"a".into()).is_empty());
        assert_eq!(aggregator.misplaced(&packed, &"b".into()).len(), 3, "nothing is known of it");
        aggregator.set_shards(&[shard("a", 0, 99, false), shard("b", 0, 49, true), shard("c", 50, 99, true)]);
        assert_eq!(aggregator.misplaced(&packed, &"b".into()), [record(60)]);
    }
}
