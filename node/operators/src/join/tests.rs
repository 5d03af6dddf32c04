//! Window joins against nested loops.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use proptest::prelude::*;
use thalweg_types::{OperatorKind, graph::WindowJoin};

use crate::testing::{
    Cluster, MILLIS, batch, column, encode, integers, late_rows_of, plan, rows_of, schema, shown, shown_or_null, texts,
    times,
};

/// Key, value, and the window's start and length.
type Row = (Option<i64>, i64, i64, i64);

fn side(prefix: &str) -> SchemaRef {
    let name = |column: &str| format!("{prefix}{column}");
    let (key, value, text, start, end) = (name("k"), name("v"), name("t"), name("s"), name("e"));
    schema(&[
        (&key, DataType::Int64),
        (&value, DataType::Int64),
        (&text, DataType::Utf8View),
        (&start, MILLIS),
        (&end, MILLIS),
    ])
}

fn text_of(row: &Row) -> String {
    format!("text of value {}", row.1)
}

fn side_batch(prefix: &str, rows: &[Row]) -> RecordBatch {
    let columns = vec![
        integers(rows.iter().map(|row| row.0)),
        integers(rows.iter().map(|row| Some(row.1))),
        texts(rows.iter().map(|row| Some(text_of(row)))),
        times(rows.iter().map(|row| Some(row.2))),
        times(rows.iter().map(|row| Some(row.2 + row.3))),
    ];
    batch(&side(prefix), columns)
}

fn shown_row(row: &Row) -> String {
    format!("{}|{}|{}|{}|{}", shown_or_null(row.0), row.1, text_of(row), shown(row.2), shown(row.2 + row.3))
}

fn operator(keyed: bool, filtered: bool) -> thalweg_types::Operator {
    let keys = if keyed { vec![0] } else { vec![] };
    let join = WindowJoin {
        left_window: (3, 4),
        right_window: (3, 4),
        left_keys: keys.clone(),
        right_keys: keys,
        filter: filtered.then(|| encode(&column("lv").lt(column("rv")))),
    };
    let fields: Vec<_> = side("l").fields().iter().chain(side("r").fields()).cloned().collect();
    plan(OperatorKind::WindowJoin(join), std::sync::Arc::new(arrow::datatypes::Schema::new(fields)))
}

fn row() -> impl Strategy<Value = Row> {
    (prop::option::weighted(0.9, 0i64..4), 0i64..5, 0i64..4, 1i64..3)
}

/// Rows of both sides, the increase of the watermark, and perhaps a checkpoint in mid-emission.
type Turn = (Vec<Row>, Vec<Row>, i64, Option<(usize, u32)>);

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let rows = || prop::collection::vec(row(), 0..10);
    prop::collection::vec((rows(), rows(), 0i64..3, prop::option::of((0usize..6, 1u32..5))), 1..6)
}

fn check(keyed: bool, filtered: bool, turns: &[Turn]) {
    let keys = if keyed { vec![0] } else { vec![] };
    let mut cluster = Cluster::new(operator(keyed, filtered), vec![side("l"), side("r")], vec![keys.clone(), keys]);
    let (mut left, mut right): (Vec<Row>, Vec<Row>) = (Vec::new(), Vec::new());
    let mut late: Vec<String> = Vec::new();
    let mut watermark = 0;
    for (lefts, rights, by, checkpoint) in turns {
        cluster.process(0, &side_batch("l", lefts));
        cluster.process(1, &side_batch("r", rights));
        for (used, rows) in [(&mut left, lefts), (&mut right, rights)] {
            for row in rows {
                let end = row.2 + row.3;
                if end <= watermark {
                    late.push(format!("[{},{}) {}", row.2 * 1000, end * 1000, shown_row(row)));
                } else {
                    used.push(*row);
                }
            }
        }
        watermark += by;
        cluster.on_watermark(watermark * 1000, checkpoint.filter(|(_, n)| keyed || *n > 0));
        assert_eq!(rows_of(&cluster.output), nested_loops(&left, &right, keyed, filtered, watermark));
    }
    cluster.on_watermark(i64::MAX, Some((2, 1)));
    late.sort();
    assert_eq!(rows_of(&cluster.output), nested_loops(&left, &right, keyed, filtered, i64::MAX));
    assert_eq!(late_rows_of(&cluster.late), late);
    assert_eq!(cluster.state_bytes(), 0, "every window has closed");
}

