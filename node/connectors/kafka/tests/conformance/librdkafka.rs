//! librdkafka, with a broker of Apache Kafka.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use thalweg_kafka::{
    ClientConfig, Fetched, Isolation, Kafka, KafkaError, NewRecord, NewTopic, PartitionReader, TopicPartition,
    Transactions, Wanted,
    librdkafka::RdKafka,
    testing::{
        apache::Broker,
        seams::seams,
        suite::{Check, Harness, checks, run},
    },
};

/// Most checks wait more than they do.
const AT_ONCE: usize = 4;

struct Apache {
    kafka: RdKafka,
    address: String,
    admin: AdminClient<DefaultClientContext>,
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
}

fn failed<T>(result: Result<T, String>) -> Result<(), KafkaError> {
    result.map(drop).map_err(|reason| KafkaError::Broken { reason })
}

#[tokio::test]
async fn librdkafka_with_apache_kafka_passes_the_suite() {
    let Some(mut broker) = Broker::start() else { return };
    let admin = rdkafka::ClientConfig::new().set("bootstrap.servers", broker.address()).create().expect("a client");
    let apache = Arc::new(Apache { kafka: RdKafka::new(&seams()), address: broker.address(), admin });
    let run_one = async |check: Check| run(&check, apache.as_ref()).await.err();
    let failed: Vec<_> = stream::iter(checks()).map(run_one).buffer_unordered(AT_ONCE).collect().await;
    let failed: Vec<String> = failed.into_iter().flatten().map(|error| error.to_string()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    a_broker_that_comes_back_is_found_again(apache.as_ref(), &mut broker).await;
}

/// With the same broker, since each takes its time to start.
async fn a_broker_that_comes_back_is_found_again(apache: &Apache, broker: &mut Broker) {
    let (kafka, mut config) = (&apache.kafka, apache.config());
    config.properties.insert("socket.timeout.ms".to_owned(), "3000".to_owned());
    let admin = kafka.admin(&config).expect("a client");
    let topic = NewTopic { name: "restarted".to_owned(), partitions: 1, config: [].into() };
    assert_eq!(admin.create_topic(&topic).await, Ok(true));
    let of = TopicPartition { topic: "restarted".into(), partition: 0 };
    let record = |value: &'static str| NewRecord {
        topic: of.topic.clone(),
        partition: Some(0),
        key: None,
        value: Some(Bytes::from_static(value.as_bytes())),
        headers: Vec::new(),
        timestamp_ms: None,
    };
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
