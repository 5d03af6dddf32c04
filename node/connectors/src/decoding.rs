//! The memory that readers may decode with. If it does not suffice for all readers at once, they take turns.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes per permit: a semaphore's request is limited to 32 bits.
const UNIT: u64 = 64 << 10;

/// The share of a node's memory that the readers of one attempt may decode with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DecodingShare {
    /// All of it.
    total_bytes: u64,
    /// What is not kept by queues.
    limit_bytes: Arc<AtomicU64>,
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
        Self {
            total_bytes: limit_bytes,
            limit_bytes: Arc::new(AtomicU64::new(limit_bytes)),
            units: Arc::new(Semaphore::new(units)),
        }
    }

    /// What readers hold of it.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        let all = (self.total_bytes / UNIT).clamp(1, u64::from(u32::MAX));
        all.saturating_sub(self.units.available_permits() as u64).saturating_mul(UNIT)
    }

    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Relaxed)
    }

    /// Takes memory for a queue that stays as long as the attempt: what is asked for, but at most a quarter of what is left,
    /// so that something always is. Others that decode have only the rest. Before any reader has begun.
    pub(crate) fn keep(&self, bytes: u64) -> u64 {
        let kept = bytes.min(self.limit_bytes() / 4) / UNIT * UNIT;
        let units = u32::try_from(kept / UNIT).unwrap_or(u32::MAX);
        let Ok(permits) = self.units.try_acquire_many(units) else { return 0 };
        permits.forget();
        self.limit_bytes.fetch_sub(kept, Relaxed);
        kept
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
        let all = (self.limit_bytes() / UNIT).max(1);
        u32::try_from(bytes.div_ceil(UNIT).min(all)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a queue keeps does not come back, so nobody may wait for the whole share any more.
    #[tokio::test]
    async fn queues_keep_a_part_and_the_rest_is_enough_for_whoever_wants_all() {
        let share = DecodingShare::new(16 << 20);
        assert_eq!(share.keep(64 << 20), 4 << 20);
        assert_eq!(share.keep(1 << 20), 1 << 20);
        assert_eq!((share.held_bytes(), share.limit_bytes()), (5 << 20, 11 << 20));
        let all = share.take(64 << 20).await;
        assert_eq!(share.held_bytes(), 16 << 20);
        assert!(share.try_take(1).is_none());
        drop(all);
        assert_eq!(share.held_bytes(), 5 << 20);
        for _ in 0..100 {
            share.keep(64 << 20);
        }
        assert!(share.limit_bytes() > 0 && share.try_take(1).is_some(), "something is always left");
    }
}
