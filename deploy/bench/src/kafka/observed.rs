//! A run of any engine, seen from outside: its process by the system's accounts, its results by offsets at the broker.
//!
//! ```text
//! start          first commit                    last commit     end
//!   |--- warm-up ---|------------ steady ------------|-- ends --|
//!                   ^ offsets, processor time        ^ offsets, processor time
//! ```
//!
//! So nothing depends on what an engine tells of itself. What is committed is what a partition's last stable offset covers.
//! Markers of transactions have offsets too, some for each checkpoint; there are so many records beside them that they hardly
//! count.

use std::{fs::File, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use thalweg_types::seam::Clock;
use tokio::process::Command;

use super::client::Offsets;
use crate::measure;

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long an engine may take in all.
const PATIENCE: Duration = Duration::from_secs(1800);
/// What is shorter between the first commit and the last says nothing of a steady rate.
const STEADY_MIN: Duration = Duration::from_secs(2);
/// Lines of a process's standard error to show when it fails.
const LINES: usize = 30;

/// What was committed when, and what it had cost since the start.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Commit {
    at: Duration,
    cpu: Duration,
    /// The sum over all partitions.
    offsets: i64,
}

/// What a run took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Observed {
    /// From the start of the process until all results could be read.
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
    /// Between the first commit and the last; `None` if that was too short.
    pub(super) steady: Option<Steady>,
    pub(super) peak_rss_mib: f64,
}

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Steady {
    /// The share of all results.
    pub(super) share: f64,
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
}

/// Runs a command to its end, and observes it and the topic into which it writes, which is empty before.
pub(super) async fn observe(
    mut command: Command,
    log: &Path,
    (servers, results): (&str, &str),
    clock: &dyn Clock,
) -> Result<Observed> {
    let broker = Offsets::new(servers, results)?;
    let errors = File::create(log).context("could not write a log")?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).kill_on_drop(true);
    let begun = clock.monotonic();
    let mut process = command.spawn().context("could not start a process")?;
    let id = process.id().context("the process has ended")?.to_string();
    let (mut commits, mut cpu, mut peak_rss_mib) = (Vec::<Commit>::new(), Duration::ZERO, 0.0);
    loop {
        let status = process.try_wait()?;
        let offsets = broker.committed()?;
        let at = clock.monotonic() - begun;
        // Accounts end with the process; then those of the last look count.
        cpu = measure::cpu_time_of(&id).unwrap_or(cpu);
        peak_rss_mib = measure::peak_rss_mib_of(&id).unwrap_or(peak_rss_mib);
        if offsets > commits.last().map_or(0, |last| last.offsets) {
            commits.push(Commit { at, cpu, offsets });
        }
        if let Some(status) = status {
            ensure!(status.success(), "{status}: {}", end_of(log));
            return taken(&commits, peak_rss_mib);
        }
        ensure!(at < PATIENCE, "it has not ended within {PATIENCE:?}: {}", end_of(log));
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn taken(commits: &[Commit], peak_rss_mib: f64) -> Result<Observed> {
    let (Some(first), Some(last)) = (commits.first(), commits.last()) else {
        anyhow::bail!("nothing was committed");
    };
    let steady = (last.at - first.at >= STEADY_MIN).then(|| Steady {
        share: (last.offsets - first.offsets) as f64 / last.offsets as f64,
        seconds: (last.at - first.at).as_secs_f64(),
        cpu_seconds: (last.cpu - first.cpu).as_secs_f64(),
    });
    Ok(Observed { seconds: last.at.as_secs_f64(), cpu_seconds: last.cpu.as_secs_f64(), steady, peak_rss_mib })
}

fn end_of(log: &Path) -> String {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(seconds: u64, cpu_seconds: u64, offsets: i64) -> Commit {
        Commit { at: Duration::from_secs(seconds), cpu: Duration::from_secs(cpu_seconds), offsets }
    }

    #[test]
    fn a_steady_part_begins_with_the_first_commit() {
        let commits = [commit(5, 9, 100), commit(6, 11, 200), commit(7, 13, 300), commit(8, 15, 400)];
        let observed = taken(&commits, 7.0).expect("something was committed");
        assert_eq!(
            observed,
            Observed {
                seconds: 8.0,
                cpu_seconds: 15.0,
                steady: Some(Steady { share: 0.75, seconds: 3.0, cpu_seconds: 6.0 }),
                peak_rss_mib: 7.0,
            }
        );
    }

    #[test]
    fn what_is_over_soon_has_no_steady_part() {
        let observed = taken(&[commit(5, 9, 100), commit(6, 11, 200)], 7.0).expect("something was committed");
        assert_eq!((observed.seconds, observed.steady), (6.0, None));
        assert!(taken(&[], 7.0).is_err());
    }
}
