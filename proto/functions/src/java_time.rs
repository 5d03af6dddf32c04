//! Java's patterns of dates and times, such as `yyyy-MM-dd HH:mm:ss`. A pattern is parsed once, then formats and parses
//! texts.
//!
//! Names are English. Letters that depend on the locale (weeks of the year and of the month, numbers of days of the
//! week) are refused, and so are letters for the names of zones, as a moment here has no zone.

use crate::civil::{Date, Moment, SECOND_NANOS, iso_day_of_week};

mod reading;
mod telling;

pub use telling::WrittenPart;
pub(crate) use telling::told_by;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// How names of months, days and quarters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Short,
    Full,
    Narrow,
}

/// What a run of letters stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Era,
    /// Counted within its era: the year before 1 is 1 again.
    YearOfEra,
    Year,
    Month,
    MonthName(Form),
    Day,
    DayOfYear,
    DayName(Form),
    Quarter,
    QuarterName(Form),
    HalfDay,
    Hour,
    /// 1 to 24
    HourFrom1,
    /// 0 to 11
    HalfDayHour,
    /// 1 to 12
    HalfDayHourFrom1,
    Minute,
    Second,
    Fraction,
    MilliOfDay,
    NanoOfSecond,
    NanoOfDay,
    /// An offset from UTC, such as `+0100`. With `letter`, `Z` stands for none.
    Offset {
        colon: bool,
        letter: bool,
        minutes: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Literal(String),
    Field {
        field: Field,
        width: usize,
    },
    /// `[` and `]`: the part between them may be missing in a text.
    OptionalStart,
    OptionalEnd,
}

