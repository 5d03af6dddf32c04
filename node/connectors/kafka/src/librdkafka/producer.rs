//! Writes records, with and without transactions.
//!
//! What became of a record is told by its delivery report, which a thread of the client takes. Calls that end a transaction wait in C, so each
//! has a thread; they are made in short turns, so that one whose producer is dropped ends soon.
//!
//! A record that librdkafka does not take, since it is too large, is none of its failures: a commit would go through without it. So the
//! producer itself remembers that a transaction is doomed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use rdkafka::{
    error::{KafkaError as NativeError, RDKafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use tokio::{task::yield_now, time::timeout};

use super::{
    context::{Context, Undelivered},
    failures::{Kind, Place, kind_of},
    native::{self, Failure},
    threads,
};
use crate::{KafkaError, NewRecord, Producer, TopicPartition, TransactionalProducer, Transactions};

/// librdkafka may end a transaction that brokers have not begun yet, since the one before it is still ending. They refuse that, and the client
/// cannot go on. So records are waited for before they are given up, for a while.
const SETTLE_BEFORE_ABORT: Duration = Duration::from_secs(5);
/// So many records are handed over before other tasks get their turn.
const RECORDS_AT_ONCE: usize = 1_000;
/// How long one turn of a call that waits in C may take.
const TURN: Duration = Duration::from_secs(1);

pub(super) struct RdProducer {
    client: Arc<BaseProducer<Context>>,
    context: Context,
    transactions: Option<Transactions>,
    in_transaction: bool,
    /// Why the open transaction cannot be committed.
    doomed: Option<KafkaError>,
    /// Whether a call that waits in C was begun and not waited for.
    unfinished: bool,
    /// Ends such calls.
    dropped: Arc<AtomicBool>,
}

impl RdProducer {
    pub(super) fn new(
        client: Arc<BaseProducer<Context>>,
        context: Context,
        transactions: Option<Transactions>,
    ) -> Result<Self, KafkaError> {
        threads::serve("kafka-producer", client.clone(), |client| client.poll(threads::TICK))?;
        Ok(Self {
            client,
            context,
            transactions,
            in_transaction: false,
            doomed: None,
            unfinished: false,
            dropped: Arc::default(),
        })
    }

    fn id(&self) -> &str {
        self.transactions.as_ref().map_or("", |transactions| &transactions.id)
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(self.transactions.as_ref().map_or(0, |transactions| transactions.timeout_ms))
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
        self.check_let_in()
    }

    /// Whether brokers still take what this client sends.
    fn check_let_in(&self) -> Result<(), KafkaError> {
        let refusal = self.context.denial().or_else(|| self.fatal());
        refusal.map_or(Ok(()), Err)
    }

    /// What keeps the client from going on, if something does.
    fn fatal(&self) -> Option<KafkaError> {
        let (code, reason) = self.client.client().fatal_error()?;
        let failure = Failure { code, reason };
        let error = self.context.error_of(&failure, Place::Id(self.id()));
        match kind_of(code) {
            Kind::Fenced | Kind::Denied | Kind::Config => Some(error),
            Kind::NoTopic | Kind::Refused | Kind::Busy | Kind::Unavailable | Kind::Broken => {
                Some(KafkaError::Broken { reason: error.to_string() })
            }
        }
    }

    /// Tells why records were not written, if some were not.
    fn tell(&mut self) -> Result<(), KafkaError> {
        match self.context.take_undelivered() {
            Some(undelivered) => Err(self.fail(&undelivered)),
            None => Ok(()),
        }
    }

    /// The error of a record that was not written.
    fn fail(&mut self, undelivered: &Undelivered) -> KafkaError {
        let Undelivered { of, failure } = undelivered;
        // Records of a producer that cannot go on are given up one by one.
        let error = self.fatal().unwrap_or_else(|| self.context.error_of(failure, Place::Partition(of, -1)));
        if self.in_transaction {
            // One record that is missing dooms them all.
            self.doomed.get_or_insert_with(|| error.clone());
        }
        error
    }

    /// Hands a record over; waits while the queue is full.
    async fn hand_over(&mut self, record: &NewRecord) -> Result<(), KafkaError> {
        loop {
            let done = self.context.done();
            let Err(code) = self.try_to_hand_over(record) else { return Ok(()) };
            if code == RDKafkaErrorCode::QueueFull && self.context.outstanding() > 0 {
                self.context.room_after(done).await;
                self.check_let_in()?;
                self.tell()?;
                continue;
            }
            let of = TopicPartition { topic: record.topic.clone(), partition: record.partition.unwrap_or(-1) };
            let reason = match code {
                RDKafkaErrorCode::QueueFull => "the record is larger than the client's queue".to_owned(),
                code => code.to_string(),
            };
            let code = if code == RDKafkaErrorCode::QueueFull { RDKafkaErrorCode::MessageSizeTooLarge } else { code };
            return Err(self.fail(&Undelivered { of, failure: Failure { code, reason } }));
        }
    }

    fn try_to_hand_over(&self, record: &NewRecord) -> Result<(), RDKafkaErrorCode> {
        if record.is_early() {
            return Err(RDKafkaErrorCode::InvalidTimestamp);
        }
        let native: BaseRecord<'_, [u8], [u8]> = BaseRecord {
            topic: &record.topic,
            partition: record.partition,
            payload: record.value.as_deref(),
            key: record.key.as_deref(),
            timestamp: record.timestamp_ms,
            headers: headers_of(record),
            delivery_opaque: (),
        };
        // Before the report can come.
        self.context.on_sent();
        self.client.send(native).map_err(|(error, _)| {
            self.context.on_unsent();
            error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::InvalidArgument)
        })
    }

    /// Waits until something became of all records that were handed over.
    async fn settle(&mut self) -> Result<(), KafkaError> {
        let (client, dropped) = (self.client.clone(), self.dropped.clone());
        // If nobody waits for it any more, its thread ends: the next call has one of its own.
        let waiting = Arc::new(());
        let waited = Arc::downgrade(&waiting);
        let settle = move || {
            // Each record is given up at its time, so this ends.
            while !native::flush(client.as_ref(), TURN.as_millis().try_into().unwrap_or(i32::MAX)) {
                if dropped.load(Ordering::Acquire) || waited.strong_count() == 0 {
                    return;
                }
            }
        };
        let context = self.context.clone();
        tokio::select! {
            biased;
            settled = threads::call("kafka-flush", settle) => settled?,
            error = context.denied() => return Err(error),
        }
        drop(waiting);
        self.check_let_in()?;
        self.tell()
    }

    /// Makes a call about the transaction, in turns while librdkafka says that it may go on, within the limit.
    async fn turns(
        &self,
        name: &'static str,
        call: fn(&BaseProducer<Context>, Duration) -> Result<(), NativeError>,
    ) -> Result<(), Failed> {
        let (client, context, dropped) = (self.client.clone(), self.context.clone(), self.dropped.clone());
        let deadline = context.now() + self.limit();
        let turns = move || loop {
            match call(&client, TURN) {
                Err(error) if is_retriable(&error) && context.now() < deadline && !dropped.load(Ordering::Acquire) => {}
                ended => return ended,
            }
        };
        let ended = tokio::select! {
            biased;
            ended = threads::call(name, turns) => ended.map_err(Failed::Error)?,
            error = self.context.denied() => return Err(Failed::Error(error)),
        };
        ended.map_err(Failed::of)
    }

    fn close_transaction(&mut self) {
        self.in_transaction = false;
        self.doomed = None;
        self.context.take_undelivered();
    }

    /// An error of a call about the transaction.
    fn error_of(&self, failed: Failed) -> KafkaError {
        let (failure, requires_abort) = match failed {
            Failed::Error(error) => return error,
            Failed::Native { failure, requires_abort } => (failure, requires_abort),
        };
        if let Some(error) = self.fatal() {
            return error;
        }
        let error = self.context.error_of(&failure, Place::Id(self.id()));
        if requires_abort { KafkaError::Aborted { reason: error.to_string() } } else { error }
    }
}

