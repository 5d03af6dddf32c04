//! Writes rows as messages, as their plan says: fields by their numbers, entries of maps in the order of the row.

use arrow::datatypes::{Fields, TimeUnit};
use prost_reflect::{EnumDescriptor, MessageDescriptor};

use super::layout::{FieldPlan, RowPlan, Shape, ValuePlan, Wire, WritePlan};
use crate::{
    json::{
        Fault,
        number::write_decimal,
        timestamp::{self, Moment, TimestampForm, write_day, write_time},
    },
    typed::{Cells, Scalar, WriteRow, extent},
};

/// Wire types: what follows a tag.
const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const PREFIXED: u64 = 2;
const FOUR_BYTES: u64 = 5;

/// Writes rows as messages of one type.
#[derive(Debug)]
pub(crate) struct ProtobufWriter {
    plan: WritePlan,
    names: Vec<String>,
}

impl ProtobufWriter {
    /// The error says which column or field has no other.
    pub(crate) fn new(message: &MessageDescriptor, columns: &Fields) -> Result<Self, String> {
        let names = columns.iter().map(|column| column.name().clone()).collect();
        Ok(Self { plan: WritePlan::new(message, columns)?, names })
    }
}

impl WriteRow for ProtobufWriter {
    fn can_fail(&self) -> bool {
        self.plan.can_fail
    }

    fn write(&self, cells: &[Cells], row: usize, into: &mut Vec<u8>) -> Result<(), Fault> {
        fields(&self.plan.row, cells, row, into, |index| self.names.get(index).map_or("", String::as_str))
    }
}

fn fields<'n>(
    plan: &RowPlan,
    cells: &[Cells],
    row: usize,
    into: &mut Vec<u8>,
    name: impl Fn(usize) -> &'n str,
) -> Result<(), Fault> {
    let mut chosen: Vec<(&str, usize)> = Vec::new();
    for plan in &plan.fields {
        let cells = &cells[plan.column];
        if cells.is_null(row) {
            if plan.is_required {
                return Err(Fault::new("the field is required, found NULL").of_field(name(plan.column)));
            }
            continue;
        }
        if let Some(oneof) = &plan.oneof {
            if let Some((_, other)) = chosen.iter().find(|(chosen, _)| chosen == oneof) {
                let reason = format!("{} has a value too, and '{oneof}' is one of them alone", name(*other));
                return Err(Fault::new(reason).of_field(name(plan.column)));
            }
            chosen.push((oneof, plan.column));
        }
        field(plan, cells, row, into).map_err(|fault| fault.of_field(name(plan.column)))?;
    }
    Ok(())
}

fn field(plan: &FieldPlan, cells: &Cells, row: usize, into: &mut Vec<u8>) -> Result<(), Fault> {
    let number = plan.number;
    match (&plan.shape, cells) {
        (Shape::One(value), cells) => one((number, plan.has_presence), value, cells, row, into),
        (Shape::List(is_packed, value), Cells::List(array, cells)) => {
            let items = extent(array.value_offsets(), row);
            let first = items.start;
            let of_item = |fault: Fault, item: usize| fault.of_field(&format!("[{}]", item - first + 1));
            if *is_packed && !items.is_empty() {
                let mut run = Vec::new();
                for item in items {
                    packed(value, cells, item, &mut run).map_err(|fault| of_item(fault, item))?;
                }
                prefixed(number, &run, into);
                return Ok(());
            }
            for item in items {
                let written = match cells.is_null(item) {
                    true => Err(Fault::new("an item of a repeated field cannot be NULL")),
                    false => one((number, true), value, cells, item, into),
                };
                written.map_err(|fault| of_item(fault, item))?;
            }
            Ok(())
        }
        (Shape::Map(key, value), Cells::Map(array, keys, cells)) => {
            for item in extent(array.value_offsets(), row) {
                let mut entry = Vec::new();
                let found = keys.scalar(item).ok_or_else(mismatch)?;
                scalar((1, true), *key, found, &mut entry)?;
                if cells.is_null(item) {
                    return Err(Fault::new("a value of a map field cannot be NULL").of_field(&format!("[{found}]")));
                }
                one((2, true), value, cells, item, &mut entry)
                    .map_err(|fault| fault.of_field(&format!("[{found}]")))?;
                prefixed(number, &entry, into);
            }
            Ok(())
        }
        (Shape::List(..) | Shape::Map(..), _) => Err(mismatch()),
    }
}

