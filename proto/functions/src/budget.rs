//! How much one evaluation may make: the rows of a batch are evaluated together, and each may make a text of many megabytes.
//!
//! Functions charge the bytes that they make, or that they search for long. Whoever evaluates a batch gives it a budget; what
//! goes beyond it fails, and fewer rows are tried. A single row has none: what bounds it is the largest text that a function
//! makes. Counting bytes and not time, the same rows are always cut the same way.

use std::cell::Cell;

use datafusion_common::{Result, exec_err};

/// The bytes that the rows of a batch may make together.
pub const BATCH_BYTES: usize = 64 << 20;

thread_local! {
    /// What is left of the budget of the evaluation that this thread is in; `None`: there is none.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Puts the budget of the surrounding evaluation back, also after a panic.
struct Surrounding(Option<usize>);

impl Drop for Surrounding {
    fn drop(&mut self) {
        LEFT.set(self.0);
    }
}

/// Evaluates something with a budget, or none; and whether that was used up.
pub fn within<T>(budget: Option<usize>, evaluate: impl FnOnce() -> T) -> (T, bool) {
    let _surrounding = Surrounding(LEFT.replace(budget));
    let value = evaluate();
    (value, is_used_up())
}

/// Whether the evaluation that this thread is in has used its budget up: whatever it gives is void.
#[must_use]
pub fn is_used_up() -> bool {
    LEFT.get() == Some(0)
}

/// Takes bytes from the budget. Once it is used up, everything fails that makes more.
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
