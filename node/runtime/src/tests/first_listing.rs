//! Tables whose first listing decides where splits begin, and tables that are looked at once.

use std::{collections::BTreeSet, time::Duration};

use thalweg_types::{
    CheckpointId, JobGraph,
    checkpoint::Prepared,
    graph::{Distribution, Parallelism},
    job::FailureKind,
};

use super::{
    checkpoints::{going_on, take},
    graph::{GraphBuilder, integers, rows, rows_schema},
    rig::{ATTEMPT, Cluster, JOB},
    tables::{After, LISTED_EVERY, TestSplit, Together},
};

const AT_ONCE: Together = Together { first_skips: 1, cut_takes: Duration::ZERO, once: false };

fn graph(settings: &[(&str, &str)]) -> JobGraph {
    let mut graph = settings.iter().fold(GraphBuilder::default(), |graph, (key, value)| graph.set(key, value));
    let source = graph.source("ticks", None, &[("source.monitor-interval", "1 s")]);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Hash { keys: vec![1] });
    graph.build()
}

async fn cluster(together: Together) -> Cluster {
    let cluster = Cluster::of(2).await;
    cluster.tables.0.sources.lock().unwrap().insert("ticks".to_owned(), Vec::new());
    cluster.tables.0.found_together.lock().unwrap().insert("ticks".to_owned(), together);
    cluster
}

/// Adds splits of two batches each: the values `10 n` to `10 n + 4`, and those to `10 n + 9`.
fn put(cluster: &Cluster, splits: std::ops::Range<i64>) {
    let split = |n: i64| {
        let name: &str = format!("split {n}").leak();
        let half = |from: i64| rows((from..from + 5).map(|at| (n * 10 + at, at, n * 10 + at)));
        TestSplit::of(name, vec![half(0), half(5)])
    };
    cluster.tables.0.sources.lock().unwrap().entry("ticks".to_owned()).or_default().extend(splits.map(split));
}

/// The values of these splits, without those of the first batch where it is skipped.
fn expected(skipped: std::ops::Range<i64>, whole: std::ops::Range<i64>) -> Vec<i64> {
    skipped.flat_map(|n| n * 10 + 5..n * 10 + 10).chain(whole.flat_map(|n| n * 10..n * 10 + 10)).collect()
}

fn values(cluster: &Cluster, prepared: &[Prepared]) -> Vec<i64> {
    let mut values = integers(&cluster.tables.0.committed(prepared), 2);
    values.sort_unstable();
    values
}

/// Runs a job for some time, and again from the checkpoint that it took then, with splits that came between. Returns all
/// values.
async fn in_two_attempts(
    cluster: &Cluster,
    graph: &JobGraph,
    moment: Duration,
    later: std::ops::Range<i64>,
) -> Vec<i64> {
    let deployment = cluster.deployment(graph, 3);
    let mut running = cluster.deploy(JOB, &deployment);
    running.start().await;
    tokio::time::sleep(moment).await;
    let snapshots = take(&mut running, CheckpointId(1)).await;
    assert_eq!(running.cancel().await.failed, []);
    let mut all: Vec<Prepared> = snapshots.iter().flat_map(|snapshot| snapshot.prepared.clone()).collect();
    put(cluster, later);
    let attempt = ATTEMPT.next();
    let next = going_on(cluster, graph, (&deployment, 2), (attempt, CheckpointId(1), snapshots)).await;
    let mut running = cluster.deploy_attempt(JOB, attempt, &next);
    running.start().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    running.handles.iter().for_each(crate::AttemptHandle::stop);
    running.finish().await;
    let ending = running.cancel().await;
    assert_eq!(ending.failed, []);
    all.extend(ending.finished.values().flat_map(|(_, prepared)| prepared.clone()));
    values(cluster, &all)
}

#[tokio::test(start_paused = true)]
async fn what_is_found_later_begins_at_its_beginning() {
    let cluster = cluster(AT_ONCE).await;
    put(&cluster, 0..5);
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph(&[]), 2));
    running.start().await;
    tokio::time::sleep(LISTED_EVERY * 3).await;
    put(&cluster, 5..8);
    tokio::time::sleep(LISTED_EVERY * 3).await;
    running.handles.iter().for_each(crate::AttemptHandle::stop);
    running.finish().await;
    let ending = running.cancel().await;
    assert_eq!(ending.failed, []);
    let prepared: Vec<Prepared> = ending.finished.values().flat_map(|(_, prepared)| prepared.clone()).collect();
    assert_eq!(values(&cluster, &prepared), expected(0..5, 5..8));
}

