//! Shared by this crate's tests: a context with its own clock and tasks, and functions that read a whole source.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use arrow::{
    array::RecordBatch,
    compute::concat_batches,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use async_trait::async_trait;
use object_store::memory::InMemory;
use thalweg_types::{
    Attempt, CheckpointId, ClusterId, JobId, OperatorId, Split,
    connector::TableConnector,
    graph::{OperatorIdentity, SinkOperator, SourceOperator},
    seam::{Clock, Entropy, Seams, Spawner, TaskFuture, TaskHandle},
    settings::JobSettings,
};

use crate::{
    CheckpointStore, CommitterIdentity, CommonTables, ConnectorContext, ConnectorError, DeadLetter, DecodingShare,
    Epochs, Notices, ObjectStores, Read, SinkCommitter, SinkIdentity, SinkSubtask, SinkWriter, Source, SourceIdentity,
    StandardOutput,
    http_client::{HttpAnswer, HttpClient, HttpRequest},
    ingest::IngestRegistry,
    json::{JsonWriter, timestamp::TimestampForm},
};

/// A clock that follows the runtime's timers, which tests pause.
#[derive(Debug)]
pub(crate) struct TestClock(tokio::time::Instant);

impl TestClock {
    #[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
    fn new() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for TestClock {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn unix_time(&self) -> Duration {
        Duration::from_secs(1_767_225_600) + self.0.elapsed()
    }
}

/// Entropy that counts up from a fixed number.
#[derive(Debug, Default)]
struct FixedEntropy(std::sync::atomic::AtomicU64);

impl Entropy for FixedEntropy {
    fn next(&self) -> u64 {
        0x0123_4567_89ab_cdef + self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct TestSpawner;

#[derive(Debug)]
struct TestTask(tokio::task::JoinHandle<()>);

impl TaskHandle for TestTask {
    fn abort(&self) {
        self.0.abort();
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Spawner for TestSpawner {
    #[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
    fn spawn(&self, _: &str, task: TaskFuture) -> Box<dyn TaskHandle> {
        Box::new(TestTask(tokio::spawn(task)))
    }
}

/// Keeps everything printed.
#[derive(Debug, Default)]
pub(crate) struct Printed(pub(crate) Mutex<Vec<u8>>);

impl StandardOutput for Printed {
    fn write_lines(&self, lines: &[u8]) -> io::Result<()> {
        self.0.lock().expect("no panics").extend_from_slice(lines);
        Ok(())
    }
}

/// Answers requests from a script of statuses (last one first), then with 200; keeps the bodies.
#[derive(Debug, Default)]
pub(crate) struct ScriptedServer {
    pub(crate) statuses: Mutex<Vec<u16>>,
    pub(crate) bodies: Mutex<Vec<String>>,
}

#[async_trait]
impl HttpClient for ScriptedServer {
    async fn send(&self, request: HttpRequest) -> Result<HttpAnswer, Box<dyn std::error::Error + Send + Sync>> {
        let body = String::from_utf8(request.body.to_vec())?;
        self.bodies.lock().expect("no panics").push(body);
        let status = self.statuses.lock().expect("no panics").pop().unwrap_or(200);
        match status {
            0 => Err("connection refused".into()),
            status => Ok(HttpAnswer { status, retry_after: None, body: "because".into(), is_cut: false }),
        }
    }
}

/// A context. Needs a running tokio runtime.
pub(crate) fn context() -> ConnectorContext {
    let spawner = Arc::new(TestSpawner);
    ConnectorContext {
        seams: Seams {
            clock: Arc::new(TestClock::new()),
            entropy: Arc::new(FixedEntropy::default()),
            io: spawner.clone(),
            compute: spawner,
        },
        stdin: None,
        stdout: Arc::new(Printed::default()),
        ingest: IngestRegistry::default(),
        http: Arc::new(ScriptedServer::default()),
        stores: ObjectStores::default(),
        notices: Notices::default(),
        resent: crate::ResentRecords::default(),
        allowed: crate::AllowedPaths::everywhere(),
        kafka: None,
        kinesis: None,
        kept: crate::KeptSessions::default(),
        secrets: Arc::new(crate::NoSecrets),
    }
}

pub(crate) fn settings(batch_rows: usize) -> JobSettings {
    JobSettings { batch_rows, ..JobSettings::parse(&BTreeMap::new()).expect("defaults are valid") }
}

pub(crate) fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
    Arc::new(Schema::new(
        fields
            .iter()
            .map(|(name, data_type, nullable)| Field::new(*name, data_type.clone(), *nullable))
            .collect::<Vec<_>>(),
    ))
}

pub(crate) fn connector(name: &str, options: &[(&str, &str)]) -> TableConnector {
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    TableConnector { name: name.to_owned(), options, secrets: BTreeMap::new() }
}

pub(crate) fn source(name: &str, options: &[(&str, &str)], physical: SchemaRef) -> SourceOperator {
    SourceOperator {
        table: "t".to_owned(),
        connector: connector(name, options),
        physical,
        predicates: Vec::new(),
        projection: None,
        watermark: None,
    }
}

pub(crate) fn sink(name: &str, options: &[(&str, &str)]) -> SinkOperator {
    SinkOperator { table: "t".to_owned(), connector: connector(name, options), partition_by: Vec::new() }
}

pub(crate) fn cluster() -> ClusterId {
    ClusterId("c1".to_owned())
}

pub(crate) fn identity(job: u64, attempt: u32, subtask: u32) -> SinkIdentity {
    let sink = OperatorIdentity(7);
    SinkIdentity { cluster: cluster(), job: JobId(job), attempt: Attempt(attempt), sink, subtask }
}

/// Of a committer that keeps no progress of its own.
pub(crate) const EPOCHS: Epochs =
    Epochs { attempt: Attempt(1), publishing: CheckpointId(1), published: None, complete: CheckpointId(1) };

/// Opens a writer that finds the checkpoints in memory.
pub(crate) fn open_sink_writer(
    spec: &SinkOperator,
    schema: SchemaRef,
    identity: SinkIdentity,
    context: &ConnectorContext,
) -> Result<Box<dyn SinkWriter>, ConnectorError> {
    let (store, _) = checkpoints();
    crate::open_sink_writer(
        spec,
        schema,
        SinkSubtask {
            identity,
            store,
            memory_bytes: 1 << 20,
            inline_bytes: 1 << 20,
            epoch_bytes: 1 << 30,
            subtasks: 1,
        },
        context,
    )
}

/// Opens a committer of job 1 that finds the checkpoints nowhere.
pub(crate) fn open_sink_committer(
    spec: &SinkOperator,
    schema: SchemaRef,
    context: &ConnectorContext,
) -> Result<Box<dyn SinkCommitter>, ConnectorError> {
    let SinkIdentity { cluster, job, sink, .. } = identity(1, 1, 0);
    let (_, checkpoints) = checkpoints();
    let identity = CommitterIdentity { cluster, job, sink, checkpoints: checkpoints.to_owned(), memory_bytes: 1 << 20 };
    crate::open_sink_committer(spec, schema, identity, context)
}

/// A store of checkpoints in memory, and its URL.
fn checkpoints() -> (CheckpointStore, &'static str) {
    let place = "memory://checkpoints";
    let stores = ObjectStores::default().with_store(place, Arc::new(InMemory::new()));
    (CheckpointStore::open(place, &stores).expect("it is registered"), place)
}

/// A source's identity, with this much memory for decoding.
pub(crate) fn source_identity(decoding_bytes: u64) -> SourceIdentity {
    SourceIdentity {
        cluster: cluster(),
        job: JobId(1),
        attempt: Attempt(1),
        source: OperatorId(0),
        identity: OperatorIdentity(0),
        store: checkpoints().0,
        takes_checkpoints: false,
        check: None,
        decoding: DecodingShare::new(decoding_bytes),
        common: CommonTables::default(),
    }
}

/// Seals, and waits until everything is durable.
pub(crate) async fn seal(writer: &mut dyn SinkWriter) -> Vec<serde_json::Value> {
    writer.seal().await.expect("sealed").await.expect("durable")
}

/// What a source returned.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) letters: Vec<DeadLetter>,
}

impl Given {
    pub(crate) fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// All rows as JSON lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.batches.iter().flat_map(to_lines).collect()
    }

    pub(crate) fn sorted_lines(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.sort_unstable();
        lines
    }

    pub(crate) fn batch(&self) -> RecordBatch {
        let schema = self.batches[0].schema();
        concat_batches(&schema, &self.batches).expect("batches of one schema")
    }
}

pub(crate) fn to_lines(batch: &RecordBatch) -> Vec<String> {
    let writer = JsonWriter::new(&batch.schema(), TimestampForm::Sql).expect("types can be written");
    let mut text = Vec::new();
    writer.write(batch, &mut text).expect("rows can be written");
    String::from_utf8(text).expect("JSON is UTF-8").lines().map(str::to_owned).collect()
}

/// Reads a split to its end.
pub(crate) async fn read_split(source: &dyn Source, split: &Split, given: &mut Given) -> Result<(), ConnectorError> {
    let mut reader = source.open(split).await?;
    loop {
        match reader.next().await? {
            Read::Idle | Read::Waiting | Read::CaughtUp => {}
            Read::End => return Ok(()),
            Read::Records { batch, dead_letters } => {
                given.batches.push(batch);
                given.letters.extend(dead_letters);
            }
        }
    }
}

/// Reads all splits one after the other.
pub(crate) async fn read_all(source: &dyn Source) -> Result<Given, ConnectorError> {
    let mut given = Given::default();
    for split in source.discover().await? {
        read_split(source, &split, &mut given).await?;
    }
    Ok(given)
}

/// Reads all splits; after every batch, reopens the split at the reader's position.
pub(crate) async fn read_all_resuming(source: &dyn Source) -> Result<Given, ConnectorError> {
    let mut given = Given::default();
    for mut split in source.discover().await? {
        loop {
            let mut reader = source.open(&split).await?;
            let Read::Records { batch, dead_letters } = reader.next().await? else { break };
            given.batches.push(batch);
            given.letters.extend(dead_letters);
            split = reader.position();
        }
    }
    Ok(given)
}
