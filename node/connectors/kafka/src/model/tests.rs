//! What goes wrong in the model's cluster, and how its clients meet it. What goes right is in the suite.

use std::time::Duration;

use bytes::Bytes;
use tokio::{task::yield_now, time::timeout};

use super::{ADDRESS, Call, Fault, ModelKafka};
use crate::{
    Admin, ClientConfig, Fetched, Isolation, Kafka, KafkaError, NewRecord, NewTopic, OffsetAt, OutOfRange, Position,
    Producer, TopicPartition, TransactionalProducer, Transactions, Wanted, testing::seams::seams,
};

const TIMEOUT_MS: u64 = 30_000;

struct World {
    kafka: ModelKafka,
    of: TopicPartition,
}

impl World {
    async fn new() -> Self {
        let world = Self { kafka: ModelKafka::new(&seams()), of: TopicPartition { topic: "t".into(), partition: 0 } };
        world.create().await;
        world
    }

    async fn create(&self) {
        let topic = NewTopic { name: "t".to_owned(), partitions: 1, replication: None, config: [].into() };
        assert_eq!(self.admin().create_topic(&topic).await, Ok(true));
    }

    fn config(&self) -> ClientConfig {
        let properties = [("bootstrap.servers".to_owned(), ADDRESS.to_owned())].into();
        ClientConfig { properties, queue_bytes: 1_000, token: None }
    }

    fn admin(&self) -> std::sync::Arc<dyn Admin> {
        self.kafka.admin(&self.config()).expect("a client")
    }

    fn producer(&self) -> Box<dyn Producer> {
        self.kafka.producer(&self.config()).expect("a client")
    }

