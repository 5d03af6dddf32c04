//! Topics of Kafka as the input of a seeded run.
//!
//! A topic with an end is written before the job starts, and read at a pace. One without is written while the job runs: as the
//! rows' times go, by plain records and by transactions, of which some are aborted. It may get more partitions meanwhile.
//! Partitions are written in the order of the rows, so that none is late.

use std::{collections::BTreeMap, fmt, time::Duration};

use bytes::Bytes;
use serde_json::Value;
use thalweg_kafka::{NewRecord, NewTopic, model::ADDRESS, partition_of_key};

use super::{
    data::{EVENTS, Files, SPAN_MS},
    jobs::JobKind,
};
use crate::{
    input::Dice,
    simulation::{Feed, Pace, Step},
};

/// The topics, which are called as the tables.
const TOPICS: &[&str] = &["events", "others"];
/// The rows that are written together.
const CHUNK_ROWS: usize = 30;
/// The interval at which topics are looked for.
const LOOKS: &str = "200 ms";
/// Ids of records that nobody may read begin here.
const ABORTED_IDS: u64 = 1_000_000;
/// The group that is told the positions.
const GROUP: &str = "readers";

/// Topics that a job reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInput {
    /// Whether they have an end.
    pub is_bounded: bool,
    /// Whether records go as soon as a checkpoint is behind them.
    pub is_forgetful: bool,
    /// The partitions of each.
    partitions: u32,
    /// The partitions of `events` later.
    grows_to: Option<u32>,
    /// The percentage of the rows that are there before the job starts.
    before: u64,
    key: Key,
    startup: Startup,
    has_group: bool,
    has_transactions: bool,
    /// Records that a reader gets at once.
    fetched: u32,
}

/// What the keys of records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    None,
    /// The row's key, which is in the value too.
    Beside,
    /// The row's key, which is not in the value.
    Only,
}

/// How the beginning is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Startup {
    Earliest,
    Group,
    Timestamp,
    Offsets,
}

impl TopicInput {
    pub(super) fn draw(seed: u64, job: JobKind) -> Self {
        let dice = &mut Dice::new(seed ^ 0x1077_0000);
        let is_bounded = dice.percent(35);
        let partitions = 1 + u32::try_from(dice.below(4)).expect("below four");
        // Records of a new partition may be late, if windows close before it is found.
        let may_grow = !is_bounded && (job.is_windowless() || job == JobKind::LongTumble);
        let more = 1 + u32::try_from(dice.below(3)).expect("below three");
        let grows_to = (dice.percent(70) && may_grow).then_some(partitions + more);
        let key = dice.pick(&[Key::None, Key::Beside, Key::Only]);
        let startup =
            dice.pick(&[Startup::Earliest, Startup::Earliest, Startup::Group, Startup::Timestamp, Startup::Offsets]);
        Self {
            is_bounded,
            is_forgetful: dice.percent(40),
            partitions,
            grows_to,
            before: if is_bounded { 100 } else { dice.pick(&[0, 20, 60]) },
            key,
            startup,
            has_group: startup == Startup::Group || dice.percent(60),
            has_transactions: dice.percent(60),
            fetched: 5 + u32::try_from(dice.below(40)).expect("below forty"),
        }
    }

    /// The options of a table.
    pub(super) fn options(&self, name: &str, dead_letters: &str, has_companion: bool) -> String {
        // Of two jobs, each is to begin at the beginning, whatever the other has told the group.
        let startup = match (self.startup, has_companion) {
            (Startup::Earliest, _) | (Startup::Group, true) => "'scan.startup.mode' = 'earliest-offset'",
            (Startup::Group, false) => {
                "'scan.startup.mode' = 'group-offsets', 'properties.auto.offset.reset' = 'earliest'"
            }
            (Startup::Timestamp, _) => "'scan.startup.mode' = 'timestamp', 'scan.startup.timestamp-millis' = '1'",
            (Startup::Offsets, _) => {
                "'scan.startup.mode' = 'specific-offsets', 'scan.startup.specific-offsets' = 'partition:0,offset:0'"
            }
        };
        let bounded = if self.is_bounded { ", 'scan.bounded.mode' = 'latest-offset'" } else { "" };
        let group = if self.has_group { format!(", 'properties.group.id' = '{GROUP}'") } else { String::new() };
        let formats = match self.key {
            Key::None | Key::Beside => "'format' = 'json'",
            Key::Only => {
                "'key.format' = 'json', 'key.fields' = 'k', 'value.format' = 'json', \
                 'value.fields-include' = 'EXCEPT_KEY'"
            }
        };
        format!(
            "'connector' = 'kafka', 'topic' = '{name}', 'properties.bootstrap.servers' = '{ADDRESS}', \
             'properties.socket.timeout.ms' = '3000', 'scan.topic-partition-discovery.interval' = '{LOOKS}', \
             {startup}{bounded}{group}, {formats}{dead_letters}"
        )
    }

