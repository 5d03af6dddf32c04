//! Functions of numbers: those of doubles, and those that keep the type of their argument.
//!
//! A result without a real value is NaN, or an infinity, as in IEEE 754, and fails no row. A result that does not fit
//! its type does.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Decimal128Type, Float64Type, Int64Type},
};
use datafusion_common::{Result, exec_datafusion_err};

use crate::native::{
    Arguments, Gives, Ints,
    Kind::{Double, Int, Number},
    Native, Takes, these, up_to,
};

macro_rules! doubles {
    ($($function:ident, $name:literal, $value:expr;)*) => {
        $(fn $function(arguments: &Arguments) -> Result<ArrayRef> {
            each_double(arguments, $value)
        })*

        const OF_DOUBLES: &[Native] = &[
            $(Native::new($name, concat!($name, "(number)"), these(&[Double]), Gives::Double, $function)),*
        ];
    };
}

doubles! {
    sqrt, "sqrt", f64::sqrt;
    cbrt, "cbrt", f64::cbrt;
    exp, "exp", f64::exp;
    ln, "ln", f64::ln;
    log10, "log10", f64::log10;
    log2, "log2", |x| x.ln() / 2f64.ln();
    sin, "sin", f64::sin;
    sinh, "sinh", f64::sinh;
    asin, "asin", f64::asin;
    asinh, "asinh", f64::asinh;
    cos, "cos", f64::cos;
    cosh, "cosh", f64::cosh;
    acos, "acos", f64::acos;
    acosh, "acosh", f64::acosh;
    tan, "tan", f64::tan;
    tanh, "tanh", f64::tanh;
    atan, "atan", f64::atan;
    atanh, "atanh", f64::atanh;
    cot, "cot", |x| 1.0 / x.tan();
    degrees, "degrees", f64::to_degrees;
    radians, "radians", f64::to_radians;
}

const OTHERS: &[Native] = &[
    Native::new(
        "log",
        "LOG([base,] number)",
        Takes::These { kinds: &[Double, Double], optional: 1 },
        Gives::Double,
        log,
    ),
    Native::new("power", "POWER(base, exponent)", these(&[Double, Double]), Gives::Double, power).also(&["pow"]),
    Native::new("atan2", "ATAN2(y, x)", these(&[Double, Double]), Gives::Double, atan2),
    Native::new("e", "E()", these(&[]), Gives::Double, e),
    Native::new("pi", "PI()", these(&[]), Gives::Double, pi),
    Native::new("ceil", "CEIL(number)", these(&[Number]), Gives::By(whole), ceil).also(&["ceiling"]),
    Native::new("floor", "FLOOR(number)", these(&[Number]), Gives::By(whole), floor),
    Native::new("round", "ROUND(number [, places])", up_to(&[Number, Int], 1), Gives::By(rounded), round),
    Native::new("truncate", "TRUNCATE(number [, places])", up_to(&[Number, Int], 1), Gives::By(rounded), truncate),
    Native::new("sign", "SIGN(number)", these(&[Number]), Gives::By(signed), sign),
];

pub(crate) fn functions() -> impl Iterator<Item = Native> {
    OF_DOUBLES.iter().chain(OTHERS).copied()
}

fn each_double(arguments: &Arguments, value: fn(f64) -> f64) -> Result<ArrayRef> {
    let array = arguments.array(0)?;
    Ok(Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(value)))
}

fn of_two(arguments: &Arguments, value: fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let (first, second) = (arguments.doubles(0)?, arguments.doubles(1)?);
    let values = (0..arguments.rows).map(|row| Some(value(first.get(row)?, second.get(row)?)));
    Ok(Arc::new(values.collect::<Float64Array>()))
}

/// The natural logarithm, or the logarithm to the base that comes first.
fn log(arguments: &Arguments) -> Result<ArrayRef> {
    match arguments.len() {
        1 => each_double(arguments, f64::ln),
        _ => of_two(arguments, |base, number| number.ln() / base.ln()),
    }
}

fn power(arguments: &Arguments) -> Result<ArrayRef> {
    // For a base of 1 or -1 and an exponent that is not finite, `powf` may give 1 where Java gives NaN.
    of_two(arguments, |base, exponent| match (base.abs() == 1.0, exponent.is_finite()) {
        (true, false) => f64::NAN,
        _ => base.powf(exponent),
    })
}

