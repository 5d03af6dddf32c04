//! Takes checkpoints of a running attempt, and reports on them.
//!
//! ```text
//! due | wanted -> propose BeginCheckpoint(E) -> order it to all -> a snapshot of every subtask -> PutManifest
//!     -> propose CompleteCheckpoint -> order ConfirmCheckpoint to all        (what E holds is published in `publish`)
//! a snapshot failed | the manifest was not put | timeout -> order AbortCheckpoint to all; the next after a pause
//! ```
//!
//! Only the record makes a checkpoint exist. A new leader finds E begun and not complete, and orders it again. Nodes
//! repeat the reports that were not acknowledged. A node that has aborted E refuses the order, which aborts E
//! everywhere.
//!
//! The rules it protects: a checkpoint is complete only with the snapshot of every subtask. What a subtask prepared
//! belongs to exactly one complete checkpoint, or to the end. A checkpoint whose manifest is durable is not aborted any
//! more, because its completion may be recorded.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use thalweg_cluster_state::{Command, EndMode, JobRecord};
use thalweg_types::{
    Attempt, CheckpointId, SubtaskId,
    bug::{self, Bug},
    checkpoint::{MANIFEST_FORMAT, Manifest, ManifestRef, Prepared, SubtaskSnapshot},
    job::{CheckpointOverview, CheckpointSummary, CheckpointWaits, Failure},
    session::Action,
};

use super::{
    Effect, JobController, JobView,
    history::{EndedCheckpoint, History},
    publish::Publishing,
};

/// How long an attempt other than the first runs before its first checkpoint, unless the interval is shorter. This is
/// long enough for records to pass. Nothing was published while no attempt ran, so that output should not wait for a
/// whole interval more.
const FIRST_AFTER_FAILURE: Duration = Duration::from_millis(200);
/// The longest pause after failed checkpoints, unless the interval is longer.
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// The first pause after a failed checkpoint if none are taken by time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Pauses stop doubling here: 2^10 times the shortest sensible interval exceeds the longest pause.
const DOUBLINGS_MAX: u32 = 10;
/// While this many complete checkpoints wait to be published, none begins: they must not pile up while the store of a
/// sink is unavailable.
const UNPUBLISHED_MAX: usize = 4;

/// What a leader remembers of a job's checkpoints.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Checkpoints {
    pub(super) open: Option<Open>,
    /// Reports about checkpoints that have not begun here. This leader's record may lag behind the node's.
    early: BTreeMap<(CheckpointId, SubtaskId), Result<SubtaskSnapshot, String>>,
    /// This checkpoint and all before it are not ordered again.
    given_up: CheckpointId,
    /// Whether a node waits for the next checkpoint.
    wanted: bool,
    due_at: Option<Duration>,
    /// The end of the pause after failed checkpoints.
    not_before: Duration,
    failures_in_a_row: u32,
    last_failure: String,
    /// The newest checkpoint that was confirmed to the nodes of the attempt.
    confirmed: CheckpointId,
    pub(super) publishing: Publishing,
    /// The manifests that are still needed, as far as this leader knows them.
    pub(super) manifests: BTreeMap<CheckpointId, Arc<Manifest>>,
    pub(super) reading: Reading,
    pub(super) collecting: super::collect::Collecting,
    pub(super) history: History,
}

/// The checkpoint in progress.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Open {
    pub(super) checkpoint: CheckpointId,
    pub(super) since: Duration,
    was_wanted: bool,
    pub(super) snapshots: BTreeMap<SubtaskId, SubtaskSnapshot>,
    manifest: Put,
    failed: Option<String>,
}

/// How far writing a manifest is.
#[derive(Debug, Clone, PartialEq)]
enum Put {
    /// Not asked for: snapshots are missing, or the last write failed.
    Not,
    Asked(Arc<Manifest>),
    Done(ManifestRef, Arc<Manifest>),
}

