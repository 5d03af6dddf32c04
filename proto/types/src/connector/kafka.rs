//! Topics of Apache Kafka. Options are named as those of Flink's connector, where it has them.

mod fit;
mod properties;
mod security;

pub use fit::{SINK_TIMEOUT_MIN, TRANSACTIONAL_PREFIX_BYTES_MAX, is_topic_name};

use super::{
    Check, ConnectorSpec, Delivers, Ends, Input, MetadataSpec, OptionSpec, OptionType, Output, Rule, SinkSpec,
    SourceSpec, Splits,
    format::MESSAGE_FORMATS,
    option::{DEAD_LETTER_PATH, IDLE_TIMEOUT, option, required},
};

/// What decides whether a table ends, and where.
const BOUNDED_MODE: &str = "scan.bounded.mode";
const UNBOUNDED: &str = "unbounded";
const GUARANTEE: &str = "sink.delivery-guarantee";

pub(super) const SPEC: ConnectorSpec = ConnectorSpec {
    name: "kafka",
    source: Some(SourceSpec {
        input: Input::Elsewhere,
        splits: Splits::Found,
        ends: Ends::By { option: BOUNDED_MODE, never: UNBOUNDED, such_as: "latest-offset" },
        rules: READ_RULES,
    }),
    sink: Some(SinkSpec { delivery: Delivers::By(GUARANTEE), output: Output::Elsewhere, rules: WRITE_RULES }),
    formats: MESSAGE_FORMATS,
    keys: true,
    metadata: METADATA,
    options: OPTIONS,
    fixed_columns: "",
    doc: "Reads and writes topics of Apache Kafka.",
};

const READ_RULES: &[Rule] = &[
    Rule::OneOf(&["topic", "topic-pattern"]),
    needs("scan.startup.mode", "group-offsets", "properties.group.id"),
    needs("scan.startup.mode", "timestamp", "scan.startup.timestamp-millis"),
    needs("scan.startup.mode", "specific-offsets", "scan.startup.specific-offsets"),
    needs(BOUNDED_MODE, "group-offsets", "properties.group.id"),
    needs(BOUNDED_MODE, "timestamp", "scan.bounded.timestamp-millis"),
    needs(BOUNDED_MODE, "specific-offsets", "scan.bounded.specific-offsets"),
    only("scan.startup.timestamp-millis", "scan.startup.mode", "timestamp"),
    only("scan.startup.specific-offsets", "scan.startup.mode", "specific-offsets"),
    only("scan.bounded.timestamp-millis", BOUNDED_MODE, "timestamp"),
    only("scan.bounded.specific-offsets", BOUNDED_MODE, "specific-offsets"),
    Rule::Own(Check(fit::to_read)),
    Rule::Own(Check(security::fits)),
];

const WRITE_RULES: &[Rule] = &[
    Rule::OneOf(&["topic"]),
    only("sink.transactional-id-prefix", GUARANTEE, "exactly-once"),
    only("sink.transaction-timeout", GUARANTEE, "exactly-once"),
    only("sink.progress-topic", GUARANTEE, "exactly-once"),
    Rule::Own(Check(fit::to_write)),
    Rule::Own(Check(security::fits)),
];

