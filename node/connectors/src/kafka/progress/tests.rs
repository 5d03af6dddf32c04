use std::collections::BTreeMap;

use thalweg_kafka::{
    Transactions,
    model::{ADDRESS, Call, Fault, ModelKafka},
};

use super::*;
use crate::testing::{cluster, context};

const TOPIC: &str = "progress";

fn epochs(publishing: u64, published: Option<u64>, complete: u64) -> Epochs {
    let (publishing, published) = (CheckpointId(publishing), published.map(CheckpointId));
    Epochs { attempt: Attempt(1), publishing, published, complete: CheckpointId(complete) }
}

fn progress(epoch: u64, digest: u64) -> Progress {
    Progress::of(&epochs(epoch, None, epoch), 10, digest)
}

fn key(job: u64) -> ProgressKey {
    ProgressKey { cluster: cluster(), job: JobId(job), sink: OperatorIdentity(0xfeed) }
}

#[test]
fn the_forms_of_key_and_value_are_pinned() {
    let record = progress(7, 0xabc).record(&TOPIC.into(), &key(3));
    assert_eq!(record.key.expect("some"), r#"{"cluster":"c1","job":3,"sink":"000000000000feed"}"#.as_bytes());
    let value = r#"{"version":1,"epoch":7,"attempt":1,"rows":10,"digest":"0000000000000abc"}"#;
    assert_eq!(record.value.expect("some"), value.as_bytes());
    assert_eq!(record.partition, Some(0));
    let at = TopicPartition { topic: TOPIC.into(), partition: 0 };
    assert_eq!(parse(&at, 0, value.as_bytes()).expect("read"), progress(7, 0xabc));
    let known = progress(7, 0xabc).to(Some(TopicId(0x1f)));
    let record = known.record(&TOPIC.into(), &key(3));
    let value =
        format!("{},\"topic\":\"0000000000000000000000000000001f\"}}", value.strip_suffix('}').expect("an object"));
    assert_eq!(record.value.expect("some"), value.as_bytes());
    assert_eq!(parse(&at, 0, value.as_bytes()).expect("read"), known);
}

#[test]
fn only_ids_that_are_known_tell_topics_apart() {
    let [none, one, other] = [None, Some(1), Some(2)].map(|id| progress(1, 1).to(id.map(TopicId)));
    assert!(one.is_of_another_topic(&other) && !one.is_of_another_topic(&one.clone()));
    assert!(!none.is_of_another_topic(&one) && !one.is_of_another_topic(&none));
}

#[test]
fn each_way_in_which_progress_and_record_may_stand_to_each_other_has_one_outcome() {
    let step = |found: Option<u64>, publishing, published, complete| {
        let (found, new) = (found.map(|epoch| progress(epoch, 1)), progress(publishing, 1));
        Progress::step(found.as_ref(), &new, &epochs(publishing, published, complete)).map_err(|discord| discord.0)
    };
    let refused = |found, publishing, published, complete, why: &str| {
        let discord = step(found, publishing, published, complete).expect_err("it does not go together");
        assert!(discord.contains(why), "{discord}");
    };
    // Nothing was published before.
    assert_eq!(step(None, 3, None, 3), Ok(Step::Write));
    // What was published last is there, and nothing more.
    assert_eq!(step(Some(3), 5, Some(3), 6), Ok(Step::Write));
    // It is done, also for an order that is older than others.
    assert_eq!(step(Some(5), 5, Some(3), 6), Ok(Step::Done));
    assert_eq!(step(Some(6), 5, Some(3), 6), Ok(Step::Done));
    // Less is there than was published.
    refused(None, 5, Some(3), 5, "up to nothing");
    refused(Some(2), 5, Some(3), 5, "after checkpoint-2 up to checkpoint-3 is lost");
    // More is there than can be.
    refused(Some(7), 5, Some(3), 6, "newest complete checkpoint is checkpoint-6");
    refused(Some(4), 5, Some(3), 6, "this job published checkpoint-3 last");
    refused(Some(4), 5, None, 6, "this job published nothing last");
    // The end of the job is behind all checkpoints.
    let end = CheckpointId::FINAL.0;
    assert_eq!(step(Some(5), end, Some(5), end), Ok(Step::Write));
    assert_eq!(step(Some(end), end, Some(5), end), Ok(Step::Done));
    refused(Some(end), 5, Some(3), 6, "up to the job's end");
}

#[test]
fn other_rows_of_the_same_epoch_are_another_writers() {
    let discord = Progress::step(Some(&progress(5, 1)), &progress(5, 2), &epochs(5, None, 5)).expect_err("other rows");
    assert!(discord.0.contains("checkpoint-5 is written with other rows"), "{}", discord.0);
}

struct Rig {
    kafka: ModelKafka,
    config: ClientConfig,
}

impl Rig {
    async fn new() -> Self {
        let kafka = ModelKafka::new(&context().seams);
        let properties = [("bootstrap.servers".to_owned(), ADDRESS.to_owned())].into();
        let rig = Self { kafka, config: ClientConfig { properties, queue_bytes: 1 << 20, ..ClientConfig::default() } };
        ensure_topic(rig.kafka.admin(&rig.config).expect("opened").as_ref(), TOPIC, "out").await.expect("made");
        rig
    }

    async fn read(&self, key: &ProgressKey) -> Result<Option<Progress>, Unread> {
        read(&self.kafka, &self.config, TOPIC, key, Duration::from_secs(60)).await
    }

    /// Writes records in a transaction, and commits it or not.
    async fn write(&self, id: &str, records: Vec<NewRecord>, commits: bool) {
        let transactions = Transactions { id: id.to_owned(), timeout_ms: 60_000 };
        let mut producer = self.kafka.transactional(&self.config, &transactions).expect("opened");
        producer.init().await.expect("taken");
        producer.begin().await.expect("begun");
        producer.send(records).await.expect("sent");
        producer.flush().await.expect("written");
        if commits {
            producer.commit().await.expect("committed");
        } else {
            producer.abort().await.expect("aborted");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_committed_progress_of_a_sink_is_read() {
    let rig = Rig::new().await;
    assert_eq!(rig.read(&key(1)).await.expect("read"), None, "the topic is empty");
    let topic = TOPIC.into();
    for epoch in 1..=2500 {
        let records = vec![progress(epoch, 1).record(&topic, &key(1)), progress(epoch * 2, 1).record(&topic, &key(2))];
        rig.write("a", records, true).await;
    }
    rig.write("a", vec![progress(9999, 1).record(&topic, &key(1))], false).await;
    assert_eq!(rig.read(&key(1)).await.expect("read"), Some(progress(2500, 1)), "what was aborted does not count");
    assert_eq!(rig.read(&key(2)).await.expect("read"), Some(progress(5000, 1)));
    assert_eq!(rig.read(&key(3)).await.expect("read"), None);
    let forgotten = NewRecord { value: None, ..progress(1, 1).record(&topic, &key(1)) };
    rig.write("a", vec![forgotten], true).await;
    assert_eq!(rig.read(&key(1)).await.expect("read"), None, "somebody has removed it");
}

#[tokio::test(start_paused = true)]
async fn progress_behind_a_commit_that_is_still_ending_is_waited_for() {
    let rig = Rig::new().await;
    rig.kafka.delay_marks(Duration::from_secs(20));
    rig.write("a", vec![progress(1, 1).record(&TOPIC.into(), &key(1))], true).await;
    assert_eq!(rig.read(&key(1)).await.expect("read"), Some(progress(1, 1)));
}

#[tokio::test(start_paused = true)]
async fn what_was_compacted_away_at_the_beginning_is_passed_over() {
    let rig = Rig::new().await;
    for epoch in 1..=10 {
        rig.write("a", vec![progress(epoch, 1).record(&TOPIC.into(), &key(1))], true).await;
    }
    let at = TopicPartition { topic: TOPIC.into(), partition: 0 };
    rig.kafka.delete_records(&at, 15).expect("they are there");
    assert_eq!(rig.read(&key(1)).await.expect("read"), Some(progress(10, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_cannot_be_understood_is_told_with_its_place() {
    for value in ["", "{}", "[1]", r#"{"version":2,"epoch":7,"attempt":1,"rows":10,"digest":""}"#] {
        let rig = Rig::new().await;
        let record = NewRecord { value: Some(value.into()), ..progress(1, 1).record(&TOPIC.into(), &key(1)) };
        rig.write("a", vec![record], true).await;
        assert_eq!(rig.read(&key(2)).await.expect("another's does not matter"), None);
        let Err(Unread::Unfit(reason)) = rig.read(&key(1)).await else { panic!("{value} was read") };
        assert!(reason.contains("offset 0 of progress-0"), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_made_once_and_must_keep_what_it_has() {
    let rig = Rig::new().await;
    let admin = rig.kafka.admin(&rig.config).expect("opened");
    ensure_topic(admin.as_ref(), TOPIC, "out").await.expect("it is there and fits");
    let config = BTreeMap::from([(CLEANUP_POLICY.to_owned(), "compact,delete".to_owned())]);
    admin
        .create_topic(&NewTopic { name: "other".to_owned(), partitions: 1, replication: None, config })
        .await
        .expect("created");
    let Err(Unread::Unfit(reason)) = ensure_topic(admin.as_ref(), "other", "out").await else {
        panic!("it would forget")
    };
    assert!(reason.contains("'cleanup.policy' of topic 'other' is 'compact,delete'"), "{reason}");
    let Err(Unread::Client(KafkaError::NoTopic { topic })) =
        read(&rig.kafka, &rig.config, "nowhere", &key(1), Duration::from_secs(60)).await
    else {
        panic!("there is none")
    };
    assert_eq!(topic, "nowhere");
}

/// Of several brokers, one that is asked may not know a topic yet that another sink's check has just created.
#[tokio::test(start_paused = true)]
async fn a_topic_that_a_broker_does_not_know_yet_is_waited_for() {
    let rig = Rig::new().await;
    let admin = rig.kafka.admin(&rig.config).expect("opened");
    let unknown = || Fault::Fail(KafkaError::NoTopic { topic: TOPIC.to_owned() });
    ensure_topic(admin.as_ref(), TOPIC, "out").await.expect("created, or there");
    rig.kafka.fault(Call::TopicConfig, unknown());
    rig.kafka.fault(Call::TopicConfig, unknown());
    ensure_topic(admin.as_ref(), TOPIC, "out").await.expect("it is there and fits");
    let asked =
        tokio::time::timeout(Duration::from_secs(10), new_topic::config(admin.as_ref(), "nowhere", CLEANUP_POLICY));
    assert!(matches!(asked.await, Ok(Err(KafkaError::NoTopic { .. }))), "not for ever");
}

/// It must not be lost sooner than what it tells of.
#[tokio::test(start_paused = true)]
async fn a_topic_for_progress_is_kept_by_as_many_brokers_as_the_sinks() {
    let rig = Rig::new().await;
    let admin = rig.kafka.admin(&rig.config).expect("opened");
    let config = BTreeMap::new();
    let out = NewTopic { name: "out".to_owned(), partitions: 2, replication: Some(3), config };
    admin.create_topic(&out).await.expect("created");
    ensure_topic(admin.as_ref(), "safe", "out").await.expect("created");
    ensure_topic(admin.as_ref(), "default", "nowhere").await.expect("created");
    let wanted = Wanted::Named(["safe", "default"].map(str::to_owned).to_vec());
    let kept: Vec<_> = admin.topics(&wanted).await.expect("told").into_iter().map(|topic| topic.replication).collect();
    assert_eq!(kept, [1, 3]);
}

#[test]
fn a_topic_that_is_another_or_went_back_is_told_from_one_that_grew() {
    let mark = |id, end| Mark { id: Some(TopicId(id)), end };
    assert!(mark(1, 5).can_become(mark(1, 5)) && mark(1, 5).can_become(mark(1, 9)));
    assert!(!mark(1, 5).can_become(mark(1, 4)) && !mark(1, 5).can_become(mark(2, 9)));
    assert!(!mark(1, 5).after_record().can_become(mark(1, 5)));
}
