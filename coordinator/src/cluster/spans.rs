//! The spans of clients' requests: until a job is recorded. What follows is told by the leader, below them.

use thalweg_trace::{TARGET, fail, under};
use thalweg_types::{JobId, TraceContext};
use tonic::{Code, Status};
use tracing::{Instrument, Span, field::Empty, info_span};

/// A submission, below the client's span where it has one.
pub(super) fn submit(trace: Option<TraceContext>) -> Span {
    under(info_span!(target: TARGET, parent: None, "submit", job = Empty), trace)
}

/// A failed job is started again.
pub(super) fn restart(trace: Option<TraceContext>) -> Span {
    under(info_span!(target: TARGET, parent: None, "restart", job = Empty), trace)
}

/// Planning a script, with its wait for a turn.
pub(super) fn plan() -> Span {
    info_span!(target: TARGET, "plan")
}

/// Recording a command.
pub(super) fn record(command: &'static str) -> Span {
    info_span!(target: TARGET, "record", command)
}

/// Says which job the current span is about.
pub(super) fn name_job(job: JobId) {
    Span::current().record("job", tracing::field::display(job));
}

/// What a span is about. What is wrong with a request is told to its client alone, because that may quote the script.
pub(super) async fn around<T>(span: Span, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let result = work.instrument(span.clone()).await;
    if let Err(status) = &result {
        let reason = if status.code() == Code::InvalidArgument { "the request is refused" } else { status.message() };
        fail(&span, reason);
    }
    result
}