fn atan2(arguments: &Arguments) -> Result<ArrayRef> {
    of_two(arguments, f64::atan2)
}

fn e(arguments: &Arguments) -> Result<ArrayRef> {
    Ok(Arc::new(Float64Array::from(vec![std::f64::consts::E; arguments.rows])))
}

fn pi(arguments: &Arguments) -> Result<ArrayRef> {
    Ok(Arc::new(Float64Array::from(vec![std::f64::consts::PI; arguments.rows])))
}

fn whole(types: &[DataType]) -> DataType {
    match types.first() {
        Some(DataType::Decimal128(precision, _)) => DataType::Decimal128(*precision, 0),
        other => other.cloned().unwrap_or(DataType::Float64),
    }
}

/// Rounding may need one more digit before the point. A given number of places may differ by row, so the scale stays.
fn rounded(types: &[DataType]) -> DataType {
    match types {
        [DataType::Decimal128(precision, scale)] => {
            let digits = i16::from(*precision) - i16::from(*scale) + 1;
            DataType::Decimal128(u8::try_from(digits.clamp(1, 38)).unwrap_or(38), 0)
        }
        [DataType::Decimal128(precision, scale), _] => DataType::Decimal128((precision + 1).min(38), *scale),
        _ => whole(types),
    }
}

fn signed(types: &[DataType]) -> DataType {
    match types.first() {
        Some(DataType::Decimal128(precision, scale)) => {
            let least = u8::try_from(*scale).unwrap_or(0).saturating_add(1).min(38);
            DataType::Decimal128((*precision).max(least), *scale)
        }
        other => other.cloned().unwrap_or(DataType::Float64),
    }
}

fn ceil(arguments: &Arguments) -> Result<ArrayRef> {
    let decimal = |value: i128, unit: i128| value.div_euclid(unit).checked_add(i128::from(value.rem_euclid(unit) != 0));
    convert(arguments, Some, f64::ceil, |value, unit, _| decimal(value, unit))
}

fn floor(arguments: &Arguments) -> Result<ArrayRef> {
    convert(arguments, Some, f64::floor, |value, unit, _| Some(value.div_euclid(unit)))
}

fn sign(arguments: &Arguments) -> Result<ArrayRef> {
    let double = |x: f64| if x == 0.0 || x.is_nan() { x } else { x.signum() };
    convert(arguments, |x| Some(x.signum()), double, |value, unit, _| value.signum().checked_mul(unit))
}

/// Applies a function to each number by its form: an integer, a double, or an unscaled decimal, with the powers of ten
/// of its scale and of the result's scale.
fn convert(
    arguments: &Arguments,
    int: impl Fn(i64) -> Option<i64>,
    double: impl Fn(f64) -> f64,
    decimal: impl Fn(i128, i128, i128) -> Option<i128>,
) -> Result<ArrayRef> {
    with_places(arguments, |_, x, _| int(x), |_, x, _| double(x), |_, x, from, to| decimal(x, from, to))
}

type Places<'a> = &'a dyn Fn(usize) -> Option<i64>;

