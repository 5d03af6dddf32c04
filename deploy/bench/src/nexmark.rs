//! Runs Nexmark queries on this engine, in this process. Measures events per second, processor time per event, peak
//! memory, and the records that the query's sources gave.
//!
//! Each query runs in a process of its own, so that its memory is measured alone. All events count, whether or not a
//! query reads their kind, as in other harnesses of Nexmark.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use thalweg::{
    embedded::{EmbeddedCluster, EmbeddedOptions},
    progress::Totals,
    seams::cores,
};
use thalweg_client::SubmitOptions;
use thalweg_types::{JobStatus, job::JobOverview};
use tokio::process::Command;

use crate::{
    measure::{self, Measured},
    queries::{self, Events, Input, QUERIES},
};

const BLACKHOLE: &str = "'connector' = 'blackhole'";

/// What is run, and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct NexmarkArgs {
    /// Which queries: rows (the source alone), q0, q1, q2, q5, q7, q8, tumble, pairs (large state); all by default.
    pub(crate) queries: Vec<String>,
    /// Where events come from.
    #[arg(long, value_enum, default_value = "generator")]
    pub(crate) input: Input,
    /// How many events of all kinds.
    #[arg(long, default_value_t = 10_000_000)]
    pub(crate) events: u64,
    /// Events per second of event time.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) rate: u64,
    /// Slices of the job; the cores by default.
    #[arg(long)]
    pub(crate) parallelism: Option<u32>,
    /// How often the job's state is checkpointed, or off; 1 s by default.
    #[arg(long, value_name = "DURATION|off")]
    pub(crate) checkpoint_interval: Option<String>,
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 1)]
    pub(crate) nodes: u32,
    /// Where generated files are kept between runs.
    #[arg(long, default_value = "target/bench-input")]
    pub(crate) directory: PathBuf,
    /// How often each query is run; the run in the middle by rate is reported.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) repeat: u32,
    /// Print JSON lines only.
    #[arg(long)]
    pub(crate) json: bool,
    /// Run the one query in this process.
    #[arg(long, hide = true)]
    pub(crate) alone: bool,
}

/// Runs the queries and prints their measurements.
pub(crate) async fn run_all(args: &NexmarkArgs) -> Result<()> {
    if args.alone {
        let query = args.queries.first().context("--alone needs a query")?;
        println!("{}", serde_json::to_string(&measure(args, query).await?)?);
        return Ok(());
    }
    make_files(args).await?;
    let all = || QUERIES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let wanted: Vec<String> = if args.queries.is_empty() { all() } else { args.queries.clone() };
    if !args.json {
        println!(
            "{:<8}{:<11}{:>13}{:>14}{:>10}{:>14}{:>12}{:>14}",
            "query", "input", "events", "records read", "seconds", "events/s", "ns/event", "peak RSS MiB"
        );
    }
    for query in &wanted {
        let measured = median(args, query).await?;
        if args.json {
            println!("{}", serde_json::to_string(&measured)?);
        } else {
            print_row(&measured);
        }
    }
    Ok(())
}

fn print_row(row: &Measured) {
    println!(
        "{:<8}{:<11}{:>13}{:>14}{:>10.2}{:>14.0}{:>12.1}{:>14.1}",
        row.query,
        row.input,
        row.events,
        row.records_read,
        row.seconds,
        row.events_per_second,
        row.cpu_ns_per_event,
        row.peak_rss_mib
    );
}

/// Runs a query `repeat` times. Returns the run with the median rate.
async fn median(args: &NexmarkArgs, query: &str) -> Result<Measured> {
    let mut runs = Vec::new();
    for _ in 0..args.repeat {
        runs.push(run_alone(args, query).await?);
    }
    runs.sort_by(|a, b| a.events_per_second.total_cmp(&b.events_per_second));
    Ok(runs.swap_remove(runs.len() / 2))
}

