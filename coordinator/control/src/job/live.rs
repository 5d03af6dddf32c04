//! A live attempt: deploys it, runs it, publishes its output, and notices its failure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use thalweg_cluster_state::{Command, EndMode, JobRecord, Verdict};
use thalweg_types::{
    CheckpointId, NodeId, OperatorId,
    checkpoint::{Manifest, Matching, SinkCommittables, SplitProgress},
    job::{Failure, FailureKind},
    session::{Action, Deployment, SplitAssignment, SubtaskState},
};

use super::{
    Effect, JobController, JobView, attached_node, failure, nodes_of,
    publish::{grouped, must_publish},
    subtasks_on,
};
use crate::{restart, splits::deal_splits};

impl JobController {
    /// Discovers splits, deploys, and records that all nodes are ready.
    pub(super) fn deploy(&mut self, view: &JobView<'_>) -> Vec<Effect> {
        self.notice_loss(view);
        self.notice_stalled_deployment(view);
        if let Some(ended) = self.fail(view) {
            return ended;
        }
        if self.facts.resumed {
            return self.resume_deployment(view);
        }
        let listed = |source: &OperatorId| self.graph.enumerator_of(*source).is_none();
        let sources: Vec<OperatorId> = self.sources().filter(listed).collect();
        let restored = view.record.attempt.as_ref().and_then(|attempt| attempt.restored);
        if self.facts.splits.is_none() && sources.is_empty() && restored.is_none() {
            self.facts.splits = Some(Vec::new());
        }
        if let (None, Some(checkpoint)) = (&self.facts.splits, restored) {
            match self.manifest(view, checkpoint) {
                Ok(manifest) => match manifest.matched(&self.graph, &self.plan) {
                    Ok(matching) => self.facts.splits = Some(self.handed_over(&manifest, &matching)),
                    Err(unmatched) => {
                        let failure = failure(FailureKind::Data, unmatched.to_string());
                        return vec![Effect::Propose(Command::FailJob { job: self.job, failure })];
                    }
                },
                Err(read) => return self.fail_if_broken(view).or(read).into_iter().collect(),
            }
        }
        let Some(splits) = &self.facts.splits else { return self.discover(view.record, sources) };
        if !self.facts.deploy_ordered {
            let orders = self.deployments(view, splits);
            self.facts.deploy_ordered = true;
            return orders;
        }
        self.run_when_ready(view.record)
    }

    /// Starts the sources, stops them if asked, and records that all subtasks have finished.
    pub(super) fn run(&mut self, view: &JobView<'_>) -> Vec<Effect> {
        self.notice_loss(view);
        self.notice_missing_subtasks(view);
        if let Some(ended) = self.fail(view) {
            return ended;
        }
        let mut effects = Vec::new();
        if !std::mem::replace(&mut self.facts.start_ordered, true) {
            effects.extend(self.order_all(view.record, &Action::Start));
        }
        let stopping = view.record.ending == Some(EndMode::Stop) && !self.stop_waits(view.record);
        if stopping && !std::mem::replace(&mut self.facts.stop_ordered, true) {
            effects.extend(self.order_all(view.record, &Action::Stop));
        }
        effects.extend(self.sweep(view));
        if self.has_finished(view.record) {
            effects.extend(self.complete(view));
        } else {
            effects.extend(self.checkpoint(view));
        }
        effects.extend(self.publish(view));
        effects.extend(self.collect(view));
        effects
    }

    /// Publishes on one node. Any node will do, because committables are self-contained.
    pub(super) fn commit(&mut self, view: &JobView<'_>) -> Vec<Effect> {
        if must_publish(view.record) {
            return self.publish(view);
        }
        let mut effects = self.release_rows(view.record);
        effects.extend(self.commit_the_end(view));
        effects
    }

    /// Lets nodes give all rows of a bare `SELECT` to their clients, and tell sources that all is read. It is ordered before the job
    /// is recorded as finished, and so before its attempt is cancelled.
    fn release_rows(&mut self, record: &JobRecord) -> Vec<Effect> {
        if std::mem::replace(&mut self.facts.rows_released, true) {
            return Vec::new();
        }
        self.order_all(record, &Action::ConfirmCheckpoint { checkpoint: CheckpointId::FINAL, manifest: None })
    }

