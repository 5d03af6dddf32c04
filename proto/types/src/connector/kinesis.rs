//! Streams of Amazon Kinesis Data Streams. Options are named as those of Flink's connector, where it has them.

mod fit;

use super::{
    Check, ConnectorSpec, Delivers, Delivery, Ends, Input, MetadataSpec, OptionSpec, OptionType, Output, Rule,
    SinkSpec, SourceSpec, Splits,
    format::MESSAGE_FORMATS,
    option::{DEAD_LETTER_PATH, IDLE_TIMEOUT, option},
};

const STREAM: Rule = Rule::OneOf(&["stream.arn", "stream"]);
const PROVIDER: &str = "aws.credentials.provider";
const ROLE_PROVIDER: &str = "aws.credentials.role.provider";
const ACCESS_KEY: &str = "aws.credentials.basic.accesskeyid";
const SECRET_KEY: &str = "aws.credentials.basic.secretkey";

pub(super) const SPEC: ConnectorSpec = ConnectorSpec {
    name: "kinesis",
    source: Some(SourceSpec { input: Input::Elsewhere, splits: Splits::Found, ends: Ends::Never, rules: READ_RULES }),
    sink: Some(SinkSpec {
        delivery: Delivers::Always(Delivery::AtLeastOnce),
        output: Output::Keyed,
        rules: WRITE_RULES,
    }),
    formats: MESSAGE_FORMATS,
    keys: false,
    metadata: METADATA,
    options: OPTIONS,
    fixed_columns: "",
    doc: "Reads and writes streams of Amazon Kinesis Data Streams; writes at least once.",
};

const READ_RULES: &[Rule] = &[
    STREAM,
    BASIC_ID,
    BASIC_KEY,
    ROLE,
    WEB_ROLE,
    WEB_TOKEN,
    needs("source.init.position", "AT_TIMESTAMP", "source.init.timestamp"),
    needs("source.reader.type", "EFO", "source.efo.consumer.name"),
    Rule::Own(Check(fit::fits)),
];

const WRITE_RULES: &[Rule] = &[STREAM, BASIC_ID, BASIC_KEY, ROLE, WEB_ROLE, WEB_TOKEN, Rule::Own(Check(fit::fits))];

const BASIC_ID: Rule = needs(PROVIDER, "BASIC", ACCESS_KEY);
const BASIC_KEY: Rule = needs(PROVIDER, "BASIC", SECRET_KEY);
const ROLE: Rule = needs(PROVIDER, "ASSUME_ROLE", "aws.credentials.role.arn");
const WEB_ROLE: Rule = needs(PROVIDER, "WEB_IDENTITY_TOKEN", "aws.credentials.role.arn");
const WEB_TOKEN: Rule = needs(PROVIDER, "WEB_IDENTITY_TOKEN", "aws.credentials.webIdentityToken.file");

