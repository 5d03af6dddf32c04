//! Pushes filters down to where their columns come from, and turns equalities between two tables into join keys.
//!
//! A condition guards those behind it: in `s <> 'x' AND CAST(s AS INT) > 1`, and also where the first half is the
//! `WHERE` of a subquery. So conditions keep their order, those of a subquery first. The exceptions change no answer:
//!
//! - A condition that cannot fail may go ahead of others, and below a join, an aggregate, a ranking or a window, where
//!   it meets rows that would never have reached it.
//! - A condition that can fail goes down only as far as the rows are the same: through projections, aliases and the
//!   inputs of a union.
//! - An equality that can fail becomes a join key only if no other condition that stays stands before it. Keys are
//!   computed for every row of a side, also for rows without a partner.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use datafusion_common::{
    Column, DFSchema, Result as PlanResult, plan_err,
    tree_node::{Transformed, TreeNode},
};
use datafusion_expr::{
    Aggregate, BinaryExpr, Expr, ExprSchemable, Extension, Filter, Join, JoinType, LogicalPlan, Operator, Projection,
    SubqueryAlias, Union, Window,
    utils::{find_valid_equijoin_key_pair, split_conjunction_owned},
};
use datafusion_optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule, eliminate_cross_join::EliminateCrossJoin};
use thalweg_functions::physical;

/// The rule for whole plans.
#[derive(Debug)]
pub(crate) struct PushFilters;

impl OptimizerRule for PushFilters {
    fn name(&self) -> &'static str {
        "push_filters"
    }

    /// None, because the rule walks over the plan on its own.
    fn apply_order(&self) -> Option<ApplyOrder> {
        None
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> PlanResult<Transformed<LogicalPlan>> {
        pushed(plan, Vec::new()).map(Transformed::yes)
    }
}

/// Turns joins without a condition into joins by the equalities of a filter above, in an order in which each join has
/// one.
///
/// This is DataFusion's rule, used only where no condition can fail, because it reorders conditions.
#[derive(Debug, Default)]
pub(crate) struct OrderJoins(EliminateCrossJoin);

impl OptimizerRule for OrderJoins {
    fn name(&self) -> &'static str {
        "order_joins"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> PlanResult<Transformed<LogicalPlan>> {
        if conditions_fail(&plan) { Ok(Transformed::no(plan)) } else { self.0.rewrite(plan, config) }
    }
}

/// Whether a condition of this filter or join can fail, or one of the joins directly below.
fn conditions_fail(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Filter(filter) => {
            is_unsteady(&filter.predicate, filter.input.schema()) || conditions_fail(&filter.input)
        }
        LogicalPlan::Join(join) => {
            let keys = join
                .on
                .iter()
                .any(|(left, right)| is_unsteady(left, join.left.schema()) || is_unsteady(right, join.right.schema()));
            keys || join.filter.as_ref().is_some_and(|filter| is_unsteady(filter, &join.schema))
                || conditions_fail(&join.left)
                || conditions_fail(&join.right)
        }
        _ => false,
    }
}

/// Whether it matters for which rows, or how often, an expression is evaluated: it can fail, or it is volatile.
pub(crate) fn is_unsteady(expr: &Expr, schema: &DFSchema) -> bool {
    expr.is_volatile() || physical::compile(expr, schema).map_or(true, |compiled| physical::can_fail(&compiled))
}

/// A plan of those rows of `plan` for which all conditions hold.
fn pushed(plan: LogicalPlan, conditions: Vec<Expr>) -> PlanResult<LogicalPlan> {
    match plan {
        LogicalPlan::Filter(filter) => {
            let mut all: Vec<Expr> = split_conjunction_owned(filter.predicate);
            all.extend(conditions);
            pushed(Arc::unwrap_or_clone(filter.input), without_repeats(all))
        }
        LogicalPlan::SubqueryAlias(alias) => below_alias(alias, conditions),
        LogicalPlan::Projection(projection) => below_projection(projection, conditions),
        LogicalPlan::Union(union) => below_union(union, conditions),
        LogicalPlan::Aggregate(aggregate) => below_aggregate(aggregate, conditions),
        LogicalPlan::Window(window) => below_ranking(window, conditions),
        LogicalPlan::Extension(extension) if !extension.node.inputs().is_empty() => {
            below_extension(extension, conditions)
        }
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => below_join(join, conditions),
        other => {
            let below = other.map_children(|child| pushed(child, Vec::new()).map(Transformed::yes))?;
            filtered(below.data, conditions)
        }
    }
}

fn without_repeats(conditions: Vec<Expr>) -> Vec<Expr> {
    let mut seen = HashSet::with_capacity(conditions.len());
    conditions.into_iter().filter(|condition| condition.is_volatile() || seen.insert(condition.clone())).collect()
}

