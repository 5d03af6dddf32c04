//! The exporter of spans.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use thalweg_types::ENGINE_VERSION;

use super::transport::Transport;

/// The service that a process is, unless the environment says otherwise.
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

/// What makes spans of a command and exports them, in batches, on a thread of its own.
pub(super) fn provider(
    command: &str,
    endpoint: &str,
    Transport { tls, compression, notes: _ }: Transport,
) -> Result<SdkTracerProvider, ExporterBuildError> {
    let mut builder = opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint);
    if let Some(tls) = tls {
        builder = builder.with_tls_config(tls);
    }
    if let Some(compression) = compression {
        builder = builder.with_compression(compression);
    }
    let inner = builder.build()?;
    let exporter = Told { inner, endpoint: endpoint.to_owned(), lost: AtomicU64::new(0) };
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource(command)).build())
}

/// Who the spans are of.
fn resource(command: &str) -> Resource {
    #[allow(clippy::disallowed_methods, reason = "the environment is read in this crate")]
    let named = std::env::var(SERVICE_NAME).ok().filter(|name| !name.is_empty());
    let resource = Resource::builder_empty()
        .with_service_name(format!("thalweg-{command}"))
        .with_attribute(KeyValue::new("service.version", ENGINE_VERSION))
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match named {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

/// An exporter that tells in the log when it begins to lose spans and when it no longer does, not of each batch between.
#[derive(Debug)]
struct Told<E> {
    inner: E,
    endpoint: String,
    lost: AtomicU64,
}

impl<E: SpanExporter> SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let endpoint = &self.endpoint;
        match self.inner.export(batch).await {
            Ok(()) => {
                let lost = self.lost.swap(0, Relaxed);
                if lost > 0 {
                    tracing::info!(endpoint, lost, "spans are exported again");
                }
            }
            Err(error) => {
                if self.lost.fetch_add(count, Relaxed) == 0 {
                    tracing::warn!(target: "thalweg::notice", endpoint, %error, "spans are lost: they cannot be exported");
                }
            }
        }
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let lost = self.lost.load(Relaxed);
        if lost > 0 {
            tracing::warn!(target: "thalweg::notice", endpoint = self.endpoint, lost, "spans were lost at the end");
        }
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
