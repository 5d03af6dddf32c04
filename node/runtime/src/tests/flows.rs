use std::{collections::BTreeMap, sync::Arc, time::Duration};

use datafusion_expr::{col, lit};
use thalweg_types::{
    CheckpointId, JobGraph, JobId, OperatorId, OperatorKind,
    checkpoint::SplitProgress,
    connector::TableConnector,
    graph::{CollectOperator, Distribution, Parallelism, SourceOperator, WindowJoin},
    session::SubtaskState,
};
use tokio::sync::Semaphore;

use super::{
    checkpoints::take,
    graph::{GraphBuilder, integers, rows, rows_schema},
    rig::{ATTEMPT, Cluster, JOB, PATIENCE, cluster_id},
    tables::{After, Manner, TestSplit},
};

const SECOND: i64 = 1_000_000;
/// The size of a row of `rows_schema`: three values of eight bytes.
const ROW_BYTES: usize = 24;

fn by_key() -> Distribution {
    Distribution::Hash { keys: vec![1] }
}

/// `count` rows in batches of 100: one row per millisecond, with ten keys.
pub(super) fn ticks(count: i64) -> Vec<arrow::array::RecordBatch> {
    let batch = |from: i64| rows((from..(from + 100).min(count)).map(|n| (n, n % 10, n)));
    (0..count).step_by(100).map(batch).collect()
}

pub(super) fn give(cluster: &Cluster, table: &str, splits: Vec<TestSplit>) {
    cluster.tables.0.sources.lock().unwrap().insert(table.to_owned(), splits);
}

/// So nothing piles up in front of a destination that is away: while nothing is published, no checkpoint begins.
#[tokio::test(start_paused = true)]
async fn a_full_sink_asks_for_a_checkpoint_and_stops_its_sources_until_it_comes() {
    const FULL: usize = 10_000;
    for distribution in [Distribution::Forward, by_key()] {
        let cluster = Cluster::of(1).await;
        give(&cluster, "endless", vec![TestSplit::of("a", ticks(1000)).then(After::Repeat)]);
        cluster.tables.0.manners.lock().unwrap().insert("out".to_owned(), Manner::Fills(FULL));
        let mut graph = GraphBuilder::default().set("exchange.window", "32 KiB");
        let source = graph.source("endless", None, &[]);
        let sink = graph.sink("out", Parallelism::Job, rows_schema());
        graph.link(source, sink, 0, distribution.clone());
        let mut running = cluster.deploy(JOB, &cluster.deployment(&graph.build(), 1));
        running.start().await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let written = || integers(&cluster.tables.0.written("out"), 1).len();
        let held = written();
        assert!((FULL..FULL + 200).contains(&held), "{held} rows, by {distribution:?}");
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(written(), held, "it waits");
        take(&mut running, CheckpointId(1)).await;
        assert!(running.ending.wanted > 0, "it has asked for it");
        running.handles[0].confirm_checkpoint(CheckpointId(1));
        tokio::time::sleep(Duration::from_secs(10)).await;
        let more = written() - held;
        assert!((FULL..FULL + 5000).contains(&more), "{more} rows more, with those before the barrier");
        assert_eq!(running.cancel().await.failed, []);
    }
}

/// What aborted checkpoints leave is published together with what follows, in one transaction.
#[tokio::test(start_paused = true)]
async fn checkpoints_that_are_given_up_make_no_room_in_a_sink() {
    const FULL: usize = 10_000;
    let cluster = Cluster::of(1).await;
    give(&cluster, "endless", vec![TestSplit::of("a", ticks(1000)).then(After::Repeat)]);
    cluster.tables.0.manners.lock().unwrap().insert("out".to_owned(), Manner::Fills(FULL));
    let mut graph = GraphBuilder::default();
    let source = graph.source("endless", None, &[]);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Forward);
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph.build(), 1));
    running.start().await;
    let written = || integers(&cluster.tables.0.written("out"), 1).len();
    for checkpoint in 1..=5 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        running.handles[0].begin_checkpoint(CheckpointId(checkpoint), None);
        tokio::time::sleep(Duration::from_secs(1)).await;
        running.handles[0].abort_checkpoint(CheckpointId(checkpoint));
        assert!((FULL..FULL + 1000).contains(&written()), "{} rows after {checkpoint}", written());
    }
    let (held, wanted) = (written(), running.ending.wanted);
    tokio::time::sleep(Duration::from_mins(1)).await;
    take(&mut running, CheckpointId(6)).await;
    assert!(running.ending.wanted > wanted, "it asks again");
    tokio::time::sleep(Duration::from_secs(10)).await;
    // Nobody has said that it is complete.
    running.handles[0].confirm_checkpoint(CheckpointId(6));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!((FULL..FULL + 1000).contains(&(written() - held)), "{} rows more", written() - held);
    assert_eq!(running.cancel().await.failed, []);
}

