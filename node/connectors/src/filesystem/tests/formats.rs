//! A source reads the same rows that a sink wrote, for all formats, locally and in an object store.

use proptest::prelude::*;
use std::ops::Range;

use arrow::array::{
    Array as _, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringViewArray, StructArray,
    Time64NanosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};

use super::*;
use arrow::datatypes::Int64Type;
use thalweg_types::graph::{ColumnPredicate, Comparison, PredicateValue};

fn scalars() -> SchemaRef {
    schema(&[
        ("l", DataType::Int64, true),
        ("i", DataType::Int32, false),
        ("f", DataType::Float64, true),
        ("d", DataType::Decimal128(20, 4), true),
        ("b", DataType::Boolean, true),
        ("t", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        ("s", DataType::Utf8View, true),
    ])
}

#[derive(Debug, Clone)]
struct Row {
    l: Option<i64>,
    i: i32,
    f: Option<f64>,
    d: Option<i64>,
    b: Option<bool>,
    t: Option<i64>,
    s: Option<String>,
}

fn row() -> impl Strategy<Value = Row> {
    let text = prop_oneof!["[a-z,\"\n\r\\\\ ä😀]{0,8}", ".{0,30}", Just("NULL".to_owned())];
    let float = prop_oneof![any::<f64>().prop_filter("finite", |f| f.is_finite()), Just(f64::INFINITY)];
    let time = -62_135_596_800_000_000i64..253_402_300_800_000_000;
    (
        any::<Option<i64>>(),
        any::<i32>(),
        prop::option::of(float),
        any::<Option<i64>>(),
        any::<Option<bool>>(),
        prop::option::of(time),
        prop::option::of(text),
    )
        .prop_map(|(l, i, f, d, b, t, s)| Row { l, i, f, d, b, t, s })
}

fn batch(rows: &[Row]) -> RecordBatch {
    let decimals = Decimal128Array::from_iter(rows.iter().map(|row| row.d.map(i128::from)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.l))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.i))),
        Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.f))),
        Arc::new(decimals.with_precision_and_scale(20, 4).expect("fits")),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|row| row.b))),
        Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(|row| row.t))),
        Arc::new(StringViewArray::from_iter(rows.iter().map(|row| row.s.as_deref()))),
    ];
    RecordBatch::try_new(scalars(), columns).expect("columns of the schema")
}

pub(super) async fn write(
    context: &ConnectorContext,
    path: &str,
    format: &str,
    options: &[(&str, &str)],
    batches: &[RecordBatch],
) {
    let options: Vec<_> = [("path", path), ("format", format)].into_iter().chain(options.iter().copied()).collect();
    let spec = sink("filesystem", &options);
    let columns = batches[0].schema();
    let mut writer = open_sink_writer(&spec, columns.clone(), identity(1, 1, 0), context).expect("a writer");
    for batch in batches {
        writer.write(batch).await.expect("written");
    }
    let committables = seal(&mut *writer).await;
    let committer = open_sink_committer(&spec, columns, context).expect("a committer");
    committer.commit(EPOCHS, &committables).await.expect("published");
}

const FORMATS: [(&str, &[(&str, &str)]); 12] = [
    ("json", &[]),
    ("json", &[("json.timestamp-format", "iso-8601")]),
    ("csv", &[("csv.multi-line", "true"), ("csv.header", "true")]),
    ("csv", &[("csv.multi-line", "true"), ("csv.null-literal", "NULL"), ("csv.field-delimiter", "|")]),
    ("parquet", &[]),
    ("parquet", &[("parquet.compression", "zstd")]),
    ("parquet", &[("parquet.compression", "gzip")]),
    ("parquet", &[("parquet.compression", "brotli")]),
    ("avro", &[]),
    ("avro", &[("avro.codec", "null")]),
    ("avro", &[("avro.codec", "deflate")]),
    ("avro", &[("avro.codec", "zstandard")]),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn sinks_round_trip(rows in prop::collection::vec(row(), 1..20), cut in any::<prop::sample::Index>(), format in 0..FORMATS.len()) {
        let (format, options) = FORMATS[format];
        let whole = batch(&rows);
        let cut = cut.index(rows.len());
        let batches = [whole.slice(0, cut), whole.slice(cut, rows.len() - cut)];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let (folder, context) = (folder(), context());
            write(&context, &path(&folder), format, options, &batches).await;
            let options: Vec<_> = options.iter().copied().chain([("source.split-size", "50 b")]).collect();
            let source = table(&context, &path(&folder), format, &options, scalars()).expect("a table");
            let given = read_all(&*source).await.expect("readable");
            prop_assert_eq!(to_lines(&given.batch()), to_lines(&whole));
            prop_assert_eq!(&given.batch(), &whole);
            Ok(())
        })?;
    }
}

