//! Every metric that a process exports. `docs/metrics.md` holds the same list, which a test compares with this one and with
//! what running processes tell.
//!
//! A name is the one that Prometheus shows: it ends in the unit, if there is one, and `_total` for a counter. What describes
//! a job as a whole is told by the leader alone, what happens on a node by that node, so that nothing is counted twice.

#![allow(missing_docs, reason = "each metric says in its help what it means")]

/// What a metric's values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Grows, and begins at zero again with its process, leader or attempt.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size.
    Histogram,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// As Prometheus shows it.
    pub name: &'static str,
    /// What its values mean.
    pub kind: Kind,
    /// The labels that each sample has.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help }
}

impl Metric {
    /// The unit of its values; `None` for counts.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        let name = self.without_total();
        ["seconds", "bytes"].into_iter().find(|unit| name.strip_suffix(unit).is_some_and(|stem| stem.ends_with('_')))
    }

    /// The name without unit and `_total`.
    pub(crate) fn stem(&self) -> &'static str {
        let name = self.without_total();
        match self.unit() {
            Some(unit) => &name[..name.len() - unit.len() - 1],
            None => name,
        }
    }

    fn without_total(&self) -> &'static str {
        self.name.strip_suffix("_total").unwrap_or(self.name)
    }
}

/// Metrics that the same processes export.
#[derive(Debug)]
pub struct Group {
    /// Who exports them.
    pub by: &'static str,
    /// What has to be known of all of them; may be empty.
    pub note: &'static str,
    /// The metrics.
    pub metrics: &'static [&'static Metric],
}

/// All metrics.
pub const GROUPS: &[Group] = &[
    Group {
        by: "Every process",
        note: "Those of `process_` come from Linux's `/proc`, and are absent where there is none.",
        metrics: &[
            &BUILD,
            &PROCESS_CPU,
            &PROCESS_MEMORY,
            &PROCESS_FDS,
            &PROCESS_FDS_MAX,
            &PROCESS_THREADS,
            &PROCESS_START,
        ],
    },
    Group {
        by: "Every coordinator",
        note: "",
        metrics: &[
            &RAFT_IS_LEADER,
            &RAFT_KNOWS_LEADER,
            &RAFT_TERM,
            &RAFT_MEMBERS,
            &RAFT_APPLIED,
            &RAFT_COMMITTED,
            &RAFT_LAST,
            &RAFT_LOG_ENTRIES,
            &RAFT_LOG,
            &RAFT_COMMIT,
            &RAFT_WRITE,
        ],
    },
    Group {
        by: "The leader",
        note: "Counters and histograms begin at zero with each leader. Jobs that have ended are told of for 15 minutes; of at most \
               200 jobs each.",
        metrics: &[
            &NODES,
            &NODE_LOSSES,
            &JOBS,
            &JOB_STATUS,
            &JOB_ATTEMPT,
            &JOB_FAILURES,
            &JOB_RESTARTS,
            &JOB_SOURCE_RECORDS,
            &JOB_SINK_RECORDS,
            &JOB_LATE_RECORDS,
            &JOB_DEAD_LETTERS,
            &JOB_FAILED_ROWS,
            &JOB_SOURCE_LAG,
            &JOB_WATERMARK_LAG,
            &CHECKPOINTS,
            &CHECKPOINT_LAST,
            &CHECKPOINT_FAILED_IN_A_ROW,
            &CHECKPOINT_AGE,
            &CHECKPOINT_STEP,
            &CHECKPOINT_UPLOADED,
            &CHECKPOINT_STATE,
            &CHECKPOINTS_UNPUBLISHED,
            &COMMITS,
            &COMMIT_RETRIES,
            &COMMIT_FAILING,
            &COMMIT,
        ],
    },
    Group {
        by: "Every node",
        note: "A chain is a sequence of operators that run in one task; its label `operators` names them, `chain` is its number in \
               the job. Counters of a chain are sums over its subtasks on the node, and begin at zero with each attempt: what was \
               done again after a failure is counted again.",
        metrics: &[
            &NODE_REGISTERED,
            &NODE_SLOTS,
            &NODE_SLOTS_USED,
            &NODE_MEMORY_BUDGET,
            &NODE_MEMORY_USED,
            &NODE_STATE_LIMIT,
            &NODE_STATE,
            &JOB_LATENCY,
            &CHAIN_SUBTASKS,
            &CHAIN_RECORDS_IN,
            &CHAIN_RECORDS_OUT,
            &CHAIN_IN,
            &CHAIN_OUT,
            &CHAIN_TIME,
            &CHAIN_CREDIT_WAITS,
            &CHAIN_STATE,
            &CHAIN_LATE_RECORDS,
            &CHAIN_DEAD_LETTERS,
            &CHAIN_FAILED_ROWS,
            &SOURCE_SPLITS,
            &SOURCE_BACKLOG,
            &SOURCE_UNREACHABLE,
            &SOURCE_THROTTLED,
            &SOURCE_BEHIND,
            &SINK_RESENT,
            &EXCHANGE_SENT,
            &EXCHANGE_RECEIVED,
        ],
    },
    Group {
        by: "Every node that takes records over HTTP",
        note: "",
        metrics: &[&INGEST_REQUESTS, &INGEST_REQUEST, &INGEST_BACKLOG],
    },
];

