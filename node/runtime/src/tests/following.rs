//! Tables whose splits follow one another: nothing of one is read before the ends of those before it.

use std::{collections::BTreeMap, time::Duration};

use thalweg_types::{
    CheckpointId, JobGraph,
    bug::{self, Bug},
    checkpoint::{ManifestRef, Prepared, SplitState, SubtaskSnapshot},
    graph::{Distribution, Parallelism},
    session::Deployment,
};

use super::{
    checkpoints::{going_on, put_manifest, take},
    graph::{GraphBuilder, integers, rows, rows_schema},
    rig::{ATTEMPT, Cluster, Ending, JOB, Running},
    tables::{After, Manner, TestSplit},
};

const WATCHED: &[(&str, &str)] = &[("source.monitor-interval", "1 s")];

/// By key into a sink. Columns: time, key, value.
fn graph() -> JobGraph {
    let mut graph = GraphBuilder::default();
    let source = graph.source("shards", None, WATCHED);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Hash { keys: vec![1] });
    graph.build()
}

/// Splits of two batches of one row each, all of one key; values grow along them.
fn shard(n: i64) -> TestSplit {
    let name: &str = format!("shard {n}").leak();
    let row = |at: i64| rows([(10 * n + at, 7, 10 * n + at)]);
    TestSplit { delay: Duration::from_millis(20), ..TestSplit::of(name, vec![row(0), row(1)]) }
}

/// `following`: each split with those before it.
async fn cluster(splits: i64, following: &[(usize, &[usize])], tells: bool) -> Cluster {
    let cluster = Cluster::of(2).await;
    let tables = &cluster.tables.0;
    tables.sources.lock().unwrap().insert("shards".to_owned(), (0..splits).map(shard).collect());
    let following: BTreeMap<usize, Vec<usize>> = following.iter().map(|(next, all)| (*next, all.to_vec())).collect();
    tables.following.lock().unwrap().insert("shards".to_owned(), following);
    *tables.tells_successors.lock().unwrap() = tells;
    cluster
}

fn written(cluster: &Cluster) -> Vec<i64> {
    integers(&cluster.tables.0.written("out"), 2)
}

async fn complete(
    cluster: &Cluster,
    deployment: &Deployment,
    running: &mut Running,
    checkpoint: u64,
) -> (Vec<SubtaskSnapshot>, ManifestRef) {
    let checkpoint = CheckpointId(checkpoint);
    let snapshots = take(running, checkpoint).await;
    let (_, reference) = put_manifest(cluster, deployment, (ATTEMPT, checkpoint, snapshots.clone())).await;
    running.handles.iter().for_each(|handle| {
        handle.tell_manifest(reference.clone());
        handle.confirm_checkpoint(checkpoint);
    });
    (snapshots, reference)
}

fn ended(snapshots: &[SubtaskSnapshot]) -> Vec<String> {
    let splits = snapshots.iter().filter_map(|snapshot| snapshot.source.as_ref()).flat_map(|source| &source.splits);
    let mut ended: Vec<String> = splits
        .filter(|progress| progress.state == SplitState::Finished)
        .map(|progress| progress.split.id.0.clone())
        .collect();
    ended.sort_unstable();
    ended
}

async fn begin(cluster: &Cluster, parallelism: u32) -> (Deployment, Running) {
    let deployment = cluster.deployment(&graph(), parallelism);
    let mut running = cluster.deploy(JOB, &deployment);
    running.start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    (deployment, running)
}

/// One subtask reads all, and the ends tell what follows: a split, then a merge.
#[tokio::test(start_paused = true)]
async fn what_follows_is_read_at_once_where_all_before_it_ended() {
    let cluster = cluster(4, &[(1, &[0]), (2, &[0]), (3, &[1, 2])], true).await;
    let (deployment, mut running) = begin(&cluster, 1).await;
    let mut values = written(&cluster);
    assert_eq!(
        (values[..2].to_vec(), values[6..].to_vec()),
        (vec![0, 1], vec![30, 31]),
        "no checkpoint is complete yet"
    );
    values.sort_unstable();
    assert_eq!(values, [0, 1, 10, 11, 20, 21, 30, 31]);
    let (snapshots, _) = complete(&cluster, &deployment, &mut running, 1).await;
    assert_eq!(ended(&snapshots), ["shards-0", "shards-1", "shards-2", "shards-3"], "each end is told");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (snapshots, _) = complete(&cluster, &deployment, &mut running, 2).await;
    let left = ended(&snapshots);
    assert!(left.len() <= 2 && left.contains(&"shards-3".to_owned()), "ends that are known are forgotten: {left:?}");
    assert_eq!(written(&cluster).len(), 8, "nothing is read twice");
    assert_eq!(running.cancel().await.failed, []);
}

