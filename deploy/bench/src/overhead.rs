//! Compares throughput with and without checkpoints over the same queries. The two runs of a pair follow each other,
//! so that other load on the machine affects both.
//!
//! Each run is a process of its own. Its checkpoints go to a local directory by `file://`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::{
    figures::{Report, Row, median},
    measure::Measured,
    nexmark::{NexmarkArgs, make_files, run_alone},
    queries::Input,
};

#[derive(Debug, Args)]
pub(crate) struct OverheadArgs {
    /// Which queries: see the Nexmark benchmark.
    #[arg(default_values_t = ["q5", "q7", "pairs"].map(str::to_owned))]
    queries: Vec<String>,
    /// Where events come from.
    #[arg(long, value_enum, default_value = "generator")]
    input: Input,
    /// How many events of all kinds.
    #[arg(long, default_value_t = 20_000_000)]
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
    /// How often checkpoints are taken in every second run.
    #[arg(long, default_value = "1 s")]
    interval: String,
    /// How many pairs of runs.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    repeat: u32,
    /// Print JSON lines only.
    #[arg(long)]
    json: bool,
}

/// The result of all pairs of one query.
#[derive(Debug, Serialize)]
struct Overhead {
    query: String,
    pairs: u32,
    /// Medians over all runs of a kind.
    events_per_second_without: f64,
    events_per_second_with: f64,
    /// Ratios of throughput, with checkpoints to without: the median over all pairs, and the extremes.
    ratio: f64,
    ratio_lowest: f64,
    ratio_highest: f64,
    /// The median ratio of processor time per event.
    cpu_ratio: f64,
    /// Per run with checkpoints, as medians.
    checkpoints: f64,
    seconds: f64,
}

impl Row for Overhead {
    const TITLES: &'static [&'static str] = &[
        "query",
        "pairs",
        "ev/s without",
        "ev/s with",
        "ratio",
        "lowest",
        "highest",
        "cpu ratio",
        "checkpoints",
        "seconds",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.query.clone(),
            self.pairs.to_string(),
            format!("{:.0}", self.events_per_second_without),
            format!("{:.0}", self.events_per_second_with),
            format!("{:.3}", self.ratio),
            format!("{:.3}", self.ratio_lowest),
            format!("{:.3}", self.ratio_highest),
            format!("{:.3}", self.cpu_ratio),
            format!("{:.0}", self.checkpoints),
            format!("{:.1}", self.seconds),
        ]
    }
}

/// Measures each query, and prints a row for it.
pub(crate) async fn run(args: &OverheadArgs) -> Result<()> {
    let without = nexmark(args, "off");
    let with = nexmark(args, &args.interval);
    make_files(&without).await?;
    let mut report = Report::new(args.json);
    for query in &args.queries {
        let mut pairs = Vec::new();
        for _ in 0..args.repeat {
            pairs.push((run_alone(&without, query).await?, run_alone(&with, query).await?));
        }
        report.row(&overhead(query, args.repeat, &pairs))?;
    }
    Ok(())
}

fn nexmark(args: &OverheadArgs, interval: &str) -> NexmarkArgs {
    NexmarkArgs {
        queries: Vec::new(),
        input: args.input,
        events: args.events,
        rate: args.rate,
        parallelism: args.parallelism,
        checkpoint_interval: Some(interval.to_owned()),
        nodes: args.nodes,
        directory: args.directory.clone(),
        repeat: 1,
        json: true,
        alone: false,
    }
}

fn overhead(query: &str, count: u32, pairs: &[(Measured, Measured)]) -> Overhead {
    let of = |figure: &dyn Fn(&(Measured, Measured)) -> f64| pairs.iter().map(figure).collect::<Vec<f64>>();
    let ratios = of(&|(without, with)| with.events_per_second / without.events_per_second);
    Overhead {
        query: query.to_owned(),
        pairs: count,
        events_per_second_without: median(of(&|(without, _)| without.events_per_second)),
        events_per_second_with: median(of(&|(_, with)| with.events_per_second)),
        ratio_lowest: ratios.iter().copied().fold(f64::INFINITY, f64::min),
        ratio_highest: ratios.iter().copied().fold(0.0, f64::max),
        ratio: median(ratios),
        cpu_ratio: median(of(&|(without, with)| with.cpu_ns_per_event / without.cpu_ns_per_event)),
        checkpoints: median(of(&|(_, with)| with.checkpoints as f64)),
        seconds: median(of(&|(_, with)| with.seconds)),
    }
}
