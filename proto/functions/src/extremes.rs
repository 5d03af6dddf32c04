//! `GREATEST` and `LEAST`: NULL where any of their arguments is. NaN is greater than all numbers.

use arrow::{
    array::{Array, ArrayRef, BooleanArray},
    buffer::NullBuffer,
    compute::{kernels::cmp, kernels::zip::zip, nullif},
    datatypes::DataType,
};
use datafusion_common::Result;

use crate::{
    native::{Arguments, Gives, Native, Takes},
    unify::all_unified,
};

pub(crate) const FUNCTIONS: &[Native] = &[
    Native::new("greatest", "GREATEST(value, …)", Takes::By(comparable), Gives::By(first), greatest),
    Native::new("least", "LEAST(value, …)", Takes::By(comparable), Gives::By(first), least),
];

fn comparable(found: &[DataType]) -> Option<Vec<DataType>> {
    let common = all_unified(found)?;
    (!common.is_nested()).then(|| vec![common; found.len()])
}

fn first(types: &[DataType]) -> DataType {
    types.first().cloned().unwrap_or(DataType::Null)
}

fn greatest(arguments: &Arguments) -> Result<ArrayRef> {
    extreme(arguments, |one, other| cmp::gt_eq(&one, &other))
}

fn least(arguments: &Arguments) -> Result<ArrayRef> {
    extreme(arguments, |one, other| cmp::lt_eq(&one, &other))
}

fn extreme(
    arguments: &Arguments,
    keeps: fn(ArrayRef, ArrayRef) -> Result<BooleanArray, arrow::error::ArrowError>,
) -> Result<ArrayRef> {
    let mut best = arguments.array(0)?;
    let mut nulls = best.logical_nulls();
    for at in 1..arguments.len() {
        let other = arguments.array(at)?;
        nulls = NullBuffer::union(nulls.as_ref(), other.logical_nulls().as_ref());
        let mask = keeps(best.clone(), other.clone())?;
        best = zip(&mask, &best, &other)?;
    }
    match nulls {
        Some(nulls) => Ok(nullif(&best, &BooleanArray::new(!nulls.inner(), None))?),
        None => Ok(best),
    }
}
