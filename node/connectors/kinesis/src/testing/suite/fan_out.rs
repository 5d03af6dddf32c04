//! Checks of enhanced fan-out.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{
    Check,
    world::{Subject, World, until, values},
};
use crate::{ConsumerStatus, Event, KinesisError, Record, ShardId, Start, Subscription};

/// How long a shard's end may take.
const RECEIVE_LIMIT: Duration = Duration::from_secs(10);
/// A consumer may subscribe to a shard again after five seconds.
const RESUBSCRIBE: Duration = Duration::from_millis(5_500);

pub(super) const CHECKS: &[Check] = &[
    Check { name: "consumers come and go", run: |world| Box::pin(consumers(world)) },
    Check { name: "a subscription receives what is there", run: |world| Box::pin(present(world)) },
    Check { name: "a subscription receives what comes", run: |world| Box::pin(coming(world)) },
    Check { name: "a subscription goes on where another was", run: |world| Box::pin(resumed(world)) },
    Check { name: "a subscription begins behind the last record", run: |world| Box::pin(latest(world)) },
    Check { name: "a subscription tells of a shard's end", run: |world| Box::pin(ended(world)) },
    Check { name: "a closed shard ends its subscription at once", run: |world| Box::pin(closed(world)) },
    Check { name: "two consumers receive the same", run: |world| Box::pin(two(world)) },
    Check { name: "no consumer no subscription", run: |world| Box::pin(no_consumer(world)) },
    Check { name: "no shard no subscription", run: |world| Box::pin(no_shard(world)) },
    Check { name: "subscribing again too soon is refused", run: |world| Box::pin(too_soon(world)) },
    Check { name: "a number of another stream is not subscribed to", run: |world| Box::pin(bad_position(world)) },
];

async fn subscribe(subject: &Subject<'_>, consumer: &str, shard: &ShardId, start: &Start) -> Box<dyn Subscription> {
    subject.client.subscribe(consumer, shard, start).await.expect("it can subscribe")
}

async fn next(subscription: &mut dyn Subscription) -> Event {
    let received = timeout(Duration::from_secs(20), subscription.next()).await.expect("something comes");
    received.expect("the connection holds").expect("it has not ended")
}

/// Receives so many records. Returns the last event, too.
async fn receive(subscription: &mut dyn Subscription, count: usize) -> (Vec<Record>, Event) {
    let mut records = Vec::new();
    loop {
        let mut event = next(subscription).await;
        records.append(&mut event.records);
        assert!(records.len() <= count, "there are {} records, not {count}", records.len());
        if records.len() == count {
            return (records, event);
        }
    }
}

async fn consumers(world: &World<'_>) {
    let subject = world.stream(1).await;
    assert_eq!(subject.client.consumer("thalweg").await, Ok(None));
    let registered = subject.client.register_consumer("thalweg").await.expect("it can be registered");
    assert_eq!(registered.name, "thalweg");
    let twice = subject.client.register_consumer("thalweg").await;
    assert!(matches!(twice, Err(KinesisError::Busy { .. })), "{twice:?}");
    let status = async || {
        let consumer = subject.client.consumer("thalweg").await.expect("it is told of");
        consumer.map(|consumer| {
            assert_eq!((&consumer.name, &consumer.arn), (&registered.name, &registered.arn));
            consumer.status
        })
    };
    until("it is active", async || status().await == Some(ConsumerStatus::Active)).await;
    assert_eq!(subject.client.deregister_consumer("thalweg").await, Ok(true));
    until("it is gone", async || status().await.is_none()).await;
    assert_eq!(subject.client.deregister_consumer("thalweg").await, Ok(false));
}

async fn present(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    subject.put_values(&["a", "b", "c"]).await;
    let consumer = subject.consumer("thalweg").await;
    let mut subscription = subscribe(&subject, &consumer.arn, &shard, &Start::TrimHorizon).await;
    let (received, event) = receive(subscription.as_mut(), 3).await;
    assert_eq!(values(&received), ["a", "b", "c"]);
    assert_eq!((event.behind_ms, event.children), (Some(0), vec![]));
    assert_eq!(received, subject.read_from(&shard, &Start::TrimHorizon).await);
}

async fn coming(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    let consumer = subject.consumer("thalweg").await;
    let mut subscription = subscribe(&subject, &consumer.arn, &shard, &Start::TrimHorizon).await;
    for value in ["a", "b"] {
        let (received, _) = tokio::join!(receive(subscription.as_mut(), 1), async {
            sleep(Duration::from_millis(200)).await;
            subject.put_values(&[value]).await;
        })
        .0;
        assert_eq!(values(&received), [value]);
    }
}

async fn resumed(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    let consumer = subject.consumer("thalweg").await;
    subject.put_values(&["a", "b"]).await;
    let mut subscription = subscribe(&subject, &consumer.arn, &shard, &Start::TrimHorizon).await;
    let (_, event) = receive(subscription.as_mut(), 2).await;
    drop(subscription);
    subject.put_values(&["c"]).await;
    sleep(RESUBSCRIBE).await;
    let start = Start::After(event.continuation.expect("the shard is open"));
    let mut subscription = subscribe(&subject, &consumer.arn, &shard, &start).await;
    assert_eq!(values(&receive(subscription.as_mut(), 1).await.0), ["c"]);
}

