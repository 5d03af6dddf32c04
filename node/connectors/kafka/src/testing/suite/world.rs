//! What checks have at hand: topics of their own, and short ways to write and read.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::sleep;

use super::Harness;
use crate::{
    Admin, ClientConfig, Consumer, Fetched, Isolation, NewRecord, NewTopic, OffsetAt, PartitionReader, Producer,
    Record, TopicPartition, TransactionalProducer, Transactions,
};

/// Long enough that no transaction expires that should not.
const TRANSACTION_MS: u64 = 60_000;
/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// A cluster, as one check sees it.
pub struct World<'a> {
    pub(super) harness: &'a dyn Harness,
    name: String,
}

impl<'a> World<'a> {
    pub(super) fn new(harness: &'a dyn Harness, check: &str) -> Self {
        // What a topic may be called.
        let name = check.replace(|character: char| !character.is_ascii_alphanumeric(), "-");
        Self { harness, name }
    }

    /// A name that no other check has.
    pub(super) fn named(&self, what: &str) -> String {
        format!("{}.{what}", self.name)
    }

    /// Properties, some of them changed.
    pub(super) fn config(&self, changed: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.harness.config();
        config.properties.extend(changed.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        config
    }

    pub(super) fn admin(&self) -> Arc<dyn Admin> {
        self.harness.kafka().admin(&self.config(&[])).expect("a client that asks")
    }

    pub(super) fn consumer(&self, isolation: Isolation) -> Arc<dyn Consumer> {
        self.harness.kafka().consumer(&self.config(&[]), isolation).expect("a client that reads")
    }

    pub(super) fn producer(&self) -> Box<dyn Producer> {
        self.harness.kafka().producer(&self.config(&[])).expect("a client that writes")
    }

    /// A producer of this transactional id, which it has not taken yet.
    pub(super) fn transactional(&self, id: &str) -> Box<dyn TransactionalProducer> {
        self.transactional_within(id, TRANSACTION_MS)
    }

    pub(super) fn transactional_within(&self, id: &str, timeout_ms: u64) -> Box<dyn TransactionalProducer> {
        let transactions = Transactions { id: self.named(id), timeout_ms };
        let producer = self.harness.kafka().transactional(&self.config(&[]), &transactions);
        producer.expect("a client that writes in transactions")
    }

    /// A topic of this check, made anew.
    pub(super) async fn topic(&self, what: &str, partitions: i32) -> Arc<str> {
        self.topic_with(what, partitions, &[]).await
    }

    pub(super) async fn topic_with(&self, what: &str, partitions: i32, config: &[(&str, &str)]) -> Arc<str> {
        let name = self.named(what);
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let topic = NewTopic { name: name.clone(), partitions, replication: None, config };
        let created = self.admin().create_topic(&topic).await.expect("the topic can be created");
        assert!(created, "there was a topic '{name}' already");
        self.until("the topic has leaders", async || {
            let (admin, of) = (self.admin(), all(&name, partitions));
            admin.offsets(&of, OffsetAt::Latest, Isolation::ReadUncommitted).await.is_ok()
        })
        .await;
        name.into()
    }

    /// Writes values to partition 0 of a topic.
    pub(super) async fn write(&self, topic: &Arc<str>, values: &[&str]) {
        let mut producer = self.producer();
        producer.send(values.iter().map(|value| to(topic, 0, value)).collect()).await.expect("they are handed over");
        producer.flush().await.expect("they are written");
    }

    /// Opens a reader by a consumer of its own.
    pub(super) async fn reader(&self, topic: &Arc<str>, offset: i64, isolation: Isolation) -> Box<dyn PartitionReader> {
        self.consumer(isolation).read(&first_of(topic), offset).await.expect("a reader")
    }

    /// The values of partition 0 of a topic, when as many as wanted are there, and no more.
    pub(super) async fn values(&self, topic: &Arc<str>, isolation: Isolation, wanted: usize) -> Vec<String> {
        let mut reader = self.reader(topic, 0, isolation).await;
        let records = read_count(reader.as_mut(), wanted).await;
        read_nothing(reader.as_mut()).await;
        records.iter().map(value_of).collect()
    }

    pub(super) async fn offset(&self, topic: &Arc<str>, at: OffsetAt, isolation: Isolation) -> i64 {
        let of = first_of(topic);
        let told = self.admin().offsets(std::slice::from_ref(&of), at, isolation).await;
        let offsets = told.expect("the offset is told");
        *offsets.get(&of).expect("it is that of the partition")
    }

    /// Waits until no transaction is open in partition 0 of a topic.
    pub(super) async fn settled(&self, topic: &Arc<str>) {
        self.until("transactions have ended", async || {
            let committed = self.offset(topic, OffsetAt::Latest, Isolation::ReadCommitted).await;
            committed == self.offset(topic, OffsetAt::Latest, Isolation::ReadUncommitted).await
        })
        .await;
    }

    /// Waits until something holds; the check's limit is its limit.
    pub(super) async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let mut looks = 0_u32;
        while !holds().await {
            looks += 1;
            assert!(looks < 3_000, "in vain: {what}");
            sleep(PAUSE).await;
        }
    }

