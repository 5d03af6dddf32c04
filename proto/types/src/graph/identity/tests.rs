use std::{collections::BTreeSet, sync::Arc};

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde_json::json;

use super::*;
use crate::{
    connector::{METADATA_COLUMN, VALUES_CONNECTOR, VALUES_ROWS},
    expr::ExprBytes,
    graph::{
        AggregatePhase, CollectOperator, Operator, OperatorKind, RowRange, Sort, SortColumn, WindowAggregate,
        WindowAssign, WindowColumns, WindowJoin, WindowSpec, WindowTopN, Windowing,
        testing::{Build, call, column, expression, rows, schema, time, tumble, twice},
    },
};

fn identity(build: Build, operator: OperatorId) -> OperatorIdentity {
    Identities::of(&build.graph()).get(operator)
}

/// The aggregation of `SELECT k, sum(v) FROM t GROUP BY k` per ten seconds, over what `before` makes of the table.
fn sum_over(before: impl FnOnce(&mut Build, OperatorId) -> OperatorId) -> OperatorIdentity {
    let mut build = Build::default();
    let source = build.source("t", "nexmark");
    let input = before(&mut build, source);
    let sum = build.aggregate("k", call("sum", "v"), tumble(10), input);
    build.sink("s", sum);
    identity(build, sum)
}

fn sum() -> OperatorIdentity {
    sum_over(|_, source| source)
}

#[test]
fn another_query_before_changes_nothing() {
    let of = |is_first: bool| {
        let mut build = Build::default();
        if is_first {
            let source = build.source("u", "nexmark");
            let count = build.aggregate("v", call("count", "k"), tumble(1), source);
            build.sink("r", count);
        }
        let source = build.source("t", "nexmark");
        let sum = build.aggregate("k", call("sum", "v"), tumble(10), source);
        let sink = build.sink("s", sum);
        let identities = Identities::of(&build.graph());
        [source, sum, sink].map(|operator| identities.get(operator))
    };
    assert_eq!(of(true), of(false));
}

#[test]
fn a_filter_before_and_other_columns_change_nothing() {
    let large = || Some(expression(json!([{ "column": "w" }, { "unary": "is_not_null" }]), "w IS NOT NULL"));
    assert_eq!(sum_over(|build, source| build.calc(large(), &[], &[source])), sum());
    let few = |build: &mut Build, source| {
        build.calc(large(), &[("v", column("v")), ("k", column("k")), ("ts", column("ts"))], &[source])
    };
    assert_eq!(sum_over(few), sum(), "columns that nobody needs are dropped, and the others come in another order");
    let by_two = |build: &mut Build, source| {
        let few = few(build, source);
        build.calc(None, &[("ts", column("ts")), ("k", column("k")), ("v", column("v"))], &[few])
    };
    assert_eq!(sum_over(by_two), sum());
    let projected = |build: &mut Build, source: OperatorId| {
        let OperatorKind::Source(table) = &mut build.operators[source.0 as usize].kind else { unreachable!() };
        table.projection = Some(["ts", "k", "v", "w"].map(column).to_vec());
        source
    };
    assert_eq!(sum_over(projected), sum(), "a source that projects gives the same columns");
}

#[test]
fn names_of_columns_below_do_not_count() {
    let of = |key: &str, value: &str| {
        let mut build = Build::default();
        let source = build.source("t", "nexmark");
        let columns = [("ts", column("ts")), (key, column("k")), (value, twice("v"))];
        let calc = build.calc(None, &columns, &[source]);
        let sum = build.aggregate(key, call("sum", value), tumble(10), calc);
        identity(build, sum)
    };
    assert_eq!(of("k", "v"), of("key", "twice"));
    assert_ne!(of("k", "v"), sum(), "twice the value is summed up");
}

