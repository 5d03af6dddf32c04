//! What the connector needs of a client of Kinesis Data Streams. The process provides AWS's SDK; the simulation, a model.
//!
//! No call is tried again by the client: the caller backs off, and shows that it does. Each call ends within
//! `ClientConfig::timeout_ms`. Unless said otherwise, a call that is dropped may have had its effect.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{ChildShard, ClientConfig, KinesisError, SequenceNumber, Shard, ShardId};

/// The most records that one `put_records` takes.
pub const PUT_RECORDS_MAX: usize = 500;
/// The most bytes that one `put_records` takes: of data and partition keys (`put_bytes`).
pub const PUT_BYTES_MAX: usize = 10 << 20;
/// The most bytes of one record, data and partition key, unless the stream is set otherwise (`StreamDescription::record_bytes_max`).
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// The most characters of a partition key, which has at least one.
pub const PARTITION_KEY_CHARS_MAX: usize = 256;
/// The most records that one `get_records` returns.
pub const GET_RECORDS_MAX: usize = 10_000;
/// When a subscription ends by itself.
pub const SUBSCRIPTION: Duration = Duration::from_mins(5);

/// Opens clients. No client connects before it is asked something.
pub trait Kinesis: Send + Sync + fmt::Debug {
    /// A client of one stream.
    ///
    /// # Errors
    /// `Config`, if the configuration does not fit.
    fn stream(&self, config: &ClientConfig) -> Result<Arc<dyn Stream>, KinesisError>;
}

/// A client of one stream.
#[async_trait]
pub trait Stream: Send + Sync {
    /// Where the surroundings of the process lead it, with what says so, as is known once it was asked something; `None`: where the
    /// configuration says.
    fn led_to(&self) -> Option<String> {
        None
    }

    /// What the stream is now. Kinesis allows 20 of these calls a second per account.
    ///
    /// # Errors
    /// If Kinesis does not answer, or refuses; `NoStream`.
    async fn describe(&self) -> Result<StreamDescription, KinesisError>;

    /// The shards that Kinesis still knows, all pages of the list, by id. Closed shards stay in the list for as long as their records are
    /// kept. A parent may be missing. Kinesis allows 1,000 calls (pages of 1,000) a second per stream.
    ///
    /// # Errors
    /// If Kinesis does not answer, or refuses; `NoStream`. A stream that is being created or deleted is `Busy`.
    async fn shards(&self, filter: &ShardFilter) -> Result<Vec<Shard>, KinesisError>;

    /// An iterator at a place in a shard; it expires after five minutes. Kinesis allows five of these calls a second per shard.
    ///
    /// A position that retention has passed is **no** error: reading goes on at the first record that is kept. Who needs to
    /// know reads with `Start::At` the last record that was read: if another is the first to come, or `behind_ms` reaches 0
    /// without it, the position was trimmed.
    ///
    /// # Errors
    /// If Kinesis does not answer, or refuses; `NoStream`; `NoShard`, also for a closed one whose records are all trimmed;
    /// `BadPosition`, for a sequence number that the shard cannot have.
    async fn iterator(&self, shard: &ShardId, start: &Start) -> Result<ShardIterator, KinesisError>;

    /// Records behind an iterator, at most 10 MiB, or one larger record; none does not mean that there are no more. Takes at
    /// most `GET_RECORDS_MAX`. Kinesis allows five of these calls a second per shard, and 2 MiB a second.
    ///
    /// # Errors
    /// If Kinesis does not answer, or refuses; `ExpiredIterator`; `Throttled`; `NoStream`; `NoShard`.
    async fn get_records(&self, iterator: &ShardIterator, records_max: usize) -> Result<Page, KinesisError>;

    /// Registers a consumer for enhanced fan-out. It has to become `Active` before it can subscribe. Kinesis allows five calls a second
    /// per stream, and 20 consumers.
    ///
    /// # Errors
    /// If Kinesis does not answer, or refuses; `Busy`, if there is one of that name; `Throttled`, if there are too many; `NoStream`.
    async fn register_consumer(&self, name: &str) -> Result<Consumer, KinesisError>;

    /// The consumer of this name; `None`: there is none. Kinesis allows 20 calls a second per stream.
    ///
    /// # Errors
    /// If Kinesis does not answer, or refuses; `NoStream`, if the client can tell it from a missing consumer.
    async fn consumer(&self, name: &str) -> Result<Option<Consumer>, KinesisError>;

    /// Removes a consumer. Returns whether there was one.
    ///
    /// # Errors
    /// If Kinesis does not answer, or refuses.
    async fn deregister_consumer(&self, name: &str) -> Result<bool, KinesisError>;

    /// Subscribes a consumer to a shard. A second subscription within five seconds of the one before is `Busy`; later, it ends that one.
    /// What is said at `iterator` of positions that retention has passed holds here, too. What is wrong may be told by the first
    /// `Subscription::next` instead.
    ///
    /// # Errors
    /// If Kinesis does not answer, or refuses; `NoStream`; `NoShard`; `NoConsumer`; `Busy`, also while the consumer is not active;
    /// `BadPosition`; `Throttled`.
    async fn subscribe(
        &self,
        consumer_arn: &str,
        shard: &ShardId,
        start: &Start,
    ) -> Result<Box<dyn Subscription>, KinesisError>;

    /// Writes records; each may fail by itself, and they keep no order among them. The results are in the order of `records`. Within
    /// `PUT_RECORDS_MAX` and `PUT_BYTES_MAX`.
    ///
    /// # Errors
    /// If the whole call fails: if Kinesis does not answer (then records may have been written), or refuses; `NoStream`; `Throttled`;
    /// `Refused`, if one of the records is not allowed, or there are none or too many.
    async fn put_records(&self, records: &[NewRecord]) -> Result<Vec<Result<Put, PutFailed>>, KinesisError>;
}