const OPTIONS: &[OptionSpec] = &[
    text(
        "stream.arn",
        "The stream, by its ARN: arn:aws:kinesis:REGION:ACCOUNT:stream/NAME. It may be another account's.",
    ),
    text("stream", "The stream, by its name in the client's own account and region. Instead of stream.arn."),
    text(
        "aws.region",
        "The region. If it is not set, that of the ARN, else that which AWS's tools find (AWS_REGION, the profile, the instance).",
    ),
    text(
        "aws.endpoint",
        "A URL that is asked instead of AWS's, for emulators and private endpoints. If it is not set, AWS_ENDPOINT_URL_KINESIS or AWS_ENDPOINT_URL of a node, or endpoint_url of its profile, may lead elsewhere.",
    ),
    option(
        PROVIDER,
        OptionType::OneOf(&["AUTO", "BASIC", "ENV_VAR", "PROFILE", "ASSUME_ROLE", "WEB_IDENTITY_TOKEN"]),
        "AUTO",
        "Where credentials come from: as AWS's tools find them (environment, profiles with SSO, web identity, container, instance), or only by the options that are named here. ASSUME_ROLE: a role, with what AUTO or aws.credentials.role.provider finds.",
    ),
    hidden(text(ACCESS_KEY, "BASIC: the id of an access key.")),
    hidden(text(SECRET_KEY, "BASIC: the access key.")),
    hidden(text("aws.credentials.basic.sessiontoken", "BASIC: the session token of temporary keys.")),
    hidden(text(
        "aws.credentials.profile.name",
        "PROFILE: the profile's name. If it is not set, AWS_PROFILE, else default.",
    )),
    option(
        "aws.credentials.profile.path",
        OptionType::File,
        "",
        "PROFILE: a file of profiles with credentials, on every node. It may name no program (credential_process).",
    ),
    hidden(text("aws.credentials.role.arn", "ASSUME_ROLE, WEB_IDENTITY_TOKEN: the ARN of the role.")),
    hidden(text(
        "aws.credentials.role.sessionName",
        "ASSUME_ROLE, WEB_IDENTITY_TOKEN: the name of the role's session.",
    )),
    hidden(text("aws.credentials.role.externalId", "ASSUME_ROLE: what the role's account asks of others.")),
    hidden(text(
        "aws.credentials.role.stsEndpoint",
        "ASSUME_ROLE: a URL that is asked instead of AWS's Security Token Service.",
    )),
    option(
        ROLE_PROVIDER,
        OptionType::OneOf(&["AUTO", "BASIC", "ENV_VAR", "PROFILE"]),
        "AUTO",
        "ASSUME_ROLE: where the credentials come from with which the role is assumed.",
    ),
    option(
        "aws.credentials.webIdentityToken.file",
        OptionType::File,
        "",
        "WEB_IDENTITY_TOKEN: the file of the token, on every node.",
    ),
    option(
        "source.init.position",
        OptionType::OneOf(&["LATEST", "TRIM_HORIZON", "AT_TIMESTAMP"]),
        "LATEST",
        "Where shards begin that are there when the job begins: with what comes from then on, with the first record that is kept, or at source.init.timestamp. Shards that come of them later begin at their beginning.",
    ),
    text(
        "source.init.timestamp",
        "AT_TIMESTAMP: shards begin with their first record that arrived at this time or later: 2026-01-01T00:00:00Z, or seconds since 1970.",
    ),
    option(
        "source.shard.discovery.interval",
        OptionType::DurationWithin("1 s", ""),
        "10 s",
        "How long after one look for new shards the next one follows; at least 1 s.",
    ),
    option(
        "source.reader.type",
        OptionType::OneOf(&["POLLING", "EFO"]),
        "POLLING",
        "How shards are read: by asking for records, which all readers of a shard share, or by enhanced fan-out, which gives this consumer 2 MB/s of each shard to itself and costs extra.",
    ),
    option(
        "source.shard.get-records.max-record-count",
        OptionType::Between(1, 10_000),
        "10000",
        "POLLING: the most records that one request asks for, 1 to 10000.",
    ),
    option(
        "source.reader.empty-records-fetch-interval",
        OptionType::DurationWithin("200 ms", ""),
        "250 ms",
        "POLLING: how long after a request that found no records the next one follows; at least 200 ms.",
    ),
    text("source.efo.consumer.name", "EFO: the name of the consumer. Two jobs must not have one of one name."),
    option(
        "source.efo.lifecycle",
        OptionType::OneOf(&["JOB_MANAGED", "SELF_MANAGED"]),
        "JOB_MANAGED",
        "EFO: whether the job registers the consumer if it is not there, and removes it when the job's input ends; or somebody else does both.",
    ),
    option(
        "source.efo.subscription.timeout",
        OptionType::DurationWithin("10 s", ""),
        "1 min",
        "EFO: how long a subscription may be silent; it is renewed then. At least 10 s.",
    ),
    option(
        "source.aggregation.other-shards",
        OptionType::OneOf(&["drop", "keep"]),
        "drop",
        "What becomes of records in an aggregated one whose partition keys belong to another shard: producers of the KPL's kind send them again where they belong, so that readers drop them, as the KCL does; other producers do not.",
    ),
    option(
        "scan.on-data-loss",
        OptionType::OneOf(&["fail", "skip"]),
        "fail",
        "What follows when records are gone before they were read, by retention or since the stream was deleted: the job fails, or goes on behind them with a warning.",
    ),
    option(
        "sink.partitioner",
        OptionType::OneOf(&["random", "fixed"]),
        "random",
        "The partition key of rows that have none by PARTITIONED BY or a column of the metadata partition-key: any, or one for each subtask.",
    ),
    option(
        "sink.partitioner-field-delimiter",
        OptionType::Text,
        "",
        "What stands between the values of the columns of PARTITIONED BY in a partition key. If it is not set, a vertical bar.",
    ),
    option(
        "sink.ordering",
        OptionType::OneOf(&["none", "strict"]),
        "none",
        "Whether rows of one partition key stay in order. PutRecords keeps none: strict keeps one record per key on its way, which takes one round trip for each.",
    ),
    option("sink.batch.max-size", OptionType::Between(1, 500), "500", "The most records of one request, 1 to 500."),
    option(
        "sink.requests.max-inflight",
        OptionType::Between(1, 64),
        "16",
        "The most requests of a subtask that are on their way at a time, 1 to 64.",
    ),
    option(
        "sink.flush-buffer.timeout",
        OptionType::DurationWithin("", "60 s"),
        "100 ms",
        "How long a record waits for others with which it is sent, at most 60 s. A request that is full does not wait. In Flink the default is 5 s.",
    ),
    option(
        "sink.aggregation.enabled",
        OptionType::Boolean,
        "false",
        "Whether rows for one shard are put into aggregated records as the KPL does: small rows then need fewer records. Readers must take them apart, as the KCL, Flink and this connector do.",
    ),
    option(
        "sink.aggregation.max-size",
        OptionType::BytesWithin("1 KiB", "1 MiB"),
        "50 KiB",
        "The most bytes of an aggregated record, 1 KiB to 1 MiB.",
    ),
    text(
        "sink.record-id.field",
        "A field that is added to each row, of type STRING, which tells the row from all others whatever fails, so that readers can drop repeats. Rows are then sent when the checkpoint that holds them is complete.",
    ),
    IDLE_TIMEOUT,
    DEAD_LETTER_PATH,
];

