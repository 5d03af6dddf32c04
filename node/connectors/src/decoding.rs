//! The memory that readers may decode with. If it does not suffice for all readers at once, they take turns.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes per permit: a semaphore's request is limited to 32 bits.
const UNIT: u64 = 64 << 10;

/// The share of a node's memory that the readers of one attempt may decode with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DecodingShare {
    limit_bytes: u64,
    units: Arc<Semaphore>,
}

/// Memory granted to a reader; dropping it returns the memory.
#[derive(Debug)]
pub(crate) struct DecodingTurn {
    pub(crate) bytes: u64,
    _units: OwnedSemaphorePermit,
}

impl DecodingShare {
    /// A share of `limit_bytes` bytes.
    #[must_use]
    pub fn new(limit_bytes: u64) -> Self {
        let units = usize::try_from(limit_bytes / UNIT).unwrap_or(usize::MAX).clamp(1, u32::MAX as usize);
        Self { limit_bytes, units: Arc::new(Semaphore::new(units)) }
    }

    /// What readers hold of it.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        let all = u64::from(self.units_of(self.limit_bytes));
        all.saturating_sub(self.units.available_permits() as u64).saturating_mul(UNIT)
    }

    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// Takes `bytes`, capped at the whole share, if they are free now.
    pub(crate) fn try_take(&self, bytes: u64) -> Option<DecodingTurn> {
        let units = self.units.clone().try_acquire_many_owned(self.units_of(bytes)).ok()?;
        Some(DecodingTurn { bytes, _units: units })
    }

    /// Waits in line for `bytes`, capped at the whole share.
    pub(crate) async fn take(&self, bytes: u64) -> DecodingTurn {
        let units = self.units.clone().acquire_many_owned(self.units_of(bytes)).await;
        DecodingTurn { bytes, _units: units.expect("it is never closed") }
    }

    fn units_of(&self, bytes: u64) -> u32 {
        let all = (self.limit_bytes / UNIT).max(1);
        u32::try_from(bytes.div_ceil(UNIT).min(all)).unwrap_or(u32::MAX)
    }
}
