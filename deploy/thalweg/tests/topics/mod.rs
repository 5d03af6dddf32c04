//! Topics of Kafka as a test writes and reads them: by librdkafka itself, with nothing of the product in between.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Header, Headers as _, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext},
};
use serde_json::Value;

/// The longest time of any step, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long one question to the broker may take.
const LOOK: Duration = Duration::from_secs(5);

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) timestamp: Option<i64>,
}

impl Message {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect(),
            timestamp: message.timestamp().to_millis(),
        }
    }

    /// The value as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.value.clone().expect("it has a value")).expect("the value is text")
    }

    /// The value as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text()).expect("the value is JSON")
    }
}

/// A record that is written. What is not given, it does not have.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written<'a> {
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<&'a str>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) timestamp: Option<i64>,
}

fn client(servers: &str, more: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    for (name, value) in more {
        config.set(*name, *value);
    }
    config
}

fn admin(servers: &str) -> AdminClient<DefaultClientContext> {
    client(servers, &[]).create().expect("a client that creates topics")
}

/// Creates a topic, which must be new, and waits until it can be written.
pub(crate) fn create(servers: &str, name: &str, partitions: i32) {
    try_create(servers, name, partitions).expect("the topic is created");
    wait_for_leaders(servers, name, partitions);
}

/// Creates a topic that was deleted, once brokers have forgotten the one before.
pub(crate) fn create_again(servers: &str, name: &str, partitions: i32) {
    until(&format!("{name} to be forgotten"), || try_create(servers, name, partitions).ok());
    wait_for_leaders(servers, name, partitions);
}

fn try_create(servers: &str, name: &str, partitions: i32) -> Result<(), RDKafkaErrorCode> {
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
    let created = futures::executor::block_on(admin(servers).create_topics([&topic], &AdminOptions::new()));
    created.expect("brokers answer").remove(0).map(drop).map_err(|(_, code)| code)
}

fn wait_for_leaders(servers: &str, name: &str, partitions: i32) {
    let consumer: BaseConsumer = client(servers, &[]).create().expect("a client that asks");
    until(&format!("leaders of {name}"), || {
        let metadata = consumer.fetch_metadata(Some(name), LOOK).ok()?;
        let known = metadata.topics().first()?.partitions();
        let has_leader = |partition: i32| known.iter().any(|known| known.id() == partition && known.leader() >= 0);
        (0..partitions).all(has_leader).then_some(())
    });
}

/// Deletes a topic.
pub(crate) fn delete(servers: &str, name: &str) {
    let deleted = futures::executor::block_on(admin(servers).delete_topics(&[name], &AdminOptions::new()));
    deleted.expect("brokers answer")[0].as_ref().expect("the topic is deleted");
}

/// The offsets that a group has committed, by partition.
pub(crate) fn group_offsets(servers: &str, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
    let consumer: BaseConsumer = client(servers, &[("group.id", group)]).create().expect("a client that asks");
    let mut asked = TopicPartitionList::new();
    asked.add_partition_range(topic, 0, partitions - 1);
    // The first question about any group makes the broker create the topic of groups, and is refused until it has.
    let told = until(&format!("offsets of {group}"), || consumer.committed_offsets(asked.clone(), LOOK).ok());
    let offset = |offset: Offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
    (0..partitions).map(|partition| offset(told.find_partition(topic, partition)?.offset())).collect()
}

/// Commits offsets for a group.
pub(crate) fn commit(servers: &str, group: &str, topic: &str, offsets: &[i64]) {
    let consumer: BaseConsumer = client(servers, &[("group.id", group)]).create().expect("a client that commits");
    let mut list = TopicPartitionList::new();
    for (partition, offset) in (0..).zip(offsets) {
        list.add_partition_offset(topic, partition, Offset::Offset(*offset)).expect("an offset");
    }
    let commit = || consumer.commit(&list, rdkafka::consumer::CommitMode::Sync);
    until(&format!("the commit of {group}"), || commit().ok());
}

/// Writes records with idempotence, and tries each until it is written.
pub(crate) struct Writer {
    producer: BaseProducer<Deliveries>,
}

#[derive(Default)]
struct Deliveries {
    lost: AtomicUsize,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Writer {
    pub(crate) fn new(servers: &str) -> Self {
        let config = client(
            servers,
            &[
                ("enable.idempotence", "true"),
                ("message.timeout.ms", "600000"),
                ("partitioner", "murmur2_random"),
                ("linger.ms", "5"),
            ],
        );
        Self { producer: config.create_with_context(Deliveries::default()).expect("a client that writes") }
    }

    /// Hands a record over.
    pub(crate) fn send(&self, topic: &str, written: &Written<'_>) {
        let mut record = BaseRecord::<str, [u8]>::to(topic);
        record.partition = written.partition;
        record.key = written.key;
        record.payload = written.value;
        record.timestamp = written.timestamp;
        if !written.headers.is_empty() {
            let headers = written
                .headers
                .iter()
                .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(*value) }));
            record = record.headers(headers);
        }
        loop {
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.producer.poll(Duration::from_millis(100));
                    record = back;
                }
                Err((error, _)) => panic!("{topic}: {error}"),
            }
        }
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until all are written.
    pub(crate) fn flush(&self) {
        self.producer.flush(PATIENCE).expect("all records are written");
        let lost = self.producer.context().lost.load(Ordering::Relaxed);
        assert_eq!(lost, 0, "records that could not be written");
    }
}

