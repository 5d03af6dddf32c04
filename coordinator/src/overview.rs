//! A job as clients see it: the replicated record, and what the leader remembers of its subtasks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use thalweg_cluster_state::{AttemptRecord, ClusterState, JobRecord};
use thalweg_control::job::of_the_record;
use thalweg_types::{
    Attempt, Chain, ChainPlan, JobGraph, JobId, JobStatus, NodeId, OperatorKind, SubtaskId,
    connector::ASKED_BELOW,
    job::{CheckpointOverview, CheckpointSummary, Failure, FailureKind, JobOverview, SubtaskMetrics, SubtaskOverview},
    node::NodeState,
};

/// At how many nodes a table is named that all nodes answer for.
const ADDRESSES_TOLD: usize = 4;

/// What a leader remembers of a job's last attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct JobMemory {
    pub(crate) attempt: Attempt,
    pub(crate) ready: BTreeSet<NodeId>,
    pub(crate) finished: BTreeSet<SubtaskId>,
    pub(crate) metrics: BTreeMap<SubtaskId, SubtaskMetrics>,
    /// Why publishing failed the last time.
    pub(crate) commit_failure: Option<Failure>,
    pub(crate) summary: CheckpointSummary,
    /// Oldest first.
    pub(crate) checkpoints: Vec<CheckpointOverview>,
}

/// The last checkpoints of a job, oldest first. `root` is the URL of the place for checkpoints, which manifests' names
/// are relative to.
pub(crate) fn checkpoints(record: &JobRecord, memory: JobMemory, root: &str) -> Vec<CheckpointOverview> {
    let complete = record.checkpoints.iter().map(|manifest| of_the_record(manifest.checkpoint));
    let known = if memory.checkpoints.is_empty() { complete.collect() } else { memory.checkpoints };
    let located = known.into_iter().map(|mut known| {
        if let Some(manifest) = record.checkpoint(known.checkpoint) {
            known.url = format!("{}/{}", root.trim_end_matches('/'), manifest.name);
        }
        known
    });
    located.collect()
}

/// Tells what a job that has not begun waits for; `None` if it does not wait.
pub(crate) fn waiting(record: &JobRecord, state: &ClusterState) -> Option<Failure> {
    let open = state.nodes().iter().filter(|(_, node)| node.state == NodeState::Alive);
    let slots = open.map(|(node, of)| (of.registration.slots, state.slots_used(*node)));
    let (all, free) = slots.fold((0u32, 0u32), |(all, free), (slots, used)| {
        (all.saturating_add(slots), free.saturating_add(slots.saturating_sub(used)))
    });
    let wanted = record.spec.parallelism.unwrap_or(1);
    let waits = record.status == JobStatus::Created && free < wanted;
    let fewer = if free > 0 { "; where no more come soon it begins with those" } else { "" };
    let message = format!("it waits for {wanted} slot(s): {free} of {all} are free{fewer}");
    waits.then_some(Failure { kind: FailureKind::Node, message })
}

/// A job's line in a list.
pub(crate) fn summary(job: JobId, record: &JobRecord) -> JobOverview {
    let attempt = record.attempt.as_ref().map(|attempt| attempt.plan.assignment.parallelism());
    JobOverview {
        job,
        name: record.spec.name.clone(),
        status: record.status,
        attempt: record.last_attempt(),
        parallelism: attempt.or(record.spec.parallelism).unwrap_or(0),
        failure: record.failure.clone(),
        failures: record.failures,
        checkpoints: CheckpointSummary {
            last_complete: record.newest_checkpoint().map(|manifest| manifest.checkpoint),
            ..CheckpointSummary::default()
        },
        subtasks: Vec::new(),
        sql: String::new(),
        plan: String::new(),
        ingest_urls: Vec::new(),
        asked_urls: Vec::new(),
        submitted_ms: record.submitted_ms,
        ended_ms: record.ended_ms,
    }
}

/// Where records that are POSTed to a path can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReaderPlace {
    /// To a node at this address.
    At(String),
    /// Nowhere at the moment, with the reason.
    NotNow(String),
    /// Nowhere, because no job takes them.
    Nowhere,
}

