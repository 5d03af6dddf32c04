//! Sources and sinks: discovery of splits, readers with positions, writers with committables.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use serde_json::Value;
use thalweg_types::{Attempt, ClusterId, JobId, OperatorId, Split};

mod blackhole;
mod csv;
mod datagen;
mod error;
mod filesystem;
pub mod http;
mod interleave;
mod json;
mod lines;
mod nexmark;
mod open;
mod options;
mod parquet;
mod print;
mod random;
mod set_aside;
mod stdin;

#[cfg(test)]
mod testing;

pub use error::ConnectorError;
pub use open::{ConnectorContext, open_sink_committer, open_sink_writer, open_source};
pub use print::StandardOutput;
pub use set_aside::{SetAside, SetAsideKind, SetAsideWriter, open_set_aside_committer};
pub use stdin::StandardInput;
pub use thalweg_storage::ObjectStores;

/// A table that can be read.
#[async_trait]
pub trait Source: Send + Sync {
    /// Lists the splits there are now, in reading order.
    ///
    /// # Errors
    /// When the table's data cannot be found or listed.
    async fn discover(&self) -> Result<Vec<Split>, ConnectorError>;

    /// Opens a split at its position.
    ///
    /// # Errors
    /// When it cannot be opened.
    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>, ConnectorError>;
}

/// Reads one split.
#[async_trait]
pub trait SplitReader: Send {
    /// Waits for what comes next. Cancel-safe: a dropped call loses nothing.
    ///
    /// # Errors
    /// When the data cannot be read, or a record is malformed and the table has no dead-letter path.
    async fn next(&mut self) -> Result<Read, ConnectorError>;

    /// The split, with the position behind all that `next` has returned, to the record. What a call that was dropped has read
    /// ahead is not in it. Opened there, the split gives what follows, once: also after the process has ended, and
    /// whatever is asked of the table then (other columns, other predicates).
    ///
    /// What nobody can give again is the exception: standard input cannot be opened behind its beginning, and `http` goes on
    /// with what is POSTed from then on.
    fn position(&self) -> Split;
}

/// What a reader gives.
#[derive(Debug)]
pub enum Read {
    /// Records, in the schema that the source was asked for, and what had to be set aside among them.
    Records {
        /// The records; may be empty where all were set aside.
        batch: RecordBatch,
        /// Those that could not be read.
        dead_letters: Vec<DeadLetter>,
    },
    /// There are no records now, and nothing is known of when or for which times there will be: until there are, the split
    /// is idle.
    Idle,
    /// Nothing follows.
    End,
}

/// A record that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it is, such as `flights.json:17`.
    pub position: String,
    /// What is wrong with it.
    pub reason: String,
    /// The record as found, shortened where it is very long.
    pub record: String,
}

/// Which writer a sink writer is; part of every name that it gives to what it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkIdentity {
    /// The cluster: others may write to the same place, and count their jobs alike.
    pub cluster: ClusterId,
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// The sink.
    pub sink: OperatorId,
    /// The subtask's index.
    pub subtask: u32,
}

/// Writes one subtask's share of a table.
#[async_trait]
pub trait SinkWriter: Send {
    /// Takes rows. Returns once they are handed on or buffered within the writer's bound.
    ///
    /// # Errors
    /// When they cannot be written.
    async fn write(&mut self, batch: &RecordBatch) -> Result<(), ConnectorError>;

    /// Makes everything written since the last call durable but not yet visible, and returns what a committer needs to make
    /// it so: each committable once. Nothing where there is nothing new. The writer may be written to afterwards; what then
    /// comes is no part of what was prepared.
    ///
    /// # Errors
    /// When it cannot be made durable. The writer is of no use any more.
    async fn prepare(&mut self) -> Result<Vec<Value>, ConnectorError>;
}

/// Publishes what writers have prepared.
#[async_trait]
pub trait SinkCommitter: Send + Sync {
    /// Makes committables visible. Idempotent: what is already visible is a success.
    ///
    /// # Errors
    /// When it cannot be published now.
    async fn commit(&self, committables: &[Value]) -> Result<(), ConnectorError>;

    /// Removes what attempts of the cluster's job have left unpublished, and nothing of other clusters. Called after `commit`,
    /// or when the job is cancelled.
    ///
    /// # Errors
    /// When something cannot be removed.
    async fn discard(&self, cluster: &ClusterId, job: JobId) -> Result<(), ConnectorError>;
}
