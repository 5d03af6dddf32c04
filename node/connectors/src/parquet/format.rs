//! Parquet as a format of tables: read by row groups, written by the batch.

use std::sync::Arc;

use ::parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel},
    file::properties::WriterProperties,
};
use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use bytes::Bytes;

use super::stored::{stored, stored_schema};
use crate::{
    ConnectorError,
    format::{Format, PartEncoder, PartFormat, Ranges},
    options::Options,
};

pub(crate) const FORMAT: Format = Format {
    name: "parquet",
    ranges: Ranges::RowGroups,
    parts: |options, schema, _| {
        Ok(Arc::new(ParquetParts { schema: stored_schema(schema), properties: properties(options)? }))
    },
};

struct ParquetParts {
    schema: SchemaRef,
    properties: WriterProperties,
}

/// Collects the rows of the current row group.
struct ParquetPart {
    schema: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
}

impl PartFormat for ParquetParts {
    fn begin(&self, _piece: &mut Vec<u8>) -> Result<Box<dyn PartEncoder>, ArrowError> {
        let writer = ArrowWriter::try_new(Vec::new(), self.schema.clone(), Some(self.properties.clone()))?;
        Ok(Box::new(ParquetPart { schema: self.schema.clone(), writer }))
    }
}

impl PartEncoder for ParquetPart {
    fn encode(&mut self, rows: &RecordBatch, group_bytes: usize, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.writer.write(&stored(rows, &self.schema)?)?;
        if self.writer.memory_size() >= group_bytes {
            self.writer.flush()?;
        }
        piece.append(self.writer.inner_mut());
        Ok(())
    }

    fn collected_bytes(&self) -> usize {
        self.writer.in_progress_size()
    }

    fn flush(&mut self, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.writer.flush()?;
        piece.append(self.writer.inner_mut());
        Ok(())
    }

    /// Rows are encoded anew: row groups of small parts would stay small.
    fn absorb(&mut self, part: &Bytes, group_bytes: usize, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        for rows in ParquetRecordBatchReaderBuilder::try_new(part.clone())?.build()? {
            self.encode(&rows?, group_bytes, piece)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        piece.append(&mut self.writer.into_inner()?);
        Ok(())
    }
}

fn properties(options: &Options<'_>) -> Result<WriterProperties, ConnectorError> {
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
