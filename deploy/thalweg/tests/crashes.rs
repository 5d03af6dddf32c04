//! A job over bounded input gives the batch answer through any crash. Processes are killed with SIGKILL and
//! restarted, or frozen with SIGSTOP for longer than their lease, while windowed totals and a window join are written
//! to files.
//!
//! The input is replayed at a bounded speed, so that faults hit the run. Rows and faults come from one seed. If the
//! test fails, it prints the seed, the events, and where the logs of the processes are.
//!
//! | variable | |
//! |---|---|
//! | `THALWEG_CRASHES=N` | a long run with N faults (at least 20 make sense), 100,000 rows per fault, and processes frozen for 10 s; prints a report and keeps the logs |
//! | `THALWEG_CRASHES_SEED=N` | this seed instead of a new one |
//! | `THALWEG_MOTO_SERVER=FILE` | moto's server (`pip install 'moto[s3]' flask flask-cors`), if it is not on the path; without it, the test with an object store is skipped |

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod chaos;
mod process;
mod s3;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chaos::{
    Cluster, LEASE, Random, Shape,
    faults::{Plan, Report, endure},
    flow::{Flow, assert_equal},
};
use process::{Place, lines_below};
use s3::S3;

/// Runs tests one after the other: each has many processes and a short lease, and the machine may be small.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("the variable is a number"))
}

fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos();
    number("THALWEG_CRASHES_SEED").unwrap_or_else(|| u64::try_from(now() % 1_000_000).expect("it is small"))
}

/// The paths of all files below a directory.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(['.', '_']))
}

/// Compares the output below a directory with the batch answer.
fn check_output(cluster: &mut Cluster, flow: &Flow) {
    let out = cluster.directory().join("out");
    let late = cluster.directory().join("late");
    cluster.wait_until("the last hidden file to be gone", |_| {
        let all: Vec<PathBuf> = [files_below(&out), files_below(&late)].concat();
        (!all.iter().any(|path| is_hidden(path))).then_some(())
    });
    assert_eq!(files_below(&late), [] as [PathBuf; 0], "no record is late");
    let checkpoints = cluster.directory().join("checkpoints");
    let marker = [checkpoints.join("thalweg-cluster.json")];
    cluster.wait_until("the last checkpoint to be gone", |_| (files_below(&checkpoints) == marker).then_some(()));
    assert_equal("totals", &lines_below(&out.join("totals")), &flow.totals());
    assert_equal("matches", &lines_below(&out.join("matches")), &flow.matches());
}

#[test]
fn the_answer_is_that_of_batch_through_crashes() {
    let _alone = alone();
    let long = number("THALWEG_CRASHES").map(|faults| usize::try_from(faults).expect("it is small"));
    let seed = seed();
    let short = Plan { seed, faults: 5, pause_max: Duration::from_secs(2), freeze: LEASE * 2 };
    let (plan, event_seconds, real_seconds) = match long {
        None => (short, 625, 14),
        Some(faults) => {
            let (pause_max, freeze) = (Duration::from_secs(8), Duration::from_secs(10));
            (Plan { seed, faults, pause_max, freeze }, 625 * faults, 8 * faults)
        }
    };
    let mut cluster = Cluster::start(Shape::LARGE, Place::default(), None);
    cluster.tell(&format!("THALWEG_CRASHES_SEED={}", plan.seed));
    let flow = Flow::draw(event_seconds, &mut Random::new(plan.seed));
    let out = cluster.directory().join("out").display().to_string();
    let sql = flow.script(cluster.directory(), &out, real_seconds);
    let job = cluster.submit(&sql, &[]);
    let report = endure(&mut cluster, &job, plan);
    check_output(&mut cluster, &flow);
    print_report(&report, &mut cluster, &flow);
}

/// Prints a report in a long run.
fn print_report(report: &Report, cluster: &mut Cluster, flow: &Flow) {
    if number("THALWEG_CRASHES").is_none() {
        return;
    }
    cluster.is_shown = true;
    let Report { kills, freezes, attempts, recoveries } = report;
    let mut sorted = recoveries.clone();
    sorted.sort_unstable();
    println!(
        "{} rows, {kills} kills, {freezes} freezes, {attempts} attempts, {} ends of processes by themselves, in {:.0?}; from the \
         kill of a node to running again: {:.2?}",
        flow.rows(),
        cluster.own_ends,
        cluster.now(),
        sorted
    );
}

