//! The command line: what each command takes. Values are checked in `config` and by the commands; nothing is read here.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use thalweg_types::settings::parse_duration;

/// A stream processor: SQL over events, on one machine or many.
#[derive(Debug, Parser)]
#[command(name = "thalweg", version, propagate_version = true, max_term_width = 110, arg_required_else_help = true)]
pub struct Cli {
    /// How results are printed.
    #[arg(long, short, global = true, env = "THALWEG_OUTPUT", value_enum, default_value_t, hide_env = true)]
    pub output: Format,
    /// What is logged to standard error: error, warn, info, debug, trace, or a filter such as `thalweg_node=debug`.
    #[arg(long, global = true, env = "THALWEG_LOG", value_name = "FILTER", hide_env = true)]
    pub log: Option<String>,
    /// A TOML file with the configuration.
    #[arg(long, global = true, env = "THALWEG_CONFIG", value_name = "FILE", hide_env = true)]
    pub config: Option<PathBuf>,
    /// How long an answer from a cluster is waited for.
    #[arg(long, global = true, env = "THALWEG_TIMEOUT", value_name = "DURATION", default_value = "10 s", hide_env = true,
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
    /// Show the members of a cluster and which one leads.
    Cluster(ClusterArgs),
    /// Show how a script would be run, without running it.
    Explain(ExplainArgs),
    /// Print the rows of a running job's SELECT.
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
    /// What is logged unless told otherwise: servers tell of their lives, other commands of what needs attention.
    #[must_use]
    pub fn default_log(&self) -> &'static str {
        match self {
            Self::Coordinator(_) | Self::Node(_) => "info",
            Self::Dev(_) => "warn",
            _ => "error",
        }
    }
}

/// Where a cluster is.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// Coordinators to ask, as HOST:PORT; any member answers.
    #[arg(long, short, env = "THALWEG_COORDINATORS", value_name = "HOST:PORT", value_delimiter = ',')]
    pub coordinators: Vec<String>,
}

/// A script.
#[derive(Debug, Clone, Args)]
pub struct ScriptArgs {
    /// A file with the script; `-` is the standard input.
    #[arg(value_name = "FILE", required_unless_present = "execute", conflicts_with = "execute")]
    pub file: Option<PathBuf>,
    /// The script itself.
    #[arg(long, short, value_name = "SQL")]
    pub execute: Option<String>,
    /// How many parallel slices the job has.
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub parallelism: Option<u32>,
    /// A setting of the job, as SET in the script; may be given several times.
    #[arg(long = "set", short, value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub settings: Vec<(String, String)>,
}

/// `thalweg demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Event time per real time; by default the year takes about a minute.
    #[arg(long, value_name = "FACTOR")]
    pub speed: Option<f64>,
    /// How many nodes the cluster has.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub nodes: u32,
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
}

/// `thalweg dev`
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Where the coordinator listens.
    #[arg(long, value_name = "HOST:PORT", env = "THALWEG_LISTEN")]
    pub listen: Option<String>,
    /// Where its first node takes records over HTTP.
    #[arg(long, value_name = "HOST:PORT", env = "THALWEG_HTTP")]
    pub http: Option<String>,
    /// Where the cluster keeps what it must remember.
    #[arg(long, value_name = "DIR", env = "THALWEG_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// How many nodes.
    #[arg(long, value_name = "N", env = "THALWEG_NODES")]
    pub nodes: Option<u32>,
    /// How many parallel slices each node offers; its cores by default.
    #[arg(long, value_name = "N", env = "THALWEG_SLOTS")]
    pub slots: Option<u32>,
}

/// `thalweg coordinator`
#[derive(Debug, Args)]
pub struct CoordinatorArgs {
    /// This member's number, from 1; by default the ordinal at the end of the host's name plus 1.
    #[arg(long, value_name = "N", env = "THALWEG_MEMBER")]
    pub member: Option<u64>,
    /// Where it listens.
    #[arg(long, value_name = "HOST:PORT", env = "THALWEG_LISTEN")]
    pub listen: Option<String>,
    /// Where others reach it; by default where it listens.
    #[arg(long, value_name = "HOST:PORT", env = "THALWEG_ADVERTISE")]
    pub advertise: Option<String>,
    /// Where /healthz and /readyz are answered.
    #[arg(long, value_name = "HOST:PORT", env = "THALWEG_HEALTH")]
    pub health: Option<String>,
    /// Where it keeps its log.
    #[arg(long, value_name = "DIR", env = "THALWEG_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// The members a new cluster begins with, as N=HOST:PORT; the same on each of them.
    #[arg(long, value_name = "N=HOST:PORT", env = "THALWEG_MEMBERS", value_delimiter = ',')]
    pub members: Vec<String>,
    /// The new cluster's name, the same on each of its first members; one is drawn for a cluster of one.
    #[arg(long, value_name = "NAME", env = "THALWEG_CLUSTER")]
    pub cluster: Option<String>,
    /// Join an existing cluster instead, once one of its members has added this one.
    #[arg(long, env = "THALWEG_JOIN", conflicts_with = "members")]
    pub join: bool,
    /// How long a node is trusted without a sign of life.
    #[arg(long, value_name = "DURATION", env = "THALWEG_LEASE")]
    pub lease: Option<String>,
}

/// `thalweg node`
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// The node's number, from 1; by default the ordinal at the end of the host's name plus 1, else drawn.
    #[arg(long, value_name = "N", env = "THALWEG_NODE")]
    pub node: Option<u64>,
    /// Coordinators, as HOST:PORT.
    #[arg(long, short, env = "THALWEG_COORDINATORS", value_name = "HOST:PORT", value_delimiter = ',')]
    pub coordinators: Vec<String>,
    /// Where it listens for other nodes.
    #[arg(long, value_name = "HOST:PORT", env = "THALWEG_LISTEN")]
    pub listen: Option<String>,
    /// Where other nodes reach it; by default where it listens.
    #[arg(long, value_name = "HOST:PORT", env = "THALWEG_ADVERTISE")]
    pub advertise: Option<String>,
    /// Where it takes records over HTTP.
    #[arg(long, value_name = "HOST:PORT", env = "THALWEG_HTTP")]
    pub http: Option<String>,
    /// Where /healthz and /readyz are answered.
    #[arg(long, value_name = "HOST:PORT", env = "THALWEG_HEALTH")]
    pub health: Option<String>,
    /// How many parallel slices it offers; its cores by default.
    #[arg(long, value_name = "N", env = "THALWEG_SLOTS")]
    pub slots: Option<u32>,
    /// The failure zone it is in.
    #[arg(long, value_name = "ZONE", env = "THALWEG_ZONE")]
    pub zone: Option<String>,
    /// How much memory it may use for exchanges and state; half of the machine's by default.
    #[arg(long, value_name = "BYTES", env = "THALWEG_MEMORY")]
    pub memory: Option<String>,
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
    /// End a job's input and publish what it had given.
    Stop(JobArgs),
    /// Wait until a job has ended.
    Wait(JobArgs),
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

/// `thalweg preview`
#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// The job, as `job-7` or `7`.
    #[arg(value_parser = parse_job)]
    pub job: u64,
    /// Which of its SELECTs, from 0.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub query: u32,
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
    /// How many rows of an unbounded answer are shown before the query is ended.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub rows: usize,
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .filter(|timeout| !timeout.is_zero())
        .ok_or_else(|| "expected a duration such as '10 s'".to_owned())
}

fn parse_job(text: &str) -> Result<u64, String> {
    let number = text.strip_prefix("job-").unwrap_or(text);
    number.parse().map_err(|_| "expected a job such as job-7".to_owned())
}
