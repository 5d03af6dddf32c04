//! Measures streams of Kinesis against boto3, on the same emulator.
//!
//! ```text
//! write     generator --> connector --> stream    one record for each row, or rows packed as the KPL does
//! read      stream --> connector --> nothing      the same streams
//! ```
//!
//! Emulators are much slower than what is measured, so what counts is the processor time of a record. Each run is a process of
//! its own; what is compared runs in turns. That of making the rows alone is told, too.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thalweg::{
    embedded::{EmbeddedCluster, EmbeddedOptions},
    progress::Totals,
};
use thalweg_client::SubmitOptions;
use thalweg_kinesis::testing::emulator::{Emulator, Kind};
use tokio::process::Command;

use crate::{
    figures::{Report, Row, median},
    measure, nexmark,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/kinesis/boto.py");
/// How often the number of records that were read is looked at.
const LOOK_EACH: Duration = Duration::from_millis(50);

/// What is measured, and where.
#[derive(Debug, Clone, Args)]
pub(crate) struct KinesisArgs {
    /// The emulator: its installation is named by `THALWEG_KINESALITE` or `THALWEG_KINESIS`.
    #[arg(long, value_enum, default_value = "kinesalite")]
    emulator: Server,
    /// A Python with boto3.
    #[arg(long, default_value = "python3", value_name = "FILE")]
    python: PathBuf,
    /// How many records are written and read in a run.
    #[arg(long, default_value_t = 50_000)]
    records: u64,
    /// How long a record's text is; there is a number beside it.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    bytes: u32,
    /// Shards of each stream.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    shards: u32,
    /// Slices of the job.
    #[arg(long, default_value_t = 1)]
    parallelism: u32,
    /// How often each run is made, in turns with the others.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    repeat: u32,
    /// Print JSON lines only.
    #[arg(long)]
    json: bool,
    /// Make one run in this process, with this stream.
    #[arg(long, hide = true, requires_all = ["endpoint", "stream"])]
    alone: Option<Way>,
    #[arg(long, hide = true)]
    endpoint: Option<String>,
    #[arg(long, hide = true)]
    stream: Option<String>,
}

/// Who stands in for Kinesis.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Server {
    Kinesalite,
    KinesisLocal,
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// The rows that are written are made, and go nowhere.
    Generate,
    /// boto3 puts batches of 500.
    BotoWrite,
    /// The connector writes one record for each row.
    Write,
    /// The connector packs rows.
    WritePacked,
    /// boto3 reads the records of `Write`.
    BotoRead,
    /// The connector reads the records of `Write`.
    Read,
    /// The connector reads the records of `WritePacked`.
    ReadPacked,
}

impl Way {
    const ALL: [Self; 7] =
        [Self::Generate, Self::BotoWrite, Self::Write, Self::WritePacked, Self::BotoRead, Self::Read, Self::ReadPacked];

    fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// What a run took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Run {
    seconds: f64,
    cpu_seconds: f64,
}

/// The medians of a way's runs.
#[derive(Debug, Serialize)]
struct Measured {
    what: String,
    records: u64,
    records_per_second: f64,
    /// By processor time: what one core that is busy all the time would do.
    records_per_core_second: f64,
    cpu_ns_per_record: f64,
}

impl Row for Measured {
    const TITLES: &'static [&'static str] =
        &["what        ", "records", "records/s", "records/core s", "cpu ns/record"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.what.clone(),
            self.records.to_string(),
            format!("{:.0}", self.records_per_second),
            format!("{:.0}", self.records_per_core_second),
            format!("{:.0}", self.cpu_ns_per_record),
        ]
    }
}

/// Measures all ways.
pub(crate) async fn run(args: &KinesisArgs) -> Result<()> {
    if let Some(way) = args.alone {
        return alone(args, way).await;
    }
    let kind = match args.emulator {
        Server::Kinesalite => Kind::Kinesalite,
        Server::KinesisLocal => Kind::KinesisLocal,
    };
    let mut runs: [Vec<Run>; Way::ALL.len()] = Default::default();
    for _ in 0..args.repeat {
        // Each turn has its own, which holds no other records.
        let emulator = Emulator::start(kind).context("there is no emulator")?;
        let endpoint = emulator.endpoint();
        for stream in ["boto", "rows", "packed"] {
            boto(args, (&endpoint, stream), &["create", &args.shards.to_string()]).await?;
        }
        for (way, runs) in Way::ALL.into_iter().zip(&mut runs) {
            runs.push(turn(args, &endpoint, way).await.with_context(|| way.word())?);
        }
    }
    let mut report = Report::new(args.json);
    for (way, runs) in Way::ALL.into_iter().zip(runs) {
        let count = args.records as f64;
        let middle = |figure: &dyn Fn(&Run) -> f64| median(runs.iter().map(figure).collect());
        report.row(&Measured {
            what: way.word(),
            records: args.records,
            records_per_second: middle(&|run| count / run.seconds),
            records_per_core_second: middle(&|run| count / run.cpu_seconds),
            cpu_ns_per_record: middle(&|run| run.cpu_seconds * 1e9 / count),
        })?;
    }
    Ok(())
}

