//! Shared parts of freezing and restoring: keyed batches, merging small ones, and the owned part of frozen states.

use arrow::array::{ArrayRef, RecordBatch};
use thalweg_flow::key_groups_of;
use thalweg_keyed_state::{FrozenState, KeyGroupSet, StateBatch};

use crate::{OperatorError, compact::with_own_text, error::arrow_error};

/// Batches that exceed this together stay separate, as a segment of a state file is not larger.
const MERGED_BYTES_MAX: usize = 1 << 20;

/// Rows of state with the key groups of their key columns.
pub(crate) fn keyed(rows: &RecordBatch, keys: impl IntoIterator<Item = usize>, groups: u16) -> StateBatch {
    let keys: Vec<ArrayRef> = keys.into_iter().map(|key| rows.column(key).clone()).collect();
    let count = rows.num_rows();
    StateBatch::lazy(rows.clone(), move || key_groups_of(&keys, count, groups).into())
}

/// Adds a batch, and merges many small ones: each would be a segment of an object and an entry in every manifest.
/// Returns the bytes added and the bytes removed.
pub(crate) fn add(
    batches: &mut Vec<StateBatch>,
    new: StateBatch,
    keys: impl IntoIterator<Item = usize>,
    groups: u16,
) -> Result<(usize, usize), OperatorError> {
    let came = new.rows.get_array_memory_size();
    batches.push(new);
    let remake = |rows: RecordBatch| keyed(&with_own_text(&rows), keys, groups);
    let merged = StateBatch::shorten(batches, MERGED_BYTES_MAX, remake);
    let (went, instead) = merged.map_err(arrow_error("put small batches together"))?.unwrap_or_default();
    Ok((came + instead, went))
}

/// A value of a frozen state; `i64::MIN` if it has none.
pub(crate) fn value(state: &FrozenState, name: &str) -> i64 {
    state.values.get(name).copied().unwrap_or(i64::MIN)
}

/// The owned rows of each batch of a table; batches without any are skipped.
///
/// # Errors
/// If rows do not have `columns` columns. `operator` is the name in the message.
pub(crate) fn owned_parts<'a>(
    batches: &'a [StateBatch],
    owned: &'a KeyGroupSet,
    columns: usize,
    operator: &'static str,
) -> impl Iterator<Item = Result<StateBatch, OperatorError>> + use<'a> {
    let part = move |batch: &StateBatch| {
        let part = batch.restricted_to(owned).map_err(arrow_error("restrict frozen rows to key groups"))?;
        match part {
            Some(part) if part.rows.num_columns() != columns => {
                let reason = format!("its rows have {} columns", part.rows.num_columns());
                Err(OperatorError::Restore { operator: operator.to_owned(), reason })
            }
            part => Ok(part),
        }
    };
    batches.iter().filter_map(move |batch| part(batch).transpose())
}
