//! A directory with very many files is watched, and new ones come. What they cost does not depend on how many there were
//! before: checkpoints stay small, leaders keep their terms, and clients are answered.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use process::{Background, free_addresses};
use thalweg::{seams::Surroundings, tcp::TcpNetwork};
use thalweg_client::{Client, ClientConfig, SubmitOptions};
use thalweg_proto::network::Network;
use thalweg_types::{
    Attempt, JobId, JobStatus,
    job::{CheckpointOverview, CheckpointState, JobOverview},
};

const OLD: [u64; 2] = [100, 20_000];
const NEW: u64 = 300;
/// More than 300 files take in a checkpoint of their own, and less than the names of 2,000.
const CHECKPOINT_BYTES_MAX: u64 = 48 << 10;
/// Checkpoints, one a second, that may pass before the new files are read, more than with few old ones. It took hundreds
/// when each new file cost a listing.
const CHECKPOINTS_MAX: u64 = 30;

fn coordinator(number: usize, addresses: &[String], data: &Path) -> Background {
    let members: Vec<String> = addresses.iter().zip(1..).map(|(address, id)| format!("{id}={address}")).collect();
    let (member, members, listen) = (number.to_string(), members.join(","), addresses[number - 1].as_str());
    let (data, checkpoints) = (data.join(format!("coordinator-{number}")), data.join("checkpoints"));
    let identity = ["coordinator", "--member", &member, "--listen", listen, "--cluster", "test", "--members", &members];
    let place = ["--data-dir", data.to_str().expect("text"), "--checkpoints", checkpoints.to_str().expect("text")];
    // Generous timeouts: a busy machine may schedule a process late.
    let times = ["--checkpoint-interval", "1 s", "--raft-tick", "100 ms", "--lease", "6 s"];
    Background::start(&[&identity[..], &place[..], &times[..]].concat())
}

/// Calls `look` again and again until it returns true.
async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !look().await {
        assert!(start.elapsed() < Duration::from_secs(300), "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn put(watched: &Path, files: std::ops::Range<u64>) {
    for number in files {
        let name = format!("a-file-among-very-many-{number:05}.json");
        fs::write(watched.join(name), "{\"a\":1}\n").expect("written");
    }
}

/// A cluster whose job reads a watched directory.
struct Watching {
    cluster: Client,
    job: JobId,
}

impl Watching {
    async fn show(&self) -> JobOverview {
        self.cluster.job(self.job).await.expect("it answers")
    }

    /// How many records each subtask of the source has read.
    async fn read(&self) -> Vec<u64> {
        let subtasks = self.show().await.subtasks.into_iter().filter(|subtask| subtask.is_source);
        subtasks.map(|subtask| subtask.metrics.records_in).collect()
    }

    async fn until_read(&self, files: u64) {
        until("all files to be read", async || self.read().await.iter().sum::<u64>() >= files).await;
        assert_eq!(self.read().await.iter().sum::<u64>(), files, "each once");
    }

    async fn complete(&self) -> Vec<CheckpointOverview> {
        let all = self.cluster.checkpoints(self.job).await.expect("it answers").into_iter();
        all.filter(|checkpoint| checkpoint.state == CheckpointState::Complete).collect()
    }

    /// The number of the newest complete checkpoint.
    async fn newest(&self) -> u64 {
        self.complete().await.iter().map(|checkpoint| checkpoint.checkpoint.0).max().unwrap_or(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_files_cost_the_same_however_many_there_were_before() {
    let mut passed = Vec::new();
    for old in OLD {
        passed.push(read_new_beside(old).await);
    }
    assert!(passed[1] <= passed[0] + CHECKPOINTS_MAX, "checkpoints while the new files were read: {passed:?}");
}

/// Reads new files beside so many old ones. Returns how many checkpoints passed meanwhile.
async fn read_new_beside(old: u64) -> u64 {
    let directory = tempfile::tempdir().expect("a directory");
    let watched = directory.path().join("watched");
    fs::create_dir(&watched).expect("created");
    put(&watched, 0..old);
    let addresses: [String; 3] = free_addresses();
    let _coordinators: Vec<Background> =
        (1..=3).map(|number| coordinator(number, &addresses, directory.path())).collect();
    let node = Background::start(&["node", "--node", "1", "--coordinator", &addresses.join(","), "--slots", "2"]);
    let surroundings = Surroundings::of_system(1).expect("threads");
    let config = ClientConfig { coordinators: addresses.to_vec(), deadline_ms: 60_000 };
    let network: Arc<dyn Network> = Arc::new(TcpNetwork);
    let cluster = Client::connect(config, network, surroundings.seams().entropy.clone()).await.expect("it answers");
    until("the node", async || cluster.nodes().await.expect("it answers").len() == 1).await;
    let began = cluster.cluster().await.expect("it answers").term;
    let sql = format!(
        "CREATE TABLE i (a BIGINT) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{}', \
           'source.monitor-interval' = '200 ms'); \
         CREATE TABLE o (a BIGINT) WITH ('connector' = 'blackhole'); \
         INSERT INTO o SELECT a FROM i;",
        watched.display(),
    );
    let job = cluster.submit(SubmitOptions { sql, ..SubmitOptions::default() }).await.expect("it is taken").job;
    let job = Watching { cluster, job };
    job.until_read(old).await;
    let (read, before) = (job.read().await, job.newest().await);
    until("a checkpoint behind the old files", async || job.newest().await > before + 1).await;
    let before = job.newest().await;
    put(&watched, old..old + NEW);
    job.until_read(old + NEW).await;
    let after = job.newest().await;
    let now = job.read().await;
    assert!(now.iter().zip(&read).all(|(now, before)| now > before), "all subtasks read them: {read:?}, then {now:?}");
    until("a checkpoint behind the new files", async || job.newest().await > after + 1).await;
    for checkpoint in job.complete().await.iter().filter(|checkpoint| checkpoint.checkpoint.0 > before + 1) {
        let uploaded = checkpoint.cost.uploaded_bytes;
        assert!(uploaded < CHECKPOINT_BYTES_MAX, "{} took {uploaded} bytes", checkpoint.checkpoint);
        let path = checkpoint.url.strip_prefix("file://").unwrap_or(&checkpoint.url);
        // Old ones are deleted.
        let Ok(manifest) = fs::metadata(path) else { continue };
        assert!(manifest.len() < CHECKPOINT_BYTES_MAX, "{path} has {} bytes", manifest.len());
    }
    let newest = job.complete().await.into_iter().max_by_key(|checkpoint| checkpoint.checkpoint).expect("there is one");
    assert!(newest.cost.state_bytes >= 16 * (old + NEW), "all names are remembered");
    let start = Instant::now();
    job.cluster.stop(job.job).await.expect("it runs");
    assert!(start.elapsed() < Duration::from_secs(15), "stop was heard after {:?}", start.elapsed());
    until("the job's end", async || job.show().await.status == JobStatus::Stopped).await;
    assert_eq!(job.cluster.cluster().await.expect("it answers").term, began, "the leader is the same");
    assert_eq!(job.show().await.attempt, Attempt(1), "the node was never lost: {}", node.log());
    after - before
}
