//! Checks the store and the output after a job has finished.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use arrow::{
    array::{AsArray as _, RecordBatch},
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType},
};
use bytes::Bytes;
use datafusion::{
    datasource::MemTable,
    prelude::{SessionConfig, SessionContext},
};
use serde_json::Value;
use thalweg_storage::MARKER;
use thalweg_types::{
    JobStatus,
    checkpoint::Manifest,
    job::{JobOverview, SubtaskOverview},
};

use super::{
    data::{Dataset, Files, files_of},
    jobs::JobKind,
    outputs::{DEAD_LETTERS, FAILED, LATE, OUTPUT},
    scenario::{Input, Scenario},
    sink::Sink,
    streams::StreamInput,
    written,
};
use crate::{
    oracle,
    rows::{self, Row},
    simulation::{CHECKPOINTS, Outcome, SharedDirectory, SimulatedKafka, SimulatedKinesis, SimulatedStore, is_hidden},
};

type Answer = Arc<(Vec<Row>, SchemaRef)>;

/// The output of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outputs<'a> {
    pub(super) store: &'a SimulatedStore,
    /// The directory of the output, if it is not in the store.
    pub(super) directory: Option<&'a SharedDirectory>,
    pub(super) kafka: Option<&'a SimulatedKafka>,
    pub(super) kinesis: Option<&'a SimulatedKinesis>,
}

impl Outputs<'_> {
    /// The published objects in a folder. Hidden ones are an error.
    fn published(self, folder: &str) -> Result<Vec<(String, Bytes)>> {
        let objects = match self.directory {
            None => self.store.look(folder)?,
            Some(directory) => {
                directory.look(folder)?.into_iter().map(|(name, bytes)| (name, Bytes::from(bytes))).collect()
            }
        };
        let hidden: Vec<&str> = objects.iter().map(|(name, _)| name.as_str()).filter(|name| is_hidden(name)).collect();
        ensure!(hidden.is_empty(), "hidden objects were left: {}", hidden.join(", "));
        Ok(objects)
    }
}

/// How often each result must be there: at least once for each job that has done all its work, and at most once for
/// each job.
#[derive(Debug, Clone, Copy)]
struct Copies {
    least: usize,
    most: usize,
}

impl Copies {
    fn of(scenario: &Scenario, outcome: &Outcome) -> Self {
        let companion = outcome.companion.iter();
        let is_kept = |job: &&JobOverview| outcome.is_kept || job.job != outcome.job.job;
        let whole = |job: &&JobOverview| is_whole(scenario, job) && is_kept(job);
        let least = std::iter::once(&outcome.job).chain(companion).filter(whole).count();
        Self { least, most: 1 + usize::from(outcome.companion.is_some()) }
    }

    /// Compares the results that are there with those of each job.
    fn differ<T: Clone>(
        self,
        actual: Vec<T>,
        each: &[T],
        (surplus, missing): (impl Fn(Vec<T>, Vec<T>) -> Option<String>, impl Fn(Vec<T>, Vec<T>) -> Option<String>),
    ) -> Option<String> {
        let repeated = |times: usize| vec![each; times].concat();
        surplus(actual.clone(), repeated(self.most)).or_else(|| missing(actual, repeated(self.least)))
    }
}

/// Whether a job has done all its work. One that was cancelled or stopped may have published only a part.
fn is_whole(scenario: &Scenario, job: &JobOverview) -> bool {
    !scenario.is_given() || job.status == JobStatus::Finished
}

