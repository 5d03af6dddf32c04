//! Writes a state file: cuts rows into segments, in the order of their key groups if there are several segments.
//!
//! Rows that are neither compressed nor reordered are not copied: the file is a list of pieces, which share the memory
//! of the rows. Segments are worked on one by one, so that gathered and compressed rows stay in the processor's caches.

use std::{collections::BTreeMap, ops::Range};

use arrow::{
    array::{RecordBatch, RecordBatchOptions, UInt32Array},
    buffer::Buffer,
    compute::take_arrays,
    error::ArrowError,
};
use arrow_ipc::CompressionType;
use bytes::Bytes;
use thalweg_types::{KeyGroup, OperatorId};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use super::{
    footer::{Footer, SegmentEntry, head, to_u64},
    pieces::Pieces,
    segment,
};
use crate::{
    StorageError,
    compact::{compact, shown_bytes},
    error::config,
};

/// Gathers the rows of one subtask and checkpoint.
pub struct StateFileBuilder {
    segment_bytes_target: usize,
    pieces: Pieces,
    segments: Vec<SegmentEntry>,
    compressing: Compressing,
}

/// Which segments are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// None: writing bytes costs less than compressing them.
    None,
    /// Segments, by LZ4. If one has hardly become smaller, the next few of the same table are not compressed.
    WhereItSaves,
}

/// Decides which segments to compress.
#[derive(Debug)]
struct Compressing {
    compression: Compression,
    /// How many more segments of an operator's table are not compressed.
    plain: BTreeMap<(OperatorId, String), u32>,
}

impl Compressing {
    fn encode(
        &mut self,
        (operator, table): (OperatorId, &str),
        key_groups: &[KeyGroup],
        rows: &RecordBatch,
    ) -> Result<Vec<Buffer>, ArrowError> {
        if self.compression == Compression::None {
            return segment::encode(key_groups, rows, None);
        }
        let plain = self.plain.entry((operator, table.to_owned())).or_default();
        if *plain > 0 {
            *plain -= 1;
            return segment::encode(key_groups, rows, None);
        }
        let encoded = segment::encode(key_groups, rows, Some(CompressionType::LZ4_FRAME))?;
        let bytes: usize = encoded.iter().map(Buffer::len).sum();
        let shown: usize = rows.columns().iter().map(shown_bytes).sum();
        if shown >= TELLING_BYTES && bytes > shown / 100 * HARDLY_SMALLER_PERCENT {
            *plain = PLAIN_SEGMENTS;
        }
        Ok(encoded)
    }
}

/// Compression was not worth it if more than so many percent of the bytes are left.
const HARDLY_SMALLER_PERCENT: usize = 80;
/// A smaller segment says little about those to come.
const TELLING_BYTES: usize = 64 << 10;
/// How many segments are then not compressed before the next try.
const PLAIN_SEGMENTS: u32 = 15;

/// A complete file.
#[derive(Debug, Clone)]
pub struct StateFile {
    /// Its bytes, in consecutive pieces.
    pub pieces: Vec<Bytes>,
    /// Its length in bytes.
    pub bytes: u64,
    /// xxh3-64 of the whole file.
    pub checksum: u64,
}

impl StateFile {
    /// The file in one piece, as a copy.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.pieces.concat().into()
    }
}

impl From<Bytes> for StateFile {
    fn from(whole: Bytes) -> Self {
        Self { bytes: to_u64(whole.len()), checksum: xxh3_64(&whole), pieces: vec![whole] }
    }
}

impl std::fmt::Debug for StateFileBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StateFileBuilder({} segments, {} bytes)", self.segments.len(), self.bytes())
    }
}

impl StateFileBuilder {
    /// A file whose segments take about `segment_bytes_target` bytes before compression (usually `SEGMENT_BYTES`).
    #[must_use]
    pub fn new(segment_bytes_target: usize, compression: Compression) -> Self {
        let mut pieces = Pieces::new();
        pieces.copy(&head());
        let compressing = Compressing { compression, plain: BTreeMap::new() };
        Self { segment_bytes_target, pieces, segments: Vec::new(), compressing }
    }

