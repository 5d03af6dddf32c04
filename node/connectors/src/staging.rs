//! Rows that a sink's writer stages outside the destination, until their checkpoint is complete and a committer on any node
//! applies them.
//!
//! ```text
//! rows -> buffer --full--> an object beside the checkpoints, put beside the record path
//!            '-----seal--> few rows: into the committable itself; else the last object
//! committable: {"version", "subtask", "rows", "staged": [objects, in order], "inline": state file in base 64}
//! ```
//!
//! Objects are state files, so length, checksums and form are checked when they are read. Their names hold the attempt: no two
//! writers share one, and what is never published goes with what else an attempt has left (`discard`, or the sweep of its
//! checkpoints). Objects that are published go when the manifest that names them is forgotten. No manifest keeps one for
//! restoring: nobody restores them.
//!
//! An epoch with few rows makes no objects, so that a job with short checkpoints and little output costs no requests. Its rows
//! travel with the snapshot and are in the manifest, or in the replicated log at the end of the job.

use std::{collections::VecDeque, sync::Arc};

use arrow::{array::RecordBatch, compute::concat_batches};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thalweg_storage::{
    CheckpointStore, Compression, SEGMENT_BYTES, StateFile, StateFileBuilder, StateReader, StorageError, names,
};
use thalweg_types::{
    Attempt, ClusterId, JobId, KeyGroup, OperatorId, checkpoint::StateObject, graph::OperatorIdentity, seam::Spawner,
};
use tokio::sync::oneshot;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use crate::{ConnectorError, Sealing, SinkIdentity, SinkSubtask, Written};

/// The version of the committable that is written.
const VERSION: u32 = 1;
/// The table of the state file.
const ROWS: &str = "rows";
/// A state file of at most so many bytes travels in the committable, or of fewer if there are many subtasks.
const INLINE_BYTES_MAX: u64 = 32 << 10;
/// How many objects a writer puts at the same time. One is encoded or on its way while the next is gathered.
const PUTS_MAX: usize = 2;
/// Memory of the rows of one object.
const OBJECT_BYTES_MAX: u64 = 4 << 20;
const OBJECT_BYTES_MIN: u64 = 256 << 10;
/// How many objects a committer reads ahead, the current one included.
const READS_MAX: usize = 2;

/// What a subtask's writer has sealed for one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Staged {
    version: u32,
    /// The subtask's index.
    pub(crate) subtask: u32,
    /// How many rows there are.
    pub(crate) rows: u64,
    /// In the order of their rows. The name is `thalweg_types::checkpoint::STAGED`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    staged: Vec<StateObject>,
    /// A state file in base 64; empty if there are objects.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    inline: String,
}

/// Stages the rows of one subtask. All rows have the same columns.
pub(crate) struct Stager {
    identity: SinkIdentity,
    store: CheckpointStore,
    compute: Arc<dyn Spawner>,
    object_bytes: u64,
    inline_bytes: u64,
    epoch_bytes: u64,
    /// The number of the next object.
    next: u64,
    buffer: Vec<RecordBatch>,
    buffered_bytes: u64,
    epoch: Epoch,
}

/// What was staged since the last seal.
#[derive(Default)]
struct Epoch {
    rows: u64,
    /// Memory of the rows.
    bytes: u64,
    objects: Vec<StateObject>,
    /// Behind `objects`, in order. At most `PUTS_MAX`.
    puts: VecDeque<oneshot::Receiver<Result<StateObject, ConnectorError>>>,
}

impl Epoch {
    /// Waits until at most `left` puts are on their way.
    async fn wait(&mut self, left: usize) -> Result<(), ConnectorError> {
        while self.puts.len() > left
            && let Some(put) = self.puts.front_mut()
        {
            // A cancelled call must not lose the receiver.
            let put = put.await.unwrap_or_else(|_| Err(ended()));
            self.puts.pop_front();
            self.objects.push(put?);
        }
        Ok(())
    }
}

impl Stager {
    pub(crate) fn new(subtask: SinkSubtask, compute: Arc<dyn Spawner>) -> Self {
        let SinkSubtask { identity, store, memory_bytes, inline_bytes, epoch_bytes, .. } = subtask;
        // Rows are in the buffer, and twice in each put: as rows, and encoded.
        let share = memory_bytes / (2 * PUTS_MAX as u64 + 1);
        Self {
            identity,
            store,
            compute,
            object_bytes: share.clamp(OBJECT_BYTES_MIN, OBJECT_BYTES_MAX),
            // Base 64 makes four bytes of three.
            inline_bytes: INLINE_BYTES_MAX.min(inline_bytes / 4 * 3),
            epoch_bytes,
            next: 0,
            buffer: Vec::new(),
            buffered_bytes: 0,
            epoch: Epoch::default(),
        }
    }

