//! What is read of absent fields, unusual messages, and definitions that columns give.

use std::collections::BTreeMap;

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, SchemaRef, TimeUnit},
};

use super::*;
use crate::{
    json::JsonDecoder,
    lines::LineDecoder as _,
    testing::{schema, to_lines},
    typed::{Rows, WriteRow as _, cells_of},
};

fn message(proto: &str, name: &str) -> prost_reflect::MessageDescriptor {
    let definition = compile_text(proto, BTreeMap::new()).expect("a definition");
    definition.message(Some(name)).expect("such a message")
}

fn read(reader: &ProtobufReader, columns: &SchemaRef, messages: &[&[u8]]) -> (Vec<String>, Vec<String>) {
    let mut rows = Rows::new(columns).expect("it can be built");
    let mut faults = Vec::new();
    for message in messages {
        faults.extend(rows.read(|root, row| reader.read(message, root, row)).err().map(|fault| fault.to_string()));
    }
    (to_lines(&rows.finish().expect("a batch")), faults)
}

fn rows(columns: &SchemaRef, lines: &[&str]) -> RecordBatch {
    let mut decoder = JsonDecoder::new(columns.clone()).expect("types that JSON has");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let mut faults = Vec::new();
    decoder.decode(text.as_bytes(), 0, usize::MAX, &mut faults);
    assert_eq!(faults, []);
    decoder.finish().expect("a batch")
}

fn write(writer: &ProtobufWriter, rows: &RecordBatch) -> Vec<Result<Vec<u8>, String>> {
    let cells = cells_of(rows).expect("it can be read");
    let write = |row| {
        let mut message = Vec::new();
        writer.write(&cells, row, &mut message).map(|()| message).map_err(|fault| fault.to_string())
    };
    (0..rows.num_rows()).map(write).collect()
}

const ABSENT: &str = "syntax = \"proto2\"; import \"google/protobuf/wrappers.proto\";
    enum E { ONE = 1; TWO = 2; }
    message M { optional int64 a = 1 [default = 7]; optional string s = 2; required int64 r = 3; optional E e = 4; optional M m = 5;
        repeated int64 l = 6; map<string, int64> p = 7; oneof o { int64 x = 8; string y = 9; }
        optional google.protobuf.BoolValue w = 10; }";

fn absent_columns() -> SchemaRef {
    use DataType as D;
    let item = D::List(std::sync::Arc::new(Field::new_list_field(D::Int64, true)));
    let inner = D::Struct(vec![Field::new("a", D::Int64, true)].into());
    schema(&[
        ("a", D::Int64, true),
        ("s", D::Utf8View, true),
        ("r", D::Int64, true),
        ("e", D::Utf8View, true),
        ("m", inner, true),
        ("l", item, true),
        ("x", D::Int64, true),
        ("y", D::Utf8View, true),
        ("w", D::Boolean, true),
        ("none", D::Int64, true),
    ])
}

