//! Tables of Kinesis as users run them: the built binary with the emulators `kinesis-local` and, for many records, `kinesalite`.
//! Skipped where those are not installed (`THALWEG_KINESIS`, `THALWEG_KINESALITE`).
//!
//! Streams are written and read by AWS's SDK itself (`streams/mod.rs`), so that the product is not its own witness, and written by
//! that for Python, too (`streams/put.py`). Crashes are in `kinesis_crashes.rs`.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod pages;
mod process;
mod streams;

use std::{path::PathBuf, process::Command};

use process::{Background, Outcome, free_addresses, lines_below, thalweg, wait_until};
use serde_json::{Value, json};
use streams::{Caller, Streams};
use thalweg_kinesis::testing::emulator::Kind;

/// What reads a stream from its beginning.
const FROM_THE_BEGINNING: &str = "'source.init.position' = 'TRIM_HORIZON'";

fn run(sql: &str) -> Outcome {
    thalweg(&["run", "-e", sql, "-o", "json"])
}

/// A script that prints rows for as long as it runs, in JSON.
fn printing(sql: &str) -> Background {
    Background::start(&["run", "-e", &format!("SET 'checkpoint.interval' = '500 ms'; {sql}"), "-o", "json"])
}

/// So many rows of a script that is printing, in the order of their text.
#[track_caller]
fn rows(job: &Background, count: usize) -> Vec<Value> {
    let printed = wait_until("rows", || Some(job.printed()).filter(|printed| printed.lines().count() >= count));
    let mut lines: Vec<&str> = printed.lines().collect();
    lines.sort_unstable();
    lines.into_iter().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn rows_are_written_with_their_keys_and_read_with_what_is_known_of_them() {
    let Some(streams) = Streams::start() else { return };
    let caller = streams.caller();
    caller.create("known", 2);
    let written = streams.table("known", "'format' = 'json'");
    let rows_of = "VALUES (1, 'one'), (2, 'two'), (3, 'three')";
    let script = format!(
        "CREATE TABLE o (n BIGINT, word STRING) PARTITIONED BY (word) WITH ({written}); INSERT INTO o {rows_of};"
    );
    let outcome = run(&script);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let records = caller.read("known");
    let mut seen: Vec<(String, Value)> =
        records.iter().map(|record| (streams::key(record).to_owned(), streams::json(record))).collect();
    seen.sort_by_key(|(_, row)| row["n"].as_i64());
    let expected = [(1, "one"), (2, "two"), (3, "three")];
    assert_eq!(seen, expected.map(|(n, word)| (word.to_owned(), json!({ "n": n, "word": word }))));
    let numbers = |key: &str| {
        let of_key = records.iter().filter(|record| streams::key(record) == key);
        of_key.map(|record| record.sequence_number().to_owned()).collect::<Vec<_>>()
    };
    let row =
        |(n, word): (i64, &str)| json!({ "n": n, "k": word, "is_shard": true, "at": numbers(word)[0], "is_new": true });
    for way in ["'source.reader.type' = 'POLLING'", "'source.reader.type' = 'EFO', 'source.efo.consumer.name' = 'shop'"]
    {
        let read = streams.table("known", &format!("'format' = 'json', {FROM_THE_BEGINNING}, {way}"));
        let job = printing(&format!(
            "CREATE TABLE i (n BIGINT, k STRING METADATA FROM 'partition-key' VIRTUAL,
               s STRING METADATA FROM 'shard-id' VIRTUAL, at STRING METADATA FROM 'sequence-number' VIRTUAL,
               ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL)
             WITH ({read});
             SELECT n, k, s LIKE 'shardId-%' AS is_shard, at, ts > TIMESTAMP '2020-01-01 00:00:00' AS is_new FROM i;"
        ));
        assert_eq!(rows(&job, 3), expected.map(row), "{way}");
    }
}

