//! Casts as Flink documents and tests them (CastRulesTest, CastFunctionITCase), and values that do not fit.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
        Int8Array, Int16Array, Int32Array, Int64Array, ListArray, StringArray, StringViewArray, StructArray,
        Time64NanosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
        TimestampSecondArray,
    },
    buffer::NullBuffer,
    datatypes::{DataType, Field, Int32Type, TimeUnit},
};
use proptest::prelude::*;

use super::{Detail, Failing, cast, check};

const MILLIS: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);
const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
const NANOS: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);
const SECONDS: DataType = DataType::Timestamp(TimeUnit::Second, None);
const TEXT: DataType = DataType::Utf8View;
const TIME: DataType = DataType::Time64(TimeUnit::Nanosecond);

fn array(values: impl Array + 'static) -> ArrayRef {
    Arc::new(values)
}

fn texts(values: &[&str]) -> ArrayRef {
    array(StringViewArray::from_iter_values(values))
}

/// The values as texts, `-` for NULL; or the text of the error.
fn shown(given: &ArrayRef, to: &DataType, detail: Detail, failing: Failing) -> Vec<String> {
    let made = match cast(given, to, detail, failing) {
        Ok(made) => made,
        Err(error) => return vec![format!("row {}: {error}", error.row)],
    };
    assert_eq!(made.data_type(), to);
    let texts = cast(&made, &TEXT, Detail::None, Failing::Error).expect("a text");
    let texts = texts.as_any().downcast_ref::<StringViewArray>().expect("texts").clone();
    texts.iter().map(|text| text.unwrap_or("-").to_owned()).collect()
}

fn strict(given: ArrayRef, to: &DataType) -> Vec<String> {
    shown(&given, to, Detail::None, Failing::Error)
}

fn tried(given: ArrayRef, to: &DataType) -> Vec<String> {
    shown(&given, to, Detail::None, Failing::Null)
}

fn decimals(values: Vec<i128>, precision: u8, scale: i8) -> ArrayRef {
    array(Decimal128Array::from(values).with_precision_and_scale(precision, scale).expect("a legal type"))
}

#[test]
fn timestamps_round_down_to_what_is_coarser() {
    let micros = || array(TimestampMicrosecondArray::from(vec![-1, -999_999, 999, -143_984_400_876_544]));
    assert_eq!(
        strict(micros(), &MILLIS),
        ["1969-12-31 23:59:59.999", "1969-12-31 23:59:59.000", "1970-01-01 00:00:00.000", "1965-06-09 12:19:59.123"]
    );
    assert_eq!(strict(micros(), &SECONDS)[..2], ["1969-12-31 23:59:59", "1969-12-31 23:59:59"]);
    assert_eq!(strict(micros(), &DataType::Date32)[..3], ["1969-12-31", "1969-12-31", "1970-01-01"]);
    assert_eq!(strict(micros(), &TIME)[..3], ["23:59:59.999999", "23:59:59.000001", "00:00:00.000999"]);
    let digits = |digits| shown(&micros(), &MICROS, Detail::Digits(digits), Failing::Error)[0].clone();
    assert_eq!(digits(4), "1969-12-31 23:59:59.999900");
    assert_eq!(digits(0), "1969-12-31 23:59:59.000000");
    let nanos = array(TimestampNanosecondArray::from(vec![-1, i64::MIN, i64::MAX]));
    assert_eq!(
        strict(nanos, &MILLIS),
        ["1969-12-31 23:59:59.999", "1677-09-21 00:12:43.145", "2262-04-11 23:47:16.854"]
    );
}

