//! A cluster without processes: the real replicated state and controller, and simulated nodes that run no operators.
//!
//! Each part checks its rules: `nodes` on each order, `leader` on each proposal, `store` on each manifest. What
//! complete checkpoints hold, and what was prepared when the job ended, must be published: each committable once, in
//! the order of checkpoints. Leftovers are removed only when nothing runs.

use std::{collections::VecDeque, sync::LazyLock};

use super::*;

mod course;
mod leader;
mod membership;
mod nodes;
mod store;

use nodes::Node;

#[derive(Debug)]
pub(super) struct World {
    state: ClusterState,
    index: u64,
    now: Duration,
    pub(super) controller: JobController,
    plan: ChainPlan,
    nodes: BTreeMap<NodeId, Node>,
    /// Attempt and number of committables of each effective commit.
    pub(super) published: Vec<(Attempt, usize)>,
    /// Each source subtask, and the splits it was given.
    pub(super) dealt: Vec<(u32, Vec<String>)>,
    /// The failures of the next commits.
    pub(super) commit_failures: Vec<FailureKind>,
    /// What each effective commit of a checkpoint published.
    pub(super) commits: Vec<(CheckpointId, Vec<String>)>,
    /// What a destination that keeps its own progress has of each sink.
    pub(super) reached: BTreeMap<OperatorId, CheckpointId>,
    /// What must be published once, by the end.
    durable: BTreeSet<String>,
    /// What is hidden in the sinks' directories, by attempt.
    hidden: BTreeSet<(Attempt, String)>,
    /// Nodes that may give all rows to clients.
    pub(super) released: BTreeSet<NodeId>,
    /// Manifests by name.
    store: BTreeMap<String, Manifest>,
    store_work: VecDeque<Effect>,
    /// The failures of the next uses of the store, the next one last.
    pub(super) store_failures: Vec<FailureKind>,
    /// How many of the next snapshots fail.
    pub(super) snapshot_failures: u32,
    config: ControlConfig,
    leaders: u64,
    /// The failures of the next discards.
    pub(super) discard_failures: Vec<FailureKind>,
    /// Sources end only when they are ordered to.
    pub(super) endless: bool,
    /// What each split holds for its connector.
    pub(super) payload: serde_json::Value,
    /// Sinks have nothing to seal at checkpoints.
    pub(super) is_idle: bool,
    /// How many of the next proposals do not get into the record.
    pub(super) lost_proposals: u32,
}

const JOB: JobId = JobId(1);

fn ids_of(committables: &SinkCommittables) -> Vec<String> {
    committables.committables.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

impl World {
    pub(super) fn new(slots: &[u32], wish: Option<u32>) -> Self {
        Self::with_graph(slots, wish, graphs::publishing())
    }

    pub(super) fn with_graph(slots: &[u32], wish: Option<u32>, graph: JobGraph) -> Self {
        Self::with_interval(slots, wish, graph, Duration::ZERO)
    }

    /// A world whose job takes a checkpoint at this interval.
    pub(super) fn checkpointing(slots: &[u32], wish: Option<u32>, interval: Duration) -> Self {
        Self::with_interval(slots, wish, graphs::publishing(), interval)
    }

    pub(super) fn with_interval(slots: &[u32], wish: Option<u32>, graph: JobGraph, interval: Duration) -> Self {
        let config = ControlConfig { checkpoint_interval: interval, ..ControlConfig::default() };
        let spec = JobSpec {
            name: "test".to_owned(),
            sql: String::new(),
            key_groups: graph.key_groups,
            graph: String::from_utf8(graph.to_bytes()).unwrap(),
            parallelism: wish,
            ingest_paths: BTreeSet::new(),
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
            reached: BTreeMap::new(),
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
            is_idle: false,
            lost_proposals: 0,
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

    /// The order that a node would carry out next.
    pub(super) fn next_order(&self, node: NodeId) -> Option<&Action> {
        self.nodes[&node].orders.front().map(|(_, action)| action)
    }

    /// Whether an order to begin this checkpoint is on its way to any node.
    pub(super) fn is_told_to_begin(&self, checkpoint: CheckpointId) -> bool {
        let mut orders = self.nodes.values().flat_map(|node| &node.orders);
        orders.any(|(_, action)| matches!(action, Action::BeginCheckpoint { checkpoint: of } if *of == checkpoint))
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
            unix_time: self.now,
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

    /// All manifests that are stored.
    pub(super) fn manifests(&mut self) -> impl Iterator<Item = &mut Manifest> {
        self.store.values_mut()
    }

    /// A put takes effect that nobody waits for any more.
    pub(super) fn land(&mut self, manifest: Manifest) {
        self.store.insert("late".to_owned(), manifest);
    }

    /// A put of output that was never sealed takes effect.
    pub(super) fn land_output(&mut self, attempt: Attempt) {
        self.hidden.insert((attempt, "late".to_owned()));
    }

    /// A part of an attempt that ran on unnoticed leaves a file, and is gone.
    pub(super) fn run_on(&mut self, attempt: Attempt) {
        self.land_output(attempt);
        self.controller.on_straggler_gone();
        self.react();
    }

    /// Checks that what must be published is, and nothing else.
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
                // The leader has old attempts dropped before it uses a node.
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

    pub(super) fn advance(&mut self, by: Duration) {
        self.now += by;
        self.react();
    }

    /// The next `count` discards fail.
    pub(super) fn fail_discards(&mut self, count: u32) {
        self.discard_failures = (0..count).map(|_| FailureKind::Store).collect();
    }

    /// Ends the job. Returns whether the request was taken.
    pub(super) fn end(&mut self, mode: EndMode) -> bool {
        let taken = matches!(self.apply(Command::EndJob { job: JOB, mode }), Outcome::Applied(_));
        self.react();
        taken
    }
}
