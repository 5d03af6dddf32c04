//! Guards hold for each row, chains are flat, and constants have the values that rows would give.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::{Expr, Operator, binary_expr, case, cast, col, lit, try_cast, when};
use datafusion_functions::expr_fn::{coalesce, nvl2};
use proptest::prelude::*;

use super::{can_fail, compile, constant};

type Row<'a> = (Option<bool>, Option<bool>, Option<i32>, Option<&'a str>);

/// Rows with the columns `p`, `q` (conditions), `i` (number) and `s` (text).
fn batch(rows: &[Row<'_>]) -> RecordBatch {
    let fields = [("p", DataType::Boolean), ("q", DataType::Boolean), ("i", DataType::Int32), ("s", DataType::Utf8)];
    let schema = Schema::new(fields.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| row.3).collect::<StringArray>()),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn numbers(numbers: &[Option<i32>]) -> RecordBatch {
    batch(&numbers.iter().map(|number| (None, None, *number, None)).collect::<Vec<_>>())
}

fn evaluate(expr: &Expr, batch: &RecordBatch) -> Result<ArrayRef> {
    let schema = DFSchema::try_from(batch.schema().as_ref().clone()).unwrap();
    let compiled = compile(expr, &schema).unwrap_or_else(|error| panic!("{expr}: {error}"));
    let values = compiled.evaluate(batch)?.into_array(batch.num_rows())?;
    assert_eq!(*values.data_type(), compiled.data_type(batch.schema_ref()).unwrap(), "{expr}");
    assert!(compiled.nullable(batch.schema_ref()).unwrap() || values.null_count() == 0, "{expr}");
    Ok(values)
}

fn truths(expr: &Expr, batch: &RecordBatch) -> Vec<Option<bool>> {
    evaluate(expr, batch).unwrap_or_else(|error| panic!("{expr}: {error}")).as_boolean().iter().collect()
}

fn integers(expr: &Expr, batch: &RecordBatch) -> Vec<Option<i32>> {
    let values = evaluate(expr, batch).unwrap_or_else(|error| panic!("{expr}: {error}"));
    values.as_primitive::<Int32Type>().iter().collect()
}

/// Fails where `i` is 0.
fn tenth() -> Expr {
    lit(10) / col("i")
}

const T: Option<bool> = Some(true);
const F: Option<bool> = Some(false);
const N: Option<bool> = None;
const TRUTHS: [Option<bool>; 3] = [T, F, N];

#[test]
fn connectives_have_three_values() {
    let rows: Vec<_> = TRUTHS.iter().flat_map(|p| TRUTHS.iter().map(|q| (*p, *q, None, None))).collect();
    let all = batch(&rows);
    assert_eq!(truths(&col("p").and(col("q")), &all), [T, F, N, F, F, F, N, F, N]);
    assert_eq!(truths(&col("p").or(col("q")), &all), [T, T, T, T, F, N, T, N, N]);
    for constant in TRUTHS {
        let (with_p, with_q) = (
            rows.iter().map(|row| (row.0, constant, None, None)).collect::<Vec<_>>(),
            rows.iter().map(|row| (constant, row.1, None, None)).collect::<Vec<_>>(),
        );
        let constant = lit(ScalarValue::Boolean(constant));
        for operator in [Operator::And, Operator::Or] {
            let columns = binary_expr(col("p"), operator, col("q"));
            let right = binary_expr(col("p"), operator, constant.clone());
            assert_eq!(truths(&right, &all), truths(&columns, &batch(&with_p)), "{right}");
            let left = binary_expr(constant.clone(), operator, col("q"));
            assert_eq!(truths(&left, &all), truths(&columns, &batch(&with_q)), "{left}");
        }
    }
}

#[test]
fn a_term_is_evaluated_for_the_rows_that_are_open() {
    let rows = numbers(&[Some(0), Some(2), Some(20), None, Some(0), Some(5)]);
    let and = col("i").not_eq(lit(0)).and(tenth().gt_eq(lit(2)));
    assert_eq!(truths(&and, &rows), [F, T, F, N, F, T]);
    let or = col("i").eq(lit(0)).or(tenth().gt_eq(lit(2)));
    assert_eq!(truths(&or, &rows), [T, T, F, N, T, T]);
    // NULL leaves a row open: the term behind it decides, and fails.
    let unknown = batch(&[(N, N, Some(0), None)]);
    assert!(evaluate(&col("p").and(tenth().gt(lit(1))), &unknown).is_err());
    assert!(evaluate(&tenth().gt(lit(1)).and(col("i").not_eq(lit(0))), &rows).is_err());
}

#[test]
fn a_branch_is_evaluated_for_the_rows_that_come_to_it() {
    let rows = numbers(&[Some(0), Some(2), None, Some(5), Some(0)]);
    let guarded = when(col("i").eq(lit(0)), lit(-1)).otherwise(tenth()).unwrap();
    assert_eq!(integers(&guarded, &rows), [Some(-1), Some(5), None, Some(2), Some(-1)]);
    let by_value = case(col("i")).when(lit(0), lit(-1)).when(tenth(), lit(7)).otherwise(tenth()).unwrap();
    assert_eq!(integers(&by_value, &rows), [Some(-1), Some(5), None, Some(2), Some(-1)]);
    let no_else = when(col("i").not_eq(lit(0)), tenth()).end().unwrap();
    assert_eq!(integers(&no_else, &rows), [None, Some(5), None, Some(2), None]);
    let texts = batch(&[(N, N, None, Some("x")), (N, N, None, Some("7")), (N, N, None, None), (N, N, None, Some("9"))]);
    let number = cast(col("s"), DataType::Int32);
    let guarded = when(col("s").not_eq(lit("x")), number.gt(lit(8))).otherwise(lit(false)).unwrap();
    assert_eq!(truths(&guarded, &texts), [F, F, F, T]);
}

#[test]
fn coalesce_stops_at_the_first_that_is_known() {
    let rows = batch(&[(N, N, Some(0), Some("3")), (N, N, Some(2), None), (N, N, Some(5), Some("4"))]);
    let first = coalesce(vec![cast(col("s"), DataType::Int32), tenth()]);
    assert_eq!(integers(&first, &rows), [Some(3), Some(5), Some(4)]);
    let chosen = nvl2(col("s"), lit(1), tenth());
    assert_eq!(integers(&chosen, &rows), [Some(1), Some(5), Some(1)]);
    let none = coalesce(vec![lit(ScalarValue::Null), lit(ScalarValue::Int32(None))]);
    assert_eq!(integers(&none, &rows), [None, None, None]);
}

#[test]
fn what_no_row_comes_to_is_not_evaluated() {
    let rows = numbers(&[Some(1), Some(2)]);
    let fails = lit(1) / lit(0);
    assert_eq!(
        integers(&when(col("i").gt(lit(9)), fails.clone()).otherwise(col("i")).unwrap(), &rows),
        [Some(1), Some(2)]
    );
    assert_eq!(truths(&col("i").gt(lit(9)).and(fails.clone().eq(lit(1))), &rows), [F, F]);
    assert_eq!(truths(&lit(true).or(fails.eq(lit(1))), &rows), [T, T]);
}

#[test]
fn between_takes_its_ends() {
    let rows = numbers(&[Some(1), Some(2), Some(4), Some(5), None]);
    assert_eq!(truths(&col("i").between(lit(2), lit(4)), &rows), [F, T, T, F, N]);
    assert_eq!(truths(&col("i").not_between(lit(2), lit(4)), &rows), [T, F, F, T, N]);
    let no_end = lit(ScalarValue::Int32(None));
    assert_eq!(truths(&col("i").between(lit(2), no_end.clone()), &rows), [F, N, N, N, N]);
    assert_eq!(truths(&col("i").not_between(no_end, lit(2)), &rows), [N, N, T, T, N]);
}

#[test]
fn what_cannot_fail_is_known() {
    let schema = DFSchema::try_from(batch(&[]).schema().as_ref().clone()).unwrap();
    let fails = |expr: Expr| can_fail(&compile(&expr, &schema).unwrap());
    assert!(!fails(col("i").gt(lit(1)).and(col("s").like(lit("a%"))).or(!col("p"))));
    assert!(!fails(try_cast(col("s"), DataType::Int32).in_list(vec![lit(1), lit(2)], false)));
    assert!(!fails(cast(col("i"), DataType::Int64).gt(lit(1i64))));
    assert!(!fails(when(col("p"), col("i")).end().unwrap()));
    assert!(fails(cast(col("s"), DataType::Int32)));
    assert!(fails(cast(col("i"), DataType::Int8)));
    assert!(fails(col("p").and(tenth().gt(lit(1)))));
    assert!(fails(when(col("p"), tenth()).end().unwrap()));
    assert!(fails(coalesce(vec![col("i"), tenth()])));
    assert!(fails(datafusion_functions::expr_fn::factorial(cast(col("i"), DataType::Int64))));
}

#[test]
fn constants_have_the_values_of_rows() {
    let value = |expr: &Expr| constant(expr);
    assert_eq!(value(&(lit(1) + lit(2))), Some(ScalarValue::from(3)));
    assert_eq!(value(&cast(lit("7"), DataType::Int32)), Some(ScalarValue::from(7)));
    assert_eq!(value(&(lit(1) / lit(0))), None);
    assert_eq!(value(&cast(lit("x"), DataType::Int32)), None);
    assert_eq!(value(&try_cast(lit("x"), DataType::Int32)), Some(ScalarValue::Int32(None)));
    assert_eq!(value(&coalesce(vec![lit(1), lit(1) / lit(0)])), Some(ScalarValue::from(1)));
    assert_eq!(value(&col("i")), None);
    assert_eq!(value(&datafusion_functions::expr_fn::random()), None);
    assert_eq!(value(&datafusion_functions::expr_fn::repeat(lit("x"), lit(1i64 << 40))), None);
}

/// Chains of 20,000 links are evaluated, written and dropped on the stack of a thread. Only compiling them takes more.
#[test]
fn chains_are_flat() {
    let rows = numbers(&[Some(1), Some(2), None]);
    let links = 20_000i64;
    let chain = |operator: Operator, link: fn(i64) -> Expr, first: Expr| {
        (1..links).fold(first, |chain, at| binary_expr(chain, operator, link(at)))
    };
    let check = |chain: Expr, wanted: &dyn Fn(&ArrayRef)| {
        let values = stacker::grow(64 << 20, || {
            let schema = DFSchema::try_from(rows.schema().as_ref().clone()).unwrap();
            let compiled = compile(&chain, &schema);
            drop(chain);
            compiled
        });
        let compiled = values.unwrap();
        assert!(compiled.to_string().len() > 20_000);
        assert!(format!("{compiled:?}").len() > 20_000);
        wanted(&compiled.evaluate(&rows).unwrap().into_array(3).unwrap());
    };
    let wide = || cast(col("i"), DataType::Int64);
    check(chain(Operator::Plus, |_| cast(col("i"), DataType::Int64), wide()), &|values| {
        assert_eq!(values.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(links), Some(2 * links), None]);
    });
    let differs = |at: i64| cast(col("i"), DataType::Int64).not_eq(lit(at + 1));
    check(chain(Operator::And, differs, lit(true)), &|values| {
        assert_eq!(values.as_boolean().iter().collect::<Vec<_>>(), [T, F, N]);
    });
    let equals = |at: i64| cast(col("i"), DataType::Int64).eq(lit(at + 1));
    check(chain(Operator::Or, equals, lit(false)), &|values| {
        assert_eq!(values.as_boolean().iter().collect::<Vec<_>>(), [F, T, N]);
    });
}

