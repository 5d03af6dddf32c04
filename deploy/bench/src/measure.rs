//! Measures a run of a process: wall time, processor time and memory.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Clock ticks per second, Linux's unit of processor time.
const TICKS_PER_SECOND: u64 = 100;

/// The measurements of one query.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) query: String,
    pub(crate) input: String,
    /// Events of all kinds in the input (`--events`), whether or not the query reads their kind.
    pub(crate) events: u64,
    /// Records that sources gave to the query. There are fewer than events if a source skips some (row groups, kinds
    /// of generated events), and more if several sources read the same events.
    pub(crate) records_read: u64,
    pub(crate) rows_out: u64,
    pub(crate) seconds: f64,
    pub(crate) events_per_second: f64,
    pub(crate) cpu_ns_per_event: f64,
    pub(crate) peak_rss_mib: f64,
    /// Checkpoints completed before the end.
    pub(crate) checkpoints: u64,
}

/// Processor time of this process so far, user and system together.
pub(crate) fn cpu_time() -> Result<Duration> {
    cpu_time_of("self")
}

/// Processor time of a process so far, by its id.
pub(crate) fn cpu_time_of(process: &str) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("could not read a process's stat")?;
    // The name in parentheses may contain blanks. utime and stime are the 12th and 13th fields after it.
    let (_, fields) = stat.rsplit_once(')').context("a process's stat has no name")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Peak resident memory of this process, in MiB.
pub(crate) fn peak_rss_mib() -> Result<f64> {
    peak_rss_mib_of("self")
}

/// Peak resident memory of a process so far, by its id, in MiB.
pub(crate) fn peak_rss_mib_of(process: &str) -> Result<f64> {
    memory_mib(process, "VmHWM:")
}

/// Resident memory of a process now, in MiB.
pub(crate) fn rss_mib(process: &str) -> Result<f64> {
    memory_mib(process, "VmRSS:")
}

fn memory_mib(process: &str, field: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("could not read a process's status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let line = line.with_context(|| format!("a process's status has no {field}"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
