//! Expressions as deep as their encoding allows.

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{DataType, Int64Type},
};
use datafusion_expr::{Expr, Operator, binary_expr, lit};

use super::Expression;
use crate::testing::{batch, column, encode, integers, schema};

/// Unoptimized code takes several times the stack.
const LEVELS: usize = if cfg!(debug_assertions) { thalweg_expr::DEPTH_MAX * 3 / 4 } else { thalweg_expr::DEPTH_MAX };

fn rows() -> RecordBatch {
    batch(&schema(&[("a", DataType::Int64)]), vec![integers((0..100).map(Some))])
}

/// Left-deep and right-deep chains compile, run and are dropped on the stack of a test's thread.
fn check(link: impl Fn(Expr, usize) -> Expr, first: Expr) {
    let deepest = (1..LEVELS).fold(first, link);
    let rows = rows();
    let compiled = Expression::compile(&encode(&deepest), &rows.schema(), None, "test").expect("legal");
    assert_eq!(compiled.evaluate(&rows).expect("legal").len(), 100);
}

#[test]
fn the_deepest_expressions_run() {
    check(|chain, _| binary_expr(chain, Operator::Plus, lit(1i64)), column("a"));
    check(|chain, _| binary_expr(lit(1i64), Operator::Plus, chain), column("a"));
    check(
        |chain, at| if at % 2 == 0 { chain.and(column("a").gt(lit(-1i64))) } else { chain.or(lit(false)) },
        column("a").lt(lit(50i64)),
    );
    check(
        |chain, _| if matches!(chain, Expr::Column(_)) { chain.is_null() } else { Expr::Not(Box::new(chain)) },
        column("a"),
    );
}

#[test]
fn what_might_fail_is_evaluated_where_a_mask_lets_it() {
    let rows = batch(&schema(&[("a", DataType::Int64)]), vec![integers([Some(0), Some(2), None, Some(0), Some(5)])]);
    let tenth = binary_expr(lit(10i64), Operator::Divide, column("a"));
    let compiled = Expression::compile(&encode(&tenth), &rows.schema(), None, "test").expect("legal");
    assert!(compiled.evaluate(&rows).is_err());
    let values = |mask: [bool; 5]| -> Vec<Option<i64>> {
        let values = compiled.evaluate_where(&rows, &mask.to_vec().into()).expect("guarded");
        values.as_primitive::<Int64Type>().iter().collect()
    };
    assert_eq!(values([false, true, true, false, true]), [None, Some(5), None, None, Some(2)]);
    assert_eq!(values([false; 5]), [None; 5]);
    assert!(compiled.evaluate_where(&rows, &vec![true; 5].into()).is_err());
}
