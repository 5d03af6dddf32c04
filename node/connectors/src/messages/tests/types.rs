//! Rows of every type of column through each format and back.

use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

use super::{server::Server, *};

/// The columns that all formats have; `is_flat`: without those that have parts.
fn columns(is_flat: bool) -> SchemaRef {
    use DataType as D;
    let micros = TimeUnit::Microsecond;
    let mut columns = vec![
        ("id", D::Int64, false),
        ("bo", D::Boolean, true),
        ("i8", D::Int8, true),
        ("i16", D::Int16, true),
        ("i32", D::Int32, true),
        ("i64", D::Int64, true),
        ("f32", D::Float32, true),
        ("f64", D::Float64, true),
        ("de", D::Decimal128(38, 10), true),
        ("small", D::Decimal128(5, 2), true),
        ("te", D::Utf8View, true),
        ("by", D::Binary, true),
        ("da", D::Date32, true),
        ("ti", D::Time64(TimeUnit::Nanosecond), true),
        ("ts0", D::Timestamp(TimeUnit::Second, None), true),
        ("ts3", D::Timestamp(TimeUnit::Millisecond, None), true),
        ("ts6", D::Timestamp(micros, None), true),
        ("ts9", D::Timestamp(TimeUnit::Nanosecond, None), true),
        ("ltz", D::Timestamp(micros, Some("UTC".into())), true),
    ];
    if !is_flat {
        let inner = row(&[("a", D::Int32), ("b", D::Utf8View), ("t", D::Timestamp(micros, None))]);
        columns.extend([
            ("ro", row(&[("x", inner.clone()), ("y", list(D::Int64))]), true),
            ("li", list(D::Utf8View), true),
            ("rows", list(inner.clone()), true),
            ("ma", map(D::Utf8View, D::Int64), true),
            ("named", map(D::Utf8View, inner), true),
        ]);
    }
    schema(&columns)
}

/// What a format's lines may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Nulls {
    Everywhere,
    /// Neither within an ARRAY or a MAP, nor instead of one.
    NotInLists,
}

/// The members of a row by the columns' names; nested ones are left out for flat formats.
fn line(members: &Value, columns: &SchemaRef) -> String {
    let all: Vec<String> =
        columns.fields().iter().map(|field| format!("{:?}:{}", field.name(), members[field.name()])).collect();
    format!("{{{}}}", all.join(","))
}

