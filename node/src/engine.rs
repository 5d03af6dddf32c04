//! The runtime behind a trait, so that sessions and the worker can be tested alone.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use thalweg_runtime::{AttemptHandle, AttemptMeasures, RuntimeContext};
use thalweg_types::{
    Attempt, CheckpointId, ClusterId, JobGraph, JobId, OperatorId, Split, SubtaskId, TraceContext,
    checkpoint::ManifestRef,
    job::{Failure, SubtaskMetrics},
    session::{Deployment, Publication, ReportBody, SubtaskState},
};
use tokio::sync::mpsc;

/// The splits of sources, or why they could not be listed.
pub(crate) type Discovery = Result<Vec<(OperatorId, Vec<Split>)>, Failure>;

/// Builds attempts, lists splits and publishes.
pub(crate) trait Engine: Send + Sync + fmt::Debug {
    /// Starts to build an attempt. Its progress arrives as reports, of which `Gone` is the last. The current span lasts
    /// until the attempt is ready or over.
    fn deploy(
        &self,
        job: (ClusterId, JobId),
        attempt: Attempt,
        deployment: Deployment,
        reports: mpsc::Sender<ReportBody>,
    ) -> Box<dyn RunningAttempt>;

    /// Lists the splits of sources.
    fn discover(&self, graph: Box<JobGraph>, sources: Vec<OperatorId>) -> BoxFuture<'static, Discovery>;

    /// Publishes committables of sinks.
    fn commit(
        &self,
        job: (ClusterId, JobId),
        attempt: Attempt,
        publication: Box<Publication>,
    ) -> BoxFuture<'static, Result<(), Failure>>;

    /// Removes unpublished output of the job's attempts older than `before`. Its checkpoints are at the URL.
    fn discard(
        &self,
        job: (ClusterId, JobId),
        before: Attempt,
        of: (Box<JobGraph>, String),
    ) -> BoxFuture<'static, Result<(), Failure>>;

    /// Drops the rows that an ended attempt has kept for clients.
    fn forget(&self, job: JobId, attempt: Attempt);
}

/// An attempt on this node. No method waits.
pub(crate) trait RunningAttempt: Send + fmt::Debug {
    /// Lets the sources read.
    fn start(&self);
    /// Ends the attempt and discards its output.
    fn cancel(&self);
    /// Ends the sources, and lets the attempt drain.
    fn stop(&self);
    /// Lets the sources emit the barrier of a checkpoint.
    fn begin_checkpoint(&self, checkpoint: CheckpointId, trace: Option<TraceContext>);
    /// Lets subtasks that wait for a checkpoint go on without it.
    fn abort_checkpoint(&self, checkpoint: CheckpointId);
    /// Tells the attempt that a checkpoint is complete.
    fn confirm_checkpoint(&self, checkpoint: CheckpointId, manifest: Option<ManifestRef>);
    /// The measurements of each subtask.
    fn metrics(&self) -> Vec<(SubtaskId, SubtaskMetrics)>;
    /// What is measured of it here, since it began.
    fn measures(&self) -> AttemptMeasures;
    /// The state of each subtask.
    fn states(&self) -> Vec<(SubtaskId, SubtaskState)>;
}

/// The engine that uses the runtime.
#[derive(Debug)]
pub(crate) struct RuntimeEngine {
    context: RuntimeContext,
}

impl RuntimeEngine {
    pub(crate) fn new(context: RuntimeContext) -> Self {
        Self { context }
    }
}

impl Engine for RuntimeEngine {
    fn deploy(
        &self,
        job: (ClusterId, JobId),
        attempt: Attempt,
        deployment: Deployment,
        reports: mpsc::Sender<ReportBody>,
    ) -> Box<dyn RunningAttempt> {
        Box::new(AttemptHandle::deploy(&self.context, job, attempt, deployment, reports))
    }

    fn discover(&self, graph: Box<JobGraph>, sources: Vec<OperatorId>) -> BoxFuture<'static, Discovery> {
        let context = self.context.clone();
        async move { thalweg_runtime::discover(&context, &graph, &sources).await }.boxed()
    }

    fn commit(
        &self,
        (cluster, job): (ClusterId, JobId),
        attempt: Attempt,
        publication: Box<Publication>,
    ) -> BoxFuture<'static, Result<(), Failure>> {
        let context = self.context.clone();
        async move { thalweg_runtime::commit(&context, (&cluster, job, attempt), &publication).await }.boxed()
    }

    fn discard(
        &self,
        (cluster, job): (ClusterId, JobId),
        before: Attempt,
        (graph, checkpoints): (Box<JobGraph>, String),
    ) -> BoxFuture<'static, Result<(), Failure>> {
        let context = self.context.clone();
        async move { thalweg_runtime::discard(&context, (&graph, &checkpoints), (&cluster, job), before).await }.boxed()
    }

    fn forget(&self, job: JobId, attempt: Attempt) {
        self.context.collect.remove(job, attempt);
    }
}

impl RunningAttempt for AttemptHandle {
    fn start(&self) {
        self.start();
    }

    fn cancel(&self) {
        self.cancel();
    }

    fn stop(&self) {
        self.stop();
    }

    fn begin_checkpoint(&self, checkpoint: CheckpointId, trace: Option<TraceContext>) {
        self.begin_checkpoint(checkpoint, trace);
    }

    fn abort_checkpoint(&self, checkpoint: CheckpointId) {
        self.abort_checkpoint(checkpoint);
    }

    fn confirm_checkpoint(&self, checkpoint: CheckpointId, manifest: Option<ManifestRef>) {
        if let Some(manifest) = manifest {
            self.tell_manifest(manifest);
        }
        self.confirm_checkpoint(checkpoint);
    }

    fn metrics(&self) -> Vec<(SubtaskId, SubtaskMetrics)> {
        self.metrics()
    }

    fn measures(&self) -> AttemptMeasures {
        self.measures()
    }

    fn states(&self) -> Vec<(SubtaskId, SubtaskState)> {
        self.states()
    }
}
