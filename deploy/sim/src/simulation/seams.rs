//! Clock, entropy and tasks of one simulated host.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use thalweg_types::seam::{Clock, Entropy, Seams, Spawner, TaskFuture, TaskHandle};
use tokio::task::JoinHandle;

/// The seams of a host. Must be called on the host, since its clock starts then.
#[must_use]
pub fn seams_for(host: &str, seed: u64) -> Seams {
    let spawner = Arc::new(HostSpawner);
    Seams {
        clock: Arc::new(HostClock::start()),
        entropy: Arc::new(SeededEntropy::new(host, seed)),
        io: spawner.clone(),
        compute: spawner,
    }
}

/// 2026-01-01 00:00:00 UTC: where every simulated wall clock starts.
const EPOCH_OFFSET: Duration = Duration::from_secs(1_767_225_600);

/// The host's virtual time.
#[derive(Debug)]
struct HostClock {
    start: tokio::time::Instant,
}

impl HostClock {
    #[allow(clippy::disallowed_methods, reason = "this is the seam: tokio's clock is the simulation's here")]
    fn start() -> Self {
        Self { start: tokio::time::Instant::now() }
    }
}

impl Clock for HostClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn since_epoch(&self) -> Duration {
        EPOCH_OFFSET + self.monotonic()
    }
}

/// A counter through the finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Debug)]
struct SeededEntropy {
    state: AtomicU64,
}

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl SeededEntropy {
    fn new(host: &str, seed: u64) -> Self {
        let host = host.bytes().fold(seed, |state, byte| mix(state ^ u64::from(byte)));
        Self { state: AtomicU64::new(host) }
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

/// Starts tasks on the host's own runtime: one thread for the whole simulation.
#[derive(Debug)]
struct HostSpawner;

impl Spawner for HostSpawner {
    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    fn spawn(&self, _name: &str, task: TaskFuture) -> Box<dyn TaskHandle> {
        Box::new(HostTask(tokio::spawn(task)))
    }
}

struct HostTask(JoinHandle<()>);

impl fmt::Debug for HostTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostTask")
    }
}

impl TaskHandle for HostTask {
    fn abort(&self) {
        self.0.abort();
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}