/// Gives up what was not written, so that nothing is when nobody knows any more. What was handed over without transactions should have been
/// flushed.
impl Drop for RdProducer {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Release);
        native::purge(self.client.as_ref());
    }
}

/// Why a call about a transaction failed.
enum Failed {
    Error(KafkaError),
    Native { failure: Failure, requires_abort: bool },
}

impl Failed {
    fn of(error: NativeError) -> Self {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let requires_abort = transaction_error(&error).is_some_and(RDKafkaError::txn_requires_abort);
        let reason = transaction_error(&error).map_or_else(|| error.to_string(), RDKafkaError::string);
        Self::Native { failure: Failure { code, reason }, requires_abort }
    }
}

fn transaction_error(error: &NativeError) -> Option<&RDKafkaError> {
    match error {
        NativeError::Transaction(error) => Some(error),
        _ => None,
    }
}

fn is_retriable(error: &NativeError) -> bool {
    transaction_error(error).is_some_and(RDKafkaError::is_retriable)
}

fn headers_of(record: &NewRecord) -> Option<OwnedHeaders> {
    if record.headers.is_empty() {
        return None;
    }
    let add =
        |headers: OwnedHeaders, (key, value): &crate::Header| headers.insert(Header { key, value: value.as_deref() });
    Some(record.headers.iter().fold(OwnedHeaders::new_with_capacity(record.headers.len()), add))
}

