use std::{collections::BTreeMap, time::Duration};

use thalweg_connectors::Rollover;
use thalweg_storage::names;
use thalweg_types::{
    Attempt, ChainPlan, CheckpointId, JobGraph, OperatorId, Term,
    checkpoint::{MANIFEST_FORMAT, Manifest, ManifestRef, Prepared, RecordedGraph, SplitProgress, SubtaskSnapshot},
    graph::{Distribution, Parallelism},
    session::{Deployment, SplitAssignment},
};

use super::{
    flows,
    graph::{GraphBuilder, integers, rows, rows_schema},
    rig::{ATTEMPT, Cluster, JOB, Running, cluster_id},
    tables::{After, TestSplit},
};

const SECOND: i64 = 1_000_000;

/// Counts per key and second, into a sink.
pub(super) fn counting(window_micros: i64) -> JobGraph {
    let mut graph = GraphBuilder::default().set("exchange.window", "8 KiB");
    let source = graph.source("ticks", None, &[]);
    let (count, schema) = graph.count_per_window(window_micros);
    let sink = graph.sink("counts", Parallelism::Job, schema);
    graph.link(source, count, 0, Distribution::Hash { keys: vec![1] });
    graph.link(count, sink, 0, Distribution::Forward);
    graph.build()
}

/// Three splits of `batches` batches of 100 rows with keys 0 to 9. A batch covers a tenth of a second.
pub(super) fn give_ticks(cluster: &Cluster, batches: i64, after: After) {
    let batch = |n: i64| rows((0..100).map(|at| (n * 100 + at, at % 10, at)));
    let splits = ["a", "b", "c"].map(|name| {
        let split = TestSplit::of(name, (0..batches).map(batch).collect()).then(after);
        TestSplit { delay: Duration::from_millis(10), ..split }
    });
    cluster.tables.0.sources.lock().unwrap().insert("ticks".to_owned(), splits.to_vec());
}

/// Takes a checkpoint. Returns the snapshots.
pub(super) async fn take(running: &mut Running, checkpoint: CheckpointId) -> Vec<SubtaskSnapshot> {
    running.handles.iter().for_each(|handle| handle.begin_checkpoint(checkpoint, None));
    let subtasks: usize = running.handles.iter().map(|handle| handle.states().len()).sum();
    let of = |running: &Running| -> Vec<SubtaskSnapshot> {
        let all = running.ending.snapshots.iter().filter(|((of, _), _)| *of == checkpoint);
        all.map(|(_, snapshot)| snapshot.clone()).collect()
    };
    while of(running).len() < subtasks {
        running.next().await;
    }
    of(running)
}

/// Writes the manifest of a checkpoint.
pub(super) async fn put_manifest(
    cluster: &Cluster,
    of: &Deployment,
    (attempt, checkpoint, snapshots): (Attempt, CheckpointId, Vec<SubtaskSnapshot>),
) -> (Manifest, ManifestRef) {
    let manifest = Manifest {
        format: MANIFEST_FORMAT,
        cluster: cluster_id(),
        job: JOB,
        attempt,
        checkpoint,
        key_groups: of.assignment.key_groups.clone(),
        parallelism: of.assignment.parallelism(),
        graph: Some(RecordedGraph::of(&of.graph, &ChainPlan::of(&of.graph))),
        subtasks: snapshots,
    };
    let name = names::manifest(&cluster_id(), JOB, checkpoint, attempt, Term(1));
    let reference = cluster.store.put_manifest(&name, &manifest).await.unwrap();
    (manifest, reference)
}

/// The deployment of a graph that resumes from these snapshots.
pub(super) async fn going_on(
    cluster: &Cluster,
    graph: &JobGraph,
    (before, parallelism): (&Deployment, u32),
    (attempt, checkpoint, snapshots): (Attempt, CheckpointId, Vec<SubtaskSnapshot>),
) -> Deployment {
    let (manifest, reference) = put_manifest(cluster, before, (attempt, checkpoint, snapshots)).await;
    restoring(cluster, graph, parallelism, (&manifest, reference))
}