/// Rows with the least, the greatest, empty and unusual values of each type.
fn edges(nulls: Nulls) -> Vec<Value> {
    let inner = json!({ "a": 1, "b": "ä😀\u{0}\"", "t": "2026-01-01 00:00:00.000001" });
    let none = json!({ "a": null, "b": null, "t": null });
    let is_full = nulls == Nulls::NotInLists;
    let (empty_list, empty_map) = if is_full { (json!([]), json!({})) } else { (Value::Null, Value::Null) };
    let nine = "9".repeat(28);
    let decimal =
        |sign: &str| -> Value { serde_json::from_str(&format!("\"{sign}{nine}.9999999999\"")).expect("JSON") };
    vec![
        json!({ "id": 1, "bo": true, "i8": 1, "i16": 2, "i32": 3, "i64": 4, "f32": 0.5, "f64": 0.1, "de": "1.5", "small": "-0.01",
            "te": "Zoë 😀 \"q\"\r\n\t,;\\", "by": "AP8=", "da": "2026-01-31", "ti": "23:59:59.000001", "ts0": "2026-01-01 00:00:00",
            "ts3": "2026-01-01 00:00:00.001", "ts6": "2026-01-01 00:00:00.000001", "ts9": "2026-01-01 00:00:00.000000001",
            "ltz": "2026-01-01 00:00:00.5", "ro": { "x": inner, "y": [1, 2] }, "li": ["a", "", "ü"], "rows": [inner, none],
            "ma": { "": -1, "k": 1, "ä": 0 }, "named": { "n": inner } }),
        json!({ "id": 0, "li": empty_list, "rows": empty_list, "ma": empty_map, "named": empty_map,
            "ro": if is_full { json!({ "x": null, "y": [] }) } else { Value::Null } }),
        json!({ "id": i64::MIN, "bo": false, "i8": i8::MIN, "i16": i16::MIN, "i32": i32::MIN, "i64": i64::MIN, "f32": f32::MIN,
            "f64": f64::MIN, "de": decimal("-"), "small": "-999.99", "te": "", "by": "", "da": "0001-01-01", "ti": "00:00:00",
            "ts0": "0001-01-01 00:00:00", "ts3": "0001-01-01 00:00:00", "ts6": "0001-01-01 00:00:00",
            "ts9": "1677-09-21 00:12:44", "ltz": "1969-12-31 23:59:59.999999", "ro": { "x": null, "y": [] }, "li": [],
            "rows": [], "ma": {}, "named": {} }),
        json!({ "id": i64::MAX, "bo": true, "i8": i8::MAX, "i16": i16::MAX, "i32": i32::MAX, "i64": i64::MAX, "f32": "Infinity",
            "f64": "NaN", "de": decimal(""), "small": "999.99", "te": "x".repeat(5000), "by": "QQ==", "da": "9999-12-31",
            "ti": "23:59:59.999999", "ts0": "9999-12-31 23:59:59", "ts3": "9999-12-31 23:59:59.999",
            "ts6": "9999-12-31 23:59:59.999999", "ts9": "2262-04-11 23:47:16.854775807", "ltz": "9999-12-31 23:59:59.999999",
            "ro": { "x": { "a": i32::MAX, "b": "", "t": null }, "y": [i64::MIN, i64::MAX] },
            "li": if is_full { json!(["x"]) } else { json!([null, "x", null]) },
            "rows": if is_full { json!([none]) } else { json!([null, inner, none]) },
            "ma": if is_full { json!({ "k": i64::MAX }) } else { json!({ "k": i64::MAX, "n": null }) },
            "named": if is_full { json!({ "k": none }) } else { json!({ "k": null, "n": none }) } }),
    ]
}

/// A format with its options, and what its rows may hold.
struct Case {
    name: &'static str,
    options: Vec<(String, String)>,
    is_flat: bool,
    nulls: Nulls,
}

fn cases() -> Vec<Case> {
    let case = |name, options: Vec<(&str, String)>, is_flat, nulls| {
        let options = options.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Case { name, options, is_flat, nulls }
    };
    let avro = crate::avro::writer_of(&Options::new("t", &connector("filesystem", &[])), "x", columns(false).fields());
    let proto = crate::protobuf::derive(columns(false).fields()).expect("all columns have fields");
    let url = || "http://registry:8081".to_owned();
    vec![
        case("json", vec![], false, Nulls::Everywhere),
        case("json", vec![("json.timestamp-format", "iso-8601".to_owned())], false, Nulls::Everywhere),
        case("csv", vec![], true, Nulls::Everywhere),
        case(
            "csv",
            vec![("csv.null-literal", "NULL".to_owned()), ("csv.field-delimiter", "|".to_owned())],
            true,
            Nulls::Everywhere,
        ),
        case("avro", vec![("avro.schema", avro.expect("all columns have fields").0)], false, Nulls::Everywhere),
        case("avro-confluent", vec![("avro-confluent.url", url())], false, Nulls::Everywhere),
        case(
            "protobuf",
            vec![("protobuf.proto", proto), ("protobuf.message", "thalweg.Row".to_owned())],
            false,
            Nulls::NotInLists,
        ),
        case("protobuf-confluent", vec![("protobuf-confluent.url", url())], false, Nulls::NotInLists),
    ]
}

