//! Files of a path, local or in an object store.

use super::{
    ConnectorSpec, Delivers, Delivery, Ends, Input, OptionType, Output, SinkSpec, SourceSpec, Splits,
    format::FILE_FORMATS,
    option::{DEAD_LETTER_PATH, IDLE_TIMEOUT, REPLAY_COLUMN, option, required},
};

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
        rules: &[],
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
            "Files larger than this are read as several splits; a Parquet file is cut between row groups only.",
        ),
        option(
            "sink.rolling-policy.file-size",
            OptionType::Bytes,
            "1 GiB",
            "A part file of about this size is followed by another; at most 4 GiB in an object store.",
        ),
        option(
            "sink.rolling-policy.rollover-interval",
            OptionType::Duration,
            "",
            "A part file of this age is followed by another. A closed part file becomes visible when the next checkpoint is complete.",
        ),
        option(
            "sink.rolling-policy.on-checkpoint",
            OptionType::Boolean,
            "true",
            "Whether part files end with each checkpoint. If not, a part file takes the rows of several checkpoints until it is large enough (128 MiB in memory if no size is set) or old enough. Until then these rows are state of the job.",
        ),
        IDLE_TIMEOUT,
        REPLAY_COLUMN,
        DEAD_LETTER_PATH,
    ],
    fixed_columns: "",
    doc: "Reads the files of a path; writes part files into a directory, which become visible once they are final.",
};
