//! Tables of topics, against the model of a cluster.

mod beginnings;
mod losses;
mod manners;
mod records;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use arrow::{
    array::{AsArray as _, RecordBatch},
    datatypes::{DataType, Int64Type, SchemaRef},
};
use bytes::Bytes;
use thalweg_kafka::{
    Admin, ClientConfig, Consumer, Isolation, Kafka, KafkaError, NewRecord, NewTopic, Producer, TopicPartition,
    TransactionalProducer, Transactions,
    model::{ADDRESS, ModelKafka},
};
use thalweg_types::Split;

use crate::{
    CommonTables, ConnectorContext, ConnectorError, DeadLetter, Listing, Piece, Read, Source, SourceIdentity,
    SplitReader, open_source_of,
    testing::{context, schema, settings, source, source_identity},
};

/// A cluster, and a node that reads from it.
struct World {
    kafka: ModelKafka,
    context: ConnectorContext,
    common: CommonTables,
    consumers: Arc<AtomicU32>,
}

/// Counts the clients that read.
#[derive(Debug)]
struct Counting(ModelKafka, Arc<AtomicU32>);

impl Kafka for Counting {
    fn admin(&self, config: &ClientConfig) -> Result<Arc<dyn Admin>, KafkaError> {
        self.0.admin(config)
    }

    fn consumer(&self, config: &ClientConfig, isolation: Isolation) -> Result<Arc<dyn Consumer>, KafkaError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.consumer(config, isolation)
    }

    fn producer(&self, config: &ClientConfig) -> Result<Box<dyn Producer>, KafkaError> {
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

/// The columns of most tables here.
fn numbers() -> SchemaRef {
    schema(&[("n", DataType::Int64, true)])
}

fn config() -> ClientConfig {
    let properties = [("bootstrap.servers".to_owned(), ADDRESS.to_owned())];
    ClientConfig { properties: properties.into(), queue_bytes: 1 << 20, ..ClientConfig::default() }
}

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

fn record(topic: &str, partition: i32, value: &str) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition: Some(partition),
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Vec::new(),
        timestamp_ms: None,
    }
}

impl World {
    fn new() -> Self {
        let mut context = context();
        let kafka = ModelKafka::new(&context.seams);
        let consumers = Arc::new(AtomicU32::new(0));
        context.kafka = Some(Arc::new(Counting(kafka.clone(), consumers.clone())));
        Self { kafka, context, common: CommonTables::default(), consumers }
    }

    fn admin(&self) -> Arc<dyn Admin> {
        self.kafka.admin(&config()).expect("an administrator")
    }

