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

fn function(name: &str) -> Arc<ScalarUDF> {
    let all = scalar();
    let found = all.iter().rev().find(|f| f.name() == name || f.aliases().iter().any(|alias| alias == name));
    found.unwrap_or_else(|| panic!("there is no {name}")).clone()
}

/// Calls a function as the planner and then a node do, with constants or with one column each.
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

#[test]
fn parts_of_texts() {
    let whole = || t("This is a test String.");
    check("substring", &[whole(), i(2)], "his is a test String.");
    check("substr", &[whole(), i(2), i(3)], "his");
    check("substr", &[whole(), i(2), i(100)], "his is a test String.");
    check("substr", &[whole(), i(100), i(10)], "");
    check("substr", &[whole(), i(2), i(-1)], "NULL");
    check("substr", &[t(""), i(1), i(-1)], "NULL");
    check("substr", &[whole(), i(-2)], "g.");
    check("substr", &[whole(), i(-2), i(1)], "g");
    check("substr", &[whole(), i(-2), i(0)], "");
    check("substr", &[whole(), i(0), i(3)], "Thi");
    check("substr", &[t("abc"), i(-4)], "");
    check("substr", &[t("1世3"), i(1), i(2)], "1世");
    check("substr", &[NULL, i(1)], "NULL");
    check("substr", &[whole(), NO_INT], "NULL");
    check("left", &[whole(), i(2)], "Th");
    check("left", &[whole(), i(-2)], "");
    check("left", &[whole(), i(100)], "This is a test String.");
    check("left", &[NULL, i(-2)], "NULL");
    check("right", &[whole(), i(2)], "g.");
    check("right", &[whole(), i(-2)], "");
    check("right", &[t("äöü"), i(2)], "öü");
    check("right", &[whole(), NO_INT], "NULL");
    check("trim", &[t("  example  ")], "example");
    check("btrim", &[t("abcddcba"), t("abc")], "dd");
    check("btrim", &[t("心情开开心心"), t("开心")], "情");
    check("ltrim", &[t("This is a test String."), t("This ")], "a test String.");
    check("rtrim", &[t("abcddcba"), t("abd")], "abcddc");
    check("ltrim", &[t("abc"), NULL], "NULL");
    check("split_index", &[t("AQIDBA=="), t("I"), i(0)], "AQ");
    check("split_index", &[t("AQIDBA=="), t("I"), i(2)], "NULL");
    check("split_index", &[t("AQIDBA=="), t("I"), i(-1)], "NULL");
    check("split_index", &[t("AQIDBA=="), i(73), i(0)], "AQ");
    check("split_index", &[t("AQIDBA=="), i(256), i(0)], "NULL");
    check("split_index", &[t("AQIDBA=="), i(0), i(0)], "NULL");
    check("split", &[t("a,,b,"), t(",")], "[a, , b, ]");
    check("split", &[t("abc"), t("")], "[a, b, c]");
    check("split", &[t("abc"), t("x")], "[abc]");
    check("split", &[NULL, t("x")], "NULL");
    check("elt", &[i(2), t("a"), t("b")], "b");
    check("elt", &[NO_INT, t("a"), t("b")], "NULL");
    refused("elt", &[i(4), t("a"), t("b"), t("c")], "index 4 is out of range");
}

