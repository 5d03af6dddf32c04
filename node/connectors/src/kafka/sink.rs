//! Writes rows to a topic, by the guarantee that the table asks for.
//!
//! | guarantee | `write` | the sealing |
//! |---|---|---|
//! | exactly once | encodes, and stages what it has encoded | the rest is staged; the committer writes it in a transaction (`commit.rs`) |
//! | at least once | encodes, and hands records to the client | waits until brokers have acknowledged all of them |
//! | none | as before | waits as well, for ten seconds at most |
//!
//! A client that cannot get rid of its records makes `write` wait, by which the job's sources stop; what it holds is bounded. A
//! writer that stages asks brokers only how large records may be, and goes on without an answer.

use std::{sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::FutureExt as _;
use thalweg_kafka::{Kafka, KafkaError, NewRecord, Producer, Wanted};
use thalweg_types::{Fault, JobId, connector::Delivery, seam::Seams};
use tokio::{sync::Mutex, time::timeout};

use super::{
    commit::KafkaCommitter,
    faults::{answered, failed, is_passing},
    records::{RecordEncoder, records_of},
    sink_check::check,
    sink_options::{Placement, WriteOptions, kafka},
    topic_limit::TopicLimit,
};
use crate::{
    ConnectorError, Sealing, SinkSubtask, SinkWriter, Written,
    connector::{Sink, SinkTable},
    notices::TableNotices,
    options::Options,
    staging::Stager,
};

/// How the connector writes.
pub(super) const SINK: Sink = Sink {
    writer: |table, subtask| {
        let options = Options::new(&table.spec.table, &table.spec.connector);
        let write = WriteOptions::of(&options, &table.spec.table, table.spec.connector.delivery())?;
        let encoder = RecordEncoder::open(&table.spec.connector, table.schema, &write, table.context)?;
        Ok(match write.delivery {
            Delivery::ExactlyOnce => {
                let epoch_bytes = subtask.epoch_bytes.min(write.epoch_bytes() / u64::from(subtask.subtasks.max(1)));
                let subtask = SinkSubtask { epoch_bytes, ..subtask };
                let limit = topic_limit_of(&table, kafka(&options, table.context)?, subtask.identity.job);
                let stager = Stager::new(subtask, table.context.seams.compute.clone());
                Box::new(StagingWriter { encoder, stager, options: write, limit })
            }
            Delivery::AtLeastOnce | Delivery::NoGuarantee => {
                Box::new(DirectWriter::new(&table, (&options, write), encoder, &subtask)?)
            }
        })
    },
    committer: |table, identity| Ok(Box::new(KafkaCommitter::new(&table, identity)?)),
    check: Some(|table, patient| check(table, patient).boxed()),
};

/// How long brokers have to acknowledge what a checkpoint holds. Clients give a record up before.
const FLUSHED_WITHIN: Duration = Duration::from_mins(5);
/// How long a writer without a guarantee waits for acknowledgements: a job's last sealing is the last that anybody waits for. When it is dropped
/// with records left, it goes on for as long.
const LEFT_WITHIN: Duration = Duration::from_secs(10);
/// How long one question to brokers may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// How long a topic is taken to have as many partitions as before.
const PARTITIONS_FOR: Duration = Duration::from_mins(5);
/// Records are handed to the client so many at a time.
const RECORDS_MAX: usize = 1000;
/// What a client needs at least for its queue.
const QUEUE_BYTES_MIN: u64 = 1 << 20;

fn topic_limit_of(table: &SinkTable<'_>, kafka: Arc<dyn Kafka>, job: JobId) -> TopicLimit {
    let notices = table.context.notices.of(Some(job), &table.spec.table);
    TopicLimit::new(kafka, table.context.seams.clock.clone(), notices)
}

/// Stages messages for the committer.
struct StagingWriter {
    encoder: RecordEncoder,
    stager: Stager,
    options: WriteOptions,
    limit: TopicLimit,
}

#[async_trait]
impl SinkWriter for StagingWriter {
    async fn write(&mut self, batch: &RecordBatch) -> Result<(), ConnectorError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if let Some(bytes_max) = self.limit.learn(&self.options).await {
            self.encoder.set_topic_limit(bytes_max);
        }
        let messages = self.encoder.encode(batch).await?;
        self.stager.write(messages).await
    }

    async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
        Ok(self.stager.seal())
    }

    fn written(&self) -> Option<Written> {
        Some(self.stager.written())
    }

    fn unfit(&self, batch: &RecordBatch) -> Vec<Fault> {
        self.encoder.unfit(batch)
    }

    fn refused(&mut self) -> Vec<Fault> {
        self.encoder.take_too_large()
    }
}

