//! From the end of a window until a client reads its results: topic, windows of a second by key, topic.
//!
//! ```text
//! this process --records, each with the time of its sending--> topic --> engine (a process) --> results --> this process
//! ```
//!
//! Records are sent in the order of their times, so a window is over when the first record of the next one is read. Both ends
//! have one clock. Results that are written exactly once are read when their transaction is committed, after the next checkpoint.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::{Message as _, consumer::BaseConsumer};
use serde::{Deserialize, Serialize};
use thalweg::seams::Surroundings;
use thalweg_types::seam::{Clock, Seams};
use tokio::process::Child;

use super::{
    KafkaArgs,
    client::{self, Topics, Writer, consumer},
    pipeline::{KEYS, WINDOW_MS, record, results_of},
    runs::command,
    variant::Variant,
};
use crate::{
    figures::{Report, Row, largest, percentile},
    measure,
};

/// How often records are sent, and results looked for.
const EVERY: Duration = Duration::from_millis(1);
/// Results that are taken at a time, before records are sent again.
const RESULTS_AT_ONCE: usize = 2000;
/// How long the first result may take.
const FIRST_WITHIN: Duration = Duration::from_secs(60);

/// One measurement, in milliseconds.
#[derive(Debug, Serialize)]
struct Latency {
    rate: u32,
    delivery: &'static str,
    interval_ms: u64,
    /// Records per second that were sent.
    sent_per_second: f64,
    results: usize,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    longest_ms: f64,
    /// Cores that the engine kept busy.
    cores: f64,
}

impl Row for Latency {
    const TITLES: &'static [&'static str] = &[
        "rate",
        "delivery     ",
        "interval ms",
        "sent/s",
        "results",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "longest ms",
        "cores",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.rate.to_string(),
            self.delivery.to_owned(),
            self.interval_ms.to_string(),
            format!("{:.0}", self.sent_per_second),
            self.results.to_string(),
            format!("{:.1}", self.p50_ms),
            format!("{:.1}", self.p90_ms),
            format!("{:.1}", self.p99_ms),
            format!("{:.1}", self.longest_ms),
            format!("{:.2}", self.cores),
        ]
    }
}

/// Measures each rate with each guarantee.
pub(super) async fn run(args: &KafkaArgs, servers: &str) -> Result<()> {
    let mut report = Report::new(args.json);
    for rate in &args.rates {
        for (variant, delivery) in [(Variant::Windows, "at-least-once"), (Variant::WindowsOnce, "exactly-once")] {
            report.row(&measure_one(args, servers, *rate, (variant, delivery)).await?)?;
        }
    }
    Ok(())
}

