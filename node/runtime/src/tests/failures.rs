use std::time::Duration;

use datafusion_expr::{col, lit};
use thalweg_types::{
    NodeId,
    graph::{Distribution, Parallelism},
    job::FailureKind,
    session::SubtaskState,
};

use super::{
    graph::{GraphBuilder, rows, rows_schema},
    rig::{Cluster, JOB},
    tables::{After, Manner, TestSplit},
};

fn endless() -> Vec<TestSplit> {
    let batch = rows((0..100).map(|n| (n, n % 10, n)));
    vec![TestSplit::of("a", vec![batch]).then(After::Repeat)]
}

fn source_to_sink(filter: Option<datafusion_expr::Expr>) -> thalweg_types::JobGraph {
    let mut graph = GraphBuilder::default();
    let source = graph.source("endless", None, &[]);
    let filter = filter.map(|filter| graph.filter(&filter, Parallelism::Job));
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    if let Some(filter) = filter {
        graph.link(source, filter, 0, Distribution::Forward);
    }
    graph.link(filter.unwrap_or(source), sink, 0, Distribution::Hash { keys: vec![1] });
    graph.build()
}

async fn cluster(nodes: u64) -> Cluster {
    let cluster = Cluster::of(nodes).await;
    cluster.tables.0.sources.lock().unwrap().insert("endless".to_owned(), endless());
    cluster
}

#[tokio::test]
async fn an_error_in_an_expression_fails_the_attempt_and_names_the_operator() {
    let cluster = cluster(1).await;
    let graph = source_to_sink(Some((lit(1i64) / (col("value") - lit(50i64))).gt(lit(0i64))));
    let ending = cluster.run(&graph, 2).await;
    let (subtask, failure, peer) = &ending.failed[0];
    assert_eq!((failure.kind, *peer, ending.failed.len()), (FailureKind::Data, None, 1));
    assert_eq!(subtask.unwrap().chain.0, 0);
    assert!(failure.message.contains("operator calc failed"), "{}", failure.message);
    assert!(failure.message.to_lowercase().contains("divide by zero"), "{}", failure.message);
    assert_eq!(ending.gone, 1);
}

#[tokio::test]
async fn a_panic_fails_the_attempt_and_stops_the_other_actors() {
    let cluster = cluster(2).await;
    cluster.tables.0.manners.lock().unwrap().insert("out".to_owned(), Manner::Panic);
    let graph = source_to_sink(None);
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, 2));
    running.start().await;
    running.finish().await;
    let (_, failure, _) = &running.ending.failed[0];
    assert_eq!(failure.kind, FailureKind::Operator);
    assert!(failure.message.contains("the sink fell over"), "{}", failure.message);
    let failed =
        |handle: &crate::AttemptHandle| handle.states().iter().all(|(_, state)| *state == SubtaskState::Failed);
    while !running.handles.iter().any(failed) {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.cancel().await.gone, 2);
}

#[tokio::test]
async fn a_broken_link_names_the_other_node() {
    let cluster = cluster(2).await;
    let graph = source_to_sink(None);
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, 2));
    running.start().await;
    cluster.network.cut();
    running.finish().await;
    let (_, failure, peer) = &running.ending.failed[0];
    assert_eq!(failure.kind, FailureKind::Link);
    assert!([Some(NodeId(1)), Some(NodeId(2))].contains(peer), "{failure:?}");
    assert_eq!(running.cancel().await.gone, 2);
}