/// Checks everything that finished jobs have left.
///
/// # Errors
/// Says what is wrong.
pub(super) fn check(scenario: &Scenario, outputs: Outputs<'_>, outcome: Outcome) -> Result<()> {
    let copies = Copies::of(scenario, &outcome);
    let Outcome { rows, has_all_rows, job, is_kept, companion, has_leaders } = outcome;
    let files = files_of(scenario.dataset);
    let late = read_late(outputs)?;
    ensure!(late.is_empty() || scenario.dataset.has_late, "records were reported late that are not");
    check_late(&late)?;
    let dead_letters =
        records_of(outputs.published(DEAD_LETTERS)?, |line| Some(line.get("record")?.as_str()?.to_owned()))?;
    check_texts("malformed lines", copies, dead_letters, &files.malformed)?;
    let failed = records_of(outputs.published(FAILED)?, |line| Some(line.get("row")?.get("id")?.to_string()))?;
    check_texts("rows that fail", copies, failed, &failing(scenario, &files)?)?;
    let are_whole = is_kept && std::iter::once(&job).chain(&companion).all(|job| job.status == JobStatus::Finished);
    for job in std::iter::once(&job).chain(&companion) {
        check_counts(scenario, job, (&files, &late), has_leaders || !is_kept || !is_whole(scenario, job))?;
    }
    let has_failed = std::iter::once(&job).chain(&companion).any(|job| job.status == JobStatus::Failed);
    check_checkpoints(outputs.store, has_failed)?;
    check_transactions(outputs, has_failed)?;
    // Windows that a stop has closed over a part of the input are no part of the batch answer.
    if !is_kept && !scenario.job.is_windowless() {
        return Ok(());
    }
    let expected = expected(scenario, late)?;
    let (wanted, schema) = expected.as_ref();
    let files = scenario.sink.read(outputs.published(OUTPUT)?, schema, are_whole)?;
    let written = [files, read_topic(scenario, outputs, schema)?, read_stream(scenario, outputs, schema)?].concat();
    let actual = rows::of_batches(&[rows, written].concat())?;
    // Only the main job's rows are fetched. What was delivered of them before their node was lost is still held.
    let least = if has_all_rows { copies.least } else { 0 };
    let delivered = Copies { least, ..copies };
    match delivered.differ(actual, wanted, (rows::surplus, rows::missing)) {
        None => Ok(()),
        Some(difference) => bail!("the output is not the batch answer: {difference}"),
    }
}

/// The rows that a reader of committed records finds in the topic of a sink. Those of two jobs are in no order.
fn read_topic(scenario: &Scenario, outputs: Outputs<'_>, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    let (Sink::Topic(topic), Some(kafka)) = (&scenario.sink, outputs.kafka) else { return Ok(Vec::new()) };
    let partitions = topic.read(&kafka.committed(OUTPUT)?, schema)?;
    if scenario.companion.is_none() {
        topic.check_order(&partitions, schema)?;
        if let Some(places) = places(scenario) {
            written::check_places(&partitions, &places)?;
        }
    }
    Ok(partitions.concat())
}

/// The rows that a reader finds in the stream of a sink, who drops repeats.
fn read_stream(scenario: &Scenario, outputs: Outputs<'_>, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    let (Sink::Stream(stream), Some(kinesis)) = (&scenario.sink, outputs.kinesis) else { return Ok(Vec::new()) };
    let put = stream.read(kinesis, schema)?;
    if let Some(places) = places(scenario).filter(|_| scenario.companion.is_none()) {
        stream.check_places(&put, &places)?;
    }
    Ok(put.rows)
}

/// In which part of the input each row was, and where there, by the row's id, if the input has an order and the job keeps it.
fn places(scenario: &Scenario) -> Option<BTreeMap<i64, (i32, usize)>> {
    let files = files_of(scenario.dataset);
    match &scenario.input {
        Input::Topics(input) if scenario.job.is_windowless() => Some(input.places(scenario.seed, scenario.job, &files)),
        Input::Stream(_) if scenario.job.is_windowless() => Some(StreamInput::places(&files)),
        Input::Files | Input::Watched | Input::Posted | Input::Topics(_) | Input::Stream(_) => None,
    }
}

/// Checks that no transaction was left open, which would hold up all readers until its timeout. A job that has failed may
/// leave one.
fn check_transactions(outputs: Outputs<'_>, has_failed: bool) -> Result<()> {
    let open = outputs.kafka.map(SimulatedKafka::open_transactions).unwrap_or_default();
    ensure!(open.is_empty() || has_failed, "transactions were left open: {}", open.join(", "));
    Ok(())
}

/// Checks what is left of checkpoints: the newest one of a failed job, and nothing of other jobs.
fn check_checkpoints(store: &SimulatedStore, has_failed: bool) -> Result<()> {
    let mut left = store.look(CHECKPOINTS)?;
    let marked = left.iter().filter(|(name, _)| name.ends_with(MARKER)).count();
    ensure!(marked == 1, "the place for checkpoints has {marked} markers");
    left.retain(|(name, _)| !name.ends_with(MARKER));
    if has_failed {
        let kept = newest_checkpoint(&left)?;
        left.retain(|(name, _)| !kept.contains(name));
    }
    let names: Vec<&str> = left.iter().take(5).map(|(name, _)| name.as_str()).collect();
    ensure!(left.is_empty(), "{} objects were left of checkpoints and logs, such as {}", left.len(), names.join(", "));
    Ok(())
}