#[test]
fn texts_put_together() {
    check("concat", &[t("AA"), t("BB"), t("CC")], "AABBCC");
    check("concat", &[t("xx"), NULL], "NULL");
    check("concat", &[t("a"), i(1)], "a1");
    check("concat_ws", &[t("~"), NULL, t("AA"), t("BB"), t(""), NULL, t("CC")], "AA~BB~~CC");
    check("concat_ws", &[NULL, t("AA")], "NULL");
    check("concat_ws", &[t("~~"), t("AA")], "AA");
    check("lpad", &[t("hi"), i(5), t("??")], "???hi");
    check("lpad", &[t("hi"), i(1), t("??")], "h");
    check("lpad", &[t("111"), i(-2), t("??")], "NULL");
    check("lpad", &[t("ab"), i(5), t("")], "NULL");
    check("lpad", &[t("äää"), i(13), t("12345")], "1234512345äää");
    check("lpad", &[t("hi"), i(0), t("?")], "");
    check("rpad", &[t("äää"), i(13), t("12345")], "äää1234512345");
    check("rpad", &[t("üö"), i(1), t("??")], "ü");
    check("rpad", &[t("a"), NO_INT, t("??")], "NULL");
    refused("lpad", &[t("a"), big(1 << 40), t("x")], "larger than");
    check("repeat", &[t("ab"), i(2)], "abab");
    check("repeat", &[t("ab"), i(-1)], "");
    check("repeat", &[t(""), i(i32::MAX)], "");
    refused("repeat", &[t("ab"), i(i32::MAX)], "larger than");
    check("overlay", &[t("xxxxxtest"), t("xxxx"), i(6)], "xxxxxxxxx");
    check("overlay", &[t("xxxxxtest"), t("xxxx"), i(6), i(2)], "xxxxxxxxxst");
    check("overlay", &[t("123456789"), t("It"), i(-1), i(4)], "123456789");
    check("overlay", &[t("123456789"), t("abc"), i(2), i(100)], "1abc");
    check("overlay", &[t("123456789"), t("abc"), i(2), i(-1)], "1abc");
    check("overlay", &[t("123456789"), t("abc"), i(100), i(-1)], "123456789");
    check("overlay", &[t("abcd"), t("X"), i(3), i(0)], "abXcd");
    check("replace", &[t("ababab"), t("abab"), t("z")], "zab");
    check("replace", &[t("abc"), t(""), t("-")], "-a-b-c-");
    check("replace", &[t("abc"), t("b"), NULL], "NULL");
    check("translate", &[t("www.apache.org"), t("abcde."), t("123")], "www1p13horg");
    check("translate", &[t("www.apache.org"), NULL, t("123")], "www.apache.org");
    check("translate", &[t("www.apache.org"), t("abc"), NULL], "www.phe.org");
    check("translate", &[t("www.apache.org"), t("..."), t("123")], "www1apache1org");
    check("translate", &[NULL, t("abc"), t("123")], "NULL");
    check("initcap", &[t("fLinK is A str_ing")], "Flink Is A Str_Ing");
    check("chr", &[i(97)], "a");
    check("chr", &[i(97 + 256)], "a");
    check("chr", &[i(-9)], "");
    check("chr", &[i(0)], "\0");
    check("chr", &[i(149)], "\u{95}");
    check("chr", &[NO_INT], "NULL");
    refused("substr", &[i(12345), i(1)], "SUBSTRING(text, start [, length])");
}

#[test]
fn places_in_texts() {
    check("position", &[t("xxxtest"), t("test")], "4");
    check("strpos", &[t("xxxtest"), t("testx")], "0");
    check("strpos", &[t("日本語"), t("語")], "3");
    check("locate", &[t("aa"), t("aaads"), i(2)], "2");
    check("locate", &[t("test"), t("xxxtest")], "4");
    check("locate", &[t("a"), t("aXa"), i(2)], "3");
    check("locate", &[t("a"), t("abc"), NO_INT], "NULL");
    check("instr", &[t("Corporate Floor"), t("or"), i(3), i(2)], "14");
    check("instr", &[t("Corporate Floor"), t("or"), i(-3), i(2)], "2");
    check("instr", &[t("Tech on the net"), t("e"), i(1), i(3)], "14");
    check("instr", &[t("Tech on the net"), t("e"), i(-3), i(2)], "2");
    check("instr", &[t("myteststring"), t("st")], "5");
    check("instr", &[NULL, t("e")], "NULL");
    check("startswith", &[t("abc"), t("ab")], "true");
    check("startswith", &[t("abc"), t("")], "true");
    check("ends_with", &[t("a%c"), t("%c")], "true");
    check("starts_with", &[t("a\\c"), t("a\\")], "true");
    check("endswith", &[NULL, t("")], "NULL");
    check("is_alpha", &[t("abc")], "true");
    check("is_alpha", &[t("a1")], "false");
    check("is_alpha", &[NULL], "false");
    check("is_digit", &[t("123")], "true");
    check("is_digit", &[t("11.4445")], "false");
    check("is_digit", &[NULL], "false");
    check("is_decimal", &[t("11.4445")], "true");
    check("is_decimal", &[t("-1e5")], "true");
    check("is_decimal", &[t("abc")], "false");
    check("is_decimal", &[t("")], "false");
    check("is_decimal", &[NULL], "false");
}

