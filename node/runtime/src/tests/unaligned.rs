//! Checkpoints that cannot align in time: sinks are slow, windows are tiny, and sources are always ready.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema},
};
use thalweg_types::{
    Attempt, CheckpointId, JobGraph,
    checkpoint::{Prepared, SubtaskSnapshot},
    graph::{Distribution, Parallelism},
    session::Deployment,
};
use tokio::time::Instant;

use super::{
    checkpoints::{going_on, take},
    flows,
    graph::{GraphBuilder, integers, rows, rows_schema},
    rig::{ATTEMPT, Cluster, JOB, Running},
    tables::{After, Manner, TestSplit},
};

const SINK: &str = "slow";
const ALIGNMENT_TIMEOUT: Duration = Duration::from_millis(50);
const STEP: Duration = Duration::from_millis(20);

/// Counts per key and tenth of a second, into a sink behind another exchange.
fn counting() -> JobGraph {
    // Small batches, so that results are not merged into batches that a slow sink takes at once.
    let mut graph = GraphBuilder::default().set("exchange.window", "4 KiB").set("pipeline.batch-rows", "2");
    let source = graph.source("ticks", None, &[]);
    let (count, schema) = graph.count_per_window(100_000);
    let sink = graph.sink(SINK, Parallelism::Job, schema);
    graph.link(source, count, 0, Distribution::Hash { keys: vec![1] });
    graph.link(count, sink, 0, Distribution::Hash { keys: vec![0] });
    graph.build()
}

/// Three splits of `batches` batches of 100 rows with keys 0 to 9. A batch covers a tenth of a second.
fn give_ticks(cluster: &Cluster, batches: i64) {
    let batch = |n: i64| rows((0..100).map(|at| (n * 100 + at, at % 10, at)));
    let splits = ["a", "b", "c"].map(|name| TestSplit::of(name, (0..batches).map(batch).collect()));
    flows::give(cluster, "ticks", splits.to_vec());
}

fn set_manner(cluster: &Cluster, graph: &JobGraph, manner: &Manner) {
    for operator in &graph.operators {
        cluster.tables.0.manners.lock().unwrap().insert(operator.name.clone(), manner.clone());
    }
}

fn impatient(mut graph: JobGraph) -> JobGraph {
    let timeout = format!("{} ms", ALIGNMENT_TIMEOUT.as_millis());
    graph.settings.insert("checkpoint.alignment-timeout".to_owned(), timeout);
    graph
}

/// Takes a checkpoint, which must not wait until the sink has taken all rows before it.
async fn take_in_time(running: &mut Running, checkpoint: CheckpointId) -> Vec<SubtaskSnapshot> {
    #[expect(clippy::disallowed_methods, reason = "the test's own clock, which is paused")]
    let began = Instant::now();
    let snapshots = take(running, checkpoint).await;
    // A blocked source begins late, and its barrier may be delayed by one step at every hop.
    assert!(began.elapsed() <= 2 * ALIGNMENT_TIMEOUT + 6 * STEP, "{:?}", began.elapsed());
    snapshots
}

fn prepared_of<'a>(snapshots: impl IntoIterator<Item = &'a SubtaskSnapshot>) -> Vec<Prepared> {
    snapshots.into_iter().flat_map(|snapshot| snapshot.prepared.clone()).collect()
}

/// Resumes from a checkpoint taken while all windows are full. Returns the sorted values of a column in the committed
/// output.
async fn resumed(cluster: &Cluster, graph: &JobGraph, (before, after): (u32, u32), column: usize) -> Vec<i64> {
    set_manner(cluster, graph, &Manner::Slow(STEP));
    let deployment = cluster.deployment(graph, before);
    let mut running = cluster.deploy(JOB, &deployment);
    running.start().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let first = take_in_time(&mut running, CheckpointId(1)).await;
    running.handles.iter().for_each(|handle| handle.confirm_checkpoint(CheckpointId(1)));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let second = take_in_time(&mut running, CheckpointId(2)).await;
    let ending = running.cancel().await;
    assert_eq!((ending.failed, ending.snapshots_failed), (vec![], vec![]));
    assert!(second.iter().any(|snapshot| snapshot.cost.is_unaligned && !snapshot.in_flight.is_empty()));
    let mut all = prepared_of(first.iter().chain(&second));
    set_manner(cluster, graph, &Manner::Keep);
    let attempt = ATTEMPT.next();
    let from = (attempt, CheckpointId(2), second);
    let deployment = going_on(cluster, graph, (&deployment, after), from).await;
    let mut running = cluster.deploy_attempt(JOB, attempt, &deployment);
    running.start().await;
    running.finish().await;
    let ending = running.cancel().await;
    assert_eq!(ending.failed, []);
    let late: u64 = ending.finished.values().map(|(metrics, _)| metrics.late_records).sum();
    assert_eq!(late, 0, "rows that were on their way are late, from {before} to {after}");
    all.extend(ending.finished.values().flat_map(|(_, prepared)| prepared.clone()));
    let mut values = integers(&cluster.tables.0.committed(&all), column);
    values.sort_unstable();
    values
}

