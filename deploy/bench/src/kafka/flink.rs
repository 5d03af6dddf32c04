//! Throughput of Thalweg against Apache Flink: each reads the same topic by the same script, in turns, in one process of its own.
//!
//! ```text
//! copy    topic --> topic                                    each record once
//! count   topic --> windows of 1 s of event time --> topic   a result for each key and window
//! ```
//!
//! Both write exactly once, take checkpoints as often, have the same number of slices, and are observed in the same way. Then their
//! results are read and held against what must be there.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::{Message as _, consumer::BaseConsumer};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use thalweg::seams::Surroundings;
use thalweg_types::seam::Clock;
use tokio::process::Command;

use super::{
    KafkaArgs,
    client::{self, Topics, Writer},
    observed::{Observed, Steady, observe},
    pipeline::{self, Engine, KEYS, WINDOW_MS},
    runs,
    variant::Variant,
};
use crate::figures::{Report, Row, largest, median};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/flink/apache-flink");
/// Its exit status where Java or Maven is not there.
const MISSING: i32 = 77;
/// How long a reader waits for more records where there should be none.
const AT_END: Duration = Duration::from_secs(5);

/// The medians of an engine's runs.
#[derive(Debug, Serialize)]
struct Compared {
    what: String,
    engine: &'static str,
    records: u64,
    /// From the first commit to the last; `None` if that was too short in a run: more records are needed.
    records_per_second: Option<f64>,
    cpu_seconds_per_million: Option<f64>,
    /// From the start of the process, which a short run consists of, to the last commit.
    with_start_records_per_second: f64,
    with_start_cpu_seconds_per_million: f64,
    peak_rss_mib: f64,
    /// Of the rates, and of processor time, from the first commit to the last, in the same turn: by what factor Thalweg's is
    /// better. `None` for Flink itself.
    times_as_fast: Option<f64>,
    times_less_cpu: Option<f64>,
}

impl Row for Compared {
    const TITLES: &'static [&'static str] = &[
        "what ",
        "engine ",
        "records",
        "records/s",
        "cpu s/M",
        "records/s with start",
        "cpu s/M with start",
        "peak RSS MiB",
        "times as fast",
        "times less cpu",
    ];

    fn cells(&self) -> Vec<String> {
        let optional =
            |figure: Option<f64>, digits: usize| figure.map_or_else(String::new, |it| format!("{it:.digits$}"));
        vec![
            self.what.clone(),
            self.engine.to_owned(),
            self.records.to_string(),
            optional(self.records_per_second, 0),
            optional(self.cpu_seconds_per_million, 3),
            format!("{:.0}", self.with_start_records_per_second),
            format!("{:.3}", self.with_start_cpu_seconds_per_million),
            format!("{:.1}", self.peak_rss_mib),
            optional(self.times_as_fast, 2),
            optional(self.times_less_cpu, 2),
        ]
    }
}

/// Makes all runs, or says why Flink cannot run here.
pub(super) async fn run(args: &KafkaArgs, servers: &str) -> Result<()> {
    let missing = "there is no place for Apache Flink: name a directory by --flink or THALWEG_FLINK";
    let installation = args.flink.as_deref().context(missing)?;
    if let Some(reason) = install(installation).await? {
        eprintln!("the comparison with Flink is skipped: {reason}");
        return Ok(());
    }
    let surroundings = Surroundings::of_system(1)?;
    let clock = surroundings.seams().clock;
    let mut topics = Topics::new(servers)?;
    let topic = topics.create("compared", args.partitions).await?;
    fill(args, servers, &topic)?;
    let comparison = Comparison { args, servers, topic: &topic, installation, clock: clock.as_ref() };
    let mut report = Report::new(args.json);
    for variant in [Variant::Copy, Variant::Count] {
        let mut turns = Vec::new();
        for _ in 0..args.repeat {
            let thalweg = comparison.run(&mut topics, variant, Engine::Thalweg).await?;
            turns.push((thalweg, comparison.run(&mut topics, variant, Engine::Flink).await?));
        }
        for engine in [Engine::Thalweg, Engine::Flink] {
            report.row(&row(&turns, variant, engine, args.records))?;
        }
    }
    Ok(())
}

