//! Functions of arrays and maps.

use super::*;

#[test]
fn arrays_and_maps() {
    let some = || numbers(&[Some(1), Some(2), None, Some(2)]);
    let none = || ScalarValue::try_from(&list(&[], &DataType::Int32).data_type()).unwrap();
    check("cardinality", &[some()], "4");
    check("cardinality", &[none()], "NULL");
    check("element", &[numbers(&[Some(7)])], "7");
    check("element", &[numbers(&[])], "NULL");
    refused("element", &[some()], "4 elements");
    check("array_at", &[some(), i(2)], "2");
    check("array_at", &[some(), i(9)], "NULL");
    refused("array_at", &[some(), i(0)], "index 1, not 0");
    refused("array_at", &[some(), i(-1)], "index 1, not -1");
    check("array_contains", &[some(), i(2)], "true");
    check("array_contains", &[some(), NO_INT], "true");
    check("array_contains", &[numbers(&[Some(1)]), NO_INT], "false");
    check("array_contains", &[none(), i(2)], "NULL");
    check("array_position", &[some(), i(2)], "2");
    check("array_position", &[some(), i(9)], "0");
    check("array_position", &[some(), NO_INT], "NULL");
    check("array_remove", &[some(), i(2)], "[1, NULL]");
    check("array_remove", &[some(), NO_INT], "[1, 2, 2]");
    check("array_append", &[some(), i(5)], "[1, 2, NULL, 2, 5]");
    check("array_append", &[none(), i(5)], "NULL");
    check("array_append", &[some(), NO_INT], "[1, 2, NULL, 2, NULL]");
    check("array_prepend", &[some(), i(5)], "[5, 1, 2, NULL, 2]");
    check("array_concat", &[some(), numbers(&[Some(9)])], "[1, 2, NULL, 2, 9]");
    check("array_concat", &[some(), none()], "NULL");
    check("array_distinct", &[some()], "[1, 2, NULL]");
    check("array_union", &[some(), numbers(&[Some(3), Some(1)])], "[1, 2, NULL, 3]");
    check("array_intersect", &[some(), numbers(&[Some(2), None])], "[2, NULL]");
    check("array_except", &[some(), numbers(&[Some(2)])], "[1, NULL]");
    check("array_except", &[some(), none()], "NULL");
    check("array_slice", &[some(), i(2), i(3)], "[2, NULL]");
    check("array_slice", &[some(), i(0), i(1)], "[1]");
    check("array_slice", &[some(), i(-2)], "[NULL, 2]");
    check("array_slice", &[some(), i(-9), i(-3)], "[1, 2]");
    check("array_slice", &[some(), i(3), i(2)], "[]");
    check("array_slice", &[some(), NO_INT], "NULL");
    let flag = |value| ScalarValue::Boolean(Some(value));
    check("array_sort", &[some()], "[NULL, 1, 2, 2]");
    check("array_sort", &[some(), flag(false)], "[2, 2, 1, NULL]");
    check("array_sort", &[some(), flag(true), flag(false)], "[1, 2, 2, NULL]");
    check("array_reverse", &[some()], "[2, NULL, 2, 1]");
    check("array_max", &[some()], "2");
    check("array_min", &[some()], "1");
    check("array_max", &[numbers(&[None])], "NULL");
    check("array_max", &[list(&[d(f64::NAN), d(1.0)], &DataType::Float64)], "NaN");
    check("array_distinct", &[list(&[d(0.0), d(-0.0)], &DataType::Float64)], "[0.0]");
    check("array_join", &[words(&[Some("a"), None, Some("b")]), t(",")], "a,b");
    check("array_join", &[words(&[Some("a"), None, Some("b")]), t(","), t("-")], "a,-,b");
    check("array_join", &[words(&[Some("a")]), NULL], "NULL");
    check("map_from_arrays", &[words(&[Some("a"), Some("b")]), numbers(&[Some(1), None])], "{a: 1, b: NULL}");
    refused("map_from_arrays", &[words(&[Some("a")]), numbers(&[])], "1 keys and 0 values");
    refused("array_contains", &[some(), t("2")], "ARRAY_CONTAINS(array, element)");
}
