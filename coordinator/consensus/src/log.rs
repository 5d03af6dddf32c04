//! The log in memory, from which raft reads.
//!
//! It mirrors what the store holds since the last compaction. So raft's reads never touch the disk, and the store needs
//! only one atomic write. The driver changes it after the store, in the same order.

use std::collections::VecDeque;

use bytes::Bytes;
use protobuf::Message as _;
use raft::{
    GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{ConfState, Entry, HardState, Snapshot},
    util::limit_size,
};

use crate::store::{LogEntry, LogPosition, StoreError, Stored};

#[derive(Debug, Default)]
pub(crate) struct Log {
    hard_state: HardState,
    /// The configuration of the snapshot. Raft asks for it at the start only. It learns later ones by applying.
    configuration: ConfState,
    compacted: LogPosition,
    entries: VecDeque<Entry>,
    entries_bytes: u64,
    snapshot: Snapshot,
}

impl Log {
    /// Parses what a store holds. Damage is found here, and not in the middle of an election.
    pub(crate) fn from_stored(stored: &Stored) -> Result<Self, StoreError> {
        let damaged = |what: &str| StoreError::Damaged(what.to_owned());
        let mut log = Self { compacted: stored.compacted, ..Self::default() };
        if let Some(bytes) = &stored.snapshot {
            log.snapshot = Snapshot::parse_from_bytes(bytes).map_err(|_| damaged("the snapshot can't be parsed"))?;
            log.configuration = log.snapshot.get_metadata().get_conf_state().clone();
        }
        for stored in &stored.entries {
            let entry = Entry::parse_from_bytes(&stored.bytes)
                .map_err(|_| StoreError::Damaged(format!("entry {} can't be parsed", stored.index)))?;
            if entry.index != stored.index || entry.index != log.last().index + 1 || entry.term < log.last().term {
                return Err(StoreError::Damaged(format!("entry {} does not follow its predecessor", stored.index)));
            }
            log.push(entry);
        }
        let snapshot_index = log.snapshot_index();
        if log.compacted.index > snapshot_index || snapshot_index > log.last().index {
            return Err(damaged("the snapshot and the entries do not meet"));
        }
        let state = &stored.hard_state;
        if state.commit < snapshot_index || state.commit > log.last().index || state.term < log.last().term {
            return Err(damaged("the commit index or the term contradicts the entries"));
        }
        log.hard_state.term = state.term;
        log.hard_state.vote = state.vote;
        log.hard_state.commit = state.commit;
        Ok(log)
    }

    pub(crate) fn hard_state(&self) -> crate::store::HardState {
        let state = &self.hard_state;
        crate::store::HardState { term: state.term, vote: state.vote, commit: state.commit }
    }

    pub(crate) fn set_hard_state(&mut self, state: HardState) {
        self.hard_state = state;
    }

    pub(crate) fn set_commit(&mut self, commit: u64) {
        self.hard_state.commit = commit;
    }

    /// How many entries there are.
    pub(crate) fn entries_count(&self) -> u64 {
        u64::try_from(self.entries.len()).expect("a length in memory fits")
    }

    /// The size of the entries in memory, in bytes.
    pub(crate) fn entries_bytes(&self) -> u64 {
        self.entries_bytes
    }

    pub(crate) fn snapshot_index(&self) -> u64 {
        self.snapshot.get_metadata().index
    }