/// Hands records to a client at once.
struct DirectWriter {
    encoder: RecordEncoder,
    options: WriteOptions,
    subtask: u32,
    /// What a client may hold in its queue.
    queue_bytes: u64,
    kafka: Arc<dyn Kafka>,
    /// Shared with sealings, which flush beside the record path. Rows that come meanwhile wait for them.
    producer: Arc<Mutex<Box<dyn Producer>>>,
    placement: Placement,
    limit: TopicLimit,
    /// The most bytes of a batch, where the topic takes less than the client would send.
    batch_bytes_max: Option<u64>,
    /// When the number of partitions was asked for.
    placed: Option<Duration>,
    notices: TableNotices,
    seams: Seams,
}

impl DirectWriter {
    fn new(
        table: &SinkTable<'_>,
        (options, write): (&Options<'_>, WriteOptions),
        encoder: RecordEncoder,
        subtask: &SinkSubtask,
    ) -> Result<Self, ConnectorError> {
        let kafka = kafka(options, table.context)?;
        let limit = topic_limit_of(table, kafka.clone(), subtask.identity.job);
        let queue_bytes = subtask.memory_bytes.max(QUEUE_BYTES_MIN);
        let producer = open_producer(kafka.as_ref(), &write, queue_bytes, None)?;
        Ok(Self {
            queue_bytes,
            encoder,
            placement: Placement::new(write.partitioner, 0),
            subtask: subtask.identity.subtask,
            notices: table.context.notices.of(Some(subtask.identity.job), &write.table),
            options: write,
            kafka,
            producer: Arc::new(Mutex::new(producer)),
            limit,
            batch_bytes_max: None,
            placed: None,
            seams: table.context.seams.clone(),
        })
    }

    /// Asks how many partitions there are, if that counts and was not asked lately.
    async fn place(&mut self) -> Result<(), ConnectorError> {
        let WriteOptions { partitioner, topic, .. } = &self.options;
        let now = self.seams.clock.monotonic();
        let is_known = self.placed.is_some_and(|placed| now.saturating_sub(placed) < PARTITIONS_FOR);
        if is_known || !Placement::needs_partitions(*partitioner) {
            return Ok(());
        }
        match partitions_of(self.kafka.as_ref(), &self.options).await {
            Ok(partitions) => self.placement = Placement::new(*partitioner, partitions),
            // Those that are known are there still, or sending tells that they are not.
            Err(error) if self.placed.is_some() => {
                self.notices.tell("partitions", || {
                    format!("it cannot be seen whether topic '{topic}' has more partitions now: {error}")
                });
            }
            Err(error) => {
                let asking = format!("ask {} for topic '{topic}'", self.options.servers);
                return Err(self.failed(asking, error));
            }
        }
        self.placed = Some(now);
        Ok(())
    }

    fn failed(&self, attempted: String, error: KafkaError) -> ConnectorError {
        unwritten(&self.options.table, attempted, error)
    }

    fn another_producer(&self) -> Result<Box<dyn Producer>, ConnectorError> {
        open_producer(self.kafka.as_ref(), &self.options, self.queue_bytes, self.batch_bytes_max)
    }

    /// Goes on with a client whose batches the topic takes, if those of this one may be too large.
    async fn limit_batches(&mut self, bytes_max: u64) -> Result<(), ConnectorError> {
        if bytes_max >= self.options.batch_bytes() {
            return Ok(());
        }
        self.batch_bytes_max = Some(bytes_max);
        let another = self.another_producer()?;
        let mut producer = self.producer.lock().await;
        let flushed = answered(FLUSHED_WITHIN, producer.flush()).await;
        *producer = another;
        drop(producer);
        match flushed {
            Err(error) if self.may_lose(&error) => {
                self.tell_lost(&error);
                Ok(())
            }
            flushed => flushed.map_err(|error| self.failed(self.writing(), error)),
        }
    }

    fn may_lose(&self, error: &KafkaError) -> bool {
        self.options.delivery == Delivery::NoGuarantee && is_passing(error)
    }

    fn tell_lost(&self, error: &KafkaError) {
        self.notices.tell("records lost", || format!("records could not be written and are lost: {error}"));
    }

    async fn send(&mut self, records: Vec<NewRecord>) -> Result<(), ConnectorError> {
        let sent = self.producer.lock().await.send(records).await;
        match sent {
            Ok(()) => Ok(()),
            Err(error) if self.may_lose(&error) => {
                self.tell_lost(&error);
                if matches!(error, KafkaError::Broken { .. }) {
                    // This client would lose all that comes, too.
                    *self.producer.lock().await = self.another_producer()?;
                }
                Ok(())
            }
            Err(error) => Err(self.failed(self.writing(), error)),
        }
    }

    /// Lets brokers take what was written, if they do so soon. Nothing fails if they do not.
    fn flush_in_haste(&self) -> Sealing {
        let (producer, notices) = (self.producer.clone(), self.notices.clone());
        let flushing = async move {
            let flush = async { producer.lock().await.flush().await };
            match timeout(LEFT_WITHIN, flush).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    notices.tell("records lost", || format!("records could not be written and are lost: {error}"));
                }
                Err(_) => notices.tell("records late", || {
                    let waited = LEFT_WITHIN.as_secs();
                    format!("brokers have not acknowledged records within {waited} s; those that they have not when the job ends are lost")
                }),
            }
            Ok(Vec::new())
        };
        flushing.boxed()
    }

    fn writing(&self) -> String {
        format!("write to topic '{}' at {}", self.options.topic, self.options.servers)
    }
}