/// All metrics, in the order of the groups.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    GROUPS.iter().flat_map(|group| group.metrics.iter().copied())
}

pub(crate) fn is_listed(metric: &Metric) -> bool {
    all().any(|listed| listed == metric)
}

/// Labels of what is told of a job.
const OF_JOB: &[&str] = &["job_id", "job_name"];
/// Labels of what is told of a chain on a node.
const OF_CHAIN: &[&str] = &["node", "job_id", "chain", "operators"];

mod list {
    use super::{Metric, OF_CHAIN, OF_JOB, counter, gauge, histogram};

    pub const BUILD: Metric = gauge("thalweg_build_info", &["component", "version"], "1, with what runs here");
    pub const PROCESS_CPU: Metric = counter("process_cpu_seconds_total", &[], "Processor time of the process");
    pub const PROCESS_MEMORY: Metric = gauge("process_resident_memory_bytes", &[], "Resident memory of the process");
    pub const PROCESS_FDS: Metric = gauge("process_open_fds", &[], "Open file descriptors of the process");
    pub const PROCESS_FDS_MAX: Metric = gauge("process_max_fds", &[], "How many the process may have open");
    pub const PROCESS_THREADS: Metric = gauge("process_threads", &[], "Threads of the process");
    pub const PROCESS_START: Metric =
        gauge("process_start_time_seconds", &[], "When the process started, since the Unix epoch");

    pub const RAFT_IS_LEADER: Metric = gauge("thalweg_raft_is_leader", &[], "1 on the member that leads");
    pub const RAFT_KNOWS_LEADER: Metric = gauge("thalweg_raft_knows_leader", &[], "1 on a member that knows who leads");
    pub const RAFT_TERM: Metric = gauge("thalweg_raft_term", &[], "The member's term");
    pub const RAFT_MEMBERS: Metric =
        gauge("thalweg_raft_members", &["role"], "Members of the group, by whether they vote (voter, learner)");
    pub const RAFT_APPLIED: Metric =
        gauge("thalweg_raft_applied_index", &[], "The last log entry that is applied here");
    pub const RAFT_COMMITTED: Metric =
        gauge("thalweg_raft_commit_index", &[], "The last log entry that is known here to be committed");
    pub const RAFT_LAST: Metric = gauge("thalweg_raft_last_index", &[], "The last log entry that is here");
    pub const RAFT_LOG_ENTRIES: Metric =
        gauge("thalweg_raft_log_entries", &[], "Log entries that are kept, those before a snapshot too");
    pub const RAFT_LOG: Metric = gauge("thalweg_raft_log_bytes", &[], "Memory of the log entries that are kept");
    pub const RAFT_COMMIT: Metric =
        histogram("thalweg_raft_commit_seconds", &[], "From a proposal of this member until it is applied here");
    pub const RAFT_WRITE: Metric = histogram("thalweg_raft_write_seconds", &[], "Durable writes of the log");

