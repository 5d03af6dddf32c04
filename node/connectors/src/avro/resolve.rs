//! What is read of a schema's datums for which column.
//!
//! | in the schema | goes into |
//! |---|---|
//! | a field of a column's name | that column; fields of ROWs likewise, at any depth |
//! | another field | nothing: it is skipped |
//! | a union | whatever its branches go into; null is NULL |
//! | int, long | integers that hold the value, FLOAT, DOUBLE, DECIMAL |
//! | float, double | FLOAT, DOUBLE |
//! | string, bytes, fixed, enum, uuid | STRING, BYTES |
//! | decimal, date, time, timestamp | the SQL type of that name, in any precision |
//! | array, map, record | ARRAY, MAP with STRING keys, ROW |
//!
//! A nullable column without a field is NULL. A NOT NULL one without a field, or a column whose field does not go into it, is an
//! error of the schema as a whole; a branch of a union that does not is a fault of the values that have it.

use arrow::datatypes::{DataType, Field, Fields};

use super::schema::{AvroSchema, Extent, Node, NodeId, Wire};
use crate::{
    json::sql_name,
    typed::{ITEMS, Kind, below, is_text, key_and_value, of_column},
};

/// The most parts of a plan: branches of unions multiply.
const PARTS_MAX: usize = 100_000;

/// How datums of a schema are read.
#[derive(Debug)]
pub(super) enum ReadPlan {
    /// Each is a record with the columns among its fields.
    Row(RowPlan),
    /// Each is the value of the only column.
    Only(ValuePlan),
}

/// How a record is read, field by field.
#[derive(Debug)]
pub(super) struct RowPlan {
    pub(super) steps: Vec<Step>,
}

#[derive(Debug)]
pub(super) enum Step {
    Skip(NodeId),
    /// Into the column with this index.
    Read(usize, ValuePlan),
}

/// How the value of a column is read.
#[derive(Debug)]
pub(super) enum ValuePlan {
    Null,
    Scalar(Wire),
    /// 16 bytes, into a STRING.
    UuidText(Extent),
    Row(RowPlan),
    /// Whether the items take no bytes, and how one is read.
    List(bool, Box<ValuePlan>),
    Map(Box<ValuePlan>),
    /// By branch.
    Union(Vec<ValuePlan>),
    /// Values with this branch do not fit, and why.
    Misfit(String),
}

impl ReadPlan {
    /// The error says why no datum of the schema can be read.
    pub(super) fn new(schema: &AvroSchema, columns: &Fields) -> Result<Self, String> {
        let mut resolver = Resolver { schema, parts: 0 };
        let is_record = |id: NodeId| matches!(schema.node(id), Node::Record(_));
        match (schema.node(schema.root()), columns.as_ref()) {
            (Node::Record(fields), _) => {
                resolver.row(fields, columns).map(Self::Row).map_err(|reason| of_column(&reason))
            }
            (Node::Union(branches), [_] | []) if !branches.iter().any(|branch| is_record(*branch)) => {
                resolver.only(columns)
            }
            (Node::Null | Node::Scalar(_) | Node::Array(_) | Node::Map(_), [_] | []) => resolver.only(columns),
            (other, _) => Err(format!("the schema is {} {}, not a record", article(other.name()), other.name())),
        }
    }
}

fn article(name: &str) -> &'static str {
    if name.starts_with(['a', 'e', 'i']) { "an" } else { "a" }
}

struct Resolver<'a> {
    schema: &'a AvroSchema,
    parts: usize,
}

