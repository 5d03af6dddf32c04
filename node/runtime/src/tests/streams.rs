//! A job that reads a stream of Kinesis, of a model: shards are split and merged while it runs, and while it does not.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::{
    array::AsArray as _,
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
};
use thalweg_kinesis::{
    ClientConfig, Kinesis as _, NewRecord, Shard, Stream, StreamName,
    model::{Limits, ModelKinesis},
};
use thalweg_types::{
    Attempt, CheckpointId, JobGraph, OperatorKind,
    bug::{self, Bug},
    checkpoint::{Prepared, SubtaskSnapshot},
    connector::TableConnector,
    graph::{Distribution, Parallelism, SourceOperator},
    session::Deployment,
};

use super::{
    checkpoints::{going_on, put_manifest, take},
    graph::GraphBuilder,
    rig::{ATTEMPT, Cluster, JOB, Running},
    tables::Manner,
};

const STREAM: &str = "clicks";
const KEYS: i64 = 7;

fn columns() -> SchemaRef {
    let field = |name| Field::new(name, DataType::Int64, true);
    Arc::new(Schema::new(vec![field("key"), field("value")]))
}

/// A stream by key into a sink.
fn graph(way: &[(&str, &str)]) -> JobGraph {
    let mut graph = GraphBuilder::default();
    let options = [
        ("stream", STREAM),
        ("source.init.position", "TRIM_HORIZON"),
        ("source.shard.discovery.interval", "2 s"),
        ("format", "json"),
    ];
    let options = options.iter().chain(way).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let source = SourceOperator {
        table: STREAM.to_owned(),
        connector: TableConnector { name: "kinesis".to_owned(), options, secrets: BTreeMap::new() },
        physical: columns(),
        predicates: Vec::new(),
        projection: None,
        watermark: None,
    };
    let source = graph.add(STREAM, OperatorKind::Source(Box::new(source)), Parallelism::Job, columns());
    let sink = graph.sink("out", Parallelism::Job, columns());
    graph.link(source, sink, 0, Distribution::Hash { keys: vec![0] });
    graph.build()
}

struct World {
    cluster: Cluster,
    kinesis: ModelKinesis,
    graph: JobGraph,
    /// How many records were put.
    put: i64,
    /// How often shards were split or merged.
    reshards: usize,
    /// The number of the last checkpoint.
    last: u64,
    /// What complete checkpoints hold.
    all: Vec<Prepared>,
}

impl World {
    async fn new(way: &[(&str, &str)]) -> Self {
        let mut cluster = Cluster::of(2).await;
        let kinesis = ModelKinesis::new(&cluster.nodes[0].seams);
        for node in &mut cluster.nodes {
            node.connectors.kinesis = Some(Arc::new(kinesis.clone()));
        }
        kinesis.create_stream(STREAM, 2).unwrap();
        kinesis.limit(Limits::NONE);
        *cluster.tables.0.real_sources.lock().unwrap() = Some(cluster.nodes[0].connectors.clone());
        Self { cluster, kinesis, graph: graph(way), put: 0, reshards: 0, last: 0, all: Vec::new() }
    }

    fn client(&self) -> Arc<dyn Stream> {
        self.kinesis.stream(&ClientConfig::new(StreamName::Name(STREAM.to_owned()))).unwrap()
    }

    /// Puts records by keys, each with the next number.
    async fn put(&mut self, count: i64) {
        for n in self.put..self.put + count {
            let key = n % KEYS;
            let data = format!("{{\"key\": {key}, \"value\": {n}}}").into();
            let record = NewRecord { partition_key: format!("key {key}"), explicit_hash_key: None, data };
            while self.client().put_records(std::slice::from_ref(&record)).await.unwrap()[0].is_err() {}
        }
        self.put += count;
    }

    /// Splits a shard, or merges two, in turn.
    fn reshard(&mut self) {
        let shards = self.kinesis.shards_now(STREAM).unwrap();
        let mut open: Vec<&Shard> = shards.iter().filter(|shard| shard.is_open()).collect();
        open.sort_by_key(|shard| shard.hash_keys.first);
        match self.reshards % 3 {
            2 => _ = self.kinesis.merge(STREAM, &open[0].id, &open[1].id).unwrap(),
            turn => {
                let range = open[turn % open.len()].hash_keys;
                let middle = range.first + (range.last - range.first) / 2;
                self.kinesis.split(STREAM, &open[turn % open.len()].id, middle).unwrap();
            }
        }
        self.reshards += 1;
    }

    async fn complete(
        &mut self,
        deployment: &Deployment,
        attempt: Attempt,
        running: &mut Running,
    ) -> Vec<SubtaskSnapshot> {
        self.last += 1;
        let checkpoint = CheckpointId(self.last);
        let snapshots = take(running, checkpoint).await;
        let (_, reference) = put_manifest(&self.cluster, deployment, (attempt, checkpoint, snapshots.clone())).await;
        running.handles.iter().for_each(|handle| {
            handle.tell_manifest(reference.clone());
            handle.confirm_checkpoint(checkpoint);
        });
        let prepared = snapshots.iter().flat_map(|snapshot| snapshot.prepared.clone());
        self.all.extend(prepared.filter(|prepared| prepared.epoch == checkpoint));
        snapshots
    }

