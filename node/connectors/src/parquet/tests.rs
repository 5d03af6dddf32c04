//! Files of other writers and versions: fields by name at any depth, damaged files, and very large values.

use std::{fs, sync::Arc};

use ::parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
use arrow::{
    array::{
        Array as _, ArrayRef, AsArray, FixedSizeListArray, Int32Array, Int64Array, LargeListArray, ListArray,
        ListViewArray, MapArray, RecordBatch, StringArray, StructArray,
    },
    buffer::{NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef},
};
use tempfile::TempDir;
use thalweg_types::job::FailureKind;

use crate::{
    ConnectorError, Source, open_source,
    testing::{context, read_all, settings, source},
};

mod memory;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn write(folder: &TempDir, name: &str, batch: &RecordBatch, properties: WriterProperties) {
    let file = fs::File::create(folder.path().join(name)).expect("created");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
    writer.write(batch).expect("written");
    writer.close().expect("closed");
}

fn table(folder: &TempDir, columns: SchemaRef) -> Box<dyn Source> {
    let path = folder.path().to_str().expect("text").to_owned();
    let options = [("path", path.as_str()), ("format", "parquet"), ("source.split-size", "1 gb")];
    open_source(&source("filesystem", &options, columns), &settings(8192), &context()).expect("a table")
}

fn field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

fn one(name: &str, column: ArrayRef) -> RecordBatch {
    let schema = Schema::new(vec![field(name, column.data_type().clone())]);
    RecordBatch::try_new(Arc::new(schema), vec![column]).expect("one column")
}

fn columns(fields: Vec<FieldRef>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

/// Two rows of a struct with these fields in this order; the values name their field and row.
fn rows_of(names: &[&str]) -> StructArray {
    let fields: Fields = names.iter().map(|name| field(name, DataType::Utf8)).collect();
    let column =
        |name: &&str| -> ArrayRef { Arc::new(StringArray::from(vec![format!("{name}1"), format!("{name}2")])) };
    StructArray::new(fields, names.iter().map(column).collect(), None)
}

type Wrap = fn(StructArray) -> ArrayRef;

fn item(rows: &StructArray) -> FieldRef {
    field("element", rows.data_type().clone())
}

fn list(rows: StructArray) -> ArrayRef {
    Arc::new(ListArray::new(item(&rows), OffsetBuffer::from_lengths([1, 1]), Arc::new(rows), None))
}

fn map_of(values: ArrayRef) -> ArrayRef {
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["k", "k"]));
    let fields = Fields::from(vec![
        Arc::new(Field::new("key", DataType::Utf8, false)),
        field("value", values.data_type().clone()),
    ]);
    let entries = StructArray::new(fields, vec![keys, values], None);
    let entry = Arc::new(Field::new("key_value", entries.data_type().clone(), false));
    Arc::new(MapArray::new(entry, OffsetBuffer::from_lengths([1, 1]), entries, None, false))
}

/// Ways to nest structs in a file.
const WRAPS: [Wrap; 7] = [
    |rows| Arc::new(rows),
    list,
    |rows| Arc::new(LargeListArray::new(item(&rows), OffsetBuffer::from_lengths([1, 1]), Arc::new(rows), None)),
    |rows| Arc::new(FixedSizeListArray::new(item(&rows), 1, Arc::new(rows), None)),
    |rows| {
        let (offsets, sizes) = (ScalarBuffer::from(vec![0, 1]), ScalarBuffer::from(vec![1, 1]));
        Arc::new(ListViewArray::new(item(&rows), offsets, sizes, Arc::new(rows), None))
    },
    |rows| map_of(Arc::new(rows)),
    |rows| {
        let inner = list(rows);
        let nested = map_of(inner);
        let item = field("element", nested.data_type().clone());
        Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([1, 1]), nested, None))
    },
];

/// The type that a table declares for the rows of three fields, nested in the same way.
fn declared(wrap: usize) -> DataType {
    let row = DataType::Struct(["a", "b", "c"].map(|name| field(name, DataType::Utf8View)).into());
    let list = |of: DataType| DataType::List(Arc::new(Field::new_list_field(of, true)));
    let map = |of: DataType| {
        let fields = vec![Arc::new(Field::new("key", DataType::Utf8View, false)), field("value", of)];
        DataType::Map(Arc::new(Field::new("entries", DataType::Struct(fields.into()), false)), false)
    };
    match wrap {
        0 => row,
        1..=4 => list(row),
        5 => map(row),
        _ => list(map(list(row))),
    }
}

