use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::{
    array::{AsArray, Int64Array, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema},
    ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, StreamWriter, write_message},
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use thalweg_proto::{
    network::MemoryNetwork,
    v1::{
        change_members_request::Change,
        cluster_server::{Cluster, ClusterServer},
    },
};
use thalweg_types::{
    JobStatus, NodeId, Term,
    job::{CheckpointState, SubtaskMetrics},
    node::NodeState,
};
use tonic::{Request, Response, Status, transport::Server};

use super::*;
use crate::{PreviewLimits, RowStream};

#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// A cluster of one job, which counts up to ten in batches of three. The next call fails with the last status of
/// `fails`.
#[derive(Debug, Default)]
struct FakeCluster {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    fails: Vec<Status>,
    request_ids: Vec<String>,
    watches: u32,
    fetched: Vec<u64>,
    /// The attempt that answers each fetch; the last one stays.
    attempts: Vec<u32>,
    ended: Vec<(bool, bool)>,
    changes: Vec<Change>,
    /// What each watch tells, the next one first; after the last, a watch is UNAVAILABLE at once.
    told: VecDeque<Vec<Result<v1::Job, Status>>>,
}

#[derive(Debug, Clone)]
struct Service(Arc<FakeCluster>);

impl Service {
    fn state(&self) -> Result<std::sync::MutexGuard<'_, State>, Status> {
        let mut state = self.0.state.lock().expect("nobody panics");
        match state.fails.pop() {
            Some(status) => Err(status),
            None => Ok(state),
        }
    }
}

fn schema() -> Schema {
    Schema::new(vec![Field::new("n", DataType::Int64, false)])
}

fn rows(numbers: std::ops::Range<i64>) -> Vec<u8> {
    let column = Arc::new(Int64Array::from_iter_values(numbers));
    let batch = RecordBatch::try_new(Arc::new(schema()), vec![column]).expect("it fits");
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &schema()).expect("it is a sound schema");
    writer.write(&batch).expect("it fits");
    writer.finish().expect("memory does not fail");
    drop(writer);
    bytes
}

fn schema_message() -> Vec<u8> {
    let options = IpcWriteOptions::default();
    let mut tracker = DictionaryTracker::new(false);
    let encoded =
        IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(&schema(), &mut tracker, &options);
    let mut bytes = Vec::new();
    write_message(&mut bytes, encoded, &options).expect("memory does not fail");
    bytes
}

fn job(status: JobStatus) -> v1::Job {
    let subtask = v1::Subtask { metrics: Some(SubtaskMetrics::default().into()), ..v1::Subtask::default() };
    v1::Job { job: 7, status: status.word().to_owned(), subtasks: vec![subtask], ..v1::Job::default() }
}

#[tonic::async_trait]
impl Cluster for Service {
    type WatchJobStream = Pin<Box<dyn Stream<Item = Result<v1::WatchJobResponse, Status>> + Send>>;

    async fn watch_job(&self, request: Request<v1::WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        let mut state = self.state()?;
        if request.get_ref().job != 7 {
            return Err(Status::not_found("no such job"));
        }
        let told = state.told.pop_front().ok_or_else(|| Status::unavailable("an election"))?;
        let change = |job: Result<v1::Job, Status>| job.map(|job| v1::WatchJobResponse { job: Some(job), revision: 1 });
        Ok(Response::new(Box::pin(stream::iter(told.into_iter().map(change)))))
    }

    async fn submit_job(
        &self,
        request: Request<v1::SubmitJobRequest>,
    ) -> Result<Response<v1::SubmitJobResponse>, Status> {
        let request = request.into_inner();
        self.0.state.lock().expect("nobody panics").request_ids.push(request.request_id);
        drop(self.state()?);
        if request.sql.is_empty() {
            return Err(Status::invalid_argument("the script is empty"));
        }
        let queries = vec![v1::CollectedQuery { query: 0, schema: schema_message() }];
        let answers = vec!["an answer".to_owned()];
        Ok(Response::new(v1::SubmitJobResponse { job: 7, queries, answers }))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        let request = request.into_inner();
        let plan = format!("{} {:?} {}", request.sql, request.settings, request.parallelism);
        Ok(Response::new(v1::ExplainResponse { plan }))
    }

