//! Event times and the bounds of windows, as columns of a batch.
//!
//! The plan promises timestamps without NULLs. A batch that breaks this, or a time whose window no timestamp can hold,
//! is refused here.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::SchemaRef;
use thalweg_flow::Window;

use crate::{
    OperatorError,
    error::build_error,
    split::{RowSelection, split_by},
    time,
};

/// Event times. Refuses times whose windows, of length `reach`, would exceed the range of timestamps.
pub(crate) fn event_times(batch: &RecordBatch, column: usize, reach: i64) -> Result<ScalarBuffer<i64>, OperatorError> {
    check_reach(batch, column, reach)?;
    times_of(batch, column)
}

/// Refuses times whose windows would exceed the range of timestamps.
pub(crate) fn check_reach(batch: &RecordBatch, column: usize, reach: i64) -> Result<(), OperatorError> {
    match time::beyond(batch.column(column), reach) {
        None => Ok(()),
        Some(time) => Err(OperatorError::Time { column: batch.schema_ref().field(column).name().clone(), time }),
    }
}

pub(crate) fn times_of(batch: &RecordBatch, column: usize) -> Result<ScalarBuffer<i64>, OperatorError> {
    let column = batch.column(column);
    check_nulls(column)?;
    time::to_micros(column).ok_or_else(|| input_error(format!("{} where a timestamp is planned", column.data_type())))
}

pub(crate) fn check_nulls(column: &ArrayRef) -> Result<(), OperatorError> {
    if column.null_count() == 0 { Ok(()) } else { Err(input_error("an event or window time is NULL".to_owned())) }
}

fn input_error(reason: String) -> OperatorError {
    OperatorError::Input { operator: "a window operator", reason }
}

/// Refuses a plan whose time columns are not timestamps.
pub(crate) fn check_timestamps(operator: &str, schema: &SchemaRef, columns: &[usize]) -> Result<(), OperatorError> {
    for column in columns {
        let field = schema.fields().get(*column);
        if !field.is_some_and(|field| matches!(field.data_type(), arrow::datatypes::DataType::Timestamp(..))) {
            return Err(build_error(operator)(format!("column {column} of its input is not a timestamp")));
        }
    }
    Ok(())
}

/// The rows of each window, as given by two columns of the batch.
pub(crate) fn split_attached(
    batch: &RecordBatch,
    start: usize,
    end: usize,
) -> Result<Vec<(Window, RowSelection)>, OperatorError> {
    let rows = batch.num_rows();
    let bounds = (time::bounds(batch.column(start)), time::bounds(batch.column(end)));
    let (starts, ends) = (times_of(batch, start)?, times_of(batch, end)?);
    if let (Some((first, last_start)), Some((first_end, last_end))) = bounds
        && first == last_start
        && first_end == last_end
    {
        return Ok(vec![(Window { start: first, end: first_end }, RowSelection::All(rows))]);
    }
    Ok(split_by(rows, |row| Window { start: starts[row], end: ends[row] }))
}