async fn latest(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    subject.put_values(&["before"]).await;
    let consumer = subject.consumer("thalweg").await;
    let mut subscription = subscribe(&subject, &consumer.arn, &shard, &Start::Latest).await;
    // What is put now is behind the position.
    let received = tokio::join!(receive(subscription.as_mut(), 1), async {
        sleep(Duration::from_millis(500)).await;
        subject.put_values(&["after"]).await;
    })
    .0
    .0;
    assert_eq!(values(&received), ["after"]);
}

/// Receives until the shard ends. Returns the records and the last event.
async fn receive_all(subscription: &mut dyn Subscription) -> (Vec<Record>, Event) {
    let mut records = Vec::new();
    let received = timeout(RECEIVE_LIMIT, async {
        loop {
            let mut event = next(subscription).await;
            records.append(&mut event.records);
            if event.continuation.is_none() {
                return event;
            }
        }
    });
    let end = received.await.expect("the shard's end is told of");
    (records, end)
}

/// Why it cannot subscribe: the subscription's first event may say so.
async fn refusal(subject: &Subject<'_>, consumer: &str, shard: &ShardId, start: &Start) -> Option<KinesisError> {
    match subject.client.subscribe(consumer, shard, start).await {
        Ok(mut subscription) => subscription.next().await.err(),
        Err(error) => Some(error),
    }
}

fn check_end(end: &Event, children: &[crate::Shard]) {
    let mut told: Vec<ShardId> = end.children.iter().map(|child| child.id.clone()).collect();
    told.sort();
    let mut listed: Vec<ShardId> = children.iter().map(|child| child.id.clone()).collect();
    listed.sort();
    assert_eq!(told, listed);
}

async fn ended(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    let consumer = subject.consumer("thalweg").await;
    subject.put_values(&["a"]).await;
    let mut subscription = subscribe(&subject, &consumer.arn, &shard, &Start::TrimHorizon).await;
    let ((received, end), children) = tokio::join!(receive_all(subscription.as_mut()), async {
        sleep(Duration::from_millis(500)).await;
        subject.put_values(&["b"]).await;
        subject.split(&shard).await
    });
    assert_eq!(values(&received), ["a", "b"]);
    check_end(&end, &children);
    assert_eq!(subscription.next().await, Ok(None));
}

async fn closed(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    let consumer = subject.consumer("thalweg").await;
    subject.put_values(&["a", "b"]).await;
    let children = subject.split(&shard).await;
    let mut subscription = subscribe(&subject, &consumer.arn, &shard, &Start::TrimHorizon).await;
    let (received, end) = receive_all(subscription.as_mut()).await;
    assert_eq!(values(&received), ["a", "b"]);
    check_end(&end, &children);
    assert_eq!(subscription.next().await, Ok(None));
}

async fn two(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    subject.put_values(&["a", "b"]).await;
    for name in ["one", "other"] {
        let consumer = subject.consumer(name).await;
        let mut subscription = subscribe(&subject, &consumer.arn, &shard, &Start::TrimHorizon).await;
        assert_eq!(values(&receive(subscription.as_mut(), 2).await.0), ["a", "b"]);
    }
}

async fn no_consumer(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    let arn = subject.client.describe().await.expect("it is described").arn;
    let missing = format!("{arn}/consumer/nobody:1767225600");
    let refused = refusal(&subject, &missing, &shard, &Start::Latest).await;
    assert!(matches!(refused, Some(KinesisError::NoConsumer { .. })), "{refused:?}");
}

async fn no_shard(world: &World<'_>) {
    let subject = world.stream(1).await;
    let consumer = subject.consumer("thalweg").await;
    let missing = ShardId::from("shardId-000000000099");
    let refused = refusal(&subject, &consumer.arn, &missing, &Start::Latest).await;
    assert!(matches!(refused, Some(KinesisError::NoShard { .. })), "{refused:?}");
}

async fn too_soon(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    let consumer = subject.consumer("thalweg").await;
    let mut first = subscribe(&subject, &consumer.arn, &shard, &Start::TrimHorizon).await;
    next(first.as_mut()).await;
    let refused = refusal(&subject, &consumer.arn, &shard, &Start::TrimHorizon).await;
    assert!(matches!(refused, Some(KinesisError::Busy { .. })), "{refused:?}");
}

async fn bad_position(world: &World<'_>) {
    let subject = world.stream(1).await;
    let shard = subject.only_shard().await;
    let consumer = subject.consumer("thalweg").await;
    let start = Start::After("7".parse().expect("a number"));
    let refused = refusal(&subject, &consumer.arn, &shard, &start).await;
    assert!(matches!(refused, Some(KinesisError::BadPosition { .. })), "{refused:?}");
}
