//! Simulated nodes. They check what a node may rely on: no attempt is deployed while an older one is there, and sources
//! start only when every node of the attempt is ready.
//!
//! At each snapshot a sink subtask seals one committable of its own, and one more at its end.

use thalweg_types::{
    Chain, Operator,
    checkpoint::{
        OperatorSnapshot, Prepared, RecordCounts, SnapshotCost, SourceSnapshot, SplitProgress, SubtaskSnapshot,
    },
    graph::Distribution,
};

use super::*;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Running {
    /// Deployed but not yet built.
    pub(super) building: bool,
    pub(super) started: bool,
    pub(super) draining: bool,
    pub(super) subtasks: BTreeMap<SubtaskId, SubtaskState>,
    pub(super) hands: Vec<thalweg_types::session::SplitAssignment>,
    pub(super) sealed: BTreeMap<SubtaskId, Vec<Prepared>>,
    /// Subtasks that have still to answer a checkpoint.
    pub(super) pending: BTreeMap<CheckpointId, BTreeSet<SubtaskId>>,
    pub(super) newest_begun: CheckpointId,
    pub(super) aborted: CheckpointId,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) incarnation: Incarnation,
    pub(super) slots: u32,
    pub(super) alive: bool,
    pub(super) attached: bool,
    pub(super) leaving: bool,
    /// Its lease ran out although it runs.
    pub(super) cut_off: bool,
    pub(super) orders: VecDeque<(Attempt, Action)>,
    pub(super) attempts: BTreeMap<Attempt, Running>,
    /// Each report, and whether this leader has heard it.
    pub(super) reports: Vec<(Report, bool)>,
}

impl Node {
    pub(super) fn is_present(&self) -> bool {
        self.alive && !self.cut_off
    }
}

/// The sinks of a subtask seal what they have written.
fn seal(
    run: &mut Running,
    hidden: &mut BTreeSet<(Attempt, String)>,
    (attempt, subtask, epoch): (Attempt, SubtaskId, CheckpointId),
    chains: &[Chain],
    sinks: &BTreeSet<OperatorId>,
) {
    let operators = chains[subtask.chain.0 as usize].operators.iter();
    for sink in operators.filter(|operator| sinks.contains(operator)) {
        let id = format!("{}-{}-{}", attempt.0, subtask.index, epoch.0);
        hidden.insert((attempt, id.clone()));
        let committables =
            SinkCommittables { sink: *sink, subtask: subtask.index, committables: vec![serde_json::json!(id)] };
        run.sealed.entry(subtask).or_default().push(Prepared { epoch, committables });
    }
}