#[test]
fn a_node_that_was_frozen_beyond_its_lease_changes_nothing() {
    let _alone = alone();
    let seed = seed();
    let mut cluster = Cluster::start(Shape::LARGE, Place::default(), None);
    cluster.tell(&format!("THALWEG_CRASHES_SEED={seed}"));
    let flow = Flow::draw(300, &mut Random::new(seed));
    let out = cluster.directory().join("out").display().to_string();
    let sql = flow.script(cluster.directory(), &out, 8);
    let job = cluster.submit(&sql, &[]);
    cluster.wait_for_checkpoint(&job, 0);
    let attempt = |cluster: &Cluster| cluster.show(&job)?["attempt"].as_u64();
    let (first, zombie) = (cluster.wait_until("the attempt", attempt), node_of(&mut cluster, &job));
    cluster.freeze(zombie);
    cluster.wait_until("another attempt", |cluster| {
        let shown = cluster.show(&job)?;
        (shown["attempt"].as_u64()? > first && shown["status"] == "running").then_some(())
    });
    let last_complete = |cluster: &Cluster| cluster.show(&job)?["checkpoints"]["last_complete"].as_u64();
    let last = cluster.wait_until("the last checkpoint", last_complete);
    cluster.wait_until("a checkpoint without the frozen node", |cluster| {
        let shown = cluster.show(&job)?;
        let later = shown["checkpoints"]["last_complete"].as_u64().is_some_and(|complete| complete > last);
        (later || shown["status"] == "finished").then_some(())
    });
    cluster.revive(zombie);
    cluster.wait_until("the thawed node", |cluster| cluster.is_alive(zombie).then_some(()));
    cluster.wait_for_end(&job, "finished", 1);
    check_output(&mut cluster, &flow);
}

/// A node that runs subtasks of the job.
fn node_of(cluster: &mut Cluster, job: &str) -> usize {
    let busy = |cluster: &Cluster| {
        let nodes = cluster.ask(&["nodes"])?;
        let busy = nodes.iter().find(|node| node["slots_used"].as_u64() > Some(0))?;
        usize::try_from(busy["node"].as_u64()?).ok()
    };
    cluster.wait_until(&format!("a node of {job}"), busy) + cluster.nodes().start - 1
}

#[test]
fn checkpoints_are_listed_and_verified_and_damage_is_named() {
    let _alone = alone();
    let seed = seed();
    let mut cluster = Cluster::start(Shape::LARGE, Place::default(), None);
    cluster.tell(&format!("THALWEG_CRASHES_SEED={seed}"));
    let flow = Flow::draw(625, &mut Random::new(seed));
    let out = cluster.directory().join("out").display().to_string();
    let sql = flow.script(cluster.directory(), &out, 30);
    // The checkpoints copied below must not be deleted meanwhile.
    let job = cluster.submit(&sql, &["--set", "checkpoint.retain=1000"]);
    cluster.wait_for_checkpoint(&job, 2);
    let killed = node_of(&mut cluster, &job);
    cluster.kill(killed);
    cluster.revive(killed);
    let newest = cluster.wait_for_checkpoint(&job, 2);
    cluster.wait_for_checkpoint(&job, newest);

    let copied = cluster.directory().join("copied");
    copy(&cluster.directory().join("checkpoints"), &copied);
    let folder = the_only(&copied).join(&job);
    let verify = |cluster: &Cluster| {
        cluster.thalweg(&["checkpoint", "verify", folder.to_str().expect("a path of text"), "-o", "json"])
    };
    let whole = verify(&cluster);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let verified: serde_json::Value = serde_json::from_str(&whole.stdout).expect("a line of JSON");
    assert!(verified["checkpoint"].as_u64() >= Some(newest) && verified["rows"].as_u64() > Some(0), "{verified}");
    let operators = verified["operators"].as_array().expect("a list of operators");
    let is_told = |operator: &serde_json::Value| {
        operator["identity"].as_str().is_some_and(|identity| identity.len() == 16)
            && operator["state_version"].as_u64() == Some(1)
            && operator["columns"].as_array().is_some_and(|columns| !columns.is_empty())
    };
    assert!(!operators.is_empty() && operators.iter().all(is_told), "{verified}");
    let costs = verified["costs"].as_array().expect("a list of costs");
    assert_eq!(Some(costs.len() as u64), verified["subtasks"].as_u64(), "of every subtask");
    let took = |cost: &serde_json::Value| {
        let steps = ["alignment_micros", "freeze_micros", "upload_micros"].map(|step| cost[step].as_u64());
        steps.into_iter().sum::<Option<u64>>().expect("each step is told")
    };
    assert!(costs.iter().map(took).is_sorted_by(|one, next| one >= next), "{verified}");
    assert!(costs.iter().all(|cost| cost["operators"].is_string() && cost["state_bytes"].is_u64()), "{verified}");

    let manifest = newest_manifest(&folder);
    let state = fs::read_to_string(&manifest).expect("it can be read");
    let is_of_newest = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.ends_with(".state") && state.contains(name))
    };
    let damaged = files_below(&folder).into_iter().find(is_of_newest).expect("it refers to an object");
    let mut bytes = fs::read(&damaged).expect("it can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&damaged, bytes).expect("it can be written");
    let refused = verify(&cluster);
    let name = damaged.file_name().and_then(|name| name.to_str()).expect("a name of text");
    assert!(refused.code == Some(1) && refused.stderr.contains(name), "{refused:?}");
    let cancelled = cluster.ask(&["job", "cancel", &job]);
    assert!(cancelled.is_some());
}

