//! Where each field of a schema gets its value from when rows are written.
//!
//! A field gets the column of its name, and its values as they are: what would lose digits does not fit. A field without a
//! column is written as null, so null must be one of its branches; a column without a field is an error. Of a union, the first
//! branch is taken that holds every value of the column; failing that, the first that holds some.

use arrow::datatypes::{DataType, Field, Fields};

use super::{
    resolve::map_value,
    schema::{AvroSchema, Extent, Node, NodeId, Wire},
};
use crate::{
    json::sql_name,
    typed::{ITEMS, below, is_text, of_column},
};

/// How rows are written as datums of a schema.
#[derive(Debug)]
pub(super) struct WritePlan {
    pub(super) root: RootPlan,
    /// Whether there are values of the columns that the schema does not hold.
    pub(super) can_fail: bool,
}

#[derive(Debug)]
pub(super) enum RootPlan {
    Row(Vec<FieldPlan>),
    /// The value of the only column.
    Only(ValuePlan),
}

#[derive(Debug)]
pub(super) enum FieldPlan {
    /// The column with this index.
    Column(usize, ValuePlan),
    /// No column: the bytes of null.
    Null(Vec<u8>),
}

/// How a value is written.
#[derive(Debug)]
pub(super) enum ValuePlan {
    Null,
    Scalar(Wire),
    Row(Vec<FieldPlan>),
    List(Box<ValuePlan>),
    Map(Box<ValuePlan>),
    /// The indexes of the branch for NULL and of the one for all else.
    Union {
        null: Option<usize>,
        other: Option<(usize, Box<ValuePlan>)>,
    },
}

impl WritePlan {
    /// The error says which column or field has no other.
    pub(super) fn new(schema: &AvroSchema, columns: &Fields) -> Result<Self, String> {
        let layout = Layout { schema };
        let root = schema.root();
        let (root, holds_all) = match (schema.node(root), columns.as_ref()) {
            (Node::Record(fields), _) => {
                let (fields, holds_all) = layout.row(fields, columns).map_err(|reason| of_column(&reason))?;
                (RootPlan::Row(fields), holds_all)
            }
            (_, [column]) => {
                let (plan, holds_all) =
                    layout.field(root, column).map_err(|reason| of_column(&below(column.name(), &reason)))?;
                (RootPlan::Only(plan), holds_all)
            }
            (other, _) => return Err(format!("the schema is of type {}, not a record", other.name())),
        };
        Ok(Self { root, can_fail: !holds_all })
    }
}

struct Layout<'a> {
    schema: &'a AvroSchema,
}

/// A plan, and whether it holds every value of its column.
type Laid<T> = Result<(T, bool), String>;

impl Layout<'_> {
    fn row(&self, fields: &[(String, NodeId)], columns: &Fields) -> Laid<Vec<FieldPlan>> {
        let lacks = |column: &Field| fields.iter().all(|(name, _)| name != column.name());
        if let Some(column) = columns.iter().find(|column| lacks(column)) {
            return Err(below(column.name(), "the schema has no such field"));
        }
        let mut holds_all = true;
        let mut plans = Vec::with_capacity(fields.len());
        for (name, id) in fields {
            plans.push(match columns.find(name) {
                Some((index, column)) => {
                    let (plan, holds) = self.field(*id, column).map_err(|reason| below(name, &reason))?;
                    holds_all &= holds;
                    FieldPlan::Column(index, plan)
                }
                None => {
                    let null = self.null(*id);
                    FieldPlan::Null(null.ok_or_else(|| below(name, "this field has no column, and is never null"))?)
                }
            });
        }
        Ok((plans, holds_all))
    }

    /// The bytes of a value that is null; `None` if the node has none.
    fn null(&self, id: NodeId) -> Option<Vec<u8>> {
        match self.schema.node(id) {
            Node::Null => Some(Vec::new()),
            Node::Union(branches) => {
                let branch = branches.iter().position(|branch| matches!(self.schema.node(*branch), Node::Null))?;
                let mut bytes = Vec::new();
                write_long(i64::try_from(branch).ok()?, &mut bytes);
                Some(bytes)
            }
            Node::Scalar(_) | Node::Array(_) | Node::Map(_) | Node::Record(_) => None,
        }
    }

    /// The plan of a column, which may be NULL.
    fn field(&self, id: NodeId, column: &Field) -> Laid<ValuePlan> {
        let (plan, holds_all) = self.value(id, column)?;
        let holds_null = match &plan {
            ValuePlan::Null => true,
            ValuePlan::Union { null, .. } => null.is_some(),
            ValuePlan::Scalar(_) | ValuePlan::Row(_) | ValuePlan::List(_) | ValuePlan::Map(_) => false,
        };
        Ok((plan, holds_all && (holds_null || !column.is_nullable())))
    }

    fn value(&self, id: NodeId, column: &Field) -> Laid<ValuePlan> {
        let node = self.schema.node(id);
        match (node, column.data_type()) {
            (Node::Union(branches), _) => self.union(branches, column),
            (Node::Null, DataType::Null) => Ok((ValuePlan::Null, true)),
            (Node::Scalar(wire), from) => match holds(wire, from) {
                Some(all) => Ok((ValuePlan::Scalar(wire.clone()), all)),
                None => Err(format!("{} cannot be written as {}", sql_name(from), node.name())),
            },
            (Node::Record(fields), DataType::Struct(columns)) => {
                let (fields, all) = self.row(fields, columns)?;
                Ok((ValuePlan::Row(fields), all))
            }
            (Node::Array(item), DataType::List(column)) => {
                let (plan, all) = self.field(*item, column).map_err(|reason| below(ITEMS, &reason))?;
                Ok((ValuePlan::List(Box::new(plan)), all))
            }
            (Node::Map(value), DataType::Map(entries, _)) => {
                let column = map_value(entries).ok_or("a map's keys must be STRING")?;
                let (plan, all) = self.field(*value, column).map_err(|reason| below(ITEMS, &reason))?;
                Ok((ValuePlan::Map(Box::new(plan)), all))
            }
            (node, from) => Err(format!("{} cannot be written as {}", sql_name(from), node.name())),
        }
    }

    fn union(&self, branches: &[NodeId], column: &Field) -> Laid<ValuePlan> {
        let null = branches.iter().position(|branch| matches!(self.schema.node(*branch), Node::Null));
        let mut best: Option<(usize, ValuePlan, bool)> = None;
        let mut first = None;
        for (index, branch) in branches.iter().enumerate().filter(|(index, _)| Some(*index) != null) {
            match self.value(*branch, column) {
                Ok((plan, holds_all)) => {
                    if best.as_ref().is_none_or(|(_, _, all)| holds_all && !all) {
                        best = Some((index, plan, holds_all));
                    }
                }
                Err(reason) => _ = first.get_or_insert(reason),
            }
        }
        match (best, column.data_type()) {
            (Some((index, plan, all)), _) => Ok((ValuePlan::Union { null, other: Some((index, Box::new(plan))) }, all)),
            (None, DataType::Null) if null.is_some() => Ok((ValuePlan::Union { null, other: None }, true)),
            (None, from) => Err(first.unwrap_or_else(|| format!("{} cannot be written as null alone", sql_name(from)))),
        }
    }
}

