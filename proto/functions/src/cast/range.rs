//! What a type has room for.

use arrow::datatypes::{Decimal128Type, DecimalType};

/// The reason for a value that is too large for a type.
pub(super) const OUT_OF_RANGE: &str = "it is out of range";

/// Whether a number has no more digits than the precision.
pub(super) fn fits(value: i128, precision: u8) -> bool {
    Decimal128Type::is_valid_decimal_precision(value, precision)
}
