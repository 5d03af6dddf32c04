//! Tables of Kafka as users run them: the built binary with Apache Kafka. Skipped where that is not installed (`THALWEG_KAFKA`).
//!
//! Topics are written and read by librdkafka itself (`topics/mod.rs`), so that the product is not its own witness. Crashes are
//! in `kafka_crashes.rs`.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod broker;
mod kafka {
    mod fraud;
    mod refusals;
    mod security;
}
mod pages;
mod process;
mod topics;

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use broker::shared;
use process::{Background, Outcome, free_addresses, lines_below, thalweg, wait_until};
use serde_json::{Value, json};
use topics::{Follower, Message, Writer, Written};

/// The options of a table over a topic, and more.
fn table(servers: &str, topic: &str, more: &str) -> String {
    format!("'connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{servers}', {more}")
}

/// What reads a topic from its beginning to where it ends now.
const WHOLE: &str = "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'";

fn run(sql: &str) -> Outcome {
    thalweg(&["run", "-e", sql, "-o", "json"])
}

/// The rows that a script prints, in the order of their text.
#[track_caller]
fn rows(sql: &str) -> Vec<Value> {
    let outcome = run(sql);
    assert_eq!(outcome.code, Some(0), "{sql}: {outcome:?}");
    let mut lines: Vec<&str> = outcome.stdout.lines().collect();
    lines.sort_unstable();
    lines.into_iter().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Runs a script that prints nothing.
#[track_caller]
fn done(sql: &str) {
    let outcome = run(sql);
    assert_eq!(outcome.code, Some(0), "{sql}: {outcome:?}");
}

#[test]
fn what_is_read_is_written_with_key_headers_and_timestamp() {
    let Some(broker) = shared() else { return };
    let servers = broker.servers();
    topics::create(servers, "copy.in", 2);
    topics::create(servers, "copy.out", 2);
    let writer = Writer::new(servers);
    for n in 0..20_i64 {
        let (key, value) = (format!("key {}", n % 5), json!({ "n": n, "word": "Grüße" }).to_string());
        writer.send(
            "copy.in",
            &Written {
                partition: Some((n % 5 % 2) as i32),
                key: Some(&key),
                value: Some(value.as_bytes()),
                headers: &[("trace", "abc"), ("empty", "")],
                timestamp: Some(1_767_225_600_000 + n),
            },
        );
    }
    writer.flush();
    let columns = "n BIGINT, word STRING, k STRING, `timestamp` TIMESTAMP_LTZ(3) METADATA, \
                   h MAP<STRING, BYTES> METADATA FROM 'headers'";
    let keyed =
        "'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY'";
    let (from, to) = (table(servers, "copy.in", keyed), table(servers, "copy.out", keyed));
    done(&format!(
        "CREATE TABLE i ({columns}) WITH ({from}, {WHOLE}); CREATE TABLE o ({columns}) WITH ({to});
         INSERT INTO o SELECT n, word, k, `timestamp`, h FROM i;"
    ));
    let seen = |topic: &str| {
        let of = |message: Message| {
            let key = String::from_utf8(message.key.clone().expect("a key")).expect("text");
            let mut headers = message.headers.clone();
            headers.sort();
            (key, message.json(), headers, message.timestamp)
        };
        let mut seen: Vec<_> = topics::read(servers, topic).into_iter().map(of).collect();
        // Within a key the order stays.
        seen.sort_by(|one, other| one.0.cmp(&other.0));
        seen
    };
    // Brokers answer a commit before its marks are in all partitions.
    let written = wait_until("all rows", || Some(seen("copy.out")).filter(|written| written.len() >= 20));
    let read = seen("copy.in");
    assert_eq!(read, written);
}

#[test]
fn what_is_known_of_records_can_be_read() {
    let Some(broker) = shared() else { return };
    let servers = broker.servers();
    topics::create(servers, "known", 2);
    let writer = Writer::new(servers);
    for (partition, n, timestamp) in [(0, 1, 1_767_225_600_123), (1, 2, 1_767_225_600_456), (1, 3, 1_767_225_600_789)] {
        let value = format!("{{\"n\":{n}}}");
        let (partition, timestamp) = (Some(partition), Some(timestamp));
        writer.send("known", &Written { partition, value: Some(value.as_bytes()), timestamp, ..Written::default() });
    }
    writer.flush();
    let known = table(servers, "known", "'format' = 'json'");
    let rows = rows(&format!(
        "CREATE TABLE t (n BIGINT, topic STRING NOT NULL METADATA VIRTUAL, `partition` INT NOT NULL METADATA VIRTUAL,
           at_offset BIGINT NOT NULL METADATA FROM 'offset' VIRTUAL, ts TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
           kind STRING NOT NULL METADATA FROM 'timestamp-type' VIRTUAL,
           epoch INT METADATA FROM 'leader-epoch' VIRTUAL)
         WITH ({known}, {WHOLE});
         SELECT topic, `partition`, at_offset, n, CAST(ts AS STRING) AS ts, kind, epoch >= 0 AS has_epoch FROM t;"
    ));
    let row = |partition: i32, offset: i64, n: i64, ts: &str| {
        json!({ "topic": "known", "partition": partition, "at_offset": offset, "n": n, "ts": ts, "kind": "CreateTime",
                "has_epoch": true })
    };
    let second = |millis: &str| format!("2026-01-01 00:00:00.{millis}");
    let expected = [row(0, 0, 1, &second("123")), row(1, 0, 2, &second("456")), row(1, 1, 3, &second("789"))];
    assert_eq!(rows, expected);
}

