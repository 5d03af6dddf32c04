//! A flow of trades and quotes: its rows, a script over them, and the batch answer.
//!
//! The answer comes from a few loops over all rows, formatted like the output files, and uses nothing of the engine.
//! Rows are sent in the order of their numbers. A row's event time is up to `LAG_MILLIS` before it is sent, so the
//! stream is out of order, but nothing is late.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use chrono::DateTime;

use crate::chaos::Random;

/// 2026-01-01 00:00:00 in milliseconds.
const START_MILLIS: i64 = 1_767_225_600_000;
const LAG_MILLIS: i64 = 2000;
const TOTAL_WINDOW_MILLIS: i64 = 10_000;
const MATCH_WINDOW_MILLIS: i64 = 5000;
/// Rows per second of event time.
const TRADES_PER_SECOND: usize = 100;
const QUOTES_PER_SECOND: usize = 60;
const SYMBOLS: u64 = 1000;
/// The files of each table. A file is a split, and each subtask of a source gets some.
const FILES: usize = 4;

struct Row {
    id: usize,
    symbol: u64,
    number: u64,
    at: i64,
    sent: i64,
}

/// The rows of both tables.
pub(crate) struct Flow {
    trades: Vec<Row>,
    quotes: Vec<Row>,
    seconds: usize,
}

fn rows(seconds: usize, per_second: usize, random: &mut Random) -> Vec<Row> {
    let row = |id: usize| {
        let sent = START_MILLIS + i64::try_from(id * 1000 / per_second).expect("rows are few");
        let lag = i64::try_from(random.below(2001)).expect("it is small");
        assert!(lag <= LAG_MILLIS);
        Row { id, symbol: random.below(SYMBOLS), number: random.below(10_000), at: sent - lag, sent }
    };
    (0..seconds * per_second).map(row).collect()
}

