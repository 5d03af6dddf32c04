//! The text of a column's type: by what its values are, whatever the arrays that hold them.
//!
//! It is hashed into identities and written into manifests, so the text of a type never changes. All encodings of text
//! have one (`text`), so have those of binary values and of lists; a dictionary has its values' text.

use std::fmt::Write as _;

use arrow_schema::{DataType, Field, Fields, IntervalUnit, TimeUnit};

/// The text of a type.
#[must_use]
pub fn type_text(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "null".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "int8".to_owned(),
        DataType::Int16 => "int16".to_owned(),
        DataType::Int32 => "int32".to_owned(),
        DataType::Int64 => "int64".to_owned(),
        DataType::UInt8 => "uint8".to_owned(),
        DataType::UInt16 => "uint16".to_owned(),
        DataType::UInt32 => "uint32".to_owned(),
        DataType::UInt64 => "uint64".to_owned(),
        DataType::Float16 => "float16".to_owned(),
        DataType::Float32 => "float32".to_owned(),
        DataType::Float64 => "float64".to_owned(),
        DataType::Timestamp(unit, None) => format!("timestamp({})", unit_text(*unit)),
        DataType::Timestamp(unit, Some(zone)) => format!("timestamp({}, {})", unit_text(*unit), quoted(zone)),
        DataType::Date32 => "date".to_owned(),
        DataType::Date64 => "date(ms)".to_owned(),
        DataType::Time32(unit) | DataType::Time64(unit) => format!("time({})", unit_text(*unit)),
        DataType::Duration(unit) => format!("duration({})", unit_text(*unit)),
        DataType::Interval(IntervalUnit::YearMonth) => "interval(months)".to_owned(),
        DataType::Interval(IntervalUnit::DayTime) => "interval(days, ms)".to_owned(),
        DataType::Interval(IntervalUnit::MonthDayNano) => "interval(months, days, ns)".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary".to_owned(),
        DataType::FixedSizeBinary(length) => format!("binary({length})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::List(item) | DataType::ListView(item) | DataType::LargeList(item) | DataType::LargeListView(item) => {
            format!("list<{}>", type_text(item.data_type()))
        }
        DataType::FixedSizeList(item, length) => format!("list({length})<{}>", type_text(item.data_type())),
        DataType::Struct(fields) => format!("struct<{}>", fields_text(fields)),
        DataType::Union(fields, _) => {
            let fields: Vec<String> =
                fields.iter().map(|(tag, field)| format!("{tag} {}", field_text(field))).collect();
            format!("union<{}>", fields.join(", "))
        }
        DataType::Dictionary(_, value) => type_text(value),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => format!("decimal({precision}, {scale})"),
        DataType::Map(entries, _) => format!("map<{}>", type_text(entries.data_type())),
        DataType::RunEndEncoded(_, values) => type_text(values.data_type()),
    }
}

fn fields_text(fields: &Fields) -> String {
    let mut text = String::new();
    for field in fields {
        let comma = if text.is_empty() { "" } else { ", " };
        write!(text, "{comma}{}", field_text(field)).expect("text takes text");
    }
    text
}

fn field_text(field: &Field) -> String {
    format!("{} {}", quoted(field.name()), type_text(field.data_type()))
}

/// In double quotes, so that no name is taken for two.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn unit_text(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}
