//! The definition that columns give.

use std::{collections::BTreeSet, fmt::Write as _};

use arrow::datatypes::{DataType, Field, Fields};

use super::resolve::TIMESTAMP;
use crate::typed::{ITEMS, below, is_text, key_and_value, of_column};

/// The text of the definition that columns give: a message whose fields have the columns' names, numbered from 1. Nullable ones
/// are `optional`. What Protobuf has no type for is text. The error names a column for which there is no field.
pub(crate) fn derive(columns: &Fields) -> Result<String, String> {
    let body = message(columns, 1).map_err(|reason| of_column(&reason))?;
    let import = if body.contains(TIMESTAMP) { "import \"google/protobuf/timestamp.proto\";\n" } else { "" };
    Ok(format!("syntax = \"proto3\";\npackage thalweg;\n{import}message Row {{\n{body}}}\n"))
}

/// The fields of a message, and the messages of its fields.
fn message(columns: &Fields, depth: usize) -> Result<String, String> {
    let indent = "  ".repeat(depth);
    let mut names: BTreeSet<String> = columns.iter().map(|column| column.name().clone()).collect();
    let mut text = String::new();
    for (number, column) in (1..).zip(columns) {
        let name = column.name();
        if !is_name(name) {
            let reason = "names in Protobuf have letters, digits and _ alone; rename it, or give it a definition";
            return Err(below(name, reason));
        }
        // Fields and messages share their names.
        let mut own = format!("Row{number}");
        while !names.insert(own.clone()) {
            own.push('_');
        }
        let (of_type, nested) = field(column, &own).map_err(|reason| below(name, &reason))?;
        if let Some(nested) = nested {
            let body = message(nested, depth + 1).map_err(|reason| below(name, &reason))?;
            write!(text, "{indent}message {own} {{\n{body}{indent}}}\n").map_err(|error| error.to_string())?;
        }
        writeln!(text, "{indent}{of_type} {name} = {number};").map_err(|error| error.to_string())?;
    }
    Ok(text)
}

/// The type of a column, where `own` is the name for a message of its own; and the fields of that message, if it has one.
fn field<'a>(column: &'a Field, own: &str) -> Result<(String, Option<&'a Fields>), String> {
    match column.data_type() {
        DataType::List(item) => {
            let (of_type, nested) = single(item.data_type(), own).map_err(|reason| below(ITEMS, &reason))?;
            Ok((format!("repeated {of_type}"), nested))
        }
        DataType::Map(entries, _) => {
            let (key, value) = key_and_value(entries).ok_or("a map's entries must have a key and a value")?;
            let key = match key.data_type() {
                key if is_text(key) => "string",
                DataType::Boolean => "bool",
                DataType::Int8 | DataType::Int16 | DataType::Int32 => "int32",
                DataType::Int64 => "int64",
                _ => return Err("a map's keys must be STRING, an integer or BOOLEAN".to_owned()),
            };
            let (of_type, nested) = single(value.data_type(), own).map_err(|reason| below(ITEMS, &reason))?;
            Ok((format!("map<{key}, {of_type}>"), nested))
        }
        DataType::Struct(_) => single(column.data_type(), own),
        plain => {
            let (of_type, nested) = single(plain, own)?;
            let optional = if column.is_nullable() && of_type != TIMESTAMP { "optional " } else { "" };
            Ok((format!("{optional}{of_type}"), nested))
        }
    }
}

fn single<'a>(data_type: &'a DataType, own: &str) -> Result<(String, Option<&'a Fields>), String> {
    use DataType as D;
    let name = match data_type {
        D::Boolean => "bool",
        D::Int8 | D::Int16 | D::Int32 => "int32",
        D::Int64 => "int64",
        D::Float32 => "float",
        D::Float64 => "double",
        D::Utf8View | D::Utf8 | D::LargeUtf8 | D::Decimal128(..) | D::Date32 | D::Time64(_) => "string",
        D::Binary | D::BinaryView | D::LargeBinary => "bytes",
        D::Timestamp(..) => TIMESTAMP,
        D::Struct(fields) => return Ok((own.to_owned(), Some(fields))),
        D::List(_) | D::Map(..) => return Err("ARRAYs and MAPs within one another have no type in Protobuf".to_owned()),
        other => return Err(format!("type {other} has none in Protobuf")),
    };
    Ok((name.to_owned(), None))
}

fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_part) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}
