//! Raw: the bytes of a message are the value of the only column.
//!
//! | type | bytes |
//! |---|---|
//! | STRING | its UTF-8 |
//! | BYTES | themselves |
//! | TINYINT, SMALLINT, INT, BIGINT | 1, 2, 4, 8 |
//! | FLOAT, DOUBLE | 4, 8 (IEEE 754) |
//! | BOOLEAN | 1; 0 is false, all else true |
//!
//! NULL has no bytes, and none are the empty text: NULL cannot be written. Who writes keys may leave the key out.

use arrow::datatypes::{DataType, Field, SchemaRef};
use thalweg_types::connector::TABLE_COLUMNS;

use super::{
    MessageFormat,
    rows::{RowDecoder, RowEncoder},
    view::FormatView,
};
use crate::{
    ConnectorError,
    json::{Fault, sql_name},
    typed::{Builder, Cells, Scalar, WriteRow},
};

pub(super) const FORMAT: MessageFormat = MessageFormat {
    name: "raw",
    decoder: |view, columns, _| {
        let options = view.options();
        check_only(view, columns)?;
        let raw = columns.fields().first().map(|column| Raw::of(view, column)).transpose()?;
        let decoder = RowDecoder::boxed(columns, Vec::new(), move |message, root, row| match raw {
            // Nobody asks for the column: the message is a row all the same.
            None => Ok(()),
            Some(raw) => root.read_field(0, |builder| match builder {
                Builder::Scalar(column) => column.push(row, raw.read(message)?),
                Builder::Row(_) | Builder::List(_) | Builder::Map(_) => Err(Fault::new("its values have parts")),
            }),
        });
        decoder.map_err(|reason| options.error(reason))
    },
    encoder: |view, _, columns, _| {
        check_only(view, columns)?;
        let column = columns.fields().first().ok_or_else(|| only_one(view, 0))?;
        let (raw, name) = (Raw::of(view, column)?, column.name().clone());
        Ok(Box::new(RowEncoder(RawWriter { raw, name, can_fail: column.is_nullable() })))
    },
};

/// Refuses all but one column. Those that nobody reads count too.
fn check_only(view: &FormatView, columns: &SchemaRef) -> Result<(), ConnectorError> {
    let count = match columns.metadata().get(TABLE_COLUMNS) {
        Some(names) => serde_json::from_str::<Vec<String>>(names).map_or(columns.fields().len(), |names| names.len()),
        None => columns.fields().len(),
    };
    if count == 1 { Ok(()) } else { Err(only_one(view, count)) }
}

fn only_one(view: &FormatView, count: usize) -> ConnectorError {
    view.options().error(format!("format 'raw' is of one column, and there are {count}"))
}

/// A column's values as bytes.
#[derive(Debug, Clone, Copy)]
struct Raw {
    shape: Shape,
    is_little: bool,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Text,
    Bytes,
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    Float,
    Double,
}

impl Raw {
    fn of(view: &FormatView, column: &Field) -> Result<Self, ConnectorError> {
        let shape = match column.data_type() {
            DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8 => Shape::Text,
            DataType::Binary | DataType::BinaryView | DataType::LargeBinary => Shape::Bytes,
            DataType::Boolean => Shape::Boolean,
            DataType::Int8 => Shape::Int8,
            DataType::Int16 => Shape::Int16,
            DataType::Int32 => Shape::Int32,
            DataType::Int64 => Shape::Int64,
            DataType::Float32 => Shape::Float,
            DataType::Float64 => Shape::Double,
            other => {
                let (name, other) = (column.name(), sql_name(other));
                let reason = format!(
                    "column {name}: format 'raw' has STRING, BYTES, BOOLEAN, integers, FLOAT and DOUBLE, and no {other}"
                );
                return Err(view.options().error(reason));
            }
        };
        Ok(Self { shape, is_little: view.options().text("raw.endianness") == Some("little-endian") })
    }

    fn read(self, message: &[u8]) -> Result<Scalar<'_>, Fault> {
        Ok(match self.shape {
            Shape::Text => {
                Scalar::Text(std::str::from_utf8(message).map_err(|_| Fault::new("the message is not valid UTF-8"))?)
            }
            Shape::Bytes => Scalar::Bytes(message),
            Shape::Boolean => Scalar::Boolean(self.array(message)? != [0]),
            Shape::Int8 => Scalar::Integer(i64::from(i8::from_be_bytes(self.array(message)?))),
            Shape::Int16 => Scalar::Integer(i64::from(i16::from_be_bytes(self.array(message)?))),
            Shape::Int32 => Scalar::Integer(i64::from(i32::from_be_bytes(self.array(message)?))),
            Shape::Int64 => Scalar::Integer(i64::from_be_bytes(self.array(message)?)),
            Shape::Float => Scalar::Float(f32::from_be_bytes(self.array(message)?)),
            Shape::Double => Scalar::Double(f64::from_be_bytes(self.array(message)?)),
        })
    }

    /// The bytes of a number, the highest first.
    fn array<const N: usize>(self, message: &[u8]) -> Result<[u8; N], Fault> {
        let array = <[u8; N]>::try_from(message);
        let mut array = array.map_err(|_| Fault::new(format!("expected {N} bytes, found {}", message.len())))?;
        if self.is_little {
            array.reverse();
        }
        Ok(array)
    }

    fn write(self, scalar: Scalar<'_>, into: &mut Vec<u8>) -> Option<()> {
        let start = into.len();
        match (self.shape, scalar) {
            (Shape::Text, Scalar::Text(text)) => {
                into.extend_from_slice(text.as_bytes());
                return Some(());
            }
            (Shape::Bytes, Scalar::Bytes(bytes)) => {
                into.extend_from_slice(bytes);
                return Some(());
            }
            (Shape::Boolean, Scalar::Boolean(value)) => into.push(u8::from(value)),
            (Shape::Int8, Scalar::Integer(value)) => into.extend(i8::try_from(value).ok()?.to_be_bytes()),
            (Shape::Int16, Scalar::Integer(value)) => into.extend(i16::try_from(value).ok()?.to_be_bytes()),
            (Shape::Int32, Scalar::Integer(value)) => into.extend(i32::try_from(value).ok()?.to_be_bytes()),
            (Shape::Int64, Scalar::Integer(value)) => into.extend(value.to_be_bytes()),
            (Shape::Float, Scalar::Float(value)) => into.extend(value.to_be_bytes()),
            (Shape::Double, Scalar::Double(value)) => into.extend(value.to_be_bytes()),
            _ => return None,
        }
        if self.is_little {
            into[start..].reverse();
        }
        Some(())
    }
}

struct RawWriter {
    raw: Raw,
    name: String,
    can_fail: bool,
}

impl WriteRow for RawWriter {
    fn can_fail(&self) -> bool {
        self.can_fail
    }

    fn write(&self, cells: &[Cells], row: usize, into: &mut Vec<u8>) -> Result<(), Fault> {
        let cells = cells.first().filter(|cells| !cells.is_null(row));
        let Some(cells) = cells else {
            return Err(Fault::new("format 'raw' has no bytes for NULL").of_field(&self.name));
        };
        let written = cells.scalar(row).and_then(|scalar| self.raw.write(scalar, into));
        written.ok_or_else(|| Fault::new("the column is of another type").of_field(&self.name))
    }
}
