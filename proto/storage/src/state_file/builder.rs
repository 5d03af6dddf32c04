//! Writes a state file: cuts rows into segments, in the order of their key groups where these are several.
//!
//! What is not compressed is not copied either, where it need not be ordered: the file is the list of its pieces, and these share
//! the memory of the rows. Segments are worked on one by one, so that what is gathered or compressed stays in the processor's caches.

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

/// What is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Nothing: bytes are cheaper than the time.
    None,
    /// Segments, by LZ4. Where one has hardly become smaller, the next few of the same table are left as they are.
    WhereItSaves,
}

/// Which rows are worth compressing.
#[derive(Debug)]
struct Compressing {
    compression: Compression,
    /// How many segments of an operator's table more are not compressed.
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

/// What has more bytes left than so many of a hundred was not worth compressing.
const HARDLY_SMALLER_PERCENT: usize = 80;
/// Less says little about the segments to come.
const TELLING_BYTES: usize = 64 << 10;
/// So many segments are then not compressed, before it is tried again.
const PLAIN_SEGMENTS: u32 = 15;

/// A file that was built.
#[derive(Debug, Clone)]
pub struct StateFile {
    /// Its bytes, in pieces that follow each other.
    pub pieces: Vec<Bytes>,
    /// How many bytes that are.
    pub bytes: u64,
    /// xxh3-64 of them.
    pub checksum: u64,
}

impl StateFile {
    /// The file in one piece, which copies it.
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
    /// A file whose segments take about this many bytes before they are compressed (`SEGMENT_BYTES`).
    #[must_use]
    pub fn new(segment_bytes_target: usize, compression: Compression) -> Self {
        let mut pieces = Pieces::new();
        pieces.copy(&head());
        let compressing = Compressing { compression, plain: BTreeMap::new() };
        Self { segment_bytes_target, pieces, segments: Vec::new(), compressing }
    }

    /// Adds rows of an operator's table, and gives the indexes of the segments that they have become: none where there are
    /// no rows. Where there are several, rows are ordered by key group, and within one as they were.
    ///
    /// There are as many key groups as rows: anything else is the caller's mistake, and panics.
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
        let order = Order::of(key_groups);
        let ranges = cut(&order.key_groups, rows_max);
        let mut indexes = Vec::with_capacity(ranges.len());
        for range in ranges {
            let piece = order.gather(rows, range.clone()).map_err(unfit)?;
            let segment = self.add_segment((operator, table), &order.key_groups[range], &piece).map_err(unfit)?;
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

    /// What the file takes so far, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pieces.bytes()
    }

    /// The whole file.
    #[must_use]
    pub fn finish(mut self) -> StateFile {
        let footer = Footer { segments: std::mem::take(&mut self.segments).into() };
        self.pieces.copy(&footer.encode());
        let bytes = to_u64(self.pieces.bytes());
        let (pieces, checksum) = self.pieces.finish();
        StateFile { pieces, bytes, checksum }
    }
}

/// The order of rows by key group; those of one group in the order in which they came.
struct Order {
    /// In that order.
    key_groups: Vec<KeyGroup>,
    /// Which row is where; none where they lie so already.
    rows: Option<UInt32Array>,
}

impl Order {
    fn of(key_groups: &[KeyGroup]) -> Self {
        if key_groups.is_sorted() {
            return Self { key_groups: key_groups.to_vec(), rows: None };
        }
        let groups = key_groups.iter().max().map_or(0, |highest| usize::from(highest.0) + 1);
        // Where the rows of each group begin, and then where the next one goes.
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

/// Ranges of at most so many rows. A group's rows are together, but where they are too many for one range.
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
