//! Sources and sinks: discovery of splits, readers with positions, writers with committables.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::{FutureExt as _, future::BoxFuture};
use serde_json::Value;
use thalweg_types::{
    Attempt, CheckpointId, ClusterId, Fault, JobId, KeyGroup, OperatorId, Split, SplitId, Watermark,
    graph::OperatorIdentity,
};

mod allowed;
mod avro;
mod blackhole;
mod common;
mod connector;
mod context;
mod csv;
mod datagen;
mod decoding;
mod error;
mod failed_rows;
mod filesystem;
mod format;
mod formats;
mod http;
pub mod http_client;
pub mod ingest;
mod interleave;
mod json;
mod kafka;
mod kept;
mod kinesis;
mod lines;
mod location;
mod messages;
mod nexmark;
mod notices;
mod open;
mod options;
mod parquet;
mod print;
mod protobuf;
mod queryable;
mod random;
mod record_rows;
mod redact;
mod resent;
mod reveal;
mod secrets;
mod side_output;
mod sizes;
mod staging;
mod standard;
mod stdin;
mod typed;
mod values;

#[cfg(test)]
mod testing;

pub use allowed::{AllowedPaths, PrefixError};
pub use common::CommonTables;
pub use context::ConnectorContext;
pub use decoding::DecodingShare;
pub use error::ConnectorError;
pub use failed_rows::rows_as_json;
pub use kafka::{KAFKA_VARIABLES, kafka_client};
pub use kept::KeptSessions;
pub use kinesis::kinesis_client;
pub use notices::Notices;
pub use open::{check_sink, open_sink_committer, open_sink_writer, open_source, open_source_of};
pub use queryable::{KeyError, key_of_texts};
pub use resent::ResentRecords;
pub use secrets::{NoSecrets, SecretError, Secrets};
pub use side_output::{SideOutputKind, SideOutputWriter, SideRecords, open_side_output_committer, part_committables};
pub use standard::{StandardInput, StandardOutput};
pub use thalweg_storage::{CheckpointStore, ObjectStores};

/// A table that can be read.
#[async_trait]
pub trait Source: Send + Sync {
    /// Lists the splits there are now, in reading order.
    ///
    /// # Errors
    /// If the table's data cannot be found or listed.
    async fn discover(&self) -> Result<Vec<Split>, ConnectorError>;

    /// Opens a split at its position.
    ///
    /// # Errors
    /// If it cannot be opened.
    async fn open(&self, split: &Split) -> Result<Box<dyn SplitReader>, ConnectorError>;

    /// Checks, before a job runs, that the table can be read: what it names is there and may be read. Called once, on one
    /// node. `patient` says that the job has run before, so that what does not answer now is waited for.
    ///
    /// # Errors
    /// If it cannot be read.
    async fn check(&self, patient: bool) -> Result<(), ConnectorError> {
        let _ = patient;
        Ok(())
    }

    /// How many sequences a subtask reads side by side. Splits that have no end must all be read.
    fn open_max(&self) -> usize {
        SEQUENCES_MAX
    }

    /// How far the open splits of this table are behind; `None` if that is not known. Called from time to time.
    fn backlog(&self) -> Option<Backlog> {
        None
    }

    /// Ends the input. `true` if the readers end on their own, after returning everything that was acknowledged;
    /// `false` if they are not polled any more. May be called repeatedly, and before readers are opened.
    fn stop(&self) -> bool {
        false
    }

    /// What finds the splits of the table while the job runs; `None` if `discover` lists them all before it begins.
    fn enumerator(&self) -> Option<Box<dyn Enumerator>> {
        None
    }

    /// A checkpoint is complete, so nothing before these positions will be read again: those of the splits of one subtask,
    /// as the checkpoint holds them. Only now the outside may be told what was read. Checkpoints are told in order, though
    /// not each one; the one that an attempt goes on from is told again. `CheckpointId::FINAL` is the end of the job.
    /// Must not wait: what takes long goes on beside.
    fn completed(&self, checkpoint: CheckpointId, splits: &[Split]) {
        let _ = (checkpoint, splits);
    }
}