    pub const NODES: Metric = gauge("thalweg_nodes", &["state"], "Nodes, by state (alive, leaving, lost)");
    pub const NODE_LOSSES: Metric = counter("thalweg_node_losses_total", &[], "Nodes that were lost");
    pub const JOBS: Metric = gauge("thalweg_jobs", &["status"], "Jobs, by status, ended ones that are remembered too");
    pub const JOB_STATUS: Metric =
        gauge("thalweg_job_status", &["job_id", "job_name", "status"], "1, with the job's status");
    pub const JOB_ATTEMPT: Metric = gauge("thalweg_job_attempt", OF_JOB, "Number of the last attempt");
    pub const JOB_FAILURES: Metric =
        counter("thalweg_job_failures_total", OF_JOB, "Attempts that have failed since the job was submitted");
    pub const JOB_RESTARTS: Metric = counter(
        "thalweg_job_restarts_total",
        &["job_id", "job_name", "cause"],
        "Attempts that were given up for another one, by cause (node, link, store, operator; departure: a node left on purpose)",
    );
    pub const JOB_SOURCE_RECORDS: Metric = gauge(
        "thalweg_job_source_records",
        OF_JOB,
        "Records that the sources have read, each once: it falls back with a restart",
    );
    pub const JOB_SINK_RECORDS: Metric =
        gauge("thalweg_job_sink_records", OF_JOB, "Records that the sinks were given, each once");
    pub const JOB_LATE_RECORDS: Metric =
        gauge("thalweg_job_late_records", OF_JOB, "Records that came too late for their window, each once");
    pub const JOB_DEAD_LETTERS: Metric =
        gauge("thalweg_job_dead_letters", OF_JOB, "Records that were set aside as malformed, each once");
    pub const JOB_FAILED_ROWS: Metric = gauge(
        "thalweg_job_failed_rows",
        OF_JOB,
        "Rows that were set aside since they could not be evaluated, each once",
    );
    pub const JOB_SOURCE_LAG: Metric = gauge(
        "thalweg_job_source_lag_seconds",
        OF_JOB,
        "From the watermark of the source subtask that is furthest behind until now",
    );
    pub const JOB_WATERMARK_LAG: Metric = gauge(
        "thalweg_job_watermark_lag_seconds",
        OF_JOB,
        "From the watermark of the subtask that is furthest behind until now",
    );

    pub const CHECKPOINTS: Metric = counter(
        "thalweg_job_checkpoints_total",
        &["job_id", "job_name", "outcome"],
        "Checkpoints that have ended (complete, failed)",
    );
    pub const CHECKPOINT_LAST: Metric =
        gauge("thalweg_job_last_checkpoint", OF_JOB, "Number of the newest complete checkpoint");
    pub const CHECKPOINT_FAILED_IN_A_ROW: Metric = gauge(
        "thalweg_job_checkpoint_failures_in_a_row",
        OF_JOB,
        "Checkpoints that have failed since the last complete one",
    );
    pub const CHECKPOINT_AGE: Metric = gauge(
        "thalweg_job_checkpoint_age_seconds",
        OF_JOB,
        "Since the newest complete checkpoint ended, while the job lives",
    );
    pub const CHECKPOINT_STEP: Metric = histogram(
        "thalweg_job_checkpoint_seconds",
        &["job_id", "job_name", "step"],
        "Complete checkpoints, by step: whole; of the slowest subtask its waiting for barriers (alignment), freezing its state \
         (freeze), and making it durable (upload); then the manifest until it is recorded (manifest)",
    );
    pub const CHECKPOINT_UPLOADED: Metric =
        gauge("thalweg_job_checkpoint_uploaded_bytes", OF_JOB, "Uploaded for the newest complete checkpoint");
    pub const CHECKPOINT_STATE: Metric =
        gauge("thalweg_job_state_bytes", OF_JOB, "All objects that the newest complete checkpoint refers to");
    pub const CHECKPOINTS_UNPUBLISHED: Metric =
        gauge("thalweg_job_unpublished_checkpoints", OF_JOB, "Complete checkpoints whose output is not published yet");
    pub const COMMITS: Metric = counter(
        "thalweg_job_commits_total",
        OF_JOB,
        "Publications of a checkpoint's or the last output that were done",
    );
    pub const COMMIT_RETRIES: Metric =
        counter("thalweg_job_commit_retries_total", OF_JOB, "Publications that failed, to be tried again");
    pub const COMMIT_FAILING: Metric =
        gauge("thalweg_job_commit_failing", OF_JOB, "1 while the last try to publish output has failed");
    pub const COMMIT: Metric =
        histogram("thalweg_job_commit_seconds", OF_JOB, "From the order to publish until the node has answered");

