//! librdkafka's own clients, as plain loops: what the connector is measured against, and what feeds and watches it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rdkafka::{
    ClientConfig, ClientContext, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext},
};

/// How long a broker has for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often, and how many times, it is asked where a new topic ends.
const ASK_EVERY: Duration = Duration::from_millis(100);
const ASKED_MAX: u32 = 100;

fn config(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    config
}

/// Topics of a measurement. Dropping them deletes them.
pub(super) struct Topics {
    admin: AdminClient<DefaultClientContext>,
    /// Looks whether they can be used.
    looking: BaseConsumer,
    names: Vec<String>,
    /// How many had a name made for them.
    made: usize,
}

impl Topics {
    pub(super) fn new(servers: &str) -> Result<Self> {
        let admin = config(servers).create().context("could not make a client of Kafka")?;
        let looking = config(servers).create().context("could not make a client of Kafka")?;
        Ok(Self { admin, looking, names: Vec::new(), made: 0 })
    }

    /// Creates a topic. Returns its name.
    pub(super) async fn create(&mut self, what: &str, partitions: u32) -> Result<String> {
        self.made += 1;
        let name = format!("thalweg-bench-{}-{}-{what}", std::process::id(), self.made);
        self.create_named(&name, partitions).await?;
        Ok(name)
    }

    /// Creates a topic of this name.
    pub(super) async fn create_named(&mut self, name: &str, partitions: u32) -> Result<()> {
        let topic = NewTopic::new(name, i32::try_from(partitions)?, TopicReplication::Fixed(1));
        let created = self.admin.create_topics([&topic], &options()).await.context("no broker creates a topic")?;
        for result in created {
            result.map_err(|(name, code)| anyhow::anyhow!("could not create topic {name}: {code}"))?;
        }
        self.names.push(name.to_owned());
        self.wait_for_leaders(name, usize::try_from(partitions)?)
    }

    /// Brokers answer before all of them know a topic that was made just now.
    fn wait_for_leaders(&self, name: &str, partitions: usize) -> Result<()> {
        for _ in 0..ASKED_MAX {
            let found = self.looking.fetch_metadata(Some(name), PATIENCE)?;
            let led = found.topics().iter().flat_map(|topic| topic.partitions()).filter(|one| one.leader() >= 0);
            if led.count() == partitions {
                return Ok(());
            }
            std::thread::sleep(ASK_EVERY);
        }
        anyhow::bail!("nobody leads the partitions of {name}")
    }

    /// Deletes one of them, lest the broker's disk fills up.
    pub(super) async fn delete(&mut self, name: &str) -> Result<()> {
        self.names.retain(|known| known != name);
        self.admin.delete_topics(&[name], &options()).await.context("could not delete a topic")?;
        Ok(())
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(Duration::from_secs(10)))
}

impl Drop for Topics {
    fn drop(&mut self) {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        if names.is_empty() {
            return;
        }
        // The client has a thread of its own, which sends this and learns of the answer.
        let deleted = self.admin.delete_topics(&names, &options());
        if let Err(error) = futures::executor::block_on(deleted) {
            eprintln!("could not delete {names:?}: {error}");
        }
    }
}

/// Reads committed records of all partitions of a topic from its beginning.
pub(super) fn consumer(servers: &str, topic: &str) -> Result<BaseConsumer> {
    let mut config = config(servers);
    // No offset is committed; the client wants a group to be able to assign partitions.
    config.set("group.id", "thalweg-bench").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().context("could not make a client of Kafka")?;
    let mut list = TopicPartitionList::new();
    for partition in partitions(&consumer, topic)? {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).context("could not ask for partitions")?;
    let partitions = metadata.topics().first().map(|topic| topic.partitions()).unwrap_or_default();
    ensure!(!partitions.is_empty(), "{topic} has no partitions");
    Ok(partitions.iter().map(|partition| partition.id()).collect())
}

/// Asks again and again how much of a topic is committed.
pub(super) struct Offsets {
    consumer: BaseConsumer,
    topic: String,
    partitions: Vec<i32>,
}

