//! The formats of this engine.

use super::{Fields, FormatSpec, OptionType, option::option};

/// The formats.
pub const FORMATS: &[FormatSpec] = &[
    FormatSpec {
        name: "json",
        fields: Fields::Named,
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
        fields: Fields::Ordered,
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
        fields: Fields::Named,
        options: &[option(
            "parquet.compression",
            OptionType::OneOf(&["none", "snappy", "zstd", "lz4", "gzip", "brotli"]),
            "snappy",
            "How column chunks are compressed.",
        )],
        doc: "Apache Parquet.",
    },
];

/// Those of files.
pub(super) const FILE_FORMATS: &[&str] = &["json", "csv", "parquet"];
