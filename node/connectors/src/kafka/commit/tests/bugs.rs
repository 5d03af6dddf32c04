//! Known mistakes, switched on: what the other tests hold shows each of them.

use super::*;

/// Switches a bug on for this thread until it is dropped.
struct Mistaken;

impl Mistaken {
    fn with(which: Bug) -> Self {
        bug::activate(Some(which));
        Self
    }
}

impl Drop for Mistaken {
    fn drop(&mut self) {
        bug::activate(None);
    }
}

/// How often the topic has each row.
async fn counts(rig: &mut Rig) -> BTreeMap<i64, usize> {
    sleep(Duration::from_secs(1)).await;
    rig.looker.look().await;
    let mut counts = BTreeMap::new();
    for number in rig.looker.seen.values().flatten() {
        *counts.entry(*number).or_default() += 1;
    }
    counts
}

/// A committer cannot get rid of its rows, and another is ordered to publish them; the first succeeds at last, while the other takes
/// the transactional id. Returns how often each row is there then, and what the second was told.
async fn woken_zombie(rig: &mut Rig) -> (BTreeMap<i64, usize>, Result<(), ConnectorError>) {
    let (mut job, node) = (Job::new(), rig.node());
    job.take(rig, 30, 2).await;
    rig.order(&job, &node).await.expect("published");
    job.on_published();
    job.take(rig, 30, 2).await;
    let partitions: Vec<TopicPartition> =
        (0..PARTITIONS).map(|partition| TopicPartition { topic: TOPIC.into(), partition }).collect();
    partitions.iter().for_each(|at| rig.kafka.lose_leader(at));
    let mut zombie = Box::pin(rig.order(&job, &node));
    assert!(timeout(Duration::from_secs(2), &mut zombie).await.is_err(), "nobody takes its rows");
    // The second waits when it takes the id: the first is done by then.
    rig.kafka.fault(Call::Init, Fault::Hang);
    let other = rig.node();
    let second = rig.order(&job, &other);
    let waking = async {
        sleep(Duration::from_secs(1)).await;
        partitions.iter().for_each(|at| rig.kafka.elect_leader(at).expect("it is there"));
        zombie.await.expect("it has the id still");
        rig.kafka.release();
    };
    let (told, ()) = tokio::join!(second, waking);
    (counts(rig).await, told)
}

#[tokio::test(start_paused = true)]
async fn without_a_mistake_a_woken_zombie_doubles_nothing() {
    let mut rig = Rig::new().await;
    let (counts, told) = woken_zombie(&mut rig).await;
    assert!(told.is_ok(), "{told:?}");
    assert!(counts.len() == 60 && counts.values().all(|count| *count == 1), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn progress_that_is_read_before_the_id_is_taken_is_caught() {
    let _mistaken = Mistaken::with(Bug::ProgressBeforeInit);
    let mut rig = Rig::new().await;
    let (counts, _) = woken_zombie(&mut rig).await;
    assert!(counts.values().any(|count| *count > 1), "some rows are there twice: {counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_is_left_open_is_caught() {
    let _mistaken = Mistaken::with(Bug::LeaveTransactionOpen);
    let mut rig = Rig::new().await;
    let mut job = Job::new();
    job.take(&rig, 30, 2).await;
    // The zombie has written its rows and not yet its progress when the next committer looks.
    rig.kafka.fault(Call::Produce, Fault::Hang);
    let (one, other) = (rig.node(), rig.node());
    let mut zombie = Box::pin(rig.order(&job, &one));
    assert!(timeout(Duration::from_secs(2), &mut zombie).await.is_err(), "it hangs");
    rig.order(&job, &other).await.expect("published");
    rig.kafka.release();
    let _ = zombie.await;
    let counts = counts(&mut rig).await;
    assert!(counts.values().any(|count| *count > 1), "some rows are there twice: {counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_transaction_without_progress_is_caught() {
    let _mistaken = Mistaken::with(Bug::CommitWithoutProgress);
    let mut rig = Rig::new().await;
    let mut job = Job::new();
    job.take(&rig, 30, 2).await;
    let (one, other) = (rig.node(), rig.node());
    rig.order(&job, &one).await.expect("published, and nobody hears of it");
    rig.order(&job, &other).await.expect("published again");
    let counts = counts(&mut rig).await;
    assert!(counts.values().all(|count| *count == 2), "all rows are there twice: {counts:?}");
    job.on_published();
    job.take(&rig, 30, 2).await;
    let error = rig.order(&job, &rig.node()).await.expect_err("the next epoch finds none").to_string();
    assert!(error.contains("went back in time"), "{error}");
}
