//! What a coordinator tells those who monitor it.
//!
//! Every member tells of its log. Only the leader tells of nodes and jobs, so that the sum over all members counts nothing
//! twice.

use std::{sync::Arc, time::Duration};

use thalweg_cluster_state::JobRecord;
use thalweg_consensus::Consensus;
use thalweg_metrics::{Families, table};
use thalweg_types::{
    JobGraph, JobId, JobStatus,
    job::{CheckpointOverview, CheckpointState, SubtaskOverview},
    node::NodeState,
    seam::Seams,
};

use crate::{
    leader::{JobMeasures, LeaderHandle},
    machine::Machine,
    overview::{self, JobMemory},
};

/// A job that has ended is told of for so long: a monitoring system that reads every minute sees its end.
const ENDED_TOLD_FOR: Duration = Duration::from_secs(15 * 60);
/// Of live and of ended jobs, the newest so many are told of.
const JOBS_MAX: usize = 200;

/// Adds what this member tells.
pub(crate) async fn tell(
    families: &mut Families,
    consensus: &Consensus<Machine>,
    leader: &LeaderHandle,
    seams: &Seams,
) {
    raft(families, consensus);
    if !consensus.leadership().borrow().is_self {
        return;
    }
    let (nodes, jobs) = consensus.peek(|machine| {
        let state = machine.state();
        let nodes: Vec<NodeState> = state.nodes().values().map(|record| record.state).collect();
        let jobs: Vec<(JobId, Arc<JobRecord>)> =
            state.jobs().iter().map(|(job, record)| (*job, record.clone())).collect();
        (nodes, jobs)
    });
    for (state, word) in [(NodeState::Alive, "alive"), (NodeState::Leaving, "leaving"), (NodeState::Lost, "lost")] {
        let count = nodes.iter().filter(|node| **node == state).count();
        families.level(&table::NODES, &[word], count as u64);
    }
    for status in JobStatus::ALL {
        let count = jobs.iter().filter(|(_, record)| record.status == status).count();
        families.level(&table::JOBS, &[status.word()], count as u64);
    }
    let now = seams.clock.unix_time();
    let told_of = told_of(jobs, now);
    let measures = leader.measures(told_of.iter().map(|(job, _)| *job).collect()).await;
    families.counter(&table::NODE_LOSSES, &[], measures.node_losses);
    let mut measured = measures.jobs;
    for (job, record) in told_of {
        if let Some((memory, measures)) = measured.remove(&job) {
            let (id, name) = (job.to_string(), record.spec.name.clone());
            JobFamilies { families, labels: [&id, &name] }.tell(job, &record, (&memory, &measures), now);
        }
    }
}

fn raft(families: &mut Families, consensus: &Consensus<Machine>) {
    let leadership = consensus.leadership().borrow().clone();
    let members = consensus.members();
    let voters = members.iter().filter(|member| member.voter).count();
    let log = consensus.measures();
    families.level(&table::RAFT_IS_LEADER, &[], u64::from(leadership.is_self));
    families.level(&table::RAFT_KNOWS_LEADER, &[], u64::from(leadership.leader.is_some()));
    families.level(&table::RAFT_TERM, &[], leadership.term.0);
    families.level(&table::RAFT_MEMBERS, &["voter"], voters as u64);
    families.level(&table::RAFT_MEMBERS, &["learner"], (members.len() - voters) as u64);
    families.level(&table::RAFT_APPLIED, &[], *consensus.applied().borrow());
    families.level(&table::RAFT_COMMITTED, &[], log.committed);
    families.level(&table::RAFT_LAST, &[], log.last);
    families.level(&table::RAFT_LOG_ENTRIES, &[], log.entries);
    families.level(&table::RAFT_LOG, &[], log.entries_bytes);
    families.histogram(&table::RAFT_COMMIT, &[], &log.commit);
    families.histogram(&table::RAFT_WRITE, &[], &log.write);
}

/// The newest live jobs, and those that have ended lately.
fn told_of(mut jobs: Vec<(JobId, Arc<JobRecord>)>, now: Duration) -> Vec<(JobId, Arc<JobRecord>)> {
    let (mut live, mut ended) = (0, 0);
    jobs.reverse();
    jobs.retain(|(_, record)| {
        let is_old = now.saturating_sub(Duration::from_millis(record.ended_ms)) > ENDED_TOLD_FOR;
        let count = if record.status.is_terminal() { &mut ended } else { &mut live };
        if record.status.is_terminal() && is_old || *count == JOBS_MAX {
            return false;
        }
        *count += 1;
        true
    });
    jobs
}

/// The samples of one job.
struct JobFamilies<'a> {
    families: &'a mut Families,
    labels: [&'a str; 2],
}

