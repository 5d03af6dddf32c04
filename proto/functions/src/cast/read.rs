//! Casts of texts: how a text is parsed as a value of a type.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, PrimitiveArray, StringViewArray},
    datatypes::{
        ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
        Int32Type, Int64Type, Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};

use super::{
    CastError, Failing, by_arrow,
    range::{OUT_OF_RANGE, fits},
};
use crate::moment::{self, TimestampReader};

type Reading<T> = Result<T, &'static str>;

/// Parses texts. `array` is what they were made from, for errors.
pub(super) fn convert(
    array: &ArrayRef,
    texts: &StringViewArray,
    to: &DataType,
    failing: Failing,
) -> Result<ArrayRef, CastError> {
    let source = Source { array, texts, to, failing };
    match to {
        DataType::Boolean => source.booleans(),
        DataType::Int8 => source.read::<Int8Type>(read_integer),
        DataType::Int16 => source.read::<Int16Type>(read_integer),
        DataType::Int32 => source.read::<Int32Type>(read_integer),
        DataType::Int64 => source.read::<Int64Type>(read_integer),
        DataType::UInt8 => source.read::<UInt8Type>(read_integer),
        DataType::UInt16 => source.read::<UInt16Type>(read_integer),
        DataType::UInt32 => source.read::<UInt32Type>(read_integer),
        DataType::UInt64 => source.read::<UInt64Type>(read_integer),
        DataType::Float32 => {
            source.read::<Float32Type>(|text| read_float(text, f32::is_infinite, f32::NAN, f32::INFINITY))
        }
        DataType::Float64 => {
            source.read::<Float64Type>(|text| read_float(text, f64::is_infinite, f64::NAN, f64::INFINITY))
        }
        DataType::Decimal128(precision, scale) => {
            source.read::<Decimal128Type>(|text| read_decimal(text, *precision, *scale))
        }
        DataType::Date32 => source.read::<Date32Type>(|text| moment::read_date(text).ok_or("it is not a date")),
        DataType::Time64(TimeUnit::Nanosecond) => {
            source.read::<Time64NanosecondType>(|text| moment::read_time(text).ok_or("it is not a time of day"))
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            let nanos = convert(array, texts, &DataType::Time64(TimeUnit::Nanosecond), failing)?;
            by_arrow(&nanos, to, failing)
        }
        DataType::Timestamp(TimeUnit::Second, _) => source.timestamps::<TimestampSecondType>(TimeUnit::Second),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            source.timestamps::<TimestampMillisecondType>(TimeUnit::Millisecond)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            source.timestamps::<TimestampMicrosecondType>(TimeUnit::Microsecond)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            source.timestamps::<TimestampNanosecondType>(TimeUnit::Nanosecond)
        }
        _ => by_arrow(array, to, failing),
    }
}

/// Texts to be parsed as one type.
struct Source<'a> {
    array: &'a ArrayRef,
    texts: &'a StringViewArray,
    to: &'a DataType,
    failing: Failing,
}

impl Source<'_> {
    fn values<T>(&self, mut read: impl FnMut(&str) -> Reading<T>) -> Result<Vec<Option<T>>, CastError> {
        let mut values = Vec::with_capacity(self.texts.len());
        for (row, text) in self.texts.iter().enumerate() {
            values.push(match text.map(|text| read(trimmed(text))) {
                None => None,
                Some(Ok(value)) => Some(value),
                Some(Err(_)) if self.failing == Failing::Null => None,
                Some(Err(reason)) => return Err(CastError::at(self.array, row, self.to, reason)),
            });
        }
        Ok(values)
    }

    fn read<T: ArrowPrimitiveType>(&self, read: impl FnMut(&str) -> Reading<T::Native>) -> Result<ArrayRef, CastError> {
        let values: PrimitiveArray<T> = self.values(read)?.into_iter().collect();
        Ok(Arc::new(values.with_data_type(self.to.clone())))
    }

    fn booleans(&self) -> Result<ArrayRef, CastError> {
        let values: BooleanArray = self.values(read_boolean)?.into_iter().collect();
        Ok(Arc::new(values))
    }

    fn timestamps<T: ArrowPrimitiveType<Native = i64>>(&self, unit: TimeUnit) -> Result<ArrayRef, CastError> {
        let mut reader = TimestampReader::default();
        self.read::<T>(|text| {
            let moment = reader.read(text.as_bytes()).or_else(|| moment::read_timestamp(text));
            moment.ok_or("it is not a timestamp")?.in_unit(unit).ok_or(OUT_OF_RANGE)
        })
    }
}

pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches(|letter: char| letter.is_ascii_whitespace())
}

fn read_boolean(text: &str) -> Reading<bool> {
    let is_one_of = |words: [&str; 5]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match () {
        () if is_one_of(["true", "t", "yes", "y", "1"]) => Ok(true),
        () if is_one_of(["false", "f", "no", "n", "0"]) => Ok(false),
        () => Err("it is neither TRUE nor FALSE"),
    }
}

/// Parses a sign and digits. Those after a point are cut off.
fn read_integer<T: TryFrom<i128>>(text: &str) -> Reading<T> {
    const WRONG: &str = "it is not an integer";
    let (negative, digits) = signed(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return Err(WRONG);
    }
    let push = |value: i128, byte: u8| value.saturating_mul(10).saturating_add(i128::from(byte - b'0'));
    let value = whole.bytes().fold(0, push);
    T::try_from(if negative { -value } else { value }).map_err(|_| OUT_OF_RANGE)
}

fn signed(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn read_float<F>(text: &str, is_infinite: impl Fn(F) -> bool, nan: F, infinity: F) -> Reading<F>
where
    F: std::str::FromStr + std::ops::Neg<Output = F> + Copy,
{
    const WRONG: &str = "it is not a number";
    let (negative, rest) = signed(text);
    match rest {
        "NaN" => return Ok(nan),
        "Infinity" => return Ok(if negative { -infinity } else { infinity }),
        // Names that Rust's parser knows and SQL does not.
        _ if !rest.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.') => return Err(WRONG),
        _ => {}
    }
    let value = text.parse().map_err(|_| WRONG)?;
    if is_infinite(value) { Err(OUT_OF_RANGE) } else { Ok(value) }
}

/// Parses a sign, digits, a point and an exponent, and rounds half up (away from zero).
pub(super) fn read_decimal(text: &str, precision: u8, scale: i8) -> Reading<i128> {
    const WRONG: &str = "it is not a number";
    let (negative, rest) = signed(text);
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, read_exponent(exponent).ok_or(WRONG)?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if whole.len() + fraction.len() == 0 || !digits().all(|byte| byte.is_ascii_digit()) {
        return Err(WRONG);
    }
    let count = i64::try_from(whole.len() + fraction.len()).map_err(|_| WRONG)?;
    let after_point = i64::try_from(fraction.len()).map_err(|_| WRONG)?;
    // The unscaled number is the digits times ten to this power.
    let shift = exponent - after_point + i64::from(scale);
    let kept = usize::try_from((count + shift.min(0)).max(0)).map_err(|_| WRONG)?;
    let mut value: i128 = 0;
    for digit in digits().take(kept) {
        value =
            value.checked_mul(10).and_then(|value| value.checked_add(i128::from(digit - b'0'))).ok_or(OUT_OF_RANGE)?;
    }
    if shift < 0 {
        let dropped = count + shift >= 0 && digits().nth(kept).is_some_and(|digit| digit >= b'5');
        value += i128::from(dropped);
    } else if value != 0 {
        let power = u32::try_from(shift).ok().and_then(|shift| 10i128.checked_pow(shift)).ok_or(OUT_OF_RANGE)?;
        value = value.checked_mul(power).ok_or(OUT_OF_RANGE)?;
    }
    let value = if negative { -value } else { value };
    if fits(value, precision) { Ok(value) } else { Err(OUT_OF_RANGE) }
}

/// Parses an exponent. One beyond all numbers is capped.
fn read_exponent(text: &str) -> Option<i64> {
    const FAR: i64 = 1_000_000;
    let (negative, digits) = signed(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value = digits.bytes().fold(0, |value: i64, byte| (value * 10 + i64::from(byte - b'0')).min(FAR));
    Some(if negative { -value } else { value })
}
