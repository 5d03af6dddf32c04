//! Checks of topics, their configuration, and the offsets of groups.

use std::collections::BTreeMap;

use super::{
    Check,
    world::{World, all, first_of, keyed, partition, to},
};
use crate::{Isolation, KafkaError, NewTopic, Topic, Wanted};

pub(super) const CHECKS: &[Check] = &[
    Check { name: "topics are described", run: |world| Box::pin(described(world)) },
    Check { name: "a topic made anew has another id", run: |world| Box::pin(anew(world)) },
    Check { name: "a topic that exists is not created", run: |world| Box::pin(exists(world)) },
    Check { name: "no client creates a topic by the way", run: |world| Box::pin(by_the_way(world)) },
    Check { name: "a topic that cannot be is refused", run: |world| Box::pin(impossible(world)) },
    Check { name: "the configuration of a topic is told", run: |world| Box::pin(configuration(world)) },
    Check { name: "offsets of a group are kept", run: |world| Box::pin(groups(world)) },
];

async fn described(world: &World<'_>) {
    let (one, other) = (world.topic("one", 1).await, world.topic("other", 3).await);
    let admin = world.admin();
    let names = [&*other, &*one, "missing", &*other].map(str::to_owned).to_vec();
    let named = admin.topics(&Wanted::Named(names)).await.expect("they are told");
    assert_eq!(
        named.iter().map(|topic| (topic.name.as_str(), topic.partitions)).collect::<Vec<_>>(),
        [(&*one, 1), (&*other, 3)]
    );
    assert!(named[0].id.is_some() && named[0].id != named[1].id);
    assert!(named.iter().all(|topic| topic.replication == 1 && topic.leaderless.is_empty()), "{named:?}");
    let every = admin.topics(&Wanted::All).await.expect("they are told");
    assert!(named.iter().all(|topic| every.contains(topic)));
    assert!(every.iter().all(|topic| !topic.name.starts_with("__")), "internal topics are told of");
    assert!(every.is_sorted_by(|a, b| a.name < b.name));
    assert_eq!(admin.topics(&Wanted::Named(Vec::new())).await, Ok(Vec::new()));
}

async fn anew(world: &World<'_>) {
    let topic = world.topic("t", 1).await;
    let named =
        || async { world.admin().topics(&Wanted::Named(vec![topic.to_string()])).await.expect("they are told") };
    let before: Vec<Topic> = named().await;
    world.harness.delete_topic(&topic).await.expect("it is deleted");
    world.until("the topic is gone", async || named().await.is_empty()).await;
    world.topic("t", 1).await;
    let after = named().await;
    assert_eq!(after.len(), 1);
    assert_ne!(after[0].id, before[0].id);
}

async fn exists(world: &World<'_>) {
    let topic = world.topic("t", 2).await;
    let again = NewTopic { name: topic.to_string(), partitions: 5, replication: None, config: BTreeMap::new() };
    assert_eq!(world.admin().create_topic(&again).await, Ok(false));
    let named = world.admin().topics(&Wanted::Named(vec![topic.to_string()])).await.expect("it is told");
    assert_eq!(named[0].partitions, 2);
}

async fn by_the_way(world: &World<'_>) {
    let missing = world.named("missing");
    let topic = missing.clone().into();
    let no_topic = KafkaError::NoTopic { topic: missing.clone() };
    let is_missing = async || world.admin().topics(&Wanted::Named(vec![missing.clone()])).await == Ok(Vec::new());
    assert!(is_missing().await);
    let mut producer = world.transactional("p");
    producer.init().await.expect("it takes its id");
    producer.begin().await.expect("it begins");
    let sent = producer.send(vec![to(&topic, 0, "x")]).await;
    assert_eq!(if sent.is_ok() { producer.flush().await } else { sent }, Err(no_topic.clone()));
    let mut producer = world.producer();
    let sent = producer.send(vec![keyed(&topic, "k", "x")]).await;
    assert_eq!(if sent.is_ok() { producer.flush().await } else { sent }, Err(no_topic.clone()));
    let mut reader = world.reader(&topic, 0, Isolation::ReadCommitted).await;
    assert_eq!(reader.next(1).await, Err(no_topic));
    assert!(is_missing().await, "a client has created it");
}

async fn impossible(world: &World<'_>) {
    let config = |key: &str| BTreeMap::from([(key.to_owned(), "1".to_owned())]);
    for topic in [
        NewTopic { name: "no spaces".to_owned(), partitions: 1, replication: None, config: BTreeMap::new() },
        NewTopic { name: world.named("none"), partitions: 0, replication: None, config: BTreeMap::new() },
        NewTopic { name: world.named("many"), partitions: 1, replication: Some(99), config: BTreeMap::new() },
        NewTopic { name: world.named("unknown"), partitions: 1, replication: None, config: config("no.such.key") },
    ] {
        let created = world.admin().create_topic(&topic).await;
        assert!(matches!(created, Err(KafkaError::Config { .. })), "{topic:?}: {created:?}");
    }
}

async fn configuration(world: &World<'_>) {
    let topic = world.topic_with("t", 1, &[("cleanup.policy", "compact")]).await;
    let told = |key: &'static str| {
        let (admin, topic) = (world.admin(), topic.clone());
        async move { admin.topic_config(&topic, key).await.expect("it is told") }
    };
    assert_eq!(told("cleanup.policy").await.as_deref(), Some("compact"));
    assert_eq!(told("delete.retention.ms").await.as_deref(), Some("86400000"));
    assert_eq!(told("max.message.bytes").await.as_deref(), Some("1048588"));
    assert_eq!(told("no.such.key").await, None);
    let missing = world.named("missing");
    let asked = world.admin().topic_config(&missing, "cleanup.policy").await;
    assert_eq!(asked, Err(KafkaError::NoTopic { topic: missing }));
}

async fn groups(world: &World<'_>) {
    let topic = world.topic("t", 3).await;
    world.write(&topic, &["a", "b", "c", "d"]).await;
    let (group, of) = (world.named("group"), all(&topic, 3));
    assert_eq!(world.group_offsets(&group, &of).await, BTreeMap::new());
    let admin = world.admin();
    for offsets in [vec![(first_of(&topic), 2), (partition(&topic, 1), 0)], vec![(first_of(&topic), 4)]] {
        admin.commit_group_offsets(&group, &offsets.into_iter().collect()).await.expect("they are committed");
    }
    let kept = BTreeMap::from([(first_of(&topic), 4), (partition(&topic, 1), 0)]);
    assert_eq!(world.group_offsets(&group, &of).await, kept);
    assert_eq!(world.group_offsets(&group, &of[2..]).await, BTreeMap::new());
    assert_eq!(world.group_offsets(&world.named("other"), &of).await, BTreeMap::new());
    // What a group has committed is no matter of readers.
    assert_eq!(world.values(&topic, Isolation::ReadCommitted, 4).await, ["a", "b", "c", "d"]);
}
