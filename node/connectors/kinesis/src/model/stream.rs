//! A stream as a value: its shards and consumers.

use std::collections::BTreeMap;

use super::{
    limits::Limits,
    shard::{Now, Place, ShardState},
};
use crate::{
    ChildShard, Consumer, ConsumerStatus, HashKeyRange, KinesisError, NewRecord, Put, PutFailed, RECORD_BYTES_MAX,
    Shard, ShardFilter, ShardId, StreamDescription, StreamMode, StreamStatus, hash_key_of,
};

/// How long records are kept at first.
const RETENTION_MS: u64 = 24 * HOUR_MS;
const HOUR_MS: u64 = 3_600_000;
/// The most consumers of a stream.
const CONSUMERS_MAX: usize = 20;
/// Until a consumer is active.
const REGISTRATION_MS: u64 = 500;
/// The place of the first shards. It is long, as Kinesis' numbers are.
const FIRST_PLACE: Place = 49_545_115_243_490_985_018_280_000_000_000_000;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct StreamState {
    name: String,
    pub(super) created: Now,
    pub(super) retention_ms: u64,
    shards: BTreeMap<ShardId, ShardState>,
    consumers: BTreeMap<String, ConsumerState>,
    /// How many shards it has had.
    shards_made: u32,
    /// The greatest place that was given away.
    pub(super) newest: Place,
}

#[derive(Debug, Clone, PartialEq)]
struct ConsumerState {
    arn: String,
    active_from_ms: u64,
}

pub(super) fn arn_of(stream: &str) -> String {
    format!("arn:aws:kinesis:model-1:000000000000:stream/{stream}")
}

impl StreamState {
    pub(super) fn new(name: &str, shards: u32, now: Now) -> Self {
        let mut stream = Self {
            name: name.to_owned(),
            created: now,
            retention_ms: RETENTION_MS,
            shards: BTreeMap::new(),
            consumers: BTreeMap::new(),
            shards_made: 0,
            newest: FIRST_PLACE,
        };
        let count = u128::from(shards.max(1));
        let part = u128::MAX / count;
        for at in 0..count {
            let last = if at + 1 == count { u128::MAX } else { (at + 1) * part - 1 };
            stream.open(Vec::new(), HashKeyRange { first: at * part, last }, now);
        }
        stream
    }

    pub(super) fn described(&self) -> StreamDescription {
        let open = self.shards.values().filter(|shard| shard.is_open()).count();
        StreamDescription {
            name: self.name.clone(),
            arn: arn_of(&self.name),
            status: StreamStatus::Active,
            // Whole seconds, as Kinesis tells.
            created_ms: self.created.unix_ms.div_euclid(1_000) * 1_000,
            retention_hours: u32::try_from(self.retention_ms.div_ceil(HOUR_MS)).unwrap_or(u32::MAX),
            open_shards: u32::try_from(open).unwrap_or(u32::MAX),
            mode: Some(StreamMode::Provisioned),
            record_bytes_max: RECORD_BYTES_MAX,
        }
    }

    pub(super) fn shards(&self, filter: &ShardFilter) -> Vec<Shard> {
        let wanted = |shard: &&ShardState| match filter {
            ShardFilter::All | ShardFilter::FromTrimHorizon => true,
            ShardFilter::AtLatest => shard.is_open(),
            // A parent that is known was open later than what is kept begins.
            ShardFilter::AtTrimHorizon => !shard.parents.iter().any(|parent| self.shards.contains_key(parent)),
            ShardFilter::AtTimestamp(ms) => shard.opened_ms <= *ms && shard.closed.is_none_or(|(_, at)| at > *ms),
            ShardFilter::FromTimestamp(ms) => shard.closed.is_none_or(|(_, at)| at > *ms),
            ShardFilter::After(id) => shard.id > *id,
        };
        self.shards.values().filter(wanted).map(ShardState::described).collect()
    }

    pub(super) fn shard(&self, id: &ShardId) -> Result<&ShardState, KinesisError> {
        self.shards.get(id).ok_or_else(|| KinesisError::NoShard { shard: id.clone() })
    }

    pub(super) fn shard_mut(&mut self, id: &ShardId) -> Result<&mut ShardState, KinesisError> {
        self.shards.get_mut(id).ok_or_else(|| KinesisError::NoShard { shard: id.clone() })
    }

    pub(super) fn split(&mut self, id: &ShardId, at: u128, now: Now) -> Result<[ShardId; 2], KinesisError> {
        let hash_keys = self.open_shard(id)?;
        if at <= hash_keys.first || at > hash_keys.last {
            return refused(format!("{id} cannot be split at {at}: it has the hash keys {hash_keys}"));
        }
        let low = HashKeyRange { first: hash_keys.first, last: at - 1 };
        let high = HashKeyRange { first: at, last: hash_keys.last };
        let parents = vec![id.clone()];
        self.close(&parents, now);
        let children = [low, high].map(|range| self.open(parents.clone(), range, now));
        Ok(children)
    }

    pub(super) fn merge(&mut self, one: &ShardId, other: &ShardId, now: Now) -> Result<ShardId, KinesisError> {
        let (ones, others) = (self.open_shard(one)?, self.open_shard(other)?);
        let (low, high) = if ones < others { (ones, others) } else { (others, ones) };
        if low.last.checked_add(1) != Some(high.first) {
            return refused(format!("{one} and {other} cannot be merged: their hash keys are not side by side"));
        }
        let parents = vec![one.clone(), other.clone()];
        self.close(&parents, now);
        Ok(self.open(parents, HashKeyRange { first: low.first, last: high.last }, now))
    }

