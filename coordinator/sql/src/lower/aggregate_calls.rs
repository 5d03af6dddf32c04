//! The calls of an aggregate: which are refused, which columns they need, and the fields of their states.

use arrow::datatypes::Field;
use datafusion_common::{DFSchema, Result as PlanResult, plan_err};
use datafusion_expr::{
    Case, Expr,
    execution_props::ExecutionProps,
    expr::{AggregateFunction, Sort},
    physical_planning_context::PhysicalPlanningContext,
};
use datafusion_physical_expr::aggregate::LoweredAggregateBuilder;
use thalweg_types::ExprBytes;

use super::{
    calc::{Emitted, Wanted},
    relation::{Relation, at, column, encode, position_of},
};

/// Aggregates whose result depends on the order of their input.
const ORDERED: &[&str] = &["first_value", "last_value", "nth_value", "array_agg", "string_agg"];
/// Aggregates with states as large as their input, where merging states saves nothing.
const HOLDING: &[&str] = &["array_agg", "string_agg", "percentile_cont"];

pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) hint: &'static str,
}

/// Calls over laid-out input.
pub(super) struct Calls {
    pub(super) encoded: Vec<ExprBytes>,
    /// The field of each call's result.
    pub(super) results: Vec<Field>,
    /// The fields of all calls' states, in order.
    pub(super) states: Vec<Field>,
    calls: Vec<AggregateFunction>,
}

/// Why a call has no certain answer in a stream; `None` if it has one.
pub(super) fn refuse_reason(expr: &Expr) -> Option<Refusal> {
    let call = call_of(expr)?;
    let name = call.func.name();
    if name == "grouping" {
        let message = "grouping is not supported".to_owned();
        return Some(Refusal { message, hint: "there are no grouping sets" });
    }
    if ORDERED.contains(&name) && call.params.order_by.is_empty() {
        let message = format!("{name} without ORDER BY is not supported: its value differs from run to run");
        return Some(Refusal { message, hint: "write the order inside the call: f(x ORDER BY y)" });
    }
    None
}

impl Calls {
    /// Adds the arguments that are not constants to `wanted`. The calls returned name them by their index there.
    pub(super) fn arguments(bound: &[Expr], relation: &Relation, wanted: &mut Wanted) -> Vec<AggregateFunction> {
        let calls = bound.iter().filter_map(call_of).map(totally_ordered);
        let calls = calls.map(|call| behind_filter(call, relation));
        calls.map(|call| with_inputs(call, &mut |expr| argument(expr, wanted))).collect()
    }

    /// The calls, over the emitted columns.
    pub(super) fn over(placeholders: &[AggregateFunction], emitted: &Emitted) -> PlanResult<Self> {
        let schema = DFSchema::try_from(emitted.schema.as_ref().clone())?;
        let mut made = Self { encoded: vec![], results: vec![], states: vec![], calls: vec![] };
        for placeholder in placeholders {
            let call = with_inputs(placeholder.clone(), &mut |expr| match &expr {
                Expr::Column(named) => match position_of(named).and_then(|index| emitted.positions.get(index)) {
                    Some(position) => column(emitted.schema.field(*position).name()),
                    None => expr,
                },
                _ => expr,
            });
            made.add(call, &schema, emitted)?;
        }
        Ok(made)
    }

    fn add(&mut self, call: AggregateFunction, schema: &DFSchema, emitted: &Emitted) -> PlanResult<()> {
        if call.func.name() == "approx_percentile_cont" && call.params.args.len() < 2 {
            return plan_err!("approx_percentile_cont needs a column and a percentile");
        }
        let expr = Expr::AggregateFunction(call.clone());
        let context = PhysicalPlanningContext::default();
        let props = ExecutionProps::new();
        let lowered = LoweredAggregateBuilder::new(&expr, schema, emitted.schema.as_ref(), &props, &context).build()?;
        let field = lowered.aggregate.field();
        self.results.push(Field::new("", field.data_type().clone(), field.is_nullable()));
        for state in lowered.aggregate.state_fields()? {
            // The state of no rows is NULL for most functions, also where their field is not nullable.
            self.states.push(Field::new(state.name(), state.data_type().clone(), true));
        }
        self.encoded.push(encode(&expr)?);
        self.calls.push(call);
        Ok(())
    }

    /// Whether partial states can be merged in any order.
    pub(super) fn are_mergeable(&self) -> bool {
        self.calls.iter().all(|call| !call.params.distinct && call.params.order_by.is_empty())
    }

    /// Whether moving states moves less data than moving rows.
    pub(super) fn shrink(&self) -> bool {
        self.calls.iter().all(|call| !HOLDING.contains(&call.func.name()))
    }
}

fn call_of(expr: &Expr) -> Option<&AggregateFunction> {
    match expr {
        Expr::AggregateFunction(call) => Some(call),
        Expr::Alias(alias) => call_of(&alias.expr),
        _ => None,
    }
}

/// Adds the returned value as the last sort key of a call that depends on the order. Then ties do not matter.
fn totally_ordered(call: &AggregateFunction) -> AggregateFunction {
    let mut call = call.clone();
    if ORDERED.contains(&call.func.name())
        && let Some(value) = call.params.args.first().cloned()
        && call.params.order_by.iter().all(|sort| sort.expr != value)
    {
        call.params.order_by.push(Sort::new(value, true, false));
    }
    call
}

/// Computes inputs that can fail only for the rows that the call's `FILTER` passes.
fn behind_filter(mut call: AggregateFunction, relation: &Relation) -> AggregateFunction {
    let Some(filter) = call.params.filter.clone() else { return call };
    let guarded = |expr: &mut Expr| {
        if relation.is_unsteady(expr) {
            let value = Box::new(std::mem::take(expr));
            *expr = Expr::Case(Case::new(None, vec![(filter.clone(), value)], None));
        }
    };
    call.params.args.iter_mut().for_each(guarded);
    call.params.order_by.iter_mut().map(|sort| &mut sort.expr).for_each(guarded);
    call
}

/// Replaces each input expression of a call.
fn with_inputs(mut call: AggregateFunction, replace: &mut dyn FnMut(Expr) -> Expr) -> AggregateFunction {
    let params = &mut call.params;
    params.args = std::mem::take(&mut params.args).into_iter().map(&mut *replace).collect();
    params.filter = params.filter.take().map(|filter| Box::new(replace(*filter)));
    for sort in &mut params.order_by {
        sort.expr = replace(sort.expr.clone());
    }
    call
}

fn argument(expr: Expr, wanted: &mut Wanted) -> Expr {
    if expr.column_refs().is_empty() {
        return expr;
    }
    let index = wanted.iter().position(|(_, known)| *known == expr).unwrap_or_else(|| {
        wanted.push((format!("arg_{}", wanted.len()), expr));
        wanted.len() - 1
    });
    at(index)
}