#[tokio::test]
async fn fields_are_found_by_name_at_any_depth() {
    for (number, wrap) in WRAPS.iter().enumerate() {
        let folder = folder();
        for (name, fields) in [("1", &["c", "a"][..]), ("2", &["x", "b", "a", "c", "y"]), ("3", &["z"])] {
            write(&folder, name, &one("m", wrap(rows_of(fields))), WriterProperties::default());
        }
        let source = table(&folder, columns(vec![field("m", declared(number))]));
        let given = read_all(&*source).await.unwrap_or_else(|error| panic!("{number}: {error}"));
        let lines = given.lines();
        let row = |a: &str, b: &str, c: &str| {
            let row = [("a", a), ("b", b), ("c", c)].map(|(name, value)| format!("\"{name}\":{value}")).join(",");
            match number {
                0 => format!("{{\"m\":{{{row}}}}}"),
                1..=4 => format!("{{\"m\":[{{{row}}}]}}"),
                5 => format!("{{\"m\":{{\"k\":{{{row}}}}}}}"),
                _ => format!("{{\"m\":[{{\"k\":[{{{row}}}]}}]}}"),
            }
        };
        let expected = [
            row("\"a1\"", "null", "\"c1\""),
            row("\"a2\"", "null", "\"c2\""),
            row("\"a1\"", "\"b1\"", "\"c1\""),
            row("\"a2\"", "\"b2\"", "\"c2\""),
            row("null", "null", "null"),
            row("null", "null", "null"),
        ];
        assert_eq!(lines, expected, "{number}");
    }
}

async fn error_of(source: &dyn Source) -> String {
    let error = read_all(source).await.expect_err("the data is bad");
    assert_eq!(error.failure_kind(), FailureKind::Data, "{error}");
    error.to_string()
}

#[tokio::test]
async fn what_does_not_fit_is_named_by_its_path() {
    let folder = folder();
    write(&folder, "1", &one("m", list(rows_of(&["a"]))), WriterProperties::default());
    let of = |inner: FieldRef| {
        let row = DataType::Struct(vec![inner].into());
        columns(vec![field("m", DataType::List(Arc::new(Field::new_list_field(row, true))))])
    };
    let error = error_of(&*table(&folder, of(field("a", DataType::Int32)))).await;
    assert!(error.contains("column m.element.a: ") && error.contains("row group 0"), "{error}");
    let nested = DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true)));
    let error = error_of(&*table(&folder, of(field("a", nested)))).await;
    assert!(error.contains("column m.element.a: is STRING in the file, not ARRAY<INT>"), "{error}");
    let error = error_of(&*table(&folder, of(Arc::new(Field::new("b", DataType::Int32, false))))).await;
    assert!(error.contains("column m.element.b: is NOT NULL and missing"), "{error}");
    let error = error_of(&*table(&folder, columns(vec![field("m", DataType::Int32)]))).await;
    assert!(error.contains("column m: is ARRAY<ROW> in the file, not INT"), "{error}");
}

#[tokio::test]
async fn numbers_are_widened_at_any_depth_and_never_cut() {
    let folder = folder();
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![7, 8]));
    let rows = StructArray::new(
        vec![field("n", DataType::Int32)].into(),
        vec![numbers],
        Some(NullBuffer::from(vec![true, false])),
    );
    write(&folder, "1", &one("m", list(rows)), WriterProperties::default());
    let of = |data_type: DataType| {
        let row = DataType::Struct(vec![field("n", data_type)].into());
        columns(vec![field("m", DataType::List(Arc::new(Field::new_list_field(row, true))))])
    };
    for wider in [DataType::Int64, DataType::Float64, DataType::Int8] {
        let given = read_all(&*table(&folder, of(wider.clone()))).await.expect("they fit").lines();
        let seven = if wider == DataType::Float64 { "7.0" } else { "7" };
        assert_eq!(given, [format!("{{\"m\":[{{\"n\":{seven}}}]}}"), "{\"m\":[null]}".to_owned()]);
    }
    let folder = self::folder();
    write(&folder, "1", &one("n", Arc::new(Int64Array::from(vec![1, 1 << 40]))), WriterProperties::default());
    let error = error_of(&*table(&folder, columns(vec![field("n", DataType::Int32)]))).await;
    assert!(error.contains("column n: "), "{error}");
    let folder = self::folder();
    write(
        &folder,
        "1",
        &one("n", Arc::new(arrow::array::Float64Array::from(vec![1.0, 2.5]))),
        WriterProperties::default(),
    );
    let error = error_of(&*table(&folder, columns(vec![field("n", DataType::Int32)]))).await;
    assert!(error.contains("column n: ") && error.contains("2.5"), "{error}");
}

