//! The command line: the arguments of each command. `config` and the commands check the values.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use thalweg_types::settings::{parse_duration, parse_interval};

use crate::endpoint;

/// A stream processor: SQL over events, on one machine or many.
#[derive(Debug, Parser)]
#[command(name = "thalweg", version, propagate_version = true, max_term_width = 110, arg_required_else_help = true)]
pub struct Cli {
    /// The format of results.
    #[arg(long, short, global = true, value_enum, default_value_t)]
    pub output: OutputFormat,
    /// What to log to standard error: error, warn, info, debug, trace, or a filter such as `thalweg_node=debug`.
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// The format of log lines.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// A configuration file, in TOML.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How long to wait for an answer from a cluster.
    #[arg(long, global = true, value_name = "DURATION", default_value = "10 s",
        value_parser = parse_timeout)]
    pub timeout: Duration,
    /// The command.
    #[command(subcommand)]
    pub command: CliCommand,
}

/// The format of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OutputFormat {
    /// Aligned columns.
    #[default]
    Table,
    /// One JSON object per line.
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

/// The commands of the command line.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Replay a year of flights and weather on a small cluster in this process.
    Demo(DemoArgs),
    /// Run a script in this process to its end, and print the rows of its SELECTs.
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
    /// Show, wait for, end, restart or forget one job.
    #[command(subcommand)]
    Job(JobCommand),
    /// List the nodes of a cluster.
    Nodes(ClusterArgs),
    /// Show the coordinators of a cluster and which one leads; add or remove one.
    Cluster(MembersArgs),
    /// Show the plan of a script without running it.
    Explain(ExplainArgs),
    /// Check stored checkpoints.
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
    /// Run a SELECT on a cluster for a short time, and print a sample of its rows.
    Preview(PreviewArgs),
    /// Start an interactive SQL shell, in this process or against a cluster.
    Sql(SqlArgs),
    /// Write completions for a shell.
    Completions {
        /// The shell to write them for.
        shell: clap_complete::Shell,
    },
}

impl CliCommand {
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
    /// Addresses of coordinators, as HOST:PORT or http://HOST:PORT; one that answers is enough.
    #[arg(long, short, value_name = "URL[,URL…]", value_delimiter = ',')]
    pub coordinator: Vec<String>,
}

/// `thalweg cluster`
#[derive(Debug, Args)]
pub struct MembersArgs {
    /// Addresses of coordinators, as HOST:PORT or http://HOST:PORT; one that answers is enough.
    #[arg(long, short, global = true, value_name = "URL[,URL…]", value_delimiter = ',')]
    pub coordinator: Vec<String>,
    /// The change to make; without one, the members are shown.
    #[command(subcommand)]
    pub change: Option<MemberCommand>,
}

/// `thalweg cluster …`
#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// Add a coordinator that was started with --join: it copies the log and then gets a vote.
    Add {
        /// Its number, which no member of this cluster has ever had, and the address at which others reach it.
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
    /// The job's parallelism, in slices.
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub parallelism: Option<u32>,
    /// Time between two checkpoints of the job, or off; by default as the cluster is configured.
    #[arg(long, value_name = "DURATION|off", value_parser = parse_interval_text)]
    pub checkpoint_interval: Option<String>,
    /// A setting of the job, like SET in the script; can be repeated.
    #[arg(long = "set", short, value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
}

/// `thalweg demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Speed of the replay, as event time per real time, or max; by default the year takes about a minute.
    #[arg(long, value_name = "NUMBER|max", value_parser = parse_speed)]
    pub speed: Option<String>,
    /// Number of nodes.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub nodes: u32,
    /// A setting of the job, like SET in the script; can be repeated.
    #[arg(long = "set", short, value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
    /// Print the script and exit.
    #[arg(long)]
    pub print_sql: bool,
}

/// `thalweg run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The script.
    #[command(flatten)]
    pub script: ScriptArgs,
    /// Number of nodes in this process.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub nodes: u32,
    /// Do not show progress.
    #[arg(long, short)]
    pub quiet: bool,
    /// A directory with the secrets that tables name, one in each file. A secret without a file is taken from the variable
    /// THALWEG_SECRET_ and its name.
    #[arg(long, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
    /// URL to which spans are sent, by OTLP over gRPC, such as http://localhost:4317; by default that of OTEL_EXPORTER_OTLP_ENDPOINT, or
    /// none.
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
}

