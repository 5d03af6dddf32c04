//! Messages and files that other libraries wrote (`golden/formats.py`, by fastavro and Google's protobuf), and what they read of
//! ours.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::*;
use crate::{
    open_source,
    testing::{EPOCHS, identity, open_sink_committer, open_sink_writer, read_all, seal, settings, sink, source},
};

const AVSC: &str = include_str!("golden/order.avsc");
const PROTO: &str = include_str!("golden/order.proto");

/// The columns of `order.avsc`, but for those that are skipped.
fn avro_columns() -> SchemaRef {
    use DataType as D;
    let micros = D::Timestamp(TimeUnit::Microsecond, None);
    let item = row(&[("sku", D::Utf8View), ("count", D::Int32)]);
    schema(&[
        ("id", D::Int64, false),
        ("small", D::Int16, false),
        ("ok", D::Boolean, false),
        ("f", D::Float32, false),
        ("d", D::Float64, false),
        ("name", D::Utf8View, false),
        ("note", D::Utf8View, true),
        ("data", D::Binary, false),
        ("tag", D::Binary, false),
        ("status", D::Utf8View, false),
        ("price", D::Decimal128(38, 10), false),
        ("fee", D::Decimal128(10, 2), true),
        ("day", D::Date32, false),
        ("at_ms", D::Time64(TimeUnit::Nanosecond), false),
        ("at_us", D::Time64(TimeUnit::Nanosecond), false),
        ("ts_ms", D::Timestamp(TimeUnit::Millisecond, None), false),
        ("ts_us", micros.clone(), true),
        ("lts", micros, false),
        ("uuid", D::Utf8View, false),
        ("items", list(item.clone()), false),
        ("attrs", map(D::Utf8View, D::Int64), false),
        ("extra", item, true),
    ])
}

/// The columns of `order.proto`, but for those that are skipped.
fn protobuf_columns() -> SchemaRef {
    use DataType as D;
    let item = row(&[("sku", D::Utf8View), ("count", D::Int32)]);
    schema(&[
        ("id", D::Int64, false),
        ("i32", D::Int32, false),
        ("s32", D::Int32, false),
        ("s64", D::Int64, false),
        ("u32", D::Int64, false),
        ("u64", D::Decimal128(20, 0), false),
        ("f32", D::Int64, false),
        ("f64", D::Decimal128(20, 0), false),
        ("sf32", D::Int32, false),
        ("sf64", D::Int64, false),
        ("f", D::Float32, false),
        ("d", D::Float64, false),
        ("ok", D::Boolean, false),
        ("name", D::Utf8View, false),
        ("note", D::Utf8View, true),
        ("data", D::Binary, false),
        ("status", D::Utf8View, false),
        ("status_number", D::Int32, false),
        ("at", D::Timestamp(TimeUnit::Microsecond, None), true),
        ("wrapped", D::Int64, true),
        ("numbers", list(D::Int32), false),
        ("unpacked", list(D::Int64), false),
        ("items", list(item.clone()), false),
        ("attrs", map(D::Utf8View, D::Int64), false),
        ("by_number", map(D::Int32, item.clone()), false),
        ("word", D::Utf8View, true),
        ("number", D::Int32, true),
        ("extra", item, true),
        ("price", D::Decimal128(10, 2), false),
    ])
}

/// Messages that stand one behind the other, each with its length before it.
pub(super) fn unpacked(mut data: &[u8]) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        let (message, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        messages.push(Bytes::copy_from_slice(message));
        data = rest;
    }
    messages
}

fn packed(messages: &[Bytes]) -> Vec<u8> {
    let length = |message: &Bytes| u32::try_from(message.len()).expect("short").to_be_bytes();
    messages.iter().flat_map(|message| [&length(message)[..], message].concat()).collect()
}

pub(super) fn avro_messages() -> Vec<Bytes> {
    unpacked(include_bytes!("golden/avro.messages"))
}