/// Columns of all flat types, with the edge values of each, and a NULL at the end.
fn edges() -> Vec<ArrayRef> {
    const DAY: i64 = 86_400;
    // From the first day of year 1 to the last second of 9999, before, at and after 1970.
    let seconds = || [-719_162 * DAY, -1, 0, 1, 2_932_897 * DAY - 1].into_iter();
    let scaled = |unit: i64| seconds().flat_map(move |second| [second * unit, second * unit + unit - 1]);
    let some = |times: Vec<i64>| times.into_iter().map(Some).chain([None]);
    let decimals = |values: Vec<i128>, precision, scale| {
        let values = Decimal128Array::from_iter(values.into_iter().map(Some).chain([None]));
        Arc::new(values.with_precision_and_scale(precision, scale).expect("they fit")) as ArrayRef
    };
    let nines = 10i128.pow(38) - 1;
    let nanos = vec![i64::MIN, -1_000_000_001, -999_999_999, -1, 0, 1, i64::MAX];
    let texts = [
        "",
        " ",
        "NULL",
        "null",
        "\\N",
        "\"",
        "\"\"",
        ",",
        "a,b",
        " a ",
        "\t",
        "'",
        "\\",
        "é",
        "日本",
        "😀",
        "\u{feff}x",
        "#",
        "true",
        "1",
    ];
    let doubles =
        vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, 5e-324, f64::MIN, f64::MAX, 0.1, 1e21, 123_456.789];
    let floats = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-45, f32::MIN, f32::MAX, 0.1, 16_777_217.0];
    vec![
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        Arc::new(Int8Array::from(vec![Some(i8::MIN), Some(i8::MAX), None])),
        Arc::new(Int16Array::from(vec![Some(i16::MIN), Some(i16::MAX), None])),
        Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), None])),
        Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None])),
        Arc::new(Float32Array::from_iter(floats.into_iter().map(Some).chain([None]))),
        Arc::new(Float64Array::from_iter(doubles.into_iter().map(Some).chain([None]))),
        decimals(vec![-nines, nines, 0, 1, -1], 38, 0),
        decimals(vec![-nines, nines, 0, 1, -1], 38, 38),
        decimals(vec![-99_999, 99_999, 0, 10, -1], 5, 2),
        Arc::new(Date32Array::from(vec![Some(-719_162), Some(-1), Some(0), Some(2_932_896), None])),
        Arc::new(Time64NanosecondArray::from(vec![Some(0), Some(1), Some(86_399_999_999_999), None])),
        Arc::new(TimestampSecondArray::from_iter(some(seconds().collect()))),
        Arc::new(TimestampMillisecondArray::from_iter(some(scaled(1_000).collect()))),
        Arc::new(TimestampMicrosecondArray::from_iter(some(scaled(1_000_000).collect()))),
        Arc::new(TimestampMicrosecondArray::from_iter(some(scaled(1_000_000).collect())).with_timezone("UTC")),
        Arc::new(TimestampNanosecondArray::from_iter(some(nanos.clone()))),
        Arc::new(TimestampNanosecondArray::from_iter(some(nanos)).with_timezone("UTC")),
        Arc::new(StringViewArray::from_iter(texts.into_iter().map(Some).chain([None]))),
        Arc::new(BinaryArray::from_iter([Some(&b""[..]), Some(b"\0"), Some(b"\xff\xfe"), Some(b"abc"), None])),
    ]
}

