use std::sync::Arc;

use arrow_schema::{DataType, FieldRef, Schema};

use super::*;
use crate::{
    checkpoint::{
        InFlightRows, MANIFEST_FORMAT, OperatorSnapshot, RecordCounts, SnapshotCost, SourceSnapshot, SubtaskSnapshot,
    },
    graph::{
        OperatorKind,
        testing::{Build, call, tumble},
        type_text,
    },
    id::{Attempt, CheckpointId, ClusterId, JobId, SubtaskId},
    key_group::KeyGroupTable,
};

/// Sums per window over a table, behind another query if `is_second`. Returns the graph and the ids of the sum's source,
/// the sum and its sink.
fn summing(is_second: bool, seconds: i64) -> (JobGraph, [OperatorId; 3]) {
    let mut build = Build::default();
    if is_second {
        let source = build.source("u", "nexmark");
        build.sink("r", source);
    }
    let source = build.source("t", "nexmark");
    let sum = build.aggregate("k", call("sum", "v"), tumble(seconds), source);
    let sink = build.sink("s", sum);
    let mut graph = build.graph();
    let into_sum = graph.edges.iter_mut().find(|edge| edge.to == sum).expect("it has an input");
    into_sum.distribution = crate::graph::Distribution::Hash { keys: vec![1] };
    (graph, [source, sum, sink])
}

/// A checkpoint with state of the sum, splits of its source, and rows between the two.
fn manifest(graph: &JobGraph, [source, sum, _]: [OperatorId; 3]) -> Manifest {
    let plan = ChainPlan::of(graph);
    let chain = plan.chains.iter().find(|chain| chain.operators.contains(&sum)).expect("it is in a chain").id;
    let exchange = plan.exchanges.iter().find(|exchange| exchange.edge.to == sum).expect("it is not fused").index;
    let state = OperatorSnapshot { operator: sum, values: [("w".to_owned(), 1)].into(), tables: BTreeMap::new() };
    let snapshot = SubtaskSnapshot {
        subtask: SubtaskId { chain, index: 0 },
        is_finished: false,
        operators: vec![state],
        source: Some(SourceSnapshot { source, splits: Vec::new() }),
        in_flight: vec![InFlightRows { exchange, to: 0, batches: Vec::new() }],
        objects: Vec::new(),
        counts: RecordCounts::default(),
        prepared: Vec::new(),
        cost: SnapshotCost::default(),
    };
    let manifest = Manifest {
        format: MANIFEST_FORMAT,
        cluster: ClusterId("c".to_owned()),
        job: JobId(1),
        attempt: Attempt(1),
        checkpoint: CheckpointId(1),
        key_groups: KeyGroupTable::even(16, 1),
        parallelism: 1,
        graph: Some(RecordedGraph::of(graph, &plan)),
        subtasks: vec![snapshot],
    };
    manifest.check().expect("it is sound");
    manifest
}

fn matched(manifest: &Manifest, graph: &JobGraph) -> Result<Matching, UnmatchedState> {
    manifest.matched(graph, &ChainPlan::of(graph))
}

#[test]
fn state_is_found_in_another_place_of_the_graph() {
    let (graph, former) = summing(false, 10);
    let manifest = manifest(&graph, former);
    assert_eq!(matched(&manifest, &graph).unwrap(), Matching::by_index(&graph, &ChainPlan::of(&graph)));
    let (other, now) = summing(true, 10);
    let matching = matched(&manifest, &other).unwrap();
    assert_eq!(former.map(|operator| matching.operator(operator).unwrap()), now);
    assert_ne!(former, now);
    let plan = ChainPlan::of(&other);
    let chain = matching.chain(manifest.subtasks[0].subtask.chain).unwrap();
    assert_eq!(plan.chains[chain.0 as usize].operators, now[1..]);
    let exchange = matching.exchange(manifest.subtasks[0].in_flight[0].exchange).unwrap();
    assert_eq!(plan.exchanges[exchange as usize].edge.to, now[1]);
}

#[test]
fn state_that_nobody_has_is_an_error_that_names_it() {
    let (graph, former) = summing(false, 10);
    let manifest = manifest(&graph, former);
    let (other, _) = summing(false, 20);
    let identity = manifest.graph.as_ref().unwrap().operators[1].identity;
    let told = matched(&manifest, &other).unwrap_err().to_string();
    assert_eq!(
        told,
        format!(
            "the checkpoint holds state of op-1 (op-1: window_aggregate, identity {identity}, state version 1, written by \
             release {ENGINE_VERSION}), and no operator of the job's dataflow goes on from it; of that kind, it has op-1 (op-1) \
             instead"
        )
    );
    let mut of_source = manifest.clone();
    of_source.subtasks[0].operators.clear();
    let mut renamed = graph.clone();
    let OperatorKind::Source(source) = &mut renamed.operators[0].kind else { unreachable!() };
    source.table.push('x');
    let told = matched(&of_source, &renamed).unwrap_err().to_string();
    assert!(told.contains("state of op-0 (op-0: source") && told.ends_with("it has op-0 (op-0) instead"), "{told}");
    let mut without = Build::default();
    without.source("t", "nexmark");
    let told = matched(&manifest, &without.graph()).unwrap_err().to_string();
    assert!(told.ends_with("it has no other of that kind"), "{told}");
    let mut of_rows = manifest;
    (of_rows.subtasks[0].operators, of_rows.subtasks[0].source) = (Vec::new(), None);
    let told = matched(&of_rows, &other).unwrap_err().to_string();
    assert!(told.contains("rows on their way from op-0 to port 0 of op-1"), "{told}");
}