#[tokio::test]
async fn bytes_of_any_kind_are_text_where_they_are_utf_8() {
    let values: ArrayRef =
        Arc::new(arrow::array::FixedSizeBinaryArray::try_from_iter(["abc", "def"].iter()).expect("alike"));
    let folder = folder();
    write(&folder, "1", &one("v", values), WriterProperties::default());
    let given = read_all(&*table(&folder, columns(vec![field("v", DataType::Utf8View)]))).await.expect("readable");
    assert_eq!(given.lines(), ["{\"v\":\"abc\"}", "{\"v\":\"def\"}"]);
}

/// Rows that share a text of 200 KB take a few KB in a file, and 60 MB when encoded.
#[tokio::test]
async fn large_values_come_in_batches_that_are_cut_by_bytes() {
    for dictionary in [true, false] {
        let folder = folder();
        let text = "x".repeat(200_000);
        let rows = if dictionary { 300 } else { 60 };
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(dictionary)
            .set_compression(::parquet::basic::Compression::ZSTD(Default::default()))
            .build();
        let texts = StringArray::from_iter_values(std::iter::repeat_n(&text, rows));
        write(&folder, "1", &one("v", Arc::new(texts)), properties);
        let source = table(&folder, columns(vec![field("v", DataType::Utf8View)]));
        let splits = source.discover().await.expect("a split");
        let mut reader = source.open(&splits[0]).await.expect("opened");
        let (mut given, mut position) = (0, reader.position());
        while let crate::Read::Records { batch, .. } = reader.next().await.expect("readable") {
            assert!((1..=20).contains(&batch.num_rows()), "{}", batch.num_rows());
            // The dictionaries and pages that are held, besides the rows.
            assert!(batch.get_array_memory_size() < 16 << 20, "{}", batch.get_array_memory_size());
            assert!(batch.column(0).as_string_view().iter().all(|value| value == Some(&text)));
            given += batch.num_rows();
            position = reader.position();
            if given == 20 * 3 {
                reader = source.open(&position).await.expect("opened again");
            }
        }
        assert_eq!((given, &position), (rows, &reader.position()), "{dictionary}");
    }
}

#[tokio::test]
async fn files_that_are_not_whole_are_bad_data() {
    let folder = folder();
    write(&folder, "whole", &one("n", Arc::new(Int64Array::from_iter_values(0..1000))), WriterProperties::default());
    let whole = fs::read(folder.path().join("whole")).expect("read");
    let mut garbled = whole.clone();
    garbled[4..40].fill(0xff);
    let mut footer = whole.clone();
    let end = footer.len() - 8;
    footer[end - 40..end].fill(0xff);
    let mut encrypted = whole.clone();
    let end = encrypted.len();
    encrypted[end - 4..].copy_from_slice(b"PARE");
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("short", b"PAR1".to_vec()),
        ("garbage", vec![7; 1000]),
        ("truncated", whole[..whole.len() / 2].to_vec()),
        ("its end is cut off", whole[..whole.len() - 1].to_vec()),
        ("its beginning is cut off", whole[100..].to_vec()),
        ("garbled", garbled),
        ("its footer is garbled", footer),
        ("encrypted", encrypted),
    ] {
        let folder = self::folder();
        fs::write(folder.path().join("x.parquet"), bytes).expect("written");
        let error = error_of(&*table(&folder, columns(vec![field("n", DataType::Int64)]))).await;
        assert!(error.contains("x.parquet as Parquet ("), "{what}: {error}");
    }
}

#[tokio::test]
async fn a_file_that_is_gone_is_bad_data() {
    let folder = folder();
    write(&folder, "x", &one("n", Arc::new(Int64Array::from_iter_values(0..10))), WriterProperties::default());
    let source = table(&folder, columns(vec![field("n", DataType::Int64)]));
    let splits = source.discover().await.expect("listed");
    fs::remove_file(folder.path().join("x")).expect("removed");
    let error: ConnectorError = source.open(&splits[0]).await.err().expect("it is gone");
    assert_eq!((error.failure_kind(), error.to_string().contains("is gone")), (FailureKind::Data, true), "{error}");
}
