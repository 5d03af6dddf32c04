//! One value without parts, and which columns take it.

use std::fmt;

use arrow::datatypes::{DataType, TimeUnit};

use crate::json::{
    text::write_base64,
    timestamp::{Moment, TimestampForm, write, write_day, write_time},
};

/// A value without parts, as a format has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar<'a> {
    Boolean(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f32),
    Double(f64),
    /// In units of 10^-scale.
    Decimal {
        unscaled: i128,
        scale: i8,
    },
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Days since the Unix epoch.
    Date(i32),
    /// Nanoseconds since midnight.
    Time(i64),
    Timestamp(i64, TimeUnit),
    Moment(Moment),
    /// The text of a value of a type that the format lacks.
    Literal(&'a str),
}

/// What kind of value a scalar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    /// `Integer` and `Unsigned`.
    Integer,
    /// `Float` and `Double`.
    Float,
    Decimal,
    Text,
    Bytes,
    Date,
    Time,
    /// `Timestamp` and `Moment`.
    Timestamp,
    Literal,
}

impl Kind {
    /// Whether columns of a type take values of this kind; all that are in its range.
    pub(crate) fn goes_into(self, data_type: &DataType) -> bool {
        use DataType as D;
        let is_text = is_text(data_type);
        let is_bytes = matches!(data_type, D::Binary | D::BinaryView | D::LargeBinary);
        let is_float = matches!(data_type, D::Float32 | D::Float64);
        let is_integer = matches!(data_type, D::Int8 | D::Int16 | D::Int32 | D::Int64);
        let is_decimal = matches!(data_type, D::Decimal128(..));
        match self {
            Self::Boolean => matches!(data_type, D::Boolean),
            Self::Integer => is_integer || is_float || is_decimal,
            Self::Float => is_float,
            Self::Decimal => is_decimal,
            Self::Text | Self::Bytes => is_text || is_bytes,
            Self::Date => matches!(data_type, D::Date32),
            Self::Time => matches!(data_type, D::Time64(_)),
            Self::Timestamp => matches!(data_type, D::Timestamp(..)),
            Self::Literal => is_decimal || matches!(data_type, D::Date32 | D::Time64(_) | D::Timestamp(..)),
        }
    }
}

/// Whether a type is STRING, in any encoding.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8)
}

/// The most characters of a value that a fault shows.
const SHOWN_CHARS: usize = 32;

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        match self {
            Self::Boolean(value) => return write!(f, "{value}"),
            Self::Integer(value) => return write!(f, "{value}"),
            Self::Unsigned(value) => return write!(f, "{value}"),
            Self::Float(value) => return write!(f, "{value}"),
            Self::Double(value) => return write!(f, "{value}"),
            Self::Decimal { unscaled, scale } => crate::json::number::write_decimal(*unscaled, *scale, &mut text),
            Self::Text(value) | Self::Literal(value) => text.extend_from_slice(value.as_bytes()),
            Self::Bytes(value) => write_base64(value.get(..SHOWN_CHARS).unwrap_or(value), &mut text),
            Self::Date(days) => write_day(i64::from(*days), &mut text),
            Self::Time(nanos) => write_time(*nanos, TimeUnit::Nanosecond, &mut text),
            Self::Timestamp(value, unit) => write(*value, *unit, TimestampForm::Sql, &mut text),
            Self::Moment(moment) => return write!(f, "the second {} since 1970", moment.seconds),
        }
        let text = String::from_utf8_lossy(&text);
        let mut chars = text.chars();
        let shown: String = chars.by_ref().take(SHOWN_CHARS).collect();
        let cut = if chars.next().is_some() { ".." } else { "" };
        write!(f, "'{shown}{cut}'")
    }
}

/// A decimal in units of another scale, rounded half away from zero; `None` if it has more than `precision` digits then.
pub(crate) fn decimal_in((unscaled, from): (i128, i8), precision: u8, scale: i8) -> Option<i128> {
    let shift = i32::from(scale) - i32::from(from);
    let power = |exponent: u32| 10i128.checked_pow(exponent);
    let value = if shift >= 0 {
        match unscaled {
            0 => 0,
            _ => unscaled.checked_mul(power(shift.unsigned_abs())?)?,
        }
    } else {
        match power(shift.unsigned_abs()) {
            // So small that nothing is left of it.
            None => 0,
            Some(divisor) => {
                let (whole, rest) = (unscaled / divisor, unscaled % divisor);
                let is_up = rest.unsigned_abs() >= divisor.unsigned_abs() - rest.unsigned_abs();
                whole + if is_up { unscaled.signum() } else { 0 }
            }
        }
    };
    (value.unsigned_abs() < power(u32::from(precision))?.unsigned_abs()).then_some(value)
}
