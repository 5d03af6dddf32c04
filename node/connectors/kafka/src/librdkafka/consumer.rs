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
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use rdkafka::{
    ClientConfig as NativeConfig, Offset,
    consumer::{BaseConsumer, Consumer as _},
    error::RDKafkaErrorCode,
};
use tokio::{
    sync::{Notify, Semaphore},
    time::sleep,
};

use super::{
    admin::list_of,
    context::Context,
    failures::{Kind, Place, kind_of},
    native::{self, Answer, Client, Failure, Polled, Question, Queue},
    settings::{self, Share},
    threads,
};
use crate::{
    ClientConfig, Consumer, Fetched, Isolation, KafkaError, OutOfRange, PartitionReader, Position, Record,
    TopicPartition,
};

/// Between two questions about a topic of which nothing is heard. A topic that was created just now is known everywhere by then.
const ASK_EACH: Duration = Duration::from_secs(5);
/// How often it is tried to seek in a partition that has just been assigned, how long one try may take, and the pause between two.
const SEEKS_MAX: u32 = 200;
const SEEK_LIMIT: Duration = Duration::from_secs(2);
const SEEK_EACH: Duration = Duration::from_millis(20);
/// How many partitions of a client are assigned at a time.
const ASSIGNED_AT_ONCE: usize = 16;
/// The partitions that a consumer's first client reads.
const PARTITIONS_FIRST: u64 = 16;

pub(super) struct RdConsumer {
    config: ClientConfig,
    isolation: Isolation,
    /// Makes what a client tells go somewhere.
    new_context: Box<dyn Fn() -> Result<Context, KafkaError> + Send + Sync>,
    reading: Arc<Reading>,
    /// Held while a client is made, so that those who wait for one do not make another.
    opening: tokio::sync::Mutex<()>,
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
    partitions: Arc<AtomicU64>,
    /// So many partitions are assigned at a time, each in a thread.
    assigning: Arc<Semaphore>,
    /// Partitions whose readers were dropped, until the client's thread lets go of them.
    leaving: Leaving,
}

type Leaving = Arc<Mutex<Vec<Left>>>;

/// A partition whose reader was dropped.
struct Left {
    reading: Arc<Reading>,
    of: TopicPartition,
    is_assigned: bool,
}

/// Lets go of partitions. It waits for librdkafka's own thread.
fn let_go(consumer: &BaseConsumer<Context>, partitions: &AtomicU64, leaving: &[Left]) {
    for Left { reading, of, is_assigned } in leaving {
        if *is_assigned
            && let Ok(Some(list)) = list_of([(of, Offset::Invalid)].into_iter())
            && let Err(error) = consumer.incremental_unassign(&list)
        {
            tracing::warn!("{of} cannot be let go: {error}");
        }
        partitions.fetch_sub(1, Ordering::Relaxed);
        reading.leave(of);
    }
}

impl RdConsumer {
    pub(super) fn new(
        config: &ClientConfig,
        isolation: Isolation,
        new_context: Box<dyn Fn() -> Result<Context, KafkaError> + Send + Sync>,
    ) -> Result<Self, KafkaError> {
        let opening = tokio::sync::Mutex::default();
        let consumer = Self { config: config.clone(), isolation, new_context, reading: Arc::default(), opening };
        // So that properties that do not fit are told of now.
        let first = consumer.prepare(0)?.open()?;
        consumer.reading.state.lock().clients.push(first);
        Ok(consumer)
    }

    /// What the client number `index` is made of.
    fn prepare(&self, index: usize) -> Result<Prepared, KafkaError> {
        let doublings = u32::try_from(index).unwrap_or(u32::MAX).min(32);
        let partitions = PARTITIONS_FIRST << doublings;
        let share = Share { partitions, bytes: self.config.queue_bytes >> (doublings + 1) };
        let native = settings::consumer(&self.config, self.isolation, share)?;
        let partitions_max = if index > 16 { u64::MAX } else { partitions };
        Ok(Prepared { native, context: (self.new_context)()?, partitions_max })
    }

    /// A client that has room for a partition; it counts there from now on.
    async fn client_with_room(&self) -> Result<Arc<ReadingClient>, KafkaError> {
        if let Some(client) = self.reading.client_with_room() {
            return Ok(client);
        }
        let _opening = self.opening.lock().await;
        loop {
            // Another call may have made it meanwhile.
            if let Some(client) = self.reading.client_with_room() {
                return Ok(client);
            }
            let prepared = self.prepare(self.reading.state.lock().clients.len())?;
            // Files are read, and threads begin.
            let opened = threads::call("kafka-open", move || prepared.open()).await??;
            self.reading.state.lock().clients.push(opened);
        }
    }
}

