//! Clients of clusters of real processes: our own through the death of a leader, and one in Python that knows of a cluster what
//! its coordinators tell by reflection. `THALWEG_GRPC_PYTHON=FILE` names a Python with grpcio, grpcio-reflection,
//! grpcio-tools and pyarrow; without it, that test is skipped.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use arrow::{array::AsArray, datatypes::Int64Type};
use process::{Background, free_addresses, thalweg, wait_until};
use thalweg_client::{Client, ClientConfig, ClientError, JobStatus, PreviewLimits, SubmitOptions};

fn numbers(count: u32, per_second: u32) -> String {
    format!(
        "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{count}', \
           'rows-per-second' = '{per_second}', 'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{count}');\n\
         SELECT n FROM numbers;"
    )
}

fn coordinator(number: usize, addresses: &[String], data: &Path) -> Background {
    let members: Vec<String> = addresses.iter().zip(1..).map(|(address, id)| format!("{id}={address}")).collect();
    let (member, listen) = (number.to_string(), addresses[number - 1].as_str());
    let (own, checkpoints) = (data.join(format!("coordinator-{number}")), data.join("checkpoints"));
    let (own, checkpoints) = (own.display().to_string(), checkpoints.display().to_string());
    let arguments = ["coordinator", "--member", &member, "--listen", listen, "--cluster", "test", "--data-dir", &own];
    let more = ["--members", &members.join(","), "--checkpoints", &checkpoints, "--checkpoint-interval", "500 ms"];
    Background::start(&[&arguments[..], &more[..]].concat())
}

/// Starts a node, and waits until the cluster has it.
fn node(coordinators: &str) -> Background {
    let node = Background::start(&["node", "--node", "1", "--coordinator", coordinators, "--slots", "2"]);
    wait_until("the node", || {
        let nodes = thalweg(&["nodes", "--coordinator", coordinators, "--timeout", "20 s", "-o", "json"]).stdout;
        nodes.contains("\"state\":\"alive\"").then_some(())
    });
    node
}

async fn connected(addresses: &[String]) -> Client {
    let config = ClientConfig { coordinators: addresses.to_vec(), ..ClientConfig::default() };
    Client::over_tcp(config).await.expect("a coordinator answers")
}

async fn fetched(client: &Client, sql: String) -> (thalweg_client::JobId, Vec<i64>) {
    let submitted = client.submit(SubmitOptions { sql, ..SubmitOptions::default() }).await.expect("it is planned");
    let mut rows = client.fetch_rows(submitted.job, submitted.queries[0].query);
    let mut numbers = Vec::new();
    while let Some(batch) = rows.next().await.expect("rows come") {
        numbers.extend(batch.column(0).as_primitive::<Int64Type>().values());
    }
    (submitted.job, numbers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_and_its_rows_go_on_when_the_leader_dies() {
    let directory = tempfile::tempdir().expect("a directory");
    let addresses: [String; 3] = free_addresses();
    let mut coordinators: Vec<Option<Background>> =
        (1..=3).map(|number| Some(coordinator(number, &addresses, directory.path()))).collect();
    let _node = node(&addresses.join(","));
    let client = connected(&addresses).await;
    let options = SubmitOptions { sql: numbers(6000, 1000), ..SubmitOptions::default() };
    let submitted = client.submit(options).await.expect("it is planned");
    let mut changes = client.watch(submitted.job);
    let mut told = Vec::new();
    while told.last() != Some(&JobStatus::Running) {
        told.push(changes.next().await.expect("the leader answers").expect("it has not ended").status);
    }
    let mut rows = client.fetch_rows(submitted.job, 0);
    let reading = tokio::spawn(async move {
        let mut numbers = Vec::new();
        while let Some(batch) = rows.next().await? {
            numbers.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
        }
        Ok::<_, ClientError>(numbers)
    });
    let leader = client.cluster().await.expect("it leads").leader.expect("it leads").0;
    coordinators[usize::try_from(leader).expect("a small number") - 1].take().expect("it runs").kill();
    let (killed, mut last) = (Instant::now(), None);
    while let Some(job) = changes.next().await.expect("the next leader answers") {
        told.push(job.status);
        last = Some(job);
    }
    let last = last.expect("its end is told");
    assert_eq!((last.status, last.attempt.0, last.failures), (JobStatus::Finished, 1, 0), "{told:?}");
    assert!(killed.elapsed() > Duration::from_secs(1), "the leader died while the job ran: {told:?}");
    let mut numbers = reading.await.expect("it does not panic").expect("rows come from the next leader");
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=6000).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_of_an_endless_select_leaves_nothing_running() {
    let directory = tempfile::tempdir().expect("a directory");
    let addresses: [String; 1] = free_addresses();
    let _coordinator = coordinator(1, &addresses, directory.path());
    let _node = node(&addresses[0]);
    let client = connected(&addresses).await;
    let sql = "CREATE TABLE numbers (n INT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000'); SELECT n FROM numbers;";
    let options = SubmitOptions { sql: sql.to_owned(), ..SubmitOptions::default() };
    let limits = PreviewLimits { rows: 7, within: Duration::from_secs(30) };
    let samples = client.preview(options, limits).await.expect("rows come");
    assert_eq!(samples.iter().map(|sample| (sample.rows(), sample.is_whole)).collect::<Vec<_>>(), [(7, false)]);
    let statuses: Vec<_> = client.jobs().await.expect("it leads").into_iter().map(|job| job.status).collect();
    assert_eq!(statuses, [JobStatus::Cancelled]);
    let (job, numbers) = fetched(&client, numbers(10, 1000)).await;
    assert_eq!(numbers, (1..=10).collect::<Vec<i64>>());
    client.wait(job).await.expect("it ends");
    client.forget(job).await.expect("it has ended");
    assert!(matches!(client.watch(job).next().await, Err(ClientError::NotFound { .. })));
}

#[test]
fn a_client_in_python_needs_reflection_alone() {
    let Some(python) = std::env::var_os("THALWEG_GRPC_PYTHON").filter(|python| !python.is_empty()) else {
        eprintln!("skipped: there is no Python with gRPC and pyarrow (THALWEG_GRPC_PYTHON)");
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let [all, clients] = free_addresses();
    let data = directory.path().display().to_string();
    let arguments = ["coordinator", "--listen", &all, "--client-listen", &clients, "--data-dir", &data];
    let _coordinator = Background::start(&arguments);
    let _node = node(&all);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = here.join("tests/grpc/client.py");
    let output = Command::new(&python).arg(script).arg(&clients).arg(here.join("../../proto")).output();
    let output = output.expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
