//! Every case, streamed and in batch: at parallelism 1 and 4, on one node and on three.
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
use thalweg::{
    embedded::{EmbeddedCluster, EmbeddedOptions},
    progress::Totals,
};
use thalweg_client::{Client, SubmitOptions, SubmittedJob};
use thalweg_sim::{
    case::{self, Case, Output, Twin},
    input,
    oracle::{self, Oracle},
    rows::{self, Cell, Row},
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

/// One case, one way of running it.
struct Trial<'a> {
    case: &'a Case,
    client: &'a Client,
    data: &'a Path,
    /// A directory of this trial's own.
    out: PathBuf,
    parallelism: u32,
}

impl Trial<'_> {
    async fn check(&self, oracle: &Oracle) -> Result<()> {
        let tables = include_str!("../cases/tables.sql");
        self.check_script(format!("{tables}\n{}", self.case.stream), oracle).await
    }

    async fn check_script(&self, script: String, oracle: &Oracle) -> Result<()> {
        let (_, selects) = self.stream(&script).await?;
        let with_late;
        let oracle = if self.case.late {
            with_late = Oracle::load(self.data)?.with_late(self.late_records()?)?;
            &with_late
        } else {
            oracle
        };
        self.compare(&selects, &self.case.twins, oracle).await
    }

    /// Runs a script to its end; gives the job and the rows of each of its SELECTs.
    async fn stream(&self, script: &str) -> Result<(JobId, Vec<Vec<Row>>)> {
        let submitted = self.client.submit(self.request(script)).await.context("the script was refused")?;
        match tokio::time::timeout(CASE_TIMEOUT, self.run(&submitted)).await {
            Ok(streamed) => Ok((submitted.job, streamed?)),
            Err(_) => {
                let job = self.client.job(submitted.job).await?;
                self.client.cancel(submitted.job).await.ok();
                bail!("the job did not end; it is {}: {:?}\n{}", job.status, job.subtasks, job.plan);
            }
        }
    }

    async fn compare(&self, selects: &[Vec<Row>], twins: &[Twin], oracle: &Oracle) -> Result<()> {
        for twin in twins {
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
            if let Some(difference) = rows::difference(actual, expected) {
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

    /// Runs the job to its end; gives the rows of each of its SELECTs.
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

    /// What the job reported late. A column that an operator does not have is NULL.
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

/// Runs every case on a cluster of so many nodes; says which failed, and how.
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

fn demo_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo")
}

/// The demo's script as it is, over its data wherever the test runs, and the batch side.
fn demo() -> (Case, Oracle) {
    let demo = demo_directory();
    let read = |name: &str| std::fs::read_to_string(demo.join(name)).expect("the demo can be read");
    let script = read("demo.sql").replace("deploy/demo/data", &demo.join("data").display().to_string());
    let case = Case { stream: script, ..case::parse("demo", &read("demo_batch.sql")).expect("it is a case") };
    let tables = ["flights", "weather"].map(|name| (name, demo.join(format!("data/{name}.parquet"))));
    (case, Oracle::of_parquet(&tables).expect("the data can be read"))
}

/// The demo over its year of data, waiting long enough that nothing is late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_patient_demo_gives_the_batch_answer() {
    let (case, oracle) = demo();
    let (short, long) = ("departure_time - INTERVAL '6' HOUR", "departure_time - INTERVAL '2' DAY");
    assert!(case.stream.contains(short), "the demo's watermark has changed");
    let script = case.stream.replace(short, long);
    let options = EmbeddedOptions { nodes: 2, slots: 2, ..EmbeddedOptions::default() };
    let cluster = EmbeddedCluster::start(options).await.expect("a cluster starts");
    let demo = demo_directory();
    let trial = Trial { case: &case, client: cluster.client(), data: &demo, out: demo.clone(), parallelism: 2 };
    trial.check_script(script, &oracle).await.expect("both give the same");
    cluster.shutdown().await;
}

/// The flights without those that were late for a window of these hours, in an operator whose late records have a column.
/// Flights have no number: of equal ones as many are left out as were late.
fn without_late(hours: u32, column: &str, key: &str, delay: &str) -> String {
    let numbered = format!(
        "*, coalesce({delay}, -100000) AS known_delay, \
           row_number() OVER (PARTITION BY departure_time, {key}, {delay} ORDER BY departure_time) AS copy"
    );
    format!(
        "(SELECT f.* FROM (SELECT {numbered} FROM flights) f LEFT ANTI JOIN (SELECT {numbered} FROM late \
           WHERE window_end = window_start + INTERVAL '{hours} hours' \
             AND operator IN (SELECT operator FROM late WHERE {column} IS NOT NULL)) l \
         ON f.departure_time = l.departure_time AND f.{key} = l.{key} \
           AND f.known_delay = l.known_delay AND f.copy = l.copy)"
    )
}

/// The demo as people run it: the answer is the batch's over the flights that were not reported late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_gives_the_batch_answer_less_the_late_flights() {
    let (case, oracle) = demo();
    let out = tempfile::tempdir().expect("a directory for late records");
    let options = EmbeddedOptions { nodes: 2, slots: 2, ..EmbeddedOptions::default() };
    let cluster = EmbeddedCluster::start(options).await.expect("a cluster starts");
    let (data, out) = (demo_directory(), out.path().to_owned());
    let trial = Trial { case: &case, client: cluster.client(), data: &data, out, parallelism: 2 };
    let script = format!("SET 'late.path' = '${{out}}/late';\n{}", case.stream);
    let (job, selects) = trial.stream(&script).await.expect("the demo runs");
    let late = trial.late_records().expect("some flights are late");
    let verdicts: usize = late.iter().map(RecordBatch::num_rows).sum();
    let oracle = oracle.with_late(late).expect("late records are of one schema");

    // Departures by the hour, the airlines of a day; the temperatures are never late.
    let mut twins = case.twins[..3].to_vec();
    let kept = [
        without_late(1, "dep_delay_minutes", "origin", "dep_delay_minutes"),
        without_late(24, "carrier", "carrier", "arr_delay_minutes"),
    ];
    for (twin, kept) in twins.iter_mut().zip(&kept) {
        assert_eq!(twin.sql.matches("FROM flights").count(), 1, "the demo's batch side has changed");
        twin.sql = twin.sql.replace("FROM flights", &format!("FROM {kept}"));
    }
    trial.compare(&selects, &twins, &oracle).await.expect("both give the same");
    let unaware = trial.compare(&selects, &case.twins[..1], &oracle).await;
    assert!(unaware.is_err(), "late flights must be missed, or this shows nothing");

    let reported = Totals::of(&cluster.client().job(job).await.expect("the job is known")).late;
    assert_eq!(u64::try_from(verdicts).expect("few"), reported, "each verdict is counted and written");
    let flights = "SELECT count(DISTINCT CAST(departure_time AS VARCHAR) || origin) FROM late";
    let (rows, _) = oracle.answer(flights).await.expect("they can be counted");
    let [Cell::Integer(flights)] = rows[0][..] else { panic!("a number: {rows:?}") };
    assert!(
        flights > 0 && flights < i128::from(reported),
        "several windows refuse one flight: {flights} of {reported}"
    );
    cluster.shutdown().await;
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