impl World {
    /// The next order reaches the node.
    #[expect(clippy::too_many_lines, reason = "one arm per order")]
    pub(crate) fn deliver_order(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some((attempt, action)) = node.orders.pop_front() else { return };
        match action {
            Action::Discover { sources, .. } => {
                let split = |at: u32| Split {
                    id: SplitId(format!("split-{at}")),
                    sequence: "file".to_owned(),
                    ordinal: at,
                    payload: self.payload.clone(),
                };
                let splits = sources.into_iter().map(|source| (source, (0..8).map(split).collect())).collect();
                node.reports
                    .push((Report { job: JOB, attempt, body: ReportBody::Discovered { splits: Ok(splits) } }, false));
            }
            Action::Deploy(deployment) => {
                assert!(node.attempts.is_empty(), "the attempt before is still here");
                let all = self.plan.subtasks(deployment.assignment.parallelism());
                let own = all.filter(|subtask| deployment.assignment.node_of(*subtask) == Some(id));
                let subtasks = own.map(|subtask| (subtask, SubtaskState::Ready)).collect();
                let run = Running {
                    building: true,
                    started: false,
                    draining: false,
                    subtasks,
                    hands: deployment.splits.clone(),
                    sealed: BTreeMap::new(),
                    pending: BTreeMap::new(),
                    newest_begun: CheckpointId(0),
                    aborted: CheckpointId(0),
                };
                node.attempts.insert(attempt, run);
                if let Some(record) = self.state.job(JOB).filter(|record| record.last_attempt() == attempt) {
                    let restored = record.attempt.as_ref().unwrap().restored;
                    assert_eq!(deployment.restore.map(|manifest| manifest.checkpoint), restored);
                }
                let hands = deployment.splits.iter().map(|hand| {
                    (hand.subtask, hand.splits.iter().map(|progress| progress.split.id.to_string()).collect())
                });
                self.dealt.extend(hands);
            }
            Action::Start => {
                if let Some(run) = node.attempts.get_mut(&attempt) {
                    assert!(!run.building, "started before it was ready");
                    run.started = true;
                    let mut operators = self.controller.graph().operators.iter();
                    if operators.any(|operator| operator.kind.as_sink().is_some()) {
                        self.hidden.insert((attempt, "open".to_owned()));
                    }
                }
            }
            Action::Stop => {
                if let Some(run) = node.attempts.get_mut(&attempt) {
                    run.draining = true;
                }
            }
            Action::Cancel => {
                node.attempts.remove(&attempt);
                node.reports.push((Report { job: JOB, attempt, body: ReportBody::Gone }, false));
            }
            Action::Commit(publication) => {
                let checkpoint = publication.checkpoint;
                let failed = self.commit_failures.pop();
                let result = failed.map_or(Ok(()), |kind| Err(failure(kind, "no space")));
                let is_done = result.is_ok();
                node.reports
                    .push((Report { job: JOB, attempt, body: ReportBody::Committed { checkpoint, result } }, false));
                if is_done {
                    self.move_progress(&publication);
                    self.commit(attempt, checkpoint, &publication.committables);
                }
            }
            Action::Discard { before, .. } => {
                let failed = self.discard_failures.pop();
                let result = failed.map_or(Ok(()), |kind| Err(failure(kind, "read-only")));
                let is_done = result.is_ok();
                node.reports
                    .push((Report { job: JOB, attempt, body: ReportBody::Discarded { before, result } }, false));
                if is_done {
                    self.discard(before);
                }
            }
            Action::BeginCheckpoint { checkpoint } => self.take_part(id, attempt, checkpoint),
            Action::AbortCheckpoint { checkpoint } => {
                if let Some(run) = node.attempts.get_mut(&attempt) {
                    run.aborted = run.aborted.max(checkpoint);
                    run.pending.remove(&checkpoint);
                }
            }
            Action::ConfirmCheckpoint { checkpoint, .. } => self.confirm(id, attempt, checkpoint),
        }
    }

    fn confirm(&mut self, id: NodeId, attempt: Attempt, checkpoint: CheckpointId) {
        let Some(run) = self.nodes.get_mut(&id).unwrap().attempts.get_mut(&attempt) else { return };
        let record = self.state.job(JOB).unwrap();
        if checkpoint == CheckpointId::FINAL {
            assert!(record.attempt.as_ref().unwrap().committables.is_some(), "another attempt may follow");
            self.released.insert(id);
        } else {
            assert!(record.checkpoints.last().unwrap().checkpoint >= checkpoint);
        }
        for prepared in run.sealed.values_mut() {
            prepared.retain(|prepared| prepared.epoch > checkpoint);
        }
    }

    fn take_part(&mut self, id: NodeId, attempt: Attempt, checkpoint: CheckpointId) {
        let Some(run) = self.nodes.get_mut(&id).unwrap().attempts.get_mut(&attempt) else { return };
        assert!(run.started, "sources read before any barrier");
        if checkpoint <= run.aborted {
            let action = Action::BeginCheckpoint { checkpoint };
            self.refuse(id, attempt, action);
        } else if checkpoint > run.newest_begun {
            run.newest_begun = checkpoint;
            run.pending.insert(checkpoint, run.subtasks.keys().copied().collect());
        }
    }

    /// What a destination does that keeps its own progress. It finds what the record says, or what this order wants.
    fn move_progress(&mut self, publication: &Publication) {
        let Publication { checkpoint, complete, .. } = *publication;
        assert!(complete >= checkpoint, "{checkpoint} is not complete");
        let newest = self.record().newest_checkpoint().map(|manifest| manifest.checkpoint);
        assert!(checkpoint == CheckpointId::FINAL || newest >= Some(complete), "{complete} is not complete");
        for sink in publication.committables.iter().map(|prepared| prepared.sink).collect::<BTreeSet<_>>() {
            let found = self.reached.get(&sink).copied();
            if found.is_none_or(|found| found < checkpoint) {
                assert_eq!(publication.published.get(&sink).copied(), found, "{checkpoint} of {sink}");
                self.reached.insert(sink, checkpoint);
            }
        }
    }