/// A client that is about to be made.
struct Prepared {
    native: NativeConfig,
    context: Context,
    partitions_max: u64,
}

impl Prepared {
    fn open(self) -> Result<Arc<ReadingClient>, KafkaError> {
        let Self { native, context, partitions_max } = self;
        let created = threads::beside(|| native.create_with_context::<_, BaseConsumer<_>>(context.clone()));
        let consumer = Arc::new(created.map_err(|error| super::refused(&error))?);
        let (partitions, leaving) = (Arc::new(AtomicU64::new(0)), Leaving::default());
        let (counted, left) = (partitions.clone(), leaving.clone());
        threads::serve("kafka-consumer", consumer.clone(), move |consumer| {
            // Records come by the queues of partitions; here are events, which the context has seen by now.
            drop(consumer.poll(threads::TICK));
            let leaving = std::mem::take(&mut *left.lock());
            let_go(consumer, &counted, &leaving);
        })?;
        let assigning = Arc::new(Semaphore::new(ASSIGNED_AT_ONCE));
        Ok(Arc::new(ReadingClient { consumer, context, partitions_max, partitions, assigning, leaving }))
    }
}

#[async_trait]
impl Consumer for RdConsumer {
    async fn read_from(
        &self,
        partition: &TopicPartition,
        from: Position,
    ) -> Result<Box<dyn PartitionReader>, KafkaError> {
        let offset = from.offset;
        if offset < 0 {
            return Err(KafkaError::OffsetOutOfRange {
                partition: partition.clone(),
                offset,
                why: OutOfRange::Outside,
            });
        }
        let entered = self.reading.enter(partition).await?;
        let client = self.client_with_room().await?;
        let lease = entered.lease(client.clone());
        let shared: Arc<dyn Client> = client.consumer.clone();
        // Before anything is fetched, so that no record is put elsewhere.
        let queue = Queue::of_partition(shared, &partition.topic, partition.partition)
            .map_err(|failure| client.context.error_of(&failure, Place::Partition(partition, offset)))?
            .ok_or_else(|| KafkaError::NoTopic { topic: partition.topic.to_string() })?;
        lease.clone().assign(from).await?;
        let doubt = Some(Doubt { ask_at: client.context.now() + ASK_EACH, asked: None });
        let (since, pending, failed) = (Duration::ZERO, None, None);
        Ok(Box::new(RdReader { queue, position: offset, pending, failed, since, doubt, lease }))
    }
}

impl Reading {
    /// A client that has room for a partition, which counts there from now on; `None`: none has.
    fn client_with_room(&self) -> Option<Arc<ReadingClient>> {
        let state = self.state.lock();
        let has_room = |client: &&Arc<ReadingClient>| client.partitions.load(Ordering::Relaxed) < client.partitions_max;
        let client = state.clients.iter().find(has_room)?.clone();
        client.partitions.fetch_add(1, Ordering::Relaxed);
        Some(client)
    }

    /// Waits until the partition is let go, if its last reader was dropped just now.
    async fn enter(self: &Arc<Self>, of: &TopicPartition) -> Result<Entered, KafkaError> {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            {
                let mut state = self.state.lock();
                match state.partitions.get(of) {
                    None => {
                        state.partitions.insert(of.clone(), Use::Read);
                        return Ok(Entered(Some((self.clone(), of.clone()))));
                    }
                    Some(Use::Read) => return Err(KafkaError::Broken { reason: format!("{of} has a reader already") }),
                    Some(Use::Leaving) => {}
                }
            }
            left.await;
        }
    }

    fn on_leaving(&self, of: &TopicPartition) {
        if let Some(known) = self.state.lock().partitions.get_mut(of) {
            *known = Use::Leaving;
        }
    }

    fn leave(&self, of: &TopicPartition) {
        self.state.lock().partitions.remove(of);
        self.left.notify_waiters();
    }
}

/// A partition that is about to be read: its call may be dropped while it waits for a client.
struct Entered(Option<(Arc<Reading>, TopicPartition)>);