/// A column in a ROW, an ARRAY and a MAP, beside NULL and empty ones.
pub(super) fn nested_columns(column: &ArrayRef) -> [ArrayRef; 3] {
    let field = |name: &str, of: &ArrayRef| arrow::datatypes::Field::new(name, of.data_type().clone(), true);
    let count = column.len();
    let is_there = NullBuffer::from_iter((0..count).map(|row| row != 1));
    let row = StructArray::new(vec![field("v", column)].into(), vec![column.clone()], Some(is_there));
    let item = Arc::new(arrow::datatypes::Field::new_list_field(column.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([count, 0, 0]);
    let is_there = NullBuffer::from(vec![true, true, false]);
    let list = ListArray::new(item, offsets.clone(), column.clone(), Some(is_there.clone()));
    let keys: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..count).map(|at| format!("k\"{at}"))));
    let key = arrow::datatypes::Field::new("key", DataType::Utf8View, false);
    let fields: arrow::datatypes::Fields = vec![key, field("value", column)].into();
    let entries = StructArray::new(fields.clone(), vec![keys, column.clone()], None);
    let entry = Arc::new(arrow::datatypes::Field::new("entries", DataType::Struct(fields), false));
    let map = MapArray::new(entry, offsets, entries, Some(is_there), false);
    [Arc::new(row), Arc::new(list), Arc::new(map)]
}

#[tokio::test]
async fn values_at_the_edges_of_every_type_read_back_as_they_were_written() {
    for (format, options) in FORMATS {
        let mut columns = edges();
        // Avro's times of day have microseconds.
        columns.retain(|column| format != "avro" || !matches!(column.data_type(), DataType::Time64(_)));
        if format != "csv" {
            let nested: Vec<ArrayRef> = columns.iter().flat_map(nested_columns).collect();
            columns.extend(nested);
        }
        for column in columns {
            let (folder, context) = (folder(), context());
            let columns = schema(&[("c", column.data_type().clone(), true)]);
            let batch = RecordBatch::try_new(columns.clone(), vec![column]).expect("one column");
            write(&context, &path(&folder), format, options, std::slice::from_ref(&batch)).await;
            let source = table(&context, &path(&folder), format, options, columns).expect("a table");
            let given = read_all(&*source).await.unwrap_or_else(|error| panic!("{format}: {error}"));
            assert_eq!(to_lines(&given.batch()), to_lines(&batch), "{format} {options:?}");
            assert_eq!(given.batch(), batch, "{format} {options:?}");
        }
    }
}

#[tokio::test]
async fn values_at_the_edges_of_every_type_outlast_the_merging_of_their_parts() {
    for (format, options) in FORMATS {
        let mut columns = edges();
        columns.retain(|column| format != "avro" || !matches!(column.data_type(), DataType::Time64(_)));
        if format != "csv" {
            let nested: Vec<ArrayRef> = columns.iter().flat_map(nested_columns).collect();
            columns.extend(nested);
        }
        // The columns differ in length.
        let rows = columns.iter().map(|column| column.len()).min().expect("there are some");
        let columns: Vec<ArrayRef> = columns.iter().map(|column| column.slice(column.len() - rows, rows)).collect();
        let names: Vec<String> = (0..columns.len()).map(|at| format!("c{at}")).collect();
        let named: Vec<(&str, DataType, bool)> = names
            .iter()
            .zip(&columns)
            .map(|(name, column)| (name.as_str(), column.data_type().clone(), true))
            .collect();
        let batch = RecordBatch::try_new(schema(&named), columns).expect("columns of one length");
        let (folder, context) = (folder(), context());
        let path = path(&folder);
        let own = [("path", path.as_str()), ("format", format), ("auto-compaction", "true")];
        let spec = sink("filesystem", &own.into_iter().chain(options.iter().copied()).collect::<Vec<_>>());
        let mut writer = open_sink_writer(&spec, batch.schema(), identity(1, 1, 0), &context).expect("a writer");
        let mut committables = Vec::new();
        for _ in 0..2 {
            writer.write(&batch).await.expect("written");
            committables.extend(seal(&mut *writer).await);
        }
        let committer = open_sink_committer(&spec, batch.schema(), &context).expect("a committer");
        committer.commit(EPOCHS, &committables).await.expect("published");
        assert_eq!(fs::read_dir(&path).expect("a directory").count(), 1, "{format} {options:?}");
        let source = table(&context, &path, format, options, batch.schema()).expect("a table");
        let given = read_all(&*source).await.unwrap_or_else(|error| panic!("{format}: {error}"));
        let twice = arrow::compute::concat_batches(&batch.schema(), [&batch, &batch]).expect("of one schema");
        assert_eq!(given.batch(), twice, "{format} {options:?}");
    }
}

