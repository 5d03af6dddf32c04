//! The options of a topic that is written.

use std::{sync::Arc, time::Duration};

use thalweg_kafka::{ClientConfig, Kafka, Transactions};
use thalweg_types::connector::{
    Delivery, SINK_TIMEOUT_MIN as TIMEOUT_MIN, TRANSACTIONAL_PREFIX_BYTES_MAX as PREFIX_BYTES_MAX, is_topic_name,
};

use super::options::client_properties;
use crate::{CommitterIdentity, ConnectorContext, ConnectorError, options::Options};

const TIMEOUT: &str = "sink.transaction-timeout";
const BATCH_BYTES: &str = "batch.size";
/// librdkafka's.
const BATCH_BYTES_DEFAULT: u64 = 1_000_000;
/// The bytes of rows that brokers surely take in a second. An epoch with more than that for the time of its transaction might
/// never be published.
const WRITTEN_PER_SECOND: u64 = 5_000_000;
/// The client's own bound of a record, if the table does not set `properties.message.max.bytes`.
const MESSAGE_BYTES_MAX: u64 = 1_000_000;

/// What of a table's options says how records are written.
#[derive(Debug, Clone)]
pub(super) struct WriteOptions {
    /// The table's name.
    pub(super) table: String,
    pub(super) topic: Arc<str>,
    /// `properties.bootstrap.servers`.
    pub(super) servers: String,
    pub(super) delivery: Delivery,
    pub(super) partitioner: Partitioner,
    pub(super) transaction_timeout: Duration,
    pub(super) progress_topic: Arc<str>,
    /// The most bytes of a record.
    pub(super) message_bytes_max: u64,
    prefix: Option<String>,
    config: ClientConfig,
}

/// How the partition of a record is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Partitioner {
    /// By the key, as Kafka's own clients do; any, without one.
    Key,
    /// One for each subtask.
    Fixed,
    /// Each in turn.
    RoundRobin,
}

impl WriteOptions {
    pub(super) fn of(options: &Options<'_>, table: &str, delivery: Option<Delivery>) -> Result<Self, ConnectorError> {
        let topic = |key: &str| {
            let name = options.required(key)?;
            if is_topic_name(name) {
                return Ok(Arc::from(name));
            }
            let names = "names have letters, digits, '.', '_' and '-', 249 at most";
            Err(options.error(format!("option '{key}': '{name}' cannot be a topic: {names}; a sink writes one")))
        };
        let timeout = options.duration(TIMEOUT)?.unwrap_or(TIMEOUT_MIN);
        if timeout < TIMEOUT_MIN {
            return Err(options.error(format!("option '{TIMEOUT}' must be at least {} s", TIMEOUT_MIN.as_secs())));
        }
        let prefix = options.text("sink.transactional-id-prefix").map(str::to_owned);
        if prefix.as_ref().is_some_and(|prefix| prefix.len() > PREFIX_BYTES_MAX) {
            let most = format!("option 'sink.transactional-id-prefix' must have at most {PREFIX_BYTES_MAX} bytes");
            return Err(options.error(most));
        }
        let partitioner = match options.required("sink.partitioner")? {
            "default" => Partitioner::Key,
            "fixed" => Partitioner::Fixed,
            "round-robin" => Partitioner::RoundRobin,
            other => return Err(options.error(format!("option 'sink.partitioner': there is no '{other}'"))),
        };
        let (topic, progress_topic) = (topic("topic")?, topic("sink.progress-topic")?);
        if topic == progress_topic {
            return Err(options.error("option 'sink.progress-topic' must be another topic than 'topic'"));
        }
        let properties = client_properties(options)?;
        Ok(Self {
            table: table.to_owned(),
            topic,
            servers: options.required("properties.bootstrap.servers")?.to_owned(),
            delivery: delivery.ok_or_else(|| options.error("option 'sink.delivery-guarantee' is missing"))?,
            partitioner,
            transaction_timeout: timeout,
            progress_topic,
            message_bytes_max: options.number("properties.message.max.bytes")?.unwrap_or(MESSAGE_BYTES_MAX),
            prefix,
            config: ClientConfig { properties, ..ClientConfig::default() },
        })
    }

    /// A client that may queue so many bytes.
    pub(super) fn client(&self, queue_bytes: u64) -> ClientConfig {
        ClientConfig { queue_bytes, ..self.config.clone() }
    }

