//! What to compute before a projection that names it several times: all pending columns of its input, at once.
//!
//! A column that can fail is not computed for rows that a guard of the projection keeps from it: then nothing is computed
//! before, unless the projection would become very long by that.

use std::collections::BTreeSet;

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{BinaryExpr, Expr, Operator};

use super::relation::{Relation, at, is_trivial, position_of};

/// As many nodes as a projection may have for the sake of its guards.
const NODES_MAX: usize = 10_000;

/// Whether the columns of the input are to be computed before these expressions over them.
pub(super) fn are_worth_settling(input: &Relation, bound: &[Expr]) -> bool {
    let references = references(input, bound);
    let costly = |index: usize| input.branches.iter().any(|branch| !is_trivial(&branch.exprs[index]));
    let repeats = references.iter().enumerate().any(|(index, count)| *count > 1 && costly(index));
    repeats && (!guards(input, bound) || nodes(input, bound, &references) > NODES_MAX)
}

/// How often each column is named.
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

/// Whether a column that can fail may be left out for some rows.
fn guards(input: &Relation, bound: &[Expr]) -> bool {
    let mut always = BTreeSet::new();
    bound.iter().for_each(|expr| add_unguarded(expr, &mut always));
    (0..input.columns.len()).any(|index| !always.contains(&index) && input.is_unsteady(&at(index)))
}

/// Adds the columns that are evaluated for every row.
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

/// How many nodes the expressions have where each column is what stands for it.
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
