//! Files of a path, local or in an object store.

use super::{
    Check, ConnectorSpec, Delivers, Delivery, Ends, Input, OptionType, Output, Rule, SinkSpec, SourceSpec, Splits,
    format::FILE_FORMATS,
    option::{DEAD_LETTER_PATH, IDLE_TIMEOUT, REPLAY_COLUMN, option, required},
};

/// How files of lines are compressed.
pub(super) const COMPRESSION: &str = "sink.compression";

/// How directories are named.
pub(super) const PATH_TEMPLATE: &str = "sink.path-template";
/// Whether all rows of a partition are written by one subtask.
pub(super) const SHUFFLE: &str = "sink.shuffle-by-partition.enable";
/// What says that a partition is complete.
pub(super) const COMMIT_POLICY: &str = "sink.partition-commit.policy.kind";
/// When a partition is complete.
pub(super) const COMMIT_TRIGGER: &str = "sink.partition-commit.trigger";
/// The value of `COMMIT_TRIGGER` by which event time decides.
pub(super) const PARTITION_TIME: &str = "partition-time";
/// The time of a partition.
pub(super) const TIME_PATTERN: &str = "partition.time-extractor.timestamp-pattern";
const COMMIT_DELAY: &str = "sink.partition-commit.delay";
pub(super) const SUCCESS_FILE_NAME: &str = "sink.partition-commit.success-file.name";
const SUCCESS_FILE: &str = "success-file";
/// Flink has `metastore` and `custom` as well.
const NO_OTHER_POLICY: &str = "neither a metastore nor code of one's own is told of partitions: what loads them waits for this file, or reads the manifests of 'sink.manifest.path'";
const AUTO_COMPACTION: &str = "auto-compaction";
pub(super) const COMPACTION_FILE_SIZE: &str = "compaction.file-size";
pub(super) const FILE_SIZE: &str = "sink.rolling-policy.file-size";
pub(super) const ROLLOVER_INTERVAL: &str = "sink.rolling-policy.rollover-interval";
pub(super) const INACTIVITY_INTERVAL: &str = "sink.rolling-policy.inactivity-interval";
pub(super) const ON_CHECKPOINT: &str = "sink.rolling-policy.on-checkpoint";
pub(super) const MANIFEST_PATH: &str = "sink.manifest.path";
pub(super) const ERROR_PREFIX: &str = "error-prefix";

/// A path that is watched has no end, and its files are found as they come.
const MONITOR_INTERVAL: &str = "source.monitor-interval";