/// Python with boto3: moto, the server of objects, needs it.
fn python() -> Option<PathBuf> {
    let moto = std::env::var_os("THALWEG_MOTO_SERVER").map(PathBuf::from);
    let python = moto.map(|server| server.with_file_name("python")).filter(|python| python.is_file());
    if python.is_none() {
        eprintln!("skipped: there is no Python with boto3 beside moto's server (THALWEG_MOTO_SERVER)");
    }
    python
}

/// Records of other makers: AWS's SDK for Python, and its library that aggregates as the KPL does.
#[test]
fn what_others_have_put_and_packed_is_read_right() {
    let (Some(streams), Some(python)) = (Streams::start(), python()) else { return };
    streams.caller().create("others", 1);
    let root = process::root();
    let output = Command::new(python)
        .arg(root.join("deploy/thalweg/tests/streams/put.py"))
        .args([&streams.endpoint(), "others"])
        .arg(root.join("node/connectors/kinesis/tests/golden/aggregated.json"))
        .output()
        .expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let put = String::from_utf8(output.stdout).expect("it is text");
    let expected: Vec<Value> = put.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert!(expected.len() > 300, "{put}");
    for way in ["'source.reader.type' = 'POLLING'", "'source.reader.type' = 'EFO', 'source.efo.consumer.name' = 'shop'"]
    {
        let read = streams.table("others", &format!("'format' = 'raw', {FROM_THE_BEGINNING}, {way}"));
        let job = printing(&format!(
            "CREATE TABLE i (data BYTES, k STRING METADATA FROM 'partition-key' VIRTUAL,
               h STRING METADATA FROM 'explicit-hash-key' VIRTUAL,
               sub BIGINT METADATA FROM 'sub-sequence-number' VIRTUAL)
             WITH ({read});
             SELECT k, h, sub, data FROM i;"
        ));
        let printed =
            wait_until("rows", || Some(job.printed()).filter(|printed| printed.lines().count() >= expected.len()));
        let found: Vec<Value> =
            printed.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        assert_eq!(found, expected, "{way}");
    }
}

#[test]
fn a_record_that_cannot_be_parsed_is_set_aside_with_shard_and_number() {
    let Some(streams) = Streams::start() else { return };
    let caller = streams.caller();
    caller.create("poison", 1);
    caller.put("poison", &[("a", "{\"n\":1}"), ("a", "{\"n\":"), ("a", "{\"n\":4}")]);
    let number = caller.read("poison")[1].sequence_number().to_owned();
    let directory = tempfile::tempdir().expect("a directory");
    let dead = directory.path().join("dead");
    let script = |more: &str| {
        let table = streams.table("poison", &format!("'format' = 'json', {FROM_THE_BEGINNING}{more}"));
        format!("CREATE TABLE t (n BIGINT) WITH ({table}); SELECT n FROM t;")
    };
    let refused = run(&script(""));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let place = format!("shardId-000000000000@{number}");
    assert!(refused.stderr.contains(&place), "{place}: {refused:?}");
    let job = printing(&script(&format!(", 'dead-letter.path' = '{}'", dead.display())));
    assert_eq!(rows(&job, 2), [json!({ "n": 1 }), json!({ "n": 4 })]);
    let lines = wait_until("what is set aside", || {
        Some(dead.exists().then(|| lines_below(&dead))?).filter(|lines| !lines.is_empty())
    });
    let letters: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let [letter] = &letters[..] else { panic!("one is set aside: {letters:?}") };
    assert!(letter["position"].as_str().is_some_and(|position| position.contains(&number)), "{letter}");
    assert_eq!(letter["record"], "{\"n\":");
}

