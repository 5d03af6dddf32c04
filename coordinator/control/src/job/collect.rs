//! Forgetting checkpoints that nobody will go on from, and having their objects deleted.
//!
//! ```text
//! running: more than are kept, published -> propose ForgetCheckpoints -> CollectCheckpoints(those; keep the others)
//!          the first checkpoint of an attempt is complete -> CollectCheckpoints(what older attempts left)
//! ended:   output settled -> CollectCheckpoints(all; of a failed job all but the newest) -> propose ForgetCheckpoints
//! ```
//!
//! While the job runs, a checkpoint is forgotten before its objects go, so that the record never names what is not there;
//! what a lost leader did not delete is swept with the next attempt. After the end nobody reads it, and the record is what
//! reminds a new leader. With the objects of checkpoints go those segments of ingest logs that no kept checkpoint needs.

use thalweg_cluster_state::{Command, JobRecord};
use thalweg_types::{
    Attempt, CheckpointId, JobStatus, Operator, OperatorKind, checkpoint::ManifestRef, connector::INGEST_CONNECTOR,
    session::ALL_ATTEMPTS,
};

use super::{Effect, JobController, JobView};

/// What is to be deleted, and how far that is.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Collecting {
    /// Being forgotten; deleted once they are.
    forgetting: Vec<ManifestRef>,
    /// What attempts older than this one left was swept.
    swept: Attempt,
    at_the_end: AtTheEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum AtTheEnd {
    #[default]
    Not,
    Asked,
    Done,
}

impl JobController {
    /// While it runs.
    pub(super) fn collect(&mut self, view: &JobView<'_>) -> Vec<Effect> {
        let record = view.record;
        let forgetting = &mut self.checkpoints.collecting.forgetting;
        let is_forgotten = forgetting.iter().all(|manifest| record.checkpoint(manifest.checkpoint).is_none());
        let drop = if is_forgotten { std::mem::take(forgetting) } else { Vec::new() };
        let attempt = self.facts.attempt;
        let has_own = record
            .attempt
            .as_ref()
            .is_some_and(|own| record.newest_checkpoint().is_some_and(|newest| newest.checkpoint > own.began_after));
        let sweeps = has_own && self.checkpoints.collecting.swept < attempt;
        if sweeps {
            self.checkpoints.collecting.swept = attempt;
        }
        let mut effects = Vec::new();
        if !drop.is_empty() || sweeps {
            let (keep, older_than) = (record.checkpoints.clone(), sweeps.then_some(attempt));
            effects.push(Effect::CollectCheckpoints { drop, keep, older_than });
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

    /// Whether checkpoints of a job that has ended are still to be deleted.
    pub(super) fn must_collect(&self, record: &JobRecord) -> bool {
        let is_collected = self.checkpoints.collecting.at_the_end == AtTheEnd::Done;
        let may_have_stored = record.last_checkpoint > CheckpointId(0) || self.has_ingest_log();
        may_have_stored && (!is_collected || !useless(record).is_empty())
    }

    /// Whether a source of the job keeps what it was sent beside the checkpoints, from before there is one.
    fn has_ingest_log(&self) -> bool {
        let is_sent = |operator: &Operator| matches!(&operator.kind, OperatorKind::Source(spec) if spec.connector.name == INGEST_CONNECTOR);
        !self.checkpoint_interval().is_zero() && self.graph.operators.iter().any(is_sent)
    }

    /// After the end, when its output is settled.
    pub(super) fn collect_at_the_end(&mut self, record: &JobRecord) -> Option<Effect> {
        let drop = useless(record).to_vec();
        match self.checkpoints.collecting.at_the_end {
            AtTheEnd::Asked => None,
            AtTheEnd::Not => {
                self.checkpoints.collecting.at_the_end = AtTheEnd::Asked;
                let keep = record.checkpoints.iter().skip(drop.len()).cloned().collect();
                Some(Effect::CollectCheckpoints { drop, keep, older_than: Some(ALL_ATTEMPTS) })
            }
            AtTheEnd::Done if drop.is_empty() => None,
            AtTheEnd::Done => {
                let checkpoints = drop.iter().map(|manifest| manifest.checkpoint).collect();
                Some(Effect::Propose(Command::ForgetCheckpoints { job: self.job, checkpoints }))
            }
        }
    }

    /// Objects were deleted, as far as that was possible.
    pub fn on_collected(&mut self) {
        let at_the_end = &mut self.checkpoints.collecting.at_the_end;
        if *at_the_end == AtTheEnd::Asked {
            *at_the_end = AtTheEnd::Done;
        }
    }
}

/// Of a job that has ended: the oldest checkpoints first, all but the newest of a failed one.
fn useless(record: &JobRecord) -> &[ManifestRef] {
    match record.checkpoints.split_last() {
        Some((_, older)) if record.status == JobStatus::Failed => older,
        _ => &record.checkpoints,
    }
}
