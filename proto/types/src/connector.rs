//! Connectors as data: names, capabilities and options, so that planning can check a table's `WITH` clause without I/O.
//!
//! Each has a file here, and a line in `CONNECTORS`; what it does is the node's (`thalweg-connectors`). Whoever treats some
//! connectors apart asks for a capability, never for a name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod addresses;
mod blackhole;
mod datagen;
mod delivery;
mod filesystem;
mod format;
mod http;
mod kafka;
mod kind;
mod kinesis;
mod nexmark;
mod offsets;
mod option;
mod parts;
mod print;
mod queryable;
mod rule;
mod secret;
mod stdin;
mod template;
mod values;

pub use addresses::no_http;
pub use delivery::{DeliveryError, TimePiece};
pub use format::{FORMATS, MESSAGE_FORMATS};
pub use kafka::{SINK_TIMEOUT_MIN, TRANSACTIONAL_PREFIX_BYTES_MAX, is_topic_name};
pub use kind::{NamedOptions, OptionType};
pub use offsets::parse_partition_offsets;
pub use parts::{
    EXCEPT_KEY, FORMAT, KEY_FIELDS, KEY_FIELDS_PREFIX, KEY_FORMAT, KEY_PREFIX, KEYED_OPTIONS, PartColumns, Parts,
    VALUE_FIELDS_INCLUDE, VALUE_FORMAT, VALUE_PREFIX,
};
pub use queryable::{LIMIT, TTL};
pub use rule::{Check, Rule};
pub use secret::{HIDDEN, SECRET_NAME_BYTES_MAX, is_secret, is_secret_name, is_secret_option};
pub use template::{ARRIVAL_TIME, NULL_DIRECTORY, PathPiece, PathTemplate, TemplateError, is_escaped_in_paths};

/// The connectors that a table can name.
pub const CONNECTORS: &[ConnectorSpec] = &[
    filesystem::SPEC,
    kafka::SPEC,
    kinesis::SPEC,
    nexmark::SPEC,
    datagen::SPEC,
    stdin::SPEC,
    http::SPEC,
    print::SPEC,
    queryable::SPEC,
    blackhole::SPEC,
];
/// Those that only the planner names.
const UNNAMED: &[ConnectorSpec] = &[values::SPEC];

/// The metadata key of a source's physical schema that holds the names of all columns that the table declares, in
/// order, as a JSON array of strings: what readers of `Fields::Ordered` know a column by. Without this key the physical
/// schema has all columns of the table.
pub const TABLE_COLUMNS: &str = "thalweg.table-columns";

/// The metadata key of a column (an Arrow field) that marks it as one of its connector's metadata columns, in physical
/// schemas of sources and in the schemas of sinks. Its value is the connector's key (`"offset"`): see `MetadataSpec`.
pub const METADATA_COLUMN: &str = "thalweg.metadata";

/// What the paths begin with at which tables are asked for their newest rows.
pub const ASKED_BELOW: &str = "/tables/";

/// The connector of rows that are written in the script, as its option `VALUES_ROWS`. No table can name it.
pub const VALUES_CONNECTOR: &str = "values";

/// The option of sources that names a directory for records that cannot be read.
const DEAD_LETTER_PATH: &str = "dead-letter.path";

/// The rows of `VALUES_CONNECTOR`: an Arrow IPC stream of the source's physical schema, in hexadecimal.
pub const VALUES_ROWS: &str = "rows";

/// A table's connector in the graph: the options as written, checked against the specs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableConnector {
    /// The connector's name.
    pub name: String,
    /// The other options of the `WITH` clause, by key.
    pub options: BTreeMap<String, String>,
    /// The names of the secrets that the values of further options are, by the option's key: `'password' = secret('db')`.
    /// No key is in `options` too, but where a node has put the contents in place, in a copy that only the connector sees.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
}

impl TableConnector {
    /// The path at which a table takes POSTed records: below a node's HTTP address, without the slashes around it.
    /// `None`: the table takes none. `table` is the table's name.
    #[must_use]
    pub fn ingest_path(&self, table: &str) -> Option<String> {
        let Input::Posts { path } = self.source()?.input else { return None };
        let given = self.options.get(path).map(|path| path.trim_matches('/').to_owned());
        Some(given.unwrap_or_else(|| format!("ingest/{table}")))
    }

    /// The path at which a table's newest rows are asked for, below a node's HTTP address. It begins with a slash, which no path
    /// does at which records are taken. `None`: the table is not asked. `table` is the table's name.
    #[must_use]
    pub fn asked_path(&self, table: &str) -> Option<String> {
        self.is_queryable().then(|| format!("{ASKED_BELOW}{table}"))
    }