impl Entered {
    fn lease(mut self, client: Arc<ReadingClient>) -> Arc<Lease> {
        let (reading, of) = self.0.take().expect("it is taken here only, and `self` ends here");
        Arc::new(Lease { reading, client, of, is_assigned: AtomicBool::new(false) })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some((reading, of)) = self.0.take() {
            reading.leave(&of);
        }
    }
}

/// A partition that a client reads, until this is dropped.
struct Lease {
    reading: Arc<Reading>,
    client: Arc<ReadingClient>,
    of: TopicPartition,
    /// Whether the client has been told to read it.
    is_assigned: AtomicBool,
}

impl Lease {
    /// The call holds the lease: if nobody waits for it, the partition is let go after it.
    async fn assign(self: Arc<Self>, from: Position) -> Result<(), KafkaError> {
        let mut waiting = Waiting { lease: self.clone(), is_over: false };
        let permit = self.client.assigning.clone().acquire_owned().await;
        let assign = move || {
            // Held by the call, which goes on if nobody waits for it.
            let _permit = permit;
            let Some(list) = list_of([(&self.of, Offset::Offset(from.offset))].into_iter())? else { return Ok(()) };
            self.is_assigned.store(true, Ordering::Relaxed);
            let assigned = self.client.consumer.incremental_assign(&list);
            assigned.map_err(|error| KafkaError::Broken { reason: format!("{} cannot be read: {error}", self.of) })?;
            match from.leader_epoch {
                Some(epoch) => self.seek(from.offset, epoch),
                None => Ok(()),
            }
        };
        let assigned = threads::call("kafka-assign", assign).await;
        waiting.is_over = true;
        assigned?
    }

    /// Reads from an offset if the log is still the same before it. Only when it seeks librdkafka finds out about that in any case. What it has
    /// fetched since the partition was assigned, it gives to nobody.
    fn seek(&self, offset: i64, leader_epoch: i32) -> Result<(), KafkaError> {
        let mut reason = "the client is busy".to_owned();
        for _ in 0..SEEKS_MAX {
            let Some(mut list) = list_of([(&self.of, Offset::Offset(offset))].into_iter())? else { return Ok(()) };
            native::set_leader_epoch(&mut list, leader_epoch);
            let Ok(sought) = self.client.consumer.seek_partitions(list, SEEK_LIMIT) else { break };
            match sought.elements().iter().try_for_each(|element| element.error()) {
                Ok(()) => return Ok(()),
                // It begins to read the partition at this moment.
                Err(error) => reason = error.to_string(),
            }
            threads::pause(SEEK_EACH);
        }
        Err(KafkaError::Unavailable { reason: format!("{} cannot be read from offset {offset}: {reason}", self.of) })
    }
}

/// A call that begins to read. If it is dropped, whoever comes next waits until the partition is let go.
struct Waiting {
    lease: Arc<Lease>,
    is_over: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.is_over {
            self.lease.reading.on_leaving(&self.lease.of);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.reading.on_leaving(&self.of);
        let is_assigned = self.is_assigned.load(Ordering::Relaxed);
        self.client.leaving.lock().push(Left { reading: self.reading.clone(), of: self.of.clone(), is_assigned });
    }
}

struct RdReader {
    queue: Queue,
    position: i64,
    /// What was taken from the queue with records, and comes after them.
    pending: Option<Told>,
    /// Why nothing more can be read: librdkafka tells it once.
    failed: Option<KafkaError>,
    /// When the client last told that it can read: what is older is no trouble.
    since: Duration,
    /// `None`: it has told so once.
    doubt: Option<Doubt>,
    /// Dropped last.
    lease: Arc<Lease>,
}

