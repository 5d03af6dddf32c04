//! What goes wrong at the brokers.

use thalweg_kafka::{NewRecord, TransactionalProducer, Transactions};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_transaction_that_expires_is_written_again() {
    for call in [Call::Produce, Call::Commit] {
        let mut rig = Rig::new().await;
        let (mut job, node) = (Job::new(), rig.node());
        job.take(&rig, 30, 2).await;
        rig.publish_all(&mut job, &node).await;
        job.take(&rig, 30, 2).await;
        rig.kafka.fault(call, Fault::Hang);
        rig.order(&job, &node).await.expect("the second try succeeds");
        assert!(rig.kafka.open_transactions().is_empty());
        rig.publish_all(&mut job, &node).await;
    }
}

#[tokio::test(start_paused = true)]
async fn brokers_that_abort_what_is_open_are_told_it_again() {
    let mut rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 30, 2).await;
    rig.kafka.fault(Call::Commit, Fault::Hang);
    let order = rig.order(&job, &node);
    let expiring = async {
        sleep(Duration::from_secs(1)).await;
        assert!(rig.kafka.expire("thalweg-c1-1-0000000000000007"), "it was open");
        rig.kafka.release();
    };
    let (order, ()) = tokio::join!(order, expiring);
    order.expect("the second try succeeds");
    rig.publish_all(&mut job, &node).await;
}

#[tokio::test(start_paused = true)]
async fn brokers_that_were_away_are_found_again() {
    for call in [None, Some(Call::Init), Some(Call::Produce)] {
        let mut rig = Rig::new().await;
        let (mut job, node) = (Job::new(), rig.node());
        job.take(&rig, 30, 2).await;
        rig.publish_all(&mut job, &node).await;
        job.take(&rig, 30, 2).await;
        let other = rig.node();
        match call {
            None => rig.kafka.brokers_down(),
            Some(call) => rig.kafka.fault(call, Fault::Fail(KafkaError::Unavailable { reason: "away".to_owned() })),
        }
        let error = rig.order(&job, &other).await.expect_err("nobody answers");
        assert_eq!(error.failure_kind(), FailureKind::Store, "the leader orders it again: {error}");
        let text = error.to_string();
        assert!(text.contains("write the rows of checkpoint-2 to topic 'out' at model:9092"), "{text}");
        rig.kafka.brokers_up();
        rig.publish_all(&mut job, &other).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_changes_its_leader_loses_nothing() {
    for topic in [TOPIC, PROGRESS] {
        let mut rig = Rig::new().await;
        let (mut job, node) = (Job::new(), rig.node());
        job.take(&rig, 30, 2).await;
        rig.publish_all(&mut job, &node).await;
        job.take(&rig, 30, 2).await;
        let at = TopicPartition { topic: topic.into(), partition: 0 };
        rig.kafka.lose_leader(&at);
        let order = rig.order(&job, &node);
        let election = async {
            sleep(Duration::from_secs(8)).await;
            rig.kafka.elect_leader(&at).expect("it is there");
        };
        let (first, ()) = tokio::join!(order, election);
        if first.is_err() {
            rig.order(&job, &node).await.expect("published then");
        }
        rig.publish_all(&mut job, &node).await;
    }
}

/// With librdkafka a commit is often the first to hear of it.
#[tokio::test(start_paused = true)]
async fn a_record_that_brokers_refuse_for_good_is_no_reason_to_try_again() {
    let mut rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 30, 2).await;
    rig.publish_all(&mut job, &node).await;
    job.take(&rig, 30, 2).await;
    let reason = "out-0: the broker says that the record is too large".to_owned();
    rig.kafka.fault(Call::Commit, Fault::Fail(KafkaError::Refused { reason: reason.clone() }));
    let error = rig.order(&job, &node).await.expect_err("it is refused");
    assert_eq!(error.failure_kind(), FailureKind::Data, "the job fails: {error}");
    let text = error.to_string();
    assert!(text.contains("write the rows of checkpoint-2 to topic 'out'") && text.contains(&reason), "{text}");
    assert_eq!(rig.kafka.open_transactions(), [""; 0], "it is aborted");
    rig.check_nobody_is_held_back();
}

/// Each call that asks a broker hangs in turn.
#[tokio::test(start_paused = true)]
async fn no_call_holds_a_committer_up_for_ever() {
    for call in [Call::Topics, Call::TopicConfig, Call::Init, Call::Offsets, Call::Fetch, Call::Produce, Call::Commit] {
        let mut rig = Rig::new().await;
        let (mut job, node) = (Job::new(), rig.node());
        job.take(&rig, 30, 2).await;
        rig.publish_all(&mut job, &node).await;
        job.take(&rig, 30, 2).await;
        rig.kafka.fault(call, Fault::Hang);
        let other = rig.node();
        let order = timeout(TIMEOUT * 4, rig.order(&job, &other)).await;
        let order = order.unwrap_or_else(|_| panic!("{call:?} holds it up"));
        if let Err(error) = order {
            assert_eq!(error.failure_kind(), FailureKind::Store, "{call:?}: {error}");
        }
        rig.publish_all(&mut job, &other).await;
    }
}

/// Somebody whose open transaction has a record in the topic for progress.
async fn somebody_at_progress(rig: &Rig, timeout_ms: u64) -> Box<dyn TransactionalProducer> {
    let transactions = Transactions { id: "somebody".to_owned(), timeout_ms };
    let mut somebody = rig.kafka.transactional(&client(), &transactions).expect("opened");
    somebody.init().await.expect("it is free");
    somebody.begin().await.expect("begun");
    let record = NewRecord {
        topic: PROGRESS.into(),
        partition: Some(0),
        key: Some("theirs".into()),
        value: Some("theirs".into()),
        headers: Vec::new(),
        timestamp_ms: None,
    };
    somebody.send(vec![record]).await.expect("sent");
    somebody.flush().await.expect("written");
    somebody
}

#[tokio::test(start_paused = true)]
async fn a_transaction_of_somebody_else_is_waited_for_and_named() {
    let mut rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 30, 2).await;
    rig.publish_all(&mut job, &node).await;
    let mut somebody = somebody_at_progress(&rig, 600_000).await;
    job.take(&rig, 30, 2).await;
    let other = rig.node();
    let error = rig.order(&job, &other).await.expect_err("what comes behind theirs is not committed yet");
    assert_eq!(error.failure_kind(), FailureKind::Store);
    let text = thalweg_types::text::with_causes(&error);
    assert!(text.contains("thalweg-sink-progress-0") && text.contains("within 60 s"), "{text}");
    somebody.commit().await.expect("committed");
    rig.publish_all(&mut job, &other).await;
}