    /// Whether it keeps its newest rows in the job's state, for those who ask.
    #[must_use]
    pub fn is_queryable(&self) -> bool {
        self.sink().is_some_and(|sink| sink.output == Output::Queryable)
    }

    /// Whether the records that it is sent are kept in a log beside the job's checkpoints.
    #[must_use]
    pub fn keeps_posts(&self) -> bool {
        self.source().is_some_and(|source| matches!(source.input, Input::Posts { .. }))
    }

    /// The path of the files that it reads, if it reads files.
    #[must_use]
    pub fn read_path(&self) -> Option<&str> {
        match self.source()?.input {
            Input::Files { path } => self.option(path),
            Input::Generated | Input::StandardInput | Input::Posts { .. } | Input::Elsewhere | Input::Written => None,
        }
    }

    /// The directory of the files that it writes, if it writes files.
    #[must_use]
    pub fn written_path(&self) -> Option<&str> {
        match self.sink()?.output {
            Output::Files { path } => self.option(path),
            Output::StandardOutput | Output::Elsewhere | Output::Keyed | Output::Queryable | Output::Nowhere => None,
        }
    }

    /// What the names of the files that it writes end with, behind the last dot of their stem: `json`, or `json.gz`.
    #[must_use]
    pub fn written_extension(&self) -> String {
        let compressed = match self.option(filesystem::COMPRESSION) {
            Some("gzip") => ".gz",
            Some("zstd") => ".zst",
            Some("snappy") => ".snappy",
            Some(_) | None => "",
        };
        format!("{}{compressed}", self.option(FORMAT).unwrap_or_default())
    }

    /// How the directories are named that it writes, if not as Hive does.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub fn path_template(&self) -> Result<Option<PathTemplate>, TemplateError> {
        let Some(text) = self.option(filesystem::PATH_TEMPLATE) else { return Ok(None) };
        let wrong = |error| format!("option '{}' = '{text}': {error}", filesystem::PATH_TEMPLATE).into();
        PathTemplate::parse(text).map(Some).map_err(wrong)
    }

    /// How many levels of directories its files lie in, if it is partitioned by so many columns.
    #[must_use]
    pub fn partition_levels(&self, columns: usize) -> usize {
        self.path_template().ok().flatten().map_or(columns, |template| template.levels.len())
    }

    /// Whether the watermark says when its partitions are complete.
    #[must_use]
    pub fn completes_by_time(&self) -> bool {
        let by_time = self.option(filesystem::COMMIT_TRIGGER) == Some(filesystem::PARTITION_TIME);
        by_time && self.option(filesystem::COMMIT_POLICY).is_some()
    }

    /// Whether one subtask writes all rows of a partition.
    #[must_use]
    pub fn keeps_partitions_together(&self) -> bool {
        self.completes_by_time() || self.option(filesystem::SHUFFLE) == Some("true")
    }

    /// The directory of its records that cannot be read, if it sets them aside.
    #[must_use]
    pub fn dead_letter_path(&self) -> Option<&str> {
        self.option(DEAD_LETTER_PATH)
    }

    /// Whether its rows are written in the script.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.source().is_some_and(|source| source.input == Input::Written)
    }

    /// Whether its splits are found while the job runs, by an enumerator. If not, they are listed once, before the job
    /// begins.
    #[must_use]
    pub fn finds_splits(&self) -> bool {
        self.source().is_some_and(|source| source.splits.are_found(|key| self.option(key).is_some()))
    }

    /// The option by which its splits are found while the job runs; `None` if none decides that.
    #[must_use]
    pub fn finds_splits_by(&self) -> Option<&'static str> {
        self.source()?.splits.found_by(|key| self.option(key).is_some())
    }

    /// How to give an unbounded table of this connector an end; `None` if it has one.
    #[must_use]
    pub fn lacks_end(&self) -> Option<String> {
        self.source()?.ends.lacks(|key| self.option(key))
    }

    /// Which rule of its options keeps it from being read, in words for people.
    #[must_use]
    pub fn unfit_to_read(&self) -> Option<String> {
        self.source()?.rules.iter().find_map(|rule| rule.broken_by(self))
    }

    /// Which rule of its options keeps it from being written, in words for people.
    #[must_use]
    pub fn unfit_to_write(&self) -> Option<String> {
        self.sink()?.rules.iter().find_map(|rule| rule.broken_by(self))
    }

    /// What it can read; `None` if it cannot.
    #[must_use]
    pub fn source(&self) -> Option<&'static SourceSpec> {
        find(&self.name)?.source.as_ref()
    }

    /// The format of its records, of their values if they have keys; `None` if it has none.
    #[must_use]
    pub fn format(&self) -> Option<&'static FormatSpec> {
        self.value_format()
    }

    /// What a sink of this table guarantees; `None` if it cannot be written.
    #[must_use]
    pub fn delivery(&self) -> Option<Delivery> {
        match self.sink()?.delivery {
            Delivers::Always(delivery) => Some(delivery),
            Delivers::By(key) => self.option(key).and_then(Delivery::of_word),
        }
    }

    /// What it can write; `None` if it cannot.
    #[must_use]
    pub fn sink(&self) -> Option<&'static SinkSpec> {
        find(&self.name)?.sink.as_ref()
    }

    /// The value of an option, of the value's format too: as written, else the spec's default; `None` if there is neither.
    #[must_use]
    pub fn option(&self, key: &str) -> Option<&str> {
        if let Some(value) = self.options.get(key) {
            return Some(value);
        }
        let own = find(&self.name)?.options.iter().find(|spec| spec.key == key);
        own.map(|spec| spec.default).filter(|default| !default.is_empty()).or_else(|| self.value_option(key))
    }
}

