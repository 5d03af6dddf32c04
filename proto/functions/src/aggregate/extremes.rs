//! `MIN` and `MAX`. Of floats, NaN is the greatest, and zero has no sign; all else is as DataFusion's. Types without an
//! order in SQL are refused.

use std::sync::Arc;

use arrow::{
    array::ArrowPrimitiveType,
    datatypes::{DataType, FieldRef, Float32Type, Float64Type},
};
use datafusion_common::{Result, plan_err};
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
    function::{AccumulatorArgs, StateFieldsArgs},
};
use datafusion_functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

use crate::canonical::{canonical_f32, canonical_f64};

/// `MIN` or `MAX`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Extreme {
    signature: Signature,
    plain: Arc<AggregateUDF>,
    is_max: bool,
}

/// `MIN`
#[must_use]
pub fn least() -> Extreme {
    Extreme { signature: Signature::user_defined(Volatility::Immutable), plain: min_udaf(), is_max: false }
}

/// `MAX`
#[must_use]
pub fn greatest() -> Extreme {
    Extreme { signature: Signature::user_defined(Volatility::Immutable), plain: max_udaf(), is_max: true }
}

impl Extreme {
    fn of_floats<T>(&self, canonical: fn(T::Native) -> T::Native, start: T::Native) -> Box<dyn GroupsAccumulator>
    where
        T: ArrowPrimitiveType + Send,
        T::Native: arrow::array::ArrowNativeTypeOp,
    {
        use arrow::array::ArrowNativeTypeOp as Ordered;
        // Canonical values have one NaN, which is the greatest in arrow's total order.
        if self.is_max {
            let keep = move |kept: &mut T::Native, value: T::Native| {
                let value = canonical(value);
                if Ordered::is_gt(value, *kept) {
                    *kept = value;
                }
            };
            return Box::new(PrimitiveGroupsAccumulator::<T, _>::new(&T::DATA_TYPE, keep).with_starting_value(start));
        }
        let keep = move |kept: &mut T::Native, value: T::Native| {
            let value = canonical(value);
            if Ordered::is_lt(value, *kept) {
                *kept = value;
            }
        };
        Box::new(PrimitiveGroupsAccumulator::<T, _>::new(&T::DATA_TYPE, keep).with_starting_value(start))
    }
}

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        self.plain.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name();
        let [argument] = arg_types else {
            return plan_err!("function '{name}' takes one argument, not {}", arg_types.len());
        };
        let kind = match argument {
            DataType::Struct(_) => "ROW",
            DataType::Map(_, _) => "MAP",
            DataType::Interval(_) => "INTERVAL",
            nested if nested.is_nested() => "ARRAY",
            _ => return self.plain.coerce_types(arg_types),
        };
        plan_err!("function '{name}' does not take {kind}: its values have no order")
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.plain.return_type(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.plain.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.plain.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.plain.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match args.return_field.data_type() {
            DataType::Float32 => {
                let start = if self.is_max { f32::NEG_INFINITY } else { f32::NAN };
                Ok(self.of_floats::<Float32Type>(canonical_f32, start))
            }
            DataType::Float64 => {
                let start = if self.is_max { f64::NEG_INFINITY } else { f64::NAN };
                Ok(self.of_floats::<Float64Type>(canonical_f64, start))
            }
            _ => self.plain.create_groups_accumulator(args),
        }
    }
}
