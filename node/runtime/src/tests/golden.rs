//! Checkpoints of each format, as they lie in a store, are restored.
//!
//! `golden/N` has the objects below the root of checkpoints, `/` written as `__`: of the job `counting` with windows of 1000
//! seconds over 50 batches of `give_ticks`, at parallelism 2, after 150 ms. The release that wrote a format first has made
//! its folder, which stays when the format is no longer written. `the_folder_of_the_newest_format_is_made` makes a new one.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use object_store::{ObjectStoreExt as _, path::Path};
use thalweg_storage::names;
use thalweg_types::{
    CheckpointId, JobGraph,
    checkpoint::{MANIFEST_FORMAT, Manifest, ManifestRef, Prepared},
    graph::{Distribution, Parallelism, WindowSpec},
};

use super::{
    checkpoints::{counting, counts, give_ticks, going_on, restoring, take},
    flows,
    graph::GraphBuilder,
    rig::{ATTEMPT, Cluster, JOB},
    tables::After,
};

const WINDOW: i64 = 1000 * 1_000_000;

fn folder(format: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("src/tests/golden/{format}"))
}

/// The objects of a golden checkpoint, by their names.
fn objects(format: u32) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder(format)).expect("it is in the repository");
    let object = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().to_str().unwrap().replace("__", "/"), fs::read(entry.path()).unwrap())
    };
    entries.map(object).collect()
}

/// Puts a golden checkpoint into the store of a cluster. Returns its manifest.
async fn put(cluster: &Cluster, format: u32) -> (Manifest, ManifestRef) {
    let mut found = None;
    for (name, bytes) in objects(format) {
        if names::is_manifest(&name) {
            let manifest: Manifest = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(serde_json::to_vec(&manifest).unwrap(), bytes);
            found = Some(cluster.store.put_manifest(&name, &manifest).await.unwrap());
        } else {
            cluster.memory.put(&Path::parse(&name).unwrap(), bytes.into()).await.unwrap();
        }
    }
    let reference = found.expect("it has a manifest");
    let manifest = cluster.store.get_manifest(&reference).await.unwrap();
    assert_eq!(manifest.format, format);
    (manifest, reference)
}

