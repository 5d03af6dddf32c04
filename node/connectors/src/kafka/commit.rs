//! Publishes an epoch of a sink: all its rows and the sink's progress, in one transaction.
//!
//! ```text
//! take the transactional id (`init`) --> read progress P --E <= P--> done
//!        ^                                   '-- P is what was published last --> begin, rows of E, progress E, commit
//!        '---- anything went wrong: the producer is dropped, and what became of it is read -------------------'
//! ```
//!
//! One node commits for all subtasks of the sink, so a sink has one transactional id for ever (`WriteOptions::transactions`):
//! taking it ends whatever any committer before has left open, and fences it. No id of a former parallelism can exist. Only then
//! progress is read: what a committer before had begun to commit is committed or aborted by then, and nothing of it comes later.
//!
//! An epoch that is too large for the time of its transaction is written again in one that may last twice as long, and so on.
//!
//! *A commit was answered with an error, or not at all; the transaction expired; another committer took the id; this one crashed
//! before, between or after*: all of these end in the same way, by reading progress. No call waits without a bound.
//!
//! Between two publications the producer is kept, with the progress that it has written. As long as nobody has taken the id
//! from it, nobody else has moved that progress; somebody who does fences it, which its next transaction notices. So a committer
//! that goes on where it was does not read it again. It only asks whether the topic is still the one that it has read, and has not
//! become shorter, as after a restore from a backup.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt as _;
use serde_json::Value;
use thalweg_kafka::{Admin, Kafka, KafkaError, TransactionalProducer, Wanted};
use thalweg_storage::{CheckpointStore, ObjectStores};
use thalweg_types::{
    Attempt, CheckpointId, ClusterId, JobId,
    bug::{self, Bug},
    connector::Delivery,
    seam::Seams,
};
use tokio::time::{sleep, timeout};

use super::{
    faults::{answered, failed, of_client},
    progress::{self, Mark, Progress, ProgressKey, Step, Unread},
    records::records_of,
    sink_options::{Placement, WriteOptions, kafka},
    topic_limit::topic_limit,
};
use crate::{
    CommitterIdentity, ConnectorError, Epochs, SinkCommitter,
    connector::SinkTable,
    kept::{KeptSessions, QueueShare},
    notices::TableNotices,
    options::Options,
    staging::{self, Staged},
};

/// How often an epoch is tried before the failure is told. The leader orders it again then, perhaps on another node.
const TRIES_MAX: u32 = 4;
/// The pause after the first failure; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How long one question to brokers may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// Records are handed to the client so many at a time.
const RECORDS_MAX: usize = 1000;
/// How long a commit may take behind the timeout of its transaction: by then brokers have committed it or aborted it.
const COMMIT_SLACK: Duration = Duration::from_secs(10);
/// How long a transaction that has failed may take to be aborted. If it is not, brokers do it after its timeout.
const ABORTED_WITHIN: Duration = Duration::from_secs(5);
/// How long is waited at least for progress: it may stand behind an open transaction of another job's sink, whose timeout is longer.
const READ_WITHIN_MIN: Duration = Duration::from_mins(1);
/// How long transactions may become that were too short. It is what brokers allow (`transaction.max.timeout.ms`), if nobody has
/// told them otherwise.
const TIMEOUT_MAX: Duration = Duration::from_mins(15);
/// What a client needs at least for its queue.
const QUEUE_BYTES_MIN: u64 = 1 << 20;

/// Publishes what the writers of a sink have prepared.
pub(super) struct KafkaCommitter {
    options: WriteOptions,
    identity: CommitterIdentity,
    kafka: Arc<dyn Kafka>,
    stores: ObjectStores,
    seams: Seams,
    kept: KeptSessions,
    notices: TableNotices,
}

/// A producer that has the transactional id, and what is known to be written.
struct Session {
    producer: Box<dyn TransactionalProducer>,
    progress: Option<Progress>,
    /// What the id stands for at a cluster: tables of a sink never change, but a session must not outlive a mistake.
    servers: String,
    /// When brokers abort its transactions.
    timeout: Duration,
    /// Asks about the topics.
    admin: Arc<dyn Admin>,
    /// What the clients' queues may take.
    _share: QueueShare,
    /// What the topic for progress was when it was read, or written.
    mark: Mark,
}

/// What is kept between publications.
struct KeptCommitter {
    session: Option<Session>,
    /// How long the transactions of this sink must be able to last: an earlier one needed it.
    timeout: Duration,
}