    fn commit_the_end(&mut self, view: &JobView<'_>) -> Vec<Effect> {
        let (job, attempt) = (self.job, self.facts.attempt);
        let prepared = view.record.attempt.as_ref().and_then(|attempt| attempt.committables.as_deref());
        let nothing = prepared.is_none_or(|all| all.is_empty());
        match self.facts.committed.take() {
            Some(Ok(())) => {
                self.facts.committed = Some(Ok(()));
                return vec![Effect::Propose(Command::FinishJob { job, attempt })];
            }
            Some(Err(failure)) if !restart::passes(failure.kind) => {
                self.facts.committed = Some(Err(failure.clone()));
                let verdict = Verdict::Fail;
                return vec![Effect::Propose(Command::FailAttempt { job, attempt, failure, verdict })];
            }
            Some(Err(failure)) => self.retry_commit_later(view, failure),
            None if nothing => return vec![Effect::Propose(Command::FinishJob { job, attempt })],
            None => {}
        }
        self.order_commit(view, prepared.map_or(&[], Vec::as_slice))
    }

    fn retry_commit_later(&mut self, view: &JobView<'_>, failure: Failure) {
        let kind = failure.kind;
        self.facts.commit_failure = Some(failure);
        self.facts.commits_failed = self.facts.commits_failed.saturating_add(1);
        self.facts.committing_on = None;
        self.facts.commit_at =
            view.now + restart::backoff(&self.settings, kind, self.facts.commits_failed, view.jitter);
    }

    fn order_commit(&mut self, view: &JobView<'_>, committables: &[SinkCommittables]) -> Vec<Effect> {
        if self.facts.committing_on.is_some() || view.now < self.facts.commit_at {
            return Vec::new();
        }
        let Some((node, incarnation)) = attached_node(view, self.facts.commits_failed) else { return Vec::new() };
        self.facts.committing_on = Some((node, incarnation));
        let publication = self.publication(view, (CheckpointId::FINAL, CheckpointId::FINAL), committables.to_vec());
        vec![self.order(node, publication)]
    }

    /// Notices nodes that were lost, that dropped the attempt, or that leave. If a failure is known, a node that
    /// dropped its part adds nothing: dropping is a consequence of a failure. It would also outrank a broken stream
    /// whose cause has not been reported yet.
    fn notice_loss(&mut self, view: &JobView<'_>) {
        let leaves = |node: &NodeId| view.nodes.get(node).is_some_and(|node| !node.takes_work);
        self.facts.leavers.extend(nodes_of(view.record).keys().filter(|node| leaves(node)));
        let lost = nodes_of(view.record).iter().find(|(node, incarnation)| !view.is_present(**node, **incarnation));
        if let Some((node, _)) = lost {
            self.facts.on_failure(failure(FailureKind::Node, format!("{node} was lost")), view.now);
        }
        if self.facts.failure.is_some() {
            return;
        }
        if let Some(node) = self.facts.gone.first() {
            let message = format!("{node} has dropped the attempt");
            self.facts.on_failure(failure(FailureKind::Node, message), view.now);
        } else if let Some(node) = self.leaving(view) {
            self.facts.on_failure(failure(FailureKind::Node, format!("{node} is leaving")), view.now);
        }
    }

    /// A node of the attempt that leaves, if the job fits elsewhere: another of its nodes stays, or slots are free.
    /// Otherwise it keeps its work.
    fn leaving(&self, view: &JobView<'_>) -> Option<NodeId> {
        let leaves = |node: &NodeId| view.nodes.get(node).is_some_and(|node| !node.takes_work);
        let leaving = nodes_of(view.record).keys().copied().find(leaves)?;
        let attempt = view.record.attempt.as_ref()?;
        let stays = attempt.plan.assignment.slices.iter().filter(|holder| !leaves(holder)).count();
        let open = view.nodes.values().filter(|node| node.takes_work && node.attached);
        let free = open.fold(0usize, |sum, node| sum.saturating_add(node.free as usize));
        (stays + free > 0).then_some(leaving)
    }

    fn notice_stalled_deployment(&mut self, view: &JobView<'_>) {
        if view.now.saturating_sub(self.facts.since) < self.config.deploy_timeout {
            return;
        }
        let silent = nodes_of(view.record).keys().find(|node| !self.facts.ready.contains(node));
        let message = match silent {
            Some(node) if self.facts.deploy_ordered => format!("{node} did not become ready in time"),
            _ => "the sources' splits were not listed in time".to_owned(),
        };
        self.facts.on_failure(failure(FailureKind::Node, message), view.now);
    }

