//! After the end: drops what still runs, publishes what complete checkpoints hold, then removes output that will never
//! be published. While an attempt runs: removes what older attempts left.
//!
//! ```text
//! running -> Discard to one node, before this attempt
//! ended -> Cancel to all -> all Gone -> checkpoints published -> Discard to one node -> checkpoints deleted -> done
//!            Discard ^-- it failed, was refused, or its node is lost: again, elsewhere or later --'
//! ```
//!
//! A job's output is published once all of it is visible, whether or not the rest can be removed. Removal comes last,
//! because an attempt that still runs would leave more. Nothing is discarded while a complete checkpoint waits to be
//! published, however long the store is unavailable. What cannot be removed after `REMOVALS_MAX` tries stays, hidden. A
//! put that its writer gave up may still take effect, so output is removed a second time when checkpoints are
//! (`collect.rs`).

use std::time::Duration;

use thalweg_cluster_state::JobRecord;
use thalweg_types::{
    Attempt, JobStatus, NodeId, Operator,
    graph::SideOutput,
    job::FailureKind,
    session::{ALL_ATTEMPTS, Action},
};

use super::{Effect, JobController, JobView, attached_node, facts::Removal, publish::must_publish};
use crate::restart;

impl JobController {
    /// What is left to do for an ended job.
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

    /// Whether the job has ended, its complete checkpoints are published, and the rest is gone from its nodes and
    /// sinks. Puts may still take effect later.
    #[must_use]
    pub fn is_output_settled(&self, view: &JobView<'_>) -> bool {
        let is_ended = view.record.status.is_terminal() && view.record.last_attempt() == self.facts.attempt;
        let is_removed = self.removal_at_the_end(view.record).was_over || !self.must_discard(view.record);
        is_ended && is_removed && self.leftovers(view).next().is_none() && !must_publish(view.record)
    }

    /// Removes, once, what older attempts left. Their checkpoints are published by now.
    pub(super) fn sweep(&mut self, view: &JobView<'_>) -> Option<Effect> {
        let sweep = &self.facts.sweep;
        let is_over = sweep.is_over();
        let attempt = self.facts.attempt;
        if is_over || attempt <= Attempt(1) || !self.writes() { None } else { self.remove(view, attempt) }
    }

    /// Whether there may be files that nobody will publish and that are not removed yet.
    pub(super) fn must_discard(&self, record: &JobRecord) -> bool {
        let removal = self.removal_at_the_end(record);
        record.attempt.is_some() && self.left_before(record) > Attempt(1) && self.writes() && !removal.is_over()
    }

    fn removal_at_the_end(&self, record: &JobRecord) -> &Removal {
        if self.left_before(record) > self.facts.attempt { &self.facts.discard } else { &self.facts.sweep }
    }

    /// After the end, files of attempts older than this one are to be removed. An attempt that keeps its rows for
    /// clients has finished, so it left none of its own.
    fn left_before(&self, record: &JobRecord) -> Attempt {
        if self.keeps_rows(record) { self.facts.attempt } else { self.over_before(record) }
    }

    /// The first attempt that the job's end does not cover. A failed job may be started again while its files are still
    /// being removed, so only its attempts so far are covered; otherwise all are.
    pub(super) fn over_before(&self, record: &JobRecord) -> Attempt {
        if record.status == JobStatus::Failed { record.last_attempt().next() } else { ALL_ATTEMPTS }
    }

    /// Whether any operator writes files: rows, malformed records, late records, or rows that failed.
    fn writes(&self) -> bool {
        let side_output = |operator: &Operator| match operator.kind.describe().side_output {
            Some(SideOutput::DeadLetters(_)) => true,
            Some(SideOutput::LateRows) => self.settings.late_path.is_some(),
            None => false,
        };
        self.graph.sinks().next().is_some()
            || self.graph.operators.iter().any(side_output)
            || self.settings.error_path.is_some()
    }

    /// A part of the ended job that ran on unnoticed is gone now. It may have left more files and objects.
    pub fn on_straggler_gone(&mut self) {
        self.facts.remove_again();
        self.checkpoints.collecting.begin_again();
    }

    fn remove(&mut self, view: &JobView<'_>, before: Attempt) -> Option<Effect> {
        let removal = self.removal(before)?;
        if removal.on.is_some() || view.now < removal.not_before {
            return None;
        }
        let (node, incarnation) = attached_node(view, removal.failures)?;
        removal.on = Some((node, incarnation));
        let (graph, checkpoints) = (Box::new(self.graph.clone()), view.checkpoints.to_owned());
        Some(self.order(node, Action::Discard { graph, before, checkpoints }))
    }

    fn removal(&mut self, before: Attempt) -> Option<&mut Removal> {
        if before > self.facts.attempt {
            return Some(&mut self.facts.discard);
        }
        (before == self.facts.attempt).then_some(&mut self.facts.sweep)
    }

    /// Counts an answer from the node that was asked. Others, and repeated ones, may be older than what is there now.
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
            // The node refuses this for good. Another one may accept it, so ask it at once.
            FailureKind::Data => Duration::ZERO,
            // One job retries alone, so it needs no jitter.
            FailureKind::Node | FailureKind::Link | FailureKind::Store | FailureKind::Operator => {
                restart::backoff(&settings, FailureKind::Store, removal.failures, 0)
            }
        };
        removal.not_before = now + pause;
    }
}
