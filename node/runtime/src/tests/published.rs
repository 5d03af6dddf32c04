//! A job with a real sink of a destination that has transactions: from rows to what a reader of committed records sees.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use thalweg_connectors::KeptSessions;
use thalweg_kafka::{
    ClientConfig, Fetched, Isolation, Kafka as _, NewTopic, TopicPartition,
    model::{ADDRESS, ModelKafka},
};
use thalweg_types::{
    Attempt, CheckpointId, JobGraph, OperatorId, OperatorKind,
    checkpoint::{Prepared, SinkCommittables},
    graph::{Distribution, Parallelism},
    session::Publication,
};

use super::{
    checkpoints::take,
    graph::{GraphBuilder, rows, rows_schema},
    rig::{CHECKPOINTS, Cluster, JOB, cluster_id},
    tables::{After, TestSplit},
};
use crate::publish::{commit, discard};

const SINK: OperatorId = OperatorId(1);

fn graph() -> JobGraph {
    let mut graph = GraphBuilder::default();
    let source = graph.source("ticks", None, &[]);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Hash { keys: vec![1] });
    let mut graph = graph.build();
    let OperatorKind::Sink(spec) = &mut graph.operators[1].kind else { unreachable!("it is the sink") };
    "kafka".clone_into(&mut spec.connector.name);
    let options = [
        ("topic", "out"),
        ("properties.bootstrap.servers", ADDRESS),
        ("value.format", "json"),
        ("key.format", "json"),
        ("key.fields", "key"),
    ];
    spec.connector.options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    graph
}

async fn cluster() -> (Cluster, ModelKafka) {
    let mut cluster = Cluster::of(2).await;
    let kafka = ModelKafka::new(&cluster.nodes[0].seams);
    for node in &mut cluster.nodes {
        node.connectors.kafka = Some(Arc::new(kafka.clone()));
        node.connectors.kept = KeptSessions::default();
    }
    *cluster.tables.0.real_sinks.lock().unwrap() = Some(cluster.nodes[0].connectors.clone());
    let topic = NewTopic { name: "out".to_owned(), partitions: 2, replication: None, config: BTreeMap::new() };
    assert!(kafka.admin(&client()).unwrap().create_topic(&topic).await.unwrap());
    (cluster, kafka)
}

fn client() -> ClientConfig {
    let properties = [("bootstrap.servers".to_owned(), ADDRESS.to_owned())].into();
    ClientConfig { properties, queue_bytes: 1 << 20, ..ClientConfig::default() }
}

/// The committed values by key, in the order of the topic.
async fn committed(kafka: &ModelKafka) -> BTreeMap<i64, Vec<i64>> {
    let consumer = kafka.consumer(&client(), Isolation::ReadCommitted).unwrap();
    let mut found: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for partition in 0..2 {
        let at = TopicPartition { topic: "out".into(), partition };
        let mut reader = consumer.read(&at, 0).await.unwrap();
        while let Fetched::Records(records) = reader.next(1000).await.unwrap() {
            for record in records {
                let value: serde_json::Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
                let number = |name: &str| value[name].as_i64().unwrap();
                found.entry(number("key")).or_default().push(number("value"));
            }
        }
    }
    found
}

fn publication(
    checkpoint: CheckpointId,
    published: Option<CheckpointId>,
    prepared: impl IntoIterator<Item = Prepared>,
) -> Publication {
    let mut committables: Vec<SinkCommittables> = prepared.into_iter().map(|prepared| prepared.committables).collect();
    committables.sort_by_key(|prepared| prepared.subtask);
    Publication {
        graph: graph(),
        checkpoint,
        committables,
        published: published.map(|last| (SINK, last)).into_iter().collect(),
        complete: checkpoint,
        checkpoints: CHECKPOINTS.to_owned(),
    }
}

/// Ten values of each of a hundred keys, each second for some time.
fn split(name: &'static str, from: i64) -> TestSplit {
    let batch = |batch: i64| rows((0..1000).map(|at| (from + batch, at % 100, from + batch * 1000 + at)));
    TestSplit { delay: Duration::from_secs(1), ..TestSplit::of(name, (0..20).map(batch).collect()) }
}

#[tokio::test(start_paused = true)]
async fn rows_of_a_checkpoint_are_committed_once_by_any_node() {
    let (cluster, kafka) = cluster().await;
    let (first, second) = (split("a", 0).then(After::Idle), split("b", 1_000_000).then(After::Idle));
    cluster.tables.0.sources.lock().unwrap().insert("ticks".to_owned(), vec![first, second]);
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph(), 3));
    running.start().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let snapshots = take(&mut running, CheckpointId(1)).await;
    let prepared: Vec<Prepared> = snapshots.iter().flat_map(|snapshot| snapshot.prepared.clone()).collect();
    assert_eq!(prepared.len(), 3, "each subtask has some");
    assert!(committed(&kafka).await.is_empty(), "the checkpoint is not complete");
    let attempt = (&cluster_id(), JOB, Attempt(1));
    let order = publication(CheckpointId(1), None, prepared);
    commit(&cluster.nodes[0], attempt, &order).await.unwrap();
    commit(&cluster.nodes[1], attempt, &order).await.unwrap();
    running.handles.iter().for_each(|handle| handle.confirm_checkpoint(CheckpointId(1)));
    tokio::time::sleep(Duration::from_secs(30)).await;
    running.handles.iter().for_each(crate::AttemptHandle::stop);
    running.finish().await;
    let ending = running.cancel().await;
    assert_eq!(ending.failed, []);
    let rest = ending.finished.values().flat_map(|(_, prepared)| prepared.clone());
    let rest: Vec<Prepared> = rest.filter(|prepared| prepared.epoch > CheckpointId(1)).collect();
    assert_eq!(rest.len(), 3);
    let order = publication(CheckpointId::FINAL, Some(CheckpointId(1)), rest);
    commit(&cluster.nodes[1], attempt, &order).await.unwrap();
    let found = committed(&kafka).await;
    assert_eq!(found.len(), 100);
    for (key, values) in found {
        let of = |from: i64| (0..200).map(move |at| from + at * 100 + key);
        let (one, other): (Vec<i64>, Vec<i64>) = values.iter().partition(|value| **value < 1_000_000);
        assert_eq!((one, other), (of(0).collect(), of(1_000_000).collect()), "once, and in the order of each split");
    }
    let staged = cluster.store.list("").await.unwrap().iter().filter(|object| object.name.contains("staged-")).count();
    assert!(staged > 0, "there were many rows");
    let all = Attempt(u32::MAX);
    discard(&cluster.nodes[0], (&graph(), CHECKPOINTS), (&cluster_id(), JOB), all).await.unwrap();
    let left = cluster.store.list("").await.unwrap();
    assert!(!left.iter().any(|object| object.name.contains("staged-")), "{left:?}");
}
