//! How long, deep and large an expression may be.

use arrow_schema::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, Operator, binary_expr, cast, col, lit};

use super::{FUNCTIONS, check, field};
use crate::{CodecError, DEPTH_MAX, LINKS_MAX, decode, encode};

fn spine(levels: usize, link: impl Fn(usize) -> Operator) -> Expr {
    (1..levels).fold(col("a"), |left, at| binary_expr(left, link(at), lit(1)))
}

/// Comparing and dropping trees as deep as these spines are long is recursive, and needs a large stack.
fn with_room(run: impl FnOnce()) {
    stacker::grow(256 << 20, run);
}

#[test]
fn long_spines_come_back() {
    with_room(|| {
        let links = LINKS_MAX - 1;
        for operator in [Operator::And, Operator::Or, Operator::Plus, Operator::StringConcat] {
            check(&spine(links, |_| operator));
        }
        let mixed = [Operator::Plus, Operator::Minus, Operator::Multiply];
        check(&spine(links, |at| mixed[at % 3]));
        check(&(1..links).fold(col("a"), |inner, at| cast(inner, [DataType::Int8, DataType::Int16][at % 2].clone())));
        check(&(1..links).fold(col("a"), |right, _| col("b").and(right)));
    });
    check(&(1..DEPTH_MAX).fold(col("a"), |inner, _| !inner));
    check(&(1..DEPTH_MAX).fold(col("a"), |right, _| lit(1) + right));
    let alternating = |levels: usize| {
        (1..levels).fold(col("a"), |left, at| if at % 2 == 0 { left.and(col("b")) } else { left.or(col("c")) })
    };
    check(&alternating(DEPTH_MAX));
    assert!(matches!(encode(&alternating(DEPTH_MAX + 1)), Err(CodecError::TooDeep)));
}

#[test]
fn long_lists_come_back() {
    check(&col("a").in_list((0..20_000).map(lit).collect(), false));
}

#[test]
fn deeper_ones_are_refused_at_both_ends() {
    assert!(matches!(encode(&(0..DEPTH_MAX).fold(col("a"), |inner, _| !inner)), Err(CodecError::TooDeep)));
    with_room(|| assert!(matches!(encode(&spine(LINKS_MAX + 1, |_| Operator::And)), Err(CodecError::TooLong))));
    let links = vec![r#"{"column":"a"},{"binary":"plus"}"#; LINKS_MAX].join(",");
    let text = format!(r#"{{"format":1,"nodes":[{{"column":"a"}},{links}]}}"#);
    with_room(|| assert!(matches!(decode(text.as_bytes(), &FUNCTIONS), Err(CodecError::TooLong))));
    let nots = vec![r#"{"unary":"not"}"#; DEPTH_MAX].join(",");
    let text = format!(r#"{{"format":1,"nodes":[{{"column":"a"}},{nots}]}}"#);
    assert!(matches!(decode(text.as_bytes(), &FUNCTIONS), Err(CodecError::TooDeep)));
}

#[test]
fn nodes_that_are_no_tree_are_refused() {
    for (nodes, said) in [
        ("", "there is none"),
        (r#"{"column":"a"},{"column":"b"}"#, "there is more than one"),
        (r#"{"column":"a"},{"binary":"eq"}"#, "a part is missing"),
        (r#"{"column":"a"},{"in_list":{"items":18446744073709551615,"negated":false}}"#, "a part is missing"),
        (r#"{"case":{"operand":true,"branches":18446744073709551615,"otherwise":true}}"#, "a part is missing"),
    ] {
        let error = decode(format!(r#"{{"format":1,"nodes":[{nodes}]}}"#).as_bytes(), &FUNCTIONS).unwrap_err();
        assert_eq!(error.to_string(), format!("could not decode an expression: {said}"));
    }
}

#[test]
fn deeply_nested_types_come_back_or_are_refused() {
    let nested = |levels| (1..levels).fold(DataType::Int8, |inner, _| DataType::Struct(vec![field(inner)].into()));
    check(&cast(col("a"), nested(32)));
    check(&Expr::Literal(ScalarValue::try_new_null(&nested(32)).unwrap(), None));
    let listed = (1..32).fold(ScalarValue::from(1i8), |item, _| {
        ScalarValue::List(ScalarValue::new_list(std::slice::from_ref(&item), &item.data_type(), true))
    });
    check(&Expr::Literal(listed, None));
    assert!(matches!(encode(&cast(col("a"), nested(33))), Err(CodecError::Type { .. })));
}

#[test]
fn types_that_have_no_values_are_refused() {
    for data_type in [
        r#"{"FixedSizeBinary":-1}"#,
        r#"{"FixedSizeBinary":2000000000}"#,
        r#"{"FixedSizeList":[{"name":"","data_type":"Int64","nullable":true,"dict_id":0,"dict_is_ordered":false,"metadata":{}},100000]}"#,
        r#"{"Decimal128":[39,0]}"#,
        r#"{"Decimal128":[0,0]}"#,
        r#"{"Decimal256":[10,-128]}"#,
        r#"{"Dictionary":["Utf8","Utf8"]}"#,
        r#"{"Dictionary":["Int8",{"Struct":[]}]}"#,
        r#"{"Map":[{"name":"","data_type":"Int64","nullable":false,"dict_id":0,"dict_is_ordered":false,"metadata":{}},false]}"#,
        r#"{"Time32":"Nanosecond"}"#,
        r#"{"Union":[[],"Sparse"]}"#,
    ] {
        let node = format!(r#"{{"literal":{{"type":{data_type},"value":null}}}}"#);
        let error = decode(format!(r#"{{"format":1,"nodes":[{node}]}}"#).as_bytes(), &FUNCTIONS).unwrap_err();
        assert!(matches!(error, CodecError::Type { .. }), "{data_type}: {error:?}");
    }
}