pub(super) const SPEC: ConnectorSpec = ConnectorSpec {
    name: "filesystem",
    source: Some(SourceSpec {
        input: Input::Files { path: "path" },
        splits: Splits::FoundWith(MONITOR_INTERVAL),
        ends: Ends::Without(MONITOR_INTERVAL),
        rules: &[],
    }),
    sink: Some(SinkSpec {
        delivery: Delivers::Always(Delivery::ExactlyOnce),
        output: Output::Files { path: "path" },
        rules: &[
            Rule::Beside { option: COMPRESSION, unless: "none", other: "format", values: &["json", "csv"] },
            Rule::Needs { option: COMMIT_TRIGGER, value: PARTITION_TIME, other: COMMIT_POLICY },
            Rule::Needs { option: COMMIT_TRIGGER, value: PARTITION_TIME, other: TIME_PATTERN },
            Rule::Only { option: COMMIT_TRIGGER, other: COMMIT_POLICY, value: SUCCESS_FILE },
            Rule::Only { option: COMMIT_DELAY, other: COMMIT_POLICY, value: SUCCESS_FILE },
            Rule::Only { option: SUCCESS_FILE_NAME, other: COMMIT_POLICY, value: SUCCESS_FILE },
            Rule::Only { option: TIME_PATTERN, other: COMMIT_TRIGGER, value: PARTITION_TIME },
            Rule::Only { option: COMPACTION_FILE_SIZE, other: AUTO_COMPACTION, value: "true" },
            Rule::Own(Check(|table| table.keeps_parts_open().err().map(|error| error.to_string()))),
        ],
    }),
    formats: FILE_FORMATS,
    keys: false,
    metadata: &[],
    options: &[
        required(
            "path",
            OptionType::Text,
            "A file, a directory or a pattern such as days/2026-*/*.json; local, or the URL of an object store (s3://, gs://, az://, file://).",
        ),
        option(
            MONITOR_INTERVAL,
            OptionType::Duration,
            "",
            "How long after one look at the path the next one follows; without it, the table is bounded. Files that are found together are read side by side, and their event times may lie in any order. Those of files found later are expected to be later, up to the watermark's delay.",
        ),
        option(
            "source.split-size",
            OptionType::Bytes,
            "32 MiB",
            "Files larger than this are read as several splits; a Parquet file is cut between row groups only, and a compressed file of lines not at all.",
        ),
        option(
            FILE_SIZE,
            OptionType::Bytes,
            "1 GiB",
            "A part file of about this size is followed by another; at most 4 GiB in an object store.",
        ),
        option(
            ROLLOVER_INTERVAL,
            OptionType::Duration,
            "",
            "A part file of this age is followed by another. A closed part file becomes visible when the next checkpoint is complete.",
        ),
        option(
            INACTIVITY_INTERVAL,
            OptionType::Duration,
            "",
            "A part file that has got no rows for this long is closed.",
        ),
        option(
            "sink.rolling-policy.check-interval",
            OptionType::Duration,
            "0 s",
            "The least time between two looks at the ages of part files. In Flink the default is 1 min.",
        ),
        option(
            ON_CHECKPOINT,
            OptionType::Boolean,
            "true",
            "Whether part files end with each checkpoint. If not, a part file takes the rows of several checkpoints until it is large enough (128 MiB in memory if no size is set), old enough or has got no rows for long enough: each partition's for itself. Until then these rows are state of the job. If those of all partitions take more than 128 MiB in a subtask, or than a larger size that is set, those of the partitions that got rows least recently are written.",
        ),
        option(
            COMPRESSION,
            OptionType::OneOf(&["none", "gzip", "zstd", "snappy"]),
            "none",
            "How files of lines are compressed: .gz, .zst, or .snappy in snappy's framing format. For json and csv, which are read by these names whatever is set here. parquet and avro have options of their own.",
        ),
        option(
            AUTO_COMPACTION,
            OptionType::Boolean,
            "false",
            "Whether the small part files of one checkpoint and partition, of all subtasks, are merged before they become visible. Parts of 32 MiB and more stay as they are.",
        ),
        option(
            COMPACTION_FILE_SIZE,
            OptionType::Bytes,
            "",
            "About how large merged files are. If it is not set, as sink.rolling-policy.file-size.",
        ),
        option(
            MANIFEST_PATH,
            OptionType::Text,
            "",
            "A directory below the table's path, whose name begins with _: for each checkpoint that publishes files, a JSON file there names them, with their lengths, as Redshift's COPY takes it. It is written when they are visible.",
        ),
        option(
            PATH_TEMPLATE,
            OptionType::Text,
            "",
            "How the directories of partitions are named, if not column=value as Hive does: country={country}/{at:yyyy/MM/dd/HH}, with columns of PARTITIONED BY, timestamp columns by a pattern as DATE_FORMAT takes it, and {arrival-time:PATTERN}, when the row came to the sink (UTC).",
        ),
        option(
            SHUFFLE,
            OptionType::Boolean,
            "false",
            "Whether all rows of a partition are written by one subtask, for fewer files.",
        ),
        option(
            COMMIT_POLICY,
            OptionType::Only(&[SUCCESS_FILE], NO_OTHER_POLICY),
            "",
            "What says that a partition is complete: success-file, an empty file in its directory, written behind its files. Without it, nothing does.",
        ),
        option(SUCCESS_FILE_NAME, OptionType::Text, "_SUCCESS", "The name of that file."),
        option(
            COMMIT_TRIGGER,
            OptionType::OneOf(&["process-time", PARTITION_TIME]),
            "process-time",
            "When a partition is complete: when the delay has passed since its first rows were written, or when the watermark has passed its time and the delay. Then all rows of a partition are written by one subtask. Rows that come later are written, and the file again. The end of the input completes all partitions.",
        ),
        option(
            COMMIT_DELAY,
            OptionType::Duration,
            "0 s",
            "The delay: 1 h for partitions of an hour whose time is their beginning.",
        ),
        option(
            TIME_PATTERN,
            OptionType::Text,
            "",
            "The time of a partition, as text with the values of columns of PARTITIONED BY: $day $hour:00:00. UTC. A partition that has none, such as that of NULL, is complete with the end of the input only.",
        ),
        option(
            ERROR_PREFIX,
            OptionType::Text,
            "",
            "A directory below the table's path, whose name begins with _: rows that cannot be written go there as JSON lines with the reason, by kind of error: format (a value that the format cannot hold), partition (one that cannot name a directory). Without it, they go to the job's error.path.",
        ),
        IDLE_TIMEOUT,
        REPLAY_COLUMN,
        DEAD_LETTER_PATH,
    ],
    fixed_columns: "",
    doc: "Reads the files of a path; writes part files into a directory, which become visible once they are final.",
};
