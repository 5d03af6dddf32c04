//! Parses one statement.

use sqlparser::{
    ast::{Ident, ObjectName, Query},
    keywords::Keyword,
    parser::Parser,
    tokenizer::{Location, Token, TokenWithSpan},
};

use super::{columns::TableElements, written::Written};
use crate::{
    chains,
    dialect::{self, ThalwegDialect},
    errors::{Result, SqlError},
    words::is_word,
};

/// A statement with its tokens, which give errors their place.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) kind: StatementKind,
    pub(crate) tokens: Vec<TokenWithSpan>,
}

/// What a statement asks for.
#[derive(Debug)]
pub(crate) enum StatementKind {
    CreateTable(Box<CreateTable>),
    CreateView(Box<CreateView>),
    Insert(Box<Insert>),
    Query(Box<Query>),
    Set {
        key: String,
        value: String,
        at: Location,
    },
    Explain(Vec<TokenWithSpan>),
    Drop {
        view: bool,
        if_exists: bool,
        names: Vec<Ident>,
    },
    ShowTables,
    Describe(Ident),
    /// `BEGIN STATEMENT SET`. All inserts of a script are one job anyway, so it is only checked.
    SetBegin,
    /// The `END` of a statement set.
    SetEnd,
}

/// `CREATE TABLE`
#[derive(Debug)]
pub(crate) struct CreateTable {
    pub(crate) name: Ident,
    pub(crate) if_not_exists: bool,
    pub(crate) elements: TableElements,
    pub(crate) partitioned: Option<PartitionClause>,
    pub(crate) options: Vec<Written>,
}

/// `PARTITIONED BY (a, b)`
#[derive(Debug)]
pub(crate) struct PartitionClause {
    pub(crate) at: Location,
    pub(crate) columns: Vec<Ident>,
}

/// `CREATE VIEW`
#[derive(Debug)]
pub(crate) struct CreateView {
    pub(crate) name: Ident,
    pub(crate) or_replace: bool,
    pub(crate) if_not_exists: bool,
    pub(crate) columns: Vec<Ident>,
    pub(crate) query: Box<Query>,
}

/// `INSERT INTO`
#[derive(Debug)]
pub(crate) struct Insert {
    pub(crate) table: Ident,
    pub(crate) columns: Vec<Ident>,
    pub(crate) query: Box<Query>,
}

/// Parses one statement.
pub(crate) fn parse(tokens: Vec<TokenWithSpan>) -> Result<Statement> {
    refuse_emit(&tokens)?;
    dialect::begin_statement(tokens.len());
    let mut parser = Parser::new(&ThalwegDialect).with_tokens_with_locations(tokens.clone());
    let end = tokens.last().map(|token| token.span.end);
    let mut kind = parse_kind(&mut parser, &tokens).map_err(|error| error.with_place(end))?;
    match &mut kind {
        StatementKind::Query(query) => chains::flatten(query),
        StatementKind::Insert(insert) => chains::flatten(&mut insert.query),
        StatementKind::CreateView(view) => chains::flatten(&mut view.query),
        StatementKind::CreateTable(_)
        | StatementKind::Set { .. }
        | StatementKind::Explain(_)
        | StatementKind::Drop { .. }
        | StatementKind::ShowTables
        | StatementKind::Describe(_)
        | StatementKind::SetBegin
        | StatementKind::SetEnd => {}
    }
    let rest = parser.peek_token_ref().clone();
    if rest.token != Token::EOF && !matches!(kind, StatementKind::Explain(_)) {
        let error = SqlError::at(rest.span.start, format!("expected the statement's end, found: {}", rest.token));
        return Err(if begins_statement(&rest.token) {
            error.with_hint("is there a ';' missing before it?")
        } else {
            error
        });
    }
    Ok(Statement { kind, tokens })
}

/// Whether this token begins a statement and cannot continue one.
fn begins_statement(token: &Token) -> bool {
    const WORDS: [&str; 9] = ["SELECT", "CREATE", "INSERT", "DROP", "EXPLAIN", "DESCRIBE", "SHOW", "BEGIN", "SET"];
    WORDS.iter().any(|word| is_word(token, word))
}

fn parse_kind(parser: &mut Parser, tokens: &[TokenWithSpan]) -> Result<StatementKind> {
    let first = parser.peek_token_ref().clone();
    let Token::Word(word) = &first.token else {
        if first.token == Token::LParen {
            return Ok(StatementKind::Query(parser.parse_query()?));
        }
        return Err(SqlError::at(first.span.start, format!("expected a statement, found: {}", first.token)));
    };
    match word.value.to_ascii_uppercase().as_str() {
        "SELECT" | "WITH" | "VALUES" => Ok(StatementKind::Query(parser.parse_query()?)),
        "INSERT" => parse_insert(parser),
        "CREATE" => parse_create(parser),
        "SET" | "RESET" => parse_set(parser),
        "DROP" => parse_drop(parser),
        "SHOW" => parse_show(parser),
        "DESCRIBE" | "DESC" => {
            parser.next_token();
            Ok(StatementKind::Describe(simple_name(&parser.parse_object_name(false)?)?))
        }
        "EXPLAIN" => parse_explain(tokens),
        "BEGIN" => parse_begin(parser),
        "END" => {
            parser.next_token();
            Ok(StatementKind::SetEnd)
        }
        "EXECUTE" => parse_execute(parser),
        other => {
            let known = ["SELECT", "INSERT", "CREATE", "SET", "DROP", "SHOW", "DESCRIBE", "EXPLAIN", "BEGIN", "END"];
            Err(SqlError::at(first.span.start, format!("{other} statements are not supported"))
                .with_suggestion(other, known))
        }
    }
}

