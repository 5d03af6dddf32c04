//! Epochs that are large or small.

use super::*;

/// It would be part of a checkpoint that could never be published.
#[tokio::test(start_paused = true)]
async fn a_row_that_the_topic_does_not_take_is_set_aside() {
    let mut rig = Rig::of_topic(&[("max.message.bytes", "2000")]).await;
    let (mut job, node) = (Job::new(), rig.node());
    let mut writer = rig.writer(1, 0);
    let large = ("key-0".repeat(1000), 1);
    writer.write(&rows(&[("key-0".to_owned(), 0), large, ("key-0".to_owned(), 2)])).await.expect("written");
    let refused = writer.refused();
    assert_eq!(refused.iter().map(|fault| fault.row).collect::<Vec<_>>(), [1]);
    assert!(refused[0].reason.contains("'max.message.bytes' of topic 'out' is 2000"), "{}", refused[0].reason);
    assert_eq!(writer.refused(), [], "told once");
    let prepared = seal(writer.as_mut()).await;
    let written = [(0, vec![("key-0".to_owned(), 0), ("key-0".to_owned(), 2)])].into();
    job.on_complete(&written, prepared);
    rig.publish_all(&mut job, &node).await;
}

/// Rows with long texts: an object for every few hundred.
async fn take_large(rig: &Rig, job: &mut Job, count: i64) {
    let mut dealt = job.rows(count, 2);
    for (key, _) in dealt.values_mut().flatten() {
        *key = format!("{key}-{}", "x".repeat(1000));
    }
    let prepared = Job::prepare(rig, job.attempt, &dealt).await;
    job.on_complete(&dealt, prepared);
}

#[tokio::test(start_paused = true)]
async fn large_epochs_are_staged_and_go_when_their_attempt_is_over() {
    let mut rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    take_large(&rig, &mut job, 3000).await;
    assert!(rig.staged().await > 4, "{} objects", rig.staged().await);
    take_large(&rig, &mut job, 1500).await;
    rig.publish_all(&mut job, &node).await;
    job.attempt = 2;
    take_large(&rig, &mut job, 1500).await;
    let all = rig.staged().await;
    rig.committer(&node).discard(&cluster(), JobId(1), Attempt(2)).await.expect("discarded");
    let left = rig.staged().await;
    assert!(left > 0 && left < all, "{left} of {all}: those of the living attempt stay");
    let other = rig.node();
    rig.publish_all(&mut job, &other).await;
    rig.committer(&node).discard(&cluster(), JobId(1), Attempt(u32::MAX)).await.expect("discarded");
    assert_eq!(rig.staged().await, 0);
}

#[tokio::test(start_paused = true)]
async fn small_epochs_make_no_objects() {
    let mut rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    for _ in 0..5 {
        job.take(&rig, 100, 2).await;
        rig.publish_all(&mut job, &node).await;
    }
    assert_eq!(rig.staged().await, 0);
}

#[tokio::test(start_paused = true)]
async fn rows_that_are_lost_before_they_are_published_stop_the_job() {
    let mut rig = Rig::new().await;
    let mut job = Job::new();
    take_large(&rig, &mut job, 3000).await;
    let names: Vec<String> =
        rig.store().list("").await.expect("listed").into_iter().map(|object| object.name).collect();
    rig.store().delete(&names[1..2]).await.expect("deleted");
    let error = rig.order(&job, &rig.node()).await.expect_err("some rows are gone");
    assert_eq!(error.failure_kind(), FailureKind::Data);
    assert!(error.to_string().contains(&names[1]), "{error}");
    assert_eq!(rig.kafka.open_transactions(), [""; 0], "it is aborted");
    rig.check_nobody_is_held_back();
    sleep(TIMEOUT * 2).await;
    rig.looker.look().await;
    assert!(rig.looker.seen.is_empty(), "it is never committed");
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_is_too_large_for_its_transaction_gets_a_longer_one() {
    let mut rig = Rig::with(&[("sink.transaction-timeout", "5 s")]).await;
    let mut job = Job::new();
    // Transactions end after 5, 10, 20 and 40 seconds, and then after 80.
    for (tries, released) in [(3, Duration::from_secs(30)), (5, Duration::from_secs(75 + 78))] {
        for _ in 0..tries {
            rig.kafka.fault(Call::Commit, Fault::Hang);
        }
        job.take(&rig, 30, 2).await;
        let node = rig.node();
        let releasing = async {
            sleep(released).await;
            rig.kafka.release();
        };
        let orders = async {
            match rig.order(&job, &node).await {
                // What was not enough is remembered.
                Err(error) if tries > TRIES_MAX && error.failure_kind() == FailureKind::Store => {
                    rig.order(&job, &node).await
                }
                first => first,
            }
        };
        let (ordered, ()) = tokio::join!(orders, releasing);
        ordered.expect("it is published at last");
        job.on_published();
        rig.check_all(&job).await;
    }
}

#[tokio::test(start_paused = true)]
async fn brokers_that_allow_no_longer_transaction_are_named() {
    let mut rig = Rig::with(&[("sink.transaction-timeout", "5 s")]).await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 30, 2).await;
    rig.kafka.fault(Call::Commit, Fault::Hang);
    let order = rig.order(&job, &node);
    let refusing = async {
        sleep(Duration::from_secs(1)).await;
        let reason = "transaction timeout is larger than the maximum".to_owned();
        rig.kafka.fault(Call::Init, Fault::Fail(KafkaError::Refused { reason }));
    };
    let (order, ()) = tokio::join!(order, refusing);
    let error = order.expect_err("the second may not last longer");
    assert_eq!(error.failure_kind(), FailureKind::Store, "somebody can raise it while the job waits");
    let text = thalweg_types::text::with_causes(&error);
    assert!(text.contains("a transaction of 10 s") && text.contains("'transaction.max.timeout.ms'"), "{text}");
    rig.publish_all(&mut job, &node).await;
}

