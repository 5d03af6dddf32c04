//! `GREATEST` and `LEAST`, which are NULL if an argument is, and for which NaN is greater than all numbers. `NULLIF`,
//! whose value has the type of its first argument, and which compares as `=` does.

use arrow::{
    array::{Array, ArrayRef, BooleanArray},
    buffer::NullBuffer,
    compute::{cast, kernels::cmp, kernels::zip::zip, nullif},
    datatypes::DataType,
};
use datafusion_common::Result;

use crate::{
    arrays,
    canonical::canonical,
    native::{Arguments, Gives, Native, Takes, unexpected},
    unify::{all_unified, element, unified},
};

pub(crate) const FUNCTIONS: &[Native] = &[
    Native::new("greatest", "GREATEST(value, …)", Takes::By(comparable), Gives::By(first), greatest),
    Native::new("least", "LEAST(value, …)", Takes::By(comparable), Gives::By(first), least),
    Native::new("nullif", "NULLIF(value, value)", Takes::By(two_comparable), Gives::By(first), null_if_equal),
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
        let mask = keeps(canonical(&best)?, canonical(&other)?)?;
        best = zip(&mask, &best, &other)?;
    }
    match nulls {
        Some(nulls) => Ok(nullif(&best, &BooleanArray::new(!nulls.inner(), None))?),
        None => Ok(best),
    }
}

fn two_comparable(found: &[DataType]) -> Option<Vec<DataType>> {
    let [one, other] = found else { return None };
    let common = unified(one, other).filter(|common| !has_maps(common))?;
    Some(if *one == DataType::Null { vec![common.clone(), common] } else { vec![one.clone(), other.clone()] })
}

fn has_maps(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(_, _) => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_maps(field.data_type())),
        other => element(other).is_some_and(|item| has_maps(&item)),
    }
}

fn null_if_equal(arguments: &Arguments) -> Result<ArrayRef> {
    let (value, other) = (arguments.array(0)?, arguments.array(1)?);
    let common = unified(value.data_type(), other.data_type()).ok_or_else(unexpected)?;
    let [values, others] = arrays::comparable([&cast(&value, &common)?, &cast(&other, &common)?])?;
    // A value that the common type cannot hold is NULL there, and equals nothing.
    let are_there = |row: usize| value.is_valid(row) && other.is_valid(row);
    let rows = values.iter().zip(others.iter()).enumerate();
    let equal: BooleanArray = rows.map(|(row, (one, other))| Some(are_there(row) && one == other)).collect();
    Ok(nullif(&value, &equal)?)
}
