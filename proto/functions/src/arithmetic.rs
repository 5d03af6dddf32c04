//! `+ - * / %` and unary minus of numbers, checked, with Flink's types.
//!
//! A result that does not fit its type is an error that names the operands; so is division of an integer or a decimal
//! by zero. Floats follow IEEE 754: they overflow to infinity, and `0e0 / 0` is NaN.
//!
//! The planner replaces DataFusion's operators with these, because there integers wrap and decimals have other types. A
//! call takes two or more operands, from left to right: `a - b - c` is one call, however long the chain is.

mod decimal;
mod integer;
mod types;

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, Datum, new_null_array},
    compute::{cast, kernels::numeric},
    datatypes::{DataType, Field, FieldRef},
};
use datafusion_common::{Result, ScalarValue, exec_datafusion_err, plan_datafusion_err, plan_err};
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

pub(crate) use decimal::rounded;
pub use types::{is_number, result_type};
use types::{operand_type, signed};

use crate::names::sql_type;

/// An operator on two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Remainder,
}

/// All operators.
pub const OPERATORS: [Arithmetic; 5] =
    [Arithmetic::Add, Arithmetic::Subtract, Arithmetic::Multiply, Arithmetic::Divide, Arithmetic::Remainder];

/// The name of unary minus among functions.
pub const NEGATE: &str = "-x";

impl Arithmetic {
    /// How it is written. This is also its name among functions: no function that a query can call has such a name.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }

    /// The operator with this symbol.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        OPERATORS.into_iter().find(|operator| operator.symbol() == name)
    }
}

/// The functions of all operators, and of unary minus.
#[must_use]
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    let binary = OPERATORS.into_iter().map(|operator| ScalarUDF::from(Calculation::new(operator)));
    binary.chain([ScalarUDF::from(Negation::new())]).map(Arc::new).collect()
}

/// One operator over two or more numbers.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Calculation {
    operator: Arithmetic,
    signature: Signature,
}

impl Calculation {
    /// The function of an operator.
    #[must_use]
    pub fn new(operator: Arithmetic) -> Self {
        Self { operator, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn type_of(&self, operands: &[DataType]) -> Result<DataType> {
        let (first, rest) = operands.split_first().ok_or_else(|| self.refused(operands))?;
        let types = rest.iter().try_fold(first.clone(), |left, right| result_type(self.operator, &left, right));
        types.filter(|_| !rest.is_empty()).ok_or_else(|| self.refused(operands))
    }

    fn refused(&self, operands: &[DataType]) -> datafusion_common::DataFusionError {
        let operands: Vec<String> = operands.iter().map(sql_type).collect();
        let symbol = self.operator.symbol();
        plan_datafusion_err!("{symbol} is for numbers, not for {}: CAST what is none", operands.join(" and "))
    }
}

impl ScalarUDFImpl for Calculation {
    fn name(&self) -> &str {
        self.operator.symbol()
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        let args: Vec<String> = args.iter().map(|arg| arg.human_display().to_string()).collect();
        Ok(format!("({})", args.join(&format!(" {} ", self.operator.symbol()))))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, operands: &[DataType]) -> Result<Vec<DataType>> {
        self.type_of(operands)?;
        Ok(operands.iter().map(|operand| signed(operand).unwrap_or_else(|| operand.clone())).collect())
    }

    fn return_type(&self, operands: &[DataType]) -> Result<DataType> {
        self.type_of(operands)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.type_of(&types)?, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut operands = args.args.iter();
        let Some(first) = operands.next() else { return Err(self.refused(&[])) };
        let mut result = Operand::of(first)?;
        for operand in operands {
            result = calculate(self.operator, &result, &Operand::of(operand)?)?;
        }
        result.into_value()
    }
}

/// Unary minus.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Negation {
    signature: Signature,
}

impl Negation {
    /// Makes the function.
    #[must_use]
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl Default for Negation {
    fn default() -> Self {
        Self::new()
    }
}

impl ScalarUDFImpl for Negation {
    fn name(&self) -> &str {
        NEGATE
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        let args: Vec<String> = args.iter().map(|arg| arg.human_display().to_string()).collect();
        Ok(format!("(-{})", args.join(", ")))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, operands: &[DataType]) -> Result<Vec<DataType>> {
        Ok(vec![self.return_type(operands)?])
    }

