//! A cluster of processes of the built binary on this machine. Its data and logs are in a temporary directory.
//!
//! Dropping the cluster kills all processes and removes the directory.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use tempfile::TempDir;
use thalweg::{seams::Surroundings, tcp::TcpNetwork};
use thalweg_client::{Client, ClientConfig, SubmitOptions};
use thalweg_proto::network::Network;
use thalweg_types::{
    CheckpointId, JobId, JobStatus, MemberId,
    job::{CheckpointOverview, CheckpointState, JobOverview},
    node::NodeState,
    seam::Seams,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
};

use crate::workload::{WorkloadArgs, Written, is_filled};

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Lines of each process's log to show when a measurement fails.
const LOG_LINES: usize = 8;

/// Of which processes a cluster consists.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterArgs {
    /// The binary; by default the one beside this program.
    #[arg(long)]
    thalweg: Option<PathBuf>,
    /// Nodes, each with one slot more than its share of the job's slices where they do not come out even.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    nodes: u32,
    /// How many slices each node takes.
    #[arg(long, default_value_t = 1)]
    slots: u32,
    /// How much memory each node may use.
    #[arg(long, default_value = "8 GiB")]
    memory: String,
    /// How often checkpoints are taken.
    #[arg(long, default_value = "1 s")]
    interval: String,
    /// How long the cluster trusts a node without a heartbeat.
    #[arg(long, default_value = "3 s")]
    lease: String,
    /// How long the state may take to be filled, and each other step, before the measurement is given up.
    #[arg(long, default_value = "10 min", value_parser = crate::state::parse_interval)]
    patience: Duration,
    /// Where the cluster's directory is made; the system's place for temporary files by default.
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// The times at which the lines printed by nodes were seen.
type Moments = Arc<Mutex<Vec<Duration>>>;

/// One process of the cluster, with its arguments to start it again.
struct Member {
    name: String,
    arguments: Vec<String>,
    child: Option<Child>,
}

/// The processes of a cluster, and a client.
pub(crate) struct Processes {
    args: ClusterArgs,
    coordinators: Vec<Member>,
    nodes: Vec<Member>,
    client: Client,
    /// The printed lines of all nodes.
    lines: Moments,
    surroundings: Surroundings,
    /// Dropped last, after all processes have ended.
    directory: TempDir,
}

