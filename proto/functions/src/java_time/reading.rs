//! Parses texts by a pattern.

use super::{DAYS, Dialect, Field, Form, Item, MONTHS, Pattern, name, quarter};
use crate::civil::{DAY_NANOS, Date, Moment, SECOND_NANOS, days_of_month, iso_day_of_week};

/// The parts that a text names.
#[derive(Debug, Default, Clone)]
struct Found {
    before_christ: bool,
    year_of_era: Option<i64>,
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    day_of_week: Option<i64>,
    quarter: Option<i64>,
    afternoon: Option<bool>,
    hour: Option<i64>,
    half_day_hour: Option<i64>,
    minute: Option<i64>,
    second: Option<i64>,
    nanos: Option<i64>,
    nanos_of_day: Option<i64>,
    offset_seconds: Option<i64>,
}

impl Pattern {
    /// The moment of a text, in UTC if the text has an offset and `apply_offset` is set. `None` if the text does not
    /// follow the pattern to its end, or names no moment. Parts that are missing are those of 1970-01-01 00:00:00.
    pub(crate) fn parse(&self, text: &str, apply_offset: bool) -> Option<Moment> {
        let (rest, found) = self.parse_items(&self.items, text, Found::default())?;
        // `SimpleDateFormat` parses as far as it can, and ignores the rest.
        let ended = rest.is_empty() || self.dialect == Dialect::Simple;
        ended.then(|| found.moment(self.dialect, apply_offset)).flatten()
    }

    fn parse_items<'a>(&self, items: &[Item], text: &'a str, found: Found) -> Option<(&'a str, Found)> {
        let (mut rest, mut found, mut at) = (text, found, 0);
        while let Some(item) = items.get(at) {
            match item {
                Item::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Item::OptionalEnd => {}
                Item::OptionalStart => {
                    let end = closing(items, at);
                    // An optional part that does not match is left out.
                    if let Some((after, also)) = self.parse_items(&items[at + 1..end], rest, found.clone()) {
                        (rest, found) = (after, also);
                    }
                    at = end;
                }
                Item::Field { field, width } => {
                    let reserved = self.reserved(&items[at + 1..]);
                    rest = self.parse_field(*field, *width, reserved, rest, &mut found)?;
                }
            }
            at += 1;
        }
        Some((rest, found))
    }

    /// The digits that the number fields directly behind a number need, so that `yyyyMMdd` can be split; `None` if no
    /// number follows directly.
    fn reserved(&self, following: &[Item]) -> Option<usize> {
        let widths = following.iter().map_while(|item| match item {
            Item::Field { field: Field::Fraction, width } => Some(*width),
            Item::Field { field, width } if is_number(*field) => Some(*width),
            Item::Field { .. } | Item::Literal(_) | Item::OptionalStart | Item::OptionalEnd => None,
        });
        let widths: Vec<usize> = widths.collect();
        (!widths.is_empty()).then(|| widths.iter().sum())
    }

    fn parse_field<'a>(
        &self,
        field: Field,
        width: usize,
        reserved: Option<usize>,
        text: &'a str,
        found: &mut Found,
    ) -> Option<&'a str> {
        match field {
            Field::Era => {
                let names = [("Anno Domini", false), ("Before Christ", true), ("AD", false), ("BC", true)];
                let (rest, before) = names.iter().find_map(|(name, bc)| Some((text.strip_prefix(name)?, *bc)))?;
                found.before_christ = before;
                return Some(rest);
            }
            Field::MonthName(form) => {
                let (rest, month) = self.strip_name(&MONTHS, text, form)?;
                return set(&mut found.month, month, 1, 12).then_some(rest);
            }
            Field::DayName(form) => {
                let (rest, day) = self.strip_name(&DAYS, text, form)?;
                return set(&mut found.day_of_week, day, 1, 7).then_some(rest);
            }
            Field::QuarterName(form) => {
                let (rest, quarter) =
                    (1..=4).find_map(|number| Some((text.strip_prefix(&*quarter(number, form))?, number)))?;
                return set(&mut found.quarter, quarter, 1, 4).then_some(rest);
            }
            Field::HalfDay => {
                let ignores_case = self.dialect == Dialect::Simple;
                let is = |half: &str| {
                    text.get(..2)
                        .is_some_and(|start| start == half || (ignores_case && start.eq_ignore_ascii_case(half)))
                };
                let afternoon = if is("AM") {
                    false
                } else if is("PM") {
                    true
                } else {
                    return None;
                };
                found.afternoon = Some(afternoon);
                return text.get(2..);
            }
            Field::Offset { colon, letter, minutes } => {
                let (rest, seconds) = parse_offset(text, colon, letter, minutes)?;
                found.offset_seconds = Some(seconds);
                return Some(rest);
            }
            Field::Fraction => {
                let digits = text.get(..width).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
                let nanos: i64 = format!("{digits:0<9}").get(..9)?.parse().ok()?;
                return set(&mut found.nanos, nanos, 0, SECOND_NANOS - 1).then(|| &text[width..]);
            }
            Field::YearOfEra
            | Field::Year
            | Field::Month
            | Field::Day
            | Field::DayOfYear
            | Field::Quarter
            | Field::Hour
            | Field::HourFrom1
            | Field::HalfDayHour
            | Field::HalfDayHourFrom1
            | Field::Minute
            | Field::Second
            | Field::MilliOfDay
            | Field::NanoOfSecond
            | Field::NanoOfDay => {}
        }
        let (rest, number) = self.parse_number(field, width, reserved, text)?;
        found.take(field, number, self.dialect).then_some(rest)
    }

    /// Strips a name. `SimpleDateFormat` takes full and short names, whichever the pattern has.
    fn strip_name<'a>(&self, names: &[&'static str], text: &'a str, form: Form) -> Option<(&'a str, i64)> {
        let forms = match self.dialect {
            Dialect::Simple => &[Form::Full, Form::Short][..],
            Dialect::Formatter => std::slice::from_ref(match form {
                Form::Short => &Form::Short,
                Form::Full => &Form::Full,
                // A single letter could stand for several names.
                Form::Narrow => return None,
            }),
        };
        let ignores_case = self.dialect == Dialect::Simple;
        forms.iter().find_map(|form| {
            (1i64..).zip(names).find_map(|(number, _)| {
                let written = name(names, number, *form);
                let start = text.get(..written.len())?;
                let equal = start == written || (ignores_case && start.eq_ignore_ascii_case(written));
                equal.then(|| (&text[written.len()..], number))
            })
        })
    }

    fn parse_number<'a>(
        &self,
        field: Field,
        width: usize,
        reserved: Option<usize>,
        text: &'a str,
    ) -> Option<(&'a str, i64)> {
        let is_year = matches!(field, Field::Year | Field::YearOfEra);
        let (negative, digits_from) = match text.bytes().next() {
            Some(b'-') if field == Field::Year || self.dialect == Dialect::Simple => (true, 1),
            Some(b'+') if is_year && width >= 4 && self.dialect == Dialect::Formatter => (false, 1),
            _ => (false, 0),
        };
        let signed = digits_from > 0;
        let unsigned = &text[digits_from..];
        let there = unsigned.bytes().take_while(u8::is_ascii_digit).count();
        let taken = match (reserved, self.dialect) {
            // As many digits as the fields behind leave, or as many as this field is wide.
            (Some(_), Dialect::Simple) => there.min(width),
            (Some(reserved), Dialect::Formatter) if is_year && width != 2 => {
                there.saturating_sub(reserved).max(width).min(19)
            }
            (Some(_), Dialect::Formatter) if width > 1 => width,
            (Some(reserved), Dialect::Formatter) => there.saturating_sub(reserved).clamp(1, 19),
            (None, Dialect::Simple) => there.min(18),
            (None, Dialect::Formatter) => match (is_year, width) {
                (true, 2) | (false, 2..) => width,
                // More digits than the width need a sign.
                (true, 4..) if signed => there.min(19),
                (true, 4..) => width,
                _ => there.min(19),
            },
        };
        let too_short = is_year && width > 2 && taken < width && self.dialect == Dialect::Formatter;
        if taken == 0 || taken > there || too_short {
            return None;
        }
        let number: i64 = unsigned[..taken].parse().ok()?;
        let number = match (is_year, width, taken) {
            // Two digits are of the 21st century: which century they are of must not depend on the day.
            (true, 2, 2) if !negative => number + 2000,
            _ if negative => -number,
            _ => number,
        };
        Some((&unsigned[taken..], number))
    }
}