impl JobFamilies<'_> {
    fn tell(mut self, job: JobId, record: &JobRecord, (memory, measures): (&JobMemory, &JobMeasures), now: Duration) {
        let [id, name] = self.labels;
        self.families.level(&table::JOB_STATUS, &[id, name, record.status.word()], 1);
        self.families.level(&table::JOB_ATTEMPT, &self.labels, u64::from(record.last_attempt().0));
        self.families.counter(&table::JOB_FAILURES, &self.labels, u64::from(record.failures));
        // All causes from the beginning: a counter that appears with its first event shows no increase.
        for cause in ["node", "link", "store", "operator", "departure"] {
            let count = measures.restarts.get(cause).copied().unwrap_or(0);
            self.families.counter(&table::JOB_RESTARTS, &[id, name, cause], count);
        }
        if let Ok(graph) = JobGraph::from_bytes(record.spec.graph.as_bytes()) {
            let overview = overview::details(job, record, &graph, String::new(), memory);
            self.records(&overview.subtasks);
            if record.status == JobStatus::Running {
                self.lags(&overview.subtasks, now);
            }
        }
        self.checkpoints(record, memory, measures, now);
        self.families.counter(&table::COMMITS, &self.labels, measures.commits);
        self.families.counter(&table::COMMIT_RETRIES, &self.labels, measures.commit_retries);
        self.families.level(&table::COMMIT_FAILING, &self.labels, u64::from(memory.commit_failure.is_some()));
        self.families.histogram(&table::COMMIT, &self.labels, &measures.commit);
    }

    fn records(&mut self, subtasks: &[SubtaskOverview]) {
        let of = |wanted: fn(&SubtaskOverview) -> u64| subtasks.iter().map(wanted).sum();
        let read = of(|subtask| if subtask.is_source { subtask.metrics.records_in } else { 0 });
        let written = of(|subtask| if subtask.is_sink { subtask.metrics.records_out } else { 0 });
        self.families.level(&table::JOB_SOURCE_RECORDS, &self.labels, read);
        self.families.level(&table::JOB_SINK_RECORDS, &self.labels, written);
        self.families.level(&table::JOB_LATE_RECORDS, &self.labels, of(|subtask| subtask.metrics.late_records));
        self.families.level(&table::JOB_DEAD_LETTERS, &self.labels, of(|subtask| subtask.metrics.dead_letters));
        self.families.level(&table::JOB_FAILED_ROWS, &self.labels, of(|subtask| subtask.metrics.failed_rows));
    }

    /// Nothing is told of subtasks that have no watermark yet, or whose input has ended.
    fn lags(&mut self, subtasks: &[SubtaskOverview], now: Duration) {
        let moving = |subtask: &&SubtaskOverview| ![i64::MIN, i64::MAX].contains(&subtask.metrics.watermark);
        let moving: Vec<&SubtaskOverview> = subtasks.iter().filter(moving).collect();
        let sources = moving.iter().filter(|subtask| subtask.is_source);
        let least = moving.iter().map(|subtask| subtask.metrics.watermark).min();
        let least_of_sources = sources.map(|subtask| subtask.metrics.watermark).min();
        for (metric, least) in [(&table::JOB_WATERMARK_LAG, least), (&table::JOB_SOURCE_LAG, least_of_sources)] {
            if let Some(watermark) = least {
                self.families.gauge(metric, &self.labels, now.as_secs_f64() - seconds_of(watermark));
            }
        }
    }

    fn checkpoints(&mut self, record: &JobRecord, memory: &JobMemory, measures: &JobMeasures, now: Duration) {
        let [id, name] = self.labels;
        for (outcome, count) in [("complete", measures.checkpoints_complete), ("failed", measures.checkpoints_failed)] {
            self.families.counter(&table::CHECKPOINTS, &[id, name, outcome], count);
        }
        for (step, histogram) in &measures.steps {
            self.families.histogram(&table::CHECKPOINT_STEP, &[id, name, step], histogram);
        }
        let failed = u64::from(memory.summary.failures_in_a_row);
        self.families.level(&table::CHECKPOINT_FAILED_IN_A_ROW, &self.labels, failed);
        let unpublished = record.checkpoints.iter().filter(|manifest| manifest.checkpoint > record.committed).count();
        self.families.level(&table::CHECKPOINTS_UNPUBLISHED, &self.labels, unpublished as u64);
        if let Some(newest) = record.newest_checkpoint() {
            self.families.level(&table::CHECKPOINT_LAST, &self.labels, newest.checkpoint.0);
        }
        let is_known = |known: &&CheckpointOverview| known.state == CheckpointState::Complete && known.begun_ms > 0;
        let Some(newest) = memory.checkpoints.iter().rev().find(is_known) else { return };
        self.families.level(&table::CHECKPOINT_UPLOADED, &self.labels, newest.cost.uploaded_bytes);
        self.families.level(&table::CHECKPOINT_STATE, &self.labels, newest.cost.state_bytes);
        if !record.status.is_terminal() {
            let ended = Duration::from_millis(newest.begun_ms) + Duration::from_micros(newest.duration_micros);
            let age = now.saturating_sub(ended).as_secs_f64();
            self.families.gauge(&table::CHECKPOINT_AGE, &self.labels, age);
        }
    }
}

/// A watermark, in seconds since the Unix epoch.
#[allow(clippy::cast_precision_loss, reason = "a lag needs no microseconds")]
fn seconds_of(watermark: i64) -> f64 {
    watermark as f64 / 1e6
}
