//! Casts, with Flink's meaning: one kernel for `CAST`, `TRY_CAST`, coercions, constants, and columns of files.
//!
//! ```text
//! numbers      out of range, NaN to an integer: fails        DECIMAL rounds half up, to an integer it truncates
//! timestamps   to a coarser precision: round down            to a finer one: fails where int64 cannot hold it
//! texts        are trimmed and must be read to the end       as Flink writes them: TRUE, 1.0E7, 2026-01-01 00:00:00.123
//! ARRAY, MAP, ROW   by element, ROWs by place
//! ```
//!
//! A cast that fails is an error that names row and value, or NULL, as `Failing` says. Which casts there are is told by
//! `check`, at planning. What casts cut off by their meaning, columns of files do not lose (`hold`). Types that Arrow does not know (`VARCHAR(3)`, `TIMESTAMP(4)`) travel as a `Detail` in the metadata of
//! the target's field.

mod detail;
mod hold;
mod nested;
mod number;
mod range;
mod read;
mod time;
mod write;

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringViewArray, new_null_array},
    compute::{CastOptions, can_cast_types, cast_with_options},
    datatypes::DataType,
    error::ArrowError,
};
use thiserror::Error;

pub use detail::Detail;
pub use hold::hold;

use crate::names::sql_type;

/// The most characters of a value that an error shows.
const SHOWN: usize = 100;

/// What happens to a value that cannot be cast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failing {
    /// The cast fails.
    Error,
    /// The value becomes NULL.
    Null,
}

/// A value that cannot be cast.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{from} '{value}' cannot be cast to {to}: {reason}")]
pub struct CastError {
    /// The row, from 0.
    pub row: usize,
    /// The value; a long one is cut.
    pub value: String,
    /// The value's type, as SQL names it.
    pub from: String,
    /// The wanted type, as SQL names it.
    pub to: String,
    /// What is wrong with the value.
    pub reason: &'static str,
}

impl CastError {
    fn at(array: &ArrayRef, row: usize, to: &DataType, reason: &'static str) -> Self {
        Self { row, value: shown(array, row), from: sql_type(array.data_type()), to: sql_type(to), reason }
    }
}

/// Casts an array to an Arrow type and the detail of a SQL type.
///
/// # Errors
/// The first value that cannot be cast, where that is not to give NULL; a pair of types between which there is no cast.
pub fn cast(array: &ArrayRef, to: &DataType, detail: Detail, failing: Failing) -> Result<ArrayRef, CastError> {
    let made = convert(array, to, failing)?;
    Ok(detail.apply(&made))
}

/// Whether values of a type can be cast to another.
///
/// # Errors
/// Why they cannot, without the types.
pub fn check(from: &DataType, to: &DataType) -> Result<(), &'static str> {
    use Kind as K;
    match (Kind::of(from), Kind::of(to)) {
        _ if from == to => Ok(()),
        (K::Null, _) | (_, K::Text) => Ok(()),
        (K::Text, K::Boolean | K::Integer | K::Decimal | K::Float | K::Bytes | K::Date | K::Time | K::Timestamp) => {
            Ok(())
        }
        (K::Boolean, K::Boolean | K::Integer | K::Decimal | K::Float) => Ok(()),
        (K::Integer, K::Boolean) => Ok(()),
        (K::Integer | K::Decimal | K::Float, K::Integer | K::Decimal | K::Float) => Ok(()),
        (K::Decimal | K::Float, K::Boolean) => Err("compare it with 0"),
        (K::Bytes, K::Bytes) | (K::Date, K::Date | K::Timestamp) | (K::Time, K::Time | K::Timestamp) => Ok(()),
        (K::Timestamp, K::Date | K::Time | K::Timestamp) => Ok(()),
        (K::Timestamp, K::Integer | K::Decimal | K::Float) => Err("EXTRACT(EPOCH FROM …) gives its seconds"),
        (K::Integer | K::Decimal | K::Float, K::Timestamp) => Err("TO_TIMESTAMP_LTZ(…, 3) takes milliseconds"),
        (K::List | K::Map | K::Row, K::List | K::Map | K::Row) => nested::check(from, to),
        (K::Other, _) | (_, K::Other) if can_cast_types(from, to) => Ok(()),
        _ => Err("there is no such cast"),
    }
}

/// Whether every value of a type can be cast to another.
#[must_use]
pub fn always_fits(from: &DataType, to: &DataType) -> bool {
    use Kind as K;
    let bits = |data_type: &DataType| data_type.primitive_width();
    match (Kind::of(from), Kind::of(to)) {
        _ if from == to => true,
        (K::Null, _) => true,
        (K::Bytes, K::Text) => false,
        (K::List | K::Map | K::Row, _) => false,
        (_, K::Text) => Kind::of(from) != K::Other,
        (K::Text | K::Bytes, K::Bytes) => !matches!(to, DataType::FixedSizeBinary(_)),
        (K::Boolean, K::Integer | K::Float) | (K::Integer, K::Boolean | K::Float) => true,
        (K::Decimal, K::Float) => true,
        (K::Float, K::Float) => bits(from) <= bits(to),
        (K::Integer, K::Integer) => from.is_signed_integer() && to.is_signed_integer() && bits(from) <= bits(to),
        (K::Timestamp, K::Time) => true,
        (K::Timestamp, K::Timestamp) => match (from, to) {
            (DataType::Timestamp(from, _), DataType::Timestamp(to, _)) => {
                time::per_second(*from) >= time::per_second(*to)
            }
            _ => false,
        },
        _ => false,
    }
}

