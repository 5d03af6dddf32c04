//! Which field of a message each column is written to, and how.
//!
//! A column goes to the field of its name; one without a field is an error. A field without a column is left out, so a required
//! one needs a column. NULL is a field that is left out. NULL in an ARRAY or a MAP, and a second value of a `oneof`, cannot be
//! written.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Field, Fields};
use prost_reflect::{Cardinality, EnumDescriptor, FieldDescriptor, Kind as Protobuf, MessageDescriptor};

use super::resolve::{TIMESTAMP, wrapped};
use crate::{
    json::sql_name,
    typed::{ITEMS, Kind, below, is_text, key_and_value, of_column},
};

/// How rows are written as messages.
#[derive(Debug)]
pub(super) struct WritePlan {
    pub(super) row: RowPlan,
    /// Whether there are values of the columns that the message does not hold.
    pub(super) can_fail: bool,
}

#[derive(Debug)]
pub(super) struct RowPlan {
    /// By their numbers.
    pub(super) fields: Vec<FieldPlan>,
}

#[derive(Debug)]
pub(super) struct FieldPlan {
    /// The index of the column.
    pub(super) column: usize,
    pub(super) number: u32,
    /// Whether it must have a value.
    pub(super) is_required: bool,
    /// Whether its default is written too, since a reader tells it from no value.
    pub(super) has_presence: bool,
    /// The name of the `oneof` that has further columns.
    pub(super) oneof: Option<String>,
    pub(super) shape: Shape,
}

#[derive(Debug)]
pub(super) enum Shape {
    One(ValuePlan),
    /// Whether the items stand in one run, and how one is written.
    List(bool, ValuePlan),
    /// How keys and values are written.
    Map(Wire, ValuePlan),
}

/// How a value is written.
#[derive(Debug)]
pub(super) enum ValuePlan {
    Scalar(Wire),
    /// As text.
    Literal,
    EnumName(EnumDescriptor),
    Timestamp,
    /// In a message of its own.
    Wrapped(Wire),
    Row(RowPlan),
}

/// The encoding of a value without parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    Text,
    Bytes,
}

/// A plan, and whether it holds every value of its column.
type Laid<T> = Result<(T, bool), String>;

impl WritePlan {
    /// The error says which column or field has no other.
    pub(super) fn new(message: &MessageDescriptor, columns: &Fields) -> Result<Self, String> {
        let (row, holds_all) = row(message, columns).map_err(|reason| of_column(&reason))?;
        Ok(Self { row, can_fail: !holds_all })
    }
}

fn row(message: &MessageDescriptor, columns: &Fields) -> Laid<RowPlan> {
    let mut holds_all = true;
    let mut fields = Vec::with_capacity(columns.len());
    let mut oneofs: Vec<String> = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        let lacks = || below(column.name(), &format!("message {} has no such field", message.full_name()));
        let field = message.get_field_by_name(column.name()).ok_or_else(lacks)?;
        let (plan, all) = field_plan(index, &field, column).map_err(|reason| below(column.name(), &reason))?;
        holds_all &= all && !(plan.is_required && column.is_nullable());
        oneofs.extend(plan.oneof.clone());
        fields.push(plan);
    }
    let has_column = |field: &FieldDescriptor| columns.find(field.name()).is_some();
    let is_missing = |field: &FieldDescriptor| field.cardinality() == Cardinality::Required && !has_column(field);
    if let Some(field) = message.fields().find(is_missing) {
        return Err(below(field.name(), "this field is required, and has no column"));
    }
    let several: BTreeSet<&String> =
        oneofs.iter().filter(|name| oneofs.iter().filter(|other| other == name).count() > 1).collect();
    for plan in &mut fields {
        plan.oneof.take_if(|name| !several.contains(name));
    }
    fields.sort_by_key(|plan| plan.number);
    Ok((RowPlan { fields }, holds_all && several.is_empty()))
}

fn field_plan(column: usize, field: &FieldDescriptor, from: &Field) -> Laid<FieldPlan> {
    if field.is_group() {
        return Err("the field is a group, and groups are not written".to_owned());
    }
    let (shape, holds_all) = shape(field, from.data_type())?;
    let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()).map(|oneof| oneof.name().to_owned());
    let plan = FieldPlan {
        column,
        number: field.number(),
        is_required: field.cardinality() == Cardinality::Required,
        has_presence: field.supports_presence(),
        oneof,
        shape,
    };
    Ok((plan, holds_all))
}

