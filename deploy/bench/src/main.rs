//! Nexmark against this engine, in this process: events per second, processor time per event, peak memory, and how many
//! records the query's sources gave.
//!
//! ```text
//! cargo run --release -p thalweg-bench -- --events 20000000 --input generator q0 q5
//! ```
//!
//! Each query runs in a process of its own, so that its memory is its own. All events are counted, whether or not a query
//! wants their kind, as Nexmark's other harnesses do.

mod measure;
mod queries;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use thalweg::{
    embedded::{EmbeddedCluster, EmbeddedOptions},
    progress::Totals,
    seams::cores,
};
use thalweg_client::SubmitOptions;
use thalweg_types::JobStatus;

use crate::{
    measure::Measured,
    queries::{Events, Input, QUERIES},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BLACKHOLE: &str = "'connector' = 'blackhole'";

/// Runs Nexmark queries and prints what they took.
#[derive(Debug, Parser)]
struct Args {
    /// Which queries: rows (the source alone), q0, q1, q2, q5, q7, q8, tumble; all by default.
    queries: Vec<String>,
    /// Where events come from.
    #[arg(long, value_enum, default_value = "generator")]
    input: Input,
    /// How many events of all kinds.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Events per second of event time.
    #[arg(long, default_value_t = 100_000)]
    rate: u64,
    /// Slices of the job; the cores by default.
    #[arg(long)]
    parallelism: Option<u32>,
    /// Nodes of the cluster.
    #[arg(long, default_value_t = 1)]
    nodes: u32,
    /// Where generated files are kept between runs.
    #[arg(long, default_value = "target/bench-input")]
    directory: PathBuf,
    /// How often each query is run; the run in the middle by rate is reported.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    repeat: u32,
    /// Print JSON lines only.
    #[arg(long)]
    json: bool,
    /// Run the one query in this process.
    #[arg(long, hide = true)]
    alone: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("could not install the TLS provider"))?;
    if args.alone {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let query = args.queries.first().context("--alone needs a query")?;
        println!("{}", serde_json::to_string(&runtime.block_on(measure(&args, query))?)?);
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(make_files(&args))?;
    drop(runtime);
    let all = || QUERIES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let wanted: Vec<String> = if args.queries.is_empty() { all() } else { args.queries.clone() };
    if !args.json {
        println!(
            "{:<8}{:<11}{:>13}{:>14}{:>10}{:>14}{:>12}{:>14}",
            "query", "input", "events", "records read", "seconds", "events/s", "ns/event", "peak RSS MiB"
        );
    }
    for query in &wanted {
        let measured = median(&args, query)?;
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

/// The run in the middle.
fn median(args: &Args, query: &str) -> Result<Measured> {
    let mut runs = (0..args.repeat).map(|_| run_alone(args, query)).collect::<Result<Vec<_>>>()?;
    runs.sort_by(|a, b| a.events_per_second.total_cmp(&b.events_per_second));
    Ok(runs.swap_remove(runs.len() / 2))
}

/// One query in a process of its own.
fn run_alone(args: &Args, query: &str) -> Result<Measured> {
    let mut command = Command::new(std::env::current_exe().context("this program cannot be found")?);
    command.args(["--alone", query, "--input", args.input.word()]);
    command.args(["--events", &args.events.to_string(), "--rate", &args.rate.to_string()]);
    command.args(["--nodes", &args.nodes.to_string()]).arg("--directory").arg(&args.directory);
    if let Some(parallelism) = args.parallelism {
        command.args(["--parallelism", &parallelism.to_string()]);
    }
    let output = command.output().context("could not start a process")?;
    ensure!(output.status.success(), "{query} failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("the measurements cannot be read")
}

/// Writes the events to files, once per number of events.
async fn make_files(args: &Args) -> Result<()> {
    let directory = directory(args);
    if args.input == Input::Generator || directory.exists() {
        return Ok(());
    }
    eprintln!("writing {} events to {}", args.events, directory.display());
    let unfinished = directory.with_extension("unfinished");
    let sink =
        format!("'connector' = 'filesystem', 'path' = '{}', 'format' = '{}'", unfinished.display(), args.input.word());
    let events = Events { input: Input::Generator, count: args.events, rate: args.rate, directory: Path::new("") };
    // One slice writes one file, whose events are in order.
    run(queries::script("rows", events, &sink)?, 1, 1).await?;
    fs::rename(&unfinished, &directory).context("could not put the files in their place")
}

fn directory(args: &Args) -> PathBuf {
    args.directory.join(format!("nexmark-{}-{}.{}", args.events, args.rate, args.input.word()))
}

async fn measure(args: &Args, query: &str) -> Result<Measured> {
    let directory = directory(args);
    let events = Events { input: args.input, count: args.events, rate: args.rate, directory: &directory };
    let script = queries::script(query, events, BLACKHOLE)?;
    let parallelism = args.parallelism.unwrap_or_else(|| u32::try_from(cores()).unwrap_or(1));
    let before = measure::cpu_time()?;
    let (seconds, totals) = run(script, parallelism, args.nodes).await?;
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
    })
}

/// Runs a script to its end; gives the seconds from its submission on, and what was counted.
async fn run(sql: String, parallelism: u32, nodes: u32) -> Result<(f64, Totals)> {
    let options = EmbeddedOptions { nodes, slots: parallelism, ..EmbeddedOptions::default() };
    let cluster = EmbeddedCluster::start(options).await?;
    let clock = Arc::clone(&cluster.seams().clock);
    let started = clock.monotonic();
    let submit = SubmitOptions { sql, parallelism: Some(parallelism), ..SubmitOptions::default() };
    let submitted = cluster.client().submit(submit).await?;
    let job = cluster.client().wait(submitted.job).await?;
    let seconds = (clock.monotonic() - started).as_secs_f64();
    cluster.shutdown().await;
    let failure = job.failure.as_ref().map(|failure| failure.message.clone()).unwrap_or_default();
    ensure!(job.status == JobStatus::Finished, "the job has {}: {failure}", job.status);
    Ok((seconds, Totals::of(&job)))
}
