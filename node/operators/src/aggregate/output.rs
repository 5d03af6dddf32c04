//! Lays out the results of aggregations with the windows' time columns.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use std::iter::repeat_n;
use thalweg_flow::Window;
use thalweg_types::graph::WindowColumns;

use crate::{OperatorError, error::build_error, event_time::check_timestamps, project::batch_of, time};

/// The values of `window_start`, `window_end` and `window_time`.
const PICKS: [fn(Window) -> i64; 3] =
    [|window| window.start, |window| window.end, |window| window.end.saturating_sub(time::MILLISECOND)];

/// Lays out results.
#[derive(Debug)]
pub(crate) struct OutputShape {
    schema: SchemaRef,
    columns: WindowColumns,
    /// How many columns precede the window's.
    width: usize,
}

impl OutputShape {
    /// Results of `width` columns, followed by the window's.
    pub(crate) fn new(
        schema: SchemaRef,
        columns: WindowColumns,
        width: usize,
        operator: &str,
    ) -> Result<Self, OperatorError> {
        let times = usize::from(columns.start) + usize::from(columns.end) + usize::from(columns.time);
        if schema.fields().len() != width + times {
            let reason = format!("it gives {} columns, not {}", width + times, schema.fields().len());
            return Err(build_error(operator)(reason));
        }
        check_timestamps(operator, &schema, &(width..width + times).collect::<Vec<_>>())?;
        Ok(Self { schema, columns, width })
    }

    /// Rows of one window.
    pub(crate) fn of_window(&self, columns: Vec<ArrayRef>, window: Window) -> Result<RecordBatch, OperatorError> {
        let rows = columns.first().map_or(1, |column| column.len());
        self.lay_out(columns, rows, |pick| repeat_n(pick(window), rows))
    }

    /// Rows with a window each.
    pub(crate) fn of_windows(&self, columns: Vec<ArrayRef>, windows: &[Window]) -> Result<RecordBatch, OperatorError> {
        self.lay_out(columns, windows.len(), |pick| windows.iter().map(move |window| pick(*window)))
    }

    fn lay_out<I: Iterator<Item = i64>>(
        &self,
        mut columns: Vec<ArrayRef>,
        rows: usize,
        times: impl Fn(fn(Window) -> i64) -> I,
    ) -> Result<RecordBatch, OperatorError> {
        debug_assert_eq!(columns.len(), self.width);
        let wanted = [self.columns.start, self.columns.end, self.columns.time];
        for (pick, _) in PICKS.into_iter().zip(wanted).filter(|(_, is_wanted)| *is_wanted) {
            let data_type = self.schema.field(columns.len()).data_type();
            columns.push(time::from_micros(data_type, times(pick)));
        }
        batch_of(&self.schema, columns, rows)
    }
}
