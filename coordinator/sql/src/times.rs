//! Compares a date, timestamp or text with a time of another type by the moments that they mean.
//!
//! DataFusion would cast the coarser side to the finer type, a text to the column's type, and a date beside a timestamp
//! to nanoseconds, which reach only from 1677 to 2262. This rule runs before types are coerced:
//!
//! ```text
//! ts < '2026-01-01 00:00:00.1234'    ts <= TIMESTAMP(3) '2026-01-01 00:00:00.123': a constant in the column's own unit
//! ts = '2026-01-01 00:00:00.1234'    as instants, which are decimals of seconds: no TIMESTAMP(3) equals it
//! ts3 < ts9                          as instants
//! CASE … THEN date ELSE ts END       the date becomes a timestamp of the others' precision
//! ```

use std::cmp::Ordering;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{
    DFSchema, Diagnostic, Result as PlanResult, ScalarValue,
    config::ConfigOptions,
    plan_datafusion_err,
    tree_node::{Transformed, TreeNode},
};
use datafusion_expr::{
    Between, BinaryExpr, Case, Cast, Expr, ExprSchemable, LogicalPlan, Operator, expr::InList, utils::merge_schema,
};
use datafusion_optimizer::AnalyzerRule;
use thalweg_functions::{INSTANT_TYPE, instant, moment::Moment, names::sql_type};

use crate::expressions::{rewritten, with_casts};

/// Functions whose results are of the type of all their arguments.
const UNIFYING: &[&str] = &["coalesce", "greatest", "least", "nvl"];
const NANOS_PER_DAY: i128 = 86_400_000_000_000;

/// The rule for whole plans.
#[derive(Debug)]
pub(crate) struct TimesBesideTimes;

impl AnalyzerRule for TimesBesideTimes {
    fn name(&self) -> &'static str {
        "times_beside_times"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> PlanResult<LogicalPlan> {
        let analyzed = plan.transform_up(|mut plan| {
            if let LogicalPlan::Union(union) = plan {
                // Columns that are timestamps in one branch are not dates in another.
                return with_casts(union, finest, |data_type| *data_type == DataType::Date32);
            }
            if let LogicalPlan::Join(join) = &mut plan {
                let schema = merge_schema(&[join.left.as_ref(), join.right.as_ref()]);
                for (left, right) in &mut join.on {
                    as_instants_if_mixed(vec![left, right], &schema)?;
                }
            }
            rewritten(plan, rewrite)
        });
        analyzed.map(|analyzed| analyzed.data)
    }
}

/// The rule for one expression.
pub(crate) fn rewrite(expr: Expr, schema: &DFSchema) -> PlanResult<Transformed<Expr>> {
    expr.transform_up(|mut expr| {
        let changed = match &mut expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => {
                let made = compared(left, *op, right, schema)?;
                return Ok(made.map_or_else(|| Transformed::no(expr), Transformed::yes));
            }
            Expr::Between(between) => {
                let made = between_both(between, schema)?;
                return Ok(made.map_or_else(|| Transformed::no(expr), Transformed::yes));
            }
            Expr::InList(list) => in_list(list, schema)?,
            Expr::Case(case) => in_case(case, schema)?,
            Expr::ScalarFunction(call) if call.func.name() == "nullif" => {
                // The result is the first argument, so it must keep its type.
                match call.args.as_mut_slice() {
                    [left, right] => nullif(left, right, schema)?,
                    _ => false,
                }
            }
            Expr::ScalarFunction(call) if UNIFYING.contains(&call.func.name()) => {
                with_timestamps(call.args.iter_mut().collect(), schema)
            }
            _ => false,
        };
        Ok(Transformed::new_transformed(expr, changed))
    })
}

fn compares(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// An exact comparison of two times of different types; `None` where the types are alike.
fn compared(left: &Expr, operator: Operator, right: &Expr, schema: &DFSchema) -> PlanResult<Option<Expr>> {
    if !is_mixed(&[left, right], schema)? {
        return Ok(None);
    }
    let days = are_days(&[left, right], schema);
    let in_unit = match (constant(left, days)?, constant(right, days)?) {
        (None, Some(moment)) => with_constant(left, operator, moment, schema)?,
        (Some(moment), None) => match operator.swap() {
            Some(swapped) => with_constant(right, swapped, moment, schema)?,
            // Equality is the same from both sides.
            None => with_constant(right, operator, moment, schema)?,
        },
        _ => None,
    };
    if in_unit.is_some() {
        return Ok(in_unit);
    }
    let (left, right) = (as_instant(left.clone(), days)?, as_instant(right.clone(), days)?);
    Ok(Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right)))))
}