/// The deployment of a graph that resumes from a manifest.
pub(super) fn restoring(
    cluster: &Cluster,
    graph: &JobGraph,
    parallelism: u32,
    (manifest, reference): (&Manifest, ManifestRef),
) -> Deployment {
    let matching = manifest.matched(graph, &ChainPlan::of(graph)).unwrap();
    let mut all: BTreeMap<OperatorId, Vec<SplitProgress>> = BTreeMap::new();
    for source in manifest.subtasks.iter().filter_map(|snapshot| snapshot.source.clone()) {
        all.entry(matching.operator(source.source).unwrap()).or_default().extend(source.splits);
    }
    let mut splits = Vec::new();
    for (source, mut progress) in all {
        progress.sort_by_key(|progress| progress.split.id.clone());
        for subtask in 0..parallelism {
            let mine = progress.iter().skip(subtask as usize).step_by(parallelism as usize).cloned().collect();
            splits.push(SplitAssignment { source, subtask, splits: mine });
        }
    }
    Deployment { splits, restore: Some(reference), ..cluster.deployment(graph, parallelism) }
}

/// The counts in committed rows, sorted.
pub(super) fn counts(cluster: &Cluster, prepared: &[Prepared]) -> Vec<i64> {
    let mut counts = integers(&cluster.tables.0.committed(prepared), 1);
    counts.sort_unstable();
    counts
}

/// One attempt runs to a checkpoint and a little further. Others resume from it at various parallelisms.
#[tokio::test(start_paused = true)]
async fn a_job_goes_on_from_its_checkpoint_at_any_parallelism() {
    for (before, after, nodes) in [(1, 1, 1), (3, 2, 2), (2, 5, 2)] {
        let cluster = Cluster::of(nodes).await;
        give_ticks(&cluster, 50, After::End);
        let graph = counting(SECOND);
        let deployment = cluster.deployment(&graph, before);
        let mut running = cluster.deploy(JOB, &deployment);
        running.start().await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        let first = take(&mut running, CheckpointId(1)).await;
        running.handles.iter().for_each(|handle| handle.confirm_checkpoint(CheckpointId(1)));
        tokio::time::sleep(Duration::from_millis(100)).await;
        let second = take(&mut running, CheckpointId(2)).await;
        let ending = running.cancel().await;
        assert_eq!((ending.failed, ending.finished.len()), (vec![], 0));
        let prepared: Vec<Prepared> =
            [&first, &second].into_iter().flatten().flat_map(|s| s.prepared.clone()).collect();
        assert!(prepared.iter().any(|prepared| prepared.epoch == CheckpointId(2)), "{prepared:?}");
        assert!(second.iter().flat_map(|s| &s.prepared).all(|prepared| prepared.epoch == CheckpointId(2)));
        let attempt = ATTEMPT.next();
        let plan = (&deployment, after);
        let deployment = going_on(&cluster, &graph, plan, (attempt, CheckpointId(2), second)).await;
        let mut running = cluster.deploy_attempt(JOB, attempt, &deployment);
        running.start().await;
        running.finish().await;
        let ending = running.cancel().await;
        assert_eq!(ending.failed, []);
        let rest = ending.finished.values().flat_map(|(_, prepared)| prepared.clone());
        let all: Vec<Prepared> = prepared.into_iter().chain(rest).collect();
        assert_eq!(counts(&cluster, &all), vec![300; 50], "from {before} to {after} on {nodes} nodes");
    }
}

