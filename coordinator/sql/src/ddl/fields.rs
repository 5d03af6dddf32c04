//! Checks options of single columns, `fields.COLUMN.OPTION`: the column (or the field of a ROW) must exist, and its
//! type must have the option.

use arrow::datatypes::{DataType, Field};

use thalweg_functions::names::sql_type;

use super::written::Written;
use crate::{
    catalog::Column,
    errors::{Result, SqlError},
};

/// Refuses options for columns that do not exist, and options that the column's type does not have.
pub(super) fn check(options: &[Written], columns: &[Column]) -> Result<()> {
    let physical = columns.iter().filter(|column| column.is_physical());
    let fields: Vec<&Field> = physical.map(|column| &column.field).collect();
    for option in options {
        if let Some(rest) = option.key.strip_prefix("fields.") {
            check_path(option, rest, &fields, "column")?;
        }
    }
    Ok(())
}

fn check_path(option: &Written, rest: &str, fields: &[&Field], what: &str) -> Result<()> {
    let below = fields.iter().find_map(|field| {
        let rest = rest.strip_prefix(field.name().as_str())?.strip_prefix('.')?;
        Some((field, rest))
    });
    let refused = |reason: String| SqlError::at(option.key_at, format!("option '{}': {reason}", option.key));
    let Some((field, rest)) = below else {
        let name = rest.split_once('.').map_or(rest, |(name, _)| name);
        let reason = if fields.iter().any(|field| field.name() == name) {
            format!("it names {what} '{name}', and nothing of it")
        } else {
            format!("there is no {what} '{name}'")
        };
        return Err(refused(reason).with_suggestion(name, fields.iter().map(|field| field.name().as_str())));
    };
    let known = options_of(field.data_type());
    if known.contains(&rest) {
        return Ok(());
    }
    if let DataType::Struct(children) = field.data_type()
        && rest.contains('.')
    {
        let children: Vec<&Field> = children.iter().map(AsRef::as_ref).collect();
        return check_path(option, rest, &children, &format!("field of '{}' named", field.name()));
    }
    let reason = format!("what there is of {} is {}", sql_type(field.data_type()), known.join(", "));
    Err(refused(reason).with_suggestion(rest, known.iter().copied()))
}

fn options_of(data_type: &DataType) -> &'static [&'static str] {
    match data_type {
        DataType::Struct(_) => &["null-rate"],
        DataType::Utf8View => &["kind", "length", "start", "end", "null-rate"],
        DataType::Timestamp(_, _) | DataType::Date32 => &["kind", "start", "step", "max-past", "null-rate"],
        DataType::Float32 | DataType::Float64 | DataType::Decimal128(_, _) => &["kind", "min", "max", "null-rate"],
        integer if integer.is_integer() => &["kind", "min", "max", "start", "end", "null-rate"],
        _ => &["kind", "null-rate"],
    }
}
