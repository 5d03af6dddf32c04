//! Estimates how many rows of a row group to decode at once.

use ::parquet::{basic::Type, file::metadata::RowGroupMetaData, schema::types::ColumnDescriptor};

use crate::sizes::BATCH_BYTES;

/// How many rows of these leaves take about `BATCH_BYTES` when decoded, estimated from the footer; `rows_max` if the
/// whole group takes less. So one batch is bounded by `BATCH_BYTES`, or else by the size of one row group's leaves.
pub(super) fn batch_rows(group: &RowGroupMetaData, leaves: &[usize], rows_max: usize) -> usize {
    let size = |leaf: &usize| {
        group.columns().get(*leaf).map_or(0, |column| {
            let values = to_u64(column.num_values()).saturating_mul(width(column.column_descr()));
            // The plain size of texts whose common prefixes the file stores once, if the writer recorded it.
            let texts = values.saturating_add(to_u64(column.unencoded_byte_array_data_bytes().unwrap_or(0)));
            texts.max(to_u64(column.uncompressed_size())).max(to_u64(column.compressed_size()))
        })
    };
    let bytes = leaves.iter().map(size).fold(0, u64::saturating_add);
    let most = u64::try_from(BATCH_BYTES).unwrap_or(u64::MAX);
    if bytes <= most {
        return rows_max;
    }
    let rows = u128::from(to_u64(group.num_rows())) * u128::from(most) / u128::from(bytes);
    usize::try_from(rows).unwrap_or(usize::MAX).clamp(1, rows_max.max(1))
}

/// Bytes per value in memory, besides text.
fn width(column: &ColumnDescriptor) -> u64 {
    match column.physical_type() {
        Type::BOOLEAN => 1,
        Type::INT32 | Type::FLOAT => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 | Type::BYTE_ARRAY => 16,
        Type::FIXED_LEN_BYTE_ARRAY => u64::try_from(column.type_length()).unwrap_or(0),
    }
}

fn to_u64(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
