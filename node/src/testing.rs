//! Test doubles of what the node uses: an engine, and coordinators.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, Stream, future::BoxFuture};
use thalweg_proto::{
    network::Network,
    testing::TestSpawner,
    v1::{
        self,
        node_session_server::{NodeSession, NodeSessionServer},
    },
};
use thalweg_runtime::AttemptMeasures;
use thalweg_types::{
    Assignment, Attempt, CheckpointId, ClusterId, JobGraph, JobId, KeyGroupTable, NodeId, OperatorId, SubtaskId,
    TraceContext,
    checkpoint::ManifestRef,
    graph::FORMAT,
    job::{Failure, SubtaskMetrics},
    seam::Spawner,
    session::{CoordinatorMessage, Deployment, NodeMessage, Publication, ReportBody, SubtaskState},
};
use tokio::{sync::mpsc, time};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::engine::{Discovery, Engine, RunningAttempt};

/// More than any test has in progress.
const BOUND: usize = 64;
/// Longer than anything that works takes. The clock is paused, so waiting this long costs nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// A graph without operators.
pub(crate) fn graph() -> JobGraph {
    JobGraph {
        format: FORMAT,
        engine_version: String::new(),
        key_groups: 1,
        operators: Vec::new(),
        edges: Vec::new(),
        settings: BTreeMap::new(),
    }
}

/// An order to publish nothing, with the newest checkpoint.
pub(crate) fn publication(graph: JobGraph, checkpoint: CheckpointId) -> Publication {
    Publication {
        graph,
        checkpoint,
        committables: Vec::new(),
        published: BTreeMap::new(),
        complete: checkpoint,
        checkpoints: "memory:///".to_owned(),
    }
}

/// A deployment without operators on node 1.
pub(crate) fn deployment() -> Box<Deployment> {
    Box::new(Deployment {
        graph: graph(),
        assignment: Assignment { slices: vec![NodeId(1)], key_groups: KeyGroupTable::new(vec![0]) },
        addresses: vec![(NodeId(1), "node:1".to_owned())],
        splits: Vec::new(),
        checkpoints: "memory:///".to_owned(),
        takes_checkpoints: true,
        restore: None,
    })
}

/// What an engine was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Deploy(JobId, Attempt),
    Start(JobId, Attempt),
    Stop(JobId, Attempt),
    Cancel(JobId, Attempt),
    Forget(JobId, Attempt),
    BeginCheckpoint(JobId, CheckpointId),
    AbortCheckpoint(JobId, CheckpointId),
    ConfirmCheckpoint(JobId, CheckpointId),
    Discard(JobId),
}

type Senders = Arc<Mutex<BTreeMap<(JobId, Attempt), mpsc::Sender<ReportBody>>>>;

/// An engine that only records what it is asked. Commits panic, so that a test sees the effect of a panic.
#[derive(Debug)]
pub(crate) struct FakeEngine {
    asked: mpsc::Sender<Asked>,
    reports: Senders,
}

/// The test's side of the engine.
#[derive(Debug)]
pub(crate) struct EngineProbe {
    asked: mpsc::Receiver<Asked>,
    reports: Senders,
}

impl FakeEngine {
    pub(crate) fn new() -> (Arc<Self>, EngineProbe) {
        let (sender, asked) = mpsc::channel(BOUND);
        let reports = Senders::default();
        (Arc::new(Self { asked: sender, reports: reports.clone() }), EngineProbe { asked, reports })
    }
}

impl EngineProbe {
    pub(crate) async fn asked(&mut self) -> Asked {
        time::timeout(PATIENCE, self.asked.recv()).await.expect("it is asked in time").expect("the engine lives")
    }

    /// Sends a report of an attempt. After `Gone` the attempt is forgotten.
    pub(crate) async fn say(&self, job: JobId, attempt: Attempt, report: ReportBody) {
        let sender = self.reports.lock().expect("nobody panics").get(&(job, attempt)).cloned();
        let is_gone = matches!(report, ReportBody::Gone);
        sender.expect("it was deployed").send(report).await.expect("the worker listens");
        if is_gone {
            self.vanish(job, attempt);
        }
    }

    /// Drops an attempt's sender of reports, as a panic of its supervisor would.
    pub(crate) fn vanish(&self, job: JobId, attempt: Attempt) {
        self.reports.lock().expect("nobody panics").remove(&(job, attempt));
    }
}