    /// Takes rows. Waits while too much is on its way to the store.
    pub(crate) async fn write(&mut self, rows: RecordBatch) -> Result<(), ConnectorError> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let bytes = rows.get_array_memory_size() as u64;
        self.epoch.rows += rows.num_rows() as u64;
        self.epoch.bytes += bytes;
        self.buffered_bytes += bytes;
        self.buffer.push(rows);
        if self.buffered_bytes >= self.object_bytes {
            self.epoch.wait(PUTS_MAX - 1).await?;
            self.put_buffer();
        }
        Ok(())
    }

    /// How much has been written since the last seal. One epoch is one transaction, which must not last too long; and while
    /// nothing is published no checkpoint begins, so that this holds the job's sources up.
    pub(crate) fn written(&self) -> Written {
        Written { bytes: self.epoch.bytes, bytes_max: self.epoch_bytes }
    }

    /// Cuts off what was written since the last seal. The sealing gives one committable, or none if nothing was written.
    pub(crate) fn seal(&mut self) -> Sealing {
        let (mut epoch, buffer) = (std::mem::take(&mut self.epoch), std::mem::take(&mut self.buffer));
        self.buffered_bytes = 0;
        if epoch.rows == 0 {
            return crate::nothing_to_seal();
        }
        let (store, subtask, inline_bytes) = (self.store.clone(), self.identity.subtask, self.inline_bytes);
        let name = self.next_name();
        let sealing = async move {
            let mut inline = String::new();
            if !buffer.is_empty() {
                // What goes into the committable is small, and is in JSON that nobody compresses.
                let is_alone = epoch.objects.is_empty() && epoch.puts.is_empty();
                let compression = if is_alone { Compression::WhereItSaves } else { store.compression() };
                let file = encode(&buffer, compression)?;
                drop(buffer);
                if is_alone && file.bytes <= inline_bytes {
                    inline = BASE64.encode(file.to_bytes());
                } else {
                    epoch.wait(0).await?;
                    epoch.objects.push(put(&store, &name, file).await?);
                }
            }
            epoch.wait(0).await?;
            let Epoch { rows, objects: staged, .. } = epoch;
            let sealed = Staged { version: VERSION, subtask, rows, staged, inline };
            Ok(vec![serde_json::to_value(&sealed).expect("it has only text keys")])
        };
        sealing.boxed()
    }

    /// Encodes and puts the buffer beside the record path.
    fn put_buffer(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.buffered_bytes = 0;
        let (name, store) = (self.next_name(), self.store.clone());
        let (done, put_done) = oneshot::channel();
        let task = async move {
            let stored = match encode(&buffer, store.compression()) {
                Ok(file) => {
                    drop(buffer);
                    put(&store, &name, file).await
                }
                Err(error) => Err(error),
            };
            // The receiver is gone if the writer is; what was put is discarded with its attempt.
            let _ = done.send(stored);
        };
        self.compute.spawn("stage rows", Box::pin(task));
        self.epoch.puts.push_back(put_done);
    }

    fn next_name(&mut self) -> String {
        let SinkIdentity { cluster, job, attempt, sink, subtask } = &self.identity;
        let name = names::staged_object((cluster, *job), *attempt, *sink, *subtask, self.next);
        self.next += 1;
        name
    }
}

impl Staged {
    /// Reads a committable.
    pub(crate) fn of_committable(committable: &Value) -> Result<Self, ConnectorError> {
        let wrong = |reason: String| ConnectorError::Data { attempted: "understand a committable".to_owned(), reason };
        let staged = Self::deserialize(committable).map_err(|error| wrong(error.to_string()))?;
        if staged.version != VERSION {
            return Err(wrong(format!("it is of version {}, and {VERSION} is known", staged.version)));
        }
        Ok(staged)
    }

    /// A number by which other content is told apart.
    pub(crate) fn digest(all: &[Self]) -> u64 {
        let mut digest = Xxh3Default::new();
        for Self { subtask, rows, staged, inline, .. } in all {
            digest.update(&subtask.to_le_bytes());
            digest.update(&rows.to_le_bytes());
            staged.iter().for_each(|object| digest.update(&object.checksum.to_le_bytes()));
            digest.update(&xxh3_64(inline.as_bytes()).to_le_bytes());
        }
        digest.digest()
    }

    /// Whether any rows are in objects.
    pub(crate) fn has_objects(&self) -> bool {
        !self.staged.is_empty()
    }