async fn measure_one(
    args: &KafkaArgs,
    servers: &str,
    rate: u32,
    (variant, delivery): (Variant, &'static str),
) -> Result<Latency> {
    let mut flow = Flow::start(args, servers, rate, variant).await?;
    // Statements are planned, caches are filled, and queues become as long as they will be.
    flow.run(args.watch).await?;
    flow.latencies.clear();
    let (sent, before, begun) = (flow.sent, flow.engine_cpu()?, flow.clock.monotonic());
    flow.run(args.watch).await?;
    let seconds = (flow.clock.monotonic() - begun).as_secs_f64();
    let cpu = flow.engine_cpu()?.saturating_sub(before).as_secs_f64();
    ensure!(!flow.latencies.is_empty(), "there were no results within {seconds:.0} s");
    let of = |share| percentile(flow.latencies.clone(), share);
    Ok(Latency {
        rate,
        delivery,
        interval_ms: u64::try_from(args.interval.as_millis())?,
        sent_per_second: (flow.sent - sent) as f64 / seconds,
        results: flow.latencies.len(),
        p50_ms: of(0.5),
        p90_ms: of(0.9),
        p99_ms: of(0.99),
        longest_ms: largest(flow.latencies.iter().copied()),
        cores: cpu / seconds,
    })
}

/// An engine that runs, what is sent to it, and what it answers. Dropping it kills the engine and deletes the topics.
pub(super) struct Flow {
    engine: Child,
    partitions: u64,
    rate: u32,
    topic: String,
    writer: Writer,
    results: BaseConsumer,
    /// Records.
    sent: u64,
    /// When the first record was sent.
    begun: Duration,
    /// Of the results since this was cleared, in milliseconds.
    pub(super) latencies: Vec<f64>,
    clock: std::sync::Arc<dyn Clock>,
    // Dropped last.
    _topics: Topics,
    _surroundings: Surroundings,
}

/// A result, as the engine writes it.
#[derive(Deserialize)]
struct Answer {
    last: u64,
}

impl Flow {
    /// Starts the engine, and waits for its first result.
    pub(super) async fn start(args: &KafkaArgs, servers: &str, rate: u32, variant: Variant) -> Result<Self> {
        let surroundings = Surroundings::of_system(1)?;
        let Seams { clock, .. } = surroundings.seams();
        let mut topics = Topics::new(servers)?;
        // Several flows of one process follow each other, and a topic that is deleted may be there for a while.
        let topic = topics.create(&format!("records-{}", clock.unix_time().as_millis()), args.partitions).await?;
        topics.create_named(&results_of(&topic), args.partitions).await?;
        let engine = command(args, servers, variant, &topic)?.spawn().context("could not start a process")?;
        let (writer, results) = (Writer::new(servers, None)?, consumer(servers, &results_of(&topic))?);
        let (partitions, begun) = (u64::from(args.partitions), clock.monotonic());
        let (sent, latencies) = (0, Vec::new());
        let (_topics, _surroundings) = (topics, surroundings);
        let mut flow = Self {
            engine,
            partitions,
            rate,
            topic,
            writer,
            results,
            sent,
            begun,
            latencies,
            clock,
            _topics,
            _surroundings,
        };
        while flow.latencies.is_empty() {
            ensure!(flow.clock.monotonic() - begun < FIRST_WITHIN, "there was no result within {FIRST_WITHIN:?}");
            flow.run(EVERY).await?;
        }
        Ok(flow)
    }

    /// Sends records and takes results for this time.
    pub(super) async fn run(&mut self, time: Duration) -> Result<()> {
        let until = self.clock.monotonic() + time;
        while self.clock.monotonic() < until {
            if let Some(status) = self.engine.try_wait()? {
                anyhow::bail!("the engine has ended: {status}");
            }
            self.send()?;
            self.take()?;
            tokio::time::sleep(EVERY).await;
        }
        Ok(())
    }

    /// Sends what is due by now.
    fn send(&mut self) -> Result<()> {
        let at = self.clock.unix_time().as_millis();
        let due = (self.clock.monotonic() - self.begun).as_secs_f64() * f64::from(self.rate);
        while (self.sent as f64) < due {
            let value = record(self.sent, at);
            self.writer.send(&self.topic, i32::try_from(self.sent % self.partitions)?, value.as_bytes())?;
            self.sent += 1;
        }
        self.writer.poll();
        Ok(())
    }

    /// Takes the results that are there.
    fn take(&mut self) -> Result<()> {
        for _ in 0..RESULTS_AT_ONCE {
            let Some(message) = client::next(&self.results, Duration::ZERO)? else { break };
            let answer: Answer = serde_json::from_slice(message.payload().unwrap_or_default())?;
            let end_ms = (answer.last / WINDOW_MS + 1) * WINDOW_MS;
            let now_ms = self.clock.unix_time().as_secs_f64() * 1000.0;
            self.latencies.push(now_ms - end_ms as f64);
        }
        Ok(())
    }

    fn process(&self) -> Result<String> {
        Ok(self.engine.id().context("the engine has ended")?.to_string())
    }

    fn engine_cpu(&self) -> Result<Duration> {
        measure::cpu_time_of(&self.process()?)
    }

    /// The engine's resident memory, in MiB.
    pub(super) fn engine_rss_mib(&self) -> Result<f64> {
        measure::rss_mib(&self.process()?)
    }

    /// Windows whose results were read since `latencies` was cleared.
    pub(super) fn windows(&self) -> u64 {
        self.latencies.len() as u64 / KEYS
    }
}
