//! Checks of shards: how they are listed, split and merged, and how they end.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    Check,
    world::{Subject, World, new, until, values},
};
use crate::{HashKeyRange, KinesisError, Shard, ShardFilter, ShardId, Start, StreamStatus, hash_key_of};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "a stream is described", run: |world| Box::pin(described(world)) },
    Check { name: "open shards have all hash keys", run: |world| Box::pin(covered(world)) },
    Check { name: "a list of many shards is whole", run: |world| Box::pin(many(world)) },
    Check { name: "a split has a parent and two children", run: |world| Box::pin(split(world)) },
    Check { name: "a merge has two parents and a child", run: |world| Box::pin(merged(world)) },
    Check { name: "shards are filtered", run: |world| Box::pin(filtered(world)) },
    Check { name: "shards are filtered at the trim horizon", run: |world| Box::pin(filtered_at_horizon(world)) },
    Check { name: "shards are filtered by time", run: |world| Box::pin(filtered_by_time(world)) },
    Check { name: "a closed shard ends with its children", run: |world| Box::pin(ended(world)) },
    Check { name: "a shard that was merged ends with one child", run: |world| Box::pin(merged_end(world)) },
    Check { name: "an open iterator reaches the end of its shard", run: |world| Box::pin(ended_meanwhile(world)) },
    Check { name: "records go to children after a split", run: |world| Box::pin(to_children(world)) },
    Check { name: "numbers of children are greater", run: |world| Box::pin(greater(world)) },
    Check { name: "a stream that is missing is told of", run: |world| Box::pin(missing(world)) },
    Check { name: "a stream that is deleted is told of", run: |world| Box::pin(deleted(world)) },
];

async fn described(world: &World<'_>) {
    let subject = world.stream(3).await;
    let described = subject.client.describe().await.expect("it is described");
    assert_eq!((&described.name, described.status), (&subject.name, StreamStatus::Active));
    assert!(described.arn.ends_with(&format!(":stream/{}", subject.name)), "{}", described.arn);
    assert_eq!((described.open_shards, described.retention_hours), (3, 24));
    assert!(described.created_ms > 0);
    assert_eq!(described.record_bytes_max, 1 << 20);
}

fn check_cover(shards: &[Shard]) {
    let mut open: Vec<HashKeyRange> =
        shards.iter().filter(|shard| shard.is_open()).map(|shard| shard.hash_keys).collect();
    open.sort();
    assert_eq!(open.first().map(|range| range.first), Some(0));
    assert_eq!(open.last().map(|range| range.last), Some(u128::MAX));
    for side_by_side in open.windows(2) {
        assert_eq!(side_by_side[0].last + 1, side_by_side[1].first);
    }
}

async fn covered(world: &World<'_>) {
    let subject = world.stream(3).await;
    let shards = subject.all_shards().await;
    assert_eq!(shards.len(), 3);
    check_cover(&shards);
    assert!(shards.iter().all(|shard| shard.is_open() && shard.parents().next().is_none()));
    let ids: Vec<&str> = shards.iter().map(|shard| shard.id.as_str()).collect();
    assert_eq!(ids, ["shardId-000000000000", "shardId-000000000001", "shardId-000000000002"]);
}

/// A page has 1,000.
async fn many(world: &World<'_>) {
    let subject = world.stream(1_000).await;
    let before = subject.all_shards().await;
    assert_eq!(before.len(), 1_000);
    subject.split(&before[3].id).await;
    let shards = subject.all_shards().await;
    assert_eq!(shards.len(), 1_002);
    check_cover(&shards);
    let behind = subject.shards(&ShardFilter::After(shards[0].id.clone())).await;
    assert_eq!(behind, shards[1..]);
}

