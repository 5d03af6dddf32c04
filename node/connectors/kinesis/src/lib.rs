//! Clients of Kinesis Data Streams: what the connector needs of one, and who provides it.

pub mod aggregation;
#[cfg(feature = "aws")]
pub mod aws;
#[cfg(any(feature = "aws", feature = "model"))]
mod checks;
mod client;
mod config;
mod error;
mod hash_key;
#[cfg(feature = "model")]
pub mod model;
mod shard;
#[cfg(feature = "testing")]
pub mod testing;

pub use client::{
    Consumer, ConsumerStatus, Event, GET_RECORDS_MAX, Kinesis, NewRecord, PARTITION_KEY_CHARS_MAX, PUT_BYTES_MAX,
    PUT_RECORDS_MAX, Page, Put, PutFailed, RECORD_BYTES_MAX, Record, SUBSCRIPTION, ShardFilter, ShardIterator, Start,
    Stream, StreamDescription, StreamMode, StreamStatus, Subscription, put_bytes,
};
pub use config::{AssumedRole, ClientConfig, CredentialsFrom, StaticKeys, StreamName};
pub use error::KinesisError;
pub use hash_key::{HashKeyRange, hash_key_of};
pub use shard::{ChildShard, NotASequenceNumber, SequenceNumber, SequenceNumberRange, Shard, ShardId};
