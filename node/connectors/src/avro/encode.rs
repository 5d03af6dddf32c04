//! Writes rows as datums, as the plan of their schema says.

use arrow::datatypes::{Fields, TimeUnit};

use super::{
    layout::{FieldPlan, RootPlan, ValuePlan, WritePlan, write_long},
    schema::{AvroSchema, Extent, Wire},
};
use crate::{
    json::{Fault, timestamp::Moment},
    typed::{Cells, Scalar, WriteRow, decimal_in, extent},
};

/// Writes rows as datums of one schema.
#[derive(Debug)]
pub(crate) struct AvroWriter {
    plan: WritePlan,
    names: Vec<String>,
}

impl AvroWriter {
    /// The error says which column or field of the schema has no other.
    pub(crate) fn new(schema: &AvroSchema, columns: &Fields) -> Result<Self, String> {
        let names = columns.iter().map(|column| column.name().clone()).collect();
        Ok(Self { plan: WritePlan::new(schema, columns)?, names })
    }
}

impl WriteRow for AvroWriter {
    fn can_fail(&self) -> bool {
        self.plan.can_fail
    }

    fn write(&self, cells: &[Cells], row: usize, into: &mut Vec<u8>) -> Result<(), Fault> {
        match (&self.plan.root, cells) {
            (RootPlan::Row(fields), cells) => {
                fields_of(fields, cells, row, into, |index| self.names.get(index).map_or("", String::as_str))
            }
            (RootPlan::Only(plan), [cells]) => {
                value(plan, cells, row, into).map_err(|fault| fault.of_field(&self.names[0]))
            }
            (RootPlan::Only(_), _) => Err(Fault::new("the schema has the value of one column")),
        }
    }
}

fn fields_of<'n>(
    fields: &[FieldPlan],
    cells: &[Cells],
    row: usize,
    into: &mut Vec<u8>,
    name: impl Fn(usize) -> &'n str,
) -> Result<(), Fault> {
    for field in fields {
        match field {
            FieldPlan::Null(bytes) => into.extend_from_slice(bytes),
            FieldPlan::Column(index, plan) => {
                value(plan, &cells[*index], row, into).map_err(|fault| fault.of_field(name(*index)))?;
            }
        }
    }
    Ok(())
}

fn value(plan: &ValuePlan, cells: &Cells, row: usize, into: &mut Vec<u8>) -> Result<(), Fault> {
    let is_null = cells.is_null(row);
    match (plan, cells) {
        (ValuePlan::Union { null: Some(branch), .. }, _) if is_null => index(*branch, into),
        (ValuePlan::Null, _) if is_null => {}
        _ if is_null => return Err(Fault::new("the schema has no null here, found NULL")),
        (ValuePlan::Union { other: Some((branch, plan)), .. }, cells) => {
            index(*branch, into);
            return value(plan, cells, row, into);
        }
        (ValuePlan::Row(fields), Cells::Row(array, cells)) => {
            let columns = array.fields();
            fields_of(fields, cells, row, into, |index| columns.get(index).map_or("", |column| column.name()))
                .map_err(|fault| Fault::new(format!(".{fault}")))?;
        }
        (ValuePlan::List(plan), Cells::List(array, cells)) => {
            let items = extent(array.value_offsets(), row);
            let first = items.start;
            length(items.len(), into);
            for item in items {
                value(plan, cells, item, into).map_err(|fault| fault.of_field(&format!("[{}]", item - first + 1)))?;
            }
            end_of_items(array.value_offsets(), row, into);
        }
        (ValuePlan::Map(plan), Cells::Map(array, keys, cells)) => {
            let items = extent(array.value_offsets(), row);
            length(items.len(), into);
            for item in items {
                let Some(Scalar::Text(key)) = keys.scalar(item) else {
                    return Err(Fault::new("a map's keys must be STRING"));
                };
                prefixed(key.as_bytes(), into);
                value(plan, cells, item, into).map_err(|fault| fault.of_field(&format!("[{key}]")))?;
            }
            end_of_items(array.value_offsets(), row, into);
        }
        (ValuePlan::Scalar(wire), cells) => {
            let scalar = cells.scalar(row).ok_or_else(mismatch)?;
            write_scalar(wire, scalar, into).ok_or_else(|| misfit(wire, scalar))?;
        }
        (ValuePlan::Null | ValuePlan::Union { .. } | ValuePlan::Row(_) | ValuePlan::List(_) | ValuePlan::Map(_), _) => {
            return Err(mismatch());
        }
    }
    Ok(())
}