/// Resumes from checkpoint to checkpoint at these parallelisms, and runs the last attempt to the end. The first
/// checkpoint is taken after an eighth of a second, the others `later` after the start of their attempt. Returns the
/// committed output.
async fn through(cluster: &Cluster, graph: &JobGraph, parallelisms: &[u32], later: Duration) -> Vec<Prepared> {
    let (mut attempt, mut all) = (ATTEMPT, Vec::new());
    let mut deployment = cluster.deployment(graph, parallelisms[0]);
    for (next, checkpoint) in parallelisms[1..].iter().zip((1..).map(CheckpointId)) {
        let mut running = cluster.deploy_attempt(JOB, attempt, &deployment);
        running.start().await;
        tokio::time::sleep(if attempt == ATTEMPT { Duration::from_millis(123) } else { later }).await;
        let taken = take(&mut running, checkpoint).await;
        running.handles.iter().for_each(|handle| handle.confirm_checkpoint(checkpoint));
        // Gives the uploader time to hold the confirmed batches.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(running.cancel().await.failed, []);
        all.extend(taken.iter().flat_map(|snapshot| snapshot.prepared.clone()));
        attempt = attempt.next();
        deployment = going_on(cluster, graph, (&deployment, *next), (attempt, checkpoint, taken)).await;
    }
    let mut running = cluster.deploy_attempt(JOB, attempt, &deployment);
    running.start().await;
    running.finish().await;
    let ending = running.cancel().await;
    assert_eq!(ending.failed, []);
    all.extend(ending.finished.values().flat_map(|(_, prepared)| prepared.clone()));
    all
}

/// Rows that a sink holds for an open part are state. They are published once at the end, and not before.
#[tokio::test(start_paused = true)]
async fn parts_that_stay_open_are_kept_at_any_parallelism() {
    for (parallelisms, nodes) in [(&[1, 1, 1][..], 1), (&[2, 5, 1], 1), (&[3, 2, 4], 2)] {
        for age in [None, Some(Duration::from_millis(200))] {
            let cluster = Cluster::of(nodes).await;
            let (inactivity, check) = (None, Duration::ZERO);
            let rollover = Rollover { bytes: u64::MAX, held_bytes: u64::MAX, age, inactivity, check };
            cluster.tables.0.rollovers.lock().unwrap().insert("counts".to_owned(), rollover);
            give_ticks(&cluster, 50, After::End);
            let all = through(&cluster, &counting(SECOND), parallelisms, Duration::from_millis(150)).await;
            assert_eq!(counts(&cluster, &all), vec![300; 50], "{parallelisms:?} on {nodes} nodes, {age:?}");
            let before_the_end = all.iter().any(|prepared| prepared.epoch != CheckpointId::FINAL);
            assert!(!before_the_end || age.is_some(), "{all:?}");
        }
    }
}

/// Two parts of a batch that went to different subtasks come together again. Neither may be taken for the whole
/// batch.
#[tokio::test(start_paused = true)]
async fn state_is_kept_through_one_change_of_parallelism_after_another() {
    for (parallelisms, nodes) in
        [(&[1, 2, 1, 1][..], 1), (&[1, 2, 2, 2], 1), (&[4, 3, 4, 4, 2], 2), (&[2, 3, 1, 3, 3], 1)]
    {
        let cluster = Cluster::of(nodes).await;
        give_ticks(&cluster, 50, After::End);
        let counting = counting(1000 * SECOND);
        let all = through(&cluster, &counting, parallelisms, Duration::ZERO).await;
        assert_eq!(counts(&cluster, &all), vec![1500; 10], "{parallelisms:?} on {nodes} nodes");

        let cluster = Cluster::of(nodes).await;
        let split = |name| TestSplit { delay: Duration::from_millis(10), ..TestSplit::of(name, flows::ticks(2000)) };
        flows::give(&cluster, "ticks", vec![split("a"), split("b")]);
        let all = through(&cluster, &flows::self_join(), parallelisms, Duration::ZERO).await;
        let mut values = integers(&cluster.tables.0.committed(&all), 2);
        values.sort_unstable();
        assert_eq!(values, (0..2000).flat_map(|n| [n; 4]).collect::<Vec<_>>(), "{parallelisms:?} on {nodes} nodes");
    }
}