/// Appends a field with a value that is not NULL. `is_always`: also if it is the default.
fn one(
    (number, is_always): (u32, bool),
    plan: &ValuePlan,
    cells: &Cells,
    row: usize,
    into: &mut Vec<u8>,
) -> Result<(), Fault> {
    if let (ValuePlan::Row(plan), Cells::Row(array, cells)) = (plan, cells) {
        let columns = array.fields();
        let mut message = Vec::new();
        fields(plan, cells, row, &mut message, |index| columns.get(index).map_or("", |column| column.name()))
            .map_err(|fault| Fault::new(format!(".{fault}")))?;
        prefixed(number, &message, into);
        return Ok(());
    }
    let found = cells.scalar(row).ok_or_else(mismatch)?;
    match plan {
        ValuePlan::Scalar(wire) => scalar((number, is_always), *wire, found, into),
        ValuePlan::Literal => {
            let text = literal(found).ok_or_else(mismatch)?;
            if is_always || !text.is_empty() {
                prefixed(number, &text, into);
            }
            Ok(())
        }
        ValuePlan::EnumName(choice) => {
            let value = number_of(choice, found)?;
            scalar((number, is_always), Wire::Int32, Scalar::Integer(i64::from(value)), into)
        }
        ValuePlan::Timestamp => {
            let Scalar::Timestamp(value, unit) = found else { return Err(mismatch()) };
            prefixed(number, &timestamp_message(value, unit), into);
            Ok(())
        }
        ValuePlan::Wrapped(wire) => {
            let mut message = Vec::new();
            scalar((1, false), *wire, found, &mut message)?;
            prefixed(number, &message, into);
            Ok(())
        }
        ValuePlan::Row(_) => Err(mismatch()),
    }
}

/// Appends an item of a run, without a tag.
fn packed(plan: &ValuePlan, cells: &Cells, item: usize, into: &mut Vec<u8>) -> Result<(), Fault> {
    if cells.is_null(item) {
        return Err(Fault::new("an item of a repeated field cannot be NULL"));
    }
    let found = cells.scalar(item).ok_or_else(mismatch)?;
    match plan {
        ValuePlan::Scalar(wire) => bits(*wire, found).ok_or_else(|| misfit(*wire, found))?.write(into),
        ValuePlan::EnumName(choice) => varint(i64::from(number_of(choice, found)?).cast_unsigned(), into),
        ValuePlan::Literal | ValuePlan::Timestamp | ValuePlan::Wrapped(_) | ValuePlan::Row(_) => return Err(mismatch()),
    }
    Ok(())
}

#[cold]
fn mismatch() -> Fault {
    Fault::new("the plan is of another type than the column")
}

#[cold]
fn misfit(wire: Wire, scalar: Scalar<'_>) -> Fault {
    Fault::new(format!("the field is of type {}, found {scalar}", format!("{wire:?}").to_lowercase()))
}

/// The number of an enum's name, or of its digits.
fn number_of(choice: &EnumDescriptor, scalar: Scalar<'_>) -> Result<i32, Fault> {
    if let Scalar::Text(name) = scalar
        && let Some(number) = choice.get_value_by_name(name).map(|value| value.number()).or_else(|| name.parse().ok())
    {
        return Ok(number);
    }
    let names: Vec<String> = choice.values().take(20).map(|value| value.name().to_owned()).collect();
    Err(Fault::new(format!("the field is one of {}, found {scalar}", names.join(", "))))
}

/// The text of a value of a type that Protobuf lacks.
fn literal(scalar: Scalar<'_>) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    match scalar {
        Scalar::Decimal { unscaled, scale } => write_decimal(unscaled, scale, &mut text),
        Scalar::Date(days) => write_day(i64::from(days), &mut text),
        Scalar::Time(nanos) => write_time(nanos, TimeUnit::Nanosecond, &mut text),
        Scalar::Timestamp(value, unit) => timestamp::write(value, unit, TimestampForm::Sql, &mut text),
        Scalar::Boolean(_)
        | Scalar::Integer(_)
        | Scalar::Unsigned(_)
        | Scalar::Float(_)
        | Scalar::Double(_)
        | Scalar::Text(_)
        | Scalar::Bytes(_)
        | Scalar::Moment(_)
        | Scalar::Literal(_) => return None,
    }
    Some(text)
}

fn timestamp_message(value: i64, unit: TimeUnit) -> Vec<u8> {
    let Moment { seconds, nanos } = Moment::from_unit(value, unit);
    let mut message = Vec::new();
    for (number, part) in [(1, seconds), (2, i64::from(nanos))] {
        if part != 0 {
            tag(number, VARINT, &mut message);
            varint(part.cast_unsigned(), &mut message);
        }
    }
    message
}

/// Appends a field of a value without parts. `is_always`: also if it is the default.
fn scalar((number, is_always): (u32, bool), wire: Wire, scalar: Scalar<'_>, into: &mut Vec<u8>) -> Result<(), Fault> {
    let bits = bits(wire, scalar).ok_or_else(|| misfit(wire, scalar))?;
    if is_always || !bits.is_default() {
        tag(number, bits.wire_type(), into);
        bits.write(into);
    }
    Ok(())
}

