//! Windowed aggregation against a reference that keeps every row.

mod attached;
mod numbers;
mod sessions;
mod two_phase;
mod windows;

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_expr::{Expr, ExprFunctionExt, lit};
use datafusion_functions_aggregate::expr_fn::{count, count_distinct, max, min};
use proptest::prelude::*;
use thalweg_types::{
    ExprBytes, OperatorKind,
    graph::{AggregatePhase, WindowAggregate, WindowColumns, WindowSpec, Windowing},
};

use crate::testing::{MILLIS, batch, column, encode, integers, plan, schema, shown, shown_or_null, texts, times};

/// A row: milliseconds, key, value, name.
pub(super) type Row = (i64, Option<i64>, Option<i64>, String);

/// An event that an operator is given.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Rows(Vec<Row>),
    /// Advances the watermark by this many milliseconds. Then perhaps a checkpoint in mid-emission: chunks taken before
    /// it, and instances after it.
    Watermark(i64, Option<(usize, u32)>),
    Checkpoint(u32),
}

pub(super) fn row() -> impl Strategy<Value = Row> {
    let name = prop_oneof![Just("short"), Just("rather longer than inline"), Just("another name of some length")];
    (-30i64..60, prop::option::weighted(0.9, 0i64..4), prop::option::weighted(0.8, -5i64..5), name)
        .prop_map(|(time, key, value, name)| (time, key, value, name.to_owned()))
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::collection::vec(row(), 1..12).prop_map(Step::Rows),
        3 => (1i64..20, prop::option::of((0usize..3, 1u32..5))).prop_map(|(by, at)| Step::Watermark(by, at)),
        1 => (1u32..5).prop_map(Step::Checkpoint),
    ];
    prop::collection::vec(step, 1..14)
}

pub(super) fn row_schema() -> SchemaRef {
    schema(&[("ts", MILLIS), ("k", DataType::Int64), ("v", DataType::Int64), ("n", DataType::Utf8View)])
}

pub(super) fn row_batch(rows: &[Row]) -> RecordBatch {
    let columns = vec![
        times(rows.iter().map(|row| Some(row.0))),
        integers(rows.iter().map(|row| row.1)),
        integers(rows.iter().map(|row| row.2)),
        texts(rows.iter().map(|row| Some(row.3.clone()))),
    ];
    batch(&row_schema(), columns)
}

/// A call of the function that a query calls by this name.
pub(super) fn call(name: &str, argument: Expr) -> Expr {
    let functions = thalweg_functions::aggregate::functions();
    let function = functions.into_iter().find(|(known, _)| *known == name);
    function.expect("a function of our own").1.call(vec![argument])
}

/// Calls with plain, filtered, distinct, variable-width and adapted accumulators.
pub(super) fn calls() -> Vec<ExprBytes> {
    let filtered: Expr = max(column("v")).filter(column("v").lt(lit(3i64))).build().expect("a legal call");
    [count(lit(1i64)), call("sum", column("v")), filtered, min(column("n")), count_distinct(column("n"))]
        .iter()
        .map(encode)
        .collect()
}

pub(super) const RESULTS: [(&str, DataType); 5] = [
    ("c", DataType::Int64),
    ("s", DataType::Int64),
    ("m", DataType::Int64),
    ("l", DataType::Utf8View),
    ("d", DataType::Int64),
];

/// The expected results of `calls` over rows, as text.
pub(super) fn results(rows: &[&Row]) -> String {
    let values = || rows.iter().filter_map(|row| row.2);
    let sum = values().next().is_some().then(|| values().sum::<i64>());
    let max = values().filter(|value| *value < 3).max();
    let least = rows.iter().map(|row| &row.3).min();
    let distinct = rows.iter().map(|row| &row.3).collect::<BTreeSet<_>>().len();
    format!("{}|{}|{}|{}|{distinct}", rows.len(), shown_or_null(sum), shown_or_null(max), shown_or_null(least))
}

pub(super) fn output_schema(keys: &[(&str, DataType)]) -> SchemaRef {
    let windows = [("window_start", MILLIS), ("window_end", MILLIS), ("window_time", MILLIS)];
    schema(&[keys, &RESULTS, &windows].concat())
}

/// An expected row of output; the window is in milliseconds.
pub(super) fn output_row(key: Option<Option<i64>>, rows: &[&Row], window: (i64, i64)) -> String {
    let key = key.map_or_else(String::new, |key| format!("{}|", shown_or_null(key)));
    let (start, end, time) = (shown(window.0), shown(window.1), shown(window.1 - 1));
    format!("{key}{}|{start}|{end}|{time}", results(rows))
}

pub(super) fn row_text(row: &Row) -> String {
    format!("{}|{}|{}|{}", shown(row.0), shown_or_null(row.1), shown_or_null(row.2), row.3)
}

pub(super) fn aggregate(phase: AggregatePhase, windowing: Windowing, keys: Vec<usize>) -> WindowAggregate {
    let window_columns = WindowColumns { start: true, end: true, time: true };
    WindowAggregate { phase, windowing, keys, aggregates: calls(), row_schema: row_schema(), window_columns }
}

pub(super) fn single(spec: WindowSpec) -> thalweg_types::Operator {
    let windowing = Windowing::EventTime { column: 0, spec };
    let aggregate = aggregate(AggregatePhase::Single, windowing, vec![1]);
    plan(OperatorKind::WindowAggregate(aggregate), output_schema(&[("k", DataType::Int64)]))
}

/// The windows of a time, in milliseconds, computed from their definition.
pub(super) fn windows_of(spec: WindowSpec, time: i64) -> Vec<(i64, i64)> {
    let starts = |period: i64, offset: i64| (-60..120i64).map(move |n| n * period + offset);
    let all: Vec<(i64, i64)> = match spec {
        WindowSpec::Tumble { size, offset } => starts(size, offset).map(|start| (start, start + size)).collect(),
        WindowSpec::Hop { size, slide, offset } => starts(slide, offset).map(|start| (start, start + size)).collect(),
        WindowSpec::Cumulate { size, step, offset } => {
            starts(size, offset).flat_map(|start| (1..=size / step).map(move |n| (start, start + n * step))).collect()
        }
        WindowSpec::Session { .. } => Vec::new(),
    };
    let contains = |(start, end): &(i64, i64)| *start <= time * 1000 && time * 1000 < *end;
    all.into_iter().filter(contains).map(|(start, end)| (start / 1000, end / 1000)).collect()
}

pub(super) fn specs() -> impl Strategy<Value = WindowSpec> {
    prop_oneof![
        Just(WindowSpec::Tumble { size: 10_000, offset: 0 }),
        Just(WindowSpec::Tumble { size: 7000, offset: -3000 }),
        Just(WindowSpec::Hop { size: 15_000, slide: 5000, offset: 2000 }),
        Just(WindowSpec::Hop { size: 8000, slide: 8000, offset: 0 }),
        Just(WindowSpec::Cumulate { size: 20_000, step: 5000, offset: 0 }),
    ]
}
