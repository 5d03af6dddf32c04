//! Writers that hand their records over at once, and the look before a job runs. What is exactly once is tested with the
//! committer.

use std::sync::Arc;

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::{DataType, SchemaRef},
};
use thalweg_kafka::{
    Admin, ClientConfig, Consumer, Fetched, Isolation, NewTopic, TopicPartition, TransactionalProducer, Transactions,
    model::{ADDRESS, Call, Fault, ModelKafka},
};
use thalweg_types::{graph::SinkOperator, job::FailureKind};

use tokio::time::sleep;

use super::*;
use crate::{
    ConnectorContext, ObjectStores, check_sink, open_sink_writer as open_writer,
    testing::{context, identity, schema, sink},
};

struct Rig {
    kafka: ModelKafka,
    context: ConnectorContext,
    spec: SinkOperator,
}

fn columns() -> SchemaRef {
    schema(&[("n", DataType::Int64, true)])
}

fn rows(numbers: std::ops::Range<i64>) -> RecordBatch {
    RecordBatch::try_new(columns(), vec![Arc::new(Int64Array::from_iter_values(numbers))]).expect("they fit")
}

fn client() -> ClientConfig {
    let properties = [("bootstrap.servers".to_owned(), ADDRESS.to_owned())].into();
    ClientConfig { properties, queue_bytes: 1 << 20, ..ClientConfig::default() }
}

fn rig(more: &[(&str, &str)]) -> Rig {
    let mut context = context();
    let kafka = ModelKafka::new(&context.seams);
    context.kafka = Some(Arc::new(kafka.clone()));
    let given = [("topic", "out"), ("properties.bootstrap.servers", ADDRESS), ("format", "json")];
    let given: Vec<_> = given.into_iter().filter(|(key, _)| more.iter().all(|(other, _)| other != key)).collect();
    Rig { kafka, context, spec: sink("kafka", &[&given, more].concat()) }
}

impl Rig {
    fn admin(&self) -> Arc<dyn Admin> {
        self.kafka.admin(&client()).expect("opened")
    }

    async fn with_topic(self) -> Self {
        self.with_topic_of(&[]).await
    }

    async fn with_topic_of(self, config: &[(&str, &str)]) -> Self {
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let topic = NewTopic { name: "out".to_owned(), partitions: 2, replication: None, config };
        assert!(self.admin().create_topic(&topic).await.expect("created"));
        self
    }

    fn writer(&self, memory_bytes: u64) -> Box<dyn SinkWriter> {
        let memory = Arc::new(object_store::memory::InMemory::new());
        let stores = ObjectStores::default().with_store("memory://c", memory);
        let store = crate::CheckpointStore::open("memory://c", &stores).expect("it is registered");
        let (identity, inline_bytes, epoch_bytes) = (identity(1, 1, 1), 1 << 20, 1 << 30);
        let own = SinkSubtask { identity, store, memory_bytes, inline_bytes, epoch_bytes, subtasks: 2 };
        open_writer(&self.spec, columns(), own, &self.context).expect("a writer")
    }

    /// The numbers in the topic, in the order of each partition.
    async fn numbers(&self) -> Vec<i64> {
        let consumer = self.kafka.consumer(&client(), Isolation::ReadCommitted).expect("opened");
        let mut numbers = Vec::new();
        for partition in 0..2 {
            let at = TopicPartition { topic: "out".into(), partition };
            let mut reader = consumer.read(&at, 0).await.expect("it is there");
            while let Ok(Fetched::Records(records)) = reader.next(100).await {
                for record in records {
                    let value: serde_json::Value =
                        serde_json::from_slice(&record.value.expect("some")).expect("it is JSON");
                    numbers.push(value["n"].as_i64().expect("a number"));
                }
            }
        }
        numbers.sort_unstable();
        numbers
    }

    async fn checked(&self, patient: bool) -> Result<(), ConnectorError> {
        check_sink(&self.spec, columns(), patient, &self.context).await
    }

    async fn refused(&self, patient: bool, what: &[&str]) {
        let error = self.checked(patient).await.expect_err("it cannot be written");
        assert_eq!(error.failure_kind(), FailureKind::Data, "{error}");
        let text = thalweg_types::text::with_causes(&error);
        assert!(what.iter().all(|what| text.contains(what)), "{text}");
    }
}

const AT_LEAST_ONCE: (&str, &str) = ("sink.delivery-guarantee", "at-least-once");
const NONE: (&str, &str) = ("sink.delivery-guarantee", "none");

