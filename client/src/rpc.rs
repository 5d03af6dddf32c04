//! The calls, in the domain's words.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::{datatypes::SchemaRef, ipc::convert::try_schema_from_ipc_buffer};
use thalweg_proto::{convert::WireError, network::Network, v1};
use thalweg_types::{
    JobId, MemberId, RequestId,
    client::{
        self, ClusterOverview, CollectedQuery, JobAnswer, JobRequest, JobRestart, JobSubmission, MemberChange,
        MemberOverview, NodeOverview, PlanRequest, RowsAnswer, RowsRequest,
    },
    job::{CheckpointOverview, JobOverview},
    seam::Entropy,
};

use crate::{
    error::ClientError,
    failover::Coordinators,
    model::{ClientConfig, Query, SubmitOptions, SubmittedJob},
    rows::{self, Fetched, Position, Rows},
};

#[cfg(test)]
mod tests;

/// Bytes of rows that one request asks for: what the client is ready to buffer.
const FETCH_BYTES_MAX: u64 = 4 << 20;
/// How long a request for rows is held where there are none yet.
const FETCH_WAIT: Duration = Duration::from_secs(5);
/// How long one request for a job's next change is held.
const WATCH_WAIT: Duration = Duration::from_secs(20);
const AT_ONCE: Duration = Duration::ZERO;
/// Planning takes as long as a script is long: at most so much for each KiB of it, and so much for any.
const PLANNED_PER_KIB: Duration = Duration::from_millis(500);
const PLANNED_WITHIN: Duration = Duration::from_secs(60);
/// What a failed job has to publish may take so long.
const RESTART_WAIT: Duration = Duration::from_secs(15);
/// Clearing a job away may take so long.
const FORGET_WAIT: Duration = Duration::from_secs(45);

/// How long a script may take to be planned, besides what any request may take.
fn planned_within(sql: &str) -> Duration {
    let kibibytes = u32::try_from(sql.len() / 1024).unwrap_or(u32::MAX);
    PLANNED_PER_KIB.saturating_mul(kibibytes).min(PLANNED_WITHIN)
}

/// A cluster's client. Cheap to clone; all clones share the connections.
#[derive(Debug, Clone)]
pub struct Client {
    coordinators: Arc<Coordinators>,
}

