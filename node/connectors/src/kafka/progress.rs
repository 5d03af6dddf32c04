//! How far a sink has written, kept in the destination: a record in a compacted topic, the last one of each transaction.
//!
//! ```text
//! key   {"cluster":"c1","job":3,"sink":"0123456789abcdef"}           whose it is: the sink by identity, not by its place
//! value {"version":1,"epoch":7,"attempt":2,"rows":1000,"digest":".."} all up to this checkpoint is written
//! ```
//!
//! All jobs can share a topic; it has one partition that counts. A committer reads it up to where the partition ended when it
//! began to read, by `read_uncommitted`: what other producers of the same transactional id had left open has been ended by then
//! (`init_transactions`), so committed progress cannot come from behind. Readers of committed records get there only when all
//! transactions before have ended, those of other jobs too.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thalweg_kafka::{
    Admin, ClientConfig, Fetched, Isolation, Kafka, KafkaError, NewRecord, NewTopic, OffsetAt, TopicId, TopicPartition,
    Wanted,
};
use thalweg_types::{Attempt, CheckpointId, ClusterId, JobId, graph::OperatorIdentity};
use tokio::time::timeout;

use super::new_topic;
use crate::{CommitterIdentity, Epochs};

/// The version of the value that is written.
const VERSION: u32 = 1;
/// The partition that counts.
const PARTITION: i32 = 0;
/// How many records are read at a time.
const RECORDS_MAX: usize = 1000;
/// The configuration of a topic that says what brokers forget of it.
pub(super) const CLEANUP_POLICY: &str = "cleanup.policy";
const COMPACT: &str = "compact";
/// Of a topic that is created. Only closed segments are compacted, and all of a partition is read at first: small segments, which
/// are closed soon, keep that short.
const TOPIC_CONFIG: &[(&str, &str)] =
    &[(CLEANUP_POLICY, COMPACT), ("segment.bytes", "4194304"), ("min.cleanable.dirty.ratio", "0.1")];

/// Whose progress it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ProgressKey {
    cluster: ClusterId,
    job: JobId,
    sink: OperatorIdentity,
}

/// How far a sink has written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    version: u32,
    /// The checkpoint up to which all is written; `CheckpointId::FINAL` once the job has ended.
    pub(super) epoch: CheckpointId,
    /// The attempt that wrote it, for people.
    attempt: Attempt,
    /// How many rows were written with it, for people.
    rows: u64,
    /// Of what was written with it, in base 16.
    digest: String,
    /// The id of the topic that it was written to, in base 16; `None`: nobody knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
}

/// What is to be done about an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is written.
    Done,
    Write,
}

/// What the destination holds and what the job's record says cannot both be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Discord(pub(super) String);

/// Why progress could not be read, or its topic not be made ready.
#[derive(Debug)]
pub(super) enum Unread {
    Client(KafkaError),
    /// Somebody has to do something about the topic.
    Unfit(String),
    /// It did not come in time.
    Late(String),
}

impl From<KafkaError> for Unread {
    fn from(error: KafkaError) -> Self {
        Self::Client(error)
    }
}

impl ProgressKey {
    pub(super) fn of(identity: &CommitterIdentity) -> Self {
        let CommitterIdentity { cluster, job, sink, .. } = identity;
        Self { cluster: cluster.clone(), job: *job, sink: *sink }
    }

    fn bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("it has only text keys").into()
    }
}

impl Progress {
    pub(super) fn of(epochs: &Epochs, rows: u64, digest: u64) -> Self {
        let Epochs { attempt, publishing: epoch, .. } = *epochs;
        Self { version: VERSION, epoch, attempt, rows, digest: format!("{digest:016x}"), topic: None }
    }

    /// As written to this topic.
    pub(super) fn to(mut self, topic: Option<TopicId>) -> Self {
        self.topic = topic.map(|TopicId(id)| format!("{id:032x}"));
        self
    }

    /// Whether two were written to topics that are known to be different.
    pub(super) fn is_of_another_topic(&self, than: &Self) -> bool {
        self.topic.is_some() && than.topic.is_some() && self.topic != than.topic
    }

    pub(super) fn record(&self, topic: &std::sync::Arc<str>, key: &ProgressKey) -> NewRecord {
        NewRecord {
            topic: topic.clone(),
            partition: Some(PARTITION),
            key: Some(key.bytes()),
            value: Some(serde_json::to_vec(self).expect("it has only text keys").into()),
            headers: Vec::new(),
            timestamp_ms: None,
        }
    }

    /// What the destination's progress means for an epoch. `new`: what would be written with it.
    ///
    /// # Errors
    /// If it does not go with the record of the job.
    pub(super) fn step(found: Option<&Self>, new: &Self, epochs: &Epochs) -> Result<Step, Discord> {
        let Epochs { publishing, published, complete, .. } = *epochs;
        let at = found.map(|found| found.epoch);
        match found {
            Some(found) if found.epoch > complete => {
                return Err(Discord(format!(
                    "it holds progress up to {}, and the newest complete checkpoint is {}: another writer has the same \
                     cluster, job and sink, or the coordinators went back to an older state; what is published stays as it is",
                    named(Some(found.epoch)),
                    named(Some(complete)),
                )));
            }
            Some(found) if found.epoch == publishing && found.digest != new.digest => {
                return Err(Discord(format!(
                    "{} is written with other rows than this job has: another writer has the same cluster, job and sink",
                    named(at)
                )));
            }
            Some(_) | None => {}
        }
        if at >= Some(publishing) {
            return Ok(Step::Done);
        }
        if at < published {
            return Err(Discord(format!(
                "it went back in time: it holds progress up to {}, and {} was published; what was published after {} up to {} \
                 is lost there",
                named(at),
                named(published),
                named(at),
                named(published),
            )));
        }
        if at > published {
            return Err(Discord(format!(
                "it holds progress up to {}, and this job published {} last: another writer has the same cluster, job and \
                 sink",
                named(at),
                named(published),
            )));
        }
        Ok(Step::Write)
    }
}

