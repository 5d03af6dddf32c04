//! Columns of values without parts, under construction.
//!
//! As with those of JSON, a column may lag behind the row: the next value, or the end, fills in the missing rows. After a
//! fault, a column may or may not hold a value for the faulty row; that row is dropped.

use std::sync::Arc;

use arrow::{
    array::{
        Array as _, ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanArray, BooleanBufferBuilder, NullBufferBuilder,
        PrimitiveArray, StringViewBuilder, make_array,
    },
    buffer::NullBuffer,
    compute::cast,
    datatypes::{
        DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
        Int64Type, TimeUnit,
    },
    error::ArrowError,
};

use super::scalar::{Scalar, decimal_in};
use crate::json::{
    Fault,
    number::parse_decimal,
    pad_nulls, sql_name,
    timestamp::{Moment, parse, parse_date, parse_time},
};

/// Nanoseconds of a day.
const DAY: i64 = 86_400_000_000_000;

/// A column of values without parts.
pub(crate) struct ScalarColumn {
    values: Values,
    /// Unused by texts and bytes, whose builders have their own.
    nulls: NullBufferBuilder,
    nullable: bool,
    data_type: DataType,
    rows: usize,
}

enum Values {
    Boolean(BooleanBufferBuilder),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>, u8, i8),
    Text(StringViewBuilder),
    Bytes(BinaryBuilder),
    Date(Vec<i32>),
    Time(Vec<i64>, TimeUnit),
    Timestamp(Vec<i64>, TimeUnit),
}

impl ScalarColumn {
    /// A column for a field; `None` if its values have parts, or cannot be built.
    pub(crate) fn of(field: &Field) -> Option<Self> {
        use DataType as D;
        let values = match field.data_type() {
            D::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            D::Int8 => Values::Int8(Vec::new()),
            D::Int16 => Values::Int16(Vec::new()),
            D::Int32 => Values::Int32(Vec::new()),
            D::Int64 => Values::Int64(Vec::new()),
            D::Float32 => Values::Float32(Vec::new()),
            D::Float64 => Values::Float64(Vec::new()),
            D::Decimal128(precision, scale) => Values::Decimal(Vec::new(), *precision, *scale),
            D::Utf8View | D::Utf8 | D::LargeUtf8 => Values::Text(StringViewBuilder::new()),
            D::Binary | D::BinaryView | D::LargeBinary => Values::Bytes(BinaryBuilder::new()),
            D::Date32 => Values::Date(Vec::new()),
            D::Time64(unit) => Values::Time(Vec::new(), *unit),
            D::Timestamp(unit, _) => Values::Timestamp(Vec::new(), *unit),
            _ => return None,
        };
        Some(Self {
            values,
            nulls: NullBufferBuilder::new(0),
            nullable: field.is_nullable(),
            data_type: field.data_type().clone(),
            rows: 0,
        })
    }

    /// Adds the value of a row.
    #[inline]
    pub(crate) fn push(&mut self, row: usize, scalar: Scalar<'_>) -> Result<(), Fault> {
        if self.rows < row {
            self.pad(row);
        }
        match self.values.push(scalar) {
            Some(true) => self.nulls.append_non_null(),
            Some(false) => {}
            None => return Err(self.misfit(scalar)),
        }
        self.rows = row + 1;
        Ok(())
    }

    /// Adds the NULL of a row.
    pub(crate) fn push_null(&mut self, row: usize) -> Result<(), Fault> {
        if !self.nullable {
            return Err(Fault::new("is NOT NULL, found NULL"));
        }
        self.pad(row + 1);
        Ok(())
    }

    #[cold]
    fn misfit(&self, scalar: Scalar<'_>) -> Fault {
        Fault::new(format!("expected {}, found {scalar}", sql_name(&self.data_type)))
    }

    /// Fills in missing values up to `rows` rows: NULL, or defaults if the column is NOT NULL (such rows are dropped).
    pub(super) fn pad(&mut self, rows: usize) {
        let missing = rows.saturating_sub(self.rows);
        if missing == 0 {
            return;
        }
        let nullable = self.nullable;
        match &mut self.values {
            Values::Boolean(values) => values.append_n(missing, false),
            Values::Int8(values) => values.resize(values.len() + missing, 0),
            Values::Int16(values) => values.resize(values.len() + missing, 0),
            Values::Int32(values) | Values::Date(values) => values.resize(values.len() + missing, 0),
            Values::Int64(values) | Values::Time(values, _) | Values::Timestamp(values, _) => {
                values.resize(values.len() + missing, 0);
            }
            Values::Float32(values) => values.resize(values.len() + missing, 0.0),
            Values::Float64(values) => values.resize(values.len() + missing, 0.0),
            Values::Decimal(values, ..) => values.resize(values.len() + missing, 0),
            Values::Text(values) => (0..missing).for_each(|_| values.append_option((!nullable).then_some(""))),
            Values::Bytes(values) => (0..missing).for_each(|_| values.append_option((!nullable).then_some(b""))),
        }
        if !self.values.has_nulls() {
            pad_nulls(&mut self.nulls, missing, nullable);
        }
        self.rows = rows;
    }

