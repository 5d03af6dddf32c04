//! Checks of reading: offsets, ends, and readers beside and after one another.

use std::{future::poll_fn, task::Poll, time::Duration};

use tokio::time::timeout;

use super::{
    Check,
    world::{World, all, first_of, partition, read_count, read_nothing, read_to_end, to, value_of},
};
use crate::{Consumer, Fetched, Isolation, KafkaError, NewRecord, OffsetAt, OutOfRange, Position, TopicPartition};

use Isolation::{ReadCommitted, ReadUncommitted};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "offsets are told", run: |world| Box::pin(offsets(world)) },
    Check { name: "offsets are found by time", run: |world| Box::pin(timestamps(world)) },
    Check { name: "reading begins at any offset", run: |world| Box::pin(any_offset(world)) },
    Check { name: "an end is told once", run: |world| Box::pin(ends(world)) },
    Check { name: "a reader that waits is woken", run: |world| Box::pin(woken(world)) },
    Check { name: "no more than wanted is read", run: |world| Box::pin(bounded(world)) },
    Check { name: "at an end the position is behind control records", run: |world| Box::pin(control_records(world)) },
    Check { name: "an offset that is gone is out of range", run: |world| Box::pin(gone(world)) },
    Check { name: "an offset beyond the end is out of range", run: |world| Box::pin(beyond(world)) },
    Check { name: "what was read and is not there any more is told of", run: |world| Box::pin(with_epoch(world)) },
    Check { name: "a topic that is missing is told of", run: |world| Box::pin(missing_topic(world)) },
    Check { name: "a partition that is missing is told of", run: |world| Box::pin(missing_partition(world)) },
    Check { name: "a topic that is deleted is told of", run: |world| Box::pin(deleted_topic(world)) },
    Check { name: "readers of one consumer do not disturb one another", run: |world| Box::pin(side_by_side(world)) },
    Check { name: "a partition has one reader", run: |world| Box::pin(one_reader(world)) },
    Check { name: "a reader goes on where another was", run: |world| Box::pin(again(world)) },
    Check { name: "a consumer reads many partitions", run: |world| Box::pin(many_partitions(world)) },
    Check { name: "a call that is dropped loses nothing", run: |world| Box::pin(dropped_call(world)) },
    Check { name: "a partition whose reader nobody waits for is let go", run: |world| Box::pin(dropped_read(world)) },
    Check { name: "clients with wrong properties are refused", run: |world| Box::pin(wrong_properties(world)) },
    Check { name: "a broker that is not there is named", run: |world| Box::pin(wrong_address(world)) },
];

async fn offsets(world: &World<'_>) {
    let topic = world.topic("t", 2).await;
    world.write(&topic, &["a", "b", "c"]).await;
    let offsets = |at| {
        let admin = world.admin();
        let of = all(&topic, 2);
        async move { admin.offsets(&of, at, ReadCommitted).await.expect("they are told").into_values().collect::<Vec<_>>() }
    };
    assert_eq!(offsets(OffsetAt::Earliest).await, [0, 0]);
    assert_eq!(offsets(OffsetAt::Latest).await, [3, 0]);
    world.harness.delete_records(&first_of(&topic), 2).await.expect("they are deleted");
    assert_eq!(offsets(OffsetAt::Earliest).await, [2, 0]);
    assert_eq!(world.admin().offsets(&[], OffsetAt::Latest, ReadCommitted).await, Ok([].into()));
}

async fn timestamps(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut producer = world.producer();
    for at in [1_000, 2_000, 3_000] {
        let record = NewRecord { timestamp_ms: Some(at), ..to(&topic, 0, "x") };
        producer.send(vec![record]).await.expect("it is handed over");
        producer.flush().await.expect("it is written");
    }
    for (at, offset) in [(0, 0), (1_000, 0), (1_001, 1), (3_000, 2), (3_001, 3)] {
        assert_eq!(world.offset(&topic, OffsetAt::Timestamp(at), ReadCommitted).await, offset, "at {at}");
    }
}

async fn any_offset(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    world.write(&topic, &["a", "b", "c", "d"]).await;
    for (offset, wanted) in [(0, "abcd"), (2, "cd"), (4, "")] {
        let mut reader = world.reader(&topic, offset, ReadCommitted).await;
        assert_eq!(reader.position(), offset);
        let records = read_to_end(reader.as_mut()).await;
        assert_eq!(records.iter().map(value_of).collect::<String>(), wanted);
        assert!(records.iter().map(|record| record.offset).eq(offset..4));
        assert_eq!(reader.position(), 4);
    }
}

