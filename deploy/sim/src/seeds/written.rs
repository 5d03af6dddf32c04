//! A topic of Kafka as the sink of a seeded run, written exactly once.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

use anyhow::{Context as _, Result, ensure};
use arrow::{
    array::{AsArray as _, RecordBatch},
    datatypes::{Int64Type, SchemaRef},
};
use serde_json::{Map, Value};
use thalweg_kafka::{NewTopic, Record, model::ADDRESS};

use super::{jobs::JobKind, outputs::OUTPUT, topics::new_topic};
use crate::{
    case::FileFormat,
    input::Dice,
    oracle,
    rows::{self, Cell},
};

/// A topic that a job writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSink {
    partitions: u32,
    key: Option<&'static str>,
    /// Whether the value lacks the key.
    is_key_apart: bool,
    partitioner: &'static str,
    /// When the brokers abort its transactions.
    timeout_ms: u64,
    /// Whether it names the prefix of its transactional ids.
    has_prefix: bool,
}

impl TopicSink {
    pub(super) fn draw(dice: &mut Dice, job: JobKind) -> Self {
        let key = job.key_column().filter(|_| dice.percent(70));
        Self {
            partitions: 1 + u32::try_from(dice.below(4)).expect("below four"),
            key,
            is_key_apart: key.is_some() && dice.percent(40),
            partitioner: dice.pick(&["default", "default", "fixed", "round-robin"]),
            timeout_ms: dice.pick(&[5000, 30_000, 60_000]),
            has_prefix: dice.percent(25),
        }
    }

    /// The topic, which is there before the job.
    pub(super) fn topic(&self) -> NewTopic {
        new_topic(OUTPUT, self.partitions)
    }

    /// The SQL that sends the rows of a query to the topic. Two jobs cannot share a prefix.
    pub(super) fn statements(&self, columns: &str, query: &str, has_companion: bool) -> String {
        let formats = match self.key {
            None => "'format' = 'json'".to_owned(),
            Some(key) => {
                let apart = if self.is_key_apart { ", 'value.fields-include' = 'EXCEPT_KEY'" } else { "" };
                format!("'key.format' = 'json', 'key.fields' = '{key}', 'value.format' = 'json'{apart}")
            }
        };
        let has_prefix = self.has_prefix && !has_companion;
        let prefix = if has_prefix { ", 'sink.transactional-id-prefix' = 'ours'" } else { "" };
        format!(
            "CREATE TABLE sink ({columns}) WITH ('connector' = 'kafka', 'topic' = '{OUTPUT}', \
             'properties.bootstrap.servers' = '{ADDRESS}', 'properties.socket.timeout.ms' = '3000', {formats}, \
             'sink.delivery-guarantee' = 'exactly-once', 'sink.partitioner' = '{}', \
             'sink.transaction-timeout' = '{} ms'{prefix});\nINSERT INTO sink {query};\n",
            self.partitioner, self.timeout_ms
        )
    }

    /// The rows of each partition.
    ///
    /// # Errors
    /// If a record is not one of the sink's rows.
    pub(super) fn read(&self, partitions: &[Vec<Record>], schema: &SchemaRef) -> Result<Vec<Vec<RecordBatch>>> {
        let read = |records: &Vec<Record>| {
            let lines: Result<String> = records.iter().map(|record| self.line(record)).collect();
            oracle::read_bytes(lines?.into(), FileFormat::Json, schema)
        };
        partitions.iter().map(read).collect()
    }

    /// A record as a line of JSON with all columns.
    fn line(&self, record: &Record) -> Result<String> {
        let shown = || format!("the record at {}: key {:?}, value {:?}", record.offset, record.key, record.value);
        let value = record.value.as_deref().with_context(shown)?;
        let mut row: Map<String, Value> = serde_json::from_slice(value).with_context(shown)?;
        ensure!(record.key.is_some() == self.key.is_some(), "{} does not have the key {:?}", shown(), self.key);
        if let (Some(column), Some(key)) = (self.key, &record.key) {
            let key: Map<String, Value> = serde_json::from_slice(key).with_context(shown)?;
            ensure!(key.keys().eq([column]), "{} does not have the key {column}", shown());
            ensure!(row.contains_key(column) != self.is_key_apart, "{}: is the key in the value?", shown());
            row.extend(key);
        }
        Ok(Value::Object(row).to_string() + "\n")
    }

    /// Checks that the windows of a key are in order of time in each partition.
    ///
    /// # Errors
    /// If they are not.
    pub(super) fn check_order(&self, partitions: &[Vec<RecordBatch>], schema: &SchemaRef) -> Result<()> {
        let Some(key) = self.key.and_then(|key| schema.index_of(key).ok()) else { return Ok(()) };
        let Ok(window) = schema.index_of("w") else { return Ok(()) };
        for (partition, batches) in partitions.iter().enumerate() {
            let mut newest: BTreeMap<String, i64> = BTreeMap::new();
            for row in rows::of_batches(batches)? {
                let Cell::Micros(time) = row[window] else { continue };
                match newest.entry(format!("{:?}", row[key])) {
                    Entry::Vacant(vacant) => _ = vacant.insert(time),
                    Entry::Occupied(mut known) => {
                        ensure!(
                            *known.get() <= time,
                            "partition {partition}: the window at {time} of {} is behind that at {}",
                            known.key(),
                            known.get()
                        );
                        known.insert(time);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Checks that rows of one partition that was read are in the order of that partition, in each that was written. `places` has
/// partition and place of each row by its id.
///
/// # Errors
/// If they are not.
pub(super) fn check_places(partitions: &[Vec<RecordBatch>], places: &BTreeMap<i64, (i32, usize)>) -> Result<()> {
    for (partition, batches) in partitions.iter().enumerate() {
        let mut last: BTreeMap<i32, (usize, i64)> = BTreeMap::new();
        for batch in batches {
            let ids = batch.column_by_name("id").context("rows have an id")?.as_primitive::<Int64Type>();
            for id in ids.iter().flatten() {
                let (of, place) = *places.get(&id).with_context(|| format!("nobody has written row {id}"))?;
                if let Some((before, other)) = last.insert(of, (place, id)) {
                    ensure!(before < place, "partition {partition}: row {id} of partition {of} is behind row {other}");
                }
            }
        }
    }
    Ok(())
}

impl fmt::Display for TopicSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a topic of {} partitions, {}", self.partitions, self.partitioner)?;
        if let Some(key) = self.key {
            write!(f, " by {key}{}", if self.is_key_apart { " apart" } else { "" })?;
        }
        write!(f, ", transactions of up to {} ms", self.timeout_ms)?;
        if self.has_prefix { write!(f, ", a prefix") } else { Ok(()) }
    }
}
