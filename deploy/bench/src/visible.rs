//! From a record's arrival to the file in which it is visible, for several checkpoint intervals.
//!
//! ```text
//! this process --records with the time of their sending, over HTTP--> cluster (in this process) --> files --> this process
//! ```
//!
//! Both ends have one clock. A record counts from the moment before its request is sent; a file counts when it was listed, opened
//! and read.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use thalweg::embedded::{EmbeddedCluster, EmbeddedOptions};
use thalweg_client::SubmitOptions;
use thalweg_types::seam::{Clock, Seams};
use url::Url;

use crate::{
    figures::{Report, Row, largest, millis, percentile},
    state::parse_interval,
};

/// How often requests are sent.
const SEND_EVERY: Duration = Duration::from_millis(20);
/// How often files are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long what was sent may take until all of it is visible, in checkpoint intervals; and in any case.
const LAST_INTERVALS: u32 = 5;
const LAST_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Args)]
pub(crate) struct VisibleArgs {
    /// How often checkpoints are taken; several runs.
    #[arg(default_values = ["1 s", "5 s"], value_parser = parse_interval)]
    intervals: Vec<Duration>,
    /// Records per second.
    #[arg(long, default_value_t = 10_000)]
    rate: u32,
    /// Into how many partitions they go.
    #[arg(long, default_value_t = 10)]
    partitions: u32,
    /// How long records are sent.
    #[arg(long, default_value = "30 s", value_parser = parse_interval)]
    watch: Duration,
    /// Further options of the table, as in its WITH clause: 'auto-compaction' = 'true'.
    #[arg(long, default_value = "")]
    with: String,
    /// The directory or the URL of an object store below which files are written; a temporary directory by default.
    #[arg(long)]
    path: Option<String>,
    /// Print JSON lines only.
    #[arg(long)]
    json: bool,
}

/// What one run has seen, in milliseconds from sending to visible.
#[derive(Debug, Serialize)]
struct Visible {
    interval_ms: u64,
    rate: u32,
    records: usize,
    files: usize,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    longest_ms: f64,
}

impl Row for Visible {
    const TITLES: &'static [&'static str] =
        &["interval ms", "rate", "records", "files", "p50 ms", "p90 ms", "p99 ms", "longest ms"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.interval_ms.to_string(),
            self.rate.to_string(),
            self.records.to_string(),
            self.files.to_string(),
            format!("{:.0}", self.p50_ms),
            format!("{:.0}", self.p90_ms),
            format!("{:.0}", self.p99_ms),
            format!("{:.0}", self.longest_ms),
        ]
    }
}

/// A record, as it is sent and as it is in a file.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    sent: f64,
    #[serde(default)]
    part: u32,
}

/// Measures each checkpoint interval, and prints a row for it.
pub(crate) async fn run(args: &VisibleArgs) -> Result<()> {
    let mut report = Report::new(args.json);
    for interval in &args.intervals {
        report.row(&measure(args, *interval).await?)?;
    }
    Ok(())
}

async fn measure(args: &VisibleArgs, interval: Duration) -> Result<Visible> {
    ensure!(!interval.is_zero(), "without checkpoints, files are visible at the end of the job only");
    let temporary = TempDir::with_prefix("thalweg-bench-").context("could not create a temporary directory")?;
    let within = args.path.clone().unwrap_or_else(|| temporary.path().join("out").display().to_string());
    let options = EmbeddedOptions {
        http: Some("127.0.0.1:0".to_owned()),
        checkpoint_interval: interval,
        ..EmbeddedOptions::default()
    };
    let cluster = EmbeddedCluster::start(options).await?;
    let clock = Arc::clone(&cluster.seams().clock);
    // Several runs may write below one path.
    let path = format!("{}/{}", within.trim_end_matches('/'), clock.unix_time().as_millis());
    let submit = SubmitOptions { sql: script(args, &path), ..SubmitOptions::default() };
    let job = cluster.client().submit(submit).await?.job;
    let address = cluster.http_address().context("the cluster has no address for HTTP")?.to_owned();
    let mut files = Files::open(&path, Arc::clone(&clock))?;
    let url = format!("http://{address}/ingest/records");
    let limit = args.watch + LAST_WITHIN + interval * LAST_INTERVALS;
    tokio::try_join!(send(args, &url, cluster.seams()), files.look_for(records(args), limit))?;
    cluster.client().cancel(job).await?;
    cluster.shutdown().await;
    let of = |share| percentile(files.latencies.clone(), share);
    Ok(Visible {
        interval_ms: u64::try_from(interval.as_millis())?,
        rate: args.rate,
        records: files.latencies.len(),
        files: files.seen.len(),
        p50_ms: of(0.5),
        p90_ms: of(0.9),
        p99_ms: of(0.99),
        longest_ms: largest(files.latencies.iter().copied()),
    })
}

