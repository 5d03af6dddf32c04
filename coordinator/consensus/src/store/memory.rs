//! A store in memory. It exists while someone holds it, so a simulated crash loses the process and not the log.

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{LogStore, LogWrite, StoreError, Stored};

/// A log in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    stored: Mutex<Stored>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl LogStore for MemoryStore {
    async fn load(&self) -> Result<Stored, StoreError> {
        Ok(self.stored.lock().clone())
    }

    async fn write(&self, write: LogWrite) -> Result<(), StoreError> {
        self.stored.lock().apply(write);
        Ok(())
    }
}