fn shape(field: &FieldDescriptor, from: &DataType) -> Laid<Shape> {
    if field.is_map() {
        let kind = field.kind();
        let entry = kind.as_message().ok_or("the field is a map without entries")?;
        let DataType::Map(entries, _) = from else { return Err(misfit(from, "map")) };
        let (key_column, value_column) = key_and_value(entries).ok_or("a map's entries must have a key and a value")?;
        let key = entry.map_entry_key_field().kind();
        let fits = wire_of(&key).and_then(|wire| Some((wire, holds(wire, key_column.data_type())?)));
        let (wire, all_keys) = fits.ok_or_else(|| misfit(key_column.data_type(), &format!("a key of type {key:?}")))?;
        let (plan, all) = value(&entry.map_entry_value_field().kind(), value_column.data_type())
            .map_err(|reason| below(ITEMS, &reason))?;
        return Ok((Shape::Map(wire, plan), all && all_keys && !value_column.is_nullable()));
    }
    if field.is_list() {
        let DataType::List(item) = from else { return Err(misfit(from, "repeated")) };
        let (plan, all) = value(&field.kind(), item.data_type()).map_err(|reason| below(ITEMS, &reason))?;
        return Ok((Shape::List(field.is_packed(), plan), all && !item.is_nullable()));
    }
    let (plan, all) = value(&field.kind(), from)?;
    Ok((Shape::One(plan), all))
}

fn value(kind: &Protobuf, from: &DataType) -> Laid<ValuePlan> {
    let is_whole = matches!(from, DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64);
    match (kind, from) {
        (Protobuf::Message(message), DataType::Struct(columns)) => {
            let (row, all) = row(message, columns)?;
            Ok((ValuePlan::Row(row), all))
        }
        (Protobuf::Message(message), DataType::Timestamp(..)) if message.full_name() == TIMESTAMP => {
            Ok((ValuePlan::Timestamp, true))
        }
        (Protobuf::Message(message), from) => {
            let wire = wrapped(message).and_then(|field| wire_of(&field.kind()));
            match wire.and_then(|wire| Some((wire, holds(wire, from)?))) {
                Some((wire, all)) => Ok((ValuePlan::Wrapped(wire), all)),
                None => Err(misfit(from, message.full_name())),
            }
        }
        (Protobuf::Enum(choice), from) if is_text(from) => Ok((ValuePlan::EnumName(choice.clone()), false)),
        (Protobuf::Enum(_), from) if is_whole => Ok((ValuePlan::Scalar(Wire::Int32), !matches!(from, DataType::Int64))),
        (Protobuf::String, from) if Kind::Literal.goes_into(from) => Ok((ValuePlan::Literal, true)),
        (kind, from) => match wire_of(kind).and_then(|wire| Some((wire, holds(wire, from)?))) {
            Some((wire, all)) => Ok((ValuePlan::Scalar(wire), all)),
            None => Err(misfit(from, &format!("{kind:?}"))),
        },
    }
}

fn misfit(from: &DataType, what: &str) -> String {
    format!("{} cannot be written as {what}", sql_name(from))
}

/// The encoding of a type; `None`: it has parts, or is an enum.
fn wire_of(kind: &Protobuf) -> Option<Wire> {
    Some(match kind {
        Protobuf::Bool => Wire::Bool,
        Protobuf::Int32 => Wire::Int32,
        Protobuf::Int64 => Wire::Int64,
        Protobuf::Uint32 => Wire::Uint32,
        Protobuf::Uint64 => Wire::Uint64,
        Protobuf::Sint32 => Wire::Sint32,
        Protobuf::Sint64 => Wire::Sint64,
        Protobuf::Fixed32 => Wire::Fixed32,
        Protobuf::Fixed64 => Wire::Fixed64,
        Protobuf::Sfixed32 => Wire::Sfixed32,
        Protobuf::Sfixed64 => Wire::Sfixed64,
        Protobuf::Float => Wire::Float,
        Protobuf::Double => Wire::Double,
        Protobuf::String => Wire::Text,
        Protobuf::Bytes => Wire::Bytes,
        Protobuf::Message(_) | Protobuf::Enum(_) => return None,
    })
}

/// Whether values of a type can be written so. `None`: none can; else whether all can.
fn holds(wire: Wire, from: &DataType) -> Option<bool> {
    use DataType as D;
    let is_whole = matches!(from, D::Int8 | D::Int16 | D::Int32 | D::Int64);
    let is_bytes = matches!(from, D::Binary | D::BinaryView | D::LargeBinary);
    match wire {
        Wire::Bool => matches!(from, D::Boolean).then_some(true),
        Wire::Int32 | Wire::Sint32 | Wire::Sfixed32 => is_whole.then_some(!matches!(from, D::Int64)),
        Wire::Int64 | Wire::Sint64 | Wire::Sfixed64 => is_whole.then_some(true),
        Wire::Uint32 | Wire::Fixed32 => is_whole.then_some(false),
        Wire::Uint64 | Wire::Fixed64 => (is_whole || matches!(from, D::Decimal128(_, 0))).then_some(false),
        Wire::Float => matches!(from, D::Float32).then_some(true),
        Wire::Double => matches!(from, D::Float32 | D::Float64 | D::Int8 | D::Int16 | D::Int32).then_some(true),
        Wire::Text => is_text(from).then_some(true),
        Wire::Bytes => (is_bytes || is_text(from)).then_some(true),
    }
}
