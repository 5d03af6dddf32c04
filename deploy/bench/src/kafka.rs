//! Measures tables of Kafka.
//!
//! ```text
//! source    topic --> connector --> nothing             against librdkafka's own consumer on the same topic
//! sink      generator --> connector --> topic           against librdkafka's own producer
//! latency   topic --> windows of 1 s --> topic          from a window's end until a client reads its results
//! memory    the same over minutes                       the engine's resident memory
//! flink     topic --> copy, or windows --> topic        against Apache Flink on the same topic, with the same script
//! ```
//!
//! Each run is a process of its own, so its processor time and memory are its own. What is compared runs in turns, on the same
//! broker. The broker is somebody's (`--kafka`), or one that is started for the measurement and ended with it; its own processor
//! time is not counted. Topics are made for each measurement, and deleted however it ends.

mod broker;
mod client;
mod flink;
mod latency;
mod memory;
mod observed;
mod pipeline;
mod runs;
mod throughput;
mod variant;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use self::{broker::Broker, variant::Variant};

/// What is measured, and where.
#[derive(Debug, Clone, Args)]
pub(crate) struct KafkaArgs {
    /// What is measured.
    #[arg(value_enum, default_values_t = [Part::Source, Part::Sink, Part::Latency])]
    parts: Vec<Part>,
    /// A broker without authentication. If none is named, one is started.
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// The installation of Apache Kafka that is started: see deploy/kafka/apache-kafka.
    #[arg(long, env = "THALWEG_KAFKA", value_name = "DIRECTORY")]
    installation: Option<PathBuf>,
    /// Where Apache Flink is, or is installed if it is not there: see deploy/bench/flink/apache-flink.
    #[arg(long, env = "THALWEG_FLINK", value_name = "DIRECTORY")]
    flink: Option<PathBuf>,
    /// How many records are read or written in a run.
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
    /// How long a record's text is; records of JSON have a number beside it.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    bytes: u32,
    /// Partitions of each topic.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    partitions: u32,
    /// Slices of the job, whose work is counted per core of processor time.
    #[arg(long, default_value_t = 1)]
    parallelism: u32,
    /// How often checkpoints are taken, and transactions committed.
    #[arg(long, default_value = "1 s", value_parser = crate::state::parse_interval)]
    interval: Duration,
    /// How often each run is made, in turns with the others.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    repeat: u32,
    /// Latency: records per second, one measurement for each.
    #[arg(long, default_values_t = [10_000, 100_000], value_delimiter = ',')]
    rates: Vec<u32>,
    /// Latency: for how long results are taken, after as long a time to warm up.
    #[arg(long, default_value = "20 s", value_parser = crate::state::parse_interval)]
    watch: Duration,
    /// Memory: for how long, at the first of the rates.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Print JSON lines only.
    #[arg(long)]
    json: bool,
    /// Make one run in this process, with this topic.
    #[arg(long, hide = true, requires = "topic")]
    alone: Option<Variant>,
    #[arg(long, hide = true)]
    topic: Option<String>,
    #[arg(long, hide = true)]
    results: Option<String>,
}

/// A measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Part {
    Source,
    Sink,
    Latency,
    /// The engine's memory over `--minutes`.
    Memory,
    /// Throughput against Apache Flink, which is in `--flink` or will be installed there.
    Flink,
}

/// Measures all parts that are asked for.
pub(crate) async fn run(args: &KafkaArgs) -> Result<()> {
    if let Some(variant) = args.alone {
        return runs::alone(args, variant).await;
    }
    let started = match &args.kafka {
        Some(_) => None,
        None => Some(start_broker(args).await?),
    };
    let servers = args.kafka.clone().or_else(|| started.as_ref().map(|broker| broker.servers().to_owned()));
    let servers = servers.context("there is no broker")?;
    let mut parts = args.parts.clone();
    parts.sort();
    parts.dedup();
    for part in parts {
        match part {
            Part::Source => throughput::source(args, &servers).await?,
            Part::Sink => throughput::sink(args, &servers).await?,
            Part::Latency => latency::run(args, &servers).await?,
            Part::Memory => memory::run(args, &servers).await?,
            Part::Flink => flink::run(args, &servers).await?,
        }
    }
    Ok(())
}

async fn start_broker(args: &KafkaArgs) -> Result<Broker> {
    let missing = "there is no broker: name one by --kafka, or an installation of Apache Kafka by THALWEG_KAFKA, which \
                   deploy/kafka/apache-kafka makes";
    let installation = args.installation.as_deref().context(missing)?;
    Broker::start(installation).await.context("Apache Kafka does not start")
}
