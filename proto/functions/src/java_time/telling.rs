//! What of a time the texts of a pattern tell, and of what form they are.

use super::{Field, Form, Item, Pattern, no_offset};

/// A part of what a pattern writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrittenPart {
    /// This text.
    Text(String),
    /// A number.
    Number {
        /// The least number of digits.
        least: usize,
        /// The most digits without a sign.
        most: Option<usize>,
        /// The signs that may stand before it. With one, it may have more digits.
        signs: &'static str,
    },
    /// Letters, digits and spaces.
    Words,
}

impl Pattern {
    /// The parts of its texts, in order.
    pub(crate) fn parts(&self) -> Vec<WrittenPart> {
        let parts = self.items.iter().filter_map(|item| match item {
            Item::Literal(text) => Some(WrittenPart::Text(text.clone())),
            Item::Field { field, width } => Some(part(*field, *width)),
            Item::OptionalStart | Item::OptionalEnd => None,
        });
        parts.collect()
    }

    fn has(&self, is_it: impl Fn(Field, usize) -> bool) -> bool {
        self.items.iter().any(|item| match item {
            Item::Field { field, width } => is_it(*field, *width),
            Item::Literal(_) | Item::OptionalStart | Item::OptionalEnd => false,
        })
    }
}

fn part(field: Field, width: usize) -> WrittenPart {
    let number = |most: usize| WrittenPart::Number { least: width, most: Some(most.max(width)), signs: "" };
    match field {
        Field::YearOfEra | Field::Year if width == 2 => number(2),
        Field::YearOfEra | Field::Year => {
            let signs = match (field == Field::Year, width >= 4) {
                (true, true) => "+-",
                (true, false) => "-",
                (false, true) => "+",
                (false, false) => "",
            };
            WrittenPart::Number { least: width, most: (width >= 4).then_some(width), signs }
        }
        Field::Month | Field::Day | Field::Hour | Field::HourFrom1 => number(2),
        Field::HalfDayHour | Field::HalfDayHourFrom1 | Field::Minute | Field::Second => number(2),
        Field::DayOfYear => number(3),
        Field::Quarter => number(1),
        Field::Fraction => number(width),
        Field::MilliOfDay => number(8),
        Field::NanoOfSecond => number(9),
        Field::NanoOfDay => number(14),
        Field::Era | Field::MonthName(_) | Field::DayName(_) | Field::QuarterName(_) | Field::HalfDay => {
            WrittenPart::Words
        }
        Field::Offset { colon, letter, minutes } => WrittenPart::Text(no_offset(colon, letter, minutes).to_owned()),
    }
}

/// The first unit that texts by all of these patterns together leave open, or how many digits of a second they tell. Years are those
/// of our era.
pub(crate) fn told_by(patterns: &[&Pattern]) -> Result<usize, &'static str> {
    let has = |is_it: &dyn Fn(Field, usize) -> bool| patterns.iter().any(|pattern| pattern.has(is_it));
    let is = |wanted: Field| has(&|field, _| field == wanted);
    let has_day_of_year = is(Field::DayOfYear);
    let has_month = is(Field::Month) || is(Field::MonthName(Form::Short)) || is(Field::MonthName(Form::Full));
    let (by_nanos, by_millis) = (is(Field::NanoOfDay), is(Field::MilliOfDay));
    let has_half = is(Field::HalfDay) && (is(Field::HalfDayHour) || is(Field::HalfDayHourFrom1));
    let of_day = by_nanos || by_millis;
    let has_hour = of_day || is(Field::Hour) || is(Field::HourFrom1) || has_half;
    let is_year = |field, width: usize| matches!(field, Field::Year | Field::YearOfEra) && width != 2;
    for (is_told, unit) in [
        (has(&is_year), "year"),
        (has_day_of_year || has_month, "month"),
        (has_day_of_year || is(Field::Day), "day"),
        (has_hour, "hour"),
        (of_day || is(Field::Minute), "minute"),
        (of_day || is(Field::Second), "second"),
    ] {
        if !is_told {
            return Err(unit);
        }
    }
    let widths = (1..=9).rev().find(|wanted| has(&|field, width| field == Field::Fraction && width == *wanted));
    let fraction = if by_nanos || is(Field::NanoOfSecond) { 9 } else { widths.unwrap_or(0) };
    Ok(if by_millis { fraction.max(3) } else { fraction })
}