/// Of a topic that a client may not see, or that has no such partition, librdkafka tells a reader late or never. So until it has told something,
/// brokers are asked about the topic now and then.
struct Doubt {
    /// When they are asked next.
    ask_at: Duration,
    /// For the answer, while they are asked.
    asked: Option<Queue>,
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
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            if let Some(told) = self.pending.take() {
                match self.tell(told) {
                    Some(fetched) => return Ok(fetched),
                    // Behind a failure that does not pass there may be records, but some may be missing before them.
                    None if self.failed.is_some() => continue,
                    None => {}
                }
            }
            let records = self.take(records_max.max(1));
            if !records.is_empty() {
                return Ok(Fetched::Records(records));
            }
            if self.pending.is_none() && self.failed.is_none() {
                self.ask_in_doubt();
            }
            if self.pending.is_some() || self.failed.is_some() {
                continue;
            }
            let now = self.lease.client.context.now();
            let doubt = async {
                match &self.doubt {
                    None => pending().await,
                    Some(Doubt { asked: Some(answers), .. }) => answers.filled().await,
                    Some(Doubt { asked: None, ask_at }) => sleep(ask_at.saturating_sub(now)).await,
                }
            };
            tokio::select! {
                biased;
                () = self.queue.filled() => {}
                error = self.lease.client.context.denied() => return Err(error),
                () = doubt => {}
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
    /// Takes records from the queue, up to a failure.
    fn take(&mut self, records_max: usize) -> Vec<Record> {
        let mut records = Vec::new();
        for polled in native::poll(&self.queue, records_max) {
            match polled {
                Polled::Record(record) => {
                    // An end that was told before has moved. It is no failure: nothing is taken behind one.
                    self.pending = None;
                    self.position = record.offset + 1;
                    records.push(record);
                }
                Polled::End { offset } => self.pending = Some(Told::End { offset }),
                Polled::Failed(failure) => self.pending = Some(Told::Failed(failure)),
            }
        }
        if !records.is_empty() {
            self.on_told();
        }
        records
    }

    /// The client can read.
    fn on_told(&mut self) {
        self.since = self.lease.client.context.now();
        self.lease.client.context.on_let_in();
        self.doubt = None;
    }

    /// Asks about the topic if it is time, and takes the answer if there is one.
    fn ask_in_doubt(&mut self) {
        let Some(doubt) = &mut self.doubt else { return };
        let client = &self.lease.client;
        let now = client.context.now();
        if let Some(answer) = doubt.asked.as_ref().and_then(native::take_answer) {
            *doubt = Doubt { ask_at: now + ASK_EACH, asked: None };
            self.pending = failure_in(answer, &self.lease.of).map(Told::Failed);
        } else if doubt.asked.is_none() && now >= doubt.ask_at && client.context.trouble_since(Duration::ZERO).is_some()
        {
            // The brokers are what keeps it from reading. Questions to one that is away have librdkafka connect to it without a pause.
            doubt.ask_at = now + ASK_EACH;
        } else if doubt.asked.is_none() && now >= doubt.ask_at {
            let shared: Arc<dyn Client> = client.consumer.clone();
            let answers = Queue::for_answers(shared.clone());
            let topic = [self.lease.of.topic.to_string()];
            let limit_ms = i32::try_from(ASK_EACH.as_millis()).unwrap_or(i32::MAX);
            match native::ask(&shared, &answers, &Question::Topics(&topic), limit_ms) {
                Ok(()) => doubt.asked = Some(answers),
                Err(failure) => self.pending = Some(Told::Failed(failure)),
            }
        }
    }

    /// What the caller is told of an end; of a failure that does not pass, it is told from now on.
    fn tell(&mut self, told: Told) -> Option<Fetched> {
        let failure = match told {
            Told::End { offset } => {
                self.on_told();
                // It is behind the control records that no reader sees.
                self.position = self.position.max(offset);
                return Some(Fetched::CaughtUp);
            }
            Told::Failed(failure) => failure,
        };
        match kind_of(failure.code) {
            // Brokers that are gone are waited for.
            Kind::Busy | Kind::Unavailable => {}
            Kind::Broken | Kind::Config | Kind::Denied | Kind::NoTopic | Kind::Refused | Kind::Fenced => {
                let place = Place::Partition(&self.lease.of, self.position);
                self.failed = Some(self.lease.client.context.error_of(&failure, place));
            }
        }
        None
    }
}

/// Why a partition cannot be read, by what is told of its topic. What may pass is left to the reader.
fn failure_in(answer: Result<Answer, Failure>, of: &TopicPartition) -> Option<Failure> {
    let Ok(Answer::Topics(topics)) = answer else { return None };
    topics.into_iter().find_map(|(_, told)| match told {
        Err(failure) => matches!(kind_of(failure.code), Kind::Denied | Kind::NoTopic).then_some(failure),
        Ok((topic, _)) => (!(0..topic.partitions).contains(&of.partition)).then(|| Failure {
            code: RDKafkaErrorCode::UnknownPartition,
            reason: format!("the topic has {} partitions", topic.partitions),
        }),
    })
}
