//! Decides whether to compute a projection's input first, because the projection names a pending column several times.
//!
//! A column that can fail must not be computed for rows that a guard in the projection keeps from it. So a projection
//! with such a guard is left as it is, unless it would become very long.

use std::collections::BTreeSet;

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{BinaryExpr, Expr, Operator};

use super::relation::{Relation, at, position_of};
use crate::paths::is_trivial;

/// The most nodes that a projection may have so that its guards are kept.
const NODES_MAX: usize = 10_000;

/// Whether to compute the columns of the input before these expressions over them.
pub(super) fn are_worth_settling(input: &Relation, bound: &[Expr]) -> bool {
    let references = references(input, bound);
    let costly = |index: usize| input.branches.iter().any(|branch| !is_trivial(&branch.exprs[index]));
    let repeats = references.iter().enumerate().any(|(index, count)| *count > 1 && costly(index));
    repeats && (!guards(input, bound) || nodes(input, bound, &references) > NODES_MAX)
}

/// The number of references to each column.
fn references(input: &Relation, bound: &[Expr]) -> Vec<usize> {
    let mut references = vec![0usize; input.columns.len()];
    for expr in bound {
        each_node(expr, |node| {
            if let Some(count) = index_of(node).and_then(|index| references.get_mut(index)) {
                *count += 1;
            }
        });
    }
    references
}

/// Whether an expression guards a column that can fail: some rows may not need it.
fn guards(input: &Relation, bound: &[Expr]) -> bool {
    let mut always = BTreeSet::new();
    bound.iter().for_each(|expr| add_unguarded(expr, &mut always));
    (0..input.columns.len()).any(|index| !always.contains(&index) && input.is_unsteady(&at(index)))
}

/// Adds the columns that the expression evaluates for every row.
fn add_unguarded(expr: &Expr, always: &mut BTreeSet<usize>) {
    match expr {
        Expr::Column(_) => always.extend(index_of(expr)),
        Expr::Case(case) => {
            let first = case.expr.as_ref().or_else(|| case.when_then_expr.first().map(|(when, _)| when));
            first.into_iter().for_each(|first| add_unguarded(first, always));
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, .. }) => add_unguarded(left, always),
        Expr::Between(between) => add_unguarded(&between.expr, always),
        Expr::InList(list) => add_unguarded(&list.expr, always),
        Expr::ScalarFunction(call) if matches!(call.func.name(), "coalesce" | "nvl" | "nvl2") => {
            call.args.first().into_iter().for_each(|first| add_unguarded(first, always));
        }
        other => {
            let visited = other.apply_children(|child| {
                add_unguarded(child, always);
                Ok(TreeNodeRecursion::Continue)
            });
            debug_assert!(visited.is_ok(), "visiting children never fails");
        }
    }
}

/// The number of nodes that the expressions have with each column replaced by its expression.
fn nodes(input: &Relation, bound: &[Expr], references: &[usize]) -> usize {
    let count = |expr: &Expr| {
        let mut nodes = 0usize;
        each_node(expr, |_| nodes += 1);
        nodes
    };
    let column = |index: usize| input.branches.iter().map(|branch| count(&branch.exprs[index])).max().unwrap_or(0);
    let named = references.iter().enumerate().filter(|(_, times)| **times > 0);
    let below = named.map(|(index, times)| column(index).saturating_mul(*times));
    below.chain(bound.iter().map(count)).fold(0, usize::saturating_add)
}

fn each_node(expr: &Expr, mut then: impl FnMut(&Expr)) {
    let visited = expr.apply(|node| {
        then(node);
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(visited.is_ok(), "visiting never fails");
}

fn index_of(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Column(column) => position_of(column),
        _ => None,
    }
}
