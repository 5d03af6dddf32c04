//! Casts between numbers, where arrow's own are inexact or unchecked.

use std::{fmt::Write as _, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, PrimitiveArray},
    datatypes::{ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, Int64Type, UInt64Type},
};

use super::{
    CastError, Failing, by_arrow,
    range::{OUT_OF_RANGE, fits},
    read::read_decimal,
};

/// Applies a function to the values of an array. The first row for which it fails is the error; or all such values are
/// NULL.
pub(super) fn each<I: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    values: &PrimitiveArray<I>,
    failing: Failing,
    convert: impl Fn(I::Native) -> Option<O::Native>,
) -> Result<PrimitiveArray<O>, usize> {
    if failing == Failing::Null {
        return Ok(values.unary_opt(convert));
    }
    values.try_unary(|value| convert(value).ok_or(())).map_err(|()| {
        let failed = |(_, value): &(usize, Option<I::Native>)| value.is_some_and(|value| convert(value).is_none());
        values.iter().enumerate().find(failed).map_or(0, |(row, _)| row)
    })
}

pub(super) fn integer_to_decimal(array: &ArrayRef, to: &DataType, failing: Failing) -> Result<ArrayRef, CastError> {
    let DataType::Decimal128(precision, scale) = *to else { return by_arrow(array, to, failing) };
    let unscaled = |value: i128| scaled(value, scale).filter(|value| fits(*value, precision));
    let made = match array.data_type() {
        DataType::UInt64 => {
            each::<UInt64Type, Decimal128Type>(array.as_primitive(), failing, |value| unscaled(value.into()))
        }
        _ => {
            let wide = by_arrow(array, &DataType::Int64, failing)?;
            each::<Int64Type, Decimal128Type>(wide.as_primitive(), failing, |value| unscaled(value.into()))
        }
    };
    decimal(made, array, to)
}

/// Converts the shortest digits that identify the number, which are those that are written.
pub(super) fn float_to_decimal(array: &ArrayRef, to: &DataType, failing: Failing) -> Result<ArrayRef, CastError> {
    let DataType::Decimal128(precision, scale) = *to else { return by_arrow(array, to, failing) };
    let doubles = by_arrow(array, &DataType::Float64, failing)?;
    let convert = |value: f64| {
        if !value.is_finite() {
            return None;
        }
        let mut text = ShortText::default();
        write!(text, "{value:e}").ok()?;
        read_decimal(text.as_str(), precision, scale).ok()
    };
    decimal(each::<Float64Type, Decimal128Type>(doubles.as_primitive(), failing, convert), array, to)
}

fn decimal(
    made: Result<PrimitiveArray<Decimal128Type>, usize>,
    array: &ArrayRef,
    to: &DataType,
) -> Result<ArrayRef, CastError> {
    let made = made.map_err(|row| CastError::at(array, row, to, OUT_OF_RANGE))?;
    Ok(Arc::new(made.with_data_type(to.clone())))
}

/// Converts to the nearest double or float.
pub(super) fn decimal_to_float(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, CastError> {
    /// Powers of ten up to this one are exact as doubles.
    const EXACT_POWER: i8 = 22;
    /// Integers up to this one are exact as doubles.
    const EXACT: u128 = 1 << 53;
    let DataType::Decimal128(_, scale) = *array.data_type() else { return by_arrow(array, to, Failing::Error) };
    let decimals = array.as_primitive::<Decimal128Type>();
    if *to != DataType::Float64 {
        return match to {
            DataType::Float32 => Ok(Arc::new(decimals.unary::<_, Float32Type>(|value| nearest(value, scale)))),
            _ => by_arrow(array, to, Failing::Error),
        };
    }
    let power = 10f64.powi(i32::from(scale));
    let convert = |value: i128| {
        if value.unsigned_abs() <= EXACT && (0..=EXACT_POWER).contains(&scale) {
            #[allow(clippy::cast_precision_loss, reason = "it is exact up to 2^53")]
            let exact = value as f64;
            // Both are exact, and their quotient is rounded once: it is the double nearest to the decimal.
            return exact / power;
        }
        nearest(value, scale)
    };
    Ok(Arc::new(decimals.unary::<_, Float64Type>(convert)))
}

/// Converts by way of text, which is parsed exactly.
fn nearest<F: std::str::FromStr + Default>(value: i128, scale: i8) -> F {
    let mut text = ShortText::default();
    let written = write!(text, "{value}e{}", -i32::from(scale));
    written.ok().and_then(|()| text.as_str().parse().ok()).unwrap_or_default()
}

pub(super) fn float_to_float(array: &ArrayRef, to: &DataType, failing: Failing) -> Result<ArrayRef, CastError> {
    if (array.data_type(), to) != (&DataType::Float64, &DataType::Float32) {
        return by_arrow(array, to, failing);
    }
    let convert = |value: f64| {
        #[allow(clippy::cast_possible_truncation, reason = "the nearest float is wanted")]
        let nearest = value as f32;
        (nearest.is_finite() || !value.is_finite()).then_some(nearest)
    };
    let made = each::<Float64Type, Float32Type>(array.as_primitive(), failing, convert);
    Ok(Arc::new(made.map_err(|row| CastError::at(array, row, to, OUT_OF_RANGE))?))
}

/// A number times ten to the power of `digits`.
pub(super) fn scaled(value: i128, digits: i8) -> Option<i128> {
    value.checked_mul(10i128.checked_pow(u32::try_from(digits).ok()?)?)
}

/// The text of a number, without an allocation.
#[derive(Debug)]
pub(super) struct ShortText {
    bytes: [u8; 64],
    length: usize,
}

impl Default for ShortText {
    fn default() -> Self {
        Self { bytes: [0; 64], length: 0 }
    }
}

impl ShortText {
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl std::fmt::Write for ShortText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}
