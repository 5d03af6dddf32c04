//! Seams of a test: the clock and the tasks of its own runtime, and random numbers from a fixed seed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use thalweg_types::seam::{Clock, Entropy, Seams, Spawner, TaskFuture, TaskHandle};
use tokio::{task::JoinHandle, time::Instant};

/// The Unix time when a test begins: the first moment of 2026.
const BEGIN: Duration = Duration::from_secs(1_767_225_600);

/// Seams of the current runtime. If its clock is paused, so is theirs.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
pub fn seams() -> Seams {
    let spawner: Arc<dyn Spawner> = Arc::new(TestSpawner);
    Seams {
        clock: Arc::new(TestClock(Instant::now())),
        entropy: Arc::new(SplitMix(AtomicU64::new(7))),
        io: spawner.clone(),
        compute: spawner,
    }
}

#[derive(Debug)]
struct TestClock(Instant);

impl Clock for TestClock {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn unix_time(&self) -> Duration {
        BEGIN + self.0.elapsed()
    }
}

/// `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Debug)]
struct SplitMix(AtomicU64);

impl Entropy for SplitMix {
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[derive(Debug)]
struct TestSpawner;

#[derive(Debug)]
struct TestTask(JoinHandle<()>);

impl Spawner for TestSpawner {
    #[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
    fn spawn(&self, _name: &str, task: TaskFuture) -> Box<dyn TaskHandle> {
        Box::new(TestTask(tokio::spawn(task)))
    }
}

impl TaskHandle for TestTask {
    fn abort(&self) {
        self.0.abort();
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}