#[tokio::test]
async fn rows_pass_a_fused_chain_and_are_collected() {
    let cluster = Cluster::of(1).await;
    give(&cluster, "ticks", vec![TestSplit::of("a", ticks(1000))]);
    let mut graph = GraphBuilder::default();
    let source = graph.source("ticks", None, &[]);
    let filter = graph.filter(&col("value").lt(lit(500i64)), Parallelism::Job);
    let collect = graph.collect(0, rows_schema());
    graph.link(source, filter, 0, Distribution::Forward);
    graph.link(filter, collect, 0, Distribution::Gather);
    let graph = graph.build();
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, 1));
    running.start().await;
    running.finish().await;
    assert!(running.handles[0].states().iter().all(|(_, state)| *state == SubtaskState::Finished));
    let collected = cluster.collected(0).await;
    assert_eq!(integers(&collected, 2), (0..500).collect::<Vec<_>>());
    let ending = running.cancel().await;
    assert_eq!((ending.totals(0).records_in, ending.totals(0).records_out), (1000, 500));
    assert_eq!((ending.totals(1).records_in, ending.totals(1).records_out), (500, 500));
    let gone = cluster.nodes[0].collect.fetch(JOB, ATTEMPT, 0, 0, 1, Duration::ZERO).await;
    assert_eq!(gone, None);
}

/// Counts per key and second on several nodes must equal counts made by hand.
async fn check_counts(nodes: u64, parallelism: u32, settings: &[(&str, &str)]) {
    let cluster = Cluster::of(nodes).await;
    let splits = ["a", "b", "c"].map(|sequence| TestSplit::of(sequence, ticks(5000)));
    give(&cluster, "ticks", splits.to_vec());
    let mut graph = settings.iter().fold(GraphBuilder::default(), |graph, (key, value)| graph.set(key, value));
    let source = graph.source("ticks", None, &[]);
    let (count, schema) = graph.count_per_window(SECOND);
    let sink = graph.sink("counts", Parallelism::Job, schema);
    graph.link(source, count, 0, by_key());
    graph.link(count, sink, 0, Distribution::Forward);
    let ending = cluster.run(&graph.build(), parallelism).await;
    assert!(ending.failed.is_empty(), "{:?}", ending.failed);
    let written = cluster.tables.0.written("counts");
    let mut counts: Vec<(i64, i64)> = integers(&written, 0).into_iter().zip(integers(&written, 1)).collect();
    counts.sort_unstable();
    let expected: Vec<(i64, i64)> = (0..10).flat_map(|key| [(key, 300); 5]).collect();
    assert_eq!(counts, expected);
    assert_eq!(ending.totals(1).records_in, 15_000);
    let prepared = ending.finished.values().flat_map(|(_, prepared)| prepared);
    assert_eq!(integers(&cluster.tables.0.committed(prepared), 0).len(), 50);
}

#[tokio::test]
async fn keys_are_counted_on_one_node() {
    check_counts(1, 1, &[]).await;
    check_counts(1, 4, &[("exchange.window", "1 KiB")]).await;
}

#[tokio::test]
async fn keys_are_counted_across_nodes() {
    check_counts(2, 2, &[]).await;
    check_counts(3, 5, &[("exchange.window", "4 KiB"), ("exchange.compression", "lz4")]).await;
}

/// A union of both halves of a source, with windows far smaller than the data.
pub(super) fn diamond() -> JobGraph {
    let mut graph = GraphBuilder::default().set("exchange.window", "1 KiB");
    let source = graph.source("ticks", None, &[]);
    let (left, right) = (
        graph.filter(&col("value").lt(lit(2000i64)), Parallelism::Job),
        graph.filter(&col("value").gt_eq(lit(2000i64)), Parallelism::Job),
    );
    let union = graph.filter(&lit(true), Parallelism::Job);
    let sink = graph.sink("all", Parallelism::One, rows_schema());
    graph.link(source, left, 0, Distribution::Rebalance);
    graph.link(source, right, 0, by_key());
    graph.link(left, union, 0, by_key());
    graph.link(right, union, 0, by_key());
    graph.link(union, sink, 0, Distribution::Gather);
    graph.build()
}