fn filtered(plan: LogicalPlan, conditions: Vec<Expr>) -> PlanResult<LogicalPlan> {
    match all_of(conditions) {
        Some(predicate) => Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?)),
        None => Ok(plan),
    }
}

fn pushed_into(plan: Arc<LogicalPlan>, conditions: Vec<Expr>) -> PlanResult<Arc<LogicalPlan>> {
    pushed(Arc::unwrap_or_clone(plan), conditions).map(Arc::new)
}

/// The conjunction of conditions in their order, as a balanced tree; `None` for none.
pub(crate) fn all_of(mut conditions: Vec<Expr>) -> Option<Expr> {
    match conditions.len() {
        0 | 1 => conditions.pop(),
        several => {
            let second = conditions.split_off(several / 2);
            Some(all_of(conditions)?.and(all_of(second)?))
        }
    }
}

/// Splits conditions into those that go down and those that stay, each in order. An unsteady condition stays behind one
/// that stays.
fn parted(conditions: Vec<Expr>, schema: &DFSchema, goes_down: impl Fn(&Expr) -> bool) -> (Vec<Expr>, Vec<Expr>) {
    let (mut down, mut kept) = (Vec::new(), Vec::new());
    for condition in conditions {
        match goes_down(&condition) && (kept.is_empty() || !is_unsteady(&condition, schema)) {
            true => down.push(condition),
            false => kept.push(condition),
        }
    }
    (down, kept)
}

/// The expressions that replace a schema's columns further down.
struct Names<'a> {
    schema: &'a DFSchema,
    below: Vec<Expr>,
}

impl<'a> Names<'a> {
    /// The columns of a schema of the same shape, by position.
    fn by_place(schema: &'a DFSchema, below: &DFSchema) -> Self {
        let columns =
            below.iter().map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())));
        Self { schema, below: columns.collect() }
    }

    /// These expressions, by position. There may be fewer of them than columns.
    fn of_exprs(schema: &'a DFSchema, exprs: &[Expr]) -> Self {
        Self { schema, below: exprs.iter().map(|expr| expr.clone().unalias_nested().data).collect() }
    }

    fn get(&self, column: &Column) -> Option<&Expr> {
        self.below.get(self.schema.index_of_column(column).ok()?)
    }

    /// Whether each column of a condition has a replacement that is not volatile.
    fn are_steady(&self, condition: &Expr) -> bool {
        condition.column_refs().iter().all(|column| self.get(column).is_some_and(|expr| !expr.is_volatile()))
    }

    /// Rewrites conditions in terms of what is below.
    fn apply(&self, conditions: Vec<Expr>) -> PlanResult<Vec<Expr>> {
        let replace = |column: &Column| self.get(column).cloned();
        conditions.into_iter().map(|condition| replaced(condition, replace)).collect()
    }
}

fn replaced(condition: Expr, with: impl Fn(&Column) -> Option<Expr>) -> PlanResult<Expr> {
    let replaced = condition.transform_up(|expr| match &expr {
        Expr::Column(column) => match with(column) {
            Some(replacement) => Ok(Transformed::yes(replacement)),
            None => plan_err!("'{column}' is not a column of the rows that a condition is about"),
        },
        _ => Ok(Transformed::no(expr)),
    });
    replaced.map(|replaced| replaced.data)
}

fn below_alias(mut alias: SubqueryAlias, conditions: Vec<Expr>) -> PlanResult<LogicalPlan> {
    let conditions = Names::by_place(&alias.schema, alias.input.schema()).apply(conditions)?;
    alias.input = pushed_into(alias.input, conditions)?;
    Ok(LogicalPlan::SubqueryAlias(alias))
}

fn below_union(mut union: Union, conditions: Vec<Expr>) -> PlanResult<LogicalPlan> {
    let mut inputs = Vec::with_capacity(union.inputs.len());
    for input in union.inputs {
        let conditions = Names::by_place(&union.schema, input.schema()).apply(conditions.clone())?;
        inputs.push(pushed_into(input, conditions)?);
    }
    union.inputs = inputs;
    Ok(LogicalPlan::Union(union))
}

/// A condition on a volatile column stays above, so that the column is evaluated once, in the projection.
fn below_projection(mut projection: Projection, conditions: Vec<Expr>) -> PlanResult<LogicalPlan> {
    let names = Names::of_exprs(&projection.schema, &projection.expr);
    let (down, kept) = parted(conditions, &projection.schema, |condition| names.are_steady(condition));
    let down = names.apply(down)?;
    projection.input = pushed_into(projection.input, down)?;
    filtered(LogicalPlan::Projection(projection), kept)
}

