//! Names of types in SQL.

use arrow::datatypes::{DataType, TimeUnit};

/// The type as SQL declares it.
#[must_use]
pub fn sql_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "STRING".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTES".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Time64(_) | DataType::Time32(_) => "TIME".to_owned(),
        DataType::Timestamp(unit, zone) => {
            let name = if zone.is_some() { "TIMESTAMP_LTZ" } else { "TIMESTAMP" };
            let precision = match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 3,
                TimeUnit::Microsecond => 6,
                TimeUnit::Nanosecond => 9,
            };
            format!("{name}({precision})")
        }
        DataType::Struct(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|field| format!("{} {}", field.name(), sql_type(field.data_type()))).collect();
            format!("ROW<{}>", fields.join(", "))
        }
        DataType::List(element) | DataType::LargeList(element) => format!("ARRAY<{}>", sql_type(element.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                format!("MAP<{}, {}>", sql_type(pair[0].data_type()), sql_type(pair[1].data_type()))
            }
            other => format!("MAP<{other}>"),
        },
        other => other.to_string().to_uppercase(),
    }
}
