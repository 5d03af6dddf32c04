//! Tables that are asked, within attempts.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::{
    array::{Int64Array, RecordBatch, StringViewArray},
    datatypes::{DataType, Field, Schema},
};
use thalweg_types::{
    Attempt, CheckpointId, JobGraph, OperatorKind,
    connector::TableConnector,
    graph::{Distribution, Parallelism, SinkOperator, SourceOperator},
};

use super::{
    checkpoints::{going_on, take},
    flows::{give, ticks},
    graph::{GraphBuilder, integers, rows_schema},
    rig::{ATTEMPT, Cluster, JOB},
    tables::{After, TestSplit},
};
use crate::{TableAnswer, TableRefusal, TableRequest, merge_answers};

const TABLE: &str = "newest";

/// A sink that keeps the newest row of each value of a column.
fn keeper(key: usize) -> OperatorKind {
    let connector = TableConnector { name: "queryable".to_owned(), options: BTreeMap::new(), secrets: BTreeMap::new() };
    OperatorKind::Sink(SinkOperator { table: TABLE.to_owned(), connector, partition_by: vec![key] })
}

fn newest_by_key() -> JobGraph {
    let mut graph = GraphBuilder::default();
    let source = graph.source("ticks", None, &[]);
    let sink = graph.add(TABLE, keeper(1), Parallelism::Job, rows_schema());
    graph.link(source, sink, 0, Distribution::Hash { keys: vec![1] });
    graph.build()
}

fn request(attempt: Attempt, key: Option<i64>) -> TableRequest {
    let key = key.map(|key| ("key".to_owned(), key.to_string())).into_iter().collect();
    TableRequest { table: TABLE.to_owned(), job: JOB, attempt, key, limit: 100 }
}

/// What each node has, in the order of the nodes.
fn parts(cluster: &Cluster, request: &TableRequest) -> Vec<Result<TableAnswer, TableRefusal>> {
    cluster.nodes.iter().map(|node| node.queryable.read(request)).collect()
}

/// The values of all rows, and the slices that have answered.
fn all(cluster: &Cluster, request: &TableRequest) -> (Vec<i64>, Vec<u32>) {
    let answers: Vec<TableAnswer> = parts(cluster, request).into_iter().flatten().collect();
    let merged = merge_answers(TABLE, answers, request.limit).expect("answers of one table");
    merged.map_or_else(Default::default, |TableAnswer { rows, mut slices, .. }| {
        slices.sort_unstable();
        (integers(&[rows], 2), slices)
    })
}

#[tokio::test(start_paused = true)]
async fn a_table_is_asked_while_its_attempt_lives_and_comes_back_with_the_next_one() {
    let cluster = Cluster::of(2).await;
    give(&cluster, "ticks", vec![TestSplit::of("a", ticks(1000)).then(After::Idle)]);
    let graph = newest_by_key();
    let before = cluster.deployment(&graph, 3);
    let mut running = cluster.deploy(JOB, &before);
    running.start().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let newest: Vec<i64> = (990..1000).collect();
    assert_eq!(all(&cluster, &request(ATTEMPT, None)), (newest.clone(), vec![0, 1, 2]));

    let third = request(ATTEMPT, Some(3));
    let owner = cluster.nodes[0].queryable.owner(&third).expect("a part of the table is here");
    let found = parts(&cluster, &third).into_iter().flatten().filter(|answer| answer.rows.num_rows() > 0);
    let found: Vec<TableAnswer> = found.collect();
    assert_eq!((found.len(), integers(&[found[0].rows.clone()], 2)), (1, vec![993]));
    assert!(found[0].slices.contains(&owner), "{owner} in {:?}", found[0].slices);

    let snapshots = take(&mut running, CheckpointId(1)).await;
    assert_eq!(running.cancel().await.failed, []);
    let gone = parts(&cluster, &request(ATTEMPT, None));
    assert!(gone.iter().all(|part| matches!(part, Err(TableRefusal::NotHere { .. }))), "{gone:?}");

    let attempt = ATTEMPT.next();
    let next = going_on(&cluster, &graph, (&before, 2), (ATTEMPT, CheckpointId(1), snapshots)).await;
    let mut running = cluster.deploy_attempt(JOB, attempt, &next);
    running.start().await;
    assert_eq!(all(&cluster, &request(attempt, None)), (newest, vec![0, 1]), "before any row comes");
    assert_eq!(all(&cluster, &request(ATTEMPT, None)), (vec![], vec![]), "an older attempt has nothing");
    assert_eq!(running.cancel().await.failed, []);
}

/// A row that no answer could hold is no row of the table.
#[tokio::test]
async fn rows_that_a_table_sets_aside_are_not_counted_as_kept() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, false),
        Field::new("text", DataType::Utf8View, false),
    ]));
    let texts = ["a".to_owned(), "x".repeat(2 << 20), "b".to_owned()];
    let columns = (Arc::new(Int64Array::from(vec![1, 2, 3])), Arc::new(StringViewArray::from_iter_values(texts)));
    let rows = RecordBatch::try_new(schema.clone(), vec![columns.0, columns.1]).expect("two columns");
    let cluster = Cluster::of(1).await;
    give(&cluster, "texts", vec![TestSplit::of("a", vec![rows])]);
    let mut graph = GraphBuilder::default().set("error.path", "/errors");
    let connector =
        TableConnector { name: "filesystem".to_owned(), options: BTreeMap::new(), secrets: BTreeMap::new() };
    let source = SourceOperator {
        table: "texts".to_owned(),
        connector,
        physical: schema.clone(),
        predicates: Vec::new(),
        projection: None,
        watermark: None,
    };
    let source = graph.add("texts", OperatorKind::Source(Box::new(source)), Parallelism::Job, schema.clone());
    let sink = graph.add(TABLE, keeper(0), Parallelism::Job, schema);
    graph.link(source, sink, 0, Distribution::Hash { keys: vec![0] });
    let ending = cluster.run(&graph.build(), 1).await;
    let kept = ending.totals(1);
    assert_eq!((kept.records_in, kept.records_out, kept.failed_rows), (3, 2, 1));
}