/// Whether values of a type can be written so: `None`: none can; else whether all can.
fn holds(wire: &Wire, from: &DataType) -> Option<bool> {
    use DataType as D;
    let is_bytes = matches!(from, D::Binary | D::BinaryView | D::LargeBinary);
    match (wire, from) {
        (Wire::Boolean, D::Boolean) => Some(true),
        (Wire::Int, D::Int8 | D::Int16 | D::Int32) => Some(true),
        (Wire::Int, D::Int64) => Some(false),
        (Wire::Long, D::Int8 | D::Int16 | D::Int32 | D::Int64) => Some(true),
        (Wire::Float, D::Float32) => Some(true),
        (Wire::Double, D::Float32 | D::Float64 | D::Int8 | D::Int16 | D::Int32) => Some(true),
        (Wire::Text, from) => is_text(from).then_some(true),
        (Wire::Bytes(Extent::Prefixed), from) => (is_bytes || is_text(from)).then_some(true),
        (Wire::Bytes(Extent::Fixed(_)), _) => is_bytes.then_some(false),
        (Wire::Enum(_), from) => is_text(from).then_some(false),
        (Wire::Decimal { extent, precision, scale }, from) => {
            let (digits, own) = match from {
                D::Decimal128(precision, scale) => (*precision, *scale),
                D::Int8 => (3, 0),
                D::Int16 => (5, 0),
                D::Int32 => (10, 0),
                D::Int64 => (19, 0),
                _ => return None,
            };
            let is_wide = match extent {
                Extent::Prefixed => true,
                Extent::Fixed(bytes) => *bytes >= 16,
            };
            let before = |precision: i64, scale: i8| precision - i64::from(scale);
            let room = before(i64::try_from(*precision).unwrap_or(i64::MAX), *scale);
            Some(is_wide && own <= *scale && before(i64::from(digits), own) <= room && *precision <= 38)
        }
        (Wire::Date, D::Date32) => Some(true),
        // A finer time may be too far away, a coarser one has fewer digits.
        (Wire::TimeMillis | Wire::TimeMicros, D::Time32(_) | D::Time64(_)) => Some(false),
        (Wire::Timestamp(unit), D::Timestamp(from, _)) => Some(unit == from),
        (Wire::Uuid(_), from) => (is_bytes || is_text(from)).then_some(false),
        (
            Wire::Boolean
            | Wire::Int
            | Wire::Long
            | Wire::Float
            | Wire::Double
            | Wire::Date
            | Wire::TimeMillis
            | Wire::TimeMicros
            | Wire::Timestamp(_),
            _,
        ) => None,
    }
}

/// Writes a number: zigzag, seven bits a byte, the lowest first.
pub(crate) fn write_long(value: i64, into: &mut Vec<u8>) {
    let mut bits = (value << 1 ^ value >> 63).cast_unsigned();
    while bits >= 0x80 {
        into.push((bits & 0x7f) as u8 | 0x80);
        bits >>= 7;
    }
    into.push(bits as u8);
}
