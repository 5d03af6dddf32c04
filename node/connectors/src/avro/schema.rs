//! A schema as nodes that name one another by index, so that a recursive one is no special case.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use apache_avro::schema::{InnerDecimalSchema, Name, Schema, UuidSchema};
use arrow::datatypes::TimeUnit;
use serde_json::Value;

/// The index of a node.
pub(super) type NodeId = usize;

/// The longest text of a schema.
const SCHEMA_BYTES_MAX: usize = 4 << 20;

/// A schema.
#[derive(Debug)]
pub(crate) struct AvroSchema {
    nodes: Vec<Node>,
    /// Per node, whether its values take bytes.
    has_bytes: Vec<bool>,
    root: NodeId,
}

/// What a datum consists of at one place.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Scalar(Wire),
    Array(NodeId),
    Map(NodeId),
    Union(Vec<NodeId>),
    Record(Vec<(String, NodeId)>),
}

/// How a value without parts is encoded, and what it means.
#[derive(Debug, Clone)]
pub(super) enum Wire {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Text,
    Bytes(Extent),
    Enum(Vec<String>),
    Decimal {
        extent: Extent,
        precision: usize,
        scale: i8,
    },
    Date,
    TimeMillis,
    TimeMicros,
    Timestamp(TimeUnit),
    /// 16 bytes that people know as text.
    Uuid(Extent),
}

/// How long bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Their length stands before them.
    Prefixed,
    /// Always this many.
    Fixed(usize),
}

impl AvroSchema {
    /// A schema of this text. `references` are schemas whose names it uses, each behind those that it uses itself.
    pub(crate) fn parse(text: &str, references: &[String]) -> Result<Self, String> {
        if references.iter().map(String::len).sum::<usize>() + text.len() > SCHEMA_BYTES_MAX {
            return Err(format!("the schema is longer than {SCHEMA_BYTES_MAX} bytes"));
        }
        let (mut whole, own) = with_references(text, references)?;
        drop_defaults(&mut whole);
        // The parser expects this and that of schemas, which may come from anybody.
        let parsed = catch_unwind(AssertUnwindSafe(|| Schema::parse(&whole)));
        let parsed = parsed.map_err(|_| "the schema cannot be understood".to_owned())?;
        let parsed = parsed.map_err(|error| format!("the schema is malformed: {error}"))?;
        let mut nodes = Nodes::default();
        let all = nodes.add(&parsed)?;
        let root = match own {
            None => all,
            Some(own) => nodes.only_own(all, own)?,
        };
        Ok(Self { has_bytes: having_bytes(&nodes.nodes), nodes: nodes.nodes, root })
    }

    pub(super) fn root(&self) -> NodeId {
        self.root
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// The names of the record's fields; empty if it is no record.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let fields = match self.node(self.root) {
            Node::Record(fields) => fields.as_slice(),
            Node::Null | Node::Scalar(_) | Node::Array(_) | Node::Map(_) | Node::Union(_) => &[],
        };
        fields.iter().map(|(name, _)| name.as_str())
    }

    /// Whether values of a node take no bytes.
    pub(super) fn is_empty(&self, id: NodeId) -> bool {
        !self.has_bytes[id]
    }
}

/// Per node, whether its values take bytes: those of records do if a field's do.
fn having_bytes(nodes: &[Node]) -> Vec<bool> {
    let mut users: Vec<Vec<NodeId>> = vec![Vec::new(); nodes.len()];
    let mut pending = Vec::new();
    for (id, node) in nodes.iter().enumerate() {
        match node {
            Node::Null | Node::Scalar(Wire::Bytes(Extent::Fixed(0))) => {}
            Node::Record(fields) => fields.iter().for_each(|(_, field)| users[*field].push(id)),
            Node::Scalar(_) | Node::Array(_) | Node::Map(_) | Node::Union(_) => pending.push(id),
        }
    }
    let mut has_bytes = vec![false; nodes.len()];
    while let Some(id) = pending.pop() {
        if !std::mem::replace(&mut has_bytes[id], true) {
            pending.extend_from_slice(&users[id]);
        }
    }
    has_bytes
}

/// The schema with its references as one: a union, since each schema of a union may use the names of those before it. Then
/// also how many of the union's schemas, at its end, are the schema's own, and whether those are a union themselves.
fn with_references(text: &str, references: &[String]) -> Result<(Value, Option<(usize, bool)>), String> {
    let parse = |text: &str| match serde_json::from_str::<Value>(text) {
        Ok(value) => Ok(value),
        // The name of a type alone, as the registry gives it without quotes.
        Err(_)
            if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte)) && !text.is_empty() =>
        {
            Ok(Value::String(text.to_owned()))
        }
        Err(error) => Err(format!("the schema is not JSON: {error}")),
    };
    let own = parse(text.trim())?;
    if references.is_empty() {
        return Ok((own, None));
    }
    let mut all = references.iter().map(|text| parse(text.trim())).collect::<Result<Vec<_>, _>>()?;
    let (own, is_union) = match own {
        Value::Array(branches) => (branches, true),
        own => (vec![own], false),
    };
    let count = own.len();
    all.extend(own);
    Ok((Value::Array(all), Some((count, is_union))))
}

