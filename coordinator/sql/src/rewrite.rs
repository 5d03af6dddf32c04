//! Flink's functions in DataFusion's words, on the syntax tree.
//!
//! Only where the meaning is the same for every input; a function without such a counterpart stays unknown.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CeilFloorKind, DateTimeField, Expr, ExtractSyntax, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, ObjectName, Query, Value, VisitMut, VisitorMut,
};

use crate::errors::{Result, SqlError};

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

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Expr::Ceil { field: CeilFloorKind::DateTimeField(unit), .. }
        | Expr::Floor { field: CeilFloorKind::DateTimeField(unit), .. } = expr
            && *unit != DateTimeField::NoDateTime
        {
            let what = if matches!(expr, Expr::Ceil { .. }) { "CEIL" } else { "FLOOR" };
            let error = SqlError::new(format!("{what}(… TO unit) is not supported")).with_hint("use date_trunc");
            return ControlFlow::Break(Box::new(error));
        }
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        if let Some(replacement) = replacement(function) {
            *expr = replacement;
        }
        ControlFlow::Continue(())
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
