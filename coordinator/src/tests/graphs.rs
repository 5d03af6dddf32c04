//! A planner for tests. The script is the name of one of two dataflows.

use std::{collections::BTreeMap, sync::Arc};

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use thalweg_types::{
    JobGraph, Operator, OperatorId, OperatorKind,
    connector::TableConnector,
    graph::{CollectOperator, Distribution, Edge, FORMAT, Parallelism, SinkOperator, SourceOperator},
};

use crate::planning::{Plan, PlanError, Planner};

#[derive(Debug)]
pub(super) struct TestPlanner;

impl Planner for TestPlanner {
    fn plan(&self, sql: &str, settings: &BTreeMap<String, String>) -> Result<Plan, PlanError> {
        let graph = match sql {
            "publish" => publishing(settings),
            "collect" => collecting(settings),
            _ => return Err(PlanError::Script(format!("line 1, column 1: '{sql}' is neither publish nor collect"))),
        };
        graph.check().unwrap();
        Ok(Plan { graph: Some(graph), explained: Vec::new(), name: Some(sql.to_owned()), parallelism: None })
    }

    fn describe(&self, graph: &JobGraph) -> String {
        format!("{} operators", graph.operators.len())
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]))
}

fn connector() -> TableConnector {
    TableConnector { name: "blackhole".to_owned(), options: BTreeMap::new(), secrets: BTreeMap::new() }
}

fn operator(id: u32, name: &str, kind: OperatorKind, parallelism: Parallelism) -> Operator {
    Operator { id: OperatorId(id), name: name.to_owned(), kind, parallelism, output: schema() }
}

fn source() -> Operator {
    let source = SourceOperator {
        table: "input".to_owned(),
        connector: connector(),
        physical: schema(),
        predicates: Vec::new(),
        projection: None,
        watermark: None,
    };
    operator(0, "source", OperatorKind::Source(Box::new(source)), Parallelism::Job)
}

fn graph(last: Operator, distribution: Distribution, settings: &BTreeMap<String, String>) -> JobGraph {
    JobGraph {
        format: FORMAT,
        engine_version: thalweg_types::ENGINE_VERSION.to_owned(),
        key_groups: 16,
        operators: vec![source(), last],
        edges: vec![Edge { from: OperatorId(0), to: OperatorId(1), port: 0, distribution }],
        settings: settings.clone(),
    }
}

/// Source -hash-> sink.
fn publishing(settings: &BTreeMap<String, String>) -> JobGraph {
    let sink = OperatorKind::Sink(SinkOperator {
        table: "output".to_owned(),
        connector: connector(),
        partition_by: Vec::new(),
    });
    graph(operator(1, "sink", sink, Parallelism::Job), Distribution::Hash { keys: vec![0] }, settings)
}

/// Source -gather-> collect.
fn collecting(settings: &BTreeMap<String, String>) -> JobGraph {
    let collect = OperatorKind::Collect(CollectOperator { query: 0 });
    graph(operator(1, "collect", collect, Parallelism::One), Distribution::Gather, settings)
}
