//! Encodes record batches as JSON lines, losslessly: the text decodes to the same values.
//!
//! NULL fields are written as `null`. Decimals are numbers with all digits of their scale, floats the shortest text
//! that parses to the same value, bytes base64. Timestamps have as many fractional digits as their unit.

use arrow::{
    array::{
        Array, ArrayRef, AsArray as _, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray, RecordBatch,
        StringViewArray, StructArray,
    },
    compute::cast,
    datatypes::{
        ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
        Int32Type, Int64Type, SchemaRef, TimeUnit, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
    error::ArrowError,
};

use super::{
    number::{write_decimal, write_float, write_integer},
    text::{write_base64, write_string},
    timestamp::{self, TimestampForm},
};

/// Writes batches of one schema.
#[derive(Debug, Clone)]
pub(crate) struct JsonWriter {
    form: TimestampForm,
}

impl JsonWriter {
    /// A writer for this schema. The error names a column that cannot be written.
    pub(crate) fn new(schema: &SchemaRef, form: TimestampForm) -> Result<Self, String> {
        for field in schema.fields() {
            Values::of(&arrow::array::new_empty_array(field.data_type()), form)
                .map_err(|error| format!("column {}: {error}", field.name()))?;
        }
        Ok(Self { form })
    }

    /// Appends one line per row.
    pub(crate) fn write(&self, batch: &RecordBatch, into: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.write_each(batch, into, |into| into.push(b'\n'))
    }

    /// Appends one object per row, and calls `end` behind each.
    pub(crate) fn write_each(
        &self,
        batch: &RecordBatch,
        into: &mut Vec<u8>,
        mut end: impl FnMut(&mut Vec<u8>),
    ) -> Result<(), ArrowError> {
        let object = Object::of(batch.schema_ref().fields(), batch.columns(), self.form)?;
        for row in 0..batch.num_rows() {
            object.write(row, into);
            end(into);
        }
        Ok(())
    }
}

/// One column's values as CSV and `print` show them: text without quotes.
pub(crate) struct PlainColumn(Values);

impl PlainColumn {
    pub(crate) fn of(array: &ArrayRef, form: TimestampForm) -> Result<Self, ArrowError> {
        Values::of(array, form).map(Self)
    }

    /// Writes a non-null value.
    pub(crate) fn write(&self, row: usize, into: &mut Vec<u8>) {
        self.0.write_plain(row, into);
    }
}

/// The columns of an object, each with its encoded key.
struct Object {
    members: Vec<(Vec<u8>, Values)>,
}

impl Object {
    fn of(fields: &arrow::datatypes::Fields, arrays: &[ArrayRef], form: TimestampForm) -> Result<Self, ArrowError> {
        let members = fields.iter().zip(arrays).map(|(field, array)| {
            let mut key = Vec::new();
            write_string(field.name(), &mut key);
            key.push(b':');
            Ok((key, Values::of(array, form)?))
        });
        Ok(Self { members: members.collect::<Result<_, ArrowError>>()? })
    }

    fn write(&self, row: usize, into: &mut Vec<u8>) {
        into.push(b'{');
        for (index, (key, values)) in self.members.iter().enumerate() {
            if index > 0 {
                into.push(b',');
            }
            into.extend_from_slice(key);
            values.write_or_null(row, into);
        }
        into.push(b'}');
    }
}

/// An array whose type is resolved once.
enum Values {
    Null,
    Boolean(BooleanArray),
    Int8(PrimitiveArray<Int8Type>),
    Int16(PrimitiveArray<Int16Type>),
    Int32(PrimitiveArray<Int32Type>),
    Int64(PrimitiveArray<Int64Type>),
    UInt8(PrimitiveArray<UInt8Type>),
    UInt16(PrimitiveArray<UInt16Type>),
    UInt32(PrimitiveArray<UInt32Type>),
    UInt64(PrimitiveArray<UInt64Type>),
    Float32(PrimitiveArray<Float32Type>),
    Float64(PrimitiveArray<Float64Type>),
    Decimal(PrimitiveArray<Decimal128Type>, i8),
    Text(StringViewArray),
    Quoted(Quoted),
    Struct(StructArray, Object),
    List(ListArray, Box<Values>),
    Map(MapArray, Box<Values>, Box<Values>),
}

/// Values whose text stands between quotes in JSON, and has nothing to escape.
enum Quoted {
    Timestamp(PrimitiveArray<Int64Type>, TimeUnit, TimestampForm),
    Date(PrimitiveArray<Date32Type>),
    Time(PrimitiveArray<Int64Type>, TimeUnit),
    Bytes(BinaryArray),
}

fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef) -> PrimitiveArray<T> {
    array.as_primitive::<T>().clone()
}