/// One option of a connector or format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionSpec {
    /// The key. One that ends in `.*` covers every key with that prefix (`fields.*`).
    pub key: &'static str,
    /// The type of its value.
    pub kind: OptionType,
    /// The default as text; empty: none.
    pub default: &'static str,
    /// Whether the table must give it.
    pub required: bool,
    /// Whether its value can be `secret('name')`, that of a key with `.*` if the key is that of a secret (`takes_secret`). A value that stands in the script is not shown to people.
    pub secret: bool,
    /// Its description, one sentence.
    pub doc: &'static str,
}

/// A sink's guarantee: how often it writes a row, whatever fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Once: a failure discards what is not committed.
    ExactlyOnce,
    /// Once or, after a failure, again: written rows cannot be taken back.
    AtLeastOnce,
    /// After a failure again, or not at all.
    NoGuarantee,
}

impl Delivery {
    /// That of an option's word.
    fn of_word(word: &str) -> Option<Self> {
        match word {
            "exactly-once" => Some(Self::ExactlyOnce),
            "at-least-once" => Some(Self::AtLeastOnce),
            "none" => Some(Self::NoGuarantee),
            _ => None,
        }
    }
}

/// What decides on a sink's guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivers {
    /// It is always this one.
    Always(Delivery),
    /// This option, by the words `exactly-once`, `at-least-once` and `none`.
    By(&'static str),
}

/// What a connector can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceSpec {
    /// Where its records come from.
    pub input: Input,
    /// How its splits become known.
    pub splits: Splits,
    /// Whether its records come to an end.
    pub ends: Ends,
    /// What its options must be like beside each other.
    pub rules: &'static [Rule],
}

/// Where the records of a source come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// It makes them.
    Generated,
    /// They are in files.
    Files {
        /// The option that names their path.
        path: &'static str,
    },
    /// They are in the process's standard input.
    StandardInput,
    /// They are in another system.
    Elsewhere,
    /// They are POSTed to a node, and kept beside the job's checkpoints.
    Posts {
        /// The option that names the path below the node's address.
        path: &'static str,
    },
    /// They are in the script.
    Written,
}

/// How the splits of a source become known. It says nothing of their end: splits that are found may end, like files, or
/// never, like the partitions of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splits {
    /// They are listed once, before the job begins.
    Listed,
    /// An enumerator finds them while the job runs if this option is set. If not, they are listed once.
    FoundWith(&'static str),
    /// An enumerator finds them while the job runs. It may look only once.
    Found,
}

impl Splits {
    /// Whether an enumerator finds them. `is_set` says whether an option has a value.
    fn are_found(self, is_set: impl FnOnce(&str) -> bool) -> bool {
        match self {
            Self::Listed => false,
            Self::FoundWith(key) => is_set(key),
            Self::Found => true,
        }
    }

    /// The option without which no enumerator would find them; `None` if none decides that, or it is not set.
    fn found_by(self, is_set: impl FnOnce(&str) -> bool) -> Option<&'static str> {
        match self {
            Self::Listed | Self::Found => None,
            Self::FoundWith(key) => is_set(key).then_some(key),
        }
    }
}