    /// A client that may queue so many bytes, and whose batches of records are no larger than the topic takes: brokers refuse
    /// a larger one, however small its records are.
    pub(super) fn client_of_topic(&self, queue_bytes: u64, topic_limit: Option<u64>) -> ClientConfig {
        let mut config = self.client(queue_bytes);
        if let Some(limit) = topic_limit {
            config.properties.insert(BATCH_BYTES.to_owned(), self.batch_bytes().min(limit).to_string());
        }
        config
    }

    /// How large batches may be if the topic takes them.
    pub(super) fn batch_bytes(&self) -> u64 {
        let given = self.config.properties.get(BATCH_BYTES).and_then(|given| given.parse().ok());
        given.unwrap_or(BATCH_BYTES_DEFAULT)
    }

    /// The most bytes of rows that all subtasks may write for one transaction.
    pub(super) fn epoch_bytes(&self) -> u64 {
        self.transaction_timeout.as_secs().saturating_mul(WRITTEN_PER_SECOND)
    }

    /// The one transactional id of a sink of a job, whatever its parallelism was and whoever commits. It names cluster, job and
    /// sink behind the prefix, so that no other sink has it, whatever prefix that has. Its transactions may last so long.
    pub(super) fn transactions(&self, identity: &CommitterIdentity, timeout: Duration) -> Transactions {
        let CommitterIdentity { cluster, job, sink, .. } = identity;
        let prefix = self.prefix.as_deref().unwrap_or("thalweg");
        let id = format!("{prefix}-{}-{}-{sink}", cluster.object_part(), job.0);
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        Transactions { id, timeout_ms }
    }
}

/// The client of this build.
pub(super) fn kafka(options: &Options<'_>, context: &ConnectorContext) -> Result<Arc<dyn Kafka>, ConnectorError> {
    context.kafka.clone().ok_or_else(|| {
        options.error("this build has no Kafka client: build it with the feature 'kafka', which is on by default")
    })
}

/// Chooses the partitions of records.
#[derive(Debug, Clone)]
pub(super) struct Placement {
    partitioner: Partitioner,
    /// How many the topic has. 0: not asked for, since nobody needs it.
    partitions: i32,
    next: i32,
}

impl Placement {
    pub(super) fn new(partitioner: Partitioner, partitions: i32) -> Self {
        Self { partitioner, partitions: partitions.max(0), next: 0 }
    }

    /// Where the records of an epoch begin: at the same partition when it is written again to as many, and at another one than those of
    /// the epoch before, or small epochs would all go to the first partitions.
    pub(super) fn of_epoch(self, epoch: u64) -> Self {
        let next = epoch.checked_rem(u64::from(self.partitions.unsigned_abs())).unwrap_or(0);
        Self { next: i32::try_from(next).unwrap_or(0), ..self }
    }

    /// Whether records can be placed only if one knows how many partitions there are.
    pub(super) fn needs_partitions(partitioner: Partitioner) -> bool {
        match partitioner {
            Partitioner::Key => false,
            Partitioner::Fixed | Partitioner::RoundRobin => true,
        }
    }