#[test]
fn other_forms_of_texts() {
    check("to_base64", &[t("hello world")], "aGVsbG8gd29ybGQ=");
    check("to_base64", &[t("")], "");
    check("from_base64", &[t("5L2g5aW9")], "你好");
    check("from_base64", &[t("*")], "NULL");
    check("hex", &[i(100)], "64");
    check("hex", &[i(-1)], "FFFFFFFFFFFFFFFF");
    check("hex", &[t("hello,world")], "68656C6C6F2C776F726C64");
    check("bin", &[i(12)], "1100");
    check("bin", &[i(-1)], &"1".repeat(64));
    check("unhex", &[t("466C696E6B")], "466c696e6b");
    check("unhex", &[t("xy")], "NULL");
    check("md5", &[t("")], "d41d8cd98f00b204e9800998ecf8427e");
    check("sha1", &[t("test")], "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3");
    check("sha224", &[t("test")], "90a3ed9e32b2aaf4c61c410eb925426119e1a9dc53d4286ade99a809");
    check("sha2", &[t("test"), i(256)], "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08");
    check("sha2", &[NULL, i(256)], "NULL");
    refused("sha2", &[t("test"), i(1)], "expected 224");
    check("encode", &[t("中"), t("UTF-16LE")], "2d4e");
    check("decode", &[ScalarValue::Binary(Some(vec![0x2d, 0x4e])), t("utf-16le")], "中");
    refused("encode", &[t("a"), t("EBCDIC")], "unknown character set");
    check("url_encode", &[t("https://flink.apache.org/ ä")], "https%3A%2F%2Fflink.apache.org%2F+%C3%A4");
    check("url_decode", &[t("a%20b+c")], "a b c");
    check("url_decode", &[t("%2")], "NULL");
    let url = || t("http://userinfo@flink.apache.org:80/path?query=1#Ref");
    for (part, expected) in [
        ("HOST", "flink.apache.org"),
        ("PATH", "/path"),
        ("QUERY", "query=1"),
        ("REF", "Ref"),
        ("PROTOCOL", "http"),
        ("FILE", "/path?query=1"),
        ("AUTHORITY", "userinfo@flink.apache.org:80"),
        ("USERINFO", "userinfo"),
        ("host", "NULL"),
    ] {
        check("parse_url", &[url(), t(part)], expected);
    }
    check("parse_url", &[url(), t("QUERY"), t("query")], "1");
    check("parse_url", &[t("http://user:pass@host/?#"), t("QUERY")], "");
    check("parse_url", &[t("invalid://user:pass@host/"), t("HOST")], "NULL");
    check("str_to_map", &[t("k1=v1,k2=v2")], "{k1: v1, k2: v2}");
    check("str_to_map", &[t("k1$$v1|k2$$ v2"), t("\\|"), t("\\$\\$")], "{k1: v1, k2:  v2}");
    check("str_to_map", &[t("a=1,b,a=2")], "{a: 2, b: NULL}");
    check("str_to_map", &[t("")], "{}");
}

#[test]
fn patterns() {
    check("regexp", &[t("100-200"), t(r"(\d+)")], "true");
    check("regexp", &[t("abc-def"), t(r"(\d+)")], "false");
    check("regexp", &[NULL, t("a")], "NULL");
    check("regexp_replace", &[t("foobar"), t("oo|ar"), t("abc")], "fabcbabc");
    check("regexp_replace", &[t("fooobar"), t("oo"), t("$1")], "f$1obar");
    check("regexp_replace", &[t("foobar"), t("^f*.*r$"), t("")], "");
    check("regexp_replace", &[t("axb"), t("x*"), t("-")], "-a--b-");
    check("regexp_replace", &[t("foobar"), t("oo"), NULL], "NULL");
    check("regexp_extract", &[t("foothebar"), t("foo(.*?)(bar)"), i(2)], "bar");
    check("regexp_extract", &[t("foothebar"), t("foo(.*?)(bar)")], "foothebar");
    check("regexp_extract", &[t("foothebar"), t("foo([\\d]+)"), i(1)], "NULL");
    check("regexp_extract", &[t("foothebar"), t("foo"), i(3)], "NULL");
    check("regexp_extract_all", &[t("100-200, 300-400"), t(r"(\d+)-(\d+)")], "[100, 300]");
    check("regexp_extract_all", &[t("abcdeabde"), t("ab((c)|(.?))de"), i(2)], "[c, NULL]");
    check("regexp_extract_all", &[t("abcdeabde"), t("abcdeabde")], "NULL");
    check("regexp_extract_all", &[t("abc"), t(""), i(0)], "[, , , ]");
    check("regexp_extract_all", &[t("100-200"), t("[a-z]"), i(0)], "[]");
    check("regexp_count", &[t("abc123xyz456"), t(r"\d")], "6");
    check("regexp_count", &[t("Helloworld! Hello everyone!"), t(r"\bHello\b")], "1");
    check("regexp_instr", &[t("Helloworld! Hello everyone!"), t(r"\bHello\b")], "13");
    check("regexp_instr", &[t("abc"), t("z")], "0");
    check("regexp_substr", &[t("abc123"), t("[0-9]+")], "123");
    check("regexp_substr", &[t("abc"), t("[0-9]+")], "NULL");
    refused("regexp", &[t("a"), t("a(?=b)")], "looking ahead");
    refused("regexp_count", &[t("a"), t("(")], "unclosed group");
    check("like", &[t(r"a\b"), t(r"a\_")], "true");
    check("like", &[t("a_b"), t("a&_b"), t("&")], "true");
    check("like", &[t("axb"), t("a&_b"), t("&")], "false");
    check("like", &[t("a\nb"), t("a%")], "true");
    check("like", &[t("%This is a test"), t("&%Th_s%"), t("&")], "true");
    refused("like", &[t("a"), t("a&b"), t("&")], "escapes only");
    refused("like", &[t("a"), t("a"), t("ab")], "expected one character");
    check("similar_to", &[t("abc"), t("a%")], "true");
    check("similar_to", &[t("xabcx"), t("a%")], "false");
    check("similar_to", &[t("abc"), t("a_c")], "true");
    check("similar_to", &[t("abc"), t("a.c")], "false");
    check("similar_to", &[t("This is a test String"), t("This (is)? a (test)+ Strin_*")], "true");
    check("similar_to", &[t("*_x"), t("&*&__*"), t("&")], "true");
    check("similar_to", &[t("a1"), t("[a-z][[:DIGIT:]]{1,2}")], "true");
    check("similar_to", &[t("ab"), t("[^b-z]|b")], "false");
    refused("similar_to", &[t("a"), t("[a")], "not closed");
    refused("similar_to", &[t("a"), t("a+?")], "follows another");
}

