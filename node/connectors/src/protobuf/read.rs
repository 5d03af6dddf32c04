//! Reads messages into columns, as their plan says.

use arrow::datatypes::Fields;
use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, MapKey, MessageDescriptor, Value};

use super::resolve::{FieldPlan, MapPlan, RowPlan, Shape, ValuePlan};
use crate::{
    json::{Fault, timestamp::Moment},
    typed::{Builder, RowColumn, Scalar, ScalarColumn},
};

/// Reads messages of one type into columns.
#[derive(Debug)]
pub(crate) struct ProtobufReader {
    message: MessageDescriptor,
    plan: RowPlan,
    /// Whether absent fields have their default values.
    reads_defaults: bool,
}

impl ProtobufReader {
    /// The error says why no message can be read into these columns.
    pub(crate) fn new(message: MessageDescriptor, columns: &Fields, reads_defaults: bool) -> Result<Self, String> {
        let plan = RowPlan::new(&message, columns)?;
        Ok(Self { message, plan, reads_defaults })
    }

    /// The names of the message's fields.
    pub(crate) fn names(&self) -> Vec<String> {
        self.message.fields().map(|field| field.name().to_owned()).collect()
    }

    /// Reads a message as a row.
    pub(crate) fn read(&self, bytes: &[u8], root: &mut RowColumn, row: usize) -> Result<(), Fault> {
        let message = DynamicMessage::decode(self.message.clone(), bytes);
        let message = message.map_err(|error| Fault::new(error.to_string()))?;
        self.fields(&self.plan, &message, root, row)
    }

    fn fields(&self, plan: &RowPlan, message: &DynamicMessage, into: &mut RowColumn, row: usize) -> Result<(), Fault> {
        plan.fields
            .iter()
            .try_for_each(|plan| into.read_field(plan.column, |builder| self.field(plan, message, builder, row)))
    }

    fn field(
        &self,
        FieldPlan { field, shape, .. }: &FieldPlan,
        message: &DynamicMessage,
        into: &mut Builder,
        row: usize,
    ) -> Result<(), Fault> {
        match (shape, into) {
            (Shape::One(plan), into) => {
                let is_absent = field.supports_presence() && !message.has_field(field);
                if is_absent && (!self.reads_defaults || field.kind().as_message().is_some()) {
                    return into.push_null(row);
                }
                self.value(plan, &message.get_field(field), into, row)
            }
            (Shape::List(plan), Builder::List(column)) => {
                column.begin(row);
                let values = message.get_field(field);
                for (index, value) in values.as_list().unwrap_or_default().iter().enumerate() {
                    let read = column.read_item(|items, item| self.value(plan, value, items, item));
                    read.map_err(|fault| fault.of_field(&format!("[{}]", index + 1)))?;
                }
                column.end();
                Ok(())
            }
            (Shape::Map(MapPlan { text_keys, value }), Builder::Map(column)) => {
                column.begin(row);
                let entries = message.get_field(field);
                let mut entries: Vec<(&MapKey, &Value)> = entries.as_map().into_iter().flatten().collect();
                // In the same order each time.
                entries.sort_unstable_by_key(|(key, _)| *key);
                for (key, entry) in entries {
                    let read = column.read_entry(|keys, values, item| {
                        push_key(key, *text_keys, keys, item)?;
                        self.value(value, entry, values, item)
                    });
                    read.map_err(|fault| fault.of_field(&format!("[{}]", shown(key))))?;
                }
                column.end();
                Ok(())
            }
            (Shape::List(_) | Shape::Map(_), _) => Err(mismatch()),
        }
    }