const OPTIONS: &[OptionSpec] = &[
    option(
        "topic",
        OptionType::Text,
        "",
        "Source: the topics that are read, with ; between them. Sink: the topic that is written.",
    ),
    option(
        "topic-pattern",
        OptionType::Pattern,
        "",
        "Source: a regular expression; all topics whose whole name matches are read. Instead of topic.",
    ),
    required(
        "properties.bootstrap.servers",
        OptionType::Brokers,
        "Brokers to begin with: HOST:PORT, with commas between them.",
    ),
    option(
        "properties.group.id",
        OptionType::Text,
        "",
        "Source: the group to which the positions of complete checkpoints are committed, for tools that show lag, and by whose offsets group-offsets begins or ends. The job itself goes on from its checkpoints.",
    ),
    option(
        "properties.auto.offset.reset",
        OptionType::OneOf(&["none", "earliest", "latest"]),
        "none",
        "Source: where group-offsets begins in a partition for which the group has committed no offset. none: the job fails.",
    ),
    option(
        "properties.isolation.level",
        OptionType::OneOf(&["read_committed", "read_uncommitted"]),
        "read_committed",
        "Source: whether only records of committed transactions are read. Clients of Kafka read all by default, and so does Flink: then also those that never happened.",
    ),
    OptionSpec {
        secret: true,
        ..option(
            "properties.*",
            OptionType::Named(&properties::PROPERTIES),
            "",
            "Properties of the client, by librdkafka's names: properties.security.protocol, properties.sasl.mechanism and [others](kafka.md#properties).",
        )
    },
    option(
        "scan.startup.mode",
        OptionType::OneOf(&["group-offsets", "earliest-offset", "latest-offset", "timestamp", "specific-offsets"]),
        "group-offsets",
        "Where the partitions begin that are there when the job begins. Those that are found later begin at their beginning.",
    ),
    option(
        "scan.startup.specific-offsets",
        OptionType::PartitionOffsets,
        "",
        "Where each partition begins, as partition:0,offset:42;partition:1,offset:300. Those that are left out begin at their beginning.",
    ),
    option(
        "scan.startup.timestamp-millis",
        OptionType::Integer,
        "",
        "Each partition begins with its first record of this time or a later one, in milliseconds since 1970.",
    ),
    option(
        BOUNDED_MODE,
        OptionType::OneOf(&[UNBOUNDED, "latest-offset", "group-offsets", "timestamp", "specific-offsets"]),
        UNBOUNDED,
        "Where the table ends, as it is when the job begins: it has the partitions of that time, up to that offset of each.",
    ),
    option(
        "scan.bounded.specific-offsets",
        OptionType::PartitionOffsets,
        "",
        "The first offset of each partition that is not read, as partition:0,offset:42;partition:1,offset:300. Those that are left out are not read.",
    ),
    option(
        "scan.bounded.timestamp-millis",
        OptionType::Integer,
        "",
        "The first record of each partition that is not read is its first one of this time or a later one, in milliseconds since 1970.",
    ),
    option(
        "scan.topic-partition-discovery.interval",
        OptionType::Duration,
        "5 min",
        "How long after one look for new topics and partitions the next one follows; 0 s: there is one look only. A table that ends does not look again either.",
    ),
    option(
        "scan.on-data-loss",
        OptionType::OneOf(&["fail", "skip"]),
        "fail",
        "What follows when records are gone before they were read, by retention or since their topic was deleted: the job fails, or goes on behind them with a warning.",
    ),
    option(
        GUARANTEE,
        OptionType::OneOf(&["exactly-once", "at-least-once", "none"]),
        "exactly-once",
        "How often a row is written whatever fails: exactly once, in transactions that follow each checkpoint; at least once, at once; or none: failures may lose rows, too. In Flink the default is at-least-once.",
    ),
    option(
        "sink.transactional-id-prefix",
        OptionType::Text,
        "",
        "What the sink's transactional id begins with; the ids of cluster, job and sink follow, so that several tables can have one prefix. If it is not set, thalweg.",
    ),
    option(
        "sink.transaction-timeout",
        OptionType::Duration,
        "1 min",
        "When brokers abort a transaction that is not ended (transaction.timeout.ms). At most their transaction.max.timeout.ms, 15 min by default.",
    ),
    option(
        "sink.progress-topic",
        OptionType::Text,
        "thalweg-sink-progress",
        "The compacted topic that holds how far sinks have written exactly once. It is created if it is not there.",
    ),
    option(
        "sink.partitioner",
        OptionType::OneOf(&["default", "fixed", "round-robin"]),
        "default",
        "The partition of a record: by its key, as Kafka's own clients choose it, or any without a key; one for each subtask; or each in turn.",
    ),
    IDLE_TIMEOUT,
    DEAD_LETTER_PATH,
];

const METADATA: &[MetadataSpec] = &[
    read("topic", "STRING NOT NULL", "The topic's name."),
    read("partition", "INT NOT NULL", "The partition's number."),
    read("offset", "BIGINT NOT NULL", "The record's offset in its partition."),
    MetadataSpec {
        written: true,
        ..read(
            "timestamp",
            "TIMESTAMP_LTZ(3)",
            "The record's timestamp. Written: the time of sending where it is NULL.",
        )
    },
    read("timestamp-type", "STRING NOT NULL", "CreateTime, LogAppendTime or NoTimestampType."),
    MetadataSpec {
        written: true,
        ..read("headers", "MAP<STRING, BYTES>", "The record's headers. Of those with one name the last is read.")
    },
    read(
        "leader-epoch",
        "INT",
        "The epoch of the leader that appended the record; NULL if the broker does not tell it.",
    ),
];

const fn needs(option: &'static str, value: &'static str, other: &'static str) -> Rule {
    Rule::Needs { option, value, other }
}

const fn only(option: &'static str, other: &'static str, value: &'static str) -> Rule {
    Rule::Only { option, other, value }
}

const fn read(key: &'static str, data_type: &'static str, doc: &'static str) -> MetadataSpec {
    MetadataSpec { key, data_type, read: true, written: false, doc }
}
