//! Estimates the memory for decoding a row group, and checks it against a limit.

use std::fmt;

use ::parquet::{
    errors::Result,
    file::{
        metadata::{ColumnChunkMetaData, RowGroupMetaData},
        reader::ChunkReader,
    },
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
    /// Of these leaves, which are fetched whole before, by what a footer says.
    pub(super) fn by_footer(group: &RowGroupMetaData, leaves: &[usize]) -> Self {
        let mut need = Self::of_nothing();
        for column in columns(group, leaves) {
            let uncompressed = u64::try_from(column.uncompressed_size()).unwrap_or(u64::MAX);
            need.add(column, uncompressed.min(USUAL_PAGES_BYTES), column.byte_range().1);
        }
        need
    }

    /// Of these leaves, by what their pages say; `is_fetched`: they are fetched whole before.
    pub(super) fn by_pages<R: ChunkReader>(
        reader: &R,
        group: &RowGroupMetaData,
        leaves: &[usize],
        is_fetched: bool,
    ) -> Result<Self> {
        let (mut need, mut largest) = (Self::of_nothing(), 0);
        for column in columns(group, leaves) {
            let (start, length) = column.byte_range();
            let sizes = page_sizes(reader, start, length)?;
            need.add(column, sizes.held(), if is_fetched { length } else { 0 });
            largest = sizes.compressed.max(largest);
        }
        // What is not fetched before is read page by page.
        if !is_fetched {
            need.bytes = need.bytes.saturating_add(largest);
        }
        Ok(need)
    }

    fn of_nothing() -> Self {
        Self { bytes: BATCH_BYTES as u64, most: (String::new(), 0) }
    }

    /// What is held of a column decompressed, and what of it as it is in the file.
    fn add(&mut self, column: &ColumnChunkMetaData, held: u64, fetched: u64) {
        let of_column = held.saturating_add(fetched);
        self.bytes = self.bytes.saturating_add(of_column);
        if of_column > self.most.1 {
            self.most = (column.column_descr().path().string(), of_column);
        }
    }

    /// Checks that the row group can be decoded within a limit.
    pub(super) fn check(&self, limit_bytes: u64) -> std::result::Result<(), TooLarge<'_>> {
        if self.bytes <= limit_bytes { Ok(()) } else { Err(TooLarge { need: self, limit_bytes }) }
    }
}

fn columns<'a>(group: &'a RowGroupMetaData, leaves: &'a [usize]) -> impl Iterator<Item = &'a ColumnChunkMetaData> {
    leaves.iter().filter_map(|leaf| group.columns().get(*leaf))
}

/// A row group does not fit.
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
            "decoding it takes {bytes} bytes by what it says itself, {of_column} of them for column {column}, and readers have \
             {limit}, a quarter of the node's memory: give the node more (--memory), or write the file with smaller row groups \
             and pages"
        )
    }
}
