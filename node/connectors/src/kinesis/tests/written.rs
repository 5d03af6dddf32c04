//! Streams that are written.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use arrow::datatypes::{Field, Schema};
use thalweg_kinesis::{
    KinesisError, PutFailed, Record,
    aggregation::unpack,
    model::{Call, Fault},
};
use thalweg_types::{connector::METADATA_COLUMN, graph::SinkOperator};

use super::*;
use crate::{
    SinkWriter, check_sink,
    testing::{EPOCHS, identity, open_sink_committer, open_sink_writer, seal, sink},
};

fn columns(keys: &[&str]) -> SchemaRef {
    let own = |name: &&str| {
        Field::new(*name, DataType::Utf8View, true)
            .with_metadata([(METADATA_COLUMN.to_owned(), (*name).to_owned())].into())
    };
    let plain = [Field::new("k", DataType::Utf8View, true), Field::new("n", DataType::Int64, true)];
    Arc::new(Schema::new(plain.into_iter().chain(keys.iter().map(own)).collect::<Vec<_>>()))
}

fn rows(schema: &SchemaRef, keys: &[&str], numbers: impl IntoIterator<Item = i64>) -> RecordBatch {
    let numbers: Vec<i64> = numbers.into_iter().collect();
    let key = |at: usize| keys[at % keys.len()];
    let text = || Arc::new(StringViewArray::from_iter_values((0..numbers.len()).map(key))) as ArrayRef;
    let mut columns = vec![text(), Arc::new(Int64Array::from(numbers.clone())) as ArrayRef];
    columns.extend((2..schema.fields().len()).map(|_| text()));
    RecordBatch::try_new(schema.clone(), columns).expect("they fit")
}

fn table(options: &[(&str, &str)], partition_by: Vec<usize>) -> SinkOperator {
    let options: Vec<(&str, &str)> =
        [("stream", STREAM), ("format", "json")].into_iter().chain(options.iter().copied()).collect();
    SinkOperator { partition_by, ..sink("kinesis", &options) }
}

impl World {
    fn writer(&self, spec: &SinkOperator, schema: &SchemaRef) -> Box<dyn SinkWriter> {
        open_sink_writer(spec, schema.clone(), identity(1, 1, 0), &self.context).expect("its options are sound")
    }

    /// All records, by shard and in their order.
    fn written(&self) -> Vec<Vec<Record>> {
        let shards = self.kinesis.shards_now(STREAM).expect("it is there");
        shards.iter().map(|shard| self.kinesis.records_now(STREAM, &shard.id).expect("it is there")).collect()
    }

    /// The numbers of each key, in the order of their shard.
    fn by_key(&self) -> BTreeMap<String, Vec<i64>> {
        let mut all = BTreeMap::<String, Vec<i64>>::new();
        for record in self.written().into_iter().flatten() {
            all.entry(record.partition_key.clone()).or_default().push(number(&record.data));
        }
        all
    }
}

fn number(data: &[u8]) -> i64 {
    let value: serde_json::Value = serde_json::from_slice(data).expect("it is JSON");
    value["n"].as_i64().expect("it has a number")
}

#[tokio::test(start_paused = true)]
async fn rows_are_there_once_a_checkpoint_is_sealed() {
    let world = World::of(2);
    let schema = columns(&[]);
    let mut writer = world.writer(&table(&[], vec![0]), &schema);
    writer.write(&rows(&schema, &["a", "b", "c"], 0..30)).await.expect("written");
    assert_eq!(seal(writer.as_mut()).await, Vec::<serde_json::Value>::new());
    let by_key = world.by_key();
    assert_eq!(by_key.keys().map(String::as_str).collect::<Vec<_>>(), ["a", "b", "c"]);
    let mut all: Vec<i64> = by_key.into_values().flatten().collect();
    all.sort_unstable();
    assert_eq!(all, (0..30).collect::<Vec<_>>());
    let first = &world.written().into_iter().flatten().next().expect("there are some").data;
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(first).expect("JSON").as_object().map(|row| row.len()),
        Some(2),
        "the key's column is in the data, too"
    );
}

