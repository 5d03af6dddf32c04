//! A directory with very many files is watched, and each checkpoint lists all of them. Leaders must keep their terms,
//! and clients must be answered.

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
    Attempt, JobStatus,
    job::{CheckpointState, JobOverview},
};

const FILES: usize = 3_000;

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
        assert!(start.elapsed() < Duration::from_secs(120), "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_watched_files_cost_no_leader_its_term() {
    let directory = tempfile::tempdir().expect("a directory");
    let watched = directory.path().join("watched");
    fs::create_dir(&watched).expect("created");
    for number in 0..FILES {
        fs::write(watched.join(format!("a-file-among-very-many-{number:05}.json")), "{\"a\":1}\n").expect("written");
    }
    let addresses: [String; 3] = free_addresses();
    let _coordinators: Vec<Background> =
        (1..=3).map(|number| coordinator(number, &addresses, directory.path())).collect();
    let node = Background::start(&["node", "--node", "1", "--coordinator", &addresses.join(","), "--slots", "1"]);
    let surroundings = Surroundings::of_system(1).expect("threads");
    let config = ClientConfig { coordinators: addresses.to_vec(), deadline_ms: 60_000 };
    let network: Arc<dyn Network> = Arc::new(TcpNetwork);
    let cluster = Client::connect(config, network, surroundings.seams().entropy.clone()).await.expect("it answers");
    until("the node", async || cluster.nodes().await.expect("it answers").len() == 1).await;
    let began = cluster.cluster().await.expect("it answers").term;
    let sql = format!(
        "CREATE TABLE i (a BIGINT) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{}', \
           'source.monitor-interval' = '1 s'); \
         CREATE TABLE o (a BIGINT) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{}'); \
         INSERT INTO o SELECT a FROM i;",
        watched.display(),
        directory.path().join("out").display()
    );
    let job = cluster.submit(SubmitOptions { sql, ..SubmitOptions::default() }).await.expect("it is taken").job;
    until("two checkpoints", async || {
        let checkpoints = cluster.checkpoints(job).await.expect("it answers");
        checkpoints.iter().filter(|checkpoint| checkpoint.state == CheckpointState::Complete).count() >= 2
    })
    .await;
    let start = Instant::now();
    cluster.stop(job).await.expect("it runs");
    assert!(start.elapsed() < Duration::from_secs(15), "stop was heard after {:?}", start.elapsed());
    let show = async || -> JobOverview { cluster.job(job).await.expect("it answers") };
    until("the job's end", async || show().await.status == JobStatus::Stopped).await;
    assert_eq!(cluster.cluster().await.expect("it answers").term, began, "the leader is the same");
    assert_eq!(show().await.attempt, Attempt(1), "the node was never lost: {}", node.log());
}
