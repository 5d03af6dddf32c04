//! Checks of records: what is written is read, in order, where it belongs.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{
    Check,
    world::{World, all, empty, first_of, keyed, read_count, read_nothing, read_to_end, to, value_of},
};
use crate::{Isolation, KafkaError, NewRecord, TimestampKind, partition_of_key};

use Isolation::ReadCommitted;

pub(super) const CHECKS: &[Check] = &[
    Check { name: "nulls and empty values stay apart", run: |world| Box::pin(nulls(world)) },
    Check { name: "headers keep their order, repeats and nulls", run: |world| Box::pin(headers(world)) },
    Check { name: "timestamps are the producer's or the broker's", run: |world| Box::pin(timestamps(world)) },
    Check { name: "a timestamp that records cannot have is refused", run: |world| Box::pin(early(world)) },
    Check { name: "a leader's epoch is told", run: |world| Box::pin(leader_epoch(world)) },
    Check { name: "big records pass", run: |world| Box::pin(big(world)) },
    Check { name: "keys choose the partitions of Java's clients", run: |world| Box::pin(java_partitions(world)) },
    Check { name: "records without a key are spread", run: |world| Box::pin(spread(world)) },
    Check { name: "order is kept over 100,000 records", run: |world| Box::pin(order(world)) },
    Check { name: "a record that is too large is refused", run: |world| Box::pin(too_large(world)) },
    Check { name: "a producer goes on after a topic that is missing", run: |world| Box::pin(goes_on(world)) },
    Check { name: "a queue that is small is enough", run: |world| Box::pin(small_queue(world)) },
    Check { name: "one producer writes to several topics", run: |world| Box::pin(several_topics(world)) },
];

async fn nulls(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    type Part = Option<&'static [u8]>;
    let pairs: [(Part, Part); 5] = [
        (None, None),
        (Some(b""), Some(b"")),
        (Some(b"k"), None),
        (None, Some(b"v")),
        (Some(&[0, 255]), Some(&[0xc3, 0x28])),
    ];
    let bytes = |part: Option<&'static [u8]>| part.map(Bytes::from_static);
    let mut producer = world.producer();
    let records = pairs.map(|(key, value)| NewRecord { key: bytes(key), value: bytes(value), ..empty(&topic) });
    producer.send(records.to_vec()).await.expect("they are handed over");
    producer.flush().await.expect("they are written");
    let mut reader = world.reader(&topic, 0, ReadCommitted).await;
    let read = read_count(reader.as_mut(), 5).await;
    assert!(
        read.iter()
            .map(|record| (record.key.clone(), record.value.clone()))
            .eq(pairs.map(|(key, value)| (bytes(key), bytes(value))))
    );
}

async fn headers(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let headers = [("b", value("1")), ("a", None), ("b", value("2")), ("größe", value("")), ("", value("x"))];
    let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut producer = world.producer();
    let with_headers = NewRecord { headers: headers.clone(), ..to(&topic, 0, "x") };
    producer.send(vec![with_headers, to(&topic, 0, "y")]).await.expect("they are handed over");
    producer.flush().await.expect("they are written");
    let read = read_count(world.reader(&topic, 0, ReadCommitted).await.as_mut(), 2).await;
    assert_eq!(read[0].headers, headers);
    assert_eq!(read[1].headers, []);
}