fn script(args: &VisibleArgs, path: &str) -> String {
    let with = if args.with.is_empty() { String::new() } else { format!(", {}", args.with) };
    format!(
        "CREATE TABLE records (sent DOUBLE, part INT) WITH ('connector' = 'http', 'format' = 'json');\n\
         CREATE TABLE delivered (sent DOUBLE, part INT) PARTITIONED BY (part)\n\
         WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json'{with});\n\
         INSERT INTO delivered SELECT sent, part FROM records;"
    )
}

/// How many records go into one request.
fn at_once(args: &VisibleArgs) -> u32 {
    (f64::from(args.rate) * SEND_EVERY.as_secs_f64()).round().max(1.0) as u32
}

/// How many requests are sent.
fn requests(args: &VisibleArgs) -> u32 {
    (args.watch.as_secs_f64() / SEND_EVERY.as_secs_f64()).ceil() as u32
}

fn records(args: &VisibleArgs) -> usize {
    requests(args) as usize * at_once(args) as usize
}

/// Sends records, each request when it is due, or when that before it was answered.
async fn send(args: &VisibleArgs, url: &str, seams: Seams) -> Result<()> {
    let client = reqwest::Client::new();
    let begun = seams.clock.monotonic();
    for request in 0..requests(args) {
        let due = begun + SEND_EVERY * request;
        tokio::time::sleep(due.saturating_sub(seams.clock.monotonic())).await;
        let sent = millis(seams.clock.unix_time());
        let mut body = String::new();
        for record in 0..at_once(args) {
            body += &serde_json::to_string(&Record { sent, part: record % args.partitions.max(1) })?;
            body.push('\n');
        }
        let mut answer = client.post(url).body(body.clone()).send().await.context("nobody takes records")?;
        // The job is still starting.
        while answer.status() == reqwest::StatusCode::SERVICE_UNAVAILABLE && request == 0 {
            tokio::time::sleep(SEND_EVERY).await;
            answer = client.post(url).body(body.clone()).send().await.context("nobody takes records")?;
        }
        ensure!(answer.status().is_success(), "records were not taken: {}", answer.text().await.unwrap_or_default());
    }
    Ok(())
}

/// The visible files below a place, as they appear.
struct Files {
    store: Box<dyn ObjectStore>,
    below: Path,
    seen: HashSet<Path>,
    /// Of the records in them, in milliseconds.
    latencies: Vec<f64>,
    clock: Arc<dyn Clock>,
}

impl Files {
    fn open(path: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        let url = match Url::parse(path) {
            Ok(url) => url,
            Err(_) => {
                std::fs::create_dir_all(path).with_context(|| format!("could not create {path}"))?;
                let absolute = std::path::absolute(path)?;
                Url::from_directory_path(&absolute).map_err(|()| anyhow::anyhow!("{path} is no directory"))?
            }
        };
        #[allow(clippy::disallowed_methods, reason = "this program reads where the store is as the engine does")]
        let options: BTreeMap<String, String> =
            std::env::vars().map(|(key, value)| (key.to_ascii_lowercase(), value)).collect();
        let (store, below) = object_store::parse_url_opts(&url, options).context("the store cannot be opened")?;
        Ok(Self { store, below, seen: HashSet::new(), latencies: Vec::new(), clock })
    }

    /// Looks until so many records are visible, for a limited time.
    async fn look_for(&mut self, records: usize, limit: Duration) -> Result<()> {
        let until = self.clock.monotonic() + limit;
        while self.latencies.len() < records {
            let seen = self.latencies.len();
            ensure!(self.clock.monotonic() < until, "{seen} of {records} records were visible after {limit:?}");
            self.look().await?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Reads what has become visible.
    async fn look(&mut self) -> Result<()> {
        let listed: Vec<_> = self.store.list(Some(&self.below)).try_collect().await?;
        let is_hidden = |path: &Path| path.parts().any(|part| part.as_ref().starts_with(['.', '_']));
        for object in listed {
            let path = object.location;
            if is_hidden(&path) || self.seen.contains(&path) {
                continue;
            }
            let bytes = self.store.get(&path).await?.bytes().await?;
            let now = millis(self.clock.unix_time());
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let record: Record = serde_json::from_slice(line).with_context(|| format!("{path} cannot be read"))?;
                self.latencies.push(now - record.sent);
            }
            self.seen.insert(path);
        }
        Ok(())
    }
}
