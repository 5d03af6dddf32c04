//! Estimates the memory for decoding a row group, and checks it against a limit.

use std::fmt;

use ::parquet::{
    errors::Result,
    file::{metadata::RowGroupMetaData, reader::ChunkReader},
};

use super::pages::page_sizes;
use crate::sizes::BATCH_BYTES;

/// Estimated size of a column's dictionary and pages if only the footer is known: three pages of the usual size.
const USUAL_PAGES_BYTES: u64 = 3 << 20;

/// The memory for decoding some columns of a row group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) bytes: u64,
    /// The column that takes the most, and its bytes.
    most: (String, u64),
}

impl Need {
    /// The need of these leaves, estimated from the footer; `is_fetched` if their chunks are fetched whole beforehand.
    pub(super) fn by_footer(group: &RowGroupMetaData, leaves: &[usize], is_fetched: bool) -> Self {
        Self::sum(group, leaves, is_fetched, |_, length, uncompressed| {
            Ok((uncompressed.min(USUAL_PAGES_BYTES), length))
        })
        .unwrap_or(Self { bytes: 0, most: (String::new(), 0) })
    }

    /// The need of these leaves, from their page headers.
    pub(super) fn by_pages<R: ChunkReader>(
        reader: &R,
        group: &RowGroupMetaData,
        leaves: &[usize],
        is_fetched: bool,
    ) -> Result<Self> {
        Self::sum(group, leaves, is_fetched, |start, length, _| {
            let sizes = page_sizes(reader, start, length)?;
            Ok((sizes.held(), sizes.compressed))
        })
    }

    /// Sums the need of all leaves. `measure` gets a chunk's offset, length and uncompressed length, and returns how
    /// many decompressed bytes are held at once and the size of the largest page.
    fn sum(
        group: &RowGroupMetaData,
        leaves: &[usize],
        is_fetched: bool,
        measure: impl Fn(u64, u64, u64) -> Result<(u64, u64)>,
    ) -> Result<Self> {
        let (mut bytes, mut largest, mut most) = (BATCH_BYTES as u64, 0, (String::new(), 0));
        for column in leaves.iter().filter_map(|leaf| group.columns().get(*leaf)) {
            let (start, length) = column.byte_range();
            let uncompressed = u64::try_from(column.uncompressed_size()).unwrap_or(u64::MAX);
            let (held, page) = measure(start, length, uncompressed)?;
            let of_column = held.saturating_add(if is_fetched { length } else { page });
            // A chunk that is not fetched beforehand is read page by page.
            largest = page.max(largest);
            bytes = bytes.saturating_add(held).saturating_add(if is_fetched { length } else { 0 });
            if of_column > most.1 {
                most = (column.column_descr().path().string(), of_column);
            }
        }
        let bytes = bytes.saturating_add(if is_fetched { 0 } else { largest });
        Ok(Self { bytes, most })
    }

    /// Checks that the row group can be decoded within a limit.
    pub(super) fn check(&self, limit_bytes: u64) -> std::result::Result<(), TooLarge<'_>> {
        if self.bytes <= limit_bytes { Ok(()) } else { Err(TooLarge { need: self, limit_bytes }) }
    }
}

/// A row group needs more memory than there is.
#[derive(Debug)]
pub(super) struct TooLarge<'a> {
    need: &'a Need,
    limit_bytes: u64,
}

impl fmt::Display for TooLarge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Need { bytes, most: (column, of_column) } = self.need;
        let limit = self.limit_bytes;
        write!(
            f,
            "decoding it takes {bytes} bytes by what its pages say, {of_column} of them for column {column}, and readers have \
             {limit}, a quarter of the node's memory: give the node more (--memory), or write the file with smaller row groups \
             and pages"
        )
    }
}
