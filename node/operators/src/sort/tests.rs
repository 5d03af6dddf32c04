//! Sorting in chunks against sorting everything.

use std::cmp::Ordering;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use proptest::prelude::*;
use thalweg_types::{
    OperatorKind, Watermark,
    graph::{RowRange, Sort, SortColumn},
};

use crate::build;
use crate::testing::{CONTEXT, Cluster, batch, integers, plan, schema, shown_or_null, text, texts};

/// Order, text.
type Row = (Option<i64>, String);

fn input() -> SchemaRef {
    schema(&[("o", DataType::Int64), ("t", DataType::Utf8View)])
}

fn input_batch(rows: &[Row]) -> RecordBatch {
    batch(&input(), vec![integers(rows.iter().map(|row| row.0)), texts(rows.iter().map(|row| Some(row.1.clone())))])
}

fn operator(order: SortColumn, range: RowRange) -> thalweg_types::Operator {
    plan(OperatorKind::Sort(Sort { order: vec![order], range }), input())
}

fn compare(a: &Row, b: &Row, order: SortColumn) -> Ordering {
    let by_order = match (a.0, b.0) {
        (Some(a), Some(b)) if order.descending => b.cmp(&a),
        (Some(a), Some(b)) => a.cmp(&b),
        (a, b) if order.nulls_first => a.is_some().cmp(&b.is_some()),
        (a, b) => b.is_some().cmp(&a.is_some()),
    };
    by_order.then_with(|| a.1.cmp(&b.1))
}

fn expected(mut rows: Vec<Row>, order: SortColumn, range: RowRange) -> Vec<String> {
    rows.sort_by(|a, b| compare(a, b, order));
    let limit = range.limit.map_or(usize::MAX, |limit| limit as usize);
    let shown = |row: Row| format!("{}|{}", shown_or_null(row.0), row.1);
    rows.into_iter().skip(range.offset as usize).take(limit).map(shown).collect()
}

/// The rows in the order in which they were returned.
fn in_turn(batches: &[RecordBatch]) -> Vec<String> {
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| text(batch, row))).collect()
}

fn row() -> impl Strategy<Value = Row> {
    let text = prop_oneof![Just("a"), Just("a text of some length"), Just("b")];
    (prop::option::weighted(0.8, 0i64..4), text).prop_map(|(order, text)| (order, text.to_owned()))
}

proptest! {
    #[test]
    fn gives_what_sorting_everything_gives(
        turns in prop::collection::vec((prop::collection::vec(row(), 1..30), any::<bool>()), 0..6),
        chunks in 0usize..4,
        descending in any::<bool>(),
        nulls_first in any::<bool>(),
        offset in 0u64..5,
        limit in prop::option::of(0u64..9),
    ) {
        let order = SortColumn { column: 0, descending, nulls_first };
        let range = RowRange { offset, limit };
        let mut cluster = Cluster::new(operator(order, range), vec![input()], vec![vec![]]);
        let mut all = Vec::new();
        for (rows, checkpoint) in &turns {
            cluster.process(0, &input_batch(rows));
            all.extend(rows.iter().cloned());
            if *checkpoint {
                cluster.checkpoint(1);
            }
            cluster.on_watermark(1000, None);
            prop_assert!(cluster.output.is_empty(), "nothing is given before the end");
        }
        // An operator restored from a checkpoint in mid-emission is told of the end again.
        cluster.on_watermark(i64::MAX, Some((chunks, 1)));
        cluster.on_watermark(i64::MAX, None);
        prop_assert_eq!(in_turn(&cluster.output), expected(all, order, range));
        prop_assert_eq!(cluster.frozen(super::ROWS).len(), 0);
    }
}

#[test]
fn what_is_not_wanted_is_not_kept() {
    let order = SortColumn { column: 0, descending: true, nulls_first: false };
    let range = RowRange { offset: 1, limit: Some(2) };
    let mut sort = build(&operator(order, range), &[input()], &CONTEXT).unwrap();
    let mut most = 0;
    for number in 0..2000 {
        sort.process(0, input_batch(&[(Some(number), "some text that is not short".to_owned())])).unwrap();
        most = most.max(sort.state_bytes());
    }
    assert!(most < 4000, "{most} bytes for three rows");
    sort.on_watermark(Watermark::MAX).unwrap();
    let first = sort.next_output().unwrap().unwrap();
    assert_eq!(in_turn(&[first]), ["1998|some text that is not short", "1997|some text that is not short"]);
}

#[test]
fn a_snapshot_while_rows_are_given_has_the_batches_of_the_one_before() {
    let order = SortColumn { column: 0, descending: false, nulls_first: false };
    let mut sort = build(&operator(order, RowRange::default()), &[input()], &CONTEXT).unwrap();
    sort.process(0, input_batch(&[(Some(3), "c".to_owned()), (Some(1), "a".to_owned())])).unwrap();
    sort.process(0, input_batch(&[(Some(2), "b".to_owned())])).unwrap();
    let before = sort.freeze().unwrap();
    sort.on_watermark(Watermark::MAX).unwrap();
    assert_eq!(in_turn(&[sort.next_output().unwrap().unwrap()]), ["1|a", "2|b"]);
    let after = sort.freeze().unwrap();
    let (before, given) = (before.table(super::ROWS), after.values[super::GIVEN]);
    assert!(before.iter().zip(after.table(super::ROWS)).all(|(one, other)| one.is_same(other)));
    assert_eq!((before.len(), given), (2, 2));
}
