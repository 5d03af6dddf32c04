//! Writes rows into part files: encoded in memory, handed to the file in large pieces.
//!
//! Every part file is whole by itself: a header or footer is written for each. There is one open part for each partition, and
//! one in all where the table has none. A part is closed when it is large or old enough, and what is open when the writer
//! is sealed moves into the sealing: no part holds rows that were given in two epochs. (Where parts stay open over checkpoints, their
//! rows are given late, and together, to the sealing itself: see `rollover` and `seal_with`.)
//!
//! ```text
//! rows of open parts, or while few files are open --> encoded --> file
//! rows of more partitions ------> wait in memory --+--^
//!                         many of them, or the seal: then by the partition, one after another
//! ```
//!
//! Of more partitions than may have an open file, rows wait until there are many of each, so that a partition gets one run of rows at a
//! time. Local files are laid aside then and opened again: an epoch has one for each partition. In an object store a part cannot be
//! laid aside, and is closed.

use std::{
    collections::{BTreeMap, HashSet, btree_map::Entry},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ::parquet::{
    arrow::ArrowWriter,
    basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel},
    file::properties::WriterProperties,
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
    location::Location,
    partition::Partitions,
    parts::{
        PART_BYTES, Part, PartCommittable, PartFiles, PartNames, STORED_PART_BYTES_MAX, SYNCS_MAX, Unsynced, to_values,
    },
};
use crate::{
    ConnectorError, Rollover, Sealing, SinkIdentity, SinkWriter,
    csv::CsvWriter,
    json::JsonWriter,
    options::Options,
    parquet::{stored, stored_schema},
};

/// What is encoded before it is handed to the file.
const PIECE_BYTES: usize = 1 << 20;
/// A row group that takes this much memory is written: until then it is held, whatever the size of its rows. Parts that are
/// open at the same time share it.
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;
const ROW_GROUP_BYTES_MIN: usize = 1 << 20;
/// How many parts have an open file. Where there are more partitions, rows wait, and then the file that was written to least recently
/// makes room.
const OPEN_PARTS_MAX: usize = 100;
/// How much memory rows take that wait.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// Rows that waited are encoded so many at a time.
const RUN_ROWS: usize = 8192;

const FILE_SIZE: &str = "sink.rolling-policy.file-size";
const ROLLOVER_INTERVAL: &str = "sink.rolling-policy.rollover-interval";
const ON_CHECKPOINT: &str = "sink.rolling-policy.on-checkpoint";
/// What a part that stays open over checkpoints may hold in memory where no size is set.
const HELD_BYTES: u64 = 128 << 20;

/// What the names of published files begin with.
pub(super) const PART_STEM: &str = "part";

/// How rows become bytes.
#[derive(Clone)]
enum Format {
    Json(JsonWriter),
    Csv(CsvWriter),
    Parquet { schema: SchemaRef, properties: Box<WriterProperties> },
}

/// When a part is closed, and the next one begun, between two seals.
#[derive(Debug, Clone, Copy)]
struct Rolling {
    bytes: u64,
    age: Option<Duration>,
    /// Where parts stay open over seals.
    over_seals: Option<Rollover>,
}

/// Writes one subtask's rows into a directory.
pub(crate) struct FileSinkWriter {
    files: PartFiles,
    format: Format,
    partitions: Partitions,
    rolling: Rolling,
    clock: Arc<dyn Clock>,
    /// By the directory below the table's path; those laid aside too.
    open: BTreeMap<String, OpenPart>,
    /// The directories of those that are not laid aside, by which run of rows was the last that they took.
    active: BTreeMap<u64, String>,
    /// How many runs of rows were written.
    writes: u64,
    /// Rows that belong to no part yet, in their order.
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    /// Not told to anyone yet. What they hold is durable ..
    closed: Vec<PartCommittable>,
    /// .. and the names in these directories are still to be.
    unsynced: Unsynced,
    io: Arc<dyn Spawner>,
}

/// A part file with what is not handed to it yet.
struct OpenPart {
    part: Part,
    /// Encoded.
    piece: Vec<u8>,
    /// Holds the rows of the current row group.
    parquet: Option<Box<ArrowWriter<Vec<u8>>>>,
    /// When it was begun.
    since: Duration,
    /// Which run of rows was the last that it took.
    last_write: u64,
}

impl Format {
    fn new(options: &Options<'_>, schema: SchemaRef) -> Result<(&'static str, Self), ConnectorError> {
        let invalid = |reason: String| options.error(reason);
        Ok(match options.required("format")? {
            "json" => ("json", Self::Json(JsonWriter::new(&schema, json_form(options)).map_err(invalid)?)),
            "csv" => ("csv", Self::Csv(CsvWriter::new(options, &schema)?)),
            "parquet" => {
                let schema = stored_schema(&schema);
                ("parquet", Self::Parquet { properties: Box::new(parquet_properties(options)?), schema })
            }
            other => return Err(options.error(format!("unknown format '{other}'"))),
        })
    }

    /// What every part begins with.
    fn begin(&self, part: Part, since: Duration) -> Result<OpenPart, ArrowError> {
        let mut piece = Vec::new();
        let parquet = match self {
            Self::Json(_) => None,
            Self::Csv(writer) => {
                writer.write_header(&mut piece);
                None
            }
            Self::Parquet { schema, properties } => {
                Some(Box::new(ArrowWriter::try_new(Vec::new(), schema.clone(), Some(*properties.clone()))?))
            }
        };
        Ok(OpenPart { part, piece, parquet, since, last_write: 0 })
    }

