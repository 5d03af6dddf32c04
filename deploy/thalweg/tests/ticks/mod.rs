//! A stream of ticks in Kafka: its rows, a script over them, the batch answer, and what a reader must see at any time.
//!
//! ```text
//! topic ticks --+-- totals by symbol and window --> topic totals
//!               +-- each tick ------------------> topic copies
//!               '-- each tick ------------------> files
//! ```
//!
//! Row n is drawn from the seed and n: who knows how many were written knows them all. The answer comes from a few loops over
//! them, and uses nothing of the engine. Rows are written in the order of their numbers, each to the partition of its symbol. A
//! row's event time is up to `LAG_MILLIS` before that of the writing, so each partition is out of order, but nothing is late.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod feed;
pub(crate) mod seen;

use std::{collections::BTreeMap, path::Path};

use chrono::DateTime;

use crate::chaos::Random;

/// 2026-01-01 00:00:00 in milliseconds.
const START_MILLIS: i64 = 1_767_225_600_000;
pub(crate) const LAG_MILLIS: i64 = 2000;
/// Event time between one row's writing and the next.
const STEP_MILLIS: i64 = 10;
pub(crate) const WINDOW_MILLIS: i64 = 10_000;
const SYMBOLS: u64 = 100;
/// Partitions of each topic.
pub(crate) const PARTITIONS: i32 = 4;
/// The topics.
pub(crate) const TICKS: &str = "ticks";
pub(crate) const TOTALS: &str = "totals";
pub(crate) const COPIES: &str = "copies";

pub(crate) struct Row {
    pub(crate) id: u64,
    pub(crate) symbol: String,
    pub(crate) amount: u64,
    at: i64,
}

impl Row {
    /// Row n of a seed.
    pub(crate) fn draw(seed: u64, id: u64) -> Self {
        let mut random = Random::new(seed ^ id.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let sent = START_MILLIS + i64::try_from(id).expect("they are few") * STEP_MILLIS;
        let lag = i64::try_from(random.below(2001)).expect("it is small");
        assert!(lag <= LAG_MILLIS);
        let symbol = format!("s{}", random.below(SYMBOLS));
        Self { id, symbol, amount: random.below(10_000), at: sent - lag }
    }

    /// As it is written into the topic.
    pub(crate) fn json(&self) -> String {
        let (id, symbol, amount, at) = (self.id, &self.symbol, self.amount, time(self.at));
        format!(r#"{{"id":{id},"symbol":"{symbol}","amount":{amount},"at":"{at}"}}"#)
    }
}

fn time(millis: i64) -> String {
    let time = DateTime::from_timestamp_millis(millis).expect("a time of our days");
    time.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// A script that reads the topic of ticks and writes the two others, and files into a directory.
pub(crate) fn script(servers: &str, directory: &Path) -> String {
    let (files, late) = (directory.join("files"), directory.join("late"));
    let (files, late) = (files.display(), late.display());
    let (lag, window) = (LAG_MILLIS / 1000, WINDOW_MILLIS / 1000);
    let written = |topic: &str| {
        format!(
            "'connector' = 'kafka', 'topic' = '{topic}', 'properties.bootstrap.servers' = '{servers}',
  'key.format' = 'raw', 'key.fields' = 'symbol', 'value.format' = 'json', 'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'ticks-{topic}'"
        )
    };
    let (totals, copies) = (written(TOTALS), written(COPIES));
    format!(
        "SET 'late.path' = '{late}';
SET 'exchange.window' = '64 KiB';
CREATE TABLE ticks (id BIGINT, symbol STRING, amount BIGINT, `at` TIMESTAMP(3),
  WATERMARK FOR `at` AS `at` - INTERVAL '{lag}' SECOND)
WITH ('connector' = 'kafka', 'topic' = '{TICKS}', 'properties.bootstrap.servers' = '{servers}', 'format' = 'json',
  'scan.startup.mode' = 'earliest-offset');
CREATE TABLE totals (symbol STRING, window_start TIMESTAMP(3), ticks BIGINT, amount BIGINT) WITH ({totals});
CREATE TABLE copies (symbol STRING, id BIGINT) WITH ({copies});
CREATE TABLE files (id BIGINT, symbol STRING, amount BIGINT)
WITH ('connector' = 'filesystem', 'path' = '{files}', 'format' = 'csv');
INSERT INTO totals SELECT symbol, window_start, COUNT(*), SUM(amount)
FROM TABLE(TUMBLE(TABLE ticks, DESCRIPTOR(`at`), INTERVAL '{window}' SECOND))
GROUP BY window_start, window_end, symbol;
INSERT INTO copies SELECT symbol, id FROM ticks;
INSERT INTO files SELECT id, symbol, amount FROM ticks;"
    )
}

/// The batch answer over the first rows of a seed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// By symbol: start of the window, rows and sum, in the order of windows.
    pub(crate) totals: BTreeMap<String, Vec<(String, u64, u64)>>,
    /// By symbol: the numbers of rows, in order.
    pub(crate) copies: BTreeMap<String, Vec<u64>>,
}

impl Answer {
    pub(crate) fn of(seed: u64, rows: u64) -> Self {
        let (mut totals, mut answer) = (BTreeMap::<(String, i64), (u64, u64)>::new(), Self::default());
        for row in (0..rows).map(|id| Row::draw(seed, id)) {
            let start = row.at.div_euclid(WINDOW_MILLIS) * WINDOW_MILLIS;
            let total = totals.entry((row.symbol.clone(), start)).or_default();
            *total = (total.0 + 1, total.1 + row.amount);
            answer.copies.entry(row.symbol).or_default().push(row.id);
        }
        for ((symbol, start), (count, sum)) in totals {
            answer.totals.entry(symbol).or_default().push((time(start), count, sum));
        }
        answer
    }

    pub(crate) fn total_lines(&self) -> Vec<String> {
        let of = |(symbol, totals): (&String, &Vec<(String, u64, u64)>)| -> Vec<String> {
            totals.iter().map(|(start, count, sum)| format!("{symbol},{start},{count},{sum}")).collect()
        };
        self.totals.iter().flat_map(of).collect()
    }

    pub(crate) fn copy_lines(&self) -> Vec<String> {
        let of = |(symbol, ids): (&String, &Vec<u64>)| -> Vec<String> {
            ids.iter().map(|id| format!("{symbol},{id}")).collect()
        };
        self.copies.iter().flat_map(of).collect()
    }
}

/// The expected lines of the files, sorted.
pub(crate) fn file_lines(seed: u64, rows: u64) -> Vec<String> {
    let line = |row: Row| format!("{},{},{}", row.id, row.symbol, row.amount);
    let mut lines: Vec<String> = (0..rows).map(|id| line(Row::draw(seed, id))).collect();
    lines.sort_unstable();
    lines
}
