//! Sessions against a reference that keeps every used row.

use std::collections::BTreeMap;

use proptest::prelude::*;
use thalweg_types::{Watermark, graph::WindowSpec};

use super::{Row, Step, output_row, row_batch, row_schema, row_text, single, steps};
use crate::testing::{Cluster, late_rows_of, rows_of};

const GAP: i64 = 8;
const DELAY: i64 = 10;

#[derive(Default)]
struct Reference {
    watermark: Option<i64>,
    used: BTreeMap<Option<i64>, Vec<Row>>,
    late: Vec<String>,
}

impl Reference {
    /// A key's sessions over all used rows: bounds and rows.
    fn sessions(&self, key: Option<i64>) -> Vec<((i64, i64), Vec<&Row>)> {
        let mut rows: Vec<&Row> = self.used.get(&key).into_iter().flatten().collect();
        rows.sort();
        let mut sessions: Vec<((i64, i64), Vec<&Row>)> = Vec::new();
        for row in rows {
            match sessions.last_mut() {
                Some((bounds, rows)) if row.0 <= bounds.1 => {
                    bounds.1 = row.0 + GAP;
                    rows.push(row);
                }
                _ => sessions.push(((row.0, row.0 + GAP), vec![row])),
            }
        }
        sessions
    }

    fn refused_by(&self, row: &Row) -> Option<(i64, i64)> {
        let watermark = self.watermark?;
        let own = (row.0, row.0 + GAP);
        if own.1 < watermark {
            return Some(own);
        }
        let closed = self.sessions(row.1).into_iter().map(|(bounds, _)| bounds).filter(|bounds| bounds.1 < watermark);
        closed.rev().find(|bounds| bounds.0 <= own.1 && own.0 <= bounds.1)
    }

    fn on_rows(&mut self, rows: &[Row]) {
        // Lateness first: it does not depend on the rest of the batch.
        let refusals: Vec<_> = rows.iter().map(|row| self.refused_by(row)).collect();
        for (row, refusal) in rows.iter().zip(refusals) {
            match refusal {
                Some((start, end)) => self.late.push(format!("[{},{}) {}", start * 1000, end * 1000, row_text(row))),
                None => self.used.entry(row.1).or_default().push(row.clone()),
            }
        }
    }

    fn output(&self) -> Vec<String> {
        let fired = |bounds: &(i64, i64)| self.watermark.is_some_and(|watermark| bounds.1 < watermark);
        let of_key = |key: &Option<i64>| {
            let sessions = self.sessions(*key).into_iter().filter(|(bounds, _)| fired(bounds));
            sessions.map(|(bounds, rows)| output_row(Some(*key), &rows, bounds)).collect::<Vec<_>>()
        };
        let mut rows: Vec<String> = self.used.keys().flat_map(of_key).collect();
        rows.sort();
        rows
    }

    fn late(&self) -> Vec<String> {
        let mut late = self.late.clone();
        late.sort();
        late
    }
}

fn check(steps: &[Step]) {
    let mut cluster = Cluster::new(single(WindowSpec::Session { gap: GAP * 1000 }), vec![row_schema()], vec![vec![1]]);
    let mut reference = Reference::default();
    for step in steps {
        match step {
            Step::Rows(rows) => {
                cluster.process(0, &row_batch(rows));
                reference.on_rows(rows);
            }
            Step::Watermark(by, checkpoint) => {
                let watermark = reference.watermark.unwrap_or(-40) + by;
                reference.watermark = Some(watermark);
                cluster.on_watermark(watermark * 1000, *checkpoint);
            }
            Step::Checkpoint(parallelism) => cluster.checkpoint(*parallelism),
        }
        // Later records never contradict a result that has fired: the output is always the batch result over the used
        // rows.
        assert_eq!(rows_of(&cluster.output), reference.output());
        assert_eq!(late_rows_of(&cluster.late), reference.late());
    }
    cluster.on_watermark(i64::MAX, None);
    reference.watermark = Some(i64::MAX);
    assert_eq!(rows_of(&cluster.output), reference.output());
}

proptest! {
    #[test]
    fn output_is_the_batch_answer_over_the_used_rows(steps in steps()) {
        check(&steps);
    }

    #[test]
    fn many_small_batches_are_compacted(rows in prop::collection::vec(super::row(), 60..120)) {
        let steps: Vec<Step> = rows.chunks(3).map(|rows| Step::Rows(rows.to_vec())).collect();
        check(&steps);
    }
}

