//! Completes the word before the cursor to keywords and to names of tables and views.
//!
//! Matching ignores case. Keywords follow the case of the typed word; names are inserted as they are.

use reedline::{Completer, CompletionResult, Span, Suggestion};

use crate::statements::KEYWORDS;

/// Words that are followed by the name of a table or view.
const BEFORE_TABLES: &[&str] = &["DESC", "DESCRIBE", "FROM", "INTO", "JOIN", "TABLE", "VIEW"];

/// The words to choose from.
#[derive(Debug, Default)]
pub struct Words {
    names: Vec<String>,
}

impl Words {
    /// Keywords, and the given names.
    #[must_use]
    pub fn with_names(names: Vec<String>) -> Self {
        Self { names }
    }

    /// Whether the name of a table or view comes next.
    fn expects_table(&self, before: &str) -> bool {
        let last = before.trim_end().rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        let is_behind_word = before.ends_with(char::is_whitespace);
        is_behind_word && BEFORE_TABLES.iter().any(|word| last.eq_ignore_ascii_case(word))
    }

    /// All words that begin with `begun`, names first.
    fn complete_word(&self, begun: &str) -> Vec<String> {
        if begun.is_empty() {
            return Vec::new();
        }
        let begins = |word: &str| {
            word.get(..begun.len()).is_some_and(|start| start.eq_ignore_ascii_case(begun)) && word.len() > begun.len()
        };
        let in_case = |word: &&str| match begun.contains(char::is_lowercase) {
            true => word.to_lowercase(),
            false => (*word).to_owned(),
        };
        let names = self.names.iter().filter(|name| begins(name)).cloned();
        names.chain(KEYWORDS.iter().filter(|word| begins(word)).map(in_case)).collect()
    }
}

impl Completer for Words {
    fn complete(&mut self, line: &str, at: usize) -> CompletionResult {
        let before = line.get(..at).unwrap_or(line);
        let begun = before.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        let span = Span::new(before.len() - begun.len(), before.len());
        let is_of_table = begun.is_empty() && self.expects_table(before);
        let words = if is_of_table { self.names.clone() } else { self.complete_word(begun) };
        let suggest = |value| Suggestion { value, span, append_whitespace: true, ..Suggestion::default() };
        CompletionResult::fresh(words.into_iter().map(suggest).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &[&str]) {
        let mut words = Words::with_names(vec!["hourly_departures".to_owned(), "Sensor2".to_owned()]);
        let result = words.complete(line, line.len());
        let values: Vec<&str> = result.suggestions().iter().map(|suggestion| suggestion.value.as_str()).collect();
        assert_eq!(values, expected, "{line}");
        for suggestion in result.suggestions() {
            let replaced = &line[suggestion.span.start..suggestion.span.end];
            assert!(suggestion.value.to_lowercase().starts_with(&replaced.to_lowercase()), "{line}: {replaced}");
        }
    }

    #[test]
    fn the_word_before_the_cursor_is_completed_whatever_stands_around_it() {
        check("SELECT a FROM hour", &["hourly_departures"]);
        check("SELECT a\nFROM hourly_d", &["hourly_departures"]);
        check("SELECT é FROM TABLE(TUMBLE(TABLE sens", &["Sensor2"]);
        check("SELECT a FROM Sensor2", &[]);
        check("SELECT a FROM ", &["hourly_departures", "Sensor2"]);
        check("INSERT into\n", &["hourly_departures", "Sensor2"]);
        check("SELECT FROM", &[]);
        check("SELECT a, ", &[]);
        check("", &[]);
    }

    #[test]
    fn keywords_come_in_the_case_that_was_begun_with() {
        check("sele", &["select"]);
        check("SELE", &["SELECT"]);
        check("SELECT win", &["window_end", "window_start", "window_time"]);
    }
}
