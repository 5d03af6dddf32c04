//! Clients of Kafka: what the connector needs of one, and who provides it.

mod client;
mod error;
#[cfg(feature = "librdkafka")]
pub mod librdkafka;
#[cfg(feature = "model")]
pub mod model;
pub mod msk;
mod murmur2;
mod partition;
#[cfg(any(feature = "librdkafka", feature = "model"))]
mod properties;
#[cfg(feature = "testing")]
pub mod testing;
mod token;

pub use client::{
    Admin, ClientConfig, Consumer, Fetched, Header, Isolation, Kafka, NewRecord, NewTopic, OffsetAt, PartitionReader,
    Position, Producer, Record, TimestampKind, Topic, TopicId, TransactionalProducer, Transactions, Wanted,
};
pub use error::{KafkaError, OutOfRange};
pub use murmur2::partition_of_key;
pub use partition::TopicPartition;
pub use token::{Token, TokenError, TokenSource};
