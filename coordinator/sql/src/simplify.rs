//! All rewrites of expressions. None changes an answer: not for NULL, not at the ends of a type, and not by failing
//! where the original expression does not fail.
//!
//! | expression | becomes | why |
//! |---|---|---|
//! | a node over constants | its value, as nodes would evaluate it; unchanged if that fails, because perhaps no row reaches it | it is evaluated once, and readers can skip data by it |
//! | `CAST(x AS T)` where `x` is a `T` | `x` | readers can skip data by it |
//! | `TRUE AND x`, `x AND TRUE`, `x OR FALSE` … | `x` | filters are short |
//! | `FALSE AND x`, `TRUE OR x` | the constant; not `x AND FALSE`, as `x` may fail | filters are short |
//! | `NOT a < b`, `NOT x IS NULL`, `NOT x IN (…)`, `NOT NOT x` … | `a >= b` … | readers can skip data by it |
//! | `c BETWEEN a AND b`, where `c` is a column or a field, or a cast of one that a later rewrite removes | `c >= a AND c <= b` | each half is a filter |
//! | `x IN (a)` | `x = a` | readers can skip data by it |
//! | `CAST(c AS T) = 5`, where `c` is a column or a field, and `T` has all values of its type in the same order | `c = 5`, if 5 is in the type of `c` too | readers can skip data by it |

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{
    DFSchema, Result as PlanResult, ScalarValue,
    tree_node::{Transformed, TreeNode, TreeNodeRecursion},
};
use datafusion_expr::{
    Between, BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, expr::InList, expr_rewriter::NamePreserver,
    utils::merge_schema,
};
use datafusion_optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use thalweg_functions::{cast::Detail, physical};

use crate::paths::is_trivial;

/// The rewrites for whole plans.
#[derive(Debug)]
pub(crate) struct Simplify;

impl OptimizerRule for Simplify {
    fn name(&self) -> &'static str {
        "simplify"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> PlanResult<Transformed<LogicalPlan>> {
        let inputs = plan.inputs();
        let schema = if inputs.is_empty() { plan.schema().as_ref().clone() } else { merge_schema(&inputs) };
        let names = NamePreserver::new(&plan);
        let mapped = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(simplified(expr, &schema)?.update_data(|expr| name.restore(expr)))
        })?;
        if mapped.transformed { mapped.map_data(LogicalPlan::recompute_schema) } else { Ok(mapped) }
    }
}

/// The rewrites for one expression whose types are settled.
pub(crate) fn simplified(expr: Expr, schema: &DFSchema) -> PlanResult<Transformed<Expr>> {
    expr.transform_up(|expr| {
        let (mut expr, mut changed) = (expr, false);
        // One rewrite may make another possible.
        loop {
            let step = step(expr, schema)?;
            (expr, changed) = (step.data, changed || step.transformed);
            if !step.transformed {
                return Ok(Transformed::new_transformed(expr, changed));
            }
        }
    })
}

fn step(expr: Expr, schema: &DFSchema) -> PlanResult<Transformed<Expr>> {
    if let Some(value) = folded(&expr, schema)? {
        return Ok(Transformed::yes(value));
    }
    match expr {
        Expr::Cast(cast) => same_type(cast, schema),
        Expr::Not(inner) => Ok(opposite(*inner)),
        Expr::Between(between) if costs_nothing(&between, schema)? => halves(between, schema).map(Transformed::yes),
        Expr::InList(list) => Ok(single(list)),
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::And | Operator::Or) => Ok(connected(binary)),
        Expr::BinaryExpr(binary) if is_ordering(binary.op) => narrowed(binary, schema),
        other => Ok(Transformed::no(other)),
    }
}

