//! The spans of an attempt on a node: what becomes ready before it runs, and each subtask's part of a checkpoint.
//!
//! ```text
//! deploy (the worker's) --> restore, build, connect
//! checkpoint (the leader's) --> align, freeze, upload
//! ```
//!
//! They are made a few times per checkpoint and subtask, none per batch.

use thalweg_trace::{TARGET, under};
use thalweg_types::{Attempt, CheckpointId, JobId, NodeId, SubtaskId, TraceContext};
use tracing::{Span, info_span};

/// Whose the spans of a subtask are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SubtaskSpans {
    pub(crate) node: NodeId,
    pub(crate) job: JobId,
    pub(crate) attempt: Attempt,
    pub(crate) subtask: SubtaskId,
}

impl SubtaskSpans {
    /// From the first sign of a checkpoint to its last barrier.
    pub(crate) fn align(&self, checkpoint: CheckpointId, trace: Option<TraceContext>) -> Span {
        let Self { node, job, attempt, subtask } = self;
        under(
            info_span!(target: TARGET, parent: None, "align", %job, %attempt, %subtask, %checkpoint, %node, unaligned = tracing::field::Empty),
            trace,
        )
    }

    /// While nothing else is processed.
    pub(crate) fn freeze(&self, checkpoint: CheckpointId, trace: Option<TraceContext>) -> Span {
        let Self { node, job, attempt, subtask } = self;
        under(info_span!(target: TARGET, parent: None, "freeze", %job, %attempt, %subtask, %checkpoint, %node), trace)
    }

    /// Beside the record path, until all is durable and told.
    pub(crate) fn upload(&self, checkpoint: CheckpointId, trace: Option<TraceContext>) -> Span {
        let Self { node, job, attempt, subtask } = self;
        under(
            info_span!(target: TARGET, parent: None, "upload", %job, %attempt, %subtask, %checkpoint, %node, bytes = tracing::field::Empty),
            trace,
        )
    }
}

/// Loading the state that the subtasks here go on from.
pub(crate) fn restore(deploying: &Span, (job, attempt): (JobId, Attempt), checkpoint: Option<CheckpointId>) -> Span {
    match checkpoint {
        Some(checkpoint) => info_span!(target: TARGET, parent: deploying, "restore", %job, %attempt, %checkpoint),
        None => Span::none(),
    }
}

/// Building the actors.
pub(crate) fn build(deploying: &Span, (job, attempt): (JobId, Attempt)) -> Span {
    info_span!(target: TARGET, parent: deploying, "build", %job, %attempt)
}

/// Opening streams to the other nodes.
pub(crate) fn connect(deploying: &Span, (job, attempt): (JobId, Attempt)) -> Span {
    info_span!(target: TARGET, parent: deploying, "connect", %job, %attempt)
}
