//! Rows as comparable values. Two results are equal if they are equal multisets, with floats within a relative
//! difference of 1e-9.
//!
//! Types that differ only in width or encoding give equal values: all widths of integers, encodings of text and units
//! of time. Decimals are compared exactly, without trailing zeros.

use std::cmp::Ordering;

use anyhow::{Result, bail};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::cast,
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, UInt64Type,
    },
};

/// The largest relative difference of two equal floats. Only zero equals zero.
const TOLERANCE: f64 = 1e-9;
/// Differing rows that a report shows per side.
const SHOWN: usize = 5;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Boolean(bool),
    /// Any integer.
    Integer(i128),
    /// Unscaled value and scale, without trailing zeros.
    Decimal(i128, i8),
    /// Any text.
    Text(String),
    /// A timestamp in microseconds.
    Micros(i64),
    /// A date in days.
    Days(i32),
    /// Any float.
    Float(f64),
}

/// One row.
pub type Row = Vec<Cell>;

/// Converts batches to rows.
///
/// # Errors
/// If a column has a type that no case uses.
pub fn of_batches(batches: &[RecordBatch]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<Vec<Cell>> =
            batch.columns().iter().map(|column| cells(column.as_ref())).collect::<Result<_>>()?;
        rows.extend((0..batch.num_rows()).map(|at| columns.iter().map(|column| column[at].clone()).collect::<Row>()));
    }
    Ok(rows)
}

/// Compares two multisets of rows. Returns how they differ; `None` if they are equal.
#[must_use]
pub fn difference(actual: Vec<Row>, expected: Vec<Row>) -> Option<String> {
    let (rows, wanted) = (actual.len(), expected.len());
    let (missing, extra) = unmatched(actual, expected);
    if missing.is_empty() && extra.is_empty() {
        return None;
    }
    let missing = format!("{} missing:{}", missing.len(), shown(&missing));
    Some(format!("{rows} rows, expected {wanted}; {missing}\n  {} not expected:{}", extra.len(), shown(&extra)))
}

/// Compares two lists of rows. Returns the first difference; `None` if they are equal.
#[must_use]
pub fn difference_in_order(actual: &[Row], expected: &[Row]) -> Option<String> {
    let differs = |at: &usize| match (actual.get(*at), expected.get(*at)) {
        (Some(actual), Some(expected)) => !is_close(actual, expected),
        _ => true,
    };
    let at = (0..actual.len().max(expected.len())).find(differs)?;
    Some(format!("row {at} is {:?}, expected {:?}", actual.get(at), expected.get(at)))
}

/// Rows that are not expected, or too often there; `None` if there are none.
#[must_use]
pub fn surplus(actual: Vec<Row>, expected: Vec<Row>) -> Option<String> {
    let (_, extra) = unmatched(actual, expected);
    (!extra.is_empty()).then(|| format!("{} not expected:{}", extra.len(), shown(&extra)))
}

/// Expected rows that are not there often enough; `None` if there are none.
#[must_use]
pub fn missing(actual: Vec<Row>, expected: Vec<Row>) -> Option<String> {
    let (missing, _) = unmatched(actual, expected);
    (!missing.is_empty()).then(|| format!("{} missing:{}", missing.len(), shown(&missing)))
}

fn shown(rows: &[Row]) -> String {
    rows.iter().take(SHOWN).map(|row| format!("\n    {row:?}")).collect()
}

/// The rows that are only expected, and those that are only there.
fn unmatched(mut actual: Vec<Row>, mut expected: Vec<Row>) -> (Vec<Row>, Vec<Row>) {
    actual.sort_by(compare_rows);
    expected.sort_by(compare_rows);
    let (mut missing, mut extra) = (Vec::new(), Vec::new());
    let (mut a, mut e) = (actual.into_iter().peekable(), expected.into_iter().peekable());
    loop {
        match (a.peek(), e.peek()) {
            (None, None) => return (missing, extra),
            (Some(_), None) => extra.extend(a.next()),
            (None, Some(_)) => missing.extend(e.next()),
            (Some(left), Some(right)) if is_close(left, right) => {
                a.next();
                e.next();
            }
            (Some(left), Some(right)) if compare_rows(left, right) == Ordering::Less => extra.extend(a.next()),
            _ => missing.extend(e.next()),
        }
    }
}

fn cells(column: &dyn Array) -> Result<Vec<Cell>> {
    let to = |kind: &DataType| cast(column, kind);
    let kind = column.data_type();
    let get: Box<dyn Fn(usize) -> Cell> = match kind {
        DataType::Null => Box::new(|_| Cell::Null),
        DataType::Boolean => {
            let values = column.as_boolean().clone();
            Box::new(move |at| Cell::Boolean(values.value(at)))
        }
        DataType::UInt64 => {
            let values = column.as_primitive::<UInt64Type>().clone();
            Box::new(move |at| Cell::Integer(values.value(at).into()))
        }
        kind if kind.is_integer() => {
            let values = to(&DataType::Int64)?.as_primitive::<Int64Type>().clone();
            Box::new(move |at| Cell::Integer(values.value(at).into()))
        }
        kind if kind.is_floating() => {
            let values = to(&DataType::Float64)?.as_primitive::<Float64Type>().clone();
            // Adding zero turns minus zero into zero.
            Box::new(move |at| Cell::Float(values.value(at) + 0.0))
        }
        DataType::Decimal128(_, scale) => {
            let (values, scale) = (column.as_primitive::<Decimal128Type>().clone(), *scale);
            Box::new(move |at| decimal(values.value(at), scale))
        }
        DataType::Timestamp(_, _) => {
            let values = to(&DataType::Timestamp(TimeUnit::Microsecond, None))?;
            let values = values.as_primitive::<TimestampMicrosecondType>().clone();
            Box::new(move |at| Cell::Micros(values.value(at)))
        }
        DataType::Date32 => {
            let values = column.as_primitive::<Date32Type>().clone();
            Box::new(move |at| Cell::Days(values.value(at)))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let values = to(&DataType::Utf8)?.as_string::<i32>().clone();
            Box::new(move |at| Cell::Text(values.value(at).to_owned()))
        }
        other => bail!("no case has a column of type {other}"),
    };
    Ok((0..column.len()).map(|at| if column.is_null(at) { Cell::Null } else { get(at) }).collect())
}