#[tokio::test(start_paused = true)]
async fn what_brokers_refuse_for_good_fails_the_job() {
    for fault in [
        KafkaError::Denied { reason: "no".to_owned() },
        KafkaError::Refused { reason: "too large".to_owned() },
        KafkaError::Config { reason: "'x' is unknown".to_owned() },
    ] {
        let rig = Rig::new().await;
        let mut job = Job::new();
        job.take(&rig, 30, 2).await;
        rig.kafka.fault(Call::Init, Fault::Fail(fault.clone()));
        let error = rig.order(&job, &rig.node()).await.expect_err("it is refused");
        assert_eq!(error.failure_kind(), FailureKind::Data, "{fault:?}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_gone_is_named_at_once_and_may_come_back() {
    let rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 30, 2).await;
    assert!(rig.kafka.delete_topic(TOPIC));
    let order = timeout(Duration::from_secs(5), rig.order(&job, &node)).await;
    let error = order.expect("the cause is told at once").expect_err("there is no topic");
    assert_eq!(error.failure_kind(), FailureKind::Store, "the leader orders it again: {error}");
    let text = thalweg_types::text::with_causes(&error);
    assert!(text.contains("there is no topic 'out' at model:9092 now"), "{text}");
    let topic = NewTopic { name: TOPIC.to_owned(), partitions: PARTITIONS, replication: None, config: BTreeMap::new() };
    assert!(admin(&rig.kafka).create_topic(&topic).await.expect("created"));
    rig.order(&job, &node).await.expect("published");
}

/// While the committer has a session, and after that.
#[tokio::test(start_paused = true)]
async fn a_topic_that_was_made_anew_is_told_of() {
    let about = "topic anew after checkpoint-1";
    for is_kept in [true, false] {
        let mut rig = Rig::new().await;
        let (mut job, node) = (Job::new(), rig.node());
        job.take(&rig, 30, 2).await;
        rig.publish_all(&mut job, &node).await;
        let was_told = |rig: &Rig| {
            let mut told = false;
            rig.context.notices.of(Some(JobId(1)), "t").is_over(about, || {
                told = true;
                String::new()
            });
            told
        };
        assert!(!was_told(&rig));
        assert!(rig.kafka.delete_topic(TOPIC));
        let topic =
            NewTopic { name: TOPIC.to_owned(), partitions: PARTITIONS, replication: None, config: BTreeMap::new() };
        assert!(admin(&rig.kafka).create_topic(&topic).await.expect("created"));
        job.take(&rig, 30, 2).await;
        rig.order(&job, &if is_kept { node } else { rig.node() }).await.expect("published");
        assert!(was_told(&rig));
        job.on_published();
        job.take(&rig, 30, 2).await;
        rig.order(&job, &rig.node()).await.expect("published");
        assert!(!was_told(&rig), "once");
    }
}

/// Neither readers of the topic nor other sinks, whose progress is in the same partition, wait for the timeout of a transaction that failed.
#[tokio::test(start_paused = true)]
async fn a_transaction_that_fails_is_aborted_at_once() {
    for error in [
        KafkaError::Refused { reason: "too large".to_owned() },
        KafkaError::Unavailable { reason: "away".to_owned() },
        KafkaError::Denied { reason: "no".to_owned() },
    ] {
        let mut rig = Rig::new().await;
        let (mut job, node) = (Job::new(), rig.node());
        job.take(&rig, 30, 1).await;
        rig.publish_all(&mut job, &node).await;
        job.take(&rig, 30, 1).await;
        // The rows are written, and the progress behind them is not.
        rig.kafka.fault(Call::Produce, Fault::LoseAnswer);
        rig.kafka.fault(Call::Produce, Fault::Fail(error.clone()));
        rig.order(&job, &node).await.expect_err("a record is not written");
        assert_eq!(rig.kafka.open_transactions(), [""; 0], "{error}");
        rig.check_nobody_is_held_back();
        rig.publish_all(&mut job, &node).await;
    }
}

/// While rows are written, the partition of progress is not part of the transaction.
#[tokio::test(start_paused = true)]
async fn progress_is_written_when_all_rows_are() {
    let mut rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 30, 1).await;
    rig.publish_all(&mut job, &node).await;
    job.take(&rig, 30, 1).await;
    let at = TopicPartition { topic: TOPIC.into(), partition: 0 };
    rig.kafka.lose_leader(&at);
    let order = rig.order(&job, &node);
    let looking = async {
        sleep(Duration::from_secs(5)).await;
        let open = rig.kafka.open_transactions();
        let progress = TopicPartition { topic: PROGRESS.into(), partition: 0 };
        let end = |isolation| rig.kafka.read_now(&progress, 0, isolation).expect("it is there").1;
        let ends = [end(Isolation::ReadCommitted), end(Isolation::ReadUncommitted)];
        rig.kafka.elect_leader(&at).expect("it is there");
        (open.len(), ends)
    };
    let (order, (open, ends)) = tokio::join!(order, looking);
    order.expect("published");
    assert_eq!(open, 1, "rows are waited for");
    assert_eq!(ends[0], ends[1], "other sinks' progress can be read meanwhile");
    rig.publish_all(&mut job, &node).await;
}