/// Reading manifests that another leader wrote.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Reading {
    asked: Option<CheckpointId>,
    pub(super) not_before: Duration,
    failures: u32,
    /// A manifest cannot be read, and a retry would fail in the same way.
    pub(super) broken: Option<Failure>,
}

impl Checkpoints {
    /// Another attempt begins: reports about the last one no longer count.
    pub(super) fn on_attempt(&mut self, now: Duration) {
        self.close("the attempt ended", None, now);
        (self.wanted, self.due_at) = (false, None);
        self.early.clear();
    }

    /// The attempt no longer runs.
    pub(super) fn close(&mut self, reason: &str, waits: Option<CheckpointWaits>, now: Duration) {
        if let Some(open) = self.open.take() {
            self.history.fail(open.checkpoint, reason, waits, now);
        }
    }

    pub(super) fn on_wanted(&mut self) {
        self.wanted = true;
    }

    pub(super) fn on_snapshot(&mut self, checkpoint: CheckpointId, snapshot: &SubtaskSnapshot) {
        match &mut self.open {
            Some(open) if open.checkpoint == checkpoint => {
                open.snapshots.entry(snapshot.subtask).or_insert_with(|| snapshot.clone());
            }
            _ => self.on_early((checkpoint, snapshot.subtask), Ok(snapshot.clone())),
        }
    }

    /// A subtask failed to take its snapshot.
    pub(super) fn on_snapshot_failed(&mut self, checkpoint: CheckpointId, subtask: SubtaskId, reason: String) {
        if self.open.as_ref().is_some_and(|open| open.checkpoint == checkpoint) {
            self.on_failed(checkpoint, &reason);
        } else {
            self.on_early((checkpoint, subtask), Err(reason));
        }
    }

    /// Only reports about the newest checkpoint that has not begun here can still count. Keeping only those bounds
    /// `early`.
    fn on_early(&mut self, about: (CheckpointId, SubtaskId), told: Result<SubtaskSnapshot, String>) {
        let is_over = self.open.as_ref().is_some_and(|open| about.0 < open.checkpoint) || about.0 <= self.given_up;
        let newest = self.early.keys().next_back().map(|(checkpoint, _)| *checkpoint);
        if is_over || newest.is_some_and(|newest| about.0 < newest) {
            return;
        }
        self.early.retain(|(checkpoint, _), _| *checkpoint == about.0);
        self.early.insert(about, told);
    }

    /// A snapshot of the checkpoint will not come. Ignored once its manifest is being written, because all snapshots
    /// are there.
    pub(super) fn on_failed(&mut self, checkpoint: CheckpointId, reason: &str) {
        let open = self.open.as_mut().filter(|open| open.checkpoint == checkpoint);
        if let Some(open) = open.filter(|open| open.manifest == Put::Not) {
            open.failed.get_or_insert_with(|| reason.to_owned());
        }
    }

    pub(super) fn on_put(&mut self, checkpoint: CheckpointId, result: Result<ManifestRef, Failure>) {
        let Some(open) = self.open.as_mut().filter(|open| open.checkpoint == checkpoint) else { return };
        let Put::Asked(manifest) = &open.manifest else { return };
        match result {
            Ok(reference) => open.manifest = Put::Done(reference, manifest.clone()),
            Err(failure) => {
                open.manifest = Put::Not;
                open.failed = Some(format!("its manifest could not be written: {}", failure.message));
            }
        }
    }

    /// Counts a failure. Each one in a row doubles the pause.
    fn pause(&mut self, interval: Duration, reason: String, now: Duration) {
        let doublings = self.failures_in_a_row.min(DOUBLINGS_MAX) + 1;
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        let first = if interval.is_zero() { PAUSE_MIN } else { interval };
        self.not_before = now + first.saturating_mul(1 << doublings).min(PAUSE_MAX.max(interval));
        self.last_failure = reason;
    }
}

