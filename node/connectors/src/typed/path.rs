//! Where in a table a schema does not fit: reasons that begin with the path of a column, as `column bid.price[]: ..`.

use arrow::datatypes::{DataType, Field};

/// The name of an ARRAY's items and a MAP's values in paths.
pub(crate) const ITEMS: &str = "[]";

/// A reason with the name of the field that it is about before it; within that field it may have a path already.
pub(crate) fn below(name: &str, reason: &str) -> String {
    let separator = if reason.starts_with(['.', '[', ':']) { "" } else { ": " };
    let dot = if name == ITEMS { "" } else { "." };
    format!("{dot}{name}{separator}{reason}")
}

/// A reason whose path is whole.
pub(crate) fn of_column(reason: &str) -> String {
    format!("column {}", reason.trim_start_matches('.'))
}

/// The fields of a map's entries.
pub(crate) fn key_and_value(entries: &Field) -> Option<(&Field, &Field)> {
    let DataType::Struct(fields) = entries.data_type() else { return None };
    match fields.as_ref() {
        [key, value] => Some((key, value)),
        _ => None,
    }
}