async fn ends(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut reader = world.reader(&topic, 0, ReadCommitted).await;
    assert_eq!(reader.next(10).await, Ok(Fetched::CaughtUp));
    read_nothing(reader.as_mut()).await;
    world.write(&topic, &["a"]).await;
    assert_eq!(read_count(reader.as_mut(), 1).await.len(), 1);
    assert_eq!(reader.next(10).await, Ok(Fetched::CaughtUp));
    let quiet = timeout(Duration::from_millis(300), reader.next(10)).await;
    assert!(quiet.is_err(), "one end was told twice: {quiet:?}");
}

async fn woken(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut reader = world.reader(&topic, 0, ReadCommitted).await;
    read_to_end(reader.as_mut()).await;
    let (next, ()) = tokio::join!(read_count(reader.as_mut(), 1), world.write(&topic, &["a"]));
    assert_eq!(value_of(&next[0]), "a");
}

async fn bounded(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    world.write(&topic, &["a", "b", "c", "d", "e"]).await;
    let mut reader = world.reader(&topic, 0, ReadCommitted).await;
    let mut read = Vec::new();
    while read.len() < 5 {
        if let Fetched::Records(records) = reader.next(2).await.expect("it can be read") {
            assert!((1..=2).contains(&records.len()), "{} records", records.len());
            read.extend(records);
            assert_eq!(reader.position(), i64::try_from(read.len()).expect("there are few"));
        }
    }
    assert_eq!(read.iter().map(value_of).collect::<String>(), "abcde");
}

async fn control_records(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut producer = world.transactional("p");
    producer.init().await.expect("it takes its id");
    for commits in [true, false] {
        producer.begin().await.expect("it begins");
        producer.send(vec![to(&topic, 0, "x")]).await.expect("it is handed over");
        producer.flush().await.expect("it is written");
        if commits { producer.commit().await } else { producer.abort().await }.expect("it ends");
    }
    world.settled(&topic).await;
    // A record and a mark of each transaction.
    for isolation in [ReadCommitted, ReadUncommitted] {
        let mut reader = world.reader(&topic, 0, isolation).await;
        while reader.position() < 4 {
            read_to_end(reader.as_mut()).await;
        }
        assert_eq!(world.offset(&topic, OffsetAt::Latest, isolation).await, 4);
        drop(reader);
        let mut reader = world.reader(&topic, 4, isolation).await;
        assert_eq!(reader.next(10).await, Ok(Fetched::CaughtUp));
    }
}

async fn gone(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    world.write(&topic, &["a", "b", "c"]).await;
    world.harness.delete_records(&first_of(&topic), 2).await.expect("they are deleted");
    let mut reader = world.reader(&topic, 1, ReadCommitted).await;
    let gone = KafkaError::OffsetOutOfRange { partition: first_of(&topic), offset: 1, why: OutOfRange::Outside };
    for _ in 0..2 {
        assert_eq!(reader.next(10).await, Err(gone.clone()));
    }
    let mut reader = world.reader(&topic, 2, ReadCommitted).await;
    assert_eq!(value_of(&read_count(reader.as_mut(), 1).await[0]), "c");
}

async fn beyond(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    world.write(&topic, &["a"]).await;
    let mut reader = world.reader(&topic, 5, ReadCommitted).await;
    let beyond = KafkaError::OffsetOutOfRange { partition: first_of(&topic), offset: 5, why: OutOfRange::Outside };
    assert_eq!(reader.next(10).await, Err(beyond));
}

