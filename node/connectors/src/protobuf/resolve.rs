//! What is read of a message for which column.
//!
//! | in the definition | goes into |
//! |---|---|
//! | a field of a column's name | that column; fields of ROWs likewise, at any depth |
//! | another field | nothing |
//! | integers of all encodings | integers that hold the value, FLOAT, DOUBLE, DECIMAL |
//! | float, double; bool | FLOAT, DOUBLE; BOOLEAN |
//! | string, bytes | STRING, BYTES |
//! | string | also DECIMAL, DATE, TIME and TIMESTAMP, which Protobuf lacks |
//! | an enum | STRING: the name, or the number if it has none; integers: the number |
//! | repeated, map, a message | ARRAY, MAP, ROW |
//! | google.protobuf.Timestamp, wrappers | also TIMESTAMP; what the wrapped value goes into |
//!
//! A nullable column without a field is NULL. A NOT NULL one without a field, and a column whose field does not go into it, is
//! an error of the definition.

use arrow::datatypes::{DataType, Field, Fields};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind as Protobuf, MessageDescriptor};

use crate::{
    json::sql_name,
    typed::{ITEMS, Kind, below, is_text, key_and_value, of_column},
};

/// How a message is read.
#[derive(Debug)]
pub(super) struct RowPlan {
    pub(super) fields: Vec<FieldPlan>,
}

#[derive(Debug)]
pub(super) struct FieldPlan {
    /// The index of the column.
    pub(super) column: usize,
    pub(super) field: FieldDescriptor,
    pub(super) shape: Shape,
}

#[derive(Debug)]
pub(super) enum Shape {
    One(ValuePlan),
    List(ValuePlan),
    Map(MapPlan),
}

#[derive(Debug)]
pub(super) struct MapPlan {
    /// Whether keys are read as their texts, whatever they are.
    pub(super) text_keys: bool,
    pub(super) value: ValuePlan,
}

/// How a value is read.
#[derive(Debug)]
pub(super) enum ValuePlan {
    /// As it is; an enum's is its number.
    Plain,
    /// The text of a value of another type.
    Literal,
    EnumName(EnumDescriptor),
    /// Seconds and nanoseconds.
    Timestamp(FieldDescriptor, FieldDescriptor),
    /// The only field of a message.
    Wrapped(FieldDescriptor),
    Row(RowPlan),
}

impl RowPlan {
    /// The error says why no message can be read into these columns.
    pub(super) fn new(message: &MessageDescriptor, columns: &Fields) -> Result<Self, String> {
        Self::of(message, columns).map_err(|reason| of_column(&reason))
    }

    fn of(message: &MessageDescriptor, columns: &Fields) -> Result<Self, String> {
        let mut fields = Vec::with_capacity(columns.len());
        for (index, column) in columns.iter().enumerate() {
            match message.get_field_by_name(column.name()) {
                Some(field) => {
                    let shape = shape(&field, column).map_err(|reason| below(column.name(), &reason))?;
                    fields.push(FieldPlan { column: index, field, shape });
                }
                None if column.is_nullable() => {}
                None => {
                    let reason = format!("is NOT NULL, and message {} has no such field", message.full_name());
                    return Err(below(column.name(), &reason));
                }
            }
        }
        Ok(Self { fields })
    }
}

fn shape(field: &FieldDescriptor, column: &Field) -> Result<Shape, String> {
    let wanted = column.data_type();
    if field.is_map() {
        let kind = field.kind();
        let entry = kind.as_message().ok_or("the field is a map without entries")?;
        let DataType::Map(entries, _) = wanted else { return Err(misfit("map", wanted)) };
        let (key_column, value_column) = key_and_value(entries).ok_or("a map's entries must have a key and a value")?;
        let key = entry.map_entry_key_field().kind();
        let text_keys = is_text(key_column.data_type());
        let fits = text_keys || kind_of(&key).is_some_and(|kind| kind.goes_into(key_column.data_type()));
        if !fits {
            return Err(misfit(&format!("a key of type {key:?}"), key_column.data_type()));
        }
        let value = value(&entry.map_entry_value_field().kind(), value_column.data_type());
        return Ok(Shape::Map(MapPlan { text_keys, value: value.map_err(|reason| below(ITEMS, &reason))? }));
    }
    if field.is_list() {
        let DataType::List(item) = wanted else { return Err(misfit("repeated", wanted)) };
        return value(&field.kind(), item.data_type()).map(Shape::List).map_err(|reason| below(ITEMS, &reason));
    }
    value(&field.kind(), wanted).map(Shape::One)
}

fn value(kind: &Protobuf, wanted: &DataType) -> Result<ValuePlan, String> {
    match (kind, wanted) {
        (Protobuf::Message(message), DataType::Struct(columns)) => RowPlan::of(message, columns).map(ValuePlan::Row),
        (Protobuf::Message(message), DataType::Timestamp(..)) if message.full_name() == TIMESTAMP => {
            let field =
                |name: &str| message.get_field_by_name(name).ok_or_else(|| format!("{TIMESTAMP} has no {name}"));
            Ok(ValuePlan::Timestamp(field("seconds")?, field("nanos")?))
        }
        (Protobuf::Message(message), wanted) => match wrapped(message) {
            Some(field) if kind_of(&field.kind()).is_some_and(|kind| kind.goes_into(wanted)) => {
                Ok(ValuePlan::Wrapped(field))
            }
            _ => Err(misfit(message.full_name(), wanted)),
        },
        (Protobuf::Enum(choice), wanted) if is_text(wanted) => Ok(ValuePlan::EnumName(choice.clone())),
        (Protobuf::Enum(_), wanted) if Kind::Integer.goes_into(wanted) => Ok(ValuePlan::Plain),
        (Protobuf::String, wanted) if Kind::Literal.goes_into(wanted) => Ok(ValuePlan::Literal),
        (kind, wanted) => match kind_of(kind) {
            Some(found) if found.goes_into(wanted) => Ok(ValuePlan::Plain),
            _ => Err(misfit(&format!("{kind:?}"), wanted)),
        },
    }
}

fn misfit(what: &str, wanted: &DataType) -> String {
    format!("{what} does not go into {}", sql_name(wanted))
}

pub(super) const TIMESTAMP: &str = "google.protobuf.Timestamp";

/// The field of a message that wraps a value, so that it can be absent.
pub(super) fn wrapped(message: &MessageDescriptor) -> Option<FieldDescriptor> {
    const WRAPPERS: [&str; 9] = ["Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes"];
    let name = message.full_name().strip_prefix("google.protobuf.")?.strip_suffix("Value")?;
    if WRAPPERS.contains(&name) { message.get_field_by_name("value") } else { None }
}

/// What kind of value a field of this type has; `None`: one with parts, or one of an enum.
fn kind_of(kind: &Protobuf) -> Option<Kind> {
    Some(match kind {
        Protobuf::Bool => Kind::Boolean,
        Protobuf::Float | Protobuf::Double => Kind::Float,
        Protobuf::String => Kind::Text,
        Protobuf::Bytes => Kind::Bytes,
        Protobuf::Int32
        | Protobuf::Int64
        | Protobuf::Uint32
        | Protobuf::Uint64
        | Protobuf::Sint32
        | Protobuf::Sint64
        | Protobuf::Fixed32
        | Protobuf::Fixed64
        | Protobuf::Sfixed32
        | Protobuf::Sfixed64 => Kind::Integer,
        Protobuf::Message(_) | Protobuf::Enum(_) => return None,
    })
}
