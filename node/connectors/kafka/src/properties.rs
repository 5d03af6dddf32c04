//! Which properties people may give a client. The others are the connector's: what they would change is what it promises.

use std::collections::BTreeMap;

use crate::{ClientConfig, Isolation, KafkaError};

/// Where a client begins to look for brokers.
pub(crate) const SERVERS: &str = "bootstrap.servers";
/// How long brokers have for an answer, in milliseconds.
pub(crate) const ANSWER_MS: &str = "socket.timeout.ms";
/// Less than librdkafka's minute: people wait for what is asked.
pub(crate) const ANSWER_MS_DEFAULT: u64 = 10_000;
/// How long a record is tried, in milliseconds; the second name is that of Java's clients, which librdkafka knows too.
pub(crate) const DELIVERY_MS: [&str; 2] = ["message.timeout.ms", "delivery.timeout.ms"];
/// As long as Java's clients do.
pub(crate) const DELIVERY_MS_DEFAULT: u64 = 120_000;

/// Properties that nobody may give, and why.
const RESERVED: &[(&str, &str)] = &[
    ("allow.auto.create.topics", "neither reading nor writing creates topics"),
    ("auto.commit.enable", "offsets are committed when a checkpoint is complete"),
    ("auto.offset.reset", "an offset that is gone is told of, and the table's options say what becomes of it"),
    ("enable.auto.commit", "offsets are committed when a checkpoint is complete"),
    ("enable.auto.offset.store", "offsets are committed when a checkpoint is complete"),
    ("enable.gapless.guarantee", "it is experimental, and transactions do without"),
    ("enable.partition.eof", "the ends of partitions have to be known"),
    ("fetch.max.bytes", "queues count in the node's memory"),
    ("fetch.message.max.bytes", "queues count in the node's memory"),
    ("group.instance.id", "partitions are assigned by the job, without a group"),
    ("group.protocol", "partitions are assigned by the job, without a group"),
    ("group.remote.assignor", "partitions are assigned by the job, without a group"),
    ("log.queue", "lines of the log go to the process's own log"),
    ("max.partition.fetch.bytes", "queues count in the node's memory"),
    ("partition.assignment.strategy", "partitions are assigned by the job, without a group"),
    ("plugin.library.paths", "it would load code into the process"),
    ("queue.buffering.max.messages", "queues count in the node's memory"),
    ("queue.buffering.max.kbytes", "queues count in the node's memory"),
    ("queued.max.messages.kbytes", "queues count in the node's memory"),
    ("sasl.kerberos.kinit.cmd", "it would run a command"),
    ("ssl.engine.location", "it would load code into the process"),
    ("ssl.providers", "it would load code into the process"),
    ("test.mock.num.brokers", "brokers are those of 'bootstrap.servers'"),
    ("transaction.timeout.ms", "a table's option says how long transactions may take"),
    ("transactional.id", "transactional ids are those of the sink's subtasks"),
];

/// Properties that may have one of these values only, and why.
const BOUND: &[(&str, &[&str], &str)] = &[
    ("acks", &["all", "-1"], "what one broker alone has can be lost"),
    ("request.required.acks", &["all", "-1"], "what one broker alone has can be lost"),
    ("enable.idempotence", &["true"], "records would be written twice, or in another order"),
    ("sasl.oauthbearer.method", &["default"], "OIDC needs a library that is not built in"),
];

/// Properties of Java's clients that have another name here.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("buffer.memory", "the node's memory bounds it"),
    ("key.deserializer", "the table's formats say that"),
    ("key.serializer", "the table's formats say that"),
    ("max.poll.records", "the node's memory bounds it"),
    ("max.request.size", "it is 'message.max.bytes'"),
    ("sasl.jaas.config", "it is 'sasl.username' and 'sasl.password'"),
    ("ssl.keystore.type", "keystores are in PKCS#12"),
    ("ssl.truststore.location", "it is 'ssl.ca.location', a file in PEM"),
    ("ssl.truststore.password", "it is 'ssl.ca.location', a file in PEM, which needs none"),
    ("ssl.truststore.type", "it is 'ssl.ca.location', a file in PEM"),
    ("value.deserializer", "the table's formats say that"),
    ("value.serializer", "the table's formats say that"),
];