    /// A node that registered again must still have its subtasks. If it does not, the attempt fails.
    fn notice_missing_subtasks(&mut self, view: &JobView<'_>) {
        for (node, has) in &self.facts.reattached {
            let expected = subtasks_on(&self.plan, view.record, *node);
            let absent = expected
                .iter()
                .find(|subtask| !has.contains_key(subtask) && !self.facts.finished.contains_key(subtask));
            if let Some(subtask) = absent {
                let message = format!("{node} no longer has {subtask}");
                self.facts.on_failure(failure(FailureKind::Node, message), view.now);
                return;
            }
        }
    }

    /// Proposes the end of the attempt once a failure is known. A broken stream first waits for its cause.
    fn fail(&self, view: &JobView<'_>) -> Option<Vec<Effect>> {
        let (failure, first_seen) = self.facts.failure.as_ref()?;
        let echo = failure.kind == FailureKind::Link;
        let wait = if echo { self.config.cause_wait } else { Duration::ZERO };
        if view.now.saturating_sub(*first_seen) < wait {
            return Some(Vec::new());
        }
        let (job, attempt) = (self.job, self.facts.attempt);
        if self.is_departure(view, failure.kind) {
            return Some(vec![Effect::Propose(Command::MoveAttempt { job, attempt })]);
        }
        let verdict = restart::verdict(&self.settings, failure.kind, view.record.operator_failures);
        Some(vec![Effect::Propose(Command::FailAttempt { job, attempt, failure: failure.clone(), verdict })])
    }

    /// Whether the failure is only that a node of the attempt leaves, or has left, as announced.
    fn is_departure(&self, view: &JobView<'_>, kind: FailureKind) -> bool {
        let is_gone = |node: &NodeId, incarnation| !view.is_present(*node, incarnation);
        let lost = nodes_of(view.record)
            .iter()
            .filter(|(node, incarnation)| is_gone(node, **incarnation))
            .map(|(node, _)| node);
        let left = || self.facts.leavers.iter().any(|node| view.nodes.get(node).is_none_or(|node| !node.attached));
        let could_be = match kind {
            FailureKind::Node => !self.facts.leavers.is_empty(),
            FailureKind::Link => left(),
            FailureKind::Store | FailureKind::Operator | FailureKind::Data => false,
        };
        could_be && lost.into_iter().all(|node| self.facts.leavers.contains(node))
    }

    /// An attempt that an earlier leader was deploying. Either all of it is ready, or it is given up.
    fn resume_deployment(&mut self, view: &JobView<'_>) -> Vec<Effect> {
        let nodes = nodes_of(view.record);
        let incomplete = nodes.keys().find(|node| {
            let expected = subtasks_on(&self.plan, view.record, **node);
            let is_ready = |has: &SubtaskState| matches!(has, SubtaskState::Ready | SubtaskState::Running);
            let has = self.facts.reattached.get(node);
            has.is_some_and(|has| expected.iter().any(|subtask| !has.get(subtask).is_some_and(is_ready)))
        });
        if incomplete.is_some() {
            let message = "the coordinator's leader changed while the attempt was being deployed";
            self.facts.on_failure(failure(FailureKind::Node, message), view.now);
            return self.fail(view).unwrap_or_default();
        }
        self.facts.ready = self.facts.reattached.keys().filter(|node| nodes.contains_key(node)).copied().collect();
        self.run_when_ready(view.record)
    }

