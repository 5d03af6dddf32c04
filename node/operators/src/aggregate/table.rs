//! A hash table of groups with an accumulator per call. Vectorized: each row gets a group number, and accumulators
//! consume columns with these numbers.

use std::fmt;

use arrow::array::ArrayRef;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_common::exec_datafusion_err;
use datafusion_expr::{EmitTo, GroupsAccumulator};
use datafusion_physical_plan::aggregates::{
    group_values::{GroupValues, new_group_values},
    order::GroupOrdering,
};
use thalweg_functions::aggregate::GroupOverflow;

use super::spec::{AggregateSpec, Inputs, Value};
use crate::{OperatorError, error::evaluate_error};

/// The most characters of a key in an error.
const KEY_TEXT_MAX: usize = 200;

/// Groups and their accumulators.
pub(crate) struct GroupTable {
    /// `None` if there are no keys; then all rows form one group.
    keys: Option<Box<dyn GroupValues>>,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    groups: usize,
}

impl fmt::Debug for GroupTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupTable").field("groups", &self.groups).finish_non_exhaustive()
    }
}

impl GroupTable {
    pub(crate) fn new(spec: &AggregateSpec) -> Result<Self, OperatorError> {
        let accumulators: Result<_, _> = spec.calls.iter().map(super::spec::Call::accumulator).collect();
        Ok(Self { keys: key_table(spec)?, accumulators: accumulators?, groups: 0 })
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.groups
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        let keys = self.keys.as_ref().map_or(0, |keys| keys.size());
        keys + self.accumulators.iter().map(|accumulator| accumulator.size()).sum::<usize>()
    }

    /// Absorbs rows, or partials if `merges`. `indices` is scratch space.
    pub(crate) fn absorb(
        &mut self,
        spec: &AggregateSpec,
        inputs: &Inputs,
        merges: bool,
        indices: &mut Vec<usize>,
    ) -> Result<(), OperatorError> {
        if inputs.rows == 0 {
            return Ok(());
        }
        match &mut self.keys {
            Some(keys) => {
                keys.intern(&inputs.keys, indices).map_err(evaluate_error("GROUP BY"))?;
                self.groups = keys.len();
            }
            None => {
                indices.clear();
                indices.resize(inputs.rows, 0);
                self.groups = 1;
            }
        }
        accumulate(spec, &mut self.accumulators, inputs, merges, indices, self.groups)
    }

    /// Consumes the table; returns the keys and the results.
    pub(crate) fn into_results(mut self, spec: &AggregateSpec) -> Result<Vec<ArrayRef>, OperatorError> {
        let mut columns = self.take_keys()?;
        let results = results(spec, &mut self.accumulators, &columns)?;
        columns.extend(results);
        Ok(columns)
    }

    /// Takes the keys and the states. The table is empty afterwards, with room for about as many groups again.
    pub(crate) fn take_states(&mut self, spec: &AggregateSpec) -> Result<Vec<ArrayRef>, OperatorError> {
        let groups = std::mem::take(&mut self.groups);
        let mut columns = self.take_keys()?;
        if let Some(keys) = &mut self.keys {
            keys.clear_shrink(groups);
        }
        columns.extend(take_states(spec, &mut self.accumulators)?);
        Ok(columns)
    }

    fn take_keys(&mut self) -> Result<Vec<ArrayRef>, OperatorError> {
        match &mut self.keys {
            Some(keys) => keys.emit(EmitTo::All).map_err(evaluate_error("GROUP BY")),
            None => Ok(Vec::new()),
        }
    }
}

/// An empty hash table of keys; `None` if there are no keys.
pub(crate) fn key_table(spec: &AggregateSpec) -> Result<Option<Box<dyn GroupValues>>, OperatorError> {
    if spec.keys.is_empty() {
        return Ok(None);
    }
    new_group_values(spec.key_schema.clone(), &GroupOrdering::None).map(Some).map_err(evaluate_error("GROUP BY"))
}

/// Feeds accumulators; `indices` has a group number per row.
pub(crate) fn accumulate(
    spec: &AggregateSpec,
    accumulators: &mut [Box<dyn GroupsAccumulator>],
    inputs: &Inputs,
    merges: bool,
    indices: &[usize],
    groups: usize,
) -> Result<(), OperatorError> {
    let calls = accumulators.iter_mut().zip(&spec.calls).zip(inputs.values.iter().zip(&inputs.filters));
    let mut columns: Vec<ArrayRef> = Vec::new();
    for ((accumulator, call), (values, filter)) in calls {
        columns.clear();
        columns.extend(values.iter().map(|Value { column, .. }| column.clone()));
        let fed = if merges {
            accumulator.merge_batch(&columns, indices, groups)
        } else {
            accumulator.update_batch(&columns, indices, filter.as_ref(), groups)
        };
        fed.map_err(evaluate_error(call.function.name()))?;
    }
    Ok(())
}

/// Takes the states of all groups out of the accumulators.
pub(crate) fn take_states(
    spec: &AggregateSpec,
    accumulators: &mut [Box<dyn GroupsAccumulator>],
) -> Result<Vec<ArrayRef>, OperatorError> {
    let mut columns = Vec::with_capacity(spec.state_width());
    for (accumulator, call) in accumulators.iter_mut().zip(&spec.calls) {
        columns.extend(accumulator.state(EmitTo::All).map_err(evaluate_error(call.function.name()))?);
    }
    Ok(columns)
}

/// The results of all groups. An overflow error names the group's keys.
pub(crate) fn results(
    spec: &AggregateSpec,
    accumulators: &mut [Box<dyn GroupsAccumulator>],
    keys: &[ArrayRef],
) -> Result<Vec<ArrayRef>, OperatorError> {
    let calls = accumulators.iter_mut().zip(&spec.calls);
    let evaluated = calls.map(|(accumulator, call)| {
        accumulator.evaluate(EmitTo::All).map_err(|error| {
            let named = match GroupOverflow::of(&error) {
                Some(overflow) => {
                    let group = group_text(&spec.key_schema, keys, overflow.group);
                    exec_datafusion_err!("{} ({group})", overflow.message)
                }
                None => error,
            };
            evaluate_error(call.function.name())(named)
        })
    });
    evaluated.collect()
}

/// The keys of a group, for an error.
fn group_text(schema: &Schema, keys: &[ArrayRef], group: usize) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let text = |key: &ArrayRef| {
        let text = array_value_to_string_with(key, group, &options);
        text.map_or_else(|_| "?".to_owned(), |text| text.chars().take(KEY_TEXT_MAX).collect())
    };
    let named = schema.fields().iter().zip(keys).map(|(field, key)| format!("{} = {}", field.name(), text(key)));
    let named: Vec<String> = named.collect();
    if named.is_empty() { "over all rows of the window".to_owned() } else { format!("where {}", named.join(", ")) }
}

fn array_value_to_string_with(key: &ArrayRef, row: usize, options: &FormatOptions<'_>) -> Result<String, ArrowError> {
    ArrayFormatter::try_new(key, options)?.value(row).try_to_string()
}