/// The folder of the only cluster.
fn the_only(folder: &Path) -> PathBuf {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("it can be listed").path()).collect();
    entries.retain(|entry| entry.is_dir());
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries[0].clone()
}

/// The newest manifest, by its numbers.
fn newest_manifest(folder: &Path) -> PathBuf {
    let number = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?.strip_prefix("manifest-")?;
        name.split(['-', '.']).map(|part| part.parse().ok()).take(3).collect::<Option<Vec<u64>>>()
    };
    let manifests = files_below(folder).into_iter().filter_map(|path| Some((number(&path)?, path)));
    manifests.max().expect("there is a manifest").1
}

/// Copies a directory, without files that disappear meanwhile.
fn copy(from: &Path, to: &Path) {
    for path in files_below(from) {
        let target = to.join(path.strip_prefix(from).expect("it lies below"));
        fs::create_dir_all(target.parent().expect("it has a directory")).expect("it can be created");
        fs::copy(&path, &target).ok();
    }
}

#[test]
fn the_answer_is_that_of_batch_in_an_object_store() {
    let _alone = alone();
    let Some(s3) = S3::start() else { return };
    let plan = Plan { seed: seed(), faults: 3, pause_max: Duration::from_secs(2), freeze: LEASE * 2 };
    let mut cluster = Cluster::start(Shape::LARGE, s3.place(), Some(&S3::url("checkpoints")));
    cluster.tell(&format!("THALWEG_CRASHES_SEED={}", plan.seed));
    let flow = Flow::draw(300, &mut Random::new(plan.seed));
    let sql = flow.script(cluster.directory(), &S3::url("out"), 25);
    let job = cluster.submit(&sql, &["--checkpoint-interval", "1 s"]);
    cluster.wait_for_checkpoint(&job, 0);
    cluster.wait_until("a checkpoint that is found to be whole", |cluster| {
        let manifest = s3.names_below("checkpoints").into_iter().filter(|name| name.contains("/manifest-")).max()?;
        // It may be deleted meanwhile, after a newer one.
        let verified = cluster.thalweg(&["checkpoint", "verify", &S3::url(&manifest)]);
        (verified.code == Some(0)).then_some(())
    });
    let report = endure(&mut cluster, &job, plan);
    let hidden = |name: &String| name.rsplit('/').next().is_some_and(|name| name.starts_with(['.', '_']));
    cluster
        .wait_until("the last hidden object to be gone", |_| (!s3.names_below("out").iter().any(hidden)).then_some(()));
    assert_equal("totals", &s3.lines_below("out/totals"), &flow.totals());
    assert_equal("matches", &s3.lines_below("out/matches"), &flow.matches());
    print_report(&report, &mut cluster, &flow);
}