#[test]
fn a_metadata_column_means_its_key_whatever_its_name() {
    let of = |name: &str, key: Option<&str>| {
        sum_over(|build, source| {
            let OperatorKind::Source(table) = &mut build.operators[source.0 as usize].kind else { unreachable!() };
            let metadata = key.map(|key| (METADATA_COLUMN.to_owned(), key.to_owned()));
            let fields = table.physical.fields().iter().map(|field| match field.name() == "k" {
                true => Field::new(name, field.data_type().clone(), true)
                    .with_metadata(metadata.clone().into_iter().collect()),
                false => field.as_ref().clone(),
            });
            table.physical = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
            table.projection = Some(["ts", name, "v", "w"].map(column).to_vec());
            source
        })
    };
    assert_eq!(of("k", None), sum());
    assert_ne!(of("p", None), sum());
    assert_ne!(of("k", Some("partition")), sum());
    assert_eq!(of("k", Some("partition")), of("p", Some("partition")));
    assert_ne!(of("k", Some("partition")), of("k", Some("offset")));
}

#[test]
fn what_the_state_means_counts() {
    let of = |table: &str, connector: &str, key: &str, call: ExprBytes, spec| {
        let mut build = Build::default();
        let source = build.source(table, connector);
        let aggregate = build.aggregate(key, call, spec, source);
        identity(build, aggregate)
    };
    let usual = || call("sum", "v");
    let spec = tumble(10);
    assert_eq!(of("t", "nexmark", "k", usual(), spec), sum());
    let others = [
        of("u", "nexmark", "k", usual(), spec),
        of("t", "datagen", "k", usual(), spec),
        of("t", "nexmark", "w", usual(), spec),
        of("t", "nexmark", "v", usual(), spec),
        of("t", "nexmark", "k", call("max", "v"), spec),
        of("t", "nexmark", "k", call("sum", "k"), spec),
        of("t", "nexmark", "k", usual(), tumble(20)),
        of("t", "nexmark", "k", usual(), WindowSpec::Hop { size: 10_000_000, slide: 1_000_000, offset: 0 }),
        of("t", "nexmark", "k", usual(), WindowSpec::Tumble { size: 10_000_000, offset: 1 }),
        of("t", "nexmark", "k", usual(), WindowSpec::Session { gap: 10_000_000 }),
        sum_over(|build, source| {
            build.calc(None, &[("ts", column("ts")), ("k", twice("k")), ("v", column("v"))], &[source])
        }),
        sum_over(|build, source| {
            build.calc(None, &[("ts", column("ts")), ("k", column("v")), ("v", column("k"))], &[source])
        }),
        sum_over(|build, source| {
            let first = build.calc(None, &[("ts", column("ts")), ("k", column("k")), ("x", twice("v"))], &[source]);
            build.calc(None, &[("ts", column("ts")), ("k", column("k")), ("v", column("x"))], &[first])
        }),
    ];
    let all: BTreeSet<OperatorIdentity> = others.into_iter().chain([sum()]).collect();
    assert_eq!(all.len(), others.len() + 1, "{others:?}");
}

#[test]
fn an_input_with_state_counts_by_its_identity() {
    let of = |inner: i64| {
        let mut build = Build::default();
        let source = build.source("t", "nexmark");
        let counts = build.aggregate("k", call("count", "v"), tumble(inner), source);
        let named = [("ts", column("window_end")), ("k", column("k")), ("v", column("n"))];
        let named = build.calc(None, &named, &[counts]);
        let outer = build.aggregate("k", call("sum", "v"), tumble(60), named);
        identity(build, outer)
    };
    assert_eq!(of(10), of(10));
    assert_ne!(of(10), of(20));
}

#[test]
fn a_window_that_is_assigned_below_counts_where_it_is_used() {
    let of = |seconds: i64, key: &str| {
        let mut build = Build::default();
        let source = build.source("t", "nexmark");
        let mut fields = rows().fields().iter().map(|field| field.as_ref().clone()).collect::<Vec<_>>();
        fields.extend(["window_start", "window_end", "window_time"].map(|name| Field::new(name, time(), false)));
        let output: SchemaRef = Arc::new(Schema::new(fields));
        let assign = WindowAssign { column: 0, spec: tumble(seconds) };
        let assigned = build.add(OperatorKind::WindowAssign(assign), output.clone(), &[(0, source)]);
        let aggregate = WindowAggregate {
            phase: AggregatePhase::Single,
            windowing: Windowing::Attached { start: 4, end: 5 },
            keys: vec![output.index_of(key).unwrap()],
            aggregates: vec![call("sum", "v")],
            row_schema: output,
            window_columns: WindowColumns::default(),
        };
        let given = schema(&[("k", DataType::Int64), ("n", DataType::Int64)]);
        let attached = build.add(OperatorKind::WindowAggregate(aggregate), given, &[(0, assigned)]);
        let plain = build.aggregate("k", call("sum", "v"), tumble(7), assigned);
        let identities = Identities::of(&build.graph());
        (identities.get(attached), identities.get(plain))
    };
    assert_ne!(of(10, "k").0, of(20, "k").0);
    assert_ne!(of(10, "k").0, of(10, "window_time").0);
    assert_eq!(of(10, "k").1, of(20, "k").1, "it does not use the window");
}