/// Each part is complete in itself, with its own header.
#[tokio::test]
async fn parts_that_are_large_enough_are_followed_by_others() {
    for (format, options) in
        [("json", [].as_slice()), ("csv", &[("csv.header", "true")]), ("parquet", &[]), ("avro", &[])]
    {
        let (folder, context) = (folder(), context());
        let given = path(&folder);
        let small = ("sink.rolling-policy.file-size", "1 b");
        let named = [("path", &*given), ("format", format), small];
        let spec = sink("filesystem", &named.iter().chain(options).copied().collect::<Vec<_>>());
        let mut writer = open_sink_writer(&spec, numbers(), identity(1, 1, 0), &context).expect("a writer");
        let mut committables = Vec::new();
        for checkpoint in 0..2i64 {
            for batch in 0..3i64 {
                let first = (3 * checkpoint + batch) * 200_000;
                let column: Int64Array = (first..first + 200_000).collect();
                let batch = RecordBatch::try_new(numbers(), vec![Arc::new(column)]).expect("one column");
                writer.write(&batch).await.expect("written");
            }
            committables.push(seal(&mut *writer).await);
        }
        assert_eq!(committables.iter().map(Vec::len).collect::<Vec<_>>(), [3; 2], "{format}");
        let committer = open_sink_committer(&spec, numbers(), &context).expect("opened");
        committer.commit(EPOCHS, &committables.concat()).await.expect("published");
        let source = table(&context, &given, format, options, numbers()).expect("a table");
        let batch = read_all(&*source).await.expect("readable").batch();
        let mut read = batch.column(0).as_primitive::<Int64Type>().values().to_vec();
        read.sort_unstable();
        assert_eq!(read, (0..1_200_000).collect::<Vec<i64>>(), "{format}");
    }
}

#[tokio::test]
async fn iso_timestamps_are_written_on_request() {
    let (folder, context) = (folder(), context());
    let row = Row { l: None, i: 1, f: None, d: None, b: None, t: Some(1_500), s: None };
    write(&context, &path(&folder), "json", &[("json.timestamp-format", "iso-8601")], &[batch(&[row])]).await;
    let text = fs::read_to_string(folder.path().join("part-c1-1-1-0000000000000007-0-0.json")).expect("published");
    assert_eq!(
        text,
        "{\"l\":null,\"i\":1,\"f\":null,\"d\":null,\"b\":null,\"t\":\"1970-01-01T00:00:00.001500Z\",\"s\":null}\n"
    );
}

/// Four row groups of ten numbers each, in a file `name`.
pub(super) fn parquet_bytes(columns: SchemaRef, make: impl Fn(Range<i64>) -> RecordBatch) -> Vec<u8> {
    let mut writer = ::parquet::arrow::ArrowWriter::try_new(Vec::new(), columns, None).expect("a writer");
    for group in 0..4 {
        writer.write(&make(group * 10..group * 10 + 10)).expect("written");
        writer.flush().expect("a row group");
    }
    writer.into_inner().expect("a file")
}

fn nested() -> SchemaRef {
    let inner = vec![
        arrow::datatypes::Field::new("x", DataType::Int64, true),
        arrow::datatypes::Field::new("y", DataType::Utf8, true),
    ];
    schema(&[("o", DataType::Struct(inner.into()), true), ("a", DataType::Int64, true)])
}

fn nested_batch(numbers: Range<i64>) -> RecordBatch {
    use crate::lines::LineDecoder as _;
    let lines: String = numbers
        .map(|n| match n % 5 {
            0 => format!("{{\"a\":{n}}}\n"),
            _ => format!("{{\"a\":{n},\"o\":{{\"x\":{n},\"y\":\"t{n}\"}}}}\n"),
        })
        .collect();
    let mut decoder = crate::json::JsonDecoder::new(nested()).expect("a readable schema");
    decoder.decode(lines.as_bytes(), 0, 1000, &mut Vec::new());
    decoder.finish().expect("a batch")
}

