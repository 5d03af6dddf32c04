//! Filters and projections, and that columns passed through are not copied.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion_expr::lit;
use thalweg_types::{Fault, OperatorKind, Place, graph::Calc};

use crate::{
    OperatorError, build,
    testing::{CONTEXT, batch, column, encode, integers, plan, rows_of, schema, texts},
};

fn input() -> arrow::array::RecordBatch {
    let schema = schema(&[("a", DataType::Int64), ("b", DataType::Int64), ("s", DataType::Utf8View)]);
    let words = ["x", "y", "z"].map(|word| Some(word.to_owned()));
    batch(&schema, vec![integers([Some(1), None, Some(3)]), integers([Some(10), Some(20), Some(30)]), texts(words)])
}

fn run(calc: Calc, output: &[(&str, DataType)]) -> Vec<arrow::array::RecordBatch> {
    let input = input();
    let plan = plan(OperatorKind::Calc(calc), schema(output));
    let mut operator = build(&plan, &[input.schema()], &CONTEXT).expect("a legal plan");
    operator.process(0, input).expect("rows as planned");
    std::iter::from_fn(|| operator.next_output().expect("output")).collect()
}

#[test]
fn null_is_not_true_and_only_selected_rows_are_computed() {
    let calc = Calc {
        filter: Some(encode(&column("a").gt(lit(1i64)))),
        projection: Some(vec![encode(&(column("b") / (column("a") - lit(1i64)))), encode(&column("s"))]),
    };
    // Row 1 would divide by zero.
    let output = run(calc, &[("q", DataType::Int64), ("s", DataType::Utf8View)]);
    assert_eq!(rows_of(&output), ["15|z"]);
}

#[test]
fn what_passes_whole_is_shared() {
    let input = input();
    let all = Calc { filter: Some(encode(&column("b").gt(lit(0i64)))), projection: Some(vec![encode(&column("b"))]) };
    let output = run(all, &[("renamed", DataType::Int64)]);
    assert_eq!(rows_of(&output), ["10", "20", "30"]);
    let plan = plan(OperatorKind::Calc(Calc { filter: None, projection: None }), input.schema());
    let mut operator = build(&plan, &[input.schema()], &CONTEXT).expect("a legal plan");
    let before = input.column(1).as_primitive::<Int64Type>().values().as_ptr();
    operator.process(0, input).expect("rows as planned");
    let passed = operator.next_output().expect("output").expect("one batch");
    assert_eq!(passed.column(1).as_primitive::<Int64Type>().values().as_ptr(), before);
}

#[test]
fn nothing_selected_gives_nothing() {
    let none = Calc { filter: Some(encode(&column("b").gt(lit(99i64)))), projection: None };
    assert!(run(none, &[("a", DataType::Int64), ("b", DataType::Int64), ("s", DataType::Utf8View)]).is_empty());
}

#[test]
fn rows_without_columns_are_counted() {
    let calc = Calc { filter: Some(encode(&column("b").gt(lit(10i64)))), projection: Some(Vec::new()) };
    let output = run(calc, &[]);
    assert_eq!(output.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 2);
}

#[test]
fn values_are_cast_to_the_planned_type() {
    let calc = Calc { filter: None, projection: Some(vec![encode(&column("b"))]) };
    assert_eq!(rows_of(&run(calc, &[("b", DataType::Utf8View)])), ["10", "20", "30"]);
}

/// The rows that pass, those that fail, and the reasons, for `input`.
fn part(calc: Calc, output: arrow::datatypes::SchemaRef) -> (Vec<String>, Vec<String>, Vec<Fault>) {
    let plan = plan(OperatorKind::Calc(calc), output);
    let mut operator = build(&plan, &[input().schema()], &CONTEXT).expect("a legal plan");
    operator.process(0, input()).expect("each fault is a row's");
    let passed: Vec<_> = std::iter::from_fn(|| operator.next_output().expect("output")).collect();
    let failed = operator.take_failed();
    assert!(operator.take_failed().is_empty(), "they are taken once");
    let faults = failed.iter().flat_map(|failed| failed.faults.clone()).collect();
    (rows_of(&passed), rows_of(failed.iter().map(|failed| &failed.rows)), faults)
}

