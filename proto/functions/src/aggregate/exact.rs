//! `SUM` and `AVG`, exact or an error; of what is not in the table as DataFusion's.
//!
//! | of | `SUM` | `AVG`, which is rounded once |
//! |---|---|---|
//! | integers | `BIGINT` | `DOUBLE` |
//! | `DECIMAL(p, s)` | `DECIMAL(38, s)` | `DECIMAL(38, max(6, s))` |

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef};
use datafusion_common::{Result, not_impl_err, plan_err};
use datafusion_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
    expr::AggregateFunctionParams,
    function::{AccumulatorArgs, StateFieldsArgs},
    utils::format_state_name,
};
use datafusion_functions_aggregate::{average::avg_udaf, sum::sum_udaf};

use super::{
    distinct::{self, DistinctTotals},
    totals::{self, Finish},
};

/// The least scale of an average.
const AVERAGE_SCALE_MIN: i8 = 6;

/// `SUM` or `AVG`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Exact {
    signature: Signature,
    plain: Arc<AggregateUDF>,
    is_average: bool,
}

/// `SUM`
#[must_use]
pub fn sum() -> Exact {
    Exact { signature: Signature::user_defined(Volatility::Immutable), plain: sum_udaf(), is_average: false }
}

/// `AVG`
#[must_use]
pub fn average() -> Exact {
    Exact { signature: Signature::user_defined(Volatility::Immutable), plain: avg_udaf(), is_average: true }
}

impl Exact {
    /// What becomes of the sum of values of a type; `None` where it is DataFusion's.
    fn finish(&self, values: &DataType) -> Option<Finish> {
        match (values, self.is_average) {
            (DataType::Int64, false) => Some(Finish::Integer),
            (DataType::Int64, true) => Some(Finish::Mean),
            (DataType::Decimal128(_, scale), false) => Some(Finish::Decimal { scale: *scale }),
            (DataType::Decimal128(_, from), true) => {
                Some(Finish::Average { from: *from, scale: AVERAGE_SCALE_MIN.max(*from) })
            }
            _ => None,
        }
    }
}

impl AggregateUDFImpl for Exact {
    fn name(&self) -> &str {
        if self.is_average { "exact_avg" } else { "exact_sum" }
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
        let name = self.plain.name();
        let [argument] = arg_types else {
            return plan_err!("function '{name}' takes one argument, not {}", arg_types.len());
        };
        Ok(vec![match (argument, self.is_average) {
            (T::Decimal128(_, _) | T::Duration(_), _) | (T::Interval(_), false) => argument.clone(),
            (T::Null | T::UInt64, true) => T::Float64,
            (T::Null, false) => T::Int64,
            // Graphs that were planned when averages of these were DataFusion's name a cast to DOUBLE.
            (whole, _) if whole.is_integer() => T::Int64,
            (number, _) if number.is_floating() => T::Float64,
            (other, _) => return plan_err!("function '{name}' does not take {other}"),
        }])
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types.first().and_then(|values| self.finish(values)) {
            Some(Finish::Decimal { scale } | Finish::Average { scale, .. }) => {
                Ok(DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale))
            }
            Some(Finish::Integer) => Ok(DataType::Int64),
            Some(Finish::Mean) => Ok(DataType::Float64),
            None => self.plain.return_type(arg_types),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match self.finish(args.expr_fields[0].data_type()) {
            Some(_) => not_impl_err!("an exact '{}' is accumulated by group only", self.plain.name()),
            None => self.plain.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let values = args.input_fields[0].data_type();
        let field = |part: &str, of: DataType| Arc::new(Field::new(format_state_name(args.name, part), of, true));
        match self.finish(values).zip(totals::sum_type(values)) {
            Some(_) if args.is_distinct => {
                Ok(vec![field(&format!("{} distinct", self.plain.name()), distinct::state_type(values))])
            }
            Some((finish, held)) if finish.divides() => Ok(vec![field("sum", held), field("count", DataType::Int64)]),
            Some((_, held)) => Ok(vec![field("sum", held)]),
            None => self.plain.state_fields(args),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.finish(args.expr_fields[0].data_type()).is_some() || self.plain.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let values = args.expr_fields[0].data_type();
        match self.finish(values) {
            Some(finish) if args.is_distinct => Ok(Box::new(DistinctTotals::new(values.clone(), finish))),
            Some(finish) => totals::accumulator(values, finish),
            None => self.plain.create_groups_accumulator(args),
        }
    }
}