impl JobController {
    /// Advances the open checkpoint, or begins one.
    pub(super) fn checkpoint(&mut self, view: &JobView<'_>) -> Vec<Effect> {
        self.notice_completion(view);
        let recorded = view.record.open_checkpoint().filter(|open| *open > self.checkpoints.given_up);
        let Some(open) = &self.checkpoints.open else {
            let mut effects = self.confirm(view);
            match recorded {
                Some(checkpoint) => effects.extend(self.order_checkpoint(view, checkpoint)),
                None => effects.extend(self.begin_checkpoint(view)),
            }
            return effects;
        };
        if let Put::Done(reference, _) = &open.manifest {
            let (job, attempt, manifest) = (self.job, self.facts.attempt, reference.clone());
            return vec![Effect::Propose(Command::CompleteCheckpoint { job, attempt, manifest })];
        }
        let is_late = view.now.saturating_sub(open.since) >= self.settings.checkpoint_timeout;
        let failed = open.failed.clone().or_else(|| is_late.then(|| self.lateness(view.record)));
        if let Some(reason) = failed {
            return self.abort_checkpoint(view, reason);
        }
        self.put_manifest(view)
    }

    /// Closes the open checkpoint once the record holds its completion.
    fn notice_completion(&mut self, view: &JobView<'_>) {
        let is_complete = |open: &mut Open| view.record.checkpoint(open.checkpoint).is_some();
        let Some(open) = self.checkpoints.open.take_if(is_complete) else { return };
        if let Put::Done(_, manifest) = open.manifest {
            self.checkpoints.manifests.insert(open.checkpoint, manifest);
        }
        (self.checkpoints.failures_in_a_row, self.checkpoints.not_before) = (0, Duration::ZERO);
        self.checkpoints.last_failure.clear();
        self.checkpoints.history.complete(open.checkpoint, view.now);
    }

    /// Tells the nodes, once, of the newest complete checkpoint of their attempt.
    fn confirm(&mut self, view: &JobView<'_>) -> Vec<Effect> {
        let Some(newest) = own_newest(view.record).filter(|newest| *newest > self.checkpoints.confirmed) else {
            return Vec::new();
        };
        self.checkpoints.confirmed = newest;
        let manifest = view.record.checkpoint(newest).cloned();
        self.order_all(view.record, &Action::ConfirmCheckpoint { checkpoint: newest, manifest })
    }

    fn begin_checkpoint(&mut self, view: &JobView<'_>) -> Option<Effect> {
        let interval = self.checkpoint_interval();
        let first_after = if self.facts.attempt > Attempt(1) { interval.min(FIRST_AFTER_FAILURE) } else { interval };
        let due_at = *self.checkpoints.due_at.get_or_insert(view.now + first_after);
        let is_wanted = self.checkpoints.wanted || self.stop_waits(view.record);
        let is_due = is_wanted || (!interval.is_zero() && view.now >= due_at);
        let is_ending = (self.facts.stop_ordered && !self.checkpoints.wanted) || self.has_finished(view.record);
        let lags = unpublished(view.record) >= UNPUBLISHED_MAX;
        if !is_due || is_ending || lags || view.now < self.checkpoints.not_before {
            return None;
        }
        let (job, attempt, checkpoint) = (self.job, self.facts.attempt, view.record.last_checkpoint.next());
        Some(Effect::Propose(Command::BeginCheckpoint { job, attempt, checkpoint }))
    }

    /// Whether a stop must wait before the sources are told. It waits until a checkpoint holds what they have read so
    /// far: otherwise, if the attempt fails while it stops, the next one has nothing else to go on from. It does not
    /// wait after a checkpoint has failed, or if none are taken by time.
    pub(super) fn stop_waits(&mut self, record: &JobRecord) -> bool {
        if record.ending != Some(EndMode::Stop) || self.facts.stop_ordered {
            return false;
        }
        let asked_after = *self.facts.stop_asked_after.get_or_insert(record.last_checkpoint);
        let is_held = own_newest(record).is_some_and(|newest| newest > asked_after);
        let has_failed = self.checkpoints.given_up > asked_after;
        !is_held && !has_failed && !self.checkpoint_interval().is_zero()
    }

