//! Lengths of intervals, and their literals that are refused: each is a number of one unit, as Flink writes it.

use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use datafusion_common::ScalarValue;
use sqlparser::ast::{DateTimeField, Expr, Interval, Value};

/// Why an interval is refused, and what to write.
pub(crate) fn refused(interval: &Interval) -> Option<(String, &'static str)> {
    Some(if lacks_unit(interval) {
        ("an INTERVAL needs a unit".to_owned(), "INTERVAL '10' SECOND")
    } else if is_no_count(interval) {
        let message = "an INTERVAL is a whole number of its unit, or a number of seconds";
        (message.to_owned(), "INTERVAL '36' HOUR, INTERVAL '1.5' SECOND")
    } else if interval.last_field.is_some() {
        let hint = "add intervals of one unit: INTERVAL '1' DAY + INTERVAL '2' HOUR";
        ("INTERVAL with TO is not supported".to_owned(), hint)
    } else if is_too_large(interval) {
        let hint = "it may have 2147483647 months or days, and of smaller units what is in 292 years";
        (format!("{interval} is too large"), hint)
    } else {
        return None;
    })
}

fn lacks_unit(interval: &Interval) -> bool {
    let Expr::Value(value) = interval.value.as_ref() else { return false };
    let bare = match &value.value {
        Value::SingleQuotedString(text) => text.trim().parse::<f64>().is_ok(),
        other => matches!(other, Value::Number(_, _)),
    };
    bare && interval.leading_field.is_none()
}

/// What stands for how many in an interval of one unit, and that.
fn count_and_unit(interval: &Interval) -> Option<(&str, &DateTimeField)> {
    match (interval.value.as_ref(), &interval.leading_field, &interval.last_field) {
        (Expr::Value(value), Some(unit), None) => match &value.value {
            Value::SingleQuotedString(text) | Value::Number(text, _) => Some((text, unit)),
            _ => None,
        },
        _ => None,
    }
}

/// Whether an interval says something else than how many: a part of a month would be thirty days to some.
fn is_no_count(interval: &Interval) -> bool {
    let Some((text, unit)) = count_and_unit(interval) else { return false };
    let digits = text.trim().trim_start_matches(['+', '-']);
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) if matches!(unit, DateTimeField::Second | DateTimeField::Seconds) => (whole, fraction),
        _ => (digits, ""),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction)
}

/// Whether it cannot be read, where one of its unit can.
fn is_too_large(interval: &Interval) -> bool {
    let Some((text, unit)) = count_and_unit(interval) else { return false };
    let is_read = |count: &str| parse_interval_month_day_nano(&format!("{count} {unit}")).is_ok();
    is_read("1") && !is_read(text)
}

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