/// The kinds of types between which casts differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Boolean,
    Integer,
    Decimal,
    Float,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    List,
    Map,
    Row,
    /// A type that tables cannot have: arrow casts it.
    Other,
}

impl Kind {
    fn of(data_type: &DataType) -> Self {
        use DataType as D;
        match data_type {
            D::Null => Self::Null,
            D::Boolean => Self::Boolean,
            D::Decimal32(..) | D::Decimal64(..) | D::Decimal128(..) | D::Decimal256(..) => Self::Decimal,
            D::Float16 | D::Float32 | D::Float64 => Self::Float,
            D::Utf8 | D::LargeUtf8 | D::Utf8View => Self::Text,
            D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => Self::Bytes,
            D::Date32 | D::Date64 => Self::Date,
            D::Time32(_) | D::Time64(_) => Self::Time,
            D::Timestamp(..) => Self::Timestamp,
            D::List(_) | D::LargeList(_) | D::FixedSizeList(..) | D::ListView(_) | D::LargeListView(_) => Self::List,
            D::Map(..) => Self::Map,
            D::Struct(_) => Self::Row,
            other if other.is_integer() => Self::Integer,
            _ => Self::Other,
        }
    }
}

fn convert(array: &ArrayRef, to: &DataType, failing: Failing) -> Result<ArrayRef, CastError> {
    use Kind as K;
    let from = array.data_type();
    if from == to {
        return Ok(array.clone());
    }
    match (Kind::of(from), Kind::of(to)) {
        (K::Null, _) => Ok(new_null_array(to, array.len())),
        (K::Text, K::Text | K::Bytes) | (K::Bytes, K::Bytes) => by_arrow(array, to, failing),
        (K::Text, _) => read::convert(array, &texts(array)?, to, failing),
        (_, K::Text) => encoded(write::texts(array, failing)?, to),
        (K::Boolean, K::Decimal) => convert(&by_arrow(array, &DataType::Int8, failing)?, to, failing),
        (K::Integer, K::Decimal) => number::integer_to_decimal(array, to, failing),
        (K::Float, K::Decimal) => number::float_to_decimal(array, to, failing),
        (K::Decimal, K::Float) => number::decimal_to_float(array, to),
        (K::Float, K::Float) => number::float_to_float(array, to, failing),
        (K::Timestamp, K::Timestamp) => time::to_timestamp(array, to, failing),
        (K::Timestamp, K::Date) => time::to_date(array, to, failing),
        (K::Timestamp, K::Time) => time::to_time(array, to, failing),
        (K::Date | K::Time, K::Timestamp) => time::to_timestamp(array, to, failing),
        (K::List, K::List) => nested::list(array, to, failing),
        (K::Map, K::Map) => nested::map(array, to, failing),
        (K::Row, K::Row) => nested::row(array, to, failing),
        _ => by_arrow(array, to, failing),
    }
}

/// Arrow's cast, for types where it means the same. It gives NULL for what it cannot cast.
fn by_arrow(array: &ArrayRef, to: &DataType, failing: Failing) -> Result<ArrayRef, CastError> {
    let made = arrow_cast(array, to).map_err(|_| CastError::at(array, 0, to, "there is no such cast"))?;
    if failing == Failing::Error && made.null_count() > array.logical_null_count() {
        let row = (0..array.len()).find(|row| made.is_null(*row) && !array.is_null(*row)).unwrap_or(0);
        return Err(CastError::at(array, row, to, "it is out of range"));
    }
    Ok(made)
}

fn arrow_cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: true, ..CastOptions::default() })
}

/// Converts texts of any encoding to views.
fn texts(array: &ArrayRef) -> Result<StringViewArray, CastError> {
    let views = by_arrow(array, &DataType::Utf8View, Failing::Null)?;
    Ok(views.as_string_view().clone())
}

/// Converts texts to the wanted encoding.
fn encoded(texts: StringViewArray, to: &DataType) -> Result<ArrayRef, CastError> {
    by_arrow(&(Arc::new(texts) as ArrayRef), to, Failing::Null)
}

/// A value as people write it; a long one is cut.
fn shown(array: &ArrayRef, row: usize) -> String {
    let one = array.slice(row, usize::from(row < array.len()));
    let texts = write::texts(&one, Failing::Null).ok();
    let text = texts.as_ref().and_then(|texts| texts.iter().next().flatten()).unwrap_or("NULL");
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
