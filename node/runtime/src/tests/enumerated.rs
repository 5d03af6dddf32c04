//! Tables whose splits are found while the job runs.

use std::{sync::Arc, time::Duration};

use thalweg_types::{
    CheckpointId, JobGraph, OperatorId, Split,
    bug::{self, Bug},
    checkpoint::{Prepared, SplitProgress, SplitState, SubtaskSnapshot},
    graph::{Distribution, Parallelism},
    session::{Deployment, SplitAssignment},
};
use tokio::sync::Semaphore;

use super::{
    checkpoints::{going_on, take},
    graph::{GraphBuilder, integers, rows, rows_schema},
    rig::{ATTEMPT, Cluster, JOB, Running},
    tables::{After, FORMER, LISTED_EVERY, Manner, TestSplit},
};

const WATCHED: &[(&str, &str)] = &[("source.monitor-interval", "1 s")];
const SOURCE: OperatorId = OperatorId(0);

/// A watched table, by key into a sink.
fn watched(settings: &[(&str, &str)]) -> JobGraph {
    let mut graph = settings.iter().fold(GraphBuilder::default(), |graph, (key, value)| graph.set(key, value));
    let source = graph.source("ticks", None, WATCHED);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Hash { keys: vec![1] });
    graph.build()
}

/// A watched table, counted per key and second.
fn counted() -> JobGraph {
    let mut graph = GraphBuilder::default();
    let source = graph.source("ticks", None, WATCHED);
    let (count, schema) = graph.count_per_window(1_000_000);
    let sink = graph.sink("counts", Parallelism::Job, schema);
    graph.link(source, count, 0, Distribution::Hash { keys: vec![1] });
    graph.link(count, sink, 0, Distribution::Forward);
    graph.build()
}

/// Adds files of ten rows each, with values that no other file has.
fn put(cluster: &Cluster, files: std::ops::Range<i64>) {
    const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let file = |n: i64| {
        let name = NAMES[usize::try_from(n).unwrap() % NAMES.len()];
        let half = |from: i64| rows((from..from + 5).map(|at| (n * 10 + at, at, n * 10 + at)));
        TestSplit { delay: Duration::from_millis(5), ..TestSplit::of(name, vec![half(0), half(5)]) }
    };
    cluster.tables.0.sources.lock().unwrap().entry("ticks".to_owned()).or_default().extend(files.map(file));
}

/// Adds files of one row each, which take two seconds.
fn put_apart(cluster: &Cluster, files: i64) {
    let file = |n: i64| {
        let name: &str = format!("file {n}").leak();
        TestSplit { delay: Duration::from_secs(2), ..TestSplit::of(name, vec![rows([(n, n, n)])]) }
    };
    cluster.tables.0.sources.lock().unwrap().insert("ticks".to_owned(), (0..files).map(file).collect());
}

async fn begin(cluster: &Cluster, graph: &JobGraph, parallelism: u32) -> Running {
    let mut running = cluster.deploy(JOB, &cluster.deployment(graph, parallelism));
    running.start().await;
    running
}

fn values(cluster: &Cluster, prepared: &[Prepared]) -> Vec<i64> {
    let mut values = integers(&cluster.tables.0.committed(prepared), 2);
    values.sort_unstable();
    values
}

/// The greatest watermark of the source's subtasks on the first node.
fn source_watermark(running: &Running) -> i64 {
    source_watermark_on(running, 0)
}

fn source_watermark_on(running: &Running, node: usize) -> i64 {
    let metrics = running.handles[node].metrics();
    let of_source = metrics.iter().filter(|(subtask, _)| subtask.chain.0 == 0);
    of_source.map(|(_, metrics)| metrics.watermark).max().unwrap()
}