async fn split(world: &World<'_>) {
    let subject = world.stream(2).await;
    let before = subject.all_shards().await;
    let [low, high] = subject.split(&before[1].id).await;
    let shards = subject.all_shards().await;
    assert_eq!(shards.len(), 4);
    check_cover(&shards);
    let parent = shards.iter().find(|shard| shard.id == before[1].id).expect("the parent is listed");
    assert!(!parent.is_open());
    assert_eq!(parent.hash_keys, before[1].hash_keys);
    for child in [&low, &high] {
        assert!(child.is_open());
        assert_eq!((child.parent.as_ref(), child.adjacent_parent.as_ref()), (Some(&parent.id), None));
        assert!(child.id > parent.id);
    }
    assert_eq!((low.hash_keys.first, high.hash_keys.last), (parent.hash_keys.first, parent.hash_keys.last));
    assert_eq!(shards[0], before[0]);
}

async fn merged(world: &World<'_>) {
    let subject = world.stream(2).await;
    let before = subject.all_shards().await;
    let child = subject.merge(&before[0].id, &before[1].id).await;
    let shards = subject.all_shards().await;
    assert_eq!(shards.iter().map(Shard::is_open).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(child.hash_keys, HashKeyRange::ALL);
    let mut parents: Vec<ShardId> = child.parents().cloned().collect();
    parents.sort();
    assert_eq!(parents, [before[0].id.clone(), before[1].id.clone()]);
    assert!(child.adjacent_parent.is_some());
}

async fn ids(subject: &Subject<'_>, filter: ShardFilter) -> Vec<ShardId> {
    subject.shards(&filter).await.into_iter().map(|shard| shard.id).collect()
}

/// A stream whose shard was split: all shards, and a time before that.
async fn split_stream<'a>(world: &World<'a>) -> (Subject<'a>, [ShardId; 3], i64) {
    let subject = world.stream(1).await;
    let parent = subject.only_shard().await;
    let created_ms = subject.client.describe().await.expect("it is described").created_ms;
    // Kinesis tells this time in whole seconds.
    sleep(Duration::from_millis(2_500)).await;
    let [low, high] = subject.split(&parent).await;
    let mut children = [low.id, high.id];
    children.sort();
    let [first, second] = children;
    (subject, [parent, first, second], created_ms + 1_500)
}

async fn filtered(world: &World<'_>) {
    let (subject, all, _) = split_stream(world).await;
    assert_eq!(ids(&subject, ShardFilter::All).await, all);
    assert_eq!(ids(&subject, ShardFilter::AtLatest).await, all[1..]);
    assert_eq!(ids(&subject, ShardFilter::FromTrimHorizon).await, all);
    assert_eq!(ids(&subject, ShardFilter::After(all[0].clone())).await, all[1..]);
    assert_eq!(ids(&subject, ShardFilter::After(all[2].clone())).await, []);
}

async fn filtered_at_horizon(world: &World<'_>) {
    let (subject, all, _) = split_stream(world).await;
    assert_eq!(ids(&subject, ShardFilter::AtTrimHorizon).await, all[..1]);
}

async fn filtered_by_time(world: &World<'_>) {
    let (subject, all, before_ms) = split_stream(world).await;
    assert_eq!(ids(&subject, ShardFilter::AtTimestamp(before_ms)).await, all[..1]);
    assert_eq!(ids(&subject, ShardFilter::FromTimestamp(before_ms)).await, all);
}

async fn ended(world: &World<'_>) {
    let subject = world.stream(1).await;
    let parent = subject.only_shard().await;
    subject.put_values(&["a", "b", "c"]).await;
    let children = subject.split(&parent).await;
    let iterator = subject.iterator(&parent, &Start::TrimHorizon).await;
    let first = subject.page(&iterator, 1).await;
    assert_eq!(values(&first.records), ["a"]);
    assert_eq!(first.children, []);
    let (rest, end) = subject.read_on(first.next.expect("there is more")).await;
    assert_eq!(values(&rest), ["b", "c"]);
    assert_eq!(end.next, None);
    check_children(&end.children, &children, &[parent]);
}

fn check_children(told: &[crate::ChildShard], children: &[Shard], parents: &[ShardId]) {
    let mut told = told.to_vec();
    told.sort_by(|one, other| one.id.cmp(&other.id));
    let mut listed: Vec<&Shard> = children.iter().collect();
    listed.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!(told.len(), listed.len(), "{told:?}");
    for (told, listed) in told.iter().zip(listed) {
        assert_eq!((&told.id, told.hash_keys), (&listed.id, listed.hash_keys));
        let mut of = told.parents.clone();
        of.sort();
        assert_eq!(of, parents);
    }
}