async fn partitions_of(kafka: &dyn Kafka, write: &WriteOptions) -> Result<i32, KafkaError> {
    let topic = write.topic.to_string();
    let admin = kafka.admin(&write.client(0))?;
    let topics = answered(ANSWERED_WITHIN, admin.topics(&Wanted::Named(vec![topic.clone()]))).await?;
    topics.first().map(|topic| topic.partitions).ok_or(KafkaError::NoTopic { topic })
}

/// A topic that a broker does not know may be there all the same, since the check has seen it: the broker has just started, or somebody makes
/// it again.
fn unwritten(table: &str, attempted: String, error: KafkaError) -> ConnectorError {
    if matches!(error, KafkaError::NoTopic { .. }) {
        return ConnectorError::Store { attempted, source: error.to_string().into() };
    }
    failed(table, attempted, error)
}

fn open_producer(
    kafka: &dyn Kafka,
    write: &WriteOptions,
    queue_bytes: u64,
    batch_bytes_max: Option<u64>,
) -> Result<Box<dyn Producer>, ConnectorError> {
    let producer = kafka.producer(&write.client_of_topic(queue_bytes, batch_bytes_max));
    producer.map_err(|error| failed(&write.table, format!("open a client for {}", write.servers), error))
}

#[async_trait]
impl SinkWriter for DirectWriter {
    async fn write(&mut self, batch: &RecordBatch) -> Result<(), ConnectorError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.place().await?;
        if let Some(bytes_max) = self.limit.learn(&self.options).await {
            self.encoder.set_topic_limit(bytes_max);
            self.limit_batches(bytes_max).await?;
        }
        let messages = self.encoder.encode(batch).await?;
        for from in (0..messages.num_rows()).step_by(RECORDS_MAX) {
            let part = messages.slice(from, RECORDS_MAX.min(messages.num_rows() - from));
            let records = records_of(&part, &self.options.topic, self.subtask, &mut self.placement)?;
            self.send(records).await?;
        }
        Ok(())
    }

    async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
        if self.options.delivery == Delivery::NoGuarantee {
            return Ok(self.flush_in_haste());
        }
        let (producer, table, writing) = (self.producer.clone(), self.options.table.clone(), self.writing());
        let sealing = async move {
            // Later records are flushed too, which does no harm.
            let mut producer = producer.lock().await;
            let flushed = answered(FLUSHED_WITHIN, producer.flush()).await;
            flushed.map_err(|error| unwritten(&table, writing, error))?;
            Ok(Vec::new())
        };
        Ok(sealing.boxed())
    }

    fn unfit(&self, batch: &RecordBatch) -> Vec<Fault> {
        self.encoder.unfit(batch)
    }

    fn refused(&mut self) -> Vec<Fault> {
        self.encoder.take_too_large()
    }
}

impl Drop for DirectWriter {
    /// What a writer without a guarantee has handed over since it was sealed should not be lost where the attempt ends and the process does
    /// not.
    fn drop(&mut self) {
        if self.options.delivery != Delivery::NoGuarantee {
            return;
        }
        let producer = self.producer.clone();
        let leave = async move {
            let flush = async { producer.lock().await.flush().await };
            // What cannot be written by then is lost, as the table allows.
            let _ = timeout(LEFT_WITHIN, flush).await;
        };
        self.seams.io.spawn("flush records", Box::pin(leave));
    }
}

#[cfg(test)]
mod tests;
