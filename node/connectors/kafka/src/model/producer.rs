//! Writes records to the cluster, with and without transactions.
//!
//! Records are written as they are handed over. While brokers do not answer, they wait in a queue, whose bytes are bounded.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::timeout;

use super::{
    cluster::{Batch, Now, record_bytes},
    faults::Call,
    partition::Author,
    shared::{Limits, Shared, State},
    transactions::Answer,
};
use crate::{KafkaError, NewRecord, Producer, TopicPartition, TransactionalProducer, Transactions, partition_of_key};

pub(super) struct ModelProducer {
    shared: Arc<Shared>,
    limits: Limits,
    transactions: Option<Transactions>,
    author: Option<Author>,
    /// The sequence number of the next record of each partition.
    sequences: BTreeMap<TopicPartition, i64>,
    /// Records that brokers have not yet; at most `Limits::queue_bytes`, and one call's records.
    queue: VecDeque<(TopicPartition, NewRecord)>,
    queue_bytes: u64,
    in_transaction: bool,
    /// Whether records of the open transaction were written.
    has_written: bool,
    /// Why records were not written, until the caller is told.
    failed: Option<KafkaError>,
    /// Why the open transaction cannot be committed.
    doomed: Option<KafkaError>,
    is_fenced: bool,
    /// Whether a call about the transaction was dropped: what became of it is not known.
    unfinished: bool,
}

impl ModelProducer {
    pub(super) fn new(shared: Arc<Shared>, limits: Limits, transactions: Option<Transactions>) -> Self {
        Self {
            shared,
            limits,
            transactions,
            author: None,
            sequences: BTreeMap::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
            in_transaction: false,
            has_written: false,
            failed: None,
            doomed: None,
            is_fenced: false,
            unfinished: false,
        }
    }

    fn id(&self) -> &str {
        self.transactions.as_ref().map_or("", |transactions| &transactions.id)
    }

    fn fenced(&self) -> KafkaError {
        KafkaError::Fenced { id: self.id().to_owned() }
    }

    /// Takes its transactional id and the limit of its calls.
    fn own_transactions(&self) -> Result<Transactions, KafkaError> {
        let broken = || KafkaError::Broken { reason: "the producer has no transactions".to_owned() };
        self.transactions.clone().ok_or_else(broken)
    }

    fn check_usable(&self) -> Result<(), KafkaError> {
        self.check_alive()?;
        if self.transactions.is_some() && !self.in_transaction {
            return Err(KafkaError::Broken { reason: "no transaction is open".to_owned() });
        }
        Ok(())
    }

    fn check_alive(&self) -> Result<(), KafkaError> {
        if self.unfinished {
            return Err(KafkaError::Broken { reason: "a call was given up before it had ended".to_owned() });
        }
        if self.is_fenced { Err(self.fenced()) } else { Ok(()) }
    }

    /// Tells the caller once why records were not written.
    fn tell(&mut self) -> Result<(), KafkaError> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn fail(&mut self, error: KafkaError) {
        self.is_fenced |= matches!(error, KafkaError::Fenced { .. });
        if self.in_transaction {
            // One record that is missing dooms them all.
            self.doomed.get_or_insert_with(|| error.clone());
            self.purge();
        }
        self.failed.get_or_insert(error);
    }

    fn purge(&mut self) {
        self.queue.clear();
        self.queue_bytes = 0;
    }

    fn enqueue(&mut self, record: NewRecord) -> Result<(), KafkaError> {
        if record.is_early() {
            let reason = format!("a record of topic '{}' has a timestamp that none can have", record.topic);
            return Err(KafkaError::Refused { reason });
        }
        let partition = match (record.partition, &record.key) {
            (Some(partition), _) => Ok(partition),
            (None, key) => self.shared.with(|state, _| state.cluster.partitions_of(&record.topic)).map(|partitions| {
                let chosen = match key {
                    Some(key) => partition_of_key(key, partitions),
                    None => u32::try_from(self.shared.random() % u64::from(partitions.max(1))).unwrap_or_default(),
                };
                i32::try_from(chosen).unwrap_or_default()
            }),
        }?;
        self.queue_bytes += record_bytes(&record) as u64;
        self.queue.push_back((TopicPartition { topic: record.topic.clone(), partition }, record));
        Ok(())
    }

    /// Writes what is queued, until no more than so many bytes are left.
    async fn drain(&mut self, bytes_max: u64) {
        if self.queue.is_empty() {
            return;
        }
        let repeats = match self.shared.begin(&self.limits, Call::Produce).await {
            Ok(is_lost) => is_lost,
            Err(error) => {
                let written = self.queue.pop_front();
                self.queue_bytes -= written.map_or(0, |(_, record)| record_bytes(&record) as u64);
                return self.fail(error);
            }
        };
        let shared = self.shared.clone();
        let written = shared
            .until(|state, now| {
                let error = self.write(state, now, repeats).err();
                (error.is_some() || self.queue.is_empty() || self.queue_bytes <= bytes_max).then_some(error)
            })
            .await;
        if let Some(error) = written {
            self.fail(error);
        }
    }

