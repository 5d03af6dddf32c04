//! The last checkpoints of a job, as shown to users: when each began, what it cost and how it ended. No decision uses
//! them.

use std::{collections::VecDeque, time::Duration};

use thalweg_cluster_state::JobRecord;
use thalweg_types::{
    Attempt, CheckpointId,
    checkpoint::{Manifest, SnapshotCost},
    job::{CheckpointOverview, CheckpointState, CheckpointWaits},
};

/// How many checkpoints are remembered.
const REMEMBERED_MAX: usize = 100;

/// The checkpoints that this leader saw begin, oldest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct History {
    remembered: VecDeque<Remembered>,
    /// How many have ended, those that are forgotten included.
    ended: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct Remembered {
    since: Duration,
    /// When all snapshots were there.
    gathered: Option<Duration>,
    /// From then until it was recorded.
    manifest: Duration,
    overview: CheckpointOverview,
}

/// What a checkpoint that has ended has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedCheckpoint {
    /// Complete or failed.
    pub state: CheckpointState,
    /// From its beginning to its end.
    pub whole: Duration,
    /// From the last subtask's snapshot until it was recorded; zero where it failed before.
    pub manifest: Duration,
    /// Of all subtasks: the longest times, and all bytes together.
    pub cost: SnapshotCost,
}

impl History {
    pub(super) fn begin(&mut self, checkpoint: CheckpointId, attempt: Attempt, unix_time: Duration, now: Duration) {
        let overview = CheckpointOverview {
            attempt,
            state: CheckpointState::InProgress,
            begun_ms: u64::try_from(unix_time.as_millis()).unwrap_or(u64::MAX),
            ..of_the_record(checkpoint)
        };
        self.remembered.push_back(Remembered { since: now, gathered: None, manifest: Duration::ZERO, overview });
        while self.remembered.len() > REMEMBERED_MAX {
            self.remembered.pop_front();
        }
    }

    /// A checkpoint is complete.
    pub(super) fn complete(&mut self, checkpoint: CheckpointId, now: Duration) {
        self.end(checkpoint, CheckpointState::Complete, now);
    }

    /// A checkpoint failed, and whom it had waited for.
    pub(super) fn fail(
        &mut self,
        checkpoint: CheckpointId,
        reason: &str,
        waits: Option<CheckpointWaits>,
        now: Duration,
    ) {
        if let Some(known) = self.end(checkpoint, CheckpointState::Failed, now) {
            (known.overview.reason, known.overview.waits) = (reason.to_owned(), waits);
        }
    }

    fn end(&mut self, checkpoint: CheckpointId, state: CheckpointState, now: Duration) -> Option<&mut Remembered> {
        let mut known = self.remembered.iter_mut().rev();
        let known = known.find(|known| known.overview.checkpoint == checkpoint)?;
        self.ended += 1;
        known.manifest = known.gathered.map_or(Duration::ZERO, |gathered| now.saturating_sub(gathered));
        known.overview.state = state;
        known.overview.duration_micros = micros(now.saturating_sub(known.since));
        Some(known)
    }

    /// Whom a checkpoint that has failed had waited for.
    pub(super) fn waited_for(&self, checkpoint: CheckpointId) -> Option<&CheckpointWaits> {
        let known = self.remembered.iter().rev().find(|known| known.overview.checkpoint == checkpoint)?;
        known.overview.waits.as_ref()
    }

    /// What the newest one took, by its manifest.
    pub(super) fn tell_cost(&mut self, manifest: &Manifest, now: Duration) {
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
        if let Some(known) = self.remembered.back_mut() {
            known.overview.cost = all;
            known.gathered = Some(now);
        }
    }

    /// Of the ended ones those after the first `seen`, as far as they are remembered, the newest last; and how many have ended.
    pub(super) fn ended_after(&self, seen: u64) -> (u64, Vec<EndedCheckpoint>) {
        let new = usize::try_from(self.ended.saturating_sub(seen)).unwrap_or(usize::MAX);
        let ended = self.remembered.iter().rev().filter(|known| known.overview.state != CheckpointState::InProgress);
        let mut ended: Vec<EndedCheckpoint> = ended.take(new).map(Remembered::ended).collect();
        ended.reverse();
        (self.ended, ended)
    }

    /// The remembered checkpoints, preceded by those that the record holds from before this leader. Oldest first.
    pub(super) fn overviews(&self, record: &JobRecord, now: Duration) -> Vec<CheckpointOverview> {
        let known: Vec<CheckpointOverview> = self.remembered.iter().map(|known| known.at(now)).collect();
        let first = known.first().map(|overview| overview.checkpoint);
        let earlier = record.checkpoints.iter().map(|manifest| manifest.checkpoint);
        let earlier = earlier.filter(|checkpoint| first.is_none_or(|first| *checkpoint < first)).map(of_the_record);
        earlier.chain(known).collect()
    }
}

impl Remembered {
    fn ended(&self) -> EndedCheckpoint {
        let Self { manifest, overview: CheckpointOverview { state, duration_micros, cost, .. }, .. } = self;
        EndedCheckpoint {
            state: *state,
            whole: Duration::from_micros(*duration_micros),
            manifest: *manifest,
            cost: *cost,
        }
    }

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
        waits: None,
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
