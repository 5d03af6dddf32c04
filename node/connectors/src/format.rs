//! Formats, whatever carries them: how lines are decoded, and how part files are encoded.
//!
//! Each format is a module with a `FORMAT`, and a line in `FORMATS`; its options are in its spec
//! (`thalweg_types::connector`). Connectors ask for a format by the table's `'format'`, never for one of a name.

use std::{fmt::Debug, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};

use crate::{ConnectorError, csv, json, lines::LineDecoder, options::Options, parquet};

/// All formats; each has a spec of its name.
const FORMATS: &[Format] = &[json::FORMAT, csv::FORMAT, parquet::FORMAT];

/// A format.
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
}

type OpenLines = fn(&Options<'_>, &SchemaRef) -> Result<Arc<dyn LineFormat>, ConnectorError>;
type OpenParts = fn(&Options<'_>, &SchemaRef) -> Result<Arc<dyn PartFormat>, ConnectorError>;

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

    /// Encodes the rest, and the end of the file.
    fn finish(self: Box<Self>, _piece: &mut Vec<u8>) -> Result<(), ArrowError> {
        Ok(())
    }
}

/// The format that a table names; `otherwise` if it names none.
///
/// # Errors
/// If there is no such format, or the table must name one.
pub(crate) fn format_of(
    options: &Options<'_>,
    otherwise: Option<&'static str>,
) -> Result<&'static Format, ConnectorError> {
    let name = match (options.text("format"), otherwise) {
        (None, Some(otherwise)) => otherwise,
        _ => options.required("format")?,
    };
    let found = FORMATS.iter().find(|format| format.name == name);
    found.ok_or_else(|| options.error(format!("unknown format '{name}'")))
}

/// The lines of a table whose records come one after the other, such as the standard input.
///
/// # Errors
/// As `format_of`; if the format has no lines; if it cannot hold the table's columns.
pub(crate) fn lines_of(
    options: &Options<'_>,
    otherwise: &'static str,
    schema: &SchemaRef,
) -> Result<Arc<dyn LineFormat>, ConnectorError> {
    let format = format_of(options, Some(otherwise))?;
    match format.ranges {
        Ranges::Lines(open) => open(options, schema),
        Ranges::RowGroups => Err(options.error(format!("format '{}' has no lines", format.name))),
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::connector;

    use super::FORMATS;

    #[test]
    fn every_format_has_a_spec_and_every_spec_a_format() {
        let names = |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>();
        assert_eq!(
            names(&mut FORMATS.iter().map(|format| format.name)),
            names(&mut connector::FORMATS.iter().map(|spec| spec.name))
        );
    }
}
