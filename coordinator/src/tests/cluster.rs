//! A cluster of coordinators and nodes in one process.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use object_store::memory::InMemory;
use thalweg_consensus::{Consensus, store::MemoryStore};
use thalweg_proto::{
    network::{MemoryNetwork, Network},
    testing::seeded_seams,
};
use thalweg_storage::{CheckpointStore, ObjectStores};
use thalweg_types::{
    Attempt, ClusterId, ENGINE_VERSION, Incarnation, JobId, JobStatus, MemberId, NodeId,
    node::NodeRegistration,
    seam::{Seams, TaskHandle},
};

use super::{
    PATIENCE,
    graphs::TestPlanner,
    node::TestNode,
    rpc::{TestClient, serve},
};
use crate::{
    Coordinator, CoordinatorConfig, MemberConfig,
    machine::Machine,
    planning::{Planner, SqlPlanner},
};

/// The address of a coordinator.
pub(super) fn address(member: u64) -> String {
    format!("coordinator-{member}:7000")
}

struct Running {
    member: u64,
    coordinator: Coordinator,
    server: Box<dyn TaskHandle>,
}

pub(crate) struct TestCluster {
    network: Arc<dyn Network>,
    seams: Seams,
    members: Vec<Running>,
    nodes: Vec<TestNode>,
    coordinators: u64,
    checkpoints: CheckpointStore,
}

impl TestCluster {
    /// Starts so many coordinators, and a registered node for each number of slots.
    pub(crate) async fn start(coordinators: u64, slots: &[u32]) -> Self {
        Self::start_with(coordinators, slots, |_| {}).await
    }

    pub(super) async fn start_with(coordinators: u64, slots: &[u32], set: impl Fn(&mut CoordinatorConfig)) -> Self {
        let mut cluster = Self::begin(coordinators, Arc::new(TestPlanner), set).await;
        for (slots, node) in slots.iter().zip(1..) {
            cluster.add_node(node, *slots).await;
        }
        cluster
    }

    /// Starts one coordinator with the real planner.
    pub(super) async fn start_with_sql() -> Self {
        Self::begin(1, Arc::new(SqlPlanner::default()), |_| {}).await
    }

    async fn begin(coordinators: u64, planner: Arc<dyn Planner>, set: impl Fn(&mut CoordinatorConfig)) -> Self {
        let network: Arc<dyn Network> = Arc::new(MemoryNetwork::default());
        let mut members = Vec::new();
        let stores = ObjectStores::default().with_store("memory://test", Arc::new(InMemory::new()));
        let checkpoints = CheckpointStore::open("memory://test", &stores).unwrap();
        let first: Vec<MemberConfig> = (1..=coordinators)
            .map(|member| MemberConfig { member: MemberId(member), address: address(member) })
            .collect();
        for member in 1..=coordinators {
            let mut config = CoordinatorConfig {
                member: MemberId(member),
                address: address(member),
                cluster: Some(ClusterId("test".to_owned())),
                members: first.clone(),
                ..CoordinatorConfig::default()
            };
            set(&mut config);
            let store = (Arc::new(MemoryStore::new()) as _, checkpoints.clone());
            let coordinator =
                Coordinator::start_with(config, store, network.clone(), seeded_seams(member), planner.clone())
                    .await
                    .unwrap();
            let listener = network.listen(&address(member)).await.unwrap();
            let server = seeded_seams(member).io.spawn("server", Box::pin(serve(coordinator.routes(), listener)));
            members.push(Running { member, coordinator, server });
        }
        Self { network, seams: seeded_seams(99), members, nodes: Vec::new(), coordinators, checkpoints }
    }

    /// Adds a node and waits until it is registered.
    pub(super) async fn add_node(&mut self, node: u64, slots: u32) {
        let mut registration = self.registration(node);
        registration.slots = slots;
        let coordinators = (1..=self.coordinators).map(address).collect();
        let node = TestNode::start(registration, coordinators, self.network.clone(), &self.seams).await;
        node.until(TestNode::is_registered).await;
        self.nodes.push(node);
    }