/// Sequences that a subtask reads at a time, unless a table says otherwise: enough for a directory of files that interleave
/// in time, and few enough that their readers' buffers stay small beside a batch.
const SEQUENCES_MAX: usize = 32;

/// How far the open splits of a table are behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Records that are there and not read.
    pub records: u64,
    /// Splits that cannot be read now, since their system does not answer.
    pub unreachable: u64,
    /// Splits that are read less often than they might be, since their system allows no more.
    pub throttled: u64,
    /// How old the first record is that is not read, of the split that is furthest behind; `None`: it is not known.
    pub behind: Option<Duration>,
}

/// Finds the splits of a table while the job runs: one for all its readers. What it has found before is remembered for
/// it, by the names of pieces.
#[async_trait]
pub trait Enumerator: Send + Sync {
    /// How long after one listing the next one begins; `None`: there is one only, in all of the job's life.
    fn interval(&self) -> Option<Duration>;

    /// All pieces that there are now, in reading order, also those that were listed before. Where the first listing decides
    /// where splits begin, it waits until it is sure of them.
    ///
    /// # Errors
    /// If they cannot be listed.
    async fn list(&self, listing: Listing) -> Result<Vec<Piece>, ConnectorError>;

    /// Whether all new pieces of a listing are cut by one call and become known at once, so that a checkpoint has all of
    /// them or none. If not, they are cut one by one, and assigned as there is room.
    fn cuts_together(&self) -> bool {
        false
    }

    /// The splits of new pieces, those of each in reading order. `listing` is the one that found them.
    ///
    /// # Errors
    /// If they cannot be cut.
    async fn cut(&self, pieces: &[Piece], listing: Listing) -> Result<Vec<Vec<Split>>, ConnectorError>;

    /// Whether pieces follow one another (`Piece::after`). Then each piece has one split of its name, or none if there is
    /// nothing of it to read, and a split that has ended stays in the positions until the enumerator has taken note of that.
    fn awaits_ends(&self) -> bool {
        false
    }

    /// Takes apart a split that did an enumerator's work before there were any; `None` for every other split.
    ///
    /// # Errors
    /// If it cannot be understood.
    fn former(&self, split: &Split) -> Result<Option<FormerEnumerator>, ConnectorError>;
}

/// Which listing of a table found something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// The first one of the job. What it found is not known before all of it is cut, so that it may be repeated.
    First,
    /// One that followed, also after a restore.
    Later,
}

/// What a table consists of, as a listing shows it: a file, for example. Its name tells it from all others, for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// The pieces that must be read to their end before anything of this one is read. Those that are neither listed nor were
    /// ever assigned count as read.
    pub after: Vec<String>,
}

/// What a split held that did an enumerator's work.
#[derive(Debug, Clone, PartialEq)]
pub struct FormerEnumerator {
    /// The names of all pieces that it had found.
    pub found: Vec<String>,
    /// The split that it was reading.
    pub current: Option<Split>,
}

/// Finds the first record that the job could not process, as records are read.
#[derive(Clone)]
pub struct RecordCheck(pub Arc<CheckRecords>);

/// Returns the first row of a batch that cannot be evaluated, and why.
pub type CheckRecords = dyn Fn(&RecordBatch) -> Option<(usize, String)> + Send + Sync;

impl std::fmt::Debug for RecordCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecordCheck")
    }
}

/// The source and attempt that open a table, with the stores they may use.
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
    /// What its state means; part of the names of its logs.
    pub identity: OperatorIdentity,
    /// The store of the job's checkpoints.
    pub store: CheckpointStore,
    /// Whether periodic checkpoints go there, so that other nodes can reach it.
    pub takes_checkpoints: bool,
    /// What records must pass before they are acknowledged, if clients wait for that.
    pub check: Option<RecordCheck>,
    /// The memory that the attempt's readers may decode with.
    pub decoding: DecodingShare,
    /// What the attempt's subtasks on this node have in common.
    pub common: CommonTables,
}

