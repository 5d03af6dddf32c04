//! From Kinesis through keyed windows to files, each effect once, while shards are split and merged and nodes and coordinators are
//! killed with SIGKILL and started again. A test writes the stream meanwhile.
//!
//! In the end all files are compared with the batch answer (`ticks/mod.rs`); no record may be late, which one would be that
//! overtakes others of its shard by far. In the test with S3, Parquet files and checkpoints are there, its server is killed too, and
//! Kinesis throttles half of the time; DuckDB reads the files, in the order of their manifests, where each key's rows have to be in
//! the order in which they were put.
//!
//! Rows and events come from one seed. If a test fails, it prints the seed, the events, and where the logs of the processes are.
//!
//! | variable | |
//! |---|---|
//! | `THALWEG_KINESIS=DIR` | an installation of kinesis-local (`deploy/kinesis/kinesis-local`); without it, the test is skipped |
//! | `THALWEG_MINISTACK=FILE`, `THALWEG_DUCKDB=FILE` | ministack's server (`pip install ministack`), and a Python with DuckDB; without them, the test with S3 is skipped |
//! | `THALWEG_KINESIS_CRASHES=N` | a long run: N kills of nodes, N / 4 of coordinators, N / 2 of S3, and 2 N reshardings; prints a report and keeps the logs |
//! | `THALWEG_CRASHES_SEED=N` | this seed instead of a new one |

#![allow(clippy::disallowed_methods, reason = "tests of processes use real surroundings")]

mod chaos;
mod process;
mod s3;
mod streams;
mod ticks;
mod topics;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chaos::{Cluster, Random, Shape, flow::assert_equal};
use process::{Place, lines_below};
use s3::S3;
use serde_json::Value;
use streams::{Caller, Feed, Streams, throttle::Throttle};
use ticks::{Answer, Row, TICKS};

/// Rows are written in groups of so many, this often.
const PACE: (u64, Duration) = (12, Duration::from_millis(40));
/// The fewest open shards, and the most: there are always some to merge.
const SHARDS: (usize, usize) = (2, 6);
/// So long it is throttled, and then as long not.
const THROTTLED_SECONDS: u64 = 2;
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX_MS: u64 = 1800;
/// How long a process may stay down.
const DOWN_MAX_MS: u64 = 2000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("the variable is a number"))
}

fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos();
    number("THALWEG_CRASHES_SEED").unwrap_or_else(|| u64::try_from(now() % 1_000_000).expect("it is small"))
}

/// What happens to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Reshard,
    KillNode,
    KillCoordinator,
    KillStore,
}

/// So many of each, in an order that the dice give.
fn draw_events(random: &mut Random, counts: &[(Event, u64)]) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for (event, count) in counts {
        for _ in 0..*count {
            let at = random.below(u64::try_from(events.len()).expect("they are few") + 1);
            events.insert(usize::try_from(at).expect("it is small"), *event);
        }
    }
    events
}

/// A script that reads the stream at this endpoint and writes two tables, each with options.
fn script(endpoint: &str, late: &Path, [totals, files]: [&str; 2]) -> String {
    let late = late.display();
    let from = streams::table(
        endpoint,
        TICKS,
        "'format' = 'json', 'source.init.position' = 'TRIM_HORIZON', 'source.shard.discovery.interval' = '1 s'",
    );
    format!(
        "SET 'late.path' = '{late}';
SET 'exchange.window' = '64 KiB';
CREATE TABLE ticks (id BIGINT, symbol STRING, amount BIGINT, `at` TIMESTAMP(3),
  WATERMARK FOR `at` AS `at` - INTERVAL '{}' SECOND) WITH ({from});
CREATE TABLE totals (symbol STRING, window_start TIMESTAMP(3), ticks BIGINT, amount BIGINT)
WITH ('connector' = 'filesystem', {totals});
CREATE TABLE files (id BIGINT, symbol STRING, amount BIGINT)
WITH ('connector' = 'filesystem', {files});
INSERT INTO totals SELECT symbol, window_start, COUNT(*), SUM(amount)
FROM TABLE(TUMBLE(TABLE ticks, DESCRIPTOR(`at`), INTERVAL '{}' SECOND))
GROUP BY window_start, window_end, symbol;
INSERT INTO files SELECT id, symbol, amount FROM ticks;",
        ticks::LAG_MILLIS / 1000,
        ticks::WINDOW_MILLIS / 1000
    )
}

