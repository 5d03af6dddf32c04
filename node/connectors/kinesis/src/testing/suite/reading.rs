//! Checks of iterators and pages.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    Check,
    world::{World, new, numbers, retried, values},
};
use crate::{KinesisError, NewRecord, SequenceNumber, ShardId, ShardIterator, Start};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "all records are read in order", run: |world| Box::pin(in_order(world)) },
    Check { name: "a record comes back as it was put", run: |world| Box::pin(whole(world)) },
    Check { name: "reading begins behind the last record", run: |world| Box::pin(latest(world)) },
    Check { name: "reading begins at any record", run: |world| Box::pin(at_any(world)) },
    Check { name: "reading begins at a time", run: |world| Box::pin(at_time(world)) },
    Check { name: "reading begins at the numbers of a shard", run: |world| Box::pin(at_start(world)) },
    Check { name: "no more than wanted is read", run: |world| Box::pin(bounded(world)) },
    Check { name: "a reader knows how far behind it is", run: |world| Box::pin(behind(world)) },
    Check { name: "an iterator can be used again", run: |world| Box::pin(again(world)) },
    Check { name: "what comes later is read", run: |world| Box::pin(later(world)) },
    Check { name: "a number of another stream is refused", run: |world| Box::pin(bad_position(world)) },
    Check { name: "a number that no stream has is refused", run: |world| Box::pin(no_position(world)) },
    Check { name: "a shard that is missing is told of", run: |world| Box::pin(missing_shard(world)) },
    Check { name: "what is no iterator is refused", run: |world| Box::pin(no_iterator(world)) },
];

async fn in_order(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    let puts = subject.put_values(&["a", "b", "c", "d"]).await;
    let records = subject.read_from(&shard, &Start::TrimHorizon).await;
    assert_eq!(values(&records), ["a", "b", "c", "d"]);
    let put: Vec<SequenceNumber> = puts.into_iter().map(|put| put.sequence_number).collect();
    assert_eq!(numbers(&records), put);
    assert!(put.is_sorted_by(|one, other| one < other), "{put:?}");
}

async fn whole(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    let created_ms = subject.client.describe().await.expect("it is described").created_ms;
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let given = [("schlüssel 鍵", every_byte), ("k", Vec::new()), (&"k".repeat(256), vec![0; 100_000])]
        .map(|(key, data)| NewRecord { partition_key: key.to_owned(), explicit_hash_key: None, data: data.into() });
    for record in &given {
        subject.put(std::slice::from_ref(record)).await;
    }
    let records = subject.read_from(&shard, &Start::TrimHorizon).await;
    assert_eq!(records.len(), given.len());
    for (record, given) in records.iter().zip(&given) {
        assert_eq!((&record.partition_key, &record.data), (&given.partition_key, &given.data));
        let arrived_ms = record.arrived_ms.expect("its time is told");
        assert!((created_ms..created_ms + 600_000).contains(&arrived_ms), "{arrived_ms} and {created_ms}");
    }
}

async fn latest(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    subject.put_values(&["before"]).await;
    let iterator = subject.iterator(&shard, &Start::Latest).await;
    let (nothing, page) = subject.read_on(iterator).await;
    assert_eq!(nothing, []);
    subject.put_values(&["after"]).await;
    let (records, _) = subject.read_on(page.next.expect("the shard is open")).await;
    assert_eq!(values(&records), ["after"]);
}

async fn at_any(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    let puts = subject.put_values(&["a", "b", "c"]).await;
    for (at, put) in puts.iter().enumerate() {
        let number = put.sequence_number.clone();
        let from = subject.read_from(&shard, &Start::At(number.clone())).await;
        assert_eq!(values(&from), &["a", "b", "c"][at..]);
        let behind = subject.read_from(&shard, &Start::After(number)).await;
        assert_eq!(values(&behind), &["a", "b", "c"][at + 1..]);
    }
}

