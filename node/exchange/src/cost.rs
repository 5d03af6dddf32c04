//! The cost of a batch, which is the bytes that it keeps alive, and copying columns that keep too much alive.
//!
//! A slice or a filtered view column keeps all of its buffers alive. So, before an exchange holds rows, it copies the
//! columns that retain too much beyond what their rows need.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, GenericListArray, MapArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions,
        UInt64Array,
    },
    compute::take,
    datatypes::{ByteViewType, DataType},
    error::ArrowError,
};

/// Columns that retain less are never worth a copy, because allocators round up.
const SLACK_BYTES: usize = 4096;

/// The size of the buffers that a batch keeps alive, in bytes. At least 1, so that every batch is charged.
pub(crate) fn retained_bytes(batch: &RecordBatch) -> u64 {
    let bytes: usize = batch.columns().iter().map(|column| column.get_buffer_memory_size()).sum();
    to_u64(bytes).max(1)
}

/// The bytes that the rows of a batch need, which is what a compact copy would retain. At least 1.
pub(crate) fn needed_bytes(batch: &RecordBatch) -> u64 {
    let bytes: usize = batch.columns().iter().map(|column| needed(column.as_ref())).sum();
    to_u64(bytes).max(1)
}

/// The same rows. Columns that retain more than `percent` of what they need are copied.
pub(crate) fn compact(batch: &RecordBatch, percent: usize) -> Result<RecordBatch, ArrowError> {
    compact_beyond(batch, percent, SLACK_BYTES)
}

/// Like `compact`, but also copies columns that retain little: in a batch of many columns it adds up.
pub(crate) fn compact_tightly(batch: &RecordBatch, percent: usize) -> Result<RecordBatch, ArrowError> {
    compact_beyond(batch, percent, 0)
}

fn compact_beyond(batch: &RecordBatch, percent: usize, slack_bytes: usize) -> Result<RecordBatch, ArrowError> {
    let wasteful = |column: &ArrayRef| {
        let retained = column.get_buffer_memory_size();
        retained > slack_bytes && retained > needed(column.as_ref()).saturating_mul(percent) / 100
    };
    if !batch.columns().iter().any(wasteful) {
        return Ok(batch.clone());
    }
    let columns = batch.columns().iter().map(|column| if wasteful(column) { copy(column) } else { Ok(column.clone()) });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns.collect::<Result<_, _>>()?, &options)
}

fn copy(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        // `gc` alone does not copy the views if all texts are short enough to be inline in them.
        DataType::Utf8View => Ok(Arc::new(take_all(column)?.as_string_view().gc())),
        DataType::BinaryView => Ok(Arc::new(take_all(column)?.as_binary_view().gc())),
        DataType::Struct(_) => {
            let (fields, children, nulls) = column.as_struct().clone().into_parts();
            let children = children.iter().map(copy).collect::<Result<_, _>>()?;
            Ok(Arc::new(arrow::array::StructArray::try_new_with_length(fields, children, nulls, column.len())?))
        }
        DataType::List(_) => copy_list::<i32>(column),
        DataType::LargeList(_) => copy_list::<i64>(column),
        DataType::Map(..) => {
            let taken = take_all(column)?;
            let (field, offsets, entries, nulls, is_sorted) = taken.as_map().clone().into_parts();
            let entries = copy(&(Arc::new(entries) as ArrayRef))?.as_struct().clone();
            Ok(Arc::new(MapArray::try_new(field, offsets, entries, nulls, is_sorted)?))
        }
        _ => take_all(column),
    }
}

/// `take` copies the elements of its own rows only. But if these are views, they still keep the text of all rows alive.
fn copy_list<O: OffsetSizeTrait>(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let taken = take_all(column)?;
    let (field, offsets, values, nulls) = taken.as_list::<O>().clone().into_parts();
    Ok(Arc::new(GenericListArray::try_new(field, offsets, copy(&values)?, nulls)?))
}

fn take_all(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    take(column.as_ref(), &UInt64Array::from_iter_values(0..to_u64(column.len())), None)
}

fn needed(array: &dyn Array) -> usize {
    let nulls = array.nulls().map_or(0, |nulls| nulls.len().div_ceil(8));
    let rows = array.len();
    let values = match array.data_type() {
        DataType::Utf8View => view_bytes(array.as_string_view()),
        DataType::BinaryView => view_bytes(array.as_binary_view()),
        DataType::Utf8 => offset_bytes(array.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => offset_bytes(array.as_string::<i64>().value_offsets()),
        DataType::Binary => offset_bytes(array.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => offset_bytes(array.as_binary::<i64>().value_offsets()),
        DataType::Struct(_) => array.as_struct().columns().iter().map(|child| needed(child.as_ref())).sum(),
        DataType::List(_) => list_bytes(array.as_list::<i32>().value_offsets(), array.as_list::<i32>().values()),
        DataType::LargeList(_) => list_bytes(array.as_list::<i64>().value_offsets(), array.as_list::<i64>().values()),
        DataType::Map(..) => {
            let entries: ArrayRef = Arc::new(array.as_map().entries().clone());
            list_bytes(array.as_map().value_offsets(), &entries)
        }
        DataType::Boolean => rows.div_ceil(8),
        DataType::FixedSizeBinary(width) => rows * usize::try_from(*width).unwrap_or(0),
        other => match other.primitive_width() {
            Some(width) => rows * width,
            None => array.get_buffer_memory_size(),
        },
    };
    values + nulls
}

fn view_bytes<T: ByteViewType + ?Sized>(array: &arrow::array::GenericByteViewArray<T>) -> usize {
    let views = array.len() * size_of::<u128>();
    if array.data_buffers().is_empty() {
        return views;
    }
    views + array.total_buffer_bytes_used()
}

fn offset_bytes<O: OffsetSizeTrait>(offsets: &[O]) -> usize {
    span(offsets) + size_of_val(offsets)
}

fn list_bytes<O: OffsetSizeTrait>(offsets: &[O], values: &ArrayRef) -> usize {
    let start = offsets.first().map_or(0, |first| first.as_usize());
    needed(values.slice(start, span(offsets)).as_ref()) + size_of_val(offsets)
}

fn span<O: OffsetSizeTrait>(offsets: &[O]) -> usize {
    match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => last.as_usize() - first.as_usize(),
        _ => 0,
    }
}

fn to_u64(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};

    use super::*;

    #[test]
    fn slices_are_copied_when_they_waste_more_than_they_need() {
        let text: StringViewArray = (0..10_000).map(|n| Some(format!("a string that is long enough {n}"))).collect();
        let numbers = Int64Array::from_iter_values(0..10_000);
        let columns: [(&str, ArrayRef); 2] = [("text", Arc::new(text)), ("number", Arc::new(numbers))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let slice = batch.slice(100, 200);
        assert!(retained_bytes(&slice) > 10 * needed_bytes(&slice));
        let compacted = compact(&slice, 200).unwrap();
        assert_eq!(compacted, slice);
        assert!(retained_bytes(&compacted) <= 2 * needed_bytes(&slice) + 2 * SLACK_BYTES as u64);
    }

    #[test]
    fn rows_without_columns_are_charged_too() {
        let options = RecordBatchOptions::new().with_row_count(Some(7));
        let schema = Arc::new(arrow::datatypes::Schema::empty());
        let batch = RecordBatch::try_new_with_options(schema, Vec::new(), &options).unwrap();
        assert_eq!((retained_bytes(&batch), needed_bytes(&batch)), (1, 1));
        assert_eq!(compact(&batch, 200).unwrap().num_rows(), 7);
    }
}
