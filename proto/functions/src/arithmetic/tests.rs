use arrow::{
    array::{AsArray, Decimal128Array, Float64Array, Int8Array, Int32Array, Int64Array},
    datatypes::{Decimal128Type, Int64Type},
};
use proptest::prelude::*;

use super::*;

fn decimal(precision: u8, scale: i8) -> DataType {
    DataType::Decimal128(precision, scale)
}

fn column(array: impl Array + 'static) -> Operand {
    Operand { array: Arc::new(array), is_scalar: false }
}

fn decimals(values: &[Option<i128>], precision: u8, scale: i8) -> Operand {
    column(Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).expect("a decimal type"))
}

/// The results as texts, in the order of the rows; or the error.
fn check(operator: Arithmetic, left: &Operand, right: &Operand) -> Result<Vec<String>, String> {
    let calculated = calculate(operator, left, right).map_err(|error| error.strip_backtrace())?;
    let options = arrow::util::display::FormatOptions::default().with_null("NULL");
    let texts =
        arrow::util::display::ArrayFormatter::try_new(&calculated.array, &options).expect("numbers have a text");
    Ok((0..calculated.array.len()).map(|row| texts.value(row).to_string()).collect())
}

#[test]
fn types_are_flinks() {
    use Arithmetic::{Add, Divide, Multiply, Remainder, Subtract};
    use DataType::{Float32, Float64, Int8, Int16, Int32, Int64, Null};
    for (operator, left, right, expected) in [
        (Add, Int32, Int32, Int32),
        (Add, Int8, Int32, Int32),
        (Add, Int8, Int8, Int8),
        (Subtract, Int64, Int16, Int64),
        (Divide, Int32, Int32, Int32),
        (Remainder, Int64, Int32, Int32),
        (Multiply, Int64, Float32, Float32),
        (Multiply, Int32, Float64, Float64),
        (Add, decimal(3, 1), Float32, Float64),
        (Add, Null, decimal(3, 1), decimal(4, 1)),
        (Add, DataType::UInt64, Int32, Int64),
        (Add, decimal(10, 2), Int32, decimal(13, 2)),
        (Subtract, decimal(38, 18), decimal(38, 18), decimal(38, 17)),
        (Add, decimal(38, 0), decimal(38, 10), decimal(38, 6)),
        // From Flink's own test of LogicalTypeMerging.
        (Divide, decimal(32, 8), decimal(38, 8), decimal(38, 6)),
        (Divide, decimal(30, 20), decimal(30, 20), decimal(38, 8)),
        (Multiply, decimal(30, 10), decimal(30, 10), decimal(38, 6)),
        (Multiply, decimal(30, 20), decimal(30, 20), decimal(38, 17)),
        (Multiply, decimal(38, 2), decimal(38, 3), decimal(38, 5)),
        (Divide, decimal(2, 1), Int32, decimal(13, 12)),
        (Remainder, decimal(10, 2), Int32, decimal(10, 2)),
        (Remainder, decimal(10, 0), Int64, Int64),
        (Remainder, Int64, decimal(5, 0), decimal(5, 0)),
    ] {
        assert_eq!(result_type(operator, &left, &right), Some(expected), "{left} {} {right}", operator.symbol());
    }
    assert_eq!(result_type(Add, &DataType::Utf8, &Int32), None);
    assert_eq!(result_type(Add, &DataType::Boolean, &Null), None);
}

