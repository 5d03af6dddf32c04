//! Reads one shard.
//!
//! ```text
//! the stream is known to be the split's -> is the last record that was read still there? -> reads -- end --> End, its children
//!       ^                                          '-- no: loss.rs                           |
//!       '------------ the client says that stream, shard or position are gone ---------------'
//! ```
//!
//! The position is the last record that was given, and the time by which all that had arrived was read. Kinesis goes on behind a
//! position that retention has passed without a word. So a reader that begins behind a record asks for that record first, and
//! so does one that comes near the end of the retention.
//!
//! What does not answer is waited for, what refuses is asked less often. Only what cannot come back is an error, or skipped with
//! a warning (`trouble.rs`).

mod trouble;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use thalweg_kinesis::{ChildShard, Record, SequenceNumber, Start};
use thalweg_types::{Split, SplitId, job::FailureKind, text::with_causes};
use tokio::time::sleep;

use super::{
    enumerator::later_beginning,
    faults::Backoff,
    fetch::{Fetch, Fetched, Polling, Subscribing},
    loss::{self, Missing},
    metadata::ShardRows,
    open::OpenShard,
    options::ReaderType,
    pace::Pace,
    payload::{Place, Position, ShardSplit, piece_name},
    table::KinesisTable,
    unpack::Pending,
};
use crate::{ConnectorError, LaterSplit, Read, SplitReader, Successor, decoding::DecodingTurn, record_rows::Rows};

/// The most bytes of records that become one batch, unless one record alone has more.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// What a page may have.
const PAGE_BYTES_MAX: u64 = 10 << 20;
/// What is taken of the memory for a page at least.
const PAGE_BYTES_MIN: u64 = 256 << 10;
/// A column that so many records lack is likely to have another name.
const ABSENT_AFTER: u64 = 1000;

/// What a reader needs.
pub(super) struct Reading {
    pub(super) table: Arc<KinesisTable>,
    pub(super) split: Split,
    pub(super) shard: ShardSplit,
    pub(super) open: Arc<OpenShard>,
    pub(super) rows: ShardRows,
    pub(super) batch_rows: usize,
    pub(super) keeps_dead_letters: bool,
}

pub(super) struct ShardReader {
    table: Arc<KinesisTable>,
    split: Arc<SplitOf>,
    open: Arc<OpenShard>,
    rows: ShardRows,
    batch_rows: usize,
    keeps_dead_letters: bool,
    fetch: Box<dyn Fetch>,
    records_max: usize,
    pace: Pace,
    backoff: Backoff,
    /// Records that are read and not given.
    pending: Pending,
    /// The memory of those.
    turn: Option<DecodingTurn>,
    /// The position once all of them are given.
    behind_pending: Option<Place>,
    position: Position,
    /// The last record that was read must be the first to come.
    check: Option<SequenceNumber>,
    /// Whether the stream is known to be the split's.
    is_known: bool,
    /// How many looks in a row have seen no stream.
    seen_gone: u32,
    end: Option<Vec<ChildShard>>,
    /// `Read::Waiting` was said, and nothing else since.
    is_waiting: bool,
    /// Of the last page.
    page_bytes: u64,
    /// Of its records, on average.
    record_bytes: u64,
    /// How many records became rows or dead letters.
    given: u64,
}

/// What stays the same of a split while it is read.
struct SplitOf {
    split: Split,
    shard: ShardSplit,
}

impl ShardReader {
    pub(super) fn new(reading: Reading) -> Self {
        let Reading { table, split, shard, open, rows, batch_rows, keeps_dead_letters } = reading;
        let (fetch, records_max, empty_interval): (Box<dyn Fetch>, usize, Duration) = match &table.options.reader {
            ReaderType::Polling { records_max, empty_interval } => {
                (Box::new(Polling::new(table.stream().clone(), shard.shard.clone())), *records_max, *empty_interval)
            }
            ReaderType::FanOut(options) => {
                let subscribing = Subscribing::new(table.clone(), options.clone(), shard.shard.clone());
                (Box::new(subscribing), usize::MAX, Duration::ZERO)
            }
        };
        let check = match &shard.position {
            Position::Behind(place) => Some(place.sequence_number.clone()),
            Position::TrimHorizon | Position::Timestamp(_) => None,
        };
        Self {
            open,
            rows,
            batch_rows: batch_rows.max(1),
            keeps_dead_letters,
            fetch,
            records_max,
            pace: Pace::new(empty_interval),
            backoff: Backoff::default(),
            pending: Pending::new(shard.hash_keys, table.options.foreign),
            turn: None,
            behind_pending: None,
            position: shard.position.clone(),
            check,
            is_known: false,
            seen_gone: 0,
            end: None,
            is_waiting: false,
            page_bytes: 0,
            record_bytes: 1 << 10,
            given: 0,
            split: Arc::new(SplitOf { split, shard }),
            table,
        }
    }

