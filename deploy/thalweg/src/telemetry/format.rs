//! The two forms of a line of the log: text for people, one object of JSON for programs. Both have the same fields; in a trace,
//! its id comes with them.

use std::fmt;

use opentelemetry::{Context, trace::TraceContextExt};
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Full, Writer},
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// The field of the trace's id.
const TRACE: &str = "trace";

/// The trace that this thread works for.
fn trace() -> Option<String> {
    Context::map_current(|context| {
        let span = context.span();
        let context = span.span_context();
        context.is_valid().then(|| context.trace_id().to_string())
    })
}

/// A line for people.
pub(super) struct Text {
    line: Format<Full>,
}

impl Text {
    pub(super) fn new(has_colours: bool) -> Self {
        Self { line: Format::default().with_ansi(has_colours) }
    }
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(trace) = trace() else { return self.line.format_event(context, writer, event) };
        let mut line = String::new();
        self.line.format_event(context, Writer::new(&mut line), event)?;
        writeln!(writer, "{} {TRACE}={trace}", line.trim_end_matches('\n'))
    }
}

/// A line for programs.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut object = Map::new();
        object.insert("timestamp".to_owned(), time.into());
        object.insert("level".to_owned(), event.metadata().level().to_string().into());
        object.insert("target".to_owned(), event.metadata().target().into());
        event.record(&mut Fields(&mut object));
        object.extend(trace().map(|trace| (TRACE.to_owned(), Value::from(trace))));
        writeln!(writer, "{}", Value::Object(object))
    }
}

/// Gathers fields. One of a name that there is already is left out: the line's own are the ones that programs rely on.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn add(&mut self, field: &Field, value: Value) {
        self.0.entry(field.name()).or_insert(value);
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, thalweg_types::text::with_causes(value).into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
    use tracing_subscriber::{Layer, Registry, layer::SubscriberExt};

    use super::*;

    /// What a layer of the log writes while this is done.
    fn written<E>(format: E, act: impl FnOnce()) -> String
    where
        E: FormatEvent<Registry, tracing_subscriber::fmt::format::DefaultFields> + Send + Sync + 'static,
    {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = lines.clone();
        let layer = tracing_subscriber::fmt::layer().event_format(format).with_writer(move || Lines(into.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer.boxed()), act);
        let lines = lines.lock().unwrap();
        String::from_utf8(lines.clone()).unwrap()
    }

    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn in_a_trace(act: impl FnOnce()) {
        let (trace, span) = (TraceId::from(0xabc_u128), SpanId::from(1_u64));
        let context = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::default());
        let _guard = Context::new().with_remote_span_context(context).attach();
        act();
    }

    #[test]
    fn a_line_of_json_has_the_fields_and_the_trace() {
        let error = std::io::Error::other("no");
        let tell = || {
            tracing::warn!(job = %"job-1", count = 3, is_late = true, error = &error as &dyn std::error::Error, level = 9, "gone \"so\"");
        };
        let line = written(Json, || in_a_trace(tell));
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&object["job"], &object["count"], &object["is_late"], &object["error"]),
            (&"job-1".into(), &3.into(), &true.into(), &"no".into())
        );
        assert_eq!((&object["level"], &object["message"]), (&"WARN".into(), &"gone \"so\"".into()));
        assert_eq!(object["trace"], format!("{:032x}", 0xabc));
        assert!(object["timestamp"].is_string() && object["target"].is_string() && line.ends_with("}\n"), "{line}");
        let without: Value = serde_json::from_str(&written(Json, tell)).unwrap();
        assert_eq!(without.get("trace"), None);
    }

    #[test]
    fn a_line_of_text_ends_with_the_trace() {
        let tell = || tracing::info!(job = %"job-1", "running");
        let line = written(Text::new(false), || in_a_trace(tell));
        assert!(line.ends_with(&format!("running job=job-1 trace={:032x}\n", 0xabc)), "{line}");
        assert!(written(Text::new(false), tell).ends_with("running job=job-1\n"));
    }
}
