//! Each rewrite, and what it must leave alone, over NULL and the ends of the types.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch,
    TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::{Between, Expr, Operator, binary_expr, cast, col, lit, try_cast, when};
use thalweg_functions::physical;

use super::simplified;

const MILLIS: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);
const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

fn rows() -> RecordBatch {
    let decimals: Decimal128Array =
        [None, Some(249), Some(200), Some(-50), Some(9_999_999_999), Some(-9_999_999_999), Some(150)]
            .into_iter()
            .collect();
    let columns: [(&str, ArrayRef); 7] = [
        ("b", Arc::new(BooleanArray::from(vec![None, Some(true), Some(false), None, Some(true), Some(false), None]))),
        ("t", Arc::new(Int8Array::from(vec![None, Some(-128), Some(127), Some(0), Some(1), Some(2), Some(-1)]))),
        (
            "i",
            Arc::new(Int32Array::from(vec![None, Some(i32::MIN), Some(i32::MAX), Some(0), Some(1), Some(2), Some(-1)])),
        ),
        (
            "n",
            Arc::new(Int64Array::from(vec![
                None,
                Some(i64::MIN),
                Some(i64::MAX),
                Some(300),
                Some(1),
                Some(2),
                Some(-300),
            ])),
        ),
        ("d", Arc::new(decimals.with_precision_and_scale(10, 2).unwrap())),
        (
            "ms",
            Arc::new(TimestampMillisecondArray::from(vec![
                None,
                Some(-1),
                Some(0),
                Some(1),
                Some(1500),
                Some(253_402_300_799_999),
                Some(-62_135_596_800_000),
            ])),
        ),
        (
            "f",
            Arc::new(Float64Array::from(vec![
                None,
                Some(f64::NAN),
                Some(-0.0),
                Some(0.0),
                Some(f64::INFINITY),
                Some(2.5),
                Some(f64::MIN),
            ])),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn values(expr: &Expr, rows: &RecordBatch, schema: &DFSchema) -> ArrayRef {
    let compiled = physical::compile(expr, schema).unwrap_or_else(|error| panic!("{expr}: {error}"));
    let evaluate = || compiled.evaluate(rows)?.into_array(rows.num_rows());
    evaluate().unwrap_or_else(|error| panic!("{expr}: {error}"))
}

/// Checks that an expression becomes another, and that both have the same values.
fn becomes(written: Expr, wanted: Expr) {
    let rows = rows();
    let schema = DFSchema::try_from(rows.schema().as_ref().clone()).unwrap();
    let found = simplified(written.clone(), &schema).unwrap().data;
    assert_eq!(found, wanted, "{written}");
    assert_eq!(*values(&written, &rows, &schema), *values(&wanted, &rows, &schema), "{written}");
}

fn stays(written: Expr) {
    becomes(written.clone(), written);
}

/// Checks that an expression becomes another. Does not evaluate them, because the first may fail.
fn fallible_becomes(written: Expr, wanted: Expr) {
    let schema = DFSchema::try_from(rows().schema().as_ref().clone()).unwrap();
    assert_eq!(simplified(written, &schema).unwrap().data, wanted);
}

fn null(data_type: &DataType) -> Expr {
    lit(ScalarValue::try_new_null(data_type).unwrap())
}

#[test]
fn constants_are_evaluated_as_nodes_would() {
    becomes(col("i").gt(lit(1) + lit(2)), col("i").gt(lit(3)));
    becomes(cast(lit("7"), DataType::Int32).eq(col("i")), lit(7).eq(col("i")));
    becomes(lit(1).eq(null(&DataType::Int32)), null(&DataType::Boolean));
    becomes(null(&DataType::Int32).is_null(), lit(true));
    becomes(try_cast(lit(300), DataType::Int8), null(&DataType::Int8));
    becomes(when(lit(1).gt(lit(2)), lit(1)).otherwise(lit(2)).unwrap(), lit(2));
}

#[test]
fn what_fails_is_left_for_a_row_to_reach() {
    let fails = lit(1) / (lit(1) - lit(1));
    let left = lit(1) / lit(0);
    fallible_becomes(fails.clone(), left.clone());
    becomes(
        when(col("i").lt(col("i")), fails.clone()).otherwise(lit(2)).unwrap(),
        when(col("i").lt(col("i")), left.clone()).otherwise(lit(2)).unwrap(),
    );
    becomes(lit(false).and(fails.eq(lit(1))), lit(false));
    fallible_becomes(left.clone().eq(lit(1)).and(lit(false)), left.eq(lit(1)).and(lit(false)));
    fallible_becomes(cast(lit("x"), DataType::Int32), cast(lit("x"), DataType::Int32));
}

#[test]
fn constants_beside_connectives_go_where_nothing_is_skipped() {
    for connected in
        [col("b").and(lit(true)), lit(true).and(col("b")), col("b").or(lit(false)), lit(false).or(col("b"))]
    {
        becomes(connected, col("b"));
    }
    becomes(lit(false).and(col("b")), lit(false));
    becomes(lit(true).or(col("b")), lit(true));
    stays(col("b").and(lit(false)));
    stays(col("b").or(lit(true)));
    stays(col("b").and(null(&DataType::Boolean)));
    stays(col("b").or(null(&DataType::Boolean)));
}

#[test]
fn negations_go_inwards() {
    for (written, wanted) in [
        (col("i").lt(lit(0)), col("i").gt_eq(lit(0))),
        (col("i").eq(lit(0)), col("i").not_eq(lit(0))),
        (col("f").gt_eq(lit(0.0)), col("f").lt(lit(0.0))),
        (col("f").lt_eq(col("f")), col("f").gt(col("f"))),
        (col("i").is_null(), col("i").is_not_null()),
        (col("i").in_list(vec![lit(1), lit(2)], false), col("i").in_list(vec![lit(1), lit(2)], true)),
        (
            col("i").in_list(vec![lit(1), null(&DataType::Int32)], true),
            col("i").in_list(vec![lit(1), null(&DataType::Int32)], false),
        ),
        (!col("b"), col("b")),
        (
            binary_expr(col("i"), Operator::IsDistinctFrom, lit(1)),
            binary_expr(col("i"), Operator::IsNotDistinctFrom, lit(1)),
        ),
    ] {
        becomes(!written, wanted);
    }
    stays(!(col("b").and(col("i").gt(lit(1)))));
    // Merging the two lists would give TRUE for NULL, where this gives NULL.
    stays(col("i").in_list(vec![lit(1), lit(2)], true).or(col("i").in_list(vec![lit(3), lit(4)], true)));
}

#[test]
fn ranges_become_their_ends() {
    becomes(col("i").between(lit(0), lit(2)), col("i").gt_eq(lit(0)).and(col("i").lt_eq(lit(2))));
    becomes(col("i").not_between(lit(0), lit(2)), col("i").lt(lit(0)).or(col("i").gt(lit(2))));
    let no_end = null(&DataType::Int32);
    becomes(col("i").between(lit(0), no_end.clone()), col("i").gt_eq(lit(0)).and(col("i").lt_eq(no_end.clone())));
    becomes(col("i").not_between(no_end.clone(), lit(2)), col("i").lt(no_end).or(col("i").gt(lit(2))));
    let wide = || cast(col("i"), DataType::Int64);
    becomes(wide().between(lit(0i64), lit(2i64)), col("i").gt_eq(lit(0)).and(col("i").lt_eq(lit(2))));
    stays(wide().between(lit(0i64), lit(1i64 << 40)));
    let twice = |expr: Expr| Expr::Between(Between::new(Box::new(expr), false, Box::new(lit(0)), Box::new(lit(2))));
    stays(twice(when(col("b"), col("i")).end().unwrap()));
}

#[test]
fn lists_of_one_are_comparisons() {
    becomes(col("i").in_list(vec![lit(1)], false), col("i").eq(lit(1)));
    becomes(col("i").in_list(vec![lit(1)], true), col("i").not_eq(lit(1)));
    becomes(col("i").in_list(vec![null(&DataType::Int32)], true), col("i").not_eq(null(&DataType::Int32)));
    stays(col("i").in_list(vec![lit(1), null(&DataType::Int32)], false));
}

#[test]
fn widened_columns_are_compared_as_they_are() {
    for operator in [Operator::Eq, Operator::NotEq, Operator::Lt, Operator::GtEq, Operator::IsDistinctFrom] {
        let compare = |left: Expr, right: Expr| binary_expr(left, operator, right);
        let wide = || cast(col("i"), DataType::Int64);
        becomes(compare(wide(), lit(2i64)), compare(col("i"), lit(2)));
        becomes(compare(lit(2i64), wide()), compare(lit(2), col("i")));
        becomes(compare(wide(), lit(i64::from(i32::MIN))), compare(col("i"), lit(i32::MIN)));
        stays(compare(wide(), lit(i64::from(i32::MAX) + 1)));
        stays(compare(wide(), null(&DataType::Int64)));
        stays(compare(wide(), col("n")));
        let more_digits = || cast(col("d"), DataType::Decimal128(20, 2));
        let decimal = |digits: u8| lit(ScalarValue::Decimal128(Some(249), digits, 2));
        becomes(compare(more_digits(), decimal(20)), compare(col("d"), decimal(10)));
        stays(compare(more_digits(), lit(ScalarValue::Decimal128(Some(10_000_000_000), 20, 2))));
        stays(compare(cast(col("d"), DataType::Decimal128(20, 3)), lit(ScalarValue::Decimal128(Some(2490), 20, 3))));
        let decimal = |number, scale| lit(ScalarValue::Decimal128(Some(number), 21, scale));
        becomes(compare(cast(col("n"), DataType::Decimal128(21, 1)), decimal(3000, 1)), compare(col("n"), lit(300i64)));
        stays(compare(cast(col("n"), DataType::Decimal128(21, 1)), decimal(25, 1)));
        stays(compare(cast(col("n"), DataType::Decimal128(21, 1)), decimal(i128::from(i64::MAX) * 10 + 10, 1)));
        let micros = |micros: i64| lit(ScalarValue::TimestampMicrosecond(Some(micros), None));
        let millis = |millis: i64| lit(ScalarValue::TimestampMillisecond(Some(millis), None));
        becomes(compare(cast(col("ms"), MICROS), micros(-1000)), compare(col("ms"), millis(-1)));
        stays(compare(cast(col("ms"), MICROS), micros(-1)));
        becomes(compare(cast(col("ms"), MILLIS), millis(1)), compare(col("ms"), millis(1)));
    }
}

#[test]
fn narrowed_columns_are_compared_as_they_were_written() {
    for operator in [Operator::Eq, Operator::NotEq, Operator::Lt, Operator::GtEq, Operator::IsDistinctFrom] {
        let compare = |left: Expr, right: Expr| binary_expr(left, operator, right);
        for written in [
            compare(cast(col("d"), DataType::Int32), lit(2)),
            compare(try_cast(col("d"), DataType::Int32), lit(2)),
            compare(cast(col("d"), DataType::Decimal128(10, 1)), lit(ScalarValue::Decimal128(Some(25), 10, 1))),
            compare(try_cast(col("n"), DataType::Int8), lit(1i8)),
            compare(cast(col("n"), DataType::Int32), lit(1)),
            compare(cast(col("f"), DataType::Float32), lit(2.5f32)),
            compare(cast(cast(col("d"), DataType::Int32), DataType::Int64), lit(2i64)),
            compare(
                cast(col("ms"), DataType::Timestamp(TimeUnit::Second, None)),
                lit(ScalarValue::TimestampSecond(Some(0), None)),
            ),
            compare(cast(col("ms"), DataType::Date32), lit(ScalarValue::Date32(Some(0)))),
            compare(cast(col("i"), DataType::Utf8), lit("10")),
        ] {
            fallible_becomes(written.clone(), written);
        }
    }
}

#[test]
fn casts_to_what_it_is_already() {
    becomes(cast(col("i"), DataType::Int32).gt(lit(1)), col("i").gt(lit(1)));
}
