//! Top-N against sorting everything.

use std::{cmp::Ordering, collections::BTreeMap};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use proptest::prelude::*;
use thalweg_types::{
    OperatorKind,
    graph::{SortColumn, WindowTopN},
};

use crate::testing::{
    Cluster, MILLIS, batch, integers, late_rows_of, plan, rows_of, schema, shown, shown_or_null, texts, times,
};

/// Partition, order, text, and the window's start.
type Row = (Option<i64>, Option<i64>, String, i64);

const SIZE: i64 = 2;

fn input() -> SchemaRef {
    schema(&[("p", DataType::Int64), ("o", DataType::Int64), ("t", DataType::Utf8View), ("s", MILLIS), ("e", MILLIS)])
}

fn input_batch(rows: &[Row]) -> RecordBatch {
    let columns = vec![
        integers(rows.iter().map(|row| row.0)),
        integers(rows.iter().map(|row| row.1)),
        texts(rows.iter().map(|row| Some(row.2.clone()))),
        times(rows.iter().map(|row| Some(row.3))),
        times(rows.iter().map(|row| Some(row.3 + SIZE))),
    ];
    batch(&input(), columns)
}

fn shown_row(row: &Row) -> String {
    format!("{}|{}|{}|{}|{}", shown_or_null(row.0), shown_or_null(row.1), row.2, shown(row.3), shown(row.3 + SIZE))
}

fn operator(order: SortColumn, partitioned: bool, limit: u64) -> thalweg_types::Operator {
    let partition = if partitioned { vec![0] } else { vec![] };
    let top_n = WindowTopN { window: (3, 4), partition, order: vec![order], limit, emit_row_number: true };
    let mut fields: Vec<_> = input().fields().iter().cloned().collect();
    fields.push(std::sync::Arc::new(arrow::datatypes::Field::new("n", DataType::UInt64, true)));
    plan(OperatorKind::WindowTopN(top_n), std::sync::Arc::new(arrow::datatypes::Schema::new(fields)))
}

fn nulls_last<T: Ord>(a: Option<T>, b: Option<T>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.cmp(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

fn compare(a: &Row, b: &Row, order: SortColumn) -> Ordering {
    let by_order = match (a.1, b.1) {
        (Some(a), Some(b)) if order.descending => b.cmp(&a),
        (Some(a), Some(b)) => a.cmp(&b),
        (a, b) if order.nulls_first => a.is_some().cmp(&b.is_some()),
        (a, b) => b.is_some().cmp(&a.is_some()),
    };
    by_order.then_with(|| nulls_last(a.0, b.0)).then_with(|| nulls_last(a.1, b.1)).then_with(|| a.2.cmp(&b.2))
}

fn first_rows(used: &[Row], order: SortColumn, partitioned: bool, limit: u64, watermark: i64) -> Vec<String> {
    let mut groups: BTreeMap<(i64, Option<i64>), Vec<&Row>> = BTreeMap::new();
    for row in used.iter().filter(|row| row.3 + SIZE <= watermark) {
        groups.entry((row.3, row.0.filter(|_| partitioned))).or_default().push(row);
    }
    let mut output = Vec::new();
    for rows in groups.values_mut() {
        rows.sort_by(|a, b| compare(a, b, order));
        output.extend(rows.iter().zip(1..=limit).map(|(row, rank)| format!("{}|{rank}", shown_row(row))));
    }
    output.sort();
    output
}

fn row() -> impl Strategy<Value = Row> {
    let text = prop_oneof![Just("a"), Just("a text of some length"), Just("b")];
    (prop::option::weighted(0.9, 0i64..3), prop::option::weighted(0.8, 0i64..4), text, 0i64..4)
        .prop_map(|(partition, order, text, start)| (partition, order, text.to_owned(), start))
}

proptest! {
    #[test]
    fn keeps_what_sorting_everything_keeps(
        turns in prop::collection::vec((prop::collection::vec(row(), 1..20), 0i64..3, prop::option::of((0usize..3, 1u32..5))), 1..6),
        descending in any::<bool>(),
        nulls_first in any::<bool>(),
        partitioned in any::<bool>(),
        limit in 1u64..4,
    ) {
        let order = SortColumn { column: 1, descending, nulls_first };
        let keys = if partitioned { vec![0] } else { vec![] };
        let mut cluster = Cluster::new(operator(order, partitioned, limit), vec![input()], vec![keys]);
        let (mut used, mut late): (Vec<Row>, Vec<String>) = (Vec::new(), Vec::new());
        let mut watermark = 0;
        for (rows, by, checkpoint) in &turns {
            cluster.process(0, &input_batch(rows));
            for row in rows {
                if row.3 + SIZE <= watermark {
                    late.push(format!("[{},{}) {}", row.3 * 1000, (row.3 + SIZE) * 1000, shown_row(row)));
                } else {
                    used.push(row.clone());
                }
            }
            watermark += by;
            cluster.on_watermark(watermark * 1000, *checkpoint);
            prop_assert_eq!(rows_of(&cluster.output), first_rows(&used, order, partitioned, limit, watermark));
        }
        cluster.on_watermark(i64::MAX, Some((1, 2)));
        late.sort();
        prop_assert_eq!(rows_of(&cluster.output), first_rows(&used, order, partitioned, limit, i64::MAX));
        prop_assert_eq!(late_rows_of(&cluster.late), late);
        prop_assert_eq!(cluster.state_bytes(), 0);
    }
}
