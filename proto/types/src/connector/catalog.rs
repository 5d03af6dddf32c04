//! The connectors and formats that this engine has.

use super::{ConnectorSpec, Delivery, FormatSpec, OptionSpec, OptionType};

const fn option(key: &'static str, kind: OptionType, default: &'static str, doc: &'static str) -> OptionSpec {
    OptionSpec { key, kind, default, required: false, doc }
}

const fn required(key: &'static str, kind: OptionType, doc: &'static str) -> OptionSpec {
    OptionSpec { key, kind, default: "", required: true, doc }
}

/// What every source takes.
const IDLE_TIMEOUT: OptionSpec = option(
    "scan.watermark.idle-timeout",
    OptionType::Duration,
    "",
    "After this time without records a split no longer holds the watermark back. Without it, a silent split always does.",
);
const REPLAY_COLUMN: OptionSpec = option(
    "replay.column",
    OptionType::Text,
    "",
    "The timestamp column by which a bounded table is replayed, at the speed of SET 'replay.speed'.",
);
const DEAD_LETTER_PATH: OptionSpec = option(
    "dead-letter.path",
    OptionType::Text,
    "",
    "A directory for records that cannot be parsed, with position and reason. Without it, the first such record fails the job.",
);

/// The formats.
pub const FORMATS: &[FormatSpec] = &[
    FormatSpec {
        name: "json",
        options: &[option(
            "json.timestamp-format",
            OptionType::OneOf(&["sql", "iso-8601"]),
            "sql",
            "How timestamps are written; both forms are read: 2026-01-01 00:00:00.123 or 2026-01-01T00:00:00.123Z.",
        )],
        doc: "One JSON object a line.",
    },
    FormatSpec {
        name: "csv",
        options: &[
            option("csv.field-delimiter", OptionType::Text, ",", "The character between fields."),
            option("csv.header", OptionType::Boolean, "false", "Whether a file's first line names the columns."),
            option(
                "csv.null-literal",
                OptionType::Text,
                "",
                "The text that stands for NULL; an empty field does in any case.",
            ),
            option(
                "csv.multi-line",
                OptionType::Boolean,
                "false",
                "Whether quoted fields may hold line feeds; each file is then read as one split.",
            ),
        ],
        doc: "Comma-separated values.",
    },
    FormatSpec {
        name: "parquet",
        options: &[option(
            "parquet.compression",
            OptionType::OneOf(&["none", "snappy", "zstd", "lz4", "gzip", "brotli"]),
            "snappy",
            "How column chunks are compressed.",
        )],
        doc: "Apache Parquet.",
    },
];

const FILE_FORMATS: &[&str] = &["json", "csv", "parquet"];

/// The columns of the `nexmark` connector: those of Flink's Nexmark, `datetime` within each struct.
const NEXMARK_COLUMNS: &str = "event_type INT NOT NULL, \
    person ROW<id BIGINT, name STRING, emailAddress STRING, creditCard STRING, city STRING, state STRING, dateTime TIMESTAMP(3), extra STRING>, \
    auction ROW<id BIGINT, itemName STRING, description STRING, initialBid BIGINT, reserve BIGINT, dateTime TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING>, \
    bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, dateTime TIMESTAMP(3), extra STRING>, \
    dateTime TIMESTAMP(3) NOT NULL";

/// The connector whose source is sent its records, and keeps them where the job's checkpoints are.
pub const INGEST_CONNECTOR: &str = "http";

