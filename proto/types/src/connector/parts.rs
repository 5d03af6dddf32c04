//! Records with a key beside the value, each with a format of its own: the options of such tables, and which columns stand
//! where.
//!
//! | option | default | |
//! |---|---|---|
//! | `format` or `value.format` | needed | the format of values |
//! | `key.format` | none: keys are neither read nor written | the format of keys |
//! | `key.fields` | needed with `key.format` | the columns of the key, separated by `;` |
//! | `key.fields-prefix` | none | what the names of these columns begin with, and the key's own names do not |
//! | `value.fields-include` | `ALL` | whether they are in the value too: `ALL`, `EXCEPT_KEY` |
//!
//! Options of the value's format stand as `json.x` or `value.json.x`, those of the key's as `key.json.x`.

use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};

use super::{
    ConnectorSpec, Fields, FormatSpec, METADATA_COLUMN, MetadataSpec, OptionSpec, OptionType, TABLE_COLUMNS,
    TableConnector, find, find_format, option::option,
};

/// What options of the key's format begin with.
pub const KEY_PREFIX: &str = "key.";
/// What options of the value's format may begin with.
pub const VALUE_PREFIX: &str = "value.";

/// The format of values, where there are no keys.
pub const FORMAT: &str = "format";
/// The format of values, by its other name.
pub const VALUE_FORMAT: &str = "value.format";
/// The format of keys.
pub const KEY_FORMAT: &str = "key.format";
/// The columns of keys.
pub const KEY_FIELDS: &str = "key.fields";
/// What the names of the columns of keys begin with.
pub const KEY_FIELDS_PREFIX: &str = "key.fields-prefix";
/// Whether the columns of keys are in the value too.
pub const VALUE_FIELDS_INCLUDE: &str = "value.fields-include";
/// The value of `VALUE_FIELDS_INCLUDE` if they are not.
pub const EXCEPT_KEY: &str = "EXCEPT_KEY";

/// The options of each connector that has keys (`ConnectorSpec::keys`), beside `format` and its own.
pub const KEYED_OPTIONS: &[OptionSpec] = &[
    option(VALUE_FORMAT, OptionType::Text, "", "The format of values: another name of 'format'."),
    option(KEY_FORMAT, OptionType::Text, "", "The format of keys. Without it, keys are neither read nor written."),
    option(
        KEY_FIELDS,
        OptionType::Text,
        "",
        "The columns that are in the key, in the key's order, separated by ';'. Needed with key.format.",
    ),
    option(
        KEY_FIELDS_PREFIX,
        OptionType::Text,
        "",
        "What the names of all columns of the key begin with, and the names in the key itself do not, lest they are those of other columns. Needs 'value.fields-include' = 'EXCEPT_KEY'.",
    ),
    option(
        VALUE_FIELDS_INCLUDE,
        OptionType::OneOf(&["ALL", EXCEPT_KEY]),
        "ALL",
        "Whether the columns of the key are in the value too. If they are in both, the value's are read.",
    ),
];

/// Where the columns of a table stand in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Those of the key; none if the table has no `key.format`.
    pub key: PartColumns,
    /// Those of the value.
    pub value: PartColumns,
    /// Those of the connector's metadata: index in the schema, and what it is.
    pub metadata: Vec<(usize, &'static MetadataSpec)>,
}

/// The columns of a key or value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartColumns {
    /// Their indexes in the whole schema. A column can be in key and value.
    pub indexes: Vec<usize>,
    /// These columns, in the same order, by their names in this part. `TABLE_COLUMNS` is as for a table of this part alone.
    pub schema: SchemaRef,
}

impl ConnectorSpec {
    /// The spec of an option, of the connector's own and those of the formats that it takes.
    #[must_use]
    pub fn option(&self, key: &str) -> Option<&'static OptionSpec> {
        let own = self.options.iter().chain(if self.keys { KEYED_OPTIONS } else { &[][..] });
        if let Some(own) = own.into_iter().find(|spec| spec.covers(key)) {
            return own.of(key);
        }
        let key = if self.keys {
            key.strip_prefix(KEY_PREFIX).or(key.strip_prefix(VALUE_PREFIX)).unwrap_or(key)
        } else {
            key
        };
        let formats = self.formats.iter().filter_map(|name| find_format(name));
        formats.flat_map(|format| format.options).find(|spec| spec.covers(key))
    }

    /// Why a key cannot be set that some people try nonetheless.
    #[must_use]
    pub fn refuses_key(&self, key: &str) -> Option<&'static str> {
        self.options.iter().find(|spec| spec.covers(key))?.refuses_key(key)
    }
}