    fn commit(&mut self, attempt: Attempt, checkpoint: CheckpointId, committables: &[SinkCommittables]) {
        let ids: Vec<String> = committables.iter().flat_map(ids_of).collect();
        match self.commits.iter().find(|(done, _)| *done == checkpoint) {
            Some((_, before)) => assert_eq!(*before, ids, "a repeated commit is the same"),
            None => {
                let last = self.commits.last().map_or(CheckpointId(0), |(last, _)| *last);
                assert!(checkpoint > last, "{checkpoint} after {last}");
                assert!(ids.iter().all(|id| self.durable.contains(id)), "nobody promised to publish it");
                self.commits.push((checkpoint, ids.clone()));
            }
        }
        self.hidden.retain(|(_, hidden)| !ids.contains(hidden));
        let published = (attempt, committables.len());
        if checkpoint == CheckpointId::FINAL && !self.published.contains(&published) {
            self.published.push(published);
        }
    }

    fn discard(&mut self, before: Attempt) {
        let visible = self.visible();
        let lost = |(of, id): &(Attempt, String)| *of < before && self.durable.contains(id) && !visible.contains(id);
        let record = self.record();
        let may_lose = record.status == JobStatus::Failed || record.ending == Some(EndMode::Abandon);
        assert!(may_lose || !self.hidden.iter().any(lost), "what is to be published was removed");
        self.hidden.retain(|(of, _)| *of >= before);
    }

    /// The next order reaches the node, which refuses it.
    pub(crate) fn refuse_next(&mut self, id: NodeId) {
        let (attempt, action) = self.nodes.get_mut(&id).unwrap().orders.pop_front().unwrap();
        self.refuse(id, attempt, action);
    }

    fn refuse(&mut self, id: NodeId, attempt: Attempt, action: Action) {
        let cluster = thalweg_types::ClusterId("c".to_owned());
        let order = Order { term: thalweg_types::Term(1), cluster, job: JOB, attempt, action, trace: None };
        self.controller.on_refused(id, &order, "it is leaving", self.now);
        self.react();
    }

    /// Finishes building, or ends one subtask that has started.
    pub(crate) fn progress(&mut self, id: NodeId) {
        let endless = self.endless;
        // Rows collected for clients are not written anywhere.
        let writes = |operator: &&Operator| operator.kind.as_sink().is_some();
        let sinks: BTreeSet<OperatorId> =
            self.controller.graph().operators.iter().filter(writes).map(|operator| operator.id).collect();
        let chains = self.plan.chains.clone();
        let node = self.nodes.get_mut(&id).unwrap();
        let Some((attempt, run)) = node.attempts.iter_mut().next().filter(|_| node.alive) else { return };
        let attempt = *attempt;
        if std::mem::replace(&mut run.building, false) {
            node.reports.push((Report { job: JOB, attempt, body: ReportBody::Ready }, false));
            return;
        }
        if run.started && !run.pending.is_empty() {
            self.snapshot(id, attempt, &chains, &sinks);
            return;
        }
        if !run.started || (endless && !run.draining) {
            return;
        }
        let next = run.subtasks.iter_mut().find(|(_, state)| **state == SubtaskState::Ready);
        let Some((subtask, state)) = next else { return };
        *state = SubtaskState::Finished;
        let subtask = *subtask;
        seal(run, &mut self.hidden, (attempt, subtask, CheckpointId::FINAL), &chains, &sinks);
        let prepared = run.sealed.get(&subtask).cloned().unwrap_or_default();
        let metrics = SubtaskMetrics::default();
        let report = Report { job: JOB, attempt, body: ReportBody::Finished { subtask, metrics, prepared } };
        node.reports.push((report, false));
    }