fn with_places(
    arguments: &Arguments,
    int: impl Fn(usize, i64, Places) -> Option<i64>,
    double: impl Fn(usize, f64, Places) -> f64,
    decimal: impl Fn(usize, i128, i128, i128) -> Option<i128>,
) -> Result<ArrayRef> {
    let numbers = arguments.array(0)?;
    let places: Option<Ints> = (arguments.len() > 1).then(|| arguments.ints(1)).transpose()?;
    let given = |row: usize| places.as_ref().map_or(Some(0), |places| places.get(row));
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let too_large = || exec_datafusion_err!("a rounded number does not fit its type");
    let made: ArrayRef = match numbers.data_type() {
        DataType::Decimal128(_, scale) => {
            let values = numbers.as_primitive::<Decimal128Type>();
            let (_, to_scale) = decimal_type(arguments.returns);
            let (from, to) = (power_of_ten(i64::from(*scale)), power_of_ten(i64::from(to_scale)));
            let value = |row: usize| match (values.is_valid(row), given(row)) {
                (true, Some(_)) => decimal(row, values.value(row), from, to).ok_or_else(too_large).map(Some),
                _ => Ok(None),
            };
            let made: Decimal128Array = (0..arguments.rows).map(value).collect::<Result<_>>()?;
            let (precision, _) = decimal_type(arguments.returns);
            let made = made.with_precision_and_scale(precision, to_scale)?;
            made.validate_decimal_precision(precision)?;
            return Ok(Arc::new(made));
        }
        DataType::Float32 | DataType::Float64 => {
            let values = cast_with_options(&numbers, &DataType::Float64, &strict)?;
            let values = values.as_primitive::<Float64Type>();
            let value = |row: usize| {
                (values.is_valid(row) && given(row).is_some()).then(|| double(row, values.value(row), &given))
            };
            Arc::new((0..arguments.rows).map(value).collect::<Float64Array>())
        }
        _ => {
            let values = cast_with_options(&numbers, &DataType::Int64, &strict)?;
            let values = values.as_primitive::<Int64Type>();
            let value = |row: usize| match (values.is_valid(row), given(row)) {
                (true, Some(_)) => int(row, values.value(row), &given).ok_or_else(too_large).map(Some),
                _ => Ok(None),
            };
            Arc::new((0..arguments.rows).map(value).collect::<Result<Int64Array>>()?)
        }
    };
    Ok(cast_with_options(&made, arguments.returns, &strict)?)
}

fn decimal_type(data_type: &DataType) -> (u8, i8) {
    match data_type {
        DataType::Decimal128(precision, scale) => (*precision, *scale),
        _ => (38, 0),
    }
}

fn power_of_ten(exponent: i64) -> i128 {
    u32::try_from(exponent).ok().and_then(|exponent| 10i128.checked_pow(exponent)).unwrap_or(i128::MAX)
}

fn round(arguments: &Arguments) -> Result<ArrayRef> {
    to_places(arguments, |value, unit| {
        let rest = value % unit;
        let down = value - rest;
        // Half a unit rounds away from zero. `rest * 2` could overflow.
        match rest.unsigned_abs() >= unit.unsigned_abs() - rest.unsigned_abs() {
            true => down.checked_add(unit * value.signum()),
            false => Some(down),
        }
    })
}

fn truncate(arguments: &Arguments) -> Result<ArrayRef> {
    to_places(arguments, |value, unit| Some(value - value % unit))
}

/// Cuts numbers to a number of decimal places, which may be negative. `cut` reduces an integer to a multiple of a unit.
fn to_places(arguments: &Arguments, cut: fn(i128, i128) -> Option<i128>) -> Result<ArrayRef> {
    let scale = match arguments.data_type(0)? {
        DataType::Decimal128(_, scale) => i64::from(scale),
        _ => 0,
    };
    let places: Option<Ints> = (arguments.len() > 1).then(|| arguments.ints(1)).transpose()?;
    let given = |row: usize| places.as_ref().and_then(|places| places.get(row)).unwrap_or(0);
    with_places(
        arguments,
        |row, value, _| match given(row) {
            0.. => Some(value),
            places => {
                cut(i128::from(value), power_of_ten(places.saturating_neg())).and_then(|made| i64::try_from(made).ok())
            }
        },
        |row, value, _| double_to_places(value, given(row), cut),
        |row, value, from, to| {
            let cut_off = scale.saturating_sub(given(row));
            let made = if cut_off <= 0 { value } else { cut(value, power_of_ten(cut_off))? };
            Some(made / (from / to))
        },
    )
}

/// Cuts the shortest decimal that identifies the double, which is how people read it.
fn double_to_places(value: f64, places: i64, cut: fn(i128, i128) -> Option<i128>) -> f64 {
    if !value.is_finite() || value == 0.0 {
        return value;
    }
    // Digits and exponent: `1.005` is `1.005e0`, which is 1005 thousandths.
    let text = format!("{value:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return value };
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let scale = i64::try_from(fraction).unwrap_or(0) - exponent;
    let digits: i128 = mantissa.replace('.', "").parse().unwrap_or(0);
    let cut_off = scale.saturating_sub(places);
    if cut_off <= 0 {
        return value;
    }
    let made = if cut_off > 37 { Some(0) } else { cut(digits, power_of_ten(cut_off)) };
    let made = made.and_then(|made| format!("{made}e{}", scale.saturating_neg()).parse().ok()).unwrap_or(value);
    if made == 0.0 { made.copysign(0.0) } else { made }
}