/// A value as it is written behind its tag.
enum Bits<'a> {
    Varint(u64),
    Four([u8; 4]),
    Eight([u8; 8]),
    Prefixed(&'a [u8]),
}

impl Bits<'_> {
    fn wire_type(&self) -> u64 {
        match self {
            Self::Varint(_) => VARINT,
            Self::Four(_) => FOUR_BYTES,
            Self::Eight(_) => EIGHT_BYTES,
            Self::Prefixed(_) => PREFIXED,
        }
    }

    /// Whether it is zero or empty. -0.0 is neither.
    fn is_default(&self) -> bool {
        match self {
            Self::Varint(value) => *value == 0,
            Self::Four(bytes) => *bytes == [0; 4],
            Self::Eight(bytes) => *bytes == [0; 8],
            Self::Prefixed(bytes) => bytes.is_empty(),
        }
    }

    fn write(&self, into: &mut Vec<u8>) {
        match self {
            Self::Varint(value) => varint(*value, into),
            Self::Four(bytes) => into.extend_from_slice(bytes),
            Self::Eight(bytes) => into.extend_from_slice(bytes),
            Self::Prefixed(bytes) => {
                varint(bytes.len() as u64, into);
                into.extend_from_slice(bytes);
            }
        }
    }
}

/// A value in an encoding; `None` if that does not hold it.
fn bits(wire: Wire, scalar: Scalar<'_>) -> Option<Bits<'_>> {
    Some(match wire {
        Wire::Bool => Bits::Varint(u64::from(matches!(scalar, Scalar::Boolean(true)))),
        Wire::Int32 => Bits::Varint(i64::from(whole::<i32>(scalar)?).cast_unsigned()),
        Wire::Int64 => Bits::Varint(whole::<i64>(scalar)?.cast_unsigned()),
        Wire::Uint32 => Bits::Varint(u64::from(whole::<u32>(scalar)?)),
        Wire::Uint64 => Bits::Varint(whole(scalar)?),
        Wire::Sint32 => Bits::Varint(zigzag(i64::from(whole::<i32>(scalar)?))),
        Wire::Sint64 => Bits::Varint(zigzag(whole(scalar)?)),
        Wire::Fixed32 => Bits::Four(whole::<u32>(scalar)?.to_le_bytes()),
        Wire::Fixed64 => Bits::Eight(whole::<u64>(scalar)?.to_le_bytes()),
        Wire::Sfixed32 => Bits::Four(whole::<i32>(scalar)?.to_le_bytes()),
        Wire::Sfixed64 => Bits::Eight(whole::<i64>(scalar)?.to_le_bytes()),
        Wire::Float => Bits::Four(float(scalar)?.to_le_bytes()),
        Wire::Double => Bits::Eight(double(scalar)?.to_le_bytes()),
        Wire::Text | Wire::Bytes => Bits::Prefixed(bytes(scalar)?),
    })
}

fn whole<T: TryFrom<i128>>(scalar: Scalar<'_>) -> Option<T> {
    if let Scalar::Integer(value) = scalar {
        return T::try_from(i128::from(value)).ok();
    }
    if let Scalar::Decimal { unscaled, scale: 0 } = scalar { T::try_from(unscaled).ok() } else { None }
}

fn float(scalar: Scalar<'_>) -> Option<f32> {
    if let Scalar::Float(value) = scalar { Some(value) } else { None }
}

fn double(scalar: Scalar<'_>) -> Option<f64> {
    if let Scalar::Double(value) = scalar {
        return Some(value);
    }
    float(scalar).map(f64::from).or_else(|| whole::<i32>(scalar).map(f64::from))
}

fn bytes(scalar: Scalar<'_>) -> Option<&[u8]> {
    if let Scalar::Text(value) = scalar {
        return Some(value.as_bytes());
    }
    if let Scalar::Bytes(value) = scalar { Some(value) } else { None }
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

fn tag(number: u32, wire_type: u64, into: &mut Vec<u8>) {
    varint(u64::from(number) << 3 | wire_type, into);
}

fn prefixed(number: u32, bytes: &[u8], into: &mut Vec<u8>) {
    tag(number, PREFIXED, into);
    varint(bytes.len() as u64, into);
    into.extend_from_slice(bytes);
}

fn varint(mut bits: u64, into: &mut Vec<u8>) {
    while bits >= 0x80 {
        into.push((bits & 0x7f) as u8 | 0x80);
        bits >>= 7;
    }
    into.push(bits as u8);
}
