//! The exact sums of groups of integers or decimals, and the results from them.
//!
//! A sum is wide enough for any sum of fewer than 2^63 values, so no intermediate sum overflows, and only the result
//! may not fit: 128 bits for integers and for decimals of up to 19 digits, 256 bits for others. Its state is a decimal
//! of that width.

use std::{mem::size_of, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, Float64Array, Int64Array,
        PrimitiveArray,
    },
    datatypes::{
        DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, DecimalType,
        Int64Type, i256,
    },
};
use datafusion_common::{Result, exec_datafusion_err, exec_err};
use datafusion_expr::{EmitTo, GroupsAccumulator};

use super::GroupOverflow;
use crate::arithmetic::rounded;

/// The most digits of decimals whose sums fit 128 bits.
const NARROW_DIGITS: u8 = 19;

/// The result that a sum leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// `BIGINT`.
    Integer,
    /// `DECIMAL(38, scale)`.
    Decimal { scale: i8 },
    /// The sum of values of scale `from`, divided by their number, as `DECIMAL(38, scale)`.
    Average { from: i8, scale: i8 },
    /// The sum of integers, divided by their number, as `DOUBLE`.
    Mean,
}

/// The type of a sum of values of a type; `None` if sums of such values are not exact.
pub(super) fn sum_type(values: &DataType) -> Option<DataType> {
    match values {
        DataType::Int64 => Some(DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0)),
        DataType::Decimal128(precision, scale) if *precision <= NARROW_DIGITS => {
            Some(DataType::Decimal128(DECIMAL128_MAX_PRECISION, *scale))
        }
        DataType::Decimal128(_, scale) => Some(DataType::Decimal256(DECIMAL256_MAX_PRECISION, *scale)),
        _ => None,
    }
}

/// Makes an accumulator for values of a type.
pub(super) fn accumulator(values: &DataType, finish: Finish) -> Result<Box<dyn GroupsAccumulator>> {
    let Some(sums) = sum_type(values) else { return exec_err!("there is no exact sum of {values}") };
    Ok(match sums {
        DataType::Decimal128(_, _) => Box::new(Totals::<Decimal128Type>::new(values.clone(), sums, finish)),
        _ => Box::new(Totals::<Decimal256Type>::new(values.clone(), sums, finish)),
    })
}

/// A type of sums.
trait Wide: ArrowPrimitiveType {
    fn from_i128(value: i128) -> Self::Native;
    fn to_i256(value: Self::Native) -> i256;
    fn to_i128(value: Self::Native) -> Option<i128>;
}

impl Wide for Decimal128Type {
    #[inline]
    fn from_i128(value: i128) -> i128 {
        value
    }

    fn to_i256(value: i128) -> i256 {
        i256::from_i128(value)
    }

    #[inline]
    fn to_i128(value: i128) -> Option<i128> {
        Some(value)
    }
}

impl Wide for Decimal256Type {
    #[inline]
    fn from_i128(value: i128) -> i256 {
        i256::from_i128(value)
    }

    fn to_i256(value: i256) -> i256 {
        value
    }

    #[inline]
    fn to_i128(value: i256) -> Option<i128> {
        value.to_i128()
    }
}

struct Totals<S: Wide> {
    values: DataType,
    /// The type of the sums.
    held: DataType,
    finish: Finish,
    sums: Vec<S::Native>,
    /// The number of values, for an average; else above 0 if there were any.
    counts: Vec<i64>,
}

impl<S: Wide> Totals<S> {
    fn new(values: DataType, held: DataType, finish: Finish) -> Self {
        Self { values, held, finish, sums: Vec::new(), counts: Vec::new() }
    }

    fn grow(&mut self, groups: usize) {
        self.sums.resize(groups, S::Native::ZERO);
        self.counts.resize(groups, 0);
    }

    fn add<V: ArrowPrimitiveType>(
        &mut self,
        values: &PrimitiveArray<V>,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        widen: impl Fn(V::Native) -> S::Native,
    ) {
        if values.null_count() == 0 && filter.is_none() {
            for (group, value) in groups.iter().zip(values.values()) {
                self.sums[*group] = self.sums[*group].add_wrapping(widen(*value));
                self.counts[*group] += 1;
            }
            return;
        }
        for (row, (group, value)) in groups.iter().zip(values.values()).enumerate() {
            let passes = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if passes && values.is_valid(row) {
                self.sums[*group] = self.sums[*group].add_wrapping(widen(*value));
                self.counts[*group] += 1;
            }
        }
    }

    fn take(&mut self, emit_to: EmitTo) -> (Vec<S::Native>, Vec<i64>) {
        (emit_to.take_needed(&mut self.sums), emit_to.take_needed(&mut self.counts))
    }
}

