//! A coordinator's disk: it outlives the process, and each write takes its time.
//!
//! A write is atomic, and durable once it is acknowledged. A crash before that may lose it or not; which of the two is
//! decided when it begins.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use thalweg_consensus::store::{LogStore, LogWrite, StoreError, Stored};

use crate::input::Dice;

/// An fsync takes up to so long, and one in a hundred ten times that.
const SYNC_MS_MAX: u64 = 4;

/// The disk of one coordinator.
#[derive(Debug)]
pub struct SimulatedDisk(Mutex<State>);

#[derive(Debug)]
struct State {
    stored: Stored,
    dice: Dice,
}

impl SimulatedDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(State { stored: Stored::default(), dice: Dice::new(seed) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LogStore for SimulatedDisk {
    async fn load(&self) -> Result<Stored, StoreError> {
        Ok(self.state().stored.clone())
    }

    async fn write(&self, write: LogWrite) -> Result<(), StoreError> {
        let (is_early, takes) = {
            let dice = &mut self.state().dice;
            let scale = if dice.percent(1) { 10 } else { 1 };
            (dice.percent(50), Duration::from_millis(scale * dice.below(SYNC_MS_MAX + 1)))
        };
        let late = if is_early {
            self.state().stored.apply(write);
            None
        } else {
            Some(write)
        };
        tokio::time::sleep(takes).await;
        if let Some(write) = late {
            self.state().stored.apply(write);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use thalweg_consensus::store::HardState;

    use super::*;

    fn vote(term: u64) -> LogWrite {
        LogWrite { hard_state: Some(HardState { term, vote: 1, commit: 0 }), ..LogWrite::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_acknowledged_write_is_there_and_an_interrupted_one_may_be() {
        let (mut kept, mut lost) = (0, 0);
        for seed in 0..40 {
            let disk = SimulatedDisk::new(seed);
            disk.write(vote(1)).await.expect("writes");
            // Cut off before it is acknowledged, unless it takes no time at all.
            let is_done = tokio::time::timeout(Duration::ZERO, disk.write(vote(2))).await.is_ok();
            match disk.load().await.expect("loads").hard_state.term {
                2 => kept += 1,
                1 if !is_done => lost += 1,
                other => panic!("the term is {other}"),
            }
        }
        assert!(kept > 5 && lost > 5, "{kept} kept, {lost} lost");
    }
}
