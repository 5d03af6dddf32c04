//! Two phases give the results of one, and refuse what the local one refuses.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use proptest::prelude::*;
use thalweg_types::{
    OperatorKind,
    graph::{AggregatePhase, WindowSpec, Windowing},
};

use super::{
    Row, aggregate, calls, output_row, output_schema, row, row_batch, row_schema, row_text, specs, windows_of,
};
use crate::{
    expr::compile_aggregate,
    testing::{Cluster, late_rows_of, plan, rows_of},
};

fn local_output() -> SchemaRef {
    let mut fields = vec![Field::new("k", DataType::Int64, true)];
    for (call, at) in calls().iter().zip(0..) {
        let lowered = compile_aggregate(call, &row_schema(), "test").expect("a legal call");
        for (state, part) in lowered.aggregate.state_fields().expect("state fields").iter().zip(0..) {
            fields.push(Field::new(format!("a{at}_{part}"), state.data_type().clone(), true));
        }
    }
    fields.push(Field::new("slice_end", DataType::Timestamp(TimeUnit::Microsecond, None), false));
    Arc::new(Schema::new(fields))
}

fn phases(spec: WindowSpec) -> (thalweg_types::Operator, thalweg_types::Operator) {
    let windowing = |column| Windowing::EventTime { column, spec };
    let local = aggregate(AggregatePhase::Local, windowing(0), vec![1]);
    let global = aggregate(AggregatePhase::Global, windowing(local_output().fields().len() - 1), vec![0]);
    let output = output_schema(&[("k", DataType::Int64)]);
    (plan(OperatorKind::WindowAggregate(local), local_output()), plan(OperatorKind::WindowAggregate(global), output))
}

/// Rows of one of two local instances, the increase of its watermark, and perhaps a checkpoint.
type Turn = (usize, Vec<Row>, i64, Option<(usize, u32)>);

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = (0usize..2, prop::collection::vec(row(), 0..10), 0i64..25, prop::option::of((0usize..3, 1u32..4)));
    prop::collection::vec(turn, 1..12)
}

fn check(spec: WindowSpec, turns: &[Turn]) {
    let (local, global) = phases(spec);
    let mut locals = [(); 2].map(|()| Cluster::new(local.clone(), vec![row_schema()], vec![vec![1]]));
    let mut global = Cluster::new(global, vec![local_output()], vec![vec![0]]);
    let mut watermarks = [-40i64; 2];
    let mut combined = -40;
    let mut used: BTreeMap<(i64, i64, Option<i64>), Vec<&Row>> = BTreeMap::new();
    let mut late: Vec<String> = Vec::new();
    for (at, rows, by, checkpoint) in turns {
        let instance = &mut locals[*at];
        instance.process(0, &row_batch(rows));
        for row in rows {
            for (start, end) in windows_of(spec, row.0) {
                if end <= watermarks[*at] {
                    late.push(format!("[{},{}) {}", start * 1000, end * 1000, row_text(row)));
                } else {
                    used.entry((end, start, row.1)).or_default().push(row);
                }
            }
        }
        if checkpoint.is_some() {
            instance.flush();
        }
        watermarks[*at] += by;
        instance.on_watermark(watermarks[*at] * 1000, None);
        instance.output.drain(..).for_each(|partials| global.process(0, &partials));
        let least = watermarks.into_iter().min().expect("two");
        if least > combined {
            combined = least;
            global.on_watermark(combined * 1000, *checkpoint);
        }
    }
    for instance in &mut locals {
        instance.on_watermark(i64::MAX, None);
        instance.output.drain(..).for_each(|partials| global.process(0, &partials));
        assert_eq!(instance.state_bytes(), 0);
    }
    global.on_watermark(i64::MAX, None);
    let mut expected: Vec<String> =
        used.iter().map(|((end, start, key), rows)| output_row(Some(*key), rows, (*start, *end))).collect();
    expected.sort();
    late.sort();
    let refused: Vec<_> = locals.iter().flat_map(|instance| instance.late.clone()).collect();
    assert_eq!(rows_of(&global.output), expected);
    assert_eq!(late_rows_of(&refused), late);
    assert!(global.late.is_empty(), "the local phase has judged");
}

proptest! {
    #[test]
    fn output_is_that_of_one_phase(spec in specs(), turns in turns()) {
        check(spec, &turns);
    }
}

#[test]
fn nothing_stays_in_the_local_phase_across_a_barrier() {
    let spec = WindowSpec::Tumble { size: 10_000, offset: 0 };
    let mut local = Cluster::new(phases(spec).0, vec![row_schema()], vec![vec![1]]);
    local.process(0, &row_batch(&[(1, Some(1), None, "n".to_owned())]));
    assert!(local.output.is_empty());
    local.flush();
    assert_eq!(rows_of(&local.output).len(), 1);
    assert_eq!(local.state_bytes(), 0);
}

#[test]
fn a_local_table_that_grows_is_sent() {
    let spec = WindowSpec::Tumble { size: 1_000_000, offset: 0 };
    let mut local = Cluster::new(phases(spec).0, vec![row_schema()], vec![vec![1]]);
    let rows: Vec<Row> = (0..100).map(|key| (1, Some(key), None, "n".to_owned())).collect();
    local.process(0, &row_batch(&rows));
    assert_eq!(rows_of(&local.output).len(), 100);
}

#[test]
fn panes_without_a_number_of_their_own_need_one_phase() {
    let (local, _) = phases(WindowSpec::Hop { size: 100, slide: 5, offset: 0 });
    let error = crate::build(&local, &[row_schema()], &crate::testing::CONTEXT).expect_err("20 slides of 5 us");
    assert!(error.to_string().contains("one phase"), "{error}");
}

/// After a change of parallelism, an instance may have splits that are behind those of its predecessors.
#[test]
fn a_restored_local_phase_judges_by_its_own_source() {
    let spec = WindowSpec::Tumble { size: 10_000, offset: 0 };
    let mut local = Cluster::new(phases(spec).0, vec![row_schema()], vec![vec![1]]);
    local.on_watermark(500_000, Some((0, 2)));
    local.process(0, &row_batch(&[(40, Some(1), None, "n".to_owned())]));
    assert!(local.late.is_empty());
    local.on_watermark(50_000, None);
    local.process(0, &row_batch(&[(39, Some(1), None, "n".to_owned()), (51, Some(1), None, "n".to_owned())]));
    assert_eq!(local.late.len(), 1);
}

/// A record whose window the final phase has closed is late, whichever instance reads it.
#[test]
fn a_restored_local_phase_judges_from_where_all_had_come() {
    let spec = WindowSpec::Tumble { size: 10_000, offset: 0 };
    let mut local = crate::build(&phases(spec).0, &[row_schema()], &crate::testing::CONTEXT).expect("it is sound");
    let mut former = thalweg_keyed_state::FrozenState::default();
    former.values.insert(thalweg_keyed_state::WATERMARK.to_owned(), 500_000);
    former.values.insert(thalweg_keyed_state::LEAST_WATERMARK.to_owned(), 50_000);
    local.restore(&[former], &[thalweg_types::KeyGroup(0)]).expect("it has no rows");
    let rows = [(39, Some(1), None, "n".to_owned()), (51, Some(1), None, "n".to_owned())];
    local.process(0, row_batch(&rows)).expect("they fit");
    assert_eq!(local.take_late().iter().map(|late| late.rows.num_rows()).sum::<usize>(), 1);
    let frozen = local.freeze().expect("it can");
    assert_eq!(frozen.values.get(thalweg_keyed_state::WATERMARK), Some(&50_000));
}