#[test]
fn what_nanoseconds_cannot_hold_is_an_error_of_its_row() {
    let millis = || array(TimestampMillisecondArray::from(vec![Some(0), None, Some(253_402_300_799_000)]));
    assert_eq!(
        strict(millis(), &NANOS),
        ["row 2: TIMESTAMP(3) '9999-12-31 23:59:59.000' cannot be cast to TIMESTAMP(9): it is out of range"]
    );
    assert_eq!(tried(millis(), &NANOS), ["1970-01-01 00:00:00.000000000", "-", "-"]);
    assert_eq!(strict(texts(&["9999-12-31"]), &MICROS), ["9999-12-31 00:00:00.000000"]);
    assert!(strict(texts(&["9999-12-31"]), &NANOS)[0].ends_with("it is out of range"));
    assert_eq!(
        strict(array(Date32Array::from(vec![-719_162, 2_932_896])), &MILLIS),
        ["0001-01-01 00:00:00.000", "9999-12-31 00:00:00.000"]
    );
    assert!(strict(array(Date32Array::from(vec![i32::MAX])), &MICROS)[0].ends_with("it is out of range"));
    let far = array(TimestampSecondArray::from(vec![i64::MIN]));
    assert!(strict(far, &DataType::Date32)[0].ends_with("it is out of range"));
}

#[test]
fn texts_are_written_as_flink_does() {
    assert_eq!(strict(array(BooleanArray::from(vec![true, false])), &TEXT), ["TRUE", "FALSE"]);
    assert_eq!(strict(array(TimestampMillisecondArray::from(vec![100])), &TEXT), ["1970-01-01 00:00:00.100"]);
    assert_eq!(strict(array(TimestampSecondArray::from(vec![0])), &TEXT), ["1970-01-01 00:00:00"]);
    assert_eq!(strict(array(Date32Array::from(vec![18_894])), &TEXT), ["2021-09-24"]);
    let times = vec![45_296_123_000_000, 0, 36_000_000_000_000];
    assert_eq!(strict(array(Time64NanosecondArray::from(times)), &TEXT), ["12:34:56.123", "00:00:00", "10:00:00"]);
    assert_eq!(strict(decimals(vec![9870, -5, 0], 5, 3), &TEXT), ["9.870", "-0.005", "0.000"]);
    assert_eq!(strict(decimals(vec![-12], 5, 0), &TEXT), ["-12"]);
    let doubles =
        vec![12345.678901, 1e7, 9_999_999.0, 0.001, 1e-4, f64::MAX, -0.0, 123.0, f64::NAN, f64::NEG_INFINITY, 100.0];
    assert_eq!(
        strict(array(Float64Array::from(doubles)), &TEXT),
        [
            "12345.678901",
            "1.0E7",
            "9999999.0",
            "0.001",
            "1.0E-4",
            "1.7976931348623157E308",
            "-0.0",
            "123.0",
            "NaN",
            "-Infinity",
            "100.0"
        ]
    );
    assert_eq!(strict(array(Float32Array::from(vec![-123.456, f32::MAX])), &TEXT), ["-123.456", "3.4028235E38"]);
    assert_eq!(strict(array(Int8Array::from(vec![-125])), &TEXT), ["-125"]);
    assert_eq!(strict(array(BinaryArray::from_vec(vec![b"Flink"])), &TEXT), ["Flink"]);
    assert_eq!(
        strict(array(BinaryArray::from_vec(vec![b"ok", b"\xff\xfe"])), &TEXT),
        ["row 1: BYTES 'fffe' cannot be cast to STRING: they are not UTF-8"]
    );
}

#[test]
fn nested_values_are_written_as_flink_does() {
    let list =
        ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(-123), None]), None, Some(vec![])]);
    assert_eq!(strict(array(list), &TEXT), ["[-123, NULL]", "-", "[]"]);
    let fields = vec![Field::new("a", DataType::Int32, true), Field::new("b", TEXT, true)];
    let row = StructArray::new(fields.into(), vec![array(Int32Array::from(vec![123])), texts(&["abc"])], None);
    assert_eq!(strict(array(row), &TEXT), ["(123, abc)"]);
}

#[test]
fn lengths_cut_and_fill() {
    let cut = |given: ArrayRef, detail| shown(&given, &TEXT, detail, Failing::Error);
    assert_eq!(cut(texts(&["Flink", "ab", "größer"]), Detail::VarChar(3)), ["Fli", "ab", "grö"]);
    assert_eq!(cut(texts(&["foo", "Apache Flink"]), Detail::Char(6)), ["foo   ", "Apache"]);
    assert_eq!(cut(array(BooleanArray::from(vec![true])), Detail::VarChar(3)), ["TRU"]);
    assert_eq!(cut(array(Int32Array::from(vec![-12_345_678])), Detail::VarChar(3)), ["-12"]);
    let bytes = |detail| shown(&texts(&["abc"]), &DataType::Binary, detail, Failing::Error);
    assert_eq!(bytes(Detail::VarBinary(2)), ["ab"]);
    assert_eq!(bytes(Detail::Binary(4)), ["abc\0"]);
    for detail in [Detail::Char(3), Detail::VarChar(1), Detail::Binary(2), Detail::VarBinary(4), Detail::Digits(7)] {
        assert_eq!(Detail::of(&Field::new("", TEXT, true).with_metadata(detail.metadata())), detail);
    }
}