/// A split at a position, encoded only when it is called.
pub type LaterSplit = Arc<dyn Fn() -> Split + Send + Sync>;

/// Reads one split.
#[async_trait]
pub trait SplitReader: Send {
    /// Waits for the next records or event. Cancel-safe: dropping the call loses nothing.
    ///
    /// # Errors
    /// If the data cannot be read, or a record is malformed and the table has no dead-letter path.
    async fn next(&mut self) -> Result<Read, ConnectorError>;

    /// The split, positioned exactly behind the records that `next` has returned; read-ahead of a cancelled call does
    /// not count. Reopened there, the split returns the following records once, even after the process has ended, and
    /// even if other columns or predicates are requested.
    ///
    /// Exceptions are inputs that cannot be replayed: standard input can only be opened at its beginning, and `http`
    /// without checkpoints continues with later requests.
    fn position(&self) -> Split;

    /// What goes on where the split has ended, once `next` has returned `End`, as far as its end tells that. The rest, an
    /// enumerator finds.
    fn successors(&self) -> Vec<Successor> {
        Vec::new()
    }

    /// As `position`, but encoded only on demand. The runtime takes a position after each `next`, and most are replaced
    /// before a checkpoint begins; a reader with a large position overrides this.
    fn later_position(&self) -> LaterSplit {
        let split = self.position();
        Arc::new(move || split.clone())
    }
}

/// A split that goes on where others have ended. A subtask that has ended all of these reads it at once: its rows cannot
/// overtake theirs, as they could from another subtask.
#[derive(Debug, Clone, PartialEq)]
pub struct Successor {
    /// The split.
    pub split: Split,
    /// Those that must have ended before.
    pub after: Vec<SplitId>,
}

/// The result of `next`.
#[derive(Debug)]
pub enum Read {
    /// Records in the requested schema, and the malformed ones among them.
    Records {
        /// The records; empty if all were malformed.
        batch: RecordBatch,
        /// Malformed records, for the dead letters.
        dead_letters: Vec<DeadLetter>,
    },
    /// There are no records now, and nothing is known of the times of future ones. The split is idle until there are.
    Idle,
    /// There are records, but no memory to decode them until other readers free some; or there may be some, and who has
    /// them does not answer. The next call waits for that. The split is not idle.
    Waiting,
    /// There is nothing more to read now, though the position may have moved. The split is silent from the time of its last
    /// records on, and not idle.
    CaughtUp,
    /// The split has ended.
    End,
}

/// A malformed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it is, such as `flights.json:17`.
    pub position: String,
    /// What is wrong with it.
    pub reason: String,
    /// The record as found, shortened if it is very long.
    pub record: String,
}

/// Identifies a sink writer; part of every name it gives to its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkIdentity {
    /// The cluster: others may write to the same place and number their jobs alike.
    pub cluster: ClusterId,
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: Attempt,
    /// What the sink is, or the operator of the side output.
    pub sink: OperatorIdentity,
    /// The subtask's index.
    pub subtask: u32,
}

/// The subtask that writes a table, with what it may use.
#[derive(Debug, Clone)]
pub struct SinkSubtask {
    /// What names its output.
    pub identity: SinkIdentity,
    /// The store of the job's checkpoints, where rows can be staged for committers on other nodes.
    pub store: CheckpointStore,
    /// The memory that rows on their way, and the queues of clients, may take in bytes.
    pub memory_bytes: u64,
    /// The most bytes of rows that may travel within one committable: those of all subtasks travel together.
    pub inline_bytes: u64,
    /// About how many bytes the rows of one checkpoint may have.
    pub epoch_bytes: u64,
    /// How many subtasks write the table.
    pub subtasks: u32,
}

/// What publishes for one sink of a job, with what it may use. It outlives attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitterIdentity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The job.
    pub job: JobId,
    /// What the sink is.
    pub sink: OperatorIdentity,
    /// The URL of the store of the job's checkpoints.
    pub checkpoints: String,
    /// The memory that the queues of all committers' clients may take on the node, in bytes.
    pub memory_bytes: u64,
}

