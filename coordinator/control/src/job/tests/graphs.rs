//! Small job graphs.

use std::{collections::BTreeMap, sync::Arc};

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use thalweg_types::{
    JobGraph, Operator, OperatorId, OperatorKind,
    connector::TableConnector,
    graph::{Calc, CollectOperator, Distribution, Edge, FORMAT, Parallelism, SinkOperator, SourceOperator},
};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]))
}

fn connector() -> TableConnector {
    TableConnector { name: "blackhole".to_owned(), options: BTreeMap::new(), secrets: BTreeMap::new() }
}

fn operator(id: u32, kind: OperatorKind, parallelism: Parallelism) -> Operator {
    Operator { id: OperatorId(id), name: format!("operator {id}"), kind, parallelism, output: schema() }
}

fn source() -> OperatorKind {
    OperatorKind::Source(Box::new(SourceOperator {
        table: "input".to_owned(),
        connector: connector(),
        physical: schema(),
        predicates: Vec::new(),
        projection: None,
        watermark: None,
    }))
}

fn edge(from: u32, to: u32, distribution: Distribution) -> Edge {
    Edge { from: OperatorId(from), to: OperatorId(to), port: 0, distribution }
}

fn graph(operators: Vec<Operator>, edges: Vec<Edge>) -> JobGraph {
    let graph = JobGraph {
        format: FORMAT,
        engine_version: "1".to_owned(),
        key_groups: 16,
        operators,
        edges,
        settings: BTreeMap::new(),
    };
    graph.check().unwrap();
    graph
}

/// Source -hash-> calc -forward-> sink: two chains.
pub(super) fn publishing() -> JobGraph {
    let sink = OperatorKind::Sink(SinkOperator {
        table: "output".to_owned(),
        connector: connector(),
        partition_by: Vec::new(),
    });
    let calc = OperatorKind::Calc(Calc { filter: None, projection: None });
    graph(
        vec![
            operator(0, source(), Parallelism::Job),
            operator(1, calc, Parallelism::Job),
            operator(2, sink, Parallelism::Job),
        ],
        vec![edge(0, 1, Distribution::Hash { keys: vec![0] }), edge(1, 2, Distribution::Forward)],
    )
}

/// `publishing`, with a source whose splits are found while the job runs.
pub(super) fn watching() -> JobGraph {
    let mut graph = publishing();
    let OperatorKind::Source(source) = &mut graph.operators[0].kind else { unreachable!("it is the source") };
    let options = [("path", "in"), ("format", "json"), ("source.monitor-interval", "1 s")];
    let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
    source.connector =
        TableConnector { name: "filesystem".to_owned(), options: options.into(), secrets: BTreeMap::new() };
    graph.with_enumerators()
}

/// Source -gather-> collect.
pub(super) fn collecting() -> JobGraph {
    let collect = OperatorKind::Collect(CollectOperator { query: 0 });
    graph(
        vec![operator(0, source(), Parallelism::Job), operator(1, collect, Parallelism::One)],
        vec![edge(0, 1, Distribution::Gather)],
    )
}
