//! Patterns of times outside of expressions, as `DATE_FORMAT` takes them.

use thiserror::Error;

use crate::{
    civil::Moment,
    java_time::{Dialect, Pattern},
};

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
}
