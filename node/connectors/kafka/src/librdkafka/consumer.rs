//! Reads partitions, each by a queue of its own.
//!
//! ```text
//! librdkafka's threads ──▶ a partition's queue (bounded) ──wakes──▶ its reader
//! ```
//!
//! A partition whose reader does not ask is not fetched once its queue is full; the others go on. librdkafka bounds each queue, not all of
//! them together, and a client's bound cannot be changed. So the bytes that a consumer may hold are shared out in advance: a first client has
//! half of them for 16 partitions, the next a quarter for 32, and so on. Each is made when the ones before have their share of partitions.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use rdkafka::{
    Offset,
    consumer::{BaseConsumer, Consumer as _},
};
use tokio::sync::Notify;

use super::{
    admin::list_of,
    context::Context,
    failures::{Kind, Place, kind_of},
    native::{self, Client, Failure, Polled, Queue},
    settings::{self, Share},
    threads,
};
use crate::{ClientConfig, Consumer, Fetched, Isolation, KafkaError, PartitionReader, Record, TopicPartition};

/// The partitions that a consumer's first client reads.
const PARTITIONS_FIRST: u64 = 16;

pub(super) struct RdConsumer {
    config: ClientConfig,
    isolation: Isolation,
    /// Makes what a client tells go somewhere.
    new_context: Box<dyn Fn() -> Result<Context, KafkaError> + Send + Sync>,
    reading: Arc<Reading>,
}

/// The partitions that are read, and by which clients.
#[derive(Default)]
struct Reading {
    state: Mutex<State>,
    /// Tells of partitions that are no longer read.
    left: Notify,
}

#[derive(Default)]
struct State {
    clients: Vec<Arc<ReadingClient>>,
    partitions: BTreeMap<TopicPartition, Use>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It has a reader.
    Read,
    /// Its reader was dropped, and the client has not let go of it yet.
    Leaving,
}

struct ReadingClient {
    consumer: Arc<BaseConsumer<Context>>,
    context: Context,
    partitions_max: u64,
    partitions: AtomicU64,
}

impl RdConsumer {
    pub(super) fn new(
        config: &ClientConfig,
        isolation: Isolation,
        new_context: Box<dyn Fn() -> Result<Context, KafkaError> + Send + Sync>,
    ) -> Result<Self, KafkaError> {
        let consumer = Self { config: config.clone(), isolation, new_context, reading: Arc::default() };
        // So that properties that do not fit are told of now.
        let first = consumer.open(0)?;
        consumer.reading.state.lock().clients.push(first);
        Ok(consumer)
    }

    /// Makes the client number `index`.
    fn open(&self, index: usize) -> Result<Arc<ReadingClient>, KafkaError> {
        let doublings = u32::try_from(index).unwrap_or(u32::MAX).min(32);
        let partitions = PARTITIONS_FIRST << doublings;
        let share = Share { partitions, bytes: self.config.queue_bytes >> (doublings + 1) };
        let native = settings::consumer(&self.config, self.isolation, share)?;
        let context = (self.new_context)()?;
        let created = native.create_with_context::<_, BaseConsumer<_>>(context.clone());
        let consumer = Arc::new(created.map_err(|error| super::refused(&error))?);
        threads::serve("kafka-consumer", consumer.clone(), |consumer| {
            // Records come by the queues of partitions; here are events, which the context has seen by now.
            drop(consumer.poll(threads::TICK));
        })?;
        let partitions_max = if index > 16 { u64::MAX } else { partitions };
        Ok(Arc::new(ReadingClient { consumer, context, partitions_max, partitions: AtomicU64::new(0) }))
    }

    /// A client that has room for a partition; it counts there from now on.
    fn client_with_room(&self) -> Result<Arc<ReadingClient>, KafkaError> {
        let mut state = self.reading.state.lock();
        let has_room = |client: &&Arc<ReadingClient>| client.partitions.load(Ordering::Relaxed) < client.partitions_max;
        let client = match state.clients.iter().find(has_room) {
            Some(client) => client.clone(),
            None => {
                let next = self.open(state.clients.len())?;
                state.clients.push(next.clone());
                next
            }
        };
        client.partitions.fetch_add(1, Ordering::Relaxed);
        Ok(client)
    }
}

#[async_trait]
impl Consumer for RdConsumer {
    async fn read(&self, partition: &TopicPartition, offset: i64) -> Result<Box<dyn PartitionReader>, KafkaError> {
        if offset < 0 {
            return Err(KafkaError::OffsetOutOfRange { partition: partition.clone(), offset });
        }
        self.reading.enter(partition).await?;
        let reading = self.reading.clone();
        let of = partition.clone();
        let client = self.client_with_room().inspect_err(|_| reading.leave(&of))?;
        let lease = Arc::new(Lease { reading, client: client.clone(), of });
        let shared: Arc<dyn Client> = client.consumer.clone();
        // Before anything is fetched, so that no record is put elsewhere.
        let queue = Queue::of_partition(shared, &partition.topic, partition.partition)
            .map_err(|failure| client.context.error_of(&failure, Place::Partition(partition, offset)))?
            .ok_or_else(|| KafkaError::NoTopic { topic: partition.topic.to_string() })?;
        lease.clone().assign(offset).await?;
        Ok(Box::new(RdReader { since: Duration::ZERO, queue, position: offset, pending: None, lease }))
    }
}