/// Two subtasks end one each of those that were merged.
#[tokio::test(start_paused = true)]
async fn what_follows_elsewhere_waits_for_a_checkpoint_with_all_ends() {
    for tells in [true, false] {
        let cluster = cluster(3, &[(2, &[0, 1])], tells).await;
        cluster.tables.0.sources.lock().unwrap().get_mut("shards").unwrap()[1].after = After::CatchUp;
        let (deployment, mut running) = begin(&cluster, 2).await;
        let sorted = || {
            let mut values = written(&cluster);
            values.sort_unstable();
            values
        };
        assert_eq!(sorted(), [0, 1, 10, 11]);
        complete(&cluster, &deployment, &mut running, 1).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(sorted(), [0, 1, 10, 11], "one of them has not ended");
        assert_eq!(running.cancel().await.failed, []);
    }
    for tells in [true, false] {
        let cluster = cluster(3, &[(2, &[0, 1])], tells).await;
        let (deployment, mut running) = begin(&cluster, 2).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(written(&cluster).len(), 4, "no checkpoint has the ends");
        complete(&cluster, &deployment, &mut running, 1).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(written(&cluster)[4..], [20, 21]);
        assert!(running.ending.wanted > 0, "the ends ask for a checkpoint");
        assert_eq!(running.cancel().await.failed, []);
    }
}

/// A sink is stuck with rows of the first split, whose follower goes to the other subtask.
async fn overtakes(active: Option<Bug>) -> bool {
    let cluster = cluster(2, &[(1, &[0])], false).await;
    cluster.tables.0.manners.lock().unwrap().insert("out".to_owned(), Manner::Slow(Duration::from_millis(500)));
    bug::activate(active);
    let (deployment, mut running) = begin(&cluster, 2).await;
    complete(&cluster, &deployment, &mut running, 1).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    bug::activate(None);
    assert_eq!(running.cancel().await.failed, []);
    let order = written(&cluster);
    assert_eq!(order.len(), 4);
    order != [0, 1, 10, 11]
}

#[tokio::test(start_paused = true)]
async fn no_row_overtakes_those_before_a_split() {
    assert!(!overtakes(None).await);
    assert!(overtakes(Some(Bug::ReadChildEarly)).await, "what is read early shows");
}

