//! Tables and checkpoints in an object store that refuses access, or from which somebody else deletes objects.
//!
//! The server is moto's (`s3/mod.rs`). If it is not installed, the tests that need it are skipped.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod process;
mod s3;

use process::{Background, Place, free_addresses, wait_until};
use s3::S3;
use serde_json::Value;

/// A script that copies numbers. Its checkpoints are an hour apart, so only the start can fail.
fn copying(from: &str, to: &str) -> String {
    format!("SET 'checkpoint.interval' = '1 h'; {from} {to} INSERT INTO o SELECT n FROM i;")
}

fn stored(table: &str, path: &str) -> String {
    format!("CREATE TABLE {table} (n BIGINT) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{path}');")
}

/// A table of endless numbers.
const NUMBERS: &str = "CREATE TABLE i (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1');";
const NOWHERE: &str = "CREATE TABLE o (n BIGINT) WITH ('connector' = 'blackhole');";

/// The error output of a script that must fail in its first attempt.
#[track_caller]
fn failure_of(place: &Place, sql: &str) -> String {
    let ended = Background::start_at(place, &["run", "-e", sql]).wait();
    let told = ended.stderr;
    assert_eq!(ended.code, Some(1), "{told}");
    assert!(!told.contains("is tried again"), "it is not tried again: {told}");
    told
}

/// Paths for reading and for writing are refused at the start, with advice.
#[track_caller]
fn check_refused(place: &Place, path: &str, advice: &str) {
    for sql in [
        copying(&stored("i", path), NOWHERE),
        copying(NUMBERS, &stored("o", path)),
        format!("SET 'error.path' = '{path}'; {}", copying(NUMBERS, NOWHERE)),
        format!("SET 'late.path' = '{path}'; {}", copying(NUMBERS, NOWHERE)),
    ] {
        let told = failure_of(place, &sql);
        assert!(told.contains(advice), "{sql}: {told}");
    }
}

#[test]
fn an_endpoint_without_tls_is_refused_with_the_variable_that_allows_it() {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "nobody"),
        ("AWS_SECRET_ACCESS_KEY", "nothing"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let place = Place { variables, ..Place::default() };
    check_refused(&place, "s3://bucket/x", "set AWS_ALLOW_HTTP=true to allow that");
}

#[test]
fn a_bucket_that_is_not_there_is_named_at_once() {
    let Some(s3) = S3::start() else { return };
    check_refused(&s3.place(), "s3://nowhere/x", "there is no such bucket; create it, or correct the URL");
}

#[test]
fn where_access_is_denied_credentials_are_asked_for_at_once() {
    let Some(s3) = S3::start_closed() else { return };
    check_refused(&s3.place(), &S3::url("x"), "access is denied; check the credentials (AWS_ACCESS_KEY_ID, ..)");
}

fn json(place: &Place, arguments: &[&str], address: &str) -> Vec<Value> {
    let outcome = place.thalweg(&[arguments, &["-o", "json", "--timeout", "30 s", "--coordinator", address]].concat());
    assert_eq!(outcome.code, Some(0), "{arguments:?}: {outcome:?}");
    outcome.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn node(place: &Place, number: &str, address: &str) -> Background {
    Background::start_at(place, &["node", "--node", number, "--coordinator", address, "--slots", "1"])
}

/// Unchanged state is uploaded once, and every later checkpoint refers to it.
#[test]
fn a_checkpoint_after_others_were_deleted_is_whole() {
    let Some(s3) = S3::start() else { return };
    let place = s3.place();
    let directory = tempfile::tempdir().expect("a directory");
    let rows: String = (0..100).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    std::fs::write(directory.path().join("in.json"), rows).expect("written");
    let [address]: [String; 1] = free_addresses();
    let (data, checkpoints) = (directory.path().join("data"), S3::url("checkpoints"));
    let coordinator = ["coordinator", "--listen", &address, "--data-dir", data.to_str().expect("text"), "--lease"];
    let times = ["3 s", "--checkpoint-interval", "1 s", "--checkpoints", &checkpoints];
    let _coordinator = Background::start_at(&place, &[&coordinator[..], &times[..]].concat());
    let first = node(&place, "1", &address);
    wait_until("the node", || (json(&place, &["nodes"], &address).len() == 1).then_some(()));
    let sql = format!(
        "CREATE TABLE i (n BIGINT, t AS TO_TIMESTAMP_LTZ(n, 3), WATERMARK FOR t AS t) WITH ('connector' = 'filesystem', \
           'format' = 'json', 'path' = '{}', 'source.monitor-interval' = '1 s'); \
         CREATE TABLE o (k BIGINT, c BIGINT) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{}'); {} \
         INSERT INTO o SELECT n % 10, COUNT(*) FROM TABLE(TUMBLE(TABLE i, DESCRIPTOR(t), INTERVAL '1' DAY)) \
           GROUP BY window_start, window_end, n % 10; \
         INSERT INTO seen SELECT n FROM i;",
        directory.path().join("in.json").display(),
        S3::url("out"),
        stored("seen", &S3::url("seen")),
    );
    json(&place, &["submit", "-e", &sql, "-p", "1"], &address);
    wait_until("a checkpoint behind all rows", || (s3.lines_below("seen").len() == 100).then_some(()));
    let is_state = |name: &String| name.ends_with(".state");
    let state: Vec<String> = s3.names_below("checkpoints").into_iter().filter(is_state).collect();
    assert!(!state.is_empty());
    s3.delete(&state);
    wait_until("that it is noticed", || first.log().contains("uploaded anew").then_some(()));

    let newest = || {
        let checkpoints = json(&place, &["job", "checkpoints", "job-1"], &address);
        let complete = checkpoints.iter().filter(|checkpoint| checkpoint["state"] == "complete");
        complete.filter_map(|checkpoint| checkpoint["checkpoint"].as_u64()).max().expect("there is one")
    };
    let before = newest();
    wait_until("a checkpoint after that", || (newest() > before).then_some(()));
    first.kill();
    let _second = node(&place, "2", &address);
    let show = || json(&place, &["job", "show", "job-1"], &address).remove(0);
    wait_until("another attempt", || (show()["status"] == "running" && show()["attempt"] != 1).then_some(()));
    json(&place, &["job", "stop", "job-1"], &address);
    wait_until("the job's end", || (show()["status"] == "stopped").then_some(()));
    let expected: Vec<String> = (0..10).map(|key| format!("{{\"k\":{key},\"c\":10}}")).collect();
    assert_eq!(s3.lines_below("out"), expected, "{}", show());
}