/// The connectors.
pub const CONNECTORS: &[ConnectorSpec] = &[
    ConnectorSpec {
        name: "filesystem",
        source: true,
        sink: Some(Delivery::ExactlyOnce),
        formats: FILE_FORMATS,
        options: &[
            required(
                "path",
                OptionType::Text,
                "A file, a directory or a pattern such as days/2026-*/*.json; local, or the URL of an object store (s3://, gs://, az://, file://).",
            ),
            option(
                "source.monitor-interval",
                OptionType::Duration,
                "",
                "How often the path is checked for new files; without it, the table is bounded. New files are read one after the \
                 other, by name: their event times are expected in that order, up to the watermark's delay.",
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
                "Whether part files end with each checkpoint. If not, a part file takes the rows of several checkpoints until it is \
                 large enough (128 MiB in memory if no size is set) or old enough. Until then these rows are state of the job.",
            ),
            IDLE_TIMEOUT,
            REPLAY_COLUMN,
            DEAD_LETTER_PATH,
        ],
        fixed_columns: "",
        doc: "Reads the files of a path; writes part files into a directory, which become visible once they are final.",
    },
    ConnectorSpec {
        name: "nexmark",
        source: true,
        sink: None,
        formats: &[],
        options: &[
            option(
                "events.num",
                OptionType::Integer,
                "",
                "How many events of all three kinds; unbounded if it is not set.",
            ),
            option("events.rate", OptionType::Number, "100000", "Events per second of event time."),
            option(
                "events.speed",
                OptionType::OneOf(&["max", "real-time"]),
                "max",
                "As fast as possible, or at events.rate in real time.",
            ),
            option(
                "events.splits",
                OptionType::Integer,
                "8",
                "Into how many independent ranges the events are divided.",
            ),
            option("seed", OptionType::Integer, "42", "The seed of all random choices."),
            option("start-time", OptionType::Text, "2026-01-01 00:00:00", "The first event's time."),
            option("max-out-of-orderness", OptionType::Duration, "0 ms", "By how much events may be out of order."),
            IDLE_TIMEOUT,
        ],
        fixed_columns: NEXMARK_COLUMNS,
        doc: "The Nexmark auction events: 1 person, 3 auctions and 46 bids in every 50.",
    },
    ConnectorSpec {
        name: "datagen",
        source: true,
        sink: None,
        formats: &[],
        options: &[
            option("number-of-rows", OptionType::Integer, "", "How many rows; unbounded if it is not set."),
            option(
                "rows-per-second",
                OptionType::Number,
                "",
                "Rows per second of real time; as fast as possible if it is not set.",
            ),
            option("splits", OptionType::Integer, "8", "Into how many independent ranges the rows are divided."),
            option("seed", OptionType::Integer, "42", "The seed of all random choices."),
            option(
                "fields.*",
                OptionType::Text,
                "",
                "Per column: fields.NAME.kind (random or sequence), .min, .max, .start, .end, .step, .length, .null-rate, .max-past.",
            ),
            IDLE_TIMEOUT,
        ],
        fixed_columns: "",
        doc: "Random or sequential rows for the declared columns.",
    },
    ConnectorSpec {
        name: "stdin",
        source: true,
        sink: None,
        formats: &["json", "csv"],
        options: &[IDLE_TIMEOUT, DEAD_LETTER_PATH],
        fixed_columns: "",
        doc: "Reads the standard input of an embedded cluster, until its end.",
    },
    ConnectorSpec {
        name: INGEST_CONNECTOR,
        source: true,
        sink: Some(Delivery::AtLeastOnce),
        formats: &["json"],
        options: &[
            option(
                "path",
                OptionType::Text,
                "",
                "Source: the path under the node's HTTP address to which records are POSTed. If it is not set, /ingest/TABLE.",
            ),
            option("url", OptionType::Text, "", "Sink: where batches are POSTed."),
            option(
                "buffer-size",
                OptionType::Bytes,
                "8 MiB",
                "Source: how many bytes may be accepted and not yet read; beyond it requests are answered with 429.",
            ),
            option(
                "idempotency.retention",
                OptionType::Duration,
                "10 min",
                "Source: for how long after its arrival a retry of a request with the same Idempotency-Key is answered again and not taken again.",
            ),
            option("batch-rows", OptionType::Integer, "1000", "Sink: the most rows of one request."),
            option("timeout", OptionType::Duration, "30 s", "Sink: how long a request may take."),
            option(
                "retries",
                OptionType::Integer,
                "10",
                "Sink: how often a failed request is repeated, with growing delays. After that the attempt fails, which counts towards restart.attempts.",
            ),
            IDLE_TIMEOUT,
            DEAD_LETTER_PATH,
        ],
        fixed_columns: "",
        doc: "Takes records by POST; writes batches by POST, at least once.",
    },
    ConnectorSpec {
        name: "print",
        source: false,
        sink: Some(Delivery::AtLeastOnce),
        formats: &[],
        options: &[option("print-identifier", OptionType::Text, "", "Written before each row.")],
        fixed_columns: "",
        doc: "Writes rows to the node's standard output, at least once.",
    },
    ConnectorSpec {
        name: "blackhole",
        source: false,
        sink: Some(Delivery::ExactlyOnce),
        formats: &[],
        options: &[option(
            "rows-per-second",
            OptionType::Number,
            "",
            "The most rows per second that each subtask takes; no limit if it is not set.",
        )],
        fixed_columns: "",
        doc: "Counts rows and forgets them.",
    },
];