#[test]
fn numbers_and_their_types() {
    check("log", &[d(10.0)], "2.302585092994046");
    check("log", &[i(10), i(100)], "2.0");
    check("log", &[d(-1.0)], "NaN");
    check("log", &[i(1), i(100)], "inf");
    check("log", &[ScalarValue::Float64(None), i(1)], "NULL");
    check("ln", &[i(0)], "-inf");
    check("log2", &[i(10)], "3.3219280948873626");
    check("log10", &[i(1000)], "3.0");
    check("sqrt", &[i(25)], "5.0");
    check("sqrt", &[d(-1.0)], "NaN");
    check("asin", &[d(2.0)], "NaN");
    check("acos", &[d(2.0)], "NaN");
    check("power", &[i(2), i(3)], "8.0");
    check("power", &[d(-8.0), d(0.5)], "NaN");
    check("floor", &[i(43)], "43");
    check("floor", &[d(-4.5)], "-5.0");
    check("ceil", &[ScalarValue::Float32(Some(4.5))], "5.0");
    check("floor", &[decimal(-12311231, 10, 4)], "-1232");
    check("ceil", &[decimal(-12311231, 10, 4)], "-1231");
    check("ceiling", &[decimal(11, 3, 1)], "2");
    check("round", &[decimal(125315, 6, 3)], "125");
    check("round", &[decimal(-125315, 6, 3), i(2)], "-125.320");
    check("round", &[decimal(999, 3, 0), i(-1)], "1000");
    check("round", &[d(1.005), i(2)], "1.01");
    check("round", &[d(-2.5)], "-3.0");
    check("round", &[d(1.2345), i(3)], "1.235");
    check("round", &[d(1e300), i(2)], "1e300");
    check("round", &[d(f64::NAN), i(2)], "NaN");
    check("round", &[ScalarValue::Int8(Some(123)), i(-2)], "100");
    check("round", &[i(44), i(-1)], "40");
    check("round", &[i(44), NO_INT], "NULL");
    check("round", &[i(44), i(3)], "44");
    refused("round", &[ScalarValue::Int8(Some(127)), i(-1)], "");
    check("truncate", &[d(42.324), i(2)], "42.32");
    check("truncate", &[d(0.29), i(2)], "0.29");
    check("truncate", &[d(42.324)], "42.0");
    check("truncate", &[i(42), i(-1)], "40");
    check("truncate", &[i(42), i(-3)], "0");
    check("truncate", &[decimal(-1231, 10, 4), i(3)], "-0.1230");
    check("truncate", &[decimal(-1231, 10, 4)], "0");
    check("sign", &[big(-44)], "-1");
    check("sign", &[d(0.0)], "0.0");
    check("sign", &[decimal(-12311231, 10, 4)], "-1.0000");
    check("e", &[], "2.718281828459045");
}

#[test]
fn the_greatest_and_the_least() {
    check("greatest", &[i(1), big(3), i(2)], "3");
    check("greatest", &[i(1), NO_INT], "NULL");
    check("least", &[t("b"), t("a")], "a");
    check("least", &[d(f64::NAN), d(1.0)], "1.0");
    check("greatest", &[d(f64::NAN), d(1.0)], "NaN");
    check("greatest", &[decimal(15, 2, 1), d(1.25)], "1.5");
    refused("greatest", &[i(1), t("a")], "GREATEST(value, …)");
}

