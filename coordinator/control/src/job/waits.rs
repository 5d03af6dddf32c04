//! Whom the open checkpoint waits for, and whether it is slow. This is for people. No decision depends on it;
//! only the text of a failure does.

use std::time::Duration;

use thalweg_cluster_state::JobRecord;
use thalweg_types::{
    Attempt, CheckpointId, SubtaskId,
    job::{AwaitedSubtask, CheckpointWaits},
};

use super::{JobController, checkpoint::Open};

/// A checkpoint that is open for so many intervals is slow: others should have begun and ended meanwhile.
const SLOW_INTERVALS: u32 = 3;
/// A checkpoint is not slow before this, however short the interval is, unless its timeout is near: uploads take seconds.
const SLOW_MIN: Duration = Duration::from_secs(30);

/// A checkpoint that has been open for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowCheckpoint {
    /// The attempt.
    pub attempt: Attempt,
    /// Its number.
    pub checkpoint: CheckpointId,
    /// For how long it has been open.
    pub open_for: Duration,
}

impl JobController {
    /// Whom the open checkpoint waits for; `None` if none is open.
    #[must_use]
    pub fn checkpoint_waits(&self, record: &JobRecord) -> Option<CheckpointWaits> {
        let open = self.checkpoints.open.as_ref()?;
        let assignment = &record.attempt.as_ref()?.plan.assignment;
        let of = |subtask: &SubtaskId| {
            let chain = self.plan.chains.iter().find(|chain| chain.id == subtask.chain);
            AwaitedSubtask {
                name: chain.map(|chain| chain.name(&self.graph)).unwrap_or_default(),
                chain: subtask.chain.0,
                index: subtask.index,
                node: assignment.node_of(*subtask).map_or(0, |node| node.0),
            }
        };
        Some(CheckpointWaits::of(&self.awaited(open, record), of))
    }

    /// Whom a checkpoint that was given up had waited for.
    #[must_use]
    pub fn waited_for(&self, checkpoint: CheckpointId) -> Option<&CheckpointWaits> {
        self.checkpoints.history.waited_for(checkpoint)
    }

    /// The open checkpoint, if it is slow: it has been open for several intervals, or for half of the time that it may take.
    #[must_use]
    pub fn slow_checkpoint(&self, now: Duration) -> Option<SlowCheckpoint> {
        let open = self.checkpoints.open.as_ref()?;
        let by_interval = self.checkpoint_interval().saturating_mul(SLOW_INTERVALS).max(SLOW_MIN);
        let after = by_interval.min(self.settings.checkpoint_timeout / 2);
        let open_for = now.saturating_sub(open.since);
        let slow = SlowCheckpoint { attempt: self.facts.attempt, checkpoint: open.checkpoint, open_for };
        (open_for >= after).then_some(slow)
    }

    /// What a checkpoint still waits for after its timeout.
    pub(super) fn lateness(&self, record: &JobRecord) -> String {
        let took = self.settings.checkpoint_timeout;
        let open = self.checkpoints.open.as_ref();
        let missing = open.map(|open| self.awaited(open, record)).unwrap_or_default();
        match missing.first() {
            Some(subtask) => format!("after {took:?} {} subtasks had not answered, such as {subtask}", missing.len()),
            None => format!("after {took:?} its manifest was not written"),
        }
    }

    /// The subtasks that have not answered, senders before receivers.
    fn awaited(&self, open: &Open, record: &JobRecord) -> Vec<SubtaskId> {
        let mut all = self.all_subtasks(record);
        all.retain(|subtask| !open.snapshots.contains_key(subtask));
        all
    }
}