/// The comparison with a constant of the time's own type that has the same result; `None` where there is none.
fn with_constant(time: &Expr, operator: Operator, moment: i128, schema: &DFSchema) -> PlanResult<Option<Expr>> {
    use Operator::{Gt, GtEq, Lt, LtEq};
    let data_type = time.get_type(schema)?;
    let Some(unit) = nanos_of(&data_type) else { return Ok(None) };
    let (floor, is_exact) = (moment.div_euclid(unit), moment.rem_euclid(unit) == 0);
    let (least, greatest) = match data_type {
        DataType::Date32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
        _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
    };
    let place = match () {
        () if floor < least => Ordering::Less,
        () if floor > greatest => Ordering::Greater,
        () => Ordering::Equal,
    };
    let (operator, value) = match (place, operator, is_exact) {
        (Ordering::Equal, operator, true) => (operator, floor),
        // The moment lies between the floor and the next value of the type.
        (Ordering::Equal, Lt | LtEq, false) => (LtEq, floor),
        (Ordering::Equal, Gt | GtEq, false) => (Gt, floor),
        // The moment lies beyond all values of the type.
        (Ordering::Greater, Lt | LtEq, _) => (LtEq, greatest),
        (Ordering::Greater, Gt | GtEq, _) => (Gt, greatest),
        (Ordering::Less, Lt | LtEq, _) => (Lt, least),
        (Ordering::Less, Gt | GtEq, _) => (GtEq, least),
        _ => return Ok(None),
    };
    let Some(literal) = literal(&data_type, value) else { return Ok(None) };
    let right = Box::new(Expr::Literal(literal, None));
    Ok(Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(time.clone()), operator, right))))
}

fn literal(data_type: &DataType, value: i128) -> Option<ScalarValue> {
    let ticks = i64::try_from(value).ok();
    Some(match data_type {
        DataType::Date32 => ScalarValue::Date32(Some(i32::try_from(value).ok()?)),
        DataType::Timestamp(TimeUnit::Second, zone) => ScalarValue::TimestampSecond(ticks, zone.clone()),
        DataType::Timestamp(TimeUnit::Millisecond, zone) => ScalarValue::TimestampMillisecond(ticks, zone.clone()),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => ScalarValue::TimestampMicrosecond(ticks, zone.clone()),
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => ScalarValue::TimestampNanosecond(ticks, zone.clone()),
        _ => return None,
    })
}

/// `x BETWEEN a AND b` as two comparisons; `None` where the three are of like types.
fn between_both(between: &Between, schema: &DFSchema) -> PlanResult<Option<Expr>> {
    let Between { expr, negated, low, high } = between;
    if !is_mixed(&[expr.as_ref(), low.as_ref(), high.as_ref()], schema)? {
        return Ok(None);
    }
    let side = |operator, bound: &Expr| -> PlanResult<Expr> {
        let plain = || Expr::BinaryExpr(BinaryExpr::new(expr.clone(), operator, Box::new(bound.clone())));
        Ok(compared(expr, operator, bound, schema)?.unwrap_or_else(plain))
    };
    Ok(Some(match negated {
        false => side(Operator::GtEq, low)?.and(side(Operator::LtEq, high)?),
        true => side(Operator::Lt, low)?.or(side(Operator::Gt, high)?),
    }))
}

/// Makes the types of an `IN` list alike. If each item is a constant that is a value of the column's type, the items
/// get that type. Else everything becomes an instant.
fn in_list(list: &mut InList, schema: &DFSchema) -> PlanResult<bool> {
    let group: Vec<&Expr> = std::iter::once(list.expr.as_ref()).chain(&list.list).collect();
    if !is_mixed(&group, schema)? {
        return Ok(false);
    }
    let days = are_days(&group, schema);
    let data_type = list.expr.get_type(schema)?;
    let of_column = |item: &Expr| -> PlanResult<Option<Expr>> {
        let (Some(moment), Some(unit)) = (constant(item, days)?, nanos_of(&data_type)) else { return Ok(None) };
        let exact = (moment.rem_euclid(unit) == 0).then(|| literal(&data_type, moment.div_euclid(unit))).flatten();
        Ok(exact.filter(|value| !value.is_null()).map(|value| Expr::Literal(value, None)))
    };
    let items = list.list.iter().map(of_column).collect::<PlanResult<Option<Vec<_>>>>()?;
    match items {
        Some(items) => list.list = items,
        None => {
            as_instants(std::iter::once(list.expr.as_mut()).chain(&mut list.list).collect(), days)?;
        }
    }
    Ok(true)
}

