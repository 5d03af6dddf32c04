//! The nodes of a test: contexts on a network in memory, deployments over them, and the wait for their end.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use object_store::memory::InMemory;
use thalweg_connectors::{
    ConnectorContext, Notices, ObjectStores, StandardOutput,
    http_client::{HttpAnswer, HttpClient, HttpRequest},
    ingest::IngestRegistry,
};
use thalweg_exchange::{ExchangeRegistry, ExchangeService};
use thalweg_proto::{
    network::{MemoryNetwork, Network},
    testing,
};
use thalweg_storage::CheckpointStore;
use thalweg_types::{
    Assignment, Attempt, CheckpointId, ClusterId, JobGraph, JobId, KeyGroupTable, NodeId, OperatorKind, SubtaskId,
    checkpoint::{Prepared, SplitProgress, SubtaskSnapshot},
    job::{Failure, FailureKind, SubtaskMetrics},
    session::{Deployment, ReportBody, SplitAssignment},
};
use tokio::sync::mpsc;

use super::tables::SharedTables;
use crate::{AttemptHandle, CollectStore, LocalState, RuntimeContext, attempt::Surroundings};

pub(super) const JOB: JobId = JobId(1);
pub(super) const ATTEMPT: Attempt = Attempt(1);
pub(super) const CHECKPOINTS: &str = "memory://checkpoints";
/// The longest time of any test's job, on whatever clock it runs.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

pub(super) fn cluster_id() -> ClusterId {
    ClusterId("c1".to_owned())
}

#[derive(Debug)]
struct NoOutput;