    fn shard(&self) -> &ShardSplit {
        &self.split.shard
    }

    /// Gives the records that are read, or as many of them as become one batch.
    async fn give(&mut self) -> Result<Read, ConnectorError> {
        let records = self.pending.batch(self.batch_rows, BATCH_BYTES_MAX);
        let count = records.len();
        let decoded = self.rows.decode(records).await;
        let Rows { batch, dead_letters } = match decoded {
            Ok(rows) => rows,
            // A registry of schemas does not answer, for example. The records stay.
            Err(error) if error.failure_kind() == FailureKind::Store => {
                self.open.set_unreachable(|| with_causes(&error));
                let pause = self.backoff.take(&self.table.seams);
                self.pace.on_failure(self.table.seams.clock.monotonic(), pause);
                return Ok(Read::Waiting);
            }
            Err(error) => return Err(error),
        };
        if let Some(first) = dead_letters.first().filter(|_| !self.keeps_dead_letters) {
            return Err(ConnectorError::Record { position: first.position.clone(), reason: first.reason.clone() });
        }
        self.on_read();
        if let Some(last) = self.pending.on_given(count) {
            let arrived = last.arrived_ms;
            self.position = Position::Behind(Place {
                sub: (!last.is_last).then_some(last.sub),
                arrived_ms: arrived,
                read_until_ms: arrived.unwrap_or_else(|| self.read_until_ms()),
                sequence_number: last.sequence_number,
            });
        }
        self.settle_page();
        self.tell_absent(count as u64);
        Ok(Read::Records { batch, dead_letters })
    }

    /// Once all of a page is given, the position is behind what was left out of it, too.
    fn settle_page(&mut self) {
        if self.is_page_over() {
            self.turn = None;
            if let Some(place) = self.behind_pending.take() {
                self.position = Position::Behind(place);
            }
        }
    }

    fn read_until_ms(&self) -> i64 {
        match &self.position {
            Position::Behind(place) => place.read_until_ms,
            Position::TrimHorizon | Position::Timestamp(_) => i64::MIN,
        }
    }

    /// Tells of columns that none of the first records had, once.
    fn tell_absent(&mut self, count: u64) {
        let before = self.given;
        self.given += count;
        if before < ABSENT_AFTER && self.given >= ABSENT_AFTER {
            self.table.notices.tell_absent(self.rows.absent(), &self.table.stream_name);
        }
    }

    /// Reads on until there are records, or something else to say.
    async fn advance(&mut self) -> Result<Option<Read>, ConnectorError> {
        if !self.fetch.is_sent() || self.backoff.is_running() {
            sleep(self.pace.left(self.table.seams.clock.monotonic())).await;
        }
        if !self.is_known {
            return self.know_stream().await;
        }
        // What is sent is there in any case: its memory is taken before it is decoded.
        if self.turn.is_none() && !self.fetch.is_sent() {
            let wanted = (self.page_bytes * 2).clamp(PAGE_BYTES_MIN, PAGE_BYTES_MAX);
            match self.table.decoding.try_take(wanted) {
                Some(turn) => self.turn = Some(turn),
                None if !std::mem::replace(&mut self.is_waiting, true) => return Ok(Some(Read::Waiting)),
                None => self.turn = Some(self.table.decoding.take(wanted).await),
            }
        }
        self.check_retention().await;
        let records_max = match self.turn.as_ref() {
            Some(turn) => usize::try_from(turn.bytes / self.record_bytes.max(1)).unwrap_or(usize::MAX),
            None => usize::MAX,
        };
        let start = match &self.check {
            Some(last) => Start::At(last.clone()),
            None => self.position.start(),
        };
        let began = self.table.seams.clock.monotonic();
        let began_ms = self.table.now_ms();
        match self.fetch.next(&start, records_max.clamp(1, self.records_max)).await {
            Ok(fetched) => self.on_fetched(fetched, (began, began_ms)).await,
            Err(error) => self.on_error(error).await,
        }
    }

    async fn on_fetched(
        &mut self,
        fetched: Fetched,
        (began, began_ms): (Duration, i64),
    ) -> Result<Option<Read>, ConnectorError> {
        let Fetched { mut records, behind_ms, end } = fetched;
        let has_waited = self.on_read();
        let bytes: u64 = records.iter().map(|record| (record.data.len() + record.partition_key.len()) as u64).sum();
        let is_all = behind_ms == Some(0) || end.is_some();
        self.pace.on_page(began, bytes, is_all);
        if let Some(behind_ms) = behind_ms {
            self.open.set_behind(behind_ms);
        }
        if self.check.is_some() && !self.on_checked(&mut records, is_all).await? {
            return Ok(has_waited.then_some(Read::CaughtUp));
        }
        if bytes > 0 {
            self.page_bytes = bytes;
            self.record_bytes = (bytes / records.len().max(1) as u64).max(1);
        }
        let read_until_ms = behind_ms.map(|behind| began_ms.saturating_sub(i64::try_from(behind).unwrap_or(i64::MAX)));
        self.take(records, read_until_ms);
        self.end = end;
        if !self.is_page_over() {
            return Ok(None);
        }
        self.settle_page();
        // The position may have moved, in time at least.
        Ok((self.end.is_none() && (is_all || has_waited)).then_some(Read::CaughtUp))
    }