fn named(epoch: Option<CheckpointId>) -> String {
    match epoch {
        None => "nothing".to_owned(),
        Some(CheckpointId::FINAL) => "the job's end".to_owned(),
        Some(epoch) => epoch.to_string(),
    }
}

/// Makes sure that there is a topic for progress, and that it keeps it. One that is made is kept by as many brokers as the sink's topic:
/// it must not be lost sooner.
pub(super) async fn ensure_topic(admin: &dyn Admin, topic: &str, of_sink: &str) -> Result<(), Unread> {
    let wanted = Wanted::Named(vec![topic.to_owned(), of_sink.to_owned()]);
    let found = admin.topics(&wanted).await?;
    if !found.iter().any(|found| found.name == topic) {
        let replication = found.iter().find(|found| found.name == of_sink).map(|found| found.replication);
        // One broker is the least that brokers have for their default.
        let replication = replication.filter(|replication| *replication > 1);
        let config = TOPIC_CONFIG.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let new = NewTopic { name: topic.to_owned(), partitions: 1, replication, config };
        if admin.create_topic(&new).await? {
            return Ok(());
        }
    }
    match new_topic::config(admin, topic, CLEANUP_POLICY).await? {
        Some(policy) if policy.trim() != COMPACT => Err(Unread::Unfit(format!(
            "'{CLEANUP_POLICY}' of topic '{topic}' is '{policy}', so brokers would forget how far sinks have written: set it to \
             '{COMPACT}', or name another topic by 'sink.progress-topic'"
        ))),
        // A broker that does not tell has no other policy, as far as one can know.
        Some(_) | None => Ok(()),
    }
}

/// What tells that a topic is still the one that was read, and not from before that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    id: Option<TopicId>,
    /// Where the partition ended, at least.
    end: i64,
}

impl Mark {
    /// Asks the cluster: two short questions.
    pub(super) async fn ask(admin: &dyn Admin, topic: &str) -> Result<Self, KafkaError> {
        let at = TopicPartition { topic: topic.into(), partition: PARTITION };
        let no_topic = || KafkaError::NoTopic { topic: topic.to_owned() };
        let wanted = Wanted::Named(vec![topic.to_owned()]);
        let id = admin.topics(&wanted).await?.first().ok_or_else(no_topic)?.id;
        let ends = admin.offsets(std::slice::from_ref(&at), OffsetAt::Latest, Isolation::ReadUncommitted).await?;
        Ok(Self { id, end: *ends.get(&at).ok_or_else(no_topic)? })
    }

    /// Behind a record of ours.
    pub(super) fn after_record(self) -> Self {
        Self { end: self.end.saturating_add(1), ..self }
    }

    /// Whether the topic may have become `now`, from this.
    pub(super) fn can_become(self, now: Self) -> bool {
        self.id == now.id && self.end <= now.end
    }
}

/// Reads the progress of a sink. The transactional id of its committers must have been taken before.
pub(super) async fn read(
    kafka: &dyn Kafka,
    config: &ClientConfig,
    topic: &str,
    key: &ProgressKey,
    within: Duration,
) -> Result<Option<Progress>, Unread> {
    let at = TopicPartition { topic: topic.into(), partition: PARTITION };
    let admin = kafka.admin(config)?;
    let offset = async |place: OffsetAt| {
        let offsets = admin.offsets(std::slice::from_ref(&at), place, Isolation::ReadUncommitted).await?;
        offsets.get(&at).copied().ok_or_else(|| KafkaError::NoTopic { topic: topic.to_owned() })
    };
    let mut reached = None;
    let reading = async {
        let end = offset(OffsetAt::Latest).await?;
        let begin = offset(OffsetAt::Earliest).await?;
        if begin >= end {
            return Ok(None);
        }
        let consumer = kafka.consumer(config, Isolation::ReadCommitted)?;
        let mut reader = consumer.read(&at, begin).await?;
        let (wanted, mut found) = (Some(key.bytes()), None);
        while reader.position() < end {
            reached = Some((reader.position(), end));
            // At an end before `end` something is still open: the next call waits for what comes behind it.
            let Fetched::Records(records) = reader.next(RECORDS_MAX).await? else { continue };
            for record in records.into_iter().filter(|record| record.key == wanted) {
                found = match record.value {
                    Some(value) => Some(parse(&at, record.offset, &value)?),
                    None => None,
                };
            }
        }
        Ok::<_, Unread>(found)
    };
    match timeout(within, reading).await {
        Ok(read) => read,
        Err(_) => Err(Unread::Late(match reached {
            Some((position, end)) => format!(
                "committed records of {at} could be read up to offset {position} of {end} only within {} s: a transaction may be \
                 open, of another job too, or its leader is away",
                within.as_secs()
            ),
            None => format!("{at} did not tell its offsets within {} s", within.as_secs()),
        })),
    }
}

fn parse(at: &TopicPartition, offset: i64, value: &[u8]) -> Result<Progress, Unread> {
    let unfit = |reason: String| {
        Unread::Unfit(format!(
            "the progress at offset {offset} of {at} cannot be understood: {reason}; nobody else may write there"
        ))
    };
    let progress: Progress = serde_json::from_slice(value).map_err(|error| unfit(error.to_string()))?;
    if progress.version != VERSION {
        return Err(unfit(format!("it is of version {}, and {VERSION} is known", progress.version)));
    }
    Ok(progress)
}

#[cfg(test)]
mod tests;
