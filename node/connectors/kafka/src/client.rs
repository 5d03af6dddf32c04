//! What the connector needs of a client of Kafka. The process provides librdkafka; the simulation, a model of a broker.
//!
//! Calls that ask a broker wait as long as the client does (`socket.timeout.ms`, `transaction.timeout.ms` and others); a
//! caller that needs a bound sets one around the call. Unless said otherwise, a call that is dropped may have had its effect.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{KafkaError, TokenSource, TopicPartition};

/// Opens clients. No client connects before it is asked something, and none creates a topic but by `Admin::create_topic`, whatever brokers
/// would do by themselves.
pub trait Kafka: Send + Sync + fmt::Debug {
    /// A client that asks about topics, offsets and groups.
    ///
    /// # Errors
    /// If a property does not fit.
    fn admin(&self, config: &ClientConfig) -> Result<Arc<dyn Admin>, KafkaError>;

    /// A client that reads partitions, each given to it by hand; it joins no group.
    ///
    /// # Errors
    /// If a property does not fit.
    fn consumer(&self, config: &ClientConfig, isolation: Isolation) -> Result<Arc<dyn Consumer>, KafkaError>;

    /// A client that writes records without transactions.
    ///
    /// # Errors
    /// If a property does not fit.
    fn producer(&self, config: &ClientConfig) -> Result<Box<dyn Producer>, KafkaError>;

    /// A client that writes records in transactions.
    ///
    /// # Errors
    /// If a property does not fit.
    fn transactional(
        &self,
        config: &ClientConfig,
        transactions: &Transactions,
    ) -> Result<Box<dyn TransactionalProducer>, KafkaError>;
}

/// Properties of a client, by librdkafka's names, with `bootstrap.servers` among them. `Debug` shows no values, since some are
/// secret.
#[derive(Clone, Default)]
pub struct ClientConfig {
    /// The properties.
    pub properties: BTreeMap<String, String>,
    /// The most bytes that the client may hold in queues.
    pub queue_bytes: u64,
    /// Gives the tokens for `sasl.mechanism=OAUTHBEARER`.
    pub token: Option<Arc<dyn TokenSource>>,
}

/// Two are equal if their clients are the same; the tokens, if they come from the same source.
impl PartialEq for ClientConfig {
    fn eq(&self, other: &Self) -> bool {
        let same_tokens = match (&self.token, &other.token) {
            (None, None) => true,
            (Some(own), Some(others)) => Arc::ptr_eq(own, others),
            (None, Some(_)) | (Some(_), None) => false,
        };
        same_tokens && self.properties == other.properties && self.queue_bytes == other.queue_bytes
    }
}

impl Eq for ClientConfig {}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("ClientConfig")
            .field("properties", &keys)
            .field("queue_bytes", &self.queue_bytes)
            .field("token", &self.token)
            .finish()
    }
}

/// How a transactional producer is known to brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transactions {
    /// Its transactional id.
    pub id: String,
    /// When brokers abort a transaction that is not ended, in milliseconds.
    pub timeout_ms: u64,
}

/// Which records of transactions are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Those of committed ones, up to the first that is open.
    ReadCommitted,
    /// All.
    ReadUncommitted,
}

/// What tells a topic from one of the same name that was made after it was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u128);

/// A topic that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// `None`: the cluster gives topics no ids.
    pub id: Option<TopicId>,
    /// The number of its partitions, which count from 0.
    pub partitions: i32,
    /// How many brokers keep each partition, at least.
    pub replication: i32,
    /// The partitions that no broker leads now: they can be neither read nor written.
    pub leaderless: BTreeSet<i32>,
}

/// Which topics are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Those of these names.
    Named(Vec<String>),
    /// All that are not internal.
    All,
}

/// An offset that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetAt {
    /// The first that is kept.
    Earliest,
    /// Behind the last: with `ReadCommitted`, that of the first open transaction.
    Latest,
    /// The first record of this time or a later one, in milliseconds; behind the last if there is none.
    Timestamp(i64),
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// The number of its partitions.
    pub partitions: i32,
    /// How many brokers keep each partition; `None`: as many as brokers have for their default.
    pub replication: Option<i32>,
    /// Its configuration, such as `cleanup.policy`.
    pub config: BTreeMap<String, String>,
}

/// Asks about topics, offsets and groups.
#[async_trait]
pub trait Admin: Send + Sync {
    /// The topics that exist, of those that are wanted, by name.
    ///
    /// # Errors
    /// If brokers do not answer, or refuse.
    async fn topics(&self, wanted: &Wanted) -> Result<Vec<Topic>, KafkaError>;

    /// Offsets of partitions.
    ///
    /// # Errors
    /// If brokers do not answer, or refuse; if one of the partitions does not exist.
    async fn offsets(
        &self,
        partitions: &[TopicPartition],
        at: OffsetAt,
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, i64>, KafkaError>;

    /// The offsets that a group has committed. Partitions without one are left out.
    ///
    /// # Errors
    /// If brokers do not answer, or refuse.
    async fn group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>, KafkaError>;

    /// Commits offsets for a group without members.
    ///
    /// # Errors
    /// If brokers do not answer, or refuse.
    async fn commit_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<(), KafkaError>;

    /// Creates a topic. Returns whether it did; if not, there is one of that name.
    ///
    /// # Errors
    /// If brokers do not answer, or refuse.
    async fn create_topic(&self, topic: &NewTopic) -> Result<bool, KafkaError>;

    /// The value of a topic's configuration; `None` if it has no such key.
    ///
    /// # Errors
    /// If brokers do not answer, or refuse; if there is no such topic.
    async fn topic_config(&self, topic: &str, key: &str) -> Result<Option<String>, KafkaError>;
}

/// Reads partitions.
#[async_trait]
pub trait Consumer: Send + Sync {
    /// Reads a partition from a position on. Dropping the reader ends that. A partition has one reader at a time.
    ///
    /// # Errors
    /// If the client cannot.
    async fn read_from(
        &self,
        partition: &TopicPartition,
        from: Position,
    ) -> Result<Box<dyn PartitionReader>, KafkaError>;

