//! Which properties people may give a client: those that the connector's spec lists, as planning has checked too. What the others would
//! change is what the connector promises, or the process.

use std::collections::BTreeMap;

use thalweg_types::connector::find;

use crate::{ClientConfig, Isolation, KafkaError};

/// Where a client begins to look for brokers.
pub(crate) const SERVERS: &str = "bootstrap.servers";
/// How long brokers have for an answer, in milliseconds.
pub(crate) const ANSWER_MS: &str = "socket.timeout.ms";
/// Less than librdkafka's minute: people wait for what is asked.
pub(crate) const ANSWER_MS_DEFAULT: u64 = 10_000;
/// How long a record is tried, in milliseconds, by the name of Java's clients.
pub(crate) const DELIVERY_MS: &str = "delivery.timeout.ms";
/// As long as Java's clients do.
pub(crate) const DELIVERY_MS_DEFAULT: u64 = 120_000;

/// Properties that the table's own options are about, which reach clients by other ways.
const OF_THE_TABLE: &[&str] = &["auto.offset.reset", "group.id"];

/// Whether people may give a client these properties.
pub(crate) fn check(config: &ClientConfig, isolation: Option<Isolation>) -> Result<(), KafkaError> {
    let properties = &config.properties;
    if properties.get(SERVERS).is_none_or(|servers| servers.trim().is_empty()) {
        return Err(refused(SERVERS, "names no broker: it needs HOST:PORT, or several with commas between them"));
    }
    let connector = find("kafka");
    for (name, value) in properties {
        if OF_THE_TABLE.contains(&name.as_str()) {
            return Err(refused(name, "cannot be set: a table's option says that"));
        }
        let key = format!("properties.{name}");
        if let Some(why) = connector.and_then(|connector| connector.refuses_key(&key)) {
            return Err(refused(name, why));
        }
        let Some(spec) = connector.and_then(|connector| connector.option(&key)) else {
            return Err(refused(name, "is none of those that can be set"));
        };
        // Values are not told: some are secret.
        if let Some(reason) = spec.refuses(value) {
            return Err(refused(name, &format!("has a value that does not fit: {reason}")));
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

/// A number of milliseconds. What is wrong is not quoted: it may be a secret.
pub(crate) fn milliseconds(properties: &BTreeMap<String, String>, name: &str, default: u64) -> Result<u64, KafkaError> {
    let Some(value) = properties.get(name) else { return Ok(default) };
    value.parse().map_err(|_| refused(name, "is no number of milliseconds"))
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
    fn only_properties_that_are_known_are_taken() {
        let others = ["enable.auto.commit", "metadata.broker.list", "internal.termination.signal", "securty.protocol"];
        for name in others.iter().chain(OF_THE_TABLE) {
            let error = check(&with(&[(name, "9")]), None).expect_err(name);
            assert!(matches!(&error, KafkaError::Config { reason } if reason.contains(name)), "{error}");
        }
        for (name, value) in [("acks", "1"), ("security.protocol", "TLS"), ("message.max.bytes", "1000000000")] {
            let error = check(&with(&[(name, value)]), None).expect_err(name).to_string();
            assert!(error.contains(name) && error.contains("expected"), "{error}");
        }
        for (name, value) in [("acks", "-1"), ("security.protocol", "ssl"), ("message.max.bytes", "5000000")] {
            assert_eq!(check(&with(&[(name, value)]), None), Ok(()), "{name}");
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
        assert_eq!(milliseconds(&config.properties, DELIVERY_MS, 7), Ok(5));
        assert_eq!(milliseconds(&config.properties, "linger.ms", 7), Ok(7));
        let told = milliseconds(&config.properties, ANSWER_MS, 7).expect_err("it is no number").to_string();
        assert!(told.contains(ANSWER_MS) && !told.contains("soon"), "{told}");
    }
}
