//! Values of literals, without their types.
//!
//! NULL is no datum. Lists, maps and structs hold a datum per item, pair or field.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, GenericListViewArray, MapArray,
        OffsetSizeTrait, StructArray, new_empty_array,
    },
    buffer::{OffsetBuffer, ScalarBuffer},
    datatypes::{ArrowPrimitiveType, Float16Type, IntervalDayTime, IntervalMonthDayNano, i256},
};
use arrow_schema::{DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit};
use datafusion_common::ScalarValue;
use serde::{Deserialize, Serialize};

use crate::{CodecError, types};

type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// A value without its type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Datum {
    Bool(bool),
    /// Integers, decimals without their point, dates, times, timestamps, durations, and months of an interval.
    Int(i128),
    /// Decimals of 256 bits, in base 10.
    Wide(String),
    /// The bits of floating-point numbers: JSON has no NaN.
    Bits(u64),
    Text(String),
    Bytes(#[serde(with = "thalweg_types::text::hex_bytes")] Vec<u8>),
    /// Days and milliseconds.
    DayTime(i32, i32),
    /// Months, days and nanoseconds.
    MonthDayNano(i32, i32, i64),
    Items(Vec<Option<Datum>>),
}

impl Datum {
    /// Splits a value into its type and its datum.
    pub(crate) fn of(scalar: &ScalarValue) -> Result<(DataType, Option<Self>), CodecError> {
        let data_type = scalar.data_type();
        types::check(&data_type)?;
        let datum = plain(scalar, &data_type)?;
        Ok((data_type, datum))
    }

    /// Makes a value of a type from a datum.
    pub(crate) fn to_scalar(datum: Option<&Self>, data_type: &DataType) -> Result<ScalarValue, CodecError> {
        types::check(data_type)?;
        scalar_of(datum, data_type)
    }
}

fn int<T: Copy + Into<i128>>(value: &Option<T>) -> Option<Datum> {
    value.map(|value| Datum::Int(value.into()))
}

fn plain(scalar: &ScalarValue, data_type: &DataType) -> Result<Option<Datum>, CodecError> {
    use ScalarValue as S;
    Ok(match scalar {
        S::Null => None,
        S::Boolean(value) => value.map(Datum::Bool),
        S::Float16(value) => value.map(|value| Datum::Bits(value.to_bits().into())),
        S::Float32(value) => value.map(|value| Datum::Bits(value.to_bits().into())),
        S::Float64(value) => value.map(|value| Datum::Bits(value.to_bits())),
        S::Int8(value) => int(value),
        S::Int16(value) => int(value),
        S::UInt8(value) => int(value),
        S::UInt16(value) => int(value),
        S::UInt32(value) => int(value),
        S::UInt64(value) => int(value),
        S::Int32(value)
        | S::Decimal32(value, _, _)
        | S::Date32(value)
        | S::Time32Second(value)
        | S::Time32Millisecond(value)
        | S::IntervalYearMonth(value) => int(value),
        S::Int64(value)
        | S::Decimal64(value, _, _)
        | S::Date64(value)
        | S::Time64Microsecond(value)
        | S::Time64Nanosecond(value)
        | S::TimestampSecond(value, _)
        | S::TimestampMillisecond(value, _)
        | S::TimestampMicrosecond(value, _)
        | S::TimestampNanosecond(value, _)
        | S::DurationSecond(value)
        | S::DurationMillisecond(value)
        | S::DurationMicrosecond(value)
        | S::DurationNanosecond(value) => int(value),
        S::Decimal128(value, _, _) => int(value),
        S::Decimal256(value, _, _) => value.map(|value| Datum::Wide(value.to_string())),
        S::Utf8(value) | S::Utf8View(value) | S::LargeUtf8(value) => value.clone().map(Datum::Text),
        S::Binary(value) | S::BinaryView(value) | S::LargeBinary(value) | S::FixedSizeBinary(_, value) => {
            value.clone().map(Datum::Bytes)
        }
        S::IntervalDayTime(value) => value.map(|value| Datum::DayTime(value.days, value.milliseconds)),
        S::IntervalMonthDayNano(value) => {
            value.map(|value| Datum::MonthDayNano(value.months, value.days, value.nanoseconds))
        }
        S::FixedSizeList(array) => items(array.as_ref(), |array| array.value(0))?,
        S::List(array) => items(array.as_ref(), |array| array.value(0))?,
        S::LargeList(array) => items(array.as_ref(), |array| array.value(0))?,
        S::ListView(array) => items(array.as_ref(), |array| array.value(0))?,
        S::LargeListView(array) => items(array.as_ref(), |array| array.value(0))?,
        S::Map(array) => items(array.as_ref(), |array| Arc::new(array.value(0)))?,
        S::Struct(array) => fields(array)?,
        S::Dictionary(_, value) => plain(value, data_type)?,
        S::Union(_, _, _) | S::RunEndEncoded(_, _, _) => return Err(CodecError::value(data_type)),
    })
}

