//! Checkpoints of a job that does not end, in a store in memory.

use std::collections::BTreeSet;

use thalweg_storage::MARKER;
use thalweg_types::job::CheckpointState;

use super::*;

/// A cluster that takes checkpoints often, with a running job that its nodes hold back.
async fn running(coordinators: u64, slots: &[u32]) -> (TestCluster, TestClient, JobId) {
    let cluster = TestCluster::start_with(coordinators, slots, |config| config.checkpoint_interval_ms = 300).await;
    let client = cluster.client(1);
    cluster.hold_back(true);
    let job = client.submit("r", "publish").await.unwrap().job;
    until_status(&client, job, JobStatus::Running).await;
    (cluster, client, job)
}

/// Waits until a checkpoint with at least this number is complete.
async fn until_complete(client: &TestClient, job: JobId, number: u64) -> JobOverview {
    until(client, job, |job| job.checkpoints.last_complete.is_some_and(|last| last.0 >= number)).await
}

#[tokio::test(start_paused = true)]
async fn a_running_job_is_checkpointed_published_and_kept_from_growing() {
    let (cluster, client, job) = running(1, &[2, 2]).await;
    until_complete(&client, job, 5).await;
    let listed = client.checkpoints(job).await.unwrap();
    assert!(listed.iter().take(4).all(|checkpoint| checkpoint.state == CheckpointState::Complete), "{listed:?}");
    assert!(listed[0].begun_ms > 0 && listed[0].attempt == Attempt(1), "{listed:?}");
    let kept = cluster.consensus().peek(|machine| machine.state().job(job).unwrap().checkpoints.clone());
    let urls: Vec<&str> =
        listed.iter().map(|checkpoint| checkpoint.url.as_str()).filter(|url| !url.is_empty()).collect();
    assert!(urls.iter().all(|url| url.starts_with("memory://test/") && url.ends_with(".json")), "{urls:?}");
    assert!((1..=kept.len() + 1).contains(&urls.len()), "only what is kept can be looked at: {urls:?}");
    for node in [NodeId(1), NodeId(2)] {
        let confirmed = cluster.node(node).confirmed();
        assert!(confirmed.len() >= 4 && confirmed.is_sorted(), "{confirmed:?}");
    }
    let committed = cluster.node(NodeId(1)).committed();
    assert!(committed.len() >= 3 && committed.is_sorted_by(|one, next| one < next), "{committed:?}");
    let mut objects = cluster.checkpoints().list("").await.unwrap();
    objects.retain(|object| object.name != MARKER);
    assert!(objects.len() <= 4, "two are kept, one may be on its way in, one out: {objects:?}");
    let clusters: BTreeSet<_> = [1, 2].into_iter().flat_map(|node| cluster.node(NodeId(node)).clusters()).collect();
    let id = cluster.consensus().peek(|machine| machine.state().cluster().cloned()).unwrap();
    assert_eq!(clusters, BTreeSet::from([id.clone()]), "orders name the cluster by its id");
    assert!(id.0.len() == 16 && id.0.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert!(objects.iter().all(|object| object.name.starts_with(&id.0)), "{objects:?}");

    client.end(job, true).await.unwrap();
    until_status(&client, job, JobStatus::Stopped).await;
    let polling = async {
        while cluster.checkpoints().list("").await.unwrap().len() > 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, polling).await.expect("nobody goes on from them");
    assert!(cluster.checkpoints().marker().await.unwrap().is_some(), "the place is still the cluster's");
    assert!(!client.checkpoints(job).await.unwrap().is_empty(), "what was is remembered");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_goes_on_from_the_last_checkpoint() {
    let (mut cluster, client, job) = running(1, &[2, 2]).await;
    until_complete(&client, job, 2).await;
    cluster.kill(NodeId(2));
    let restarted = until(&client, job, |job| job.attempt == Attempt(2) && job.status == JobStatus::Running).await;
    let restored = cluster.node(NodeId(1)).restored();
    assert!(restored.is_some_and(|checkpoint| Some(checkpoint) <= restarted.checkpoints.last_complete), "{restored:?}");
    until_complete(&client, job, restored.unwrap().0 + 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_is_checkpointed_on_after_its_leader_was_lost() {
    let (mut cluster, client, job) = running(3, &[2]).await;
    until_complete(&client, job, 2).await;
    let leader = cluster.leader().await;
    let client = if leader == 1 { cluster.client(2) } else { client };
    cluster.stop(leader).await;
    let before = client.job(JobRequest { job, after_revision: 0, wait: Duration::ZERO }).await;
    let last = before.ok().and_then(|answer| answer.job.checkpoints.last_complete).map_or(2, |last| last.0);
    let overview = until_complete(&client, job, last + 2).await;
    assert_eq!((overview.attempt, overview.failures, overview.status), (Attempt(1), 0, JobStatus::Running));
    let committed = cluster.node(NodeId(1)).committed();
    assert!(committed.is_sorted(), "{committed:?}");
}

/// The value of a sample of job 1.
fn sample(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{job_id=\"job-1\"")));
    line.unwrap_or_else(|| panic!("no {name} in\n{metrics}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_on_while_nothing_can_be_stored_and_says_so() {
    let (cluster, client, job) = running(1, &[1]).await;
    until_complete(&client, job, 2).await;
    cluster.node(NodeId(1)).fail_snapshots(Some("the store is away"));
    let failing = until(&client, job, |job| job.checkpoints.failures_in_a_row >= 3).await;
    assert_eq!((failing.status, failing.attempt, failing.failures), (JobStatus::Running, Attempt(1), 0));
    assert!(failing.checkpoints.reason.contains("the store is away"), "{:?}", failing.checkpoints);
    let listed = client.checkpoints(job).await.unwrap();
    let failed = listed.iter().rev().find(|checkpoint| checkpoint.state == CheckpointState::Failed).unwrap();
    let waits = failed.waits.as_ref().expect("it is told whom it had waited for");
    assert!(waits.awaited() > 0 && waits.subtasks.iter().all(|subtask| subtask.node == 1), "{waits:?}");
    let metrics = cluster.metrics().await;
    assert!(sample(&metrics, "thalweg_job_checkpoint_failures_in_a_row") >= 3.0, "{metrics}");
    assert!(sample(&metrics, "thalweg_job_checkpoint_age_seconds") >= 0.5, "{metrics}");
    assert!(metrics.contains("thalweg_jobs{status=\"running\"} 1.0"), "{metrics}");
    // The pauses grow, so far fewer checkpoints are tried than intervals pass.
    let last = failing.checkpoints.last_complete.unwrap().0;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let tried = client.checkpoints(job).await.unwrap().last().unwrap().checkpoint.0 - last;
    assert!(tried < 60, "{tried} attempts in a minute, at an interval of 0.3 s");

    cluster.node(NodeId(1)).fail_snapshots(None);
    let again = until_complete(&client, job, last + tried).await;
    assert_eq!((again.checkpoints.failures_in_a_row, again.attempt), (0, Attempt(1)));
    assert!(sample(&cluster.metrics().await, "thalweg_job_checkpoint_failures_in_a_row") < 1.0);
}