    /// Looks whether the last record that was read is the first to come. Returns whether it is known that it is there; what
    /// follows it stays in `records`.
    async fn on_checked(&mut self, records: &mut Vec<Record>, is_all: bool) -> Result<bool, ConnectorError> {
        let Some(last) = self.check.clone() else { return Ok(true) };
        match records.first() {
            Some(first) if first.sequence_number == last => {
                // Of an aggregated record only a part may have been given.
                if !matches!(self.position, Position::Behind(Place { sub: Some(_), .. })) {
                    records.remove(0);
                }
            }
            None if !is_all => return Ok(false),
            found => {
                let found = found.map(|record| record.sequence_number.clone());
                // A call that is dropped here begins anew.
                self.fetch.restart();
                if let Missing::Lost(what) = loss::judge(&self.table, &self.position, found.as_ref()).await {
                    self.lose(&what, "it goes on from the first record that is kept")?;
                }
            }
        }
        self.check = None;
        Ok(true)
    }

    /// Takes the records of a page.
    fn take(&mut self, records: Vec<Record>, read_until_ms: Option<i64>) {
        let mut place = match &self.position {
            Position::Behind(place) => Some(place.clone()),
            Position::TrimHorizon | Position::Timestamp(_) => None,
        };
        let first = records.first().map(|record| &record.sequence_number);
        let given = place.as_ref().filter(|place| first == Some(&place.sequence_number)).and_then(|place| place.sub);
        if let Some(Record { sequence_number, arrived_ms, .. }) = records.last() {
            let before = place.as_ref().map_or(i64::MIN, |place| place.read_until_ms);
            // Some may not tell.
            let arrived = records.iter().filter_map(|record| record.arrived_ms).next_back();
            place = Some(Place {
                sequence_number: sequence_number.clone(),
                sub: None,
                arrived_ms: *arrived_ms,
                read_until_ms: arrived.unwrap_or(before),
            });
        }
        if let (Some(place), Some(read_until_ms)) = (&mut place, read_until_ms) {
            place.read_until_ms = read_until_ms;
        }
        self.behind_pending = place;
        self.pending.take(records, given);
    }

    /// Whether all of the page is given. What is left of it may belong to other shards, which is told.
    fn is_page_over(&mut self) -> bool {
        let is_over = self.pending.is_empty();
        if self.pending.take_left_out() > 0 {
            let shard = &self.split.shard.shard;
            self.table.notices.tell("other shards", || {
                format!(
                    "aggregated records of shard {shard} hold some that belong to other shards, and are left out here as by the \
                     KCL; if their producers do not send them again, 'source.aggregation.other-shards' = 'keep' reads them"
                )
            });
        }
        is_over
    }

    /// It can be read again. Returns whether `Read::Waiting` was said.
    fn on_read(&mut self) -> bool {
        self.open.set_read();
        self.backoff.reset();
        std::mem::take(&mut self.is_waiting)
    }
}

#[async_trait]
impl SplitReader for ShardReader {
    async fn next(&mut self) -> Result<Read, ConnectorError> {
        loop {
            if !self.is_page_over() {
                if self.turn.is_none() {
                    self.turn = Some(self.table.decoding.take(self.page_bytes.max(PAGE_BYTES_MIN)).await);
                }
                if self.backoff.is_running() {
                    sleep(self.pace.left(self.table.seams.clock.monotonic())).await;
                }
                return self.give().await;
            }
            if self.end.is_some() {
                self.turn = None;
                return Ok(Read::End);
            }
            if let Some(read) = self.advance().await? {
                return Ok(read);
            }
        }
    }

    fn position(&self) -> Split {
        self.split.positioned(self.position.clone())
    }

    fn later_position(&self) -> LaterSplit {
        let (split, position) = (self.split.clone(), self.position.clone());
        Arc::new(move || split.positioned(position.clone()))
    }

    fn successors(&self) -> Vec<Successor> {
        let ShardSplit { created_ms, .. } = self.split.shard;
        let successor = |child: &ChildShard| Successor {
            split: ShardSplit {
                shard: child.id.clone(),
                created_ms,
                hash_keys: child.hash_keys,
                position: later_beginning(self.table.options.init),
            }
            .into_split(),
            after: child.parents.iter().map(|parent| SplitId(piece_name(parent, created_ms))).collect(),
        };
        self.end.iter().flatten().map(successor).collect()
    }
}

impl SplitOf {
    fn positioned(&self, position: Position) -> Split {
        let payload = ShardSplit { position, ..self.shard.clone() }.payload();
        Split { payload, ..self.split.clone() }
    }
}
