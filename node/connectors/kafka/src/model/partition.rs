//! The log of one partition: records and the marks at the ends of transactions, each at an offset.
//!
//! Retention cuts the log's front. Nothing else moves, so the entry at an offset is found by counting.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::{Header, Isolation, NewRecord, OffsetAt, Record, TimestampKind};

/// Who wrote a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Author {
    pub(super) producer: i64,
    pub(super) epoch: i16,
    pub(super) transactional: bool,
}

/// Why a batch was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untaken {
    /// A later epoch of the producer has written since.
    OldEpoch,
    /// It does not follow what the producer wrote before.
    OutOfOrder,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) records: Vec<Record>,
    /// Behind the records and what was passed over after them.
    pub(super) next: i64,
    /// What can be read ends there.
    pub(super) end: i64,
    /// The leader epoch in which what stands right before `next` was written; `None`: nothing was passed.
    pub(super) leader_epoch: Option<i32>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Partition {
    /// The offset of the first entry.
    start: i64,
    entries: VecDeque<Entry>,
    leader_epoch: i32,
    timestamps: TimestampKind,
    /// Where the open transactions begin, by producer.
    open: BTreeMap<i64, i64>,
    aborted: Vec<Aborted>,
    /// What each producer has written, to know a batch that is sent again.
    written: BTreeMap<i64, Written>,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    timestamp_ms: i64,
    leader_epoch: i32,
    author: Author,
    what: What,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    Record {
        key: Option<Bytes>,
        value: Option<Bytes>,
        headers: Vec<Header>,
    },
    /// The end of the author's transaction. Readers do not see it, but it has an offset.
    End,
}

/// A transaction that was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Aborted {
    producer: i64,
    first: i64,
    /// The offset of the mark at its end.
    last: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written {
    epoch: i16,
    /// The sequence number of the next batch.
    next: i64,
    /// The sequence number of the last batch, and its offset.
    last: (i64, i64),
}

impl Partition {
    pub(super) fn new(timestamps: TimestampKind) -> Self {
        Self {
            start: 0,
            entries: VecDeque::new(),
            leader_epoch: 0,
            timestamps,
            open: BTreeMap::new(),
            aborted: Vec::new(),
            written: BTreeMap::new(),
        }
    }

    /// Behind the last entry.
    pub(super) fn end(&self) -> i64 {
        self.start + i64::try_from(self.entries.len()).unwrap_or(i64::MAX)
    }

    pub(super) fn change_leader(&mut self) {
        self.leader_epoch += 1;
    }

    /// Forgets what is behind an offset.
    pub(super) fn truncate(&mut self, end: i64) {
        self.entries.truncate(usize::try_from(end - self.start).unwrap_or_default());
    }

    /// Adds records. Returns the offset of the first; a batch that was added before is not added again.
    pub(super) fn append(
        &mut self,
        author: Author,
        sequence: i64,
        records: Vec<NewRecord>,
        now_ms: i64,
    ) -> Result<i64, Untaken> {
        let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
        let written = self.written.get(&author.producer).copied();
        if let Some(written) = written {
            if author.epoch < written.epoch {
                return Err(Untaken::OldEpoch);
            }
            if author.epoch == written.epoch && sequence == written.last.0 && sequence + count == written.next {
                return Ok(written.last.1);
            }
        }
        let expected = written.filter(|written| written.epoch == author.epoch).map_or(0, |written| written.next);
        if sequence != expected {
            return Err(Untaken::OutOfOrder);
        }
        let offset = self.end();
        if author.transactional {
            self.open.entry(author.producer).or_insert(offset);
        }
        let written = Written { epoch: author.epoch, next: sequence + count, last: (sequence, offset) };
        self.written.insert(author.producer, written);
        for record in records {
            let timestamp_ms = match self.timestamps {
                TimestampKind::CreateTime => record.timestamp_ms.unwrap_or(now_ms),
                TimestampKind::LogAppendTime => now_ms,
            };
            let what = What::Record { key: record.key, value: record.value, headers: record.headers };
            self.push(Entry { timestamp_ms, leader_epoch: self.leader_epoch, author, what });
        }
        Ok(offset)
    }

