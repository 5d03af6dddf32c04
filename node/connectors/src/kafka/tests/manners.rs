//! How a table behaves towards brokers, people and memory.

use std::time::Duration;

use thalweg_kafka::model::{Call, Fault};
use thalweg_types::{CheckpointId, job::FailureKind};
use tokio::time::{sleep, timeout};

use super::*;
use crate::{
    Backlog,
    http_client::{HttpAnswer, HttpClient, HttpRequest},
    open_source,
};

#[tokio::test(start_paused = true)]
async fn brokers_that_do_not_answer_are_waited_for() {
    let world = World::new();
    world.topic("t", 2).await;
    world.put("t", 0, 0..3).await;
    let table = world.table(&[("topic", "t")]);
    let splits = splits(table.as_ref()).await;
    let mut reader = open(table.as_ref(), &splits[0]).await;
    assert_eq!(read_on(reader.as_mut()).await.expect("read").numbers(), [0, 1, 2]);
    world.kafka.brokers_down();
    assert!(matches!(reader.next().await, Ok(Read::Waiting)), "it is not silent");
    assert_eq!(table.backlog(), Some(Backlog { records: 0, unreachable: 1, ..Backlog::default() }));
    let mut other = open(table.as_ref(), &splits[1]).await;
    assert!(matches!(other.next().await, Ok(Read::Waiting)), "nor is one that is only now to be read");
    assert!(timeout(Duration::from_secs(3600), reader.next()).await.is_err(), "however long, and said once");
    world.kafka.brokers_up();
    assert!(matches!(timeout(Duration::from_secs(10), reader.next()).await, Ok(Ok(Read::CaughtUp))));
    read_on(other.as_mut()).await.expect("read");
    assert_eq!(table.backlog(), Some(Backlog { records: 0, unreachable: 0, ..Backlog::default() }));
    world.put("t", 0, [3]).await;
    assert_eq!(read_on(reader.as_mut()).await.expect("read").numbers(), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_without_a_leader_is_waited_for() {
    let world = World::new();
    world.topic("t", 1).await;
    world.put("t", 0, 0..3).await;
    let table = world.table(&[("topic", "t")]);
    let mut reader = open(table.as_ref(), &splits(table.as_ref()).await[0]).await;
    assert!(matches!(reader.next().await, Ok(Read::Records { .. })));
    world.kafka.lose_leader(&at("t", 0));
    loop {
        match reader.next().await.expect("no error") {
            Read::Waiting => break,
            Read::Records { .. } | Read::CaughtUp => {}
            other @ (Read::Idle | Read::End) => panic!("{other:?}"),
        }
    }
    world.kafka.elect_leader(&at("t", 0)).expect("elected");
    world.put("t", 0, [3]).await;
    let mut last = None;
    while last != Some(3) {
        last = read_on(reader.as_mut()).await.expect("read").numbers().last().copied().or(last);
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_fails_is_repeated_and_one_that_is_refused_is_not() {
    let world = World::new();
    world.topic("t", 1).await;
    let table = world.table(&[("topic", "t")]);
    let away = || Fault::Fail(KafkaError::Unavailable { reason: "nobody".to_owned() });
    (0..3).for_each(|_| world.kafka.fault(Call::Topics, away()));
    world.kafka.fault(Call::Offsets, away());
    assert_eq!(splits(table.as_ref()).await.len(), 1);
    world.kafka.fault(Call::Topics, Fault::Fail(KafkaError::Denied { reason: "not you".to_owned() }));
    let listed = table.enumerator().expect("it finds partitions").list(Listing::Later).await;
    assert_eq!(listed.expect_err("it is refused").failure_kind(), FailureKind::Data);
}

/// Where nobody leads a partition, no connection fails either: the client tells of no trouble after a while.
#[tokio::test(start_paused = true)]
async fn a_partition_without_a_leader_is_never_silent_and_others_are_soon() {
    let world = World::new();
    world.topic("t", 2).await;
    let table = world.table(&[("topic", "t")]);
    let splits = splits(table.as_ref()).await;
    let mut reader = open(table.as_ref(), &splits[0]).await;
    let mut other = open(table.as_ref(), &splits[1]).await;
    for reader in [&mut reader, &mut other] {
        read_on(reader.as_mut()).await.expect("read");
    }
    world.kafka.lose_leader(&at("t", 0));
    let read = timeout(Duration::from_secs(30), reader.next()).await;
    assert!(matches!(read, Ok(Ok(Read::Waiting))), "{read:?}");
    let trouble = async {
        // The client tells of a failed connection, whose ever it was.
        while !matches!(other.next().await, Ok(Read::CaughtUp)) {}
    };
    timeout(Duration::from_secs(10), trouble).await.expect("its leader says that there is nothing more");
    let read = timeout(Duration::from_secs(3600), reader.next()).await;
    assert!(read.is_err(), "it is waited for as long as nobody leads it: {read:?}");
    let read = timeout(Duration::from_secs(3600), other.next()).await;
    assert!(read.is_err(), "and nothing is wrong with the other: {read:?}");
    world.kafka.elect_leader(&at("t", 0)).expect("elected");
    let read = timeout(Duration::from_secs(30), reader.next()).await;
    assert!(matches!(read, Ok(Ok(Read::CaughtUp))), "{read:?}");
}

async fn checked(world: &World, options: &[(&str, &str)], patient: bool) -> Result<(), String> {
    let table = world.table(options);
    table.check(patient).await.map_err(|error| {
        assert_eq!(error.failure_kind(), FailureKind::Data, "the job ends at once");
        error.to_string()
    })
}

#[tokio::test(start_paused = true)]
async fn a_table_is_checked_before_its_job_runs() {
    let mut world = World::new();
    world.topic("t", 1).await;
    assert_eq!(checked(&world, &[("topic", "t")], false).await, Ok(()));
    world.next_attempt();
    let missing = checked(&world, &[("topic", "t;u")], false).await.expect_err("there is no u");
    assert!(missing.contains("table t: option 'topic': there is no topic 'u' at model:9092"), "{missing}");
    assert_eq!(checked(&world, &[("topic", "t;u")], true).await, Ok(()), "that is for the rule of data loss");
    world.next_attempt();
    let elsewhere = [("topic", "t"), ("properties.bootstrap.servers", "nowhere:9092")];
    let away = timeout(Duration::from_secs(14), checked(&world, &elsewhere, false)).await.expect("an answer in time");
    let away = away.expect_err("nobody answers");
    for part in ["'properties.bootstrap.servers' = 'nowhere:9092'", "'topic' 't'"] {
        assert!(away.contains(part), "{away}");
    }
    assert_eq!(checked(&world, &elsewhere, true).await, Ok(()), "they may come back");
    world.next_attempt();
    world.kafka.fault(Call::Topics, Fault::Fail(KafkaError::Denied { reason: "model:9092: who are you".to_owned() }));
    let denied = checked(&world, &[("topic", "t")], true).await.expect_err("it is refused");
    assert!(denied.contains("who are you") && denied.contains("properties.sasl"), "{denied}");
    world.next_attempt();
    let unknown = checked(&world, &[("topic", "t"), ("properties.transactional.id", "x")], false).await;
    assert!(unknown.expect_err("it is refused").contains("transactional.id"));
}

#[tokio::test(start_paused = true)]
async fn a_group_is_told_of_complete_checkpoints_only() {
    let world = World::new();
    world.topic("t", 2).await;
    world.put("t", 0, 0..5).await;
    let table = world.table(&[("topic", "t"), ("properties.group.id", "g")]);
    let splits = splits(table.as_ref()).await;
    let mut reader = open(table.as_ref(), &splits[0]).await;
    read_on(reader.as_mut()).await.expect("read");
    sleep(Duration::from_secs(60)).await;
    let committed = async || {
        sleep(Duration::from_secs(20)).await;
        world.admin().group_offsets("g", &[at("t", 0), at("t", 1)]).await.expect("told")
    };
    assert_eq!(committed().await, [].into(), "no checkpoint is complete");
    table.completed(CheckpointId(1), &[reader.position(), splits[1].clone()]);
    assert_eq!(committed().await, [(at("t", 0), 5), (at("t", 1), 0)].into());
    // What fails is tried again, with what is newer by then.
    (0..2).for_each(|_| {
        world
            .kafka
            .fault(Call::CommitGroupOffsets, Fault::Fail(KafkaError::Unavailable { reason: "nobody".to_owned() }))
    });
    world.put("t", 0, 5..8).await;
    read_on(reader.as_mut()).await.expect("read");
    table.completed(CheckpointId(2), &[reader.position()]);
    assert_eq!(committed().await, [(at("t", 0), 8), (at("t", 1), 0)].into());
    // The last checkpoint is told when the table is about to be closed.
    world.put("t", 0, [8]).await;
    read_on(reader.as_mut()).await.expect("read");
    table.completed(CheckpointId::FINAL, &[reader.position()]);
    drop((reader, table));
    assert_eq!(committed().await[&at("t", 0)], 9);
}

/// The next attempt tells where it goes on from. What an attempt before tells behind that would set the group back.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_over_tells_a_group_nothing_more() {
    let mut world = World::new();
    world.topic("t", 1).await;
    world.put("t", 0, 0..9).await;
    let options = [("topic", "t"), ("properties.group.id", "g")];
    let table = world.table(&options);
    let split = splits(table.as_ref()).await.remove(0);
    let later = async |table: &dyn Source| {
        let mut reader = open(table, &split).await;
        read_on(reader.as_mut()).await.expect("read");
        reader.position()
    };
    world.kafka.fault(Call::CommitGroupOffsets, Fault::Fail(KafkaError::Unavailable { reason: "nobody".to_owned() }));
    table.completed(CheckpointId(1), std::slice::from_ref(&split));
    sleep(Duration::from_secs(1)).await;
    drop(table);
    world.next_attempt();
    let next = world.table(&options);
    next.completed(CheckpointId(2), &[later(next.as_ref()).await]);
    sleep(Duration::from_secs(60)).await;
    let told = world.admin().group_offsets("g", &[at("t", 0)]).await.expect("told");
    assert_eq!(told, [(at("t", 0), 9)].into());
}

/// Brokers that have frozen tell of no trouble: only that they do not answer shows it.
#[tokio::test(start_paused = true)]
async fn a_partition_whose_broker_has_frozen_is_not_silent() {
    let world = World::new();
    world.topic("t", 1).await;
    world.put("t", 0, 0..3).await;
    let table = world.table(&[("topic", "t")]);
    let splits = splits(table.as_ref()).await;
    let mut reader = open(table.as_ref(), &splits[0]).await;
    assert_eq!(read_on(reader.as_mut()).await.expect("read").numbers(), [0, 1, 2]);
    for call in [Call::Topics, Call::Offsets] {
        world.kafka.fault(call, Fault::Hang);
        world.kafka.fault(Call::Fetch, Fault::Hang);
        let waits = async { while !matches!(reader.next().await.expect("it is waited for"), Read::Waiting) {} };
        timeout(Duration::from_secs(6), waits).await.expect("it is noticed soon");
        assert_eq!(table.backlog().map(|backlog| backlog.unreachable), Some(1));
        world.kafka.release();
        world.put("t", 0, [7]).await;
        let given = timeout(Duration::from_secs(30), read_on(reader.as_mut())).await.expect("it goes on");
        assert_eq!(given.expect("read").numbers(), [7], "{call:?}");
    }
}

/// A registry that answers as often as it is let.
#[derive(Debug)]
struct SlowRegistry(tokio::sync::Semaphore);

#[async_trait::async_trait]
impl HttpClient for SlowRegistry {
    async fn send(&self, _: HttpRequest) -> Result<HttpAnswer, Box<dyn std::error::Error + Send + Sync>> {
        let _let = self.0.acquire().await?;
        let body =
            r#"{ "schema": "{\"type\":\"record\",\"name\":\"r\",\"fields\":[{\"name\":\"n\",\"type\":\"long\"}]}" }"#;
        Ok(HttpAnswer { status: 200, retry_after: None, body: body.into(), is_cut: false })
    }
}

/// The registry keeps the records, not the partition: others must not take it for silent.
#[tokio::test(start_paused = true)]
async fn a_partition_that_waits_for_a_schema_is_not_silent() {
    let mut world = World::new();
    let registry = Arc::new(SlowRegistry(tokio::sync::Semaphore::new(0)));
    world.context.http = registry.clone();
    world.topic("t", 1).await;
    // A zero, the schema's id, and 7 as Avro has it.
    world.produce(vec![record("t", 0, "\0\0\0\0\u{1}\u{e}")]).await;
    let options = [("topic", "t"), ("format", "avro-confluent"), ("avro-confluent.url", "http://registry")];
    let table = world.table(&options);
    let splits = splits(table.as_ref()).await;
    let mut reader = open(table.as_ref(), &splits[0]).await;
    let first = timeout(Duration::from_secs(3), reader.next()).await.expect("it says so soon");
    assert!(matches!(first, Ok(Read::Waiting)), "{first:?}");
    assert_eq!(table.backlog().map(|backlog| backlog.unreachable), Some(1));
    registry.0.add_permits(1);
    assert_eq!(read_on(reader.as_mut()).await.expect("read").numbers(), [7]);
    assert_eq!(table.backlog().map(|backlog| backlog.unreachable), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_table_without_a_group_tells_none() {
    let world = World::new();
    world.topic("t", 1).await;
    let table = world.table(&[("topic", "t")]);
    world.kafka.fault(Call::CommitGroupOffsets, Fault::Hang);
    table.completed(CheckpointId(1), &splits(table.as_ref()).await);
    sleep(Duration::from_secs(60)).await;
    let hangs = world.admin();
    let asked = timeout(Duration::from_secs(1), hangs.commit_group_offsets("g", &[(at("t", 0), 1)].into())).await;
    assert!(asked.is_err(), "the fault is still to come");
}

#[tokio::test(start_paused = true)]
async fn the_lag_is_what_lies_behind_the_positions() {
    let world = World::new();
    world.topic("t", 2).await;
    world.put("t", 0, 0..100).await;
    let table = world.table(&[("topic", "t")]);
    let splits = splits(table.as_ref()).await;
    assert_eq!(table.backlog(), Some(Backlog::default()), "nothing is open");
    let mut reader = open(table.as_ref(), &splits[0]).await;
    let _other = open(table.as_ref(), &splits[1]).await;
    let Ok(Read::Records { batch, .. }) = reader.next().await else { panic!("there are records") };
    world.put("t", 0, 100..150).await;
    world.put("t", 1, 0..7).await;
    sleep(Duration::from_secs(15)).await;
    let left = 157 - batch.num_rows() as u64;
    assert_eq!(table.backlog(), Some(Backlog { records: left, unreachable: 0, ..Backlog::default() }));
    read_on(reader.as_mut()).await.expect("read");
    assert_eq!(table.backlog(), Some(Backlog { records: 7, unreachable: 0, ..Backlog::default() }));
    drop(reader);
    sleep(Duration::from_secs(15)).await;
    assert_eq!(
        table.backlog(),
        Some(Backlog { records: 7, unreachable: 0, ..Backlog::default() }),
        "who reads it next tells of it"
    );
}

#[tokio::test(start_paused = true)]
async fn subtasks_of_a_node_share_one_client() {
    let world = World::new();
    world.topic("t", 40).await;
    let tables = [world.table(&[("topic", "t")]), world.table(&[("topic", "t")])];
    let splits = splits(tables[0].as_ref()).await;
    let mut readers = Vec::new();
    for (split, table) in splits.iter().zip(tables.iter().cycle()) {
        readers.push(open(table.as_ref(), split).await);
    }
    for reader in &mut readers {
        read_on(reader.as_mut()).await.expect("read");
    }
    assert_eq!(world.consumers.load(Ordering::Relaxed), 1);
    assert_eq!(tables[0].open_max(), usize::MAX, "none waits for another's end");
}

#[tokio::test]
async fn queues_count_in_the_memory_of_the_node() {
    let world = World::new();
    let identity = source_identity(16 << 20);
    let decoding = identity.decoding.clone();
    let options = [
        ("properties.bootstrap.servers", ADDRESS),
        ("topic", "t"),
        ("scan.startup.mode", "earliest-offset"),
        ("format", "json"),
    ];
    let spec = source("kafka", &options, numbers());
    let tables: Vec<_> = (0..2)
        .map(|_| open_source_of(identity.clone(), &spec, &settings(1000), &world.context).expect("it is sound"))
        .collect();
    assert_eq!(decoding.held_bytes(), 4 << 20, "once for all subtasks");
    drop(tables);
    open_source(&spec, &settings(1000), &world.context).expect("it is sound");
    assert_eq!(decoding.held_bytes(), 4 << 20, "a table that is only checked has no queue");
}

#[tokio::test]
async fn a_build_without_a_client_says_so() {
    let mut world = World::new();
    world.context.kafka = None;
    let error = world.try_table(&[("topic", "t")], numbers()).map(drop).expect_err("there is no client").to_string();
    assert!(error.contains("this build has no Kafka client"), "{error}");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_when_the_table_is_opened() {
    let world = World::new();
    for (options, reason) in [
        (&[("topic-pattern", "(")][..], "option 'topic-pattern'"),
        (&[("topic", "t"), ("scan.startup.mode", "group-offsets")], "'properties.group.id'"),
        (&[("topic", "a b")], "cannot be a topic"),
    ] {
        let error = world.try_table(options, numbers()).map(drop).expect_err("it is refused").to_string();
        assert!(error.contains(reason), "{error}");
    }
}