fn is_null<A: Array>(array: &A) -> Result<bool, CodecError> {
    // A scalar is an array of one row. Its type does not ensure that.
    if array.len() == 1 { Ok(array.is_null(0)) } else { Err(CodecError::value(array.data_type())) }
}

fn items<A: Array>(array: &A, only: impl Fn(&A) -> ArrayRef) -> Result<Option<Datum>, CodecError> {
    if is_null(array)? {
        return Ok(None);
    }
    let values = only(array);
    (0..values.len()).map(|row| cell(&values, row)).collect::<Result<_, _>>().map(|items| Some(Datum::Items(items)))
}

fn fields(array: &StructArray) -> Result<Option<Datum>, CodecError> {
    if is_null(array)? {
        return Ok(None);
    }
    array
        .columns()
        .iter()
        .map(|column| cell(column, 0))
        .collect::<Result<_, _>>()
        .map(|items| Some(Datum::Items(items)))
}

fn cell(array: &ArrayRef, row: usize) -> Result<Option<Datum>, CodecError> {
    let scalar = ScalarValue::try_from_array(array, row).map_err(CodecError::invalid(array.data_type()))?;
    plain(&scalar, array.data_type())
}

fn scalar_of(datum: Option<&Datum>, data_type: &DataType) -> Result<ScalarValue, CodecError> {
    if let DataType::Dictionary(key, value) = data_type {
        return Ok(ScalarValue::Dictionary(key.clone(), Box::new(scalar_of(datum, value)?)));
    }
    match datum {
        None => ScalarValue::try_new_null(data_type).map_err(CodecError::invalid(data_type)),
        Some(Datum::Int(value)) => integer(*value, data_type).ok_or_else(|| CodecError::value(data_type)),
        Some(Datum::Items(items)) => nested(items, data_type),
        Some(datum) => other(datum, data_type).ok_or_else(|| CodecError::value(data_type)),
    }
}

fn integer(value: i128, data_type: &DataType) -> Option<ScalarValue> {
    use ScalarValue as S;
    let (short, long) = (i32::try_from(value).ok(), i64::try_from(value).ok());
    let scalar = match data_type {
        DataType::Int8 => S::Int8(value.try_into().ok()),
        DataType::Int16 => S::Int16(value.try_into().ok()),
        DataType::Int32 => S::Int32(short),
        DataType::Int64 => S::Int64(long),
        DataType::UInt8 => S::UInt8(value.try_into().ok()),
        DataType::UInt16 => S::UInt16(value.try_into().ok()),
        DataType::UInt32 => S::UInt32(value.try_into().ok()),
        DataType::UInt64 => S::UInt64(value.try_into().ok()),
        DataType::Decimal32(precision, scale) => S::Decimal32(short, *precision, *scale),
        DataType::Decimal64(precision, scale) => S::Decimal64(long, *precision, *scale),
        DataType::Decimal128(precision, scale) => S::Decimal128(Some(value), *precision, *scale),
        DataType::Date32 => S::Date32(short),
        DataType::Date64 => S::Date64(long),
        DataType::Time32(TimeUnit::Second) => S::Time32Second(short),
        DataType::Time32(TimeUnit::Millisecond) => S::Time32Millisecond(short),
        DataType::Time64(TimeUnit::Microsecond) => S::Time64Microsecond(long),
        DataType::Time64(TimeUnit::Nanosecond) => S::Time64Nanosecond(long),
        DataType::Timestamp(TimeUnit::Second, zone) => S::TimestampSecond(long, zone.clone()),
        DataType::Timestamp(TimeUnit::Millisecond, zone) => S::TimestampMillisecond(long, zone.clone()),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => S::TimestampMicrosecond(long, zone.clone()),
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => S::TimestampNanosecond(long, zone.clone()),
        DataType::Duration(TimeUnit::Second) => S::DurationSecond(long),
        DataType::Duration(TimeUnit::Millisecond) => S::DurationMillisecond(long),
        DataType::Duration(TimeUnit::Microsecond) => S::DurationMicrosecond(long),
        DataType::Duration(TimeUnit::Nanosecond) => S::DurationNanosecond(long),
        DataType::Interval(IntervalUnit::YearMonth) => S::IntervalYearMonth(short),
        _ => return None,
    };
    // A number that does not fit became NULL.
    (!scalar.is_null()).then_some(scalar)
}

