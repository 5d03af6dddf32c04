//! Dates and times as text, parsed and written: in files, requests and casts. By the proleptic Gregorian calendar,
//! without leap seconds.
//!
//! The forms that are parsed: `2026-01-01 00:00:00.123`, `2026-01-01T00:00:00.123Z`, with an offset such as `+02:00` or
//! without, with fewer parts (`2026-01-01`, `2026-01-01 00:00`). Casts also take parts of one digit (`2026-1-1
//! 9:30:00`). Digits beyond the column's unit are cut off, which rounds down.

use arrow::datatypes::TimeUnit;

const SECONDS_PER_DAY: i64 = 86_400;
const NANOS_PER_SECOND: u32 = 1_000_000_000;
/// The bytes of year, month, day, hour and minute, which consecutive records mostly share.
const PREFIX_BYTES: usize = 16;

/// A moment: seconds since the Unix epoch, and nanoseconds after that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since the Unix epoch, rounded down.
    pub seconds: i64,
    /// Nanoseconds after that second, below a second.
    pub nanos: u32,
}

impl Moment {
    /// The moment of a timestamp's text; of a date alone, its midnight. `None` if the text is neither.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim_matches(|letter: char| letter.is_ascii_whitespace());
        parse(text.as_bytes()).or_else(|| read_timestamp(text))
    }

    /// The moment of a text that stands beside a date: of a date, also of one like `2026`, its midnight.
    #[must_use]
    pub fn read_beside_dates(text: &str) -> Option<Self> {
        let midnight = |day: i32| Self { seconds: i64::from(day) * SECONDS_PER_DAY, nanos: 0 };
        let trimmed = text.trim_matches(|letter: char| letter.is_ascii_whitespace());
        Self::read(text).or_else(|| read_date(trimmed).map(midnight))
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub fn in_nanos(self) -> i128 {
        i128::from(self.seconds) * i128::from(NANOS_PER_SECOND) + i128::from(self.nanos)
    }

    /// The moment in units of a column; `None` if it is too far away.
    #[must_use]
    pub fn in_unit(self, unit: TimeUnit) -> Option<i64> {
        let per_second = units_per_second(unit);
        let nanos_per_unit = i64::from(NANOS_PER_SECOND) / per_second;
        // In 128 bits: the seconds of an early moment may not fit although the sum does.
        let whole = i128::from(self.seconds) * i128::from(per_second);
        i64::try_from(whole + i128::from(i64::from(self.nanos) / nanos_per_unit)).ok()
    }

    /// The moment of a value in units of a column.
    #[must_use]
    pub fn from_unit(value: i64, unit: TimeUnit) -> Self {
        let per_second = units_per_second(unit);
        let nanos_per_unit = i64::from(NANOS_PER_SECOND) / per_second;
        let nanos = u32::try_from(value.rem_euclid(per_second) * nanos_per_unit).expect("below a second");
        Self { seconds: value.div_euclid(per_second), nanos }
    }
}

