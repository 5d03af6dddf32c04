//! Checks of partitions whose leader becomes another broker.

use super::{
    Check,
    world::{World, first_of, read_count, to, value_of},
};
use crate::{Isolation::ReadCommitted, Position};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "readers and writers follow a leader", run: |world| Box::pin(followed(world)) },
    Check { name: "a transaction outlives a leader", run: |world| Box::pin(outlived(world)) },
];

async fn followed(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut producer = world.producer();
    let mut reader = world.reader(&topic, 0, ReadCommitted).await;
    let mut epochs = Vec::new();
    for value in ["a", "b", "c"] {
        producer.send(vec![to(&topic, 0, value)]).await.expect("it is handed over");
        producer.flush().await.expect("it is written");
        let read = read_count(reader.as_mut(), 1).await;
        assert_eq!(value_of(&read[0]), value);
        epochs.push(read[0].leader_epoch.expect("it is told"));
        world.harness.change_leader(&first_of(&topic)).await.expect("another broker leads");
    }
    assert!(epochs.is_sorted_by(|earlier, later| earlier < later), "{epochs:?}");
    // Nothing was cut back, so a position of an earlier leader is as good as any.
    let from = Position { offset: 1, leader_epoch: Some(epochs[0]) };
    let mut again = world.consumer(ReadCommitted).read_from(&first_of(&topic), from).await.expect("a reader");
    assert_eq!(read_count(again.as_mut(), 2).await.iter().map(value_of).collect::<String>(), "bc");
}

async fn outlived(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let mut producer = world.transactional("p");
    producer.init().await.expect("it takes its id");
    producer.begin().await.expect("it begins");
    producer.send(vec![to(&topic, 0, "a")]).await.expect("it is handed over");
    producer.flush().await.expect("it is written");
    world.harness.change_leader(&first_of(&topic)).await.expect("another broker leads");
    producer.send(vec![to(&topic, 0, "b")]).await.expect("it is handed over");
    producer.commit().await.expect("it commits");
    assert_eq!(world.values(&topic, ReadCommitted, 2).await, ["a", "b"]);
}