#[test]
fn a_table_begins_and_ends_where_it_says() {
    let Some(broker) = shared() else { return };
    let servers = broker.servers();
    topics::create(servers, "places", 1);
    let writer = Writer::new(servers);
    for n in 0..10 {
        let value = format!("{{\"n\":{n}}}");
        let (partition, timestamp) = (Some(0), Some(1_767_225_600_000 + 1000 * n));
        writer.send("places", &Written { partition, value: Some(value.as_bytes()), timestamp, ..Written::default() });
    }
    writer.flush();
    for group in ["place-group", "place-end"] {
        topics::commit(servers, group, "places", &[6]);
    }
    let script = |places: &str| {
        let places = table(servers, "places", &format!("'format' = 'json', {places}"));
        format!("CREATE TABLE t (n BIGINT) WITH ({places}); SELECT n FROM t;")
    };
    let read = |from: &str, to: &str| -> Vec<u64> {
        let rows = rows(&script(&format!("'scan.startup.mode' = {from}, 'scan.bounded.mode' = {to}")));
        rows.iter().map(|row| row["n"].as_u64().expect("a number")).collect()
    };
    let numbers = |from, to| (from..to).collect::<Vec<u64>>();
    assert_eq!(read("'earliest-offset'", "'latest-offset'"), numbers(0, 10));
    assert_eq!(read("'latest-offset'", "'latest-offset'"), numbers(0, 0));
    let offset =
        |scan: &str, at| format!("'specific-offsets', 'scan.{scan}.specific-offsets' = 'partition:0,offset:{at}'");
    assert_eq!(read(&offset("startup", 4), &offset("bounded", 7)), numbers(4, 7));
    let time =
        |scan: &str, at: i64| format!("'timestamp', 'scan.{scan}.timestamp-millis' = '{}'", 1_767_225_600_000 + at);
    assert_eq!(read(&time("startup", 4500), &time("bounded", 8000)), numbers(5, 8));
    let group = "'group-offsets', 'properties.group.id' = 'place-group'";
    assert_eq!(read(group, "'latest-offset'"), numbers(6, 10));
    let end = "'group-offsets', 'properties.group.id' = 'place-end'";
    assert_eq!(read("'earliest-offset'", end), numbers(0, 6));
    let nobody = "'group-offsets', 'properties.group.id' = 'place-nobody'";
    let reset = "'group-offsets', 'properties.group.id' = 'place-reset'";
    let earliest = format!("{reset}, 'properties.auto.offset.reset' = 'earliest'");
    assert_eq!(read(&earliest, "'latest-offset'"), numbers(0, 10));
    let refused = run(&script(&format!("'scan.startup.mode' = {nobody}, 'scan.bounded.mode' = 'latest-offset'")));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for told in ["'place-nobody'", "places-0", "'properties.auto.offset.reset'"] {
        assert!(refused.stderr.contains(told), "{told}: {refused:?}");
    }
}

