//! What a member measures of its log: written by the driver, read by whoever monitors it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use thalweg_metrics::{Histogram, seconds};
use thalweg_types::seam::Clock;

/// The measurements of one member.
#[derive(Debug, Clone)]
pub struct Measures {
    /// The last entry that is known to be committed.
    pub committed: u64,
    /// The last entry of the log.
    pub last: u64,
    /// How many entries are kept.
    pub entries: u64,
    /// Their memory.
    pub entries_bytes: u64,
    /// From a proposal of this member until it is applied here.
    pub commit: Histogram,
    /// Durable writes.
    pub write: Histogram,
}

/// Where the driver puts them; clones share them.
#[derive(Clone)]
pub(crate) struct Meter {
    clock: Arc<dyn Clock>,
    log: Arc<[AtomicU64; 4]>,
    commit: Histogram,
    write: Histogram,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Meter").field(&self.log).finish()
    }
}

impl Meter {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, log: Arc::default(), commit: seconds(), write: seconds() }
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// What was proposed then is applied.
    pub(crate) fn on_committed(&self, proposed_at: Duration) {
        self.commit.observe(self.now().saturating_sub(proposed_at).as_secs_f64());
    }

    /// A write that was begun then is durable.
    pub(crate) fn on_written(&self, began: Duration) {
        self.write.observe(self.now().saturating_sub(began).as_secs_f64());
    }

    /// How the log is now.
    pub(crate) fn set_log(&self, committed: u64, last: u64, entries: u64, entries_bytes: u64) {
        for (at, value) in self.log.iter().zip([committed, last, entries, entries_bytes]) {
            at.store(value, Relaxed);
        }
    }

    pub(crate) fn measures(&self) -> Measures {
        let [committed, last, entries, entries_bytes] = self.log.each_ref().map(|value| value.load(Relaxed));
        let (commit, write) = (self.commit.clone(), self.write.clone());
        Measures { committed, last, entries, entries_bytes, commit, write }
    }
}