/// Installs Flink, if it is not there. Returns what is missing for that.
async fn install(installation: &Path) -> Result<Option<String>> {
    let mut command = Command::new(SCRIPT);
    command.arg("install").arg(installation).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.with_context(|| format!("could not run {SCRIPT}"))?;
    let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.code() == Some(MISSING) {
        return Ok(Some(errors));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "could not install Apache Flink: {errors} {}", said.trim());
    Ok(None)
}

fn fill(args: &KafkaArgs, servers: &str, topic: &str) -> Result<()> {
    let writer = Writer::new(servers, None)?;
    let texts = pipeline::texts(args.bytes);
    for number in 0..args.records {
        let text = &texts[usize::try_from(number)? % texts.len()];
        let partition = i32::try_from(number % u64::from(args.partitions))?;
        writer.send(topic, partition, pipeline::compared_record(number, text).as_bytes())?;
        writer.poll();
    }
    writer.flush()
}

/// What all runs have in common.
struct Comparison<'a> {
    args: &'a KafkaArgs,
    servers: &'a str,
    topic: &'a str,
    installation: &'a Path,
    clock: &'a dyn Clock,
}

impl Comparison<'_> {
    /// Makes one run with a new topic for its results, and checks them.
    async fn run(&self, topics: &mut Topics, variant: Variant, engine: Engine) -> Result<Observed> {
        let results = topics.create(&format!("{}-{}", variant.word(), word(engine)), self.args.partitions).await?;
        let directory = TempDir::with_prefix("thalweg-bench-").context("could not create a temporary directory")?;
        let command = match engine {
            Engine::Thalweg => {
                let mut command = runs::command(self.args, self.servers, variant, self.topic)?;
                command.args(["--results", &results]);
                command
            }
            Engine::Flink => self.flink(variant, &results, directory.path())?,
        };
        let log = directory.path().join("log");
        let observed = observe(command, &log, (self.servers, &results), self.clock).await;
        let observed = observed.with_context(|| format!("{} failed with {}", word(engine), variant.word()))?;
        let consumer = client::consumer(self.servers, &results)?;
        let check = if variant == Variant::Count { check_counts } else { check_copy };
        let checked = check(&consumer, self.args.records);
        checked.with_context(|| format!("{}'s results of {} are wrong", word(engine), variant.word()))?;
        topics.delete(&results).await?;
        Ok(observed)
    }

    /// Flink runs as its guides recommend for speed: objects are reused, and state is on the heap.
    fn flink(&self, variant: Variant, results: &str, directory: &Path) -> Result<Command> {
        let sql = pipeline::compared(variant, Engine::Flink, self.servers, (self.topic, results));
        let script = directory.join("script.sql");
        std::fs::write(&script, sql).context("could not write a script")?;
        let mut command = Command::new(SCRIPT);
        command.arg("run").arg(self.installation).arg(script);
        command.arg(format!("parallelism.default={}", self.args.parallelism));
        command.arg(format!("execution.checkpointing.interval={} ms", self.args.interval.as_millis()));
        command.arg(format!("execution.checkpointing.dir=file://{}", directory.join("checkpoints").display()));
        command.args(["state.backend.type=hashmap", "pipeline.object-reuse=true"]);
        Ok(command)
    }
}

fn word(engine: Engine) -> &'static str {
    match engine {
        Engine::Thalweg => "thalweg",
        Engine::Flink => "flink",
    }
}

#[derive(Deserialize)]
struct Copied {
    id: u64,
}

/// Each record must be there once.
fn check_copy(consumer: &BaseConsumer, records: u64) -> Result<()> {
    let mut seen = vec![false; usize::try_from(records)?];
    for read in 0..records {
        let copied: Copied =
            next(consumer)?.with_context(|| format!("there are {read} records instead of {records}"))?;
        let seen = usize::try_from(copied.id).ok().and_then(|id| seen.get_mut(id)).context("a record was made up")?;
        ensure!(!std::mem::replace(seen, true), "record {} was written twice", copied.id);
    }
    ensure!(next::<Copied>(consumer)?.is_none(), "there are more than {records} records");
    Ok(())
}

#[derive(Deserialize)]
struct Counted {
    k: u64,
    records: u64,
    last: u64,
}