    /// Orders a checkpoint whose beginning is recorded.
    fn order_checkpoint(&mut self, view: &JobView<'_>, checkpoint: CheckpointId) -> Vec<Effect> {
        let was_wanted = std::mem::take(&mut self.checkpoints.wanted);
        self.checkpoints.due_at = Some(view.now + self.checkpoint_interval());
        let open = Open {
            checkpoint,
            since: view.now,
            was_wanted,
            snapshots: BTreeMap::new(),
            manifest: Put::Not,
            failed: None,
        };
        self.checkpoints.open = Some(open);
        for ((of, _), told) in std::mem::take(&mut self.checkpoints.early) {
            match told {
                Ok(snapshot) => self.checkpoints.on_snapshot(of, &snapshot),
                Err(reason) => self.checkpoints.on_failed(of, &reason),
            }
        }
        self.checkpoints.history.begin(checkpoint, self.facts.attempt, view.unix_time, view.now);
        self.order_all(view.record, &Action::BeginCheckpoint { checkpoint })
    }

    fn abort_checkpoint(&mut self, view: &JobView<'_>, reason: String) -> Vec<Effect> {
        let waits = self.checkpoint_waits(view.record);
        let Some(open) = self.checkpoints.open.take() else { return Vec::new() };
        let checkpoint = open.checkpoint;
        self.checkpoints.given_up = checkpoint;
        self.checkpoints.wanted |= open.was_wanted;
        self.checkpoints.history.fail(checkpoint, &reason, waits, view.now);
        self.checkpoints.pause(self.checkpoint_interval(), reason, view.now);
        self.order_all(view.record, &Action::AbortCheckpoint { checkpoint })
    }

    /// Has the manifest written once every subtask has answered. What a finished subtask prepared stays with the
    /// checkpoint that held it first, so this needs the manifest of the newest complete one.
    fn put_manifest(&mut self, view: &JobView<'_>) -> Vec<Effect> {
        let subtasks = self.all_subtasks(view.record);
        let (Some(open), Some(attempt)) = (&self.checkpoints.open, &view.record.attempt) else { return Vec::new() };
        let is_whole = subtasks.iter().all(|subtask| open.snapshots.contains_key(subtask));
        if !is_whole || open.manifest != Put::Not {
            return Vec::new();
        }
        let (checkpoint, snapshots) = (open.checkpoint, open.snapshots.clone());
        let finds_finished = snapshots.values().any(|snapshot| snapshot.is_finished);
        let before = own_newest(view.record).filter(|_| finds_finished);
        let before = match before.map(|before| self.manifest(view, before)) {
            Some(Err(read)) => return read.into_iter().collect(),
            Some(Ok(manifest)) => Some(manifest),
            None => None,
        };
        let belongs = |mut snapshot: SubtaskSnapshot| {
            if snapshot.is_finished {
                snapshot.prepared = of_finished(&snapshot, before.as_deref(), checkpoint);
            }
            snapshot
        };
        let assignment = &attempt.plan.assignment;
        let manifest = Arc::new(Manifest {
            format: MANIFEST_FORMAT,
            cluster: view.cluster.clone(),
            job: self.job,
            attempt: self.facts.attempt,
            checkpoint,
            key_groups: assignment.key_groups.clone(),
            parallelism: assignment.parallelism(),
            graph: Some(self.recorded.clone()),
            subtasks: subtasks.iter().filter_map(|subtask| snapshots.get(subtask).cloned()).map(belongs).collect(),
        });
        self.checkpoints.history.tell_cost(&manifest, view.now);
        if let Some(open) = &mut self.checkpoints.open {
            open.manifest = Put::Asked(manifest.clone());
        }
        let mut effects = self.publish_too_early(view, &manifest);
        effects.push(Effect::PutManifest { manifest });
        effects
    }

