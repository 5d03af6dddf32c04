//! What a format is, whatever carries it: how its lines are decoded, and how its part files are encoded.
//!
//! Each format is a module with a `FORMAT`, and a line in `formats`. Its options are in its spec
//! (`thalweg_types::connector`). Formats of single messages are opened in `messages`.

use std::{fmt::Debug, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use bytes::Bytes;
use thalweg_types::{Fault, seam::Entropy};

use crate::{ConnectorError, lines::LineDecoder, options::Options};

pub(crate) struct Format {
    /// Its spec's.
    pub(crate) name: &'static str,
    /// How byte ranges of files are read.
    pub(crate) ranges: Ranges,
    /// How part files are written.
    pub(crate) parts: OpenParts,
}

/// How the bytes of a file are cut into ranges.
pub(crate) enum Ranges {
    /// Between lines.
    Lines(OpenLines),
    /// Between the row groups of Parquet.
    RowGroups,
    /// Not at all: the blocks of an Avro file are read one after the other.
    Blocks,
}

type OpenLines = fn(&Options<'_>, &SchemaRef) -> Result<Arc<dyn LineFormat>, ConnectorError>;
type OpenParts = fn(&Options<'_>, &SchemaRef, &Arc<dyn Entropy>) -> Result<Arc<dyn PartFormat>, ConnectorError>;

/// The lines of one table, which has the columns of its schema.
pub(crate) trait LineFormat: Send + Sync + Debug {
    /// Whether a record may hold line feeds: then a file is one range.
    fn spans_lines(&self) -> bool {
        false
    }

    /// Whether the first line names the columns.
    fn has_header(&self) -> bool {
        false
    }

    /// A decoder for an input, which errors name. Without a header, records are laid out as the table declares.
    fn decoder(&self, input: &str, header: Option<&[u8]>) -> Result<Box<dyn LineDecoder>, ConnectorError>;
}

/// The part files of one table.
pub(crate) trait PartFormat: Send + Sync {
    /// Begins a part. What the file begins with goes into `piece`.
    fn begin(&self, piece: &mut Vec<u8>) -> Result<Box<dyn PartEncoder>, ArrowError>;

    /// The rows that a file of this format cannot hold.
    fn unfit(&self, _rows: &RecordBatch) -> Vec<Fault> {
        Vec::new()
    }
}

/// Encodes one part file, piece by piece.
pub(crate) trait PartEncoder: Send {
    /// Encodes rows. A format that collects rows writes them out once they take `group_bytes` of memory.
    fn encode(&mut self, rows: &RecordBatch, group_bytes: usize, piece: &mut Vec<u8>) -> Result<(), ArrowError>;

    /// Estimated bytes of the rows that it has collected.
    fn collected_bytes(&self) -> usize {
        0
    }

    /// Writes out what it has collected.
    fn flush(&mut self, _piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        Ok(())
    }

    /// Goes on with the rows of a whole part file of the same table. `group_bytes` as for `encode`.
    fn absorb(&mut self, part: &Bytes, group_bytes: usize, piece: &mut Vec<u8>) -> Result<(), ArrowError>;

    /// Encodes the rest, and the end of the file.
    fn finish(self: Box<Self>, _piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        Ok(())
    }
}