/// Runs one query in a process of its own.
pub(crate) async fn run_alone(args: &NexmarkArgs, query: &str) -> Result<Measured> {
    let mut command = Command::new(std::env::current_exe().context("this program cannot be found")?);
    command.args(["--alone", query, "--input", args.input.word()]);
    command.args(["--events", &args.events.to_string(), "--rate", &args.rate.to_string()]);
    command.args(["--nodes", &args.nodes.to_string()]).arg("--directory").arg(&args.directory);
    if let Some(parallelism) = args.parallelism {
        command.args(["--parallelism", &parallelism.to_string()]);
    }
    if let Some(interval) = &args.checkpoint_interval {
        command.args(["--checkpoint-interval", interval]);
    }
    let output = command.kill_on_drop(true).output().await.context("could not start a process")?;
    ensure!(output.status.success(), "{query} failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("the measurements cannot be read")
}

/// Writes the events to files, once for each number of events and rate.
pub(crate) async fn make_files(args: &NexmarkArgs) -> Result<()> {
    let directory = directory(args);
    if args.input == Input::Generator || directory.exists() {
        return Ok(());
    }
    eprintln!("writing {} events to {}", args.events, directory.display());
    let unfinished = directory.with_extension("unfinished");
    let sink =
        format!("'connector' = 'filesystem', 'path' = '{}', 'format' = '{}'", unfinished.display(), args.input.word());
    let events = Events { input: Input::Generator, count: args.events, rate: args.rate, directory: Path::new("") };
    // One slice writes one file, with its events in order.
    run(queries::script("rows", events, &sink)?, (1, 1), None).await?;
    fs::rename(&unfinished, &directory).context("could not put the files in their place")
}

fn directory(args: &NexmarkArgs) -> PathBuf {
    args.directory.join(format!("nexmark-{}-{}.{}", args.events, args.rate, args.input.word()))
}

async fn measure(args: &NexmarkArgs, query: &str) -> Result<Measured> {
    let directory = directory(args);
    let events = Events { input: args.input, count: args.events, rate: args.rate, directory: &directory };
    let script = queries::script(query, events, BLACKHOLE)?;
    let parallelism = args.parallelism.unwrap_or_else(|| u32::try_from(cores()).unwrap_or(1));
    let before = measure::cpu_time()?;
    let (seconds, ended) = run(script, (parallelism, args.nodes), args.checkpoint_interval.clone()).await?;
    let totals = Totals::of(&ended);
    let cpu = measure::cpu_time()?.saturating_sub(before);
    let count = args.events as f64;
    Ok(Measured {
        query: query.to_owned(),
        input: args.input.word().to_owned(),
        events: args.events,
        records_read: totals.records_in,
        rows_out: totals.records_out,
        seconds,
        events_per_second: count / seconds,
        cpu_ns_per_event: cpu.as_secs_f64() * 1e9 / count,
        peak_rss_mib: measure::peak_rss_mib()?,
        checkpoints: ended.checkpoints.last_complete.map_or(0, |last| last.0),
    })
}

/// Runs a script to its end. Returns the seconds since its submission, and the job.
pub(crate) async fn run(
    sql: String,
    (parallelism, nodes): (u32, u32),
    interval: Option<String>,
) -> Result<(f64, JobOverview)> {
    let options = EmbeddedOptions { nodes, slots: parallelism, ..EmbeddedOptions::default() };
    let cluster = EmbeddedCluster::start(options).await?;
    let clock = Arc::clone(&cluster.seams().clock);
    let started = clock.monotonic();
    let settings: BTreeMap<_, _> =
        interval.map(|interval| ("checkpoint.interval".to_owned(), interval)).into_iter().collect();
    let submit = SubmitOptions { sql, parallelism: Some(parallelism), settings, ..SubmitOptions::default() };
    let submitted = cluster.client().submit(submit).await?;
    let job = cluster.client().wait(submitted.job).await?;
    let seconds = (clock.monotonic() - started).as_secs_f64();
    cluster.shutdown().await;
    let failure = job.failure.as_ref().map(|failure| failure.message.clone()).unwrap_or_default();
    ensure!(job.status == JobStatus::Finished, "the job has {}: {failure}", job.status);
    Ok((seconds, job))
}