    /// What a seeded bug does; otherwise nothing.
    fn publish_too_early(&self, view: &JobView<'_>, manifest: &Manifest) -> Vec<Effect> {
        let node = super::attached_node(view, 0).filter(|_| bug::is_active(Bug::CommitBeforeDurable));
        let prepared = manifest.subtasks.iter().flat_map(|snapshot| &snapshot.prepared);
        let committables = super::publish::grouped(prepared);
        let checkpoint = manifest.checkpoint;
        let order = |(node, _)| self.order(node, self.publication(view, (checkpoint, checkpoint), committables));
        node.map(order).into_iter().collect()
    }

    /// The manifest of a complete checkpoint. If it is not known, the error holds the effect that reads it.
    pub(super) fn manifest(
        &mut self,
        view: &JobView<'_>,
        checkpoint: CheckpointId,
    ) -> Result<Arc<Manifest>, Option<Effect>> {
        if let Some(manifest) = self.checkpoints.manifests.get(&checkpoint) {
            return Ok(manifest.clone());
        }
        let reading = &mut self.checkpoints.reading;
        if reading.asked.is_some() || reading.broken.is_some() || view.now < reading.not_before {
            return Err(None);
        }
        let Some(reference) = view.record.checkpoint(checkpoint) else { return Err(None) };
        reading.asked = Some(checkpoint);
        Err(Some(Effect::GetManifest { manifest: reference.clone() }))
    }

    /// A manifest was written, or could not be.
    pub fn on_manifest_put(&mut self, checkpoint: CheckpointId, result: Result<ManifestRef, Failure>) {
        self.checkpoints.on_put(checkpoint, result);
    }

    /// A manifest was read, or could not be.
    pub fn on_manifest_got(&mut self, checkpoint: CheckpointId, result: Result<Manifest, Failure>, now: Duration) {
        let reading = &mut self.checkpoints.reading;
        if reading.asked.take() != Some(checkpoint) {
            return;
        }
        match result {
            Ok(manifest) => {
                reading.failures = 0;
                self.checkpoints.manifests.insert(checkpoint, Arc::new(manifest));
            }
            Err(failure) if !crate::restart::passes(failure.kind) => {
                reading.broken = Some(failure);
            }
            Err(failure) => {
                reading.failures = reading.failures.saturating_add(1);
                reading.not_before = now + crate::restart::backoff(&self.settings, failure.kind, reading.failures, 0);
            }
        }
    }

    /// Drops manifests that are not needed any more.
    pub(super) fn forget_manifests(&mut self, record: &JobRecord) {
        let newest = record.newest_checkpoint().map(|manifest| manifest.checkpoint);
        let is_of_use = |id: CheckpointId| id > record.committed || Some(id) == newest;
        self.checkpoints.manifests.retain(|id, _| is_of_use(*id));
    }

    /// What the sinks prepared after the newest complete checkpoint. Called once every subtask has finished.
    pub(super) fn prepared_at_the_end(&mut self, view: &JobView<'_>) -> Result<Vec<Prepared>, Option<Effect>> {
        let newest = view.record.newest_checkpoint().map(|manifest| manifest.checkpoint).unwrap_or_default();
        let covered: BTreeSet<SubtaskId> = match own_newest(view.record) {
            Some(checkpoint) => {
                let manifest = self.manifest(view, checkpoint)?;
                let finished = manifest.subtasks.iter().filter(|snapshot| snapshot.is_finished);
                finished.map(|snapshot| snapshot.subtask).collect()
            }
            None => BTreeSet::new(),
        };
        let open = self.facts.finished.iter().filter(|(subtask, _)| !covered.contains(subtask));
        Ok(open.flat_map(|(_, prepared)| prepared).filter(|prepared| prepared.epoch > newest).cloned().collect())
    }

