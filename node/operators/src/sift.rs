//! Separates the rows of a batch that cannot be evaluated from the others.
//!
//! A batch is evaluated as a whole. Only if that fails is it halved repeatedly, until the failing rows are isolated;
//! the others are then evaluated together once more. So good batches pay nothing, and a batch of *n* rows costs at most
//! about *2n* evaluations of small parts, however many rows fail.
//!
//! All of this has one budget of bytes that functions may make (`thalweg_functions::budget`), unless it is about a single row. Where
//! that does not suffice nothing is sifted: the batch is to be given in smaller parts. Nor is it where nobody waits for it any more.
//!
//! The evaluation must depend on each row alone and change nothing: an operator sifts before it absorbs rows into its
//! state.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use thalweg_functions::budget::{self, BATCH_BYTES};
use thalweg_types::Fault;

use crate::{OperatorError, error::arrow_error};

/// Rows that could not be evaluated.
#[derive(Debug, Clone)]
pub struct FailedRows {
    /// The rows as the operator received them.
    pub rows: RecordBatch,
    /// Why each row failed, in the same order.
    pub faults: Vec<Fault>,
}

/// A batch without the rows that failed.
#[derive(Debug)]
pub(crate) struct Sifted<T> {
    /// The rows that could be evaluated.
    pub(crate) rows: RecordBatch,
    /// Their result; `None` if no rows are left.
    pub(crate) value: Option<T>,
    /// The rows that failed.
    pub(crate) failed: Option<FailedRows>,
}

/// Evaluates a batch without the rows that fail.
///
/// # Errors
/// If it fails for a reason that lies in no single row, or if several rows exceed the budget of one evaluation.
pub(crate) fn sift<T>(
    batch: RecordBatch,
    evaluate: impl Fn(&RecordBatch) -> Result<T, OperatorError>,
) -> Result<Sifted<T>, OperatorError> {
    let rows = batch.num_rows();
    let all = || match evaluate(&batch) {
        Ok(value) => Ok((Some(value), None)),
        Err(_) if budget::is_used_up() => Err(OperatorError::TooMuch { rows }),
        Err(error) => part(&batch, error, &evaluate).map(|(rest, value, failed)| (value, Some((rest, failed)))),
    };
    let (sifted, is_used_up) = budget::within((rows > 1).then_some(BATCH_BYTES), all);
    if is_used_up {
        return Err(OperatorError::TooMuch { rows });
    }
    Ok(match sifted? {
        (value, None) => Sifted { rows: batch, value, failed: None },
        (value, Some((rows, failed))) => Sifted { rows, value, failed: Some(failed) },
    })
}

/// The remaining rows, their result, and the failed rows.
type Parted<T> = (RecordBatch, Option<T>, FailedRows);

fn part<T>(
    batch: &RecordBatch,
    error: OperatorError,
    evaluate: &impl Fn(&RecordBatch) -> Result<T, OperatorError>,
) -> Result<Parted<T>, OperatorError> {
    let found = find(batch, evaluate);
    if found.is_empty() {
        return Err(error);
    }
    let faults = found.into_iter().map(|(row, error)| error.into_fault(row)).collect();
    let (rows, failed) = part_rows(batch, faults)?;
    let value = if rows.num_rows() > 0 { Some(evaluate(&rows)?) } else { None };
    Ok((rows, value, failed))
}

/// Separates the rows of a batch that have a fault from the others.
///
/// # Errors
/// If Arrow cannot select rows.
pub fn part_rows(batch: &RecordBatch, faults: Vec<Fault>) -> Result<(RecordBatch, FailedRows), OperatorError> {
    let mut is_good = vec![true; batch.num_rows()];
    for fault in &faults {
        if let Some(is_good) = is_good.get_mut(fault.row) {
            *is_good = false;
        }
    }
    let select = |mask: Vec<bool>| {
        filter_record_batch(batch, &BooleanArray::from(mask)).map_err(arrow_error("take out the rows that failed"))
    };
    let rows = select(is_good.iter().map(|is_good| !is_good).collect())?;
    Ok((select(is_good)?, FailedRows { rows, faults }))
}