    pub const NODE_REGISTERED: Metric =
        gauge("thalweg_node_registered", &["node"], "1 while a leader has it registered");
    pub const NODE_SLOTS: Metric = gauge("thalweg_node_slots", &["node"], "Slots that it offers");
    pub const NODE_SLOTS_USED: Metric = gauge("thalweg_node_slots_used", &["node"], "Slots in which an attempt runs");
    pub const NODE_MEMORY_BUDGET: Metric =
        gauge("thalweg_node_memory_budget_bytes", &["node"], "What it may use for state, exchanges and decoding");
    pub const NODE_MEMORY_USED: Metric = gauge(
        "thalweg_node_memory_used_bytes",
        &["node", "use"],
        "Of that: state as last measured, what decoding holds, and the windows of exchanges (state, decoding, exchange)",
    );
    pub const NODE_STATE: Metric =
        gauge("thalweg_node_job_state_bytes", &["node", "job_id"], "State of a job in memory, as last measured");
    pub const NODE_STATE_LIMIT: Metric = gauge(
        "thalweg_node_job_state_limit_bytes",
        &["node", "job_id"],
        "State of a job beyond which it fails (state.memory-share of the budget)",
    );

    pub const JOB_LATENCY: Metric = histogram(
        "thalweg_node_job_latency_seconds",
        &["node", "job_id"],
        "From a source to a sink on the node, by markers that travel among the rows, one a second and source subtask. No operator \
         holds them, so that waiting for a window's end is not in it",
    );