/// One of Java's two families of patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `DateTimeFormatter`, for `DATE_FORMAT` and `TO_TIMESTAMP`.
    Formatter,
    /// `SimpleDateFormat`, for `UNIX_TIMESTAMP`, `FROM_UNIXTIME` and `TO_DATE`. `S` is the number of milliseconds.
    Simple,
}

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    items: Vec<Item>,
    dialect: Dialect,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Which letters of it have no meaning here.
    pub(crate) fn read(text: &str, dialect: Dialect) -> Result<Self, String> {
        let of_pattern = |reason: String| format!("pattern '{text}': {reason}");
        let mut items = Vec::new();
        let mut rest = text;
        let mut open = 0usize;
        while let Some(first) = rest.chars().next() {
            let run = rest.chars().take_while(|letter| *letter == first).count();
            let (letters, following) = rest.split_at(run * first.len_utf8());
            match first {
                'A'..='Z' | 'a'..='z' => {
                    items.push(Item::Field { field: field(first, run, dialect).map_err(of_pattern)?, width: run });
                    rest = following;
                    continue;
                }
                '\'' => {
                    let (literal, following) =
                        quoted(&rest[1..]).ok_or_else(|| of_pattern("a quote is not closed".to_owned()))?;
                    push_literal(&mut items, &literal);
                    rest = following;
                    continue;
                }
                '[' if dialect == Dialect::Formatter => {
                    open += run;
                    items.extend(std::iter::repeat_n(Item::OptionalStart, run));
                }
                ']' if dialect == Dialect::Formatter => {
                    open = open.checked_sub(run).ok_or_else(|| of_pattern("] closes nothing".to_owned()))?;
                    items.extend(std::iter::repeat_n(Item::OptionalEnd, run));
                }
                '{' | '}' | '#' if dialect == Dialect::Formatter => {
                    return Err(of_pattern(format!("{first} is reserved; quote it as '{first}' within ''…''")));
                }
                _ => push_literal(&mut items, letters),
            }
            rest = following;
        }
        items.extend(std::iter::repeat_n(Item::OptionalEnd, open));
        Ok(Self { items, dialect })
    }

    /// Writes a moment by the pattern. Offsets are written as 0: moments are in UTC.
    pub(crate) fn write(&self, moment: Moment, made: &mut String) {
        let date = moment.date();
        for item in &self.items {
            match item {
                Item::Literal(text) => made.push_str(text),
                Item::Field { field, width } => self.write_field(*field, *width, moment, date, made),
                Item::OptionalStart | Item::OptionalEnd => {}
            }
        }
    }

    fn write_field(&self, field: Field, width: usize, moment: Moment, date: Date, made: &mut String) {
        let seconds = moment.nanos / SECOND_NANOS;
        let nanos = moment.nanos % SECOND_NANOS;
        let hour = seconds / 3600;
        let of_era = if date.year > 0 { date.year } else { 1 - date.year };
        let from_1 = |value: i64, most: i64| if value % most == 0 { most } else { value % most };
        let value = match field {
            Field::Era => return made.push_str(era(date.year > 0, width)),
            Field::YearOfEra => return push_year(of_era, width, self.dialect, made),
            Field::Year => return push_year(date.year, width, self.dialect, made),
            Field::MonthName(form) => return made.push_str(name(&MONTHS, date.month, form)),
            Field::DayName(form) => return made.push_str(name(&DAYS, iso_day_of_week(moment.days), form)),
            Field::QuarterName(form) => return made.push_str(&quarter((date.month + 2) / 3, form)),
            Field::HalfDay => return made.push_str(if hour < 12 { "AM" } else { "PM" }),
            Field::Fraction => {
                let digits = format!("{nanos:09}");
                let wanted = digits.chars().chain(std::iter::repeat('0')).take(width);
                return made.extend(wanted);
            }
            Field::Offset { colon, letter, minutes } => return made.push_str(no_offset(colon, letter, minutes)),
            Field::Month => date.month,
            Field::Day => date.day,
            Field::DayOfYear => date.day_of_year(),
            Field::Quarter => (date.month + 2) / 3,
            Field::Hour => hour,
            Field::HourFrom1 => from_1(hour, 24),
            Field::HalfDayHour => hour % 12,
            Field::HalfDayHourFrom1 => from_1(hour, 12),
            Field::Minute => seconds / 60 % 60,
            Field::Second => seconds % 60,
            Field::MilliOfDay => moment.nanos / 1_000_000,
            Field::NanoOfSecond if self.dialect == Dialect::Simple => nanos / 1_000_000,
            Field::NanoOfSecond => nanos,
            Field::NanoOfDay => moment.nanos,
        };
        made.push_str(&format!("{value:0width$}"));
    }
}

fn push_literal(items: &mut Vec<Item>, text: &str) {
    if let Some(Item::Literal(earlier)) = items.last_mut() {
        earlier.push_str(text);
    } else {
        items.push(Item::Literal(text.to_owned()));
    }
}

/// The text up to a closing quote, and what follows it. Two quotes within it stand for one, and so does an empty
/// quotation.
fn quoted(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix('\'') {
        return Some(("'".to_owned(), rest));
    }
    let mut made = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('\'')?;
        made.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('\'') {
            Some(following) => {
                made.push('\'');
                rest = following;
            }
            None => return Some((made, rest)),
        }
    }
}