/// Rows of a key stay in order while shards are split and merged.
#[test]
fn shards_that_are_split_and_merged_are_followed() {
    let Some(streams) = Streams::start() else { return };
    let caller = streams.caller();
    caller.create("changing", 2);
    caller.create("followed", 1);
    let from = streams.table("changing", &format!("'format' = 'json', {FROM_THE_BEGINNING}"));
    let to = streams.table("followed", "'format' = 'json', 'sink.ordering' = 'strict'");
    let job = Background::start(&[
        "run",
        "-e",
        &format!(
            "SET 'checkpoint.interval' = '500 ms';
             CREATE TABLE i (k STRING, n BIGINT) WITH ({from});
             CREATE TABLE o (k STRING, n BIGINT) PARTITIONED BY (k) WITH ({to});
             INSERT INTO o SELECT k, n FROM i;"
        ),
    ]);
    let keys = keys(10);
    let mut written = 0;
    for round in 0..5 {
        (written..written + 10).for_each(|n| put_for_all(&caller, "changing", &keys, n));
        written += 10;
        match round {
            0 | 2 => caller.split("changing", round),
            1 | 3 => caller.merge("changing", round),
            _ => {}
        }
    }
    assert_in_order(&caller, "followed", &keys, written);
    let ended = job.terminate();
    assert!(!ended.stderr.contains("failed"), "{ended:?}");
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|key| format!("key-{key}")).collect()
}

/// Writes the row of this number for each key.
fn put_for_all(caller: &Caller, stream: &str, keys: &[String], n: i64) {
    let data: Vec<String> = keys.iter().map(|key| json!({ "k": key, "n": n }).to_string()).collect();
    let records: Vec<(&str, &str)> = keys.iter().zip(&data).map(|(key, data)| (key.as_str(), data.as_str())).collect();
    caller.put(stream, &records);
}

/// Waits until a stream has as many rows of each key, from 0 on, and in order.
#[track_caller]
fn assert_in_order(caller: &Caller, stream: &str, keys: &[String], count: i64) {
    let wanted = keys.len() * usize::try_from(count).expect("they are few");
    let records = wait_until("all rows", || Some(caller.read(stream)).filter(|records| records.len() >= wanted));
    for key in keys {
        let of_key = records.iter().map(streams::json).filter(|row| row["k"] == key.as_str());
        let numbers: Vec<i64> = of_key.filter_map(|row| row["n"].as_i64()).collect();
        assert_eq!(numbers, (0..count).collect::<Vec<i64>>(), "{key}");
    }
}

/// Generations of shards that were closed before the job begins, with many records. The quick emulator tells of no children at the
/// end of a shard, so that they are found by listing alone.
#[test]
fn closed_shards_with_many_records_are_read_before_their_children() {
    let Some(streams) = Streams::of(Kind::Kinesalite) else { return };
    let caller = streams.caller();
    caller.create("many", 3);
    caller.create("copied", 2);
    let keys = keys(100);
    let mut written = 0;
    let mut write_until = |until| {
        (written..until).for_each(|n| put_for_all(&caller, "many", &keys, n));
        written = until;
    };
    write_until(20);
    caller.split("many", 0);
    write_until(40);
    caller.merge("many", 1);
    write_until(60);
    let from = streams.table("many", &format!("'format' = 'json', {FROM_THE_BEGINNING}"));
    let to = streams.table("copied", "'format' = 'json', 'sink.ordering' = 'strict'");
    let script = format!(
        "SET 'checkpoint.interval' = '500 ms';
         CREATE TABLE i (k STRING, n BIGINT) WITH ({from});
         CREATE TABLE o (k STRING, n BIGINT) PARTITIONED BY (k) WITH ({to});
         INSERT INTO o SELECT k, n FROM i;"
    );
    let job = Background::start(&["run", "-e", &script]);
    assert_in_order(&caller, "copied", &keys, written);
    let ended = job.terminate();
    assert!(!ended.stderr.contains("failed"), "{ended:?}");
}

