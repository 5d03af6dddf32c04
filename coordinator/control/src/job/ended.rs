//! After the end: dropping what still runs, publishing what complete checkpoints hold, then removing what was written and will
//! never be published. And, while an attempt runs, removing what older ones left.
//!
//! ```text
//! running -> Discard to one node, before this attempt
//! ended -> Cancel to all -> all Gone -> checkpoints published -> Discard to one node -> checkpoints deleted -> done
//!            Discard ^-- it failed, was refused, or its node is lost: again, elsewhere or later --'
//! ```
//!
//! A publication is done when everything is visible; that what is left cannot be removed says nothing about it. Removing must
//! come last: an attempt that still runs would leave more. Nor is anything discarded while something that is complete waits for
//! its publication, however long the store is away. What cannot be removed after `REMOVALS_MAX` tries stays, hidden. A put that its
//! writer has given up may land after all: where checkpoints are deleted a second time for that (`collect.rs`), so is output.

use std::time::Duration;

use thalweg_cluster_state::JobRecord;
use thalweg_types::{
    Attempt, JobStatus, NodeId, OperatorKind,
    job::FailureKind,
    session::{ALL_ATTEMPTS, Action},
};

use super::{Effect, JobController, JobView, attached_node, facts::Removal, publish::must_publish};
use crate::restart;

impl JobController {
    /// What is left to do for a job that has ended.
    pub(super) fn end(&mut self, view: &JobView<'_>) -> Vec<Effect> {
        let mut effects = self.cancel_leftovers(view);
        effects.extend(self.publish(view));
        if self.leftovers(view).next().is_some() || must_publish(view.record) {
            return effects;
        }
        if self.must_discard(view.record) {
            effects.extend(self.remove(view, self.left_before(view.record)));
            if !self.removal_at_the_end(view.record).was_over {
                return effects;
            }
        }
        effects.extend(self.collect_at_the_end(view));
        effects
    }

    /// Whether the job has ended, all that is complete is published, and the rest is gone from the nodes and from its sinks, but for
    /// what may land yet.
    #[must_use]
    pub fn is_output_settled(&self, view: &JobView<'_>) -> bool {
        let is_ended = view.record.status.is_terminal() && view.record.last_attempt() == self.facts.attempt;
        let is_removed = self.removal_at_the_end(view.record).was_over || !self.must_discard(view.record);
        is_ended && is_removed && self.leftovers(view).next().is_none() && !must_publish(view.record)
    }

    /// What older attempts left goes once, first of all; their checkpoints are published.
    pub(super) fn sweep(&mut self, view: &JobView<'_>) -> Option<Effect> {
        let sweep = &self.facts.sweep;
        let is_over = sweep.is_over();
        let attempt = self.facts.attempt;
        if is_over || attempt <= Attempt(1) || !self.writes() { None } else { self.remove(view, attempt) }
    }

    /// Whether files may be there that nobody will publish, and that are not known to be removed.
    pub(super) fn must_discard(&self, record: &JobRecord) -> bool {
        let removal = self.removal_at_the_end(record);
        record.attempt.is_some() && self.left_before(record) > Attempt(1) && self.writes() && !removal.is_over()
    }

    fn removal_at_the_end(&self, record: &JobRecord) -> &Removal {
        if self.left_before(record) > self.facts.attempt { &self.facts.discard } else { &self.facts.sweep }
    }

    /// Files of older attempts are to be removed in the end. Where an attempt stays with its rows, it has ended well and left
    /// nothing.
    fn left_before(&self, record: &JobRecord) -> Attempt {
        if self.keeps_rows(record) { self.facts.attempt } else { self.over_before(record) }
    }

    /// The attempts that are over with the job: all there ever are, but of a failed one those so far, since it may be started again
    /// while what they left is still being removed.
    pub(super) fn over_before(&self, record: &JobRecord) -> Attempt {
        if record.status == JobStatus::Failed { record.last_attempt().next() } else { ALL_ATTEMPTS }
    }

    /// Whether any of the operators writes what is to be published: rows, malformed or late records, rows that failed.
    fn writes(&self) -> bool {
        self.graph.operators.iter().any(|operator| match &operator.kind {
            OperatorKind::Sink(_) => true,
            OperatorKind::Source(source) => source.connector.option("dead-letter.path").is_some(),
            _ => self.settings.late_path.is_some(),
        }) || self.settings.error_path.is_some()
    }

    /// Something of the job that was over has run on unnoticed, and is gone now: it may have left more of everything.
    pub fn on_straggler_gone(&mut self) {
        self.facts.remove_again();
        self.checkpoints.collecting.begin_again();
    }

    fn remove(&mut self, view: &JobView<'_>, before: Attempt) -> Option<Effect> {
        let removal = self.removal(before)?;
        if removal.on.is_some() || view.now < removal.not_before {
            return None;
        }
        let (node, life) = attached_node(view, removal.failures)?;
        removal.on = Some((node, life));
        Some(self.order(node, Action::Discard { graph: Box::new(self.graph.clone()), before }))
    }

    fn removal(&mut self, before: Attempt) -> Option<&mut Removal> {
        if before > self.facts.attempt {
            return Some(&mut self.facts.discard);
        }
        (before == self.facts.attempt).then_some(&mut self.facts.sweep)
    }

    /// An answer counts from the node that was asked. Others, and those that are told again, may be older than what is there now.
    pub(super) fn on_discarded(
        &mut self,
        node: NodeId,
        before: Attempt,
        result: Result<(), FailureKind>,
        now: Duration,
    ) {
        let settings = self.settings.clone();
        let Some(removal) = self.removal(before) else { return };
        if removal.on.take_if(|(asked, _)| *asked == node).is_none() || std::mem::take(&mut removal.is_outdated) {
            return;
        }
        let Err(kind) = result else {
            removal.is_done = true;
            return;
        };
        removal.failures = removal.failures.saturating_add(1);
        let pause = match kind {
            // It is refused for good: only another node may be able to, and at once.
            FailureKind::Data => Duration::ZERO,
            // There is no herd to spread: no jitter.
            _ => restart::backoff(&settings, FailureKind::Store, removal.failures, 0),
        };
        removal.not_before = now + pause;
    }
}
