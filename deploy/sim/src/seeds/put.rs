//! A stream of Kinesis as the sink of a seeded run, written at least once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use anyhow::{Context as _, Result, ensure};
use arrow::{
    array::{AsArray as _, RecordBatch},
    datatypes::{Int64Type, SchemaRef},
};
use bytes::Bytes;
use serde_json::{Map, Value};
use thalweg_kinesis::{aggregation::unpack, model::ENDPOINT};

use super::{jobs::JobKind, outputs::OUTPUT};
use crate::{case::FileFormat, input::Dice, oracle, simulation::SimulatedKinesis};

/// The field that tells a row from all others.
const ID: &str = "row_id";

/// A stream that a job writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSink {
    shards: u32,
    key: Option<&'static str>,
    is_strict: bool,
    has_ids: bool,
    is_aggregated: bool,
}

/// What a reader of the stream finds.
pub(super) struct Put {
    /// The first of each row, in an order that is that of each key.
    pub(super) rows: Vec<RecordBatch>,
    /// The partition key of each.
    keys: Vec<String>,
}

impl StreamSink {
    pub(super) fn draw(dice: &mut Dice, job: JobKind) -> Self {
        let is_strict = dice.percent(65);
        Self {
            shards: 1 + u32::try_from(dice.below(4)).expect("below four"),
            key: job.key_column().filter(|_| dice.percent(80)),
            is_strict,
            has_ids: dice.percent(30),
            is_aggregated: !is_strict && dice.percent(40),
        }
    }

    /// The stream and its shards, which are there before the job.
    pub(super) fn stream(&self) -> (String, u32) {
        (OUTPUT.to_owned(), self.shards)
    }

    /// The SQL that sends the rows of a query to the stream.
    pub(super) fn statements(&self, columns: &str, query: &str) -> String {
        let key = self.key.map_or_else(String::new, |key| format!("PARTITIONED BY ({key}) "));
        let ordering = if self.is_strict { ", 'sink.ordering' = 'strict'" } else { "" };
        let ids = if self.has_ids { format!(", 'sink.record-id.field' = '{ID}'") } else { String::new() };
        let aggregated = if self.is_aggregated { ", 'sink.aggregation.enabled' = 'true'" } else { "" };
        format!(
            "CREATE TABLE sink ({columns}) {key}WITH ('connector' = 'kinesis', 'stream' = '{OUTPUT}', \
             'aws.endpoint' = '{ENDPOINT}', 'format' = 'json'{ordering}{ids}{aggregated});\nINSERT INTO sink {query};\n"
        )
    }

    /// Reads the stream as a reader does who drops repeats: by the rows' ids, or else equal rows.
    ///
    /// # Errors
    /// If a record is not one of the sink's rows.
    pub(super) fn read(&self, kinesis: &SimulatedKinesis, schema: &SchemaRef) -> Result<Put> {
        let (mut seen, mut lines, mut keys) = (BTreeSet::new(), String::new(), Vec::new());
        for (key, data) in kinesis.rows(OUTPUT)? {
            let shown = || format!("a record of {key}: {data:?}");
            let row: Map<String, Value> = serde_json::from_slice(&data).with_context(shown)?;
            let id = row.get(ID).map(Value::to_string);
            ensure!(id.is_some() == self.has_ids, "{}: is there an id?", shown());
            let line = Value::Object(row).to_string();
            if seen.insert(id.unwrap_or_else(|| line.clone())) {
                lines.push_str(&line);
                lines.push('\n');
                keys.push(key);
            }
        }
        Ok(Put { rows: oracle::read_bytes(lines.into(), FileFormat::Json, schema)?, keys })
    }

    /// Checks that rows of one key that were read in an order came in it, if that was asked for. `places` has for each row by its id
    /// in which of the input's parts it was, and where there. What is repeated after a failure begins behind a checkpoint, so that
    /// none comes for the first time before what precedes it.
    ///
    /// # Errors
    /// If they are not.
    pub(super) fn check_places(&self, put: &Put, places: &BTreeMap<i64, (i32, usize)>) -> Result<()> {
        if !self.is_strict || self.key.is_none() {
            return Ok(());
        }
        let mut last: BTreeMap<(i32, &str), (usize, i64)> = BTreeMap::new();
        let mut keys = put.keys.iter();
        for batch in &put.rows {
            let ids = batch.column_by_name("id").context("rows have an id")?.as_primitive::<Int64Type>();
            for (id, key) in ids.iter().flatten().zip(keys.by_ref()) {
                let (of, place) = *places.get(&id).with_context(|| format!("nobody has written row {id}"))?;
                if let Some((before, other)) = last.insert((of, key), (place, id)) {
                    ensure!(before < place, "key {key}: row {id} of part {of} is behind row {other}");
                }
            }
        }
        Ok(())
    }
}

impl SimulatedKinesis {
    /// The partition keys and data of all rows of a stream; those of one key are in their order.
    fn rows(&self, stream: &str) -> Result<Vec<(String, Bytes)>> {
        let mut rows = Vec::new();
        for (shard, records) in self.records(stream)? {
            for record in records {
                match unpack(&record.data) {
                    None => rows.push((record.partition_key, record.data)),
                    Some(packed) => {
                        let own = packed.filter(|row| row.belongs_to(&shard.hash_keys));
                        rows.extend(own.map(|row| (row.partition_key, row.data)));
                    }
                }
            }
        }
        Ok(rows)
    }
}

impl fmt::Display for StreamSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a stream of {} shards", self.shards)?;
        if let Some(key) = self.key {
            write!(f, " by {key}")?;
        }
        let said = [(self.is_strict, "strict"), (self.has_ids, "with ids"), (self.is_aggregated, "aggregated")];
        said.iter().filter(|(is_so, _)| *is_so).try_for_each(|(_, what)| write!(f, ", {what}"))
    }
}