    pub(crate) fn registration(&self, node: u64) -> NodeRegistration {
        NodeRegistration {
            node: NodeId(node),
            incarnation: Incarnation(node * 100),
            address: format!("node-{node}:7000"),
            http_address: String::new(),
            slots: 1,
            zone: String::new(),
            version: ENGINE_VERSION.to_owned(),
        }
    }

    /// The first coordinator's handle of the replicated state.
    pub(crate) fn consensus(&self) -> Consensus<Machine> {
        self.members[0].coordinator.consensus().clone()
    }

    /// The store of checkpoints.
    pub(crate) fn checkpoints(&self) -> CheckpointStore {
        self.checkpoints.clone()
    }

    /// The metrics of the first coordinator.
    pub(super) async fn metrics(&self) -> String {
        let mut families = thalweg_metrics::Families::default();
        self.members[0].coordinator.tell_metrics(&mut families).await;
        families.text()
    }

    pub(crate) fn seams(&self) -> Seams {
        self.seams.clone()
    }

    pub(super) fn client(&self, member: u64) -> TestClient {
        TestClient::new(&self.network, &address(member))
    }

    /// The leader, once there is one.
    pub(crate) async fn leader(&self) -> u64 {
        let mut leadership = self.members[0].coordinator.leadership();
        let known = leadership.wait_for(|current| current.leader.is_some());
        let current = tokio::time::timeout(PATIENCE, known).await.expect("a leader is elected").unwrap().clone();
        current.leader.unwrap().0
    }

    /// Stops a coordinator.
    pub(super) async fn stop(&mut self, member: u64) {
        let at = self.members.iter().position(|running| running.member == member).unwrap();
        let running = self.members.remove(at);
        running.coordinator.shutdown().await;
        running.server.abort();
    }

    pub(super) fn node(&self, node: NodeId) -> &TestNode {
        self.nodes.iter().find(|candidate| candidate.id() == node).unwrap()
    }

    /// Kills a node's process.
    pub(super) fn kill(&mut self, node: NodeId) {
        let at = self.nodes.iter().position(|candidate| candidate.id() == node).unwrap();
        self.nodes.remove(at).kill();
    }

    pub(super) fn now(&self) -> Duration {
        self.seams.clock.monotonic()
    }

    /// Sets whether subtasks wait before they end.
    pub(super) fn hold_back(&self, hold: bool) {
        self.nodes.iter().for_each(|node| node.hold_back(hold));
    }

    /// What all nodes have published: jobs, attempts and numbers of committables.
    pub(super) fn published(&self) -> Vec<(JobId, Attempt, usize)> {
        self.nodes.iter().flat_map(TestNode::published).collect()
    }

    /// Runs and cancels a job, and waits until it is cleared away.
    pub(crate) async fn cancelled_job(&self) -> JobId {
        self.hold_back(true);
        let client = self.client(1);
        let job = client.submit("r", "publish").await.unwrap().job;
        super::until_status(&client, job, JobStatus::Running).await;
        client.end(job, false).await.unwrap();
        self.until_discarded(&[job]).await;
        job
    }

    /// Waits until nodes were told to remove what exactly these jobs have left.
    pub(super) async fn until_discarded(&self, jobs: &[JobId]) {
        let discarded = || self.nodes.iter().flat_map(TestNode::discarded).collect::<BTreeSet<JobId>>();
        let polling = async {
            while discarded() != jobs.iter().copied().collect() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, polling).await.expect("leftovers are removed");
    }

    /// Waits until the attempts on every node are as wanted.
    pub(super) async fn until_nodes(&self, wanted: impl Fn(&[(JobId, Attempt)]) -> bool) {
        for node in &self.nodes {
            node.until(|node| wanted(&node.attempts())).await;
        }
    }
}
