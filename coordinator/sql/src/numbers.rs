//! Gives literals and arithmetic of numbers Flink's types, before types are coerced.
//!
//! | text | type |
//! |---|---|
//! | `1` | INT if it fits, else BIGINT, else DECIMAL |
//! | `1.5`, `0.5` | DECIMAL(2, 1): as many digits as the text has |
//! | `1e3` | DOUBLE (`rewrite` does this) |
//! | `a + b` | see `thalweg_functions::arithmetic` |
//!
//! The rule must be idempotent: a view's plan passes it again in each query over the view.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DECIMAL128_MAX_PRECISION;
use datafusion_common::{
    DFSchema, Result as PlanResult, ScalarValue,
    config::ConfigOptions,
    plan_err,
    tree_node::{Transformed, TreeNode},
};
use datafusion_expr::{
    BinaryExpr, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, ScalarUDF, Union, expr::ScalarFunction,
};
use datafusion_optimizer::AnalyzerRule;
use sqlparser::ast::BinaryOperator;
use thalweg_functions::arithmetic::{self, Arithmetic, is_number};

use crate::expressions::rewritten;

/// The functions of arithmetic.
static FUNCTIONS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(arithmetic::functions);

/// The rule for whole plans.
#[derive(Debug)]
pub(crate) struct Numbers;

impl AnalyzerRule for Numbers {
    fn name(&self) -> &'static str {
        "numbers"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> PlanResult<LogicalPlan> {
        plan.transform_up(rewrite_node).map(|analyzed| analyzed.data)
    }
}

fn rewrite_node(plan: LogicalPlan) -> PlanResult<Transformed<LogicalPlan>> {
    match plan {
        // Its schema was derived from its inputs' old types.
        LogicalPlan::Union(union) => {
            Ok(Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(union.inputs)?)))
        }
        LogicalPlan::Values(values) => {
            let schema = DFSchema::empty();
            let rewritten = |row: Vec<Expr>| row.into_iter().map(|expr| Ok(rewrite(expr, &schema)?.data)).collect();
            let rows: PlanResult<Vec<Vec<Expr>>> = values.values.into_iter().map(rewritten).collect();
            Ok(Transformed::yes(LogicalPlanBuilder::values(rows?)?.build()?))
        }
        plan => rewritten(plan, rewrite),
    }
}

/// The rule for one expression.
pub(crate) fn rewrite(expr: Expr, schema: &DFSchema) -> PlanResult<Transformed<Expr>> {
    expr.transform_up(|expr| match expr {
        Expr::Literal(value, metadata) => {
            let typed = typed(&value)?;
            Ok(Transformed::new_transformed(Expr::Literal(typed.clone().unwrap_or(value), metadata), typed.is_some()))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match operator_of(op) {
            Some(operator) if are_operands(&left, &right, schema) => {
                Ok(Transformed::yes(calculation(operator, *left, *right)))
            }
            _ => Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
        },
        Expr::Negative(operand) if are_numbers(&[&operand], schema) => {
            Ok(Transformed::yes(call(arithmetic::NEGATE, vec![*operand])))
        }
        other => Ok(Transformed::no(other)),
    })
}

/// The literal with its type in Flink; `None` where it has that already. DataFusion does not count the digit before the
/// point of `0.5`.
fn typed(value: &ScalarValue) -> PlanResult<Option<ScalarValue>> {
    Ok(match value {
        ScalarValue::Int64(Some(number)) => i32::try_from(*number).ok().map(|number| ScalarValue::Int32(Some(number))),
        ScalarValue::UInt64(Some(number)) => {
            let digits = u8::try_from(number.to_string().len()).unwrap_or(DECIMAL128_MAX_PRECISION);
            Some(ScalarValue::Decimal128(Some(i128::from(*number)), digits, 0))
        }
        ScalarValue::Decimal128(number, precision, scale)
            if i16::from(*precision) == i16::from(*scale) && *precision < DECIMAL128_MAX_PRECISION =>
        {
            Some(ScalarValue::Decimal128(*number, precision + 1, *scale))
        }
        ScalarValue::Decimal256(..) => {
            return plan_err!("{value} has more than {DECIMAL128_MAX_PRECISION} digits: a number has at most so many");
        }
        _ => None,
    })
}

fn operator_of(operator: Operator) -> Option<Arithmetic> {
    Some(match operator {
        Operator::Plus => Arithmetic::Add,
        Operator::Minus => Arithmetic::Subtract,
        Operator::Multiply => Arithmetic::Multiply,
        Operator::Divide => Arithmetic::Divide,
        Operator::Modulo => Arithmetic::Remainder,
        _ => return None,
    })
}

/// Turns arithmetic of numbers into a call as soon as it is planned, so that a long chain never becomes deep.
pub(crate) fn planned(operator: &BinaryOperator, left: &mut Expr, right: &mut Expr, schema: &DFSchema) -> Option<Expr> {
    let operator = match operator {
        BinaryOperator::Plus => Arithmetic::Add,
        BinaryOperator::Minus => Arithmetic::Subtract,
        BinaryOperator::Multiply => Arithmetic::Multiply,
        BinaryOperator::Divide => Arithmetic::Divide,
        BinaryOperator::Modulo => Arithmetic::Remainder,
        _ => return None,
    };
    are_operands(left, right, schema).then(|| calculation(operator, std::mem::take(left), std::mem::take(right)))
}

/// Whether both sides are numbers. A left side that is already a call of arithmetic is a number: asking for its type
/// for each link would take time quadratic in the chain's length.
fn are_operands(left: &Expr, right: &Expr, schema: &DFSchema) -> bool {
    (calculation_of(left).is_some() || are_numbers(&[left], schema)) && are_numbers(&[right], schema)
}

/// Whether all operands are numbers. Arithmetic of times and intervals is left to DataFusion, and an operand without a
/// type is left for coercion to refuse.
fn are_numbers(operands: &[&Expr], schema: &DFSchema) -> bool {
    operands.iter().all(|operand| operand.get_type(schema).is_ok_and(|data_type| is_number(&data_type)))
}

/// One call for `a + b`. `(a + b) + c` extends the call of `a + b`, so that a long sum is not deep.
fn calculation(operator: Arithmetic, left: Expr, right: Expr) -> Expr {
    match left {
        Expr::ScalarFunction(mut chain) if chain.func.name() == operator.symbol() => {
            chain.args.push(right);
            Expr::ScalarFunction(chain)
        }
        left => call(operator.symbol(), vec![left, right]),
    }
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let function = FUNCTIONS.iter().find(|function| function.name() == name);
    let function = function.expect("every operator has its function").clone();
    Expr::ScalarFunction(ScalarFunction::new_udf(function, args))
}

/// The operator and the operands of a call of arithmetic.
pub(crate) fn calculation_of(expr: &Expr) -> Option<(Arithmetic, &[Expr])> {
    match expr {
        Expr::ScalarFunction(call) => Some((Arithmetic::of_name(call.func.name())?, &call.args)),
        _ => None,
    }
}

/// The operand of a call of unary minus.
pub(crate) fn negated(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == arithmetic::NEGATE => call.args.first(),
        _ => None,
    }
}