#[test]
fn absent_fields_are_null_or_have_their_defaults() {
    let columns = absent_columns();
    for (reads_defaults, expected) in [
        (false, r#"{"a":null,"s":null,"r":null,"e":null,"m":null,"l":[],"x":null,"y":null,"w":null,"none":null}"#),
        (true, r#"{"a":7,"s":"","r":0,"e":"ONE","m":null,"l":[],"x":0,"y":"","w":null,"none":null}"#),
    ] {
        let reader = ProtobufReader::new(message(ABSENT, "M"), columns.fields(), reads_defaults).expect("it fits");
        assert_eq!(read(&reader, &columns, &[b""]), (vec![expected.to_owned()], vec![]));
    }
    let strict = schema(&[("a", DataType::Int64, false)]);
    let reader = ProtobufReader::new(message(ABSENT, "M"), strict.fields(), false).expect("it fits");
    assert_eq!(read(&reader, &strict, &[b"", b"\x08\x01"]).1, ["a: is NOT NULL, found NULL"]);
    let missing = schema(&[("q", DataType::Int64, false)]);
    let error = ProtobufReader::new(message(ABSENT, "M"), missing.fields(), false).expect_err("it is missing");
    assert_eq!(error, "column q: is NOT NULL, and message M has no such field");
    // Proto3 cannot tell an absent field from one with the default.
    let plain = schema(&[("a", DataType::Int64, true)]);
    let proto3 = message("syntax = \"proto3\"; message M { int64 a = 1; }", "M");
    let reader = ProtobufReader::new(proto3, plain.fields(), false).expect("it fits");
    assert_eq!(read(&reader, &plain, &[b""]).0, [r#"{"a":0}"#]);
}

/// The examples of Protobuf's documentation, and what its rules say of what occurs twice.
#[test]
fn messages_are_those_of_the_documentation() {
    let proto = "syntax = \"proto3\"; message T { optional int32 a = 1; string b = 2; T c = 3; repeated int32 d = 4; repeated string e = 5; sint32 z = 6; }";
    let inner = DataType::Struct(
        vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8View, true)].into(),
    );
    let list = |of| DataType::List(std::sync::Arc::new(Field::new_list_field(of, true)));
    let columns = schema(&[
        ("a", DataType::Int32, true),
        ("b", DataType::Utf8View, true),
        ("c", inner, true),
        ("d", list(DataType::Int32), true),
        ("e", list(DataType::Utf8View), true),
        ("z", DataType::Int32, true),
    ]);
    let reader = ProtobufReader::new(message(proto, "T"), columns.fields(), false).expect("it fits");
    let writer = ProtobufWriter::new(&message(proto, "T"), columns.fields()).expect("it fits");
    for (bytes, line, is_canonical) in [
        (&b"\x08\x96\x01"[..], r#"{"a":150,"b":"","c":null,"d":[],"e":[],"z":0}"#, true),
        (b"\x12\x07testing", r#"{"a":null,"b":"testing","c":null,"d":[],"e":[],"z":0}"#, true),
        (b"\x1a\x03\x08\x96\x01", r#"{"a":null,"b":"","c":{"a":150,"b":""},"d":[],"e":[],"z":0}"#, true),
        (b"\x22\x06\x03\x8e\x02\x9e\xa7\x05", r#"{"a":null,"b":"","c":null,"d":[3,270,86942],"e":[],"z":0}"#, true),
        (b"\x20\x03\x20\x8e\x02", r#"{"a":null,"b":"","c":null,"d":[3,270],"e":[],"z":0}"#, false),
        (b"\x2a\x01x\x2a\x00", r#"{"a":null,"b":"","c":null,"d":[],"e":["x",""],"z":0}"#, true),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", r#"{"a":-1,"b":"","c":null,"d":[],"e":[],"z":0}"#, true),
        (b"\x30\x03", r#"{"a":null,"b":"","c":null,"d":[],"e":[],"z":-2}"#, true),
        // The last one counts; messages are merged.
        (b"\x08\x01\x08\x02", r#"{"a":2,"b":"","c":null,"d":[],"e":[],"z":0}"#, false),
        (b"\x1a\x02\x08\x01\x1a\x03\x12\x01x", r#"{"a":null,"b":"","c":{"a":1,"b":"x"},"d":[],"e":[],"z":0}"#, false),
        // A field that nobody knows.
        (b"\xf8\x01\x05\x08\x01", r#"{"a":1,"b":"","c":null,"d":[],"e":[],"z":0}"#, false),
        (b"\x08\x00", r#"{"a":0,"b":"","c":null,"d":[],"e":[],"z":0}"#, true),
        (b"", r#"{"a":null,"b":"","c":null,"d":[],"e":[],"z":0}"#, true),
    ] {
        assert_eq!(read(&reader, &columns, &[bytes]), (vec![line.to_owned()], vec![]), "{bytes:x?}");
        if is_canonical {
            assert_eq!(write(&writer, &rows(&columns, &[line])), [Ok(bytes.to_vec())], "{line}");
        }
    }
    for bytes in [&b"\x08"[..], b"\x12\x05x", b"\x00\x01", b"\x0f", b"\x12\x01\xff", b"\x09\x01"] {
        assert_eq!(read(&reader, &columns, &[bytes]).1.len(), 1, "{bytes:x?}");
    }
}

#[test]
fn what_a_message_does_not_hold_is_a_fault() {
    use DataType as D;
    let columns = schema(&[
        ("r", D::Int64, true),
        ("e", D::Utf8View, true),
        ("x", D::Int64, true),
        ("y", D::Utf8View, true),
        ("l", D::List(std::sync::Arc::new(Field::new_list_field(D::Int64, true))), true),
    ]);
    let writer = ProtobufWriter::new(&message(ABSENT, "M"), columns.fields()).expect("it fits");
    assert!(writer.can_fail());
    let all = rows(
        &columns,
        &[
            r#"{"r":1,"e":"TWO","x":0,"y":null,"l":[1]}"#,
            r#"{"r":null}"#,
            r#"{"r":1,"e":"THREE"}"#,
            r#"{"r":1,"e":"3"}"#,
            r#"{"r":1,"x":1,"y":"z"}"#,
            r#"{"r":1,"l":[1,null]}"#,
        ],
    );
    let expected = [
        Ok(b"\x18\x01\x20\x02\x30\x01\x40\x00".to_vec()),
        Err("r: the field is required, found NULL".to_owned()),
        Err("e: the field is one of ONE, TWO, found 'THREE'".to_owned()),
        Ok(b"\x18\x01\x20\x03".to_vec()),
        Err("y: x has a value too, and 'o' is one of them alone".to_owned()),
        Err("l[2]: an item of a repeated field cannot be NULL".to_owned()),
    ];
    assert_eq!(write(&writer, &all), expected);
    let error =
        |columns: SchemaRef| ProtobufWriter::new(&message(ABSENT, "M"), columns.fields()).expect_err("it does not fit");
    assert_eq!(error(schema(&[("q", D::Int64, true)])), "column q: message M has no such field");
    assert_eq!(error(schema(&[("a", D::Int64, true)])), "column r: this field is required, and has no column");
    let wrong = error(schema(&[("r", D::Utf8View, true)]));
    assert_eq!(wrong, "column r: STRING cannot be written as int64");
    // Numbers of other ranges.
    let proto =
        message("syntax = \"proto3\"; message M { uint32 a = 1; uint64 b = 2; int32 c = 3; double d = 4; }", "M");
    let columns = schema(&[
        ("a", D::Int64, true),
        ("b", D::Decimal128(20, 0), true),
        ("c", D::Int64, true),
        ("d", D::Int32, true),
    ]);
    let writer = ProtobufWriter::new(&proto, columns.fields()).expect("it fits");
    let all = rows(
        &columns,
        &[
            r#"{"a":4294967295,"b":18446744073709551615,"c":-1,"d":1}"#,
            r#"{"a":-1}"#,
            r#"{"b":18446744073709551616}"#,
            r#"{"c":2147483648}"#,
        ],
    );
    let written = write(&writer, &all);
    let most = b"\x08\xff\xff\xff\xff\x0f\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x21\x00\x00\x00\x00\x00\x00\xf0\x3f";
    assert_eq!(written[0], Ok(most.to_vec()));
    assert_eq!(written[1], Err("a: the field is of type uint32, found -1".to_owned()));
    assert!(written[2].is_err() && written[3].is_err());
}

#[test]
fn values_beyond_a_column_are_faults() {
    use DataType as D;
    let proto = "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; message M { uint64 u = 1; google.protobuf.Timestamp t = 2; string p = 3; string d = 4; }";
    let columns = schema(&[
        ("u", D::Int64, true),
        ("t", D::Timestamp(TimeUnit::Nanosecond, None), true),
        ("p", D::Decimal128(5, 2), true),
        ("d", D::Date32, true),
    ]);
    let reader = ProtobufReader::new(message(proto, "M"), columns.fields(), false).expect("it fits");
    let seconds = b"\x12\x06\x08\xff\xff\xff\xff\x7f";
    let nanos = b"\x12\x06\x10\x80\x94\xeb\xdc\x03";
    let negative = b"\x12\x0b\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    let (lines, faults) = read(
        &reader,
        &columns,
        &[
            b"\x08\x07\x1a\x041.25\x22\x0a2026-01-31",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            seconds,
            nanos,
            negative,
            b"\x1a\x01x",
            b"\x22\x01x",
            b"",
        ],
    );
    // Empty texts are no decimals and no dates.
    assert_eq!(lines, [r#"{"u":7,"t":null,"p":1.25,"d":"2026-01-31"}"#]);
    assert_eq!(faults.len(), 7, "{faults:?}");
    assert_eq!(faults[0], "u: expected BIGINT, found 18446744073709551615");
    assert!(faults[1].starts_with("t: expected TIMESTAMP(9), found "));
    assert_eq!(faults[2], "t: a timestamp has 1000000000 nanoseconds");
    assert_eq!(faults[3], "t: a timestamp has -1 nanoseconds");
    assert_eq!(faults[4], "p: expected DECIMAL(5, 2), found 'x'");
}

#[test]
fn columns_give_a_definition() {
    use DataType as D;
    let inner = D::Struct(vec![Field::new("x", D::Int32, true), Field::new("Row1", D::Utf8View, true)].into());
    let entries = vec![Field::new("key", D::Int64, false), Field::new("value", inner.clone(), true)];
    let map = D::Map(std::sync::Arc::new(Field::new("entries", D::Struct(entries.into()), false)), false);
    let columns = schema(&[
        ("id", D::Int64, false),
        ("name", D::Utf8View, true),
        ("at", D::Timestamp(TimeUnit::Millisecond, None), true),
        ("row", inner.clone(), true),
        ("rows", D::List(std::sync::Arc::new(Field::new_list_field(inner, true))), true),
        ("by", map, true),
        ("price", D::Decimal128(10, 2), false),
    ]);
    let expected = "syntax = \"proto3\";
package thalweg;
import \"google/protobuf/timestamp.proto\";
message Row {
  int64 id = 1;
  optional string name = 2;
  google.protobuf.Timestamp at = 3;
  message Row4 {
    optional int32 x = 1;
    optional string Row1 = 2;
  }
  Row4 row = 4;
  message Row5 {
    optional int32 x = 1;
    optional string Row1 = 2;
  }
  repeated Row5 rows = 5;
  message Row6 {
    optional int32 x = 1;
    optional string Row1 = 2;
  }
  map<int64, Row6> by = 6;
  string price = 7;
}
";
    assert_eq!(derive(columns.fields()), Ok(expected.to_owned()));
    ProtobufWriter::new(&message(expected, "thalweg.Row"), columns.fields()).expect("it fits");
    ProtobufReader::new(message(expected, "thalweg.Row"), columns.fields(), false).expect("it fits");
    // Names that the generated ones would have.
    let odd = schema(&[("Row2", D::Int64, true), ("r", D::Struct(vec![Field::new("x", D::Int32, true)].into()), true)]);
    let text = derive(odd.fields()).expect("a definition");
    ProtobufWriter::new(&message(&text, "thalweg.Row"), odd.fields()).expect("it fits");
    let lists = D::List(std::sync::Arc::new(Field::new_list_field(
        D::List(std::sync::Arc::new(Field::new_list_field(D::Int64, true))),
        true,
    )));
    let error = derive(schema(&[("l", lists, true)]).fields()).expect_err("there is none");
    assert_eq!(error, "column l[]: ARRAYs and MAPs within one another have no type in Protobuf");
}
