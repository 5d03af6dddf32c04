//! The properties of clients that a table may set, by librdkafka's names, and why the others cannot be set. They are listed: one that
//! nobody has looked at may load code, read a file or end the process.
//!
//! A property that has two names has one here, that of Java's clients, so that no two values can be given for it.

use crate::connector::{NamedOptions, OptionSpec, OptionType, option::option};

/// The largest record in bytes: the client's queues hold one at least, whatever memory the node has.
const MESSAGE_BYTES_MAX: i64 = 64 << 20;
const MILLISECONDS_MAX: i64 = i32::MAX as i64;
/// What librdkafka takes of most times.
const HOUR_MS: i64 = 3_600_000;

pub(super) const PROPERTIES: NamedOptions = NamedOptions { known: KNOWN, refused: REFUSED };

const KNOWN: &[OptionSpec] = &[
    // Who the client is.
    text("properties.client.id"),
    text("properties.client.rack"),
    text("properties.debug"),
    // What it sends.
    words("properties.acks", OptionType::Only(&["all", "-1"], "what one broker alone has can be lost")),
    number("properties.batch.num.messages", 1, 1_000_000),
    number("properties.batch.size", 1, MESSAGE_BYTES_MAX),
    number("properties.compression.level", -1, 12),
    words("properties.compression.type", OptionType::OneOf(&["none", "gzip", "snappy", "lz4", "zstd"])),
    number("properties.delivery.timeout.ms", 1, MILLISECONDS_MAX),
    words(
        "properties.enable.idempotence",
        OptionType::Only(&["true"], "records would be written twice, or in another order"),
    ),
    number("properties.linger.ms", 0, 900_000),
    // Producers are idempotent, and brokers keep so many batches of each in order.
    number("properties.max.in.flight.requests.per.connection", 1, 5),
    number("properties.message.max.bytes", 1_000, MESSAGE_BYTES_MAX),
    words(
        "properties.partitioner",
        OptionType::OneOf(&[
            "murmur2_random",
            "murmur2",
            "consistent_random",
            "consistent",
            "random",
            "fnv1a_random",
            "fnv1a",
        ]),
    ),
    number("properties.queue.buffering.backpressure.threshold", 1, 1_000_000),
    number("properties.request.timeout.ms", 1, 900_000),
    number("properties.retries", 0, MILLISECONDS_MAX),
    number("properties.sticky.partitioning.linger.ms", 0, 900_000),
    // What it fetches.
    flag("properties.check.crcs"),
    number("properties.fetch.error.backoff.ms", 0, 300_000),
    number("properties.fetch.min.bytes", 1, 1 << 20),
    number("properties.fetch.queue.backoff.ms", 0, 300_000),
    number("properties.fetch.wait.max.ms", 0, 300_000),
    number("properties.queued.min.messages", 1, 10_000_000),
    // Its connections.
    number("properties.api.version.request.timeout.ms", 1, 300_000),
    words("properties.broker.address.family", OptionType::OneOf(&["any", "v4", "v6"])),
    number("properties.broker.address.ttl", 0, 86_400_000),
    words(
        "properties.client.dns.lookup",
        OptionType::OneOf(&["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"]),
    ),
    number("properties.connections.max.idle.ms", 0, MILLISECONDS_MAX),
    flag("properties.enable.metrics.push"),
    flag("properties.log.connection.close"),
    number("properties.metadata.max.age.ms", 1, 86_400_000),
    number("properties.metadata.recovery.rebootstrap.trigger.ms", 0, MILLISECONDS_MAX),
    words("properties.metadata.recovery.strategy", OptionType::OneOf(&["none", "rebootstrap"])),
    number("properties.reconnect.backoff.max.ms", 0, HOUR_MS),
    number("properties.reconnect.backoff.ms", 0, HOUR_MS),
    number("properties.retry.backoff.max.ms", 1, 300_000),
    number("properties.retry.backoff.ms", 1, 300_000),
    number("properties.socket.connection.setup.timeout.ms", 1_000, MILLISECONDS_MAX),
    flag("properties.socket.keepalive.enable"),
    number("properties.socket.max.fails", 0, 1_000_000),
    flag("properties.socket.nagle.disable"),
    number("properties.socket.receive.buffer.bytes", 0, 100_000_000),
    number("properties.socket.send.buffer.bytes", 0, 100_000_000),
    number("properties.socket.timeout.ms", 10, 300_000),
    number("properties.topic.metadata.propagation.max.ms", 0, HOUR_MS),
    number("properties.topic.metadata.refresh.fast.interval.ms", 1, 60_000),
    number("properties.topic.metadata.refresh.interval.ms", -1, HOUR_MS),
    flag("properties.topic.metadata.refresh.sparse"),
    // How it shows who it is, and who the broker is.
    words("properties.security.protocol", OptionType::AnyCase(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])),
    words(
        "properties.sasl.mechanism",
        OptionType::Only(
            &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"],
            "Kerberos (GSSAPI) is not built in",
        ),
    ),
    secret("properties.sasl.username"),
    secret("properties.sasl.password"),
    secret("properties.sasl.oauthbearer.token"),
    text("properties.aws.region"),
    flag("properties.enable.ssl.certificate.verification"),
    words("properties.ssl.endpoint.identification.algorithm", OptionType::AnyCase(&["https", "none"])),
    file("properties.ssl.ca.location"),
    secret("properties.ssl.ca.pem"),
    file("properties.ssl.certificate.location"),
    secret("properties.ssl.certificate.pem"),
    text("properties.ssl.cipher.suites"),
    file("properties.ssl.crl.location"),
    text("properties.ssl.curves.list"),
    file("properties.ssl.key.location"),
    secret("properties.ssl.key.password"),
    secret("properties.ssl.key.pem"),
    file("properties.ssl.keystore.location"),
    secret("properties.ssl.keystore.password"),
    text("properties.ssl.sigalgs.list"),
];

