//! The command line: the arguments of each command. `config` and the commands check the values.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use thalweg_types::settings::{parse_duration, parse_interval};

use crate::endpoint;

/// A stream processor: SQL over events, on one machine or many.
#[derive(Debug, Parser)]
#[command(name = "thalweg", version, propagate_version = true, max_term_width = 110, arg_required_else_help = true)]
pub struct Cli {
    /// How results are printed.
    #[arg(long, short, global = true, value_enum, default_value_t)]
    pub output: Format,
    /// What is logged to standard error: error, warn, info, debug, trace, or a filter such as `thalweg_node=debug`.
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// How each line of the log is written.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// A TOML file with the configuration.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How long an answer from a cluster is waited for.
    #[arg(long, global = true, value_name = "DURATION", default_value = "10 s",
        value_parser = parse_timeout)]
    pub timeout: Duration,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// One JSON object a line.
    Json,
    /// Comma-separated values with a header.
    Csv,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Replay a year of flights and weather through a small cluster in this process.
    Demo(DemoArgs),
    /// Run a script to its end in this process and print what its SELECTs give.
    Run(RunArgs),
    /// Start a whole cluster in this process and serve until interrupted.
    Dev(DevArgs),
    /// Start a coordinator.
    Coordinator(CoordinatorArgs),
    /// Start a node: a worker.
    Node(NodeArgs),
    /// Submit a script to a cluster.
    Submit(SubmitArgs),
    /// List the jobs of a cluster.
    Jobs(ClusterArgs),
    /// Look at one job, wait for it or end it.
    #[command(subcommand)]
    Job(JobCommand),
    /// List the nodes of a cluster.
    Nodes(ClusterArgs),
    /// Show the coordinators of a cluster and which one leads; add or remove one.
    Cluster(MembersArgs),
    /// Show how a script would be run, without running it.
    Explain(ExplainArgs),
    /// Check what lies in the place for checkpoints.
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
    /// Run a SELECT on a cluster for a moment and print a sample of its rows.
    Preview(PreviewArgs),
    /// Type SQL and see its answers, in this process or against a cluster.
    Sql(SqlArgs),
    /// Write completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// The log filter if none is given: servers log their lifecycle, other commands only what needs attention.
    #[must_use]
    pub fn default_log(&self) -> &'static str {
        match self {
            Self::Coordinator(_) | Self::Node(_) => "info",
            Self::Dev(_) => "warn",
            // Errors, and notices about the user's tables.
            Self::Demo(_)
            | Self::Run(_)
            | Self::Submit(_)
            | Self::Jobs(_)
            | Self::Job(_)
            | Self::Nodes(_)
            | Self::Cluster(_)
            | Self::Explain(_)
            | Self::Checkpoint(_)
            | Self::Preview(_)
            | Self::Sql(_)
            | Self::Completions { .. } => "error,thalweg::notice=warn",
        }
    }

    /// The name under which its spans are exported, and where to if it was told.
    #[must_use]
    pub fn traced(&self) -> Option<(&'static str, Option<&str>)> {
        match self {
            Self::Coordinator(args) => Some(("coordinator", args.otlp.as_deref())),
            Self::Node(args) => Some(("node", args.otlp.as_deref())),
            Self::Dev(args) => Some(("dev", args.otlp.as_deref())),
            Self::Run(args) => Some(("run", args.otlp.as_deref())),
            Self::Demo(_) | Self::Submit(_) | Self::Jobs(_) | Self::Job(_) | Self::Nodes(_) | Self::Cluster(_) => None,
            Self::Explain(_) | Self::Checkpoint(_) | Self::Preview(_) | Self::Sql(_) => None,
            Self::Completions { .. } => None,
        }
    }
}

/// Where a cluster is.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// Coordinators to ask, as HOST:PORT or http://HOST:PORT; any member answers.
    #[arg(long, short, value_name = "URL[,URL…]", value_delimiter = ',')]
    pub coordinator: Vec<String>,
}

/// `thalweg cluster`
#[derive(Debug, Args)]
pub struct MembersArgs {
    /// Coordinators to ask, as HOST:PORT or http://HOST:PORT; any member answers.
    #[arg(long, short, global = true, value_name = "URL[,URL…]", value_delimiter = ',')]
    pub coordinator: Vec<String>,
    /// What to change; nothing: show the members.
    #[command(subcommand)]
    pub change: Option<MemberCommand>,
}

