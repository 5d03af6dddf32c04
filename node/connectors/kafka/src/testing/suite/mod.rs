//! What every client of Kafka must do, as checks: the model and librdkafka with Apache Kafka pass the same, so the model may be
//! believed.

mod leaders;
mod reading;
mod records;
mod topics;
mod transactions;
mod world;

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
use crate::{ClientConfig, Kafka, KafkaError, TopicPartition};

/// How long one check may take. It is much more than any needs.
const LIMIT: Duration = Duration::from_secs(90);

/// A cluster, and what the checks have to do to it that clients do not.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The client that is checked.
    fn kafka(&self) -> &dyn Kafka;

    /// How to reach the cluster.
    fn config(&self) -> ClientConfig;

    /// Deletes a topic.
    ///
    /// # Errors
    /// If that fails.
    async fn delete_topic(&self, name: &str) -> Result<(), KafkaError>;

    /// Removes what is before an offset, as retention does.
    ///
    /// # Errors
    /// If that fails.
    async fn delete_records(&self, of: &TopicPartition, before: i64) -> Result<(), KafkaError>;

    /// Makes another broker lead a partition, which loses nothing.
    ///
    /// # Errors
    /// If that fails.
    async fn change_leader(&self, of: &TopicPartition) -> Result<(), KafkaError>;
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

/// All checks that one broker is enough for.
#[must_use]
pub fn checks() -> Vec<Check> {
    [reading::CHECKS, records::CHECKS, topics::CHECKS, transactions::CHECKS].concat()
}

/// Those that need two brokers.
#[must_use]
pub fn checks_of_several() -> Vec<Check> {
    leaders::CHECKS.to_vec()
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