fn nested_loops(left: &[Row], right: &[Row], keyed: bool, filtered: bool, watermark: i64) -> Vec<String> {
    let mut rows = Vec::new();
    for l in left.iter().filter(|row| row.2 + row.3 <= watermark) {
        for r in right {
            let keys_match = !keyed || (l.0.is_some() && l.0 == r.0);
            if (l.2, l.3) == (r.2, r.3) && keys_match && (!filtered || l.1 < r.1) {
                rows.push(format!("{}|{}", shown_row(l), shown_row(r)));
            }
        }
    }
    rows.sort();
    rows
}

proptest! {
    #[test]
    fn joins_what_nested_loops_join(filtered in any::<bool>(), turns in turns()) {
        check(true, filtered, &turns);
    }

    #[test]
    fn without_keys_joins_all_rows_of_a_window(filtered in any::<bool>(), turns in turns()) {
        check(false, filtered, &turns);
    }
}

/// Rows that arrive one by one over a long window.
#[test]
fn state_has_few_batches_of_many_small_ones() {
    let mut cluster = Cluster::new(operator(true, false), vec![side("l"), side("r")], vec![vec![0], vec![0]]);
    for value in 0..500 {
        cluster.process(0, &side_batch("l", &[(Some(value % 4), value, 0, 1)]));
    }
    let frozen = cluster.frozen("left-0");
    assert!(frozen.len() < 40, "{} batches", frozen.len());
    assert_eq!(frozen.iter().map(|batch| batch.rows.num_rows()).sum::<usize>(), 500);
}

#[test]
fn keys_of_different_types_are_refused() {
    let mut plan = operator(true, false);
    if let OperatorKind::WindowJoin(join) = &mut plan.kind {
        join.right_keys = vec![2];
    }
    crate::build(&plan, &[side("l"), side("r")], &crate::testing::CONTEXT).expect_err("a number and a text");
}

#[test]
fn pairs_that_the_condition_cannot_judge_are_set_aside_by_the_chunk() {
    let mut plan = operator(false, false);
    if let OperatorKind::WindowJoin(join) = &mut plan.kind {
        join.filter = Some(encode(&(column("lv") / column("rv")).gt(datafusion_expr::lit(0i64))));
    }
    let mut join = crate::build(&plan, &[side("l"), side("r")], &crate::testing::CONTEXT).expect("a legal plan");
    let left: Vec<Row> = (1..=4).map(|value| (Some(1), value, 0, 1000)).collect();
    join.process(0, side_batch("l", &left)).expect("rows as planned");
    join.process(1, side_batch("r", &[(Some(1), 0, 0, 1000), (Some(1), 2, 0, 1000)])).expect("rows as planned");
    join.on_watermark(thalweg_types::Watermark::MAX).expect("a watermark");
    let (mut passed, mut failed) = (0, 0);
    while let Some(chunk) = join.next_output().expect("each fault is a row's") {
        passed += chunk.num_rows();
        let taken: usize = join.take_failed().iter().map(|failed| failed.faults.len()).sum();
        assert!(taken <= crate::testing::CONTEXT.batch_rows, "no more than a chunk waits");
        failed += taken;
    }
    failed += join.take_failed().iter().map(|failed| failed.faults.len()).sum::<usize>();
    assert_eq!((passed, failed), (3, 4), "2/2, 3/2 and 4/2 are above 0");
}
