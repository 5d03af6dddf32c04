//! Publishes what complete checkpoints hold, in order, whatever the job's status is.
//!
//! ```text
//! the oldest complete checkpoint that is not published -> its manifest -> Commit to one node -> Committed -> SinksCommitted
//!                                                            '-- nothing was prepared ------------------------^
//! ```
//!
//! A destination may keep its own progress, and is then held against the record: so an order tells with which checkpoint
//! the sink has published last, and which one is the newest; and `SinksCommitted` names the sinks of which something was
//! published (`docs/design/sinks.md`).
//!
//! A checkpoint that completes while an earlier one is being published waits. Failures that may pass are retried
//! without limit. Any other failure fails a live job. An ended job retries it at the longest pause, because the store's
//! operator may repair it. Nothing of the job is discarded before everything is published.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use thalweg_cluster_state::{Command, JobRecord};
use thalweg_types::{
    CheckpointId, Incarnation, NodeId, OperatorId,
    checkpoint::{Prepared, RecordedOperator, SinkCommittables},
    graph::OperatorIdentity,
    job::Failure,
    session::{Action, Publication},
    settings::JobSettings,
};

use super::{Effect, JobController, JobView, attached_node};
use crate::restart;

/// How far publishing a checkpoint is.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Publishing {
    checkpoint: CheckpointId,
    pub(super) on: Option<(NodeId, Incarnation)>,
    not_before: Duration,
    failures: u32,
    result: Option<Result<(), Failure>>,
    pub(super) last_failure: Option<Failure>,
}

impl Publishing {
    /// Counts an answer from the node that was asked, and any success, because commits are idempotent.
    pub(super) fn on_committed(&mut self, node: NodeId, checkpoint: CheckpointId, result: Result<(), Failure>) {
        let is_asked = result.is_ok() || self.on.is_some_and(|(asked, _)| asked == node);
        if checkpoint == self.checkpoint && is_asked {
            self.result = Some(result);
        }
    }
}

/// Whether a complete checkpoint is still to be published.
pub(super) fn must_publish(record: &JobRecord) -> bool {
    record.uncommitted().is_some()
}

impl JobController {
    /// Advances the publication of the oldest checkpoint that is not published.
    pub(super) fn publish(&mut self, view: &JobView<'_>) -> Vec<Effect> {
        let Some(checkpoint) = view.record.uncommitted().map(|manifest| manifest.checkpoint) else {
            self.checkpoints.publishing = Publishing::default();
            return Vec::new();
        };
        if self.checkpoints.publishing.checkpoint != checkpoint {
            self.checkpoints.publishing = Publishing { checkpoint, ..Publishing::default() };
        }
        let is_done = match self.checkpoints.publishing.result.clone() {
            Some(Err(failure)) if !restart::passes(failure.kind) && !view.record.status.is_terminal() => {
                return vec![Effect::Propose(Command::FailJob { job: self.job, failure })];
            }
            Some(Err(failure)) => {
                self.retry_publishing(view, failure);
                false
            }
            Some(Ok(())) => true,
            None => false,
        };
        let committed = view.record.committed;
        let manifest = match self.manifest(view, checkpoint) {
            Ok(manifest) => manifest,
            Err(read) => return self.fail_if_broken(view).or(read).into_iter().collect(),
        };
        let prepared = manifest.subtasks.iter().flat_map(|snapshot| &snapshot.prepared);
        let committables = grouped(prepared.filter(|prepared| prepared.epoch > committed));
        if !is_done && !committables.is_empty() {
            return self.order_publication(view, checkpoint, committables);
        }
        let sinks = self.sinks_of(&committables).map(|(_, identity)| identity).collect();
        vec![Effect::Propose(Command::SinksCommitted { job: self.job, checkpoint, sinks })]
    }

