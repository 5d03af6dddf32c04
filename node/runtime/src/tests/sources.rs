use std::{sync::Arc, time::Duration};

use thalweg_types::{
    CheckpointId, Watermark,
    graph::{Distribution, Parallelism},
};
use tokio::sync::Semaphore;

use super::{
    checkpoints::{going_on, take},
    graph::{GraphBuilder, integers, rows, rows_schema},
    rig::{ATTEMPT, Cluster, JOB, Running},
    tables::{After, Manner, TestSplit},
};

fn give(cluster: &Cluster, table: &str, splits: Vec<TestSplit>) {
    cluster.tables.0.sources.lock().unwrap().insert(table.to_owned(), splits);
}

/// The watermark of the first source on the first node, in microseconds.
fn source_watermark(running: &Running) -> i64 {
    let metrics = running.handles[0].metrics();
    metrics.iter().find(|(subtask, _)| subtask.chain.0 == 0).unwrap().1.watermark
}

#[tokio::test(start_paused = true)]
async fn a_silent_split_steps_out_of_the_watermark_after_the_idle_timeout() {
    let cluster = Cluster::of(1).await;
    let busy = vec![rows([(100, 1, 0)]), rows([(5000, 1, 0)])];
    let splits = vec![
        TestSplit::of("a", busy).then(After::Idle),
        TestSplit::of("b", vec![rows([(200, 2, 0)])]).then(After::Idle),
    ];
    give(&cluster, "ticks", splits);
    let mut graph = GraphBuilder::default();
    let source = graph.source("ticks", Some(2_000_000), &[]);
    let (count, schema) = graph.count_per_window(1_000_000);
    let sink = graph.sink("counts", Parallelism::Job, schema);
    graph.link(source, count, 0, Distribution::Hash { keys: vec![1] });
    graph.link(count, sink, 0, Distribution::Forward);
    let graph = graph.build();
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, 1));
    running.start().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(cluster.tables.0.written("counts").is_empty(), "a split that may yet give rows holds the window open");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut keys = integers(&cluster.tables.0.written("counts"), 0);
    keys.sort_unstable();
    assert_eq!(keys, [1, 2]);
    running.cancel().await;
}

#[tokio::test(start_paused = true)]
async fn a_split_that_waits_for_memory_is_not_silent() {
    let cluster = Cluster::of(1).await;
    let waits = TestSplit { delay: Duration::from_secs(10), ..TestSplit::of("b", vec![rows([(200, 2, 0)])]) };
    let waits = TestSplit { waits_first: true, ..waits.then(After::Idle) };
    give(&cluster, "ticks", vec![TestSplit::of("a", vec![rows([(5000, 1, 0)])]).then(After::Idle), waits]);
    let mut graph = GraphBuilder::default();
    let source = graph.source("ticks", Some(2_000_000), &[]);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Hash { keys: vec![1] });
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph.build(), 1));
    running.start().await;
    tokio::time::sleep(Duration::from_millis(9900)).await;
    assert_eq!(source_watermark(&running), i64::MIN, "its records may be of any time");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(source_watermark(&running), 200_000);
    running.cancel().await;
}

