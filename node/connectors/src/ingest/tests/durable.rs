//! What was acknowledged is read exactly once, whatever fails between.

use std::{
    fmt,
    ops::Range,
    sync::Mutex,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use arrow::{
    array::{AsArray as _, RecordBatch},
    datatypes::Int64Type,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, memory::InMemory, path::Path,
};
use thalweg_ingest_log::{
    IngestLog, LogName, LogPosition, SegmentNumber, ingest_folder, segment_name, segment_of, unneeded,
};
use thalweg_storage::{CheckpointStore, ObjectStores};
use thalweg_types::{
    Attempt, JobId, KeyGroupTable, OperatorId, Split, SubtaskId,
    checkpoint::{
        MANIFEST_FORMAT, Manifest, RecordCounts, SnapshotCost, SourceSnapshot, SplitProgress, SubtaskSnapshot,
    },
    graph::OperatorIdentity,
    seam::Clock,
};

use super::*;
use crate::{ConnectorError, RecordCheck, Source, SourceIdentity, open_source_of, testing::cluster};

mod keys;
mod takeover;

/// What becomes of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fault {
    #[default]
    None,
    /// It is not done, and an error says so.
    Refused,
    /// It is done, and an error says that there was no answer.
    Ambiguous,
    /// It is neither done nor answered.
    Hangs,
}

/// A store in memory whose puts have faults.
#[derive(Debug, Default)]
struct FaultyStore {
    inner: InMemory,
    fault: Mutex<Fault>,
    /// The next list has nothing.
    is_stale: AtomicBool,
}