    /// The rows, in order, in batches of about a segment. `store` must be there if there are objects.
    pub(crate) fn batches<'a>(
        &'a self,
        store: Option<&'a CheckpointStore>,
    ) -> impl Stream<Item = Result<RecordBatch, ConnectorError>> + Send + 'a {
        let inline = (!self.inline.is_empty()).then(|| self.read_inline().boxed());
        let objects = self.staged.iter().map(move |object| read_object(store, object).boxed());
        let read = stream::iter(inline.into_iter().chain(objects)).buffered(READS_MAX);
        read.map_ok(|batches| stream::iter(batches.into_iter().map(Ok))).try_flatten()
    }

    async fn read_inline(&self) -> Result<Vec<RecordBatch>, ConnectorError> {
        let attempted = || "read the rows in a committable".to_owned();
        let wrong = |reason: String| ConnectorError::Data { attempted: attempted(), reason };
        let file = BASE64.decode(&self.inline).map_err(|error| wrong(error.to_string()))?;
        let reader = StateReader::of_whole("the rows in a committable", Bytes::from(file));
        read_all(&reader.map_err(|error| wrong(error.to_string()))?, attempted).await
    }
}

/// Removes what the writers of a sink have staged in attempts before `before`.
pub(crate) async fn discard(
    store: &CheckpointStore,
    (cluster, job): (&ClusterId, JobId),
    sink: OperatorIdentity,
    before: Attempt,
) -> Result<(), ConnectorError> {
    let listed = store.list(&names::job_prefix(cluster, job)).await?;
    // `Attempt(u32::MAX)` is above all of them: no attempt has that number.
    let is_left = |name: &String| names::staged_by(name).is_some_and(|(of, attempt)| of == sink && attempt < before);
    let left: Vec<String> = listed.into_iter().map(|object| object.name).filter(is_left).collect();
    if !left.is_empty() {
        store.delete(&left).await?;
    }
    Ok(())
}

fn encode(batches: &[RecordBatch], compression: Compression) -> Result<StateFile, ConnectorError> {
    let unfit = |reason: String| ConnectorError::Data { attempted: "stage rows".to_owned(), reason };
    let mut file = StateFileBuilder::new(SEGMENT_BYTES, compression);
    if let Some(first) = batches.first() {
        let rows = concat_batches(first.schema_ref(), batches).map_err(|error| unfit(error.to_string()))?;
        // Rows of one key group keep their order.
        let key_groups = vec![KeyGroup(0); rows.num_rows()];
        file.add(OperatorId(0), ROWS, &key_groups, &rows).map_err(|error| unfit(error.to_string()))?;
    }
    Ok(file.finish())
}

async fn put(store: &CheckpointStore, name: &str, file: StateFile) -> Result<StateObject, ConnectorError> {
    Ok(store.put_state(name, file).await?)
}

async fn read_object(
    store: Option<&CheckpointStore>,
    object: &StateObject,
) -> Result<Vec<RecordBatch>, ConnectorError> {
    let attempted = || format!("read the staged rows in {}", object.name);
    let missing = |reason: &str| ConnectorError::Data { attempted: attempted(), reason: reason.to_owned() };
    let store = store.ok_or_else(|| missing("the place for checkpoints is not open"))?;
    let reader = match store.open_state(&object.name).await {
        Err(StorageError::NotFound { .. }) => {
            return Err(missing("it is gone, and what it held is not published: something has removed it"));
        }
        Ok(reader) => reader,
        Err(
            error @ (StorageError::NoCheckpoint { .. }
            | StorageError::Corrupt { .. }
            | StorageError::Exists { .. }
            | StorageError::Store { .. }
            | StorageError::Refused { .. }
            | StorageError::Config { .. }),
        ) => return Err(error.into()),
    };
    read_all(&reader, attempted).await
}

async fn read_all(reader: &StateReader, attempted: impl Fn() -> String) -> Result<Vec<RecordBatch>, ConnectorError> {
    let segments = u32::try_from(reader.entries().len()).unwrap_or(u32::MAX);
    let segments: Vec<u32> = (0..segments).collect();
    let read = reader.read_all(&segments).await.map_err(|error| match ConnectorError::from(error) {
        ConnectorError::Data { reason, .. } => ConnectorError::Data { attempted: attempted(), reason },
        error @ (ConnectorError::Config { .. }
        | ConnectorError::Secret { .. }
        | ConnectorError::Record { .. }
        | ConnectorError::Store { .. }
        | ConnectorError::GaveUp { .. }
        | ConnectorError::Refused { .. }) => error,
    })?;
    Ok(read.into_iter().map(|rows| rows.rows).collect())
}

fn ended() -> ConnectorError {
    let source = "the task that stages rows has ended abnormally".into();
    ConnectorError::Store { attempted: "stage rows".to_owned(), source }
}

#[cfg(test)]
mod tests;
