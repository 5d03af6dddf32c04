//! Rewrites function calls on the syntax tree, from Flink's form to the functions that the planner knows.

use std::ops::ControlFlow;

use sqlparser::{
    ast::{
        BinaryOperator, CaseWhen, CeilFloorKind, DateTimeField, Expr, ExtractSyntax, Function, FunctionArg,
        FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, NullTreatment,
        ObjectName, Spanned, UnaryOperator, Value, ValueWithSpan, helpers::attached_token::AttachedToken,
    },
    tokenizer::Span,
};

use crate::errors::SqlError;

/// Function names that only this module knows, in lower case.
pub(crate) const NAMES: &[&str] = &[
    "mod",
    "if",
    "year",
    "quarter",
    "month",
    "week",
    "dayofmonth",
    "dayofyear",
    "dayofweek",
    "hour",
    "minute",
    "second",
    "listagg",
    "variance",
];

type Flow = ControlFlow<Box<SqlError>>;

/// Rewrites an expression that is in Flink's form.
pub(crate) fn reword(expr: &mut Expr) -> Flow {
    let made = match expr {
        Expr::Ceil { expr: time, field: CeilFloorKind::DateTimeField(unit) } if *unit != DateTimeField::NoDateTime => {
            Some(to_unit("ceil_to", unit, time))
        }
        Expr::Floor { expr: time, field: CeilFloorKind::DateTimeField(unit) } if *unit != DateTimeField::NoDateTime => {
            Some(to_unit("floor_to", unit, time))
        }
        Expr::Like { any: false, expr, pattern, escape_char, negated } => {
            match like(expr, pattern, escape_char.as_ref(), *negated) {
                Ok(made) => made,
                Err(error) => return ControlFlow::Break(Box::new(error)),
            }
        }
        Expr::ILike { pattern, escape_char, .. } if escape_char.is_some() || has_backslash(pattern) => {
            let error = SqlError::at(pattern.span().start, "ILIKE with an escape character is not supported")
                .with_hint("LOWER(text) LIKE pattern ESCAPE character");
            return ControlFlow::Break(Box::new(error));
        }
        Expr::SimilarTo { expr, pattern, escape_char, negated } => {
            match similar(expr, pattern, escape_char.as_ref(), *negated) {
                Ok(made) => Some(made),
                Err(error) => return ControlFlow::Break(Box::new(error)),
            }
        }
        Expr::Function(function) => {
            adjust(function);
            match replacement(function) {
                Ok(made) => made,
                Err(error) => return ControlFlow::Break(Box::new(error)),
            }
        }
        _ => None,
    };
    if let Some(made) = made {
        *expr = made;
    }
    ControlFlow::Continue(())
}

fn text(text: impl Into<String>, span: Span) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.into()).with_span(span))
}

fn call(name: &str, span: Span, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::with_span(span, name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn to_unit(name: &str, unit: &DateTimeField, time: &Expr) -> Expr {
    let span = time.span();
    call(name, span, vec![text(unit.to_string(), span), time.clone()])
}

fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some(text),
        Expr::Nested(inner) => literal(inner),
        _ => None,
    }
}

fn has_backslash(pattern: &Expr) -> bool {
    literal(pattern).is_some_and(|pattern| pattern.contains('\\'))
}

/// `LIKE` as a call of our own function, or `None` where DataFusion's kernel agrees with Flink. To Flink a backslash is
/// an ordinary character; to the kernel it escapes the character after it. So the kernel gets only literal patterns
/// without a backslash and without an `ESCAPE` clause.
fn like(expr: &Expr, pattern: &Expr, escape: Option<&ValueWithSpan>, negated: bool) -> Result<Option<Expr>, SqlError> {
    let plain = literal(pattern).is_some_and(|pattern| !pattern.contains('\\'));
    if plain && escape.is_none() {
        return Ok(None);
    }
    matched("like", expr, pattern, escape, negated).map(Some)
}

fn similar(expr: &Expr, pattern: &Expr, escape: Option<&ValueWithSpan>, negated: bool) -> Result<Expr, SqlError> {
    matched("similar_to", expr, pattern, escape, negated)
}

fn matched(
    name: &str,
    expr: &Expr,
    pattern: &Expr,
    escape: Option<&ValueWithSpan>,
    negated: bool,
) -> Result<Expr, SqlError> {
    let at = pattern.span();
    let character = match escape.map(|escape| &escape.value) {
        None => None,
        Some(Value::SingleQuotedString(text)) => Some(text.as_str()),
        Some(other) => return Err(SqlError::at(at.start, format!("ESCAPE {other}: expected one character in quotes"))),
    };
    thalweg_functions::check_pattern(name, literal(pattern), character)
        .map_err(|reason| SqlError::at(at.start, reason))?;
    let mut arguments = vec![expr.clone(), pattern.clone()];
    arguments.extend(character.map(|character| text(character, at)));
    let made = call(name, at, arguments);
    Ok(match negated {
        true => Expr::Nested(Box::new(Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(made) })),
        false => made,
    })
}

