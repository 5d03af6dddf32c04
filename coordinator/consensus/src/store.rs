//! Where a member keeps its log.
//!
//! A store has an atomic, durable write of several facts at once, and one load at the start. The driver also keeps the
//! log since the last compaction in memory, and never reads the store while it runs. Entries and snapshots are opaque
//! bytes here. `write` returns once its facts survive a power cut. It must not block its caller's thread, because other
//! tasks share that thread.
//!
//! `RedbStore` is for processes. `MemoryStore` is for simulations, where the store outlives the process object.

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

/// A position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogPosition {
    /// The entry's index.
    pub index: u64,
    /// The entry's term.
    pub term: u64,
}

/// What a member must never forget: its term, its vote in it, and how far it knew the log to be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    /// The current term.
    pub term: u64,
    /// The member it voted for in this term; zero for nobody.
    pub vote: u64,
    /// The last index that it knew to be committed.
    pub commit: u64,
}

/// The member and cluster that a store belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The member's id.
    pub member: MemberId,
    /// The cluster's id.
    pub cluster: ClusterId,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its log index.
    pub index: u64,
    /// The encoded entry.
    pub bytes: Bytes,
}

/// Everything that a store holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// The store's owner; `None` in an empty store.
    pub identity: Option<Identity>,
    /// Term, vote and commit index.
    pub hard_state: HardState,
    /// The last entry that was dropped from the start of the log.
    pub compacted: LogPosition,
    /// The last snapshot, encoded.
    pub snapshot: Option<Bytes>,
    /// The entries after `compacted`, without a gap.
    pub entries: Vec<LogEntry>,
}

impl Stored {
    /// Applies a write. This defines the meaning of `LogWrite`.
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
    /// Binds the store to its owner.
    pub identity: Option<Identity>,
    /// Replaces term, vote and commit index.
    pub hard_state: Option<HardState>,
    /// Replaces the snapshot.
    pub snapshot: Option<Bytes>,
    /// Drops all entries, because a leader's snapshot replaces the log.
    pub clears_log: bool,
    /// Drops the entries up to this one.
    pub compacted: Option<LogPosition>,
    /// Appended. Entries at and after the first one's index are dropped.
    pub entries: Vec<LogEntry>,
}

/// Why a store failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It could not be opened.
    #[error("could not open the log at {path}")]
    Open {
        /// The path of its file.
        path: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process has it open.
    #[error("the log at {path} is in use by another process")]
    InUse {
        /// The path of its file.
        path: String,
    },
    /// It was written by a version of this program with another format.
    #[error("the log has format {found}; this program knows format {known}")]
    Format {
        /// The format of the store.
        found: u32,
        /// The format that this program writes.
        known: u32,
    },
    /// It cannot be read.
    #[error("could not read the log")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It cannot be written.
    #[error("could not write the log")]
    Write(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What it holds is inconsistent.
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
    /// Reads everything. Called once, at the start.
    ///
    /// # Errors
    /// The store cannot be read or is damaged.
    async fn load(&self) -> Result<Stored, StoreError>;

    /// Writes all or nothing, durably. Calls do not overlap.
    ///
    /// # Errors
    /// It is not certain that the write survives. The member has to stop.
    async fn write(&self, write: LogWrite) -> Result<(), StoreError>;

    /// Prepares a large snapshot, so that the write that follows takes no longer than others. Other writes may be
    /// called meanwhile. Does not change what `load` returns.
    ///
    /// # Errors
    /// The snapshot cannot be written. The member has to stop.
    async fn prepare(&self, _snapshot: &Bytes) -> Result<(), StoreError> {
        Ok(())
    }
}