fn in_case(case: &mut Case, schema: &DFSchema) -> PlanResult<bool> {
    let Case { expr, when_then_expr, else_expr } = case;
    let (whens, thens): (Vec<&mut Expr>, Vec<&mut Expr>) =
        when_then_expr.iter_mut().map(|(when, then)| (when.as_mut(), then.as_mut())).unzip();
    let compared = match expr {
        Some(operand) => as_instants_if_mixed(std::iter::once(operand.as_mut()).chain(whens).collect(), schema)?,
        None => false,
    };
    let results = with_timestamps(thens.into_iter().chain(else_expr.as_deref_mut()).collect(), schema);
    Ok(compared || results)
}

/// Gives the second argument of `NULLIF(a, b)` the type of the first, where `b` is a constant.
fn nullif(left: &Expr, right: &mut Expr, schema: &DFSchema) -> PlanResult<bool> {
    if !is_mixed(&[left, right], schema)? {
        return Ok(false);
    }
    let data_type = left.get_type(schema)?;
    let days = are_days(&[left, right], schema);
    let (Some(moment), Some(unit)) = (constant(right, days)?, nanos_of(&data_type)) else { return Ok(false) };
    let exact = (moment.rem_euclid(unit) == 0).then(|| literal(&data_type, moment.div_euclid(unit))).flatten();
    // No value of the first argument's type equals it. Beside NULL, NULLIF gives its first argument.
    let value = exact.map_or_else(|| ScalarValue::try_from(&data_type), Ok)?;
    *right = Expr::Literal(value, None);
    Ok(true)
}

fn as_instants_if_mixed(group: Vec<&mut Expr>, schema: &DFSchema) -> PlanResult<bool> {
    let shared: Vec<&Expr> = group.iter().map(|expr| &**expr).collect();
    if !is_mixed(&shared, schema)? {
        return Ok(false);
    }
    let days = are_days(&shared, schema);
    as_instants(group, days).map(|()| true)
}

fn as_instants(group: Vec<&mut Expr>, days: bool) -> PlanResult<()> {
    for expr in group {
        *expr = as_instant(std::mem::take(expr), days)?;
    }
    Ok(())
}

fn as_instant(expr: Expr, days: bool) -> PlanResult<Expr> {
    let DataType::Decimal128(precision, scale) = INSTANT_TYPE else { return Ok(expr) };
    Ok(match constant(&expr, days)? {
        Some(moment) => Expr::Literal(ScalarValue::Decimal128(Some(moment), precision, scale), None),
        None => instant().call(vec![expr]),
    })
}

/// Whether a group has dates, timestamps or texts that are not all of one type. An expression without a type is left
/// for coercion to refuse.
///
/// # Errors
/// A time of day beside a date or timestamp.
fn is_mixed(group: &[&Expr], schema: &DFSchema) -> PlanResult<bool> {
    let types: Vec<DataType> = group.iter().filter_map(|expr| expr.get_type(schema).ok()).collect();
    let is_clock = |data_type: &DataType| matches!(data_type, DataType::Time32(_) | DataType::Time64(_));
    let is_moment = |data_type: &DataType| nanos_of(data_type).is_some();
    let is_text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8);
    let Some(moment) = types.iter().find(|data_type| is_moment(data_type)) else { return Ok(false) };
    if let Some(clock) = types.iter().find(|data_type| is_clock(data_type)) {
        let message = format!("{} cannot be compared with {}: CAST one of them", sql_type(moment), sql_type(clock));
        let columns = group.iter().flat_map(|expr| expr.column_refs());
        let span =
            columns.filter_map(|column| column.spans.first()).min_by_key(|span| (span.start.line, span.start.column));
        return Err(plan_datafusion_err!("{message}").with_diagnostic(Diagnostic::new_error(message.clone(), span)));
    }
    let is_other = |data_type: &DataType| is_text(data_type) || (is_moment(data_type) && unlike(data_type, moment));
    Ok(types.len() == group.len() && types.iter().any(is_other))
}

