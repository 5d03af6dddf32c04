//! What Linux tells of this process, for those who monitor it; elsewhere nothing.

use std::{fs, time::Duration};

use thalweg_metrics::{Families, table};

use crate::file_limit;

/// How many ticks a second has in `/proc`: so many for programs, whatever the kernel's own clock, on every architecture that
/// Rust's library knows.
const TICKS_PER_SECOND: u64 = 100;

/// Adds what is known of the process. `component` is what runs in it.
pub(crate) fn tell(families: &mut Families, component: &str) {
    families.level(&table::BUILD, &[component, env!("CARGO_PKG_VERSION")], 1);
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
    let stat = read("stat").as_deref().and_then(Stat::parse);
    if let Some(Stat { cpu_ticks, started_ticks, threads }) = stat {
        families.time(&table::PROCESS_CPU, &[], of_ticks(cpu_ticks));
        families.level(&table::PROCESS_THREADS, &[], threads);
        let booted = fs::read_to_string("/proc/stat").ok().as_deref().and_then(booted_at);
        if let Some(booted) = booted {
            families.gauge(&table::PROCESS_START, &[], (booted + of_ticks(started_ticks)).as_secs_f64());
        }
    }
    if let Some(bytes) = read("status").as_deref().and_then(resident_bytes) {
        families.level(&table::PROCESS_MEMORY, &[], bytes);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // One of them is open for the reading alone.
        families.level(&table::PROCESS_FDS, &[], (files.count() as u64).saturating_sub(1));
    }
    if let Some(files) = file_limit::open_files() {
        families.level(&table::PROCESS_FDS_MAX, &[], files);
    }
}

/// Parts of `/proc/self/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    started_ticks: u64,
    threads: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, which may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // As proc_pid_stat(5) counts them, from the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self { cpu_ticks: field(14)?.checked_add(field(15)?)?, started_ticks: field(22)?, threads: field(20)? })
    }
}

fn of_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000 / TICKS_PER_SECOND))
}

/// When the machine started, since the Unix epoch, in `/proc/stat`.
fn booted_at(text: &str) -> Option<Duration> {
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(Duration::from_secs(seconds.trim().parse().ok()?))
}

/// In `/proc/self/status`.
fn resident_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_understood_whatever_a_program_is_called() {
        let stat = "4211 (a) b (c)) S 1 4211 4211 0 -1 4194560 2041 0 3 0 250 75 0 0 20 0 17 0 123456 1 2 3";
        assert_eq!(Stat::parse(stat), Some(Stat { cpu_ticks: 325, started_ticks: 123_456, threads: 17 }));
        assert_eq!(of_ticks(325), Duration::from_millis(3250));
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t   2048 kB\nThreads:\t1\n"), Some(2 << 20));
        assert_eq!(booted_at("cpu 1 2\nbtime 1700000000\n"), Some(Duration::from_secs(1_700_000_000)));
        assert_eq!((Stat::parse(""), resident_bytes("VmRSS: many"), booted_at("")), (None, None, None));
    }
}