proptest! {
    /// Records arrive at most `DELAY` out of order, under a watermark that allows it. Whatever the order, the batches
    /// and the checkpoints, none is late, and the sessions are those of all records.
    #[test]
    fn sessions_do_not_depend_on_arrival(
        rows in prop::collection::vec((super::row(), 0..=DELAY, 0u32..12), 1..80),
    ) {
        let mut arriving = rows;
        arriving.sort_by_key(|(row, delay, _)| row.0 + delay);
        let mut cluster = Cluster::new(single(WindowSpec::Session { gap: GAP * 1000 }), vec![row_schema()], vec![vec![1]]);
        let mut reference = Reference::default();
        let mut batch: Vec<Row> = Vec::new();
        for (row, _, then) in arriving {
            batch.push(row);
            if then > 4 {
                continue;
            }
            cluster.process(0, &row_batch(&batch));
            reference.on_rows(&std::mem::take(&mut batch));
            let latest = reference.used.values().flatten().map(|row| row.0).max().expect("rows");
            cluster.on_watermark((latest - DELAY) * 1000, (then > 2).then_some((1, then)));
            if then == 0 {
                cluster.checkpoint(3);
            }
        }
        cluster.process(0, &row_batch(&batch));
        reference.on_rows(&batch);
        cluster.on_watermark(i64::MAX, None);
        reference.watermark = Some(i64::MAX);
        prop_assert!(cluster.late.is_empty());
        prop_assert_eq!(rows_of(&cluster.output), reference.output());
    }
}

#[test]
fn records_exactly_the_gap_apart_are_of_one_session() {
    let row = |time: i64| -> Row { (time, Some(1), None, "n".to_owned()) };
    check(&[Step::Rows(vec![row(0), row(GAP), row(2 * GAP + 1)])]);
    let mut cluster = Cluster::new(single(WindowSpec::Session { gap: GAP * 1000 }), vec![row_schema()], vec![vec![1]]);
    cluster.process(0, &row_batch(&[row(0), row(2 * GAP + 1)]));
    cluster.on_watermark(GAP * 1000, None);
    assert!(cluster.output.is_empty(), "the watermark is at the session's end: a record of it may still come");
    cluster.process(0, &row_batch(&[row(GAP)]));
    cluster.on_watermark(2 * GAP * 1000 + 1, None);
    assert_eq!(rows_of(&cluster.output).len(), 1);
    cluster.process(0, &row_batch(&[row(2 * GAP)]));
    assert_eq!(late_rows_of(&cluster.late).len(), 1, "it would have been of the session that has fired");
    cluster.on_watermark(i64::MAX, None);
    assert_eq!(rows_of(&cluster.output).len(), 2);
}

#[test]
fn what_is_forwarded_is_before_all_that_may_still_come() {
    let plan = single(WindowSpec::Session { gap: GAP * 1000 });
    let operator = crate::build(&plan, &[row_schema()], &crate::testing::CONTEXT).expect("a legal plan");
    for (watermark, forwarded) in [(5000, 4999), (5001, 4999), (-1, -1001), (i64::MAX, i64::MAX)] {
        assert_eq!(operator.forwarded(Watermark(watermark)), Watermark(forwarded));
    }
    assert!(operator.forwarded(Watermark::MIN) <= Watermark(i64::MIN + 1));
}

/// A checkpoint uploads only new batches: a batch without a session closed since the last one stays the same.
#[test]
fn batches_without_a_closed_session_are_frozen_once() {
    let row = |time: i64, key: i64| -> Row { (time, Some(key), None, "n".to_owned()) };
    let mut cluster = Cluster::new(single(WindowSpec::Session { gap: GAP * 1000 }), vec![row_schema()], vec![vec![1]]);
    cluster.process(0, &row_batch(&[row(0, 1), row(100, 2)]));
    cluster.process(0, &row_batch(&[row(100, 3), row(101, 4)]));
    let first = cluster.frozen(super::super::session::OPEN);
    cluster.on_watermark((GAP + 1) * 1000, None);
    let second = cluster.frozen(super::super::session::OPEN);
    assert_eq!((first.len(), second.len()), (2, 2));
    assert_eq!((first[0].rows.num_rows(), second[0].rows.num_rows()), (2, 1), "the session of the first key is closed");
    assert!(!first[0].is_same(&second[0]) && first[1].is_same(&second[1]));
    let third = cluster.frozen(super::super::session::OPEN);
    assert!(second.iter().zip(&third).all(|(second, third)| second.is_same(third)));
}
