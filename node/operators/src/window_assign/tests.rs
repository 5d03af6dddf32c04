//! Every row appears once per window of its time.

use arrow::datatypes::DataType;
use proptest::prelude::*;
use thalweg_types::{
    OperatorKind,
    graph::{WindowAssign, WindowSpec},
};

use crate::testing::{Cluster, MILLIS, batch, integers, plan, rows_of, schema, shown, times};

fn windows(spec: WindowSpec, time: i64) -> Vec<(i64, i64)> {
    let candidates = |size: i64, period: i64, offset: i64| (-40..40i64).map(move |n| (n * period + offset, size));
    let mut found: Vec<(i64, i64)> = match spec {
        WindowSpec::Tumble { size, offset } => candidates(size, size, offset).map(|(s, size)| (s, s + size)).collect(),
        WindowSpec::Hop { size, slide, offset } => {
            candidates(size, slide, offset).map(|(s, size)| (s, s + size)).collect()
        }
        WindowSpec::Cumulate { size, step, offset } => candidates(size, size, offset)
            .flat_map(|(s, size)| (1..=size / step).map(move |n| (s, s + n * step)))
            .collect(),
        WindowSpec::Session { .. } => Vec::new(),
    };
    found.retain(|(start, end)| *start <= time && time < *end);
    found
}

proptest! {
    #[test]
    fn rows_are_repeated_for_their_windows(
        spec in prop_oneof![
            Just(WindowSpec::Tumble { size: 10_000, offset: 3000 }),
            Just(WindowSpec::Hop { size: 12_000, slide: 4000, offset: 0 }),
            Just(WindowSpec::Cumulate { size: 12_000, step: 3000, offset: -1000 }),
        ],
        rows in prop::collection::vec(-50i64..50, 1..20),
        checkpoint in any::<bool>(),
    ) {
        let input = schema(&[("v", DataType::Int64), ("ts", MILLIS)]);
        let output = schema(&[("v", DataType::Int64), ("ts", MILLIS), ("s", MILLIS), ("e", MILLIS), ("t", MILLIS)]);
        let assign = WindowAssign { column: 1, spec };
        let mut cluster = Cluster::new(plan(OperatorKind::WindowAssign(assign), output), vec![input.clone()], vec![vec![]]);
        let columns = vec![integers(rows.iter().map(|v| Some(*v))), times(rows.iter().map(|v| Some(*v)))];
        cluster.process(0, &batch(&input, columns));
        if checkpoint {
            cluster.checkpoint(2);
            cluster.on_watermark(0, None);
        }
        let mut expected: Vec<String> = rows
            .iter()
            .flat_map(|time| windows(spec, time * 1000).into_iter().map(move |(s, e)| {
                format!("{time}|{}|{}|{}|{}", shown(*time), shown(s / 1000), shown(e / 1000), shown(e / 1000 - 1))
            }))
            .collect();
        expected.sort();
        prop_assert_eq!(rows_of(&cluster.output), expected);
    }
}