impl TableConnector {
    /// The format of keys; `None` if they are neither read nor written.
    #[must_use]
    pub fn key_format(&self) -> Option<&'static FormatSpec> {
        find_format(self.options.get(KEY_FORMAT)?)
    }

    /// The format of values; `None` if the connector has no formats.
    #[must_use]
    pub fn value_format(&self) -> Option<&'static FormatSpec> {
        find_format(self.options.get(FORMAT).or_else(|| self.options.get(VALUE_FORMAT))?)
    }

    /// The names of the columns that are in the key, in the key's order.
    #[must_use]
    pub fn key_fields(&self) -> Vec<&str> {
        let fields = self.options.get(KEY_FIELDS).map_or("", String::as_str);
        fields.split(';').map(str::trim).filter(|name| !name.is_empty()).collect()
    }

    /// What the names of the key's columns begin with, and the names in the key do not.
    #[must_use]
    pub fn key_fields_prefix(&self) -> &str {
        self.options.get(KEY_FIELDS_PREFIX).map_or("", String::as_str)
    }

    /// Whether the columns of the key are in the value too.
    #[must_use]
    pub fn is_key_in_value(&self) -> bool {
        self.options.get(VALUE_FIELDS_INCLUDE).is_none_or(|include| include != EXCEPT_KEY)
    }

    /// An option of the key's format, `json.x` for example: as written, else the default.
    #[must_use]
    pub fn key_option(&self, key: &str) -> Option<&str> {
        let given = self.options.get(&format!("{KEY_PREFIX}{key}")).map(String::as_str);
        given.or_else(|| default_of(self.key_format()?, key))
    }

    /// An option of the value's format, `json.x` for example: as written, else the default.
    #[must_use]
    pub fn value_option(&self, key: &str) -> Option<&str> {
        let given = self.options.get(key).or_else(|| self.options.get(&format!("{VALUE_PREFIX}{key}")));
        given.map(String::as_str).or_else(|| default_of(self.value_format()?, key))
    }

    /// Where columns of the table stand in a record. `schema`: physical columns of a source, or those of a sink.
    #[must_use]
    pub fn parts(&self, schema: &Schema) -> Parts {
        let spec = find(&self.name);
        let metadata_of = |field: &Field| {
            let key = field.metadata().get(METADATA_COLUMN)?;
            spec?.metadata.iter().find(|known| known.key == key)
        };
        let fields = || schema.fields().iter().enumerate();
        let is_plain = |field: &Field| !field.metadata().contains_key(METADATA_COLUMN);
        let key_fields = if self.key_format().is_some() { self.key_fields() } else { Vec::new() };
        let is_in_value = |name: &str| self.is_key_in_value() || !key_fields.contains(&name);
        let place = |name: &&str| fields().find(|(_, field)| field.name() == name && is_plain(field));
        let key = key_fields.iter().filter_map(place).map(|(index, _)| index).collect();
        let value = fields().filter(|(_, field)| is_plain(field) && is_in_value(field.name()));
        let value = value.map(|(index, _)| index).collect();
        let all_of_value: Option<Vec<String>> =
            table_columns(schema).map(|names| names.into_iter().filter(|name| is_in_value(name)).collect());
        let all_of_key = key_fields.iter().map(|name| self.name_in_key(name).to_owned()).collect();
        Parts {
            key: part(schema, key, |name| self.name_in_key(name), ordered(self.key_format(), Some(all_of_key))),
            value: part(schema, value, |name| name, ordered(self.value_format(), all_of_value)),
            metadata: fields().filter_map(|(index, field)| Some((index, metadata_of(field)?))).collect(),
        }
    }

    fn name_in_key<'a>(&self, column: &'a str) -> &'a str {
        column.strip_prefix(self.key_fields_prefix()).unwrap_or(column)
    }
}

fn default_of(format: &'static FormatSpec, key: &str) -> Option<&'static str> {
    let spec = format.options.iter().find(|spec| spec.covers(key))?;
    Some(spec.default).filter(|default| !default.is_empty())
}

/// The names of all columns, if records of this format need them.
fn ordered(format: Option<&FormatSpec>, names: Option<Vec<String>>) -> Option<Vec<String>> {
    match format?.fields {
        Fields::Ordered | Fields::Only => names,
        Fields::Named => None,
    }
}

fn part<'a>(
    schema: &'a Schema,
    indexes: Vec<usize>,
    name: impl Fn(&'a str) -> &'a str,
    table_columns: Option<Vec<String>>,
) -> PartColumns {
    let fields = indexes.iter().map(|index| {
        let field = schema.field(*index);
        field.clone().with_name(name(field.name()))
    });
    let names = table_columns.map(|names| (TABLE_COLUMNS.to_owned(), serde_json::json!(names).to_string()));
    let schema = Schema::new_with_metadata(fields.collect::<Vec<Field>>(), names.into_iter().collect());
    PartColumns { schema: Arc::new(schema), indexes }
}

/// The names of all columns of a source's table; `None` if they are those of the schema.
fn table_columns(schema: &Schema) -> Option<Vec<String>> {
    serde_json::from_str(schema.metadata().get(TABLE_COLUMNS)?).ok()
}

#[cfg(test)]
mod tests;
