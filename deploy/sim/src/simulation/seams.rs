//! The clock, entropy and spawner of one simulated process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use thalweg_types::seam::{Clock, Entropy, Seams};

use super::{
    UNIX_START,
    executor::{Executor, ProcessSpawner},
    gate::Gate,
};

/// One incarnation of a process.
#[derive(Debug, Clone)]
pub(super) struct Process {
    /// The host's name.
    pub(super) name: String,
    /// The seed of the run.
    pub(super) seed: u64,
    /// The number of the incarnation on this host, from 1.
    pub(super) incarnation: u64,
    /// Pauses the process.
    pub(super) gate: Arc<Gate>,
    /// Runs its tasks.
    pub(super) executor: Arc<Executor>,
    /// The error of the host's wall clock, in milliseconds.
    pub(super) wrong_by: Arc<AtomicI64>,
}

impl Process {
    /// The seams of the process. Call it on the host, since it starts the clock.
    pub(super) fn seams(&self) -> Seams {
        let spawner = Arc::new(ProcessSpawner(self.executor.clone()));
        Seams {
            clock: Arc::new(HostClock::start(self.wrong_by.clone())),
            entropy: Arc::new(SeededEntropy::new(&self.name, self.seed, self.incarnation)),
            io: spawner.clone(),
            compute: spawner,
        }
    }
}

/// The virtual time of a process.
#[derive(Debug)]
struct HostClock {
    start: tokio::time::Instant,
    /// When the process started, in the simulation's time.
    started_at: Duration,
    wrong_by: Arc<AtomicI64>,
}

impl HostClock {
    #[allow(clippy::disallowed_methods, reason = "this is the seam: tokio's clock is the simulation's here")]
    fn start(wrong_by: Arc<AtomicI64>) -> Self {
        let started_at = turmoil::sim_elapsed().unwrap_or_default();
        Self { start: tokio::time::Instant::now(), started_at, wrong_by }
    }
}

impl Clock for HostClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn unix_time(&self) -> Duration {
        let right = UNIX_START + self.started_at + self.monotonic();
        let wrong_by = self.wrong_by.load(Ordering::Relaxed);
        let distance = Duration::from_millis(wrong_by.unsigned_abs());
        if wrong_by < 0 { right.saturating_sub(distance) } else { right + distance }
    }
}

/// A counter through the finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Debug)]
pub(super) struct SeededEntropy {
    state: AtomicU64,
}

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl SeededEntropy {
    pub(super) fn new(host: &str, seed: u64, incarnation: u64) -> Self {
        let state = host.bytes().fold(mix(seed), |state, byte| mix(state ^ u64::from(byte)));
        Self { state: AtomicU64::new(mix(state ^ incarnation)) }
    }
}

impl Entropy for SeededEntropy {
    fn next(&self) -> u64 {
        mix(self.state.fetch_add(GOLDEN_GAMMA, Ordering::Relaxed))
    }
}

fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
