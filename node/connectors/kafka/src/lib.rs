//! Clients of Kafka: what the connector needs of one, and who provides it.

mod client;
mod error;

pub use client::{
    Admin, ClientConfig, Consumer, Fetched, Header, Isolation, Kafka, NewRecord, NewTopic, OffsetAt, PartitionReader,
    Producer, Record, TimestampKind, Topic, TopicId, TopicPartition, TransactionalProducer, Transactions, Wanted,
};
pub use error::KafkaError;