/// Unchanged state is not uploaded again, even by the next attempt.
#[tokio::test(start_paused = true)]
async fn only_what_changed_is_uploaded() {
    let cluster = Cluster::of(1).await;
    give_ticks(&cluster, 20, After::Idle);
    let graph = counting(1000 * SECOND);
    let deployment = cluster.deployment(&graph, 1);
    let mut running = cluster.deploy(JOB, &deployment);
    running.start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let uploaded = |snapshots: &[SubtaskSnapshot]| snapshots.iter().map(|s| s.cost.uploaded_bytes).sum::<u64>();
    let first = take(&mut running, CheckpointId(1)).await;
    assert!(uploaded(&first) > 0);
    let second = take(&mut running, CheckpointId(2)).await;
    assert_eq!(uploaded(&second), 0);
    assert_eq!(second[1].objects, first[1].objects);
    running.cancel().await;
    let attempt = ATTEMPT.next();
    let deployment = going_on(&cluster, &graph, (&deployment, 1), (attempt, CheckpointId(2), second)).await;
    let mut running = cluster.deploy_attempt(JOB, attempt, &deployment);
    running.start().await;
    let third = take(&mut running, CheckpointId(3)).await;
    assert_eq!((uploaded(&third), &third[1].objects), (0, &first[1].objects));
    running.cancel().await;
}

/// Objects that somebody has removed are uploaded again, since a checkpoint must name existing objects only.
#[tokio::test(start_paused = true)]
async fn what_somebody_has_removed_is_uploaded_anew() {
    let cluster = Cluster::of(1).await;
    give_ticks(&cluster, 20, After::Idle);
    let graph = counting(1000 * SECOND);
    let deployment = cluster.deployment(&graph, 1);
    let mut running = cluster.deploy(JOB, &deployment);
    running.start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let objects = |snapshots: &[SubtaskSnapshot]| -> Vec<String> {
        snapshots.iter().flat_map(|s| &s.objects).map(|object| object.name.clone()).collect()
    };
    let first = objects(&take(&mut running, CheckpointId(1)).await);
    cluster.store.delete(&first).await.unwrap();
    let second = objects(&take(&mut running, CheckpointId(2)).await);
    assert!(!second.is_empty() && first.iter().all(|name| !second.contains(name)), "{first:?}, {second:?}");
    assert_eq!(cluster.store.missing(second).await.unwrap(), [] as [String; 0]);
    running.cancel().await;
}

/// A node does not read state that it still holds: here the objects are removed from the store.
#[tokio::test(start_paused = true)]
async fn what_a_node_still_holds_is_not_read_again() {
    for is_held in [true, false] {
        let cluster = Cluster::of(1).await;
        give_ticks(&cluster, 50, After::End);
        let graph = counting(1000 * SECOND);
        let deployment = cluster.deployment(&graph, 1);
        let mut running = cluster.deploy(JOB, &deployment);
        running.start().await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        let taken = take(&mut running, CheckpointId(1)).await;
        running.handles.iter().for_each(|handle| handle.confirm_checkpoint(CheckpointId(1)));
        // Gives the uploader time to hold the confirmed batches.
        tokio::time::sleep(Duration::from_millis(1)).await;
        running.cancel().await;
        let objects: Vec<String> = taken.iter().flat_map(|s| &s.objects).map(|object| object.name.clone()).collect();
        assert!(!objects.is_empty());
        cluster.store.delete(&objects).await.unwrap();
        if !is_held {
            cluster.nodes[0].local.forget(JOB, ATTEMPT);
        }
        let attempt = ATTEMPT.next();
        let deployment = going_on(&cluster, &graph, (&deployment, 1), (attempt, CheckpointId(1), taken)).await;
        let mut running = cluster.deploy_attempt(JOB, attempt, &deployment);
        running.start().await;
        running.finish().await;
        let ending = running.cancel().await;
        assert_eq!(ending.failed.is_empty(), is_held, "{:?}", ending.failed);
        if is_held {
            let rest: Vec<Prepared> = ending.finished.into_values().flat_map(|(_, prepared)| prepared).collect();
            assert_eq!(counts(&cluster, &rest), vec![1500; 10]);
        }
    }
}

