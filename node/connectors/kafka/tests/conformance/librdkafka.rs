//! librdkafka, with a broker of Apache Kafka.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use thalweg_kafka::{
    ClientConfig, Fetched, Isolation, Kafka, KafkaError, NewRecord, NewTopic, OutOfRange, PartitionReader, Position,
    TopicPartition, Transactions, Wanted,
    librdkafka::RdKafka,
    testing::{
        apache::{Broker, Setup},
        seams::seams,
        suite::{Check, Harness, checks, checks_of_several, run},
    },
};

/// Most checks wait more than they do.
const AT_ONCE: usize = 4;

struct Apache {
    kafka: RdKafka,
    address: String,
    admin: AdminClient<DefaultClientContext>,
    /// Those that partitions are moved between.
    brokers: Vec<Broker>,
}

#[async_trait]
impl Harness for Apache {
    fn kafka(&self) -> &dyn Kafka {
        &self.kafka
    }

    fn config(&self) -> ClientConfig {
        let properties = [("bootstrap.servers".to_owned(), self.address.clone())].into();
        ClientConfig { properties, queue_bytes: 8 << 20, token: None }
    }

    async fn delete_topic(&self, name: &str) -> Result<(), KafkaError> {
        let deleted = self.admin.delete_topics(&[name], &AdminOptions::new()).await;
        let deleted = deleted.map_err(|error| error.to_string());
        failed(deleted.and_then(|mut topics| topics.remove(0).map_err(|(_, code)| code.to_string())))
    }

