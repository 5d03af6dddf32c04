//! Functions that convert between dates or times and texts or numbers, and between time zones.
//!
//! Times are rounded down, before 1970 too. A time that its type does not hold is an error, never another time.

use std::{str::FromStr, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Date32Array, Int64Array, TimestampMillisecondArray, timezone::Tz},
    compute::cast,
    datatypes::{DataType, Int64Type, TimeUnit},
};
use chrono::{LocalResult, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _};
use datafusion_common::{Result, exec_datafusion_err, exec_err};

use crate::{
    civil::{Moment, SECOND_NANOS},
    java_time::{Dialect, Pattern},
    native::{
        Arguments, Constants, Gives,
        Kind::{Int, Text},
        Native, Takes, bigints, texts, these, up_to,
    },
};

pub(crate) const FUNCTIONS: &[Native] = &[
    Native::new("date_format", "DATE_FORMAT(time, pattern)", Takes::By(of_format), Gives::Text, date_format)
        .checked(check_format),
    Native::new(
        "to_timestamp",
        "TO_TIMESTAMP(text [, pattern])",
        up_to(&[Text, Text], 1),
        Gives::By(|_| TIMESTAMP),
        to_timestamp,
    )
    .checked(check_format),
    Native::new(
        "to_date",
        "TO_DATE(text [, pattern])",
        up_to(&[Text, Text], 1),
        Gives::By(|_| DataType::Date32),
        to_date,
    )
    .checked(check_simple),
    Native::new(
        "to_timestamp_ltz",
        "TO_TIMESTAMP_LTZ(number [, 0 or 3]) or TO_TIMESTAMP_LTZ(text [, pattern [, zone]])",
        Takes::By(of_ltz),
        Gives::By(|_| local()),
        to_timestamp_ltz,
    )
    .checked(check_ltz),
    Native::new(
        "unix_timestamp",
        "UNIX_TIMESTAMP(text [, pattern])",
        up_to(&[Text, Text], 1),
        Gives::BigInt,
        unix_timestamp,
    )
    .checked(check_simple),
    Native::new(
        "from_unixtime",
        "FROM_UNIXTIME(seconds [, pattern])",
        up_to(&[Int, Text], 1),
        Gives::Text,
        from_unixtime,
    )
    .checked(check_simple),
    Native::new(
        "to_timestamp_seconds",
        "TO_TIMESTAMP_SECONDS(number)",
        these(&[Int]),
        Gives::By(|_| TIMESTAMP),
        of_seconds,
    ),
    Native::new(
        "to_timestamp_millis",
        "TO_TIMESTAMP_MILLIS(number)",
        these(&[Int]),
        Gives::By(|_| TIMESTAMP),
        of_millis,
    ),
    Native::new("to_timestamp_micros", "TO_TIMESTAMP_MICROS(number)", these(&[Int]), Gives::By(|_| MICROS), of_micros),
    Native::new("to_timestamp_nanos", "TO_TIMESTAMP_NANOS(number)", these(&[Int]), Gives::By(|_| NANOS), of_nanos),
    Native::new(
        "convert_tz",
        "CONVERT_TZ(text, from zone, to zone)",
        these(&[Text, Text, Text]),
        Gives::Text,
        convert_tz,
    )
    .checked(check_zones),
];

const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);
const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
const NANOS: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);
/// The pattern for times where none is given, as in Flink.
const DEFAULT: &str = "yyyy-MM-dd HH:mm:ss";

fn local() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// The ticks of a second.
pub(crate) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => SECOND_NANOS,
    }
}

/// The dates or times of one argument.
pub(crate) struct Moments {
    ticks: Int64Array,
    data_type: DataType,
}