/// An epoch that is to be published.
struct Epoch<'a> {
    epochs: Epochs,
    staged: &'a [Staged],
    progress: Progress,
    store: Option<CheckpointStore>,
}

/// Why an epoch was not published this time.
enum Trouble {
    /// Another try may succeed at once, with another producer.
    Again(KafkaError),
    /// The transaction did not end in its time. The next one may last longer.
    Expired(KafkaError),
    /// What the client says of brokers, or what somebody has to do.
    Stop(ConnectorError),
}

impl KafkaCommitter {
    pub(super) fn new(table: &SinkTable<'_>, identity: CommitterIdentity) -> Result<Self, ConnectorError> {
        let SinkTable { spec, context, .. } = table;
        let options = Options::new(&spec.table, &spec.connector);
        Ok(Self {
            options: WriteOptions::of(&options, &spec.table, spec.connector.delivery())?,
            kafka: kafka(&options, context)?,
            stores: context.stores.clone(),
            seams: context.seams.clone(),
            kept: context.kept.clone(),
            notices: context.notices.of(Some(identity.job), &spec.table),
            identity,
        })
    }

    /// Publishes an epoch, with a session that was kept if that fits.
    async fn publish(&self, epoch: &Epoch<'_>) -> Result<(), ConnectorError> {
        let (kept, mut limit) = match self.kept.take::<KeptCommitter>(&self.identity) {
            Some(kept) => (kept.session, kept.timeout),
            None => (None, self.options.transaction_timeout),
        };
        // Whatever is not simply the next epoch is decided by what the destination holds.
        let is_next = |session: &Session| {
            let at = session.progress.as_ref().map(|progress| progress.epoch);
            session.servers == self.options.servers && at.is_some() && at == epoch.epochs.published
        };
        let mut session = kept.filter(is_next);
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            let error = match self.try_to_publish(epoch, session.take(), limit).await {
                Ok(session) => {
                    self.keep(Some(session), limit);
                    return Ok(());
                }
                Err(Trouble::Stop(error)) => {
                    self.keep(None, limit);
                    return Err(error);
                }
                Err(Trouble::Again(error)) => error,
                Err(Trouble::Expired(error)) => {
                    limit = self.longer(limit);
                    error
                }
            };
            if tries == TRIES_MAX {
                self.keep(None, limit);
                return Err(self.gave_up(epoch, error));
            }
            tracing::debug!(job = %self.identity.job, table = self.options.table, %error, "publishes again");
            // Two committers that fence each other must not go on in step.
            sleep(self.jittered(pause)).await;
            (tries, pause) = (tries + 1, pause * 2);
        }
    }

    /// Keeps what the next publication may go on with.
    fn keep(&self, session: Option<Session>, timeout: Duration) {
        self.kept.keep(&self.identity, KeptCommitter { session, timeout }, &self.seams);
    }

    /// How long the next transaction may last if one of this time was too short.
    fn longer(&self, timeout: Duration) -> Duration {
        (timeout * 2).min(TIMEOUT_MAX.max(self.options.transaction_timeout))
    }

    /// Tries once. If it is done, gives the session for the next epoch.
    async fn try_to_publish(
        &self,
        epoch: &Epoch<'_>,
        kept: Option<Session>,
        timeout: Duration,
    ) -> Result<Session, Trouble> {
        let mut session = match kept {
            Some(session) => match self.still(session).await {
                Some(session) => session,
                None => self.open(epoch, timeout).await?,
            },
            None => self.open(epoch, timeout).await?,
        };
        let step = Progress::step(session.progress.as_ref(), &epoch.progress, &epoch.epochs);
        let step = step.map_err(|discord| {
            let WriteOptions { servers, progress_topic, .. } = &self.options;
            let reason = format!("topic '{progress_topic}' at {servers} does not go with this job: {}", discord.0);
            Trouble::Stop(ConnectorError::Data { attempted: self.attempted(epoch), reason })
        })?;
        match step {
            Step::Done => Ok(session),
            Step::Write => {
                // Before a transaction is open: brokers may be slow to answer.
                let (progress, placement) =
                    self.look_at_topic(epoch, session.admin.as_ref(), session.progress.as_ref()).await?;
                self.write(epoch, &progress, &mut session, placement).await?;
                session.progress = Some(progress);
                session.mark = session.mark.after_record();
                Ok(session)
            }
        }
    }

    /// The progress of an epoch, with the topic that it is written to, and how records are placed there. Where that is another topic than
    /// the rows before went to, says so: they are gone, and no reader finds them in the new one. A topic that is not there is told of at
    /// once: the client would look for it for long, and say nothing.
    async fn look_at_topic(
        &self,
        epoch: &Epoch<'_>,
        admin: &dyn Admin,
        before: Option<&Progress>,
    ) -> Result<(Progress, Placement), Trouble> {
        let WriteOptions { topic, servers, partitioner, .. } = &self.options;
        let wanted = Wanted::Named(vec![topic.to_string()]);
        let found = answered(ANSWERED_WITHIN, admin.topics(&wanted)).await;
        let found = found.map_err(|error| self.trouble(epoch, error))?;
        let missing = || {
            // A broker that has just started may not know it yet, and somebody may make it again.
            let reason = format!("there is no topic '{topic}' at {servers} now, and there was when the job began");
            Trouble::Stop(ConnectorError::Store { attempted: self.attempted(epoch), source: reason.into() })
        };
        let found = found.first().ok_or_else(missing)?;
        let progress = epoch.progress.clone().to(found.id);
        if let Some(before) = before.filter(|before| progress.is_of_another_topic(before)) {
            self.notices.tell(&format!("topic anew after {}", before.epoch), || {
                format!("topic '{topic}' was deleted and made anew: the rows up to {} that were written to it are lost there", before.epoch)
            });
        }
        let placement = Placement::new(*partitioner, found.partitions).of_epoch(progress.epoch.0);
        Ok((progress, placement))
    }

    /// Looks whether what a session knows of progress can still be so: a destination may have been restored from a backup, or the topic
    /// deleted. If it cannot, or nobody tells, the session is of no use.
    async fn still(&self, mut session: Session) -> Option<Session> {
        let asked = Mark::ask(session.admin.as_ref(), &self.options.progress_topic);
        let now = answered(ANSWERED_WITHIN, asked).await.ok()?;
        session.mark.can_become(now).then(|| {
            session.mark = now;
            session
        })
    }

    /// Takes the transactional id for transactions of this time, and reads what is written.
    async fn open(&self, epoch: &Epoch<'_>, timeout: Duration) -> Result<Session, Trouble> {
        let WriteOptions { progress_topic, servers, .. } = &self.options;
        let share = self.kept.share(&self.identity, 2 * QUEUE_BYTES_MIN);
        // One client writes, and one reads progress.
        let config = self.options.client(share.bytes() / 2);
        let admin = self.kafka.admin(&config).map_err(|error| self.trouble(epoch, error))?;
        let limit = answered(ANSWERED_WITHIN, topic_limit(admin.as_ref(), &self.options.topic)).await;
        // That the topic is gone is told before anything is written.
        let is_gone = matches!(limit, Err(KafkaError::NoTopic { .. }));
        let limit = if is_gone { None } else { limit.map_err(|error| self.trouble(epoch, error))? };
        let ready = answered_or(progress::ensure_topic(admin.as_ref(), progress_topic, &self.options.topic)).await;
        ready.map_err(|unread| self.unread(epoch, unread))?;
        let key = ProgressKey::of(&self.identity);
        let read = async || {
            let within = timeout.max(READ_WITHIN_MIN);
            let read = progress::read(self.kafka.as_ref(), &config, progress_topic, &key, within).await;
            read.map_err(|unread| self.unread(epoch, unread))
        };
        let early = if bug::is_active(Bug::ProgressBeforeInit) { Some(read().await?) } else { None };
        let mut transactions = self.options.transactions(&self.identity, timeout);
        if bug::is_active(Bug::LeaveTransactionOpen) {
            transactions.id = format!("{}-{}", transactions.id, self.seams.entropy.next());
        }
        let of_topic = self.options.client_of_topic(config.queue_bytes, limit);
        let producer = self.kafka.transactional(&of_topic, &transactions);
        let mut producer = producer.map_err(|error| self.trouble(epoch, error))?;
        // An id whose last transaction is still ending is waited for.
        let taken = answered(timeout + COMMIT_SLACK, producer.init()).await;
        taken.map_err(|error| {
            if let KafkaError::Refused { reason } | KafkaError::Config { reason } = &error
                && timeout > self.options.transaction_timeout
            {
                // Only its time differs from one that was taken before.
                return Trouble::Stop(self.too_long(epoch, timeout, reason));
            }
            self.trouble(epoch, error)
        })?;
        // Before it is read: it may only grow from here on.
        let mark = answered(ANSWERED_WITHIN, Mark::ask(admin.as_ref(), progress_topic)).await;
        let mark = mark.map_err(|error| self.trouble(epoch, error))?;
        let progress = match early {
            Some(progress) => progress,
            None => read().await?,
        };
        Ok(Session { producer, progress, servers: servers.clone(), timeout, admin, _share: share, mark })
    }

    /// Writes the rows and the progress in one transaction. After an error it is not known whether it is committed. If it cannot be, it is
    /// aborted: while it is open it holds back all who read committed records of its partitions.
    async fn write(
        &self,
        epoch: &Epoch<'_>,
        progress: &Progress,
        session: &mut Session,
        placement: Placement,
    ) -> Result<(), Trouble> {
        let mut is_decided = false;
        let written = self.write_and_commit(epoch, progress, session, placement, &mut is_decided).await;
        if written.is_err() && !is_decided {
            // Whoever comes next does it too, by taking the id; but that may be late.
            timeout(ABORTED_WITHIN, session.producer.abort()).await.map(drop).ok();
        }
        written
    }

    /// `is_decided`: whether the commit was begun, so that brokers may have it already.
    async fn write_and_commit(
        &self,
        epoch: &Epoch<'_>,
        progress: &Progress,
        session: &mut Session,
        mut placement: Placement,
        is_decided: &mut bool,
    ) -> Result<(), Trouble> {
        let began = self.seams.clock.monotonic();
        let Session { producer, timeout: limit, .. } = session;
        let write = async {
            let trouble = |error| self.trouble(epoch, error);
            producer.begin().await.map_err(trouble)?;
            for staged in epoch.staged {
                let mut batches = std::pin::pin!(staged.batches(epoch.store.as_ref()));
                while let Some(batch) = batches.next().await {
                    let batch = batch.map_err(Trouble::Stop)?;
                    for from in (0..batch.num_rows()).step_by(RECORDS_MAX) {
                        let part = batch.slice(from, RECORDS_MAX.min(batch.num_rows() - from));
                        let records = records_of(&part, &self.options.topic, staged.subtask, &mut placement);
                        producer.send(records.map_err(Trouble::Stop)?).await.map_err(trouble)?;
                    }
                }
            }
            // Other sinks' committers read the partition of progress. It is in this transaction only when all rows are written.
            producer.flush().await.map_err(trouble)?;
            if !bug::is_active(Bug::CommitWithoutProgress) {
                let key = ProgressKey::of(&self.identity);
                let record = progress.record(&self.options.progress_topic, &key);
                producer.send(vec![record]).await.map_err(trouble)?;
            }
            *is_decided = true;
            let committed = producer.commit().await;
            // Brokers were not told to commit what lacks a record.
            *is_decided = !matches!(&committed, Err(KafkaError::Aborted { .. } | KafkaError::Refused { .. }));
            committed.map_err(trouble)
        };
        let written = timeout(*limit + COMMIT_SLACK, write).await;
        let took = self.seams.clock.monotonic().saturating_sub(began);
        match written {
            Ok(Err(Trouble::Again(error))) if took >= *limit => Err(expired(took, *limit, &error.to_string())),
            Ok(written) => written,
            Err(_) => Err(expired(took, *limit, "its end was not told")),
        }
    }

    /// What an error of the client leads to.
    fn trouble(&self, epoch: &Epoch<'_>, error: KafkaError) -> Trouble {
        match error {
            KafkaError::Fenced { .. }
            | KafkaError::Aborted { .. }
            | KafkaError::Broken { .. }
            // A topic that has just been created may not be known everywhere, and its beginning may have moved.
            | KafkaError::NoTopic { .. }
            | KafkaError::OffsetOutOfRange { .. } => Trouble::Again(error),
            // Whoever orders it again has longer pauses, and other nodes.
            KafkaError::Unavailable { .. } | KafkaError::Denied { .. } | KafkaError::Refused { .. } => {
                Trouble::Stop(failed(&self.options.table, self.attempted(epoch), error))
            }
            KafkaError::Config { reason } => {
                Trouble::Stop(ConnectorError::Config { table: self.options.table.clone(), reason: of_client(&reason) })
            }
        }
    }

    fn unread(&self, epoch: &Epoch<'_>, unread: Unread) -> Trouble {
        let attempted = self.attempted(epoch);
        match unread {
            Unread::Client(error) => self.trouble(epoch, error),
            Unread::Unfit(reason) => Trouble::Stop(ConnectorError::Data { attempted, reason }),
            Unread::Late(reason) => Trouble::Stop(ConnectorError::Store { attempted, source: reason.into() }),
        }
    }

    fn gave_up(&self, epoch: &Epoch<'_>, error: KafkaError) -> ConnectorError {
        let attempted = self.attempted(epoch);
        match error {
            KafkaError::NoTopic { .. } => {
                let reason = format!("{error} at {}: it was there when the job began", self.options.servers);
                ConnectorError::Data { attempted, reason }
            }
            // Another producer, or the brokers, may leave the id alone later.
            error @ (KafkaError::Config { .. }
            | KafkaError::Unavailable { .. }
            | KafkaError::Denied { .. }
            | KafkaError::OffsetOutOfRange { .. }
            | KafkaError::Refused { .. }
            | KafkaError::Fenced { .. }
            | KafkaError::Aborted { .. }
            | KafkaError::Broken { .. }) => ConnectorError::Store { attempted, source: Box::new(error) },
        }
    }

    /// Brokers do not let transactions last as long as this epoch needs.
    fn too_long(&self, epoch: &Epoch<'_>, timeout: Duration, told: &str) -> ConnectorError {
        let reason = format!(
            "a transaction of {} s ('sink.transaction-timeout', doubled where that was too short) is refused: raise the brokers' \
             'transaction.max.timeout.ms' to go on ({told})",
            timeout.as_secs()
        );
        ConnectorError::Store { attempted: self.attempted(epoch), source: reason.into() }
    }

    fn attempted(&self, epoch: &Epoch<'_>) -> String {
        let what = match epoch.epochs.publishing {
            CheckpointId::FINAL => "the rows at the job's end".to_owned(),
            checkpoint => format!("the rows of {checkpoint}"),
        };
        format!("write {what} to topic '{}' at {}", self.options.topic, self.options.servers)
    }

    /// Between half and all of a pause.
    fn jittered(&self, pause: Duration) -> Duration {
        let share = (self.seams.entropy.next() >> 32) as f64 / f64::from(u32::MAX);
        pause.mul_f64(0.5 + share / 2.0)
    }
}