/// The value of a node whose children are all constants; `None` where it cannot be computed.
fn folded(expr: &Expr, schema: &DFSchema) -> PlanResult<Option<Expr>> {
    if matches!(expr, Expr::Literal(..) | Expr::Alias(_) | Expr::Column(_)) {
        return Ok(None);
    }
    let mut constants = true;
    expr.apply_children(|child| {
        constants &= matches!(child, Expr::Literal(..));
        Ok(if constants { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    let value = if constants { physical::constant(expr) } else { None };
    // The plan is typed already, so the value must keep the expression's type.
    let fits = |value: &ScalarValue| expr.get_type(schema).is_ok_and(|data_type| data_type == value.data_type());
    Ok(value.filter(fits).map(|value| Expr::Literal(value, None)))
}

fn same_type(cast: Cast, schema: &DFSchema) -> PlanResult<Transformed<Expr>> {
    if is_trivial(&cast.expr)
        && cast.expr.get_type(schema)? == *cast.field.data_type()
        && Detail::of(&cast.field) == Detail::None
    {
        return Ok(Transformed::yes(*cast.expr));
    }
    Ok(Transformed::no(Expr::Cast(cast)))
}

/// The negation of an expression.
fn opposite(inner: Expr) -> Transformed<Expr> {
    Transformed::yes(match inner {
        Expr::Not(inner) => *inner,
        Expr::IsNull(inner) => Expr::IsNotNull(inner),
        Expr::IsNotNull(inner) => Expr::IsNull(inner),
        Expr::Between(between) => Expr::Between(Between { negated: !between.negated, ..between }),
        Expr::InList(list) => Expr::InList(InList { negated: !list.negated, ..list }),
        Expr::BinaryExpr(binary) if is_ordering(binary.op) => match binary.op.negate() {
            Some(op) => Expr::BinaryExpr(BinaryExpr { op, ..binary }),
            None => return Transformed::no(Expr::Not(Box::new(Expr::BinaryExpr(binary)))),
        },
        other => return Transformed::no(Expr::Not(Box::new(other))),
    })
}

/// Whether the middle operand may be evaluated once for each end: it is trivial, or a cast that `narrowed` removes.
fn costs_nothing(between: &Between, schema: &DFSchema) -> PlanResult<bool> {
    Ok(match (&*between.expr, &*between.low, &*between.high) {
        (value, _, _) if is_trivial(value) => true,
        (Expr::Cast(cast), Expr::Literal(low, _), Expr::Literal(high, _)) if is_trivial(&cast.expr) => {
            let (narrow, wide) = (cast.expr.get_type(schema)?, cast.field.data_type());
            within(low, &narrow, wide).is_some() && within(high, &narrow, wide).is_some()
        }
        _ => false,
    })
}

fn halves(Between { expr, negated, low, high }: Between, schema: &DFSchema) -> PlanResult<Expr> {
    let half = |op: Operator, end: Box<Expr>| -> PlanResult<Expr> {
        Ok(narrowed(BinaryExpr::new(expr.clone(), op, end), schema)?.data)
    };
    Ok(match negated {
        false => half(Operator::GtEq, low)?.and(half(Operator::LtEq, high)?),
        true => half(Operator::Lt, low)?.or(half(Operator::Gt, high)?),
    })
}

fn single(mut list: InList) -> Transformed<Expr> {
    match (list.list.pop(), list.list.is_empty()) {
        (Some(only), true) => {
            let op = if list.negated { Operator::NotEq } else { Operator::Eq };
            Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(list.expr, op, Box::new(only))))
        }
        (last, _) => {
            list.list.extend(last);
            Transformed::no(Expr::InList(list))
        }
    }
}

/// Simplifies `AND` and `OR` with a constant side.
fn connected(binary: BinaryExpr) -> Transformed<Expr> {
    let settles = binary.op == Operator::Or;
    let constant = |side: &Expr| match side {
        Expr::Literal(ScalarValue::Boolean(value), _) => *value,
        _ => None,
    };
    match (constant(&binary.left), constant(&binary.right)) {
        (Some(value), _) if value == settles => Transformed::yes(*binary.left),
        (Some(_), _) => Transformed::yes(*binary.right),
        (None, Some(value)) if value != settles => Transformed::yes(*binary.left),
        _ => Transformed::no(Expr::BinaryExpr(binary)),
    }
}

fn is_ordering(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// Compares a widened column in its own type, if the constant is a value of that type.
fn narrowed(binary: BinaryExpr, schema: &DFSchema) -> PlanResult<Transformed<Expr>> {
    let pair = match (&*binary.left, &*binary.right) {
        (Expr::Cast(cast), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Cast(cast)) => {
            Some((cast, value))
        }
        _ => None,
    };
    let is_plain = |cast: &Cast| is_trivial(&cast.expr) && Detail::of(&cast.field) == Detail::None;
    let Some((cast, value)) = pair.filter(|(cast, _)| is_plain(cast)) else {
        return Ok(Transformed::no(Expr::BinaryExpr(binary)));
    };
    let Some(value) = within(value, &cast.expr.get_type(schema)?, cast.field.data_type()) else {
        return Ok(Transformed::no(Expr::BinaryExpr(binary)));
    };
    let value = Box::new(Expr::Literal(value, None));
    let BinaryExpr { left, op, right } = binary;
    Ok(Transformed::yes(Expr::BinaryExpr(match (*left, *right) {
        (Expr::Cast(cast), _) => BinaryExpr::new(cast.expr, op, value),
        (_, Expr::Cast(cast)) => BinaryExpr::new(value, op, cast.expr),
        (left, right) => BinaryExpr::new(Box::new(left), op, Box::new(right)),
    })))
}

/// `value` of type `wide` as a value of type `narrow`; `None` where it is not one. Also `None` if `wide` may lack
/// values of `narrow`, or order them differently.
fn within(value: &ScalarValue, narrow: &DataType, wide: &DataType) -> Option<ScalarValue> {
    if value.data_type() != *wide || value.is_null() {
        return None;
    }
    match (narrow, wide) {
        (narrow, wide) if narrow.is_signed_integer() && wide.is_signed_integer() => {
            (narrow.primitive_width()? <= wide.primitive_width()?).then(|| cast_exactly(value, narrow)).flatten()
        }
        (narrow, DataType::Decimal128(digits, scale)) if narrow.is_integer() => {
            let whole = i16::from(*digits) - i16::from(*scale);
            (*scale >= 0 && whole >= digits_of(narrow)?).then(|| cast_exactly(value, narrow)).flatten()
        }
        (DataType::Decimal128(digits, scale), DataType::Decimal128(more, same)) if scale == same && digits <= more => {
            cast_exactly(value, narrow)
        }
        (DataType::Timestamp(unit, zone), DataType::Timestamp(finer, same)) if zone == same => {
            let factor = per_second(*finer).checked_div(per_second(*unit)).filter(|factor| *factor > 0)?;
            (ticks(value)? % factor == 0).then(|| cast_exactly(value, narrow)).flatten()
        }
        _ => None,
    }
}

/// The most decimal digits of a value of an integer type.
fn digits_of(integer: &DataType) -> Option<i16> {
    Some(match integer.primitive_width()? {
        1 => 3,
        2 => 5,
        4 => 10,
        _ => 20,
    })
}

/// The cast of a value, if casting it back gives the same value.
fn cast_exactly(value: &ScalarValue, to: &DataType) -> Option<ScalarValue> {
    let cast = |value: &ScalarValue, to: &DataType| {
        let cast = Cast::new(Box::new(Expr::Literal(value.clone(), None)), to.clone());
        physical::constant(&Expr::Cast(cast))
    };
    let there = cast(value, to)?;
    (cast(&there, &value.data_type())? == *value).then_some(there)
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

fn ticks(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampSecond(time, _)
        | ScalarValue::TimestampMillisecond(time, _)
        | ScalarValue::TimestampMicrosecond(time, _)
        | ScalarValue::TimestampNanosecond(time, _) => *time,
        _ => None,
    }
}

#[cfg(test)]
mod tests;