impl Resolver<'_> {
    fn only(&mut self, columns: &Fields) -> Result<ReadPlan, String> {
        let root = self.schema.root();
        match columns.as_ref() {
            [column] => {
                let plan = self.value(root, column).map_err(|reason| of_column(&below(column.name(), &reason)))?;
                Ok(ReadPlan::Only(plan))
            }
            _ => Ok(ReadPlan::Row(RowPlan { steps: vec![Step::Skip(root)] })),
        }
    }

    fn row(&mut self, fields: &[(String, NodeId)], columns: &Fields) -> Result<RowPlan, String> {
        let mut steps = Vec::with_capacity(fields.len());
        for (name, id) in fields {
            steps.push(match columns.find(name) {
                Some((index, column)) => {
                    let plan = self.value(*id, column).map_err(|reason| below(name, &reason))?;
                    Step::Read(index, plan)
                }
                None => Step::Skip(*id),
            });
        }
        let is_missing = |column: &Field| fields.iter().all(|(name, _)| name != column.name());
        match columns.iter().find(|column| !column.is_nullable() && is_missing(column)) {
            Some(column) => Err(below(column.name(), "is NOT NULL, and the schema has no such field")),
            None => Ok(RowPlan { steps }),
        }
    }

    fn value(&mut self, id: NodeId, column: &Field) -> Result<ValuePlan, String> {
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(format!("the schema's unions have more than {PARTS_MAX} parts"));
        }
        let schema = self.schema;
        let node = schema.node(id);
        match (node, column.data_type()) {
            (Node::Null, _) => Ok(ValuePlan::Null),
            (Node::Union(branches), _) => self.union(branches, column),
            (Node::Scalar(Wire::Uuid(extent)), wanted) if is_text(wanted) => Ok(ValuePlan::UuidText(*extent)),
            (Node::Scalar(wire), wanted) if kind(wire).goes_into(wanted) => Ok(ValuePlan::Scalar(wire.clone())),
            (Node::Record(fields), DataType::Struct(wanted)) => self.row(fields, wanted).map(ValuePlan::Row),
            (Node::Array(item), DataType::List(wanted)) => {
                let plan = self.value(*item, wanted).map_err(|reason| below(ITEMS, &reason))?;
                Ok(ValuePlan::List(schema.is_empty(*item), Box::new(plan)))
            }
            (Node::Map(value), DataType::Map(entries, _)) => {
                let wanted = map_value(entries).ok_or("a map's keys must be STRING")?;
                let plan = self.value(*value, wanted).map_err(|reason| below(ITEMS, &reason))?;
                Ok(ValuePlan::Map(Box::new(plan)))
            }
            (node, wanted) => Err(format!("{} does not go into {}", node.name(), sql_name(wanted))),
        }
    }

    fn union(&mut self, branches: &[NodeId], column: &Field) -> Result<ValuePlan, String> {
        let mut plans = Vec::with_capacity(branches.len());
        let mut first = None;
        for branch in branches {
            plans.push(self.value(*branch, column).unwrap_or_else(|reason| {
                first.get_or_insert(reason.clone());
                ValuePlan::Misfit(reason)
            }));
        }
        let fits = plans.iter().any(|plan| !matches!(plan, ValuePlan::Null | ValuePlan::Misfit(_)));
        match first {
            Some(reason) if !fits => Err(reason),
            _ => Ok(ValuePlan::Union(plans)),
        }
    }
}

/// The field of a map's values, if its keys are texts.
pub(super) fn map_value(entries: &Field) -> Option<&Field> {
    key_and_value(entries).filter(|(key, _)| is_text(key.data_type())).map(|(_, value)| value)
}

/// What kind of value a column gets.
fn kind(wire: &Wire) -> Kind {
    match wire {
        Wire::Boolean => Kind::Boolean,
        Wire::Int | Wire::Long => Kind::Integer,
        Wire::Float | Wire::Double => Kind::Float,
        Wire::Text | Wire::Enum(_) => Kind::Text,
        Wire::Bytes(_) | Wire::Uuid(_) => Kind::Bytes,
        Wire::Decimal { .. } => Kind::Decimal,
        Wire::Date => Kind::Date,
        Wire::TimeMillis | Wire::TimeMicros => Kind::Time,
        Wire::Timestamp(_) => Kind::Timestamp,
    }
}