    /// The group that is told the positions.
    pub(super) fn group(&self) -> Option<String> {
        self.has_group.then(|| GROUP.to_owned())
    }

    /// The pace at which a topic with an end is read, so that faults hit a job in progress.
    pub(super) fn pace(&self) -> Option<Pace> {
        let rows = u64::try_from(EVENTS).expect("positive");
        let span = u64::try_from(SPAN_MS).expect("positive") * 2 / 3;
        let every = span * u64::from(self.fetched) * u64::from(self.partitions) / rows;
        let records = usize::try_from(self.fetched).expect("few records");
        self.is_bounded.then(|| Pace { topics: TOPICS, records, every: Duration::from_millis(every) })
    }

    /// What is written to the topics.
    pub(super) fn feed(&self, seed: u64, job: JobKind, files: &Files) -> Feed {
        let dice = &mut Dice::new(seed ^ 0xfeed_0000);
        let mut feed = self.table("events", &files.all_events, self.has_transactions, dice);
        if job.has_others() {
            let others = self.table("others", &files.others, false, dice);
            feed.topics.extend(others.topics);
            feed.before.extend(others.before);
            feed.during.extend(others.during);
            feed.during.sort_by_key(|(after, _)| *after);
        }
        feed
    }

    /// The partition of each row of `events`, and its place there, by the row's id.
    pub(super) fn places(&self, seed: u64, job: JobKind, files: &Files) -> BTreeMap<i64, (i32, usize)> {
        let feed = self.feed(seed, job, files);
        let steps = feed.before.iter().chain(feed.during.iter().map(|(_, step)| step));
        let records = steps.filter_map(|step| match step {
            Step::Send(records) | Step::Begin(records) => Some(records),
            Step::End { .. } | Step::Grow { .. } => None,
        });
        let of_events = records.flatten().filter(|record| &*record.topic == "events").enumerate();
        let place = |(place, record): (usize, &NewRecord)| {
            let row: Value = serde_json::from_slice(record.value.as_deref()?).ok()?;
            Some((row["id"].as_i64()?, (record.partition?, place)))
        };
        of_events.filter_map(place).collect()
    }

    fn table(&self, name: &str, lines: &str, has_transactions: bool, dice: &mut Dice) -> Feed {
        let lines: Vec<&str> = lines.lines().collect();
        let chunks: Vec<&[&str]> = lines.chunks(CHUNK_ROWS).collect();
        let count = chunks.len() as u64;
        let before = count * self.before / 100;
        let span = u64::try_from(SPAN_MS).expect("positive") * (100 - self.before) / 100;
        let mut writing =
            Writing { input: self, topic: name.into(), partitions: self.partitions, open: None, aborted: 0 };
        let mut feed = Feed { topics: vec![writing.new_topic()], ..Feed::default() };
        for (at, chunk) in chunks.into_iter().enumerate() {
            let at = at as u64;
            let is_before = at < before;
            let after = Duration::from_millis(if is_before { 0 } else { span * (at - before) / (count - before) });
            let mut steps = Vec::new();
            if let Some(grown) = self.grows_to.filter(|_| name == "events" && at == before.max(count * 45 / 100)) {
                steps.push(writing.grow(grown));
            }
            steps.extend(writing.chunk(chunk, has_transactions, dice));
            if at + 1 == before || at + 1 == count {
                steps.extend(writing.end());
            }
            match is_before {
                true => feed.before.extend(steps),
                false => feed.during.extend(steps.into_iter().map(|step| (after, step))),
            }
        }
        feed
    }
}

/// Writes a topic.
struct Writing<'a> {
    input: &'a TopicInput,
    topic: std::sync::Arc<str>,
    partitions: u32,
    /// Chunks until the open transaction ends, and whether it is committed then.
    open: Option<(u64, bool)>,
    aborted: u64,
}