#[test]
fn texts_of_times() {
    let time = || ts("2026-03-09 04:05:06.789012");
    for (pattern, expected) in [
        ("yyyy-MM-dd HH:mm:ss", "2026-03-09 04:05:06"),
        ("yyyy-M-d H:m:s", "2026-3-9 4:5:6"),
        ("EEE, d MMM yyyy", "Mon, 9 Mar 2026"),
        ("EEEE MMMM", "Monday March"),
        ("yyyy-MM-dd'T'HH:mm:ss.SSS", "2026-03-09T04:05:06.789"),
        ("''yy''", "'26'"),
        ("'it''s' yy", "it's 26"),
        ("%Y %d", "%Y 9"),
        ("SSSSSSSSS S", "789012000 7"),
        ("hh a K k", "04 AM 4 4"),
        ("D DDD", "68 068"),
        ("Q QQ QQQ QQQQ", "1 01 Q1 1st quarter"),
        ("G u", "AD 2026"),
        ("[yyyy]", "2026"),
    ] {
        if pattern.contains("%Y") {
            refused("date_format", &[time(), t(pattern)], "Y is not supported");
        } else {
            check("date_format", &[time(), t(pattern)], expected);
        }
    }
    check("date_format", &[time(), t("'%Y' yy%")], "%Y 26%");
    check("date_format", &[day("2026-03-09"), t("yyyy/MM/dd HH")], "2026/03/09 00");
    check("date_format", &[ts("1969-12-31 23:59:59.999999"), t("yyyy-MM-dd HH:mm:ss.SSS")], "1969-12-31 23:59:59.999");
    check("date_format", &[t("2026-03-09 01:02:03"), t("HH")], "01");
    check("date_format", &[t("nonsense"), t("HH")], "NULL");
    check("date_format", &[time(), NULL], "NULL");
    let far = ScalarValue::TimestampMillisecond(Some(253_402_300_800_000), None);
    check("date_format", &[far, t("yyyy")], "+10000");
    for (pattern, reason) in [
        ("bb", "bb has no meaning"),
        ("ww", "depends on where one is"),
        ("HHH", "too many letters"),
        ("yyyy 'open", "a quote is not closed"),
        ("z", "zones"),
        ("}", "reserved"),
    ] {
        refused("date_format", &[time(), t(pattern)], reason);
        assert!(call("date_format", &[time(), t(pattern)], true).is_err(), "{pattern} of a column");
    }
    check("from_unixtime", &[i(44)], "1970-01-01 00:00:44");
    check("from_unixtime", &[i(-1)], "1969-12-31 23:59:59");
    check("from_unixtime", &[i(44), t("yyyy/MM/dd'T'HH")], "1970/01/01T00");
}

#[test]
fn times_of_texts() {
    check("to_timestamp", &[t("abc")], "NULL");
    check("to_timestamp", &[t("2017-09-15 00:00:00")], "2017-09-15T00:00:00");
    check("to_timestamp", &[t("2017-9-5 1:2:3.4567")], "2017-09-05T01:02:03.456");
    check("to_timestamp", &[t("2017-09-15")], "2017-09-15T00:00:00");
    check("to_timestamp", &[t("2017-13-15")], "NULL");
    check("to_timestamp", &[t("20170915000102"), t("yyyyMMddHHmmss")], "2017-09-15T00:01:02");
    check("to_timestamp", &[t("2017-09-15"), t("yyyy-MM-dd")], "2017-09-15T00:00:00");
    check("to_timestamp", &[t("15/09/2017 4:05 PM"), t("dd/MM/yyyy h:mm a")], "2017-09-15T16:05:00");
    check("to_timestamp", &[t("9 Mar 2026"), t("d MMM yyyy")], "2026-03-09T00:00:00");
    check("to_timestamp", &[t("2026-03-09T04:05:06.789Z"), t("yyyy-MM-dd'T'HH:mm:ss.SSSX")], "2026-03-09T04:05:06.789");
    check(
        "to_timestamp",
        &[t("1969-12-31 23:59:59.999999"), t("yyyy-MM-dd HH:mm:ss.SSSSSS")],
        "1969-12-31T23:59:59.999",
    );
    check("to_timestamp", &[t("12"), t("HH")], "1970-01-01T12:00:00");
    check("to_timestamp", &[t("2026-02-30"), t("yyyy-MM-dd")], "2026-02-28T00:00:00");
    check("to_timestamp", &[t("2026-03-09 x"), t("yyyy-MM-dd")], "NULL");
    check("to_timestamp", &[t("2026-03-09"), t("yyyy-MM-dd[ HH:mm]")], "2026-03-09T00:00:00");
    check("to_timestamp", &[t("2026-03-09 05:06"), t("yyyy-MM-dd[ HH:mm]")], "2026-03-09T05:06:00");
    check("to_timestamp", &[NULL], "NULL");
    refused("to_timestamp", &[t("a"), t("nonsense")], "pattern 'nonsense'");
    check("to_date", &[t("2017-09-15 00:00:00")], "2017-09-15");
    check("to_date", &[t("2017-9")], "2017-09-01");
    check("to_date", &[t("nonsense")], "NULL");
    check("to_date", &[t("2017-02-30")], "NULL");
    check("to_date", &[t("15.09.2017"), t("dd.MM.yyyy")], "2017-09-15");
    check("to_date", &[t("x"), t("dd.MM.yyyy")], "NULL");
    check("to_timestamp_ltz", &[i(100), i(0)], "1970-01-01T00:01:40Z");
    check("to_timestamp_ltz", &[i(-1), i(3)], "1969-12-31T23:59:59.999Z");
    check("to_timestamp_ltz", &[big(253_402_300_800), i(0)], "NULL");
    check("to_timestamp_ltz", &[big(i64::MAX), i(0)], "NULL");
    check("to_timestamp_ltz", &[t("2026-03-09 04:05:06")], "2026-03-09T04:05:06Z");
    check(
        "to_timestamp_ltz",
        &[t("2026-07-09 04:05:06"), t("yyyy-MM-dd HH:mm:ss"), t("Europe/Berlin")],
        "2026-07-09T02:05:06Z",
    );
    check("to_timestamp_ltz", &[t("nonsense")], "NULL");
    refused("to_timestamp_ltz", &[i(1), i(6)], "expected 0 for seconds");
    check("to_timestamp_millis", &[i(-1)], "1969-12-31T23:59:59.999");
    check("to_timestamp_seconds", &[big(253_402_300_799)], "9999-12-31T23:59:59");
    check("to_timestamp_micros", &[NO_INT], "NULL");
    refused("to_timestamp_seconds", &[big(i64::MAX)], "beyond what its type holds");
    check("unix_timestamp", &[t("1970-01-01 08:00:01")], "28801");
    check("unix_timestamp", &[t("1970-01-01 08:00:01.001"), t("yyyy-MM-dd HH:mm:ss.SSS")], "28801");
    check("unix_timestamp", &[t("1970-01-01 08:00:01.001 +0800"), t("yyyy-MM-dd HH:mm:ss.SSS X")], "1");
    check("unix_timestamp", &[t("1970-01-01 08:00:01.001 +0800"), t("yyyy-MM-dd HH:mm:ss.SSS")], "28801");
    check("unix_timestamp", &[t("1970-01-01 08:00:01.001"), t("yyyy-MM-dd HH:mm:ss.SSS X")], "-9223372036854775808");
    let zones = [t("1970-01-01 00:00:00"), t("UTC"), t("America/Los_Angeles")];
    check("convert_tz", &zones, "1969-12-31 16:00:00");
    check("convert_tz", &[t("1970-01-01 00:00:00"), t("UTC"), t("GMT-8")], "1969-12-31 16:00:00");
    refused("convert_tz", &[t("1970-01-01 00:00:00"), t("UTC"), t("Mars")], "unknown time zone");
    // What the clock skips is as much later, on both sides of UTC; of what it repeats the first is meant.
    for (local, zone, utc) in [
        ("2024-03-31 02:30:00", "Europe/Berlin", "2024-03-31 01:30:00"),
        ("2024-03-10 02:30:00", "America/New_York", "2024-03-10 07:30:00"),
        ("2011-12-30 12:00:00", "Pacific/Apia", "2011-12-30 22:00:00"),
        ("2024-10-27 02:30:00", "Europe/Berlin", "2024-10-27 00:30:00"),
    ] {
        check("convert_tz", &[t(local), t(zone), t("UTC")], utc);
    }
}

