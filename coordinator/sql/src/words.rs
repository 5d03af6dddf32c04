//! Words among the tokens of a script: whether a token is one, and where one stands.

use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

/// Whether a token is this unquoted word, in any case.
pub(crate) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// Whether a token is this identifier, in any case, or this text literal.
pub(crate) fn is_identifier(token: &Token, name: &str) -> bool {
    match token {
        Token::Word(found) => found.value.eq_ignore_ascii_case(name),
        Token::SingleQuotedString(found) => found == name,
        _ => false,
    }
}

/// The place of the last such word that starts at or before `place`.
pub(crate) fn word_before(tokens: &[TokenWithSpan], place: Location, word: &str) -> Option<Location> {
    tokens
        .iter()
        .map(|token| (token.span.start, &token.token))
        .take_while(|(start, _)| *start <= place)
        .filter(|(_, token)| is_word(token, word))
        .last()
        .map(|(start, _)| start)
}

/// The place of the first such word that starts at or after `place`.
pub(crate) fn word_after(tokens: &[TokenWithSpan], place: Location, word: &str) -> Option<Location> {
    tokens.iter().find(|token| token.span.start >= place && is_word(&token.token, word)).map(|token| token.span.start)
}
