//! What the model does beyond the suite: limits, retention, expiry, and what goes wrong when it is told to.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::*;
use crate::{
    ConsumerStatus, Event, NewRecord, Page, Put, PutFailed, ShardIterator, Start, StreamName, Subscription,
    testing::seams::seams,
};

const STREAM: &str = "clicks";

fn model(shards: u32) -> (ModelKinesis, Arc<dyn Stream>) {
    let model = ModelKinesis::new(&seams());
    model.create_stream(STREAM, shards).expect("it can be created");
    let client = client(&model);
    (model, client)
}

fn config() -> ClientConfig {
    ClientConfig::new(StreamName::Name(STREAM.to_owned()))
}

fn client(model: &ModelKinesis) -> Arc<dyn Stream> {
    model.stream(&config()).expect("a client")
}

fn shard(number: u32) -> ShardId {
    ShardId(format!("shardId-{number:012}").into())
}

fn new(value: &str) -> NewRecord {
    NewRecord {
        partition_key: "key".to_owned(),
        explicit_hash_key: Some(0),
        data: Bytes::copy_from_slice(value.as_bytes()),
    }
}

async fn put(client: &dyn Stream, value: &str) -> Put {
    let mut results = client.put_records(&[new(value)]).await.expect("it is answered");
    results.remove(0).expect("it is written")
}

async fn iterator(client: &dyn Stream, start: Start) -> ShardIterator {
    client.iterator(&shard(0), &start).await.expect("an iterator")
}

async fn page(client: &dyn Stream, iterator: &ShardIterator) -> Page {
    client.get_records(iterator, 100).await.expect("records")
}

fn values(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(&record.data).expect("text")).collect()
}

async fn seconds(count: u64) {
    sleep(Duration::from_secs(count)).await;
}

#[tokio::test(start_paused = true)]
async fn retention_removes_records_and_then_closed_shards() {
    let (model, client) = model(1);
    model.keep_records(STREAM, Duration::from_hours(1)).expect("there is one");
    let first = put(client.as_ref(), "a").await;
    seconds(1_800).await;
    put(client.as_ref(), "b").await;
    let [low, _] = model.split(STREAM, &shard(0), 1 << 127).expect("it can be split");
    seconds(1_801).await;
    // The position is gone, and reading goes on without a word.
    let after = iterator(client.as_ref(), Start::After(first.sequence_number.clone())).await;
    assert_eq!(values(&page(client.as_ref(), &after).await.records), ["b"]);
    let at = iterator(client.as_ref(), Start::At(first.sequence_number)).await;
    assert_eq!(values(&page(client.as_ref(), &at).await.records), ["b"]);
    seconds(1_800).await;
    let gone = client.iterator(&shard(0), &Start::TrimHorizon).await;
    assert_eq!(gone, Err(KinesisError::NoShard { shard: shard(0) }));
    let left = client.shards(&ShardFilter::AtTrimHorizon).await.expect("shards");
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|left| left.parent == Some(shard(0))) && left[0].id == low);
}

