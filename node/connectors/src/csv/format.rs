//! CSV as a format of tables.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use bytes::Bytes;

use super::{CsvFormat, CsvWriter};
use crate::{
    ConnectorError,
    format::{Format, LineFormat, PartEncoder, PartFormat, Ranges},
    lines::LineDecoder,
};

pub(crate) const FORMAT: Format = Format {
    name: "csv",
    ranges: Ranges::Lines(|options, schema| {
        Ok(Arc::new(CsvLines { format: CsvFormat::new(options, schema)?, schema: schema.clone() }))
    }),
    parts: |options, schema, _| Ok(Arc::new(CsvParts(CsvWriter::new(options, schema)?))),
};

#[derive(Debug)]
struct CsvLines {
    format: CsvFormat,
    schema: SchemaRef,
}

impl LineFormat for CsvLines {
    fn spans_lines(&self) -> bool {
        self.format.spans_lines()
    }

    fn has_header(&self) -> bool {
        self.format.has_header()
    }

    fn decoder(&self, input: &str, header: Option<&[u8]>) -> Result<Box<dyn LineDecoder>, ConnectorError> {
        Ok(Box::new(match header {
            Some(header) => self.format.decoder_with_header(input, header, &self.schema)?,
            None => self.format.decoder(input, &self.schema)?,
        }))
    }
}

#[derive(Clone)]
struct CsvParts(CsvWriter);

impl PartFormat for CsvParts {
    fn begin(&self, piece: &mut Vec<u8>) -> Result<Box<dyn PartEncoder>, ArrowError> {
        self.0.write_header(piece);
        Ok(Box::new(self.clone()))
    }
}

impl PartEncoder for CsvParts {
    fn encode(&mut self, rows: &RecordBatch, _group_bytes: usize, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.0.write(rows, piece)
    }

    fn absorb(&mut self, part: &Bytes, _group_bytes: usize, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        let mut header = Vec::new();
        self.0.write_header(&mut header);
        piece.extend_from_slice(part.strip_prefix(&header[..]).unwrap_or(part));
        Ok(())
    }
}
