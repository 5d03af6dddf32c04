//! Integers: arrow's checked kernels, and errors that name the values on which they failed.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::{cast, kernels::numeric},
    datatypes::{DataType, Int64Type},
};
use datafusion_common::{DataFusionError, Result, exec_datafusion_err};

use super::{Arithmetic, Operand, shape};
use crate::names::sql_type;

/// Calculates with two operands of one integer type.
pub(super) fn calculate(operator: Arithmetic, left: &Operand, right: &Operand) -> Result<ArrayRef> {
    let calculated = match operator {
        Arithmetic::Add => numeric::add(left, right),
        Arithmetic::Subtract => numeric::sub(left, right),
        Arithmetic::Multiply => numeric::mul(left, right),
        Arithmetic::Divide => numeric::div(left, right),
        Arithmetic::Remainder => numeric::rem(left, right),
    };
    calculated.map_err(|error| explained(operator, left, right).unwrap_or_else(|| error.into()))
}

/// The error of the first row that fails.
fn explained(operator: Arithmetic, left: &Operand, right: &Operand) -> Option<DataFusionError> {
    let data_type = left.array.data_type();
    let (lefts, rights) = (wide(&left.array)?, wide(&right.array)?);
    let (lefts, rights) = (lefts.as_primitive::<Int64Type>(), rights.as_primitive::<Int64Type>());
    let (rows, _) = shape(left, right);
    (0..rows).find_map(|row| {
        let (at, beside) = (left.row(row), right.row(row));
        if lefts.is_null(at) || rights.is_null(beside) {
            return None;
        }
        let (a, b) = (i128::from(lefts.value(at)), i128::from(rights.value(beside)));
        let symbol = operator.symbol();
        let result = match operator {
            Arithmetic::Add => Some(a + b),
            Arithmetic::Subtract => Some(a - b),
            Arithmetic::Multiply => Some(a * b),
            Arithmetic::Divide => a.checked_div(b),
            Arithmetic::Remainder => a.checked_rem(b),
        };
        match result {
            None => Some(exec_datafusion_err!("{a} {symbol} {b} divides by zero")),
            Some(result) if !fits(result, data_type) => {
                Some(exec_datafusion_err!("{a} {symbol} {b} = {result} does not fit {}", sql_type(data_type)))
            }
            Some(_) => None,
        }
    })
}

/// The error that names the value whose negative does not fit.
pub(super) fn negation_error(values: &ArrayRef) -> DataFusionError {
    let data_type = values.data_type();
    let lowest = wide(values).and_then(|wide| arrow::compute::min(wide.as_primitive::<Int64Type>()));
    match lowest {
        Some(lowest) => {
            let negative = -i128::from(lowest);
            exec_datafusion_err!("-({lowest}) = {negative} does not fit {}", sql_type(data_type))
        }
        None => exec_datafusion_err!("a negative value does not fit {}", sql_type(data_type)),
    }
}

fn wide(values: &ArrayRef) -> Option<ArrayRef> {
    cast(values, &DataType::Int64).ok()
}

fn fits(value: i128, data_type: &DataType) -> bool {
    match data_type {
        DataType::Int8 => i8::try_from(value).is_ok(),
        DataType::Int16 => i16::try_from(value).is_ok(),
        DataType::Int32 => i32::try_from(value).is_ok(),
        _ => i64::try_from(value).is_ok(),
    }
}
