//! Connectors as data: names, capabilities and options, so that planning can check a table's `WITH` clause without I/O.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod catalog;

pub use catalog::{CONNECTORS, FORMATS, INGEST_CONNECTOR};

/// The metadata key of a source's physical schema that holds the names of all columns that the table declares, in
/// order, as a JSON array of strings. Readers of formats without names (CSV without a header) need the columns'
/// positions. Without this key the physical schema has all columns of the table.
pub const TABLE_COLUMNS: &str = "thalweg.table-columns";

/// The connector of rows that are written in the script, as its option `VALUES_ROWS`. No table can name it.
pub const VALUES_CONNECTOR: &str = "values";

/// The rows of `VALUES_CONNECTOR`: an Arrow IPC stream of the source's physical schema, in hexadecimal.
pub const VALUES_ROWS: &str = "rows";

/// A table's connector in the graph: the options as written, checked against the specs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableConnector {
    /// The connector's name.
    pub name: String,
    /// The other options of the `WITH` clause, by key.
    pub options: BTreeMap<String, String>,
}

impl TableConnector {
    /// The path at which a table takes POSTed records: below a node's HTTP address, without the slashes around it.
    /// `None`: the table takes none. `table` is the table's name.
    #[must_use]
    pub fn ingest_path(&self, table: &str) -> Option<String> {
        let given = self.options.get("path").map(|path| path.trim_matches('/').to_owned());
        (self.name == INGEST_CONNECTOR).then(|| given.unwrap_or_else(|| format!("ingest/{table}")))
    }

    /// How to give an unbounded table of this connector an end; `None` if it has one.
    #[must_use]
    pub fn lacks_end(&self) -> Option<&'static str> {
        let lacking = |key: &'static str| self.option(key).is_none().then_some(key);
        match self.name.as_str() {
            "nexmark" => lacking("events.num").map(|_| "give it 'events.num'"),
            "datagen" => lacking("number-of-rows").map(|_| "give it 'number-of-rows'"),
            "filesystem" => self.option("source.monitor-interval").map(|_| "leave its 'source.monitor-interval' out"),
            "stdin" | VALUES_CONNECTOR => None,
            _ => Some("read a table of files, for example"),
        }
    }

    /// The value of an option: as written, else the spec's default; `None` if there is neither.
    #[must_use]
    pub fn option(&self, key: &str) -> Option<&str> {
        if let Some(value) = self.options.get(key) {
            return Some(value);
        }
        let connector = find(&self.name)?;
        let format = self.options.get("format").and_then(|name| find_format(name));
        let specs = connector.options.iter().chain(format.into_iter().flat_map(|format| format.options));
        specs.into_iter().find(|spec| spec.key == key).map(|spec| spec.default).filter(|default| !default.is_empty())
    }
}

/// The type of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionType {
    /// Any text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number from 0.
    Integer,
    /// A number.
    Number,
    /// A duration such as `10 s`.
    Duration,
    /// A size such as `64 MiB`.
    Bytes,
    /// One of these words.
    OneOf(&'static [&'static str]),
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
}

/// A connector: what it can do and its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectorSpec {
    /// Its name in `'connector' = …`.
    pub name: &'static str,
    /// Whether tables can be read.
    pub source: bool,
    /// The guarantee of its sink; `None`: tables cannot be written.
    pub sink: Option<Delivery>,
    /// The formats that it takes; empty: it has no `'format'` option.
    pub formats: &'static [&'static str],
    /// Its options.
    pub options: &'static [OptionSpec],
    /// The columns it fixes, in DDL text (`"id BIGINT, name STRING"`); empty: the table declares them.
    pub fixed_columns: &'static str,
    /// Its description, one sentence.
    pub doc: &'static str,
}

/// A format and its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatSpec {
    /// Its name in `'format' = …`.
    pub name: &'static str,
    /// Its options, prefixed with the format's name (`csv.field-delimiter`).
    pub options: &'static [OptionSpec],
    /// Its description, one sentence.
    pub doc: &'static str,
}

/// The connector of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static ConnectorSpec> {
    CONNECTORS.iter().find(|spec| spec.name == name)
}

/// The format of this name.
#[must_use]
pub fn find_format(name: &str) -> Option<&'static FormatSpec> {
    FORMATS.iter().find(|spec| spec.name == name)
}

impl OptionSpec {
    /// Whether this spec covers a key.
    #[must_use]
    pub fn covers(&self, key: &str) -> bool {
        match self.key.strip_suffix('*') {
            Some(prefix) => key.starts_with(prefix) && key.len() > prefix.len(),
            None => self.key == key,
        }
    }

    /// Why a value is refused; `None` if it fits.
    #[must_use]
    pub fn refuses(&self, value: &str) -> Option<String> {
        use crate::settings::{parse_bytes, parse_duration};
        let fits = match self.kind {
            OptionType::Text => true,
            OptionType::Boolean => matches!(value, "true" | "false"),
            OptionType::Integer => value.parse::<u64>().is_ok(),
            OptionType::Number => value.parse::<f64>().is_ok_and(f64::is_finite),
            OptionType::Duration => parse_duration(value).is_some(),
            OptionType::Bytes => parse_bytes(value).is_some(),
            OptionType::OneOf(words) => words.contains(&value),
        };
        if fits {
            return None;
        }
        Some(match self.kind {
            OptionType::Text => unreachable!("any text fits"),
            OptionType::Boolean => "expected true or false".to_owned(),
            OptionType::Integer => "expected a whole number from 0".to_owned(),
            OptionType::Number => "expected a number".to_owned(),
            OptionType::Duration => "expected a duration such as '10 s'".to_owned(),
            OptionType::Bytes => "expected a size such as '64 MiB'".to_owned(),
            OptionType::OneOf(words) => format!("expected one of {}", words.join(", ")),
        })
    }
}

#[cfg(test)]
mod tests;
