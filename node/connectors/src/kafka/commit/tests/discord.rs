//! A destination that does not go with the job's record.

use super::*;

async fn refused(rig: &Rig, job: &Job, node: &ConnectorContext, what: &[&str]) {
    let error = rig.order(job, node).await.expect_err("it does not go together");
    assert_eq!(error.failure_kind(), FailureKind::Data, "the job stops: {error}");
    let text = error.to_string();
    assert!(what.iter().all(|what| text.contains(what)), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_was_restored_from_an_older_backup_stops_the_job() {
    for is_another in [false, true] {
        let mut rig = Rig::new().await;
        let (mut job, node) = (Job::new(), rig.node());
        job.take(&rig, 30, 2).await;
        rig.publish_all(&mut job, &node).await;
        let backup = rig.kafka.snapshot();
        for _ in 0..2 {
            job.take(&rig, 30, 2).await;
            rig.publish_all(&mut job, &node).await;
        }
        rig.kafka.restore(&backup);
        job.take(&rig, 30, 2).await;
        let next = if is_another { rig.node() } else { node };
        refused(&rig, &job, &next, &["went back in time", "after checkpoint-1 up to checkpoint-3 is lost"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_has_lost_all_progress_stops_the_job() {
    let mut rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 30, 2).await;
    rig.publish_all(&mut job, &node).await;
    assert!(rig.kafka.delete_topic(PROGRESS));
    job.take(&rig, 30, 2).await;
    refused(&rig, &job, &rig.node(), &["up to nothing", "checkpoint-1 was published"]).await;
}

/// Only the topic for progress: what the session of a committer writes elsewhere would tell it of nothing.
#[tokio::test(start_paused = true)]
async fn a_committer_that_goes_on_notices_that_progress_is_gone() {
    for is_shorter in [false, true] {
        let mut rig = Rig::new().await;
        let (mut job, node) = (Job::new(), rig.node());
        for _ in 0..3 {
            job.take(&rig, 30, 2).await;
            rig.publish_all(&mut job, &node).await;
        }
        job.take(&rig, 30, 2).await;
        if is_shorter {
            rig.kafka.truncate(&TopicPartition { topic: PROGRESS.into(), partition: 0 }, 4).expect("it is there");
            refused(&rig, &job, &node, &["went back in time", "after checkpoint-2 up to checkpoint-3 is lost"]).await;
        } else {
            assert!(rig.kafka.delete_topic(PROGRESS));
            progress::ensure_topic(admin(&rig.kafka).as_ref(), PROGRESS, TOPIC).await.expect("created");
            refused(&rig, &job, &node, &["up to nothing", "checkpoint-3 was published"]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn coordinators_that_were_restored_from_an_older_backup_stop_the_job() {
    let mut rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    for _ in 0..3 {
        job.take(&rig, 30, 2).await;
        rig.publish_all(&mut job, &node).await;
    }
    let mut older = Job { published: Some(CheckpointId(1)), checkpoint: 1, ..Job::new() };
    older.take(&rig, 30, 2).await;
    refused(&rig, &older, &rig.node(), &["up to checkpoint-3", "newest complete checkpoint is checkpoint-2"]).await;
}

/// Two clusters with one identity, as after a restore that left the first one running.
#[tokio::test(start_paused = true)]
async fn another_writer_with_the_same_names_stops_the_job() {
    let mut rig = Rig::new().await;
    let (mut job, node, others) = (Job::new(), rig.node(), rig.node());
    job.take(&rig, 30, 2).await;
    rig.publish_all(&mut job, &node).await;
    let mut other = Job { published: job.published, checkpoint: 1, next: 1000, ..Job::new() };
    other.take(&rig, 30, 2).await;
    rig.order(&other, &others).await.expect("they cannot be told apart yet");
    other.on_published();
    // The same epoch, and other rows.
    job.take(&rig, 30, 2).await;
    refused(&rig, &job, &node, &["checkpoint-2 is written with other rows"]).await;
    // An epoch that this job knows to have published nothing.
    let mut later = Job { published: Some(CheckpointId(1)), checkpoint: 2, ..Job::new() };
    later.take(&rig, 30, 2).await;
    refused(&rig, &later, &rig.node(), &["up to checkpoint-2, and this job published checkpoint-1 last"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_order_of_the_past_finds_its_work_done() {
    let mut rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 30, 2).await;
    let (epochs, prepared) = (job.epochs(CheckpointId(1)), job.complete[0].1.clone());
    rig.publish_all(&mut job, &node).await;
    job.take(&rig, 30, 2).await;
    rig.publish_all(&mut job, &node).await;
    // The leader that gave it knew already that there was a second one.
    let epochs = Epochs { complete: CheckpointId(2), ..epochs };
    rig.commit(&rig.node(), epochs, &prepared).await.expect("done already");
    rig.check_all(&job).await;
}

#[tokio::test(start_paused = true)]
async fn foreign_progress_is_an_error_that_says_where_it_is() {
    let mut rig = Rig::new().await;
    let (mut job, node) = (Job::new(), rig.node());
    job.take(&rig, 30, 2).await;
    rig.publish_all(&mut job, &node).await;
    let mut producer = rig.kafka.producer(&client()).expect("opened");
    let own = Progress::of(&job.epochs(CheckpointId(1)), 0, 0);
    let mut record = own.record(&PROGRESS.into(), &ProgressKey::of(&committer_identity()));
    record.value = Some("{\"version\":2}".into());
    producer.send(vec![record]).await.expect("sent");
    producer.flush().await.expect("written");
    job.take(&rig, 30, 2).await;
    refused(&rig, &job, &rig.node(), &["the progress at offset", "thalweg-sink-progress-0"]).await;
}
