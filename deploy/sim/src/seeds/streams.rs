//! A stream of Kinesis as the input of a seeded run. It is written while the job runs, as the rows' times go, and its shards are split
//! and merged meanwhile. Rows of a key are written in their order.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::Value;
use thalweg_kinesis::{NewRecord, model::ENDPOINT};

use super::{
    data::{Files, SPAN_MS},
    outputs::OUTPUT,
};
use crate::{
    input::Dice,
    simulation::{Call, Cast, Fault, Host, StreamFeed, StreamStep},
};

const STREAM: &str = "events";
/// The rows that are written together.
const CHUNK_ROWS: usize = 20;

/// A stream that a job reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInput {
    shards: u32,
    /// How often its shards are split or merged.
    reshardings: u64,
    /// Whether it is read by subscriptions.
    is_pushed: bool,
    /// The percentage of the rows that are there before the job starts.
    before: u64,
}

impl StreamInput {
    pub(super) fn draw(seed: u64) -> Self {
        let dice = &mut Dice::new(seed ^ 0x57e4_0000);
        Self {
            shards: 1 + u32::try_from(dice.below(4)).expect("below four"),
            reshardings: dice.below(7),
            is_pushed: dice.percent(40),
            before: dice.pick(&[0, 20, 60]),
        }
    }

    /// The options of the table.
    pub(super) fn options(&self, dead_letters: &str) -> String {
        let reader = match self.is_pushed {
            true => "'source.reader.type' = 'EFO', 'source.efo.consumer.name' = 'reader'",
            false => "'source.reader.empty-records-fetch-interval' = '200 ms'",
        };
        format!(
            "'connector' = 'kinesis', 'stream' = '{STREAM}', 'aws.endpoint' = '{ENDPOINT}', 'format' = 'json', \
             'source.init.position' = 'TRIM_HORIZON', 'source.shard.discovery.interval' = '1 s', {reader}{dead_letters}"
        )
    }

    /// What is written to the stream, and how its shards change.
    pub(super) fn feed(&self, seed: u64, files: &Files) -> StreamFeed {
        let dice = &mut Dice::new(seed ^ 0x57e4_feed);
        let lines: Vec<&str> = files.all_events.lines().collect();
        let chunks: Vec<&[&str]> = lines.chunks(CHUNK_ROWS).collect();
        let count = chunks.len() as u64;
        let before = count * self.before / 100;
        let span = u64::try_from(SPAN_MS).expect("positive") * (100 - self.before) / 100;
        let changed: Vec<u64> = (0..self.reshardings).map(|_| dice.below(count)).collect();
        let mut feed = StreamFeed {
            streams: vec![(STREAM.to_owned(), self.shards)],
            written: STREAM.to_owned(),
            ..StreamFeed::default()
        };
        for (at, chunk) in (0..).zip(chunks) {
            let mut steps = vec![StreamStep::Put(chunk.iter().map(|line| record(line)).collect())];
            steps.extend(changed.iter().filter(|changed| **changed == at).map(|_| resharding(STREAM, dice)));
            match at < before {
                true => feed.before.extend(steps),
                false => {
                    let after = Duration::from_millis(span * (at - before) / (count - before));
                    feed.during.extend(steps.into_iter().map(|step| (after, step)));
                }
            }
        }
        feed
    }

    /// A crash of a node, for some runs, when one of the first checkpoints after a merge is complete. Such a checkpoint has the ends of
    /// the parents, which several subtasks have read, and not yet what follows them.
    pub(super) fn crash_after_merge(&self, seed: u64, files: &Files, cast: Cast) -> Option<(Duration, Fault)> {
        let dice = &mut Dice::new(seed ^ 0x57e4_00ed);
        if !dice.percent(50) {
            return None;
        }
        let during = self.feed(seed, files).during;
        let merges: Vec<Duration> =
            during.into_iter().filter(|(_, step)| matches!(step, StreamStep::Merge(..))).map(|(at, _)| at).collect();
        let at = (!merges.is_empty()).then(|| dice.pick(&merges))?;
        let node = 1 + u32::try_from(dice.below(u64::from(cast.nodes))).expect("nodes are few");
        let (nth, down) = (1 + dice.below(3), Duration::from_millis(50 + dice.below(2000)));
        Some((at, Fault::AtCall { call: Call::Manifest, nth, is_refused: false, hosts: vec![Host::Node(node)], down }))
    }

    /// The key of each row, and its place among all, by the row's id.
    pub(super) fn places(files: &Files) -> BTreeMap<i64, (i32, usize)> {
        let place = |(place, line): (usize, &str)| {
            let row: Value = serde_json::from_str(line).ok()?;
            Some((row["id"].as_i64()?, (i32::try_from(row["k"].as_i64()?).ok()?, place)))
        };
        files.events.lines().enumerate().filter_map(place).collect()
    }
}

/// Splits and merges of the stream of a sink, in time after the submission.
pub(super) fn reshardings_of_output(seed: u64) -> Vec<(Duration, StreamStep)> {
    let dice = &mut Dice::new(seed ^ 0x57e4_0a70);
    let span = u64::try_from(SPAN_MS).expect("positive");
    let mut after: Vec<u64> = (0..dice.below(4)).map(|_| dice.below(span)).collect();
    after.sort_unstable();
    after.into_iter().map(|after| (Duration::from_millis(after), resharding(OUTPUT, dice))).collect()
}

fn resharding(stream: &str, dice: &mut Dice) -> StreamStep {
    let nth = dice.below(1000);
    if dice.percent(60) { StreamStep::Split(stream.to_owned(), nth) } else { StreamStep::Merge(stream.to_owned(), nth) }
}

fn record(line: &str) -> NewRecord {
    let key = serde_json::from_str::<Value>(line).ok().and_then(|row| row["k"].as_i64()).unwrap_or_default();
    NewRecord { partition_key: key.to_string(), explicit_hash_key: None, data: line.to_owned().into() }
}

impl fmt::Display for StreamInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.is_pushed { "subscribed to" } else { "polled" };
        write!(
            f,
            "a stream of {} shards, {how}, {} times split or merged, {} % of the rows before the job",
            self.shards, self.reshardings, self.before
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::data::{Dataset, files_of},
        *,
    };

    #[test]
    fn every_row_is_written_once() {
        let files = files_of(Dataset { variant: 0, has_late: false, has_malformed: true });
        for seed in 0..50 {
            let feed = StreamInput::draw(seed).feed(seed, &files);
            let steps = feed.before.iter().chain(feed.during.iter().map(|(_, step)| step));
            let rows: usize = steps
                .map(|step| match step {
                    StreamStep::Put(records) => records.len(),
                    StreamStep::Split(..) | StreamStep::Merge(..) => 0,
                })
                .sum();
            assert_eq!(rows, files.all_events.lines().count(), "seed {seed}");
            assert!(feed.during.is_sorted_by_key(|(after, _)| *after));
        }
    }
}
