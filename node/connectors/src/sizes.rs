//! Limits the bytes of rows that a reader returns at once.

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::DataType,
};

/// The size of a batch in bytes, unless a single row takes more. Values that rows share count for each row: encoding,
/// sending and computing take that much.
pub(crate) const BATCH_BYTES: usize = 4 << 20;

/// How many of the first rows fit into a batch. At least one, if there are any.
pub(crate) fn fitting_rows(batch: &RecordBatch) -> usize {
    let mut rows = batch.num_rows();
    while rows > 1 {
        let columns = batch.columns().iter();
        let bytes = columns.map(|column| value_bytes(&column.slice(0, rows))).fold(0, usize::saturating_add);
        if bytes <= BATCH_BYTES {
            break;
        }
        let share = rows as u128 * BATCH_BYTES as u128 / bytes as u128;
        rows = usize::try_from(share).unwrap_or(1).clamp(1, rows - 1);
    }
    rows
}

/// Bytes of the values; a shared value counts each time it occurs.
fn value_bytes(array: &ArrayRef) -> usize {
    let items = |values: &ArrayRef, first: usize, last: usize| value_bytes(&values.slice(first, last - first));
    match array.data_type() {
        DataType::Utf8View => 16 * array.len() + array.as_string_view().total_buffer_bytes_used(),
        DataType::BinaryView => 16 * array.len() + array.as_binary_view().total_buffer_bytes_used(),
        DataType::Struct(_) => array.as_struct().columns().iter().map(value_bytes).fold(0, usize::saturating_add),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let bounds = list.value_offsets().first().zip(list.value_offsets().last());
            bounds.map_or(0, |(first, last)| items(list.values(), index(*first), index(*last)))
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let bounds = map.value_offsets().first().zip(map.value_offsets().last());
            let columns = map.entries().columns();
            bounds.map_or(0, |(first, last)| {
                columns.iter().map(|column| items(column, index(*first), index(*last))).sum()
            })
        }
        // Types without a size are small.
        _ => array.to_data().get_slice_memory_size().unwrap_or(0),
    }
}

fn index(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ListArray, StringViewArray, StringViewBuilder},
        buffer::OffsetBuffer,
        datatypes::{Field, Schema},
    };

    use super::*;

    fn batch(column: ArrayRef) -> RecordBatch {
        let field = Field::new("c", column.data_type().clone(), true);
        RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).expect("one column")
    }

    /// Rows with the same long text, which is stored once.
    fn shared(rows: usize, bytes: usize) -> StringViewArray {
        let mut builder = StringViewBuilder::new().with_deduplicate_strings();
        let text = "x".repeat(bytes);
        (0..rows).for_each(|_| builder.append_value(&text));
        builder.finish()
    }

    #[test]
    fn values_that_rows_share_count_for_each() {
        let long = shared(1000, 200_000);
        assert!(long.get_array_memory_size() < 1 << 20);
        assert_eq!(fitting_rows(&batch(Arc::new(long))), BATCH_BYTES / 200_016);
        assert_eq!(fitting_rows(&batch(Arc::new(shared(8192, 20)))), 8192);
        assert_eq!(fitting_rows(&batch(Arc::new(shared(3, 2 * BATCH_BYTES)))), 1, "a large row goes alone");
        assert_eq!(fitting_rows(&batch(Arc::new(shared(0, 1)))), 0);
    }

    #[test]
    fn items_count_too() {
        let texts: ArrayRef = Arc::new(shared(1000, 100_000));
        let item = Arc::new(Field::new_list_field(DataType::Utf8View, true));
        let offsets = OffsetBuffer::from_lengths([10; 100]);
        let list: ArrayRef = Arc::new(ListArray::new(item, offsets, texts, None));
        assert_eq!(fitting_rows(&batch(list.clone())), 4);
        assert_eq!(fitting_rows(&batch(list).slice(90, 10)), 4);
    }
}
