//! What every client of Kinesis must do, as checks: the model and AWS's SDK with an emulator pass the same, so the model may be believed.

mod fan_out;
mod reading;
mod resharding;
mod world;
mod writing;

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::timeout;

pub use self::world::World;
use crate::{ClientConfig, Kinesis, KinesisError, ShardId};

/// How long one check may take. It is much more than any needs.
const LIMIT: Duration = Duration::from_secs(90);

/// Kinesis, and what the checks have to do to it that clients do not.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The client that is checked.
    fn kinesis(&self) -> &dyn Kinesis;

    /// How to reach a stream.
    fn config(&self, stream: &str) -> ClientConfig;

    /// Creates a stream. It may take its time until it is active.
    ///
    /// # Errors
    /// If that fails.
    async fn create_stream(&self, name: &str, shards: u32) -> Result<(), KinesisError>;

    /// Deletes a stream. It may take its time until it is gone.
    ///
    /// # Errors
    /// If that fails.
    async fn delete_stream(&self, name: &str) -> Result<(), KinesisError>;

    /// Splits a shard; the second child begins at this hash key. It may take its time.
    ///
    /// # Errors
    /// If that fails.
    async fn split(&self, stream: &str, shard: &ShardId, at: u128) -> Result<(), KinesisError>;

    /// Merges two shards. It may take its time.
    ///
    /// # Errors
    /// If that fails.
    async fn merge(&self, stream: &str, one: &ShardId, other: &ShardId) -> Result<(), KinesisError>;
}

/// A running check.
pub type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A check by its name, which says what must hold.
#[derive(Clone, Copy)]
pub struct Check {
    /// What it checks.
    pub name: &'static str,
    /// Panics if it does not hold.
    pub run: for<'a> fn(&'a World<'a>) -> Running<'a>,
}

/// All checks.
#[must_use]
pub fn checks() -> Vec<Check> {
    [checks_of_streams(), checks_of_fan_out()].concat()
}

/// Those without consumers.
#[must_use]
pub fn checks_of_streams() -> Vec<Check> {
    [resharding::CHECKS, reading::CHECKS, writing::CHECKS].concat()
}

/// Those of enhanced fan-out.
#[must_use]
pub fn checks_of_fan_out() -> Vec<Check> {
    fan_out::CHECKS.to_vec()
}

/// Runs a check. An error says why it failed.
///
/// # Errors
/// If what it checks does not hold.
pub async fn run(check: &Check, harness: &dyn Harness) -> Result<(), Failed> {
    let world = World::new(harness, check.name);
    let mut running = (check.run)(&world);
    let whole = poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context)));
        match polled {
            Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => Poll::Ready(Err(Failed(format!("{}: {}", check.name, text_of(panic.as_ref()))))),
        }
    });
    let late = || Failed(format!("{}: did not end within {LIMIT:?}", check.name));
    timeout(LIMIT, whole).await.unwrap_or_else(|_| Err(late()))
}

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(String);

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}
