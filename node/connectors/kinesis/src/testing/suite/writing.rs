//! Checks of batches of records.

use std::collections::BTreeMap;

use super::{
    Check,
    world::{World, new, retried, values},
};
use crate::{KinesisError, NewRecord, PUT_RECORDS_MAX, Put, Start, hash_key_of};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "records go to the shard of their key", run: |world| Box::pin(by_key(world)) },
    Check { name: "an explicit hash key chooses the shard", run: |world| Box::pin(by_hash_key(world)) },
    Check { name: "a full batch is written", run: |world| Box::pin(full(world)) },
    Check { name: "results are in the order of records", run: |world| Box::pin(results(world)) },
    Check { name: "what a batch cannot be is refused", run: |world| Box::pin(refused(world)) },
    Check { name: "a record that is too large is refused", run: |world| Box::pin(too_large(world)) },
    Check { name: "aggregated records pass through", run: |world| Box::pin(aggregated(world)) },
];

async fn by_key(world: &World<'_>) {
    let subject = world.stream(4).await;
    let shards = subject.all_shards().await;
    let keys: Vec<String> = (0..40).map(|number| format!("key-{number}")).collect();
    let records: Vec<NewRecord> = keys.iter().map(|key| new(key, "value")).collect();
    for (key, put) in keys.iter().zip(subject.put(&records).await) {
        let shard = shards.iter().find(|shard| shard.id == put.shard).expect("the shard is known");
        assert!(shard.hash_keys.contains(hash_key_of(key)), "{key} in {shard:?}");
    }
}

async fn by_hash_key(world: &World<'_>) {
    let subject = world.stream(3).await;
    let shards = subject.all_shards().await;
    for shard in &shards {
        for hash_key in [shard.hash_keys.first, shard.hash_keys.last] {
            let record = NewRecord { explicit_hash_key: Some(hash_key), ..new("always the same", "value") };
            let put = subject.put(&[record]).await.remove(0);
            assert_eq!(put.shard, shard.id, "{hash_key}");
        }
    }
}

async fn full(world: &World<'_>) {
    let subject = world.stream(2).await;
    let records: Vec<NewRecord> =
        (0..PUT_RECORDS_MAX).map(|number| new(&format!("key-{number}"), &number.to_string())).collect();
    subject.put(&records).await;
    let mut read = Vec::new();
    for shard in subject.all_shards().await {
        read.extend(values(&subject.read_from(&shard.id, &Start::TrimHorizon).await));
    }
    let mut numbers: Vec<usize> = read.iter().map(|value| value.parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..PUT_RECORDS_MAX).collect::<Vec<_>>());
}

async fn results(world: &World<'_>) {
    let subject = world.stream(3).await;
    let values_put: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    let records: Vec<NewRecord> = values_put.iter().map(|value| new(value, value)).collect();
    let puts: BTreeMap<String, Put> = values_put.into_iter().zip(subject.put(&records).await).collect();
    for shard in subject.all_shards().await {
        for record in subject.read_from(&shard.id, &Start::TrimHorizon).await {
            let put = &puts[&record.partition_key];
            assert_eq!((&put.shard, &put.sequence_number), (&shard.id, &record.sequence_number));
        }
    }
}

async fn refused(world: &World<'_>) {
    let subject = world.stream(1).await;
    let half = NewRecord { data: vec![0; 600_000].into(), ..new("key", "") };
    for records in [
        Vec::new(),
        vec![new("key", "value"); PUT_RECORDS_MAX + 1],
        vec![new("", "value")],
        vec![new(&"k".repeat(257), "value")],
        vec![half; 18],
    ] {
        let refused = subject.client.put_records(&records).await;
        assert!(matches!(refused, Err(KinesisError::Refused { .. })), "{refused:?}");
    }
}

async fn too_large(world: &World<'_>) {
    let subject = world.stream(1).await;
    let bytes = subject.client.describe().await.expect("it is described").record_bytes_max;
    let record = |bytes: usize| NewRecord { data: vec![7; bytes].into(), ..new("key", "") };
    let refused = retried(async || subject.client.put_records(&[record(bytes)]).await).await;
    assert!(matches!(refused, Err(KinesisError::Refused { .. })), "{refused:?}");
    // The key counts.
    subject.put(&[record(bytes - "key".len())]).await;
}

async fn aggregated(world: &World<'_>) {
    use crate::aggregation::{Packer, unpack};
    let subject = world.stream(2).await;
    let given: Vec<NewRecord> = (0..10).map(|number| new("key", &number.to_string())).collect();
    let mut packer = Packer::new(10_000);
    given.iter().for_each(|record| packer.push(record.clone()).expect("it fits"));
    let put = subject.put(&[packer.finish().expect("there are records")]).await.remove(0);
    let record = subject.read_from(&put.shard, &Start::TrimHorizon).await.remove(0);
    let parts: Vec<_> = unpack(&record.data).expect("it is aggregated").collect();
    let shards = subject.all_shards().await;
    let shard = shards.iter().find(|shard| shard.id == put.shard).expect("the shard is known");
    assert!(parts.iter().all(|part| part.belongs_to(&shard.hash_keys)));
    let data: Vec<_> = parts.into_iter().map(|part| part.data).collect();
    assert_eq!(data, given.into_iter().map(|record| record.data).collect::<Vec<_>>());
}
