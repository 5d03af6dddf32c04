//! The join of two batches on equal keys, as a resumable cursor.
//!
//! A hash table over the smaller side (heads of chains of rows with equal hashes) is probed row by row with the larger
//! side. Candidate pairs are collected up to a chunk, then their keys are compared by column. So a hash collision costs
//! a comparison but never yields a wrong row.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array, make_comparator};
use arrow::compute::{SortOptions, and, filter, kernels::cmp::eq, take, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion_common::hash_utils::{RandomState, create_hashes};
use hashbrown::HashTable;

use crate::{
    OperatorError,
    error::{arrow_error, evaluate_error},
    keys::canonical_keys,
    project::batch_of,
};

/// The seed of join tables. It differs from the routing hash's, whose top bits are alike for all rows of a subtask.
const SEED: u64 = 0x6a6f_696e;
/// Marks the end of a chain.
const NONE: u32 = u32::MAX;

/// A join in progress.
#[derive(Debug)]
pub(crate) struct Matcher {
    /// Left and right rows.
    sides: [RecordBatch; 2],
    /// The side that the table is over.
    build: usize,
    keys: [Vec<ArrayRef>; 2],
    /// Hash, and the first row of its chain.
    heads: HashTable<(u64, u32)>,
    next: Vec<u32>,
    /// Hashes of the probing side.
    hashes: Vec<u64>,
    probe: u32,
    /// The next candidate for row `probe`; `None` if its chain has not been started.
    candidate: Option<u32>,
}

impl Matcher {
    pub(crate) fn new(sides: [RecordBatch; 2], keys: [&[usize]; 2]) -> Result<Self, OperatorError> {
        let key_columns = |side: usize| {
            let columns: Vec<ArrayRef> = keys[side].iter().map(|key| sides[side].column(*key).clone()).collect();
            canonical_keys(&columns)
        };
        let keys = [key_columns(0)?, key_columns(1)?];
        let hashes = [hash(&keys[0], sides[0].num_rows())?, hash(&keys[1], sides[1].num_rows())?];
        Ok(Self::with_hashes(sides, keys, hashes))
    }

    fn with_hashes(sides: [RecordBatch; 2], keys: [Vec<ArrayRef>; 2], hashes: [Vec<u64>; 2]) -> Self {
        let build = usize::from(sides[1].num_rows() < sides[0].num_rows());
        let [left, right] = hashes;
        let (build_hashes, hashes) = if build == 0 { (left, right) } else { (right, left) };
        let mut heads: HashTable<(u64, u32)> = HashTable::with_capacity(build_hashes.len());
        let mut next = vec![NONE; build_hashes.len()];
        // From the last row to the first, so that chains are in row order.
        let rows = 0..u32::try_from(build_hashes.len()).expect("a window has fewer than 2^32 rows");
        for row in rows.rev() {
            let hash = build_hashes[row as usize];
            match heads.entry(hash, |(other, _)| *other == hash, |(hash, _)| *hash) {
                hashbrown::hash_table::Entry::Occupied(mut entry) => {
                    next[row as usize] = entry.get().1;
                    entry.get_mut().1 = row;
                }
                hashbrown::hash_table::Entry::Vacant(entry) => {
                    entry.insert((hash, row));
                }
            }
        }
        Self { sides, build, keys, heads, next, hashes, probe: 0, candidate: None }
    }

    /// Bytes held besides the sides.
    pub(crate) fn bytes(&self) -> usize {
        self.heads.capacity() * size_of::<(u64, u32)>() + 4 * self.next.len() + 8 * self.hashes.len()
    }

    /// Up to `limit` matches, left columns before right ones; `None` at the end.
    pub(crate) fn next_matches(
        &mut self,
        limit: usize,
        output: &SchemaRef,
    ) -> Result<Option<RecordBatch>, OperatorError> {
        loop {
            let (built, probed) = self.candidates(limit);
            if built.is_empty() {
                return Ok(None);
            }
            let (built, probed) = self.verify(UInt32Array::from(built), UInt32Array::from(probed))?;
            if built.is_empty() {
                continue;
            }
            let rows = built.len();
            let picks = if self.build == 0 { [&built, &probed] } else { [&probed, &built] };
            let mut columns = Vec::with_capacity(output.fields().len());
            for (side, pick) in self.sides.iter().zip(picks) {
                for column in side.columns() {
                    columns.push(take(column, pick, None).map_err(arrow_error("gather joined rows"))?);
                }
            }
            return batch_of(output, columns, rows).map(Some);
        }
    }

    /// The remaining joins: the left and right rows of each.
    pub(crate) fn remainder(&self) -> Result<Vec<[RecordBatch; 2]>, OperatorError> {
        let (build, probe) = (&self.sides[self.build], &self.sides[1 - self.build]);
        let pair = |built: RecordBatch, probed: RecordBatch| {
            if self.build == 0 { [built, probed] } else { [probed, built] }
        };
        let mut fragments = Vec::new();
        let mut from = self.probe as usize;
        if let Some(candidate) = self.candidate {
            let mut rest = Vec::new();
            let mut row = candidate;
            while row != NONE {
                rest.push(row);
                row = self.next[row as usize];
            }
            let rest = take_record_batch(build, &UInt32Array::from(rest));
            let rest = rest.map_err(arrow_error("gather the rest of a row's matches"))?;
            fragments.push(pair(rest, probe.slice(from, 1)));
            from += 1;
        }
        if from < probe.num_rows() {
            fragments.push(pair(build.clone(), probe.slice(from, probe.num_rows() - from)));
        }
        fragments.retain(|sides| sides.iter().all(|side| side.num_rows() > 0));
        Ok(fragments)
    }

    /// Up to `limit` pairs with equal hashes, as row indexes of both sides.
    fn candidates(&mut self, limit: usize) -> (Vec<u32>, Vec<u32>) {
        let (mut built, mut probed) = (Vec::with_capacity(limit), Vec::with_capacity(limit));
        while let Some(hash) = self.hashes.get(self.probe as usize) {
            let mut row = match self.candidate.take() {
                Some(row) => row,
                None => self.heads.find(*hash, |(other, _)| other == hash).map_or(NONE, |(_, head)| *head),
            };
            while row != NONE {
                if built.len() == limit {
                    self.candidate = Some(row);
                    return (built, probed);
                }
                built.push(row);
                probed.push(self.probe);
                row = self.next[row as usize];
            }
            self.probe += 1;
        }
        (built, probed)
    }

    /// The candidate pairs with equal keys.
    fn verify(&self, built: UInt32Array, probed: UInt32Array) -> Result<(UInt32Array, UInt32Array), OperatorError> {
        let mut equal: Option<BooleanArray> = None;
        for (build, probe) in self.keys[self.build].iter().zip(&self.keys[1 - self.build]) {
            let compare = || {
                let same = match build.data_type().is_nested() {
                    true => equal_nested(build, probe, &built, &probed)?,
                    false => eq(&take(build, &built, None)?, &take(probe, &probed, None)?)?,
                };
                match &equal {
                    Some(equal) => and(equal, &same),
                    None => Ok(same),
                }
            };
            equal = Some(compare().map_err(arrow_error("compare join keys"))?);
        }
        let Some(equal) = equal.filter(|equal| equal.true_count() < equal.len()) else { return Ok((built, probed)) };
        let select = |rows: &UInt32Array| -> Result<UInt32Array, OperatorError> {
            let selected = filter(rows, &equal).map_err(arrow_error("drop collisions of join keys"))?;
            Ok(arrow::array::AsArray::as_primitive(&selected).clone())
        };
        Ok((select(&built)?, select(&probed)?))
    }
}

/// Which of the pairs are equal. NULLs are equal only inside nested values.
fn equal_nested(
    build: &ArrayRef,
    probe: &ArrayRef,
    built: &UInt32Array,
    probed: &UInt32Array,
) -> Result<BooleanArray, ArrowError> {
    let compare = make_comparator(build, probe, SortOptions::default())?;
    let pairs = built.values().iter().zip(probed.values()).map(|(built, probed)| (*built as usize, *probed as usize));
    let equal = pairs.map(|(built, probed)| {
        build.is_valid(built) && probe.is_valid(probed) && compare(built, probed) == Ordering::Equal
    });
    Ok(BooleanArray::from(equal.collect::<Vec<bool>>()))
}

fn hash(keys: &[ArrayRef], rows: usize) -> Result<Vec<u64>, OperatorError> {
    let mut hashes = vec![0; rows];
    create_hashes(keys, &RandomState::with_seed(SEED), &mut hashes).map_err(evaluate_error("JOIN keys"))?;
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ListArray, StructArray, types::Float64Type};
    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::testing::{batch, integers, rows_of, schema};

    #[test]
    fn colliding_hashes_join_no_unequal_keys() {
        let side = |name: &str, values: &[i64]| {
            batch(&schema(&[(name, DataType::Int64)]), vec![integers(values.iter().map(|value| Some(*value)))])
        };
        let sides = [side("l", &[1, 2, 3, 2]), side("r", &[2, 4, 1])];
        let keys = [sides[0].columns().to_vec(), sides[1].columns().to_vec()];
        let mut matcher = Matcher::with_hashes(sides, keys, [vec![7; 4], vec![7; 3]]);
        let output = schema(&[("l", DataType::Int64), ("r", DataType::Int64)]);
        let mut chunks = Vec::new();
        while let Some(chunk) = matcher.next_matches(2, &output).expect("integers join") {
            chunks.push(chunk);
        }
        assert_eq!(rows_of(&chunks), ["1|1", "2|2", "2|2"]);
    }

    #[test]
    fn rows_and_arrays_join_by_value_with_nulls_inside_them() {
        let list = |lists: Vec<Option<Vec<Option<f64>>>>| -> RecordBatch {
            let column: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists));
            let row =
                StructArray::from(vec![(Arc::new(Field::new("a", column.data_type().clone(), true)), column.clone())]);
            let numbers = integers((0..).take(row.len()).map(Some));
            let fields = [("n", DataType::Int64), ("a", column.data_type().clone()), ("r", row.data_type().clone())];
            batch(&schema(&fields), vec![numbers, column, Arc::new(row)])
        };
        let left = vec![Some(vec![Some(0.0), None]), None, Some(vec![Some(f64::NAN)]), Some(vec![])];
        let right = vec![Some(vec![Some(-f64::NAN)]), Some(vec![Some(-0.0), None]), None, Some(vec![None])];
        for (key, expected) in [(1, vec!["0|1", "2|0"]), (2, vec!["0|1", "1|2", "2|0"])] {
            let sides = [list(left.clone()), list(right.clone())];
            let output = schema(&[
                ("n", DataType::Int64),
                ("a", sides[0].column(1).data_type().clone()),
                ("r", sides[0].column(2).data_type().clone()),
                ("m", DataType::Int64),
                ("b", sides[0].column(1).data_type().clone()),
                ("s", sides[0].column(2).data_type().clone()),
            ]);
            let mut matcher = Matcher::new(sides, [&[key], &[key]]).expect("keys of one type");
            let mut pairs = Vec::new();
            while let Some(chunk) = matcher.next_matches(2, &output).expect("nested keys are compared") {
                pairs.push(chunk.project(&[0, 3]).expect("two columns"));
            }
            assert_eq!(rows_of(&pairs), expected, "key {key}");
        }
    }
}