/// A subtask whose input has ended still takes part. Output sealed at the end belongs to the next checkpoint.
#[tokio::test(start_paused = true)]
async fn checkpoints_go_on_after_the_end_of_input() {
    let cluster = Cluster::of(2).await;
    give_ticks(&cluster, 10, After::End);
    let graph = counting(SECOND);
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, 2));
    running.start().await;
    running.finish().await;
    let first = take(&mut running, CheckpointId(1)).await;
    assert!(first.iter().all(|snapshot| snapshot.is_finished));
    let prepared: Vec<Prepared> = first.iter().flat_map(|snapshot| snapshot.prepared.clone()).collect();
    assert!(prepared.iter().all(|prepared| prepared.epoch == CheckpointId(1)));
    assert_eq!(counts(&cluster, &prepared), vec![300; 10]);
    running.handles.iter().for_each(|handle| handle.confirm_checkpoint(CheckpointId(1)));
    let second = take(&mut running, CheckpointId(2)).await;
    assert!(second.iter().all(|snapshot| snapshot.prepared.is_empty()));
    let ending = running.cancel().await;
    assert_eq!(ending.failed, []);
}

/// An alignment that waits for a missing barrier is aborted, and the next checkpoint is taken.
#[tokio::test(start_paused = true)]
async fn an_aborted_checkpoint_blocks_nothing() {
    let cluster = Cluster::of(2).await;
    give_ticks(&cluster, 50, After::End);
    let mut graph = counting(SECOND);
    graph.settings.insert("checkpoint.alignment-timeout".to_owned(), "1 h".to_owned());
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, 2));
    running.start().await;
    // Only the sources of one node get the order.
    running.handles[0].begin_checkpoint(CheckpointId(1), None);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(running.ending.finished.is_empty(), "nothing holds the job up");
    running.handles.iter().for_each(|handle| handle.abort_checkpoint(CheckpointId(1)));
    let second = take(&mut running, CheckpointId(2)).await;
    running.finish().await;
    let ending = running.cancel().await;
    let rest = ending.finished.values().flat_map(|(_, prepared)| prepared.clone());
    let before = second.iter().flat_map(|snapshot| snapshot.prepared.clone());
    let mut all: Vec<Prepared> = before.filter(|prepared| prepared.epoch == CheckpointId(2)).collect();
    all.extend(rest.filter(|prepared| prepared.epoch == CheckpointId::FINAL));
    assert_eq!(counts(&cluster, &all), vec![300; 50]);
}

/// A late or malformed record before the checkpoint is not read again, so its count must come from the checkpoint.
#[tokio::test(start_paused = true)]
async fn counts_go_on_from_the_checkpoint() {
    for (before, after) in [(1, 1), (3, 2), (2, 3)] {
        let cluster = Cluster::of(1).await;
        // Every other batch is a minute behind.
        let batch = |n: i64| rows((0..100).map(|at| (n * 100 + 60_000 * (n % 2) + at, at % 10, at)));
        let split =
            |name| TestSplit { delay: Duration::from_millis(10), ..TestSplit::of(name, (1..=40).map(batch).collect()) };
        flows::give(&cluster, "ticks", ["a", "b", "c"].map(split).to_vec());
        let graph = counting(SECOND);
        let deployment = cluster.deployment(&graph, before);
        let mut running = cluster.deploy(JOB, &deployment);
        running.start().await;
        tokio::time::sleep(Duration::from_millis(205)).await;
        let taken = take(&mut running, CheckpointId(1)).await;
        let late: u64 = taken.iter().map(|snapshot| snapshot.counts.late_records).sum();
        assert!((100..5900).contains(&late), "{late} of them");
        let mut all: Vec<Prepared> = taken.iter().flat_map(|snapshot| snapshot.prepared.clone()).collect();
        // Records counted after the checkpoint are counted again by the next attempt.
        tokio::time::sleep(Duration::from_millis(50)).await;
        running.cancel().await;
        let attempt = ATTEMPT.next();
        let deployment = going_on(&cluster, &graph, (&deployment, after), (attempt, CheckpointId(1), taken)).await;
        let mut running = cluster.deploy_attempt(JOB, attempt, &deployment);
        running.start().await;
        running.finish().await;
        let ending = running.cancel().await;
        assert_eq!(ending.failed, []);
        let (source, counted) = (ending.totals(0), ending.totals(1));
        assert_eq!((source.records_in, counted.records_in), (12_000, 12_000), "from {before} to {after}");
        all.extend(ending.finished.values().flat_map(|(_, prepared)| prepared.clone()));
        let used: i64 = counts(&cluster, &all).iter().sum();
        assert_eq!(used.unsigned_abs() + counted.late_records, 12_000, "from {before} to {after}");
        assert!(counted.late_records >= late, "{} were late, {late} of them before", counted.late_records);
    }
}

