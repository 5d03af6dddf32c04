//! Object container files of Avro: positions, damage, and records that do not fit.

use arrow::array::{Int64Array, RecordBatch, StringViewArray};

use super::{formats::write, *};
use crate::{
    Read,
    testing::{Given, read_split},
};

fn columns() -> SchemaRef {
    schema(&[("n", DataType::Int64, false), ("s", DataType::Utf8View, true)])
}

fn numbers_from(first: i64, count: i64) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(first..first + count);
    let texts = StringViewArray::from_iter((first..first + count).map(|n| (n % 3 != 0).then(|| format!("text {n}"))));
    RecordBatch::try_new(columns(), vec![Arc::new(numbers), Arc::new(texts)]).expect("columns of the schema")
}

/// A file of so many records, in blocks of some 64 KiB, and its path.
async fn file_of(folder: &tempfile::TempDir, codec: &str, count: i64) -> std::path::PathBuf {
    let context = context();
    let directory = folder.path().join("written");
    let to = directory.to_str().expect("a path of text");
    write(&context, to, "avro", &[("avro.codec", codec)], &[numbers_from(0, count)]).await;
    let entry = fs::read_dir(&directory).expect("listed").next().expect("a file").expect("an entry");
    let file = folder.path().join("x.avro");
    fs::rename(entry.path(), &file).expect("renamed");
    file
}

fn avro(file: &std::path::Path, columns: SchemaRef, batch_rows: usize, options: &[(&str, &str)]) -> Box<dyn Source> {
    let path = file.to_str().expect("a path of text");
    let options = [&[("path", path), ("format", "avro")], options].concat();
    open_source(&source("filesystem", &options, columns), &settings(batch_rows), &context()).expect("a table")
}

#[tokio::test]
async fn a_file_is_read_on_from_each_position() {
    for codec in ["null", "snappy"] {
        let folder = folder();
        let file = file_of(&folder, codec, 20_000).await;
        let expected: Vec<String> =
            (0..20_000).step_by(5_000).flat_map(|first| to_lines(&numbers_from(first, 5_000))).collect();
        let table = avro(&file, columns(), 3_000, &[("source.split-size", "1 b")]);
        assert_eq!(table.discover().await.expect("listed").len(), 1, "a file is one split");
        for given in [read_all(&*table).await.expect("readable"), read_all_resuming(&*table).await.expect("readable")] {
            assert!(given.batches.len() > 3, "{} batches", given.batches.len());
            assert_eq!(given.lines(), expected, "{codec}");
        }
        // Other columns may be asked for where it is gone on.
        let splits = table.discover().await.expect("listed");
        let mut reader = table.open(&splits[0]).await.expect("opened");
        assert!(matches!(reader.next().await, Ok(Read::Records { .. })));
        let narrow = avro(&file, schema(&[("s", DataType::Utf8View, true)]), 100_000, &[]);
        let mut rest = Given::default();
        read_split(&*narrow, &reader.position(), &mut rest).await.expect("readable");
        assert_eq!(rest.rows(), 17_000);
        let none = avro(&file, schema(&[]), 1_000_000, &[]);
        assert_eq!(read_all(&*none).await.expect("readable").rows(), 20_000);
    }
}

#[tokio::test]
async fn a_file_that_is_not_as_it_should_be_is_an_error() {
    let folder = folder();
    let file = file_of(&folder, "null", 100).await;
    let whole = fs::read(&file).expect("it is there");
    let head = whole.windows(16).position(|window| window == &whole[whole.len() - 16..]).expect("the marker") + 16;
    let changed = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    let codec = whole.windows(4).position(|window| window == b"null").expect("the codec's name");
    let mut unknown = whole.clone();
    unknown[codec..codec + 4].copy_from_slice(b"lzma");
    let huge = [&whole[..head], b"\x02\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"].concat();
    let many = [&whole[..head], b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x00", &whole[head - 16..head]].concat();
    let spare = [&whole[..head], b"\x02\x06\x02\x00\x00", &whole[head - 16..head]].concat();
    for (bytes, expected) in [
        (Vec::new(), "it is no Avro object container file"),
        (b"{\"n\":1}\n".to_vec(), "it is no Avro object container file"),
        (whole[..head - 20].to_vec(), "its metadata"),
        (whole[..head - 3].to_vec(), "its marker: it ends too early"),
        (whole[..whole.len() - 1].to_vec(), "the file ends in it"),
        (whole[..head + 50].to_vec(), "the file ends in it"),
        (changed(whole.len() - 1, !whole[whole.len() - 1]), "it does not end with the file's marker"),
        (unknown, "its codec is 'lzma'"),
        (huge, "more than 67108864"),
        (many, "a block of 1 bytes has"),
        (spare, "a byte follows its last record"),
        (changed(4, 0), "it has no avro.schema"),
    ] {
        fs::write(&file, bytes).expect("written");
        let error = error_of(&*avro(&file, columns(), 1_000, &[])).await;
        assert!(error.contains("x.avro as Avro") && error.contains(expected), "{error}\nhas not {expected}");
    }
    let damaged = file_of(&folder, "snappy", 5_000).await;
    let mut bytes = fs::read(&damaged).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 50].fill(0xff);
    fs::write(&damaged, bytes).expect("written");
    assert!(error_of(&*avro(&damaged, columns(), 10_000, &[])).await.contains("as Avro"));
}

