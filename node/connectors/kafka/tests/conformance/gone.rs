//! What clients of librdkafka do while a broker is away, and when it comes back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use thalweg_kafka::{
    ClientConfig, Kafka as _, KafkaError, NewTopic, TopicPartition,
    librdkafka::RdKafka,
    testing::{apache::Broker, seams::seams},
};
use tokio::time::sleep;

fn config(broker: &Broker) -> ClientConfig {
    let properties =
        [("bootstrap.servers".to_owned(), broker.address()), ("socket.timeout.ms".to_owned(), "3000".to_owned())];
    ClientConfig { properties: properties.into(), queue_bytes: 8 << 20, token: None }
}

fn of(partition: i32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_of_a_group_are_committed_again_when_the_broker_is_back() {
    let Some(mut broker) = Broker::start() else { return };
    let (kafka, config) = (RdKafka::new(&seams()), config(&broker));
    let admin = kafka.admin(&config).expect("a client");
    let topic = NewTopic { name: "t".to_owned(), partitions: 1, config: [].into() };
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