/// Identities say what state means, whatever the names of columns and the columns that others read.
#[test]
fn rows_on_their_way_are_refused_where_the_columns_are_others() {
    let (graph, former) = summing(false, 10);
    let manifest = manifest(&graph, former);
    let fields: Vec<_> = graph.operator(former[0]).output.fields().iter().cloned().collect();
    let refused = |change: &dyn Fn(&mut Vec<FieldRef>)| {
        let (mut other, mut changed) = (graph.clone(), fields.clone());
        change(&mut changed);
        other.operators[0].output = Arc::new(Schema::new(changed));
        let mut manifest = manifest.clone();
        let recorded = manifest.graph.as_mut().unwrap();
        for (recorded, (_, identity)) in recorded.operators.iter_mut().zip(Identities::of(&other).iter()) {
            recorded.identity = identity;
        }
        matched(&manifest, &other).err().map(|error| error.to_string())
    };
    assert_eq!(refused(&|_| {}), None);
    assert_eq!(refused(&|fields| fields[0] = Arc::new(fields[0].as_ref().clone().with_nullable(true))), None);
    let told = refused(&|fields| fields.swap(0, 1)).unwrap();
    let way = "rows on their way from op-0 to port 0 of op-1, where the job's dataflow has other columns: ";
    let column = |field: &FieldRef| format!("{} ({})", field.name(), type_text(field.data_type()));
    let swapped = format!("column 1 of the rows is {}, and there {}", column(&fields[0]), column(&fields[1]));
    let remedy = format!("; go on with release {ENGINE_VERSION}, which wrote it");
    assert!(told.ends_with(&format!("{way}{swapped}{remedy}")), "{told}");
    let told = refused(&|fields| _ = fields.pop()).unwrap();
    let count = fields.len();
    assert!(told.ends_with(&format!("the rows have {count} columns, and there are {}{remedy}", count - 1)), "{told}");
    let other = |fields: &mut Vec<FieldRef>| {
        fields[1] = Arc::new(fields[1].as_ref().clone().with_data_type(DataType::Boolean));
    };
    let told = refused(&other).unwrap();
    assert!(told.ends_with(&format!("(boolean){remedy}")), "{told}");
    let (mut unmoved, mut renamed) = (manifest.clone(), graph.clone());
    unmoved.subtasks[0].in_flight.clear();
    renamed.operators[0].output = Arc::new(Schema::empty());
    let recorded = unmoved.graph.as_mut().unwrap();
    for (recorded, (_, identity)) in recorded.operators.iter_mut().zip(Identities::of(&renamed).iter()) {
        recorded.identity = identity;
    }
    assert!(matched(&unmoved, &renamed).is_ok(), "nothing is on its way");
}

#[test]
fn a_version_that_is_not_known_is_an_error_that_names_both_and_who_reads_it() {
    let (graph, former) = summing(false, 10);
    let mut manifest = manifest(&graph, former);
    let recorded = manifest.graph.as_mut().unwrap();
    recorded.release = "9.8.7".to_owned();
    recorded.operators[1].state_version = 4;
    let told = matched(&manifest, &graph).unwrap_err().to_string();
    assert_eq!(
        told,
        format!(
            "the checkpoint holds state of op-1 (window_aggregate) in version 4, and release {ENGINE_VERSION} reads 1: go on \
             with release 9.8.7, which wrote it"
        )
    );
    manifest.subtasks[0].operators.clear();
    assert!(matched(&manifest, &graph).is_ok(), "there is no state of it");
}

#[test]
fn a_manifest_without_identities_is_matched_by_index() {
    let (graph, former) = summing(true, 10);
    let mut manifest = manifest(&graph, former);
    (manifest.format, manifest.graph) = (1, None);
    manifest.check().unwrap();
    assert_eq!(matched(&manifest, &graph).unwrap(), Matching::by_index(&graph, &ChainPlan::of(&graph)));
    let (smaller, _) = summing(false, 10);
    let told = matched(&manifest, &smaller).unwrap_err();
    assert_eq!(told, UnmatchedState::NoIndex { operator: former[1], release: manifest.writer() });
    assert!(
        told.to_string().ends_with("go on with a release that writes manifests of format 1, which wrote it"),
        "{told}"
    );
}

#[test]
fn manifests_that_contradict_themselves_are_refused() {
    let (graph, former) = summing(false, 10);
    let check = |change: &dyn Fn(&mut Manifest), told: &str| {
        let mut manifest = manifest(&graph, former);
        change(&mut manifest);
        let error = manifest.check().expect_err(told);
        assert!(error.contains(told), "{error}");
    };
    fn of(manifest: &mut Manifest) -> &mut RecordedGraph {
        manifest.graph.as_mut().expect("it has one")
    }
    check(&|manifest| manifest.format = 3, "format 3, and 1 to 2 are known");
    check(&|manifest| manifest.format = 0, "format 0");
    check(&|manifest| manifest.graph = None, "does not describe its graph");
    check(&|manifest| manifest.format = 1, "which its format cannot");
    check(&|manifest| manifest.parallelism = 0, "slices that there are not");
    check(&|manifest| of(manifest).operators[1].operator.0 = 7, "calls itself op-7");
    check(&|manifest| of(manifest).operators[1].identity = of(manifest).operators[0].identity, "two of its operators");
    check(&|manifest| of(manifest).operators.truncate(1), "a part of op-1");
    check(&|manifest| of(manifest).exchanges.clear(), "rows of exchange 0");
    check(&|manifest| manifest.subtasks[0].source.as_mut().unwrap().source.0 = 9, "a part of op-9");
}
