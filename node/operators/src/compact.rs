//! Copies what must not hold more memory than it shows, before state keeps rows.
//!
//! A slice of a large batch holds the whole of it; a filtered string view holds every string that it was filtered from. Arrays
//! whose buffers are not much larger than what they show are shared as they are.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, GenericByteViewArray, RecordBatch, UInt32Array, types::ByteViewType};
use arrow::compute::take;
use arrow::datatypes::{BinaryViewType, DataType, StringViewType};

use crate::{OperatorError, error::arrow_error, project::batch_of};

/// Bytes that may be held in vain by an array, whatever it shows.
const SLACK_BYTES: usize = 4096;

/// A batch with the same rows that holds at most about twice the memory that they need.
pub(crate) fn compact(batch: &RecordBatch) -> Result<RecordBatch, OperatorError> {
    let columns: Result<Vec<ArrayRef>, OperatorError> = batch.columns().iter().map(compact_array).collect();
    batch_of(batch.schema_ref(), columns?, batch.num_rows())
}

fn compact_array(array: &ArrayRef) -> Result<ArrayRef, OperatorError> {
    match array.data_type() {
        DataType::Utf8View => Ok(compact_views::<StringViewType>(array, array.as_byte_view())),
        DataType::BinaryView => Ok(compact_views::<BinaryViewType>(array, array.as_byte_view())),
        _ => {
            let needed = array.to_data().get_slice_memory_size().map_err(arrow_error("measure a column"))?;
            if array.get_buffer_memory_size() <= 2 * needed + SLACK_BYTES {
                return Ok(array.clone());
            }
            let rows = u32::try_from(array.len()).expect("a batch has fewer than 2^32 rows");
            take(array, &UInt32Array::from_iter_values(0..rows), None).map_err(arrow_error("copy a column"))
        }
    }
}

fn compact_views<T: ByteViewType>(array: &ArrayRef, views: &GenericByteViewArray<T>) -> ArrayRef {
    let held: usize = array.get_buffer_memory_size();
    let needed = views.total_buffer_bytes_used() + 16 * views.len();
    if held <= 2 * needed + SLACK_BYTES { array.clone() } else { Arc::new(views.gc()) }
}