#[tokio::test(start_paused = true)]
async fn a_job_goes_on_from_an_unaligned_checkpoint_at_any_parallelism() {
    for (before, after, nodes) in [(1, 1, 1), (2, 2, 2), (3, 2, 2), (2, 5, 2), (3, 1, 1), (1, 3, 1)] {
        let cluster = Cluster::of(nodes).await;
        give_ticks(&cluster, 100);
        let counts = resumed(&cluster, &impatient(counting()), (before, after), 1).await;
        assert_eq!(counts, vec![30; 1000], "from {before} to {after} on {nodes} nodes");
    }
}

#[tokio::test(start_paused = true)]
async fn what_lies_in_a_diamond_is_kept() {
    for (before, after, nodes) in [(2, 2, 1), (2, 3, 2), (3, 2, 2)] {
        let cluster = Cluster::of(nodes).await;
        let splits = ["a", "b"].map(|name| TestSplit::of(name, flows::ticks(3000)));
        flows::give(&cluster, "ticks", splits.to_vec());
        let values = resumed(&cluster, &impatient(flows::diamond()), (before, after), 2).await;
        assert_eq!(values, (0..3000).flat_map(|n| [n, n]).collect::<Vec<_>>(), "from {before} to {after}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_lies_before_a_self_join_is_kept() {
    for (before, after, nodes) in [(2, 2, 1), (2, 3, 2), (3, 2, 2)] {
        let cluster = Cluster::of(nodes).await;
        let splits = ["a", "b"].map(|name| TestSplit::of(name, flows::ticks(2000)));
        flows::give(&cluster, "ticks", splits.to_vec());
        let values = resumed(&cluster, &impatient(flows::self_join()), (before, after), 2).await;
        assert_eq!(values, (0..2000).flat_map(|n| [n; 4]).collect::<Vec<_>>(), "from {before} to {after}");
    }
}

/// The exchange is found by the identities of its ends, which do not say which columns it has.
#[tokio::test(start_paused = true)]
async fn rows_in_flight_are_refused_where_the_exchange_has_other_columns() {
    let cluster = Cluster::of(1).await;
    give_ticks(&cluster, 100);
    let graph = impatient(counting());
    set_manner(&cluster, &graph, &Manner::Slow(STEP));
    let deployment = cluster.deployment(&graph, 2);
    let mut running = cluster.deploy(JOB, &deployment);
    running.start().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let snapshots = take_in_time(&mut running, CheckpointId(1)).await;
    running.cancel().await;
    let is_of_source = |snapshot: &SubtaskSnapshot| snapshot.in_flight.iter().any(|rows| rows.exchange == 0);
    assert!(snapshots.iter().any(is_of_source), "rows were on their way to the count");
    let refused = async |attempt: Attempt, change: &dyn Fn(&mut Vec<Field>)| {
        let mut other = graph.clone();
        let mut fields = rows_schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        change(&mut fields);
        other.operators[0].output = Arc::new(Schema::new(fields));
        // What the manifest tells of columns may be wrong, as it was before it told of them.
        let before = Deployment { graph: other.clone(), ..deployment.clone() };
        let deployment = going_on(&cluster, &other, (&before, 2), (attempt, CheckpointId(1), snapshots.clone())).await;
        let mut running = cluster.deploy_attempt(JOB, attempt, &deployment);
        running.start().await;
        let ending = running.cancel().await;
        let [(_, failure, _)] = ending.failed.as_slice() else { panic!("{:?}", ending.failed) };
        assert_eq!(failure.kind, thalweg_types::job::FailureKind::Data);
        failure.message.clone()
    };
    let told = refused(ATTEMPT.next(), &|fields| fields[2] = Field::new("value", DataType::Utf8, false)).await;
    let way = "its rows on their way from ticks to port 0 of";
    assert!(told.contains(way) && told.contains("column 3 of the rows is value (int64), and there"), "{told}");
    let told = refused(ATTEMPT.next().next(), &|fields| _ = fields.pop()).await;
    assert!(told.contains(way) && told.contains("the rows have 3 columns, and there are 2"), "{told}");
}

/// The sink takes one row in a hundred that its source could give. The job has default settings.
#[tokio::test(start_paused = true)]
async fn checkpoints_complete_before_a_sink_that_takes_one_row_in_a_hundred() {
    const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
    const BATCH: Duration = Duration::from_millis(100);
    let cluster = Cluster::of(2).await;
    let tick = |n: i64| rows((0..100).map(|at| (n * 100 + at, at, at)));
    let ready = ["a", "b"].map(|name| {
        let split = TestSplit::of(name, (0..1000).map(tick).collect()).then(After::Repeat);
        TestSplit { delay: BATCH / 100, ..split }
    });
    flows::give(&cluster, "ticks", ready.to_vec());
    let mut graph = GraphBuilder::default();
    let source = graph.source("ticks", None, &[]);
    let sink = graph.sink(SINK, Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Hash { keys: vec![1] });
    let graph = graph.build();
    set_manner(&cluster, &graph, &Manner::Slow(BATCH));
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, 2));
    running.start().await;
    // All windows between the source and the sink are full.
    tokio::time::sleep(Duration::from_secs(20)).await;
    for checkpoint in (1..=5).map(CheckpointId) {
        #[expect(clippy::disallowed_methods, reason = "the test's own clock, which is paused")]
        let began = Instant::now();
        let snapshots = take(&mut running, checkpoint).await;
        assert!(began.elapsed() <= DEFAULT_TIMEOUT + 2 * BATCH, "{checkpoint:?} took {:?}", began.elapsed());
        let in_flight: usize = snapshots.iter().map(|snapshot| snapshot.in_flight.len()).sum();
        assert!(in_flight > 0, "nothing was on its way: the sink is not slow");
        running.handles.iter().for_each(|handle| handle.confirm_checkpoint(checkpoint));
    }
    let written: usize = cluster.tables.0.written(SINK).iter().map(RecordBatch::num_rows).sum();
    let read = cluster.tables.0.read_batches.lock().unwrap()["ticks"] * 100;
    assert!(read < 100 * written, "{read} rows were read and {written} written");
    assert_eq!(running.cancel().await.failed, []);
}

