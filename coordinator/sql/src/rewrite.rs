//! Rewrites a query's syntax tree from Flink's form to one that DataFusion plans with the same meaning. `calls`
//! rewrites the function calls.

use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    LimitClause, ObjectNamePart, Query, Select, SelectItem, TableFactor, TableWithJoins, TypedString, Value, VisitMut,
    VisitorMut,
};

use crate::{
    calls,
    errors::{Result, SqlError},
    functions::Functions,
};

/// Rewrites a query.
pub(crate) fn query(query: &mut Query, functions: &Functions) -> Result<()> {
    into_result(query.visit(&mut Rewriter { functions }))
}

/// Rewrites an expression.
pub(crate) fn expression(expr: &mut Expr, functions: &Functions) -> Result<()> {
    into_result(expr.visit(&mut Rewriter { functions }))
}

fn into_result(flow: ControlFlow<Box<SqlError>>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Rewriter<'a> {
    functions: &'a Functions,
}

impl VisitorMut for Rewriter<'_> {
    type Break = Box<SqlError>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        limit_for_fetch(query);
        ControlFlow::Continue(())
    }

    /// Names columns that have no name. `bid.price`, a path into a ROW, becomes `price`; any other expression is named
    /// by its text.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        let tables = tables_of(&select.from);
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && let Some(alias) = name_of(expr, &tables)
            {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::CompoundFieldAccess { root, access_chain } = expr {
            name_fields(root, access_chain);
        }
        if let Expr::TypedString(literal) = expr {
            with_all_digits(literal);
        }
        if let Some(double) = approximate(expr) {
            *expr = double;
        }
        calls::reword(expr)?;
        by_own_name(expr, self.functions);
        ControlFlow::Continue(())
    }
}

/// Calls a function by its own name instead of an alias of it. The planner wraps a call by an alias in `Expr::Alias`,
/// and to find the type of that it asks twice for the types inside. For nested calls this would double per level.
fn by_own_name(expr: &mut Expr, functions: &Functions) {
    if let Expr::Function(Function { name, .. }) = expr
        && let [ObjectNamePart::Identifier(ident)] = name.0.as_mut_slice()
        && let Some(own) = functions.own_name(&ident.value.to_lowercase())
        && !own.eq_ignore_ascii_case(&ident.value)
    {
        ident.value = own.to_owned();
    }
}

/// Turns `FETCH FIRST n ROWS ONLY` into `LIMIT n`, because the planner does not support `FETCH`.
fn limit_for_fetch(query: &mut Query) {
    let Some(fetch) = query.fetch.take() else { return };
    let one = || Expr::Value(Value::Number("1".to_owned(), false).into());
    let count = fetch.quantity.unwrap_or_else(one);
    let offset = match query.limit_clause.take() {
        Some(LimitClause::LimitOffset { offset, .. }) => offset,
        Some(LimitClause::OffsetCommaLimit { .. }) | None => None,
    };
    query.limit_clause = Some(LimitClause::LimitOffset { limit: Some(count), offset, limit_by: Vec::new() });
}

/// Gives a literal `TIMESTAMP '…'` with more than 6 digits of a fraction the precision 9. The type without a precision
/// has 6.
fn with_all_digits(literal: &mut TypedString) {
    const DIGITS: usize = 6;
    let DataType::Timestamp(digits @ None, _) = &mut literal.data_type else { return };
    let text = literal.value.to_string();
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    if fraction.bytes().take_while(u8::is_ascii_digit).count() > DIGITS {
        *digits = Some(9);
    }
}

/// Makes `1e3` a DOUBLE. The planner would read it as a decimal.
fn approximate(expr: &Expr) -> Option<Expr> {
    let Expr::Value(value) = expr else { return None };
    let Value::Number(digits, _) = &value.value else { return None };
    if !digits.contains(['e', 'E']) {
        return None;
    }
    let value = Value::SingleQuotedString(digits.clone()).with_span(value.span);
    let data_type = DataType::Double(ExactNumberInfo::None);
    Some(Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax: false }))
}

/// Turns field names into text literals in `(a).b` and `a[1].b`. The planner knows plain names only in paths such as
/// `a.b.c`.
fn name_fields(root: &Expr, chain: &mut [AccessExpr]) {
    let is_name = |access: &AccessExpr| matches!(access, AccessExpr::Dot(Expr::Identifier(_)));
    let known = if matches!(root, Expr::Identifier(_)) { chain.iter().take_while(|a| is_name(a)).count() } else { 0 };
    for access in &mut chain[known..] {
        if let AccessExpr::Dot(Expr::Identifier(name)) = access {
            let text = Value::SingleQuotedString(name.value.clone()).with_span(name.span);
            *access = AccessExpr::Dot(Expr::Value(text));
        }
    }
}

/// The names by which a query can refer to its tables.
fn tables_of(from: &[TableWithJoins]) -> Vec<String> {
    let mut names = Vec::new();
    for table in from {
        let factors = std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation));
        for factor in factors {
            match factor {
                TableFactor::Table { alias: Some(alias), .. }
                | TableFactor::Derived { alias: Some(alias), .. }
                | TableFactor::TableFunction { alias: Some(alias), .. } => names.push(alias.name.value.clone()),
                TableFactor::Table { name, alias: None, args: None, .. } => {
                    names.extend(name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.clone()));
                }
                // The columns of a table function keep the name of its input table.
                TableFactor::Table { args: Some(args), alias: None, .. } => {
                    names.extend(args.args.first().map(last_word))
                }
                TableFactor::TableFunction { expr: Expr::Function(call), alias: None } => {
                    if let FunctionArguments::List(list) = &call.args {
                        names.extend(list.args.first().map(last_word));
                    }
                }
                TableFactor::NestedJoin { table_with_joins, .. } => {
                    names.extend(tables_of(std::slice::from_ref(table_with_joins.as_ref())));
                }
                _ => {}
            }
        }
    }
    names
}

/// The name of the table that is a window table function's first argument.
fn last_word(argument: &FunctionArg) -> String {
    let expr = match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => expr,
        FunctionArg::Named { arg: FunctionArgExpr::Expr(expr), .. } => expr,
        _ => return String::new(),
    };
    let named = match expr {
        Expr::Prefixed { value, .. } => match value.as_ref() {
            Expr::Tuple(parts) => parts.first(),
            other => Some(other),
        },
        other => Some(other),
    };
    match named {
        Some(Expr::Identifier(ident)) => ident.value.clone(),
        Some(Expr::CompoundIdentifier(parts)) => parts.last().map(|part| part.value.clone()).unwrap_or_default(),
        _ => String::new(),
    }
}

/// The name for a column without one; `None` for a plain column, which keeps its own.
fn name_of(expr: &Expr, tables: &[String]) -> Option<Ident> {
    match expr {
        Expr::Identifier(_) => None,
        Expr::CompoundIdentifier(parts) => {
            let (first, last) = (parts.first()?, parts.last()?);
            let is_path = parts.len() > 2 || !tables.contains(&first.value);
            is_path.then(|| Ident::with_quote('`', &last.value))
        }
        other => Some(Ident::with_quote('`', other.to_string())),
    }
}