/// A term of a chain over the columns of [`batch`]. Some terms fail for some rows.
fn term() -> impl Strategy<Value = Expr> {
    prop_oneof![
        Just(col("p")),
        Just(col("q")),
        Just(lit(true)),
        Just(lit(false)),
        Just(lit(ScalarValue::Boolean(None))),
        Just(tenth().gt(lit(3))),
        Just(cast(col("s"), DataType::Int32).lt(lit(5))),
        Just(col("i").eq(lit(0))),
        Just(col("s").eq(lit("x"))),
    ]
}

fn condition() -> impl Strategy<Value = Expr> {
    term().prop_recursive(4, 24, 3, |inner| {
        let triple = (inner.clone(), inner.clone(), inner.clone());
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| left.and(right)),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| left.or(right)),
            triple.clone().prop_map(|(test, then, other)| when(test, then).otherwise(other).unwrap()),
            triple.prop_map(|(first, second, third)| coalesce(vec![first, second, third])),
            inner.prop_map(|inner| !inner),
        ]
    })
}

fn row() -> impl Strategy<Value = Row<'static>> {
    let truth = || prop_oneof![Just(T), Just(F), Just(N)];
    let number = prop_oneof![Just(None), Just(Some(0)), Just(Some(2)), Just(Some(5))];
    (truth(), truth(), number, prop_oneof![Just(None), Just(Some("x")), Just(Some("3")), Just(Some("8"))])
}

