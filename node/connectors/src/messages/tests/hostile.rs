//! Bytes from anybody: each message is a row or a fault, whatever is in it.

use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::{
    golden::{avro_messages, protobuf_messages},
    server::Server,
    *,
};

/// A recursive schema, and all ways to nest.
const TREE: &str = r#"{"type":"record","name":"Tree","fields":[
    {"name":"a","type":["null","long"]},
    {"name":"s","type":"string"},
    {"name":"l","type":{"type":"array","items":["null","long"]}},
    {"name":"m","type":{"type":"map","values":"bytes"}},
    {"name":"none","type":{"type":"array","items":"null"}},
    {"name":"next","type":["null","Tree",{"type":"array","items":"Tree"}]}]}"#;
const PROTO: &str = "syntax = \"proto2\"; message Tree { optional int64 a = 1; optional string s = 2; repeated int64 l = 3 [packed = true];
    map<string, bytes> m = 4; optional Tree next = 5; repeated Tree all = 6; optional group G = 7 { optional int64 a = 1; } }";

fn columns() -> SchemaRef {
    use DataType as D;
    schema(&[
        ("a", D::Int32, true),
        ("s", D::Utf8View, true),
        ("l", list(D::Int64), true),
        ("m", map(D::Utf8View, D::Binary), true),
    ])
}

/// Decoders of all formats.
fn decoders() -> Vec<(&'static str, Box<dyn MessageDecoder>)> {
    let server = Arc::new(Server::default());
    server.add(json!({ "schema": TREE }));
    server.add(json!({ "schema": PROTO, "schemaType": "PROTOBUF" }));
    let context = ConnectorContext { http: server, ..context() };
    let flat = schema(&[("a", DataType::Int32, true), ("s", DataType::Utf8View, true)]);
    let number = schema(&[("a", DataType::Int32, true)]);
    let url = "http://r";
    let options: [(&str, Given<'_>, SchemaRef); 7] = [
        ("json", &[], columns()),
        ("csv", &[], flat),
        ("raw", &[], number),
        ("avro", &[("avro.schema", TREE)], columns()),
        ("avro-confluent", &[("avro-confluent.url", url)], columns()),
        ("protobuf", &[("protobuf.proto", PROTO)], columns()),
        ("protobuf-confluent", &[("protobuf-confluent.url", url)], columns()),
    ];
    let open = |(name, options, columns): (&'static str, Given<'_>, SchemaRef)| {
        let options = [&[("format", name)], options].concat();
        (name, try_decoder(&context, Part::Value, &options, &columns).expect("a decoder"))
    };
    options.into_iter().map(open).collect()
}

/// Bytes that are mostly short numbers, as lengths and tags are.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => 0u8..0x20, 2 => any::<u8>(), 1 => Just(0x80u8), 1 => Just(0xffu8)];
    let framed = (0u8..3, vec(byte.clone(), 0..60)).prop_map(|(id, rest)| [&[0, 0, 0, 0, id][..], &rest].concat());
    prop_oneof![vec(byte, 0..60), framed, "[\\[\\]{}\":,a-z0-9\\\\ \n]{0,60}".prop_map(String::into_bytes)]
}

fn check(messages: Vec<Vec<u8>>) -> Result<(), TestCaseError> {
    let messages: Vec<Bytes> = messages.into_iter().map(Bytes::from).collect();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        for (name, mut decoder) in decoders() {
            let decoded = decoder.decode(&messages).await.expect("bytes are no reason to end");
            prop_assert_eq!(decoded.rows.num_rows() + decoded.faults.len(), messages.len(), "{}", name);
            let order: Vec<usize> = decoded.faults.iter().map(|fault| fault.message).collect();
            prop_assert!(order.is_sorted_by(|a, b| a < b), "{name}: {order:?}");
            prop_assert!(decoded.faults.iter().all(|fault| fault.reason.len() < 1000), "{}", name);
            // What was read can be written.
            to_lines(&decoded.rows);
        }
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn bytes_of_any_kind_are_rows_or_faults(messages in vec(message(), 0..8)) {
        check(messages)?;
    }

    #[test]
    fn broken_messages_are_rows_or_faults(
        index in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let golden: Vec<Bytes> = avro_messages().into_iter().chain(protobuf_messages()).collect();
        let mut message = golden[index.index(golden.len())].to_vec();
        for (at, byte) in changes {
            let at = at.index(message.len().max(1));
            if let Some(old) = message.get_mut(at) {
                *old = byte;
            }
        }
        let cut_message = message[..cut.index(message.len() + 1)].to_vec();
        check(vec![message, cut_message])?;
    }
}

async fn faults_of(name: &str, message: Vec<u8>) -> Vec<String> {
    let (_, mut decoder) = decoders().into_iter().find(|(known, _)| *known == name).expect("such a decoder");
    let decoded = decoder.decode(&[message.into()]).await.expect("decoded");
    assert_eq!(decoded.rows.num_rows() + decoded.faults.len(), 1);
    decoded.faults.into_iter().map(|fault| fault.reason).collect()
}