const METADATA: &[MetadataSpec] = &[
    read("shard-id", "STRING NOT NULL", "The id of the record's shard."),
    read(
        "sequence-number",
        "STRING NOT NULL",
        "The record's sequence number in its shard. Records that were aggregated share it.",
    ),
    read("sub-sequence-number", "BIGINT NOT NULL", "The record's place in an aggregated record, from 0; 0 for others."),
    read(
        "timestamp",
        "TIMESTAMP_LTZ(3)",
        "About when the record arrived in the stream; NULL if the stream does not tell.",
    ),
    MetadataSpec {
        written: true,
        ..read(
            "partition-key",
            "STRING NOT NULL",
            "The record's partition key: 1 to 256 characters. Written: instead of PARTITIONED BY.",
        )
    },
    MetadataSpec {
        written: true,
        ..read(
            "explicit-hash-key",
            "STRING",
            "A number from 0 to 2^128-1 that chooses the shard instead of the partition key's hash; NULL: it does not. Read: only aggregated records keep it.",
        )
    },
];

const fn needs(option: &'static str, value: &'static str, other: &'static str) -> Rule {
    Rule::Needs { option, value, other }
}

const fn text(key: &'static str, doc: &'static str) -> OptionSpec {
    option(key, OptionType::Text, "", doc)
}

/// Its key says that its value is a secret, so it must be possible to give it as one.
const fn hidden(option: OptionSpec) -> OptionSpec {
    OptionSpec { secret: true, ..option }
}

const fn read(key: &'static str, data_type: &'static str, doc: &'static str) -> MetadataSpec {
    MetadataSpec { key, data_type, read: true, written: false, doc }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{HIDDEN, TableConnector};

    fn table(options: &[(&str, &str)]) -> TableConnector {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        TableConnector { name: "kinesis".to_owned(), options, secrets: BTreeMap::new() }
    }

    #[test]
    fn what_is_missing_is_told() {
        let broken = |options: &[(&str, &str)]| table(options).unfit_to_read();
        assert_eq!(broken(&[]).as_deref(), Some("give it 'stream.arn' or 'stream'"));
        assert_eq!(broken(&[("stream", "s")]), None);
        for (option, value, other) in [
            ("source.init.position", "AT_TIMESTAMP", "source.init.timestamp"),
            ("source.reader.type", "EFO", "source.efo.consumer.name"),
            ("aws.credentials.provider", "BASIC", "aws.credentials.basic.accesskeyid"),
            ("aws.credentials.provider", "ASSUME_ROLE", "aws.credentials.role.arn"),
            ("aws.credentials.provider", "WEB_IDENTITY_TOKEN", "aws.credentials.role.arn"),
        ] {
            let refused = broken(&[("stream", "s"), (option, value)]).unwrap_or_default();
            assert!(refused.contains(other), "{refused}");
        }
        let both = table(&[("stream", "s"), ("stream.arn", "arn:aws:kinesis:a:1:stream/s")]).unfit_to_write();
        assert_eq!(both.as_deref(), Some("'stream.arn' and 'stream' cannot be set together"));
    }

    #[test]
    fn keys_are_not_shown() {
        let table = table(&[
            ("aws.credentials.basic.secretkey", "hunter2"),
            ("aws.credentials.basic.sessiontoken", "hunter3"),
            ("stream", "s"),
        ]);
        let shown = table.shown_options();
        for key in ["aws.credentials.basic.secretkey", "aws.credentials.basic.sessiontoken"] {
            assert!(shown[key].contains(HIDDEN), "{key}");
        }
        assert_eq!(shown["stream"], "'s'");
    }

    #[test]
    fn a_stream_has_no_end_and_its_shards_are_found() {
        let stream = table(&[("stream", "s")]);
        assert!(stream.finds_splits() && stream.lacks_end().is_some());
        assert_eq!(stream.delivery(), Some(super::Delivery::AtLeastOnce));
    }
}
