//! What a node tells those who monitor it.

use std::time::Duration;

use thalweg_connectors::{ResentRecords, ingest::IngestRegistry};
use thalweg_exchange::ExchangeRegistry;
use thalweg_metrics::{Families, Metric, table};
use thalweg_runtime::{AttemptMeasures, ChainMeasures};
use thalweg_types::{JobId, NodeId};

use crate::request_meter::RequestMeter;

/// What there is to read, besides attempts.
#[derive(Debug)]
pub(crate) struct Monitored {
    pub(crate) node: NodeId,
    pub(crate) slots: u32,
    pub(crate) memory_budget_bytes: u64,
    pub(crate) exchange: ExchangeRegistry,
    /// What sinks had to send again.
    pub(crate) resent: ResentRecords,
    /// Where records are taken over HTTP.
    pub(crate) ingest: Option<(IngestRegistry, RequestMeter)>,
}

impl Monitored {
    /// Adds what a node with these attempts tells.
    pub(crate) fn tell(&self, families: &mut Families, is_registered: bool, attempts: &[(JobId, AttemptMeasures)]) {
        let node = self.node.0.to_string();
        let sum = |of: fn(&AttemptMeasures) -> u64| attempts.iter().map(|(_, attempt)| of(attempt)).sum();
        families.level(&table::NODE_REGISTERED, &[&node], u64::from(is_registered));
        families.level(&table::NODE_SLOTS, &[&node], u64::from(self.slots));
        families.level(&table::NODE_SLOTS_USED, &[&node], sum(|attempt| u64::from(attempt.slices)));
        families.level(&table::NODE_MEMORY_BUDGET, &[&node], self.memory_budget_bytes);
        families.level(&table::NODE_MEMORY_USED, &[&node, "state"], sum(|attempt| attempt.state_bytes));
        families.level(&table::NODE_MEMORY_USED, &[&node, "decoding"], sum(|attempt| attempt.decoding_bytes));
        families.level(&table::NODE_MEMORY_USED, &[&node, "exchange"], sum(|attempt| attempt.exchange_bytes));
        let traffic = self.exchange.traffic();
        families.counter(&table::EXCHANGE_SENT, &[&node], traffic.sent);
        families.counter(&table::EXCHANGE_RECEIVED, &[&node], traffic.received);
        for (job, attempt) in attempts {
            tell_attempt(families, &node, &job.to_string(), attempt);
        }
        tell_resent(families, &node, self.resent.counts());
        let Some((registry, requests)) = &self.ingest else { return };
        for (code, count) in requests.answered() {
            families.counter(&table::INGEST_REQUESTS, &[&node, &code.to_string()], count);
        }
        families.histogram(&table::INGEST_REQUEST, &[&node], requests.took());
        for (path, bytes) in registry.backlogs() {
            families.level(&table::INGEST_BACKLOG, &[&node, &path], bytes);
        }
    }
}

fn tell_resent(families: &mut Families, node: &str, counts: Vec<(JobId, String, u64)>) {
    for (job, table, count) in counts {
        families.counter(&table::SINK_RESENT, &[node, &job.to_string(), &table], count);
    }
}

fn tell_attempt(families: &mut Families, node: &str, job: &str, attempt: &AttemptMeasures) {
    families.level(&table::NODE_STATE, &[node, job], attempt.state_bytes);
    families.histogram(&table::JOB_LATENCY, &[node, job], &attempt.latency);
    if attempt.state_limit_bytes > 0 {
        families.level(&table::NODE_STATE_LIMIT, &[node, job], attempt.state_limit_bytes);
    }
    for chain in &attempt.chains {
        tell_chain(families, [node, job, &chain.chain.0.to_string(), &chain.operators], chain);
    }
}

