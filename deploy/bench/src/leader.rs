//! Measures what a job notices when the leading coordinator is killed: the longest pauses of records at sinks and of
//! committed output, before and after.
//!
//! Records go to a `print` sink, whose lines are seen here as the nodes write them. Output is committed when a new
//! part file becomes visible.

use std::{collections::HashSet, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use thalweg_types::{JobId, JobStatus, MemberId};

use crate::{
    cluster::{ClusterArgs, Processes, visible_files},
    figures::{Report, Row, longest_gap, millis},
    workload::WorkloadArgs,
};

const LOOK_EVERY: Duration = Duration::from_millis(5);

#[derive(Debug, Args)]
pub(crate) struct LeaderArgs {
    #[command(flatten)]
    workload: WorkloadArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Coordinators of the cluster.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(3..=7))]
    coordinators: u32,
    /// How long the job is watched before each kill, and after it.
    #[arg(long, default_value = "10 s", value_parser = crate::state::parse_interval)]
    watch: Duration,
    /// How many kills.
    #[arg(long, default_value_t = 3)]
    repeat: u32,
    /// Print JSON lines only.
    #[arg(long)]
    json: bool,
}

/// The effects of one kill, in milliseconds.
#[derive(Debug, Serialize)]
struct Change {
    /// From the kill until a coordinator knew the next leader.
    elected_ms: f64,
    /// The longest time without a record at a sink.
    records_before_ms: f64,
    records_after_ms: f64,
    /// The longest time without a new visible file.
    commits_before_ms: f64,
    commits_after_ms: f64,
    /// Whether the job's attempt survived.
    is_same_attempt: bool,
}

impl Row for Change {
    const TITLES: &'static [&'static str] =
        &["elected ms", "records: ms before", "after", "commits: ms before", "after", "same attempt"];

    fn cells(&self) -> Vec<String> {
        let times = [
            self.elected_ms,
            self.records_before_ms,
            self.records_after_ms,
            self.commits_before_ms,
            self.commits_after_ms,
        ];
        times.map(|time| format!("{time:.0}")).into_iter().chain([self.is_same_attempt.to_string()]).collect()
    }
}

/// Kills one leader after another, and prints a row for each.
pub(crate) async fn run(args: &LeaderArgs) -> Result<()> {
    let mut cluster = Processes::start(&args.cluster, args.coordinators as usize).await?;
    let job = cluster.fill(&args.workload, true).await?;
    let mut report = Report::new(args.json);
    for _ in 0..args.repeat {
        let (killed, change) = kill(&mut cluster, job, args.watch).await?;
        report.row(&change)?;
        cluster.start_coordinator(killed)?;
    }
    Ok(())
}

async fn kill(cluster: &mut Processes, job: JobId, watch: Duration) -> Result<(MemberId, Change)> {
    let before = cluster.job(job).await?;
    ensure!(before.status == JobStatus::Running, "the job is {}: {:?}", before.status, before.failure);
    let mut commits = Commits::of(cluster);
    let start = cluster.now();
    commits.watch(cluster, start + watch).await;
    let leader = cluster.client().cluster().await?.leader.context("there is no leader")?;
    let killed = cluster.kill_coordinator(leader).await?;
    let (elected, ()) = tokio::join!(next_leader(cluster, leader), commits.watch(cluster, killed + watch));
    let (lines, end) = (cluster.lines(), killed + watch);
    let gaps = |moments: &[Duration]| (longest_gap(moments, start, killed), longest_gap(moments, killed, end));
    let ((records_before, records_after), (commits_before, commits_after)) = (gaps(&lines), gaps(&commits.moments));
    let change = Change {
        elected_ms: millis(elected?.saturating_sub(killed)),
        records_before_ms: millis(records_before),
        records_after_ms: millis(records_after),
        commits_before_ms: millis(commits_before),
        commits_after_ms: millis(commits_after),
        is_same_attempt: cluster.job(job).await?.attempt == before.attempt,
    };
    Ok((leader, change))
}

/// Waits until another leader is known. Returns the time.
async fn next_leader(cluster: &Processes, killed: MemberId) -> Result<Duration> {
    loop {
        let seen = cluster.client().cluster().await?;
        if seen.leader.is_some_and(|leader| leader != killed) {
            return Ok(cluster.now());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The times at which new part files became visible.
struct Commits {
    known: HashSet<String>,
    moments: Vec<Duration>,
}

impl Commits {
    fn of(cluster: &Processes) -> Self {
        let known = names(&cluster.files()).collect();
        Self { known, moments: Vec::new() }
    }

    /// Watches until the time `until`.
    async fn watch(&mut self, cluster: &Processes, until: Duration) {
        while cluster.now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
            let before = self.known.len();
            self.known.extend(names(&cluster.files()));
            if self.known.len() > before {
                self.moments.push(cluster.now());
            }
        }
    }
}

fn names(directory: &Path) -> impl Iterator<Item = String> {
    visible_files(directory).into_iter().map(|(name, _)| name)
}
