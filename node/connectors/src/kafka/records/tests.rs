use arrow::array::{BinaryBuilder, MapBuilder, StringViewArray, StringViewBuilder, TimestampMicrosecondArray};
use thalweg_types::connector::METADATA_COLUMN;

use super::*;
use crate::testing::{context, sink};

fn metadata(field: Field, key: &str) -> Field {
    field.with_metadata([(METADATA_COLUMN.to_owned(), key.to_owned())].into())
}

type Headers<'a> = &'a [(&'a str, Option<&'a [u8]>)];

fn headers(of: &[Option<Headers<'_>>]) -> ArrayRef {
    let names =
        arrow::array::MapFieldNames { entry: "entries".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    let mut map = MapBuilder::new(Some(names), StringViewBuilder::new(), BinaryBuilder::new());
    for row in of {
        for (name, value) in row.iter().flat_map(|row| row.iter()) {
            map.keys().append_value(name);
            map.values().append_option(*value);
        }
        map.append(row.is_some()).expect("as many names as values");
    }
    Arc::new(map.finish())
}

/// Four rows: of the key, of the value, and with metadata.
fn rows() -> RecordBatch {
    let headers = headers(&[Some(&[("a", Some(b"1")), ("b", None)]), None, Some(&[]), Some(&[("c", Some(b""))])]);
    let times =
        TimestampMicrosecondArray::from(vec![Some(1_500_000), None, Some(1_000), Some(2_999)]).with_timezone("UTC");
    let schema = Schema::new(vec![
        Field::new("k_id", DataType::Utf8View, true),
        metadata(Field::new("sent", times.data_type().clone(), true), "timestamp"),
        Field::new("n", DataType::Int64, true),
        metadata(Field::new("hs", headers.data_type().clone(), true), "headers"),
    ]);
    let ids: ArrayRef = Arc::new(StringViewArray::from(vec![Some("x"), Some("y"), None, Some("ü")]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(3), None]));
    RecordBatch::try_new(Arc::new(schema), vec![ids, Arc::new(times), numbers, headers]).expect("they fit")
}

fn open(schema: &Schema, more: &[(&str, &str)]) -> Result<(RecordEncoder, WriteOptions), ConnectorError> {
    let given = [("topic", "t"), ("properties.bootstrap.servers", "a:1"), ("value.format", "json")];
    let given: Vec<_> = given.into_iter().filter(|(key, _)| more.iter().all(|(other, _)| other != key)).collect();
    let spec = sink("kafka", &[&given, more].concat());
    let options = Options::new(&spec.table, &spec.connector);
    let write = WriteOptions::of(&options, &spec.table, spec.connector.delivery())?;
    let encoder = RecordEncoder::open(&spec.connector, schema, &write, &context())?;
    Ok((encoder, write))
}

const KEYED: &[(&str, &str)] = &[
    ("key.format", "json"),
    ("key.fields", "k_id"),
    ("key.fields-prefix", "k_"),
    ("value.fields-include", "EXCEPT_KEY"),
];

async fn records(rows: &RecordBatch, more: &[(&str, &str)]) -> Vec<NewRecord> {
    let (mut encoder, write) = open(rows.schema_ref(), more).expect("they fit");
    let messages = encoder.encode(rows).await.expect("encoded");
    let mut placement = Placement::new(write.partitioner, 0);
    records_of(&messages, &write.topic, 0, &mut placement).expect("just encoded")
}

fn text(bytes: Option<&Bytes>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8"))
}

#[tokio::test]
async fn a_row_becomes_key_value_headers_and_timestamp() {
    let records = records(&rows(), KEYED).await;
    let keys: Vec<_> = records.iter().map(|record| text(record.key.as_ref())).collect();
    let some = |texts: [&str; 4]| texts.map(|text| Some(text.to_owned()));
    assert_eq!(keys, some([r#"{"id":"x"}"#, r#"{"id":"y"}"#, r#"{"id":null}"#, r#"{"id":"ü"}"#]));
    let values: Vec<_> = records.iter().map(|record| text(record.value.as_ref())).collect();
    assert_eq!(values, some([r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#, r#"{"n":null}"#]));
    let times: Vec<_> = records.iter().map(|record| record.timestamp_ms).collect();
    assert_eq!(times, [Some(1500), None, Some(1), Some(2)]);
    let header = |name: &str, value: Option<&'static str>| (name.to_owned(), value.map(Bytes::from));
    let all: Vec<_> = records.into_iter().map(|record| record.headers).collect();
    let first = vec![header("a", Some("1")), header("b", None)];
    assert_eq!(all, [first, vec![], vec![], vec![header("c", Some(""))]]);
}

#[tokio::test]
async fn without_a_key_format_there_is_no_key_and_the_value_has_all_columns() {
    let records = records(&rows(), &[]).await;
    assert!(records.iter().all(|record| record.key.is_none()));
    assert_eq!(text(records[0].value.as_ref()).as_deref(), Some(r#"{"k_id":"x","n":1}"#));
}

#[tokio::test]
async fn a_raw_key_of_null_is_no_key() {
    let raw = [KEYED, &[("key.format", "raw")]].concat();
    let raw: Vec<_> = raw.into_iter().filter(|given| *given != ("key.format", "json")).collect();
    let rows = rows();
    let (encoder, _) = open(rows.schema_ref(), &raw).expect("they fit");
    assert_eq!(encoder.unfit(&rows), []);
    let keys: Vec<_> = records(&rows, &raw).await.iter().map(|record| text(record.key.as_ref())).collect();
    assert_eq!(keys, ["x", "y", "-", "ü"].map(|key| Some(key.to_owned()).filter(|key| key != "-")));
    let none = records(&rows.slice(2, 1), &raw).await;
    assert_eq!((none.len(), none[0].key.clone()), (1, None));
    // A value has to have bytes.
    let schema = Schema::new(vec![Field::new("k_id", DataType::Utf8View, true)]);
    let only = RecordBatch::try_new(Arc::new(schema), vec![rows.column(0).clone()]).expect("they fit");
    let (encoder, _) = open(only.schema_ref(), &[("value.format", "raw")]).expect("they fit");
    assert_eq!(encoder.unfit(&only).iter().map(|fault| fault.row).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn a_slice_has_the_records_of_its_rows() {
    let (all, part) = (records(&rows(), KEYED).await, records(&rows().slice(1, 3), KEYED).await);
    assert_eq!(all[1..], part);
    let (mut encoder, write) = open(rows().schema_ref(), KEYED).expect("they fit");
    let messages = encoder.encode(&rows()).await.expect("encoded").slice(1, 3);
    let mut placement = Placement::new(write.partitioner, 0);
    assert_eq!(records_of(&messages, &write.topic, 0, &mut placement).expect("encoded"), all[1..]);
}

#[test]
fn rows_with_times_that_records_cannot_have_are_unfit() {
    let rows = rows();
    let times = TimestampMicrosecondArray::from(vec![Some(-1), None, Some(999), Some(1_000)]).with_timezone("UTC");
    let mut columns = rows.columns().to_vec();
    columns[1] = Arc::new(times);
    let rows = RecordBatch::try_new(rows.schema(), columns).expect("they fit");
    let (encoder, _) = open(rows.schema_ref(), KEYED).expect("they fit");
    let faults = encoder.unfit(&rows);
    assert_eq!(faults.iter().map(|fault| fault.row).collect::<Vec<_>>(), [0, 2]);
    assert!(faults[0].reason.contains("before 1970"));
}

#[test]
fn times_are_rounded_down_to_milliseconds() {
    use arrow::array::{TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray};
    let all = |column: ArrayRef| millis(&column).expect("times").iter().collect::<Vec<_>>();
    let seconds = TimestampSecondArray::from(vec![Some(2), None, Some(-1), Some(i64::MAX)]);
    assert_eq!(all(Arc::new(seconds)), [Some(2000), None, Some(-1000), Some(i64::MAX)]);
    assert_eq!(all(Arc::new(TimestampMillisecondArray::from(vec![7, -7]))), [Some(7), Some(-7)]);
    assert_eq!(all(Arc::new(TimestampMicrosecondArray::from(vec![1999, -1]))), [Some(1), Some(-1)]);
    let nanos = TimestampNanosecondArray::from(vec![1_999_999, -1]).with_timezone("UTC");
    assert_eq!(all(Arc::new(nanos)), [Some(1), Some(-1)]);
    assert!(millis(&(Arc::new(Int64Array::from(vec![1])) as ArrayRef)).is_none());
}

#[tokio::test]
async fn a_record_that_is_too_large_is_left_out_before_it_is_promised() {
    let texts: ArrayRef = Arc::new(StringViewArray::from(vec!["a".repeat(10), "b".repeat(5000), "c".repeat(10)]));
    let schema = Schema::new(vec![Field::new("text", DataType::Utf8View, true)]);
    let rows = RecordBatch::try_new(Arc::new(schema), vec![texts]).expect("they fit");
    let most = [("properties.message.max.bytes", "4096")];
    for (options, of_topic, told) in [
        (&most[..], None, Some("'properties.message.max.bytes' is 4096")),
        (&most, Some(4097), Some("'properties.message.max.bytes' is 4096")),
        (&most, Some(2000), Some("'max.message.bytes' of topic 't' is 2000")),
        (&[], Some(2000), Some("'max.message.bytes' of topic 't' is 2000")),
        (&[], None, None),
    ] {
        let (mut encoder, write) = open(rows.schema_ref(), options).expect("they fit");
        of_topic.into_iter().for_each(|bytes_max| encoder.set_topic_limit(bytes_max));
        let messages = encoder.encode(&rows).await.expect("encoded");
        let mut placement = Placement::new(write.partitioner, 0);
        let records = records_of(&messages, &write.topic, 0, &mut placement).expect("just encoded");
        let faults = encoder.take_too_large();
        assert_eq!(records.len() + faults.len(), 3);
        assert_eq!(
            faults.iter().map(|fault| fault.row).collect::<Vec<_>>(),
            if told.is_some() { vec![1] } else { vec![] }
        );
        assert!(faults.iter().all(|fault| told.is_some_and(|told| fault.reason.contains(told))), "{faults:?}");
        assert_eq!(encoder.take_too_large(), [], "told once");
    }
}

/// Each says how long its name and value are, however short these are.
#[tokio::test]
async fn many_small_headers_count_as_what_they_take() {
    let of = |count: usize| vec![("h", None); count];
    let (few, many) = (of(100), of(400));
    let (column, numbers) = (headers(&[Some(&few), Some(&many)]), Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef);
    let schema = Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        metadata(Field::new("hs", column.data_type().clone(), true), "headers"),
    ]);
    let rows = RecordBatch::try_new(Arc::new(schema), vec![numbers, column]).expect("they fit");
    let (mut encoder, _) = open(rows.schema_ref(), &[("properties.message.max.bytes", "4096")]).expect("they fit");
    assert_eq!(encoder.encode(&rows).await.expect("encoded").num_rows(), 1);
    assert_eq!(encoder.take_too_large().iter().map(|fault| fault.row).collect::<Vec<_>>(), [1]);
}

#[test]
fn metadata_columns_of_other_types_are_refused() {
    for (key, data_type) in [("timestamp", DataType::Int64), ("headers", DataType::Utf8View)] {
        let schema =
            Schema::new(vec![Field::new("n", DataType::Int64, true), metadata(Field::new("m", data_type, true), key)]);
        let error = open(&schema, &[]).map(drop).expect_err("it does not fit").to_string();
        assert!(error.contains("column m"), "{error}");
    }
}

#[test]
fn messages_of_another_form_are_an_error() {
    let none: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let bytes = || Arc::new(arrow::array::BinaryArray::from_vec(vec![b"x"])) as ArrayRef;
    let batch = |columns: Vec<(&str, ArrayRef)>| RecordBatch::try_from_iter(columns).expect("they fit");
    for wrong in [
        batch(vec![("key", bytes())]),
        batch(vec![("key", bytes()), ("value", none.clone())]),
        batch(vec![("key", bytes()), ("value", bytes()), ("timestamp", bytes())]),
        batch(vec![("key", bytes()), ("value", bytes()), ("headers", bytes())]),
    ] {
        let mut placement = Placement::new(super::super::sink_options::Partitioner::Key, 0);
        let error = records_of(&wrong, &"t".into(), 0, &mut placement).expect_err("it is refused").to_string();
        assert!(error.contains("of the messages"), "{error}");
    }
}
