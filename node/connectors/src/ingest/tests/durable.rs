//! Acknowledged records are read exactly once, whatever fails in between.

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
use thalweg_storage::{
    CheckpointStore, ObjectStores,
    ingest_log::{self, LogPosition, SegmentNumber},
    names,
};
use thalweg_types::{
    Attempt, JobId, KeyGroupTable, OperatorId, Split, SubtaskId,
    checkpoint::{
        MANIFEST_FORMAT, Manifest, RecordCounts, SnapshotCost, SourceSnapshot, SplitProgress, SubtaskSnapshot,
    },
    seam::Clock,
};

use super::*;
use crate::{ConnectorError, RecordCheck, Source, SourceIdentity, open_source_of, testing::cluster};

/// How a put fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fault {
    #[default]
    None,
    /// It is not done, and returns an error.
    Refused,
    /// It is done, but returns an error as if there were no answer.
    Ambiguous,
    /// It is not done, and never returns.
    Hangs,
}

/// An in-memory store with faulty puts.
#[derive(Debug, Default)]
struct FaultyStore {
    inner: InMemory,
    fault: Mutex<Fault>,
    /// The next listing is empty.
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

/// A job's checkpoint store. Each attempt runs on a node of its own, with its own paths.
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
            store: self.store.clone(),
            takes_checkpoints,
            check: self.check.clone(),
            decoding: crate::DecodingShare::new(1 << 30),
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
        names::ingest_folder(&cluster(), JobId(1), SOURCE, &split.id)
    }

    async fn numbers(&self) -> Vec<u64> {
        let listed = self.store.list("").await.expect("it is listed");
        listed.iter().map(|object| names::segment_of(&object.name).expect("segments alone").1.0).collect()
    }

    /// Deletes what a leader that keeps these positions would delete.
    async fn collect(&self, kept: &[&Split]) {
        let manifests: Vec<Manifest> = kept.iter().map(|split| manifest(split)).collect();
        let listed = self.store.list("").await.expect("it is listed").into_iter().map(|object| object.name).collect();
        self.store.delete(&ingest_log::unneeded(listed, &manifests)).await.expect("it is deleted");
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
        subtasks: vec![snapshot],
    }
}

impl Running {
    async fn post(&self, key: &str, body: &str) -> (u16, String) {
        post_with(&self.context, key, body).await
    }

