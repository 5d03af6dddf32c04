//! Spans whose trees go over several processes: how a span's place in its trace becomes a word of messages, and back.
//!
//! ```text
//! span here --context_of--> TraceContext in an order, a barrier or a request's metadata --under--> span there
//! ```
//!
//! Only the program says whether spans are exported. Where they are not, a span of [`TARGET`] is disabled where it is made, costs a
//! comparison, and has no context: nothing is drawn, and messages carry none. A span is made per decision, checkpoint or
//! subtask, never per batch.

use std::ops::Deref;

use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, Status, TraceContextExt, TraceState},
};
use thalweg_types::TraceContext;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The target of all spans that are exported, and of nothing else.
pub const TARGET: &str = "thalweg::span";

/// A new span's place in its trace; `None` where nobody exports it. Its parent is settled from here on.
#[must_use]
pub fn context_of(span: &Span) -> Option<TraceContext> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let span = context.span();
    let known = span.span_context();
    let (trace, id) =
        (u128::from_be_bytes(known.trace_id().to_bytes()), u64::from_be_bytes(known.span_id().to_bytes()));
    TraceContext::new(trace, id, known.is_sampled())
}

/// The place of the span that this thread is in.
#[must_use]
pub fn current() -> Option<TraceContext> {
    context_of(&Span::current())
}

/// A new span as a child of one that may be in another process. Without a context it stays what it is.
#[must_use]
pub fn under(span: Span, parent: Option<TraceContext>) -> Span {
    let Some(parent) = parent.filter(|_| !span.is_disabled()) else { return span };
    let flags = if parent.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace, id) = (TraceId::from(parent.trace()), SpanId::from(parent.span()));
    let remote = SpanContext::new(trace, id, flags, true, TraceState::default());
    // A program that traces otherwise than by this layer has no such parents.
    _ = span.set_parent(Context::new().with_remote_span_context(remote));
    span
}

/// Marks a span as that of something that failed.
pub fn fail(span: &Span, reason: impl Into<String>) {
    if !span.is_disabled() {
        span.set_status(Status::error(reason.into()));
    }
}

/// A span that is open until this is dropped. Without it, one that was entered ends where it was left last.
#[derive(Debug)]
pub struct Lasting(Span);

impl Lasting {
    /// Keeps a span open.
    #[must_use]
    pub fn new(span: Span) -> Self {
        Self(span)
    }
}

impl Deref for Lasting {
    type Target = Span;

    fn deref(&self) -> &Span {
        &self.0
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        self.0.in_scope(|| ());
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn without_an_exporter_there_is_no_context() {
        let span = tracing::info_span!(target: TARGET, "a");
        assert_eq!((context_of(&span), current()), (None, None));
        let span = under(span, TraceContext::new(1, 2, true));
        assert_eq!(context_of(&span), None);
        fail(&span, "nobody sees it");
    }

    #[test]
    fn a_span_elsewhere_is_the_parent_of_one_here() {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let parent = TraceContext::new(0xa1, 0xb2, true);
        let (outer, inner) = tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let outer = under(tracing::info_span!(target: TARGET, "outer", job = "job-1"), parent);
            let context = context_of(&outer);
            let inner = tracing::info_span!(target: TARGET, parent: &outer, "inner");
            fail(&inner, "it broke");
            assert_eq!(outer.in_scope(current), context);
            (context.unwrap(), context_of(&inner).unwrap())
        });
        assert_eq!((outer.trace(), inner.trace()), (0xa1, 0xa1));
        let spans = exporter.get_finished_spans().unwrap();
        let of = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
        assert_eq!(of("outer").parent_span_id, SpanId::from(0xb2));
        assert_eq!(of("inner").parent_span_id, SpanId::from(outer.span()));
        assert_eq!(of("inner").status, Status::error("it broke"));
    }

    #[test]
    fn a_span_that_was_entered_lasts_all_the_same() {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let outer = Lasting::new(tracing::info_span!(target: TARGET, "outer"));
            outer.in_scope(|| ());
            tracing::info_span!(target: TARGET, parent: &*outer, "inner").in_scope(|| ());
        });
        let spans = exporter.get_finished_spans().unwrap();
        let of = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
        assert!(of("outer").end_time >= of("inner").end_time, "{spans:?}");
    }

    #[test]
    fn what_is_not_sampled_there_is_not_exported_here() {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = under(tracing::info_span!(target: TARGET, "a"), TraceContext::new(1, 2, false));
            let context = context_of(&span).unwrap();
            assert_eq!((context.trace(), context.is_sampled()), (1, false));
        });
        assert_eq!(exporter.get_finished_spans().unwrap().len(), 0);
    }
}