async fn timestamps(world: &World<'_>) {
    let created = world.topic("created", 1).await;
    let appended = world.topic_with("appended", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let mut producer = world.producer();
    let at = 1_700_000_000_123;
    for topic in [&created, &appended] {
        let given = NewRecord { timestamp_ms: Some(at), ..to(topic, 0, "x") };
        producer.send(vec![given, to(topic, 0, "y")]).await.expect("they are handed over");
    }
    producer.flush().await.expect("they are written");
    let read = read_count(world.reader(&created, 0, ReadCommitted).await.as_mut(), 2).await;
    assert_eq!(read[0].timestamp, Some((TimestampKind::CreateTime, at)));
    let (kind, sent_at) = read[1].timestamp.expect("it has one");
    assert!(kind == TimestampKind::CreateTime && sent_at > at, "{kind:?} {sent_at}");
    for record in read_count(world.reader(&appended, 0, ReadCommitted).await.as_mut(), 2).await {
        let (kind, appended_at) = record.timestamp.expect("it has one");
        assert!(kind == TimestampKind::LogAppendTime && appended_at > at, "{kind:?} {appended_at}");
    }
}

async fn early(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut producer = world.producer();
    for at in [0, -1, i64::MIN] {
        let record = NewRecord { timestamp_ms: Some(at), ..to(&topic, 0, "early") };
        let sent = producer.send(vec![record]).await;
        let told = if sent.is_ok() { producer.flush().await } else { sent };
        assert!(matches!(told, Err(KafkaError::Refused { .. })), "{at}: {told:?}");
    }
    let first = NewRecord { timestamp_ms: Some(NewRecord::TIMESTAMP_MS_MIN), ..to(&topic, 0, "first") };
    producer.send(vec![first]).await.expect("it is handed over");
    producer.flush().await.expect("it is written");
    let read = read_count(world.reader(&topic, 0, ReadCommitted).await.as_mut(), 1).await;
    assert_eq!(read[0].timestamp, Some((TimestampKind::CreateTime, NewRecord::TIMESTAMP_MS_MIN)));
}

async fn leader_epoch(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    world.write(&topic, &["x"]).await;
    let read = read_count(world.reader(&topic, 0, ReadCommitted).await.as_mut(), 1).await;
    assert_eq!(read[0].leader_epoch, Some(0));
}

async fn big(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut producer = world.producer();
    let value: Bytes = (0..900_000_u32).map(|index| index.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let record = || NewRecord { value: Some(value.clone()), ..empty(&topic) };
    producer.send(vec![record(), record(), record(), record()]).await.expect("they are handed over");
    producer.flush().await.expect("they are written");
    let read = read_count(world.reader(&topic, 0, ReadCommitted).await.as_mut(), 4).await;
    assert!(read.iter().all(|record| record.value.as_ref() == Some(&value)));
}

async fn java_partitions(world: &World<'_>) {
    const PARTITIONS: i32 = 12;
    let topic = world.topic("t", PARTITIONS).await;
    // As `org.apache.kafka.common.utils.Utils.murmur2` has it.
    let known = [("21", 0), ("abc", 3), ("foobar", 6), ("Zürich", 1), ("a-little-bit-longer-string", 11), ("", 9)];
    let others: Vec<String> = (0..200).map(|number| format!("key {number}")).collect();
    let mut producer = world.producer();
    let keys = known.iter().map(|(key, _)| *key).chain(others.iter().map(String::as_str));
    producer.send(keys.map(|key| keyed(&topic, key, key)).collect()).await.expect("they are handed over");
    producer.flush().await.expect("they are written");
    let mut found = BTreeSet::new();
    for of in all(&topic, PARTITIONS) {
        let mut reader = world.consumer(ReadCommitted).read(&of, 0).await.expect("a reader");
        for record in read_to_end(reader.as_mut()).await {
            let key = value_of(&record);
            let chosen = partition_of_key(key.as_bytes(), 12);
            assert_eq!(i64::from(of.partition), i64::from(chosen), "'{key}'");
            found.insert((key, of.partition));
        }
    }
    assert_eq!(found.len(), 206);
    for (key, partition) in known {
        assert!(found.contains(&(key.to_owned(), partition)), "'{key}'");
    }
}

async fn spread(world: &World<'_>) {
    let topic = world.topic("t", 4).await;
    let mut producer = world.producer();
    for _ in 0..40 {
        // A client may keep to one partition for a batch.
        let record = NewRecord { partition: None, ..to(&topic, 0, "x") };
        producer.send(vec![record]).await.expect("it is handed over");
        producer.flush().await.expect("it is written");
        tokio::time::sleep(std::time::Duration::from_millis(15)).await;
    }
    let mut counts = Vec::new();
    for of in all(&topic, 4) {
        let mut reader = world.consumer(ReadCommitted).read(&of, 0).await.expect("a reader");
        counts.push(read_to_end(reader.as_mut()).await.len());
    }
    assert_eq!(counts.iter().sum::<usize>(), 40);
    assert!(counts.iter().filter(|count| **count > 0).count() > 1, "{counts:?}");
}

async fn order(world: &World<'_>) {
    const RECORDS: i32 = 100_000;
    let topic = world.topic("t", 2).await;
    let mut producer = world.producer();
    for chunk in 0..100 {
        let numbers = chunk * RECORDS / 100..(chunk + 1) * RECORDS / 100;
        let records = numbers.map(|number| to(&topic, number % 2, &number.to_string())).collect();
        producer.send(records).await.expect("they are handed over");
    }
    producer.flush().await.expect("they are written");
    let consumer = world.consumer(ReadCommitted);
    for of in all(&topic, 2) {
        let mut reader = consumer.read(&of, 0).await.expect("a reader");
        let read = read_count(reader.as_mut(), 50_000).await;
        read_nothing(reader.as_mut()).await;
        let wanted = (0..RECORDS).filter(|number| number % 2 == of.partition).map(|number| number.to_string());
        assert!(read.iter().map(value_of).eq(wanted), "the order of {of}");
    }
}

async fn too_large(world: &World<'_>) {
    let topic = world.topic_with("t", 1, &[("max.message.bytes", "20000")]).await;
    let mut producer = world.producer();
    // It must not shrink.
    let value: String = (0..10_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_string()).collect();
    let sent = producer.send(vec![to(&topic, 0, &value)]).await;
    let refused = if sent.is_ok() { producer.flush().await } else { sent };
    assert!(matches!(refused, Err(KafkaError::Refused { .. })), "{refused:?}");
    world.write(&topic, &["small"]).await;
    assert_eq!(world.values(&topic, ReadCommitted, 1).await, ["small"]);
}

async fn goes_on(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut producer = world.producer();
    let missing = world.named("missing").into();
    let sent = producer.send(vec![to(&missing, 0, "x")]).await;
    let told = if sent.is_ok() { producer.flush().await } else { sent };
    assert_eq!(told, Err(KafkaError::NoTopic { topic: missing.to_string() }));
    producer.send(vec![to(&topic, 0, "y")]).await.expect("it is handed over");
    producer.flush().await.expect("it is written");
    assert_eq!(world.values(&topic, ReadCommitted, 1).await, ["y"]);
}

async fn small_queue(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let config = crate::ClientConfig { queue_bytes: 200_000, ..world.config(&[]) };
    let mut producer = world.harness.kafka().producer(&config).expect("a client that writes");
    let value = "x".repeat(1_000);
    // Ten times what the queue holds, in one call.
    producer.send((0..2_000).map(|_| to(&topic, 0, &value)).collect()).await.expect("they are handed over");
    producer.flush().await.expect("they are written");
    let consumer = world.harness.kafka().consumer(&config, ReadCommitted).expect("a client that reads");
    let mut reader = consumer.read(&first_of(&topic), 0).await.expect("a reader");
    assert_eq!(read_count(reader.as_mut(), 2_000).await.len(), 2_000);
}

async fn several_topics(world: &World<'_>) {
    let (one, other) = (world.topic("one", 1).await, world.topic("other", 1).await);
    let mut producer = world.producer();
    let records = [(&one, "a"), (&other, "b"), (&one, "c")].map(|(topic, value)| to(topic, 0, value));
    producer.send(records.to_vec()).await.expect("they are handed over");
    producer.flush().await.expect("they are written");
    assert_eq!(world.values(&one, ReadCommitted, 2).await, ["a", "c"]);
    assert_eq!(world.values(&other, ReadCommitted, 1).await, ["b"]);
}
