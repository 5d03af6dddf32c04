//! Tumbling, hopping and cumulating windows in one phase.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use proptest::prelude::*;
use thalweg_types::{
    OperatorKind, Watermark,
    graph::{AggregatePhase, WindowSpec, Windowing},
};

use super::{
    Row, Step, aggregate, output_row, output_schema, row_batch, row_schema, row_text, single, specs, steps, windows_of,
};
use crate::testing::{Cluster, late_rows_of, plan, rows_of};

/// Keeps every row, and follows the definitions of windows and lateness.
#[derive(Default)]
struct Reference {
    watermark: Option<i64>,
    used: BTreeMap<(i64, i64, Option<i64>), Vec<Row>>,
    late: Vec<String>,
}

impl Reference {
    fn on_rows(&mut self, spec: WindowSpec, rows: &[Row]) {
        for row in rows {
            for (start, end) in windows_of(spec, row.0) {
                if self.watermark.is_some_and(|watermark| end <= watermark) {
                    self.late.push(format!("[{},{}) {}", start * 1000, end * 1000, row_text(row)));
                } else {
                    self.used.entry((end, start, row.1)).or_default().push(row.clone());
                }
            }
        }
    }

    fn output(&self) -> Vec<String> {
        let fired = self.used.iter().filter(|((end, ..), _)| self.watermark.is_some_and(|watermark| *end <= watermark));
        let mut rows: Vec<String> = fired
            .map(|((end, start, key), rows)| output_row(Some(*key), &rows.iter().collect::<Vec<_>>(), (*start, *end)))
            .collect();
        rows.sort();
        rows
    }

    fn late(&self) -> Vec<String> {
        let mut late = self.late.clone();
        late.sort();
        late
    }
}

fn check(spec: WindowSpec, steps: &[Step]) {
    let mut cluster = Cluster::new(single(spec), vec![row_schema()], vec![vec![1]]);
    let mut reference = Reference::default();
    for step in steps {
        match step {
            Step::Rows(rows) => {
                cluster.process(0, &row_batch(rows));
                reference.on_rows(spec, rows);
            }
            Step::Watermark(by, checkpoint) => {
                let watermark = reference.watermark.unwrap_or(-40) + by;
                reference.watermark = Some(watermark);
                cluster.on_watermark(watermark * 1000, *checkpoint);
            }
            Step::Checkpoint(parallelism) => cluster.checkpoint(*parallelism),
        }
        assert_eq!(rows_of(&cluster.output), reference.output());
        assert_eq!(late_rows_of(&cluster.late), reference.late());
    }
    cluster.on_watermark(i64::MAX, None);
    reference.watermark = Some(i64::MAX);
    assert_eq!(rows_of(&cluster.output), reference.output());
    assert_eq!(cluster.state_bytes(), 0, "every window has fired");
}

proptest! {
    #[test]
    fn output_and_lateness_are_those_of_the_definition(spec in specs(), steps in steps()) {
        check(spec, &steps);
    }

    #[test]
    fn the_split_into_batches_does_not_matter(spec in specs(), rows in prop::collection::vec(super::row(), 1..40), cut in 1usize..40) {
        check(spec, &[Step::Rows(rows.clone()), Step::Watermark(50, None)]);
        let steps: Vec<Step> = rows.chunks(cut).map(|rows| Step::Rows(rows.to_vec())).collect();
        check(spec, &steps);
    }
}

/// A freeze while partials are being merged holds the whole state once, and partials do not pile up.
#[test]
fn partials_stay_few_although_no_freeze_waits_for_a_merge() {
    let spec = WindowSpec::Tumble { size: 1_000_000, offset: 0 };
    let build = || crate::build(&single(spec), &[row_schema()], &crate::testing::CONTEXT).expect("a legal plan");
    let finish = |mut operator: Box<dyn crate::Operator>| {
        operator.on_watermark(Watermark(i64::MAX)).expect("no function fails");
        let output = std::iter::from_fn(|| operator.next_output().expect("no function fails"));
        rows_of(&output.collect::<Vec<_>>())
    };
    let mut reference = Reference { watermark: Some(i64::MAX), ..Reference::default() };
    let mut operator = build();
    let owned: Vec<thalweg_types::KeyGroup> = (0..crate::testing::KEY_GROUPS).map(thalweg_types::KeyGroup).collect();
    for round in 0..60 {
        let keys = if round == 0 { 0..40 } else { round * 7 % 40..round * 7 % 40 + 3 };
        let rows: Vec<Row> = keys.map(|key| (round, Some(key), Some(round), "name".to_owned())).collect();
        operator.process(0, row_batch(&rows)).expect("rows as planned");
        reference.watermark = None;
        reference.on_rows(spec, &rows);
        reference.watermark = Some(i64::MAX);
        let frozen = operator.freeze().expect("a freeze");
        assert!(frozen.table("panes").len() <= 11, "{} partials", frozen.table("panes").len());
        let mut restored = build();
        restored.restore(&[frozen], &owned).expect("its own state");
        assert_eq!(finish(restored), reference.output(), "after round {round}");
    }
    assert_eq!(finish(operator), reference.output());
}

