//! The formats of this engine.

use super::{
    Fields, FormatSpec, OptionSpec, OptionType,
    option::{option, required},
};

/// The formats.
pub const FORMATS: &[FormatSpec] = &[
    FormatSpec {
        name: "json",
        fields: Fields::Named,
        files: true,
        messages: true,
        options: &[option(
            "json.timestamp-format",
            OptionType::OneOf(&["sql", "iso-8601"]),
            "sql",
            "How timestamps are written; both forms are read: 2026-01-01 00:00:00.123 or 2026-01-01T00:00:00.123Z.",
        )],
        doc: "One JSON object a line, or a message.",
    },
    FormatSpec {
        name: "csv",
        fields: Fields::Ordered,
        files: true,
        messages: true,
        options: &[
            option("csv.field-delimiter", OptionType::Text, ",", "The character between fields."),
            option(
                "csv.header",
                OptionType::Boolean,
                "false",
                "Whether a file's first line names the columns. Messages have no header.",
            ),
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
                "Whether quoted fields may hold line feeds; each file is then read as one split. Those of messages always may.",
            ),
        ],
        doc: "Comma-separated values.",
    },
    FormatSpec {
        name: "parquet",
        fields: Fields::Named,
        files: true,
        messages: false,
        options: &[option(
            "parquet.compression",
            OptionType::OneOf(&["none", "snappy", "zstd", "lz4", "gzip", "brotli"]),
            "snappy",
            "How column chunks are compressed.",
        )],
        doc: "Apache Parquet.",
    },
    FormatSpec {
        name: "avro",
        fields: Fields::Named,
        files: true,
        messages: true,
        options: &[
            option(
                "avro.schema",
                OptionType::Json,
                "",
                "The schema, in JSON, that messages and files are written with; without it, the one that the columns give. Messages are read with it alone, and it must be the one that they were written with; a file has its own.",
            ),
            option(
                "avro.codec",
                OptionType::OneOf(&["null", "deflate", "snappy", "zstandard"]),
                "snappy",
                "How blocks of files are compressed.",
            ),
        ],
        doc: "Apache Avro: object container files, or one datum a message.",
    },
    FormatSpec {
        name: "avro-confluent",
        fields: Fields::Named,
        files: false,
        messages: true,
        options: &[
            required("avro-confluent.url", OptionType::HttpServers, REGISTRY_URL),
            option("avro-confluent.subject", OptionType::Text, "", SUBJECT),
            option(
                "avro-confluent.schema",
                OptionType::Json,
                "",
                "The schema, in JSON, that messages are written with; without it, the one that the columns give. Messages are read with the schemas that they name.",
            ),
            user_info("avro-confluent.basic-auth.user-info"),
        ],
        doc: "Apache Avro, with the id of the writer's schema in a schema registry (Confluent's framing).",
    },
    FormatSpec {
        name: "protobuf",
        fields: Fields::Named,
        files: false,
        messages: true,
        options: &[
            option(
                "protobuf.proto",
                OptionType::Text,
                "",
                "The text of a .proto file, which may import google/protobuf/*.proto alone. This, protobuf.proto-file or protobuf.descriptor-file is needed.",
            ),
            option(
                "protobuf.proto-file",
                OptionType::Text,
                "",
                "The path of a .proto file on the nodes; its imports are read relative to its directory.",
            ),
            option(
                "protobuf.descriptor-file",
                OptionType::Text,
                "",
                "The path of a FileDescriptorSet on the nodes (protoc --include_imports --descriptor_set_out).",
            ),
            option(
                "protobuf.message",
                OptionType::Text,
                "",
                "The message's full name, such as shop.Order; not needed if the definition has one alone.",
            ),
            option("protobuf.read-default-values", OptionType::Boolean, "false", READ_DEFAULT_VALUES),
        ],
        doc: "Protocol Buffers: one message a message.",
    },
    FormatSpec {
        name: "protobuf-confluent",
        fields: Fields::Named,
        files: false,
        messages: true,
        options: &[
            required("protobuf-confluent.url", OptionType::HttpServers, REGISTRY_URL),
            option("protobuf-confluent.subject", OptionType::Text, "", SUBJECT),
            option(
                "protobuf-confluent.schema",
                OptionType::Text,
                "",
                "The text of the .proto file that messages are written with; it may import google/protobuf/*.proto alone. Without it, the one that the columns give. Messages are read with the schemas that they name.",
            ),
            option(
                "protobuf-confluent.message",
                OptionType::Text,
                "",
                "The full name of the message that is written; without it, the first of the schema.",
            ),
            option("protobuf-confluent.read-default-values", OptionType::Boolean, "false", READ_DEFAULT_VALUES),
            user_info("protobuf-confluent.basic-auth.user-info"),
        ],
        doc: "Protocol Buffers, with the id of the writer's schema in a schema registry (Confluent's framing).",
    },
    FormatSpec {
        name: "raw",
        fields: Fields::Only,
        files: false,
        messages: true,
        options: &[
            option(
                "raw.endianness",
                OptionType::OneOf(&["big-endian", "little-endian"]),
                "big-endian",
                "The order of a number's bytes.",
            ),
            option("raw.charset", OptionType::OneOf(&["UTF-8"]), "UTF-8", "How a STRING is encoded."),
        ],
        doc: "The bytes of a message are the value of the only column.",
    },
];

/// Those of files.
pub(super) const FILE_FORMATS: &[&str] = &["json", "csv", "parquet", "avro"];

/// Those of single messages, for connectors of any messages.
pub const MESSAGE_FORMATS: &[&str] =
    &["json", "csv", "avro", "avro-confluent", "protobuf", "protobuf-confluent", "raw"];

const REGISTRY_URL: &str =
    "The address of the schema registry, such as https://registry:8081; several are separated by commas.";
const SUBJECT: &str =
    "The subject that the schema of written messages is registered under; without it, TOPIC-value or TOPIC-key.";
const READ_DEFAULT_VALUES: &str = "Whether a field that a message lacks has its default value. If not, it is NULL where the definition tells lacking it from having the default (optional, oneof, proto2).";

const fn user_info(key: &'static str) -> OptionSpec {
    OptionSpec { secret: true, ..option(key, OptionType::Text, "", "USER:PASSWORD for the schema registry.") }
}
