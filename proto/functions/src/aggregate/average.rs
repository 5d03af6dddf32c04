//! `AVG`. Decimals of scale s give a `DECIMAL(38, max(6, s))`, exact but for one rounding. Integers give a DOUBLE:
//! their exact sum, converted and divided. DataFusion's function averages all else: floating-point numbers to a DOUBLE,
//! durations to a duration.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef};
use datafusion_common::{Result, not_impl_err, plan_err};
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
    expr::AggregateFunctionParams,
    function::{AccumulatorArgs, StateFieldsArgs},
    utils::format_state_name,
};

use super::{
    distinct::{self, DistinctTotals},
    totals::{self, Finish},
};

/// The least scale of an average.
const SCALE_MIN: i8 = 6;

/// `AVG`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ExactAverage {
    signature: Signature,
    plain: Arc<AggregateUDF>,
}

impl ExactAverage {
    /// Makes the function.
    #[must_use]
    pub fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
            plain: datafusion_functions_aggregate::average::avg_udaf(),
        }
    }
}

impl Default for ExactAverage {
    fn default() -> Self {
        Self::new()
    }
}

/// How an average follows from the sum of values of a type; `None` if DataFusion's function computes it.
fn finish_of(values: &DataType) -> Option<Finish> {
    match values {
        DataType::Int64 => Some(Finish::Mean),
        DataType::Decimal128(_, from) => Some(Finish::Average { from: *from, scale: SCALE_MIN.max(*from) }),
        _ => None,
    }
}

impl AggregateUDFImpl for ExactAverage {
    fn name(&self) -> &str {
        "exact_avg"
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.plain.schema_name(params)
    }

    fn human_display(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.plain.human_display(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.plain.display_name(params)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        use DataType as T;
        let [argument] = arg_types else {
            return plan_err!("function 'avg' takes one argument, not {}", arg_types.len());
        };
        Ok(vec![match argument {
            T::Decimal128(_, _) | T::Duration(_) => argument.clone(),
            T::Null | T::UInt64 => T::Float64,
            // Older graphs, for which DataFusion averaged these, contain a cast to DOUBLE.
            whole if whole.is_integer() => T::Int64,
            number if number.is_floating() => T::Float64,
            other => return plan_err!("function 'avg' does not take {other}"),
        }])
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types.first().and_then(finish_of) {
            Some(Finish::Average { scale, .. }) => Ok(DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale)),
            Some(Finish::Mean) => Ok(DataType::Float64),
            Some(Finish::Integer | Finish::Decimal { .. }) | None => self.plain.return_type(arg_types),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match finish_of(args.expr_fields[0].data_type()) {
            Some(_) => not_impl_err!("exact averages are accumulated by group only"),
            None => self.plain.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let values = args.input_fields[0].data_type();
        let held = finish_of(values).and_then(|_| totals::sum_type(values));
        let name = |part: &str| format_state_name(args.name, part);
        match held {
            Some(_) if args.is_distinct => {
                Ok(vec![Arc::new(Field::new(name("avg distinct"), distinct::state_type(values), true))])
            }
            Some(held) => Ok(vec![
                Arc::new(Field::new(name("sum"), held, true)),
                Arc::new(Field::new(name("count"), DataType::Int64, true)),
            ]),
            None => self.plain.state_fields(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        finish_of(args.expr_fields[0].data_type()).is_some() || self.plain.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let values = args.expr_fields[0].data_type();
        match finish_of(values) {
            Some(finish) if args.is_distinct => Ok(Box::new(DistinctTotals::new(values.clone(), finish))),
            Some(finish) => totals::accumulator(values, finish),
            None => self.plain.create_groups_accumulator(args),
        }
    }
}
