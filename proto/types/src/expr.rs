//! Expressions inside a job graph: opaque, versioned bytes, made by the planner and decoded only by operators.

use serde::{Deserialize, Serialize};

/// A DataFusion logical expression in `thalweg-expr`'s encoding, whose columns are unqualified names of the
/// operator's input schema (names are unique there).
///
/// The format is tied to the engine's version: a node of another version is refused at registration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExprBytes {
    /// The encoding, base-16 in text formats.
    #[serde(with = "crate::text::hex_bytes")]
    pub bytes: Vec<u8>,
    /// The expression as SQL-like text, for `EXPLAIN` and error messages only.
    pub text: String,
}