#[async_trait]
impl Producer for RdProducer {
    async fn send(&mut self, records: Vec<NewRecord>) -> Result<(), KafkaError> {
        self.check_usable()?;
        self.tell()?;
        for chunk in records.chunks(RECORDS_AT_ONCE) {
            for record in chunk {
                self.hand_over(record).await?;
            }
            yield_now().await;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), KafkaError> {
        self.check_usable()?;
        self.settle().await
    }
}

#[async_trait]
impl TransactionalProducer for RdProducer {
    async fn init(&mut self) -> Result<(), KafkaError> {
        self.check_alive()?;
        self.unfinished = true;
        let ended = self.turns("kafka-init", |client, turn| client.init_transactions(turn)).await;
        self.unfinished = false;
        ended.map_err(|failed| self.error_of(failed))?;
        self.context.on_let_in();
        self.close_transaction();
        Ok(())
    }

    async fn begin(&mut self) -> Result<(), KafkaError> {
        self.check_alive()?;
        if self.in_transaction {
            return Err(KafkaError::Broken { reason: "a transaction is open".to_owned() });
        }
        // It asks no broker.
        self.client.begin_transaction().map_err(|error| self.error_of(Failed::of(error)))?;
        self.close_transaction();
        self.in_transaction = true;
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), KafkaError> {
        self.check_usable()?;
        self.unfinished = true;
        let ended = self.settle_and_commit().await;
        self.unfinished = false;
        ended?;
        self.close_transaction();
        Ok(())
    }

    async fn abort(&mut self) -> Result<(), KafkaError> {
        self.check_usable()?;
        self.unfinished = true;
        if self.context.outstanding() > 0 {
            // What became of them does not matter any more.
            timeout(SETTLE_BEFORE_ABORT, self.settle()).await.ok();
        }
        let ended = self.turns("kafka-abort", |client, turn| client.abort_transaction(turn)).await;
        self.unfinished = false;
        ended.map_err(|failed| self.error_of(failed))?;
        self.close_transaction();
        Ok(())
    }
}

impl RdProducer {
    async fn settle_and_commit(&mut self) -> Result<(), KafkaError> {
        if self.doomed.is_none() {
            match self.settle().await {
                Err(error @ (KafkaError::Fenced { .. } | KafkaError::Denied { .. } | KafkaError::Broken { .. })) => {
                    return Err(error);
                }
                Err(error) => self.doomed = Some(error),
                Ok(()) => {}
            }
        }
        if let Some(error) = self.doomed.clone() {
            return Err(error.of_transaction());
        }
        let ended = self.turns("kafka-commit", |client, turn| client.commit_transaction(turn)).await;
        ended.map_err(|failed| unknown(self.error_of(failed)))
    }
}

/// An error of a commit: where it is not known whether it went through, the client cannot go on.
fn unknown(error: KafkaError) -> KafkaError {
    match error {
        KafkaError::Fenced { .. } | KafkaError::Aborted { .. } | KafkaError::Denied { .. } => error,
        KafkaError::Config { .. }
        | KafkaError::Unavailable { .. }
        | KafkaError::NoTopic { .. }
        | KafkaError::OffsetOutOfRange { .. }
        | KafkaError::Refused { .. }
        | KafkaError::Broken { .. } => KafkaError::Broken { reason: error.to_string() },
    }
}