#[test]
fn texts_are_read_as_flink_does() {
    let good = |text: &str, to: &DataType| strict(texts(&[text]), to)[0].clone();
    let bad = |text: &str, to: &DataType| {
        assert!(cast(&texts(&[text]), to, Detail::None, Failing::Error).is_err(), "{text} is no {to}");
        assert_eq!(tried(texts(&[text]), to), ["-"], "{text}");
    };
    assert_eq!(good(" 1.9 ", &DataType::Int32), "1");
    assert_eq!(good("+7", &DataType::Int8), "7");
    assert_eq!(good("-9223372036854775808", &DataType::Int64), "-9223372036854775808");
    for text in ["", "-", "1e3", "0x1", "1 2", "9223372036854775808", "1.x", "."] {
        bad(text, &DataType::Int64);
    }
    bad("-130", &DataType::Int8);
    for (text, value) in [("TRUE", "TRUE"), ("FalsE", "FALSE"), ("yes", "TRUE"), ("0", "FALSE"), (" t ", "TRUE")] {
        assert_eq!(good(text, &DataType::Boolean), value);
    }
    bad("Apache Flink", &DataType::Boolean);
    bad("", &DataType::Boolean);
    assert_eq!(good("-3276913443134", &DataType::Float64), "-3.276913443134E12");
    assert_eq!(good(" NaN", &DataType::Float64), "NaN");
    assert_eq!(good("-Infinity", &DataType::Float32), "-Infinity");
    for text in ["1e400", "inf", "nan", "1,5", "--1", "+-1"] {
        bad(text, &DataType::Float64);
    }
    let decimal = DataType::Decimal128(5, 3);
    for (text, value) in [
        ("1.2345", "1.235"),
        ("-1.2345", "-1.235"),
        ("12e-1", "1.200"),
        ("0.0004", "0.000"),
        ("1E1", "10.000"),
        ("0e99999999", "0.000"),
        ("99.9994", "99.999"),
    ] {
        assert_eq!(good(text, &decimal), value, "{text}");
    }
    for text in ["99.9995", "100", "1e9", "", "e1", "1e", "1.2.3"] {
        bad(text, &decimal);
    }
}

#[test]
fn texts_are_read_as_times() {
    let good = |text: &str, to: &DataType| strict(texts(&[text]), to)[0].clone();
    let bad = |text: &str, to: &DataType| assert_eq!(tried(texts(&[text]), to), ["-"], "{text} is no {to}");
    for (text, value) in [
        ("2026-01-01 00:00:00.123456789", "2026-01-01 00:00:00.123"),
        ("1969-12-31 23:59:59.9999", "1969-12-31 23:59:59.999"),
        ("2026-1-2 3:4:5", "2026-01-02 03:04:05.000"),
        (" 2026-01-01 ", "2026-01-01 00:00:00.000"),
        ("2026-01-01T10:00:00+02:00", "2026-01-01 08:00:00.000"),
        ("0001-01-01 00:00:00", "0001-01-01 00:00:00.000"),
        ("9999-12-31 23:59:59.999", "9999-12-31 23:59:59.999"),
    ] {
        assert_eq!(good(text, &MILLIS), value);
    }
    for text in [
        "123",
        "2026/01/01",
        "2026-13-01",
        "2026-02-29",
        "2026-01-01 24:00:00",
        "2026-01-01 23:59:60",
        "2026-01-01 10",
        "Flink",
        "",
    ] {
        bad(text, &MILLIS);
    }
    for (text, value) in [
        ("123", "0123-01-01"),
        ("2021-09-27 12:34:56.123", "2021-09-27"),
        ("2021-9-7", "2021-09-07"),
        ("2021-9", "2021-09-01"),
    ] {
        assert_eq!(good(text, &DataType::Date32), value);
    }
    for text in ["2021/09/27", "foo", "2021-09-31", "2021-09-27 nonsense"] {
        bad(text, &DataType::Date32);
    }
    for (text, value) in [("23", "23:00:00"), ("23:45", "23:45:00"), ("12:34:56.123456789", "12:34:56.123456789")] {
        assert_eq!(good(text, &TIME), value);
    }
    for text in ["2021-09-27", "24:00", "12:60", "12:34:60"] {
        bad(text, &TIME);
    }
}

