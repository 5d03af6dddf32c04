//! Converts timestamp columns of any unit to microseconds and back.
//!
//! To microseconds, nanoseconds round down, so that a record stays in its window. Coarser units saturate, so event
//! times are checked (`beyond`) before windows are assigned.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, PrimitiveArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{max, min};
use arrow::datatypes::{
    ArrowTimestampType, DataType, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use thalweg_functions::moment::{self, TimestampForm};

/// A millisecond in microseconds: `window_time` is the window's end minus this.
pub(crate) const MILLISECOND: i64 = 1000;

/// The times of a timestamp column in microseconds, arbitrary for NULLs; `None` for a column of another type.
pub(crate) fn to_micros(column: &ArrayRef) -> Option<ScalarBuffer<i64>> {
    let DataType::Timestamp(unit, _) = column.data_type() else { return None };
    let values = match unit {
        TimeUnit::Second => column.as_primitive::<TimestampSecondType>().values(),
        TimeUnit::Millisecond => column.as_primitive::<TimestampMillisecondType>().values(),
        TimeUnit::Microsecond => column.as_primitive::<TimestampMicrosecondType>().values(),
        TimeUnit::Nanosecond => column.as_primitive::<TimestampNanosecondType>().values(),
    };
    Some(match unit {
        TimeUnit::Microsecond => values.clone(),
        unit => values.iter().map(|value| micros_of(*unit, *value)).collect(),
    })
}

/// The earliest and latest time of a timestamp column in microseconds, ignoring NULLs; `None` if there is none.
pub(crate) fn bounds(column: &ArrayRef) -> Option<(i64, i64)> {
    let DataType::Timestamp(unit, _) = column.data_type() else { return None };
    let (least, greatest) = match unit {
        TimeUnit::Second => extremes::<TimestampSecondType>(column),
        TimeUnit::Millisecond => extremes::<TimestampMillisecondType>(column),
        TimeUnit::Microsecond => extremes::<TimestampMicrosecondType>(column),
        TimeUnit::Nanosecond => extremes::<TimestampNanosecondType>(column),
    }?;
    Some((micros_of(*unit, least), micros_of(*unit, greatest)))
}

/// A time of the column within `reach` of the limits of 64-bit microseconds, as text; `None` if there is none.
pub(crate) fn beyond(column: &ArrayRef, reach: i64) -> Option<String> {
    let (least, greatest) = bounds(column)?;
    let is_early = least < i64::MIN.saturating_add(reach);
    if !is_early && greatest <= i64::MAX.saturating_sub(reach) {
        return None;
    }
    let DataType::Timestamp(unit, _) = column.data_type() else { return None };
    let ticks = arrow::compute::cast(column, &DataType::Int64).ok()?;
    let ticks = ticks.as_primitive::<Int64Type>();
    let tick = if is_early { min(ticks) } else { max(ticks) }?;
    let mut text = Vec::new();
    moment::write(tick, *unit, TimestampForm::Sql, &mut text);
    String::from_utf8(text).ok()
}

/// Converts times to a column of a timestamp type, which the caller guarantees.
pub(crate) fn from_micros(data_type: &DataType, micros: impl Iterator<Item = i64>) -> ArrayRef {
    let DataType::Timestamp(unit, zone) = data_type else { unreachable!("checked when the operator was built") };
    let zone = zone.clone();
    match unit {
        TimeUnit::Second => {
            let values: ScalarBuffer<i64> = micros.map(|micros| micros.div_euclid(1_000_000)).collect();
            Arc::new(TimestampSecondArray::new(values, None).with_timezone_opt(zone))
        }
        TimeUnit::Millisecond => {
            let values: ScalarBuffer<i64> = micros.map(|micros| micros.div_euclid(1000)).collect();
            Arc::new(TimestampMillisecondArray::new(values, None).with_timezone_opt(zone))
        }
        TimeUnit::Microsecond => {
            Arc::new(TimestampMicrosecondArray::new(micros.collect(), None).with_timezone_opt(zone))
        }
        TimeUnit::Nanosecond => {
            let values: ScalarBuffer<i64> = micros.map(|micros| micros.saturating_mul(1000)).collect();
            Arc::new(TimestampNanosecondArray::new(values, None).with_timezone_opt(zone))
        }
    }
}

fn micros_of(unit: TimeUnit, value: i64) -> i64 {
    match unit {
        TimeUnit::Second => value.saturating_mul(1_000_000),
        TimeUnit::Millisecond => value.saturating_mul(1000),
        TimeUnit::Microsecond => value,
        TimeUnit::Nanosecond => value.div_euclid(1000),
    }
}

fn extremes<T: ArrowTimestampType>(column: &ArrayRef) -> Option<(i64, i64)> {
    let array: &PrimitiveArray<T> = column.as_primitive();
    Some((min(array)?, max(array)?))
}
