//! Forgets checkpoints that no attempt will restore, and has their objects deleted.
//!
//! ```text
//! running: more than are kept, published -> propose ForgetCheckpoints -> CollectCheckpoints(those; keep the others)
//!          the first checkpoint of an attempt is complete -> CollectCheckpoints(what older attempts left)
//! ended:   output settled -> CollectCheckpoints(all; of a failed job all but the newest) -> after a while the same once more
//!          -> propose ForgetCheckpoints
//! ```
//!
//! While the job runs, a checkpoint is forgotten before its objects are deleted, so the record never names a missing
//! object. What a lost leader did not delete is swept with the next attempt. After the end the order is reversed:
//! nobody restores the checkpoints any more, and the record reminds a new leader to delete them. Segments of ingest
//! logs that no kept checkpoint needs are deleted with the checkpoints. At most one deletion is in progress; a failed
//! one is retried after a pause.
//!
//! After the end, objects and hidden output are deleted twice. A put that its writer gave up, or whose node was taken
//! for lost, may still be in progress during the first deletion and take effect after it. The pause between the two is
//! long enough for such a put to end. Checkpoints are forgotten only after the second deletion, so that a new leader,
//! which does not know of the first, does both.
//!
//! A failed job keeps its ingest logs: what its newest checkpoint needs, or all if it has none. It may be started
//! again.
//!
//! Objects of a live attempt that belong to no complete checkpoint (it was aborted, or its leader was lost) stay until
//! the next attempt or the end.

use std::time::Duration;

use thalweg_cluster_state::{Command, JobRecord};
use thalweg_types::{
    Attempt, CheckpointId, JobStatus,
    checkpoint::ManifestRef,
    job::{Failure, FailureKind},
};

use super::{Effect, JobController, JobView};
use crate::restart;

/// Within this time by the leader's clock, a put that nobody waits for has taken effect or never will.
pub(super) const PUTS_LAND_WITHIN: Duration = Duration::from_secs(10);

/// What is to be deleted, and how far the deletion is.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Collecting {
    /// Being forgotten. They are due once the record has dropped them.
    forgetting: Vec<ManifestRef>,
    /// Forgotten, and to be deleted.
    due: Vec<ManifestRef>,
    /// What attempts older than this one left is deleted.
    swept: Attempt,
    /// The deletion in progress.
    asked: Option<Asked>,
    not_before: Duration,
    failures: u32,
    /// The first deletion after the end is done. Puts may still take effect after it.
    is_deleted_once: bool,
    /// Both deletions after the end are done.
    is_over: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Asked {
    drop: Vec<ManifestRef>,
    older_than: Option<Attempt>,
    /// A deletion after the job has ended.
    is_at_the_end: bool,
}

impl JobController {
    /// Collects while the job runs.
    pub(super) fn collect(&mut self, view: &JobView<'_>) -> Vec<Effect> {
        let record = view.record;
        let attempt = self.facts.attempt;
        let collecting = &mut self.checkpoints.collecting;
        let is_forgotten = |manifest: &ManifestRef| record.checkpoint(manifest.checkpoint).is_none();
        if collecting.forgetting.iter().all(is_forgotten) {
            collecting.due.append(&mut collecting.forgetting);
        }
        let has_own = record
            .attempt
            .as_ref()
            .is_some_and(|own| record.newest_checkpoint().is_some_and(|newest| newest.checkpoint > own.began_after));
        let sweeps = has_own && collecting.swept < attempt;
        let mut effects = Vec::new();
        if collecting.is_free(view.now) && (sweeps || !collecting.due.is_empty()) {
            let (drop, older_than) = (std::mem::take(&mut collecting.due), sweeps.then_some(attempt));
            effects.push(collecting.ask(drop, record.checkpoints.clone(), older_than, false));
        }
        effects.extend(self.forget_surplus(record));
        effects
    }

