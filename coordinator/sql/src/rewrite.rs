//! Flink's functions in DataFusion's words, on the syntax tree.
//!
//! And names for columns that have none: `bid.price`, a path into a ROW, is called `price`, any other expression is called
//! by its text.
//!
//! Functions are rewritten only where the meaning is the same for every input; a function without such a counterpart stays unknown.

use std::ops::ControlFlow;

use sqlparser::ast::{
    AccessExpr, BinaryOperator, CeilFloorKind, DataType, DateTimeField, ExactNumberInfo, Expr, ExtractSyntax, Function,
    FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, Select, SelectItem, Spanned,
    TableFactor, TableWithJoins, TypedString, Value, VisitMut, VisitorMut,
};

use crate::errors::{Result, SqlError};

/// The functions that are rewritten, in lower case.
pub(crate) const NAMES: &[&str] =
    &["mod", "date_format", "year", "quarter", "month", "week", "dayofmonth", "dayofyear", "hour", "minute", "second"];

/// Rewrites every function call of a query.
pub(crate) fn query(query: &mut Query) -> Result<()> {
    into_result(query.visit(&mut Rewriter))
}

/// Rewrites every function call of an expression.
pub(crate) fn expression(expr: &mut Expr) -> Result<()> {
    into_result(expr.visit(&mut Rewriter))
}

fn into_result(flow: ControlFlow<Box<SqlError>>) -> Result<()> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Box<SqlError>;

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
        if let Expr::Ceil { field: CeilFloorKind::DateTimeField(unit), .. }
        | Expr::Floor { field: CeilFloorKind::DateTimeField(unit), .. } = expr
            && *unit != DateTimeField::NoDateTime
        {
            let what = if matches!(expr, Expr::Ceil { .. }) { "CEIL" } else { "FLOOR" };
            let error = SqlError::at(expr.span().start, format!("{what}(… TO unit) is not supported"))
                .with_hint("use date_trunc");
            return ControlFlow::Break(Box::new(error));
        }
        if let Expr::TypedString(literal) = expr {
            with_all_digits(literal);
        }
        if let Some(double) = approximate(expr) {
            *expr = double;
        }
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        if let Some(replacement) = replacement(function) {
            *expr = replacement;
        }
        ControlFlow::Continue(())
    }
}

/// A literal `TIMESTAMP '…'` has the precision of its digits, where it has more than the type without a precision.
fn with_all_digits(literal: &mut TypedString) {
    const DIGITS: usize = 6;
    let DataType::Timestamp(digits @ None, _) = &mut literal.data_type else { return };
    let text = literal.value.to_string();
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    if fraction.bytes().take_while(u8::is_ascii_digit).count() > DIGITS {
        *digits = Some(9);
    }
}

/// `1e3` is a DOUBLE: the planner would read it as a decimal.
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

/// The planner knows `a.b.c` by itself; `(a).b` and `a[1].b` only with the field's name as a text.
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

/// The names by which a query can speak of its tables.
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
                // Columns of a table function's input keep that table's name.
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

/// The table that a window table function's first argument names.
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

/// The name of a column that is given none; `None` where it is a plain column.
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

fn replacement(function: &Function) -> Option<Expr> {
    let [part] = function.name.0.as_slice() else { return None };
    let name = part.as_ident()?.value.to_ascii_uppercase();
    let arguments = plain_arguments(function)?;
    match (name.as_str(), arguments.as_slice()) {
        ("MOD", [left, right]) => Some(Expr::Nested(Box::new(Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(left.clone()))),
            op: BinaryOperator::Modulo,
            right: Box::new(Expr::Nested(Box::new(right.clone()))),
        }))),
        ("DATE_FORMAT", [time, format]) => date_format(function, time, format),
        (name, [time]) => Some(Expr::Extract {
            field: extracted_field(name)?,
            syntax: ExtractSyntax::From,
            expr: Box::new(time.clone()),
        }),
        _ => None,
    }
}

fn extracted_field(name: &str) -> Option<DateTimeField> {
    Some(match name {
        "YEAR" => DateTimeField::Year,
        "QUARTER" => DateTimeField::Quarter,
        "MONTH" => DateTimeField::Month,
        "WEEK" => DateTimeField::Week(None),
        "DAYOFMONTH" => DateTimeField::Day,
        "DAYOFYEAR" => DateTimeField::Custom(Ident::new("DOY")),
        "HOUR" => DateTimeField::Hour,
        "MINUTE" => DateTimeField::Minute,
        "SECOND" => DateTimeField::Second,
        _ => return None,
    })
}

/// `DATE_FORMAT(t, 'yyyy-MM-dd')` as `to_char(t, '%Y-%m-%d')`.
fn date_format(function: &Function, time: &Expr, format: &Expr) -> Option<Expr> {
    let Expr::Value(value) = format else { return None };
    let Value::SingleQuotedString(pattern) = &value.value else { return None };
    let mut format = value.clone();
    format.value = Value::SingleQuotedString(strftime(pattern)?);
    let mut function = function.clone();
    let FunctionArguments::List(list) = &mut function.args else { return None };
    list.args = vec![
        FunctionArg::Unnamed(FunctionArgExpr::Expr(time.clone())),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(format))),
    ];
    let span = function.name.0.first()?.as_ident()?.span;
    function.name = ObjectName::from(vec![Ident::with_span(span, "to_char")]);
    Some(Expr::Function(function))
}

/// Java's pattern letters in chrono's; `None` where one has no counterpart.
fn strftime(pattern: &str) -> Option<String> {
    let mut made = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let run = rest.chars().take_while(|letter| *letter == first).count();
        let (letters, following) = rest.split_at(run * first.len_utf8());
        rest = following;
        match letters {
            "yyyy" => made.push_str("%Y"),
            "yy" => made.push_str("%y"),
            "MM" => made.push_str("%m"),
            "dd" => made.push_str("%d"),
            "HH" => made.push_str("%H"),
            "hh" => made.push_str("%I"),
            "mm" => made.push_str("%M"),
            "ss" => made.push_str("%S"),
            "SSS" => made.push_str("%3f"),
            "SSSSSS" => made.push_str("%6f"),
            "a" => made.push_str("%p"),
            _ if first.is_ascii_alphabetic() || first == '\'' => return None,
            other => made.push_str(&other.replace('%', "%%")),
        }
    }
    Some(made)
}

/// The arguments, where the call has nothing but plain ones.
fn plain_arguments(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let plain = list.duplicate_treatment.is_none()
        && list.clauses.is_empty()
        && function.filter.is_none()
        && function.over.is_none();
    let arguments = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    plain.then(|| arguments.collect::<Option<Vec<_>>>()).flatten()
}
