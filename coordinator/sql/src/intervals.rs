//! The lengths of intervals.

use datafusion_common::ScalarValue;

/// The microseconds of an interval; `None` where its length is not fixed or not whole.
pub(crate) fn interval_micros(value: &ScalarValue) -> Option<i64> {
    const MICROS_PER_DAY: i64 = 86_400_000_000;
    match value {
        ScalarValue::IntervalMonthDayNano(Some(interval))
            if interval.months == 0 && interval.nanoseconds % 1000 == 0 =>
        {
            i64::from(interval.days).checked_mul(MICROS_PER_DAY)?.checked_add(interval.nanoseconds / 1000)
        }
        ScalarValue::IntervalDayTime(Some(interval)) => i64::from(interval.days)
            .checked_mul(MICROS_PER_DAY)?
            .checked_add(i64::from(interval.milliseconds).checked_mul(1000)?),
        ScalarValue::DurationSecond(Some(seconds)) => seconds.checked_mul(1_000_000),
        ScalarValue::DurationMillisecond(Some(millis)) => millis.checked_mul(1000),
        ScalarValue::DurationMicrosecond(Some(micros)) => Some(*micros),
        ScalarValue::DurationNanosecond(Some(nanos)) if nanos % 1000 == 0 => Some(nanos / 1000),
        _ => None,
    }
}