#[test]
fn a_record_that_cannot_be_parsed_is_set_aside_with_topic_partition_and_offset() {
    let Some(broker) = shared() else { return };
    let servers = broker.servers();
    topics::create(servers, "poison", 1);
    topics::write(servers, "poison", 0, &["{\"n\":1}", "{\"n\":", "{\"n\":\"many\"}", "{\"n\":4}"]);
    let directory = tempfile::tempdir().expect("a directory");
    let dead = directory.path().join("dead");
    let script = |more: &str| {
        let table = table(servers, "poison", &format!("'format' = 'json'{more}, {WHOLE}"));
        format!("CREATE TABLE t (n BIGINT) WITH ({table}); SELECT n FROM t;")
    };
    let refused = run(&script(""));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("poison-0@1"), "{refused:?}");
    let read = rows(&script(&format!(", 'dead-letter.path' = '{}'", dead.display())));
    assert_eq!(read, [json!({ "n": 1 }), json!({ "n": 4 })]);
    let letters: Vec<Value> =
        lines_below(&dead).iter().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let mut seen: Vec<(&str, &str)> = letters
        .iter()
        .map(|letter| (letter["position"].as_str().expect("a place"), letter["record"].as_str().expect("text")))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [("poison-0@1", "{\"n\":"), ("poison-0@2", "{\"n\":\"many\"}")]);
    assert!(letters.iter().all(|letter| letter["reason"].as_str().is_some_and(|reason| !reason.is_empty())));
}

/// What one format writes, it reads; keys and values have their own.
#[test]
fn formats_of_keys_and_values_are_told_apart() {
    let Some(broker) = shared() else { return };
    let servers = broker.servers();
    for (number, (key, value)) in
        [("raw", "json"), ("json", "csv"), ("avro", "avro"), ("csv", "raw"), ("json", "protobuf")]
            .into_iter()
            .enumerate()
    {
        let topic = format!("formats-{number}");
        topics::create(servers, &topic, 1);
        let more = match value {
            "avro" => {
                r#", 'key.avro.schema' = '{"type":"record","name":"k","fields":[{"name":"id","type":["null","long"]}]}',
                'value.avro.schema' = '{"type":"record","name":"v","fields":[{"name":"text","type":["null","string"]}]}'"#
            }
            "protobuf" => ", 'value.protobuf.proto' = 'syntax = \"proto3\"; message M { optional string text = 1; }'",
            _ => "",
        };
        let options = format!(
            "'key.format' = '{key}', 'key.fields' = 'id', 'value.format' = '{value}', 'value.fields-include' = 'EXCEPT_KEY'{more}"
        );
        let kept = table(servers, &topic, &options);
        done(&format!(
            "CREATE TABLE t (id BIGINT, text STRING) WITH ({kept});
             INSERT INTO t VALUES (7, 'seven'), (8, 'acht, \"8\"'), (9, 'девять');"
        ));
        let read =
            rows(&format!("CREATE TABLE t (id BIGINT, text STRING) WITH ({kept}, {WHOLE}); SELECT id, text FROM t;"));
        let texts = ["seven", "acht, \"8\"", "девять"];
        let expected: Vec<Value> = (7..).zip(texts).map(|(id, text)| json!({ "id": id, "text": text })).collect();
        assert_eq!(read, expected, "{key}, {value}");
    }
}

/// Topics and partitions that come while the job runs are read from their beginnings.
#[test]
fn topics_that_come_later_are_found() {
    let Some(broker) = shared() else { return };
    let servers = broker.servers();
    topics::create(servers, "found.a", 1);
    topics::create(servers, "found-out", 1);
    topics::write(servers, "found.a", 0, &["first"]);
    let out = table(servers, "found-out", "'format' = 'raw', 'sink.delivery-guarantee' = 'at-least-once'");
    let job = Background::start(&[
        "run",
        "-e",
        &format!(
            "CREATE TABLE i (text STRING) WITH ('connector' = 'kafka', 'topic-pattern' = 'found[.].*',
               'properties.bootstrap.servers' = '{servers}', 'format' = 'raw', 'scan.startup.mode' = 'earliest-offset',
               'scan.topic-partition-discovery.interval' = '200 ms');
             CREATE TABLE o (text STRING) WITH ({out});
             INSERT INTO o SELECT text FROM i;"
        ),
    ]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let taken = seen.clone();
    let _follower = Follower::start(servers, "found-out", move |message| {
        taken.lock().expect("nobody panics with it").push(message.text());
    });
    let count = |wanted: usize| {
        let seen = seen.lock().expect("nobody panics with it");
        (seen.len() >= wanted).then(|| seen.clone())
    };
    assert_eq!(wait_until("the first row", || count(1)), ["first"]);
    topics::create(servers, "found.b", 2);
    topics::write(servers, "found.b", 1, &["second"]);
    assert_eq!(wait_until("a row of another topic", || count(2)), ["first", "second"]);
    let ended = job.terminate();
    assert!(!ended.stderr.contains("failed"), "{ended:?}");
}

