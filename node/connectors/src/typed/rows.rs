//! Rows under construction: what a decoder fills, and what is left of them without the faulty ones.

use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};

use super::nested::RowColumn;
use crate::{json::Fault, lines::without_holes};

/// Rows of a schema. A faulty one leaves a hole: a row whose columns hold what was read before the fault.
pub(crate) struct Rows {
    schema: SchemaRef,
    root: RowColumn,
    rows: usize,
    holes: Vec<usize>,
}

impl Rows {
    /// The error names a column that cannot be built.
    pub(crate) fn new(schema: &SchemaRef) -> Result<Self, String> {
        let root = RowColumn::new(schema.fields(), false)?;
        Ok(Self { schema: schema.clone(), root, rows: 0, holes: Vec::new() })
    }

    /// Reads a row, given the columns and the row's index.
    pub(crate) fn read(&mut self, read: impl FnOnce(&mut RowColumn, usize) -> Result<(), Fault>) -> Result<(), Fault> {
        let row = self.rows;
        self.rows += 1;
        let result = read(&mut self.root, row);
        if result.is_err() {
            self.holes.push(row);
        }
        result
    }

    /// How many rows were read since the last `finish`, without the faulty ones.
    pub(crate) fn len(&self) -> usize {
        self.rows - self.holes.len()
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Returns the rows as a batch.
    pub(crate) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = std::mem::take(&mut self.rows);
        let holes = std::mem::take(&mut self.holes);
        without_holes(&self.schema, self.root.finish_children(rows)?, rows, &holes)
    }
}
