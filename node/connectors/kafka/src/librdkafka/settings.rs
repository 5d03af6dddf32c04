//! The properties of librdkafka's clients: the connector's own, then those that people give.

use std::collections::BTreeMap;

use rdkafka::{ClientConfig as NativeConfig, config::RDKafkaLogLevel};
use tracing::Level;

use crate::{
    ClientConfig, Isolation, KafkaError, Transactions,
    properties::{self, ANSWER_MS, ANSWER_MS_DEFAULT, DELIVERY_MS, DELIVERY_MS_DEFAULT, ISOLATION},
};

/// Consumers of librdkafka need a group, though they join none.
const GROUP: &str = "thalweg";
/// The largest record that librdkafka takes, unless `message.max.bytes` says otherwise.
const RECORD_BYTES_MAX: u64 = 1_000_000;
/// What librdkafka holds for a record beside its bytes, about.
const RECORD_OVERHEAD: u64 = 512;
/// How long a topic may be unknown to the broker that is asked after it was created by another.
const PROPAGATION_MS: &str = "5000";
/// A fetch of less is not worth its way.
const FETCH_BYTES_MIN: u64 = 16 << 10;
/// What librdkafka fetches of a partition at once by itself.
const FETCH_BYTES_MAX: u64 = 1 << 20;
/// What librdkafka fetches of a broker at once by itself.
const BROKER_FETCH_BYTES_MAX: u64 = 50 << 20;

/// How much a consumer may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// The partitions that it reads at most.
    pub(super) partitions: u64,
    pub(super) bytes: u64,
}

/// How long brokers have for an answer, in milliseconds.
pub(super) fn answer_ms(config: &ClientConfig) -> Result<u64, KafkaError> {
    properties::milliseconds(&config.properties, ANSWER_MS, ANSWER_MS_DEFAULT)
}

/// For a client that asks.
pub(super) fn admin(config: &ClientConfig) -> Result<NativeConfig, KafkaError> {
    properties::check(config, None)?;
    let mut own = common(config)?;
    // A question for one broker, as for the one that controls the cluster, has librdkafka connect to it whenever the last attempt has failed:
    // thousands of times a second while it is away. Clients that keep connections to all brokers wait between attempts.
    own.insert("enable.sparse.connections", "false".to_owned());
    Ok(native(&own, config))
}

/// For a client of a group, which reads and commits its offsets.
pub(super) fn group(config: &ClientConfig, group: &str) -> Result<NativeConfig, KafkaError> {
    properties::check(config, None)?;
    let mut native = native(&common(config)?, config);
    let answer = answer_ms(config)?.clamp(1_000, 300_000).to_string();
    native.set("group.id", group).set("enable.auto.commit", "false");
    // So long a commit waits for a coordinator. No session is there to be kept.
    native.set("session.timeout.ms", &answer).set("max.poll.interval.ms", "300000");
    Ok(native)
}

/// For a client that reads.
pub(super) fn consumer(config: &ClientConfig, isolation: Isolation, share: Share) -> Result<NativeConfig, KafkaError> {
    properties::check(config, Some(isolation))?;
    let mut own = common(config)?;
    // What waits in a partition's queue, and what is being fetched into it.
    let fetch = (share.bytes / share.partitions.max(1) / 2).clamp(FETCH_BYTES_MIN, FETCH_BYTES_MAX);
    // A record of the largest size has to come through.
    let broker_fetch = (share.bytes / 2).clamp(FETCH_BYTES_MAX, BROKER_FETCH_BYTES_MAX).max(record_bytes_max(config));
    own.extend([
        ("auto.offset.reset", "error".to_owned()),
        // What was damaged on its way or on a broker's disk is told of, and not given as something else.
        ("check.crcs", "true".to_owned()),
        ("enable.auto.commit", "false".to_owned()),
        ("enable.auto.offset.store", "false".to_owned()),
        ("enable.partition.eof", "true".to_owned()),
        ("fetch.max.bytes", broker_fetch.to_string()),
        ("fetch.message.max.bytes", fetch.to_string()),
        ("fetch.error.backoff.ms", "100".to_owned()),
        ("fetch.queue.backoff.ms", "10".to_owned()),
        ("fetch.wait.max.ms", "100".to_owned()),
        ("group.id", GROUP.to_owned()),
        (ISOLATION, properties::isolation_text(isolation).to_owned()),
        // Where each partition has a queue of its own, this holds for each.
        ("queued.max.messages.kbytes", (fetch >> 10).to_string()),
        ("topic.metadata.propagation.max.ms", PROPAGATION_MS.to_owned()),
    ]);
    Ok(native(&own, config))
}

/// For a client that writes, in transactions or without.
pub(super) fn producer(config: &ClientConfig, transactions: Option<&Transactions>) -> Result<NativeConfig, KafkaError> {
    properties::check(config, None)?;
    let mut own = common(config)?;
    // One record must fit.
    let queue_bytes = config.queue_bytes.max(record_bytes_max(config));
    let delivery_ms = properties::milliseconds(&config.properties, DELIVERY_MS, DELIVERY_MS_DEFAULT)?;
    let delivery_ms = transactions.map_or(delivery_ms, |transactions| delivery_ms.min(transactions.timeout_ms));
    own.extend([
        ("enable.idempotence", "true".to_owned()),
        ("message.timeout.ms", delivery_ms.to_string()),
        ("partitioner", "murmur2_random".to_owned()),
        ("queue.buffering.max.kbytes", queue_bytes.div_ceil(1 << 10).clamp(1, 2_097_151).to_string()),
        ("queue.buffering.max.messages", (queue_bytes / RECORD_OVERHEAD).clamp(1_000, 1_000_000).to_string()),
        ("topic.metadata.propagation.max.ms", PROPAGATION_MS.to_owned()),
    ]);
    if let Some(transactions) = transactions {
        own.insert("transactional.id", transactions.id.clone());
        own.insert("transaction.timeout.ms", transactions.timeout_ms.to_string());
    }
    let mut native = native(&own, config);
    // They are no longer than a transaction, whatever was given.
    native.remove(DELIVERY_MS);
    native.set("message.timeout.ms", delivery_ms.to_string());
    if let Some(transactions) = transactions {
        native.set(ANSWER_MS, answer_ms(config)?.clamp(10, transactions.timeout_ms.max(10)).to_string());
    }
    Ok(native)
}