/// Whether people may give a client these properties.
pub(crate) fn check(config: &ClientConfig, isolation: Option<Isolation>) -> Result<(), KafkaError> {
    let properties = &config.properties;
    if properties.get(SERVERS).is_none_or(|servers| servers.trim().is_empty()) {
        return Err(refused(SERVERS, "names no broker: it needs HOST:PORT, or several with commas between them"));
    }
    for (name, why) in RESERVED {
        if properties.contains_key(*name) {
            return Err(refused(name, &format!("cannot be set: {why}")));
        }
    }
    for (name, values, why) in BOUND {
        if properties.get(*name).is_some_and(|value| !values.contains(&value.as_str())) {
            return Err(refused(name, &format!("can only be '{}': {why}", values.join("' or '"))));
        }
    }
    for (name, instead) in OTHER_NAMES {
        if properties.contains_key(*name) {
            return Err(refused(name, &format!("is one of Java's clients: {instead}")));
        }
    }
    if let (Some(isolation), Some(given)) = (isolation, properties.get(ISOLATION)) {
        let ours = isolation_text(isolation);
        if given != ours {
            return Err(refused(ISOLATION, &format!("is '{given}' but the table's option is '{ours}': leave it out")));
        }
    }
    Ok(())
}

/// Which records of transactions a consumer reads.
pub(crate) const ISOLATION: &str = "isolation.level";

/// The value of `isolation.level`.
pub(crate) fn isolation_text(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "read_committed",
        Isolation::ReadUncommitted => "read_uncommitted",
    }
}

/// A number of milliseconds, under the first name that is given.
pub(crate) fn milliseconds(
    properties: &BTreeMap<String, String>,
    names: &[&str],
    default: u64,
) -> Result<u64, KafkaError> {
    let Some((name, value)) = names.iter().find_map(|name| properties.get(*name).map(|value| (*name, value))) else {
        return Ok(default);
    };
    value.parse().map_err(|_| refused(name, &format!("is '{value}', which is no number of milliseconds")))
}

fn refused(name: &str, what: &str) -> KafkaError {
    KafkaError::Config { reason: format!("the client's property '{name}' {what}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(properties: &[(&str, &str)]) -> ClientConfig {
        let given = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let properties = given.chain([(SERVERS.to_owned(), "localhost:9092".to_owned())]).collect();
        ClientConfig { properties, ..ClientConfig::default() }
    }

    #[test]
    fn a_reserved_property_is_refused_by_its_name() {
        for (name, _) in RESERVED.iter().chain(OTHER_NAMES) {
            let error = check(&with(&[(name, "x")]), None).expect_err(name);
            assert!(matches!(&error, KafkaError::Config { reason } if reason.contains(name)), "{error}");
        }
        for (name, values, _) in BOUND {
            assert!(check(&with(&[(name, "0")]), None).is_err(), "{name}");
            values.iter().for_each(|value| assert_eq!(check(&with(&[(name, value)]), None), Ok(()), "{name}"));
        }
    }

    #[test]
    fn the_isolation_is_what_the_table_says() {
        let config = with(&[(ISOLATION, "read_committed")]);
        assert_eq!(check(&config, Some(Isolation::ReadCommitted)), Ok(()));
        assert!(check(&config, Some(Isolation::ReadUncommitted)).is_err());
        assert_eq!(check(&config, None), Ok(()));
    }

    #[test]
    fn a_client_needs_a_server() {
        assert!(check(&ClientConfig::default(), None).is_err());
        assert_eq!(check(&with(&[("client.id", "x"), ("compression.type", "zstd")]), None), Ok(()));
    }

    #[test]
    fn milliseconds_are_a_number() {
        let config = with(&[("delivery.timeout.ms", "5"), (ANSWER_MS, "soon")]);
        assert_eq!(milliseconds(&config.properties, &DELIVERY_MS, 7), Ok(5));
        assert_eq!(milliseconds(&config.properties, &["linger.ms"], 7), Ok(7));
        assert!(milliseconds(&config.properties, &[ANSWER_MS], 7).is_err());
    }
}
