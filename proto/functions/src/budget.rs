//! A budget for the bytes that one evaluation makes: it evaluates all rows of a batch, and each may make a text of many
//! megabytes.
//!
//! Functions charge the bytes that they make, or that they search for long. Whoever evaluates a batch gives it a
//! budget. An evaluation that goes beyond it fails, and fewer rows are tried. A single row has no budget: the largest
//! text that a function makes is its bound. A budget counts bytes and not time, so the same rows are always cut the
//! same way.

use std::cell::Cell;

use datafusion_common::{Result, exec_err};

/// The bytes that the rows of a batch may make together.
pub const BATCH_BYTES: usize = 64 << 20;

thread_local! {
    /// What is left of the budget of this thread's evaluation; `None` if it has none.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Restores the budget of the surrounding evaluation, also after a panic.
struct Surrounding(Option<usize>);

impl Drop for Surrounding {
    fn drop(&mut self) {
        LEFT.set(self.0);
    }
}

/// Evaluates with a budget, or without one. Also gives whether the budget was used up.
pub fn within<T>(budget: Option<usize>, evaluate: impl FnOnce() -> T) -> (T, bool) {
    let _surrounding = Surrounding(LEFT.replace(budget));
    let value = evaluate();
    (value, is_used_up())
}

/// Whether this thread's evaluation has used up its budget: its result is then void.
#[must_use]
pub fn is_used_up() -> bool {
    LEFT.get() == Some(0)
}

/// Takes bytes from the budget. Fails once the budget is used up.
pub(crate) fn charge(bytes: usize) -> Result<()> {
    let Some(left) = LEFT.get() else { return Ok(()) };
    let left = left.saturating_sub(bytes);
    LEFT.set(Some(left));
    match left {
        0 => exec_err!("the rows of a batch make more together than one evaluation may"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_used_up_once_and_ends_with_its_evaluation() {
        let (charged, used_up) = within(Some(10), || [charge(9).is_ok(), charge(1).is_ok(), charge(0).is_ok()]);
        assert_eq!((charged, used_up), ([true, false, false], true));
        let (inner, _) = within(Some(10), || within(None, || charge(100).is_ok()).0 && charge(9).is_ok());
        assert!(inner && charge(usize::MAX).is_ok());
    }
}