/// The size of the largest record. One that is no number is librdkafka's to refuse.
fn record_bytes_max(config: &ClientConfig) -> u64 {
    let given = config.properties.get("message.max.bytes").and_then(|given| given.parse().ok());
    given.unwrap_or(RECORD_BYTES_MAX)
}

fn common(config: &ClientConfig) -> Result<BTreeMap<&'static str, String>, KafkaError> {
    Ok(BTreeMap::from([
        // Clients that write would let brokers create what is missing, with the brokers' own number of partitions and cleanup policy.
        ("allow.auto.create.topics", "false".to_owned()),
        ("client.id", "thalweg".to_owned()),
        // The newest broker's answers tell of changes of leaders; those that are away are asked again soon.
        ("reconnect.backoff.ms", "100".to_owned()),
        ("reconnect.backoff.max.ms", "5000".to_owned()),
        ("socket.connection.setup.timeout.ms", answer_ms(config)?.clamp(1_000, 30_000).to_string()),
        (ANSWER_MS, answer_ms(config)?.clamp(10, 300_000).to_string()),
    ]))
}

fn native(own: &BTreeMap<&'static str, String>, config: &ClientConfig) -> NativeConfig {
    let mut native = NativeConfig::new();
    own.iter().for_each(|(name, value)| _ = native.set(*name, value));
    // Whose records are read is the table's to say, and other clients have no such property.
    let given = config.properties.iter().filter(|(name, _)| *name != ISOLATION);
    given.for_each(|(name, value)| _ = native.set(name, value));
    let debugs = tracing::enabled!(target: "librdkafka", Level::DEBUG);
    native.set_log_level(if debugs { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
    native
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(properties: &[(&str, &str)]) -> ClientConfig {
        let given = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let properties = given.chain([(properties::SERVERS.to_owned(), "localhost:9092".to_owned())]).collect();
        ClientConfig { properties, queue_bytes: 64 << 20, token: None }
    }

    #[test]
    fn what_people_give_overrides_only_what_is_safe() {
        let given = config(&[("client.id", "mine"), ("fetch.wait.max.ms", "7"), (ISOLATION, "read_committed")]);
        let share = Share { partitions: 16, bytes: 8 << 20 };
        let native = consumer(&given, Isolation::ReadCommitted, share).unwrap();
        assert_eq!(native.get("client.id"), Some("mine"));
        assert_eq!(native.get("fetch.wait.max.ms"), Some("7"));
        assert_eq!(native.get("enable.auto.commit"), Some("false"));
        assert_eq!(native.get("check.crcs"), Some("true"));
        assert_eq!(native.get("queued.max.messages.kbytes"), Some("256"));
        assert_eq!(native.get(ISOLATION), Some("read_committed"));
        assert!(consumer(&given, Isolation::ReadUncommitted, share).is_err());
        assert_eq!(admin(&given).unwrap().get(ISOLATION), None);
    }

    #[test]
    fn no_client_lets_brokers_create_topics() {
        let (given, share) = (config(&[]), Share { partitions: 16, bytes: 8 << 20 });
        let transactions = Transactions { id: "id".to_owned(), timeout_ms: 9_000 };
        for native in [
            admin(&given),
            consumer(&given, Isolation::ReadCommitted, share),
            producer(&given, None),
            producer(&given, Some(&transactions)),
        ] {
            assert_eq!(native.unwrap().get("allow.auto.create.topics"), Some("false"));
        }
    }

    #[test]
    fn nothing_takes_longer_than_its_transaction() {
        let transactions = Transactions { id: "id".to_owned(), timeout_ms: 9_000 };
        let given = config(&[("delivery.timeout.ms", "60000")]);
        let native = producer(&given, Some(&transactions)).unwrap();
        assert_eq!(native.get("message.timeout.ms"), Some("9000"));
        assert_eq!(native.get(ANSWER_MS), Some("9000"));
        assert_eq!(native.get("delivery.timeout.ms"), None);
        assert_eq!(producer(&given, None).unwrap().get("message.timeout.ms"), Some("60000"));
    }

    #[test]
    fn a_commit_of_a_group_ends_with_its_limit() {
        let given = config(&[(ANSWER_MS, "7000")]);
        let native = group(&given, "mine").unwrap();
        assert_eq!(native.get("group.id"), Some("mine"));
        assert_eq!(native.get("session.timeout.ms"), Some("7000"));
    }

    #[test]
    fn a_record_fits_into_the_smallest_queue() {
        let given = ClientConfig { queue_bytes: 1, ..config(&[("message.max.bytes", "5000000")]) };
        assert_eq!(producer(&given, None).unwrap().get("queue.buffering.max.kbytes"), Some("4883"));
    }
}
