//! Casts to texts, in the form that Flink writes.

use std::fmt::Write as _;

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringViewArray, StringViewBuilder},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type, IntervalMonthDayNanoType, TimeUnit,
        UInt64Type,
    },
};

use super::{CastError, Failing, arrow_cast, by_arrow, texts as as_views};
use crate::moment::{self, TimestampForm};

/// The values as texts.
pub(super) fn texts(array: &ArrayRef, failing: Failing) -> Result<StringViewArray, CastError> {
    use DataType as D;
    Ok(match array.data_type() {
        D::Boolean => {
            let word = |value: bool| if value { "TRUE" } else { "FALSE" };
            array.as_boolean().iter().map(|value| value.map(word)).collect()
        }
        D::UInt64 => written(array.as_primitive::<UInt64Type>(), |value, into| write!(into, "{value}").is_ok()),
        other if other.is_integer() => {
            let wide = by_arrow(array, &D::Int64, failing)?;
            written(wide.as_primitive::<Int64Type>(), |value, into| write!(into, "{value}").is_ok())
        }
        D::Float32 => written(array.as_primitive::<Float32Type>(), write_float),
        D::Float64 => written(array.as_primitive::<Float64Type>(), write_float),
        D::Decimal128(_, scale) => {
            let scale = usize::try_from(*scale).unwrap_or(0);
            written(array.as_primitive::<Decimal128Type>(), |value, into| write_decimal(value, scale, into))
        }
        D::Date32 => written(array.as_primitive::<Date32Type>(), |day, into| {
            of_bytes(into, |b| moment::write_day(day.into(), b))
        }),
        D::Timestamp(unit, _) => {
            let write =
                |tick, into: &mut String| of_bytes(into, |bytes| moment::write(tick, *unit, TimestampForm::Sql, bytes));
            written(by_arrow(array, &D::Int64, failing)?.as_primitive::<Int64Type>(), write)
        }
        D::Time32(unit) | D::Time64(unit) => {
            let wide = by_arrow(array, &D::Time64(TimeUnit::Nanosecond), failing);
            let wide = if *unit == TimeUnit::Nanosecond { array.clone() } else { wide? };
            written(by_arrow(&wide, &D::Int64, failing)?.as_primitive::<Int64Type>(), write_time)
        }
        D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => utf8(array, failing)?,
        D::Interval(arrow::datatypes::IntervalUnit::MonthDayNano) => {
            let write = |value: arrow::datatypes::IntervalMonthDayNano, into: &mut String| {
                write_interval(value.months, value.days, value.nanoseconds, into)
            };
            written(array.as_primitive::<IntervalMonthDayNanoType>(), write)
        }
        D::List(_) | D::LargeList(_) | D::FixedSizeList(..) | D::ListView(_) | D::LargeListView(_) => {
            lists(array, failing)?
        }
        D::Map(..) => maps(array, failing)?,
        D::Struct(_) => rows(array, failing)?,
        _ => as_views(array)?,
    })
}

/// Makes a text of each value. `write` says whether there is one.
fn written<T: ArrowPrimitiveType>(
    values: &PrimitiveArray<T>,
    write: impl Fn(T::Native, &mut String) -> bool,
) -> StringViewArray {
    let mut made = StringViewBuilder::with_capacity(values.len());
    let mut text = String::new();
    for value in values {
        text.clear();
        match value.map(|value| write(value, &mut text)) {
            Some(true) => made.append_value(&text),
            _ => made.append_null(),
        }
    }
    made.finish()
}

/// Appends bytes, which must be ASCII.
fn of_bytes(into: &mut String, write: impl FnOnce(&mut Vec<u8>)) -> bool {
    let mut bytes = std::mem::take(into).into_bytes();
    write(&mut bytes);
    String::from_utf8(bytes).map(|text| *into = text).is_ok()
}

/// Writes as Java does: `12.5`, `1.0E7`, `1.0E-4`, with the shortest digits that identify the number.
fn write_float<F: std::fmt::LowerExp + Into<f64> + Copy>(value: F, into: &mut String) -> bool {
    let double: f64 = value.into();
    if !double.is_finite() {
        into.push_str(match () {
            () if double.is_nan() => "NaN",
            () if double > 0.0 => "Infinity",
            () => "-Infinity",
        });
        return true;
    }
    let mut short = super::number::ShortText::default();
    if write!(short, "{value:e}").is_err() {
        return false;
    }
    let text = short.as_str();
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let Some((mantissa, exponent)) = text.split_once('e') else { return false };
    let Ok(exponent) = exponent.parse::<i32>() else { return false };
    let digits: String = mantissa.chars().filter(|digit| *digit != '.').collect();
    if negative {
        into.push('-');
    }
    let fraction_or_zero = |fraction: &str| if fraction.is_empty() { "0".to_owned() } else { fraction.to_owned() };
    match exponent {
        0..=6 => {
            let places = usize::try_from(exponent).unwrap_or(0) + 1;
            let (whole, fraction) = digits.split_at(places.min(digits.len()));
            let zeros = "0".repeat(places - whole.len());
            write!(into, "{whole}{zeros}.{}", fraction_or_zero(fraction)).is_ok()
        }
        // Zero is not here: its exponent is 0.
        -3..=-1 => {
            let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
            write!(into, "0.{zeros}{digits}").is_ok()
        }
        _ => {
            let (whole, fraction) = digits.split_at(1);
            write!(into, "{whole}.{}E{exponent}", fraction_or_zero(fraction)).is_ok()
        }
    }
}

