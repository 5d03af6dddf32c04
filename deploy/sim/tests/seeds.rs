//! A small slice of the seeds, for every change; and a check that a seed determines its run.

use thalweg_sim::{
    seeds::{Input, JobKind, Report, Scenario, Sink, run_apart},
    simulation::Journal,
};
use thalweg_types::bug::Bug;

/// For each known mistake, a seed that finds it.
const FINDS: &[(Bug, u64)] = &[
    (Bug::SkipAlignment, 50),
    (Bug::CommitBeforeDurable, 7),
    (Bug::ForgetKeyGroup, 2),
    (Bug::ReuseAttempt, 0),
    (Bug::AckBeforeUpload, 0),
    (Bug::ReplayOneOff, 0),
    (Bug::DropLateUncounted, 2),
    (Bug::ZombieWrites, 8),
    (Bug::LoseRaftEntry, 3),
    (Bug::FoundAnew, 6),
    (Bug::ReturnForContinue, 21),
    (Bug::ForgetFired, 43),
    (Bug::RestoreOldManifest, 0),
    (Bug::CommitOutOfOrder, 70),
    (Bug::SkipFinishedCommit, 30),
    (Bug::SkipSync, 37),
    (Bug::CommitWithoutProgress, 3),
    (Bug::ProgressBeforeInit, 78),
    (Bug::LeaveTransactionOpen, 3),
    (Bug::CommitOffsetsEarly, 23),
    (Bug::ReadChildEarly, 405),
    (Bug::FollowElsewhere, 756),
    (Bug::ForgetSplitEnd, 31),
    (Bug::RetryOutOfOrder, 403),
];

/// Calls `each` for all items on all cores. Returns the results.
fn on_all_cores<T: Copy + Sync, R: Send>(items: &[T], each: impl Fn(T) -> Option<R> + Sync) -> Vec<R> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let found = std::sync::Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    found.lock().expect("no panic is left").extend(each(*item));
                }
            });
        }
    });
    found.into_inner().expect("no panic is left")
}

fn is_found(bug: Bug, seed: u64) -> bool {
    run_apart(seed, Some(bug), Journal::default()).failure.is_some()
}

#[test]
fn jobs_publish_the_batch_answer_once_whatever_fails() {
    let seeds: Vec<u64> = (0..48).collect();
    let run = |seed| Some(run_apart(seed, None, Journal::default())).filter(|report| report.failure.is_some());
    let failed: Vec<Report> = on_all_cores(&seeds, run);
    let shown: Vec<String> = failed
        .iter()
        .map(|report| format!("seed {}: {}", report.seed, report.failure.clone().unwrap_or_default()))
        .collect();
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), shown.join("\n"));
}

#[test]
fn every_known_mistake_is_found() {
    assert_eq!(FINDS.iter().map(|(bug, _)| *bug).collect::<Vec<_>>(), Bug::ALL);
    // After a change of the engine a seed may find nothing any more; then another one must.
    let is_missed = |(bug, seed)| !std::iter::once(seed).chain(0..48).any(|seed| is_found(bug, seed));
    let missed = on_all_cores(FINDS, |find| is_missed(find).then_some(find));
    assert!(missed.is_empty(), "not found: {missed:?}");
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
    let drawn: Vec<Scenario> = (0..300).map(Scenario::draw).collect();
    for job in JobKind::ALL {
        assert!(drawn.iter().any(|scenario| scenario.job == *job), "no {job:?}");
    }
    let is_drawn = |what: fn(&Scenario) -> bool| drawn.iter().any(what);
    assert!(is_drawn(|scenario| scenario.faults.is_empty()));
    assert!(is_drawn(|scenario| scenario.input == Input::Posted));
    assert!(is_drawn(|scenario| scenario.input == Input::Watched));
    assert!(is_drawn(|scenario| scenario.is_local));
    assert!(is_drawn(|scenario| matches!(scenario.input, Input::Topics(_))));
    assert!(is_drawn(|scenario| matches!(scenario.sink, Sink::Topic(_))));
    assert!(is_drawn(|scenario| matches!((&scenario.input, &scenario.sink), (Input::Topics(_), Sink::Topic(_)))));
    assert!(is_drawn(|scenario| matches!(scenario.input, Input::Stream(_))));
    assert!(is_drawn(|scenario| matches!(scenario.sink, Sink::Stream(_))));
    assert!(is_drawn(|scenario| matches!((&scenario.input, &scenario.sink), (Input::Stream(_), Sink::Stream(_)))));
    assert!(is_drawn(|scenario| scenario.companion == Some(None)));
    assert!(is_drawn(|scenario| scenario.companion.flatten().is_some()));
}
