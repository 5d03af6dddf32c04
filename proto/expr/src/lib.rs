//! The encoding of expressions in a job graph: a DataFusion logical expression as bytes, and back.
//!
//! ```text
//! a + 1 > 5    {"format":1,"nodes":[{"column":"a"},
//!                                   {"literal":{"type":"Int64","value":{"int":1}}},
//!                                   {"binary":"plus"},
//!                                   {"literal":{"type":"Int64","value":{"int":5}}},
//!                                   {"binary":"gt"}]}
//! ```
//!
//! The bytes are JSON: a format number, and the nodes of the expression in post-order. Each node takes the values of
//! its children from a stack, the last child from the top, and leaves its own value there. So encoding and decoding
//! need no recursion, however long a spine of `AND`s is. A node alone tells how many children it has: `Node::children`.
//! Functions are written by name, types and fields as arrow-schema writes them, and values by type (`Datum`).
//!
//! Bytes come from the network: for any bytes `decode` gives an expression or an error. It bounds the depth of an
//! expression (`DEPTH_MAX`, `LINKS_MAX`), and the memory that a value of a type takes. `encode` keeps the same bounds,
//! so its output can be decoded.
//!
//! Only what operators evaluate has an encoding: columns by unqualified name, but no subqueries, window functions or
//! placeholders. Positions in the source text are dropped. Whoever compiles an expression checks that it fits its
//! input.

mod datum;
mod decode;
mod encode;
mod error;
mod node;
mod spine;
mod types;

pub use decode::{Functions, decode};
pub use encode::encode;
pub use error::CodecError;

/// The version of the encoding. Other versions are refused.
pub const FORMAT: u32 = 1;

/// The most levels of an expression. A spine is one level, however long it is. It consists of `AND`s only or of `OR`s
/// only, however they are nested, or of other operators and casts, each the left operand of the next. Functions that
/// evaluate an expression call themselves for each level.
pub const DEPTH_MAX: usize = 512;

/// The most levels of an expression if each link of a spine is one: the height of the tree that [`decode`] gives.
/// Whoever compiles and drops it needs a stack for that, about 1 KiB for each level in a build without optimisation.
pub const LINKS_MAX: usize = 20_000;

#[cfg(test)]
mod tests;
