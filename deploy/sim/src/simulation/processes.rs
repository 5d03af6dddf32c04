//! The processes of a simulated cluster, as the binary's commands start them on real machines.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicI64},
};

use async_trait::async_trait;
use thalweg_connectors::{
    ConnectorContext, Notices, ObjectStores, StandardOutput,
    http_client::{HttpAnswer, HttpClient, HttpRequest},
    ingest::IngestRegistry,
};
use thalweg_consensus::Consensus;
use thalweg_coordinator::{CoordinatorConfig, Machine, MemberConfig, Opening};
use thalweg_kafka::Kafka;
use thalweg_kinesis::Kinesis;
use thalweg_node::{Node, NodeConfig};
use thalweg_proto::network::{ConnectionLimits, Network, admit};
use thalweg_types::{ClusterId, MemberId, NodeId};

use super::{
    SimulatedNetwork,
    disk::SimulatedDisk,
    executor::Executor,
    faults::Cast,
    gate::Gate,
    kafka::{Link, SimulatedKafka},
    kinesis::{self, SimulatedKinesis},
    seams::Process,
    store::{CHECKPOINTS, SimulatedStore},
};

/// The HTTP port of nodes.
const HTTP_PORT: u16 = 8080;
/// The gRPC port of all processes.
const PORT: u16 = 7070;
/// The URL of the store that all hosts share.
pub const STORE_URL: &str = "sim://bucket";
/// Shorter than the defaults, to keep runs short.
const LEASE_MS: u64 = 1500;
const SLOT_WAIT_MS: u64 = 700;
const DEPLOY_TIMEOUT_MS: u64 = 15_000;
const STOP_TIMEOUT_MS: u64 = 15_000;

/// What the processes share, and what the simulation sees of them.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) seed: u64,
    pub(super) cast: Cast,
    pub(super) store: SimulatedStore,
    /// Log entries between two snapshots of a coordinator.
    pub(super) snapshot_every: u64,
    /// The coordinators' disks, by host.
    pub(super) disks: Arc<BTreeMap<String, Arc<SimulatedDisk>>>,
    /// The brokers that nodes reach.
    pub(super) kafka: Option<SimulatedKafka>,
    /// The streams that nodes reach.
    pub(super) kinesis: Option<SimulatedKinesis>,
    seen: Arc<Mutex<Seen>>,
}

/// What the simulation sees of the processes.
#[derive(Default)]
pub(super) struct Seen {
    gates: BTreeMap<String, Arc<Gate>>,
    incarnations: BTreeMap<String, u64>,
    /// The error of each host's wall clock, in milliseconds.
    clocks: BTreeMap<String, Arc<AtomicI64>>,
    /// The Raft group as each living coordinator has it.
    pub(super) members: BTreeMap<String, Consensus<Machine>>,
    /// Processes that have ended by themselves, with the reason, until they are handled.
    pub(super) ended: Vec<(String, String)>,
}

impl Stage {
    pub(super) fn new(
        seed: u64,
        cast: Cast,
        store: SimulatedStore,
        snapshot_every: u64,
        (kafka, kinesis): (Option<SimulatedKafka>, Option<SimulatedKinesis>),
    ) -> Self {
        let disk =
            |member: u32| (coordinator_name(member), Arc::new(SimulatedDisk::new(seed ^ (u64::from(member) << 32))));
        let disks = Arc::new((1..=cast.coordinators).map(disk).collect());
        Self { seed, cast, store, snapshot_every, disks, kafka, kinesis, seen: Arc::default() }
    }

    /// The error of a host's wall clock, in milliseconds.
    pub(super) fn clock(&self, host: &str) -> Arc<AtomicI64> {
        self.seen().clocks.entry(host.to_owned()).or_default().clone()
    }

    /// The hosts of all processes.
    pub(super) fn hosts(&self) -> Vec<String> {
        let coordinators = (1..=self.cast.coordinators).map(coordinator_name);
        coordinators.chain((1..=self.cast.nodes).map(node_name)).collect()
    }

