//! Runs the simulated cluster over many seeds, or one seed again.
//!
//! ```text
//! cargo run -p thalweg-sim --release -- --seeds 0..5000          one line per failing seed, and how many passed
//! cargo run -p thalweg-sim --release -- --seed 42 --log          what happened, in virtual time
//! cargo run -p thalweg-sim --release -- --seeds 0..200 --bugs    how many seeds find each of the known mistakes
//! ```

#![allow(clippy::print_stderr, reason = "this is a program for the command line")]

use std::{
    io::{IsTerminal as _, Write as _},
    ops::Range,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use clap::Parser;
use thalweg_sim::{
    say,
    seeds::{Report, Scenario, run_apart},
    simulation::Journal,
};
use thalweg_types::bug::Bug;

#[derive(Debug, Parser)]
#[command(about = "Runs a simulated cluster, with faults, over many seeds", version)]
struct Args {
    /// The seeds to run, as FROM..TO without TO.
    #[arg(long, value_parser = parse_range, default_value = "0..200")]
    seeds: Range<u64>,
    /// Run this one seed.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Print what happens, in virtual time.
    #[arg(long, requires = "seed")]
    log: bool,
    /// Also print what the product logs at this level and above, such as info or thalweg_control=debug.
    #[arg(long, requires = "seed", value_name = "FILTER")]
    trace: Option<String>,
    /// Make this mistake on purpose.
    #[arg(long, value_parser = parse_bug)]
    bug: Option<Bug>,
    /// Make each known mistake in turn, and tell in how many seeds it was found.
    #[arg(long, conflicts_with_all = ["bug", "seed"])]
    bugs: bool,
    /// How many seeds run at once; as many as there are cores by default.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1024))]
    jobs: Option<u64>,
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("seeds are FROM..TO")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("'{text}': {error}"));
    let range = number(from)?..number(to)?;
    if range.is_empty() { Err("there is no seed in it".to_owned()) } else { Ok(range) }
}

fn parse_bug(name: &str) -> Result<Bug, String> {
    let names = || Bug::ALL.iter().map(|bug| bug.name()).collect::<Vec<_>>().join(", ");
    Bug::from_name(name).ok_or_else(|| format!("the known mistakes are: {}", names()))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let is_good = match args.seed {
        Some(seed) => one(&args, seed),
        None if args.bugs => bugs(&args),
        None => many(&args),
    };
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one seed and prints its report.
fn one(args: &Args, seed: u64) -> bool {
    let journal = if args.log { Journal::printed() } else { Journal::default() };
    if args.log {
        say(Scenario::draw(seed).to_string().trim_end());
    }
    if let Some(filter) = &args.trace {
        let clock = VirtualTime(journal.clone());
        tracing_subscriber::fmt().with_env_filter(filter).with_timer(clock).with_ansi(false).init();
    }
    let report = run_apart(seed, args.bug, journal);
    let (hash, entries) = report.trace;
    say(format_args!("seed {seed}: {} ms of virtual time, trace {hash:016x} of {entries} entries", report.virtual_ms));
    if let Some(failure) = &report.failure {
        say(format_args!("seed {seed} failed: {failure}"));
    }
    report.failure.is_none()
}

/// Stamps the product's log with virtual time.
struct VirtualTime(Journal);

impl tracing_subscriber::fmt::time::FormatTime for VirtualTime {
    fn format_time(&self, into: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        write!(into, "{:>9.3} s", self.0.now().as_secs_f64())
    }
}

fn many(args: &Args) -> bool {
    let tell = |report: &Report| {
        if let Some(failure) = &report.failure {
            say(format_args!("seed {} failed: {failure}", report.seed));
            say(format_args!("  again: {}", command(report.seed, args.bug)));
        }
    };
    let (passed, failed) = run_all(args, args.bug, &tell);
    say(format_args!("{passed} passed, {failed} failed"));
    failed == 0
}

fn command(seed: u64, bug: Option<Bug>) -> String {
    let bug = bug.map(|bug| format!(" --bug {}", bug.name())).unwrap_or_default();
    format!("cargo run -p thalweg-sim --release -- --seed {seed} --log{bug}")
}

/// Runs each known mistake. Returns whether all were found.
fn bugs(args: &Args) -> bool {
    let mut missed = 0;
    say(format_args!("{:<28}{:>10}  first seed that finds it", "mistake", "found in"));
    for bug in Bug::ALL {
        let first = Mutex::new(None::<u64>);
        let note = |report: &Report| {
            if report.failure.is_some() {
                let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
                *first = Some(first.map_or(report.seed, |known| known.min(report.seed)));
            }
        };
        let (passed, failed) = run_all(args, Some(*bug), &note);
        let first = first.into_inner().unwrap_or_else(PoisonError::into_inner);
        let again = first.map_or_else(|| "none".to_owned(), |seed| command(seed, Some(*bug)));
        say(format_args!("{:<28}{:>10}  {again}", bug.name(), format!("{failed}/{}", passed + failed)));
        missed += u64::from(failed == 0);
    }
    say(format_args!("{} found, {missed} not found", Bug::ALL.len() as u64 - missed));
    missed == 0
}

/// Runs all seeds on `jobs` threads. Returns how many passed and failed.
fn run_all(args: &Args, bug: Option<Bug>, each: &(dyn Fn(&Report) + Sync)) -> (u64, u64) {
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64));
    let (next, passed, failed) = (AtomicU64::new(args.seeds.start), AtomicU64::new(0), AtomicU64::new(0));
    let progress = Progress::new(args.seeds.end - args.seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= args.seeds.end {
                        return;
                    }
                    let report = run_apart(seed, bug, Journal::default());
                    let counter = if report.failure.is_none() { &passed } else { &failed };
                    counter.fetch_add(1, Ordering::Relaxed);
                    progress.hide();
                    each(&report);
                    progress.show(passed.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
                }
            });
        }
    });
    progress.hide();
    (passed.into_inner(), failed.into_inner())
}

/// A progress bar, shown only on a terminal.
struct Progress {
    total: u64,
    is_shown: bool,
}

const BAR: u64 = 40;

impl Progress {
    fn new(total: u64) -> Self {
        Self { total, is_shown: std::io::stderr().is_terminal() }
    }

    fn show(&self, passed: u64, failed: u64) {
        if self.is_shown {
            let done = passed + failed;
            let filled = usize::try_from(done * BAR / self.total.max(1)).unwrap_or(0);
            let bar = format!("{:<1$}", "=".repeat(filled), usize::try_from(BAR).unwrap_or(0));
            eprint!("\r[{bar}] {done}/{}, {failed} failed ", self.total);
            // If the terminal is gone, the run still goes on.
            std::io::stderr().flush().ok();
        }
    }

    fn hide(&self) {
        if self.is_shown {
            eprint!("\r\x1b[K");
        }
    }
}