impl Writing<'_> {
    fn new_topic(&self) -> NewTopic {
        new_topic(&self.topic, self.partitions)
    }

    fn grow(&mut self, partitions: u32) -> Step {
        self.partitions = partitions;
        Step::Grow { topic: self.topic.to_string(), partitions: count(partitions) }
    }

    fn chunk(&mut self, lines: &[&str], has_transactions: bool, dice: &mut Dice) -> Vec<Step> {
        let mut steps = Vec::new();
        match &mut self.open {
            Some((0, _)) => steps.extend(self.end()),
            Some((left, _)) => *left -= 1,
            None => {}
        }
        let records = lines.iter().map(|line| self.record(line, dice)).collect();
        if self.open.is_some() || !has_transactions || !dice.percent(35) {
            steps.push(Step::Send(records));
            return steps;
        }
        let is_committed = dice.percent(60);
        self.open = Some((dice.below(2), is_committed));
        if is_committed {
            steps.push(Step::Begin(records));
        } else {
            let aborted = (0..1 + dice.below(8)).map(|_| self.aborted(dice)).collect();
            steps.extend([Step::Begin(aborted), Step::Send(records)]);
        }
        steps
    }

    /// Ends the open transaction, if there is one.
    fn end(&mut self) -> Option<Step> {
        self.open.take().map(|(_, commit)| Step::End { commit })
    }

    /// A record that looks like a row, and that nobody may read.
    fn aborted(&mut self, dice: &mut Dice) -> NewRecord {
        self.aborted += 1;
        let id = ABORTED_IDS + self.aborted;
        self.record(
            &format!("{{\"id\":{id},\"ts\":\"2026-01-01 00:00:02.000\",\"k\":1,\"v\":1,\"tag\":\"red\"}}"),
            dice,
        )
    }

    fn record(&self, line: &str, dice: &mut Dice) -> NewRecord {
        let row = serde_json::from_str::<Value>(line);
        let k = row.as_ref().ok().and_then(|row| row["k"].as_i64()).unwrap_or_default();
        let key = (self.input.key != Key::None).then(|| Bytes::from(format!("{{\"k\":{k}}}")));
        let value = match (row, self.input.key) {
            (Ok(Value::Object(mut row)), Key::Only) => {
                row.remove("k");
                Value::Object(row).to_string()
            }
            (_, Key::None | Key::Beside | Key::Only) => line.to_owned(),
        };
        let partition = match &key {
            Some(key) => partition_of_key(key, self.partitions),
            None => u32::try_from(dice.below(u64::from(self.partitions))).expect("few partitions"),
        };
        NewRecord {
            topic: self.topic.clone(),
            partition: Some(count(partition)),
            key,
            value: Some(value.into()),
            headers: Vec::new(),
            timestamp_ms: None,
        }
    }
}

/// A topic with the brokers' defaults.
pub(super) fn new_topic(name: &str, partitions: u32) -> NewTopic {
    NewTopic { name: name.to_owned(), partitions: count(partitions), replication: None, config: BTreeMap::new() }
}

fn count(partitions: u32) -> i32 {
    i32::try_from(partitions).expect("few partitions")
}

impl fmt::Display for TopicInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.is_bounded { "with an end" } else { "without an end" };
        write!(f, "topics of {} partitions {end}", self.partitions)?;
        if let Some(partitions) = self.grows_to {
            write!(f, ", {partitions} later")?;
        }
        write!(f, ", {} % of the rows before the job, keys {:?}, begins by {:?}", self.before, self.key, self.startup)?;
        let said = [
            (self.has_group, "tells a group"),
            (self.has_transactions, "written with transactions"),
            (self.is_forgetful, "what a checkpoint is behind is deleted"),
        ];
        said.iter().filter(|(is_so, _)| *is_so).try_for_each(|(_, what)| write!(f, ", {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::data::{Dataset, files_of},
        *,
    };

    fn all() -> impl Iterator<Item = TopicInput> {
        (0..200).map(|seed| TopicInput::draw(seed, JobKind::Filter))
    }

    #[test]
    fn input_of_each_kind_is_drawn() {
        let shown: Vec<String> = all().map(|input| input.to_string()).collect();
        for kind in [
            "with an end",
            "without an end",
            "later",
            " 0 % of",
            "100 % of",
            "None",
            "Beside",
            "Only",
            "Earliest",
            "Group",
            "Timestamp",
            "Offsets",
            "tells a group",
            "transactions",
            "deleted",
        ] {
            assert!(shown.iter().any(|input| input.contains(kind)), "no {kind}");
        }
    }

    #[test]
    fn every_row_is_written_once_and_transactions_end() {
        let files = files_of(Dataset { variant: 0, has_late: false, has_malformed: true });
        let mut ends = [0, 0];
        for (seed, input) in all().enumerate() {
            let feed = input.feed(seed as u64, JobKind::Filter, &files);
            assert_eq!(feed.during.is_empty(), input.is_bounded);
            let mut steps: Vec<&Step> = feed.before.iter().chain(feed.during.iter().map(|(_, step)| step)).collect();
            let (mut rows, mut open) = (0, None);
            for step in steps.drain(..) {
                match step {
                    Step::Send(records) => rows += records.len(),
                    Step::Begin(records) => assert!(open.replace(records.len()).is_none()),
                    Step::End { commit } => {
                        let written = open.take().expect("one is open");
                        rows += if *commit { written } else { 0 };
                        ends[usize::from(*commit)] += 1;
                    }
                    Step::Grow { partitions, .. } => {
                        assert_eq!(Some(count(input.grows_to.unwrap())), Some(*partitions))
                    }
                }
            }
            assert_eq!((rows, open), (files.all_events.lines().count(), None), "seed {seed}");
        }
        assert!(ends.iter().all(|ends| *ends > 100), "{ends:?}");
    }
}
