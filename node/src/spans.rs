//! The spans of what a node does for its leader, each below the span that the order came with.

use futures::{FutureExt, future::BoxFuture};
use thalweg_trace::{TARGET, fail, under};
use thalweg_types::{Attempt, CheckpointId, JobId, NodeId, TraceContext, job::Failure};
use tracing::{Instrument, Span, info_span};

/// Listing splits.
pub(crate) fn discover(node: NodeId, (job, attempt): (JobId, Attempt), trace: Option<TraceContext>) -> Span {
    under(info_span!(target: TARGET, parent: None, "discover", %job, %attempt, %node), trace)
}

/// Building an attempt, until all of it here is ready.
pub(crate) fn deploy(node: NodeId, (job, attempt): (JobId, Attempt), trace: Option<TraceContext>) -> Span {
    under(info_span!(target: TARGET, parent: None, "deploy", %job, %attempt, %node), trace)
}

/// Letting its sources read.
pub(crate) fn start(node: NodeId, (job, attempt): (JobId, Attempt), trace: Option<TraceContext>) -> Span {
    under(info_span!(target: TARGET, parent: None, "start", %job, %attempt, %node), trace)
}

/// Publishing what a checkpoint holds.
pub(crate) fn publish(
    node: NodeId,
    (job, attempt): (JobId, Attempt),
    checkpoint: CheckpointId,
    trace: Option<TraceContext>,
) -> Span {
    under(info_span!(target: TARGET, parent: None, "publish", %job, %attempt, %checkpoint, %node), trace)
}

/// Work that a span is about.
pub(crate) fn around<T: 'static>(
    span: Span,
    work: BoxFuture<'static, Result<T, Failure>>,
) -> BoxFuture<'static, Result<T, Failure>> {
    if span.is_disabled() {
        return work;
    }
    let told = span.clone();
    let watched = async move {
        let result = work.await;
        if let Err(failure) = &result {
            fail(&told, failure.outline());
        }
        result
    };
    watched.instrument(span).boxed()
}
