//! The events of a run in virtual time: a log for people, and a trace to compare two runs.
//!
//! The trace is a hash over all entries with their times, in order. A detail, such as an operation of the store, is
//! hashed and printed like other entries, but is not kept for `text`.

use std::{
    fmt::Write as _,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thalweg_types::seam::Clock;

use super::UNIX_START;

/// The log of one run. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    now: Duration,
    trace: DefaultHasher,
    count: u64,
    is_printed: bool,
    kept: Vec<(Duration, String)>,
}

impl Journal {
    /// Creates a journal that also prints each entry to standard output.
    #[must_use]
    pub fn printed() -> Self {
        let journal = Self::default();
        journal.entries().is_printed = true;
        journal
    }

    /// Adds an entry for people.
    pub fn say(&self, what: impl Into<String>) {
        let what = what.into();
        let mut entries = self.entries();
        entries.hash(&what);
        if entries.is_printed {
            crate::say(line(entries.now, &what));
        }
        let now = entries.now;
        entries.kept.push((now, what));
    }

    /// Adds a detail.
    pub fn detail(&self, what: &str) {
        let mut entries = self.entries();
        entries.hash(what);
        if entries.is_printed {
            crate::say(line(entries.now, &format!("  {what}")));
        }
    }

    /// Advances virtual time.
    pub(super) fn set_now(&self, now: Duration) {
        self.entries().now = now;
    }

    /// The current virtual time.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.entries().now
    }

    /// The hash over all entries so far, and their number.
    #[must_use]
    pub fn trace(&self) -> (u64, u64) {
        let entries = self.entries();
        (entries.trace.finish(), entries.count)
    }

    /// The entries for people, one a line. Details are left out.
    #[must_use]
    pub fn text(&self) -> String {
        self.entries().kept.iter().fold(String::new(), |mut text, (at, what)| {
            writeln!(text, "{}", line(*at, what)).expect("writing to a string cannot fail");
            text
        })
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // A panic elsewhere poisons the lock, but its report needs the journal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn hash(&mut self, what: &str) {
        (self.now, what).hash(&mut self.trace);
        self.count += 1;
    }
}

fn line(at: Duration, what: &str) -> String {
    format!("{:>9.3} s  {what}", at.as_secs_f64())
}

/// The time of the simulation, which is that of what all hosts share, on every host.
#[derive(Debug)]
pub(super) struct JournalClock(pub(super) Journal);

impl Clock for JournalClock {
    fn monotonic(&self) -> Duration {
        self.0.now()
    }

    fn unix_time(&self) -> Duration {
        UNIX_START + self.0.now()
    }
}