#[test]
fn branches_of_a_union_count_together_and_not_by_their_place() {
    let of = |columns: [[&str; 2]; 2]| {
        let mut build = Build::default();
        let source = build.source("t", "nexmark");
        let branches = columns
            .map(|[k, v]| build.calc(None, &[("ts", column("ts")), ("k", column(k)), ("v", column(v))], &[source]));
        let all = build.calc(None, &[], &branches);
        let sum = build.aggregate("k", call("sum", "v"), tumble(10), all);
        identity(build, sum)
    };
    assert_eq!(of([["k", "v"], ["v", "k"]]), of([["v", "k"], ["k", "v"]]));
    assert_ne!(of([["k", "v"], ["v", "k"]]), of([["k", "k"], ["v", "v"]]));
    assert_ne!(of([["k", "v"], ["k", "v"]]), sum(), "each row comes twice");
}

#[test]
fn equal_operators_are_told_apart_by_an_ordinal() {
    let mut build = Build::default();
    let source = build.source("t", "nexmark");
    let sinks = [build.sink("s", source), build.sink("s", source), build.sink("r", source)];
    let identities = Identities::of(&build.graph());
    let all: BTreeSet<_> = identities.iter().map(|(_, identity)| identity).collect();
    assert_eq!(all.len(), 4);
    let mut alone = Build::default();
    let source = alone.source("t", "nexmark");
    let sink = alone.sink("s", source);
    assert_eq!(identity(alone, sink), identities.get(sinks[0]));
}

#[test]
fn rows_that_stand_in_the_script_are_their_table() {
    let of = |rows: &str| {
        let mut build = Build::default();
        let source = build.source("of 1 row", VALUES_CONNECTOR);
        let OperatorKind::Source(table) = &mut build.operators[0].kind else { unreachable!() };
        table.connector.options.insert(VALUES_ROWS.to_owned(), rows.to_owned());
        identity(build, source)
    };
    assert_eq!(of("00"), of("00"));
    assert_ne!(of("00"), of("01"));
}

/// Graphs come from elsewhere: neither their depth nor the number of ways through them may matter.
#[test]
fn long_and_branched_graphs_are_described_in_no_time() {
    let mut build = Build::default();
    let mut last = build.source("t", "nexmark");
    for _ in 0..2000 {
        last = build.calc(None, &[], &[last]);
    }
    let mut pair = [last, last];
    for _ in 0..200 {
        let columns = |way: &str| [("ts", column("ts")), ("k", twice("k")), ("v", column(way)), ("w", column("w"))];
        pair = [build.calc(None, &columns("v"), &pair), build.calc(None, &columns("k"), &pair)];
    }
    let sum = build.aggregate("k", call("sum", "v"), tumble(10), pair[0]);
    build.sink("s", sum);
    let graph = build.graph();
    assert_eq!(Identities::of(&graph).iter().count(), graph.operators.len());
}

#[test]
fn an_expression_of_another_encoding_counts_with_all_columns() {
    let of = |bytes: &[u8], second: &str| {
        sum_over(|build, source| {
            let opaque = ExprBytes { bytes: bytes.to_vec(), text: String::new(), place: None };
            let two = build.calc(None, &[("ts", column("ts")), ("k", column("k")), ("w", column(second))], &[source]);
            build.calc(None, &[("ts", column("ts")), ("k", opaque), ("v", column("k"))], &[two])
        })
    };
    assert_eq!(of(b"\xff\x00", "v"), of(b"\xff\x00", "v"));
    assert_ne!(of(b"\xff\x00", "v"), of(b"\xff\x01", "v"));
    assert_ne!(of(b"\xff\x00", "v"), of(b"\xff\x00", "w"), "nobody knows which columns it reads");
}