impl StandardOutput for NoOutput {
    fn write_lines(&self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct NoHttp;

#[async_trait::async_trait]
impl HttpClient for NoHttp {
    async fn send(&self, _: HttpRequest) -> Result<HttpAnswer, Box<dyn std::error::Error + Send + Sync>> {
        Err("there is no network".into())
    }
}

/// Some nodes that share tables and a network.
pub(super) struct Cluster {
    pub(super) tables: SharedTables,
    pub(super) nodes: Vec<RuntimeContext>,
    pub(super) network: Arc<MemoryNetwork>,
    pub(super) store: CheckpointStore,
    /// What `store` is over.
    pub(super) memory: Arc<InMemory>,
}

/// The outcome of a job on all nodes.
#[derive(Debug, Default)]
pub(super) struct Ending {
    pub(super) finished: BTreeMap<SubtaskId, (SubtaskMetrics, Vec<Prepared>)>,
    pub(super) failed: Vec<(Option<SubtaskId>, Failure, Option<NodeId>)>,
    pub(super) gone: usize,
    /// How often a checkpoint was asked for.
    pub(super) wanted: usize,
    pub(super) snapshots: BTreeMap<(CheckpointId, SubtaskId), SubtaskSnapshot>,
    pub(super) snapshots_failed: Vec<(CheckpointId, SubtaskId, Failure)>,
}

impl Ending {
    pub(super) fn totals(&self, chain: u32) -> SubtaskMetrics {
        let mut totals = SubtaskMetrics::default();
        for (metrics, _) in self.finished.iter().filter(|(id, _)| id.chain.0 == chain).map(|(_, value)| value) {
            totals.records_in += metrics.records_in;
            totals.records_out += metrics.records_out;
            totals.late_records += metrics.late_records;
            totals.dead_letters += metrics.dead_letters;
            totals.failed_rows += metrics.failed_rows;
        }
        totals
    }
}

impl Cluster {
    pub(super) async fn of(nodes: u64) -> Self {
        let network = Arc::new(MemoryNetwork::default());
        let seams = testing::seams();
        let memory = Arc::new(InMemory::new());
        let stores = ObjectStores::default().with_store(CHECKPOINTS, memory.clone());
        let store = CheckpointStore::open(CHECKPOINTS, &stores).unwrap();
        let connectors = ConnectorContext {
            seams: seams.clone(),
            stdin: None,
            stdout: Arc::new(NoOutput),
            ingest: IngestRegistry::default(),
            http: Arc::new(NoHttp),
            stores: stores.clone(),
            notices: Notices::default(),
            resent: thalweg_connectors::ResentRecords::default(),
            allowed: thalweg_connectors::AllowedPaths::everywhere(),
            kafka: None,
            kinesis: None,
            kept: thalweg_connectors::KeptSessions::default(),
            secrets: Arc::new(thalweg_connectors::NoSecrets),
        };
        let mut contexts = Vec::new();
        for node in (1..=nodes).map(NodeId) {
            let exchange = ExchangeRegistry::default();
            let listener = network.listen(&address_of(node)).await.unwrap();
            let service = ExchangeService::new(exchange.clone()).into_server();
            let server = tonic::transport::Server::builder().add_service(service);
            let serving = server.serve_with_incoming(listener.incoming);
            seams.io.spawn("server", Box::pin(async move { serving.await.unwrap() }));
            contexts.push(RuntimeContext {
                node,
                seams: seams.clone(),
                network: network.clone(),
                exchange,
                connectors: connectors.clone(),
                collect: CollectStore::default(),
                queryable: crate::QueryableTables::default(),
                local: LocalState::default(),
                memory_budget_bytes: 1 << 30,
            });
        }
        Self { tables: SharedTables::default(), nodes: contexts, network, store, memory }
    }

    /// Deals slices to the nodes and splits to the subtasks, in turn.
    pub(super) fn deployment(&self, graph: &JobGraph, parallelism: u32) -> Deployment {
        let nodes: Vec<NodeId> = self.nodes.iter().map(|context| context.node).collect();
        let slices = nodes.iter().copied().cycle().take(parallelism as usize).collect();
        let key_groups = KeyGroupTable::even(graph.key_groups, parallelism);
        let mut splits = Vec::new();
        for operator in &graph.operators {
            let OperatorKind::Source(source) = &operator.kind else { continue };
            if graph.enumerator_of(operator.id).is_some() {
                continue;
            }
            let all = self.tables.0.splits(&source.table);
            for subtask in 0..parallelism {
                let mine = all.iter().skip(subtask as usize).step_by(parallelism as usize);
                let mine = mine.cloned().map(SplitProgress::unread).collect();
                splits.push(SplitAssignment { source: operator.id, subtask, splits: mine });
            }
        }
        let addresses = nodes.iter().map(|node| (*node, address_of(*node))).collect();
        Deployment {
            graph: graph.clone(),
            assignment: Assignment { slices, key_groups },
            addresses,
            splits,
            checkpoints: CHECKPOINTS.to_owned(),
            takes_checkpoints: true,
            restore: None,
        }
    }

    pub(super) fn deploy(&self, job: JobId, deployment: &Deployment) -> Running {
        self.deploy_attempt(job, ATTEMPT, deployment)
    }

    pub(super) fn deploy_attempt(&self, job: JobId, attempt: Attempt, deployment: &Deployment) -> Running {
        let (reports, receiver) = mpsc::channel(64);
        let handle = |context: &RuntimeContext| {
            let tables = Arc::new(self.tables.clone());
            let surroundings = Surroundings { context: context.clone(), tables };
            AttemptHandle::deploy_with(surroundings, (cluster_id(), job, attempt), deployment.clone(), reports.clone())
        };
        let handles = self.nodes.iter().map(handle).collect();
        Running { handles, reports: receiver, ending: Ending::default(), ready: 0 }
    }

    /// Deploys and starts a graph, and waits for all subtasks to finish or for the first failure.
    pub(super) async fn run(&self, graph: &JobGraph, parallelism: u32) -> Ending {
        let mut running = self.deploy(JOB, &self.deployment(graph, parallelism));
        running.start().await;
        running.finish().await;
        running.cancel().await
    }

    /// All rows that a query has collected.
    pub(super) async fn collected(&self, query: u32) -> Vec<RecordBatch> {
        self.nodes.iter().for_each(|node| node.collect.release(JOB, ATTEMPT, CheckpointId::FINAL));
        let (mut offset, mut batches) = (0, Vec::new());
        loop {
            let fetch = self.nodes[0].collect.fetch(JOB, ATTEMPT, query, offset, 100_000, PATIENCE);
            let rows = fetch.await.expect("the query runs on the first node");
            assert_eq!(rows.offset, offset);
            offset += rows.rows;
            batches.extend(rows.batches);
            if rows.end {
                return batches;
            }
        }
    }
}

/// A job that is deployed on all nodes.
pub(super) struct Running {
    pub(super) handles: Vec<AttemptHandle>,
    reports: mpsc::Receiver<ReportBody>,
    pub(super) ending: Ending,
    ready: usize,
}

impl Running {
    /// Waits until all nodes are ready or one has failed, then starts the sources.
    pub(super) async fn start(&mut self) {
        while self.ready < self.handles.len() && self.ending.failed.is_empty() {
            self.next().await;
        }
        self.handles.iter().for_each(AttemptHandle::start);
    }

    /// Waits until all subtasks have finished, or for the first failure.
    pub(super) async fn finish(&mut self) {
        let subtasks: usize = self.handles.iter().map(|handle| handle.states().len()).sum();
        while self.ending.finished.len() < subtasks && self.ending.failed.is_empty() {
            self.next().await;
        }
    }

    /// Cancels the attempt on all nodes and waits until it is gone. Nodes end at different times, so streams that
    /// break meanwhile do not count as failures, just as for a leader that cancels an attempt.
    pub(super) async fn cancel(mut self) -> Ending {
        self.handles.iter().for_each(AttemptHandle::cancel);
        let before = self.ending.failed.len();
        while self.ending.gone < self.handles.len() {
            self.next().await;
        }
        let mut after = self.ending.failed.split_off(before);
        after.retain(|(_, failure, _)| failure.kind != FailureKind::Link);
        self.ending.failed.append(&mut after);
        self.ending
    }

    pub(super) async fn next(&mut self) {
        let report = tokio::time::timeout(PATIENCE, self.reports.recv()).await.expect("the job does not go on");
        match report.expect("supervisors tell until they are gone") {
            ReportBody::Ready => self.ready += 1,
            ReportBody::Finished { subtask, metrics, prepared } => {
                let before = self.ending.finished.insert(subtask, (metrics, prepared));
                assert!(before.is_none(), "{subtask} finished twice");
            }
            ReportBody::Failed { subtask, failure, peer } => self.ending.failed.push((subtask, failure, peer)),
            ReportBody::Snapshot { checkpoint, snapshot } => {
                let before =
                    self.ending.snapshots.insert((checkpoint, snapshot.subtask), SubtaskSnapshot::clone(&snapshot));
                assert!(before.is_none(), "two snapshots of one subtask for {checkpoint}");
            }
            ReportBody::SnapshotFailed { checkpoint, subtask, failure } => {
                self.ending.snapshots_failed.push((checkpoint, subtask, failure));
            }
            ReportBody::CheckpointWanted => self.ending.wanted += 1,
            ReportBody::Gone => self.ending.gone += 1,
            other @ (ReportBody::Discovered { .. } | ReportBody::Committed { .. } | ReportBody::Discarded { .. }) => {
                unreachable!("no attempt says {other:?}")
            }
        }
    }
}

fn address_of(node: NodeId) -> String {
    format!("{node}:1")
}
