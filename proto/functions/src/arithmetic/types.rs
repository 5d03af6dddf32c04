//! The types of arithmetic, as Flink derives them (`LogicalTypeMerging`).
//!
//! ```text
//! p1,s1 + p2,s2   scale max(s1, s2)            precision max(p1 - s1, p2 - s2) + scale + 1
//! p1,s1 * p2,s2   scale s1 + s2                precision p1 + p2 + 1
//! p1,s1 / p2,s2   scale max(6, s1 + p2 + 1)    precision p1 - s1 + s2 + scale
//! p1,s1 % p2,s2   scale max(s1, s2)            precision min(p1 - s1, p2 - s2) + scale
//! ```
//!
//! A precision above 38 becomes 38. The scale then gives way to the digits before the point, down to 6, or stays if it
//! was less.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};

use super::Arithmetic;

/// Digits of a scale that do not give way to digits before the point.
const SCALE_KEPT: i32 = 6;

/// Whether arithmetic takes a type: a number's, or NULL's.
#[must_use]
pub fn is_number(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Null) || signed(data_type).is_some()
}

/// The type of an operation's result on two numbers; `None` if one is not a number.
#[must_use]
pub fn result_type(operator: Arithmetic, left: &DataType, right: &DataType) -> Option<DataType> {
    let (left, right) = match (left, right) {
        (DataType::Null, DataType::Null) => (DataType::Int32, DataType::Int32),
        (DataType::Null, other) | (other, DataType::Null) => (signed(other)?, signed(other)?),
        (left, right) => (signed(left)?, signed(right)?),
    };
    let common = operand_type(&left, &right)?;
    if !matches!(common, DataType::Decimal128(_, _)) {
        return Some(if operator == Arithmetic::Remainder && common.is_integer() { right } else { common });
    }
    let (whole, other) = (decimal_of(&left)?, decimal_of(&right)?);
    if operator == Arithmetic::Remainder && whole.1 == 0 && other.1 == 0 {
        return Some(right);
    }
    Some(decimal_type(operator, whole, other))
}

/// The type to which two numbers are converted; `None` if one is not a number. For two decimals it is the type of the
/// left one.
pub(super) fn operand_type(left: &DataType, right: &DataType) -> Option<DataType> {
    use DataType::{Decimal128, Float32, Float64};
    let (left, right) = (signed(left)?, signed(right)?);
    Some(match (&left, &right) {
        (Float64, _) | (_, Float64) | (Float32, Decimal128(_, _)) | (Decimal128(_, _), Float32) => Float64,
        (Float32, _) | (_, Float32) => Float32,
        (Decimal128(_, _), _) => left,
        (_, Decimal128(_, _)) => right,
        _ => {
            if width(&left) >= width(&right) {
                left
            } else {
                right
            }
        }
    })
}

/// The type itself; for an unsigned or half-precision one, which SQL lacks, a type that SQL has. `None` if it is not a
/// number's.
pub(super) fn signed(data_type: &DataType) -> Option<DataType> {
    use DataType as T;
    Some(match data_type {
        T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Float32 | T::Float64 | T::Decimal128(_, 0..) => data_type.clone(),
        T::UInt8 => T::Int16,
        T::UInt16 => T::Int32,
        T::UInt32 | T::UInt64 => T::Int64,
        T::Float16 => T::Float32,
        _ => return None,
    })
}

fn width(data_type: &DataType) -> usize {
    data_type.primitive_width().unwrap_or(0)
}

/// Precision and scale of a decimal, or of an integer as a decimal.
fn decimal_of(data_type: &DataType) -> Option<(i32, i32)> {
    Some(match data_type {
        DataType::Int8 => (3, 0),
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::Decimal128(precision, scale) => (i32::from(*precision), i32::from(*scale)),
        _ => return None,
    })
}

/// The decimal type of a number.
pub(super) fn as_decimal(data_type: &DataType) -> Option<DataType> {
    let (precision, scale) = decimal_of(data_type)?;
    Some(DataType::Decimal128(u8::try_from(precision).ok()?, i8::try_from(scale).ok()?))
}

fn decimal_type(operator: Arithmetic, (p1, s1): (i32, i32), (p2, s2): (i32, i32)) -> DataType {
    let (precision, scale) = match operator {
        Arithmetic::Add | Arithmetic::Subtract => {
            let scale = s1.max(s2);
            ((p1 - s1).max(p2 - s2) + scale + 1, scale)
        }
        Arithmetic::Multiply => (p1 + p2 + 1, s1 + s2),
        Arithmetic::Divide => {
            let scale = (s1 + p2 + 1).max(SCALE_KEPT);
            (p1 - s1 + s2 + scale, scale)
        }
        Arithmetic::Remainder => {
            let scale = s1.max(s2);
            ((p1 - s1).min(p2 - s2) + scale, scale)
        }
    };
    let highest = i32::from(DECIMAL128_MAX_PRECISION);
    let (precision, scale) = match precision <= highest {
        true => (precision, scale),
        false => (highest, (highest - (precision - scale)).max(scale.min(SCALE_KEPT))),
    };
    let narrow = |digits: i32| u8::try_from(digits).unwrap_or(DECIMAL128_MAX_PRECISION);
    DataType::Decimal128(narrow(precision.max(1)), i8::try_from(scale).unwrap_or(0))
}