/// Runs a graph from a golden checkpoint to the end. Returns the counts.
async fn restored(graph: &JobGraph, format: u32, parallelism: u32) -> Vec<i64> {
    let cluster = Cluster::of(1).await;
    give_ticks(&cluster, 50, After::End);
    flows::give(&cluster, "others", Vec::new());
    let (manifest, reference) = put(&cluster, format).await;
    let deployment = restoring(&cluster, graph, parallelism, (&manifest, reference));
    let mut running = cluster.deploy_attempt(JOB, ATTEMPT.next(), &deployment);
    running.start().await;
    running.finish().await;
    let ending = running.cancel().await;
    assert_eq!(ending.failed, []);
    let prepared: Vec<Prepared> = ending.finished.into_values().flat_map(|(_, prepared)| prepared).collect();
    counts(&cluster, &prepared)
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_of_each_format_is_restored() {
    for format in 1..=MANIFEST_FORMAT {
        for parallelism in [1, 2, 3] {
            assert_eq!(restored(&counting(WINDOW), format, parallelism).await, [1500; 10], "format {format}");
        }
    }
}

/// `counting`, with another query before it, and a filter that lets all rows pass.
fn counting_elsewhere() -> JobGraph {
    let mut graph = GraphBuilder::default().set("exchange.window", "8 KiB");
    let others = graph.source("others", None, &[]);
    let dropped = graph.sink("dropped", Parallelism::Job, super::graph::rows_schema());
    graph.link(others, dropped, 0, Distribution::Rebalance);
    let source = graph.source("ticks", None, &[]);
    let all = datafusion_expr::col("key").gt_eq(datafusion_expr::lit(0_i64));
    let filter = graph.filter(&all, Parallelism::Job);
    let (count, schema) = graph.count_per_window(WINDOW);
    let sink = graph.sink("counts", Parallelism::Job, schema);
    graph.link(source, filter, 0, Distribution::Forward);
    graph.link(filter, count, 0, Distribution::Hash { keys: vec![1] });
    graph.link(count, sink, 0, Distribution::Forward);
    graph.build()
}

#[tokio::test(start_paused = true)]
async fn state_is_found_by_identity_wherever_its_operator_stands() {
    for parallelism in [1, 3] {
        assert_eq!(restored(&counting_elsewhere(), 2, parallelism).await, [1500; 10]);
    }
}

/// A graph whose windows are of another size is refused by the node too, with all that is needed to find the cause.
#[tokio::test(start_paused = true)]
async fn state_that_no_operator_has_fails_the_attempt() {
    let cluster = Cluster::of(1).await;
    give_ticks(&cluster, 50, After::End);
    let (manifest, reference) = put(&cluster, 2).await;
    let graph = counting(WINDOW);
    let mut deployment = restoring(&cluster, &graph, 1, (&manifest, reference));
    let thalweg_types::OperatorKind::WindowAggregate(count) = &mut deployment.graph.operators[1].kind else {
        panic!("it counts");
    };
    let thalweg_types::graph::Windowing::EventTime { spec, .. } = &mut count.windowing else { panic!("by time") };
    *spec = WindowSpec::Tumble { size: 2 * WINDOW, offset: 0 };
    let mut running = cluster.deploy_attempt(JOB, ATTEMPT.next(), &deployment);
    running.start().await;
    let ending = running.cancel().await;
    let [(_, failure, _)] = ending.failed.as_slice() else { panic!("{:?}", ending.failed) };
    assert_eq!(failure.kind, thalweg_types::job::FailureKind::Data);
    let identity = manifest.graph.as_ref().unwrap().operators[1].identity.to_string();
    for part in ["op-1", "window_aggregate", &identity, "no operator of the job's dataflow goes on from it"] {
        assert!(failure.message.contains(part), "{}", failure.message);
    }
}

/// Takes the checkpoint that the folders hold, as this release writes it. Its objects are in the store of the cluster.
async fn taken(cluster: &Cluster) -> Manifest {
    give_ticks(cluster, 50, After::End);
    let graph = counting(WINDOW);
    let deployment = cluster.deployment(&graph, 2);
    let mut running = cluster.deploy(JOB, &deployment);
    running.start().await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let taken = take(&mut running, CheckpointId(1)).await;
    running.cancel().await;
    let next = going_on(cluster, &graph, (&deployment, 2), (ATTEMPT, CheckpointId(1), taken)).await;
    cluster.store.get_manifest(&next.restore.unwrap()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_written_now_is_of_the_newest_golden_format() {
    let now = taken(&Cluster::of(1).await).await;
    let golden = objects(MANIFEST_FORMAT).into_iter().find(|(name, _)| names::is_manifest(name));
    let golden: Manifest = serde_json::from_slice(&golden.unwrap().1).unwrap();
    let graph_of = |manifest: &Manifest| manifest.graph.clone().map(|graph| (graph.operators, graph.exchanges));
    assert_eq!((now.format, graph_of(&now)), (golden.format, graph_of(&golden)));
}

/// For a new format: `cargo test -p thalweg-runtime --lib -- --ignored the_folder_of_the_newest_format_is_made`.
#[tokio::test(start_paused = true)]
#[ignore = "writes a folder of the repository"]
async fn the_folder_of_the_newest_format_is_made() {
    let cluster = Cluster::of(1).await;
    taken(&cluster).await;
    fs::create_dir_all(folder(MANIFEST_FORMAT)).unwrap();
    for object in cluster.store.list("").await.unwrap() {
        let bytes = cluster.memory.get(&Path::parse(&object.name).unwrap()).await.unwrap().bytes().await.unwrap();
        fs::write(folder(MANIFEST_FORMAT).join(object.name.replace('/', "__")), bytes).unwrap();
    }
}