    fn sources(&self) -> impl Iterator<Item = OperatorId> + '_ {
        self.graph.sources().map(|(id, _)| id)
    }

    fn discover(&mut self, record: &JobRecord, sources: Vec<OperatorId>) -> Vec<Effect> {
        if std::mem::replace(&mut self.facts.discover_ordered, true) {
            return Vec::new();
        }
        let first = record.attempt.as_ref().and_then(|attempt| attempt.plan.assignment.slices.first());
        let graph = Box::new(self.graph.clone());
        first.map(|node| self.order(*node, Action::Discover { graph, sources })).into_iter().collect()
    }

    fn deployments(&self, view: &JobView<'_>, splits: &[(OperatorId, Vec<SplitProgress>)]) -> Vec<Effect> {
        let Some(attempt) = &view.record.attempt else { return Vec::new() };
        let assignment = &attempt.plan.assignment;
        let nodes = attempt.plan.nodes.keys();
        let restore = attempt.restored.and_then(|checkpoint| view.record.checkpoint(checkpoint)).cloned();
        let addresses: Vec<(NodeId, String)> =
            nodes.clone().filter_map(|node| Some((*node, view.nodes.get(node)?.address.clone()))).collect();
        let dealt: Vec<SplitAssignment> = splits
            .iter()
            .flat_map(|(holder, found)| {
                deal_splits(*holder, found, self.subtasks_of(*holder, assignment.parallelism()))
            })
            .collect();
        let here = |node: NodeId, hand: &SplitAssignment| {
            assignment.slices.get(hand.subtask as usize).is_some_and(|holder| *holder == node)
        };
        nodes
            .map(|node| {
                let deployment = Deployment {
                    graph: self.graph.clone(),
                    assignment: assignment.clone(),
                    addresses: addresses.clone(),
                    splits: dealt.iter().filter(|hand| here(*node, hand)).cloned().collect(),
                    checkpoints: view.checkpoints.to_owned(),
                    takes_checkpoints: !self.checkpoint_interval().is_zero(),
                    restore: restore.clone(),
                };
                self.order(*node, Action::Deploy(Box::new(deployment)))
            })
            .collect()
    }

    /// The splits that the next attempt goes on with, by the operator that they are dealt to. If the checkpoint was taken
    /// without a source's enumerator, the enumerator gets the splits: only the connector can tell which of them looked for
    /// new ones.
    pub(super) fn handed_over(
        &self,
        manifest: &Manifest,
        matching: &Matching,
    ) -> Vec<(OperatorId, Vec<SplitProgress>)> {
        let states = manifest.subtasks.iter().flat_map(|subtask| &subtask.operators);
        let holders: BTreeSet<OperatorId> = states.filter_map(|state| matching.operator(state.operator)).collect();
        let lacking = |enumerator: &OperatorId| !holders.contains(enumerator);
        let taker = |source| self.graph.enumerator_of(source).filter(lacking).unwrap_or(source);
        splits_of(manifest, matching).into_iter().map(|(source, splits)| (taker(source), splits)).collect()
    }

    fn subtasks_of(&self, operator: OperatorId, parallelism: u32) -> u32 {
        match self.graph.operator(operator).parallelism {
            thalweg_types::graph::Parallelism::Job => parallelism,
            thalweg_types::graph::Parallelism::One => 1,
        }
    }

    fn run_when_ready(&self, record: &JobRecord) -> Vec<Effect> {
        let all = nodes_of(record).keys().all(|node| self.facts.ready.contains(node));
        let command = Command::RunAttempt { job: self.job, attempt: self.facts.attempt };
        if all { vec![Effect::Propose(command)] } else { Vec::new() }
    }

    /// Proposes completion once every subtask has finished, with what all sinks prepared since the last complete
    /// checkpoint.
    fn complete(&mut self, view: &JobView<'_>) -> Option<Effect> {
        match self.prepared_at_the_end(view) {
            Ok(prepared) => {
                let committables = grouped(prepared.iter());
                let (job, attempt) = (self.job, self.facts.attempt);
                Some(Effect::Propose(Command::CompleteAttempt { job, attempt, committables }))
            }
            Err(read) => self.fail_if_broken(view).or(read),
        }
    }
}

/// All splits of a checkpoint by the source that goes on with them. Those of a sequence are in order.
fn splits_of(manifest: &Manifest, matching: &Matching) -> Vec<(OperatorId, Vec<SplitProgress>)> {
    let mut sources: BTreeMap<OperatorId, Vec<SplitProgress>> = BTreeMap::new();
    for snapshot in manifest.subtasks.iter().filter_map(|snapshot| snapshot.source.as_ref()) {
        let Some(source) = matching.operator(snapshot.source) else { continue };
        sources.entry(source).or_default().extend(snapshot.splits.iter().cloned());
    }
    for splits in sources.values_mut() {
        let place = |progress: &SplitProgress| {
            let split = &progress.split;
            (split.sequence.clone(), split.ordinal, split.id.clone())
        };
        splits.sort_by_cached_key(place);
    }
    sources.into_iter().collect()
}
