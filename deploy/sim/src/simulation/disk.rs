//! A coordinator's disk. It outlives the process, and writes take time.
//!
//! A write is atomic, and durable once it is acknowledged. A crash before that may lose it or not, as is drawn when
//! the write begins. A disk may be lost with all its data, or be damaged, so that it is unreadable until an empty one
//! replaces it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use thalweg_consensus::store::{LogStore, LogWrite, StoreError, Stored};
use thalweg_types::MemberId;

use crate::input::Dice;

/// The longest fsync, in milliseconds. One in a hundred takes up to ten times as long.
const SYNC_MS_MAX: u64 = 4;

/// The disk of one coordinator.
#[derive(Debug)]
pub struct SimulatedDisk(Mutex<State>);

#[derive(Debug)]
struct State {
    stored: Stored,
    is_damaged: bool,
    dice: Dice,
}

impl SimulatedDisk {
    /// Creates an empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(State { stored: Stored::default(), is_damaged: false, dice: Dice::new(seed) }))
    }

    /// The member number in its identity, if it has one.
    #[must_use]
    pub fn member(&self) -> Option<MemberId> {
        self.state().stored.identity.as_ref().map(|identity| identity.member)
    }

    /// Replaces the disk with an empty one.
    pub fn replace(&self) {
        let mut state = self.state();
        (state.stored, state.is_damaged) = (Stored::default(), false);
    }

    /// Makes the disk unreadable.
    pub fn damage(&self) {
        self.state().is_damaged = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LogStore for SimulatedDisk {
    async fn load(&self) -> Result<Stored, StoreError> {
        let state = self.state();
        if state.is_damaged {
            return Err(StoreError::Damaged("the simulated disk is".to_owned()));
        }
        Ok(state.stored.clone())
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
            // Interrupted before the acknowledgement, unless the write takes no time.
            let is_done = tokio::time::timeout(Duration::ZERO, disk.write(vote(2))).await.is_ok();
            match disk.load().await.expect("loads").hard_state.term {
                2 => kept += 1,
                1 if !is_done => lost += 1,
                other => panic!("the term is {other}"),
            }
        }
        assert!(kept > 5 && lost > 5, "{kept} kept, {lost} lost");
    }

    #[tokio::test]
    async fn a_damaged_disk_is_not_read_and_one_in_its_place_is_empty() {
        let disk = SimulatedDisk::new(1);
        disk.write(vote(1)).await.expect("writes");
        disk.damage();
        assert!(matches!(disk.load().await, Err(StoreError::Damaged(_))));
        disk.replace();
        assert_eq!(disk.load().await.expect("loads"), Stored::default());
    }
}
