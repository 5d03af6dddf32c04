//! Measures checkpoints of a large keyed state: how long a subtask is frozen, and how much is uploaded when few keys
//! have changed.
//!
//! The figures come from the cluster's record of each checkpoint (`thalweg job checkpoints`). Of several subtasks
//! these are the longest times and the sum of the bytes. The cluster consists of processes.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;
use thalweg_types::{
    CheckpointId, JobId,
    job::{CheckpointOverview, CheckpointState},
};

use crate::{
    cluster::{ClusterArgs, Processes},
    figures::{Report, Row, largest, mean, median},
    workload::{WorkloadArgs, is_filled},
};

const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    #[command(flatten)]
    workload: WorkloadArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How many checkpoints are measured once the state is full.
    #[arg(long, default_value_t = 70)]
    checkpoints: usize,
    /// Print JSON lines only.
    #[arg(long)]
    json: bool,
}

pub(crate) fn parse_interval(text: &str) -> Result<Duration, String> {
    thalweg_types::settings::parse_duration(text).ok_or_else(|| format!("'{text}' is not a duration"))
}

/// The result of all checkpoints of one phase.
#[derive(Debug, Serialize)]
struct Checkpoints {
    /// `fill` while keys are new, `steady` once all keys are known.
    phase: &'static str,
    keys: u64,
    checkpoints: usize,
    failed: usize,
    /// State size in the last checkpoint.
    state_mib: f64,
    freeze_ms_longest: f64,
    freeze_ms_median: f64,
    /// Records since the previous checkpoint, in percent of the keys.
    changed_percent: f64,
    /// Bytes uploaded per checkpoint, in percent of the state's size.
    upload_percent_mean: f64,
    upload_percent_median: f64,
    upload_percent_largest: f64,
    duration_ms_median: f64,
    duration_ms_longest: f64,
}

impl Row for Checkpoints {
    const TITLES: &'static [&'static str] = &[
        "phase",
        "keys",
        "checkpoints",
        "failed",
        "state MiB",
        "freeze ms longest",
        "median",
        "changed %",
        "uploaded % mean",
        "median",
        "largest",
        "took ms median",
        "longest",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.phase.to_owned(),
            self.keys.to_string(),
            self.checkpoints.to_string(),
            self.failed.to_string(),
            format!("{:.1}", self.state_mib),
            format!("{:.2}", self.freeze_ms_longest),
            format!("{:.2}", self.freeze_ms_median),
            format!("{:.2}", self.changed_percent),
            format!("{:.2}", self.upload_percent_mean),
            format!("{:.2}", self.upload_percent_median),
            format!("{:.2}", self.upload_percent_largest),
            format!("{:.0}", self.duration_ms_median),
            format!("{:.0}", self.duration_ms_longest),
        ]
    }
}

/// Fills the state, lets it change, and prints a row for each phase.
pub(crate) async fn run(args: &StateArgs) -> Result<()> {
    let cluster = Processes::start(&args.cluster, 1).await?;
    let job = cluster.submit(&args.workload, None).await?;
    let (fill, steady) = observe(args, &cluster, job).await?;
    let mut report = Report::new(args.json);
    report.row(&checkpoints("fill", args, &fill))?;
    report.row(&checkpoints("steady", args, &steady))
}

/// The checkpoints while the state grew, and those of the full state, each in order.
async fn observe(
    args: &StateArgs,
    cluster: &Processes,
    job: JobId,
) -> Result<(Vec<CheckpointOverview>, Vec<CheckpointOverview>)> {
    let mut seen: BTreeMap<CheckpointId, CheckpointOverview> = BTreeMap::new();
    let mut full_since: Option<CheckpointId> = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let ended = |checkpoint: &CheckpointOverview| checkpoint.state != CheckpointState::InProgress;
        let all = cluster.client().checkpoints(job).await?;
        let newest = all.iter().map(|checkpoint| checkpoint.checkpoint).max();
        seen.extend(all.into_iter().filter(ended).map(|checkpoint| (checkpoint.checkpoint, checkpoint)));
        if full_since.is_none() {
            let job = cluster.job(job).await?;
            ensure!(job.failures == 0, "an attempt has failed: {:?}", job.failure);
            // The next checkpoint may still hold new keys.
            full_since = newest.filter(|_| is_filled(&job)).map(|newest| CheckpointId(newest.0 + 2));
        }
        let Some(since) = full_since else { continue };
        let steady = seen.split_off(&since);
        if steady.len() >= args.checkpoints {
            return Ok((seen.into_values().collect(), steady.into_values().collect()));
        }
        seen.extend(steady);
    }
}

fn checkpoints(phase: &'static str, args: &StateArgs, all: &[CheckpointOverview]) -> Checkpoints {
    let complete: Vec<_> = all.iter().filter(|one| one.state == CheckpointState::Complete).collect();
    let of = |figure: &dyn Fn(&CheckpointOverview) -> f64| complete.iter().map(|one| figure(one)).collect::<Vec<f64>>();
    let freezes = of(&|one| one.cost.freeze_micros as f64 / 1000.0);
    let uploads = of(&|one| 100.0 * one.cost.uploaded_bytes as f64 / (one.cost.state_bytes as f64).max(1.0));
    let durations = of(&|one| one.duration_micros as f64 / 1000.0);
    let span = complete.last().zip(complete.first()).map_or(0, |(last, first)| last.begun_ms - first.begun_ms);
    let between = span as f64 / 1000.0 / (complete.len().max(2) - 1) as f64;
    Checkpoints {
        phase,
        keys: args.workload.keys,
        checkpoints: complete.len(),
        failed: all.len() - complete.len(),
        state_mib: complete.last().map_or(0.0, |last| last.cost.state_bytes as f64 / f64::from(1 << 20)),
        freeze_ms_longest: largest(freezes.iter().copied()),
        freeze_ms_median: median(freezes),
        changed_percent: 100.0 * between * args.workload.changes as f64 / args.workload.keys as f64,
        upload_percent_mean: mean(&uploads),
        upload_percent_largest: largest(uploads.iter().copied()),
        upload_percent_median: median(uploads),
        duration_ms_longest: largest(durations.iter().copied()),
        duration_ms_median: median(durations),
    }
}