/// The splits that a checkpoint names.
fn named(snapshots: &[SubtaskSnapshot]) -> Vec<SplitProgress> {
    snapshots.iter().filter_map(|snapshot| snapshot.source.as_ref()).flat_map(|source| source.splits.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_comes_later_is_read_by_all_subtasks_and_leaves_the_checkpoints() {
    let cluster = Cluster::of(2).await;
    put(&cluster, 0..2);
    let mut running = begin(&cluster, &watched(&[]), 3).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    put(&cluster, 2..200);
    let listed = || cluster.tables.0.listings.lock().unwrap()["ticks"];
    let before = listed();
    tokio::time::sleep(LISTED_EVERY * 20).await;
    assert!(listed() - before <= 21, "a listing finds all that is new");
    let snapshots = take(&mut running, CheckpointId(1)).await;
    let left = named(&snapshots);
    assert!(left.len() <= 3 && left.iter().all(|split| split.state == SplitState::Finished), "{left:?}");
    assert!(left.iter().any(|split| split.watermark.0 == 1_999_000), "the greatest watermark stays: {left:?}");
    running.handles.iter().for_each(crate::AttemptHandle::stop);
    running.finish().await;
    let ending = running.cancel().await;
    assert_eq!(ending.failed, []);
    let read = ending.finished.iter().filter(|(subtask, _)| subtask.chain.0 == 0);
    let read: Vec<u64> = read.map(|(_, (metrics, _))| metrics.records_in).collect();
    assert!(read.len() == 3 && read.iter().all(|records| *records > 600), "each reads its share: {read:?}");
    let prepared: Vec<Prepared> = ending.finished.values().flat_map(|(_, prepared)| prepared.clone()).collect();
    assert_eq!(values(&cluster, &prepared), (0..2000).collect::<Vec<_>>());
}

/// Such a table is no longer replayed, but jobs that do so may be recorded.
#[tokio::test(start_paused = true)]
async fn a_recorded_job_that_replays_what_it_watches_goes_on() {
    let cluster = Cluster::of(1).await;
    put(&cluster, 0..20);
    let mut graph = GraphBuilder::default().set("replay.speed", "1").set("replay.start", "1970-01-01 00:00:00");
    let source = graph.source("ticks", None, &[WATCHED[0], ("replay.column", "time")]);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Hash { keys: vec![1] });
    let graph = graph.build();
    assert!(graph.enumerator_of(SOURCE).is_some());
    let deployment = cluster.deployment(&graph, 2);
    let mut running = cluster.deploy(JOB, &deployment);
    running.start().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    put(&cluster, 20..40);
    let snapshots = take(&mut running, CheckpointId(1)).await;
    assert_eq!(running.cancel().await.failed, []);
    assert!(named(&snapshots).iter().any(|progress| !progress.held.is_empty()), "rows wait for the replay clock");
    let mut all: Vec<Prepared> = snapshots.iter().flat_map(|snapshot| snapshot.prepared.clone()).collect();
    let before = values(&cluster, &all).len();
    assert!(before < 400, "{before} values were read");
    let attempt = ATTEMPT.next();
    let next = going_on(&cluster, &graph, (&deployment, 1), (attempt, CheckpointId(1), snapshots)).await;
    let mut running = cluster.deploy_attempt(JOB, attempt, &next);
    running.start().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    running.handles[0].stop();
    running.finish().await;
    let ending = running.cancel().await;
    assert_eq!(ending.failed, []);
    all.extend(ending.finished.values().flat_map(|(_, prepared)| prepared.clone()));
    assert_eq!(values(&cluster, &all), (0..400).collect::<Vec<_>>());
}

/// Each attempt goes on from a checkpoint that the former one took while files were found, assigned and read. The sink
/// takes its time, so that unaligned barriers overtake assignments, too.
#[tokio::test(start_paused = true)]
async fn an_assignment_is_on_one_side_of_a_barrier() {
    let unaligned = [("checkpoint.alignment-timeout", "0 s"), ("exchange.window", "1 KiB")];
    for (settings, slow) in [(&[][..], Duration::ZERO), (&unaligned[..], Duration::from_millis(20))] {
        // A listing is due after each tenth of a second.
        for moment in [9, 99, 100, 101, 102, 103, 160, 201] {
            let cluster = Cluster::of(2).await;
            cluster.tables.0.manners.lock().unwrap().insert("out".to_owned(), Manner::Slow(slow));
            put(&cluster, 0..20);
            let graph = watched(settings);
            let parallelisms = [2, 3, 1];
            let (mut attempt, mut all, mut files) = (ATTEMPT, Vec::new(), 20);
            let mut deployment = cluster.deployment(&graph, parallelisms[0]);
            for (next, checkpoint) in parallelisms[1..].iter().zip((1..).map(CheckpointId)) {
                let mut running = cluster.deploy_attempt(JOB, attempt, &deployment);
                running.start().await;
                tokio::time::sleep(Duration::from_millis(5)).await;
                put(&cluster, files..files + 20);
                files += 20;
                tokio::time::sleep(Duration::from_millis(moment - 5)).await;
                let snapshots = take(&mut running, checkpoint).await;
                let before = running.cancel().await;
                assert_eq!(before.failed, []);
                all.extend(snapshots.iter().flat_map(|snapshot| snapshot.prepared.clone()));
                attempt = attempt.next();
                let former = (&deployment, *next);
                deployment = going_on(&cluster, &graph, former, (attempt, checkpoint, snapshots)).await;
            }
            let mut running = cluster.deploy_attempt(JOB, attempt, &deployment);
            running.start().await;
            tokio::time::sleep(Duration::from_secs(60)).await;
            running.handles.iter().for_each(crate::AttemptHandle::stop);
            running.finish().await;
            let ending = running.cancel().await;
            assert_eq!(ending.failed, []);
            all.extend(ending.finished.values().flat_map(|(_, prepared)| prepared.clone()));
            let expected: Vec<i64> = (0..files * 10).collect();
            assert_eq!(values(&cluster, &all), expected, "after {moment} ms, with {settings:?}");
        }
    }
}

/// Both subtasks are idle when two files are found. The one with later times is read at once, the other much later.
#[tokio::test(start_paused = true)]
async fn no_row_is_late_for_a_file_that_was_found_with_its_own() {
    let cluster = Cluster::of(2).await;
    cluster.tables.0.sources.lock().unwrap().insert("ticks".to_owned(), Vec::new());
    let mut running = begin(&cluster, &counted(), 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let early = TestSplit { delay: Duration::from_secs(30), ..TestSplit::of("early", vec![rows([(100, 1, 0)])]) };
    let late = TestSplit::of("late", vec![rows([(50_000, 1, 0)]), rows([(90_000, 2, 0)])]);
    cluster.tables.0.sources.lock().unwrap().insert("ticks".to_owned(), vec![late, early]);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(cluster.tables.0.written("counts").is_empty(), "the early file may hold rows of any window");
    tokio::time::sleep(Duration::from_secs(20)).await;
    let mut keys = integers(&cluster.tables.0.written("counts"), 0);
    keys.sort_unstable();
    assert_eq!(keys, [1, 1], "both windows before the last time are closed");
    assert!(cluster.tables.0.late_rows.lock().unwrap().is_empty());
    running.handles.iter().for_each(crate::AttemptHandle::stop);
    running.finish().await;
    assert_eq!(running.cancel().await.totals(1).late_records, 0);
}

/// The credit of an assignment does not go back before the receivers know that the subtask is not idle any more. So while
/// a receiver is stuck, no subtask lets its watermark grow.
#[tokio::test(start_paused = true)]
async fn the_watermark_waits_until_every_receiver_knows() {
    let mut far = GraphBuilder::default();
    let source = far.source("ticks", None, WATCHED);
    let filter = far.filter(&datafusion_expr::lit(true), Parallelism::Job);
    let sink = far.sink("out", Parallelism::Job, rows_schema());
    far.link(source, filter, 0, Distribution::Hash { keys: vec![1] });
    far.link(filter, sink, 0, Distribution::Hash { keys: vec![1] });
    for graph in [watched(&[]), far.build()] {
        let cluster = Cluster::of(1).await;
        let gate = Arc::new(Semaphore::new(0));
        cluster.tables.0.manners.lock().unwrap().insert("out".to_owned(), Manner::Gated(gate.clone()));
        put(&cluster, 0..1);
        let running = begin(&cluster, &graph, 2).await;
        gate.add_permits(2);
        tokio::time::sleep(Duration::from_secs(1)).await;
        // The sink is stuck with the rows of one file while the next ones are found.
        put(&cluster, 1..2);
        tokio::time::sleep(Duration::from_secs(1)).await;
        put(&cluster, 2..3);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(
            source_watermark(&running),
            9_000,
            "the second file is read, and the third, but they are not settled"
        );
        gate.add_permits(100);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(source_watermark(&running), 29_000);
        assert_eq!(running.cancel().await.failed, []);
    }
}

/// A subtask that is active for its receivers sends no probe. So what it is assigned is settled although a receiver is
/// stuck: that one knows.
#[tokio::test(start_paused = true)]
async fn an_active_subtask_waits_for_no_receiver() {
    let cluster = Cluster::of(1).await;
    let gate = Arc::new(Semaphore::new(0));
    cluster.tables.0.manners.lock().unwrap().insert("out".to_owned(), Manner::Gated(gate.clone()));
    let growing = vec![rows([(100, 1, 0)]), rows([(300, 1, 1)])];
    let growing = TestSplit { delay: Duration::from_secs(10), ..TestSplit::of("growing", growing) };
    let give = |splits| cluster.tables.0.sources.lock().unwrap().insert("ticks".to_owned(), splits);
    give(vec![growing.clone().then(After::Idle)]);
    let running = begin(&cluster, &watched(&[]), 1).await;
    let read = || cluster.tables.0.read_batches.lock().unwrap()["ticks"];
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!((read(), source_watermark(&running)), (1, 100_000), "the sink is stuck with its rows");
    give(vec![growing.then(After::Idle), TestSplit::of("found", vec![rows([(200, 1, 2)])])]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((read(), source_watermark(&running)), (2, 100_000));
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!((read(), source_watermark(&running)), (3, 300_000), "nothing holds it where it was");
    assert!(cluster.tables.0.written("out").is_empty());
    assert_eq!(running.cancel().await.failed, []);
}

/// The node of the enumerator is told to stop before another one, and before the receivers know who is active.
#[tokio::test(start_paused = true)]
async fn no_watermark_grows_when_the_enumerator_ends_before_all_is_settled() {
    let cluster = Cluster::of(2).await;
    let gate = Arc::new(Semaphore::new(0));
    cluster.tables.0.manners.lock().unwrap().insert("out".to_owned(), Manner::Gated(gate.clone()));
    put(&cluster, 0..2);
    let mut running = begin(&cluster, &watched(&[]), 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    put(&cluster, 2..4);
    cluster.tables.0.sources.lock().unwrap().get_mut("ticks").unwrap()[3].delay = Duration::from_secs(30);
    tokio::time::sleep(Duration::from_secs(40)).await;
    let of_other_node = |running: &Running| source_watermark_on(running, 1);
    assert_eq!(of_other_node(&running), 19_000, "half of the fourth file is read, and the receivers are stuck");
    running.handles[0].stop();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(of_other_node(&running), 19_000, "some receiver may leave a subtask out that is active");
    gate.add_permits(100);
    running.finish().await;
    let ending = running.cancel().await;
    assert_eq!(ending.failed, []);
    let prepared: Vec<Prepared> = ending.finished.values().flat_map(|(_, prepared)| prepared.clone()).collect();
    assert_eq!(values(&cluster, &prepared), (0..40).collect::<Vec<_>>());
}

/// While more than a thousand splits wait, no further ones are assigned. All are read in the end.
#[tokio::test(start_paused = true)]
async fn what_is_assigned_and_not_begun_is_bounded() {
    let cluster = Cluster::of(1).await;
    put_apart(&cluster, 1500);
    let mut running = begin(&cluster, &watched(&[("exchange.window", "1 KiB")]), 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let left = named(&take(&mut running, CheckpointId(1)).await);
    assert!((1000..1200).contains(&left.len()), "{} splits are assigned", left.len());
    tokio::time::sleep(Duration::from_secs(150)).await;
    let left = named(&take(&mut running, CheckpointId(2)).await);
    assert_eq!(left.len(), 1, "of those that are read one stays for its watermark");
    running.handles[0].stop();
    running.finish().await;
    let ending = running.cancel().await;
    assert_eq!(ending.failed, []);
    let prepared: Vec<Prepared> = ending.snapshots.values().flat_map(|snapshot| snapshot.prepared.clone()).collect();
    assert_eq!(values(&cluster, &prepared), (0..1500).collect::<Vec<_>>());
}

/// A file that grows may be listed twice.
#[tokio::test(start_paused = true)]
async fn what_a_listing_names_twice_is_read_once() {
    let cluster = Cluster::of(1).await;
    cluster.tables.0.doubled.lock().unwrap().insert("ticks".to_owned());
    put(&cluster, 0..100);
    let mut running = begin(&cluster, &watched(&[]), 2).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    running.handles[0].stop();
    running.finish().await;
    let ending = running.cancel().await;
    assert_eq!(ending.failed, []);
    let prepared: Vec<Prepared> = ending.finished.values().flat_map(|(_, prepared)| prepared.clone()).collect();
    assert_eq!(values(&cluster, &prepared), (0..1000).collect::<Vec<_>>());
}

/// The test below shows this mistake.
#[tokio::test(start_paused = true)]
async fn a_source_that_is_told_before_a_checkpoint_is_complete_is_caught() {
    let cluster = Cluster::of(1).await;
    let split = TestSplit::of("a", vec![rows([(0, 1, 0)])]).then(After::Idle);
    cluster.tables.0.sources.lock().unwrap().insert("ticks".to_owned(), vec![split]);
    let mut running = cluster.deploy(JOB, &cluster.deployment(&watched(&[]), 1));
    running.start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    bug::activate(Some(Bug::CommitOffsetsEarly));
    take(&mut running, CheckpointId(1)).await;
    bug::activate(None);
    running.handles[0].abort_checkpoint(CheckpointId(1));
    let told = std::mem::take(&mut *cluster.tables.0.completed.lock().unwrap());
    assert_eq!(told.len(), 1, "of a checkpoint that is never complete");
    running.cancel().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_is_told_its_position_in_each_complete_checkpoint() {
    let cluster = Cluster::of(1).await;
    cluster.tables.0.sources.lock().unwrap().insert(
        "ticks".to_owned(),
        vec![TestSplit::of("a", vec![rows([(0, 1, 0)]), rows([(1, 1, 1)])]).then(After::Idle)],
    );
    let graph = watched(&[]);
    let deployment = cluster.deployment(&graph, 1);
    let mut running = cluster.deploy(JOB, &deployment);
    running.start().await;
    let told = || std::mem::take(&mut *cluster.tables.0.completed.lock().unwrap());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let snapshots = take(&mut running, CheckpointId(1)).await;
    take(&mut running, CheckpointId(2)).await;
    running.handles[0].abort_checkpoint(CheckpointId(2));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(told().is_empty(), "no checkpoint is known to be complete");
    running.handles[0].confirm_checkpoint(CheckpointId(1));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let positions: Vec<Split> = named(&snapshots).into_iter().map(|progress| progress.split).collect();
    assert_eq!(positions[0].payload, serde_json::json!([0, 2]));
    assert_eq!(told(), [(CheckpointId(1), positions.clone())]);
    take(&mut running, CheckpointId(3)).await;
    running.handles[0].confirm_checkpoint(CheckpointId(3));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(told(), [(CheckpointId(3), positions.clone())], "the aborted one is passed over");
    running.cancel().await;
    let attempt = ATTEMPT.next();
    let next = going_on(&cluster, &graph, (&deployment, 1), (attempt, CheckpointId(1), snapshots)).await;
    let mut running = cluster.deploy_attempt(JOB, attempt, &next);
    running.start().await;
    assert_eq!(
        told(),
        [(CheckpointId(1), positions.clone())],
        "nobody knows whether the former attempt came to tell it"
    );
    running.handles[0].stop();
    running.finish().await;
    take(&mut running, CheckpointId(4)).await;
    running.handles[0].confirm_checkpoint(CheckpointId(4));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(told(), [(CheckpointId(4), positions.clone())], "the source has finished, and the job has not");
    // The attempt is cancelled as soon as the job's end is recorded.
    running.handles[0].confirm_checkpoint(CheckpointId::FINAL);
    assert_eq!(running.cancel().await.failed, []);
    assert_eq!(told(), [(CheckpointId::FINAL, positions)]);
}

/// A deployment from a checkpoint of a time when a split of the source looked for new files. Of six files, the first was
/// read, the second and fourth in part, and the third not at all. The fifth was found and read before; the sixth is new.
fn from_before(cluster: &Cluster, graph: &JobGraph) -> Deployment {
    put(cluster, 0..6);
    let all = cluster.tables.0.splits("ticks");
    let at = |split: usize, read: u32, state| {
        let split = Split { payload: serde_json::json!([split, read]), ..all[split].clone() };
        SplitProgress { state, ..SplitProgress::unread(split) }
    };
    let names: Vec<&str> = all[..5].iter().map(|split| split.id.0.as_str()).collect();
    let current = at(3, 1, SplitState::Open).split;
    let looking = Split {
        payload: serde_json::json!({ FORMER: names, "current": current }),
        ..Split { sequence: "new-files".to_owned(), ..all[0].clone() }
    };
    let looking = SplitProgress { state: SplitState::Open, ..SplitProgress::unread(looking) };
    let former =
        vec![at(0, 2, SplitState::Finished), at(1, 1, SplitState::Open), at(2, 0, SplitState::Unread), looking];
    let mut deployment = cluster.deployment(graph, 2);
    let enumerator = graph.enumerator_of(SOURCE).unwrap();
    deployment.splits.push(SplitAssignment { source: enumerator, subtask: 0, splits: former });
    deployment
}

/// The values that are left to read.
fn left_of_before() -> Vec<i64> {
    [15..20, 20..30, 35..40, 50..60].into_iter().flatten().collect()
}

#[tokio::test(start_paused = true)]
async fn an_enumerator_goes_on_from_a_checkpoint_of_before() {
    let cluster = Cluster::of(1).await;
    let graph = watched(&[]);
    let deployment = from_before(&cluster, &graph);
    let mut running = cluster.deploy(JOB, &deployment);
    running.start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.handles[0].stop();
    running.finish().await;
    let ending = running.cancel().await;
    assert_eq!(ending.failed, []);
    let prepared: Vec<Prepared> = ending.finished.values().flat_map(|(_, prepared)| prepared.clone()).collect();
    assert_eq!(values(&cluster, &prepared), left_of_before());
}

/// The first checkpoint is ordered with the start. It names what was taken over, and the next attempt goes on from it.
#[tokio::test(start_paused = true)]
async fn what_is_taken_over_is_in_the_first_checkpoint() {
    let cluster = Cluster::of(1).await;
    let graph = watched(&[]);
    let deployment = from_before(&cluster, &graph);
    let mut running = cluster.deploy(JOB, &deployment);
    running.start().await;
    let snapshots = take(&mut running, CheckpointId(1)).await;
    assert_eq!(running.cancel().await.failed, []);
    let mut all: Vec<Prepared> = snapshots.iter().flat_map(|snapshot| snapshot.prepared.clone()).collect();
    let attempt = ATTEMPT.next();
    let next = going_on(&cluster, &graph, (&deployment, 2), (attempt, CheckpointId(1), snapshots)).await;
    let mut running = cluster.deploy_attempt(JOB, attempt, &next);
    running.start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.handles[0].stop();
    running.finish().await;
    let ending = running.cancel().await;
    assert_eq!(ending.failed, []);
    all.extend(ending.finished.values().flat_map(|(_, prepared)| prepared.clone()));
    assert_eq!(values(&cluster, &all), left_of_before());
}
