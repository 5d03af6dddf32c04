//! Finds rows of a table by its key or leading columns of it.
//!
//! A reader holds the operator up for no longer than it takes to look up where the rows of one answer are: it copies them later.

use std::sync::{Arc, Mutex, Weak};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, Rows};

use super::{
    contents::{Contents, sort_fields},
    lock,
};
use crate::{OperatorError, error::arrow_error, keys::canonical_keys};

/// A table that an operator keeps, as others see it.
#[derive(Debug, Clone)]
pub struct TableView(Weak<Mutex<Contents>>);

/// Rows in the order of their keys.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundRows {
    /// The rows.
    pub rows: RecordBatch,
    /// Whether rows follow that were left out.
    pub more: bool,
}

impl TableView {
    pub(super) fn new(contents: &Arc<Mutex<Contents>>) -> Self {
        Self(Arc::downgrade(contents))
    }

    /// Whether the operator is there.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// The table's columns, and which of them are its key; `None` if the operator is gone.
    #[must_use]
    pub fn shape(&self) -> Option<(SchemaRef, Vec<usize>)> {
        let contents = self.0.upgrade()?;
        let contents = lock(&contents);
        Some((contents.schema().clone(), contents.key().to_vec()))
    }

    /// The rows whose key begins with these values, each a column of one row: at most `limit`, and no more than fit in
    /// `bytes_max` unless it is one. `None` if the operator is gone.
    ///
    /// # Errors
    /// If the values are not of the key's types.
    pub fn find(
        &self,
        beginning: &[ArrayRef],
        limit: usize,
        bytes_max: usize,
    ) -> Option<Result<FoundRows, OperatorError>> {
        let (schema, key) = self.shape()?;
        let bytes = match encoded(&schema, &key, beginning) {
            Ok(bytes) => bytes,
            Err(error) => return Some(Err(error)),
        };
        let contents = self.0.upgrade()?;
        let picked = lock(&contents).pick(&bytes, limit, bytes_max);
        drop(contents);
        Some(picked.rows().map(|rows| FoundRows { rows, more: picked.more }))
    }
}

/// The bytes with which the keys begin that have these values.
fn encoded(schema: &SchemaRef, key: &[usize], beginning: &[ArrayRef]) -> Result<Vec<u8>, OperatorError> {
    if beginning.is_empty() {
        return Ok(Vec::new());
    }
    let key = key.get(..beginning.len()).unwrap_or(key);
    let rows = laid_out(schema, key, beginning)?;
    Ok(rows.iter().next().map(|row| row.data().to_vec()).unwrap_or_default())
}

fn laid_out(schema: &SchemaRef, key: &[usize], columns: &[ArrayRef]) -> Result<Rows, OperatorError> {
    let converter = RowConverter::new(sort_fields(schema, key)).map_err(arrow_error("order keys"))?;
    converter.convert_columns(&canonical_keys(columns)?).map_err(arrow_error("lay keys out for the index"))
}

/// Merges what several instances of a table found, in the order of the key's columns: at most `limit` rows. Nothing comes
/// behind the last row of a part of which more follow, since these may come before.
///
/// # Errors
/// If the parts are not of one table.
pub fn merge_found(key: &[usize], parts: &[FoundRows], limit: usize) -> Result<Option<FoundRows>, OperatorError> {
    let Some(first) = parts.first() else { return Ok(None) };
    let schema = first.rows.schema();
    if parts.iter().any(|part| part.rows.schema().fields() != schema.fields())
        || key.iter().any(|column| *column >= schema.fields().len())
    {
        let reason = "parts of a table have different columns".to_owned();
        return Err(OperatorError::Input { operator: "a table that is asked", reason });
    }
    let keys = parts.iter().map(|part| {
        let columns: Vec<ArrayRef> = key.iter().map(|column| part.rows.column(*column).clone()).collect();
        laid_out(&schema, key, &columns)
    });
    let keys = keys.collect::<Result<Vec<Rows>, _>>()?;
    let (mut at, mut places) = (vec![0; parts.len()], Vec::new());
    let mut more = false;
    loop {
        let is_cut = |part: usize| parts[part].more && at[part] == parts[part].rows.num_rows();
        if (0..parts.len()).any(is_cut) {
            more = true;
            break;
        }
        let left = (0..parts.len()).filter(|part| at[*part] < parts[*part].rows.num_rows());
        let Some(part) = left.min_by(|a, b| keys[*a].row(at[*a]).cmp(&keys[*b].row(at[*b]))) else { break };
        if places.len() == limit {
            more = true;
            break;
        }
        places.push((part, at[part]));
        at[part] += 1;
    }
    let batches: Vec<&RecordBatch> = parts.iter().map(|part| &part.rows).collect();
    let rows = match places.as_slice() {
        [] => RecordBatch::new_empty(schema),
        places => interleave_record_batch(&batches, places).map_err(arrow_error("merge parts of a table"))?,
    };
    Ok(Some(FoundRows { rows, more }))
}
