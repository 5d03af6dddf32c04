//! The actor that finds the splits of a source while the job runs.

use std::sync::Arc;

use thalweg_types::OperatorId;

use super::{Builder, Shared, plan_error};
use crate::{chain::Chain, ends::Ends, enumerator::EnumeratorSubtask, failure::SubtaskError, meter::Meter};

impl Builder<'_> {
    pub(super) fn enumerator(
        &self,
        (id, source): (OperatorId, OperatorId),
        chain: Chain,
        meter: &Arc<Meter>,
        shared: &Shared,
    ) -> Result<EnumeratorSubtask, SubtaskError> {
        let spec = self.deployment.graph.operator(source).kind.as_source();
        let spec = spec.ok_or_else(|| plan_error(format!("{id} assigns splits to {source}, which reads no table")))?;
        let enumerator = self.table((source, spec), false, shared)?.enumerator();
        let lacking = || plan_error(format!("table {} has no enumerator", spec.table));
        let former = self.splits(id, 0);
        if former.iter().any(|progress| !progress.held.is_empty()) {
            let table = &spec.table;
            let reason = format!(
                "the checkpoint holds rows of table {table} that wait for the replay clock and were read before its new \
                 files were found by an enumerator: go on with the release that took it, without 'replay.column'"
            );
            return Err(plan_error(reason));
        }
        let enumerator = enumerator.ok_or_else(lacking)?;
        Ok(EnumeratorSubtask {
            table: spec.table.clone(),
            source,
            enumerator: enumerator.into(),
            former,
            ends: Ends::new(self.deployment.restore.is_some()),
            store: self.store.clone(),
            complete: self.complete.clone(),
            subtasks: self.parallelism(),
            orders: self.orders.clone(),
            chain,
            meter: meter.clone(),
        })
    }
}