/// The count of each key in each window must be there once, and be right.
fn check_counts(consumer: &BaseConsumer, records: u64) -> Result<()> {
    let first = pipeline::event_time_ms(0) / WINDOW_MS;
    let place = |key: u64, at_ms: u64| {
        let window = (at_ms / WINDOW_MS).checked_sub(first).context("a window was made up")?;
        usize::try_from(window * KEYS + key).context("a window was made up")
    };
    let windows = pipeline::event_time_ms(records) / WINDOW_MS - first + 1;
    let mut missing = vec![0; usize::try_from(windows * KEYS)?];
    for number in 0..records {
        missing[place(pipeline::key(number), pipeline::event_time_ms(number))?] += 1;
    }
    while let Some(counted) = next::<Counted>(consumer)? {
        let missing = missing.get_mut(place(counted.k, counted.last)?).context("a window was made up")?;
        ensure!(counted.records == *missing, "{} instead of {missing} records of key {}", counted.records, counted.k);
        *missing = 0;
    }
    let missing = missing.iter().filter(|missing| **missing > 0).count();
    ensure!(missing == 0, "{missing} results are missing");
    Ok(())
}

/// The next committed result, if there is one.
fn next<T: for<'a> Deserialize<'a>>(consumer: &BaseConsumer) -> Result<Option<T>> {
    // All are committed already.
    let Some(message) = client::next(consumer, AT_END)? else { return Ok(None) };
    let value = message.payload().context("a record has no value")?;
    match serde_json::from_slice(value) {
        Ok(read) => Ok(Some(read)),
        Err(error) => bail!("{} cannot be read: {error}", String::from_utf8_lossy(value)),
    }
}

fn row(turns: &[(Observed, Observed)], variant: Variant, engine: Engine, records: u64) -> Compared {
    let own = |(thalweg, flink): &(Observed, Observed)| if engine == Engine::Thalweg { *thalweg } else { *flink };
    let runs: Vec<Observed> = turns.iter().map(own).collect();
    let middle = |figure: &dyn Fn(&Observed) -> f64| median(runs.iter().map(figure).collect());
    let steady = |figure: &dyn Fn(&Steady) -> f64| {
        let figures: Option<Vec<f64>> = runs.iter().map(|run| run.steady.as_ref().map(figure)).collect();
        figures.map(median)
    };
    let ratio = |figure: &dyn Fn(&Steady) -> f64| {
        let pairs = turns.iter().map(|(thalweg, flink)| Some((thalweg.steady?, flink.steady?)));
        let ratios: Option<Vec<f64>> =
            pairs.map(|pair| pair.map(|(thalweg, flink)| figure(&flink) / figure(&thalweg))).collect();
        ratios.filter(|_| engine == Engine::Thalweg).map(median)
    };
    let (count, millions) = (records as f64, records as f64 / 1e6);
    Compared {
        what: variant.word(),
        engine: word(engine),
        records,
        records_per_second: steady(&|steady| count * steady.share / steady.seconds),
        cpu_seconds_per_million: steady(&|steady| steady.cpu_seconds / (millions * steady.share)),
        with_start_records_per_second: middle(&|run| count / run.seconds),
        with_start_cpu_seconds_per_million: middle(&|run| run.cpu_seconds / millions),
        peak_rss_mib: largest(runs.iter().map(|run| run.peak_rss_mib)),
        times_as_fast: ratio(&|steady| steady.seconds / steady.share),
        times_less_cpu: ratio(&|steady| steady.cpu_seconds / steady.share),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_processor_time_are_those_of_the_share_between_commits() {
        let run = |seconds, cpu_seconds| Observed {
            seconds: 2.0 * seconds,
            cpu_seconds: 4.0 * cpu_seconds,
            steady: Some(Steady { share: 0.5, seconds, cpu_seconds }),
            peak_rss_mib: 1.0,
        };
        let turns = [(run(1.0, 2.0), run(10.0, 12.0)), (run(2.0, 4.0), run(20.0, 24.0))];
        let thalweg = row(&turns, Variant::Copy, Engine::Thalweg, 4_000_000);
        assert_eq!((thalweg.records_per_second, thalweg.cpu_seconds_per_million), (Some(2e6), Some(2.0)));
        assert_eq!((thalweg.times_as_fast, thalweg.times_less_cpu), (Some(10.0), Some(6.0)));
        let flink = row(&turns, Variant::Copy, Engine::Flink, 4_000_000);
        assert_eq!((flink.records_per_second, flink.times_as_fast), (Some(2e5), None));
    }
}
