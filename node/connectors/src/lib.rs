//! Sources and sinks: discovery of splits, readers with positions, writers with committables.

use std::{sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::{FutureExt as _, future::BoxFuture};
use serde_json::Value;
use thalweg_types::{Attempt, ClusterId, Fault, JobId, OperatorId, Split};

mod allowed;
mod blackhole;
mod csv;
mod datagen;
mod decoding;
mod error;
mod filesystem;
pub mod http;
mod interleave;
mod json;
mod lines;
mod nexmark;
mod notices;
mod open;
mod options;
mod parquet;
mod print;
mod random;
mod set_aside;
mod sizes;
mod stdin;
mod values;

#[cfg(test)]
mod testing;

pub use allowed::{AllowedPaths, PrefixError};
pub use decoding::DecodingShare;
pub use error::ConnectorError;
pub use notices::Notices;
pub use open::{ConnectorContext, open_sink_committer, open_sink_writer, open_source, open_source_of};
pub use print::StandardOutput;
pub use set_aside::{
    SetAside, SetAsideKind, SetAsideWriter, open_set_aside_committer, part_committables, rows_as_json,
};
pub use stdin::StandardInput;
pub use thalweg_storage::{CheckpointStore, ObjectStores};

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

    /// The input ends here. Gives whether the readers end by themselves, after what had been promised to be read; otherwise they are
    /// not asked any more. May be called several times, before readers are opened too.
    fn stop(&self) -> bool {
        false
    }
}

/// Finds the first of some records that the job could not process, as they are read: its index, and why.
#[derive(Clone)]
pub struct RecordCheck(pub Arc<CheckRecords>);

/// Which row of a batch cannot be evaluated, and why.
pub type CheckRecords = dyn Fn(&RecordBatch) -> Option<(usize, String)> + Send + Sync;

impl std::fmt::Debug for RecordCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecordCheck")
    }
}

/// Which source of which attempt opens a table, and where it may keep what it must not lose.
#[derive(Debug, Clone)]
pub struct SourceIdentity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// The source.
    pub source: OperatorId,
    /// Where the job's checkpoints are.
    pub store: CheckpointStore,
    /// Whether checkpoints are taken there by time, so that it is a place that other nodes reach.
    pub takes_checkpoints: bool,
    /// What records must pass before they are acknowledged, where somebody waits for that.
    pub check: Option<RecordCheck>,
    /// The memory that its readers may decode with.
    pub decoding: DecodingShare,
}

/// A split at a position, written out when it is asked for.
pub type LaterSplit = Arc<dyn Fn() -> Split + Send + Sync>;

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
    /// What nobody can give again is the exception: standard input cannot be opened behind its beginning, and `http` without
    /// checkpoints goes on with what is POSTed from then on.
    fn position(&self) -> Split;

    /// The same, to be written out later or never: it is asked for after all that `next` gives, and mostly followed by another
    /// before a checkpoint begins. For readers whose position is large.
    fn later_position(&self) -> LaterSplit {
        let split = self.position();
        Arc::new(move || split.clone())
    }
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
    /// There are records, and no memory to decode them with until other readers have given some back: whoever asks again waits for
    /// that, and need not take it for silence.
    Waiting,
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

/// Makes what a writer has sealed durable, and gives what a committer needs to publish it: each committable once, none where
/// nothing was written. A background task drives it. Dropped, it leaves nothing that anyone sees: hidden files, or uploads that
/// are never completed.
pub type Sealing = BoxFuture<'static, Result<Vec<Value>, ConnectorError>>;

/// The sealing of writers that keep nothing back.
pub(crate) fn nothing_to_seal() -> Sealing {
    std::future::ready(Ok(Vec::new())).boxed()
}

/// Writes one subtask's share of a table.
///
/// ```text
/// write.. seal(1) write.. seal(2) ..                   on the record path
///           '-> sealing 1 -> committables, durable     in the background; those of several epochs may run at the same time
///                             '-> checkpoint 1 is complete -> SinkCommitter::commit, until it succeeds
/// ```
///
/// A sink is exactly once where its committables are part of the checkpoint, and committing them is idempotent.
///
/// | destination | `write` | `seal` | the sealing | `commit` |
/// |---|---|---|---|---|
/// | files | encodes into a hidden file | cuts the file off | the end, fsync | rename |
/// | a Kafka topic | produces in a transaction | takes the producer with its transaction, begins another with a producer of the next transactional id | flushes; gives the producer's id and epoch | resumes that producer, ends its transaction; that it has ended is a success |
/// | a database | statements in a transaction | takes the connection with its transaction | `PREPARE TRANSACTION` under a name that holds job, attempt, sink, subtask, epoch; gives the name | `COMMIT PREPARED`; that there is no such transaction any more is a success |
///
/// `discard` removes hidden files, aborts transactions by their ids, rolls back prepared ones by their names.
#[async_trait]
pub trait SinkWriter: Send {
    /// Takes rows. Returns once they are handed on or buffered within the writer's bound.
    ///
    /// # Errors
    /// When they cannot be written.
    async fn write(&mut self, batch: &RecordBatch) -> Result<(), ConnectorError>;

    /// Cuts off everything written since the last call; what is written from then on is no part of it. Called at a barrier, on the
    /// record path: quick, whatever takes time is left to the sealing.
    ///
    /// # Errors
    /// When it cannot be cut off. The writer is of no use any more.
    async fn seal(&mut self) -> Result<Sealing, ConnectorError>;

    /// As `seal`, of these rows too, behind all others. They may be many: a writer that has a `rollover` leaves it to the sealing to
    /// write them.
    ///
    /// # Errors
    /// As those of `write` and `seal`.
    async fn seal_with(&mut self, rows: Vec<RecordBatch>) -> Result<Sealing, ConnectorError> {
        for batch in &rows {
            self.write(batch).await?;
        }
        self.seal().await
    }

    /// The rows that cannot be written, such as those with a value that the format or the store has no room for; the others are
    /// written without them.
    fn unfit(&self, _batch: &RecordBatch) -> Vec<Fault> {
        Vec::new()
    }

    /// When a part is closed that stays open over seals; `None` where each ends with a seal. The writer is given the rows of such a
    /// part together, when it is to be closed: until then they are kept with the state of the job.
    fn rollover(&self) -> Option<Rollover> {
        None
    }
}

/// When what is open over several checkpoints is closed. It shows when the next one is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollover {
    /// Its rows take so many bytes in memory.
    pub bytes: u64,
    /// It is so old.
    pub age: Option<Duration>,
}

/// Publishes what writers have prepared.
#[async_trait]
pub trait SinkCommitter: Send + Sync {
    /// Makes committables visible. Idempotent, and so whatever crashed between its steps: what is already visible is a
    /// success.
    ///
    /// # Errors
    /// When it cannot be published now.
    async fn commit(&self, committables: &[Value]) -> Result<(), ConnectorError>;

    /// Removes what attempts of the cluster's job that are older than `before` have left unpublished, and nothing of other
    /// clusters. `Attempt(u32::MAX)` stands for all attempts, as when the job is over. What a checkpoint that may yet be
    /// restored holds must have been committed before.
    ///
    /// # Errors
    /// When something cannot be removed.
    async fn discard(&self, cluster: &ClusterId, job: JobId, before: Attempt) -> Result<(), ConnectorError>;
}
