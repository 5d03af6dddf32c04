//! One coordinator or three, complete, over a network in memory. The nodes keep the session's protocol and run nothing.
//! The clock is paused: time passes only when nothing else can happen.

use std::time::Duration;

use thalweg_proto::LEADER_KEY;
use thalweg_types::{
    Attempt, JobId, JobStatus, NodeId,
    client::{JobRequest, RowsRequest},
    job::{FailureKind, JobOverview},
    node::NodeState,
};
use tonic::Code;

mod checkpoints;
mod cluster;
mod graphs;
mod node;
mod openings;
mod rpc;
mod watching;

pub(crate) use cluster::TestCluster;
use rpc::TestClient;

/// Longer than anything that works can take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until the job is as wanted.
async fn until(client: &TestClient, job: JobId, wanted: impl Fn(&JobOverview) -> bool) -> JobOverview {
    let mut after_revision = 0;
    let polling = async {
        loop {
            let request = JobRequest { job, after_revision, wait: Duration::from_secs(1) };
            // There is no answer during an election.
            let Ok(answer) = client.job(request).await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            if wanted(&answer.job) {
                return answer.job;
            }
            after_revision = answer.revision;
        }
    };
    tokio::time::timeout(PATIENCE, polling).await.expect("the job becomes as wanted")
}

async fn until_status(client: &TestClient, job: JobId, status: JobStatus) -> JobOverview {
    until(client, job, |overview| overview.status == status).await
}

#[tokio::test(start_paused = true)]
async fn a_job_is_run_on_all_nodes_and_published_once() {
    let cluster = TestCluster::start(1, &[2, 2]).await;
    let client = cluster.client(1);
    let job = client.submit("r", "publish").await.unwrap().job;
    assert_eq!(client.submit("r", "publish").await.unwrap().job, job, "a repeated request is the same job");
    let finished = until_status(&client, job, JobStatus::Finished).await;
    assert_eq!((finished.attempt, finished.parallelism, finished.failures), (Attempt(1), 2, 0));
    assert!(finished.subtasks.iter().all(|subtask| subtask.state == "finished"), "{finished:?}");
    assert_eq!(finished.subtasks.iter().map(|subtask| subtask.metrics.records_in).sum::<u64>(), 40);
    assert_eq!(cluster.published(), vec![(job, Attempt(1), 2)]);
    cluster.until_nodes(|node| node.is_empty()).await;
    let listed = client.jobs().await.unwrap();
    assert_eq!(listed.iter().map(|job| (job.job, job.status)).collect::<Vec<_>>(), [(job, JobStatus::Finished)]);
}

