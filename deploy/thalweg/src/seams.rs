//! The real seams of the engine: the system's clock and entropy, and two tokio runtimes.
//!
//! Operator actors run on a runtime of their own, so that heavy compute never delays a heartbeat.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use thalweg_types::seam::{Clock, Entropy, Seams, Spawner, TaskFuture, TaskHandle};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinHandle,
};

/// The runtime of operator actors, and the seams that use it. The runtime stops when this is dropped.
#[derive(Debug)]
pub struct Surroundings {
    seams: Seams,
    compute: Option<Runtime>,
}

impl Surroundings {
    /// Uses I/O tasks on the current runtime, and compute tasks on a new one with this many threads.
    ///
    /// # Errors
    /// If the threads cannot be started.
    pub fn of_system(compute_threads: usize) -> io::Result<Self> {
        let compute = Builder::new_multi_thread()
            .worker_threads(compute_threads.max(1))
            .thread_name("thalweg-compute")
            .enable_all()
            .build()?;
        let seams = Seams {
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(SystemEntropy),
            io: Arc::new(TokioSpawner(Handle::current())),
            compute: Arc::new(TokioSpawner(compute.handle().clone())),
        };
        Ok(Self { seams, compute: Some(compute) })
    }

    /// The seams to hand to components.
    #[must_use]
    pub fn seams(&self) -> Seams {
        self.seams.clone()
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        // tokio refuses to drop a runtime within a task, except in this way.
        if let Some(compute) = self.compute.take() {
            compute.shutdown_background();
        }
    }
}

/// The number of threads that this machine runs at a time.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The default slots of a node. A job takes half of the free slots by default, which is one per core.
#[must_use]
pub fn default_slots() -> u32 {
    u32::try_from(cores()).map_or(u32::MAX, |cores| cores.saturating_mul(2))
}

/// The system's clock.
#[derive(Debug)]
struct SystemClock {
    start: Instant,
}

#[allow(clippy::disallowed_methods, reason = "this is the real clock")]
impl SystemClock {
    fn new() -> Self {
        Self { start: Instant::now() }
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the real clock")]
impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn unix_time(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// The system's entropy, through the random keys of the standard library's hashers.
#[derive(Debug)]
struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    fn next(&self) -> u64 {
        // RandomState takes its keys from the system once per thread, and counts up. Hashing mixes keys and counter.
        RandomState::new().hash_one("thalweg")
    }
}

#[derive(Debug)]
struct TokioSpawner(Handle);

impl Spawner for TokioSpawner {
    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    fn spawn(&self, _name: &str, task: TaskFuture) -> Box<dyn TaskHandle> {
        Box::new(TokioTask(self.0.spawn(task)))
    }
}

#[derive(Debug)]
struct TokioTask(JoinHandle<()>);

impl TaskHandle for TokioTask {
    fn abort(&self) {
        self.0.abort();
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}