fn parse_insert(parser: &mut Parser) -> Result<StatementKind> {
    parser.next_token();
    let overwrite = parser.peek_token_ref().clone();
    if is_word(&overwrite.token, "OVERWRITE") {
        return Err(SqlError::at(overwrite.span.start, "INSERT OVERWRITE is not supported"));
    }
    parser.expect_keyword(Keyword::INTO)?;
    let table = simple_name(&parser.parse_object_name(false)?)?;
    let next = parser.peek_nth_token_ref(1).token.clone();
    let lists = parser.peek_token_ref().token == Token::LParen
        && !["SELECT", "WITH", "VALUES"].iter().any(|word| is_word(&next, word))
        && next != Token::LParen;
    let columns = if lists { parenthesized_names(parser)? } else { Vec::new() };
    let source = parser.peek_token_ref().clone();
    if is_word(&source.token, "PARTITION") {
        return Err(SqlError::at(source.span.start, "INSERT … PARTITION is not supported"));
    }
    Ok(StatementKind::Insert(Box::new(Insert { table, columns, query: parser.parse_query()? })))
}

fn parse_create(parser: &mut Parser) -> Result<StatementKind> {
    parser.next_token();
    let or_replace = parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    let _all_are_local = parser.parse_keyword(Keyword::TEMPORARY) || parser.parse_keyword(Keyword::TEMP);
    let what = parser.next_token();
    if is_word(&what.token, "TABLE") && !or_replace {
        return parse_create_table(parser);
    }
    if is_word(&what.token, "VIEW") {
        return parse_create_view(parser, or_replace);
    }
    Err(SqlError::at(what.span.start, format!("CREATE {} is not supported", what.token))
        .with_hint("CREATE TABLE and CREATE VIEW are"))
}

fn parse_create_table(parser: &mut Parser) -> Result<StatementKind> {
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = simple_name(&parser.parse_object_name(false)?)?;
    let elements =
        if parser.consume_token(&Token::LParen) { TableElements::parse(parser)? } else { TableElements::default() };
    if parser.parse_keyword(Keyword::COMMENT) {
        parser.parse_literal_string()?;
    }
    let partitioned = parse_partitioned(parser)?;
    refuse_clauses(parser, &["DISTRIBUTED"])?;
    let options = if parser.parse_keyword(Keyword::WITH) { Written::parse_all(parser)? } else { Vec::new() };
    refuse_clauses(parser, &["LIKE", "AS"])?;
    Ok(StatementKind::CreateTable(Box::new(CreateTable { name, if_not_exists, elements, partitioned, options })))
}

fn parse_partitioned(parser: &mut Parser) -> Result<Option<PartitionClause>> {
    let at = parser.peek_token_ref().span.start;
    if !is_word(&parser.peek_token_ref().token, "PARTITIONED") {
        return Ok(None);
    }
    expect_words(parser, &["PARTITIONED", "BY"])?;
    Ok(Some(PartitionClause { at, columns: parenthesized_names(parser)? }))
}

fn refuse_clauses(parser: &Parser, words: &[&str]) -> Result<()> {
    let token = parser.peek_token_ref();
    match words.iter().find(|word| is_word(&token.token, word)) {
        Some(word) => {
            let clause = match *word {
                "AS" => "CREATE TABLE … AS SELECT",
                other => other,
            };
            Err(SqlError::at(token.span.start, format!("{clause} is not supported")))
        }
        None => Ok(()),
    }
}

fn parse_create_view(parser: &mut Parser, or_replace: bool) -> Result<StatementKind> {
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = simple_name(&parser.parse_object_name(false)?)?;
    let columns =
        if parser.peek_token_ref().token == Token::LParen { parenthesized_names(parser)? } else { Vec::new() };
    if parser.parse_keyword(Keyword::COMMENT) {
        parser.parse_literal_string()?;
    }
    parser.expect_keyword(Keyword::AS)?;
    let query = parser.parse_query()?;
    Ok(StatementKind::CreateView(Box::new(CreateView { name, or_replace, if_not_exists, columns, query })))
}