impl FaultyStore {
    fn set(&self, fault: Fault) {
        *self.fault.lock().expect("no panics") = fault;
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

type StoreResult<T> = object_store::Result<T>;

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        let fault = *self.fault.lock().expect("no panics");
        let failed = || Error::Generic { store: "faulty", source: "no answer".into() };
        match fault {
            Fault::None => self.inner.put_opts(location, payload, opts).await,
            Fault::Refused => Err(failed()),
            Fault::Ambiguous => {
                let _ = self.inner.put_opts(location, payload, opts).await;
                Err(failed())
            }
            Fault::Hangs => std::future::pending().await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        match self.is_stale.swap(false, Relaxed) {
            true => futures::stream::empty().boxed(),
            false => self.inner.list(prefix),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A job's place for checkpoints; each attempt has a node, with paths of its own.
struct Rig {
    faults: Arc<FaultyStore>,
    store: CheckpointStore,
    options: Vec<(&'static str, &'static str)>,
    clock: ConnectorContext,
    check: Option<RecordCheck>,
}

/// An attempt on a node.
struct Running {
    context: ConnectorContext,
    source: Box<dyn Source>,
    reader: Box<dyn SplitReader>,
}

const SOURCE: OperatorId = OperatorId(7);
const IDENTITY: OperatorIdentity = OperatorIdentity(0xfeed);
const RETENTION: Duration = Duration::from_secs(60);

impl Rig {
    fn new() -> Self {
        let faults = Arc::new(FaultyStore::default());
        let stores = ObjectStores::default().with_store("memory://test", faults.clone());
        let store = CheckpointStore::open("memory://test", &stores).expect("it is registered");
        Self { faults, store, options: vec![("idempotency.retention", "60 s")], clock: context(), check: None }
    }

    fn source(&self, attempt: u32, takes_checkpoints: bool) -> (ConnectorContext, Box<dyn Source>) {
        let mut context = context();
        context.seams = self.clock.seams.clone();
        let identity = SourceIdentity {
            cluster: cluster(),
            job: JobId(1),
            attempt: Attempt(attempt),
            source: SOURCE,
            identity: IDENTITY,
            store: self.store.clone(),
            takes_checkpoints,
            check: self.check.clone(),
            decoding: crate::DecodingShare::new(1 << 30),
            common: crate::CommonTables::default(),
        };
        let spec = source("http", &self.options, columns());
        let source = open_source_of(identity, &spec, &settings(2), &context).expect("the options are sound");
        (context, source)
    }

    async fn try_open(&self, attempt: u32, split: &Split) -> Result<Running, ConnectorError> {
        let (context, source) = self.source(attempt, true);
        let reader = source.open(split).await?;
        Ok(Running { context, source, reader })
    }

    async fn open(&self, attempt: u32, split: &Split) -> Running {
        self.try_open(attempt, split).await.expect("opened")
    }

    async fn start(&self) -> Running {
        let (_, source) = self.source(1, true);
        self.open(1, &source.discover().await.expect("it is one path")[0]).await
    }

    fn folder(&self, split: &Split) -> String {
        self.folder_of(&LogName::of(IDENTITY, &split.id))
    }

    fn folder_of(&self, log: &LogName) -> String {
        ingest_folder(&cluster(), JobId(1), log)
    }

    async fn numbers(&self) -> Vec<u64> {
        let listed = self.store.list("").await.expect("it is listed");
        listed.iter().map(|object| segment_of(&object.name).expect("segments alone").1.0).collect()
    }

    /// Deletes what a leader would that keeps these positions.
    async fn collect(&self, kept: &[&Split]) {
        let manifests: Vec<Manifest> = kept.iter().map(|split| manifest(split)).collect();
        let listed = self.store.list("").await.expect("it is listed").into_iter().map(|object| object.name).collect();
        self.store.delete(&unneeded(listed, &manifests)).await.expect("it is deleted");
    }
}

fn manifest(split: &Split) -> Manifest {
    let snapshot = SubtaskSnapshot {
        subtask: SubtaskId::default(),
        is_finished: false,
        operators: Vec::new(),
        source: Some(SourceSnapshot { source: SOURCE, splits: vec![SplitProgress::unread(split.clone())] }),
        in_flight: Vec::new(),
        objects: Vec::new(),
        counts: RecordCounts::default(),
        prepared: Vec::new(),
        cost: SnapshotCost::default(),
    };
    Manifest {
        format: MANIFEST_FORMAT,
        cluster: cluster(),
        job: JobId(1),
        attempt: Attempt(1),
        checkpoint: thalweg_types::CheckpointId(1),
        key_groups: KeyGroupTable::even(2, 1),
        parallelism: 1,
        graph: None,
        subtasks: vec![snapshot],
    }
}

impl Running {
    async fn post(&self, key: &str, body: &str) -> (u16, String) {
        post_with(&self.context, key, body).await
    }

    /// The numbers that are there to be read.
    async fn read(&mut self) -> Vec<i64> {
        let mut read = Vec::new();
        while let Some(batch) = self.read_batch().await {
            read.extend(batch);
        }
        read
    }

    async fn read_batch(&mut self) -> Option<Vec<i64>> {
        let next = tokio::time::timeout(Duration::from_millis(10), self.reader.next()).await.ok()?;
        match next.expect("readable") {
            Read::Records { batch, .. } => {
                let digits =
                    |line: &String| line.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number");
                Some(to_lines(&batch).iter().map(digits).collect())
            }
            Read::Idle | Read::Waiting | Read::CaughtUp => panic!("it never says so"),
            Read::End => None,
        }
    }
}

async fn post_with(context: &ConnectorContext, key: &str, body: &str) -> (u16, String) {
    let mut request = Request::post("/ingest/t");
    if !key.is_empty() {
        request = request.header("Idempotency-Key", key);
    }
    let request = request.body(Body::from(body.to_owned())).expect("a request");
    let answer = ingest_router(context.ingest.clone(), None).oneshot(request).await.expect("an answer");
    let status = answer.status().as_u16();
    assert_eq!(answer.headers().contains_key("retry-after"), matches!(status, 429 | 503));
    let body = to_bytes(answer.into_body(), 10_000).await.expect("a body");
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

/// A request that goes on beside the test.
fn post_beside(running: &Running, key: &'static str, body: &'static str) -> JoinHandle<(u16, String)> {
    let context = running.context.clone();
    #[allow(clippy::disallowed_methods, reason = "a test's own task")]
    tokio::spawn(async move { post_with(&context, key, body).await })
}

fn record(n: i64) -> String {
    format!("{{\"a\":{n}}}\n")
}

fn ok(rows: u64) -> (u16, String) {
    (200, format!("{{\"accepted\":{rows},\"durable\":true}}\n"))
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_is_read_again_from_the_position_of_the_checkpoint() {
    let rig = Rig::new();
    let mut first = rig.start().await;
    assert_eq!(first.post("", "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n").await, ok(3));
    assert_eq!(first.post("", "[{\"a\":4},{\"a\":5}]").await, ok(2));
    assert_eq!(first.read_batch().await, Some(vec![1, 2]));
    let checkpoint = first.reader.position();
    assert_eq!(first.post("", &record(6)).await, ok(1));
    assert_eq!(first.read().await, [3, 4, 5, 6]);
    assert_eq!(first.post("", &record(7)).await, ok(1));
    drop(first);

    let mut second = rig.open(2, &checkpoint).await;
    assert_eq!(second.post("", &record(8)).await, ok(1));
    assert_eq!(second.read().await, [3, 4, 5, 6, 7, 8]);
    let later = second.reader.position();
    drop(second);
    let mut third = rig.open(3, &later).await;
    assert_eq!(third.read().await, [0; 0]);
    drop(third);
    // No checkpoint at all: from the beginning.
    let (_, source) = rig.source(4, true);
    let mut fourth = rig.open(4, &source.discover().await.expect("one path")[0]).await;
    assert_eq!(fourth.read().await, [1, 2, 3, 4, 5, 6, 7, 8]);
}

/// A segment as an older release wrote it: number 12, of the log by the source's index.
const OLDER_SEGMENT: &[u8] = include_bytes!("../../../../../proto/ingest-log/src/tests/golden/1.segment");

/// Older releases named a log by the source's index, and their positions did not tell.
#[tokio::test(start_paused = true)]
async fn a_log_by_the_index_of_its_source_goes_on_being_used() {
    let rig = Rig::new();
    let (_, source) = rig.source(1, true);
    let split = source.discover().await.expect("one path").remove(0);
    let by_index = rig.folder_of(&LogName::by_index(SOURCE, &split.id));
    let name = segment_name(&by_index, SegmentNumber(12));
    rig.store.put_state(&name, Bytes::from_static(OLDER_SEGMENT).into()).await.expect("it is put");
    let payload = serde_json::json!({"ingest-log": {"segment": 12, "row": 1, "keep": 12, "seals": [1]}});
    let mut fourth = rig.open(4, &Split { payload, ..split.clone() }).await;
    assert_eq!(fourth.read().await, [2, 3], "what lies behind the position");
    assert_eq!(fourth.post("k-1", "{\"a\":1}\n{\"a\":2}\n").await, ok(2), "the key is remembered");
    assert_eq!(fourth.post("", &record(4)).await, ok(1));
    assert_eq!(fourth.read().await, [4]);
    let position = fourth.reader.position();
    drop(fourth);
    assert_eq!(rig.numbers().await, [12, 13, 14]);
    let log = IngestLog::new(rig.store.clone(), by_index);
    assert_eq!(log.list().await.expect("listed").len(), 3, "all in the same log");
    let mut fifth = rig.open(5, &position).await;
    assert_eq!(fifth.post("", &record(5)).await, ok(1));
    assert_eq!(fifth.read().await, [5]);
    rig.collect(&[&fifth.reader.position()]).await;
    assert_eq!(
        log.list().await.expect("listed").into_keys().map(|number| number.0).collect::<Vec<_>>(),
        [12, 13, 14, 15, 16]
    );
}

#[tokio::test(start_paused = true)]
async fn a_log_that_an_older_release_began_is_read_though_no_checkpoint_tells_of_it() {
    let rig = Rig::new();
    let (_, source) = rig.source(1, true);
    let split = source.discover().await.expect("one path").remove(0);
    // What an older release does at its first attempt.
    let payload = serde_json::json!({"ingest-log": {"segment": 1, "row": 0, "keep": 1, "seals": []}});
    let mut first = rig.open(1, &Split { payload, ..split.clone() }).await;
    assert_eq!(first.post("", &record(1)).await, ok(1));
    assert_eq!(first.read().await, [1]);
    drop(first);
    let mut second = rig.open(2, &split).await;
    assert_eq!(second.post("", &record(2)).await, ok(1));
    assert_eq!(second.read().await, [1, 2]);
    let named = IngestLog::new(rig.store.clone(), rig.folder(&split));
    assert!(named.list().await.expect("listed").is_empty(), "there is one log, and it keeps its name");
}

#[tokio::test(start_paused = true)]
async fn what_the_job_could_not_process_is_refused_with_its_line_and_nothing_of_the_request_is_taken() {
    let mut rig = Rig::new();
    let is_seven = |batch: &RecordBatch| {
        let values = batch.column(0).as_primitive::<Int64Type>().values();
        values.iter().position(|value| *value == 7).map(|row| (row, "7 has no place".to_owned()))
    };
    rig.check = Some(RecordCheck(Arc::new(is_seven)));
    let mut running = rig.start().await;
    let (status, reason) = running.post("k", "{\"a\":1}\n\n{\"a\":7}\n").await;
    assert_eq!((status, reason.as_str()), (400, "line 3: 7 has no place\n"));
    let (status, reason) = running.post("k", "[{\"a\":1},\n{\"a\":7}]").await;
    assert_eq!((status, reason.as_str()), (400, "record 2: 7 has no place\n"));
    assert_eq!(running.post("k", &record(2)).await, ok(1), "the key was not taken either");
    assert_eq!(running.read().await, [2]);
}

#[tokio::test(start_paused = true)]
async fn what_arrives_during_a_put_goes_into_the_next_segment_together() {
    let rig = Rig::new();
    let mut running = rig.start().await;
    rig.faults.set(Fault::Hangs);
    let held = post_beside(&running, "a", "{\"a\":1}");
    settle().await;
    let others = [("b", "{\"a\":2}"), ("b", "{\"a\":2}"), ("", "{\"a\":3}"), ("a", "{\"a\":1}")];
    let others = others.map(|(key, body)| post_beside(&running, key, body));
    settle().await;
    assert!(!held.is_finished() && others.iter().all(|other| !other.is_finished()), "nothing is durable yet");
    rig.faults.set(Fault::None);
    // The first gives up; who waits for the same key hears the same.
    let (status, reason) = held.await.expect("no panic");
    assert_eq!((status, reason.as_str()), (503, "no answer of the object store in 10s\n"));
    let [b, again, plain, a] = others.map(|other| async { other.await.expect("no panic") });
    assert_eq!((b.await, again.await, plain.await, a.await.0), (ok(1), ok(1), ok(1), 503));
    assert_eq!(rig.numbers().await, [1, 2]);
    assert_eq!(running.read().await, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn without_the_store_nothing_is_acknowledged_and_it_goes_on_when_that_is_back() {
    let rig = Rig::new();
    let mut running = rig.start().await;
    rig.faults.set(Fault::Refused);
    for _ in 0..3 {
        let (status, reason) = running.post("k", &record(1)).await;
        assert!(status == 503 && reason.contains("no answer"), "{status} {reason}");
    }
    assert_eq!(running.read().await, [0; 0]);
    rig.faults.set(Fault::None);
    assert_eq!(running.post("k", &record(1)).await, ok(1));
    assert_eq!(running.read().await, [1]);
    assert_eq!(rig.numbers().await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_put_that_succeeded_with_an_error_is_found_and_not_doubled() {
    let rig = Rig::new();
    let mut running = rig.start().await;
    rig.faults.set(Fault::Ambiguous);
    assert_eq!(running.post("k", &record(1)).await.0, 503);
    // The very same once more, beside a new one.
    rig.faults.set(Fault::None);
    let (again, new) = (post_beside(&running, "k", "{\"a\":1}\n"), post_beside(&running, "", "{\"a\":2}\n"));
    assert_eq!((again.await.expect("no panic"), new.await.expect("no panic")), (ok(1), ok(1)));
    assert_eq!(running.read().await, [1, 2]);
    // It is found by the next attempt as well.
    rig.faults.set(Fault::Ambiguous);
    assert_eq!(running.post("l", &record(3)).await.0, 503);
    let checkpoint = running.reader.position();
    drop(running);
    rig.faults.set(Fault::None);
    let mut next = rig.open(2, &checkpoint).await;
    assert_eq!(next.post("l", &record(3)).await, ok(1));
    assert_eq!(next.read().await, [3]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_stopped_reads_what_was_acknowledged_and_takes_no_more() {
    let rig = Rig::new();
    let mut running = rig.start().await;
    assert_eq!(running.post("", &record(1)).await, ok(1));
    assert!(running.source.stop());
    let (status, reason) = running.post("", &record(2)).await;
    assert_eq!((status, reason.as_str()), (503, "the job is being stopped\n"));
    assert_eq!(running.read_batch().await, Some(vec![1]));
    assert!(matches!(running.reader.next().await, Ok(Read::End)));
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_pushes_back_before_anything_is_put() {
    let mut rig = Rig::new();
    rig.options.push(("buffer-size", "20 b"));
    let mut running = rig.start().await;
    assert_eq!(running.post("", "{\"a\":1}\n{\"a\":2}\n").await, ok(2));
    assert_eq!(running.post("", &record(3)).await, (429, "the buffer is full\n".to_owned()));
    assert_eq!(running.read().await, [1, 2]);
    assert_eq!(running.post("", &record(3)).await, ok(1));
    assert_eq!(rig.numbers().await, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn without_checkpoints_records_are_kept_in_memory_and_every_answer_says_so() {
    let rig = Rig::new();
    let (context, source) = rig.source(1, false);
    let split = source.discover().await.expect("one path").remove(0);
    let reader = source.open(&split).await.expect("opened");
    let mut running = Running { context, source, reader };
    let told = (200, "{\"accepted\":1,\"durable\":false}\n".to_owned());
    assert_eq!(running.post("k", &record(1)).await, told);
    assert_eq!(running.post("k", &record(1)).await, told, "keys are remembered as long as the records");
    assert_eq!(running.read().await, [1]);
    assert_eq!(running.reader.position(), split);
    assert_eq!(rig.numbers().await, [0; 0]);
    // Where there is a log already, it is gone on with.
    let logged = rig.start().await;
    assert_eq!(logged.post("", &record(2)).await, ok(1));
    drop((running, logged));
    let start = LogPosition { log: Some(LogName::of(IDENTITY, &split.id)), ..LogPosition::START };
    let position = Split { payload: start.to_payload(), ..split };
    let (context, source) = rig.source(2, false);
    let reader = source.open(&position).await.expect("opened");
    let mut running = Running { context, source, reader };
    assert_eq!(running.read().await, [2]);
}
