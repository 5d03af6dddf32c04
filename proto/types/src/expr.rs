//! Expressions inside a job graph: opaque, versioned bytes, made by the planner and decoded only by operators.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Deserialize, Serialize};

/// A DataFusion logical expression in `thalweg-expr`'s encoding, whose columns are unqualified names of the
/// operator's input schema (names are unique there).
///
/// The format is tied to the engine's version: a node of another version is refused at registration. Two are equal that say the
/// same, wherever they stand.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExprBytes {
    /// The encoding, base-16 in text formats.
    #[serde(with = "crate::text::hex_bytes")]
    pub bytes: Vec<u8>,
    /// The expression as SQL-like text, for `EXPLAIN` and error messages only.
    pub text: String,
    /// Where it stands in the script, as far as that is known; for error messages only.
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

/// A place in a script, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The character of the line.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a row could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its index in the batch that the operator was given.
    pub row: usize,
    /// What was evaluated, as text; empty where it is no expression.
    pub expression: String,
    /// Where in the script it stands.
    pub place: Option<Place>,
    /// Why.
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