/// One subtask gets more sequences than it reads at a time, with rows that are not due yet.
#[tokio::test(start_paused = true)]
async fn rows_that_are_held_back_are_kept_where_their_split_is_not_open() {
    let cluster = Cluster::of(1).await;
    let split = |number: i64| {
        // The splits that are opened last, by name, have later rows.
        let is_last = format!("{number}").as_str() > "37";
        let time = move |n: i64| if is_last { 300_000 + n * 20_000 } else { n * 10_000 };
        let batches =
            (0..3).map(move |n| rows([(time(n), 0, number * 10 + n * 2), (time(n), 0, number * 10 + n * 2 + 1)]));
        TestSplit::of(format!("split {number}").leak(), batches.collect())
    };
    flows::give(&cluster, "ticks", (0..50).map(split).collect());
    let mut graph = GraphBuilder::default().set("replay.speed", "10").set("replay.start", "1970-01-01 00:00:00");
    let source = graph.source("ticks", None, &[("replay.column", "time")]);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Forward);
    let graph = graph.build();
    let all = through(&cluster, &graph, &[2, 1, 1, 2], Duration::from_secs(5)).await;
    let mut values = integers(&cluster.tables.0.committed(&all), 2);
    values.sort_unstable();
    assert_eq!(values, (0..50).flat_map(|number| (0..6).map(move |n| number * 10 + n)).collect::<Vec<_>>());
}

/// A source is found by its table, and the columns that it reads of it depend on the whole script.
#[tokio::test(start_paused = true)]
async fn rows_that_are_held_back_are_refused_where_other_columns_are_read() {
    let cluster = Cluster::of(1).await;
    give_ticks(&cluster, 50, After::End);
    let mut graph = GraphBuilder::default().set("replay.speed", "1").set("replay.start", "1970-01-01 00:00:00");
    let source = graph.source("ticks", None, &[("replay.column", "time")]);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Forward);
    let graph = graph.build();
    let deployment = cluster.deployment(&graph, 1);
    let mut running = cluster.deploy(JOB, &deployment);
    running.start().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let taken = take(&mut running, CheckpointId(1)).await;
    assert_eq!(running.cancel().await.failed, []);
    let (attempt, mut fields) = (ATTEMPT.next(), rows_schema().fields().to_vec());
    let mut deployment = going_on(&cluster, &graph, (&deployment, 1), (attempt, CheckpointId(1), taken)).await;
    assert!(deployment.splits.iter().flat_map(|hand| &hand.splits).any(|progress| !progress.held.is_empty()));
    fields.swap(1, 2);
    let thalweg_types::OperatorKind::Source(source) = &mut deployment.graph.operators[0].kind else {
        panic!("it is the source");
    };
    source.physical = std::sync::Arc::new(arrow::datatypes::Schema::new(fields));
    let mut running = cluster.deploy_attempt(JOB, attempt, &deployment);
    running.start().await;
    let ending = running.cancel().await;
    let [(_, failure, _)] = ending.failed.as_slice() else { panic!("{:?}", ending.failed) };
    assert_eq!(failure.kind, thalweg_types::job::FailureKind::Data);
    let told = "its rows of table ticks that wait for the replay clock have other columns than the job's dataflow: column 2 \
                of the rows is key (int64), and there value (int64); go on with release ";
    assert!(failure.message.contains(told), "{}", failure.message);
}
