//! All known answers: at parallelism 1 on one node, and at parallelism 4 on three.
//!
//! `THALWEG_CASE=guards cargo test -p thalweg-sim --test answers` runs only those with `guards` in their names.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use futures::StreamExt as _;
use serde_json::Value;
use thalweg::{
    args::OutputFormat,
    embedded::{EmbeddedCluster, EmbeddedOptions},
    follow::all_rows,
    output::RowPrinter,
};
use thalweg_client::{Client, SubmitOptions};
use thalweg_sim::answers::{self, KnownAnswer};
use thalweg_types::JobStatus;

const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

fn known() -> Vec<KnownAnswer> {
    let all = answers::read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("answers")).expect("they can be read");
    #[allow(clippy::disallowed_methods, reason = "a test's filter is no configuration of the product")]
    let wanted = std::env::var("THALWEG_CASE").unwrap_or_default();
    all.into_iter().filter(|answer| answer.name.contains(&wanted)).collect()
}

/// The printed rows of a script's SELECT.
async fn rows(client: &Client, answer: &KnownAnswer, parallelism: u32) -> Result<Vec<Value>> {
    // A file's byte order mark is removed by its reader.
    let sql = answer.script.trim_start_matches('\u{feff}').to_owned();
    let options = SubmitOptions { sql, parallelism: Some(parallelism), ..SubmitOptions::default() };
    let submitted = client.submit(options).await.context("the script was refused")?;
    let mut shown = Vec::new();
    let mut printer = RowPrinter::new(&mut shown, OutputFormat::Json, submitted.queries.len());
    let mut rows = all_rows(client, &submitted);
    while let Some((query, batch)) = rows.next().await {
        printer.print(query, &batch?)?;
    }
    let job = client.wait(submitted.job).await?;
    if job.status != JobStatus::Finished {
        bail!("the job has {}: {:?}", job.status, job.failure);
    }
    answers::parse_rows(&String::from_utf8(shown)?)
}

async fn check_on(nodes: u32, parallelism: u32) {
    let options = EmbeddedOptions { nodes, slots: 4, ..EmbeddedOptions::default() };
    let cluster = EmbeddedCluster::start(options).await.expect("a cluster starts");
    let mut failures = Vec::new();
    for answer in known() {
        let given = tokio::time::timeout(ANSWERED_WITHIN, rows(cluster.client(), &answer, parallelism)).await;
        let wrong = match given {
            Ok(Ok(given)) => answers::difference(&given, &answer.rows),
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some("no answer in time".to_owned()),
        };
        failures.extend(wrong.map(|wrong| format!("{}: {wrong}", answer.name)));
    }
    cluster.shutdown().await;
    assert!(failures.is_empty(), "{} failed:\n\n{}", failures.len(), failures.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_answers_are_given_on_one_node() {
    check_on(1, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_answers_are_given_on_three_nodes() {
    check_on(3, 4).await;
}