/// `thalweg dev`
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Address on which the coordinator listens.
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Address on which its first node accepts records over HTTP, and serves /healthz, /readyz and /metrics.
    #[arg(long, value_name = "HOST:PORT")]
    pub http: Option<String>,
    /// Address at which clients reach the HTTP endpoint; by default the one on which it listens.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub http_advertise: Option<String>,
    /// Address on which /healthz, /readyz and /metrics (OpenMetrics) are served.
    #[arg(long, value_name = "HOST:PORT")]
    pub health: Option<String>,
    /// Directory for the state of the cluster.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Number of nodes.
    #[arg(long, value_name = "N")]
    pub nodes: Option<u32>,
    /// Number of slices that each node can run; by default twice its cores.
    #[arg(long, value_name = "N")]
    pub slots: Option<u32>,
    /// Time between two checkpoints of jobs that do not set it, or off; 1 s by default.
    #[arg(long, value_name = "DURATION|off", value_parser = parse_every)]
    pub checkpoint_interval: Option<Duration>,
    /// Most connections that each of its listeners keeps; by default its share of three quarters of the files that the process
    /// may have open.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(4..))]
    pub max_connections: Option<u32>,
    /// Paths that tables may use: a directory, a file or the URL of a prefix in an object store, and all below it. By default every
    /// object store, and the working directory if it listens on loopback only.
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    pub allow_path: Vec<String>,
    /// A directory with the secrets that tables name, one in each file. A secret without a file is taken from the variable
    /// THALWEG_SECRET_ and its name.
    #[arg(long, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
    /// URL to which spans are sent, by OTLP over gRPC, such as http://localhost:4317; by default that of OTEL_EXPORTER_OTLP_ENDPOINT, or
    /// none.
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
}

/// `thalweg coordinator`
#[derive(Debug, Args)]
pub struct CoordinatorArgs {
    /// This member's number, from 1; by default the ordinal at the end of the host's name plus 1, or 1 for a single coordinator.
    /// A number that the data directory already holds takes precedence.
    #[arg(long, value_name = "N")]
    pub member: Option<u64>,
    /// Address on which it listens for nodes, other coordinators and clients.
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Address for clients alone, so that --listen can be closed to them.
    #[arg(long, value_name = "HOST:PORT")]
    pub client_listen: Option<String>,
    /// Address at which others reach it; by default the one on which it listens.
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Address on which /healthz, /readyz and /metrics (OpenMetrics) are served.
    #[arg(long, value_name = "HOST:PORT")]
    pub health: Option<String>,
    /// Directory for its log.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The first members of a new cluster, as N=HOST:PORT; the same list on each of them. A member with an empty data directory
    /// asks all of them first. If none has a log, the cluster is founded; otherwise their leader admits it under a new number.
    #[arg(long, value_name = "N=HOST:PORT", value_delimiter = ',')]
    pub members: Vec<String>,
    /// The new cluster's name, the same on each of its first members; a single member draws a random one.
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Join an existing cluster instead, as soon as one of its members has added this one.
    #[arg(long, conflicts_with = "members")]
    pub join: bool,
    /// Found the new cluster although some of its first members do not answer, because they never will. Give it by hand, once, to
    /// a majority of them. It is never needed if all of them start.
    #[arg(long)]
    pub bootstrap: bool,
    /// How long a node may be silent before it counts as lost; 3 s by default.
    #[arg(long, value_name = "DURATION")]
    pub lease: Option<String>,
    /// How long a job waits for all the slots that it wants before it runs on those that are free; 10 s by default.
    #[arg(long, value_name = "DURATION", value_parser = parse_length)]
    pub slot_wait: Option<Duration>,
    /// How long the deployment of a job may take before it fails and is tried again; 120 s by default.
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout)]
    pub deploy_timeout: Option<Duration>,
    /// Where checkpoints are stored: a directory, its URL, or the URL of a prefix in an object store, such as s3://bucket/path, that
    /// all coordinators and nodes reach. By default a directory in its data directory, which suits a single coordinator only.
    #[arg(long, value_name = "URL")]
    pub checkpoints: Option<String>,
    /// Time between two checkpoints of jobs that do not set it, or off; 10 s by default.
    #[arg(long, value_name = "DURATION|off", value_parser = parse_every)]
    pub checkpoint_interval: Option<Duration>,
    /// Number of ended jobs to remember; 100 by default.
    #[arg(long, value_name = "N")]
    pub ended_jobs_max: Option<usize>,
    /// The duration of a Raft tick, the same on each coordinator; 50 ms by default.
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout)]
    pub raft_tick: Option<Duration>,
    /// Ticks without a heartbeat of the leader after which an election begins; 10 by default.
    #[arg(long, value_name = "N")]
    pub election_ticks: Option<usize>,
    /// Ticks between two heartbeats of the leader; 2 by default.
    #[arg(long, value_name = "N")]
    pub heartbeat_ticks: Option<usize>,
    /// Most connections that each of its listeners keeps; by default its share of three quarters of the files that the process
    /// may have open.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(4..))]
    pub max_connections: Option<u32>,
    /// URL to which spans are sent, by OTLP over gRPC, such as http://localhost:4317; by default that of OTEL_EXPORTER_OTLP_ENDPOINT, or
    /// none.
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
}