/// Writes all digits of the scale.
fn write_decimal(value: i128, scale: usize, into: &mut String) -> bool {
    let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    let point = if scale == 0 { "" } else { "." };
    write!(into, "{sign}{whole}{point}{fraction}").is_ok()
}

/// Writes nanoseconds of a day, without trailing zeros in a second's fraction.
fn write_time(nanos: i64, into: &mut String) -> bool {
    let written = of_bytes(into, |bytes| moment::write_time(nanos, TimeUnit::Nanosecond, bytes));
    into.truncate(into.trim_end_matches('0').trim_end_matches('.').len().max("00:00:00".len()));
    written
}

/// Writes years and months as `+1-02`, and days and less as `+3 04:05:06.789`.
fn write_interval(months: i32, days: i32, nanos: i64, into: &mut String) -> bool {
    const NANOS_PER_DAY: i128 = 86_400_000_000_000;
    let sign = |negative: bool| if negative { '-' } else { '+' };
    if months != 0 && days == 0 && nanos == 0 {
        let all = months.unsigned_abs();
        return write!(into, "{}{}-{:02}", sign(months < 0), all / 12, all % 12).is_ok();
    }
    if months != 0 {
        // Flink has no interval with both.
        return write!(into, "{}{} months ", sign(months < 0), months.unsigned_abs()).is_ok()
            && write_interval(0, days, nanos, into);
    }
    let all = i128::from(days) * NANOS_PER_DAY + i128::from(nanos);
    let millis = all.unsigned_abs() / 1_000_000;
    let (day, of_day) = (millis / 86_400_000, millis % 86_400_000);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1_000 % 60);
    write!(into, "{}{day} {hour:02}:{minute:02}:{second:02}.{:03}", sign(all < 0), of_day % 1_000).is_ok()
}

/// Takes bytes that are UTF-8 as texts.
fn utf8(array: &ArrayRef, failing: Failing) -> Result<StringViewArray, CastError> {
    let bytes = by_arrow(array, &DataType::Binary, failing)?;
    let mut made = StringViewBuilder::with_capacity(array.len());
    for (row, bytes) in bytes.as_binary::<i32>().iter().enumerate() {
        match bytes.map(std::str::from_utf8) {
            Some(Ok(text)) => made.append_value(text),
            Some(Err(_)) if failing == Failing::Error => {
                let (from, to) =
                    (crate::names::sql_type(array.data_type()), crate::names::sql_type(&DataType::Utf8View));
                let shown = bytes.unwrap_or_default().iter().take(super::SHOWN / 2);
                let value = shown.fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
                return Err(CastError { row, value, from, to, reason: "they are not UTF-8" });
            }
            _ => made.append_null(),
        }
    }
    Ok(made.finish())
}

/// `[1, 2]`
fn lists(array: &ArrayRef, failing: Failing) -> Result<StringViewArray, CastError> {
    let item = match array.data_type() {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => item.clone(),
        _ => return as_views(array),
    };
    let Ok(lists) = arrow_cast(array, &DataType::List(item)) else { return as_views(array) };
    let lists = lists.as_list::<i32>();
    let values = texts(lists.values(), failing)?;
    Ok(joined(array, ["[", "]"], |row, into| {
        for (nth, at) in range(lists.value_offsets(), row).enumerate() {
            push(into, nth, text_at(&values, at));
        }
    }))
}

/// `{a=1, b=2}`
fn maps(array: &ArrayRef, failing: Failing) -> Result<StringViewArray, CastError> {
    let maps = array.as_map();
    let (keys, values) = (texts(maps.keys(), failing)?, texts(maps.values(), failing)?);
    Ok(joined(array, ["{", "}"], |row, into| {
        for (nth, at) in range(maps.value_offsets(), row).enumerate() {
            push(into, nth, text_at(&keys, at));
            into.push('=');
            into.push_str(text_at(&values, at));
        }
    }))
}

/// `(1, a)`
fn rows(array: &ArrayRef, failing: Failing) -> Result<StringViewArray, CastError> {
    let columns = array.as_struct().columns().iter().map(|column| texts(column, failing));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok(joined(array, ["(", ")"], |row, into| {
        for (nth, column) in columns.iter().enumerate() {
            push(into, nth, text_at(column, row));
        }
    }))
}

fn joined(array: &ArrayRef, brackets: [&str; 2], write: impl Fn(usize, &mut String)) -> StringViewArray {
    let mut made = StringViewBuilder::with_capacity(array.len());
    let mut text = String::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            made.append_null();
            continue;
        }
        text.clear();
        text.push_str(brackets[0]);
        write(row, &mut text);
        text.push_str(brackets[1]);
        made.append_value(&text);
    }
    made.finish()
}

fn push(into: &mut String, nth: usize, text: &str) {
    if nth > 0 {
        into.push_str(", ");
    }
    into.push_str(text);
}

fn text_at(texts: &StringViewArray, at: usize) -> &str {
    if texts.is_null(at) { "NULL" } else { texts.value(at) }
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    let at = |index: usize| offsets.get(index).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
    at(row)..at(row + 1)
}
