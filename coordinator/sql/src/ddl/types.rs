//! Flink's SQL types as Arrow types, and back as text.
//!
//! `TIMESTAMP(0..3)` is in milliseconds, `TIMESTAMP` and `(4..6)` in microseconds, `(7..9)` in nanoseconds; strings are
//! views. Nested fields are always nullable.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use sqlparser::ast::{self, ArrayElemTypeDef, ExactNumberInfo, TimezoneInfo};

/// The Arrow type of a declared type, or why there is none.
pub(crate) fn arrow_type(declared: &ast::DataType) -> Result<DataType, String> {
    use ast::DataType as Sql;
    Ok(match declared {
        Sql::Boolean | Sql::Bool => DataType::Boolean,
        Sql::TinyInt(_) => DataType::Int8,
        Sql::SmallInt(_) => DataType::Int16,
        Sql::Int(_) | Sql::Integer(_) => DataType::Int32,
        Sql::BigInt(_) => DataType::Int64,
        Sql::Float(_) | Sql::Real => DataType::Float32,
        Sql::Double(_) | Sql::DoublePrecision => DataType::Float64,
        Sql::Decimal(info) | Sql::Numeric(info) | Sql::Dec(info) => decimal(info)?,
        Sql::String(_) | Sql::Varchar(_) | Sql::Char(_) | Sql::Character(_) | Sql::CharacterVarying(_) | Sql::Text => {
            DataType::Utf8View
        }
        Sql::Bytes(_) | Sql::Binary(_) | Sql::Varbinary(_) => DataType::Binary,
        Sql::Date => DataType::Date32,
        Sql::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => DataType::Time64(TimeUnit::Nanosecond),
        Sql::Timestamp(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => timestamp(*precision, None)?,
        Sql::Timestamp(precision, _) => timestamp(*precision, Some("UTC".into()))?,
        Sql::Custom(name, arguments) if name.to_string().eq_ignore_ascii_case("TIMESTAMP_LTZ") => {
            let precision = match arguments.first() {
                Some(text) => Some(text.parse().map_err(|_| format!("TIMESTAMP_LTZ({text}): expected 0 to 9"))?),
                None => None,
            };
            timestamp(precision, Some("UTC".into()))?
        }
        Sql::Struct(fields, _) => DataType::Struct(struct_fields(fields)?),
        Sql::Array(ArrayElemTypeDef::AngleBracket(element) | ArrayElemTypeDef::Parenthesis(element)) => {
            DataType::List(Arc::new(Field::new_list_field(arrow_type(element)?, true)))
        }
        Sql::Array(ArrayElemTypeDef::SquareBracket(element, _)) => {
            DataType::List(Arc::new(Field::new_list_field(arrow_type(element)?, true)))
        }
        Sql::Map(key, value) => map(arrow_type(key)?, arrow_type(value)?),
        other => return Err(format!("type {other} is not supported")),
    })
}

/// The type as one would declare it.
pub(crate) fn sql_type(data_type: &DataType) -> String {
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

fn decimal(info: &ExactNumberInfo) -> Result<DataType, String> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (10, 0),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let fits = (1..=38).contains(&precision) && scale >= 0 && scale.unsigned_abs() <= precision;
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision), Ok(scale)) if fits => Ok(DataType::Decimal128(precision, scale)),
        _ => Err(format!("DECIMAL({precision}, {scale}): precision is 1 to 38, scale 0 to precision")),
    }
}

fn timestamp(precision: Option<u64>, zone: Option<Arc<str>>) -> Result<DataType, String> {
    let unit = match precision {
        Some(0..=3) => TimeUnit::Millisecond,
        None | Some(4..=6) => TimeUnit::Microsecond,
        Some(7..=9) => TimeUnit::Nanosecond,
        Some(other) => return Err(format!("TIMESTAMP({other}): expected 0 to 9")),
    };
    Ok(DataType::Timestamp(unit, zone))
}

fn struct_fields(fields: &[ast::StructField]) -> Result<Fields, String> {
    let mut made: Vec<Field> = Vec::with_capacity(fields.len());
    for field in fields {
        let name = field.field_name.as_ref().ok_or("every field of a ROW needs a name")?;
        if made.iter().any(|earlier| *earlier.name() == name.value) {
            return Err(format!("field '{}' is declared twice", name.value));
        }
        made.push(Field::new(&name.value, arrow_type(&field.field_type)?, true));
    }
    if made.is_empty() {
        return Err("a ROW needs at least one field".to_owned());
    }
    Ok(made.into())
}

fn map(key: DataType, value: DataType) -> DataType {
    let entries = DataType::Struct(vec![Field::new("key", key, false), Field::new("value", value, true)].into());
    DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
}
