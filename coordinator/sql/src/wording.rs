//! Rewords DataFusion's messages: without its prefixes, notes and candidates, and with SQL's names of types.

use datafusion_common::DataFusionError;

/// Prefixes of DataFusion's messages; one message may have several.
const PREFIXES: &[&str] = &[
    "Error during planning: ",
    "Schema error: ",
    "This feature is not implemented: ",
    "Internal error: ",
    "Execution error: ",
    "SQL error: ",
];

/// Names of types in Arrow and in SQL.
const TYPES: &[(&str, &str)] = &[
    ("Timestamp(s)", "TIMESTAMP(0)"),
    ("Timestamp(ms)", "TIMESTAMP(3)"),
    ("Timestamp(µs)", "TIMESTAMP(6)"),
    ("Timestamp(ns)", "TIMESTAMP(9)"),
    ("Boolean", "BOOLEAN"),
    ("Int8", "TINYINT"),
    ("Int16", "SMALLINT"),
    ("Int32", "INT"),
    ("Int64", "BIGINT"),
    ("Float32", "FLOAT"),
    ("Float64", "DOUBLE"),
    ("Utf8View", "STRING"),
    ("Utf8", "STRING"),
    ("String", "STRING"),
    ("Binary", "BYTES"),
    ("Date32", "DATE"),
    ("Time64(ns)", "TIME"),
];

/// The innermost message, reworded.
pub(crate) fn readable(error: &DataFusionError) -> String {
    let text = match error.find_root() {
        DataFusionError::SchemaError(error, _) => error.to_string(),
        root => root.strip_backtrace(),
    };
    let mut text = text.as_str();
    for prefix in PREFIXES {
        text = text.trim_start_matches(prefix);
    }
    let text = text.split("\nThis issue was likely caused").next().unwrap_or(text);
    let text = text.split(" No function matches the given name").next().unwrap_or(text);
    let text = text.replace(".\nDid you mean ", "; did you mean ").replace(".\nHINT: ", "; ").replace('\n', " ");
    let text = known(&text).unwrap_or(text);
    lower_first(with_sql_types(&text).trim().trim_end_matches('.'))
}

pub(crate) fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => text.to_owned(),
    }
}

/// A better text for messages that tell how DataFusion failed instead of what is wrong.
fn known(text: &str) -> Option<String> {
    if let Some(rest) = text.strip_prefix("Cannot create filter with non-boolean predicate '") {
        let (predicate, given) = rest.split_once("' returning ")?;
        return Some(format!("WHERE needs a BOOLEAN, but '{predicate}' is {given}"));
    }
    if let Some(rest) = text.strip_prefix("Cannot access field at argument 1: type ") {
        let (given, _) = rest.split_once(" is not Struct")?;
        return Some(format!("only ROWs and MAPs have fields, but {given} has none"));
    }
    if let Some((_, reason)) = text.split_once(" user-defined coercion failed with: ") {
        let reason = PREFIXES.iter().fold(reason, |reason, prefix| reason.trim_start_matches(prefix));
        return Some(reason.to_owned());
    }
    if text.contains("' failed to match any signature") || text.contains("' requires ") {
        let name = text.split('\'').nth(1)?;
        let received = first_type(text.split("received ").nth(1)?);
        return Some(format!("function '{name}' does not take {received}"));
    }
    None
}

/// The name of a type at the start of a text, with its parentheses.
fn first_type(text: &str) -> &str {
    let mut open = 0;
    let end = text.find(|letter| {
        match letter {
            '(' => open += 1,
            ')' => open -= 1,
            _ => {}
        }
        open < 0 || (open == 0 && [' ', '.', ','].contains(&letter))
    });
    &text[..end.unwrap_or(text.len())]
}

/// Replaces Arrow's names of types by SQL's where they stand as words. Text in quotes is a user's name and stays.
fn with_sql_types(text: &str) -> String {
    let pieces = text.split('\'').enumerate();
    let named = pieces.map(|(at, piece)| if at % 2 == 0 { unquoted_with_sql_types(piece) } else { piece.to_owned() });
    named.collect::<Vec<_>>().join("'")
}

fn unquoted_with_sql_types(text: &str) -> String {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let starts = !made.chars().next_back().is_some_and(is_part);
        let found = TYPES.iter().filter(|_| starts).find_map(|(arrow, sql)| {
            let after = rest.strip_prefix(arrow)?;
            (!after.starts_with(is_part)).then_some((sql, after))
        });
        match found {
            Some((sql, after)) => {
                made.push_str(sql);
                rest = after;
            }
            None => {
                made.push(letter);
                rest = &rest[letter.len_utf8()..];
            }
        }
    }
    made
}
