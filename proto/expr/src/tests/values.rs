//! Values of every type that a literal may have.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, FixedSizeListArray, Int32Array, LargeListViewArray, ListArray, ListViewArray, MapArray,
        StringArray, StructArray,
    },
    buffer::OffsetBuffer,
    datatypes::{IntervalDayTime, IntervalMonthDayNano, i256},
};
use arrow_schema::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use datafusion_common::ScalarValue;
use datafusion_expr::Expr;

use super::{check, field};
use crate::{CodecError, encode};

const UNITS: [TimeUnit; 4] = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond];

fn check_value(value: ScalarValue) {
    let data_type = value.data_type();
    check(&Expr::Literal(value, None));
    check(&Expr::Literal(ScalarValue::try_new_null(&data_type).unwrap(), None));
}

#[test]
fn numbers_come_back() {
    use ScalarValue as S;
    let half = |bits| {
        S::Float16(Some(<arrow::datatypes::Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native::from_bits(
            bits,
        )))
    };
    for value in [
        S::Null,
        S::Boolean(Some(true)),
        S::Int8(Some(i8::MIN)),
        S::Int16(Some(i16::MIN)),
        S::Int32(Some(i32::MIN)),
        S::Int64(Some(i64::MIN)),
        S::UInt8(Some(u8::MAX)),
        S::UInt16(Some(u16::MAX)),
        S::UInt32(Some(u32::MAX)),
        S::UInt64(Some(u64::MAX)),
        half(0x7e01),
        half(0x3c00),
        S::Float32(Some(-0.0)),
        S::Float32(Some(f32::NAN)),
        S::Float64(Some(f64::from_bits(0xfff8_0000_0000_0001))),
        S::Float64(Some(f64::NEG_INFINITY)),
        S::Float64(Some(0.1)),
        S::Decimal32(Some(-123), 9, 2),
        S::Decimal64(Some(i64::MAX), 18, -3),
        S::Decimal128(Some(i128::MIN), 38, 38),
        S::Decimal256(Some(i256::MIN), 76, 0),
        S::Decimal256(Some(i256::MAX), 76, 76),
    ] {
        check_value(value);
    }
}

#[test]
fn texts_and_bytes_come_back() {
    use ScalarValue as S;
    for text in ["", "é\u{0}\"\\", "x"] {
        let (text, bytes) = (Some(text.to_owned()), Some(vec![0, 255]));
        for value in [S::Utf8(text.clone()), S::Utf8View(text.clone()), S::LargeUtf8(text)] {
            check_value(value);
        }
        let fixed = S::FixedSizeBinary(2, bytes.clone());
        for value in [S::Binary(bytes.clone()), S::BinaryView(bytes.clone()), S::LargeBinary(bytes), fixed] {
            check_value(value);
        }
    }
    let text = ScalarValue::Utf8(Some("x".to_owned()));
    check_value(ScalarValue::Dictionary(Box::new(DataType::Int32), Box::new(text)));
}

#[test]
fn times_come_back() {
    use ScalarValue as S;
    for value in [
        S::Date32(Some(-1)),
        S::Date64(Some(i64::MAX)),
        S::Time32Second(Some(1)),
        S::Time32Millisecond(Some(1)),
        S::Time64Microsecond(Some(1)),
        S::Time64Nanosecond(Some(1)),
        S::DurationSecond(Some(-1)),
        S::DurationMillisecond(Some(i64::MIN)),
        S::DurationMicrosecond(Some(1)),
        S::DurationNanosecond(Some(1)),
        S::IntervalYearMonth(Some(-13)),
        S::IntervalDayTime(Some(IntervalDayTime::new(-1, i32::MAX))),
        S::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(-1, 2, i64::MIN))),
    ] {
        check_value(value);
    }
    for zone in [None, Some(Arc::from("Europe/Paris")), Some(Arc::from(""))] {
        check_value(S::TimestampSecond(Some(i64::MIN), zone.clone()));
        check_value(S::TimestampMillisecond(Some(0), zone.clone()));
        check_value(S::TimestampMicrosecond(Some(1), zone.clone()));
        check_value(S::TimestampNanosecond(Some(i64::MAX), zone));
    }
}