/// `thalweg cluster …`
#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// Add a coordinator, started with --join: it copies the log, and then has a vote.
    Add {
        /// Its number, never used before in this cluster, and where others reach it.
        #[arg(value_name = "N=HOST:PORT", value_parser = parse_member)]
        member: (u64, String),
    },
    /// Remove a coordinator for good.
    Remove {
        /// Its number.
        #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        member: u64,
    },
}

/// A script.
#[derive(Debug, Clone, Args)]
pub struct ScriptArgs {
    /// A file with the script; `-` is the standard input.
    #[arg(value_name = "FILE", required_unless_present = "execute", conflicts_with = "execute")]
    pub file: Option<PathBuf>,
    /// The script itself.
    #[arg(long, short, value_name = "SQL", allow_hyphen_values = true)]
    pub execute: Option<String>,
    /// How many parallel slices the job has.
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub parallelism: Option<u32>,
    /// How often the job's state is checkpointed, or off; the cluster decides by default.
    #[arg(long, value_name = "DURATION|off", value_parser = parse_interval_text)]
    pub checkpoint_interval: Option<String>,
    /// A setting of the job, as SET in the script; may be given several times.
    #[arg(long = "set", short, value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
}

/// `thalweg demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Event time per real time, or max; by default the year takes about a minute.
    #[arg(long, value_name = "NUMBER|max", value_parser = parse_speed)]
    pub speed: Option<String>,
    /// How many nodes the cluster has.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub nodes: u32,
    /// A setting of the job, as SET in the script; may be given several times.
    #[arg(long = "set", short, value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
    /// Print the script and end.
    #[arg(long)]
    pub print_sql: bool,
}

/// `thalweg run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The script.
    #[command(flatten)]
    pub script: ScriptArgs,
    /// How many nodes the cluster in this process has.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub nodes: u32,
    /// Never show progress.
    #[arg(long, short)]
    pub quiet: bool,
    /// Where spans are sent, by OTLP over gRPC, such as http://localhost:4317; by default nowhere, unless OpenTelemetry's own variables
    /// say where.
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
}

/// `thalweg dev`
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Where the coordinator listens.
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Where its first node takes records over HTTP.
    #[arg(long, value_name = "HOST:PORT")]
    pub http: Option<String>,
    /// Where clients reach that; by default where it listens.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub http_advertise: Option<String>,
    /// Where /healthz, /readyz and /metrics (OpenMetrics) are answered.
    #[arg(long, value_name = "HOST:PORT")]
    pub health: Option<String>,
    /// Where the cluster keeps what it must remember.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// How many nodes.
    #[arg(long, value_name = "N")]
    pub nodes: Option<u32>,
    /// How many parallel slices each node offers; twice its cores by default.
    #[arg(long, value_name = "N")]
    pub slots: Option<u32>,
    /// How often the state of jobs is checkpointed that do not say, or off; 1 s by default.
    #[arg(long, value_name = "DURATION|off", value_parser = parse_every)]
    pub checkpoint_interval: Option<Duration>,
    /// How many connections each of its listeners keeps at most; by default its share of three quarters of the files that the
    /// process may have open.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(4..))]
    pub max_connections: Option<u32>,
    /// What tables may name: directories, files, or URLs of places in object stores, and all below; by default, of local paths those in
    /// the working directory where it listens on loopback alone, else none, and every object store.
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    pub allow_path: Vec<String>,
    /// Where spans are sent, by OTLP over gRPC, such as http://localhost:4317; by default nowhere, unless OpenTelemetry's own variables
    /// say where.
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
}

