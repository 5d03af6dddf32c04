//! Values read out of arrays, whose types are resolved once.

use std::ops::Range;

use arrow::{
    array::{
        Array, ArrayRef, AsArray as _, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray, RecordBatch,
        StringViewArray, StructArray,
    },
    compute::cast,
    datatypes::{
        ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
        Int32Type, Int64Type, TimeUnit,
    },
    error::ArrowError,
};

use super::scalar::Scalar;

/// The values of an array.
pub(crate) enum Cells {
    Null,
    Boolean(BooleanArray),
    Int8(PrimitiveArray<Int8Type>),
    Int16(PrimitiveArray<Int16Type>),
    Int32(PrimitiveArray<Int32Type>),
    Int64(PrimitiveArray<Int64Type>),
    Float32(PrimitiveArray<Float32Type>),
    Float64(PrimitiveArray<Float64Type>),
    Decimal(PrimitiveArray<Decimal128Type>, i8),
    Text(StringViewArray),
    Bytes(BinaryArray),
    Date(PrimitiveArray<Date32Type>),
    /// In nanoseconds.
    Time(PrimitiveArray<Int64Type>),
    Timestamp(PrimitiveArray<Int64Type>, TimeUnit),
    Row(StructArray, Vec<Cells>),
    List(ListArray, Box<Cells>),
    /// The keys, and the values.
    Map(MapArray, Box<Cells>, Box<Cells>),
}

/// The values of a batch, column by column.
pub(crate) fn cells_of(batch: &RecordBatch) -> Result<Vec<Cells>, ArrowError> {
    batch.columns().iter().map(Cells::of).collect()
}

fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef) -> PrimitiveArray<T> {
    array.as_primitive::<T>().clone()
}

impl Cells {
    /// The values of an array. The error names a type that cannot be read.
    pub(crate) fn of(array: &ArrayRef) -> Result<Self, ArrowError> {
        use DataType as D;
        Ok(match array.data_type() {
            D::Null => Self::Null,
            D::Boolean => Self::Boolean(array.as_boolean().clone()),
            D::Int8 => Self::Int8(primitive(array)),
            D::Int16 => Self::Int16(primitive(array)),
            D::Int32 => Self::Int32(primitive(array)),
            D::Int64 => Self::Int64(primitive(array)),
            D::Float32 => Self::Float32(primitive(array)),
            D::Float64 => Self::Float64(primitive(array)),
            D::Decimal128(_, scale) => Self::Decimal(primitive(array), *scale),
            D::Utf8View => Self::Text(array.as_string_view().clone()),
            D::Utf8 | D::LargeUtf8 => Self::Text(cast(array, &D::Utf8View)?.as_string_view().clone()),
            D::Binary => Self::Bytes(array.as_binary::<i32>().clone()),
            D::BinaryView | D::LargeBinary => Self::Bytes(cast(array, &D::Binary)?.as_binary::<i32>().clone()),
            D::Date32 => Self::Date(primitive(array)),
            D::Time32(_) | D::Time64(_) => {
                Self::Time(primitive(&cast(&cast(array, &D::Time64(TimeUnit::Nanosecond))?, &D::Int64)?))
            }
            D::Timestamp(unit, _) => Self::Timestamp(primitive(&cast(array, &D::Int64)?), *unit),
            D::Dictionary(_, value) => return Self::of(&cast(array, value)?),
            D::Struct(_) => {
                let row = array.as_struct();
                Self::Row(row.clone(), row.columns().iter().map(Self::of).collect::<Result<_, _>>()?)
            }
            D::List(_) => {
                let list = array.as_list::<i32>();
                Self::List(list.clone(), Box::new(Self::of(list.values())?))
            }
            D::Map(..) => {
                let map = array.as_map();
                Self::Map(map.clone(), Box::new(Self::of(map.keys())?), Box::new(Self::of(map.values())?))
            }
            other => return Err(ArrowError::NotYetImplemented(format!("type {other} cannot be written"))),
        })
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        let array: &dyn Array = match self {
            Self::Null => return true,
            Self::Boolean(array) => array,
            Self::Int8(array) => array,
            Self::Int16(array) => array,
            Self::Int32(array) => array,
            Self::Int64(array) | Self::Time(array) | Self::Timestamp(array, _) => array,
            Self::Float32(array) => array,
            Self::Float64(array) => array,
            Self::Decimal(array, _) => array,
            Self::Text(array) => array,
            Self::Bytes(array) => array,
            Self::Date(array) => array,
            Self::Row(array, _) => array,
            Self::List(array, _) => array,
            Self::Map(array, ..) => array,
        };
        array.is_null(row)
    }

    /// A value that is not NULL; `None` if it has parts.
    pub(crate) fn scalar(&self, row: usize) -> Option<Scalar<'_>> {
        Some(match self {
            Self::Boolean(array) => Scalar::Boolean(array.value(row)),
            Self::Int8(array) => Scalar::Integer(i64::from(array.value(row))),
            Self::Int16(array) => Scalar::Integer(i64::from(array.value(row))),
            Self::Int32(array) => Scalar::Integer(i64::from(array.value(row))),
            Self::Int64(array) => Scalar::Integer(array.value(row)),
            Self::Float32(array) => Scalar::Float(array.value(row)),
            Self::Float64(array) => Scalar::Double(array.value(row)),
            Self::Decimal(array, scale) => Scalar::Decimal { unscaled: array.value(row), scale: *scale },
            Self::Text(array) => Scalar::Text(array.value(row)),
            Self::Bytes(array) => Scalar::Bytes(array.value(row)),
            Self::Date(array) => Scalar::Date(array.value(row)),
            Self::Time(array) => Scalar::Time(array.value(row)),
            Self::Timestamp(array, unit) => Scalar::Timestamp(array.value(row), *unit),
            Self::Null | Self::Row(..) | Self::List(..) | Self::Map(..) => return None,
        })
    }
}

/// The items of a row, in the cells of items.
pub(crate) fn extent(offsets: &[i32], row: usize) -> Range<usize> {
    let at = |index: usize| usize::try_from(offsets[index]).expect("offsets are not negative");
    at(row)..at(row + 1)
}