fn other(datum: &Datum, data_type: &DataType) -> Option<ScalarValue> {
    use ScalarValue as S;
    Some(match (datum, data_type) {
        (Datum::Bool(value), DataType::Boolean) => S::Boolean(Some(*value)),
        (Datum::Wide(digits), DataType::Decimal256(precision, scale)) => {
            S::Decimal256(Some(digits.parse::<i256>().ok()?), *precision, *scale)
        }
        (Datum::Bits(bits), DataType::Float16) => S::Float16(Some(Half::from_bits((*bits).try_into().ok()?))),
        (Datum::Bits(bits), DataType::Float32) => S::Float32(Some(f32::from_bits((*bits).try_into().ok()?))),
        (Datum::Bits(bits), DataType::Float64) => S::Float64(Some(f64::from_bits(*bits))),
        (Datum::Text(text), DataType::Utf8) => S::Utf8(Some(text.clone())),
        (Datum::Text(text), DataType::Utf8View) => S::Utf8View(Some(text.clone())),
        (Datum::Text(text), DataType::LargeUtf8) => S::LargeUtf8(Some(text.clone())),
        (Datum::Bytes(bytes), DataType::Binary) => S::Binary(Some(bytes.clone())),
        (Datum::Bytes(bytes), DataType::BinaryView) => S::BinaryView(Some(bytes.clone())),
        (Datum::Bytes(bytes), DataType::LargeBinary) => S::LargeBinary(Some(bytes.clone())),
        (Datum::Bytes(bytes), DataType::FixedSizeBinary(length)) if usize::try_from(*length) == Ok(bytes.len()) => {
            S::FixedSizeBinary(*length, Some(bytes.clone()))
        }
        (Datum::DayTime(days, milliseconds), DataType::Interval(IntervalUnit::DayTime)) => {
            S::IntervalDayTime(Some(IntervalDayTime::new(*days, *milliseconds)))
        }
        (Datum::MonthDayNano(months, days, nanoseconds), DataType::Interval(IntervalUnit::MonthDayNano)) => {
            S::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(*months, *days, *nanoseconds)))
        }
        _ => return None,
    })
}

fn nested(items: &[Option<Datum>], data_type: &DataType) -> Result<ScalarValue, CodecError> {
    use ScalarValue as S;
    match data_type {
        DataType::List(item) => list(items, item, data_type).map(|list| S::List(Arc::new(list))),
        DataType::LargeList(item) => list(items, item, data_type).map(|list| S::LargeList(Arc::new(list))),
        DataType::ListView(item) => view(items, item, data_type).map(|list| S::ListView(Arc::new(list))),
        DataType::LargeListView(item) => view(items, item, data_type).map(|list| S::LargeListView(Arc::new(list))),
        DataType::FixedSizeList(item, length) => {
            FixedSizeListArray::try_new_with_length(item.clone(), *length, column(items, item)?, None, 1)
                .map(|list| S::FixedSizeList(Arc::new(list)))
                .map_err(CodecError::invalid_array(data_type))
        }
        DataType::Struct(fields) => row(items, fields, data_type).map(|row| S::Struct(Arc::new(row))),
        DataType::Map(entries, sorted) => map(items, entries, *sorted, data_type).map(|map| S::Map(Arc::new(map))),
        _ => Err(CodecError::value(data_type)),
    }
}

fn column(items: &[Option<Datum>], item: &Field) -> Result<ArrayRef, CodecError> {
    let data_type = item.data_type();
    if items.is_empty() {
        return Ok(new_empty_array(data_type));
    }
    types::check_items(data_type, items.len())?;
    let scalars = items.iter().map(|item| scalar_of(item.as_ref(), data_type)).collect::<Result<Vec<_>, _>>()?;
    ScalarValue::iter_to_array(scalars).map_err(CodecError::invalid(data_type))
}

fn list<O: OffsetSizeTrait>(
    items: &[Option<Datum>],
    item: &FieldRef,
    data_type: &DataType,
) -> Result<GenericListArray<O>, CodecError> {
    let offsets = OffsetBuffer::from_lengths([items.len()]);
    GenericListArray::try_new(item.clone(), offsets, column(items, item)?, None)
        .map_err(CodecError::invalid_array(data_type))
}

fn view<O: OffsetSizeTrait>(
    items: &[Option<Datum>],
    item: &FieldRef,
    data_type: &DataType,
) -> Result<GenericListViewArray<O>, CodecError> {
    let length = O::from_usize(items.len()).ok_or_else(|| CodecError::value(data_type))?;
    let (offsets, sizes) = (ScalarBuffer::from(vec![O::zero()]), ScalarBuffer::from(vec![length]));
    GenericListViewArray::try_new(item.clone(), offsets, sizes, column(items, item)?, None)
        .map_err(CodecError::invalid_array(data_type))
}

fn row(items: &[Option<Datum>], fields: &Fields, data_type: &DataType) -> Result<StructArray, CodecError> {
    if items.len() != fields.len() {
        return Err(CodecError::value(data_type));
    }
    let columns = items.iter().zip(fields).map(|(item, field)| column(std::slice::from_ref(item), field));
    StructArray::try_new_with_length(fields.clone(), columns.collect::<Result<_, _>>()?, None, 1)
        .map_err(CodecError::invalid_array(data_type))
}

fn map(
    items: &[Option<Datum>],
    entries: &FieldRef,
    sorted: bool,
    data_type: &DataType,
) -> Result<MapArray, CodecError> {
    let pairs = column(items, entries)?;
    let pairs = pairs.as_struct_opt().ok_or_else(|| CodecError::value(data_type))?;
    let offsets = OffsetBuffer::from_lengths([items.len()]);
    MapArray::try_new(entries.clone(), offsets, pairs.clone(), None, sorted)
        .map_err(CodecError::invalid_array(data_type))
}
