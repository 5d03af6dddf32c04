//! What carries out the effects of orders: the runtime, behind a seam, so that sessions and the worker can be tested alone.

use std::fmt;

use futures::future::BoxFuture;
use thalweg_types::{
    Attempt, JobGraph, JobId, OperatorId, Split, SubtaskId,
    job::{Failure, SubtaskMetrics},
    session::{Deployment, SinkCommittables, SubtaskState},
};
use tokio::sync::mpsc;

#[derive(Debug, Clone)]
pub(crate) enum AttemptEvent {
    Ready,
    Finished { subtask: SubtaskId, metrics: SubtaskMetrics, committables: Vec<SinkCommittables> },
    Failed { subtask: Option<SubtaskId>, failure: Failure, peer: Option<thalweg_types::NodeId> },
    Gone,
}

/// The splits of sources, or why they could not be listed.
pub(crate) type Discovery = Result<Vec<(OperatorId, Vec<Split>)>, Failure>;

/// Builds attempts, lists splits and publishes.
pub(crate) trait Engine: Send + Sync + fmt::Debug {
    /// Starts to build an attempt; what becomes of it is told by events, of which `Gone` is the last.
    fn deploy(
        &self,
        job: JobId,
        attempt: Attempt,
        deployment: Deployment,
        events: mpsc::Sender<AttemptEvent>,
    ) -> Box<dyn RunningAttempt>;

    /// Lists the splits of sources.
    fn discover(&self, graph: Box<JobGraph>, sources: Vec<OperatorId>) -> BoxFuture<'static, Discovery>;

    /// Publishes committables of sinks.
    fn commit(
        &self,
        job: JobId,
        graph: Box<JobGraph>,
        committables: Vec<SinkCommittables>,
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
    /// What each subtask has measured.
    fn metrics(&self) -> Vec<(SubtaskId, SubtaskMetrics)>;
    /// Where each subtask is.
    fn states(&self) -> Vec<(SubtaskId, SubtaskState)>;
}