pub(super) fn protobuf_messages() -> Vec<Bytes> {
    unpacked(include_bytes!("golden/protobuf.messages"))
}

/// Rows as JSON, with no order of members: keys of a map have none that formats would keep.
fn values<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> Vec<Value> {
    lines.into_iter().map(|line| serde_json::from_str(line.as_ref()).expect("JSON")).collect()
}

fn check(read: &[String], expected: &str, times: usize) {
    let expected: Vec<&str> = expected.lines().collect();
    let repeated: Vec<&str> = (0..times).flat_map(|_| expected.iter().copied()).collect();
    assert_eq!(values(read), values(&repeated));
    // Where no map is in the way, to the last digit: floats and decimals have their own text.
    for (read, expected) in read.iter().zip(repeated).filter(|(read, _)| read.contains("\"attrs\":{}")) {
        assert_eq!(read, expected);
    }
}

#[tokio::test]
async fn messages_of_fastavro_are_read() {
    let options: Given<'_> = &[("format", "avro"), ("avro.schema", AVSC)];
    let (lines, faults) = read(&mut *decoder(options, &avro_columns()), &avro_messages()).await;
    assert_eq!(faults, []);
    check(&lines, include_str!("golden/avro.json"), 1);
    // One field of many, at the end.
    let one = schema(&[("extra", row(&[("count", DataType::Int32)]), true)]);
    let (lines, _) = read(&mut *decoder(options, &one), &avro_messages()).await;
    assert_eq!(lines, [r#"{"extra":{"count":7}}"#, r#"{"extra":null}"#, r#"{"extra":{"count":7}}"#]);
}

#[tokio::test]
async fn files_of_fastavro_are_read() {
    let files: [(&str, &[u8]); 4] = [
        ("null", include_bytes!("golden/null.avro")),
        ("deflate", include_bytes!("golden/deflate.avro")),
        ("snappy", include_bytes!("golden/snappy.avro")),
        ("zstandard", include_bytes!("golden/zstandard.avro")),
    ];
    for (codec, bytes) in files {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("x.avro");
        fs::write(&file, bytes).expect("written");
        let path = file.to_str().expect("a path of text");
        let spec = source("filesystem", &[("path", path), ("format", "avro")], avro_columns());
        let table = open_source(&spec, &settings(2), &context()).expect("a table");
        let given = read_all(&*table).await.expect("it can be read");
        assert_eq!(given.letters, [], "{codec}");
        check(&given.lines(), include_str!("golden/avro.json"), 3);
    }
}

#[tokio::test]
async fn messages_of_protobuf_are_read() {
    let folder = tempfile::tempdir().expect("a directory");
    let files = [("order.proto", PROTO.as_bytes()), ("order.desc", include_bytes!("golden/order.desc"))];
    files.iter().for_each(|(name, bytes)| fs::write(folder.path().join(name), bytes).expect("written"));
    let path = |name: &str| folder.path().join(name).to_str().expect("a path of text").to_owned();
    let (proto, set) = (path("order.proto"), path("order.desc"));
    for (key, value) in
        [("protobuf.proto", PROTO), ("protobuf.proto-file", proto.as_str()), ("protobuf.descriptor-file", set.as_str())]
    {
        let options: Given<'_> = &[("format", "protobuf"), ("protobuf.message", "shop.Order"), (key, value)];
        let (lines, faults) = read(&mut *decoder(options, &protobuf_columns()), &protobuf_messages()).await;
        assert_eq!(faults, [], "{key}");
        check(&lines, include_str!("golden/protobuf.json"), 1);
    }
}

/// Imports are read beside the file, and only where paths are allowed.
#[tokio::test]
async fn imports_are_below_the_directory_of_the_file() {
    let folder = tempfile::tempdir().expect("a directory");
    fs::create_dir(folder.path().join("deep")).expect("created");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    write("a.proto", "syntax = \"proto3\"; import \"deep/b.proto\"; message A { deep.B b = 1; }");
    write("deep/b.proto", "syntax = \"proto3\"; package deep; message B { int64 n = 1; }");
    write("c.proto", "syntax = \"proto3\"; import \"../a.proto\"; message C { A a = 1; }");
    let columns = schema(&[("b", row(&[("n", DataType::Int64)]), true)]);
    let at = |name: &str| folder.path().join(name).to_str().expect("a path of text").to_owned();
    let open = |context: &ConnectorContext, name: &str| {
        let options = [("format", "protobuf"), ("protobuf.proto-file", &at(name))];
        try_decoder(context, Part::Value, &options, &columns)
    };
    let mut decoder = open(&context(), "a.proto").expect("a decoder");
    assert_eq!(read(&mut *decoder, &bytes(&[b"\x0a\x02\x08\x07"])).await.0, [r#"{"b":{"n":7}}"#]);
    let mut confined = context();
    confined.allowed = crate::AllowedPaths::below([at("deep").as_str()], None).expect("a prefix").of("node 1");
    let error = open(&confined, "a.proto").err().expect("it is elsewhere").to_string();
    assert!(error.contains("only those below"), "{error}");
    assert!(open(&context(), "c.proto").is_err());
}

/// A Python with fastavro and protobuf (`pip install fastavro cramjam backports.zstd protobuf`).
#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
fn python() -> Option<String> {
    std::env::var("THALWEG_PYFORMATS").ok().filter(|python| !python.is_empty())
}

fn read_by_python(python: &str, kind: &str, file: &Path) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/messages/tests/golden/formats.py");
    let output = Command::new(python).arg(script).args(["read", kind]).arg(file).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn other_libraries_read_our_messages() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a directory");
    let avro: Given<'_> = &[("format", "avro"), ("avro.schema", AVSC)];
    let protobuf: Given<'_> = &[("format", "protobuf"), ("protobuf.message", "shop.Order"), ("protobuf.proto", PROTO)];
    for (kind, options, columns, messages, expected) in [
        ("avro", avro, avro_columns(), avro_messages(), include_str!("golden/avro.json")),
        ("protobuf", protobuf, protobuf_columns(), protobuf_messages(), include_str!("golden/protobuf.json")),
    ] {
        let rows = decoder(options, &columns).decode(&messages).await.expect("decoded").rows;
        let mut encoder = encoder(options, &columns);
        assert_eq!(encoder.unfit(&rows), []);
        let written = encoder.encode(&rows).await.expect("encoded");
        let file = folder.path().join(kind);
        fs::write(&file, packed(&written)).expect("written");
        assert_eq!(values(read_by_python(&python, kind, &file)), values(expected.lines()));
    }
}

#[tokio::test]
async fn other_libraries_read_our_files() {
    let Some(python) = python() else { return };
    let avro: Given<'_> = &[("format", "avro"), ("avro.schema", AVSC)];
    let rows = decoder(avro, &avro_columns()).decode(&avro_messages()).await.expect("decoded").rows;
    for codec in ["null", "deflate", "snappy", "zstandard"] {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().to_str().expect("a path of text");
        let options = [("path", path), ("format", "avro"), ("avro.codec", codec), ("avro.schema", AVSC)];
        let (spec, context) = (sink("filesystem", &options), context());
        let mut writer = open_sink_writer(&spec, rows.schema(), identity(1, 1, 0), &context).expect("a writer");
        for _ in 0..3 {
            writer.write(&rows).await.expect("written");
        }
        let committables = seal(&mut *writer).await;
        let committer = open_sink_committer(&spec, rows.schema(), &context).expect("a committer");
        committer.commit(EPOCHS, &committables).await.expect("published");
        let files: Vec<_> = fs::read_dir(path).expect("listed").map(|entry| entry.expect("an entry").path()).collect();
        let [file] = files.as_slice() else { panic!("{files:?}") };
        let expected = include_str!("golden/avro.json");
        assert_eq!(values(read_by_python(&python, "file", file)), values(expected.repeat(3).lines()), "{codec}");
    }
}
