//! Running one job and measuring it.

use std::{
    collections::BTreeMap,
    fs,
    process::{self, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use thalweg::embedded::{EmbeddedCluster, EmbeddedOptions};
use thalweg_client::SubmitOptions;
use thalweg_types::JobStatus;

use crate::{JobOptions, queries, report::Measured};

/// Kernel ticks per second of `/proc/self/stat`: fixed by the kernel's interface to user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// Runs a query so many times, each in a process of its own, and takes the one in the middle by rate.
///
/// # Errors
/// When a run fails.
pub(crate) fn median(query: &str, job: &JobOptions, repeat: usize) -> Result<Measured> {
    let mut runs = (0..repeat.max(1)).map(|_| in_a_child(query, job)).collect::<Result<Vec<_>>>()?;
    runs.sort_by(|a, b| a.events_per_second.total_cmp(&b.events_per_second));
    Ok(runs.swap_remove(runs.len() / 2))
}

/// Starts this program again for one job.
fn in_a_child(query: &str, job: &JobOptions) -> Result<Measured> {
    eprintln!("running {query} from {}", job.input.word());
    let mut command = process::Command::new(std::env::current_exe().context("this program has no path")?);
    command.args(["measure", query, "--input", job.input.word()]);
    command.args(["--events", &job.events.to_string(), "--parallelism", &job.parallelism.to_string()]);
    command.args(["--nodes", &job.nodes.to_string()]);
    command.args(job.settings.iter().flat_map(|setting| ["--set", setting]));
    let output = command.stderr(Stdio::inherit()).output().context("could not start a child process")?;
    ensure!(output.status.success(), "{query} failed: {}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("{query} printed no measurements"))
}

/// Runs one job here and measures it.
///
/// # Errors
/// When the query is unknown or the job fails.
pub(crate) fn in_this_process(query: &str, job: &JobOptions) -> Result<Measured> {
    let elapsed = run(&queries::script(query, job)?, job)?;
    let (wall, cpu) = (elapsed.wall.as_secs_f64(), elapsed.cpu.as_secs_f64());
    let events = job.events as f64;
    Ok(Measured {
        query: query.to_owned(),
        input: job.input.word().to_owned(),
        events: job.events,
        parallelism: job.parallelism,
        nodes: job.nodes,
        seconds: wall,
        events_per_second: events / wall,
        cpu_nanos_per_event: cpu * 1e9 / events,
        memory_peak_bytes: memory_peak_bytes()?,
    })
}

/// What a job took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elapsed {
    wall: Duration,
    cpu: Duration,
}

/// Runs a script on an embedded cluster until its job has finished; time counts from the submission.
///
/// # Errors
/// When the cluster does not start or the job does not finish.
pub(crate) fn run(sql: &str, job: &JobOptions) -> Result<Elapsed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(run_on_cluster(sql, job))
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
async fn run_on_cluster(sql: &str, job: &JobOptions) -> Result<Elapsed> {
    let slots = job.parallelism.div_ceil(job.nodes);
    let options = EmbeddedOptions { nodes: job.nodes, slots, ..EmbeddedOptions::default() };
    let cluster = EmbeddedCluster::start(options).await?;
    let (started, cpu) = (Instant::now(), cpu_time()?);
    let submit = SubmitOptions {
        sql: sql.to_owned(),
        name: "bench".to_owned(),
        settings: settings(job)?,
        parallelism: Some(job.parallelism),
    };
    let submitted = cluster.client().submit(submit).await?;
    let ended = cluster.client().wait(submitted.job).await?;
    let elapsed = Elapsed { wall: started.elapsed(), cpu: cpu_time()?.saturating_sub(cpu) };
    cluster.shutdown().await;
    if ended.status != JobStatus::Finished {
        bail!(
            "the job ended as {}: {}",
            ended.status,
            ended.failure.map_or_else(String::new, |failure| failure.message)
        );
    }
    Ok(elapsed)
}

fn settings(job: &JobOptions) -> Result<BTreeMap<String, String>> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').with_context(|| format!("--set {text}: expected key=value"))?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    };
    job.settings.iter().map(pair).collect()
}

/// User and system time of this process.
fn cpu_time() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").context("CPU time is read from /proc")?;
    // The second field, the program's name, may hold spaces; the others follow its closing parenthesis.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("/proc/self/stat has no CPU times")?;
    Ok(Duration::from_secs_f64((user + system) / TICKS_PER_SECOND))
}

/// The most memory that this process has had resident.
fn memory_peak_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("memory is read from /proc")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kibibytes.context("/proc/self/status has no VmHWM")? * 1024)
}