/// A split that has caught up is as silent as one that says nothing, and no more than that.
#[tokio::test(start_paused = true)]
async fn a_split_that_has_caught_up_is_silent_from_its_last_rows_on() {
    for (idle_timeout, after) in [(None, [i64::MIN; 3]), (Some(2_000_000), [i64::MIN, 5_000_000, 5_000_000])] {
        let cluster = Cluster::of(1).await;
        let empty = TestSplit::of("b", Vec::new()).then(After::CatchUp);
        give(&cluster, "ticks", vec![TestSplit::of("a", vec![rows([(5000, 1, 0)])]).then(After::Idle), empty]);
        let mut graph = GraphBuilder::default();
        let source = graph.source("ticks", idle_timeout, &[]);
        let sink = graph.sink("out", Parallelism::Job, rows_schema());
        graph.link(source, sink, 0, Distribution::Hash { keys: vec![1] });
        let mut running = cluster.deploy(JOB, &cluster.deployment(&graph.build(), 1));
        running.start().await;
        let mut seen = Vec::new();
        for wait in [1900, 1100, 10_000] {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            seen.push(source_watermark(&running));
        }
        assert_eq!(seen, after, "with {idle_timeout:?}");
        assert_eq!(running.cancel().await.failed, []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_tells_how_far_its_subtasks_are_behind() {
    let cluster = Cluster::of(1).await;
    let splits = ["a", "b", "c"].map(|name| TestSplit::of(name, vec![rows([(0, 1, 0)])]).then(After::Idle));
    give(&cluster, "ticks", splits.into());
    let mut graph = GraphBuilder::default();
    let source = graph.source("ticks", None, &[]);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Hash { keys: vec![1] });
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph.build(), 3));
    running.start().await;
    let backlogs = || running.handles[0].measures().chains.iter().map(|chain| chain.backlog).collect::<Vec<_>>();
    assert_eq!(backlogs(), [None, None], "nobody knows");
    let one =
        thalweg_connectors::Backlog { records: 7, unreachable: 1, throttled: 2, behind: Some(Duration::from_secs(5)) };
    cluster.tables.0.backlogs.lock().unwrap().insert("ticks".to_owned(), one);
    let all = thalweg_connectors::Backlog { records: 21, unreachable: 3, throttled: 6, ..one };
    assert_eq!(backlogs(), [Some(all), None]);
    assert_eq!(running.cancel().await.failed, []);
}

/// The other split gives rows far more often than idle splits are checked for.
#[tokio::test(start_paused = true)]
async fn a_silent_split_steps_out_while_another_is_busy() {
    let cluster = Cluster::of(1).await;
    let busy = (0..100).map(|n| rows([(n * 100, 1, n)])).collect();
    let busy = TestSplit { delay: Duration::from_millis(100), ..TestSplit::of("a", busy) };
    let silent = TestSplit::of("b", vec![rows([(200, 2, 0)])]).then(After::Idle);
    give(&cluster, "ticks", vec![busy, silent]);
    let mut graph = GraphBuilder::default();
    let source = graph.source("ticks", Some(2_000_000), &[]);
    let (count, schema) = graph.count_per_window(1_000_000);
    let sink = graph.sink("counts", Parallelism::Job, schema);
    graph.link(source, count, 0, Distribution::Hash { keys: vec![1] });
    graph.link(count, sink, 0, Distribution::Forward);
    let graph = graph.build();
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, 1));
    running.start().await;
    tokio::time::sleep(Duration::from_millis(1900)).await;
    assert!(cluster.tables.0.written("counts").is_empty(), "a split that may yet give rows holds the window open");
    tokio::time::sleep(Duration::from_millis(3100)).await;
    let counts = integers(&cluster.tables.0.written("counts"), 1);
    // The busy split is at 4.9 s now.
    assert_eq!(counts.iter().sum::<i64>(), 41, "the windows to 4 s have closed: {counts:?}");
    running.cancel().await;
}

/// The sink blocks the source for far longer than the idle timeout, and one split gives nothing until after that.
#[tokio::test(start_paused = true)]
async fn a_source_that_waits_for_credit_takes_no_split_for_silent() {
    let cluster = Cluster::of(1).await;
    let busy = (0..100).map(|n| rows([(n * 50, 1, n)])).collect();
    let late = TestSplit { delay: Duration::from_secs(11), ..TestSplit::of("b", vec![rows([(200, 2, 0)])]) };
    give(&cluster, "ticks", vec![TestSplit::of("a", busy).then(After::Idle), late.then(After::Idle)]);
    let gate = Arc::new(Semaphore::new(0));
    cluster.tables.0.manners.lock().unwrap().insert("out".to_owned(), Manner::Gated(gate.clone()));
    let mut graph = GraphBuilder::default().set("exchange.window", "2 KiB");
    let source = graph.source("ticks", Some(2_000_000), &[]);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Hash { keys: vec![1] });
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph.build(), 1));
    running.start().await;
    let read = || cluster.tables.0.read_batches.lock().unwrap()["ticks"];
    tokio::time::sleep(Duration::from_secs(10)).await;
    let held = read();
    assert!(held < 100, "it waits for credit");
    gate.add_permits(1000);
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(read(), 100, "it goes on, and all that is there is read");
    assert_eq!(source_watermark(&running), i64::MIN, "the other split was not asked for the idle timeout");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((read(), source_watermark(&running)), (101, 200_000));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(source_watermark(&running), 4_950_000, "now both are silent");
    running.cancel().await;
}

