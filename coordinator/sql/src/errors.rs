//! Errors of planning, with the place in the SQL text.
//!
//! Every error names the construct and, where the text gives one, its line and column (from 1, in characters).

use std::fmt;

use datafusion_common::{DataFusionError, Diagnostic, SchemaError, Span as PlanSpan};
use sqlparser::{
    keywords::{ALL_KEYWORDS, Keyword},
    parser::ParserError,
    tokenizer::{Location, Token, TokenWithSpan, TokenizerError},
};

use crate::{
    wording::{lower_first, readable},
    words::{is_identifier, is_word, word_before},
};

/// Why a script cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// What is wrong.
    pub message: String,
    /// Line of the text, from 1; `None` where the error has no place in the text (a setting given by the caller, for
    /// example).
    pub line: Option<u64>,
    /// Column in that line, from 1.
    pub column: Option<u64>,
    /// What to do about it.
    pub hint: Option<String>,
}

pub(crate) type Result<T, E = SqlError> = std::result::Result<T, E>;

impl SqlError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), line: None, column: None, hint: None }
    }

    pub(crate) fn at(location: Location, message: impl Into<String>) -> Self {
        Self::new(message).with_place(Some(location))
    }

    /// Sets the place, unless the error has one already or `location` is none.
    pub(crate) fn with_place(mut self, location: Option<Location>) -> Self {
        if let (None, Some(location)) = (self.line, location.filter(|location| location.line > 0)) {
            self.line = Some(location.line);
            self.column = Some(location.column);
        }
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the hint `did you mean 'x'?` if one of the candidates is near.
    pub(crate) fn with_suggestion<'a>(self, wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(wrong, candidates) {
            Some(near) => self.with_hint(format!("did you mean '{near}'?")),
            None => self,
        }
    }

    /// Translates an error of DataFusion. The place is the span of its diagnostic. Without one, it is the place of what
    /// the message mentions among `tokens`, the statement's tokens.
    pub(crate) fn from_plan(error: &DataFusionError, tokens: &[TokenWithSpan]) -> Self {
        if let Some(known) = unknown_column(error, tokens).or_else(|| repeated_column(error, tokens)) {
            return known;
        }
        let diagnostic = error.diagnostic();
        let grouping = diagnostic.filter(|diagnostic| diagnostic.message.contains("GROUP BY"));
        let text = grouping.map_or_else(|| readable(error), |diagnostic| lower_first(&diagnostic.message));
        let (message, near) = match text.split_once("; did you mean ") {
            Some((message, near)) => (message.to_owned(), Some(near.trim_matches(['\'', '?', ' ']).to_owned())),
            None => (text, None),
        };
        let span = diagnostic.and_then(|diagnostic| diagnostic.span);
        let place = match diagnostic.filter(|diagnostic| diagnostic.message.contains("different number of columns")) {
            Some(diagnostic) => second_query(diagnostic, tokens),
            None => span.map(location_of),
        };
        let place = place.or_else(|| mentioned_place(&message, tokens));
        let wrong = message.split('\'').nth(1).unwrap_or_default().to_owned();
        Self::new(message).with_place(place).with_suggestion(&wrong, near.as_deref())
    }
}

impl std::error::Error for SqlError {}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl From<TokenizerError> for SqlError {
    fn from(error: TokenizerError) -> Self {
        Self::at(error.location, lower_first(&error.message))
    }
}

impl From<ParserError> for SqlError {
    fn from(error: ParserError) -> Self {
        match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => from_parser_text(&text),
            ParserError::RecursionLimitExceeded => Self::new("the statement is nested too deeply"),
        }
    }
}

