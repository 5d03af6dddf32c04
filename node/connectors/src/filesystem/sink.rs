//! Writes rows into part files: encoded in memory, handed to the file in large pieces.
//!
//! Every part file is whole by itself: a header or footer is written for each.

use ::parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use async_trait::async_trait;
use futures::FutureExt as _;
use thalweg_types::graph::SinkOperator;

use super::{
    location::Location,
    parts::{PART_BYTES_MAX, Part, PartCommittable, PartFiles, PartNames, to_values},
};
use crate::{ConnectorError, Sealing, SinkIdentity, SinkWriter, csv::CsvWriter, json::JsonWriter, options::Options};

/// What is encoded before it is handed to the file.
const PIECE_BYTES: usize = 1 << 20;
/// A row group that takes this much memory is written: until then it is held, whatever the size of its rows.
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;

/// What the names of published files begin with.
pub(crate) const PART_STEM: &str = "part";

/// How rows become bytes.
enum Format {
    Json(JsonWriter),
    Csv(CsvWriter),
    Parquet { schema: SchemaRef, properties: WriterProperties },
}

/// Writes one subtask's rows into a directory.
pub(crate) struct FileSinkWriter {
    files: PartFiles,
    format: Format,
    open: Option<OpenPart>,
    /// Durable, and not told to anyone yet.
    closed: Vec<PartCommittable>,
    bytes_max: u64,
}

/// A part file with what is not handed to it yet.
struct OpenPart {
    part: Part,
    /// Encoded.
    piece: Vec<u8>,
    /// Holds the rows of the current row group.
    parquet: Option<Box<ArrowWriter<Vec<u8>>>>,
}

impl Format {
    fn new(options: &Options<'_>, schema: SchemaRef) -> Result<(&'static str, Self), ConnectorError> {
        let invalid = |reason: String| options.error(reason);
        Ok(match options.required("format")? {
            "json" => ("json", Self::Json(JsonWriter::new(&schema, json_form(options)).map_err(invalid)?)),
            "csv" => ("csv", Self::Csv(CsvWriter::new(options, &schema)?)),
            "parquet" => ("parquet", Self::Parquet { properties: parquet_properties(options)?, schema }),
            other => return Err(options.error(format!("unknown format '{other}'"))),
        })
    }

    /// What every part begins with.
    fn begin(&self, part: Part) -> Result<OpenPart, ArrowError> {
        let mut piece = Vec::new();
        let parquet = match self {
            Self::Json(_) => None,
            Self::Csv(writer) => {
                writer.write_header(&mut piece);
                None
            }
            Self::Parquet { schema, properties } => {
                Some(Box::new(ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties.clone()))?))
            }
        };
        Ok(OpenPart { part, piece, parquet })
    }

    fn encode(&mut self, batch: &RecordBatch, into: &mut OpenPart) -> Result<(), ArrowError> {
        match self {
            Self::Json(writer) => writer.write(batch, &mut into.piece),
            Self::Csv(writer) => writer.write(batch, &mut into.piece),
            Self::Parquet { .. } => {
                let Some(writer) = &mut into.parquet else { return Ok(()) };
                writer.write(batch)?;
                if writer.memory_size() >= ROW_GROUP_BYTES_MAX {
                    writer.flush()?;
                }
                into.piece.append(writer.inner_mut());
                Ok(())
            }
        }
    }
}

impl OpenPart {
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
        schema: SchemaRef,
        identity: SinkIdentity,
        location: &Location,
    ) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        let (extension, format) = Format::new(&options, schema)?;
        let files = PartFiles::new(location, PartNames { stem: PART_STEM, extension, identity })?;
        Ok(Self { files, format, open: None, closed: Vec::new(), bytes_max: PART_BYTES_MAX })
    }

    /// The same writer, of smaller parts.
    #[cfg(test)]
    pub(super) fn with_part_bytes_max(self, bytes_max: u64) -> Self {
        Self { bytes_max, ..self }
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
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let begun = self.format.begin(self.files.begin()?);
                self.open.insert(begun.map_err(|error| not_encoded(&error))?)
            }
        };
        self.format.encode(batch, open).map_err(|error| not_encoded(&error))?;
        if open.piece.len() >= PIECE_BYTES {
            open.hand_over().await?;
        }
        if open.part.bytes() >= self.bytes_max
            && let Some(full) = self.open.take()
        {
            self.closed.push(full.finish().await?);
        }
        Ok(())
    }

    async fn seal(&mut self) -> Result<Sealing, ConnectorError> {
        let (mut sealed, open) = (std::mem::take(&mut self.closed), self.open.take());
        let sealing = async move {
            if let Some(open) = open {
                sealed.push(open.finish().await?);
            }
            Ok(to_values(&sealed))
        };
        Ok(sealing.boxed())
    }
}
