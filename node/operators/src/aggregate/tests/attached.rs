//! Windows given by columns of the input.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_expr::lit;
use datafusion_functions_aggregate::expr_fn::{count, sum};
use proptest::prelude::*;
use thalweg_types::{
    OperatorKind,
    graph::{AggregatePhase, WindowAggregate, WindowColumns, Windowing},
};

use crate::testing::{
    Cluster, MILLIS, batch, column, encode, integers, late_rows_of, plan, rows_of, schema, shown, times,
};

fn input() -> SchemaRef {
    schema(&[("k", DataType::Int64), ("v", DataType::Int64), ("s", MILLIS), ("e", MILLIS)])
}

fn operator() -> thalweg_types::Operator {
    let aggregate = WindowAggregate {
        phase: AggregatePhase::Single,
        windowing: Windowing::Attached { start: 2, end: 3 },
        keys: vec![0],
        aggregates: vec![encode(&count(lit(1i64))), encode(&sum(column("v")))],
        row_schema: input(),
        window_columns: WindowColumns { start: true, end: true, time: false },
    };
    let output =
        [("k", DataType::Int64), ("c", DataType::Int64), ("t", DataType::Int64), ("ws", MILLIS), ("we", MILLIS)];
    plan(OperatorKind::WindowAggregate(aggregate), schema(&output))
}

proptest! {
    #[test]
    fn groups_are_those_of_window_and_key(
        batches in prop::collection::vec(prop::collection::vec((0i64..4, -5i64..5, 0i64..4, 1i64..4), 1..12), 1..8),
        parallelism in 1u32..5,
    ) {
        let mut cluster = Cluster::new(operator(), vec![input()], vec![vec![0]]);
        let mut groups: BTreeMap<(i64, i64, i64), (i64, i64)> = BTreeMap::new();
        let (mut watermark, mut late) = (0, Vec::new());
        for rows in &batches {
            let columns = vec![
                integers(rows.iter().map(|row| Some(row.0))),
                integers(rows.iter().map(|row| Some(row.1))),
                times(rows.iter().map(|row| Some(row.2))),
                times(rows.iter().map(|row| Some(row.2 + row.3))),
            ];
            cluster.process(0, &batch(&input(), columns));
            for (key, value, start, length) in rows {
                let end = start + length;
                if end <= watermark {
                    late.push(format!("[{},{}) {key}|{value}|{}|{}", start * 1000, end * 1000, shown(*start), shown(end)));
                } else {
                    let group = groups.entry((*start, end, *key)).or_default();
                    *group = (group.0 + 1, group.1 + value);
                }
            }
            watermark += 1;
            cluster.on_watermark(watermark * 1000, Some((1, parallelism)));
        }
        cluster.on_watermark(i64::MAX, None);
        let mut expected: Vec<String> = groups
            .iter()
            .map(|((start, end, key), (count, sum))| format!("{key}|{count}|{sum}|{}|{}", shown(*start), shown(*end)))
            .collect();
        expected.sort();
        late.sort();
        prop_assert_eq!(rows_of(&cluster.output), expected);
        prop_assert_eq!(late_rows_of(&cluster.late), late);
    }
}
