//! The hash is frozen. Equal values have equal hashes in any encoding.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal128Array, Decimal256Array, DictionaryArray,
    Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int32Builder, Int64Array, LargeStringArray,
    ListArray, MapBuilder, StringArray, StringBuilder, StringViewArray, StructArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt8Array, UInt64Array,
    types::{Int32Type, Int64Type},
};
use arrow::datatypes::{DataType, Field, i256};
use proptest::prelude::*;
use thalweg_types::KeyGroup;

use super::{hash_rows, is_routable, key_groups_of};

fn hashes(columns: &[ArrayRef]) -> Vec<u64> {
    let mut hashes = vec![7];
    hash_rows(columns, &mut hashes);
    hashes
}

fn one(column: impl arrow::array::Array + 'static) -> Vec<u64> {
    hashes(&[Arc::new(column)])
}

fn decimal(values: Vec<Option<i128>>, scale: i8) -> Decimal128Array {
    Decimal128Array::from(values).with_precision_and_scale(38, scale).expect("a legal decimal type")
}

#[test]
fn golden_table() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("int", Arc::new(Int64Array::from(vec![Some(0), Some(1), Some(-1), Some(i64::MAX), None]))),
        ("u64", Arc::new(UInt64Array::from(vec![u64::MAX]))),
        ("float", Arc::new(Float64Array::from(vec![0.0, 1.5, f64::NAN, f64::INFINITY]))),
        ("text", Arc::new(StringArray::from(vec!["", "a", "thalweg", "the line of fastest flow along a river bed"]))),
        ("bool", Arc::new(BooleanArray::from(vec![false, true]))),
        ("decimal", Arc::new(decimal(vec![Some(0), Some(150), Some(-1)], 2))),
        ("timestamp", Arc::new(TimestampMillisecondArray::from(vec![0, -1, 1_700_000_000_000]))),
        ("date", Arc::new(Date32Array::from(vec![-1, 20_000]))),
    ];
    let lines: Vec<String> = columns
        .iter()
        .map(|(name, column)| format!("{name}: {:016x?}", hashes(std::slice::from_ref(column))))
        .collect();
    let pair = hashes(&[Arc::new(Int64Array::from(vec![1])), Arc::new(StringArray::from(vec!["a"]))]);
    insta::assert_snapshot!(format!("{}\npair: {pair:016x?}", lines.join("\n")));
}

#[test]
fn integers_of_every_width_agree() {
    let wide = one(Int64Array::from(vec![Some(5), Some(100), None]));
    assert_eq!(one(Int8Array::from(vec![Some(5), Some(100), None])), wide);
    assert_eq!(one(Int16Array::from(vec![Some(5), Some(100), None])), wide);
    assert_eq!(one(Int32Array::from(vec![Some(5), Some(100), None])), wide);
    assert_eq!(one(UInt8Array::from(vec![Some(5), Some(100), None])), wide);
    assert_eq!(one(UInt64Array::from(vec![Some(5), Some(100), None])), wide);
}

#[test]
fn text_agrees_whatever_the_encoding() {
    let words = ["", "a", "twelve bytes", "longer than twelve bytes"];
    let plain = one(StringArray::from(words.to_vec()));
    assert_eq!(one(LargeStringArray::from(words.to_vec())), plain);
    assert_eq!(one(StringViewArray::from(words.to_vec())), plain);
    assert_eq!(one(words.into_iter().collect::<DictionaryArray<Int32Type>>()), plain);
    assert_eq!(one(BinaryArray::from_iter_values(words)), plain);
}

#[test]
fn zeros_are_one_value_and_nans_are_one_value() {
    let odd_nan = f64::from_bits(f64::NAN.to_bits() | 1);
    let values = one(Float64Array::from(vec![0.0, -0.0, f64::NAN, odd_nan, -f64::NAN]));
    assert_eq!(values[0], values[1]);
    assert!(values[2..].iter().all(|hash| *hash == values[2]));
    assert_eq!(one(Float32Array::from(vec![1.5, -0.0])), one(Float64Array::from(vec![1.5, 0.0])));
}

#[test]
fn decimals_agree_at_every_scale() {
    let two = one(decimal(vec![Some(150), Some(0), Some(-700), None], 2));
    assert_eq!(one(decimal(vec![Some(15), Some(0), Some(-70), None], 1)), two);
    let wide: Decimal256Array = [Some(150_000), Some(0), Some(-700_000), None]
        .into_iter()
        .map(|value| value.map(i256::from_i128))
        .collect::<Decimal256Array>();
    assert_eq!(one(wide.with_precision_and_scale(70, 5).expect("a legal decimal type")), two);
}

