//! Copies rows before state keeps them, if they hold much more memory than they show.
//!
//! A slice of a large batch holds the whole batch; a filtered string view holds every string from before the filter.
//! Arrays whose buffers are not much larger than their contents are shared.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, GenericByteViewArray, RecordBatch, UInt32Array, types::ByteViewType};
use arrow::compute::take;
use arrow::datatypes::{BinaryViewType, DataType, StringViewType};

use crate::{OperatorError, error::arrow_error, project::batch_of};

/// How many superfluous bytes an array may hold in any case.
const SLACK_BYTES: usize = 256;

/// A batch with the same rows that holds at most about twice the memory they need.
pub(crate) fn compact(batch: &RecordBatch) -> Result<RecordBatch, OperatorError> {
    let columns: Result<Vec<ArrayRef>, OperatorError> = batch.columns().iter().map(compact_array).collect();
    batch_of(batch.schema_ref(), columns?, batch.num_rows())
}

/// The same rows, with the text of each column in one buffer of its own: concatenated views keep all the buffers they
/// had before.
pub(crate) fn with_own_text(batch: &RecordBatch) -> RecordBatch {
    let own = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => column.clone(),
        }
    };
    let columns = batch.columns().iter().map(own).collect();
    batch_of(batch.schema_ref(), columns, batch.num_rows()).unwrap_or_else(|_| batch.clone())
}

fn compact_array(array: &ArrayRef) -> Result<ArrayRef, OperatorError> {
    match array.data_type() {
        DataType::Utf8View => compact_views::<StringViewType>(array, array.as_byte_view()),
        DataType::BinaryView => compact_views::<BinaryViewType>(array, array.as_byte_view()),
        _ => {
            let needed = array.to_data().get_slice_memory_size().map_err(arrow_error("measure a column"))?;
            if array.get_buffer_memory_size() <= 2 * needed + SLACK_BYTES {
                return Ok(array.clone());
            }
            copy(array)
        }
    }
}

fn copy(array: &ArrayRef) -> Result<ArrayRef, OperatorError> {
    let rows = u32::try_from(array.len()).expect("a batch has fewer than 2^32 rows");
    take(array, &UInt32Array::from_iter_values(0..rows), None).map_err(arrow_error("copy a column"))
}

fn compact_views<T: ByteViewType>(
    array: &ArrayRef,
    views: &GenericByteViewArray<T>,
) -> Result<ArrayRef, OperatorError> {
    let held: usize = array.get_buffer_memory_size();
    let needed = views.total_buffer_bytes_used() + 16 * views.len();
    if held <= 2 * needed + SLACK_BYTES {
        return Ok(array.clone());
    }
    // If all texts are short enough to be inlined in views, `gc` alone copies no views.
    let own = copy(array)?;
    Ok(Arc::new(own.as_byte_view::<T>().gc()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryViewArray, BooleanArray, Int64Array, StringViewArray};
    use arrow::compute::filter_record_batch;
    use arrow::datatypes::{Field, Schema};

    use super::*;

    const ROWS: usize = 10_000;

    /// Columns of integers, of texts of a hundred bytes twice, and of short texts with NULLs.
    fn whole() -> RecordBatch {
        let text = |row: usize| format!("{row:0>100}");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(0..ROWS as i64)),
            Arc::new(StringViewArray::from_iter_values((0..ROWS).map(text))),
            Arc::new(BinaryViewArray::from_iter_values((0..ROWS).map(text))),
            Arc::new(StringViewArray::from_iter((0..ROWS).map(|row| (row % 3 > 0).then_some("short")))),
        ];
        let field = |column: &ArrayRef| Field::new("column", column.data_type().clone(), true);
        let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    /// Checks that compaction keeps the rows and holds at most twice what they need.
    #[track_caller]
    fn check_compact(batch: &RecordBatch) {
        let compacted = compact(batch).unwrap();
        assert_eq!(&compacted, batch);
        for (column, needed) in compacted.columns().iter().zip([8, 116, 116, 17]) {
            let held = column.get_buffer_memory_size();
            assert!(held <= 2 * needed * batch.num_rows() + SLACK_BYTES, "{held} bytes for {}", column.data_type());
        }
    }

    #[test]
    fn a_slice_or_a_selection_of_a_large_batch_does_not_hold_the_whole_of_it() {
        check_compact(&whole().slice(4321, 1));
        check_compact(&whole().slice(4321, 20).slice(3, 1));
        let every_hundredth: Vec<bool> = (0..ROWS).map(|row| row % 100 == 7).collect();
        let selected = filter_record_batch(&whole(), &BooleanArray::from(every_hundredth)).unwrap();
        assert!(selected.column(1).get_buffer_memory_size() > ROWS * 100, "there is nothing to be shown otherwise");
        check_compact(&selected);
    }

    #[track_caller]
    fn check_shared(batch: &RecordBatch, expected: bool) {
        let compacted = compact(batch).unwrap();
        let is_shared = |(column, before): (&ArrayRef, &ArrayRef)| Arc::ptr_eq(column, before);
        assert_eq!(compacted.columns().iter().zip(batch.columns()).all(is_shared), expected);
    }

    #[test]
    fn what_holds_at_most_about_twice_what_it_shows_is_shared() {
        check_shared(&whole(), true);
        let integers = whole().project(&[0]).unwrap();
        check_shared(&integers.slice(0, ROWS / 2), true);
        check_shared(&integers.slice(0, ROWS / 2 - SLACK_BYTES / 16), true);
        check_shared(&integers.slice(0, ROWS / 2 - SLACK_BYTES / 16 - 1), false);
    }
}