#[tokio::test]
async fn parquet_is_cut_by_row_groups_and_reads_only_what_is_asked_for() {
    let (folder, context) = (folder(), context());
    fs::write(folder.path().join("f.parquet"), parquet_bytes(nested(), nested_batch)).expect("written");
    let inner = vec![arrow::datatypes::Field::new("y", DataType::Utf8View, true)];
    let wanted = schema(&[("o", DataType::Struct(inner.into()), true), ("missing", DataType::Int64, true)]);
    let source = table(&context, &path(&folder), "parquet", &[("source.split-size", "1 b")], wanted).expect("a table");
    assert_eq!(source.discover().await.expect("listed").len(), 4);
    for given in [read_all(&*source).await.expect("readable"), read_all_resuming(&*source).await.expect("readable")] {
        let lines = given.lines();
        assert_eq!(lines.len(), 40);
        assert_eq!(lines[0], r#"{"o":null,"missing":null}"#);
        assert_eq!(lines[39], r#"{"o":{"y":"t39"},"missing":null}"#);
    }
    let none = table(&context, &path(&folder), "parquet", &[], schema(&[])).expect("a table");
    assert_eq!(read_all(&*none).await.expect("readable").rows(), 40);
    let required = schema(&[("missing", DataType::Int64, false)]);
    let required = table(&context, &path(&folder), "parquet", &[], required).expect("a table");
    assert!(error_of(&*required).await.contains("column missing: is NOT NULL and missing"));
}

#[tokio::test]
async fn row_groups_that_statistics_rule_out_are_not_read() {
    let (folder, context) = (folder(), context());
    fs::write(folder.path().join("f.parquet"), parquet_bytes(nested(), nested_batch)).expect("written");
    let rows = async |name: &[&str], comparison, value: i64| {
        let options = [("path", &*path(&folder)), ("format", "parquet")];
        let mut spec = source("filesystem", &options, numbers());
        let column = name.iter().map(|name| (*name).to_owned()).collect();
        let value = Some(PredicateValue::Integer(value));
        spec.predicates.push(ColumnPredicate { path: column, comparison, value });
        let source = open_source(&spec, &settings(100), &context).expect("a table");
        read_all(&*source).await.expect("readable").rows()
    };
    assert_eq!(rows(&["a"], Comparison::Equal, 15).await, 10);
    assert_eq!(rows(&["a"], Comparison::Less, 10).await, 10);
    assert_eq!(rows(&["a"], Comparison::LessOrEqual, 10).await, 20);
    assert_eq!(rows(&["a"], Comparison::Greater, 29).await, 10);
    assert_eq!(rows(&["a"], Comparison::GreaterOrEqual, 29).await, 20);
    assert_eq!(rows(&["a"], Comparison::NotEqual, 15).await, 40);
    assert_eq!(rows(&["o", "x"], Comparison::Equal, 39).await, 10);
    assert_eq!(rows(&["a"], Comparison::Equal, 99).await, 0);
    assert_eq!(rows(&["unknown"], Comparison::Equal, 99).await, 40);
}

#[tokio::test]
async fn parquet_of_an_object_store_and_truncated() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut context = context();
    context.stores = ObjectStores::default().with_store("memory://bucket", store.clone());
    let bytes = parquet_bytes(nested(), nested_batch);
    store.put(&Path::from("in/f.parquet"), bytes.clone().into()).await.expect("stored");
    store.put(&Path::from("in/g.json"), "{\"a\":1}\n{\"a\":2}\n".into()).await.expect("stored");
    let glob = table(&context, "memory://bucket/in/*.parquet", "parquet", &[("source.split-size", "1 b")], numbers());
    let glob = glob.expect("a table");
    assert_eq!(read_all_resuming(&*glob).await.expect("readable").rows(), 40);
    let lines = table(&context, "memory://bucket/in/g.json", "json", &[("source.split-size", "3 b")], numbers());
    assert_eq!(read_all_resuming(&*lines.expect("a table")).await.expect("readable").rows(), 2);

    let folder = folder();
    for cut in [0, 3, 7, bytes.len() / 2, bytes.len() - 1] {
        fs::write(folder.path().join("f"), &bytes[..cut]).expect("written");
        let source = table(&context, &path(&folder), "parquet", &[], numbers()).expect("a table");
        let error = error_of(&*source).await;
        assert!(error.starts_with(&format!("could not read {}/f as Parquet (its footer): ", path(&folder))), "{error}");
    }
}

#[tokio::test]
async fn csv_without_and_with_header() {
    let (folder, context) = (folder(), context());
    let file = folder.path().join("f.csv");
    let name = file.to_string_lossy().into_owned();
    let columns = schema(&[("c", DataType::Utf8View, true), ("a", DataType::Int64, true)]);
    fs::write(&file, "\u{feff}a,\"b\",c\r\n1,x,\"say \"\"hi\"\"\"\r\n,y,\n3,z,\"\"\n").expect("written");
    for split_bytes in ["5 b", "1 mb"] {
        let options = [("csv.header", "true"), ("source.split-size", split_bytes)];
        let source = table(&context, &name, "csv", &options, columns.clone()).expect("a table");
        let lines = read_all_resuming(&*source).await.expect("readable").lines();
        assert_eq!(lines.join(" "), r#"{"c":"say \"hi\"","a":1} {"c":null,"a":null} {"c":"","a":3}"#);
    }
    fs::write(&file, "1;x;y\n2;x\nz;x;y\n4;\"x\n5;\"x\"y;z\n6;x;y").expect("written");
    let metadata = [(thalweg_types::connector::TABLE_COLUMNS.to_owned(), r#"["a","b","c"]"#.to_owned())].into();
    let columns = Arc::new(columns.as_ref().clone().with_metadata(metadata));
    let options = [("csv.field-delimiter", ";"), ("dead-letter.path", "/dead"), ("source.split-size", "4 b")];
    let source = table(&context, &name, "csv", &options, columns).expect("a table");
    let given = read_all(&*source).await.expect("readable");
    assert_eq!(given.lines(), [r#"{"c":"y","a":1}"#, r#"{"c":"y","a":6}"#]);
    let told: Vec<String> =
        given.letters.iter().map(|l| format!("{} {}", l.position.trim_start_matches(&name), l.reason)).collect();
    assert_eq!(
        told,
        [
            ":2 expected 3 fields, found 2",
            ":3 a: expected BIGINT, found z",
            ":4 a quoted field does not end before the end of the line",
            ":5 text follows a quoted field",
        ]
    );
}

#[tokio::test]
async fn a_csv_header_without_a_column_says_what_may_have_been_meant() {
    let (folder, context) = (folder(), context());
    let columns = schema(&[("a", DataType::Int64, true), ("b", DataType::Int64, true)]);
    for (header, expected) in [
        (
            "A,B",
            "there is no column a in its header, which has A, B; did you mean A? Names are told apart by case, too",
        ),
        (
            "a;b",
            "there is no column a in its header, which has a;b; where ';' parts the fields, set 'csv.field-delimiter' = ';'",
        ),
        ("a,x", "there is no column b in its header, which has a, x"),
        ("a,a,b", "there is more than one column a"),
    ] {
        fs::write(folder.path().join("x.csv"), format!("{header}\n1,2\n")).expect("written");
        let source = table(&context, &path(&folder), "csv", &[("csv.header", "true")], columns.clone());
        let error = error_of(&*source.expect("a table")).await;
        assert!(error.ends_with(expected), "{header}: {error}");
    }
    fs::write(folder.path().join("x.csv"), format!("{},b\n1,2\n", "x".repeat(1 << 20))).expect("written");
    let source = table(&context, &path(&folder), "csv", &[("csv.header", "true")], columns.clone());
    let error = error_of(&*source.expect("a table")).await;
    assert!(error.len() < 1000 && error.contains("has xxx"), "{error}");
    fs::write(folder.path().join("x.csv"), "z,a,z,b\n0,1,0,2\n").expect("written");
    let source = table(&context, &path(&folder), "csv", &[("csv.header", "true")], columns).expect("a table");
    assert_eq!(read_all(&*source).await.expect("nobody wants the z").rows(), 1);
}

#[tokio::test]
async fn csv_of_several_lines_a_record() {
    let (folder, context) = (folder(), context());
    let file = folder.path().join("f.csv");
    let name = file.to_string_lossy().into_owned();
    let columns = schema(&[("a", DataType::Utf8View, true), ("b", DataType::Int64, true)]);
    fs::write(&file, "\"x\ny\",1\n\"never closed,2\n3,4\n").expect("written");
    let options = [("csv.multi-line", "true"), ("dead-letter.path", "/dead")];
    let source = table(&context, &name, "csv", &options, columns.clone()).expect("a table");
    let given = read_all(&*source).await.expect("readable");
    assert_eq!(given.lines(), [r#"{"a":"x\ny","b":1}"#]);
    assert_eq!(given.letters.len(), 1);
    assert_eq!(given.letters[0].position, format!("{name}:3"));
    assert_eq!(given.letters[0].reason, "the record does not end before the end of the file");
    let nested =
        schema(&[("o", DataType::Struct(vec![arrow::datatypes::Field::new("x", DataType::Int64, true)].into()), true)]);
    let error = table(&context, &name, "csv", &[], nested).err().expect("CSV is flat");
    assert_eq!(error.to_string(), "table t: column o: CSV cannot hold nested types");
}
