//! Batches that take long to evaluate: they are evaluated in portions, between which other tasks run and a cancelled
//! actor ends.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::DataType};
use datafusion_expr::{Expr, Volatility, cast, col, create_udf, lit, when};
use thalweg_types::{
    CheckpointId, JobGraph, OperatorKind,
    graph::{Distribution, Parallelism},
};

use super::{
    flows::give,
    graph::{GraphBuilder, encode, integers, rows, rows_schema},
    rig::{Cluster, JOB, Running},
    tables::{After, TestSplit},
};

const ROWS: i64 = 400;

/// A batch whose rows make a mebibyte each. Together they exceed the budget of one evaluation.
fn batch() -> RecordBatch {
    rows((0..ROWS).map(|n| (n, n % 10, 1 << 20)))
}

/// Only its name is encoded.
fn call(name: &str, arguments: Vec<(Expr, DataType)>, returns: DataType) -> Expr {
    let (arguments, types) = arguments.into_iter().unzip();
    create_udf(name, types, returns, Volatility::Immutable, Arc::new(|_| unreachable!())).call(arguments)
}

fn text(text: &str) -> (Expr, DataType) {
    (cast(lit(text), DataType::Utf8View), DataType::Utf8View)
}

/// A text of so many bytes as the row's value says.
fn text_of_value() -> Expr {
    call("repeat", vec![text("x"), (col("value"), DataType::Int64)], DataType::Utf8View)
}

/// True, after that text was made.
fn makes_text() -> Expr {
    text_of_value().is_not_null()
}

/// True, after all that is left of that text was searched for each of its characters.
fn searches_text() -> Expr {
    let text_of_value = (text_of_value(), DataType::Utf8View);
    call("regexp_count", vec![text_of_value, text(".*[^x]|x")], DataType::Int32).is_not_null()
}

fn filtering(condition: &Expr) -> JobGraph {
    let mut graph = GraphBuilder::default();
    let source = graph.source("texts", None, &[]);
    let filter = graph.filter(condition, Parallelism::Job);
    let collect = graph.collect(0, rows_schema());
    graph.link(source, filter, 0, Distribution::Forward);
    graph.link(filter, collect, 0, Distribution::Gather);
    graph.build()
}

/// The text is made in a computed column.
fn computing() -> JobGraph {
    let mut graph = GraphBuilder::default();
    let source = graph.source("texts", None, &[]);
    let collect = graph.collect(0, rows_schema());
    graph.link(source, collect, 0, Distribution::Gather);
    let mut graph = graph.build();
    let OperatorKind::Source(spec) = &mut graph.operators[0].kind else { unreachable!("it is the source") };
    let value = when(makes_text(), col("value")).otherwise(lit(0i64)).unwrap();
    spec.projection = Some(vec![encode(&col("time")), encode(&col("key")), encode(&value)]);
    graph
}

async fn cluster(then: After) -> Cluster {
    let cluster = Cluster::of(1).await;
    give(&cluster, "texts", vec![TestSplit::of("a", vec![batch()]).then(then)]);
    cluster
}

fn given(running: &Running) -> u64 {
    let metrics = running.handles[0].metrics();
    metrics.iter().filter(|(id, _)| id.chain.0 == 0).map(|(_, metrics)| metrics.records_out).sum()
}

/// Waits for the first rows. This task shares the thread of the actors, so it runs between two portions.
async fn first_rows(running: &mut Running) -> u64 {
    running.start().await;
    loop {
        tokio::task::yield_now().await;
        match given(running) {
            0 => {}
            rows => return rows,
        }
    }
}

#[tokio::test]
async fn an_actor_is_cancelled_in_the_middle_of_a_batch() {
    for graph in [filtering(&makes_text()), computing()] {
        let cluster = cluster(After::Repeat).await;
        let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, 1));
        let rows = first_rows(&mut running).await;
        assert!(rows < ROWS as u64, "all {rows} rows were evaluated at once");
        let ending = running.cancel().await;
        assert_eq!((ending.gone, ending.failed.len()), (1, 0), "{:?}", ending.failed);
    }
}

#[tokio::test]
async fn an_actor_is_cancelled_in_the_middle_of_a_value() {
    let cluster = Cluster::of(1).await;
    let row = rows([(0, 0, 100_000)]);
    give(&cluster, "texts", vec![TestSplit::of("a", vec![row]).then(After::Repeat)]);
    let mut running = cluster.deploy(JOB, &cluster.deployment(&filtering(&searches_text()), 1));
    running.start().await;
    // The actor does not let this thread go on before it has ended.
    let handle = running.handles.pop().unwrap();
    #[allow(clippy::disallowed_methods, reason = "a test's own thread")]
    let cancelling = std::thread::spawn(move || {
        while handle.metrics().iter().all(|(_, metrics)| metrics.records_in == 0) {
            std::thread::yield_now();
        }
        handle.cancel();
        handle
    });
    while running.ending.gone == 0 {
        running.next().await;
    }
    assert!(running.ending.failed.is_empty(), "{:?}", running.ending.failed);
    let handle = cancelling.join().unwrap();
    assert!(handle.metrics().iter().all(|(_, metrics)| metrics.records_out == 0), "the row was not evaluated");
}

#[tokio::test]
async fn a_checkpoint_in_the_middle_of_a_batch_holds_all_of_it_and_no_row_is_lost() {
    for graph in [filtering(&makes_text()), computing()] {
        let cluster = cluster(After::End).await;
        let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, 1));
        assert!(first_rows(&mut running).await < ROWS as u64);
        running.handles[0].begin_checkpoint(CheckpointId(1), None);
        while running.ending.snapshots.len() < 2 {
            running.next().await;
        }
        running.finish().await;
        let collected = cluster.collected(0).await;
        assert_eq!(integers(&collected, 2), vec![1 << 20; 400]);
        let ending = running.cancel().await;
        let of_source = ending.snapshots.iter().find(|((_, subtask), _)| subtask.chain.0 == 0).unwrap().1;
        assert_eq!((of_source.counts.records_in, of_source.counts.records_out), (400, 400));
    }
}