/// The rows of a batch that fail alone, in order, each with its error. The batch as a whole is known to fail.
fn find<T>(
    batch: &RecordBatch,
    evaluate: &impl Fn(&RecordBatch) -> Result<T, OperatorError>,
) -> Vec<(usize, OperatorError)> {
    let mut found = Vec::new();
    // A stack of parts, the first part on top. It grows by at most one per halving.
    let mut parts = vec![(0, batch.num_rows())];
    let mut is_known_to_fail = true;
    while let Some((from, rows)) = parts.pop() {
        if rows > 1 && std::mem::take(&mut is_known_to_fail) {
            parts.extend([(from + rows / 2, rows - rows / 2), (from, rows / 2)]);
            continue;
        }
        let Err(error) = evaluate(&batch.slice(from, rows)) else { continue };
        if budget::is_used_up() {
            break;
        }
        if rows == 1 {
            found.push((from, error));
        } else if rows > 1 {
            parts.extend([(from + rows / 2, rows - rows / 2), (from, rows / 2)]);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use arrow::array::AsArray as _;
    use arrow::datatypes::{DataType, Int64Type};

    use super::*;
    use crate::testing::{batch, integers, rows_of, schema};

    fn numbers(values: impl IntoIterator<Item = i64>) -> RecordBatch {
        batch(&schema(&[("n", DataType::Int64)]), vec![integers(values.into_iter().map(Some))])
    }

    /// Fails on negative numbers; returns the sum of the others.
    fn sum(batch: &RecordBatch) -> Result<i64, OperatorError> {
        let values = batch.column(0).as_primitive::<Int64Type>().values();
        match values.iter().find(|value| **value < 0) {
            Some(value) => Err(OperatorError::Input { operator: "a sum", reason: format!("{value} is negative") }),
            None => Ok(values.iter().sum()),
        }
    }

    #[test]
    fn the_rows_that_fail_are_parted_from_the_others_in_their_order() {
        let sifted = sift(numbers([1, -2, 3, -4, 5, 6, -7]), sum).expect("each fault is a row's");
        assert_eq!(
            (rows_of([&sifted.rows]), sifted.value),
            (["1", "3", "5", "6"].map(str::to_owned).to_vec(), Some(15))
        );
        let failed = sifted.failed.expect("three rows fail");
        assert_eq!(failed.rows, numbers([-2, -4, -7]));
        let reasons: Vec<&str> = failed.faults.iter().map(|fault| fault.reason.as_str()).collect();
        let of = |value: i64| format!("{value} is negative");
        assert!(reasons.iter().zip([-2, -4, -7]).all(|(reason, value)| reason.contains(&of(value))), "{reasons:?}");
    }

    #[test]
    fn a_batch_of_failing_rows_costs_no_more_than_twice_its_rows() {
        let rows = 1000;
        let calls = Cell::new(0);
        let counted = |batch: &RecordBatch| {
            calls.set(calls.get() + 1);
            sum(batch)
        };
        let sifted = sift(numbers((0..rows).map(|value| -1 - value)), counted).expect("each fault is a row's");
        assert_eq!((sifted.rows.num_rows(), sifted.value), (0, None));
        assert_eq!(sifted.failed.expect("all fail").faults.len(), 1000);
        assert!(calls.get() <= 2 * rows, "{} evaluations of {rows} rows", calls.get());
    }

    #[test]
    fn what_lies_in_no_row_is_an_error() {
        let too_many = |batch: &RecordBatch| match batch.num_rows() {
            0..3 => Ok(()),
            rows => Err(OperatorError::Input { operator: "a test", reason: format!("{rows} rows are too many") }),
        };
        sift(numbers([1, 2, 3]), too_many).expect_err("no row fails alone");
    }
}