    /// The numbers that can be read now.
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
            Read::Idle | Read::Waiting => panic!("it never says so"),
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

/// Sends a request in a task of its own.
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
async fn the_key_of_a_request_without_records_is_remembered() {
    let rig = Rig::new();
    let mut first = rig.start().await;
    let position = first.reader.position();
    for (key, body) in [("k", "[]"), ("l", "")] {
        assert_eq!(first.post(key, body).await, ok(0));
        assert_eq!(first.post(key, body).await, ok(0));
        assert_eq!(first.post(key, &record(1)).await.0, 422);
    }
    assert_eq!(first.post("", &record(2)).await, ok(1));
    assert_eq!(first.read_batch().await, Some(vec![2]));
    drop(first);
    let mut second = rig.open(2, &position).await;
    assert_eq!(second.post("k", &record(1)).await.0, 422);
    assert_eq!(second.post("l", "").await, ok(0));
    assert_eq!(second.read_batch().await, Some(vec![2]));
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
    // Without a checkpoint it starts from the beginning.
    let (_, source) = rig.source(4, true);
    let mut fourth = rig.open(4, &source.discover().await.expect("one path")[0]).await;
    assert_eq!(fourth.read().await, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_with_the_same_key_is_answered_again_and_adds_nothing() {
    let rig = Rig::new();
    let mut first = rig.start().await;
    let start = first.reader.position();
    let body = "{\"a\":1}\n{\"a\":2}\n";
    assert_eq!(first.post("k", body).await, ok(2));
    assert_eq!(first.post("k", body).await, ok(2));
    assert_eq!(first.post("other", body).await, ok(2), "it is another request");
    let (status, reason) = first.post("k", &record(3)).await;
    assert_eq!((status, reason.as_str()), (422, "this Idempotency-Key came before, with another body\n"));
    assert_eq!(first.post(&"k".repeat(256), body).await.0, 400);
    assert_eq!(first.read().await, [1, 2, 1, 2]);
    let read = first.reader.position();
    drop(first);

    // The same after a restart, from before the records and from behind them.
    let mut second = rig.open(2, &start).await;
    assert_eq!(second.post("k", body).await, ok(2));
    assert_eq!(second.read().await, [1, 2, 1, 2]);
    drop(second);
    rig.collect(&[&read]).await;
    let mut third = rig.open(3, &read).await;
    assert_eq!(third.post("k", body).await, ok(2));
    assert_eq!(third.post("k", &record(3)).await.0, 422);
    assert_eq!(third.read().await, [0; 0]);

    // For the stated time, and no longer.
    tokio::time::advance(RETENTION).await;
    assert_eq!(third.post("k", &record(3)).await, ok(1));
    assert_eq!(third.read().await, [3]);
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

/// A node's clock that is wrong by a fixed duration.
#[derive(Debug)]
struct Wrong(Arc<dyn Clock>, Duration);

impl Clock for Wrong {
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn since_epoch(&self) -> Duration {
        self.0.since_epoch() + self.1
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_promised_for_as_long_on_nodes_whose_clocks_are_wrong() {
    let mut rig = Rig::new();
    let right = rig.clock.seams.clock.clone();
    let mut first = rig.start().await;
    assert_eq!(first.post("k", &record(1)).await, ok(1));
    assert_eq!(first.read().await, [1]);
    let read = first.reader.position();
    drop(first);
    // Hours ahead, then correct again, which is hours behind the one before.
    for (attempt, ahead) in [(2, Duration::from_secs(5 * 3600)), (3, Duration::ZERO)] {
        rig.clock.seams.clock = Arc::new(Wrong(right.clone(), ahead));
        let mut later = rig.open(attempt, &read).await;
        assert_eq!(later.post("k", &record(1)).await, ok(1));
        assert_eq!(later.read().await, [0; 0], "it is the same request");
        tokio::time::advance(RETENTION / 2).await;
        assert_eq!(later.post("k", &record(1)).await, ok(1));
        assert_eq!(later.read().await, [0; 0], "the clock of the log stood still in between");
    }
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
    // The first request gives up; another one that waits for the same key gets the same answer.
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
    // The same request again, next to a new one.
    rig.faults.set(Fault::None);
    let (again, new) = (post_beside(&running, "k", "{\"a\":1}\n"), post_beside(&running, "", "{\"a\":2}\n"));
    assert_eq!((again.await.expect("no panic"), new.await.expect("no panic")), (ok(1), ok(1)));
    assert_eq!(running.read().await, [1, 2]);
    // The next attempt finds it too.
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
async fn a_key_that_is_found_with_another_body_is_refused() {
    let rig = Rig::new();
    let mut running = rig.start().await;
    rig.faults.set(Fault::Ambiguous);
    assert_eq!(running.post("k", &record(1)).await.0, 503);
    rig.faults.set(Fault::None);
    assert_eq!(running.post("k", &record(2)).await.0, 422, "the first has turned out to be taken");
    assert_eq!(running.read().await, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_writer_whose_log_was_sealed_acknowledges_nothing_more() {
    let rig = Rig::new();
    let mut zombie = rig.start().await;
    assert_eq!(zombie.post("", &record(1)).await, ok(1));
    assert_eq!(zombie.read().await, [1]);
    let checkpoint = zombie.reader.position();
    let mut next = rig.open(2, &checkpoint).await;
    let (status, reason) = zombie.post("k", &record(2)).await;
    assert_eq!(status, 503);
    assert!(reason.contains("attempt-2 has taken it over"), "{reason}");
    assert_eq!(zombie.post("k", &record(2)).await.0, 503, "and so on");
    assert!(zombie.reader.next().await.is_err(), "it says so");
    assert_eq!(next.post("k", &record(2)).await, ok(1));
    assert_eq!(next.read().await, [2]);
    let error = rig.try_open(1, &checkpoint).await.err().expect("it is over");
    assert_eq!(error.failure_kind(), thalweg_types::job::FailureKind::Store);
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_comes_back_after_its_segments_were_collected_is_fenced() {
    let rig = Rig::new();
    let mut zombie = rig.start().await;
    assert_eq!(zombie.post("", &record(1)).await, ok(1));
    assert_eq!(zombie.read().await, [1]);
    let mut next = rig.open(2, &zombie.reader.position()).await;
    for n in 2..6 {
        assert_eq!(next.post("", &record(n)).await, ok(1));
    }
    assert_eq!(next.read().await, [2, 3, 4, 5]);
    let position = next.reader.position();
    rig.collect(&[&position]).await;
    assert_eq!(rig.numbers().await, [1, 3, 7], "the seals, and the last segment that was read");
    assert_eq!(zombie.post("", &record(9)).await.0, 503);
    assert_eq!(next.post("", &record(6)).await, ok(1));
    assert_eq!(next.read().await, [6]);

    // An attempt that listed the log long ago finds a number that is free again, and then the seal of a later attempt.
    let log = ingest_log::IngestLog::new(rig.store.clone(), rig.folder(&position));
    let third = rig.open(3, &next.reader.position()).await;
    rig.collect(&[&third.reader.position()]).await;
    let stale = LogPosition { segment: SegmentNumber(5), row: 0, keep: SegmentNumber(5), seals: Vec::new() };
    let split = Split { payload: stale.to_payload(), ..position };
    rig.faults.is_stale.store(true, Relaxed);
    let error = rig.try_open(2, &split).await.err().expect("it is over");
    assert!(thalweg_types::text::with_causes(&error).contains("a newer attempt has taken the log over"));
    assert!(log.list().await.expect("listed").contains_key(&SegmentNumber(3)));
}

#[tokio::test(start_paused = true)]
async fn segments_stay_while_a_checkpoint_or_a_promise_needs_them() {
    let rig = Rig::new();
    let mut running = rig.start().await;
    let mut positions = Vec::new();
    for n in 1..=4 {
        let key = if n == 2 { "k" } else { "" };
        assert_eq!(running.post(key, &record(n)).await, ok(1));
        assert_eq!(running.read().await, [n]);
        positions.push(running.reader.position());
    }
    assert_eq!(rig.numbers().await, [1, 2, 3, 4, 5]);
    rig.collect(&[&positions[0], &positions[3]]).await;
    assert_eq!(rig.numbers().await, [1, 2, 3, 4, 5], "an older checkpoint is kept");
    rig.collect(&[&positions[3]]).await;
    assert_eq!(rig.numbers().await, [1, 3, 4, 5], "a key is promised");
    tokio::time::advance(RETENTION).await;
    rig.collect(&[&running.reader.position()]).await;
    assert_eq!(rig.numbers().await, [1, 5]);
    rig.collect(&[]).await;
    assert_eq!(rig.numbers().await, [0; 0], "the job is over");
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_an_error_and_a_torn_last_segment_is_left_out() {
    let rig = Rig::new();
    let mut running = rig.start().await;
    let start = running.reader.position();
    for n in 1..=3 {
        assert_eq!(running.post("", &record(n)).await, ok(1));
    }
    assert_eq!(running.read().await, [1, 2, 3]);
    drop(running);
    let torn = Path::from(names::segment(&rig.folder(&start), SegmentNumber(5)));
    rig.faults.inner.put(&torn, Bytes::from_static(&[0; 100]).into()).await.expect("put");
    let mut next = rig.open(2, &start).await;
    assert_eq!(next.read().await, [1, 2, 3]);
    drop(next);
    let mut next = rig.open(3, &start).await;
    assert_eq!(next.read().await, [1, 2, 3]);
    drop(next);
    let lost = Path::from(names::segment(&rig.folder(&start), SegmentNumber(3)));
    rig.faults.inner.delete(&lost).await.expect("deleted");
    let error = rig.try_open(4, &start).await.err().expect("a segment is missing").to_string();
    assert!(error.contains("000000000003.segment"), "{error}");
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
    // An existing log is continued.
    let logged = rig.start().await;
    assert_eq!(logged.post("", &record(2)).await, ok(1));
    drop((running, logged));
    let position = Split { payload: LogPosition::START.to_payload(), ..split };
    let (context, source) = rig.source(2, false);
    let reader = source.open(&position).await.expect("opened");
    let mut running = Running { context, source, reader };
    assert_eq!(running.read().await, [2]);
}
