//! A budget for the bytes that one evaluation makes: it evaluates all rows of a batch, and each may make a text of many
//! megabytes.
//!
//! Functions charge the bytes that they make, or that they search for long. Whoever evaluates a batch gives it a budget; what
//! goes beyond it fails, and fewer rows are tried. A single row has none: what bounds it is the largest text that a function
//! makes. Counting bytes and not time, the same rows are always cut the same way.
//!
//! A single value may still take minutes: an expression that looks at the rest of a long text for each of its matches. So whatever
//! charges also fails once nobody waits for it any more.

use std::{
    cell::{Cell, RefCell},
    pin::pin,
    sync::Arc,
};

use datafusion_common::{Result, exec_err};

/// The bytes that the rows of a batch may make together.
pub const BATCH_BYTES: usize = 64 << 20;

/// Whether nobody waits for what is evaluated any more.
pub type IsOver = Arc<dyn Fn() -> bool + Send + Sync>;

thread_local! {
    /// What is left of the budget of this thread's evaluation; `None` if it has none.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    /// `None`: somebody waits until the end.
    static IS_OVER: RefCell<Option<IsOver>> = const { RefCell::new(None) };
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

/// Whether the evaluation that this thread is in has used its budget up, or is over: whatever it gives is void.
#[must_use]
pub fn is_used_up() -> bool {
    LEFT.get() == Some(0) || is_over()
}

fn is_over() -> bool {
    IS_OVER.with_borrow(|is_over| is_over.as_ref().is_some_and(|is_over| is_over()))
}

/// Runs something whose evaluations fail soon after they are over.
pub async fn until<F: Future>(is_over: IsOver, run: F) -> F::Output {
    /// Puts the surrounding one back, also after a panic.
    struct Outer(Option<IsOver>);

    impl Drop for Outer {
        fn drop(&mut self) {
            IS_OVER.set(self.0.take());
        }
    }

    let mut run = pin!(run);
    std::future::poll_fn(|context| {
        let _outer = Outer(IS_OVER.replace(Some(is_over.clone())));
        run.as_mut().poll(context)
    })
    .await
}

/// Takes bytes from the budget. Once it is used up, or all is over, everything fails that makes more.
pub(crate) fn charge(bytes: usize) -> Result<()> {
    if is_over() {
        return exec_err!("nobody waits for it any more");
    }
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