/// Whether types of times differ in more than their time zone.
fn unlike(one: &DataType, other: &DataType) -> bool {
    match (one, other) {
        (DataType::Timestamp(one, _), DataType::Timestamp(other, _)) => one != other,
        _ => one != other,
    }
}

/// The nanoseconds from one value of a date's or timestamp's type to the next; `None` for other types.
fn nanos_of(data_type: &DataType) -> Option<i128> {
    Some(match data_type {
        DataType::Date32 => NANOS_PER_DAY,
        DataType::Timestamp(TimeUnit::Second, _) => 1_000_000_000,
        DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000_000,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 1,
        _ => return None,
    })
}

/// Whether all times of a group are dates. Beside dates a text such as `2026` is a date; it is not a timestamp.
fn are_days(group: &[&Expr], schema: &DFSchema) -> bool {
    let mut types = group.iter().filter_map(|expr| expr.get_type(schema).ok()).filter(|of| nanos_of(of).is_some());
    types.all(|data_type| data_type == DataType::Date32)
}

/// The moment of a constant, in nanoseconds since the Unix epoch: of a text, of a time, or of a text cast to a date or
/// timestamp.
fn constant(expr: &Expr, days: bool) -> PlanResult<Option<i128>> {
    let text_of = |value: &ScalarValue| value.try_as_str().flatten().map(str::to_owned);
    let read = |text: String, days: bool| {
        let (moment, what) = match days {
            true => (Moment::read_beside_dates(&text), "date"),
            false => (Moment::read(&text), "timestamp"),
        };
        let wrong = || plan_datafusion_err!("'{text}' cannot be compared with a time: it is not a {what}");
        moment.map(Moment::in_nanos).ok_or_else(wrong)
    };
    match expr {
        Expr::Alias(alias) => constant(&alias.expr, days),
        Expr::Literal(value, _) => match text_of(value) {
            Some(text) => read(text, days).map(Some),
            None => Ok(ticks(value)),
        },
        Expr::Cast(Cast { expr, field }) => match (expr.as_ref(), nanos_of(field.data_type())) {
            (Expr::Literal(value, _), Some(unit)) if field.metadata().is_empty() => {
                let is_date = *field.data_type() == DataType::Date32;
                let moment = text_of(value).map(|text| read(text, is_date)).transpose()?;
                Ok(moment.map(|moment| moment.div_euclid(unit) * unit))
            }
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

fn ticks(value: &ScalarValue) -> Option<i128> {
    let unit = nanos_of(&value.data_type())?;
    let ticks = match value {
        ScalarValue::Date32(day) => i64::from((*day)?),
        ScalarValue::TimestampSecond(tick, _)
        | ScalarValue::TimestampMillisecond(tick, _)
        | ScalarValue::TimestampMicrosecond(tick, _)
        | ScalarValue::TimestampNanosecond(tick, _) => (*tick)?,
        _ => return None,
    };
    Some(i128::from(ticks) * unit)
}

/// Casts the dates among results to timestamps, if there are timestamps among them.
fn with_timestamps(group: Vec<&mut Expr>, schema: &DFSchema) -> bool {
    let types: Vec<DataType> = group.iter().map(|expr| expr.get_type(schema).unwrap_or(DataType::Null)).collect();
    let Some(finest) = finest(&types) else { return false };
    let mut changed = false;
    for (expr, data_type) in group.into_iter().zip(types) {
        if data_type == DataType::Date32 {
            *expr = Expr::Cast(Cast::new(Box::new(std::mem::take(expr)), finest.clone()));
            changed = true;
        }
    }
    changed
}

/// The finest timestamp type, if there are dates among the types as well.
fn finest(types: &[DataType]) -> Option<DataType> {
    let timestamps = types.iter().filter(|data_type| matches!(data_type, DataType::Timestamp(..)));
    let finest = timestamps.min_by_key(|data_type| nanos_of(data_type));
    finest.filter(|_| types.contains(&DataType::Date32)).cloned()
}