#[tokio::test(start_paused = true)]
async fn iterators_expire() {
    let (model, client) = model(1);
    put(client.as_ref(), "a").await;
    let old = iterator(client.as_ref(), Start::TrimHorizon).await;
    seconds(299).await;
    let next = page(client.as_ref(), &old).await.next.expect("the shard is open");
    seconds(1).await;
    let expired = Err(KinesisError::ExpiredIterator { shard: shard(0) });
    assert_eq!(client.get_records(&old, 1).await, expired);
    // Each page has a new one.
    page(client.as_ref(), &next).await;
    model.expire_iterators();
    assert_eq!(client.get_records(&next, 1).await, expired);
    let new = iterator(client.as_ref(), Start::TrimHorizon).await;
    assert_eq!(values(&page(client.as_ref(), &new).await.records), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_read_five_times_a_second() {
    let (_model, client) = model(1);
    let iterator = iterator(client.as_ref(), Start::TrimHorizon).await;
    for _ in 0..5 {
        page(client.as_ref(), &iterator).await;
    }
    let throttled = client.get_records(&iterator, 1).await;
    assert!(matches!(throttled, Err(KinesisError::Throttled { .. })), "{throttled:?}");
    sleep(Duration::from_millis(200)).await;
    page(client.as_ref(), &iterator).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_page_delays_the_next() {
    let (_model, client) = model(1);
    for _ in 0..6 {
        let record = NewRecord { data: vec![0; 1_000_000].into(), ..new("") };
        assert!(client.put_records(&[record]).await.expect("it is answered")[0].is_ok());
        seconds(2).await;
    }
    let iterator = iterator(client.as_ref(), Start::TrimHorizon).await;
    assert_eq!(page(client.as_ref(), &iterator).await.records.len(), 6);
    // Six million bytes are three seconds' worth; the first is spent when nothing is owed any more.
    seconds(1).await;
    assert!(matches!(client.get_records(&iterator, 1).await, Err(KinesisError::Throttled { .. })));
    seconds(1).await;
    page(client.as_ref(), &iterator).await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_takes_a_thousand_records_a_second() {
    let (_model, client) = model(1);
    let batch = vec![new("a"); 500];
    let mut written = 0;
    for _ in 0..3 {
        let results = client.put_records(&batch).await.expect("it is answered");
        written += results.iter().filter(|result| result.is_ok()).count();
        assert!(results.iter().all(|result| !matches!(result, Err(PutFailed::Failed { .. }))));
    }
    assert_eq!(written, 1_000);
    seconds(1).await;
    assert!(client.put_records(&batch).await.expect("it is answered").iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn records_fail_one_by_one() {
    let (model, client) = model(1);
    let how = PutFailed::Failed { reason: "InternalFailure".to_owned() };
    model.fault(Call::PutRecords, Fault::FailRecords(vec![1], how.clone()));
    let results = client.put_records(&["a", "b", "c"].map(new)).await.expect("it is answered");
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(results[1], Err(how));
    let records = model.records_now(STREAM, &shard(0)).expect("there is one");
    assert_eq!(values(&records), ["a", "c"]);
    put(client.as_ref(), "b").await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_lost_after_the_effect() {
    let (model, client) = model(1);
    model.fault(Call::PutRecords, Fault::LoseAnswer);
    let lost = client.put_records(&[new("a")]).await;
    assert!(matches!(lost, Err(KinesisError::Unavailable { .. })), "{lost:?}");
    assert_eq!(values(&model.records_now(STREAM, &shard(0)).expect("there is one")), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_has_a_limit_or_is_released() {
    let (model, client) = model(1);
    model.fault(Call::Describe, Fault::Hang);
    let late = timeout(Duration::from_secs(31), client.describe()).await.expect("it has a limit");
    assert!(matches!(late, Err(KinesisError::Unavailable { .. })), "{late:?}");
    model.fault(Call::Describe, Fault::Hang);
    let (described, ()) = tokio::join!(client.describe(), async {
        seconds(1).await;
        model.release();
    });
    assert!(described.is_ok(), "{described:?}");
}

#[tokio::test(start_paused = true)]
async fn callers_are_told_apart() {
    let (model, other) = model(1);
    let one = client(&model.called_by("one"));
    model.cut_off("one");
    assert!(matches!(one.describe().await, Err(KinesisError::Unavailable { .. })));
    assert!(other.describe().await.is_ok());
    model.mend("one");
    let denied = KinesisError::Denied { reason: "no".to_owned() };
    model.fault_of("one", Call::Describe, Fault::Fail(denied.clone()));
    assert!(other.describe().await.is_ok());
    assert_eq!(one.describe().await, Err(denied));
    model.down();
    assert!(matches!(other.describe().await, Err(KinesisError::Unavailable { .. })));
    model.up();
    assert!(one.describe().await.is_ok() && other.describe().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn another_endpoint_or_account_is_not_the_models() {
    let (model, client) = model(1);
    let elsewhere = ClientConfig { endpoint: Some("http://localhost:1".to_owned()), ..config() };
    let asked = model.stream(&elsewhere).expect("a client").describe().await;
    assert!(matches!(asked, Err(KinesisError::Unavailable { reason }) if reason.contains("localhost:1")));
    let arn = client.describe().await.expect("it is described").arn;
    let by_arn = ClientConfig { stream: StreamName::Arn(arn), ..config() };
    assert!(model.stream(&by_arn).expect("a client").describe().await.is_ok());
    let other = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks".to_owned();
    let refused = model.stream(&ClientConfig { stream: StreamName::Arn(other), ..config() }).err();
    assert!(matches!(refused, Some(KinesisError::Config { .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn reads_may_be_empty_before_the_end() {
    let (model, client) = model(1);
    model.limit(Limits::NONE);
    model.skip_reads(60);
    for value in ["a", "b", "c"] {
        put(client.as_ref(), value).await;
    }
    model.split(STREAM, &shard(0), 5).expect("it can be split");
    let (mut next, mut read, mut empty) = (Some(iterator(client.as_ref(), Start::TrimHorizon).await), Vec::new(), 0);
    while let Some(iterator) = next {
        let page = client.get_records(&iterator, 1).await.expect("records");
        let is_empty = page.records.is_empty();
        assert!(page.next.is_some() || page.children.len() == 2);
        assert!(!is_empty || page.next.is_none() || page.behind_ms > Some(0));
        empty += u32::from(is_empty);
        read.extend(page.records);
        next = page.next;
    }
    assert_eq!(values(&read), ["a", "b", "c"]);
    assert!(empty > 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_may_come_in_any_order() {
    let (model, client) = model(1);
    model.shuffle_puts(true);
    let given: Vec<String> = (10..40).map(|number| number.to_string()).collect();
    let batch: Vec<NewRecord> = given.iter().map(|value| new(value)).collect();
    let results = client.put_records(&batch).await.expect("it is answered");
    let records = model.records_now(STREAM, &shard(0)).expect("there is one");
    let in_order = values(&records);
    assert_ne!(in_order, given);
    for (value, result) in given.iter().zip(results) {
        let number = result.expect("it is written").sequence_number;
        let at = records.iter().position(|record| record.sequence_number == number).expect("it is there");
        assert_eq!(in_order[at], value);
    }
}

async fn subscribed(client: &dyn Stream, start: Start) -> (String, Box<dyn Subscription>) {
    client.register_consumer("thalweg").await.expect("it is registered");
    seconds(1).await;
    let consumer = client.consumer("thalweg").await.expect("it is told of").expect("it is there");
    assert_eq!(consumer.status, ConsumerStatus::Active);
    let subscription = client.subscribe(&consumer.arn, &shard(0), &start).await.expect("it can subscribe");
    (consumer.arn, subscription)
}

async fn event(subscription: &mut dyn Subscription) -> Event {
    subscription.next().await.expect("the connection holds").expect("it has not ended")
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_after_five_minutes() {
    let (_model, client) = model(1);
    let (arn, mut subscription) = subscribed(client.as_ref(), Start::Latest).await;
    let mut last = None;
    let mut events = 0;
    while let Some(event) = subscription.next().await.expect("the connection holds") {
        assert_eq!((event.records, event.behind_ms), (vec![], Some(0)));
        last = event.continuation;
        events += 1;
    }
    assert_eq!(events, 60);
    put(client.as_ref(), "a").await;
    let start = Start::After(last.expect("the shard is open"));
    let mut subscription = client.subscribe(&arn, &shard(0), &start).await.expect("it can subscribe");
    assert_eq!(values(&event(subscription.as_mut()).await.records), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_breaks() {
    let (model, client) = model(1);
    let (arn, mut subscription) = subscribed(client.as_ref(), Start::TrimHorizon).await;
    let first = event(subscription.as_mut()).await;
    let (broken, ended) = tokio::join!(subscription.next(), async {
        sleep(Duration::from_millis(100)).await;
        model.break_subscriptions()
    });
    assert!(matches!(broken, Err(KinesisError::Unavailable { .. })), "{broken:?}");
    assert_eq!((ended, subscription.next().await), (1, Ok(None)));
    let start = Start::After(first.continuation.expect("the shard is open"));
    let soon = client.subscribe(&arn, &shard(0), &start).await.err();
    assert!(matches!(soon, Some(KinesisError::Busy { .. })), "{soon:?}");
    seconds(5).await;
    let mut again = client.subscribe(&arn, &shard(0), &start).await.expect("it can subscribe");
    seconds(5).await;
    // A later one takes its place.
    let mut later = client.subscribe(&arn, &shard(0), &start).await.expect("it can subscribe");
    let taken = again.next().await;
    assert!(matches!(taken, Err(KinesisError::Busy { .. })), "{taken:?}");
    drop(again);
    put(client.as_ref(), "a").await;
    assert_eq!(values(&event(later.as_mut()).await.records), ["a"]);
    model.fault(Call::Event, Fault::LoseAnswer);
    assert!(matches!(later.next().await, Err(KinesisError::Unavailable { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_dropped_while_it_waits_loses_nothing() {
    let (_model, client) = model(1);
    let (_, mut subscription) = subscribed(client.as_ref(), Start::TrimHorizon).await;
    event(subscription.as_mut()).await;
    for value in ["a", "b", "c"] {
        assert!(timeout(Duration::from_millis(10), subscription.next()).await.is_err());
        put(client.as_ref(), value).await;
        assert_eq!(values(&event(subscription.as_mut()).await.records), [value]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_gone_ends_its_subscriptions() {
    let (model, client) = model(1);
    let (_, mut subscription) = subscribed(client.as_ref(), Start::TrimHorizon).await;
    assert_eq!(client.deregister_consumer("thalweg").await, Ok(true));
    assert!(subscription.next().await.is_err());
    assert!(model.delete_stream(STREAM));
    assert!(matches!(client.describe().await, Err(KinesisError::NoStream { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_split_or_merged_is_refused() {
    let (model, _client) = model(3);
    let refused =
        |result: Result<(), KinesisError>| assert!(matches!(result, Err(KinesisError::Refused { .. })), "{result:?}");
    refused(model.split(STREAM, &shard(0), 0).map(drop));
    refused(model.split(STREAM, &shard(0), u128::MAX).map(drop));
    refused(model.merge(STREAM, &shard(0), &shard(2)).map(drop));
    refused(model.merge(STREAM, &shard(0), &shard(0)).map(drop));
    model.merge(STREAM, &shard(1), &shard(0)).expect("they are side by side");
    refused(model.split(STREAM, &shard(0), 5).map(drop));
    assert_eq!(model.split(STREAM, &shard(9), 5), Err(KinesisError::NoShard { shard: shard(9) }));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_gone_back_to() {
    let (model, client) = model(1);
    put(client.as_ref(), "a").await;
    let snapshot = model.snapshot();
    let before = model.revision();
    put(client.as_ref(), "b").await;
    model.split(STREAM, &shard(0), 5).expect("it can be split");
    model.restore(&snapshot);
    assert!(model.revision() > before);
    assert_eq!(model.shards_now(STREAM).expect("there is one").len(), 1);
    assert_eq!(values(&model.records_now(STREAM, &shard(0)).expect("there is one")), ["a"]);
    model.trim(STREAM).expect("there is one");
    assert_eq!(model.records_now(STREAM, &shard(0)), Ok(vec![]));
}