async fn with_epoch(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    world.write(&topic, &["a", "b", "c"]).await;
    let of = first_of(&topic);
    // One client for all: it knows the partition's leader from the second time on.
    let consumer = world.consumer(ReadCommitted);
    let from = async |offset, leader_epoch| {
        let position = Position { offset, leader_epoch: Some(leader_epoch) };
        let mut reader = consumer.read_from(&of, position).await.expect("a reader");
        assert_eq!(reader.position(), offset);
        reader.next(10).await
    };
    for _ in 0..2 {
        let read = from(2, 0).await;
        assert!(matches!(&read, Ok(Fetched::Records(records)) if value_of(&records[0]) == "c"), "{read:?}");
        assert_eq!(from(3, 0).await, Ok(Fetched::CaughtUp));
        for (offset, epoch, end) in [(5, 0, Some(3)), (2, 7, None)] {
            let why = OutOfRange::CutBack { end };
            let cut_back = KafkaError::OffsetOutOfRange { partition: of.clone(), offset, why };
            assert_eq!(from(offset, epoch).await, Err(cut_back), "{offset} of epoch {epoch}");
        }
    }
}

async fn missing_topic(world: &World<'_>) {
    let topic = world.named("missing").into();
    let missing = KafkaError::NoTopic { topic: world.named("missing") };
    let offsets = world.admin().offsets(&[first_of(&topic)], OffsetAt::Latest, ReadCommitted).await;
    assert_eq!(offsets, Err(missing.clone()));
    let consumer = world.consumer(ReadCommitted);
    assert_eq!(read_once(consumer.as_ref(), &first_of(&topic)).await, Err(missing.clone()));
    let mut producer = world.producer();
    let sent = producer.send(vec![to(&topic, 0, "x")]).await;
    assert_eq!(if sent.is_ok() { producer.flush().await } else { sent }, Err(missing));
}

/// What a reader is told first; some clients know when they open it.
async fn read_once(consumer: &dyn Consumer, of: &TopicPartition) -> Result<Fetched, KafkaError> {
    consumer.read(of, 0).await?.next(10).await
}

async fn missing_partition(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let missing = KafkaError::NoTopic { topic: topic.to_string() };
    for of in [vec![partition(&topic, 3)], vec![partition(&topic, 0), partition(&topic, 3)]] {
        assert_eq!(world.admin().offsets(&of, OffsetAt::Latest, ReadCommitted).await, Err(missing.clone()));
    }
    let consumer = world.consumer(ReadCommitted);
    assert_eq!(read_once(consumer.as_ref(), &partition(&topic, 3)).await, Err(missing.clone()));
    let mut producer = world.producer();
    let sent = producer.send(vec![to(&topic, 3, "x")]).await;
    assert_eq!(if sent.is_ok() { producer.flush().await } else { sent }, Err(missing));
}

async fn deleted_topic(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    world.write(&topic, &["a"]).await;
    let mut reader = world.reader(&topic, 0, ReadCommitted).await;
    assert_eq!(read_to_end(reader.as_mut()).await.len(), 1);
    world.harness.delete_topic(&topic).await.expect("it is deleted");
    let told = async {
        loop {
            let told = reader.next(10).await;
            if told != Ok(Fetched::CaughtUp) {
                return told;
            }
        }
    };
    let told = timeout(Duration::from_secs(60), told).await;
    assert_eq!(told, Ok(Err(KafkaError::NoTopic { topic: topic.to_string() })));
}

async fn side_by_side(world: &World<'_>) {
    let topic = world.topic("t", 3).await;
    let mut producer = world.producer();
    let records = (0..300).map(|number: i32| to(&topic, number % 3, &number.to_string())).collect();
    producer.send(records).await.expect("they are handed over");
    producer.flush().await.expect("they are written");
    let consumer = world.consumer(ReadCommitted);
    let read = async |number: i32| {
        let mut reader = consumer.read(&partition(&topic, number), 0).await.expect("a reader");
        let read = read_count(reader.as_mut(), 100).await;
        let wanted = (0..300).filter(|value| value % 3 == number).map(|value| value.to_string());
        assert!(read.iter().map(value_of).eq(wanted), "partition {number}");
    };
    tokio::join!(read(0), read(1), read(2));
}

async fn one_reader(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let consumer = world.consumer(ReadCommitted);
    let reader = consumer.read(&first_of(&topic), 0).await.expect("a reader");
    assert!(consumer.read(&first_of(&topic), 0).await.is_err());
    drop(reader);
    assert!(consumer.read(&first_of(&topic), 0).await.is_ok());
}

