//! A cluster without processes: the real replicated state and controller, and nodes that only keep books.
//!
//! Nodes check what a node may rely on: no attempt is deployed while an older one is there, sources start only when every
//! node of the attempt is ready, an attempt is published only after it ended well everywhere, leftovers are removed only when
//! nothing runs.
//!
//! At each snapshot a sink subtask seals one committable of its own, and one more at its end. What complete checkpoints hold,
//! and what was prepared when the job ended, is to be published: each committable once, in the order of checkpoints.

use std::{collections::VecDeque, sync::LazyLock};

use thalweg_types::{
    Chain, Operator,
    checkpoint::{Prepared, RecordCounts, SnapshotCost, SourceSnapshot, SubtaskSnapshot},
    session::ALL_ATTEMPTS,
};

use super::*;

#[derive(Debug, Clone, PartialEq)]
struct Running {
    /// Deployed but not yet built.
    building: bool,
    started: bool,
    draining: bool,
    subtasks: BTreeMap<SubtaskId, SubtaskState>,
    hands: Vec<thalweg_types::session::SplitAssignment>,
    sealed: BTreeMap<SubtaskId, Vec<Prepared>>,
    /// Subtasks that have still to answer a checkpoint.
    pending: BTreeMap<CheckpointId, BTreeSet<SubtaskId>>,
    newest_begun: CheckpointId,
    aborted: CheckpointId,
}

#[derive(Debug)]
struct Node {
    incarnation: Incarnation,
    slots: u32,
    alive: bool,
    attached: bool,
    leaving: bool,
    /// Its lease ran out although it runs.
    cut_off: bool,
    orders: VecDeque<(Attempt, Action)>,
    attempts: BTreeMap<Attempt, Running>,
    /// Reports and whether they were told to this leader.
    reports: Vec<(Report, bool)>,
}

#[derive(Debug)]
pub(super) struct World {
    state: ClusterState,
    index: u64,
    now: Duration,
    controller: JobController,
    plan: ChainPlan,
    nodes: BTreeMap<NodeId, Node>,
    /// Attempt and number of committables of each effective commit.
    pub(super) published: Vec<(Attempt, usize)>,
    /// Source subtask and the splits it was given.
    pub(super) dealt: Vec<(u32, Vec<String>)>,
    /// What the next commits answer.
    pub(super) commit_failures: Vec<FailureKind>,
    /// What each effective commit of a checkpoint published.
    pub(super) commits: Vec<(CheckpointId, Vec<String>)>,
    /// What is to be published, once and at last.
    durable: BTreeSet<String>,
    /// What is hidden in the sinks' directories, by attempt.
    hidden: BTreeSet<(Attempt, String)>,
    /// Nodes that may give all rows to clients.
    pub(super) released: BTreeSet<NodeId>,
    /// Manifests by name.
    store: BTreeMap<String, Manifest>,
    store_work: VecDeque<Effect>,
    /// What the next uses of the store answer.
    pub(super) store_failures: Vec<FailureKind>,
    /// How many of the next snapshots fail.
    pub(super) snapshot_failures: u32,
    config: ControlConfig,
    leaders: u64,
    /// What the next discards answer.
    pub(super) discard_failures: Vec<FailureKind>,
    /// Sources end only when they are told to.
    pub(super) endless: bool,
    /// What each split holds for its connector.
    pub(super) payload: serde_json::Value,
}

const JOB: JobId = JobId(1);