    /// One subtask answers a checkpoint.
    fn snapshot(&mut self, id: NodeId, attempt: Attempt, chains: &[Chain], sinks: &BTreeSet<OperatorId>) {
        let fails = self.snapshot_failures > 0;
        self.snapshot_failures = self.snapshot_failures.saturating_sub(1);
        let node = self.nodes.get_mut(&id).unwrap();
        let run = node.attempts.get_mut(&attempt).unwrap();
        let mut first = run.pending.first_entry().unwrap();
        let checkpoint = *first.key();
        let subtask = first.get_mut().pop_first();
        if first.get().is_empty() {
            first.remove();
        }
        let Some(subtask) = subtask else { return };
        let is_finished = run.subtasks[&subtask] == SubtaskState::Finished;
        if !is_finished && !self.is_idle {
            seal(run, &mut self.hidden, (attempt, subtask, checkpoint), chains, sinks);
        }
        if fails {
            let failure = failure(FailureKind::Store, "no space");
            let report =
                Report { job: JOB, attempt, body: ReportBody::SnapshotFailed { checkpoint, subtask, failure } };
            node.reports.push((report, false));
            return;
        }
        let own = run.hands.iter().find(|hand| subtask.chain.0 == 0 && hand.subtask == subtask.index);
        let source = own.map(|hand| SourceSnapshot { source: hand.source, splits: hand.splits.clone() });
        let (found, operators) = self.found(subtask);
        let node = self.nodes.get_mut(&id).unwrap();
        let run = &node.attempts[&attempt];
        let snapshot = SubtaskSnapshot {
            subtask,
            is_finished,
            operators,
            source: source.or(found),
            in_flight: Vec::new(),
            objects: Vec::new(),
            counts: RecordCounts::default(),
            prepared: run.sealed.get(&subtask).cloned().unwrap_or_default(),
            cost: SnapshotCost { uploaded_bytes: 10, freeze_micros: 5, ..SnapshotCost::default() },
        };
        let snapshot = snapshot.into();
        node.reports.push((Report { job: JOB, attempt, body: ReportBody::Snapshot { checkpoint, snapshot } }, false));
    }

    /// What a subtask has been assigned by an enumerator, and what that one remembers.
    fn found(&self, subtask: SubtaskId) -> (Option<SourceSnapshot>, Vec<OperatorSnapshot>) {
        let assigned = self.plan.exchanges.iter().find(|exchange| exchange.edge.distribution == Distribution::Assigned);
        let Some(exchange) = assigned else { return (None, Vec::new()) };
        let name = format!("found-{}", subtask.index);
        let split = Split { id: SplitId(name.clone()), sequence: name, ordinal: 0, payload: serde_json::Value::Null };
        let splits = vec![SplitProgress::unread(split)];
        let source = (subtask.chain == exchange.to).then_some(SourceSnapshot { source: exchange.edge.to, splits });
        let values = BTreeMap::from([("assigned".to_owned(), 3)]);
        let known = OperatorSnapshot { operator: exchange.edge.from, values, tables: BTreeMap::new() };
        (source, (subtask.chain == exchange.from).then_some(known).into_iter().collect())
    }

    pub(crate) fn want_checkpoint(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(attempt) = node.attempts.keys().next().copied() else { return };
        node.reports.push((Report { job: JOB, attempt, body: ReportBody::CheckpointWanted }, false));
    }

    /// Delivers all reports that this leader has not heard. The node forgets those that are settled.
    pub(crate) fn deliver_reports(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        if !node.attached {
            return;
        }
        let mut untold: Vec<Report> = Vec::new();
        for (report, told) in &mut node.reports {
            if !std::mem::replace(told, true) {
                untold.push(report.clone());
            }
        }
        for report in untold {
            self.controller.on_report(id, &report, self.now);
            self.react();
        }
        let record = self.state.job(JOB);
        let node = self.nodes.get_mut(&id).unwrap();
        node.reports.retain(|(report, told)| !(*told && is_settled(report, record)));
    }

    /// The node repeats its report that it has removed everything.
    pub(crate) fn tell_of_removal(&mut self, id: NodeId) {
        let attempt = self.record().last_attempt();
        let report = Report {
            job: JOB,
            attempt,
            body: ReportBody::Discarded { before: thalweg_types::session::ALL_ATTEMPTS, result: Ok(()) },
        };
        self.nodes.get_mut(&id).expect("the test knows it").reports.push((report, false));
        self.deliver_reports(id);
    }

    /// One of its subtasks fails. If a stream broke, the node at the other end notices it too.
    pub(crate) fn fail_subtask(&mut self, id: NodeId, kind: FailureKind, peer: Option<NodeId>) {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some((attempt, run)) = node.attempts.iter_mut().next() else { return };
        let Some((subtask, state)) = run.subtasks.iter_mut().next().filter(|_| !run.building) else { return };
        *state = SubtaskState::Failed;
        let (attempt, subtask, failure) = (*attempt, Some(*subtask), failure(kind, "it broke"));
        node.reports.push((Report { job: JOB, attempt, body: ReportBody::Failed { subtask, failure, peer } }, false));
    }

    /// The node drops its part of the attempt unasked.
    pub(crate) fn drop_attempt(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        let dropped = std::mem::take(&mut node.attempts).into_keys();
        node.reports.extend(dropped.map(|attempt| (Report { job: JOB, attempt, body: ReportBody::Gone }, false)));
    }
}