async fn again(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let values: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    world.write(&topic, &values.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let consumer = world.consumer(ReadCommitted);
    let (mut position, mut read) = (0, Vec::new());
    while read.len() < 500 {
        // What the client had fetched already for the reader before is not read again.
        let mut reader = consumer.read(&first_of(&topic), position).await.expect("a reader");
        read.extend(read_count(reader.as_mut(), 100).await);
        position = reader.position();
    }
    assert!(read.iter().map(value_of).eq(values));
}

async fn many_partitions(world: &World<'_>) {
    const PARTITIONS: i32 = 64;
    let topic = world.topic("t", PARTITIONS).await;
    let mut producer = world.producer();
    let records = (0..20 * PARTITIONS).map(|number| to(&topic, number % PARTITIONS, &number.to_string())).collect();
    producer.send(records).await.expect("they are handed over");
    producer.flush().await.expect("they are written");
    let consumer = world.consumer(ReadCommitted);
    let mut readers = Vec::new();
    for of in all(&topic, PARTITIONS) {
        readers.push(consumer.read(&of, 0).await.expect("a reader"));
    }
    for (number, reader) in (0..PARTITIONS).zip(&mut readers) {
        let read = read_count(reader.as_mut(), 20).await;
        let wanted = (0..20).map(|round| (round * PARTITIONS + number).to_string());
        assert!(read.iter().map(value_of).eq(wanted), "partition {number}");
    }
}

async fn dropped_call(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut reader = world.reader(&topic, 0, ReadCommitted).await;
    for round in 0..20 {
        // Nothing is there for most of the time, so most calls are dropped while they wait.
        timeout(Duration::from_millis(1), reader.next(1)).await.ok();
        if round % 5 == 0 {
            world.write(&topic, &["x"]).await;
        }
        let position = reader.position();
        assert!(position <= 4, "{position}");
    }
    world.write(&topic, &["last"]).await;
    let rest = usize::try_from(5 - reader.position()).expect("there are five");
    let read = read_count(reader.as_mut(), rest).await;
    assert_eq!(read.last().map(value_of).as_deref(), Some("last"));
}

async fn dropped_read(world: &World<'_>) {
    const PARTITIONS: i32 = 24;
    let topic = world.topic("t", PARTITIONS).await;
    let consumer = world.consumer(ReadCommitted);
    let mut readers = Vec::new();
    for of in all(&topic, PARTITIONS) {
        // Some of these calls wait for a client that is being made, the others for the one that is there.
        let mut read = consumer.read(&of, 0);
        poll_fn(|context| {
            drop(read.as_mut().poll(context));
            Poll::Ready(())
        })
        .await;
        drop(read);
        readers.push(consumer.read(&of, 0).await.expect("a reader"));
    }
    for reader in &mut readers {
        assert_eq!(reader.next(1).await, Ok(Fetched::CaughtUp));
    }
}

async fn wrong_properties(world: &World<'_>) {
    let kafka = world.harness.kafka();
    for (name, value) in [
        ("enable.auto.commit", "true"),
        ("transactional.id", "x"),
        ("acks", "1"),
        ("isolation.level", "read_uncommitted"),
        ("socket.timeout.ms", "soon"),
        ("bootstrap.servers", ""),
    ] {
        let refused = kafka.consumer(&world.config(&[(name, value)]), ReadCommitted).err();
        let names_it = |reason: &String| reason.contains(name);
        assert!(matches!(&refused, Some(KafkaError::Config { reason }) if names_it(reason)), "{name}: {refused:?}");
    }
}

async fn wrong_address(world: &World<'_>) {
    // A port that only root can listen at, and where nobody does.
    let config = world.config(&[("bootstrap.servers", "127.0.0.1:1"), ("socket.timeout.ms", "3000")]);
    let admin = world.harness.kafka().admin(&config).expect("nothing is asked yet");
    let asked = admin.topics(&crate::Wanted::All).await;
    let names_it = |reason: &String| reason.contains("127.0.0.1:1");
    assert!(matches!(&asked, Err(KafkaError::Unavailable { reason }) if names_it(reason)), "{asked:?}");
    let consumer = world.harness.kafka().consumer(&config, ReadCommitted).expect("nothing is asked yet");
    let mut reader = consumer.read(&first_of(&"t".into()), 0).await.expect("a reader");
    assert!(timeout(Duration::from_millis(1_500), reader.next(1)).await.is_err());
    let trouble = reader.trouble().expect("it is told what the trouble is");
    assert!(trouble.contains("127.0.0.1:1"), "{trouble}");
}