/// Finds the reader of a path. Its source has one split, so it is with the first slice.
pub(crate) fn reader_of(path: &str, state: &ClusterState) -> ReaderPlace {
    let takes = |(_, record): &(&JobId, &Arc<JobRecord>)| record.spec.ingest_paths.contains(path);
    let mut failed = None;
    for (job, record) in state.jobs().iter().filter(takes) {
        let name = &record.spec.name;
        match record.status {
            JobStatus::Deploying | JobStatus::Running => {
                return match ingest_address(record, state) {
                    Some(address) => ReaderPlace::At(address),
                    None => ReaderPlace::NotNow(format!("{job} ({name}) runs on a node that takes no HTTP")),
                };
            }
            JobStatus::Created | JobStatus::Restarting => {
                return ReaderPlace::NotNow(format!("{job} ({name}) is {} and takes records soon", record.status));
            }
            JobStatus::Failed => {
                // The row that could not be evaluated would fail the job again.
                let is_of_row = record.failure.as_ref().is_some_and(|failure| failure.message.contains("'error.path'"));
                let error_path = if is_of_row { " --set error.path=DIR" } else { "" };
                failed =
                    Some(format!("{job} ({name}) has failed: thalweg job restart {job}{error_path} starts it again"));
            }
            JobStatus::Committing | JobStatus::Finished | JobStatus::Cancelled | JobStatus::Stopped => {}
        }
    }
    failed.map_or(ReaderPlace::Nowhere, ReaderPlace::NotNow)
}

/// Where a table's newest rows can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TablePlace {
    /// Of these nodes, each with its gRPC address, by slice.
    At { job: JobId, attempt: Attempt, slices: Vec<(NodeId, String)> },
    /// Nowhere at the moment, with the reason.
    NotNow(String),
    /// Nowhere: no job has it. These are the tables that jobs have.
    Nowhere(Vec<String>),
}

/// Finds the parts of a table that is asked.
pub(crate) fn parts_of(table: &str, state: &ClusterState) -> TablePlace {
    let asked = format!("{ASKED_BELOW}{table}");
    let has = |(_, record): &(&JobId, &Arc<JobRecord>)| record.spec.ingest_paths.contains(&asked);
    let mut failed = None;
    for (job, record) in state.jobs().iter().filter(has) {
        let name = &record.spec.name;
        match record.status {
            JobStatus::Deploying | JobStatus::Running => {
                let Some(attempt) = &record.attempt else { continue };
                let address = |node: &NodeId| state.node(*node).map(|known| known.registration.address.clone());
                let slices = attempt.plan.assignment.slices.iter();
                let slices = slices.map(|node| (*node, address(node).unwrap_or_default())).collect();
                return TablePlace::At { job: *job, attempt: attempt.attempt, slices };
            }
            JobStatus::Created | JobStatus::Restarting => {
                return TablePlace::NotNow(format!("{job} ({name}) is {} and answers soon", record.status));
            }
            JobStatus::Failed => {
                failed = Some(format!("{job} ({name}) has failed: thalweg job restart {job} starts it again"));
            }
            JobStatus::Committing | JobStatus::Finished | JobStatus::Cancelled | JobStatus::Stopped => {}
        }
    }
    let live = state.jobs().values().filter(|record| !record.status.is_terminal());
    let paths = live.flat_map(|record| &record.spec.ingest_paths);
    let others = paths.filter_map(|path| path.strip_prefix(ASKED_BELOW)).filter(|other| *other != table);
    let tables = || others.map(str::to_owned).collect();
    failed.map_or_else(|| TablePlace::Nowhere(tables()), TablePlace::NotNow)
}

/// The URLs at which a job's tables take records now.
pub(crate) fn ingest_urls(record: &JobRecord, state: &ClusterState) -> Vec<String> {
    let Some(address) = ingest_address(record, state) else { return Vec::new() };
    let taking = record.spec.ingest_paths.iter().filter(|path| !path.starts_with(ASKED_BELOW));
    taking.map(|path| format!("http://{address}/{path}")).collect()
}

/// The URLs at which a job's tables are asked for their newest rows now. Every node that has an HTTP address answers for all of a
/// table, so some of them are named.
pub(crate) fn asked_urls(record: &JobRecord, state: &ClusterState) -> Vec<String> {
    let tables = record.spec.ingest_paths.iter().filter_map(|path| path.strip_prefix(ASKED_BELOW));
    if !is_live(record) {
        return Vec::new();
    }
    let addresses = addresses(state);
    let of_table = |table| {
        let path = format!("{ASKED_BELOW}{}", in_url(table));
        addresses.iter().map(move |address| format!("http://{address}{path}"))
    };
    tables.flat_map(of_table).collect()
}

