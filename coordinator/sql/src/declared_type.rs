//! Flink's SQL types as Arrow types.
//!
//! | precision of a TIMESTAMP | unit |
//! |---|---|
//! | 0 | second |
//! | 1 to 3 | millisecond |
//! | 4 to 6, or none | microsecond |
//! | 7 to 9 | nanosecond |
//!
//! Strings are views. Nested fields are always nullable.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use sqlparser::ast::{self, ArrayElemTypeDef, BinaryLength, CharacterLength, ExactNumberInfo, TimezoneInfo};
use thalweg_functions::cast::Detail;

use crate::limits;

/// The Arrow type of a declared type.
///
/// # Errors
/// Why there is none: the type is not supported, or too large.
pub(crate) fn arrow_type(declared: &ast::DataType) -> Result<DataType, String> {
    let made = nested(declared)?;
    limits::check_type(&made).map(|()| made)
}

fn nested(declared: &ast::DataType) -> Result<DataType, String> {
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
            DataType::List(Arc::new(Field::new_list_field(nested(element)?, true)))
        }
        Sql::Array(ArrayElemTypeDef::SquareBracket(element, _)) => {
            DataType::List(Arc::new(Field::new_list_field(nested(element)?, true)))
        }
        Sql::Map(key, value) => map(nested(key)?, nested(value)?),
        other => return Err(format!("type {other} is not supported")),
    })
}

/// What a CAST's type says beyond its Arrow type. Only casts heed it: columns of tables keep the values that their
/// source gives.
pub(crate) fn detail(declared: &ast::DataType) -> Detail {
    use ast::DataType as Sql;
    let characters = |length: &Option<CharacterLength>| match length {
        Some(CharacterLength::IntegerLength { length, .. }) => Some(saturated(*length)),
        Some(CharacterLength::Max) | None => None,
    };
    match declared {
        // As in Flink, a CHAR without a length holds one character, a VARCHAR any number.
        Sql::Char(length) | Sql::Character(length) => Detail::Char(characters(length).unwrap_or(1)),
        Sql::Varchar(length) | Sql::CharacterVarying(length) => {
            characters(length).map_or(Detail::None, Detail::VarChar)
        }
        Sql::Binary(length) => Detail::Binary(length.map_or(1, saturated)),
        Sql::Varbinary(Some(BinaryLength::IntegerLength { length })) => Detail::VarBinary(saturated(*length)),
        Sql::Timestamp(Some(digits), _) => digits_of(*digits),
        Sql::Custom(name, arguments) if name.to_string().eq_ignore_ascii_case("TIMESTAMP_LTZ") => {
            let digits = arguments.first().and_then(|text| text.parse().ok());
            digits.map_or(Detail::None, digits_of)
        }
        _ => Detail::None,
    }
}

fn digits_of(digits: u64) -> Detail {
    if matches!(digits, 0 | 3 | 6 | 9) { Detail::None } else { Detail::Digits(saturated(digits)) }
}

fn saturated(length: u64) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
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
        Some(0) => TimeUnit::Second,
        Some(1..=3) => TimeUnit::Millisecond,
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
        made.push(Field::new(&name.value, nested(&field.field_type)?, true));
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
