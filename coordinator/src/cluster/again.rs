//! What clients can do with an ended job: start it again if it has failed, and forget it.

use std::{sync::Arc, time::Duration};

use thalweg_cluster_state::{Command, JobRecord};
use thalweg_proto::compute::on_compute;
use thalweg_types::{JobId, client::JobRestart};
use tonic::Status;

use super::{service::ClusterService, spans};
use crate::planning;

/// How long a request waits for a job to be forgotten. Clearing a job away takes seconds; a client that is told to try
/// later asks again.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(40);
/// How long a restart waits for a failed job's output to be published. Mostly it is published at once.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(10);

impl ClusterService {
    /// Starts a failed job again.
    pub(super) async fn restart(&self, restart: JobRestart) -> Result<(), Status> {
        let JobRestart { request, job, settings } = restart;
        let before = self.published(job).await?.spec;
        let (unix_time, checkpoints) = (self.seams.clock.unix_time(), self.checkpoints_url.clone());
        spans::name_job(job);
        self.leader.note_submission(request.clone(), thalweg_trace::current());
        let command = on_compute(&self.seams, "encode a job", move || {
            let spec = Arc::new(planning::restarted(&before, &settings, &checkpoints)?);
            Ok(Command::RestartJob { request, job, spec }.to_bytes(unix_time))
        });
        let command: Result<Vec<u8>, String> =
            command.await.ok_or_else(|| Status::internal("the job cannot be encoded"))?;
        let command = command.map_err(Status::invalid_argument)?;
        spans::around(spans::record("restart_job"), self.propose_bytes(command)).await?;
        tracing::info!(%job, "job started again");
        Ok(())
    }

    /// A job's record once the output of its complete checkpoints is published, or after `PUBLISHED_WITHIN`.
    async fn published(&self, job: JobId) -> Result<JobRecord, Status> {
        let mut applied = self.consensus.applied();
        self.read(|_| ()).await?;
        let patience = tokio::time::sleep(PUBLISHED_WITHIN);
        tokio::pin!(patience);
        loop {
            applied.borrow_and_update();
            let record = self.record(job)?;
            if record.uncommitted().is_none() || !record.status.is_terminal() {
                return Ok(record);
            }
            tokio::select! {
                biased;
                changed = applied.changed() => {
                    changed.map_err(|_| Status::unavailable("this coordinator has stopped"))?;
                }
                () = &mut patience => return Ok(record),
            }
        }
    }

    /// Has an ended job forgotten, and waits until it is.
    pub(super) async fn forget(&self, job: JobId) -> Result<(), Status> {
        let mut applied = self.consensus.applied();
        self.read(|_| ()).await?;
        let record = self.record(job)?;
        if !record.status.is_terminal() {
            return Err(Status::failed_precondition(format!("{job} is {}: cancel or stop it first", record.status)));
        }
        let patience = tokio::time::sleep(FORGOTTEN_WITHIN);
        tokio::pin!(patience);
        self.leader.forget(job).await;
        loop {
            applied.borrow_and_update();
            let record = self.consensus.peek(|machine| machine.state().job(job).map(|record| record.status));
            match record {
                None => return Ok(()),
                Some(status) if !status.is_terminal() => {
                    return Err(Status::failed_precondition(format!("{job} is {status}: it was started again")));
                }
                Some(_) => {}
            }
            tokio::select! {
                biased;
                changed = applied.changed() => {
                    changed.map_err(|_| Status::unavailable("this coordinator has stopped"))?;
                }
                () = &mut patience => {
                    let reason = format!("{job} is still being cleared away, or its output published: try again later");
                    return Err(Status::failed_precondition(reason));
                }
            }
        }
    }
}