/// The names of the newest manifest and its objects, all of which must be there.
fn newest_checkpoint(objects: &[(String, Bytes)]) -> Result<BTreeSet<String>> {
    let mut manifests = objects.iter().filter(|(name, _)| name.contains("/manifest-"));
    let Some((name, bytes)) = manifests.next_back() else { return Ok(BTreeSet::new()) };
    let manifest: Manifest = serde_json::from_slice(bytes).with_context(|| name.clone())?;
    let named = manifest.subtasks.iter().flat_map(|snapshot| &snapshot.objects);
    let kept: BTreeSet<String> =
        named.map(|object| format!("{CHECKPOINTS}/{}", object.name)).chain([name.clone()]).collect();
    let is_there = |wanted: &&String| objects.iter().any(|(name, _)| name == *wanted);
    let lost = kept.iter().find(|wanted| !is_there(wanted));
    ensure!(lost.is_none(), "{name} refers to {lost:?}, which is not there");
    Ok(kept)
}

fn read_late(outputs: Outputs<'_>) -> Result<Vec<RecordBatch>> {
    let schema = late_schema();
    let read = |(name, bytes): (String, Bytes)| {
        let reader = arrow::json::ReaderBuilder::new(schema.clone()).build(Cursor::new(bytes))?;
        reader.collect::<Result<Vec<_>, _>>().with_context(|| format!("in {name}"))
    };
    let batches: Vec<Vec<RecordBatch>> = outputs.published(LATE)?.into_iter().map(read).collect::<Result<_>>()?;
    Ok(batches.concat())
}

fn late_schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let fields = [("operator", DataType::Utf8), ("window_start", time), ("id", DataType::Int64)];
    Arc::new(Schema::new(fields.map(|(name, kind)| Field::new(name, kind, true)).to_vec()))
}

/// Checks that a record was reported late for a window at most once.
fn check_late(late: &[RecordBatch]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for batch in late {
        let starts = batch.column(1).as_primitive::<TimestampMicrosecondType>();
        let ids = batch.column(2).as_primitive::<Int64Type>();
        for (start, id) in starts.iter().zip(ids.iter()) {
            ensure!(seen.insert((start, id)), "record {id:?} was reported late twice for the window at {start:?}");
        }
    }
    Ok(())
}

/// Reads one text from each line of JSON in files of a side output.
fn records_of(files: Vec<(String, Bytes)>, record: impl Fn(&Value) -> Option<String>) -> Result<Vec<String>> {
    let mut records = Vec::new();
    for (name, bytes) in files {
        for line in serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>() {
            let line = line.with_context(|| format!("in {name}"))?;
            records.push(record(&line).with_context(|| format!("in {name}: {line}"))?);
        }
    }
    Ok(records)
}

/// Checks that the side outputs of each job hold all these texts once. A job that has not read all its input may miss some.
fn check_texts(what: &str, copies: Copies, found: Vec<String>, each: &[String]) -> Result<()> {
    let surplus = |found: Vec<String>, there: Vec<String>| unmatched(found, there, "set aside too often");
    let missing = |found: Vec<String>, there: Vec<String>| unmatched(there, found, "not set aside");
    match copies.differ(found, each, (surplus, missing)) {
        None => Ok(()),
        Some(difference) => bail!("{what}: {difference}"),
    }
}

/// The texts that occur more often in `these` than in `others`.
fn unmatched(these: Vec<String>, others: Vec<String>, what: &str) -> Option<String> {
    let mut balance: BTreeMap<String, i64> = BTreeMap::new();
    these.into_iter().for_each(|text| *balance.entry(text).or_default() += 1);
    others.into_iter().for_each(|text| *balance.entry(text).or_default() -= 1);
    let left: Vec<String> = balance.into_iter().filter(|(_, count)| *count > 0).map(|(text, _)| text).collect();
    let shown = || left.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    (!left.is_empty()).then(|| format!("{} {what}, such as {}", left.len(), shown()))
}

