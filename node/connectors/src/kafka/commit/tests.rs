//! Exactly once, whatever goes wrong: a small job with the real writers and committers, on several nodes, against the model of a
//! cluster. A reader of committed records looks on all the while.

use std::collections::BTreeMap;

use arrow::{
    array::{Int64Array, RecordBatch, StringViewArray},
    datatypes::{DataType, SchemaRef},
};
use bytes::Bytes;
use thalweg_kafka::{
    Admin, ClientConfig, Fetched, Isolation, NewTopic, PartitionReader, TopicPartition,
    model::{ADDRESS, Call, Fault, ModelKafka},
};
use thalweg_types::{graph::SinkOperator, job::FailureKind};

use super::*;
use crate::{
    ConnectorContext, SinkSubtask, SinkWriter, open_sink_committer, open_sink_writer,
    testing::{cluster, context, identity, schema, seal, sink},
};

mod bugs;
mod crashes;
mod discord;
mod random;
mod sizes;
mod troubles;

const TOPIC: &str = "out";
const PARTITIONS: i32 = 3;
const PROGRESS: &str = "thalweg-sink-progress";
const CHECKPOINTS: &str = "memory://checkpoints";
const TIMEOUT: Duration = Duration::from_secs(60);

/// A cluster, and what all nodes have in common.
struct Rig {
    kafka: ModelKafka,
    context: ConnectorContext,
    spec: SinkOperator,
    looker: Looker,
    /// By attempt and subtask.
    writers: tokio::sync::Mutex<BTreeMap<(u32, u32), Box<dyn SinkWriter>>>,
}

/// A job as its leader sees it.
struct Job {
    attempt: u32,
    checkpoint: u64,
    published: Option<CheckpointId>,
    /// Complete and not published, with what was prepared.
    complete: Vec<(CheckpointId, Vec<Value>)>,
    /// All that complete checkpoints hold, by key.
    expected: BTreeMap<String, Vec<i64>>,
    next: i64,
}

/// Reads committed records as they come, and holds them against what may be there.
struct Looker {
    readers: Vec<Box<dyn PartitionReader>>,
    seen: BTreeMap<String, Vec<i64>>,
}

impl Looker {
    async fn new(kafka: &ModelKafka) -> Self {
        let config = client();
        let consumer = kafka.consumer(&config, Isolation::ReadCommitted).expect("opened");
        let mut readers = Vec::new();
        for partition in 0..PARTITIONS {
            let at = TopicPartition { topic: TOPIC.into(), partition };
            readers.push(consumer.read(&at, 0).await.expect("it is there"));
        }
        Self { readers, seen: BTreeMap::new() }
    }

    /// Reads all that can be read now.
    async fn look(&mut self) {
        for reader in &mut self.readers {
            while let Ok(Ok(Fetched::Records(records))) = timeout(Duration::from_millis(1), reader.next(100)).await {
                for record in records {
                    let member = |bytes: &Option<Bytes>, name: &str| {
                        let parsed: Value = serde_json::from_slice(bytes.as_ref().expect("some")).expect("it is JSON");
                        parsed[name].clone()
                    };
                    let key = member(&record.key, "id").as_str().expect("a text").to_owned();
                    assert_eq!(member(&record.value, "id").as_str(), Some(key.as_str()));
                    self.seen.entry(key).or_default().push(member(&record.value, "n").as_i64().expect("a number"));
                }
            }
        }
    }
}

fn client() -> ClientConfig {
    let properties = [("bootstrap.servers".to_owned(), ADDRESS.to_owned())].into();
    ClientConfig { properties, queue_bytes: 1 << 20, ..ClientConfig::default() }
}

fn columns() -> SchemaRef {
    schema(&[("id", DataType::Utf8View, true), ("n", DataType::Int64, true)])
}

fn rows(of: &[(String, i64)]) -> RecordBatch {
    let ids = StringViewArray::from_iter_values(of.iter().map(|(id, _)| id));
    let numbers = Int64Array::from_iter_values(of.iter().map(|(_, number)| *number));
    RecordBatch::try_new(columns(), vec![Arc::new(ids), Arc::new(numbers)]).expect("they fit")
}

/// A table of the topic, with these options too.
fn table(more: &[(&str, &str)]) -> SinkOperator {
    let given = [
        ("topic", TOPIC),
        ("properties.bootstrap.servers", ADDRESS),
        ("value.format", "json"),
        ("key.format", "json"),
        ("key.fields", "id"),
    ];
    sink("kafka", &[&given, more].concat())
}

fn committer_identity() -> CommitterIdentity {
    let own = identity(1, 1, 0);
    let (cluster, job, sink) = (own.cluster, own.job, own.sink);
    CommitterIdentity { cluster, job, sink, checkpoints: CHECKPOINTS.to_owned(), memory_bytes: 1 << 20 }
}

impl Rig {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(more: &[(&str, &str)]) -> Self {
        Self::of(more, &[]).await
    }

    /// With this configuration of the topic.
    async fn of_topic(config: &[(&str, &str)]) -> Self {
        Self::of(&[], config).await
    }

