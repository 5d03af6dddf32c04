//! Delivery into an object store, with nodes that are killed and frozen: merged files, manifests, files that say that a
//! partition is complete, and files of rows that cannot be written. Each row is there once, where it belongs.
//!
//! The server is moto's (`s3/mod.rs`); without it, the test is skipped. Parquet files are read by DuckDB, which shares no
//! code with what wrote them (`THALWEG_DUCKDB`, a Python that has it); without it, they are only counted.

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod chaos;
mod process;
mod s3;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use chaos::{
    Cluster, LEASE, Random, Shape,
    faults::{Plan, endure},
    flow::assert_equal,
};
use chrono::DateTime;
use s3::S3;
use serde_json::Value;

/// 2026-01-01 00:00:00 in milliseconds.
const START_MILLIS: i64 = 1_767_225_600_000;
const PER_SECOND: usize = 40;
const EVENT_SECONDS: usize = 420;
const REAL_SECONDS: usize = 70;
const FILES: usize = 4;
const COUNTRIES: [&str; 4] = ["de", "fr/x", "_u", "%"];
/// Too long for the name of a directory.
const LONG: usize = 300;

const READ_PARQUET: &str = r#"
import duckdb, os, sys
root = sys.argv[1]
for folder, _, names in os.walk(root):
    for name in names:
        if name.endswith(".parquet") and name[0] not in "._":
            read = "SELECT id, amount, strftime(ts, '%Y-%m-%d %H:%M:%S.%g') FROM read_parquet(?)"
            for row in duckdb.execute(read, [os.path.join(folder, name)]).fetchall():
                print(os.path.relpath(folder, root), *row, sep="|")
"#;

struct Row {
    id: usize,
    country: String,
    amount: u64,
    at: i64,
    sent: i64,
}

fn draw(random: &mut Random) -> Vec<Row> {
    let mut row = |id: usize| {
        let sent = START_MILLIS + i64::try_from(id * 1000 / PER_SECOND).expect("rows are few");
        let country = match random.below(50) {
            0 => "x".repeat(LONG),
            drawn => COUNTRIES[usize::try_from(drawn % 4).expect("it is small")].to_owned(),
        };
        let lag = i64::try_from(random.below(2001)).expect("it is small");
        Row { id, country, amount: random.below(1000), at: sent - lag, sent }
    };
    (0..PER_SECOND * EVENT_SECONDS).map(&mut row).collect()
}

fn time(millis: i64, pattern: &str) -> String {
    DateTime::from_timestamp_millis(millis).expect("a time of our days").format(pattern).to_string()
}

const TO_MILLIS: &str = "%Y-%m-%d %H:%M:%S%.3f";

impl Row {
    fn fits(&self) -> bool {
        self.country.len() < LONG
    }

    /// The directory in `delivered`, and the line that DuckDB prints.
    fn delivered(&self) -> (String, String) {
        let country = self.country.replace('%', "%25").replace('/', "%2F");
        let directory = format!("c={country}/{}", time(self.at, "%Y-%m-%d/%H-%M"));
        let line = format!("{directory}|{}|{}|{}", self.id, self.amount, time(self.at, TO_MILLIS));
        (directory, line)
    }

    /// The line in `minutes`, behind its directory.
    fn in_minutes(&self) -> String {
        let (minute, at) = (time(self.at, "%Y-%m-%d %H%%3A%M"), time(self.at, TO_MILLIS));
        format!("minute={minute}|{{\"id\":{},\"ts\":\"{at}\",\"country\":\"{}\"}}", self.id, self.country)
    }
}