#[cold]
fn mismatch() -> Fault {
    Fault::new("the plan is of another type than the column")
}

#[cold]
fn misfit(wire: &Wire, scalar: Scalar<'_>) -> Fault {
    let precise = match wire {
        Wire::Enum(symbols) => format!("one of {}", symbols.iter().take(20).cloned().collect::<Vec<_>>().join(", ")),
        Wire::Bytes(Extent::Fixed(length)) => format!("{length} bytes"),
        Wire::Decimal { precision, scale, .. } => format!("decimal({precision}, {scale})"),
        Wire::Boolean
        | Wire::Int
        | Wire::Long
        | Wire::Float
        | Wire::Double
        | Wire::Text
        | Wire::Bytes(Extent::Prefixed)
        | Wire::Date
        | Wire::TimeMillis
        | Wire::TimeMicros
        | Wire::Timestamp(_)
        | Wire::Uuid(_) => wire.name().to_owned(),
    };
    Fault::new(format!("the schema expects {precise}, found {scalar}"))
}

fn index(branch: usize, into: &mut Vec<u8>) {
    length(branch, into);
}

fn length(length: usize, into: &mut Vec<u8>) {
    write_long(i64::try_from(length).expect("what is in memory is shorter than 63 bits count"), into);
}

/// Items are one block; an empty array has none, whose count was the end already.
fn end_of_items(offsets: &[i32], row: usize, into: &mut Vec<u8>) {
    if !extent(offsets, row).is_empty() {
        into.push(0);
    }
}

fn prefixed(bytes: &[u8], into: &mut Vec<u8>) {
    length(bytes.len(), into);
    into.extend_from_slice(bytes);
}

fn sized(extent: Extent, bytes: &[u8], into: &mut Vec<u8>) -> Option<()> {
    match extent {
        Extent::Prefixed => prefixed(bytes, into),
        Extent::Fixed(length) if length == bytes.len() => into.extend_from_slice(bytes),
        Extent::Fixed(_) => return None,
    }
    Some(())
}

