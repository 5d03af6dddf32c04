//! The last checkpoints of a job, as shown to users: when each began, what it cost and how it ended. No decision uses
//! them.

use std::{collections::VecDeque, time::Duration};

use thalweg_cluster_state::JobRecord;
use thalweg_types::{
    Attempt, CheckpointId,
    checkpoint::{Manifest, SnapshotCost},
    job::{CheckpointOverview, CheckpointState},
};

/// How many checkpoints are remembered.
const REMEMBERED_MAX: usize = 100;

/// The checkpoints that this leader saw begin, oldest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct History(VecDeque<Remembered>);

#[derive(Debug, Clone, PartialEq)]
struct Remembered {
    since: Duration,
    overview: CheckpointOverview,
}

impl History {
    /// A checkpoint begins.
    pub(super) fn begin(&mut self, checkpoint: CheckpointId, attempt: Attempt, since_epoch: Duration, now: Duration) {
        let overview = CheckpointOverview {
            attempt,
            state: CheckpointState::InProgress,
            begun_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            ..of_the_record(checkpoint)
        };
        self.0.push_back(Remembered { since: now, overview });
        while self.0.len() > REMEMBERED_MAX {
            self.0.pop_front();
        }
    }

    /// A checkpoint ended. `reason` is empty if it is complete.
    pub(super) fn end(&mut self, checkpoint: CheckpointId, state: CheckpointState, reason: &str, now: Duration) {
        let found = self.0.iter_mut().rev().find(|known| known.overview.checkpoint == checkpoint);
        if let Some(known) = found {
            known.overview.state = state;
            known.overview.reason = reason.to_owned();
            known.overview.duration_micros = micros(now.saturating_sub(known.since));
        }
    }

    /// Records the cost of the newest checkpoint: the longest times of its subtasks, and the sums of their bytes.
    pub(super) fn tell_cost(&mut self, manifest: &Manifest) {
        let mut all = SnapshotCost::default();
        for SnapshotCost {
            alignment_micros,
            freeze_micros,
            upload_micros,
            uploaded_bytes,
            state_bytes,
            is_unaligned,
        } in manifest.subtasks.iter().map(|snapshot| snapshot.cost)
        {
            all.alignment_micros = all.alignment_micros.max(alignment_micros);
            all.freeze_micros = all.freeze_micros.max(freeze_micros);
            all.upload_micros = all.upload_micros.max(upload_micros);
            all.uploaded_bytes = all.uploaded_bytes.saturating_add(uploaded_bytes);
            all.state_bytes = all.state_bytes.saturating_add(state_bytes);
            all.is_unaligned |= is_unaligned;
        }
        if let Some(known) = self.0.back_mut() {
            known.overview.cost = all;
        }
    }

    /// The remembered checkpoints, preceded by those that the record holds from before this leader. Oldest first.
    pub(super) fn overviews(&self, record: &JobRecord, now: Duration) -> Vec<CheckpointOverview> {
        let known: Vec<CheckpointOverview> = self.0.iter().map(|known| known.at(now)).collect();
        let first = known.first().map(|overview| overview.checkpoint);
        let earlier = record.checkpoints.iter().map(|manifest| manifest.checkpoint);
        let earlier = earlier.filter(|checkpoint| first.is_none_or(|first| *checkpoint < first)).map(of_the_record);
        earlier.chain(known).collect()
    }
}

impl Remembered {
    fn at(&self, now: Duration) -> CheckpointOverview {
        let mut overview = self.overview.clone();
        if overview.state == CheckpointState::InProgress {
            overview.duration_micros = micros(now.saturating_sub(self.since));
        }
        overview
    }
}

/// The overview of a complete checkpoint of which only the record knows.
#[must_use]
pub fn of_the_record(checkpoint: CheckpointId) -> CheckpointOverview {
    CheckpointOverview {
        checkpoint,
        attempt: Attempt(0),
        state: CheckpointState::Complete,
        reason: String::new(),
        begun_ms: 0,
        duration_micros: 0,
        cost: SnapshotCost::default(),
        url: String::new(),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
