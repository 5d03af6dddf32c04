//! Analyses and optimises plans, with rules that keep their meaning for unbounded input: our own for expressions and
//! filters, and those of DataFusion that prune columns and order joins.
//!
//! Other rules of DataFusion are left out on purpose: those that move limits and sorts (the lowering joins these), that
//! split one aggregate into two (`count(DISTINCT)`), that remove relations (an empty relation has no watermark), and
//! the one for common subexpressions (operators share them when they compile their expressions).

use std::sync::Arc;

use datafusion_expr::LogicalPlan;
use datafusion_optimizer::{
    Analyzer, Optimizer, OptimizerContext, OptimizerRule, optimize_projections::OptimizeProjections,
};
use sqlparser::tokenizer::TokenWithSpan;

use crate::{
    errors::{Result, SqlError},
    filters::{OrderJoins, PushFilters},
    floats::analyzer_rules,
    functions::Functions,
    simplify::Simplify,
};

/// Settles the types of a plan.
pub(crate) fn analyze(plan: LogicalPlan, functions: &Functions, tokens: &[TokenWithSpan]) -> Result<LogicalPlan> {
    Analyzer::with_rules(analyzer_rules(tokens))
        .execute_and_check(plan, functions.options(), |_, _| {})
        .map_err(|error| SqlError::from_plan(&error, tokens))
}

/// Settles types, folds constants, and pushes filters and projections down.
pub(crate) fn optimize(plan: LogicalPlan, functions: &Functions, tokens: &[TokenWithSpan]) -> Result<LogicalPlan> {
    let analyzed = analyze(plan, functions, tokens)?;
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(Simplify),
        Arc::new(OrderJoins::default()),
        Arc::new(PushFilters),
        Arc::new(OptimizeProjections::new()),
    ];
    // Without a start time, no rule can fold a function of the clock.
    let context =
        OptimizerContext::new_with_config_options(functions.options().clone()).without_query_execution_start_time();
    Optimizer::with_rules(rules)
        .optimize(analyzed, &context, |_, _| {})
        .map_err(|error| SqlError::from_plan(&error, tokens))
}
