//! What is asked of Kinesis, what is told of it, and what becomes of records that cannot be read.

use std::time::Duration;

use thalweg_kinesis::KinesisError;
use thalweg_kinesis::model::{Call, Fault};
use thalweg_types::CheckpointId;

use super::*;
use crate::Backlog;

#[tokio::test(start_paused = true)]
async fn a_reader_asks_for_no_more_than_a_shard_allows() {
    let world = World::of(1);
    for n in 0..5 {
        world.put(0, n * 100..n * 100 + 100).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let options = [("source.shard.get-records.max-record-count", "50")];
    let table = world.table(&options);
    let split = splits(table.as_ref()).await.remove(0);
    let mut reader = table.open(&split).await.expect("it opens");
    let began = world.context.seams.clock.monotonic();
    let mut all: Vec<i64> = Vec::new();
    while all.len() < 500 {
        match reader.next().await.expect("it can be read") {
            Read::Records { batch, .. } => all.extend(batch.column(0).as_primitive::<Int64Type>().values()),
            other => assert!(matches!(other, Read::CaughtUp), "{other:?}: it is throttled"),
        }
        assert_eq!(table.backlog().map(|backlog| backlog.throttled), Some(0));
    }
    assert_eq!(all, (0..500).collect::<Vec<_>>());
    let took = world.context.seams.clock.monotonic() - began;
    assert!(took >= Duration::from_millis(9 * 200), "ten requests came within {took:?}");
}

#[tokio::test(start_paused = true)]
async fn throttling_is_answered_with_patience_and_shown() {
    for way in WAYS {
        let world = World::of(1);
        unlimited(&world);
        world.put(0, 0..3).await;
        let table = world.table(way);
        let split = splits(table.as_ref()).await.remove(0);
        let mut reader = table.open(&split).await.expect("it opens");
        let call = if way.is_empty() { Call::GetRecords } else { Call::Subscribe };
        for _ in 0..3 {
            world.kinesis.fault(call, Fault::Fail(KinesisError::Throttled { reason: "too much".to_owned() }));
        }
        let throttled = || table.backlog().and_then(|backlog| (backlog.throttled == 1).then_some(()));
        let mut looks = 0;
        while throttled().is_none() {
            // It is a consumer that has to become active before, perhaps.
            let waited = tokio::time::timeout(Duration::from_millis(100), reader.next()).await;
            assert!(waited.is_err() || matches!(waited, Ok(Ok(Read::Waiting))), "{waited:?}");
            looks += 1;
            assert!(looks < 1000, "it is not shown");
        }
        drop(reader);
        let mut reader = table.open(&split).await.expect("it opens");
        assert_eq!(numbers_of(reader.as_mut(), 3).await, [0, 1, 2]);
        assert_eq!(table.backlog().map(|backlog| backlog.throttled), Some(0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_answer_is_waited_for() {
    for way in WAYS {
        let world = World::of(1);
        unlimited(&world);
        world.put(0, 0..3).await;
        let table = world.table(way);
        let split = splits(table.as_ref()).await.remove(0);
        world.kinesis.down();
        let mut reader = table.open(&split).await.expect("nobody is asked");
        assert!(matches!(reader.next().await, Ok(Read::Waiting)));
        assert_eq!(table.backlog().map(|backlog| backlog.unreachable), Some(1));
        let silent = tokio::time::timeout(Duration::from_secs(3600), reader.next()).await;
        assert!(silent.is_err(), "that is said once: {silent:?}");
        drop(reader);
        world.kinesis.up();
        let mut reader = table.open(&split).await.expect("it opens");
        assert_eq!(numbers_of(reader.as_mut(), 3).await, [0, 1, 2]);
        assert_eq!(table.backlog().map(|backlog| backlog.unreachable), Some(0));
    }
}

#[tokio::test(start_paused = true)]
async fn the_lag_is_what_kinesis_tells() {
    let world = World::of(1);
    unlimited(&world);
    world.put(0, 0..1).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    world.put(0, 1..2).await;
    tokio::time::sleep(Duration::from_secs(50)).await;
    let table = world.table(&[("source.shard.get-records.max-record-count", "1")]);
    let split = splits(table.as_ref()).await.remove(0);
    let mut reader = table.open(&split).await.expect("it opens");
    assert!(matches!(reader.next().await, Ok(Read::Records { .. })));
    let behind = table.backlog().and_then(|backlog| backlog.behind).expect("it is known");
    assert!((45..60).contains(&behind.as_secs()), "{behind:?}");
    read_on(reader.as_mut()).await.expect("it goes on");
    let caught_up = Backlog { behind: Some(Duration::ZERO), ..Backlog::default() };
    assert_eq!(table.backlog(), Some(caught_up));
}

#[tokio::test(start_paused = true)]
async fn metadata_are_columns() {
    use arrow::datatypes::{Field, Schema, TimeUnit};
    use thalweg_types::connector::METADATA_COLUMN;
    let world = World::of(1);
    unlimited(&world);
    world.put_records(&[record("alice", 5, 1)]).await;
    let field = |name: &str, data_type| {
        Field::new(name, data_type, true).with_metadata([(METADATA_COLUMN.to_owned(), name.to_owned())].into())
    };
    let columns = Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        field("shard-id", DataType::Utf8View),
        field("sequence-number", DataType::Utf8View),
        field("timestamp", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
        field("partition-key", DataType::Utf8View),
    ]);
    let table = world.try_table(&[], Arc::new(columns)).expect("sound");
    let split = splits(table.as_ref()).await.remove(0);
    let got = read(table.as_ref(), &split).await.expect("read");
    let batch = &got.batches[0];
    let text = |column: usize| batch.column(column).as_string_view().value(0).to_owned();
    let known = world.kinesis.records_now(STREAM, &world.shard(0)).expect("it is there").remove(0);
    assert_eq!((text(1), text(4)), ("shardId-000000000000".to_owned(), "alice".to_owned()));
    assert_eq!(text(2), known.sequence_number.to_string());
    let arrived = batch.column(3).as_primitive::<arrow::datatypes::TimestampMillisecondType>().value(0);
    assert_eq!(Some(arrived), known.arrived_ms);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_has_its_shard_and_sequence_number() {
    let world = World::of(1);
    unlimited(&world);
    let broken = NewRecord { data: Bytes::from_static(b"{\"n\": "), ..record("k", 0, 0) };
    world.put_records(std::slice::from_ref(&broken)).await;
    world.put(0, 1..3).await;
    let at = world.kinesis.records_now(STREAM, &world.shard(0)).expect("it is there")[0].sequence_number.clone();
    let table = world.table(&[]);
    let split = splits(table.as_ref()).await.remove(0);
    let failed = read(table.as_ref(), &split).await.expect_err("it cannot be read").to_string();
    let position = format!("shardId-000000000000@{at}");
    assert!(failed.contains(&position), "{failed}");
    let table = world.table(&[("dead-letter.path", "memory://letters")]);
    let got = read(table.as_ref(), &split).await.expect("it is set aside");
    assert_eq!(got.numbers(), [1, 2]);
    assert_eq!(got.letters.iter().map(|letter| letter.position.as_str()).collect::<Vec<_>>(), [position]);
    assert_eq!(got.letters[0].record, "{\"n\": ");
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_looked_at_before_a_job_runs() {
    let mut world = World::of(1);
    assert!(world.table(&[]).check(false).await.is_ok());
    world.next_attempt();
    let missing = world.table(&[("stream", "other")]);
    let refused = missing.check(false).await.expect_err("it is not there").to_string();
    assert!(refused.contains("there is no stream 'other' at Kinesis in "), "{refused}");
    assert!(missing.check(true).await.is_ok(), "that is for the rule of data loss");
    world.next_attempt();
    let own = [FAN_OUT[0], FAN_OUT[1], ("source.efo.lifecycle", "SELF_MANAGED")];
    let refused = world.table(&own).check(false).await.expect_err("nobody registered it").to_string();
    assert!(refused.contains("no consumer 'shop'"), "{refused}");
    world.next_attempt();
    world.kinesis.fault(Call::Describe, Fault::Fail(KinesisError::Denied { reason: "who are you".to_owned() }));
    let refused = world.table(&[]).check(true).await.expect_err("it is denied").to_string();
    assert!(refused.contains("aws.credentials"), "{refused}");
    world.kinesis.down();
    assert!(world.table(&[]).check(false).await.is_err());
    assert!(world.table(&[]).check(true).await.is_ok());
    let mut without = World::of(1);
    without.context.kinesis = None;
    let refused = without.try_table(&[], numbers()).map(drop).expect_err("there is no client").to_string();
    assert!(refused.contains("feature 'kinesis'"), "{refused}");
}

/// Else a job would run, fail and be restarted.
#[tokio::test(start_paused = true)]
async fn a_permission_that_is_missing_is_named_before_a_job_runs() {
    let polled = [(Call::Shards, "ListShards"), (Call::Iterator, "GetShardIterator"), (Call::GetRecords, "GetRecords")];
    let sent = [(Call::Shards, "ListShards"), (Call::Consumer, "DescribeStreamConsumer")];
    for (way, calls) in [(WAYS[0], &polled[..]), (WAYS[1], &sent)] {
        for (call, action) in calls {
            let world = World::of(2);
            world.kinesis.fault(*call, Fault::Fail(KinesisError::Denied { reason: "no policy".to_owned() }));
            let table = world.table(way);
            let refused = table.check(false).await.expect_err("it is refused").to_string();
            assert!(refused.contains(&format!("AWS refuses kinesis:{action} on stream 'clicks'")), "{refused}");
            assert!(table.check(false).await.is_ok(), "{action}");
            // Somebody else reads the shard, for example.
            world.kinesis.fault(*call, Fault::Fail(KinesisError::Throttled { reason: "too much".to_owned() }));
            assert!(table.check(false).await.is_ok(), "{action}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_is_registered_and_removed_by_its_job() {
    let world = World::of(1);
    unlimited(&world);
    world.put(0, 0..3).await;
    let table = world.table(FAN_OUT);
    let split = splits(table.as_ref()).await.remove(0);
    assert_eq!(read(table.as_ref(), &split).await.expect("read").numbers(), [0, 1, 2]);
    assert!(world.client().consumer("shop").await.expect("told").is_some());
    table.completed(CheckpointId(1), &[]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.client().consumer("shop").await.expect("told").is_some());
    table.completed(CheckpointId::FINAL, &[]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.client().consumer("shop").await.expect("told").is_none());
}

/// What readers hold comes from the memory for decoding.
#[tokio::test(start_paused = true)]
async fn readers_take_turns_where_memory_is_short() {
    let world = World::of(2);
    unlimited(&world);
    for part in 0..2 {
        world.put(hash_key(part, 2), (0..50).map(|n| i64::from(part) * 50 + n)).await;
    }
    let identity = SourceIdentity { common: world.common.clone(), ..source_identity(128 << 10) };
    let decoding = identity.decoding.clone();
    let options = [("stream", STREAM), ("source.init.position", "TRIM_HORIZON"), ("format", "json")];
    let spec = source("kinesis", &options, numbers());
    let table = open_source_of(identity, &spec, &settings(10), &world.context).expect("sound");
    let all = splits(table.as_ref()).await;
    let mut first = table.open(&all[0]).await.expect("it opens");
    let mut second = table.open(&all[1]).await.expect("it opens");
    assert!(matches!(first.next().await, Ok(Read::Records { .. })));
    assert!(decoding.held_bytes() > 0);
    assert!(matches!(second.next().await, Ok(Read::Waiting)), "the first one has all of it");
    assert_eq!(numbers_of(first.as_mut(), 40).await.len(), 40);
    drop(first);
    assert_eq!(numbers_of(second.as_mut(), 50).await, (50..100).collect::<Vec<_>>());
}