/// Which checkpoint is published, and what a destination that keeps its own progress is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epochs {
    /// The attempt that publishes.
    pub attempt: Attempt,
    /// The checkpoint that is published; `CheckpointId::FINAL` at the end of the job. Its committables are always the same.
    pub publishing: CheckpointId,
    /// The checkpoint with which something of the sink was published last before; `None`: nothing was. Nothing was published
    /// with those between.
    pub published: Option<CheckpointId>,
    /// The newest complete checkpoint.
    pub complete: CheckpointId,
}

/// Makes what a writer has sealed durable, and returns what a committer needs to publish it: each committable once,
/// none if nothing was written. A background task drives it. If dropped, it leaves nothing visible, only hidden files
/// or incomplete uploads.
pub type Sealing = BoxFuture<'static, Result<Vec<Value>, ConnectorError>>;

/// The sealing of a writer that holds nothing back.
pub(crate) fn nothing_to_seal() -> Sealing {
    std::future::ready(Ok(Vec::new())).boxed()
}

/// Writes one subtask's share of a table.
///
/// ```text
/// write.. seal(1) write.. seal(2) ..                   on the record path
///           '-> sealing 1 -> committables, durable     in the background; several may run at once
///                             '-> checkpoint 1 is complete -> SinkCommitter::commit, until it succeeds
/// ```
///
/// A sink is exactly once if its committables are part of the checkpoint and committing them is idempotent.
///
/// | destination | `write` | `seal` | the sealing | `commit` |
/// |---|---|---|---|---|
/// | files | encodes into a hidden file | cuts the file off | the end, fsync | rename |
/// | a system with transactions, such as Kafka | encodes, stages beside the checkpoints (`staging`) | cuts off what is staged | the rest of it; a little goes into the committable itself | unless the destination's own progress says that it is done: one transaction with all rows of the epoch, and the progress |
///
/// No transaction is left open for a committer to end: clients cannot resume one whose process is gone, and prepared ones
/// outlive us and block others. So rows wait outside the destination until their checkpoint is complete.
///
/// `discard` removes hidden files and what is staged.
#[async_trait]
pub trait SinkWriter: Send {
    /// Writes rows. Returns once they are passed on, or buffered within the writer's bound.
    ///
    /// # Errors
    /// If they cannot be written.
    async fn write(&mut self, batch: &RecordBatch) -> Result<(), ConnectorError>;

    /// Cuts off everything written since the last call; later rows are not part of it. Called at a barrier, on the
    /// record path, so it must be quick: slow work belongs in the sealing.
    ///
    /// # Errors
    /// If it cannot be cut off. The writer is then unusable.
    async fn seal(&mut self) -> Result<Sealing, ConnectorError>;

    /// As `seal`, with these rows added behind all others. There may be many: a writer with a `rollover` writes them in
    /// the sealing.
    ///
    /// # Errors
    /// As for `write` and `seal`.
    async fn seal_with(&mut self, rows: Vec<RecordBatch>) -> Result<Sealing, ConnectorError> {
        for batch in &rows {
            self.write(batch).await?;
        }
        self.seal().await
    }

    /// The rows that cannot be written, such as those with a value the format or the store cannot hold. The caller sets
    /// them aside and writes the others.
    fn unfit(&self, _batch: &RecordBatch) -> Vec<Fault> {
        Vec::new()
    }

    /// Whether it sets such rows aside itself (`set_aside`).
    fn keeps_unfit(&self) -> bool {
        false
    }

    /// Sets rows aside that cannot be written, each with the fault that says why. `operator` is the sink.
    ///
    /// # Errors
    /// If they cannot be set aside.
    async fn set_aside(
        &mut self,
        _operator: (OperatorId, &str),
        _rows: &RecordBatch,
        _faults: &[Fault],
    ) -> Result<(), ConnectorError> {
        Ok(())
    }