#[test]
fn identities_are_sixteen_digits() {
    let identity = OperatorIdentity(0x0123_4567_89ab_cdef);
    assert_eq!(serde_json::to_string(&identity).unwrap(), "\"0123456789abcdef\"");
    assert_eq!(serde_json::from_str::<OperatorIdentity>("\"0123456789abcdef\"").unwrap(), identity);
    for wrong in ["", "0", "0123456789ABCDEF", "+123456789abcdef", "0123456789abcdef0", "0123456789abcdeg"] {
        assert_eq!(wrong.parse::<OperatorIdentity>(), Err(NotAHash), "{wrong}");
    }
}

/// One operator of each kind.
fn every_kind() -> JobGraph {
    let mut build = Build::default();
    let left = build.source("t", "nexmark");
    let columns = [("ts", column("ts")), ("k", twice("k")), ("v", column("v"))];
    let right = build.calc(Some(column("w")), &columns, &[left]);
    let mut fields = build.operators[1].output.fields().iter().map(|field| field.as_ref().clone()).collect::<Vec<_>>();
    fields.extend(["window_start", "window_end", "window_time"].map(|name| Field::new(name, time(), false)));
    let assigned: SchemaRef = Arc::new(Schema::new(fields));
    let assign = WindowAssign { column: 0, spec: WindowSpec::Cumulate { size: 9, step: 3, offset: -1 } };
    let assign = build.add(OperatorKind::WindowAssign(assign), assigned.clone(), &[(0, right)]);
    let counts = build.aggregate("k", call("count", "v"), tumble(10), assign);
    let join = WindowJoin {
        left_window: (2, 3),
        right_window: (3, 4),
        left_keys: vec![0],
        right_keys: vec![1],
        filter: Some(column("n")),
    };
    let both = schema(&[("k", DataType::Int64), ("n", DataType::Int64), ("s", time()), ("e", time())]);
    let join = build.add(OperatorKind::WindowJoin(join), both.clone(), &[(0, counts), (1, assign)]);
    let order = vec![SortColumn { column: 1, descending: true, nulls_first: false }];
    let top = WindowTopN { window: (2, 3), partition: vec![0], order: order.clone(), limit: 3, emit_row_number: false };
    let top = build.add(OperatorKind::WindowTopN(top), both.clone(), &[(0, join)]);
    let range = RowRange { offset: 1, limit: Some(5) };
    let sort = build.add(OperatorKind::Sort(Sort { order, range }), both.clone(), &[(0, top)]);
    let limit = build.add(OperatorKind::Limit(RowRange { offset: 0, limit: None }), both.clone(), &[(0, sort)]);
    build.sink("s", limit);
    build.add(OperatorKind::Collect(CollectOperator { query: 7 }), both, &[(0, top)]);
    build.graph()
}

/// Checkpoints and names in stores hold these numbers: they must never change.
#[test]
fn the_rule_is_pinned() {
    let graph = every_kind();
    let identities = Identities::of(&graph);
    let line = |operator: &Operator| format!("{} {}\n", operator.kind.state_form().kind, identities.get(operator.id));
    let lines: String = graph.operators.iter().map(line).collect();
    let lines = format!("{lines}graph {}\n", identities.fingerprint());
    assert_eq!(lines, include_str!("golden.txt"));
}

#[test]
fn a_fingerprint_is_of_operators_and_edges_in_their_places() {
    let graph = every_kind();
    let of = |change: &dyn Fn(&mut JobGraph)| {
        let mut other = graph.clone();
        change(&mut other);
        Identities::of(&other).fingerprint()
    };
    let usual = of(&|_| {});
    assert_eq!(of(&|graph| graph.settings = [("a".to_owned(), "b".to_owned())].into()), usual);
    assert_eq!(of(&|graph| graph.operators[0].name.push('x')), usual);
    assert_ne!(of(&|graph| graph.key_groups = 32), usual);
    assert_ne!(of(&|graph| graph.operators[8].parallelism = Parallelism::Job), usual);
    assert_ne!(of(&|graph| graph.edges[0].distribution = Distribution::Gather), usual);
    let without_filter = |graph: &mut JobGraph| {
        let OperatorKind::Calc(calc) = &mut graph.operators[1].kind else { unreachable!() };
        calc.filter = None;
    };
    assert_ne!(of(&without_filter), usual);
}
