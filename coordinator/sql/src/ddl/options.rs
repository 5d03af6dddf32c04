//! Checks the `WITH` clause against the specs of connectors and formats.

use std::collections::BTreeMap;

use sqlparser::{
    parser::Parser,
    tokenizer::{Location, Token},
};
use thalweg_types::connector::{self, CONNECTORS, ConnectorSpec, FormatSpec, OptionSpec, TableConnector};

use crate::errors::{Result, SqlError};

/// One option, as the script has it.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) key: String,
    pub(crate) key_at: Location,
    pub(crate) value: String,
    pub(crate) value_at: Location,
}

impl Written {
    /// Reads `('k' = 'v', …)`.
    pub(crate) fn parse_all(parser: &mut Parser) -> Result<Vec<Self>> {
        parser.expect_token(&Token::LParen)?;
        let mut options: Vec<Self> = Vec::new();
        loop {
            let key_at = parser.peek_token_ref().span.start;
            let key = text_or_word(parser)?;
            parser.expect_token(&Token::Eq)?;
            let value_at = parser.peek_token_ref().span.start;
            let value = text_or_word(parser)?;
            if options.iter().any(|earlier| earlier.key == key) {
                return Err(SqlError::at(key_at, format!("option '{key}' is given twice")));
            }
            options.push(Self { key, key_at, value, value_at });
            if parser.consume_token(&Token::RParen) {
                return Ok(options);
            }
            parser.expect_token(&Token::Comma)?;
        }
    }
}

/// Checks the options of a table. `at` is the place of the table's name.
pub(crate) fn check_connector(
    options: &[Written],
    table: &str,
    at: Location,
) -> Result<(&'static ConnectorSpec, TableConnector)> {
    let Some(named) = options.iter().find(|option| option.key == "connector") else {
        return Err(SqlError::at(at, format!("table '{table}' has no 'connector' option")).with_hint(connectors_hint()));
    };
    let Some(spec) = CONNECTORS.iter().find(|spec| spec.name == named.value) else {
        let error =
            SqlError::at(named.value_at, format!("unknown connector '{}'", named.value)).with_hint(connectors_hint());
        return Err(error.with_suggestion(&named.value, CONNECTORS.iter().map(|spec| spec.name)));
    };
    let format = check_format(options, spec, at);
    if format.is_err() {
        // A misspelt key may be the reason why a required one is missing, so report it first.
        let of_connector = |option: &&Written| {
            let prefix = option.key.split_once('.').map(|(prefix, _)| prefix);
            !["connector", "format"].contains(&option.key.as_str()) && prefix.and_then(connector::find_format).is_none()
        };
        options.iter().filter(of_connector).try_for_each(|option| check_option(option, spec, None))?;
    }
    let format = format?;
    for option in options.iter().filter(|option| option.key != "connector" && option.key != "format") {
        check_option(option, spec, format)?;
    }
    let specs = spec.options.iter().chain(format.into_iter().flat_map(|format| format.options));
    if let Some(missing) = specs.filter(|spec| spec.required).find(|spec| options.iter().all(|o| o.key != spec.key)) {
        let error = SqlError::at(at, format!("connector '{}' needs option '{}'", spec.name, missing.key));
        return Err(error.with_hint(missing.doc));
    }
    let rest = options.iter().filter(|option| option.key != "connector");
    let checked: BTreeMap<String, String> = rest.map(|option| (option.key.clone(), option.value.clone())).collect();
    Ok((spec, TableConnector { name: spec.name.to_owned(), options: checked, secrets: BTreeMap::new() }))
}

fn check_format(options: &[Written], spec: &ConnectorSpec, at: Location) -> Result<Option<&'static FormatSpec>> {
    let given = options.iter().find(|option| option.key == "format");
    match given {
        None if spec.formats.is_empty() => Ok(None),
        None => Err(SqlError::at(at, format!("connector '{}' needs option 'format'", spec.name))
            .with_hint(format!("one of {}", spec.formats.join(", ")))),
        Some(given) if spec.formats.is_empty() => {
            Err(SqlError::at(given.key_at, format!("connector '{}' has no 'format'", spec.name)))
        }
        Some(given) if !spec.formats.contains(&given.value.as_str()) => {
            Err(SqlError::at(given.value_at, format!("connector '{}' has no format '{}'", spec.name, given.value))
                .with_hint(format!("one of {}", spec.formats.join(", ")))
                .with_suggestion(&given.value, spec.formats.iter().copied()))
        }
        Some(given) => Ok(connector::find_format(&given.value)),
    }
}

fn check_option(option: &Written, spec: &ConnectorSpec, format: Option<&FormatSpec>) -> Result<()> {
    let known: Vec<&OptionSpec> =
        spec.options.iter().chain(format.into_iter().flat_map(|format| format.options)).collect();
    let Some(found) = known.iter().find(|known| known.covers(&option.key)) else {
        let what = match option.key.split_once('.') {
            Some((prefix, _)) if format.is_some_and(|format| format.name == prefix) => format!("format '{prefix}'"),
            _ => format!("connector '{}'", spec.name),
        };
        let mut keys: Vec<&str> = known.iter().map(|known| known.key).collect();
        keys.extend((!spec.formats.is_empty()).then_some("format"));
        return Err(SqlError::at(option.key_at, format!("unknown option '{}' of {what}", option.key))
            .with_hint(format!("it has {}", keys.join(", ")))
            .with_suggestion(&option.key, keys));
    };
    if (option.key == "path" || option.key.ends_with(".path")) && option.value.trim().is_empty() {
        return Err(SqlError::at(option.value_at, format!("option '{}' is empty", option.key)));
    }
    match found.refuses(&option.value) {
        Some(reason) => {
            Err(SqlError::at(option.value_at, format!("option '{}' = '{}': {reason}", option.key, option.value)))
        }
        None => Ok(()),
    }
}

fn connectors_hint() -> String {
    let names: Vec<&str> = CONNECTORS.iter().map(|spec| spec.name).collect();
    format!("one of {}", names.join(", "))
}

fn text_or_word(parser: &mut Parser) -> Result<String> {
    let token = parser.next_token();
    match token.token {
        Token::SingleQuotedString(text) => Ok(text),
        Token::Word(word) => Ok(word.value),
        other => Err(SqlError::at(token.span.start, format!("expected a quoted text, found: {other}"))),
    }
}
