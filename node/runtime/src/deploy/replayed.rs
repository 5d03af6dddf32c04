//! The clock that the replayed sources of a deployment share. It paces them by the event time of their records.

use std::{collections::BTreeSet, sync::Arc};

use thalweg_types::{SubtaskId, graph::SourceOperator, settings::JobSettings};

use super::{Builder, plan_error};
use crate::{
    checkpoint::Restored,
    failure::SubtaskError,
    meter::Meter,
    pacing::Pacer,
    replay::{ReplayClock, parse_start},
};

impl Builder<'_> {
    /// The clock of this node's replayed sources; `None` if the job replays nothing.
    pub(super) fn replay_clock(
        &self,
        meters: &[(SubtaskId, Arc<Meter>)],
        settings: &JobSettings,
        restored: &Restored,
    ) -> Result<Option<Arc<ReplayClock>>, SubtaskError> {
        let Some(speed) = settings.replay_speed else { return Ok(None) };
        let start = settings.replay_start.as_deref().map(parse_start).transpose();
        let start = start.map_err(|error| plan_error(format!("replay.start: {error}")))?;
        // A restored job resumes the clock at its watermark: it does not wait again for the time it has already
        // replayed.
        let start = restored.reached.map(|watermark| watermark.0).or(start);
        if start.is_none() {
            self.check_one_replay_clock()?;
        }
        let is_replayed = |subtask: &SubtaskId| self.source_of(*subtask).is_some_and(|(_, spec)| is_replayed(spec));
        let sources = meters.iter().filter(|(subtask, _)| is_replayed(subtask)).count();
        Ok(Some(Arc::new(ReplayClock::new(self.context.seams.clock.clone(), speed, start, sources))))
    }

    /// Each node has its own replay clock. Clocks of several nodes agree only if the job sets their start.
    fn check_one_replay_clock(&self) -> Result<(), SubtaskError> {
        let mut nodes = BTreeSet::new();
        for subtask in self.plan.subtasks(self.parallelism()) {
            if let Some((id, spec)) = self.source_of(subtask)
                && is_replayed(spec)
                && (self.deployment.graph.enumerator_of(id).is_some() || !self.splits(id, subtask.index).is_empty())
            {
                nodes.insert(self.node_of(subtask)?);
            }
        }
        if nodes.len() <= 1 {
            return Ok(());
        }
        let count = nodes.len();
        Err(plan_error(format!(
            "tables are replayed on {count} nodes, whose clocks must start at one event time: SET 'replay.start' = \
             'yyyy-MM-dd HH:mm:ss', the time of the first record or earlier"
        )))
    }
}

/// The pacer that holds a source's records back until the clock reaches their time; `None` if the source is not
/// replayed.
pub(super) fn pacer(spec: &SourceOperator, clock: Option<&Arc<ReplayClock>>) -> Result<Option<Pacer>, SubtaskError> {
    let clock = clock.filter(|_| is_replayed(spec));
    clock.map(|clock| Ok(Pacer::new(clock.clone(), replay_column(spec)?))).transpose()
}

fn is_replayed(spec: &SourceOperator) -> bool {
    spec.connector.option("replay.column").is_some()
}

fn replay_column(spec: &SourceOperator) -> Result<usize, SubtaskError> {
    let name = spec.connector.option("replay.column").unwrap_or_default();
    spec.physical.index_of(name).map_err(|_| {
        plan_error(format!("table {}: the replay column '{name}' is not among the columns that are read", spec.table))
    })
}
