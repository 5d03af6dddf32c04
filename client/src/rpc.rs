//! The client's calls, over the domain types.

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
    failover::{ClusterClient, Coordinators},
    model::{ClientConfig, Query, SubmitOptions, SubmittedJob},
};

mod watch;

#[cfg(test)]
mod tests;

pub use watch::JobWatch;

/// How long the cluster holds a request for a job's next change.
const WATCH_WAIT: Duration = Duration::from_secs(20);
const AT_ONCE: Duration = Duration::ZERO;
/// Planning time grows with the length of a script: at most so much per KiB, and `PLANNED_WITHIN` in all.
const PLANNED_PER_KIB: Duration = Duration::from_millis(500);
const PLANNED_WITHIN: Duration = Duration::from_secs(60);
/// A restart waits until the failed job has published its output.
const RESTART_WAIT: Duration = Duration::from_secs(15);
/// Forgetting a job waits until its objects are deleted.
const FORGET_WAIT: Duration = Duration::from_secs(45);

/// How long to wait for a script to be planned, on top of what any request may take.
fn planned_within(sql: &str) -> Duration {
    let kibibytes = u32::try_from(sql.len() / 1024).unwrap_or(u32::MAX);
    PLANNED_PER_KIB.saturating_mul(kibibytes).min(PLANNED_WITHIN)
}

/// A client of one cluster. Cheap to clone; all clones share the connections. Any call can fail as `Unreachable`,
/// `Rejected`, `Failed` or `Malformed`.
#[derive(Debug, Clone)]
pub struct Client {
    coordinators: Arc<Coordinators>,
}

impl Client {
    /// Makes a client, and waits until a coordinator answers.
    ///
    /// # Errors
    /// When no coordinator is configured, an address cannot be parsed, or none answers before the deadline.
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

    /// Submits a script as a job. The answers to its `EXPLAIN`, `SHOW TABLES` and `DESCRIBE` come with it.
    ///
    /// # Errors
    /// `Rejected` where the script cannot be planned or has nothing to run (see `explain`). `Broken` where it seems to
    /// end the coordinators that plan it. Otherwise as any call.
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

    /// The answers to what a script asks, and the dataflow that it would become, as text. Runs nothing.
    ///
    /// # Errors
    /// `Rejected` where the script cannot be planned. Otherwise as any call.
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
    /// `NotFound`. Otherwise as any call.
    pub async fn job(&self, job: JobId) -> Result<JobOverview, ClientError> {
        Ok(self.watch_job(job, 0, AT_ONCE).await?.0)
    }

    /// Waits until a job's revision is above `after_revision`, for `wait` at most, and gives the job with its revision.
    /// Revisions only grow, over leaders too. [`Client::watch`] is for those who want every change.
    ///
    /// # Errors
    /// `NotFound`. Otherwise as any call.
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

    /// Follows a job: as it is now, then each change of its status until it has ended. Nothing is asked before the first
    /// `next`.
    #[must_use]
    pub fn watch(&self, job: JobId) -> JobWatch {
        JobWatch::new(self.clone(), job)
    }

    /// Waits until a job has ended, however it ends.
    ///
    /// # Errors
    /// `NotFound`. Otherwise as any call.
    pub async fn wait(&self, job: JobId) -> Result<JobOverview, ClientError> {
        let (mut overview, mut revision) = self.watch_job(job, 0, AT_ONCE).await?;
        while !overview.status.is_terminal() {
            (overview, revision) = self.watch_job(job, revision, WATCH_WAIT).await?;
        }
        Ok(overview)
    }

    /// Ends a job and discards its unpublished output, but for what complete checkpoints hold: that is published.
    ///
    /// # Errors
    /// `NotFound`. Otherwise as any call.
    pub async fn cancel(&self, job: JobId) -> Result<(), ClientError> {
        self.end(v1::EndJobRequest { job: job.0, ..v1::EndJobRequest::default() }).await
    }

    /// Ends a job, and discards all output that is not published yet, also what complete checkpoints hold. A job that has ended can
    /// be told so too, if it is still publishing.
    ///
    /// # Errors
    /// `NotFound`. `Rejected` where the job has ended and has nothing left to publish. Otherwise as any call.
    pub async fn abandon(&self, job: JobId) -> Result<(), ClientError> {
        self.end(v1::EndJobRequest { job: job.0, abandon: true, ..v1::EndJobRequest::default() }).await
    }

