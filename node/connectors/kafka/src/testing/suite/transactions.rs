//! Checks of transactions: who sees what when, and who may still write.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    Check,
    world::{World, read_count, read_nothing, read_to_end, to, value_of},
};
use crate::{Isolation, KafkaError, OffsetAt, TransactionalProducer};

use Isolation::{ReadCommitted, ReadUncommitted};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "what is committed is visible", run: |world| Box::pin(committed(world)) },
    Check { name: "what is aborted is not", run: |world| Box::pin(aborted(world)) },
    Check { name: "an open transaction holds readers back", run: |world| Box::pin(open(world)) },
    Check { name: "another producer fences the one before", run: |world| Box::pin(fenced(world)) },
    Check { name: "a producer that is fenced cannot commit", run: |world| Box::pin(fenced_commit(world)) },
    Check { name: "a transaction expires", run: |world| Box::pin(expired(world)) },
    Check { name: "a producer ends what another left open", run: |world| Box::pin(dangling(world)) },
    Check { name: "a transaction that is open is not begun again", run: |world| Box::pin(begun_twice(world)) },
    Check { name: "an empty transaction is committed", run: |world| Box::pin(without_records(world)) },
    Check { name: "many transactions follow one another", run: |world| Box::pin(many(world)) },
    Check { name: "transactions of two producers mix", run: |world| Box::pin(mixed(world)) },
    Check { name: "order is kept over 100,000 records of a transaction", run: |world| Box::pin(order(world)) },
    Check { name: "a refused record dooms its transaction", run: |world| Box::pin(refused(world)) },
    Check { name: "an aborted transaction is followed by another", run: |world| Box::pin(after_abort(world)) },
    Check { name: "a transaction spans topics", run: |world| Box::pin(several_topics(world)) },
    Check { name: "a producer takes its id again", run: |world| Box::pin(init_again(world)) },
    Check { name: "a commit that is dropped ends its producer", run: |world| Box::pin(dropped_commit(world)) },
    Check { name: "without init nothing begins", run: |world| Box::pin(without_init(world)) },
];

async fn ready(world: &World<'_>, id: &str) -> Box<dyn TransactionalProducer> {
    let mut producer = world.transactional(id);
    producer.init().await.expect("it takes its id");
    producer
}

async fn committed(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut producer = ready(world, "p").await;
    producer.begin().await.expect("it begins");
    producer.send(vec![to(&topic, 0, "a"), to(&topic, 0, "b")]).await.expect("they are handed over");
    producer.send(vec![to(&topic, 0, "c")]).await.expect("it is handed over");
    producer.commit().await.expect("it commits");
    assert_eq!(world.values(&topic, ReadCommitted, 3).await, ["a", "b", "c"]);
}

async fn aborted(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut producer = ready(world, "p").await;
    producer.begin().await.expect("it begins");
    producer.send(vec![to(&topic, 0, "a")]).await.expect("it is handed over");
    producer.flush().await.expect("it is written");
    producer.abort().await.expect("it aborts");
    world.write(&topic, &["b"]).await;
    assert_eq!(world.values(&topic, ReadCommitted, 1).await, ["b"]);
    assert_eq!(world.values(&topic, ReadUncommitted, 2).await, ["a", "b"]);
}

async fn open(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    world.write(&topic, &["a"]).await;
    let mut producer = ready(world, "p").await;
    producer.begin().await.expect("it begins");
    producer.send(vec![to(&topic, 0, "b")]).await.expect("it is handed over");
    producer.flush().await.expect("it is written");
    world.write(&topic, &["c"]).await;
    assert_eq!(world.offset(&topic, OffsetAt::Latest, ReadCommitted).await, 1);
    assert_eq!(world.offset(&topic, OffsetAt::Latest, ReadUncommitted).await, 3);
    let mut reader = world.reader(&topic, 0, ReadCommitted).await;
    assert_eq!(read_to_end(reader.as_mut()).await.iter().map(value_of).collect::<String>(), "a");
    read_nothing(reader.as_mut()).await;
    assert_eq!(reader.position(), 1);
    assert_eq!(world.values(&topic, ReadUncommitted, 3).await, ["a", "b", "c"]);
    producer.commit().await.expect("it commits");
    assert_eq!(read_count(reader.as_mut(), 2).await.iter().map(value_of).collect::<String>(), "bc");
    world.settled(&topic).await;
    assert_eq!(world.offset(&topic, OffsetAt::Latest, ReadCommitted).await, 4);
}

async fn fenced(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut old = ready(world, "p").await;
    let mut new = ready(world, "p").await;
    old.begin().await.expect("it does not know yet");
    let sent = old.send(vec![to(&topic, 0, "old")]).await;
    let told = if sent.is_ok() { old.flush().await } else { sent };
    assert_eq!(told, Err(KafkaError::Fenced { id: world.named("p") }));
    assert_eq!(old.commit().await, Err(KafkaError::Fenced { id: world.named("p") }));
    new.begin().await.expect("it begins");
    new.send(vec![to(&topic, 0, "new")]).await.expect("it is handed over");
    new.commit().await.expect("it commits");
    assert_eq!(world.values(&topic, ReadCommitted, 1).await, ["new"]);
}