    async fn of(more: &[(&str, &str)], config: &[(&str, &str)]) -> Self {
        let mut context = context();
        let kafka = ModelKafka::new(&context.seams);
        context.kafka = Some(Arc::new(kafka.clone()));
        let memory = Arc::new(object_store::memory::InMemory::new());
        context.stores = ObjectStores::default().with_store(CHECKPOINTS, memory);
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let topic = NewTopic { name: TOPIC.to_owned(), partitions: PARTITIONS, replication: Some(2), config };
        assert!(admin(&kafka).create_topic(&topic).await.expect("created"));
        let looker = Looker::new(&kafka).await;
        Self { kafka, context, spec: table(more), looker, writers: tokio::sync::Mutex::default() }
    }

    /// What one node has: nothing is kept there yet.
    fn node(&self) -> ConnectorContext {
        ConnectorContext { kept: KeptSessions::default(), ..self.context.clone() }
    }

    fn store(&self) -> CheckpointStore {
        CheckpointStore::open(CHECKPOINTS, &self.context.stores).expect("it is registered")
    }

    fn writer(&self, attempt: u32, subtask: u32) -> Box<dyn SinkWriter> {
        let (identity, store) = (identity(1, attempt, subtask), self.store());
        let (memory_bytes, inline_bytes, epoch_bytes) = (1 << 20, 1 << 20, 1 << 30);
        let own = SinkSubtask { identity, store, memory_bytes, inline_bytes, epoch_bytes, subtasks: 1 };
        open_sink_writer(&self.spec, columns(), own, &self.context).expect("a writer")
    }

    fn committer(&self, node: &ConnectorContext) -> Box<dyn SinkCommitter> {
        open_sink_committer(&self.spec, columns(), committer_identity(), node).expect("a committer")
    }

    /// Carries out an order to publish the oldest complete checkpoint.
    async fn order(&self, job: &Job, node: &ConnectorContext) -> Result<(), ConnectorError> {
        let (publishing, prepared) = job.complete.first().expect("there is something to publish");
        self.commit(node, job.epochs(*publishing), prepared).await
    }

    async fn commit(&self, node: &ConnectorContext, epochs: Epochs, prepared: &[Value]) -> Result<(), ConnectorError> {
        self.committer(node).commit(epochs, prepared).await
    }

    /// Publishes all complete checkpoints, each on the node.
    async fn publish_all(&mut self, job: &mut Job, node: &ConnectorContext) {
        while !job.complete.is_empty() {
            self.order(job, node).await.expect("published");
            job.on_published();
        }
        self.check_all(job).await;
    }

    /// What is committed is, for each key, the beginning of what complete checkpoints hold.
    async fn check_seen(&mut self, job: &Job) {
        self.looker.look().await;
        for (key, seen) in &self.looker.seen {
            let expected = job.expected.get(key).map_or(&[][..], Vec::as_slice);
            assert!(expected.starts_with(seen), "{key}: {seen:?} of {expected:?}");
        }
    }

    /// All is published, once.
    async fn check_all(&mut self, job: &Job) {
        // Marks at the ends of transactions may come later.
        sleep(Duration::from_secs(1)).await;
        self.looker.look().await;
        assert_eq!(self.looker.seen, job.expected);
    }

    /// Readers of committed records can read all there is of rows and of progress.
    fn check_nobody_is_held_back(&self) {
        let rows = (0..PARTITIONS).map(|partition| TopicPartition { topic: TOPIC.into(), partition });
        for at in rows.chain([TopicPartition { topic: PROGRESS.into(), partition: 0 }]) {
            let end = |isolation| self.kafka.read_now(&at, 0, isolation).expect("it is there").1;
            assert_eq!(end(Isolation::ReadCommitted), end(Isolation::ReadUncommitted), "{at}");
        }
    }

    async fn staged(&self) -> usize {
        self.store().list("").await.expect("listed").len()
    }
}

fn admin(kafka: &ModelKafka) -> Arc<dyn Admin> {
    kafka.admin(&client()).expect("opened")
}

impl Job {
    fn new() -> Self {
        Self { attempt: 1, checkpoint: 0, published: None, complete: Vec::new(), expected: BTreeMap::new(), next: 0 }
    }

    fn epochs(&self, publishing: CheckpointId) -> Epochs {
        let newest = self.complete.last().map_or(publishing, |(checkpoint, _)| *checkpoint);
        let (attempt, published) = (Attempt(self.attempt), self.published);
        Epochs { attempt, publishing, published, complete: newest.max(publishing) }
    }

    /// Rows by subtask: all of a key in one.
    fn rows(&mut self, count: i64, subtasks: u32) -> BTreeMap<u32, Vec<(String, i64)>> {
        let mut dealt: BTreeMap<u32, Vec<(String, i64)>> = BTreeMap::new();
        for number in self.next..self.next + count {
            let key = number % 7;
            let subtask = u32::try_from(key).expect("it is small") % subtasks;
            dealt.entry(subtask).or_default().push((format!("key-{key}"), number));
        }
        self.next += count;
        dealt
    }