fn expired(took: Duration, limit: Duration, told: &str) -> Trouble {
    Trouble::Expired(KafkaError::Broken {
        reason: format!(
            "the transaction took {} s, and brokers abort it after {} s: the next may last longer; a larger \
             'sink.transaction-timeout', or checkpoints that follow each other sooner, would save the tries ({told})",
            took.as_secs(),
            limit.as_secs()
        ),
    })
}

/// Asks about progress, and takes silence for an error.
async fn answered_or<T>(question: impl Future<Output = Result<T, Unread>>) -> Result<T, Unread> {
    let silent = |_| Unread::Late(format!("there was no answer within {} s", ANSWERED_WITHIN.as_secs()));
    timeout(ANSWERED_WITHIN, question).await.map_err(silent)?
}

#[async_trait]
impl SinkCommitter for KafkaCommitter {
    async fn commit(&self, epochs: Epochs, committables: &[Value]) -> Result<(), ConnectorError> {
        // Other writers have written everything at once. They are told if there are rows that they could not write.
        if self.options.delivery != Delivery::ExactlyOnce {
            return Ok(());
        }
        let staged: Vec<Staged> = committables.iter().map(Staged::of_committable).collect::<Result<_, _>>()?;
        let rows = staged.iter().fold(0u64, |rows, staged| rows.saturating_add(staged.rows));
        let progress = Progress::of(&epochs, rows, Staged::digest(&staged));
        let store = match staged.iter().any(Staged::has_objects) {
            true => Some(CheckpointStore::open(&self.identity.checkpoints, &self.stores)?),
            false => None,
        };
        self.publish(&Epoch { epochs, staged: &staged, progress, store }).await
    }

    async fn discard(&self, cluster: &ClusterId, job: JobId, before: Attempt) -> Result<(), ConnectorError> {
        if self.options.delivery != Delivery::ExactlyOnce {
            return Ok(());
        }
        // A job that is over needs its producer no more.
        if before == thalweg_types::session::ALL_ATTEMPTS {
            self.kept.forget(&self.identity);
        }
        let store = CheckpointStore::open(&self.identity.checkpoints, &self.stores)?;
        staging::discard(&store, (cluster, job), self.identity.sink, before).await
    }
}

#[cfg(test)]
mod tests;