    /// Writes a record, if its shard allows it.
    pub(super) fn put(&mut self, record: &NewRecord, limits: &Limits, now: Now) -> Result<Put, PutFailed> {
        let hash_key = record.explicit_hash_key.unwrap_or_else(|| hash_key_of(&record.partition_key));
        let place = self.newest + 1;
        let belongs = |shard: &&mut ShardState| shard.is_open() && shard.hash_keys.contains(hash_key);
        let Some(shard) = self.shards.values_mut().find(belongs) else {
            // Open shards have all hash keys.
            return Err(PutFailed::Failed { reason: format!("no shard has the hash key {hash_key}") });
        };
        if !shard.take_put(record, limits, now) {
            return Err(PutFailed::Throttled {
                reason: format!("{} of {} has no throughput left", shard.id, self.name),
            });
        }
        shard.append(place, record, now);
        self.newest = place;
        Ok(Put { shard: shard.id.clone(), sequence_number: place.into() })
    }

    /// Removes what is older than the retention. Returns whether there was something.
    pub(super) fn advance(&mut self, now: Now) -> bool {
        let before_ms = now.unix_ms.saturating_sub(i64::try_from(self.retention_ms).unwrap_or(i64::MAX));
        let mut trimmed = false;
        for shard in self.shards.values_mut() {
            trimmed |= shard.trim(before_ms);
        }
        let known = self.shards.len();
        self.shards.retain(|_, shard| shard.has_records() || shard.closed.is_none_or(|(_, at)| at >= before_ms));
        trimmed || self.shards.len() < known
    }

    /// Removes all records, and closed shards.
    pub(super) fn trim_all(&mut self) {
        self.shards.values_mut().for_each(|shard| _ = shard.trim(i64::MAX));
        self.shards.retain(|_, shard| shard.is_open());
    }

    pub(super) fn register(&mut self, name: &str, now: Now) -> Result<Consumer, KinesisError> {
        if self.consumers.contains_key(name) {
            return Err(KinesisError::Busy { reason: format!("there is a consumer '{name}' already") });
        }
        if self.consumers.len() >= CONSUMERS_MAX {
            return Err(KinesisError::Throttled { reason: format!("a stream has {CONSUMERS_MAX} consumers at most") });
        }
        let arn = format!("{}/consumer/{name}:{}", arn_of(&self.name), now.unix_ms.div_euclid(1_000));
        let active_from_ms = now.monotonic_ms.saturating_add(REGISTRATION_MS);
        self.consumers.insert(name.to_owned(), ConsumerState { arn: arn.clone(), active_from_ms });
        Ok(Consumer { name: name.to_owned(), arn, status: ConsumerStatus::Creating })
    }

    pub(super) fn consumer(&self, name: &str, now: Now) -> Option<Consumer> {
        self.consumers.get(name).map(|consumer| consumer.described(name, now))
    }

    pub(super) fn consumer_of(&self, arn: &str, now: Now) -> Option<Consumer> {
        let (name, consumer) = self.consumers.iter().find(|(_, consumer)| consumer.arn == arn)?;
        Some(consumer.described(name, now))
    }

    pub(super) fn consumer_arns(self) -> impl Iterator<Item = String> {
        self.consumers.into_values().map(|consumer| consumer.arn)
    }

    /// Returns the ARN of the consumer, if there was one.
    pub(super) fn deregister(&mut self, name: &str) -> Option<String> {
        self.consumers.remove(name).map(|consumer| consumer.arn)
    }

    /// The hash keys of a shard that is open.
    fn open_shard(&self, id: &ShardId) -> Result<HashKeyRange, KinesisError> {
        let shard = self.shard(id)?;
        if shard.is_open() { Ok(shard.hash_keys) } else { refused(format!("{id} is closed")) }
    }

    /// Closes shards, whose children are opened next.
    fn close(&mut self, ids: &[ShardId], now: Now) {
        self.newest += 1;
        for id in ids {
            if let Some(shard) = self.shards.get_mut(id) {
                shard.closed = Some((self.newest, now.unix_ms));
            }
        }
    }

    fn open(&mut self, parents: Vec<ShardId>, hash_keys: HashKeyRange, now: Now) -> ShardId {
        self.newest += 1;
        let id = ShardId(format!("shardId-{:012}", self.shards_made).into());
        self.shards_made += 1;
        for parent in &parents {
            if let Some(parent) = self.shards.get_mut(parent) {
                parent.children.push(ChildShard { id: id.clone(), parents: parents.clone(), hash_keys });
            }
        }
        self.shards.insert(id.clone(), ShardState::new(id.clone(), parents, hash_keys, self.newest, now.unix_ms));
        id
    }
}

impl ConsumerState {
    fn described(&self, name: &str, now: Now) -> Consumer {
        let is_active = now.monotonic_ms >= self.active_from_ms;
        let status = if is_active { ConsumerStatus::Active } else { ConsumerStatus::Creating };
        Consumer { name: name.to_owned(), arn: self.arn.clone(), status }
    }
}

fn refused<T>(reason: String) -> Result<T, KinesisError> {
    Err(KinesisError::Refused { reason })
}