/// A split reports once that it is idle. The attempt that resumes from the checkpoint is not told again.
#[tokio::test(start_paused = true)]
async fn the_next_attempt_knows_what_splits_have_promised_and_which_are_idle() {
    let cluster = Cluster::of(1).await;
    let file = vec![rows([(100, 1, 0), (1100, 1, 0)]), rows([(2500, 1, 0)]), rows([(4200, 1, 0)])];
    let file = TestSplit { delay: Duration::from_secs(1), ..TestSplit::of("file", file) }.then(After::Idle);
    let monitor = TestSplit::of("monitor", Vec::new()).then(After::Idle);
    give(&cluster, "ticks", vec![file.clone(), monitor.clone().idle_first()]);
    let mut graph = GraphBuilder::default();
    let source = graph.source("ticks", Some(3_600_000_000), &[]);
    let (count, schema) = graph.count_per_window(1_000_000);
    let sink = graph.sink("counts", Parallelism::Job, schema);
    graph.link(source, count, 0, Distribution::Hash { keys: vec![1] });
    graph.link(count, sink, 0, Distribution::Forward);
    let graph = graph.build();
    let deployment = cluster.deployment(&graph, 1);
    let mut running = cluster.deploy(JOB, &deployment);
    running.start().await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let snapshots = take(&mut running, CheckpointId(1)).await;
    assert_eq!(running.cancel().await.failed, []);
    assert_eq!(integers(&cluster.tables.0.written("counts"), 1), [1, 1], "the windows to 2 s are due");
    let splits = snapshots.iter().filter_map(|snapshot| snapshot.source.as_ref()).flat_map(|source| &source.splits);
    let noted: Vec<_> = splits.map(|progress| (progress.watermark, progress.is_idle)).collect();
    assert_eq!(noted, [(Watermark(2_500_000), false), (Watermark::MIN, true)]);

    give(&cluster, "ticks", vec![file, monitor]);
    let attempt = ATTEMPT.next();
    let deployment = going_on(&cluster, &graph, (&deployment, 1), (attempt, CheckpointId(1), snapshots)).await;
    let mut running = cluster.deploy_attempt(JOB, attempt, &deployment);
    running.start().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(source_watermark(&running), 2_500_000, "nothing was read, and what was promised holds");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(integers(&cluster.tables.0.written("counts"), 1), [1, 1, 1], "and now the one to 3 s");
    assert_eq!(running.cancel().await.failed, []);
}

