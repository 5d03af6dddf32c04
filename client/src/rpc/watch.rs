//! Follows a job to its end, over changes of the leader.
//!
//! ```text
//! closed --a coordinator tells the job as it is--> open --change--> open --final status--> over
//!    ^                                               |
//!    '---- a pause ---- it ended in any other way ---'
//! ```
//!
//! Whoever opens a watch is told the job as it is, so nothing is missed between two of them. What was told before is not
//! told again.

use futures::{Stream, stream};
use thalweg_proto::{convert::WireError, v1};
use thalweg_types::{JobId, client::JobAnswer, job::JobOverview};
use tonic::{Response, Status, Streaming};

use super::{AT_ONCE, Client};
use crate::{
    error::ClientError,
    failover::{ClusterClient, is_answer},
};

/// The changes of a job's status. Made by [`Client::watch`].
#[derive(Debug)]
pub struct JobWatch {
    client: Client,
    job: JobId,
    changes: Option<Streaming<v1::WatchJobResponse>>,
    told: Option<JobOverview>,
}

impl JobWatch {
    pub(super) fn new(client: Client, job: JobId) -> Self {
        Self { client, job, changes: None, told: None }
    }

    /// The job as it is, then each change of its status, attempt or failure, and `None` after its final status. Changes that
    /// come faster than they are asked for are told as one. Jobs are as in lists: without subtasks, script and plan. Waits as
    /// long as the job runs, through changes of the leader. Cancel-safe: dropping the call loses no change.
    ///
    /// # Errors
    /// `NotFound`, also if the job is forgotten meanwhile. `Unreachable` if no coordinator answers before the deadline;
    /// calling this again goes on. Otherwise as any call.
    pub async fn next(&mut self) -> Result<Option<JobOverview>, ClientError> {
        while !self.is_over() {
            let change = match &mut self.changes {
                None => Some(self.open().await?),
                Some(changes) => match changes.message().await {
                    Ok(change) => change,
                    Err(status) if is_answer(&status) => {
                        self.changes = None;
                        // Which coordinator it was is not known here.
                        return Err(ClientError::answered("the address of one that has told of the job", &status));
                    }
                    Err(status) => {
                        tracing::debug!(job = %self.job, reason = status.message(), "a watch has ended early");
                        None
                    }
                },
            };
            match change.map(|change| self.news(change)).transpose()? {
                Some(Some(job)) => return Ok(Some(job)),
                Some(None) => {}
                None => {
                    self.changes = None;
                    self.client.coordinators.pause().await;
                }
            }
        }
        Ok(None)
    }

    /// The changes as a stream, which ends after the final status or the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<JobOverview, ClientError>> + Send {
        stream::unfold(Some(self), |watch| async move {
            let mut watch = watch?;
            match watch.next().await.transpose()? {
                Ok(job) => Some((Ok(job), Some(watch))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    fn is_over(&self) -> bool {
        self.told.as_ref().is_some_and(|told| told.status.is_terminal())
    }

    /// Opens a watch, whose first change shows that somebody answers.
    async fn open(&mut self) -> Result<v1::WatchJobResponse, ClientError> {
        let send = |mut client: ClusterClient, request| async move {
            let mut changes = client.watch_job(request).await?.into_inner();
            let first = changes.message().await?;
            let first = first.ok_or_else(|| Status::unavailable("a watch ended before it began"))?;
            Ok(Response::new((first, changes)))
        };
        let request = v1::WatchJobRequest { job: self.job.0 };
        let (first, changes) = self.client.coordinators.call(AT_ONCE, request, send).await?;
        self.changes = Some(changes);
        Ok(first)
    }

    /// What is new in a change; `None` if it was told before.
    fn news(&mut self, change: v1::WatchJobResponse) -> Result<Option<JobOverview>, WireError> {
        let JobAnswer { job, .. } = change.try_into()?;
        if self.told.as_ref().is_some_and(|told| !job.differs_from(told)) {
            return Ok(None);
        }
        self.told = Some(job.clone());
        Ok(Some(job))
    }
}