/// The ends are in the positions when the attempt fails, and what follows is not assigned.
async fn after_a_restore(parallelism: u32, active: Option<Bug>) -> Vec<i64> {
    let cluster = cluster(3, &[(2, &[0, 1])], false).await;
    let (deployment, mut running) = begin(&cluster, 2).await;
    let snapshots = take(&mut running, CheckpointId(1)).await;
    assert_eq!(ended(&snapshots), ["shards-0", "shards-1"]);
    let mut all: Vec<Prepared> = snapshots.iter().flat_map(|snapshot| snapshot.prepared.clone()).collect();
    assert_eq!(running.cancel().await.failed, []);
    let attempt = ATTEMPT.next();
    let next = going_on(&cluster, &graph(), (&deployment, parallelism), (attempt, CheckpointId(1), snapshots)).await;
    bug::activate(active);
    let mut running = cluster.deploy_attempt(JOB, attempt, &next);
    running.start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    complete(&cluster, &next, &mut running, 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.handles.iter().for_each(crate::AttemptHandle::stop);
    running.finish().await;
    bug::activate(None);
    let ending = running.cancel().await;
    assert_eq!(ending.failed, []);
    let at_the_end = ending.finished.values().flat_map(|(_, prepared)| prepared.clone());
    let of_second = ending.snapshots.values().flat_map(|snapshot| snapshot.prepared.clone());
    all.extend(of_second.chain(at_the_end));
    let mut values = integers(&cluster.tables.0.committed(&all), 2);
    values.sort_unstable();
    values.dedup();
    values
}

#[tokio::test(start_paused = true)]
async fn an_end_is_not_forgotten_by_a_restore() {
    for parallelism in [1, 2, 3] {
        assert_eq!(after_a_restore(parallelism, None).await, [0, 1, 10, 11, 20, 21]);
    }
    assert_eq!(after_a_restore(2, Some(Bug::ForgetSplitEnd)).await, [0, 1, 10, 11], "what follows is lost");
}

/// Counts per key and second.
fn counted() -> JobGraph {
    let mut counted = GraphBuilder::default();
    let source = counted.source("shards", None, WATCHED);
    let (count, schema) = counted.count_per_window(1_000_000);
    let sink = counted.sink("out", Parallelism::Job, schema);
    counted.link(source, count, 0, Distribution::Hash { keys: vec![1] });
    counted.link(count, sink, 0, Distribution::Forward);
    counted.build()
}

/// A row of each of these times in milliseconds, 20 ms after another.
fn timed(name: &'static str, times: impl IntoIterator<Item = i64>) -> TestSplit {
    let batches = times.into_iter().map(|time| rows([(time, 7, time)])).collect();
    TestSplit { delay: Duration::from_millis(20), ..TestSplit::of(name, batches) }
}

/// Far ahead of other splits, and without an end.
fn ahead() -> TestSplit {
    timed("ahead", (0..200).map(|at| 100_000 + 1000 * at)).then(After::CatchUp)
}

async fn cluster_of(splits: &[TestSplit], following: &[(usize, &[usize])], tells: bool) -> Cluster {
    let cluster = cluster(0, following, tells).await;
    find(&cluster, splits);
    cluster
}

/// Further splits are listed from now on.
fn find(cluster: &Cluster, splits: &[TestSplit]) {
    cluster.tables.0.sources.lock().unwrap().get_mut("shards").unwrap().extend(splits.iter().cloned());
}

async fn stopped(mut running: Running) -> Ending {
    running.handles.iter().for_each(crate::AttemptHandle::stop);
    running.finish().await;
    let ending = running.cancel().await;
    assert_eq!(ending.failed, []);
    ending
}

fn late_rows(ending: &Ending) -> u64 {
    ending.totals(1).late_records
}

/// Two subtasks read these splits, and `later` is found once the ends of all before it are in a complete checkpoint.
async fn late(
    splits: &[TestSplit],
    (later, after): (&[TestSplit], &[usize]),
    (active, graph): (Option<Bug>, &JobGraph),
) -> u64 {
    let cluster = cluster_of(splits, &[(2, after)], false).await;
    bug::activate(active);
    let deployment = cluster.deployment(graph, 2);
    let mut running = cluster.deploy(JOB, &deployment);
    running.start().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    complete(&cluster, &deployment, &mut running, 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    find(&cluster, later);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ending = stopped(running).await;
    bug::activate(None);
    late_rows(&ending)
}

/// While what follows waits for a checkpoint, or is not found, other splits run ahead. Its first rows are not late.
#[tokio::test(start_paused = true)]
async fn what_follows_is_not_late_whoever_runs_ahead() {
    let child = timed("child", [20, 21]);
    for (found, later) in [(1, 0), (0, 1)] {
        for is_first in [false, true] {
            let mut splits = vec![ahead(), timed("parent", [10, 11])];
            if is_first {
                splits.reverse();
            }
            let before = [usize::from(!is_first)];
            splits.extend(vec![child.clone(); found]);
            let late = async |active| late(&splits, (&vec![child.clone(); later], &before), (active, &counted())).await;
            assert_eq!(late(None).await, 0, "{found}, {is_first}");
            // It is the third, so that its turn is the first subtask's.
            let expected = if is_first { 0 } else { 2 };
            assert_eq!(late(Some(Bug::FollowElsewhere)).await, expected, "{found}, {is_first}");
        }
    }
}

/// Of two halves of a merge one ended earlier in event time.
#[tokio::test(start_paused = true)]
async fn what_follows_a_merge_is_not_late_by_the_earlier_end() {
    let child = timed("child", [20, 70_000]);
    let (low, high) = (timed("low", [10, 11]), timed("high", [50_000, 60_000]));
    for (splits, expected) in [([high.clone(), low.clone()], 1), ([low, high], 0)] {
        let late = async |active| late(&splits, (std::slice::from_ref(&child), &[0, 1]), (active, &counted())).await;
        assert_eq!(late(None).await, 0);
        assert_eq!(late(Some(Bug::FollowElsewhere)).await, expected);
    }
}

/// A split that was silent ends. That what follows is not there yet is no silence.
#[tokio::test(start_paused = true)]
async fn an_end_is_not_idle() {
    let splits = [ahead(), timed("silent", []).idle_first()];
    let late = late(&splits, (&[timed("child", [20, 21])], &[1]), (None, &counted())).await;
    assert_eq!(late, 0);
}

/// An end is known when the attempt fails, and what follows is found a while after the restore, in which ends are dealt anew.
async fn late_after_a_restore(parallelism: u32, active: Option<Bug>) -> u64 {
    let splits = [ahead(), timed("parent", [10, 11]), timed("waits for the first", [0])];
    let cluster = cluster_of(&splits, &[(2, &[0]), (3, &[1])], false).await;
    let graph = counted();
    let deployment = cluster.deployment(&graph, 2);
    let mut running = cluster.deploy(JOB, &deployment);
    running.start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    complete(&cluster, &deployment, &mut running, 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let snapshots = take(&mut running, CheckpointId(2)).await;
    assert_eq!(ended(&snapshots), ["shards-1"]);
    assert_eq!(running.cancel().await.failed, []);
    let attempt = ATTEMPT.next();
    let next = going_on(&cluster, &graph, (&deployment, parallelism), (attempt, CheckpointId(2), snapshots)).await;
    bug::activate(active);
    let mut running = cluster.deploy_attempt(JOB, attempt, &next);
    running.start().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    find(&cluster, &[timed("child", 20..220)]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    complete(&cluster, &next, &mut running, 3).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let snapshots = take(&mut running, CheckpointId(4)).await;
    assert!(ended(&snapshots).contains(&"shards-3".to_owned()), "what follows was read");
    let ending = stopped(running).await;
    bug::activate(None);
    late_rows(&ending)
}

#[tokio::test(start_paused = true)]
async fn what_follows_an_end_that_was_dealt_anew_is_not_late() {
    for parallelism in [1, 2, 3] {
        assert_eq!(late_after_a_restore(parallelism, None).await, 0, "{parallelism}");
    }
    assert!(late_after_a_restore(2, Some(Bug::FollowElsewhere)).await > 0);
}

/// What follows was gone on with before the restore, and the end is known or not. It holds the watermark until a checkpoint
/// tells of it, and no longer.
async fn held_after_a_restore(parallelism: u32, is_known: bool) {
    let child = timed("child", (0..200).map(|at| 1000 * at)).then(After::CatchUp);
    let cluster = cluster_of(&[timed("parent", [0, 1]), child], &[(1, &[0])], true).await;
    let graph = counted();
    let deployment = cluster.deployment(&graph, 1);
    let mut running = cluster.deploy(JOB, &deployment);
    running.start().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    if is_known {
        complete(&cluster, &deployment, &mut running, 1).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let snapshots = take(&mut running, CheckpointId(2)).await;
    assert_eq!(ended(&snapshots), ["shards-0"]);
    assert_eq!(running.cancel().await.failed, []);
    let (attempt, last) = (ATTEMPT.next(), CheckpointId(2));
    let next = going_on(&cluster, &graph, (&deployment, parallelism), (attempt, last, snapshots)).await;
    let mut running = cluster.deploy_attempt(JOB, attempt, &next);
    running.start().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let closed = || integers(&cluster.tables.0.written("out"), 1).len();
    let held = closed();
    assert!(held < 50, "{held} windows have closed");
    complete(&cluster, &next, &mut running, 3).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(closed() >= 199, "{} windows have closed", closed());
    assert_eq!(running.cancel().await.failed, []);
}

#[tokio::test(start_paused = true)]
async fn an_end_is_let_go_of_after_a_restore() {
    for parallelism in [1, 2] {
        held_after_a_restore(parallelism, false).await;
        held_after_a_restore(parallelism, true).await;
    }
}
