//! Decimals: calculated exactly in 128 bits if they suffice, else in 256, then rounded half up to the scale of the
//! result.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, PrimitiveArray, new_null_array},
    compute::{cast, try_binary},
    datatypes::{DataType, Decimal128Type, DecimalType, i256},
    error::ArrowError,
};
use datafusion_common::{Result, exec_datafusion_err, exec_err};

use super::{Arithmetic, Operand, shape, types::as_decimal};
use crate::names::sql_type;

type Decimals = PrimitiveArray<Decimal128Type>;

/// An operation on unscaled values.
struct Formula {
    operator: Arithmetic,
    left: (u8, i8),
    right: (u8, i8),
    precision: u8,
    scale: i8,
    narrow: Option<Factors<i128>>,
    wide: Factors<i256>,
}

/// Powers of ten.
#[derive(Clone, Copy)]
struct Factors<T> {
    /// The operands are multiplied by these first.
    left: T,
    right: T,
    /// The result is divided by this last.
    excess: T,
    /// The least number with too many digits.
    bound: T,
}

enum Failure {
    DivisionByZero,
    Overflow,
}

/// Calculates with two numbers, at least one of them a decimal and none a float.
pub(super) fn calculate(operator: Arithmetic, left: &Operand, right: &Operand, result: &DataType) -> Result<ArrayRef> {
    let as_decimals = |operand: &Operand| match as_decimal(operand.array.data_type()) {
        Some(decimal) => operand.cast_to(&decimal),
        None => exec_err!("{} is no decimal", operand.array.data_type()),
    };
    let (left, right) = (as_decimals(left)?, as_decimals(right)?);
    // The remainder of two numbers of scale 0 has the divisor's type, which may be an integer's.
    let decimal = as_decimal(result).ok_or_else(|| exec_datafusion_err!("{result} is no number"))?;
    let (precision, scale) = parts_of(&decimal)?;
    let formula = Formula::new(
        operator,
        parts_of(left.array.data_type())?,
        parts_of(right.array.data_type())?,
        precision,
        scale,
    )?;
    let values = formula.over(&left, &right)?.with_precision_and_scale(precision, scale)?;
    let values: ArrayRef = Arc::new(values);
    Ok(if values.data_type() == result { values } else { cast(&values, result)? })
}

fn parts_of(data_type: &DataType) -> Result<(u8, i8)> {
    match data_type {
        DataType::Decimal128(precision, scale) => Ok((*precision, *scale)),
        other => exec_err!("{other} is no decimal"),
    }
}

impl Formula {
    fn new(operator: Arithmetic, left: (u8, i8), right: (u8, i8), precision: u8, scale: i8) -> Result<Self> {
        let (s1, s2, wanted) = (i32::from(left.1), i32::from(right.1), i32::from(scale));
        let aligned = s1.max(s2);
        let (by_left, by_right, excess) = match operator {
            Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Remainder => {
                (aligned - s1, aligned - s2, aligned - wanted)
            }
            Arithmetic::Multiply => (0, 0, s1 + s2 - wanted),
            Arithmetic::Divide => (wanted - s1 + s2, 0, 0),
        };
        let digits =
            |power: i32| u32::try_from(power).map_err(|_| exec_datafusion_err!("a scale of {wanted} is too large"));
        let powers = [digits(by_left)?, digits(by_right)?, digits(excess)?, u32::from(precision)];
        Ok(Self {
            operator,
            left,
            right,
            precision,
            scale,
            narrow: Factors::new(powers, |power| 10i128.checked_pow(power)),
            wide: Factors::new(powers, |power| i256::from_i128(10).checked_pow(power))
                .ok_or_else(|| exec_datafusion_err!("a scale of {wanted} is too large"))?,
        })
    }

    fn over(&self, left: &Operand, right: &Operand) -> Result<Decimals> {
        let (rows, _) = shape(left, right);
        let (lefts, rights) =
            (left.array.as_primitive::<Decimal128Type>(), right.array.as_primitive::<Decimal128Type>());
        let is_null = |operand: &Operand| operand.is_scalar && operand.array.is_null(0);
        if is_null(left) || is_null(right) {
            return Ok(new_null_array(&DataType::Decimal128(38, 0), rows).as_primitive().clone());
        }
        let result = match (left.is_scalar, right.is_scalar) {
            (true, true) | (false, false) => try_binary(lefts, rights, |a, b| self.of(a, b)),
            (false, true) => lefts.try_unary(|a| self.of(a, rights.value(0))),
            (true, false) => rights.try_unary(|b| self.of(lefts.value(0), b)),
        };
        result.map_err(|error| match error {
            ArrowError::ComputeError(message) => exec_datafusion_err!("{message}"),
            other => other.into(),
        })
    }