    /// The rows of the batch that was written last which turned out to be unfit when they were encoded, by their index in it. They
    /// are not written; the caller sets them aside. Told once. A writer with a
    /// `rollover` refuses none: its rows come long after those who could set them aside.
    fn refused(&mut self) -> Vec<Fault> {
        Vec::new()
    }

    /// What was written since the last seal; `None`: the rows of a checkpoint have no bound. A full writer still takes rows.
    fn written(&self) -> Option<Written> {
        None
    }

    /// When a part that stays open over seals is closed; `None` if every part ends with a seal. The writer receives the
    /// rows of such a part all at once, when it is to be closed; until then the job's state holds them.
    fn rollover(&self) -> Option<Rollover> {
        None
    }

    /// Rows have come: called once for each batch, before it is written or held. Returns it as it is to be written.
    /// `group_of` tells the key group of a row by its index, if rows are routed to the sink by key.
    ///
    /// # Errors
    /// If they cannot be written.
    fn arrive(
        &mut self,
        rows: &RecordBatch,
        _group_of: &dyn Fn(usize) -> Option<KeyGroup>,
    ) -> Result<RecordBatch, ConnectorError> {
        Ok(rows.clone())
    }

    /// The rows of each partition, in order, by the partition's name; `None` if the table has none.
    ///
    /// # Errors
    /// If they cannot be told apart.
    fn partitions(&self, _rows: &RecordBatch) -> Result<Option<BTreeMap<String, Vec<u32>>>, ConnectorError> {
        Ok(None)
    }

    /// All rows with an event time before this have come.
    fn on_watermark(&mut self, _watermark: Watermark) {}

    /// The partitions that the next seal says to be complete, so that none of their rows may be held. Called before each
    /// seal. `is_end` says that no further rows come.
    fn completing(&mut self, _is_end: bool) -> Vec<String> {
        Vec::new()
    }

    /// A few values that the job's state keeps for the writer; called after a seal, which they belong to.
    fn freeze(&self) -> BTreeMap<String, i64> {
        BTreeMap::new()
    }

    /// About what these values take in memory.
    fn state_bytes(&self) -> usize {
        0
    }

    /// Goes on with the values of former writers. Some of these may be of partitions that others have now: `owns` tells
    /// which key groups are the writer's.
    fn restore(&mut self, _former: &[BTreeMap<String, i64>], _owns: &dyn Fn(KeyGroup) -> bool) {}
}

/// How much a writer has written, and how much may be published at once: what was sealed for checkpoints that never became
/// complete is published together with what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Since the last seal, in bytes of memory.
    pub bytes: u64,
    /// The most for one complete checkpoint.
    pub bytes_max: u64,
}

/// When the rows of a partition that stay over several checkpoints are written. They become visible with the next
/// completed checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollover {
    /// They take this much memory.
    pub bytes: u64,
    /// Those of all partitions take this much. Then those of the partitions that got rows least recently are written.
    pub held_bytes: u64,
    /// The first of them reaches this age.
    pub age: Option<Duration>,
    /// For this time no row has come.
    pub inactivity: Option<Duration>,
    /// How long after one look at age and inactivity the next one follows. They are looked at at checkpoints only.
    pub check: Duration,
}

/// Publishes what writers have prepared.
#[async_trait]
pub trait SinkCommitter: Send + Sync {
    /// Makes committables visible. Idempotent, even after a crash between its steps: a committable that is already
    /// visible is a success. Several nodes may be at it at once, of which all but one are no longer waited for.
    ///
    /// # Errors
    /// If they cannot be published now.
    async fn commit(&self, epochs: Epochs, committables: &[Value]) -> Result<(), ConnectorError>;

    /// Removes what attempts older than `before` of the cluster's job left unpublished; nothing of other clusters.
    /// `Attempt(u32::MAX)` means all attempts, for a job that is over. Committables of a checkpoint that may still be
    /// restored must have been committed before.
    ///
    /// # Errors
    /// If something cannot be removed.
    async fn discard(&self, cluster: &ClusterId, job: JobId, before: Attempt) -> Result<(), ConnectorError>;
}