    fn forget_surplus(&mut self, record: &JobRecord) -> Option<Effect> {
        let kept = usize::try_from(self.settings.checkpoint_retain).unwrap_or(usize::MAX).saturating_add(1);
        let surplus = record.checkpoints.len().saturating_sub(kept);
        let is_published = |manifest: &&ManifestRef| manifest.checkpoint <= record.committed;
        let forgotten: Vec<ManifestRef> =
            record.checkpoints.iter().take(surplus).take_while(is_published).cloned().collect();
        if forgotten.is_empty() {
            return None;
        }
        let checkpoints = forgotten.iter().map(|manifest| manifest.checkpoint).collect();
        self.checkpoints.collecting.forgetting = forgotten;
        Some(Effect::Propose(Command::ForgetCheckpoints { job: self.job, checkpoints }))
    }

    /// Whether checkpoints of an ended job are still to be deleted or forgotten.
    pub(super) fn must_collect(&self, record: &JobRecord) -> bool {
        let is_over = self.checkpoints.collecting.is_over && useless(record).is_empty();
        let may_have_stored = record.last_checkpoint > CheckpointId(0) || self.has_ingest_log();
        may_have_stored && !is_over
    }

    /// Whether a source of the job has an ingest log. Its segments are stored even before the first checkpoint.
    fn has_ingest_log(&self) -> bool {
        !self.checkpoint_interval().is_zero() && self.graph.sources().any(|(_, source)| source.connector.keeps_posts())
    }

    /// Collects after the end, once the job's output is settled.
    pub(super) fn collect_at_the_end(&mut self, view: &JobView<'_>) -> Option<Effect> {
        let record = view.record;
        if !self.must_collect(record) {
            return None;
        }
        let drop = useless(record).to_vec();
        let over = self.over_before(record);
        let collecting = &mut self.checkpoints.collecting;
        if collecting.is_over {
            let checkpoints = drop.iter().map(|manifest| manifest.checkpoint).collect();
            return Some(Effect::Propose(Command::ForgetCheckpoints { job: self.job, checkpoints }));
        }
        if !collecting.is_free(view.now) {
            return None;
        }
        let keep = record.checkpoints.iter().skip(drop.len()).cloned().collect();
        Some(collecting.ask(drop, keep, Some(over), true))
    }

    /// Objects were deleted, or some could not be. A failure that a retry would repeat counts as done: if a kept
    /// manifest cannot be read, its objects stay until the job is forgotten.
    pub fn on_collected(&mut self, result: &Result<(), Failure>, now: Duration) {
        let collecting = &mut self.checkpoints.collecting;
        let Some(Asked { drop, older_than, is_at_the_end }) = collecting.asked.take() else { return };
        if result.as_ref().map_or_else(|failure| !restart::passes(failure.kind), |()| true) {
            collecting.failures = 0;
            if is_at_the_end && !std::mem::replace(&mut collecting.is_deleted_once, true) {
                collecting.not_before = now + PUTS_LAND_WITHIN;
                self.facts.remove_later(now + PUTS_LAND_WITHIN);
            } else {
                collecting.is_over |= is_at_the_end;
            }
            let collecting = &mut self.checkpoints.collecting;
            collecting.swept = collecting.swept.max(older_than.unwrap_or_default());
            return;
        }
        collecting.due.extend(drop);
        collecting.failures = collecting.failures.saturating_add(1);
        collecting.not_before = now + restart::backoff(&self.settings, FailureKind::Store, collecting.failures, 0);
    }
}

impl Collecting {
    /// Restarts the deletion after the end; it is done twice again.
    pub(super) fn begin_again(&mut self) {
        (self.is_deleted_once, self.is_over) = (false, false);
    }

    fn is_free(&self, now: Duration) -> bool {
        self.asked.is_none() && now >= self.not_before
    }

    fn ask(
        &mut self,
        drop: Vec<ManifestRef>,
        keep: Vec<ManifestRef>,
        older_than: Option<Attempt>,
        is_at_the_end: bool,
    ) -> Effect {
        self.asked = Some(Asked { drop: drop.clone(), older_than, is_at_the_end });
        Effect::CollectCheckpoints { drop, keep, older_than }
    }
}

/// The checkpoints of an ended job that are not needed, oldest first: all of them, but the newest of a failed job.
fn useless(record: &JobRecord) -> &[ManifestRef] {
    match record.checkpoints.split_last() {
        Some((_, older)) if record.status == JobStatus::Failed => older,
        _ => &record.checkpoints,
    }
}