#[test]
fn what_is_wrong_is_told_before_anything_runs() {
    let Some(streams) = Streams::start() else { return };
    streams.caller().create("there", 1);
    let missing = streams.table("missing", "'format' = 'json'");
    let [nobody] = free_addresses();
    let silent = streams::table(&format!("http://{nobody}"), "there", "'format' = 'json'");
    let there = format!("at {} ('aws.endpoint')", streams.endpoint());
    let at_nobody = format!("at http://{nobody} ('aws.endpoint')");
    let no_consumer = streams.table(
        "there",
        "'format' = 'json', 'source.reader.type' = 'EFO', 'source.efo.consumer.name' = 'nobody',
         'source.efo.lifecycle' = 'SELF_MANAGED'",
    );
    for (table, told) in [
        (missing, &["there is no stream 'missing'", there.as_str()][..]),
        (silent, &["stream 'there' cannot be asked for", at_nobody.as_str(), "refused"][..]),
        (no_consumer, &["'source.efo.consumer.name'", "has no consumer 'nobody'"][..]),
    ] {
        let refused = run(&format!("CREATE TABLE t (n BIGINT) WITH ({table}); SELECT n FROM t;"));
        assert_eq!(refused.code, Some(1), "{refused:?}");
        for told in told {
            assert!(refused.stderr.contains(told), "{told}: {refused:?}");
        }
    }
}

#[test]
fn plans_say_how_often_rows_are_written() {
    let out = streams::table("http://127.0.0.1:1", "s", "'format' = 'json'");
    let sql = format!("CREATE TABLE o (n BIGINT) WITH ({out}); INSERT INTO o VALUES (1);");
    let plan = thalweg(&["explain", "-e", &sql]);
    assert_eq!(plan.code, Some(0), "{plan:?}");
    assert!(plan.stdout.contains(", at least once): "), "{plan:?}");
}

/// Starts and ends an emulator.
const SCRIPT: &str = "deploy/kinesis/kinesis-local";

/// Ends the emulator with this data if a test does not get so far.
struct Stopped(String);

impl Drop for Stopped {
    fn drop(&mut self) {
        Command::new(process::root().join(SCRIPT)).args(["stop", &self.0]).status().ok();
    }
}

/// The page's commands, with an emulator of their own at a free port, where it was installed for tests.
#[test]
fn the_page_s_commands_do_what_it_says() {
    let Some(installed) = std::env::var_os("THALWEG_KINESIS").and_then(|folder| folder.into_string().ok()) else {
        return eprintln!("skipped: kinesis-local is not installed (THALWEG_KINESIS)");
    };
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data").display().to_string();
    let _stopped = Stopped(data.clone());
    let [address] = free_addresses();
    let port = address.rsplit(':').next().expect("a port").to_owned();
    let commands: Vec<Vec<String>> = pages::blocks_of("docs/kinesis.md", "sh")
        .into_iter()
        .map(|block| block.replace(pages::KINESIS, &address))
        .flat_map(|block| pages::commands(&block))
        .collect();
    let here = |word: &String| match word.as_str() {
        "target/kinesis-local" => installed.clone(),
        "target/kinesis-data" => data.clone(),
        word if pages::KINESIS.ends_with(&format!(":{word}")) => port.clone(),
        word => word.to_owned(),
    };
    let mut printed = Vec::new();
    for command in &commands {
        match pages::arguments(command) {
            // It reads until it is ended.
            Some(arguments) if arguments.iter().any(|argument| argument.contains("SELECT * FROM words")) => {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["-o", "csv"]).collect();
                let job = Background::start(&arguments);
                let lines = wait_until("ten words", || Some(job.printed()).filter(|lines| lines.lines().count() > 10));
                printed.extend(lines.lines().map(str::to_owned));
            }
            Some(arguments) => {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                let outcome = thalweg(&arguments);
                assert_eq!(outcome.code, Some(0), "{arguments:?}: {outcome:?}");
            }
            None => {
                assert_eq!(command[0], SCRIPT, "nobody runs {command:?}");
                let words: Vec<String> = command[1..].iter().map(here).collect();
                let status = Command::new(process::root().join(SCRIPT)).args(&words).status();
                assert!(status.expect("the script can be run").success(), "{command:?}");
            }
        }
    }
    let words = |word: &str| printed.iter().filter(|line| line.starts_with(&format!("{word},"))).count();
    assert_eq!((words("odd"), words("even")), (5, 5), "{printed:?}");
}