#[tokio::test]
async fn the_columns_decide_what_of_a_file_fits() {
    let folder = folder();
    let file = file_of(&folder, "snappy", 10).await;
    let error = async |columns: SchemaRef| error_of(&*avro(&file, columns, 100, &[])).await;
    assert!(error(schema(&[("n", DataType::Utf8View, true)])).await.contains("column n: long does not go into STRING"));
    let missing = error(schema(&[("x", DataType::Int64, false)])).await;
    assert!(missing.contains("column x: is NOT NULL, and the schema has no such field"), "{missing}");
    let added = schema(&[("x", DataType::Int64, true), ("n", DataType::Float64, true)]);
    let given = read_all(&*avro(&file, added, 100, &[])).await.expect("readable");
    assert_eq!(given.lines()[9], r#"{"x":null,"n":9.0}"#);
}

/// Records that do not fit are set aside alone, whatever is read before and behind them.
#[tokio::test]
async fn a_record_that_does_not_fit_is_set_aside_alone() {
    let folder = folder();
    let file = file_of(&folder, "snappy", 300).await;
    let narrow = schema(&[("n", DataType::Int8, false), ("s", DataType::Utf8View, true)]);
    let error = error_of(&*avro(&file, narrow.clone(), 100, &[])).await;
    assert!(error.ends_with("n: expected TINYINT, found 128"), "{error}");
    let kept = [("dead-letter.path", "/dead")];
    for given in [
        read_all(&*avro(&file, narrow.clone(), 50, &kept)).await.expect("readable"),
        read_all_resuming(&*avro(&file, narrow, 50, &kept)).await.expect("readable"),
    ] {
        assert_eq!((given.rows(), given.letters.len()), (128, 172));
        let letter = &given.letters[0];
        assert!(letter.position.contains("x.avro: record 129 of the block at byte "), "{}", letter.position);
        assert_eq!(letter.reason, "n: expected TINYINT, found 128");
        assert!(letter.record.contains("text 128"));
    }
}

/// Of a block with a record that cannot be understood the rest is lost, and no other block.
#[tokio::test]
async fn what_cannot_be_skipped_takes_the_rest_of_its_block() {
    let folder = folder();
    let file = file_of(&folder, "null", 10_000).await;
    let mut bytes = fs::read(&file).expect("it is there");
    let at = bytes.windows(8).position(|window| window == b"text 100").expect("the record");
    // The length of its text, and the branch of its union.
    bytes[at - 2] = 0x7e;
    fs::write(&file, bytes).expect("written");
    let kept = [("dead-letter.path", "/dead")];
    let given = read_all_resuming(&*avro(&file, columns(), 1_000, &kept)).await.expect("readable");
    assert_eq!(given.letters.len(), 1);
    assert_eq!(given.letters[0].reason, "s: it is alternative 63 of 2; the rest of the block is lost with it");
    let lines = given.lines();
    assert!(lines.len() > 1_000 && lines.len() < 9_999, "{} rows", lines.len());
    assert_eq!((lines[0].as_str(), &lines[99]), (r#"{"n":0,"s":null}"#, &r#"{"n":99,"s":null}"#.to_owned()));
    assert!(lines[100].starts_with("{\"n\":") && !lines.iter().any(|line| line.contains("text 101\"")));
    assert_eq!(lines.last().map(String::as_str), Some(r#"{"n":9999,"s":null}"#));
}

/// Rows that the table's schema does not hold are told before they are written.
#[tokio::test]
async fn rows_that_a_schema_does_not_hold_are_unfit() {
    let folder = folder();
    let directory = path(&folder);
    let text =
        r#"{"type":"record","name":"r","fields":[{"name":"n","type":"int"},{"name":"s","type":["null","string"]}]}"#;
    let options = [("path", directory.as_str()), ("format", "avro"), ("avro.schema", text)];
    let spec = sink("filesystem", &options);
    let writer = open_sink_writer(&spec, columns(), identity(1, 1, 0), &context()).expect("a writer");
    assert_eq!(writer.unfit(&numbers_from(0, 3)), []);
    let unfit = writer.unfit(&numbers_from((1 << 31) - 1, 3));
    assert_eq!(unfit.iter().map(|fault| fault.row).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(unfit[0].reason, "n: the schema expects int, found 2147483648");
    let wrong = [("path", directory.as_str()), ("format", "avro"), ("avro.schema", "\"string\"")];
    let error = open_sink_writer(&sink("filesystem", &wrong), columns(), identity(1, 1, 0), &context()).err();
    assert!(
        error.is_some_and(|error| error.to_string().contains("option 'avro.schema': the schema is of type string"))
    );
}
