//! Casts between dates, times and timestamps. To a coarser unit they round down, also before 1970.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Int64Array},
    datatypes::{DataType, Date32Type, Int32Type, Int64Type, TimeUnit},
};

use super::{CastError, Failing, arrow_cast, by_arrow, number::each, range::OUT_OF_RANGE};

const SECONDS_PER_DAY: i64 = 86_400;

/// Ticks of a unit per second.
pub(super) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

fn unit_of(data_type: &DataType) -> Option<TimeUnit> {
    match data_type {
        DataType::Timestamp(unit, _) | DataType::Time32(unit) | DataType::Time64(unit) => Some(*unit),
        _ => None,
    }
}

/// Converts a timestamp, a date (its midnight) or a time (of 1970-01-01).
pub(super) fn to_timestamp(array: &ArrayRef, to: &DataType, failing: Failing) -> Result<ArrayRef, CastError> {
    let Some(wanted) = unit_of(to) else { return by_arrow(array, to, failing) };
    let days = |array: &ArrayRef| by_arrow(array, &DataType::Int32, failing);
    let (ticks, given, to_unit) = match array.data_type() {
        DataType::Date32 => (integers(&days(array)?)?, 1, per_second(wanted) * SECONDS_PER_DAY),
        DataType::Date64 => (integers(array)?, per_second(TimeUnit::Millisecond), per_second(wanted)),
        other => match unit_of(other) {
            Some(unit) => (integers(array)?, per_second(unit), per_second(wanted)),
            None => return by_arrow(array, to, failing),
        },
    };
    let made = rescaled(&ticks, given, to_unit, failing);
    typed(made.map_err(|row| CastError::at(array, row, to, OUT_OF_RANGE))?, array, to)
}

pub(super) fn to_date(array: &ArrayRef, to: &DataType, failing: Failing) -> Result<ArrayRef, CastError> {
    let (DataType::Date32, Some(unit)) = (to, unit_of(array.data_type())) else { return by_arrow(array, to, failing) };
    let day = per_second(unit) * SECONDS_PER_DAY;
    let convert = |tick: i64| i32::try_from(tick.div_euclid(day)).ok();
    let made = each::<Int64Type, Date32Type>(&integers(array)?, failing, convert);
    Ok(Arc::new(made.map_err(|row| CastError::at(array, row, to, OUT_OF_RANGE))?))
}

/// Converts to the time of day.
pub(super) fn to_time(array: &ArrayRef, to: &DataType, failing: Failing) -> Result<ArrayRef, CastError> {
    let (Some(given), Some(wanted)) = (unit_of(array.data_type()), unit_of(to)) else {
        return by_arrow(array, to, failing);
    };
    let (given, wanted) = (per_second(given), per_second(wanted));
    let of_day: Int64Array = integers(array)?.unary(|tick| tick.rem_euclid(given * SECONDS_PER_DAY));
    let made = rescaled(&of_day, given, wanted, failing).unwrap_or(of_day);
    match to {
        DataType::Time32(_) => {
            let seconds = each::<Int64Type, Int32Type>(&made, failing, |tick| i32::try_from(tick).ok());
            let seconds: ArrayRef = Arc::new(seconds.map_err(|row| CastError::at(array, row, to, OUT_OF_RANGE))?);
            by_arrow(&seconds, to, failing)
        }
        _ => typed(made, array, to),
    }
}

/// Converts from `given` ticks per second (or day) to `wanted`.
fn rescaled(ticks: &Int64Array, given: i64, wanted: i64, failing: Failing) -> Result<Int64Array, usize> {
    if wanted >= given {
        let factor = wanted / given;
        return match factor {
            1 => Ok(ticks.clone()),
            _ => each::<Int64Type, Int64Type>(ticks, failing, |tick| tick.checked_mul(factor)),
        };
    }
    // Division by a constant compiles to a multiplication.
    Ok(match given / wanted {
        1_000 => ticks.unary(|tick| tick.div_euclid(1_000)),
        1_000_000 => ticks.unary(|tick| tick.div_euclid(1_000_000)),
        factor => ticks.unary(|tick| tick.div_euclid(factor)),
    })
}

fn integers(array: &ArrayRef) -> Result<Int64Array, CastError> {
    Ok(by_arrow(array, &DataType::Int64, Failing::Null)?.as_primitive::<Int64Type>().clone())
}

fn typed(ticks: Int64Array, array: &ArrayRef, to: &DataType) -> Result<ArrayRef, CastError> {
    let ticks: ArrayRef = Arc::new(ticks);
    arrow_cast(&ticks, to).map_err(|_| CastError::at(array, 0, to, "there is no such cast"))
}
