//! Seeded bugs: known mistakes that a simulation switches on, to show that it finds them.
//!
//! Without the cargo feature `seeded-bugs` every check is `false` at compile time, so a product's build has none of
//! this code. With it, a bug is active on one thread: a simulation runs on one thread, and several may run side by
//! side. Each bug is checked at the one place where a real mistake of that kind could be made:
//!
//! ```text
//! if !bug::is_active(Bug::SkipAlignment) { block the channel }
//! ```

macro_rules! bugs {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// A mistake that can be made on purpose.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Bug {
            $($(#[doc = $doc])* $name,)*
        }

        impl Bug {
            /// Every bug.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name on a command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What it does.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*).trim_ascii(),)* }
            }
        }
    };
}

bugs! {
    /// A subtask does not wait for the barriers of its other inputs: records behind a barrier get into its snapshot.
    SkipAlignment = "skip-alignment",
    /// Sinks are told to publish before the checkpoint is recorded.
    CommitBeforeDurable = "commit-before-durable",
    /// A restored subtask is not given one of the key groups that it owns.
    ForgetKeyGroup = "forget-key-group",
    /// A new attempt is numbered like the one before.
    ReuseAttempt = "reuse-attempt",
    /// A subtask acknowledges a checkpoint whose state does not reach the store.
    AckBeforeUpload = "ack-before-upload",
    /// A restored reader begins one record late.
    ReplayOneOff = "replay-one-off",
    /// Late records are neither written nor counted.
    DropLateUncounted = "drop-late-uncounted",
    /// A node goes on with an attempt although a newer one has begun, and both write to files of the same names.
    ZombieWrites = "zombie-writes",
    /// A coordinator that starts again has lost the last entry of its log.
    LoseRaftEntry = "lose-raft-entry",
    /// A coordinator that has lost its disk begins anew under its old number, without asking the others.
    FoundAnew = "found-anew",
    /// Rows of a batch that belong to a closed window: the loop over the batch's windows ends with them.
    ReturnForContinue = "return-for-continue",
    /// A restored operator does not know which of its windows have fired.
    ForgetFired = "forget-fired",
    /// An attempt begins from the checkpoint before the last.
    RestoreOldManifest = "restore-old-manifest",
    /// Sinks publish a checkpoint's output before that of the one before.
    CommitOutOfOrder = "commit-out-of-order",
    /// What subtasks have prepared that had ended before the last checkpoint is not published.
    SkipFinishedCommit = "skip-finished-commit",
    /// Files and names in local directories are left to the system, which forgets them when the power fails.
    SkipSync = "skip-sync",
    /// A sink's transaction holds the rows of an epoch, and not that it was written.
    CommitWithoutProgress = "commit-without-progress",
    /// A committer reads what is written before it takes the transactional id from the one before.
    ProgressBeforeInit = "progress-before-init",
    /// A committer takes a transactional id of its own, and leaves open what the one before has begun.
    LeaveTransactionOpen = "leave-transaction-open",
    /// A source tells its group of positions before their checkpoint is complete.
    CommitOffsetsEarly = "commit-offsets-early",
    /// What goes on where a split has ended is read before that end is in a complete checkpoint, by whoever has room.
    ReadChildEarly = "read-child-early",
    /// What goes on where a split has ended is read by any subtask, though the watermark of that may be further.
    FollowElsewhere = "follow-elsewhere",
    /// A restored source does not know which of its splits had ended, so that what goes on there is never read.
    ForgetSplitEnd = "forget-split-end",
    /// Records that a request has not written are sent again behind later ones of their key, though order was asked for.
    RetryOutOfOrder = "retry-out-of-order",
}

impl Bug {
    /// The bug of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|bug| bug.name() == name)
    }
}

#[cfg(feature = "seeded-bugs")]
mod switch {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        pub(super) static ACTIVE: Cell<Option<Bug>> = const { Cell::new(None) };
        pub(super) static CHECKS: Cell<bool> = const { Cell::new(false) };
    }

    /// Switches a bug on for this thread; `None` switches off the active one.
    pub fn activate(bug: Option<Bug>) {
        ACTIVE.set(bug);
    }

    /// Makes everything on this thread check its invariants after each step, however long it takes.
    pub fn check_invariants(is_wanted: bool) {
        CHECKS.set(is_wanted);
    }
}

#[cfg(feature = "seeded-bugs")]
pub use switch::{activate, check_invariants};

/// Whether this bug is active on the calling thread.
#[cfg(feature = "seeded-bugs")]
#[must_use]
pub fn is_active(bug: Bug) -> bool {
    switch::ACTIVE.get() == Some(bug)
}

/// Whether this bug is active on the calling thread.
#[cfg(not(feature = "seeded-bugs"))]
#[inline(always)]
#[must_use]
pub const fn is_active(_bug: Bug) -> bool {
    false
}

/// Whether to check invariants after each step, and panic on a broken one.
#[cfg(feature = "seeded-bugs")]
#[must_use]
pub fn checks_invariants() -> bool {
    switch::CHECKS.get()
}

/// Whether to check invariants after each step, and panic on a broken one.
#[cfg(not(feature = "seeded-bugs"))]
#[inline(always)]
#[must_use]
pub const fn checks_invariants() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_is_found_by_its_name() {
        for bug in Bug::ALL {
            assert_eq!(Bug::from_name(bug.name()), Some(*bug));
            assert!(bug.description().ends_with('.'), "{bug:?}");
        }
    }

    #[test]
    fn no_bug_is_active_unasked() {
        assert!(Bug::ALL.iter().all(|bug| !is_active(*bug)));
        assert!(!checks_invariants());
    }
}