#[test]
fn parts_of_times() {
    let time = || ts("1996-11-10 06:55:44.333222");
    for (unit, expected) in [
        ("MILLENNIUM", "2"),
        ("CENTURY", "20"),
        ("DECADE", "199"),
        ("YEAR", "1996"),
        ("ISOYEAR", "1996"),
        ("QUARTER", "4"),
        ("MONTH", "11"),
        ("WEEK", "45"),
        ("DAY", "10"),
        ("DOY", "315"),
        ("DOW", "1"),
        ("ISODOW", "7"),
        ("HOUR", "6"),
        ("MINUTE", "55"),
        ("SECOND", "44"),
        ("MILLISECOND", "333"),
        ("MICROSECOND", "333222"),
        ("NANOSECOND", "333222000"),
        ("EPOCH", "847608944"),
    ] {
        check("extract", &[t(unit), time()], expected);
    }
    check("extract", &[t("EPOCH"), ts("1969-12-31 23:59:59.5")], "-1");
    check("extract", &[t("MILLISECOND"), ts("1969-12-31 23:59:59.999999")], "999");
    check("extract", &[t("DOW"), day("1969-12-28")], "1");
    check("extract", &[t("WEEK"), day("2027-01-01")], "53");
    check("extract", &[t("ISOYEAR"), day("2027-01-01")], "2026");
    check("extract", &[t("YEAR"), millis("9999-12-31 00:00:00")], "9999");
    check("extract", &[t("HOUR"), clock("06:55:44")], "6");
    refused("extract", &[t("YEAR"), clock("06:55:44")], "a TIME has no YEAR");
    refused("extract", &[t("EON"), time()], "unknown unit");
    refused("extract", &[t("YEAR"), t("2026-01-01")], "EXTRACT(unit FROM time)");
    let leap = || ts("2020-02-29 01:56:59.987654");
    for (unit, floor, ceil) in [
        ("MILLISECOND", "2020-02-29T01:56:59.987", "2020-02-29T01:56:59.988"),
        ("SECOND", "2020-02-29T01:56:59", "2020-02-29T01:57:00"),
        ("MINUTE", "2020-02-29T01:56:00", "2020-02-29T01:57:00"),
        ("HOUR", "2020-02-29T01:00:00", "2020-02-29T02:00:00"),
        ("DAY", "2020-02-29T00:00:00", "2020-03-01T00:00:00"),
        ("WEEK", "2020-02-23T00:00:00", "2020-03-01T00:00:00"),
        ("MONTH", "2020-02-01T00:00:00", "2020-03-01T00:00:00"),
        ("QUARTER", "2020-01-01T00:00:00", "2020-04-01T00:00:00"),
        ("YEAR", "2020-01-01T00:00:00", "2021-01-01T00:00:00"),
        ("DECADE", "2020-01-01T00:00:00", "2030-01-01T00:00:00"),
        ("CENTURY", "2001-01-01T00:00:00", "2101-01-01T00:00:00"),
        ("MILLENNIUM", "2001-01-01T00:00:00", "3001-01-01T00:00:00"),
    ] {
        check("floor_to", &[t(unit), leap()], floor);
        check("ceil_to", &[t(unit), leap()], ceil);
    }
    check("floor_to", &[t("MINUTE"), clock("12:44:31")], "12:44:00");
    check("ceil_to", &[t("MINUTE"), clock("12:44:31")], "12:45:00");
    check("floor_to", &[t("HOUR"), ts("1969-12-31 23:59:59.999999")], "1969-12-31T23:00:00");
    check("ceil_to", &[t("MONTH"), day("1990-10-14")], "1990-11-01");
    check("date_trunc", &[t("week"), ts("2020-03-01 05:00:00")], "2020-02-24T00:00:00");
    check("date_trunc", &[t("hour"), ts("1969-12-31 23:59:59.999999")], "1969-12-31T23:00:00");
    check("date_trunc", &[t("year"), millis("9999-12-31 00:00:00")], "9999-01-01T00:00:00");
}