/// A temporal column's numbers, in its unit.
fn numbers(array: &ArrayRef) -> Result<PrimitiveArray<Int64Type>, ArrowError> {
    let wide = match array.data_type() {
        DataType::Time32(_) => cast(&cast(array, &DataType::Int32)?, &DataType::Int64)?,
        _ => cast(array, &DataType::Int64)?,
    };
    Ok(primitive(&wide))
}

impl Values {
    fn of(array: &ArrayRef, form: TimestampForm) -> Result<Self, ArrowError> {
        use DataType as D;
        Ok(match array.data_type() {
            D::Null => Self::Null,
            D::Boolean => Self::Boolean(array.as_boolean().clone()),
            D::Int8 => Self::Int8(primitive(array)),
            D::Int16 => Self::Int16(primitive(array)),
            D::Int32 => Self::Int32(primitive(array)),
            D::Int64 => Self::Int64(primitive(array)),
            D::UInt8 => Self::UInt8(primitive(array)),
            D::UInt16 => Self::UInt16(primitive(array)),
            D::UInt32 => Self::UInt32(primitive(array)),
            D::UInt64 => Self::UInt64(primitive(array)),
            D::Float32 => Self::Float32(primitive(array)),
            D::Float64 => Self::Float64(primitive(array)),
            D::Decimal128(_, scale) => Self::Decimal(primitive(array), *scale),
            D::Timestamp(unit, _) => Self::Quoted(Quoted::Timestamp(numbers(array)?, *unit, form)),
            D::Date32 => Self::Quoted(Quoted::Date(primitive(array))),
            D::Time32(unit) | D::Time64(unit) => Self::Quoted(Quoted::Time(numbers(array)?, *unit)),
            D::Utf8View => Self::Text(array.as_string_view().clone()),
            D::Utf8 | D::LargeUtf8 => Self::Text(cast(array, &D::Utf8View)?.as_string_view().clone()),
            D::Binary => Self::Quoted(Quoted::Bytes(array.as_binary::<i32>().clone())),
            D::BinaryView | D::LargeBinary => {
                Self::Quoted(Quoted::Bytes(cast(array, &D::Binary)?.as_binary::<i32>().clone()))
            }
            D::Dictionary(_, value) => return Self::of(&cast(array, value)?, form),
            D::Struct(fields) => {
                let whole = array.as_struct();
                Self::Struct(whole.clone(), Object::of(fields, whole.columns(), form)?)
            }
            D::List(_) => {
                let list = array.as_list::<i32>();
                Self::List(list.clone(), Box::new(Self::of(list.values(), form)?))
            }
            D::Map(..) => {
                let map = array.as_map();
                let keys = Self::of(&cast(map.keys(), &D::Utf8View)?, form)?;
                Self::Map(map.clone(), Box::new(keys), Box::new(Self::of(map.values(), form)?))
            }
            other => return Err(ArrowError::NotYetImplemented(format!("type {other} cannot be written as text"))),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        let array: &dyn Array = match self {
            Self::Null => return true,
            Self::Boolean(array) => array,
            Self::Int8(array) => array,
            Self::Int16(array) => array,
            Self::Int32(array) => array,
            Self::Int64(array) => array,
            Self::UInt8(array) => array,
            Self::UInt16(array) => array,
            Self::UInt32(array) => array,
            Self::UInt64(array) => array,
            Self::Float32(array) => array,
            Self::Float64(array) => array,
            Self::Decimal(array, _) => array,
            Self::Text(array) => array,
            Self::Quoted(quoted) => quoted.array(),
            Self::Struct(array, _) => array,
            Self::List(array, _) => array,
            Self::Map(array, ..) => array,
        };
        array.is_null(row)
    }

    fn write_or_null(&self, row: usize, into: &mut Vec<u8>) {
        if self.is_null(row) {
            into.extend_from_slice(b"null");
        } else {
            self.write(row, into);
        }
    }

    /// Writes a non-null value.
    fn write(&self, row: usize, into: &mut Vec<u8>) {
        match self {
            Self::Null => into.extend_from_slice(b"null"),
            Self::Boolean(array) => {
                let word: &[u8] = if array.value(row) { b"true" } else { b"false" };
                into.extend_from_slice(word);
            }
            Self::Int8(array) => write_integer(array.value(row), into),
            Self::Int16(array) => write_integer(array.value(row), into),
            Self::Int32(array) => write_integer(array.value(row), into),
            Self::Int64(array) => write_integer(array.value(row), into),
            Self::UInt8(array) => write_integer(array.value(row), into),
            Self::UInt16(array) => write_integer(array.value(row), into),
            Self::UInt32(array) => write_integer(array.value(row), into),
            Self::UInt64(array) => write_integer(array.value(row), into),
            Self::Float32(array) => write_float(array.value(row), true, into),
            Self::Float64(array) => write_float(array.value(row), true, into),
            Self::Decimal(array, scale) => write_decimal(array.value(row), *scale, into),
            Self::Text(array) => write_string(array.value(row), into),
            Self::Struct(_, object) => object.write(row, into),
            Self::List(list, items) => {
                let offsets = list.value_offsets();
                write_items(b'[', b']', extent(offsets, row), into, |item, into| items.write_or_null(item, into));
            }
            Self::Map(map, keys, values) => {
                write_items(b'{', b'}', extent(map.value_offsets(), row), into, |item, into| {
                    keys.write(item, into);
                    into.push(b':');
                    values.write_or_null(item, into);
                });
            }
            Self::Quoted(quoted) => {
                into.push(b'"');
                quoted.write(row, into);
                into.push(b'"');
            }
        }
    }

    /// Writes a non-null value without quotes around it.
    fn write_plain(&self, row: usize, into: &mut Vec<u8>) {
        match self {
            Self::Text(array) => into.extend_from_slice(array.value(row).as_bytes()),
            Self::Quoted(quoted) => quoted.write(row, into),
            Self::Float32(array) => write_float(array.value(row), false, into),
            Self::Float64(array) => write_float(array.value(row), false, into),
            Self::Null
            | Self::Boolean(_)
            | Self::Int8(_)
            | Self::Int16(_)
            | Self::Int32(_)
            | Self::Int64(_)
            | Self::UInt8(_)
            | Self::UInt16(_)
            | Self::UInt32(_)
            | Self::UInt64(_)
            | Self::Decimal(..)
            | Self::Struct(..)
            | Self::List(..)
            | Self::Map(..) => self.write(row, into),
        }
    }
}

impl Quoted {
    fn array(&self) -> &dyn Array {
        match self {
            Self::Timestamp(array, ..) | Self::Time(array, _) => array,
            Self::Date(array) => array,
            Self::Bytes(array) => array,
        }
    }

    /// Writes a non-null value without its quotes.
    fn write(&self, row: usize, into: &mut Vec<u8>) {
        match self {
            Self::Timestamp(array, unit, form) => timestamp::write(array.value(row), *unit, *form, into),
            Self::Date(array) => timestamp::write_day(i64::from(array.value(row)), into),
            Self::Time(array, unit) => timestamp::write_time(array.value(row), *unit, into),
            Self::Bytes(array) => write_base64(array.value(row), into),
        }
    }
}

fn extent(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    let at = |index: usize| usize::try_from(offsets[index]).expect("offsets are not negative");
    at(row)..at(row + 1)
}

fn write_items(
    open: u8,
    close: u8,
    items: std::ops::Range<usize>,
    into: &mut Vec<u8>,
    write: impl Fn(usize, &mut Vec<u8>),
) {
    into.push(open);
    let first = items.start;
    for item in items {
        if item > first {
            into.push(b',');
        }
        write(item, into);
    }
    into.push(close);
}