/// Adds what Flink implies (arguments, treatment of NULLs), and renames aggregates that have another name in Flink.
fn adjust(function: &mut Function) {
    let [part] = function.name.0.as_slice() else { return };
    let Some(ident) = part.as_ident() else { return };
    let (name, span) = (ident.value.to_ascii_lowercase(), ident.span);
    let FunctionArguments::List(list) = &mut function.args else { return };
    let renamed = match name.as_str() {
        "variance" => "var_samp",
        "listagg" => {
            if list.args.len() == 1 {
                list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(text(",", span))));
            }
            "string_agg"
        }
        // In Flink they skip NULLs unless the call says otherwise.
        "first_value" | "last_value" if function.over.is_none() => {
            let said =
                |clause: &FunctionArgumentClause| matches!(clause, FunctionArgumentClause::IgnoreOrRespectNulls(_));
            if function.null_treatment.is_none() && !list.clauses.iter().any(said) {
                function.null_treatment = Some(NullTreatment::IgnoreNulls);
            }
            return;
        }
        _ => return,
    };
    function.name = ObjectName::from(vec![Ident::with_span(span, renamed)]);
}

fn replacement(function: &Function) -> Result<Option<Expr>, SqlError> {
    let [part] = function.name.0.as_slice() else { return Ok(None) };
    let Some(ident) = part.as_ident() else { return Ok(None) };
    let Some(arguments) = plain_arguments(function) else { return Ok(None) };
    let (name, span) = (ident.value.to_ascii_uppercase(), ident.span);
    Ok(match (name.as_str(), arguments.as_slice()) {
        ("MOD", [left, right]) => Some(Expr::Nested(Box::new(Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(left.clone()))),
            op: BinaryOperator::Modulo,
            right: Box::new(Expr::Nested(Box::new(right.clone()))),
        }))),
        ("IF", [condition, then, otherwise]) => Some(Expr::Case {
            case_token: AttachedToken::empty(),
            end_token: AttachedToken::empty(),
            operand: None,
            conditions: vec![CaseWhen { condition: condition.clone(), result: then.clone() }],
            else_result: Some(Box::new(otherwise.clone())),
        }),
        ("TIMESTAMPADD", [unit, count, time]) => {
            let unit = unit_of(unit, span)?;
            let below_a_day = thalweg_functions::is_below_a_day(&unit).unwrap_or(false);
            let name = if below_a_day { "timestampadd_time" } else { "timestampadd" };
            Some(call(name, span, vec![text(unit, span), count.clone(), time.clone()]))
        }
        ("TIMESTAMPDIFF", [unit, from, to]) => {
            let unit = unit_of(unit, span)?;
            Some(call("timestampdiff", span, vec![text(unit, span), from.clone(), to.clone()]))
        }
        (name, [time]) => extracted_field(name).map(|field| Expr::Extract {
            field,
            syntax: ExtractSyntax::From,
            expr: Box::new(time.clone()),
        }),
        _ => None,
    })
}

/// The name of the unit that a bare word or a text literal gives.
fn unit_of(unit: &Expr, span: Span) -> Result<String, SqlError> {
    let name = match unit {
        Expr::Identifier(ident) => Some(ident.value.clone()),
        other => literal(other).map(str::to_owned),
    };
    let known = name.filter(|name| thalweg_functions::is_below_a_day(name).is_some());
    known.ok_or_else(|| {
        SqlError::at(span.start, format!("unknown unit '{unit}'"))
            .with_hint("one of SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER, YEAR")
    })
}

fn extracted_field(name: &str) -> Option<DateTimeField> {
    Some(match name {
        "YEAR" => DateTimeField::Year,
        "QUARTER" => DateTimeField::Quarter,
        "MONTH" => DateTimeField::Month,
        "WEEK" => DateTimeField::Week(None),
        "DAYOFMONTH" => DateTimeField::Day,
        "DAYOFYEAR" => DateTimeField::Custom(Ident::new("DOY")),
        "DAYOFWEEK" => DateTimeField::Custom(Ident::new("DOW")),
        "HOUR" => DateTimeField::Hour,
        "MINUTE" => DateTimeField::Minute,
        "SECOND" => DateTimeField::Second,
        _ => return None,
    })
}

/// The arguments of a call that has no modifiers; else `None`.
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