/// Appends a value; `None` if the schema does not hold it.
fn write_scalar(wire: &Wire, scalar: Scalar<'_>, into: &mut Vec<u8>) -> Option<()> {
    match (wire, scalar) {
        (Wire::Boolean, Scalar::Boolean(value)) => into.push(u8::from(value)),
        (Wire::Int, Scalar::Integer(value)) => write_long(i64::from(i32::try_from(value).ok()?), into),
        (Wire::Long, Scalar::Integer(value)) => write_long(value, into),
        (Wire::Float, Scalar::Float(value)) => into.extend_from_slice(&value.to_le_bytes()),
        (Wire::Double, Scalar::Float(value)) => into.extend_from_slice(&f64::from(value).to_le_bytes()),
        (Wire::Double, Scalar::Double(value)) => into.extend_from_slice(&value.to_le_bytes()),
        (Wire::Double, Scalar::Integer(value)) => {
            into.extend_from_slice(&f64::from(i32::try_from(value).ok()?).to_le_bytes());
        }
        (Wire::Text, Scalar::Text(value)) => prefixed(value.as_bytes(), into),
        (Wire::Bytes(extent), Scalar::Bytes(value)) => sized(*extent, value, into)?,
        (Wire::Bytes(extent), Scalar::Text(value)) => sized(*extent, value.as_bytes(), into)?,
        (Wire::Enum(symbols), Scalar::Text(value)) => {
            index(symbols.iter().position(|symbol| symbol == value)?, into);
        }
        (Wire::Decimal { extent, precision, scale }, Scalar::Decimal { unscaled, scale: from }) => {
            write_decimal(in_scale((unscaled, from), *precision, *scale)?, *extent, into)?;
        }
        (Wire::Decimal { extent, precision, scale }, Scalar::Integer(value)) => {
            write_decimal(in_scale((i128::from(value), 0), *precision, *scale)?, *extent, into)?;
        }
        (Wire::Date, Scalar::Date(days)) => write_long(i64::from(days), into),
        (Wire::TimeMillis, Scalar::Time(nanos)) if nanos % 1_000_000 == 0 => write_long(nanos / 1_000_000, into),
        (Wire::TimeMicros, Scalar::Time(nanos)) if nanos % 1_000 == 0 => write_long(nanos / 1_000, into),
        (Wire::Timestamp(unit), Scalar::Timestamp(value, from)) => write_long(in_unit(value, from, *unit)?, into),
        (Wire::Uuid(extent), Scalar::Text(text)) => sized(*extent, &uuid_bytes(text)?, into)?,
        (Wire::Uuid(extent), Scalar::Bytes(bytes)) if bytes.len() == 16 => sized(*extent, bytes, into)?,
        (
            Wire::Boolean
            | Wire::Int
            | Wire::Long
            | Wire::Float
            | Wire::Double
            | Wire::Text
            | Wire::Bytes(_)
            | Wire::Enum(_)
            | Wire::Decimal { .. }
            | Wire::Date
            | Wire::TimeMillis
            | Wire::TimeMicros
            | Wire::Timestamp(_)
            | Wire::Uuid(_),
            _,
        ) => return None,
    }
    Some(())
}

/// A decimal in units of another scale; `None` if it has too many digits, or would lose some. Columns have no more than 38.
fn in_scale(from: (i128, i8), precision: usize, scale: i8) -> Option<i128> {
    let value = decimal_in(from, u8::try_from(precision.min(38)).unwrap_or(38), scale)?;
    let (unscaled, own) = from;
    (own <= scale || decimal_in((value, scale), 38, own) == Some(unscaled)).then_some(value)
}

/// A time in another unit; `None` if it is too far away, or would lose digits.
fn in_unit(value: i64, from: TimeUnit, to: TimeUnit) -> Option<i64> {
    if from == to {
        return Some(value);
    }
    let moment = Moment::from_unit(value, from);
    moment.in_unit(to).filter(|value| Moment::from_unit(*value, to) == moment)
}

/// Appends a number as its bytes in two's complement, the highest first: as few as it needs, or all of a fixed length.
fn write_decimal(value: i128, extent: Extent, into: &mut Vec<u8>) -> Option<()> {
    let all = value.to_be_bytes();
    let sign = if value < 0 { u8::MAX } else { 0 };
    let is_spare = |pair: &[u8]| pair[0] == sign && (pair[1] >= 0x80) == (value < 0);
    let spare = all.windows(2).take_while(|pair| is_spare(pair)).count();
    let digits = &all[spare..];
    match extent {
        Extent::Prefixed => prefixed(digits, into),
        Extent::Fixed(length) => {
            into.resize(into.len() + length.checked_sub(digits.len())?, sign);
            into.extend_from_slice(digits);
        }
    }
    Some(())
}

/// The bytes of a uuid's text; `None` if it is none.
fn uuid_bytes(text: &str) -> Option<Vec<u8>> {
    let is_whole = text.len() == 36 && [8, 13, 18, 23].iter().all(|at| text.as_bytes()[*at] == b'-');
    let digits: String = text.split('-').collect();
    if is_whole { thalweg_types::text::from_hex(&digits).filter(|bytes| bytes.len() == 16) } else { None }
}