#[tokio::test(start_paused = true)]
async fn what_is_sealed_at_least_once_is_acknowledged() {
    let rig = rig(&[AT_LEAST_ONCE]).with_topic().await;
    let mut writer = rig.writer(1 << 20);
    writer.write(&rows(0..100)).await.expect("written");
    let sealing = writer.seal().await.expect("sealed");
    writer.write(&rows(100..200)).await.expect("written");
    assert_eq!(sealing.await.expect("acknowledged"), Vec::<serde_json::Value>::new(), "there is nothing to publish");
    assert_eq!(rig.numbers().await.iter().filter(|number| **number < 100).count(), 100);
    writer.seal().await.expect("sealed").await.expect("acknowledged");
    assert_eq!(rig.numbers().await, (0..200).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn records_that_nobody_acknowledges_fail_the_checkpoint() {
    let rig = rig(&[AT_LEAST_ONCE]).with_topic().await;
    let mut writer = rig.writer(1 << 20);
    rig.kafka.brokers_down();
    writer.write(&rows(0..100)).await.expect("it waits in the client");
    let error = writer.seal().await.expect("sealed").await.expect_err("nobody acknowledges it");
    assert_eq!(error.failure_kind(), FailureKind::Store, "{error}");
    // The next attempt writes it again.
    rig.kafka.brokers_up();
    let mut writer = rig.writer(1 << 20);
    writer.write(&rows(0..100)).await.expect("written");
    writer.seal().await.expect("sealed").await.expect("acknowledged");
    let numbers = rig.numbers().await;
    assert!((0..100).all(|number| numbers.contains(&number)), "at least once: {numbers:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_is_given_up() {
    let rig = rig(&[AT_LEAST_ONCE]).with_topic().await;
    let mut writer = rig.writer(1 << 20);
    rig.kafka.fault(Call::Produce, Fault::Hang);
    let written = timeout(FLUSHED_WITHIN, writer.write(&rows(0..10))).await;
    let error = written.expect("it does not wait for ever").expect_err("nothing was taken");
    assert_eq!(error.failure_kind(), FailureKind::Store, "{error}");
    // Brokers that have no leader for a partition take nothing, however long one waits.
    let mut writer = rig.writer(1 << 20);
    for partition in 0..2 {
        rig.kafka.lose_leader(&TopicPartition { topic: "out".into(), partition });
    }
    writer.write(&rows(0..10)).await.expect("it waits in the client");
    let sealing = timeout(FLUSHED_WITHIN * 2, writer.seal().await.expect("sealed")).await;
    let error = sealing.expect("it does not wait for ever").expect_err("nothing was acknowledged");
    assert_eq!(error.failure_kind(), FailureKind::Store, "{error}");
}

#[tokio::test(start_paused = true)]
async fn brokers_that_are_away_hold_the_writer_up_with_little_in_memory() {
    let rig = rig(&[AT_LEAST_ONCE]).with_topic().await;
    let mut writer = rig.writer(0);
    rig.kafka.brokers_down();
    let mut written = 0;
    let stalled = loop {
        match timeout(Duration::from_secs(30), writer.write(&rows(0..10_000))).await {
            Ok(Ok(())) => written += 1,
            Ok(Err(error)) => panic!("it waits: {error}"),
            Err(_) => break true,
        }
        assert!(written < 100, "nothing holds it up");
    };
    assert!(stalled);
}

#[tokio::test(start_paused = true)]
async fn a_writer_without_a_guarantee_does_not_wait_for_long() {
    let rig = rig(&[NONE]).with_topic().await;
    let mut writer = rig.writer(1 << 20);
    rig.kafka.brokers_down();
    writer.write(&rows(0..10)).await.expect("written");
    let sealing = timeout(LEFT_WITHIN * 2, writer.seal().await.expect("sealed")).await;
    sealing.expect("it does not wait for long").expect("nothing fails");
    rig.kafka.brokers_up();
    writer.write(&rows(10..20)).await.expect("written");
    drop(writer);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let numbers = rig.numbers().await;
    assert!((10..20).all(|number| numbers.contains(&number)), "what was handed over is not dropped: {numbers:?}");
}

/// Brokers that were restored miss what the client wrote before, and take nothing more of it.
#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_go_on_is_replaced_where_records_may_be_lost() {
    let rig = rig(&[NONE]).with_topic().await;
    let before = rig.kafka.snapshot();
    let mut writer = rig.writer(1 << 20);
    writer.write(&rows(0..10)).await.expect("written");
    rig.kafka.restore(&before);
    writer.write(&rows(10..20)).await.expect("they may be lost");
    writer.write(&rows(20..30)).await.expect("they may be lost");
    writer.write(&rows(30..40)).await.expect("written");
    let numbers = rig.numbers().await;
    assert!((30..40).all(|number| numbers.contains(&number)), "only some may be lost: {numbers:?}");
}

/// The process may end right after a job's last sealing, and nobody waits for what is dropped then.
#[tokio::test(start_paused = true)]
async fn what_is_sealed_without_a_guarantee_is_there_if_brokers_are() {
    let rig = rig(&[NONE]).with_topic().await;
    let mut writer = rig.writer(1 << 20);
    rig.kafka.brokers_down();
    writer.write(&rows(0..10)).await.expect("it waits in the client");
    let sealing = writer.seal().await.expect("sealed");
    let brokers = async {
        sleep(Duration::from_secs(1)).await;
        rig.kafka.brokers_up();
    };
    let (sealed, ()) = tokio::join!(sealing, brokers);
    sealed.expect("nothing fails");
    assert_eq!(rig.numbers().await, (0..10).collect::<Vec<_>>());
}

/// A broker that has just started may not know a topic yet.
#[tokio::test(start_paused = true)]
async fn one_answer_without_the_topic_does_not_end_the_job() {
    let gone = || Fault::Fail(KafkaError::NoTopic { topic: "out".to_owned() });
    for guarantee in [AT_LEAST_ONCE, NONE] {
        let rig = rig(&[guarantee, ("sink.partitioner", "round-robin")]).with_topic().await;
        rig.kafka.fault(Call::Topics, gone());
        let error = rig.writer(1 << 20).write(&rows(0..10)).await.expect_err("it has nowhere to write");
        assert_eq!(error.failure_kind(), FailureKind::Store, "it is tried again: {error}");
        let mut writer = rig.writer(1 << 20);
        writer.write(&rows(0..10)).await.expect("written");
        sleep(PARTITIONS_FOR).await;
        rig.kafka.fault(Call::Topics, gone());
        writer.write(&rows(10..20)).await.expect("its partitions are known");
        assert!(rig.admin().topics(&Wanted::Named(vec!["out".to_owned()])).await.is_ok(), "the fault was met");
        writer.seal().await.expect("sealed").await.expect("acknowledged");
        assert_eq!(rig.numbers().await, (0..20).collect::<Vec<_>>());
    }
    let rig = rig(&[AT_LEAST_ONCE]).with_topic().await;
    let mut writer = rig.writer(1 << 20);
    rig.kafka.fault(Call::Produce, gone());
    let written = match writer.write(&rows(0..10)).await {
        Ok(()) => writer.seal().await.expect("sealed").await.map(drop),
        Err(error) => Err(error),
    };
    let error = written.expect_err("it is told");
    assert_eq!(error.failure_kind(), FailureKind::Store, "it is tried again: {error}");
    // Whoever tries it again looks at the table before.
    rig.kafka.fault(Call::Topics, gone());
    let error = rig.checked(false).await.expect_err("that is an answer");
    assert_eq!(error.failure_kind(), FailureKind::Data, "{error}");
    self::rig(&[AT_LEAST_ONCE]).checked(true).await.expect("it may be made again");
}

#[tokio::test(start_paused = true)]
async fn a_table_that_fits_is_accepted_and_its_topic_for_progress_made() {
    let rig = rig(&[]).with_topic().await;
    rig.checked(false).await.expect("it can be written");
    let policy = rig.admin().topic_config("thalweg-sink-progress", "cleanup.policy").await.expect("asked");
    assert_eq!(policy.as_deref(), Some("compact"));
    rig.checked(true).await.expect("it can be written");
}

#[tokio::test(start_paused = true)]
async fn a_table_that_does_not_fit_is_refused_with_what_to_do() {
    rig(&[]).refused(false, &["option 'topic': there is no topic 'out' at model:9092", "create it"]).await;
    rig(&[AT_LEAST_ONCE]).refused(false, &["there is no topic 'out'"]).await;
    let elsewhere = rig(&[("properties.bootstrap.servers", "nobody:9")]).with_topic().await;
    elsewhere.refused(false, &["'properties.bootstrap.servers' = 'nobody:9'", "'topic' 'out'"]).await;
    elsewhere.checked(true).await.expect("they may come back");
    let forgetful = rig(&[("sink.progress-topic", "forgetful")]).with_topic().await;
    let config = [("cleanup.policy".to_owned(), "delete".to_owned())].into();
    let topic = NewTopic { name: "forgetful".to_owned(), partitions: 1, replication: None, config };
    forgetful.admin().create_topic(&topic).await.expect("created");
    forgetful.refused(false, &["'cleanup.policy' of topic 'forgetful' is 'delete'"]).await;
    let denied = rig(&[]).with_topic().await;
    denied.kafka.fault(Call::Init, Fault::Fail(KafkaError::Denied { reason: "not allowed".to_owned() }));
    denied.refused(false, &["'sink.transactional-id-prefix'", "not allowed", "'properties.security.protocol'"]).await;
    let long = rig(&[]).with_topic().await;
    let reason = "the transaction timeout is larger than the broker's transaction.max.timeout.ms".to_owned();
    long.kafka.fault(Call::Init, Fault::Fail(KafkaError::Refused { reason }));
    long.refused(false, &["60 s ('sink.transaction-timeout')", "transaction.max.timeout.ms"]).await;
}

/// What is written at five megabytes per second, by all subtasks, is within the transaction's time.
#[tokio::test(start_paused = true)]
async fn a_short_transaction_has_few_rows() {
    for (timeout, most) in [("2 s", 5_000_000), ("1 min", 150_000_000), ("15 min", 1 << 30)] {
        let rig = rig(&[("sink.transaction-timeout", timeout)]);
        let written = rig.writer(1 << 20).written().expect("it has a bound");
        assert_eq!(written, Written { bytes: 0, bytes_max: most }, "{timeout}");
    }
    assert_eq!(rig(&[AT_LEAST_ONCE]).writer(1 << 20).written(), None);
}

/// What takes secrets out of a writer's errors must not take what else it says.
#[tokio::test(start_paused = true)]
async fn a_writer_with_secrets_says_as_much_as_one_without() {
    let sasl = [
        ("properties.security.protocol", "SASL_PLAINTEXT"),
        ("properties.sasl.mechanism", "PLAIN"),
        ("properties.sasl.username", "someone"),
        ("properties.sasl.password", "hunter-two"),
    ];
    for secrets in [&[][..], &sasl] {
        let rig = rig(secrets).with_topic_of(&[("max.message.bytes", "100")]).await;
        let mut writer = rig.writer(1 << 20);
        assert!(writer.written().is_some(), "it has a bound");
        writer.write(&rows(0..2)).await.expect("written");
        let refused: Vec<_> = writer.refused().iter().map(|fault| fault.row).collect();
        assert_eq!(refused, [0, 1], "no record is as small as that");
    }
}

/// Sees which batches clients that write may send.
#[derive(Debug)]
struct Seen(ModelKafka, std::sync::Mutex<Vec<Option<String>>>);

impl Kafka for Seen {
    fn admin(&self, config: &ClientConfig) -> Result<Arc<dyn Admin>, KafkaError> {
        self.0.admin(config)
    }

    fn consumer(&self, config: &ClientConfig, isolation: Isolation) -> Result<Arc<dyn Consumer>, KafkaError> {
        self.0.consumer(config, isolation)
    }

    fn producer(&self, config: &ClientConfig) -> Result<Box<dyn Producer>, KafkaError> {
        self.1.lock().expect("nobody panicked").push(config.properties.get("batch.size").cloned());
        self.0.producer(config)
    }

    fn transactional(
        &self,
        config: &ClientConfig,
        transactions: &Transactions,
    ) -> Result<Box<dyn TransactionalProducer>, KafkaError> {
        self.0.transactional(config, transactions)
    }
}

/// Brokers refuse a batch that is larger, however small its records are.
#[tokio::test(start_paused = true)]
async fn batches_are_no_larger_than_the_topic_takes() {
    for (limit, opened) in [("50000", &[None, Some("50000".to_owned())][..]), ("1048588", &[None])] {
        let mut rig = rig(&[AT_LEAST_ONCE]).with_topic_of(&[("max.message.bytes", limit)]).await;
        let seen = Arc::new(Seen(rig.kafka.clone(), std::sync::Mutex::default()));
        rig.context.kafka = Some(seen.clone());
        let mut writer = rig.writer(1 << 20);
        writer.write(&rows(0..10)).await.expect("written");
        writer.write(&rows(10..20)).await.expect("written");
        assert_eq!(*seen.1.lock().expect("nobody panicked"), opened, "{limit}");
        writer.seal().await.expect("sealed").await.expect("acknowledged");
        assert_eq!(rig.numbers().await, (0..20).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_compacted_topic_needs_keys() {
    let keyed = [("key.format", "json"), ("key.fields", "n")];
    for (more, policy, fits) in
        [(&[][..], "compact,delete", false), (&keyed[..], "compact,delete", true), (&[][..], "delete", true)]
    {
        let rig = rig(&[&[AT_LEAST_ONCE][..], more].concat()).with_topic_of(&[("cleanup.policy", policy)]).await;
        match fits {
            true => rig.checked(false).await.expect("it can be written"),
            false => {
                rig.refused(false, &["topic 'out' is compacted", "'cleanup.policy' = 'compact,delete'", "'key.fields'"])
                    .await
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_without_a_client_says_so() {
    let mut rig = rig(&[]);
    rig.context.kafka = None;
    rig.refused(false, &["this build has no Kafka client"]).await;
}
