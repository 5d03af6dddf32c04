//! Datums against those of `apache-avro`, and schemas that are seldom seen.
#![allow(deprecated, reason = "the newer functions for one datum want a reader and a writer")]

use std::sync::Arc;

use apache_avro::{Schema, from_avro_datum, to_avro_datum};
use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Fields, SchemaRef, TimeUnit},
};
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

use super::encode::AvroWriter;
use super::{container, *};
use crate::{
    json::JsonDecoder,
    lines::LineDecoder as _,
    testing::{schema, to_lines},
    typed::{Rows, WriteRow as _, cells_of},
};

fn columns() -> SchemaRef {
    use DataType as D;
    let nested: Fields = vec![Field::new("x", D::Int32, true), Field::new("y", D::Utf8View, true)].into();
    let entries: Fields = vec![Field::new("key", D::Utf8View, false), Field::new("value", D::Int64, true)].into();
    let entries = Arc::new(Field::new("entries", D::Struct(entries), false));
    schema(&[
        ("l", D::Int64, false),
        ("i", D::Int32, true),
        ("f", D::Float32, true),
        ("d", D::Float64, true),
        ("b", D::Boolean, true),
        ("s", D::Utf8View, true),
        ("y", D::Binary, true),
        ("p", D::Decimal128(20, 4), true),
        ("t", D::Timestamp(TimeUnit::Microsecond, None), true),
        ("z", D::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
        ("r", D::Struct(nested.clone()), true),
        ("a", D::List(Arc::new(Field::new_list_field(D::Struct(nested), true))), true),
        ("m", D::Map(entries, false), true),
    ])
}

fn batch(lines: &[Value]) -> RecordBatch {
    let mut decoder = JsonDecoder::new(columns()).expect("types that JSON has");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let mut faults = Vec::new();
    decoder.decode(text.as_bytes(), 0, usize::MAX, &mut faults);
    assert_eq!(faults, []);
    decoder.finish().expect("a batch")
}

fn written(writer: &AvroWriter, rows: &RecordBatch) -> Vec<Vec<u8>> {
    let cells = cells_of(rows).expect("it can be read");
    let write = |row| {
        let mut datum = Vec::new();
        writer.write(&cells, row, &mut datum).expect("it fits");
        datum
    };
    (0..rows.num_rows()).map(write).collect()
}

fn read(reader: &AvroReader, columns: &SchemaRef, datums: &[Vec<u8>]) -> RecordBatch {
    let mut rows = Rows::new(columns).expect("it can be built");
    for datum in datums {
        let mut datum = Datum::new(datum);
        rows.read(|root, row| reader.read(&mut datum, root, row)).expect("it fits");
        assert_eq!(datum.left(), 0);
    }
    rows.finish().expect("a batch")
}

fn line() -> impl Strategy<Value = Value> {
    let nested = || (option::of(any::<i32>()), option::of(".{0,8}")).prop_map(|(x, y)| json!({ "x": x, "y": y }));
    let float = any::<f64>().prop_filter("finite", |value| value.is_finite());
    let scalars =
        (any::<i64>(), option::of(any::<i32>()), option::of(float), option::of(any::<bool>()), option::of(".{0,12}"));
    let times = (option::of(-10i64.pow(14)..10i64.pow(14)), option::of(vec(any::<u8>(), 0..9)));
    // One entry at most: the library keeps them in no order.
    let parts =
        (option::of(nested()), option::of(vec(option::of(nested()), 0..4)), option::of((".{0,4}", any::<i64>())));
    (scalars, times, parts).prop_map(|((l, i, d, b, s), (p, y), (r, a, m))| {
        let y = y.map(|bytes| {
            let mut text = Vec::new();
            crate::json::text::write_base64(&bytes, &mut text);
            String::from_utf8(text).expect("base64 is ASCII")
        });
        let m = m.map(|(key, value)| json!({ key: value }));
        json!({ "l": l, "i": i, "f": 0.5, "d": d, "b": b, "s": s, "y": y, "p": p.map(|p| format!("{p}e-4")),
            "t": "2026-01-01 00:00:00.000001", "z": i.map(|_| "1969-12-31 23:59:59.999"), "r": r, "a": a, "m": m })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The library understands our datums, and writes the same bytes of what it understood.
    #[test]
    fn our_datums_are_those_of_the_library(lines in vec(line(), 1..5)) {
        let rows = batch(&lines);
        let text = derive::derive(columns().fields()).expect("all columns have fields");
        let own = Arc::new(AvroSchema::parse(&text, &[]).expect("a schema"));
        let library = Schema::parse_str(&text).expect("a schema");
        let writer = AvroWriter::new(&own, columns().fields()).expect("it fits");
        prop_assert!(!writer.can_fail());
        let datums = written(&writer, &rows);
        for datum in &datums {
            let value = from_avro_datum(&library, &mut datum.as_slice(), None).expect("the library reads it");
            prop_assert_eq!(&to_avro_datum(&library, value).expect("the library writes it"), datum);
        }
        let reader = AvroReader::new(own, columns().fields()).expect("it fits");
        prop_assert_eq!(to_lines(&read(&reader, &columns(), &datums)), to_lines(&rows));
    }

    #[test]
    fn longs_come_back(value: i64, spare in vec(any::<u8>(), 0..3)) {
        let mut bytes = Vec::new();
        write_long(value, &mut bytes);
        let length = bytes.len();
        bytes.extend(spare);
        let mut datum = Datum::new(&bytes);
        prop_assert_eq!(datum.long().expect("a number"), value);
        prop_assert_eq!(datum.position(), length);
    }

    #[test]
    fn heads_and_blocks_of_any_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Head::parse(&[&b"Obj\x01"[..], &bytes].concat());
        let _ = BlockHead::parse(&bytes);
        for codec in ["null", "deflate", "snappy", "zstandard"] {
            let codec = container::Codec::named(codec).expect("a codec");
            let _ = decompress(codec, bytes.clone());
        }
    }
}

#[test]
fn schemas_of_any_text_are_understood_or_refused() {
    for (text, is_fine) in [
        ("\"long\"", true),
        ("long", true),
        (" {\"type\": \"long\"} ", true),
        ("[\"null\",\"long\"]", true),
        ("[]", true),
        ("", false),
        ("{}", false),
        ("[[\"null\"]]", false),
        ("\"Unknown\"", false),
        ("{\"type\":\"record\",\"name\":\"a\"}", false),
        ("{\"type\":\"record\",\"name\":\"a\",\"fields\":[]}", true),
        ("{\"type\":\"record\",\"name\":\"a\",\"fields\":[{\"name\":\"x\",\"type\":\"a\"}]}", true),
        ("{\"type\":\"fixed\",\"name\":\"a\",\"size\":-1}", false),
        ("{\"type\":\"enum\",\"name\":\"a\",\"symbols\":[\"A\",\"A\"]}", false),
        // Defaults are for readers; some that others take the parser would refuse.
        (
            "{\"type\":\"record\",\"name\":\"a\",\"fields\":[{\"name\":\"x\",\"type\":{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":4,\"scale\":2},\"default\":\"\\u0000\"}]}",
            true,
        ),
        (
            "{\"type\":\"record\",\"name\":\"a\",\"fields\":[{\"name\":\"x\",\"type\":\"long\",\"default\":\"none\"}]}",
            true,
        ),
        ("{\"type\":\"long\",\"logicalType\":\"from-elsewhere\"}", true),
        ("{\"type\":{\"type\":\"record\",\"name\":\"b\",\"fields\":[]},\"name\":\"c\"}", true),
    ] {
        let parsed = AvroSchema::parse(text, &[]);
        assert_eq!(parsed.is_ok(), is_fine, "{text}: {parsed:?}");
    }
}

/// A record without end: it takes no bytes, so it is skipped at once, and cannot be read.
#[test]
fn a_record_within_itself_is_no_endless_one() {
    let endless = r#"{"type":"record","name":"a","fields":[{"name":"x","type":"a"},{"name":"y","type":"a"}]}"#;
    let outer = format!(
        r#"{{"type":"record","name":"o","fields":[{{"name":"e","type":{endless}}},{{"name":"n","type":"int"}}]}}"#
    );
    let own = Arc::new(AvroSchema::parse(&outer, &[]).expect("a schema"));
    let columns = schema(&[("n", DataType::Int32, false)]);
    let reader = AvroReader::new(own, columns.fields()).expect("it fits");
    assert_eq!(to_lines(&read(&reader, &columns, &[b"\x0e".to_vec()])), [r#"{"n":7}"#]);
    // With bytes there is an end to them.
    let deep = endless.replace(r#"{"name":"y","type":"a"}"#, r#"{"name":"y","type":"int"}"#);
    let outer = outer.replace(endless, &deep);
    let own = Arc::new(AvroSchema::parse(&outer, &[]).expect("a schema"));
    let reader = AvroReader::new(own, columns.fields()).expect("it fits");
    let mut rows = Rows::new(&columns).expect("it can be built");
    let bytes = vec![0; 1000];
    let fault = rows.read(|root, row| reader.read(&mut Datum::new(&bytes), root, row)).expect_err("it has no end");
    assert_eq!(fault.to_string(), "nested deeper than 100 levels");
}

#[test]
fn uuids_are_text_or_bytes() {
    let bytes: Vec<u8> = (0..16).collect();
    let fixed = r#"{"type":"record","name":"o","fields":[{"name":"u","type":{"type":"fixed","name":"f","size":16,"logicalType":"uuid"}}]}"#;
    let own = Arc::new(AvroSchema::parse(fixed, &[]).expect("a schema"));
    for (data_type, line) in [
        (DataType::Utf8View, r#"{"u":"00010203-0405-0607-0809-0a0b0c0d0e0f"}"#),
        (DataType::Binary, r#"{"u":"AAECAwQFBgcICQoLDA0ODw=="}"#),
    ] {
        let columns = schema(&[("u", data_type, false)]);
        let reader = AvroReader::new(own.clone(), columns.fields()).expect("it fits");
        let rows = read(&reader, &columns, std::slice::from_ref(&bytes));
        assert_eq!(to_lines(&rows), [line]);
        let writer = AvroWriter::new(&own, columns.fields()).expect("it fits");
        assert!(writer.can_fail());
        assert_eq!(written(&writer, &rows), std::slice::from_ref(&bytes));
    }
}