fn tell_chain(families: &mut Families, labels: [&str; 4], measured: &ChainMeasures) {
    let ChainMeasures { subtasks, metrics, credit_waits, state_bytes, splits, backlog, .. } = measured;
    let [node, job, chain, operators] = labels;
    families.level(&table::CHAIN_SUBTASKS, &labels, u64::from(*subtasks));
    families.level(&table::CHAIN_STATE, &labels, *state_bytes);
    let counts: [(&'static Metric, u64); 8] = [
        (&table::CHAIN_RECORDS_IN, metrics.records_in),
        (&table::CHAIN_RECORDS_OUT, metrics.records_out),
        (&table::CHAIN_IN, metrics.bytes_in),
        (&table::CHAIN_OUT, metrics.bytes_out),
        (&table::CHAIN_CREDIT_WAITS, *credit_waits),
        (&table::CHAIN_LATE_RECORDS, metrics.late_records),
        (&table::CHAIN_DEAD_LETTERS, metrics.dead_letters),
        (&table::CHAIN_FAILED_ROWS, metrics.failed_rows),
    ];
    for (metric, count) in counts {
        families.counter(metric, &labels, count);
    }
    let times = [("busy", metrics.busy_micros), ("blocked", metrics.blocked_micros), ("idle", metrics.idle_micros)];
    for (activity, micros) in times {
        let labels = [node, job, chain, operators, activity];
        families.time(&table::CHAIN_TIME, &labels, Duration::from_micros(micros));
    }
    if let Some(backlog) = backlog {
        families.level(&table::SOURCE_BACKLOG, &labels, backlog.records);
        families.level(&table::SOURCE_UNREACHABLE, &labels, backlog.unreachable);
        families.level(&table::SOURCE_THROTTLED, &labels, backlog.throttled);
        if let Some(behind) = backlog.behind {
            families.gauge(&table::SOURCE_BEHIND, &labels, behind.as_secs_f64());
        }
    }
    if let Some(splits) = splits {
        for (state, count) in [("waiting", splits.waiting), ("open", splits.open), ("finished", splits.finished)] {
            families.level(&table::SOURCE_SPLITS, &[node, job, chain, operators, state], count);
        }
    }
}

#[cfg(test)]
mod tests {
    use thalweg_connectors::Backlog;
    use thalweg_types::{ChainId, job::SubtaskMetrics};

    use super::*;

    /// What is told of a source that has records to read, with this age of the first.
    fn told(behind: Option<Duration>) -> String {
        let source = ChainMeasures {
            chain: ChainId(3),
            operators: "clicks".to_owned(),
            subtasks: 1,
            metrics: SubtaskMetrics::default(),
            credit_waits: 0,
            state_bytes: 0,
            splits: None,
            backlog: Some(Backlog { records: 7, unreachable: 0, throttled: 2, behind }),
        };
        let mut families = Families::default();
        tell_chain(&mut families, ["1", "job-1", "3", "clicks"], &source);
        families.text()
    }

    #[test]
    fn what_sinks_sent_again_is_told() {
        let mut families = Families::default();
        tell_resent(&mut families, "1", vec![(JobId(7), "popular".to_owned(), 12)]);
        let told = families.text();
        let line = "thalweg_sink_resent_records_total{node=\"1\",job_id=\"job-7\",table=\"popular\"} 12\n";
        assert!(told.contains(line), "{told}");
    }

    #[test]
    fn how_far_a_source_is_behind_is_told_if_it_is_known() {
        let labels = "node=\"1\",job_id=\"job-1\",chain=\"3\",operators=\"clicks\"";
        let known = told(Some(Duration::from_millis(1_500)));
        assert!(known.contains(&format!("thalweg_source_behind_seconds{{{labels}}} 1.5\n")), "{known}");
        assert!(known.contains(&format!("thalweg_source_throttled_splits{{{labels}}} 2.0\n")), "{known}");
        let unknown = told(None);
        assert!(!unknown.contains("thalweg_source_behind_seconds"), "{unknown}");
    }
}
