//! The cluster as a value: topics, groups and transactions. Calls take the time as an argument.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    partition::{Author, Partition, Slice, Untaken},
    transactions::{Answer, Marks, Transactional},
};
use crate::{
    Isolation, KafkaError, NewRecord, NewTopic, OffsetAt, TimestampKind, Topic, TopicId, TopicPartition, Transactions,
};

/// The largest record that a topic takes whose configuration does not say (`max.message.bytes`); as with Apache Kafka.
const RECORD_BYTES_MAX: usize = 1_048_588;
/// What a record takes beside its key, its value and its headers, at most.
const RECORD_OVERHEAD: usize = 70;
/// How many brokers there are, as far as they differ.
const BROKERS: i32 = 3;
/// How many of them keep a partition if nobody says.
const DEFAULT_REPLICATION: i32 = 1;
/// What a topic's configuration says if nobody does.
const CONFIG_DEFAULTS: &[(&str, &str)] = &[
    ("cleanup.policy", "delete"),
    ("compression.type", "producer"),
    ("delete.retention.ms", "86400000"),
    ("max.message.bytes", "1048588"),
    ("message.timestamp.type", "CreateTime"),
    ("min.cleanable.dirty.ratio", "0.5"),
    ("min.compaction.lag.ms", "0"),
    ("min.insync.replicas", "1"),
    ("retention.bytes", "-1"),
    ("retention.ms", "604800000"),
    ("segment.bytes", "1073741824"),
    ("segment.ms", "604800000"),
];

/// The time of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// For what takes time.
    pub(super) monotonic_ms: u64,
    /// For timestamps of records.
    pub(super) unix_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Cluster {
    topics: BTreeMap<String, TopicState>,
    groups: BTreeMap<String, BTreeMap<TopicPartition, i64>>,
    transactions: BTreeMap<String, Transactional>,
    next_producer: i64,
    /// How long after the end of a transaction the marks at its end are written.
    pub(super) marks_delay_ms: u64,
    /// Counts changes, so that those who wait for one are woken.
    revision: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct TopicState {
    id: TopicId,
    replication: i32,
    config: BTreeMap<String, String>,
    partitions: Vec<Partition>,
}

/// A batch of records for one partition.
#[derive(Debug, Clone)]
pub(super) struct Batch<'a> {
    pub(super) author: Author,
    /// The transactional id, if it belongs to a transaction.
    pub(super) transactional_id: Option<&'a str>,
    pub(super) partition: &'a TopicPartition,
    pub(super) sequence: i64,
    pub(super) records: Vec<NewRecord>,
}

impl Cluster {
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn touch(&mut self) {
        self.revision += 1;
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = Topic> + '_ {
        self.topics.iter().map(|(name, topic)| Topic {
            name: name.clone(),
            id: Some(topic.id),
            partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
            replication: topic.replication,
            leaderless: BTreeSet::new(),
        })
    }

    /// Returns whether there was none of that name.
    pub(super) fn create_topic(&mut self, topic: &NewTopic, id: TopicId) -> Result<bool, KafkaError> {
        check_name(&topic.name)?;
        let partitions = usize::try_from(topic.partitions).unwrap_or_default();
        if partitions == 0 {
            return Err(config(format!("the topic '{}' needs at least one partition", topic.name)));
        }
        let replication = topic.replication.unwrap_or(DEFAULT_REPLICATION);
        if !(1..=BROKERS).contains(&replication) {
            let reason =
                format!("the topic '{}' cannot be kept by {replication} brokers: there are {BROKERS}", topic.name);
            return Err(config(reason));
        }
        let known = |key: &str| CONFIG_DEFAULTS.iter().any(|(name, _)| *name == key);
        if let Some(unknown) = topic.config.keys().find(|key| !known(key)) {
            return Err(config(format!("the topic '{}' cannot have the configuration '{unknown}'", topic.name)));
        }
        if self.topics.contains_key(&topic.name) {
            return Ok(false);
        }
        let partitions = vec![Partition::new(timestamps(&topic.config)); partitions];
        let state = TopicState { id, replication, config: topic.config.clone(), partitions };
        self.topics.insert(topic.name.clone(), state);
        self.touch();
        Ok(true)
    }

    /// Returns whether there was one.
    pub(super) fn delete_topic(&mut self, name: &str) -> bool {
        let deleted = self.topics.remove(name).is_some();
        // Groups forget it, as brokers do.
        self.groups.values_mut().for_each(|offsets| offsets.retain(|of, _| &*of.topic != name));
        self.touch();
        deleted
    }

