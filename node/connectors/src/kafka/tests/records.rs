//! What a record becomes.

use std::time::Duration;

use arrow::{
    array::Array as _,
    datatypes::{Field, Int32Type, Schema, TimestampMillisecondType},
};
use thalweg_types::connector::METADATA_COLUMN;

use super::{super::metadata::Metadata, *};

const DEAD: (&str, &str) = ("dead-letter.path", "dead");

/// Plain columns of integers, and metadata columns by their keys.
fn columns(plain: &[(&str, bool)], metadata: &[&str]) -> SchemaRef {
    let plain = plain.iter().map(|(name, nullable)| Field::new(*name, DataType::Int64, *nullable));
    let metadata = metadata.iter().map(|key| {
        let kind = Metadata::of_key(key).expect("it is one").data_type();
        let marked = [(METADATA_COLUMN.to_owned(), (*key).to_owned())];
        Field::new(format!("m_{key}"), kind, true).with_metadata(marked.into())
    });
    Arc::new(Schema::new(plain.chain(metadata).collect::<Vec<_>>()))
}

async fn read_first(table: &dyn Source) -> Result<Given, ConnectorError> {
    read_on(open(table, &splits(table).await[0]).await.as_mut()).await
}

fn keyed(key: Option<&str>, value: Option<&str>) -> NewRecord {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    NewRecord { key: key.map(bytes), value: value.map(bytes), ..record("t", 0, "") }
}

