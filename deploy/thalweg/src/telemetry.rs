//! What the process tells of itself: lines of the log on standard error, and spans to whoever gathers traces.
//!
//! Spans are gathered in a bounded queue and exported by a thread of their own; what finds the queue full is dropped and counted.
//! Nobody waits for them but the end of the process, and that only so long.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use thalweg_trace::TARGET;
use tracing::Metadata;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, LevelFilter, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::args::{Cli, LogFormat};

mod endpoint;
mod export;
mod format;
mod transport;

/// How long the end of the process waits for the last spans to be taken.
const FLUSHED_WITHIN: Duration = Duration::from_secs(5);

/// What was set up.
#[derive(Debug)]
pub struct Telemetry {
    spans: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sets it up for a command, once in a process, within the runtime whose threads speak to whoever gathers traces.
    ///
    /// # Errors
    /// When the filter of the log or the address for spans is wrong.
    pub fn start(cli: &Cli) -> Result<Self> {
        let filter = match &cli.log {
            Some(filter) => EnvFilter::try_new(filter)
                .map_err(|error| anyhow!("configuration key log (--log, THALWEG_LOG): {error}"))?,
            None => EnvFilter::new(cli.command.default_log()),
        };
        let traced = cli.command.traced();
        let found =
            traced.map(|(command, otlp)| endpoint::find(command, otlp).map(|found| (command, found))).transpose()?;
        let (spans, notes) = match found {
            Some((command, endpoint::Found::At(endpoint))) => {
                let mut transport = transport::find(&endpoint)?;
                let notes = std::mem::take(&mut transport.notes);
                let provider = export::provider(command, &endpoint, transport);
                (Some(provider.with_context(|| format!("could not export spans to {endpoint}"))?), notes)
            }
            Some((_, endpoint::Found::Unspoken(protocol))) => {
                let note =
                    format!("spans are not exported: of OTLP's protocols only grpc is spoken here, not '{protocol}'");
                (None, vec![note])
            }
            Some((_, endpoint::Found::Nowhere)) | None => (None, Vec::new()),
        };
        let exported = spans.as_ref().map(|provider| {
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("thalweg"));
            let layer =
                layer.with_location(false).with_target(false).with_threads(false).with_tracked_inactivity(false);
            layer.with_filter(filter_fn(is_span).with_max_level_hint(LevelFilter::INFO))
        });
        // Spans of ours are in no line but by the trace's id.
        let filter = filter.and(filter_fn(|metadata| !is_span(metadata)));
        tracing_subscriber::registry().with(log(cli.log_format).with_filter(filter)).with(exported).init();
        for note in notes {
            tracing::warn!(target: "thalweg::notice", "{note}");
        }
        Ok(Self { spans })
    }

    /// Exports what is left, for a bounded time. Not to be called where the runtime's tasks run.
    pub fn end(self) {
        let Some(spans) = self.spans else { return };
        if let Err(error) = spans.shutdown_with_timeout(FLUSHED_WITHIN) {
            tracing::warn!(target: "thalweg::notice", %error, "the last spans may be lost");
        }
    }
}

fn is_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == TARGET
}

fn log(log_format: LogFormat) -> Box<dyn Layer<Registry> + Send + Sync> {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // That nobody reads the log is no reason to end what it tells of.
        .log_internal_errors(false);
    match log_format {
        LogFormat::Text => lines.event_format(format::Text::new(io::stderr().is_terminal())).boxed(),
        LogFormat::Json => lines.event_format(format::Json).boxed(),
    }
}