async fn fenced_commit(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut old = ready(world, "p").await;
    old.begin().await.expect("it begins");
    old.send(vec![to(&topic, 0, "old")]).await.expect("it is handed over");
    old.flush().await.expect("it is written");
    let mut new = ready(world, "p").await;
    assert_eq!(old.commit().await, Err(KafkaError::Fenced { id: world.named("p") }));
    assert_eq!(old.abort().await, Err(KafkaError::Fenced { id: world.named("p") }));
    assert!(old.begin().await.is_err());
    new.begin().await.expect("it begins");
    new.send(vec![to(&topic, 0, "new")]).await.expect("it is handed over");
    new.commit().await.expect("it commits");
    assert_eq!(world.values(&topic, ReadCommitted, 1).await, ["new"]);
}

async fn expired(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut producer = world.transactional_within("p", 2_000);
    producer.init().await.expect("it takes its id");
    producer.begin().await.expect("it begins");
    producer.send(vec![to(&topic, 0, "late")]).await.expect("it is handed over");
    producer.flush().await.expect("it is written");
    assert_eq!(world.offset(&topic, OffsetAt::Latest, ReadCommitted).await, 0);
    sleep(Duration::from_millis(2_500)).await;
    world.settled(&topic).await;
    // Brokers have raised the epoch, so it is as if another producer had come.
    assert_eq!(producer.commit().await, Err(KafkaError::Fenced { id: world.named("p") }));
    let mut next = ready(world, "p").await;
    next.begin().await.expect("it begins");
    next.send(vec![to(&topic, 0, "next")]).await.expect("it is handed over");
    next.commit().await.expect("it commits");
    assert_eq!(world.values(&topic, ReadCommitted, 1).await, ["next"]);
}

async fn dangling(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut old = ready(world, "p").await;
    old.begin().await.expect("it begins");
    old.send(vec![to(&topic, 0, "old")]).await.expect("it is handed over");
    old.flush().await.expect("it is written");
    drop(old);
    assert_eq!(world.offset(&topic, OffsetAt::Latest, ReadCommitted).await, 0);
    let _new = ready(world, "p").await;
    // No transaction is open any more when `init` has returned: its record and a mark stand there.
    assert_eq!(world.offset(&topic, OffsetAt::Latest, ReadCommitted).await, 2);
    assert_eq!(world.values(&topic, ReadCommitted, 0).await, [""; 0]);
}

async fn begun_twice(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut producer = ready(world, "p").await;
    producer.begin().await.expect("it begins");
    assert!(producer.begin().await.is_err());
    producer.send(vec![to(&topic, 0, "a")]).await.expect("it is handed over");
    producer.commit().await.expect("it commits");
    assert!(producer.commit().await.is_err());
    assert!(producer.send(vec![to(&topic, 0, "b")]).await.is_err() || producer.flush().await.is_err());
    assert_eq!(world.values(&topic, ReadCommitted, 1).await, ["a"]);
}

async fn without_records(world: &World<'_>) {
    let mut producer = ready(world, "p").await;
    for commits in [true, false, true] {
        producer.begin().await.expect("it begins");
        if commits { producer.commit().await } else { producer.abort().await }.expect("it ends");
    }
}

async fn many(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut producer = ready(world, "p").await;
    for number in 0..30 {
        producer.begin().await.expect("it begins");
        producer.send(vec![to(&topic, 0, &number.to_string())]).await.expect("it is handed over");
        if number % 3 == 0 { producer.abort().await } else { producer.commit().await }.expect("it ends");
    }
    let wanted: Vec<String> = (0..30).filter(|number| number % 3 != 0).map(|number: i32| number.to_string()).collect();
    assert_eq!(world.values(&topic, ReadCommitted, 20).await, wanted);
}

async fn mixed(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let (mut one, mut other) = (ready(world, "one").await, ready(world, "other").await);
    one.begin().await.expect("it begins");
    other.begin().await.expect("it begins");
    for (number, value) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let producer = if number % 2 == 0 { &mut one } else { &mut other };
        producer.send(vec![to(&topic, 0, value)]).await.expect("it is handed over");
        producer.flush().await.expect("it is written");
    }
    other.commit().await.expect("it commits");
    // The first record of all is still open.
    assert_eq!(world.offset(&topic, OffsetAt::Latest, ReadCommitted).await, 0);
    one.abort().await.expect("it aborts");
    assert_eq!(world.values(&topic, ReadCommitted, 2).await, ["b", "d"]);
}

async fn order(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut producer = ready(world, "p").await;
    producer.begin().await.expect("it begins");
    let values: Vec<String> = (0..100_000).map(|number| number.to_string()).collect();
    for chunk in values.chunks(5_000) {
        let records = chunk.iter().map(|value| to(&topic, 0, value)).collect();
        producer.send(records).await.expect("they are handed over");
    }
    producer.commit().await.expect("it commits");
    let mut reader = world.reader(&topic, 0, ReadCommitted).await;
    let read = read_count(reader.as_mut(), values.len()).await;
    assert!(read.iter().map(value_of).eq(values));
}