/// Output that sinks sealed for an aborted checkpoint belongs to the next one, or to the end.
#[tokio::test(start_paused = true)]
async fn another_follows_one_that_was_given_up() {
    let cluster = Cluster::of(2).await;
    give_ticks(&cluster, 30);
    let graph = impatient(counting());
    set_manner(&cluster, &graph, &Manner::Slow(STEP));
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, 2));
    running.start().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    // Only the sources of one node get the order.
    running.handles[0].begin_checkpoint(CheckpointId(1), None);
    tokio::time::sleep(3 * ALIGNMENT_TIMEOUT).await;
    running.handles.iter().for_each(|handle| handle.abort_checkpoint(CheckpointId(1)));
    tokio::time::sleep(ALIGNMENT_TIMEOUT).await;
    // A newer checkpoint replaces one that was not aborted.
    running.handles[0].begin_checkpoint(CheckpointId(2), None);
    tokio::time::sleep(3 * ALIGNMENT_TIMEOUT).await;
    let third = take_in_time(&mut running, CheckpointId(3)).await;
    running.finish().await;
    // The next one is taken after all input has ended.
    let fourth = take_in_time(&mut running, CheckpointId(4)).await;
    assert!(fourth.iter().all(|snapshot| snapshot.is_finished && snapshot.in_flight.is_empty()));
    let ending = running.cancel().await;
    assert_eq!((ending.failed, ending.snapshots_failed), (vec![], vec![]));
    let finished = ending.finished.values().flat_map(|(_, prepared)| prepared.clone());
    let mut all: Vec<Prepared> = finished.filter(|prepared| prepared.epoch == CheckpointId::FINAL).collect();
    all.extend(prepared_of(&third));
    let mut values = integers(&cluster.tables.0.committed(&all), 1);
    values.sort_unstable();
    assert_eq!(values, vec![30; 300]);
}