/// What messages of rows are decoded into.
async fn round_trip(context: &ConnectorContext, case: &Case, rows: &RecordBatch) -> RecordBatch {
    let mut options: Vec<(&str, &str)> = vec![("format", case.name)];
    options.extend(case.options.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    let columns = rows.schema();
    let mut encoder = try_encoder(context, Part::Value, &options, &columns).expect("an encoder");
    assert_eq!(encoder.unfit(rows), [], "{}", case.name);
    let messages = encoder.encode(rows).await.expect("encoded");
    assert_eq!(messages.len(), rows.num_rows());
    let mut decoder = try_decoder(context, Part::Value, &options, &columns).expect("a decoder");
    let decoded = decoder.decode(&messages).await.expect("decoded");
    assert_eq!(decoded.faults, [], "{}", case.name);
    if rows.num_rows() > 0 {
        assert_eq!(decoder.absent(), [], "{}", case.name);
    }
    decoded.rows
}

#[tokio::test]
async fn rows_of_every_type_come_back_from_every_format() {
    for case in cases() {
        let mut context = context();
        context.http = Arc::new(Server::default());
        let columns = columns(case.is_flat);
        let lines: Vec<String> = edges(case.nulls).iter().map(|members| line(members, &columns)).collect();
        let whole = rows(&columns, &lines);
        let read = round_trip(&context, &case, &whole).await;
        assert_eq!(read.schema(), whole.schema());
        assert_eq!(to_lines(&read), to_lines(&whole), "{}", case.name);
        // A part of the rows, and none.
        let some = whole.slice(1, 2);
        assert_eq!(to_lines(&round_trip(&context, &case, &some).await), to_lines(&some), "{}", case.name);
        assert_eq!(round_trip(&context, &case, &whole.slice(0, 0)).await.num_rows(), 0);
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z,\"\\\\ ä😀\n\r\u{0}]{0,8}", ".{0,20}", Just("NULL".to_owned())]
}

fn members(nulls: Nulls) -> impl Strategy<Value = Value> {
    let inner = || {
        let parts = (option::of(any::<i32>()), option::of(text()));
        parts.prop_map(|(a, b)| json!({ "a": a, "b": b, "t": "2026-01-01 00:00:00.000001" }))
    };
    let item = move |of: BoxedStrategy<Value>| match nulls {
        Nulls::Everywhere => prop_oneof![4 => of, 1 => Just(Value::Null)].boxed(),
        Nulls::NotInLists => of,
    };
    let float = prop_oneof![any::<f64>().prop_filter("finite", |value| value.is_finite()), Just(0.0), Just(-0.0)];
    let scalars = (
        any::<i64>(),
        option::of(any::<bool>()),
        option::of(any::<i8>()),
        option::of(any::<i64>()),
        option::of(float),
        option::of((-10i64.pow(15)..10i64.pow(15)).prop_map(|cents| format!("{cents}e-10"))),
        option::of(text()),
        option::of(vec(any::<u8>(), 0..20)),
    );
    let nested = (
        option::of(inner()),
        vec(item(text().prop_map(Value::from).boxed()), 0..4),
        vec(item(inner().boxed()), 0..3),
        proptest::collection::btree_map(text(), item(any::<i64>().prop_map(Value::from).boxed()), 0..4),
        proptest::collection::btree_map(text(), item(inner().boxed()), 0..3),
    );
    (scalars, nested).prop_map(|((id, bo, i8, i64, f64, de, te, by), (x, li, rows, ma, named))| {
        let by = by.map(|by| {
            let mut text = Vec::new();
            crate::json::text::write_base64(&by, &mut text);
            String::from_utf8(text).expect("base64 is ASCII")
        });
        json!({ "id": id, "bo": bo, "i8": i8, "i64": i64, "f64": f64, "de": de, "te": te, "by": by, "ts6": "2026-01-01 00:00:00.000001",
            "ro": { "x": x, "y": [1] }, "li": li, "rows": rows, "ma": ma, "named": named })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn random_rows_come_back_from_every_format(full in vec(members(Nulls::NotInLists), 1..6), any in vec(members(Nulls::Everywhere), 1..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let mut context = context();
            context.http = Arc::new(Server::default());
            for case in cases() {
                let columns = columns(case.is_flat);
                let all = if case.nulls == Nulls::Everywhere { &any } else { &full };
                let lines: Vec<String> = all.iter().map(|members| line(members, &columns)).collect();
                let whole = rows(&columns, &lines);
                let read = round_trip(&context, &case, &whole).await;
                prop_assert_eq!(to_lines(&read), to_lines(&whole), "{}", case.name);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn raw_is_the_bytes_of_one_value() {
    use DataType as D;
    let big: Given<'_> = &[("format", "raw")];
    let little: Given<'_> = &[("format", "raw"), ("raw.endianness", "little-endian"), ("raw.charset", "UTF-8")];
    for (data_type, options, value, message) in [
        (D::Utf8View, big, r#""ä""#, "ä".as_bytes()),
        (D::Utf8View, big, r#""""#, b""),
        (D::Binary, big, r#""AP8=""#, b"\x00\xff"),
        (D::Boolean, big, "true", b"\x01"),
        (D::Boolean, little, "false", b"\x00"),
        (D::Int8, big, "-1", b"\xff"),
        (D::Int16, big, "258", b"\x01\x02"),
        (D::Int16, little, "258", b"\x02\x01"),
        (D::Int32, big, "-2", b"\xff\xff\xff\xfe"),
        (D::Int64, big, "1", b"\x00\x00\x00\x00\x00\x00\x00\x01"),
        (D::Int64, little, "1", b"\x01\x00\x00\x00\x00\x00\x00\x00"),
        (D::Float32, big, "1.5", b"\x3f\xc0\x00\x00"),
        (D::Float64, little, "1.5", b"\x00\x00\x00\x00\x00\x00\xf8\x3f"),
    ] {
        let columns = schema(&[("c", data_type.clone(), true)]);
        let lines = [format!(r#"{{"c":{value}}}"#)];
        assert_eq!(read_with(options, &columns, &[message]).await, (lines.to_vec(), vec![]), "{data_type}");
        let written = encoder(options, &columns).encode(&rows(&columns, &lines)).await.expect("encoded");
        assert_eq!(written, bytes(&[message]), "{data_type}");
    }
    let columns = schema(&[("c", D::Int32, true)]);
    let (lines, faults) = read_with(big, &columns, &[b"\x00\x00\x00\x01", b"", b"12345"]).await;
    assert_eq!(lines, [r#"{"c":1}"#]);
    let expected = ["c: expected 4 bytes, found 0", "c: expected 4 bytes, found 5"];
    assert_eq!(faults.iter().map(|(_, reason)| reason.as_str()).collect::<Vec<_>>(), expected);
    let (_, faults) = read_with(big, &schema(&[("c", D::Utf8View, true)]), &[b"\xff"]).await;
    assert_eq!(faults, [(0, "c: the message is not valid UTF-8".to_owned())]);
    let (lines, _) = read_with(big, &schema(&[("c", D::Boolean, true)]), &[b"\x07"]).await;
    assert_eq!(lines, [r#"{"c":true}"#], "all but 0 is true");
    // NULL would be the empty text.
    let null = rows(&columns, &[r#"{"c":1}"#.to_owned(), r#"{"c":null}"#.to_owned()]);
    let unfit = encoder(big, &columns).unfit(&null);
    assert_eq!((unfit.len(), unfit[0].row, unfit[0].reason.as_str()), (1, 1, "c: format 'raw' has no bytes for NULL"));
    // A query may read nothing of a message.
    let nothing = of_columns(&schema(&[]), &["c"]);
    assert_eq!(decoder(big, &nothing).decode(&bytes(&[b"1", b"2"])).await.expect("decoded").rows.num_rows(), 2);
}
