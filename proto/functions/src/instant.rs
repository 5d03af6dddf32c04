//! Makes times of different precisions comparable: seconds since the Unix epoch as `DECIMAL(38, 9)`.
//!
//! No timestamp type holds the values of both sides: nanoseconds reach from 1677 to 2262 only, and rounding a time for
//! the comparison would make different times equal. The planner inserts this function where times of different types
//! are compared. SQL cannot write its name.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{Array, ArrayRef, AsArray, Decimal128Array, PrimitiveArray},
    compute::cast,
    datatypes::{DataType, Date32Type, Decimal128Type, Int64Type, TimeUnit},
};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::{moment::Moment, names::sql_type};

/// The type of instants.
pub const INSTANT_TYPE: DataType = DataType::Decimal128(38, 9);
const NANOS_PER_DAY: i128 = 86_400_000_000_000;

/// The function that makes instants of times.
#[must_use]
pub fn instant() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::new_from_impl(Instant { signature: Signature::any(1, Volatility::Immutable) }))
    });
    FUNCTION.clone()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Instant {
    signature: Signature,
}

impl ScalarUDFImpl for Instant {
    fn name(&self) -> &'static str {
        "$instant"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Timestamp(..) | DataType::Date32 | DataType::Utf8 | DataType::Utf8View | DataType::Null] => {
                Ok(INSTANT_TYPE)
            }
            [other] => plan_err!("{} is not a time", sql_type(other)),
            _ => plan_err!("one time is expected"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(times)] => Ok(ColumnarValue::Array(instants(times)?)),
            [ColumnarValue::Scalar(time)] => {
                let made = instants(&time.to_array()?)?;
                Ok(ColumnarValue::Scalar(datafusion_common::ScalarValue::try_from_array(&made, 0)?))
            }
            _ => exec_err!("one time is expected"),
        }
    }
}

fn instants(times: &ArrayRef) -> Result<ArrayRef> {
    let made: PrimitiveArray<Decimal128Type> = match times.data_type() {
        DataType::Date32 => times.as_primitive::<Date32Type>().unary(|day| i128::from(day) * NANOS_PER_DAY),
        DataType::Timestamp(unit, _) => {
            let nanos = match unit {
                TimeUnit::Second => 1_000_000_000,
                TimeUnit::Millisecond => 1_000_000,
                TimeUnit::Microsecond => 1_000,
                TimeUnit::Nanosecond => 1,
            };
            let ticks = cast(times, &DataType::Int64)?;
            ticks.as_primitive::<Int64Type>().unary(|tick| i128::from(tick) * nanos)
        }
        _ => {
            let texts = cast(times, &DataType::Utf8View)?;
            let read = |text: &str| match Moment::read(text) {
                Some(moment) => Ok(moment.in_nanos()),
                None => exec_err!("STRING '{text}' cannot be compared with a time: it is not a timestamp"),
            };
            let read = |text: Option<&str>| text.map(read).transpose();
            texts.as_string_view().iter().map(read).collect::<Result<Decimal128Array>>()?
        }
    };
    Ok(Arc::new(made.with_data_type(INSTANT_TYPE)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, AsArray, Date32Array, StringViewArray, TimestampMillisecondArray, TimestampNanosecondArray,
    };
    use arrow::datatypes::Decimal128Type;

    use super::{INSTANT_TYPE, instants};

    #[test]
    fn times_of_every_precision_are_nanoseconds_since_the_unix_epoch() {
        let texts = ["1970-01-02", "1969-12-31 23:59:59.999999999", "9999-12-31"].map(Some);
        let given: [ArrayRef; 4] = [
            Arc::new(Date32Array::from(vec![Some(1), None])),
            Arc::new(TimestampMillisecondArray::from(vec![-1, i64::MAX])),
            Arc::new(TimestampNanosecondArray::from(vec![i64::MIN])),
            Arc::new(StringViewArray::from_iter(texts)),
        ];
        let wanted = [
            vec![Some(86_400_000_000_000), None],
            vec![Some(-1_000_000), Some(i128::from(i64::MAX) * 1_000_000)],
            vec![Some(i128::from(i64::MIN))],
            vec![Some(86_400_000_000_000), Some(-1), Some(253_402_214_400_000_000_000)],
        ];
        for (given, wanted) in given.iter().zip(wanted) {
            let made = instants(given).expect("times");
            assert_eq!(made.as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>(), wanted);
            assert_eq!(*made.data_type(), INSTANT_TYPE);
        }
        let wrong: ArrayRef = Arc::new(StringViewArray::from(vec!["nonsense"]));
        assert!(instants(&wrong).expect_err("no time").to_string().contains("'nonsense'"));
    }
}
