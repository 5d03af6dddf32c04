//! The keys and calls of an aggregation, and how a batch becomes their inputs.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_expr::GroupsAccumulator;
use datafusion_physical_expr::{GroupsAccumulatorAdapter, aggregate::AggregateFunctionExpr};
use thalweg_functions::canonical::canonical;
use thalweg_types::graph::{AggregatePhase, WindowAggregate};

use crate::{
    OperatorError,
    error::{arrow_error, build_error, evaluate_error},
    expr::{Expression, compile_aggregate},
    keys::canonical_keys,
    split::RowSelection,
};

/// Aggregates that tell values apart even without `DISTINCT`.
const COUNTING: &[&str] = &["approx_distinct"];

/// Keys and aggregate calls of one operator.
#[derive(Debug)]
pub(crate) struct AggregateSpec {
    /// Key columns of the input.
    pub(crate) keys: Vec<usize>,
    pub(crate) key_schema: SchemaRef,
    pub(crate) calls: Vec<Call>,
    /// Whether the input is partials, with the keys and then every call's state as columns.
    pub(crate) merges: bool,
    /// The schema of a partial in state: two integers that identify its pane or session, the keys, then every call's
    /// state.
    pub(crate) partial_schema: SchemaRef,
}

/// One call of an aggregate function.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) function: Arc<AggregateFunctionExpr>,
    /// The arguments, then the expressions of its ORDER BY.
    arguments: Vec<Expression>,
    /// The index from which arguments are made canonical, since equal values must have equal bits there.
    canonical_from: usize,
    filter: Option<Expression>,
    /// How many columns its state has.
    pub(crate) state_width: usize,
}

/// A batch as a table's input: the key columns, and per call its arguments, or its state if partials are merged.
#[derive(Debug)]
pub(crate) struct Inputs {
    pub(crate) rows: usize,
    pub(crate) keys: Vec<ArrayRef>,
    pub(crate) values: Vec<Vec<Value>>,
    pub(crate) filters: Vec<Option<BooleanArray>>,
}

/// A column of arguments.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) column: ArrayRef,
    /// Whether all rows have the same value, so that any slice stands for any rows.
    constant: bool,
}

impl AggregateSpec {
    pub(crate) fn new(aggregate: &WindowAggregate, operator: &str, input: &SchemaRef) -> Result<Self, OperatorError> {
        let calls: Result<Vec<Call>, OperatorError> =
            aggregate.aggregates.iter().map(|bytes| Call::compile(bytes, &aggregate.row_schema, operator)).collect();
        let calls = calls?;
        if let Some(key) = aggregate.keys.iter().find(|key| **key >= input.fields().len()) {
            return Err(build_error(operator)(format!("its input has no column {key} to group by")));
        }
        let key_fields: Vec<Field> = aggregate.keys.iter().map(|key| input.field(*key).clone()).collect();
        let mut fields = vec![Field::new("end", DataType::Int64, false), Field::new("detail", DataType::Int64, false)];
        let keys = key_fields.iter().map(Field::data_type).cloned();
        fields
            .extend(keys.zip(0..).map(|(data_type, at): (_, usize)| Field::new(format!("key_{at}"), data_type, true)));
        for (call, at) in calls.iter().zip(0usize..) {
            let states = call.function.state_fields().map_err(build_error(operator))?;
            let name = |part: usize| format!("state_{at}_{part}");
            fields.extend(states.iter().zip(0..).map(|(f, part)| Field::new(name(part), f.data_type().clone(), true)));
        }
        Ok(Self {
            keys: aggregate.keys.clone(),
            key_schema: Arc::new(Schema::new(key_fields)),
            calls,
            merges: aggregate.phase == AggregatePhase::Global,
            partial_schema: Arc::new(Schema::new(fields)),
        })
    }

    /// How many columns the states of all calls have.
    pub(crate) fn state_width(&self) -> usize {
        self.calls.iter().map(|call| call.state_width).sum()
    }

    /// The inputs in a batch.
    pub(crate) fn inputs(&self, batch: &RecordBatch) -> Result<Inputs, OperatorError> {
        let keys: Vec<ArrayRef> = self.keys.iter().map(|key| batch.column(*key).clone()).collect();
        let keys = canonical_keys(&keys)?;
        if self.merges {
            let states = &batch.columns()[self.keys.len()..self.keys.len() + self.state_width()];
            return Ok(self.partial_inputs(keys, states, batch.num_rows()));
        }
        let mut inputs = Inputs { rows: batch.num_rows(), keys, values: Vec::new(), filters: Vec::new() };
        for call in &self.calls {
            let filter = call.filter.as_ref().map(|filter| filter.evaluate_mask(batch)).transpose()?;
            inputs.values.push(call.values(batch, filter.as_ref())?);
            inputs.filters.push(filter);
        }
        Ok(inputs)
    }

    /// The inputs for merging partials with these keys and states.
    pub(crate) fn partial_inputs(&self, keys: Vec<ArrayRef>, states: &[ArrayRef], rows: usize) -> Inputs {
        let mut states = states.iter().map(|column| Value { column: column.clone(), constant: false });
        let values = self.calls.iter().map(|call| states.by_ref().take(call.state_width).collect()).collect();
        Inputs { rows, keys, values, filters: vec![None; self.calls.len()] }
    }