/// `thalweg node`
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// The node's number, from 1; by default the ordinal at the end of the host's name plus 1, or a random number if it has none.
    #[arg(long, value_name = "N")]
    pub node: Option<u64>,
    /// Addresses of the coordinators, as HOST:PORT or http://HOST:PORT.
    #[arg(long, short, value_name = "URL[,URL…]", value_delimiter = ',')]
    pub coordinator: Vec<String>,
    /// Address on which it listens for other nodes.
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Address at which other nodes reach it; by default the one on which it listens.
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Address on which it accepts records over HTTP, and serves /healthz, /readyz and /metrics.
    #[arg(long, value_name = "HOST:PORT")]
    pub http: Option<String>,
    /// Address at which clients reach the HTTP endpoint; by default on the host of --advertise.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub http_advertise: Option<String>,
    /// Address on which /healthz, /readyz and /metrics (OpenMetrics) are served.
    #[arg(long, value_name = "HOST:PORT")]
    pub health: Option<String>,
    /// Number of slices that it can run; by default twice its cores.
    #[arg(long, value_name = "N")]
    pub slots: Option<u32>,
    /// The failure zone it is in.
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// Memory for exchanges, state and decoding files, or a share of what its container is limited to, such as 50%; 2 GiB by default.
    #[arg(long, value_name = "BYTES|PERCENT%")]
    pub memory: Option<String>,
    /// How long its jobs run on while it reaches no coordinator; 600 s by default.
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout)]
    pub orphan_timeout: Option<Duration>,
    /// How long a cancelled job may take to end before the process exits, ten times as long if other jobs run in it; 30 s by default.
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout)]
    pub stop_timeout: Option<Duration>,
    /// How long it waits on shutdown for its work to be moved to other nodes; 30 s by default.
    #[arg(long, value_name = "DURATION", value_parser = parse_length)]
    pub leave_grace: Option<Duration>,
    /// Most connections that each of its listeners keeps; by default its share of three quarters of the files that the process
    /// may have open.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(4..))]
    pub max_connections: Option<u32>,
    /// Paths that tables may use: a directory, a file or the URL of a prefix in an object store, and all below it. By default every
    /// object store, and the working directory if it listens on loopback only.
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    pub allow_path: Vec<String>,
    /// A directory with the secrets that tables name, one in each file. A secret without a file is taken from the variable
    /// THALWEG_SECRET_ and its name.
    #[arg(long, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
    /// URL to which spans are sent, by OTLP over gRPC, such as http://localhost:4317; by default that of OTEL_EXPORTER_OTLP_ENDPOINT, or
    /// none.
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
    /// The job's name; by default that of the file.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Wait for the end of the job, and print the rows of its SELECTs.
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
    /// Show a job with its subtasks and their measurements.
    Show(JobArgs),
    /// End a job, and discard what it has not published yet. What complete checkpoints hold is still published.
    Cancel(JobCancelArgs),
    /// End a job as if its input ended now: open windows close, and everything is published.
    Stop(JobArgs),
    /// Start a failed job again, from its last checkpoint.
    Restart(JobRestartArgs),
    /// Forget an ended job, with its checkpoints and the records that were POSTed to it.
    Forget(JobArgs),
    /// Wait until a job has ended.
    Wait(JobArgs),
    /// List the last checkpoints of a job, with their durations and sizes.
    Checkpoints(JobArgs),
    /// Print the rows of a job's SELECT, until it ends or is interrupted.
    Rows(JobRowsArgs),
}

/// `thalweg checkpoint …`
#[derive(Debug, Subcommand)]
pub enum CheckpointCommand {
    /// Check that a checkpoint is complete and undamaged: its manifest, and every object that it refers to. Show what it cost.
    Verify {
        /// URL of the manifest, or of a job's folder for its newest one.
        #[arg(value_name = "URL")]
        url: String,
        /// Show what every subtask's part cost, and not only those that took longest.
        #[arg(long)]
        all: bool,
    },
}

/// A job, and where its cluster is.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// The job, as `job-7` or `7`.
    #[arg(value_parser = parse_job)]
    pub job: u64,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// `thalweg job cancel`
#[derive(Debug, Args)]
pub struct JobCancelArgs {
    /// Which job, and where.
    #[command(flatten)]
    pub job: JobArgs,
    /// Discard what complete checkpoints hold too: for a destination that is away for good, or does not go with the job. The job
    /// may have ended. Rows may be missing then, or be visible in part.
    #[arg(long)]
    pub discard_output: bool,
}

/// `thalweg job restart`
#[derive(Debug, Args)]
pub struct JobRestartArgs {
    /// Which job, and where.
    #[command(flatten)]
    pub job: JobArgs,
    /// A setting to change, such as error.path=DIRECTORY; can be repeated.
    #[arg(long = "set", short, value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
}

/// `thalweg job rows`
#[derive(Debug, Args)]
pub struct JobRowsArgs {
    /// Which job, and where.
    #[command(flatten)]
    pub job: JobArgs,
    /// Number of the SELECT in the script, from 1.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub query: u32,
}

/// `thalweg preview`
#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// The script: whatever its SELECT needs, and the SELECT.
    #[command(flatten)]
    pub script: ScriptArgs,
    /// Most rows to show of each SELECT.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub rows: u32,
    /// Most seconds that the job may run.
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
    /// A directory with the secrets that tables name, one in each file, for a cluster in this process. A secret without a file is taken from the variable
    /// THALWEG_SECRET_ and its name.
    #[arg(long, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
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
