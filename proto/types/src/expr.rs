//! Expressions in a job graph: opaque, versioned bytes. The planner encodes them, and only operators decode them.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Deserialize, Serialize};

/// A DataFusion logical expression in `thalweg-expr`'s encoding. Its columns are unqualified names of the operator's
/// input schema, which are unique there.
///
/// The encoding is tied to the engine's version: a node of another version is refused at registration. Equality ignores
/// `place`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExprBytes {
    /// The encoding, base-16 in text formats.
    #[serde(with = "crate::text::hex_bytes")]
    pub bytes: Vec<u8>,
    /// The expression as SQL-like text, for `EXPLAIN` and error messages only.
    pub text: String,
    /// Its position in the script, if known; for error messages only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl PartialEq for ExprBytes {
    fn eq(&self, other: &Self) -> bool {
        (&self.bytes, &self.text) == (&other.bytes, &other.text)
    }
}

impl Eq for ExprBytes {}

impl Hash for ExprBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.bytes, &self.text).hash(state);
    }
}

/// A position in a script, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The character within the line.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A row that could not be evaluated, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its index in the operator's input batch.
    pub row: usize,
    /// The expression as text; empty if it was not an expression that failed.
    pub expression: String,
    /// The expression's position in the script.
    pub place: Option<Place>,
    /// Why it failed.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        if !self.expression.is_empty() {
            write!(f, "{}: ", self.expression)?;
        }
        f.write_str(&self.reason)
    }
}