/// A run while events happen to it.
struct World<'a> {
    cluster: Cluster,
    caller: &'a Caller,
    job: String,
    random: Random,
    /// Processes that are down, and until when.
    down: Vec<(usize, Duration)>,
    /// What is between the job and the stream.
    throttle: Option<Throttle>,
    store: Option<Store>,
}

/// The server of objects.
struct Store {
    s3: S3,
    /// It is down until then.
    down_until: Option<Duration>,
}

impl World<'_> {
    /// Lets all events happen, and waits until all processes are up again.
    fn endure(&mut self, events: Vec<Event>) {
        let mut next = self.cluster.now() + PAUSE_MIN;
        let mut events = events.into_iter().peekable();
        while events.peek().is_some() || self.is_something_down() {
            self.cluster.mind();
            self.revive();
            if let Some(throttle) = &self.throttle {
                throttle.set(self.cluster.now().as_secs() % (2 * THROTTLED_SECONDS) < THROTTLED_SECONDS);
            }
            assert_running(self.cluster.show(&self.job).as_ref());
            if self.cluster.now() >= next
                && let Some(event) = events.next_if(|event| self.can_happen(*event))
            {
                self.happen(event);
                next = self.cluster.now() + PAUSE_MIN + Duration::from_millis(self.random.below(PAUSE_MAX_MS));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_something_down(&self) -> bool {
        !self.down.is_empty() || self.store.as_ref().is_some_and(|store| store.down_until.is_some())
    }

    fn revive(&mut self) {
        let now = self.cluster.now();
        if let Some(store) = &mut self.store
            && store.down_until.take_if(|until| *until <= now).is_some()
        {
            store.s3.revive();
            self.cluster.tell("S3 is started");
        }
        let (due, down): (Vec<_>, Vec<_>) = self.down.iter().copied().partition(|(_, until)| *until <= now);
        self.down = down;
        due.into_iter().for_each(|(member, _)| self.cluster.revive(member));
    }

    fn can_happen(&self, event: Event) -> bool {
        let nodes = self.cluster.nodes();
        match event {
            Event::Reshard => true,
            Event::KillNode => nodes.clone().any(|node| self.cluster.is_up(node)),
            // A majority remains.
            Event::KillCoordinator => self.down.iter().all(|(member, _)| nodes.contains(member)),
            Event::KillStore => self.store.as_ref().is_some_and(|store| store.down_until.is_none()),
        }
    }

    fn happen(&mut self, event: Event) {
        let nodes = self.cluster.nodes();
        match event {
            Event::Reshard => self.reshard(),
            Event::KillNode => self.kill_one_of(nodes),
            Event::KillCoordinator => self.kill_one_of(0..nodes.start),
            Event::KillStore => self.kill_store(),
        }
    }

    fn kill_store(&mut self) {
        let down = Duration::from_millis(self.random.below(DOWN_MAX_MS));
        let Some(store) = &mut self.store else { return };
        store.s3.kill();
        store.down_until = Some(self.cluster.now() + down);
        self.cluster.tell("S3 is killed");
    }

    fn kill_one_of(&mut self, members: std::ops::Range<usize>) {
        let up: Vec<usize> = members.filter(|member| self.cluster.is_up(*member)).collect();
        let member = up[self.index_below(up.len())];
        self.cluster.kill(member);
        let until = self.cluster.now() + Duration::from_millis(self.random.below(DOWN_MAX_MS));
        self.down.push((member, until));
    }

    fn reshard(&mut self) {
        let open = self.caller.open_shards(TICKS).len();
        let is_split = match open {
            open if open <= SHARDS.0 => true,
            open if open >= SHARDS.1 => false,
            _ => self.random.below(2) == 0,
        };
        let nth = self.index_below(open);
        if is_split {
            self.caller.split(TICKS, nth);
        } else {
            self.caller.merge(TICKS, nth);
        }
        let now_open: Vec<String> = self.caller.open_shards(TICKS).into_iter().map(|(shard, ..)| shard).collect();
        let what = if is_split { "split" } else { "merged" };
        self.cluster.tell(&format!("shards are {what}: open are {}", now_open.join(", ")));
    }

    fn index_below(&mut self, count: usize) -> usize {
        usize::try_from(self.random.below(u64::try_from(count).expect("it is small"))).expect("it is small")
    }
}

#[track_caller]
fn assert_running(shown: Option<&Value>) {
    let status = shown.map(|job| job["status"].as_str().expect("a word"));
    let is_over = status.is_some_and(|status| ["failed", "cancelled", "finished", "stopped"].contains(&status));
    assert!(!is_over, "{shown:?}");
}

/// The lines of all visible files, if there is a directory already.
fn lines_if_there(directory: &Path) -> Vec<String> {
    if directory.exists() { lines_below(directory) } else { Vec::new() }
}

/// A cluster with a job that reads a stream which is being written.
struct Scene {
    seed: u64,
    is_long: bool,
    cluster: Cluster,
    caller: Caller,
    feed: Feed,
    job: String,
}

impl Scene {
    /// A stream of two shards, its writer, and the job of a script over the stream at this endpoint.
    fn begin(streams: &Streams, place: Place, checkpoints: Option<&str>, script: impl FnOnce(&Path) -> String) -> Self {
        let (seed, is_long) = (seed(), number("THALWEG_KINESIS_CRASHES").is_some());
        let caller = streams.caller();
        caller.create(TICKS, 2);
        let mut cluster = Cluster::start(Shape::LARGE, place, checkpoints);
        cluster.is_shown = is_long;
        cluster.tell(&format!("THALWEG_CRASHES_SEED={seed}"));
        let feed = Feed::start(streams.caller(), TICKS, PACE, move |id| {
            let row = Row::draw(seed, id);
            let json = row.json();
            (row.symbol, json)
        });
        let sql = script(cluster.directory());
        let job = cluster.submit(&sql, &[]);
        cluster.wait_for_checkpoint(&job, 0);
        Self { seed, is_long, cluster, caller, feed, job }
    }

    /// Lets so many of each event happen; then no more rows are written.
    fn endure(self, counts: &[(Event, u64)], throttle: Option<Throttle>, s3: Option<S3>) -> Endured {
        let Self { seed, is_long, cluster, caller, feed, job } = self;
        let events = draw_events(&mut Random::new(seed), counts);
        let store = s3.map(|s3| Store { s3, down_until: None });
        let random = Random::new(seed ^ 1);
        let mut world = World { cluster, caller: &caller, job, random, down: Vec::new(), throttle, store };
        world.endure(events.clone());
        let World { mut cluster, job, throttle, store, .. } = world;
        if let Some(throttle) = &throttle {
            throttle.set(false);
            cluster.tell(&format!("{} requests were throttled", throttle.refused()));
            assert!(throttle.refused() > 0, "it was throttled");
        }
        let rows = feed.finish();
        cluster.tell(&format!("{rows} rows are written"));
        Endured { seed, is_long, rows, events, cluster, job, s3: store.map(|store| store.s3) }
    }
}

/// A run after its events.
struct Endured {
    seed: u64,
    is_long: bool,
    rows: u64,
    events: Vec<Event>,
    cluster: Cluster,
    job: String,
    s3: Option<S3>,
}

impl Endured {
    /// Waits until a look finds all rows, and stops the job.
    fn stop(&mut self, are_all_there: impl Fn(usize) -> bool) -> Value {
        let wanted = usize::try_from(self.rows).expect("they are few");
        let job = self.job.clone();
        self.cluster.wait_until("all rows", |cluster| {
            assert_running(cluster.show(&job).as_ref());
            are_all_there(wanted).then_some(())
        });
        assert!(self.cluster.ask(&["job", "stop", &job]).is_some(), "the job can be stopped");
        let ended = self.cluster.wait_for_end(&job, "stopped", self.events.len());
        assert!(ended["attempt"].as_u64() > Some(1), "nodes were killed: {ended}");
        ended
    }

    fn total_lines(&self) -> Vec<String> {
        let mut expected = Answer::of(self.seed, self.rows).total_lines();
        expected.sort_unstable();
        expected
    }

    /// No record was late; a long run is reported.
    fn close(self, ended: &Value) {
        let late = self.cluster.directory().join("late");
        assert_eq!(lines_if_there(&late), Vec::<String>::new(), "no record is late");
        if self.is_long {
            let mut made = BTreeMap::<Event, usize>::new();
            self.events.into_iter().for_each(|event| *made.entry(event).or_default() += 1);
            let (rows, attempts) = (self.rows, &ended["attempt"]);
            let (own_ends, took) = (self.cluster.own_ends, self.cluster.now());
            println!(
                "{rows} rows, {made:?}, {attempts} attempts, {own_ends} ends of processes by themselves, in {took:.0?}"
            );
        }
    }
}

#[test]
fn files_have_each_effect_once_through_reshardings_and_crashes() {
    let Some(streams) = Streams::start() else { return };
    let kills = number("THALWEG_KINESIS_CRASHES");
    let [reshards, nodes, coordinators] = kills.map_or([6, 3, 1], |kills| [2 * kills, kills, kills / 4]);
    let scene = Scene::begin(&streams, Place::default(), None, |directory| {
        let table = |name: &str| format!("'path' = '{}', 'format' = 'csv'", directory.join(name).display());
        script(&streams.endpoint(), &directory.join("late"), [&table("totals"), &table("files")])
    });
    let counts = [(Event::Reshard, reshards), (Event::KillNode, nodes), (Event::KillCoordinator, coordinators)];
    let mut endured = scene.endure(&counts, None, None);
    let [files, totals] = ["files", "totals"].map(|name| endured.cluster.directory().join(name));
    let ended = endured.stop(|wanted| lines_if_there(&files).len() >= wanted);
    let expected = endured.total_lines();
    endured
        .cluster
        .wait_until("totals of all windows", |_| (lines_if_there(&totals).len() >= expected.len()).then_some(()));
    assert_equal("totals", &lines_below(&totals), &expected);
    assert_equal("files", &lines_below(&files), &ticks::file_lines(endured.seed, endured.rows));
    endured.close(&ended);
}

/// Prints the rows of the Parquet files in a directory, file by file in the order of the manifests that name them.
const READ_IN_ORDER: &str = r#"
import duckdb, glob, json, os, sys
root, what = sys.argv[1:]

def checkpoint(manifest):
    number = manifest.rsplit("-", 1)[1].split(".")[0]
    return float("inf") if number == "end" else int(number)

listed = []
for manifest in sorted(glob.glob(root + "/_manifests/*"), key=checkpoint):
    with open(manifest) as file:
        listed += sorted(os.path.basename(entry["url"]) for entry in json.load(file)["entries"])
there = sorted(os.path.basename(name) for name in glob.glob(root + "/*.parquet"))
assert sorted(listed) == there, f"manifests list {sorted(listed)}, and there are {there}"
read = f"SELECT {what} FROM read_parquet(?, file_row_number = true) ORDER BY file_row_number"
for name in listed:
    for row in duckdb.execute(read, [os.path.join(root, name)]).fetchall():
        print(*row, sep=",")
"#;
/// Prints how many rows the Parquet files in a directory have.
const COUNT: &str = r#"
import duckdb, glob, sys
files = glob.glob(sys.argv[1] + "/*.parquet")
print(duckdb.execute("SELECT count(*) FROM read_parquet(?)", [files]).fetchone()[0] if files else 0)
"#;

fn python_with_duckdb() -> Option<String> {
    let python = std::env::var("THALWEG_DUCKDB").ok();
    if python.is_none() {
        eprintln!("skipped: DuckDB is not installed (THALWEG_DUCKDB)");
    }
    python
}

/// Fetches those visible files of a table that are not in the directory yet. Gives where they are.
fn fetch(s3: &S3, table: &str, into: &Path) -> PathBuf {
    for name in s3.names_below(table).into_iter().filter(|name| !is_hidden(name)) {
        let path = into.join(&name);
        if !path.exists() {
            fs::create_dir_all(path.parent().expect("it has one")).expect("it can be created");
            fs::write(path, s3.read(&name)).expect("it can be written");
        }
    }
    into.join(table)
}

fn is_hidden(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|name| name.starts_with('.'))
}

/// The lines that a script of Python prints.
fn lines_of(python: &str, script: &str, directory: &Path, more: &[&str]) -> Vec<String> {
    let outcome = Command::new(python).args(["-c", script]).arg(directory).args(more).stdin(Stdio::null()).output();
    let outcome = outcome.expect("Python runs");
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
    String::from_utf8_lossy(&outcome.stdout).lines().map(str::to_owned).collect()
}

/// The numbers of each symbol's rows grow: they were put in this order.
fn assert_in_order(lines: &[String]) {
    let mut newest = BTreeMap::<&str, u64>::new();
    for line in lines {
        let (id, symbol) = line.split_once(',').expect("a number and a symbol");
        let id = id.parse().expect("a number");
        let former = newest.insert(symbol.split(',').next().expect("a symbol"), id);
        assert!(former.is_none_or(|former| former < id), "{line} comes behind {former:?}");
    }
}

#[test]
fn parquet_in_s3_equals_batch_through_reshardings_throttling_and_crashes() {
    let Some(streams) = Streams::start() else { return };
    let Some(python) = python_with_duckdb() else { return };
    let objects = tempfile::tempdir().expect("a directory");
    let Some(s3) = S3::start_lasting(objects.path()) else { return };
    let throttle = Throttle::before(&streams.endpoint());
    let kills = number("THALWEG_KINESIS_CRASHES");
    let [reshards, nodes, coordinators, stores] =
        kills.map_or([4, 2, 1, 2], |kills| [2 * kills, kills, kills / 4, kills / 2]);
    let scene = Scene::begin(&streams, s3.place(), Some(&S3::url("checkpoints")), |directory| {
        let table = |name: &str| {
            let path = S3::url(&format!("out/{name}"));
            format!("'path' = '{path}', 'format' = 'parquet', 'sink.manifest.path' = '_manifests'")
        };
        let totals = format!("{}, 'auto-compaction' = 'true'", table("totals"));
        script(throttle.endpoint(), &directory.join("late"), [&totals, &table("files")])
    });
    let counts = [
        (Event::Reshard, reshards),
        (Event::KillNode, nodes),
        (Event::KillCoordinator, coordinators),
        (Event::KillStore, stores),
    ];
    let mut endured = scene.endure(&counts, Some(throttle), Some(s3));
    let s3 = endured.s3.take().expect("it is given back");
    s3.wait_until_up();
    let back = endured.cluster.directory().join("back");
    let ended = endured.stop(|wanted| {
        let count = lines_of(&python, COUNT, &fetch(&s3, "out/files", &back), &[]);
        count[0].parse::<usize>().expect("a number") >= wanted
    });
    endured.cluster.wait_until("the last hidden object to be gone", |_| {
        (!s3.names_below("out").iter().any(|name| is_hidden(name))).then_some(())
    });
    let read = |table: &str, what: &str| lines_of(&python, READ_IN_ORDER, &fetch(&s3, table, &back), &[what]);
    let mut files = read("out/files", "id, symbol, amount");
    assert_in_order(&files);
    files.sort_unstable();
    assert_equal("files", &files, &ticks::file_lines(endured.seed, endured.rows));
    let mut totals = read("out/totals", "symbol, strftime(window_start, '%Y-%m-%d %H:%M:%S.%g'), ticks, amount");
    totals.sort_unstable();
    assert_equal("totals", &totals, &endured.total_lines());
    endured.close(&ended);
}