impl Client {
    /// Makes a client, and sees that a coordinator answers.
    ///
    /// # Errors
    /// When none is configured, an address is not one, or none answers.
    pub async fn connect(
        config: ClientConfig,
        network: Arc<dyn Network>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, ClientError> {
        let coordinators = Coordinators::new(&config.coordinators, &network, entropy, config.deadline())?;
        let client = Self { coordinators: Arc::new(coordinators) };
        client.cluster().await?;
        Ok(client)
    }

    /// Submits a script as a job. What the script asks besides (`EXPLAIN`, `SHOW TABLES`, `DESCRIBE`) is answered with it.
    ///
    /// # Errors
    /// `Rejected` where the script cannot be planned or has nothing to run (see `explain`), `Broken` where it seems to end the
    /// coordinators that plan it; as any call otherwise.
    pub async fn submit(&self, options: SubmitOptions) -> Result<SubmittedJob, ClientError> {
        check_length(&options)?;
        let request = format!("{:016x}{:016x}", self.coordinators.random(), self.coordinators.random());
        let submission = JobSubmission {
            request: RequestId(request),
            name: Some(options.name).filter(|name| !name.is_empty()),
            sql: options.sql,
            settings: options.settings,
            parallelism: options.parallelism,
        };
        let send = |mut client: ClusterClient, request| async move { client.submit_job(request).await };
        let wait = planned_within(&submission.sql);
        let response = self.coordinators.call_with_script(wait, v1::SubmitJobRequest::from(submission), send).await?;
        let client::SubmittedJob { job, queries, answers } = response.into();
        Ok(SubmittedJob { job, queries: queries.into_iter().map(query).collect::<Result<_, _>>()?, answers })
    }

    /// What a script asks and the dataflow that it would become, as text. Nothing is run.
    ///
    /// # Errors
    /// `Rejected` where the script cannot be planned; as any call otherwise.
    pub async fn explain(&self, options: SubmitOptions) -> Result<String, ClientError> {
        check_length(&options)?;
        let SubmitOptions { sql, settings, parallelism, .. } = options;
        let wait = planned_within(&sql);
        let request = v1::ExplainRequest::from(PlanRequest { sql, settings, parallelism });
        let send = |mut client: ClusterClient, request| async move { client.explain(request).await };
        Ok(self.coordinators.call_with_script(wait, request, send).await?.plan)
    }

    /// All jobs, without their subtasks, scripts and plans.
    ///
    /// # Errors
    /// As any call.
    pub async fn jobs(&self) -> Result<Vec<JobOverview>, ClientError> {
        let send = |mut client: ClusterClient, request| async move { client.list_jobs(request).await };
        let response = self.coordinators.call(AT_ONCE, v1::ListJobsRequest {}, send).await?;
        Ok(response.jobs.into_iter().map(JobOverview::try_from).collect::<Result<_, _>>()?)
    }

    /// A job as it is now.
    ///
    /// # Errors
    /// `NotFound`; as any call otherwise.
    pub async fn job(&self, job: JobId) -> Result<JobOverview, ClientError> {
        Ok(self.watch_job(job, 0, AT_ONCE).await?.0)
    }

    /// A job once its revision is above `after_revision`, or after `wait`, with its revision. Revisions grow within a
    /// leader's term; after a change of leader a job may come with a lower one, and it comes at once.
    ///
    /// # Errors
    /// `NotFound`; as any call otherwise.
    pub async fn watch_job(
        &self,
        job: JobId,
        after_revision: u64,
        wait: Duration,
    ) -> Result<(JobOverview, u64), ClientError> {
        let request = v1::GetJobRequest::from(JobRequest { job, after_revision, wait });
        let send = |mut client: ClusterClient, request| async move { client.get_job(request).await };
        let JobAnswer { job, revision } = self.coordinators.call(wait, request, send).await?.try_into()?;
        Ok((job, revision))
    }

    /// Waits for a job's end, however it ends.
    ///
    /// # Errors
    /// `NotFound`; as any call otherwise.
    pub async fn wait(&self, job: JobId) -> Result<JobOverview, ClientError> {
        let (mut overview, mut revision) = self.watch_job(job, 0, AT_ONCE).await?;
        while !overview.status.is_terminal() {
            (overview, revision) = self.watch_job(job, revision, WATCH_WAIT).await?;
        }
        Ok(overview)
    }

    /// Ends a job and discards what it has not published.
    ///
    /// # Errors
    /// `NotFound`; as any call otherwise.
    pub async fn cancel(&self, job: JobId) -> Result<(), ClientError> {
        self.end(job, false).await
    }

    /// Ends a job's sources as if their input ended here: windows that are open close with what they have, and all that the
    /// job has given is published. It cannot go on from there.
    ///
    /// # Errors
    /// `NotFound`; as any call otherwise.
    pub async fn stop(&self, job: JobId) -> Result<(), ClientError> {
        self.end(job, true).await
    }

    /// The rows of a bare SELECT of a job.
    #[must_use]
    pub fn fetch_rows(&self, job: JobId, query: u32) -> Rows {
        Rows::new(self.clone(), job, query)
    }

    /// All nodes that the leader knows.
    ///
    /// # Errors
    /// As any call.
    pub async fn nodes(&self) -> Result<Vec<NodeOverview>, ClientError> {
        let send = |mut client: ClusterClient, request| async move { client.list_nodes(request).await };
        let response = self.coordinators.call(AT_ONCE, v1::ListNodesRequest {}, send).await?;
        Ok(response.nodes.into_iter().map(NodeOverview::try_from).collect::<Result<_, _>>()?)
    }

    /// The last checkpoints of a job, the newest last.
    ///
    /// # Errors
    /// `NotFound`; as any call otherwise.
    pub async fn checkpoints(&self, job: JobId) -> Result<Vec<CheckpointOverview>, ClientError> {
        let send = |mut client: ClusterClient, request| async move { client.list_checkpoints(request).await };
        let response = self.coordinators.call(AT_ONCE, v1::ListCheckpointsRequest { job: job.0 }, send).await?;
        Ok(response.checkpoints.into_iter().map(CheckpointOverview::try_from).collect::<Result<_, _>>()?)
    }

    /// The coordinators.
    ///
    /// # Errors
    /// As any call.
    pub async fn cluster(&self) -> Result<ClusterOverview, ClientError> {
        let send = |mut client: ClusterClient, request| async move { client.describe_cluster(request).await };
        Ok(self.coordinators.call(AT_ONCE, v1::DescribeClusterRequest {}, send).await?.try_into()?)
    }

    /// Adds a coordinator, which votes once it has caught up.
    ///
    /// # Errors
    /// `Rejected` where the change cannot be made now; as any call otherwise.
    pub async fn add_member(&self, member: MemberId, address: &str) -> Result<(), ClientError> {
        let added = MemberOverview { member, address: address.to_owned(), voter: true, heard: None };
        self.change_members(MemberChange::Add(added)).await
    }

    /// Removes a coordinator for good.
    ///
    /// # Errors
    /// `Rejected` where the change cannot be made now; as any call otherwise.
    pub async fn remove_member(&self, member: MemberId) -> Result<(), ClientError> {
        self.change_members(MemberChange::Remove(member)).await
    }

    /// Rows from a position on; earlier ones are acknowledged.
    pub(crate) async fn fetch(&self, job: JobId, query: u32, from: Position) -> Result<Fetched, ClientError> {
        let answer = self.request_rows(job, query, from, FETCH_WAIT).await?;
        let batches = rows::decode(answer.batches)
            .map_err(|error| WireError::new("FetchRowsResponse", format!("its rows cannot be read: {error}")))?;
        let RowsAnswer { attempt, offset, rows, end, .. } = answer;
        Ok(Fetched { attempt, offset, rows, batches, is_end: end })
    }

    /// Acknowledges rows and wants no others.
    pub(crate) async fn acknowledge_rows(&self, job: JobId, query: u32, from: Position) -> Result<(), ClientError> {
        self.request_rows(job, query, from, AT_ONCE).await.map(drop)
    }

    async fn request_rows(
        &self,
        job: JobId,
        query: u32,
        from: Position,
        wait: Duration,
    ) -> Result<RowsAnswer, ClientError> {
        let Position { attempt, offset } = from;
        let request = RowsRequest { job, query, offset, bytes_max: FETCH_BYTES_MAX, wait, attempt };
        let send = |mut client: ClusterClient, request| async move { client.fetch_rows(request).await };
        Ok(self.coordinators.call(wait, v1::FetchRowsRequest::from(request), send).await?.into())
    }

    /// Starts a failed job again, from its newest checkpoint, with some other settings.
    ///
    /// # Errors
    /// `NotFound`; `Rejected` where it has not failed, where a setting cannot change or where some of its output may be visible
    /// already; as any call otherwise.
    pub async fn restart(&self, job: JobId, settings: BTreeMap<String, String>) -> Result<(), ClientError> {
        let request = format!("{:016x}{:016x}", self.coordinators.random(), self.coordinators.random());
        let restart = JobRestart { request: RequestId(request), job, settings };
        let send = |mut client: ClusterClient, request| async move { client.restart_job(request).await };
        self.coordinators.call(RESTART_WAIT, v1::RestartJobRequest::from(restart), send).await.map(drop)
    }

    /// Forgets an ended job, with its checkpoints and what was POSTed to it.
    ///
    /// # Errors
    /// `NotFound`; `Rejected` where it has not ended or cannot be cleared away now; as any call otherwise.
    pub async fn forget(&self, job: JobId) -> Result<(), ClientError> {
        let send = |mut client: ClusterClient, request| async move { client.forget_job(request).await };
        self.coordinators.call(FORGET_WAIT, v1::ForgetJobRequest { job: job.0 }, send).await.map(drop)
    }

    async fn end(&self, job: JobId, drain: bool) -> Result<(), ClientError> {
        let request = v1::EndJobRequest { job: job.0, drain };
        let send = |mut client: ClusterClient, request| async move { client.end_job(request).await };
        self.coordinators.call(AT_ONCE, request, send).await.map(drop)
    }

    async fn change_members(&self, change: MemberChange) -> Result<(), ClientError> {
        let request = v1::ChangeMembersRequest::from(change);
        let send = |mut client: ClusterClient, request| async move { client.change_members(request).await };
        self.coordinators.call(AT_ONCE, request, send).await.map(drop)
    }
}

type ClusterClient = v1::cluster_client::ClusterClient<tonic::transport::Channel>;

/// Nothing is sent of a script that no coordinator takes.
fn check_length(options: &SubmitOptions) -> Result<(), ClientError> {
    let checked = client::check_length(&options.sql, &options.settings);
    checked.map_err(|error| ClientError::Rejected { message: error.to_string() })
}

fn query(collected: CollectedQuery) -> Result<Query, WireError> {
    let schema = try_schema_from_ipc_buffer(&collected.schema)
        .map_err(|error| WireError::new("CollectedQuery", format!("its schema cannot be read: {error}")))?;
    Ok(Query { query: collected.query, schema: SchemaRef::new(schema) })
}
