//! Numbers columns of equal names where only their positions count: `n, n_2`.
//!
//! Positions count for the rows of a bare query, for what an `INSERT` writes, and for queries under a list of names,
//! `v (a, b)`. Everywhere else two columns of one name are refused.

use std::{collections::BTreeSet, ops::ControlFlow};

use sqlparser::ast::{
    Expr, Ident, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor, Value, VisitMut, VisitorMut,
    visit_expressions,
};

/// Numbers the columns of a query whose reader goes by position. `taken` holds the names that its `*` gives.
pub(crate) fn number(query: &mut Query, taken: &BTreeSet<String>) {
    number_body(&mut query.body, taken);
}

/// Numbers the columns of inner queries under a list of names: `WITH c (a, b) AS (…)`, `(…) AS t (a, b)`.
pub(crate) fn number_listed(query: &mut Query) {
    let visited: ControlFlow<()> = query.visit(&mut Listed);
    debug_assert!(visited.is_continue(), "nothing ends the visit");
}

/// The query with only its `*` columns; `None` if it has only those, or none.
pub(crate) fn only_wildcards(query: &Query) -> Option<Query> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let is_wildcard =
        |item: &&SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(_, _));
    let wildcards: Vec<SelectItem> = select.projection.iter().filter(is_wildcard).cloned().collect();
    if wildcards.is_empty() || wildcards.len() == select.projection.len() {
        return None;
    }
    let mut only = Query { order_by: None, ..query.clone() };
    let SetExpr::Select(select) = only.body.as_mut() else { return None };
    select.projection = wildcards;
    Some(only)
}

struct Listed;

impl VisitorMut for Listed {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for table in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            number_if_listed(&mut table.query, &table.alias);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { subquery, alias: Some(alias), .. } = factor {
            number_if_listed(subquery, alias);
        }
        ControlFlow::Continue(())
    }
}

fn number_if_listed(query: &mut Query, alias: &TableAlias) {
    if !alias.columns.is_empty() {
        number(query, &BTreeSet::new());
    }
}

fn number_body(body: &mut SetExpr, taken: &BTreeSet<String>) {
    match body {
        SetExpr::Select(select) => number_select(select, taken),
        SetExpr::Query(query) => number_body(&mut query.body, taken),
        SetExpr::SetOperation { left, right, .. } => {
            number_body(left, taken);
            number_body(right, taken);
        }
        _ => {}
    }
}

fn number_select(select: &mut Select, wildcards: &BTreeSet<String>) {
    let mut taken: BTreeSet<String> = select.projection.iter().filter_map(name_of).map(str::to_owned).collect();
    taken.extend(wildcards.iter().cloned());
    let mut seen = wildcards.clone();
    let referred = referred(select);
    for item in &mut select.projection {
        let Some(name) = name_of(item).map(str::to_owned) else { continue };
        if seen.insert(name.clone()) || referred.contains(&name) {
            continue;
        }
        let fresh = (2u64..).map(|number| format!("{name}_{number}")).find(|fresh| taken.insert(fresh.clone()));
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }, Some(fresh)) = (&mut *item, fresh)
        else {
            continue;
        };
        // A placeholder while the expression moves into the new item.
        let expr = std::mem::replace(expr, Expr::Value(Value::Null.into()));
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('`', fresh) };
    }
}

/// The names by which the rest of the query refers to its columns. Duplicates among these stay, so that they are
/// refused.
fn referred(select: &Select) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut note = |expr: &Expr| {
        if let Expr::Identifier(name) = expr {
            names.insert(name.value.clone());
        }
        ControlFlow::<()>::Continue(())
    };
    for expr in select.having.iter().chain(&select.qualify) {
        let _never_ends = visit_expressions(expr, &mut note);
    }
    names
}

/// A column's name. `rewrite` has named the columns without one before.
fn name_of(item: &SelectItem) -> Option<&str> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(&alias.value),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(&name.value),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(|part| part.value.as_str()),
        _ => None,
    }
}