    /// The object stores of a process.
    fn stores(&self) -> ObjectStores {
        ObjectStores::new(BTreeMap::new()).with_store(STORE_URL, Arc::new(self.store.clone()))
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn gate(&self, host: &str) -> Arc<Gate> {
        self.seen().gates.entry(host.to_owned()).or_default().clone()
    }

    pub(super) fn coordinators(&self) -> Vec<String> {
        (1..=self.cast.coordinators).map(|member| address(&coordinator_name(member))).collect()
    }

    /// Begins an incarnation of a process.
    pub(super) fn begin(&self, host: &str) -> Process {
        let gate = self.gate(host);
        gate.open();
        let incarnation = {
            let mut seen = self.seen();
            let incarnations = seen.incarnations.entry(host.to_owned()).or_default();
            *incarnations += 1;
            *incarnations
        };
        let executor = Executor::new(gate.clone());
        executor.drive();
        let wrong_by = self.clock(host);
        Process { name: host.to_owned(), seed: self.seed, incarnation, gate, executor, wrong_by }
    }

    fn end(&self, process: &Process, why: String) {
        let mut seen = self.seen();
        seen.members.remove(&process.name);
        seen.ended.push((process.name.clone(), why));
    }
}

pub(super) fn coordinator_name(member: u32) -> String {
    format!("coordinator-{member}")
}

pub(super) fn node_name(node: u32) -> String {
    format!("node-{node}")
}

pub(super) fn address(host: &str) -> String {
    format!("{host}:{PORT}")
}

/// The address at which a node takes records.
pub(super) fn http_address(host: &str) -> String {
    format!("{host}:{HTTP_PORT}")
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs a process. Its end does not end the simulation.
pub(super) async fn run<M>(
    stage: Stage,
    process: Process,
    main: impl FnOnce(Process) -> M + Send + 'static,
) -> Result<(), Box<dyn std::error::Error>>
where
    M: Future<Output = Result<String, Failure>> + Send + 'static,
{
    let (end, ended) = tokio::sync::oneshot::channel();
    let of_main = process.clone();
    let main = async move {
        let why = main(of_main).await;
        // The receiver is dropped only with the whole host.
        let _ = end.send(why.unwrap_or_else(|error| thalweg_types::text::with_causes(error.as_ref())));
    };
    process.executor.start_task(Box::pin(main));
    stage.end(&process, ended.await.unwrap_or_else(|_| "its main task panicked".to_owned()));
    Ok(())
}

/// `thalweg coordinator`
pub(super) async fn coordinator(stage: Stage, process: Process, member: u32) -> Result<String, Failure> {
    let name = process.name.clone();
    let disk = stage.disks.get(&name).cloned().ok_or("a coordinator has a disk")?;
    let members = (1..=stage.cast.coordinators)
        .map(|member| MemberConfig { member: MemberId(u64::from(member)), address: address(&coordinator_name(member)) })
        .collect();
    let config = CoordinatorConfig {
        member: MemberId(u64::from(member)),
        address: address(&name),
        cluster: Some(ClusterId("simulated".to_owned())),
        members,
        lease_ms: LEASE_MS,
        slot_wait_ms: SLOT_WAIT_MS,
        deploy_timeout_ms: DEPLOY_TIMEOUT_MS,
        checkpoints: format!("{STORE_URL}/{CHECKPOINTS}"),
        checkpoint_interval_ms: 0,
        snapshot_every_entries: stage.snapshot_every,
        ..CoordinatorConfig::default()
    };
    let network = Arc::new(SimulatedNetwork::behind(process.gate.clone()));
    let listener = network.listen(&address(&name)).await?;
    let seams = process.seams();
    let mut server = thalweg_proto::network::server(&seams.io);
    let opening = Opening::open(config, disk, network, &stage.stores(), seams).await?;
    let incoming = admit(listener, ConnectionLimits::default());
    let mut serving = std::pin::pin!(server.add_routes(opening.routes()).serve_with_incoming(incoming));
    let ended = || "its server has ended".to_owned();
    let coordinator = tokio::select! {
        biased;
        started = opening.start() => started?,
        served = &mut serving => return Ok(served.map(|()| ended())?),
    };
    stage.seen().members.insert(name, coordinator.consensus().clone());
    tokio::select! {
        biased;
        exit = coordinator.exited() => Ok(format!("{exit:?}")),
        served = serving => Ok(served.map(|()| ended())?),
    }
}

/// `thalweg node`
pub(super) async fn node(stage: Stage, process: Process, number: u32) -> Result<String, Failure> {
    let name = process.name.clone();
    let config = NodeConfig {
        node: Some(NodeId(u64::from(number))),
        listen: address(&name),
        advertise: address(&name),
        http_listen: http_address(&name),
        http_advertise: http_address(&name),
        coordinators: stage.coordinators(),
        slots: stage.cast.slots,
        stop_timeout_ms: STOP_TIMEOUT_MS,
        ..NodeConfig::default()
    };
    let seams = process.seams();
    let network = Arc::new(SimulatedNetwork::behind(process.gate.clone()));
    let connectors = ConnectorContext {
        seams: seams.clone(),
        stdin: None,
        stdout: Arc::new(NoOutput),
        ingest: IngestRegistry::default(),
        http: Arc::new(NoHttp),
        stores: stage.stores(),
        notices: Notices::default(),
        resent: thalweg_connectors::ResentRecords::default(),
        allowed: thalweg_connectors::AllowedPaths::everywhere(),
        kafka: stage.kafka.clone().map(|kafka| Arc::new(Link::new(kafka, &name)) as Arc<dyn Kafka>),
        kinesis: stage.kinesis.clone().map(|streams| Arc::new(kinesis::Link::new(streams, &name)) as Arc<dyn Kinesis>),
        kept: thalweg_connectors::KeptSessions::default(),
        secrets: Arc::new(thalweg_connectors::NoSecrets),
    };
    let node = Node::start(config, network, seams, connectors).await?;
    node.wait().await?;
    Ok("it was told to end".to_owned())
}

/// Discards output: a simulated process has no terminal.
#[derive(Debug)]
struct NoOutput;

impl StandardOutput for NoOutput {
    fn write_lines(&self, _lines: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// Fails all requests: a simulated process reaches no web server.
#[derive(Debug)]
struct NoHttp;

#[async_trait]
impl HttpClient for NoHttp {
    async fn send(&self, request: HttpRequest) -> Result<HttpAnswer, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("{} cannot be reached from a simulation", request.url).into())
    }
}
