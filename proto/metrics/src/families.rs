//! Samples of one reading, by metric, and their text.

use std::{collections::BTreeMap, fmt, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::table::{Kind, Metric, is_listed};

/// A label's value is cut after so many characters: names come from users.
const VALUE_CHARS_MAX: usize = 200;

#[derive(Debug)]
enum Value {
    Gauge(f64),
    Count(u64),
    Sum(f64),
    Histogram(Histogram),
}

#[derive(Debug)]
struct Family {
    metric: &'static Metric,
    samples: Vec<(Vec<(&'static str, String)>, Value)>,
}

/// Samples by metric. Label values are given in the order in which the table lists the labels.
#[derive(Debug, Default)]
pub struct Families(BTreeMap<&'static str, Family>);

impl Families {
    /// A value that goes up and down.
    pub fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        self.add(metric, labels, Value::Gauge(value));
    }

    /// A count or a number of bytes that goes up and down.
    pub fn level(&mut self, metric: &'static Metric, labels: &[&str], value: u64) {
        self.gauge(metric, labels, number(value));
    }

    /// A count that only grows.
    pub fn counter(&mut self, metric: &'static Metric, labels: &[&str], value: u64) {
        self.add(metric, labels, Value::Count(value));
    }

    /// Time that only grows, in seconds.
    pub fn time(&mut self, metric: &'static Metric, labels: &[&str], value: Duration) {
        self.add(metric, labels, Value::Sum(value.as_secs_f64()));
    }

    /// A distribution, as it is when the text is made.
    pub fn histogram(&mut self, metric: &'static Metric, labels: &[&str], value: &Histogram) {
        self.add(metric, labels, Value::Histogram(value.clone()));
    }

    fn add(&mut self, metric: &'static Metric, labels: &[&str], value: Value) {
        assert_eq!(labels.len(), metric.labels.len(), "{} has the labels {:?}", metric.name, metric.labels);
        debug_assert!(is_listed(metric), "{} is not listed", metric.name);
        let labels = metric.labels.iter().copied().zip(labels.iter().map(|value| shown(value))).collect();
        let family = self.0.entry(metric.name).or_insert_with(|| Family { metric, samples: Vec::new() });
        family.samples.push((labels, value));
    }

    /// The text of media type [`CONTENT_TYPE`](crate::CONTENT_TYPE).
    #[must_use]
    pub fn text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        text::encode(&mut text, &registry).expect("writing to a string does not fail");
        text
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Family { metric, samples } in self.0.values() {
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let unit = metric.unit().map(|unit| Unit::Other(unit.to_owned()));
            // The encoder appends the unit, and `_total` to the samples of counters.
            let mut described = encoder.encode_descriptor(metric.stem(), metric.help, unit.as_ref(), kind)?;
            for (labels, value) in samples {
                let sample = described.encode_family(labels)?;
                match value {
                    Value::Gauge(value) => ConstGauge::new(*value).encode(sample)?,
                    Value::Count(value) => ConstCounter::new(*value).encode(sample)?,
                    Value::Sum(value) => ConstCounter::new(*value).encode(sample)?,
                    Value::Histogram(histogram) => histogram.encode(sample)?,
                }
            }
        }
        Ok(())
    }
}

/// As a label's value. The encoder writes it between quotes as it is.
fn shown(value: &str) -> String {
    let mut characters = value.chars();
    let cut: String = characters.by_ref().take(VALUE_CHARS_MAX).collect();
    let cut = if characters.next().is_some() { cut + "…" } else { cut };
    cut.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// As a floating point number, exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "samples are 64-bit floating point numbers")]
fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{seconds, table};

    #[test]
    fn samples_stand_below_their_metric_with_escaped_labels() {
        let mut families = Families::default();
        families.counter(&table::JOB_FAILURES, &["job-1", "a \"quoted\"\nname"], 2);
        families.level(&table::NODES, &["alive"], 3);
        families.time(&table::PROCESS_CPU, &[], Duration::from_millis(1500));
        let text = families.text();
        for line in [
            "# TYPE thalweg_job_failures counter",
            "thalweg_job_failures_total{job_id=\"job-1\",job_name=\"a \\\"quoted\\\"\\nname\"} 2",
            "thalweg_nodes{state=\"alive\"} 3.0",
            "# TYPE process_cpu_seconds counter",
            "# UNIT process_cpu_seconds seconds",
            "process_cpu_seconds_total{} 1.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn a_histogram_has_buckets_a_sum_and_a_count() {
        let mut families = Families::default();
        let histogram = seconds();
        families.histogram(&table::RAFT_WRITE, &[], &histogram);
        histogram.observe(0.02);
        histogram.observe(1000.0);
        let text = families.text();
        for line in [
            "# UNIT thalweg_raft_write_seconds seconds",
            "thalweg_raft_write_seconds_sum{} 1000.02",
            "thalweg_raft_write_seconds_count{} 2",
            "thalweg_raft_write_seconds_bucket{le=\"0.01\"} 0",
            "thalweg_raft_write_seconds_bucket{le=\"0.025\"} 1",
            "thalweg_raft_write_seconds_bucket{le=\"+Inf\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn a_long_label_is_cut() {
        assert_eq!(shown(&"ä".repeat(VALUE_CHARS_MAX + 1)).chars().count(), VALUE_CHARS_MAX + 1);
        assert_eq!(shown(r#"a\b"#), r"a\\b");
    }
}
