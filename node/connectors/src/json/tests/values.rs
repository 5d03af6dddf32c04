//! Single values of each type.

use arrow::array::{Array as _, AsArray as _};

use super::*;

fn one(data_type: DataType) -> SchemaRef {
    schema(&[("v", data_type, true)])
}

/// Checks that `text` decodes to `expected`.
fn check(data_type: DataType, text: &str, expected: &str) {
    let line = decode_good(&one(data_type), &format!(r#"{{"v":{text}}}"#));
    assert_eq!(line, format!(r#"{{"v":{expected}}}"#), "from {text}");
}

fn check_refused(data_type: DataType, text: &str, expected: &str) {
    assert_eq!(reason(&one(data_type), &format!(r#"{{"v":{text}}}"#)), expected, "from {text}");
}

#[test]
fn a_fault_shows_the_value_up_to_its_end_or_its_beginning() {
    let columns = one(DataType::Int64);
    let reason_of = |line: &str| reason(&columns, line);
    assert_eq!(reason_of(r#"{"v":"x","ts":"2026-01-01"}"#), "v: expected BIGINT, found \"x\"");
    assert_eq!(reason_of(r#"{"v":"a, b} c" ,"w":1}"#), "v: expected BIGINT, found \"a, b} c\"");
    assert_eq!(reason_of(r#"{"v":{"a":[1]},"w":1}"#), "v: expected BIGINT, found {\"a\":[1]}");
    assert_eq!(reason_of(r#"{"v":12x,"w":1}"#), "expected ',' or '}', found x");
    assert_eq!(reason_of(r#"{"v":nope,"w":1}"#), "v: expected a value, found nope");
    let long = format!(r#"{{"v":"{}","w":1}}"#, "\u{fc}".repeat(100));
    assert_eq!(reason_of(&long), format!("v: expected BIGINT, found \"{}..", "\u{fc}".repeat(31)));
}

#[test]
fn integers_are_exact_or_refused() {
    for text in ["0", "-0", "7", "-9223372036854775808", "9223372036854775807", "123456789012345678"] {
        check(DataType::Int64, text, if text == "-0" { "0" } else { text });
    }
    check(DataType::Int64, "1e3", "1000");
    check(DataType::Int64, "12.0", "12");
    check(DataType::Int64, "1200e-2", "12");
    check(DataType::UInt64, "18446744073709551615", "18446744073709551615");
    check_refused(DataType::Int64, "9223372036854775808", "v: expected BIGINT, found 9223372036854775808");
    check_refused(DataType::Int64, "1.5", "v: expected BIGINT, found 1.5");
    check_refused(DataType::Int8, "128", "v: expected TINYINT, found 128");
    check_refused(DataType::Int64, "\"one\"", "v: expected BIGINT, found \"one\"");
    check_refused(DataType::Int64, "01", "v: expected BIGINT, found 01");
    check_refused(DataType::Int64, "-", "v: expected BIGINT, found -");
    check_refused(DataType::Int64, "1e999999999999", "v: expected BIGINT, found 1e999999999999");
    check_refused(DataType::Int64, "true", "v: expected BIGINT, found true");
}

#[test]
fn floats_are_exact() {
    for text in ["0.1", "-1.5", "1e300", "5e-324", "1.7976931348623157e308", "123456789.123"] {
        let line = decode_good(&one(DataType::Float64), &format!(r#"{{"v":{text}}}"#));
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["v"].as_f64(), text.parse().ok(), "from {text}");
    }
    check(DataType::Float64, "\"NaN\"", "\"NaN\"");
    check(DataType::Float64, "\"-Infinity\"", "\"-Infinity\"");
    check(DataType::Float32, "0.1", "0.1");
    check(DataType::Float32, "\"Infinity\"", "\"Infinity\"");
    check(DataType::Float32, "\"-Infinity\"", "\"-Infinity\"");
    check(DataType::Float32, "\"NaN\"", "\"NaN\"");
    check_refused(DataType::Float64, "1e999", "v: expected DOUBLE, found 1e999");
    check_refused(DataType::Float32, "1e39", "v: expected FLOAT, found 1e39");
    check_refused(DataType::Float64, "1.", "v: expected a value, found 1.");
}

#[test]
fn decimals_keep_their_digits() {
    let decimal = || DataType::Decimal128(10, 2);
    check(decimal(), "1.23", "1.23");
    check(decimal(), "\"1.23\"", "1.23");
    check(decimal(), "-0.005", "-0.01");
    check(decimal(), "0.0049999", "0.00");
    check(decimal(), "12345678.9", "12345678.90");
    check(decimal(), "1e2", "100.00");
    check(decimal(), "1234e-4", "0.12");
    check(decimal(), "0e999999", "0.00");
    check(decimal(), "9e-99999", "0.00");
    check_refused(decimal(), "123456789.00", "v: expected DECIMAL(10, 2), found 123456789.00");
    check_refused(decimal(), "1e30", "v: expected DECIMAL(10, 2), found 1e30");
    let widest = "99999999999999999999999999999999999999";
    check(DataType::Decimal128(38, 0), widest, widest);
    check_refused(decimal(), "\"abc\"", "v: expected DECIMAL(10, 2), found \"abc\"");
}

#[test]
fn timestamps_in_both_forms() {
    let expected = "\"2026-01-01 00:00:00.123\"";
    for text in [
        "2026-01-01 00:00:00.123",
        "2026-01-01T00:00:00.123",
        "2026-01-01T00:00:00.123Z",
        "2026-01-01T02:00:00.123+02:00",
        "2025-12-31T19:00:00.123-0500",
        "2026-01-01T00:00:00.1239999",
    ] {
        check(millis(), &format!("\"{text}\""), expected);
    }
    check(millis(), "\"2026-01-01 10:20\"", "\"2026-01-01 10:20:00.000\"");
    check(millis(), "\"2026-02-28\"", "\"2026-02-28 00:00:00.000\"");
    check(millis(), "\"1969-12-31 23:59:59.999\"", "\"1969-12-31 23:59:59.999\"");
    check(millis(), "\"2000-02-29 00:00:00\"", "\"2000-02-29 00:00:00.000\"");
    check(millis(), r#""2026-01-01\u002000:00:00.5""#, "\"2026-01-01 00:00:00.500\"");
    let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
    check(nanos, "\"2026-01-01 00:00:00.123456789\"", "\"2026-01-01 00:00:00.123456789\"");
    for text in [
        "2026-13-01 00:00:00",
        "2026-02-29 00:00:00",
        "1900-02-29 00:00:00",
        "2026-01-01 24:00:00",
        "2026-01-01 00:60:00",
        "2026-01-01 00:00:60",
        "2026-01-01 00:00:00.",
        "2026-01-01 00:00:00 ",
        "2026-01-01 00:00:00+2",
        "now",
        "",
    ] {
        check_refused(millis(), &format!("\"{text}\""), &format!("v: expected TIMESTAMP(3), found \"{text}\""));
    }
    check_refused(millis(), "1767225600000", "v: expected TIMESTAMP(3), found 1767225600000");
}

#[test]
fn consecutive_timestamps_of_one_minute_and_of_others() {
    let lines = [
        "2026-01-01 00:00:01.000",
        "2026-01-01 00:00:59.999",
        "2026-01-01 00:01:00.000",
        "2025-12-31 23:59:59.000",
        "2026-01-01 00:00:01.000",
    ];
    let text: String = lines.iter().map(|time| format!("{{\"v\":\"{time}\"}}\n")).collect();
    let (rows, faults) = decode(&one(millis()), &text);
    assert_eq!(faults, []);
    assert_eq!(rows.concat(), lines.map(|time| format!("{{\"v\":\"{time}\"}}")).concat());
}

#[test]
fn extreme_timestamps_survive_both_ways() {
    let schema = one(DataType::Timestamp(TimeUnit::Nanosecond, None));
    for text in ["1677-09-21 00:12:43.145224192", "2262-04-11 23:47:16.854775807"] {
        assert_eq!(decode_good(&schema, &format!(r#"{{"v":"{text}"}}"#)), format!(r#"{{"v":"{text}"}}"#));
    }
    check_refused(
        DataType::Timestamp(TimeUnit::Nanosecond, None),
        "\"2262-04-12\"",
        "v: '2262-04-12' is out of range of TIMESTAMP(9)",
    );
    check(millis(), "\"-0001-03-04 05:06:07.008\"", "\"-0001-03-04 05:06:07.008\"");
    check(millis(), "\"+10000-01-01 00:00:00.000\"", "\"+10000-01-01 00:00:00.000\"");
}

#[test]
fn dates_times_booleans_and_bytes() {
    check(DataType::Date32, "\"2026-01-01\"", "\"2026-01-01\"");
    check(DataType::Time32(TimeUnit::Second), "\"12:34:56\"", "\"12:34:56\"");
    check(DataType::Time32(TimeUnit::Millisecond), "\"12:34:56.789\"", "\"12:34:56.789\"");
    check(DataType::Time64(TimeUnit::Microsecond), "\"12:34\"", "\"12:34:00.000000\"");
    check(DataType::Boolean, "true", "true");
    check(DataType::Boolean, "false", "false");
    check(DataType::Binary, "\"AAEC/w==\"", "\"AAEC/w==\"");
    check(DataType::BinaryView, "\"AAE=\"", "\"AAE=\"");
    check_refused(DataType::Boolean, "1", "v: expected BOOLEAN, found 1");
    check_refused(DataType::Boolean, "tru", "v: expected a value, found tru");
    check_refused(DataType::Binary, "\"A\"", "v: expected BYTES in base-64, found \"A\"");
    check_refused(DataType::Date32, "\"2026-1-1\"", "v: expected DATE, found \"2026-1-1\"");
}

#[test]
fn strings_with_escapes_and_of_other_encodings() {
    check(DataType::Utf8View, r#""a\n\t\"\\\/\b\f\r""#, r#""a\n\t\"\\/\b\f\r""#);
    check(DataType::Utf8View, r#""\u00e4\u20ac\ud83d\ude00\u0001""#, "\"ä€😀\\u0001\"");
    check(DataType::Utf8, "\"ä\"", "\"ä\"");
    check(DataType::LargeUtf8, "\"\"", "\"\"");
    check_refused(DataType::Utf8View, r#""\ud83d""#, "v: a string holds an invalid escape");
    check_refused(DataType::Utf8View, r#""\udc00\ud83d""#, "v: a string holds an invalid escape");
    check_refused(DataType::Utf8View, r#""\x""#, "v: a string holds an invalid escape");
    check_refused(DataType::Utf8View, r#""\u12g4""#, "v: a string holds an invalid escape");
    check_refused(DataType::Utf8View, "\"a\tb\"", "v: a string holds a control character");
    check_refused(DataType::Utf8View, "yes", "v: expected STRING, found yes");
    check_refused(DataType::Utf8View, "[1 2]", "v: expected STRING, found [1 2]");
    check_refused(DataType::Utf8View, "\"abc", "v: a string does not end before the end of the line");
    check_refused(DataType::Utf8View, "\"abc\\", "v: a string does not end before the end of the line");
}

#[test]
fn arrays_maps_and_rows() {
    check(list(DataType::Int64), "[1, null ,3]", "[1,null,3]");
    check(list(DataType::Int64), "[]", "[]");
    check(list(list(DataType::Utf8View)), r#"[["a"],[],null]"#, r#"[["a"],[],null]"#);
    check(map(DataType::Int64), r#"{"b":1,"a":null}"#, r#"{"b":1,"a":null}"#);
    check(map(DataType::Int64), r#"{"b":1,"\u0062":2}"#, r#"{"b":2}"#);
    check(row(&[("x", DataType::Int64, true)]), r#"{"y":[{}],"x":1}"#, r#"{"x":1}"#);
    check(row(&[("x", DataType::Int64, true)]), "{}", r#"{"x":null}"#);
    check_refused(list(DataType::Int64), "[1,true]", "v[2]: expected BIGINT, found true");
    check_refused(row(&[("x", DataType::Int64, true)]), r#"{"x":""}"#, "v.x: expected BIGINT, found \"\"");
    check_refused(row(&[("x", DataType::Int64, false)]), "{}", "v.x: is NOT NULL and missing");
    check_refused(row(&[]), "[]", "v: expected ROW, found []");
    check_refused(list(DataType::Int64), "[1", "v: expected ',' or ']', found }");
}

#[test]
fn null_missing_and_not_null() {
    let columns = schema(&[("a", DataType::Int64, false), ("b", DataType::Utf8View, true)]);
    assert_eq!(decode_good(&columns, r#"{"a":1}"#), r#"{"a":1,"b":null}"#);
    assert_eq!(decode_good(&columns, r#"{"b":null,"a":1}"#), r#"{"a":1,"b":null}"#);
    assert_eq!(reason(&columns, r#"{"b":"x"}"#), "a: is NOT NULL and missing");
    assert_eq!(reason(&columns, r#"{"a":null}"#), "a: is NOT NULL, found null");
    assert_eq!(reason(&columns, r#"{"A":1}"#), "a: is NOT NULL and missing");
}

#[test]
fn a_row_below_null_is_null_all_the_way() {
    let columns = schema(&[("o", row(&[("x", DataType::Int64, true), ("y", DataType::Int64, false)]), true)]);
    let mut decoder = JsonDecoder::new(columns).expect("a readable schema");
    let text = b"{\"o\":{\"x\":1,\"y\":2}}\n{\"o\":null}\n{}\n{\"o\":{\"y\":3}}\n";
    assert_eq!(decoder.decode(text, 0, 100, &mut Vec::new()), text.len());
    let batch = decoder.finish().expect("a batch");
    let o = batch.column(0).as_struct();
    assert_eq!((0..4).map(|row| o.is_null(row)).collect::<Vec<_>>(), [false, true, true, false]);
    let x = o.column(0);
    assert_eq!((0..4).map(|row| x.is_null(row)).collect::<Vec<_>>(), [false, true, true, true]);
}

#[test]
fn the_last_of_duplicate_keys_wins() {
    let columns = schema(&[("a", DataType::Int64, true), ("o", row(&[("x", DataType::Int64, true)]), true)]);
    assert_eq!(decode_good(&columns, r#"{"a":1,"a":2}"#), r#"{"a":2,"o":null}"#);
    assert_eq!(decode_good(&columns, r#"{"a":1,"o":{"x":1,"x":2},"a":null}"#), r#"{"a":null,"o":{"x":2}}"#);
    assert_eq!(decode_good(&columns, r#"{"a":"bad","a":3}"#), r#"{"a":3,"o":null}"#);
    assert_eq!(reason(&columns, r#"{"a":1,"a":true}"#), "a: expected BIGINT, found true");
    let (rows, faults) = decode(&columns, "{\"a\":1}\n{\"a\":2,\"a\":3}\n{\"a\":4}\n");
    assert_eq!(faults, []);
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[1], r#"{"a":3,"o":null}"#);
}

#[test]
fn what_is_quoted_or_not_is_taken_where_its_meaning_is_plain() {
    check(DataType::Int64, "\"12\"", "12");
    check(DataType::Int8, "\" -12 \"", "-12");
    check(DataType::Int32, "\"+012\"", "12");
    check(DataType::UInt64, "\"18446744073709551615\"", "18446744073709551615");
    check(DataType::Float64, "\" 1.5 \"", "1.5");
    check(DataType::Float32, "\"-2e3\"", "-2000.0");
    check(DataType::Decimal128(5, 2), "\" 1.50 \"", "1.50");
    check(DataType::Boolean, "\" True \"", "true");
    for (text, data_type) in [
        ("\"\"", DataType::Int64),
        ("\"1.5\"", DataType::Int64),
        ("\"x\"", DataType::Int64),
        ("\"200\"", DataType::Int8),
        ("\"12x\"", DataType::Float64),
        ("\"1 2\"", DataType::Decimal128(5, 2)),
        ("\"yes\"", DataType::Boolean),
        ("true", DataType::Int64),
        ("1.5", DataType::Int32),
    ] {
        let expected = format!("v: expected {}, found {text}", sql_name(&data_type));
        check_refused(data_type, text, &expected);
    }
    check(DataType::Utf8View, "12", "\"12\"");
    check(DataType::Utf8View, "-1.50e3", "\"-1.50e3\"");
    check(DataType::Utf8View, "true", "\"true\"");
    check(DataType::Utf8View, r#"{ "a b" : [1 , "x\"y "] }"#, r#""{\"a b\":[1,\"x\\\"y \"]}""#);
}

#[test]
fn bad_lines_are_left_out_and_told_of() {
    let columns = schema(&[("a", DataType::Int64, false), ("s", list(DataType::Utf8View), true)]);
    let text = "{\"a\":1,\"s\":[\"x\"]}\n{\"a\":1,\"s\":[\"y\",yes]}\nnonsense\n\n  \r\n{\"a\":2,\"s\":[\"z\"]} \r\n{\"a\":3} {}\n";
    let (rows, faults) = decode(&columns, text);
    assert_eq!(rows, [r#"{"a":1,"s":["x"]}"#, r#"{"a":2,"s":["z"]}"#]);
    let told: Vec<(&str, &str)> =
        faults.iter().map(|fault| (&text[fault.start..fault.end], fault.reason.as_str())).collect();
    assert_eq!(
        told,
        [
            ("{\"a\":1,\"s\":[\"y\",yes]}", "s[2]: expected STRING, found yes"),
            ("nonsense", "expected '{', found nonsense"),
            ("{\"a\":3} {}", "expected the end of the line, found {}"),
        ]
    );
}

#[test]
fn skipped_values_must_be_closed() {
    let columns = schema(&[("a", DataType::Int64, true)]);
    assert_eq!(decode_good(&columns, r#"{"z":{"q":["}",{"\"":"]"}]},"a":1,"y":"\\"}"#), r#"{"a":1}"#);
    assert_eq!(
        reason(&columns, r#"{"z":{"q":[1}],"a":1}"#),
        "expected the bracket that closes the last open one, found }"
    );
    assert_eq!(reason(&columns, r#"{"z":{"q":1,"a":1"#), "a bracket is not closed before the end of the line");
    assert_eq!(reason(&columns, r#"{"z":nul,"a":1}"#), "expected a value, found nul");
    assert_eq!(reason(&columns, r#"{"a":1,}"#), "expected a string, found }");
    assert_eq!(reason(&columns, r#"{"a" 1}"#), "expected ':', found 1");
    let deep = format!("{{\"z\":{}{}}}", "[".repeat(200), "]".repeat(200));
    assert_eq!(reason(&columns, &deep), "nested deeper than 127 levels");
    let bombs = format!("{{\"a\":1,\"a\":2,\"z\":{}{}}}", "[".repeat(200), "]".repeat(200));
    assert!(reason(&columns, &bombs).starts_with("nested deeper"));
}

#[test]
fn rows_without_columns_are_counted() {
    let mut decoder = JsonDecoder::new(schema(&[])).expect("no columns");
    let mut faults = Vec::new();
    let text = b"{\"a\":1}\n{}\nx\n";
    assert_eq!(decoder.decode(text, 0, 100, &mut faults), text.len());
    assert_eq!(decoder.finish().expect("a batch").num_rows(), 2);
    assert_eq!(faults.len(), 1);
}

#[test]
fn decoding_stops_at_the_batch_size_and_goes_on_there() {
    let mut decoder = JsonDecoder::new(schema(&[("a", DataType::Int64, true)])).expect("a readable schema");
    let text = b"{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n";
    let end = decoder.decode(text, 0, 2, &mut Vec::new());
    assert_eq!(end, 16);
    assert_eq!(to_lines(&decoder.finish().expect("a batch")), [r#"{"a":1}"#, r#"{"a":2}"#]);
    assert_eq!(decoder.decode(text, end, 2, &mut Vec::new()), text.len());
    assert_eq!(to_lines(&decoder.finish().expect("a batch")), [r#"{"a":3}"#]);
}

#[test]
fn arrays_become_lines() {
    let lines = array_to_lines(b" [ {\"a\":1} ,\n{\"a\":\n[2]}]\n ").expect("an array");
    assert_eq!(String::from_utf8(lines).expect("text"), "{\"a\":1}\n{\"a\":\r[2]}\n");
    assert_eq!(array_to_lines(b"[]").expect("an array"), b"");
    assert_eq!(array_to_lines(b"[{},{\"a\":}").expect_err("not closed").0, 2);
    assert_eq!(array_to_lines(b"[{},x]").expect_err("no value").0, 2);
}