/// Writes values to a partition of a topic.
pub(crate) fn write(servers: &str, topic: &str, partition: i32, values: &[&str]) {
    let writer = Writer::new(servers);
    for value in values {
        let written = Written { partition: Some(partition), value: Some(value.as_bytes()), ..Written::default() };
        writer.send(topic, &written);
    }
    writer.flush();
}

/// Writes values to partition 0 of a topic in a transaction, which is committed or aborted.
pub(crate) fn write_transaction(servers: &str, topic: &str, values: &[&str], is_committed: bool) {
    let id = format!("a-test-of-{topic}");
    let config = client(servers, &[("transactional.id", &id)]);
    let producer: BaseProducer = config.create().expect("a client that writes");
    producer.init_transactions(PATIENCE).expect("it has its id");
    producer.begin_transaction().expect("it begins");
    for value in values {
        let record = BaseRecord::<str, str>::to(topic).partition(0).payload(value);
        producer.send(record).map_err(|(error, _)| error).expect("it is handed over");
    }
    producer.flush(PATIENCE).expect("all records are written");
    let ended = if is_committed { producer.commit_transaction(PATIENCE) } else { producer.abort_transaction(PATIENCE) };
    ended.expect("the transaction ends");
}

fn reader(servers: &str, topic: &str) -> (BaseConsumer, i32) {
    let more = [
        ("isolation.level", "read_committed"),
        ("enable.partition.eof", "true"),
        ("enable.auto.commit", "false"),
        // None is committed; the client wants one to be able to assign partitions.
        ("group.id", "a-test"),
        ("auto.offset.reset", "error"),
        ("fetch.wait.max.ms", "50"),
        ("reconnect.backoff.max.ms", "500"),
    ];
    let consumer: BaseConsumer = client(servers, &more).create().expect("a client that reads");
    let partitions = until(&format!("partitions of {topic}"), || {
        let metadata = consumer.fetch_metadata(Some(topic), LOOK).ok()?;
        let known = metadata.topics().first().filter(|topic| topic.error().is_none())?;
        i32::try_from(known.partitions().len()).ok().filter(|count| *count > 0)
    });
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("partitions are assigned");
    (consumer, partitions)
}

/// Waits until no transaction is open in a topic: brokers answer a commit before its marks are in all partitions.
fn settle(servers: &str, topic: &str, partitions: i32) {
    // A broker tells where a partition ends as the client's isolation has it.
    let asking = |isolation: &str| -> BaseConsumer {
        client(servers, &[("isolation.level", isolation)]).create().expect("a client that asks")
    };
    let (committed, all) = (asking("read_committed"), asking("read_uncommitted"));
    let end = |client: &BaseConsumer, partition| Some(client.fetch_watermarks(topic, partition, LOOK).ok()?.1);
    for partition in 0..partitions {
        until(&format!("the end of transactions in {topic}-{partition}"), || {
            let committed = end(&committed, partition)?;
            (end(&all, partition)? == committed).then_some(())
        });
    }
}

/// What is committed in a topic, once no transaction is open there; the records of each partition in order.
pub(crate) fn read(servers: &str, topic: &str) -> Vec<Message> {
    let (consumer, partitions) = reader(servers, topic);
    settle(servers, topic, partitions);
    let (mut messages, mut ended) = (Vec::new(), BTreeSet::new());
    #[allow(clippy::disallowed_methods, reason = "a test of real processes has real time")]
    let begun = Instant::now();
    while ended.len() < usize::try_from(partitions).expect("there are some") {
        assert!(begun.elapsed() < PATIENCE, "{topic} is not read to its end: {} messages", messages.len());
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => messages.push(Message::of(&message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            // Brokers that are gone come back, or time runs out.
            Some(Err(_)) | None => {}
        }
    }
    messages
}

/// Reads a topic in a thread of its own, until it is dropped.
pub(crate) struct Follower {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Gives each committed record to `take`, as soon as it can be read.
    pub(crate) fn start(servers: &str, topic: &str, mut take: impl FnMut(Message) + Send + 'static) -> Self {
        let (consumer, _) = reader(servers, topic);
        let is_over = Arc::new(AtomicBool::new(false));
        let asked = is_over.clone();
        #[allow(clippy::disallowed_methods, reason = "a test reads beside what it does")]
        let thread = std::thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                // Brokers that are gone come back.
                if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                    take(Message::of(&message));
                }
            }
        });
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.expect("it runs").expect("the reader has not panicked");
        }
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    #[allow(clippy::disallowed_methods, reason = "a test of real processes has real time")]
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
