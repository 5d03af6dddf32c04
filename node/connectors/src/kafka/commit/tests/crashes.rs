//! What becomes of an epoch when those who work on it are gone.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_was_prepared_for_no_complete_checkpoint_is_never_written() {
    let mut rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 20, 2).await;
    rig.publish_all(&mut job, &node).await;
    // Attempt 1 crashes before the next checkpoint is complete; attempt 2 has the same rows again.
    let dealt = job.rows(20, 2);
    Job::prepare(&rig, 1, &dealt).await;
    job.attempt = 2;
    rig.committer(&node).discard(&cluster(), JobId(1), Attempt(2)).await.expect("discarded");
    let prepared = Job::prepare(&rig, 2, &dealt).await;
    job.on_complete(&dealt, prepared);
    rig.publish_all(&mut job, &node).await;
}

#[tokio::test(start_paused = true)]
async fn another_node_publishes_what_is_complete() {
    let mut rig = Rig::new().await;
    let mut job = Job::new();
    for _ in 0..3 {
        job.take(&rig, 30, 2).await;
        let node = rig.node();
        rig.publish_all(&mut job, &node).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_was_written_and_not_recorded_is_done_already() {
    for is_another in [false, true] {
        let mut rig = Rig::new().await;
        let (mut job, node) = (Job::new(), rig.node());
        job.take(&rig, 30, 2).await;
        rig.order(&job, &node).await.expect("published, and nobody hears of it");
        let other = if is_another { rig.node() } else { node };
        rig.order(&job, &other).await.expect("done already");
        rig.publish_all(&mut job, &other).await;
    }
}

/// The committer is dropped at each place where it may wait.
#[tokio::test(start_paused = true)]
async fn a_committer_that_crashes_anywhere_is_followed_by_another() {
    for call in [Call::Topics, Call::TopicConfig, Call::Init, Call::Offsets, Call::Fetch, Call::Produce, Call::Commit] {
        let mut rig = Rig::new().await;
        let (mut job, node) = (Job::new(), rig.node());
        job.take(&rig, 30, 2).await;
        rig.publish_all(&mut job, &node).await;
        job.take(&rig, 30, 2).await;
        let crashing = rig.node();
        rig.kafka.fault(call, Fault::Hang);
        let order = timeout(Duration::from_secs(5), rig.order(&job, &crashing)).await;
        assert!(order.is_err(), "it hangs at {call:?}");
        rig.kafka.release();
        rig.check_seen(&job).await;
        let next = rig.node();
        rig.publish_all(&mut job, &next).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_takes_effect_behind_its_committer_counts_once() {
    let mut rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 30, 2).await;
    rig.kafka.fault(Call::Commit, Fault::LoseAnswer);
    rig.order(&job, &node).await.expect("it is found written");
    rig.publish_all(&mut job, &node).await;
    // The marks of a commit come after its answer: the next committer waits for them before it believes what it reads.
    rig.kafka.delay_marks(Duration::from_secs(5));
    job.take(&rig, 30, 2).await;
    rig.order(&job, &node).await.expect("published, and nobody hears of it");
    let other = rig.node();
    rig.order(&job, &other).await.expect("done already");
    sleep(Duration::from_secs(10)).await;
    rig.publish_all(&mut job, &other).await;
}

#[tokio::test(start_paused = true)]
async fn a_zombie_that_wakes_writes_nothing() {
    let mut rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 30, 2).await;
    rig.publish_all(&mut job, &node).await;
    for call in [Call::Produce, Call::Commit] {
        job.take(&rig, 30, 2).await;
        rig.kafka.fault(call, Fault::Hang);
        let (epochs, prepared) = (job.epochs(job.complete[0].0), job.complete[0].1.clone());
        let (zombie, own) = (rig.committer(&node), prepared.clone());
        let zombie = async move { zombie.commit(epochs, &own).await };
        let mut zombie = Box::pin(zombie);
        assert!(timeout(Duration::from_secs(2), &mut zombie).await.is_err(), "it hangs");
        let other = rig.node();
        rig.order(&job, &other).await.expect("published");
        job.on_published();
        job.take(&rig, 30, 2).await;
        rig.order(&job, &other).await.expect("published");
        rig.kafka.release();
        // It finds that it was fenced, takes the id again, and finds that all is written.
        let told = zombie.await;
        assert!(told.is_err() || told.is_ok(), "nobody listens: {told:?}");
        job.on_published();
        job.take(&rig, 30, 2).await;
        rig.publish_all(&mut job, &other).await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_committers_of_one_epoch_write_it_once() {
    let mut rig = Rig::new().await;
    let mut job = Job::new();
    for _ in 0..10 {
        job.take(&rig, 30, 2).await;
        let (one, other) = (rig.node(), rig.node());
        let (first, second) = tokio::join!(rig.order(&job, &one), rig.order(&job, &other));
        assert!(first.is_ok() || second.is_ok(), "{first:?}, {second:?}");
        rig.check_seen(&job).await;
        rig.publish_all(&mut job, &one).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_job_is_published_once() {
    let mut rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 30, 2).await;
    rig.publish_all(&mut job, &node).await;
    let dealt = job.rows(30, 2);
    let prepared = Job::prepare(&rig, 1, &dealt).await;
    job.on_complete(&dealt, prepared);
    job.complete[0].0 = CheckpointId::FINAL;
    rig.order(&job, &node).await.expect("published, and nobody hears of it");
    let other = rig.node();
    rig.publish_all(&mut job, &other).await;
}

#[tokio::test(start_paused = true)]
async fn any_parallelism_follows_any_other() {
    let mut rig = Rig::new().await;
    let mut job = Job::new();
    for (subtasks, attempt) in [(5, 1), (1, 2), (7, 3), (2, 4)] {
        job.attempt = attempt;
        // What the last attempt was writing when it crashed stays open until its id is taken, which is the sink's only one.
        job.take(&rig, 70, subtasks).await;
        rig.kafka.fault(Call::Commit, Fault::Hang);
        let crashing = rig.node();
        assert!(timeout(Duration::from_secs(1), rig.order(&job, &crashing)).await.is_err());
        rig.kafka.release();
        assert_eq!(rig.kafka.open_transactions(), ["thalweg-c1-1-0000000000000007"]);
        let node = rig.node();
        rig.publish_all(&mut job, &node).await;
        assert_eq!(rig.kafka.open_transactions(), Vec::<String>::new());
    }
}