/// The attempt keeps the collected rows of a query for its client.
#[tokio::test(start_paused = true)]
async fn a_link_that_breaks_after_the_end_costs_nothing() {
    let cluster = Cluster::of(2).await;
    let batch = rows((0..100).map(|n| (n, n % 10, n)));
    cluster.tables.0.sources.lock().unwrap().insert("once".to_owned(), vec![TestSplit::of("a", vec![batch])]);
    let mut graph = GraphBuilder::default();
    let source = graph.source("once", None, &[]);
    let calc = graph.filter(&col("value").gt(lit(-1i64)), Parallelism::Job);
    let collect = graph.collect(0, rows_schema());
    graph.link(source, calc, 0, Distribution::Hash { keys: vec![1] });
    graph.link(calc, collect, 0, Distribution::Gather);
    let graph = graph.build();
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, 2));
    running.start().await;
    running.finish().await;
    cluster.network.cut();
    let later = tokio::time::timeout(Duration::from_secs(60), running.next()).await;
    assert!(later.is_err(), "{:?}", running.ending.failed);
    let collected = cluster.collected(0).await;
    assert_eq!(collected.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 100);
    assert_eq!(running.cancel().await.gone, 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_without_the_attempt_is_named() {
    let cluster = cluster(2).await;
    let graph = source_to_sink(None);
    let mut deployment = cluster.deployment(&graph, 2);
    deployment.addresses[1].1 = "nowhere:1".to_owned();
    let mut running = cluster.deploy(JOB, &deployment);
    while running.ending.failed.is_empty() {
        running.next().await;
    }
    let (subtask, failure, peer) = &running.ending.failed[0];
    assert_eq!((*subtask, failure.kind), (None, FailureKind::Link));
    assert_eq!(*peer, Some(NodeId(2)));
    assert!(failure.message.contains("node-2 at nowhere:1"), "{}", failure.message);
    let states = || running.handles[0].states().into_iter().map(|(_, state)| state).collect::<Vec<_>>();
    assert_eq!(states(), [SubtaskState::Failed; 2], "though none of them ran");
    running.handles[0].start();
    assert_eq!(states(), [SubtaskState::Failed; 2], "a late order brings nothing back");
    running.cancel().await;
}

#[tokio::test]
async fn a_deployment_that_cannot_run_says_why() {
    let cluster = cluster(1).await;
    let mut graph = source_to_sink(Some(col("value").gt(lit(0i64))));
    graph.settings.insert("pipeline.batch-rows".to_owned(), "many".to_owned());
    let ending = cluster.run(&graph, 1).await;
    assert_eq!(ending.failed[0].1.kind, FailureKind::Data);
    assert!(ending.failed[0].1.message.contains("pipeline.batch-rows"), "{:?}", ending.failed);
}

#[tokio::test]
async fn cancel_ends_an_attempt_at_any_time() {
    let cluster = cluster(2).await;
    let graph = source_to_sink(None);
    let deployment = cluster.deployment(&graph, 3);
    assert_eq!(cluster.deploy(JOB, &deployment).cancel().await.gone, 2);
    let mut running = cluster.deploy(JOB, &deployment);
    running.start().await;
    while cluster.tables.0.written("out").is_empty() {
        tokio::task::yield_now().await;
    }
    let ending = running.cancel().await;
    assert_eq!((ending.gone, ending.failed.len()), (2, 0));
    assert!(cluster.nodes.iter().all(|node| !node.exchange.contains(JOB, super::rig::ATTEMPT)));
}

#[tokio::test]
async fn state_beyond_its_share_fails_the_job_and_names_the_operator() {
    let mut cluster = cluster(1).await;
    cluster.nodes[0].memory_budget_bytes = 100_000;
    let batches = (0..2000).map(|n| rows((0..100).map(|at| (0, n * 100 + at, at)))).collect();
    let split = TestSplit::of("a", batches);
    cluster.tables.0.sources.lock().unwrap().insert("keys".to_owned(), vec![split]);
    let mut graph = GraphBuilder::default().set("state.memory-share", "0.5");
    let source = graph.source("keys", None, &[]);
    let (count, schema) = graph.count_per_window(1_000_000);
    let sink = graph.sink("out", Parallelism::Job, schema);
    graph.link(source, count, 0, Distribution::Hash { keys: vec![1] });
    graph.link(count, sink, 0, Distribution::Forward);
    let ending = tokio::time::timeout(Duration::from_secs(60), cluster.run(&graph.build(), 1)).await.unwrap();
    let failure = &ending.failed[0].1;
    assert_eq!(failure.kind, FailureKind::Data);
    assert!(failure.message.contains("operator count holds"), "{}", failure.message);
}