    /// Ends the transaction of a producer, whose epoch is from now on this one.
    pub(super) fn end_transaction(&mut self, author: Author, committed: bool, now_ms: i64) {
        let last = self.end();
        if let Some(first) = self.open.remove(&author.producer).filter(|_| !committed) {
            self.aborted.push(Aborted { producer: author.producer, first, last });
        }
        // A producer of an older epoch must not write behind the mark.
        let written = Written { epoch: author.epoch, next: 0, last: (-1, -1) };
        let known = self.written.entry(author.producer).or_insert(written);
        if known.epoch < author.epoch {
            *known = written;
        }
        self.push(Entry { timestamp_ms: now_ms, leader_epoch: self.leader_epoch, author, what: What::End });
    }

    /// Reads from an offset; `None` if it is out of range.
    pub(super) fn read(&self, from: i64, records_max: usize, isolation: Isolation) -> Option<Slice> {
        if from < self.start || from > self.end() {
            return None;
        }
        let end = self.readable_end(isolation);
        let mut slice = Slice { records: Vec::new(), next: from, end, leader_epoch: None };
        while slice.next < end && slice.records.len() < records_max {
            let record = self.record_at(slice.next, isolation);
            slice.records.extend(record);
            slice.leader_epoch = self.entry(slice.next).map(|entry| entry.leader_epoch);
            slice.next += 1;
        }
        Some(slice)
    }

    /// The offset that is asked for.
    pub(super) fn offset_at(&self, at: OffsetAt, isolation: Isolation) -> i64 {
        let end = self.readable_end(isolation);
        match at {
            OffsetAt::Earliest => self.start,
            OffsetAt::Latest => end,
            OffsetAt::Timestamp(timestamp_ms) => {
                let found = self.entries.iter().position(|entry| entry.timestamp_ms >= timestamp_ms);
                let offset = found.and_then(|index| i64::try_from(index).ok()).map(|index| self.start + index);
                offset.filter(|offset| *offset < end).unwrap_or(end)
            }
        }
    }

    /// Removes what is before an offset, as retention does.
    pub(super) fn delete_before(&mut self, offset: i64) {
        let offset = offset.min(self.end());
        while self.start < offset {
            self.entries.pop_front();
            self.start += 1;
        }
        self.aborted.retain(|aborted| aborted.last >= offset);
    }

    /// Cuts the log back to an offset, as a leader does that does not have what comes behind. Transactions that had an end there only are taken as
    /// aborted.
    pub(super) fn cut_back(&mut self, end: i64) {
        let end = end.max(self.start);
        self.entries.truncate(usize::try_from(end - self.start).unwrap_or_default());
        self.open.retain(|_, first| *first < end);
        self.aborted.retain(|aborted| aborted.first < end);
        // Producers whose batches are missing are refused what follows them.
        self.written.retain(|_, written| written.last.1 < end);
    }

    /// Where what was written up to a leader epoch ends; `None`: there was no such epoch.
    pub(super) fn end_of(&self, leader_epoch: i32) -> Option<i64> {
        let count = self.entries.partition_point(|entry| entry.leader_epoch <= leader_epoch);
        (leader_epoch <= self.leader_epoch).then(|| self.start + i64::try_from(count).unwrap_or(i64::MAX))
    }

    fn entry(&self, offset: i64) -> Option<&Entry> {
        self.entries.get(usize::try_from(offset - self.start).ok()?)
    }

    fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    fn readable_end(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::ReadUncommitted => self.end(),
            Isolation::ReadCommitted => {
                let open = self.open.values().copied().min();
                open.map_or_else(|| self.end(), |first| first.max(self.start))
            }
        }
    }

    /// The record at an offset, if there is one that such readers see.
    fn record_at(&self, offset: i64, isolation: Isolation) -> Option<Record> {
        let entry = self.entry(offset)?;
        let hidden = match isolation {
            Isolation::ReadUncommitted => false,
            Isolation::ReadCommitted => entry.author.transactional && self.is_aborted(entry.author.producer, offset),
        };
        match &entry.what {
            What::Record { key, value, headers } if !hidden => Some(Record {
                offset,
                timestamp: Some((self.timestamps, entry.timestamp_ms)),
                key: key.clone(),
                value: value.clone(),
                headers: headers.clone(),
                leader_epoch: Some(entry.leader_epoch),
            }),
            What::Record { .. } | What::End => None,
        }
    }

    fn is_aborted(&self, producer: i64, offset: i64) -> bool {
        let covers = |aborted: &Aborted| (aborted.first..=aborted.last).contains(&offset);
        self.aborted.iter().any(|aborted| aborted.producer == producer && covers(aborted))
    }
}