const fn text(key: &'static str) -> OptionSpec {
    option(key, OptionType::Text, "", "")
}

const fn secret(key: &'static str) -> OptionSpec {
    OptionSpec { secret: true, ..text(key) }
}

const fn words(key: &'static str, kind: OptionType) -> OptionSpec {
    option(key, kind, "", "")
}

const fn flag(key: &'static str) -> OptionSpec {
    option(key, OptionType::Boolean, "", "")
}

const fn number(key: &'static str, least: i64, most: i64) -> OptionSpec {
    option(key, OptionType::Between(least, most), "", "")
}

const fn file(key: &'static str) -> OptionSpec {
    option(key, OptionType::File, "", "")
}

const NO_GROUP: &str = "cannot be set: partitions are assigned by the job, without a group";
const MEMORY: &str = "cannot be set: queues count in the node's memory";
const COMMITS: &str = "cannot be set: offsets are committed when a checkpoint is complete";
const CODE: &str = "cannot be set: it would load code into the process";
const FORMATS: &str = "is one of Java's clients: the table's formats say that";
const KERBEROS: &str = "cannot be set: Kerberos is not built in";
const OIDC: &str = "cannot be set: nobody is asked for tokens; 'properties.sasl.oauthbearer.token' has one";

const REFUSED: &[(&str, &str)] = &[
    ("properties.allow.auto.create.topics", "cannot be set: neither reading nor writing creates topics"),
    ("properties.auto.commit.enable", COMMITS),
    ("properties.auto.commit.interval.ms", COMMITS),
    ("properties.buffer.memory", "is one of Java's clients: the node's memory bounds it"),
    ("properties.compression.codec", "is another name of 'properties.compression.type': use that"),
    ("properties.enable.auto.commit", COMMITS),
    ("properties.enable.auto.offset.store", COMMITS),
    ("properties.enable.gapless.guarantee", "cannot be set: it is experimental, and transactions do without"),
    ("properties.enable.partition.eof", "cannot be set: the ends of partitions have to be known"),
    ("properties.fetch.max.bytes", MEMORY),
    ("properties.fetch.max.wait.ms", "is one of Java's clients: it is 'properties.fetch.wait.max.ms'"),
    ("properties.fetch.message.max.bytes", MEMORY),
    ("properties.group.instance.id", NO_GROUP),
    ("properties.group.protocol", NO_GROUP),
    ("properties.group.remote.assignor", NO_GROUP),
    ("properties.heartbeat.interval.ms", NO_GROUP),
    ("properties.internal.termination.signal", "cannot be set: it would end the process"),
    ("properties.key.deserializer", FORMATS),
    ("properties.key.serializer", FORMATS),
    ("properties.log.queue", "cannot be set: lines of the log go to the process's own log"),
    ("properties.log_level", "cannot be set: the process's own log says what it takes"),
    ("properties.max.in.flight", "is another name of 'properties.max.in.flight.requests.per.connection': use that"),
    ("properties.max.partition.fetch.bytes", MEMORY),
    ("properties.max.poll.interval.ms", NO_GROUP),
    ("properties.max.poll.records", "is one of Java's clients: the node's memory bounds it"),
    ("properties.max.request.size", "is one of Java's clients: it is 'properties.message.max.bytes'"),
    ("properties.message.send.max.retries", "is another name of 'properties.retries': use that"),
    ("properties.message.timeout.ms", "is another name of 'properties.delivery.timeout.ms': use that"),
    ("properties.metadata.broker.list", "is another name of 'properties.bootstrap.servers': use that"),
    ("properties.partition.assignment.strategy", NO_GROUP),
    ("properties.plugin.library.paths", CODE),
    ("properties.queue.buffering.max.kbytes", MEMORY),
    ("properties.queue.buffering.max.messages", MEMORY),
    ("properties.queue.buffering.max.ms", "is another name of 'properties.linger.ms': use that"),
    ("properties.queued.max.messages.kbytes", MEMORY),
    ("properties.request.required.acks", "is another name of 'properties.acks': use that"),
    (
        "properties.sasl.jaas.config",
        "is one of Java's clients: it is 'properties.sasl.username' and 'properties.sasl.password'",
    ),
    ("properties.sasl.kerberos.keytab", KERBEROS),
    ("properties.sasl.kerberos.kinit.cmd", KERBEROS),
    ("properties.sasl.kerberos.principal", KERBEROS),
    ("properties.sasl.kerberos.service.name", KERBEROS),
    ("properties.sasl.mechanisms", "is another name of 'properties.sasl.mechanism': use that"),
    ("properties.sasl.oauthbearer.client.id", OIDC),
    ("properties.sasl.oauthbearer.client.secret", OIDC),
    ("properties.sasl.oauthbearer.config", OIDC),
    ("properties.sasl.oauthbearer.method", OIDC),
    ("properties.sasl.oauthbearer.token.endpoint.url", OIDC),
    ("properties.session.timeout.ms", NO_GROUP),
    ("properties.ssl.engine.location", CODE),
    ("properties.ssl.keystore.type", "is one of Java's clients: keystores are in PKCS#12"),
    ("properties.ssl.providers", CODE),
    (
        "properties.ssl.truststore.location",
        "is one of Java's clients: it is 'properties.ssl.ca.location', a file in PEM",
    ),
    (
        "properties.ssl.truststore.password",
        "is one of Java's clients: it is 'properties.ssl.ca.location', a file in PEM, which needs none",
    ),
    ("properties.ssl.truststore.type", "is one of Java's clients: it is 'properties.ssl.ca.location', a file in PEM"),
    ("properties.test.mock.num.brokers", "cannot be set: brokers are those of 'properties.bootstrap.servers'"),
    ("properties.transaction.timeout.ms", "cannot be set: it is 'sink.transaction-timeout'"),
    (
        "properties.transactional.id",
        "cannot be set: transactional ids are those of the sink, behind 'sink.transactional-id-prefix'",
    ),
    ("properties.value.deserializer", FORMATS),
    ("properties.value.serializer", FORMATS),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::find;

    #[test]
    fn no_property_is_both_known_and_refused_and_all_are_properties() {
        let known: Vec<&str> = KNOWN.iter().map(|spec| spec.key).collect();
        let refused: Vec<&str> = REFUSED.iter().map(|(key, _)| *key).collect();
        let mut all = [known.clone(), refused.clone()].concat();
        assert!(all.iter().all(|key| key.strip_prefix("properties.").is_some_and(|name| !name.is_empty())));
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count, "a property is listed twice");
        let spec = find("kafka").expect("it is a connector");
        for key in known {
            assert_eq!(spec.option(key).map(|spec| spec.key), Some(key));
        }
        for key in refused {
            assert!(spec.option(key).is_none() && spec.refuses_key(key).is_some(), "{key}");
        }
    }

    #[test]
    fn what_would_end_the_process_or_name_brokers_twice_is_not_taken() {
        let spec = find("kafka").expect("it is a connector");
        for key in
            ["internal.termination.signal", "metadata.broker.list", "securty.protocol", "log_level", "opaque", ""]
        {
            assert!(spec.option(&format!("properties.{key}")).is_none(), "{key}");
        }
        let refuses = |key: &str, value: &str| spec.option(key).expect("it is known").refuses(value);
        assert_eq!(refuses("properties.security.protocol", "sasl_ssl"), None);
        let told = refuses("properties.security.protocol", "TLS");
        assert_eq!(told.as_deref(), Some("expected one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"));
        assert!(refuses("properties.sasl.mechanism", "GSSAPI").is_some_and(|told| told.contains("Kerberos")));
        assert!(refuses("properties.message.max.bytes", "1000000000").is_some_and(|told| told.contains("67108864")));
        assert!(refuses("properties.acks", "1").is_some_and(|told| told.contains("can be lost")));
        assert!(refuses("properties.ssl.ca.location", " ").is_some());
    }
}
