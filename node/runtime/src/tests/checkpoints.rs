use std::sync::{Arc, Mutex};

use thalweg_keyed_state::FrozenState;
use thalweg_types::{
    CheckpointId, OperatorId,
    graph::{Distribution, Parallelism},
};

use super::{
    graph::{GraphBuilder, integers, rows},
    rig::{Cluster, JOB},
    tables::{After, TestSplit},
};
use crate::checkpoint::CheckpointHook;

#[derive(Default)]
struct Recorded(Mutex<Vec<(OperatorId, u32, CheckpointId, FrozenState)>>);

impl CheckpointHook for Recorded {
    fn on_frozen(&self, operator: OperatorId, subtask: u32, checkpoint: CheckpointId, state: FrozenState) {
        self.0.lock().unwrap().push((operator, subtask, checkpoint, state));
    }
}

/// Barriers go from all sources through aligned inputs to every operator, across nodes, and change no result.
#[tokio::test]
async fn barriers_freeze_every_operator_once_per_checkpoint() {
    let mut cluster = Cluster::of(2).await;
    let hook = Arc::new(Recorded::default());
    cluster.hook = hook.clone();
    let batches: Vec<_> = (0..50).map(|n| rows((0..100).map(|at| (n * 100 + at, at % 10, at)))).collect();
    let splits = ["a", "b", "c"].map(|name| TestSplit::of(name, batches.clone()).then(After::Silence));
    cluster.tables.0.sources.lock().unwrap().insert("ticks".to_owned(), splits.to_vec());
    let mut graph = GraphBuilder::default().set("exchange.window", "8 KiB");
    let source = graph.source("ticks", None, &[]);
    let (count, schema) = graph.count_per_window(1_000_000_000);
    let sink = graph.sink("counts", Parallelism::Job, schema);
    graph.link(source, count, 0, Distribution::Hash { keys: vec![1] });
    graph.link(count, sink, 0, Distribution::Forward);
    let graph = graph.build();
    let mut running = cluster.deploy(JOB, &cluster.deployment(&graph, 3));
    running.start().await;
    for checkpoint in 1..=3 {
        running.handles.iter().for_each(|handle| handle.begin_checkpoint(CheckpointId(checkpoint)));
        let complete = || hook.0.lock().unwrap().iter().filter(|frozen| frozen.2.0 == checkpoint).count() == 3;
        while !complete() {
            tokio::task::yield_now().await;
        }
    }
    running.handles.iter().for_each(crate::AttemptHandle::stop);
    running.finish().await;
    let ending = running.cancel().await;
    assert_eq!(ending.failed, []);
    let frozen = hook.0.lock().unwrap();
    assert_eq!(frozen.len(), 9);
    assert!(frozen.iter().all(|(operator, ..)| *operator == count));
    let written = cluster.tables.0.written("counts");
    let read = ending.totals(0).records_in;
    assert_eq!(integers(&written, 1).iter().sum::<i64>() as u64, read);
}