    async fn topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic { name: name.to_owned(), partitions, replication: None, config: [].into() };
        assert_eq!(self.admin().create_topic(&topic).await, Ok(true));
    }

    async fn produce(&self, records: Vec<NewRecord>) {
        let mut producer = self.kafka.producer(&config()).expect("a producer");
        producer.send(records).await.expect("sent");
        producer.flush().await.expect("written");
    }

    /// Writes `{"n": …}` for each number.
    async fn put(&self, topic: &str, partition: i32, numbers: impl IntoIterator<Item = i64>) {
        let numbers = numbers.into_iter().map(|n| record(topic, partition, &format!("{{\"n\": {n}}}")));
        self.produce(numbers.collect()).await;
    }

    /// Writes numbers in a transaction.
    async fn transact(&self, topic: &str, numbers: impl IntoIterator<Item = i64>, commit: bool) {
        let transactions = Transactions { id: "writer".to_owned(), timeout_ms: 60_000 };
        let mut producer = self.kafka.transactional(&config(), &transactions).expect("a producer");
        producer.init().await.expect("it is ours");
        producer.begin().await.expect("begun");
        let records = numbers.into_iter().map(|n| record(topic, 0, &format!("{{\"n\": {n}}}")));
        producer.send(records.collect()).await.expect("sent");
        producer.flush().await.expect("written");
        match commit {
            true => producer.commit().await.expect("committed"),
            false => producer.abort().await.expect("aborted"),
        }
    }

    fn try_table(&self, options: &[(&str, &str)], columns: SchemaRef) -> Result<Box<dyn Source>, ConnectorError> {
        let given =
            [("properties.bootstrap.servers", ADDRESS), ("scan.startup.mode", "earliest-offset"), ("format", "json")];
        let unset = given.into_iter().filter(|(key, _)| options.iter().all(|(other, _)| other != key));
        let options: Vec<(&str, &str)> = unset.chain(options.iter().copied()).collect();
        let identity = SourceIdentity { common: self.common.clone(), ..source_identity(1 << 30) };
        open_source_of(identity, &source("kafka", &options, columns), &settings(1000), &self.context)
    }

    fn table(&self, options: &[(&str, &str)]) -> Box<dyn Source> {
        self.try_table(options, numbers()).expect("its options are sound")
    }

    /// A table of other columns.
    fn table_of(&self, options: &[(&str, &str)], columns: SchemaRef) -> Box<dyn Source> {
        self.try_table(options, columns).expect("its options are sound")
    }

    /// Whether a table of the job was told of this, since this was asked last.
    fn was_told_of(&self, about: &str) -> bool {
        let mut told = false;
        self.context.notices.of(Some(thalweg_types::JobId(1)), "t").is_over(about, || {
            told = true;
            String::new()
        });
        told
    }

    /// Another attempt has nothing in common with the one before.
    fn next_attempt(&mut self) {
        self.common = CommonTables::default();
    }
}

async fn list(table: &dyn Source, listing: Listing) -> Vec<Piece> {
    table.enumerator().expect("it finds partitions").list(listing).await.expect("listed")
}

async fn try_splits(table: &dyn Source, listing: Listing) -> Result<Vec<Split>, ConnectorError> {
    let pieces = list(table, listing).await;
    let cut = table.enumerator().expect("it finds partitions").cut(&pieces, listing).await?;
    assert_eq!(cut.len(), pieces.len());
    Ok(cut.into_iter().flatten().collect())
}

async fn splits(table: &dyn Source) -> Vec<Split> {
    try_splits(table, Listing::First).await.expect("cut")
}

/// The place of a split, and where it ends.
fn place(split: &Split) -> (String, i64, Option<i64>) {
    let payload = &split.payload;
    let name = format!("{}-{}", payload["topic"].as_str().expect("a text"), payload["partition"]);
    (name, payload["offset"].as_i64().expect("a number"), payload["end"].as_i64())
}

async fn places(table: &dyn Source) -> Vec<(String, i64, Option<i64>)> {
    splits(table).await.iter().map(place).collect()
}

/// What a reader has given until it said that nothing more is there.
#[derive(Debug, Default)]
struct Given {
    batches: Vec<RecordBatch>,
    letters: Vec<DeadLetter>,
    has_ended: bool,
}

impl Given {
    fn numbers(&self) -> Vec<i64> {
        let column = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
        self.batches.iter().flat_map(column).collect()
    }
}

/// Reads until nothing more is there.
async fn read_on(reader: &mut dyn SplitReader) -> Result<Given, ConnectorError> {
    let mut given = Given::default();
    loop {
        match reader.next().await? {
            Read::Records { batch, dead_letters } => {
                given.batches.push(batch);
                given.letters.extend(dead_letters);
            }
            Read::CaughtUp => return Ok(given),
            Read::Waiting => {}
            Read::Idle => panic!("a partition does not say so"),
            Read::End => {
                given.has_ended = true;
                return Ok(given);
            }
        }
    }
}

async fn open(table: &dyn Source, split: &Split) -> Box<dyn SplitReader> {
    table.open(split).await.expect("opened")
}

/// The numbers of all partitions, each read until nothing more is there.
async fn read_all(table: &dyn Source, splits: &[Split]) -> Vec<i64> {
    let mut all = Vec::new();
    for split in splits {
        let given = read_on(open(table, split).await.as_mut()).await.expect("read");
        all.extend(given.numbers());
    }
    all
}