    /// The column range of the keys in a stored partial.
    pub(crate) fn stored_keys(&self) -> std::ops::Range<usize> {
        2..2 + self.keys.len()
    }

    /// The inputs for merging a stored partial.
    pub(crate) fn stored_inputs(&self, partial: &RecordBatch) -> Result<Inputs, OperatorError> {
        let (keys, states) = partial.columns()[2..].split_at(self.keys.len());
        Ok(self.partial_inputs(canonical_keys(keys)?, states, partial.num_rows()))
    }
}

impl Call {
    fn compile(bytes: &thalweg_types::ExprBytes, schema: &SchemaRef, operator: &str) -> Result<Self, OperatorError> {
        let lowered = compile_aggregate(bytes, schema, operator)?;
        let state_width = lowered.aggregate.state_fields().map_err(build_error(operator))?.len();
        let part = |physical| Expression::of(physical, bytes.place);
        let order = lowered.order_bys.iter().map(|sort| sort.expr.clone());
        let values = lowered.aggregate.expressions();
        let tells_apart = lowered.aggregate.is_distinct() || COUNTING.contains(&lowered.aggregate.fun().name());
        let canonical_from = if tells_apart { 0 } else { values.len() };
        let arguments = values.into_iter().chain(order).map(part).collect();
        let filter = lowered.filter.map(part);
        let call = Self { function: lowered.aggregate, arguments, canonical_from, filter, state_width };
        // Create one now, so that an aggregate that cannot be accumulated is refused with the plan, not with the first
        // row.
        call.accumulator().map_err(|error| build_error(operator)(format!("aggregate {}: {error}", bytes.text)))?;
        if !call.function.groups_accumulator_supported() {
            call.function.create_accumulator().map_err(build_error(operator))?;
        }
        Ok(call)
    }

    /// The columns of the arguments, evaluated for the rows that the filter admits.
    fn values(&self, batch: &RecordBatch, filter: Option<&BooleanArray>) -> Result<Vec<Value>, OperatorError> {
        let values = self.arguments.iter().enumerate().map(|(at, argument)| {
            let mut value = Value::evaluate(argument, batch, filter)?;
            if at >= self.canonical_from {
                value.column = canonical(&value.column).map_err(arrow_error("bring arguments into canonical form"))?;
            }
            Ok(value)
        });
        values.collect()
    }

    /// A new accumulator.
    pub(crate) fn accumulator(&self) -> Result<Box<dyn GroupsAccumulator>, OperatorError> {
        if self.function.groups_accumulator_supported() {
            return self.function.create_groups_accumulator().map_err(evaluate_error(self.function.name()));
        }
        let function = self.function.clone();
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || function.create_accumulator())))
    }
}

impl Inputs {
    /// The inputs of some of the rows.
    pub(crate) fn pick(&self, rows: &RowSelection) -> Result<Self, OperatorError> {
        let mut picked = Self { rows: rows.len(), keys: Vec::new(), values: Vec::new(), filters: Vec::new() };
        for key in &self.keys {
            picked.keys.push(rows.of(key)?);
        }
        for values in &self.values {
            let values: Result<_, _> = values.iter().map(|value| value.pick(rows)).collect();
            picked.values.push(values?);
        }
        for filter in &self.filters {
            picked.filters.push(filter.as_ref().map(|mask| pick_mask(mask, rows)).transpose()?);
        }
        Ok(picked)
    }

    /// The inputs of the rows that a mask selects.
    pub(crate) fn select(&self, mask: &BooleanArray) -> Result<Self, OperatorError> {
        let select = |column: &ArrayRef| filter(column, mask).map_err(arrow_error("select rows"));
        let mut selected = Self { rows: mask.true_count(), keys: Vec::new(), values: Vec::new(), filters: Vec::new() };
        for key in &self.keys {
            selected.keys.push(select(key)?);
        }
        for values in &self.values {
            let values: Result<_, OperatorError> = values
                .iter()
                .map(|value| Ok(Value { column: select(&value.column)?, constant: value.constant }))
                .collect();
            selected.values.push(values?);
        }
        for masked in &self.filters {
            let masked = masked.as_ref().map(|masked| filter(masked, mask).map_err(arrow_error("select rows")));
            selected.filters.push(masked.transpose()?.map(|column| column.as_boolean().clone()));
        }
        Ok(selected)
    }
}

impl Value {
    /// Evaluates an argument where its call's filter holds.
    fn evaluate(
        argument: &Expression,
        batch: &RecordBatch,
        filter: Option<&BooleanArray>,
    ) -> Result<Self, OperatorError> {
        let column = match filter {
            Some(filter) => argument.evaluate_where(batch, filter)?,
            None => argument.evaluate(batch)?,
        };
        Ok(Self { column, constant: argument.constant().is_some() })
    }

    fn pick(&self, rows: &RowSelection) -> Result<Self, OperatorError> {
        let column = if self.constant { self.column.slice(0, rows.len()) } else { rows.of(&self.column)? };
        Ok(Self { column, constant: self.constant })
    }
}

fn pick_mask(mask: &BooleanArray, rows: &RowSelection) -> Result<BooleanArray, OperatorError> {
    let mask: ArrayRef = Arc::new(mask.clone());
    Ok(rows.of(&mask)?.as_boolean().clone())
}