async fn check_diamond(nodes: u64, parallelism: u32) {
    let cluster = Cluster::of(nodes).await;
    give(&cluster, "ticks", vec![TestSplit::of("a", ticks(3000)), TestSplit::of("b", ticks(3000))]);
    let ending = tokio::time::timeout(PATIENCE, cluster.run(&diamond(), parallelism)).await.unwrap();
    assert!(ending.failed.is_empty(), "{:?}", ending.failed);
    let mut values = integers(&cluster.tables.0.written("all"), 2);
    values.sort_unstable();
    assert_eq!(values, (0..3000).flat_map(|n| [n, n]).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_diamond_does_not_deadlock() {
    check_diamond(1, 1).await;
    check_diamond(1, 3).await;
    check_diamond(2, 4).await;
}

/// A source joined with itself by value and second.
pub(super) fn self_join() -> JobGraph {
    use thalweg_types::graph::{WindowAssign, WindowSpec};
    let mut graph = GraphBuilder::default().set("exchange.window", "1 KiB");
    let source = graph.source("ticks", None, &[]);
    let time = rows_schema().field(0).data_type().clone();
    let field = |name: &str| arrow::datatypes::Field::new(name, time.clone(), false);
    let mut fields: Vec<_> = rows_schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.extend(["window_start", "window_end", "window_time"].map(field));
    let windowed = Arc::new(arrow::datatypes::Schema::new(fields.clone()));
    let assign = WindowAssign { column: 0, spec: WindowSpec::Tumble { size: SECOND, offset: 0 } };
    let assign = graph.add("assign", OperatorKind::WindowAssign(assign), Parallelism::Job, windowed);
    let renamed = |side: &'static str| {
        fields.clone().into_iter().map(move |f| f.clone().with_name(format!("{side}_{}", f.name())))
    };
    let joined = Arc::new(arrow::datatypes::Schema::new(renamed("l").chain(renamed("r")).collect::<Vec<_>>()));
    let join =
        WindowJoin { left_window: (3, 4), right_window: (3, 4), left_keys: vec![2], right_keys: vec![2], filter: None };
    let join = graph.add("join", OperatorKind::WindowJoin(join), Parallelism::Job, joined.clone());
    let sink = graph.sink("joined", Parallelism::One, joined);
    graph.link(source, assign, 0, Distribution::Forward);
    graph.link(assign, join, 0, Distribution::Hash { keys: vec![2] });
    graph.link(assign, join, 1, Distribution::Hash { keys: vec![2] });
    graph.link(join, sink, 0, Distribution::Gather);
    graph.build()
}

#[tokio::test]
async fn a_self_join_does_not_deadlock() {
    let cluster = Cluster::of(2).await;
    give(&cluster, "ticks", vec![TestSplit::of("a", ticks(2000)), TestSplit::of("b", ticks(2000))]);
    let ending = tokio::time::timeout(PATIENCE, cluster.run(&self_join(), 2)).await.unwrap();
    assert!(ending.failed.is_empty(), "{:?}", ending.failed);
    // Each value is there twice, so each joins with itself in four ways.
    let mut values = integers(&cluster.tables.0.written("joined"), 2);
    values.sort_unstable();
    assert_eq!(values, (0..2000).flat_map(|n| [n; 4]).collect::<Vec<_>>());
}

/// The same with actors that run in parallel.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_is_lost_or_stuck_on_several_threads() {
    for _ in 0..5 {
        check_counts(2, 4, &[("exchange.window", "2 KiB")]).await;
        check_diamond(2, 3).await;
    }
}