    async fn delete_records(&self, of: &TopicPartition, before: i64) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        let added = list.add_partition_offset(&of.topic, of.partition, Offset::Offset(before));
        failed(added.map_err(|error| error.to_string()))?;
        let deleted = self.admin.delete_records(&list, &AdminOptions::new()).await;
        failed(deleted.map_err(|error| error.to_string()))
    }

    async fn change_leader(&self, of: &TopicPartition) -> Result<(), KafkaError> {
        let broken = |reason: String| KafkaError::Broken { reason };
        let leader = self.leader(of).map_err(broken)?;
        let other = self.brokers.iter().map(Broker::id).find(|id| *id != leader);
        let other = other.ok_or_else(|| broken("there is one broker".to_owned()))?;
        self.brokers[0].move_partition(of, other);
        while self.leader(of).map_err(broken)? != other {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

impl Apache {
    fn new(address: String, brokers: Vec<Broker>) -> Self {
        let admin = rdkafka::ClientConfig::new().set("bootstrap.servers", &address).create().expect("a client");
        Self { kafka: RdKafka::new(&seams()), address, admin, brokers }
    }

    fn leader(&self, of: &TopicPartition) -> Result<i32, String> {
        let metadata = self.admin.inner().fetch_metadata(Some(&of.topic), Duration::from_secs(10));
        let metadata = metadata.map_err(|error| error.to_string())?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let mut led = partitions.filter(|partition| partition.id() == of.partition).map(|partition| partition.leader());
        led.next().ok_or_else(|| format!("there is no {of}"))
    }

    /// A topic with one partition.
    async fn topic(&self, name: &str) -> TopicPartition {
        let topic = NewTopic { name: name.to_owned(), partitions: 1, replication: None, config: [].into() };
        let created = self.kafka.admin(&self.config()).expect("a client").create_topic(&topic).await;
        assert_eq!(created, Ok(true), "{name}");
        TopicPartition { topic: name.into(), partition: 0 }
    }
}

fn record(of: &TopicPartition, value: &'static str) -> NewRecord {
    NewRecord {
        topic: of.topic.clone(),
        partition: Some(of.partition),
        key: None,
        value: Some(Bytes::from_static(value.as_bytes())),
        headers: Vec::new(),
        timestamp_ms: None,
    }
}

fn failed<T>(result: Result<T, String>) -> Result<(), KafkaError> {
    result.map(drop).map_err(|reason| KafkaError::Broken { reason })
}

#[tokio::test]
async fn librdkafka_with_apache_kafka_passes_the_suite() {
    let Some(mut broker) = Broker::start() else { return };
    let apache = Apache::new(broker.address(), Vec::new());
    let run_one = async |check: Check| run(&check, &apache).await.err();
    let failed: Vec<_> = stream::iter(checks()).map(run_one).buffer_unordered(AT_ONCE).collect().await;
    let failed: Vec<String> = failed.into_iter().flatten().map(|error| error.to_string()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    a_damaged_batch_is_passed_over_by_nobody(&apache, &broker).await;
    a_broker_that_comes_back_is_found_again(&apache, &mut broker).await;
    a_log_that_was_cut_back_is_told_of(&apache, &mut broker).await;
}

#[tokio::test]
async fn librdkafka_follows_leaders_of_apache_kafka() {
    // Each partition is on one broker, so moving it changes its leader.
    let settings = ["default.replication.factor", "min.insync.replicas"].map(|key| (key.to_owned(), "1".to_owned()));
    let setup = Setup { settings: settings.into(), ..Setup::default() };
    let Some(brokers) = Broker::start_several(&setup, 2) else { return };
    let address = brokers.iter().map(Broker::address).collect::<Vec<_>>().join(",");
    let apache = Apache::new(address, brokers);
    for check in checks_of_several() {
        run(&check, &apache).await.expect("it holds");
    }
}

/// A broker that was killed cuts its log at the first batch that is damaged, and is leader again in another epoch: as if another broker that
/// did not have all had become leader.
async fn a_log_that_was_cut_back_is_told_of(apache: &Apache, broker: &mut Broker) {
    let of = apache.topic("cut").await;
    let write = async |values: [&'static str; 3]| {
        let mut producer = apache.kafka.producer(&apache.config()).expect("a client");
        for value in values {
            producer.send(vec![record(&of, value)]).await.expect("it is handed over");
            producer.flush().await.expect("it is written");
        }
    };
    write(["a", "LOST", "c"]).await;
    let consumer = apache.kafka.consumer(&apache.config(), Isolation::ReadCommitted).expect("a client");
    let mut reader = consumer.read(&of, 0).await.expect("a reader");
    for value in ["a", "LOST", "c"] {
        assert_eq!(next_value(reader.as_mut()).await, value);
    }
    let other = apache.kafka.consumer(&apache.config(), Isolation::ReadCommitted).expect("a client");
    broker.kill();
    broker.damage(&of, b"LOST");
    broker.run();
    write(["x", "y", "z"]).await;
    // As many as before: without an epoch nobody would notice.
    assert_eq!(next_value(other.read(&of, 3).await.expect("a reader").as_mut()).await, "z");
    let from = Position { offset: 3, leader_epoch: Some(0) };
    let another = other.read_from(&of, from).await.expect("a reader");
    let why = OutOfRange::CutBack { end: Some(1) };
    let cut_back = KafkaError::OffsetOutOfRange { partition: of.clone(), offset: 3, why };
    for mut reader in [reader, another] {
        let told = async {
            loop {
                match reader.next(1).await {
                    Ok(Fetched::CaughtUp) => {}
                    other => return other,
                }
            }
        };
        let told = tokio::time::timeout(Duration::from_secs(60), told).await;
        assert_eq!(told, Ok(Err(cut_back.clone())));
    }
}

/// Neither what is in it nor what comes behind it is given, whatever is asked for at once.
async fn a_damaged_batch_is_passed_over_by_nobody(apache: &Apache, broker: &Broker) {
    let of = apache.topic("damaged").await;
    let mut producer = apache.kafka.producer(&apache.config()).expect("a client");
    for value in ["whole", "DAMAGED", "behind it"] {
        producer.send(vec![record(&of, value)]).await.expect("it is handed over");
        producer.flush().await.expect("it is written");
    }
    broker.damage(&of, b"DAMAGED");
    for records_max in [1, 100] {
        let consumer = apache.kafka.consumer(&apache.config(), Isolation::ReadCommitted).expect("a client");
        let mut reader = consumer.read(&of, 0).await.expect("a reader");
        // All of it has come when it is asked for.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut values = Vec::new();
        let told = loop {
            match reader.next(records_max).await {
                Ok(Fetched::Records(records)) => values.extend(records.into_iter().filter_map(|record| record.value)),
                Ok(Fetched::CaughtUp) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(values, ["whole"]);
        let names_it = |reason: &String| reason.contains("damaged-0") && reason.contains("offset 1");
        assert!(matches!(&told, KafkaError::Broken { reason } if names_it(reason)), "{told:?}");
        assert_eq!(reader.next(records_max).await, Err(told), "it is told from then on");
    }
}

/// With the same broker, since each takes its time to start.
async fn a_broker_that_comes_back_is_found_again(apache: &Apache, broker: &mut Broker) {
    let (kafka, mut config) = (&apache.kafka, apache.config());
    config.properties.insert("socket.timeout.ms".to_owned(), "3000".to_owned());
    let admin = kafka.admin(&config).expect("a client");
    let of = apache.topic("restarted").await;
    let record = |value: &'static str| record(&of, value);
    let transactions = Transactions { id: "restarted".to_owned(), timeout_ms: 120_000 };
    let mut producer = kafka.transactional(&config, &transactions).expect("a client");
    producer.init().await.expect("it takes its id");
    producer.begin().await.expect("it begins");
    producer.send(vec![record("before")]).await.expect("it is handed over");
    producer.flush().await.expect("it is written");
    let consumer = kafka.consumer(&config, Isolation::ReadUncommitted).expect("a client");
    let mut uncommitted = consumer.read(&of, 0).await.expect("a reader");
    assert_eq!(next_value(uncommitted.as_mut()).await, "before");
    let mut hasty_config = config.clone();
    hasty_config.properties.insert("delivery.timeout.ms".to_owned(), "1500".to_owned());
    let transactions = Transactions { id: "hasty".to_owned(), timeout_ms: 120_000 };
    let mut hasty = kafka.transactional(&hasty_config, &transactions).expect("a client");
    hasty.init().await.expect("it takes its id");
    hasty.begin().await.expect("it begins");
    hasty.send(vec![record("given up")]).await.expect("it is handed over");
    hasty.flush().await.expect("it is written");
    assert_eq!(next_value(uncommitted.as_mut()).await, "given up");

    broker.kill();
    hasty.send(vec![record("given up, too")]).await.expect("the queue has room");
    let late = hasty.flush().await;
    assert!(matches!(&late, Err(KafkaError::Unavailable { .. })), "{late:?}");
    let doomed = hasty.commit().await;
    assert!(matches!(&doomed, Err(KafkaError::Aborted { .. })), "{doomed:?}");
    let waiting = tokio::time::timeout(Duration::from_secs(3), next_value(uncommitted.as_mut())).await;
    assert!(waiting.is_err(), "{waiting:?}");
    let trouble = uncommitted.trouble().expect("it is told what the trouble is");
    assert!(trouble.contains(&apache.address), "{trouble}");
    let asked = admin.topics(&Wanted::All).await;
    let names_it = |reason: &String| reason.contains(&apache.address) && reason.contains("Connection refused");
    assert!(matches!(&asked, Err(KafkaError::Unavailable { reason }) if names_it(reason)), "{asked:?}");
    producer.send(vec![record("meanwhile")]).await.expect("the queue has room");

    broker.run();
    producer.commit().await.expect("it commits");
    hasty.abort().await.expect("it aborts");
    hasty.begin().await.expect("it begins");
    hasty.send(vec![record("again")]).await.expect("it is handed over");
    hasty.commit().await.expect("it commits");
    while next_value(uncommitted.as_mut()).await != "again" {}
    assert_eq!(uncommitted.trouble(), None);
    let consumer = kafka.consumer(&config, Isolation::ReadCommitted).expect("a client");
    let mut committed = consumer.read(&of, 0).await.expect("a reader");
    for value in ["before", "meanwhile", "again"] {
        assert_eq!(next_value(committed.as_mut()).await, value);
    }
    assert!(admin.topics(&Wanted::All).await.is_ok());
}

async fn next_value(reader: &mut dyn PartitionReader) -> Bytes {
    loop {
        if let Fetched::Records(mut records) = reader.next(1).await.expect("it can be read") {
            return records.remove(0).value.expect("it has a value");
        }
    }
}