/// HTTP addresses of some nodes.
fn addresses(state: &ClusterState) -> Vec<&str> {
    let alive = state.nodes().values().filter(|node| node.state == NodeState::Alive);
    let addresses = alive.map(|node| node.registration.http_address.as_str()).filter(|address| !address.is_empty());
    addresses.take(ADDRESSES_TOLD).collect()
}

/// A name as a part of a URL's path.
fn in_url(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn is_live(record: &JobRecord) -> bool {
    matches!(record.status, JobStatus::Deploying | JobStatus::Running)
}

fn ingest_address(record: &JobRecord, state: &ClusterState) -> Option<String> {
    let first = *record.attempt.as_ref().filter(|_| is_live(record))?.plan.assignment.slices.first()?;
    let address = &state.node(first)?.registration.http_address;
    (!address.is_empty()).then(|| address.clone())
}

/// Everything about a job.
pub(crate) fn details(
    job: JobId,
    record: &JobRecord,
    graph: &JobGraph,
    plan: String,
    memory: &JobMemory,
) -> JobOverview {
    let subtasks = record.attempt.as_ref().map(|attempt| subtasks(record, attempt, graph, memory));
    let overview = summary(job, record);
    let failure = match (overview.failure, publishing(record, memory)) {
        // Keep the cause of the end readable while an earlier checkpoint of the job is still being published.
        (Some(cause), Some(now)) if record.status.is_terminal() => {
            Some(Failure { message: format!("{}; {}", cause.message, now.message), ..cause })
        }
        (cause, now) => now.or(cause),
    };
    let subtasks = subtasks.unwrap_or_default();
    let checkpoints = CheckpointSummary { last_complete: overview.checkpoints.last_complete, ..memory.summary.clone() };
    JobOverview { subtasks, sql: record.spec.sql.clone(), plan, failure, checkpoints, ..overview }
}

/// The reason why a job's output is not published yet, while publishing fails.
fn publishing(record: &JobRecord, memory: &JobMemory) -> Option<Failure> {
    let publishes = record.status == JobStatus::Committing || record.uncommitted().is_some();
    let is_current = publishes && memory.attempt == record.last_attempt();
    let last = memory.commit_failure.as_ref().filter(|_| is_current)?;
    let message = format!("publishing fails and is tried again: {}", last.message);
    Some(Failure { kind: last.kind, message })
}

fn subtasks(record: &JobRecord, attempt: &AttemptRecord, graph: &JobGraph, memory: &JobMemory) -> Vec<SubtaskOverview> {
    let plan = ChainPlan::of(graph);
    let assignment = &attempt.plan.assignment;
    let nothing = JobMemory::default();
    let memory = if memory.attempt == attempt.attempt { memory } else { &nothing };
    let overview = |subtask: SubtaskId| {
        let chain = plan.chains.iter().find(|chain| chain.id == subtask.chain)?;
        let node = assignment.node_of(subtask)?;
        Some(SubtaskOverview {
            name: chain.name(graph),
            chain: subtask.chain.0,
            index: subtask.index,
            node: node.0,
            state: state_word(record.status, subtask, node, memory).to_owned(),
            is_source: has(graph, chain, |kind| kind.as_source().is_some()),
            is_sink: has(graph, chain, OperatorKind::is_end),
            metrics: memory.metrics.get(&subtask).copied().unwrap_or(unmeasured()),
        })
    };
    plan.subtasks(assignment.parallelism()).filter_map(overview).collect()
}

fn unmeasured() -> SubtaskMetrics {
    SubtaskMetrics { watermark: i64::MIN, ..SubtaskMetrics::default() }
}

fn has(graph: &JobGraph, chain: &Chain, wanted: impl Fn(&OperatorKind) -> bool) -> bool {
    chain.operators.iter().any(|operator| wanted(&graph.operator(*operator).kind))
}

fn state_word(status: JobStatus, subtask: SubtaskId, node: NodeId, memory: &JobMemory) -> &'static str {
    match status {
        _ if memory.finished.contains(&subtask) => "finished",
        JobStatus::Deploying if memory.ready.contains(&node) => "ready",
        JobStatus::Deploying => "deploying",
        JobStatus::Running => "running",
        JobStatus::Committing | JobStatus::Finished | JobStatus::Stopped => "finished",
        JobStatus::Restarting | JobStatus::Failed => "failed",
        JobStatus::Created | JobStatus::Cancelled => "unknown",
    }
}

#[cfg(test)]
mod tests;