    /// From the beginning of one checkpoint to that of the next. Zero: none by time.
    pub(super) fn checkpoint_interval(&self) -> Duration {
        self.settings.checkpoint_interval.unwrap_or(self.config.checkpoint_interval)
    }

    pub(super) fn all_subtasks(&self, record: &JobRecord) -> Vec<SubtaskId> {
        let parallelism = record.attempt.as_ref().map_or(0, |attempt| attempt.plan.assignment.parallelism());
        self.plan.subtasks(parallelism).collect()
    }

    /// Whether every subtask has finished.
    pub(super) fn has_finished(&self, record: &JobRecord) -> bool {
        self.all_subtasks(record).iter().all(|subtask| self.facts.finished.contains_key(subtask))
    }

    /// The state of the job's checkpoints.
    #[must_use]
    pub fn checkpoint_summary(&self, record: &JobRecord) -> CheckpointSummary {
        CheckpointSummary {
            last_complete: record.newest_checkpoint().map(|manifest| manifest.checkpoint),
            failures_in_a_row: self.checkpoints.failures_in_a_row,
            reason: self.lag(record).unwrap_or_else(|| self.checkpoints.last_failure.clone()),
        }
    }

    /// Why a checkpoint was given up last, until one is complete.
    #[must_use]
    pub fn last_checkpoint_failure(&self) -> &str {
        &self.checkpoints.last_failure
    }

    /// Why no checkpoint begins while publishing lags.
    fn lag(&self, record: &JobRecord) -> Option<String> {
        let waiting = unpublished(record);
        let last = self.checkpoints.publishing.last_failure.as_ref().map(|failure| format!(": {}", failure.message));
        let told = || {
            let last = last.unwrap_or_default();
            format!("publishing lags, and none is begun while {waiting} complete ones wait to be published{last}")
        };
        (waiting >= UNPUBLISHED_MAX).then(told)
    }

    /// What the checkpoints have taken that ended after the first `seen`, and how many have ended by now. Those that are no
    /// longer remembered are missing.
    #[must_use]
    pub fn checkpoints_ended_after(&self, seen: u64) -> (u64, Vec<EndedCheckpoint>) {
        self.checkpoints.history.ended_after(seen)
    }

    /// The last checkpoints that this leader knows of, oldest first.
    #[must_use]
    pub fn checkpoint_overviews(&self, record: &JobRecord, now: Duration) -> Vec<CheckpointOverview> {
        let mut overviews = self.checkpoints.history.overviews(record, now);
        if let Some(open) = &self.checkpoints.open
            && let Some(last) = overviews.last_mut().filter(|last| last.checkpoint == open.checkpoint)
        {
            last.waits = self.checkpoint_waits(record);
        }
        overviews
    }
}

/// How many complete checkpoints wait to be published.
fn unpublished(record: &JobRecord) -> usize {
    record.checkpoints.iter().filter(|manifest| manifest.checkpoint > record.committed).count()
}

/// The newest complete checkpoint of the last attempt.
pub(super) fn own_newest(record: &JobRecord) -> Option<CheckpointId> {
    let began_after = record.attempt.as_ref()?.began_after;
    record.newest_checkpoint().map(|manifest| manifest.checkpoint).filter(|newest| *newest > began_after)
}

/// What a finished subtask prepared belongs to the first checkpoint that found it finished.
fn of_finished(snapshot: &SubtaskSnapshot, before: Option<&Manifest>, checkpoint: CheckpointId) -> Vec<Prepared> {
    let known = before.and_then(|manifest| manifest.subtasks.iter().find(|known| known.subtask == snapshot.subtask));
    if let Some(known) = known.filter(|known| known.is_finished) {
        return known.prepared.clone();
    }
    let bound = |prepared: &Prepared| Prepared { epoch: prepared.epoch.min(checkpoint), ..prepared.clone() };
    snapshot.prepared.iter().map(bound).collect()
}
