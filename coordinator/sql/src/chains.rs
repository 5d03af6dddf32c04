//! Balances long chains of `AND`, `OR` and `UNION ALL`.
//!
//! The parser nests `a AND b AND c …` one level per link, and everything that walks over a query recurses. All three
//! operators are associative, so a balanced tree with the terms in the same order means the same.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Query, SetExpr, SetOperator, SetQuantifier, Value, ValueWithSpan, Values, VisitMut,
    VisitorMut,
};

/// Shorter chains stay as they are.
const LINKS: usize = 16;

/// Balances the chains of a query.
pub(crate) fn flatten(query: &mut Query) {
    let visited: ControlFlow<()> = query.visit(&mut Flattener);
    debug_assert!(visited.is_continue(), "nothing ends the visit");
}

/// Balances the chains of an expression.
pub(crate) fn flatten_expr(expr: &mut Expr) {
    let visited: ControlFlow<()> = expr.visit(&mut Flattener);
    debug_assert!(visited.is_continue(), "nothing ends the visit");
}

/// Rebalances before the visit goes down, so that the visit is no deeper than the result.
struct Flattener;

impl VisitorMut for Flattener {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        balance_unions(&mut query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } = expr {
            let op = op.clone();
            if links(expr, &op) >= LINKS {
                let terms = terms_of(std::mem::replace(expr, nothing()), &op);
                *expr = balanced(terms, &|left, right| Expr::BinaryOp {
                    left: Box::new(left),
                    op: op.clone(),
                    right: Box::new(right),
                })
                .unwrap_or_else(nothing);
            }
        }
        ControlFlow::Continue(())
    }
}

fn nothing() -> Expr {
    Expr::Value(ValueWithSpan { value: Value::Null, span: sqlparser::tokenizer::Span::empty() })
}

/// The number of links down the left side.
fn links(expr: &Expr, op: &BinaryOperator) -> usize {
    let (mut links, mut left) = (0, expr);
    while let Expr::BinaryOp { left: below, op: found, .. } = left
        && found == op
    {
        (links, left) = (links + 1, below);
    }
    links
}

/// The terms of a chain from left to right.
fn terms_of(expr: Expr, op: &BinaryOperator) -> Vec<Expr> {
    let (mut terms, mut pending) = (Vec::new(), vec![expr]);
    while let Some(expr) = pending.pop() {
        match expr {
            Expr::BinaryOp { left, op: found, right } if found == *op => pending.extend([*right, *left]),
            term => terms.push(term),
        }
    }
    terms
}

/// A balanced tree over the parts, in their order; `None` without parts.
fn balanced<T>(mut parts: Vec<T>, join: &impl Fn(T, T) -> T) -> Option<T> {
    if parts.len() < 2 {
        return parts.pop();
    }
    let second = parts.split_off(parts.len().div_ceil(2));
    Some(join(balanced(parts, join)?, balanced(second, join)?))
}

fn is_union_all(op: SetOperator, set_quantifier: SetQuantifier) -> bool {
    op == SetOperator::Union && set_quantifier == SetQuantifier::All
}

fn balance_unions(body: &mut Box<SetExpr>) {
    let (mut links, mut left) = (0, body.as_ref());
    while let SetExpr::SetOperation { op, set_quantifier, left: below, .. } = left
        && is_union_all(*op, *set_quantifier)
    {
        (links, left) = (links + 1, below);
    }
    if links < LINKS {
        return;
    }
    let whole = std::mem::replace(
        body.as_mut(),
        SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows: Vec::new() }),
    );
    let (mut queries, mut pending) = (Vec::new(), vec![whole]);
    while let Some(query) = pending.pop() {
        match query {
            SetExpr::SetOperation { op, set_quantifier, left, right } if is_union_all(op, set_quantifier) => {
                pending.extend([*right, *left]);
            }
            other => queries.push(other),
        }
    }
    let join = |left, right| SetExpr::SetOperation {
        op: SetOperator::Union,
        set_quantifier: SetQuantifier::All,
        left: Box::new(left),
        right: Box::new(right),
    };
    if let Some(made) = balanced(queries, &join) {
        **body = made;
    }
}