    /// Writes and seals rows. Returns what was prepared.
    async fn prepare(rig: &Rig, attempt: u32, dealt: &BTreeMap<u32, Vec<(String, i64)>>) -> Vec<Value> {
        let mut prepared = Vec::new();
        for (subtask, of) in dealt {
            // An attempt has one writer for each subtask, as long as it lives.
            let mut writers = rig.writers.lock().await;
            let writer = writers.entry((attempt, *subtask)).or_insert_with(|| rig.writer(attempt, *subtask));
            for of in of.chunks(100) {
                writer.write(&rows(of)).await.expect("written");
            }
            prepared.extend(seal(writer.as_mut()).await);
        }
        prepared
    }

    /// A checkpoint is complete that holds these rows.
    fn on_complete(&mut self, dealt: &BTreeMap<u32, Vec<(String, i64)>>, prepared: Vec<Value>) -> CheckpointId {
        self.checkpoint += 1;
        let checkpoint = CheckpointId(self.checkpoint);
        // A checkpoint for which nothing was prepared is published without an order.
        if !prepared.is_empty() {
            self.complete.push((checkpoint, prepared));
        }
        for (key, number) in dealt.values().flatten() {
            self.expected.entry(key.clone()).or_default().push(*number);
        }
        checkpoint
    }

    /// Takes a checkpoint of new rows.
    async fn take(&mut self, rig: &Rig, count: i64, subtasks: u32) -> CheckpointId {
        let dealt = self.rows(count, subtasks);
        let prepared = Self::prepare(rig, self.attempt, &dealt).await;
        self.on_complete(&dealt, prepared)
    }

    /// The oldest complete checkpoint is recorded as published.
    fn on_published(&mut self) {
        let (checkpoint, _) = self.complete.remove(0);
        self.published = Some(checkpoint);
    }
}

#[tokio::test(start_paused = true)]
async fn epochs_are_written_in_order_each_in_one_transaction() {
    let mut rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    for subtasks in [1, 3, 2] {
        job.take(&rig, 50, subtasks).await;
        job.take(&rig, 0, subtasks).await;
        rig.check_seen(&job).await;
        assert!(rig.looker.seen.values().flatten().all(|number| *number < job.next - 50), "it is not published");
        rig.publish_all(&mut job, &node).await;
    }
    assert_eq!(rig.kafka.open_transactions(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_writer_goes_on_without_brokers() {
    let rig = Rig::new().await;
    let mut job = Job::new();
    rig.kafka.brokers_down();
    job.take(&rig, 100, 2).await;
    let error = rig.order(&job, &rig.node()).await.expect_err("nobody answers");
    assert_eq!(error.failure_kind(), FailureKind::Store, "{error}");
}

#[tokio::test(start_paused = true)]
async fn where_only_rows_were_prepared_that_cannot_be_written_progress_moves() {
    let mut rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 10, 1).await;
    rig.publish_all(&mut job, &node).await;
    // The leader knows only that something was published in the sink's name.
    job.checkpoint += 1;
    job.complete.push((CheckpointId(job.checkpoint), Vec::new()));
    rig.publish_all(&mut job, &node).await;
    job.take(&rig, 10, 1).await;
    let other = rig.node();
    rig.publish_all(&mut job, &other).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_job_finds_the_progress_of_others_and_none_of_its_own() {
    let mut rig = Rig::new().await;
    let mut job = Job::new();
    job.take(&rig, 10, 1).await;
    let other = CommitterIdentity { job: JobId(2), ..committer_identity() };
    let other = open_sink_committer(&rig.spec, columns(), other, &rig.context).expect("a committer");
    let epochs = Epochs { complete: CheckpointId(9), publishing: CheckpointId(9), ..job.epochs(CheckpointId(1)) };
    other.commit(epochs, &[]).await.expect("published");
    let node = rig.node();
    rig.publish_all(&mut job, &node).await;
}

#[tokio::test(start_paused = true)]
async fn progress_is_kept_in_a_compacted_topic() {
    let mut rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 10, 1).await;
    rig.publish_all(&mut job, &node).await;
    let policy = admin(&rig.kafka).topic_config(PROGRESS, "cleanup.policy").await.expect("asked");
    assert_eq!(policy.as_deref(), Some("compact"));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_forgets_progress_is_refused() {
    let rig = Rig::new().await;
    let config = [("cleanup.policy".to_owned(), "delete".to_owned())].into();
    let topic = NewTopic { name: PROGRESS.to_owned(), partitions: 1, replication: None, config };
    assert!(admin(&rig.kafka).create_topic(&topic).await.expect("created"));
    let mut job = Job::new();
    job.take(&rig, 10, 1).await;
    let error = rig.order(&job, &rig.node()).await.expect_err("it would forget");
    assert_eq!(error.failure_kind(), FailureKind::Data);
    let text = error.to_string();
    assert!(text.contains("'cleanup.policy' of topic 'thalweg-sink-progress' is 'delete'"), "{text}");
}