/// A day in steps of a millisecond: 86.4 million windows per row, of which only the next is held.
#[test]
fn windows_to_come_take_no_memory() {
    let spec = WindowSpec::Hop { size: 86_400_000_000, slide: 1000, offset: 0 };
    let mut operator = crate::build(&single(spec), &[row_schema()], &crate::testing::CONTEXT).expect("a legal plan");
    let rows =
        |from: i64| (from..from + 3).map(|time| (time, Some(time), Some(1), "name".to_owned())).collect::<Vec<Row>>();
    operator.process(0, row_batch(&rows(0))).expect("rows as planned");
    let held = operator.state_bytes();
    assert!(held < 100_000, "three rows hold {held} bytes");
    let mut ends = [0; 4];
    for (rows, watermark) in ends.iter_mut().zip(1..) {
        operator.on_watermark(Watermark(watermark * 1000)).expect("no function fails");
        while let Some(batch) = operator.next_output().expect("no function fails") {
            *rows += batch.num_rows();
        }
    }
    // A row at 0 ms is in the window that ends at 1 ms, one at 1 ms in the next, and all are in those that follow.
    assert_eq!(ends, [1, 2, 3, 3]);
}

/// Identified by slice end plus missed windows, the late row's pane would collide with that of the other row's slice.
#[test]
fn late_rows_of_windows_with_more_slides_than_a_slide_has_microseconds_keep_to_themselves() {
    let spec = WindowSpec::Hop { size: 3000, slide: 1, offset: 0 };
    let mut operator = crate::build(&single(spec), &[row_schema()], &crate::testing::CONTEXT).expect("a legal plan");
    operator.on_watermark(Watermark(1000)).expect("no function fails");
    let rows: Vec<Row> = (0..2).map(|time| (time, Some(time), Some(1), "name".to_owned())).collect();
    operator.process(0, row_batch(&rows)).expect("rows as planned");
    assert_eq!(operator.take_late().len(), 1000, "the row of 0 ms has missed the windows that end until 1000 us");
    operator.on_watermark(Watermark(3001)).expect("no function fails");
    let mut results = 0;
    while let Some(batch) = operator.next_output().expect("no function fails") {
        results += batch.num_rows();
    }
    // The row at 0 ms is in the windows that end from 1001 to 3000, the other one also in the next.
    assert_eq!(results, 2000 + 2001);
}

#[test]
fn rows_without_key_are_one_group() {
    let windowing = Windowing::EventTime { column: 0, spec: WindowSpec::Tumble { size: 10_000, offset: 0 } };
    let aggregate = aggregate(AggregatePhase::Single, windowing, vec![]);
    let plan = plan(OperatorKind::WindowAggregate(aggregate), output_schema(&[]));
    let mut cluster = Cluster::new(plan, vec![row_schema()], vec![vec![]]);
    let rows: Vec<Row> = (0..5).map(|n| (n * 4, Some(n), Some(n), "name".to_owned())).collect();
    cluster.process(0, &row_batch(&rows));
    cluster.checkpoint(2);
    cluster.on_watermark(i64::MAX, None);
    let mut expected: Vec<String> = [(0, 10), (10, 20)]
        .into_iter()
        .map(|window| {
            let inside: Vec<&Row> = rows.iter().filter(|row| window.0 <= row.0 && row.0 < window.1).collect();
            output_row(None, &inside, window)
        })
        .collect();
    expected.sort();
    assert_eq!(rows_of(&cluster.output), expected);
}

#[test]
fn a_key_of_several_columns_groups_by_all() {
    let windowing = Windowing::EventTime { column: 0, spec: WindowSpec::Tumble { size: 10_000, offset: 0 } };
    let aggregate = aggregate(AggregatePhase::Single, windowing, vec![3, 1]);
    let keys = [("n", DataType::Utf8View), ("k", DataType::Int64)];
    let plan = plan(OperatorKind::WindowAggregate(aggregate), output_schema(&keys));
    let mut cluster = Cluster::new(plan, vec![row_schema()], vec![vec![3, 1]]);
    let row = |key: Option<i64>, name: &str| -> Row { (1, key, None, name.to_owned()) };
    cluster.process(0, &row_batch(&[row(Some(1), "a name of some length"), row(None, "b")]));
    cluster.checkpoint(3);
    cluster.process(0, &row_batch(&[row(None, "b"), row(Some(2), "b")]));
    cluster.on_watermark(10_000, Some((1, 2)));
    let counts: Vec<String> =
        rows_of(&cluster.output).iter().map(|row| row.split('|').take(3).collect::<Vec<_>>().join("|")).collect();
    assert_eq!(counts, ["a name of some length|1|1", "b|-|2", "b|2|1"]);
}

#[test]
fn null_event_times_are_refused() {
    let mut operator = crate::build(
        &single(WindowSpec::Tumble { size: 10_000, offset: 0 }),
        &[row_schema()],
        &crate::testing::CONTEXT,
    )
    .expect("a legal plan");
    let mut columns = row_batch(&[(1, None, None, String::new())]).columns().to_vec();
    columns[0] = crate::testing::times([None]);
    operator.process(0, crate::testing::batch(&row_schema(), columns)).expect("it is a row's fault");
    let failed = operator.take_failed();
    assert!(failed[0].faults[0].reason.contains("NULL"), "{failed:?}");
}