fn time(millis: i64) -> String {
    let time = DateTime::from_timestamp_millis(millis).expect("a time of our days");
    time.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

fn window(at: i64, length: i64) -> i64 {
    at.div_euclid(length) * length
}

impl Flow {
    /// Draws rows for this many seconds of event time, about 160 per second.
    pub(crate) fn draw(seconds: usize, random: &mut Random) -> Self {
        let trades = rows(seconds, TRADES_PER_SECOND, random);
        let quotes = rows(seconds, QUOTES_PER_SECOND, random);
        Self { trades, quotes, seconds }
    }

    pub(crate) fn rows(&self) -> usize {
        self.trades.len() + self.quotes.len()
    }

    /// Writes both tables below a directory. Returns their paths.
    fn write(&self, directory: &Path) -> (PathBuf, PathBuf) {
        let trades = directory.join("trades");
        write_files(&trades, &self.trades, "csv", |row| {
            format!("{},{},{},{},{}\n", row.id, row.symbol, row.number, time(row.at), time(row.sent))
        });
        let quotes = directory.join("quotes");
        write_files(&quotes, &self.quotes, "json", |row| {
            let (id, symbol, price) = (row.id, row.symbol, row.number);
            let (at, sent) = (time(row.at), time(row.sent));
            format!(r#"{{"id":{id},"symbol":{symbol},"price":{price},"at":"{at}","sent":"{sent}"}}"#) + "\n"
        });
        (trades, quotes)
    }

    /// Writes the tables, and returns a script that reads them in about `real_seconds` and writes below a URL.
    /// Exchange windows are small, so that even a slow machine takes many checkpoints for faults to fall between.
    pub(crate) fn script(&self, directory: &Path, out: &str, real_seconds: usize) -> String {
        let (trades, quotes) = self.write(directory);
        let (trades, quotes, late) = (trades.display(), quotes.display(), directory.join("late"));
        let (late, start) = (late.display(), time(START_MILLIS));
        let speed = self.seconds.div_ceil(real_seconds);
        let lag = LAG_MILLIS / 1000;
        let (total, length) = (TOTAL_WINDOW_MILLIS / 1000, MATCH_WINDOW_MILLIS / 1000);
        format!(
            "SET 'replay.speed' = '{speed}';
SET 'replay.start' = '{start}';
SET 'late.path' = '{late}';
SET 'exchange.window' = '64 KiB';
CREATE TABLE trades (id BIGINT, symbol BIGINT, amount BIGINT, `at` TIMESTAMP(3), sent TIMESTAMP(3),
  WATERMARK FOR `at` AS `at` - INTERVAL '{lag}' SECOND)
WITH ('connector' = 'filesystem', 'path' = '{trades}', 'format' = 'csv', 'replay.column' = 'sent');
CREATE TABLE quotes (id BIGINT, symbol BIGINT, price BIGINT, `at` TIMESTAMP(3), sent TIMESTAMP(3),
  WATERMARK FOR `at` AS `at` - INTERVAL '{lag}' SECOND)
WITH ('connector' = 'filesystem', 'path' = '{quotes}', 'format' = 'json', 'replay.column' = 'sent');
CREATE TABLE totals (window_start TIMESTAMP(3), symbol BIGINT, trades BIGINT, amount BIGINT)
WITH ('connector' = 'filesystem', 'path' = '{out}/totals', 'format' = 'csv');
CREATE TABLE matches (window_start TIMESTAMP(3), symbol BIGINT, trade BIGINT, quote BIGINT)
WITH ('connector' = 'filesystem', 'path' = '{out}/matches', 'format' = 'json');
INSERT INTO totals SELECT window_start, symbol, COUNT(*), SUM(amount)
FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(`at`), INTERVAL '{total}' SECOND))
GROUP BY window_start, window_end, symbol;
INSERT INTO matches SELECT t.window_start, t.symbol, t.id, q.id
FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(`at`), INTERVAL '{length}' SECOND)) AS t
JOIN TABLE(TUMBLE(TABLE quotes, DESCRIPTOR(`at`), INTERVAL '{length}' SECOND)) AS q
ON t.window_start = q.window_start AND t.window_end = q.window_end AND t.symbol = q.symbol;"
        )
    }

    /// The expected lines of `totals`, sorted.
    pub(crate) fn totals(&self) -> Vec<String> {
        let mut totals: BTreeMap<(i64, u64), (u64, u64)> = BTreeMap::new();
        for row in &self.trades {
            let total = totals.entry((window(row.at, TOTAL_WINDOW_MILLIS), row.symbol)).or_default();
            *total = (total.0 + 1, total.1 + row.number);
        }
        let line = |((start, symbol), (count, sum))| format!("{},{symbol},{count},{sum}", time(start));
        sorted(totals.into_iter().map(line))
    }

    /// The expected lines of `matches`, sorted.
    pub(crate) fn matches(&self) -> Vec<String> {
        let key = |row: &Row| (window(row.at, MATCH_WINDOW_MILLIS), row.symbol);
        let mut quotes: BTreeMap<(i64, u64), Vec<usize>> = BTreeMap::new();
        for row in &self.quotes {
            quotes.entry(key(row)).or_default().push(row.id);
        }
        let lines = self.trades.iter().flat_map(|row| {
            let (start, symbol) = key(row);
            let (quotes, start, trade) = (quotes.get(&key(row)), time(start), row.id);
            quotes.into_iter().flatten().map(move |quote| {
                format!(r#"{{"window_start":"{start}","symbol":{symbol},"trade":{trade},"quote":{quote}}}"#)
            })
        });
        sorted(lines)
    }
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort_unstable();
    lines
}

/// Deals the rows to the files of a table.
fn write_files(directory: &Path, rows: &[Row], extension: &str, line: impl Fn(&Row) -> String) {
    fs::create_dir_all(directory).expect("it can be created");
    let mut files = [const { String::new() }; FILES];
    for row in rows {
        files[row.id % FILES].write_str(&line(row)).expect("a text takes it");
    }
    for (number, text) in files.iter().enumerate() {
        fs::write(directory.join(format!("{number}.{extension}")), text).expect("it can be written");
    }
}

/// Asserts that lines are as expected, and names missing and surplus ones.
#[track_caller]
pub(crate) fn assert_equal(what: &str, found: &[String], expected: &[String]) {
    if found == expected {
        return;
    }
    let counted = |lines: &[String]| {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        lines.iter().for_each(|line| *counts.entry(line.clone()).or_default() += 1);
        counts
    };
    let (found_counts, expected_counts) = (counted(found), counted(expected));
    let beyond = |these: &BTreeMap<String, i64>, those: &BTreeMap<String, i64>| -> (usize, Vec<String>) {
        let more = these.iter().filter(|(line, count)| those.get(*line).is_none_or(|other| other < *count));
        let more: Vec<String> = more.map(|(line, _)| line.clone()).collect();
        (more.len(), more.into_iter().take(5).collect())
    };
    panic!(
        "{what}: {} lines instead of {}; missing: {:?}; too many: {:?}",
        found.len(),
        expected.len(),
        beyond(&expected_counts, &found_counts),
        beyond(&found_counts, &expected_counts)
    );
}
