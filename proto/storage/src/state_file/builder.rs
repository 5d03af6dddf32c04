//! Writes a state file: sorts rows by key group, and cuts them into segments.

use std::ops::Range;

use arrow::{
    array::{RecordBatch, RecordBatchOptions, UInt32Array},
    compute::take_arrays,
    error::ArrowError,
};
use bytes::Bytes;
use thalweg_types::{KeyGroup, OperatorId};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    footer::{Footer, SegmentEntry, head, to_u64},
    segment,
};
use crate::{StorageError, compact::compact, error::config};

/// Gathers the rows of one subtask and checkpoint.
#[derive(Debug)]
pub struct StateFileBuilder {
    segment_bytes_target: usize,
    bytes: Vec<u8>,
    segments: Vec<SegmentEntry>,
}

impl StateFileBuilder {
    /// A file whose segments take about this many bytes before they are compressed (`SEGMENT_BYTES`).
    #[must_use]
    pub fn new(segment_bytes_target: usize) -> Self {
        Self { segment_bytes_target, bytes: head().to_vec(), segments: Vec::new() }
    }

    /// Adds rows of an operator's table, and gives the indexes of the segments that they have become: none where there are
    /// no rows. Rows are ordered by key group, and within one as they were.
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
        let (key_groups, rows) = sort(key_groups, rows).map_err(unfit)?;
        let ranges = cut(&key_groups, rows_per_segment(&rows, self.segment_bytes_target));
        let is_whole = ranges.len() == 1;
        let mut indexes = Vec::with_capacity(ranges.len());
        for range in ranges {
            let groups = &key_groups[range.clone()];
            let piece =
                if is_whole { rows.clone() } else { compact(&rows.slice(range.start, range.len())).map_err(unfit)? };
            let encoded = segment::encode(groups, &piece).map_err(unfit)?;
            indexes.push(self.push(operator, table, groups, &encoded));
        }
        Ok(indexes)
    }

    fn push(&mut self, operator: OperatorId, table: &str, groups: &[KeyGroup], encoded: &[u8]) -> u32 {
        let index = u32::try_from(self.segments.len()).expect("a file has fewer than 2^32 segments");
        self.segments.push(SegmentEntry {
            operator,
            table: table.to_owned(),
            lowest: groups.first().copied().expect("a segment has rows"),
            highest: groups.last().copied().expect("a segment has rows"),
            rows: to_u64(groups.len()),
            offset: to_u64(self.bytes.len()),
            bytes: to_u64(encoded.len()),
            checksum: xxh3_64(encoded),
        });
        self.bytes.extend_from_slice(encoded);
        index
    }

    /// Whether no rows were added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// What the file takes so far, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The whole file, and xxh3-64 of it.
    #[must_use]
    pub fn finish(mut self) -> (Bytes, u64) {
        let footer = Footer { segments: self.segments.into() };
        self.bytes.extend_from_slice(&footer.encode());
        let checksum = xxh3_64(&self.bytes);
        (self.bytes.into(), checksum)
    }
}

/// The rows in the order of their key groups; those of one group in the order in which they came.
fn sort(key_groups: &[KeyGroup], rows: &RecordBatch) -> Result<(Vec<KeyGroup>, RecordBatch), ArrowError> {
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
    let sorted = order.iter().map(|row| key_groups[*row as usize]).collect();
    // Also where they are in order: what is taken takes no more than it shows, so that it can be measured.
    let columns = take_arrays(rows.columns(), &UInt32Array::from(order), None)?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok((sorted, compact(&RecordBatch::try_new_with_options(rows.schema(), columns, &options)?)?))
}

fn rows_per_segment(rows: &RecordBatch, bytes_target: usize) -> usize {
    let bytes: usize = rows.columns().iter().map(|column| column.get_buffer_memory_size()).sum();
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