/// The value of a row by the rules of three-valued logic, from left to right; `Err` if it fails.
fn by_hand(expr: &Expr, row: &RecordBatch) -> Result<Option<bool>, ()> {
    match expr {
        Expr::BinaryExpr(binary) if matches!(binary.op, Operator::And | Operator::Or) => {
            let settles = Some(binary.op == Operator::Or);
            let left = by_hand(&binary.left, row)?;
            if left == settles {
                return Ok(left);
            }
            let right = by_hand(&binary.right, row)?;
            Ok(if right == settles || left.is_some() { right } else { None })
        }
        Expr::Case(case) => {
            let (test, then) = &case.when_then_expr[0];
            let otherwise = case.else_expr.as_ref().unwrap();
            if by_hand(test, row)? == T { by_hand(then, row) } else { by_hand(otherwise, row) }
        }
        Expr::ScalarFunction(call) => {
            for value in &call.args {
                let value = by_hand(value, row)?;
                if value.is_some() {
                    return Ok(value);
                }
            }
            Ok(None)
        }
        Expr::Not(inner) => Ok(by_hand(inner, row)?.map(|value| !value)),
        term => evaluate(term, row).map(|values| values.as_boolean().iter().next().flatten()).map_err(drop),
    }
}

proptest! {
    #[test]
    fn batches_make_no_difference(expr in condition(), rows in prop::collection::vec(row(), 1..40)) {
        let whole = batch(&rows);
        let each: Result<Vec<_>, ()> = (0..rows.len()).map(|at| by_hand(&expr, &whole.slice(at, 1))).collect();
        let found = evaluate(&expr, &whole).map(|values| values.as_boolean().iter().collect::<Vec<_>>()).map_err(drop);
        prop_assert_eq!(found, each, "{}", expr);
    }
}