#[test]
fn numbers_that_do_not_fit_are_errors_or_null() {
    let big = || array(Int64Array::from(vec![Some(5), None, Some(300)]));
    assert_eq!(strict(big(), &DataType::Int8), ["row 2: BIGINT '300' cannot be cast to TINYINT: it is out of range"]);
    assert_eq!(tried(big(), &DataType::Int8), ["5", "-", "-"]);
    assert_eq!(strict(array(Int16Array::from(vec![-32_768])), &DataType::Int8).len(), 1);
    let doubles = |values: Vec<f64>| array(Float64Array::from(values));
    assert_eq!(strict(doubles(vec![2.9, -2.9]), &DataType::Int32), ["2", "-2"]);
    assert_eq!(
        tried(doubles(vec![f64::NAN, 3e9, -3e9, 2_147_483_647.9]), &DataType::Int32),
        ["-", "-", "-", "2147483647"]
    );
    assert!(strict(doubles(vec![f64::NAN]), &DataType::Int32)[0].contains("'NaN'"));
    assert_eq!(tried(doubles(vec![1e39, f64::INFINITY, 0.1]), &DataType::Float32), ["-", "Infinity", "0.1"]);
    assert_eq!(strict(decimals(vec![9870, -9870], 4, 3), &DataType::Int8), ["9", "-9"]);
    assert_eq!(tried(decimals(vec![9_123_870], 10, 3), &DataType::Int8), ["-"]);
    let two = DataType::Decimal128(4, 2);
    assert_eq!(
        tried(decimals(vec![12_345, -12_345, 9_999_500, 9_999_499], 10, 3), &two),
        ["12.35", "-12.35", "-", "-"]
    );
    assert_eq!(tried(decimals(vec![99_994, 99_995], 5, 3), &two), ["99.99", "-"]);
    assert_eq!(tried(array(Int32Array::from(vec![42, 100, -99])), &two), ["42.00", "-", "-99.00"]);
    assert_eq!(
        tried(doubles(vec![12.345, -0.005, 1e-9, 100.0, f64::NAN, 1e300]), &two),
        ["12.35", "-0.01", "0.00", "-", "-", "-"]
    );
    assert_eq!(strict(array(BooleanArray::from(vec![true, false])), &two), ["1.00", "0.00"]);
    assert_eq!(strict(array(Int32Array::from(vec![0, -7])), &DataType::Boolean), ["FALSE", "TRUE"]);
    let long = decimals(vec![12_345_678_912_345_678_912_345_678_900], 30, 20);
    assert_eq!(strict(long, &DataType::Float64), ["1.2345678912345679E8"]);
    assert_eq!(strict(decimals(vec![9870], 4, 3), &DataType::Float32), ["9.87"]);
}

