//! Makes decimals beside floats doubles, before types are coerced.
//!
//! Decimal literals are decimals, as in Flink, so that decimal arithmetic is exact. But DataFusion would compare a
//! `DOUBLE` with `0.5` as `DECIMAL(30, 15)`, which large doubles do not fit and which cuts digits of small ones. Flink
//! compares them as `DOUBLE`.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{
    DFSchema, Result as PlanResult, ScalarValue,
    config::ConfigOptions,
    tree_node::{Transformed, TreeNode},
};
use datafusion_expr::{Between, BinaryExpr, Case, Cast, Expr, ExprSchemable, LogicalPlan, expr::InList};
use datafusion_optimizer::AnalyzerRule;
use sqlparser::tokenizer::TokenWithSpan;

use crate::{
    expressions::{rewritten, with_casts},
    families::UnlikeFamilies,
    numbers::Numbers,
    times::TimesBesideTimes,
};

/// Functions whose arguments have one type.
const UNIFYING: &[&str] = &["coalesce", "greatest", "least", "nvl", "nvl2"];

/// The rule for whole plans.
#[derive(Debug)]
pub(crate) struct DecimalsBesideFloats;

impl AnalyzerRule for DecimalsBesideFloats {
    fn name(&self) -> &'static str {
        "decimals_beside_floats"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> PlanResult<LogicalPlan> {
        let analyzed = plan.transform_up(|plan| match plan {
            // Columns that are floats in one branch are not decimals in another.
            LogicalPlan::Union(union) => with_casts(union, floats_beside_decimals, is_decimal),
            plan => rewritten(plan, rewrite),
        });
        analyzed.map(|analyzed| analyzed.data)
    }
}

fn floats_beside_decimals(types: &[DataType]) -> Option<DataType> {
    let is_mixed = types.iter().any(DataType::is_floating) && types.iter().any(is_decimal);
    is_mixed.then_some(DataType::Float64)
}

fn is_decimal(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal128(_, _) | DataType::Decimal256(_, _))
}

/// The rule for one expression.
pub(crate) fn rewrite(expr: Expr, schema: &DFSchema) -> PlanResult<Transformed<Expr>> {
    expr.transform_up(|expr| {
        let mut changed = false;
        let mut unify = |group: Vec<&mut Expr>| changed |= as_doubles(group, schema);
        let mut expr = expr;
        match &mut expr {
            Expr::BinaryExpr(BinaryExpr { left, right, .. }) => unify(vec![left, right]),
            Expr::Between(Between { expr, low, high, .. }) => unify(vec![expr, low, high]),
            Expr::InList(InList { expr, list, .. }) => unify(std::iter::once(expr.as_mut()).chain(list).collect()),
            Expr::Case(Case { expr, when_then_expr, else_expr }) => {
                let (whens, thens): (Vec<&mut Expr>, Vec<&mut Expr>) =
                    when_then_expr.iter_mut().map(|(when, then)| (when.as_mut(), then.as_mut())).unzip();
                if let Some(operand) = expr {
                    unify(std::iter::once(operand.as_mut()).chain(whens).collect());
                }
                unify(thens.into_iter().chain(else_expr.as_deref_mut()).collect());
            }
            Expr::ScalarFunction(call) if UNIFYING.contains(&call.func.name()) => unify(call.args.iter_mut().collect()),
            _ => {}
        }
        Ok(Transformed::new_transformed(expr, changed))
    })
}

/// Casts the decimals of a group to doubles if a member is a float. An expression without a type is left for coercion
/// to refuse.
fn as_doubles(group: Vec<&mut Expr>, schema: &DFSchema) -> bool {
    let type_of = |expr: &Expr| expr.get_type(schema).unwrap_or(DataType::Null);
    if !group.iter().any(|expr| type_of(expr).is_floating()) {
        return false;
    }
    let mut changed = false;
    for expr in group {
        if is_decimal(&type_of(expr)) {
            *expr = as_double(std::mem::take(expr));
            changed = true;
        }
    }
    changed
}

fn as_double(expr: Expr) -> Expr {
    if let Expr::Literal(value, _) = &expr
        && let Ok(double @ ScalarValue::Float64(_)) = value.cast_to(&DataType::Float64)
    {
        return Expr::Literal(double, None);
    }
    Expr::Cast(Cast::new(Box::new(expr), DataType::Float64))
}

/// DataFusion's analysis, after our own rules. Ours come first because coercion would accept what they refuse, and hide
/// the types that they look at.
pub(crate) fn analyzer_rules(tokens: &[TokenWithSpan]) -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules = datafusion_optimizer::Analyzer::new().rules;
    rules.splice(
        0..0,
        [
            Arc::new(Numbers) as Arc<dyn AnalyzerRule + Send + Sync>,
            Arc::new(UnlikeFamilies::new(tokens)),
            Arc::new(DecimalsBesideFloats),
            Arc::new(TimesBesideTimes),
        ],
    );
    rules
}
