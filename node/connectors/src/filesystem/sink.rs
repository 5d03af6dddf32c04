//! Writes rows into part files: encoded in memory, handed to the file in large pieces.
//!
//! Every part file is whole by itself: a header or footer is written for each. There is one open part for each partition, and
//! one in all where the table has none. A part is closed when it is large or old enough, and what is open when the writer
//! is sealed moves into the sealing: no part holds rows that were given in two epochs. (Where parts stay open over checkpoints, their
//! rows are given late, and together: see `rollover`.)

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use ::parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use thalweg_types::{
    graph::SinkOperator,
    seam::{Clock, Seams},
};

use super::{
    location::Location,
    partition::Partitions,
    parts::{PART_BYTES, Part, PartCommittable, PartFiles, PartNames, STORED_PART_BYTES_MAX, to_values},
};
use crate::{
    ConnectorError, Rollover, Sealing, SinkIdentity, SinkWriter, csv::CsvWriter, json::JsonWriter, options::Options,
};

/// What is encoded before it is handed to the file.
const PIECE_BYTES: usize = 1 << 20;
/// A row group that takes this much memory is written: until then it is held, whatever the size of its rows. Parts that are
/// open at the same time share it.
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;
const ROW_GROUP_BYTES_MIN: usize = 1 << 20;
/// Where there are more partitions, the part that was written to least recently is closed.
const OPEN_PARTS_MAX: usize = 100;
/// How many parts of one seal are made durable at the same time.
const FINISHING_MAX: usize = 8;

const FILE_SIZE: &str = "sink.rolling-policy.file-size";
const ROLLOVER_INTERVAL: &str = "sink.rolling-policy.rollover-interval";
const ON_CHECKPOINT: &str = "sink.rolling-policy.on-checkpoint";
/// What a part that stays open over checkpoints may hold in memory where no size is set.
const HELD_BYTES: u64 = 128 << 20;

/// What the names of published files begin with.
pub(super) const PART_STEM: &str = "part";

/// How rows become bytes.
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
    /// By the directory below the table's path.
    open: BTreeMap<String, OpenPart>,
    /// How many runs of rows were written.
    writes: u64,
    /// Durable, and not told to anyone yet.
    closed: Vec<PartCommittable>,
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
            "parquet" => ("parquet", Self::Parquet { properties: Box::new(parquet_properties(options)?), schema }),
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
            Self::Parquet { .. } => {
                let Some(writer) = &mut into.parquet else { return Ok(()) };
                writer.write(batch)?;
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

    async fn hand_over(&mut self) -> Result<(), ConnectorError> {
        if !self.piece.is_empty() {
            self.part.write(&self.piece).await?;
            self.piece.clear();
        }
        Ok(())
    }

    /// Encodes the end, and makes all of it durable.
    async fn finish(mut self) -> Result<PartCommittable, ConnectorError> {
        if let Some(writer) = self.parquet.take() {
            let mut end = writer.into_inner().map_err(|error| not_encoded(&error.into()))?;
            self.piece.append(&mut end);
        }
        self.hand_over().await?;
        self.part.finish().await
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
        let (open, closed, clock) = (BTreeMap::new(), Vec::new(), seams.clock.clone());
        Ok(Self { files, format, partitions, rolling, clock, open, writes: 0, closed })
    }

    /// Writes rows of one partition.
    async fn write_part(&mut self, directory: String, rows: &RecordBatch) -> Result<(), ConnectorError> {
        let now = self.clock.monotonic();
        self.make_room(&directory, now).await?;
        let group_bytes = (ROW_GROUP_BYTES_MAX / (self.open.len() + 1)).max(ROW_GROUP_BYTES_MIN);
        let open = match self.open.entry(directory) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(none) => {
                let part = self.files.begin(none.key())?;
                none.insert(self.format.begin(part, now).map_err(|error| not_encoded(&error))?)
            }
        };
        self.writes += 1;
        open.last_write = self.writes;
        self.format.encode(rows, open, group_bytes).map_err(|error| not_encoded(&error))?;
        if open.piece.len() >= PIECE_BYTES {
            open.hand_over().await?;
        }
        Ok(())
    }

    /// Closes the part of a directory where it is large or old enough; where there is none and all may be open that can be, the
    /// one that was written to least recently.
    async fn make_room(&mut self, directory: &str, now: Duration) -> Result<(), ConnectorError> {
        let closing = match self.open.get(directory) {
            Some(open) => self.rolling.is_over(open, now).then(|| directory.to_owned()),
            None if self.open.len() < OPEN_PARTS_MAX => None,
            None => self.open.iter().min_by_key(|(_, open)| open.last_write).map(|(directory, _)| directory.clone()),
        };
        if let Some(part) = closing.and_then(|directory| self.open.remove(&directory)) {
            self.closed.push(part.finish().await?);
        }
        Ok(())
    }
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
        for (directory, rows) in self.partitions.split(batch).map_err(|error| not_encoded(&error))? {
            self.write_part(directory, &rows).await?;
        }
        Ok(())
    }

    async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
        let (mut sealed, open) = (std::mem::take(&mut self.closed), std::mem::take(&mut self.open));
        let sealing = async move {
            let finishing = open.into_values().map(OpenPart::finish);
            let finished = stream::iter(finishing).buffered(FINISHING_MAX);
            sealed.extend(finished.try_collect::<Vec<_>>().await?);
            Ok(to_values(&sealed))
        };
        Ok(sealing.boxed())
    }

    fn rollover(&self) -> Option<Rollover> {
        self.rolling.over_seals
    }
}