    pub const CHAIN_SUBTASKS: Metric = gauge("thalweg_chain_subtasks", OF_CHAIN, "Subtasks on the node");
    pub const CHAIN_RECORDS_IN: Metric =
        counter("thalweg_chain_records_in_total", OF_CHAIN, "Records that came in, or were read from a source");
    pub const CHAIN_RECORDS_OUT: Metric =
        counter("thalweg_chain_records_out_total", OF_CHAIN, "Records that went out, or were written to a sink");
    pub const CHAIN_IN: Metric =
        counter("thalweg_chain_in_bytes_total", OF_CHAIN, "Memory of the batches that came in");
    pub const CHAIN_OUT: Metric =
        counter("thalweg_chain_out_bytes_total", OF_CHAIN, "Memory of the batches that went out");
    pub const CHAIN_TIME: Metric = counter(
        "thalweg_chain_time_seconds_total",
        &["node", "job_id", "chain", "operators", "activity"],
        "Time of all subtasks, by what it was spent on: busy, blocked (no credit), idle (no input)",
    );
    pub const CHAIN_CREDIT_WAITS: Metric =
        counter("thalweg_chain_credit_waits_total", OF_CHAIN, "How often a subtask had to wait for credit");
    pub const CHAIN_STATE: Metric = gauge("thalweg_chain_state_bytes", OF_CHAIN, "State in memory, as last measured");
    pub const CHAIN_LATE_RECORDS: Metric =
        counter("thalweg_chain_late_records_total", OF_CHAIN, "Records that came too late for their window");
    pub const CHAIN_DEAD_LETTERS: Metric =
        counter("thalweg_chain_dead_letters_total", OF_CHAIN, "Records that were set aside as malformed");
    pub const CHAIN_FAILED_ROWS: Metric = counter(
        "thalweg_chain_failed_rows_total",
        OF_CHAIN,
        "Rows that were set aside since they could not be evaluated",
    );
    pub const SOURCE_SPLITS: Metric = gauge(
        "thalweg_source_splits",
        &["node", "job_id", "chain", "operators", "state"],
        "Splits of a source on the node (waiting, open, finished)",
    );
    pub const SOURCE_BACKLOG: Metric = gauge(
        "thalweg_source_backlog_records",
        OF_CHAIN,
        "Records of a source's open splits that are there and not read: Kafka's lag, and what was POSTed",
    );
    pub const SOURCE_UNREACHABLE: Metric = gauge(
        "thalweg_source_unreachable_splits",
        OF_CHAIN,
        "Open splits of a source that cannot be read now, since their system does not answer",
    );
    pub const SOURCE_THROTTLED: Metric = gauge(
        "thalweg_source_throttled_splits",
        OF_CHAIN,
        "Open splits of a source that are read less often than they might be, since their system allows no more",
    );
    pub const SOURCE_BEHIND: Metric = gauge(
        "thalweg_source_behind_seconds",
        OF_CHAIN,
        "How old the first record is that is not read, of the split that is furthest behind: Kinesis' MillisBehindLatest",
    );
    pub const SINK_RESENT: Metric = counter(
        "thalweg_sink_resent_records_total",
        &["node", "job_id", "table"],
        "Records that a sink had to send again: Kinesis was throttled, or had not written them for another reason. Of the 200 tables \
         of the newest jobs, since the node began",
    );
    pub const EXCHANGE_SENT: Metric =
        counter("thalweg_exchange_sent_bytes_total", &["node"], "Batches sent to other nodes, as encoded");
    pub const EXCHANGE_RECEIVED: Metric =
        counter("thalweg_exchange_received_bytes_total", &["node"], "Batches received from other nodes, as encoded");

    pub const INGEST_REQUESTS: Metric =
        counter("thalweg_ingest_requests_total", &["node", "code"], "Requests that were answered, by HTTP status");
    pub const INGEST_REQUEST: Metric =
        histogram("thalweg_ingest_request_seconds", &["node"], "From a request's head until its answer");
    pub const INGEST_BACKLOG: Metric = gauge(
        "thalweg_ingest_backlog_bytes",
        &["node", "path"],
        "Buffer of a table that takes records: requests that are being read or made durable, and records not read yet",
    );
}

pub use list::*;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_say_what_a_metric_is() {
        let mut names = BTreeSet::new();
        for metric in all() {
            let name = metric.name;
            assert!(names.insert(name), "{name} is listed twice");
            assert!(name.starts_with("thalweg_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert!(metric.kind != Kind::Histogram || metric.unit() == Some("seconds"), "{name}");
            assert!(!metric.help.is_empty() && !metric.help.ends_with('.'), "{name}");
            for label in metric.labels {
                assert!(!["job", "instance", "le"].contains(label), "{name}: {label} is not ours");
            }
        }
    }

    #[test]
    fn units_are_taken_from_names() {
        assert_eq!((RAFT_LOG.unit(), RAFT_LOG.stem()), (Some("bytes"), "thalweg_raft_log"));
        assert_eq!((PROCESS_CPU.unit(), PROCESS_CPU.stem()), (Some("seconds"), "process_cpu"));
        assert_eq!((JOB_FAILURES.unit(), JOB_FAILURES.stem()), (None, "thalweg_job_failures"));
    }
}
