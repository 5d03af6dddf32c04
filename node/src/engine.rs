//! What carries out the effects of orders: the runtime, behind a seam, so that sessions and the worker can be tested alone.

use std::fmt;

use futures::{FutureExt, future::BoxFuture};
use thalweg_runtime::{AttemptHandle, RuntimeContext};
use thalweg_types::{
    Attempt, CheckpointId, ClusterId, JobGraph, JobId, OperatorId, Split, SubtaskId,
    job::{Failure, SubtaskMetrics},
    session::{Deployment, SinkCommittables, SubtaskState},
};
use tokio::sync::mpsc;

pub(crate) use thalweg_runtime::AttemptEvent;

/// The splits of sources, or why they could not be listed.
pub(crate) type Discovery = Result<Vec<(OperatorId, Vec<Split>)>, Failure>;

/// Builds attempts, lists splits and publishes.
pub(crate) trait Engine: Send + Sync + fmt::Debug {
    /// Starts to build an attempt; what becomes of it is told by events, of which `Gone` is the last.
    fn deploy(
        &self,
        job: (ClusterId, JobId),
        attempt: Attempt,
        deployment: Deployment,
        events: mpsc::Sender<AttemptEvent>,
    ) -> Box<dyn RunningAttempt>;

    /// Lists the splits of sources.
    fn discover(&self, graph: Box<JobGraph>, sources: Vec<OperatorId>) -> BoxFuture<'static, Discovery>;

    /// Publishes committables of sinks.
    fn commit(
        &self,
        graph: Box<JobGraph>,
        committables: Vec<SinkCommittables>,
    ) -> BoxFuture<'static, Result<(), Failure>>;

    /// Removes what attempts of a job that are older than `before` have left unpublished.
    fn discard(
        &self,
        job: (ClusterId, JobId),
        before: Attempt,
        graph: Box<JobGraph>,
    ) -> BoxFuture<'static, Result<(), Failure>>;

    /// Drops what an attempt that is gone has left for clients to fetch.
    fn forget(&self, job: JobId, attempt: Attempt);
}

/// An attempt on this node. No method waits.
pub(crate) trait RunningAttempt: Send + fmt::Debug {
    /// Lets the sources read.
    fn start(&self);
    /// Ends it and discards its output.
    fn cancel(&self);
    /// Ends its sources and lets it drain.
    fn stop(&self);
    /// Lets its sources emit the barrier of a checkpoint.
    fn begin_checkpoint(&self, checkpoint: CheckpointId);
    /// Lets what waits for a checkpoint go on without it.
    fn abort_checkpoint(&self, checkpoint: CheckpointId);
    /// A checkpoint is complete.
    fn confirm_checkpoint(&self, checkpoint: CheckpointId);
    /// What each subtask has measured.
    fn metrics(&self) -> Vec<(SubtaskId, SubtaskMetrics)>;
    /// Where each subtask is.
    fn states(&self) -> Vec<(SubtaskId, SubtaskState)>;
}

/// The runtime.
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
        events: mpsc::Sender<AttemptEvent>,
    ) -> Box<dyn RunningAttempt> {
        Box::new(AttemptHandle::deploy(&self.context, job, attempt, deployment, events))
    }

    fn discover(&self, graph: Box<JobGraph>, sources: Vec<OperatorId>) -> BoxFuture<'static, Discovery> {
        let context = self.context.clone();
        async move { thalweg_runtime::discover(&context, &graph, &sources).await }.boxed()
    }

    fn commit(
        &self,
        graph: Box<JobGraph>,
        committables: Vec<SinkCommittables>,
    ) -> BoxFuture<'static, Result<(), Failure>> {
        let context = self.context.clone();
        async move { thalweg_runtime::commit(&context, &graph, &committables).await }.boxed()
    }

    fn discard(
        &self,
        (cluster, job): (ClusterId, JobId),
        before: Attempt,
        graph: Box<JobGraph>,
    ) -> BoxFuture<'static, Result<(), Failure>> {
        let context = self.context.clone();
        async move { thalweg_runtime::discard(&context, &graph, (&cluster, job), before).await }.boxed()
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

    fn begin_checkpoint(&self, checkpoint: CheckpointId) {
        self.begin_checkpoint(checkpoint);
    }

    fn abort_checkpoint(&self, checkpoint: CheckpointId) {
        self.abort_checkpoint(checkpoint);
    }

    fn confirm_checkpoint(&self, checkpoint: CheckpointId) {
        self.confirm_checkpoint(checkpoint);
    }

    fn metrics(&self) -> Vec<(SubtaskId, SubtaskMetrics)> {
        self.metrics()
    }

    fn states(&self) -> Vec<(SubtaskId, SubtaskState)> {
        self.states()
    }
}
