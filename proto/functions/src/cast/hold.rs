//! Values of files in columns of another type: read as a cast reads them, but that nothing is cut off.
//!
//! ```text
//! 2.49 as INT, '2.49' as INT, 5 as BOOLEAN, a timestamp as DATE or TIME      fails where a part would be lost
//! 2.49 as DECIMAL(10, 0), 0.1 as FLOAT, .1234 s as TIMESTAMP(3)              rounded, as numbers and times of JSON and CSV are
//! ```

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray},
    compute::kernels::cmp::neq,
    datatypes::{DataType, Float64Type, TimeUnit},
};

use super::{CastError, Failing, Kind, by_arrow, check, convert, read::trimmed, texts};

/// Casts an array for a column that holds whole values.
///
/// # Errors
/// The first value that cannot be cast, or of which a part would be lost; a pair of types that `check` refuses.
pub fn hold(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, CastError> {
    if let DataType::Dictionary(_, values) = array.data_type() {
        return hold(&by_arrow(array, values, Failing::Error)?, to);
    }
    check(array.data_type(), to).map_err(|reason| CastError::at(array, 0, to, reason))?;
    let made = convert(array, to, Failing::Error)?;
    let cut = cut(array, &made)?;
    match cut.and_then(|cut| (0..cut.len()).find(|row| cut.is_valid(*row) && cut.value(*row))) {
        Some(row) => Err(CastError::at(array, row, to, "a part of it would be lost")),
        None => Ok(made),
    }
}

/// Which values are not what they were; `None`: none can be.
fn cut(array: &ArrayRef, made: &ArrayRef) -> Result<Option<BooleanArray>, CastError> {
    use Kind as K;
    let (before, after) = match (Kind::of(array.data_type()), Kind::of(made.data_type())) {
        (K::Float, K::Integer) => {
            let doubles = by_arrow(array, &DataType::Float64, Failing::Null)?;
            let doubles = doubles.as_primitive::<Float64Type>();
            return Ok(Some(doubles.iter().map(|value| value.map(|value| value.fract() != 0.0)).collect()));
        }
        (K::Text, K::Integer) => {
            let has_fraction = |text: &str| {
                let fraction = text.split_once('.').map_or("", |(_, fraction)| trimmed(fraction));
                fraction.bytes().any(|digit| digit != b'0')
            };
            return Ok(Some(texts(array)?.iter().map(|text| text.map(has_fraction)).collect()));
        }
        (K::Text, K::Date) => {
            // What is no timestamp, as `2026`, has no time of day.
            let moments = DataType::Timestamp(TimeUnit::Microsecond, None);
            (convert(array, &moments, Failing::Null)?, convert(made, &moments, Failing::Null)?)
        }
        (K::Decimal, K::Integer)
        | (K::Integer, K::Boolean)
        | (K::Date, K::Date)
        | (K::Timestamp, K::Date | K::Time) => (array.clone(), convert(made, array.data_type(), Failing::Null)?),
        _ => return Ok(None),
    };
    let unknown = |_| CastError::at(array, 0, made.data_type(), "it cannot be compared with what it would be");
    neq(&before, &after).map(Some).map_err(unknown)
}