fn decimal(unscaled: i128, scale: i8) -> Cell {
    let (mut unscaled, mut scale) = (unscaled, scale);
    while scale > 0 && unscaled % 10 == 0 {
        unscaled /= 10;
        scale -= 1;
    }
    Cell::Decimal(unscaled, scale)
}

/// Compares all cells but floats first, so that rounding errors do not change a row's place.
fn compare_rows(left: &Row, right: &Row) -> Ordering {
    let exact = left.iter().zip(right).map(|(l, r)| compare_exact(l, r)).find(|order| order.is_ne());
    let float = || left.iter().zip(right).map(|(l, r)| compare_float(l, r)).find(|order| order.is_ne());
    exact.or_else(float).unwrap_or_else(|| left.len().cmp(&right.len()))
}

fn compare_exact(left: &Cell, right: &Cell) -> Ordering {
    match (left, right) {
        (Cell::Boolean(l), Cell::Boolean(r)) => l.cmp(r),
        (Cell::Integer(l), Cell::Integer(r)) => l.cmp(r),
        (Cell::Decimal(l, ls), Cell::Decimal(r, rs)) => (ls, l).cmp(&(rs, r)),
        (Cell::Text(l), Cell::Text(r)) => l.cmp(r),
        (Cell::Micros(l), Cell::Micros(r)) => l.cmp(r),
        (Cell::Days(l), Cell::Days(r)) => l.cmp(r),
        (l, r) => rank(l).cmp(&rank(r)),
    }
}

fn compare_float(left: &Cell, right: &Cell) -> Ordering {
    match (left, right) {
        (Cell::Float(l), Cell::Float(r)) => l.total_cmp(r),
        _ => Ordering::Equal,
    }
}

fn rank(cell: &Cell) -> u8 {
    match cell {
        Cell::Null => 0,
        Cell::Boolean(_) => 1,
        Cell::Integer(_) => 2,
        Cell::Decimal(..) => 3,
        Cell::Text(_) => 4,
        Cell::Micros(_) => 5,
        Cell::Days(_) => 6,
        Cell::Float(_) => 7,
    }
}

fn is_close(left: &Row, right: &Row) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).all(|pair| match pair {
            (Cell::Float(l), Cell::Float(r)) => is_close_float(*l, *r),
            (l, r) => l == r,
        })
}

fn is_close_float(left: f64, right: f64) -> bool {
    let difference = (left - right).abs();
    left.total_cmp(&right).is_eq() || difference.is_finite() && difference <= TOLERANCE * left.abs().max(right.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: i128, float: f64) -> Row {
        vec![Cell::Integer(number), Cell::Float(float)]
    }

    #[test]
    fn equal_multisets_do_not_differ_whatever_their_order() {
        let actual = vec![row(2, 0.1 + 0.2), row(1, 1.0), row(1, 1.0)];
        let expected = vec![row(1, 1.0), row(1, 1.0), row(2, 0.3)];
        assert_eq!(difference(actual, expected), None);
    }

    #[test]
    fn a_repeated_row_counts() {
        let report = difference(vec![row(1, 1.0), row(1, 1.0)], vec![row(1, 1.0)]).unwrap();
        assert!(report.starts_with("2 rows, expected 1; 0 missing:"), "{report}");
    }

    #[test]
    fn a_changed_value_is_missing_and_extra() {
        let report = difference(vec![row(1, 1.000_001), row(3, 0.0)], vec![row(1, 1.0), row(3, 0.0)]).unwrap();
        assert!(report.contains("1 missing") && report.contains("1 not expected"), "{report}");
    }

    #[test]
    fn the_tolerance_is_relative_for_small_values_too() {
        let differ = |l: f64, r: f64| difference(vec![row(1, l)], vec![row(1, r)]).is_some();
        assert!(
            differ(1e-12, 2e-12) && differ(0.0, 1e-300) && differ(f64::INFINITY, f64::MAX) && differ(f64::NAN, 1.0)
        );
        assert!(differ(f64::INFINITY, f64::NEG_INFINITY));
        assert!(!differ(1e-12, 1e-12 * (1.0 + 1e-10)) && !differ(0.0, 0.0) && !differ(f64::NAN, f64::NAN));
        assert!(!differ(f64::INFINITY, f64::INFINITY) && !differ(-1e300, -1e300 * (1.0 - 1e-10)));
    }

    #[test]
    fn decimals_are_equal_by_value() {
        assert_eq!(decimal(1_500, 3), decimal(15, 1));
        assert_ne!(decimal(1_501, 3), decimal(15, 1));
    }
}