/// `thalweg coordinator`
#[derive(Debug, Args)]
pub struct CoordinatorArgs {
    /// This member's number, from 1; by default the ordinal at the end of the host's name plus 1, and 1 for a coordinator alone.
    /// Where the data directory holds another number, that one counts.
    #[arg(long, value_name = "N")]
    pub member: Option<u64>,
    /// Where it listens for nodes, other coordinators, and clients.
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Where it listens for clients alone, so that the address for nodes and other coordinators can be closed to them.
    #[arg(long, value_name = "HOST:PORT")]
    pub client_listen: Option<String>,
    /// Where others reach it; by default where it listens.
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Where /healthz, /readyz and /metrics (OpenMetrics) are answered.
    #[arg(long, value_name = "HOST:PORT")]
    pub health: Option<String>,
    /// Where it keeps its log.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The members a new cluster begins with, as N=HOST:PORT; the same on each of them. A member with an empty data directory
    /// asks all of them first: the cluster begins where none has a log yet; else their leader admits it under a new number.
    #[arg(long, value_name = "N=HOST:PORT", value_delimiter = ',')]
    pub members: Vec<String>,
    /// The new cluster's name, the same on each of its first members; one is drawn for a cluster of one.
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Join an existing cluster instead, once one of its members has added this one.
    #[arg(long, conflicts_with = "members")]
    pub join: bool,
    /// Begin the new cluster although some of its members do not answer, since they never will: to be given by hand, once, to a
    /// majority of them. It is never needed where all of them come up.
    #[arg(long)]
    pub bootstrap: bool,
    /// How long a node is trusted without a sign of life; 3 s by default.
    #[arg(long, value_name = "DURATION")]
    pub lease: Option<String>,
    /// How long a job waits for all the slots that it wants before it takes those that are free; 10 s by default.
    #[arg(long, value_name = "DURATION", value_parser = parse_length)]
    pub slot_wait: Option<Duration>,
    /// How long a job's subtasks may take to be set up before that is given up and tried again; 120 s by default.
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout)]
    pub deploy_timeout: Option<Duration>,
    /// Where checkpoints are kept: a directory or the URL of one or of a place in an object store, such as s3://bucket/path,
    /// that every coordinator and node reaches; by default a directory in its data directory, which is for one coordinator alone.
    #[arg(long, value_name = "URL")]
    pub checkpoints: Option<String>,
    /// How often the state of jobs is checkpointed that do not say, or off; 10 s by default.
    #[arg(long, value_name = "DURATION|off", value_parser = parse_every)]
    pub checkpoint_interval: Option<Duration>,
    /// How many jobs that have ended are remembered; 100 by default.
    #[arg(long, value_name = "N")]
    pub ended_jobs_max: Option<usize>,
    /// The unit of the coordinators' time, the same on each of them; 50 ms by default.
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout)]
    pub raft_tick: Option<Duration>,
    /// After so many ticks without a leader another one is elected; 10 by default.
    #[arg(long, value_name = "N")]
    pub election_ticks: Option<usize>,
    /// A leader gives a sign of life every so many ticks; 2 by default.
    #[arg(long, value_name = "N")]
    pub heartbeat_ticks: Option<usize>,
    /// How many connections each of its listeners keeps at most; by default its share of three quarters of the files that the
    /// process may have open.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(4..))]
    pub max_connections: Option<u32>,
    /// Where spans are sent, by OTLP over gRPC, such as http://localhost:4317; by default nowhere, unless OpenTelemetry's own variables
    /// say where.
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
}

/// `thalweg node`
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// The node's number, from 1; by default the ordinal at the end of the host's name plus 1, else drawn.
    #[arg(long, value_name = "N")]
    pub node: Option<u64>,
    /// Coordinators, as HOST:PORT or http://HOST:PORT.
    #[arg(long, short, value_name = "URL[,URL…]", value_delimiter = ',')]
    pub coordinator: Vec<String>,
    /// Where it listens for other nodes.
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Where other nodes reach it; by default where it listens.
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Where it takes records over HTTP.
    #[arg(long, value_name = "HOST:PORT")]
    pub http: Option<String>,
    /// Where clients reach that; by default the host that other nodes are told.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub http_advertise: Option<String>,
    /// Where /healthz, /readyz and /metrics (OpenMetrics) are answered.
    #[arg(long, value_name = "HOST:PORT")]
    pub health: Option<String>,
    /// How many parallel slices it offers; twice its cores by default.
    #[arg(long, value_name = "N")]
    pub slots: Option<u32>,
    /// The failure zone it is in.
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// How much memory it may use for exchanges, state and decoding files; 2 GiB by default.
    #[arg(long, value_name = "BYTES")]
    pub memory: Option<String>,
    /// How long its jobs run on while no coordinator is in reach; 600 s by default.
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout)]
    pub orphan_timeout: Option<Duration>,
    /// How long a cancelled job may take to end before the process ends itself, ten times as long where other jobs run in it; 30 s by default.
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout)]
    pub stop_timeout: Option<Duration>,
    /// How long it waits, when asked to end, for its work to be moved away; 30 s by default.
    #[arg(long, value_name = "DURATION", value_parser = parse_length)]
    pub leave_grace: Option<Duration>,
    /// How many connections each of its listeners keeps at most; by default its share of three quarters of the files that the
    /// process may have open.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(4..))]
    pub max_connections: Option<u32>,
    /// What tables may name: directories, files, or URLs of places in object stores, and all below; by default, of local paths those in
    /// the working directory where it listens on loopback alone, else none, and every object store.
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    pub allow_path: Vec<String>,
    /// Where spans are sent, by OTLP over gRPC, such as http://localhost:4317; by default nowhere, unless OpenTelemetry's own variables
    /// say where.
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
}