fn parse_set(parser: &mut Parser) -> Result<StatementKind> {
    let word = parser.next_token();
    if is_word(&word.token, "RESET") {
        return Err(SqlError::at(word.span.start, "RESET statements are not supported"));
    }
    let key = parser.next_token();
    let form = "SET 'key' = 'value'";
    let Token::SingleQuotedString(name) = key.token else {
        return Err(SqlError::at(key.span.start, "a setting's key is a quoted text").with_hint(form));
    };
    parser.expect_token(&Token::Eq)?;
    let value = parser.next_token();
    let text = match value.token {
        Token::SingleQuotedString(text) => text,
        Token::Number(number, _) => number,
        _ => return Err(SqlError::at(value.span.start, "a setting's value is a quoted text").with_hint(form)),
    };
    Ok(StatementKind::Set { key: name, value: text, at: key.span.start })
}

fn parse_drop(parser: &mut Parser) -> Result<StatementKind> {
    parser.next_token();
    let _all_are_local = parser.parse_keyword(Keyword::TEMPORARY);
    let what = parser.next_token();
    let view = is_word(&what.token, "VIEW");
    if !view && !is_word(&what.token, "TABLE") {
        return Err(SqlError::at(what.span.start, format!("DROP {} is not supported", what.token)));
    }
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let names = parser.parse_comma_separated(Parser::parse_identifier)?;
    Ok(StatementKind::Drop { view, if_exists, names })
}

fn parse_show(parser: &mut Parser) -> Result<StatementKind> {
    parser.next_token();
    let what = parser.next_token();
    if is_word(&what.token, "TABLES") || is_word(&what.token, "VIEWS") {
        return Ok(StatementKind::ShowTables);
    }
    Err(SqlError::at(what.span.start, format!("SHOW {} is not supported", what.token)).with_hint("SHOW TABLES is"))
}

/// Keeps the statement to explain as tokens; it is parsed when it is planned.
fn parse_explain(tokens: &[TokenWithSpan]) -> Result<StatementKind> {
    let mut rest = &tokens[1..];
    let starts = |words: &[&str]| {
        rest.len() > words.len() && rest.iter().zip(words).all(|(token, word)| is_word(&token.token, word))
    };
    if starts(&["STATEMENT", "SET"]) {
        return Err(SqlError::at(rest[0].span.start, "EXPLAIN STATEMENT SET is not supported")
            .with_hint("explain each INSERT by itself"));
    }
    if starts(&["PLAN", "FOR"]) {
        rest = &rest[2..];
    }
    if rest.is_empty() {
        let end = tokens.last().map_or(Location::empty(), |token| token.span.start);
        return Err(SqlError::at(end, "EXPLAIN needs a statement"));
    }
    Ok(StatementKind::Explain(rest.to_vec()))
}

fn parse_begin(parser: &mut Parser) -> Result<StatementKind> {
    parser.next_token();
    expect_words(parser, &["STATEMENT", "SET"])?;
    Ok(StatementKind::SetBegin)
}

/// `EXECUTE STATEMENT SET BEGIN INSERT …`, `EXECUTE INSERT …`
fn parse_execute(parser: &mut Parser) -> Result<StatementKind> {
    parser.next_token();
    if is_word(&parser.peek_token_ref().token, "STATEMENT") {
        expect_words(parser, &["STATEMENT", "SET", "BEGIN"])?;
    }
    if is_word(&parser.peek_token_ref().token, "INSERT") {
        return parse_insert(parser);
    }
    let token = parser.peek_token_ref();
    Err(SqlError::at(token.span.start, format!("expected INSERT, found: {}", token.token)))
}

fn expect_words(parser: &mut Parser, words: &[&str]) -> Result<()> {
    for word in words {
        let token = parser.next_token();
        if !is_word(&token.token, word) {
            return Err(SqlError::at(token.span.start, format!("expected {word}, found: {}", token.token)));
        }
    }
    Ok(())
}

fn parenthesized_names(parser: &mut Parser) -> Result<Vec<Ident>> {
    parser.expect_token(&Token::LParen)?;
    let names = parser.parse_comma_separated(Parser::parse_identifier)?;
    parser.expect_token(&Token::RParen)?;
    Ok(names)
}

fn simple_name(name: &ObjectName) -> Result<Ident> {
    match name.0.as_slice() {
        [part] => part.as_ident().cloned().ok_or_else(|| SqlError::new(format!("{name} is not a table's name"))),
        parts => {
            let place = parts.first().and_then(|part| part.as_ident()).map(|ident| ident.span.start);
            Err(SqlError::new(format!("{name}: there are no catalogs or databases, a table's name is one word"))
                .with_place(place))
        }
    }
}

fn refuse_emit(tokens: &[TokenWithSpan]) -> Result<()> {
    let follows = ["CHANGES", "ON", "AFTER", "FINAL", "WITH", "UPDATE"];
    let emit = tokens
        .windows(2)
        .find(|pair| is_word(&pair[0].token, "EMIT") && follows.iter().any(|word| is_word(&pair[1].token, word)));
    match emit {
        Some(pair) => Err(SqlError::at(pair[0].span.start, "EMIT is not supported")
            .with_hint("windows emit once, when the watermark passes their end")),
        None => Ok(()),
    }
}