/// The nearest candidate, if it is near enough for a typing error.
pub(crate) fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = wrong.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance > 0 || *candidate != wrong)
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(folded.chars().count()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

pub(crate) fn location_of(span: PlanSpan) -> Location {
    Location { line: span.start.line, column: span.start.column }
}

fn from_parser_text(text: &str) -> SqlError {
    let text = text.trim_start_matches("sql parser error: ");
    let text = &text.replace("found: EOF", "found: the end");
    let Some((message, place)) = text.rsplit_once(" at Line: ") else {
        return SqlError::new(lower_first(text.trim_end_matches(" at ")));
    };
    let numbers = place.split_once(", Column: ").and_then(|(line, column)| {
        Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
    });
    let error = SqlError::new(lower_first(message)).with_place(numbers);
    match message.rsplit_once("found: ").map(|(_, found)| found) {
        Some(word) if is_keyword(word) && expects_name(message) => error.with_hint(quote_it(word)),
        _ => error,
    }
}

/// Whether a name was among what the parser expected.
fn expects_name(message: &str) -> bool {
    let expected = message.to_lowercase();
    ["identifier", "an expression", "column name", "table name"].iter().any(|what| expected.contains(what))
}

/// Whether the word is a keyword of SQL.
pub(crate) fn is_keyword(word: &str) -> bool {
    ALL_KEYWORDS.binary_search(&word.to_uppercase().as_str()).is_ok()
}

/// The hint for a keyword that stands where a name is expected.
pub(crate) fn quote_it(word: &str) -> String {
    format!("if it is a name, quote it: `{word}`")
}

fn unknown_column(error: &DataFusionError, tokens: &[TokenWithSpan]) -> Option<SqlError> {
    let DataFusionError::SchemaError(schema_error, _) = error.find_root() else { return None };
    let SchemaError::FieldNotFound { field, valid_fields } = schema_error.as_ref() else { return None };
    let span = error.diagnostic().and_then(|diagnostic| diagnostic.span).or_else(|| field.spans.first());
    let written = tokens.iter().find(|token| is_identifier(&token.token, &field.name));
    let place = span.map(location_of).or_else(|| written.map(|token| token.span.start));
    let names: Vec<&str> = valid_fields.iter().map(|valid| valid.name.as_str()).collect();
    let mut unknown = SqlError::new(format!("unknown column '{}'", field.flat_name())).with_place(place);
    if (1..=12).contains(&names.len()) {
        unknown = unknown.with_hint(format!("there are {}", names.join(", ")));
    }
    Some(unknown.with_suggestion(&field.name, names))
}

/// An error about two columns of one query with the same name. By then every column has a name, also one that is
/// computed.
fn repeated_column(error: &DataFusionError, tokens: &[TokenWithSpan]) -> Option<SqlError> {
    let name = match error.find_root() {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
                name.clone()
            }
            SchemaError::AmbiguousReference { field } if field.relation.is_some() => field.name.clone(),
            _ => return None,
        },
        DataFusionError::Plan(text) => {
            let text = text.strip_prefix("Projections require unique expression names but the expression \"")?;
            let expression = text.split_once("\" at position ")?.0;
            let (_, name) = expression.rsplit_once(" AS ").or_else(|| expression.rsplit_once('.'))?;
            name.to_owned()
        }
        _ => return None,
    };
    let message = format!("two columns of one query are named '{name}'");
    let mut written = tokens.iter().filter(|token| is_identifier(&token.token, &name));
    let first = written.next();
    let place = written.next().or(first).or(tokens.first()).map(|token| token.span.start);
    Some(SqlError::new(message).with_place(place).with_hint("name one of them differently: … AS name"))
}

/// The place of the `UNION` before the second of two queries whose columns do not match.
fn second_query(diagnostic: &Diagnostic, tokens: &[TokenWithSpan]) -> Option<Location> {
    let start = location_of(diagnostic.notes.last()?.span?);
    word_before(tokens, start, "UNION")
}

/// The place of the clause, function or identifier that the message mentions; else the statement's start.
fn mentioned_place(message: &str, tokens: &[TokenWithSpan]) -> Option<Location> {
    let clause = message.contains("WHERE").then(|| tokens.iter().position(|token| is_word(&token.token, "WHERE")));
    let quoted: Vec<&str> = message.split('\'').skip(1).step_by(2).collect();
    let is_quoted = |token: &Token| quoted.iter().any(|name| is_word(token, name));
    let called = tokens.windows(2).find(|pair| pair[1].token == Token::LParen && is_quoted(&pair[0].token));
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
    let words: Vec<&str> = message.split(|letter| !is_part(letter)).filter(|word| !word.is_empty()).collect();
    let mentioned = || {
        tokens.iter().find(|token| match &token.token {
            Token::Word(word) => word.keyword == Keyword::NoKeyword && words.contains(&word.value.as_str()),
            _ => false,
        })
    };
    let clause = clause.flatten().and_then(|index| tokens.get(index));
    let found = clause.or_else(|| called.map(|pair| &pair[0])).or_else(mentioned);
    found.or(tokens.first()).map(|token| token.span.start)
}
