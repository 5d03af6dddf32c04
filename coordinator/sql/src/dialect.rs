//! How sqlparser reads Flink's dialect.
//!
//! Switch on only what this engine supports or refuses by name. A construct that the parser accepts and the planner
//! overlooks would be a wrong answer.

use std::{any::TypeId, cell::Cell};

use sqlparser::{
    ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName},
    dialect::{Dialect, GenericDialect},
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::Token,
};

use crate::words::is_word;

/// The most expressions that may begin per token of a statement. A correct statement begins fewer than one per token.
const BEGUN_PER_TOKEN: usize = 20;

thread_local! {
    /// How many expressions of the current statement may still begin.
    static LEFT_TO_BEGIN: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Sets the budget for a statement of so many tokens. Call it before the statement is parsed. If something is wrong
/// after a word that may be a name, such as `CAST`, the parser reads the rest a second time; nested words of this kind
/// would double the work per level.
pub(crate) fn begin_statement(tokens: usize) {
    LEFT_TO_BEGIN.set(tokens.saturating_mul(BEGUN_PER_TOKEN).saturating_add(1000));
}

/// Flink's dialect, as far as this engine goes.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ThalwegDialect;

impl Dialect for ThalwegDialect {
    fn supports_nested_comments(&self) -> bool {
        true
    }

    // The parser reads some types (`TIMESTAMP_LTZ`, unsigned ones) and functions for the generic dialect only.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"' || ch == '`'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_group_by_with_modifier(&self) -> bool {
        true
    }

    fn supports_match_recognize(&self) -> bool {
        true
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_within_after_array_aggregation(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_struct_literal(&self) -> bool {
        true
    }

    fn supports_map_literal_with_angle_brackets(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        match LEFT_TO_BEGIN.get().checked_sub(1) {
            Some(left) => LEFT_TO_BEGIN.set(left),
            // The parser reports its first error, not this one.
            None => return Some(Err(ParserError::ParserError("the statement cannot be read".to_owned()))),
        }
        let names_table =
            parser.peek_keyword(Keyword::TABLE) && matches!(parser.peek_nth_token_ref(1).token, Token::Word(_));
        if names_table {
            return Some(table_argument(parser));
        }
        let map = parser.peek_keyword(Keyword::MAP) && parser.peek_nth_token_ref(1).token == Token::LBracket;
        map.then(|| map_of_pairs(parser))
    }

    /// Parses `IS [NOT] DISTINCT FROM` with its proper precedence. The parser itself would take all that follows, with
    /// `AND` and `OR`, as the right side.
    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        let made: fn(Box<Expr>, Box<Expr>) -> Expr =
            if parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) {
                Expr::IsDistinctFrom
            } else if parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) {
                Expr::IsNotDistinctFrom
            } else {
                return None;
            };
        Some(parser.parse_subexpr(precedence).map(|right| made(Box::new(expr.clone()), Box::new(right))))
    }
}

/// `MAP[key, value, …]` as a call of `map`.
fn map_of_pairs(parser: &mut Parser) -> Result<Expr, ParserError> {
    let name = ObjectName::from(vec![Ident::with_span(parser.next_token().span, "map")]);
    parser.expect_token(&Token::LBracket)?;
    let pairs = parser.parse_comma_separated(Parser::parse_expr)?;
    parser.expect_token(&Token::RBracket)?;
    let args = pairs.into_iter().map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))).collect();
    Ok(Expr::Function(Function {
        name,
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }))
}

/// Reads `TABLE t [PARTITION BY k, …]`, the first argument of a window table function, as
/// `Expr::Prefixed { prefix: TABLE, value: Tuple(t, k, …) }`.
fn table_argument(parser: &mut Parser) -> Result<Expr, ParserError> {
    let prefix = Ident::with_span(parser.next_token().span, "TABLE");
    let name = parser.parse_object_name(false)?;
    let mut parts = vec![Expr::CompoundIdentifier(name.0.iter().filter_map(|part| part.as_ident().cloned()).collect())];
    if parser.parse_keywords(&[Keyword::PARTITION, Keyword::BY]) {
        let parenthesized = parser.consume_token(&Token::LParen);
        parts.push(Expr::Identifier(parser.parse_identifier()?));
        while parser.peek_token_ref().token == Token::Comma && (parenthesized || continues_keys(parser)) {
            parser.next_token();
            parts.push(Expr::Identifier(parser.parse_identifier()?));
        }
        if parenthesized {
            parser.expect_token(&Token::RParen)?;
        }
    }
    Ok(Expr::Prefixed { prefix, value: Box::new(Expr::Tuple(parts)) })
}

/// Whether another key follows the comma, and not the function's next argument.
fn continues_keys(parser: &Parser) -> bool {
    let (first, second) = (&parser.peek_nth_token_ref(1).token, &parser.peek_nth_token_ref(2).token);
    matches!(first, Token::Word(_))
        && !is_word(first, "DESCRIPTOR")
        && !is_word(first, "INTERVAL")
        && *second != Token::RArrow
}