impl Reading {
    /// Waits until the partition is let go, if its last reader was dropped just now.
    async fn enter(&self, of: &TopicPartition) -> Result<(), KafkaError> {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            {
                let mut state = self.state.lock();
                match state.partitions.get(of) {
                    None => {
                        state.partitions.insert(of.clone(), Use::Read);
                        return Ok(());
                    }
                    Some(Use::Read) => return Err(KafkaError::Broken { reason: format!("{of} has a reader already") }),
                    Some(Use::Leaving) => {}
                }
            }
            left.await;
        }
    }

    fn leave(&self, of: &TopicPartition) {
        self.state.lock().partitions.remove(of);
        self.left.notify_waiters();
    }
}

/// A partition that a client reads, until this is dropped.
struct Lease {
    reading: Arc<Reading>,
    client: Arc<ReadingClient>,
    of: TopicPartition,
}

impl Lease {
    /// The call holds the lease: if nobody waits for it, the partition is let go after it.
    async fn assign(self: Arc<Self>, offset: i64) -> Result<(), KafkaError> {
        let assign = move || {
            let Some(list) = list_of([(&self.of, Offset::Offset(offset))].into_iter())? else { return Ok(()) };
            let assigned = self.client.consumer.incremental_assign(&list);
            assigned.map_err(|error| KafkaError::Broken { reason: format!("{} cannot be read: {error}", self.of) })
        };
        threads::call("kafka-assign", assign).await?
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (reading, client, of) = (self.reading.clone(), self.client.clone(), self.of.clone());
        if let Some(known) = reading.state.lock().partitions.get_mut(&of) {
            *known = Use::Leaving;
        }
        let let_go = move || {
            if let Ok(Some(list)) = list_of([(&of, Offset::Invalid)].into_iter())
                && let Err(error) = client.consumer.incremental_unassign(&list)
            {
                tracing::warn!("{of} cannot be let go: {error}");
            }
            client.partitions.fetch_sub(1, Ordering::Relaxed);
            reading.leave(&of);
        };
        // The call waits for librdkafka's own thread.
        if let Err(error) = threads::start("kafka-unassign", let_go) {
            tracing::warn!("{} is read on: {error}", self.of);
        }
    }
}

struct RdReader {
    queue: Queue,
    position: i64,
    /// What was taken from the queue with records, and comes after them.
    pending: Option<Told>,
    /// When the client last told that it can read: what is older is no trouble.
    since: Duration,
    /// Dropped last.
    lease: Arc<Lease>,
}

/// What a partition's queue holds beside records.
enum Told {
    End { offset: i64 },
    Failed(Failure),
}

#[async_trait]
impl PartitionReader for RdReader {
    async fn next(&mut self, records_max: usize) -> Result<Fetched, KafkaError> {
        loop {
            if let Some(told) = self.pending.take()
                && let Some(fetched) = self.tell(told)?
            {
                return Ok(fetched);
            }
            let records = self.take(records_max.max(1));
            if !records.is_empty() {
                return Ok(Fetched::Records(records));
            }
            if self.pending.is_some() {
                continue;
            }
            tokio::select! {
                biased;
                () = self.queue.filled() => {}
                error = self.lease.client.context.denied() => return Err(error),
            }
        }
    }

    fn position(&self) -> i64 {
        self.position
    }

    fn trouble(&self) -> Option<String> {
        self.lease.client.context.trouble_since(self.since)
    }
}

impl RdReader {
    /// Takes records from the queue, up to what else is told there.
    fn take(&mut self, records_max: usize) -> Vec<Record> {
        let mut records = Vec::new();
        for polled in native::poll(&self.queue, records_max) {
            match polled {
                Polled::Record(record) => {
                    // An end that was told before has moved.
                    self.pending = None;
                    self.position = record.offset + 1;
                    records.push(record);
                }
                Polled::End { offset } => self.pending = Some(Told::End { offset }),
                Polled::Failed(failure) => self.pending = Some(Told::Failed(failure)),
            }
        }
        if !records.is_empty() {
            self.since = self.lease.client.context.now();
        }
        records
    }

    /// What the caller is told of an end or a failure; nothing of one that passes.
    fn tell(&mut self, told: Told) -> Result<Option<Fetched>, KafkaError> {
        let context = &self.lease.client.context;
        let failure = match told {
            Told::End { offset } => {
                self.since = context.now();
                // It is behind the control records that no reader sees.
                self.position = self.position.max(offset);
                return Ok(Some(Fetched::CaughtUp));
            }
            Told::Failed(failure) => failure,
        };
        match kind_of(failure.code) {
            // Brokers that are gone are waited for.
            Kind::Busy | Kind::Unavailable => Ok(None),
            Kind::Broken | Kind::Config | Kind::Denied | Kind::NoTopic | Kind::Refused | Kind::Fenced => {
                Err(context.error_of(&failure, Place::Partition(&self.lease.of, self.position)))
            }
        }
    }
}