/// Brokers may go away between the tries.
#[tokio::test(start_paused = true)]
async fn the_time_that_an_epoch_needs_is_remembered_whatever_ends_the_order() {
    let mut rig = Rig::with(&[("sink.transaction-timeout", "5 s")]).await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 30, 2).await;
    rig.kafka.fault(Call::Commit, Fault::Hang);
    let order = rig.order(&job, &node);
    let leaving = async {
        sleep(Duration::from_secs(1)).await;
        rig.kafka.fault(Call::Init, Fault::Fail(KafkaError::Unavailable { reason: "away".to_owned() }));
    };
    let (order, ()) = tokio::join!(order, leaving);
    order.expect_err("the second try finds nobody");
    rig.kafka.fault(Call::Init, Fault::Fail(KafkaError::Refused { reason: "too long".to_owned() }));
    let error = rig.order(&job, &node).await.expect_err("it is refused");
    let text = thalweg_types::text::with_causes(&error);
    assert!(text.contains("a transaction of 10 s"), "{text}");
    rig.publish_all(&mut job, &node).await;
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_takes_too_long_says_what_to_do() {
    let rig = Rig::with(&[("sink.transaction-timeout", "5 s")]).await;
    let mut job = Job::new();
    job.take(&rig, 30, 2).await;
    for _ in 0..10 {
        rig.kafka.fault(Call::Commit, Fault::Hang);
    }
    let error = rig.order(&job, &rig.node()).await.expect_err("it is never in time");
    let text = thalweg_types::text::with_causes(&error);
    assert!(text.contains("brokers abort it after 40 s") && text.contains("'sink.transaction-timeout'"), "{text}");
    assert_eq!(error.failure_kind(), FailureKind::Store);
}

#[tokio::test(start_paused = true)]
async fn partitioners_place_the_rows_of_an_epoch() {
    for (partitioner, expected) in [("fixed", vec![vec![0], vec![1], vec![2], vec![0]]), ("round-robin", Vec::new())] {
        let rig = Rig::with(&[("sink.partitioner", partitioner)]).await;
        let mut job = Job::new();
        job.take(&rig, 28, 4).await;
        rig.order(&job, &rig.node()).await.expect("published");
        let mut placed: BTreeMap<i64, i32> = BTreeMap::new();
        let consumer = rig.kafka.consumer(&client(), Isolation::ReadCommitted).expect("opened");
        for partition in 0..PARTITIONS {
            let at = TopicPartition { topic: TOPIC.into(), partition };
            let mut reader = consumer.read(&at, 0).await.expect("it is there");
            while let Ok(Fetched::Records(records)) = reader.next(100).await {
                for record in records {
                    let value: Value = serde_json::from_slice(&record.value.expect("some")).expect("JSON");
                    placed.insert(value["n"].as_i64().expect("a number"), partition);
                }
            }
        }
        if expected.is_empty() {
            let counts = |partition| placed.values().filter(|at| **at == partition).count();
            assert!((0..PARTITIONS).all(|partition| counts(partition) >= 9), "{placed:?}");
        }
        for (subtask, partitions) in expected.iter().enumerate() {
            let subtask = i64::try_from(subtask).expect("it is small");
            let of: std::collections::BTreeSet<i32> =
                placed.iter().filter(|(number, _)| *number % 7 % 4 == subtask).map(|(_, at)| *at).collect();
            assert_eq!(of.into_iter().collect::<Vec<_>>(), *partitions, "of subtask {subtask}");
        }
    }
}
