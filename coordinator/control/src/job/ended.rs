//! After the end: dropping what still runs, then removing what was written and will never be published.
//!
//! ```text
//! ended -> Cancel to all -> all Gone -> Discard to one node -> Discarded -> done
//!                                        ^-- it failed, was refused, or its node is lost: again, elsewhere or later --'
//! ```
//!
//! A publication removes what earlier attempts left, so that only jobs that published nothing are discarded. It must come
//! last: an attempt that still runs would leave more. What cannot be removed after `DISCARDS_MAX` tries stays, hidden.

use std::time::Duration;

use thalweg_cluster_state::JobRecord;
use thalweg_types::{NodeId, OperatorKind, job::FailureKind, session::Action};

use super::{Effect, JobController, JobView, attached_node};
use crate::restart;

/// With the default backoff the last try is minutes after the first. A directory that cannot be written by then may never be.
const DISCARDS_MAX: u32 = 8;

impl JobController {
    /// What is left to do for a job that has ended.
    pub(super) fn end(&mut self, view: &JobView<'_>) -> Vec<Effect> {
        let cancels = self.cancel_leftovers(view);
        if self.leftovers(view).next().is_some() || !self.must_discard(view.record) {
            return cancels;
        }
        self.discard(view).into_iter().collect()
    }

    /// Whether files may be there that nobody will publish, and that are not known to be removed.
    pub(super) fn must_discard(&self, record: &JobRecord) -> bool {
        let Some(attempt) = &record.attempt else { return false };
        let has_published =
            record.ended_well() && attempt.committables.as_ref().is_some_and(|prepared| !prepared.is_empty());
        let is_over = self.facts.discarded || self.facts.discards_failed >= DISCARDS_MAX;
        self.writes() && !has_published && !is_over && !self.keeps_rows(record)
    }

    /// Whether any of the operators writes what is to be published: rows, malformed or late records.
    fn writes(&self) -> bool {
        self.graph.operators.iter().any(|operator| match &operator.kind {
            OperatorKind::Sink(_) => true,
            OperatorKind::Source(source) => source.connector.option("dead-letter.path").is_some(),
            _ => self.settings.late_path.is_some(),
        })
    }

    fn discard(&mut self, view: &JobView<'_>) -> Option<Effect> {
        if self.facts.discarding_on.is_some() || view.now < self.facts.discard_at {
            return None;
        }
        let (node, life) = attached_node(view)?;
        self.facts.discarding_on = Some((node, life));
        Some(self.order(node, Action::Discard { graph: Box::new(self.graph.clone()) }))
    }

    /// An answer counts from the node that was asked; any success does, since there is nothing left to remove.
    pub(super) fn on_discarded(&mut self, node: NodeId, is_done: bool, now: Duration) {
        let is_asked = self.facts.discarding_on.is_some_and(|(asked, _)| asked == node);
        self.facts.discarded |= is_done;
        if is_asked && !is_done {
            self.facts.discards_failed = self.facts.discards_failed.saturating_add(1);
            self.facts.discarding_on = None;
            // There is no herd to spread: no jitter.
            let pause = restart::backoff(&self.settings, FailureKind::Store, self.facts.discards_failed, 0);
            self.facts.discard_at = now + pause;
        }
    }
}