/// When the records of a source come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// Always.
    Always,
    /// If this option is set.
    With(&'static str),
    /// Unless this option is set.
    Without(&'static str),
    /// Unless an option has a certain value.
    By {
        /// The option. It has a value always.
        option: &'static str,
        /// The value with which there is no end.
        never: &'static str,
        /// A value with which there is one.
        such_as: &'static str,
    },
    /// Never.
    Never,
}

impl Ends {
    /// How to give them an end; `None` if they have one. `value` is an option's value.
    fn lacks<'a>(self, value: impl FnOnce(&str) -> Option<&'a str>) -> Option<String> {
        match self {
            Self::Always => None,
            Self::With(key) => value(key).is_none().then(|| format!("give it '{key}'")),
            Self::Without(key) => value(key).map(|_| format!("leave its '{key}' out")),
            Self::By { option, never, such_as } => value(option)
                .is_none_or(|value| value == never)
                .then(|| format!("give it '{option}' = '{such_as}', for example")),
            Self::Never => Some("read a table of files, for example".to_owned()),
        }
    }
}

/// What a connector can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SinkSpec {
    /// How often a row is written.
    pub delivery: Delivers,
    /// Where to.
    pub output: Output,
    /// What its options must be like beside each other.
    pub rules: &'static [Rule],
}

/// Where the rows of a sink go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Into files, in directories by the values of columns where the table is `PARTITIONED BY` them.
    Files {
        /// The option that names their directory.
        path: &'static str,
    },
    /// To the process's standard output.
    StandardOutput,
    /// To another system.
    Elsewhere,
    /// To another system, where the columns that the table is `PARTITIONED BY` make a record's key.
    Keyed,
    /// Into the job's state: the newest row of each `PRIMARY KEY`, which nodes answer over HTTP.
    Queryable,
    /// Nowhere.
    Nowhere,
}

/// A connector: what it can do and its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectorSpec {
    /// Its name in `'connector' = …`.
    pub name: &'static str,
    /// What it reads; `None`: tables cannot be read.
    pub source: Option<SourceSpec>,
    /// What it writes; `None`: tables cannot be written.
    pub sink: Option<SinkSpec>,
    /// The formats that it takes; empty: it has no `'format'` option.
    pub formats: &'static [&'static str],
    /// Whether its records have keys beside values, each with a format of its own.
    pub keys: bool,
    /// What it knows of a record beside the record, which a table can declare as columns.
    pub metadata: &'static [MetadataSpec],
    /// Its options.
    pub options: &'static [OptionSpec],
    /// The columns it fixes, in DDL text (`"id BIGINT, name STRING"`); empty: the table declares them.
    pub fixed_columns: &'static str,
    /// Its description, one sentence.
    pub doc: &'static str,
}

/// Something that a connector knows of a record beside the record: `offset BIGINT METADATA`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataSpec {
    /// Its key in `METADATA FROM 'key'`, and the name of a column without `FROM`.
    pub key: &'static str,
    /// The type of its column, in DDL text (`"BIGINT NOT NULL"`).
    pub data_type: &'static str,
    /// Whether a source reads it.
    pub read: bool,
    /// Whether a sink writes it. One that it does not write is declared `VIRTUAL` in a table that is written.
    pub written: bool,
    /// Its description, one sentence.
    pub doc: &'static str,
}

/// How the records of a format tell which value belongs to which column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fields {
    /// Each value has its column's name.
    Named,
    /// By their order, unless a file names its columns. A reader needs `TABLE_COLUMNS`.
    Ordered,
    /// The whole record is the value of the only column.
    Only,
}

/// A format and its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatSpec {
    /// Its name in `'format' = …`.
    pub name: &'static str,
    /// How its records tell which value is whose.
    pub fields: Fields,
    /// Whether files can have it.
    pub files: bool,
    /// Whether single messages can have it.
    pub messages: bool,
    /// Its options, prefixed with the format's name (`csv.field-delimiter`).
    pub options: &'static [OptionSpec],
    /// Its description, one sentence.
    pub doc: &'static str,
}

/// The connector of this name, of those too that no table can name.
#[must_use]
pub fn find(name: &str) -> Option<&'static ConnectorSpec> {
    CONNECTORS.iter().chain(UNNAMED).find(|spec| spec.name == name)
}

/// The format of this name.
#[must_use]
pub fn find_format(name: &str) -> Option<&'static FormatSpec> {
    FORMATS.iter().find(|spec| spec.name == name)
}

#[cfg(test)]
mod tests;