impl Engine for FakeEngine {
    fn deploy(
        &self,
        (_, job): (ClusterId, JobId),
        attempt: Attempt,
        _deployment: Deployment,
        reports: mpsc::Sender<ReportBody>,
    ) -> Box<dyn RunningAttempt> {
        self.asked.try_send(Asked::Deploy(job, attempt)).expect("there is room");
        self.reports.lock().expect("nobody panics").insert((job, attempt), reports);
        Box::new(FakeAttempt { job, attempt, asked: self.asked.clone() })
    }

    fn discover(&self, _graph: Box<JobGraph>, sources: Vec<OperatorId>) -> BoxFuture<'static, Discovery> {
        std::future::ready(Ok(sources.into_iter().map(|source| (source, Vec::new())).collect())).boxed()
    }

    fn commit(
        &self,
        _job: (ClusterId, JobId),
        _attempt: Attempt,
        _publication: Box<Publication>,
    ) -> BoxFuture<'static, Result<(), Failure>> {
        async { panic!("a committer broke") }.boxed()
    }

    fn discard(
        &self,
        (_, job): (ClusterId, JobId),
        _before: Attempt,
        _of: (Box<JobGraph>, String),
    ) -> BoxFuture<'static, Result<(), Failure>> {
        self.asked.try_send(Asked::Discard(job)).expect("there is room");
        std::future::ready(Ok(())).boxed()
    }

    fn forget(&self, job: JobId, attempt: Attempt) {
        self.asked.try_send(Asked::Forget(job, attempt)).expect("there is room");
    }
}

#[derive(Debug)]
struct FakeAttempt {
    job: JobId,
    attempt: Attempt,
    asked: mpsc::Sender<Asked>,
}

impl RunningAttempt for FakeAttempt {
    fn start(&self) {
        self.asked.try_send(Asked::Start(self.job, self.attempt)).expect("there is room");
    }

    fn cancel(&self) {
        // At the end of a test its probe may be gone.
        self.asked.try_send(Asked::Cancel(self.job, self.attempt)).ok();
    }

    fn stop(&self) {
        self.asked.try_send(Asked::Stop(self.job, self.attempt)).expect("there is room");
    }

    fn begin_checkpoint(&self, checkpoint: CheckpointId, _trace: Option<TraceContext>) {
        self.asked.try_send(Asked::BeginCheckpoint(self.job, checkpoint)).expect("there is room");
    }

    fn abort_checkpoint(&self, checkpoint: CheckpointId) {
        self.asked.try_send(Asked::AbortCheckpoint(self.job, checkpoint)).expect("there is room");
    }

    fn confirm_checkpoint(&self, checkpoint: CheckpointId, _: Option<ManifestRef>) {
        self.asked.try_send(Asked::ConfirmCheckpoint(self.job, checkpoint)).expect("there is room");
    }

    fn metrics(&self) -> Vec<(SubtaskId, SubtaskMetrics)> {
        vec![(SubtaskId::default(), SubtaskMetrics { records_in: 5, ..SubtaskMetrics::default() })]
    }

    fn measures(&self) -> AttemptMeasures {
        AttemptMeasures {
            slices: self.attempt.0,
            chains: Vec::new(),
            state_bytes: 0,
            state_limit_bytes: 0,
            decoding_bytes: 0,
            exchange_bytes: 0,
            latency: thalweg_metrics::seconds(),
        }
    }

    fn states(&self) -> Vec<(SubtaskId, SubtaskState)> {
        vec![(SubtaskId::default(), SubtaskState::Running)]
    }
}

/// A coordinator that the test controls.
#[derive(Debug)]
pub(crate) struct FakeLeader {
    sessions: mpsc::Receiver<FakeSession>,
}

/// Its side of one session.
#[derive(Debug)]
pub(crate) struct FakeSession {
    from_node: Streaming<v1::NodeMessage>,
    to_node: mpsc::Sender<Result<v1::CoordinatorMessage, Status>>,
}

impl FakeLeader {
    /// Serves at an address.
    pub(crate) async fn serve(network: &Arc<dyn Network>, address: &str) -> Self {
        let (opened, sessions) = mpsc::channel(BOUND);
        serve(network, address, Service { opened: Some(opened), leader: None }).await;
        Self { sessions }
    }