/// Like a watched directory: one old file, and a split that has found nothing and reports that. There is no idle
/// timeout.
#[tokio::test(start_paused = true)]
async fn what_a_file_promised_stands_when_only_splits_without_records_are_left() {
    for parallelism in [1, 2] {
        let cluster = Cluster::of(1).await;
        let file = vec![rows([(100, 1, 0), (1100, 1, 0)]), rows([(2500, 1, 0)])];
        let found = vec![rows([(2600, 2, 0), (4200, 2, 0)])];
        let monitor = TestSplit { delay: Duration::from_secs(60), ..TestSplit::of("monitor", found) };
        give(&cluster, "ticks", vec![TestSplit::of("file", file), monitor.then(After::Idle).idle_first()]);
        let mut graph = GraphBuilder::default();
        let source = graph.source("ticks", None, &[]);
        let (count, schema) = graph.count_per_window(1_000_000);
        let sink = graph.sink("counts", Parallelism::Job, schema);
        graph.link(source, count, 0, Distribution::Hash { keys: vec![1] });
        graph.link(count, sink, 0, Distribution::Forward);
        let graph = graph.build();
        let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, parallelism));
        running.start().await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(integers(&cluster.tables.0.written("counts"), 1), [1, 1], "the windows to 2 s are due");
        tokio::time::sleep(Duration::from_secs(60)).await;
        let mut keys = integers(&cluster.tables.0.written("counts"), 0);
        keys.sort_unstable();
        assert_eq!(keys, [1, 1, 1, 2], "the window to 3 s is due, and its row of the new file was not late");
        running.cancel().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_on_several_nodes_must_name_its_start() {
    let cluster = Cluster::of(2).await;
    let split = |sequence| TestSplit::of(sequence, vec![rows([(60_000, 0, 1)])]);
    let graph = |speed: &str, start: Option<&str>| {
        let mut graph = GraphBuilder::default().set("replay.speed", speed);
        if let Some(start) = start {
            graph = graph.set("replay.start", start);
        }
        let source = graph.source("ticks", None, &[("replay.column", "time")]);
        let sink = graph.sink("out", Parallelism::Job, rows_schema());
        graph.link(source, sink, 0, Distribution::Forward);
        graph.build()
    };
    give(&cluster, "ticks", vec![split("a"), split("b")]);
    let refused = cluster.run(&graph("1000", None), 2).await;
    let (_, failure, _) = &refused.failed[0];
    assert_eq!(failure.kind, thalweg_types::job::FailureKind::Data);
    assert!(failure.message.contains("on 2 nodes") && failure.message.contains("SET 'replay.start'"), "{failure:?}");
    let named = cluster.run(&graph("1000", Some("1970-01-01 00:00:30")), 2).await;
    assert_eq!((named.failed, integers(&cluster.tables.0.written("out"), 2)), (vec![], vec![1, 1]));
    assert_eq!(cluster.run(&graph("max", None), 2).await.failed, [], "no clock");
    give(&cluster, "ticks", vec![split("a")]);
    assert_eq!(cluster.run(&graph("1000", None), 2).await.failed, [], "one clock alone has records");
}

#[tokio::test(start_paused = true)]
async fn replay_holds_rows_until_their_time_and_keeps_the_order_of_splits() {
    let cluster = Cluster::of(1).await;
    let even = (0..5).map(|n| rows([(n * 20_000, 0, n * 2), (n * 20_000, 0, n * 2)])).collect();
    let odd = (0..5).map(|n| rows([(n * 20_000 + 10_000, 0, n * 2 + 1)])).collect();
    give(&cluster, "ticks", vec![TestSplit::of("a", even), TestSplit::of("b", odd)]);
    let mut graph = GraphBuilder::default().set("replay.speed", "10");
    let source = graph.source("ticks", None, &[("replay.column", "time")]);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Forward);
    let graph = graph.build();
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, 1));
    running.start().await;
    tokio::time::sleep(Duration::from_millis(3500)).await;
    assert_eq!(integers(&cluster.tables.0.written("out"), 2), [0, 0, 1, 2, 2, 3]);
    running.finish().await;
    assert_eq!(integers(&cluster.tables.0.written("out"), 2), [0, 0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8, 8, 9]);
    assert_eq!(running.cancel().await.failed, []);
}