impl Found {
    fn take(&mut self, field: Field, number: i64, dialect: Dialect) -> bool {
        match field {
            Field::YearOfEra if dialect == Dialect::Simple => {
                set(&mut self.year_of_era, number, -999_999_999, 999_999_999)
            }
            Field::YearOfEra => set(&mut self.year_of_era, number, 1, 999_999_999),
            Field::Year => set(&mut self.year, number, -999_999_999, 999_999_999),
            Field::Month => set(&mut self.month, number, 1, 12),
            Field::Day => set(&mut self.day, number, 1, 31),
            Field::DayOfYear => set(&mut self.day_of_year, number, 1, 366),
            Field::Quarter => set(&mut self.quarter, number, 1, 4),
            Field::Hour => set(&mut self.hour, number, 0, 23),
            Field::HourFrom1 => (1..=24).contains(&number) && set(&mut self.hour, number % 24, 0, 23),
            Field::HalfDayHour => set(&mut self.half_day_hour, number, 0, 11),
            Field::HalfDayHourFrom1 => (1..=12).contains(&number) && set(&mut self.half_day_hour, number % 12, 0, 11),
            Field::Minute => set(&mut self.minute, number, 0, 59),
            Field::Second => set(&mut self.second, number, 0, 59),
            Field::NanoOfSecond if dialect == Dialect::Simple => {
                (0..=999).contains(&number) && set(&mut self.nanos, number * 1_000_000, 0, SECOND_NANOS - 1)
            }
            Field::NanoOfSecond => set(&mut self.nanos, number, 0, SECOND_NANOS - 1),
            Field::MilliOfDay => {
                number.checked_mul(1_000_000).is_some_and(|nanos| set(&mut self.nanos_of_day, nanos, 0, DAY_NANOS - 1))
            }
            Field::NanoOfDay => set(&mut self.nanos_of_day, number, 0, DAY_NANOS - 1),
            Field::Era
            | Field::MonthName(_)
            | Field::DayName(_)
            | Field::QuarterName(_)
            | Field::HalfDay
            | Field::Fraction
            | Field::Offset { .. } => true,
        }
    }

