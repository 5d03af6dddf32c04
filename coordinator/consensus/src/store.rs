//! Where a member keeps its log.
//!
//! A store is an atomic, durable write of several facts at once, and one load at the start: the driver keeps the log since
//! the last compaction in memory as well and never reads the store while it runs. Entries, votes and snapshots are
//! opaque bytes here. `write` returns when what it was given survives a power cut; it must not block its caller's
//! thread meanwhile, since other tasks live there.
//!
//! `RedbStore` is for processes; `MemoryStore` is for simulations, where the store outlives the process object.

use async_trait::async_trait;
use bytes::Bytes;
use thalweg_types::{ClusterId, MemberId};
use thiserror::Error;

mod disk;
mod memory;

pub use disk::RedbStore;
pub use memory::MemoryStore;

#[cfg(test)]
mod tests;

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogPosition {
    /// The entry's index.
    pub index: u64,
    /// The entry's term.
    pub term: u64,
}

/// What a member must never forget: its term, its vote there, and how far it knew the log to be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    /// The term.
    pub term: u64,
    /// Whom it voted for in this term; zero for nobody.
    pub vote: u64,
    /// The last index that it knew to be committed.
    pub commit: u64,
}

/// Whose store it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The member.
    pub member: MemberId,
    /// The cluster.
    pub cluster: ClusterId,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its index.
    pub index: u64,
    /// The entry.
    pub bytes: Bytes,
}

/// All that a store holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// Whose store it is; none in an empty one.
    pub identity: Option<Identity>,
    /// Term, vote and commit.
    pub hard_state: HardState,
    /// The last entry that was dropped from the log's start.
    pub compacted: LogPosition,
    /// The last snapshot.
    pub snapshot: Option<Bytes>,
    /// The entries after `compacted`, without a gap.
    pub entries: Vec<LogEntry>,
}

impl Stored {
    /// What a write makes of it: the meaning of `LogWrite`.
    pub fn apply(&mut self, write: LogWrite) {
        if let Some(identity) = write.identity {
            self.identity = Some(identity);
        }
        if let Some(hard_state) = write.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(snapshot) = write.snapshot {
            self.snapshot = Some(snapshot);
        }
        if write.clears_log {
            self.entries.clear();
        }
        if let Some(compacted) = write.compacted {
            self.compacted = compacted;
            self.entries.retain(|entry| entry.index > compacted.index);
        }
        if let Some(first) = write.entries.first() {
            self.entries.retain(|entry| entry.index < first.index);
            self.entries.extend(write.entries);
        }
    }
}

/// Facts that become durable together. Applied in the order of the fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogWrite {
    /// Binds the store.
    pub identity: Option<Identity>,
    /// Replaces term, vote and commit.
    pub hard_state: Option<HardState>,
    /// Replaces the snapshot.
    pub snapshot: Option<Bytes>,
    /// Drops all entries: a leader's snapshot takes the log's place.
    pub clears_log: bool,
    /// Drops the entries up to this one.
    pub compacted: Option<LogPosition>,
    /// Appended; what stood at their indexes and after is dropped.
    pub entries: Vec<LogEntry>,
}

/// Why a store failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It could not be opened.
    #[error("could not open the log at {path}")]
    Open {
        /// Where it is.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process has it open.
    #[error("the log at {path} is in use by another process")]
    InUse {
        /// Where it is.
        path: String,
    },
    /// It was written by a version of this program that keeps its log otherwise.
    #[error("the log has format {found}; this program knows format {known}")]
    Format {
        /// What the store says.
        found: u32,
        /// What this program writes.
        known: u32,
    },
    /// It can't be read.
    #[error("could not read the log")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It can't be written.
    #[error("could not write the log")]
    Write(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What it holds makes no sense.
    #[error(
        "the log is damaged: {0}. Move its directory away and start the member with an empty one: the others, while they are a \
         majority, admit it under a new number; a member alone has lost what it held"
    )]
    Damaged(String),
    /// Its writer has ended.
    #[error("the log is closed")]
    Closed,
}

/// Where a member keeps its log.
#[async_trait]
pub trait LogStore: Send + Sync + std::fmt::Debug {
    /// Reads all. Called once, at the start.
    ///
    /// # Errors
    /// When the store can't be read or is damaged.
    async fn load(&self) -> Result<Stored, StoreError>;

    /// Writes all or nothing, durably. Calls do not overlap.
    ///
    /// # Errors
    /// When it is not certain that the write survives: the member has to stop.
    async fn write(&self, write: LogWrite) -> Result<(), StoreError>;

    /// Gets a large snapshot ready, so that the write of it that follows takes no longer than others do: those may be called
    /// meanwhile. It changes nothing that `load` gives.
    ///
    /// # Errors
    /// When it cannot be written; the member has to stop.
    async fn prepare(&self, _snapshot: &Bytes) -> Result<(), StoreError> {
        Ok(())
    }
}