async fn turn(args: &KinesisArgs, endpoint: &str, way: Way) -> Result<Run> {
    let records = args.records.to_string();
    let json = match way {
        Way::BotoWrite => boto(args, (endpoint, "boto"), &["put", &records, &args.bytes.to_string()]).await?,
        Way::BotoRead => boto(args, (endpoint, "rows"), &["get", &records]).await?,
        Way::Generate | Way::Write | Way::Read => own(args, (endpoint, "rows"), way).await?,
        Way::WritePacked | Way::ReadPacked => own(args, (endpoint, "packed"), way).await?,
    };
    read(&json)
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).context("the measurements cannot be read")
}

async fn boto(args: &KinesisArgs, (endpoint, stream): (&str, &str), more: &[&str]) -> Result<Vec<u8>> {
    let mut command = Command::new(&args.python);
    command.args([SCRIPT, endpoint, stream]).args(more);
    printed(command).await.with_context(|| format!("boto3 by {} (see --python)", args.python.display()))
}

/// Makes a run of ours in a process of its own.
async fn own(args: &KinesisArgs, (endpoint, stream): (&str, &str), way: Way) -> Result<Vec<u8>> {
    let mut command = Command::new(std::env::current_exe().context("this program cannot be found")?);
    command.args(["kinesis", "--alone", &way.word(), "--endpoint", endpoint, "--stream", stream]);
    command.args(["--records", &args.records.to_string(), "--bytes", &args.bytes.to_string()]);
    command.args(["--parallelism", &args.parallelism.to_string()]);
    printed(command).await
}

async fn printed(mut command: Command) -> Result<Vec<u8>> {
    let output = command.kill_on_drop(true).output().await.context("could not start a process")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(output.stdout)
}

/// Makes a run in this process, and prints what it took.
async fn alone(args: &KinesisArgs, way: Way) -> Result<()> {
    let endpoint = args.endpoint.as_deref().context("--alone needs --endpoint")?;
    let stream = args.stream.as_deref().context("--alone needs --stream")?;
    let before = measure::cpu_time()?;
    let seconds = match way {
        Way::BotoWrite | Way::BotoRead => bail!("boto3 has processes of its own"),
        Way::Generate => finish(args, writing(args, "'connector' = 'blackhole'")).await?,
        Way::Write => finish(args, writing(args, &table(endpoint, stream, ""))).await?,
        Way::WritePacked => {
            finish(args, writing(args, &table(endpoint, stream, ", 'sink.aggregation.enabled' = 'true'"))).await?
        }
        Way::Read | Way::ReadPacked => read_all(args, &table(endpoint, stream, "")).await?,
    };
    let cpu_seconds = measure::cpu_time()?.saturating_sub(before).as_secs_f64();
    println!("{}", serde_json::to_string(&Run { seconds, cpu_seconds })?);
    Ok(())
}

fn table(endpoint: &str, stream: &str, more: &str) -> String {
    format!(
        "'connector' = 'kinesis', 'stream' = '{stream}', 'aws.region' = 'us-east-1', 'aws.endpoint' = '{endpoint}',
         'aws.credentials.provider' = 'BASIC', 'aws.credentials.basic.accesskeyid' = 'bench',
         'aws.credentials.basic.secretkey' = 'bench', 'format' = 'json'{more}"
    )
}

async fn finish(args: &KinesisArgs, script: String) -> Result<f64> {
    nexmark::run(script, (args.parallelism, 1), None).await.map(|(seconds, _)| seconds)
}

fn writing(args: &KinesisArgs, to: &str) -> String {
    let (records, bytes) = (args.records, args.bytes);
    let keys = if to.contains("'kinesis'") { "PARTITIONED BY (id)" } else { "" };
    format!(
        "CREATE TABLE made (id BIGINT, payload STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '{records}',
           'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.payload.length' = '{bytes}', 'seed' = '1');
         CREATE TABLE written (id BIGINT, payload STRING) {keys} WITH ({to});
         INSERT INTO written SELECT id, payload FROM made;"
    )
}

/// Reads a stream until all of its records have come. Returns the seconds since the job's submission.
async fn read_all(args: &KinesisArgs, from: &str) -> Result<f64> {
    let sql = format!(
        "CREATE TABLE records (id BIGINT, payload STRING) WITH ({from}, 'source.init.position' = 'TRIM_HORIZON');
         CREATE TABLE nowhere (id BIGINT, payload STRING) WITH ('connector' = 'blackhole');
         INSERT INTO nowhere SELECT id, payload FROM records;"
    );
    let cluster =
        EmbeddedCluster::start(EmbeddedOptions { slots: args.parallelism, ..EmbeddedOptions::default() }).await?;
    let clock = cluster.seams().clock;
    let begun = clock.monotonic();
    let submit = SubmitOptions { sql, parallelism: Some(args.parallelism), ..SubmitOptions::default() };
    let job = cluster.client().submit(submit).await?.job;
    loop {
        let overview = cluster.client().job(job).await?;
        let failure = overview.failure.as_ref().map(|failure| failure.message.as_str()).unwrap_or_default();
        ensure!(!overview.status.is_terminal(), "the job has {}: {failure}", overview.status);
        if Totals::of(&overview).records_in >= args.records {
            break;
        }
        tokio::time::sleep(LOOK_EACH).await;
    }
    let seconds = (clock.monotonic() - begun).as_secs_f64();
    cluster.client().cancel(job).await?;
    cluster.shutdown().await;
    Ok(seconds)
}
