//! Compiled expressions: the planner folds constants with them, and nodes evaluate them.
//!
//! Both use one compilation, so that a constant gives what a column of the same values would. A logical expression, its
//! types coerced, becomes a tree of physical ones, over batches of one schema:
//!
//! | logical | compiled to | meaning |
//! |---|---|---|
//! | `AND`, `OR` | [`logic`]: one node for a whole chain | a term is evaluated for rows that earlier terms leave open |
//! | `CASE`, `COALESCE`, `NVL`, `NVL2` | [`branches`] | a branch is evaluated for the rows that reach it |
//! | all other binary operators, `BETWEEN` | [`steps`]: one node for a whole chain | [`operation::Operation`], an operator between two types |
//! | `CAST`, `TRY_CAST` | [`steps`] | [`conversion::Conversion`], from one type to another |
//! | unary minus | DataFusion's, by [`operation::negative`] | |
//! | `IN (…)` | DataFusion's, by [`operation::member`] | |
//! | functions | DataFusion's node around the function | the function, see the crate's list |
//!
//! Chains are flat in memory and in evaluation, because a chain of thousands of operators would exhaust the stack of a
//! thread. So what differs from DataFusion works on values, not on expressions: an `Operation` and a `Conversion` are
//! made once, from types, and then applied to the values of one batch after the other. These two define what an
//! operator or a cast means, and whether it can fail.
//!
//! An expression that can fail (`can_fail`, true if unknown) is evaluated only for rows that its guards let through,
//! whatever batch they are in. Others are evaluated for all rows, which is quicker than picking some.

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

/// An expression of fewer bytes has no more than a few hundred links.
const LONG_BYTES: usize = 8 << 10;
/// The stack for a chain of 20,000 links. Only what is used of it takes memory.
const CHAIN_STACK_BYTES: usize = 64 << 20;

/// A part of an expression. (Derived code cannot compare fields of the bare type.)
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

/// Runs with stack for one more level of a nested expression.
fn with_room<T>(run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(256 << 10, 4 << 20, run)
}

/// Runs with stack for a logical expression of so many bytes, which is as deep as its chains are long.
pub fn with_room_for<T>(bytes: usize, run: impl FnOnce() -> T) -> T {
    if bytes < LONG_BYTES { run() } else { stacker::grow(CHAIN_STACK_BYTES, run) }
}

#[cfg(test)]
mod tests;
