//! What clients of librdkafka do while a broker is away, and when it comes back.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use thalweg_kafka::{
    ClientConfig, Fetched, Isolation, Kafka as _, KafkaError, NewRecord, NewTopic, OffsetAt, TopicPartition, Wanted,
    librdkafka::RdKafka,
    testing::{apache::Broker, seams::seams},
};
use tokio::time::sleep;

/// More than a client holds, so that it always wants more.
const BACKLOG: usize = 20_000;
/// With records. There is one without any behind them.
const PARTITIONS: i32 = 4;

fn config(broker: &Broker) -> ClientConfig {
    let properties =
        [("bootstrap.servers".to_owned(), broker.address()), ("socket.timeout.ms".to_owned(), "3000".to_owned())];
    ClientConfig { properties: properties.into(), queue_bytes: 8 << 20, token: None }
}

fn of(partition: i32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition }
}

async fn fill(kafka: &RdKafka, config: &ClientConfig) {
    let topic = NewTopic { name: "t".to_owned(), partitions: PARTITIONS + 1, replication: None, config: [].into() };
    kafka.admin(config).expect("a client").create_topic(&topic).await.expect("it is created");
    let record = |index: usize| NewRecord {
        topic: "t".into(),
        partition: Some(i32::try_from(index).expect("it fits") % PARTITIONS),
        key: None,
        value: Some(Bytes::from(vec![b'x'; 2_000])),
        headers: Vec::new(),
        timestamp_ms: None,
    };
    let mut producer = kafka.producer(config).expect("a client");
    producer.send((0..BACKLOG).map(record).collect()).await.expect("they are handed over");
    producer.flush().await.expect("they are written");
}

/// How many connections were refused on this machine; `None`: it does not tell. One that is accepted and broken then would not do: librdkafka
/// pauses after those.
fn refused_connections() -> Option<u64> {
    let told = fs::read_to_string("/proc/net/snmp").ok()?;
    let mut lines = told.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let place = lines.next()?.split(' ').position(|name| name == "AttemptFails")?;
    lines.next()?.split(' ').nth(place)?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_gone_is_left_alone() {
    let Some(mut broker) = Broker::start() else { return };
    let (kafka, config) = (RdKafka::new(&seams()), config(&broker));
    fill(&kafka, &config).await;
    let consumer = kafka.consumer(&config, Isolation::ReadCommitted).expect("a client");
    let mut readers = Vec::new();
    for partition in 0..PARTITIONS {
        readers.push(consumer.read(&of(partition), 0).await.expect("a reader"));
    }
    for reader in &mut readers {
        assert!(matches!(reader.next(1).await, Ok(Fetched::Records(_))));
    }
    let admin = kafka.admin(&config).expect("a client");
    admin.topics(&Wanted::Named(vec!["t".to_owned()])).await.expect("it answers");
    admin.offsets(&[of(0)], OffsetAt::Latest, Isolation::ReadCommitted).await.expect("it answers");
    broker.kill();
    let Some(before) = refused_connections() else { return };
    // One that was told nothing yet is in doubt about its topic.
    let mut in_doubt = consumer.read(&of(PARTITIONS), 0).await.expect("a reader");
    #[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
    tokio::spawn(async move { while in_doubt.next(100).await.is_ok() {} });
    #[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
    tokio::spawn(async move {
        loop {
            let topics = admin.topics(&Wanted::Named(vec!["t".to_owned()])).await;
            let offsets = admin.offsets(&[of(0)], OffsetAt::Latest, Isolation::ReadCommitted).await;
            assert!(topics.is_err() && offsets.is_err());
        }
    });
    // They read on, as far as there is something, and wait for more.
    for mut reader in readers {
        #[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
        tokio::spawn(async move { while reader.next(100).await.is_ok() {} });
    }
    sleep(Duration::from_secs(12)).await;
    // Other processes have few.
    let refused = refused_connections().expect("it was told before") - before;
    assert!(refused < 3_000, "{refused} connections were refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_of_a_group_are_committed_again_when_the_broker_is_back() {
    let Some(mut broker) = Broker::start() else { return };
    let (kafka, config) = (RdKafka::new(&seams()), config(&broker));
    let admin = kafka.admin(&config).expect("a client");
    let topic = NewTopic { name: "t".to_owned(), partitions: 1, replication: None, config: [].into() };
    admin.create_topic(&topic).await.expect("it is created");
    // The first answer may take longer than a client waits: the broker creates a topic for groups.
    while admin.commit_group_offsets("g", &[(of(0), 1)].into()).await.is_err() {}
    broker.kill();
    let (asks, back) = (admin.clone(), Arc::new(AtomicU32::new(0)));
    let is_back = back.clone();
    #[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
    let committing = tokio::spawn(async move {
        let mut tried = Vec::new();
        for offset in 2.. {
            let may_go_on = is_back.load(Ordering::Relaxed) == 0;
            let committed = asks.commit_group_offsets("g", &[(of(0), offset)].into()).await;
            if committed.is_ok() && !may_go_on {
                return (offset, tried);
            }
            tried.extend(committed.err());
            sleep(Duration::from_millis(100)).await;
        }
        unreachable!("it ends when the broker is back")
    });
    let gone = admin.group_offsets("g", &[of(0)]).await;
    assert!(matches!(gone, Err(KafkaError::Unavailable { .. })), "{gone:?}");
    sleep(Duration::from_secs(12)).await;
    broker.run();
    back.store(1, Ordering::Relaxed);
    let (offset, tried) =
        tokio::time::timeout(Duration::from_secs(60), committing).await.expect("soon").expect("it ends");
    assert!(tried.iter().all(|error| matches!(error, KafkaError::Unavailable { .. })), "{tried:?}");
    assert_eq!(admin.group_offsets("g", &[of(0)]).await, Ok([(of(0), offset)].into()));
}
