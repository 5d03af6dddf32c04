//! Expressions compiled: what the planner folds constants with, and what nodes evaluate.
//!
//! One compilation for both, so that a constant means what a column of the same values would. A logical expression, its types
//! settled, becomes a tree of physical ones, over batches of one schema:
//!
//! | logical | compiled to | means what |
//! |---|---|---|
//! | `AND`, `OR` | [`logic`]: one node for a whole chain | a term is evaluated for the rows that the terms before it leave open |
//! | `CASE`, `COALESCE`, `NVL`, `NVL2` | [`branches`] | a branch is evaluated for the rows that come to it |
//! | all other binary operators, `BETWEEN` | [`steps`]: one node for a whole chain | [`operation::Operation`], an operator between two types |
//! | `CAST`, `TRY_CAST` | [`steps`] | [`conversion::Conversion`], from one type to another |
//! | unary minus | DataFusion's, by [`operation::negative`] | |
//! | `IN (…)` | DataFusion's, by [`operation::member`] | |
//! | functions | DataFusion's node around the function | the function, see the crate's list |
//!
//! Chains are flat, in both memory and evaluation, since a chain of thousands of operators would exhaust the stack of a
//! thread. So what differs from DataFusion works on values and not on expressions: an `Operation` and a `Conversion` are made
//! once, from types, and then applied to one batch's values after the other. To change what an operator or a cast means, change
//! those two; whether it can fail stands beside it.
//!
//! What can fail (`can_fail`, true where nothing is known) is evaluated only for rows that its guards let through, whatever the
//! batch they are in. What cannot is evaluated for all rows, which is quicker than picking some.

mod branches;
mod compile;
mod constant;
mod conversion;
mod fallible;
mod logic;
mod operation;
mod selection;
mod steps;

use std::{
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

use datafusion_physical_expr::PhysicalExpr;

pub use compile::{compile, compile_aggregate, converted};
pub use constant::{constant, grows, value};
pub use fallible::can_fail;
pub use selection::Selection;

/// Fewer bytes hold no more than a few hundred links.
const LONG_BYTES: usize = 8 << 10;
/// For 20,000 links. Only what is used of it takes memory.
const CHAIN_STACK_BYTES: usize = 64 << 20;

/// A part of an expression. (Code that is derived cannot compare fields of the bare type.)
#[derive(Debug, Clone, Eq)]
struct Part(Arc<dyn PhysicalExpr>);

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq(&other.0)
    }
}

impl Hash for Part {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Deref for Part {
    type Target = Arc<dyn PhysicalExpr>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Runs with room on the stack for one level more of a nested expression.
fn with_room<T>(run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(256 << 10, 4 << 20, run)
}

/// Runs with room on the stack for a logical expression as deep as its chains are long, where it has so many bytes.
pub fn with_room_for<T>(bytes: usize, run: impl FnOnce() -> T) -> T {
    if bytes < LONG_BYTES { run() } else { stacker::grow(CHAIN_STACK_BYTES, run) }
}

#[cfg(test)]
mod tests;
