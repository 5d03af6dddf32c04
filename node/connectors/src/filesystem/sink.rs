//! Writes rows into part files: encodes them in memory and appends them to the file in large pieces.
//!
//! Every part file is complete in itself, with its own header or footer. There is one open part per partition, or a
//! single one if the table has no partitions. A part is closed when it is large or old enough. The parts open at a seal
//! move into the sealing, so that no part holds rows of two checkpoints. (If parts stay open over checkpoints, the
//! sealing receives their rows late, all at once: see `rollover` and `seal_with`.)
//!
//! ```text
//! rows of open parts, or while few files are open --> encoded --> file
//! rows of more partitions ------> wait in memory --+--^
//!                         many of them, or the seal: then by partition, one after another
//! ```
//!
//! If there are more partitions than may have an open file, rows wait until there are many per partition, so that a
//! partition gets one long run of rows at a time. Then local files are closed and reopened in turn, so that each
//! partition still gets one file per checkpoint. A part in an object store cannot be reopened, so it is finished
//! instead.

use std::{
    collections::{BTreeMap, HashSet, btree_map::Entry},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use arrow::{
    array::{ArrayData, RecordBatch},
    compute::concat_batches,
    datatypes::SchemaRef,
    error::ArrowError,
};
use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use thalweg_types::{
    Fault,
    graph::SinkOperator,
    seam::{Clock, Seams, Spawner},
};

use super::{
    partition::Partitions,
    parts::{
        PART_BYTES, Part, PartCommittable, PartFiles, PartNames, STORED_PART_BYTES_MAX, SYNCS_MAX, Unsynced, to_values,
    },
};
use crate::{
    ConnectorError, Rollover, Sealing, SinkIdentity, SinkWriter,
    format::{PartEncoder, PartFormat},
    formats::format_of,
    location::Location,
    options::Options,
};

/// How many encoded bytes are collected before they are appended to the file.
const PIECE_BYTES: usize = 1 << 20;
/// A row group is written when it takes this much memory; until then its rows are held in memory. Parts that are open
/// at the same time share this budget.
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;
const ROW_GROUP_BYTES_MIN: usize = 1 << 20;
/// How many parts have an open file. If there are more partitions, rows wait; then the file written least recently
/// makes room.
const OPEN_PARTS_MAX: usize = 100;
/// How much memory waiting rows may take.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// Waiting rows are encoded in runs of this many.
const RUN_ROWS: usize = 8192;

const FILE_SIZE: &str = "sink.rolling-policy.file-size";
const ROLLOVER_INTERVAL: &str = "sink.rolling-policy.rollover-interval";
const ON_CHECKPOINT: &str = "sink.rolling-policy.on-checkpoint";
/// How many bytes a part that stays open over checkpoints may hold in memory if the table sets no size.
const HELD_BYTES: u64 = 128 << 20;

/// The prefix of published files' names.
pub(super) const PART_STEM: &str = "part";

/// When a part is closed and the next one begun between two seals.
#[derive(Debug, Clone, Copy)]
struct Rolling {
    bytes: u64,
    age: Option<Duration>,
    /// `Some` if parts stay open over seals.
    over_seals: Option<Rollover>,
}

/// Writes one subtask's rows into a directory.
pub(super) struct FileSinkWriter {
    files: PartFiles,
    format: Arc<dyn PartFormat>,
    partitions: Partitions,
    rolling: Rolling,
    clock: Arc<dyn Clock>,
    /// Parts by directory relative to the table's path, including those whose file is closed for now.
    open: BTreeMap<String, OpenPart>,
    /// Directories of the parts with an open file, by the number of the last run of rows written to each.
    active: BTreeMap<u64, String>,
    /// The number of runs of rows written so far.
    writes: u64,
    /// Rows that belong to no part yet, in order.
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    /// Finished parts with durable content, not returned yet.
    closed: Vec<PartCommittable>,
    /// Directories with names of finished parts that are not durable yet.
    unsynced: Unsynced,
    io: Arc<dyn Spawner>,
}

/// A part file, with what is not yet appended to it.
struct OpenPart {
    part: Part,
    /// Encoded bytes.
    piece: Vec<u8>,
    encoder: Box<dyn PartEncoder>,
    /// Monotonic time when the part was begun.
    since: Duration,
    /// The number of the last run of rows written to it.
    last_write: u64,
}

impl OpenPart {
    fn begin(format: &dyn PartFormat, part: Part, since: Duration) -> Result<Self, ConnectorError> {
        let mut piece = Vec::new();
        let encoder = format.begin(&mut piece).map_err(|error| not_encoded(&error))?;
        Ok(Self { part, piece, encoder, since, last_write: 0 })
    }

    /// Estimated length in bytes.
    fn bytes(&self) -> u64 {
        let waiting = self.piece.len() + self.encoder.collected_bytes();
        self.part.bytes() + waiting as u64
    }

    /// Appends all that it holds to the file, and closes the file until the next write.
    async fn suspend(&mut self) -> Result<(), ConnectorError> {
        self.encoder.flush(&mut self.piece).map_err(|error| not_encoded(&error))?;
        self.hand_over().await?;
        self.piece = Vec::new();
        self.part.suspend();
        Ok(())
    }

    async fn hand_over(&mut self) -> Result<(), ConnectorError> {
        if !self.piece.is_empty() {
            self.part.write(&self.piece).await?;
            self.piece.clear();
        }
        Ok(())
    }

    /// Encodes the end and makes the content durable. Returns the directories whose entries the caller still has to
    /// sync.
    async fn finish(mut self) -> Result<(PartCommittable, Vec<PathBuf>), ConnectorError> {
        self.encoder.finish(&mut self.piece).map_err(|error| not_encoded(&error))?;
        if !self.piece.is_empty() {
            self.part.write(&self.piece).await?;
        }
        self.part.finish_content().await
    }
}

impl FileSinkWriter {
    pub(crate) fn new(
        spec: &SinkOperator,
        schema: &SchemaRef,
        identity: SinkIdentity,
        location: &Location,
        seams: &Seams,
    ) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        let partitions = Partitions::new(&spec.partition_by, schema).map_err(|reason| options.error(reason))?;
        let kept = partitions.kept(schema).map_err(|error| options.error(error.to_string()))?;
        let format = format_of(&options, None)?;
        let names = PartNames { stem: PART_STEM, extension: format.name, identity };
        let mut files = PartFiles::new(location, names, seams.io.clone())?;
        if !spec.partition_by.is_empty() {
            files = files.with_many_open();
        }
        let rolling = Rolling::new(&options, files.is_stored())?;
        Ok(Self {
            files,
            format: (format.parts)(&options, &kept, &seams.entropy)?,
            partitions,
            rolling,
            clock: seams.clock.clone(),
            open: BTreeMap::new(),
            active: BTreeMap::new(),
            writes: 0,
            waiting: Vec::new(),
            waiting_bytes: 0,
            closed: Vec::new(),
            unsynced: Unsynced::default(),
            io: seams.io.clone(),
        })
    }

    /// Writes rows of one partition.
    async fn write_part(&mut self, directory: String, rows: &RecordBatch) -> Result<(), ConnectorError> {
        let now = self.clock.monotonic();
        self.make_room(&directory, now).await?;
        let group_bytes = (ROW_GROUP_BYTES_MAX / (self.active.len() + 1)).max(ROW_GROUP_BYTES_MIN);
        self.writes += 1;
        self.active.insert(self.writes, directory.clone());
        let open = match self.open.entry(directory) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(none) => {
                let part = self.files.begin(none.key())?;
                none.insert(OpenPart::begin(self.format.as_ref(), part, now)?)
            }
        };
        self.active.remove(&open.last_write);
        open.last_write = self.writes;
        open.encoder.encode(rows, group_bytes, &mut open.piece).map_err(|error| not_encoded(&error))?;
        if open.piece.len() >= PIECE_BYTES {
            open.hand_over().await?;
        }
        Ok(())
    }

    /// Finishes the part of a directory if it is large or old enough. If the part needs an open file and all allowed
    /// files are open, closes the one written least recently: for a while, or for good in an object store.
    async fn make_room(&mut self, directory: &str, now: Duration) -> Result<(), ConnectorError> {
        let known = self.open.get(directory);
        if known.is_some_and(|open| self.rolling.is_over(open, now)) {
            return self.close(directory).await;
        }
        let is_active = known.is_some_and(|open| self.active.contains_key(&open.last_write));
        if is_active || self.active.len() < OPEN_PARTS_MAX {
            return Ok(());
        }
        let Some((_, oldest)) = self.active.pop_first() else { return Ok(()) };
        match self.open.get_mut(&oldest) {
            Some(open) if !self.files.is_stored() => open.suspend().await,
            _ => self.close(&oldest).await,
        }
    }

    async fn close(&mut self, directory: &str) -> Result<(), ConnectorError> {
        if let Some(part) = self.open.remove(directory) {
            self.active.remove(&part.last_write);
            let (closed, directories) = part.finish().await?;
            self.closed.push(closed);
            self.unsynced.add(directories);
        }
        Ok(())
    }

    /// Whether these partitions would need more open files than allowed.
    fn is_crowded(&self, split: &[(String, RecordBatch)]) -> bool {
        let is_active = |directory: &String| {
            self.open.get(directory).is_some_and(|open| self.active.contains_key(&open.last_write))
        };
        let new = split.iter().filter(|(directory, _)| !is_active(directory)).count();
        new > 0 && self.active.len() + new > OPEN_PARTS_MAX
    }

    fn keep_waiting(&mut self, batch: &RecordBatch) {
        self.waiting_bytes += held_bytes(batch);
        self.waiting.push(batch.clone());
    }

    /// Writes the waiting rows. A partitioned table concatenates them first, so that each partition gets a long run.
    async fn pour(&mut self) -> Result<(), ConnectorError> {
        self.waiting_bytes = 0;
        let mut waiting = std::mem::take(&mut self.waiting).into_iter().peekable();
        while let Some(first) = waiting.next() {
            let (schema, mut bytes, mut group) = (first.schema(), held_bytes(&first), vec![first]);
            while !self.partitions.are_none()
                && let Some(next) = waiting.next_if(|_| bytes < WAITING_BYTES_MAX)
            {
                bytes += held_bytes(&next);
                group.push(next);
            }
            let rows = concat_batches(&schema, &group).map_err(|error| not_encoded(&error))?;
            drop(group);
            for (directory, rows) in self.partitions.split(&rows).map_err(|error| not_encoded(&error))? {
                for from in (0..rows.num_rows()).step_by(RUN_ROWS) {
                    let run = rows.slice(from, RUN_ROWS.min(rows.num_rows() - from));
                    self.write_part(directory.clone(), &run).await?;
                    // Encoding takes a while; let other tasks on this thread run.
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }

    /// Splits off everything written so far as a writer of its own; later rows are not part of it.
    fn cut(&mut self) -> Self {
        Self {
            files: self.files.clone(),
            format: self.format.clone(),
            partitions: self.partitions.clone(),
            rolling: self.rolling,
            clock: self.clock.clone(),
            open: std::mem::take(&mut self.open),
            active: std::mem::take(&mut self.active),
            writes: self.writes,
            waiting: std::mem::take(&mut self.waiting),
            waiting_bytes: std::mem::take(&mut self.waiting_bytes),
            closed: std::mem::take(&mut self.closed),
            unsynced: std::mem::take(&mut self.unsynced),
            io: self.io.clone(),
        }
    }

    /// Writes the waiting rows and makes everything durable.
    async fn finish(mut self) -> Result<Vec<Value>, ConnectorError> {
        self.pour().await?;
        let finishing = self.open.into_values().map(|open| async move {
            let finished = open.finish().await;
            tokio::task::yield_now().await;
            finished
        });
        let mut finished = stream::iter(finishing).buffered(SYNCS_MAX);
        while let Some((closed, directories)) = finished.try_next().await? {
            self.closed.push(closed);
            self.unsynced.add(directories);
        }
        self.unsynced.sync(self.io.as_ref()).await?;
        Ok(to_values(&self.closed))
    }
}

/// The memory that rows hold. A buffer that columns share, such as the received message, counts once.
fn held_bytes(batch: &RecordBatch) -> usize {
    fn add(data: &ArrayData, seen: &mut HashSet<usize>) -> usize {
        let buffers = data.buffers().iter().chain(data.nulls().map(|nulls| nulls.buffer()));
        let own: usize = buffers
            .filter(|buffer| seen.insert(buffer.data_ptr().as_ptr() as usize))
            .map(|buffer| buffer.capacity())
            .sum();
        own + data.child_data().iter().map(|child| add(child, seen)).sum::<usize>()
    }
    let mut seen = HashSet::new();
    batch.columns().iter().map(|column| add(&column.to_data(), &mut seen)).sum()
}

impl Rolling {
    fn new(options: &Options<'_>, is_stored: bool) -> Result<Self, ConnectorError> {
        let bytes = options.bytes(FILE_SIZE)?.unwrap_or(PART_BYTES);
        if bytes == 0 {
            return Err(options.error(format!("option '{FILE_SIZE}' must be above 0")));
        }
        if is_stored && bytes > STORED_PART_BYTES_MAX {
            return Err(options.error(format!("option '{FILE_SIZE}' must be at most 4 GiB in an object store")));
        }
        let age = options.duration(ROLLOVER_INTERVAL)?;
        let is_sized = options.is_set(FILE_SIZE);
        let over_seals = match options.text(ON_CHECKPOINT) != Some("false") {
            true => None,
            false if age.is_none() && !is_sized => {
                let reason = format!("option '{ON_CHECKPOINT}' = 'false' needs '{ROLLOVER_INTERVAL}' or '{FILE_SIZE}'");
                return Err(options.error(reason));
            }
            false => Some(Rollover { bytes: if is_sized { bytes } else { HELD_BYTES }, age }),
        };
        Ok(Self { bytes, age, over_seals })
    }

    fn is_over(&self, open: &OpenPart, now: Duration) -> bool {
        open.bytes() >= self.bytes || self.age.is_some_and(|age| now.saturating_sub(open.since) >= age)
    }
}

fn not_encoded(error: &ArrowError) -> ConnectorError {
    ConnectorError::Data { attempted: "encode rows".to_owned(), reason: error.to_string() }
}

#[async_trait]
impl SinkWriter for FileSinkWriter {
    async fn write(&mut self, batch: &RecordBatch) -> Result<(), ConnectorError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.waiting.is_empty() {
            let split = self.partitions.split(batch).map_err(|error| not_encoded(&error))?;
            if !self.is_crowded(&split) {
                for (directory, rows) in split {
                    self.write_part(directory, &rows).await?;
                }
                return Ok(());
            }
        }
        self.keep_waiting(batch);
        if self.waiting_bytes >= WAITING_BYTES_MAX { self.pour().await } else { Ok(()) }
    }

    async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
        Ok(self.cut().finish().boxed())
    }

    async fn seal_with(&mut self, rows: Vec<RecordBatch>) -> Result<Sealing, ConnectorError> {
        let mut cut = self.cut();
        let sealing = async move {
            rows.iter().filter(|batch| batch.num_rows() > 0).for_each(|batch| cut.keep_waiting(batch));
            drop(rows);
            cut.finish().await
        };
        Ok(sealing.boxed())
    }

    fn unfit(&self, batch: &RecordBatch) -> Vec<Fault> {
        let mut faults = self.partitions.unfit(batch);
        // Columns that cannot be told apart are told by writing.
        let of_format = self.partitions.kept_of(batch).map(|kept| self.format.unfit(&kept)).unwrap_or_default();
        let others = of_format.into_iter().filter(|fault| faults.iter().all(|known| known.row != fault.row));
        let others: Vec<Fault> = others.collect();
        if !others.is_empty() {
            faults.extend(others);
            faults.sort_by_key(|fault| fault.row);
        }
        faults
    }

    fn rollover(&self) -> Option<Rollover> {
        self.rolling.over_seals
    }
}
