//! What checks have at hand: streams of their own, and short ways to write and read.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::sleep;

use super::Harness;
use crate::{
    Consumer, ConsumerStatus, KinesisError, NewRecord, Page, Put, Record, SequenceNumber, Shard, ShardFilter, ShardId,
    ShardIterator, Start, Stream, StreamStatus,
};

/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(100);
/// How often something is looked at, at most.
const LOOKS_MAX: u32 = 600;

/// Kinesis, as one check sees it.
pub struct World<'a> {
    pub(super) harness: &'a dyn Harness,
    name: String,
}

/// A stream of a check.
pub(super) struct Subject<'a> {
    pub(super) name: String,
    pub(super) client: Arc<dyn Stream>,
    harness: &'a dyn Harness,
}

impl<'a> World<'a> {
    pub(super) fn new(harness: &'a dyn Harness, check: &str) -> Self {
        // What a stream may be called.
        let name = check.replace(|character: char| !character.is_ascii_alphanumeric(), "-");
        Self { harness, name }
    }

    /// A stream that there is not.
    pub(super) fn no_stream(&self) -> Arc<dyn Stream> {
        self.client("missing")
    }

    pub(super) fn client(&self, name: &str) -> Arc<dyn Stream> {
        self.harness.kinesis().stream(&self.harness.config(name)).expect("a client")
    }

    /// A stream of this check, made anew.
    pub(super) async fn stream(&self, shards: u32) -> Subject<'a> {
        self.harness.create_stream(&self.name, shards).await.expect("the stream can be created");
        let subject = Subject { name: self.name.clone(), client: self.client(&self.name), harness: self.harness };
        subject.until_active().await;
        subject
    }
}

