//! The place in the script of a plan's construct.
//!
//! A plan has no places, but its columns do. So the construct's keyword is the last one before its first column.
//! Without a column it is the statement's first such keyword.

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::Expr;
use sqlparser::{
    keywords::Keyword,
    tokenizer::{Location, Token, TokenWithSpan},
};
use thalweg_types::Place;

use crate::{
    errors::location_of,
    words::{word_after, word_before},
};

pub(super) struct Places<'a> {
    pub(super) script: &'a [TokenWithSpan],
    pub(super) statement: &'a [TokenWithSpan],
}

impl Places<'_> {
    pub(super) fn of(&self, exprs: &[Expr], keyword: Option<&str>) -> Option<Location> {
        let start = self.statement.first().map(|token| token.span.start)?;
        match (first_place(exprs), keyword) {
            (Some(place), Some(keyword)) => word_before(self.script, place, keyword).or(Some(place)),
            (Some(place), None) => Some(place),
            (None, Some(keyword)) => word_after(self.statement, start, keyword).or(Some(start)),
            (None, None) => Some(start),
        }
    }
}

impl Places<'_> {
    /// The place where an expression begins, as near as its columns tell; without columns, the start of the statement.
    pub(super) fn of_expression(&self, expr: &Expr) -> Option<Place> {
        let location = match first_place(std::slice::from_ref(expr)) {
            Some(place) if matches!(expr, Expr::Column(_)) => place,
            Some(place) => self.beginning(place),
            None => self.statement.first()?.span.start,
        };
        Some(Place { line: location.line, column: location.column })
    }

    /// Goes back from a column over the calls around it and the operands before it, to where the expression begins.
    fn beginning(&self, column: Location) -> Location {
        let tokens = self.script.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
        let before: Vec<&TokenWithSpan> = tokens.take_while(|token| token.span.start < column).collect();
        let (mut place, mut rest) = (column, before.as_slice());
        loop {
            let (found, left) = match rest {
                [left @ .., name, paren] if paren.token == Token::LParen && is_name(&name.token) => (name, left),
                [left @ .., paren] if paren.token == Token::LParen => (paren, left),
                [left @ .., operand, operator] if is_operator(&operator.token) && is_operand(&operand.token) => {
                    (operand, left)
                }
                [left @ .., name, period] if period.token == Token::Period => (name, left),
                _ => return place,
            };
            (place, rest) = (found.span.start, left);
        }
    }
}

/// Whether a word before a parenthesis names a function or a cast.
fn is_name(token: &Token) -> bool {
    const OTHERS: [Keyword; 17] = [
        Keyword::AND,
        Keyword::OR,
        Keyword::NOT,
        Keyword::IN,
        Keyword::SELECT,
        Keyword::WHERE,
        Keyword::ON,
        Keyword::BY,
        Keyword::HAVING,
        Keyword::WHEN,
        Keyword::THEN,
        Keyword::ELSE,
        Keyword::AS,
        Keyword::FROM,
        Keyword::JOIN,
        Keyword::BETWEEN,
        Keyword::CASE,
    ];
    matches!(token, Token::Word(word) if word.quote_style.is_some() || !OTHERS.contains(&word.keyword))
}

fn is_operator(token: &Token) -> bool {
    matches!(token, Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod | Token::StringConcat)
}

fn is_operand(token: &Token) -> bool {
    matches!(token, Token::Number(..) | Token::SingleQuotedString(_)) || is_name(token)
}

fn first_place(exprs: &[Expr]) -> Option<Location> {
    let mut first: Option<Location> = None;
    for expr in exprs {
        let visited = expr.apply(|node| {
            if let Expr::Column(column) = node {
                let place = column.spans.first().map(location_of);
                first = match (first, place) {
                    (Some(known), Some(place)) => Some(known.min(place)),
                    (known, place) => known.or(place),
                };
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(visited.is_ok(), "looking at nodes never fails");
    }
    first
}
