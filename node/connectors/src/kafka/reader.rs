//! Reads one partition.
//!
//! ```text
//! waits until the topic is known to be the split's -> claims the partition -> reads -- end --> End
//!       ^                                                                       |
//!       '-- the client says that the topic is gone, or the offset out of range -'
//! ```
//!
//! The position is the next offset: behind the records that were given, and once all are given, behind what follows them that is
//! no record (the ends of transactions, what compaction left out). So a table that ends does so whatever lies before the end.
//!
//! Brokers that do not answer are waited for. Only what cannot come back is an error, or skipped with a warning.

mod losses;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_trait::async_trait;
use thalweg_kafka::{Fetched, KafkaError, OutOfRange, PartitionReader, Position, Record, TopicPartition};
use thalweg_types::{Split, job::FailureKind, text::with_causes};
use tokio::{sync::watch, time::sleep};

use super::{
    faults::{failed, is_passing},
    metadata::PartitionRows,
    payload::{LastRead, PartitionSplit},
    table::{Claim, KafkaTable},
    watch::{Fate, OpenPartition},
};
use crate::{ConnectorError, LaterSplit, Read, SplitReader, record_rows::Rows};

/// The most bytes of records that become one batch, unless one record alone has more.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// How many records are asked for before it is known how large they are.
const FIRST_RECORDS: usize = 16;
/// How often it is asked whether the client can read.
const LOOKED_EVERY: Duration = Duration::from_secs(1);
/// So many looks may see records that do not come: they may be on their way.
const BEHIND_MAX: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A column that so many records lack is likely to have another name.
const ABSENT_AFTER: u64 = 1000;

/// What a reader needs.
pub(super) struct Reading {
    pub(super) table: Arc<KafkaTable>,
    pub(super) split: Split,
    pub(super) partition: PartitionSplit,
    pub(super) open: Arc<OpenPartition>,
    pub(super) rows: PartitionRows,
    pub(super) batch_rows: usize,
    pub(super) keeps_dead_letters: bool,
}

pub(super) struct KafkaReader {
    table: Arc<KafkaTable>,
    split: Arc<SplitOf>,
    open: Arc<OpenPartition>,
    fate: watch::Receiver<Fate>,
    rows: PartitionRows,
    batch_rows: usize,
    keeps_dead_letters: bool,
    /// `None`: it is not read now.
    partition: Option<Claimed>,
    /// Records that are read and not given.
    pending: VecDeque<Record>,
    /// How many records are asked for.
    wanted: usize,
    position: i64,
    /// What is known of the last record that was given.
    last_read: Option<LastRead>,
    /// A record at the end or behind it was seen.
    is_over: bool,
    /// `Read::Waiting` was said, and nothing else since.
    is_waiting: bool,
    /// How long to wait before the next try, after a failure that may pass.
    rest: Option<Duration>,
    /// How long the next such wait is.
    pause: Duration,
    /// The client has said that the partition does not have the position, and why.
    out_of_range: Option<OutOfRange>,
    /// The last look when the client began to tell of trouble, or records to be missing; `None`: all is well.
    asked: Option<u64>,
    /// How many times in a row there were records to be read, and none came.
    behind: u32,
    /// The leader epoch of the last record: one topic's only grows.
    epoch: Option<i32>,
    /// How many records became rows or dead letters.
    given: u64,
    has_told_absent: bool,
}

/// What stays the same of a split while it is read.
struct SplitOf {
    split: Split,
    partition: PartitionSplit,
}

struct Claimed {
    reader: Box<dyn PartitionReader>,
    _claim: Claim,
}

impl KafkaReader {
    pub(super) fn new(reading: Reading) -> Self {
        let Reading { table, split, partition, open, rows, batch_rows, keeps_dead_letters } = reading;
        let (position, last_read) = (partition.offset, partition.last_read);
        Self {
            last_read,
            table,
            fate: open.fate(),
            open,
            rows,
            batch_rows: batch_rows.max(1),
            keeps_dead_letters,
            partition: None,
            pending: VecDeque::new(),
            wanted: FIRST_RECORDS,
            position,
            is_over: partition.end.is_some_and(|end| position >= end),
            is_waiting: false,
            rest: None,
            pause: FIRST_PAUSE,
            out_of_range: None,
            asked: None,
            behind: 0,
            epoch: None,
            given: 0,
            has_told_absent: false,
            split: Arc::new(SplitOf { split, partition }),
        }
    }

