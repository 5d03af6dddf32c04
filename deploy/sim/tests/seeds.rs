//! A slice of the seeds, small enough for every change; and that a seed is a run.

use thalweg_sim::{
    seeds::{JobKind, Report, Scenario, run_apart},
    simulation::Journal,
};
use thalweg_types::bug::Bug;

/// Runs seeds on all cores; gives the reports of those that failed.
fn failures(seeds: std::ops::Range<u64>, bug: Option<Bug>) -> Vec<Report> {
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let failed = std::sync::Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let report = run_apart(seed, bug, Journal::default());
                    if report.failure.is_some() {
                        failed.lock().expect("no panic is left").push(report);
                    }
                }
            });
        }
    });
    failed.into_inner().expect("no panic is left")
}

#[test]
fn jobs_publish_the_batch_answer_once_whatever_fails() {
    let failed = failures(0..48, None);
    let shown: Vec<String> = failed
        .iter()
        .map(|report| format!("seed {}: {}", report.seed, report.failure.clone().unwrap_or_default()))
        .collect();
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), shown.join("\n"));
}

#[test]
fn a_seed_is_a_run() {
    for seed in [2, 3, 10, 40] {
        let (first, second) = (run_apart(seed, None, Journal::default()), run_apart(seed, None, Journal::default()));
        assert_eq!(first, second, "seed {seed}");
        assert!(first.trace.1 > 50, "seed {seed} has only {} entries", first.trace.1);
    }
}

#[test]
fn seeds_draw_every_job() {
    let drawn: Vec<Scenario> = (0..60).map(Scenario::draw).collect();
    for job in JobKind::ALL {
        assert!(drawn.iter().any(|scenario| scenario.job == *job), "no {job:?}");
    }
    assert!(drawn.iter().any(|scenario| scenario.faults.is_empty()));
}