impl Moments {
    pub(crate) fn of(arguments: &Arguments, at: usize) -> Result<Self> {
        let array = arguments.array(at)?;
        let data_type = array.data_type().clone();
        let days = if data_type == DataType::Date32 { cast(&array, &DataType::Int32)? } else { array };
        let ticks = cast(&days, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
        Ok(Self { ticks, data_type })
    }

    pub(crate) fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// The moment of a row. A time of day is taken as one of 1970-01-01.
    pub(crate) fn get(&self, row: usize) -> Option<Moment> {
        let ticks = self.ticks.is_valid(row).then(|| self.ticks.value(row))?;
        Some(match &self.data_type {
            DataType::Date32 => Moment { days: ticks, nanos: 0 },
            DataType::Timestamp(unit, _) => Moment::from_ticks(ticks, per_second(*unit)),
            _ => Moment { days: 0, nanos: ticks },
        })
    }
}

/// Makes an array of moments, of a type that `Moments` reads. A moment that does not fit is an error.
pub(crate) fn moments(
    rows: usize,
    data_type: &DataType,
    mut made: impl FnMut(usize) -> Result<Option<Moment>>,
) -> Result<ArrayRef> {
    let too_far = || exec_datafusion_err!("a time is beyond what its type holds");
    let ticks = |moment: Moment| match data_type {
        DataType::Date32 => i32::try_from(moment.days).map(i64::from).map_err(|_| too_far()),
        DataType::Timestamp(unit, _) => moment.to_ticks(per_second(*unit)).ok_or_else(too_far),
        _ => Ok(moment.nanos),
    };
    let ticks: Int64Array =
        (0..rows).map(|row| made(row).and_then(|moment| moment.map(ticks).transpose())).collect::<Result<_>>()?;
    let ticks: ArrayRef = Arc::new(ticks);
    Ok(match data_type {
        DataType::Date32 => {
            let days = ticks.as_primitive::<Int64Type>().iter();
            let days = days.map(|day| day.map(|day| i32::try_from(day).map_err(|_| too_far())).transpose());
            Arc::new(days.collect::<Result<Date32Array>>()?)
        }
        other => cast(&ticks, other)?,
    })
}

fn of_format(found: &[DataType]) -> Option<Vec<DataType>> {
    let [time, pattern] = found else { return None };
    let is_text =
        |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null);
    let time = match time {
        DataType::Date32 | DataType::Timestamp(_, _) => time.clone(),
        DataType::Null => TIMESTAMP,
        text if is_text(text) => DataType::Utf8View,
        _ => return None,
    };
    is_text(pattern).then(|| vec![time, DataType::Utf8View])
}

fn check_format(constants: &Constants) -> std::result::Result<(), String> {
    constants.text(1).map_or(Ok(()), |pattern| Pattern::read(pattern, Dialect::Formatter).map(|_| ()))
}

fn check_simple(constants: &Constants) -> std::result::Result<(), String> {
    constants.text(1).map_or(Ok(()), |pattern| Pattern::read(pattern, Dialect::Simple).map(|_| ()))
}

/// The patterns of an argument. The last one is kept parsed, because nearly always all rows have the same.
struct Patterns {
    texts: Option<crate::native::Texts>,
    otherwise: &'static str,
    dialect: Dialect,
    last: Option<(String, Pattern)>,
}

impl Patterns {
    /// The patterns of an argument, or the default if that is missing.
    fn of(arguments: &Arguments, at: usize, otherwise: &'static str, dialect: Dialect) -> Result<Self> {
        let texts = (arguments.len() > at).then(|| arguments.texts(at)).transpose()?;
        Ok(Self { texts, otherwise, dialect, last: None })
    }

    fn get(&mut self, row: usize) -> Result<Option<&Pattern>> {
        let text = match &self.texts {
            None => self.otherwise,
            Some(texts) => match texts.get(row) {
                Some(text) => text,
                None => return Ok(None),
            },
        };
        let kept = self.last.take().filter(|(last, _)| last == text);
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let pattern = Pattern::read(text, self.dialect).map_err(|reason| exec_datafusion_err!("{reason}"))?;
                (text.to_owned(), pattern)
            }
        };
        Ok(Some(&self.last.insert(kept).1))
    }
}

/// A text is parsed as a timestamp first, and gives NULL if it is none.
fn date_format(arguments: &Arguments) -> Result<ArrayRef> {
    let mut patterns = Patterns::of(arguments, 1, DEFAULT, Dialect::Formatter)?;
    let from_texts = arguments.texts(0).ok();
    let times = if from_texts.is_some() { None } else { Some(Moments::of(arguments, 0)?) };
    let time_of = |row: usize| match (&from_texts, &times) {
        (Some(texts), _) => texts.get(row).and_then(default_timestamp),
        (None, Some(times)) => times.get(row),
        (None, None) => None,
    };
    texts(arguments.rows, |row| {
        let (Some(pattern), Some(time)) = (patterns.get(row)?, time_of(row)) else { return Ok(None) };
        let mut made = String::new();
        pattern.write(time, &mut made);
        Ok(Some(made))
    })
}