/// Removes the defaults of fields: writers need none, and the parser refuses some that others take.
fn drop_defaults(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.remove("default");
            members.values_mut().for_each(drop_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_defaults),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[derive(Default)]
struct Nodes {
    nodes: Vec<Node>,
    names: HashMap<Name, NodeId>,
}

impl Nodes {
    /// Adds a schema with all its parts. The text that it is of is nested less deeply than a stack holds.
    fn add(&mut self, schema: &Schema) -> Result<NodeId, String> {
        if let Schema::Ref { name } = schema {
            let known = self.names.get(name).copied();
            return known.ok_or_else(|| format!("the schema names {name}, which is not known"));
        }
        let id = self.nodes.len();
        // Replaced below; a part may name it before.
        self.nodes.push(Node::Null);
        if let Some(name) = schema.name() {
            let aliases = schema.aliases().into_iter().flatten();
            let aliases: Vec<Name> =
                aliases.map(|alias| alias.fully_qualified_name(name.namespace()).into_owned()).collect();
            self.names.extend(aliases.into_iter().map(|alias| (alias, id)));
            self.names.insert(name.clone(), id);
        }
        let node = match schema {
            Schema::Null => Node::Null,
            Schema::Array(array) => Node::Array(self.add(&array.items)?),
            Schema::Map(map) => Node::Map(self.add(&map.types)?),
            Schema::Union(union) => {
                Node::Union(union.variants().iter().map(|branch| self.add(branch)).collect::<Result<_, _>>()?)
            }
            Schema::Record(record) => {
                let fields = record.fields.iter();
                let fields = fields.map(|field| Ok((field.name.clone(), self.add(&field.schema)?)));
                Node::Record(fields.collect::<Result<_, String>>()?)
            }
            scalar => Node::Scalar(wire(scalar)?),
        };
        self.nodes[id] = node;
        Ok(id)
    }

    /// The node of a schema that stands at the end of a union, behind its references.
    fn only_own(&mut self, all: NodeId, (count, is_union): (usize, bool)) -> Result<NodeId, String> {
        let Some(Node::Union(branches)) = self.nodes.get(all) else { return Err("the schema is no union".to_owned()) };
        let own = branches[branches.len().saturating_sub(count)..].to_vec();
        match own.as_slice() {
            [own] if !is_union => Ok(*own),
            _ => {
                self.nodes.push(Node::Union(own));
                Ok(self.nodes.len() - 1)
            }
        }
    }
}

fn wire(schema: &Schema) -> Result<Wire, String> {
    Ok(match schema {
        Schema::Boolean => Wire::Boolean,
        Schema::Int => Wire::Int,
        Schema::Long => Wire::Long,
        Schema::Float => Wire::Float,
        Schema::Double => Wire::Double,
        // A decimal that tells its scale in its bytes is read as these bytes.
        Schema::Bytes | Schema::BigDecimal => Wire::Bytes(Extent::Prefixed),
        Schema::String | Schema::Uuid(UuidSchema::String) => Wire::Text,
        Schema::Fixed(fixed) | Schema::Duration(fixed) => Wire::Bytes(Extent::Fixed(fixed.size)),
        Schema::Enum(choice) => Wire::Enum(choice.symbols.clone()),
        Schema::Decimal(decimal) => Wire::Decimal {
            extent: match &decimal.inner {
                InnerDecimalSchema::Bytes => Extent::Prefixed,
                InnerDecimalSchema::Fixed(fixed) => Extent::Fixed(fixed.size),
            },
            precision: decimal.precision,
            scale: i8::try_from(decimal.scale).map_err(|_| format!("a decimal's scale is {}", decimal.scale))?,
        },
        Schema::Uuid(UuidSchema::Bytes) => Wire::Uuid(Extent::Prefixed),
        Schema::Uuid(UuidSchema::Fixed(fixed)) => Wire::Uuid(Extent::Fixed(fixed.size)),
        Schema::Date => Wire::Date,
        Schema::TimeMillis => Wire::TimeMillis,
        Schema::TimeMicros => Wire::TimeMicros,
        Schema::TimestampMillis | Schema::LocalTimestampMillis => Wire::Timestamp(TimeUnit::Millisecond),
        Schema::TimestampMicros | Schema::LocalTimestampMicros => Wire::Timestamp(TimeUnit::Microsecond),
        Schema::TimestampNanos | Schema::LocalTimestampNanos => Wire::Timestamp(TimeUnit::Nanosecond),
        Schema::Null
        | Schema::Array(_)
        | Schema::Map(_)
        | Schema::Union(_)
        | Schema::Record(_)
        | Schema::Ref { .. } => return Err("a type with parts stands where none can".to_owned()),
    })
}

impl Wire {
    /// Its name in faults.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Text => "string",
            Self::Bytes(Extent::Prefixed) => "bytes",
            Self::Bytes(Extent::Fixed(_)) => "fixed",
            Self::Enum(_) => "enum",
            Self::Decimal { .. } => "decimal",
            Self::Date => "date",
            Self::TimeMillis => "time-millis",
            Self::TimeMicros => "time-micros",
            Self::Timestamp(TimeUnit::Second | TimeUnit::Millisecond) => "timestamp-millis",
            Self::Timestamp(TimeUnit::Microsecond) => "timestamp-micros",
            Self::Timestamp(TimeUnit::Nanosecond) => "timestamp-nanos",
            Self::Uuid(_) => "uuid",
        }
    }
}

impl Node {
    /// Its name in faults.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Scalar(wire) => wire.name(),
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Union(_) => "union",
            Self::Record(_) => "record",
        }
    }
}