#[test]
fn lists_come_back() {
    use ScalarValue as S;
    let integers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
    let item = Arc::new(Field::new("element", DataType::Int32, true));
    check_value(S::List(Arc::new(ListArray::new(
        item.clone(),
        OffsetBuffer::from_lengths([3]),
        integers.clone(),
        None,
    ))));
    check_value(S::FixedSizeList(Arc::new(FixedSizeListArray::new(item.clone(), 3, integers.clone(), None))));
    let view = ListViewArray::new(item.clone(), vec![0].into(), vec![2].into(), integers.clone(), None);
    check_value(S::ListView(Arc::new(view)));
    let view = LargeListViewArray::new(item, vec![1].into(), vec![2].into(), integers, None);
    check_value(S::LargeListView(Arc::new(view)));
    check_value(S::List(S::new_list(&[], &DataType::Utf8View, true)));
    check_value(S::LargeList(S::new_large_list(&[S::from("a"), S::from("b")], &DataType::Utf8)));
    let zone = DataType::Timestamp(TimeUnit::Millisecond, Some("+01:00".into()));
    let time = S::TimestampMillisecond(Some(5), Some("+01:00".into()));
    let inner = S::List(S::new_list(&[time], &zone, true));
    let outer = S::new_list(&[inner.clone(), S::try_new_null(&inner.data_type()).unwrap()], &inner.data_type(), true);
    check_value(S::List(outer));
    check_value(S::FixedSizeList(Arc::new(FixedSizeListArray::new(
        field(DataType::Null),
        0,
        arrow::array::new_empty_array(&DataType::Null),
        Some(vec![true].into()),
    ))));
}

#[test]
fn structs_and_maps_come_back() {
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let values: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let fields =
        Fields::from(vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Int32, true)]);
    let pairs = StructArray::new(fields.clone(), vec![keys, values], None);
    let entries = Arc::new(Field::new("entries", DataType::Struct(fields), false));
    let map = |pairs: StructArray| {
        MapArray::new(entries.clone(), OffsetBuffer::from_lengths([pairs.len()]), pairs, None, false)
    };
    check_value(ScalarValue::Struct(Arc::new(pairs.slice(1, 1))));
    check_value(ScalarValue::Map(Arc::new(map(pairs.slice(0, 0)))));
    check_value(ScalarValue::Map(Arc::new(map(pairs.clone()))));
    let noted = Field::new("m", map(pairs.clone()).data_type().clone(), true)
        .with_metadata(HashMap::from([("k".to_owned(), "v".to_owned())]));
    let outer = StructArray::new(vec![noted].into(), vec![Arc::new(map(pairs))], None);
    check_value(ScalarValue::Struct(Arc::new(outer)));
    check_value(ScalarValue::Struct(Arc::new(StructArray::new_empty_fields(1, None))));
}

#[test]
fn nulls_of_every_type_come_back() {
    let times = UNITS.into_iter().flat_map(|unit| [DataType::Timestamp(unit, None), DataType::Duration(unit)]);
    let intervals = [IntervalUnit::YearMonth, IntervalUnit::DayTime, IntervalUnit::MonthDayNano];
    for data_type in times.chain(intervals.map(DataType::Interval)) {
        check(&Expr::Literal(ScalarValue::try_new_null(&data_type).unwrap(), None));
    }
}

#[test]
fn values_of_no_column_are_refused() {
    let item = ScalarValue::Int32(Some(1));
    let ends = Arc::new(Field::new("run_ends", DataType::Int32, false));
    let value = ScalarValue::RunEndEncoded(ends, field(DataType::Int32), Box::new(item));
    assert!(matches!(encode(&Expr::Literal(value, None)), Err(CodecError::Type { .. })));
    let two = ListArray::new_null(field(DataType::Int32), 2);
    assert!(matches!(encode(&Expr::Literal(ScalarValue::List(Arc::new(two)), None)), Err(CodecError::Value { .. })));
}