/// Receives the records of one shard. Dropping it ends the subscription.
#[async_trait]
pub trait Subscription: Send {
    /// Waits for the next event; `None`: the subscription has ended, after `SUBSCRIPTION` or at the shard's end. Cancel-safe.
    /// Events without records come every few seconds, too. Go on with `Start::After` the last event's `continuation`.
    ///
    /// # Errors
    /// If the connection breaks, or Kinesis ends the subscription: then subscribe again.
    async fn next(&mut self) -> Result<Option<Event>, KinesisError>;
}

/// What a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamDescription {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// Whether it can be used.
    pub status: StreamStatus,
    /// When it was created, in milliseconds since 1970: tells it from one of the same name that was deleted. Kinesis tells whole seconds.
    pub created_ms: i64,
    /// How long it keeps records, in hours.
    pub retention_hours: u32,
    /// The number of its open shards.
    pub open_shards: u32,
    /// `None`: Kinesis does not tell.
    pub mode: Option<StreamMode>,
    /// The most bytes of a record, data and partition key.
    pub record_bytes_max: usize,
}

/// Whether a stream can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamStatus {
    /// Not yet.
    Creating,
    /// Not any more.
    Deleting,
    /// Yes.
    Active,
    /// Yes, while its shards or settings change.
    Updating,
}

/// How a stream's capacity is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamMode {
    /// Somebody sets the number of shards.
    Provisioned,
    /// Kinesis splits and merges shards.
    OnDemand,
}

/// Which shards are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardFilter {
    /// All that are known.
    All,
    /// Those that are open.
    AtLatest,
    /// Those that were open where the records that are kept begin.
    AtTrimHorizon,
    /// All that have records that are kept, and those that are open.
    FromTrimHorizon,
    /// Those that were open at this time, in milliseconds since 1970. Within the stream's retention.
    AtTimestamp(i64),
    /// Those that were open at this time or later, in milliseconds since 1970. Within the stream's retention.
    FromTimestamp(i64),
    /// Those whose ids are behind this one.
    After(ShardId),
}

/// Where reading of a shard starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At the first record that is kept.
    TrimHorizon,
    /// Behind the last.
    Latest,
    /// At the first record that arrived at this time or later, in milliseconds since 1970.
    Timestamp(i64),
    /// At the record of this sequence number.
    At(SequenceNumber),
    /// At the first record behind this sequence number.
    After(SequenceNumber),
}

/// A place in a shard, for one `get_records`. Opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardIterator {
    /// The shard, as errors name it.
    pub shard: ShardId,
    /// What Kinesis calls the iterator.
    pub token: String,
}

/// What `get_records` returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order of sequence numbers; they may be none.
    pub records: Vec<Record>,
    /// Where to go on; `None`: the shard is closed, and all of it has been read.
    pub next: Option<ShardIterator>,
    /// How far behind the shard's end the page's end is, in milliseconds; 0: all was returned. `None`: not told.
    pub behind_ms: Option<u64>,
    /// Where a closed shard has ended, its children; otherwise none.
    pub children: Vec<ChildShard>,
}

/// What a subscription receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// In the order of sequence numbers; they may be none.
    pub records: Vec<Record>,
    /// Behind what the next subscription starts (`Start::After`); it may be no record's. `None`: the shard is closed, and all
    /// of it has been read.
    pub continuation: Option<SequenceNumber>,
    /// How far behind the shard's end the event's end is, in milliseconds; 0: all was received. `None`: not told.
    pub behind_ms: Option<u64>,
    /// Where a closed shard has ended, its children; otherwise none.
    pub children: Vec<ChildShard>,
}

/// A record that was read. It may be an aggregated one (`aggregation`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the shard.
    pub sequence_number: SequenceNumber,
    /// About when it arrived, in milliseconds since 1970; `None`: not told.
    pub arrived_ms: Option<i64>,
    /// What its producer gave.
    pub partition_key: String,
    /// Its bytes.
    pub data: Bytes,
}

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// At least one character, at most `PARTITION_KEY_CHARS_MAX`.
    pub partition_key: String,
    /// Chooses the shard; `None`: the partition key's hash does (`hash_key_of`).
    pub explicit_hash_key: Option<u128>,
    /// Its bytes.
    pub data: Bytes,
}

/// What a record counts towards `PUT_BYTES_MAX`, and towards the most bytes of a record.
#[must_use]
pub fn put_bytes(record: &NewRecord) -> usize {
    record.data.len() + record.partition_key.len()
}

/// Where a record was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The shard.
    pub shard: ShardId,
    /// Its place in the shard.
    pub sequence_number: SequenceNumber,
}

/// Why a record was not written. The same may succeed later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutFailed {
    /// Its shard has no throughput left.
    #[error("{reason}")]
    Throttled {
        /// Names the shard.
        reason: String,
    },
    /// Something in Kinesis failed.
    #[error("{reason}")]
    Failed {
        /// The code, and what Kinesis says.
        reason: String,
    },
}

/// A consumer of enhanced fan-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// What `subscribe` wants.
    pub arn: String,
    /// Whether it can subscribe.
    pub status: ConsumerStatus,
}

/// Whether a consumer can subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumerStatus {
    /// Not yet.
    Creating,
    /// Not any more.
    Deleting,
    /// Yes.
    Active,
}