    /// Reads a partition from an offset on, whatever was read before it.
    ///
    /// # Errors
    /// If the client cannot.
    async fn read(&self, partition: &TopicPartition, offset: i64) -> Result<Box<dyn PartitionReader>, KafkaError> {
        self.read_from(partition, Position { offset, leader_epoch: None }).await
    }
}

/// Where in a partition somebody reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The next offset that is read.
    pub offset: i64,
    /// The leader epoch of the record right before it, which was read. By that brokers find out whether the record is still there
    /// (`OutOfRange::CutBack`). `None`: nothing is known of it.
    pub leader_epoch: Option<i32>,
}

/// Reads one partition.
#[async_trait]
pub trait PartitionReader: Send {
    /// Waits for records, or for the end of what can be read now. Cancel-safe. Brokers that are gone are waited for; what the client
    /// says of that meanwhile is in `trouble`.
    ///
    /// # Errors
    /// If the offset is out of range, what was read before it is not there any more, the topic is gone, or the cluster refuses the client.
    async fn next(&mut self, records_max: usize) -> Result<Fetched, KafkaError>;

    /// The offset from which to go on: behind all records that `next` has returned, and at a `CaughtUp` behind the
    /// control records too.
    fn position(&self) -> i64;

    /// What keeps the client from reading now, if something does.
    fn trouble(&self) -> Option<String> {
        None
    }
}

/// What `PartitionReader::next` returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// At least one record, in the order of offsets.
    Records(Vec<Record>),
    /// There is nothing more to read now. Told once for each end that is reached.
    CaughtUp,
}

/// A header of a record.
pub type Header = (String, Option<Bytes>);

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: i64,
    /// In milliseconds since 1970; `None`: the record has none.
    pub timestamp: Option<(TimestampKind, i64)>,
    /// `None`: it has no key.
    pub key: Option<Bytes>,
    /// `None`: it is a tombstone.
    pub value: Option<Bytes>,
    /// In the order in which they were written; names may repeat.
    pub headers: Vec<Header>,
    /// `None`: the broker did not tell it.
    pub leader_epoch: Option<i32>,
}

/// Who gave a record its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampKind {
    /// The producer.
    CreateTime,
    /// The broker.
    LogAppendTime,
}

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// The topic's name.
    pub topic: Arc<str>,
    /// `None`: by the hash of its key, as Java's clients hash it, and at random without a key.
    pub partition: Option<i32>,
    /// `None`: it has no key.
    pub key: Option<Bytes>,
    /// `None`: it is a tombstone.
    pub value: Option<Bytes>,
    /// In this order; names may repeat.
    pub headers: Vec<Header>,
    /// In milliseconds since 1970, at least `TIMESTAMP_MS_MIN`; `None`: the time of sending.
    pub timestamp_ms: Option<i64>,
}

impl NewRecord {
    /// The first timestamp that a record can have: librdkafka takes 0 for none, and brokers take nothing before. A record with an earlier one
    /// is refused.
    pub const TIMESTAMP_MS_MIN: i64 = 1;

    /// Whether no client can write the record with the timestamp that it has.
    #[cfg(any(feature = "librdkafka", feature = "model"))]
    pub(crate) fn is_early(&self) -> bool {
        self.timestamp_ms.is_some_and(|timestamp_ms| timestamp_ms < Self::TIMESTAMP_MS_MIN)
    }
}

/// Writes records. Dropping it gives up those that brokers have not acknowledged.
#[async_trait]
pub trait Producer: Send {
    /// Hands records over, in order. Waits while the client's queue is full. Records that could not be written are told of by the
    /// next call, or by `flush`.
    ///
    /// # Errors
    /// If records cannot be written.
    async fn send(&mut self, records: Vec<NewRecord>) -> Result<(), KafkaError>;

    /// Waits until brokers have acknowledged all records.
    ///
    /// # Errors
    /// If records cannot be written.
    async fn flush(&mut self) -> Result<(), KafkaError>;
}

/// Writes records in transactions: `init`, then for each transaction `begin`, `send`.., `commit` or `abort`. If one of these calls is dropped
/// before it ends, the producer cannot go on (`Broken`).
#[async_trait]
pub trait TransactionalProducer: Producer {
    /// Takes the transactional id: ends what another producer of it has left open, and fences that producer.
    ///
    /// # Errors
    /// If brokers do not answer, or refuse.
    async fn init(&mut self) -> Result<(), KafkaError>;

    /// Begins a transaction.
    ///
    /// # Errors
    /// If one is open, or the producer is fenced.
    async fn begin(&mut self) -> Result<(), KafkaError>;

    /// Flushes and commits. After an error other than `Aborted` and `Refused` it is not known whether it was committed; after these two it is not,
    /// and can be aborted.
    ///
    /// # Errors
    /// If the transaction expired, the producer is fenced, or brokers do not answer; `Refused`, if one of the records is.
    async fn commit(&mut self) -> Result<(), KafkaError>;

    /// Aborts the transaction.
    ///
    /// # Errors
    /// If the producer is fenced, or brokers do not answer.
    async fn abort(&mut self) -> Result<(), KafkaError>;
}