    /// The next session, up to its registration.
    pub(crate) async fn accept(&mut self) -> (FakeSession, thalweg_types::node::NodeRegistration) {
        let session = time::timeout(PATIENCE, self.sessions.recv()).await.expect("one comes in time");
        let mut session = session.expect("the service lives");
        let first = session.hear().await;
        let NodeMessage::Register(registration) = first else {
            panic!("a session begins with a registration, not with {first:?}")
        };
        (session, registration)
    }

    /// The next session, registered in a term with a lease of four seconds, and its `Reattach` message.
    pub(crate) async fn register(&mut self, term: u64) -> (FakeSession, NodeMessage) {
        let (mut session, registration) = self.accept().await;
        session.say(registered(registration.node, term)).await;
        let reattach = session.hear().await;
        assert!(matches!(reattach, NodeMessage::Reattach { .. }), "{reattach:?}");
        (session, reattach)
    }
}

/// Serves a follower that names a leader to everyone.
pub(crate) async fn serve_follower(network: &Arc<dyn Network>, address: &str, leader: &str) {
    serve(network, address, Service { opened: None, leader: Some(leader.to_owned()) }).await;
}

pub(crate) fn registered(node: NodeId, term: u64) -> CoordinatorMessage {
    CoordinatorMessage::Registered { node, term: thalweg_types::Term(term), lease_ms: 4000 }
}

impl FakeSession {
    /// The next message of the node.
    pub(crate) async fn hear(&mut self) -> NodeMessage {
        let message = time::timeout(PATIENCE, self.from_node.message()).await.expect("it speaks in time");
        let message = message.expect("the stream is sound").expect("the stream is open");
        NodeMessage::try_from(message).expect("a node's messages are well formed")
    }

    /// The next message of the node that is not a heartbeat.
    pub(crate) async fn hear_news(&mut self) -> NodeMessage {
        loop {
            let message = self.hear().await;
            if !matches!(message, NodeMessage::Heartbeat { .. }) {
                return message;
            }
        }
    }

    /// Whether the node has ended the session.
    pub(crate) async fn is_ended(&mut self) -> bool {
        time::timeout(PATIENCE, async { while let Ok(Some(_)) = self.from_node.message().await {} }).await.is_ok()
    }

    pub(crate) async fn say(&self, message: CoordinatorMessage) {
        self.say_wire(message.into()).await;
    }

    pub(crate) async fn say_wire(&self, message: v1::CoordinatorMessage) {
        self.to_node.send(Ok(message)).await.expect("the node listens");
    }

    /// Ends the session like a coordinator that has lost its leadership.
    pub(crate) async fn step_down(self, leader: &str) {
        self.to_node.send(Err(not_leading(leader))).await.expect("the node listens");
    }
}

#[derive(Debug)]
struct Service {
    opened: Option<mpsc::Sender<FakeSession>>,
    leader: Option<String>,
}

#[tonic::async_trait]
impl NodeSession for Service {
    type OpenStream = Pin<Box<dyn Stream<Item = Result<v1::CoordinatorMessage, Status>> + Send>>;

    async fn open(&self, request: Request<Streaming<v1::NodeMessage>>) -> Result<Response<Self::OpenStream>, Status> {
        let Some(opened) = &self.opened else {
            return Err(not_leading(self.leader.as_deref().unwrap_or_default()));
        };
        let (to_node, said) = mpsc::channel(BOUND);
        let session = FakeSession { from_node: request.into_inner(), to_node };
        opened.send(session).await.map_err(|_| Status::internal("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }
}

fn not_leading(leader: &str) -> Status {
    let mut status = Status::unavailable("this coordinator does not lead");
    status.metadata_mut().insert("thalweg-leader", leader.parse().expect("an address is ASCII"));
    status
}

async fn serve(network: &Arc<dyn Network>, address: &str, service: Service) {
    let listener = network.listen(address).await.expect("the address is free");
    let server = Server::builder().add_service(NodeSessionServer::new(service));
    let serving = server.serve_with_incoming(listener.incoming);
    TestSpawner.spawn("coordinator", Box::pin(async move { serving.await.expect("it serves") }));
}
