//! Rows into files of few and of many partitions: throughput, memory, and how many files of which size come of it.
//!
//! Each run is a process of its own, which writes random rows into partitions by a number.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use thalweg::seams::cores;
use tokio::process::Command;

use crate::{
    figures::{Report, Row, median},
    measure::{cpu_time, peak_rss_mib},
    nexmark,
};

#[derive(Debug, Clone, Args)]
pub(crate) struct DeliveryArgs {
    /// Into how many partitions rows go; several runs.
    #[arg(default_values_t = [10, 1000, 10_000])]
    partitions: Vec<u64>,
    /// How many rows.
    #[arg(long, default_value_t = 5_000_000)]
    rows: u64,
    #[arg(long, default_value = "parquet")]
    format: String,
    /// Further options of the table, as in its WITH clause: 'auto-compaction' = 'true'.
    #[arg(long, default_value = "")]
    with: String,
    /// Slices of the job; the cores by default.
    #[arg(long)]
    parallelism: Option<u32>,
    /// How often checkpoints are taken.
    #[arg(long, default_value = "10 s")]
    interval: String,
    /// Where the files are written, for a while; the system's place for temporary files by default.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Print JSON lines only.
    #[arg(long)]
    json: bool,
    /// Run with the one number of partitions in this process.
    #[arg(long, hide = true)]
    alone: bool,
}

/// What one run has written.
#[derive(Debug, Serialize, Deserialize)]
struct Delivered {
    partitions: u64,
    rows: u64,
    seconds: f64,
    rows_per_second: f64,
    cpu_ns_per_row: f64,
    peak_rss_mib: f64,
    checkpoints: u64,
    files: usize,
    /// Of the files, in KiB.
    median_kib: f64,
    smallest_kib: f64,
    largest_kib: f64,
}

impl Row for Delivered {
    const TITLES: &'static [&'static str] = &[
        "partitions",
        "rows",
        "seconds",
        "rows/s",
        "ns/row",
        "peak RSS MiB",
        "checkpoints",
        "files",
        "median KiB",
        "smallest",
        "largest",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.partitions.to_string(),
            self.rows.to_string(),
            format!("{:.1}", self.seconds),
            format!("{:.0}", self.rows_per_second),
            format!("{:.0}", self.cpu_ns_per_row),
            format!("{:.0}", self.peak_rss_mib),
            self.checkpoints.to_string(),
            self.files.to_string(),
            format!("{:.1}", self.median_kib),
            format!("{:.1}", self.smallest_kib),
            format!("{:.1}", self.largest_kib),
        ]
    }
}

/// Measures each number of partitions, and prints a row for it.
pub(crate) async fn run(args: &DeliveryArgs) -> Result<()> {
    if args.alone {
        let partitions = args.partitions.first().context("--alone needs a number of partitions")?;
        println!("{}", serde_json::to_string(&measure(args, *partitions).await?)?);
        return Ok(());
    }
    let mut report = Report::new(args.json);
    for partitions in &args.partitions {
        report.row(&run_alone(args, *partitions).await?)?;
    }
    Ok(())
}

/// Runs in a process of its own, whose memory is measured.
async fn run_alone(args: &DeliveryArgs, partitions: u64) -> Result<Delivered> {
    let mut command = Command::new(std::env::current_exe().context("this program cannot be found")?);
    command.args(["delivery", "--alone", &partitions.to_string(), "--rows", &args.rows.to_string()]);
    command.args(["--format", &args.format, "--with", &args.with, "--interval", &args.interval]);
    if let Some(parallelism) = args.parallelism {
        command.args(["--parallelism", &parallelism.to_string()]);
    }
    if let Some(directory) = &args.directory {
        command.arg("--directory").arg(directory);
    }
    let output = command.kill_on_drop(true).output().await.context("could not start a process")?;
    ensure!(output.status.success(), "{partitions} failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("the measurements cannot be read")
}

async fn measure(args: &DeliveryArgs, partitions: u64) -> Result<Delivered> {
    let place = match &args.directory {
        Some(within) => TempDir::with_prefix_in("thalweg-bench-", within),
        None => TempDir::with_prefix("thalweg-bench-"),
    };
    let place = place.context("could not create a temporary directory")?;
    let files = place.path().join("out");
    let parallelism = args.parallelism.unwrap_or_else(|| u32::try_from(cores()).unwrap_or(1));
    let before = cpu_time()?;
    let (seconds, job) =
        nexmark::run(script(args, partitions, &files), (parallelism, 1), Some(args.interval.clone())).await?;
    let cpu = cpu_time()?.saturating_sub(before);
    let mut sizes = Vec::new();
    add_sizes(&files, &mut sizes)?;
    let count = args.rows as f64;
    Ok(Delivered {
        partitions,
        rows: args.rows,
        seconds,
        rows_per_second: count / seconds,
        cpu_ns_per_row: cpu.as_secs_f64() * 1e9 / count,
        peak_rss_mib: peak_rss_mib()?,
        checkpoints: job.checkpoints.last_complete.map_or(0, |last| last.0),
        files: sizes.len(),
        smallest_kib: sizes.iter().copied().fold(f64::INFINITY, f64::min),
        largest_kib: sizes.iter().copied().fold(0.0, f64::max),
        median_kib: median(sizes),
    })
}

fn script(args: &DeliveryArgs, partitions: u64, files: &Path) -> String {
    let (rows, last) = (args.rows, partitions.saturating_sub(1));
    let (format, path) = (&args.format, files.display());
    let with = if args.with.is_empty() { String::new() } else { format!(", {}", args.with) };
    format!(
        "CREATE TABLE clicks (customer BIGINT, product BIGINT, price BIGINT, page STRING)\n\
         WITH ('connector' = 'datagen', 'number-of-rows' = '{rows}', 'fields.customer.min' = '0', 'fields.customer.max' = '{last}',\n\
         'fields.page.length' = '40');\n\
         CREATE TABLE delivered (product BIGINT, price BIGINT, page STRING, customer BIGINT) PARTITIONED BY (customer)\n\
         WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = '{format}'{with});\n\
         INSERT INTO delivered SELECT product, price, page, customer FROM clicks;"
    )
}

/// The sizes in KiB of the visible files below a directory.
fn add_sizes(directory: &Path, sizes: &mut Vec<f64>) -> Result<()> {
    for entry in fs::read_dir(directory).context("nothing was written")? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(['.', '_']) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            add_sizes(&entry.path(), sizes)?;
        } else {
            sizes.push(entry.metadata()?.len() as f64 / 1024.0);
        }
    }
    Ok(())
}
