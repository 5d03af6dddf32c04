//! Builds the running form of an operator of the job graph.

use arrow::datatypes::SchemaRef;
use thalweg_types::{OperatorKind, graph::AggregatePhase};

use crate::{
    Operator, OperatorContext, OperatorError,
    aggregate::{LocalAggregate, is_session, session_aggregate, windowed_aggregate},
    calc::CalcOperator,
    error::build_error,
    join::window_join,
    limit::LimitOperator,
    sort::SortOperator,
    table::TableOperator,
    top_n::window_top_n,
    window_assign::WindowAssignOperator,
};

/// Builds an operator with inputs and outputs, or a sink that keeps its rows as state. Sources and all other sinks are built by
/// connectors (with `SourceStage` behind a reader).
///
/// # Errors
/// If the plan asks for something that this engine cannot build.
pub fn build(
    operator: &thalweg_types::Operator,
    inputs: &[SchemaRef],
    context: &OperatorContext,
) -> Result<Box<dyn Operator>, OperatorError> {
    let fail = build_error::<String>(&operator.name);
    let ports = usize::from(operator.kind.describe().ports);
    if inputs.len() != ports {
        return Err(fail(format!("it has {ports} inputs, not {}", inputs.len())));
    }
    let output = operator.output.clone();
    Ok(match &operator.kind {
        OperatorKind::Calc(calc) => Box::new(CalcOperator::new(calc, &operator.name, &inputs[0], output)?),
        OperatorKind::WindowAssign(assign) => {
            Box::new(WindowAssignOperator::new(assign, &operator.name, &inputs[0], output, *context)?)
        }
        OperatorKind::WindowAggregate(aggregate) if is_session(&aggregate.windowing) => {
            Box::new(session_aggregate(aggregate, &operator.name, &inputs[0], output, *context)?)
        }
        OperatorKind::WindowAggregate(aggregate) if aggregate.phase == AggregatePhase::Local => {
            Box::new(LocalAggregate::new(aggregate, &operator.name, &inputs[0], output, *context)?)
        }
        OperatorKind::WindowAggregate(aggregate) => {
            Box::new(windowed_aggregate(aggregate, &operator.name, &inputs[0], output, *context)?)
        }
        OperatorKind::WindowJoin(join) => Box::new(window_join(join, &operator.name, inputs, output, *context)?),
        OperatorKind::WindowTopN(top_n) => Box::new(window_top_n(top_n, &operator.name, &inputs[0], output, *context)?),
        OperatorKind::Sort(sort) => Box::new(SortOperator::new(sort, &operator.name, &inputs[0], output, *context)?),
        OperatorKind::Limit(range) => Box::new(LimitOperator::new(*range, &operator.name, &inputs[0], &output)?),
        OperatorKind::Sink(sink) if sink.table_key().is_some() => {
            Box::new(TableOperator::new(sink, &operator.name, &inputs[0], output, *context)?)
        }
        OperatorKind::Source(_) | OperatorKind::Enumerate(_) | OperatorKind::Sink(_) | OperatorKind::Collect(_) => {
            return Err(fail("it is built from a connector".to_owned()));
        }
    })
}