    /// Ends a job's sources as if their input ended here: open windows close with what they have, and all output is
    /// published. The job cannot go on from there.
    ///
    /// # Errors
    /// `NotFound`. Otherwise as any call.
    pub async fn stop(&self, job: JobId) -> Result<(), ClientError> {
        self.end(v1::EndJobRequest { job: job.0, drain: true, ..v1::EndJobRequest::default() }).await
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

    /// The last checkpoints of a job, newest last.
    ///
    /// # Errors
    /// `NotFound`. Otherwise as any call.
    pub async fn checkpoints(&self, job: JobId) -> Result<Vec<CheckpointOverview>, ClientError> {
        let send = |mut client: ClusterClient, request| async move { client.list_checkpoints(request).await };
        let response = self.coordinators.call(AT_ONCE, v1::ListCheckpointsRequest { job: job.0 }, send).await?;
        Ok(response.checkpoints.into_iter().map(CheckpointOverview::try_from).collect::<Result<_, _>>()?)
    }

    /// The cluster's coordinators, and who leads.
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
    /// `Rejected` where the change cannot be made now. Otherwise as any call.
    pub async fn add_member(&self, member: MemberId, address: &str) -> Result<(), ClientError> {
        let added = MemberOverview { member, address: address.to_owned(), voter: true, heard: None };
        self.change_members(MemberChange::Add(added)).await
    }

    /// Removes a coordinator for good.
    ///
    /// # Errors
    /// `Rejected` where the change cannot be made now. Otherwise as any call.
    pub async fn remove_member(&self, member: MemberId) -> Result<(), ClientError> {
        self.change_members(MemberChange::Remove(member)).await
    }

    /// Fetches rows as they are on the wire, and acknowledges those before them.
    pub(crate) async fn request_rows(&self, request: RowsRequest) -> Result<RowsAnswer, ClientError> {
        let send = |mut client: ClusterClient, request| async move { client.fetch_rows(request).await };
        let wait = request.wait;
        Ok(self.coordinators.call(wait, v1::FetchRowsRequest::from(request), send).await?.into())
    }

    /// Restarts a failed job from its newest checkpoint, with some settings changed.
    ///
    /// # Errors
    /// `NotFound`. `Rejected` where the job has not failed, a setting cannot change, or some of its output may be
    /// visible already. Otherwise as any call.
    pub async fn restart(&self, job: JobId, settings: BTreeMap<String, String>) -> Result<(), ClientError> {
        let request = format!("{:016x}{:016x}", self.coordinators.random(), self.coordinators.random());
        let restart = JobRestart { request: RequestId(request), job, settings };
        let send = |mut client: ClusterClient, request| async move { client.restart_job(request).await };
        self.coordinators.call(RESTART_WAIT, v1::RestartJobRequest::from(restart), send).await.map(drop)
    }

    /// Deletes an ended job with its checkpoints and ingest logs.
    ///
    /// # Errors
    /// `NotFound`. `Rejected` where the job has not ended or cannot be deleted now. Otherwise as any call.
    pub async fn forget(&self, job: JobId) -> Result<(), ClientError> {
        let send = |mut client: ClusterClient, request| async move { client.forget_job(request).await };
        self.coordinators.call(FORGET_WAIT, v1::ForgetJobRequest { job: job.0 }, send).await.map(drop)
    }

    async fn end(&self, request: v1::EndJobRequest) -> Result<(), ClientError> {
        let send = |mut client: ClusterClient, request| async move { client.end_job(request).await };
        self.coordinators.call(AT_ONCE, request, send).await.map(drop)
    }

    async fn change_members(&self, change: MemberChange) -> Result<(), ClientError> {
        let request = v1::ChangeMembersRequest::from(change);
        let send = |mut client: ClusterClient, request| async move { client.change_members(request).await };
        self.coordinators.call(AT_ONCE, request, send).await.map(drop)
    }
}

/// Refuses a script that no coordinator takes, before anything is sent.
fn check_length(options: &SubmitOptions) -> Result<(), ClientError> {
    let checked = client::check_length(&options.sql, &options.settings);
    checked.map_err(|error| ClientError::Rejected { message: error.to_string() })
}

fn query(collected: CollectedQuery) -> Result<Query, WireError> {
    let schema = try_schema_from_ipc_buffer(&collected.schema)
        .map_err(|error| WireError::new("CollectedQuery", format!("its schema cannot be read: {error}")))?;
    Ok(Query { query: collected.query, schema: SchemaRef::new(schema) })
}
