//! `SUM`. Integers give a BIGINT and decimals a `DECIMAL(38, s)`, both exact or an error. DataFusion's function sums
//! all else.

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

/// `SUM`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ExactSum {
    signature: Signature,
    plain: Arc<AggregateUDF>,
}

impl ExactSum {
    /// Makes the function.
    #[must_use]
    pub fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
            plain: datafusion_functions_aggregate::sum::sum_udaf(),
        }
    }
}

impl Default for ExactSum {
    fn default() -> Self {
        Self::new()
    }
}

/// How the result follows from the sum of values of a type; `None` if DataFusion's function computes it.
fn finish_of(values: &DataType) -> Option<Finish> {
    match values {
        DataType::Int64 => Some(Finish::Integer),
        DataType::Decimal128(_, scale) => Some(Finish::Decimal { scale: *scale }),
        _ => None,
    }
}

impl AggregateUDFImpl for ExactSum {
    fn name(&self) -> &str {
        "exact_sum"
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
            return plan_err!("function 'sum' takes one argument, not {}", arg_types.len());
        };
        Ok(vec![match argument {
            T::Null => T::Int64,
            integer if integer.is_integer() => T::Int64,
            float if float.is_floating() => T::Float64,
            T::Decimal128(_, _) | T::Duration(_) | T::Interval(_) => argument.clone(),
            other => return plan_err!("function 'sum' does not take {other}"),
        }])
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [DataType::Decimal128(_, scale)] => Ok(DataType::Decimal128(DECIMAL128_MAX_PRECISION, *scale)),
            _ => self.plain.return_type(arg_types),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match finish_of(args.expr_fields[0].data_type()) {
            Some(_) => not_impl_err!("exact sums are accumulated by group only"),
            None => self.plain.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let values = args.input_fields[0].data_type();
        match totals::sum_type(values) {
            Some(_) if args.is_distinct => {
                let name = format_state_name(args.name, "sum distinct");
                Ok(vec![Arc::new(Field::new(name, distinct::state_type(values), true))])
            }
            Some(held) => Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sum"), held, true))]),
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