    /// Adds partitions until a topic has so many.
    pub(super) fn grow_topic(&mut self, name: &str, partitions: i32) -> Result<(), KafkaError> {
        let topic = self.topics.get_mut(name).ok_or_else(|| KafkaError::NoTopic { topic: name.to_owned() })?;
        let wanted = usize::try_from(partitions).unwrap_or_default().max(topic.partitions.len());
        topic.partitions.resize(wanted, Partition::new(timestamps(&topic.config)));
        self.touch();
        Ok(())
    }

    pub(super) fn topic_config(&self, topic: &str, key: &str) -> Result<Option<String>, KafkaError> {
        let of = self.topics.get(topic).ok_or_else(|| KafkaError::NoTopic { topic: topic.to_owned() })?;
        let default = || CONFIG_DEFAULTS.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned());
        Ok(of.config.get(key).cloned().or_else(default))
    }

    pub(super) fn partitions_of(&self, topic: &str) -> Result<u32, KafkaError> {
        let topic = self.topics.get(topic).ok_or_else(|| KafkaError::NoTopic { topic: topic.to_owned() })?;
        Ok(u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX))
    }

    pub(super) fn offset_at(&self, of: &TopicPartition, at: OffsetAt, isolation: Isolation) -> Result<i64, KafkaError> {
        Ok(self.partition(of)?.offset_at(at, isolation))
    }

    pub(super) fn read(
        &self,
        of: &TopicPartition,
        from: i64,
        records_max: usize,
        isolation: Isolation,
    ) -> Result<Slice, KafkaError> {
        let read = self.partition(of)?.read(from, records_max, isolation);
        read.ok_or_else(|| KafkaError::OffsetOutOfRange { partition: of.clone(), offset: from })
    }

    pub(super) fn delete_records(&mut self, of: &TopicPartition, before: i64) -> Result<(), KafkaError> {
        self.partition_mut(of)?.delete_before(before);
        self.touch();
        Ok(())
    }

    pub(super) fn truncate(&mut self, of: &TopicPartition, end: i64) -> Result<(), KafkaError> {
        self.partition_mut(of)?.truncate(end);
        self.touch();
        Ok(())
    }

    pub(super) fn change_leader(&mut self, of: &TopicPartition) -> Result<(), KafkaError> {
        self.partition_mut(of)?.change_leader();
        self.touch();
        Ok(())
    }

    pub(super) fn group_offsets(&self, group: &str) -> BTreeMap<TopicPartition, i64> {
        self.groups.get(group).cloned().unwrap_or_default()
    }

    pub(super) fn commit_group_offsets(
        &mut self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<(), KafkaError> {
        offsets.keys().try_for_each(|of| self.partition(of).map(drop))?;
        self.groups.entry(group.to_owned()).or_default().extend(offsets.clone());
        self.touch();
        Ok(())
    }

    /// The identity of a producer without transactions.
    pub(super) fn new_producer(&mut self) -> Author {
        Author { producer: self.spare(), epoch: 0, transactional: false }
    }

    /// Adds a batch. `NotYet`: the transaction before is still ending.
    pub(super) fn produce(&mut self, batch: Batch<'_>, now: Now) -> Result<Answer<i64>, KafkaError> {
        let limit = self.record_bytes_max(&batch.partition.topic);
        self.partition(batch.partition)?;
        if let Some(bytes) = batch.records.iter().map(record_bytes).find(|bytes| *bytes > limit) {
            let of = batch.partition;
            let reason = format!("{of} refuses a record of {bytes} bytes: it takes {limit} (max.message.bytes)");
            return Err(KafkaError::Refused { reason });
        }
        if let Some(id) = batch.transactional_id {
            let coordinator = self.transactions.get_mut(id);
            let added =
                coordinator.map_or(Answer::Fenced, |of| of.add(batch.author, batch.partition, now.monotonic_ms));
            match added {
                Answer::Done(()) => {}
                Answer::NotYet => return Ok(Answer::NotYet),
                Answer::Fenced => return Ok(Answer::Fenced),
                Answer::NoTransaction => return Ok(Answer::NoTransaction),
            }
        }
        let partition = self.partition_mut(batch.partition)?;
        match partition.append(batch.author, batch.sequence, batch.records, now.unix_ms) {
            Ok(offset) => {
                self.touch();
                Ok(Answer::Done(offset))
            }
            Err(Untaken::OldEpoch) => Ok(Answer::Fenced),
            Err(Untaken::OutOfOrder) => {
                let reason = format!("{} misses records of this producer before these", batch.partition);
                Err(KafkaError::Broken { reason })
            }
        }
    }

    /// A producer takes a transactional id.
    pub(super) fn init(&mut self, transactions: &Transactions, now: Now) -> Answer<Author> {
        let (spare, due_ms) = (self.spare(), now.monotonic_ms.saturating_add(self.marks_delay_ms));
        let of = self.transactions.entry(transactions.id.clone()).or_insert_with(|| Transactional::new(spare));
        let before = of.clone();
        let answer = of.init(transactions.timeout_ms, due_ms, spare);
        // Those who wait would wake one another for ever if nothing had changed.
        if *of != before {
            self.touch();
        }
        self.advance(now);
        answer
    }

    pub(super) fn end_transaction(&mut self, id: &str, author: Author, commit: bool, now: Now) -> Answer<()> {
        let due_ms = now.monotonic_ms.saturating_add(self.marks_delay_ms);
        let Some(of) = self.transactions.get_mut(id) else { return Answer::Fenced };
        let answer = of.end(author, commit, due_ms);
        self.touch();
        self.advance(now);
        answer
    }

    /// Ends the transaction of an id as its timeout does. Returns whether one was open.
    pub(super) fn expire(&mut self, id: &str, now: Now) -> bool {
        let (spare, due_ms) = (self.spare(), now.monotonic_ms.saturating_add(self.marks_delay_ms));
        let expired = self.transactions.get_mut(id).is_some_and(|of| of.expire(due_ms, spare));
        self.touch();
        self.advance(now);
        expired
    }

    /// The transactional ids whose transaction is open.
    pub(super) fn open_transactions(&self) -> Vec<String> {
        let open = self.transactions.iter().filter(|(_, of)| of.is_open());
        open.map(|(id, _)| id.clone()).collect()
    }

    /// Does what is due by now.
    pub(super) fn advance(&mut self, now: Now) {
        let mut due = Vec::new();
        for of in self.transactions.values_mut() {
            if of.due_ms().is_some_and(|due_ms| due_ms <= now.monotonic_ms) {
                let spare = self.next_producer;
                self.next_producer += 1;
                due.extend(of.advance(now.monotonic_ms, self.marks_delay_ms, spare));
                self.revision += 1;
            }
        }
        due.iter().for_each(|marks| self.write(marks, now));
    }

    /// How long after `now` something is due.
    pub(super) fn next_due(&self, now: Now) -> Option<u64> {
        let due = self.transactions.values().filter_map(Transactional::due_ms).min();
        due.map(|due_ms| due_ms.saturating_sub(now.monotonic_ms))
    }

    fn write(&mut self, marks: &Marks, now: Now) {
        for of in &marks.partitions {
            // A topic may have been deleted meanwhile.
            if let Ok(partition) = self.partition_mut(of) {
                partition.end_transaction(marks.author, marks.committed, now.unix_ms);
            }
        }
    }

    fn spare(&mut self) -> i64 {
        self.next_producer += 1;
        self.next_producer - 1
    }

    fn record_bytes_max(&self, topic: &str) -> usize {
        let given = self.topics.get(topic).and_then(|topic| topic.config.get("max.message.bytes"));
        given.and_then(|given| given.parse().ok()).unwrap_or(RECORD_BYTES_MAX)
    }

    fn partition(&self, of: &TopicPartition) -> Result<&Partition, KafkaError> {
        let topic = self.topics.get(&*of.topic);
        let found = topic.zip(usize::try_from(of.partition).ok()).and_then(|(topic, at)| topic.partitions.get(at));
        found.ok_or_else(|| no_topic(&of.topic))
    }

    fn partition_mut(&mut self, of: &TopicPartition) -> Result<&mut Partition, KafkaError> {
        let topic = self.topics.get_mut(&*of.topic);
        let found = topic.zip(usize::try_from(of.partition).ok()).and_then(|(topic, at)| topic.partitions.get_mut(at));
        found.ok_or_else(|| no_topic(&of.topic))
    }
}

/// About what a record takes in a log.
pub(super) fn record_bytes(record: &NewRecord) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
    RECORD_OVERHEAD + length(&record.key) + length(&record.value) + headers
}

fn timestamps(config: &BTreeMap<String, String>) -> TimestampKind {
    match config.get("message.timestamp.type").map(String::as_str) {
        Some("LogAppendTime") => TimestampKind::LogAppendTime,
        Some(_) | None => TimestampKind::CreateTime,
    }
}

fn check_name(name: &str) -> Result<(), KafkaError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let fits = !name.is_empty() && name.len() <= 249 && name != "." && name != ".." && name.bytes().all(is_allowed);
    if fits { Ok(()) } else { Err(config(format!("'{name}' cannot be the name of a topic"))) }
}

fn config(reason: String) -> KafkaError {
    KafkaError::Config { reason }
}

fn no_topic(topic: &Arc<str>) -> KafkaError {
    KafkaError::NoTopic { topic: topic.to_string() }
}
