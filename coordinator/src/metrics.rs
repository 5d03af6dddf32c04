//! Metrics as OpenMetrics text, computed when they are read.
//!
//! Every member reports its own metrics. Only the leader reports those of jobs and nodes, so that the sum over all
//! members counts nothing twice.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use thalweg_cluster_state::JobRecord;
use thalweg_consensus::Consensus;
use thalweg_types::{
    JobId,
    job::{CheckpointOverview, CheckpointState, SubtaskOverview},
    node::NodeState,
    seam::Seams,
};

use crate::{
    leader::LeaderHandle,
    machine::Machine,
    overview::{self, JobMemory},
};

/// The media type of the metrics' text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of this member, as text.
pub(crate) async fn read(consensus: &Consensus<Machine>, leader: &LeaderHandle, seams: &Seams) -> String {
    let leadership = consensus.leadership().borrow().clone();
    let mut families = Families::default();
    families.gauge(&IS_LEADER, &[], f64::from(u8::from(leadership.is_self)));
    families.gauge(&TERM, &[], number(leadership.term.0));
    families.gauge(&APPLIED, &[], number(*consensus.applied().borrow()));
    if leadership.is_self {
        let (nodes, jobs) = consensus.peek(|machine| {
            let state = machine.state();
            let nodes: Vec<NodeState> = state.nodes().values().map(|record| record.state).collect();
            let jobs: Vec<(JobId, Arc<JobRecord>)> =
                state.jobs().iter().map(|(job, record)| (*job, record.clone())).collect();
            (nodes, jobs)
        });
        families.nodes(&nodes);
        families.statuses(&jobs);
        for (job, record) in jobs.iter().filter(|(_, record)| !record.status.is_terminal()) {
            let memory = leader.recall(*job).await;
            families.job(*job, record, memory, seams.clock.since_epoch());
        }
    }
    families.text()
}

/// A metric's name and help text.
struct Metric {
    name: &'static str,
    help: &'static str,
}

const IS_LEADER: Metric = Metric { name: "thalweg_coordinator_is_leader", help: "1 on the member that leads" };
const TERM: Metric = Metric { name: "thalweg_coordinator_term", help: "Raft term of this member" };
const APPLIED: Metric = Metric { name: "thalweg_coordinator_applied", help: "Index of the last applied log entry" };
const NODES: Metric = Metric { name: "thalweg_nodes", help: "Nodes, by state" };
const JOBS: Metric = Metric { name: "thalweg_jobs", help: "Jobs, by status" };
const ATTEMPT: Metric = Metric { name: "thalweg_job_attempt", help: "Number of the current attempt" };
const FAILURES: Metric = Metric { name: "thalweg_job_failures", help: "Attempts that have failed" };
const SOURCE_RECORDS: Metric =
    Metric { name: "thalweg_job_source_records", help: "Records that the sources gave, each once" };
const SINK_RECORDS: Metric =
    Metric { name: "thalweg_job_sink_records", help: "Records that the sinks were given, each once" };
const LATE_RECORDS: Metric = Metric { name: "thalweg_job_late_records", help: "Records that came too late" };
const DEAD_LETTERS: Metric =
    Metric { name: "thalweg_job_dead_letters", help: "Records that were set aside as malformed" };
const FAILED_ROWS: Metric =
    Metric { name: "thalweg_job_failed_rows", help: "Rows that were set aside since they could not be evaluated" };
const LAST_CHECKPOINT: Metric =
    Metric { name: "thalweg_job_last_checkpoint", help: "Number of the newest complete checkpoint" };
const FAILED_IN_A_ROW: Metric = Metric {
    name: "thalweg_job_checkpoint_failures_in_a_row",
    help: "Checkpoints that have failed since the last complete one",
};
const CHECKPOINT_AGE: Metric =
    Metric { name: "thalweg_job_checkpoint_age_seconds", help: "Since the newest complete checkpoint ended" };
const DURATION: Metric =
    Metric { name: "thalweg_job_checkpoint_duration_seconds", help: "Of the newest complete checkpoint, in all" };
const ALIGNMENT: Metric = Metric {
    name: "thalweg_job_checkpoint_alignment_seconds",
    help: "Longest wait of a subtask for the barriers of the newest complete checkpoint",
};
const FREEZE: Metric = Metric {
    name: "thalweg_job_checkpoint_freeze_seconds",
    help: "Longest time in which a subtask did nothing but freeze its state for the newest complete checkpoint",
};
const UPLOAD: Metric = Metric {
    name: "thalweg_job_checkpoint_upload_seconds",
    help: "Longest time until a subtask's part of the newest complete checkpoint was durable",
};
const UPLOADED: Metric =
    Metric { name: "thalweg_job_checkpoint_uploaded_bytes", help: "Uploaded for the newest complete checkpoint" };
const STATE: Metric =
    Metric { name: "thalweg_job_state_bytes", help: "All objects that the newest complete checkpoint refers to" };

#[derive(Debug, Clone, Copy)]
enum Value {
    Gauge(f64),
    Counter(u64),
}