fn column(given: &Given, index: usize) -> Vec<Option<i64>> {
    given
        .batches
        .iter()
        .flat_map(|batch| batch.column(index).as_primitive::<Int64Type>().iter().collect::<Vec<_>>())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_is_a_dead_letter() {
    let world = World::new();
    world.topic("t", 1).await;
    let binary = NewRecord { value: Some(Bytes::from_static(&[0xff, 0x00])), ..record("t", 0, "") };
    let long = format!("{{\"n\": \"{}\"}}", "x".repeat(100_000));
    let records = vec![keyed(None, Some("{\"n\": 1}")), keyed(None, Some("{\"n\": tru")), binary, keyed(None, None)];
    world.produce(records).await;
    world.produce(vec![record("t", 0, &long), record("t", 0, "{\"n\": 2}")]).await;
    let given = read_first(world.table(&[("topic", "t"), DEAD]).as_ref()).await.expect("read");
    assert_eq!(given.numbers(), [1, 2]);
    let places: Vec<&str> = given.letters.iter().map(|letter| letter.position.as_str()).collect();
    assert_eq!(places, ["t-0@1", "t-0@2", "t-0@3", "t-0@4"]);
    let [broken, binary, tombstone, long] = &given.letters[..] else { panic!("there are four") };
    assert!(broken.reason.contains("its value cannot be decoded") && broken.record == "{\"n\": tru", "{broken:?}");
    assert_eq!(binary.record, "0xff00");
    assert!(tombstone.reason.contains("tombstone") && tombstone.record.is_empty(), "{tombstone:?}");
    assert!(long.record.len() <= 4096);
}

#[tokio::test(start_paused = true)]
async fn without_a_place_for_dead_letters_the_first_one_fails_the_table() {
    let world = World::new();
    world.topic("t", 1).await;
    world.produce(vec![record("t", 0, "{\"n\": 1}"), record("t", 0, "{")]).await;
    let error = read_first(world.table(&[("topic", "t")]).as_ref()).await.map(drop).expect_err("it is no JSON");
    assert!(matches!(&error, ConnectorError::Record { position, .. } if position == "t-0@1"), "{error:?}");
}

/// Values that nobody reads are not looked at.
#[tokio::test(start_paused = true)]
async fn a_tombstone_has_a_row_where_no_column_of_the_value_is_read() {
    let world = World::new();
    world.topic("t", 1).await;
    world.produce(vec![keyed(Some("{\"k\": 7}"), None), keyed(Some("{\"k\": 8}"), Some("no JSON"))]).await;
    let table = world.table_of(&[("topic", "t")], columns(&[], &["offset"]));
    let given = read_first(table.as_ref()).await.expect("read");
    assert_eq!(column(&given, 0), [Some(0), Some(1)]);
    let table = world.table_of(&[("topic", "t")], columns(&[], &[]));
    let given = read_first(table.as_ref()).await.expect("read");
    assert_eq!(given.batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2, "rows are counted");
}

#[tokio::test(start_paused = true)]
async fn columns_tell_what_is_known_beside_a_record() {
    let world = World::new();
    world.topic("t", 2).await;
    let header = |name: &str, value: &'static str| (name.to_owned(), Some(Bytes::from_static(value.as_bytes())));
    let headers = vec![header("a", "1"), header("a", "2"), ("b".to_owned(), None)];
    world.produce(vec![NewRecord { headers, timestamp_ms: Some(1234), ..record("t", 1, "{\"n\": 5}") }]).await;
    let keys = ["topic", "partition", "offset", "timestamp", "timestamp-type", "headers", "leader-epoch"];
    let table = world.table_of(&[("topic", "t")], columns(&[("n", true)], &keys));
    let given = read_on(open(table.as_ref(), &splits(table.as_ref()).await[1]).await.as_mut()).await.expect("read");
    let batch = &given.batches[0];
    assert_eq!((given.numbers(), batch.num_rows()), (vec![5], 1));
    assert_eq!(batch.column(1).as_string_view().value(0), "t");
    assert_eq!(batch.column(2).as_primitive::<Int32Type>().value(0), 1);
    assert_eq!(batch.column(3).as_primitive::<Int64Type>().value(0), 0);
    assert_eq!(batch.column(4).as_primitive::<TimestampMillisecondType>().value(0), 1234);
    assert_eq!(batch.column(5).as_string_view().value(0), "CreateTime");
    let headers = batch.column(6).as_map().value(0);
    assert_eq!(headers.column(0).as_string_view().iter().flatten().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(headers.column(1).as_binary::<i32>().iter().collect::<Vec<_>>(), [Some(&b"2"[..]), None]);
    assert!(batch.column(7).is_valid(0));
}

const KEYED: [(&str, &str); 5] = [
    ("topic", "t"),
    ("key.format", "json"),
    ("key.fields", "k_id"),
    ("key.fields-prefix", "k_"),
    ("value.fields-include", "EXCEPT_KEY"),
];

#[tokio::test(start_paused = true)]
async fn columns_of_the_key_are_read_from_it() {
    let world = World::new();
    world.topic("t", 1).await;
    let records = vec![
        keyed(Some("{\"id\": 1}"), Some("{\"id\": 10}")),
        keyed(None, Some("{\"id\": 20}")),
        keyed(Some("{\"id\": x}"), Some("{\"id\": 30}")),
        keyed(Some("{\"id\": 4}"), Some("{\"id\": y}")),
        keyed(Some("{\"id\": 5}"), Some("{\"id\": 50}")),
    ];
    world.produce(records).await;
    let options = [&KEYED[..], &[DEAD]].concat();
    let table = world.table_of(&options, columns(&[("k_id", true), ("id", true)], &["offset"]));
    let given = read_first(table.as_ref()).await.expect("read");
    assert_eq!(column(&given, 0), [Some(1), None, Some(5)], "no key is NULL");
    assert_eq!(column(&given, 1), [Some(10), Some(20), Some(50)]);
    assert_eq!(column(&given, 2), [Some(0), Some(1), Some(4)]);
    let [key, value] = &given.letters[..] else { panic!("there are two: {:?}", given.letters) };
    assert!(key.position == "t-0@2" && key.reason.contains("its key") && key.record == "{\"id\": x}", "{key:?}");
    assert!(value.position == "t-0@3" && value.reason.contains("its value"), "{value:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_must_be_there_and_is_not_is_a_dead_letter() {
    let world = World::new();
    world.topic("t", 1).await;
    world.produce(vec![keyed(None, Some("{}")), keyed(Some("{\"id\": 2}"), Some("{}"))]).await;
    let options = [&KEYED[..], &[DEAD]].concat();
    let given = read_first(world.table_of(&options, columns(&[("k_id", false)], &[])).as_ref()).await.expect("read");
    assert_eq!(column(&given, 0), [Some(2)]);
    assert!(given.letters[0].reason.contains("it has no key"), "{:?}", given.letters);
}

/// The value's columns count, so that the key need not be decoded.
#[tokio::test(start_paused = true)]
async fn a_column_of_key_and_value_is_read_from_the_value() {
    let world = World::new();
    world.topic("t", 1).await;
    world.produce(vec![keyed(Some("no JSON"), Some("{\"id\": 10}"))]).await;
    let options = [("topic", "t"), ("key.format", "json"), ("key.fields", "id")];
    let given = read_first(world.table_of(&options, columns(&[("id", true)], &[])).as_ref()).await.expect("read");
    assert_eq!(column(&given, 0), [Some(10)]);
}

#[tokio::test(start_paused = true)]
async fn a_metadata_column_of_another_type_is_refused() {
    let world = World::new();
    let field = Field::new("o", DataType::Utf8View, true);
    let field = field.with_metadata([(METADATA_COLUMN.to_owned(), "offset".to_owned())].into());
    let refused = world.try_table(&[("topic", "t")], Arc::new(Schema::new(vec![field])));
    let error = refused.map(drop).expect_err("it is another type").to_string();
    assert!(error.contains("column o: the type of metadata 'offset' is BIGINT"), "{error}");
}

/// Batches stay small, whatever the size of records.
#[tokio::test(start_paused = true)]
async fn large_records_come_in_small_batches() {
    let world = World::new();
    world.topic("t", 1).await;
    let large = "x".repeat(600 << 10);
    for n in 0..20 {
        world.produce(vec![record("t", 0, &format!("{{\"n\": {n}, \"more\": \"{large}\"}}"))]).await;
    }
    let table = world.table(&[("topic", "t")]);
    let given = tokio::time::timeout(Duration::from_secs(60), read_first(table.as_ref())).await.expect("in time");
    let given = given.expect("read");
    assert_eq!(given.numbers(), (0..20).collect::<Vec<_>>());
    assert!(given.batches.iter().all(|batch| batch.num_rows() <= 6), "4 MiB at most");
}

/// Small topics have misspelled columns, too.
#[tokio::test(start_paused = true)]
async fn a_column_that_no_record_has_is_told_of_when_all_are_read() {
    for bounded in [&[][..], &[("scan.bounded.mode", "latest-offset")]] {
        let world = World::new();
        world.topic("t", 2).await;
        world.put("t", 0, 0..3).await;
        let columns = schema(&[("n", DataType::Int64, true), ("m", DataType::Int64, true)]);
        let table = world.table_of(&[&[("topic", "t")][..], bounded].concat(), columns);
        let splits = splits(table.as_ref()).await;
        read_on(open(table.as_ref(), &splits[1]).await.as_mut()).await.expect("it is empty");
        assert!(!world.was_told_of("column m"), "nobody knows");
        read_on(open(table.as_ref(), &splits[0]).await.as_mut()).await.expect("read");
        assert_eq!(["column m", "column n"].map(|about| world.was_told_of(about)), [true, false]);
    }
}