impl Processes {
    /// Starts `coordinators` coordinators and the nodes, and waits until all nodes have registered.
    pub(crate) async fn start(args: &ClusterArgs, coordinators: usize) -> Result<Self> {
        let surroundings = Surroundings::of_system(1).context("could not start threads")?;
        let directory = match &args.directory {
            Some(within) => TempDir::with_prefix_in("thalweg-bench-", within),
            None => TempDir::with_prefix("thalweg-bench-"),
        };
        let directory = directory.context("could not create a temporary directory")?;
        let addresses = free_addresses(coordinators + args.nodes as usize).await?;
        let (first, others) = addresses.split_at(coordinators);
        let (leaders, nodes) = members(args, directory.path(), first, others);
        let network: Arc<dyn Network> = Arc::new(TcpNetwork);
        let entropy = surroundings.seams().entropy;
        let mut started = Vec::new();
        for mut member in leaders {
            member.start(&binary(args)?, directory.path())?;
            started.push(member);
        }
        let config = ClientConfig { coordinators: first.to_vec(), ..ClientConfig::default() };
        let client = Client::connect(config, network, entropy).await.context("no coordinator answers")?;
        let (args, lines) = (args.clone(), Moments::default());
        let mut cluster = Self { args, coordinators: started, nodes, client, lines, surroundings, directory };
        for node in 0..cluster.nodes.len() {
            cluster.start_node(node)?;
        }
        cluster.wait_for_nodes().await?;
        Ok(cluster)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    fn seams(&self) -> Seams {
        self.surroundings.seams()
    }

    /// The time on the monotonic clock.
    pub(crate) fn now(&self) -> Duration {
        self.seams().clock.monotonic()
    }

    /// The directory of the part files that jobs write.
    pub(crate) fn files(&self) -> PathBuf {
        self.directory.path().join("files")
    }

    /// The times at which the nodes' lines were seen, in order.
    pub(crate) fn lines(&self) -> Vec<Duration> {
        let mut moments = self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone();
        moments.sort();
        moments
    }

    /// Starts a node, by its index; it may have run before.
    pub(crate) fn start_node(&mut self, node: usize) -> Result<()> {
        let stdout = self.nodes[node].start(&binary(&self.args)?, self.directory.path())?;
        let (clock, lines) = (self.seams().clock, self.lines.clone());
        let reading = Box::pin(async move {
            let mut read = BufReader::new(stdout).lines();
            while let Ok(Some(_)) = read.next_line().await {
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(clock.monotonic());
            }
        });
        self.seams().io.spawn("lines", reading);
        Ok(())
    }

    /// Kills a node, by its number, with SIGKILL. Returns its index and the time.
    pub(crate) async fn kill_node(&mut self, number: u64) -> Result<(usize, Duration)> {
        let index = usize::try_from(number.saturating_sub(1))?;
        let at = self.now();
        self.nodes.get_mut(index).with_context(|| format!("there is no node {number}"))?.kill().await?;
        Ok((index, at))
    }

    /// Kills a coordinator with SIGKILL. Returns the time.
    pub(crate) async fn kill_coordinator(&mut self, member: MemberId) -> Result<Duration> {
        let index = usize::try_from(member.0.saturating_sub(1))?;
        let at = self.now();
        self.coordinators.get_mut(index).with_context(|| format!("there is no coordinator {member}"))?.kill().await?;
        Ok(at)
    }

    /// Starts a killed coordinator again.
    pub(crate) fn start_coordinator(&mut self, member: MemberId) -> Result<()> {
        let index = usize::try_from(member.0.saturating_sub(1))?;
        let binary = binary(&self.args)?;
        let member = self.coordinators.get_mut(index).with_context(|| format!("there is no coordinator {member}"))?;
        member.start(&binary, self.directory.path()).map(drop)
    }

    /// Waits until all nodes are alive.
    pub(crate) async fn wait_for_nodes(&self) -> Result<()> {
        self.wait_until("all nodes", async || {
            let nodes = self.client.nodes().await?;
            let alive = nodes.iter().filter(|node| node.state == NodeState::Alive).count();
            Ok((alive == self.nodes.len()).then_some(()))
        })
        .await
    }

    /// Submits the job. With `is_printed`, changed records are also written to files, and printed by the nodes if it
    /// is true.
    pub(crate) async fn submit(&self, workload: &WorkloadArgs, is_printed: Option<bool>) -> Result<JobId> {
        let files = self.files();
        let sql = workload.script(is_printed.map(|is_printed| Written { files: &files, is_printed }));
        let parallelism = Some(workload.parallelism);
        Ok(self.client.submit(SubmitOptions { sql, parallelism, ..SubmitOptions::default() }).await?.job)
    }

    /// Submits the job, and waits until its state is full and a checkpoint holds all of it.
    pub(crate) async fn fill(&self, workload: &WorkloadArgs, is_printed: bool) -> Result<JobId> {
        let job = self.submit(workload, Some(is_printed)).await?;
        self.wait_until("the state to be full", async || Ok(is_filled(&self.job(job).await?).then_some(()))).await?;
        let begun = self.client.checkpoints(job).await?.iter().map(|one| one.checkpoint).max();
        self.wait_for_checkpoint(job, begun.unwrap_or(CheckpointId(0))).await?;
        Ok(job)
    }

    /// The job as it is now. An error if it has ended.
    pub(crate) async fn job(&self, job: JobId) -> Result<JobOverview> {
        let job = self.client.job(job).await?;
        let failure = job.failure.as_ref().map(|failure| failure.message.as_str()).unwrap_or_default();
        if job.status.is_terminal() {
            bail!("the job has {}: {failure}", job.status);
        }
        Ok(job)
    }

    /// Waits for a complete checkpoint after `after`, while the job runs.
    pub(crate) async fn wait_for_checkpoint(&self, job: JobId, after: CheckpointId) -> Result<CheckpointOverview> {
        let found = |one: &CheckpointOverview| one.state == CheckpointState::Complete && one.checkpoint > after;
        self.wait_until("a checkpoint", async || {
            let is_running = self.job(job).await?.status == JobStatus::Running;
            let newest = self.client.checkpoints(job).await?.into_iter().rfind(found);
            Ok(newest.filter(|_| is_running))
        })
        .await
    }

    /// Calls `look` again and again until it finds something.
    pub(crate) async fn wait_until<T>(&self, what: &str, look: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
        let looking = async {
            loop {
                if let Some(found) = look().await? {
                    return Ok(found);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let waited = tokio::time::timeout(self.args.patience, looking).await;
        waited.unwrap_or_else(|_| bail!("waited in vain for {what}")).inspect_err(|_| self.show_logs())
    }

    /// Prints the end of each log to standard error.
    fn show_logs(&self) {
        for member in self.coordinators.iter().chain(&self.nodes) {
            let log = fs::read_to_string(member.log(self.directory.path())).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            // Without a reader, there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "-- {} --\n{end}", member.name);
        }
    }
}

fn members(args: &ClusterArgs, directory: &Path, first: &[String], others: &[String]) -> (Vec<Member>, Vec<Member>) {
    let group: Vec<String> = (1..).zip(first).map(|(number, address)| format!("{number}={address}")).collect();
    let (group, all) = (group.join(","), first.join(","));
    let text = |path: PathBuf| path.display().to_string();
    let coordinators = (1..).zip(first).map(|(number, address)| {
        let number = number.to_string();
        let name = format!("coordinator-{number}");
        let (data, checkpoints) =
            (text(directory.join(&name)), format!("file://{}", text(directory.join("checkpoints"))));
        let who = ["coordinator", "--cluster", "bench", "--member", &number, "--members", &group, "--listen", address];
        let what = ["--data-dir", &data, "--checkpoints", &checkpoints, "--checkpoint-interval", &args.interval];
        Member::new(name, &[&who[..], &what[..], &["--lease", &args.lease]].concat())
    });
    let nodes = (1..).zip(others).map(|(number, address)| {
        let (number, slots) = (number.to_string(), args.slots.to_string());
        let who = ["node", "--node", &number, "--listen", address, "--coordinator", &all];
        let tables = text(directory.to_owned());
        let what = ["--slots", &slots, "--memory", &args.memory, "--allow-path", &tables];
        Member::new(format!("node-{number}"), &[&who[..], &what].concat())
    });
    (coordinators.collect(), nodes.collect())
}

impl Member {
    fn new(name: String, arguments: &[&str]) -> Self {
        Self { name, arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(), child: None }
    }

    fn log(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{}.log", self.name))
    }

    fn start(&mut self, binary: &Path, directory: &Path) -> Result<ChildStdout> {
        let log =
            File::options().create(true).append(true).open(self.log(directory)).context("could not write a log")?;
        let mut command = Command::new(binary);
        command.args(&self.arguments).current_dir(directory).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().with_context(|| format!("could not start {}", binary.display()))?;
        let stdout = child.stdout.take().context("its standard output is not piped")?;
        self.child = Some(child);
        Ok(stdout)
    }

    async fn kill(&mut self) -> Result<()> {
        match self.child.take() {
            Some(mut child) => child.kill().await.with_context(|| format!("could not kill {}", self.name)),
            None => Ok(()),
        }
    }
}

fn binary(args: &ClusterArgs) -> Result<PathBuf> {
    let here = std::env::current_exe().context("this program cannot be found")?;
    let binary = args.thalweg.clone().unwrap_or_else(|| here.with_file_name("thalweg"));
    let binary = fs::canonicalize(&binary).with_context(|| format!("{} is not there: build it", binary.display()))?;
    Ok(binary)
}

/// Different addresses whose ports were free a moment ago.
async fn free_addresses(count: usize) -> Result<Vec<String>> {
    let mut listeners = Vec::new();
    for _ in 0..count {
        listeners.push(TcpNetwork.listen("127.0.0.1:0").await.context("no port is free")?);
    }
    Ok(listeners.into_iter().map(|listener| listener.address).collect())
}

/// The names of visible part files, each with the attempt that wrote it.
pub(crate) fn visible_files(directory: &Path) -> Vec<(String, u32)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| attempt_of(&name).map(|attempt| (name, attempt))).collect()
}

/// The attempt in `part-CLUSTER-JOB-ATTEMPT-SINK-SUBTASK-N.csv`.
fn attempt_of(name: &str) -> Option<u32> {
    name.strip_prefix("part-")?.rsplit('-').nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attempt_is_read_from_visible_names_only() {
        assert_eq!(attempt_of("part-a-b-7-12-3-0-41.csv"), Some(12));
        assert_eq!(attempt_of(".part-a-b-7-12-3-0-41.csv.inprogress"), None);
    }
}