    /// Offsets of a group.
    pub(super) async fn group_offsets(&self, group: &str, of: &[TopicPartition]) -> BTreeMap<TopicPartition, i64> {
        self.admin().group_offsets(group, of).await.expect("the offsets are told")
    }
}

/// Partition 0.
pub(super) fn first_of(topic: &Arc<str>) -> TopicPartition {
    partition(topic, 0)
}

pub(super) fn partition(topic: &Arc<str>, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.clone(), partition }
}

pub(super) fn all(topic: &str, partitions: i32) -> Vec<TopicPartition> {
    (0..partitions).map(|partition| TopicPartition { topic: topic.into(), partition }).collect()
}

/// A record for a partition, without a key.
pub(super) fn to(topic: &Arc<str>, partition: i32, value: &str) -> NewRecord {
    NewRecord { partition: Some(partition), value: Some(Bytes::copy_from_slice(value.as_bytes())), ..empty(topic) }
}

/// A record with a key, which chooses the partition.
pub(super) fn keyed(topic: &Arc<str>, key: &str, value: &str) -> NewRecord {
    NewRecord { partition: None, key: Some(Bytes::copy_from_slice(key.as_bytes())), ..to(topic, 0, value) }
}

pub(super) fn empty(topic: &Arc<str>) -> NewRecord {
    NewRecord {
        topic: topic.clone(),
        partition: Some(0),
        key: None,
        value: None,
        headers: Vec::new(),
        timestamp_ms: None,
    }
}

pub(super) fn value_of(record: &Record) -> String {
    let value = record.value.as_deref().expect("it has a value");
    String::from_utf8(value.to_vec()).expect("it is text")
}

/// Reads so many records; passes over the ends that are reached meanwhile.
pub(super) async fn read_count(reader: &mut dyn PartitionReader, wanted: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < wanted {
        match reader.next(wanted - records.len()).await.expect("it can be read") {
            Fetched::Records(more) => records.extend(more),
            Fetched::CaughtUp => {}
        }
    }
    records
}

/// Reads to the end of what can be read now.
pub(super) async fn read_to_end(reader: &mut dyn PartitionReader) -> Vec<Record> {
    let mut records = Vec::new();
    loop {
        match reader.next(1_000).await.expect("it can be read") {
            Fetched::Records(more) => records.extend(more),
            Fetched::CaughtUp => return records,
        }
    }
}

/// Makes sure that there is nothing more.
pub(super) async fn read_nothing(reader: &mut dyn PartitionReader) {
    let quiet = tokio::time::timeout(Duration::from_millis(300), async {
        loop {
            match reader.next(10).await.expect("it can be read") {
                Fetched::Records(more) => return more,
                Fetched::CaughtUp => {}
            }
        }
    });
    if let Ok(more) = quiet.await {
        panic!("there are {} records more: {:?}", more.len(), more.first());
    }
}
