//! Reads datums into columns, as the plan of their schema says.

use std::sync::Arc;

use arrow::datatypes::Fields;

use super::{
    datum::Datum,
    resolve::{ReadPlan, RowPlan, Step, ValuePlan},
    schema::{AvroSchema, Wire},
};
use crate::{
    json::Fault,
    typed::{Builder, RowColumn, Scalar},
};

/// The most characters of a key that a fault shows.
const KEY_CHARS_MAX: usize = 32;

/// Reads datums of one schema into columns.
#[derive(Debug)]
pub(crate) struct AvroReader {
    schema: Arc<AvroSchema>,
    plan: ReadPlan,
}

impl AvroReader {
    /// The error says why no datum of the schema can be read into these columns.
    pub(crate) fn new(schema: Arc<AvroSchema>, columns: &Fields) -> Result<Self, String> {
        let plan = ReadPlan::new(&schema, columns)?;
        Ok(Self { schema, plan })
    }

    pub(crate) fn schema(&self) -> &AvroSchema {
        &self.schema
    }

    /// Reads the datum that begins here as a row.
    pub(crate) fn read(&self, datum: &mut Datum<'_>, root: &mut RowColumn, row: usize) -> Result<(), Fault> {
        match &self.plan {
            ReadPlan::Row(plan) => self.fields(plan, datum, root, row),
            ReadPlan::Only(plan) => root.read_field(0, |builder| self.value(plan, datum, builder, row)),
        }
    }

    /// Skips the datum that begins here.
    pub(crate) fn skip(&self, datum: &mut Datum<'_>) -> Result<(), Fault> {
        datum.skip(&self.schema, self.schema.root(), 0)
    }

    fn fields(&self, plan: &RowPlan, datum: &mut Datum<'_>, into: &mut RowColumn, row: usize) -> Result<(), Fault> {
        plan.steps.iter().try_for_each(|step| match step {
            Step::Skip(node) => datum.skip(&self.schema, *node, 0),
            Step::Read(index, plan) => into.read_field(*index, |builder| self.value(plan, datum, builder, row)),
        })
    }

    fn value(&self, plan: &ValuePlan, datum: &mut Datum<'_>, into: &mut Builder, row: usize) -> Result<(), Fault> {
        match (plan, into) {
            (ValuePlan::Null, into) => into.push_null(row),
            (ValuePlan::Union(branches), into) => {
                let branch = datum.choice(branches.len())?;
                self.value(&branches[branch], datum, into, row)
            }
            (ValuePlan::Scalar(wire), Builder::Scalar(column)) => column.push(row, scalar(wire, datum)?),
            (ValuePlan::UuidText(extent), Builder::Scalar(column)) => {
                column.push(row, Scalar::Text(&uuid_text(datum.bytes(*extent)?)?))
            }
            (ValuePlan::Row(plan), Builder::Row(column)) => {
                column.read_row(row, |column| self.fields(plan, datum, column, row))
            }
            (ValuePlan::List(is_empty, plan), Builder::List(column)) => {
                column.begin(row);
                let mut index = 0;
                while let Some((count, _)) = datum.block(*is_empty)? {
                    for _ in 0..count {
                        index += 1;
                        let read = column.read_item(|items, item| self.value(plan, datum, items, item));
                        read.map_err(|fault| fault.of_field(&format!("[{index}]")))?;
                    }
                }
                column.end();
                Ok(())
            }
            (ValuePlan::Map(plan), Builder::Map(column)) => {
                column.begin(row);
                let mut seen = Vec::new();
                while let Some((count, _)) = datum.block(false)? {
                    for _ in 0..count {
                        let key = datum.text()?;
                        seen.push(key);
                        let read = column.read_entry(|keys, values, item| {
                            keys.push(item, Scalar::Text(key))?;
                            self.value(plan, datum, values, item)
                        });
                        read.map_err(|fault| fault.of_field(&format!("[{}]", shown(key))))?;
                    }
                }
                column.end();
                check_keys(seen)
            }
            (ValuePlan::Misfit(reason), _) => Err(Fault::new(reason.clone())),
            (
                ValuePlan::Scalar(_)
                | ValuePlan::UuidText(_)
                | ValuePlan::Row(_)
                | ValuePlan::List(..)
                | ValuePlan::Map(_),
                _,
            ) => Err(Fault::new("the plan is of another type than the column")),
        }
    }
}

/// A map with a key twice says two things at once.
fn check_keys(mut keys: Vec<&str>) -> Result<(), Fault> {
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Fault::new(format!("the key '{}' occurs twice", shown(pair[0])))),
        None => Ok(()),
    }
}

/// A key as faults show it.
fn shown(key: &str) -> String {
    key.chars().take(KEY_CHARS_MAX).collect()
}

#[inline]
fn scalar<'w, 'a: 'w>(wire: &'w Wire, datum: &mut Datum<'a>) -> Result<Scalar<'w>, Fault> {
    Ok(match wire {
        Wire::Boolean => Scalar::Boolean(datum.boolean()?),
        Wire::Int => Scalar::Integer(i64::from(datum.int()?)),
        Wire::Long => Scalar::Integer(datum.long()?),
        Wire::Float => Scalar::Float(datum.float()?),
        Wire::Double => Scalar::Double(datum.double()?),
        Wire::Text => Scalar::Text(datum.text()?),
        Wire::Bytes(extent) | Wire::Uuid(extent) => Scalar::Bytes(datum.bytes(*extent)?),
        Wire::Enum(symbols) => Scalar::Text(&symbols[datum.choice(symbols.len())?]),
        Wire::Decimal { extent, scale, .. } => {
            Scalar::Decimal { unscaled: two_complement(datum.bytes(*extent)?)?, scale: *scale }
        }
        Wire::Date => Scalar::Date(datum.int()?),
        Wire::TimeMillis => time(i64::from(datum.int()?), 1_000_000)?,
        Wire::TimeMicros => time(datum.long()?, 1_000)?,
        Wire::Timestamp(unit) => Scalar::Timestamp(datum.long()?, *unit),
    })
}

fn time(value: i64, nanos: i64) -> Result<Scalar<'static>, Fault> {
    let in_nanos = value.checked_mul(nanos).ok_or_else(|| Fault::new(format!("{value} is no time of day")))?;
    Ok(Scalar::Time(in_nanos))
}

/// A number as its bytes in two's complement, the highest first.
fn two_complement(bytes: &[u8]) -> Result<i128, Fault> {
    let is_negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
    let sign = if is_negative { u8::MAX } else { 0 };
    let mut wide = [sign; 16];
    let extra = bytes.len().saturating_sub(wide.len());
    let (filling, digits) = bytes.split_at(extra);
    wide[16 - digits.len()..].copy_from_slice(digits);
    let value = i128::from_be_bytes(wide);
    if filling.iter().any(|byte| *byte != sign) || (value < 0) != is_negative {
        return Err(Fault::new("a decimal has more than 38 digits"));
    }
    Ok(value)
}

/// 16 bytes as people write them: `00112233-4455-6677-8899-aabbccddeeff`.
fn uuid_text(bytes: &[u8]) -> Result<String, Fault> {
    if bytes.len() != 16 {
        return Err(Fault::new(format!("a uuid has {} bytes, not 16", bytes.len())));
    }
    let hex = thalweg_types::text::to_hex(bytes);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &hex[part]);
    Ok(parts.join("-"))
}
