//! Keys that are equal in more than one representation, and results that overflow.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float64Array, Int32Builder, ListArray, MapBuilder, StringBuilder, StructArray, types::Float64Type,
};
use arrow::datatypes::{DataType, Field};
use thalweg_types::{
    ExprBytes, OperatorKind,
    graph::{AggregatePhase, WindowAggregate, WindowColumns, WindowSpec, Windowing},
};

use super::call;
use crate::testing::{CONTEXT, Cluster, MILLIS, batch, column, encode, integers, plan, rows_of, schema, times};

const TUMBLE: WindowSpec = WindowSpec::Tumble { size: 10_000, offset: 0 };
const SESSION: WindowSpec = WindowSpec::Session { gap: 10_000 };

fn aggregate(
    spec: WindowSpec,
    key: &DataType,
    calls: Vec<ExprBytes>,
    results: &[(&str, DataType)],
) -> thalweg_types::Operator {
    let row_schema = schema(&[("ts", MILLIS), ("k", key.clone()), ("v", DataType::Int64)]);
    let kind = WindowAggregate {
        phase: AggregatePhase::Single,
        windowing: Windowing::EventTime { column: 0, spec },
        keys: vec![1],
        aggregates: calls,
        row_schema,
        window_columns: WindowColumns::default(),
    };
    plan(OperatorKind::WindowAggregate(kind), schema(&[&[("k", key.clone())], results].concat()))
}

/// Checks the groups of a column of keys; each row has the value 1.
fn check(keys: ArrayRef, expected: &[&str]) {
    for spec in [TUMBLE, SESSION] {
        let plan =
            aggregate(spec, keys.data_type(), vec![encode(&call("sum", column("v")))], &[("s", DataType::Int64)]);
        let row_schema = schema(&[("ts", MILLIS), ("k", keys.data_type().clone()), ("v", DataType::Int64)]);
        let mut cluster = Cluster::new(plan, vec![row_schema.clone()], vec![vec![1]]);
        cluster.checkpoint(3);
        // Row by row, last one first: a group's key as shown does not depend on the order of arrival.
        for row in (0..keys.len()).rev() {
            let columns = vec![times([Some(1)]), keys.slice(row, 1), integers([Some(1)])];
            cluster.process(0, &batch(&row_schema, columns));
        }
        cluster.checkpoint(2);
        cluster.on_watermark(i64::MAX, None);
        assert_eq!(rows_of(&cluster.output), expected, "{spec:?}");
    }
}

fn floats() -> [Option<f64>; 6] {
    [Some(0.0), Some(-0.0), Some(f64::NAN), Some(-f64::NAN), None, Some(1.0)]
}

#[test]
fn floats_that_are_equal_are_one_key() {
    check(Arc::new(Float64Array::from(floats().to_vec())), &["-|1", "0.0|2", "1.0|1", "NaN|2"]);
}

#[test]
fn floats_within_a_row_or_an_array_are_so_too() {
    let values: ArrayRef = Arc::new(Float64Array::from(floats().to_vec()));
    let row = StructArray::from(vec![(Arc::new(Field::new("d", DataType::Float64, true)), values)]);
    check(Arc::new(row), &["{d: -}|1", "{d: 0.0}|2", "{d: 1.0}|1", "{d: NaN}|2"]);
    let lists = floats().map(|value| Some(vec![value, Some(2.0)]));
    let list = ListArray::from_iter_primitive::<Float64Type, _, _>(lists);
    check(Arc::new(list), &["[-, 2.0]|1", "[0.0, 2.0]|2", "[1.0, 2.0]|1", "[NaN, 2.0]|2"]);
}

#[test]
fn the_order_of_a_maps_entries_tells_no_keys_apart() {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for entries in [vec![("b", Some(2)), ("a", None)], vec![("a", None), ("b", Some(2))], vec![("a", Some(1))]] {
        for (key, value) in entries {
            builder.keys().append_value(key);
            builder.values().append_option(value);
        }
        builder.append(true).expect("as many keys as values");
    }
    check(Arc::new(builder.finish()), &["{a: -, b: 2}|2", "{a: 1}|1"]);
}

#[test]
fn a_sum_that_does_not_fit_names_the_key() {
    for spec in [TUMBLE, SESSION] {
        let calls = vec![encode(&call("sum", column("v")))];
        let plan = aggregate(spec, &DataType::Int64, calls, &[("s", DataType::Int64)]);
        let row_schema = schema(&[("ts", MILLIS), ("k", DataType::Int64), ("v", DataType::Int64)]);
        let mut operator = crate::build(&plan, std::slice::from_ref(&row_schema), &CONTEXT).expect("a legal plan");
        let keys = integers([Some(1), Some(7), Some(7)]);
        let values = integers([Some(5), Some(i64::MAX), Some(1)]);
        let rows = batch(&row_schema, vec![times([Some(1), Some(2), Some(3)]), keys, values]);
        operator.process(0, rows).expect("rows as planned");
        operator.on_watermark(thalweg_types::Watermark(i64::MAX)).expect("a watermark");
        let error = loop {
            match operator.next_output() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the sum does not fit"),
                Err(error) => break thalweg_types::text::with_causes(&error),
            }
        };
        assert!(error.contains("9223372036854775808 does not fit BIGINT (where k = 7)"), "{error}");
    }
}

#[test]
fn distinct_floats_are_counted_by_value() {
    let call = datafusion_functions_aggregate::expr_fn::count_distinct(column("k"));
    let plan = aggregate(TUMBLE, &DataType::Float64, vec![encode(&call)], &[("n", DataType::Int64)]);
    let row_schema = schema(&[("ts", MILLIS), ("k", DataType::Float64), ("v", DataType::Int64)]);
    // By event time alone: the key is counted.
    let OperatorKind::WindowAggregate(mut kind) = plan.kind else { panic!("an aggregate") };
    kind.keys.clear();
    let plan = crate::testing::plan(OperatorKind::WindowAggregate(kind), schema(&[("n", DataType::Int64)]));
    let mut cluster = Cluster::new(plan, vec![row_schema.clone()], vec![vec![]]);
    let keys: ArrayRef = Arc::new(Float64Array::from(floats().to_vec()));
    let rows = vec![times(vec![Some(1); keys.len()]), keys.clone(), integers(vec![Some(1); keys.len()])];
    cluster.process(0, &batch(&row_schema, rows));
    cluster.on_watermark(i64::MAX, None);
    assert_eq!(rows_of(&cluster.output), ["3"]);
}
