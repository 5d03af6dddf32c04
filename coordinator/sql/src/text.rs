//! The script as tokens: where statements begin and end, and where a word stands.
//!
//! The whole script is tokenised once, so that every place in an error is one of the script, also for text that comes from
//! a view defined further up. Flink's words that sqlparser doesn't know are put into its own here: `ROW<…>` becomes
//! `STRUCT<…>`, and `NOT NULL` within angle brackets is dropped (every nested field is nullable).

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace, Word};

use crate::{
    dialect::ThalwegDialect,
    errors::{Result, SqlError},
};

/// The most tokens of a statement that may be in one another.
const NESTING_MAX: usize = 8000;
/// The most queries of a script: the branches of a UNION, and views that name one another, are in one another too.
const QUERIES_MAX: usize = 1000;
/// What a type's parameters in angle brackets follow.
const TYPES: &[&str] = &["ROW", "ARRAY", "MAP", "STRUCT", "MULTISET"];

/// Splits a script into its statements, as text without the semicolons. A statement set is one statement.
///
/// Text that cannot be tokenised (an open quote, for example) is one statement.
#[must_use]
pub fn split_statements(sql: &str) -> Vec<String> {
    let Ok(tokens) = tokens_of(sql) else { return vec![sql.trim().to_owned()] };
    let lines: Vec<&str> = sql.split('\n').collect();
    units_of(&tokens)
        .iter()
        .filter_map(|unit| Some((unit.first()?, unit.last()?)))
        .map(|(first, last)| slice(&lines, first.span.start, last.span.end).trim().to_owned())
        .collect()
}

/// Whether the text ends with a finished statement, so that a shell may submit it; the empty text does.
#[must_use]
pub fn is_complete(sql: &str) -> bool {
    let Ok(tokens) = tokens_of(sql) else { return false };
    let open = units_of(&tokens).last().is_some_and(|unit| opens_set(unit) && !unit.last().is_some_and(is_end));
    !open && tokens.last().is_none_or(|token| token.token == Token::SemiColon)
}

/// The significant tokens of a text, with places.
pub(crate) fn tokens_of(sql: &str) -> Result<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(&ThalwegDialect, sql).tokenize_with_location()?;
    Ok(tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF)).collect())
}

/// Refuses hints, which are comments to the tokens' readers: nobody would heed them.
pub(crate) fn refuse_hints(sql: &str) -> Result<()> {
    if !sql.contains("/*+") {
        return Ok(());
    }
    let tokens = Tokenizer::new(&ThalwegDialect, sql).tokenize_with_location()?;
    let is_hint = |token: &&TokenWithSpan| match &token.token {
        Token::Whitespace(Whitespace::MultiLineComment(text)) => text.starts_with('+'),
        _ => false,
    };
    match tokens.iter().find(is_hint) {
        Some(hint) => Err(SqlError::at(hint.span.start, "hints, /*+ … */, are not supported")
            .with_hint("options of a table stand in its WITH, settings in SET 'key' = 'value'")),
        None => Ok(()),
    }
}

/// The tokens of each statement, in the parser's words.
pub(crate) fn statements_of(tokens: &[TokenWithSpan]) -> Vec<Vec<TokenWithSpan>> {
    let pieces = tokens.split(|token| token.token == Token::SemiColon);
    pieces.filter(|piece| !piece.is_empty()).map(normalized).collect()
}

/// Refuses a script of more queries than may be in one another.
pub(crate) fn check_queries(tokens: &[TokenWithSpan]) -> Result<()> {
    for words in [&["SELECT", "VALUES"][..], &["UNION", "EXCEPT", "INTERSECT"]] {
        let is_one = |token: &&TokenWithSpan| words.iter().any(|word| is_word(&token.token, word));
        if let Some(token) = tokens.iter().filter(is_one).nth(QUERIES_MAX) {
            return Err(SqlError::at(token.span.start, format!("a script has at most {QUERIES_MAX} queries")));
        }
    }
    Ok(())
}

