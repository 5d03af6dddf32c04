//! A store in memory that behaves like a disk. Writes take time, and are lost if the member crashes meanwhile. The disk
//! can get full. Tests can inspect what was written.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::store::{LogStore, LogWrite, MemoryStore, StoreError, Stored};

#[derive(Debug)]
pub(super) struct Disk {
    log: MemoryStore,
    writes_left: AtomicU64,
    write_millis_max: u64,
    journal: Mutex<Vec<LogWrite>>,
}

impl Disk {
    /// A disk that takes `writes` writes, each within `write_millis_max` milliseconds.
    pub(super) fn new(writes: u64, write_millis_max: u64) -> Arc<Self> {
        Arc::new(Self {
            log: MemoryStore::new(),
            writes_left: AtomicU64::new(writes),
            write_millis_max,
            journal: Mutex::default(),
        })
    }

    /// All writes, in order.
    pub(super) fn journal(&self) -> Vec<LogWrite> {
        self.journal.lock().clone()
    }
}

#[async_trait]
impl LogStore for Disk {
    async fn load(&self) -> Result<Stored, StoreError> {
        self.log.load().await
    }

    async fn write(&self, write: LogWrite) -> Result<(), StoreError> {
        let left = self.writes_left.fetch_sub(1, Ordering::Relaxed);
        assert!(left > 0, "a member whose disk failed writes no more");
        if left == 1 {
            return Err(StoreError::Write("no space left on device".into()));
        }
        // Of varying length, and the same in each run.
        tokio::time::sleep(Duration::from_millis(left.wrapping_mul(7) % (self.write_millis_max + 1))).await;
        self.journal.lock().push(write.clone());
        self.log.write(write).await
    }
}
