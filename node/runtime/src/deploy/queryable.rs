//! Sinks that keep their newest rows for those who ask: operators without outputs, whose state others see.

use thalweg_keyed_state::FrozenState;
use thalweg_operators::{Operator as Operate, TableOperator};
use thalweg_types::{Operator, SubtaskId, graph::SinkOperator};

use super::{Builder, Shared, plan_error};
use crate::{checkpoint::owned_groups, failure::SubtaskError};

impl Builder<'_> {
    /// Restores such a sink's rows and shows them to those who ask.
    pub(super) fn queryable(
        &self,
        (operator, sink): (&Operator, &SinkOperator),
        subtask: SubtaskId,
        states: &[FrozenState],
        shared: &Shared,
    ) -> Result<Box<dyn Operate>, SubtaskError> {
        let input = self.deployment.graph.input_schema(operator.id, 0);
        let input = input.ok_or_else(|| plan_error(format!("nothing feeds {}", operator.id)))?;
        let built = TableOperator::new(sink, &operator.name, &input, operator.output.clone(), shared.operators);
        let mut table = built.map_err(|source| SubtaskError::Operator { operator: operator.name.clone(), source })?;
        let owned = owned_groups(self.plan, subtask, &self.deployment.assignment.key_groups);
        let restored = table.restore(states, &owned);
        restored.map_err(|source| SubtaskError::Restore { operator: operator.name.clone(), source })?;
        let place = (sink.table.as_str(), self.job, self.attempt);
        self.context.queryable.publish(place, subtask.index, table.view(), &shared.owners);
        Ok(Box::new(table))
    }
}