impl Offsets {
    pub(super) fn new(servers: &str, topic: &str) -> Result<Self> {
        // Of the offsets that it asks for, those are the last that such a reader can reach.
        let consumer: BaseConsumer = config(servers).set("isolation.level", "read_committed").create()?;
        let partitions = partitions(&consumer, topic)?;
        let offsets = Self { consumer, topic: topic.to_owned(), partitions };
        // A leader that was chosen just now may not know of it yet.
        for _ in 0..ASKED_MAX {
            if offsets.committed().is_ok() {
                return Ok(offsets);
            }
            std::thread::sleep(ASK_EVERY);
        }
        offsets.committed()?;
        Ok(offsets)
    }

    /// The sum over all partitions.
    pub(super) fn committed(&self) -> Result<i64> {
        let mut sum = 0;
        for partition in &self.partitions {
            let (_, end) = self.consumer.fetch_watermarks(&self.topic, *partition, PATIENCE)?;
            sum += end;
        }
        Ok(sum)
    }
}

/// Reads `records` records, with an eye on each. Returns the bytes of their values.
pub(super) fn read(servers: &str, topic: &str, records: u64) -> Result<u64> {
    let consumer = consumer(servers, topic)?;
    let (mut read, mut bytes) = (0, 0);
    while read < records {
        if let Some(message) = next(&consumer, PATIENCE)? {
            read += 1;
            bytes += message.payload().map_or(0, <[u8]>::len) as u64;
        } else {
            anyhow::bail!("{topic} has {read} records instead of {records}");
        }
    }
    Ok(bytes)
}

/// Whether there is a record after these many: there should be none.
pub(super) fn has_more(servers: &str, topic: &str, records: u64) -> Result<bool> {
    let consumer = consumer(servers, topic)?;
    for _ in 0..records {
        next(&consumer, PATIENCE)?.context("records are missing")?;
    }
    Ok(next(&consumer, Duration::from_millis(500))?.is_some())
}

/// The next record, if one comes within this time.
pub(super) fn next(consumer: &BaseConsumer, within: Duration) -> Result<Option<BorrowedMessage<'_>>> {
    match consumer.poll(within) {
        Some(Ok(message)) => Ok(Some(message)),
        Some(Err(error)) => Err(error).context("could not read"),
        None => Ok(None),
    }
}

/// Counts what could not be written.
#[derive(Default)]
pub(super) struct Deliveries {
    lost: AtomicU64,
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

/// Writes records, each acknowledged by all replicas and written once.
pub(super) struct Writer {
    producer: BaseProducer<Deliveries>,
}

impl Writer {
    /// With a transactional id, nothing is committed before `commit`.
    pub(super) fn new(servers: &str, transactional_id: Option<&str>) -> Result<Self> {
        let mut config = config(servers);
        config.set("enable.idempotence", "true");
        if let Some(id) = transactional_id {
            config.set("transactional.id", id);
        }
        let producer: BaseProducer<Deliveries> =
            config.create_with_context(Deliveries::default()).context("could not make a client of Kafka")?;
        if transactional_id.is_some() {
            producer.init_transactions(PATIENCE)?;
            producer.begin_transaction()?;
        }
        Ok(Self { producer })
    }

    /// Hands a record over; waits while the client's queue is full.
    pub(super) fn send(&self, topic: &str, partition: i32, value: &[u8]) -> Result<()> {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(value).partition(partition);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.producer.poll(Duration::from_millis(10));
                    record = back;
                }
                Err((error, _)) => return Err(error).context("could not write"),
            }
        }
    }

    /// Lets the client tell what it has delivered.
    pub(super) fn poll(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until all is written.
    pub(super) fn flush(&self) -> Result<()> {
        self.producer.flush(PATIENCE).context("records are not acknowledged")?;
        let lost = self.producer.context().lost.load(Ordering::Relaxed);
        ensure!(lost == 0, "{lost} records could not be written");
        Ok(())
    }

    /// Commits the transaction, and begins another if there is `more`.
    pub(super) fn commit(&self, more: bool) -> Result<()> {
        self.producer.commit_transaction(PATIENCE)?;
        if more {
            self.producer.begin_transaction()?;
        }
        Ok(())
    }
}