#[tokio::test]
async fn late_rows_are_counted_and_written_with_their_window() {
    let cluster = Cluster::of(1).await;
    let batches = vec![rows([(100, 1, 0), (2500, 1, 0)]), rows([(900, 1, 0), (2600, 1, 0), (1999, 2, 0)])];
    give(&cluster, "ticks", vec![TestSplit::of("a", batches)]);
    let mut graph = GraphBuilder::default().set("late.path", "/late");
    let source = graph.source("ticks", None, &[]);
    let (count, schema) = graph.count_per_window(SECOND);
    let collect = graph.collect(0, schema);
    graph.link(source, count, 0, by_key());
    graph.link(count, collect, 0, Distribution::Gather);
    let graph = graph.build();
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, 1));
    running.start().await;
    running.finish().await;
    let counts = integers(&cluster.collected(0).await, 1);
    let ending = running.cancel().await;
    assert_eq!(counts.iter().sum::<i64>(), 3);
    assert_eq!(ending.totals(1).late_records, 2);
    let mut late = cluster.tables.0.late_rows.lock().unwrap().clone();
    late.sort_unstable();
    assert_eq!(late, [(OperatorId(1), (0, SECOND)), (OperatorId(1), (SECOND, 2 * SECOND))]);
    let prepared: Vec<_> = ending.finished.values().flat_map(|(_, prepared)| prepared).collect();
    assert!(prepared.iter().any(|prepared| prepared.committables.sink == OperatorId(1)), "{prepared:?}");
}

#[tokio::test]
async fn rows_without_event_time_are_dead_letters() {
    let cluster = Cluster::of(1).await;
    let batch = super::graph::rows_or_null([(Some(1), 1, 1), (None, 2, 2), (Some(3), 3, 3)]);
    give(&cluster, "ticks", vec![TestSplit::of("a", vec![batch])]);
    let mut graph = GraphBuilder::default();
    let source = graph.source("ticks", None, &[("dead-letter.path", "/dead")]);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Forward);
    let ending = cluster.run(&graph.build(), 1).await;
    assert_eq!(integers(&cluster.tables.0.written("out"), 1), [1, 3]);
    assert_eq!(ending.totals(0).dead_letters, 1);
    let letters = cluster.tables.0.dead_letters.lock().unwrap().clone();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].record.contains("\"key\":2"), "{letters:?}");
}

/// A graph that divides by `value - 2`.
fn divides(settings: &[(&str, &str)]) -> JobGraph {
    let mut graph = GraphBuilder::default();
    graph.settings.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let source = graph.source("ticks", None, &[]);
    let quotient = lit(10i64) / (col("value") - lit(2i64));
    let filter = graph.filter(&quotient.not_eq(lit(0i64)), Parallelism::Job);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, filter, 0, Distribution::Forward);
    graph.link(filter, sink, 0, Distribution::Forward);
    graph.build()
}

#[tokio::test]
async fn rows_that_cannot_be_evaluated_are_set_aside_counted_and_prepared_for_publication() {
    let cluster = Cluster::of(1).await;
    give(&cluster, "ticks", vec![TestSplit::of("a", vec![rows([(1, 1, 1), (2, 2, 2), (3, 3, 3)])])]);
    let ending = cluster.run(&divides(&[("error.path", "/errors")]), 1).await;
    assert_eq!(integers(&cluster.tables.0.written("out"), 1), [1, 3]);
    assert_eq!(ending.totals(0).failed_rows, 1);
    let failed = cluster.tables.0.failed_rows.lock().unwrap().clone();
    assert!(failed.len() == 1 && failed[0].contains("Divide by zero"), "{failed:?}");
    let prepared: Vec<_> = ending.finished.values().flat_map(|(_, prepared)| prepared).collect();
    assert!(prepared.iter().any(|prepared| prepared.committables.sink == OperatorId(1)), "{prepared:?}");
}

#[tokio::test]
async fn a_row_that_cannot_be_evaluated_fails_a_job_that_has_no_place_for_it_and_is_told() {
    let cluster = Cluster::of(1).await;
    give(&cluster, "ticks", vec![TestSplit::of("a", vec![rows([(1, 1, 1), (2, 2, 2), (3, 3, 3)])])]);
    let ending = cluster.run(&divides(&[]), 1).await;
    let (_, failure, _) = &ending.failed[0];
    assert_eq!(failure.kind, thalweg_types::job::FailureKind::Data);
    for part in ["Divide by zero", "10", "\"key\":2", "error.path"] {
        assert!(failure.message.contains(part), "{}", failure.message);
    }
}