/// Parses `2026-1-2`, `2026-01-02 03:04:05` or `2026-01-02 03:04:05.678`. Parts other than the year may have one digit.
fn default_timestamp(text: &str) -> Option<Moment> {
    let (date, time) = text.split_once(' ').map_or((text, None), |(date, time)| (date, Some(time)));
    let mut parts = date.split('-');
    let year = parts.next().filter(|year| year.len() == 4)?;
    let (year, month, day) = (digits(year, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let valid = parts.next().is_none() && (1..=12).contains(&month);
    let day = (valid && (1..=31).contains(&day)).then(|| day.min(crate::civil::days_of_month(year, month)))?;
    let days = crate::civil::Date { year, month, day }.to_days()?;
    Some(Moment { days, nanos: time.map_or(Some(0), time_of_day)? })
}

fn time_of_day(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':');
    let (hour, minute, second) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 || fraction.len() > 9 {
        return None;
    }
    let nanos: i64 = match fraction {
        "" => 0,
        fraction => {
            digits(fraction, 9)?;
            format!("{fraction:0<9}").parse().ok()?
        }
    };
    Some((hour * 3600 + minute * 60 + second) * SECOND_NANOS + nanos)
}

fn digits(text: &str, most: usize) -> Option<i64> {
    let fits = !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// Parses as `to_timestamp` does. A text that does not follow the pattern may still be a timestamp in the default form.
fn read_timestamp(pattern: Option<&Pattern>, text: &str) -> Option<Moment> {
    match pattern {
        None => default_timestamp(text),
        Some(pattern) => pattern.parse(text, false).or_else(|| default_timestamp(text.trim())),
    }
}

/// NULL if a text cannot be parsed.
fn to_timestamp(arguments: &Arguments) -> Result<ArrayRef> {
    let wholes = arguments.texts(0)?;
    let mut patterns = Patterns::of(arguments, 1, DEFAULT, Dialect::Formatter)?;
    let has_pattern = arguments.len() > 1;
    moments(arguments.rows, &TIMESTAMP, |row| {
        let (Some(pattern), Some(whole)) = (patterns.get(row)?, wholes.get(row)) else { return Ok(None) };
        Ok(read_timestamp(has_pattern.then_some(pattern), whole))
    })
}

/// Without a pattern, what follows a space is taken for a time of day, and dropped. NULL if a text cannot be parsed.
fn to_date(arguments: &Arguments) -> Result<ArrayRef> {
    let wholes = arguments.texts(0)?;
    let mut patterns = Patterns::of(arguments, 1, "yyyy-MM-dd", Dialect::Simple)?;
    let has_pattern = arguments.len() > 1;
    moments(arguments.rows, &DataType::Date32, |row| {
        let (Some(pattern), Some(whole)) = (patterns.get(row)?, wholes.get(row)) else { return Ok(None) };
        Ok(match has_pattern {
            true => pattern.parse(whole, true),
            false => default_date(whole),
        })
    })
}

/// Parses `2026-01-02`, `2026-1` or `2026`. Missing parts are 1.
fn default_date(text: &str) -> Option<Moment> {
    let date = text.split_once(' ').map_or(text, |(date, _)| date);
    let mut parts = date.split('-').map(str::trim);
    let year = digits(parts.next()?, 5)?;
    let mut part = || parts.next().map_or(Some(1), |part| digits(part, 2));
    let (month, day) = (part()?, part()?);
    let valid = parts.next().is_none() && (1..=12).contains(&month) && day >= 1;
    let valid = valid && day <= crate::civil::days_of_month(year, month);
    let days = valid.then(|| crate::civil::Date { year, month, day }.to_days()).flatten()?;
    Some(Moment { days, nanos: 0 })
}

fn of_ltz(found: &[DataType]) -> Option<Vec<DataType>> {
    let is_text =
        |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null);
    match found {
        [] => None,
        [number] if number.is_numeric() => {
            Some(vec![if number.is_integer() { DataType::Int64 } else { DataType::Float64 }])
        }
        [number, precision] if number.is_numeric() && (precision.is_integer() || *precision == DataType::Null) => {
            Some(vec![if number.is_integer() { DataType::Int64 } else { DataType::Float64 }, DataType::Int64])
        }
        texts => (texts.len() <= 3 && texts.iter().all(is_text)).then(|| vec![DataType::Utf8View; texts.len()]),
    }
}

fn check_ltz(constants: &Constants) -> std::result::Result<(), String> {
    if let Some(precision) = constants.int(1).filter(|precision| ![0, 3].contains(precision)) {
        return Err(format!("precision {precision}, expected 0 for seconds or 3 for milliseconds"));
    }
    check_format(constants)?;
    constants.text(2).map_or(Ok(()), |name| zone(name).map(|_| ()))
}

fn to_timestamp_ltz(arguments: &Arguments) -> Result<ArrayRef> {
    let wholes = match arguments.data_type(0)? {
        DataType::Utf8View => arguments.texts(0)?,
        _ => return from_unix_millis(arguments),
    };
    let mut patterns = Patterns::of(arguments, 1, DEFAULT, Dialect::Formatter)?;
    let zones = (arguments.len() > 2).then(|| arguments.texts(2)).transpose()?;
    let has_pattern = arguments.len() > 1;
    moments(arguments.rows, &local(), |row| {
        let (Some(pattern), Some(whole)) = (patterns.get(row)?, wholes.get(row)) else { return Ok(None) };
        let Some(moment) = read_timestamp(has_pattern.then_some(pattern), whole) else { return Ok(None) };
        match &zones {
            None => Ok(Some(moment)),
            Some(zones) => match zones.get(row) {
                None => Ok(None),
                Some(name) => Ok(zone(name).map_err(|reason| exec_datafusion_err!("{reason}"))?.to_utc(moment)),
            },
        }
    })
}

fn of_seconds(arguments: &Arguments) -> Result<ArrayRef> {
    of_ticks(arguments, 1)
}

fn of_millis(arguments: &Arguments) -> Result<ArrayRef> {
    of_ticks(arguments, 1_000)
}

fn of_micros(arguments: &Arguments) -> Result<ArrayRef> {
    of_ticks(arguments, 1_000_000)
}

fn of_nanos(arguments: &Arguments) -> Result<ArrayRef> {
    of_ticks(arguments, SECOND_NANOS)
}

/// Ticks since 1970, with `per_second` ticks in a second.
fn of_ticks(arguments: &Arguments, per_second: i64) -> Result<ArrayRef> {
    let ticks = arguments.ints(0)?;
    moments(arguments.rows, arguments.returns, |row| {
        Ok(ticks.get(row).map(|ticks| Moment::from_ticks(ticks, per_second)))
    })
}

/// NULL outside of the years 0 to 9999.
fn from_unix_millis(arguments: &Arguments) -> Result<ArrayRef> {
    let precisions = (arguments.len() > 1).then(|| arguments.ints(1)).transpose()?;
    let wholes = arguments.ints(0).ok();
    let doubles = if wholes.is_some() { None } else { Some(arguments.doubles(0)?) };
    let value = |row: usize| -> Result<Option<i64>> {
        let precision = match &precisions {
            None => 3,
            Some(precisions) => match precisions.get(row) {
                Some(precision) => precision,
                None => return Ok(None),
            },
        };
        let factor = match precision {
            0 => 1000,
            3 => 1,
            other => return exec_err!("TO_TIMESTAMP_LTZ: precision {other}, expected 0 or 3"),
        };
        let millis = match (&wholes, &doubles) {
            (Some(wholes), _) => wholes.get(row).and_then(|whole| whole.checked_mul(factor)),
            (None, Some(doubles)) => doubles.get(row).and_then(|double| whole_millis(double, factor)),
            (None, None) => None,
        };
        // 0000-01-01 00:00:00.000 to 9999-12-31 23:59:59.999
        Ok(millis.filter(|millis| (-62_167_219_200_000..=253_402_300_799_999).contains(millis)))
    };
    let millis = (0..arguments.rows).map(value).collect::<Result<TimestampMillisecondArray>>()?;
    Ok(Arc::new(millis.with_timezone("UTC")))
}

fn whole_millis(double: f64, factor: i64) -> Option<i64> {
    let millis = (double * if factor == 1 { 1.0 } else { 1000.0 }).floor();
    format!("{millis:.0}").parse().ok()
}

/// A text that cannot be parsed gives the least BIGINT, as in Flink.
fn unix_timestamp(arguments: &Arguments) -> Result<ArrayRef> {
    let wholes = arguments.texts(0)?;
    let mut patterns = Patterns::of(arguments, 1, DEFAULT, Dialect::Simple)?;
    bigints(arguments.rows, |row| {
        let (Some(pattern), Some(whole)) = (patterns.get(row)?, wholes.get(row)) else { return Ok(None) };
        let moment = pattern.parse(whole, true);
        Ok(Some(moment.and_then(|moment| moment.to_ticks(1)).unwrap_or(i64::MIN)))
    })
}

fn from_unixtime(arguments: &Arguments) -> Result<ArrayRef> {
    let seconds = arguments.ints(0)?;
    let mut patterns = Patterns::of(arguments, 1, DEFAULT, Dialect::Simple)?;
    texts(arguments.rows, |row| {
        let (Some(pattern), Some(seconds)) = (patterns.get(row)?, seconds.get(row)) else { return Ok(None) };
        let mut made = String::new();
        pattern.write(Moment::from_ticks(seconds, 1), &mut made);
        Ok(Some(made))
    })
}

/// A time zone, by name (`Europe/Berlin`), or by offset (`+02:00`, `GMT+2`).
pub(crate) struct Zone(Tz);

pub(crate) fn zone(name: &str) -> std::result::Result<Zone, String> {
    let plain =
        ["GMT", "UTC"].iter().find_map(|prefix| name.strip_prefix(prefix)).filter(|rest| rest.starts_with(['+', '-']));
    let padded = plain.map(|offset| {
        let (sign, rest) = offset.split_at(1);
        let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "00"));
        format!("{sign}{hours:0>2}:{minutes:0>2}")
    });
    let text = padded.as_deref().unwrap_or(name);
    Tz::from_str(text).map(Zone).map_err(|_| format!("unknown time zone '{name}'"))
}

