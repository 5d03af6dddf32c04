//! Benchmarks: the throughput of Nexmark queries, of topics of Kafka and of streams of Kinesis, the cost of fault tolerance, and
//! the time of recovery.
//!
//! ```text
//! cargo run --release -p thalweg-bench -- --events 20000000 --input generator q0 q5
//! cargo run --release -p thalweg-bench -- overhead       # throughput with checkpoints against none
//! cargo run --release -p thalweg-bench -- state          # freezes, and bytes uploaded where few keys change
//! cargo run --release -p thalweg-bench -- recovery       # from a node's SIGKILL to new committed output
//! cargo run --release -p thalweg-bench -- leader         # pauses when the coordinators' leader is killed
//! cargo run --release -p thalweg-bench -- kafka          # topics of Kafka: throughput against librdkafka's own client, latency
//! cargo run --release -p thalweg-bench -- kafka flink    # the same script on the same topic by Apache Flink
//! cargo run --release -p thalweg-bench -- kinesis        # streams of Kinesis: processor time of a record against boto3
//! cargo run --release -p thalweg-bench -- delivery       # rows into files of 10, 1,000 and 10,000 partitions
//! cargo run --release -p thalweg-bench -- visible        # from a record's arrival to the visible file
//! ```
//!
//! Nothing is asserted: figures depend on what else the machine does, so variants are compared within one run.

mod cluster;
mod delivery;
mod figures;
mod kafka;
mod kinesis;
mod leader;
mod measure;
mod nexmark;
mod overhead;
mod queries;
mod recovery;
mod state;
mod visible;
mod workload;

use anyhow::Result;
use clap::{Parser, Subcommand};
use thalweg::signals::until_asked_to_end;

use crate::nexmark::NexmarkArgs;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs Nexmark queries, or a measurement of fault tolerance, and prints what they took.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    measurement: Option<Measurement>,
    #[command(flatten)]
    nexmark: NexmarkArgs,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// Throughput with checkpoints against none, in turns.
    Overhead(overhead::OverheadArgs),
    /// How long checkpoints of a large keyed state make a subtask stand still, and how much they upload.
    State(state::StateArgs),
    /// From a node's SIGKILL to the first new committed output, step by step, in a cluster of processes.
    Recovery(recovery::RecoveryArgs),
    /// How long records and commits pause when the coordinators' leader is killed, in a cluster of processes.
    Leader(leader::LeaderArgs),
    /// Topics of Kafka: records per second against librdkafka's own client or Apache Flink, latency of windows, and memory over time.
    Kafka(kafka::KafkaArgs),
    /// Streams of Kinesis at an emulator: records per second and processor time of a record, against boto3.
    Kinesis(kinesis::KinesisArgs),
    /// Rows into files of few and of many partitions: rows per second, memory, number and size of files.
    Delivery(delivery::DeliveryArgs),
    /// From a record's arrival to the file in which it is visible.
    Visible(visible::VisibleArgs),
}

fn main() -> Result<()> {
    let args = Args::parse();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("could not install the TLS provider"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // This future is dropped when the process is asked to end, and with it child processes and directories.
    let measured = runtime.block_on(async {
        tokio::select! {
            measured = measure(&args) => measured,
            asked = until_asked_to_end() => asked.map_err(anyhow::Error::from).and(Err(anyhow::anyhow!("interrupted"))),
        }
    });
    runtime.shutdown_background();
    measured
}

async fn measure(args: &Args) -> Result<()> {
    match &args.measurement {
        None => nexmark::run_all(&args.nexmark).await,
        Some(Measurement::Overhead(args)) => overhead::run(args).await,
        Some(Measurement::State(args)) => state::run(args).await,
        Some(Measurement::Recovery(args)) => recovery::run(args).await,
        Some(Measurement::Leader(args)) => leader::run(args).await,
        Some(Measurement::Kafka(args)) => kafka::run(args).await,
        Some(Measurement::Kinesis(args)) => kinesis::run(args).await,
        Some(Measurement::Delivery(args)) => delivery::run(args).await,
        Some(Measurement::Visible(args)) => visible::run(args).await,
    }
}