    fn return_type(&self, operands: &[DataType]) -> Result<DataType> {
        match operands {
            [operand] if is_number(operand) => Ok(operand_type(operand, operand).unwrap_or_else(|| operand.clone())),
            [operand] => plan_err!("- is for numbers, not for {}: CAST it", sql_type(operand)),
            _ => plan_err!("unary minus has one operand"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(operand) = args.args.first() else { return plan_err!("unary minus has one operand") };
        let operand = Operand::of(operand)?;
        let negated = numeric::neg(&operand.array).map_err(|_| integer::negation_error(&operand.array))?;
        Operand { array: negated, is_scalar: operand.is_scalar }.into_value()
    }
}

/// A column, or one value for all rows.
struct Operand {
    array: ArrayRef,
    is_scalar: bool,
}

impl Datum for Operand {
    fn get(&self) -> (&dyn Array, bool) {
        (self.array.as_ref(), self.is_scalar)
    }
}

impl Operand {
    fn of(value: &ColumnarValue) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Array(array) => Self { array: array.clone(), is_scalar: false },
            ColumnarValue::Scalar(scalar) => Self { array: scalar.to_array()?, is_scalar: true },
        })
    }

    fn into_value(self) -> Result<ColumnarValue> {
        Ok(match self.is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&self.array, 0)?),
            false => ColumnarValue::Array(self.array),
        })
    }

    fn cast_to(&self, data_type: &DataType) -> Result<Self> {
        let array =
            if self.array.data_type() == data_type { self.array.clone() } else { cast(&self.array, data_type)? };
        Ok(Self { array, is_scalar: self.is_scalar })
    }

    /// The row that goes with a row of the result.
    fn row(&self, row: usize) -> usize {
        if self.is_scalar { 0 } else { row }
    }
}

/// How many rows the result of two operands has, and whether it is one value for all rows.
fn shape(left: &Operand, right: &Operand) -> (usize, bool) {
    let rows = if left.is_scalar { right.array.len() } else { left.array.len() };
    (rows, left.is_scalar && right.is_scalar)
}

fn calculate(operator: Arithmetic, left: &Operand, right: &Operand) -> Result<Operand> {
    let (left_type, right_type) = (left.array.data_type(), right.array.data_type());
    let wanted = result_type(operator, left_type, right_type)
        .ok_or_else(|| exec_datafusion_err!("{left_type} {} {right_type} is no arithmetic", operator.symbol()))?;
    let (rows, is_scalar) = shape(left, right);
    if *left_type == DataType::Null || *right_type == DataType::Null {
        return Ok(Operand { array: new_null_array(&wanted, rows), is_scalar });
    }
    let array = match operand_type(left_type, right_type) {
        Some(float @ (DataType::Float32 | DataType::Float64)) => {
            let (left, right) = (left.cast_to(&float)?, right.cast_to(&float)?);
            match operator {
                Arithmetic::Add => numeric::add_wrapping(&left, &right),
                Arithmetic::Subtract => numeric::sub_wrapping(&left, &right),
                Arithmetic::Multiply => numeric::mul_wrapping(&left, &right),
                Arithmetic::Divide => numeric::div(&left, &right),
                Arithmetic::Remainder => numeric::rem(&left, &right),
            }?
        }
        Some(integer) if integer.is_integer() => {
            let calculated = integer::calculate(operator, &left.cast_to(&integer)?, &right.cast_to(&integer)?)?;
            cast(&calculated, &wanted)?
        }
        _ => decimal::calculate(operator, left, right, &wanted)?,
    };
    Ok(Operand { array, is_scalar })
}

#[cfg(test)]
mod tests;
