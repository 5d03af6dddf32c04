//! Copies arrays that would take more bytes in a file than their rows need.
//!
//! An Arrow IPC message holds only the rows of its arrays, with two exceptions: a view array brings all of its buffers,
//! and a dictionary all of its values. Both are reduced here to what the rows refer to, at any depth. Views that refer
//! to most of their buffers stay as they are.

use std::sync::Arc;

use arrow::{
    array::{
        Array as _, ArrayRef, AsArray, BooleanArray, DictionaryArray, FixedSizeListArray, GenericListArray, MapArray,
        OffsetSizeTrait, RecordBatch, RecordBatchOptions, StructArray, UInt32Array, downcast_dictionary_array,
    },
    buffer::Buffer,
    compute::{filter, take},
    datatypes::{ArrowDictionaryKeyType, ArrowNativeType, DataType},
    error::ArrowError,
};

/// An excess of so many bytes is not worth a copy.
const SLACK_BYTES: usize = 16 << 10;

/// Buffers that are smaller than this on average are merged.
const DENSE_BUFFER_BYTES: usize = 4 << 10;

/// The same rows, without bytes and values that they do not refer to.
pub(crate) fn compact(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    if !batch.schema_ref().fields().iter().any(|field| holds_more(field.data_type())) {
        return Ok(batch.clone());
    }
    let compact = |column: &ArrayRef| if is_dense(column) { Ok(column.clone()) } else { compact_array(column) };
    let columns = batch.columns().iter().map(compact).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
}

/// Whether views refer to most of their buffers, and these are few: a file pads each of them.
fn is_dense(column: &ArrayRef) -> bool {
    let (buffers, shown) = match column.data_type() {
        DataType::Utf8View => {
            (column.as_string_view().data_buffers(), column.as_string_view().total_buffer_bytes_used())
        }
        DataType::BinaryView => {
            (column.as_binary_view().data_buffers(), column.as_binary_view().total_buffer_bytes_used())
        }
        _ => return false,
    };
    let known: usize = buffers.iter().map(Buffer::len).sum();
    known <= shown + shown / 4 && known >= DENSE_BUFFER_BYTES * buffers.len().saturating_sub(1)
}

/// Copies rows whose columns are parts of one buffer: each column would count, and keep alive, the whole buffer.
pub(crate) fn own(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let counted: usize = batch.columns().iter().map(|column| column.get_buffer_memory_size()).sum();
    let shown: usize = batch.columns().iter().map(shown_bytes).sum();
    if counted <= shown.saturating_mul(3) / 2 + SLACK_BYTES {
        return Ok(batch);
    }
    let columns = batch.columns().iter().map(|column| match column.data_type() {
        DataType::Utf8View | DataType::BinaryView => compact_array(column),
        _ => compact_array(&take_all(column)?),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns.collect::<Result<_, _>>()?, &options)
}

/// About the bytes that the rows of a column take; nested columns may give too much.
pub(crate) fn shown_bytes(column: &ArrayRef) -> usize {
    match column.data_type() {
        DataType::Utf8View => column.as_string_view().total_buffer_bytes_used() + column.len() * size_of::<u128>(),
        DataType::BinaryView => column.as_binary_view().total_buffer_bytes_used() + column.len() * size_of::<u128>(),
        other => match other.primitive_width() {
            Some(width) => column.len() * width,
            None => column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_buffer_memory_size()),
        },
    }
}

/// Whether arrays of a type may hold more than their rows refer to.
fn holds_more(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View | DataType::BinaryView | DataType::Dictionary(..) => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => holds_more(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| holds_more(field.data_type())),
        _ => false,
    }
}

fn compact_array(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !holds_more(array.data_type()) {
        return Ok(array.clone());
    }
    match array.data_type() {
        DataType::Utf8View => Ok(Arc::new(array.as_string_view().gc())),
        DataType::BinaryView => Ok(Arc::new(array.as_binary_view().gc())),
        DataType::Dictionary(..) => downcast_dictionary_array!(
            array => compact_dictionary(array),
            _ => Ok(array.clone())
        ),
        DataType::Struct(_) => {
            let (fields, children, nulls) = array.as_struct().clone().into_parts();
            let children = children.iter().map(compact_array).collect::<Result<_, _>>()?;
            Ok(Arc::new(StructArray::try_new_with_length(fields, children, nulls, array.len())?))
        }
        DataType::List(_) => compact_list::<i32>(array),
        DataType::LargeList(_) => compact_list::<i64>(array),
        DataType::FixedSizeList(..) => {
            let (field, size, values, nulls) = array.as_fixed_size_list().clone().into_parts();
            let list =
                FixedSizeListArray::try_new_with_length(field, size, compact_array(&values)?, nulls, array.len())?;
            Ok(Arc::new(list))
        }
        DataType::Map(..) => {
            let taken = take_all(array)?;
            let (field, offsets, entries, nulls, is_sorted) = taken.as_map().clone().into_parts();
            let entries = compact_array(&(Arc::new(entries) as ArrayRef))?.as_struct().clone();
            Ok(Arc::new(MapArray::try_new(field, offsets, entries, nulls, is_sorted)?))
        }
        _ => Ok(array.clone()),
    }
}

/// `take` leaves only the elements of the list's own rows.
fn compact_list<O: OffsetSizeTrait>(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let taken = take_all(array)?;
    let (field, offsets, values, nulls) = taken.as_list::<O>().clone().into_parts();
    Ok(Arc::new(GenericListArray::try_new(field, offsets, compact_array(&values)?, nulls)?))
}

/// Keeps the values that a key refers to.
fn compact_dictionary<K: ArrowDictionaryKeyType>(dictionary: &DictionaryArray<K>) -> Result<ArrayRef, ArrowError> {
    let used = dictionary.occupancy();
    if used.count_set_bits() == dictionary.values().len() {
        return Ok(Arc::new(dictionary.clone()));
    }
    let mut renamed = vec![K::default_value(); dictionary.values().len()];
    for (new, old) in used.set_indices().enumerate() {
        renamed[old] = K::Native::from_usize(new).expect("there are fewer values than before");
    }
    // The key of a null row may have any value.
    let keys = dictionary.keys().unary(|key| renamed.get(key.as_usize()).copied().unwrap_or_default());
    let values = filter(dictionary.values(), &BooleanArray::new(used, None))?;
    Ok(Arc::new(DictionaryArray::<K>::try_new(keys, values)?))
}

fn take_all(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let rows = u32::try_from(array.len()).expect("a batch has fewer than 2^32 rows");
    take(array.as_ref(), &UInt32Array::from_iter_values(0..rows), None)
}
