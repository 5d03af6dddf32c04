//! All cases, streamed and in batch: at parallelism 1 and 4, on one node and on three.
//!
//! `THALWEG_CASE=hop cargo test -p thalweg-sim --test sql` runs only the cases with `hop` in their names.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Field, Schema, TimeUnit},
};
use thalweg::embedded::{EmbeddedCluster, EmbeddedOptions};
use thalweg_client::{Client, SubmitOptions, SubmittedJob};
use thalweg_sim::{
    case::{self, Case, Output},
    input,
    oracle::{self, Oracle},
    rows::{self, Row},
};
use thalweg_types::{JobId, JobStatus};

const SEED: u64 = 1;
const CASE_TIMEOUT: Duration = Duration::from_secs(60);

fn cases() -> Vec<Case> {
    let all = case::read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")).expect("the cases can be read");
    #[allow(clippy::disallowed_methods, reason = "a test's filter is no configuration of the product")]
    let wanted = std::env::var("THALWEG_CASE").unwrap_or_default();
    all.into_iter().filter(|case| case.name.contains(&wanted)).collect()
}

/// One run of a case.
struct Trial<'a> {
    case: &'a Case,
    client: &'a Client,
    data: &'a Path,
    /// The directory of this trial.
    out: PathBuf,
    parallelism: u32,
}

impl Trial<'_> {
    async fn check(&self, oracle: &Oracle) -> Result<()> {
        let tables = include_str!("../cases/tables.sql");
        let selects = self.stream(&format!("{tables}\n{}", self.case.stream)).await?;
        let with_late;
        let oracle = if self.case.late {
            with_late = Oracle::load(self.data)?.with_late(self.late_records()?)?;
            &with_late
        } else {
            oracle
        };
        self.compare(&selects, oracle).await
    }

    /// Runs a script to its end. Returns the rows of each SELECT.
    async fn stream(&self, script: &str) -> Result<Vec<Vec<Row>>> {
        let submitted = self.client.submit(self.request(script)).await.context("the script was refused")?;
        match tokio::time::timeout(CASE_TIMEOUT, self.run(&submitted)).await {
            Ok(streamed) => streamed,
            Err(_) => {
                let job = self.client.job(submitted.job).await?;
                self.client.cancel(submitted.job).await.ok();
                bail!("the job did not end; it is {}: {:?}\n{}", job.status, job.subtasks, job.plan);
            }
        }
    }

    async fn compare(&self, selects: &[Vec<Row>], oracle: &Oracle) -> Result<()> {
        for twin in &self.case.twins {
            let (expected, schema) = oracle.answer(&twin.sql).await?;
            let (actual, name) = match &twin.output {
                Output::Select(query) => {
                    let rows = selects.get(usize::try_from(*query)?).context("the script has fewer SELECTs")?;
                    (rows.clone(), format!("SELECT {query}"))
                }
                Output::Files { directory, format } => {
                    (oracle::read_output(&self.out.join(directory), *format, &schema)?, directory.clone())
                }
            };
            let is_meant_empty = self.case.name == "filter_everything";
            ensure!(
                expected.is_empty() == is_meant_empty,
                "{name}: the twin must have rows, or the case shows nothing"
            );
            let difference = match twin.ordered {
                true => rows::difference_in_order(&actual, &expected),
                false => rows::difference(actual, expected),
            };
            if let Some(difference) = difference {
                bail!("{name}: {difference}");
            }
        }
        Ok(())
    }

    fn request(&self, script: &str) -> SubmitOptions {
        let sql = script
            .replace("${data}", &self.data.display().to_string())
            .replace("${out}", &self.out.display().to_string());
        let (name, parallelism) = (self.case.name.clone(), Some(self.parallelism));
        SubmitOptions { sql, name, parallelism, ..SubmitOptions::default() }
    }

    /// Runs a job to its end. Returns the rows of each SELECT.
    async fn run(&self, submitted: &SubmittedJob) -> Result<Vec<Vec<Row>>> {
        let fetches = submitted.queries.iter().map(|query| self.fetch(submitted.job, query.query));
        let selects = futures::future::join_all(fetches).await;
        let job = self.client.wait(submitted.job).await?;
        if job.status != JobStatus::Finished {
            let failure = job.failure.map_or_else(String::new, |failure| failure.message);
            bail!("the job has {}: {failure}\n{}", job.status, job.plan);
        }
        ensure!(job.attempt.0 == 1, "the job was restarted: {:?}", job.failure);
        selects.into_iter().collect()
    }

    async fn fetch(&self, job: JobId, query: u32) -> Result<Vec<Row>> {
        let mut rows = self.client.fetch_rows(job, query);
        let mut batches = Vec::new();
        while let Some(batch) = rows.next().await? {
            batches.push(batch);
        }
        rows::of_batches(&batches)
    }

    /// The late rows that the job reported. Columns that an operator does not have are NULL.
    fn late_records(&self) -> Result<Vec<RecordBatch>> {
        let time = || DataType::Timestamp(TimeUnit::Microsecond, None);
        let fields = [
            ("operator", DataType::Utf8),
            ("window_start", time()),
            ("window_end", time()),
            ("id", DataType::Int64),
            ("departure_time", time()),
            ("carrier", DataType::Utf8),
            ("origin", DataType::Utf8),
            ("dep_delay_minutes", DataType::Int32),
            ("arr_delay_minutes", DataType::Int32),
        ];
        let fields = fields.map(|(name, kind)| Field::new(name, kind, true));
        let files = oracle::files_below(&self.out.join("late")).context("no late records were written")?;
        oracle::read_json(&files, Arc::new(Schema::new(fields.to_vec())))
    }
}