fn ids_of(committables: &SinkCommittables) -> Vec<String> {
    committables.committables.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
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

impl Node {
    fn is_present(&self) -> bool {
        self.alive && !self.cut_off
    }
}

impl World {
    pub(super) fn new(slots: &[u32], wish: Option<u32>) -> Self {
        Self::with_graph(slots, wish, graphs::publishing())
    }

    pub(super) fn with_graph(slots: &[u32], wish: Option<u32>, graph: JobGraph) -> Self {
        Self::with_interval(slots, wish, graph, Duration::ZERO)
    }

    /// With a checkpoint so often.
    pub(super) fn checkpointing(slots: &[u32], wish: Option<u32>, interval: Duration) -> Self {
        Self::with_interval(slots, wish, graphs::publishing(), interval)
    }

    fn with_interval(slots: &[u32], wish: Option<u32>, graph: JobGraph, interval: Duration) -> Self {
        let config = ControlConfig { checkpoint_interval: interval, ..ControlConfig::default() };
        let spec = JobSpec {
            name: "test".to_owned(),
            sql: String::new(),
            key_groups: graph.key_groups,
            graph: String::from_utf8(graph.to_bytes()).unwrap(),
            parallelism: wish,
        };
        let mut state = ClusterState::default();
        let submit = Command::SubmitJob { request: RequestId("r".to_owned()), spec: Arc::new(spec) };
        let _ = state.apply(1, submit);
        let controller = JobController::new(JOB, state.job(JOB).unwrap(), config, Duration::ZERO).unwrap();
        let plan = ChainPlan::of(&graph);
        let mut world = Self {
            state,
            index: 1,
            now: Duration::ZERO,
            controller,
            plan,
            nodes: BTreeMap::new(),
            published: Vec::new(),
            dealt: Vec::new(),
            commit_failures: Vec::new(),
            commits: Vec::new(),
            durable: BTreeSet::new(),
            hidden: BTreeSet::new(),
            released: BTreeSet::new(),
            store: BTreeMap::new(),
            store_work: VecDeque::new(),
            store_failures: Vec::new(),
            snapshot_failures: 0,
            config,
            leaders: 1,
            discard_failures: Vec::new(),
            endless: false,
            payload: serde_json::Value::Null,
        };
        for (slots, id) in slots.iter().zip(1..) {
            let node = Node {
                incarnation: Incarnation(id * 100),
                slots: *slots,
                alive: false,
                attached: false,
                leaving: false,
                cut_off: false,
                orders: VecDeque::new(),
                attempts: BTreeMap::new(),
                reports: Vec::new(),
            };
            world.nodes.insert(NodeId(id), node);
            world.register(NodeId(id));
        }
        world
    }

    pub(super) fn record(&self) -> &JobRecord {
        self.state.job(JOB).unwrap()
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn status(&self) -> JobStatus {
        self.record().status
    }

    pub(super) fn commit_failure(&self) -> Option<&Failure> {
        self.controller.commit_failure()
    }

    pub(super) fn attempts_on(&self, node: NodeId) -> Vec<Attempt> {
        self.nodes[&node].attempts.keys().copied().collect()
    }

    pub(super) fn is_done(&self) -> bool {
        let views = self.views();
        self.controller.is_done(&self.view(&views))
    }

    fn view<'a>(&'a self, nodes: &'a BTreeMap<NodeId, NodeView>) -> JobView<'a> {
        static CLUSTER: LazyLock<ClusterId> = LazyLock::new(|| ClusterId("c".to_owned()));
        JobView {
            record: self.record(),
            nodes,
            cluster: &CLUSTER,
            checkpoints: "memory://checkpoints",
            now: self.now,
            since_epoch: self.now,
            jitter: 0,
        }
    }

    pub(super) fn has_leftovers(&self) -> bool {
        !self.hidden.is_empty()
    }

    pub(super) fn controller(&self) -> &JobController {
        &self.controller
    }

    /// Committables that were published, in order.
    pub(super) fn visible(&self) -> Vec<String> {
        self.commits.iter().flat_map(|(_, ids)| ids).cloned().collect()
    }

    /// The names of the manifests that are stored.
    pub(super) fn stored(&self) -> Vec<&str> {
        self.store.keys().map(String::as_str).collect()
    }

    /// A manifest that is stored.
    pub(super) fn any_manifest(&self) -> Manifest {
        self.store.values().next().unwrap().clone()
    }

    /// A put arrives that nobody waits for any more.
    pub(super) fn land(&mut self, manifest: Manifest) {
        self.store.insert("late".to_owned(), manifest);
    }

    /// Whether all that is to be published is, and nothing else.
    pub(super) fn check_published(&self) {
        let visible = self.visible();
        let set: BTreeSet<String> = visible.iter().cloned().collect();
        assert_eq!(set.len(), visible.len(), "published twice: {visible:?}");
        assert_eq!(set, self.durable);
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let outcome = self.state.apply(self.index, command);
        self.state.check_invariants().unwrap();
        outcome
    }

    fn views(&self) -> BTreeMap<NodeId, NodeView> {
        let present = self.nodes.iter().filter(|(_, node)| node.is_present());
        let view = |(id, node): (&NodeId, &Node)| {
            let used = self.state.slots_used(*id) + self.controller.lingering_on(*id, node.incarnation, self.record());
            let view = NodeView {
                incarnation: node.incarnation,
                address: format!("{id}:1"),
                zone: String::new(),
                free: node.slots.saturating_sub(used),
                takes_work: !node.leaving,
                // The leader has old attempts dropped before a node is of use.
                attached: node.attached && node.attempts.keys().all(|of| *of >= self.record().last_attempt()),
            };
            (*id, view)
        };
        present.map(view).collect()
    }

    /// Lets the controller act until it wants nothing more.
    fn react(&mut self) {
        for _ in 0..20 {
            let views = self.views();
            let mut controller = self.controller.clone();
            let effects = controller.step(&self.view(&views));
            self.controller = controller;
            self.controller.check_invariants().unwrap();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.carry_out(effect);
            }
        }
        panic!("the controller does not come to rest");
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Propose(command) => {
                self.check_proposal(&command);
                let applied = matches!(self.apply(command.clone()), Outcome::Applied(_));
                if applied {
                    self.note(&command);
                }
                let outcome = if applied { Proposed::Applied } else { Proposed::NotApplied };
                self.controller.on_proposed(outcome, self.now);
            }
            Effect::Order { node, attempt, action } => {
                if matches!(action, Action::Discard { before: ALL_ATTEMPTS, .. }) {
                    let mut present = self.nodes.values().filter(|node| node.is_present());
                    let runs = present.any(|node| node.attempts.contains_key(&attempt));
                    assert!(!runs, "what still runs may leave more");
                    assert!(self.record().uncommitted().is_none(), "what is complete is not published yet");
                }
                let node = self.nodes.get_mut(&node).unwrap();
                if node.is_present() {
                    node.orders.push_back((attempt, action));
                }
            }
            effect @ (Effect::PutManifest { .. } | Effect::GetManifest { .. } | Effect::CollectCheckpoints { .. }) => {
                self.store_work.push_back(effect);
            }
        }
    }

    /// What a recorded decision promises to publish.
    fn note(&mut self, command: &Command) {
        let ids: Vec<String> = match command {
            Command::CompleteCheckpoint { manifest, .. } => {
                let prepared = self.store[&manifest.name].subtasks.iter().flat_map(|snapshot| &snapshot.prepared);
                prepared.flat_map(|prepared| ids_of(&prepared.committables)).collect()
            }
            Command::CompleteAttempt { committables, .. } => committables.iter().flat_map(ids_of).collect(),
            _ => Vec::new(),
        };
        self.durable.extend(ids);
    }

    /// The store does what it was asked first.
    pub(super) fn use_store(&mut self) {
        let Some(effect) = self.store_work.pop_front() else { return };
        let failed = |kind| failure(kind, "the store is away");
        match effect {
            Effect::PutManifest { manifest } => {
                let checkpoint = manifest.checkpoint;
                let result = match self.store_failures.pop() {
                    Some(kind) => Err(failed(kind)),
                    None => Ok(self.put(&manifest)),
                };
                self.controller.on_manifest_put(checkpoint, result);
            }
            Effect::GetManifest { manifest } => {
                let result = self
                    .store_failures
                    .pop()
                    .map_or_else(|| Ok(self.store[&manifest.name].clone()), |kind| Err(failed(kind)));
                self.controller.on_manifest_got(manifest.checkpoint, result, self.now);
            }
            Effect::CollectCheckpoints { .. } if self.store_failures.pop().is_some() => {
                self.controller.on_collected(&Err(failed(FailureKind::Store)), self.now);
            }
            Effect::CollectCheckpoints { drop, keep, older_than } => {
                let is_over = self.status().is_terminal();
                for manifest in drop {
                    assert!(!keep.contains(&manifest));
                    assert!(is_over || self.record().checkpoint(manifest.checkpoint).is_none(), "it may be needed");
                    self.store.remove(&manifest.name);
                }
                if older_than == Some(ALL_ATTEMPTS) {
                    self.store.retain(|name, _| keep.iter().any(|kept| kept.name == *name));
                }
                self.controller.on_collected(&Ok(()), self.now);
            }
            Effect::Propose(_) | Effect::Order { .. } => unreachable!("not for the store"),
        }
        self.react();
    }

    fn put(&mut self, manifest: &Manifest) -> ManifestRef {
        let all: Vec<SubtaskId> = self.plan.subtasks(manifest.parallelism).collect();
        let told: Vec<SubtaskId> = manifest.subtasks.iter().map(|snapshot| snapshot.subtask).collect();
        assert_eq!(told, all, "a part is missing");
        let name = format!("{}-{}-{}", manifest.checkpoint.0, manifest.attempt.0, self.leaders);
        self.store.insert(name.clone(), manifest.clone());
        ManifestRef { checkpoint: manifest.checkpoint, name, bytes: 1, checksum: 1 }
    }

    fn check_proposal(&self, command: &Command) {
        match command {
            Command::BeginAttempt { plan, .. } => {
                let AttemptPlan { nodes, .. } = plan.as_ref();
                assert!(nodes.keys().all(|node| self.nodes[node].is_present()));
                let last = self.record().last_attempt();
                let mut present = self.nodes.values().filter(|node| node.is_present());
                assert!(!present.any(|node| node.attempts.contains_key(&last)), "the last attempt is still there");
                assert!(
                    nodes.keys().all(|node| self.nodes[node].attempts.is_empty()),
                    "an older attempt is still there"
                );
            }
            Command::RunAttempt { attempt, .. } => {
                let built = |node: &NodeId| self.nodes[node].attempts.get(attempt).is_some_and(|run| !run.building);
                assert!(nodes_of(self.record()).keys().all(built), "not everything is built");
            }
            _ => {}
        }
    }

    /// The next order reaches the node.
    #[expect(clippy::too_many_lines, reason = "one arm per order")]
    pub(super) fn deliver_order(&mut self, id: NodeId) {
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
                node.reports.push((Report::Discovered { job: JOB, attempt, splits: Ok(splits) }, false));
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
                    if operators.any(|operator| matches!(operator.kind, OperatorKind::Sink(_))) {
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
                node.reports.push((Report::Gone { job: JOB, attempt }, false));
            }
            Action::Commit { checkpoint, committables, .. } => {
                let failed = self.commit_failures.pop();
                let result = failed.map_or(Ok(()), |kind| Err(failure(kind, "no space")));
                let is_done = result.is_ok();
                node.reports.push((Report::Committed { job: JOB, attempt, checkpoint, result }, false));
                if is_done {
                    self.commit(attempt, checkpoint, &committables);
                }
            }
            Action::Discard { before, .. } => {
                let failed = self.discard_failures.pop();
                let result = failed.map_or(Ok(()), |kind| Err(failure(kind, "read-only")));
                let is_done = result.is_ok();
                node.reports.push((Report::Discarded { job: JOB, attempt, before, result }, false));
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
            Action::ConfirmCheckpoint { checkpoint } => self.confirm(id, attempt, checkpoint),
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
        let may_lose = self.record().status == JobStatus::Failed;
        assert!(may_lose || !self.hidden.iter().any(lost), "what is to be published was removed");
        self.hidden.retain(|(of, _)| *of >= before);
    }

    /// The next order reaches the node and is not taken.
    pub(super) fn refuse_next(&mut self, id: NodeId) {
        let (attempt, action) = self.nodes.get_mut(&id).unwrap().orders.pop_front().unwrap();
        self.refuse(id, attempt, action);
    }

    fn refuse(&mut self, id: NodeId, attempt: Attempt, action: Action) {
        let cluster = thalweg_types::ClusterId("c".to_owned());
        let order = Order { term: thalweg_types::Term(1), cluster, job: JOB, attempt, action };
        self.controller.on_refused(id, &order, "it is leaving", self.now);
        self.react();
    }

    /// Finishes building, or ends one subtask that has been started.
    pub(super) fn progress(&mut self, id: NodeId) {
        let endless = self.endless;
        // What is collected for clients is not written anywhere.
        let writes = |operator: &&Operator| matches!(operator.kind, OperatorKind::Sink(_));
        let sinks: BTreeSet<OperatorId> =
            self.controller.graph().operators.iter().filter(writes).map(|operator| operator.id).collect();
        let chains = self.plan.chains.clone();
        let node = self.nodes.get_mut(&id).unwrap();
        let Some((attempt, run)) = node.attempts.iter_mut().next().filter(|_| node.alive) else { return };
        let attempt = *attempt;
        if std::mem::replace(&mut run.building, false) {
            node.reports.push((Report::Ready { job: JOB, attempt }, false));
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
        let report = Report::Finished { job: JOB, attempt, subtask, metrics, prepared };
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
        if !is_finished {
            seal(run, &mut self.hidden, (attempt, subtask, checkpoint), chains, sinks);
        }
        if fails {
            let failure = failure(FailureKind::Store, "no space");
            let report = Report::SnapshotFailed { job: JOB, attempt, checkpoint, subtask, failure };
            node.reports.push((report, false));
            return;
        }
        let own = run.hands.iter().find(|hand| subtask.chain.0 == 0 && hand.subtask == subtask.index);
        let snapshot = SubtaskSnapshot {
            subtask,
            is_finished,
            operators: Vec::new(),
            source: own.map(|hand| SourceSnapshot { source: hand.source, splits: hand.splits.clone() }),
            in_flight: Vec::new(),
            objects: Vec::new(),
            counts: RecordCounts::default(),
            prepared: run.sealed.get(&subtask).cloned().unwrap_or_default(),
            cost: SnapshotCost { uploaded_bytes: 10, freeze_micros: 5, ..SnapshotCost::default() },
        };
        let snapshot = Box::new(snapshot);
        node.reports.push((Report::Snapshot { job: JOB, attempt, checkpoint, snapshot }, false));
    }

    pub(super) fn want_checkpoint(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(attempt) = node.attempts.keys().next().copied() else { return };
        node.reports.push((Report::CheckpointWanted { job: JOB, attempt }, false));
    }

    /// Tells all reports that this leader has not heard; those that are settled are forgotten.
    pub(super) fn deliver_reports(&mut self, id: NodeId) {
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

    pub(super) fn advance(&mut self, by: Duration) {
        self.now += by;
        self.react();
    }

    pub(super) fn fail_subtask(&mut self, id: NodeId, kind: FailureKind) {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some((attempt, run)) = node.attempts.iter_mut().next() else { return };
        let Some((subtask, state)) = run.subtasks.iter_mut().next().filter(|_| !run.building) else { return };
        *state = SubtaskState::Failed;
        let (attempt, subtask, failure) = (*attempt, Some(*subtask), failure(kind, "it broke"));
        node.reports.push((Report::Failed { job: JOB, attempt, subtask, failure, peer: None }, false));
    }

    /// It says that it takes no more work.
    pub(super) fn leave(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.leaving = true;
        let (node, incarnation) = (id, node.incarnation);
        let _ = self.apply(Command::LeaveNode { node, incarnation });
        self.react();
    }

    /// Killed, and found out.
    pub(super) fn lose_node(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        if !node.alive {
            return;
        }
        node.alive = false;
        node.attached = false;
        node.orders.clear();
        node.attempts.clear();
        node.reports.clear();
        let (node, incarnation) = (id, node.incarnation);
        let _ = self.apply(Command::LoseNode { node, incarnation, reason: "silent".to_owned() });
        self.react();
    }

    /// It runs on, but cannot be reached for so long that it is given up, with the orders that are under way to it.
    pub(super) fn cut_off(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        if !node.is_present() {
            return;
        }
        node.cut_off = true;
        node.attached = false;
        node.orders.clear();
        let (node, incarnation) = (id, node.incarnation);
        let _ = self.apply(Command::LoseNode { node, incarnation, reason: "silent".to_owned() });
        self.react();
    }

    /// A node that was cut off comes back as it is.
    pub(super) fn come_back(&mut self, id: NodeId) {
        if self.nodes[&id].alive && self.nodes[&id].cut_off {
            self.admit(id);
            self.react();
        }
    }

    /// It ends its part of the attempt by itself.
    pub(super) fn drop_attempt(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        let dropped = std::mem::take(&mut node.attempts).into_keys();
        node.reports.extend(dropped.map(|attempt| (Report::Gone { job: JOB, attempt }, false)));
    }

    /// A lost node comes back as a new process.
    pub(super) fn restart_node(&mut self, id: NodeId) {
        if !self.nodes[&id].alive {
            self.register(id);
            self.react();
        }
    }

    fn register(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.incarnation = node.incarnation.next();
        node.alive = true;
        self.admit(id);
    }

    fn admit(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.cut_off = false;
        let registration = NodeRegistration {
            node: id,
            incarnation: node.incarnation,
            address: String::new(),
            http_address: String::new(),
            slots: node.slots,
            zone: String::new(),
            version: String::new(),
        };
        let _ = self.apply(Command::RegisterNode { registration });
        self.tell_what_is_there(id);
    }

    /// The node opens a session and tells what it has; the reports it keeps will be told again.
    pub(super) fn reattach(&mut self, id: NodeId) {
        self.tell_what_is_there(id);
        self.react();
    }

    fn tell_what_is_there(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        if !node.is_present() {
            return;
        }
        node.attached = true;
        let last = self.state.job(JOB).unwrap().last_attempt();
        node.orders.extend(node.attempts.range(..last).map(|(of, _)| (*of, Action::Cancel)));
        node.reports.iter_mut().for_each(|(_, told)| *told = false);
        let built = node.attempts.iter().filter(|(_, run)| !run.building);
        let subtasks: Vec<SubtaskReport> = built
            .flat_map(|(attempt, run)| {
                run.subtasks.iter().map(|(subtask, state)| SubtaskReport {
                    job: JOB,
                    attempt: *attempt,
                    subtask: *subtask,
                    state: *state,
                })
            })
            .collect();
        self.controller.on_reattach(id, &subtasks);
    }

    /// Everything that the leader remembered is gone, with the orders that had not arrived.
    pub(super) fn change_leader(&mut self) {
        self.controller = JobController::new(JOB, self.record(), self.config, self.now).unwrap();
        self.leaders += 1;
        self.store_work.clear();
        for node in self.nodes.values_mut() {
            node.orders.clear();
            node.attached = false;
        }
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.reattach(id);
        }
    }

    /// As before; and all reports come before it has looked at anything.
    pub(super) fn change_leader_unprepared(&mut self) {
        self.controller = JobController::new(JOB, self.record(), self.config, self.now).unwrap();
        self.leaders += 1;
        self.store_work.clear();
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            let node = self.nodes.get_mut(&id).unwrap();
            node.orders.clear();
            let reports: Vec<Report> = node.reports.iter().map(|(report, _)| report.clone()).collect();
            self.tell_what_is_there(id);
            self.nodes.get_mut(&id).unwrap().reports.iter_mut().for_each(|(_, told)| *told = true);
            reports.iter().for_each(|report| self.controller.on_report(id, report, self.now));
        }
        self.react();
    }

    /// Every order that is under way arrives.
    pub(super) fn pump_orders(&mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            while !self.nodes[&id].orders.is_empty() {
                self.deliver_order(id);
            }
        }
    }

    /// So many more discards fail, the first of those to come.
    pub(super) fn fail_discards(&mut self, count: u32) {
        self.discard_failures = (0..count).map(|_| FailureKind::Store).collect();
    }

    /// Whether the request was taken.
    pub(super) fn end(&mut self, mode: EndMode) -> bool {
        let taken = matches!(self.apply(Command::EndJob { job: JOB, mode }), Outcome::Applied(_));
        self.react();
        taken
    }

    fn round(&mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.deliver_order(id);
            self.progress(id);
            self.deliver_reports(id);
            self.use_store();
        }
    }

    /// Lets everything that is under way arrive, with a little time between.
    pub(super) fn pump(&mut self) {
        for _ in 0..60 {
            self.round();
            self.advance(Duration::from_millis(50));
        }
    }

    /// Until nothing more will happen.
    pub(super) fn settle(&mut self) {
        for _ in 0..100 {
            self.pump();
            if self.status().is_terminal() && self.is_done() {
                return;
            }
        }
        panic!("the job does not come to an end: {} {:?}", self.status(), self.controller);
    }

    pub(super) fn until(&mut self, status: JobStatus) {
        for _ in 0..2000 {
            self.advance(Duration::from_millis(50));
            if self.status() == status {
                return;
            }
            self.step_once(status);
        }
        panic!("{status} is not reached: {} {:?}", self.status(), self.controller.facts);
    }

    /// One order, one piece of progress or one round of reports at a time, so that no status is skipped.
    fn step_once(&mut self, status: JobStatus) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            for act in [Self::deliver_order, Self::progress, Self::deliver_reports] {
                if self.status() != status {
                    act(self, id);
                }
            }
            if self.status() != status {
                self.use_store();
            }
        }
    }

    /// Everything is built, and the leader has not heard of it.
    pub(super) fn until_all_deployed(&mut self) {
        self.until(JobStatus::Deploying);
        for _ in 0..3 {
            for id in self.nodes.keys().copied().collect::<Vec<_>>() {
                self.deliver_order(id);
                if self.nodes[&id].attempts.is_empty() {
                    self.deliver_reports(id);
                } else {
                    self.progress_building(id);
                }
            }
        }
        assert_eq!(self.status(), JobStatus::Deploying);
    }

    fn progress_building(&mut self, id: NodeId) {
        if self.nodes[&id].attempts.values().any(|run| run.building) {
            self.progress(id);
        }
    }
}
