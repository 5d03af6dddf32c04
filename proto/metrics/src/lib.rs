//! Metrics of all processes: one list of what there is, and how samples become OpenMetrics text.
//!
//! ```text
//! table: every metric, its labels and help --.
//! consensus, coordinator, node, process ------+--> Families --> text, when /metrics is read
//! ```
//!
//! A process is asked for samples only when somebody reads them. Until then there are counters, and a histogram where the
//! distribution matters, at places that are passed rarely: per checkpoint, per request, per write of the log.
//!
//! `job` and `instance` are labels that Prometheus sets itself, so a job's are `job_id` and `job_name`.

mod families;
pub mod table;

pub use families::Families;
pub use prometheus_client::metrics::histogram::Histogram;
pub use table::{Kind, Metric};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The upper bounds of all histograms of time, in seconds: from a write to a fast disk to a checkpoint of very much state, which
/// may take longer than `checkpoint.timeout` is by default.
const SECONDS: [f64; 18] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];

/// An empty histogram of seconds. Its clones are the same histogram.
#[must_use]
pub fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}