    /// Adds rows of an operator's table, and gives the indexes of their segments; no rows have none. If there are
    /// several segments, rows are sorted by key group, and those of one group keep their order.
    ///
    /// # Panics
    /// When there are not as many key groups as rows.
    ///
    /// # Errors
    /// When the rows have a type that cannot be stored.
    pub fn add(
        &mut self,
        operator: OperatorId,
        table: &str,
        key_groups: &[KeyGroup],
        rows: &RecordBatch,
    ) -> Result<Vec<u32>, StorageError> {
        assert_eq!(key_groups.len(), rows.num_rows(), "each row has a key group");
        let unfit = |error: ArrowError| config(format!("store rows of {operator}'s table {table}"), error.to_string());
        let rows_max = rows_per_segment(rows, self.segment_bytes_target);
        if rows.num_rows() <= rows_max {
            let segment = self.add_segment((operator, table), key_groups, rows).map_err(unfit)?;
            return Ok(segment.into_iter().collect());
        }
        let permutation = Permutation::of(key_groups);
        let ranges = cut(&permutation.key_groups, rows_max);
        let mut indexes = Vec::with_capacity(ranges.len());
        for range in ranges {
            let piece = permutation.gather(rows, range.clone()).map_err(unfit)?;
            let segment = self.add_segment((operator, table), &permutation.key_groups[range], &piece).map_err(unfit)?;
            indexes.extend(segment);
        }
        Ok(indexes)
    }

    fn add_segment(
        &mut self,
        (operator, table): (OperatorId, &str),
        key_groups: &[KeyGroup],
        rows: &RecordBatch,
    ) -> Result<Option<u32>, ArrowError> {
        let (Some(lowest), Some(highest)) = (key_groups.iter().min(), key_groups.iter().max()) else { return Ok(None) };
        let index = u32::try_from(self.segments.len()).expect("a file has fewer than 2^32 segments");
        let offset = self.pieces.bytes();
        let mut checksum = Xxh3Default::new();
        for buffer in self.compressing.encode((operator, table), key_groups, &compact(rows)?)? {
            checksum.update(&buffer);
            self.pieces.push(buffer);
        }
        self.segments.push(SegmentEntry {
            operator,
            table: table.to_owned(),
            lowest: *lowest,
            highest: *highest,
            rows: to_u64(key_groups.len()),
            offset: to_u64(offset),
            bytes: to_u64(self.pieces.bytes() - offset),
            checksum: checksum.digest(),
        });
        Ok(Some(index))
    }

    /// Whether no rows were added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The length of the file so far, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pieces.bytes()
    }

    /// Completes the file.
    #[must_use]
    pub fn finish(mut self) -> StateFile {
        let footer = Footer { segments: std::mem::take(&mut self.segments).into() };
        self.pieces.copy(&footer.encode());
        let bytes = to_u64(self.pieces.bytes());
        let (pieces, checksum) = self.pieces.finish();
        StateFile { pieces, bytes, checksum }
    }
}

/// Rows sorted by key group; those of one group keep their order.
struct Permutation {
    /// The key groups, sorted.
    key_groups: Vec<KeyGroup>,
    /// The row at each place; `None` if the rows are sorted already.
    rows: Option<UInt32Array>,
}

impl Permutation {
    fn of(key_groups: &[KeyGroup]) -> Self {
        if key_groups.is_sorted() {
            return Self { key_groups: key_groups.to_vec(), rows: None };
        }
        let groups = key_groups.iter().max().map_or(0, |highest| usize::from(highest.0) + 1);
        // The place of each group's first row, and later of its next one.
        let mut next = vec![0_u32; groups + 1];
        for group in key_groups {
            next[usize::from(group.0) + 1] += 1;
        }
        for group in 1..next.len() {
            next[group] += next[group - 1];
        }
        let mut order = vec![0_u32; key_groups.len()];
        for (row, group) in (0..).zip(key_groups) {
            let place = &mut next[usize::from(group.0)];
            order[*place as usize] = row;
            *place += 1;
        }
        let key_groups = order.iter().map(|row| key_groups[*row as usize]).collect();
        Self { key_groups, rows: Some(order.into()) }
    }

    /// The rows at these places.
    fn gather(&self, rows: &RecordBatch, range: Range<usize>) -> Result<RecordBatch, ArrowError> {
        let Some(order) = &self.rows else { return Ok(rows.slice(range.start, range.len())) };
        let columns = take_arrays(rows.columns(), &order.slice(range.start, range.len()), None)?;
        let options = RecordBatchOptions::new().with_row_count(Some(range.len()));
        RecordBatch::try_new_with_options(rows.schema(), columns, &options)
    }
}

fn rows_per_segment(rows: &RecordBatch, bytes_target: usize) -> usize {
    let bytes: usize = rows.columns().iter().map(shown_bytes).sum();
    if bytes <= bytes_target {
        return rows.num_rows();
    }
    (rows.num_rows() * bytes_target / bytes).max(1)
}

/// Ranges of at most `rows_max` rows. A group's rows stay together unless they are too many for one range.
fn cut(key_groups: &[KeyGroup], rows_max: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut end) = (0, 0);
    for group in key_groups.chunk_by(|left, right| left == right) {
        if end > start && end + group.len() - start > rows_max {
            ranges.push(start..end);
            start = end;
        }
        end += group.len();
        while end - start > rows_max {
            ranges.push(start..start + rows_max);
            start += rows_max;
        }
    }
    if end > start {
        ranges.push(start..end);
    }
    ranges
}
