//! Benchmarks: Nexmark's queries as windowed SQL, over the built-in generator or over files, on an embedded cluster.
//!
//! Each row of the table is one job in a process of its own (this program, started again with `measure`), so that memory
//! and CPU are the job's alone. A rate is events read over the time from submission to the job's end; start-up is not in it.

mod input;
mod measure;
mod queries;
mod report;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::{input::Input, report::Measured};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures throughput, CPU per event and memory of Nexmark's queries.
#[derive(Debug, Parser)]
#[command(name = "thalweg-bench", version)]
struct Command {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Runs one job in this process and prints its measurements as one line of JSON.
    Measure {
        /// The query.
        query: String,
        #[command(flatten)]
        job: JobOptions,
    },
}

/// What is run.
#[derive(Debug, Args)]
struct Options {
    /// The queries to run: generator, q0, q1, q2, q5, q7, q8, tumble.
    #[arg(long, value_delimiter = ',', default_value = "generator,q0,q1,q2,q5,q7,q8,tumble")]
    queries: Vec<String>,
    /// Where the events come from, each in turn.
    #[arg(long, value_delimiter = ',', default_value = "generator")]
    inputs: Vec<Input>,
    /// How often each is run; the median is reported.
    #[arg(long, default_value_t = 1)]
    repeat: usize,
    /// Prints a JSON array instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    job: JobOptions,
}

/// What is the same for every job of a run.
#[derive(Debug, Clone, Args)]
struct JobOptions {
    /// Events of all three kinds, at 100,000 per second of event time.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Slices of the job.
    #[arg(long, default_value_t = 2)]
    parallelism: u32,
    /// Nodes of the embedded cluster.
    #[arg(long, default_value_t = 1)]
    nodes: u32,
    /// Where the events of a single job come from.
    #[arg(long, default_value = "generator")]
    input: Input,
    /// Settings of the job, `key=value`.
    #[arg(long = "set")]
    settings: Vec<String>,
}

fn main() -> Result<()> {
    let command = Command::parse();
    match command.action {
        Some(Action::Measure { query, job }) => {
            let measured = measure::in_this_process(&query, &job)?;
            println!("{}", serde_json::to_string(&measured)?);
            Ok(())
        }
        None => run(&command.options),
    }
}

fn run(options: &Options) -> Result<()> {
    let mut rows: Vec<Measured> = Vec::new();
    for input in &options.inputs {
        let job = JobOptions { input: *input, ..options.job.clone() };
        input::prepare(*input, &job)?;
        for query in &options.queries {
            if query == "generator" && *input != Input::Generator {
                continue;
            }
            rows.push(measure::median(query, &job, options.repeat)?);
        }
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!("{}", report::table(&rows));
    }
    Ok(())
}