    /// Encodes rows; a row group that takes so much memory is written.
    fn encode(&mut self, batch: &RecordBatch, into: &mut OpenPart, group_bytes: usize) -> Result<(), ArrowError> {
        match self {
            Self::Json(writer) => writer.write(batch, &mut into.piece),
            Self::Csv(writer) => writer.write(batch, &mut into.piece),
            Self::Parquet { schema, .. } => {
                let Some(writer) = &mut into.parquet else { return Ok(()) };
                writer.write(&stored(batch, schema)?)?;
                if writer.memory_size() >= group_bytes {
                    writer.flush()?;
                }
                into.piece.append(writer.inner_mut());
                Ok(())
            }
        }
    }
}

impl OpenPart {
    /// About how long it will be.
    fn bytes(&self) -> u64 {
        let waiting = self.piece.len() + self.parquet.as_ref().map_or(0, |writer| writer.in_progress_size());
        self.part.bytes() + waiting as u64
    }

    /// Hands over all that it holds, and closes the file until there is more.
    async fn lay_aside(&mut self) -> Result<(), ConnectorError> {
        if let Some(writer) = &mut self.parquet {
            writer.flush().map_err(|error| not_encoded(&error.into()))?;
            self.piece.append(writer.inner_mut());
        }
        self.hand_over().await?;
        self.piece = Vec::new();
        self.part.lay_aside();
        Ok(())
    }

    async fn hand_over(&mut self) -> Result<(), ConnectorError> {
        if !self.piece.is_empty() {
            self.part.write(&self.piece).await?;
            self.piece.clear();
        }
        Ok(())
    }

    /// Encodes the end, and makes what it holds durable; gives the directories whose names are still to be.
    async fn finish(mut self) -> Result<(PartCommittable, Vec<PathBuf>), ConnectorError> {
        if let Some(writer) = self.parquet.take() {
            let mut end = writer.into_inner().map_err(|error| not_encoded(&error.into()))?;
            self.piece.append(&mut end);
        }
        self.hand_over().await?;
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
        let (extension, format) = Format::new(&options, kept)?;
        let mut files = PartFiles::new(location, PartNames { stem: PART_STEM, extension, identity }, seams.io.clone())?;
        if !spec.partition_by.is_empty() {
            files = files.with_many_open();
        }
        let rolling = Rolling::new(&options, files.is_stored())?;
        Ok(Self {
            files,
            format,
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
                none.insert(self.format.begin(part, now).map_err(|error| not_encoded(&error))?)
            }
        };
        self.active.remove(&open.last_write);
        open.last_write = self.writes;
        self.format.encode(rows, open, group_bytes).map_err(|error| not_encoded(&error))?;
        if open.piece.len() >= PIECE_BYTES {
            open.hand_over().await?;
        }
        Ok(())
    }

    /// Closes the part of a directory where it is large or old enough. Where it has no open file and all are open that can be, the one
    /// that was written to least recently is laid aside, or closed.
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
            Some(open) if !self.files.is_stored() => open.lay_aside().await,
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

    /// Whether there is no room for the files of these partitions.
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

    /// Writes the rows that wait. Where tables have partitions each gets as many at once as there are.
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
                    // It takes a while; others on this thread go on meanwhile.
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(())
    }

    /// All that was given so far, as a writer of its own; what is given from then on is no part of it.
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

    /// Writes what waits, and makes all of it durable.
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

/// The memory that rows keep. What their columns share, such as the message that they came in, counts once.
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

/// How a table wants its timestamps written.
pub(crate) fn json_form(options: &Options<'_>) -> crate::json::timestamp::TimestampForm {
    match options.text("json.timestamp-format") {
        Some("iso-8601") => crate::json::timestamp::TimestampForm::Iso8601,
        _ => crate::json::timestamp::TimestampForm::Sql,
    }
}

fn parquet_properties(options: &Options<'_>) -> Result<WriterProperties, ConnectorError> {
    let compression = match options.text("parquet.compression") {
        None | Some("snappy") => Compression::SNAPPY,
        Some("none") => Compression::UNCOMPRESSED,
        Some("zstd") => Compression::ZSTD(ZstdLevel::default()),
        Some("lz4") => Compression::LZ4_RAW,
        Some("gzip") => Compression::GZIP(GzipLevel::default()),
        Some("brotli") => Compression::BROTLI(BrotliLevel::default()),
        Some(other) => return Err(options.error(format!("unknown compression '{other}'"))),
    };
    Ok(WriterProperties::builder().set_compression(compression).build())
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
        let mut epoch = self.cut();
        let sealing = async move {
            rows.iter().filter(|batch| batch.num_rows() > 0).for_each(|batch| epoch.keep_waiting(batch));
            drop(rows);
            epoch.finish().await
        };
        Ok(sealing.boxed())
    }

    fn unfit(&self, batch: &RecordBatch) -> Vec<Fault> {
        self.partitions.unfit(batch)
    }

    fn rollover(&self) -> Option<Rollover> {
        self.rolling.over_seals
    }
}
