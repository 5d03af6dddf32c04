//! Jobs that are followed.

use thalweg_types::{JobId, JobStatus, job::JobOverview};
use tonic::{Code, Status};

use super::{PATIENCE, TestCluster, rpc::TestWatch, until_status};

async fn next(watch: &mut TestWatch) -> Result<Option<JobOverview>, Status> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("something is told")
}

/// What is told from now on, until the watch ends well.
async fn rest(watch: &mut TestWatch) -> Vec<JobStatus> {
    let mut told = Vec::new();
    while let Some(job) = next(watch).await.expect("nothing fails") {
        told.push(job.status);
    }
    told
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_the_job_as_it_is_then_what_changes_and_ends_with_the_job() {
    let cluster = TestCluster::start(1, &[2]).await;
    let client = cluster.client(1);
    cluster.hold_back(true);
    let job = client.submit("r", "publish").await.unwrap().job;
    until_status(&client, job, JobStatus::Running).await;
    let mut watch = client.watch(job).await.unwrap();
    assert_eq!(next(&mut watch).await.unwrap().unwrap().status, JobStatus::Running);
    cluster.hold_back(false);
    let told = rest(&mut watch).await;
    assert_eq!(told.last(), Some(&JobStatus::Finished));
    assert!(told.iter().all(|status| *status != JobStatus::Running), "only what changes is told: {told:?}");
    let mut late = client.watch(job).await.unwrap();
    assert_eq!(rest(&mut late).await, [JobStatus::Finished], "what has ended is told once");
    assert_eq!(client.watch(JobId(9)).await.err().map(|status| status.code()), Some(Code::NotFound));
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_without_an_answer_when_its_leader_goes_and_the_next_one_goes_on() {
    let mut cluster = TestCluster::start(3, &[2]).await;
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|member| *member != leader).unwrap();
    let client = cluster.client(follower);
    cluster.hold_back(true);
    let job = client.submit("r", "publish").await.unwrap().job;
    until_status(&client, job, JobStatus::Running).await;
    let at_leader = cluster.client(leader);
    let mut watches = [client.watch(job).await.unwrap(), at_leader.watch(job).await.unwrap()];
    for watch in &mut watches {
        assert_eq!(next(watch).await.unwrap().unwrap().status, JobStatus::Running);
    }
    cluster.stop(leader).await;
    for watch in &mut watches {
        assert_eq!(next(watch).await.unwrap_err().code(), Code::Unavailable);
    }
    let mut again = client.watch(job).await.unwrap();
    assert_eq!(next(&mut again).await.unwrap().unwrap().status, JobStatus::Running);
    cluster.hold_back(false);
    assert_eq!(rest(&mut again).await.last(), Some(&JobStatus::Finished));
}

#[tokio::test(start_paused = true)]
async fn watches_are_bounded_in_number_and_time_and_a_place_is_free_once_one_has_ended() {
    let cluster = TestCluster::start(1, &[2]).await;
    let client = cluster.client(1);
    cluster.hold_back(true);
    let job = client.submit("r", "publish").await.unwrap().job;
    until_status(&client, job, JobStatus::Running).await;
    let mut watches = Vec::new();
    for _ in 0..256 {
        watches.push(client.watch(job).await.unwrap());
    }
    let full = client.watch(job).await.err().expect("there is no room");
    assert_eq!((full.code(), full.message()), (Code::Unavailable, "256 watches are open here already"));
    watches.truncate(255);
    let mut taken = loop {
        match client.watch(job).await {
            Ok(watch) => break watch,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    };
    assert_eq!(next(&mut taken).await.unwrap().unwrap().status, JobStatus::Running);
    let begun = cluster.now();
    let old = tokio::time::timeout(10 * PATIENCE, taken.next()).await.expect("it ends").unwrap_err();
    assert_eq!((old.code(), old.message()), (Code::Unavailable, "job-1 was watched for 600s: ask again"));
    assert!(cluster.now() - begun > 4 * PATIENCE, "after {:?}", cluster.now() - begun);
}
