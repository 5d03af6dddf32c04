//! Patterns of times outside of expressions, as `DATE_FORMAT` takes them.

use thiserror::Error;

use crate::{
    civil::Moment,
    java_time::{Dialect, Pattern, told_by},
};

pub use crate::java_time::WrittenPart;

/// Microseconds in a second.
const MICROS: i64 = 1_000_000;

/// A pattern that has no meaning here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct TimePatternError(String);

/// A pattern such as `yyyy-MM-dd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimePattern(Pattern);

impl TimePattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Which letters of it have no meaning here.
    pub fn read(text: &str) -> Result<Self, TimePatternError> {
        Pattern::read(text, Dialect::Formatter).map(Self).map_err(TimePatternError)
    }

    /// Appends a time, in microseconds since the Unix epoch, by the pattern. UTC.
    pub fn write_micros(&self, micros: i64, into: &mut String) {
        self.0.write(Moment::from_ticks(micros, MICROS), into);
    }

    /// The parts of its texts, in order.
    #[must_use]
    pub fn parts(&self) -> Vec<WrittenPart> {
        self.0.parts()
    }

    /// What texts by all of these patterns together tell of a time.
    #[must_use]
    pub fn told_by<'a>(patterns: impl IntoIterator<Item = &'a Self>) -> Told {
        let patterns: Vec<&Pattern> = patterns.into_iter().map(|pattern| &pattern.0).collect();
        match told_by(&patterns) {
            Ok(digits) => Told::SecondsTo { digits },
            Err(unit) => Told::NotThe { unit },
        }
    }
}

/// What texts tell of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The time, with so many digits of a second.
    SecondsTo {
        /// The digits behind the second.
        digits: usize,
    },
    /// Not which year, month, .. second it is of.
    NotThe {
        /// The longest one that is not told.
        unit: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_by_their_pattern() {
        let mut text = String::from("h=");
        TimePattern::read("yyyy-MM-dd HH").unwrap().write_micros(1_767_229_199_999_999, &mut text);
        assert_eq!(text, "h=2026-01-01 00");
        let mut text = String::new();
        TimePattern::read("yyyyMMdd").unwrap().write_micros(-1, &mut text);
        assert_eq!(text, "19691231");
        assert!(TimePattern::read("bb").is_err());
    }

    #[test]
    fn patterns_together_tell_a_time_or_not() {
        let told = |patterns: &[&str]| {
            let patterns = patterns.iter().map(|pattern| TimePattern::read(pattern).unwrap());
            TimePattern::told_by(&patterns.collect::<Vec<_>>())
        };
        for (patterns, unit) in [
            (&["yyyy-MM-dd"][..], "hour"),
            (&["yy-MM-dd HH:mm:ss"], "year"),
            (&["yyyy", "dd", "HHmmss"], "month"),
            (&["yyyy MMMMM dd HHmmss"], "month"),
            (&["yyyy MM", "HHmmss"], "day"),
            (&["yyyy-DDD hh:mm:ss"], "hour"),
            (&["yyyy/MM/dd", "HH"], "minute"),
            (&["yyyy/MM/dd", "HH:mm"], "second"),
        ] {
            assert_eq!(told(patterns), Told::NotThe { unit }, "{patterns:?}");
        }
        for (patterns, digits) in [
            (&["yyyy-MM-dd", "HH:mm:ss"][..], 0),
            (&["yyyy-DDD hh:mm:ss a.SSS"], 3),
            (&["uuuu MMM d A"], 3),
            (&["yyyyMMdd N"], 9),
            (&["yyyyMMddHHmmss", "SS", "SSSSSS"], 6),
        ] {
            assert_eq!(told(patterns), Told::SecondsTo { digits }, "{patterns:?}");
        }
    }

    #[test]
    fn the_parts_of_a_text_have_their_digits() {
        let number = |least, most: usize| WrittenPart::Number { least, most: Some(most), signs: "" };
        let year = |least, signs| WrittenPart::Number { least, most: Some(least), signs };
        let text = |text: &str| WrittenPart::Text(text.to_owned());
        let parts = |pattern: &str| TimePattern::read(pattern).unwrap().parts();
        assert_eq!(parts("yyyy-MM'd'd"), [year(4, "+"), text("-"), number(2, 2), text("d"), number(1, 2)]);
        assert_eq!(parts("yy[EEE]SSS"), [number(2, 2), WrittenPart::Words, number(3, 3)]);
        assert_eq!(parts("uuuuXXX"), [year(4, "+-"), text("Z")]);
    }
}
