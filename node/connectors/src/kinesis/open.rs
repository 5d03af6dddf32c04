//! What a shard that is being read tells others: how far behind it is, and whether it can be read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::table::KinesisTable;

/// A shard that is being read.
pub(super) struct OpenShard {
    table: Arc<KinesisTable>,
    /// As Kinesis told last.
    behind_ms: AtomicU64,
    is_unreachable: AtomicBool,
    is_throttled: AtomicBool,
}

impl OpenShard {
    pub(super) fn new(table: Arc<KinesisTable>) -> Arc<Self> {
        Arc::new(Self {
            table,
            behind_ms: AtomicU64::new(0),
            is_unreachable: AtomicBool::new(false),
            is_throttled: AtomicBool::new(false),
        })
    }

    pub(super) fn set_behind(&self, behind_ms: u64) {
        self.behind_ms.store(behind_ms, Relaxed);
    }

    pub(super) fn behind(&self) -> Duration {
        Duration::from_millis(self.behind_ms.load(Relaxed))
    }

    pub(super) fn is_unreachable(&self) -> bool {
        self.is_unreachable.load(Relaxed)
    }

    pub(super) fn is_throttled(&self) -> bool {
        self.is_throttled.load(Relaxed)
    }

    /// The shard cannot be read now.
    pub(super) fn set_unreachable(&self, why: impl FnOnce() -> String) {
        if !self.is_unreachable.swap(true, Relaxed) {
            self.table.count_unreachable(true, why);
        }
    }

    /// More is asked than the shard allows. Returns whether that is new.
    pub(super) fn set_throttled(&self) -> bool {
        !self.is_throttled.swap(true, Relaxed)
    }

    /// The shard can be read.
    pub(super) fn set_read(&self) {
        self.is_throttled.store(false, Relaxed);
        if self.is_unreachable.swap(false, Relaxed) {
            self.table.count_unreachable(false, String::new);
        }
    }
}

impl Drop for OpenShard {
    fn drop(&mut self) {
        self.set_read();
    }
}
