//! Encodes record batches as CSV.

use arrow::{
    array::{Array as _, RecordBatch},
    datatypes::SchemaRef,
    error::ArrowError,
};

use super::{Dialect, check_flat};
use crate::{
    ConnectorError,
    json::{PlainColumn, timestamp::TimestampForm},
    lines::BYTE_ORDER_MARK,
    options::Options,
};

/// Writes batches of one schema.
#[derive(Debug, Clone)]
pub(crate) struct CsvWriter {
    dialect: Dialect,
    header: Option<Vec<String>>,
    scratch: Vec<u8>,
}

impl CsvWriter {
    pub(crate) fn new(options: &Options<'_>, schema: &SchemaRef) -> Result<Self, ConnectorError> {
        check_flat(options, schema)?;
        let names = || schema.fields().iter().map(|field| field.name().clone()).collect();
        let header = options.is_true("csv.header").then(names);
        Ok(Self { dialect: Dialect::new(options)?, header, scratch: Vec::new() })
    }

    /// Writes the line that names the columns, if the table wants one.
    pub(crate) fn write_header(&self, into: &mut Vec<u8>) {
        let Some(names) = &self.header else { return };
        for (index, name) in names.iter().enumerate() {
            if index > 0 {
                into.push(self.dialect.delimiter);
            }
            write_field(name.as_bytes(), &self.dialect, into);
        }
        into.push(b'\n');
    }

    /// Appends one line per row.
    pub(crate) fn write(&mut self, batch: &RecordBatch, into: &mut Vec<u8>) -> Result<(), ArrowError> {
        self.write_each(batch, into, |into| into.push(b'\n'))
    }

    /// Appends one record per row, and calls `end` behind each.
    pub(crate) fn write_each(
        &mut self,
        batch: &RecordBatch,
        into: &mut Vec<u8>,
        mut end: impl FnMut(&mut Vec<u8>),
    ) -> Result<(), ArrowError> {
        let columns = batch
            .columns()
            .iter()
            .map(|array| Ok((array, PlainColumn::of(array, TimestampForm::Sql)?)))
            .collect::<Result<Vec<_>, ArrowError>>()?;
        for row in 0..batch.num_rows() {
            for (index, (array, column)) in columns.iter().enumerate() {
                if index > 0 {
                    into.push(self.dialect.delimiter);
                }
                if array.is_null(row) {
                    into.extend_from_slice(&self.dialect.null_literal);
                    continue;
                }
                self.scratch.clear();
                column.write(row, &mut self.scratch);
                write_field(&self.scratch, &self.dialect, into);
            }
            end(into);
        }
        Ok(())
    }
}

/// Writes a non-null field, quoted if it would otherwise be read back as something else.
fn write_field(text: &[u8], dialect: &Dialect, into: &mut Vec<u8>) {
    let is_special = |byte: &u8| *byte == dialect.delimiter || matches!(byte, b'"' | b'\n' | b'\r');
    let is_plain = !text.is_empty() && text != dialect.null_literal && !text.starts_with(BYTE_ORDER_MARK);
    if is_plain && !text.iter().any(is_special) {
        into.extend_from_slice(text);
        return;
    }
    into.push(b'"');
    for byte in text {
        if *byte == b'"' {
            into.push(b'"');
        }
        into.push(*byte);
    }
    into.push(b'"');
}
