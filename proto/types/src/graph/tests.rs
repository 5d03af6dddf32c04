use std::{collections::BTreeMap, sync::Arc};

use arrow_schema::{DataType, Field, Schema};

use super::*;
use crate::connector::TableConnector;

/// A source that feeds a blackhole of parallelism `receiver` over one edge.
fn two_operators(distribution: Distribution, receiver: Parallelism) -> JobGraph {
    let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false)]));
    let source = SourceOperator {
        table: "t".to_owned(),
        connector: TableConnector { name: "nexmark".to_owned(), options: BTreeMap::new(), secrets: BTreeMap::new() },
        physical: schema.clone(),
        predicates: vec![],
        projection: None,
        watermark: None,
    };
    let sink = SinkOperator {
        table: "s".to_owned(),
        connector: TableConnector { name: "blackhole".to_owned(), options: BTreeMap::new(), secrets: BTreeMap::new() },
        partition_by: Vec::new(),
    };
    let operator = |id, name: &str, kind, parallelism| Operator {
        id: OperatorId(id),
        name: name.to_owned(),
        kind,
        parallelism,
        output: schema.clone(),
    };
    JobGraph {
        format: FORMAT,
        engine_version: "0.1.0".to_owned(),
        key_groups: 256,
        operators: vec![
            operator(0, "source(t)", OperatorKind::Source(Box::new(source)), Parallelism::Job),
            operator(1, "sink(s)", OperatorKind::Sink(sink), receiver),
        ],
        edges: vec![Edge { from: OperatorId(0), to: OperatorId(1), port: 0, distribution }],
        settings: BTreeMap::new(),
    }
}

fn check_refused(graph: &JobGraph, part: &str) {
    let error = JobGraph::from_bytes(&graph.to_bytes()).expect_err("an inconsistent graph was accepted");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn the_persisted_form_is_pinned() {
    let graph = two_operators(Distribution::Hash { keys: vec![0] }, Parallelism::Job);
    let text = String::from_utf8(graph.to_bytes()).expect("JSON is text");
    assert_eq!(text, include_str!("golden.json").trim_end());
    assert_eq!(JobGraph::from_bytes(text.as_bytes()), Ok(graph));
}

#[test]
fn another_format_is_refused() {
    let mut graph = two_operators(Distribution::Forward, Parallelism::Job);
    graph.format = FORMAT + 1;
    assert_eq!(JobGraph::from_bytes(&graph.to_bytes()), Err(GraphError::Format { found: FORMAT + 1 }));
}

#[test]
fn broken_rules_are_named() {
    check_refused(&two_operators(Distribution::Forward, Parallelism::One), "another parallelism");
    check_refused(&two_operators(Distribution::Gather, Parallelism::Job), "gathers");
    check_refused(&two_operators(Distribution::Hash { keys: vec![1] }, Parallelism::Job), "routes by a column");

    let sound = two_operators(Distribution::Forward, Parallelism::Job);
    check_refused(&JobGraph { edges: vec![], ..sound.clone() }, "nothing feeds port 0 of op-1");
    check_refused(&JobGraph { key_groups: 100, ..sound.clone() }, "power of two");
    let mut backward = sound.clone();
    backward.edges[0].from = OperatorId(1);
    check_refused(&backward, "an edge goes from op-1 to op-1");
    let mut renamed = sound;
    renamed.operators[1].id = OperatorId(7);
    check_refused(&renamed, "calls itself op-7");
}

#[test]
fn a_key_that_does_not_come_is_named() {
    let mut graph = two_operators(Distribution::Forward, Parallelism::Job);
    let top =
        |key| WindowTopN { window: (0, 0), partition: vec![key], order: Vec::new(), limit: 1, emit_row_number: false };
    graph.operators[1].kind = OperatorKind::WindowTopN(top(0));
    assert_eq!(graph.check(), Ok(()));
    graph.operators[1].kind = OperatorKind::WindowTopN(top(7));
    check_refused(&graph, "op-1 has key column 7, which op-0 does not give");
}

#[test]
fn any_text_is_refused_or_read_without_a_panic() {
    use proptest::prelude::*;
    let golden = include_str!("golden.json").trim_end().as_bytes().to_vec();
    proptest!(|(at in 0..golden.len(), byte in any::<u8>())| {
        let mut bytes = golden.clone();
        bytes[at] = byte;
        let _ = JobGraph::from_bytes(&bytes);
    });
}

/// A source that finds splits, and lacks its enumerator, as a graph was recorded before there were any.
fn watched() -> JobGraph {
    let mut graph = two_operators(Distribution::Hash { keys: vec![0] }, Parallelism::Job);
    let OperatorKind::Source(source) = &mut graph.operators[0].kind else { unreachable!("it is the source") };
    let options = [("path", "in"), ("format", "json"), ("source.monitor-interval", "1 s")];
    let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
    source.connector =
        TableConnector { name: "filesystem".to_owned(), options: options.into(), secrets: BTreeMap::new() };
    graph
}

#[test]
fn a_source_that_finds_splits_gets_an_enumerator_behind_all_others() {
    let before = watched();
    assert!(before.check().is_err(), "nothing assigns splits to the source");
    let plan = crate::chain::ChainPlan::of(&before);
    let graph = JobGraph::from_bytes(&before.to_bytes()).expect("it is completed");
    assert_eq!(graph.enumerators().collect::<Vec<_>>(), [(OperatorId(2), OperatorId(0))]);
    assert_eq!(graph.operators[..2], before.operators[..]);
    let completed = crate::chain::ChainPlan::of(&graph);
    assert_eq!(completed.chains[..plan.chains.len()], plan.chains[..], "its checkpoints name chains by number");
    assert_eq!(completed.exchanges[..plan.exchanges.len()], plan.exchanges[..], "and exchanges");
    assert_eq!(JobGraph::from_bytes(&graph.to_bytes()), Ok(graph.clone()), "once");

    let mut strange = graph.clone();
    strange.edges[1].to = OperatorId(1);
    check_refused(&strange, "op-1 cannot take splits from op-2");
    let mut strange = graph.clone();
    strange.edges[1].distribution = Distribution::Rebalance;
    check_refused(&strange, "op-0 cannot take splits from op-2");
    let mut strange = graph;
    strange.operators[2].output = strange.operators[0].output.clone();
    check_refused(&strange, "op-2 does not assign splits");
}

#[test]
fn an_enumerator_and_its_source_belong_to_each_other_alone() {
    let graph = watched().with_enumerators();
    assert_eq!(graph.check(), Ok(()));

    let mut two = graph.clone();
    two.operators.push(Operator { id: OperatorId(3), ..two.operators[2].clone() });
    check_refused(&two, "op-3 assigns splits to no source");
    two.edges.push(Edge { from: OperatorId(3), ..two.edges[1].clone() });
    check_refused(&two, "both op-2 and op-3 assign splits to op-0");
    let mut twice = graph.clone();
    twice.edges.push(twice.edges[1].clone());
    check_refused(&twice, "op-2 assigns splits to op-0 over two edges");

    let mut shared = graph;
    shared.operators.push(Operator { id: OperatorId(3), ..shared.operators[0].clone() });
    shared.edges.push(Edge { to: OperatorId(3), ..shared.edges[1].clone() });
    check_refused(&shared, "op-2 assigns splits to both op-0 and op-3");
}