    /// The sinks that have committables among these, each once.
    fn sinks_of(&self, committables: &[SinkCommittables]) -> impl Iterator<Item = (OperatorId, OperatorIdentity)> {
        let named: BTreeSet<OperatorId> = committables.iter().map(|prepared| prepared.sink).collect();
        let is_sink = |operator: &&RecordedOperator| self.graph.operator(operator.operator).kind.as_sink().is_some();
        let sinks = self.recorded.operators.iter().filter(is_sink);
        sinks.map(|sink| (sink.operator, sink.identity)).filter(move |(sink, _)| named.contains(sink))
    }

    /// The order to publish. `complete` is the newest complete checkpoint.
    pub(super) fn publication(
        &self,
        view: &JobView<'_>,
        (checkpoint, complete): (CheckpointId, CheckpointId),
        committables: Vec<SinkCommittables>,
    ) -> Action {
        let last =
            |(sink, identity): (OperatorId, OperatorIdentity)| Some((sink, *view.record.published.get(&identity)?));
        Action::Commit(Box::new(Publication {
            graph: self.graph.clone(),
            checkpoint,
            published: self.sinks_of(&committables).filter_map(last).collect(),
            committables,
            complete,
            checkpoints: view.checkpoints.to_owned(),
        }))
    }

    fn order_publication(
        &mut self,
        view: &JobView<'_>,
        checkpoint: CheckpointId,
        committables: Vec<SinkCommittables>,
    ) -> Vec<Effect> {
        let publishing = &mut self.checkpoints.publishing;
        if publishing.on.is_some() || view.now < publishing.not_before {
            return Vec::new();
        }
        let Some((node, incarnation)) = attached_node(view, publishing.failures) else { return Vec::new() };
        publishing.on = Some((node, incarnation));
        let newest = view.record.newest_checkpoint().map_or(checkpoint, |manifest| manifest.checkpoint);
        let publication = self.publication(view, (checkpoint, newest), committables);
        vec![self.order(node, publication)]
    }

    fn retry_publishing(&mut self, view: &JobView<'_>, failure: Failure) {
        let publishing = &mut self.checkpoints.publishing;
        (publishing.result, publishing.on) = (None, None);
        publishing.failures = publishing.failures.saturating_add(1);
        publishing.not_before = view.now + pause(&self.settings, &failure, publishing.failures, view.jitter);
        publishing.last_failure = Some(failure);
    }

    /// Fails a live job if a manifest that it needs cannot be read. An ended job reads the manifest again later,
    /// because it names what is to be published.
    pub(super) fn fail_if_broken(&mut self, view: &JobView<'_>) -> Option<Effect> {
        let failure = self.checkpoints.reading.broken.clone()?;
        if !view.record.status.is_terminal() {
            return Some(Effect::Propose(Command::FailJob { job: self.job, failure }));
        }
        let reading = &mut self.checkpoints.reading;
        reading.broken = None;
        reading.not_before = view.now + pause(&self.settings, &failure, 1, view.jitter);
        self.checkpoints.publishing.last_failure = Some(failure);
        None
    }
}

/// The pause before the next try. It is the longest one if a retry would most likely fail in the same way.
fn pause(settings: &JobSettings, failure: &Failure, failures: u32, jitter: u8) -> Duration {
    let failures = if restart::passes(failure.kind) { failures } else { u32::MAX };
    restart::backoff(settings, failure.kind, failures, jitter)
}

/// What sinks prepared, by sink and subtask in a fixed order.
pub(super) fn grouped<'a>(prepared: impl Iterator<Item = &'a Prepared>) -> Vec<SinkCommittables> {
    let mut groups: BTreeMap<(OperatorId, u32), Vec<serde_json::Value>> = BTreeMap::new();
    for SinkCommittables { sink, subtask, committables } in prepared.map(|prepared| &prepared.committables) {
        groups.entry((*sink, *subtask)).or_default().extend(committables.iter().cloned());
    }
    let named = |((sink, subtask), committables)| SinkCommittables { sink, subtask, committables };
    groups.into_iter().filter(|(_, committables)| !committables.is_empty()).map(named).collect()
}