fn units_per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// How many digits of a second's fraction a unit has.
#[must_use]
pub fn fraction_digits(unit: TimeUnit) -> usize {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// Parses timestamps. Remembers the last minute, because records of one time come together.
#[derive(Debug)]
pub struct TimestampReader {
    prefix: [u8; PREFIX_BYTES],
    seconds: i64,
}

impl Default for TimestampReader {
    fn default() -> Self {
        Self { prefix: *b"1970-01-01 00:00", seconds: 0 }
    }
}

impl TimestampReader {
    /// The moment of a text; `None` if it is no timestamp.
    #[inline]
    #[must_use]
    pub fn read(&mut self, text: &[u8]) -> Option<Moment> {
        let Some((prefix, rest)) = text.split_first_chunk::<PREFIX_BYTES>() else { return parse(text) };
        if *prefix != self.prefix {
            return self.read_new(text);
        }
        let (second, rest) = seconds(rest)?;
        let (nanos, rest) = fraction(rest)?;
        Some(Moment { seconds: self.seconds + second - offset(rest)?, nanos })
    }

    fn read_new(&mut self, text: &[u8]) -> Option<Moment> {
        let moment = parse(text)?;
        let (prefix, _) = text.split_first_chunk::<PREFIX_BYTES>()?;
        let (days, rest) = date(prefix)?;
        if let Some((minutes, [])) = rest.split_first().and_then(|(_, rest)| hours_and_minutes(rest)) {
            self.prefix = *prefix;
            self.seconds = days * SECONDS_PER_DAY + minutes * 60;
        }
        Some(moment)
    }
}

/// The moment of a text; `None` if it is no timestamp.
#[must_use]
pub fn parse(text: &[u8]) -> Option<Moment> {
    let (days, rest) = date(text)?;
    let midnight = days * SECONDS_PER_DAY;
    let rest = match rest {
        [] => return Some(Moment { seconds: midnight, nanos: 0 }),
        [b' ' | b'T' | b't', rest @ ..] => rest,
        _ => return None,
    };
    let (minutes, rest) = hours_and_minutes(rest)?;
    let (second, rest) = seconds(rest)?;
    let (nanos, rest) = fraction(rest)?;
    Some(Moment { seconds: midnight + minutes * 60 + second - offset(rest)?, nanos })
}

/// Days since the Unix epoch of a date such as `2026-01-01`.
#[must_use]
pub fn parse_date(text: &[u8]) -> Option<i32> {
    match date(text)? {
        (days, []) => i32::try_from(days).ok(),
        _ => None,
    }
}

/// Nanoseconds since midnight of a time such as `12:34`, `12:34:56` or `12:34:56.789`.
#[must_use]
pub fn parse_time(text: &[u8]) -> Option<i64> {
    let (minutes, rest) = hours_and_minutes(text)?;
    let (second, rest) = seconds(rest)?;
    let (nanos, rest) = fraction(rest)?;
    rest.is_empty().then(|| (minutes * 60 + second) * i64::from(NANOS_PER_SECOND) + i64::from(nanos))
}

/// The moment of a text in a cast, where parts other than the year may have one digit.
#[must_use]
pub fn read_timestamp(text: &str) -> Option<Moment> {
    let (days, rest) = loose_date(text.as_bytes(), 4)?;
    let midnight = days * SECONDS_PER_DAY;
    let rest = match rest {
        [] => return Some(Moment { seconds: midnight, nanos: 0 }),
        [b' ' | b'T' | b't', rest @ ..] if rest.contains(&b':') => rest,
        _ => return None,
    };
    let (second, nanos, rest) = loose_clock(rest)?;
    Some(Moment { seconds: midnight + second - offset(rest)?, nanos })
}

/// Days since the Unix epoch of a text in a cast: `2026-1-1`, `2026-1`, `2026`, or a timestamp.
#[must_use]
pub fn read_date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    let days = match loose_date(bytes, 1) {
        Some((days, [])) => days,
        Some((days, _)) => read_timestamp(text).map(|_| days)?,
        None => {
            let (year, rest) = year(bytes, 1)?;
            let (month, rest) = if rest.is_empty() { (1, rest) } else { one_or_two_digits(rest.strip_prefix(b"-")?)? };
            rest.is_empty().then(|| days_of(year, month, 1)).flatten()?
        }
    };
    i32::try_from(days).ok()
}

/// Nanoseconds since midnight of a text in a cast: `9`, `9:30`, `09:30:00.123`.
#[must_use]
pub fn read_time(text: &str) -> Option<i64> {
    let (second, nanos, rest) = loose_clock(text.as_bytes())?;
    rest.is_empty().then(|| second * i64::from(NANOS_PER_SECOND) + i64::from(nanos))
}

fn loose_date(text: &[u8], digits_of_year: usize) -> Option<(i64, &[u8])> {
    let (year, rest) = year(text, digits_of_year)?;
    let (month, rest) = one_or_two_digits(rest.strip_prefix(b"-")?)?;
    let (day, rest) = one_or_two_digits(rest.strip_prefix(b"-")?)?;
    Some((days_of(year, month, day)?, rest))
}

/// Parses a time of day to seconds and nanoseconds.
fn loose_clock(text: &[u8]) -> Option<(i64, u32, &[u8])> {
    let (hour, mut rest) = one_or_two_digits(text)?;
    let (mut minute, mut second, mut nanos) = (0, 0, 0);
    if let Some(after) = rest.strip_prefix(b":") {
        (minute, rest) = one_or_two_digits(after)?;
        if let Some(after) = rest.strip_prefix(b":") {
            (second, rest) = one_or_two_digits(after)?;
            (nanos, rest) = fraction(rest)?;
        }
    }
    (hour < 24 && minute < 60 && second < 60).then_some((hour * 3600 + minute * 60 + second, nanos, rest))
}

fn one_or_two_digits(text: &[u8]) -> Option<(i64, &[u8])> {
    two_digits(text).or_else(|| match text {
        [digit @ b'0'..=b'9', rest @ ..] => Some((i64::from(digit - b'0'), rest)),
        _ => None,
    })
}

fn two_digits(text: &[u8]) -> Option<(i64, &[u8])> {
    match text {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..] => {
            Some((i64::from(tens - b'0') * 10 + i64::from(ones - b'0'), rest))
        }
        _ => None,
    }
}