    /// The partition of the next record of a subtask; `None`: the client chooses.
    pub(super) fn next(&mut self, subtask: u32) -> Option<i32> {
        if self.partitions == 0 {
            return None;
        }
        match self.partitioner {
            Partitioner::Key => None,
            Partitioner::Fixed => {
                let at = i64::from(subtask) % i64::from(self.partitions);
                i32::try_from(at).ok()
            }
            Partitioner::RoundRobin => {
                let at = self.next % self.partitions;
                self.next = (at + 1) % self.partitions;
                Some(at)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::{ClusterId, JobId, graph::OperatorIdentity};

    use super::*;
    use crate::testing::sink;

    fn write(more: &[(&str, &str)]) -> Result<WriteOptions, String> {
        let given = [("properties.bootstrap.servers", "a:1"), ("topic", "t")];
        let given: Vec<_> = given.into_iter().filter(|(key, _)| more.iter().all(|(other, _)| other != key)).collect();
        let spec = sink("kafka", &[&given, more].concat());
        let options = Options::new(&spec.table, &spec.connector);
        WriteOptions::of(&options, "t", spec.connector.delivery()).map_err(|error| error.to_string())
    }

    #[test]
    fn options_have_the_defaults_of_the_spec() {
        let options = write(&[]).expect("they are sound");
        assert_eq!((options.delivery, options.partitioner), (Delivery::ExactlyOnce, Partitioner::Key));
        assert_eq!(options.transaction_timeout, Duration::from_mins(1));
        assert_eq!((&*options.topic, &*options.progress_topic), ("t", "thalweg-sink-progress"));
        let options = write(&[("sink.delivery-guarantee", "none"), ("sink.partitioner", "fixed")]).expect("sound");
        assert_eq!((options.delivery, options.partitioner), (Delivery::NoGuarantee, Partitioner::Fixed));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let long = "x".repeat(PREFIX_BYTES_MAX + 1);
        for (key, value, reason) in [
            ("topic", "a;b", "a sink writes one"),
            ("sink.progress-topic", "t", "another topic"),
            ("sink.progress-topic", "a b", "cannot be a topic"),
            ("sink.transaction-timeout", "10 ms", "at least 1 s"),
            ("sink.transactional-id-prefix", &long, "at most 1024 bytes"),
            ("sink.partitioner", "mine", "there is no 'mine'"),
            ("properties.message.max.bytes", "much", "a number"),
        ] {
            let refused = write(&[(key, value)]).map(drop).expect_err("it is refused");
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn batches_are_no_larger_than_the_topic_takes() {
        let batch = |given: &[(&str, &str)], limit| {
            let config = write(given).expect("sound").client_of_topic(1, limit);
            config.properties.get("batch.size").cloned()
        };
        assert_eq!(batch(&[], None), None);
        assert_eq!(batch(&[], Some(20_000)).as_deref(), Some("20000"));
        assert_eq!(batch(&[], Some(10_000_000)).as_deref(), Some("1000000"));
        assert_eq!(batch(&[("properties.batch.size", "500")], Some(20_000)).as_deref(), Some("500"));
    }

    #[test]
    fn no_two_sinks_have_one_transactional_id() {
        let id = |prefix: &[(&str, &str)], cluster: &str, job, sink| {
            let identity = CommitterIdentity {
                cluster: ClusterId(cluster.to_owned()),
                job: JobId(job),
                sink: OperatorIdentity(sink),
                checkpoints: String::new(),
                memory_bytes: 0,
            };
            write(prefix).expect("sound").transactions(&identity, Duration::from_secs(1)).id
        };
        let mine = [("sink.transactional-id-prefix", "mine")];
        assert_eq!(id(&mine, "c1", 2, 0xfeed), "mine-c1-2-000000000000feed");
        assert_eq!(id(&[], "c1", 2, 0xfeed), "thalweg-c1-2-000000000000feed");
        let all = [id(&mine, "c1", 2, 1), id(&mine, "c2", 2, 1), id(&mine, "c1", 3, 1), id(&mine, "c1", 2, 2)];
        assert_eq!(std::collections::BTreeSet::from(all).len(), 4);
    }

    #[test]
    fn partitions_are_those_of_the_partitioner() {
        let taken = |partitioner, partitions, subtask| {
            let mut placement = Placement::new(partitioner, partitions);
            (0..4).map(|_| placement.next(subtask)).collect::<Vec<_>>()
        };
        assert_eq!(taken(Partitioner::Key, 3, 7), [None; 4]);
        assert_eq!(taken(Partitioner::Fixed, 3, 7), [Some(1); 4]);
        assert_eq!(taken(Partitioner::Fixed, 3, u32::MAX), [Some(0); 4]);
        assert_eq!(taken(Partitioner::RoundRobin, 3, 7), [Some(0), Some(1), Some(2), Some(0)]);
        assert_eq!(taken(Partitioner::RoundRobin, 0, 7), [None; 4]);
    }

    #[test]
    fn epochs_of_few_rows_reach_all_partitions() {
        let first = |epoch| Placement::new(Partitioner::RoundRobin, 3).of_epoch(epoch).next(0);
        assert_eq!([1, 2, 3, 4, u64::MAX].map(first), [Some(1), Some(2), Some(0), Some(1), Some(0)]);
        assert_eq!(Placement::new(Partitioner::Fixed, 3).of_epoch(1).next(5), Some(2), "it is the subtask's");
        assert_eq!(Placement::new(Partitioner::RoundRobin, 0).of_epoch(1).next(0), None);
    }
}
