//! The options of a `WITH` clause as they stand in the script: `'key' = 'value'` or `'key' = secret('name')`.

use std::fmt;

use sqlparser::{
    parser::Parser,
    tokenizer::{Location, Token},
};
use thalweg_types::connector::{HIDDEN, SECRET_NAME_BYTES_MAX, is_secret, is_secret_name, is_secret_option};

use crate::{
    errors::{Result, SqlError},
    words::is_word,
};

/// One option, as the script has it.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) key: String,
    pub(crate) key_at: Location,
    /// The text, or the secret's name.
    pub(crate) value: String,
    pub(crate) value_at: Location,
    /// Whether the value is `secret('name')`.
    pub(crate) is_secret: bool,
}

impl Written {
    /// Reads `('k' = 'v', …)`.
    pub(crate) fn parse_all(parser: &mut Parser) -> Result<Vec<Self>> {
        parser.expect_token(&Token::LParen)?;
        let mut options: Vec<Self> = Vec::new();
        loop {
            let option = Self::parse(parser)?;
            if options.iter().any(|earlier| earlier.key == option.key) {
                return Err(SqlError::at(option.key_at, format!("option '{}' is given twice", option.key)));
            }
            options.push(option);
            if parser.consume_token(&Token::RParen) {
                return Ok(options);
            }
            parser.expect_token(&Token::Comma)?;
        }
    }

    fn parse(parser: &mut Parser) -> Result<Self> {
        let key_at = parser.peek_token_ref().span.start;
        let key = text_or_word(parser, None)?;
        // What follows may be a part of a secret with a quote too many, which an error must not tell.
        let hides = is_secret_option(None, &key);
        if hides && parser.peek_token_ref().token != Token::Eq {
            let at = parser.peek_token_ref().span.start;
            return Err(SqlError::at(at, format!("expected = after '{key}'")));
        }
        parser.expect_token(&Token::Eq)?;
        let value_at = parser.peek_token_ref().span.start;
        let is_secret =
            is_word(&parser.peek_token_ref().token, "secret") && parser.peek_nth_token_ref(1).token == Token::LParen;
        let value = if is_secret { secret_name(parser)? } else { text_or_word(parser, hides.then_some(key.as_str()))? };
        let rest = parser.peek_token_ref();
        if hides && !matches!(rest.token, Token::Comma | Token::RParen) {
            return Err(SqlError::at(rest.span.start, format!("expected , or ) after the value of '{key}'")));
        }
        Ok(Self { key, key_at, value, value_at, is_secret })
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if !self.is_secret && is_secret(None, &self.key, &self.value) { HIDDEN } else { &self.value };
        f.debug_struct("Written").field("key", &self.key).field("value", &value).finish_non_exhaustive()
    }
}

/// `secret('name')`
fn secret_name(parser: &mut Parser) -> Result<String> {
    const FORM: &str = "secret('name')";
    parser.next_token();
    parser.next_token();
    let token = parser.next_token();
    let at = token.span.start;
    let Token::SingleQuotedString(name) = token.token else {
        return Err(SqlError::at(at, "a secret is called by a quoted name").with_hint(FORM));
    };
    if !is_secret_name(&name) {
        let rule = format!("1 to {SECRET_NAME_BYTES_MAX} letters, digits, '-', '_' and '.', the first of them no '.'");
        return Err(SqlError::at(at, "this is not the name of a secret").with_hint(rule));
    }
    if !parser.consume_token(&Token::RParen) {
        let at = parser.peek_token_ref().span.start;
        return Err(SqlError::at(at, "a secret has nothing but a name").with_hint(FORM));
    }
    Ok(name)
}

/// `of`: the option whose value it is, if an error must not quote it.
fn text_or_word(parser: &mut Parser, of: Option<&str>) -> Result<String> {
    let token = parser.next_token();
    match (token.token, of) {
        (Token::SingleQuotedString(text), _) => Ok(text),
        (Token::Word(word), _) => Ok(word.value),
        (_, Some(key)) => Err(SqlError::at(token.span.start, format!("expected a quoted text for '{key}'"))),
        (other, None) => Err(SqlError::at(token.span.start, format!("expected a quoted text, found: {other}"))),
    }
}