#[test]
fn a_row_that_an_expression_refuses_is_set_aside_as_it_came_and_the_others_pass() {
    let quotient = column("b") / (column("a") - lit(1i64));
    let mut encoded = encode(&quotient);
    encoded.place = Some(Place { line: 3, column: 8 });
    let calc = Calc { filter: None, projection: Some(vec![encoded, encode(&column("s"))]) };
    let (passed, failed, faults) = part(calc, schema(&[("q", DataType::Int64), ("s", DataType::Utf8View)]));
    assert_eq!(
        (passed.as_slice(), failed.as_slice()),
        (&["-|y".to_owned(), "15|z".to_owned()][..], &["1|10|x".to_owned()][..])
    );
    let [fault] = faults.as_slice() else { panic!("one row fails: {faults:?}") };
    assert!(fault.to_string().starts_with("line 3, column 8: b / (a - Int64(1)): "), "{fault}");
    assert!(fault.reason.contains("Divide by zero"), "{fault}");
}

#[test]
fn a_row_that_the_filter_cannot_judge_is_set_aside() {
    let filter = Some(encode(&(column("b") / (column("a") - lit(3i64))).lt(lit(0i64))));
    let (passed, failed, faults) = part(Calc { filter, projection: None }, input().schema());
    assert_eq!((passed.len(), failed.as_slice(), faults.len()), (1, &["3|30|z".to_owned()][..], 1));
}

#[test]
fn a_null_where_a_column_must_have_a_value_is_a_fault_of_its_row() {
    let output = Arc::new(Schema::new(vec![Field::new("must", DataType::Int64, false)]));
    let (passed, failed, faults) = part(Calc { filter: None, projection: Some(vec![encode(&column("a"))]) }, output);
    assert_eq!((passed, failed), (vec!["1".to_owned(), "3".to_owned()], vec!["-|20|y".to_owned()]));
    assert_eq!(faults[0].to_string(), "a: column must is NOT NULL and has no value");
}

#[test]
fn unreadable_expressions_are_refused_with_the_plan() {
    let garbage = thalweg_types::ExprBytes { bytes: vec![255, 1], text: "garbage".to_owned(), place: None };
    let plan = plan(OperatorKind::Calc(Calc { filter: Some(garbage), projection: None }), input().schema());
    let error = build(&plan, &[input().schema()], &CONTEXT).expect_err("no expression");
    assert!(error.to_string().contains("garbage"), "{error}");
}

#[test]
fn rows_that_make_too_much_together_change_nothing_and_may_come_in_parts() {
    let repeat = crate::testing::scalar("repeat");
    let text = repeat.call(vec![column("s"), column("a")]);
    let calc = Calc { filter: None, projection: Some(vec![encode(&text.is_not_null()), encode(&column("a"))]) };
    let plan = plan(OperatorKind::Calc(calc), schema(&[("is", DataType::Boolean), ("a", DataType::Int64)]));
    let schema = schema(&[("a", DataType::Int64), ("s", DataType::Utf8View)]);
    let mut operator = build(&plan, std::slice::from_ref(&schema), &CONTEXT).expect("a legal plan");
    // The last row alone exceeds the budget, which a single row may; one row is refused whatever the others are.
    let times = [1 << 23, 1 << 23, i64::MAX, 1, 1 << 26];
    let rows = batch(&schema, vec![integers(times.map(Some)), texts(times.map(|_| Some("x".to_owned())))]);
    let error = operator.process(0, rows.clone()).expect_err("80 MiB are too much");
    assert!(matches!(error, OperatorError::TooMuch { rows: 5 }), "{error}");
    assert!(operator.next_output().expect("output").is_none() && operator.take_failed().is_empty());
    operator.process(0, rows.slice(0, 4)).expect("16 MiB are not");
    operator.process(0, rows.slice(4, 1)).expect("a single row has no budget");
    let output: Vec<_> = std::iter::from_fn(|| operator.next_output().expect("output")).collect();
    assert_eq!(rows_of(&output), ["true|1", "true|67108864", "true|8388608", "true|8388608"]);
    assert_eq!(operator.take_failed().iter().map(|failed| failed.faults.len()).sum::<usize>(), 1);
}