/// Writes the rows below a directory, and returns a script that delivers them twice.
fn script(directory: &Path, rows: &[Row]) -> String {
    let trades = directory.join("trades");
    fs::create_dir_all(&trades).expect("it can be created");
    let mut files = [const { String::new() }; FILES];
    for Row { id, country, amount, at, sent } in rows {
        let (at, sent) = (time(*at, TO_MILLIS), time(*sent, TO_MILLIS));
        writeln!(files[id % FILES], "{id},{country},{amount},{at},{sent}").expect("a text takes it");
    }
    for (number, text) in files.iter().enumerate() {
        fs::write(trades.join(format!("{number}.csv")), text).expect("it can be written");
    }
    let (trades, delivered, minutes) = (trades.display(), S3::url("out/delivered"), S3::url("out/minutes"));
    let (start, speed) = (time(START_MILLIS, TO_MILLIS), EVENT_SECONDS.div_ceil(REAL_SECONDS));
    format!(
        "SET 'replay.speed' = '{speed}';
SET 'replay.start' = '{start}';
SET 'exchange.window' = '64 KiB';
CREATE TABLE trades (id BIGINT, country STRING, amount BIGINT, ts TIMESTAMP(3), sent TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '{trades}', 'format' = 'csv', 'replay.column' = 'sent');
CREATE TABLE delivered (id BIGINT, amount BIGINT, ts TIMESTAMP(3), country STRING, `at` AS ts)
PARTITIONED BY (country, `at`)
WITH ('connector' = 'filesystem', 'path' = '{delivered}', 'format' = 'parquet',
  'sink.path-template' = 'c={{country}}/{{at:yyyy-MM-dd/HH-mm}}', 'auto-compaction' = 'true',
  'sink.partition-commit.policy.kind' = 'success-file', 'sink.partition-commit.delay' = '2 s',
  'sink.manifest.path' = '_manifests', 'error-prefix' = '_errors');
CREATE TABLE minutes (id BIGINT, ts TIMESTAMP(3), country STRING, `minute` AS DATE_FORMAT(ts, 'yyyy-MM-dd HH:mm'))
PARTITIONED BY (`minute`)
WITH ('connector' = 'filesystem', 'path' = '{minutes}', 'format' = 'json',
  'sink.rolling-policy.on-checkpoint' = 'false', 'sink.rolling-policy.rollover-interval' = '3 s',
  'sink.partition-commit.policy.kind' = 'success-file', 'sink.partition-commit.trigger' = 'partition-time',
  'sink.partition-commit.delay' = '1 min', 'partition.time-extractor.timestamp-pattern' = '$minute:00');
INSERT INTO delivered SELECT id, amount, ts, country FROM trades;
INSERT INTO minutes SELECT id, ts, country FROM trades;"
    )
}

/// Directory and name of an object below a table's path.
fn parted<'a>(table: &str, name: &'a str) -> (&'a str, &'a str) {
    let below = name.strip_prefix(table).and_then(|rest| rest.strip_prefix('/')).expect("it lies below");
    below.rsplit_once('/').unwrap_or(("", below))
}

/// Names of objects by directory below a table's path, those of rows that cannot be written and of manifests too.
fn objects(s3: &S3, table: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for name in s3.names_below(table) {
        let (directory, name) = parted(table, &name);
        found.entry(directory.to_owned()).or_default().insert(name.to_owned());
    }
    found
}

fn is_hidden(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|name| name.starts_with('.'))
}

const SUCCESS: &str = "_SUCCESS";

/// What each complete partition has.
fn complete(s3: &S3, table: &str) -> BTreeMap<String, BTreeSet<String>> {
    objects(s3, table).into_iter().filter(|(_, names)| names.contains(SUCCESS)).collect()
}

/// The manifests name each visible file once, with its length, and merging leaves one file per partition and checkpoint.
fn check_manifests(s3: &S3, table: &str) {
    let mut named: Vec<String> = Vec::new();
    for manifest in s3.names_below(&format!("{table}/_manifests")) {
        let manifest: Value = serde_json::from_slice(&s3.read(&manifest)).expect("JSON");
        let mut directories = BTreeSet::new();
        for entry in manifest["entries"].as_array().expect("entries") {
            let url = entry["url"].as_str().expect("a URL");
            let name = url.strip_prefix(&S3::url("")).expect("it is in the bucket");
            assert_eq!(entry["meta"]["content_length"].as_u64(), Some(s3.read(name).len() as u64), "{name}");
            assert!(directories.insert(parted(table, name).0.to_owned()), "merged: {manifest}");
            named.push(name.to_owned());
        }
    }
    named.sort_unstable();
    let mut visible: Vec<String> =
        s3.names_below(table).into_iter().filter(|name| name.ends_with(".parquet")).collect();
    visible.sort_unstable();
    assert_equal("files in manifests", &named, &visible);
}