/// A topic that was deleted and made anew is another one: its offsets mean nothing.
#[test]
fn a_topic_that_was_made_anew_is_told_from_the_one_before() {
    let Some(broker) = shared() else { return };
    let servers = broker.servers();
    topics::create(servers, "anew", 1);
    topics::create(servers, "anew-out", 1);
    topics::write(servers, "anew", 0, &["one", "two", "three"]);
    let from = table(servers, "anew", "'format' = 'raw', 'scan.startup.mode' = 'earliest-offset'");
    let to = table(servers, "anew-out", "'format' = 'raw', 'sink.delivery-guarantee' = 'at-least-once'");
    let job = Background::start(&[
        "run",
        "-e",
        &format!(
            "CREATE TABLE i (t STRING) WITH ({from}); CREATE TABLE o (t STRING) WITH ({to}); INSERT INTO o SELECT t FROM i;"
        ),
    ]);
    wait_until("all rows", || (topics::read(servers, "anew-out").len() == 3).then_some(()));
    topics::delete(servers, "anew");
    topics::create_again(servers, "anew", 1);
    topics::write(servers, "anew", 0, &["another"]);
    let ended = job.wait();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for told in ["'anew'", "was deleted and made anew", "'scan.on-data-loss' = 'skip'"] {
        assert!(ended.stderr.contains(told), "{told}: {ended:?}");
    }
}

/// A cluster in one process with its state in a directory, until it is dropped.
struct Dev {
    _process: Background,
    address: String,
    http: String,
    _directory: tempfile::TempDir,
}

impl Dev {
    fn start(more: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let [address, http]: [String; 2] = free_addresses();
        let data = directory.path().join("data").display().to_string();
        let arguments = ["dev", "--listen", &address, "--http", &http, "--data-dir", &data];
        let process = Background::start(&[&arguments[..], more].concat());
        let this = Self { _process: process, address, http, _directory: directory };
        wait_until("the cluster", || (this.ask(&["nodes"]).len() == 1).then_some(()));
        this
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        thalweg(&[arguments, &["--coordinator", &self.address, "-o", "json", "--timeout", "30 s"]].concat())
    }