    /// The committed values of each key, in their order.
    fn by_key(&self) -> BTreeMap<i64, Vec<i64>> {
        let mut found = BTreeMap::<i64, Vec<i64>>::new();
        for batch in self.cluster.tables.0.committed(&self.all) {
            let column = |index: usize| batch.column(index).as_primitive::<Int64Type>().values().to_vec();
            for (key, value) in column(0).into_iter().zip(column(1)) {
                found.entry(key).or_default().push(value);
            }
        }
        found
    }

    /// Runs a job in several attempts, while and between which shards are split and merged.
    async fn run(&mut self, parallelisms: &[u32], pause: Duration) {
        let (mut attempt, mut deployment) = (ATTEMPT, self.cluster.deployment(&self.graph, parallelisms[0]));
        for next in &parallelisms[1..] {
            let mut running = self.cluster.deploy_attempt(JOB, attempt, &deployment);
            running.start().await;
            for _ in 0..3 {
                self.put(50).await;
                tokio::time::sleep(pause).await;
                self.reshard();
                self.put(50).await;
                tokio::time::sleep(pause).await;
                self.complete(&deployment, attempt, &mut running).await;
            }
            tokio::time::sleep(pause).await;
            self.reshard();
            tokio::time::sleep(pause).await;
            let snapshots = self.complete(&deployment, attempt, &mut running).await;
            // What is read behind the checkpoint is read again.
            self.put(30).await;
            tokio::time::sleep(pause).await;
            assert_eq!(running.cancel().await.failed, []);
            self.reshard();
            attempt = attempt.next();
            let last = CheckpointId(self.last);
            deployment = going_on(&self.cluster, &self.graph, (&deployment, *next), (attempt, last, snapshots)).await;
        }
        self.run_to_the_end(attempt, &deployment).await;
    }

    /// Runs an attempt until all is read, and stops it.
    async fn run_to_the_end(&mut self, attempt: Attempt, deployment: &Deployment) {
        let mut running = self.cluster.deploy_attempt(JOB, attempt, deployment);
        running.start().await;
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            self.complete(deployment, attempt, &mut running).await;
        }
        running.handles.iter().for_each(crate::AttemptHandle::stop);
        running.finish().await;
        let ending = running.cancel().await;
        assert_eq!(ending.failed, []);
        let at_the_end = ending.finished.values().flat_map(|(_, prepared)| prepared.clone());
        self.all.extend(at_the_end.filter(|prepared| prepared.epoch > CheckpointId(self.last)));
    }

    fn is_whole(&self) -> bool {
        let mut all: Vec<i64> = self.by_key().into_values().flatten().collect();
        all.sort_unstable();
        all == (0..self.put).collect::<Vec<_>>()
    }

    fn is_in_order(&self) -> bool {
        self.by_key().values().all(|values| values.is_sorted())
    }
}

#[tokio::test(start_paused = true)]
async fn each_record_is_read_once_and_in_the_order_of_its_key_over_reshardings_and_restarts() {
    let fan_out = [("source.reader.type", "EFO"), ("source.efo.consumer.name", "shop")];
    for way in [&[][..], &fan_out[..]] {
        for pause in [300, 2500] {
            let mut world = World::new(way).await;
            world.kinesis.throttle(10);
            world.kinesis.skip_reads(20);
            world.run(&[2, 3, 1, 4], Duration::from_millis(pause)).await;
            assert!(world.reshards >= 15);
            let read = world.by_key();
            assert!(world.is_in_order(), "{way:?}, {pause}: {read:?}");
            assert!(world.is_whole(), "{way:?}, {pause}: {read:?}");
        }
    }
}

/// The sink takes its time, so that rows are in flight when shards end.
#[tokio::test(start_paused = true)]
async fn children_that_are_read_early_are_caught() {
    let mut found = false;
    for active in [None, Some(Bug::ReadChildEarly)] {
        let mut world = World::new(&[]).await;
        let slow = Manner::Slow(Duration::from_millis(400));
        world.cluster.tables.0.manners.lock().unwrap().insert("out".to_owned(), slow);
        bug::activate(active);
        world.run(&[3, 2], Duration::from_millis(2500)).await;
        bug::activate(None);
        assert!(active.is_some() || (world.is_in_order() && world.is_whole()), "{:?}", world.by_key());
        found |= active.is_some() && !(world.is_in_order() && world.is_whole());
    }
    assert!(found, "nothing shows");
}

/// Two subtasks have read the two halves of a merge to their ends, and nothing follows yet when the attempt fails.
#[tokio::test(start_paused = true)]
async fn an_end_that_a_restore_forgets_is_caught() {
    for active in [None, Some(Bug::ForgetSplitEnd)] {
        let mut world = World::new(&[]).await;
        world.put(30).await;
        let deployment = world.cluster.deployment(&world.graph, 2);
        let mut running = world.cluster.deploy(JOB, &deployment);
        running.start().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let [first, second] = &world.kinesis.shards_now(STREAM).unwrap()[..] else { panic!("it has two shards") };
        world.kinesis.merge(STREAM, &first.id, &second.id).unwrap();
        world.put(30).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let snapshots = world.complete(&deployment, ATTEMPT, &mut running).await;
        assert_eq!(running.cancel().await.failed, []);
        let (attempt, last) = (ATTEMPT.next(), CheckpointId(world.last));
        let next = going_on(&world.cluster, &world.graph, (&deployment, 2), (attempt, last, snapshots)).await;
        bug::activate(active);
        world.run_to_the_end(attempt, &next).await;
        bug::activate(None);
        assert_eq!(world.is_whole(), active.is_none(), "{active:?}: {:?}", world.by_key());
    }
}