impl Zone {
    /// The moment in UTC of a local one: of two the earlier. One that the clock skips is read by the offset before the
    /// change, as Java reads it: so it comes as much later as the clock was put forward.
    fn to_utc(&self, local: Moment) -> Option<Moment> {
        let naive = naive(local)?;
        let offset = match self.0.offset_from_local_datetime(&naive) {
            LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) => offset,
            // No clock has skipped more than a day.
            LocalResult::None => {
                let before = naive.checked_sub_signed(TimeDelta::days(1))?;
                self.0.offset_from_local_datetime(&before).earliest()?
            }
        };
        shifted(local, -i64::from(offset.fix().local_minus_utc()))
    }

    fn to_local(&self, utc: Moment) -> Option<Moment> {
        let offset = self.0.offset_from_utc_datetime(&naive(utc)?);
        shifted(utc, i64::from(offset.fix().local_minus_utc()))
    }
}

fn naive(moment: Moment) -> Option<NaiveDateTime> {
    let seconds = moment.to_ticks(1)?;
    chrono::DateTime::from_timestamp(seconds, 0).map(|time| time.naive_utc())
}

fn shifted(moment: Moment, seconds: i64) -> Option<Moment> {
    Moment::from_nanos(moment.to_nanos() + i128::from(seconds) * i128::from(SECOND_NANOS))
}

fn check_zones(constants: &Constants) -> std::result::Result<(), String> {
    [1, 2].iter().filter_map(|at| constants.text(*at)).try_for_each(|name| zone(name).map(|_| ()))
}

/// NULL if the text cannot be parsed.
fn convert_tz(arguments: &Arguments) -> Result<ArrayRef> {
    let (wholes, froms, tos) = (arguments.texts(0)?, arguments.texts(1)?, arguments.texts(2)?);
    let pattern = Pattern::read(DEFAULT, Dialect::Simple).map_err(|reason| exec_datafusion_err!("{reason}"))?;
    let zone = |name: &str| zone(name).map_err(|reason| exec_datafusion_err!("{reason}"));
    texts(arguments.rows, |row| {
        let (Some(whole), Some(from), Some(to)) = (wholes.get(row), froms.get(row), tos.get(row)) else {
            return Ok(None);
        };
        let (from, to) = (zone(from)?, zone(to)?);
        let moment = pattern.parse(whole, false).and_then(|local| from.to_utc(local));
        Ok(moment.and_then(|utc| to.to_local(utc)).map(|local| {
            let mut made = String::new();
            pattern.write(local, &mut made);
            made
        }))
    })
}
