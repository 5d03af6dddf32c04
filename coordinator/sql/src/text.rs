//! The script as tokens: where statements begin and end, and how deep they nest.
//!
//! The whole script is tokenised once, so that every place in an error is a place in the script. This holds too for a
//! view that is used further down.

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace, Word};

use crate::{
    dialect::ThalwegDialect,
    errors::{Result, SqlError},
    limits::{TYPE_LEVELS_MAX, too_many_levels},
    words::is_word,
};

/// The most levels that an expression may have, counted in words and signs.
const NESTING_MAX: usize = 8000;
/// The most `AND`s and `OR`s in a row. `chains` balances them.
const LINKS_MAX: usize = 50_000;
/// The most queries of a script, branches of `UNION ALL` not counted: all of them may be nested, as views over views.
const QUERIES_MAX: usize = 1000;
/// The most branches of `UNION ALL` in a script. `chains` balances them.
const BRANCHES_MAX: usize = 10_000;
/// The levels by which a join nests the joins before it.
const JOIN_LEVELS: usize = 8;
/// Words that separate parts which are not nested in one another.
const PARTS: &[&str] = &["SELECT", "WHERE", "GROUP", "HAVING", "UNION", "WHEN", "THEN", "ELSE"];
/// Words that parameters of a type in angle brackets may follow.
const TYPES: &[&str] = &["ROW", "ARRAY", "MAP", "STRUCT", "MULTISET"];

/// Splits a script into its statements, without the semicolons. A statement set is one statement.
///
/// A script that cannot be tokenised (because of an open quote, for example) is one statement.
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

/// Whether the text ends with a complete statement, so that a shell may submit it. The empty text is complete.
#[must_use]
pub fn is_complete(sql: &str) -> bool {
    let Ok(tokens) = tokens_of(sql) else { return false };
    let open = units_of(&tokens).last().is_some_and(|unit| opens_set(unit) && !unit.last().is_some_and(is_end));
    !open && tokens.last().is_none_or(|token| token.token == Token::SemiColon)
}

/// The significant tokens of a text, with their places.
pub(crate) fn tokens_of(sql: &str) -> Result<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(&ThalwegDialect, sql).tokenize_with_location()?;
    Ok(tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF)).collect())
}

/// Refuses hints. To the tokeniser they are comments, so nothing would heed them.
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

/// The tokens of each statement, in sqlparser's form.
pub(crate) fn statements_of(tokens: &[TokenWithSpan]) -> Vec<Vec<TokenWithSpan>> {
    let pieces = tokens.split(|token| token.token == Token::SemiColon);
    pieces.filter(|piece| !piece.is_empty()).map(normalized).collect()
}

/// Refuses a script with more queries than may be nested.
pub(crate) fn check_queries(tokens: &[TokenWithSpan]) -> Result<()> {
    let is_one_of = |token: &TokenWithSpan, words: &[&str]| words.iter().any(|word| is_word(&token.token, word));
    let (mut queries, mut branches, mut unions) = (0, 0, 0);
    for (at, token) in tokens.iter().enumerate() {
        let follows = |words: [&str; 2]| {
            at.checked_sub(2)
                .is_some_and(|from| tokens[from..at].iter().zip(words).all(|(token, word)| is_word(&token.token, word)))
        };
        if is_one_of(token, &["SELECT", "VALUES"]) {
            let count = if follows(["UNION", "ALL"]) { &mut branches } else { &mut queries };
            *count += 1;
        } else if is_one_of(token, &["UNION", "EXCEPT", "INTERSECT"]) {
            let is_flat = tokens.get(at + 1).is_some_and(|next| is_word(&next.token, "ALL"));
            unions += usize::from(!is_flat);
        }
        let (count, most, what) = [
            (queries, QUERIES_MAX, "queries besides the branches of UNION ALL"),
            (unions, QUERIES_MAX, "UNION, EXCEPT and INTERSECT without ALL"),
            (branches, BRANCHES_MAX, "branches of UNION ALL"),
        ]
        .into_iter()
        .find(|(count, most, _)| count > most)
        .unwrap_or_default();
        if count > most {
            let reason = format!("a script has at most {most} {what}: split it into several");
            return Err(SqlError::at(token.span.start, reason));
        }
    }
    Ok(())
}

/// What is known so far of the depth of an expression within an open parenthesis or `CASE`.
#[derive(Debug, Default)]
struct Open {
    /// The depth at which the parenthesis opens.
    before: usize,
    /// The greatest depth among the finished parts.
    most: usize,
    /// The depth of what stands to the left of the last operator, with the operator.
    left: usize,
    /// The number of words and signs since the last operator, plus the depth of the parentheses among them.
    words: usize,
    /// The number of `AND` and `OR` since the last comma.
    connectives: usize,
    /// The number of `BETWEEN` that wait for their `AND`.
    ranges: usize,
    is_case: bool,
    is_type: bool,
    /// The number of levels of nested values or types around it.
    levels: usize,
}