/// Rows that cannot be written are lines, once each.
fn check_errors(s3: &S3, table: &str, rows: &[Row]) {
    let mut ids: Vec<u64> = Vec::new();
    for name in s3.names_below(&format!("{table}/_errors")) {
        assert!(parted(table, &name).0 == "_errors/partition", "{name}");
        for line in String::from_utf8(s3.read(&name)).expect("text").lines() {
            let line: Value = serde_json::from_str(line).expect("a line of JSON");
            assert!(line["reason"].as_str().is_some_and(|reason| reason.contains("302 bytes")), "{line}");
            ids.push(line["row"]["id"].as_u64().expect("a number"));
        }
    }
    ids.sort_unstable();
    let expected: Vec<u64> = rows.iter().filter(|row| !row.fits()).map(|row| row.id as u64).collect();
    assert!(expected.len() > 10);
    assert_eq!(ids, expected);
}

/// The rows of all Parquet files, as DuckDB reads them; `None` if it is not installed.
fn read_parquet(s3: &S3, table: &str, into: &Path) -> Option<Vec<String>> {
    let python = std::env::var("THALWEG_DUCKDB").unwrap_or_else(|_| "python3".to_owned());
    let mut import = Command::new(&python);
    import.args(["-c", "import duckdb; duckdb.connect"]).stdin(Stdio::null()).stdout(Stdio::null());
    if !import.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: DuckDB is not installed (THALWEG_DUCKDB)");
        return None;
    }
    for name in s3.names_below(table) {
        let (directory, file) = parted(table, &name);
        fs::create_dir_all(into.join(directory)).expect("it can be created");
        fs::write(into.join(directory).join(file), s3.read(&name)).expect("it can be written");
    }
    let read = Command::new(&python).args(["-c", READ_PARQUET]).arg(into).output().expect("Python runs");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let mut lines: Vec<String> = String::from_utf8_lossy(&read.stdout).lines().map(str::to_owned).collect();
    lines.sort_unstable();
    Some(lines)
}

#[test]
fn each_row_is_delivered_once_and_complete_partitions_stay_as_they_are() {
    let Some(s3) = S3::start() else { return };
    let seed = 11;
    let rows = draw(&mut Random::new(seed));
    let mut cluster = Cluster::start(Shape::LARGE, s3.place(), Some(&S3::url("checkpoints")));
    let sql = script(cluster.directory(), &rows);
    let (delivered, minutes) = ("out/delivered", "out/minutes");
    let job = cluster.submit(&sql, &["--checkpoint-interval", "1 s"]);
    let early = cluster.wait_until("a complete partition", |_| {
        // The server answers one request at a time, and the job has some for it, too.
        std::thread::sleep(Duration::from_secs(1));
        let complete = complete(&s3, minutes);
        (!complete.is_empty()).then_some(complete)
    });
    cluster.tell("a partition is complete");
    endure(&mut cluster, &job, Plan { seed, faults: 3, pause_max: Duration::from_secs(2), freeze: LEASE * 2 });
    cluster.wait_until("the last hidden object to be gone", |_| {
        (!s3.names_below("out").iter().any(|name| is_hidden(name))).then_some(())
    });

    let after = objects(&s3, minutes);
    for (directory, names) in &early {
        assert_eq!(after.get(directory), Some(names), "{directory} was complete");
    }
    for (directory, names) in &after {
        assert!(names.contains(SUCCESS), "{directory}: {names:?}");
    }
    let mut found: Vec<String> = Vec::new();
    for (directory, names) in &after {
        for name in names.iter().filter(|name| *name != SUCCESS) {
            let text = String::from_utf8(s3.read(&format!("{minutes}/{directory}/{name}"))).expect("text");
            found.extend(text.lines().map(|line| format!("{directory}|{line}")));
        }
    }
    found.sort_unstable();
    let mut expected: Vec<String> = rows.iter().map(Row::in_minutes).collect();
    expected.sort_unstable();
    assert_equal("minutes", &found, &expected);

    let partitions: BTreeSet<String> = rows.iter().filter(|row| row.fits()).map(|row| row.delivered().0).collect();
    assert_eq!(complete(&s3, delivered).into_keys().collect::<BTreeSet<String>>(), partitions);
    check_manifests(&s3, delivered);
    check_errors(&s3, delivered, &rows);
    let back = cluster.directory().join("back");
    if let Some(found) = read_parquet(&s3, delivered, &back) {
        let mut expected: Vec<String> = rows.iter().filter(|row| row.fits()).map(|row| row.delivered().1).collect();
        expected.sort_unstable();
        assert_equal("delivered", &found, &expected);
    }
}
