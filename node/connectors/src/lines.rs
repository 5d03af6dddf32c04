//! What the text formats have in common: blocks of whole lines are decoded into columns.

use arrow::{array::RecordBatch, error::ArrowError};

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

    /// The rows as a batch; the decoder starts again.
    fn finish(&mut self) -> Result<RecordBatch, ArrowError>;
}

/// Longer records are refused: one line must not fill the memory.
pub(crate) const RECORD_BYTES_MAX: usize = 64 << 20;

/// The longest part of a malformed record that is kept.
const DEAD_RECORD_CHARS_MAX: usize = 4096;

/// A malformed record as text, shortened where it is very long.
pub(crate) fn shown_record(record: &[u8]) -> String {
    let head = record.get(..DEAD_RECORD_CHARS_MAX * 4).unwrap_or(record);
    String::from_utf8_lossy(head).trim_end_matches('\r').chars().take(DEAD_RECORD_CHARS_MAX).collect()
}
