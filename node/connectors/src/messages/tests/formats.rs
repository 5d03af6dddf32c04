//! JSON and CSV as messages, which options count, and bytes that specifications give.

use super::*;

#[tokio::test]
async fn a_message_is_one_object() {
    let columns = schema(&[("a", DataType::Int64, true), ("s", DataType::Utf8View, true)]);
    let messages: &[&[u8]] = &[
        br#"{"a":1,"s":"x"}"#,
        b"{\n  \"a\" : 2,\r\n\t\"s\" : \"y\"\n}\n\n",
        br#"{"a":3}{"a":4}"#,
        b"{\"a\":3}\n{\"a\":4}",
        b"",
        b" \n\t",
        br#"[{"a":5}]"#,
        b"{\"s\":\"line\nfeed\"}",
        br#"{"a":6,"a":7}"#,
        br#"{"s":"never ends"#,
        br#"{"a":"#,
        b"null",
        b"{\"s\":\"\xff\"}",
        br#"{"a":8} x"#,
        br#"  {"a":9,"other":{"deep":[1]}}"#,
    ];
    let (lines, faults) = read_with(&[("format", "json")], &columns, messages).await;
    let expected = [r#"{"a":1,"s":"x"}"#, r#"{"a":2,"s":"y"}"#, r#"{"a":7,"s":null}"#, r#"{"a":9,"s":null}"#];
    assert_eq!(lines, expected);
    let expected = [
        (2, r#"expected the end of the message, found {"a":4}"#),
        (3, r#"expected the end of the message, found {"a":4}"#),
        (4, "the message is empty"),
        (5, "the message is empty"),
        (6, r#"expected '{', found [{"a":5}]; JSON is read one object a message"#),
        (7, "s: a string holds a control character"),
        (9, "s: a string does not end before the end of the message"),
        (10, "a: expected BIGINT, found the end of the message"),
        (11, "expected '{', found null"),
        (12, "s: a string is not valid UTF-8"),
        (13, "expected the end of the message, found x"),
    ];
    assert_eq!(faults, expected.map(|(message, reason)| (message, reason.to_owned())));
}

/// One decoder reads batch after batch, and knows the columns that none of them had.
#[tokio::test]
async fn a_decoder_keeps_nothing_of_a_batch_but_what_columns_there_were() {
    let columns = schema(&[("a", DataType::Int64, true), ("colour", DataType::Utf8View, true)]);
    let mut decoder = decoder(&[("format", "json")], &columns);
    let (lines, faults) = read(&mut *decoder, &bytes(&[br#"{"a":1,"color":"x"}"#, b"{"])).await;
    assert_eq!((lines.len(), faults.len()), (1, 1));
    let (lines, faults) = read(&mut *decoder, &bytes(&[br#"{"a":2}"#])).await;
    assert_eq!((lines, faults), (vec![r#"{"a":2,"colour":null}"#.to_owned()], vec![]));
    assert_eq!(decoder.absent(), [Absent { column: "colour".to_owned(), near: Some("color".to_owned()) }]);
    assert_eq!(decoder.decode(&[]).await.expect("decoded").rows.num_rows(), 0);
}

#[tokio::test]
async fn a_message_is_one_record_of_csv() {
    let columns = schema(&[("a", DataType::Int64, true), ("s", DataType::Utf8View, true)]);
    let messages: &[&[u8]] =
        &[b"1,x", b"2,\"line\nfeed\"\n", b"3,y\r\n", b"4,z\n5,z\n", b"", b"6", b"x,y", b"7,\"never ends", b",", b"\n"];
    let (lines, faults) = read_with(&[("format", "csv")], &columns, messages).await;
    let expected =
        [r#"{"a":1,"s":"x"}"#, r#"{"a":2,"s":"line\nfeed"}"#, r#"{"a":3,"s":"y"}"#, r#"{"a":null,"s":null}"#];
    assert_eq!(lines, expected);
    let expected = [
        (3, "expected one record, found a second one"),
        (4, "expected 2 fields, found 1"),
        (5, "expected 2 fields, found 1"),
        (6, "a: expected BIGINT, found x"),
        (7, "a quoted field does not end before the end of the message"),
        (9, "expected 2 fields, found 1"),
    ];
    assert_eq!(faults.iter().map(|(at, _)| *at).collect::<Vec<_>>(), expected.map(|(at, _)| at), "{faults:?}");
    for ((_, fault), (_, reason)) in faults.iter().zip(expected) {
        assert!(fault.starts_with(reason), "{fault}, not {reason}");
    }
    // Of three fields one is read.
    let some = of_columns(&schema(&[("b", DataType::Utf8View, true)]), &["a", "b", "c"]);
    assert_eq!(read_with(&[("format", "csv")], &some, &[b"1,2,3"]).await.0, [r#"{"b":"2"}"#]);
    let one = schema(&[("s", DataType::Utf8View, true)]);
    assert_eq!(read_with(&[("format", "csv")], &one, &[b"", b"\"\""]).await.0, [r#"{"s":null}"#, r#"{"s":""}"#]);
}

/// The format and its options are those of the part.
#[tokio::test]
async fn options_are_those_of_the_part() {
    let columns = schema(&[("a", DataType::Utf8View, true), ("b", DataType::Utf8View, true)]);
    let options: Given<'_> = &[
        ("key.format", "csv"),
        ("key.csv.field-delimiter", "|"),
        ("value.format", "csv"),
        ("csv.field-delimiter", ";"),
        ("value.csv.null-literal", "none"),
    ];
    let context = context();
    let mut key = try_decoder(&context, Part::Key, options, &columns).expect("a decoder");
    assert_eq!(read(&mut *key, &bytes(&[b"1|none"])).await.0, [r#"{"a":"1","b":"none"}"#]);
    let mut value = try_decoder(&context, Part::Value, options, &columns).expect("a decoder");
    assert_eq!(read(&mut *value, &bytes(&[b"1;none"])).await.0, [r#"{"a":"1","b":null}"#]);
    // What stands with the part counts more.
    let options: Given<'_> = &[("format", "csv"), ("csv.field-delimiter", ";"), ("value.csv.field-delimiter", "|")];
    let mut value = try_decoder(&context, Part::Value, options, &columns).expect("a decoder");
    assert_eq!(read(&mut *value, &bytes(&[b"1|2"])).await.0, [r#"{"a":"1","b":"2"}"#]);
    let rows = rows(&columns, &[r#"{"a":"1","b":null}"#.to_owned()]);
    let mut key = try_encoder(&context, Part::Key, &[("key.format", "csv"), ("csv.field-delimiter", ";")], &columns);
    assert_eq!(key.as_mut().expect("an encoder").encode(&rows).await.expect("encoded"), bytes(&[b"1,"]));
}

/// A part, its options, its columns, and what the error says.
type Refusal<'a> = (Part, Given<'a>, &'a SchemaRef, &'a str);

fn check_refusals(refusals: &[Refusal<'_>]) {
    for (part, options, columns, expected) in refusals {
        let context = context();
        let decoder = try_decoder(&context, *part, options, columns).err();
        let error = decoder.or_else(|| try_encoder(&context, *part, options, columns).err());
        let error = error.unwrap_or_else(|| panic!("{options:?} is not refused")).to_string();
        assert!(error.starts_with("table t: ") && error.contains(expected), "{error}\nhas not {expected}");
        assert!(!error.contains("pw"), "{error}");
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "a list of cases")]
fn what_does_not_fit_is_refused_when_it_is_opened() {
    use DataType as D;
    let plain = schema(&[("a", D::Int64, true)]);
    let two = schema(&[("a", D::Int64, true), ("b", D::Int64, true)]);
    let nested = schema(&[("a", list(D::Int64), true)]);
    let odd = schema(&[("a-b", D::Int64, true)]);
    let value = Part::Value;
    check_refusals(&[
        (value, &[], &plain, "option 'format' is missing"),
        (Part::Key, &[("format", "json")], &plain, "option 'key.format' is missing"),
        (value, &[("format", "xml")], &plain, "option 'format' = 'xml': there is no such format"),
        (value, &[("value.format", "parquet")], &plain, "there are no messages of format 'parquet'"),
        (value, &[("format", "csv")], &nested, "column a: CSV cannot hold nested types"),
        (Part::Key, &[("key.format", "csv")], &nested, "its keys: column a: CSV cannot hold nested types"),
        (value, &[("format", "csv"), ("csv.header", "true")], &plain, "messages have no header"),
        (value, &[("format", "raw")], &two, "format 'raw' is of one column, and there are 2"),
        (value, &[("format", "raw")], &nested, "column a: format 'raw' has STRING"),
        (value, &[("format", "raw")], &of_columns(&plain, &["a", "b"]), "of one column, and there are 2"),
        (value, &[("format", "avro")], &plain, "set 'avro.schema'"),
        (value, &[("format", "avro"), ("avro.schema", "{")], &plain, "the schema is not JSON"),
        (value, &[("format", "avro"), ("avro.schema", "\"nothing\"")], &plain, "the schema is malformed"),
        (
            value,
            &[("format", "avro"), ("avro.schema", "\"string\"")],
            &plain,
            "column a: string does not go into BIGINT",
        ),
        (value, &[("format", "avro"), ("avro.schema", "\"long\"")], &two, "the schema is a long, not a record"),
        (value, &[("format", "avro-confluent"), ("avro-confluent.url", "http://r")], &odd, "column a-b: names in Avro"),
        (value, &[("format", "avro-confluent")], &plain, "option 'avro-confluent.url' is missing"),
        (
            value,
            &[("format", "avro-confluent"), ("avro-confluent.url", "me:pw@r")],
            &plain,
            "'avro-confluent.url': an address has no http",
        ),
    ]);
}

#[test]
fn definitions_that_do_not_fit_are_refused_when_they_are_opened() {
    let plain = schema(&[("a", DataType::Int64, true)]);
    let odd = schema(&[("a-b", DataType::Int64, true)]);
    let proto = "syntax = \"proto3\"; message A { int64 a = 1; } message B { string a = 1; }";
    let value = Part::Value;
    check_refusals(&[
        (value, &[("format", "protobuf")], &plain, "needs one of 'protobuf.proto'"),
        (value, &[("format", "protobuf"), ("protobuf.proto", proto)], &plain, "several messages: A, B"),
        (
            value,
            &[("format", "protobuf"), ("protobuf.proto", proto), ("protobuf.proto-file", "/x")],
            &plain,
            "only one of 'protobuf.proto', 'protobuf.proto-file'",
        ),
        (
            value,
            &[("format", "protobuf"), ("protobuf.proto", proto), ("protobuf.message", "C")],
            &plain,
            "no message C; it has A, B",
        ),
        (
            value,
            &[("format", "protobuf"), ("protobuf.proto", proto), ("protobuf.message", "B")],
            &plain,
            "column a: string does not go into BIGINT",
        ),
        (value, &[("format", "protobuf"), ("protobuf.proto", "message {")], &plain, "option 'protobuf.proto'"),
        (
            value,
            &[("format", "protobuf"), ("protobuf.proto-file", "/no/such.proto")],
            &plain,
            "/no/such.proto cannot be read",
        ),
        (value, &[("format", "protobuf"), ("protobuf.proto-file", "s3://b/x.proto")], &plain, "must be a local path"),
        (value, &[("format", "protobuf"), ("protobuf.descriptor-file", "/no/such")], &plain, "/no/such cannot be read"),
        (
            value,
            &[("format", "protobuf-confluent"), ("protobuf-confluent.url", "http://r")],
            &odd,
            "column a-b: names in Protobuf",
        ),
        (
            value,
            &[("format", "protobuf-confluent"), ("protobuf-confluent.url", "http://r,ftp://r")],
            &plain,
            "expected http",
        ),
    ]);
}

/// Every format that has a spec for messages is one, and none else.
#[test]
fn every_format_has_a_spec_and_every_spec_a_format() {
    let names: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
    assert_eq!(names, thalweg_types::connector::MESSAGE_FORMATS);
}

/// The examples of Avro's specification.
#[tokio::test]
async fn datums_are_those_of_the_specification() {
    let test = r#"{"type":"record","name":"test","fields":[{"name":"a","type":"long"},{"name":"b","type":"string"}]}"#;
    let columns = schema(&[("a", DataType::Int64, false), ("b", DataType::Utf8View, false)]);
    let options: Given<'_> = &[("format", "avro"), ("avro.schema", test)];
    let lines = [r#"{"a":27,"b":"foo"}"#.to_owned()];
    let datum: &[u8] = b"\x36\x06\x66\x6f\x6f";
    assert_eq!(read_with(options, &columns, &[datum]).await, (lines.to_vec(), vec![]));
    assert_eq!(encoder(options, &columns).encode(&rows(&columns, &lines)).await.expect("encoded"), bytes(&[datum]));
    let only = |of: &str| format!(r#"{{"type":"record","name":"r","fields":[{{"name":"c","type":{of}}}]}}"#);
    for (of, data_type, value, datum) in [
        (r#"{"type":"array","items":"long"}"#, list(DataType::Int64), "[3,27]", &b"\x04\x06\x36\x00"[..]),
        (r#"["null","string"]"#, DataType::Utf8View, "null", b"\x00"),
        (r#"["null","string"]"#, DataType::Utf8View, r#""a""#, b"\x02\x02\x61"),
        (r#"["string","null"]"#, DataType::Utf8View, "null", b"\x02"),
        (r#""long""#, DataType::Int64, "-64", b"\x7f"),
        (r#""long""#, DataType::Int64, "64", b"\x80\x01"),
        (r#""int""#, DataType::Int32, "-2147483648", b"\xff\xff\xff\xff\x0f"),
        (r#"{"type":"enum","name":"Foo","symbols":["A","B","C","D"]}"#, DataType::Utf8View, r#""D""#, b"\x06"),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#,
            DataType::Decimal128(4, 2),
            "-1.28",
            b"\x02\x80",
        ),
        (
            r#"{"type":"fixed","name":"F","size":3,"logicalType":"decimal","precision":4,"scale":2}"#,
            DataType::Decimal128(4, 2),
            "-1.28",
            b"\xff\xff\x80",
        ),
        (r#"{"type":"array","items":"long"}"#, list(DataType::Int64), "[]", b"\x00"),
        (
            r#"{"type":"map","values":"int"}"#,
            map(DataType::Utf8View, DataType::Int32),
            r#"{"k":1}"#,
            b"\x02\x02k\x02\x00",
        ),
    ] {
        let schema_text = only(of);
        let options: Given<'_> = &[("format", "avro"), ("avro.schema", &schema_text)];
        let columns = schema(&[("c", data_type, true)]);
        let lines = [format!(r#"{{"c":{value}}}"#)];
        assert_eq!(read_with(options, &columns, &[datum]).await, (lines.to_vec(), vec![]), "{of}");
        let written = encoder(options, &columns).encode(&rows(&columns, &lines)).await.expect("encoded");
        assert_eq!(written, bytes(&[datum]), "{of}");
    }
    // Items in blocks that tell their lengths.
    let schema_text = only(r#"{"type":"array","items":"long"}"#);
    let options: Given<'_> = &[("format", "avro"), ("avro.schema", &schema_text)];
    let columns = schema(&[("c", list(DataType::Int64), true)]);
    let (lines, _) = read_with(options, &columns, &[b"\x01\x02\x06\x02\x36\x00"]).await;
    assert_eq!(lines, [r#"{"c":[3,27]}"#]);
    // A schema of one value is that of one column.
    let options: Given<'_> = &[("format", "avro"), ("avro.schema", "\"string\"")];
    let columns = schema(&[("k", DataType::Utf8View, false)]);
    assert_eq!(read_with(options, &columns, &[b"\x06foo"]).await.0, [r#"{"k":"foo"}"#]);
    let written = encoder(options, &columns).encode(&rows(&columns, &[r#"{"k":"foo"}"#.to_owned()])).await;
    assert_eq!(written.expect("encoded"), bytes(&[b"\x06foo"]));
}

/// What upstream does to a schema, and what becomes of a table that is not told.
#[tokio::test]
async fn a_schema_may_change_as_long_as_columns_find_their_values() {
    use DataType as D;
    let record = |fields: &str| format!(r#"{{"type":"record","name":"r","fields":[{fields}]}}"#);
    let open = |fields: &str, columns: &SchemaRef| {
        let text = record(fields);
        try_decoder(&context(), Part::Value, &[("format", "avro"), ("avro.schema", &text)], columns)
    };
    let columns = schema(&[("a", D::Int64, false), ("b", D::Utf8View, true)]);
    let a = r#"{"name":"a","type":"int"}"#;
    // A field that is added, one that is gone, numbers that are promoted.
    let added = format!(r#"{{"name":"z","type":["null",{{"type":"array","items":"string"}}]}},{a}"#);
    let mut decoder = open(&added, &columns).expect("a nullable column may be absent");
    let (lines, faults) = read(&mut *decoder, &bytes(&[b"\x02\x02\x02x\x00\x0e", b"\x00\x0e"])).await;
    assert_eq!((lines, faults), (vec![r#"{"a":7,"b":null}"#.to_owned(); 2], vec![]));
    assert_eq!(decoder.absent().len(), 1);
    let floats = schema(&[("a", D::Float64, false)]);
    assert_eq!(read(&mut *open(a, &floats).expect("an int is a double"), &bytes(&[b"\x0e"])).await.0, [r#"{"a":7.0}"#]);
    let narrow = schema(&[("a", D::Int8, false)]);
    let (lines, faults) =
        read(&mut *open(a, &narrow).expect("an int may be small"), &bytes(&[b"\x0e", b"\x80\x02"])).await;
    assert_eq!((lines.len(), faults), (1, vec![(1, "a: expected TINYINT, found 128".to_owned())]));
    let error = |fields: &str, columns: &SchemaRef| open(fields, columns).err().expect("it is refused").to_string();
    let gone = error(r#"{"name":"b","type":"string"}"#, &columns);
    assert_eq!(gone, "table t: option 'avro.schema': column a: is NOT NULL, and the schema has no such field");
    let retyped = error(r#"{"name":"a","type":"string"}"#, &columns);
    assert_eq!(retyped, "table t: option 'avro.schema': column a: string does not go into BIGINT");
    let deep = schema(&[("r", row(&[("x", list(D::Int64))]), true)]);
    let inner =
        r#"{"type":"record","name":"s","fields":[{"name":"x","type":{"type":"array","items":["null","boolean"]}}]}"#;
    let retyped = error(&format!(r#"{{"name":"r","type":{inner}}}"#), &deep);
    assert_eq!(retyped, "table t: option 'avro.schema': column r.x[]: boolean does not go into BIGINT");
    // A branch that does not fit is a fault of the messages that have it.
    let mut either = open(r#"{"name":"a","type":["null","long","string"]}"#, &columns).expect("some fit");
    let (lines, faults) = read(&mut *either, &bytes(&[b"\x02\x0e", b"\x04\x02x", b"\x00", b"\x06"])).await;
    assert_eq!(lines, [r#"{"a":7,"b":null}"#]);
    let reasons: Vec<&str> = faults.iter().map(|(_, reason)| reason.as_str()).collect();
    let expected = ["a: string does not go into BIGINT", "a: is NOT NULL, found NULL", "a: it is alternative 3 of 3"];
    assert_eq!(reasons, expected);
}

/// What a schema does not hold is told of rows, before they are written.
#[tokio::test]
async fn rows_that_a_schema_does_not_hold_are_unfit() {
    use DataType as D;
    let fields = r#"{"name":"n","type":"int"},{"name":"e","type":["null",{"type":"enum","name":"E","symbols":["A","B"]}]},
        {"name":"f","type":["null",{"type":"fixed","name":"F","size":2}]},{"name":"u","type":["null",{"type":"string","logicalType":"uuid"}]},
        {"name":"more","type":["string","null"]}"#;
    let text = format!(r#"{{"type":"record","name":"r","fields":[{fields}]}}"#);
    let options: Given<'_> = &[("format", "avro"), ("avro.schema", &text)];
    let columns =
        schema(&[("n", D::Int64, true), ("e", D::Utf8View, true), ("f", D::Binary, true), ("u", D::Utf8View, true)]);
    let lines = [
        r#"{"n":1,"e":"B","f":"AAA=","u":"x"}"#,
        r#"{"n":2147483648,"e":null,"f":null,"u":null}"#,
        r#"{"n":null,"e":null,"f":null,"u":null}"#,
        r#"{"n":1,"e":"C","f":null,"u":null}"#,
        r#"{"n":1,"e":null,"f":"AA==","u":null}"#,
    ];
    let all = rows(&columns, &lines.map(str::to_owned));
    let mut encoder = encoder(options, &columns);
    let unfit: Vec<(usize, String)> = encoder.unfit(&all).into_iter().map(|fault| (fault.row, fault.reason)).collect();
    let expected = [
        (1, "n: the schema expects int, found 2147483648"),
        (2, "n: the schema has no null here, found NULL"),
        (3, "e: the schema expects one of A, B, found 'C'"),
        (4, "f: the schema expects 2 bytes, found 'AA=='"),
    ];
    assert_eq!(unfit, expected.map(|(row, reason)| (row, reason.to_owned())));
    let fit = all.slice(0, 1);
    assert_eq!(encoder.encode(&fit).await.expect("encoded"), bytes(&[b"\x02\x02\x02\x02\x00\x00\x02\x02x\x02"]));
    assert!(encoder.encode(&all).await.is_err_and(|error| error.to_string().contains("n: the schema expects int")));
    // Nothing is cut off.
    let fields = r#"{"name":"t","type":["null",{"type":"int","logicalType":"time-millis"}]},
        {"name":"ts","type":["null",{"type":"long","logicalType":"timestamp-millis"}]},
        {"name":"d","type":["null",{"type":"bytes","logicalType":"decimal","precision":4,"scale":1}]}"#;
    let coarse = format!(r#"{{"type":"record","name":"r","fields":[{fields}]}}"#);
    let coarse: Given<'_> = &[("format", "avro"), ("avro.schema", &coarse)];
    let fine = schema(&[
        ("t", D::Time64(TimeUnit::Nanosecond), true),
        ("ts", D::Timestamp(TimeUnit::Nanosecond, None), true),
        ("d", D::Decimal128(6, 2), true),
    ]);
    let lines = [
        r#"{"t":"00:00:00.001","ts":"1969-12-31 23:59:59.999","d":-999.9}"#,
        r#"{"t":"00:00:00.0011"}"#,
        r#"{"ts":"1969-12-31 23:59:59.9999"}"#,
        r#"{"d":0.01}"#,
        r#"{"d":1000}"#,
    ];
    let all = rows(&fine, &lines.map(str::to_owned));
    let unfit: Vec<usize> = super::encoder(coarse, &fine).unfit(&all).into_iter().map(|fault| fault.row).collect();
    assert_eq!(unfit, [1, 2, 3, 4]);
    let first = all.slice(0, 1);
    let written = super::encoder(coarse, &fine).encode(&first).await.expect("encoded");
    let (lines, _) = read(&mut *decoder(coarse, &fine), &written).await;
    assert_eq!(lines, to_lines(&first));
    let lacks = try_encoder(&context(), Part::Value, options, &schema(&[("n", D::Int64, true), ("z", D::Int64, true)]));
    assert!(lacks.err().is_some_and(|error| error.to_string().contains("column z: the schema has no such field")));
    let alone = schema(&[("e", D::Utf8View, true)]);
    let lacks = try_encoder(&context(), Part::Value, options, &alone).err().map(|error| error.to_string());
    assert!(lacks.is_some_and(|error| error.contains("column n: this field has no column, and is never null")));
}