fn below_aggregate(mut aggregate: Aggregate, conditions: Vec<Expr>) -> PlanResult<LogicalPlan> {
    let schema = aggregate.schema.clone();
    let has_sets = aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_)));
    let names = Names::of_exprs(&schema, if has_sets { &[] } else { &aggregate.group_expr });
    let (down, kept) = parted(conditions, &schema, |condition| {
        names.are_steady(condition) && !condition.column_refs().is_empty() && !is_unsteady(condition, &schema)
    });
    let down = names.apply(down)?;
    aggregate.input = pushed_into(aggregate.input, down)?;
    filtered(LogicalPlan::Aggregate(aggregate), kept)
}

/// Conditions on the partition keys go below a ranking: each keeps or drops whole partitions.
fn below_ranking(mut window: Window, conditions: Vec<Expr>) -> PlanResult<LogicalPlan> {
    let partitions = |expr: &Expr| -> Vec<Expr> {
        match expr.clone().unalias_nested().data {
            Expr::WindowFunction(function) => function.params.partition_by,
            _ => Vec::new(),
        }
    };
    let all: Vec<Vec<Expr>> = window.window_expr.iter().map(partitions).collect();
    let is_key = |column: &Column| all.iter().all(|keys| keys.contains(&Expr::Column(column.clone())));
    let (down, kept) = parted(conditions, &window.schema, |condition| {
        let columns = condition.column_refs();
        !columns.is_empty() && columns.into_iter().all(is_key) && !is_unsteady(condition, &window.schema)
    });
    window.input = pushed_into(window.input, down)?;
    filtered(LogicalPlan::Window(window), kept)
}

fn below_extension(extension: Extension, conditions: Vec<Expr>) -> PlanResult<LogicalPlan> {
    let stays = extension.node.prevent_predicate_push_down_columns();
    let schema = extension.node.schema().clone();
    let (down, kept) = parted(conditions, &schema, |condition| {
        !condition.column_refs().iter().any(|column| stays.contains(&column.name)) && !is_unsteady(condition, &schema)
    });
    let inputs = extension.node.inputs().into_iter().map(|input| pushed(input.clone(), down.clone()));
    let inputs = inputs.collect::<PlanResult<Vec<_>>>()?;
    let exprs = extension.node.expressions();
    let extension = LogicalPlan::Extension(extension).with_new_exprs(exprs, inputs)?;
    filtered(extension, kept)
}

fn below_join(mut join: Join, conditions: Vec<Expr>) -> PlanResult<LogicalPlan> {
    let mut all = join.filter.take().map_or_else(Vec::new, split_conjunction_owned);
    all.extend(conditions);
    let (mut left, mut right, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for condition in without_repeats(all) {
        let fails = is_unsteady(&condition, &join.schema);
        let columns = condition.column_refs();
        let is_of = |schema: &DFSchema| columns.iter().all(|column| schema.has_column(column));
        if !fails && is_of(join.left.schema()) {
            left.push(condition);
        } else if !fails && is_of(join.right.schema()) {
            right.push(condition);
        } else if let Some(key) = key_of(&condition, &join)?.filter(|_| rest.is_empty() || !fails) {
            if !join.on.contains(&key) {
                join.on.push(key);
            }
        } else {
            rest.push(condition);
        }
    }
    let for_right = inferred(&left, &join, |(left, right)| (left, right))?;
    let for_left = inferred(&right, &join, |(left, right)| (right, left))?;
    left.extend(for_left);
    right.extend(for_right);
    join.filter = all_of(rest);
    join.left = pushed_into(join.left, without_repeats(left))?;
    join.right = pushed_into(join.right, without_repeats(right))?;
    Ok(LogicalPlan::Join(join))
}

/// The two sides of an equality, if one belongs to each side of the join.
fn key_of(condition: &Expr, join: &Join) -> PlanResult<Option<(Expr, Expr)>> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if !condition.is_volatile() => {
            find_valid_equijoin_key_pair(left, right, join.left.schema(), join.right.schema())
        }
        _ => Ok(None),
    }
}

/// Conditions on the keys of one side, rewritten for the equal keys of the other side.
fn inferred(conditions: &[Expr], join: &Join, of: impl Fn((Expr, Expr)) -> (Expr, Expr)) -> PlanResult<Vec<Expr>> {
    let mut keys = HashMap::new();
    for pair in &join.on {
        let same_type = pair.0.get_type(join.left.schema())? == pair.1.get_type(join.right.schema())?;
        // Equal floats may differ in the sign of zero.
        let is_float = pair.0.get_type(join.left.schema())?.is_floating();
        if let (Expr::Column(known), other @ Expr::Column(_)) = of(pair.clone())
            && same_type
            && !is_float
        {
            keys.entry(known).or_insert(other);
        }
    }
    let speaks_of_keys = |condition: &&Expr| {
        let columns = condition.column_refs();
        !columns.is_empty() && columns.iter().all(|column| keys.contains_key(*column))
    };
    conditions
        .iter()
        .filter(speaks_of_keys)
        .map(|condition| replaced(condition.clone(), |column| keys.get(column).cloned()))
        .collect()
}