/// A slow sink slows its own source, and no other job. A source gives a batch every 10 ms of virtual time. In the
/// same time the other job passes as many rows as when it is alone, and what waits for the sink stays within the
/// windows.
#[tokio::test(start_paused = true)]
async fn a_throttled_sink_slows_its_source_and_no_other_job() {
    const WINDOW: usize = 32 << 10;
    let paced =
        || TestSplit { delay: Duration::from_millis(10), ..TestSplit::of("a", ticks(1000)) }.then(After::Repeat);
    let cluster = Cluster::of(1).await;
    give(&cluster, "endless", vec![TestSplit::of("a", ticks(1000)).then(After::Repeat)]);
    give(&cluster, "ticks", vec![paced()]);
    let rate = async |to: &str| {
        let mut running = cluster.deploy(JOB, &cluster.deployment(&passing("ticks", to), 2));
        running.start().await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let written = integers(&cluster.tables.0.written(to), 1).len();
        assert_eq!(running.cancel().await.failed, []);
        written
    };
    let alone = rate("alone").await;
    assert!((99_000..=101_000).contains(&alone), "{alone} rows alone");
    let gate = Arc::new(Semaphore::new(0));
    cluster.tables.0.manners.lock().unwrap().insert("slow".to_owned(), Manner::Gated(gate.clone()));
    let slow = passing("endless", "slow");
    let mut throttled = cluster.deploy(JobId(2), &cluster.deployment(&slow, 2));
    throttled.start().await;
    let beside = rate("beside").await;
    assert!(beside.abs_diff(alone) <= alone / 100, "{beside} rows beside a slow job, {alone} alone");
    let read = || cluster.tables.0.read_batches.lock().unwrap()["endless"];
    let held = read();
    // The source has two channels. Each has a window in flight, half a window and a batch waiting for credit, and a
    // batch in the sink. One more batch is in the source.
    let batch = ticks(100)[0].get_array_memory_size();
    let most = 2 * (WINDOW + WINDOW / 2 + 2 * batch) + batch;
    assert!(held * 100 * ROW_BYTES <= most, "{held} batches were read though nothing was written: over {most} bytes");
    gate.add_permits(50);
    while cluster.tables.0.written("slow").len() < 50 {
        tokio::task::yield_now().await;
    }
    while read() == held {
        tokio::task::yield_now().await;
    }
    let blocked: u64 = throttled.handles[0].metrics().iter().map(|(_, metrics)| metrics.blocked_micros).sum();
    assert!(blocked > 0);
    assert_eq!(throttled.cancel().await.gone, 1);
}

/// One channel with a window of two batches. Everything else that is read waits in the sender.
#[tokio::test(start_paused = true)]
async fn credit_comes_back_when_a_batch_is_processed_and_not_before() {
    const ROWS: i64 = 64;
    let cluster = Cluster::of(1).await;
    let batch = |n: i64| rows((0..ROWS).map(|at| (n * ROWS + at, 1, at)));
    give(&cluster, "ticks", vec![TestSplit::of("a", (0..100).map(batch).collect())]);
    let gate = Arc::new(Semaphore::new(0));
    cluster.tables.0.manners.lock().unwrap().insert("out".to_owned(), Manner::Gated(gate.clone()));
    let mut graph = GraphBuilder::default().set("exchange.window", &(2 * 64 * ROW_BYTES).to_string());
    let source = graph.source("ticks", None, &[]);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, by_key());
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph.build(), 1));
    running.start().await;
    for written in 0..5 {
        // Paused time advances only when no task can run.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(cluster.tables.0.written("out").len(), written);
        let read = cluster.tables.0.read_batches.lock().unwrap()["ticks"];
        assert_eq!(read - written, 3, "in the hands of the sink, on its way, and waiting for credit");
        gate.add_permits(1);
    }
    assert_eq!(running.cancel().await.gone, 1);
}

/// Time stands still here, so only the number of steps can end a turn.
#[tokio::test(start_paused = true)]
async fn a_source_that_always_has_more_lets_others_run() {
    const TURNS: usize = 10;
    let cluster = Cluster::of(1).await;
    give(&cluster, "ticks", vec![TestSplit::of("a", (0..10_000).map(|n| rows([(n, 1, n)])).collect())]);
    let mut graph = GraphBuilder::default();
    let source = graph.source("ticks", None, &[]);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Forward);
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph.build(), 1));
    running.start().await;
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
    let read = cluster.tables.0.read_batches.lock().unwrap().get("ticks").copied().unwrap_or(0);
    assert!((1..=TURNS * 32).contains(&read), "{read} batches were read in {TURNS} turns");
    running.finish().await;
    assert_eq!(cluster.tables.0.written("out").len(), 10_000);
    assert_eq!(running.cancel().await.failed, []);
}

