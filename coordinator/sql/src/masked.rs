//! A script as it is shown to people: without the secrets that stand in its tables' options.

use sqlparser::tokenizer::{Location, Token, TokenWithSpan};
use thalweg_types::connector::{HIDDEN, find, is_secret};

use crate::{
    text::{slice, tokens_of},
    words::is_word,
};

/// The text with `'***'` for each secret. `secret('name')` stays as it is. Nothing is shown of a text that is not SQL.
#[must_use]
pub fn without_secrets(sql: &str) -> String {
    let sql = sql.strip_prefix('\u{feff}').unwrap_or(sql);
    let Ok(tokens) = tokens_of(sql) else { return HIDDEN.to_owned() };
    let statements = tokens.split(|token| token.token == Token::SemiColon);
    let secrets: Vec<&TokenWithSpan> = statements.flat_map(secrets_of).collect();
    if secrets.is_empty() {
        return sql.to_owned();
    }
    let lines: Vec<&str> = sql.split('\n').collect();
    let (mut shown, mut from) = (String::new(), Location { line: 1, column: 1 });
    for secret in secrets {
        shown.push_str(&slice(&lines, from, secret.span.start));
        shown.push_str(&format!("'{HIDDEN}'"));
        from = secret.span.end;
    }
    let last = u64::try_from(lines.len()).unwrap_or(u64::MAX);
    shown.push_str(&slice(&lines, from, Location { line: last, column: u64::MAX }));
    shown
}

/// The values of a statement's `WITH (…)` that are secrets.
fn secrets_of(statement: &[TokenWithSpan]) -> Vec<&TokenWithSpan> {
    if !statement.first().is_some_and(|token| is_word(&token.token, "CREATE")) {
        return Vec::new();
    }
    let opens = |pair: &[TokenWithSpan]| is_word(&pair[0].token, "WITH") && pair[1].token == Token::LParen;
    let Some(at) = statement.windows(2).position(opens) else { return Vec::new() };
    // A closing parenthesis follows the last value.
    let assigned = || statement[at..].windows(4).filter(|four| four[1].token == Token::Eq);
    let named = assigned().find(|four| text_of(&four[0].token) == Some("connector"));
    let connector = named.and_then(|four| find(text_of(&four[2].token)?));
    let is_hidden = |four: &&[TokenWithSpan]| {
        let is_name = is_word(&four[2].token, "secret") && four[3].token == Token::LParen;
        let value = text_of(&four[2].token).unwrap_or_default();
        !is_name && text_of(&four[0].token).is_some_and(|key| is_secret(connector, key, value))
    };
    assigned().filter(is_hidden).map(|four| &four[2]).collect()
}

fn text_of(token: &Token) -> Option<&str> {
    match token {
        Token::SingleQuotedString(text) => Some(text),
        Token::Word(word) => Some(&word.value),
        _ => None,
    }
}
