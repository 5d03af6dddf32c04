//! Checks which columns of a table are in the keys of its records.

use sqlparser::tokenizer::Location;
use thalweg_types::connector::{
    EXCEPT_KEY, FORMAT, Fields, KEY_FIELDS, KEY_FIELDS_PREFIX, KEY_FORMAT, TableConnector, VALUE_FIELDS_INCLUDE,
    VALUE_FORMAT,
};

use super::written::Written;
use crate::{
    catalog::Column,
    errors::{Result, SqlError},
};

/// Refuses options of keys that do not fit each other or the columns.
pub(super) fn check(options: &[Written], columns: &[Column]) -> Result<()> {
    let given = |key: &str| options.iter().find(|option| option.key == key);
    let prefix = given(KEY_FIELDS_PREFIX);
    let fields = match (given(KEY_FORMAT), given(KEY_FIELDS)) {
        (None, None) => {
            let excepts = given(VALUE_FIELDS_INCLUDE).filter(|include| include.value == EXCEPT_KEY);
            return needs_format(prefix.or(excepts));
        }
        (None, fields) => return needs_format(fields),
        (Some(format), None) => {
            let message = format!("option '{KEY_FORMAT}' needs '{KEY_FIELDS}', the columns that are in the key");
            return Err(SqlError::at(format.key_at, message));
        }
        (Some(_), Some(fields)) => fields,
    };
    if let Some(prefix) = prefix
        && given(VALUE_FIELDS_INCLUDE).is_none_or(|include| include.value != EXCEPT_KEY)
    {
        let message = format!("option '{KEY_FIELDS_PREFIX}' needs '{VALUE_FIELDS_INCLUDE}' = '{EXCEPT_KEY}'");
        return Err(SqlError::at(prefix.key_at, message)
            .with_hint("otherwise the columns of the key would be in the value too, by their names with the prefix"));
    }
    let prefix = prefix.map_or("", |prefix| &prefix.value);
    let mut names: Vec<&str> = Vec::new();
    for name in fields.value.split(';').map(str::trim) {
        check_field(name, prefix, columns, fields.value_at)?;
        if names.contains(&name) {
            return Err(refused(fields.value_at, &format!("column '{name}' is named twice")));
        }
        names.push(name);
    }
    Ok(())
}

/// Refuses several columns, or none, in a key or value that is one column's value.
pub(super) fn check_only(options: &[Written], connector: &TableConnector, columns: &[Column]) -> Result<()> {
    let is_plain = |column: &&Column| column.is_physical() && column.metadata.is_none();
    let in_key = connector.key_fields();
    let is_in_value = |name: &str| connector.is_key_in_value() || !in_key.contains(&name);
    let in_value = columns.iter().filter(is_plain).filter(|column| is_in_value(column.field.name())).count();
    let parts = [
        (connector.key_format(), in_key.len(), &[KEY_FORMAT][..], "key"),
        (connector.value_format(), in_value, &[FORMAT, VALUE_FORMAT][..], "value"),
    ];
    for (format, count, keys, part) in parts {
        let Some(format) = format.filter(|format| format.fields == Fields::Only && count != 1) else { continue };
        let Some(given) = options.iter().find(|option| keys.contains(&option.key.as_str())) else { continue };
        let message = format!("format '{}' is of one column, and the {part} has {count}", format.name);
        return Err(SqlError::at(given.value_at, message).with_hint(format.doc));
    }
    Ok(())
}

fn needs_format(option: Option<&Written>) -> Result<()> {
    match option {
        Some(option) => Err(SqlError::at(option.key_at, format!("option '{}' needs '{KEY_FORMAT}'", option.key))),
        None => Ok(()),
    }
}

fn check_field(name: &str, prefix: &str, columns: &[Column], at: Location) -> Result<()> {
    if name.is_empty() {
        return Err(refused(at, "a name is empty").with_hint("names of columns, with ; between them"));
    }
    let is_plain = |column: &&Column| column.is_physical() && column.metadata.is_none();
    let plain = || columns.iter().filter(is_plain).map(|column| column.field.name().as_str());
    match columns.iter().find(|column| column.field.name() == name) {
        None => Err(refused(at, &format!("there is no column '{name}'")).with_suggestion(name, plain())),
        Some(column) if column.metadata.is_some() => {
            Err(refused(at, &format!("'{name}' is a METADATA column, which no key holds")))
        }
        Some(column) if !column.is_physical() => {
            Err(refused(at, &format!("'{name}' is a computed column, which no key holds")))
        }
        Some(_) => match name.strip_prefix(prefix) {
            None => {
                let message = format!("column '{name}' does not begin with '{prefix}', the '{KEY_FIELDS_PREFIX}'");
                Err(refused(at, &message))
            }
            Some("") => Err(refused(at, &format!("column '{name}' has no name but the '{KEY_FIELDS_PREFIX}'"))),
            Some(_) => Ok(()),
        },
    }
}

fn refused(at: Location, reason: &str) -> SqlError {
    SqlError::at(at, format!("option '{KEY_FIELDS}': {reason}"))
}