/// Refuses a statement whose expressions may be too deep to be walked over.
///
/// An expression is at most as deep as it has tokens, and what commas separate is not in one another. So the bound is on the
/// tokens since the last comma, with those before each open parenthesis, and the most that any closed one has had.
pub(crate) fn check_nesting(statement: &[TokenWithSpan]) -> Result<()> {
    // Of each open parenthesis: how deep it stands, and the most that was within it.
    let (mut open, mut depth) = (Vec::<(usize, usize)>::new(), 0usize);
    let mut angles = Vec::new();
    for (at, token) in statement.iter().enumerate() {
        depth += 1;
        match token.token {
            Token::Lt if at > 0 && TYPES.iter().any(|word| is_word(&statement[at - 1].token, word)) => {
                angles.push(open.len());
                open.push((depth, depth));
            }
            Token::Gt | Token::ShiftRight => {
                for _ in 0..if token.token == Token::Gt { 1 } else { 2 } {
                    if angles.pop_if(|place| *place + 1 == open.len()).is_some() {
                        depth = open.pop().map_or(depth, |(_, most)| most.max(depth));
                    }
                }
            }
            Token::LParen | Token::LBracket => open.push((depth, depth)),
            Token::RParen | Token::RBracket => depth = open.pop().map_or(depth, |(_, most)| most.max(depth)),
            Token::Comma => match open.last_mut() {
                Some((before, most)) => (*most, depth) = (depth.max(*most), *before),
                None => depth = 0,
            },
            _ => {}
        }
        if depth > NESTING_MAX {
            let reason =
                format!("an expression has more than {NESTING_MAX} words and signs in a row: use IN (…), or views");
            return Err(SqlError::at(token.span.start, reason));
        }
    }
    Ok(())
}

/// Whether a token is this unquoted word, in any case.
pub(crate) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// Whether a token is this identifier or this literal.
pub(crate) fn is_identifier(token: &Token, name: &str) -> bool {
    match token {
        Token::Word(found) => found.value.eq_ignore_ascii_case(name),
        Token::SingleQuotedString(found) => found == name,
        _ => false,
    }
}

/// The last of these words that starts at or before a place.
pub(crate) fn word_before(tokens: &[TokenWithSpan], place: Location, word: &str) -> Option<Location> {
    tokens
        .iter()
        .map(|token| (token.span.start, &token.token))
        .take_while(|(start, _)| *start <= place)
        .filter(|(_, token)| is_word(token, word))
        .last()
        .map(|(start, _)| start)
}

/// The first of these words that starts at or after a place.
pub(crate) fn word_after(tokens: &[TokenWithSpan], place: Location, word: &str) -> Option<Location> {
    tokens.iter().find(|token| token.span.start >= place && is_word(&token.token, word)).map(|token| token.span.start)
}

fn slice(lines: &[&str], from: Location, to: Location) -> String {
    let index = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    let (first, last) = (index(from.line), index(to.line));
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate().take(last.saturating_add(1)).skip(first) {
        let skip = if number == first { index(from.column) } else { 0 };
        let end = if number == last { index(to.column) } else { usize::MAX };
        text.extend(line.chars().take(end).skip(skip));
        if number < last {
            text.push('\n');
        }
    }
    text
}

fn units_of(tokens: &[TokenWithSpan]) -> Vec<&[TokenWithSpan]> {
    let (mut units, mut start) = (Vec::new(), 0);
    for (index, token) in tokens.iter().enumerate() {
        let unit = &tokens[start..index];
        if token.token == Token::SemiColon && (!opens_set(unit) || unit.last().is_some_and(is_end)) {
            units.push(unit);
            start = index + 1;
        }
    }
    units.push(&tokens[start..]);
    units.retain(|unit| !unit.is_empty());
    units
}

fn opens_set(unit: &[TokenWithSpan]) -> bool {
    let starts = |words: &[&str]| {
        unit.len() >= words.len() && unit.iter().zip(words).all(|(token, word)| is_word(&token.token, word))
    };
    starts(&["BEGIN", "STATEMENT", "SET"]) || starts(&["EXECUTE", "STATEMENT", "SET"])
}

fn is_end(token: &TokenWithSpan) -> bool {
    is_word(&token.token, "END")
}

fn normalized(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut made: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut depth = 0usize;
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        let next = tokens.get(index + 1).map(|token| &token.token);
        index += 1;
        if next == Some(&Token::Lt)
            && ["ROW", "ARRAY", "MAP", "STRUCT", "MULTISET"].iter().any(|w| is_word(&token.token, w))
        {
            depth += 1;
            made.push(if is_word(&token.token, "ROW") { struct_word(token.span) } else { token.clone() });
            made.extend(tokens.get(index).cloned());
            index += 1;
        } else if depth > 0 && is_word(&token.token, "NOT") && next.is_some_and(|next| is_word(next, "NULL")) {
            index += 1;
        } else {
            depth = match token.token {
                Token::Gt => depth.saturating_sub(1),
                Token::ShiftRight => depth.saturating_sub(2),
                _ => depth,
            };
            made.push(token.clone());
        }
    }
    made
}

fn struct_word(span: Span) -> TokenWithSpan {
    let word = Word { value: "STRUCT".to_owned(), quote_style: None, keyword: sqlparser::keywords::Keyword::STRUCT };
    TokenWithSpan::new(Token::Word(word), span)
}