/// A job that passes rows from one table to another by key, with small windows.
fn passing(from: &str, to: &str) -> thalweg_types::JobGraph {
    let mut graph = GraphBuilder::default().set("exchange.window", "32 KiB");
    let source = graph.source(from, None, &[]);
    let sink = graph.sink(to, Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, by_key());
    graph.build()
}

#[tokio::test]
async fn stop_ends_endless_sources_and_drains() {
    let cluster = Cluster::of(2).await;
    give(&cluster, "endless", vec![TestSplit::of("a", ticks(1000)).then(After::Repeat)]);
    let mut graph = GraphBuilder::default();
    let source = graph.source("endless", None, &[]);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, by_key());
    let graph = graph.build();
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, 2));
    running.start().await;
    while cluster.tables.0.written("out").len() < 20 {
        tokio::task::yield_now().await;
    }
    running.handles.iter().for_each(crate::AttemptHandle::stop);
    running.finish().await;
    let ending = running.cancel().await;
    assert!(ending.failed.is_empty());
    let written = integers(&cluster.tables.0.written("out"), 1).len() as u64;
    assert_eq!(ending.totals(0).records_in, written);
}

#[tokio::test]
async fn nexmark_is_read_filtered_and_collected() {
    let cluster = Cluster::of(1).await;
    let options = [("events.num", "5000"), ("events.splits", "3")];
    let options: BTreeMap<_, _> = options.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let physical = Arc::new(arrow::datatypes::Schema::new(vec![arrow::datatypes::Field::new(
        "event_type",
        arrow::datatypes::DataType::Int32,
        false,
    )]));
    let source = SourceOperator {
        table: "nexmark".to_owned(),
        connector: TableConnector { name: "nexmark".to_owned(), options, secrets: BTreeMap::new() },
        physical: physical.clone(),
        predicates: Vec::new(),
        projection: None,
        watermark: None,
    };
    let mut graph = GraphBuilder::default();
    let source = graph.add("nexmark", OperatorKind::Source(Box::new(source)), Parallelism::Job, physical.clone());
    let calc = thalweg_types::graph::Calc {
        filter: Some(super::graph::encode(&col("event_type").eq(lit(2i32)))),
        projection: None,
    };
    let calc = graph.add("bids", OperatorKind::Calc(calc), Parallelism::Job, physical.clone());
    let collect = graph.add("collect", OperatorKind::Collect(CollectOperator { query: 3 }), Parallelism::One, physical);
    graph.link(source, calc, 0, Distribution::Forward);
    graph.link(calc, collect, 0, Distribution::Gather);
    let graph = graph.build();
    let context = &cluster.nodes[0];
    let splits = crate::discover(context, &graph, &[source]).await.unwrap();
    assert_eq!(splits[0].1.len(), 3);
    let (reports, mut told) = tokio::sync::mpsc::channel(8);
    let deployment = thalweg_types::session::Deployment {
        assignment: thalweg_types::Assignment {
            slices: vec![context.node],
            key_groups: thalweg_types::KeyGroupTable::even(graph.key_groups, 1),
        },
        addresses: Vec::new(),
        splits: vec![thalweg_types::session::SplitAssignment {
            source,
            subtask: 0,
            splits: splits[0].1.iter().cloned().map(SplitProgress::unread).collect(),
        }],
        checkpoints: super::rig::CHECKPOINTS.to_owned(),
        takes_checkpoints: true,
        restore: None,
        graph: graph.clone(),
    };
    let handle = crate::AttemptHandle::deploy(context, (cluster_id(), JOB), ATTEMPT, deployment, reports);
    assert!(matches!(told.recv().await, Some(thalweg_types::session::ReportBody::Ready)));
    handle.start();
    let bids: usize = cluster.collected(3).await.iter().map(arrow::array::RecordBatch::num_rows).sum();
    assert_eq!(bids, 4600);
    let publication = thalweg_types::session::Publication {
        graph: graph.clone(),
        checkpoint: CheckpointId::FINAL,
        committables: Vec::new(),
        published: BTreeMap::new(),
        complete: CheckpointId::FINAL,
        checkpoints: super::rig::CHECKPOINTS.to_owned(),
    };
    crate::commit(context, (&cluster_id(), JOB, ATTEMPT), &publication).await.unwrap();
    let removed = (&graph, super::rig::CHECKPOINTS);
    crate::discard(context, removed, (&cluster_id(), JOB), thalweg_types::session::ALL_ATTEMPTS).await.unwrap();
}