async fn refused(world: &World<'_>) {
    let topic = world.topic_with("t", 1, &[("max.message.bytes", "20000")]).await;
    let mut producer = ready(world, "p").await;
    producer.begin().await.expect("it begins");
    let large: String = (0..10_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_string()).collect();
    producer.send(vec![to(&topic, 0, "before")]).await.expect("it is handed over");
    producer.flush().await.expect("it is written");
    let sent = producer.send(vec![to(&topic, 0, &large)]).await;
    let told = if sent.is_ok() { producer.flush().await } else { sent };
    assert!(matches!(told, Err(KafkaError::Refused { .. })), "{told:?}");
    let commit = producer.commit().await;
    assert!(matches!(commit, Err(KafkaError::Refused { .. })), "{commit:?}");
    producer.abort().await.expect("nothing is committed");
    // The commit is the first to hear of it.
    producer.begin().await.expect("it begins");
    producer.send(vec![to(&topic, 0, "before, too")]).await.expect("it is handed over");
    producer.send(vec![to(&topic, 0, &large)]).await.ok();
    let commit = producer.commit().await;
    assert!(matches!(commit, Err(KafkaError::Refused { .. })), "{commit:?}");
    drop(producer);
    let mut next = ready(world, "p").await;
    next.begin().await.expect("it begins");
    next.send(vec![to(&topic, 0, "after")]).await.expect("it is handed over");
    next.commit().await.expect("it commits");
    assert_eq!(world.values(&topic, ReadCommitted, 1).await, ["after"]);
}

async fn after_abort(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut producer = ready(world, "p").await;
    producer.begin().await.expect("it begins");
    // Some of them may not have been sent when they are given up.
    producer.send((0..1_000).map(|_| to(&topic, 0, "given up")).collect()).await.expect("they are handed over");
    producer.abort().await.expect("it aborts");
    producer.begin().await.expect("it begins");
    producer.send(vec![to(&topic, 0, "kept")]).await.expect("it is handed over");
    producer.commit().await.expect("it commits");
    assert_eq!(world.values(&topic, ReadCommitted, 1).await, ["kept"]);
}

async fn several_topics(world: &World<'_>) {
    let (one, other) = (world.topic("one", 1).await, world.topic("other", 1).await);
    let mut producer = ready(world, "p").await;
    producer.begin().await.expect("it begins");
    producer.send(vec![to(&one, 0, "a"), to(&other, 0, "b")]).await.expect("they are handed over");
    producer.flush().await.expect("they are written");
    for topic in [&one, &other] {
        assert_eq!(world.offset(topic, OffsetAt::Latest, ReadCommitted).await, 0);
    }
    producer.commit().await.expect("it commits");
    assert_eq!(world.values(&one, ReadCommitted, 1).await, ["a"]);
    assert_eq!(world.values(&other, ReadCommitted, 1).await, ["b"]);
}

async fn init_again(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    for value in ["a", "b", "c"] {
        let mut producer = ready(world, "p").await;
        producer.begin().await.expect("it begins");
        producer.send(vec![to(&topic, 0, value)]).await.expect("it is handed over");
        producer.commit().await.expect("it commits");
    }
    assert_eq!(world.values(&topic, ReadCommitted, 3).await, ["a", "b", "c"]);
}

async fn without_init(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut producer = world.transactional("p");
    assert!(producer.begin().await.is_err());
    assert!(producer.send(vec![to(&topic, 0, "a")]).await.is_err());
    assert!(producer.commit().await.is_err());
    assert_eq!(world.values(&topic, ReadCommitted, 0).await, [""; 0]);
}

async fn dropped_commit(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut producer = ready(world, "p").await;
    producer.begin().await.expect("it begins");
    producer.send(vec![to(&topic, 0, "a")]).await.expect("it is handed over");
    let mut commit = producer.commit();
    let begun = std::future::poll_fn(|context| std::task::Poll::Ready(commit.as_mut().poll(context))).await;
    drop(commit);
    if begun.is_pending() {
        for ended in [producer.commit().await, producer.abort().await, producer.begin().await] {
            assert!(matches!(ended, Err(KafkaError::Broken { .. })), "{ended:?}");
        }
    }
    drop(producer);
    // Whether it went through or not, the next producer goes on.
    let mut next = ready(world, "p").await;
    next.begin().await.expect("it begins");
    next.send(vec![to(&topic, 0, "b")]).await.expect("it is handed over");
    next.commit().await.expect("it commits");
    world.settled(&topic).await;
    let read = read_to_end(world.reader(&topic, 0, ReadCommitted).await.as_mut()).await;
    let values: Vec<String> = read.iter().map(value_of).collect();
    assert!(values == ["b"] || values == ["a", "b"], "{values:?}");
}