#[test]
fn what_is_in_lists_and_rows_is_cast() {
    let item = |data_type| DataType::List(Arc::new(Field::new_list_field(data_type, true)));
    let texts = |values: Vec<Option<Vec<Option<&str>>>>| {
        let mut lists = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
        for list in values {
            match list {
                Some(list) => lists.append_value(list),
                None => lists.append_null(),
            }
        }
        array(lists.finish())
    };
    let given = texts(vec![Some(vec![Some("1"), None]), None, Some(vec![]), Some(vec![Some("2"), Some("x")])]);
    assert_eq!(tried(given.clone(), &item(DataType::Int32)), ["[1, NULL]", "-", "[]", "[2, NULL]"]);
    assert_eq!(
        strict(given.clone(), &item(DataType::Int32)),
        ["row 3: STRING 'x' cannot be cast to INT: it is not an integer"]
    );
    // The row that does not fit is cut off.
    assert_eq!(strict(given.slice(0, 3), &item(DataType::Int32)), ["[1, NULL]", "-", "[]"]);
    let micros =
        ListArray::from_iter_primitive::<arrow::datatypes::TimestampMicrosecondType, _, _>(vec![Some(vec![Some(-1)])]);
    assert_eq!(strict(array(micros), &item(MILLIS)), ["[1969-12-31 23:59:59.999]"]);

    let row = |names: [&str; 2], types: [DataType; 2]| {
        let fields: Vec<Field> = names.iter().zip(types).map(|(name, kind)| Field::new(*name, kind, true)).collect();
        DataType::Struct(fields.into())
    };
    let from = row(["a", "b"], [DataType::Int64, DataType::Utf8]);
    let to = row(["x", "y"], [DataType::Int8, DataType::Float64]);
    let DataType::Struct(fields) = &from else { unreachable!() };
    let columns = vec![array(Int64Array::from(vec![1, 300])), array(StringArray::from(vec!["2.5", "x"]))];
    let rows = |nulls| array(StructArray::new(fields.clone(), columns.clone(), nulls));
    assert_eq!(tried(rows(None), &to), ["(1, 2.5)", "(NULL, NULL)"]);
    assert_eq!(strict(rows(Some(NullBuffer::from(vec![true, false]))), &to), ["(1, 2.5)", "-"]);
    assert_eq!(strict(rows(None), &to), ["row 1: BIGINT '300' cannot be cast to TINYINT: it is out of range"]);
    assert!(check(&from, &to).is_ok() && check(&from, &row(["x", "y"], [DataType::Int8, DataType::Date32])).is_ok());
    assert!(check(&from, &DataType::Int8).is_err());
}

#[test]
fn casts_that_flink_does_not_have_are_refused() {
    for (from, to) in [
        (MILLIS, DataType::Int64),
        (DataType::Int64, MILLIS),
        (DataType::Date32, DataType::Int32),
        (DataType::Date32, TIME),
        (TIME, DataType::Date32),
        (DataType::Boolean, MILLIS),
        (DataType::Float64, DataType::Boolean),
        (DataType::Decimal128(5, 2), DataType::Boolean),
        (DataType::Int32, DataType::Date32),
        (DataType::Binary, DataType::Int32),
    ] {
        assert!(check(&from, &to).is_err(), "{from} to {to}");
    }
}

proptest! {
    /// Rounding down is compared with division of wide integers.
    #[test]
    fn a_coarser_timestamp_is_the_floor(ticks in proptest::collection::vec(any::<i64>(), 1..20)) {
        let given = array(TimestampNanosecondArray::from(ticks.clone()));
        let made = cast(&given, &MICROS, Detail::None, Failing::Error).expect("it fits");
        let made = made.as_any().downcast_ref::<TimestampMicrosecondArray>().expect("microseconds").values().to_vec();
        for (made, tick) in made.into_iter().zip(ticks) {
            prop_assert!(i128::from(made) * 1000 <= i128::from(tick) && i128::from(tick) < (i128::from(made) + 1) * 1000);
        }
    }

    /// A text that was written is parsed as the same value.
    #[test]
    fn texts_of_values_are_read_back(value in any::<f64>(), number in any::<i64>(), tick in -62_135_596_800_000i64..253_402_300_800_000) {
        let there_and_back = |given: ArrayRef| {
            let text = cast(&given, &TEXT, Detail::None, Failing::Error).expect("a text");
            let back = cast(&text, given.data_type(), Detail::None, Failing::Error).expect("its value");
            (given.to_data(), back.to_data())
        };
        let (given, back) = there_and_back(array(Int64Array::from(vec![number])));
        prop_assert_eq!(given, back);
        let (given, back) = there_and_back(array(TimestampMillisecondArray::from(vec![tick])));
        prop_assert_eq!(given, back);
        if !value.is_nan() {
            let (given, back) = there_and_back(array(Float64Array::from(vec![value])));
            prop_assert_eq!(given, back);
        }
    }
}