#[tokio::test(start_paused = true)]
async fn keys_are_columns_a_column_of_their_own_or_any() {
    let keys = |spec: SinkOperator, schema: SchemaRef| async move {
        let world = World::of(4);
        let mut writer = world.writer(&spec, &schema);
        writer.write(&rows(&schema, &["7", "8"], 0..4)).await.expect("written");
        seal(writer.as_mut()).await;
        world
            .written()
            .into_iter()
            .flatten()
            .map(|record| record.partition_key)
            .collect::<std::collections::BTreeSet<_>>()
    };
    let set = |all: &[&str]| all.iter().map(|key| (*key).to_owned()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(keys(table(&[], vec![0, 1]), columns(&[])).await, set(&["7|0", "8|1", "7|2", "8|3"]));
    let delimited = table(&[("sink.partitioner-field-delimiter", "/")], vec![1, 0]);
    assert_eq!(keys(delimited, columns(&[])).await, set(&["0/7", "1/8", "2/7", "3/8"]));
    assert_eq!(keys(table(&[], vec![1]), columns(&["partition-key"])).await, set(&["7", "8"]), "its own column counts");
    assert_eq!(keys(table(&[("sink.partitioner", "fixed")], vec![]), columns(&[])).await.len(), 1);
    assert_eq!(keys(table(&[], vec![]), columns(&[])).await.len(), 4, "each has another");
    assert_eq!(keys(table(&[], vec![0]), columns(&["explicit-hash-key"])).await, set(&["7", "8"]));
}

#[tokio::test(start_paused = true)]
async fn rows_without_a_key_or_a_place_are_unfit() {
    let world = World::of(1);
    let schema = columns(&["partition-key", "explicit-hash-key"]);
    let writer = world.writer(&table(&[], vec![]), &schema);
    let long = "x".repeat(257);
    let texts = |values: [&str; 4]| Arc::new(StringViewArray::from_iter_values(values)) as ArrayRef;
    let batch = RecordBatch::try_new(
        schema.clone(),
        vec![
            texts(["a"; 4]),
            Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
            texts(["a", "", &long, "b"]),
            texts(["340282366920938463463374607431768211455", "0", "0", "340282366920938463463374607431768211456"]),
        ],
    )
    .expect("they fit");
    let faults = writer.unfit(&batch);
    assert_eq!(faults.iter().map(|fault| fault.row).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(faults[2].reason.contains("explicit hash key"), "{}", faults[2].reason);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_the_stream_does_not_take_is_set_aside() {
    let large = "x".repeat(1 << 20);
    for options in [&[][..], &[("sink.record-id.field", "id")]] {
        let world = World::of(1);
        let schema = columns(&[]);
        let spec = table(options, vec![1]);
        let mut writer = world.writer(&spec, &schema);
        writer.write(&rows(&schema, &["a", &large, "b"], 0..3)).await.expect("the others are written");
        let refused = writer.refused();
        assert_eq!(refused.iter().map(|fault| fault.row).collect::<Vec<_>>(), [1], "{options:?}");
        assert!(refused[0].reason.contains("the stream takes 1048576"), "{}", refused[0].reason);
        assert!(writer.refused().is_empty(), "it is told once");
        let committables = seal(writer.as_mut()).await;
        let committer = open_sink_committer(&spec, schema, &world.context).expect("its options are sound");
        committer.commit(EPOCHS, &committables).await.expect("what is left can be published");
        assert_eq!(world.by_key().into_values().flatten().collect::<Vec<_>>(), [0, 2], "{options:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_written_is_sent_again() {
    let world = World::of(2);
    world.kinesis.throttle(40);
    let reason = || "internal".to_owned();
    world.kinesis.fault(Call::PutRecords, Fault::Fail(KinesisError::Unavailable { reason: reason() }));
    world.kinesis.fault(Call::PutRecords, Fault::FailRecords(vec![0, 1], PutFailed::Failed { reason: reason() }));
    let schema = columns(&[]);
    let mut writer = world.writer(&table(&[("sink.batch.max-size", "10")], vec![0]), &schema);
    for from in (0..300).step_by(30) {
        writer.write(&rows(&schema, &["a", "b", "c", "d"], from..from + 30)).await.expect("written");
    }
    seal(writer.as_mut()).await;
    let mut all: Vec<i64> = world.by_key().into_values().flatten().collect();
    all.sort_unstable();
    assert_eq!(all, (0..300).collect::<Vec<_>>());
}

/// Whatever is sent again is counted, by table, and whoever sends it: a writer, or a committer.
#[tokio::test(start_paused = true)]
async fn what_is_sent_again_is_counted() {
    let world = World::of(1);
    let schema = columns(&[]);
    let failed = || PutFailed::Throttled { reason: "too much".to_owned() };
    let count = || world.context.resent.counts().iter().map(|(_, _, count)| *count).collect::<Vec<_>>();
    let spec = table(&[], vec![0]);
    let mut writer = world.writer(&spec, &schema);
    assert_eq!(count(), [0], "it is told from the start");
    world.kinesis.fault(Call::PutRecords, Fault::FailRecords(vec![0, 2], failed()));
    world.kinesis.fault(Call::PutRecords, Fault::Fail(KinesisError::Throttled { reason: "too much".to_owned() }));
    writer.write(&rows(&schema, &["a"], 0..5)).await.expect("handed over");
    seal(writer.as_mut()).await;
    assert_eq!(count(), [4], "two of five, and these once more");
    let spec = table(&[("sink.record-id.field", "id")], vec![0]);
    let mut writer = world.writer(&spec, &schema);
    writer.write(&rows(&schema, &["a"], 0..5)).await.expect("staged");
    let committables = seal(writer.as_mut()).await;
    world.kinesis.fault(Call::PutRecords, Fault::FailRecords(vec![1], failed()));
    let committer = open_sink_committer(&spec, schema, &world.context).expect("sound");
    committer.commit(EPOCHS, &committables).await.expect("sent");
    assert_eq!(count().iter().sum::<u64>(), 5);
}

/// Nothing could come that would go with it.
#[tokio::test(start_paused = true)]
async fn a_buffer_that_is_full_is_sent_at_once() {
    for more in [("sink.aggregation.enabled", "false"), ("sink.aggregation.enabled", "true")] {
        let world = World::of(1);
        unlimited(&world);
        let schema = columns(&[]);
        let mut writer = world.writer(&table(&[("sink.flush-buffer.timeout", "60 s"), more], vec![1]), &schema);
        let began = world.context.seams.clock.monotonic();
        // A writer has 1 MiB at least, and a request takes 500 records or 10 MiB.
        let large = "x".repeat(100_000);
        for n in 0..60 {
            writer.write(&rows(&schema, &[&large], [n])).await.expect("handed over");
        }
        let took = world.context.seams.clock.monotonic() - began;
        assert!(took < Duration::from_secs(10), "{more:?}: it took {took:?}");
    }
}

/// Writes numbers by some keys to streams that refuse a part of them. Returns whether each key's are in order.
async fn is_in_order(ordering: &str, active: Option<thalweg_types::bug::Bug>) -> bool {
    let world = World::of(2);
    world.kinesis.throttle(40);
    world.kinesis.shuffle_puts(true);
    thalweg_types::bug::activate(active);
    let schema = columns(&[]);
    let options = [("sink.ordering", ordering), ("sink.batch.max-size", "7")];
    let mut writer = world.writer(&table(&options, vec![0]), &schema);
    for from in (0..200).step_by(20) {
        writer.write(&rows(&schema, &["a", "b", "c"], from..from + 20)).await.expect("written");
        seal(writer.as_mut()).await;
    }
    writer.write(&rows(&schema, &["a", "b", "c"], 200..300)).await.expect("written");
    seal(writer.as_mut()).await;
    thalweg_types::bug::activate(None);
    let by_key = world.by_key();
    let mut all: Vec<i64> = by_key.values().flatten().copied().collect();
    all.sort_unstable();
    assert_eq!(all, (0..300).collect::<Vec<_>>());
    by_key.values().all(|numbers| numbers.is_sorted())
}

#[tokio::test(start_paused = true)]
async fn strict_keeps_the_order_of_a_key() {
    assert!(is_in_order("strict", None).await);
    assert!(!is_in_order("none", None).await, "Kinesis keeps none by itself");
    assert!(!is_in_order("strict", Some(thalweg_types::bug::Bug::RetryOutOfOrder)).await, "a retry out of order shows");
}

#[tokio::test(start_paused = true)]
async fn aggregated_records_are_those_of_one_shard_even_while_shards_are_split() {
    let world = World::of(2);
    unlimited(&world);
    let schema = columns(&[]);
    let options = [("sink.aggregation.enabled", "true"), ("sink.aggregation.max-size", "1 KiB")];
    let mut writer = world.writer(&table(&options, vec![1]), &schema);
    writer.write(&rows(&schema, &["a"], 0..200)).await.expect("written");
    seal(writer.as_mut()).await;
    let range = world.kinesis.shards_now(STREAM).expect("it is there")[0].hash_keys;
    world.kinesis.split(STREAM, &world.shard(0), middle(range)).expect("it is open");
    writer.write(&rows(&schema, &["a"], 200..400)).await.expect("written");
    seal(writer.as_mut()).await;
    let shards = world.kinesis.shards_now(STREAM).expect("it is there");
    let (mut all, mut records) = (Vec::new(), 0);
    for (shard, written) in shards.iter().zip(world.written()) {
        records += written.len();
        for record in written {
            match unpack(&record.data) {
                // As readers do.
                Some(parts) => {
                    all.extend(parts.filter(|part| part.belongs_to(&shard.hash_keys)).map(|part| number(&part.data)))
                }
                None => all.push(number(&record.data)),
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, (0..400).collect::<Vec<_>>());
    assert!(records < 200, "{records} records");
}

#[tokio::test(start_paused = true)]
async fn rows_with_ids_are_sent_when_their_checkpoint_is_complete() {
    let world = World::of(1);
    let spec = table(&[("sink.record-id.field", "id")], vec![0]);
    let schema = columns(&[]);
    let mut writer = world.writer(&spec, &schema);
    writer.write(&rows(&schema, &["a", "b"], 0..10)).await.expect("staged");
    let committables = seal(writer.as_mut()).await;
    assert!(world.by_key().is_empty(), "nothing is sent yet");
    let committer = open_sink_committer(&spec, schema.clone(), &world.context).expect("sound");
    committer.commit(EPOCHS, &committables).await.expect("sent");
    // A committer that does not know that it was done does it again, and readers can tell.
    committer.commit(EPOCHS, &committables).await.expect("sent");
    let ids = |record: &Record| {
        let value: serde_json::Value = serde_json::from_slice(&record.data).expect("JSON");
        value["id"].as_str().expect("it has an id").to_owned()
    };
    let all: Vec<String> = world.written().iter().flatten().map(ids).collect();
    let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (20, 10));
    assert!(all[0].starts_with("c1-1-0000000000000007-1-0-"), "{}", all[0]);
    let taken = table(&[("sink.record-id.field", "k")], vec![0]);
    assert!(open_sink_writer(&taken, schema, identity(1, 1, 0), &world.context).is_err());
}

#[tokio::test(start_paused = true)]
async fn what_nobody_but_a_person_can_mend_fails_the_writer() {
    let world = World::of(1);
    let schema = columns(&[]);
    let mut writer = world.writer(&table(&[], vec![0]), &schema);
    writer.write(&rows(&schema, &["a"], 0..3)).await.expect("handed over");
    assert!(world.kinesis.delete_stream(STREAM));
    let failed = writer.seal().await.expect("cut off").await.expect_err("there is no stream").to_string();
    assert!(failed.contains("no stream"), "{failed}");
    let refused = check_sink(&table(&[], vec![0]), schema, false, &world.context)
        .await
        .expect_err("there is no stream")
        .to_string();
    assert!(refused.contains("there is no stream"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_takes_no_more_makes_writers_wait() {
    let world = World::of(1);
    let schema = columns(&[]);
    let mut writer = world.writer(&table(&[], vec![0]), &schema);
    writer.write(&rows(&schema, &["a"], 0..10)).await.expect("handed over");
    world.kinesis.down();
    let mut written = 10;
    let waits = loop {
        let batch = rows(&schema, &["a"], written..written + 1000);
        match tokio::time::timeout(Duration::from_secs(60), writer.write(&batch)).await {
            Ok(wrote) => wrote.expect("handed over"),
            Err(_) => break true,
        }
        written += 1000;
        assert!(written < 1_000_000, "it takes everything");
    };
    assert!(waits);
    world.kinesis.up();
    seal(writer.as_mut()).await;
    let numbers = world.by_key().remove("a").expect("there are some");
    assert!(numbers.len() as i64 >= written);
}
