//! Gets the records of one shard from Kinesis: by asking again and again, or by a subscription.
//!
//! ```text
//! Polling: a place --iterator--> an iterator --get_records--> a page, the next iterator --get_records--> ..
//!                     ^ '-- expired, or an error: back to the reader's place
//! FanOut:  a place --subscribe--> events.., for five minutes at most --> subscribe behind the last event
//! ```
//!
//! Calls are cancel-safe: what a dropped call had asked for is asked for again.

use std::sync::Arc;

use async_trait::async_trait;
use thalweg_kinesis::{
    ChildShard, Event, KinesisError, Page, Record, SequenceNumber, ShardId, ShardIterator, Start, Stream, Subscription,
};
use tokio::time::timeout;

use super::{options::FanOut, table::KinesisTable};

/// What was got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fetched {
    /// In order; they may be none.
    pub(super) records: Vec<Record>,
    /// How far behind the end of the shard this is; `None`: it is not known.
    pub(super) behind_ms: Option<u64>,
    /// The shard's children, as far as they are told; `None`: it has not ended.
    pub(super) end: Option<Vec<ChildShard>>,
}

/// Gets records.
#[async_trait]
pub(super) trait Fetch: Send {
    /// The next records: behind those that were got before, or from `start` if nothing was yet since `restart`.
    async fn next(&mut self, start: &Start, records_max: usize) -> Result<Fetched, KinesisError>;

    /// The next call begins at its `start`.
    fn restart(&mut self);

    /// Whether Kinesis sends records by itself, so that nobody asks too often.
    fn is_sent(&self) -> bool;
}

/// Asks for records.
pub(super) struct Polling {
    stream: Arc<dyn Stream>,
    shard: ShardId,
    iterator: Option<ShardIterator>,
}

impl Polling {
    pub(super) fn new(stream: Arc<dyn Stream>, shard: ShardId) -> Self {
        Self { stream, shard, iterator: None }
    }
}

#[async_trait]
impl Fetch for Polling {
    async fn next(&mut self, start: &Start, records_max: usize) -> Result<Fetched, KinesisError> {
        let iterator = match &self.iterator {
            Some(iterator) => iterator.clone(),
            None => self.iterator.insert(self.stream.iterator(&self.shard, start).await?).clone(),
        };
        let page = self.stream.get_records(&iterator, records_max).await;
        match page {
            Ok(Page { records, next, behind_ms, children }) => {
                let end = next.is_none().then_some(children);
                self.iterator = next;
                Ok(Fetched { records, behind_ms, end })
            }
            // Throttling leaves the iterator as it is.
            Err(error @ KinesisError::Throttled { .. }) => Err(error),
            Err(error) => {
                self.iterator = None;
                Err(error)
            }
        }
    }

    fn restart(&mut self) {
        self.iterator = None;
    }

    fn is_sent(&self) -> bool {
        false
    }
}

/// Subscribes to records.
pub(super) struct Subscribing {
    table: Arc<KinesisTable>,
    options: FanOut,
    shard: ShardId,
    subscription: Option<Box<dyn Subscription>>,
    /// Behind what the next subscription starts.
    continuation: Option<SequenceNumber>,
}

impl Subscribing {
    pub(super) fn new(table: Arc<KinesisTable>, options: FanOut, shard: ShardId) -> Self {
        Self { table, options, shard, subscription: None, continuation: None }
    }
}

async fn subscribe(
    table: &KinesisTable,
    options: &FanOut,
    (shard, start): (&ShardId, Start),
) -> Result<Box<dyn Subscription>, KinesisError> {
    let consumer = table.consumer(options).await?;
    let subscribed = table.stream().subscribe(&consumer.arn, shard, &start).await;
    if matches!(subscribed, Err(KinesisError::NoConsumer { .. })) {
        table.forget_consumer().await;
        // A consumer that the table manages is registered again.
        if options.is_managed {
            let reason = format!("the consumer '{}' is gone", options.consumer);
            return Err(KinesisError::Busy { reason });
        }
    }
    subscribed
}

#[async_trait]
impl Fetch for Subscribing {
    async fn next(&mut self, start: &Start, _: usize) -> Result<Fetched, KinesisError> {
        let subscribed = match self.subscription.take() {
            Some(subscription) => subscription,
            None => {
                let start = match &self.continuation {
                    Some(continuation) => Start::After(continuation.clone()),
                    None => start.clone(),
                };
                subscribe(&self.table, &self.options, (&self.shard, start)).await?
            }
        };
        let subscription = self.subscription.insert(subscribed);
        let event = match timeout(self.options.silence, subscription.next()).await {
            Ok(Ok(event)) => event,
            Ok(Err(error)) => {
                self.subscription = None;
                return Err(error);
            }
            // It may be broken without anybody's telling.
            Err(_) => None,
        };
        match event {
            Some(Event { records, continuation, behind_ms, children }) => {
                let end = continuation.is_none().then_some(children);
                self.continuation = continuation;
                Ok(Fetched { records, behind_ms, end })
            }
            None => {
                self.subscription = None;
                Ok(Fetched { records: Vec::new(), behind_ms: None, end: None })
            }
        }
    }

    fn restart(&mut self) {
        (self.subscription, self.continuation) = (None, None);
    }

    fn is_sent(&self) -> bool {
        true
    }
}