    /// Returns an array of `rows` rows and resets the column.
    pub(super) fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.pad(rows);
        self.rows = 0;
        let nulls = if self.values.has_nulls() { None } else { self.nulls.finish() };
        let as_type = &self.data_type;
        match &mut self.values {
            Values::Boolean(values) => Ok(Arc::new(BooleanArray::new(values.finish(), nulls))),
            Values::Int8(values) => array::<Int8Type>(values, nulls, as_type),
            Values::Int16(values) => array::<Int16Type>(values, nulls, as_type),
            Values::Int32(values) => array::<Int32Type>(values, nulls, as_type),
            Values::Int64(values) | Values::Time(values, _) | Values::Timestamp(values, _) => {
                array::<Int64Type>(values, nulls, as_type)
            }
            Values::Float32(values) => array::<Float32Type>(values, nulls, as_type),
            Values::Float64(values) => array::<Float64Type>(values, nulls, as_type),
            Values::Decimal(values, ..) => array::<Decimal128Type>(values, nulls, as_type),
            Values::Date(values) => array::<Date32Type>(values, nulls, as_type),
            Values::Text(values) => encoded(Arc::new(values.finish()), as_type),
            Values::Bytes(values) => encoded(Arc::new(values.finish()), as_type),
        }
    }
}

/// An array of numbers that stand for values of a type.
fn array<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
    as_type: &DataType,
) -> Result<ArrayRef, ArrowError> {
    let capacity = values.len();
    let values = std::mem::replace(values, Vec::with_capacity(capacity));
    let numbers = PrimitiveArray::<T>::try_new(values.into(), nulls)?;
    Ok(make_array(numbers.into_data().into_builder().data_type(as_type.clone()).build()?))
}

/// Texts and bytes are built in one encoding each, and cast if the column wants another.
fn encoded(array: ArrayRef, as_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == as_type { Ok(array) } else { cast(&array, as_type) }
}

impl Values {
    /// Whether its builder knows which rows are NULL.
    fn has_nulls(&self) -> bool {
        match self {
            Self::Text(_) | Self::Bytes(_) => true,
            Self::Boolean(_)
            | Self::Int8(_)
            | Self::Int16(_)
            | Self::Int32(_)
            | Self::Int64(_)
            | Self::Float32(_)
            | Self::Float64(_)
            | Self::Decimal(..)
            | Self::Date(_)
            | Self::Time(..)
            | Self::Timestamp(..) => false,
        }
    }

    /// Adds a value; `None` if it does not fit, else whether its row is to be marked as not NULL.
    #[inline]
    fn push(&mut self, scalar: Scalar<'_>) -> Option<bool> {
        match self {
            Self::Boolean(values) => values.append(boolean(scalar)?),
            Self::Int8(values) => values.push(whole(scalar)?),
            Self::Int16(values) => values.push(whole(scalar)?),
            Self::Int32(values) => values.push(whole(scalar)?),
            Self::Int64(values) => values.push(whole(scalar)?),
            Self::Float32(values) => values.push(float(scalar)?),
            Self::Float64(values) => values.push(double(scalar)?),
            Self::Decimal(values, precision, scale) => values.push(decimal(scalar, *precision, *scale)?),
            Self::Date(values) => values.push(date(scalar)?),
            Self::Time(values, unit) => values.push(time(scalar, *unit)?),
            Self::Timestamp(values, unit) => values.push(timestamp(scalar, *unit)?),
            Self::Text(values) => {
                values.append_value(text(scalar)?);
                return Some(false);
            }
            Self::Bytes(values) => {
                values.append_value(bytes(scalar)?);
                return Some(false);
            }
        }
        Some(true)
    }
}

fn boolean(scalar: Scalar<'_>) -> Option<bool> {
    if let Scalar::Boolean(value) = scalar { Some(value) } else { None }
}