    pub(crate) fn latest_snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Appends entries. Drops those at and after the first one's index.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.compacted.index, "a compacted entry is committed and never written again");
        assert!(first.index <= self.last().index + 1, "the log has no gaps");
        while self.entries.back().is_some_and(|last| last.index >= first.index) {
            let dropped = self.entries.pop_back().expect("there is one");
            self.entries_bytes -= bytes_of(&dropped);
        }
        entries.iter().cloned().for_each(|entry| self.push(entry));
    }

    /// Sets a snapshot of the applied state, and drops the entries up to `compacted`, which the snapshot covers.
    pub(crate) fn compact(&mut self, snapshot: Snapshot, compacted: LogPosition) {
        assert!(compacted.index <= snapshot.get_metadata().index, "only what a snapshot covers is dropped");
        self.snapshot = snapshot;
        while self.entries.front().is_some_and(|first| first.index <= compacted.index) {
            let dropped = self.entries.pop_front().expect("there is one");
            self.entries_bytes -= bytes_of(&dropped);
        }
        self.compacted = compacted;
    }

    /// Replaces the whole log by a leader's snapshot.
    pub(crate) fn install(&mut self, snapshot: Snapshot) {
        let metadata = snapshot.get_metadata();
        self.compacted = LogPosition { index: metadata.index, term: metadata.term };
        self.configuration = metadata.get_conf_state().clone();
        self.hard_state.commit = self.hard_state.commit.max(metadata.index);
        self.hard_state.term = self.hard_state.term.max(metadata.term);
        self.snapshot = snapshot;
        self.entries.clear();
        self.entries_bytes = 0;
    }

    /// Where to cut the log so that `keep` entries up to `index` stay. Returns the current start if there is nothing to
    /// cut.
    pub(crate) fn cut_before(&self, index: u64, keep: u64) -> LogPosition {
        let cut = index.saturating_sub(keep).max(self.compacted.index);
        let term = self.term_at(cut).expect("between the log's start and an applied index");
        LogPosition { index: cut, term }
    }

    fn push(&mut self, entry: Entry) {
        self.entries_bytes += bytes_of(&entry);
        self.entries.push_back(entry);
    }

    fn last(&self) -> LogPosition {
        self.entries.back().map_or(self.compacted, |entry| LogPosition { index: entry.index, term: entry.term })
    }

    fn term_at(&self, index: u64) -> Result<u64, StorageError> {
        if index == self.compacted.index {
            return Ok(self.compacted.term);
        }
        let offset = index.checked_sub(self.compacted.index + 1).ok_or(StorageError::Compacted)?;
        let entry = usize::try_from(offset).ok().and_then(|offset| self.entries.get(offset));
        entry.map(|entry| entry.term).ok_or(StorageError::Unavailable)
    }
}

/// Encodes entries for the store.
pub(crate) fn encode_entries(entries: &[Entry]) -> Vec<LogEntry> {
    let encode = |entry: &Entry| LogEntry { index: entry.index, bytes: encode_message(entry) };
    entries.iter().map(encode).collect()
}

pub(crate) fn encode_message(message: &impl protobuf::Message) -> bytes::Bytes {
    message.write_to_bytes().expect("raft's messages have no required fields and go to memory").into()
}

fn bytes_of(entry: &Entry) -> u64 {
    let bytes = entry.data.len() + entry.context.len() + size_of::<Entry>();
    u64::try_from(bytes).expect("a size in memory fits")
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.configuration.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let first = self.compacted.index + 1;
        if low < first {
            return Err(StorageError::Compacted.into());
        }
        assert!(high <= self.last().index + 1, "raft asks for entries that it has appended");
        let offset = |index: u64| usize::try_from(index - first).expect("the log is in memory");
        let mut entries: Vec<Entry> = self.entries.range(offset(low)..offset(high)).cloned().collect();
        limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        Ok(self.term_at(index)?)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.compacted.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last().index)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let configuration = self.snapshot.get_metadata().get_conf_state();
        let is_for_member = configuration.get_voters().contains(&to) || configuration.get_learners().contains(&to);
        if self.snapshot_index() < request_index || !is_for_member {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        Ok(self.snapshot.clone())
    }
}

/// The log position of a snapshot.
pub(crate) fn position_of(snapshot: &Snapshot) -> LogPosition {
    let metadata = snapshot.get_metadata();
    LogPosition { index: metadata.index, term: metadata.term }
}

/// A snapshot in raft's form.
pub(crate) fn new_snapshot(at: LogPosition, configuration: ConfState, content: Bytes) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.set_data(content);
    snapshot.mut_metadata().set_conf_state(configuration);
    snapshot.mut_metadata().index = at.index;
    snapshot.mut_metadata().term = at.term;
    snapshot
}
