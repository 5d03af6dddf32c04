use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use thalweg_types::{OperatorKind, graph::RowRange};

use crate::testing::{CONTEXT, batch, integers, plan, rows_of, schema};
use crate::{Operator, build};

fn input() -> SchemaRef {
    schema(&[("n", DataType::Int64)])
}

fn numbers(from: i64, to: i64) -> RecordBatch {
    batch(&input(), vec![integers((from..to).map(Some))])
}

fn limit(offset: u64, limit: Option<u64>) -> Box<dyn Operator> {
    build(&plan(OperatorKind::Limit(RowRange { offset, limit }), input()), &[input()], &CONTEXT).unwrap()
}

/// The rows that pass of batches of three rows, and whether the operator is satisfied.
fn passed(limit: &mut dyn Operator, batches: std::ops::Range<i64>) -> (Vec<String>, bool) {
    let mut output = Vec::new();
    for number in batches {
        limit.process(0, numbers(10 + number * 3, 13 + number * 3)).unwrap();
        output.extend(limit.next_output().unwrap());
        assert!(limit.next_output().unwrap().is_none());
    }
    (rows_of(&output), limit.is_satisfied())
}

#[test]
fn a_run_of_rows_passes_wherever_batches_begin() {
    assert_eq!(passed(&mut *limit(0, Some(4)), 0..1), (vec!["10".into(), "11".into(), "12".into()], false));
    let four = ["10", "11", "12", "13"].map(str::to_owned).to_vec();
    assert_eq!(passed(&mut *limit(0, Some(4)), 0..4), (four, true));
    assert_eq!(passed(&mut *limit(4, Some(1)), 0..4), (vec!["14".to_owned()], true));
    assert_eq!(passed(&mut *limit(11, None), 0..4), (vec!["21".to_owned()], false));
    assert_eq!(passed(&mut *limit(2, Some(u64::MAX)), 0..1), (vec!["12".to_owned()], false));
    assert_eq!(passed(&mut *limit(3, Some(0)), 0..1), (vec![], true));
    assert_eq!(passed(&mut *limit(0, Some(0)), 0..0), (vec![], true));
}

#[test]
fn it_goes_on_counting_where_former_instances_stopped() {
    let (mut one, mut other) = (limit(0, Some(8)), limit(0, Some(8)));
    passed(&mut *one, 0..1);
    passed(&mut *other, 0..1);
    let states = [one.freeze().unwrap(), other.freeze().unwrap()];
    let mut next = limit(0, Some(8));
    next.restore(&states, &[]).unwrap();
    assert_eq!(passed(&mut *next, 0..4), (vec!["10".to_owned(), "11".to_owned()], true));
}