    /// Writes the front of the queue, as far as brokers answer.
    fn write(&mut self, state: &mut State, now: Now, repeats: bool) -> Result<(), KafkaError> {
        while let Some((partition, record)) = self.queue.front() {
            if self.limits.is_away(state) || state.faults.leaderless.contains_key(partition) {
                return Ok(());
            }
            let author = *self.author.get_or_insert_with(|| state.cluster.new_producer());
            let transactional_id = self.transactions.as_ref().map(|transactions| transactions.id.as_str());
            let sequence = self.sequences.get(partition).copied().unwrap_or_default();
            let batch = Batch { author, transactional_id, partition, sequence, records: vec![record.clone()] };
            let again = repeats.then(|| batch.clone());
            let mut answer = state.cluster.produce(batch, now);
            if let Some(again) = again {
                answer = state.cluster.produce(again, now);
            }
            let bytes = record_bytes(record) as u64;
            match answer {
                Ok(Answer::Done(_)) => _ = self.sequences.insert(partition.clone(), sequence + 1),
                Ok(Answer::NotYet) => return Ok(()),
                Ok(Answer::Fenced | Answer::NoTransaction) => return Err(self.fenced()),
                Err(error) => {
                    self.queue.pop_front();
                    self.queue_bytes -= bytes;
                    return Err(error);
                }
            }
            self.has_written = true;
            self.queue.pop_front();
            self.queue_bytes -= bytes;
        }
        Ok(())
    }

    /// Ends the transaction at the coordinator, within a limit.
    async fn end(&mut self, call: Call, commit: bool, limit: Duration) -> Result<(), KafkaError> {
        let (id, author) = (self.id().to_owned(), self.author);
        let ended = self
            .shared
            .ask(call, &self.limits, limit, |state, now| {
                let author = author?;
                match state.cluster.end_transaction(&id, author, commit, now) {
                    Answer::Done(()) => Some(Ok(())),
                    Answer::NotYet => None,
                    Answer::Fenced => Some(Err(KafkaError::Fenced { id: id.clone() })),
                    Answer::NoTransaction => {
                        Some(Err(KafkaError::Broken { reason: format!("'{id}' has no open transaction") }))
                    }
                }
            })
            .await;
        self.is_fenced |= matches!(ended, Err(KafkaError::Fenced { .. }));
        ended
    }

    fn close_transaction(&mut self) {
        self.purge();
        (self.in_transaction, self.has_written) = (false, false);
        (self.failed, self.doomed) = (None, None);
    }
}

#[async_trait]
impl Producer for ModelProducer {
    async fn send(&mut self, records: Vec<NewRecord>) -> Result<(), KafkaError> {
        self.check_usable()?;
        self.tell()?;
        for record in records {
            if let Err(error) = self.enqueue(record) {
                self.fail(error);
                break;
            }
        }
        let limit = self.limits.delivery;
        let queue_bytes = self.limits.queue_bytes;
        if timeout(limit, self.drain(queue_bytes)).await.is_err() {
            self.fail(self.limits.unanswered(limit));
        }
        self.tell()
    }

    async fn flush(&mut self) -> Result<(), KafkaError> {
        self.check_usable()?;
        let limit = self.limits.delivery;
        if timeout(limit, self.drain(0)).await.is_err() {
            self.purge();
            self.fail(self.limits.unanswered(limit));
        }
        self.tell()
    }
}

#[async_trait]
impl TransactionalProducer for ModelProducer {
    async fn init(&mut self) -> Result<(), KafkaError> {
        self.check_alive()?;
        let transactions = self.own_transactions()?;
        let limit = Duration::from_millis(transactions.timeout_ms);
        self.unfinished = true;
        let taken = self
            .shared
            .ask(Call::Init, &self.limits, limit, |state, now| match state.cluster.init(&transactions, now) {
                Answer::Done(author) => Some(Ok(author)),
                Answer::NotYet => None,
                Answer::Fenced | Answer::NoTransaction => Some(Err(KafkaError::Fenced { id: transactions.id.clone() })),
            })
            .await;
        self.unfinished = false;
        self.author = Some(taken?);
        self.sequences.clear();
        self.close_transaction();
        Ok(())
    }

    async fn begin(&mut self) -> Result<(), KafkaError> {
        self.check_alive()?;
        let reason = match (self.author, self.in_transaction) {
            (None, _) => "init was not called",
            (Some(_), true) => "a transaction is open",
            (Some(_), false) => {
                self.close_transaction();
                self.in_transaction = true;
                return Ok(());
            }
        };
        Err(KafkaError::Broken { reason: reason.to_owned() })
    }

    async fn commit(&mut self) -> Result<(), KafkaError> {
        self.check_usable()?;
        self.unfinished = true;
        let ended = self.drain_and_commit().await;
        self.unfinished = false;
        ended?;
        self.close_transaction();
        Ok(())
    }

    async fn abort(&mut self) -> Result<(), KafkaError> {
        self.check_usable()?;
        let limit = Duration::from_millis(self.own_transactions()?.timeout_ms);
        self.purge();
        if self.has_written {
            self.unfinished = true;
            let ended = self.end(Call::Abort, false, limit).await;
            self.unfinished = false;
            ended?;
        }
        self.close_transaction();
        Ok(())
    }
}

impl ModelProducer {
    async fn drain_and_commit(&mut self) -> Result<(), KafkaError> {
        let limit = Duration::from_millis(self.own_transactions()?.timeout_ms);
        if timeout(limit, self.drain(0)).await.is_err() {
            self.fail(self.limits.unanswered(limit));
        }
        if self.is_fenced {
            return Err(self.fenced());
        }
        if let Some(error) = self.doomed.clone() {
            return Err(error.of_transaction());
        }
        if !self.has_written {
            return Ok(());
        }
        let ended = self.end(Call::Commit, true, limit).await;
        if let Err(KafkaError::Unavailable { reason }) = ended {
            return Err(KafkaError::Broken { reason });
        }
        ended
    }
}
