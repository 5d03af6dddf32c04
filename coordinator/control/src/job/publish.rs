//! Publishing what complete checkpoints hold, in their order, whatever has become of the job.
//!
//! ```text
//! the oldest complete checkpoint that is not published -> its manifest -> Commit to one node -> Committed -> SinksCommitted
//!                                                            '-- nothing was prepared ------------------------^
//! ```
//!
//! A checkpoint may complete while an earlier one is being published: it waits. A job that lives is published until it works;
//! for one that has ended the tries are counted, as for the removal of its leftovers.

use std::{collections::BTreeMap, time::Duration};

use thalweg_cluster_state::{Command, JobRecord};
use thalweg_types::{
    CheckpointId, Incarnation, NodeId, OperatorId,
    checkpoint::Prepared,
    job::Failure,
    session::{Action, SinkCommittables},
};

use super::{Effect, JobController, JobView, attached_node};
use crate::restart;

/// With the default backoff the last try is minutes after the first.
const TRIES_MAX: u32 = 8;

/// How far publishing a checkpoint is.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Publishing {
    checkpoint: CheckpointId,
    pub(super) on: Option<(NodeId, Incarnation)>,
    not_before: Duration,
    failures: u32,
    result: Option<Result<(), Failure>>,
    pub(super) last_failure: Option<Failure>,
    given_up: bool,
}

impl Publishing {
    /// An answer counts from the node that was asked; any success does, since commits are idempotent.
    pub(super) fn on_committed(&mut self, node: NodeId, checkpoint: CheckpointId, result: Result<(), Failure>) {
        let is_asked = result.is_ok() || self.on.is_some_and(|(asked, _)| asked == node);
        if checkpoint == self.checkpoint && is_asked {
            self.result = Some(result);
        }
    }
}

impl JobController {
    /// Whether something that a complete checkpoint holds is still to be published.
    pub(super) fn must_publish(&self, record: &JobRecord) -> bool {
        record.uncommitted().is_some() && !self.checkpoints.publishing.given_up
    }

    /// Brings the publication of the oldest checkpoint that waits for it forward.
    pub(super) fn publish(&mut self, view: &JobView<'_>) -> Vec<Effect> {
        let Some(checkpoint) = view.record.uncommitted().map(|manifest| manifest.checkpoint) else {
            self.checkpoints.publishing = Publishing::default();
            return Vec::new();
        };
        if self.checkpoints.publishing.checkpoint != checkpoint {
            self.checkpoints.publishing = Publishing { checkpoint, ..Publishing::default() };
        }
        let is_done = Effect::Propose(Command::SinksCommitted { job: self.job, checkpoint });
        match self.checkpoints.publishing.result.clone() {
            Some(Ok(())) => return vec![is_done],
            Some(Err(failure)) if !restart::passes(failure.kind) => {
                return self.give_up_publishing(view.record, failure);
            }
            Some(Err(failure)) => self.retry_publishing(view, failure),
            None => {}
        }
        let committed = view.record.committed;
        let manifest = match self.manifest(view, checkpoint) {
            Ok(manifest) => manifest,
            Err(read) => return self.fail_if_broken(view.record).or(read).into_iter().collect(),
        };
        let prepared = manifest.subtasks.iter().flat_map(|snapshot| &snapshot.prepared);
        let committables = grouped(prepared.filter(|prepared| prepared.epoch > committed));
        if committables.is_empty() { vec![is_done] } else { self.order_publication(view, checkpoint, committables) }
    }

    fn order_publication(
        &mut self,
        view: &JobView<'_>,
        checkpoint: CheckpointId,
        committables: Vec<SinkCommittables>,
    ) -> Vec<Effect> {
        let publishing = &mut self.checkpoints.publishing;
        if publishing.on.is_some() || publishing.given_up || view.now < publishing.not_before {
            return Vec::new();
        }
        let Some((node, life)) = attached_node(view) else { return Vec::new() };
        publishing.on = Some((node, life));
        let graph = Box::new(self.graph.clone());
        vec![self.order(node, Action::Commit { graph, checkpoint, committables })]
    }

    fn retry_publishing(&mut self, view: &JobView<'_>, failure: Failure) {
        let publishing = &mut self.checkpoints.publishing;
        (publishing.result, publishing.on) = (None, None);
        publishing.failures = publishing.failures.saturating_add(1);
        let pause = restart::backoff(&self.settings, failure.kind, publishing.failures, view.jitter);
        publishing.not_before = view.now + pause;
        publishing.last_failure = Some(failure);
        publishing.given_up = view.record.status.is_terminal() && publishing.failures >= TRIES_MAX;
    }

    /// The same again would fail the same way.
    fn give_up_publishing(&mut self, record: &JobRecord, failure: Failure) -> Vec<Effect> {
        if record.status.is_terminal() {
            self.checkpoints.publishing.given_up = true;
            return Vec::new();
        }
        vec![Effect::Propose(Command::FailJob { job: self.job, failure })]
    }

    /// A job whose newest checkpoint cannot be read has nothing to go on from.
    pub(super) fn fail_if_broken(&mut self, record: &JobRecord) -> Option<Effect> {
        let failure = self.checkpoints.reading.broken.clone()?;
        self.give_up_publishing(record, failure).pop()
    }
}

/// What is prepared, by sink and subtask in a fixed order.
pub(super) fn grouped<'a>(prepared: impl Iterator<Item = &'a Prepared>) -> Vec<SinkCommittables> {
    let mut groups: BTreeMap<(OperatorId, u32), Vec<serde_json::Value>> = BTreeMap::new();
    for SinkCommittables { sink, subtask, committables } in prepared.map(|prepared| &prepared.committables) {
        groups.entry((*sink, *subtask)).or_default().extend(committables.iter().cloned());
    }
    let named = |((sink, subtask), committables)| SinkCommittables { sink, subtask, committables };
    groups.into_iter().filter(|(_, committables)| !committables.is_empty()).map(named).collect()
}