/// Like a watched directory: it is unknown when it finds a file, so held rows must not wait for one.
#[tokio::test(start_paused = true)]
async fn replay_does_not_wait_for_splits_without_records() {
    for idle_timeout in [None, Some(1_000_000)] {
        let cluster = Cluster::of(1).await;
        let file = (0..3).map(|n| rows([(n * 20_000, 0, n)])).collect();
        let found = vec![rows([(100_000, 0, 3), (120_000, 0, 4)])];
        let monitor = TestSplit { delay: Duration::from_secs(7), ..TestSplit::of("monitor", found) };
        let monitor = if idle_timeout.is_none() { monitor.idle_first() } else { monitor };
        give(&cluster, "ticks", vec![TestSplit::of("file", file), monitor.clone().then(After::Idle)]);
        give(&cluster, "nothing yet", vec![monitor.then(After::Idle)]);
        let graph = |table: &str| {
            let mut graph = GraphBuilder::default().set("replay.speed", "10");
            let source = graph.source(table, idle_timeout, &[("replay.column", "time")]);
            let sink = graph.sink("out", Parallelism::Job, rows_schema());
            graph.link(source, sink, 0, Distribution::Forward);
            graph.build()
        };
        let written = || integers(&cluster.tables.0.written("out"), 2);
        let running = |table: &str| cluster.deploy(JOB, &cluster.deployment(&graph(table), 1));

        let mut job = running("ticks");
        job.start().await;
        tokio::time::sleep(Duration::from_millis(6500)).await;
        assert_eq!(written(), [0, 1, 2], "the file is over after 4 s");
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(written(), [0, 1, 2, 3], "which is due at 10 s, or 1 s later where silence had to be noticed");
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(written(), [0, 1, 2, 3, 4]);
        job.cancel().await;

        let mut job = running("nothing yet");
        job.start().await;
        tokio::time::sleep(Duration::from_millis(7500)).await;
        assert_eq!(written()[5..], [3], "the clock starts with the first record");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(written()[5..], [3, 4]);
        job.cancel().await;
    }
}

#[tokio::test(start_paused = true)]
async fn replay_can_start_before_the_first_record() {
    let cluster = Cluster::of(1).await;
    give(&cluster, "ticks", vec![TestSplit::of("a", vec![rows([(60_000, 0, 1)])])]);
    let mut graph = GraphBuilder::default().set("replay.speed", "1").set("replay.start", "1970-01-01 00:00:30");
    let source = graph.source("ticks", None, &[("replay.column", "time")]);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Forward);
    let graph = graph.build();
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, 1));
    running.start().await;
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert!(cluster.tables.0.written("out").is_empty());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(integers(&cluster.tables.0.written("out"), 2), [1]);
    running.cancel().await;
}

/// Splits of one sequence come in order. Of two sequences, the one that is behind is read first.
#[tokio::test(start_paused = true)]
async fn the_sequence_that_is_behind_is_read_first() {
    let cluster = Cluster::of(1).await;
    let slow = |from: i64| (from..from + 3).map(|n| rows([(n * 100, 1, n)])).collect::<Vec<_>>();
    let fast = (0..6).map(|n| rows([(n * 1000, 2, n)])).collect();
    give(&cluster, "ticks", vec![TestSplit::of("a", slow(0)), TestSplit::of("b", fast), TestSplit::of("a", slow(3))]);
    let mut graph = GraphBuilder::default();
    let source = graph.source("ticks", None, &[]);
    let sink = graph.sink("out", Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Forward);
    let ending = cluster.run(&graph.build(), 1).await;
    assert_eq!(ending.failed, []);
    let written = cluster.tables.0.written("out");
    let order: Vec<(i64, i64)> = integers(&written, 1).into_iter().zip(integers(&written, 2)).collect();
    let of_key = |key: i64| order.iter().filter(|row| row.0 == key).map(|row| row.1).collect::<Vec<_>>();
    assert_eq!((of_key(1), of_key(2)), ((0..6).collect(), (0..6).collect()));
    // Sequence a ends at 500 ms, before b's second row is due.
    let last_of_a = order.iter().rposition(|row| row.0 == 1).unwrap();
    let of_b_before = order[..last_of_a].iter().filter(|row| row.0 == 2).count();
    assert!(of_b_before <= 2, "{order:?}");
}

#[tokio::test]
async fn subtasks_without_splits_end_at_once() {
    let cluster = Cluster::of(1).await;
    give(&cluster, "ticks", vec![TestSplit::of("a", vec![rows([(1, 1, 7)])])]);
    let mut graph = GraphBuilder::default();
    let source = graph.source("ticks", None, &[]);
    let sink = graph.sink("out", Parallelism::One, rows_schema());
    graph.link(source, sink, 0, Distribution::Gather);
    let ending = cluster.run(&graph.build(), 3).await;
    assert_eq!((ending.finished.len(), ending.failed.len()), (4, 0));
    assert_eq!(integers(&cluster.tables.0.written("out"), 2), [7]);
}
