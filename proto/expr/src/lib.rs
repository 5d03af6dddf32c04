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
//! The bytes are JSON: a format number, and the nodes of the expression in post-order. Each node takes the values of its
//! children from a stack, the last one on top, and leaves its own, so reading and writing need no recursion however long a
//! chain of `AND`s is. How many children a node has follows from the node alone: `Node::children`. Functions stand by name, types and
//! fields as arrow-schema writes them, values by type (`Datum`).
//!
//! Bytes come from the network: whatever they are, `decode` answers with an expression or with an error. What it accepts is
//! bounded in depth (`DEPTH_MAX`, `LINKS_MAX`), and in the memory that a value of a type takes. `encode` keeps the same bounds, so what it
//! gives can be read.
//!
//! Only what operators evaluate has an encoding: columns by unqualified name, no subqueries, window functions or
//! placeholders. Places in the source text are dropped. Whether an expression fits its input is left to who compiles it.

mod chain;
mod datum;
mod decode;
mod encode;
mod error;
mod node;
mod types;

pub use decode::{Functions, decode};
pub use encode::encode;
pub use error::CodecError;

/// The number of the encoding; another one is refused.
pub const FORMAT: u32 = 1;

/// Levels of an expression. A chain is one level, however long it is: of one of `AND` and `OR`, whichever way it is nested, and
/// of other operators and casts, each on the left side of the next. An expression is evaluated by functions that call
/// themselves for each level.
pub const DEPTH_MAX: usize = 512;

/// Levels of an expression, each link of a chain being one: so deep is the tree that [`decode`] gives. Who compiles and
/// drops it needs a stack for that, about 1 KiB for each level where nothing is optimised.
pub const LINKS_MAX: usize = 20_000;

#[cfg(test)]
mod tests;