#[test]
fn arithmetic_by_units() {
    let time = || ts("2017-11-29 22:58:58.998");
    check("timestampadd", &[t("QUARTER"), i(1), time()], "2018-02-28T22:58:58.998");
    check("timestampadd", &[t("MONTH"), i(-1000), time()], "1934-07-29T22:58:58.998");
    check("timestampadd", &[t("WEEK"), i(3), time()], "2017-12-20T22:58:58.998");
    check("timestampadd_time", &[t("HOUR"), i(-61), time()], "2017-11-27T09:58:58.998");
    check("timestampadd", &[t("MONTH"), i(-1), day("2016-03-31")], "2016-02-29");
    check("timestampadd_time", &[t("HOUR"), i(-1), day("2016-06-15")], "2016-06-14T23:00:00");
    check("timestampadd_time", &[t("MINUTE"), i(1), clock("23:59:59")], "00:00:59");
    check("timestampadd", &[t("DAY"), i(15), clock("23:59:59")], "23:59:59");
    check("timestampadd", &[t("DAY"), NO_INT, time()], "NULL");
    let diff = |unit: &str, from: ScalarValue, to: ScalarValue, expected: &str| {
        check("timestampdiff", &[t(unit), from, to], expected)
    };
    diff("DAY", ts("2016-06-15 11:00:00"), day("2016-06-19"), "3");
    diff("HOUR", day("2016-06-15"), day("2016-06-12"), "-72");
    diff("MINUTE", day("2016-06-15"), ts("2016-06-16 11:11:11"), "2111");
    diff("SQL_TSI_SECOND", ts("2018-07-03 11:11:11"), ts("2018-07-03 11:12:12"), "61");
    diff("WEEK", day("2016-08-15"), day("2016-06-18"), "-8");
    diff("MONTH", ts("2016-06-15 11:00:00"), day("2018-05-19"), "23");
    diff("MONTH", day("2016-06-15"), day("2018-03-18"), "21");
    diff("QUARTER", ts("2016-06-15 11:00:00"), day("2018-05-19"), "7");
    diff("YEAR", day("2020-02-29"), day("2021-02-28"), "0");
    refused("timestampdiff", &[t("SECOND"), day("0001-01-01"), day("9999-01-01")], "more units than an INT holds");
    let hour = || {
        ScalarValue::IntervalMonthDayNano(Some(arrow::datatypes::IntervalMonthDayNano::new(0, 0, 3_600_000_000_000)))
    };
    let month = || ScalarValue::IntervalMonthDayNano(Some(arrow::datatypes::IntervalMonthDayNano::new(1, 0, 0)));
    check("date_bin", &[hour(), millis("9999-12-31 00:59:00")], "9999-12-31T00:00:00");
    check("date_bin", &[hour(), ts("1969-12-31 23:59:59.999999")], "1969-12-31T23:00:00");
    check("date_bin", &[month(), ts("1969-12-31 23:59:59")], "1969-12-01T00:00:00");
    check("date_bin", &[hour(), ts("2026-01-01 00:10:00"), ts("2026-01-01 00:15:00")], "2025-12-31T23:15:00");
}