async fn merged_end(world: &World<'_>) {
    let subject = world.stream(2).await;
    let parents: Vec<ShardId> = subject.all_shards().await.into_iter().map(|shard| shard.id).collect();
    let child = subject.merge(&parents[0], &parents[1]).await;
    for parent in &parents {
        let iterator = subject.iterator(parent, &Start::TrimHorizon).await;
        let (records, end) = subject.read_on(iterator).await;
        assert_eq!((records, end.next), (Vec::new(), None));
        check_children(&end.children, std::slice::from_ref(&child), &parents);
    }
}

async fn ended_meanwhile(world: &World<'_>) {
    let subject = world.stream(1).await;
    let parent = subject.only_shard().await;
    subject.put_values(&["a"]).await;
    let iterator = subject.iterator(&parent, &Start::TrimHorizon).await;
    let (records, page) = subject.read_on(iterator).await;
    assert_eq!(values(&records), ["a"]);
    subject.put_values(&["b"]).await;
    let children = subject.split(&parent).await;
    let (records, end) = subject.read_on(page.next.expect("the shard was open")).await;
    assert_eq!((values(&records), end.next), (vec!["b".to_owned()], None));
    check_children(&end.children, &children, &[parent]);
}

async fn to_children(world: &World<'_>) {
    let subject = world.stream(1).await;
    let parent = subject.only_shard().await;
    let children = subject.split(&parent).await;
    let keys: Vec<String> = (0..20).map(|number| format!("key-{number}")).collect();
    let records: Vec<_> = keys.iter().map(|key| new(key, key)).collect();
    let puts = subject.put(&records).await;
    for (key, put) in keys.iter().zip(&puts) {
        let child = children.iter().find(|child| child.id == put.shard).expect("it is a child's");
        assert!(child.hash_keys.contains(hash_key_of(key)), "{key}");
    }
    let mut read = Vec::new();
    for child in &children {
        read.extend(values(&subject.read_from(&child.id, &Start::TrimHorizon).await));
    }
    read.sort();
    let mut expected = keys;
    expected.sort();
    assert_eq!(read, expected);
}

async fn greater(world: &World<'_>) {
    let subject = world.stream(1).await;
    let parent = subject.only_shard().await;
    let last = subject.put_values(&["a", "b"]).await.remove(1);
    let children = subject.split(&parent).await;
    let after = subject.put_values(&["c"]).await.remove(0);
    let parent = subject.all_shards().await.remove(0);
    let end = parent.sequence_numbers.end.expect("it is closed");
    assert!(parent.sequence_numbers.start <= last.sequence_number && last.sequence_number <= end);
    for child in children {
        assert!(child.sequence_numbers.start > end, "{child:?}");
    }
    assert!(after.sequence_number > end);
}

async fn missing(world: &World<'_>) {
    let client = world.no_stream();
    let shard = ShardId::from("shardId-000000000000");
    let is_told =
        |error: Option<KinesisError>| assert!(matches!(error, Some(KinesisError::NoStream { .. })), "{error:?}");
    is_told(client.describe().await.err());
    is_told(client.shards(&ShardFilter::All).await.err());
    is_told(client.iterator(&shard, &Start::Latest).await.err());
    is_told(client.put_records(&[new("key", "value")]).await.err());
    is_told(client.register_consumer("thalweg").await.err());
}

async fn deleted(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    subject.put_values(&["a"]).await;
    let iterator = subject.iterator(&shard, &Start::TrimHorizon).await;
    world.harness.delete_stream(&subject.name).await.expect("it can be deleted");
    until("it is gone", async || matches!(subject.client.describe().await, Err(KinesisError::NoStream { .. }))).await;
    let read = subject.client.get_records(&iterator, 1).await;
    assert!(matches!(read, Err(KinesisError::NoStream { .. })), "{read:?}");
}
