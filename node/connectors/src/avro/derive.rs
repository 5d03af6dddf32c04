//! The schema that columns give.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use serde_json::{Value, json};

use super::resolve::map_value;
use crate::typed::{ITEMS, below, of_column};

/// The name of the record; those within it have their path behind it.
const RECORD: &str = "row";
const NAMESPACE: &str = "thalweg";

/// The text of the schema that columns give: a record whose fields have the columns' names. Nullable ones are unions with null,
/// which is their default. The error names a column for which there is no field.
pub(crate) fn derive(columns: &Fields) -> Result<String, String> {
    let mut names = Names(BTreeSet::new());
    let mut record = names.record(columns, RECORD).map_err(|reason| of_column(&reason))?;
    if let Value::Object(record) = &mut record {
        record.insert("namespace".to_owned(), json!(NAMESPACE));
    }
    Ok(record.to_string())
}

/// The names of records so far.
struct Names(BTreeSet<String>);

impl Names {
    fn record(&mut self, columns: &Fields, path: &str) -> Result<Value, String> {
        let mut name = path.to_owned();
        while !self.0.insert(name.clone()) {
            name.push('_');
        }
        let fields = columns.iter().map(|column| {
            let path = format!("{path}_{}", column.name());
            if !is_name(column.name()) {
                let reason = "names in Avro have letters, digits and _ alone; rename it, or give it a schema";
                return Err(below(column.name(), reason));
            }
            let of_type = self.field(column, &path).map_err(|reason| below(column.name(), &reason))?;
            Ok(match column.is_nullable() {
                true => json!({ "name": column.name(), "type": of_type, "default": null }),
                false => json!({ "name": column.name(), "type": of_type }),
            })
        });
        let fields = fields.collect::<Result<Vec<_>, String>>()?;
        Ok(json!({ "type": "record", "name": name, "fields": fields }))
    }

    /// The type of a column, with null if it is nullable.
    fn field(&mut self, column: &Field, path: &str) -> Result<Value, String> {
        let of_type = self.of_type(column.data_type(), path)?;
        let is_null = matches!(column.data_type(), DataType::Null);
        Ok(if column.is_nullable() && !is_null { json!(["null", of_type]) } else { of_type })
    }

    fn of_type(&mut self, data_type: &DataType, path: &str) -> Result<Value, String> {
        use DataType as D;
        let logical = |wire: &str, logical: &str| json!({ "type": wire, "logicalType": logical });
        Ok(match data_type {
            D::Null => json!("null"),
            D::Boolean => json!("boolean"),
            D::Int8 | D::Int16 | D::Int32 => json!("int"),
            D::Int64 => json!("long"),
            D::Float32 => json!("float"),
            D::Float64 => json!("double"),
            D::Utf8View | D::Utf8 | D::LargeUtf8 => json!("string"),
            D::Binary | D::BinaryView | D::LargeBinary => json!("bytes"),
            D::Decimal128(precision, scale) => {
                json!({ "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale })
            }
            D::Date32 => logical("int", "date"),
            D::Time32(_) | D::Time64(_) => logical("long", "time-micros"),
            D::Timestamp(unit, zone) => {
                let local = if zone.is_some() { "" } else { "local-" };
                let unit = match unit {
                    TimeUnit::Second | TimeUnit::Millisecond => "millis",
                    TimeUnit::Microsecond => "micros",
                    TimeUnit::Nanosecond => "nanos",
                };
                logical("long", &format!("{local}timestamp-{unit}"))
            }
            D::Struct(fields) => self.record(fields, path)?,
            D::List(item) => {
                let items = self.field(item, path).map_err(|reason| below(ITEMS, &reason))?;
                json!({ "type": "array", "items": items })
            }
            D::Map(entries, _) => {
                let value = map_value(entries).ok_or("a map's keys must be STRING")?;
                let values = self.field(value, path).map_err(|reason| below(ITEMS, &reason))?;
                json!({ "type": "map", "values": values })
            }
            other => return Err(format!("type {other} has none in Avro")),
        })
    }
}

fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_part) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}
