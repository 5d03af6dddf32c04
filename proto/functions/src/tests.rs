//! Every function, with values from Flink's documentation and tests: as constants, and as columns among other rows.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef},
    compute::{cast, concat},
    datatypes::{DataType, Field, TimeUnit},
    util::display::{ArrayFormatter, FormatOptions},
};
use datafusion_common::{Result, ScalarValue, config::ConfigOptions};
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF};

use crate::scalar;

mod nested;
mod numbers;
mod texts;
mod times;

fn function(name: &str) -> Arc<ScalarUDF> {
    let all = scalar();
    let found = all.iter().rev().find(|f| f.name() == name || f.aliases().iter().any(|alias| alias == name));
    found.unwrap_or_else(|| panic!("there is no {name}")).clone()
}

/// Calls a function as the planner and then a node do, with constants or with a column each.
fn call(name: &str, arguments: &[ScalarValue], as_columns: bool) -> Result<String> {
    let function = function(name);
    let found: Vec<DataType> = arguments.iter().map(ScalarValue::data_type).collect();
    let types = function.coerce_types(&found)?;
    let arrays = arguments.iter().zip(&types).map(|(value, wanted)| Ok(cast(&value.to_array()?, wanted)?));
    let arrays = arrays.collect::<Result<Vec<ArrayRef>>>()?;
    let scalars = arrays.iter().map(|array| ScalarValue::try_from_array(array, 0)).collect::<Result<Vec<_>>>()?;
    let fields: Vec<_> = types.iter().map(|kind| Arc::new(Field::new("a", kind.clone(), true))).collect();
    let known: Vec<Option<&ScalarValue>> = scalars.iter().map(|value| (!as_columns).then_some(value)).collect();
    let returned =
        function.return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &known })?;
    let value = |(array, scalar): (&ArrayRef, &ScalarValue)| -> Result<ColumnarValue> {
        if !as_columns {
            return Ok(ColumnarValue::Scalar(scalar.clone()));
        }
        let null = ScalarValue::try_from(array.data_type())?.to_array()?;
        Ok(ColumnarValue::Array(concat(&[&null, array, &null])?))
    };
    let values = arrays.iter().zip(&scalars).map(value).collect::<Result<Vec<_>>>()?;
    let answer = function.invoke_with_args(ScalarFunctionArgs {
        args: values,
        arg_fields: fields,
        number_rows: 3,
        return_field: returned.clone(),
        config_options: Arc::new(ConfigOptions::default()),
    })?;
    let constant = matches!(answer, ColumnarValue::Scalar(_));
    let answer = answer.into_array(if constant { 1 } else { 3 })?;
    assert_eq!(answer.data_type(), returned.data_type(), "{name}");
    let options = FormatOptions::new().with_null("NULL");
    Ok(ArrayFormatter::try_new(&answer, &options)?.value(answer.len() / 2).to_string())
}

#[track_caller]
fn check(name: &str, arguments: &[ScalarValue], expected: &str) {
    for as_columns in [false, true] {
        let found = call(name, arguments, as_columns).unwrap_or_else(|error| panic!("{name}{arguments:?}: {error}"));
        assert_eq!(found, expected, "{name}{arguments:?}, as columns: {as_columns}");
    }
}

#[track_caller]
fn refused(name: &str, arguments: &[ScalarValue], reason: &str) {
    let error = call(name, arguments, false).expect_err(name).to_string();
    assert!(error.contains(reason), "{name}: {error}");
}

fn t(text: &str) -> ScalarValue {
    ScalarValue::Utf8View(Some(text.to_owned()))
}

fn i(number: i32) -> ScalarValue {
    ScalarValue::Int32(Some(number))
}

fn big(number: i64) -> ScalarValue {
    ScalarValue::Int64(Some(number))
}

fn d(number: f64) -> ScalarValue {
    ScalarValue::Float64(Some(number))
}

fn decimal(value: i128, precision: u8, scale: i8) -> ScalarValue {
    ScalarValue::Decimal128(Some(value), precision, scale)
}

const NULL: ScalarValue = ScalarValue::Utf8View(None);
const NO_INT: ScalarValue = ScalarValue::Int32(None);

fn typed(text: &str, data_type: &DataType) -> ScalarValue {
    let array = cast(&t(text).to_array().unwrap(), data_type).unwrap();
    ScalarValue::try_from_array(&array, 0).unwrap()
}

fn ts(text: &str) -> ScalarValue {
    typed(text, &DataType::Timestamp(TimeUnit::Microsecond, None))
}

fn millis(text: &str) -> ScalarValue {
    typed(text, &DataType::Timestamp(TimeUnit::Millisecond, None))
}

fn day(text: &str) -> ScalarValue {
    typed(text, &DataType::Date32)
}

fn clock(text: &str) -> ScalarValue {
    typed(text, &DataType::Time64(TimeUnit::Nanosecond))
}

fn list(elements: &[ScalarValue], data_type: &DataType) -> ScalarValue {
    ScalarValue::List(ScalarValue::new_list_nullable(elements, data_type))
}

fn numbers(elements: &[Option<i32>]) -> ScalarValue {
    let elements: Vec<ScalarValue> = elements.iter().map(|element| ScalarValue::Int32(*element)).collect();
    list(&elements, &DataType::Int32)
}

fn words(elements: &[Option<&str>]) -> ScalarValue {
    let elements: Vec<ScalarValue> =
        elements.iter().map(|element| ScalarValue::Utf8View(element.map(str::to_owned))).collect();
    list(&elements, &DataType::Utf8View)
}