    fn at(&self) -> &TopicPartition {
        &self.split.partition.at
    }

    fn end(&self) -> Option<i64> {
        self.split.partition.end
    }

    /// Behind the last record, if that is known: only there brokers can tell whether it is still the same.
    fn reading_from(&self) -> Position {
        match self.last_read {
            Some(LastRead { next, leader_epoch }) => Position { offset: next, leader_epoch: Some(leader_epoch) },
            None => Position { offset: self.position, leader_epoch: None },
        }
    }

    fn set_position(&mut self, position: i64) {
        self.position = position;
        self.open.set_position(position);
        self.is_over |= self.end().is_some_and(|end| position >= end);
    }

    /// Gives the records that are read, or as many of them as become one batch.
    async fn give(&mut self) -> Result<Read, ConnectorError> {
        let mut bytes = 0;
        let fits = |record: &&Record| {
            bytes += size_of(record);
            bytes <= BATCH_BYTES_MAX
        };
        let count = self.pending.iter().take(self.batch_rows).take_while(fits).count().max(1);
        let decoding = self.rows.decode(&self.pending.make_contiguous()[..count]);
        // Only a registry of schemas makes it wait. What it has answered is known when it is asked again.
        let decoded = match self.is_waiting {
            true => decoding.await,
            false => tokio::select! {
                biased;
                decoded = decoding => decoded,
                () = sleep(LOOKED_EVERY) => {
                    self.cannot_read("the registry of schemas has not answered yet");
                    return Ok(Read::Waiting);
                }
            },
        };
        let Rows { batch, dead_letters } = match decoded {
            Ok(rows) => rows,
            // A registry of schemas does not answer, for example. The records stay.
            Err(error) if error.failure_kind() == FailureKind::Store => return Ok(self.wait_after(&error)),
            Err(error) => return Err(error),
        };
        self.table.notices.tell_lost(self.rows.lost(), &self.at().topic);
        self.pause = FIRST_PAUSE;
        if let Some(first) = dead_letters.first().filter(|_| !self.keeps_dead_letters) {
            return Err(ConnectorError::Record { position: first.position.clone(), reason: first.reason.clone() });
        }
        self.can_read();
        let last = self.pending.drain(..count).next_back();
        if let Some(last) = last {
            let next = last.offset + 1;
            self.last_read = last.leader_epoch.map(|leader_epoch| LastRead { next, leader_epoch });
            self.set_position(next);
        }
        self.count(count as u64);
        Ok(Read::Records { batch, dead_letters })
    }

    /// Counts records. Tells of columns that none of the first ones had.
    fn count(&mut self, count: u64) {
        self.given += count;
        if self.given >= ABSENT_AFTER {
            self.tell_absent();
        }
    }

    /// Tells once of columns that no record had, if there was one. It is called when there are many, or all of them for now.
    fn tell_absent(&mut self) {
        if self.given > 0 && !std::mem::replace(&mut self.has_told_absent, true) {
            self.table.notices.tell_absent(self.rows.absent(), &self.at().topic);
        }
    }

    /// Reads on until there are records, or something else to say.
    async fn fetch(&mut self) -> Result<Option<Read>, ConnectorError> {
        let Some(Claimed { reader, .. }) = &mut self.partition else { return self.begin().await };
        tokio::select! {
            biased;
            _ = self.fate.changed() => {
                self.fate.mark_changed();
                Ok(None)
            }
            fetched = reader.next(self.wanted) => self.on_fetched(fetched),
            () = sleep(LOOKED_EVERY) => {
                let trouble = reader.trouble();
                Ok(self.on_silence(trouble))
            }
        }
    }