/// Runs all cases on a cluster of `nodes` nodes. Returns the failures.
async fn failures_on(nodes: u32, data: &Path, oracle: &Oracle) -> Vec<String> {
    let options = EmbeddedOptions { nodes, slots: 8, ..EmbeddedOptions::default() };
    let cluster = EmbeddedCluster::start(options).await.expect("a cluster starts");
    let out = tempfile::tempdir().expect("a directory for output");
    let mut failures = Vec::new();
    for case in &cases() {
        for parallelism in if case.late { vec![1] } else { vec![1, 4] } {
            let out = out.path().join(format!("{}-{parallelism}", case.name));
            std::fs::create_dir_all(&out).expect("a directory for output");
            let trial = Trial { case, client: cluster.client(), data, out, parallelism };
            if let Err(error) = trial.check(oracle).await {
                failures.push(format!("{} at parallelism {parallelism} on {nodes} nodes: {error:#}", case.name));
            }
        }
    }
    cluster.shutdown().await;
    failures
}

async fn check_on(nodes: u32) {
    let data = tempfile::tempdir().expect("a directory for input");
    input::generate(data.path(), SEED).expect("input is generated");
    let oracle = Oracle::load(data.path()).expect("the input can be read");
    let failures = failures_on(nodes, data.path(), &oracle).await;
    assert!(failures.is_empty(), "{} failed:\n\n{}", failures.len(), failures.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streaming_gives_the_batch_answer_on_one_node() {
    check_on(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streaming_gives_the_batch_answer_on_three_nodes() {
    check_on(3).await;
}

#[test]
fn there_are_cases_for_what_is_promised() {
    let all = case::read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")).expect("the cases can be read");
    let names: Vec<String> = all.into_iter().map(|case| case.name).collect();
    for area in [
        "tumble",
        "hop",
        "cumulate",
        "session",
        "window_join",
        "top",
        "late",
        "union",
        "cascaded",
        "two_phase",
        "split_files",
        "several_files",
        "small_batches",
    ] {
        assert!(names.iter().any(|name| name.contains(area)), "no case about {area}");
    }
    assert!(names.len() >= 40, "only {} cases", names.len());
}