#[derive(Debug)]
struct Family {
    help: &'static str,
    samples: Vec<(Vec<(&'static str, String)>, Value)>,
}

/// Samples by metric name.
#[derive(Debug, Default)]
struct Families(BTreeMap<&'static str, Family>);

impl Families {
    fn add(&mut self, metric: &Metric, labels: &[(&'static str, String)], value: Value) {
        let family = self.0.entry(metric.name).or_insert_with(|| Family { help: metric.help, samples: Vec::new() });
        family.samples.push((labels.to_vec(), value));
    }

    fn gauge(&mut self, metric: &Metric, labels: &[(&'static str, String)], value: f64) {
        self.add(metric, labels, Value::Gauge(value));
    }

    fn nodes(&mut self, nodes: &[NodeState]) {
        for (state, word) in [(NodeState::Alive, "alive"), (NodeState::Leaving, "leaving"), (NodeState::Lost, "lost")] {
            let count = nodes.iter().filter(|node| **node == state).count();
            self.gauge(&NODES, &[("state", word.to_owned())], number(count as u64));
        }
    }

    fn statuses(&mut self, jobs: &[(JobId, Arc<JobRecord>)]) {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for (_, record) in jobs {
            *counts.entry(record.status.to_string()).or_default() += 1;
        }
        for (status, count) in counts {
            self.gauge(&JOBS, &[("status", status)], number(count));
        }
    }

    fn job(&mut self, job: JobId, record: &JobRecord, memory: JobMemory, now: Duration) {
        let labels = [("job", job.to_string()), ("name", escaped(&record.spec.name))];
        self.gauge(&ATTEMPT, &labels, f64::from(record.last_attempt().0));
        self.add(&FAILURES, &labels, Value::Counter(u64::from(record.failures)));
        let graph = thalweg_types::JobGraph::from_bytes(record.spec.graph.as_bytes());
        if let Ok(graph) = graph {
            let overview = overview::details(job, record, &graph, String::new(), &memory);
            self.records(&labels, &overview.subtasks);
        }
        if let Some(newest) = record.newest_checkpoint() {
            self.gauge(&LAST_CHECKPOINT, &labels, number(newest.checkpoint.0));
        }
        self.gauge(&FAILED_IN_A_ROW, &labels, f64::from(memory.summary.failures_in_a_row));
        let is_complete = |known: &&CheckpointOverview| known.state == CheckpointState::Complete && known.begun_ms > 0;
        if let Some(newest) = memory.checkpoints.iter().rev().find(is_complete) {
            self.checkpoint(&labels, newest, now);
        }
    }

    fn records(&mut self, labels: &[(&'static str, String)], subtasks: &[SubtaskOverview]) {
        let of = |wanted: fn(&SubtaskOverview) -> u64| Value::Counter(subtasks.iter().map(wanted).sum());
        self.add(&SOURCE_RECORDS, labels, of(|subtask| if subtask.is_source { subtask.metrics.records_in } else { 0 }));
        self.add(&SINK_RECORDS, labels, of(|subtask| if subtask.is_sink { subtask.metrics.records_out } else { 0 }));
        self.add(&LATE_RECORDS, labels, of(|subtask| subtask.metrics.late_records));
        self.add(&DEAD_LETTERS, labels, of(|subtask| subtask.metrics.dead_letters));
        self.add(&FAILED_ROWS, labels, of(|subtask| subtask.metrics.failed_rows));
    }

    fn checkpoint(&mut self, labels: &[(&'static str, String)], newest: &CheckpointOverview, now: Duration) {
        let ended = Duration::from_millis(newest.begun_ms) + Duration::from_micros(newest.duration_micros);
        let cost = &newest.cost;
        self.gauge(&CHECKPOINT_AGE, labels, now.saturating_sub(ended).as_secs_f64());
        for (metric, micros) in [
            (&DURATION, newest.duration_micros),
            (&ALIGNMENT, cost.alignment_micros),
            (&FREEZE, cost.freeze_micros),
            (&UPLOAD, cost.upload_micros),
        ] {
            self.gauge(metric, labels, Duration::from_micros(micros).as_secs_f64());
        }
        self.gauge(&UPLOADED, labels, number(cost.uploaded_bytes));
        self.gauge(&STATE, labels, number(cost.state_bytes));
    }

    fn text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        text::encode(&mut text, &registry).expect("writing to a string does not fail");
        text
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, family) in &self.0 {
            let kind = match family.samples.first() {
                Some((_, Value::Counter(_))) => MetricType::Counter,
                _ => MetricType::Gauge,
            };
            let mut described = encoder.encode_descriptor(name, family.help, None, kind)?;
            for (labels, value) in &family.samples {
                let sample = described.encode_family(labels)?;
                match value {
                    Value::Gauge(value) => ConstGauge::new(*value).encode(sample)?,
                    Value::Counter(value) => ConstCounter::new(*value).encode(sample)?,
                }
            }
        }
        Ok(())
    }
}

/// Escapes a label's value. The encoder writes it between quotes as it is.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// As a floating point number, exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "samples are 64-bit floating point numbers")]
fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_stand_below_their_metric_with_escaped_labels() {
        let mut families = Families::default();
        families.add(
            &FAILURES,
            &[("job", "job-1".to_owned()), ("name", escaped("a \"quoted\"\nname"))],
            Value::Counter(2),
        );
        families.gauge(&NODES, &[("state", "alive".to_owned())], 3.0);
        let text = families.text();
        assert!(text.contains("# TYPE thalweg_job_failures counter\n"), "{text}");
        assert!(
            text.contains("thalweg_job_failures_total{job=\"job-1\",name=\"a \\\"quoted\\\"\\nname\"} 2\n"),
            "{text}"
        );
        assert!(text.contains("thalweg_nodes{state=\"alive\"} 3.0\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