    /// Nothing was read for a while. A partition is caught up only if its leader says so: what the client tells of its
    /// connections is not of this partition alone, ends after a while, and is nothing where no broker leads it.
    fn on_silence(&mut self, trouble: Option<String>) -> Option<Read> {
        // The end that was told may be of before the last records.
        self.behind = if self.open.backlog() > 0 { self.behind + 1 } else { 0 };
        let why = match trouble {
            _ if !self.open.has_leader() => Some("no broker leads it".to_owned()),
            None if self.behind >= BEHIND_MAX => {
                Some("brokers have more records of it, and they do not come".to_owned())
            }
            None if self.table.is_look_slow() => Some("brokers take long to tell where partitions end".to_owned()),
            trouble => trouble,
        };
        if why.is_none() && self.asked.is_none() {
            return self.can_read().then_some(Read::CaughtUp);
        }
        self.open.set_troubled(true);
        let since = *self.asked.get_or_insert_with(|| self.table.look_soon());
        if self.open.has_leader() && self.behind == 0 && self.open.is_answered_since(since) {
            if why.is_none() {
                self.calm();
            }
            return self.can_read().then_some(Read::CaughtUp);
        }
        self.cannot_read(why.as_deref().unwrap_or("its leader has not told that there is nothing more"))
    }

    /// Nothing is wrong with the partition.
    fn calm(&mut self) {
        (self.asked, self.behind) = (None, 0);
        self.open.set_troubled(false);
    }