#[tokio::test]
async fn deep_nesting_is_a_fault() {
    // a, s, l, m and none are empty, and next is a tree, a hundred thousand times.
    let level = b"\x00\x00\x00\x00\x00\x02";
    let deep = |levels: usize| [level.repeat(levels), b"\x00\x00\x00\x00\x00\x00".to_vec()].concat();
    assert_eq!(faults_of("avro", deep(20)).await, Vec::<String>::new());
    assert_eq!(faults_of("avro", deep(100_000)).await, ["nested deeper than 100 levels"]);
    let lists = [b"\x00\x00\x00\x00\x00\x04\x02".repeat(100_000), vec![0; 1000]].concat();
    assert_eq!(faults_of("avro", lists).await, ["nested deeper than 100 levels"]);
    let nested = |levels: usize| {
        (0..levels).fold(vec![0x08, 0x01], |inner, _| {
            let mut outer = vec![0x2a];
            write(inner.len() as u64, &mut outer);
            [outer, inner].concat()
        })
    };
    assert_eq!(faults_of("protobuf", nested(50)).await, Vec::<String>::new());
    assert!(faults_of("protobuf", nested(3000)).await[0].contains("recursion limit"));
    let groups = [vec![0x3b; 100_000], vec![0x3c; 100_000]].concat();
    assert!(faults_of("protobuf", groups).await[0].contains("recursion limit"));
    let unknown = vec![0x7b; 100_000];
    assert!(faults_of("protobuf", unknown).await[0].contains("recursion limit"));
    let json = |open: &str| faults_of("json", format!("{{\"x\":{}", open.repeat(100_000)).into_bytes());
    for open in ["[", "{\"x\":"] {
        assert_eq!(json(open).await, ["nested deeper than 127 levels"]);
    }
}

/// A protobuf varint.
fn write(mut bits: u64, into: &mut Vec<u8>) {
    while bits >= 0x80 {
        into.push((bits & 0x7f) as u8 | 0x80);
        bits >>= 7;
    }
    into.push(bits as u8);
}

/// Lengths and counts that nothing follows take no memory.
#[tokio::test]
async fn lengths_are_held_against_the_bytes_that_are_there() {
    let huge = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    for (message, expected) in [
        ([&b"\x00"[..], huge].concat(), "s: it ends too early"),
        ([&b"\x00\x00"[..], huge].concat(), "l: it ends too early"),
        ([&b"\x00\x00\x00"[..], huge].concat(), "m: it ends too early"),
        ([&b"\x00\x00\x00\x00"[..], huge].concat(), "it has more than 100000 items without bytes"),
        (
            [&b"\x00\x00\x00\x00"[..], &b"\xc0\x9a\x0c".repeat(10)].concat(),
            "it has more than 100000 items without bytes",
        ),
        ([&b"\x00\x00\x00\x00\x01"[..], huge].concat(), "it ends too early"),
        ([&b"\x00\x01"[..]].concat(), "s: a length is negative"),
        ([&b"\x00\x00"[..], &b"\xff".repeat(11)].concat(), "l: a number has more than 64 bits"),
        ([&b"\x02\x80\x80\x80\x80\x20"[..]].concat(), "a: expected INT, found 4294967296"),
        (vec![6], "a: it is alternative 3 of 2"),
    ] {
        assert_eq!(faults_of("avro", message).await, [expected]);
    }
    assert_eq!(faults_of("protobuf", [&b"\x12"[..], &b"\xff".repeat(9)].concat()).await.len(), 1);
    // Schemas can be as hostile: few names for very many fields.
    let level = |index: usize| {
        let fields = ["p", "q"].map(|name| format!(r#"{{"name":"{name}","type":"R{}"}}"#, index + 1)).join(",");
        format!(r#"{{"type":"record","name":"R{index}","fields":[{fields}]}}"#)
    };
    let last = r#"{"type":"record","name":"R40","fields":[]}"#.to_owned();
    let all: Vec<String> = std::iter::once(last).chain((0..40).rev().map(level)).collect();
    let record = r#"{"type":"record","name":"Z","fields":[{"name":"r","type":"R0"},{"name":"a","type":"long"}]}"#;
    let server = Arc::new(Server::default());
    let references: Vec<_> =
        (0..all.len()).map(|at| json!({ "name": "x", "subject": format!("s{at}"), "version": 1 })).collect();
    // Each refers to the one before it, which it uses.
    for (at, text) in all.iter().enumerate() {
        let uses = if at == 0 { &references[..0] } else { &references[at - 1..at] };
        server.refer(&format!("s{at}"), 1, json!({ "schema": text, "references": uses }));
    }
    let id = server.add(json!({ "schema": record, "references": [references[40].clone()] }));
    let context = ConnectorContext { http: server, ..context() };
    let columns = schema(&[("a", DataType::Int64, true)]);
    let options: Given<'_> = &[("format", "avro-confluent"), ("avro-confluent.url", "http://r")];
    let mut decoder = try_decoder(&context, Part::Value, options, &columns).expect("a decoder");
    let message = [&[0][..], &id.to_be_bytes(), b"\x0e"].concat();
    assert_eq!(read(&mut *decoder, &[message.into()]).await, (vec![r#"{"a":7}"#.to_owned()], vec![]));
}

/// What is nested in a definition has a bound too.
#[test]
fn definitions_are_not_nested_for_ever() {
    let columns = schema(&[("a", DataType::Int64, true)]);
    let refused = |text: &str| {
        let options = [("format", "protobuf"), ("protobuf.proto", text)];
        try_decoder(&context(), Part::Value, &options, &columns).err().map(|error| error.to_string())
    };
    let brackets = format!("syntax = \"proto3\"; message A {{ {} }}", "option (x) = {".repeat(10_000));
    assert!(refused(&brackets).is_some_and(|error| error.contains("nested deeper than 100 levels")));
    let messages = format!("syntax = \"proto3\"; {}", "message A { ".repeat(90));
    assert!(refused(&messages).is_some());
    let array = format!("{}\"long\"{}", r#"{"type":"array","items":"#.repeat(10_000), "}".repeat(10_000));
    let options = [("format", "avro"), ("avro.schema", array.as_str())];
    let error = try_decoder(&context(), Part::Value, &options, &columns).err().map(|error| error.to_string());
    assert!(error.is_some_and(|error| error.contains("recursion limit")));
}
