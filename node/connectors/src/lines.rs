//! Shared by the text formats: decodes blocks of whole lines into columns.

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions},
    compute::filter,
    datatypes::SchemaRef,
    error::ArrowError,
};

use crate::{ConnectorError, notices::Absent};

/// A malformed line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineFault {
    /// Offset of its beginning in the block.
    pub(crate) start: usize,
    /// Offset of its end in the block, without the line feed.
    pub(crate) end: usize,
    pub(crate) reason: String,
}

/// Decodes lines into rows.
pub(crate) trait LineDecoder: Send {
    /// Decodes records of a block that ends with a line feed, from an offset on, until there are `rows_max` rows.
    /// Returns the offset behind the last decoded record; `from` if the block holds no whole record.
    fn decode(&mut self, block: &[u8], from: usize, rows_max: usize, faults: &mut Vec<LineFault>) -> usize;

    /// How many rows were decoded since the last `finish`.
    fn rows(&self) -> usize;

    /// The columns that no record has had so far, for formats whose records name their columns.
    fn absent(&self) -> Vec<Absent> {
        Vec::new()
    }

    /// Returns the rows as a batch and resets the decoder.
    fn finish(&mut self) -> Result<RecordBatch, ArrowError>;
}

/// A batch of `rows` decoded rows, without the holes that malformed lines left.
pub(crate) fn without_holes(
    schema: &SchemaRef,
    mut arrays: Vec<ArrayRef>,
    rows: usize,
    holes: &[usize],
) -> Result<RecordBatch, ArrowError> {
    if !holes.is_empty() {
        let mut keep = vec![true; rows];
        for hole in holes {
            keep[*hole] = false;
        }
        let keep = BooleanArray::from(keep);
        arrays = arrays.iter().map(|array| filter(array, &keep)).collect::<Result<_, _>>()?;
    }
    // If no column is wanted, only this gives the number of rows.
    let options = RecordBatchOptions::new().with_row_count(Some(rows - holes.len()));
    RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
}

/// Longer records are refused: one line must not fill the memory.
pub(crate) const RECORD_BYTES_MAX: usize = 64 << 20;

/// May precede the first line of a UTF-8 text.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Refuses a file whose first bytes show that it is not UTF-8 text.
pub(crate) fn check_text(name: &str, beginning: &[u8]) -> Result<(), ConnectorError> {
    let reason = match beginning {
        [0x1f, 0x8b, ..] => "it is compressed with gzip: that is read from files whose names end in .gz",
        [b'P', b'A', b'R', b'1', ..] => "it is a Parquet file",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it is text in UTF-16, and only UTF-8 is read",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "it is compressed with zstd: that is read from files whose names end in .zst",
        [0xff, 0x06, 0x00, 0x00, b's', b'N', b'a', ..] => {
            "it is in snappy's framing: that is read from files whose names end in .snappy"
        }
        _ => return Ok(()),
    };
    Err(ConnectorError::Data { attempted: format!("read {name} as text"), reason: reason.to_owned() })
}

/// The longest part of a malformed record that is kept.
const DEAD_RECORD_CHARS_MAX: usize = 4096;

/// A malformed record as text, shortened if it is very long.
pub(crate) fn shown_record(record: &[u8]) -> String {
    let head = record.get(..DEAD_RECORD_CHARS_MAX * 4).unwrap_or(record);
    String::from_utf8_lossy(head).trim_end_matches('\r').chars().take(DEAD_RECORD_CHARS_MAX).collect()
}