    /// Writes values by a producer of their own.
    async fn producer_of(&self, values: &[&'static str]) {
        let mut producer = self.producer();
        producer.send(self.records(values)).await.expect("they are handed over");
        producer.flush().await.expect("they are written");
    }

    async fn begun(&self) -> Box<dyn TransactionalProducer> {
        let transactions = Transactions { id: "id".to_owned(), timeout_ms: TIMEOUT_MS };
        let mut producer = self.kafka.transactional(&self.config(), &transactions).expect("a client");
        producer.init().await.expect("it takes its id");
        producer.begin().await.expect("it begins");
        producer
    }

    fn records(&self, values: &[&'static str]) -> Vec<NewRecord> {
        let record = |value: &&'static str| NewRecord {
            topic: self.of.topic.clone(),
            partition: Some(0),
            key: None,
            value: Some(Bytes::from_static(value.as_bytes())),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        values.iter().map(record).collect()
    }

    /// What can be read now.
    async fn values(&self) -> Vec<Bytes> {
        let consumer = self.kafka.consumer(&self.config(), Isolation::ReadCommitted).expect("a client");
        let mut reader = consumer.read(&self.of, 0).await.expect("a reader");
        let mut values = Vec::new();
        while let Fetched::Records(records) = reader.next(100).await.expect("it can be read") {
            values.extend(records.into_iter().filter_map(|record| record.value));
        }
        values
    }

    async fn latest(&self) -> i64 {
        let admin = self.admin();
        let asked = admin.offsets(std::slice::from_ref(&self.of), OffsetAt::Latest, Isolation::ReadCommitted);
        asked.await.expect("it is told")[&self.of]
    }
}

#[tokio::test(start_paused = true)]
async fn brokers_that_are_down_are_waited_for_within_limits() {
    let world = World::new().await;
    let consumer = world.kafka.consumer(&world.config(), Isolation::ReadCommitted).unwrap();
    let mut reader = consumer.read(&world.of, 0).await.unwrap();
    world.kafka.brokers_down();
    assert!(matches!(world.admin().topics(&Wanted::All).await, Err(KafkaError::Unavailable { .. })));
    assert!(timeout(Duration::from_secs(60), reader.next(1)).await.is_err());
    assert!(reader.trouble().is_some_and(|trouble| trouble.contains(ADDRESS)));
    let mut producer = world.producer();
    producer.send(world.records(&["a"])).await.expect("the queue has room");
    assert!(matches!(producer.flush().await, Err(KafkaError::Unavailable { .. })), "in vain");
    producer.send(world.records(&["b"])).await.expect("the queue has room");
    let (flushed, ()) = tokio::join!(producer.flush(), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.kafka.brokers_up();
    });
    flushed.expect("they are back");
    assert_eq!(reader.trouble(), None);
    assert_eq!(world.values().await, ["b"], "what was given up is not written later");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_holds_its_producer_up() {
    let world = World::new().await;
    world.kafka.lose_leader(&world.of);
    let mut producer = world.producer();
    let mut sending = Box::pin(producer.send(world.records(&["x"; 20])));
    assert!(timeout(Duration::from_secs(1), &mut sending).await.is_err());
    world.kafka.elect_leader(&world.of).unwrap();
    sending.await.expect("there is room");
    producer.flush().await.unwrap();
    let consumer = world.kafka.consumer(&world.config(), Isolation::ReadCommitted).unwrap();
    let Ok(Fetched::Records(records)) = consumer.read(&world.of, 0).await.unwrap().next(100).await else {
        panic!("there are records");
    };
    assert_eq!(records.iter().map(|record| record.leader_epoch).collect::<Vec<_>>(), [Some(1); 20]);
}

#[tokio::test(start_paused = true)]
async fn records_whose_answer_was_lost_are_written_once() {
    let world = World::new().await;
    world.kafka.fault(Call::Produce, Fault::LoseAnswer);
    let mut producer = world.producer();
    producer.send(world.records(&["a", "b"])).await.unwrap();
    producer.flush().await.unwrap();
    assert_eq!(world.values().await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_was_lost_has_happened() {
    let world = World::new().await;
    let mut producer = world.begun().await;
    producer.send(world.records(&["a"])).await.unwrap();
    world.kafka.fault(Call::Commit, Fault::LoseAnswer);
    assert!(matches!(producer.commit().await, Err(KafkaError::Broken { .. })));
    assert_eq!(world.values().await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_producer_whose_call_was_dropped_cannot_go_on() {
    let world = World::new().await;
    let mut producer = world.begun().await;
    producer.send(world.records(&["a"])).await.unwrap();
    world.kafka.fault(Call::Commit, Fault::Hang);
    assert!(timeout(Duration::from_secs(5), producer.commit()).await.is_err());
    assert_eq!(world.kafka.open_transactions(), ["id"]);
    world.kafka.release();
    yield_now().await;
    assert!(matches!(producer.commit().await, Err(KafkaError::Broken { .. })));
    assert_eq!(world.kafka.open_transactions(), ["id"]);
    world.begun().await;
    assert_eq!(world.kafka.open_transactions(), [""; 0]);
    assert_eq!(world.values().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_goes_on_when_it_is_released() {
    let world = World::new().await;
    world.kafka.fault(Call::Topics, Fault::Hang);
    let admin = world.admin();
    let mut asked = admin.topics(&Wanted::All);
    assert!(timeout(Duration::from_secs(1), &mut asked).await.is_err());
    world.kafka.release();
    assert_eq!(asked.await.expect("it is answered").len(), 1);
    world.kafka.fault(Call::Topics, Fault::Fail(KafkaError::Denied { reason: "no".to_owned() }));
    assert_eq!(admin.topics(&Wanted::All).await, Err(KafkaError::Denied { reason: "no".to_owned() }));
    assert!(admin.topics(&Wanted::All).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_expiry_aborts_and_fences() {
    let world = World::new().await;
    let mut producer = world.begun().await;
    producer.send(world.records(&["a"])).await.unwrap();
    assert!(world.kafka.expire("id"));
    assert!(!world.kafka.expire("id"));
    assert_eq!(producer.commit().await, Err(KafkaError::Fenced { id: "id".to_owned() }));
    assert_eq!(world.values().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_expires_by_itself_and_wakes_readers() {
    let world = World::new().await;
    let mut producer = world.begun().await;
    producer.send(world.records(&["a"])).await.unwrap();
    assert_eq!(world.latest().await, 0);
    let consumer = world.kafka.consumer(&world.config(), Isolation::ReadCommitted).unwrap();
    let mut reader = consumer.read(&world.of, 0).await.unwrap();
    assert_eq!(reader.next(1).await, Ok(Fetched::CaughtUp));
    let woken = timeout(Duration::from_millis(TIMEOUT_MS + 1), reader.next(1)).await;
    assert_eq!(woken, Ok(Ok(Fetched::CaughtUp)), "the end is behind the mark now");
    assert_eq!(reader.position(), 2);
}

#[tokio::test(start_paused = true)]
async fn marks_that_are_late_hold_back_readers_and_the_next_transaction() {
    let world = World::new().await;
    world.kafka.delay_marks(Duration::from_secs(3));
    let mut producer = world.begun().await;
    producer.send(world.records(&["a"])).await.unwrap();
    producer.commit().await.unwrap();
    assert_eq!(world.values().await, [""; 0]);
    let mut next = Box::pin(world.begun());
    assert!(timeout(Duration::from_secs(2), &mut next).await.is_err());
    next.await;
    assert_eq!(world.values().await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_made_anew_is_read_by_its_name() {
    let world = World::new().await;
    let mut producer = world.producer();
    producer.send(world.records(&["a", "b"])).await.unwrap();
    let consumer = world.kafka.consumer(&world.config(), Isolation::ReadCommitted).unwrap();
    let mut reader = consumer.read(&world.of, 0).await.unwrap();
    assert!(matches!(reader.next(1).await, Ok(Fetched::Records(_))));
    assert!(world.kafka.delete_topic("t"));
    assert_eq!(reader.next(1).await, Err(KafkaError::NoTopic { topic: "t".to_owned() }));
    world.create().await;
    let beyond = reader.next(1).await;
    assert!(matches!(beyond, Err(KafkaError::OffsetOutOfRange { offset: 1, .. })), "{beyond:?}");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_grows_has_more_partitions() {
    let world = World::new().await;
    world.kafka.grow_topic("t", 3).unwrap();
    let topics = world.admin().topics(&Wanted::All).await.unwrap();
    assert_eq!(topics[0].partitions, 3);
    assert!(world.kafka.grow_topic("missing", 3).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_restored_cluster_knows_nothing_of_what_came_after() {
    let world = World::new().await;
    let mut producer = world.begun().await;
    producer.send(world.records(&["a"])).await.unwrap();
    producer.commit().await.unwrap();
    let snapshot = world.kafka.snapshot();
    producer.begin().await.unwrap();
    producer.send(world.records(&["b"])).await.unwrap();
    producer.commit().await.unwrap();
    world.kafka.restore(&snapshot);
    assert_eq!(world.values().await, ["a"]);
    producer.begin().await.unwrap();
    assert!(producer.send(world.records(&["c"])).await.is_err(), "brokers miss what it wrote before");
    let mut next = world.begun().await;
    next.send(world.records(&["d"])).await.unwrap();
    next.commit().await.unwrap();
    assert_eq!(world.values().await, ["a", "d"]);
}

/// While somebody reads on, and for those who come back, whether or not there are as many records again.
#[tokio::test(start_paused = true)]
async fn a_log_that_a_leader_has_cut_back_is_told_of() {
    let world = World::new().await;
    world.producer_of(&["a", "b", "c"]).await;
    let consumer = world.kafka.consumer(&world.config(), Isolation::ReadCommitted).unwrap();
    let mut reader = consumer.read(&world.of, 0).await.unwrap();
    assert!(matches!(reader.next(3).await, Ok(Fetched::Records(records)) if records.len() == 3));
    world.kafka.elect_unclean(&world.of, 1).unwrap();
    let why = OutOfRange::CutBack { end: Some(1) };
    let cut_back = KafkaError::OffsetOutOfRange { partition: world.of.clone(), offset: 3, why };
    for _ in 0..2 {
        assert_eq!(reader.next(3).await, Err(cut_back.clone()));
        let consumer = world.kafka.consumer(&world.config(), Isolation::ReadCommitted).unwrap();
        let from = Position { offset: 3, leader_epoch: Some(0) };
        assert_eq!(consumer.read_from(&world.of, from).await.unwrap().next(3).await, Err(cut_back.clone()));
        world.producer_of(&["x", "y", "z"]).await;
    }
    assert_eq!(world.values().await, ["a", "x", "y", "z", "x", "y", "z"]);
}
