//! Queries with answers written down by hand, independent of any engine, mostly for inputs on which engines have been
//! wrong.
//!
//! ```text
//! answers/TOPIC/NAME.sql             a script with one SELECT; ${answers} is the directory of all topics
//! answers/TOPIC/NAME.expected.json   its rows, in any order, one JSON object a line
//! answers/TOPIC/NAME.duckdb.sql      optional: a query by which DuckDB must give the same rows
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

/// A query and its expected rows.
#[derive(Debug, Clone)]
pub struct KnownAnswer {
    /// `TOPIC/NAME`.
    pub name: String,
    pub script: String,
    /// The query for DuckDB, if it gives the same rows.
    pub second: Option<String>,
    /// The expected rows.
    pub rows: Vec<Value>,
}

/// Reads all known answers below a directory, sorted by name.
///
/// # Errors
/// If a file is missing or cannot be read.
pub fn read_all(directory: &Path) -> Result<Vec<KnownAnswer>> {
    let mut answers = Vec::new();
    for topic in entries(directory)? {
        for file in entries(&topic)? {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some(name) = name.strip_suffix(".expected.json") {
                answers.push(read(directory, &topic, name).with_context(|| format!("in {}", file.display()))?);
            }
        }
    }
    answers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(answers)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(directory).with_context(|| format!("could not list {}", directory.display()))?;
    Ok(listed.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?)
}

fn read(directory: &Path, topic: &Path, name: &str) -> Result<KnownAnswer> {
    let placed = |text: String| text.replace("${answers}", &directory.display().to_string());
    let file = |ending: &str| topic.join(format!("{name}.{ending}"));
    let rows = fs::read_to_string(file("expected.json"))?;
    let topic = topic.file_name().and_then(|topic| topic.to_str()).unwrap_or_default();
    Ok(KnownAnswer {
        name: format!("{topic}/{name}"),
        script: placed(fs::read_to_string(file("sql"))?),
        second: fs::read_to_string(file("duckdb.sql")).ok().map(placed),
        rows: parse_rows(&rows)?,
    })
}

/// Parses rows, one JSON object a line.
///
/// # Errors
/// If a line is not JSON.
pub fn parse_rows(text: &str) -> Result<Vec<Value>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| serde_json::from_str(line).with_context(|| format!("not a row: {line}"))).collect()
}

/// The difference between two sets of rows in any order; `None` if they are equal. Zeros at the end of a time's
/// fraction do not count.
#[must_use]
pub fn difference(actual: &[Value], expected: &[Value]) -> Option<String> {
    let texts = |rows: &[Value]| {
        let mut texts: Vec<String> = rows.iter().map(|row| plain(row).to_string()).collect();
        texts.sort();
        texts
    };
    let (actual, expected) = (texts(actual), texts(expected));
    (actual != expected).then(|| format!("rows {actual:?}\nexpected {expected:?}"))
}

fn plain(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(plain_time(text)),
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::Object(fields) => {
            let mut fields: Vec<(&String, Value)> = fields.iter().map(|(name, value)| (name, plain(value))).collect();
            fields.sort_by_key(|(name, _)| *name);
            Value::Object(fields.into_iter().map(|(name, value)| (name.clone(), value)).collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

fn plain_time(text: &str) -> String {
    match text.rsplit_once('.') {
        Some((time, fraction)) if time.ends_with(|c: char| c.is_ascii_digit()) && time.matches(':').count() == 2 => {
            let fraction = fraction.trim_end_matches('0');
            if fraction.is_empty() { time.to_owned() } else { format!("{time}.{fraction}") }
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Value> {
        parse_rows(text).unwrap()
    }

    #[test]
    fn neither_order_nor_zeros_of_a_time_count() {
        let actual = rows("{\"a\":1,\"t\":\"2026-01-01 00:00:00.500\"}\n{\"a\":2,\"t\":\"2026-01-01 00:00:00.000\"}\n");
        let expected = rows("{\"t\":\"2026-01-01 00:00:00\",\"a\":2}\n\n{\"a\":1,\"t\":\"2026-01-01 00:00:00.5\"}");
        assert_eq!(difference(&actual, &expected), None);
    }

    #[test]
    fn a_row_too_many_and_another_value_count() {
        let one = rows("{\"a\":\"1.50\"}");
        assert!(difference(&[one.clone(), one.clone()].concat(), &one).is_some());
        assert!(difference(&one, &rows("{\"a\":\"1.5\"}")).is_some());
        assert!(difference(&one, &rows("{\"a\":null}")).is_some());
    }
}