fn field(letter: char, count: usize, dialect: Dialect) -> Result<Field, String> {
    let form = match count {
        1..=3 => Form::Short,
        4 => Form::Full,
        _ => Form::Narrow,
    };
    let letters: String = std::iter::repeat_n(letter, count).collect();
    let simple = dialect == Dialect::Simple;
    let most = match letter {
        'S' if simple => 9,
        'S' => 9,
        'D' | 'X' | 'x' | 'Z' => 3,
        'a' => {
            if simple {
                4
            } else {
                1
            }
        }
        'd' | 'H' | 'h' | 'K' | 'k' | 'm' | 's' if simple => 9,
        'd' | 'H' | 'h' | 'K' | 'k' | 'm' | 's' => 2,
        'M' | 'L' | 'E' if simple => 4,
        'M' | 'L' | 'E' | 'G' | 'Q' | 'q' => 5,
        _ => 19,
    };
    if count > most {
        return Err(format!("{letters} has too many letters"));
    }
    Ok(match letter {
        'G' => Field::Era,
        'y' => Field::YearOfEra,
        'u' if !simple => Field::Year,
        'M' | 'L' if count > 2 => Field::MonthName(form),
        'M' | 'L' => Field::Month,
        'd' => Field::Day,
        'D' => Field::DayOfYear,
        'E' => Field::DayName(form),
        'Q' | 'q' if !simple && count > 2 => Field::QuarterName(form),
        'Q' | 'q' if !simple => Field::Quarter,
        'a' => Field::HalfDay,
        'H' => Field::Hour,
        'k' => Field::HourFrom1,
        'K' => Field::HalfDayHour,
        'h' => Field::HalfDayHourFrom1,
        'm' => Field::Minute,
        's' => Field::Second,
        'S' if simple => Field::NanoOfSecond,
        'S' => Field::Fraction,
        'A' if !simple => Field::MilliOfDay,
        'n' if !simple => Field::NanoOfSecond,
        'N' if !simple => Field::NanoOfDay,
        'X' => Field::Offset { colon: count == 3, letter: true, minutes: count > 1 },
        'x' if !simple => Field::Offset { colon: count == 3, letter: false, minutes: count > 1 },
        'Z' => Field::Offset { colon: false, letter: false, minutes: true },
        'w' | 'W' | 'F' | 'Y' | 'e' | 'c' | 'u' => {
            return Err(format!("{letters} is not supported: it depends on where one is"));
        }
        'z' | 'V' | 'O' | 'v' => return Err(format!("{letters} is not supported: there are no names of zones")),
        _ => return Err(format!("{letters} has no meaning; text is quoted, ''{letters}''")),
    })
}

/// UTC's offset.
fn no_offset(colon: bool, letter: bool, minutes: bool) -> &'static str {
    match (letter, colon, minutes) {
        (true, ..) => "Z",
        (false, true, _) => "+00:00",
        (false, false, true) => "+0000",
        (false, false, false) => "+00",
    }
}

fn era(after_christ: bool, width: usize) -> &'static str {
    match (after_christ, width) {
        (true, 4) => "Anno Domini",
        (false, 4) => "Before Christ",
        (true, 5) => "A",
        (false, 5) => "B",
        (true, _) => "AD",
        (false, _) => "BC",
    }
}

fn name<'a>(names: &[&'a str], number: i64, form: Form) -> &'a str {
    let name = usize::try_from(number - 1).ok().and_then(|at| names.get(at)).copied().unwrap_or_default();
    match form {
        Form::Full => name,
        Form::Short => name.get(..3).unwrap_or(name),
        Form::Narrow => name.get(..1).unwrap_or(name),
    }
}

fn quarter(number: i64, form: Form) -> String {
    match form {
        Form::Short => format!("Q{number}"),
        Form::Narrow => number.to_string(),
        Form::Full => {
            let ending = ["st", "nd", "rd"].get(usize::try_from(number - 1).unwrap_or(usize::MAX)).unwrap_or(&"th");
            format!("{number}{ending} quarter")
        }
    }
}

/// Writes a year. In a `DateTimeFormatter`, years beyond the width have a sign.
fn push_year(year: i64, width: usize, dialect: Dialect, made: &mut String) {
    match (width, dialect) {
        (2, _) => made.push_str(&format!("{:02}", year.rem_euclid(100))),
        (4.., Dialect::Formatter) => {
            let limit = u32::try_from(width).ok().and_then(|width| 10i64.checked_pow(width)).unwrap_or(i64::MAX);
            let sign = if year < 0 {
                "-"
            } else if year >= limit {
                "+"
            } else {
                ""
            };
            made.push_str(&format!("{sign}{:0width$}", year.unsigned_abs()));
        }
        _ => made.push_str(&format!("{year:0width$}")),
    }
}
