//! Measures the time from SIGKILL of a node to the first new committed output. The job has a large state and runs in
//! a cluster of processes with a spare node.
//!
//! ```text
//! kill --detect--> attempt no longer runs --place--> next one is deployed --restore--> it runs --commit--> new file visible
//! ```
//!
//! New output is a file written by the next attempt: files that the killed attempt had prepared are published
//! earlier. Afterwards the node is started again as the next spare, so that several kills can be measured.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use thalweg_types::{CheckpointId, JobId, JobStatus, job::JobOverview};

use crate::{
    cluster::{ClusterArgs, Processes, visible_files},
    figures::{Report, Row, millis},
    workload::WorkloadArgs,
};

const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Checkpoints to wait for between two kills.
const CHECKPOINTS_BETWEEN: u64 = 5;

#[derive(Debug, Args)]
pub(crate) struct RecoveryArgs {
    #[command(flatten)]
    workload: WorkloadArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Coordinators of the cluster.
    #[arg(long, default_value_t = 1)]
    coordinators: usize,
    /// How many kills.
    #[arg(long, default_value_t = 3)]
    repeat: u32,
    /// Print JSON lines only.
    #[arg(long)]
    json: bool,
}

/// The effects of one kill, in milliseconds.
#[derive(Debug, Serialize)]
struct Recovery {
    keys: u64,
    /// State size in the last checkpoint before the kill.
    state_mib: f64,
    detect_ms: f64,
    place_ms: f64,
    restore_ms: f64,
    commit_ms: f64,
    all_ms: f64,
    /// The failure that ended the attempt.
    cause: String,
}

impl Row for Recovery {
    const TITLES: &'static [&'static str] =
        &["keys", "state MiB", "detect ms", "place ms", "restore ms", "commit ms", "all ms", "cause"];

    fn cells(&self) -> Vec<String> {
        let times = [self.detect_ms, self.place_ms, self.restore_ms, self.commit_ms, self.all_ms];
        let mut cells = vec![self.keys.to_string(), format!("{:.1}", self.state_mib)];
        cells.extend(times.map(|time| format!("{time:.0}")));
        cells.push(self.cause.clone());
        cells
    }
}

/// Kills one node after another, and prints a row for each.
pub(crate) async fn run(args: &RecoveryArgs) -> Result<()> {
    let mut cluster = Processes::start(&args.cluster, args.coordinators).await?;
    let job = cluster.fill(&args.workload, false).await?;
    let mut report = Report::new(args.json);
    for number in 0..args.repeat {
        let newest = cluster.wait_for_checkpoint(job, CheckpointId(0)).await?.checkpoint;
        let before = cluster.wait_for_checkpoint(job, CheckpointId(newest.0 + CHECKPOINTS_BETWEEN)).await?;
        let state_mib = before.cost.state_bytes as f64 / f64::from(1 << 20);
        let (killed, recovery) = kill(&mut cluster, job, number % args.workload.parallelism).await?;
        report.row(&Recovery { keys: args.workload.keys, state_mib, ..recovery })?;
        cluster.start_node(killed)?;
        cluster.wait_for_nodes().await?;
    }
    Ok(())
}

/// Kills the node that runs a slice. Returns its index.
async fn kill(cluster: &mut Processes, job: JobId, slice: u32) -> Result<(usize, Recovery)> {
    let running = cluster.job(job).await?;
    let holder = running.subtasks.iter().rfind(|subtask| subtask.index == slice).map_or(1, |subtask| subtask.node);
    let (killed, at) = cluster.kill_node(holder).await?;
    let is_next = |job: &JobOverview| job.attempt > running.attempt;
    let ended = |job: &JobOverview| job.status != JobStatus::Running || is_next(job);
    let (detected, _) = first(cluster, job, ended).await?;
    let (placed, now) = first(cluster, job, is_next).await?;
    let cause = now.failure.map(|failure| failure.message).unwrap_or_default();
    let (restored, _) = first(cluster, job, |job| is_next(job) && job.status == JobStatus::Running).await?;
    let files = cluster.files();
    let committed = cluster
        .wait_until("new output", async || {
            let is_new = visible_files(&files).iter().any(|(_, attempt)| *attempt > running.attempt.0);
            Ok(is_new.then(|| cluster.now()))
        })
        .await?;
    let span = |from: Duration, to: Duration| millis(to.saturating_sub(from));
    let recovery = Recovery {
        keys: 0,
        state_mib: 0.0,
        detect_ms: span(at, detected),
        place_ms: span(detected, placed),
        restore_ms: span(placed, restored),
        commit_ms: span(restored, committed),
        all_ms: span(at, committed),
        cause,
    };
    Ok((killed, recovery))
}

/// Waits until the job satisfies `is_so`. Returns the time, and the job.
async fn first(
    cluster: &Processes,
    job: JobId,
    is_so: impl Fn(&JobOverview) -> bool,
) -> Result<(Duration, JobOverview)> {
    loop {
        let seen = cluster.job(job).await?;
        if is_so(&seen) {
            return Ok((cluster.now(), seen));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
