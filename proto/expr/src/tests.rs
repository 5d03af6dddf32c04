//! Expressions within the bounds survive a round trip, and bytes from elsewhere do no harm.

mod bounds;
mod generate;
mod harm;
mod values;

use std::sync::{Arc, LazyLock};

use datafusion_common::{Column, ScalarValue, metadata::FieldMetadata};
use datafusion_expr::{
    Expr, ExprFunctionExt, Operator, binary_expr, col,
    expr::{Alias, NullTreatment, Placeholder},
    lit, when,
};
use datafusion_functions_aggregate::expr_fn::{array_agg, sum};
use proptest::prelude::*;

use crate::{CodecError, Functions, decode, encode};

static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
    Functions::new(
        datafusion_functions::all_default_functions(),
        datafusion_functions_aggregate::all_default_aggregate_functions(),
    )
});

fn check(expr: &Expr) {
    let bytes = encode(expr).unwrap_or_else(|error| panic!("{expr}: {error:?}"));
    let again = decode(&bytes, &FUNCTIONS).unwrap_or_else(|error| panic!("{expr}: {error:?}"));
    assert_eq!(again, *expr);
}

fn text(expr: &Expr) -> String {
    String::from_utf8(encode(expr).unwrap()).unwrap()
}

fn metadata() -> Option<FieldMetadata> {
    Some(FieldMetadata::from(std::collections::BTreeMap::from([("unit".to_owned(), "ms".to_owned())])))
}

proptest! {
    #[test]
    fn every_expression_comes_back(expr in generate::expression()) {
        check(&expr);
    }
}

#[test]
fn the_format_is_pinned() {
    let expr = (col("a") + lit(1i64)).gt(lit(2.5)).and(Expr::Not(Box::new(col("b").like(lit("x%")))));
    let golden = concat!(
        r#"{"format":1,"nodes":[{"column":"a"},{"literal":{"type":"Int64","value":{"int":1}}},{"binary":"plus"},"#,
        r#"{"literal":{"type":"Float64","value":{"bits":4612811918334230528}}},{"binary":"gt"},"#,
        r#"{"column":"b"},{"literal":{"type":"Utf8","value":{"text":"x%"}}},"#,
        r#"{"like":{"negated":false,"escape":null,"case_insensitive":false}},{"unary":"not"},{"binary":"and"}]}"#,
    );
    assert_eq!(text(&expr), golden);
    assert_eq!(decode(golden.as_bytes(), &FUNCTIONS).unwrap(), expr);
}

#[test]
fn the_format_of_calls_is_pinned() {
    let call = sum(datafusion_functions::expr_fn::abs(col("a")))
        .filter(col("b").is_not_null())
        .order_by(vec![col("c").sort(false, true)])
        .null_treatment(NullTreatment::IgnoreNulls)
        .build()
        .unwrap();
    let golden = concat!(
        r#"{"format":1,"nodes":[{"column":"a"},{"scalar":{"function":"abs","arguments":1}},"#,
        r#"{"column":"b"},{"unary":"is_not_null"},{"column":"c"},"#,
        r#"{"aggregate":{"function":"sum","arguments":1,"distinct":false,"filter":true,"#,
        r#""order":[{"ascending":false,"nulls_first":true}],"nulls":"ignore"}}]}"#,
    );
    assert_eq!(text(&call), golden);
    assert_eq!(decode(golden.as_bytes(), &FUNCTIONS).unwrap(), call);
}

#[test]
fn names_of_operators_are_words() {
    let named = |op| text(&binary_expr(col("a"), op, col("b")));
    for (op, name) in [
        (Operator::IsNotDistinctFrom, "is_not_distinct_from"),
        (Operator::RegexNotIMatch, "regex_not_imatch"),
        (Operator::ILikeMatch, "ilike_match"),
        (Operator::StringConcat, "string_concat"),
    ] {
        assert!(named(op).ends_with(&format!(r#"{{"binary":"{name}"}}]}}"#)), "{}", named(op));
    }
}

#[test]
fn what_a_field_says_besides_its_type_is_kept() {
    check(&Expr::Literal(ScalarValue::from(1), metadata()));
    check(&Expr::Alias(Alias::new(col("a"), None::<&str>, "b").with_metadata(metadata())));
}

#[test]
fn case_keeps_its_parts_apart() {
    check(&when(col("a"), lit(1)).end().unwrap());
    check(&when(col("a"), lit(1)).when(col("b"), lit(2)).otherwise(lit(3)).unwrap());
    check(&datafusion_expr::case(col("a")).when(lit(1), lit("x")).when(lit(2), lit("y")).otherwise(lit("z")).unwrap());
}

#[test]
fn functions_are_found_by_alias() {
    let bytes = text(&array_agg(col("a"))).replace("array_agg", "mean").into_bytes();
    let Ok(Expr::AggregateFunction(call)) = decode(&bytes, &FUNCTIONS) else { panic!("mean is an alias of avg") };
    assert_eq!(call.func.name(), "avg");
}

#[test]
fn unknown_functions_are_named() {
    let bytes = encode(&datafusion_functions::expr_fn::abs(col("a"))).unwrap();
    let error = decode(&bytes, &Functions::default()).unwrap_err();
    assert_eq!(error.to_string(), "could not decode an expression: no function is called abs");
}

#[test]
fn other_formats_are_refused() {
    let other = br#"{"format":2,"tree":[]}"#;
    assert!(matches!(decode(other, &FUNCTIONS), Err(CodecError::Format { found: 2 })));
}

#[test]
fn what_no_operator_evaluates_is_refused() {
    let placeholder = Expr::Placeholder(Placeholder::new_with_field("$1".to_owned(), None));
    let error = encode(&col("a").eq(placeholder)).unwrap_err();
    assert_eq!(error.to_string(), "could not encode $1: a job has no expressions of the kind Placeholder");
    let qualified = Expr::Column(Column::new(Some("t"), "a"));
    assert!(matches!(encode(&qualified), Err(CodecError::Qualified(name)) if name == "t.a"));
    let alias = Expr::Alias(Alias::new(col("a"), Some("t"), "b"));
    assert!(matches!(encode(&alias), Err(CodecError::Qualified(name)) if name == "t.b"));
}

/// A new field for a cast.
fn field(data_type: arrow_schema::DataType) -> arrow_schema::FieldRef {
    Arc::new(arrow_schema::Field::new("", data_type, true))
}
