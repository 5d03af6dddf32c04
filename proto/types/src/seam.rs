//! The seams between the engine and its surroundings: the program hands in time, entropy and the start of tasks.
//!
//! Lints ban direct calls elsewhere (`Instant::now`, `tokio::spawn`, random generators), so that a simulation can
//! replace all of them. Timers (`tokio::time::sleep`, `timeout`, `interval`) may be used directly: they follow the
//! runtime's clock, which a simulation pauses and steps.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

/// Tells the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Time since a fixed moment of this process; never goes back. For leases, rates and durations.
    fn monotonic(&self) -> Duration;
    /// Unix time: the time since the Unix epoch. For people, and for what outlives a process, namely how long
    /// idempotency keys are remembered and how old the rows of open parts are; and where another system goes by times, such as those when records arrived.
    /// Nothing else may depend on it.
    fn unix_time(&self) -> Duration;
}

/// Gives random numbers.
pub trait Entropy: Send + Sync + std::fmt::Debug {
    /// 64 random bits.
    fn next(&self) -> u64;
}

/// A future that a spawned task runs.
pub type TaskFuture = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// Starts tasks.
pub trait Spawner: Send + Sync + std::fmt::Debug {
    /// Starts a named task. The caller learns of its end from what the future does, or from the returned handle.
    fn spawn(&self, name: &str, task: TaskFuture) -> Box<dyn TaskHandle>;
}

/// A started task. Dropping the handle leaves the task running.
pub trait TaskHandle: Send + Sync + std::fmt::Debug {
    /// Ends the task at its next await point.
    fn abort(&self);
    /// Whether the task has ended.
    fn is_finished(&self) -> bool;
}

/// What a component gets at its start, besides its configuration.
#[derive(Debug, Clone)]
pub struct Seams {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The entropy.
    pub entropy: Arc<dyn Entropy>,
    /// Starts tasks for network, storage and control.
    pub io: Arc<dyn Spawner>,
    /// Starts operator actors, apart from I/O, so that heavy compute never delays a heartbeat.
    pub compute: Arc<dyn Spawner>,
}
