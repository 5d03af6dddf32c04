//! What the text formats have in common: blocks of whole lines are decoded into columns.

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions},
    compute::filter,
    datatypes::SchemaRef,
    error::ArrowError,
};

use crate::{ConnectorError, notices::Absent};

/// A line that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineFault {
    /// Where it begins in the block.
    pub(crate) start: usize,
    /// Where it ends in the block, without its line feed.
    pub(crate) end: usize,
    /// What is wrong.
    pub(crate) reason: String,
}

/// Turns lines into rows.
pub(crate) trait LineDecoder: Send {
    /// Decodes records of a block that ends with a line feed, from an offset on, until there are so many rows. Returns the
    /// offset behind the last record taken: `from` where the block holds no whole record.
    fn decode(&mut self, block: &[u8], from: usize, rows_max: usize, faults: &mut Vec<LineFault>) -> usize;

    /// How many rows there are.
    fn rows(&self) -> usize;

    /// The columns that no record had so far, where records name their columns.
    fn absent(&self) -> Vec<Absent> {
        Vec::new()
    }

    /// The rows as a batch; the decoder starts again.
    fn finish(&mut self) -> Result<RecordBatch, ArrowError>;
}

/// A batch of the rows that were read, of which there are so many, without those of lines that could not be read.
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
    // Where no column is wanted, only this says how many rows there are.
    let options = RecordBatchOptions::new().with_row_count(Some(rows - holes.len()));
    RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
}

/// Longer records are refused: one line must not fill the memory.
pub(crate) const RECORD_BYTES_MAX: usize = 64 << 20;

/// What may stand before the first line of a text in UTF-8.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Refuses a file whose beginning says that it is no text.
pub(crate) fn check_text(name: &str, beginning: &[u8]) -> Result<(), ConnectorError> {
    let reason = match beginning {
        [0x1f, 0x8b, ..] => "it is compressed with gzip",
        [b'P', b'A', b'R', b'1', ..] => "it is a Parquet file",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it is text in UTF-16, and only UTF-8 is read",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "it is compressed with zstd",
        _ => return Ok(()),
    };
    Err(ConnectorError::Data { attempted: format!("read {name} as text"), reason: reason.to_owned() })
}

/// The longest part of a malformed record that is kept.
const DEAD_RECORD_CHARS_MAX: usize = 4096;

/// A malformed record as text, shortened where it is very long.
pub(crate) fn shown_record(record: &[u8]) -> String {
    let head = record.get(..DEAD_RECORD_CHARS_MAX * 4).unwrap_or(record);
    String::from_utf8_lossy(head).trim_end_matches('\r').chars().take(DEAD_RECORD_CHARS_MAX).collect()
}