impl<S: Wide + Send> GroupsAccumulator for Totals<S>
where
    S::Native: Send,
{
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups);
        let column = only(values)?;
        match column.data_type() {
            DataType::Int64 => {
                let widen = |value| S::from_i128(i128::from(value));
                self.add(column.as_primitive::<Int64Type>(), group_indices, opt_filter, widen);
            }
            DataType::Decimal128(_, _) => {
                self.add(column.as_primitive::<Decimal128Type>(), group_indices, opt_filter, S::from_i128);
            }
            other => return exec_err!("{other} cannot be summed as {}", self.values),
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (sums, counts) = self.take(emit_to);
        let finish = self.finish;
        let results = sums.into_iter().zip(counts).enumerate().map(|(group, (sum, count))| {
            let finished = match S::to_i128(sum) {
                _ if count == 0 => return Ok(None),
                Some(narrow) if finish.takes(narrow) => Some(narrow),
                _ => finish.of(S::to_i256(sum), count),
            };
            finished.map(Some).ok_or_else(|| finish.overflow(group, S::to_i256(sum), count))
        });
        finish.column(results.collect::<Result<_, _>>()?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sums, counts) = self.take(emit_to);
        let held = sums.into_iter().zip(&counts).map(|(sum, count)| (*count > 0).then_some(sum));
        let held: PrimitiveArray<S> = held.collect();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(held.with_data_type(self.held.clone()))];
        if self.finish.divides() {
            columns.push(Arc::new(Int64Array::from(counts)));
        }
        Ok(columns)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.grow(total_num_groups);
        let Some(sums) = values.first().and_then(|column| column.as_primitive_opt::<S>()) else {
            return exec_err!("a partial sum is not {}", self.held);
        };
        if !self.finish.divides() {
            self.add(sums, group_indices, None, |sum| sum);
            return Ok(());
        }
        let Some(counts) = values.get(1).and_then(|column| column.as_primitive_opt::<Int64Type>()) else {
            return exec_err!("a partial average has no count");
        };
        for (row, group) in group_indices.iter().enumerate() {
            if sums.is_valid(row) && counts.is_valid(row) {
                self.sums[*group] = self.sums[*group].add_wrapping(sums.value(row));
                self.counts[*group] += counts.value(row);
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values.first().map_or(0, |column| column.len());
        let mut each = Self::new(self.values.clone(), self.held.clone(), self.finish);
        each.update_batch(values, &(0..rows).collect::<Vec<_>>(), opt_filter, rows)?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<S::Native>() + self.counts.capacity() * size_of::<i64>()
    }
}

impl Finish {
    /// Whether the number of values counts, and so is part of a state.
    pub(super) fn divides(self) -> bool {
        matches!(self, Self::Average { .. } | Self::Mean)
    }

    /// Whether a sum is the result as it is.
    fn takes(self, sum: i128) -> bool {
        match self {
            Self::Integer => i64::try_from(sum).is_ok(),
            Self::Decimal { .. } => has_decimal_digits(sum),
            Self::Average { .. } | Self::Mean => false,
        }
    }

    /// The unscaled result of a sum of `count` values, or the bits of a DOUBLE; `None` if it does not fit.
    pub(super) fn of(self, sum: i256, count: i64) -> Option<i128> {
        if self == Self::Mean {
            return Some(i128::from(mean(sum.to_i128()?, count)?.to_bits()));
        }
        let Self::Average { from, scale } = self else { return sum.to_i128().filter(|sum| self.takes(*sum)) };
        let power = u32::try_from(i32::from(scale) - i32::from(from)).ok()?;
        let dividend = sum.checked_mul(i256::from_i128(10).checked_pow(power)?)?;
        rounded(dividend, i256::from_i128(i128::from(count)))?.to_i128().filter(|average| has_decimal_digits(*average))
    }

    pub(super) fn overflow(self, group: usize, sum: i256, count: i64) -> GroupOverflow {
        let text = |scale| Decimal256Type::format_decimal(sum, DECIMAL256_MAX_PRECISION, scale);
        let message = match self {
            Self::Integer => format!("{} does not fit BIGINT", text(0)),
            Self::Mean => format!("{} / {count} does not fit DOUBLE", text(0)),
            Self::Decimal { scale } => format!("{} does not fit DECIMAL(38, {scale})", text(scale)),
            Self::Average { from, scale } => format!("{} / {count} does not fit DECIMAL(38, {scale})", text(from)),
        };
        GroupOverflow { group, message }
    }

    /// Makes a column of unscaled results.
    pub(super) fn column(self, results: Vec<Option<i128>>) -> Result<ArrayRef> {
        Ok(match self {
            Self::Integer => {
                let narrow =
                    |result| i64::try_from(result).map_err(|_| exec_datafusion_err!("{result} does not fit BIGINT"));
                let integers = results.into_iter().map(|result| result.map(narrow).transpose());
                Arc::new(integers.collect::<Result<Int64Array>>()?)
            }
            Self::Mean => {
                let bits = |result| u64::try_from(result).map_err(|_| exec_datafusion_err!("{result} is no DOUBLE"));
                let doubles = results.into_iter().map(|result| result.map(bits).transpose());
                let doubles = doubles.map(|result| Ok(result?.map(f64::from_bits)));
                Arc::new(doubles.collect::<Result<Float64Array>>()?)
            }
            Self::Decimal { scale } | Self::Average { scale, .. } => {
                let decimals: PrimitiveArray<Decimal128Type> = results.into_iter().collect();
                Arc::new(decimals.with_precision_and_scale(DECIMAL128_MAX_PRECISION, scale)?)
            }
        })
    }
}

/// The double that is nearest to a quotient.
fn mean(sum: i128, count: i64) -> Option<f64> {
    let (dividend, divisor) = (sum.unsigned_abs(), u128::try_from(count).ok()?);
    let shift = dividend.leading_zeros();
    let dividend = dividend.checked_shl(shift).unwrap_or(0);
    let (quotient, rest) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?);
    // At least 64 bits, of which the last one says that something follows: so it is rounded once, to 53.
    let nearest = (quotient | u128::from(rest != 0)) as f64;
    let magnitude = nearest * 0.5f64.powi(i32::try_from(shift).ok()?);
    Some(if sum < 0 { -magnitude } else { magnitude })
}

fn has_decimal_digits(value: i128) -> bool {
    10i128.checked_pow(u32::from(DECIMAL128_MAX_PRECISION)).is_some_and(|bound| -bound < value && value < bound)
}

pub(super) fn only(values: &[ArrayRef]) -> Result<&ArrayRef> {
    values.first().ok_or_else(|| exec_datafusion_err!("an aggregate was given no column"))
}
