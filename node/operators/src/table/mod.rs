//! Keeps the newest row of each key as state of the job, and lets others read it while rows come.
//!
//! ```text
//! rows --process--> Contents <--read-- TableView (of other threads)
//!                    index: key in its order -> place of its newest row
//!                    batches: rows as they came, immutable: what a checkpoint uploads
//! ```
//!
//! - `contents` owns rows and index. A batch that is mostly of replaced rows is written anew, and small ones are put together.
//! - `read` finds rows by a key or its leading columns, and merges what several instances found.
//!
//! A row counts from the **watermark that follows it**: rows that a window gives are followed by the watermark that closed it.
//! With a time to live, a key goes when the watermark is that far behind the one that followed its newest row. Until a watermark
//! has come, rows wait for their time, also over a restore. The end of input ends no key.
//!
//! The newest row of a key is the last one that came. An order among rows of several senders is nobody's, so a table has one
//! answer only if all rows of a key come from one of them: those of a window by this key, or by a part of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use thalweg_keyed_state::{FrozenState, KeyGroupSet};
use thalweg_types::{Fault, KeyGroup, Watermark, connector::TTL, graph::SinkOperator, settings::parse_duration};

use crate::{
    FailedRows, Operator, OperatorContext, OperatorError, compact, error::build_error, part_rows, project::batch_of,
};

mod contents;
mod read;
#[cfg(test)]
mod tests;

use contents::Contents;
pub use read::{FoundRows, TableView, merge_found};

/// A larger row is refused: answers have a bound, and each must hold a row at least.
const ROW_BYTES_MAX: usize = 1 << 20;

/// The running form of a sink that keeps its newest rows.
#[derive(Debug)]
pub struct TableOperator {
    contents: Arc<Mutex<Contents>>,
    schema: SchemaRef,
    ttl_micros: Option<i64>,
    failed: Vec<FailedRows>,
}

impl TableOperator {
    /// An empty table with the columns of `schema`.
    ///
    /// # Errors
    /// If the columns cannot be kept by the sink's key.
    pub fn new(
        sink: &SinkOperator,
        name: &str,
        input: &SchemaRef,
        schema: SchemaRef,
        context: OperatorContext,
    ) -> Result<Self, OperatorError> {
        let key = sink.table_key().unwrap_or_default();
        if key.is_empty() || key.iter().any(|column| *column >= schema.fields().len()) {
            return Err(build_error(name)("its key is not of its columns"));
        }
        let types = |schema: &SchemaRef| -> Vec<DataType> {
            schema.fields().iter().map(|field| field.data_type().clone()).collect()
        };
        if types(input) != types(&schema) {
            return Err(build_error(name)("its columns are not its input's"));
        }
        let ttl_micros = match sink.connector.option(TTL) {
            None => None,
            Some(text) => {
                let micros = parse_duration(text).and_then(|ttl| i64::try_from(ttl.as_micros()).ok());
                Some(micros.ok_or_else(|| build_error(name)(format!("its '{TTL}' is no duration: {text}")))?)
            }
        };
        let contents = Contents::new(schema.clone(), key, context.key_groups).map_err(build_error(name))?;
        Ok(Self { contents: Arc::new(Mutex::new(contents)), schema, ttl_micros, failed: Vec::new() })
    }

    /// What others read. It is empty once the operator is gone.
    #[must_use]
    pub fn view(&self) -> TableView {
        TableView::new(&self.contents)
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        lock(&self.contents)
    }
}

/// Readers change nothing, and after a panic of the operator its attempt is over.
fn lock(contents: &Mutex<Contents>) -> MutexGuard<'_, Contents> {
    contents.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Operator for TableOperator {
    fn process(&mut self, _port: u8, batch: RecordBatch) -> Result<(), OperatorError> {
        let faults = too_large(&batch);
        let batch = if faults.is_empty() {
            batch
        } else {
            let (rest, failed) = part_rows(&batch, faults)?;
            self.failed.push(failed);
            rest
        };
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let rows = batch_of(&self.schema, compact(&batch)?.columns().to_vec(), batch.num_rows())?;
        self.contents().take(rows)
    }

    fn on_watermark(&mut self, watermark: Watermark) -> Result<(), OperatorError> {
        match self.ttl_micros {
            Some(ttl) if !watermark.is_end() => self.contents().on_watermark(watermark, ttl),
            Some(_) | None => Ok(()),
        }
    }

    fn next_output(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        Ok(None)
    }

    fn take_failed(&mut self) -> Vec<FailedRows> {
        std::mem::take(&mut self.failed)
    }

    fn state_bytes(&self) -> usize {
        self.contents().bytes()
    }

    fn freeze(&mut self) -> Result<FrozenState, OperatorError> {
        self.contents().freeze()
    }

    fn restore(&mut self, states: &[FrozenState], owned: &[KeyGroup]) -> Result<(), OperatorError> {
        let owned: KeyGroupSet = owned.iter().copied().collect();
        let ttl = self.ttl_micros;
        let mut contents = self.contents();
        states.iter().try_for_each(|state| contents.restore(state, &owned, ttl))
    }
}

/// Rows that are larger than any may be.
fn too_large(batch: &RecordBatch) -> Vec<Fault> {
    if batch.get_array_memory_size() <= ROW_BYTES_MAX {
        return Vec::new();
    }
    let fault = |row| {
        let bytes = row_bytes(batch, row);
        let reason = format!("the row has {bytes} bytes, and a table that is asked takes at most {ROW_BYTES_MAX}");
        (bytes > ROW_BYTES_MAX).then(|| Fault { row, expression: String::new(), place: None, reason })
    };
    (0..batch.num_rows()).filter_map(fault).collect()
}

/// About how many bytes a row's values take.
fn row_bytes(batch: &RecordBatch, row: usize) -> usize {
    let of_column = |column: &arrow::array::ArrayRef| match column.data_type() {
        fixed if fixed.is_primitive() => fixed.primitive_width().unwrap_or_default(),
        DataType::Utf8View => column.as_string_view().value(row).len(),
        DataType::BinaryView => column.as_binary_view().value(row).len(),
        // A column that cannot be measured has no buffers of its own.
        _ => column.slice(row, 1).to_data().get_slice_memory_size().unwrap_or_default(),
    };
    batch.columns().iter().map(of_column).sum()
}