    fn on_fetched(&mut self, fetched: Result<Fetched, KafkaError>) -> Result<Option<Read>, ConnectorError> {
        match fetched {
            Ok(Fetched::Records(records)) => {
                self.calm();
                self.take(records);
                Ok(None)
            }
            Ok(Fetched::CaughtUp) => {
                self.calm();
                self.can_read();
                self.tell_absent();
                let position = self.partition.as_ref().map_or(self.position, |partition| partition.reader.position());
                self.set_position(position.max(self.position));
                self.open.set_end(self.position);
                Ok((!self.is_over).then_some(Read::CaughtUp))
            }
            // A topic that was made anew does not have it either, which is found out first.
            Err(error @ (KafkaError::OffsetOutOfRange { .. } | KafkaError::NoTopic { .. })) => {
                self.out_of_range = if let KafkaError::OffsetOutOfRange { why, .. } = error { Some(why) } else { None };
                self.doubt();
                Ok(None)
            }
            Err(error @ KafkaError::Unavailable { .. }) => {
                self.partition = None;
                Ok(Some(self.wait_after(&error)))
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Whether the topic is still the split's has to be found out again.
    fn doubt(&mut self) {
        self.partition = None;
        self.table.doubt(&self.open);
    }

    fn take(&mut self, mut records: Vec<Record>) {
        for epoch in records.iter().filter_map(|record| record.leader_epoch) {
            if self.epoch.replace(epoch).is_some_and(|before| epoch < before) {
                // They may be another topic's. If not, they are read again.
                self.epoch = None;
                return self.doubt();
            }
        }
        if let Some(end) = self.end() {
            let before = records.len();
            records.retain(|record| record.offset < end);
            self.is_over |= records.len() < before;
        }
        let bytes: usize = records.iter().map(size_of).sum();
        let average = (bytes / records.len().max(1)).max(1);
        self.wanted = (BATCH_BYTES_MAX / average).clamp(1, self.batch_rows);
        self.pending.extend(records);
    }

    /// Begins to read, if the topic is known to be the split's.
    async fn begin(&mut self) -> Result<Option<Read>, ConnectorError> {
        if *self.fate.borrow() == Fate::Unknown {
            return Ok(tokio::select! {
                _ = self.fate.changed() => {
                    self.fate.mark_changed();
                    None
                }
                () = sleep(LOOKED_EVERY) => self.cannot_read("brokers do not tell that its topic is still the same"),
            });
        }
        if let Some(why) = self.out_of_range {
            return self.find_range(why).await;
        }
        let claim = tokio::select! {
            claim = self.table.claim(self.at()) => claim,
            // Another topic of this name was read, and its reader is about to end.
            () = sleep(LOOKED_EVERY) => return Ok(None),
        };
        if !self.table.options.topics.has(&self.at().topic) {
            self.table.notices.tell(&format!("topic {}", self.at().topic), || {
                format!("topic '{}' is read no more: the table names others now", self.at().topic)
            });
            self.is_over = true;
            return Ok(None);
        }
        let (table, at, from) = (self.table.clone(), self.at().clone(), self.reading_from());
        let opening = async move { Ok(table.consumer().await?.read_from(&at, from).await) };
        let opened: Result<_, ConnectorError> = match self.is_waiting {
            true => opening.await,
            false => tokio::select! {
                biased;
                opened = opening => opened,
                // The next call begins anew, and waits for it however long.
                () = sleep(LOOKED_EVERY) => return Ok(self.cannot_read("the client takes long to begin")),
            },
        };
        match opened? {
            Ok(reader) => {
                self.partition = Some(Claimed { reader, _claim: claim });
                Ok(None)
            }
            Err(error) if is_passing(&error) => {
                drop(claim);
                Ok(Some(self.wait_after(&error)))
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// What is known of the topic has changed.
    fn on_fate(&mut self) -> Result<(), ConnectorError> {
        let fate = self.fate.borrow_and_update().clone();
        let topic = self.at().topic.clone();
        match fate {
            Fate::Readable => {}
            // What was read and not given may be another topic's. It is read again.
            Fate::Unknown => {
                self.partition = None;
                self.pending.clear();
                self.is_over = self.end().is_some_and(|end| self.position >= end);
            }
            Fate::Refused(error) => return Err(self.failed(error)),
            Fate::Remade => {
                self.pending.clear();
                let then = match self.table.options.discovery {
                    Some(_) => "the new one is read from its beginning",
                    None => {
                        "nothing of the new one is read: the table looks for no partitions after the job's beginning"
                    }
                };
                self.lose_rest(format!("topic '{topic}' was deleted and made anew"), then.to_owned())?;
            }
            Fate::Gone => {
                self.lose_rest(
                    format!("topic '{topic}' was deleted, or this partition of it"),
                    "others are read on".to_owned(),
                )?;
            }
        }
        Ok(())
    }

    fn failed(&self, error: KafkaError) -> ConnectorError {
        failed(&self.table.name, format!("read {} from offset {}", self.at(), self.position), error)
    }

    /// Nothing can be read now. Says so once.
    fn cannot_read(&mut self, why: &str) -> Option<Read> {
        self.table.set_unreachable(&self.open, Some(why));
        (!std::mem::replace(&mut self.is_waiting, true)).then_some(Read::Waiting)
    }

    /// It can be read again. Returns whether it could not before.
    fn can_read(&mut self) -> bool {
        self.table.set_unreachable(&self.open, None);
        std::mem::take(&mut self.is_waiting)
    }

    /// Before the next try some time passes, after a failure that may pass too.
    fn wait_after(&mut self, error: &(dyn std::error::Error + Send + Sync + 'static)) -> Read {
        self.cannot_read(&with_causes(error));
        self.rest = Some(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Read::Waiting
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.table.set_unreachable(&self.open, None);
    }
}

fn size_of(record: &Record) -> usize {
    /// What a record takes beside its bytes.
    const FRAME: usize = 96;
    let of = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + of(value)).sum();
    FRAME + of(&record.key) + of(&record.value) + headers
}

#[async_trait]
impl SplitReader for KafkaReader {
    async fn next(&mut self) -> Result<Read, ConnectorError> {
        if let Some(rest) = self.rest.take() {
            sleep(rest).await;
        }
        loop {
            if self.fate.has_changed().unwrap_or(false) {
                self.on_fate()?;
            }
            if !self.pending.is_empty() {
                return self.give().await;
            }
            if self.is_over {
                self.partition = None;
                self.tell_absent();
                let end = self.end().unwrap_or(self.position);
                self.set_position(self.position.max(end));
                return Ok(Read::End);
            }
            if let Some(read) = self.fetch().await? {
                return Ok(read);
            }
        }
    }

    fn position(&self) -> Split {
        self.split.positioned(self.position, self.last_read)
    }

    fn later_position(&self) -> LaterSplit {
        let (split, position, last_read) = (self.split.clone(), self.position, self.last_read);
        Arc::new(move || split.positioned(position, last_read))
    }
}

impl SplitOf {
    fn positioned(&self, offset: i64, last_read: Option<LastRead>) -> Split {
        let payload = PartitionSplit { offset, last_read, ..self.partition.clone() }.payload();
        Split { payload, ..self.split.clone() }
    }
}
