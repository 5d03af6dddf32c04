//! The engine's resident memory while windows over a topic run for minutes: a straight line through it should be flat.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::{KafkaArgs, latency::Flow, variant::Variant};
use crate::figures::{Report, Row, largest, mean, slope};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The share of the time that is left out at the beginning, while caches and queues fill.
const WARM_UP: f64 = 0.1;

/// The engine's memory, in MiB.
#[derive(Debug, Serialize)]
struct Memory {
    minutes: f64,
    rate: u32,
    /// Windows whose results came meanwhile; one a second.
    windows: u64,
    /// After a tenth of the time, and in the end, each as the mean of a tenth of the time.
    first_mib: f64,
    last_mib: f64,
    highest_mib: f64,
    /// Of the straight line that fits best.
    growth_mib_per_minute: f64,
}

impl Row for Memory {
    const TITLES: &'static [&'static str] =
        &["minutes", "rate", "windows", "first MiB", "last MiB", "highest MiB", "growth MiB/min"];

    fn cells(&self) -> Vec<String> {
        vec![
            format!("{:.1}", self.minutes),
            self.rate.to_string(),
            self.windows.to_string(),
            format!("{:.1}", self.first_mib),
            format!("{:.1}", self.last_mib),
            format!("{:.1}", self.highest_mib),
            format!("{:.2}", self.growth_mib_per_minute),
        ]
    }
}

/// Watches a job that writes exactly once, at the first of the rates.
pub(super) async fn run(args: &KafkaArgs, servers: &str) -> Result<()> {
    let rate = args.rates.first().copied().unwrap_or(10_000);
    let mut flow = Flow::start(args, servers, rate, Variant::WindowsOnce).await?;
    let looks = (args.minutes * 60.0 / LOOK_EVERY.as_secs_f64()) as usize;
    ensure!(looks >= 20, "--minutes {} is too short to see anything grow", args.minutes);
    let (mut seen, mut windows) = (Vec::new(), 0);
    for look in 0..looks {
        flow.latencies.clear();
        flow.run(LOOK_EVERY).await?;
        windows += flow.windows();
        seen.push((look as f64 * LOOK_EVERY.as_secs_f64() / 60.0, flow.engine_rss_mib()?));
    }
    let part = (looks as f64 * WARM_UP) as usize;
    let warm = &seen[part..];
    let of = |part: &[(f64, f64)]| part.iter().map(|(_, mib)| *mib).collect::<Vec<f64>>();
    Report::new(args.json).row(&Memory {
        minutes: args.minutes,
        rate,
        windows,
        first_mib: mean(&of(&warm[..part])),
        last_mib: mean(&of(&warm[warm.len() - part..])),
        highest_mib: largest(of(warm)),
        growth_mib_per_minute: slope(warm),
    })
}