#[test]
fn arrays_and_maps() {
    let some = || numbers(&[Some(1), Some(2), None, Some(2)]);
    let none = || ScalarValue::try_from(&list(&[], &DataType::Int32).data_type()).unwrap();
    check("cardinality", &[some()], "4");
    check("cardinality", &[none()], "NULL");
    check("element", &[numbers(&[Some(7)])], "7");
    check("element", &[numbers(&[])], "NULL");
    refused("element", &[some()], "4 elements");
    check("array_at", &[some(), i(2)], "2");
    check("array_at", &[some(), i(9)], "NULL");
    refused("array_at", &[some(), i(0)], "index 1, not 0");
    refused("array_at", &[some(), i(-1)], "index 1, not -1");
    check("array_contains", &[some(), i(2)], "true");
    check("array_contains", &[some(), NO_INT], "true");
    check("array_contains", &[numbers(&[Some(1)]), NO_INT], "false");
    check("array_contains", &[none(), i(2)], "NULL");
    check("array_position", &[some(), i(2)], "2");
    check("array_position", &[some(), i(9)], "0");
    check("array_position", &[some(), NO_INT], "NULL");
    check("array_remove", &[some(), i(2)], "[1, NULL]");
    check("array_remove", &[some(), NO_INT], "[1, 2, 2]");
    check("array_append", &[some(), i(5)], "[1, 2, NULL, 2, 5]");
    check("array_append", &[none(), i(5)], "NULL");
    check("array_append", &[some(), NO_INT], "[1, 2, NULL, 2, NULL]");
    check("array_prepend", &[some(), i(5)], "[5, 1, 2, NULL, 2]");
    check("array_concat", &[some(), numbers(&[Some(9)])], "[1, 2, NULL, 2, 9]");
    check("array_concat", &[some(), none()], "NULL");
    check("array_distinct", &[some()], "[1, 2, NULL]");
    check("array_union", &[some(), numbers(&[Some(3), Some(1)])], "[1, 2, NULL, 3]");
    check("array_intersect", &[some(), numbers(&[Some(2), None])], "[2, NULL]");
    check("array_except", &[some(), numbers(&[Some(2)])], "[1, NULL]");
    check("array_except", &[some(), none()], "NULL");
    check("array_slice", &[some(), i(2), i(3)], "[2, NULL]");
    check("array_slice", &[some(), i(0), i(1)], "[1]");
    check("array_slice", &[some(), i(-2)], "[NULL, 2]");
    check("array_slice", &[some(), i(-9), i(-3)], "[1, 2]");
    check("array_slice", &[some(), i(3), i(2)], "[]");
    check("array_slice", &[some(), NO_INT], "NULL");
    let flag = |value| ScalarValue::Boolean(Some(value));
    check("array_sort", &[some()], "[NULL, 1, 2, 2]");
    check("array_sort", &[some(), flag(false)], "[2, 2, 1, NULL]");
    check("array_sort", &[some(), flag(true), flag(false)], "[1, 2, 2, NULL]");
    check("array_reverse", &[some()], "[2, NULL, 2, 1]");
    check("array_max", &[some()], "2");
    check("array_min", &[some()], "1");
    check("array_max", &[numbers(&[None])], "NULL");
    check("array_max", &[list(&[d(f64::NAN), d(1.0)], &DataType::Float64)], "NaN");
    check("array_distinct", &[list(&[d(0.0), d(-0.0)], &DataType::Float64)], "[0.0]");
    check("array_join", &[words(&[Some("a"), None, Some("b")]), t(",")], "a,b");
    check("array_join", &[words(&[Some("a"), None, Some("b")]), t(","), t("-")], "a,-,b");
    check("array_join", &[words(&[Some("a")]), NULL], "NULL");
    check("map_from_arrays", &[words(&[Some("a"), Some("b")]), numbers(&[Some(1), None])], "{a: 1, b: NULL}");
    refused("map_from_arrays", &[words(&[Some("a")]), numbers(&[])], "1 keys and 0 values");
    refused("array_contains", &[some(), t("2")], "ARRAY_CONTAINS(array, element)");
}

/// None of these texts may be made just to learn how large it is.
#[test]
fn no_function_makes_a_text_beyond_the_largest() {
    let large = t(&"x".repeat(1 << 20));
    let too_large = [
        ("replace", vec![large.clone(), t("x"), large.clone()]),
        ("regexp_replace", vec![large.clone(), t("x"), large.clone()]),
        ("concat", vec![large.clone(); 65]),
        ("concat_ws", [vec![t("")], vec![large.clone(); 65]].concat()),
        ("repeat", vec![large.clone(), ScalarValue::from(65_i64)]),
        ("split", vec![t(&"x".repeat(5 << 20)), t("")]),
    ];
    for (name, arguments) in too_large {
        let error = call(name, &arguments, true).expect_err(name).to_string();
        assert!(error.contains("larger than") || error.contains("more than"), "{name}: {error}");
    }
}

#[test]
fn occurrences_in_a_long_text_are_counted_in_one_pass() {
    let many = t(&"ä".repeat(200_000));
    check("instr", &[many, t("ä"), ScalarValue::from(1_i64), ScalarValue::from(199_999_i64)], "199999");
    check("translate", &[t("aabb"), t("aba"), t("xy")], "xxyy");
}