async fn at_time(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    for value in ["a", "b", "c"] {
        subject.put_values(&[value]).await;
        sleep(Duration::from_millis(100)).await;
    }
    let all = subject.read_from(&shard, &Start::TrimHorizon).await;
    let times: Vec<i64> = all.iter().map(|record| record.arrived_ms.expect("its time is told")).collect();
    assert!(times.is_sorted_by(|one, other| one < other), "{times:?}");
    let between = |at: usize| i64::midpoint(times[at], times[at + 1]);
    let starts = [(times[0] - 1_000, &["a", "b", "c"][..]), (between(0), &["b", "c"]), (between(1), &["c"])];
    for (ms, expected) in starts {
        let records = subject.read_from(&shard, &Start::Timestamp(ms)).await;
        assert_eq!(values(&records), expected, "{ms} of {times:?}");
    }
}

async fn at_start(world: &World<'_>) {
    let subject = world.stream(1).await;
    subject.put_values(&["a"]).await;
    let shard = subject.all_shards().await.remove(0);
    let start = shard.sequence_numbers.start;
    let records = subject.read_from(&shard.id, &Start::At(start)).await;
    assert_eq!(values(&records), ["a"]);
}

async fn bounded(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    subject.put_values(&["a", "b", "c"]).await;
    let mut iterator = subject.iterator(&shard, &Start::TrimHorizon).await;
    let mut read = Vec::new();
    while read.len() < 3 {
        let page = subject.page(&iterator, 1).await;
        assert!(page.records.len() <= 1, "{page:?}");
        read.extend(values(&page.records));
        iterator = page.next.expect("the shard is open");
    }
    assert_eq!(read, ["a", "b", "c"]);
}

async fn behind(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    subject.put_values(&["a", "b"]).await;
    sleep(Duration::from_millis(300)).await;
    let iterator = subject.iterator(&shard, &Start::TrimHorizon).await;
    let first = subject.page(&iterator, 1).await;
    assert!(first.behind_ms.is_some_and(|behind| (1..600_000).contains(&behind)), "{first:?}");
    let second = subject.page(&first.next.expect("the shard is open"), 1).await;
    assert_eq!((values(&second.records), second.behind_ms), (vec!["b".to_owned()], Some(0)));
}

async fn again(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    subject.put_values(&["a"]).await;
    let iterator = subject.iterator(&shard, &Start::TrimHorizon).await;
    let first = subject.page(&iterator, 10).await;
    assert_eq!(
        (values(&first.records), subject.page(&iterator, 10).await.records),
        (vec!["a".to_owned()], first.records)
    );
}

async fn later(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    let iterator = subject.iterator(&shard, &Start::TrimHorizon).await;
    let mut next = subject.read_on(iterator).await.1.next.expect("the shard is open");
    for value in ["a", "b"] {
        subject.put(&[new("key", value)]).await;
        let (records, page) = subject.read_on(next).await;
        assert_eq!(values(&records), [value]);
        next = page.next.expect("the shard is open");
    }
}

/// A number that this stream has not given away: it is far beyond its own.
async fn bad_position(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    let own = subject.put_values(&["a"]).await.remove(0).sequence_number;
    let beyond: SequenceNumber = format!("9{}", &own.as_str()[1..]).parse().expect("a number");
    for start in [Start::At(beyond.clone()), Start::After(beyond)] {
        let refused = retried(async || subject.client.iterator(&shard, &start).await).await;
        assert!(matches!(refused, Err(KinesisError::BadPosition { .. })), "{refused:?}");
    }
}

async fn no_position(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    for number in ["7", &"9".repeat(129)] {
        let start = Start::After(number.parse().expect("a number"));
        let refused = retried(async || subject.client.iterator(&shard, &start).await).await;
        assert!(matches!(refused, Err(KinesisError::BadPosition { .. })), "{refused:?}");
    }
}

async fn missing_shard(world: &World<'_>) {
    let subject = world.stream(1).await;
    let missing = ShardId::from("shardId-000000000099");
    let told = subject.client.iterator(&missing, &Start::TrimHorizon).await;
    assert!(matches!(told, Err(KinesisError::NoShard { .. })), "{told:?}");
}

async fn no_iterator(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    let iterator = ShardIterator { shard, token: "AAAAno iterator".to_owned() };
    let refused = subject.client.get_records(&iterator, 1).await;
    assert!(matches!(refused, Err(KinesisError::Refused { .. })), "{refused:?}");
}