/// Parses a year of `digits_min` to four digits. With a sign it may have up to six, for years outside of 0000 to 9999.
fn year(text: &[u8], digits_min: usize) -> Option<(i64, &[u8])> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let signed = unsigned.len() < text.len();
    let count = unsigned.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !((digits_min..=4).contains(&count) || signed && (4..=6).contains(&count)) {
        return None;
    }
    let (digits, rest) = unsigned.split_at(count);
    let value = digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some((if negative { -value } else { value }, rest))
}

fn date(text: &[u8]) -> Option<(i64, &[u8])> {
    let (year, rest) = year(text, 4)?;
    let (month, rest) = two_digits(rest.strip_prefix(b"-")?)?;
    let (day, rest) = two_digits(rest.strip_prefix(b"-")?)?;
    Some((days_of(year, month, day)?, rest))
}

/// Days since the Unix epoch of a date; `None` if there is no such date.
fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=days_in_month).contains(&day).then(|| days_from_civil(year, month, day))
}

fn hours_and_minutes(text: &[u8]) -> Option<(i64, &[u8])> {
    let (hour, rest) = two_digits(text)?;
    let (minute, rest) = two_digits(rest.strip_prefix(b":")?)?;
    (hour < 24 && minute < 60).then_some((hour * 60 + minute, rest))
}

fn seconds(text: &[u8]) -> Option<(i64, &[u8])> {
    let [b':', rest @ ..] = text else { return Some((0, text)) };
    two_digits(rest).filter(|(second, _)| *second < 60)
}

fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let [b'.' | b',', digits @ ..] = text else { return Some((0, text)) };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let (digits, rest) = digits.split_at(count);
    let mut nanos = 0;
    let mut unit = NANOS_PER_SECOND / 10;
    for digit in digits {
        nanos += u32::from(digit - b'0') * unit;
        unit /= 10;
    }
    Some((nanos, rest))
}

/// Seconds east of UTC. A text without an offset is in UTC.
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = two_digits(rest)?;
    let minutes = match rest.strip_prefix(b":").unwrap_or(rest) {
        [] if rest.is_empty() => 0,
        digits => two_digits(digits).filter(|(_, rest)| rest.is_empty())?.0,
    };
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Days since the Unix epoch, counted in eras of 400 years that start in March (Howard Hinnant: chrono-Compatible
/// Low-Level Date Algorithms).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse, as (year, month, day).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_of_year = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_of_year + 2) / 5 + 1;
    let month = (month_of_year + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// The form in which timestamps are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampForm {
    /// `2026-01-01 00:00:00.123`
    Sql,
    /// `2026-01-01T00:00:00.123Z`
    Iso8601,
}

/// Writes a timestamp with all digits of its unit.
pub fn write(value: i64, unit: TimeUnit, form: TimestampForm, into: &mut Vec<u8>) {
    let moment = Moment::from_unit(value, unit);
    write_day(moment.seconds.div_euclid(SECONDS_PER_DAY), into);
    into.push(if form == TimestampForm::Sql { b' ' } else { b'T' });
    write_clock(moment.seconds.rem_euclid(SECONDS_PER_DAY), moment.nanos, unit, into);
    if form == TimestampForm::Iso8601 {
        into.push(b'Z');
    }
}

/// Writes a day since the Unix epoch as a date.
pub fn write_day(days: i64, into: &mut Vec<u8>) {
    use std::io::Write as _;
    let (year, month, day) = civil_from_days(days);
    if (0..=9999).contains(&year) {
        write_padded(year, 4, into);
    } else {
        write!(into, "{year:+05}").expect("writing to memory cannot fail");
    }
    into.push(b'-');
    write_padded(month, 2, into);
    into.push(b'-');
    write_padded(day, 2, into);
}

/// Writes a time of day, given in `unit`.
pub fn write_time(value: i64, unit: TimeUnit, into: &mut Vec<u8>) {
    let moment = Moment::from_unit(value, unit);
    write_clock(moment.seconds.rem_euclid(SECONDS_PER_DAY), moment.nanos, unit, into);
}

fn write_clock(second_of_day: i64, nanos: u32, unit: TimeUnit, into: &mut Vec<u8>) {
    write_padded(second_of_day / 3600, 2, into);
    into.push(b':');
    write_padded(second_of_day / 60 % 60, 2, into);
    into.push(b':');
    write_padded(second_of_day % 60, 2, into);
    let digits = fraction_digits(unit);
    if digits > 0 {
        into.push(b'.');
        let nanos_per_unit = i64::from(NANOS_PER_SECOND) / units_per_second(unit);
        write_padded(i64::from(nanos) / nanos_per_unit, digits, into);
    }
}

/// Writes exactly `digits` digits of a number from 0.
fn write_padded(value: i64, digits: usize, into: &mut Vec<u8>) {
    let start = into.len();
    into.resize(start + digits, b'0');
    let mut rest = value.unsigned_abs();
    for place in into.iter_mut().skip(start).rev() {
        *place += u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
    }
}