/// A transaction of another sink may be open for longer than this sink's own timeout.
#[tokio::test(start_paused = true)]
async fn progress_behind_a_longer_transaction_is_waited_for() {
    let mut rig = Rig::with(&[("sink.transaction-timeout", "10 s")]).await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 30, 2).await;
    rig.publish_all(&mut job, &node).await;
    drop(somebody_at_progress(&rig, 50_000).await);
    job.take(&rig, 30, 2).await;
    rig.order(&job, &rig.node()).await.expect("brokers abort theirs in time");
    rig.publish_all(&mut job, &node).await;
}

/// Where records go is asked while no transaction is open, and by the client that the committer has.
#[tokio::test(start_paused = true)]
async fn partitions_are_asked_for_before_a_transaction_begins() {
    let mut rig = Rig::with(&[("sink.partitioner", "fixed")]).await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 30, 1).await;
    rig.publish_all(&mut job, &node).await;
    job.take(&rig, 30, 1).await;
    rig.kafka.fault(Call::Topics, Fault::Hang);
    let order = rig.order(&job, &node);
    let looking = async {
        sleep(Duration::from_secs(5)).await;
        let open = rig.kafka.open_transactions();
        rig.kafka.release();
        open
    };
    let (order, open) = tokio::join!(order, looking);
    order.expect("published");
    assert_eq!(open, [""; 0]);
    job.on_published();
}
