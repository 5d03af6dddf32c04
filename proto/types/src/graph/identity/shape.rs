//! The shape of an expression: what it computes, without the names of the columns that it computes it from.

use std::{fmt::Write as _, io};

use arrow_schema::Schema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::parts::Parts;
use crate::{connector::METADATA_COLUMN, expr::ExprBytes};

/// The columns of one schema that are mentioned, each once, in the order of their first mention.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Vec<usize>);

impl Places {
    /// All columns of a schema.
    pub(super) fn all(schema: &Schema) -> Self {
        Self((0..schema.fields().len()).collect())
    }

    /// The place of a column.
    pub(super) fn of(&mut self, column: usize) -> usize {
        self.0.iter().position(|known| *known == column).unwrap_or_else(|| {
            self.0.push(column);
            self.0.len() - 1
        })
    }

    /// The columns in the order of their places.
    pub(super) fn columns(&self) -> &[usize] {
        &self.0
    }
}

/// What stands in an expression for a column.
pub(super) trait Columns {
    /// What stands for the column of a name.
    fn value(&mut self, name: &str) -> Value;

    /// Mentions all columns.
    fn mention_all(&mut self);
}

/// Places of the columns of a schema.
pub(super) struct Placed<'a> {
    pub(super) schema: &'a Schema,
    pub(super) places: &'a mut Places,
}

impl Columns for Placed<'_> {
    fn value(&mut self, name: &str) -> Value {
        // A name that the schema does not have is no expression of it; whoever compiles it says so.
        self.schema.index_of(name).map_or_else(|_| json!(name), |column| json!(self.places.of(column)))
    }

    fn mention_all(&mut self) {
        for column in 0..self.schema.fields().len() {
            self.places.of(column);
        }
    }
}

/// The names themselves, of the physical columns of a table.
pub(super) struct Named<'a>(pub(super) &'a Schema);

impl Columns for Named<'_> {
    fn value(&mut self, name: &str) -> Value {
        let metadata = self.0.field_with_name(name).ok().and_then(|field| field.metadata().get(METADATA_COLUMN));
        metadata.map_or_else(|| json!(name), |key| json!({ "metadata": key }))
    }

    fn mention_all(&mut self) {}
}

/// The encoding of `thalweg-expr`, as far as it is known here.
#[derive(Deserialize)]
struct Encoded {
    nodes: Vec<Value>,
}

/// Adds the shape of an expression.
pub(super) fn add_shape(parts: &mut Parts, expression: &ExprBytes, columns: &mut impl Columns) {
    let Ok(Encoded { nodes }) = serde_json::from_slice(&expression.bytes) else {
        columns.mention_all();
        let mut hex = String::with_capacity(expression.bytes.len() * 2);
        expression.bytes.iter().for_each(|byte| write!(hex, "{byte:02x}").expect("text takes text"));
        parts.word("opaque");
        parts.word(&hex);
        return;
    };
    let nodes = nodes.into_iter().map(|node| match node.get("column").and_then(Value::as_str) {
        Some(name) => json!({ "column": columns.value(name) }),
        None => node,
    });
    parts.word(&sorted_text(&Value::Array(nodes.collect())));
}

/// Adds the shape of a column as it is.
pub(super) fn add_column(parts: &mut Parts, column: Value) {
    parts.word(&sorted_text(&json!([{ "column": column }])));
}

/// The column that an expression is, if it is nothing but one.
pub(crate) fn as_column(expression: &ExprBytes) -> Option<String> {
    let Encoded { nodes } = serde_json::from_slice(&expression.bytes).ok()?;
    let [only] = nodes.as_slice() else { return None };
    only.get("column").and_then(Value::as_str).map(str::to_owned)
}

/// JSON without spaces, the members of objects in the order of their names.
fn sorted_text(value: &Value) -> String {
    let mut text = Vec::new();
    write_sorted(value, &mut text).expect("memory takes text");
    String::from_utf8(text).expect("JSON is text")
}

fn write_sorted(value: &Value, text: &mut Vec<u8>) -> io::Result<()> {
    use io::Write as _;
    match value {
        Value::Array(items) => {
            text.push(b'[');
            for (item, index) in items.iter().zip(0..) {
                if index > 0 {
                    text.push(b',');
                }
                write_sorted(item, text)?;
            }
            text.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            text.push(b'{');
            for ((name, member), index) in members.into_iter().zip(0..) {
                if index > 0 {
                    text.push(b',');
                }
                serde_json::to_writer(&mut *text, name)?;
                text.push(b':');
                write_sorted(member, text)?;
            }
            text.push(b'}');
        }
        plain => write!(text, "{plain}")?,
    }
    Ok(())
}
