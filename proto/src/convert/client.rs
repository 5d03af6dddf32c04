//! Converts the client service's messages to and from `thalweg_types::client` and `thalweg_types::job`.

use std::time::Duration;

use thalweg_types::{
    Attempt, ClusterId, Incarnation, JobId, MemberId, NodeId, RequestId, Term,
    client::{
        ClusterOverview, CollectedQuery, JobAnswer, JobRequest, JobRestart, JobSubmission, MemberChange,
        MemberOverview, NodeOverview, PlanRequest, RowsAnswer, RowsRequest, SubmittedJob,
    },
    node::{NodeRegistration, NodeState},
};

use super::WireError;
use crate::v1;

#[cfg(test)]
mod tests;

/// Clients choose request ids and replicated state keeps them, so they need a bound.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// The most slices, as of `parallelism.default`.
const PARALLELISM_MAX: u32 = 4096;
/// Lists show job names, so they need a bound.
const NAME_BYTES_MAX: usize = 256;

/// The value of a required field.
fn required<T>(message: &'static str, field: &'static str, value: Option<T>) -> Result<T, WireError> {
    value.ok_or_else(|| WireError::new(message, format!("{field} is missing")))
}

fn parallelism(message: &'static str, wire: u32) -> Result<Option<u32>, WireError> {
    if wire > PARALLELISM_MAX {
        return Err(WireError::new(message, format!("a parallelism of {wire}; at most {PARALLELISM_MAX} is possible")));
    }
    Ok(Some(wire).filter(|slices| *slices > 0))
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

impl From<JobSubmission> for v1::SubmitJobRequest {
    fn from(submission: JobSubmission) -> Self {
        Self {
            request_id: submission.request.0,
            name: submission.name.unwrap_or_default(),
            sql: submission.sql,
            settings: submission.settings.into_iter().collect(),
            parallelism: submission.parallelism.unwrap_or(0),
        }
    }
}

impl TryFrom<v1::SubmitJobRequest> for JobSubmission {
    type Error = WireError;

    fn try_from(wire: v1::SubmitJobRequest) -> Result<Self, WireError> {
        let wrong = |reason: String| Err(WireError::new("SubmitJobRequest", reason));
        if wire.name.len() > NAME_BYTES_MAX {
            return wrong(format!("a name has at most {NAME_BYTES_MAX} bytes"));
        }
        Ok(Self {
            request: request_id("SubmitJobRequest", wire.request_id)?,
            name: Some(wire.name).filter(|name| !name.is_empty()),
            sql: wire.sql,
            settings: wire.settings.into_iter().collect(),
            parallelism: parallelism("SubmitJobRequest", wire.parallelism)?,
        })
    }
}

impl From<JobRestart> for v1::RestartJobRequest {
    fn from(restart: JobRestart) -> Self {
        let JobRestart { request, job, settings } = restart;
        Self { request_id: request.0, job: job.0, settings: settings.into_iter().collect() }
    }
}

impl TryFrom<v1::RestartJobRequest> for JobRestart {
    type Error = WireError;

    fn try_from(wire: v1::RestartJobRequest) -> Result<Self, WireError> {
        let request = request_id("RestartJobRequest", wire.request_id)?;
        Ok(Self { request, job: JobId(wire.job), settings: wire.settings.into_iter().collect() })
    }
}

fn request_id(message: &'static str, id: String) -> Result<RequestId, WireError> {
    if id.is_empty() || id.len() > REQUEST_ID_BYTES_MAX {
        return Err(WireError::new(message, format!("a request id has 1 to {REQUEST_ID_BYTES_MAX} bytes")));
    }
    Ok(RequestId(id))
}

impl From<SubmittedJob> for v1::SubmitJobResponse {
    fn from(submitted: SubmittedJob) -> Self {
        let query = |query: CollectedQuery| v1::CollectedQuery { query: query.query, schema: query.schema };
        let queries = submitted.queries.into_iter().map(query).collect();
        Self { job: submitted.job.0, queries, answers: submitted.answers }
    }
}

/// Infallible: a cluster can give any combination of values. Whoever decodes the schemas checks them.
impl From<v1::SubmitJobResponse> for SubmittedJob {
    fn from(wire: v1::SubmitJobResponse) -> Self {
        let query = |query: v1::CollectedQuery| CollectedQuery { query: query.query, schema: query.schema };
        let queries = wire.queries.into_iter().map(query).collect();
        Self { job: JobId(wire.job), queries, answers: wire.answers }
    }
}

impl From<PlanRequest> for v1::ExplainRequest {
    fn from(request: PlanRequest) -> Self {
        Self {
            sql: request.sql,
            settings: request.settings.into_iter().collect(),
            parallelism: request.parallelism.unwrap_or(0),
        }
    }
}

impl TryFrom<v1::ExplainRequest> for PlanRequest {
    type Error = WireError;

    fn try_from(wire: v1::ExplainRequest) -> Result<Self, WireError> {
        Ok(Self {
            sql: wire.sql,
            settings: wire.settings.into_iter().collect(),
            parallelism: parallelism("ExplainRequest", wire.parallelism)?,
        })
    }
}

impl From<JobRequest> for v1::GetJobRequest {
    fn from(request: JobRequest) -> Self {
        Self { job: request.job.0, after_revision: request.after_revision, wait_ms: millis(request.wait) }
    }
}

impl From<v1::GetJobRequest> for JobRequest {
    fn from(wire: v1::GetJobRequest) -> Self {
        let wait = Duration::from_millis(u64::from(wire.wait_ms));
        Self { job: JobId(wire.job), after_revision: wire.after_revision, wait }
    }
}

impl From<JobAnswer> for v1::GetJobResponse {
    fn from(answer: JobAnswer) -> Self {
        Self { job: Some(answer.job.into()), revision: answer.revision }
    }
}

impl TryFrom<v1::GetJobResponse> for JobAnswer {
    type Error = WireError;

    fn try_from(wire: v1::GetJobResponse) -> Result<Self, WireError> {
        let job = required("GetJobResponse", "job", wire.job)?.try_into()?;
        Ok(Self { job, revision: wire.revision })
    }
}

impl From<JobAnswer> for v1::WatchJobResponse {
    fn from(answer: JobAnswer) -> Self {
        Self { job: Some(answer.job.into()), revision: answer.revision }
    }
}

impl TryFrom<v1::WatchJobResponse> for JobAnswer {
    type Error = WireError;

    fn try_from(wire: v1::WatchJobResponse) -> Result<Self, WireError> {
        let job = required("WatchJobResponse", "job", wire.job)?.try_into()?;
        Ok(Self { job, revision: wire.revision })
    }
}

impl From<RowsRequest> for v1::FetchRowsRequest {
    fn from(request: RowsRequest) -> Self {
        Self {
            job: request.job.0,
            query: request.query,
            offset: request.offset,
            max_bytes: request.bytes_max,
            wait_ms: millis(request.wait),
            attempt: request.attempt.map_or(0, |attempt| attempt.0),
        }
    }
}

impl From<v1::FetchRowsRequest> for RowsRequest {
    fn from(wire: v1::FetchRowsRequest) -> Self {
        Self {
            job: JobId(wire.job),
            query: wire.query,
            offset: wire.offset,
            bytes_max: wire.max_bytes,
            wait: Duration::from_millis(u64::from(wire.wait_ms)),
            attempt: Some(wire.attempt).filter(|attempt| *attempt > 0).map(Attempt),
        }
    }
}

impl From<RowsAnswer> for v1::FetchRowsResponse {
    fn from(answer: RowsAnswer) -> Self {
        Self {
            attempt: answer.attempt.0,
            offset: answer.offset,
            rows: answer.rows,
            batches: answer.batches.into(),
            end: answer.end,
        }
    }
}

/// Infallible: a node can give any combination of values. Whoever decodes the batches checks them.
impl From<v1::FetchRowsResponse> for RowsAnswer {
    fn from(wire: v1::FetchRowsResponse) -> Self {
        Self {
            attempt: Attempt(wire.attempt),
            offset: wire.offset,
            rows: wire.rows,
            batches: wire.batches.into(),
            end: wire.end,
        }
    }
}

impl From<NodeOverview> for v1::Node {
    fn from(overview: NodeOverview) -> Self {
        let registration = overview.registration;
        Self {
            node: registration.node.0,
            incarnation: registration.incarnation.0,
            address: registration.address,
            http_address: registration.http_address,
            slots: registration.slots,
            slots_used: overview.slots_used,
            zone: registration.zone,
            version: registration.version,
            state: overview.state.word().to_owned(),
        }
    }
}

impl TryFrom<v1::Node> for NodeOverview {
    type Error = WireError;

    fn try_from(wire: v1::Node) -> Result<Self, WireError> {
        let state = NodeState::from_word(&wire.state)
            .ok_or_else(|| WireError::new("Node", format!("unknown state '{}'", wire.state)))?;
        let registration = NodeRegistration {
            node: NodeId(wire.node),
            incarnation: Incarnation(wire.incarnation),
            address: wire.address,
            http_address: wire.http_address,
            slots: wire.slots,
            zone: wire.zone,
            version: wire.version,
        };
        Ok(Self { registration, slots_used: wire.slots_used, state })
    }
}

impl From<MemberOverview> for v1::Member {
    fn from(member: MemberOverview) -> Self {
        let heard_ms = member.heard.map(|heard| u64::try_from(heard.as_millis()).unwrap_or(u64::MAX));
        Self { member: member.member.0, address: member.address, voter: member.voter, heard_ms }
    }
}

impl TryFrom<v1::Member> for MemberOverview {
    type Error = WireError;

    fn try_from(wire: v1::Member) -> Result<Self, WireError> {
        if wire.member == 0 {
            return Err(WireError::new("Member", "a member's id is not 0"));
        }
        let heard = wire.heard_ms.map(Duration::from_millis);
        Ok(Self { member: MemberId(wire.member), address: wire.address, voter: wire.voter, heard })
    }
}

impl From<ClusterOverview> for v1::DescribeClusterResponse {
    fn from(overview: ClusterOverview) -> Self {
        Self {
            cluster: overview.cluster.0,
            leader: overview.leader.map_or(0, |leader| leader.0),
            term: overview.term.0,
            members: overview.members.into_iter().map(Into::into).collect(),
            version: overview.version,
        }
    }
}

impl TryFrom<v1::DescribeClusterResponse> for ClusterOverview {
    type Error = WireError;

    fn try_from(wire: v1::DescribeClusterResponse) -> Result<Self, WireError> {
        Ok(Self {
            cluster: ClusterId(wire.cluster),
            leader: Some(wire.leader).filter(|leader| *leader > 0).map(MemberId),
            term: Term(wire.term),
            members: wire.members.into_iter().map(MemberOverview::try_from).collect::<Result<_, _>>()?,
            version: wire.version,
        })
    }
}

impl From<MemberChange> for v1::ChangeMembersRequest {
    fn from(change: MemberChange) -> Self {
        use v1::change_members_request::Change;
        let change = match change {
            MemberChange::Add(member) => Change::Add(member.into()),
            MemberChange::Remove(member) => Change::Remove(member.0),
        };
        Self { change: Some(change) }
    }
}

impl TryFrom<v1::ChangeMembersRequest> for MemberChange {
    type Error = WireError;

    fn try_from(wire: v1::ChangeMembersRequest) -> Result<Self, WireError> {
        use v1::change_members_request::Change;
        Ok(match required("ChangeMembersRequest", "change", wire.change)? {
            Change::Add(member) => Self::Add(member.try_into()?),
            Change::Remove(member) => Self::Remove(MemberId(member)),
        })
    }
}