/// `thalweg submit`
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The script.
    #[command(flatten)]
    pub script: ScriptArgs,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// The job's name; by default the file's.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Wait for the job's end and print what its SELECTs give.
    #[arg(long, short)]
    pub wait: bool,
}

/// `thalweg explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The script.
    #[command(flatten)]
    pub script: ScriptArgs,
    /// Where the cluster is; a coordinator in this process by default.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// `thalweg job …`
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Show a job, its subtasks and what they measure.
    Show(JobArgs),
    /// End a job and drop what it has not yet published.
    Cancel(JobArgs),
    /// End a job as if its input ended here: open windows close with what they have, and all is published.
    Stop(JobArgs),
    /// Start a failed job again, from its last checkpoint.
    Restart(JobRestartArgs),
    /// Forget a job that has ended, with its checkpoints and what was POSTed to it.
    Forget(JobArgs),
    /// Wait until a job has ended.
    Wait(JobArgs),
    /// List the last checkpoints of a job and what they took.
    Checkpoints(JobArgs),
    /// Print the rows of a running job's SELECT, to its end or until interrupted.
    Rows(JobRowsArgs),
}

/// `thalweg checkpoint …`
#[derive(Debug, Subcommand)]
pub enum CheckpointCommand {
    /// Check that a checkpoint is whole: its manifest, and every object that it refers to.
    Verify {
        /// The manifest, or the folder of a job for its newest one.
        #[arg(value_name = "URL")]
        url: String,
    },
}

/// Which job.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// The job, as `job-7` or `7`.
    #[arg(value_parser = parse_job)]
    pub job: u64,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// `thalweg job restart`
#[derive(Debug, Args)]
pub struct JobRestartArgs {
    /// Which job, and where.
    #[command(flatten)]
    pub job: JobArgs,
    /// A setting that the job has from now on, such as error.path=DIRECTORY; may be given several times.
    #[arg(long = "set", short, value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
}

/// `thalweg job rows`
#[derive(Debug, Args)]
pub struct JobRowsArgs {
    /// Which job, and where.
    #[command(flatten)]
    pub job: JobArgs,
    /// Which of its SELECTs, from 1.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub query: u32,
}

/// `thalweg preview`
#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// The script: whatever its SELECT needs, and the SELECT.
    #[command(flatten)]
    pub script: ScriptArgs,
    /// How many rows of each SELECT are shown at most.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub rows: u32,
    /// How many seconds the job may run at most.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: u32,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// `thalweg sql`
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// Where the cluster is; one in this process by default.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

fn parse_member(text: &str) -> Result<(u64, String), String> {
    let member = endpoint::numbered(text).and_then(|(number, at)| Some((number, endpoint::host_and_port(at)?)));
    member.ok_or_else(|| "expected N=HOST:PORT".to_owned())
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

fn parse_length(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "expected a duration such as '10 s'".to_owned())
}

fn parse_every(text: &str) -> Result<Duration, String> {
    parse_interval(text).ok_or_else(|| "expected a duration such as '10 s', or off".to_owned())
}

fn parse_interval_text(text: &str) -> Result<String, String> {
    parse_every(text).map(|_| text.to_owned())
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    match parse_length(text)? {
        Duration::ZERO => Err("expected a duration above 0".to_owned()),
        timeout => Ok(timeout),
    }
}

fn parse_speed(text: &str) -> Result<String, String> {
    let is_factor = |text: &str| text.parse().is_ok_and(|speed: f64| speed.is_finite() && speed > 0.0);
    match text == "max" || is_factor(text) {
        true => Ok(text.to_owned()),
        false => Err("expected a number above 0, or max".to_owned()),
    }
}

fn parse_job(text: &str) -> Result<u64, String> {
    let number = text.strip_prefix("job-").unwrap_or(text);
    number.parse().map_err(|_| "expected a job such as job-7".to_owned())
}