impl Open {
    fn depth(&self) -> usize {
        self.most.max(self.left).max(self.words)
    }

    /// Begins a part that is not nested with the part before.
    fn part(&mut self) {
        self.most = self.depth();
        (self.left, self.words) = (0, 0);
    }

    /// Nests what came before under the operator that comes now.
    fn link(&mut self, levels: usize) {
        self.left = self.left.max(self.words) + levels;
        self.words = 0;
    }
}

/// Refuses a statement with expressions that may be too deep for recursive walks.
///
/// The depth is estimated from above: an expression is at most as deep as it has words and signs. Parts that commas,
/// `AND`, `OR` and the words of `CASE` separate are not nested, and in `a + b + c` only the signs add depth.
pub(crate) fn check_nesting(statement: &[TokenWithSpan]) -> Result<()> {
    let mut outer: Vec<Open> = Vec::new();
    let mut open = Open::default();
    for (at, token) in statement.iter().enumerate() {
        let follows_type = at > 0 && TYPES.iter().any(|word| is_word(&statement[at - 1].token, word));
        let is_map = follows_type && is_word(&statement[at - 1].token, "MAP");
        let levels = open.levels + usize::from(follows_type) + usize::from(is_map);
        match &token.token {
            Token::Lt if follows_type => {
                begin(&mut outer, &mut open, Open { is_type: true, levels, ..Open::default() })
            }
            Token::Gt | Token::ShiftRight if open.is_type => {
                end(&mut outer, &mut open);
                if token.token == Token::ShiftRight && open.is_type {
                    end(&mut outer, &mut open);
                }
            }
            Token::LParen | Token::LBracket => begin(&mut outer, &mut open, Open { levels, ..Open::default() }),
            Token::RParen | Token::RBracket => end(&mut outer, &mut open),
            Token::Comma => {
                open.part();
                open.connectives = 0;
            }
            Token::Word(_) => word(&token.token, &mut outer, &mut open),
            Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::Mod
            | Token::StringConcat
            | Token::Eq
            | Token::Neq
            | Token::Lt
            | Token::Gt
            | Token::LtEq
            | Token::GtEq
            | Token::Caret
            | Token::Ampersand
            | Token::Pipe => open.link(1),
            _ => open.words += 1,
        }
        if open.levels > TYPE_LEVELS_MAX {
            return Err(SqlError::at(token.span.start, too_many_levels()));
        }
        if open.before + open.depth() > NESTING_MAX || open.connectives > LINKS_MAX {
            let (most, what) = if open.connectives > LINKS_MAX {
                (LINKS_MAX, "AND and OR in a row")
            } else {
                (NESTING_MAX, "words and signs in one another")
            };
            let reason = format!("an expression has more than {most} {what}: use IN (…), or views");
            return Err(SqlError::at(token.span.start, reason));
        }
    }
    Ok(())
}

fn begin(outer: &mut Vec<Open>, open: &mut Open, inner: Open) {
    open.words += 1;
    let inner = Open { before: open.before + open.words, ..inner };
    outer.push(std::mem::replace(open, inner));
}

fn end(outer: &mut Vec<Open>, open: &mut Open) {
    let Some(around) = outer.pop() else { return };
    let within = open.depth();
    *open = around;
    open.words += within;
}

fn word(token: &Token, outer: &mut Vec<Open>, open: &mut Open) {
    let is = |word: &str| is_word(token, word);
    if is("CASE") {
        begin(outer, open, Open { is_case: true, ..Open::default() });
    } else if is("END") && open.is_case {
        end(outer, open);
    } else if is("BETWEEN") {
        open.ranges += 1;
        open.link(1);
    } else if is("AND") && open.ranges > 0 {
        open.ranges -= 1;
        open.link(1);
    } else if is("AND") || is("OR") {
        open.connectives += 1;
        open.part();
    } else if is("JOIN") {
        open.link(JOIN_LEVELS);
    } else if PARTS.iter().any(|part| is(part)) {
        open.part();
        open.ranges = 0;
    } else {
        open.words += 1;
    }
}

pub(crate) fn slice(lines: &[&str], from: Location, to: Location) -> String {
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

/// Whether a statement begins a statement set.
pub(crate) fn opens_set(unit: &[TokenWithSpan]) -> bool {
    let starts = |words: &[&str]| {
        unit.len() >= words.len() && unit.iter().zip(words).all(|(token, word)| is_word(&token.token, word))
    };
    starts(&["BEGIN", "STATEMENT", "SET"]) || starts(&["EXECUTE", "STATEMENT", "SET"])
}

fn is_end(token: &TokenWithSpan) -> bool {
    is_word(&token.token, "END")
}

/// Translates Flink's words that sqlparser does not know: `ROW<…>` becomes `STRUCT<…>`, and `NOT NULL` within angle
/// brackets is dropped, because nested fields are always nullable.
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