    #[inline]
    fn of(&self, a: i128, b: i128) -> Result<i128, ArrowError> {
        if let Some(factors) = &self.narrow
            && let Some(value) = factors.of(self.operator, a, b)
        {
            return Ok(value);
        }
        self.wide_of(a, b).map_err(|failure| ArrowError::ComputeError(self.text(a, b, &failure)))
    }

    fn wide_of(&self, a: i128, b: i128) -> Result<i128, Failure> {
        let divides = matches!(self.operator, Arithmetic::Divide | Arithmetic::Remainder);
        if divides && b == 0 {
            return Err(Failure::DivisionByZero);
        }
        // Whatever exceeds 256 bits on the way has a result of more than 38 digits.
        let value = self.wide.of(self.operator, i256::from_i128(a), i256::from_i128(b));
        value.and_then(i256::to_i128).ok_or(Failure::Overflow)
    }

    fn text(&self, a: i128, b: i128, failure: &Failure) -> String {
        let symbol = self.operator.symbol();
        let text = |value: i128, (precision, scale): (u8, i8)| Decimal128Type::format_decimal(value, precision, scale);
        let (a, b) = (text(a, self.left), text(b, self.right));
        match failure {
            Failure::DivisionByZero => format!("{a} {symbol} {b} divides by zero"),
            Failure::Overflow => {
                let wanted = sql_type(&DataType::Decimal128(self.precision, self.scale));
                format!("{a} {symbol} {b} does not fit {wanted}")
            }
        }
    }
}

impl<T: Whole> Factors<T> {
    fn new([left, right, excess, bound]: [u32; 4], power: impl Fn(u32) -> Option<T>) -> Option<Self> {
        Some(Self { left: power(left)?, right: power(right)?, excess: power(excess)?, bound: power(bound)? })
    }

    /// The rounded result; `None` if it has too many digits, overflows on the way, or divides by zero.
    #[inline]
    fn of(&self, operator: Arithmetic, a: T, b: T) -> Option<T> {
        let (a, b) = (a.times(self.left)?, b.times(self.right)?);
        let exact = match operator {
            Arithmetic::Add => a.plus(b)?,
            Arithmetic::Subtract => a.plus(b.negative()?)?,
            Arithmetic::Multiply => a.times(b)?,
            Arithmetic::Remainder => a.remainder(b)?,
            Arithmetic::Divide => rounded(a, b)?,
        };
        let value = if self.excess == T::ONE { exact } else { rounded(exact, self.excess)? };
        (value < self.bound && value > self.bound.negative()?).then_some(value)
    }
}

/// The quotient, rounded to the nearest number, ties away from zero.
#[inline]
pub(crate) fn rounded<T: Whole>(dividend: T, divisor: T) -> Option<T> {
    let (quotient, rest) = (dividend.quotient(divisor)?, dividend.remainder(divisor)?);
    let (rest, whole) = (rest.magnitude()?, divisor.magnitude()?);
    if rest < whole.plus(rest.negative()?)? {
        return Some(quotient);
    }
    let is_negative = (dividend < T::ZERO) != (divisor < T::ZERO);
    quotient.plus(if is_negative { T::ONE.negative()? } else { T::ONE })
}

/// An integer with checked arithmetic.
pub(crate) trait Whole: Copy + Ord {
    const ZERO: Self;
    const ONE: Self;
    fn plus(self, other: Self) -> Option<Self>;
    fn times(self, other: Self) -> Option<Self>;
    fn quotient(self, other: Self) -> Option<Self>;
    fn remainder(self, other: Self) -> Option<Self>;
    fn negative(self) -> Option<Self>;
    fn magnitude(self) -> Option<Self>;
}

macro_rules! whole {
    ($type:ty, $zero:expr, $one:expr) => {
        impl Whole for $type {
            const ZERO: Self = $zero;
            const ONE: Self = $one;
            #[inline]
            fn plus(self, other: Self) -> Option<Self> {
                self.checked_add(other)
            }
            #[inline]
            fn times(self, other: Self) -> Option<Self> {
                self.checked_mul(other)
            }
            #[inline]
            fn quotient(self, other: Self) -> Option<Self> {
                self.checked_div(other)
            }
            #[inline]
            fn remainder(self, other: Self) -> Option<Self> {
                self.checked_rem(other)
            }
            #[inline]
            fn negative(self) -> Option<Self> {
                self.checked_neg()
            }
            #[inline]
            fn magnitude(self) -> Option<Self> {
                self.checked_abs()
            }
        }
    };
}

whole!(i128, 0, 1);
whole!(i256, i256::ZERO, i256::ONE);