impl Subject<'_> {
    pub(super) async fn until_active(&self) {
        until("the stream is active", async || match self.client.describe().await {
            Ok(described) => described.status == StreamStatus::Active,
            Err(KinesisError::NoStream { .. } | KinesisError::Throttled { .. }) => false,
            Err(error) => panic!("{error}"),
        })
        .await;
    }

    pub(super) async fn shards(&self, filter: &ShardFilter) -> Vec<Shard> {
        self.client.shards(filter).await.expect("shards are listed")
    }

    pub(super) async fn all_shards(&self) -> Vec<Shard> {
        self.shards(&ShardFilter::All).await
    }

    /// The shard of a stream that has one.
    pub(super) async fn only_shard(&self) -> ShardId {
        let shards = self.all_shards().await;
        assert_eq!(shards.len(), 1, "{shards:?}");
        shards[0].id.clone()
    }

    /// Splits a shard in the middle, waits, and returns the children in the order of hash keys.
    pub(super) async fn split(&self, shard: &ShardId) -> [Shard; 2] {
        let all = self.all_shards().await;
        let whole = all.iter().find(|known| known.id == *shard).expect("the shard is known").hash_keys;
        let middle = whole.first + (whole.last - whole.first) / 2 + 1;
        self.harness.split(&self.name, shard, middle).await.expect("the shard can be split");
        let mut children = self.children_of(shard, 2).await;
        children.sort_by_key(|child| child.hash_keys);
        children.try_into().expect("two children")
    }

    /// Merges two shards, waits, and returns the child.
    pub(super) async fn merge(&self, one: &ShardId, other: &ShardId) -> Shard {
        self.harness.merge(&self.name, one, other).await.expect("the shards can be merged");
        self.children_of(one, 1).await.remove(0)
    }

    async fn children_of(&self, parent: &ShardId, count: usize) -> Vec<Shard> {
        let is_child = |shard: &Shard| shard.parents().any(|of| of == parent);
        until("there are children", async || {
            self.all_shards().await.iter().filter(|shard| is_child(shard)).count() == count
        })
        .await;
        self.until_active().await;
        self.all_shards().await.into_iter().filter(is_child).collect()
    }

    /// Writes records, those that are throttled again and again.
    pub(super) async fn put(&self, records: &[NewRecord]) -> Vec<Put> {
        let mut puts: Vec<Option<Put>> = vec![None; records.len()];
        let mut looks = 0;
        while puts.contains(&None) {
            let missing: Vec<usize> = (0..records.len()).filter(|at| puts[*at].is_none()).collect();
            let again: Vec<NewRecord> = missing.iter().map(|at| records[*at].clone()).collect();
            let results = retried(async || self.client.put_records(&again).await).await.expect("they can be written");
            assert_eq!(results.len(), again.len());
            for (at, result) in missing.into_iter().zip(results) {
                puts[at] = result.ok();
            }
            looks += 1;
            assert!(looks < LOOKS_MAX, "records are not written");
            sleep(PAUSE).await;
        }
        puts.into_iter().flatten().collect()
    }

    /// Writes values one after another, so that they are in this order, and all in the shard of one key.
    pub(super) async fn put_values(&self, values: &[&str]) -> Vec<Put> {
        let mut puts = Vec::new();
        for value in values {
            puts.extend(self.put(&[new("key", value)]).await);
        }
        puts
    }

    pub(super) async fn iterator(&self, shard: &ShardId, start: &Start) -> ShardIterator {
        retried(async || self.client.iterator(shard, start).await).await.expect("an iterator")
    }

    pub(super) async fn page(&self, iterator: &ShardIterator, records_max: usize) -> Page {
        retried(async || self.client.get_records(iterator, records_max).await).await.expect("records")
    }

    /// Reads until `behind_ms` is 0 or the shard ends.
    pub(super) async fn read_from(&self, shard: &ShardId, start: &Start) -> Vec<Record> {
        let iterator = self.iterator(shard, start).await;
        self.read_on(iterator).await.0
    }

    /// Reads on until `behind_ms` is 0 or the shard ends. Returns the last page, too.
    pub(super) async fn read_on(&self, from: ShardIterator) -> (Vec<Record>, Page) {
        let (mut records, mut iterator, mut looks) = (Vec::new(), from, 0);
        loop {
            let mut page = self.page(&iterator, 1_000).await;
            let is_empty = page.records.is_empty();
            records.append(&mut page.records);
            match &page.next {
                None => return (records, page),
                Some(_) if is_empty && page.behind_ms == Some(0) => return (records, page),
                Some(next) => iterator = next.clone(),
            }
            looks += 1;
            assert!(looks < LOOKS_MAX, "the shard does not end");
        }
    }

    /// Registers a consumer, and waits until it can subscribe.
    pub(super) async fn consumer(&self, name: &str) -> Consumer {
        self.client.register_consumer(name).await.expect("a consumer can be registered");
        until("the consumer is active", async || {
            let consumer = self.client.consumer(name).await.expect("consumers are told of");
            consumer.is_some_and(|consumer| consumer.status == ConsumerStatus::Active)
        })
        .await;
        self.client.consumer(name).await.expect("consumers are told of").expect("it is there")
    }
}

/// Waits until something holds.
pub(super) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let mut looks = 0_u32;
    while !holds().await {
        looks += 1;
        assert!(looks < LOOKS_MAX, "in vain: {what}");
        sleep(PAUSE).await;
    }
}

/// Calls again while it is throttled.
pub(super) async fn retried<T>(call: impl AsyncFn() -> Result<T, KinesisError>) -> Result<T, KinesisError> {
    let mut looks = 0_u32;
    loop {
        let result = call().await;
        if !matches!(result, Err(KinesisError::Throttled { .. })) || looks == LOOKS_MAX {
            return result;
        }
        looks += 1;
        sleep(PAUSE).await;
    }
}

pub(super) fn new(key: &str, value: &str) -> NewRecord {
    NewRecord { partition_key: key.to_owned(), explicit_hash_key: None, data: Bytes::copy_from_slice(value.as_bytes()) }
}

pub(super) fn values(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8(record.data.to_vec()).expect("it is text")).collect()
}

pub(super) fn numbers(records: &[Record]) -> Vec<SequenceNumber> {
    records.iter().map(|record| record.sequence_number.clone()).collect()
}
