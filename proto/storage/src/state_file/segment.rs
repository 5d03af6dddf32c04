//! Encodes and decodes segments: rows and their key groups.

use std::{
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use arrow::{
    array::{Array as _, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt16Array},
    buffer::Buffer,
    datatypes::{DataType, Field, Schema, UInt16Type},
    error::ArrowError,
};
use arrow_ipc::{
    CompressionType,
    reader::StreamReader,
    writer::{IpcWriteOptions, StreamEncoder},
};
use thalweg_types::KeyGroup;
use xxhash_rust::xxh3::xxh3_64;

use super::{footer::SegmentEntry, footer::to_u64, lengths};
use crate::{StorageError, compact::own, error::corrupt};

/// The name of the first column. The rows may have a column of the same name, so readers find the first by its
/// position.
const KEY_GROUP_COLUMN: &str = "__key_group";

/// Rows of state and the key group of each.
#[derive(Debug, Clone, PartialEq)]
pub struct StateRows {
    /// One per row.
    pub key_groups: Arc<[KeyGroup]>,
    /// The rows.
    pub rows: RecordBatch,
}

/// Encodes a segment in consecutive pieces. Uncompressed buffers share the memory of the rows. The stream itself tells
/// readers what is compressed.
pub(super) fn encode(
    key_groups: &[KeyGroup],
    rows: &RecordBatch,
    compression: Option<CompressionType>,
) -> Result<Vec<Buffer>, ArrowError> {
    let key_groups: ArrayRef = Arc::new(UInt16Array::from_iter_values(key_groups.iter().map(|group| group.0)));
    let schema = rows.schema_ref();
    let key_group_field = Arc::new(Field::new(KEY_GROUP_COLUMN, DataType::UInt16, false));
    let fields: Vec<_> = std::iter::once(key_group_field).chain(schema.fields().iter().cloned()).collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let columns = std::iter::once(key_groups).chain(rows.columns().iter().cloned()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
    let options = IpcWriteOptions::default().try_with_compression(compression)?;
    let mut encoder = StreamEncoder::try_new_with_options(batch.schema_ref(), options)?;
    let mut pieces = encoder.encode(&batch)?;
    pieces.extend(encoder.finish()?);
    Ok(pieces)
}

/// Checks and decodes the rows of a segment.
pub(crate) fn decode(object: &str, index: u32, entry: &SegmentEntry, bytes: &[u8]) -> Result<StateRows, StorageError> {
    let damaged = |reason: String| corrupt(object, format!("segment {index}: {reason}"));
    if to_u64(bytes.len()) != entry.bytes {
        return Err(damaged(format!("{} bytes of {} are there", bytes.len(), entry.bytes)));
    }
    if xxh3_64(bytes) != entry.checksum {
        return Err(damaged("it does not have the checksum that it should".to_owned()));
    }
    let batch = read_batch(bytes).map_err(damaged)?;
    let batch = batch.ok_or_else(|| damaged("it is not one batch".to_owned()))?;
    if to_u64(batch.num_rows()) != entry.rows {
        return Err(damaged(format!("it has {} rows instead of {}", batch.num_rows(), entry.rows)));
    }
    let key_groups = batch.columns().first().and_then(|column| column.as_primitive_opt::<UInt16Type>());
    let key_groups = key_groups.filter(|column| column.null_count() == 0);
    let key_groups = key_groups.ok_or_else(|| damaged("it has no key groups".to_owned()))?;
    let (lowest, highest) = (entry.lowest.0, entry.highest.0);
    let values = key_groups.values();
    if values.iter().min() != Some(&lowest) || values.iter().max() != Some(&highest) {
        return Err(damaged(format!("its key groups are not those from {lowest} to {highest}")));
    }
    let key_groups = values.iter().map(|group| KeyGroup(*group)).collect();
    let others: Vec<usize> = (1..batch.num_columns()).collect();
    let rows = batch.project(&others).and_then(own).map_err(|error| damaged(error.to_string()))?;
    Ok(StateRows { key_groups, rows })
}

/// The only batch of a stream, or why it cannot be read; `None` if there is not exactly one. Arrow asserts some of what
/// it reads, such as lengths of buffers against each other, and a checksum is as easily forged as the bytes. For bytes
/// from a store that must be an error like any other, so panics are caught here.
fn read_batch(bytes: &[u8]) -> Result<Option<RecordBatch>, String> {
    lengths::check(bytes)?;
    let read = AssertUnwindSafe(|| {
        let mut reader = StreamReader::try_new(Cursor::new(bytes), None)?;
        let Some(batch) = reader.next().transpose()? else { return Ok(None) };
        Ok(reader.next().transpose()?.is_none().then_some(batch))
    });
    match catch_unwind(read) {
        Ok(read) => read.map_err(|error: ArrowError| error.to_string()),
        Err(_) => Err("its lengths contradict each other".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use thalweg_types::OperatorId;

    use super::*;

    /// The checksum is right and the lengths are false: whoever can write to the store can make such bytes.
    #[test]
    fn lengths_that_lie_are_damage() {
        const ROWS: usize = 1000;
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let column: ArrayRef = Arc::new((0..1000).map(|at| (at % 2 == 0).then_some(at)).collect::<Int64Array>());
        let rows = RecordBatch::try_new(schema, vec![column]).unwrap();
        let pieces = encode(&[KeyGroup(0); ROWS], &rows, Some(CompressionType::LZ4_FRAME)).unwrap();
        let mut bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let validity = (ROWS as u64).div_ceil(8).to_le_bytes();
        let at = bytes.windows(8).rposition(|window| window == validity).expect("what it takes when unpacked");
        let entry = |bytes: &[u8]| SegmentEntry {
            operator: OperatorId(0),
            table: String::new(),
            lowest: KeyGroup(0),
            highest: KeyGroup(0),
            rows: ROWS as u64,
            offset: 0,
            bytes: bytes.len() as u64,
            checksum: xxh3_64(bytes),
        };
        decode("o", 0, &entry(&bytes), &bytes).unwrap();
        for (lie, told) in
            [(0, "its lengths contradict each other"), (i64::MAX / 2, "packed bytes cannot become"), (-2, "-2")]
        {
            bytes[at..at + 8].copy_from_slice(&lie.to_le_bytes());
            let error = decode("o", 0, &entry(&bytes), &bytes).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