    fn moment(&self, dialect: Dialect, apply_offset: bool) -> Option<Moment> {
        let year = match (self.year, self.year_of_era) {
            (Some(year), None) => year,
            (year, Some(of_era)) => {
                let of_era = if self.before_christ { 1 - of_era } else { of_era };
                year.is_none_or(|year| year == of_era).then_some(of_era)?
            }
            (None, None) => 1970,
        };
        let by_quarter = self.quarter.map(|quarter| quarter * 3 - 2);
        let date = match (self.day_of_year, self.month) {
            (Some(day), None) => {
                let first = Date { year, month: 1, day: 1 }.to_days()?;
                let date = Date::from_days(first.checked_add(day - 1)?);
                (date.year == year).then_some(date)?
            }
            _ => {
                let month = self.month.or(by_quarter.filter(|_| dialect == Dialect::Formatter)).unwrap_or(1);
                let (day, most) = (self.day.unwrap_or(1), days_of_month(year, month));
                // A day that the month lacks becomes the month's last day.
                let clamps = dialect == Dialect::Formatter && self.day.is_some();
                let day = if clamps { day.min(most) } else { (day <= most).then_some(day)? };
                Date { year, month, day }
            }
        };
        let days = date.to_days()?;
        let names_another_day = self.day_of_week.is_some_and(|day| day != iso_day_of_week(days));
        if names_another_day && self.day.is_some() && dialect == Dialect::Formatter {
            return None;
        }
        let half = self.half_day_hour.map(|hour| hour + 12 * i64::from(self.afternoon.unwrap_or(false)));
        let hour = self.hour.or(half).unwrap_or(0);
        let seconds = hour * 3600 + self.minute.unwrap_or(0) * 60 + self.second.unwrap_or(0);
        let nanos = self.nanos_of_day.unwrap_or(seconds * SECOND_NANOS + self.nanos.unwrap_or(0));
        let moment = Moment { days, nanos };
        match self.offset_seconds.filter(|_| apply_offset) {
            Some(offset) => Moment::from_nanos(moment.to_nanos() - i128::from(offset) * i128::from(SECOND_NANOS)),
            None => Some(moment),
        }
    }
}

/// Sets a value within bounds. Fails if another value was set before.
fn set(slot: &mut Option<i64>, value: i64, least: i64, most: i64) -> bool {
    let agrees = slot.is_none_or(|earlier| earlier == value);
    *slot = Some(value);
    agrees && (least..=most).contains(&value)
}

/// Where the optional part that begins at `start` ends.
fn closing(items: &[Item], start: usize) -> usize {
    let mut depth = 0usize;
    for (at, item) in items.iter().enumerate().skip(start) {
        match item {
            Item::OptionalStart => depth += 1,
            Item::OptionalEnd if depth <= 1 => return at,
            Item::OptionalEnd => depth -= 1,
            Item::Literal(_) | Item::Field { .. } => {}
        }
    }
    items.len()
}

fn is_number(field: Field) -> bool {
    match field {
        Field::YearOfEra
        | Field::Year
        | Field::Month
        | Field::Day
        | Field::DayOfYear
        | Field::Quarter
        | Field::Hour
        | Field::HourFrom1
        | Field::HalfDayHour
        | Field::HalfDayHourFrom1
        | Field::Minute
        | Field::Second
        | Field::MilliOfDay
        | Field::NanoOfSecond
        | Field::NanoOfDay => true,
        Field::Era
        | Field::MonthName(_)
        | Field::DayName(_)
        | Field::QuarterName(_)
        | Field::HalfDay
        | Field::Fraction
        | Field::Offset { .. } => false,
    }
}

fn parse_offset(text: &str, colon: bool, letter: bool, minutes: bool) -> Option<(&str, i64)> {
    if let (true, Some(rest)) = (letter, text.strip_prefix('Z')) {
        return Some((rest, 0));
    }
    let sign = match text.bytes().next()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let two = |text: &str, most: i64| -> Option<i64> {
        let digits = text.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse().ok().filter(|number| *number <= most)
    };
    let hours = two(&text[1..], 18)?;
    let rest = &text[3..];
    let behind = if colon { rest.strip_prefix(':') } else { Some(rest) };
    match behind.and_then(|behind| Some((two(behind, 59)?, &behind[2..]))) {
        Some((minute, rest)) if minutes || letter => Some((rest, sign * (hours * 3600 + minute * 60))),
        _ if !minutes => Some((rest, sign * hours * 3600)),
        _ => None,
    }
}
