//! Runs in processes of their own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use thalweg::{embedded::EmbeddedCluster, seams::Surroundings};
use thalweg_types::seam::Clock;
use tokio::process::Command;

use super::{
    KafkaArgs, client,
    pipeline::{self, Engine},
    variant::Variant,
};
use crate::{measure, nexmark};

/// What a run took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
    pub(super) peak_rss_mib: f64,
}

/// The command of a run with a topic.
pub(super) fn command(args: &KafkaArgs, servers: &str, variant: Variant, topic: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("this program cannot be found")?);
    let KafkaArgs { records, bytes, partitions, parallelism, interval, .. } = args;
    let interval = format!("{} ms", interval.as_millis());
    command.args(["kafka", "--alone", &variant.word(), "--kafka", servers, "--topic", topic]);
    command.args(["--records", &records.to_string(), "--bytes", &bytes.to_string()]);
    command.args(["--partitions", &partitions.to_string(), "--parallelism", &parallelism.to_string()]);
    command.args(["--interval", &interval]).kill_on_drop(true);
    Ok(command)
}

/// Makes a run in a process of its own.
pub(super) async fn run(args: &KafkaArgs, servers: &str, variant: Variant, topic: &str) -> Result<Run> {
    let output = command(args, servers, variant, topic)?.output().await.context("could not start a process")?;
    let word = variant.word();
    ensure!(output.status.success(), "{word} failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| format!("{word}: the measurements cannot be read"))
}

/// Makes a run in this process, and prints what it took.
pub(super) async fn alone(args: &KafkaArgs, variant: Variant) -> Result<()> {
    let servers = args.kafka.as_deref().context("--alone needs --kafka")?;
    let topic = args.topic.as_deref().context("--alone needs --topic")?;
    let surroundings = Surroundings::of_system(1)?;
    let clock = surroundings.seams().clock;
    let (begun, before) = (clock.monotonic(), measure::cpu_time()?);
    let script = |script: String| async {
        let interval = format!("{} ms", args.interval.as_millis());
        nexmark::run(script, (args.parallelism, 1), Some(interval)).await.map(|(seconds, _)| seconds)
    };
    let own = match variant {
        Variant::ClientRead => {
            client::read(servers, topic, args.records)?;
            None
        }
        Variant::ClientWrite | Variant::ClientTransactions => {
            write(args, (servers, topic), variant == Variant::ClientTransactions, clock.as_ref())?;
            None
        }
        Variant::ReadRaw => Some(script(pipeline::reading(servers, topic, "raw")).await?),
        Variant::ReadJson => Some(script(pipeline::reading(servers, topic, "json")).await?),
        Variant::Generate => Some(script(pipeline::generating(args)).await?),
        Variant::WriteRaw | Variant::WriteJson | Variant::WriteRawOnce | Variant::WriteJsonOnce => {
            Some(script(pipeline::writing(args, servers, topic, variant)).await?)
        }
        Variant::Copy | Variant::Count => {
            let results = args.results.as_deref().context("--alone needs --results")?;
            Some(script(pipeline::compared(variant, Engine::Thalweg, servers, (topic, results))).await?)
        }
        Variant::Windows | Variant::WindowsOnce => return windows(args, (servers, topic), variant).await,
    };
    let seconds = own.unwrap_or_else(|| (clock.monotonic() - begun).as_secs_f64());
    let cpu_seconds = measure::cpu_time()?.saturating_sub(before).as_secs_f64();
    println!("{}", serde_json::to_string(&Run { seconds, cpu_seconds, peak_rss_mib: measure::peak_rss_mib()? })?);
    Ok(())
}

/// Writes what the connector is given to write: texts of the same length.
fn write(args: &KafkaArgs, (servers, topic): (&str, &str), in_transactions: bool, clock: &dyn Clock) -> Result<()> {
    let writer = client::Writer::new(servers, in_transactions.then_some(topic))?;
    let texts = pipeline::texts(args.bytes);
    let mut committed = clock.monotonic();
    for number in 0..args.records {
        let text = &texts[usize::try_from(number)? % texts.len()];
        writer.send(topic, i32::try_from(number % u64::from(args.partitions))?, text.as_bytes())?;
        if number % 1024 == 0 {
            writer.poll();
            if in_transactions && clock.monotonic() - committed > args.interval {
                writer.commit(true)?;
                committed = clock.monotonic();
            }
        }
    }
    if in_transactions {
        writer.commit(false)?;
    }
    writer.flush()
}

/// Runs windows over a topic until the process is killed.
async fn windows(args: &KafkaArgs, (servers, topic): (&str, &str), variant: Variant) -> Result<()> {
    let sql = pipeline::windows(servers, topic, variant == Variant::WindowsOnce);
    let cluster = EmbeddedCluster::start(pipeline::options(args)).await?;
    let submitted = cluster.client().submit(pipeline::submission(args, sql)).await?;
    let ended = cluster.client().wait(submitted.job).await?;
    let failure = ended.failure.map(|failure| failure.message).unwrap_or_default();
    // Whoever started this process sees that it ends.
    tokio::time::sleep(Duration::from_millis(100)).await;
    anyhow::bail!("the job has {}: {failure}", ended.status)
}