    async fn restart_job(
        &self,
        request: Request<v1::RestartJobRequest>,
    ) -> Result<Response<v1::RestartJobResponse>, Status> {
        self.0.state.lock().expect("nobody panics").request_ids.push(request.into_inner().request_id);
        drop(self.state()?);
        Ok(Response::new(v1::RestartJobResponse {}))
    }

    async fn forget_job(&self, _: Request<v1::ForgetJobRequest>) -> Result<Response<v1::ForgetJobResponse>, Status> {
        drop(self.state()?);
        Ok(Response::new(v1::ForgetJobResponse {}))
    }

    async fn find_table(&self, _: Request<v1::FindTableRequest>) -> Result<Response<v1::FindTableResponse>, Status> {
        Err(Status::unimplemented("no client asks"))
    }

    async fn find_reader(&self, _: Request<v1::FindReaderRequest>) -> Result<Response<v1::FindReaderResponse>, Status> {
        Err(Status::unimplemented("clients do not ask"))
    }

    async fn list_jobs(&self, _: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsResponse>, Status> {
        drop(self.state()?);
        Ok(Response::new(v1::ListJobsResponse { jobs: vec![job(JobStatus::Running)] }))
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::GetJobResponse>, Status> {
        let mut state = self.state()?;
        if request.get_ref().job != 7 {
            return Err(Status::not_found("no such job"));
        }
        state.watches += 1;
        assert_eq!(request.get_ref().after_revision, u64::from(state.watches - 1));
        let status = if state.watches < 3 { JobStatus::Running } else { JobStatus::Finished };
        Ok(Response::new(v1::GetJobResponse { job: Some(job(status)), revision: u64::from(state.watches) }))
    }

    async fn end_job(&self, request: Request<v1::EndJobRequest>) -> Result<Response<v1::EndJobResponse>, Status> {
        self.state()?.ended.push((request.get_ref().drain, request.get_ref().abandon));
        Ok(Response::new(v1::EndJobResponse {}))
    }

    async fn fetch_rows(
        &self,
        request: Request<v1::FetchRowsRequest>,
    ) -> Result<Response<v1::FetchRowsResponse>, Status> {
        let mut state = self.state()?;
        let from = request.get_ref().offset;
        state.fetched.push(from);
        let attempt = if state.attempts.len() > 1 { state.attempts.remove(0) } else { state.attempts[0] };
        let first = i64::try_from(from).expect("it is small");
        let last = (first + 3).min(10);
        Ok(Response::new(v1::FetchRowsResponse {
            attempt,
            offset: from,
            rows: u64::try_from(last - first).expect("it goes up"),
            batches: rows(first..last).into(),
            end: last == 10,
        }))
    }

    async fn list_checkpoints(
        &self,
        request: Request<v1::ListCheckpointsRequest>,
    ) -> Result<Response<v1::ListCheckpointsResponse>, Status> {
        drop(self.state()?);
        let checkpoint = v1::Checkpoint {
            checkpoint: request.get_ref().job,
            state: "failed".to_owned(),
            ..v1::Checkpoint::default()
        };
        Ok(Response::new(v1::ListCheckpointsResponse { checkpoints: vec![checkpoint] }))
    }

    async fn list_nodes(&self, _: Request<v1::ListNodesRequest>) -> Result<Response<v1::ListNodesResponse>, Status> {
        drop(self.state()?);
        let node = v1::Node { node: 3, slots: 4, slots_used: 1, state: "leaving".to_owned(), ..v1::Node::default() };
        Ok(Response::new(v1::ListNodesResponse { nodes: vec![node] }))
    }

    async fn describe_cluster(
        &self,
        _: Request<v1::DescribeClusterRequest>,
    ) -> Result<Response<v1::DescribeClusterResponse>, Status> {
        let members = vec![v1::Member { member: 1, address: "a:1".to_owned(), voter: true, heard_ms: None }];
        Ok(Response::new(v1::DescribeClusterResponse { term: 2, members, ..v1::DescribeClusterResponse::default() }))
    }

    async fn change_members(
        &self,
        request: Request<v1::ChangeMembersRequest>,
    ) -> Result<Response<v1::ChangeMembersResponse>, Status> {
        let change = request.into_inner().change.ok_or_else(|| Status::invalid_argument("no change"))?;
        self.state()?.changes.push(change);
        Ok(Response::new(v1::ChangeMembersResponse {}))
    }
}

/// A client of three coordinators in memory. Those in `serving` answer, and share one cluster.
#[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
async fn connected(serving: &[&str]) -> (Client, Arc<FakeCluster>, Arc<MemoryNetwork>) {
    let memory = Arc::new(MemoryNetwork::default());
    let cluster = Arc::new(FakeCluster::default());
    cluster.state.lock().expect("nobody panics").attempts.push(1);
    for address in serving {
        let listener = memory.listen(address).await.expect("it is free");
        let server = Server::builder().add_service(ClusterServer::new(Service(cluster.clone())));
        tokio::spawn(server.serve_with_incoming(listener.incoming));
    }
    let client = Client::connect(config(), memory.clone(), Arc::new(Counting::default())).await;
    (client.expect("one serves"), cluster, memory)
}

fn config() -> ClientConfig {
    let coordinators = ["a:1", "b:1", "c:1"].map(str::to_owned).to_vec();
    ClientConfig { coordinators, ..ClientConfig::default() }
}

fn sql(sql: &str) -> SubmitOptions {
    SubmitOptions { sql: sql.to_owned(), ..SubmitOptions::default() }
}

async fn collect(rows: &mut RowStream) -> Result<Vec<i64>, ClientError> {
    let mut numbers = Vec::new();
    while let Some(batch) = rows.next().await? {
        numbers.extend(batch.column(0).as_primitive::<Int64Type>().values());
    }
    Ok(numbers)
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_on_to_a_coordinator_that_can_be_reached() {
    let (client, ..) = connected(&["c:1"]).await;
    assert_eq!(client.jobs().await.expect("c serves").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_submission_is_repeated_with_the_same_id() {
    let (client, cluster, _) = connected(&["a:1", "b:1"]).await;
    cluster.state.lock().expect("nobody panics").fails = vec![Status::unavailable("an election"); 5];
    let submitted = client.submit(sql("SELECT 1")).await.expect("it is repeated");
    assert_eq!(submitted.job, JobId(7));
    assert_eq!(*submitted.queries[0].schema, schema());
    assert_eq!(submitted.answers, ["an answer"]);
    client.submit(sql("SELECT 1")).await.expect("it is another");
    let ids = cluster.state.lock().expect("nobody panics").request_ids.clone();
    assert_eq!(ids.len(), 7);
    assert!(ids[..6].iter().all(|id| *id == ids[0]));
    assert_ne!(ids[6], ids[0]);
}

#[tokio::test(start_paused = true)]
async fn answers_other_than_unavailable_are_final() {
    let (client, cluster, _) = connected(&["a:1"]).await;
    let error = client.submit(sql("")).await.expect_err("it is empty");
    assert!(matches!(error, ClientError::Rejected { message } if message == "the script is empty"));
    assert!(matches!(client.job(JobId(8)).await, Err(ClientError::NotFound { .. })));
    cluster.state.lock().expect("nobody panics").fails = vec![Status::internal("a bug")];
    assert!(matches!(client.jobs().await, Err(ClientError::Failed { .. })));
    assert_eq!(cluster.state.lock().expect("nobody panics").request_ids.len(), 1);
}

#[tokio::test(start_paused = true)]
#[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
async fn without_a_coordinator_a_call_fails_at_its_deadline_and_tells_what_was_tried() {
    let network: Arc<dyn Network> = Arc::new(MemoryNetwork::default());
    let start = tokio::time::Instant::now();
    let error = Client::connect(config(), network, Arc::new(Counting::default())).await.expect_err("none serves");
    assert!(start.elapsed() >= Duration::from_secs(30) && start.elapsed() < Duration::from_secs(31));
    let ClientError::Unreachable { tried } = error else { panic!("{error}") };
    assert_eq!(tried.iter().map(|tried| tried.coordinator.as_str()).collect::<Vec<_>>(), ["a:1", "b:1", "c:1"]);
    let network: Arc<dyn Network> = Arc::new(MemoryNetwork::default());
    let none = Client::connect(ClientConfig::default(), network, Arc::new(Counting::default())).await;
    assert!(matches!(none, Err(ClientError::NoCoordinator)));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_job() {
    let (client, cluster, _) = connected(&["a:1"]).await;
    let job = client.wait(JobId(7)).await.expect("it exists");
    assert_eq!(job.status, JobStatus::Finished);
    assert_eq!(cluster.state.lock().expect("nobody panics").watches, 3);
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_where_it_broke_and_tells_each_change_once() {
    use JobStatus::{Created, Deploying, Finished, Restarting, Running};
    let (client, cluster, _) = connected(&["b:1", "c:1"]).await;
    let lost = || Err(Status::unavailable("the leader has just changed"));
    let checkpointed = v1::Job { last_checkpoint: 3, ..job(Running) };
    let moved = v1::Job { attempt: 2, ..job(Running) };
    cluster.state.lock().expect("nobody panics").told = VecDeque::from([
        vec![Ok(job(Created)), Ok(job(Deploying)), lost()],
        vec![lost()],
        vec![],
        // It ended well too early.
        vec![Ok(job(Deploying)), Ok(job(Running)), Ok(checkpointed)],
        vec![Ok(job(Running)), Ok(job(Restarting)), Ok(moved), Ok(job(Finished)), Ok(job(Created))],
    ]);
    let mut changes = client.watch(JobId(7));
    let mut told = Vec::new();
    while let Some(job) = changes.next().await.expect("it goes on") {
        told.push((job.status, job.attempt.0));
    }
    let once = [(Created, 0), (Deploying, 0), (Running, 0), (Restarting, 0), (Running, 2), (Finished, 0)];
    assert_eq!(told, once);
    assert!(changes.next().await.expect("it is over").is_none());
    assert!(cluster.state.lock().expect("nobody panics").told.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_nobody_answers_fails_at_its_deadline_and_goes_on_when_asked_again() {
    let (client, cluster, _) = connected(&["a:1"]).await;
    let tell = |told| cluster.state.lock().expect("nobody panics").told.push_back(told);
    tell(vec![Ok(job(JobStatus::Running)), Err(Status::unavailable("the leader is gone"))]);
    let mut changes = client.watch(JobId(7));
    assert_eq!(changes.next().await.expect("a serves").map(|job| job.status), Some(JobStatus::Running));
    assert!(matches!(changes.next().await, Err(ClientError::Unreachable { .. })));
    tell(vec![Ok(job(JobStatus::Running)), Err(Status::not_found("it is forgotten"))]);
    assert!(matches!(changes.next().await, Err(ClientError::NotFound { .. })));
    tell(vec![Ok(job(JobStatus::Stopped))]);
    let rest: Vec<_> = changes.into_stream().try_collect().await.expect("a serves");
    assert_eq!(rest.iter().map(|job| job.status).collect::<Vec<_>>(), [JobStatus::Stopped]);
    assert!(matches!(client.watch(JobId(8)).next().await, Err(ClientError::NotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_preview_has_the_first_rows_and_leaves_nothing_running() {
    let (client, cluster, _) = connected(&["a:1"]).await;
    let limits = |rows| PreviewLimits { rows, ..PreviewLimits::default() };
    let samples = client.preview(sql("SELECT"), limits(5)).await.expect("a serves");
    assert_eq!(samples.iter().map(|sample| (sample.rows(), sample.is_whole)).collect::<Vec<_>>(), [(5, false)]);
    assert_eq!(*samples[0].query.schema, schema());
    let samples = client.preview(sql("SELECT"), limits(100)).await.expect("a serves");
    assert_eq!((samples[0].rows(), samples[0].is_whole), (10, true));
    assert_eq!(cluster.state.lock().expect("nobody panics").ended, [(false, false); 2]);
}

#[tokio::test(start_paused = true)]
async fn rows_can_be_taken_as_a_stream() {
    let (client, ..) = connected(&["a:1"]).await;
    let batches: Vec<RecordBatch> = client.fetch_rows(JobId(7), 0).into_stream().try_collect().await.expect("a serves");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 10);
}

#[tokio::test(start_paused = true)]
async fn rows_come_in_order_and_the_last_are_acknowledged() {
    let (client, cluster, _) = connected(&["a:1"]).await;
    let mut rows = client.fetch_rows(JobId(7), 0);
    assert_eq!(collect(&mut rows).await.expect("it is one attempt"), (0..10).collect::<Vec<_>>());
    assert_eq!(collect(&mut rows).await.expect("it has ended"), [0; 0]);
    assert_eq!(cluster.state.lock().expect("nobody panics").fetched, [0, 3, 6, 9, 10]);
}

#[tokio::test(start_paused = true)]
async fn rows_go_on_in_another_attempt() {
    let (client, cluster, _) = connected(&["a:1"]).await;
    cluster.state.lock().expect("nobody panics").attempts = vec![1, 1, 2];
    let mut rows = client.fetch_rows(JobId(7), 0);
    assert_eq!(collect(&mut rows).await.expect("it goes on"), (0..10).collect::<Vec<_>>());
    assert_eq!(cluster.state.lock().expect("nobody panics").fetched, [0, 3, 6, 9, 10]);
}

#[tokio::test(start_paused = true)]
async fn every_other_call_arrives_as_it_was_meant() {
    let (client, cluster, _) = connected(&["b:1"]).await;
    let options =
        SubmitOptions { settings: [("k".to_owned(), "v".to_owned())].into(), parallelism: Some(3), ..sql("SELECT") };
    assert_eq!(client.explain(options).await.expect("b serves"), r#"SELECT {"k": "v"} 3"#);
    client.cancel(JobId(7)).await.expect("b serves");
    client.stop(JobId(7)).await.expect("b serves");
    client.abandon(JobId(7)).await.expect("b serves");
    client.add_member(MemberId(4), "d:1").await.expect("b serves");
    client.remove_member(MemberId(4)).await.expect("b serves");
    let added = v1::Member { member: 4, address: "d:1".to_owned(), voter: true, heard_ms: None };
    let (ended, changes) = {
        let state = cluster.state.lock().expect("nobody panics");
        (state.ended.clone(), state.changes.clone())
    };
    assert_eq!(ended, [(false, false), (true, false), (false, true)]);
    assert_eq!(changes, [Change::Add(added), Change::Remove(4)]);
    let nodes = client.nodes().await.expect("b serves");
    assert_eq!((nodes[0].registration.node, nodes[0].slots_used, nodes[0].state), (NodeId(3), 1, NodeState::Leaving));
    let checkpoints = client.checkpoints(JobId(7)).await.expect("b serves");
    assert_eq!((checkpoints[0].checkpoint.0, checkpoints[0].state), (7, CheckpointState::Failed));
    let cluster = client.cluster().await.expect("b serves");
    assert_eq!((cluster.leader, cluster.term, cluster.members.len()), (None, Term(2), 1));
}

/// Accepts connections, and breaks each one once a script has come; counts the scripts.
#[allow(clippy::disallowed_methods, reason = "a test's own tasks")]
async fn breaking(memory: &MemoryNetwork, address: &str, scripts: Arc<AtomicU64>) {
    use tokio::io::AsyncReadExt;
    let mut listener = memory.listen(address).await.expect("it is free");
    tokio::spawn(async move {
        while let Some(Ok(mut connection)) = listener.incoming.next().await {
            let scripts = scripts.clone();
            tokio::spawn(async move {
                let mut read = Vec::new();
                while !String::from_utf8_lossy(&read).contains("a poison") {
                    if connection.read_buf(&mut read).await.is_ok_and(|bytes| bytes > 0) {
                        continue;
                    }
                    return;
                }
                scripts.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_script_that_breaks_connections_is_carried_to_one_more_coordinator_only() {
    let (memory, scripts) = (Arc::new(MemoryNetwork::default()), Arc::new(AtomicU64::new(0)));
    for address in ["a:1", "b:1", "c:1"] {
        breaking(&memory, address, scripts.clone()).await;
    }
    let network: Arc<dyn Network> = memory;
    let ClientConfig { coordinators, .. } = config();
    let deadline = Duration::from_secs(60);
    let coordinators = Coordinators::new(&coordinators, &network, Arc::new(Counting::default()), deadline);
    let client = Client { coordinators: Arc::new(coordinators.expect("they are addresses")) };
    let error = client.submit(sql("a poison")).await.expect_err("nobody survives it");
    assert!(matches!(error, ClientError::Broken { .. }), "{error}");
    assert_eq!(scripts.load(Ordering::Relaxed), 2);
    let error = client.explain(sql("a poison")).await.expect_err("nobody survives it");
    assert!(matches!(error, ClientError::Broken { .. }), "{error}");
    assert_eq!(scripts.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_that_was_passed_on_counts_and_one_that_was_never_there_does_not() {
    let (client, cluster, _) = connected(&["b:1"]).await;
    let broke = || {
        let mut status = Status::unavailable("the process that knows did not answer");
        status.metadata_mut().insert(thalweg_proto::BROKE_KEY, "1".parse().expect("it is text"));
        status
    };
    cluster.state.lock().expect("nobody panics").fails = vec![broke()];
    client.submit(sql("SELECT 1")).await.expect("it is repeated once");
    cluster.state.lock().expect("nobody panics").fails = vec![broke(), broke(), broke()];
    let error = client.submit(sql("SELECT 1")).await.expect_err("not twice");
    assert!(matches!(error, ClientError::Broken { .. }), "{error}");
    assert_eq!(cluster.state.lock().expect("nobody panics").fails.len(), 1);
}

/// Answers whatever comes as a server of HTTP/1 does, or ends each connection without a word.
#[allow(clippy::disallowed_methods, reason = "a test's own tasks")]
async fn something_else(memory: &MemoryNetwork, address: &str, says: &'static [u8]) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut listener = memory.listen(address).await.expect("it is free");
    tokio::spawn(async move {
        while let Some(Ok(mut connection)) = listener.incoming.next().await {
            let _ = connection.read(&mut [0; 64]).await;
            let _ = connection.write_all(says).await;
            let _ = connection.shutdown().await;
        }
    });
}

#[tokio::test(start_paused = true)]
async fn an_address_where_no_coordinator_is_is_named_with_what_to_check() {
    for says in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let memory = Arc::new(MemoryNetwork::default());
        something_else(&memory, "http:1", says).await;
        let config = ClientConfig { coordinators: vec!["http:1".to_owned()], ..ClientConfig::default() };
        let error = Client::connect(config, memory, Arc::new(Counting::default())).await.expect_err("nobody is there");
        let told = error.to_string();
        let expected = "It seems that no Thalweg coordinator is at http:1; check the address, which a coordinator has for --listen";
        assert!(told.starts_with("no coordinator answered: http:1: ") && told.contains(expected), "{told}");
    }
    let (client, cluster, _) = connected(&["a:1"]).await;
    cluster.state.lock().expect("nobody panics").fails = vec![Status::unimplemented("")];
    let told = client.jobs().await.expect_err("a node is there").to_string();
    let expected =
        "no Thalweg coordinator of this version answers at a:1 (it knows no such request); check the address";
    assert!(told.starts_with(expected), "{told}");
}