#[test]
fn integers_are_checked() {
    let ints = |values: &[i32]| column(Int32Array::from(values.to_vec()));
    let ok = |texts: &[&str]| Ok(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    let failed = |text: &str| Err(format!("Execution error: {text}"));
    assert_eq!(check(Arithmetic::Divide, &ints(&[7, -7]), &ints(&[2, 2])), ok(&["3", "-3"]));
    assert_eq!(check(Arithmetic::Remainder, &ints(&[7, -7]), &ints(&[2, 2])), ok(&["1", "-1"]));
    assert_eq!(
        check(Arithmetic::Add, &ints(&[1, i32::MAX]), &ints(&[1, 1])),
        failed("2147483647 + 1 = 2147483648 does not fit INT")
    );
    assert_eq!(
        check(Arithmetic::Divide, &ints(&[i32::MIN]), &ints(&[-1])),
        failed("-2147483648 / -1 = 2147483648 does not fit INT")
    );
    assert_eq!(check(Arithmetic::Remainder, &ints(&[1]), &ints(&[0])), failed("1 % 0 divides by zero"));
    let longs = column(Int64Array::from(vec![i64::MAX]));
    assert_eq!(
        check(Arithmetic::Multiply, &longs, &ints(&[2])),
        failed("9223372036854775807 * 2 = 18446744073709551614 does not fit BIGINT")
    );
    let tiny = column(Int8Array::from(vec![100i8]));
    assert_eq!(check(Arithmetic::Add, &tiny, &tiny), failed("100 + 100 = 200 does not fit TINYINT"));
    assert_eq!(check(Arithmetic::Remainder, &longs, &tiny), ok(&["7"]));
}

#[test]
fn rows_that_are_null_cannot_fail() {
    let zero = Int32Array::new(vec![0, 0].into(), Some(vec![false, false].into()));
    let ones = column(Int32Array::from(vec![Some(1), None]));
    assert_eq!(check(Arithmetic::Divide, &ones, &column(zero)), Ok(vec!["NULL".to_owned(), "NULL".to_owned()]));
    let nulls = decimals(&[None, None], 10, 2);
    assert_eq!(check(Arithmetic::Divide, &ones, &nulls), Ok(vec!["NULL".to_owned(), "NULL".to_owned()]));
}

#[test]
fn floats_follow_ieee_754() {
    let floats = column(Float64Array::from(vec![1.0, -1.0, 0.0]));
    let zero = column(Int32Array::from(vec![0, 0, 0]));
    assert_eq!(
        check(Arithmetic::Divide, &floats, &zero),
        Ok(vec!["inf".to_owned(), "-inf".to_owned(), "NaN".to_owned()])
    );
    assert_eq!(check(Arithmetic::Remainder, &floats, &zero), Ok(vec!["NaN".to_owned(); 3]));
}

#[test]
fn decimals_round_half_up_and_never_wrap() {
    let one = |value: i128, precision: u8, scale: i8| decimals(&[Some(value)], precision, scale);
    let ok = |text: &str| Ok(vec![text.to_owned()]);
    let three = column(Int32Array::from(vec![3]));
    assert_eq!(check(Arithmetic::Divide, &one(10, 2, 1), &three), ok("0.333333333333"));
    assert_eq!(check(Arithmetic::Divide, &one(-20, 2, 1), &three), ok("-0.666666666667"));
    assert_eq!(check(Arithmetic::Multiply, &one(15, 2, 1), &one(15, 2, 1)), ok("2.25"));
    assert_eq!(check(Arithmetic::Remainder, &one(-55, 3, 1), &three), ok("-2.5"));
    // 38 digits by 38: this takes 256 bits on the way.
    let large = 10i128.pow(20) + 5;
    let product = check(Arithmetic::Multiply, &one(large, 38, 18), &one(large, 38, 18));
    assert_eq!(product, ok("10000.000000"));
    let failed = |text: &str| Err(format!("Execution error: {text}"));
    let most = 10i128.pow(38) - 1;
    let nines = "9".repeat(38);
    assert_eq!(
        check(Arithmetic::Add, &one(most, 38, 0), &one(1, 1, 0)),
        failed(&format!("{nines} + 1 does not fit DECIMAL(38, 0)"))
    );
    assert_eq!(
        check(Arithmetic::Divide, &one(most, 38, 0), &one(0, 2, 1)),
        failed(&format!("{nines} / 0.0 divides by zero"))
    );
    assert_eq!(
        check(Arithmetic::Divide, &one(most, 38, 0), &one(1, 38, 38)),
        failed(&format!("{nines} / 0.{}1 does not fit DECIMAL(38, 6)", "0".repeat(37)))
    );
}

#[test]
fn a_chain_is_calculated_from_left_to_right() {
    let call = Calculation::new(Arithmetic::Subtract);
    let types = [decimal(3, 1), DataType::Int32, DataType::Float64];
    assert_eq!(call.return_type(&types).expect("numbers"), DataType::Float64);
    let args = vec![
        ColumnarValue::Array(Arc::new(Int64Array::from(vec![10, 20]))),
        ColumnarValue::Scalar(ScalarValue::Int32(Some(1))),
        ColumnarValue::Array(Arc::new(Int32Array::from(vec![2, 3]))),
    ];
    let fields = args.iter().map(|arg| Arc::new(Field::new("", arg.data_type(), true))).collect();
    let args = ScalarFunctionArgs {
        args,
        arg_fields: fields,
        number_rows: 2,
        return_field: Arc::new(Field::new("", DataType::Int64, true)),
        config_options: Arc::default(),
    };
    let value = call.invoke_with_args(args).expect("nothing overflows").into_array(2).expect("an array");
    assert_eq!(value.as_primitive::<Int64Type>().values(), &[7, 16]);
}

#[test]
fn the_smallest_value_has_no_negative() {
    let negate = |array: ArrayRef| {
        let args = ScalarFunctionArgs {
            arg_fields: vec![Arc::new(Field::new("", array.data_type().clone(), true))],
            return_field: Arc::new(Field::new("", array.data_type().clone(), true)),
            args: vec![ColumnarValue::Array(array)],
            number_rows: 2,
            config_options: Arc::default(),
        };
        Negation::new().invoke_with_args(args).map_err(|error| error.strip_backtrace())
    };
    let failed = negate(Arc::new(Int32Array::from(vec![1, i32::MIN]))).map(|_| ());
    assert_eq!(failed, Err("Execution error: -(-2147483648) = 2147483648 does not fit INT".to_owned()));
    let negated = negate(Arc::new(Int64Array::from(vec![5, -5]))).expect("both fit").into_array(2).expect("an array");
    assert_eq!(negated.as_primitive::<Int64Type>().values(), &[-5, 5]);
}

/// A number of few digits and a scale below them.
fn small_decimal() -> impl Strategy<Value = (i128, i8)> {
    (-999_999i128..=999_999, 0i8..=4)
}

proptest! {
    /// Compares with fractions of 128 bits, for operands whose exact results fit them.
    #[test]
    fn small_decimals_agree_with_fractions((a, s1) in small_decimal(), (b, s2) in small_decimal()) {
        let (left, right) = (decimals(&[Some(a)], 6, s1), decimals(&[Some(b)], 6, s2));
        for operator in OPERATORS {
            let result = calculate(operator, &left, &right);
            if b == 0 && matches!(operator, Arithmetic::Divide | Arithmetic::Remainder) {
                prop_assert!(result.is_err());
                continue;
            }
            let array = result.expect("few digits fit").array;
            let DataType::Decimal128(_, scale) = array.data_type() else { panic!("decimals give decimals") };
            let value = array.as_primitive::<Decimal128Type>().value(0);
            let power = |digits: i8| 10i128.pow(u32::try_from(digits).expect("a scale"));
            // Both sides times powers of ten, so that both are integers.
            let (x, y) = (a * power(s2), b * power(s1));
            match operator {
                Arithmetic::Add => prop_assert_eq!(value * power(s1 + s2 - scale), x + y),
                Arithmetic::Subtract => prop_assert_eq!(value * power(s1 + s2 - scale), x - y),
                Arithmetic::Multiply => prop_assert_eq!(value * power(s1 + s2 - scale), a * b),
                Arithmetic::Remainder => prop_assert_eq!(value * power(s1 + s2 - scale), x % y),
                Arithmetic::Divide => {
                    // |value / 10^scale - x / y| <= half of the last digit.
                    let error = 2 * (value * y - x * power(*scale)).abs();
                    prop_assert!(error <= y.abs(), "{} / {} gave {}", x, y, value);
                }
            }
        }
    }
}
