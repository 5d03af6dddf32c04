//! Messages survive the wire unchanged, and impossible ones are refused.

use std::collections::BTreeMap;

use thalweg_types::{
    JobStatus,
    job::{CheckpointSummary, Failure, FailureKind, JobOverview, SubtaskMetrics, SubtaskOverview},
};

use super::*;

fn check<D, W>(value: D)
where
    D: Clone + PartialEq + std::fmt::Debug + TryFrom<W>,
    W: From<D>,
    <D as TryFrom<W>>::Error: std::fmt::Debug,
{
    assert_eq!(D::try_from(W::from(value.clone())).unwrap(), value);
}

fn submission() -> JobSubmission {
    JobSubmission {
        request: RequestId("r".to_owned()),
        name: Some("a job".to_owned()),
        sql: "SELECT 1".to_owned(),
        settings: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        parallelism: Some(3),
    }
}

fn overview() -> JobOverview {
    let subtask = SubtaskOverview {
        name: "source".to_owned(),
        chain: 1,
        index: 2,
        node: 3,
        state: "running".to_owned(),
        is_source: true,
        is_sink: false,
        metrics: SubtaskMetrics { records_in: 7, watermark: i64::MIN, ..SubtaskMetrics::default() },
    };
    JobOverview {
        job: JobId(1),
        name: "a job".to_owned(),
        status: JobStatus::Restarting,
        attempt: Attempt(2),
        parallelism: 4,
        failure: Some(Failure { kind: FailureKind::Link, message: "it broke".to_owned() }),
        failures: 1,
        checkpoints: CheckpointSummary::default(),
        subtasks: vec![subtask],
        sql: "SELECT 1".to_owned(),
        plan: "source".to_owned(),
        ingest_urls: Vec::new(),
        asked_urls: Vec::new(),
        submitted_ms: 0,
        ended_ms: 0,
    }
}

#[test]
fn everything_comes_back_equal() {
    check::<_, v1::SubmitJobRequest>(submission());
    check::<_, v1::SubmitJobRequest>(JobSubmission { name: None, parallelism: None, ..submission() });
    let queries = vec![CollectedQuery { query: 1, schema: vec![1, 2] }];
    check::<_, v1::SubmitJobResponse>(SubmittedJob {
        job: JobId(9),
        queries,
        answers: vec!["a".to_owned(), String::new()],
    });
    let JobSubmission { sql, settings, parallelism, .. } = submission();
    check::<_, v1::ExplainRequest>(PlanRequest { sql, settings, parallelism });
    let wait = Duration::from_millis(1500);
    check::<_, v1::GetJobRequest>(JobRequest { job: JobId(1), after_revision: 5, wait });
    check::<_, v1::GetJobResponse>(JobAnswer { job: overview(), revision: 8 });
    check::<_, v1::WatchJobResponse>(JobAnswer { job: overview(), revision: 8 });
    let rows = RowsRequest { job: JobId(1), query: 2, offset: 3, bytes_max: 4, wait, attempt: Some(Attempt(5)) };
    check::<_, v1::FetchRowsRequest>(rows);
    let answer = RowsAnswer { attempt: Attempt(1), offset: 3, rows: 2, batches: vec![9], end: true };
    check::<_, v1::FetchRowsResponse>(answer);
    let registration = NodeRegistration {
        node: NodeId(1),
        incarnation: Incarnation(2),
        address: "a:1".to_owned(),
        http_address: "b:2".to_owned(),
        slots: 3,
        zone: "z".to_owned(),
        version: "1".to_owned(),
    };
    check::<_, v1::Node>(NodeOverview { registration, slots_used: 2, state: NodeState::Leaving });
    let heard = Some(Duration::from_millis(1500));
    let member = MemberOverview { member: MemberId(1), address: "a:1".to_owned(), voter: true, heard };
    let unheard = MemberOverview { member: MemberId(2), heard: None, ..member.clone() };
    check::<_, v1::ChangeMembersRequest>(MemberChange::Add(member.clone()));
    check::<_, v1::ChangeMembersRequest>(MemberChange::Remove(MemberId(2)));
    for leader in [None, Some(MemberId(1))] {
        check::<_, v1::DescribeClusterResponse>(ClusterOverview {
            cluster: ClusterId("c".to_owned()),
            leader,
            term: Term(4),
            members: vec![member.clone(), unheard.clone()],
            version: "1".to_owned(),
        });
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let wire = || v1::SubmitJobRequest::from(submission());
    let refused = |wire: v1::SubmitJobRequest| JobSubmission::try_from(wire).unwrap_err().reason;
    let request = v1::SubmitJobRequest { request_id: String::new(), ..wire() };
    assert_eq!(refused(request), "a request id has 1 to 128 bytes");
    let request = v1::SubmitJobRequest { parallelism: 5000, ..wire() };
    assert_eq!(refused(request), "a parallelism of 5000; at most 4096 is possible");
    let request = v1::SubmitJobRequest { name: "n".repeat(257), ..wire() };
    assert_eq!(refused(request), "a name has at most 256 bytes");
    assert!(JobAnswer::try_from(v1::GetJobResponse { job: None, revision: 1 }).is_err());
    assert!(JobAnswer::try_from(v1::WatchJobResponse { job: None, revision: 1 }).is_err());
    assert!(MemberChange::try_from(v1::ChangeMembersRequest { change: None }).is_err());
    assert!(MemberOverview::try_from(v1::Member::default()).is_err());
    assert!(NodeOverview::try_from(v1::Node::default()).is_err());
}
