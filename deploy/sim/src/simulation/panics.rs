//! Records the panics of a run, including those that a task's runtime catches.
//!
//! A run is one thread, so a panic hook can assign a panic to its run. On other threads the previous hook handles it.

use std::{cell::RefCell, panic, sync::Once};

thread_local! {
    static RECORDED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// From now on, panics of this thread are recorded and not printed.
pub fn record() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let is_recorded = RECORDED.try_with(|recorded| match recorded.try_borrow_mut() {
                Ok(mut recorded) => recorded.as_mut().is_some_and(|recorded| {
                    recorded.push(panic.to_string().replace('\n', " "));
                    true
                }),
                Err(_) => false,
            });
            if !is_recorded.unwrap_or(false) {
                before(panic);
            }
        }));
    });
    RECORDED.set(Some(Vec::new()));
}

/// Takes the panics recorded since the last call.
#[must_use]
pub fn take() -> Vec<String> {
    RECORDED.with_borrow_mut(|recorded| recorded.as_mut().map(std::mem::take).unwrap_or_default())
}