#[tokio::test(start_paused = true)]
async fn a_job_without_slots_says_what_it_waits_for() {
    let cluster = TestCluster::start(1, &[1]).await;
    let client = cluster.client(1);
    cluster.hold_back(true);
    let first = client.submit("r", "publish").await.unwrap().job;
    until_status(&client, first, JobStatus::Running).await;
    let job = client.submit("s", "publish").await.unwrap().job;
    let shown = until_status(&client, job, JobStatus::Created).await;
    let message = "it waits for 1 slot(s): 0 of 1 are free";
    assert_eq!(shown.failure.unwrap().message, message);
    let listed = client.jobs().await.unwrap();
    let told: Vec<_> = listed.iter().map(|job| job.failure.as_ref().map(|failure| failure.message.as_str())).collect();
    assert_eq!(told, [None, Some(message)]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_node_restarts_the_attempt_on_the_others() {
    let mut cluster = TestCluster::start(1, &[1, 2]).await;
    let client = cluster.client(1);
    cluster.hold_back(true);
    let job = client.submit("r", "publish").await.unwrap().job;
    let running = until_status(&client, job, JobStatus::Running).await;
    assert_eq!(running.parallelism, 2, "half of three");
    cluster.kill(NodeId(1));
    let killed = cluster.now();
    let restarted = until(&client, job, |job| job.attempt == Attempt(2) && job.status == JobStatus::Running).await;
    assert_eq!(restarted.parallelism, 2, "what is left");
    assert!(cluster.now() - killed < Duration::from_secs(1), "after {:?}", cluster.now() - killed);
    assert_eq!(restarted.failure.unwrap().kind, FailureKind::Node);
    let nodes = client.nodes().await.unwrap();
    let states: Vec<NodeState> = nodes.iter().map(|node| node.state).collect();
    assert_eq!(states, [NodeState::Lost, NodeState::Alive]);
    assert_eq!(nodes[1].slots_used, 2);
    cluster.hold_back(false);
    until_status(&client, job, JobStatus::Finished).await;
    assert_eq!(cluster.published(), vec![(job, Attempt(2), 2)]);
}

/// This holds for a kill at any moment between two ticks of the leader.
#[tokio::test(start_paused = true)]
async fn a_killed_node_is_lost_within_a_second_of_its_broken_session() {
    let mut cluster = TestCluster::start(1, &[1; 6]).await;
    let client = cluster.client(1);
    for (node, phase) in (1..).map(NodeId).zip([0, 30, 60, 90, 120, 150]) {
        tokio::time::sleep(Duration::from_millis(phase)).await;
        cluster.kill(node);
        let killed = cluster.now();
        let is_lost = async || {
            client.nodes().await.unwrap().iter().any(|of| of.registration.node == node && of.state == NodeState::Lost)
        };
        while !is_lost().await {
            let since = cluster.now() - killed;
            assert!(since < Duration::from_secs(1), "{node} is not lost after {since:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_is_dropped_by_its_nodes_and_publishes_nothing() {
    let cluster = TestCluster::start(1, &[2, 2]).await;
    let client = cluster.client(1);
    cluster.hold_back(true);
    let job = client.submit("r", "publish").await.unwrap().job;
    until_status(&client, job, JobStatus::Running).await;
    client.end(job, false).await.unwrap();
    let cancelled = until_status(&client, job, JobStatus::Cancelled).await;
    assert!(cancelled.failure.is_none());
    cluster.until_nodes(|node| node.is_empty()).await;
    assert!(cluster.published().is_empty());
    cluster.until_discarded(&[job]).await;
    client.end(job, false).await.expect("a repeated request finds what it asked for");
    let late = client.end(job, true).await.unwrap_err();
    assert_eq!((late.code(), late.message()), (Code::FailedPrecondition, "job-1 is cancelled"));
    assert_eq!(client.end(JobId(9), false).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_job_publishes_what_it_has() {
    let cluster = TestCluster::start(1, &[4]).await;
    let client = cluster.client(1);
    cluster.hold_back(true);
    let job = client.submit("r", "publish").await.unwrap().job;
    until_status(&client, job, JobStatus::Running).await;
    client.end(job, true).await.unwrap();
    until_status(&client, job, JobStatus::Stopped).await;
    assert_eq!(cluster.published(), vec![(job, Attempt(1), 2)]);
}

#[tokio::test(start_paused = true)]
async fn any_member_answers_and_nodes_find_the_leader() {
    let cluster = TestCluster::start(3, &[2, 2]).await;
    let leader = cluster.leader().await;
    for member in 1..=3 {
        let client = cluster.client(member);
        let job = client.submit(&format!("r{member}"), "publish").await.unwrap().job;
        assert_eq!(job, JobId(member), "one state for all");
        until_status(&client, job, JobStatus::Finished).await;
        assert_eq!(client.nodes().await.unwrap().len(), 2);
        let overview = client.describe().await.unwrap();
        assert_eq!((overview.leader.map(|member| member.0), overview.members.len()), (Some(leader), 3));
    }
    let follower = (1..=3).find(|member| *member != leader).unwrap();
    let status = cluster.client(follower).open_session(cluster.registration(9)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.metadata().get(LEADER_KEY).unwrap().to_str().unwrap(), cluster::address(leader));
}

#[tokio::test(start_paused = true)]
async fn what_a_cancelled_job_left_is_removed_although_the_leader_was_lost() {
    let mut cluster = TestCluster::start(3, &[2, 2]).await;
    let leader = cluster.leader().await;
    let client = cluster.client((1..=3).find(|member| *member != leader).unwrap());
    cluster.hold_back(true);
    let job = client.submit("r", "publish").await.unwrap().job;
    until_status(&client, job, JobStatus::Running).await;
    client.end(job, false).await.unwrap();
    cluster.stop(leader).await;
    cluster.until_discarded(&[job]).await;
    until_status(&client, job, JobStatus::Cancelled).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_on_through_the_loss_of_the_leader() {
    let mut cluster = TestCluster::start(3, &[2, 2]).await;
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|member| *member != leader).unwrap();
    let client = cluster.client(follower);
    cluster.hold_back(true);
    let job = client.submit("r", "publish").await.unwrap().job;
    until_status(&client, job, JobStatus::Running).await;
    cluster.node(NodeId(1)).let_go();
    until(&client, job, |job| job.subtasks.iter().any(|subtask| subtask.state == "finished")).await;
    cluster.stop(leader).await;
    cluster.hold_back(false);
    let finished = until_status(&client, job, JobStatus::Finished).await;
    assert_eq!((finished.attempt, finished.failures), (Attempt(1), 0));
    assert_eq!(cluster.published(), vec![(job, Attempt(1), 2)]);
}

#[tokio::test(start_paused = true)]
async fn rows_are_fetched_from_the_node_that_has_them() {
    let cluster = TestCluster::start(1, &[1]).await;
    let client = cluster.client(1);
    let submitted = client.submit("r", "collect").await.unwrap();
    let [query] = &submitted.queries[..] else { panic!("one query: {submitted:?}") };
    let schema = arrow_ipc::convert::try_schema_from_ipc_buffer(&query.schema).unwrap();
    assert_eq!(schema.field(0).name(), "id");
    let wait = Duration::from_secs(30);
    let request = RowsRequest { job: submitted.job, query: 0, offset: 7, bytes_max: 100, wait, attempt: None };
    let rows = client.rows(request).await.unwrap();
    assert_eq!((rows.attempt, rows.offset, rows.batches.as_slice(), rows.end), (Attempt(1), 7, &b"rows"[..], true));
    let later = client.rows(RowsRequest { attempt: Some(Attempt(9)), ..request }).await.unwrap();
    assert_eq!((later.attempt, later.offset, later.end), (Attempt(1), 7, true), "offsets go on over attempts");
    until_status(&client, submitted.job, JobStatus::Finished).await;
    assert!(client.rows(request).await.is_ok(), "rows outlive the job");
    assert_eq!(cluster.node(NodeId(1)).attempts(), [(submitted.job, Attempt(1))]);
    let unknown = client.rows(RowsRequest { query: 1, ..request }).await.unwrap_err();
    assert_eq!((unknown.code(), unknown.message()), (Code::NotFound, "job-1 has no SELECT 2: it has one"));
}

#[tokio::test(start_paused = true)]
async fn rows_of_an_ended_job_are_said_to_be_lost_with_their_node() {
    let mut cluster = TestCluster::start(1, &[1]).await;
    let client = cluster.client(1);
    let job = client.submit("r", "collect").await.unwrap().job;
    until_status(&client, job, JobStatus::Finished).await;
    cluster.kill(NodeId(1));
    let lost = async {
        while client.nodes().await.unwrap()[0].state != NodeState::Lost {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, lost).await.expect("the node is lost");
    let request = RowsRequest { job, query: 0, offset: 0, bytes_max: 100, wait: Duration::ZERO, attempt: None };
    let refused = client.rows(request).await.unwrap_err();
    let expected = format!("{job}'s rows were on {}, which is lost", NodeId(1));
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, expected.as_str()));
}

#[tokio::test(start_paused = true)]
async fn a_job_fails_whose_sinks_prepared_more_than_can_be_recorded() {
    let cluster = TestCluster::start(1, &[1]).await;
    let client = cluster.client(1);
    cluster.node(NodeId(1)).prepare(thalweg_consensus::COMMAND_BYTES_MAX);
    let job = client.submit("r", "publish").await.unwrap().job;
    let failed = until_status(&client, job, JobStatus::Failed).await;
    let failure = failed.failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Data);
    assert!(failure.message.contains("at most 16777216 are taken"), "{}", failure.message);
    assert!(failure.message.contains("a shorter 'checkpoint.interval', fewer partitions"), "{}", failure.message);
    assert!(cluster.published().is_empty());
}

#[tokio::test(start_paused = true)]
async fn jobs_that_ended_long_ago_are_forgotten_with_their_rows() {
    let cluster = TestCluster::start_with(1, &[1], |config| config.ended_jobs_max = 1).await;
    let client = cluster.client(1);
    for (request, id) in [("a", 1), ("b", 2)] {
        assert_eq!(client.submit(request, "collect").await.unwrap().job, JobId(id));
        until(&client, JobId(id), |job| job.status == JobStatus::Finished).await;
    }
    cluster.until_nodes(|node| node == [(JobId(2), Attempt(1))]).await;
    let gone = client.job(JobRequest { job: JobId(1), after_revision: 0, wait: Duration::ZERO }).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_node_of_another_version_is_refused() {
    let cluster = TestCluster::start(1, &[]).await;
    cluster.leader().await;
    let mut registration = cluster.registration(1);
    registration.version = "0.0.1".to_owned();
    let refused = cluster.client(1).open_session(registration).await.unwrap();
    let expected = format!(
        "the node is of version 0.0.1, this cluster runs {}: all must be of one version",
        thalweg_types::ENGINE_VERSION
    );
    assert_eq!(refused, thalweg_types::session::CoordinatorMessage::Refused { reason: expected });
}

#[tokio::test(start_paused = true)]
async fn a_script_that_cannot_be_planned_is_answered_with_its_place() {
    let cluster = TestCluster::start_with_sql().await;
    let client = cluster.client(1);
    let wrong = client.submit("r", "SELECT\n  nothing FROM nowhere").await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert!(wrong.message().starts_with("line 2, column "), "{}", wrong.message());
    assert!(client.jobs().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_script_asks_is_answered_with_its_job_however_often_it_is_submitted() {
    let cluster = TestCluster::start_with_sql().await;
    let client = cluster.client(1);
    let sql =
        "CREATE TABLE t (a INT) WITH ('connector' = 'datagen'); SHOW TABLES; EXPLAIN SELECT a FROM t; SELECT a FROM t";
    let submitted = client.submit("r", sql).await.unwrap();
    let [tables, plan] = &submitted.answers[..] else { panic!("two answers: {submitted:?}") };
    assert_eq!(tables, "t");
    assert!(plan.contains("datagen"), "{plan}");
    assert_eq!(client.submit("r", sql).await.unwrap(), submitted);
    let nothing = client.submit("s", "EXPLAIN SELECT 1").await.unwrap_err();
    assert_eq!(nothing.code(), Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn a_job_waits_for_a_node_and_then_runs() {
    let mut cluster = TestCluster::start(1, &[]).await;
    let client = cluster.client(1);
    let job = client.submit("r", "publish").await.unwrap().job;
    let now = client.job(JobRequest { job, after_revision: 0, wait: Duration::ZERO }).await.unwrap();
    // This is longer than the job waits for as many slots as it wants.
    let wait = Duration::from_secs(60);
    let later = client.job(JobRequest { job, after_revision: now.revision, wait }).await.unwrap();
    assert_eq!((later.job.status, later.revision), (JobStatus::Created, now.revision));
    cluster.add_node(1, 1).await;
    until_status(&client, job, JobStatus::Finished).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_process_of_a_node_is_refused_while_the_first_is_there_and_let_in_after() {
    let mut cluster = TestCluster::start(1, &[1]).await;
    let client = cluster.client(1);
    let mut second = cluster.registration(1);
    second.incarnation = thalweg_types::Incarnation(u64::MAX);
    let refused = client.open_session(second.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert!(refused.message().starts_with("node-1 is here, at node-1:7000, heard "), "{}", refused.message());
    let job = client.submit("r", "publish").await.unwrap().job;
    assert_eq!(until_status(&client, job, JobStatus::Finished).await.attempt, Attempt(1), "the first goes on");
    cluster.kill(NodeId(1));
    let let_in = async {
        while client.open_session(second.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_millis(500), let_in).await.expect("the first is gone");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_breaks_the_protocol_ends_with_the_reason() {
    let cluster = TestCluster::start(1, &[]).await;
    cluster.leader().await;
    let report = thalweg_proto::v1::NodeMessage {
        message: Some(thalweg_proto::v1::node_message::Message::Report(thalweg_proto::v1::Report {
            sequence: 1,
            ..thalweg_proto::v1::Report::default()
        })),
    };
    let ended = cluster.client(1).end_of_session(cluster.registration(1), report).await;
    assert_eq!(ended.code(), Code::InvalidArgument, "{ended:?}");
    assert!(ended.message().contains("Report"), "{}", ended.message());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_never_was_is_not_removed() {
    let cluster = TestCluster::start(1, &[]).await;
    cluster.leader().await;
    let refused = cluster.client(1).remove_member(77).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, "there is no member 77"));
}
