//! Comma-separated values: RFC 4180, with a configurable delimiter, header and NULL literal.
//!
//! A record is one line, so a file can be read in ranges. With `csv.multi-line` a quoted field may hold line feeds, and
//! a file is read as one range. An empty unquoted field is NULL; `""` is the empty text. The columns of JSON decode the
//! fields, so both formats accept the same numbers and timestamps.

mod decode;
mod format;
mod write;

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, SchemaRef},
};
use thalweg_types::connector::TABLE_COLUMNS;

pub(crate) use decode::CsvDecoder;
pub(crate) use format::FORMAT;
pub(crate) use write::CsvWriter;

use crate::{ConnectorError, lines::LineDecoder as _, options::Options};

/// The options of the format.
#[derive(Debug, Clone)]
pub(crate) struct Dialect {
    pub(crate) delimiter: u8,
    pub(crate) null_literal: Vec<u8>,
    pub(crate) multi_line: bool,
}

/// How a table's records are laid out.
#[derive(Debug, Clone)]
pub(crate) struct CsvFormat {
    dialect: Dialect,
    header: bool,
    /// The table's columns in field order; used when there is no header.
    columns: Arc<[String]>,
}

impl CsvFormat {
    /// The format of a table read with the columns of `physical`.
    pub(crate) fn new(options: &Options<'_>, physical: &SchemaRef) -> Result<Self, ConnectorError> {
        check_flat(options, physical)?;
        let columns = match physical.metadata().get(TABLE_COLUMNS) {
            Some(names) => serde_json::from_str(names)
                .map_err(|error| options.error(format!("the table's columns cannot be read: {error}")))?,
            None => physical.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>(),
        };
        Ok(Self { dialect: Dialect::new(options)?, header: options.is_true("csv.header"), columns: columns.into() })
    }

    /// The format of messages with the columns of `physical`: each is one record, so that quoted fields may hold line feeds.
    pub(crate) fn of_messages(options: &Options<'_>, physical: &SchemaRef) -> Result<Self, ConnectorError> {
        let mut format = Self::new(options, physical)?;
        format.dialect.multi_line = true;
        match format.header {
            true => Err(options.error("option 'csv.header' = 'true': messages have no header")),
            false => Ok(format),
        }
    }

    /// Whether a record may hold line feeds.
    pub(crate) fn spans_lines(&self) -> bool {
        self.dialect.multi_line
    }

    /// Whether the first line names the columns.
    pub(crate) fn has_header(&self) -> bool {
        self.header
    }

    /// A decoder for an input whose records are laid out as the table declares.
    pub(crate) fn decoder(&self, input: &str, schema: &SchemaRef) -> Result<CsvDecoder, ConnectorError> {
        self.decoder_of(input, &self.columns, schema)
    }

    /// A decoder for an input whose records are laid out as its header says.
    pub(crate) fn decoder_with_header(
        &self,
        input: &str,
        header: &[u8],
        schema: &SchemaRef,
    ) -> Result<CsvDecoder, ConnectorError> {
        self.decoder_of(input, &decode::header_names(header, &self.dialect), schema)
    }

    fn decoder_of(&self, input: &str, names: &[String], schema: &SchemaRef) -> Result<CsvDecoder, ConnectorError> {
        CsvDecoder::new(schema.clone(), names, self.dialect.clone())
            .map_err(|reason| ConnectorError::Data { attempted: format!("read {input} as CSV"), reason })
    }
}

impl Dialect {
    pub(crate) fn new(options: &Options<'_>) -> Result<Self, ConnectorError> {
        let delimiter = match options.text("csv.field-delimiter").unwrap_or(",") {
            "\\t" | "\t" => b'\t',
            text => match text.as_bytes() {
                [byte] if !matches!(byte, b'"' | b'\n' | b'\r') => *byte,
                _ => return Err(options.error("option 'csv.field-delimiter' must be one ASCII character")),
            },
        };
        Ok(Self {
            delimiter,
            null_literal: options.text("csv.null-literal").unwrap_or("").as_bytes().to_vec(),
            multi_line: options.is_true("csv.multi-line"),
        })
    }
}

/// A row of one column, of a text that is all of its value.
pub(crate) fn read_value(schema: &SchemaRef, text: &str) -> Result<RecordBatch, String> {
    let dialect = Dialect { delimiter: b',', null_literal: Vec::new(), multi_line: true };
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let mut decoder = CsvDecoder::new(schema.clone(), &names, dialect)?;
    decoder.read_message(format!("\"{}\"", text.replace('"', "\"\"")).as_bytes())?;
    decoder.finish().map_err(|error| error.to_string())
}

/// Refuses nested columns: a CSV field is a scalar.
fn check_flat(options: &Options<'_>, schema: &SchemaRef) -> Result<(), ConnectorError> {
    let is_nested = |data_type: &DataType| data_type.is_nested();
    match schema.fields().iter().find(|field| is_nested(field.data_type())) {
        Some(field) => Err(options.error(format!("column {}: CSV cannot hold nested types", field.name()))),
        None => Ok(()),
    }
}