/// The checkpoint comes before, while and after the first listing is cut and assigned, with little credit. Either it has
/// all of it, and what is found after the restore is found later; or nothing, and the listing after the restore is the first.
#[tokio::test(start_paused = true)]
async fn a_checkpoint_has_all_of_the_first_listing_or_nothing() {
    let mut known = BTreeSet::new();
    for settings in [&[][..], &[("exchange.window", "1 KiB"), ("checkpoint.alignment-timeout", "0 s")][..]] {
        for moment in [0, 10, 49, 50, 51, 52, 99, 100, 101, 160] {
            let cluster = cluster(Together { cut_takes: Duration::from_millis(50), ..AT_ONCE }).await;
            put(&cluster, 0..200);
            let read = in_two_attempts(&cluster, &graph(settings), Duration::from_millis(moment), 200..220).await;
            let is_known = read.contains(&2000);
            let all = if is_known { expected(0..200, 200..220) } else { expected(0..220, 0..0) };
            assert_eq!(read, all, "after {moment} ms, with {settings:?}");
            known.insert(is_known);
        }
    }
    assert_eq!(known.len(), 2, "there were checkpoints of both kinds");
}

#[tokio::test(start_paused = true)]
async fn a_first_listing_that_finds_nothing_is_one() {
    let cluster = cluster(AT_ONCE).await;
    let read = in_two_attempts(&cluster, &graph(&[]), LISTED_EVERY / 2, 0..3).await;
    assert_eq!(read, expected(0..0, 0..3));
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_looked_at_once_ends() {
    let cluster = cluster(Together { once: true, ..AT_ONCE }).await;
    put(&cluster, 0..5);
    let ending = cluster.run(&graph(&[]), 3).await;
    assert_eq!(ending.failed, []);
    let prepared: Vec<Prepared> = ending.finished.values().flat_map(|(_, prepared)| prepared.clone()).collect();
    assert_eq!(values(&cluster, &prepared), expected(0..5, 0..0));
    assert_eq!(cluster.tables.0.listings.lock().unwrap()["ticks"], 1);
}

/// Also by another attempt.
#[tokio::test(start_paused = true)]
async fn a_table_that_was_looked_at_once_is_not_looked_at_again() {
    let cluster = cluster(Together { once: true, ..AT_ONCE }).await;
    put(&cluster, 0..5);
    for split in cluster.tables.0.sources.lock().unwrap().get_mut("ticks").unwrap() {
        split.delay = Duration::from_secs(1);
    }
    let read = in_two_attempts(&cluster, &graph(&[]), Duration::from_millis(500), 5..9).await;
    assert_eq!(read, expected(0..5, 0..0), "the others came too late");
    assert_eq!(cluster.tables.0.listings.lock().unwrap()["ticks"], 1);
}

/// Files are read some at a time, since each ends; a topic's partitions do not.
#[tokio::test(start_paused = true)]
async fn as_many_splits_are_read_side_by_side_as_the_table_says() {
    for (open_max, read) in [(32, 32), (usize::MAX, 100)] {
        let cluster = cluster(Together { first_skips: 0, ..AT_ONCE }).await;
        cluster.tables.0.open_max.lock().unwrap().insert("ticks".to_owned(), open_max);
        put(&cluster, 0..100);
        for split in cluster.tables.0.sources.lock().unwrap().get_mut("ticks").unwrap() {
            split.after = After::Idle;
        }
        let mut running = cluster.deploy(JOB, &cluster.deployment(&graph(&[]), 1));
        running.start().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(cluster.tables.0.read_batches.lock().unwrap()["ticks"], 2 * read);
        assert_eq!(running.cancel().await.failed, []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_is_checked_once_before_it_is_read() {
    let cluster = cluster(AT_ONCE).await;
    put(&cluster, 0..5);
    in_two_attempts(&cluster, &graph(&[]), LISTED_EVERY, 5..6).await;
    let checked = || std::mem::take(&mut *cluster.tables.0.checked.lock().unwrap());
    assert_eq!(checked(), [("ticks".to_owned(), false), ("ticks".to_owned(), true)], "whether it has run before");
    let checked_sinks = || std::mem::take(&mut *cluster.tables.0.checked_sinks.lock().unwrap());
    assert_eq!(checked_sinks(), [("out".to_owned(), false), ("out".to_owned(), true)]);
    cluster.tables.0.refused.lock().unwrap().insert("ticks".to_owned(), "there is no such topic".to_owned());
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph(&[]), 3));
    running.start().await;
    let ending = running.cancel().await;
    let (_, failure, _) = &ending.failed[0];
    assert_eq!((failure.kind, ending.failed.len()), (FailureKind::Data, 1));
    assert!(failure.message.contains("there is no such topic"), "{}", failure.message);
    assert!(ending.finished.is_empty() && checked() == [("ticks".to_owned(), false)]);
    let refused = std::mem::take(&mut *cluster.tables.0.refused.lock().unwrap());
    cluster.tables.0.refused.lock().unwrap().extend(refused.into_values().map(|reason| ("out".to_owned(), reason)));
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph(&[]), 3));
    running.start().await;
    let ending = running.cancel().await;
    assert!(ending.failed[0].1.message.contains("table out failed"), "{:?}", ending.failed);
}