    fn ask(&self, arguments: &[&str]) -> Vec<Value> {
        let outcome = self.run(arguments);
        outcome.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    fn show(&self, job: &str) -> Value {
        self.ask(&["job", "show", job]).remove(0)
    }

    fn submit(&self, sql: &str) -> String {
        let outcome = self.run(&["submit", "-e", sql]);
        assert_eq!(outcome.code, Some(0), "{sql}: {outcome:?}");
        let submitted: Value = serde_json::from_str(outcome.stdout.trim()).expect("a line of JSON");
        format!("job-{}", submitted["job"])
    }

    /// The text of a page of its HTTP address.
    fn get(&self, path: &str) -> String {
        process::http_text(&self.http, path).unwrap_or_default()
    }
}

/// What a group has committed is for people and their tools; it follows checkpoints.
#[test]
fn a_group_s_offsets_and_the_lag_are_told() {
    let Some(broker) = shared() else { return };
    let servers = broker.servers();
    topics::create(servers, "lag", 2);
    topics::write(servers, "lag", 0, &["a", "b", "c"]);
    let dev = Dev::start(&[]);
    let from = table(
        servers,
        "lag",
        "'format' = 'raw', 'scan.startup.mode' = 'earliest-offset', 'properties.group.id' = 'lag-group'",
    );
    let job = dev.submit(&format!(
        "SET 'checkpoint.interval' = '200 ms'; SET 'parallelism.default' = '1';
         CREATE TABLE i (t STRING) WITH ({from});
         CREATE TABLE o (t STRING) WITH ('connector' = 'blackhole', 'rows-per-second' = '1');
         INSERT INTO o SELECT t FROM i;"
    ));
    let committed = || topics::group_offsets(servers, "lag-group", "lag", 2);
    wait_until("offsets of the group", || (committed() == [Some(3), Some(0)]).then_some(()));
    let many: Vec<String> = (0..5000).map(|n| format!("{n:0>1000}")).collect();
    topics::write(servers, "lag", 1, &many.iter().map(String::as_str).collect::<Vec<_>>());
    wait_until("a lag", || {
        let text = dev.get("/metrics");
        let lag = text.lines().find(|line| line.starts_with("thalweg_source_backlog_records{"))?;
        lag.rsplit(' ').next()?.parse::<f64>().ok().filter(|lag| *lag > 100.0)
    });
    assert_eq!(dev.show(&job)["status"], "running");
    assert_eq!(dev.run(&["job", "cancel", &job]).code, Some(0));
}

/// Records of an open or aborted transaction never happened for who reads committed ones.
#[test]
fn only_committed_records_are_read_unless_the_table_says_otherwise() {
    let Some(broker) = shared() else { return };
    let servers = broker.servers();
    topics::create(servers, "committed", 1);
    topics::write_transaction(servers, "committed", &["1", "2"], true);
    topics::write_transaction(servers, "committed", &["3"], false);
    topics::write_transaction(servers, "committed", &["4"], true);
    let read = |more: &str| -> Vec<Value> {
        let table = table(servers, "committed", &format!("'format' = 'csv'{more}, {WHOLE}"));
        rows(&format!("CREATE TABLE t (n BIGINT) WITH ({table}); SELECT n FROM t;"))
    };
    let numbers = |numbers: &[u64]| numbers.iter().map(|n| json!({ "n": n })).collect::<Vec<Value>>();
    assert_eq!(read(""), numbers(&[1, 2, 4]));
    assert_eq!(read(", 'properties.isolation.level' = 'read_uncommitted'"), numbers(&[1, 2, 3, 4]));
}

#[test]
fn plans_say_how_often_rows_are_written() {
    for (guarantee, told) in [
        ("", "Sink o (kafka, exactly once): "),
        (", 'sink.delivery-guarantee' = 'exactly-once'", "Sink o (kafka, exactly once): "),
        (", 'sink.delivery-guarantee' = 'at-least-once'", "Sink o (kafka, at least once): "),
    ] {
        let out = table("127.0.0.1:9092", "t", &format!("'format' = 'json'{guarantee}"));
        let sql = format!("CREATE TABLE o (n BIGINT) WITH ({out}); INSERT INTO o VALUES (1);");
        let plan = thalweg(&["explain", "-e", &sql]);
        assert_eq!(plan.code, Some(0), "{plan:?}");
        assert!(plan.stdout.contains(told), "{guarantee}: {plan:?}");
    }
}

/// The page's commands with a broker in the place of the reader's own, and its topic. What lies below `deploy` is run by others.
#[test]
fn the_page_s_commands_do_what_it_says() {
    let Some(broker) = shared() else { return };
    let servers = broker.servers();
    topics::create(servers, "words", 2);
    let directory = tempfile::tempdir().expect("a directory");
    let blocks = pages::blocks_of("docs/kafka.md", "sh").into_iter().map(|block| block.replace(pages::KAFKA, servers));
    let commands: Vec<Vec<String>> = blocks.flat_map(|block| pages::commands(&block)).collect();
    let mut printed = Vec::new();
    for command in commands.iter().filter(|command| !command[0].starts_with("deploy/")) {
        let arguments = pages::arguments(command).unwrap_or_else(|| panic!("nobody runs {command:?}"));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["-o", "csv"]).collect();
        printed.extend(run_at(directory.path(), &arguments).stdout.lines().map(str::to_owned));
    }
    let words = |word: &str| printed.iter().filter(|line| line.starts_with(&format!("{word},"))).count();
    assert_eq!((words("odd"), words("even")), (5, 5), "{printed:?}");
}

fn run_at(directory: &Path, arguments: &[&str]) -> Outcome {
    let place = process::Place { directory: Some(directory.to_owned()), ..process::Place::default() };
    let outcome = place.thalweg(arguments);
    assert_eq!(outcome.code, Some(0), "{arguments:?}: {outcome:?}");
    outcome
}

/// The scripts that tests and pages name are there and can be run.
#[test]
fn scripts_can_be_run() {
    use std::os::unix::fs::PermissionsExt as _;
    for script in ["deploy/kafka/apache-kafka", "deploy/examples/fraud/run"] {
        let metadata = fs::metadata(process::root().join(script)).unwrap_or_else(|error| panic!("{script}: {error}"));
        assert!(metadata.permissions().mode() & 0o111 != 0, "{script} can be run");
    }
}