/// The ids of the rows whose query divides by zero.
fn failing(scenario: &Scenario, files: &Files) -> Result<Vec<String>> {
    let ids = |row: Value| row["v"].as_i64().filter(|v| v % 5 == 0).map(|_| row["id"].to_string());
    let rows = serde_json::Deserializer::from_str(&files.events).into_iter::<Value>();
    let failing = rows.filter_map(|row| row.map(ids).transpose()).collect::<Result<Vec<_>, _>>()?;
    Ok(if scenario.job.has_failing() { failing } else { Vec::new() })
}

/// Checks a job's counters: each record counts once as read, late, malformed or failed, however many attempts there
/// were. Lower counters are excused if a new leader was elected, which may not know the counters of finished
/// subtasks, or if the job was cancelled before it had read everything.
fn check_counts(
    scenario: &Scenario,
    job: &JobOverview,
    (files, late): (&Files, &[RecordBatch]),
    is_excused: bool,
) -> Result<()> {
    let total = |wanted: fn(&SubtaskOverview) -> u64| job.subtasks.iter().map(wanted).sum::<u64>();
    let read = total(|subtask| if subtask.is_source { subtask.metrics.records_in } else { 0 });
    let given = scenario.job.records(files);
    let late: u64 = late.iter().map(|batch| batch.num_rows() as u64).sum();
    let counted = [
        ("read", read, given),
        ("late", total(|subtask| subtask.metrics.late_records), late),
        ("malformed", total(|subtask| subtask.metrics.dead_letters), files.malformed.len() as u64),
        ("failed", total(|subtask| subtask.metrics.failed_rows), failing(scenario, files)?.len() as u64),
    ];
    for (what, counted, there) in counted {
        ensure!(counted <= there, "{counted} records were counted as {what}; there are {there}");
        ensure!(counted == there || is_excused, "only {counted} of {there} records were counted as {what}");
    }
    Ok(())
}

/// The batch answer without the late rows. It is cached if there are none.
fn expected(scenario: &Scenario, late: Vec<RecordBatch>) -> Result<Answer> {
    static KEPT: OnceLock<Mutex<BTreeMap<(JobKind, Dataset), Answer>>> = OnceLock::new();
    let kept = || KEPT.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let key = (scenario.job, scenario.dataset);
    let is_kept = late.is_empty();
    if let Some(answer) = kept().get(&key).filter(|_| is_kept) {
        return Ok(answer.clone());
    }
    let answer = Arc::new(answer(scenario, late)?);
    ensure!(!answer.0.is_empty(), "the batch answer is empty: the run would show nothing");
    if is_kept {
        kept().insert(key, answer.clone());
    }
    Ok(answer)
}

fn answer(scenario: &Scenario, late: Vec<RecordBatch>) -> Result<(Vec<Row>, SchemaRef)> {
    let files = files_of(scenario.dataset);
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let events = oracle::read_bytes(files.events.clone().into(), crate::case::FileFormat::Json, &table_schema())?;
    let others = oracle::read_bytes(files.others.clone().into(), crate::case::FileFormat::Json, &table_schema())?;
    for (name, schema, batches) in
        [("events", table_schema(), events), ("others", table_schema(), others), ("late", late_schema(), late)]
    {
        session.register_table(name, Arc::new(MemTable::try_new(schema, vec![batches])?))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let frame =
            session.sql(scenario.job.twin()).await.map_err(|error| anyhow!("the twin cannot be planned: {error}"))?;
        let schema = named_like_the_sink(frame.schema().as_arrow(), scenario.job);
        Ok((rows::of_batches(&frame.collect().await?)?, schema))
    })
}

/// Columns correspond by position, and get their names in the sink.
fn named_like_the_sink(schema: &Schema, job: JobKind) -> SchemaRef {
    let names = job.columns().split(", ").filter_map(|column| column.split(' ').next());
    let fields = schema.fields().iter().zip(names).map(|(field, name)| field.as_ref().clone().with_name(name));
    Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
}

fn table_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("k", DataType::Int64, true),
        Field::new("v", DataType::Int64, true),
        Field::new("tag", DataType::Utf8, true),
    ]))
}
