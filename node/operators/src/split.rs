//! Splits a batch by a value of its rows: unchanged if all rows agree, into slices if equal rows are adjacent,
//! otherwise by a counting scatter.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{take, take_record_batch};

use crate::{OperatorError, error::arrow_error, project::batch_of};

/// Some rows of a batch, in order.
#[derive(Debug, Clone)]
pub(crate) enum RowSelection {
    /// All rows; their number.
    All(usize),
    /// Adjacent rows.
    Range { offset: usize, length: usize },
    /// The rows at these indexes.
    Picked(UInt32Array),
}

impl RowSelection {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::All(rows) => *rows,
            Self::Range { length, .. } => *length,
            Self::Picked(indices) => indices.values().len(),
        }
    }

    /// These rows of a column.
    pub(crate) fn of(&self, column: &ArrayRef) -> Result<ArrayRef, OperatorError> {
        match self {
            Self::All(_) => Ok(column.clone()),
            Self::Range { offset, length } => Ok(column.slice(*offset, *length)),
            Self::Picked(indices) => take(column, indices, None).map_err(arrow_error("pick rows")),
        }
    }

    /// These rows of a batch.
    pub(crate) fn of_batch(&self, batch: &RecordBatch) -> Result<RecordBatch, OperatorError> {
        match self {
            Self::All(_) => Ok(batch.clone()),
            Self::Range { offset, length } => Ok(batch.slice(*offset, *length)),
            Self::Picked(indices) if batch.num_columns() == 0 => {
                batch_of(batch.schema_ref(), Vec::new(), indices.values().len())
            }
            Self::Picked(indices) => take_record_batch(batch, indices).map_err(arrow_error("pick rows")),
        }
    }
}

struct Part<K> {
    key: K,
    first: u32,
    last: u32,
    rows: usize,
}

/// The rows of each key, keys in order of first appearance. Rows of one key tend to be adjacent, so only a change of
/// key costs a search.
pub(crate) fn split_by<K: Ord + Copy>(rows: usize, mut key_of: impl FnMut(usize) -> K) -> Vec<(K, RowSelection)> {
    if rows == 0 {
        return Vec::new();
    }
    let mut places: BTreeMap<K, u32> = BTreeMap::new();
    let mut parts: Vec<Part<K>> = Vec::new();
    let mut part_of: Vec<u32> = Vec::new();
    let mut current: Option<(K, u32)> = None;
    for (at, row) in (0..rows).zip(0u32..) {
        let key = key_of(at);
        let part = match current {
            Some((last, part)) if last == key => part,
            _ => {
                let next = u32::try_from(parts.len()).expect("fewer keys than rows");
                let part = *places.entry(key).or_insert(next);
                if part == next {
                    parts.push(Part { key, first: row, last: row, rows: 0 });
                }
                if parts.len() > 1 && part_of.is_empty() {
                    // All rows so far belong to the first part.
                    part_of.resize(at, 0);
                }
                part
            }
        };
        current = Some((key, part));
        let entry = &mut parts[part as usize];
        entry.last = row;
        entry.rows += 1;
        if parts.len() > 1 {
            part_of.push(part);
        }
    }
    if let [only] = parts.as_slice() {
        return vec![(only.key, RowSelection::All(rows))];
    }
    scatter(&parts, &part_of)
}

fn scatter<K: Copy>(parts: &[Part<K>], part_of: &[u32]) -> Vec<(K, RowSelection)> {
    let mut next = Vec::with_capacity(parts.len());
    let mut offset = 0;
    for part in parts {
        next.push(offset);
        offset += part.rows;
    }
    let starts = next.clone();
    let mut indices = vec![0u32; part_of.len()];
    for (part, row) in part_of.iter().zip(0u32..) {
        let slot = &mut next[*part as usize];
        indices[*slot] = row;
        *slot += 1;
    }
    let indices = ScalarBuffer::from(indices);
    let rows_of = |(part, start): (&Part<K>, usize)| {
        let adjacent = (part.last - part.first) as usize + 1 == part.rows;
        let rows = if adjacent {
            RowSelection::Range { offset: part.first as usize, length: part.rows }
        } else {
            RowSelection::Picked(UInt32Array::new(indices.slice(start, part.rows), None))
        };
        (part.key, rows)
    };
    parts.iter().zip(starts).map(rows_of).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_are_the_rows_of_each_key_in_order(keys in prop::collection::vec(0i64..5, 0..60), sorted in any::<bool>()) {
            let mut keys = keys;
            if sorted {
                keys.sort_unstable();
            }
            let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..keys.len() as i64));
            let parts = split_by(keys.len(), |row| keys[row]);
            let mut total = 0;
            for (key, rows) in &parts {
                let picked = rows.of(&numbers).expect("integers can be picked");
                let expected: Vec<i64> = (0..).zip(&keys).filter(|(_, k)| *k == key).map(|(row, _)| row).collect();
                prop_assert_eq!(picked.as_primitive::<Int64Type>().values().to_vec(), expected);
                prop_assert_eq!(rows.len(), picked.len());
                prop_assert!(!sorted || !matches!(rows, RowSelection::Picked(_)));
                total += rows.len();
            }
            prop_assert_eq!(total, keys.len());
        }
    }
}
