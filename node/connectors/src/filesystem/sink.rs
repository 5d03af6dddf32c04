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
use serde_json::Value;
use thalweg_types::graph::SinkOperator;

use super::{
    location::Location,
    parts::{PartNames, PartWriter},
};
use crate::{ConnectorError, SinkIdentity, SinkWriter, csv::CsvWriter, json::JsonWriter, options::Options};

/// What is encoded before it is handed to the file.
const PIECE_BYTES: usize = 1 << 20;
/// A row group that takes this much memory is written: until then it is held, whatever the size of its rows.
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;

/// What the names of published files begin with.
pub(crate) const PART_STEM: &str = "part";

enum Encoder {
    Json(JsonWriter),
    Csv(CsvWriter),
    Parquet { properties: Box<WriterProperties>, writer: Option<Box<ArrowWriter<Vec<u8>>>> },
}

/// Writes one subtask's rows into a directory.
pub(crate) struct FileSinkWriter {
    schema: SchemaRef,
    parts: PartWriter,
    encoder: Encoder,
    /// Encoded and not yet handed to the file.
    piece: Vec<u8>,
    /// Whether the current part has no rows yet.
    is_empty: bool,
}

impl FileSinkWriter {
    pub(crate) fn new(
        spec: &SinkOperator,
        schema: SchemaRef,
        identity: SinkIdentity,
        location: &Location,
    ) -> Result<Self, ConnectorError> {
        let options = Options::new(&spec.table, &spec.connector);
        let invalid = |reason: String| options.error(reason);
        let (extension, encoder) = match options.required("format")? {
            "json" => ("json", Encoder::Json(JsonWriter::new(&schema, json_form(&options)).map_err(invalid)?)),
            "csv" => ("csv", Encoder::Csv(CsvWriter::new(&options, &schema)?)),
            "parquet" => {
                ("parquet", Encoder::Parquet { properties: Box::new(parquet_properties(&options)?), writer: None })
            }
            other => return Err(options.error(format!("unknown format '{other}'"))),
        };
        let names = PartNames { stem: PART_STEM, extension, identity };
        let parts = PartWriter::new(location, names)?;
        Ok(Self { schema, parts, encoder, piece: Vec::new(), is_empty: true })
    }

    /// The same writer, of smaller parts.
    #[cfg(test)]
    pub(super) fn with_part_bytes_max(self, bytes_max: u64) -> Self {
        Self { parts: self.parts.with_bytes_max(bytes_max), ..self }
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match &mut self.encoder {
            Encoder::Json(writer) => writer.write(batch, &mut self.piece),
            Encoder::Csv(writer) => {
                if self.is_empty {
                    writer.write_header(&mut self.piece);
                }
                writer.write(batch, &mut self.piece)
            }
            Encoder::Parquet { properties, writer } => {
                let writer = match writer {
                    Some(writer) => writer,
                    None => {
                        let schema = self.schema.clone();
                        let fresh = ArrowWriter::try_new(Vec::new(), schema, Some(*properties.clone()))?;
                        writer.insert(Box::new(fresh))
                    }
                };
                writer.write(batch)?;
                if writer.memory_size() >= ROW_GROUP_BYTES_MAX {
                    writer.flush()?;
                }
                self.piece.append(writer.inner_mut());
                Ok(())
            }
        }
    }

    fn encode_end(&mut self) -> Result<(), ArrowError> {
        if let Encoder::Parquet { writer, .. } = &mut self.encoder
            && let Some(writer) = writer.take()
        {
            self.piece.append(&mut writer.into_inner()?);
        }
        Ok(())
    }

    async fn hand_over(&mut self) -> Result<(), ConnectorError> {
        if !self.piece.is_empty() {
            self.parts.write(&self.piece).await?;
            self.piece.clear();
        }
        Ok(())
    }

    /// Ends the current part's encoding, and the part.
    async fn close_part(&mut self) -> Result<(), ConnectorError> {
        self.encode_end().map_err(|error| not_encoded(&error))?;
        self.hand_over().await?;
        self.is_empty = true;
        self.parts.close().await
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
        self.encode(batch).map_err(|error| not_encoded(&error))?;
        self.is_empty = false;
        if self.piece.len() >= PIECE_BYTES {
            self.hand_over().await?;
        }
        if self.parts.is_full() { self.close_part().await } else { Ok(()) }
    }

    async fn prepare(&mut self) -> Result<Vec<Value>, ConnectorError> {
        self.close_part().await?;
        self.parts.prepare().await
    }
}