    fn value(&self, plan: &ValuePlan, value: &Value, into: &mut Builder, row: usize) -> Result<(), Fault> {
        match (plan, value, into) {
            (ValuePlan::Row(plan), Value::Message(message), Builder::Row(column)) => {
                column.read_row(row, |column| self.fields(plan, message, column, row))
            }
            (ValuePlan::Timestamp(seconds, nanos), Value::Message(message), Builder::Scalar(column)) => {
                column.push(row, Scalar::Moment(moment(message, seconds, nanos)?))
            }
            (ValuePlan::Wrapped(field), Value::Message(message), Builder::Scalar(column)) => {
                column.push(row, scalar(&message.get_field(field)).ok_or_else(mismatch)?)
            }
            (ValuePlan::EnumName(choice), Value::EnumNumber(number), Builder::Scalar(column)) => {
                push_name(choice, *number, column, row)
            }
            (ValuePlan::Literal, Value::String(text), Builder::Scalar(column)) => {
                column.push(row, Scalar::Literal(text))
            }
            (ValuePlan::Plain, value, Builder::Scalar(column)) => column.push(row, scalar(value).ok_or_else(mismatch)?),
            _ => Err(mismatch()),
        }
    }
}

#[cold]
fn mismatch() -> Fault {
    Fault::new("the plan is of another type than the message or the column")
}

fn scalar(value: &Value) -> Option<Scalar<'_>> {
    Some(match value {
        Value::Bool(value) => Scalar::Boolean(*value),
        Value::I32(value) | Value::EnumNumber(value) => Scalar::Integer(i64::from(*value)),
        Value::I64(value) => Scalar::Integer(*value),
        Value::U32(value) => Scalar::Unsigned(u64::from(*value)),
        Value::U64(value) => Scalar::Unsigned(*value),
        Value::F32(value) => Scalar::Float(*value),
        Value::F64(value) => Scalar::Double(*value),
        Value::String(text) => Scalar::Text(text),
        Value::Bytes(bytes) => Scalar::Bytes(bytes),
        Value::Message(_) | Value::List(_) | Value::Map(_) => return None,
    })
}

/// The name of an enum's number. A number without a name is one that a later definition has: its digits.
fn push_name(choice: &EnumDescriptor, number: i32, column: &mut ScalarColumn, row: usize) -> Result<(), Fault> {
    match choice.get_value(number) {
        Some(value) => column.push(row, Scalar::Text(value.name())),
        None => column.push(row, Scalar::Text(&number.to_string())),
    }
}

fn moment(message: &DynamicMessage, seconds: &FieldDescriptor, nanos: &FieldDescriptor) -> Result<Moment, Fault> {
    let seconds = message.get_field(seconds).as_i64().ok_or_else(mismatch)?;
    let nanos = message.get_field(nanos).as_i32().ok_or_else(mismatch)?;
    match u32::try_from(nanos) {
        Ok(nanos) if nanos < 1_000_000_000 => Ok(Moment { seconds, nanos }),
        _ => Err(Fault::new(format!("a timestamp has {nanos} nanoseconds"))),
    }
}

fn push_key(key: &MapKey, as_text: bool, keys: &mut ScalarColumn, item: usize) -> Result<(), Fault> {
    match key {
        MapKey::String(text) => keys.push(item, Scalar::Text(text)),
        key if as_text => keys.push(item, Scalar::Text(&shown(key))),
        MapKey::Bool(value) => keys.push(item, Scalar::Boolean(*value)),
        MapKey::I32(value) => keys.push(item, Scalar::Integer(i64::from(*value))),
        MapKey::I64(value) => keys.push(item, Scalar::Integer(*value)),
        MapKey::U32(value) => keys.push(item, Scalar::Unsigned(u64::from(*value))),
        MapKey::U64(value) => keys.push(item, Scalar::Unsigned(*value)),
    }
}

/// The most characters of a key that a fault shows.
const KEY_CHARS_MAX: usize = 32;

/// The text of a key; only the beginning of a long one.
fn shown(key: &MapKey) -> String {
    match key {
        MapKey::Bool(value) => value.to_string(),
        MapKey::I32(value) => value.to_string(),
        MapKey::I64(value) => value.to_string(),
        MapKey::U32(value) => value.to_string(),
        MapKey::U64(value) => value.to_string(),
        MapKey::String(text) => text.chars().take(KEY_CHARS_MAX).collect(),
    }
}