#[test]
fn times_agree_in_every_unit() {
    let seconds = one(TimestampSecondArray::from(vec![Some(-3), Some(1_700_000_000), None]));
    assert_eq!(one(TimestampMillisecondArray::from(vec![Some(-3000), Some(1_700_000_000_000), None])), seconds);
    assert_eq!(
        one(TimestampMicrosecondArray::from(vec![Some(-3_000_000), Some(1_700_000_000_000_000), None])),
        seconds
    );
    let nanos = vec![Some(-3_000_000_000), Some(1_700_000_000_000_000_000), None];
    assert_eq!(one(TimestampNanosecondArray::from(nanos)), seconds);
    assert_eq!(one(Date64Array::from(vec![-86_400_000])), one(Date32Array::from(vec![-1])));
}

#[test]
fn null_is_neither_zero_nor_empty_and_positions_count() {
    let null_text = one(StringArray::from(vec![None, Some("")]));
    assert_ne!(null_text[0], null_text[1]);
    let (a, b): (ArrayRef, ArrayRef) = (Arc::new(Int64Array::from(vec![1])), Arc::new(Int64Array::from(vec![2])));
    assert_ne!(hashes(&[a.clone(), b.clone()]), hashes(&[b, a]));
}

#[test]
fn nested_values_hash_by_content() {
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
        Some(vec![Some(1), None]),
        Some(vec![]),
        None,
        Some(vec![Some(1), None]),
    ]);
    let by_list = one(lists);
    assert_eq!(by_list[0], by_list[3]);
    assert_ne!(by_list[1], by_list[2]);
    let field = |name| Arc::new(Field::new(name, DataType::Int64, true));
    let column = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let by_struct =
        one(StructArray::from(vec![(field("a"), column(vec![1, 1, 2])), (field("b"), column(vec![2, 2, 1]))]));
    assert_eq!(by_struct[0], by_struct[1]);
    assert_ne!(by_struct[0], by_struct[2]);
}

#[test]
fn rows_without_key_are_of_the_first_group() {
    assert_eq!(key_groups_of(&[], 3, 256), vec![KeyGroup(0); 3]);
    assert!(hashes(&[]).is_empty());
    assert!(!is_routable(&DataType::new_list(
        DataType::ListView(Arc::new(Field::new("l", DataType::Null, true))),
        true
    )));
}

proptest! {
    #[test]
    fn a_row_hashes_the_same_in_any_batch(values in prop::collection::vec(any::<Option<i64>>(), 1..40), at in 0usize..40) {
        let whole = one(Int64Array::from(values.clone()));
        let row = at % values.len();
        prop_assert_eq!(one(Int64Array::from(vec![values[row]]))[0], whole[row]);
        let texts: Vec<Option<String>> = values.iter().map(|value| value.map(|v| v.to_string())).collect();
        let sliced: ArrayRef = Arc::new(StringArray::from(texts.clone()).slice(row, 1));
        prop_assert_eq!(hashes(&[sliced])[0], one(StringViewArray::from(texts))[row]);
    }

    #[test]
    fn groups_are_in_range_and_refine(values in prop::collection::vec(any::<i64>(), 1..200)) {
        let column: ArrayRef = Arc::new(Int64Array::from(values));
        let fine = key_groups_of(std::slice::from_ref(&column), column.len(), 256);
        let coarse = key_groups_of(std::slice::from_ref(&column), column.len(), 16);
        for (fine, coarse) in fine.into_iter().zip(coarse) {
            prop_assert!(fine.0 < 256);
            prop_assert_eq!(fine.0 / 16, coarse.0);
        }
    }
}

#[test]
fn the_order_of_a_maps_entries_does_not_count() {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    for entries in [vec![("a", Some(1)), ("b", None)], vec![("b", None), ("a", Some(1))], vec![("a", None)], vec![]] {
        for (key, value) in entries {
            builder.keys().append_value(key);
            builder.values().append_option(value);
        }
        builder.append(true).expect("as many keys as values");
    }
    let map: ArrayRef = Arc::new(builder.finish());
    assert!(is_routable(map.data_type()));
    let mut hashes = Vec::new();
    hash_rows(&[map], &mut hashes);
    assert_eq!(hashes[0], hashes[1]);
    assert!(hashes[2] != hashes[0] && hashes[3] != hashes[2]);
}
