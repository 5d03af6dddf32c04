//! Avro as a format of files: read block by block, written in blocks of about a size.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{Fields, SchemaRef},
    error::ArrowError,
};
use bytes::Bytes;
use thalweg_types::{Fault, seam::Entropy};

use super::{
    container::{BlockHead, Codec, Head, MARKER_BYTES, write_block},
    derive::derive,
    encode::AvroWriter,
    schema::AvroSchema,
};
use crate::{
    ConnectorError,
    format::{Format, PartEncoder, PartFormat, Ranges},
    options::Options,
    typed::{WriteRow as _, cells_of, unfit},
};

/// A block is ended when its datums take this much.
const BLOCK_BYTES: usize = 64 << 10;

pub(crate) const FORMAT: Format = Format {
    name: "avro",
    ranges: Ranges::Blocks,
    parts: |options, schema, entropy| Ok(Arc::new(AvroParts::new(options, schema, entropy.clone())?)),
};

/// The text of the schema that a table's rows are written with, and what writes them: the one that this option gives, else the one
/// that the columns give.
///
/// # Errors
/// If the table gives a schema that does not fit its columns; if its columns give none.
pub(crate) fn writer_of(
    options: &Options<'_>,
    key: &str,
    columns: &Fields,
) -> Result<(String, AvroWriter), ConnectorError> {
    let text = match options.text(key) {
        Some(text) => text.to_owned(),
        None => derive(columns).map_err(|reason| options.error(reason))?,
    };
    let writer = AvroSchema::parse(&text, &[]).and_then(|schema| AvroWriter::new(&schema, columns));
    let what = if options.text(key).is_some() { format!("option '{key}': ") } else { String::new() };
    Ok((text, writer.map_err(|reason| options.error(format!("{what}{reason}")))?))
}

struct AvroParts {
    schema: String,
    writer: Arc<AvroWriter>,
    codec: Codec,
    entropy: Arc<dyn Entropy>,
}

impl AvroParts {
    fn new(options: &Options<'_>, schema: &SchemaRef, entropy: Arc<dyn Entropy>) -> Result<Self, ConnectorError> {
        let (text, writer) = writer_of(options, "avro.schema", schema.fields())?;
        let codec = options.parsed("avro.codec", Codec::named, "a codec")?.unwrap_or(Codec::Snappy);
        Ok(Self { schema: text, writer: Arc::new(writer), codec, entropy })
    }
}

impl PartFormat for AvroParts {
    fn begin(&self, piece: &mut Vec<u8>) -> Result<Box<dyn PartEncoder>, ArrowError> {
        // Whoever looks for a block by the marker must not find it in a record.
        let mut marker = [0; MARKER_BYTES];
        let (low, high) = marker.split_at_mut(8);
        low.copy_from_slice(&self.entropy.next().to_be_bytes());
        high.copy_from_slice(&self.entropy.next().to_be_bytes());
        Head::write(&self.schema, self.codec, &marker, piece);
        Ok(Box::new(AvroPart {
            writer: self.writer.clone(),
            codec: self.codec,
            marker,
            datums: Vec::new(),
            records: 0,
        }))
    }

    fn unfit(&self, rows: &RecordBatch) -> Vec<Fault> {
        unfit(self.writer.as_ref(), rows)
    }
}

/// One file: the datums of the block that is not ended.
struct AvroPart {
    writer: Arc<AvroWriter>,
    codec: Codec,
    marker: [u8; MARKER_BYTES],
    datums: Vec<u8>,
    records: usize,
}

impl AvroPart {
    fn end_block(&mut self, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        if self.records == 0 {
            return Ok(());
        }
        let records = std::mem::take(&mut self.records);
        write_block((records, &mut self.datums), self.codec, &self.marker, piece).map_err(ArrowError::AvroError)
    }
}

impl PartEncoder for AvroPart {
    fn encode(&mut self, rows: &RecordBatch, _group_bytes: usize, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        let cells = cells_of(rows)?;
        for row in 0..rows.num_rows() {
            let written = self.writer.write(&cells, row, &mut self.datums);
            written.map_err(|fault| ArrowError::AvroError(fault.to_string()))?;
            self.records += 1;
            if self.datums.len() >= BLOCK_BYTES {
                self.end_block(piece)?;
            }
        }
        Ok(())
    }

    fn collected_bytes(&self) -> usize {
        self.datums.len()
    }

    fn flush(&mut self, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.end_block(piece)
    }

    /// Blocks are taken over as they are, with this file's marker behind them.
    fn absorb(&mut self, part: &Bytes, _group_bytes: usize, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.end_block(piece)?;
        let wrong = |reason: &str| ArrowError::AvroError(format!("a part that is merged: {reason}"));
        let head = Head::parse(part).map_err(|reason| wrong(&reason))?;
        if head.codec != self.codec {
            return Err(wrong("its codec is another one"));
        }
        let mut rest = part.get(head.bytes..).unwrap_or_default();
        while !rest.is_empty() {
            let about = BlockHead::parse(rest).map_err(|reason| wrong(&reason))?;
            let end = about.head_bytes + about.bytes;
            let block = rest.get(..end).ok_or_else(|| wrong("it ends within a block"))?;
            let marker = rest.get(end..end + MARKER_BYTES).ok_or_else(|| wrong("it ends within a block"))?;
            if marker != head.marker {
                return Err(wrong("a block does not end with its marker"));
            }
            piece.extend_from_slice(block);
            piece.extend_from_slice(&self.marker);
            rest = rest.get(end + MARKER_BYTES..).unwrap_or_default();
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.end_block(piece)
    }
}