#[inline]
fn whole<T: TryFrom<i64> + TryFrom<u64>>(scalar: Scalar<'_>) -> Option<T> {
    if let Scalar::Integer(value) = scalar {
        return T::try_from(value).ok();
    }
    if let Scalar::Unsigned(value) = scalar { T::try_from(value).ok() } else { None }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "the nearest float is wanted")]
fn float(scalar: Scalar<'_>) -> Option<f32> {
    if let Scalar::Float(value) = scalar {
        return Some(value);
    }
    // An infinity stays one; a finite number that is too large for a FLOAT is none.
    let value = double(scalar)?;
    let nearest = value as f32;
    (nearest.is_finite() || !value.is_finite()).then_some(nearest)
}

#[allow(clippy::cast_precision_loss, reason = "the nearest float is wanted")]
fn double(scalar: Scalar<'_>) -> Option<f64> {
    match scalar {
        Scalar::Double(value) => Some(value),
        Scalar::Float(value) => Some(f64::from(value)),
        Scalar::Integer(value) => Some(value as f64),
        Scalar::Unsigned(value) => Some(value as f64),
        Scalar::Boolean(_)
        | Scalar::Decimal { .. }
        | Scalar::Text(_)
        | Scalar::Bytes(_)
        | Scalar::Date(_)
        | Scalar::Time(_)
        | Scalar::Timestamp(..)
        | Scalar::Moment(_)
        | Scalar::Literal(_) => None,
    }
}

fn decimal(scalar: Scalar<'_>, precision: u8, scale: i8) -> Option<i128> {
    match scalar {
        Scalar::Decimal { unscaled, scale: from } => decimal_in((unscaled, from), precision, scale),
        Scalar::Integer(value) => decimal_in((i128::from(value), 0), precision, scale),
        Scalar::Unsigned(value) => decimal_in((i128::from(value), 0), precision, scale),
        Scalar::Literal(text) => parse_decimal(text.trim().as_bytes(), precision, scale),
        Scalar::Boolean(_)
        | Scalar::Float(_)
        | Scalar::Double(_)
        | Scalar::Text(_)
        | Scalar::Bytes(_)
        | Scalar::Date(_)
        | Scalar::Time(_)
        | Scalar::Timestamp(..)
        | Scalar::Moment(_) => None,
    }
}

fn text(scalar: Scalar<'_>) -> Option<&str> {
    if let Scalar::Text(value) = scalar {
        return Some(value);
    }
    if let Scalar::Bytes(value) = scalar { std::str::from_utf8(value).ok() } else { None }
}

fn bytes(scalar: Scalar<'_>) -> Option<&[u8]> {
    if let Scalar::Bytes(value) = scalar {
        return Some(value);
    }
    if let Scalar::Text(value) = scalar { Some(value.as_bytes()) } else { None }
}

fn date(scalar: Scalar<'_>) -> Option<i32> {
    if let Scalar::Literal(text) = scalar {
        return parse_date(text.trim().as_bytes());
    }
    if let Scalar::Date(days) = scalar { Some(days) } else { None }
}

fn time(scalar: Scalar<'_>, unit: TimeUnit) -> Option<i64> {
    let nanos = match scalar {
        Scalar::Time(nanos) => nanos,
        Scalar::Literal(text) => parse_time(text.trim().as_bytes())?,
        Scalar::Boolean(_)
        | Scalar::Integer(_)
        | Scalar::Unsigned(_)
        | Scalar::Float(_)
        | Scalar::Double(_)
        | Scalar::Decimal { .. }
        | Scalar::Text(_)
        | Scalar::Bytes(_)
        | Scalar::Date(_)
        | Scalar::Timestamp(..)
        | Scalar::Moment(_) => return None,
    };
    let in_a_day = (0..DAY).contains(&nanos);
    in_a_day.then(|| Moment::from_unit(nanos, TimeUnit::Nanosecond).in_unit(unit)).flatten()
}

#[inline]
fn timestamp(scalar: Scalar<'_>, unit: TimeUnit) -> Option<i64> {
    match scalar {
        Scalar::Timestamp(value, from) if from == unit => Some(value),
        Scalar::Timestamp(value, from) => Moment::from_unit(value, from).in_unit(unit),
        Scalar::Moment(moment) => moment.in_unit(unit),
        Scalar::Literal(text) => parse(text.trim().as_bytes())?.in_unit(unit),
        Scalar::Boolean(_)
        | Scalar::Integer(_)
        | Scalar::Unsigned(_)
        | Scalar::Float(_)
        | Scalar::Double(_)
        | Scalar::Decimal { .. }
        | Scalar::Text(_)
        | Scalar::Bytes(_)
        | Scalar::Date(_)
        | Scalar::Time(_) => None,
    }
}
