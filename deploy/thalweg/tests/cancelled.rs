//! A hundred jobs that are cancelled while nobody can clean up after them leave no hidden files, whoever leads
//! afterwards.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::{fs, path::Path, sync::Arc};

use process::{Background, free_addresses, wait_until};
use thalweg::{seams::Surroundings, tcp::TcpNetwork};
use thalweg_client::{Client, ClientConfig, SubmitOptions};
use thalweg_proto::network::Network;
use thalweg_types::job::JobOverview;

const JOBS: usize = 100;

fn coordinator(address: &str, data: &Path) -> Background {
    let data = data.to_str().expect("text");
    let place = ["coordinator", "--listen", address, "--data-dir", data, "--checkpoint-interval", "off"];
    Background::start(&[&place[..], &["--ended-jobs-max", "200"]].concat())
}

fn node(address: &str) -> Background {
    Background::start(&["node", "--node", "1", "--coordinator", address, "--slots", "200", "--memory", "8 GiB"])
}

/// The number of hidden files in a directory.
fn hidden(directory: &Path) -> usize {
    let names = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.file_name());
    names.filter(|name| name.to_str().is_some_and(|name| name.starts_with('.'))).count()
}

async fn client(address: &str, surroundings: &Surroundings) -> Client {
    let config = ClientConfig { coordinators: vec![address.to_owned()], deadline_ms: 60_000 };
    let network: Arc<dyn Network> = Arc::new(TcpNetwork);
    Client::connect(config, network, surroundings.seams().entropy.clone()).await.expect("it answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_cancelled_jobs_leave_nothing_hidden() {
    let directory = tempfile::tempdir().expect("a directory");
    let [address]: [String; 1] = free_addresses();
    let data = directory.path().join("data");
    let output = directory.path().join("out");
    let surroundings = Surroundings::of_system(1).expect("threads");
    let running = [coordinator(&address, &data), node(&address)];
    let cluster = client(&address, &surroundings).await;
    for _ in 0..JOBS {
        let sql = format!(
            "CREATE TABLE e (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '10', 'splits' = '1'); \
             CREATE TABLE o (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json'); \
             INSERT INTO o SELECT n FROM e;",
            output.display()
        );
        let submit = SubmitOptions { sql, parallelism: Some(1), ..SubmitOptions::default() };
        cluster.submit(submit).await.expect("it is taken");
    }
    wait_until("a hidden file of each job", || (hidden(&output) >= JOBS).then_some(()));
    let [coordinator_before, node_before] = running;
    node_before.kill();
    for job in cluster.jobs().await.expect("it answers") {
        let JobOverview { job, .. } = job;
        cluster.cancel(job).await.expect("it lives");
    }
    assert_eq!(hidden(&output), JOBS, "there is nobody to remove them");
    coordinator_before.kill();

    let _running = [coordinator(&address, &data), node(&address)];
    wait_until("an empty directory", || (hidden(&output) == 0).then_some(()));
}
